/* vtab_token.c -- the host table vecdb_txn and who decides a transaction.
**
** A transaction over a SQLite database and a .vdb has one decision: the commit
** of the host. Each host schema with tables in .vdb files has one ordinary
** table,
**
**   vecdb_txn(file_uuid PRIMARY KEY, host_uuid, token)
**
** with a row per file. A transaction that changes the file prepares it under
** token+1 and writes token+1 here, in the same host transaction. Hence:
**
**   T1  A prepared transaction with token T is committed iff the host says
**       token >= T.
**   T2  When nothing is in doubt, the token of the file's newest commit is the
**       host's. Anything else means that one of the two files was replaced.
**
** A host without any row yet takes a uuid that follows from its path, so that
** a crash in its first transaction finds the same uuid again; from the first
** commit on the row says it, and moving the files together is harmless.
**
** What T1 reads must be newer than the death of the owner, so it is read
** through a connection of its own, after the engine said that nobody holds
** the transaction; the snapshot of our own connection may be older.
*/
#include "sql/vtab_int.h"

int vdb_token_create_table(struct sql_conn *c, const char *schema, char **err){
  char *sql;
  int rc;

  if( c->host==NULL || sqlite3_stricmp(c->host, schema)!=0 ) return SQLITE_OK;
  sql = sqlite3_mprintf("CREATE TABLE IF NOT EXISTS \"%w\".vecdb_txn("
      "file_uuid BLOB PRIMARY KEY, host_uuid BLOB NOT NULL, "
      "token INTEGER NOT NULL) WITHOUT ROWID", schema);
  if( sql==NULL ) return SQLITE_NOMEM;
  rc = sqlite3_exec(c->st->db, sql, NULL, NULL, NULL);
  sqlite3_free(sql);
  if( rc!=SQLITE_OK ){
    return vdb_sql_fail(err, rc, "cannot create table \"vecdb_txn\": %s",
                    sqlite3_errmsg(c->st->db));
  }
  return SQLITE_OK;
}

/* Prepare sql (freed here) on db; the first parameter is the file's uuid. */
static int token_prepare(sqlite3 *db, struct sql_conn *c, char *sql,
                         sqlite3_stmt **out){
  int rc;
  *out = NULL;
  if( sql==NULL ) return SQLITE_NOMEM;
  rc = sqlite3_prepare_v2(db, sql, -1, out, NULL);
  sqlite3_free(sql);
  if( rc==SQLITE_OK ){
    rc = sqlite3_bind_blob(*out, 1, c->file_uuid, 16, SQLITE_STATIC);
  }
  return rc;
}

static int table_exists(sqlite3 *db, const char *schema){
  return sqlite3_table_column_metadata(db, schema, "vecdb_txn", "token",
                                       NULL, NULL, NULL, NULL, NULL)
         ==SQLITE_OK;
}

/* FNV-1a of the host's path, twice with different starts. */
static void uuid_of_path(const char *path, unsigned char uuid[16]){
  uint64_t h[2] = { 0xcbf29ce484222325u, 0x9ae16a3b2f90404fu };
  int i;
  for(; path && *path; path++){
    for(i=0; i<2; i++) h[i] = (h[i] ^ (unsigned char)*path)*0x100000001b3u;
  }
  for(i=0; i<16; i++) uuid[i] = (unsigned char)(h[i/8] >> (8*(i%8)));
}

static int token_select_prepare(sqlite3 *db, struct sql_conn *c,
                                const char *schema, sqlite3_stmt **out){
  return token_prepare(db, c, sqlite3_mprintf(
      "SELECT host_uuid, token, 1 FROM \"%w\".vecdb_txn WHERE file_uuid=?1 "
      "UNION ALL SELECT host_uuid, token, 0 FROM \"%w\".vecdb_txn LIMIT 1",
      schema, schema), out);
}

/* Run it: the row of c's file, if known; uuid gets the host's, of any row. */
static int token_select_run(sqlite3_stmt *s, int *known, uint64_t *token,
                            unsigned char uuid[16]){
  if( sqlite3_step(s)==SQLITE_ROW && sqlite3_column_bytes(s, 0)==16 ){
    memcpy(uuid, sqlite3_column_blob(s, 0), 16);
    *known = sqlite3_column_int(s, 2);
    if( *known ) *token = (uint64_t)sqlite3_column_int64(s, 1);
  }
  return sqlite3_reset(s);
}

