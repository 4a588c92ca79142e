/* t_select.c -- filtered searches by graphs: k rows or all there are, near the
** query and far from it, whatever share of the rows qualifies.
*/
#include "api/graph.h"

enum { N = 3000, K_MAX = 4000, ASKED = 8 };

static const char schema[] =
  "id integer primary key, v float[16] index=graph, part integer partition key,"
  " u int, near int, tag text";

/* More than codes of rows are asked for: a walk over bridges, where many rows
** do not qualify. */
#define RECALL_WALK  0.992

static float *all;                       /* rows */
static double wanted;                    /* recall; 0: the default */
static int64_t *near_of;

static float row_d2(const float *a, const float *b){
  float s = 0;
  for(int j=0; j<G_DIMS; j++) s += (a[j]-b[j])*(a[j]-b[j]);
  return s;
}

/* Rows of the generator, a quarter of them equal to another. u has nothing to
** do with the vectors, near says how many thousandths of the rows are nearer
** to row 0, part has 250 values. */
static vecdb_collection *select_table(vecdb *db){
  vecdb_collection *c = api_collection(db, "t", schema);
  int64_t *u = malloc(8*N), *part = malloc(8*N);
  const char **tag = malloc(sizeof(*tag)*N);
  vecdb_column_data d[] = {
    { sizeof(d[0]), 1, VECDB_VECTOR, VECDB_F32, NULL, 0, NULL },
    { sizeof(d[0]), 2, VECDB_INTEGER, 0, part, 0, NULL },
    { sizeof(d[0]), 3, VECDB_INTEGER, 0, u, 0, NULL },
    { sizeof(d[0]), 4, VECDB_INTEGER, 0, NULL, 0, NULL },
    { sizeof(d[0]), 5, VECDB_TEXT, 0, tag, 0, NULL } };
  all = malloc(sizeof(float)*N*G_DIMS);
  near_of = calloc(N, sizeof(*near_of));
  for(int i=0; i<N; i++){
    g_vector((uint64_t)(i%4==3 ? i/2 : i), all + (size_t)i*G_DIMS);
    u[i] = g_hash((uint64_t)i + 12345)%1000;
    part[i] = g_hash((uint64_t)i + 777)%250;
    tag[i] = u[i]<300 ? "a tag of some length" : u[i]<500 ? "b" : NULL;
  }
  for(int i=0; i<N; i++){
    int64_t n = 0;
    float x = row_d2(all, all + (size_t)i*G_DIMS);
    for(int j=0; j<N; j++) n += row_d2(all, all + (size_t)j*G_DIMS)<x;
    near_of[i] = n*1000/N;
  }
  d[0].data = all;
  d[3].data = near_of;
  OK(db, vecdb_put_many(c, N, d, 5, 0, NULL));
  OK(db, g_optimize(c));
  free(u);
  free(part);
  free(tag);
  return c;
}

/* The row that is i steps from row 0: 0 is row 0 itself, 999 the farthest. */
static const float *query_at(int64_t i){
  for(int j=0; j<N; j++) if( near_of[j]>=i ) return all + (size_t)j*G_DIMS;
  return all;
}

/* As many rows as an exact search gives, in order, at distances that are at
** most so good; the share of them that are as good. */
static double select_recall(vecdb_collection *c, vecdb_search_options *o,
                            const float *q){
  static int64_t key[2][K_MAX];
  static float dist[2][K_MAX];
  uint32_t n[2] = { 0, 0 }, hit = 0;
  uint32_t flags = o->flags;
  for(int i=0; i<2; i++){
    vecdb_stmt *s = NULL;
    o->flags = i ? flags | VECDB_SEARCH_EXACT : flags;
    OK(vecdb_collection_db(c), vecdb_prepare_search(c, o, &s));
    OK(vecdb_collection_db(c), vecdb_bind_vector(s, VECDB_QUERY, VECDB_F32, q,
                                                 4*G_DIMS, VECDB_STATIC));
    while( vecdb_step(s)==VECDB_ROW ){
      key[i][n[i]] = vecdb_column_int64(s, 0);
      dist[i][n[i]++] = (float)vecdb_row_distance(s);
    }
    OK(vecdb_collection_db(c), vecdb_finalize(s));
  }
  o->flags = flags;
  CHECK_U64(n[1], n[0]);
  for(uint32_t i=0; i<n[0]; i++){
    if( i>0 && !CHECK(dist[0][i-1]<dist[0][i] || (dist[0][i-1]==dist[0][i]
                       && key[0][i-1]<key[0][i])) ) break;
    if( !CHECK(dist[0][i]>=dist[1][i]) ) break;
    hit += dist[0][i]<=dist[1][n[1]-1];
  }
  return n[1] ? (double)hit/n[1] : 1;
}

