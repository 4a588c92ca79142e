/* t_multi.c -- searches of several vector columns: the weighted sum of their
** distances, by comparing all rows and by lists of graphs.
*/
#include "api/graph.h"

enum { N = 2600, D2 = 8 };

static float *a_of, *b_of;
static const double weight[2] = { 0.25, 40 };

static void row_b(uint64_t i, float *v){
  for(uint32_t j=0; j<D2; j++) v[j] = (float)(1+g_hash(i/3*64+j+5)%50);
}

static vecdb_collection *multi_table(vecdb *db){
  vecdb_collection *c = api_collection(db, "t", "id integer primary key, "
      "a float[16] index=graph, b float[8] distance_metric=cosine index=graph, "
      "u int");
  int64_t *u = malloc(8*N);
  a_of = malloc(4*G_DIMS*N);
  b_of = malloc(4*D2*N);
  for(int i=0; i<N; i++){
    g_vector((uint64_t)i, a_of + (size_t)i*G_DIMS);
    row_b((uint64_t)i, b_of + (size_t)i*D2);
    u[i] = i%10;
  }
  vecdb_column_data d[] = {
    { sizeof(d[0]), 1, VECDB_VECTOR, VECDB_F32, a_of, 0, NULL },
    { sizeof(d[0]), 2, VECDB_VECTOR, VECDB_F32, b_of, 0, NULL },
    { sizeof(d[0]), 3, VECDB_INTEGER, 0, u, 0, NULL } };
  OK(db, vecdb_put_many(c, N, d, 3, 0, NULL));
  free(u);
  return c;
}

/* The sum that the manual says, of row i. */
static float sum_of(const float *qa, const float *qb, int i){
  double x, y, s;
  vecdb_distance(VECDB_L2, VECDB_F32, G_DIMS, qa, a_of + (size_t)i*G_DIMS, &x);
  vecdb_distance(VECDB_COSINE, VECDB_F32, D2, qb, b_of + (size_t)i*D2, &y);
  s = weight[0]*x;
  s += weight[1]*y;
  return (float)s;
}

static int compare_floats(const void *x, const void *y){
  float a = *(const float*)x, b = *(const float*)y;
  return a<b ? -1 : a>b;
}

static void parts_set(vecdb_query_part p[2], const float *qa, const float *qb){
  p[0] = (vecdb_query_part){ sizeof(p[0]), 1, VECDB_F32, 0, weight[0], qa,
                             4*G_DIMS };
  p[1] = (vecdb_query_part){ sizeof(p[0]), 2, VECDB_F32, 0, weight[1], qb,
                             4*D2 };
}

/* One search, compared with all sums; the share of rows that are as near as
** the true ones. */
static double multi_recall(vecdb_collection *c, const vecdb_search_options *o,
                           int step, uint64_t q){
  static float all[N];
  vecdb *db = vecdb_collection_db(c);
  vecdb_query_part p[2];
  vecdb_stmt *s = NULL;
  float qa[G_DIMS], qb[D2], last = -1;
  int64_t last_key = -1;
  size_t n = 0, n_all = 0, hit = 0, k;
  g_vector(500000+q, qa);
  row_b(700000+7*q, qb);
  for(int i=0; i<N; i++) if( i%step==0 ) all[n_all++] = sum_of(qa, qb, i);
  qsort(all, n_all, 4, compare_floats);
  k = o->k<n_all ? (size_t)o->k : n_all;
  parts_set(p, qa, qb);
  OK(db, vecdb_prepare_search_multi(c, o, p, 2, &s));
  memset(qa, 0, sizeof(qa));                    /* it was copied */
  g_vector(500000+q, qa);
  while( vecdb_step(s)==VECDB_ROW ){
    int64_t id = vecdb_column_int64(s, 0);
    float d = (float)vecdb_row_distance(s);
    CHECK(d==sum_of(qa, qb, (int)id-1) && (id-1)%step==0);
    CHECK(d>last || (d==last && id>last_key));
    hit += d<=all[k-1];
    last = d;
    last_key = id;
    n++;
  }
  CHECK_U64(k, n);
  OK(db, vecdb_finalize(s));
  return k ? (double)hit/(double)k : 1;
}

TEST(multi__orders_rows_by_the_weighted_sum){
  vecdb *db = api_memory();
  vecdb_collection *c = multi_table(db);
  vecdb_search_options o = g_options(10, 0);
  for(uint64_t q=0; q<10; q++) CHECK(multi_recall(c, &o, 1, q)==1);
  CHECK_STR("exact", g_info(c).plan);
  o.filter = "u = 0";
  for(uint64_t q=0; q<10; q++) CHECK(multi_recall(c, &o, 10, q)==1);
  o.k = 300;                                    /* there are 260 */
  CHECK(multi_recall(c, &o, 10, 3)==1);
  o.k = 10;
  o.filter = "u > 100";                         /* nobody */
  vecdb_stmt *s = NULL;
  vecdb_query_part p[2];
  parts_set(p, a_of, b_of);
  OK(db, vecdb_prepare_search_multi(c, &o, p, 2, &s));
  DONE(db, vecdb_step(s));
  OK(db, vecdb_finalize(s));
  vecdb_close(db);
}

