/* t_btree.c -- B+trees against a sorted array, and against damage.
**
** The model keeps every entry as key, length and seed of its value, sorted.
** A stream of random operations goes to the tree and to the model; transactions
** and savepoints copy the model and put it back. Everything is in memory.
*/
#include "vt.h"

#include "pager/btree.h"
#include "pager/file.h"
#include "pager/format.h"
#include "pager/pager.h"
#include "util/bytes.h"
#include "util/mem.h"
#include "util/rng.h"

/* ------------------------------------------------------------- the model */

struct entry {
  struct entry *next;                   /* in the list of all, for the end */
  unsigned n_key;
  uint32_t n_val;
  uint64_t seed;                        /* of the bytes of the value */
  unsigned char key[BTREE_KEY_MAX];
};

struct model {
  struct entry **e;                     /* sorted; entries are never changed */
  size_t n, n_cap;
};

static struct entry *entry_list;        /* copies of a model share entries */

static int entry_compare(const void *a, size_t na, const void *b, size_t nb){
  int c = memcmp(a, b, na<nb ? na : nb);
  return c ? c : (na>nb) - (na<nb);
}

/* The first entry with a key >= key. */
static size_t model_search(const struct model *m, const void *key, size_t n,
                           bool *found){
  size_t lo = 0, hi = m->n;
  *found = false;
  while( lo<hi ){
    size_t mid = (lo+hi)/2;
    int c = entry_compare(m->e[mid]->key, m->e[mid]->n_key, key, n);
    if( c==0 ) *found = true;
    if( c<0 ) lo = mid+1;
    else hi = mid;
  }
  return lo;
}

static void model_put(struct model *m, const void *key, size_t n,
                      uint32_t n_val, uint64_t seed){
  struct entry *e = malloc(sizeof(*e));
  bool found;
  size_t i = model_search(m, key, n, &found);
  e->next = entry_list;
  entry_list = e;
  e->n_key = (unsigned)n;
  memcpy(e->key, key, n);
  e->n_val = n_val;
  e->seed = seed;
  if( m->n==m->n_cap ){
    m->n_cap = m->n_cap ? 2*m->n_cap : 64;
    m->e = realloc(m->e, m->n_cap*sizeof(*m->e));
  }
  if( !found ){
    memmove(m->e+i+1, m->e+i, (m->n-i)*sizeof(*m->e));
    m->n++;
  }
  m->e[i] = e;                          /* the old one may be in a copy */
}

static void model_delete(struct model *m, size_t i){
  m->n--;
  memmove(m->e+i, m->e+i+1, (m->n-i)*sizeof(*m->e));
}

static struct model model_copy(const struct model *m){
  struct model c = { NULL, m->n, m->n };
  c.e = malloc((m->n+1)*sizeof(*c.e));
  if( m->n ) memcpy(c.e, m->e, m->n*sizeof(*c.e));
  return c;
}

static void value_fill(unsigned char *p, uint32_t n, uint64_t seed){
  struct vdb_rng r;
  uint32_t i;
  vdb_rng_init(&r, seed);
  for(i=0; i+8<=n; i+=8) put_u64(p+i, vdb_rng_u64(&r));
  for(; i<n; i++) p[i] = (unsigned char)vdb_rng_u64(&r);
}

/* -------------------------------------------- the smallest possible page */

/* A host's page store of 4032 bytes a page; it keeps what was flushed. */
enum { HOST_USABLE = 4032, HOST_PAGES = 20000 };
static unsigned char *host_page[HOST_PAGES];
static uint64_t host_version;

static int host_begin(void *arg, uint64_t *version){
  (void)arg;
  *version = host_version;
  return VECDB_OK;
}
static int host_end(void *arg, int committed){
  (void)arg;
  host_version += committed!=0;
  return VECDB_OK;
}
static int host_read(void *arg, uint32_t pgno, void *buf){
  (void)arg;
  if( pgno>=HOST_PAGES || !host_page[pgno] ) return VECDB_NOTFOUND;
  memcpy(buf, host_page[pgno], HOST_USABLE);
  return VECDB_OK;
}
static int host_flush(void *arg, size_t n, const uint32_t *pgno,
                      const void *const *pages){
  (void)arg;
  for(size_t i=0; i<n; i++){
    if( pgno[i]>=HOST_PAGES ) return VECDB_FULL;
    if( !host_page[pgno[i]] ) host_page[pgno[i]] = malloc(HOST_USABLE);
    memcpy(host_page[pgno[i]], pages[i], HOST_USABLE);
  }
  return VECDB_OK;
}
static int host_free(void *arg, uint32_t pgno){
  (void)arg;
  if( pgno<HOST_PAGES ){
    free(host_page[pgno]);
    host_page[pgno] = NULL;
  }
  return VECDB_OK;
}
static const struct vecdb_page_store host_store = {
  .size = sizeof(host_store), .usable_size = HOST_USABLE,
  .begin_read = host_begin, .begin_write = host_begin, .end = host_end,
  .read_page = host_read, .flush = host_flush, .free_page = host_free
};

/* --------------------------------------------------------------- helpers */

struct bench {                          /* a database with one or two trees */
  struct vecdb_file_ops *ops;           /* of a file in RAM, or NULL */
  struct vdb_err err;
  struct pager *p;
  page_no root;
  struct model m;
  struct vdb_rng rng;
  bool is_long;                         /* all keys near the maximum */
  unsigned n_key_max;                   /* shape of the keys .. */
  uint32_t n_val_max;                   /* .. and values of this run */
  unsigned char *val;                   /* scratch */
};

static void bench_open_with(struct bench *b, struct pager_config *cfg,
                            uint64_t seed){
  cfg->open_flags |= VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE;
  cfg->fixed_seed = 1;
  REQUIRE_RC(VECDB_OK, vdb_pager_open(cfg, &b->err, &b->p));
  vdb_rng_init(&b->rng, seed);
  b->n_key_max = 40;
  b->n_val_max = 100;
  b->val = malloc(200000);
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b->p));
  REQUIRE_RC(VECDB_OK, vdb_btree_create(b->p, &b->root));
  REQUIRE_RC(VECDB_OK, vdb_pager_commit(b->p));
}

static void bench_open(struct bench *b, uint32_t sz_page, uint64_t seed){
  struct pager_config cfg;
  memset(b, 0, sizeof(*b));
  memset(&cfg, 0, sizeof(cfg));
  if( sz_page==HOST_USABLE ) cfg.store = &host_store;
  else cfg.open_flags = VECDB_OPEN_MEMORY;
  cfg.sz_page = sz_page==HOST_USABLE ? 0 : sz_page;
  bench_open_with(b, &cfg, seed);
}

