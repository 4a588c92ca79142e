/* t_fault_tree.c -- B+trees and paged arrays, with each read of a page, each
** write and each allocation failing once (lib_sweep.h).
**
** The tree has keys so long that four fit a page, the array elements of half a
** page: a few dozen of them are three levels deep. Every step is made under a
** savepoint of its own, so that each page it changes needs a before-image.
*/
#include "vt.h"
#include "util/common.h"
#include "util/bytes.h"
#include "util/rng.h"
#include "pager/btree.h"
#include "pager/pager_int.h"
#include "pager/parray.h"
#include "lab/lib_layer.h"
#include "lab/lib_sweep.h"

enum { WORD_TREE = 3, WORD_ARRAY = 4, WORD_WIDE = 5 };
enum { N_KEY = 880, WIDTH = 2000, WIDE = 9000, N_ENTRY = 48, N_ELEM = 24 };

static struct pager *pager_of(struct toy *t){ return t->db; }

static int root_of(struct toy *t, int word, page_no *root){
  uint64_t v = 0;
  int rc = vdb_root_get(pager_of(t), (enum root_word)word, &v);
  *root = (page_no)v;
  return rc;
}

/* ---- what is in the tree and the array ----------------------------------- */

static unsigned char *key_of(unsigned i){
  static unsigned char key[N_KEY];
  memset(key, 'k', sizeof(key));
  key[0] = (unsigned char)(i>>8);
  key[1] = (unsigned char)i;
  return key;
}

static int entry_put(struct toy *t, page_no root, unsigned i, size_t n_val){
  static unsigned char val[20000];
  memset(val, (int)i, sizeof(val));
  return vdb_btree_put(pager_of(t), root, key_of(i), N_KEY, val, n_val,
                       BTREE_UPSERT);
}

static int scan_hash(void *arg, uint64_t i, size_t n,
                     const unsigned char *data){
  uint64_t *h = arg;
  VDB_UNUSED(i);
  if( data && n ) *h = lab_hash(*h, data, n);
  return VECDB_OK;
}

static int tree_digest(struct toy *t, page_no root, uint64_t *digest){
  struct btree_cursor *c = NULL;
  const unsigned char *p;
  bool at_end;
  size_t n;
  int rc;

  TRY( vdb_btree_cursor_open(pager_of(t), root, &c) );
  TRY( vdb_btree_first(c, &at_end) );
  while( !at_end ){
    TRY( vdb_btree_key(c, &p, &n) );
    *digest = lab_hash(*digest, p, n);
    TRY( vdb_btree_value(c, &p, &n) );
    *digest = lab_hash(*digest, p, n);
    TRY( vdb_btree_next(c, &at_end) );
  }
done:
  vdb_btree_cursor_close(c);
  return rc;
}

static int extra_digest(struct toy *t, uint64_t *digest){
  page_no root;
  int rc;
  TRY( root_of(t, WORD_TREE, &root) );
  if( root ) TRY( tree_digest(t, root, digest) );
  for(int w=WORD_ARRAY; w<=WORD_WIDE; w++){
    TRY( root_of(t, w, &root) );
    if( root ) TRY( vdb_parray_scan(pager_of(t), root, 0, 3000000, scan_hash,
                                    digest) );
  }
done:
  return rc;
}

static int extra_census(struct toy *t, struct census *c){
  page_no root;
  int rc;
  TRY( root_of(t, WORD_TREE, &root) );
  if( root ) TRY( vdb_btree_check(pager_of(t), c, root, "tree") );
  for(int w=WORD_ARRAY; w<=WORD_WIDE; w++){
    TRY( root_of(t, w, &root) );
    if( root ) TRY( vdb_parray_check(pager_of(t), c, root, "array") );
  }
done:
  return rc;
}

static const struct toy_extra extra = { extra_digest, extra_census };

static int make_tree(struct toy *t){
  page_no root;
  int rc;
  TRY( toy_begin_write(t) );
  TRY( vdb_btree_create(pager_of(t), &root) );
  TRY( vdb_root_set(pager_of(t), (enum root_word)WORD_TREE, root) );
  for(unsigned i=0; i<N_ENTRY; i++){
    TRY( entry_put(t, root, (i*5)%N_ENTRY*4, i%7==0 ? 6000 : 10) );
  }
  TRY( toy_commit(t) );
done:
  return rc;
}

static int make_empty_tree(struct toy *t){
  page_no root;
  int rc;
  TRY( toy_begin_write(t) );
  TRY( vdb_btree_create(pager_of(t), &root) );
  TRY( vdb_root_set(pager_of(t), (enum root_word)WORD_TREE, root) );
  TRY( toy_commit(t) );
done:
  return rc;
}

/* ---- steps under savepoints ---------------------------------------------- */

