/* vtab_conn.c -- one engine handle for all tables of a connection in a file,
** and one for each table stored in its SQLite database (host_txn.c).
**
** STATES   of a struct sql_conn
**
**   IDLE --begin--> OPEN --sync--> PREPARED --commit--> IDLE
**                    ^  \             |
**                    |   +--rollback--+---------------> IDLE
**                    +-----changed----+
**
**   IDLE       in_txn 0. Searches are transactions of their own.
**   OPEN       in_txn 1, the engine's write transaction is open; is_dirty says
**              whether it differs from the commit it began at.
**   PREPARED   in_txn 1, is_prepared 1: everything changed is durable in the
**              engine under the token that the host's transaction carries, or
**              (host without a file) committed already, or (table stored in
**              the host) all changes are rows of the host's transaction.
**
** SQLite calls the methods of every table that takes part, in any order, so
** each function here does its work on the first call and nothing on the rest.
**
** INVARIANTS
**   C1  Savepoint i of the engine, once open, covers every level down to the
**       start of the transaction: opening i opens all missing levels below.
**       SQLite names a level to a table only from the moment the table joined
**       on, and releases inner levels; without C1 a table that joins later
**       would open level i above changes that level i has to undo.
**   C2  The reference a transaction holds keeps the handle open when its last
**       table is dropped.
*/
#include "sql/vtab_int.h"

/* ---- Errors ------------------------------------------------------------- */

int vdb_sql_code(int rc){
  switch( rc ){
    case VECDB_OK: case VECDB_ROW: case VECDB_DONE: return SQLITE_OK;
    case VECDB_BUSY_SNAPSHOT:      return SQLITE_BUSY_SNAPSHOT;
    case VECDB_BUSY_RECOVERY:      return SQLITE_BUSY_RECOVERY;
    case VECDB_CONSTRAINT_PK:      return SQLITE_CONSTRAINT_PRIMARYKEY;
    case VECDB_CONSTRAINT_NOTNULL: return SQLITE_CONSTRAINT_NOTNULL;
    case VECDB_CONSTRAINT_TYPE:    return SQLITE_CONSTRAINT_DATATYPE;
    case VECDB_IOERR_READ:         return SQLITE_IOERR_READ;
    case VECDB_IOERR_SHORT_READ:   return SQLITE_IOERR_SHORT_READ;
    case VECDB_IOERR_WRITE:        return SQLITE_IOERR_WRITE;
    case VECDB_IOERR_SYNC:         return SQLITE_IOERR_FSYNC;
    case VECDB_IOERR_LOCK:         return SQLITE_IOERR_LOCK;
    case VECDB_IOERR_TRUNCATE:     return SQLITE_IOERR_TRUNCATE;
    case VECDB_IOERR_MAP:          return SQLITE_IOERR_MMAP;
    default: break;
  }
  switch( rc & 0xff ){
    case VECDB_INTERNAL:   return SQLITE_INTERNAL;
    case VECDB_MISUSE:     return SQLITE_MISUSE;
    case VECDB_NOMEM:      return SQLITE_NOMEM;
    case VECDB_IOERR:      return SQLITE_IOERR;
    case VECDB_FULL:       return SQLITE_FULL;
    case VECDB_CANTOPEN:   return SQLITE_CANTOPEN;
    case VECDB_NOTADB:     return SQLITE_NOTADB;
    case VECDB_CORRUPT:    return SQLITE_CORRUPT_VTAB;
    case VECDB_BUSY:       return SQLITE_BUSY;
    case VECDB_READONLY:   return SQLITE_READONLY;
    case VECDB_TOOBIG:     return SQLITE_TOOBIG;
    case VECDB_INTERRUPT:  return SQLITE_INTERRUPT;
    case VECDB_CONSTRAINT: return SQLITE_CONSTRAINT;
    case VECDB_ABORT:      return SQLITE_ABORT;
    default:               return SQLITE_ERROR;
  }
}

int vdb_conn_error(struct sql_conn *c, int engine_rc, char **err){
  if( c->store ){
    int rc = vdb_host_error(c, engine_rc, err);
    if( rc!=SQLITE_OK ) return rc;
  }
  if( err ){
    const char *msg = vecdb_errmsg(c->eng);
    sqlite3_free(*err);
    *err = vdb_sql_strdup(msg && msg[0] ? msg : vecdb_errstr(engine_rc));
  }
  return vdb_sql_code(engine_rc);
}

/* ---- Opening and closing ------------------------------------------------ */