/* A file, and the smallest cache there is: dirty pages go to the log before
** the commit and come back from it. */
static void bench_open_spilling(struct bench *b, uint64_t seed){
  struct pager_config cfg;
  memset(b, 0, sizeof(*b));
  memset(&cfg, 0, sizeof(cfg));
  REQUIRE_RC(VECDB_OK, vdb_file_mem_create(1, &b->ops));
  cfg.path = "t.vdb";
  cfg.file = b->ops;
  cfg.sz_cache = 1;
  bench_open_with(b, &cfg, seed);
}

static void bench_close(struct bench *b){
  if( vdb_pager_state(b->p)!=PAGER_NONE ) vdb_pager_rollback(b->p);
  CHECK_RC(VECDB_OK, vdb_pager_close(b->p));
  if( b->ops ) vdb_file_mem_destroy(b->ops);
  free(b->val);
  free(b->m.e);
  while( entry_list ){
    struct entry *next = entry_list->next;
    free(entry_list);
    entry_list = next;
  }
}

static unsigned below(struct bench *b, unsigned n){
  return vdb_rng_below(&b->rng, n);
}

/* Few distinct bytes and common prefixes, so that keys meet each other and
** separators need more than a byte. */
static unsigned key_make(struct bench *b, unsigned char *key){
  unsigned n = below(b, 20)==0 ? below(b, b->n_key_max+1)
                               : below(b, b->n_key_max<24 ? b->n_key_max+1
                                                          : 24);
  unsigned same = below(b, 3)==0 ? n/2 : 0;
  if( b->is_long ) same = n = b->n_key_max;
  for(unsigned i=0; i<n; i++){
    key[i] = i<same ? 'a' : (unsigned char)("ab\0\xff"[below(b, 4)]);
  }
  if( b->is_long ) put_key_u32(key+n-4, below(b, 4000));
  return n;
}

static uint32_t value_size(struct bench *b){
  switch( below(b, 40) ){
    case 0:  return b->n_val_max>2000 ? below(b, b->n_val_max+1) : 0;
    case 1:  return below(b, b->n_val_max<5000 ? b->n_val_max+1 : 5000);
    case 2:  return 0;
    default: return below(b, b->n_val_max<200 ? b->n_val_max+1 : 200);
  }
}

static void value_check(struct bench *b, const struct entry *e,
                        const unsigned char *val, size_t n){
  REQUIRE_U64(e->n_val, n);
  value_fill(b->val, e->n_val, e->seed);
  REQUIRE_MEM(b->val, val, n);
}

struct findings { int n_damage; int n_leak; char first[600]; };

static void findings_add(void *arg, int severity, const char *object,
                         const char *message){
  struct findings *f = arg;
  if( severity==2 && f->n_damage++==0 ){
    snprintf(f->first, sizeof(f->first), "%s: %s", object, message);
  }
  f->n_leak += severity==1;
}

static struct findings tree_findings(struct bench *b){
  struct findings f = { 0, 0, "" };
  struct census *c = NULL;
  uint64_t n_bad;
  REQUIRE_RC(VECDB_OK, vdb_census_begin(b->p, false, findings_add, &f, &c));
  REQUIRE_RC(VECDB_OK, vdb_btree_check(b->p, c, b->root, "tree"));
  REQUIRE_RC(VECDB_OK, vdb_census_end(c, &n_bad));
  return f;
}

static void tree_is_sound(struct bench *b){
  struct findings f = tree_findings(b);
  REQUIRE_STR("", f.first);
  REQUIRE_INT(0, f.n_leak);
}

/* The whole tree, forwards and back, is the model. */
static void tree_equals_model(struct bench *b){
  struct btree_cursor *c = NULL;
  const unsigned char *p;
  uint64_t n;
  size_t i, sz;
  bool at_end;

  REQUIRE_RC(VECDB_OK, vdb_btree_count(b->p, b->root, &n));
  REQUIRE_U64(b->m.n, n);
  REQUIRE_RC(VECDB_OK, vdb_btree_cursor_open(b->p, b->root, &c));
  REQUIRE_RC(VECDB_OK, vdb_btree_first(c, &at_end));
  for(i=0; !at_end; i++){
    REQUIRE(i<b->m.n);
    REQUIRE_RC(VECDB_OK, vdb_btree_key(c, &p, &sz));
    REQUIRE_U64(b->m.e[i]->n_key, sz);
    REQUIRE_MEM(b->m.e[i]->key, p, sz);
    REQUIRE_RC(VECDB_OK, vdb_btree_value(c, &p, &sz));
    value_check(b, b->m.e[i], p, sz);
    REQUIRE_RC(VECDB_OK, vdb_btree_next(c, &at_end));
  }
  REQUIRE_U64(b->m.n, i);
  REQUIRE_RC(VECDB_OK, vdb_btree_prev(c, &at_end));
  for(; !at_end; i--){
    REQUIRE(i>0);
    REQUIRE_RC(VECDB_OK, vdb_btree_key(c, &p, &sz));
    REQUIRE_U64(b->m.e[i-1]->n_key, sz);
    REQUIRE_MEM(b->m.e[i-1]->key, p, sz);
    REQUIRE_RC(VECDB_OK, vdb_btree_prev(c, &at_end));
  }
  REQUIRE_U64(0, i);
  vdb_btree_cursor_close(c);
}

/* ------------------------------------------------------- one operation */

static void op_put(struct bench *b){
  unsigned char key[BTREE_KEY_MAX];
  unsigned n = key_make(b, key);
  uint32_t n_val = value_size(b);
  uint64_t seed = vdb_rng_u64(&b->rng);
  enum btree_put_mode mode = (enum btree_put_mode)below(b, 3);
  bool found;
  size_t i = model_search(&b->m, key, n, &found);
  int rc, rc_want = VECDB_OK;

  if( found && mode==BTREE_INSERT ) rc_want = VECDB_EXISTS;
  if( !found && mode==BTREE_REPLACE ) rc_want = VECDB_NOTFOUND;
  if( found && below(b, 2) ) n_val = b->m.e[i]->n_val;    /* in place */
  value_fill(b->val, n_val, seed);
  rc = vdb_btree_put(b->p, b->root, key, n, b->val, n_val, mode);
  REQUIRE_RC(rc_want, rc);
  if( rc==VECDB_OK ) model_put(&b->m, key, n, n_val, seed);
}

