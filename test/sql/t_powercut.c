/* t_powercut.c -- a power cut anywhere in a commit over two files leaves the
** transaction in both or in neither.
**
** The host's files (by hostvfs.h) and the .vdb live in one simulated world,
** whose effects are logged; lib_crash builds what the disk may hold after a
** cut at any place. Each distinct image is opened by SQLite and the extension,
** as after a reboot: the ordinary table and the vector table must be in the
** same state, one that is allowed there, sound, and writable. A part of the
** images is cut again while that goes on.
**
** Each life is run with a journal_mode and a synchronous level. Where those
** let SQLite lose commits (below FULL), any earlier state is allowed, as long
** as both files have the same. Where they let it damage the host, images with
** a damaged host are counted and left alone; with synchronous=OFF it may also
** hold parts of several commits, so there the .vdb has to be sound, no more. */
#include "hostvfs.h"
#include "vt.h"
#include "util/mem.h"
#include "lab/lib_crash.h"

int sqlite3_vecdb_init(sqlite3 *db, char **err, const void *api);

enum { N_STATE_MAX = 64 };
static const char host_path[] = "/h/host.db";
static const char vdb_path[] = "/h/x.vdb";

struct setting {
  const char *name, *pragma, *option;
  bool is_firm;              /* a commit that returned stays */
  bool may_damage;           /* the host can be damaged by itself */
  bool may_lose;             /* and lose parts of commits: synchronous=OFF */
};

struct life {
  const struct setting *set;
  struct host_world world;
  sqlite3 *db;
  struct crash_log *log;
  struct crash_seen *seen;
  int state, durable;
  bool is_second;            /* inside a recovery */
  size_t n_probe, n_second, n_damaged, n_lost;
};

/* ---- a host -------------------------------------------------------------- */

static int host_begin(struct host_world *w, const struct vecdb_file_ops *ops,
                      const char *pragma, sqlite3 **db){
  sqlite3_stmt *s = NULL;
  char *err = NULL;
  int rc;
  host_world_begin(w, ops);
  rc = sqlite3_open_v2(host_path, db,
                       SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, w->name);
  if( rc==SQLITE_OK ) rc = sqlite3_vecdb_init(*db, &err, NULL);
  if( rc==SQLITE_OK ){
    rc = sqlite3_prepare_v2(*db, "SELECT vecdb_config('file_layer', ?1)", -1,
                            &s, NULL);
  }
  if( rc==SQLITE_OK ){
    sqlite3_bind_pointer(s, 1, (void*)ops, "vecdb_file_layer", NULL);
    sqlite3_step(s);
    rc = sqlite3_finalize(s);
  }
  if( rc==SQLITE_OK ) rc = sqlite3_exec(*db, pragma, NULL, NULL, NULL);
  sqlite3_free(err);
  return rc;
}

static void host_end(struct host_world *w, sqlite3 *db){
  sqlite3_close(db);
  host_world_end(w);
}

/* The first column of the first row, or -1 after an error. */
static long long ask(sqlite3 *db, const char *sql){
  sqlite3_stmt *s = NULL;
  long long out = -1;
  if( sqlite3_prepare_v2(db, sql, -1, &s, NULL)==SQLITE_OK
   && sqlite3_step(s)==SQLITE_ROW ){
    out = sqlite3_column_int64(s, 0);
  }
  return sqlite3_finalize(s)==SQLITE_OK ? out : -1;
}

/* ---- the life ------------------------------------------------------------ */

static void life_say(struct life *l, int hi){
  crash_mark(l->log, l->durable, hi, false);
}

static void life_run(struct life *l, const char *sql){
  if( sqlite3_exec(l->db, sql, NULL, NULL, NULL)!=SQLITE_OK ){
    FAIL("%s: %s: %s", l->set->name, sqlite3_errmsg(l->db), sql);
  }
}

