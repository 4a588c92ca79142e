/* host_txn.c -- tables stored in their SQLite database: making them, and their
** transactions.
**
** Each table has an engine handle of its own (a struct sql_conn with a
** `store`), found by schema and name, so that two sqlite3_vtab of one table,
** of which SQLite makes a second when the schema changes, share what is not
** yet committed.
**
** COMMIT   xSync prepares: the engine brings its changes to the shadow tables,
**          inside SQLite's transaction. Then SQLite commits, or cannot (BUSY)
**          and goes on, or rolls back; xCommit and xRollback tell the engine.
**
** EVENTS   CREATE, DROP and RENAME act on the shadow tables at once. What they
**          change here is undone with the savepoint or transaction they belong
**          to: `events` remembers the state before, by level of savepoint. A
**          dropped table keeps its handle, with all that is uncommitted, until
**          the transaction is over.
**
** The guard (vtab_guard.c) passes the callbacks on where SQLite would not.
*/
#include "sql/host_int.h"

/* ---- Shadow tables ------------------------------------------------------ */

static int shadow_exec(struct sql_host *h, char *sql, char **err){
  sqlite3 *db = h->conn->st->db;
  int rc = sql ? sqlite3_exec(db, sql, NULL, NULL, NULL) : SQLITE_NOMEM;
  sqlite3_free(sql);
  if( rc==SQLITE_OK ) return rc;
  return vdb_sql_fail(err, rc, "cannot change the shadow tables of \"%s\": %s",
                      h->name, sqlite3_errmsg(db));
}

static int shadow_create(struct sql_host *h, char **err){
  sqlite3_int64 rowid = sqlite3_last_insert_rowid(h->conn->st->db);
  int rc = shadow_exec(h, sqlite3_mprintf(
      "CREATE TABLE \"%w\".\"%w_meta\"(key TEXT PRIMARY KEY, value) "
      "WITHOUT ROWID;"
      "CREATE TABLE \"%w\".\"%w_pages\"(pgno INTEGER PRIMARY KEY, data BLOB);"
      "CREATE TABLE \"%w\".\"%w_extents\"(no INTEGER PRIMARY KEY, data BLOB);"
      "INSERT INTO \"%w\".\"%w_meta\" VALUES('format', %d), ('generation', 0)",
      h->schema, h->name, h->schema, h->name, h->schema, h->name, h->schema,
      h->name, HOST_FORMAT), err);
  sqlite3_set_last_insert_rowid(h->conn->st->db, rowid);
  return rc;
}

/* A newer vecdb may store differently. */
static int shadow_check_format(struct sql_host *h, char **err){
  sqlite3 *db = h->conn->st->db;
  sqlite3_stmt *s = NULL;
  char *sql = sqlite3_mprintf("SELECT value FROM \"%w\".\"%w_meta\" "
                              "WHERE key='format'", h->schema, h->name);
  int rc = sql ? sqlite3_prepare_v2(db, sql, -1, &s, NULL) : SQLITE_NOMEM;
  int format = 0;

  sqlite3_free(sql);
  if( rc==SQLITE_OK ){
    if( sqlite3_step(s)==SQLITE_ROW ) format = sqlite3_column_int(s, 0);
    rc = sqlite3_finalize(s);
  }
  if( rc!=SQLITE_OK ){
    vdb_host_failed(h, rc, SHADOW_META, sqlite3_errmsg(db));
  }else if( format<1 ){
    rc = SQLITE_CORRUPT_VTAB;
    vdb_host_failed(h, rc, SHADOW_META, "the row of key 'format' is missing");
  }else if( format>HOST_FORMAT ){
    return vdb_sql_fail(err, SQLITE_ERROR, "table \"%s\" is stored in format "
        "%d, this vecdb reads up to %d", h->name, format, HOST_FORMAT);
  }
  if( rc==SQLITE_OK ) return rc;
  return vdb_conn_error(h->conn, h->rc_engine, err);
}

/* ---- Events ------------------------------------------------------------- */

