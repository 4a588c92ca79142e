/* vtab_filter.c -- xFilter and xNext: a plan and its values become engine
** statements.
**
** A cursor holds one statement: a get (POINT), a scan, or a search. When the
** same plan runs again with other values, as in a join, the statement is
** kept and only bound anew. SQLite opens a cursor for each run of its
** statement, so the search of one that is closed stays with the table, for the
** next that asks for the same.
**
** STREAMS  Without k, and without a LIMIT that SQLite shows: vtab_stream.c.
*/
#include "sql/vtab_int.h"

/* ---- Cursor ------------------------------------------------------------- */

static struct sql_table *cursor_table(struct sql_cursor *c){
  return (struct sql_table*)c->base.pVtab;
}

/* Drop the statement: after an error, or when another plan comes. */
static void cursor_drop_stmt(struct sql_cursor *c){
  vecdb_finalize(c->stmt);
  c->stmt = NULL;
  sqlite3_free(c->signature);
  c->signature = NULL;
}

static void cursor_end_rows(struct sql_cursor *c){
  struct sql_table *t = cursor_table(c);
  int i;
  c->is_eof = 1;
  if( c->stmt ) vecdb_reset(c->stmt);
  vdb_mmr_free(c->mmr);
  c->mmr = NULL;
  vdb_stream_end(c);
  for(i=0; i<HID_N; i++){
    sqlite3_value_free(c->echo[i]);
    c->echo[i] = NULL;
  }
  if( c->is_reading ){
    c->is_reading = 0;
    vdb_conn_end_read(t->conn);
  }
}

void vdb_cursor_reset(struct sql_cursor *c){
  struct sql_table *t = cursor_table(c);
  cursor_end_rows(c);
  if( c->signature && c->signature[0]=='K' && c->stmt ){
    vecdb_finalize(t->search);
    sqlite3_free(t->search_signature);
    t->search = c->stmt;
    t->search_signature = c->signature;
    c->stmt = NULL;
    c->signature = NULL;
  }
  cursor_drop_stmt(c);
}

/* The statement failed. */
static int cursor_failed(struct sql_cursor *c, int engine_rc){
  int rc = vdb_table_error(cursor_table(c), engine_rc);
  c->is_eof = 1;
  cursor_drop_stmt(c);
  return rc;
}

/* ---- Searches ----------------------------------------------------------- */

/* What the hidden columns show, and what SQLite compares them with. */
static int cursor_echo(struct sql_cursor *c, int hid, sqlite3_value *v){
  sqlite3_value_free(c->echo[hid]);
  c->echo[hid] = sqlite3_value_dup(v);
  return c->echo[hid] ? SQLITE_OK : SQLITE_NOMEM;
}

static int cursor_echo_plan(struct sql_cursor *c, const struct plan *p,
                            sqlite3_value **argv){
  static const int hid_of_hint[HINT_N] = {
    HID_EF, HID_RECALL, HID_EXACT, HID_MMR, HID_ARGS
  };
  int i, rc = SQLITE_OK;
  if( p->i_query>=0 ) SQL_TRY( cursor_echo(c, HID_TABLE, argv[p->i_query]) );
  if( p->i_bound[0]>=0 ) SQL_TRY( cursor_echo(c, HID_K, argv[p->i_bound[0]]) );
  for(i=0; i<HINT_N; i++){
    if( p->i_hint[i]<0 ) continue;
    SQL_TRY( cursor_echo(c, hid_of_hint[i], argv[p->i_hint[i]]) );
  }
  for(i=0; i<p->n_term; i++){
    if( p->terms[i].section!=SECT_EXPR ) continue;
    SQL_TRY( cursor_echo(c, HID_FILTER, argv[p->terms[i].i_con]) );
  }
done:
  return rc;
}

