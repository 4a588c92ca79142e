/* table_sql.c -- tables of a SQLite database, through SQL.
**
** COLUMNS   vecdb_stats() tells the schema of a table; a collection made from
**           it in memory, always empty, tells what the columns are.
** CTRL-C    SQLite rolls back the whole transaction of an INSERT that it
**           interrupts, and an import keeps its complete batches. So while an
**           import writes, Ctrl-C only sets shell.deferred, which is looked at
**           between rows.
** SNAPSHOT  a savepoint, which works inside a transaction as well.
*/
#include "shell/value.h"

#include <math.h>
#include <string.h>

/* ---- Errors -------------------------------------------------------------- */

static int code_of_sqlite(int rc){
  switch( rc & 0xff ){
    case SQLITE_OK: return VECDB_OK;
    case SQLITE_ROW: return VECDB_ROW;
    case SQLITE_DONE: return VECDB_DONE;
    case SQLITE_NOMEM: return VECDB_NOMEM;
    case SQLITE_IOERR: return VECDB_IOERR;
    case SQLITE_FULL: return VECDB_FULL;
    case SQLITE_CANTOPEN: return VECDB_CANTOPEN;
    case SQLITE_NOTADB: return VECDB_NOTADB;
    case SQLITE_CORRUPT: return VECDB_CORRUPT;
    case SQLITE_BUSY: case SQLITE_LOCKED: return VECDB_BUSY;
    case SQLITE_READONLY: return VECDB_READONLY;
    case SQLITE_INTERRUPT: return VECDB_INTERRUPT;
    case SQLITE_CONSTRAINT: return VECDB_CONSTRAINT;
    default: return VECDB_ERROR;
  }
}

static int sql_result(struct table *t, int rc){
  if( rc!=SQLITE_OK && rc!=SQLITE_ROW && rc!=SQLITE_DONE ){
    snprintf(t->err, sizeof t->err, "%s", sqlite3_errmsg(t->sh->sql));
  }
  return code_of_sqlite(rc);
}

/* Prepare text from sqlite3_mprintf, which is freed. */
static int sql_prepare(struct table *t, char *z, sqlite3_stmt **st){
  int rc = z ? sqlite3_prepare_v2(t->sh->sql, z, -1, st, NULL) : SQLITE_NOMEM;
  sqlite3_free(z);
  return sql_result(t, rc);
}

static int sql_exec(struct table *t, const char *z){
  return sql_result(t, sqlite3_exec(t->sh->sql, z, NULL, NULL, NULL));
}

/* ---- Transactions -------------------------------------------------------- */

static int host_begin(struct table *t, bool write){
  if( !write ) return sql_exec(t, "SAVEPOINT vecdb_read");
  t->sh->deferred = 0;
  t->sh->defer_interrupt = 1;
  return sql_exec(t, "BEGIN IMMEDIATE");
}

/* Ctrl-C works as ever again; what came in between counts now. */
static void host_undefer(struct table *t){
  t->sh->defer_interrupt = 0;
  if( t->sh->deferred ) t->sh->interrupted = t->sh->deferred;
  t->sh->deferred = 0;
}

static int host_commit(struct table *t){
  int rc;
  sqlite3_reset(t->write);
  rc = sql_exec(t, "COMMIT");
  if( rc==VECDB_OK ) host_undefer(t);
  return rc;
}

/* SQLite may have rolled back by itself, as when the disk is full. */
static void host_rollback(struct table *t){
  if( t->write ) sqlite3_reset(t->write);
  if( t->sh->defer_interrupt ){
    if( !sqlite3_get_autocommit(t->sh->sql) ){
      sqlite3_exec(t->sh->sql, "ROLLBACK", NULL, NULL, NULL);
    }
    host_undefer(t);
  }else{
    sqlite3_exec(t->sh->sql, "RELEASE vecdb_read", NULL, NULL, NULL);
  }
}

/* A savepoint without a transaction would begin one of its own. */
static int host_batch_begin(struct table *t){
  if( sqlite3_get_autocommit(t->sh->sql) ) return VECDB_ABORT;
  return sql_exec(t, "SAVEPOINT vecdb_batch");
}

static int host_batch_end(struct table *t, bool keep){
  char err[TABLE_ERR];
  int rc;
  if( sqlite3_get_autocommit(t->sh->sql) ) return VECDB_ABORT;
  memcpy(err, t->err, sizeof err);
  rc = sql_exec(t, keep ? "RELEASE vecdb_batch"
                        : "ROLLBACK TO vecdb_batch; RELEASE vecdb_batch");
  if( !keep ) memcpy(t->err, err, sizeof err);
  return rc;
}

