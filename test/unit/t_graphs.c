/* t_graphs.c -- graphs inside the store: transactions, snapshots, other homes
** of pages, damage, failing memory.
**
** Each home (memory, file, file without mapping, pages of a host) has its own
** way to keep the bytes of an extent; what must never happen is that a search
** reads those of another state. Results of one state are the same wherever it
** lies, so answers are compared to the bit.
*/
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "api/graph.h"

#include "store/coll_int.h"
#include "store/graphs.h"
#include "pager/file.h"
#include "util/crc32c.h"
#include "unit/lib_host.h"

enum home { HOME_MEMORY, HOME_FILE, HOME_NO_MMAP, HOME_HOST, N_HOME };

struct world {
  enum home home;
  struct vecdb_file_ops *ops;
  struct host *host;
  uint64_t cache;
  vecdb *db;
  vecdb_collection *c;
};

static vecdb *world_connect(struct world *w){
  vecdb_options o = VECDB_OPTIONS_INIT;
  uint32_t flags = VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE;
  vecdb *db = NULL;
  o.threads = 1;
  o.file = w->ops;
  o.no_mmap = w->home==HOME_NO_MMAP;
  o.cache_bytes = w->cache;
  o.sync = VECDB_SYNC_OFF;
  if( w->home==HOME_HOST ) o.store = &w->host->ops;
  if( w->home==HOME_MEMORY || w->home==HOME_HOST ) flags = VECDB_OPEN_MEMORY;
  if( !OK(db, vecdb_open(w->ops ? "x.vdb" : "", flags, &o, &db)) ) vt_stop();
  return db;
}

static void world_create(struct world *w, enum home home, uint64_t n_row){
  memset(w, 0, sizeof(*w));
  w->home = home;
  if( home==HOME_HOST ) w->host = host_create();
  if( home==HOME_FILE || home==HOME_NO_MMAP ){
    REQUIRE_RC(VECDB_OK, vdb_file_mem_create(vt_seed(), &w->ops));
  }
  w->db = world_connect(w);
  w->c = g_table(w->db, G_SCHEMA, VECDB_F32, n_row);
}

static void world_destroy(struct world *w){
  OK(w->db, vecdb_check(w->db, 0, NULL, NULL));
  OK(w->db, vecdb_close(w->db));
  if( w->host ) host_destroy(w->host);
  vdb_file_mem_destroy(w->ops);
}

/* ---- Answers ------------------------------------------------------------- */

enum { N_QUERY = 24 };
struct answers { int64_t key[N_QUERY*G_K]; float distance[N_QUERY*G_K]; };

static int answers_try(vecdb_collection *c, uint32_t ef, bool exact,
                       struct answers *a){
  static float q[N_QUERY*G_DIMS];
  vecdb_search_options o = g_options(G_K, ef);
  if( exact ) o.flags = VECDB_SEARCH_EXACT;
  for(uint64_t i=0; i<N_QUERY; i++) g_vector(1000000+i, q + i*G_DIMS);
  return vecdb_search_many(c, &o, N_QUERY, VECDB_F32, q, 0, a->key,
                           a->distance, NULL);
}

static struct answers answers_get(vecdb_collection *c, uint32_t ef){
  struct answers a, b;
  float q[G_DIMS];
  static struct answer one;
  vecdb_search_options o = g_options(G_K, ef);
  OK(vecdb_collection_db(c), answers_try(c, ef, false, &a));
  for(uint64_t i=0; i<N_QUERY; i++){
    g_vector(1000000+i, q);
    g_search(c, &o, VECDB_F32, q, &one);
    memcpy(b.key + i*G_K, one.key, 8*G_K);
    memcpy(b.distance + i*G_K, one.distance, 4*G_K);
  }
  CHECK_MEM(a.key, b.key, sizeof(a.key));
  return a;
}

static void answers_same(const struct answers *a, const struct answers *b){
  CHECK_MEM(a->key, b->key, sizeof(a->key));
  CHECK_MEM(a->distance, b->distance, sizeof(a->distance));
}

/* The graph is used and right: most of the exact answer. */
static void answers_good(vecdb_collection *c){
  struct answers a = answers_get(c, 20), e;
  int n = 0;
  CHECK_STR("graph", g_info(c).plan);
  OK(vecdb_collection_db(c), answers_try(c, 0, true, &e));
  for(int i=0; i<N_QUERY; i++){
    for(int j=0; j<G_K; j++){
      n += a.distance[i*G_K+j]<=e.distance[i*G_K+G_K-1];
    }
  }
  CHECK(n>=N_QUERY*G_K*9/10);
}

