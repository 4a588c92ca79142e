/* vtab_info.c -- what vecdb says about itself, and searches by function call.
**
** Tables   vecdb_stats(t), vecdb_check(t [,'quick']), vecdb_last_query,
**          vecdb_knn(t, query, k [,json]), vecdb_within(t, query, d [,json])
** Scalars  vecdb_version, vecdb_config, vecdb_resolve, vecdb_rrf,
**          vecdb_not_in, vecdb_not_like
*/
#include "sql/vtab_int.h"

static const char *arg_text(sqlite3_value *v){
  const char *z = (const char*)sqlite3_value_text(v);
  return z ? z : "";
}

/* ---- vecdb_stats -------------------------------------------------------- */

static int add_number(struct sql_rows *r, const char *key, uint64_t n){
  int rc = vdb_rows_begin(r);
  if( rc==SQLITE_OK ) rc = vdb_rows_text(r, 0, key);
  if( rc==SQLITE_OK ) rc = vdb_rows_int(r, 1, (sqlite3_int64)n);
  return rc;
}

static int add_text(struct sql_rows *r, const char *key, const char *z){
  int rc = vdb_rows_begin(r);
  if( rc==SQLITE_OK ) rc = vdb_rows_text(r, 0, key);
  if( rc==SQLITE_OK ) rc = vdb_rows_text(r, 1, z);
  return rc;
}

static int add_real(struct sql_rows *r, const char *key, double x){
  char z[32];
  sqlite3_snprintf(sizeof(z), z, "%.4g", x);
  return add_text(r, key, z);
}

/* What the thread behind the file does; nothing where none was asked for. */
static int add_background(struct sql_rows *r, vecdb *db){
  vecdb_background_info b;
  int rc;

  memset(&b, 0, sizeof(b));
  b.size = sizeof(b);
  rc = vecdb_background(db, &b);
  if( rc!=VECDB_OK ) return vdb_sql_code(rc);
  if( b.state==VECDB_BACKGROUND_NONE ) return SQLITE_OK;
  if( b.rc!=VECDB_OK ) return add_text(r, "background", b.message);
  return add_text(r, "background",
                  b.state==VECDB_BACKGROUND_BUSY ? "busy" : "idle");
}

static int stats_fill(struct sql_rows *r, int argc, sqlite3_value **argv,
                      char **err){
  struct sql_table *t;
  vecdb_collection_stats cs;
  vecdb_stats ds;
  int rc;

  (void)argc;
  memset(&cs, 0, sizeof(cs));
  memset(&ds, 0, sizeof(ds));
  cs.size = sizeof(cs);
  ds.size = sizeof(ds);
  SQL_TRY( vdb_table_find(vdb_rows_state(r), arg_text(argv[0]), &t, err) );
  rc = vecdb_collection_stat(t->coll, &cs);
  if( rc==VECDB_OK ) rc = vecdb_stat(t->conn->eng, &ds);
  if( rc!=VECDB_OK ) return vdb_conn_error(t->conn, rc, err);
  SQL_TRY( add_text(r, t->is_hosted ? "database" : "file",
                    t->is_hosted ? t->schema : t->conn->path) );
  SQL_TRY( add_text(r, "collection", t->collection) );
  SQL_TRY( add_text(r, "schema", vecdb_collection_schema(t->coll)) );
  SQL_TRY( add_number(r, "rows", cs.n_row) );
  SQL_TRY( add_number(r, "slots", cs.n_slot) );
  SQL_TRY( add_number(r, "unmerged", cs.n_delta) );
  SQL_TRY( add_number(r, "tombstones", cs.n_tombstone) );
  SQL_TRY( add_number(r, "segments", cs.n_segment) );
  SQL_TRY( add_number(r, "extents", cs.n_extent) );
  SQL_TRY( add_number(r, "vector_bytes", cs.vector_bytes) );
  SQL_TRY( add_number(r, "graphs", cs.n_graph) );
  SQL_TRY( add_number(r, "graph_rows", cs.n_graph_row) );
  SQL_TRY( add_number(r, "graph_bytes", cs.graph_bytes) );
  SQL_TRY( add_number(r, "file_bytes", ds.file_bytes) );
  SQL_TRY( add_number(r, "wal_bytes", ds.wal_bytes) );
  SQL_TRY( add_number(r, "pages", ds.n_page) );
  SQL_TRY( add_number(r, "free_pages", ds.n_free_page) );
  SQL_TRY( add_background(r, t->conn->eng) );
done:
  return rc;
}