/* ---- The table ----------------------------------------------------------- */

static int host_create(struct table *t, const char *schema){
  char *z = sqlite3_mprintf("CREATE VIRTUAL TABLE \"%w\" USING vecdb(%s)",
                            t->name, schema);
  int rc = z ? sql_exec(t, z) : VECDB_NOMEM;
  sqlite3_free(z);
  return rc;
}

/* The CREATE statement says whose table it is. */
static int kind_check(struct table *t){
  sqlite3_stmt *st = NULL;
  int rc = sql_prepare(t, sqlite3_mprintf("SELECT sql LIKE 'CREATE VIRTUAL "
    "TABLE%%USING vec%%' FROM sqlite_schema WHERE type IN ('table','view') "
    "AND name=%Q COLLATE NOCASE", t->name), &st);
  if( rc==VECDB_OK ) rc = sql_result(t, sqlite3_step(st));
  if( rc==VECDB_DONE ){
    rc = VECDB_NOTFOUND;
    snprintf(t->err, sizeof t->err, "no table \"%.200s\"; .tables lists them",
             t->name);
  }else if( rc==VECDB_ROW ){
    rc = sqlite3_column_int(st, 0) ? VECDB_OK : VECDB_ERROR;
    if( rc!=VECDB_OK ){
      snprintf(t->err, sizeof t->err, "\"%.200s\" is no table of vectors; use "
               "SQL for it", t->name);
    }
  }
  sqlite3_finalize(st);
  return rc;
}

static int shape_make(struct table *t, const char *schema){
  int rc = vecdb_open("", VECDB_OPEN_MEMORY, NULL, &t->shape);
  if( rc==VECDB_OK ) rc = vecdb_create_collection(t->shape, t->name, schema);
  if( rc==VECDB_OK ) rc = vecdb_collection_open(t->shape, t->name, &t->c);
  if( rc!=VECDB_OK ){
    snprintf(t->err, sizeof t->err, "%s", t->shape ? vecdb_errmsg(t->shape)
                                                   : vecdb_errstr(rc));
  }
  return rc;
}

static int host_open(struct table *t){
  sqlite3_stmt *st = NULL;
  int rc = kind_check(t);
  if( rc!=VECDB_OK ) return rc;
  rc = sql_prepare(t, sqlite3_mprintf("SELECT value FROM vecdb_stats(%Q) "
                                      "WHERE key='schema'", t->name), &st);
  if( rc==VECDB_OK ) rc = sql_result(t, sqlite3_step(st));
  if( rc==VECDB_ROW ){
    rc = shape_make(t, (const char*)sqlite3_column_text(st, 0));
  }else if( rc==VECDB_DONE ){
    rc = VECDB_ERROR;
    snprintf(t->err, sizeof t->err, "\"%.200s\" has no schema", t->name);
  }
  sqlite3_finalize(st);
  return rc;
}

static int host_count(struct table *t, uint64_t *n_row){
  sqlite3_stmt *st = NULL;
  int rc = sql_prepare(t, sqlite3_mprintf("SELECT count(*) FROM \"%w\"",
                                          t->name), &st);
  if( rc==VECDB_OK ) rc = sql_result(t, sqlite3_step(st));
  *n_row = rc==VECDB_ROW ? (uint64_t)sqlite3_column_int64(st, 0) : 0;
  sqlite3_finalize(st);
  return rc==VECDB_ROW ? VECDB_OK : rc;
}

/* ---- Writing ------------------------------------------------------------- */

/* A BLOB alone would be taken for float32. */
static const char *vector_function(uint32_t element){
  static const char *const name[] = { "", "vec_f32", "vec_f16", "vec_bf16",
                                      "vec_int8", "vec_uint8", "vec_bit" };
  return element<sizeof(name)/sizeof(name[0]) ? name[element] : "";
}

static void column_name(struct table *t, int column, vecdb_column_info *ci){
  memset(ci, 0, sizeof *ci);
  ci->size = sizeof *ci;
  vecdb_column_describe(t->c, column, ci);
}

static void value_append(sqlite3_str *s, const vecdb_column_data *d, size_t i){
  const char *fn = d->type==VECDB_VECTOR ? vector_function(d->element) : "";
  sqlite3_str_appendf(s, *fn ? "%s(?%d)" : "%s?%d", fn, (int)i+1);
}