/* One transaction over both files: row `state` comes, every third goes, and a
** column changes; the second table of the .vdb gets a row. `more` runs in it. */
static void life_commit(struct life *l, const char *more){
  int n = l->state + 1;
  char *sql = sqlite3_mprintf(
    "BEGIN; INSERT INTO o VALUES(%d,%d); INSERT INTO t(id,v,n) "
    "VALUES(%d,'[%d,1]',%d); SAVEPOINT s; INSERT INTO o VALUES(1000,0); "
    "INSERT INTO t(id,v) VALUES(1000,'[0,0]'); ROLLBACK TO s; "
    "UPDATE o SET n=%d WHERE id=1; UPDATE t SET n=%d WHERE id=1; "
    "DELETE FROM o WHERE id=%d AND id%%3=0; "
    "DELETE FROM t WHERE id=%d AND id%%3=0; "
    "INSERT INTO u(id,v) VALUES(%d,'[%d]'); %s COMMIT;",
    n, n, n, n, n, n, n, n-2, n-2, n, n, more);
  life_say(l, n);
  life_run(l, sql);
  sqlite3_free(sql);
  l->state = n;
  if( l->set->is_firm ) l->durable = n;
  life_say(l, n);
}

static void life_open(struct life *l){
  int rc = host_begin(&l->world, crash_log_ops(l->log), l->set->pragma,
                      &l->db);
  if( rc!=SQLITE_OK ) FAIL("cannot open: %s", sqlite3_errmsg(l->db));
}

/* The last close of both brings everything home. */
static void life_reopen(struct life *l){
  host_end(&l->world, l->db);
  life_open(l);
}

/* Somebody without the host: his checkpoint must not pass what may be lost. */
static void life_foreign_checkpoint(struct life *l){
  vecdb_options o = VECDB_OPTIONS_INIT;
  vecdb *db = NULL;
  int rc;
  o.file = crash_log_ops(l->log);
  rc = vecdb_open(vdb_path, VECDB_OPEN_READWRITE, &o, &db);
  CHECK_RC(VECDB_OK, rc);
  rc = vecdb_checkpoint(db, VECDB_CHECKPOINT_RESTART, NULL, NULL);
  if( l->set->is_firm ) CHECK_RC(VECDB_OK, rc);
  else CHECK_RC(VECDB_BUSY_INDOUBT, rc);
  if( !l->set->is_firm ){
    CHECK_RC(VECDB_BUSY_INDOUBT, vecdb_begin(db, VECDB_WRITE));
  }
  vecdb_close(db);
}

static void life_live(struct life *l){
  char *create = sqlite3_mprintf("BEGIN; CREATE TABLE o(id INTEGER PRIMARY KEY,"
    " n); CREATE VIRTUAL TABLE t USING vecdb(file='x.vdb', id integer primary "
    "key, v float[2], n int%s); CREATE VIRTUAL TABLE u USING vecdb("
    "file='x.vdb', id integer primary key, v float[1]%s); COMMIT;",
    l->set->option, l->set->option);
  life_say(l, 0);
  life_run(l, create);
  sqlite3_free(create);
  life_commit(l, "");
  life_commit(l, "");
  life_foreign_checkpoint(l);
  life_commit(l, "INSERT INTO t(t) VALUES('flush');");
  life_run(l, "BEGIN; INSERT INTO o VALUES(900,0);"
              "INSERT INTO t(id,v) VALUES(900,'[0,0]'); ROLLBACK;");
  life_commit(l, "");
  life_reopen(l);
  life_commit(l, "");
  life_run(l, "PRAGMA wal_checkpoint;");
  life_commit(l, "INSERT INTO t(t) VALUES('optimize');");
  life_commit(l, "CREATE TABLE IF NOT EXISTS more(x); "
                 "INSERT INTO more VALUES(zeroblob(5000));");
  host_end(&l->world, l->db);
}

/* ---- what a cut leaves --------------------------------------------------- */

static int probe_fail(struct life *l, const struct crash_image *img,
                      const char *what, sqlite3 *db){
  FAIL("%s: cut after %zu effects, %s: %s (%s); states %d..%d are allowed",
       l->set->name, img->i_boundary, img->what, what, sqlite3_errmsg(db),
       img->lo, img->hi);
  return -1;
}