static int event_push(struct sql_host *h, char *name_before){
  struct host_event *e;
  if( h->n_event==h->n_event_max ){
    int n = h->n_event_max ? 2*h->n_event_max : 4;
    void *p = sqlite3_realloc64(h->events, (size_t)n*sizeof(*h->events));
    if( p==NULL ){
      sqlite3_free(name_before);
      return SQLITE_NOMEM;
    }
    h->events = p;
    h->n_event_max = n;
  }
  e = &h->events[h->n_event++];
  e->level = h->conn->st->i_level;
  e->was_there = h->is_there;
  e->name = name_before;
  return SQLITE_OK;
}

/* Undo the events of savepoint i and those inside it. */
static void events_undo(struct sql_host *h, int i){
  while( h->n_event>0 && h->events[h->n_event - 1].level>=i ){
    struct host_event *e = &h->events[--h->n_event];
    h->is_there = e->was_there;
    if( e->name ){
      vdb_host_finalize(h);
      sqlite3_free(h->name);
      h->name = e->name;
    }
  }
}

static void events_forget(struct sql_host *h){
  while( h->n_event>0 ) sqlite3_free(h->events[--h->n_event].name);
}

void vdb_host_release(struct sql_conn *c, int i){
  struct sql_host *h = c->store;
  int k;
  for(k=0; k<h->n_event; k++){
    if( h->events[k].level>=i ) h->events[k].level = i - 1;
  }
}

/* ---- Opening and closing ------------------------------------------------ */

/* H4, also for what the engine undoes when it is closed. */
void vdb_host_abandon(struct sql_host *h){
  h->is_undoing = 1;
  vdb_host_finalize(h);
}

void vdb_host_free(struct sql_host *h){
  if( h==NULL ) return;
  vdb_host_finalize(h);
  events_forget(h);
  sqlite3_free(h->events);
  sqlite3_free(h->schema);
  sqlite3_free(h->name);
  sqlite3_free(h->errmsg);
  sqlite3_free(h);
}

static int host_new(struct sql_conn *c, const char *schema, const char *name){
  struct sql_host *h = sqlite3_malloc(sizeof(*h));
  if( h==NULL ) return SQLITE_NOMEM;
  memset(h, 0, sizeof(*h));
  c->store = h;
  h->conn = c;
  h->is_there = 1;
  h->schema = vdb_sql_strdup(schema);
  h->name = vdb_sql_strdup(name);
  vdb_host_ops_init(h);
  return h->schema && h->name ? SQLITE_OK : SQLITE_NOMEM;
}

/* What is uncommitted is looked for first: another connection may have renamed
** a table, and its handle here, kept by a statement that was not used since,
** still has the old name. */
static struct sql_conn *host_find(struct sql_state *st, const char *schema,
                                  const char *name){
  struct sql_conn *c, *idle = NULL;
  for(c=st->conns; c; c=c->next){
    if( c->store && c->store->is_there
     && sqlite3_stricmp(c->store->schema, schema)==0
     && sqlite3_stricmp(c->store->name, name)==0 ){
      if( c->in_txn ) return c;
      idle = c;
    }
  }
  return idle;
}

static int host_conn_create(struct sql_state *st, const char *schema,
                            const char *name, uint32_t flags,
                            struct sql_conn **out, char **err){
  vecdb_options opt = VECDB_OPTIONS_INIT;
  struct sql_conn *c;
  char *path = sqlite3_mprintf("%s.%s", schema, name);
  int rc = path ? vdb_conn_alloc(st, path, &c) : SQLITE_NOMEM;

  sqlite3_free(path);
  if( rc!=SQLITE_OK ) return rc;
  rc = host_new(c, schema, name);
  if( rc==SQLITE_OK ){
    opt.store = &c->store->ops;
    opt.cache_bytes = (uint64_t)st->cache_bytes;
    opt.gpu = (uint32_t)st->gpu;
    opt.build_bytes = (uint64_t)st->build_bytes;
    opt.fixed_seed = 1;
    rc = vecdb_open(c->path, flags, &opt, &c->eng);
    if( rc!=VECDB_OK ){
      rc = c->eng ? vdb_conn_error(c, rc, err) : SQLITE_NOMEM;
    }
  }
  if( rc!=SQLITE_OK ){
    vdb_conn_unref(c);
    return rc;
  }
  vdb_conn_list(c);
  *out = c;
  return SQLITE_OK;
}