static void op_delete(struct bench *b){
  unsigned char key[BTREE_KEY_MAX];
  unsigned n = key_make(b, key);
  bool found;
  size_t i = model_search(&b->m, key, n, &found);
  if( !found && b->m.n>0 && below(b, 4)>0 ){   /* mostly there */
    i = below(b, (unsigned)b->m.n);
    n = b->m.e[i]->n_key;
    memcpy(key, b->m.e[i]->key, n);
    found = true;
  }
  REQUIRE_RC(found ? VECDB_OK : VECDB_NOTFOUND,
             vdb_btree_delete(b->p, b->root, key, n));
  if( found ) model_delete(&b->m, i);
}

static void op_get(struct bench *b){
  unsigned char key[BTREE_KEY_MAX];
  unsigned n = key_make(b, key);
  struct vdb_str val = VDB_STR_INIT;
  bool found;
  size_t i = model_search(&b->m, key, n, &found);
  REQUIRE_RC(found ? VECDB_OK : VECDB_NOTFOUND,
             vdb_btree_get(b->p, b->root, key, n, &val));
  if( found ) value_check(b, b->m.e[i], (unsigned char*)val.z, val.n);
  vdb_str_clear(&val);
}

/* A cursor and where the model says it is: at `key` (which may have been
** deleted), or beyond an end. */
struct follower {
  struct btree_cursor *c;
  int at;                               /* -1 start, 0 entry, 1 end */
  unsigned n_key;
  unsigned char key[BTREE_KEY_MAX];
};

static void follower_at(struct bench *b, struct follower *f, size_t i,
                        bool at_end, int end){
  const unsigned char *p;
  size_t n;
  bool is_end = end<0 ? i==SIZE_MAX : i>=b->m.n;
  REQUIRE_INT(is_end, at_end);
  f->at = is_end ? end : 0;
  if( is_end ){
    REQUIRE_RC(VECDB_MISUSE, vdb_btree_key(f->c, &p, &n));
    return;
  }
  f->n_key = b->m.e[i]->n_key;
  memcpy(f->key, b->m.e[i]->key, f->n_key);
  REQUIRE_RC(VECDB_OK, vdb_btree_key(f->c, &p, &n));
  REQUIRE_U64(f->n_key, n);
  REQUIRE_MEM(f->key, p, n);
}

static void follower_value(struct bench *b, struct follower *f){
  const unsigned char *p;
  size_t n;
  bool found;
  size_t i = model_search(&b->m, f->key, f->n_key, &found);
  if( f->at!=0 ) return;
  REQUIRE_RC(found ? VECDB_OK : VECDB_NOTFOUND,
             vdb_btree_value(f->c, &p, &n));
  if( found ) value_check(b, b->m.e[i], p, n);
}

static void op_follow(struct bench *b, struct follower *f){
  unsigned char key[BTREE_KEY_MAX];
  unsigned n;
  bool at_end, found;
  size_t i = 0;

  switch( below(b, 12) ){
    case 0:
      REQUIRE_RC(VECDB_OK, vdb_btree_first(f->c, &at_end));
      follower_at(b, f, 0, at_end, 1);
      break;
    case 1:
      REQUIRE_RC(VECDB_OK, vdb_btree_last(f->c, &at_end));
      follower_at(b, f, b->m.n-1, at_end, -1);
      break;
    case 2:
      n = key_make(b, key);
      REQUIRE_RC(VECDB_OK, vdb_btree_seek(f->c, key, n, &at_end));
      i = model_search(&b->m, key, n, &found);
      follower_at(b, f, i, at_end, 1);
      break;
    case 3: case 4: case 5: case 6:
      if( f->at==0 ) i = model_search(&b->m, f->key, f->n_key, &found);
      REQUIRE_RC(VECDB_OK, vdb_btree_next(f->c, &at_end));
      if( f->at>0 ) i = b->m.n;
      else if( f->at==0 && found ) i++;
      follower_at(b, f, i, at_end, 1);
      break;
    case 7: case 8: case 9: case 10:
      i = b->m.n;
      if( f->at==0 ) i = model_search(&b->m, f->key, f->n_key, &found);
      REQUIRE_RC(VECDB_OK, vdb_btree_prev(f->c, &at_end));
      if( f->at<0 ) i = 0;
      follower_at(b, f, i-1, at_end, -1);
      break;
    default:
      follower_value(b, f);
  }
}

/* ------------------------------------------------- streams of operations */

enum { N_FOLLOWER = 3, N_SAVEPOINT = 3 };

struct stream {
  struct follower follow[N_FOLLOWER];
  struct model committed, save[N_SAVEPOINT];
  unsigned n_save;
};

static void stream_forget(struct stream *s, unsigned n){
  while( s->n_save>n ) free(s->save[--s->n_save].e);
}

static void op_transaction(struct bench *b, struct stream *s){
  unsigned n;
  switch( below(b, 6) ){
    case 0:
      REQUIRE_RC(VECDB_OK, vdb_pager_commit(b->p));
      free(s->committed.e);
      s->committed = model_copy(&b->m);
      stream_forget(s, 0);
      REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b->p));
      break;
    case 1:
      REQUIRE_RC(VECDB_OK, vdb_pager_rollback(b->p));
      free(b->m.e);
      b->m = model_copy(&s->committed);
      stream_forget(s, 0);
      REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b->p));
      break;
    case 2: case 3:
      if( s->n_save==N_SAVEPOINT ) break;
      REQUIRE_RC(VECDB_OK, vdb_pager_savepoint(b->p, &n));
      REQUIRE_INT(s->n_save, n);
      s->save[s->n_save++] = model_copy(&b->m);
      break;
    case 4:
      if( s->n_save==0 ) break;
      n = below(b, s->n_save);
      REQUIRE_RC(VECDB_OK, vdb_pager_rollback_to(b->p, n));
      free(b->m.e);
      b->m = model_copy(&s->save[n]);
      stream_forget(s, n+1);
      break;
    default:
      if( s->n_save==0 ) break;
      n = below(b, s->n_save);
      REQUIRE_RC(VECDB_OK, vdb_pager_release(b->p, n));
      stream_forget(s, n);
  }
}

