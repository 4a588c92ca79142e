/* t_bulk.c -- many rows in, many queries at once. */
#include "api/api.h"

#include "util/rng.h"

static vecdb *db;
static vecdb_collection *c;
static struct vdb_rng rng;

static void setup(const char *schema){
  db = api_memory();
  c = api_collection(db, "t", schema);
  vdb_rng_init(&rng, vt_seed());
}

static vecdb_column_data column(int i, uint32_t type, const void *data){
  vecdb_column_data d = { sizeof(d), i, type, 0, data, 0, NULL };
  if( type==VECDB_VECTOR ) d.element = VECDB_F32;
  return d;
}

static uint64_t n_rows(void){
  vecdb_collection_stats st = { .size = sizeof(st) };
  OK(db, vecdb_collection_stat(c, &st));
  return st.n_row;
}

TEST(put_many__inserts_columns){
  enum { N = 5 };
  const float v[N][2] = { {1,2}, {3,4}, {5,6}, {7,8}, {9,10} };
  const int64_t key[N] = { 10, 20, 30, 40, 50 };
  const double score[N] = { 1.5, 2, 3, 4, 5 };
  const uint8_t ok[N] = { 0, 1, 0, 1, 1 }, null[N] = { 0, 0, 1, 0, 0 };
  const char *name[N] = { "a", NULL, "c", "a name of more than 12 bytes", "" };
  vecdb_column_data d[5];
  vecdb_stmt *s;
  int64_t first = 0;
  setup("id integer primary key, v float[2], score float, ok bool, +name text");
  d[0] = column(VECDB_KEY, VECDB_INTEGER, key);
  d[1] = column(1, VECDB_VECTOR, v);
  d[2] = column(2, VECDB_REAL, score);
  d[2].nulls = null;
  d[3] = column(3, VECDB_BOOLEAN, ok);
  d[4] = column(4, VECDB_TEXT, name);
  OK(db, vecdb_put_many(c, N, d, 5, 0, &first));
  CHECK_INT(10, first);
  CHECK_INT(50, vecdb_last_key(db));
  OK(db, vecdb_prepare_scan(c, "score IS NULL OR name IS NULL OR ok AND id > "
                               "30", &s));
  KEYS(db, "20 30 40 50 ", s);
  OK(db, vecdb_prepare_get(c, &s));
  OK(db, vecdb_bind_int64(s, VECDB_KEY, 40));
  ROW(db, vecdb_step(s));
  CHECK_STR("a name of more than 12 bytes", vecdb_column_text(s, 4));
  CHECK_STR("[7,8]", vecdb_column_text(s, 1));
  vecdb_close(db);
}

TEST(put_many__reads_with_strides){
  struct row { int64_t key; float v[2]; char pad[3]; } row[3] =
    { { 3, {1,2}, "" }, { 1, {3,4}, "" }, { 2, {5,6}, "" } };
  vecdb_column_data d[2];
  vecdb_stmt *s;
  setup("v float[2]");
  d[0] = column(0, VECDB_INTEGER, &row[0].key);
  d[1] = column(1, VECDB_VECTOR, row[0].v);
  d[0].stride = d[1].stride = sizeof(struct row);
  OK(db, vecdb_put_many(c, 3, d, 2, 0, NULL));
  OK(db, vecdb_prepare_scan(c, NULL, &s));
  ROW(db, vecdb_step(s));
  CHECK_STR("[3,4]", vecdb_column_text(s, 1));
  vecdb_close(db);
}