TEST(multi__finds_them_by_lists_of_graphs){
  vecdb *db = api_memory();
  vecdb_collection *c = multi_table(db);
  vecdb_search_options o = g_options(5, 0);
  double r = 0;
  int n_list = 0;
  OK(db, g_optimize(c));
  for(uint64_t q=0; q<20; q++){
    r += multi_recall(c, &o, 1, q)/20;
    n_list += strcmp(g_info(c).plan, "threshold over graphs")==0;
  }
  CHECK(r>=0.93);
  CHECK(n_list>0);
  o.filter = "u IN (0,5)";
  for(uint64_t q=0; q<10; q++) CHECK(multi_recall(c, &o, 5, q)>=0.8);
  o.flags = VECDB_SEARCH_EXACT;
  CHECK(multi_recall(c, &o, 5, 1)==1);
  CHECK_STR("exact is asked for", g_info(c).why);
  vecdb_close(db);
}

TEST(multi__refuses_what_has_no_meaning){
  vecdb *db = api_memory();
  vecdb_collection *c = multi_table(db);
  vecdb_search_options o = g_options(10, 0);
  vecdb_query_part p[2];
  vecdb_stmt *s = NULL;
  float qa[G_DIMS] = { 1 }, qb[D2] = { 1 };
  parts_set(p, qa, qb);
  o.k = 0;
  REFUSES(db, VECDB_MISUSE, "search: one of several columns takes k, and neither a column nor "
          "distances",
          vecdb_prepare_search_multi(c, &o, p, 2, &s));
  o.k = 10;
  REFUSES(db, VECDB_RANGE, "search: 0 parts, expected 1 to 64",
          vecdb_prepare_search_multi(c, &o, p, 0, &s));
  p[1].weight = -1;
  REFUSES(db, VECDB_RANGE, "part 1: weight -1, expected a number of at least 0",
          vecdb_prepare_search_multi(c, &o, p, 2, &s));
  p[1].weight = 1;
  p[1].n_bytes = 4;
  REFUSES(db, VECDB_MISMATCH, "part 1: column \"b\" has 8 dimensions, not 1",
          vecdb_prepare_search_multi(c, &o, p, 2, &s));
  p[1].column = 3;
  REFUSES(db, VECDB_MISMATCH, "part 1: column \"u\" is no vector",
          vecdb_prepare_search_multi(c, &o, p, 2, &s));
  p[1].size = 3;
  REFUSES(db, VECDB_MISUSE, "vecdb_query_part: the size is 3; begin with the _INIT macro",
          vecdb_prepare_search_multi(c, &o, p, 2, &s));
  vecdb_close(db);
}

/* A sum that is no number (0 times infinity) is farthest, as such distances
** are, and does not disturb the order of the others. */
TEST(multi__puts_sums_that_are_no_numbers_last){
  enum { FEW = 40 };
  vecdb *db = api_memory();
  vecdb_collection *c = api_collection(db, "t",
      "id integer primary key, a float[2], b float[2]");
  float a[FEW][2], b[FEW][2], qa[2] = { 0, 0 }, qb[2] = { 0, 0 };
  vecdb_search_options o = g_options(FEW, 0);
  vecdb_stmt *s = NULL;
  for(int i=0; i<FEW; i++){
    bool is_far = i%3==0;
    a[i][0] = a[i][1] = is_far ? 3e38f : 1;          /* the square overflows */
    b[i][0] = (float)(FEW-i);
    b[i][1] = 0;
  }
  vecdb_column_data d[] = {
    { sizeof(d[0]), 1, VECDB_VECTOR, VECDB_F32, a, 0, NULL },
    { sizeof(d[0]), 2, VECDB_VECTOR, VECDB_F32, b, 0, NULL } };
  OK(db, vecdb_put_many(c, FEW, d, 2, 0, NULL));
  vecdb_query_part p[2] = {
    { sizeof(p[0]), 1, VECDB_F32, 0, 0, qa, sizeof(qa) },
    { sizeof(p[0]), 2, VECDB_F32, 0, 1, qb, sizeof(qb) } };
  for(uint64_t k=1; k<=FEW; k++){
    int id = FEW, n = 0, last = 0;
    o.k = k;
    OK(db, vecdb_prepare_search_multi(c, &o, p, 2, &s));
    while( vecdb_step(s)==VECDB_ROW ){
      int got = (int)vecdb_column_int64(s, 0);
      while( id>0 && (id-1)%3==0 ) id--;
      if( id>0 ){
        CHECK_U64((uint64_t)id, (uint64_t)got);
        CHECK(vecdb_row_distance(s)==FEW-(id-1));
        id--;
      }else{
        CHECK((got-1)%3==0 && got>last);
        CHECK(vecdb_row_distance(s)==(double)INFINITY);
        last = got;
      }
      n++;
    }
    CHECK_U64(k, (uint64_t)n);
    OK(db, vecdb_finalize(s));
  }
  vecdb_close(db);
}
