/* host.c -- a page store whose pages are rows of shadow tables.
**
** FORMAT   of the shadow tables of a table t
**
**   t_meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID
**      'format'      1
**      'generation'  counts the transactions that changed the other two
**   t_pages(pgno INTEGER PRIMARY KEY, data BLOB)       4,032 bytes each
**   t_extents(no INTEGER PRIMARY KEY, data BLOB)
**
** All of them are ordinary tables: commit, rollback, savepoints, backup,
** VACUUM, replication and snapshots are SQLite's, and the bytes in them depend
** on the statements alone.
**
** INVARIANTS
**   H1  The engine's cache is valid for the rows with `generation`. A reader
**       or writer that finds another one there tells the engine so.
**   H2  Rows change only between xBegin and the end of the transaction, inside
**       SQLite's own transaction. `generation` moves on when it has committed.
**   H3  No statement is left between two steps and no BLOB handle open when a
**       function returns: they would block VACUUM, DROP and COMMIT.
**   H4  While SQLite rolls back nothing is written: its rows are what they
**       were already.
**   H5  last_insert_rowid() is the application's, so what our inserts do to it
**       is taken back.
*/
#include "sql/host_int.h"

const char *const vdb_host_suffix[SHADOW_N] = { "meta", "pages", "extents" };

/* ---- Failures ----------------------------------------------------------- */

/* What the engine is told of a failure of SQLite. */
static int engine_code(int rc){
  switch( rc & 0xff ){
    case SQLITE_NOMEM:     return VECDB_NOMEM;
    case SQLITE_BUSY:      return rc==SQLITE_BUSY_SNAPSHOT
                                  ? VECDB_BUSY_SNAPSHOT : VECDB_BUSY;
    case SQLITE_LOCKED:    return VECDB_BUSY;
    case SQLITE_READONLY:  return VECDB_READONLY;
    case SQLITE_INTERRUPT: return VECDB_INTERRUPT;
    case SQLITE_FULL:      return VECDB_FULL;
    case SQLITE_TOOBIG:    return VECDB_TOOBIG;
    case SQLITE_CORRUPT:   return VECDB_CORRUPT;
    case SQLITE_ABORT:     return VECDB_ABORT;
    default:               return VECDB_IOERR;
  }
}

/* A statement about a shadow table that does not even compile means that the
** table is gone or is another one. */
int vdb_host_failed(struct sql_host *h, int rc, int shadow, const char *msg){
  const char *suffix = vdb_host_suffix[shadow];
  if( rc==SQLITE_ERROR ) rc = SQLITE_CORRUPT_VTAB;
  sqlite3_free(h->errmsg);
  h->errmsg = (rc & 0xff)==SQLITE_CORRUPT
      ? sqlite3_mprintf("shadow table \"%w_%s\" of table \"%w\": %s", h->name,
                        suffix, h->name, msg)
      : sqlite3_mprintf("%s", msg);
  if( h->errmsg==NULL ) rc = SQLITE_NOMEM;
  h->rc_failed = rc;
  h->rc_engine = engine_code(rc);
  return h->rc_engine;
}

int vdb_host_error(struct sql_conn *c, int engine_rc, char **err){
  struct sql_host *h = c->store;
  const char *msg = vecdb_errmsg(c->eng);
  int rc = h->rc_failed;

  if( rc!=SQLITE_OK && engine_rc==h->rc_engine ){
    h->rc_failed = SQLITE_OK;
    return vdb_sql_fail(err, rc, "%s", h->errmsg ? h->errmsg : "out of memory");
  }
  if( (engine_rc & 0xff)!=VECDB_CORRUPT ) return SQLITE_OK;
  return vdb_sql_fail(err, SQLITE_CORRUPT_VTAB, "shadow table \"%w_%s\" of "
      "table \"%w\": %s", h->name, vdb_host_suffix[strncmp(msg, "extent", 6)
      ? SHADOW_PAGES : SHADOW_EXTENTS], h->name, msg);
}

static int host_db_failed(struct sql_host *h, int rc, int shadow){
  return vdb_host_failed(h, rc, shadow, sqlite3_errmsg(h->conn->st->db));
}

/* ---- Statements --------------------------------------------------------- */

static const struct { int shadow; const char *sql; } host_sql[HOST_STMT_N] = {
  [HOST_GENERATION] = { SHADOW_META,
    "SELECT value FROM \"%w\".\"%w_%s\" WHERE key='generation'" },
  [HOST_SET_GENERATION] = { SHADOW_META,
    "UPDATE \"%w\".\"%w_%s\" SET value=?1 WHERE key='generation'" },
  [HOST_READ_PAGE] = { SHADOW_PAGES,
    "SELECT data FROM \"%w\".\"%w_%s\" WHERE pgno=?1" },
  [HOST_WRITE_PAGE] = { SHADOW_PAGES,
    "REPLACE INTO \"%w\".\"%w_%s\"(pgno,data) VALUES(?1,?2)" },
  [HOST_FREE_PAGE] = { SHADOW_PAGES,
    "DELETE FROM \"%w\".\"%w_%s\" WHERE pgno=?1" },
  [HOST_WRITE_EXTENT] = { SHADOW_EXTENTS,
    "REPLACE INTO \"%w\".\"%w_%s\"(no,data) VALUES(?1,?2)" },
  [HOST_FREE_EXTENT] = { SHADOW_EXTENTS,
    "DELETE FROM \"%w\".\"%w_%s\" WHERE no=?1" },
};

