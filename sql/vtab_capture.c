/* vtab_capture.c -- an opt-in ring of the queries a table is asked.
**
**   INSERT INTO t(t) VALUES('capture=1000')   keep the last 1,000; 0: none
**   vecdb_queries(t)                          what is kept
**
** A connection keeps in memory what it is asked, as a reader must not write.
** The next transaction of the connection that changes the table takes it along,
** into a collection of the same file, "vecdb_queries_" and the table's name;
** each further vector column N has one of its own, "vecdb_queries/N_" and the
** name. Row 0 says the capacity (n_near) and where the ring goes on (ef), row i
** is slot i of the ring. What a connection that never writes was asked is lost
** when it closes. Connections notice that capture was switched on or off when
** they connect the table; the one that ran the command at once.
**
** Kept are queries with a bound on the number of rows. Filters become text,
** values written in; those with a BLOB and restrictions to a set of keys are
** not kept.
*/
#include "sql/vtab_audit.h"

#include <stdlib.h>
#include <time.h>

enum { CAPTURE_MAX = 100000 };
enum { COL_ID, COL_V, COL_AT, COL_K, COL_EF, COL_FILTER };

struct captured {
  unsigned char *vec;
  char *filter;               /* NULL: none */
  int64_t at, k;
  uint32_t ef;
};

struct sql_capture {          /* of one vector column */
  struct sql_capture *other;  /* of the next one */
  int column;                 /* -1: capture is off */
  int n_max, n, next;         /* ring: n of n_max are used, next is written */
  struct captured *ring;
};

static void captured_clear(struct captured *q){
  sqlite3_free(q->vec);
  sqlite3_free(q->filter);
  memset(q, 0, sizeof(*q));
}

void vdb_capture_free(struct sql_capture *p){
  int i;
  while( p ){
    struct sql_capture *other = p->other;
    for(i=0; p->ring && i<p->n_max; i++) captured_clear(&p->ring[i]);
    sqlite3_free(p->ring);
    sqlite3_free(p);
    p = other;
  }
}

/* ---- The collection ----------------------------------------------------- */

static int is_vector(const struct sql_table *t, int column){
  return t->cols[column].info.role==VECDB_ROLE_VECTOR;
}

static char *queries_name(struct sql_table *t, int column){
  if( column==vdb_audit_column(t, NULL, NULL) ){
    return sqlite3_mprintf("vecdb_queries_%s", t->collection);
  }
  return sqlite3_mprintf("vecdb_queries/%d_%s", column, t->collection);
}

static int queries_open(struct sql_table *t, int column,
                        vecdb_collection **out){
  char *name = queries_name(t, column);
  int rc = name ? vecdb_collection_open(t->conn->eng, name, out)
                : VECDB_NOMEM;
  sqlite3_free(name);
  return rc;
}

static int queries_create(struct sql_table *t, int column,
                          vecdb_collection **out){
  char *name = queries_name(t, column);
  char *schema = sqlite3_mprintf("id integer primary key, v %s index=flat, at "
      "int, n_near int, ef int, +filter text", t->cols[column].info.decl);
  int rc = name && schema
         ? vecdb_create_collection(t->conn->eng, name, schema) : VECDB_NOMEM;
  if( rc==VECDB_OK ) rc = vecdb_collection_open(t->conn->eng, name, out);
  sqlite3_free(schema);
  sqlite3_free(name);
  return rc;
}

