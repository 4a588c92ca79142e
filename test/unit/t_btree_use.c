/* t_btree_use.c -- B+trees: how full they are, bulk load, limits, memory. */
#include "unit/lib_tree.h"

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

TEST(btree__refuses_values_beyond_the_limit){
  struct btree_loader *l = NULL;
  size_t n = ((size_t)1<<30) + 1;
  unsigned char key[BTREE_KEY_MAX+1] = "k";
  struct bench b;

  bench_open(&b, 4096, 1);
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b.p));
  CHECK_RC(VECDB_TOOBIG, vdb_btree_put(b.p, b.root, "k", 1, "", n,
                                       BTREE_INSERT));
  REQUIRE_RC(VECDB_OK, vdb_btree_load_begin(b.p, b.root, &l));
  CHECK_RC(VECDB_TOOBIG, vdb_btree_load_add(l, "k", 1, "", n));
  CHECK_RC(VECDB_TOOBIG, vdb_btree_load_add(l, key, BTREE_KEY_MAX+1, "", 0));
  CHECK_RC(VECDB_OK, vdb_btree_load_add(l, "k", 1, "", 0));
  REQUIRE_RC(VECDB_OK, vdb_btree_load_end(l, true));
  tree_is_sound(&b);
  bench_close(&b);
}

/* The empty key is a key, the empty value a value, whatever the way. */
TEST(btree__takes_empty_keys_and_values){
  struct btree_loader *l = NULL;
  struct btree_cursor *c = NULL;
  const unsigned char *p;
  struct bench b;
  bool at_end;
  size_t n;

  bench_open(&b, 4096, 1);
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b.p));
  REQUIRE_RC(VECDB_OK, vdb_btree_cursor_open(b.p, b.root, &c));
  CHECK_RC(VECDB_MISUSE, vdb_btree_value(c, &p, &n));
  CHECK_RC(VECDB_MISUSE, vdb_btree_key(c, &p, &n));
  REQUIRE_RC(VECDB_OK, vdb_btree_put(b.p, b.root, "", 0, "", 0,
                                     BTREE_INSERT));
  REQUIRE_RC(VECDB_OK, vdb_btree_load_begin(b.p, b.root, &l));
  CHECK_RC(VECDB_EXISTS, vdb_btree_load_add(l, "", 0, "", 0));
  CHECK_RC(VECDB_OK, vdb_btree_load_add(l, "a", 1, "v", 1));
  REQUIRE_RC(VECDB_OK, vdb_btree_load_end(l, true));
  REQUIRE_RC(VECDB_OK, vdb_btree_first(c, &at_end));
  REQUIRE(!at_end);
  REQUIRE_RC(VECDB_OK, vdb_btree_value(c, &p, &n));
  CHECK(p!=NULL);
  CHECK_U64(0, n);
  vdb_btree_cursor_close(c);
  tree_is_sound(&b);
  bench_close(&b);
}

TEST(btree__a_cursor_keeps_no_long_value){
  struct vdb_mem_stats before, after;
  struct btree_cursor *c = NULL;
  const unsigned char *p;
  struct bench b;
  bool at_end;
  size_t n;

  bench_open(&b, 4096, 1);
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b.p));
  memset(b.val, 'v', 200000);
  REQUIRE_RC(VECDB_OK, vdb_btree_put(b.p, b.root, "a", 1, b.val, 200000,
                                     BTREE_INSERT));
  REQUIRE_RC(VECDB_OK, vdb_btree_put(b.p, b.root, "b", 1, "short", 5,
                                     BTREE_INSERT));
  REQUIRE_RC(VECDB_OK, vdb_btree_cursor_open(b.p, b.root, &c));
  REQUIRE_RC(VECDB_OK, vdb_btree_first(c, &at_end));
  REQUIRE_RC(VECDB_OK, vdb_btree_value(c, &p, &n));
  CHECK_U64(200000, n);
  CHECK_MEM(b.val, p, n);
  vdb_mem_stats(&before);
  REQUIRE_RC(VECDB_OK, vdb_btree_next(c, &at_end));
  REQUIRE_RC(VECDB_OK, vdb_btree_value(c, &p, &n));
  CHECK_MEM("short", p, 5);
  vdb_mem_stats(&after);
  CHECK(after.sz_now+190000<before.sz_now);
  vdb_btree_cursor_close(c);
  bench_close(&b);
}

/* Long work asks now and then whether to stop. */
TEST(btree__stops_when_interrupted){
  static volatile int stop;
  struct vdb_str val = VDB_STR_INIT;
  struct pager_config cfg;
  struct census *c = NULL;
  struct bench b;
  uint64_t n;

  memset(&b, 0, sizeof(b));
  memset(&cfg, 0, sizeof(cfg));
  cfg.open_flags = VECDB_OPEN_MEMORY;
  cfg.interrupted = &stop;
  bench_open_with(&b, &cfg, 1);
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b.p));
  REQUIRE_RC(VECDB_OK, vdb_btree_put(b.p, b.root, "k", 1, b.val, 9000,
                                     BTREE_INSERT));
  stop = 1;
  CHECK_RC(VECDB_INTERRUPT, vdb_btree_get(b.p, b.root, "k", 1, &val));
  CHECK_RC(VECDB_INTERRUPT, vdb_btree_count(b.p, b.root, &n));
  CHECK_RC(VECDB_INTERRUPT, vdb_btree_put(b.p, b.root, "m", 1, b.val, 9000,
                                          BTREE_INSERT));
  REQUIRE_RC(VECDB_OK, vdb_census_begin(b.p, false, NULL, NULL, &c));
  CHECK_RC(VECDB_INTERRUPT, vdb_btree_check(b.p, c, b.root, "tree"));
  stop = 0;
  REQUIRE_RC(VECDB_OK, vdb_census_end(c, &n));
  CHECK_RC(VECDB_OK, vdb_btree_get(b.p, b.root, "k", 1, &val));
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
