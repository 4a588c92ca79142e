/* t_twophase.c -- a transaction over a SQLite database and a .vdb is in both
** or in neither, wherever the process dies.
**
** A child runs one transaction through a VFS that ends the process at the n-th
** change of the host's files, before or after it, for every n until the child
** gets through. Each time the parent opens what is left: the ordinary table and
** the vector table must have the same rows, the next transaction must work, and
** nothing may be in doubt any more.
*/
#include <sqlite3.h>
#include <sys/wait.h>

#include "sql/scratch.h"

int sqlite3_vecdb_init(sqlite3 *db, char **err, const void *api);

enum { CHILD_DIED = 42, POINT_MAX = 400 };

/* ---- A VFS that dies ----------------------------------------------------- */

static int n_until_death;     /* changes left; 0: never */
static int dies_after;        /* the change is made first */

struct shim_file {
  sqlite3_file base;
  sqlite3_file *real;         /* follows this struct */
};
#define REAL(f) (((struct shim_file*)(f))->real)

/* Count one change; *dies says to end after it. */
static int change_begins(void){
  if( n_until_death==0 || --n_until_death>0 ) return 0;
  if( !dies_after ) _exit(CHILD_DIED);
  return 1;
}
static int change_ends(int dies, int rc){
  if( dies ) _exit(CHILD_DIED);
  return rc;
}

static int shim_close(sqlite3_file *f){
  return REAL(f)->pMethods ? REAL(f)->pMethods->xClose(REAL(f)) : SQLITE_OK;
}
static int shim_read(sqlite3_file *f, void *p, int n, sqlite3_int64 off){
  return REAL(f)->pMethods->xRead(REAL(f), p, n, off);
}
static int shim_write(sqlite3_file *f, const void *p, int n,
                      sqlite3_int64 off){
  int dies = change_begins();
  return change_ends(dies, REAL(f)->pMethods->xWrite(REAL(f), p, n, off));
}
static int shim_truncate(sqlite3_file *f, sqlite3_int64 n){
  int dies = change_begins();
  return change_ends(dies, REAL(f)->pMethods->xTruncate(REAL(f), n));
}
static int shim_sync(sqlite3_file *f, int flags){
  int dies = change_begins();
  return change_ends(dies, REAL(f)->pMethods->xSync(REAL(f), flags));
}
static int shim_size(sqlite3_file *f, sqlite3_int64 *n){
  return REAL(f)->pMethods->xFileSize(REAL(f), n);
}
static int shim_lock(sqlite3_file *f, int lock){
  return REAL(f)->pMethods->xLock(REAL(f), lock);
}
static int shim_unlock(sqlite3_file *f, int lock){
  return REAL(f)->pMethods->xUnlock(REAL(f), lock);
}
static int shim_reserved(sqlite3_file *f, int *out){
  return REAL(f)->pMethods->xCheckReservedLock(REAL(f), out);
}
static int shim_control(sqlite3_file *f, int op, void *arg){
  return REAL(f)->pMethods->xFileControl(REAL(f), op, arg);
}
static int shim_sector(sqlite3_file *f){
  return REAL(f)->pMethods->xSectorSize(REAL(f));
}
static int shim_device(sqlite3_file *f){
  return REAL(f)->pMethods->xDeviceCharacteristics(REAL(f));
}
static int shim_shm_map(sqlite3_file *f, int page, int n, int extend,
                        void volatile **out){
  return REAL(f)->pMethods->xShmMap(REAL(f), page, n, extend, out);
}
static int shim_shm_lock(sqlite3_file *f, int off, int n, int flags){
  return REAL(f)->pMethods->xShmLock(REAL(f), off, n, flags);
}
static void shim_shm_barrier(sqlite3_file *f){
  REAL(f)->pMethods->xShmBarrier(REAL(f));
}
static int shim_shm_unmap(sqlite3_file *f, int del){
  return REAL(f)->pMethods->xShmUnmap(REAL(f), del);
}

static const sqlite3_io_methods shim_methods = {
  .iVersion = 2,
  .xClose = shim_close, .xRead = shim_read, .xWrite = shim_write,
  .xTruncate = shim_truncate, .xSync = shim_sync, .xFileSize = shim_size,
  .xLock = shim_lock, .xUnlock = shim_unlock,
  .xCheckReservedLock = shim_reserved, .xFileControl = shim_control,
  .xSectorSize = shim_sector, .xDeviceCharacteristics = shim_device,
  .xShmMap = shim_shm_map, .xShmLock = shim_shm_lock,
  .xShmBarrier = shim_shm_barrier, .xShmUnmap = shim_shm_unmap,
};

