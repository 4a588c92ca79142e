/* t_range.c -- everything within a distance by graphs: what is found against
** the exact answer, for every metric and type, with filters, deletes and rows
** that came later; when it stays exact.
*/
#include "api/graph.h"

static vecdb_search_options range_options(double max){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  o.k = 0;
  o.flags = VECDB_SEARCH_HAS_MAX;
  o.max_distance = max;
  return o;
}

/* How far the row of this rank is from the query. */
static double distance_at(vecdb_collection *c, int element, const void *q,
                          uint64_t rank){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  static struct answer a;
  o.k = rank;
  o.flags = VECDB_SEARCH_EXACT;
  g_search(c, &o, element, q, &a);
  if( !CHECK(a.n==rank) ) vt_stop();
  return (double)a.distance[rank-1];
}

/* Is every row of `a` in `all`, in the same order, with the same distance? */
static bool is_part(const struct answer *a, const struct answer *all){
  size_t j = 0;
  for(size_t i=0; i<a->n; i++, j++){
    while( j<all->n && all->key[j]!=a->key[i] ) j++;
    if( j==all->n || all->distance[j]!=a->distance[i] ) return false;
  }
  return true;
}

/* Mean share of the exact answer that graphs find, over radii that hold 1 to 15
** rows, two thirds of which they answer (the rest reads too much of so small a
** table); what is found is a part of it. `o` says how. */
static double range_recall(vecdb_collection *c, int element,
                           const vecdb_search_options *opt, uint64_t n_query){
  static const uint64_t rank[] = { 1, 3, 6, 10, 15 };
  static struct answer a, e;
  double sum = 0;
  int n = 0, n_graph = 0;
  for(uint64_t i=0; i<n_query; i++){
    float v[G_DIMS];
    char buf[G_DIMS*4];
    const void *q;
    g_vector(1000000+i, v);
    q = g_as(element, v, buf);
    for(size_t j=0; j<sizeof(rank)/sizeof(rank[0]); j++){
      vecdb_search_options o = *opt;
      o.max_distance = distance_at(c, element, q, rank[j]);
      g_search(c, &o, element, q, &a);
      bool by_graph = strcmp(g_info(c).plan, "graph")==0;
      o.flags |= VECDB_SEARCH_EXACT;
      g_search(c, &o, element, q, &e);
      CHECK_STR("exact", g_info(c).plan);
      CHECK(is_part(&a, &e));
      n++;
      if( e.n==0 ){ n--; continue; }
      if( !by_graph ) continue;
      sum += (double)a.n/(double)e.n;
      n_graph++;
    }
  }
  CHECK(3*n_graph>=2*n);
  return sum/n_graph;
}

TEST(range__finds_nearly_all_for_every_metric_and_type){
  static const struct { const char *metric, *type; int element; } kind[] = {
    { "l2", "float", VECDB_F32 }, { "l2", "float16", VECDB_F16 },
    { "l2", "uint8", VECDB_U8 }, { "cosine", "float", VECDB_F32 },
    { "ip", "float", VECDB_F32 } };
  for(size_t i=0; i<sizeof(kind)/sizeof(kind[0]); i++){
    vecdb *db = api_memory();
    vecdb_search_options o = range_options(0);
    vecdb_collection *c;
    char schema[200];
    snprintf(schema, sizeof(schema), "id integer primary key, "
             "v %s[16] distance_metric=%s index=graph", kind[i].type,
             kind[i].metric);
    c = g_table(db, schema, kind[i].element, 5000);
    if( strcmp(kind[i].metric, "ip")==0 ){
      o.ef = 90;                       /* clusters: not all are found */
      CHECK(range_recall(c, kind[i].element, &o, 6)>=0.8);
    }else{
      o.recall = 0.99;
      CHECK(range_recall(c, kind[i].element, &o, 6)>=0.97);
      o.recall = 0;
      o.ef = 40;
      CHECK(range_recall(c, kind[i].element, &o, 6)>=0.97);
    }
    vecdb_close(db);
  }
}

/* Blocks that do not hold the very vectors: distances are those of the rows. */
TEST(range__looks_at_rows_where_blocks_are_quantised){
  vecdb *db = api_memory();
  vecdb_collection *c = g_table(db, "id integer primary key, v float[16] "
                                "distance_metric=cosine index=graph(nav=pca:8)",
                                VECDB_F32, 4000);
  vecdb_search_options o = range_options(0);
  o.recall = 0.9;
  CHECK(range_recall(c, VECDB_F32, &o, 10)>=0.9);
  vecdb_close(db);
}