/* SQLite says ERROR when there is no such table. */
int vdb_token_read(struct sql_conn *c, int *known, uint64_t *token,
                   char **err){
  sqlite3 *db = c->st->db;
  int rc = SQLITE_OK;

  *known = 0;
  *token = 0;
  if( c->read_token==NULL ){
    uuid_of_path(sqlite3_db_filename(db, c->host), c->host_uuid);
    rc = token_select_prepare(db, c, c->host, &c->read_token);
  }
  if( rc==SQLITE_OK ){
    rc = token_select_run(c->read_token, known, token, c->host_uuid);
  }
  if( rc!=SQLITE_OK ){
    sqlite3_finalize(c->read_token);
    c->read_token = NULL;
    if( rc==SQLITE_ERROR && !table_exists(db, c->host) ) return SQLITE_OK;
    return vdb_sql_fail(err, rc, "cannot read table \"vecdb_txn\": %s",
                        sqlite3_errmsg(db));
  }
  return SQLITE_OK;
}

static int uuid_is_zero(const unsigned char *u){
  int i;
  for(i=0; i<16 && u[i]==0; i++){}
  return i==16;
}

int vdb_token_write(struct sql_conn *c, uint64_t token, char **err){
  sqlite3_stmt *s = NULL;
  int rc = SQLITE_OK;

  if( !table_exists(c->st->db, c->host) ){
    rc = vdb_token_create_table(c, c->host, err);
    if( rc!=SQLITE_OK ) return rc;
  }
  rc = token_prepare(c->st->db, c, sqlite3_mprintf(
      "INSERT OR REPLACE INTO \"%w\".vecdb_txn VALUES(?1, ?2, ?3)", c->host),
      &s);
  if( rc==SQLITE_OK ){
    sqlite3_bind_blob(s, 2, c->host_uuid, 16, SQLITE_STATIC);
    sqlite3_bind_int64(s, 3, (sqlite3_int64)token);
    sqlite3_step(s);
  }
  if( s ) rc = sqlite3_finalize(s);
  if( rc!=SQLITE_OK ){
    return vdb_sql_fail(err, rc, "cannot write table \"vecdb_txn\": %s",
                    sqlite3_errmsg(c->st->db));
  }
  return SQLITE_OK;
}

/* ---- Who may write ------------------------------------------------------ */

/* T2, before a write. A file without a token has had no owner yet. */
int vdb_token_check_owner(struct sql_conn *c, int known, uint64_t token,
                          char **err){
  unsigned char owner[16];
  uint64_t now = 0;
  int rc = vecdb_committed_token(c->eng, owner, &now);

  if( rc!=VECDB_OK ) return vdb_conn_error(c, rc, err);
  if( uuid_is_zero(owner) && !known ) return SQLITE_OK;
  if( known && now==token && memcmp(owner, c->host_uuid, 16)==0 ){
    return SQLITE_OK;
  }
  if( memcmp(owner, c->host_uuid, 16)!=0 ){
    return vdb_sql_fail(err, SQLITE_READONLY, "cannot write \"%s\": its "
        "commits, up to %llu, belong to another SQLite database than this one, "
        "which is at %llu; run vecdb_resolve(t,'adopt') to take it over",
        c->path, (unsigned long long)now, (unsigned long long)token);
  }
  return vdb_sql_fail(err, SQLITE_READONLY, "cannot write \"%s\": it is at "
      "commit %llu of this database, which is at %llu, so one of the files is "
      "not the one the other was used with; run vecdb_resolve(t,'adopt') to go on "
      "with both as they are", c->path, (unsigned long long)now,
      (unsigned long long)token);
}

/* ---- In doubt ----------------------------------------------------------- */

