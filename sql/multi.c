/* multi.c -- vecdb_multi(t, json): several vector columns in one search.
**
**   SELECT id, distance FROM vecdb_multi('t', '{"k":10, "parts":[
**     {"column":"image","query":[..],"weight":0.7},
**     {"column":"title","query":"[..]","weight":0.3}],
**     "filter":"year > 2000"}')
**
** JSON keys: parts, k (10), filter, exact, ef, recall; of a part: column,
** query (an array, or its text), weight (1). Others are errors. The JSON is
** taken apart by SQLite.
*/
#include "sql/vtab_int.h"

enum { PARTS_MAX = 64 };

struct multi_query {
  vecdb_search_options opt;
  char *filter;
  vecdb_query_part part[PARTS_MAX];
  size_t n_part;
};

static void query_clear(struct multi_query *q){
  for(size_t i=0; i<q->n_part; i++){
    sqlite3_free((void*)(uintptr_t)q->part[i].query);
  }
  sqlite3_free(q->filter);
}

static const char *text_of(sqlite3_stmt *s, int i){
  const char *z = (const char*)sqlite3_column_text(s, i);
  return z ? z : "";
}

static int json_prepare(struct sql_state *st, const char *sql,
                        sqlite3_value *json, sqlite3_stmt **out, char **err){
  int rc = sqlite3_prepare_v2(st->db, sql, -1, out, NULL);
  if( rc==SQLITE_OK ) rc = sqlite3_bind_value(*out, 1, json);
  if( rc!=SQLITE_OK ) rc = vdb_sql_fail(err, rc, "vecdb_multi: %s",
                                        sqlite3_errmsg(st->db));
  return rc;
}

/* ---- The options --------------------------------------------------------- */

/* Column 1 of s, a whole number from 1; the error names the key. */
static int count_take(sqlite3_stmt *s, const char *key, uint32_t *out,
                      char **err){
  sqlite3_int64 n = sqlite3_column_int64(s, 1);
  if( sqlite3_column_type(s, 1)!=SQLITE_INTEGER || n<1 || n>0x7fffffff ){
    return vdb_sql_fail(err, SQLITE_ERROR, "vecdb_multi: %s is %s, expected a "
                        "whole number in 1..2147483647", key, text_of(s, 1));
  }
  *out = (uint32_t)n;
  return SQLITE_OK;
}

/* Text that SQLite would read as 0 is no number. */
static int number_is(sqlite3_stmt *s, int i, const char *key, char **err){
  int type = sqlite3_column_type(s, i);
  if( type==SQLITE_INTEGER || type==SQLITE_FLOAT ) return SQLITE_OK;
  return vdb_sql_fail(err, SQLITE_ERROR, "vecdb_multi: %s is \"%s\", expected "
                      "a number", key, text_of(s, i));
}

static int option_take(struct multi_query *q, sqlite3_stmt *s, char **err){
  const char *key = text_of(s, 0);
  int rc = SQLITE_OK;
  if( strcmp(key, "parts")==0 ) return SQLITE_OK;
  if( strcmp(key, "k")==0 ){
    uint32_t k = 0;
    SQL_TRY( count_take(s, key, &k, err) );
    q->opt.k = k;
  }else if( strcmp(key, "exact")==0 ){
    SQL_TRY( number_is(s, 1, key, err) );
    if( sqlite3_column_int(s, 1) ) q->opt.flags |= VECDB_SEARCH_EXACT;
  }else if( strcmp(key, "ef")==0 ){
    SQL_TRY( count_take(s, key, &q->opt.ef, err) );
  }else if( strcmp(key, "recall")==0 ){
    SQL_TRY( number_is(s, 1, key, err) );
    q->opt.recall = sqlite3_column_double(s, 1);
  }else if( strcmp(key, "filter")==0 ){
    sqlite3_free(q->filter);
    q->filter = vdb_sql_strdup(text_of(s, 1));
    if( q->filter==NULL ) return SQLITE_NOMEM;
    q->opt.filter = q->filter;
  }else{
    return vdb_sql_fail(err, SQLITE_ERROR, "vecdb_multi: unknown key \"%s\"; "
        "known: parts, k, filter, exact, ef, recall", key);
  }
done:
  return rc;
}

