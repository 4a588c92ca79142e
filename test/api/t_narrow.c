/* t_narrow.c -- float32 columns of small integers are stored as bytes; what
** comes back has the bits that went in.
*/
#include "api/api.h"

#include <stdlib.h>
#include <string.h>

#define N_ROW 1500
#define DIMS 40

static float *rows;

static float any_float(uint64_t *z){
  *z = *z*6364136223846793005u + 1442695040888963407u;
  return (float)(*z>>56);
}

/* Integers of lo..lo+255. */
static void rows_make(float lo){
  uint64_t z = vt_seed();
  rows = realloc(rows, sizeof(float)*N_ROW*DIMS);
  for(int i=0; i<N_ROW*DIMS; i++) rows[i] = lo + any_float(&z);
}

static void put(vecdb_collection *c){
  vecdb_column_data d = { sizeof(d), 1, VECDB_VECTOR, VECDB_F32, rows, 0,
                          NULL };
  OK(vecdb_collection_db(c), vecdb_put_many(c, N_ROW, &d, 1, 0, NULL));
  OK(vecdb_collection_db(c), vecdb_optimize(c, NULL));
}

static long file_bytes(const char *path){
  FILE *f = fopen(path, "rb");
  long n;
  fseek(f, 0, SEEK_END);
  n = ftell(f);
  fclose(f);
  return n;
}

static void note_finding(void *arg, int severity, const char *object,
                         const char *message){
  (void)severity;
  (void)object;
  snprintf(arg, 300, "%s", message);
}

/* Every row, bit for bit. */
static void check_rows(vecdb_collection *c){
  vecdb *db = vecdb_collection_db(c);
  char text[300] = "";
  vecdb_stmt *s;
  OK(db, vecdb_prepare_get(c, &s));
  for(int i=0; i<N_ROW; i++){
    const void *v;
    size_t n;
    OK(db, vecdb_bind_int64(s, VECDB_KEY, i+1));
    ROW(db, vecdb_step(s));
    v = vecdb_column_vector(s, 1, &n);
    CHECK(v!=NULL && memcmp(v, rows + i*DIMS, DIMS*sizeof(float))==0);
    OK(db, vecdb_reset(s));
  }
  OK(db, vecdb_finalize(s));
  OK(db, vecdb_check(db, 0, note_finding, text));
  CHECK_STR("", text);
}

/* Bytes of a file with these rows, which are all there. */
static long store_rows(const char *schema){
  const char *path = vt_path("narrow.vdb");
  vecdb *db;
  remove(path);
  db = api_open(path, NULL);
  put(api_collection(db, "t", schema));
  check_rows(api_collection(db, "t", NULL));
  OK(db, vecdb_close(db));
  db = api_open(path, NULL);
  check_rows(api_collection(db, "t", NULL));
  OK(db, vecdb_vacuum(db));
  check_rows(api_collection(db, "t", NULL));
  OK(db, vecdb_close(db));
  return file_bytes(path);
}

static const char schema[] = "id integer primary key, v float[40]";

TEST(narrow__integers_take_a_byte_each){
  long plain, bytes;
  rows_make(0.5f);
  plain = store_rows(schema);
  rows_make(0);
  bytes = store_rows(schema);
  CHECK(plain-bytes>N_ROW*DIMS*29/10);
  rows_make(-128);
  bytes = store_rows(schema);
  CHECK(plain-bytes>N_ROW*DIMS*29/10);
  rows_make(-127);                               /* 128 is no signed byte */
  bytes = store_rows(schema);
  CHECK(bytes>plain*9/10);
}

/* One element decides. */
TEST(narrow__what_would_be_lost_is_kept){
  static const float odd[] = { 0.25f, 256, -1, 1e30f, 1e-40f };
  for(size_t i=0; i<sizeof(odd)/sizeof(*odd); i++){
    rows_make(0);
    rows[(N_ROW-1)*DIMS+i] = odd[i];
    rows[DIMS] = 200;
    CHECK(store_rows(schema)>N_ROW*DIMS*4);
  }
  rows_make(0);
  rows[77] = -0.0f;
  CHECK(store_rows(schema)>N_ROW*DIMS*4);
}

struct answer { int64_t key; double distance; };

static size_t ask(vecdb_collection *c, const float *q, uint32_t flags,
                  struct answer *out){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb *db = vecdb_collection_db(c);
  vecdb_stmt *s;
  size_t n = 0;
  int rc;
  o.k = 25;
  o.flags = flags;
  OK(db, vecdb_prepare_search(c, &o, &s));
  OK(db, vecdb_bind_vector(s, VECDB_QUERY, VECDB_F32, q, DIMS*sizeof(float),
                           VECDB_STATIC));
  while( (rc = vecdb_step(s))==VECDB_ROW && n<25 ){
    out[n].key = vecdb_column_int64(s, 0);
    out[n++].distance = vecdb_row_distance(s);
  }
  DONE(db, rc);
  OK(db, vecdb_finalize(s));
  return n;
}

static void delete_first(vecdb_collection *c){
  vecdb *db = vecdb_collection_db(c);
  vecdb_stmt *s;
  OK(db, vecdb_prepare_delete(c, &s));
  OK(db, vecdb_bind_int64(s, VECDB_KEY, 1));
  DONE(db, vecdb_step(s));
  OK(db, vecdb_finalize(s));
}

/* The same rows in a column of bytes and in one that a far row keeps as
** floats; with a graph over the former, too. */
static void compare(const char *metric){
  vecdb_optimize_options all = { .size = sizeof(all),
                                 .flags = VECDB_OPTIMIZE_ALL };
  struct answer x[25], y[25];
  vecdb *db = api_memory();
  vecdb_collection *a, *b;
  char text[200];
  float q[DIMS];
  snprintf(text, sizeof(text), "id integer primary key, v float[40] "
           "distance_metric=%s", metric);
  rows_make(0);
  a = api_collection(db, "a", text);
  put(a);
  b = api_collection(db, "b", text);
  rows[0] = 0.5f;
  put(b);
  delete_first(a);
  delete_first(b);
  for(int i=0; i<6; i++){
    for(int j=0; j<DIMS; j++){
      q[j] = rows[(100*i+7)*DIMS+j] + (i%2 ? 0.3f*(float)(j%5) : 0);
    }
    CHECK_U64(25, ask(a, q, VECDB_SEARCH_EXACT, x));
    CHECK_U64(25, ask(b, q, VECDB_SEARCH_EXACT, y));
    CHECK(memcmp(x, y, sizeof(x))==0);
  }
  OK(db, vecdb_optimize(a, &all));
  for(int i=0; i<6; i++){
    const float *p = rows + (100*i+7)*DIMS;
    CHECK_U64(25, ask(a, p, 0, x));
    CHECK_U64(25, ask(b, p, VECDB_SEARCH_EXACT, y));
    if( strcmp(metric, "ip")!=0 ) CHECK_INT(100*i+8, x[0].key);
    for(int j=0; j<25; j++){                     /* distances are theirs */
      for(int k=0; k<25; k++){
        if( x[j].key==y[k].key ) CHECK_DBL(y[k].distance, x[j].distance, 0);
      }
    }
  }
  OK(db, vecdb_close(db));
}

TEST(narrow__answers_are_those_of_floats){
  compare("l2");
  compare("cosine");
  compare("ip");
  compare("l1");
}
