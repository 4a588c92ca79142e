/* vtab_recall.c -- auditing recall, and keeping what was found.
**
**   vecdb_recall(t [,column [,k [,samples [,seed]]]])   measures now
**   INSERT INTO t(t) VALUES('calibrate')                measures and keeps
**   vecdb_audits(t)                                     what was kept
**
** Audits are rows of a collection of the same file, "vecdb_audit_log", which
** the first one makes; its vector column is there because every collection has
** one. An audit remembers the version of the data it saw, so that it can be
** told how much has changed since.
*/
#include "sql/vtab_audit.h"

#include <time.h>

enum { K_DEFAULT = 10, SAMPLES_DEFAULT = 100, SAMPLES_MAX = 100000,
       SEED_DEFAULT = 1 };

enum { COL_ID, COL_V, COL_AT, COL_TABLE, COL_COLUMN, COL_K, COL_EF, COL_N,
       COL_RECALL, COL_LOWER, COL_UPPER, COL_MS, COL_ROWS, COL_VERSION };
static const char audits_name[] = "vecdb_audit_log";
static const char audits_schema[] =
  "id integer primary key, v float[1] index=flat, at int, tbl text, col text, "
  "n_near int, ef int, n int, recall float, lower float, upper float, ms float, "
  "n_row int, version int";

struct recall_request {
  const char *column;         /* NULL: the first */
  uint32_t k;
  int n;
  uint64_t seed;
};

/* Measure the table as it is set, in the snapshot that is open. */
static int recall_measure(struct sql_table *t, const struct recall_request *q,
                          struct audit *a, struct audit_result *out,
                          char **err){
  static const struct audit_effort as_set = { 0, 0, 0 };
  int rc, column = vdb_audit_column(t, q->column, err);

  if( column<0 ) return SQLITE_ERROR;
  SQL_TRY( vdb_audit_begin(a, t, column, q->k, q->n, q->seed, err) );
  SQL_TRY( vdb_audit_truth(a, t->conn->eng, t->coll, err) );
  rc = vdb_audit_measure(a, t->conn->eng, t->coll, &as_set, out, err);
done:
  return rc;
}

/* ---- vecdb_recall ------------------------------------------------------- */

static int request_number(sqlite3_value **argv, int argc, int i,
                          sqlite3_int64 lo, sqlite3_int64 hi,
                          const char *what, sqlite3_int64 *out, char **err){
  if( i>=argc || sqlite3_value_type(argv[i])==SQLITE_NULL ) return SQLITE_OK;
  *out = sqlite3_value_int64(argv[i]);
  if( sqlite3_value_numeric_type(argv[i])==SQLITE_INTEGER
   && *out>=lo && *out<=hi ){
    return SQLITE_OK;
  }
  return vdb_sql_fail(err, SQLITE_ERROR, "vecdb_recall: %s is %s, expected "
                      "%lld to %lld", what, sqlite3_value_text(argv[i]), lo,
                      hi);
}

static int request_parse(int argc, sqlite3_value **argv,
                         struct recall_request *q, char **err){
  sqlite3_int64 k = K_DEFAULT, n = SAMPLES_DEFAULT, seed = SEED_DEFAULT;
  int rc;
  q->column = argc>1 ? (const char*)sqlite3_value_text(argv[1]) : NULL;
  SQL_TRY( request_number(argv, argc, 2, 1, 10000, "k", &k, err) );
  SQL_TRY( request_number(argv, argc, 3, 1, SAMPLES_MAX, "samples", &n, err) );
  SQL_TRY( request_number(argv, argc, 4, INT64_MIN, INT64_MAX, "seed", &seed,
                          err) );
  q->k = (uint32_t)k;
  q->n = (int)n;
  q->seed = (uint64_t)seed;
done:
  return rc;
}

static int row_of_result(struct sql_rows *r, const char *bucket,
                         const struct audit *a,
                         const struct audit_result *x){
  int rc;
  SQL_TRY( vdb_rows_begin(r) );
  SQL_TRY( vdb_rows_text(r, 0, bucket) );
  SQL_TRY( vdb_rows_int(r, 1, a->k) );
  SQL_TRY( vdb_rows_int(r, 2, x->ef) );
  SQL_TRY( vdb_rows_int(r, 3, x->n) );
  SQL_TRY( vdb_rows_real(r, 4, x->recall) );
  SQL_TRY( vdb_rows_real(r, 5, x->lower) );
  SQL_TRY( vdb_rows_real(r, 6, x->upper) );
  rc = vdb_rows_real(r, 7, x->ms);
done:
  return rc;
}