typedef int (*step_fn)(struct toy *t, page_no root, unsigned i);

/* Steps 0..n-1 on the structure named by a word, in one transaction. */
static int steps(struct toy *t, int word, step_fn fn, unsigned n){
  page_no root;
  unsigned sp;
  int rc;
  TRY( toy_begin_write(t) );
  TRY( root_of(t, word, &root) );
  for(unsigned i=0; i<n; i++){
    TRY( toy_savepoint(t, &sp) );
    TRY( fn(t, root, i) );
    TRY( toy_release(t, sp) );
  }
  TRY( toy_commit(t) );
done:
  return rc;
}

/* Between others, in one place: leaves and then nodes split. */
static int step_insert(struct toy *t, page_no root, unsigned i){
  return entry_put(t, root, 101 + (i&1) + (i>>1), 10 + 300*(i%4==3));
}
static int step_append(struct toy *t, page_no root, unsigned i){
  return entry_put(t, root, 1000 + i, i==2 ? 9000 : 20);
}
/* Shorter, longer, the same, a chain for none and none for a chain. */
static int step_replace(struct toy *t, page_no root, unsigned i){
  static const size_t n_val[] = { 1, 90, 10, 5000, 10, 6000, 6000 };
  return entry_put(t, root, i/2*4, n_val[i%7]);
}
static int step_delete(struct toy *t, page_no root, unsigned i){
  unsigned k = i<N_ENTRY/2 ? 2*i : 2*(N_ENTRY-1-i)+1;
  return vdb_btree_delete(pager_of(t), root, key_of(4*k), N_KEY);
}
static int step_delete_ascending(struct toy *t, page_no root, unsigned i){
  return vdb_btree_delete(pager_of(t), root, key_of(4*i), N_KEY);
}
static int step_clear_tree(struct toy *t, page_no root, unsigned i){
  VDB_UNUSED(i);
  return vdb_btree_clear(pager_of(t), root);
}

static int act_insert(struct toy *t){
  return steps(t, WORD_TREE, step_insert, 40);
}
static int act_append(struct toy *t){
  return steps(t, WORD_TREE, step_append, 12);
}
static int act_replace(struct toy *t){
  return steps(t, WORD_TREE, step_replace, 14);
}
static int act_delete(struct toy *t){
  return steps(t, WORD_TREE, step_delete, N_ENTRY);
}
static int act_delete_ascending(struct toy *t){
  return steps(t, WORD_TREE, step_delete_ascending, N_ENTRY);
}
static int act_clear_tree(struct toy *t){
  return steps(t, WORD_TREE, step_clear_tree, 1);
}

/* The first entries of all: the root is pushed down, and again. */
static int act_grow(struct toy *t){
  return steps(t, WORD_TREE, step_insert, 24);
}

static int act_destroy_tree(struct toy *t){
  page_no root;
  int rc;
  TRY( toy_begin_write(t) );
  TRY( root_of(t, WORD_TREE, &root) );
  TRY( vdb_btree_destroy(pager_of(t), root) );
  TRY( vdb_btree_create(pager_of(t), &root) );
  TRY( vdb_root_set(pager_of(t), (enum root_word)WORD_TREE, root) );
  TRY( toy_commit(t) );
done:
  return rc;
}

static int act_bulk_load(struct toy *t){
  static const unsigned char val[7000];
  struct btree_loader *l = NULL;
  page_no root;
  int rc, rc_end;
  unsigned sp;

  TRY( toy_begin_write(t) );
  TRY( root_of(t, WORD_TREE, &root) );
  TRY( vdb_btree_load_begin(pager_of(t), root, &l) );
  for(unsigned i=0; i<24; i++){
    TRY( toy_savepoint(t, &sp) );
    vdb_pager_forget(pager_of(t), 0);
    TRY( vdb_btree_load_add(l, key_of(1000 + i), N_KEY, val,
                            i%9==8 ? 7000 : 30) );
    TRY( toy_release(t, sp) );
  }
done:
  rc_end = vdb_btree_load_end(l, rc==VECDB_OK);
  if( rc==VECDB_OK ) rc = rc_end;
  if( rc==VECDB_OK ) rc = toy_commit(t);
  return rc;
}

/* A load that is given up empties the tree again. */
static int act_aborted_load(struct toy *t){
  struct btree_loader *l = NULL;
  page_no root;
  int rc;

  TRY( toy_begin_write(t) );
  TRY( root_of(t, WORD_TREE, &root) );
  TRY( vdb_btree_load_begin(pager_of(t), root, &l) );
  for(unsigned i=0; i<9; i++){
    TRY( vdb_btree_load_add(l, key_of(i), N_KEY, "v", 1) );
  }
  rc = vdb_btree_load_end(l, false);
  l = NULL;
  TRY( rc );
  TRY( toy_commit(t) );
done:
  vdb_btree_load_end(l, true);
  return rc;
}