/* SQLite connects a table again when the schema has changed, which may mean
** that all of the database is another one: nothing is believed then, unless
** our own transaction holds the write lock. */
int vdb_host_open(struct sql_state *st, const char *schema, const char *name,
                  uint32_t flags, struct sql_conn **out, char **err){
  struct sql_conn *c = host_find(st, schema, name);
  int rc;

  *out = NULL;
  if( c ){
    c->n_ref++;
    if( !c->in_txn ) vdb_host_forget(c->store);
  }else{
    rc = host_conn_create(st, schema, name, flags, &c, err);
    if( rc!=SQLITE_OK ) return rc;
  }
  rc = shadow_check_format(c->store, err);
  if( rc==SQLITE_OK ) *out = c; else vdb_conn_unref(c);
  return rc;
}

int vdb_host_create(struct sql_state *st, const char *schema, const char *name,
                    struct sql_conn **out, char **err){
  struct sql_conn *c;
  int rc = host_conn_create(st, schema, name, VECDB_OPEN_READWRITE, &c, err);

  *out = NULL;
  if( rc!=SQLITE_OK ) return rc;
  rc = shadow_create(c->store, err);
  if( rc==SQLITE_OK ) rc = vdb_guard_begin(c, schema, err);
  if( rc==SQLITE_OK ){
    c->store->is_there = 0;
    rc = event_push(c->store, NULL);
    c->store->is_there = rc==SQLITE_OK;
  }
  if( rc==SQLITE_OK ){
    *out = c;
  }else{
    c->store->is_there = 0;
    vdb_conn_unref(c);
  }
  return rc;
}

/* The names are given, since a table without a handle can be dropped. */
int vdb_host_drop(struct sql_conn *c, struct sql_state *st, const char *schema,
                  const char *name, char **err){
  char *sql;
  int rc = SQLITE_OK;

  if( c ){
    vdb_host_finalize(c->store);
    if( c->in_txn ) SQL_TRY( vdb_guard_join(st, err) );
  }
  sql = sqlite3_mprintf("DROP TABLE IF EXISTS \"%w\".\"%w_meta\";"
      "DROP TABLE IF EXISTS \"%w\".\"%w_pages\";"
      "DROP TABLE IF EXISTS \"%w\".\"%w_extents\"",
      schema, name, schema, name, schema, name);
  rc = sql ? sqlite3_exec(st->db, sql, NULL, NULL, NULL) : SQLITE_NOMEM;
  sqlite3_free(sql);
  if( rc!=SQLITE_OK ){
    rc = vdb_sql_fail(err, rc, "cannot drop the shadow tables of \"%s\": %s",
                      name, sqlite3_errmsg(st->db));
    goto done;
  }
  if( c && c->in_txn ) rc = event_push(c->store, NULL);
  if( c ) c->store->is_there = 0;
  if( c && c->in_txn && sqlite3_db_readonly(st->db, "main")==1 ){
    vdb_conn_rollback(c);              /* no guard, no callback any more */
  }
done:
  return rc;
}

