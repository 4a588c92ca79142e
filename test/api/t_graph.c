/* t_graph.c -- searches by graphs: what they find, always k rows, changes after
** the build, every metric and type, one query and many.
*/
#include <fenv.h>

#include "api/graph.h"

/* ---- Recall -------------------------------------------------------------- */

TEST(graph__finds_what_ef_and_recall_promise){
  vecdb *db = api_memory();
  vecdb_collection *c = g_table(db, G_SCHEMA, VECDB_F32, 2500);
  vecdb_search_options o = g_options(G_K, 100);
  CHECK(g_recall(c, &o, VECDB_F32, 100)>=0.97);
  CHECK_STR("graph", g_info(c).plan);
  vecdb_close(db);
}

TEST(graph__is_told_of_by_describe_stat_and_last_search){
  vecdb *db = api_memory();
  vecdb_collection *c = api_collection(db, "t", G_SCHEMA);
  vecdb_column_info ci = { .size = sizeof(ci) };
  vecdb_collection_stats st = { .size = sizeof(st) };
  vecdb_search_info si = { .size = sizeof(si) };
  vecdb_search_options o = g_options(G_K, 50);
  static struct answer a;
  float q[G_DIMS] = { 1 };
  REFUSES(db, VECDB_NOTFOUND, "no search was made on this handle",
          vecdb_last_search(db, &si));
  g_fill(c, VECDB_F32, 0, 2500);
  OK(db, vecdb_column_describe(c, 1, &ci));
  CHECK_STR("flat", ci.index);
  g_search(c, &o, VECDB_F32, q, &a);
  CHECK_STR("exact", g_info(c).plan);
  CHECK_STR("no graph", g_info(c).why);
  CHECK_U64(2500, g_info(c).n_distance);
  OK(db, g_optimize(c));
  OK(db, vecdb_column_describe(c, 1, &ci));
  CHECK_STR("graph", ci.index);
  OK(db, vecdb_collection_stat(c, &st));
  CHECK_U64(2500, st.n_graph_row);
  CHECK(st.graph_bytes>2500*64);
  g_search(c, &o, VECDB_F32, q, &a);
  CHECK_STR("graph", g_info(c).plan);
  CHECK_U64(50, g_info(c).ef);
  CHECK_U64(2500, g_info(c).n_match);
  CHECK(g_info(c).n_distance<1250 && g_info(c).n_distance>=10);
  o.flags = VECDB_SEARCH_EXACT;
  g_search(c, &o, VECDB_F32, q, &a);
  CHECK_STR("exact is asked for", g_info(c).why);
  CHECK_DBL(1, g_info(c).recall, 0);
  vecdb_close(db);
}

TEST(graph__honours_recall_of_query_column_and_table){
  vecdb *db = api_memory();
  vecdb_collection *c = g_table(db, G_SCHEMA, VECDB_F32, 2500);
  vecdb_search_options o = g_options(G_K, 0);
  CHECK(g_recall(c, &o, VECDB_F32, 100)>=0.94);            /* 0.95 */
  CHECK(g_info(c).recall>=0.95);
  o.recall = 0.8;
  CHECK(g_recall(c, &o, VECDB_F32, 100)>=0.8);
  o.recall = 1;
  CHECK(g_recall(c, &o, VECDB_F32, 20)==1);
  CHECK_STR("exact", g_info(c).plan);
  o.recall = 0;
  OK(db, vecdb_collection_set(c, "ef", "77"));
  CHECK(g_recall(c, &o, VECDB_F32, 20)>=0.9);
  OK(db, vecdb_collection_set(c, "recall", "1"));
  CHECK(g_recall(c, &o, VECDB_F32, 20)==1);
  vecdb_close(db);
}

/* ---- k rows, always ------------------------------------------------------ */

TEST(graph__gives_k_rows_whatever_k_and_filter){
  static const uint64_t ks[] = { 1, 10, 600, 1400, 1499, 1500, 1501, 3000 };
  static const char *const filters[] = { NULL, "id < 0", "id = 7", "id < 5",
    "id % 10 = 3", "id > 100", "id < 1320", "id BETWEEN 5 AND 1380" };
  vecdb *db = api_memory();
  vecdb_collection *c = g_table(db, G_SCHEMA, VECDB_F32, G_ROWS);
  for(size_t i=0; i<sizeof(ks)/sizeof(ks[0]); i++){
    for(size_t j=0; j<sizeof(filters)/sizeof(filters[0]); j++){
      vecdb_search_options o = g_options(ks[i], 20);
      if( j==4 ) continue;
      o.filter = filters[j];
      CHECK(g_recall(c, &o, VECDB_F32, 3)>=0.6);
    }
  }
  vecdb_close(db);
}