TEST(fault__btree_inserts){
  struct sweep s = { .name="insert", .make=make_tree, .act=act_insert,
                     .once=true, .extra=&extra };
  sweep_run(&s);
  s.name = "append";
  s.act = act_append;
  sweep_run(&s);
  s.name = "grow";
  s.make = make_empty_tree;
  s.act = act_grow;
  sweep_run(&s);
}

TEST(fault__btree_replaces){
  struct sweep s = { .name="replace", .make=make_tree, .act=act_replace,
                     .once=true, .extra=&extra };
  sweep_run(&s);
}

TEST(fault__btree_deletes){
  struct sweep s = { .name="delete", .make=make_tree, .act=act_delete,
                     .once=true, .extra=&extra };
  sweep_run(&s);
  s.name = "delete in order";
  s.act = act_delete_ascending;
  sweep_run(&s);
}

TEST(fault__btree_clears){
  struct sweep s = { .name="clear", .make=make_tree, .act=act_clear_tree,
                     .once=true, .extra=&extra };
  sweep_run(&s);
  s.name = "destroy";
  s.act = act_destroy_tree;
  sweep_run(&s);
}

TEST(fault__btree_loads){
  struct sweep s = { .name="load", .make=make_tree, .act=act_bulk_load,
                     .once=true, .extra=&extra };
  sweep_run(&s);
  s.name = "load into an empty tree";
  s.make = make_empty_tree;
  sweep_run(&s);
  s.name = "aborted load";
  s.act = act_aborted_load;
  sweep_run(&s);
}

/* ---- reading a tree ------------------------------------------------------ */

/* Every step reads its pages from the file again. */
static int tree_get(struct toy *t, page_no root, unsigned i){
  struct vdb_str val = VDB_STR_INIT;
  int rc;
  vdb_pager_forget(pager_of(t), 0);
  rc = vdb_btree_get(pager_of(t), root, key_of(i), N_KEY, &val);
  vdb_str_clear(&val);
  return rc;
}

/* Entries one by one, each value too; from either end, or from a key on. */
static int tree_walk(struct toy *t, page_no root, int from){
  struct btree_cursor *c = NULL;
  const unsigned char *p;
  bool at_end;
  size_t n;
  int rc;

  TRY( vdb_btree_cursor_open(pager_of(t), root, &c) );
  vdb_pager_forget(pager_of(t), 0);
  if( from==0 ) TRY( vdb_btree_first(c, &at_end) );
  else if( from==1 ) TRY( vdb_btree_last(c, &at_end) );
  else TRY( vdb_btree_seek(c, key_of(50), N_KEY, &at_end) );
  while( !at_end ){
    vdb_pager_forget(pager_of(t), 0);
    TRY( vdb_btree_value(c, &p, &n) );
    if( from==2 ) vdb_pager_touch(pager_of(t));  /* seek again, twice */
    vdb_pager_forget(pager_of(t), 0);
    TRY( vdb_btree_value(c, &p, &n) );
    if( from==2 ) vdb_pager_touch(pager_of(t));
    vdb_pager_forget(pager_of(t), 0);
    if( from==1 ) TRY( vdb_btree_prev(c, &at_end) );
    else TRY( vdb_btree_next(c, &at_end) );
  }
done:
  vdb_btree_cursor_close(c);
  return rc;
}

static int act_read(struct toy *t){
  page_no root;
  uint64_t n;
  int rc;
  TRY( toy_begin_read(t) );
  TRY( root_of(t, WORD_TREE, &root) );
  for(unsigned i=0; i<N_ENTRY; i+=5) TRY( tree_get(t, root, 4*i) );
  vdb_pager_forget(pager_of(t), 0);
  TRY( vdb_btree_count(pager_of(t), root, &n) );
  for(int from=0; from<3; from++) TRY( tree_walk(t, root, from) );
  TRY( toy_rollback(t) );
done:
  return rc;
}

static int act_check(struct toy *t){
  size_t n;
  return toy_check(t, &n);
}

static int make_all(struct toy *t);

TEST(fault__btree_reads){
  struct sweep s = { .name="read", .make=make_tree, .act=act_read, .once=true,
                     .extra=&extra };
  sweep_run(&s);
}

TEST(fault__checks_of_trees_and_arrays){
  struct sweep s = { .name="check", .make=make_all, .act=act_check,
                     .once=true, .extra=&extra };
  sweep_run(&s);
}

/* ---- arrays -------------------------------------------------------------- */

/* Elements of both arrays: some together, some far out, where the directories
** are of another height. */
static uint64_t elem_of(unsigned i){
  return i<N_ELEM ? i : (uint64_t)i*i*977;
}