static int add_terms(struct sql_table *t, const struct plan *p,
                     sqlite3_value **argv, struct sql_request *q,
                     struct sql_bound *b){
  int i, rc = SQLITE_OK;
  for(i=0; i<p->n_term && rc==SQLITE_OK; i++){
    const struct plan_term *term = &p->terms[i];
    sqlite3_value *v = argv[term->i_con];
    if( term->section==SECT_DISTANCE ){
      vdb_request_distance(q, term->op, v);
    }else if( term->section==SECT_EXPR ){
      const char *z = (const char*)sqlite3_value_text(v);
      if( z ) rc = vdb_term_add_expr(t, z, b); else q->is_empty = 1;
    }else{
      rc = vdb_term_add(t, term, v, b, &q->is_empty);
    }
  }
  return rc;
}

/* *at becomes a copy of z. Searches that follow each other are mostly alike. */
static void text_keep(char **at, const char *z){
  if( *at && z && strcmp(*at, z)==0 ) return;
  sqlite3_free(*at);
  *at = z ? vdb_sql_strdup(z) : NULL;
}

static int is_name_of(const struct sql_table *t, const char *z){
  size_t n = strlen(t->schema);
  return z && strncmp(z, t->schema, n)==0 && z[n]=='.'
      && strcmp(z+n+1, t->name)==0;
}

static void last_query(struct sql_table *t, const char *plan,
                       const char *filter, sqlite3_int64 k, int is_exact){
  struct sql_last *l = &t->st->last;
  text_keep(&l->plan, plan);
  text_keep(&l->filter, filter);
  if( !is_name_of(t, l->table) ){
    sqlite3_free(l->table);
    l->table = sqlite3_mprintf("%s.%s", t->schema, t->name);
  }
  l->k = k;
  l->n_row = 0;
  l->n_run = 1;
  l->is_exact = is_exact;
  memset(&l->info, 0, sizeof(l->info));
}

/* Reuse the statement, or the table's, if it was prepared for the same text,
** else drop it. */
static int cursor_reuse(struct sql_cursor *c, char *signature){
  struct sql_table *t = cursor_table(c);
  if( signature==NULL ) return SQLITE_NOMEM;
  if( c->stmt && c->signature && strcmp(signature, c->signature)==0 ){
    sqlite3_free(signature);
    return SQLITE_OK;
  }
  cursor_drop_stmt(c);
  c->signature = signature;
  if( t->search && strcmp(signature, t->search_signature)==0 ){
    c->stmt = t->search;
    t->search = NULL;
    sqlite3_free(t->search_signature);
    t->search_signature = NULL;
  }
  return SQLITE_OK;
}

/* For signatures: printing the decimals of a number takes longer than much of
** a search. */
static sqlite3_uint64 real_bits(double x){
  sqlite3_uint64 u;
  memcpy(&u, &x, sizeof(u));
  return u;
}

static int prepare_search(struct sql_cursor *c, const struct sql_request *q,
                          sqlite3_int64 k, int is_exact, const char *filter){
  struct sql_table *t = cursor_table(c);
  vecdb_search_options opt = VECDB_SEARCH_OPTIONS_INIT;
  int rc;

  opt.flags = q->dist_flags | (is_exact ? VECDB_SEARCH_EXACT : 0);
  opt.column = q->column;
  opt.ef = q->ef;
  opt.k = (uint64_t)k;
  opt.recall = q->recall;
  opt.min_distance = q->dist_min;
  opt.max_distance = q->dist_max;
  opt.filter = filter;
  rc = cursor_reuse(c, sqlite3_mprintf("K%d|%x|%u|%llx|%llx|%llx|%s",
      opt.column, opt.flags, opt.ef, real_bits(opt.recall),
      real_bits(opt.min_distance), real_bits(opt.max_distance),
      filter ? filter : ""));
  if( rc!=SQLITE_OK ) return rc;
  if( c->stmt==NULL ){
    rc = vecdb_prepare_search(t->coll, &opt, &c->stmt);
  }else{
    rc = vecdb_search_set_k(c->stmt, opt.k);
  }
  return rc==VECDB_OK ? SQLITE_OK : cursor_failed(c, rc);
}