int vdb_host_rename(struct sql_conn *c, const char *name, char **err){
  struct sql_host *h = c->store;
  char *copy = vdb_sql_strdup(name);
  int rc = SQLITE_OK;

  if( copy==NULL ) return SQLITE_NOMEM;
  SQL_TRY( vdb_guard_begin(c, h->schema, err) );
  vdb_host_finalize(h);
  SQL_TRY( shadow_exec(h, sqlite3_mprintf(
      "ALTER TABLE \"%w\".\"%w_meta\" RENAME TO \"%w_meta\";"
      "ALTER TABLE \"%w\".\"%w_pages\" RENAME TO \"%w_pages\";"
      "ALTER TABLE \"%w\".\"%w_extents\" RENAME TO \"%w_extents\"",
      h->schema, h->name, name, h->schema, h->name, name, h->schema, h->name,
      name), err) );
  rc = event_push(h, h->name);
  h->name = NULL;
  if( rc!=SQLITE_OK ) goto done;
  h->name = copy;
  copy = NULL;
done:
  sqlite3_free(copy);
  return rc;
}

/* ---- Transactions ------------------------------------------------------- */

/* Undo the engine's transaction; its rows are undone already (H4). When one of
** our own statements fails for want of space, SQLite rolls back at once, while
** the engine waits for that statement and can undo nothing: from then on
** nothing is written, until vdb_host_settle undoes it. */
static int host_undo(struct sql_conn *c){
  struct sql_host *h = c->store;
  int rc = VECDB_OK;
  h->is_undoing = 1;
  if( h->is_writing ) return VECDB_OK;
  if( vecdb_in_transaction(c->eng)==2 ) rc = vecdb_decide(c->eng, 0);
  h->is_undoing = 0;
  return rc;
}

int vdb_host_settle(struct sql_conn *c, char **err){
  int rc = VECDB_OK;
  if( c->store->is_undoing && !c->in_txn ) rc = host_undo(c);
  return rc==VECDB_OK ? SQLITE_OK : vdb_conn_error(c, rc, err);
}

int vdb_host_lock(struct sql_conn *c, char **err){
  int rc = vdb_host_settle(c, err);
  if( rc!=SQLITE_OK ) return rc;
  vdb_conn_unpin(c);
  rc = vecdb_begin(c->eng, VECDB_WRITE);
  return rc==VECDB_OK ? SQLITE_OK : vdb_conn_error(c, rc, err);
}

int vdb_host_sync(struct sql_conn *c, char **err){
  static const unsigned char nobody[16] = { 0 };
  struct sql_host *h = c->store;
  int rc;

  if( !h->is_there ) return SQLITE_OK;
  rc = vecdb_prepare_commit(c->eng, nobody, 0);
  if( rc==VECDB_OK ) rc = vdb_host_write_generation(h, h->generation + 1);
  if( rc==VECDB_OK && h->is_undoing ){
    rc = vdb_host_failed(h, SQLITE_FULL, SHADOW_PAGES,
                         "the database or disk is full, or failed; the "
                         "transaction was rolled back");
  }
  if( rc!=VECDB_OK ) return vdb_conn_error(c, rc, err);
  c->is_prepared = 1;
  return SQLITE_OK;
}


int vdb_host_commit(struct sql_conn *c){
  struct sql_host *h = c->store;
  int rc;
  events_forget(h);
  if( !c->is_prepared || !h->is_there ) return host_undo(c);
  rc = vecdb_decide(c->eng, 1);
  if( rc==VECDB_OK ) h->generation++;
  return rc;
}

int vdb_host_rollback(struct sql_conn *c){
  int rc = host_undo(c);
  events_undo(c->store, -1);
  return rc;
}

/* i -1 is the start of the transaction, which goes on. */
int vdb_host_rollback_to(struct sql_conn *c, int i, char **err){
  struct sql_host *h = c->store;
  int rc = VECDB_OK;

  events_undo(h, i);
  c->is_prepared = 0;
  if( i<0 ){
    rc = host_undo(c);
    c->is_dirty = 0;
    c->i_mark = -1;
    if( rc==VECDB_OK && h->is_there ) return vdb_host_lock(c, err);
  }else if( c->i_mark>=i ){
    h->is_undoing = 1;
    rc = vecdb_rollback_to(c->eng, (uint32_t)i);
    h->is_undoing = 0;
    if( rc==VECDB_OK ) c->i_mark = i;
  }
  return rc==VECDB_OK ? SQLITE_OK : vdb_conn_error(c, rc, err);
}
