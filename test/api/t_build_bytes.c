/* t_build_bytes.c -- graphs under a limit of memory: several where one would not
** fit, entered one after the other; merges that stop; what is told.
*/
#include <unistd.h>

#include "api/graph.h"

#include "pager/file.h"
#include "util/mem.h"

#define LIMIT       ((uint64_t)3<<20)    /* room for some 1,600 rows of G_DIMS */
#define ROWS        5000
#define PARTS       4
#define BB_SCHEMA   G_SCHEMA ", merge_rows=100"

static vecdb *bb_open(const char *path, uint64_t limit, uint32_t n_thread){
  vecdb_options o = VECDB_OPTIONS_INIT;
  o.sync = VECDB_SYNC_OFF;
  o.threads = n_thread;
  o.fixed_seed = 7;
  o.build_bytes = limit;
  return api_open(path, &o);
}

static vecdb *bb_create(const char *path, uint64_t limit, uint32_t n_thread){
  (void)unlink(path);
  return bb_open(path, limit, n_thread);
}

static uint64_t n_graph(vecdb_collection *c){
  vecdb_collection_stats s = { .size = sizeof(s) };
  OK(vecdb_collection_db(c), vecdb_collection_stat(c, &s));
  return s.n_graph;
}

/* Whatever covers the rows: searches find them. */
static void bb_good(vecdb_collection *c, uint64_t n_row){
  vecdb_search_options o = g_options(G_K, 40);
  CHECK_U64(n_row, g_graph_rows(c));
  CHECK(g_recall(c, &o, VECDB_F32, 30)>=0.97);
  CHECK_STR("graph", g_info(c).plan);
  o = g_options(G_K, 0);
  CHECK(g_recall(c, &o, VECDB_F32, 30)>=0.95);
  OK(vecdb_collection_db(c), vecdb_check(vecdb_collection_db(c), 0, NULL, NULL));
}

/* ---- Several graphs ------------------------------------------------------ */

static char bb_log[400];
static void log_keep(void *arg, int rc, const char *msg){
  (void)arg;
  if( rc==VECDB_TOOBIG ) snprintf(bb_log, sizeof(bb_log), "%s", msg);
}

TEST(build_bytes__several_graphs_where_one_would_not_fit){
  for(int inside=0; inside<2; inside++){
    vecdb *db = bb_create(inside ? "i.vdb" : "o.vdb", LIMIT, 1);
    vecdb_collection *c = api_collection(db, "t", BB_SCHEMA);
    struct vdb_mem_stats before, after;
    void *ballast;
    g_fill(c, VECDB_F32, 0, ROWS);
    vecdb_config_log(log_keep, NULL);
    vdb_mem_stats(&before);
    ballast = vdb_malloc((size_t)(before.sz_peak-before.sz_now));
    if( inside ) OK(db, vecdb_begin(db, VECDB_WRITE));
    OK(db, g_optimize(c));
    if( inside ) OK(db, vecdb_commit(db));
    vdb_mem_stats(&after);
    vdb_free(ballast);
    vecdb_config_log(NULL, NULL);
    /* Besides, the page cache grows a little. */
    CHECK(after.sz_peak-before.sz_peak<=LIMIT + LIMIT/3);
    CHECK_STR("collection \"t\": build_bytes 3145728: a graph of 1250 rows, of "
              "the others another", bb_log);
    CHECK_U64(PARTS, n_graph(c));
    bb_good(c, ROWS);
    OK(db, vecdb_close(db));
  }
}

TEST(build_bytes__a_table_of_two_columns_keeps_the_limit){
  static float v[2*1200*G_DIMS];
  static int64_t key[1200];
  vecdb_column_data d[3] = {
    { sizeof(d[0]), 0, VECDB_INTEGER, 0, key, 0, NULL },
    { sizeof(d[0]), 1, VECDB_VECTOR, VECDB_F32, v, 0, NULL },
    { sizeof(d[0]), 2, VECDB_VECTOR, VECDB_F32, v + 1200*G_DIMS, 0, NULL } };
  vecdb *db = bb_create("cols.vdb", LIMIT, 1);
  vecdb_collection *c = api_collection(db, "t",
      "id integer primary key, v float[16] index=graph, w float[16] index=graph");
  vecdb_search_options o = g_options(G_K, 30);
  static struct answer a, e;
  float q[G_DIMS];
  for(uint64_t i=0; i<1200; i++){
    key[i] = (int64_t)i;
    g_vector(i, v + i*G_DIMS);
    g_vector(7000+i, v + (1200+i)*G_DIMS);
  }
  OK(db, vecdb_put_many(c, 1200, d, 3, 0, NULL));
  OK(db, g_optimize(c));
  CHECK_U64(2, n_graph(c));
  CHECK_U64(2400, g_graph_rows(c));
  for(int column=1; column<3; column++){
    g_vector(1000000, q);
    o.column = column;
    g_search(c, &o, VECDB_F32, q, &a);
    CHECK_STR("graph", g_info(c).plan);
    o.flags = VECDB_SEARCH_EXACT;
    g_search(c, &o, VECDB_F32, q, &e);
    o.flags = 0;
    CHECK(g_right(&a, &e)>=9);
  }
  OK(db, vecdb_check(db, 0, NULL, NULL));
  OK(db, vecdb_close(db));
}