/* Both tables hold the same rows. */
static const char same_rows[] =
  "SELECT count(*) FROM (SELECT id, n FROM o EXCEPT SELECT id, n FROM t"
  " UNION ALL SELECT * FROM (SELECT id, n FROM t EXCEPT SELECT id, n FROM o))";

static bool host_is_damaged(sqlite3 *db){
  sqlite3_stmt *s = NULL;
  bool damaged = sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &s, NULL)
                 !=SQLITE_OK || sqlite3_step(s)!=SQLITE_ROW
      || strcmp((const char*)sqlite3_column_text(s, 0), "ok")!=0;
  sqlite3_finalize(s);
  return damaged;
}

static bool probe_sound(struct life *l, const struct crash_image *img,
                        sqlite3 *db){
  if( ask(db, "SELECT count(*) FROM sqlite_schema WHERE name='t'")==0
   || ask(db, "SELECT count(*) FROM vecdb_check('t') WHERE severity='damage'")
      ==0 ) return true;
  probe_fail(l, img, "the .vdb is not sound", db);
  return false;
}

/* The number of the state, or -1. */
static int probe_state(struct life *l, const struct crash_image *img,
                       sqlite3 *db){
  long long n;
  if( ask(db, "SELECT count(*) FROM sqlite_schema WHERE name='o'")==0 ){
    return 0;                          /* as before the first commit */
  }
  if( ask(db, same_rows)!=0 ){
    return probe_fail(l, img, "the files disagree", db);
  }
  n = ask(db, "SELECT ifnull(max(n),0) FROM o");
  if( n<0 || n!=ask(db, "SELECT ifnull(max(n),0) FROM t") ){
    return probe_fail(l, img, "a table cannot be read", db);
  }
  if( ask(db, "SELECT count(*) FROM u")!=n ){
    return probe_fail(l, img, "the second table disagrees", db);
  }
  if( !probe_sound(l, img, db) ) return -1;
  if( ask(db, "SELECT count(*) FROM o")
      !=ask(db, "SELECT count(*) FROM t WHERE v MATCH '[0,0]' AND k=1000") ){
    return probe_fail(l, img, "a search finds other rows", db);
  }
  return (int)n;
}

/* The next transaction goes through and is in both. */
static int probe_write(struct life *l, const struct crash_image *img,
                       sqlite3 *db, int state){
  if( state==0 ){
    sqlite3_exec(db, "CREATE TABLE IF NOT EXISTS o(id INTEGER PRIMARY KEY, n);"
        "CREATE VIRTUAL TABLE IF NOT EXISTS t USING vecdb(file='x.vdb', "
        "id integer primary key, v float[2], n int)", NULL, NULL, NULL);
  }
  if( sqlite3_exec(db, "BEGIN; INSERT INTO o VALUES(500,500); INSERT INTO "
          "t(id,v,n) VALUES(500,'[5,5]',500); COMMIT", NULL, NULL, NULL)
      !=SQLITE_OK || ask(db, same_rows)!=0 ){
    if( l->set->may_lose && strstr(sqlite3_errmsg(db), "adopt") ){
      l->n_lost++;
      return state;
    }
    return probe_fail(l, img, "the next transaction fails", db);
  }
  return state;
}

static int life_probe(void *arg, const struct crash_image *img);

/* Open the image again over a recorder and cut that life, too. */
static void probe_twice(struct life *l, const struct crash_image *img,
                        int state){
  struct crash_plan plan = { img->hash, 3, 0 };
  struct vecdb_file_ops *mem = crash_world(img, img->hash);
  struct life second = *l;
  bool failed = false;

  second.is_second = true;
  second.log = crash_log_create(mem);
  second.state = state;
  second.durable = l->set->may_lose ? 0 : state;
  life_say(&second, state);
  if( host_begin(&second.world, crash_log_ops(second.log), l->set->pragma,
                 &second.db)!=SQLITE_OK
   || ask(second.db, "SELECT ifnull(max(n),0) FROM t")!=state ){
    probe_fail(l, img, "opens otherwise the second time", second.db);
  }
  host_end(&second.world, second.db);
  l->n_second += crash_explore(second.log, &plan, l->seen, life_probe, &second,
                               &failed);
  CHECK( !failed );
  crash_log_destroy(second.log);
  vdb_file_mem_destroy(mem);
}