static void conn_close(struct sql_conn *c){
  struct sql_conn **pp = &c->st->conns;
  while( *pp && *pp!=c ) pp = &(*pp)->next;
  if( *pp ) *pp = c->next;
  sqlite3_finalize(c->read_token);
  if( c->store ) vdb_host_abandon(c->store);
  vecdb_close(c->eng);
  vdb_host_free(c->store);
  sqlite3_free(c->path);
  sqlite3_free(c->host);
  sqlite3_free(c);
}

void vdb_conn_unref(struct sql_conn *c){
  if( c && --c->n_ref==0 ) conn_close(c);
}

/* The first table of a host with a file makes that host the owner of the
** commits. */
static int conn_adopt_host(struct sql_conn *c, const char *schema){
  if( c->host || !vdb_host_is_file(c->st->db, schema) ) return SQLITE_OK;
  c->host = vdb_sql_strdup(schema);
  return c->host ? SQLITE_OK : SQLITE_NOMEM;
}

static int conn_is_interrupted(void *arg, const vecdb_progress *p){
  struct sql_state *st = arg;
  (void)p;
  return st->interrupted && *st->interrupted;
}

void vdb_conn_watch_interrupt(struct sql_conn *c){
  vecdb_progress_handler(c->eng,
      c->st->interrupted ? conn_is_interrupted : NULL, c->st);
}

int vdb_conn_alloc(struct sql_state *st, const char *path,
                   struct sql_conn **out){
  struct sql_conn *c = sqlite3_malloc(sizeof(*c));

  *out = c;
  if( c==NULL ) return SQLITE_NOMEM;
  memset(c, 0, sizeof(*c));
  c->st = st;
  c->i_mark = -1;
  c->n_ref = 1;
  c->path = vdb_sql_strdup(path);
  if( c->path ) return SQLITE_OK;
  vdb_conn_unref(c);
  *out = NULL;
  return SQLITE_NOMEM;
}

void vdb_conn_list(struct sql_conn *c){
  c->next = c->st->conns;
  c->st->conns = c;
  if( c->st->interrupted ) vdb_conn_watch_interrupt(c);
}

static int conn_create(struct sql_state *st, const char *path,
                       uint32_t open_flags, struct sql_conn **out, char **err){
  vecdb_options opt = VECDB_OPTIONS_INIT;
  struct sql_conn *c;
  int rc = vdb_conn_alloc(st, path, &c);

  if( rc!=SQLITE_OK ) return rc;
  opt.file = st->file;
  opt.gpu = (uint32_t)st->gpu;
  opt.build_bytes = (uint64_t)st->build_bytes;
  rc = vecdb_open(path, open_flags, &opt, &c->eng);
  if( rc==VECDB_OK ) rc = vecdb_uuid(c->eng, c->file_uuid);
  if( rc!=VECDB_OK ){
    rc = c->eng ? vdb_conn_error(c, rc, err) : SQLITE_NOMEM;
    vdb_conn_unref(c);
    return rc;
  }
  vdb_conn_list(c);
  *out = c;
  return SQLITE_OK;
}

int vdb_conn_open(struct sql_state *st, const char *path, const char *schema,
                  uint32_t open_flags, struct sql_conn **out, char **err){
  struct sql_conn *c;
  int rc = SQLITE_OK;

  *out = NULL;
  for(c=st->conns; c && (c->store || strcmp(c->path, path)!=0); c=c->next){}
  if( c ){
    c->n_ref++;
  }else{
    rc = conn_create(st, path, open_flags, &c, err);
  }
  if( rc==SQLITE_OK ) rc = conn_adopt_host(c, schema);
  if( rc==SQLITE_OK ){
    /* What cannot be decided now is decided before the first write. */
    if( c->host && !c->in_txn ) vdb_token_resolve(c, NULL);
    *out = c;
  }else{
    vdb_conn_unref(c);
  }
  return rc;
}

/* ---- Savepoints --------------------------------------------------------- */

int vdb_conn_savepoint(struct sql_conn *c, int i, char **err){
  if( !c->in_txn ) return SQLITE_OK;
  if( c->store && vecdb_in_transaction(c->eng)!=2 ){
    return SQLITE_OK;                  /* a table whose CREATE was undone */
  }
  while( c->i_mark<i ){                /* C1 */
    int rc = vecdb_savepoint(c->eng, (uint32_t)(c->i_mark + 1));
    if( rc!=VECDB_OK ) return vdb_conn_error(c, rc, err);
    c->i_mark++;
  }
  return SQLITE_OK;
}