/* Write row id; q NULL: row 0, the ring's capacity and position. */
static int row_put(struct sql_capture *p, struct sql_table *t, vecdb_stmt *s,
                   int64_t id, const struct captured *q, int64_t capacity,
                   int64_t next){
  const vecdb_column_info *ci = &t->cols[p->column].info;
  int rc;
  vecdb_reset(s);
  vecdb_clear_bindings(s);
  vecdb_bind_int64(s, COL_ID, id);
  vecdb_bind_int64(s, COL_AT, q ? q->at : 0);
  vecdb_bind_int64(s, COL_K, q ? q->k : capacity);
  vecdb_bind_int64(s, COL_EF, q ? (int64_t)q->ef : next);
  if( q && q->filter ){
    vecdb_bind_text(s, COL_FILTER, q->filter, (size_t)-1, VECDB_STATIC);
  }
  if( q ){
    rc = vecdb_bind_vector(s, COL_V, (int)ci->element, q->vec,
                           ci->vector_bytes, VECDB_STATIC);
  }else{
    void *zero = sqlite3_malloc64(ci->vector_bytes);
    if( zero==NULL ) return VECDB_NOMEM;
    memset(zero, 0, ci->vector_bytes);
    rc = vecdb_bind_vector(s, COL_V, (int)ci->element, zero, ci->vector_bytes,
                           VECDB_TRANSIENT);
    sqlite3_free(zero);
  }
  if( rc==VECDB_OK ) rc = vecdb_step(s);
  return rc==VECDB_DONE ? VECDB_OK : rc;
}

/* Row 0: VECDB_NOTFOUND when there is none. */
static int ring_read(vecdb_collection *c, int64_t *capacity, int64_t *next){
  vecdb_stmt *s = NULL;
  int rc = vecdb_prepare_get(c, &s);
  if( rc==VECDB_OK ) rc = vecdb_bind_int64(s, VECDB_KEY, 0);
  if( rc==VECDB_OK ) rc = vecdb_step(s);
  if( rc==VECDB_ROW ){
    *capacity = vecdb_column_int64(s, COL_K);
    *next = vecdb_column_int64(s, COL_EF);
    rc = *capacity>0 && *capacity<=CAPTURE_MAX ? VECDB_OK : VECDB_CORRUPT;
  }
  vecdb_finalize(s);
  return rc;
}

/* ---- Switching ---------------------------------------------------------- */

/* A ring for a column, before the others. */
static int ring_begin(struct sql_table *t, int column, int n_max){
  struct sql_capture *p = sqlite3_malloc(sizeof(*p));
  if( p==NULL ) return SQLITE_NOMEM;
  memset(p, 0, sizeof(*p));
  p->column = column;
  p->n_max = n_max;
  if( n_max>0 ){
    p->ring = sqlite3_malloc64(sizeof(*p->ring)*(size_t)n_max);
    if( p->ring==NULL ){
      sqlite3_free(p);
      return SQLITE_NOMEM;
    }
    memset(p->ring, 0, sizeof(*p->ring)*(size_t)n_max);
  }
  p->other = t->capture;
  t->capture = p;
  return SQLITE_OK;
}

/* A ring for each vector column; n_max 0: capture is off. */
static int capture_begin(struct sql_table *t, int n_max){
  int i, rc = SQLITE_OK;
  vdb_capture_free(t->capture);
  t->capture = NULL;
  if( n_max==0 ) return ring_begin(t, -1, 0);
  for(i=t->n_col-1; i>=0 && rc==SQLITE_OK; i--){
    if( is_vector(t, i) ) rc = ring_begin(t, i, n_max);
  }
  return rc;
}

/* The first search asks the file. */
static void capture_look(struct sql_table *t){
  vecdb_collection *c = NULL;
  int64_t capacity = 0, next = 0;
  int rc = queries_open(t, vdb_audit_column(t, NULL, NULL), &c);
  if( rc==VECDB_OK ) rc = ring_read(c, &capacity, &next);
  vecdb_collection_close(c);
  if( rc==VECDB_OK ) capture_begin(t, (int)capacity);
  else if( rc==VECDB_NOTFOUND ) capture_begin(t, 0);
}

static int capture_off(struct sql_table *t){
  int i;
  for(i=0; i<t->n_col; i++){
    char *name = is_vector(t, i) ? queries_name(t, i) : NULL;
    int rc = name ? vecdb_drop_collection(t->conn->eng, name)
                  : is_vector(t, i) ? VECDB_NOMEM : VECDB_OK;
    sqlite3_free(name);
    if( rc!=VECDB_OK && rc!=VECDB_NOTFOUND ) return vdb_table_error(t, rc);
  }
  vdb_conn_changed(t->conn);
  return capture_begin(t, 0);
}

