/* vtab.c -- the virtual table modules vecdb and vec0: cursors, columns and the
** methods that pass through.
**
** COLUMNS  0 is the key ("rowid" when the schema names none), the others
**          follow in the order of the schema, then the hidden ones: the table's
**          own name (commands; the query of the call form), args (vecdb only),
**          distance, k, ef, recall, exact, filter, mmr_lambda. A table with a
**          text key is WITHOUT ROWID.
**
** Transactions are in vtab_conn.c and vtab_guard.c, plans in vtab_plan.c.
*/
#include "sql/vtab_int.h"

/* ---- Messages ----------------------------------------------------------- */

int vdb_table_set_error(struct sql_table *t, int rc, char *msg){
  sqlite3_free(t->base.zErrMsg);
  t->base.zErrMsg = msg;
  return msg ? rc : SQLITE_NOMEM;
}

int vdb_table_error(struct sql_table *t, int engine_rc){
  return vdb_conn_error(t->conn, engine_rc, &t->base.zErrMsg);
}

int vdb_table_usable(struct sql_table *t){
  if( t->broken==NULL ) return SQLITE_OK;
  return vdb_table_set_error(t, t->rc_broken, vdb_sql_strdup(t->broken));
}

/* ---- Hidden columns ----------------------------------------------------- */

int vdb_table_hidden(const struct sql_table *t, int i_col){
  if( i_col<t->n_col || i_col>=t->n_col + t->n_hidden ) return -1;
  return t->hidden[i_col - t->n_col];
}

int vdb_table_column_of(const struct sql_table *t, int hid){
  int i;
  for(i=0; i<t->n_hidden && t->hidden[i]!=hid; i++){}
  return t->n_col + i;
}

/* Names of tables that belong to one with storage in the host. */
static int table_shadow_name(const char *name){
  return sqlite3_stricmp(name, "meta")==0 || sqlite3_stricmp(name, "pages")==0
      || sqlite3_stricmp(name, "extents")==0;
}

/* ---- Finding a table by name -------------------------------------------- */

static struct sql_table *table_named(struct sql_state *st, const char *schema,
                                     int n_schema, const char *name){
  struct sql_table *t;
  for(t=st->tables; t; t=t->next){
    if( sqlite3_stricmp(t->name, name)!=0 ) continue;
    if( schema==NULL ) return t;
    if( sqlite3_strnicmp(t->schema, schema, n_schema)==0
     && t->schema[n_schema]==0 ){
      return t;
    }
  }
  return NULL;
}

/* temp before main before the others, as SQLite looks names up. */
static struct sql_table *table_lookup(struct sql_state *st, const char *name){
  const char *dot = strchr(name, '.');
  struct sql_table *t = table_named(st, "temp", 4, name);
  if( t==NULL ) t = table_named(st, "main", 4, name);
  if( t==NULL ) t = table_named(st, NULL, 0, name);
  if( t==NULL && dot ){
    t = table_named(st, name, (int)(dot - name), dot + 1);
  }
  return t;
}

int vdb_table_find(struct sql_state *st, const char *name,
                   struct sql_table **out, char **err){
  const char *dot = strchr(name, '.');
  sqlite3_stmt *s = NULL;
  char *sql;
  int rc;

  *out = table_lookup(st, name);
  if( *out && (*out)->broken==NULL ) return SQLITE_OK;
  sql = sqlite3_mprintf("SELECT * FROM \"%w\"", name);
  rc = sql ? sqlite3_prepare_v2(st->db, sql, -1, &s, NULL) : SQLITE_NOMEM;
  sqlite3_free(sql);
  if( rc==SQLITE_ERROR && dot ){
    sql = sqlite3_mprintf("SELECT * FROM \"%.*w\".\"%w\"", (int)(dot - name),
                          name, dot + 1);
    rc = sql ? sqlite3_prepare_v2(st->db, sql, -1, &s, NULL) : SQLITE_NOMEM;
    sqlite3_free(sql);
  }
  if( rc==SQLITE_OK ) *out = table_lookup(st, name);
  sqlite3_finalize(s);
  if( rc==SQLITE_OK && *out && (*out)->broken ){
    return vdb_sql_fail(err, SQLITE_ERROR, "%s", (*out)->broken);
  }
  if( rc==SQLITE_OK && *out ) return SQLITE_OK;
  if( rc==SQLITE_OK ){
    return vdb_sql_fail(err, SQLITE_ERROR, "table \"%s\" is not a vecdb table",
                    name);
  }
  return vdb_sql_fail(err, rc, "%s", sqlite3_errmsg(st->db));
}

/* ---- Cursors ------------------------------------------------------------ */