int vdb_conn_release(struct sql_conn *c, int i, char **err){
  int rc;
  if( c->in_txn && c->store ) vdb_host_release(c, i);
  if( !c->in_txn || c->i_mark<i ) return SQLITE_OK;
  rc = vecdb_release(c->eng, (uint32_t)i);
  if( rc!=VECDB_OK ) return vdb_conn_error(c, rc, err);
  c->i_mark = i - 1;
  return SQLITE_OK;
}

/* ---- The write transaction ---------------------------------------------- */

/* Wait for the engine's lock as long as SQLite would for its own. */
static void conn_copy_busy_timeout(struct sql_conn *c){
  sqlite3_stmt *s = NULL;
  if( sqlite3_prepare_v2(c->st->db, "PRAGMA busy_timeout", -1, &s, NULL)
      ==SQLITE_OK && sqlite3_step(s)==SQLITE_ROW ){
    vecdb_set(c->eng, "busy_ms", sqlite3_column_int64(s, 0));
  }
  sqlite3_finalize(s);
}

/* End the read transaction of the cursors, if it is open. */
void vdb_conn_unpin(struct sql_conn *c){
  if( c->is_pinned ){
    c->is_pinned = 0;
    if( vecdb_in_transaction(c->eng)==1 ) vecdb_commit(c->eng);
  }
}

static int conn_lock(struct sql_conn *c, char **err){
  int rc;
  if( c->store ) return vdb_host_lock(c, err);
  conn_copy_busy_timeout(c);
  vdb_conn_unpin(c);
  rc = vecdb_begin(c->eng, VECDB_WRITE);
  if( rc==VECDB_BUSY_INDOUBT && c->host ){
    int sql_rc = vdb_token_resolve(c, err);
    if( sql_rc!=SQLITE_OK ) return sql_rc;
    rc = vecdb_begin(c->eng, VECDB_WRITE);
  }
  return rc==VECDB_OK ? SQLITE_OK : vdb_conn_error(c, rc, err);
}

/* Undo the transaction, prepared or not; one that was committed in one phase
** stays. */
static int conn_undo(struct sql_conn *c){
  if( c->is_away ) return VECDB_OK;
  if( c->host ) return vecdb_decide(c->eng, 0);
  return c->is_prepared ? VECDB_OK : vecdb_rollback(c->eng);
}

/* SQLite numbers the savepoint that began the transaction -1: everything is
** undone, but the transaction goes on. */
static int conn_restart(struct sql_conn *c, char **err){
  int rc;
  if( !c->is_dirty ) return SQLITE_OK;
  rc = conn_undo(c);
  if( rc!=VECDB_OK ) return vdb_conn_error(c, rc, err);
  c->is_dirty = c->is_prepared = 0;
  c->i_mark = -1;
  return conn_lock(c, err);
}

int vdb_conn_rollback_to(struct sql_conn *c, int i, char **err){
  int rc;
  if( c->in_txn && c->store ) return vdb_host_rollback_to(c, i, err);
  if( !c->in_txn || c->i_mark<i ) return SQLITE_OK;
  if( i<0 ) return conn_restart(c, err);
  rc = vecdb_rollback_to(c->eng, (uint32_t)i);
  if( rc!=VECDB_OK ) return vdb_conn_error(c, rc, err);
  c->i_mark = i;
  c->is_prepared = 0;                  /* what was prepared is no more */
  return SQLITE_OK;
}

/* Commits by itself, when SQLite does. */
static int conn_is_one_phase(const struct sql_conn *c){
  return c->host==NULL && c->store==NULL;
}

/* Without a host that decides, two files could not commit together. */
static int conn_check_alone(struct sql_conn *c, char **err){
  const struct sql_conn *other;
  for(other=c->st->conns; other && conn_is_one_phase(c); other=other->next){
    if( other==c || !conn_is_one_phase(other) || !other->in_txn ) continue;
    return vdb_sql_fail(err, SQLITE_ERROR, "cannot write \"%s\" in a "
        "transaction that writes \"%s\": without a SQLite database in a file "
        "they cannot commit together; commit first", c->path, other->path);
  }
  return SQLITE_OK;
}

/* A second host in this connection may read, not write: one owner decides. */
static int conn_check_host(struct sql_conn *c, const char *schema, char **err){
  if( c->host==NULL || sqlite3_stricmp(c->host, schema)==0
   || !vdb_host_is_file(c->st->db, schema) ){
    return SQLITE_OK;
  }
  return vdb_sql_fail(err, SQLITE_READONLY, "cannot write \"%s\" from schema "
                  "\"%s\": schema \"%s\" of this connection decides its "
                  "commits", c->path, schema, c->host);
}