static const struct rows_def stats_def = {
  "vecdb_stats", "CREATE TABLE x(key TEXT, value, \"table\" HIDDEN)",
  2, 1, 1, stats_fill
};

/* ---- vecdb_check -------------------------------------------------------- */

struct check_report {
  struct sql_rows *r;
  int rc;
};

static void check_add(void *arg, int severity, const char *object,
                      const char *message){
  static const char *const name[] = { "note", "waste", "damage" };
  struct check_report *c = arg;
  if( c->rc==SQLITE_OK ) c->rc = vdb_rows_begin(c->r);
  if( c->rc==SQLITE_OK ){
    c->rc = vdb_rows_text(c->r, 0, name[severity<0 || severity>2 ? 2
                                        : severity]);
  }
  if( c->rc==SQLITE_OK ) c->rc = vdb_rows_text(c->r, 1, object);
  if( c->rc==SQLITE_OK ) c->rc = vdb_rows_text(c->r, 2, message);
}

static int check_fill(struct sql_rows *r, int argc, sqlite3_value **argv,
                      char **err){
  struct check_report report = { r, SQLITE_OK };
  struct sql_table *t;
  int rc, quick = 0;

  SQL_TRY( vdb_table_find(vdb_rows_state(r), arg_text(argv[0]), &t, err) );
  if( argc>1 && sqlite3_value_type(argv[1])!=SQLITE_NULL ){
    quick = sqlite3_stricmp(arg_text(argv[1]), "quick")==0;
    if( !quick ){
      return vdb_sql_fail(err, SQLITE_ERROR, "2nd argument of vecdb_check must "
                          "be 'quick', found '%s'", arg_text(argv[1]));
    }
  }
  rc = vecdb_check(t->conn->eng, quick, check_add, &report);
  if( report.rc!=SQLITE_OK ) return report.rc;
  if( rc!=VECDB_OK && (rc & 0xff)!=VECDB_CORRUPT ){
    return vdb_conn_error(t->conn, rc, err);
  }
  rc = SQLITE_OK;                      /* damage is in the rows */
done:
  return rc;
}

static const struct rows_def check_def = {
  "vecdb_check", "CREATE TABLE x(severity TEXT, object TEXT, message TEXT, "
  "\"table\" HIDDEN, mode HIDDEN)", 3, 2, 1, check_fill
};

/* ---- vecdb_last_query --------------------------------------------------- */

/* Ways that were not taken, with what they would have cost. */
static int add_rejected(struct sql_rows *r, const vecdb_search_info *i){
  struct { const char *name; double us; int taken; } way[] = {
    { "exact", i->cost_exact_us, strstr(i->plan, "exact")!=NULL },
    { "codes", i->cost_codes_us, strstr(i->plan, "codes")!=NULL },
    { "graph through all rows", i->cost_through_us,
      i->n_block>0 && i->cost_within_us==0 },
    { "graph over bridges", i->cost_within_us,
      i->n_block>0 && i->cost_within_us>0 },
  };
  sqlite3_str *s = sqlite3_str_new(NULL);
  char *z;
  int rc = SQLITE_OK;
  for(size_t k=0; k<sizeof(way)/sizeof(way[0]); k++){
    if( way[k].taken || way[k].us<=0 ) continue;
    sqlite3_str_appendf(s, "%s%s: %.0f us", sqlite3_str_length(s) ? "; " : "",
                        way[k].name, way[k].us);
  }
  z = sqlite3_str_finish(s);
  if( z ) rc = add_text(r, "rejected", z);
  sqlite3_free(z);
  return rc;
}