static void erase(vecdb_collection *c, int64_t lo, int64_t hi){
  vecdb *db = vecdb_collection_db(c);
  vecdb_stmt *s = NULL;
  OK(db, vecdb_prepare_delete(c, &s));
  for(int64_t i=lo; i<hi; i++){
    OK(db, vecdb_bind_int64(s, VECDB_KEY, i));
    DONE(db, vecdb_step(s));
    OK(db, vecdb_reset(s));
  }
  OK(db, vecdb_finalize(s));
}

/* ---- Transactions -------------------------------------------------------- */

/* What is rolled back has version numbers and numbers of pages that are used
** again: nothing of it may be seen afterwards. */
static void undo_and_do(struct world *w, int round){
  vecdb *db = w->db;
  struct answers before = answers_get(w->c, 12), inner;
  uint64_t at = 100000 + 1000*(uint64_t)round;
  OK(db, vecdb_begin(db, VECDB_WRITE));
  erase(w->c, 10*round, 10*round+5);
  g_fill(w->c, VECDB_F32, at, at+150);
  OK(db, g_optimize(w->c));
  inner = answers_get(w->c, 12);
  OK(db, vecdb_savepoint(db, 1));
  g_fill(w->c, VECDB_F32, at+200, at+300);
  OK(db, g_optimize(w->c));
  answers_good(w->c);
  OK(db, vecdb_rollback_to(db, 1));
  { struct answers a = answers_get(w->c, 12); answers_same(&inner, &a); }
  OK(db, vecdb_rollback(db));
  { struct answers a = answers_get(w->c, 12); answers_same(&before, &a); }
  OK(db, vecdb_begin(db, VECDB_WRITE));
  erase(w->c, 10*round+5, 10*round+10);
  g_fill(w->c, VECDB_F32, at+400, at+500);
  OK(db, g_optimize(w->c));
  answers_good(w->c);
  OK(db, vecdb_commit(db));
  answers_good(w->c);
  OK(db, vecdb_check(db, 0, NULL, NULL));
}

TEST(graphs__follow_rollback_and_savepoint){
  for(int home=0; home<N_HOME; home++){
    struct world w;
    world_create(&w, (enum home)home, 700);
    undo_and_do(&w, 0);
    if( home==HOME_HOST ) undo_and_do(&w, 1);
    world_destroy(&w);
  }
}

TEST(graphs__of_a_snapshot_stay_while_others_rebuild){
  for(int home=HOME_FILE; home<=HOME_NO_MMAP; home++){
    struct world w;
    vecdb *b;
    vecdb_collection *cb;
    world_create(&w, (enum home)home, 700);
    b = world_connect(&w);
    cb = api_collection(b, "t", NULL);
    for(uint64_t round=0; round<3; round++){
      struct answers before, now;
      OK(b, vecdb_begin(b, VECDB_READ));
      before = answers_get(cb, 12);
      erase(w.c, (int64_t)(20*round), (int64_t)(20*round+20));
      g_fill(w.c, VECDB_F32, 10000+round*100, 10000+round*100+50);
      OK(w.db, g_optimize(w.c));
      vecdb_checkpoint(w.db, VECDB_CHECKPOINT_PASSIVE, NULL, NULL);
      now = answers_get(cb, 12);
      answers_same(&before, &now);
      if( round%2 ) OK(w.db, g_optimize(w.c));
      OK(b, vecdb_rollback(b));
      OK(w.db, vecdb_checkpoint(w.db, VECDB_CHECKPOINT_RESTART, NULL, NULL));
      before = answers_get(w.c, 12);
      now = answers_get(cb, 12);
      answers_same(&before, &now);
      answers_good(cb);
    }
    OK(b, vecdb_close(b));
    world_destroy(&w);
  }
}

/* A prepared state may be read before it is decided; when it is undone the next
** commit has its version numbers. */
TEST(graphs__of_an_undecided_state_are_forgotten){
  unsigned char uuid[16] = { 1 };
  struct world w;
  vecdb *b;
  vecdb_collection *cb;
  world_create(&w, HOME_FILE, 700);
  b = world_connect(&w);
  cb = api_collection(b, "t", NULL);
  OK(w.db, vecdb_begin(w.db, VECDB_WRITE));
  g_fill(w.c, VECDB_F32, 10000, 10200);
  OK(w.db, g_optimize(w.c));
  OK(w.db, vecdb_prepare_commit(w.db, uuid, 77));
  OK(b, vecdb_begin_read_at(b, 77));
  answers_good(cb);
  CHECK_U64(900, g_graph_rows(cb));
  OK(b, vecdb_rollback(b));
  OK(w.db, vecdb_decide(w.db, 0));
  OK(w.db, vecdb_begin(w.db, VECDB_WRITE));
  erase(w.c, 0, 200);
  g_fill(w.c, VECDB_F32, 20000, 20199);
  OK(w.db, g_optimize(w.c));
  OK(w.db, vecdb_commit(w.db));
  CHECK_U64(699, g_graph_rows(cb));
  answers_good(cb);
  OK(b, vecdb_close(b));
  world_destroy(&w);
}

