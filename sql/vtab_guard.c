/* vtab_guard.c -- keeps CREATE, DROP and RENAME inside the transaction.
**
** SQLite calls xSync, xCommit and xRollback of the tables that were written.
** It never calls them for a table that was dropped, and it does not tell a
** table created inside a savepoint when that savepoint is rolled back, because
** by then the table is gone. The collections behind them live in a file of
** their own, so somebody has to be told.
**
** The guard is a table without rows. Deleting all of them changes nothing, but
** makes it a part of the transaction; it hands every callback to all engine
** handles of the connection.
*/
#include "sql/vtab_int.h"

#define GUARD_NAME "vecdb_guard"

struct guard {
  sqlite3_vtab base;
  struct sql_state *st;
};

static int guard_connect(sqlite3 *db, void *aux, int argc,
                         const char *const *argv, sqlite3_vtab **out,
                         char **err){
  struct guard *g;
  int rc = sqlite3_declare_vtab(db, "CREATE TABLE x(unused)");

  (void)argc; (void)argv; (void)err;
  if( rc!=SQLITE_OK ) return rc;
  g = sqlite3_malloc(sizeof(*g));
  if( g==NULL ) return SQLITE_NOMEM;
  memset(g, 0, sizeof(*g));
  g->st = aux;
  sqlite3_vtab_config(db, SQLITE_VTAB_DIRECTONLY);
  *out = &g->base;
  return SQLITE_OK;
}

static int guard_disconnect(sqlite3_vtab *vtab){
  sqlite3_free(vtab);
  return SQLITE_OK;
}

static int guard_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info){
  (void)vtab;
  info->estimatedRows = 1;
  return SQLITE_OK;
}
static int guard_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **out){
  (void)vtab;
  *out = sqlite3_malloc(sizeof(**out));
  if( *out==NULL ) return SQLITE_NOMEM;
  memset(*out, 0, sizeof(**out));
  return SQLITE_OK;
}
static int guard_close(sqlite3_vtab_cursor *cur){
  sqlite3_free(cur);
  return SQLITE_OK;
}
static int guard_filter(sqlite3_vtab_cursor *cur, int idx_num,
                        const char *idx_str, int argc, sqlite3_value **argv){
  (void)cur; (void)idx_num; (void)idx_str; (void)argc; (void)argv;
  return SQLITE_OK;
}
static int guard_next(sqlite3_vtab_cursor *cur){
  (void)cur;
  return SQLITE_OK;
}
static int guard_eof(sqlite3_vtab_cursor *cur){
  (void)cur;
  return 1;
}
static int guard_column(sqlite3_vtab_cursor *cur, sqlite3_context *ctx, int i){
  (void)cur; (void)ctx; (void)i;
  return SQLITE_OK;
}
static int guard_rowid(sqlite3_vtab_cursor *cur, sqlite3_int64 *rowid){
  (void)cur;
  *rowid = 0;
  return SQLITE_OK;
}

static int guard_update(sqlite3_vtab *vtab, int argc, sqlite3_value **argv,
                        sqlite3_int64 *rowid){
  (void)vtab; (void)argc; (void)argv; (void)rowid;
  return SQLITE_READONLY;
}

static int guard_begin(sqlite3_vtab *vtab){
  ((struct guard*)vtab)->st->i_level = -1;
  return SQLITE_OK;
}

static int guard_sync(sqlite3_vtab *vtab){
  struct sql_conn *c;
  int rc = SQLITE_OK;
  for(c=((struct guard*)vtab)->st->conns; c && rc==SQLITE_OK; c=c->next){
    rc = vdb_conn_sync(c, &vtab->zErrMsg);
  }
  return rc;
}

/* Ending a transaction may close its handle, so the next is taken first. */
static int guard_commit(sqlite3_vtab *vtab){
  struct sql_conn *c, *next;
  ((struct guard*)vtab)->st->i_level = -1;
  for(c=((struct guard*)vtab)->st->conns; c; c=next){
    next = c->next;
    vdb_conn_commit(c);
  }
  return SQLITE_OK;
}
static int guard_rollback(sqlite3_vtab *vtab){
  struct sql_conn *c, *next;
  ((struct guard*)vtab)->st->i_level = -1;
  for(c=((struct guard*)vtab)->st->conns; c; c=next){
    next = c->next;
    vdb_conn_rollback(c);
  }
  return SQLITE_OK;
}

/* SQLite names a level to the guard once; a handle that joins the transaction
** later learns from i_level how deep it is (C1). */
static int guard_each(sqlite3_vtab *vtab, int i, int i_level,
                      int (*fn)(struct sql_conn*, int, char**)){
  struct sql_conn *c;
  int rc = SQLITE_OK;
  ((struct guard*)vtab)->st->i_level = i_level;
  for(c=((struct guard*)vtab)->st->conns; c && rc==SQLITE_OK; c=c->next){
    rc = fn(c, i, &vtab->zErrMsg);
  }
  return rc;
}
static int guard_savepoint(sqlite3_vtab *vtab, int i){
  return guard_each(vtab, i, i, vdb_conn_savepoint);
}
static int guard_release(sqlite3_vtab *vtab, int i){
  return guard_each(vtab, i, i - 1, vdb_conn_release);
}
static int guard_rollback_to(sqlite3_vtab *vtab, int i){
  return guard_each(vtab, i, i, vdb_conn_rollback_to);
}

static const sqlite3_module guard_module = {
  .iVersion = 2,
  .xConnect = guard_connect,
  .xBestIndex = guard_best_index,
  .xDisconnect = guard_disconnect,
  .xOpen = guard_open,
  .xClose = guard_close,
  .xFilter = guard_filter,
  .xNext = guard_next,
  .xEof = guard_eof,
  .xColumn = guard_column,
  .xRowid = guard_rowid,
  .xUpdate = guard_update,
  .xBegin = guard_begin,
  .xSync = guard_sync,
  .xCommit = guard_commit,
  .xRollback = guard_rollback,
  .xSavepoint = guard_savepoint,
  .xRelease = guard_release,
  .xRollbackTo = guard_rollback_to,
};

int vdb_guard_register(struct sql_state *st){
  return vdb_register_module(st, GUARD_NAME, &guard_module);
}

int vdb_guard_join(struct sql_state *st, char **err){
  int rc = sqlite3_exec(st->db, "DELETE FROM " GUARD_NAME, NULL, NULL,
                        NULL);
  /* The guard is of schema main. When that cannot be written, the tables of
  ** temp and of attached databases do with the callbacks they get. */
  if( rc==SQLITE_READONLY && sqlite3_db_readonly(st->db, "main")==1 ){
    return SQLITE_OK;
  }
  if( rc!=SQLITE_OK ){
    return vdb_sql_fail(err, rc, "cannot join the transaction: %s",
                    sqlite3_errmsg(st->db));
  }
  return SQLITE_OK;
}

/* Without the guard nobody would end the transaction. */
int vdb_guard_begin(struct sql_conn *c, const char *schema, char **err){
  int was_open = c->in_txn;
  int rc = vdb_conn_begin(c, schema, err);
  if( rc==SQLITE_OK ){
    rc = vdb_guard_join(c->st, err);
    if( rc!=SQLITE_OK && !was_open ) vdb_conn_rollback(c);
  }
  return rc;
}