static sqlite3_vfs *real_vfs;

static int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f,
                     int flags, int *out_flags){
  struct shim_file *s = (struct shim_file*)f;
  int rc;
  (void)vfs;
  s->real = (sqlite3_file*)&s[1];
  rc = real_vfs->xOpen(real_vfs, name, s->real, flags, out_flags);
  s->base.pMethods = rc==SQLITE_OK ? &shim_methods : NULL;
  return rc;
}
static int shim_delete(sqlite3_vfs *vfs, const char *name, int sync){
  int dies = change_begins();
  (void)vfs;
  return change_ends(dies, real_vfs->xDelete(real_vfs, name, sync));
}

/* ---- Running SQL --------------------------------------------------------- */

static sqlite3 *host_open(const char *path, const char *vfs){
  sqlite3 *db = NULL;
  char *err = NULL;
  if( sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                      vfs)!=SQLITE_OK
   || sqlite3_vecdb_init(db, &err, NULL)!=SQLITE_OK ){
    printf("cannot open: %s %s\n", sqlite3_errmsg(db), err ? err : "");
    _exit(2);
  }
  return db;
}

/* Run sql; the first column of the first row, or -1. */
static long long host_run(sqlite3 *db, const char *sql){
  long long out = -1;
  sqlite3_stmt *s = NULL;
  const char *tail = sql;
  while( *tail ){
    int rc = sqlite3_prepare_v2(db, tail, -1, &s, &tail);
    if( rc!=SQLITE_OK ) break;
    if( s==NULL ) continue;
    rc = sqlite3_step(s);
    if( rc==SQLITE_ROW ) out = sqlite3_column_int64(s, 0);
    while( rc==SQLITE_ROW ) rc = sqlite3_step(s);
    if( sqlite3_finalize(s)!=SQLITE_OK ) break;
  }
  if( *tail ) printf("  %s: %s\n", sqlite3_errmsg(db), tail);
  return *tail ? -2 : out;
}

#define BASE \
  "CREATE TABLE o(id INTEGER PRIMARY KEY);" \
  "CREATE VIRTUAL TABLE t USING vecdb(file='x.vdb', id integer primary key," \
  "  v float[2]);" \
  "INSERT INTO o VALUES(1); INSERT INTO t(id,v) VALUES(1,'[1,1]');"
#define CHANGE \
  "BEGIN; INSERT INTO o VALUES(2); INSERT INTO t(id,v) VALUES(2,'[2,2]');" \
  "SAVEPOINT s; INSERT INTO o VALUES(3); INSERT INTO t(id,v) VALUES(3,'[3,3]');"\
  "ROLLBACK TO s; DELETE FROM o WHERE id=1; DELETE FROM t WHERE id=1; COMMIT;"