TEST(graphs__survive_reopening_vacuum_and_backup){
  for(int home=0; home<N_HOME; home++){
    struct world w;
    struct answers before, now;
    world_create(&w, (enum home)home, 700);
    before = answers_get(w.c, 12);
    if( home!=HOME_MEMORY ){
      OK(w.db, vecdb_close(w.db));
      w.db = world_connect(&w);
      w.c = api_collection(w.db, "t", NULL);
      now = answers_get(w.c, 12);
      answers_same(&before, &now);
    }
    erase(w.c, 0, 30);
    OK(w.db, vecdb_vacuum(w.db));
    CHECK_U64(670, g_graph_rows(w.c));
    answers_good(w.c);
    if( home==HOME_FILE ){
      vecdb_options o = VECDB_OPTIONS_INIT;
      vecdb *copy = NULL;
      o.file = w.ops;
      before = answers_get(w.c, 12);
      OK(w.db, vecdb_backup(w.db, "copy.vdb"));
      OK(w.db, vecdb_open("copy.vdb", VECDB_OPEN_READWRITE, &o, &copy));
      now = answers_get(api_collection(copy, "t", NULL), 12);
      answers_same(&before, &now);
      OK(copy, vecdb_close(copy));
    }
    OK(w.db, vecdb_check(w.db, 0, NULL, NULL));
    OK(w.db, vecdb_drop_collection(w.db, "t"));
    world_destroy(&w);                           /* check: nothing leaks */
  }
}

static void drop_in_transaction(struct world *w){
  struct answers before = answers_get(w->c, 12), now;
  OK(w->db, vecdb_begin(w->db, VECDB_WRITE));
  OK(w->db, vecdb_drop_collection(w->db, "t"));
  OK(w->db, vecdb_rollback(w->db));
  now = answers_get(w->c, 12);
  answers_same(&before, &now);
  OK(w->db, vecdb_begin(w->db, VECDB_WRITE));
  OK(w->db, vecdb_drop_collection(w->db, "t"));
  w->c = g_table(w->db, G_SCHEMA, VECDB_F32, 600);
  answers_good(w->c);
  OK(w->db, vecdb_commit(w->db));
  answers_good(w->c);
}

TEST(graphs__follow_drop_and_create){
  for(int home=0; home<N_HOME; home++){
    struct world w;
    world_create(&w, (enum home)home, 700);
    drop_in_transaction(&w);
    world_destroy(&w);
  }
}

/* Bytes that are read into memory stay within the budget, but for what one
** search needs. */
TEST(graphs__do_not_crowd_the_cache){
  for(int home=HOME_NO_MMAP; home<=HOME_HOST; home++){
    vecdb_stats st = { .size = sizeof(st) };
    struct world w;
    world_create(&w, (enum home)home, 5000);
    OK(w.db, vecdb_close(w.db));
    w.cache = 1<<20;
    w.db = world_connect(&w);
    w.c = api_collection(w.db, "t", NULL);
    answers_good(w.c);
    g_fill(w.c, VECDB_F32, 50000, 54500);        /* needs room for pages */
    answers_good(w.c);
    OK(w.db, vecdb_check(w.db, 0, NULL, NULL));
    OK(w.db, vecdb_stat(w.db, &st));
    if( !CHECK(st.cache_bytes<((uint64_t)4<<20)) ){
      printf("  %llu bytes\n", (unsigned long long)st.cache_bytes);
    }
    world_destroy(&w);
  }
}

/* ---- Interrupts and failing memory --------------------------------------- */

struct stopper { vecdb *db; atomic_int is_over; };

static void *stop_soon(void *arg){
  struct stopper *s = arg;
  while( !atomic_load(&s->is_over) ){
    usleep(60000);
    vecdb_interrupt(s->db);
  }
  return NULL;
}