/* After the loop over s: SQLite's own error becomes this function's. */
static int rows_end(struct sql_state *st, int rc, char **err){
  if( rc==SQLITE_DONE ) return SQLITE_OK;
  return vdb_sql_fail(err, rc, "vecdb_multi: %s", sqlite3_errmsg(st->db));
}

static int options_take(struct sql_state *st, struct multi_query *q,
                        sqlite3_value *json, char **err){
  sqlite3_stmt *s = NULL;
  int rc;
  SQL_TRY( json_prepare(st, "SELECT key, value FROM json_each(?1)", json, &s,
                        err) );
  while( (rc = sqlite3_step(s))==SQLITE_ROW ) SQL_TRY( option_take(q, s, err) );
  rc = rows_end(st, rc, err);
done:
  sqlite3_finalize(s);
  return rc;
}

/* ---- The parts ----------------------------------------------------------- */

/* Columns of s: column, query as text, weight, the first key that is none. */
static int part_take(struct sql_table *t, struct multi_query *q,
                     sqlite3_stmt *s, char **err){
  vecdb_query_part *p = &q->part[q->n_part];
  const char *name = text_of(s, 0), *z = text_of(s, 1);
  vecdb_column_info info;
  char message[200];
  size_t dims = 0, sz;
  void *v;
  int column, rc;

  if( sqlite3_column_type(s, 3)!=SQLITE_NULL ){
    return vdb_sql_fail(err, SQLITE_ERROR, "vecdb_multi: unknown key \"%s\" of "
        "a part; known: column, query, weight", text_of(s, 3));
  }
  if( q->n_part==PARTS_MAX ){
    return vdb_sql_fail(err, SQLITE_ERROR, "vecdb_multi: more than %d parts",
                        PARTS_MAX);
  }
  rc = number_is(s, 2, "weight", err);
  if( rc!=SQLITE_OK ) return rc;
  memset(&info, 0, sizeof(info));
  info.size = sizeof(info);
  column = vecdb_column_find(t->coll, name);
  if( column<0 ){
    return vdb_sql_fail(err, SQLITE_ERROR, "vecdb_multi: no column \"%s\"",
                        name);
  }
  rc = vecdb_column_describe(t->coll, column, &info);
  if( rc!=VECDB_OK ) return vdb_conn_error(t->conn, rc, err);
  if( info.type!=VECDB_VECTOR ){
    return vdb_sql_fail(err, SQLITE_ERROR, "vecdb_multi: column \"%s\" is no "
                        "vector", name);
  }
  rc = vecdb_vector_parse((int)info.element, z, strlen(z), NULL, 0, &dims,
                          message, sizeof(message));
  if( rc!=VECDB_OK ){
    return vdb_sql_fail(err, SQLITE_ERROR, "vecdb_multi: query of \"%s\": %s",
                        name, message);
  }
  sz = vecdb_vector_bytes((int)info.element, dims);
  v = sqlite3_malloc64(sz ? sz : 1);
  if( v==NULL ) return SQLITE_NOMEM;
  *p = (vecdb_query_part){ sizeof(*p), column, (uint32_t)info.element, 0,
                           sqlite3_column_double(s, 2), v, sz };
  q->n_part++;
  rc = vecdb_vector_parse((int)info.element, z, strlen(z), v, sz, &dims,
                          message, sizeof(message));
  return rc==VECDB_OK ? SQLITE_OK
       : vdb_sql_fail(err, SQLITE_ERROR, "vecdb_multi: query of \"%s\": %s",
                      name, message);
}