/* Phases that grow and phases that shrink, so that both splits and merges of
** several levels happen. */
static void stream_run(struct bench *b, unsigned n_op){
  struct stream s;
  memset(&s, 0, sizeof(s));
  for(int i=0; i<N_FOLLOWER; i++){
    REQUIRE_RC(VECDB_OK, vdb_btree_cursor_open(b->p, b->root,
                                               &s.follow[i].c));
    s.follow[i].at = -1;
  }
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b->p));
  for(unsigned i=0; i<n_op; i++){
    bool is_growing = i/(n_op/4+1)%2==0;
    unsigned what = below(b, 100);
    if( what<(is_growing ? 45u : 10u) ) op_put(b);
    else if( what<55 ) op_delete(b);
    else if( what<60 ) op_get(b);
    else if( what<99 ) op_follow(b, &s.follow[below(b, N_FOLLOWER)]);
    else op_transaction(b, &s);
    if( i%1500==1499 ){
      tree_is_sound(b);
      tree_equals_model(b);
    }
  }
  tree_is_sound(b);
  tree_equals_model(b);
  for(int i=0; i<N_FOLLOWER; i++) vdb_btree_cursor_close(s.follow[i].c);
  stream_forget(&s, 0);
  free(s.committed.e);
}

static void stream_test(uint32_t sz_page, unsigned n_key_max,
                        uint32_t n_val_max, unsigned n_op){
  struct bench b;
  bench_open(&b, sz_page, vt_seed() + n_key_max*31 + n_val_max + sz_page);
  b.n_key_max = n_key_max;
  b.n_val_max = n_val_max;
  stream_run(&b, n_op*(unsigned)vt_scale());
  bench_close(&b);
}

TEST(btree__agrees_with_a_model_for_small_entries){
  stream_test(4096, 12, 20, 100000);
}
TEST(btree__agrees_with_a_model_for_all_key_sizes){
  stream_test(4096, BTREE_KEY_MAX, 100, 40000);
}
TEST(btree__agrees_with_a_model_for_long_values){
  stream_test(4096, 60, 100000, 20000);
}
TEST(btree__agrees_with_a_model_for_large_pages){
  stream_test(65536, BTREE_KEY_MAX, 100000, 15000);
}
TEST(btree__agrees_with_a_model_when_the_cache_spills){
  struct pager_stats st;
  struct bench b;
  bench_open_spilling(&b, vt_seed());
  b.n_key_max = 300;
  b.n_val_max = 100000;
  stream_run(&b, 20000*(unsigned)vt_scale());
  REQUIRE_RC(VECDB_OK, vdb_pager_stats(b.p, &st));
  CHECK(st.n_frame>1000);
  bench_close(&b);
}
static void deep_test(uint32_t sz_page){
  struct bench b;
  bench_open(&b, sz_page, vt_seed());
  b.n_key_max = BTREE_KEY_MAX;
  b.is_long = true;
  stream_run(&b, 30000*(unsigned)vt_scale());
  bench_close(&b);
  for(page_no i=0; i<HOST_PAGES; i++) host_free(NULL, i);
}
TEST(btree__agrees_with_a_model_when_deep){ deep_test(4096); }
TEST(btree__agrees_with_a_model_on_the_smallest_pages){
  deep_test(HOST_USABLE);
}
TEST(btree__agrees_with_a_model_for_empty_values){
  stream_test(4096, 30, 0, 60000);
}

/* Nothing but the longest keys: pages of four cells, deep trees. */
TEST(btree__grows_deep_and_shrinks_to_nothing){
  unsigned char key[BTREE_KEY_MAX];
  struct pager_stats st0, st;
  struct bench b;
  unsigned i, n = 3000;

  bench_open(&b, 4096, vt_seed());
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b.p));
  REQUIRE_RC(VECDB_OK, vdb_pager_stats(b.p, &st0));
  memset(key, 'k', sizeof(key));
  for(i=0; i<n; i++){
    put_key_u32(key+896, (uint32_t)((uint64_t)i*7919%n));
    REQUIRE_RC(VECDB_OK, vdb_btree_put(b.p, b.root, key, 900, "v", 1,
                                       BTREE_INSERT));
    model_put(&b.m, key, 900, 0, 0);
  }
  tree_is_sound(&b);
  for(i=0; i<n; i++){
    put_key_u32(key+896, (uint32_t)((uint64_t)i*104729%n));
    REQUIRE_RC(VECDB_OK, vdb_btree_delete(b.p, b.root, key, 900));
    if( i%300==0 ) tree_is_sound(&b);
  }
  tree_is_sound(&b);
  REQUIRE_RC(VECDB_OK, vdb_pager_stats(b.p, &st));
  CHECK_U64(st0.n_page - st0.n_free_page, st.n_page - st.n_free_page);
  bench_close(&b);
}

/* ---------------------------------------------------------- how full */

/* Bytes of entries per byte of page, after the root's page. */
static double tree_fill(struct bench *b, uint64_t n_byte,
                        const struct pager_stats *st0){
  struct pager_stats st;
  REQUIRE_RC(VECDB_OK, vdb_pager_stats(b->p, &st));
  return (double)n_byte/((double)((st.n_page - st.n_free_page)
                         - (st0->n_page - st0->n_free_page))*st.sz_page);
}

static double fill_after(bool is_random, bool bulk){
  struct btree_loader *l = NULL;
  struct pager_stats st0;
  unsigned char key[8];
  uint64_t n = 40000;
  struct bench b;
  double fill;

  bench_open(&b, 4096, 1);
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b.p));
  REQUIRE_RC(VECDB_OK, vdb_pager_stats(b.p, &st0));
  if( bulk ) REQUIRE_RC(VECDB_OK, vdb_btree_load_begin(b.p, b.root, &l));
  for(uint64_t i=0; i<n; i++){
    put_key_i64(key, (int64_t)(is_random ? vdb_mix64(i) : i));
    if( bulk ) REQUIRE_RC(VECDB_OK, vdb_btree_load_add(l, key, 8, "four", 4));
    else REQUIRE_RC(VECDB_OK, vdb_btree_put(b.p, b.root, key, 8, "four", 4,
                                            BTREE_INSERT));
  }
  if( bulk ) REQUIRE_RC(VECDB_OK, vdb_btree_load_end(l, true));
  tree_is_sound(&b);
  fill = tree_fill(&b, n*16, &st0);     /* 12 bytes, 2 lengths, an offset */
  bench_close(&b);
  return fill;
}

TEST(btree__leaves_full_pages_behind_ascending_inserts){
  double fill = fill_after(false, false);
  CHECK(fill>0.97);
}
TEST(btree__loads_full_pages){
  double fill = fill_after(false, true);
  CHECK(fill>0.97);
}
TEST(btree__keeps_pages_two_thirds_full_under_random_inserts){
  double fill = fill_after(true, false);
  CHECK(fill>0.62);
  CHECK(fill<0.80);
}