/* Mean over queries near row 0 and far from it. */
static double filter_recall(vecdb_collection *c, const char *filter,
                            uint64_t k){
  vecdb_search_options o = g_options(k, 0);
  double s = 0;
  o.filter = filter;
  o.recall = wanted;
  for(int i=0; i<ASKED; i++){
    s += select_recall(c, &o, query_at(i*999/(ASKED-1)));
  }
  return s/ASKED;
}

TEST(select__gives_k_rows_at_any_share){
  static const char *const filters[] = {
    "u < 1", "u < 5", "u < 50", "u < 100", "u < 300", "u < 500", "u < 900",
    "u >= 0", "u > 1000", "part = 17", "part IN (1,2,3,4,5,6,7,8,9)",
    "part <> 17", "tag = 'b'", "tag IS NULL", "tag LIKE 'a tag%'",
    "u IN (1,3,5,7,9,11,13,15,17,900) OR part < 20", "NOT u < 400" };
  static const uint64_t ks[] = { 1, 10, 120 };
  vecdb *db = api_memory();
  vecdb_collection *c = select_table(db);
  for(size_t i=0; i<sizeof(filters)/sizeof(filters[0]); i++){
    for(size_t j=0; j<3; j++){
      for(int way=0; way<2; way++){
        double r;
        wanted = way ? RECALL_WALK : 0;
        r = filter_recall(c, filters[i], ks[j]);
        if( !(r>=0.93) ) FAIL("recall %.3f of %s, k %d, way %d", r, filters[i],
                              (int)ks[j], way);
      }
    }
  }
  vecdb_close(db);
}

/* What qualifies lies around row 0, or everywhere but there. */
TEST(select__finds_rows_that_have_to_do_with_the_query){
  static const char *const filters[] = {
    "near < 20", "near < 120", "near < 300", "near < 600", "near < 950",
    "near >= 50", "near >= 400", "near >= 700", "near >= 880",
    "near BETWEEN 200 AND 400", "near < 500 AND u < 300",
    "near >= 500 AND u < 300" };
  vecdb *db = api_memory();
  vecdb_collection *c = select_table(db);
  for(size_t i=0; i<sizeof(filters)/sizeof(filters[0]); i++){
    double r = filter_recall(c, filters[i], G_K);
    if( !(r>=0.93) ) FAIL("recall %.3f of %s", r, filters[i]);
  }
  vecdb_close(db);
}

TEST(select__gives_all_rows_when_k_is_near_their_number){
  static const uint64_t ks[] = { 850, 930, 1450, 1550, 2999, 3000, 3500 };
  vecdb *db = api_memory();
  vecdb_collection *c = select_table(db);
  for(size_t i=0; i<sizeof(ks)/sizeof(ks[0]); i++){
    vecdb_search_options o = g_options(ks[i], 0);
    o.filter = "u < 300";
    CHECK(select_recall(c, &o, query_at(500))>=0.8);
    o.filter = "near < 500";
    CHECK(select_recall(c, &o, query_at(900))>=0.8);
    o.filter = NULL;
    CHECK(select_recall(c, &o, query_at(0))>=0.8);
  }
  vecdb_close(db);
}

TEST(select__leaves_deleted_rows_out){
  vecdb *db = api_memory();
  vecdb_collection *c = select_table(db);
  vecdb_stmt *s = NULL;
  OK(db, vecdb_collection_set(c, "optimize", "manual"));
  OK(db, vecdb_begin(db, VECDB_WRITE));
  OK(db, vecdb_prepare_delete(c, &s));
  for(int64_t i=0; i<N; i++){
    if( near_of[i]>=150 && g_hash((uint64_t)i)%2 ) continue;
    OK(db, vecdb_bind_int64(s, VECDB_KEY, i+1));
    DONE(db, vecdb_step(s));
  }
  OK(db, vecdb_finalize(s));
  OK(db, vecdb_commit(db));
  CHECK(filter_recall(c, NULL, G_K)>=0.93);
  CHECK(filter_recall(c, "u < 300", G_K)>=0.93);
  CHECK(filter_recall(c, "near < 500", G_K)>=0.93);
  CHECK(filter_recall(c, "near < 150", G_K)==1);
  vecdb_close(db);
}