TEST(graphs__interrupted_build_leaves_all_as_before){
  for(int home=0; home<N_HOME; home++){
    struct world w;
    struct answers before, now;
    world_create(&w, (enum home)home, 3000);
    before = answers_get(w.c, 12);
    g_fill(w.c, VECDB_F32, 70000, 70500);
    erase(w.c, 70000, 70500);
    for(int n=1; n<4; n++){
      struct stopper s = { w.db, 0 };
      pthread_t thread;
      erase(w.c, n, n+1);
      REQUIRE_INT(0, pthread_create(&thread, NULL, stop_soon, &s));
      CHECK_RC(VECDB_INTERRUPT, g_optimize(w.c));
      CHECK(strncmp("interrupted while at ", vecdb_errmsg(w.db), 21)==0);
      atomic_store(&s.is_over, 1);
      pthread_join(thread, NULL);
      CHECK_U64(3000, g_graph_rows(w.c));
      OK(w.db, vecdb_check(w.db, 0, NULL, NULL));
    }
    g_fill(w.c, VECDB_F32, 1, 4);
    now = answers_get(w.c, 12);
    CHECK_MEM(before.distance, now.distance, sizeof(now.distance));
    world_destroy(&w);
  }
}

TEST(graphs__search_survives_failing_memory){
  for(int home=HOME_FILE; home<N_HOME; home++){
    struct world w;
    struct answers before, now;
    static struct answer a;
    vecdb_search_options o = g_options(G_K, 12);
    float q[G_DIMS];
    int rc = VECDB_NOMEM;
    world_create(&w, (enum home)home, 700);
    erase(w.c, 7, 8);
    before = answers_get(w.c, 12);
    g_vector(1000000, q);
    for(uint64_t n=1; rc!=VECDB_OK && n<20000; n++){
      OK(w.db, vecdb_close(w.db));
      w.db = world_connect(&w);
      w.c = api_collection(w.db, "t", NULL);
      vdb_mem_fail_at(n, n%2);
      rc = g_try(w.c, &o, VECDB_F32, q, &a);
      if( rc==VECDB_OK ) rc = answers_try(w.c, 12, false, &now);
      if( vdb_mem_fail_at(0, false)>0 && rc==VECDB_OK ) rc = VECDB_NOMEM;
      if( rc!=VECDB_OK && !CHECK_RC(VECDB_NOMEM, rc) ) break;
      OK(w.db, answers_try(w.c, 12, false, &now));
      answers_same(&before, &now);
    }
    CHECK_RC(VECDB_OK, rc);
    world_destroy(&w);
  }
}

TEST(graphs__build_survives_failing_memory){
  struct world w;
  vdb_mem_fail_at(0, false);
  world_create(&w, HOME_FILE, 300);
  for(uint64_t n=1, step=1; n<100000; n+=step){
    int rc;
    uint64_t n_failed;
    if( n>200 ) step = n/8;
    OK(w.db, vecdb_begin(w.db, VECDB_WRITE));
    g_fill(w.c, VECDB_F32, 1000, 1010);
    vdb_mem_fail_at(n, n%3==0);
    rc = g_optimize(w.c);
    n_failed = vdb_mem_fail_at(0, false);
    if( rc!=VECDB_OK ) CHECK_RC(VECDB_NOMEM, rc);
    else CHECK_U64(310, g_graph_rows(w.c));
    OK(w.db, vecdb_rollback(w.db));
    if( !CHECK_U64(300, g_graph_rows(w.c)) ) break;
    if( n%16==0 ) OK(w.db, vecdb_check(w.db, 0, NULL, NULL));
    if( n_failed==0 ) break;
  }
  world_destroy(&w);
}

/* ---- Damage -------------------------------------------------------------- */

static bool is_clean(int rc){
  return rc==VECDB_OK || (rc & 0xff)==VECDB_CORRUPT || rc==VECDB_FORMAT;
}

/* Everything that reads a graph: OK or a CORRUPT code, never a crash. True if
** damage was told. */
static bool use_damaged(struct vecdb_file_ops *ops, bool *found){
  static struct answer a;
  struct answers many;
  vecdb_options o = VECDB_OPTIONS_INIT;
  vecdb_collection *c = NULL;
  vecdb *db = NULL;
  float q[G_DIMS];
  bool told = false;
  int rc;
  o.file = ops;
  o.threads = 1;
  rc = vecdb_open("x.vdb", VECDB_OPEN_READWRITE, &o, &db);
  if( rc==VECDB_OK ) rc = vecdb_collection_open(db, "t", &c);
  for(int i=0; rc==VECDB_OK && i<3; i++){
    vecdb_search_options so = g_options(G_K, 40);
    int rc1, rc2;
    so.filter = i==1 ? "id > 100" : NULL;
    g_vector(1000000+(uint64_t)i, q);
    rc1 = g_try(c, &so, VECDB_F32, q, &a);
    rc2 = answers_try(c, 40, false, &many);
    told |= rc1!=VECDB_OK || rc2!=VECDB_OK;
    CHECK(is_clean(rc1));
    CHECK(is_clean(rc2));
  }
  CHECK(is_clean(rc));
  rc = vecdb_check(db, 0, NULL, NULL);
  CHECK(is_clean(rc));
  *found = rc!=VECDB_OK;
  vecdb_close(db);
  return told;
}

