/* vtab_durable.c -- when a commit of the host is on disk.
**
** The host's commit decides (vtab_token.c), so ours must not outlast it. What
** SQLite promises when it says "committed" depends on two settings of the
** host:
**
**   synchronous below FULL   the commit may still be lost. Ours is marked
**                            undoable, and no checkpoint passes it before the
**                            host was synced (vdb_durable_sync, called by the
**                            engine): the relaxed protocol.
**   journal_mode DELETE,     the commit is the removal of the journal, which
**   synchronous below EXTRA  is not synced: we sync the folder before our
**                            COMMIT.
**
** A table with durability=relaxed asks for the relaxed protocol; one with
** durability=full refuses a host below FULL.
*/
#include "sql/vtab_int.h"

enum { SYNC_FULL = 2, SYNC_EXTRA = 3 };

/* The first value of PRAGMA "schema".name; out has room for 16 bytes. */
static int pragma_text(struct sql_conn *c, const char *name, char *out){
  char *sql = sqlite3_mprintf("PRAGMA \"%w\".%s", c->host, name);
  sqlite3_stmt *s = NULL;
  int rc = sql ? sqlite3_prepare_v2(c->st->db, sql, -1, &s, NULL)
               : SQLITE_NOMEM;
  out[0] = 0;
  sqlite3_free(sql);
  if( rc==SQLITE_OK && sqlite3_step(s)==SQLITE_ROW ){
    const char *z = (const char*)sqlite3_column_text(s, 0);
    sqlite3_snprintf(16, out, "%s", z ? z : "");
  }
  return rc==SQLITE_OK ? sqlite3_finalize(s) : rc;
}

/* True if a connected table of this file was created with it. */
static int is_asked_for(struct sql_conn *c, int durability){
  const struct sql_table *t;
  for(t=c->st->tables; t; t=t->next){
    if( t->conn==c && t->durability==durability ) return 1;
  }
  return 0;
}

int vdb_durable_choose(struct sql_conn *c, char **err){
  char z[16];
  int rc, level;

  c->is_undoable = c->needs_folder = 0;
  rc = pragma_text(c, "synchronous", z);
  if( rc!=SQLITE_OK ){
    return vdb_sql_fail(err, rc, "%s", sqlite3_errmsg(c->st->db));
  }
  level = z[0]>='0' && z[0]<='3' ? z[0]-'0' : SYNC_FULL;
  if( is_asked_for(c, DURABILITY_FULL) ){
    if( level>=SYNC_FULL ) goto full;
    return vdb_sql_fail(err, SQLITE_READONLY, "cannot write \"%s\": a table in "
        "it has durability=full, but synchronous of schema \"%s\" is %s; run "
        "PRAGMA synchronous=FULL", c->path, c->host,
        level ? "NORMAL" : "OFF");
  }
  if( level<SYNC_FULL || is_asked_for(c, DURABILITY_RELAXED) ){
    c->is_undoable = 1;
    return SQLITE_OK;
  }
full:
  if( level>=SYNC_EXTRA ) return SQLITE_OK;
  rc = pragma_text(c, "journal_mode", z);
  if( rc!=SQLITE_OK ){
    return vdb_sql_fail(err, rc, "%s", sqlite3_errmsg(c->st->db));
  }
  c->needs_folder = sqlite3_stricmp(z, "delete")==0;
  return SQLITE_OK;
}

/* ---- Syncing the host --------------------------------------------------- */

static int file_sync(sqlite3_file *f){
  return f->pMethods->xSync(f, SQLITE_SYNC_NORMAL);
}

/* Sync the file of that name, if it is there, through a handle of our own: a
** journal that this connection has closed, or that of another process. Only
** for files on which SQLite takes no locks, as closing would drop them. */
static int path_sync(sqlite3_vfs *vfs, const char *path, int flags){
  sqlite3_file *f;
  int rc, there = 0;

  if( path==NULL || path[0]==0 ) return SQLITE_OK;
  rc = vfs->xAccess(vfs, path, SQLITE_ACCESS_EXISTS, &there);
  if( rc!=SQLITE_OK || !there ) return rc;
  f = sqlite3_malloc(vfs->szOsFile);
  if( f==NULL ) return SQLITE_NOMEM;
  memset(f, 0, (size_t)vfs->szOsFile);
  rc = vfs->xOpen(vfs, path, f, flags | SQLITE_OPEN_READWRITE, NULL);
  if( rc==SQLITE_OK ) rc = file_sync(f);
  if( f->pMethods ) f->pMethods->xClose(f);
  sqlite3_free(f);
  return rc;
}

/* The journal or the log: whichever this connection holds open. */
static int journal_sync(sqlite3 *db, const char *host, sqlite3_vfs *vfs){
  const char *path = sqlite3_db_filename(db, host);
  sqlite3_file *f = NULL;
  int rc;

  rc = sqlite3_file_control(db, host, SQLITE_FCNTL_JOURNAL_POINTER, &f);
  if( rc==SQLITE_OK && f && f->pMethods ) return file_sync(f);
  rc = path_sync(vfs, sqlite3_filename_wal(path), SQLITE_OPEN_WAL);
  if( rc==SQLITE_OK ){
    rc = path_sync(vfs, sqlite3_filename_journal(path),
                   SQLITE_OPEN_MAIN_JOURNAL);
  }
  return rc;
}

int vdb_durable_sync(struct sql_conn *c){
  sqlite3 *db = c->st->db;
  sqlite3_vfs *vfs = NULL;
  sqlite3_file *f = NULL;
  int rc;

  SQL_TRY( sqlite3_file_control(db, c->host, SQLITE_FCNTL_FILE_POINTER, &f) );
  SQL_TRY( sqlite3_file_control(db, c->host, SQLITE_FCNTL_VFS_POINTER, &vfs) );
  if( f==NULL || f->pMethods==NULL || vfs==NULL ) return SQLITE_CANTOPEN;
  SQL_TRY( file_sync(f) );
  SQL_TRY( journal_sync(db, c->host, vfs) );
  rc = vecdb_sync_folder(c->eng, sqlite3_db_filename(db, c->host));
  rc = rc==VECDB_OK ? SQLITE_OK : vdb_sql_code(rc);
done:
  return rc;
}

/* What the engine calls. */
static int durable_handler(void *arg){
  struct sql_conn *c = arg;
  int rc = vdb_durable_sync(c);
  if( rc==SQLITE_OK ) return VECDB_OK;
  sqlite3_log(rc, "vecdb: cannot make the host of %s durable", c->path);
  return VECDB_BUSY;
}

void vdb_durable_offer(struct sql_conn *c){
  vecdb_host_handler(c->eng, durable_handler, c);
}

/* ---- After the host's commit -------------------------------------------- */

int vdb_durable_decision(struct sql_conn *c){
  if( c->needs_folder
   && vecdb_sync_folder(c->eng, sqlite3_db_filename(c->st->db, c->host))
      !=VECDB_OK ){
    return VECDB_DECIDE_UNDOABLE;
  }
  return c->is_undoable ? VECDB_DECIDE_UNDOABLE : 1;
}