/* The kept statement, compiled on first use. SQLite codes. */
static int host_stmt(struct sql_host *h, int which, sqlite3_stmt **out){
  int rc = SQLITE_OK, shadow = host_sql[which].shadow;
  char *sql;
  if( h->stmt[which]==NULL ){
    sql = sqlite3_mprintf(host_sql[which].sql, h->schema, h->name,
                          vdb_host_suffix[shadow]);
    if( sql==NULL ) return SQLITE_NOMEM;
    rc = sqlite3_prepare_v3(h->conn->st->db, sql, -1,
        SQLITE_PREPARE_PERSISTENT | SQLITE_PREPARE_NO_VTAB, &h->stmt[which],
        NULL);
    sqlite3_free(sql);
  }
  *out = h->stmt[which];
  return rc;
}

void vdb_host_finalize(struct sql_host *h){
  int i;
  for(i=0; i<HOST_STMT_N; i++){
    sqlite3_finalize(h->stmt[i]);
    h->stmt[i] = NULL;
  }
}

/* Run a statement that writes: first parameter no, second the bytes at p, if
** any (H5). */
static int host_write(struct sql_host *h, int which, sqlite3_int64 no,
                      const void *p, size_t n){
  sqlite3 *db = h->conn->st->db;
  sqlite3_int64 rowid = sqlite3_last_insert_rowid(db);
  sqlite3_stmt *s;
  int rc;

  if( h->is_undoing ){                 /* H4 */
    return vdb_host_failed(h, SQLITE_FULL, host_sql[which].shadow,
                           "the database or disk is full, or failed; the "
                           "transaction was rolled back");
  }
  rc = host_stmt(h, which, &s);
  if( rc!=SQLITE_OK ) return host_db_failed(h, rc, host_sql[which].shadow);
  sqlite3_bind_int64(s, 1, no);
  if( p ) rc = sqlite3_bind_blob64(s, 2, p, n, SQLITE_STATIC);
  if( rc==SQLITE_OK ){
    h->is_writing = 1;
    while( sqlite3_step(s)==SQLITE_ROW ){}     /* PRAGMA count_changes */
    rc = sqlite3_reset(s);
    h->is_writing = 0;
    /* While COMMIT calls xSync SQLite rolls back without a word to us. */
    if( rc!=SQLITE_OK
     && sqlite3_txn_state(db, h->schema)!=SQLITE_TXN_WRITE ){
      h->is_undoing = 1;
    }
  }
  if( rc!=SQLITE_OK ) rc = host_db_failed(h, rc, host_sql[which].shadow);
  if( p ) sqlite3_bind_null(s, 2);
  sqlite3_set_last_insert_rowid(db, rowid);
  return rc;
}

/* ---- Versions ----------------------------------------------------------- */

void vdb_host_forget(struct sql_host *h){
  h->was_seen = 0;
  h->n_epoch++;
  h->n_version = 0;
}

static int host_read_generation(struct sql_host *h, sqlite3_int64 *out){
  sqlite3_stmt *s;
  int rc = host_stmt(h, HOST_GENERATION, &s), found = 0;

  if( rc==SQLITE_OK ){
    if( sqlite3_step(s)==SQLITE_ROW
     && sqlite3_column_type(s, 0)==SQLITE_INTEGER ){
      *out = sqlite3_column_int64(s, 0);
      found = 1;
    }
    rc = sqlite3_reset(s);
  }
  if( rc!=SQLITE_OK ) return host_db_failed(h, rc, SHADOW_META);
  if( !found ){
    return vdb_host_failed(h, SQLITE_CORRUPT_VTAB, SHADOW_META,
                           "the row of key 'generation' is missing");
  }
  return VECDB_OK;
}

/* H1. The version grows with changes, and falls when all is to be forgotten. */
static int host_begin(void *arg, uint64_t *version){
  struct sql_host *h = arg;
  sqlite3_int64 now = 0;
  int rc = host_read_generation(h, &now);

  if( rc!=VECDB_OK ) return rc;
  if( !h->was_seen || now!=h->generation ){
    h->was_seen = 1;
    h->generation = now;
    h->n_version++;
  }
  *version = ((uint64_t)(UINT32_MAX - h->n_epoch) << 32) | h->n_version;
  return VECDB_OK;
}

/* The transaction is SQLite's. */
static int host_end(void *arg, int committed){
  (void)arg;
  (void)committed;
  return VECDB_OK;
}