/* What graphs did, and what else there was to do. */
static int last_graph(struct sql_rows *r, const vecdb_search_info *i){
  int rc = SQLITE_OK;
  if( i->n_row>0 ){
    SQL_TRY( add_real(r, "share", (double)i->n_match/(double)i->n_row) );
  }
  if( i->share_near>0 ) SQL_TRY( add_real(r, "share near", i->share_near) );
  if( i->n_block>0 ){
    SQL_TRY( add_number(r, "blocks", i->n_block) );
    SQL_TRY( add_number(r, "bridges", i->n_bridge) );
    SQL_TRY( add_number(r, "switches", i->n_switch) );
  }
  SQL_TRY( add_rejected(r, i) );
done:
  return rc;
}

static int last_fill(struct sql_rows *r, int argc, sqlite3_value **argv,
                     char **err){
  const struct sql_last *l = &vdb_rows_state(r)->last;
  int rc = SQLITE_OK;
  (void)argc; (void)argv; (void)err;
  if( l->plan==NULL ) return SQLITE_OK;
  SQL_TRY( add_text(r, "table", l->table) );
  SQL_TRY( add_text(r, "plan", l->plan) );
  SQL_TRY( add_text(r, "filter", l->filter) );
  if( l->k>=0 ) SQL_TRY( add_number(r, "k", (uint64_t)l->k) );
  SQL_TRY( add_number(r, "exact", (uint64_t)l->is_exact) );
  SQL_TRY( add_number(r, "searches", (uint64_t)l->n_run) );
  SQL_TRY( add_number(r, "rows", (uint64_t)l->n_row) );
  if( l->info.plan==NULL ) goto done;
  SQL_TRY( add_text(r, "search", l->info.plan) );
  SQL_TRY( add_text(r, "why", l->info.why) );
  if( l->info.ef ) SQL_TRY( add_number(r, "ef", l->info.ef) );
  if( l->info.recall>0 ){
    SQL_TRY( add_real(r, "recall", l->info.recall) );
  }
  SQL_TRY( add_number(r, "qualified", l->info.n_match) );
  SQL_TRY( add_number(r, "compared", l->info.n_distance) );
  SQL_TRY( last_graph(r, &l->info) );
done:
  return rc;
}

static const struct rows_def last_def = {
  "vecdb_last_query", "CREATE TABLE x(key TEXT, value)", 2, 0, 0, last_fill
};

/* ---- vecdb_knn, vecdb_within -------------------------------------------- */

/* SELECT key, distance FROM t(query, json), with one more JSON key. */
static int call_fill(struct sql_rows *r, const char *key, int argc,
                     sqlite3_value **argv, char **err){
  struct sql_state *st = vdb_rows_state(r);
  struct sql_table *t;
  sqlite3_stmt *s = NULL;
  char *sql;
  int rc;

  SQL_TRY( vdb_table_find(st, arg_text(argv[0]), &t, err) );
  sql = sqlite3_mprintf("SELECT \"%w\", distance FROM \"%w\".\"%w\"(?1, "
      "json_set(coalesce(?3,'{}'), '$.%s', ?2))", t->cols[0].name, t->schema,
      t->name, key);
  if( sql==NULL ) return SQLITE_NOMEM;
  rc = sqlite3_prepare_v2(st->db, sql, -1, &s, NULL);
  sqlite3_free(sql);
  if( rc==SQLITE_OK ) rc = sqlite3_bind_value(s, 1, argv[1]);
  if( rc==SQLITE_OK ) rc = sqlite3_bind_value(s, 2, argv[2]);
  if( rc==SQLITE_OK && argc>3 ) rc = sqlite3_bind_value(s, 3, argv[3]);
  while( rc==SQLITE_OK && (rc = sqlite3_step(s))==SQLITE_ROW ){
    rc = vdb_rows_begin(r);
    if( rc==SQLITE_OK ) rc = vdb_rows_value(r, 0, sqlite3_column_value(s, 0));
    if( rc==SQLITE_OK ) rc = vdb_rows_value(r, 1, sqlite3_column_value(s, 1));
  }
  if( rc==SQLITE_DONE ) rc = SQLITE_OK;
  if( rc!=SQLITE_OK ) rc = vdb_sql_fail(err, rc, "%s", sqlite3_errmsg(st->db));
  sqlite3_finalize(s);
done:
  return rc;
}