/* H as a new reader of the host's file sees it. */
static int token_read_fresh(struct sql_conn *c, uint64_t *token,
                            unsigned char uuid[16], char **err){
  sqlite3 *db = c->st->db, *fresh = NULL;
  const char *path = sqlite3_db_filename(db, c->host), *vfs_name;
  sqlite3_vfs *vfs = NULL;
  sqlite3_stmt *s = NULL;
  int rc, known = 0;

  *token = 0;
  sqlite3_file_control(db, c->host, SQLITE_FCNTL_VFS_POINTER, &vfs);
  vfs_name = vfs ? vfs->zName : NULL;
  rc = sqlite3_open_v2(path, &fresh, SQLITE_OPEN_READWRITE, vfs_name);
  if( rc!=SQLITE_OK ){
    sqlite3_close(fresh);
    fresh = NULL;
    rc = sqlite3_open_v2(path, &fresh, SQLITE_OPEN_READONLY, vfs_name);
  }
  if( rc==SQLITE_OK ){
    sqlite3_busy_timeout(fresh, 1000);
    uuid_of_path(path, uuid);
    rc = token_select_prepare(fresh, c, "main", &s);
    if( rc==SQLITE_OK ) rc = token_select_run(s, &known, token, uuid);
    if( rc==SQLITE_ERROR && !table_exists(fresh, "main") ) rc = SQLITE_OK;
  }
  if( rc!=SQLITE_OK ){
    rc = vdb_sql_fail(err, rc, "cannot ask \"%s\" whether the last "
                  "transaction of \"%s\" was committed: %s", path, c->path,
                  sqlite3_errmsg(fresh));
  }
  sqlite3_finalize(s);
  sqlite3_close(fresh);
  return rc;
}

int vdb_token_is_current(struct sql_conn *c, uint64_t token){
  unsigned char uuid[16];
  uint64_t h = 0;
  return token_read_fresh(c, &h, uuid, NULL)==SQLITE_OK && h==token;
}

/* What the host says must be on disk before it is taken as final. */
static int host_sync(struct sql_conn *c, char **err){
  int rc = vdb_durable_sync(c);
  if( rc==SQLITE_OK ) return rc;
  return vdb_sql_fail(err, rc, "cannot sync the SQLite database of \"%s\": %s",
                      c->path, sqlite3_errstr(rc));
}

static int resolve_prepared(struct sql_conn *c, char **err){
  unsigned char owner[16], uuid[16];
  uint64_t prepared = 0, h = 0;
  int rc, in_doubt = 0;

  rc = vecdb_in_doubt(c->eng, &in_doubt, owner, &prepared);
  if( rc!=VECDB_OK ) return vdb_conn_error(c, rc, err);
  if( !in_doubt ) return SQLITE_OK;
  SQL_TRY( token_read_fresh(c, &h, uuid, err) );
  if( memcmp(owner, uuid, 16)!=0 ) return SQLITE_OK;   /* not ours to decide */
  if( h>=prepared ) SQL_TRY( host_sync(c, err) );
  rc = vecdb_decide(c->eng, h>=prepared);
  rc = rc==VECDB_OK ? SQLITE_OK : vdb_conn_error(c, rc, err);
done:
  return rc;
}

/* Commits of this host that it may have lost in a power cut. `newest` is read
** before H: a live host would have committed it by then. */
static int resolve_undoable(struct sql_conn *c, char **err){
  unsigned char owner[16], uuid[16];
  uint64_t newest = 0, firm = 0, h = 0;
  int rc, undoable = 0;

  rc = vecdb_undoable(c->eng, &undoable, owner, &newest, &firm);
  if( rc!=VECDB_OK ) return vdb_conn_error(c, rc, err);
  if( !undoable ) return SQLITE_OK;
  SQL_TRY( token_read_fresh(c, &h, uuid, err) );
  if( memcmp(owner, uuid, 16)!=0 ) return SQLITE_OK;
  vdb_durable_offer(c);
  if( h>=newest || h<firm ) return SQLITE_OK;
  SQL_TRY( host_sync(c, err) );
  rc = vecdb_rewind(c->eng, h, newest);
  rc = rc==VECDB_OK ? SQLITE_OK : vdb_conn_error(c, rc, err);
done:
  return rc;
}

int vdb_token_resolve(struct sql_conn *c, char **err){
  int rc = resolve_prepared(c, err);
  return rc==SQLITE_OK ? resolve_undoable(c, err) : rc;
}