/* A row for each kind of captured query, in the snapshot that is open. */
static int recall_captured(struct sql_rows *r, struct sql_table *t,
                           const struct recall_request *q, char **err){
  static const char *const name[BUCKET_N] = {
    "captured", "captured, filter >= 10 %", "captured, filter 1 to 10 %",
    "captured, filter < 1 %"
  };
  static const struct audit_effort as_set = { 0, 0, 0 };
  struct audit_result x;
  struct audit a;
  int rc, column = vdb_audit_column(t, q->column, err);

  memset(&a, 0, sizeof(a));
  if( column<0 ) return SQLITE_ERROR;
  SQL_TRY( vdb_audit_begin_captured(&a, t, column, q->k, q->n, err) );
  SQL_TRY( vdb_audit_truth(&a, t->conn->eng, t->coll, err) );
  for(a.only=0; a.only<BUCKET_N; a.only++){
    SQL_TRY( vdb_audit_measure(&a, t->conn->eng, t->coll, &as_set, &x, err) );
    if( x.n>0 ) SQL_TRY( row_of_result(r, name[a.only], &a, &x) );
  }
done:
  vdb_audit_end(&a);
  return rc;
}

static int recall_fill(struct sql_rows *r, int argc, sqlite3_value **argv,
                       char **err){
  const char *name = (const char*)sqlite3_value_text(argv[0]);
  struct recall_request q;
  struct audit_result x;
  struct audit a;
  struct sql_table *t;
  int rc;

  memset(&a, 0, sizeof(a));
  rc = vdb_table_find(vdb_rows_state(r), name ? name : "", &t, err);
  if( rc==SQLITE_OK ) rc = request_parse(argc, argv, &q, err);
  if( rc!=SQLITE_OK ) return rc;
  rc = vdb_conn_begin_read(t->conn, err);
  if( rc!=SQLITE_OK ) return rc;
  rc = recall_measure(t, &q, &a, &x, err);
  if( rc==SQLITE_OK && a.n>0 ) rc = row_of_result(r, "none", &a, &x);
  if( rc==SQLITE_OK ) rc = recall_captured(r, t, &q, err);
  vdb_conn_end_read(t->conn);
  vdb_audit_end(&a);
  return rc;
}

const struct rows_def vdb_recall_def = {
  "vecdb_recall", "CREATE TABLE x(filter_bucket TEXT, k INTEGER, ef INTEGER, "
  "n INTEGER, recall REAL, lower REAL, upper REAL, ms REAL, \"table\" HIDDEN, "
  "\"column\" HIDDEN, kk HIDDEN, samples HIDDEN, seed HIDDEN)",
  8, 5, 1, recall_fill
};

/* ---- Keeping ------------------------------------------------------------ */

static int audits_open(struct sql_table *t, vecdb_collection **out){
  vecdb *eng = t->conn->eng;
  int rc = vecdb_collection_open(eng, audits_name, out);
  if( rc!=VECDB_NOTFOUND ) return rc;
  rc = vecdb_create_collection(eng, audits_name, audits_schema);
  return rc==VECDB_OK ? vecdb_collection_open(eng, audits_name, out) : rc;
}

static int audit_keep(struct sql_table *t, const struct audit *a,
                      const struct audit_result *x){
  static const float zero = 0;
  vecdb_collection_stats cs;
  vecdb_collection *c = NULL;
  vecdb_stmt *s = NULL;
  int rc;

  memset(&cs, 0, sizeof(cs));
  cs.size = sizeof(cs);
  rc = vecdb_collection_stat(t->coll, &cs);
  if( rc==VECDB_OK ) rc = audits_open(t, &c);
  if( rc==VECDB_OK ) rc = vecdb_prepare_insert(c, 0, &s);
  if( rc==VECDB_OK ){
    vecdb_bind_vector(s, COL_V, VECDB_F32, &zero, sizeof(zero), VECDB_STATIC);
    vecdb_bind_int64(s, COL_AT, (int64_t)time(NULL));
    vecdb_bind_text(s, COL_TABLE, t->collection, (size_t)-1, VECDB_STATIC);
    vecdb_bind_text(s, COL_COLUMN, t->cols[a->column].name, (size_t)-1,
                    VECDB_STATIC);
    vecdb_bind_int64(s, COL_K, a->k);
    vecdb_bind_int64(s, COL_EF, x->ef);
    vecdb_bind_int64(s, COL_N, a->n);
    vecdb_bind_double(s, COL_RECALL, x->recall);
    vecdb_bind_double(s, COL_LOWER, x->lower);
    vecdb_bind_double(s, COL_UPPER, x->upper);
    vecdb_bind_double(s, COL_MS, x->ms);
    vecdb_bind_int64(s, COL_ROWS, (int64_t)cs.n_row);
    vecdb_bind_int64(s, COL_VERSION, (int64_t)cs.data_version);
    rc = vecdb_step(s);
  }
  vecdb_finalize(s);
  vecdb_collection_close(c);
  return rc==VECDB_DONE ? VECDB_OK : rc;
}