/* Lock, and find that the file and this host belong together. */
static int conn_lock_owned(struct sql_conn *c, uint64_t *token, char **err){
  int rc, known = 0;

  SQL_TRY( conn_lock(c, err) );
  rc = vdb_token_read(c, &known, token, err);
  if( rc==SQLITE_OK ) rc = vdb_token_check_owner(c, known, *token, err);
  if( rc!=SQLITE_OK ) vecdb_rollback(c->eng);
done:
  return rc;
}

/* Commits that the host has lost may still be in the file: the opener could
** not undo them while others had it open. */
static int conn_lock_host(struct sql_conn *c, uint64_t *token, char **err){
  int rc;

  SQL_TRY( vdb_durable_choose(c, err) );
  rc = conn_lock_owned(c, token, err);
  if( rc==SQLITE_READONLY && vdb_token_resolve(c, NULL)==SQLITE_OK ){
    rc = conn_lock_owned(c, token, err);
  }
  if( rc==SQLITE_OK ) vdb_durable_offer(c);
done:
  return rc;
}

int vdb_conn_begin(struct sql_conn *c, const char *schema, char **err){
  uint64_t token = 0;
  int rc = SQLITE_OK;

  if( c->in_txn && !(c->is_prepared && c->host==NULL && c->store==NULL) ){
    return SQLITE_OK;
  }
  SQL_TRY( conn_check_host(c, schema, err) );
  SQL_TRY( conn_check_alone(c, err) );
  SQL_TRY( c->host ? conn_lock_host(c, &token, err) : conn_lock(c, err) );
  if( !c->in_txn ) c->n_ref++;         /* C2 */
  c->in_txn = 1;
  c->is_dirty = c->is_prepared = 0;
  c->i_mark = -1;
  c->token = token + 1;
  rc = vdb_conn_savepoint(c, c->st->i_level, err);
done:
  return rc;
}

/* In autocommit, before anything was changed: nothing would be undone with the
** transaction. */
int vdb_conn_is_fresh(const struct sql_conn *c){
  return c->in_txn && c->store==NULL && !c->is_dirty && !c->is_prepared
      && sqlite3_get_autocommit(c->st->db);
}

void vdb_conn_leave(struct sql_conn *c){
  c->is_away = vecdb_rollback(c->eng)==VECDB_OK;
}

/* When the lock is not to be had, the statement fails, and SQLite ends the
** transaction that is away. */
int vdb_conn_return(struct sql_conn *c, char **err){
  uint64_t token = 0;
  int rc = SQLITE_OK;

  if( !c->is_away ) return SQLITE_OK;
  c->i_mark = -1;
  SQL_TRY( c->host ? conn_lock_host(c, &token, err) : conn_lock(c, err) );
  c->is_away = 0;
  c->token = token + 1;
  rc = vdb_conn_savepoint(c, c->st->i_level, err);
done:
  return rc;
}

int vdb_conn_adopt(struct sql_conn *c, char **err){
  unsigned char owner[16];
  uint64_t token = 0, now = 0;
  int rc, known = 0;

  if( c->in_txn || c->host==NULL ){
    return vdb_sql_fail(err, SQLITE_ERROR, c->in_txn
        ? "cannot adopt \"%s\" inside a transaction that writes it"
        : "\"%s\" needs no owner: this database is not in a file", c->path);
  }
  SQL_TRY( vdb_durable_choose(c, err) );
  SQL_TRY( conn_lock(c, err) );
  rc = vdb_token_read(c, &known, &token, err);
  if( rc==SQLITE_OK ){
    rc = vecdb_committed_token(c->eng, owner, &now);
    rc = rc==VECDB_OK ? SQLITE_OK : vdb_conn_error(c, rc, err);
  }
  if( rc!=SQLITE_OK ){
    vecdb_rollback(c->eng);
    goto done;
  }
  c->n_ref++;                          /* C2 */
  c->in_txn = c->is_dirty = 1;
  c->is_prepared = 0;
  c->i_mark = -1;
  c->token = (now>token ? now : token) + 1;
  rc = vdb_guard_join(c->st, err);     /* in autocommit mode this commits */
  if( rc!=SQLITE_OK ) vdb_conn_rollback(c);
done:
  return rc;
}

void vdb_conn_changed(struct sql_conn *c){
  c->is_dirty = 1;
  c->is_prepared = 0;
}

int vdb_conn_sync(struct sql_conn *c, char **err){
  int rc;
  if( !c->in_txn || !c->is_dirty || c->is_prepared ) return SQLITE_OK;
  if( c->store ) return vdb_host_sync(c, err);
  if( c->host==NULL ){
    rc = vecdb_commit(c->eng);
  }else{
    rc = vecdb_prepare_commit(c->eng, c->host_uuid, c->token);
  }
  if( rc!=VECDB_OK ) return vdb_conn_error(c, rc, err);
  if( c->host ){
    rc = vdb_token_write(c, c->token, err);
    if( rc!=SQLITE_OK ) return rc;
  }
  c->is_prepared = 1;
  return SQLITE_OK;
}