TEST(range__is_exact_unless_effort_or_recall_is_given){
  vecdb *db = api_memory();
  vecdb_collection *c = g_table(db, "id integer primary key, v float[16] "
                                "index=graph ef=50", VECDB_F32, 4000);
  vecdb_search_options o = range_options(30);
  static struct answer a;
  float q[G_DIMS];
  g_vector(1000000, q);
  g_search(c, &o, VECDB_F32, q, &a);
  CHECK_STR("exact", g_info(c).plan);
  CHECK_STR("distances are bounded", g_info(c).why);
  o.ef = 50;
  g_search(c, &o, VECDB_F32, q, &a);
  CHECK_STR("graph", g_info(c).plan);
  CHECK(g_info(c).n_block>0 && g_info(c).n_block<4000);
  o.recall = 1;
  g_search(c, &o, VECDB_F32, q, &a);
  CHECK_STR("exact", g_info(c).plan);
  o.recall = 0;
  o.k = 10;                            /* k rows, or proof of fewer */
  g_search(c, &o, VECDB_F32, q, &a);
  CHECK_STR("exact", g_info(c).plan);
  vecdb_close(db);
}

TEST(range__compares_all_rows_where_the_graph_would_read_more){
  vecdb *db = api_memory();
  vecdb_collection *c = g_table(db, G_SCHEMA, VECDB_F32, 4000);
  vecdb_search_options o = range_options(1000);
  static struct answer a;
  float q[G_DIMS];
  g_vector(1000000, q);
  o.ef = 20;
  g_search(c, &o, VECDB_F32, q, &a);
  CHECK_U64(4000, a.n);
  CHECK_STR("graph, then exact", g_info(c).plan);
  CHECK_DBL(1, g_info(c).recall, 0);
  vecdb_close(db);
}

TEST(range__excludes_what_the_bounds_exclude){
  vecdb *db = api_memory();
  vecdb_collection *c = g_table(db, G_SCHEMA, VECDB_F32, 4000);
  vecdb_search_options o = range_options(0);
  static struct answer a, e;
  float q[G_DIMS];
  g_vector(17, q);                     /* a row: nothing is nearer than 0 */
  o.ef = 40;
  o.max_distance = -1;
  g_search(c, &o, VECDB_F32, q, &a);
  CHECK_U64(0, a.n);
  o.max_distance = distance_at(c, VECDB_F32, q, 30);
  o.min_distance = distance_at(c, VECDB_F32, q, 10);
  for(uint32_t strict=0; strict<4; strict++){
    o.flags = VECDB_SEARCH_HAS_MAX | VECDB_SEARCH_HAS_MIN | strict<<1;
    g_search(c, &o, VECDB_F32, q, &a);
    CHECK_STR("graph", g_info(c).plan);
    o.flags |= VECDB_SEARCH_EXACT;
    g_search(c, &o, VECDB_F32, q, &e);
    CHECK(is_part(&a, &e));
    CHECK(a.n+1>=e.n && e.n>=18);
  }
  vecdb_close(db);
}

/* Equal rows share a node; rows that are gone lead on; new ones are scanned. */
TEST(range__sees_equal_rows_deletes_filters_and_new_rows){
  vecdb *db = api_memory();
  vecdb_collection *c = api_collection(db, "t", G_SCHEMA);
  vecdb_search_options o = range_options(0);
  vecdb_stmt *s = NULL;
  OK(db, vecdb_collection_set(c, "optimize", "manual"));
  g_fill(c, VECDB_F32, 0, 5000);
  for(int64_t i=0; i<300; i++){        /* copies of rows 0..299 */
    float v[G_DIMS];
    g_vector((uint64_t)i, v);
    OK(db, vecdb_prepare_insert(c, 0, &s));
    OK(db, vecdb_bind_int64(s, 0, 10000+i));
    OK(db, vecdb_bind_vector(s, 1, VECDB_F32, v, sizeof(v), VECDB_STATIC));
    DONE(db, vecdb_step(s));
    OK(db, vecdb_finalize(s));
  }
  OK(db, g_optimize(c));
  OK(db, vecdb_prepare_delete(c, &s));
  for(int64_t i=0; i<5000; i+=5){
    OK(db, vecdb_bind_int64(s, VECDB_KEY, i));
    DONE(db, vecdb_step(s));
    OK(db, vecdb_reset(s));
  }
  OK(db, vecdb_finalize(s));
  g_fill(c, VECDB_F32, 6000, 6100);
  CHECK_U64(5300, g_graph_rows(c));
  o.recall = 0.99;
  CHECK(range_recall(c, VECDB_F32, &o, 8)>=0.97);
  o.filter = "id > 1000";
  CHECK(range_recall(c, VECDB_F32, &o, 8)>=0.97);
  vecdb_close(db);
}

/* A query that is nowhere in the graph's space. */
TEST(range__of_the_zero_vector_is_exact){
  vecdb *db = api_memory();
  vecdb_collection *c = g_table(db, "id integer primary key, v float[16] "
                                "distance_metric=cosine index=graph",
                                VECDB_F32, 4000);
  vecdb_search_options o = range_options(1);
  static struct answer a;
  float q[G_DIMS] = { 0 };
  o.ef = 50;
  g_search(c, &o, VECDB_F32, q, &a);
  CHECK_U64(4000, a.n);
  o.max_distance = 0.5;
  g_search(c, &o, VECDB_F32, q, &a);
  CHECK_U64(0, a.n);
  vecdb_close(db);
}