static int elem_put(struct toy *t, page_no root, unsigned width, unsigned i){
  static unsigned char b[WIDE];
  memset(b, (int)(i+1), width);
  return vdb_parray_put(pager_of(t), root, elem_of(i), 1, b);
}

static int array_make(struct toy *t, int word, uint32_t width){
  page_no root;
  int rc;
  TRY( vdb_parray_create(pager_of(t), width, &root) );
  TRY( vdb_root_set(pager_of(t), (enum root_word)word, root) );
  for(unsigned i=0; i<8; i++) TRY( elem_put(t, root, width, 5*i) );
done:
  return rc;
}

static int make_arrays(struct toy *t){
  int rc;
  TRY( toy_begin_write(t) );
  TRY( array_make(t, WORD_ARRAY, WIDTH) );
  TRY( array_make(t, WORD_WIDE, WIDE) );
  TRY( toy_commit(t) );
done:
  return rc;
}

static int make_all(struct toy *t){
  int rc;
  TRY( make_tree(t) );
  TRY( make_arrays(t) );
done:
  return rc;
}

static int make_small_arrays(struct toy *t){
  page_no root;
  int rc;
  TRY( toy_begin_write(t) );
  TRY( vdb_parray_create(pager_of(t), WIDTH, &root) );
  TRY( vdb_root_set(pager_of(t), (enum root_word)WORD_ARRAY, root) );
  TRY( elem_put(t, root, WIDTH, 1) );
  TRY( vdb_parray_create(pager_of(t), WIDE, &root) );
  TRY( vdb_root_set(pager_of(t), (enum root_word)WORD_WIDE, root) );
  TRY( toy_commit(t) );
done:
  return rc;
}

static int step_put(struct toy *t, page_no root, unsigned i){
  return elem_put(t, root, WIDTH, 3*i);
}
static int step_put_wide(struct toy *t, page_no root, unsigned i){
  return elem_put(t, root, WIDE, 7*i);
}
static int step_clear(struct toy *t, page_no root, unsigned i){
  uint64_t lo = elem_of(7-i);
  return vdb_parray_clear(pager_of(t), root, lo, i==7 ? UINT64_MAX : lo+9);
}

static int act_put(struct toy *t){
  int rc;
  TRY( steps(t, WORD_ARRAY, step_put, 12) );
done:
  return rc;
}
static int act_put_wide(struct toy *t){
  return steps(t, WORD_WIDE, step_put_wide, 6);
}
static int act_clear(struct toy *t){
  return steps(t, WORD_ARRAY, step_clear, 8);
}
static int act_clear_wide(struct toy *t){
  return steps(t, WORD_WIDE, step_clear, 8);
}

static int act_destroy_array(struct toy *t){
  page_no root;
  int rc;
  TRY( toy_begin_write(t) );
  TRY( root_of(t, WORD_ARRAY, &root) );
  TRY( vdb_parray_destroy(pager_of(t), root) );
  TRY( vdb_root_set(pager_of(t), (enum root_word)WORD_ARRAY, 0) );
  TRY( toy_commit(t) );
done:
  return rc;
}

static int act_get(struct toy *t){
  static unsigned char b[3*WIDE];
  uint32_t width;
  page_no root;
  int rc;
  TRY( toy_begin_read(t) );
  for(int w=WORD_ARRAY; w<=WORD_WIDE; w++){
    TRY( root_of(t, w, &root) );
    for(unsigned i=0; i<8; i++){
      vdb_pager_forget(pager_of(t), 0);
      TRY( vdb_parray_get(pager_of(t), root, elem_of(5*i), 1+i%3, b) );
    }
    vdb_pager_forget(pager_of(t), 0);
    TRY( vdb_parray_width(pager_of(t), root, &width) );
    vdb_pager_forget(pager_of(t), 0);
    TRY( vdb_parray_scan(pager_of(t), root, 0, 3000000, scan_hash,
                         &(uint64_t){ 0 }) );
  }
  TRY( toy_rollback(t) );
done:
  return rc;
}

TEST(fault__array_puts){
  struct sweep s = { .name="put", .make=make_small_arrays, .act=act_put,
                     .once=true, .extra=&extra };
  sweep_run(&s);
  s.name = "put wide elements";
  s.act = act_put_wide;
  sweep_run(&s);
}

TEST(fault__array_clears){
  struct sweep s = { .name="clear", .make=make_arrays, .act=act_clear,
                     .once=true, .extra=&extra };
  sweep_run(&s);
  s.name = "clear wide elements";
  s.act = act_clear_wide;
  sweep_run(&s);
  s.name = "destroy";
  s.act = act_destroy_array;
  sweep_run(&s);
}

TEST(fault__array_gets){
  struct sweep s = { .name="get", .make=make_arrays, .act=act_get, .once=true,
                     .extra=&extra };
  sweep_run(&s);
}
