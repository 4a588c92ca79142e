/* t_graph_keep.c -- graphs that follow their table: rows join at commits, dead
** ones leave, by policy and by hand; what a search finds meanwhile.
*/
#include <sys/stat.h>

#include "api/graph.h"

#define KEEP_SCHEMA G_SCHEMA ", merge_rows=100"

static void keep_erase(vecdb_collection *c, int64_t lo, int64_t hi){
  vecdb *db = vecdb_collection_db(c);
  vecdb_stmt *s = NULL;
  OK(db, vecdb_begin(db, VECDB_WRITE));
  OK(db, vecdb_prepare_delete(c, &s));
  for(int64_t i=lo; i<hi; i++){
    OK(db, vecdb_bind_int64(s, VECDB_KEY, i));
    DONE(db, vecdb_step(s));
    OK(db, vecdb_reset(s));
  }
  OK(db, vecdb_finalize(s));
  OK(db, vecdb_commit(db));
}

static void keep_good(vecdb_collection *c, double least){
  vecdb_search_options o = g_options(G_K, 60);
  CHECK(g_recall(c, &o, VECDB_F32, 40)>=least);
  CHECK_STR("graph", g_info(c).plan);
  OK(vecdb_collection_db(c), vecdb_check(vecdb_collection_db(c), 0, NULL,
                                         NULL));
}

TEST(graph_keep__takes_in_what_commits_bring){
  vecdb *db = api_memory();
  vecdb_collection *c = g_table(db, KEEP_SCHEMA, VECDB_F32, 2200);
  for(uint64_t n=2200; n<4200; n+=125){
    g_fill(c, VECDB_F32, n, n+125);
    CHECK_U64(n+125, g_graph_rows(c));
  }
  keep_good(c, 0.97);
  OK(db, vecdb_optimize(c, NULL));               /* all in one */
  CHECK_U64(4200, g_graph_rows(c));
  keep_good(c, 0.97);
  vecdb_close(db);
}

TEST(graph_keep__leaves_small_rests_to_the_scan){
  vecdb *db = api_memory();
  vecdb_collection *c = g_table(db, KEEP_SCHEMA, VECDB_F32, 2200);
  for(uint64_t n=2200; n<2296; n+=12){
    g_fill(c, VECDB_F32, n, n+12);
    CHECK_U64(2200, g_graph_rows(c));
  }
  g_fill(c, VECDB_F32, 2296, 2308);
  CHECK_U64(2308, g_graph_rows(c));
  keep_good(c, 0.97);
  vecdb_close(db);
}

TEST(graph_keep__does_nothing_by_policy_manual){
  vecdb *db = api_memory();
  vecdb_collection *c = g_table(db, G_SCHEMA ", optimize=manual", VECDB_F32,
                                2200);
  g_fill(c, VECDB_F32, 2200, 4200);
  CHECK_U64(2200, g_graph_rows(c));
  OK(db, vecdb_optimize(c, NULL));
  CHECK_U64(4200, g_graph_rows(c));
  keep_good(c, 0.97);
  vecdb_close(db);
}

TEST(graph_keep__builds_no_first_graph_at_a_commit){
  vecdb *db = api_memory();
  vecdb_collection *c = api_collection(db, "t", KEEP_SCHEMA);
  g_fill(c, VECDB_F32, 0, 2200);
  CHECK_U64(0, g_graph_rows(c));
  vecdb_close(db);
}

TEST(graph_keep__loses_rows_that_died){
  vecdb *db = api_memory();
  vecdb_collection *c = g_table(db, KEEP_SCHEMA, VECDB_F32, 3000);
  keep_erase(c, 0, 700);
  CHECK_U64(3000, g_graph_rows(c));              /* not a quarter */
  keep_erase(c, 700, 800);
  CHECK_U64(2200, g_graph_rows(c));
  keep_good(c, 0.97);
  keep_erase(c, 800, 3000);
  CHECK_U64(0, g_graph_rows(c));
  OK(db, vecdb_check(db, 0, NULL, NULL));
  g_fill(c, VECDB_F32, 5000, 5200);
  CHECK_U64(200, g_graph_rows(c));
  OK(db, vecdb_check(db, 0, NULL, NULL));
  vecdb_close(db);
}

static uint64_t keep_bytes(const char *path){
  struct stat st;
  REQUIRE(stat(path, &st)==0);
  return (uint64_t)st.st_size;
}

