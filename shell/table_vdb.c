/* table_vdb.c -- tables of a .vdb: collections, through the shell's own handle.
*/
#include "shell/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void table_init(struct table *t, struct shell *sh, const char *name){
  memset(t, 0, sizeof *t);
  t->sh = sh;
  t->name = name;
  t->ops = sh->db ? &table_ops_vdb : &table_ops_sql;
}

void table_close(struct table *t){
  sqlite3_finalize(t->write);
  vecdb_collection_close(t->c);
  vecdb_close(t->shape);
  t->write = NULL;
  t->c = NULL;
  t->shape = NULL;
}

void table_error(struct table *t, int rc){
  shell_error(t->sh, shell_exit_of_vecdb(rc), "%s", t->err);
}

const void *table_value_at(const vecdb_column_data *d, size_t j){
  size_t one = d->stride;
  if( one==0 ) one = d->type==VECDB_BOOLEAN ? 1 : 8;
  return (const char*)d->data + j*one;
}

bool table_is_null_at(const vecdb_column_data *d, size_t j){
  return d->nulls!=NULL && d->nulls[j]!=0;
}

const char *table_real_text(struct scan *s, double d){
  if( isinf(d) ) return d<0 ? "-9.0e+999" : "9.0e+999";
  for(int digits=15; digits<=17; digits++){
    sqlite3_snprintf(sizeof s->number, s->number, "%!.*g", digits, d);
    if( strtod(s->number, NULL)==d ) break;
  }
  return s->number;
}

/* ---- Transactions -------------------------------------------------------- */

static int vdb_result(struct table *t, int rc){
  if( rc!=VECDB_OK && rc!=VECDB_ROW && rc!=VECDB_DONE ){
    snprintf(t->err, sizeof t->err, "%s", vecdb_errmsg(t->sh->db));
  }
  return rc;
}

static int vdb_begin(struct table *t, bool write){
  return vdb_result(t, vecdb_begin(t->sh->db, write ? VECDB_WRITE
                                                    : VECDB_READ));
}

static int vdb_commit(struct table *t){
  return vdb_result(t, vecdb_commit(t->sh->db));
}

static void vdb_rollback(struct table *t){
  if( vecdb_in_transaction(t->sh->db) ) vecdb_rollback(t->sh->db);
}

static int vdb_batch_begin(struct table *t){
  return vdb_result(t, vecdb_savepoint(t->sh->db, 1));
}

static int vdb_batch_end(struct table *t, bool keep){
  if( !keep ) vecdb_rollback_to(t->sh->db, 1);
  return vecdb_release(t->sh->db, 1);
}

/* ---- The table ----------------------------------------------------------- */

static int vdb_create(struct table *t, const char *schema){
  return vdb_result(t, vecdb_create_collection(t->sh->db, t->name, schema));
}

static int vdb_open(struct table *t){
  return vdb_result(t, vecdb_collection_open(t->sh->db, t->name, &t->c));
}

static int vdb_count(struct table *t, uint64_t *n_row){
  vecdb_collection_stats cs = { .size = sizeof cs };
  int rc = vecdb_collection_stat(t->c, &cs);
  *n_row = cs.n_row;
  return vdb_result(t, rc);
}

static int vdb_put(struct table *t, size_t n, const vecdb_column_data *d,
                   size_t n_d){
  return vdb_result(t, vecdb_put_many(t->c, n, d, n_d, 0, NULL));
}

static int vdb_value_bind(vecdb_stmt *s, const vecdb_column_data *d, size_t j){
  int i = d->column==0 ? VECDB_KEY : d->column;
  const void *p = table_value_at(d, j);
  if( table_is_null_at(d, j) ) return vecdb_bind_null(s, i);
  switch( d->type ){
    case VECDB_INTEGER: return vecdb_bind_int64(s, i, *(const int64_t*)p);
    case VECDB_REAL: return vecdb_bind_double(s, i, *(const double*)p);
    case VECDB_BOOLEAN: return vecdb_bind_int64(s, i, *(const uint8_t*)p);
    default: return vecdb_bind_text(s, i, *(char *const*)p, (size_t)-1,
                                    VECDB_TRANSIENT);
  }
}

static int vdb_update(struct table *t, size_t n, const vecdb_column_data *d,
                      size_t n_d){
  vecdb_stmt *s = NULL;
  int rc = vecdb_prepare_update(t->c, &s);
  for(size_t j=0; rc==VECDB_OK && j<n; j++){
    for(size_t i=0; rc==VECDB_OK && i<n_d; i++){
      rc = vdb_value_bind(s, &d[i], j);
    }
    if( rc==VECDB_OK && (rc = vecdb_step(s))==VECDB_DONE ) rc = VECDB_OK;
  }
  vdb_result(t, rc);
  vecdb_finalize(s);
  return rc;
}

/* ---- Rows ---------------------------------------------------------------- */

static int vdb_scan_begin(struct table *t, struct scan *s){
  memset(s, 0, sizeof *s);
  s->t = t;
  return vdb_result(t, vecdb_prepare_scan(t->c, NULL, &s->v));
}

static int vdb_scan_step(struct scan *s){
  return vdb_result(s->t, vecdb_step(s->v));
}

static int vdb_scan_value(struct scan *s, int column, struct cell *v){
  memset(v, 0, sizeof *v);
  v->type = vecdb_column_type(s->v, column);
  switch( v->type ){
    case VECDB_NULL: break;
    case VECDB_VECTOR: v->data = vecdb_column_vector(s->v, column, &v->n); break;
    case VECDB_BLOB:
      v->data = vecdb_column_blob(s->v, column);
      v->n = vecdb_column_bytes(s->v, column);
      break;
    case VECDB_INTEGER:
      v->i = vecdb_column_int64(s->v, column);
      v->text = vecdb_column_text(s->v, column);
      break;
    case VECDB_REAL:
      v->text = table_real_text(s, vecdb_column_double(s->v, column));
      break;
    default:
      v->text = vecdb_column_text(s->v, column);
  }
  return vdb_result(s->t, vecdb_column_errcode(s->v));
}

static void vdb_scan_end(struct scan *s){
  vecdb_finalize(s->v);
  s->v = NULL;
}

static int vdb_search(struct table *t, const vecdb_search_options *o,
                      size_t nq, int element, const void *queries,
                      int64_t *keys, float *distances){
  return vdb_result(t, vecdb_search_many(t->c, o, nq, element, queries, 0,
                                         keys, distances, NULL));
}

const struct table_ops table_ops_vdb = {
  vdb_begin, vdb_commit, vdb_rollback, vdb_batch_begin, vdb_batch_end,
  vdb_create, vdb_open, vdb_count, vdb_put, vdb_update,
  vdb_scan_begin, vdb_scan_step, vdb_scan_value, vdb_scan_end, vdb_search
};