static int search_run(struct sql_cursor *c, const struct plan *p,
                      const char *idx_str, const struct sql_request *q,
                      struct sql_bound *b, sqlite3_value *query){
  struct sql_table *t = cursor_table(c);
  sqlite3_int64 k = q->k, k_run;
  int is_exact, is_stream, rc;
  char *filter = NULL;

  SQL_TRY( vdb_bound_finish(b, &filter) );
  if( k<0 || (q->limit>=0 && q->limit<k) ) k = q->limit;
  if( k==0 ) goto done;
  is_stream = k<0 && !(q->dist_flags & VECDB_SEARCH_HAS_MAX);
  is_exact = q->is_exact || p->path==PATH_EXACT
          || (k<0 && q->ef==0 && q->recall<=0);
  k_run = k>0 ? k : 0;
  if( is_stream ) SQL_TRY( vdb_stream_begin(c, !is_exact, &k_run) );
  if( q->mmr_lambda>=0 && k>0 ){
    k_run = k<=16 ? 64 : 4*k;
  }
  SQL_TRY( prepare_search(c, q, k_run, is_exact, filter) );
  SQL_TRY( vdb_bind_vector_value(t, c->stmt, VECDB_QUERY, q->column, "query",
                                 query, VECDB_TRANSIENT) );
  SQL_TRY( vdb_bound_bind(t, b, c->stmt) );
  last_query(t, idx_str, filter, k, is_exact);
  vdb_capture_query(t, q->column, k, q->ef, filter, b, query);
  c->is_eof = 0;
  if( q->mmr_lambda>=0 ){
    if( k<0 ){
      rc = vdb_table_set_error(t, SQLITE_ERROR,
                               sqlite3_mprintf("mmr_lambda needs k"));
    }else{
      rc = vdb_mmr_collect(c, k, q->mmr_lambda);
    }
    if( rc!=SQLITE_OK ) goto done;
  }
  rc = vdb_cursor_next(&c->base);
  t->st->last.info.size = sizeof(t->st->last.info);
  vecdb_last_search(t->conn->eng, &t->st->last.info);
done:
  sqlite3_free(filter);
  return rc;
}

static int cursor_search(struct sql_cursor *c, const struct plan *p,
                         const char *idx_str, sqlite3_value **argv){
  struct sql_table *t = cursor_table(c);
  struct sql_request q;
  struct sql_bound b;
  sqlite3_value *query = argv[p->i_query];
  int i, rc = SQLITE_OK;

  memset(&q, 0, sizeof(q));
  memset(&b, 0, sizeof(b));
  q.k = q.limit = -1;
  q.mmr_lambda = -1;
  q.column = p->col;
  SQL_TRY( vdb_request_bound(t, p, argv, &q) );
  for(i=0; i<HINT_N; i++){
    if( p->i_hint[i]<0 || i==HINT_ARGS ) continue;
    SQL_TRY( vdb_request_hint(t, &q, i, argv[p->i_hint[i]]) );
  }
  if( p->i_hint[HINT_ARGS]>=0 ){
    SQL_TRY( vdb_request_json(t, &q, &b, argv[p->i_hint[HINT_ARGS]]) );
  }
  SQL_TRY( add_terms(t, p, argv, &q, &b) );
  SQL_TRY( cursor_echo_plan(c, p, argv) );
  c->is_knn = 1;
  c->match_column = q.column;
  if( !q.is_empty && sqlite3_value_type(query)!=SQLITE_NULL ){
    rc = search_run(c, p, idx_str, &q, &b, query);
  }
done:
  vdb_bound_clear(&b);
  return rc;
}

/* ---- Other plans -------------------------------------------------------- */

static int cursor_point(struct sql_cursor *c, const char *idx_str,
                        sqlite3_value *key){
  struct sql_table *t = cursor_table(c);
  int rc, can_match = 0;

  rc = cursor_reuse(c, sqlite3_mprintf("P"));
  if( rc==SQLITE_OK && c->stmt==NULL ){
    rc = vecdb_prepare_get(t->coll, &c->stmt);
    if( rc!=VECDB_OK ) rc = cursor_failed(c, rc);
  }
  if( rc==SQLITE_OK ){
    rc = vdb_key_bind(t, c->stmt, VECDB_KEY, key, &can_match);
  }
  if( rc!=SQLITE_OK || !can_match ) return rc;
  last_query(t, idx_str, NULL, -1, 1);
  rc = vecdb_step(c->stmt);
  if( rc==VECDB_ROW ){
    c->is_eof = 0;
    t->st->last.n_row = 1;
  }else if( rc!=VECDB_DONE && rc!=VECDB_NOTFOUND ){
    return cursor_failed(c, rc);
  }
  return SQLITE_OK;
}