/* Batches give what single searches give. */
TEST(select__batches_agree_with_single_searches){
  static const char *const filters[] = { "u < 200", "near < 300",
                                         "near >= 700" };
  enum { NQ = 40 };
  static int64_t key[NQ*G_K];
  static float dist[NQ*G_K], query[NQ*G_DIMS];
  static uint32_t count[NQ];
  vecdb *db = api_memory();
  vecdb_collection *c = select_table(db);
  for(int i=0; i<NQ; i++){
    memcpy(query + i*G_DIMS, query_at(i*25), 4*G_DIMS);
  }
  for(size_t f=0; f<3; f++){
    vecdb_search_options o = g_options(G_K, 0);
    o.filter = filters[f];
    OK(db, vecdb_search_many(c, &o, NQ, VECDB_F32, query, 0, key, dist,
                             count));
    for(int i=0; i<NQ; i++){
      vecdb_stmt *s = NULL;
      uint32_t n = 0;
      OK(db, vecdb_prepare_search(c, &o, &s));
      OK(db, vecdb_bind_vector(s, VECDB_QUERY, VECDB_F32, query + i*G_DIMS,
                               4*G_DIMS, VECDB_STATIC));
      while( vecdb_step(s)==VECDB_ROW ){
        CHECK_INT(key[i*G_K+n], vecdb_column_int64(s, 0));
        n++;
      }
      CHECK_U64(count[i], n);
      OK(db, vecdb_finalize(s));
    }
  }
  vecdb_close(db);
}

TEST(select__says_what_it_did){
  vecdb *db = api_memory();
  vecdb_collection *c = select_table(db);
  vecdb_search_options o = g_options(G_K, 0);
  vecdb_search_info i;
  o.filter = "u < 300";
  select_recall(c, &o, query_at(500));          /* the exact one is the last */
  i = g_info(c);
  CHECK_STR("exact", i.plan);
  CHECK_STR("exact is asked for", i.why);
  CHECK_U64(N, i.n_row);
  CHECK_U64(0, i.n_block);
  CHECK(i.cost_exact_us==0 && i.cost_through_us==0 && i.cost_within_us==0);
  filter_recall(c, NULL, G_K);
  OK(db, vecdb_search_many(c, &o, 1, VECDB_F32, query_at(500), 0,
                           (int64_t[G_K]){0}, NULL, NULL));
  i = g_info(c);
  CHECK_STR("codes", i.plan);
  CHECK_STR("codes are compared fast", i.why);
  CHECK(i.n_match>800 && i.n_match<1000);
  CHECK(i.n_distance>=G_K && i.n_distance<i.n_match/2);
  CHECK(i.cost_codes_us>0 && i.cost_codes_us<i.cost_exact_us);
  CHECK(i.recall>=0.95 && i.recall<=1);
  CHECK_U64(0, i.n_block);
  CHECK_U64(0, i.n_switch);
  o.recall = RECALL_WALK;
  OK(db, vecdb_search_many(c, &o, 1, VECDB_F32, query_at(500), 0,
                           (int64_t[G_K]){0}, NULL, NULL));
  i = g_info(c);
  CHECK_STR("graph over bridges", i.plan);
  CHECK_STR("many rows do not qualify", i.why);
  CHECK(i.n_match>800 && i.n_match<1000);
  CHECK(i.cost_within_us>0 && i.cost_within_us<i.cost_exact_us);
  CHECK(i.cost_through_us>0);
  CHECK(i.cost_codes_us==0);
  CHECK_U64(0, i.n_switch);
  o.filter = "u < 30";
  OK(db, vecdb_search_many(c, &o, 1, VECDB_F32, query_at(500), 0,
                           (int64_t[G_K]){0}, NULL, NULL));
  CHECK_STR("exact", g_info(c).plan);
  CHECK_STR("few rows qualify", g_info(c).why);
  vecdb_close(db);
}

/* A walk whose sample shows that the filter is far away gives up where
** comparing all costs less. */
TEST(select__goes_on_exactly_when_the_filter_is_far){
  vecdb *db = api_memory();
  vecdb_collection *c = select_table(db);
  vecdb_search_options o = g_options(G_K, 0);
  vecdb_stmt *s = NULL;
  vecdb_search_info i;
  int n = 0;
  o.filter = "near >= 700";
  o.recall = RECALL_WALK;
  OK(db, vecdb_prepare_search(c, &o, &s));
  OK(db, vecdb_bind_vector(s, VECDB_QUERY, VECDB_F32, query_at(0), 4*G_DIMS,
                           VECDB_STATIC));
  while( vecdb_step(s)==VECDB_ROW ) n++;
  OK(db, vecdb_finalize(s));
  CHECK_INT(G_K, n);
  i = g_info(c);
  CHECK_STR("graph over bridges, then exact", i.plan);
  CHECK_STR("near the query too few rows qualify", i.why);
  CHECK_U64(1, i.n_switch);
  CHECK_U64(1, i.n_far);
  CHECK(i.share_near>0 && i.share_near<0.18);
  CHECK(i.n_block>0);
  CHECK_DBL(1, i.recall, 0);
  vecdb_close(db);
}