/* Small batches go row by row, large ones into segments: both are all or
** none, and number their keys in order. */
TEST(put_many__is_all_or_none){
  static const size_t sizes[] = { 10, 20000 };
  for(int k=0; k<2; k++){
    size_t n = sizes[k];
    float *v = malloc(n*8);
    int64_t *key = malloc(n*8), first;
    vecdb_column_data d[2];
    vecdb_stmt *s;
    setup("v float[2]");
    for(size_t i=0; i<n; i++){
      v[2*i] = (float)i;
      v[2*i+1] = 1;
      key[i] = (int64_t)i+1000;
    }
    d[0] = column(1, VECDB_VECTOR, v);
    d[1] = column(0, VECDB_INTEGER, key);
    OK(db, vecdb_put_many(c, n, d, 1, 0, &first));
    CHECK_INT(1, first);
    CHECK_INT((int64_t)n, vecdb_last_key(db));
    CHECK_U64(n, n_rows());
    v[2*n-1] = NAN;
    CHECK_RC(VECDB_RANGE, vecdb_put_many(c, n, d, 1, 0, &first));
    char want[100];
    snprintf(want, sizeof(want), "row %zu: column \"v\": element 1 is not a "
                                 "number", n-1);
    CHECK_STR(want, vecdb_errmsg(db));
    CHECK_INT(0, first);
    CHECK_INT((int64_t)n, vecdb_last_key(db));
    CHECK_U64(n, n_rows());
    v[2*n-1] = 1;
    for(size_t i=0; i<n; i++) key[i] = (int64_t)(n+i+1);
    key[n-1] = 1;                                  /* exists */
    CHECK_RC(VECDB_CONSTRAINT_PK, vecdb_put_many(c, n, d, 2, 0, NULL));
    CHECK_U64(n, n_rows());
    OK(db, vecdb_put_many(c, n, d, 2, VECDB_OR_IGNORE, NULL));
    CHECK_U64(2*n-1, n_rows());
    OK(db, vecdb_put_many(c, n, d, 2, VECDB_OR_REPLACE, NULL));
    CHECK_U64(2*n-1, n_rows());
    OK(db, vecdb_prepare_get(c, &s));
    OK(db, vecdb_bind_int64(s, VECDB_KEY, 1));
    ROW(db, vecdb_step(s));
    CHECK_DBL((double)(n-1), *(const float*)vecdb_column_vector(s, 1, NULL), 0);
    OK(db, vecdb_reset(s));
    OK(db, vecdb_begin(db, VECDB_WRITE));
    OK(db, vecdb_put_many(c, n, d, 1, 0, &first));
    OK(db, vecdb_rollback(db));
    CHECK_U64(2*n-1, n_rows());
    vecdb_close(db);
    free(v);
    free(key);
  }
}

TEST(put_many__checks_what_it_is_given){
  const float v[2] = { 1, 2 };
  struct { vecdb_column_data d; uint64_t more; } longer;
  vecdb_column_data d[2];
  setup("v float[2], n int, b bit[8]");
  d[0] = column(1, VECDB_VECTOR, v);
  d[1] = column(9, VECDB_INTEGER, v);
  REFUSES(db, VECDB_NOTFOUND, "put: no column 9; there are 4",
          vecdb_put_many(c, 1, d, 2, 0, NULL));
  d[1].column = 1;
  REFUSES(db, VECDB_MISUSE, "put: column \"v\" is given twice",
          vecdb_put_many(c, 1, d, 2, 0, NULL));
  d[1] = column(2, VECDB_VECTOR, v);
  REFUSES(db, VECDB_CONSTRAINT_TYPE, "put: column \"n\" takes no vectors",
          vecdb_put_many(c, 1, d, 2, 0, NULL));
  d[1] = column(3, VECDB_INTEGER, v);
  REFUSES(db, VECDB_CONSTRAINT_TYPE, "put: column \"b\" takes vectors",
          vecdb_put_many(c, 1, d, 2, 0, NULL));
  d[1] = column(2, VECDB_BLOB, v);
  REFUSES(db, VECDB_MISUSE, "put: column \"n\" has data of a type that "
                            "batches do "
          "not take", vecdb_put_many(c, 1, d, 2, 0, NULL));
  d[1] = column(2, VECDB_INTEGER, NULL);
  REFUSES(db, VECDB_MISUSE, "put: column \"n\" has no data",
          vecdb_put_many(c, 1, d, 2, 0, NULL));
  d[1] = column(2, VECDB_TEXT, &(const char*){ "x" });
  CHECK_RC(VECDB_CONSTRAINT_TYPE, vecdb_put_many(c, 1, d, 2, 0, NULL));
  d[0].element = 77;
  REFUSES(db, VECDB_MISUSE, "put: column \"v\" has data of no element type",
          vecdb_put_many(c, 1, d, 1, 0, NULL));
  d[0].element = VECDB_I8;
  REFUSES(db, VECDB_MISMATCH, "row 0: column \"v\" takes float vectors, not "
                              "int8",
          vecdb_put_many(c, 1, d, 1, 0, NULL));
  d[0].element = VECDB_F32;
  REFUSES(db, VECDB_MISUSE, "put: flags are not one of VECDB_OR_REPLACE, "
          "VECDB_OR_IGNORE", vecdb_put_many(c, 1, d, 1, 3, NULL));
  REFUSES(db, VECDB_MISUSE, "put: no data", vecdb_put_many(c, 1, NULL, 1, 0,
                                                           NULL));
  d[0].size = 4;
  CHECK_RC(VECDB_MISUSE, vecdb_put_many(c, 1, d, 1, 0, NULL));
  longer.d = column(1, VECDB_VECTOR, v);
  longer.d.size = sizeof(longer);
  longer.more = 0;
  CHECK_RC(VECDB_CONSTRAINT_NOTNULL, vecdb_put_many(c, 1, &longer.d, 1, 0,
                                                    NULL));
  CHECK(strstr(vecdb_errmsg(db), "\"b\"")!=NULL);
  longer.more = 5;
  REFUSES(db, VECDB_MISUSE, "put: vecdb_column_data 0 has a field that this "
                            "version "
          "does not know", vecdb_put_many(c, 1, &longer.d, 1, 0, NULL));
  CHECK_U64(0, n_rows());
  OK(db, vecdb_put_many(c, 0, d, 0, 0, NULL));
  vecdb_close(db);
}