static int knn_fill(struct sql_rows *r, int argc, sqlite3_value **argv,
                    char **err){
  return call_fill(r, "k", argc, argv, err);
}
static int within_fill(struct sql_rows *r, int argc, sqlite3_value **argv,
                       char **err){
  return call_fill(r, "distance", argc, argv, err);
}

static const struct rows_def knn_def = {
  "vecdb_knn", "CREATE TABLE x(id, distance REAL, \"table\" HIDDEN, "
  "query HIDDEN, k HIDDEN, args HIDDEN)", 2, 4, 3, knn_fill
};
static const struct rows_def within_def = {
  "vecdb_within", "CREATE TABLE x(id, distance REAL, \"table\" HIDDEN, "
  "query HIDDEN, radius HIDDEN, args HIDDEN)", 2, 4, 3, within_fill
};

const struct rows_def *const vdb_rows_defs[] = {
  &stats_def, &check_def, &last_def, &knn_def, &within_def,
  &vdb_recall_def, &vdb_audits_def, &vdb_tune_def,
  &vdb_queries_def, &vdb_multi_def, NULL
};

/* ---- Scalars ------------------------------------------------------------ */

static void fn_version(sqlite3_context *ctx, int n, sqlite3_value **a){
  (void)n; (void)a;
  sqlite3_result_text(ctx, vecdb_libversion(), -1, SQLITE_STATIC);
}

/* 'files': what file= may do. */
static const char *const files_words[] = { "direct", "trusted", "off",
                                         "confined" };

static void config_files(sqlite3_context *ctx, struct sql_state *st,
                        sqlite3_value *v){
  int i;
  for(i=0; v && i<4; i++){
    if( strcmp(files_words[i], arg_text(v))==0 ) break;
  }
  if( i==4 ){
    sqlite3_result_error(ctx, "files is one of direct, trusted, off, confined", -1);
    return;
  }
  if( v ) st->files = i;
  sqlite3_result_text(ctx, files_words[st->files], -1, SQLITE_STATIC);
}

/* 'cache_bytes', of tables in their database that are opened from now on. */
static void config_cache(sqlite3_context *ctx, struct sql_state *st,
                         sqlite3_value *v){
  sqlite3_int64 n = v ? sqlite3_value_int64(v) : st->cache_bytes;
  if( n<=0 ){
    sqlite3_result_error(ctx, "cache_bytes must be a positive number", -1);
    return;
  }
  st->cache_bytes = n;
  sqlite3_result_int64(ctx, n);
}

/* 'build_bytes', of all tables, open ones and those to come; 0: the default. */
static void config_build(sqlite3_context *ctx, struct sql_state *st,
                         sqlite3_value *v){
  sqlite3_int64 n = v ? sqlite3_value_int64(v) : st->build_bytes;
  struct sql_conn *c;
  if( n!=0 && n<VDB_BUILD_BYTES_MIN ){
    char *z = sqlite3_mprintf("build_bytes must be 0 or at least %d",
                              VDB_BUILD_BYTES_MIN);
    if( z ) sqlite3_result_error(ctx, z, -1);
    else sqlite3_result_error_nomem(ctx);
    sqlite3_free(z);
    return;
  }
  st->build_bytes = n;
  for(c=st->conns; c; c=c->next) (void)vecdb_set(c->eng, "build_bytes", n);
  sqlite3_result_int64(ctx, n);
}