/* Only rows far from the query qualify: the walk meets none of them soon. */
TEST(graph__gives_k_rows_when_near_ones_do_not_qualify){
  vecdb *db = api_memory();
  vecdb_collection *c = api_collection(db, "t", "id integer primary key, "
                                       "v float[16] index=graph, far int");
  enum { N = 5000 };
  float *all = malloc(sizeof(float)*N*G_DIMS);
  int64_t *far = malloc(sizeof(int64_t)*N);
  vecdb_column_data d[2] = {
    { sizeof(d[0]), 1, VECDB_VECTOR, VECDB_F32, all, 0, NULL },
    { sizeof(d[0]), 2, VECDB_INTEGER, 0, far, 0, NULL } };
  vecdb_search_options o = g_options(G_K, 10);
  static struct answer a;
  for(int i=0; i<N; i++){
    g_vector((uint64_t)i, all + i*G_DIMS);
    far[i] = i%2;
    for(int j=0; far[i] && j<G_DIMS; j++) all[i*G_DIMS+j] += 5000;
  }
  OK(db, vecdb_put_many(c, N, d, 2, 0, NULL));
  OK(db, g_optimize(c));
  o.filter = "far = 1";
  CHECK(g_recall(c, &o, VECDB_F32, 20)>=0.5);
  g_search(c, &o, VECDB_F32, all, &a);
  CHECK_U64(G_K, a.n);
  free(all);
  free(far);
  vecdb_close(db);
}

static void put(vecdb_collection *c, int64_t key, const float *v){
  vecdb *db = vecdb_collection_db(c);
  vecdb_stmt *s = NULL;
  OK(db, vecdb_prepare_insert(c, VECDB_OR_REPLACE, &s));
  OK(db, vecdb_bind_int64(s, 0, key));
  OK(db, vecdb_bind_vector(s, 1, VECDB_F32, v, 4*G_DIMS, VECDB_STATIC));
  DONE(db, vecdb_step(s));
  OK(db, vecdb_finalize(s));
}