/* Frames a commit of one change takes, on average, in a tree of random keys. */
static void frames_of_changes(double *per_put, double *per_delete){
  struct vecdb_file_ops *ops = NULL;
  struct pager_config cfg;
  struct pager_stats a, b, c;
  struct vdb_err err;
  struct pager *p = NULL;
  unsigned char key[8];
  page_no root;
  int n = 400, n_entry = 20000;

  memset(&cfg, 0, sizeof(cfg));
  memset(&err, 0, sizeof(err));
  REQUIRE_RC(VECDB_OK, vdb_file_mem_create(1, &ops));
  cfg.path = "t.vdb";
  cfg.file = ops;
  cfg.open_flags = VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE;
  REQUIRE_RC(VECDB_OK, vdb_pager_open(&cfg, &err, &p));
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(p));
  REQUIRE_RC(VECDB_OK, vdb_btree_create(p, &root));
  for(int i=0; i<n_entry; i++){
    put_key_i64(key, (int64_t)vdb_mix64((uint64_t)i));
    REQUIRE_RC(VECDB_OK, vdb_btree_put(p, root, key, 8, "four", 4,
                                       BTREE_INSERT));
  }
  REQUIRE_RC(VECDB_OK, vdb_pager_commit(p));
  REQUIRE_RC(VECDB_OK, vdb_pager_stats(p, &a));
  for(int i=0; i<n; i++){
    put_key_i64(key, (int64_t)vdb_mix64((uint64_t)(n_entry+i)));
    REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(p));
    REQUIRE_RC(VECDB_OK, vdb_btree_put(p, root, key, 8, "four", 4,
                                       BTREE_INSERT));
    REQUIRE_RC(VECDB_OK, vdb_pager_commit(p));
  }
  REQUIRE_RC(VECDB_OK, vdb_pager_stats(p, &b));
  for(int i=0; i<n; i++){
    put_key_i64(key, (int64_t)vdb_mix64((uint64_t)(n_entry+i)));
    REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(p));
    REQUIRE_RC(VECDB_OK, vdb_btree_delete(p, root, key, 8));
    REQUIRE_RC(VECDB_OK, vdb_pager_commit(p));
  }
  REQUIRE_RC(VECDB_OK, vdb_pager_stats(p, &c));
  *per_put = (double)(b.n_frame - a.n_frame)/n;
  *per_delete = (double)(c.n_frame - b.n_frame)/n;
  REQUIRE_RC(VECDB_OK, vdb_pager_close(p));
  vdb_file_mem_destroy(ops);
}

TEST(btree__changes_one_page_for_one_entry){
  double per_put, per_delete;
  frames_of_changes(&per_put, &per_delete);
  CHECK_DBL(2, per_put, 0.02);             /* the leaf and the commit .. */
  CHECK_DBL(2, per_delete, 0.02);          /* .. but for a rare split */
}

/* ------------------------------------------------------------ bulk load */

TEST(btree__loads_what_the_model_holds){
  struct btree_loader *l = NULL;
  unsigned char key[BTREE_KEY_MAX];
  struct bench b;

  bench_open(&b, 4096, vt_seed());
  b.n_key_max = BTREE_KEY_MAX;
  b.n_val_max = 20000;
  for(int i=0; i<2000; i++){
    unsigned n = key_make(&b, key);
    model_put(&b.m, key, n, value_size(&b), (uint64_t)i);
  }
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b.p));
  REQUIRE_RC(VECDB_OK, vdb_btree_load_begin(b.p, b.root, &l));
  for(size_t i=0; i<b.m.n; i++){
    struct entry *e = b.m.e[i];
    value_fill(b.val, e->n_val, e->seed);
    REQUIRE_RC(VECDB_OK, vdb_btree_load_add(l, e->key, e->n_key, b.val,
                                            e->n_val));
  }
  REQUIRE_RC(VECDB_OK, vdb_btree_load_end(l, true));
  tree_is_sound(&b);
  tree_equals_model(&b);
  for(int i=0; i<2000; i++) op_delete(&b);           /* and it can shrink */
  tree_is_sound(&b);
  tree_equals_model(&b);
  bench_close(&b);
}

TEST(btree__is_empty_after_an_aborted_load){
  struct btree_loader *l = NULL;
  unsigned char key[4];
  struct bench b;

  bench_open(&b, 4096, vt_seed());
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b.p));
  REQUIRE_RC(VECDB_OK, vdb_btree_load_begin(b.p, b.root, &l));
  for(uint32_t i=0; i<3000; i++){
    put_key_u32(key, i);
    REQUIRE_RC(VECDB_OK, vdb_btree_load_add(l, key, 4, b.val, i%5000));
  }
  CHECK_RC(VECDB_EXISTS, vdb_btree_load_add(l, key, 4, "", 0));
  CHECK_RC(VECDB_MISUSE, vdb_btree_load_add(l, "", 0, "", 0));
  REQUIRE_RC(VECDB_OK, vdb_btree_load_end(l, false));
  tree_is_sound(&b);
  tree_equals_model(&b);
  bench_close(&b);
}

/* Load after load into the same tree, with holes left by deletes between. */
TEST(btree__loads_behind_what_is_there){
  struct btree_loader *l = NULL;
  unsigned char key[4];
  struct bench b;
  uint32_t i = 0;

  bench_open(&b, 4096, vt_seed());
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b.p));
  for(int round=0; round<40; round++){
    REQUIRE_RC(VECDB_OK, vdb_btree_load_begin(b.p, b.root, &l));
    if( b.m.n>0 ){
      struct entry *e = b.m.e[b.m.n-1];
      CHECK_RC(VECDB_EXISTS, vdb_btree_load_add(l, e->key, e->n_key, "", 0));
    }
    for(unsigned n=below(&b, 700); n>0; n--){
      uint32_t n_val = below(&b, 50) ? below(&b, 90) : below(&b, 9000);
      put_key_u32(key, i += 1 + below(&b, 3));
      value_fill(b.val, n_val, i);
      REQUIRE_RC(VECDB_OK, vdb_btree_load_add(l, key, 4, b.val, n_val));
      model_put(&b.m, key, 4, n_val, i);
    }
    REQUIRE_RC(VECDB_OK, vdb_btree_load_end(l, true));
    for(unsigned n=below(&b, 300); n>0 && b.m.n>0; n--){
      size_t at = below(&b, 2) ? b.m.n-1 : below(&b, (unsigned)b.m.n);
      REQUIRE_RC(VECDB_OK, vdb_btree_delete(b.p, b.root, b.m.e[at]->key, 4));
      model_delete(&b.m, at);
    }
    tree_is_sound(&b);
    tree_equals_model(&b);
  }
  bench_close(&b);
}