/* Back to IDLE; may close the handle. */
static void conn_end(struct sql_conn *c){
  c->in_txn = c->is_dirty = c->is_prepared = c->is_away = 0;
  c->i_mark = -1;
  vdb_conn_unref(c);
}

/* SQLite has committed and takes no error from here. When the engine cannot
** say so in its file, the transaction stays in doubt and the next opener
** finds the host's token. */
void vdb_conn_commit(struct sql_conn *c){
  int rc = VECDB_OK;
  if( !c->in_txn ) return;
  if( c->store ){
    rc = vdb_host_commit(c);
  }else if( c->is_prepared ){
    if( c->host ) rc = vecdb_decide(c->eng, vdb_durable_decision(c));
  }else if( !c->is_away ){
    rc = vecdb_rollback(c->eng);       /* nothing was changed */
  }
  if( rc!=VECDB_OK ){
    sqlite3_log(vdb_sql_code(rc), "vecdb: %s: %s", c->path,
                vecdb_errmsg(c->eng));
  }
  conn_end(c);
}

void vdb_conn_rollback(struct sql_conn *c){
  int rc;
  if( !c->in_txn ) return;
  rc = c->store ? vdb_host_rollback(c) : conn_undo(c);
  if( rc!=VECDB_OK ){
    sqlite3_log(vdb_sql_code(rc), "vecdb: %s: %s", c->path,
                vecdb_errmsg(c->eng));
  }
  conn_end(c);
}

/* ---- Reading ------------------------------------------------------------ */

/* All cursors of a statement read one snapshot: a read transaction that the
** first opens and the last closes. A write in between ends it early, and the
** cursors go on from where they are.
**
** The host's snapshot, token H, and the engine's newest commit belong together
** when their tokens are equal, and that is nearly always so. Otherwise another
** process committed since, or died between prepare and decide, and the state
** of H is asked for by name. When it is gone, either the host's snapshot is a
** little old (the caller begins anew), or the two files were not kept
** together: then reading goes on, and writing is refused
** (vdb_token_check_owner). */
static int conn_pin_older(struct sql_conn *c, uint64_t h, uint64_t now,
                          char **err){
  int rc;
  vecdb_commit(c->eng);
  rc = vecdb_begin_read_at(c->eng, h);
  if( rc!=VECDB_BUSY_SNAPSHOT ){
    return rc==VECDB_OK ? SQLITE_OK : vdb_conn_error(c, rc, err);
  }
  rc = vdb_conn_error(c, rc, err);
  if( !sqlite3_get_autocommit(c->st->db) || vdb_token_is_current(c, now) ){
    return rc;
  }
  rc = vecdb_begin(c->eng, VECDB_READ);
  return rc==VECDB_OK ? SQLITE_OK : vdb_conn_error(c, rc, err);
}

static int conn_pin(struct sql_conn *c, char **err){
  unsigned char uuid[16];
  uint64_t h = 0, now = 0;
  int rc = SQLITE_OK, known = 0;

  if( c->host ) rc = vdb_token_read(c, &known, &h, err);
  if( rc!=SQLITE_OK ) return rc;
  rc = vecdb_begin(c->eng, VECDB_READ);
  if( rc!=VECDB_OK ) return vdb_conn_error(c, rc, err);
  c->is_pinned = 1;
  if( !known ) return SQLITE_OK;
  rc = vecdb_committed_token(c->eng, uuid, &now);
  if( rc!=VECDB_OK ){
    rc = vdb_conn_error(c, rc, err);
  }else if( now!=h && memcmp(uuid, c->host_uuid, 16)==0 ){
    rc = conn_pin_older(c, h, now, err);
  }
  return rc;
}

int vdb_conn_begin_read(struct sql_conn *c, char **err){
  if( c->store ){
    int rc = vdb_host_settle(c, err);
    if( rc!=SQLITE_OK ) return rc;
  }
  if( c->n_cursor==0 && !c->in_txn && !c->is_pinned ){
    int rc = conn_pin(c, err);
    if( rc!=SQLITE_OK ){
      vdb_conn_unpin(c);
      return rc;
    }
  }
  c->n_cursor++;
  return SQLITE_OK;
}

void vdb_conn_end_read(struct sql_conn *c){
  if( --c->n_cursor==0 ) vdb_conn_unpin(c);
}