/* The collection of a ring, which does not exist. */
static int ring_create(struct sql_table *t, struct sql_capture *p,
                       vecdb_collection **out){
  vecdb_stmt *s = NULL;
  int rc = queries_create(t, p->column, out);
  if( rc==VECDB_OK ) rc = vecdb_prepare_insert(*out, 0, &s);
  if( rc==VECDB_OK ) rc = row_put(p, t, s, 0, NULL, p->n_max, 0);
  vecdb_finalize(s);
  return rc;
}

/* A ring of another size begins anew. */
static int capture_on(struct sql_table *t, int n){
  struct sql_capture *p;
  int rc = capture_off(t);
  if( rc==SQLITE_OK ) rc = capture_begin(t, n);
  for(p=t->capture; rc==SQLITE_OK && p; p=p->other){
    vecdb_collection *c = NULL;
    rc = ring_create(t, p, &c);
    if( rc!=VECDB_OK ) rc = vdb_table_error(t, rc);
    vecdb_collection_close(c);
  }
  return rc;
}

int vdb_command_capture(struct sql_table *t, const char *value){
  char *end;
  long n = strtol(value, &end, 10);
  if( end==value || *end || n<0 || n>CAPTURE_MAX ){
    return vdb_table_set_error(t, SQLITE_ERROR, sqlite3_mprintf(
        "capture= takes a number of queries, 0 to %d, found \"%s\"",
        CAPTURE_MAX, value));
  }
  return n==0 ? capture_off(t) : capture_on(t, (int)n);
}

/* ---- Taking a query ----------------------------------------------------- */

/* Append v as a literal; 0: it has none in the filter language. */
static int literal_append(sqlite3_str *s, sqlite3_value *v){
  switch( sqlite3_value_type(v) ){
    case SQLITE_INTEGER:
      sqlite3_str_appendf(s, "%lld", sqlite3_value_int64(v));
      return 1;
    case SQLITE_FLOAT:
      sqlite3_str_appendf(s, "%!.17g", sqlite3_value_double(v));
      return 1;
    case SQLITE_TEXT:
      sqlite3_str_appendf(s, "%Q", sqlite3_value_text(v));
      return 1;
    case SQLITE_NULL:
      sqlite3_str_appendall(s, "NULL");
      return 1;
    default:
      return 0;
  }
}

/* The text with its parameters ?1.. written in; NULL when that cannot be. */
static char *filter_literal(const char *z, const struct sql_bound *b){
  sqlite3_str *s = sqlite3_str_new(NULL);
  char quote = 0, *text;
  int ok = 1;
  while( *z && ok ){
    char *end;
    long i = !quote && *z=='?' ? strtol(z + 1, &end, 10) : 0;
    if( i>0 ){
      ok = i<=b->n && literal_append(s, b->v[i-1]);
      z = end;
      continue;
    }
    if( quote ? *z==quote : *z=='\'' || *z=='"' ) quote = quote ? 0 : *z;
    sqlite3_str_appendchar(s, 1, *z++);
  }
  text = sqlite3_str_finish(s);
  if( ok ) return text;
  sqlite3_free(text);
  return NULL;
}

/* The bytes of the query in the column's type; NULL when it needs converting
** that is not done here. */
static unsigned char *query_bytes(const struct sql_table *t, int column,
                                  sqlite3_value *v){
  const vecdb_column_info *ci = &t->cols[column].info;
  unsigned char *p = sqlite3_malloc64(ci->vector_bytes);
  size_t dims = 0;
  int ok = 0;
  if( p && sqlite3_value_type(v)==SQLITE_TEXT ){
    const char *z = (const char*)sqlite3_value_text(v);
    ok = z && vecdb_vector_parse((int)ci->element, z,
                                 (size_t)sqlite3_value_bytes(v), p,
                                 ci->vector_bytes, &dims, NULL, 0)==VECDB_OK;
  }else if( p && sqlite3_value_type(v)==SQLITE_BLOB
         && (size_t)sqlite3_value_bytes(v)==ci->vector_bytes ){
    memcpy(p, sqlite3_value_blob(v), ci->vector_bytes);
    ok = 1;
  }
  if( ok ) return p;
  sqlite3_free(p);
  return NULL;
}