static int life_probe(void *arg, const struct crash_image *img){
  struct life *l = arg;
  struct vecdb_file_ops *mem = crash_world(img, img->hash);
  struct host_world w;
  sqlite3 *db = NULL;
  int state = -1, rc;

  l->n_probe++;
  rc = host_begin(&w, mem, l->set->pragma, &db);
  if( (rc!=SQLITE_OK || host_is_damaged(db)) && l->set->may_damage ){
    l->n_damaged++;
    state = img->lo;
  }else if( l->set->may_lose && ask(db, same_rows)!=0 ){
    l->n_lost++;
    state = probe_sound(l, img, db) ? img->lo : -1;
  }else if( rc!=SQLITE_OK ){
    probe_fail(l, img, "cannot be opened", db);
  }else{
    state = probe_state(l, img, db);
    if( state>=0 && (state<img->lo || state>img->hi) ){
      state = probe_fail(l, img, "is in a state that cannot be", db);
    }
    if( state>=0 ) state = probe_write(l, img, db, state);
    if( state>0 && !l->is_second && l->n_probe%20==0 ){
      probe_twice(l, img, state);
    }
  }
  host_end(&w, db);
  vdb_file_mem_destroy(mem);
  return state;
}

/* ---- lives --------------------------------------------------------------- */

static size_t life_hunt(const struct setting *set){
  struct crash_plan plan = { vt_seed(), vt_scale()>=100 ? 40 : 3,
                             0 };
  struct vecdb_file_ops *mem = NULL;
  struct life l;
  bool failed = false;
  size_t n;

  memset(&l, 0, sizeof(l));
  l.set = set;
  REQUIRE_RC( VECDB_OK, vdb_file_mem_create(vt_seed(), &mem) );
  l.log = crash_log_create(mem);
  l.seen = crash_seen_create();
  life_open(&l);
  life_live(&l);
  n = crash_explore(l.log, &plan, l.seen, life_probe, &l, &failed);
  CHECK( !failed );
  printf("  %s: %zu effects, %zu images, %zu of a second cut, %zu hosts that "
         "SQLite damaged, %zu that lost parts\n", set->name, crash_log_size(l.log), n, l.n_second,
         l.n_damaged, l.n_lost);
  crash_log_destroy(l.log);
  n = crash_seen_count(l.seen);
  crash_seen_destroy(l.seen);
  vdb_file_mem_destroy(mem);
  return n;
}

static const struct setting settings[] = {
  { "delete, extra", "PRAGMA journal_mode=DELETE; PRAGMA synchronous=EXTRA",
    "", true, false, false },
  { "delete, full", "PRAGMA journal_mode=DELETE; PRAGMA synchronous=FULL",
    "", true, false, false },
  { "truncate, full", "PRAGMA journal_mode=TRUNCATE; PRAGMA synchronous=FULL",
    "", true, false, false },
  { "persist, full", "PRAGMA journal_mode=PERSIST; PRAGMA synchronous=FULL",
    "", true, false, false },
  { "wal, full", "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
    "PRAGMA wal_autocheckpoint=6", "", true, false, false },
  { "wal, normal", "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
    "PRAGMA wal_autocheckpoint=6", "", false, false, false },
  { "wal, full, relaxed", "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL",
    ", durability=relaxed", false, false, false },
  { "delete, normal", "PRAGMA journal_mode=DELETE; PRAGMA synchronous=NORMAL",
    "", false, true, false },
  { "wal, off", "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF",
    "", false, true, true },
  { "delete, off", "PRAGMA journal_mode=DELETE; PRAGMA synchronous=OFF",
    "", false, true, true },
};

TEST(powercut__leaves_a_transaction_in_both_files_or_in_neither){
  size_t n = 0;
  for(size_t i=0; i<sizeof(settings)/sizeof(settings[0]); i++){
    n += life_hunt(&settings[i]);
  }
  printf("  %zu states\n", n);
  CHECK( n>=(vt_scale()>=100 ? 20000u : 100u) );
}