static int cursor_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **out){
  struct sql_cursor *c = sqlite3_malloc(sizeof(*c));
  (void)vtab;
  if( c==NULL ) return SQLITE_NOMEM;
  memset(c, 0, sizeof(*c));
  c->is_eof = 1;
  *out = &c->base;
  return SQLITE_OK;
}

static int cursor_close(sqlite3_vtab_cursor *cur){
  vdb_cursor_reset((struct sql_cursor*)cur);
  sqlite3_free(cur);
  return SQLITE_OK;
}

static int cursor_eof(sqlite3_vtab_cursor *cur){
  return ((struct sql_cursor*)cur)->is_eof;
}

/* A value that cannot be read, because the file is damaged or memory is
** short, looks like NULL; what the engine says about it must not get lost. */
static int stored_null(struct sql_table *t, vecdb_stmt *s){
  int rc = vecdb_column_errcode(s);
  return rc==VECDB_OK ? SQLITE_OK : vdb_table_error(t, rc);
}

static int result_stored(sqlite3_context *ctx, struct sql_table *t,
                         vecdb_stmt *s, int i){
  const struct sql_column *c = &t->cols[i];
  const void *p;
  size_t n = 0;
  switch( vecdb_column_type(s, i) ){
    case VECDB_INTEGER: case VECDB_BOOLEAN:
      sqlite3_result_int64(ctx, vecdb_column_int64(s, i));
      break;
    case VECDB_REAL:
      sqlite3_result_double(ctx, vecdb_column_double(s, i));
      break;
    case VECDB_TEXT:
      p = vecdb_column_text(s, i);
      n = vecdb_column_bytes(s, i);
      sqlite3_result_text64(ctx, p, n, SQLITE_TRANSIENT, SQLITE_UTF8);
      break;
    case VECDB_BLOB:
      p = vecdb_column_blob(s, i);
      n = vecdb_column_bytes(s, i);
      sqlite3_result_blob64(ctx, p ? p : "", n, SQLITE_TRANSIENT);
      break;
    case VECDB_VECTOR:
      p = vecdb_column_vector(s, i, &n);
      if( p==NULL ) return stored_null(t, s);
      sqlite3_result_blob64(ctx, p, n, SQLITE_TRANSIENT);
      sqlite3_result_subtype(ctx, (unsigned)vdb_vec_subtype_of_element(
                                                  (int)c->info.element));
      break;
    default:
      return stored_null(t, s);
  }
  return SQLITE_OK;
}

static int cursor_column(sqlite3_vtab_cursor *cur, sqlite3_context *ctx,
                         int i){
  struct sql_cursor *c = (struct sql_cursor*)cur;
  struct sql_table *t = (struct sql_table*)cur->pVtab;
  int hid = vdb_table_hidden(t, i);

  t->match_column = -1;
  if( sqlite3_vtab_nochange(ctx) ) return SQLITE_OK;
  if( hid==HID_DISTANCE ){
    if( c->is_knn ) sqlite3_result_double(ctx, c->distance);
  }else if( hid>=0 ){
    if( c->echo[hid] ) sqlite3_result_value(ctx, c->echo[hid]);
  }else if( i<t->n_col ){
    if( c->is_knn && i==c->match_column ) t->match_column = i;
    return result_stored(ctx, t, c->mmr ? vdb_mmr_row(c->mmr) : c->stmt, i);
  }
  return SQLITE_OK;
}

static int cursor_rowid(sqlite3_vtab_cursor *cur, sqlite3_int64 *rowid){
  struct sql_cursor *c = (struct sql_cursor*)cur;
  struct sql_table *t = (struct sql_table*)cur->pVtab;
  if( t->has_text_key ){
    *rowid = c->n_row;
    return SQLITE_OK;
  }
  *rowid = vecdb_column_int64(c->mmr ? vdb_mmr_row(c->mmr) : c->stmt, 0);
  return SQLITE_OK;
}

/* ---- Functions over a column -------------------------------------------- */

/* SQLite evaluates MATCH itself where it cannot give it to xBestIndex, and
** also to check a constraint again. The latter asks about the value just read
** from a cursor that searched this column, and that did match. */
static void fn_match(sqlite3_context *ctx, int n, sqlite3_value **a){
  struct sql_table *t = sqlite3_user_data(ctx);
  char *msg;
  (void)n;
  (void)a;
  if( t->match_column>=0 ){
    sqlite3_result_int(ctx, 1);
    return;
  }
  msg = sqlite3_mprintf("MATCH on table \"%s\" must be a top-level AND term, "
                        "or in the ON clause of a LEFT JOIN", t->name);
  if( msg ) sqlite3_result_error(ctx, msg, -1);
  else sqlite3_result_error_nomem(ctx);
  sqlite3_free(msg);
}