/* --------------------------------------------------------------- limits */

TEST(btree__refuses_keys_beyond_the_limit){
  static unsigned char key[BTREE_KEY_MAX+1];
  struct vdb_str val = VDB_STR_INIT;
  struct bench b;

  bench_open(&b, 4096, 1);
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b.p));
  CHECK_RC(VECDB_OK, vdb_btree_put(b.p, b.root, key, 900, "v", 1,
                                   BTREE_INSERT));
  CHECK_RC(VECDB_TOOBIG, vdb_btree_put(b.p, b.root, key, 901, "v", 1,
                                       BTREE_INSERT));
  CHECK_RC(VECDB_OK, vdb_btree_put(b.p, b.root, key, 0, "w", 1,
                                   BTREE_INSERT));
  CHECK_RC(VECDB_NOTFOUND, vdb_btree_get(b.p, b.root, key, 901, &val));
  CHECK_RC(VECDB_OK, vdb_btree_get(b.p, b.root, "", 0, &val));
  CHECK_STR("w", val.z);
  vdb_str_clear(&val);
  bench_close(&b);
}

TEST(btree__orders_a_prefix_before_its_extension){
  static const char *const in_order[] = { "", "a", "a\x01", "aa", "b" };
  struct btree_cursor *c = NULL;
  const unsigned char *key;
  struct bench b;
  bool at_end;
  size_t n;

  bench_open(&b, 4096, 1);
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b.p));
  for(int i=4; i>=0; i--){
    REQUIRE_RC(VECDB_OK, vdb_btree_put(b.p, b.root, in_order[i],
                                       strlen(in_order[i]), "", 0,
                                       BTREE_INSERT));
  }
  REQUIRE_RC(VECDB_OK, vdb_btree_cursor_open(b.p, b.root, &c));
  REQUIRE_RC(VECDB_OK, vdb_btree_first(c, &at_end));
  for(int i=0; i<5; i++){
    REQUIRE(!at_end);
    REQUIRE_RC(VECDB_OK, vdb_btree_key(c, &key, &n));
    CHECK_U64(strlen(in_order[i]), n);
    CHECK_MEM(in_order[i], key, n);
    REQUIRE_RC(VECDB_OK, vdb_btree_next(c, &at_end));
  }
  CHECK(at_end);
  vdb_btree_cursor_close(c);
  bench_close(&b);
}

/* Two trees and a cursor on each: pages freed by one may become the other's. */
TEST(btree__cursors_survive_changes_of_another_tree){
  struct btree_cursor *c = NULL;
  const unsigned char *p;
  unsigned char key[4];
  page_no other;
  struct bench b;
  bool at_end;
  size_t n;

  bench_open(&b, 4096, 1);
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b.p));
  REQUIRE_RC(VECDB_OK, vdb_btree_create(b.p, &other));
  for(uint32_t i=0; i<2000; i++){
    put_key_u32(key, i);
    REQUIRE_RC(VECDB_OK, vdb_btree_put(b.p, b.root, key, 4, key, 4,
                                       BTREE_INSERT));
  }
  REQUIRE_RC(VECDB_OK, vdb_btree_cursor_open(b.p, b.root, &c));
  REQUIRE_RC(VECDB_OK, vdb_btree_first(c, &at_end));
  for(uint32_t i=0; i<2000; i++){        /* move each entry to the other */
    REQUIRE(!at_end);
    REQUIRE_RC(VECDB_OK, vdb_btree_key(c, &p, &n));
    REQUIRE_U64(i, get_key_u32(p));
    put_key_u32(key, i);
    REQUIRE_RC(VECDB_OK, vdb_btree_delete(b.p, b.root, key, 4));
    REQUIRE_RC(VECDB_NOTFOUND, vdb_btree_value(c, &p, &n));
    REQUIRE_RC(VECDB_OK, vdb_btree_put(b.p, other, key, 4, key, 4,
                                       BTREE_INSERT));
    REQUIRE_RC(VECDB_OK, vdb_btree_next(c, &at_end));
  }
  CHECK(at_end);
  vdb_btree_cursor_close(c);
  REQUIRE_RC(VECDB_OK, vdb_btree_destroy(b.p, other));
  tree_is_sound(&b);
  tree_equals_model(&b);
  bench_close(&b);
}

TEST(btree__clear_and_destroy_return_every_page){
  struct pager_stats st0, st;
  page_no other;
  struct bench b;

  bench_open(&b, 4096, vt_seed());
  b.n_val_max = 30000;
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b.p));
  REQUIRE_RC(VECDB_OK, vdb_pager_stats(b.p, &st0));
  for(int i=0; i<3000; i++) op_put(&b);
  REQUIRE_RC(VECDB_OK, vdb_btree_clear(b.p, b.root));
  free(b.m.e);
  memset(&b.m, 0, sizeof(b.m));
  tree_is_sound(&b);
  tree_equals_model(&b);
  REQUIRE_RC(VECDB_OK, vdb_pager_stats(b.p, &st));
  CHECK_U64(st0.n_page - st0.n_free_page, st.n_page - st.n_free_page);
  REQUIRE_RC(VECDB_OK, vdb_btree_create(b.p, &other));
  REQUIRE_RC(VECDB_OK, vdb_btree_destroy(b.p, other));
  tree_is_sound(&b);
  bench_close(&b);
}

/* -------------------------------------------------------- out of memory */

