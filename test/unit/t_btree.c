/* t_btree.c -- B+trees against a sorted array.
**
** A stream of random operations goes to the tree and to the model (lib_tree.h);
** transactions and savepoints copy the model and put it back.
*/
#include "unit/lib_tree.h"

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
  bool at_end, found = false;
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