/* The bytes of x.vdb, to be freed; or write n bytes. */
static unsigned char *file_get(struct vecdb_file_ops *ops, size_t *n){
  struct vdb_file *f = NULL;
  struct vdb_err err;
  unsigned char *p;
  uint64_t sz = 0;
  REQUIRE_RC(VECDB_OK, ops->open(ops->env, "x.vdb", 0, &f, &err));
  REQUIRE_RC(VECDB_OK, ops->size(f, &sz, &err));
  p = malloc((size_t)sz);
  REQUIRE_RC(VECDB_OK, ops->read(f, 0, p, (size_t)sz, n, &err));
  ops->close(f);
  return p;
}

static void file_put(struct vecdb_file_ops *ops, size_t off,
                     const unsigned char *p, size_t n){
  struct vdb_file *f = NULL;
  struct vdb_err err;
  REQUIRE_RC(VECDB_OK, ops->open(ops->env, "x.vdb", 0, &f, &err));
  REQUIRE_RC(VECDB_OK, ops->write(f, off, p, n, &err));
  ops->close(f);
}

/* Flip a bit in what the build has written: check finds it. */
TEST(graphs__flipped_bits_are_found){
  unsigned char *before, *after;
  size_t n_before, n_after, n_flip = 0, n_found = 0, n_told = 0;
  struct world w;
  world_create(&w, HOME_FILE, 700);
  OK(w.db, vecdb_drop_collection(w.db, "t"));
  OK(w.db, vecdb_vacuum(w.db));
  w.c = api_collection(w.db, "t", G_SCHEMA);
  g_fill(w.c, VECDB_F32, 0, 700);
  OK(w.db, vecdb_optimize(w.c, NULL));
  OK(w.db, vecdb_close(w.db));
  before = file_get(w.ops, &n_before);
  w.db = world_connect(&w);
  OK(w.db, g_optimize(api_collection(w.db, "t", NULL)));
  OK(w.db, vecdb_close(w.db));
  after = file_get(w.ops, &n_after);
  for(uint64_t i=0; n_flip<60 && i<4000; i++){
    size_t at = g_hash(i)%n_after;
    bool found = false;
    if( at<n_before && before[at]==after[at] ) continue;
    if( after[at]==0 ) continue;                 /* may be unused space */
    after[at] ^= (unsigned char)(1u<<(i%8));
    file_put(w.ops, at, after+at, 1);
    n_told += use_damaged(w.ops, &found);
    n_found += found;
    after[at] ^= (unsigned char)(1u<<(i%8));
    file_put(w.ops, at, after+at, 1);
    n_flip++;
  }
  printf("  %zu flips, %zu found by check, %zu by searches\n", n_flip, n_found,
         n_told);
  CHECK_U64(60, n_flip);
  CHECK(n_found>=58);                            /* headers have two copies */
  CHECK(n_told<=30);                             /* most are in the graph */
  free(before);
  free(after);
  w.db = world_connect(&w);
  world_destroy(&w);
}

static void block_seal(unsigned char *b, uint32_t stride){
  size_t end = GRAPHBLOCK_CRC + 4;
  put_u32(b+GRAPHBLOCK_CRC, vdb_crc32c(vdb_crc32c(0, b, GRAPHBLOCK_CRC), b+end,
                                       stride-end));
}

/* Rewrites the record of the graph, and its blocks, with right checksums; those
** of blocks themselves are wrong one time in three. */
struct tamper { uint64_t seed; bool is_block; };

static void tamper_record(const struct tamper *t, struct vdb_str *rec){
  unsigned char *p = (unsigned char*)rec->z;
  size_t n_head = vdb_min_sz(rec->n, GRAPHREC_SIZE+64+GRAPHHDR_SIZE);
  size_t at = g_hash(t->seed)%(t->seed%4 ? n_head : rec->n);
  static const uint32_t value[] = { 0, 1, 0xffffffff, 0x7fffffff, 0x10000,
                                    0x80000000 };
  if( t->seed%3==0 ) p[at] ^= (unsigned char)(1u<<(t->seed%8));
  else if( at+4<=rec->n ) put_u32(p+at/4*4, value[t->seed%6]);
}