/* The setting 'gpu': of all files that are open, and of those to come. */
static int config_gpu(sqlite3_context *ctx, struct sql_state *st,
                      const char *z){
  int mode = vdb_gpu_mode(z);
  struct sql_conn *c;
  if( mode==VECDB_GPU_DEFAULT ){
    char *err = sqlite3_mprintf("gpu must be off, auto or require, found "
                                "\"%s\"", z);
    if( err ) sqlite3_result_error(ctx, err, -1);
    else sqlite3_result_error_nomem(ctx);
    sqlite3_free(err);
    return 0;
  }
  st->gpu = mode;
  for(c=st->conns; c; c=c->next) (void)vecdb_set(c->eng, "gpu", mode);
  return 1;
}

/* vecdb_config(name [,value]): settings of this connection. Returns the value
** in force. 'interrupt' takes a pointer, bound by sqlite3_bind_pointer as a
** "vecdb_interrupt", to a volatile int that stops long work when it is not 0;
** 'progress' takes a "vecdb_progress", to a function as that of
** vecdb_progress_handler, which is called with that pointer while 'tune' works;
** 'file_layer' (tests) a "vecdb_file_layer", to a struct vecdb_file_ops through
** which .vdb files are opened. All must outlive the connection. */
static void fn_config(sqlite3_context *ctx, int n, sqlite3_value **a){
  struct sql_state *st = vdb_function_state(ctx);
  const char *name = arg_text(a[0]);

  if( st->files==FILES_CONFINED && n==2
      && (strcmp(name, "default_file")==0 || strcmp(name, "files")==0
          || strcmp(name, "readonly")==0) ){
    sqlite3_result_error(ctx, "settings of a confined connection are fixed",
                         -1);
  }else if( strcmp(name, "default_file")==0 ){
    if( n==2 ){
      char *z = NULL;
      if( sqlite3_value_type(a[1])!=SQLITE_NULL ){
        z = vdb_sql_strdup(arg_text(a[1]));
        if( z==NULL ){
          sqlite3_result_error_nomem(ctx);
          return;
        }
      }
      sqlite3_free(st->default_file);
      st->default_file = z;
    }
    if( st->default_file ){
      sqlite3_result_text(ctx, st->default_file, -1, SQLITE_TRANSIENT);
    }
  }else if( strcmp(name, "readonly")==0 ){
    if( n==2 ) st->is_readonly = sqlite3_value_int(a[1])!=0;
    sqlite3_result_int(ctx, st->is_readonly);
  }else if( strcmp(name, "files")==0 ){
    config_files(ctx, st, n==2 ? a[1] : NULL);
  }else if( strcmp(name, "cache_bytes")==0 ){
    config_cache(ctx, st, n==2 ? a[1] : NULL);
  }else if( strcmp(name, "build_bytes")==0 ){
    config_build(ctx, st, n==2 ? a[1] : NULL);
  }else if( strcmp(name, "gpu")==0 ){
    static const char *const mode[] = { "default", "off", "auto", "require" };
    if( n==2 && !config_gpu(ctx, st, arg_text(a[1])) ) return;
    sqlite3_result_text(ctx, mode[st->gpu], -1, SQLITE_STATIC);
  }else if( strcmp(name, "interrupt")==0 && n==2 ){
    struct sql_conn *c;
    st->interrupted = sqlite3_value_pointer(a[1], "vecdb_interrupt");
    for(c=st->conns; c; c=c->next) vdb_conn_watch_interrupt(c);
  }else if( strcmp(name, "progress")==0 && n==2 ){
    st->progress = sqlite3_value_pointer(a[1], "vecdb_progress");
  }else if( strcmp(name, "file_layer")==0 && n==2 ){
    st->file = sqlite3_value_pointer(a[1], "vecdb_file_layer");
  }else{
    char *z = sqlite3_mprintf("unknown setting \"%s\"; known: build_bytes, "
                              "cache_bytes, default_file, files, gpu, readonly", name);
    if( z ) sqlite3_result_error(ctx, z, -1);
    else sqlite3_result_error_nomem(ctx);
    sqlite3_free(z);
  }
}

