/* lib_rowsteps.c -- rows in and out in a line of C, for actions that may fail at
** any place. See lib_rowsweep.h. */
#include <stdio.h>
#include <stdlib.h>

#include "util/common.h"
#include "util/rng.h"
#include "lab/lib_layer.h"
#include "lab/lib_rowsweep.h"

enum { STEP_DIMS_MAX = 64, STEP_CELL_MAX = 2048 };

/* ---- Binding ------------------------------------------------------------- */

static int cell_bind(vecdb_stmt *s, int i, int type, const char *z){
  switch( type ){
    case VECDB_VECTOR: return vecdb_bind_vector_text(s, i, z, (size_t)-1);
    case VECDB_INTEGER:
    case VECDB_BOOLEAN: return vecdb_bind_int64(s, i, atoll(z));
    case VECDB_REAL: return vecdb_bind_double(s, i, atof(z));
    case VECDB_BLOB: return vecdb_bind_blob(s, i, z, strlen(z),
                                            VECDB_TRANSIENT);
    default: return vecdb_bind_text(s, i, z, (size_t)-1, VECDB_TRANSIENT);
  }
}

static int column_type_of(vecdb_collection *c, int i){
  vecdb_column_info info = { .size = sizeof(info) };
  vecdb_column_describe(c, i, &info);
  return (int)info.type;
}

static int cells_bind(vecdb_stmt *s, const char *cells){
  vecdb_collection *c = vecdb_stmt_collection(s);
  char z[STEP_CELL_MAX];
  int rc = VECDB_OK;
  for(int i=0; rc==VECDB_OK && i<vecdb_column_count(c); i++){
    size_t n = strcspn(cells, "|");
    snprintf(z, sizeof(z), "%.*s", (int)n, cells);
    if( z[0]==0 ) rc = vecdb_bind_null(s, i);
    else if( strcmp(z, "-")!=0 ) rc = cell_bind(s, i, column_type_of(c, i), z);
    cells += n;
    if( *cells=='|' ) cells++;
  }
  return rc;
}

static int stmt_once(vecdb_stmt *s, int rc){
  if( rc==VECDB_OK ) rc = vecdb_step(s);
  vecdb_finalize(s);
  return rc==VECDB_DONE ? VECDB_OK : rc;
}

int row_put(vecdb *db, const char *coll, uint32_t flags, const char *cells){
  vecdb_collection *c = NULL;
  vecdb_stmt *s = NULL;
  int rc;
  TRY( vecdb_collection_open(db, coll, &c) );
  TRY( vecdb_prepare_insert(c, flags, &s) );
  rc = stmt_once(s, cells_bind(s, cells));
done:
  vecdb_collection_close(c);
  return rc;
}

int row_update(vecdb *db, const char *coll, const char *key,
               const char *cells){
  vecdb_collection *c = NULL;
  vecdb_stmt *s = NULL;
  int rc;
  TRY( vecdb_collection_open(db, coll, &c) );
  TRY( vecdb_prepare_update(c, &s) );
  rc = cell_bind(s, VECDB_KEY, column_type_of(c, 0), key);
  if( rc==VECDB_OK ) rc = cells_bind(s, cells);
  rc = stmt_once(s, rc);
done:
  vecdb_collection_close(c);
  return rc;
}

int row_delete(vecdb *db, const char *coll, const char *key){
  vecdb_collection *c = NULL;
  vecdb_stmt *s = NULL;
  int rc;
  TRY( vecdb_collection_open(db, coll, &c) );
  TRY( vecdb_prepare_delete(c, &s) );
  rc = stmt_once(s, cell_bind(s, VECDB_KEY, column_type_of(c, 0), key));
done:
  vecdb_collection_close(c);
  return rc;
}

/* ---- Rows of a generator -------------------------------------------------- */

static int vector_bind(vecdb_stmt *s, int i, const vecdb_column_info *info,
                       uint64_t x){
  unsigned char v[4*STEP_DIMS_MAX] = { 0 };
  size_t n = info->vector_bytes;
  if( info->element==VECDB_F32 || info->element==VECDB_F16
   || info->element==VECDB_BF16 ){
    float f[STEP_DIMS_MAX];
    for(uint32_t j=0; j<info->dims; j++){
      f[j] = (float)(vdb_mix64(x+j)%41) - 20;
    }
    return vecdb_bind_vector(s, i, VECDB_F32, f, 4*(size_t)info->dims,
                             VECDB_TRANSIENT);
  }
  for(size_t j=0; j<n; j++) v[j] = (unsigned char)(vdb_mix64(x+j) & 0x7f);
  return vecdb_bind_vector(s, i, (int)info->element, v, n, VECDB_TRANSIENT);
}

/* i: a column, or VECDB_KEY. */
static int generated_bind(vecdb_stmt *s, int i, int64_t key){
  vecdb_column_info info = { .size = sizeof(info) };
  uint64_t x = vdb_mix64((uint64_t)key*64 + (uint64_t)i + 1000);
  char z[64];
  vecdb_column_describe(vecdb_stmt_collection(s), i<0 ? 0 : i, &info);
  if( info.type==VECDB_VECTOR ) return vector_bind(s, i, &info, x);
  if( i>0 && !info.not_null && x%5==0 ) return vecdb_bind_null(s, i);
  if( i<=0 ) snprintf(z, sizeof(z), info.type==VECDB_TEXT ? "key %05lld"
                      : "%lld", (long long)key);
  else if( info.role==VECDB_ROLE_PARTITION ) snprintf(z, sizeof(z), "%d",
                                                      (int)(key%3));
  else if( info.type==VECDB_BOOLEAN ) snprintf(z, sizeof(z), "%d",
                                               (int)(x/8%2));
  else if( info.type==VECDB_REAL ) snprintf(z, sizeof(z), "%d.25",
                                            (int)(x/8%100));
  else if( info.type==VECDB_INTEGER ) snprintf(z, sizeof(z), "%d",
                                               (int)(x/8%100));
  else snprintf(z, sizeof(z), "%.*s %d", (int)(x/8%30),
                "abcdefghijklmnopqrstuvwxyzabcd", (int)(x/8%100));
  return cell_bind(s, i, (int)info.type, z);
}