int vdb_host_write_generation(struct sql_host *h, sqlite3_int64 generation){
  int rc = host_write(h, HOST_SET_GENERATION, generation, NULL, 0);
  if( rc==VECDB_OK && sqlite3_changes(h->conn->st->db)!=1 ){
    rc = vdb_host_failed(h, SQLITE_CORRUPT_VTAB, SHADOW_META,
                         "the row of key 'generation' is missing");
  }
  return rc;
}

/* ---- Pages -------------------------------------------------------------- */

static int host_row_wrong(struct sql_host *h, int shadow, sqlite3_int64 no,
                          const char *what){
  char *z = sqlite3_mprintf("row %lld %s", no, what);
  int rc = z ? vdb_host_failed(h, SQLITE_CORRUPT_VTAB, shadow, z)
             : VECDB_NOMEM;
  sqlite3_free(z);
  return rc;
}

/* A store that was never committed has no pages yet; the engine asks for the
** first one. */
static int host_read_page(void *arg, uint32_t pgno, void *buf){
  struct sql_host *h = arg;
  sqlite3_stmt *s;
  int rc = host_stmt(h, HOST_READ_PAGE, &s), found = 0, n = 0;

  if( rc!=SQLITE_OK ) return host_db_failed(h, rc, SHADOW_PAGES);
  sqlite3_bind_int64(s, 1, pgno);
  if( sqlite3_step(s)==SQLITE_ROW ){
    const void *p = sqlite3_column_blob(s, 0);
    found = 1;
    n = sqlite3_column_bytes(s, 0);
    if( p && n==HOST_PAGE ) memcpy(buf, p, HOST_PAGE);
  }
  rc = sqlite3_reset(s);
  if( rc!=SQLITE_OK ) return host_db_failed(h, rc, SHADOW_PAGES);
  if( found && n==HOST_PAGE ) return VECDB_OK;
  if( !found && h->generation==0 ) return VECDB_NOTFOUND;
  return host_row_wrong(h, SHADOW_PAGES, pgno,
                        found ? "has another size than a page" : "is missing");
}

static int host_flush(void *arg, size_t n, const uint32_t *pgno,
                      const void *const *pages){
  struct sql_host *h = arg;
  size_t i;
  int rc = VECDB_OK;
  for(i=0; i<n && rc==VECDB_OK; i++){
    rc = host_write(h, HOST_WRITE_PAGE, pgno[i], pages[i], HOST_PAGE);
  }
  return rc;
}

static int host_free_page(void *arg, uint32_t pgno){
  return host_write(arg, HOST_FREE_PAGE, pgno, NULL, 0);
}

/* ---- Extents ------------------------------------------------------------ */

static int host_extent_write(void *arg, uint64_t no, const void *p, size_t n){
  return host_write(arg, HOST_WRITE_EXTENT, (sqlite3_int64)no, p, n);
}

/* Straight from SQLite's pages into buf. SQLite has no code of its own for a
** row that is not there, or holds no BLOB. */
static int host_extent_read(void *arg, uint64_t no, size_t off, void *buf,
                            size_t n){
  struct sql_host *h = arg;
  sqlite3_blob *blob = NULL;
  char *table = sqlite3_mprintf("%s_%s", h->name,
                                vdb_host_suffix[SHADOW_EXTENTS]);
  int rc;

  if( table==NULL ) return VECDB_NOMEM;
  rc = sqlite3_blob_open(h->conn->st->db, h->schema, table, "data",
                         (sqlite3_int64)no, 0, &blob);
  sqlite3_free(table);
  if( rc==SQLITE_OK ){
    size_t sz = (size_t)sqlite3_blob_bytes(blob);
    if( off>sz || n>sz - off ){
      rc = host_row_wrong(h, SHADOW_EXTENTS, (sqlite3_int64)no, "is too short");
      sqlite3_blob_close(blob);
      return rc;
    }
    rc = sqlite3_blob_read(blob, buf, (int)n, (int)off);
  }
  if( rc!=SQLITE_OK ) rc = host_db_failed(h, rc, SHADOW_EXTENTS);
  sqlite3_blob_close(blob);
  return rc;
}

/* H4 */
static int host_extent_free(void *arg, uint64_t no){
  struct sql_host *h = arg;
  if( h->is_undoing ) return VECDB_OK;
  return host_write(h, HOST_FREE_EXTENT, (sqlite3_int64)no, NULL, 0);
}

static const char *host_errmsg(void *arg){
  return ((struct sql_host*)arg)->errmsg;
}

void vdb_host_ops_init(struct sql_host *h){
  static const vecdb_page_store ops = {
    sizeof(ops), HOST_PAGE, NULL, host_begin, host_begin, host_end,
    host_read_page, host_flush, host_free_page, host_extent_write,
    host_extent_read, host_extent_free, host_errmsg
  };
  h->ops = ops;
  h->ops.arg = h;
}