static char *insert_text(struct table *t, const vecdb_column_data *d,
                         size_t n_d){
  sqlite3_str *s = sqlite3_str_new(t->sh->sql);
  vecdb_column_info ci;
  sqlite3_str_appendf(s, "INSERT INTO \"%w\"(", t->name);
  for(size_t i=0; i<n_d; i++){
    column_name(t, d[i].column, &ci);
    sqlite3_str_appendf(s, "%s\"%w\"", i ? "," : "", ci.name);
  }
  sqlite3_str_appendall(s, ") VALUES(");
  for(size_t i=0; i<n_d; i++){
    if( i ) sqlite3_str_appendchar(s, 1, ',');
    value_append(s, &d[i], i);
  }
  sqlite3_str_appendchar(s, 1, ')');
  return sqlite3_str_finish(s);
}

static char *update_text(struct table *t, const vecdb_column_data *d,
                         size_t n_d){
  sqlite3_str *s = sqlite3_str_new(t->sh->sql);
  vecdb_column_info ci;
  int i_key = 0, n = 0;
  sqlite3_str_appendf(s, "UPDATE \"%w\" SET ", t->name);
  for(size_t i=0; i<n_d; i++){
    if( d[i].column==0 ){ i_key = (int)i; continue; }
    column_name(t, d[i].column, &ci);
    sqlite3_str_appendf(s, "%s\"%w\"=", n++ ? "," : "", ci.name);
    value_append(s, &d[i], i);
  }
  column_name(t, 0, &ci);
  if( n==0 ) sqlite3_str_appendf(s, "\"%w\"=\"%w\"", ci.name, ci.name);
  sqlite3_str_appendf(s, " WHERE \"%w\"=?%d", ci.name, i_key+1);
  return sqlite3_str_finish(s);
}

static int value_bind(struct table *t, int i, const vecdb_column_data *d,
                      size_t j){
  const void *p = table_value_at(d, j);
  vecdb_column_info ci;
  if( table_is_null_at(d, j) ) return sqlite3_bind_null(t->write, i);
  switch( d->type ){
    case VECDB_INTEGER:
      return sqlite3_bind_int64(t->write, i, *(const int64_t*)p);
    case VECDB_REAL:
      return sqlite3_bind_double(t->write, i, *(const double*)p);
    case VECDB_BOOLEAN:
      return sqlite3_bind_int(t->write, i, *(const uint8_t*)p);
    case VECDB_VECTOR: {
      column_name(t, d->column, &ci);
      size_t n = vecdb_vector_bytes((int)d->element, ci.dims);
      return sqlite3_bind_blob64(t->write, i, (const char*)d->data + j*n, n,
                                 SQLITE_STATIC);
    }
    default:
      return sqlite3_bind_text(t->write, i, *(char *const*)p, -1,
                               SQLITE_STATIC);
  }
}

/* Rows of one import all come with the same columns, so the statement stays. */
static int write_prepare(struct table *t, bool is_update,
                         const vecdb_column_data *d, size_t n_d){
  if( t->write && t->is_update==is_update ) return VECDB_OK;
  sqlite3_finalize(t->write);
  t->write = NULL;
  t->is_update = is_update;
  return sql_prepare(t, is_update ? update_text(t, d, n_d)
                                  : insert_text(t, d, n_d), &t->write);
}

static int rows_write(struct table *t, size_t n, const vecdb_column_data *d,
                      size_t n_d, bool is_update){
  int rc = write_prepare(t, is_update, d, n_d);
  for(size_t j=0; rc==VECDB_OK && j<n; j++){
    int step = SQLITE_OK;
    if( t->sh->deferred ){ rc = VECDB_INTERRUPT; break; }
    for(size_t i=0; step==SQLITE_OK && i<n_d; i++){
      step = value_bind(t, (int)i+1, &d[i], j);
    }
    if( step==SQLITE_OK ) step = sqlite3_step(t->write);
    rc = sql_result(t, step);
    sqlite3_reset(t->write);
    if( rc==VECDB_DONE ) rc = VECDB_OK;
    if( rc==VECDB_OK && is_update && sqlite3_changes(t->sh->sql)==0 ){
      snprintf(t->err, sizeof t->err, "no row with this key in \"%.200s\"",
               t->name);
      rc = VECDB_NOTFOUND;
    }
  }
  return rc;
}

static int host_put(struct table *t, size_t n, const vecdb_column_data *d,
                    size_t n_d){
  return rows_write(t, n, d, n_d, false);
}

static int host_update(struct table *t, size_t n, const vecdb_column_data *d,
                       size_t n_d){
  return rows_write(t, n, d, n_d, true);
}

/* ---- Rows ---------------------------------------------------------------- */