static int parts_take(struct sql_table *t, struct multi_query *q,
                      sqlite3_value *json, char **err){
  struct sql_state *st = t->st;
  sqlite3_stmt *s = NULL;
  int rc;
  SQL_TRY( json_prepare(st,
      "SELECT json_extract(value,'$.column'), json_extract(value,'$.query'), "
      "coalesce(json_extract(value,'$.weight'), 1), "
      "(SELECT key FROM json_each(p.value) "
      "WHERE key NOT IN ('column','query','weight') LIMIT 1) "
      "FROM json_each(?1, '$.parts') AS p", json, &s, err) );
  while( (rc = sqlite3_step(s))==SQLITE_ROW ){
    SQL_TRY( part_take(t, q, s, err) );
  }
  rc = rows_end(st, rc, err);
done:
  sqlite3_finalize(s);
  return rc;
}

/* A missing or misshapen argument would else read as one of no parts. */
static int json_check(struct sql_state *st, sqlite3_value *json, char **err){
  sqlite3_stmt *s = NULL;
  int rc;
  SQL_TRY( json_prepare(st, "SELECT json_type(?1) IS 'object', "
      "coalesce(json_type(?1, '$.parts'), 'array')='array'", json, &s, err) );
  rc = sqlite3_step(s);
  if( rc!=SQLITE_ROW ){
    rc = vdb_sql_fail(err, rc, "vecdb_multi: %s", sqlite3_errmsg(st->db));
  }else if( !sqlite3_column_int(s, 0) ){
    rc = vdb_sql_fail(err, SQLITE_ERROR, "vecdb_multi: the second argument "
                      "must be a JSON object");
  }else if( !sqlite3_column_int(s, 1) ){
    rc = vdb_sql_fail(err, SQLITE_ERROR, "vecdb_multi: \"parts\" must be an "
                      "array of objects");
  }else{
    rc = SQLITE_OK;
  }
done:
  sqlite3_finalize(s);
  return rc;
}

/* ---- The search ---------------------------------------------------------- */

static int row_add(struct sql_rows *r, vecdb_stmt *s){
  int rc;
  SQL_TRY( vdb_rows_begin(r) );
  if( vecdb_column_type(s, 0)==VECDB_TEXT ){
    SQL_TRY( vdb_rows_text(r, 0, vecdb_column_text(s, 0)) );
  }else{
    SQL_TRY( vdb_rows_int(r, 0, vecdb_column_int64(s, 0)) );
  }
  rc = vdb_rows_real(r, 1, vecdb_row_distance(s));
done:
  return rc;
}

static int search_run(struct sql_rows *r, struct sql_table *t,
                      const struct multi_query *q, char **err){
  vecdb_stmt *s = NULL;
  int rc = vecdb_prepare_search_multi(t->coll, &q->opt, q->part, q->n_part, &s);
  while( rc==VECDB_OK && (rc = vecdb_step(s))==VECDB_ROW ){
    rc = row_add(r, s);
    if( rc!=SQLITE_OK ){
      vecdb_finalize(s);
      return rc;
    }
  }
  if( rc==VECDB_DONE ) rc = VECDB_OK;
  if( rc!=VECDB_OK ) rc = vdb_conn_error(t->conn, rc, err);
  vecdb_finalize(s);
  return rc;
}

static int multi_fill(struct sql_rows *r, int argc, sqlite3_value **argv,
                      char **err){
  struct multi_query q = { .opt = VECDB_SEARCH_OPTIONS_INIT };
  struct sql_state *st = vdb_rows_state(r);
  const char *name = (const char*)sqlite3_value_text(argv[0]);
  struct sql_table *t;
  int rc;
  (void)argc;
  SQL_TRY( vdb_table_find(st, name ? name : "", &t, err) );
  SQL_TRY( json_check(st, argv[1], err) );
  SQL_TRY( options_take(st, &q, argv[1], err) );
  SQL_TRY( parts_take(t, &q, argv[1], err) );
  SQL_TRY( vdb_conn_begin_read(t->conn, err) );
  rc = search_run(r, t, &q, err);
  vdb_conn_end_read(t->conn);
done:
  query_clear(&q);
  return rc;
}

const struct rows_def vdb_multi_def = {
  "vecdb_multi", "CREATE TABLE x(id, distance REAL, \"table\" HIDDEN, "
  "args HIDDEN)", 2, 2, 2, multi_fill
};