static void erase(vecdb_collection *c, int64_t lo, int64_t hi){
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

TEST(graph__gives_k_rows_when_most_are_deleted){
  vecdb *db = api_memory();
  vecdb_collection *c = g_table(db, G_SCHEMA, VECDB_F32, 6000);
  vecdb_search_options o = g_options(G_K, 30);
  OK(db, vecdb_collection_set(c, "optimize", "manual"));
  erase(c, 0, 3500);
  CHECK(g_recall(c, &o, VECDB_F32, 20)>=0.9);
  CHECK_STR("graph over bridges", g_info(c).plan);
  erase(c, 3500, 5400);
  CHECK(g_recall(c, &o, VECDB_F32, 20)==1);
  erase(c, 5400, 6000);
  CHECK(g_recall(c, &o, VECDB_F32, 2)==1);
  vecdb_close(db);
}

/* ---- Changes after the build --------------------------------------------- */

TEST(graph__sees_rows_that_change_after_the_build){
  vecdb *db = api_memory();
  vecdb_collection *c = g_table(db, G_SCHEMA, VECDB_F32, G_ROWS);
  vecdb_search_options o = g_options(2, 40);
  static struct answer a;
  float v[G_DIMS], w[G_DIMS];
  g_vector(1000001, v);
  for(int j=0; j<G_DIMS; j++) w[j] = v[j] + 0.25f;
  put(c, 70000, v);
  g_search(c, &o, VECDB_F32, v, &a);
  CHECK_INT(70000, a.key[0]);
  CHECK_DBL(0, a.distance[0], 0);
  put(c, 5, w);                                  /* a row of the graph moves */
  g_search(c, &o, VECDB_F32, v, &a);
  CHECK_INT(5, a.key[1]);
  erase(c, 70000, 70001);
  g_search(c, &o, VECDB_F32, v, &a);
  CHECK_INT(5, a.key[0]);
  OK(db, vecdb_optimize(c, &(vecdb_optimize_options){
      .size = sizeof(vecdb_optimize_options), .flags = VECDB_OPTIMIZE_SEAL }));
  g_search(c, &o, VECDB_F32, v, &a);
  CHECK_INT(5, a.key[0]);                        /* sealed, not in the graph */
  CHECK_STR("graph", g_info(c).plan);
  OK(db, g_optimize(c));
  g_search(c, &o, VECDB_F32, v, &a);
  CHECK_INT(5, a.key[0]);
  CHECK_U64(G_ROWS, g_graph_rows(c));
  OK(db, vecdb_check(db, 0, NULL, NULL));
  vecdb_close(db);
}

TEST(graph__stays_until_enough_has_changed){
  vecdb *db = api_memory();
  vecdb_collection *c = g_table(db, G_SCHEMA, VECDB_F32, G_ROWS);
  g_fill(c, VECDB_F32, 10000, 10100);
  OK(db, vecdb_optimize(c, NULL));               /* below 4096 rows: stays */
  CHECK_U64(G_ROWS, g_graph_rows(c));
  OK(db, g_optimize(c));
  CHECK_U64(G_ROWS+100, g_graph_rows(c));
  OK(db, g_optimize(c));                         /* nothing to do */
  CHECK_U64(G_ROWS+100, g_graph_rows(c));
  OK(db, vecdb_check(db, 0, NULL, NULL));
  vecdb_close(db);
}

/* ---- Odd data ------------------------------------------------------------ */

/* n rows from fn, searched with k and compared with the exact answer, ties
** included. */
static void odd_data(const char *schema, int n, uint32_t ef,
                     void (*fn)(int i, float *v)){
  vecdb *db = api_memory();
  vecdb_collection *c = api_collection(db, "t", schema);
  float *all = calloc((size_t)n*G_DIMS, sizeof(float)), q[G_DIMS];
  vecdb_column_data d = { sizeof(d), 1, VECDB_VECTOR, VECDB_F32, all, 0, NULL };
  vecdb_search_options o = g_options(25, ef);
  static struct answer a, e;
  for(int i=0; i<n; i++) fn(i, all + (size_t)i*G_DIMS);
  OK(db, vecdb_put_many(c, (size_t)n, &d, 1, 0, NULL));
  OK(db, g_optimize(c));
  for(int i=0; i<30; i++){
    memcpy(q, all + (size_t)(i*37%n)*G_DIMS, sizeof(q));
    if( i%3==1 ) q[i%G_DIMS] += 1;
    o.flags = 0;
    g_search(c, &o, VECDB_F32, q, &a);
    o.flags = VECDB_SEARCH_EXACT;
    g_search(c, &o, VECDB_F32, q, &e);
    CHECK_U64(e.n, a.n);
    if( !CHECK_MEM(e.key, a.key, e.n*sizeof(a.key[0])) ) break;
    if( !CHECK_MEM(e.distance, a.distance, e.n*4) ) break;
  }
  OK(db, vecdb_check(db, 0, NULL, NULL));
  free(all);
  vecdb_close(db);
}

static void row_equal(int i, float *v){
  (void)i;
  for(int j=0; j<G_DIMS; j++) v[j] = 3;
}
static void row_twins(int i, float *v){ g_vector((uint64_t)(i/50), v); }
static void row_zero(int i, float *v){
  g_vector((uint64_t)i, v);
  if( i%7==0 ) memset(v, 0, 4*G_DIMS);
}
static void row_huge(int i, float *v){
  g_vector((uint64_t)i, v);
  if( i%9==0 ) for(int j=0; j<G_DIMS; j++) v[j] *= 1e30f;
}
static void row_all_huge(int i, float *v){
  g_vector((uint64_t)i, v);
  for(int j=0; j<G_DIMS; j++) v[j] *= 1e17f;
}
static void row_tiny(int i, float *v){
  g_vector((uint64_t)i, v);
  for(int j=0; j<G_DIMS; j++) v[j] *= 1e-22f;
}

TEST(graph__of_equal_rows_orders_them_by_key){
  odd_data(G_SCHEMA, 2500, 100, row_equal);
}
TEST(graph__of_many_duplicates_orders_them_by_key){
  odd_data(G_SCHEMA, 2500, 100, row_twins);
}
TEST(graph__knows_zero_vectors_under_cosine){
  odd_data(G_SCHEMA " distance_metric=cosine", 2500, 100, row_zero);
}
TEST(graph__knows_zero_vectors_under_l2){
  odd_data(G_SCHEMA, 2500, 100, row_zero);
}
TEST(graph__of_all_equal_rows_under_cosine){
  odd_data(G_SCHEMA " distance_metric=cosine", 2500, 100, row_equal);
}
TEST(graph__keeps_huge_rows_beside){
  odd_data(G_SCHEMA, 2500, 100, row_huge);
  odd_data(G_SCHEMA " distance_metric=ip", 2500, 100, row_huge);
  odd_data(G_SCHEMA " distance_metric=cosine", 2500, 100, row_huge);
}
TEST(graph__of_large_and_tiny_numbers){
  odd_data(G_SCHEMA, 1500, 200, row_all_huge);
  odd_data(G_SCHEMA " distance_metric=ip", 1500, 200, row_all_huge);
  odd_data(G_SCHEMA, 1500, 200, row_tiny);
  odd_data(G_SCHEMA " distance_metric=ip", 1500, 200, row_tiny);
  odd_data(G_SCHEMA " distance_metric=cosine", 1500, 200, row_tiny);
}

TEST(graph__of_one_dimension){
  vecdb *db = api_memory();
  vecdb_collection *c = api_collection(db, "t", "id integer primary key, "
                                       "v float[1] index=graph");
  enum { N = 4000 };
  static float v[N], dist[10];
  static int64_t keys[10];
  vecdb_column_data d = { sizeof(d), 1, VECDB_VECTOR, VECDB_F32, v, 0, NULL };
  vecdb_search_options o = g_options(3, 40);
  for(int i=0; i<N; i++) v[i] = (float)(i*1237%N);
  OK(db, vecdb_put_many(c, N, &d, 1, 0, NULL));
  OK(db, g_optimize(c));
  for(int i=0; i<N; i+=400){
    OK(db, vecdb_search_many(c, &o, 1, VECDB_F32, &v[i], 0, keys, dist, NULL));
    CHECK_INT(i+1, keys[0]);
    CHECK_DBL(0, dist[0], 0);
  }
  CHECK_STR("graph", g_info(c).plan);
  vecdb_close(db);
}

/* ---- Metrics, types, keys ------------------------------------------------ */

TEST(graph__serves_every_metric_and_type){
  static const char *const type[] = { "float", "float16", "bfloat16", "int8",
                                      "uint8" };
  static const int element[] = { VECDB_F32, VECDB_F16, VECDB_BF16, VECDB_I8,
                                 VECDB_U8 };
  static const char *const metric[] = { "l2", "cosine", "ip" };
  for(int i=0; i<5; i++){
    for(int m=0; m<3; m++){
      vecdb *db = api_memory();
      char schema[120];
      vecdb_collection *c;
      vecdb_search_options o = g_options(G_K, 60);
      snprintf(schema, sizeof(schema), "id integer primary key, v %s[16] "
               "index=graph distance_metric=%s", type[i], metric[m]);
      c = g_table(db, schema, element[i], G_ROWS);
      if( !CHECK(g_recall(c, &o, element[i], 15)>=0.93) ) puts(schema);
      CHECK_STR("graph", g_info(c).plan);
      OK(db, vecdb_check(db, 0, NULL, NULL));
      vecdb_close(db);
    }
  }
}

/* Distances have the bits that the function gives, wherever they come from:
** blocks (integers, floats) or, where sums of squares are too large to be
** exact, stored rows. */
TEST(graph__reports_the_distance_to_the_bit){
  enum { N = 1000, D = 300 };
  static const struct { const char *type; int element; float top, step; }
  kind[] = { { "uint8", VECDB_U8, 256, 1 }, { "float", VECDB_F32, 256, 1 },
             { "float", VECDB_F32, 256, 0.5f }, { "float", VECDB_F32, 3, 0 } };
  static float f[N*D];
  static uint8_t u[N*D];
  for(int i=0; i<4; i++){
    vecdb *db = api_memory();
    int d = kind[i].step>0 ? D : 20;
    vecdb_column_data data = { sizeof(data), 1, VECDB_VECTOR,
                               (uint32_t)kind[i].element, f, 0, NULL };
    vecdb_search_options o = g_options(G_K, 20);
    int64_t key[G_K];
    float dist[G_K];
    vecdb_collection *c;
    uint64_t state = (uint64_t)i;
    char schema[100];
    for(int j=0; j<N*d; j++){
      double x;
      state = state*6364136223846793005u + 1442695040888963407u;
      x = kind[i].top*(double)(state>>40)/(1<<24);
      f[j] = kind[i].step>0 ? (float)(int)x : (float)x;
      u[j] = (uint8_t)f[j];
    }
    if( kind[i].element==VECDB_U8 ) data.data = u;
    snprintf(schema, sizeof(schema), "id integer primary key, v %s[%d] "
             "index=graph", kind[i].type, d);
    c = api_collection(db, "t", schema);
    OK(db, vecdb_put_many(c, N, &data, 1, 0, NULL));
    OK(db, g_optimize(c));
    for(int j=0; j<20; j++){
      const void *q = (const char*)data.data
                    + (size_t)j*vecdb_vector_bytes(kind[i].element, (size_t)d);
      float moved[D];
      if( kind[i].element==VECDB_F32 ){
        memcpy(moved, q, 4*(size_t)d);
        for(int e=0; e<d; e+=3) moved[e] += kind[i].step>0 ? kind[i].step : 1;
        q = moved;
      }
      OK(db, vecdb_search_many(c, &o, 1, kind[i].element, q, 0, key, dist,
                               NULL));
      for(int e=0; e<G_K; e++){
        double want;
        CHECK_RC(VECDB_OK, vecdb_distance(VECDB_L2, kind[i].element, (size_t)d,
            q, (const char*)data.data + (size_t)(key[e]-1)
               *vecdb_vector_bytes(kind[i].element, (size_t)d), &want));
        if( !CHECK_DBL(want, (double)dist[e], 0) ) return;
      }
    }
    CHECK_STR("graph", g_info(c).plan);
    vecdb_close(db);
  }
}

TEST(graph__orders_ties_by_text_and_by_unordered_keys){
  vecdb *db = api_memory();
  vecdb_collection *c = api_collection(db, "t", "name text primary key, "
                                       "v float[16] index=graph");
  enum { N = 3000 };
  static float all[N*G_DIMS];
  static char text[N][8];
  static const char *name[N];
  vecdb_column_data d[2] = {
    { sizeof(d[0]), 0, VECDB_TEXT, 0, name, 0, NULL },
    { sizeof(d[0]), 1, VECDB_VECTOR, VECDB_F32, all, 0, NULL } };
  vecdb_search_options o = g_options(20, 100);
  vecdb_stmt *s;
  char last[8] = "";
  int n = 0;
  for(int i=0; i<N; i++){
    snprintf(text[i], sizeof(text[i]), "%06d", (i*1237)%N);
    name[i] = text[i];
    g_vector((uint64_t)(i/20), all + i*G_DIMS);
  }
  OK(db, vecdb_put_many(c, N, d, 2, 0, NULL));
  OK(db, g_optimize(c));
  OK(db, vecdb_prepare_search(c, &o, &s));
  OK(db, vecdb_bind_vector(s, VECDB_QUERY, VECDB_F32, all + 40*G_DIMS,
                           4*G_DIMS, VECDB_STATIC));
  while( vecdb_step(s)==VECDB_ROW ){
    CHECK_DBL(0, vecdb_row_distance(s), 0);
    CHECK(strcmp(last, vecdb_column_text(s, 0))<0);
    snprintf(last, sizeof(last), "%s", vecdb_column_text(s, 0));
    n++;
  }
  CHECK_INT(20, n);
  CHECK_STR("graph", g_info(c).plan);
  OK(db, vecdb_finalize(s));
  vecdb_close(db);
}

/* Two vector columns, two graphs. */
TEST(graph__of_each_of_two_columns){
  vecdb *db = api_memory();
  vecdb_collection *c = api_collection(db, "t", "id integer primary key, "
      "v float[16] index=graph, w int8[16] index=graph");
  enum { N = 3000 };
  static float all[N*G_DIMS];
  static int8_t w[N*G_DIMS];
  static struct answer a;
  vecdb_column_data d[2] = {
    { sizeof(d[0]), 1, VECDB_VECTOR, VECDB_F32, all, 0, NULL },
    { sizeof(d[0]), 2, VECDB_VECTOR, VECDB_I8, w, 0, NULL } };
  vecdb_search_options o = g_options(1, 60);
  for(int i=0; i<N; i++) g_vector((uint64_t)i, all + i*G_DIMS);
  for(int i=0; i<N*G_DIMS; i++) w[N*G_DIMS-1-i] = (int8_t)all[i];
  OK(db, vecdb_put_many(c, N, d, 2, 0, NULL));
  OK(db, g_optimize(c));
  CHECK_U64(2*N, g_graph_rows(c));
  g_search(c, &o, VECDB_F32, all + 17*G_DIMS, &a);
  CHECK_INT(18, a.key[0]);
  o.column = 2;
  g_search(c, &o, VECDB_I8, w + 17*G_DIMS, &a);
  CHECK_INT(18, a.key[0]);
  CHECK_STR("graph", g_info(c).plan);
  OK(db, vecdb_check(db, 0, NULL, NULL));
  OK(db, vecdb_drop_collection(db, "t"));
  OK(db, vecdb_check(db, 0, NULL, NULL));
  vecdb_close(db);
}

/* ---- One query and many -------------------------------------------------- */

enum { N_QUERY = 70 };

static void batch_equals_single(vecdb_collection *c, int element,
                                const vecdb_search_options *o,
                                const void *queries){
  vecdb *db = vecdb_collection_db(c);
  size_t sz = vecdb_vector_bytes(element, G_DIMS), k = (size_t)o->k;
  int64_t *keys = malloc(N_QUERY*k*8);
  float *dist = malloc(N_QUERY*k*4);
  uint32_t n[N_QUERY];
  static struct answer a;
  OK(db, vecdb_search_many(c, o, N_QUERY, element, queries, 0, keys, dist, n));
  for(size_t i=0; i<N_QUERY; i++){
    g_search(c, o, element, (const char*)queries + i*sz, &a);
    if( !CHECK_U64(a.n, n[i])
     || !CHECK_MEM(a.key, keys + i*k, a.n*8)
     || !CHECK_MEM(a.distance, dist + i*k, a.n*4) ){
      FAIL("query %zu, k %zu, ef %u", i, k, o->ef);
      break;
    }
  }
  free(keys);
  free(dist);
}

/* Queries: like the rows, rows themselves, zero, far, huge. */
static void queries_make(int element, void *out){
  size_t sz = vecdb_vector_bytes(element, G_DIMS);
  char buf[4*G_DIMS];
  for(uint64_t i=0; i<N_QUERY; i++){
    float v[G_DIMS];
    g_vector(i%3 ? 1000000+i : i, v);
    for(int j=0; j<G_DIMS; j++){
      if( i%11==5 ) v[j] = 0;
      if( i%11==7 ) v[j] = 100 + v[j]/10;
      if( i%11==9 && element==VECDB_F32 ) v[j] *= 1e25f;
    }
    memcpy((char*)out + i*sz, g_as(element, v, buf), sz);
  }
}

static void batches_of(const char *schema, int element){
  vecdb *db = api_memory();
  vecdb_collection *c = g_table(db, schema, element, 3000);
  char queries[N_QUERY*G_DIMS*4];
  queries_make(element, queries);
  for(int rest=0; rest<2; rest++){
    if( rest ){
      g_fill(c, element, 50000, 50200);
      erase(c, 1000, 1100);
    }
    for(int f=0; f<3; f++){
      static const char *const filter[] = { NULL, "id >= 500", "id < 2100" };
      for(uint32_t ef=10; ef<=90; ef+=40){
        vecdb_search_options o = g_options(ef<50 ? 3 : 17, ef);
        o.filter = filter[f];
        batch_equals_single(c, element, &o, queries);
        o.ef = 0;
        if( ef==50 ) batch_equals_single(c, element, &o, queries);
      }
    }
  }
  vecdb_close(db);
}

TEST(graph__batch_gives_what_single_queries_give){
  batches_of(G_SCHEMA, VECDB_F32);
  batches_of(G_SCHEMA " distance_metric=cosine", VECDB_F32);
  batches_of(G_SCHEMA " distance_metric=ip", VECDB_F32);
  batches_of("id integer primary key, v uint8[16] index=graph", VECDB_U8);
}

/* ---- The same everywhere ------------------------------------------------- */

static uint64_t hash_bytes(uint64_t h, const void *p, size_t n){
  const unsigned char *b = p;
  for(size_t i=0; i<n; i++) h = (h ^ b[i])*0x100000001b3u;
  return h;
}

static uint64_t hash_file(const char *path){
  uint64_t h = 0xcbf29ce484222325u;
  unsigned char buf[8192];
  size_t n, at = 0;
  FILE *f = fopen(path, "rb");
  REQUIRE(f!=NULL);
  while( (n = fread(buf, 1, sizeof(buf), f))>0 ){
    for(size_t i=0; i<n; i++, at++){
      /* The header region holds a random uuid and its checksums. */
      if( at>=8192 ) h = hash_bytes(h, buf+i, 1);
    }
  }
  fclose(f);
  return h;
}

/* Build with so many threads; hash of file and of 40 answers. */
static void build_and_hash(unsigned n_thread, uint64_t *file,
                           uint64_t *results){
  vecdb_options opt = VECDB_OPTIONS_INIT;
  char queries[N_QUERY*G_DIMS*4];
  int64_t keys[N_QUERY*5];
  float dist[N_QUERY*5];
  vecdb_search_options o = g_options(5, 12);
  const char *path;
  vecdb_collection *c;
  vecdb *db;
  char name[40];
  snprintf(name, sizeof(name), "threads-%u.vdb", n_thread);
  path = vt_path(name);
  remove(path);
  opt.threads = n_thread;
  opt.sync = VECDB_SYNC_OFF;
  db = api_open(path, &opt);
  c = g_table(db, G_SCHEMA ", merge_rows=100", VECDB_F32, 2600);
  g_fill(c, VECDB_F32, 2600, 2750);
  CHECK_U64(2750, g_graph_rows(c));
  queries_make(VECDB_F32, queries);
  OK(db, vecdb_search_many(c, &o, N_QUERY, VECDB_F32, queries, 0, keys, dist,
                           NULL));
  *results = hash_bytes(hash_bytes(7, keys, sizeof(keys)), dist, sizeof(dist));
  OK(db, vecdb_close(db));
  *file = hash_file(path);
}

TEST(graph__bytes_and_results_do_not_depend_on_threads){
  uint64_t file[3], result[3];
  build_and_hash(1, &file[0], &result[0]);
  build_and_hash(2, &file[1], &result[1]);
  build_and_hash(8, &file[2], &result[2]);
  CHECK_U64(result[0], result[1]);
  CHECK_U64(result[0], result[2]);
  CHECK_U64(file[0], file[1]);
  CHECK_U64(file[0], file[2]);
}

/* A host may round otherwise: what was computed to the nearest when the graph was
** made is compared with the same. */
TEST(graph__check_rounds_as_the_build_did){
  static const int mode[] = { FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO };
  enum { N = 4000, DIMS = 128 };
  static float v[N*DIMS];
  static int64_t key[N];
  vecdb_column_data d[2] = {
    { sizeof(d[0]), 0, VECDB_INTEGER, 0, key, 0, NULL },
    { sizeof(d[0]), 1, VECDB_VECTOR, VECDB_F32, v, 0, NULL } };
  vecdb *db = api_memory();
  vecdb_collection *c = api_collection(db, "t",
      "id integer primary key, v float[128] index=graph");
  for(uint32_t i=0; i<N; i++) key[i] = i;
  for(uint32_t i=0; i<N*DIMS; i++) v[i] = (float)(g_hash(i)%100000)/99999;
  OK(db, vecdb_put_many(c, N, d, 2, 0, NULL));
  OK(db, g_optimize(c));
  CHECK_U64(N, g_graph_rows(c));
  for(size_t i=0; i<sizeof(mode)/sizeof(mode[0]); i++){
    int rc;
    fesetround(mode[i]);
    rc = vecdb_check(db, 0, NULL, NULL);
    fesetround(FE_TONEAREST);
    OK(db, rc);
  }
  OK(db, vecdb_close(db));
}