int rows_fill(vecdb *db, const char *coll, int64_t lo, int64_t hi){
  bool is_own = vecdb_in_transaction(db)==0;
  vecdb_collection *c = NULL;
  vecdb_stmt *s = NULL;
  int rc;
  TRY( vecdb_collection_open(db, coll, &c) );
  if( is_own ) TRY( vecdb_begin(db, VECDB_WRITE) );
  TRY( vecdb_prepare_insert(c, 0, &s) );
  for(int64_t key=lo; key<hi; key++){
    for(int i=0; i<vecdb_column_count(c); i++) TRY( generated_bind(s, i, key) );
    rc = vecdb_step(s);
    if( rc!=VECDB_DONE ) goto done;
    TRY( vecdb_reset(s) );
  }
  rc = is_own ? vecdb_commit(db) : VECDB_OK;
done:
  vecdb_finalize(s);
  vecdb_collection_close(c);
  return rc;
}

int rows_erase(vecdb *db, const char *coll, int64_t lo, int64_t hi,
               int64_t step){
  bool is_own = vecdb_in_transaction(db)==0;
  vecdb_collection *c = NULL;
  vecdb_stmt *s = NULL;
  int rc;
  TRY( vecdb_collection_open(db, coll, &c) );
  if( is_own ) TRY( vecdb_begin(db, VECDB_WRITE) );
  TRY( vecdb_prepare_delete(c, &s) );
  for(int64_t key=lo; key<hi; key+=step){
    TRY( generated_bind(s, VECDB_KEY, key) );
    rc = vecdb_step(s);
    if( rc!=VECDB_DONE ) goto done;
    TRY( vecdb_reset(s) );
  }
  rc = is_own ? vecdb_commit(db) : VECDB_OK;
done:
  vecdb_finalize(s);
  vecdb_collection_close(c);
  return rc;
}

/* ---- Reading ------------------------------------------------------------- */

static int row_fold(vecdb_stmt *s, uint64_t *answer){
  vecdb_collection *c = vecdb_stmt_collection(s);
  double d = vecdb_row_distance(s);
  uint64_t h = *answer;
  if( d==d ) h = lab_hash(h, &d, sizeof(d));
  for(int i=0; i<vecdb_column_count(c); i++){
    int type = vecdb_column_type(s, i);
    size_t n = 0;
    const void *p = type==VECDB_VECTOR ? vecdb_column_vector(s, i, &n)
                                       : vecdb_column_text(s, i);
    if( type!=VECDB_VECTOR && p ) n = strlen(p);
    h = lab_hash(h, &type, sizeof(type));
    if( p ) h = lab_hash(h, p, n);
  }
  if( vecdb_column_errcode(s)==VECDB_OK ) *answer = h;
  return vecdb_column_errcode(s);
}

int rows_take(vecdb_stmt *s, int rc, uint64_t *answer){
  while( rc==VECDB_OK && (rc = vecdb_step(s))==VECDB_ROW ){
    rc = row_fold(s, answer);
  }
  vecdb_finalize(s);
  return rc==VECDB_DONE ? VECDB_OK : rc;
}

int row_get(vecdb *db, const char *coll, const char *key, uint64_t *answer){
  vecdb_collection *c = NULL;
  vecdb_stmt *s = NULL;
  int rc;
  TRY( vecdb_collection_open(db, coll, &c) );
  TRY( vecdb_prepare_get(c, &s) );
  rc = rows_take(s, cell_bind(s, VECDB_KEY, column_type_of(c, 0), key),
                 answer);
done:
  vecdb_collection_close(c);
  return rc;
}

int rows_scan(vecdb *db, const char *coll, const char *filter,
              uint64_t *answer){
  vecdb_collection *c = NULL;
  vecdb_stmt *s = NULL;
  int rc;
  TRY( vecdb_collection_open(db, coll, &c) );
  TRY( vecdb_prepare_scan(c, filter, &s) );
  rc = rows_take(s, VECDB_OK, answer);
done:
  vecdb_collection_close(c);
  return rc;
}

int rows_search(vecdb *db, const char *coll, const vecdb_search_options *o,
                const char *query, uint64_t *answer){
  vecdb_collection *c = NULL;
  vecdb_stmt *s = NULL;
  int rc;
  TRY( vecdb_collection_open(db, coll, &c) );
  TRY( vecdb_prepare_search(c, o, &s) );
  rc = rows_take(s, vecdb_bind_vector_text(s, VECDB_QUERY, query, (size_t)-1),
                 answer);
done:
  vecdb_collection_close(c);
  return rc;
}

int coll_optimize(vecdb *db, const char *coll, uint32_t flags){
  vecdb_optimize_options o = { .size = sizeof(o), .flags = flags };
  vecdb_collection *c = NULL;
  int rc;
  TRY( vecdb_collection_open(db, coll, &c) );
  TRY( vecdb_optimize(c, &o) );
done:
  vecdb_collection_close(c);
  return rc;
}

int coll_set(vecdb *db, const char *coll, const char *name,
             const char *value){
  vecdb_collection *c = NULL;
  int rc;
  TRY( vecdb_collection_open(db, coll, &c) );
  TRY( vecdb_collection_set(c, name, value) );
done:
  vecdb_collection_close(c);
  return rc;
}