/* One failing allocation at each place of a script in turn: the code is
** NOMEM, and after the rollback the tree is what it was. */
TEST(btree__rolls_back_from_every_failed_allocation){
  struct vdb_mem_stats before, after;
  struct bench b;
  int rc = VECDB_NOMEM;

  bench_open(&b, 4096, vt_seed());
  b.n_key_max = BTREE_KEY_MAX;
  b.n_val_max = 9000;
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b.p));
  for(int i=0; i<300; i++) op_put(&b);
  REQUIRE_RC(VECDB_OK, vdb_pager_commit(b.p));
  vdb_mem_stats(&before);
  for(uint64_t n=1; rc!=VECDB_OK; n++){
    struct btree_cursor *c = NULL;
    struct vdb_rng r;
    uint64_t n_entry;
    bool at_end = false;
    REQUIRE(n<5000);
    REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b.p));
    vdb_rng_init(&r, 7);
    vdb_mem_fail_at(n, n%2==0);
    rc = VECDB_OK;
    for(int i=0; i<40 && rc==VECDB_OK; i++){
      unsigned char key[BTREE_KEY_MAX];
      unsigned n_key = 1 + vdb_rng_below(&r, i%2 ? 900 : 20);
      memset(key, (int)vdb_rng_below(&r, 250), n_key);
      rc = vdb_btree_put(b.p, b.root, key, n_key, b.val,
                         vdb_rng_below(&r, i%4 ? 300 : 9000), BTREE_UPSERT);
    }
    for(size_t i=0; i<b.m.n && i<60 && rc==VECDB_OK; i++){
      rc = vdb_btree_delete(b.p, b.root, b.m.e[i]->key, b.m.e[i]->n_key);
      if( rc==VECDB_NOTFOUND ) rc = VECDB_OK;
    }
    if( rc==VECDB_OK ) rc = vdb_btree_cursor_open(b.p, b.root, &c);
    if( rc==VECDB_OK ) rc = vdb_btree_first(c, &at_end);
    while( rc==VECDB_OK && !at_end ){
      const unsigned char *p;
      size_t sz;
      rc = vdb_btree_value(c, &p, &sz);
      if( rc==VECDB_OK ) rc = vdb_btree_next(c, &at_end);
    }
    vdb_btree_cursor_close(c);
    if( rc==VECDB_OK ) rc = vdb_btree_count(b.p, b.root, &n_entry);
    if( rc==VECDB_OK ) rc = vdb_btree_clear(b.p, b.root);
    vdb_mem_fail_at(0, false);
    if( rc!=VECDB_OK ) REQUIRE_RC(VECDB_NOMEM, rc);
    REQUIRE_RC(VECDB_OK, vdb_pager_rollback(b.p));
    REQUIRE_RC(VECDB_OK, vdb_pager_begin_read(b.p));
    tree_equals_model(&b);
    REQUIRE_RC(VECDB_OK, vdb_pager_end_read(b.p));
  }
  vdb_mem_stats(&after);
  CHECK(after.n_block<=before.n_block+64);     /* cached pages, no leak */
  bench_close(&b);
  vdb_mem_stats(&after);
  CHECK_U64(0, after.n_block);
}

/* --------------------------------------------------------------- damage */

/* All pages of the database that are of a tree or chain. */
static size_t tree_pages(struct bench *b, page_no *out, size_t n_max){
  size_t n = 0;
  for(page_no i=1; i<=vdb_pager_n_page(b->p) && n<n_max; i++){
    struct page *pg = NULL;
    if( vdb_page_get(b->p, i, 0, &pg)!=VECDB_OK ) continue;
    if( pg->data[PAGEHDR_TYPE]==PAGE_BTREE_LEAF
     || pg->data[PAGEHDR_TYPE]==PAGE_BTREE_NODE
     || pg->data[PAGEHDR_TYPE]==PAGE_OVERFLOW ) out[n++] = i;
    vdb_page_unpin(b->p, pg);
  }
  return n;
}

/* Lies that single bytes rarely tell: about free space, about two cells in one
** place, about lengths. */
static void cell_damage(struct bench *b, unsigned char *d){
  uint32_t hdr = d[PAGEHDR_TYPE]==PAGE_BTREE_LEAF ? BTREELEAF_SIZE
                                                  : BTREENODE_SIZE;
  unsigned n = get_u16(d + BTREELEAF_NCELL);
  uint32_t off = get_u32(d + BTREELEAF_OFFCELL);
  unsigned char *slot = d + hdr + 2*below(b, n>0 && n<200 ? n : 1);
  switch( below(b, 5) ){
    case 0: put_u16(d + BTREELEAF_FRAG, (uint16_t)below(b, 65536)); break;
    case 1: put_u16(slot, get_u16(d + hdr)); break;
    case 2: d[get_u16(slot) % vdb_pager_usable(b->p)] ^= 3; break;
    case 3: put_u16(d + BTREELEAF_NCELL, (uint16_t)(n+1)); break;
    default: put_u32(d + BTREELEAF_OFFCELL, off + 2 - below(b, 5));
  }
}

/* Change a page behind the back of its checksum. The header of a tree page
** and the offsets behind it are hit most. */
static void page_damage(struct bench *b, page_no pgno){
  struct page *pg = NULL;
  uint32_t usable = vdb_pager_usable(b->p), off;
  REQUIRE_RC(VECDB_OK, vdb_page_get(b->p, pgno, 0, &pg));
  REQUIRE_RC(VECDB_OK, vdb_page_write(b->p, pg));
  for(unsigned n=1+below(b, 4); n>0; n--){
    off = 16 + below(b, below(b, 3) ? 60 : usable-16);
    switch( below(b, 6) ){
      case 0:  pg->data[off] = 0; break;
      case 1:  pg->data[off] = 0xff; break;
      case 2:  pg->data[off] ^= (unsigned char)(1u<<below(b, 8)); break;
      case 3:  pg->data[off] = (unsigned char)below(b, 256); break;
      default: if( pg->data[PAGEHDR_TYPE]!=PAGE_OVERFLOW ){
                 cell_damage(b, pg->data);
               }
    }
  }
  vdb_page_unpin(b->p, pg);
}

static bool rc_is_fine(int rc){
  return rc==VECDB_OK || rc==VECDB_NOTFOUND || rc==VECDB_EXISTS
      || (rc & 0xff)==VECDB_CORRUPT;
}

/* Everything a user could do to a damaged tree. */
static void damage_exercise(struct bench *b){
  struct btree_cursor *c = NULL;
  unsigned char key[BTREE_KEY_MAX];
  struct vdb_str val = VDB_STR_INIT;
  const unsigned char *p;
  uint64_t n;
  size_t sz;
  bool at_end = false;
  int rc;

  REQUIRE(rc_is_fine(vdb_btree_count(b->p, b->root, &n)));
  REQUIRE_RC(VECDB_OK, vdb_btree_cursor_open(b->p, b->root, &c));
  rc = below(b, 2) ? vdb_btree_first(c, &at_end) : vdb_btree_last(c, &at_end);
  while( rc==VECDB_OK && !at_end ){
    rc = vdb_btree_value(c, &p, &sz);
    if( rc==VECDB_OK ) rc = below(b, 9) ? vdb_btree_next(c, &at_end)
                                        : vdb_btree_prev(c, &at_end);
  }
  REQUIRE(rc_is_fine(rc));
  vdb_btree_cursor_close(c);
  for(int i=0; i<30; i++){
    unsigned n_key = key_make(b, key);
    uint32_t n_val = value_size(b);
    rc = below(b, 2)
       ? vdb_btree_put(b->p, b->root, key, n_key, b->val, n_val, BTREE_UPSERT)
       : vdb_btree_delete(b->p, b->root, key, n_key);
    REQUIRE(rc_is_fine(rc));
    REQUIRE(rc_is_fine(vdb_btree_get(b->p, b->root, key, n_key, &val)));
  }
  vdb_str_clear(&val);
  if( below(b, 2) ) REQUIRE(rc_is_fine(vdb_btree_clear(b->p, b->root)));
  else REQUIRE(rc_is_fine(vdb_btree_destroy(b->p, b->root)));
}