static int host_scan_begin(struct table *t, struct scan *s){
  sqlite3_str *q = sqlite3_str_new(t->sh->sql);
  vecdb_column_info ci;
  memset(s, 0, sizeof *s);
  s->t = t;
  for(int i=0; i<vecdb_column_count(t->c); i++){
    column_name(t, i, &ci);
    sqlite3_str_appendf(q, "%s\"%w\"", i ? "," : "SELECT ", ci.name);
  }
  sqlite3_str_appendf(q, " FROM \"%w\"", t->name);
  column_name(t, 0, &ci);
  sqlite3_str_appendf(q, " ORDER BY \"%w\"", ci.name);
  return sql_prepare(t, sqlite3_str_finish(q), &s->s);
}

static int host_scan_step(struct scan *s){
  return sql_result(s->t, sqlite3_step(s->s));
}

static int host_scan_value(struct scan *s, int column, struct cell *v){
  vecdb_column_info ci;
  column_name(s->t, column, &ci);
  memset(v, 0, sizeof *v);
  switch( sqlite3_column_type(s->s, column) ){
    case SQLITE_NULL: v->type = VECDB_NULL; break;
    case SQLITE_INTEGER:
      v->type = VECDB_INTEGER;
      v->i = sqlite3_column_int64(s->s, column);
      v->text = (const char*)sqlite3_column_text(s->s, column);
      break;
    case SQLITE_FLOAT:
      v->type = VECDB_REAL;
      v->text = table_real_text(s, sqlite3_column_double(s->s, column));
      break;
    case SQLITE_BLOB:
      v->type = ci.role==VECDB_ROLE_VECTOR ? VECDB_VECTOR : VECDB_BLOB;
      v->data = sqlite3_column_blob(s->s, column);
      v->n = (size_t)sqlite3_column_bytes(s->s, column);
      break;
    default:
      v->type = VECDB_TEXT;
      v->text = (const char*)sqlite3_column_text(s->s, column);
  }
  if( v->type!=VECDB_VECTOR || v->n==ci.vector_bytes ) return VECDB_OK;
  snprintf(s->t->err, sizeof s->t->err, "column \"%s\" of \"%.200s\": a vector "
           "of %zu bytes, not %u", ci.name, s->t->name, v->n, ci.vector_bytes);
  return VECDB_CORRUPT;
}

static void host_scan_end(struct scan *s){
  sqlite3_finalize(s->s);
  s->s = NULL;
}

/* ---- Searching ----------------------------------------------------------- */

/* The call form, whose names cannot clash with those of columns. */
static int search_prepare(struct table *t, const vecdb_search_options *o,
                          int element, sqlite3_stmt **st){
  vecdb_column_info ci;
  char *json, *column, effort[40];
  int rc;
  column_name(t, o->column, &ci);
  column = value_json_quote(ci.name);
  snprintf(effort, sizeof effort, "%s:%u",
           o->flags & VECDB_SEARCH_EXACT ? "\"exact\"" : "\"ef\"",
           o->flags & VECDB_SEARCH_EXACT ? 1u : o->ef);
  json = sqlite3_mprintf("{\"k\":%u,\"column\":%s,%s}", o->k, column, effort);
  sqlite3_free(column);
  column_name(t, 0, &ci);
  rc = sql_prepare(t, sqlite3_mprintf("SELECT \"%w\", distance FROM "
         "\"%w\"(%s(?1), %Q)", ci.name, t->name,
         vector_function((uint32_t)element), json), st);
  sqlite3_free(json);
  return rc;
}

static int host_search(struct table *t, const vecdb_search_options *o,
                       size_t nq, int element, const void *queries,
                       int64_t *keys, float *distances){
  sqlite3_stmt *st = NULL;
  vecdb_column_info ci;
  int rc = search_prepare(t, o, element, &st);
  column_name(t, o->column, &ci);
  for(size_t i=0; rc==VECDB_OK && i<nq; i++){
    size_t n = vecdb_vector_bytes(element, ci.dims), j = 0;
    sqlite3_bind_blob64(st, 1, (const char*)queries + i*n, n, SQLITE_STATIC);
    while( (rc = sql_result(t, sqlite3_step(st)))==VECDB_ROW && j<o->k ){
      keys[i*o->k + j] = sqlite3_column_int64(st, 0);
      distances[i*o->k + j++] = (float)sqlite3_column_double(st, 1);
    }
    if( rc==VECDB_DONE || rc==VECDB_ROW ) rc = VECDB_OK;
    for(; j<o->k; j++){
      keys[i*o->k + j] = -1;
      distances[i*o->k + j] = INFINITY;
    }
    sqlite3_reset(st);
  }
  sqlite3_finalize(st);
  return rc;
}

const struct table_ops table_ops_sql = {
  host_begin, host_commit, host_rollback, host_batch_begin, host_batch_end,
  host_create, host_open, host_count, host_put, host_update,
  host_scan_begin, host_scan_step, host_scan_value, host_scan_end, host_search
};