int vdb_command_calibrate(struct sql_table *t){
  struct recall_request q = { NULL, K_DEFAULT, SAMPLES_DEFAULT, 0 };
  vecdb_collection_stats cs;
  struct audit_result x;
  struct audit a;
  char *err = NULL;
  int i, rc = SQLITE_OK;

  memset(&cs, 0, sizeof(cs));
  cs.size = sizeof(cs);
  if( vecdb_collection_stat(t->coll, &cs)==VECDB_OK ) q.seed = cs.data_version;
  for(i=0; i<t->n_col && rc==SQLITE_OK; i++){
    if( t->cols[i].info.role!=VECDB_ROLE_VECTOR ) continue;
    memset(&a, 0, sizeof(a));
    q.column = t->cols[i].name;
    rc = recall_measure(t, &q, &a, &x, &err);
    if( rc==SQLITE_OK && a.n>0 ){
      rc = audit_keep(t, &a, &x);
      if( rc!=VECDB_OK ) rc = vdb_conn_error(t->conn, rc, &err);
    }
    vdb_audit_end(&a);
  }
  if( rc!=SQLITE_OK ) return vdb_table_set_error(t, rc, err);
  vdb_conn_changed(t->conn);
  return SQLITE_OK;
}

/* ---- vecdb_audits ------------------------------------------------------- */

static int audit_row(struct sql_rows *r, vecdb_stmt *s, uint64_t version){
  int rc, i;
  SQL_TRY( vdb_rows_begin(r) );
  SQL_TRY( vdb_rows_int(r, 0, vecdb_column_int64(s, COL_AT)) );
  SQL_TRY( vdb_rows_text(r, 1, vecdb_column_text(s, COL_COLUMN)) );
  for(i=0; i<3; i++){
    SQL_TRY( vdb_rows_int(r, 2+i, vecdb_column_int64(s, COL_K + i)) );
  }
  for(i=0; i<4; i++){
    SQL_TRY( vdb_rows_real(r, 5+i, vecdb_column_double(s, COL_RECALL + i)) );
  }
  SQL_TRY( vdb_rows_int(r, 9, vecdb_column_int64(s, COL_ROWS)) );
  rc = vdb_rows_int(r, 10, (sqlite3_int64)(version
                     - (uint64_t)vecdb_column_int64(s, COL_VERSION)));
done:
  return rc;
}

/* In the snapshot that is open. */
static int audits_read(struct sql_rows *r, struct sql_table *t, char **err){
  vecdb_collection_stats cs;
  vecdb_collection *c = NULL;
  vecdb_stmt *s = NULL;
  int rc;

  memset(&cs, 0, sizeof(cs));
  cs.size = sizeof(cs);
  rc = vecdb_collection_open(t->conn->eng, audits_name, &c);
  if( rc==VECDB_NOTFOUND ) return SQLITE_OK;
  if( rc==VECDB_OK ) rc = vecdb_collection_stat(t->coll, &cs);
  if( rc==VECDB_OK ) rc = vecdb_prepare_scan(c, "tbl = ?1", &s);
  if( rc==VECDB_OK ){
    rc = vecdb_bind_text(s, 1, t->collection, (size_t)-1, VECDB_STATIC);
  }
  while( rc==VECDB_OK && (rc = vecdb_step(s))==VECDB_ROW ){
    rc = audit_row(r, s, cs.data_version);
    if( rc!=SQLITE_OK ) goto done;
  }
  rc = rc==VECDB_DONE ? SQLITE_OK : vdb_conn_error(t->conn, rc, err);
done:
  vecdb_finalize(s);
  vecdb_collection_close(c);
  return rc;
}

static int audits_fill(struct sql_rows *r, int argc, sqlite3_value **argv,
                       char **err){
  const char *name = (const char*)sqlite3_value_text(argv[0]);
  struct sql_table *t;
  int rc;

  (void)argc;
  rc = vdb_table_find(vdb_rows_state(r), name ? name : "", &t, err);
  if( rc==SQLITE_OK ) rc = vdb_conn_begin_read(t->conn, err);
  if( rc!=SQLITE_OK ) return rc;
  rc = audits_read(r, t, err);
  vdb_conn_end_read(t->conn);
  return rc;
}

const struct rows_def vdb_audits_def = {
  "vecdb_audits", "CREATE TABLE x(at INTEGER, \"column\" TEXT, k INTEGER, "
  "ef INTEGER, n INTEGER, recall REAL, lower REAL, upper REAL, ms REAL, "
  "\"rows\" INTEGER, changes INTEGER, \"table\" HIDDEN)",
  11, 1, 1, audits_fill
};
