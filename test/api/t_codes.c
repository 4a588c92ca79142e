/* t_codes.c -- columns with index=flat keep codes: answers, bytes and checks
** are those of a column without. */
#include "api/api.h"

#include <stdlib.h>
#include <string.h>

#define N_ROW 3000
#define DIMS 80

static float *rows;               /* N_ROW + 200 vectors; the last are queries */

static void rows_make(void){
  uint64_t z = vt_seed();
  rows = malloc(sizeof(float)*(N_ROW+200)*DIMS);
  for(int i=0; i<(N_ROW+200)*DIMS; i++){
    float x = 0;
    for(int j=0; j<4; j++){
      z = z*6364136223846793005u + 1442695040888963407u;
      x += (float)(z>>40)/16777216.0f - .5f;
    }
    rows[i] = x + (float)(i/DIMS%7);
  }
}

/* Rows lo..hi-1, keys from 1, n = key%10. */
static void put(vecdb_collection *c, int lo, int hi){
  int64_t *n = malloc(sizeof(*n)*(size_t)(hi-lo));
  int64_t *key = malloc(sizeof(*key)*(size_t)(hi-lo));
  vecdb_column_data d[3] = {
    { sizeof(*d), 0, VECDB_INTEGER, 0, key, 0, NULL },
    { sizeof(*d), 1, VECDB_VECTOR, VECDB_F32, rows + lo*DIMS, 0, NULL },
    { sizeof(*d), 2, VECDB_INTEGER, 0, n, 0, NULL } };
  for(int i=lo; i<hi; i++){
    key[i-lo] = i+1;
    n[i-lo] = (i+1)%10;
  }
  OK(vecdb_collection_db(c), vecdb_put_many(c, (size_t)(hi-lo), d, 3, 0, NULL));
  free(n);
  free(key);
}

static void remove_some(vecdb_collection *c, int step){
  vecdb *db = vecdb_collection_db(c);
  vecdb_stmt *s;
  OK(db, vecdb_begin(db, VECDB_WRITE));
  OK(db, vecdb_prepare_delete(c, &s));
  for(int i=1; i<N_ROW; i+=step){
    OK(db, vecdb_bind_int64(s, VECDB_KEY, i));
    DONE(db, vecdb_step(s));
    OK(db, vecdb_reset(s));
  }
  OK(db, vecdb_finalize(s));
  OK(db, vecdb_commit(db));
}

struct answer { int64_t key; float distance; };

static size_t ask(vecdb_collection *c, int q, size_t k, double max,
                  const char *filter, struct answer *out){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb *db = vecdb_collection_db(c);
  vecdb_stmt *s;
  size_t n = 0;
  int rc;
  o.k = k;
  o.filter = filter;
  o.flags = VECDB_SEARCH_EXACT;
  if( max>0 ){
    o.max_distance = max;
    o.flags |= VECDB_SEARCH_HAS_MAX;
  }
  OK(db, vecdb_prepare_search(c, &o, &s));
  OK(db, vecdb_bind_vector(s, VECDB_QUERY, VECDB_F32, rows + (N_ROW+q)*DIMS,
                           DIMS*sizeof(float), VECDB_STATIC));
  while( (rc = vecdb_step(s))==VECDB_ROW && n<N_ROW ){
    out[n].key = vecdb_column_int64(s, 0);
    out[n++].distance = (float)vecdb_row_distance(s);
  }
  DONE(db, rc);
  OK(db, vecdb_finalize(s));
  return n;
}

static void compare(vecdb_collection *a, vecdb_collection *b){
  static struct answer x[N_ROW], y[N_ROW];
  static const struct { size_t k; double max; const char *filter; } ask_[] = {
    { 1, 0, NULL }, { 10, 0, NULL }, { 300, 0, NULL }, { 10, 0, "n < 3" },
    { 5, 0, "n = 3 and id < 500" }, { 0, 4.0, NULL }, { 20, 4.2, "n > 4" } };
  for(int q=0; q<4; q++){
    for(size_t i=0; i<sizeof(ask_)/sizeof(*ask_); i++){
      size_t n = ask(a, q, ask_[i].k, ask_[i].max, ask_[i].filter, x);
      size_t m = ask(b, q, ask_[i].k, ask_[i].max, ask_[i].filter, y);
      CHECK_U64(n, m);
      CHECK(n==m && memcmp(x, y, n*sizeof(*x))==0);
    }
  }
}

static void note_finding(void *arg, int severity, const char *object,
                         const char *message){
  (void)severity;
  (void)object;
  snprintf(arg, 300, "%s", message);
}

static void check_sound(vecdb *db){
  char text[300] = "";
  OK(db, vecdb_check(db, 0, note_finding, text));
  CHECK_STR("", text);
}