/* ---- search_many -------------------------------------------------------- */

static void fill(int n, int dims, float *v){
  vecdb_column_data d = column(1, VECDB_VECTOR, v);
  for(int i=0; i<n*dims; i++) v[i] = (float)vdb_rng_gauss(&rng);
  OK(db, vecdb_put_many(c, (size_t)n, &d, 1, 0, NULL));
}

/* The same bits as one search after the other, for any number of threads. */
TEST(search_many__equals_single_searches){
  enum { N = 5000, D = 24, NQ = 70, K = 9 };
  static float v[N*D], q[NQ*D], dist[NQ*K];
  static int64_t keys[NQ*K];
  static uint32_t count[NQ];
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_stmt *s;
  setup("v float[24]");
  fill(N, D, v);
  for(int i=0; i<NQ*D; i++) q[i] = (float)vdb_rng_gauss(&rng);
  o.k = K;
  OK(db, vecdb_prepare_search(c, &o, &s));
  for(int threads=1; threads<=4; threads+=3){
    OK(db, vecdb_set(db, "threads", threads));
    OK(db, vecdb_search_many(c, &o, NQ, VECDB_F32, q, 0, keys, dist, count));
    for(int i=0; i<NQ; i++){
      OK(db, vecdb_bind_vector(s, VECDB_QUERY, VECDB_F32, q+i*D, D*4,
                               VECDB_STATIC));
      CHECK_INT(K, count[i]);
      for(int k=0; k<K; k++){
        ROW(db, vecdb_step(s));
        CHECK_INT(vecdb_column_int64(s, 0), keys[i*K+k]);
        CHECK(vecdb_row_distance(s)==(double)dist[i*K+k]);
      }
      DONE(db, vecdb_step(s));
    }
  }
  vecdb_close(db);
}

TEST(search_many__fills_up_what_is_missing){
  float v[3*2] = { 1,0, 2,0, 3,0 }, dist[5];
  const float q[2] = { 0, 0 };
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  int64_t keys[5];
  uint32_t count = 9;
  vecdb_column_data d = column(1, VECDB_VECTOR, v);
  setup("v float[2], n int");
  OK(db, vecdb_put_many(c, 3, &d, 1, 0, NULL));
  o.k = 5;
  OK(db, vecdb_search_many(c, &o, 1, VECDB_F32, q, 0, keys, dist, &count));
  CHECK_INT(3, count);
  CHECK_INT(3, keys[2]);
  CHECK_INT(-1, keys[3]);
  CHECK(dist[2]==3 && isinf(dist[3]) && isinf(dist[4]));
  o.filter = "rowid = 2";
  OK(db, vecdb_search_many(c, &o, 1, VECDB_F32, q, 0, keys, dist, NULL));
  CHECK(keys[0]==2 && keys[1]==-1);
  o.filter = "n = 2";
  OK(db, vecdb_search_many(c, &o, 1, VECDB_F32, q, 0, keys, NULL, &count));
  CHECK(keys[0]==-1 && count==0);
  OK(db, vecdb_search_many(c, &o, 0, VECDB_F32, NULL, 0, NULL, NULL, NULL));
  vecdb_close(db);
}