static void damage_test(uint32_t sz_page, bool is_long, int n_put,
                        int n_round){
  static page_no pages[2000];
  struct findings f;
  struct bench b;
  size_t n_page;
  unsigned sp;

  bench_open(&b, sz_page, vt_seed() + sz_page);
  b.n_key_max = BTREE_KEY_MAX;
  b.n_val_max = 6000;
  b.is_long = is_long;
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b.p));
  for(int i=0; i<n_put; i++) op_put(&b);
  REQUIRE_RC(VECDB_OK, vdb_pager_commit(b.p));
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b.p));
  n_page = tree_pages(&b, pages, VDB_ARRAY_LEN(pages));
  REQUIRE(n_page>4);
  for(int i=0; i<n_round*vt_scale(); i++){
    REQUIRE_RC(VECDB_OK, vdb_pager_savepoint(b.p, &sp));
    for(unsigned n=1+below(&b, 3); n>0; n--){
      page_damage(&b, below(&b, 3) ? pages[below(&b, (unsigned)n_page)]
                                   : b.root);
    }
    f = tree_findings(&b);
    VDB_UNUSED(f);
    damage_exercise(&b);
    REQUIRE_RC(VECDB_OK, vdb_pager_rollback_to(b.p, sp));
    REQUIRE_RC(VECDB_OK, vdb_pager_release(b.p, sp));
  }
  tree_is_sound(&b);
  tree_equals_model(&b);
  bench_close(&b);
}

TEST(btree__survives_damaged_pages){ damage_test(4096, false, 600, 300); }
TEST(btree__survives_damage_in_a_deep_tree){
  damage_test(4096, true, 300, 300);
}
TEST(btree__survives_damaged_large_pages){
  damage_test(65536, false, 6000, 40);
}

/* A node whose children are all one page, several levels deep, is not
** walked exponentially. */
TEST(btree__notices_children_that_repeat){
  unsigned char key[BTREE_KEY_MAX];
  struct page *pg = NULL;
  struct findings f;
  struct bench b;
  uint64_t n;
  page_no left;

  bench_open(&b, 4096, 1);
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b.p));
  memset(key, 'k', sizeof(key));
  for(uint32_t i=0; i<400; i++){
    put_key_u32(key+896, i);
    REQUIRE_RC(VECDB_OK, vdb_btree_put(b.p, b.root, key, 900, "", 0,
                                       BTREE_INSERT));
  }
  for(page_no i=1; i<=vdb_pager_n_page(b.p); i++){
    if( vdb_page_get(b.p, i, PAGE_BTREE_NODE, &pg)!=VECDB_OK ) continue;
    REQUIRE_RC(VECDB_OK, vdb_page_write(b.p, pg));
    unsigned n_cell = get_u16(pg->data + BTREENODE_NCELL);
    left = get_u32(pg->data + get_u16(pg->data + BTREENODE_SIZE));
    for(unsigned k=0; k<n_cell; k++){
      put_u32(pg->data + get_u16(pg->data + BTREENODE_SIZE + 2*k), left);
    }
    put_u32(pg->data + BTREENODE_RIGHT, left);
    vdb_page_unpin(b.p, pg);
  }
  CHECK_RC(VECDB_CORRUPT, vdb_btree_count(b.p, b.root, &n));
  f = tree_findings(&b);
  CHECK(f.n_damage>0);
  CHECK_RC(VECDB_CORRUPT, vdb_btree_clear(b.p, b.root));
  CHECK(strstr(b.err.msg, "page ")!=NULL);
  bench_close(&b);
}

/* What check is for: each kind of planted damage is found. */
TEST(btree__check_finds_planted_damage){
  struct page *pg = NULL;
  struct findings f;
  unsigned char key[4];
  struct bench b;
  unsigned sp;

  bench_open(&b, 4096, 1);
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b.p));
  for(uint32_t i=0; i<1000; i++){
    put_key_u32(key, i);
    REQUIRE_RC(VECDB_OK, vdb_btree_put(b.p, b.root, key, 4, b.val,
                                       i==500 ? 10000 : 4, BTREE_INSERT));
  }
  tree_is_sound(&b);
  for(int kind=0; kind<6; kind++){
    bool is_done = false;
    REQUIRE_RC(VECDB_OK, vdb_pager_savepoint(b.p, &sp));
    for(page_no i=1; i<=vdb_pager_n_page(b.p) && !is_done; i++){
      enum page_type type = kind==4 ? PAGE_BTREE_NODE
                          : kind==5 ? PAGE_OVERFLOW : PAGE_BTREE_LEAF;
      unsigned char *d;
      if( vdb_page_get(b.p, i, type, &pg)!=VECDB_OK ) continue;
      REQUIRE_RC(VECDB_OK, vdb_page_write(b.p, pg));
      d = pg->data;
      switch( kind ){
        case 0: put_u16(d + BTREELEAF_FRAG, 9); break;          /* space */
        case 1: d[get_u16(d + BTREELEAF_SIZE)+2] ^= 0x40; break;/* order */
        case 2: put_u16(d + BTREELEAF_SIZE, get_u16(d + BTREELEAF_SIZE+2));
                break;                                          /* overlap */
        case 3: put_u16(d + BTREELEAF_NCELL, 0); break;         /* empty */
        case 4: d[BTREENODE_LEVEL] = 2; break;                  /* level */
        default: put_u32(d + OVERFLOW_SEQ, 1);                  /* chain */
      }
      is_done = true;
      vdb_page_unpin(b.p, pg);
    }
    REQUIRE(is_done);
    f = tree_findings(&b);
    if( f.n_damage==0 ) FAIL("damage of kind %d was not found", kind);
    REQUIRE_RC(VECDB_OK, vdb_pager_rollback_to(b.p, sp));
    REQUIRE_RC(VECDB_OK, vdb_pager_release(b.p, sp));
  }
  tree_is_sound(&b);
  bench_close(&b);
}