/* ---- The same bytes ------------------------------------------------------ */

static uint64_t file_digest(const char *path){
  FILE *f = fopen(path, "rb");
  uint64_t h = 1;
  int ch;
  REQUIRE(f!=NULL);
  while( (ch = getc(f))!=EOF ) h = (h ^ (uint64_t)ch)*0x100000001b3u;
  fclose(f);
  return h;
}

TEST(build_bytes__the_bytes_do_not_depend_on_threads){
  static const uint32_t n_thread[] = { 1, 2, 8 };
  uint64_t one = 0;
  for(size_t i=0; i<3; i++){
    char path[32];
    vecdb_collection *c;
    vecdb *db;
    snprintf(path, sizeof(path), "t%u.vdb", n_thread[i]);
    db = bb_create(path, LIMIT, n_thread[i]);
    c = api_collection(db, "t", BB_SCHEMA);
    g_fill(c, VECDB_F32, 0, 4000);
    OK(db, g_optimize(c));
    g_fill(c, VECDB_F32, 4000, 4300);
    OK(db, vecdb_optimize(c, NULL));
    CHECK_U64(4, n_graph(c));
    OK(db, vecdb_close(db));
    if( i==0 ) one = file_digest(path);
    CHECK_U64(one, file_digest(path));
  }
}

/* ---- Merges -------------------------------------------------------------- */

/* Commits join rows to graphs as long as these can be built at all. */
TEST(build_bytes__merges_at_commits_stop_at_the_limit){
  vecdb *db = bb_create("merge.vdb", LIMIT, 1);
  vecdb_collection *c = api_collection(db, "t", BB_SCHEMA ", optimize=commit");
  uint64_t n = 1000;
  g_fill(c, VECDB_F32, 0, n);
  OK(db, g_optimize(c));
  CHECK_U64(1, n_graph(c));
  for(int i=0; i<8; i++, n+=300) g_fill(c, VECDB_F32, n, n+300);
  CHECK(n_graph(c)>=2);
  bb_good(c, n);
  /* More at once than fits. */
  g_fill(c, VECDB_F32, n, n+2500);
  n += 2500;
  CHECK(n_graph(c)>=4);
  bb_good(c, n);
  /* By hand: what there is stays, as far as it cannot be one. */
  OK(db, vecdb_optimize(c, NULL));
  bb_good(c, n);
  /* With room for all it becomes one again. */
  OK(db, vecdb_set(db, "build_bytes", 0));
  OK(db, vecdb_optimize(c, NULL));
  CHECK_U64(1, n_graph(c));
  bb_good(c, n);
  /* .. and several, when it is made anew with less. */
  OK(db, vecdb_set(db, "build_bytes", (int64_t)LIMIT));
  OK(db, vecdb_optimize(c, NULL));
  CHECK_U64(1, n_graph(c));
  OK(db, g_optimize(c));
  CHECK(n_graph(c)>=3);
  bb_good(c, n);
  OK(db, vecdb_close(db));
}

TEST(build_bytes__the_thread_in_the_background_keeps_the_limit){
  vecdb *db = bb_create("back.vdb", LIMIT, 1);
  vecdb_collection *c = api_collection(db, "t",
                                       BB_SCHEMA ", optimize=background");
  vecdb_background_info i = { .size = sizeof(i) };
  g_fill(c, VECDB_F32, 0, 1500);
  OK(db, g_optimize(c));
  g_fill(c, VECDB_F32, 1500, ROWS);
  for(int ms=0; ms<120000; ms+=2){
    OK(db, vecdb_background(db, &i));
    if( i.state!=VECDB_BACKGROUND_BUSY ) break;
    usleep(2000);
  }
  CHECK_U64(VECDB_BACKGROUND_IDLE, i.state);
  CHECK_RC(VECDB_OK, i.rc);
  CHECK(n_graph(c)>=3);
  bb_good(c, ROWS);
  OK(db, vecdb_close(db));
}

/* ---- In the middle ------------------------------------------------------- */

struct stopper { vecdb_collection *c; uint64_t n_graph; };