void vdb_capture_query(struct sql_table *t, int column, int64_t k, uint32_t ef,
                       const char *filter, const struct sql_bound *b,
                       sqlite3_value *query){
  struct sql_capture *p;
  struct captured q;

  if( t->capture==NULL ) capture_look(t);
  for(p=t->capture; p && p->column!=column; ) p = p->other;
  if( p==NULL || k<=0 || b->has_keys ) return;
  memset(&q, 0, sizeof(q));
  q.at = (int64_t)time(NULL);
  q.k = k;
  q.ef = ef;
  if( filter ) q.filter = filter_literal(filter, b);
  q.vec = query_bytes(t, column, query);
  if( q.vec==NULL || (filter && q.filter==NULL) ){
    captured_clear(&q);
    return;
  }
  captured_clear(&p->ring[p->next]);
  p->ring[p->next] = q;
  p->next = (p->next + 1)%p->n_max;
  if( p->n<p->n_max ) p->n++;
}

/* ---- Writing ------------------------------------------------------------ */

/* Oldest first. */
static int ring_write(struct sql_table *t, struct sql_capture *p,
                      vecdb_collection *c){
  int64_t capacity = 0, at = 0;
  vecdb_stmt *s = NULL;
  int i, rc = ring_read(c, &capacity, &at);

  if( rc==VECDB_OK ) rc = vecdb_prepare_insert(c, VECDB_OR_REPLACE, &s);
  for(i=0; i<p->n && rc==VECDB_OK; i++){
    int slot = (p->next - p->n + i + p->n_max)%p->n_max;
    rc = row_put(p, t, s, 1 + at, &p->ring[slot], 0, 0);
    at = (at + 1)%capacity;
  }
  if( rc==VECDB_OK ) rc = row_put(p, t, s, 0, NULL, capacity, at);
  vecdb_finalize(s);
  return rc;
}

/* Files of versions that kept the first column alone lack the other rings. */
static void ring_flush(struct sql_table *t, struct sql_capture *p){
  vecdb_collection *c = NULL;
  int i, rc = queries_open(t, p->column, &c);
  if( rc==VECDB_NOTFOUND ) rc = ring_create(t, p, &c);
  if( rc==VECDB_OK ) ring_write(t, p, c);
  vecdb_collection_close(c);
  for(i=0; i<p->n_max; i++) captured_clear(&p->ring[i]);
  p->n = p->next = 0;
}

/* What cannot be written is let go: the transaction is worth more. */
void vdb_capture_flush(struct sql_table *t){
  struct sql_capture *p;
  if( !t->conn->in_txn || !t->conn->is_dirty || t->conn->is_prepared ) return;
  for(p=t->capture; p; p=p->other) if( p->n>0 ) ring_flush(t, p);
}

/* ---- Reading ------------------------------------------------------------ */