static int table_find_function(sqlite3_vtab *vtab, int n_arg, const char *name,
                   void (**fn)(sqlite3_context*, int, sqlite3_value**),
                   void **arg){
  if( n_arg!=2 ) return 0;
  if( sqlite3_stricmp(name, "match")==0 ){
    *fn = fn_match;
    *arg = vtab;
    return 1;
  }
  *arg = NULL;
  if( sqlite3_stricmp(name, "vecdb_not_in")==0 ){
    *fn = vdb_fn_not_in;
    return FUNC_NOT_IN;
  }
  if( sqlite3_stricmp(name, "vecdb_not_like")==0 ){
    *fn = vdb_fn_not_like;
    return FUNC_NOT_LIKE;
  }
  return 0;
}

/* ---- Transactions ------------------------------------------------------- */

static int table_begin(sqlite3_vtab *vtab){
  struct sql_table *t = (struct sql_table*)vtab;
  int rc = vdb_table_usable(t);
  if( rc!=SQLITE_OK ) return rc;
  return vdb_conn_begin(t->conn, t->schema, &vtab->zErrMsg);
}
static int table_sync(sqlite3_vtab *vtab){
  vdb_capture_flush((struct sql_table*)vtab);
  return vdb_conn_sync(((struct sql_table*)vtab)->conn, &vtab->zErrMsg);
}
static int table_commit(sqlite3_vtab *vtab){
  vdb_conn_commit(((struct sql_table*)vtab)->conn);
  return SQLITE_OK;
}
static int table_rollback(sqlite3_vtab *vtab){
  vdb_conn_rollback(((struct sql_table*)vtab)->conn);
  return SQLITE_OK;
}
static int table_savepoint(sqlite3_vtab *vtab, int i){
  return vdb_conn_savepoint(((struct sql_table*)vtab)->conn, i,
                            &vtab->zErrMsg);
}
static int table_release(sqlite3_vtab *vtab, int i){
  return vdb_conn_release(((struct sql_table*)vtab)->conn, i, &vtab->zErrMsg);
}
static int table_rollback_to(sqlite3_vtab *vtab, int i){
  return vdb_conn_rollback_to(((struct sql_table*)vtab)->conn, i,
                              &vtab->zErrMsg);
}

/* PRAGMA integrity_check (flags 0) and quick_check (1), since SQLite 3.44. What
** is found goes to *out; an error is a failure to look. */
static int table_integrity(sqlite3_vtab *vtab, const char *schema,
                           const char *name, int flags, char **out){
  struct sql_table *t = (struct sql_table*)vtab;
  char *found = NULL;
  int rc;

  (void)schema;
  if( t->broken ){
    *out = sqlite3_mprintf("%s: %s", name, t->broken);
    return *out ? SQLITE_OK : SQLITE_NOMEM;
  }
  rc = vdb_table_check(t, flags & 1, &found);
  if( found ) *out = sqlite3_mprintf("%s: %z", name, found);
  return rc==SQLITE_CORRUPT_VTAB ? SQLITE_OK : rc;
}

/* A header older than 3.44 does not declare xIntegrity, which stands behind
** all that it declares. */
struct table_module {
  sqlite3_module base;
  int (*integrity)(sqlite3_vtab*, const char*, const char*, int, char**);
};

static const struct table_module table_module = {
  .base.iVersion = 4,
  .base.xCreate = vdb_table_create,
  .base.xConnect = vdb_table_connect,
  .base.xBestIndex = vdb_plan_best_index,
  .base.xDisconnect = vdb_table_disconnect,
  .base.xDestroy = vdb_table_destroy,
  .base.xOpen = cursor_open,
  .base.xClose = cursor_close,
  .base.xFilter = vdb_cursor_filter,
  .base.xNext = vdb_cursor_next,
  .base.xEof = cursor_eof,
  .base.xColumn = cursor_column,
  .base.xRowid = cursor_rowid,
  .base.xUpdate = vdb_table_update,
  .base.xBegin = table_begin,
  .base.xSync = table_sync,
  .base.xCommit = table_commit,
  .base.xRollback = table_rollback,
  .base.xFindFunction = table_find_function,
  .base.xRename = vdb_table_rename,
  .base.xSavepoint = table_savepoint,
  .base.xRelease = table_release,
  .base.xRollbackTo = table_rollback_to,
  .base.xShadowName = table_shadow_name,
#if SQLITE_VERSION_NUMBER>=3044000
  .base.xIntegrity = table_integrity,
#endif
  .integrity = table_integrity,
};

int vdb_table_register(struct sql_state *st){
  int rc = vdb_register_module(st, "vecdb", &table_module.base);
  if( rc==SQLITE_OK ) rc = vdb_register_module(st, "vec0", &table_module.base);
  return rc;
}