TEST(search_many__rounds_queries_and_heeds_windows){
  const uint8_t rows[4][2] = { {0,0}, {3,4}, {6,8}, {9,12} };
  const float q16[3] = { 0, 0, 99 };
  struct { char odd; unsigned char q[2]; } q8[2] = { { 0, {0,0} }, { 0,
                                                            {9,12} } };
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_column_data d = column(1, VECDB_VECTOR, rows);
  int64_t keys[8];
  float dist[8];
  setup("v uint8[2]");
  d.element = VECDB_U8;
  OK(db, vecdb_put_many(c, 4, &d, 1, 0, NULL));
  o.k = 4;
  o.flags = VECDB_SEARCH_HAS_MIN | VECDB_SEARCH_AFTER_STRICT |
      VECDB_SEARCH_HAS_MAX;
  o.min_distance = 0;
  o.max_distance = 10;
  OK(db, vecdb_search_many(c, &o, 2, VECDB_U8, q8[0].q, sizeof(q8[0]), keys,
                           dist, NULL));
  CHECK(keys[0]==2 && keys[1]==3 && keys[2]==-1);
  CHECK(keys[4]==3 && keys[5]==2 && keys[6]==-1 && dist[5]==10);
  REFUSES(db, VECDB_MISMATCH, "query 0: column \"v\" takes uint8 vectors, not "
                              "float",
          vecdb_search_many(c, &o, 1, VECDB_F32, q16, 0, keys, dist, NULL));
  c = api_collection(db, "h", "v float16[2]");
  d.element = VECDB_F32;
  d.data = q16+1;
  OK(db, vecdb_put_many(c, 1, &d, 1, 0, NULL));
  OK(db, vecdb_search_many(c, NULL, 1, VECDB_F32, q16, 0,
                           (int64_t[10]){ 0 }, NULL, NULL));
  vecdb_close(db);
}

TEST(search_many__checks_its_arguments){
  float q[4] = { 0, 0, 0, NAN }, dist[4];
  int64_t keys[4];
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_collection *u;
  setup("v float[2]");
  api_put(c, 1, "[1,2]");
  o.k = 2;
  REFUSES(db, VECDB_RANGE, "query 1: column \"v\": element 1 is not a number",
          vecdb_search_many(c, &o, 2, VECDB_F32, q, 0, keys, dist, NULL));
  REFUSES(db, VECDB_MISUSE, "search: no queries",
          vecdb_search_many(c, &o, 2, VECDB_F32, NULL, 0, keys, dist, NULL));
  REFUSES(db, VECDB_MISUSE, "search: no room for keys",
          vecdb_search_many(c, &o, 2, VECDB_F32, q, 0, NULL, dist, NULL));
  o.filter = "rowid = ?1";
  REFUSES(db, VECDB_MISUSE, "filter: a batch of searches has no parameters to "
                            "bind",
          vecdb_search_many(c, &o, 1, VECDB_F32, q, 0, keys, dist, NULL));
  o.filter = NULL;
  o.k = 0;
  o.flags = VECDB_SEARCH_HAS_MAX;
  REFUSES(db, VECDB_RANGE, "search: k is 0; a batch needs one that says how "
                           "wide the "
          "output is", vecdb_search_many(c, &o, 1, VECDB_F32, q, 0, keys, dist,
                                         NULL));
  o.k = 2;
  u = api_collection(db, "u", "name text primary key, v float[2]");
  REFUSES(db, VECDB_MISMATCH, "search: the key of \"u\" is a text; batches "
                              "give "
          "integer keys", vecdb_search_many(u, &o, 1, VECDB_F32, q, 0, keys,
                                            dist, NULL));
  vecdb_close(db);
}