/* Commits that another database, which is gone, may have lost: keep them, or
** take them back. Our own are settled by what we say ourselves. */
static int resolve_undoable(struct sql_conn *c, int commit, char **err){
  unsigned char uuid[16];
  uint64_t newest = 0, firm = 0;
  int rc, undoable = 0;
  rc = vecdb_undoable(c->eng, &undoable, uuid, &newest, &firm);
  if( rc==VECDB_OK && (!undoable || memcmp(uuid, c->host_uuid, 16)==0) ){
    return vdb_sql_fail(err, SQLITE_ERROR,
                        "no transaction of \"%s\" is in doubt", c->path);
  }
  if( rc==VECDB_OK ){
    rc = vecdb_rewind(c->eng, commit ? newest : firm, newest);
  }
  return rc==VECDB_OK ? SQLITE_OK : vdb_conn_error(c, rc, err);
}

static int resolve_in_doubt(struct sql_conn *c, int commit, char **err){
  unsigned char uuid[16];
  uint64_t token;
  int rc, in_doubt = 0;
  rc = vecdb_in_doubt(c->eng, &in_doubt, uuid, &token);
  if( rc==VECDB_OK && !in_doubt ) return resolve_undoable(c, commit, err);
  if( rc==VECDB_OK ) rc = vecdb_decide(c->eng, commit);
  return rc==VECDB_OK ? SQLITE_OK : vdb_conn_error(c, rc, err);
}

/* vecdb_resolve(t, 'commit' | 'rollback' | 'adopt') */
static void fn_resolve(sqlite3_context *ctx, int n, sqlite3_value **a){
  struct sql_state *st = vdb_function_state(ctx);
  const char *how = arg_text(a[1]);
  struct sql_table *t = NULL;
  char *err = NULL;
  int rc;

  (void)n;
  rc = vdb_table_find(st, arg_text(a[0]), &t, &err);
  if( rc==SQLITE_OK ){
    if( strcmp(how, "commit")==0 || strcmp(how, "rollback")==0 ){
      rc = resolve_in_doubt(t->conn, how[0]=='c', &err);
    }else if( strcmp(how, "adopt")==0 ){
      rc = vdb_conn_adopt(t->conn, &err);
    }else{
      rc = vdb_sql_fail(&err, SQLITE_ERROR, "2nd argument of vecdb_resolve "
          "must be 'commit', 'rollback' or 'adopt', found '%s'", how);
    }
  }
  if( rc!=SQLITE_OK ){
    sqlite3_result_error(ctx, err ? err : sqlite3_errstr(rc), -1);
    sqlite3_result_error_code(ctx, rc);
    if( err ) sqlite3_result_error(ctx, err, -1);
  }else{
    sqlite3_result_text(ctx, how, -1, SQLITE_TRANSIENT);
  }
  sqlite3_free(err);
}

/* vecdb_convert(t): a table of sqlite-vec becomes ours. */
static void fn_convert(sqlite3_context *ctx, int n, sqlite3_value **a){
  char *err = NULL;
  int rc = vdb_vec0_convert(vdb_function_state(ctx), arg_text(a[0]), &err);
  (void)n;
  if( rc==SQLITE_OK ){
    sqlite3_result_value(ctx, a[0]);
  }else{
    sqlite3_result_error_code(ctx, rc);
    if( err ) sqlite3_result_error(ctx, err, -1);
  }
  sqlite3_free(err);
}

