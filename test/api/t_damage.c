/* t_damage.c -- a file with a flipped bit: what is damaged is refused with
** the place named, never returned as something else; what is sound stays
** readable. */
#include "api/api.h"

#include <stdlib.h>
#include <string.h>

#define N_ROW 3000                /* sealed: 3000 x 64 floats, 188 chunks */
#define DIMS 64

static const char *path;

/* Row i is the vector [i, i, ..]. */
static void make_file(void){
  float *v = malloc(sizeof(float)*N_ROW*DIMS);
  vecdb_column_data d = { sizeof(d), 1, VECDB_VECTOR, VECDB_F32, v, 0, NULL };
  vecdb *db;
  vecdb_collection *c;
  for(int i=0; i<N_ROW*DIMS; i++) v[i] = (float)(i/DIMS + 1);
  path = vt_path("damage.vdb");
  db = api_open(path, NULL);
  c = api_collection(db, "t", "id integer primary key, v float[64]");
  OK(db, vecdb_put_many(c, N_ROW, &d, 1, 0, NULL));
  OK(db, vecdb_optimize(c, NULL));
  OK(db, vecdb_close(db));
  free(v);
}

/* Flip a bit in the vector of row `key`: in the last copy of it, as pages of
** the delta that are free by now may hold another. */
static void damage_vector(int key){
  float want[DIMS];
  long at = -1;
  size_t n;
  char *z;
  FILE *f = fopen(path, "r+b");
  fseek(f, 0, SEEK_END);
  n = (size_t)ftell(f);
  z = malloc(n);
  rewind(f);
  CHECK(fread(z, 1, n, f)==n);
  for(int i=0; i<DIMS; i++) want[i] = (float)key;
  for(size_t i=0; i+sizeof(want)<=n; i+=4){
    if( memcmp(z+i, want, sizeof(want))==0 ) at = (long)i;
  }
  if( !CHECK(at>0) ) vt_stop();
  fseek(f, at, SEEK_SET);
  fputc(z[at]^1, f);
  fclose(f);
  free(z);
}

TEST(damage__of_a_vector_is_no_null){
  vecdb *db;
  vecdb_stmt *s;
  size_t n;
  make_file();
  damage_vector(1500);
  db = api_open(path, NULL);
  OK(db, vecdb_prepare_get(api_collection(db, "t", NULL), &s));

  OK(db, vecdb_bind_int64(s, VECDB_KEY, 1500));
  ROW(db, vecdb_step(s));
  CHECK_U64(1500, (uint64_t)vecdb_column_int64(s, 0));
  CHECK_RC(VECDB_OK, vecdb_column_errcode(s));
  CHECK_INT(VECDB_NULL, vecdb_column_type(s, 1));
  CHECK(vecdb_column_vector(s, 1, &n)==NULL);
  CHECK_RC(VECDB_CORRUPT_CHECKSUM, vecdb_column_errcode(s));
  CHECK_RC(VECDB_CORRUPT_CHECKSUM, vecdb_errcode(db));
  CHECK(strstr(vecdb_errmsg(db), "checksum is")!=NULL);
  CHECK_RC(VECDB_CORRUPT_CHECKSUM, vecdb_step(s));
  CHECK(strstr(vecdb_errmsg(db), "checksum is")!=NULL);
  OK(db, vecdb_reset(s));

  OK(db, vecdb_bind_int64(s, VECDB_KEY, 1));         /* sound: another chunk */
  ROW(db, vecdb_step(s));
  CHECK_INT(VECDB_VECTOR, vecdb_column_type(s, 1));
  CHECK_RC(VECDB_OK, vecdb_column_errcode(s));
  DONE(db, vecdb_step(s));
  OK(db, vecdb_close(db));
}

TEST(damage__of_a_vector_ends_a_search){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_collection *c;
  vecdb_stmt *s;
  vecdb *db;
  float q[DIMS] = { 0 };
  make_file();
  damage_vector(1500);
  db = api_open(path, NULL);
  c = api_collection(db, "t", NULL);
  OK(db, vecdb_prepare_search(c, &o, &s));
  OK(db, vecdb_bind_vector(s, VECDB_QUERY, VECDB_F32, q, sizeof(q),
                           VECDB_STATIC));
  CHECK_RC(VECDB_CORRUPT_CHECKSUM, vecdb_step(s));
  CHECK(strstr(vecdb_errmsg(db), "checksum is")!=NULL);
  OK(db, vecdb_finalize(s));
  CHECK_RC(VECDB_CORRUPT, vecdb_check(db, 0, NULL, NULL));
  OK(db, vecdb_close(db));
}