/* The child: base without faults if it is given, then sql with death at the
** n-th change. */
static int child_run(int n, const char *pragma, const char *base,
                     const char *sql){
  pid_t pid = fork();
  int status = 0;
  if( pid==0 ){
    sqlite3 *db = host_open(scratch("host.db"), "shim");
    host_run(db, pragma);
    if( base && host_run(db, base)==-2 ) _exit(3);
    n_until_death = n;
    if( host_run(db, sql)==-2 ) _exit(4);
    n_until_death = 0;
    sqlite3_close(db);
    _exit(0);
  }
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void expect_agreement(const char *what, int n){
  sqlite3 *db = host_open(scratch("host.db"), NULL);
  long long difference = host_run(db,
      "SELECT count(*) FROM (SELECT id FROM o EXCEPT SELECT id FROM t"
      " UNION ALL SELECT * FROM (SELECT id FROM t EXCEPT SELECT id FROM o));");
  if( difference!=0 ){
    FAIL("%s, change %d: %lld rows differ", what, n, difference);
  }
  if( host_run(db, "INSERT INTO o SELECT 100+count(*) FROM o;"
               "INSERT INTO t(id,v) SELECT max(id),'[9,9]' FROM o;"
               "SELECT (SELECT count(*) FROM t)-(SELECT count(*) FROM o);")
      !=0 ){
    FAIL("%s, change %d: the next transaction fails", what, n);
  }
  CHECK_INT(0, host_run(db, "SELECT count(*) FROM vecdb_check('t')"
                        " WHERE severity='damage';"));
  sqlite3_close(db);
}

static void die_everywhere(const char *pragma, const char *sql, int after){
  int n, rc = CHILD_DIED;

  dies_after = after;
  for(n=1; rc==CHILD_DIED && n<POINT_MAX; n++){
    scratch_remove();
    rc = child_run(n, pragma, BASE, sql);
    if( rc!=0 && rc!=CHILD_DIED ) FAIL("change %d: child gives %d", n, rc);
    expect_agreement(pragma, n);
  }
  CHECK_INT(0, rc);
  CHECK( n>3 );               /* it did die in between */
}

static void shim_register(void){
  static sqlite3_vfs shim;
  scratch_remove();
  if( real_vfs ) return;
  sqlite3_initialize();
  real_vfs = sqlite3_vfs_find(NULL);
  shim = *real_vfs;
  shim.zName = "shim";
  shim.szOsFile = (int)sizeof(struct shim_file) + real_vfs->szOsFile;
  shim.xOpen = shim_open;
  shim.xDelete = shim_delete;
  sqlite3_vfs_register(&shim, 0);
}

TEST(twophase__agrees_when_the_host_dies_before_a_change){
  shim_register();
  die_everywhere("PRAGMA journal_mode=DELETE;", CHANGE, 0);
  scratch_end();
}
TEST(twophase__agrees_when_the_host_dies_after_a_change){
  shim_register();
  die_everywhere("PRAGMA journal_mode=DELETE;", CHANGE, 1);
  scratch_end();
}
TEST(twophase__agrees_with_a_host_in_wal_mode){
  shim_register();
  die_everywhere("PRAGMA journal_mode=WAL;", CHANGE, 0);
  die_everywhere("PRAGMA journal_mode=WAL;", CHANGE, 1);
  scratch_end();
}
TEST(twophase__agrees_with_a_persistent_journal){
  shim_register();
  die_everywhere("PRAGMA journal_mode=PERSIST;", CHANGE, 1);
  die_everywhere("PRAGMA journal_mode=TRUNCATE;", CHANGE, 1);
  scratch_end();
}

/* The very first transaction creates table, file and token at once. */
TEST(twophase__first_transaction_is_in_both_or_neither){
  int n, after, rc;
  shim_register();
  for(after=0; after<2; after++){
    rc = CHILD_DIED;
    dies_after = after;
    for(n=1; rc==CHILD_DIED && n<POINT_MAX; n++){
      sqlite3 *db;
      scratch_remove();
      rc = child_run(n, "PRAGMA journal_mode=DELETE;", NULL,
                     "BEGIN;" BASE "COMMIT;");
      if( rc!=0 && rc!=CHILD_DIED ) FAIL("change %d: child gives %d", n, rc);
      db = host_open(scratch("host.db"), NULL);
      if( host_run(db, "SELECT count(*) FROM sqlite_schema WHERE name='o';")
          ==0 ){
        if( host_run(db, BASE)==-2 ) FAIL("change %d: cannot begin anew", n);
      }
      sqlite3_close(db);
      expect_agreement("first", n);
    }
    CHECK_INT(0, rc);
  }
  scratch_end();
}

/* DROP commits with the host too. */
TEST(twophase__drop_is_in_both_or_neither){
  int n, rc = CHILD_DIED;
  shim_register();
  dies_after = 1;
  for(n=1; rc==CHILD_DIED && n<POINT_MAX; n++){
    sqlite3 *db;
    long long there;
    scratch_remove();
    rc = child_run(n, "PRAGMA journal_mode=DELETE;", BASE,
                   "BEGIN; DROP TABLE t; DROP TABLE o; COMMIT;");
    db = host_open(scratch("host.db"), NULL);
    there = host_run(db, "SELECT count(*) FROM sqlite_schema WHERE name='t';");
    if( there==1 ){
      CHECK_INT(1, host_run(db, "SELECT count(*) FROM t;"));
    }else{
      CHECK_INT(0, there);
      CHECK_INT(0, host_run(db, "CREATE VIRTUAL TABLE t USING "
          "vecdb(file='x.vdb', v float[3]); SELECT count(*) FROM t;"));
    }
    sqlite3_close(db);
  }
  CHECK_INT(0, rc);
  scratch_end();
}