/* vecdb_rrf(rank [,k=60 [,weight=1]]): reciprocal rank fusion; SUM() of it
** over several lists is the fused score. */
static void fn_rrf(sqlite3_context *ctx, int n, sqlite3_value **a){
  double k = n>1 ? sqlite3_value_double(a[1]) : 60;
  double weight = n>2 ? sqlite3_value_double(a[2]) : 1;
  if( sqlite3_value_type(a[0])==SQLITE_NULL ){
    sqlite3_result_double(ctx, 0);
    return;
  }
  sqlite3_result_double(ctx, weight/(k + sqlite3_value_double(a[0])));
}

void vdb_fn_not_in(sqlite3_context *ctx, int n, sqlite3_value **a){
  sqlite3 *db = sqlite3_context_db_handle(ctx);
  sqlite3_stmt *s = NULL;
  int rc;
  (void)n;
  rc = sqlite3_prepare_v2(db,
      "SELECT ?1 NOT IN (SELECT value FROM json_each(?2))", -1, &s, NULL);
  if( rc==SQLITE_OK ){
    sqlite3_bind_value(s, 1, a[0]);
    sqlite3_bind_value(s, 2, a[1]);
    rc = sqlite3_step(s);
  }
  if( rc==SQLITE_ROW ){
    sqlite3_result_value(ctx, sqlite3_column_value(s, 0));
  }else{
    sqlite3_result_error(ctx, sqlite3_errmsg(db), -1);
  }
  sqlite3_finalize(s);
}

void vdb_fn_not_like(sqlite3_context *ctx, int n, sqlite3_value **a){
  const char *z = (const char*)sqlite3_value_text(a[0]);
  const char *pattern = (const char*)sqlite3_value_text(a[1]);
  (void)n;
  if( z==NULL || pattern==NULL ) return;
  sqlite3_result_int(ctx, sqlite3_strlike(pattern, z, 0)!=0);
}

/* vecdb_gpu_status(): JSON; looks for the plugin. */
static void fn_gpu_status(sqlite3_context *ctx, int n, sqlite3_value **a){
  char *json = NULL;
  (void)n;
  (void)a;
  if( vecdb_gpu_status(&json)!=VECDB_OK ) sqlite3_result_error_nomem(ctx);
  else sqlite3_result_text(ctx, json, -1, SQLITE_TRANSIENT);
  vecdb_free(json);
}

int vdb_info_register(struct sql_state *st){
  enum { PURE = SQLITE_UTF8 | SQLITE_INNOCUOUS | SQLITE_DETERMINISTIC,
         DIRECT = SQLITE_UTF8 | SQLITE_DIRECTONLY };
  static const struct {
    const char *name;
    int n_arg, flags;
    void (*fn)(sqlite3_context*, int, sqlite3_value**);
  } functions[] = {
    { "vecdb_version",  0, PURE,   fn_version },
    { "vecdb_config",   1, DIRECT, fn_config },
    { "vecdb_config",   2, DIRECT, fn_config },
    { "vecdb_gpu_status", 0, DIRECT, fn_gpu_status },
    { "vecdb_resolve",  2, DIRECT, fn_resolve },
    { "vecdb_convert",  1, DIRECT, fn_convert },
    { "vecdb_rrf",      1, PURE,   fn_rrf },
    { "vecdb_rrf",      2, PURE,   fn_rrf },
    { "vecdb_rrf",      3, PURE,   fn_rrf },
    { "vecdb_not_in",   2, PURE,   vdb_fn_not_in },
    { "vecdb_not_like", 2, PURE,   vdb_fn_not_like },
  };
  size_t i;
  int rc = SQLITE_OK;
  for(i=0; i<sizeof(functions)/sizeof(functions[0]) && rc==SQLITE_OK; i++){
    rc = vdb_register_function(st, functions[i].name, functions[i].n_arg,
                               functions[i].flags, functions[i].fn);
  }
  return rc;
}