static int cursor_scan(struct sql_cursor *c, const struct plan *p,
                       const char *idx_str, sqlite3_value **argv){
  struct sql_table *t = cursor_table(c);
  struct sql_request q;
  struct sql_bound b;
  char *filter = NULL;
  int rc = SQLITE_OK;

  memset(&q, 0, sizeof(q));
  memset(&b, 0, sizeof(b));
  SQL_TRY( add_terms(t, p, argv, &q, &b) );
  SQL_TRY( cursor_echo_plan(c, p, argv) );
  if( q.is_empty ) goto done;
  SQL_TRY( vdb_bound_finish(&b, &filter) );
  SQL_TRY( cursor_reuse(c, sqlite3_mprintf("S%s", filter ? filter : "")) );
  if( c->stmt==NULL ){
    rc = vecdb_prepare_scan(t->coll, filter, &c->stmt);
    if( rc!=VECDB_OK ){
      rc = cursor_failed(c, rc);
      goto done;
    }
  }
  SQL_TRY( vdb_bound_bind(t, &b, c->stmt) );
  last_query(t, idx_str, filter, -1, 1);
  c->is_eof = 0;
  rc = vdb_cursor_next(&c->base);
done:
  sqlite3_free(filter);
  vdb_bound_clear(&b);
  return rc;
}

/* ---- xFilter and xNext -------------------------------------------------- */

int vdb_cursor_filter(sqlite3_vtab_cursor *cur, int idx_num,
                      const char *idx_str, int argc, sqlite3_value **argv){
  struct sql_cursor *c = (struct sql_cursor*)cur;
  struct sql_table *t = cursor_table(c);
  struct plan p;
  int rc;

  (void)argc;
  cursor_end_rows(c);
  c->is_knn = 0;
  c->n_row = 0;
  rc = vdb_plan_decode(t, idx_num, idx_str, &p);
  if( rc!=SQLITE_OK ) return rc;
  rc = vdb_conn_begin_read(t->conn, &t->base.zErrMsg);
  if( rc==SQLITE_OK ){
    c->is_reading = 1;
    if( p.kind==PLAN_KNN || p.kind==PLAN_WITHIN ){
      rc = cursor_search(c, &p, idx_str, argv);
    }else if( p.kind==PLAN_POINT ){
      rc = cursor_point(c, idx_str, argv[0]);
    }else{
      rc = cursor_scan(c, &p, idx_str ? idx_str : "SCAN", argv);
    }
  }
  if( rc!=SQLITE_OK ) cursor_drop_stmt(c);
  vdb_plan_clear(&p);
  return rc;
}

int vdb_cursor_next(sqlite3_vtab_cursor *cur){
  struct sql_cursor *c = (struct sql_cursor*)cur;
  int rc = SQLITE_OK;

  if( c->mmr ){
    rc = vdb_mmr_next(c, &c->is_eof);
  }else if( c->stmt==NULL || (c->signature && c->signature[0]=='P') ){
    c->is_eof = 1;                     /* a point has one row */
  }else if( c->stream ){
    int e;
    rc = vdb_stream_next(c, &e);
    if( e!=VECDB_OK ) return cursor_failed(c, e);
  }else{
    int e = vecdb_step(c->stmt);
    if( e==VECDB_ROW ){
      if( c->is_knn ) c->distance = vecdb_row_distance(c->stmt);
    }else if( e==VECDB_DONE ){
      c->is_eof = 1;
    }else{
      return cursor_failed(c, e);
    }
  }
  if( rc==SQLITE_OK && !c->is_eof ){
    c->n_row++;
    cursor_table(c)->st->last.n_row++;
  }
  return rc;
}