static int stop_after_some(void *arg, const vecdb_progress *p){
  struct stopper *s = arg;
  vecdb_collection_stats st = { .size = sizeof(st) };
  (void)p;
  if( vecdb_collection_stat(s->c, &st)!=VECDB_OK ) return 0;
  return st.n_graph>=s->n_graph;
}

static int64_t fast_clock(void *env){
  static int64_t now;
  (void)env;
  return now += 1000;                   /* so the handler is called every time */
}

static vecdb *fast_open(const struct vecdb_file_ops *ops){
  vecdb_options o = VECDB_OPTIONS_INIT;
  o.threads = 1;
  o.file = ops;
  o.build_bytes = LIMIT;
  return api_open("x.vdb", &o);
}

TEST(build_bytes__an_interruption_leaves_what_was_done){
  struct vecdb_file_ops *ops, fast;
  vecdb_search_options o = g_options(G_K, 40);
  vecdb_collection *c;
  vecdb *db;
  REQUIRE_RC(VECDB_OK, vdb_file_mem_create(vt_seed(), &ops));
  fast = *ops;
  fast.now_ms = fast_clock;
  db = fast_open(&fast);
  c = api_collection(db, "t", BB_SCHEMA);
  g_fill(c, VECDB_F32, 0, ROWS);
  for(uint64_t n=1; n<3; n++){
    vecdb *other = fast_open(ops);
    struct stopper s = { api_collection(other, "t", NULL), n };
    OK(db, vecdb_progress_handler(db, stop_after_some, &s));
    CHECK_RC(VECDB_INTERRUPT, n==1 ? g_optimize(c) : vecdb_optimize(c, NULL));
    OK(db, vecdb_progress_handler(db, NULL, NULL));
    OK(other, vecdb_close(other));
    CHECK_U64(n, n_graph(c));
    CHECK(g_recall(c, &o, VECDB_F32, 20)>=0.97);
    OK(db, vecdb_check(db, 0, NULL, NULL));
  }
  OK(db, vecdb_optimize(c, NULL));
  CHECK_U64(PARTS, n_graph(c));
  bb_good(c, ROWS);
  OK(db, vecdb_close(db));
  vdb_file_mem_destroy(ops);
}

TEST(build_bytes__failed_allocations_lose_nothing){
  uint64_t n_failed = 1;
  for(uint64_t at=40; n_failed>0; at+=at/2){
    vecdb *db = bb_create("fail.vdb", LIMIT, 1);
    vecdb_collection *c = api_collection(db, "t", BB_SCHEMA);
    int rc;
    g_fill(c, VECDB_F32, 0, 2500);
    vdb_mem_fail_at(at, true);
    rc = g_optimize(c);
    n_failed = vdb_mem_fail_at(0, false);
    CHECK_RC(n_failed ? VECDB_NOMEM : VECDB_OK, rc);
    OK(db, vecdb_check(db, 0, NULL, NULL));
    OK(db, g_optimize(c));
    CHECK_U64(2, n_graph(c));
    CHECK_U64(2500, g_graph_rows(c));
    OK(db, vecdb_drop_collection(db, "t"));
    OK(db, vecdb_close(db));
  }
}

/* ---- Too little ---------------------------------------------------------- */

TEST(build_bytes__too_little_is_said_and_searches_stay_exact){
  vecdb *db = bb_create("few.vdb", 1<<20, 1);
  vecdb_collection *c = api_collection(db, "t", BB_SCHEMA ", optimize=commit");
  vecdb_search_options o = g_options(G_K, 0);
  g_fill(c, VECDB_F32, 0, ROWS);
  REFUSES(db, VECDB_TOOBIG, "collection \"t\": no graph of \"v\": build_bytes "
          "1048576 has room for 457 rows, expected 1024 at least; raise it",
          g_optimize(c));
  CHECK_U64(0, n_graph(c));
  CHECK(g_recall(c, &o, VECDB_F32, 5)==1);
  CHECK_STR("exact", g_info(c).plan);
  OK(db, vecdb_set(db, "build_bytes", (int64_t)LIMIT));
  OK(db, g_optimize(c));
  OK(db, vecdb_set(db, "build_bytes", 1<<20));
  g_fill(c, VECDB_F32, ROWS, ROWS+3000);           /* commits go through */
  CHECK(g_recall(c, &o, VECDB_F32, 5)>=0.9);
  OK(db, vecdb_check(db, 0, NULL, NULL));
  REFUSES(db, VECDB_RANGE, "build_bytes 1000 is not 0 and less than 1048576",
          vecdb_set(db, "build_bytes", 1000));
  REFUSES(db, VECDB_RANGE, "build_bytes -1 is not 0 and less than 1048576",
          vecdb_set(db, "build_bytes", -1));
  OK(db, vecdb_close(db));
}