static int tamper_blocks(struct coll *c, const struct tamper *t,
                         struct vdb_str *rec){
  unsigned char *p = (unsigned char*)rec->z, *copy = NULL;
  struct extent e = { 0 };
  page_no head = get_u32(p+GRAPHREC_SIZE), fresh;
  int rc;
  TRY( vdb_extent_pin(c->p, head, &e) );
  copy = malloc(e.sz);
  memcpy(copy, e.data, e.sz);
  for(uint64_t i=0; i<12; i++){
    uint32_t block = g_hash(t->seed*100+i)%e.spec.n_rec;
    size_t at = g_hash(t->seed*100+i+50)%(i%2 ? e.spec.stride/4 : 48);
    unsigned char *b = copy + (size_t)block*e.spec.stride + at/4*4;
    put_u32(b, i%4==0 ? 0xffffffff : i%4==1 ? g_hash(i) : i%4==2 ?
               g_hash(i)%800 : 0x7f800000u+(uint32_t)(i%2));
    if( t->seed%3 ) block_seal(copy + (size_t)block*e.spec.stride,
                               e.spec.stride);
  }
  TRY( vdb_extent_create(c->p, &e.spec, copy, &fresh) );
  vdb_extent_unpin(c->p, &e);
  TRY( vdb_extent_free(c->p, head) );
  put_u32(p+GRAPHREC_SIZE, fresh);
done:
  vdb_extent_unpin(c->p, &e);
  free(copy);
  return rc;
}

static int tamper_apply(struct store *st, const struct tamper *t){
  unsigned char key[GRAPHKEY_SIZE] = { 0, 1 };
  struct vdb_str rec = VDB_STR_INIT;
  struct coll *c = NULL;
  int rc;
  TRY( vdb_store_begin_write(st) );
  TRY( vdb_store_coll_open(st, "t", &c) );
  TRY( vdb_coll_refresh(c) );
  TRY( vdb_btree_get(c->p, c->s.graphs, key, sizeof(key), &rec) );
  if( t->is_block ) TRY( tamper_blocks(c, t, &rec) );
  else tamper_record(t, &rec);
  TRY( vdb_btree_put(c->p, c->s.graphs, key, sizeof(key), rec.z, rec.n,
                     BTREE_REPLACE) );
done:
  vdb_store_coll_close(c);
  vdb_str_clear(&rec);
  if( rc==VECDB_OK ) rc = vdb_store_commit(st);
  return rc;
}

/* A rebuild makes all sound again. What check does not find is no reason for one:
** in a record it costs nothing, but blocks may hold another edge, say, and then
** only k rows are certain. */
static void repair(struct vecdb_file_ops *ops, bool is_certain){
  vecdb_options o = VECDB_OPTIONS_INIT;
  vecdb_search_options so = g_options(G_K, 40);
  vecdb_collection *c = NULL;
  vecdb *db = NULL;
  o.file = ops;
  o.threads = 1;
  REQUIRE_RC(VECDB_OK, vecdb_open("x.vdb", VECDB_OPEN_READWRITE, &o, &db));
  OK(db, vecdb_collection_open(db, "t", &c));
  CHECK(g_recall(c, &so, VECDB_F32, 3)>=0);
  OK(db, g_optimize(c));
  CHECK_U64(700, g_graph_rows(c));
  CHECK(g_recall(c, &so, VECDB_F32, 20)>=(is_certain ? 0.9 : 0));
  CHECK_STR("graph", g_info(c).plan);
  OK(db, vecdb_vacuum(db));
  OK(db, vecdb_check(db, 0, NULL, NULL));
  vecdb_close(db);
}

static void tamper_and_use(struct vecdb_file_ops *ops, const struct tamper *t,
                           size_t *n_found){
  struct pager_config cfg = { 0 };
  struct vdb_err err = { 0 };
  struct store *st = NULL;
  bool found = false;
  cfg.path = "x.vdb";
  cfg.file = ops;
  cfg.open_flags = VECDB_OPEN_READWRITE;
  REQUIRE_RC(VECDB_OK, vdb_store_open(&cfg, &err, &st));
  if( !CHECK_RC(VECDB_OK, tamper_apply(st, t)) ) puts(err.msg);
  REQUIRE_RC(VECDB_OK, vdb_store_close(st));
  use_damaged(ops, &found);
  *n_found += found;
  repair(ops, found || !t->is_block);
}