/* Half of the rows are replaced in 20 rounds with optimize between them. */
TEST(graph_keep__churn_leaves_recall_and_size){
  vecdb_options opt = VECDB_OPTIONS_INIT;
  const char *path = vt_path("churned.vdb"), *path2 = vt_path("fresh.vdb");
  vecdb_search_options o = g_options(G_K, 24);
  vecdb *db, *db2;
  vecdb_collection *c, *c2;
  double churned, fresh;
  opt.sync = VECDB_SYNC_OFF;
  db = api_open(path, &opt);
  db2 = api_open(path2, &opt);
  c = g_table(db, G_SCHEMA, VECDB_F32, 2400);
  for(int i=0; i<20; i++){
    keep_erase(c, i*60, i*60+60);
    g_fill(c, VECDB_F32, 2400+(uint64_t)i*60, 2460+(uint64_t)i*60);
    OK(db, vecdb_optimize(c, NULL));
  }
  OK(db, vecdb_check(db, 0, NULL, NULL));
  churned = g_recall(c, &o, VECDB_F32, 150);
  c2 = api_collection(db2, "t", G_SCHEMA);
  g_fill(c2, VECDB_F32, 1200, 3600);
  OK(db2, g_optimize(c2));
  fresh = g_recall(c2, &o, VECDB_F32, 150);
  CHECK(churned>=fresh-0.01);
  OK(db, vecdb_vacuum(db));
  OK(db, vecdb_check(db, 0, NULL, NULL));
  CHECK(g_recall(c, &o, VECDB_F32, 150)>=fresh-0.01);
  OK(db2, vecdb_vacuum(db2));
  OK(db, vecdb_close(db));
  OK(db2, vecdb_close(db2));
  CHECK(keep_bytes(path)*10<=keep_bytes(path2)*13);
}

/* ip: a row with a norm that the graph's space has no room for. */
TEST(graph_keep__compares_rows_of_large_norm_besides){
  vecdb *db = api_memory();
  vecdb_collection *c = g_table(db, G_SCHEMA " distance_metric=ip, "
                                "merge_rows=100", VECDB_F32, 2200);
  vecdb_search_options o = g_options(G_K, 60);
  static struct answer a;
  float v[200*G_DIMS];
  int64_t keys[200];
  vecdb_column_data d[2] = {
    { sizeof(d[0]), 0, VECDB_INTEGER, 0, keys, 0, NULL },
    { sizeof(d[0]), 1, VECDB_VECTOR, VECDB_F32, v, 0, NULL } };
  for(int i=0; i<200; i++){
    keys[i] = 9000+i;
    g_vector(9000+(uint64_t)i, v + i*G_DIMS);
    for(int j=0; i%40==0 && j<G_DIMS; j++) v[i*G_DIMS+j] *= 100;
  }
  OK(db, vecdb_put_many(c, 200, d, 2, 0, NULL));
  CHECK_U64(2400, g_graph_rows(c));
  g_search(c, &o, VECDB_F32, v, &a);
  for(int i=0; i<5; i++) CHECK_INT(0, (a.key[i]-9000)%40);
  OK(db, vecdb_check(db, 0, NULL, NULL));
  vecdb_close(db);
}

TEST(graph_keep__follows_rollback){
  vecdb *db = api_memory();
  vecdb_collection *c = g_table(db, KEEP_SCHEMA, VECDB_F32, 2200);
  OK(db, vecdb_begin(db, VECDB_WRITE));
  g_fill(c, VECDB_F32, 2200, 2400);
  OK(db, vecdb_optimize(c, NULL));
  CHECK_U64(2400, g_graph_rows(c));
  OK(db, vecdb_rollback(db));
  CHECK_U64(2200, g_graph_rows(c));
  keep_good(c, 0.97);
  g_fill(c, VECDB_F32, 2200, 2350);
  CHECK_U64(2350, g_graph_rows(c));
  keep_good(c, 0.97);
  vecdb_close(db);
}