/* Call fn for each kept query of a column, in the file, then in memory. */
static int queries_each(struct sql_table *t, int column, void *arg,
                        int (*fn)(void *arg, const unsigned char *vec,
                                  int64_t at, int64_t k, uint32_t ef,
                                  const char *filter)){
  struct sql_capture *p = t->capture;
  vecdb_collection *c = NULL;
  vecdb_stmt *s = NULL;
  int i, rc = queries_open(t, column, &c);

  while( p && p->column!=column ) p = p->other;
  if( rc==VECDB_OK ) rc = vecdb_prepare_scan(c, "id > 0", &s);
  while( rc==VECDB_OK && (rc = vecdb_step(s))==VECDB_ROW ){
    const unsigned char *v = vecdb_column_vector(s, COL_V, NULL);
    rc = v ? fn(arg, v, vecdb_column_int64(s, COL_AT),
                vecdb_column_int64(s, COL_K),
                (uint32_t)vecdb_column_int64(s, COL_EF),
                vecdb_column_type(s, COL_FILTER)==VECDB_NULL ? NULL
                : vecdb_column_text(s, COL_FILTER))
           : vecdb_column_errcode(s);
  }
  if( rc==VECDB_DONE || rc==VECDB_NOTFOUND ) rc = VECDB_OK;
  for(i=0; p && i<p->n && rc==VECDB_OK; i++){
    const struct captured *q = &p->ring[(p->next - p->n + i + p->n_max)
                                        %p->n_max];
    rc = fn(arg, q->vec, q->at, q->k, q->ef, q->filter);
  }
  vecdb_finalize(s);
  vecdb_collection_close(c);
  return rc;
}

static int audit_take(void *arg, const unsigned char *vec, int64_t at,
                      int64_t k, uint32_t ef, const char *filter){
  struct audit *a = arg;
  (void)at; (void)k; (void)ef;
  if( a->n>=a->n_max ) return VECDB_OK;
  memcpy(a->vec + (size_t)a->n*a->sz, vec, a->sz);
  if( filter ){
    a->filter[a->n] = vdb_sql_strdup(filter);
    if( a->filter[a->n]==NULL ) return VECDB_NOMEM;
  }
  a->n++;
  return VECDB_OK;
}

int vdb_capture_audit(struct sql_table *t, struct audit *a){
  return queries_each(t, a->column, a, audit_take);
}

struct list { struct sql_rows *r; const vecdb_column_info *ci; };

static int list_take(void *arg, const unsigned char *vec, int64_t at,
                     int64_t k, uint32_t ef, const char *filter){
  struct list *l = arg;
  char *z = NULL;
  int rc = vecdb_vector_print((int)l->ci->element, l->ci->dims, vec, &z);
  if( rc!=VECDB_OK ) return rc;
  if( vdb_rows_begin(l->r)!=SQLITE_OK
   || vdb_rows_int(l->r, 0, at)!=SQLITE_OK
   || vdb_rows_text(l->r, 1, z)!=SQLITE_OK
   || vdb_rows_int(l->r, 2, k)!=SQLITE_OK
   || vdb_rows_int(l->r, 3, ef)!=SQLITE_OK
   || vdb_rows_text(l->r, 4, filter)!=SQLITE_OK
   || vdb_rows_text(l->r, 5, l->ci->name)!=SQLITE_OK ) rc = VECDB_NOMEM;
  vecdb_free(z);
  return rc;
}

static int queries_fill(struct sql_rows *r, int argc, sqlite3_value **argv,
                        char **err){
  const char *name = (const char*)sqlite3_value_text(argv[0]);
  struct sql_table *t;
  struct list l;
  int rc, i;

  (void)argc;
  SQL_TRY( vdb_table_find(vdb_rows_state(r), name ? name : "", &t, err) );
  SQL_TRY( vdb_conn_begin_read(t->conn, err) );
  l.r = r;
  for(i=0, rc=VECDB_OK; i<t->n_col && rc==VECDB_OK; i++){
    l.ci = &t->cols[i].info;
    if( is_vector(t, i) ) rc = queries_each(t, i, &l, list_take);
  }
  rc = rc==VECDB_OK ? SQLITE_OK : vdb_conn_error(t->conn, rc, err);
  vdb_conn_end_read(t->conn);
done:
  return rc;
}

const struct rows_def vdb_queries_def = {
  "vecdb_queries", "CREATE TABLE x(at INTEGER, query TEXT, k INTEGER, "
  "ef INTEGER, filter TEXT, \"column\" TEXT, \"table\" HIDDEN)",
  6, 1, 1, queries_fill
};