TEST(graphs__hostile_records_and_blocks_are_survived){
  size_t n_found = 0, n = 24*(size_t)vt_scale(), n_byte;
  unsigned char *sound;
  struct world w;
  world_create(&w, HOME_FILE, 700);
  OK(w.db, vecdb_close(w.db));
  sound = file_get(w.ops, &n_byte);
  for(uint64_t i=0; i<n; i++){
    struct tamper x = { vt_seed()*1000+i, i%2==0 };
    tamper_and_use(w.ops, &x, &n_found);
    file_put(w.ops, 0, sound, n_byte);
  }
  printf("  %zu of %zu found by check\n", n_found, n);
  CHECK(n_found>=n/2);
  free(sound);
  vdb_file_mem_destroy(w.ops);
}

/* Whatever effort is asked for, a walk can do no more than its tables hold: a
** plan for so many rows that it would pay says no more. */
TEST(graphs__are_asked_for_no_more_effort_than_there_is){
  struct graph_wish wish = { .ef = 1u<<31 };
  struct pager_config cfg = { .path = "x.vdb",
                              .open_flags = VECDB_OPEN_READWRITE };
  struct vdb_err err = { 0 };
  struct store *st = NULL;
  struct coll *c = NULL;
  struct graph_plan p;
  struct world w;
  world_create(&w, HOME_FILE, 700);
  OK(w.db, vecdb_close(w.db));
  cfg.file = w.ops;
  REQUIRE_RC(VECDB_OK, vdb_store_open(&cfg, &err, &st));
  REQUIRE_RC(VECDB_OK, vdb_store_begin_read(st));
  REQUIRE_RC(VECDB_OK, vdb_store_coll_open(st, "t", &c));
  REQUIRE_RC(VECDB_OK, vdb_coll_refresh(c));
  REQUIRE_RC(VECDB_OK, vdb_graphs_load(c));
  vdb_graphs_plan_range(c, 0, &wish, (uint64_t)1<<50, &p);
  CHECK(p.use_graph);
  CHECK_U64(VDB_GRAPH_EF_MAX, p.ef);
  vdb_store_coll_close(c);
  REQUIRE_RC(VECDB_OK, vdb_store_end_read(st));
  REQUIRE_RC(VECDB_OK, vdb_store_close(st));
  w.db = world_connect(&w);
  world_destroy(&w);
}

/* The graphs of columns 1 and 2 change places, each sound in itself. */
static int graphs_swap(struct store *st){
  unsigned char key[2][GRAPHKEY_SIZE] = { { 0, 1 }, { 0, 2 } };
  struct vdb_str rec[2] = { VDB_STR_INIT, VDB_STR_INIT };
  struct coll *c = NULL;
  int rc;
  TRY( vdb_store_begin_write(st) );
  TRY( vdb_store_coll_open(st, "t", &c) );
  TRY( vdb_coll_refresh(c) );
  for(int i=0; i<2; i++){
    TRY( vdb_btree_get(c->p, c->s.graphs, key[i], GRAPHKEY_SIZE, &rec[i]) );
  }
  for(int i=0; i<2; i++){
    TRY( vdb_btree_put(c->p, c->s.graphs, key[i], GRAPHKEY_SIZE, rec[1-i].z,
                       rec[1-i].n, BTREE_REPLACE) );
  }
done:
  vdb_store_coll_close(c);
  for(int i=0; i<2; i++) vdb_str_clear(&rec[i]);
  if( rc==VECDB_OK ) rc = vdb_store_commit(st);
  return rc;
}

/* A table of 700 rows with two vectors each, the second of 16 bytes. */
static void two_columns(vecdb *db, const char *schema, int type){
  enum { N = 700 };
  static float v[N][G_DIMS], w[N][4];
  static int64_t key[N];
  vecdb_column_data d[3] = {
    { sizeof(d[0]), 0, VECDB_INTEGER, 0, key, 0, NULL },
    { sizeof(d[0]), 1, VECDB_VECTOR, VECDB_F32, v, 0, NULL },
    { sizeof(d[0]), 2, VECDB_VECTOR, (uint32_t)type, w, 0, NULL } };
  vecdb_collection *c = api_collection(db, "t", schema);
  for(uint64_t i=0; i<N; i++){
    g_vector(i, v[i]);
    for(int j=0; j<4; j++) w[i][j] = (float)(g_hash(5*i+(uint64_t)j)%50);
    key[i] = (int64_t)i;
  }
  OK(db, vecdb_put_many(c, N, d, 3, 0, NULL));
  OK(db, g_optimize(c));
  CHECK_U64(2*N, g_graph_rows(c));
}