static void compare_metric(const char *metric, const char *type){
  char with[200], without[200];
  const char *path = vt_path("codes.vdb");
  vecdb_collection *a, *b;
  vecdb *db;
  remove(path);
  db = api_open(path, NULL);
  snprintf(with, sizeof(with), "id integer primary key, v %s[%d] "
           "distance_metric=%s index=flat(bits=6), n int", type, DIMS, metric);
  snprintf(without, sizeof(without), "id integer primary key, v %s[%d] "
           "distance_metric=%s index=flat(codec=none), n int", type, DIMS,
           metric);
  a = api_collection(db, "a", with);
  b = api_collection(db, "b", without);
  put(a, 0, N_ROW-300);
  put(b, 0, N_ROW-300);
  put(a, N_ROW-300, N_ROW);                       /* these stay in the delta */
  put(b, N_ROW-300, N_ROW);
  compare(a, b);
  remove_some(a, 3);
  remove_some(b, 3);
  compare(a, b);
  OK(db, vecdb_optimize(a, NULL));
  check_sound(db);
  compare(a, b);
  OK(db, vecdb_close(db));
  db = api_open(path, NULL);
  a = api_collection(db, "a", NULL);
  b = api_collection(db, "b", NULL);
  compare(a, b);
  OK(db, vecdb_vacuum(db));
  compare(a, b);
  check_sound(db);
  OK(db, vecdb_drop_collection(db, "a"));
  check_sound(db);
  OK(db, vecdb_close(db));
}

TEST(codes__answers_are_those_of_a_plain_column){
  rows_make();
  compare_metric("l2", "float");
  compare_metric("cosine", "float16");
  compare_metric("ip", "float");
}

/* ---- Damage -------------------------------------------------------------- */

/* The file's bytes, whole. */
static char *slurp(const char *path, size_t *n){
  FILE *f = fopen(path, "rb");
  char *z;
  fseek(f, 0, SEEK_END);
  *n = (size_t)ftell(f);
  z = malloc(*n);
  rewind(f);
  CHECK(fread(z, 1, *n, f)==*n);
  fclose(f);
  return z;
}

static uint64_t file_size(const char *schema){
  const char *path = vt_path("size.vdb");
  vecdb *db;
  size_t n;
  remove(path);
  db = api_open(path, NULL);
  put(api_collection(db, "t", schema), 0, N_ROW);
  OK(db, vecdb_optimize(api_collection(db, "t", NULL), NULL));
  OK(db, vecdb_close(db));
  free(slurp(path, &n));
  return n;
}

/* 4 bits a dimension: 1/8 of the vectors; 6 bits: 3/16. */
TEST(codes__take_the_bytes_that_were_asked_for){
  double vectors = N_ROW*DIMS*4.0, none, four, both;
  rows_make();
  none = (double)file_size("id integer primary key, v float[80] "
                           "index=flat(codec=none), n int");
  four = (double)file_size("id integer primary key, v float[80] "
                           "index=flat(bits=4), n int");
  both = (double)file_size("id integer primary key, v float[80] "
                           "index=flat(bits=6), n int");
  CHECK(four-none>vectors/8 && four-none<vectors/8*2.1);
  CHECK(both-four>vectors/16 && both-four<vectors/16*2.3);
  CHECK((double)file_size("id integer primary key, v float[80], n int")<=none);
  CHECK((double)file_size("id integer primary key, v float[80] index=flat, "
                          "n int")<=none);           /* few dimensions */
}

/* Bytes of codes change and their checksum stays wrong: a search says so,
** check too, and rows are still there to be read. */
TEST(codes__that_are_damaged_are_refused){
  static struct answer out[N_ROW];
  const char *path = vt_path("damage.vdb");
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  char text[300] = "", *sound, *z;
  vecdb_collection *c;
  vecdb_stmt *s;
  size_t n, at = 0;
  vecdb *db;
  FILE *f;
  float tan;
  rows_make();
  remove(path);
  db = api_open(path, NULL);
  c = api_collection(db, "t", "id integer primary key, v float[80] "
                     "index=flat(bits=6), n int");
  put(c, 0, N_ROW-1);
  OK(db, vecdb_optimize(c, NULL));
  CHECK_U64(10, ask(c, 0, 10, 0, NULL, out));
  OK(db, vecdb_close(db));
  /* The mark of rows without a bound: a lane beyond the last row has zeros,
  ** and nothing else in the file is 128 bytes of factors like this. */
  sound = slurp(path, &n);
  z = malloc(n);
  memcpy(z, sound, n);
  for(size_t i=0; i+32*4<n && at==0; i+=64){
    int n_like = 0;
    for(int l=0; l<32; l++){
      memcpy(&tan, z+i+4*l, 4);
      n_like += tan<-1e-3f && tan>-1.0f;         /* RESC is negative */
    }
    if( n_like==32 ) at = i;
  }
  REQUIRE(at>0);
  z[at] ^= 1;
  f = fopen(path, "wb");
  CHECK(fwrite(z, 1, n, f)==n);
  fclose(f);
  db = api_open(path, NULL);
  c = api_collection(db, "t", NULL);
  o.k = 10;
  OK(db, vecdb_prepare_search(c, &o, &s));
  OK(db, vecdb_bind_vector(s, VECDB_QUERY, VECDB_F32, rows, DIMS*4,
                           VECDB_STATIC));
  CHECK_RC(VECDB_CORRUPT_CHECKSUM, vecdb_step(s));
  vecdb_finalize(s);
  vecdb_check(db, 0, note_finding, text);
  CHECK(strstr(text, "checksum is")!=NULL);
  OK(db, vecdb_close(db));
  free(z);
  free(sound);
}