/* A reader's snapshot outlives the graphs that replace its own. */
TEST(graph_keep__readers_keep_their_snapshot){
  vecdb *db, *reader = NULL;
  vecdb_collection *c, *rc;
  vecdb_search_options o = g_options(G_K, 60);
  const char *path = vt_path("keep.vdb");
  db = api_open(path, NULL);
  c = g_table(db, KEEP_SCHEMA, VECDB_F32, 2200);
  reader = api_open(path, NULL);
  rc = api_collection(reader, "t", NULL);
  OK(reader, vecdb_begin(reader, VECDB_READ));
  CHECK(g_recall(rc, &o, VECDB_F32, 10)>=0.95);
  for(uint64_t n=2200; n<3000; n+=200){
    g_fill(c, VECDB_F32, n, n+200);
    CHECK_U64(2200, g_graph_rows(rc));
    CHECK(g_recall(rc, &o, VECDB_F32, 10)>=0.95);
  }
  OK(reader, vecdb_commit(reader));
  CHECK_U64(3000, g_graph_rows(rc));
  CHECK(g_recall(rc, &o, VECDB_F32, 10)>=0.95);
  vecdb_close(reader);
  vecdb_close(db);
}

/* ---- The same bytes ------------------------------------------------------ */

static uint64_t keep_results(unsigned threads, uint64_t *pages){
  vecdb *db = api_memory();
  vecdb_collection *c;
  vecdb_search_options o = g_options(G_K, 12);
  vecdb_stats st = { .size = sizeof(st) };
  static struct answer a;
  uint64_t h = 7;
  OK(db, vecdb_set(db, "threads", threads));
  c = g_table(db, KEEP_SCHEMA, VECDB_F32, 2000);
  for(uint64_t n=2000; n<2800; n+=200){
    g_fill(c, VECDB_F32, n, n+200);
    keep_erase(c, (int64_t)n-2000, (int64_t)n-1800);
  }
  for(uint64_t i=0; i<60; i++){
    float q[G_DIMS];
    g_vector(70000+i, q);
    g_search(c, &o, VECDB_F32, q, &a);
    for(size_t j=0; j<a.n; j++) h = h*1099511628211u + (uint64_t)a.key[j];
    h = h*31 + g_info(c).n_distance;
  }
  OK(db, vecdb_stat(db, &st));
  *pages = st.n_page;
  vecdb_close(db);
  return h;
}

TEST(graph_keep__does_not_depend_on_threads){
  uint64_t pages[3], h = keep_results(1, &pages[0]);
  CHECK_U64(h, keep_results(2, &pages[1]));
  CHECK_U64(h, keep_results(8, &pages[2]));
  CHECK_U64(pages[0], pages[1]);
  CHECK_U64(pages[0], pages[2]);
}

/* A column that is given another index keeps its graph until optimize. */
TEST(graph_keep__goes_when_the_index_is_another){
  vecdb *db = api_memory();
  vecdb_collection *c = g_table(db, G_SCHEMA, VECDB_F32, 2200);
  vecdb_search_options o = g_options(G_K, 60);
  OK(db, vecdb_collection_set(c, "v.index", "flat"));
  keep_good(c, 0.97);
  OK(db, vecdb_optimize(c, NULL));
  CHECK_U64(0, g_graph_rows(c));
  CHECK(g_recall(c, &o, VECDB_F32, 3)==1);
  CHECK_STR("exact", g_info(c).plan);
  OK(db, vecdb_check(db, 0, NULL, NULL));
  OK(db, vecdb_collection_set(c, "v.index", "graph"));
  OK(db, g_optimize(c));
  CHECK_U64(2200, g_graph_rows(c));
  keep_good(c, 0.97);
  vecdb_close(db);
}

/* Graphs beside the first one are asked for what can beat its answer alone: what
** is found is as good, by one search and by many at once. */
TEST(graph_keep__asks_small_graphs_for_what_can_win){
  vecdb *db = api_memory();
  vecdb_collection *c = g_table(db, KEEP_SCHEMA, VECDB_F32, 3000);
  vecdb_search_options o = g_options(G_K, 40);
  static float q[60*G_DIMS];
  static int64_t key[60*G_K];
  static float distance[60*G_K];
  static struct answer one;
  g_fill(c, VECDB_F32, 3000, 3150);              /* a graph of its own */
  CHECK_U64(3150, g_graph_rows(c));
  keep_good(c, 0.97);
  for(uint64_t i=0; i<60; i++) g_vector(3000+i*2, q + i*G_DIMS);
  OK(db, vecdb_search_many(c, &o, 60, VECDB_F32, q, 0, key, distance, NULL));
  for(uint64_t i=0; i<60; i++){
    g_search(c, &o, VECDB_F32, q + i*G_DIMS, &one);
    CHECK_U64(G_K, one.n);
    CHECK_MEM(one.key, key + i*G_K, G_K*8);
    CHECK(one.distance[0]<=0);                   /* rows of the small graph */
  }
  vecdb_close(db);
}