TEST(graphs__of_another_column_are_damaged){
  static const struct { const char *schema; int type; } kind[] = {
    { "id integer primary key, v float[16] index=graph, "
      "w float[4] index=graph", VECDB_F32 },
    { "id integer primary key, v float[16] index=graph, "
      "w bit[128] index=graph", VECDB_BIT } };
  for(size_t i=0; i<VDB_ARRAY_LEN(kind); i++){
    struct pager_config cfg = { .path = "x.vdb",
                                .open_flags = VECDB_OPEN_READWRITE };
    vecdb_search_options so = g_options(G_K, 40);
    struct vdb_err err = { 0 };
    struct store *st = NULL;
    bool found = false;
    struct world w = { .home = HOME_FILE };
    REQUIRE_RC(VECDB_OK, vdb_file_mem_create(vt_seed(), &w.ops));
    w.db = world_connect(&w);
    two_columns(w.db, kind[i].schema, kind[i].type);
    OK(w.db, vecdb_close(w.db));
    cfg.file = w.ops;
    REQUIRE_RC(VECDB_OK, vdb_store_open(&cfg, &err, &st));
    REQUIRE_RC(VECDB_OK, graphs_swap(st));
    REQUIRE_RC(VECDB_OK, vdb_store_close(st));
    use_damaged(w.ops, &found);
    CHECK(found);
    w.db = world_connect(&w);
    w.c = api_collection(w.db, "t", NULL);
    CHECK(g_recall(w.c, &so, VECDB_F32, 3)>=1);
    CHECK_STR("exact", g_info(w.c).plan);
    OK(w.db, g_optimize(w.c));
    CHECK(g_recall(w.c, &so, VECDB_F32, 3)>=0.9);
    CHECK_STR("graph", g_info(w.c).plan);
    world_destroy(&w);
  }
}

/* The head page of an extent of a graph is damaged: nothing can free it. */
static void head_damage(struct vecdb_file_ops *ops, bool is_rows){
  unsigned char key[GRAPHKEY_SIZE] = { 0, 1 };
  struct vdb_str rec = VDB_STR_INIT;
  struct pager_config cfg = { .path = "x.vdb", .file = ops,
                              .open_flags = VECDB_OPEN_READWRITE };
  struct vdb_err err = { 0 };
  struct store *st = NULL;
  struct coll *c = NULL;
  unsigned char *p, byte;
  size_t n, at = GRAPHREC_SIZE, off;
  REQUIRE_RC(VECDB_OK, vdb_store_open(&cfg, &err, &st));
  REQUIRE_RC(VECDB_OK, vdb_store_begin_read(st));
  REQUIRE_RC(VECDB_OK, vdb_store_coll_open(st, "t", &c));
  REQUIRE_RC(VECDB_OK, vdb_coll_refresh(c));
  REQUIRE_RC(VECDB_OK, vdb_btree_get(c->p, c->s.graphs, key, sizeof(key),
                                     &rec));
  p = (unsigned char*)rec.z;
  if( is_rows ){
    at += 4*(size_t)(get_u32(p+GRAPHREC_NGROUP) + get_u32(p+GRAPHREC_NSIDE));
  }
  off = (size_t)get_u32(p+at)*4096 + 20;
  vdb_str_clear(&rec);
  vdb_store_coll_close(c);
  REQUIRE_RC(VECDB_OK, vdb_store_end_read(st));
  REQUIRE_RC(VECDB_OK, vdb_store_close(st));
  p = file_get(ops, &n);
  REQUIRE(off<n);
  byte = p[off]^1;
  file_put(ops, off, &byte, 1);
  free(p);
}

TEST(graphs__with_extents_that_cannot_be_freed_are_made_anew){
  for(int i=0; i<4; i++){
    vecdb_search_options so = g_options(G_K, 40);
    vecdb_optimize_options all = { .size = sizeof(all),
                                   .flags = VECDB_OPTIMIZE_ALL };
    struct world w;
    world_create(&w, HOME_FILE, 700);
    OK(w.db, vecdb_close(w.db));
    head_damage(w.ops, i%2);
    w.db = world_connect(&w);
    OK(w.db, vecdb_collection_open(w.db, "t", &w.c));
    g_fill(w.c, VECDB_F32, 2100, 2800);
    OK(w.db, vecdb_optimize(w.c, i<2 ? &all : NULL));
    CHECK_U64(1400, g_graph_rows(w.c));
    CHECK(g_recall(w.c, &so, VECDB_F32, 3)>=0.9);
    CHECK_STR("graph", g_info(w.c).plan);
    OK(w.db, vecdb_vacuum(w.db));
    world_destroy(&w);
  }
}
