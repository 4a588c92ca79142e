/* t_life.c -- connections that die, fail or meet at awkward moments.
**
** Used by   make check. A layer above a world in RAM (lib_layer.h) shows every
**           call of one connection to a function of the test, which may make
**           it fail, or let another connection act just then.
*/
#include "api/api.h"
#include "unit/lib_world.h"
#include "pager/pager_int.h"

/* ---- the header of a checkpoint that was not finished -------------------- */

static int n_main_sync;            /* of the watched connection */
static int n_sync_until_failure;

static int fail_a_main_sync(struct lab_event *e){
  if( e->call!=CALL_SYNC || !ends_with(e->path, "t.vdb") ) return VECDB_OK;
  return --n_sync_until_failure==0 ? VECDB_IOERR_SYNC : VECDB_OK;
}

static void count_main_sync(struct lab_event *e, int rc){
  if( e->call==CALL_SYNC && rc==VECDB_OK && ends_with(e->path, "t.vdb") ){
    n_main_sync++;
  }
}

/* A checkpoint whose last header slot was written, but not synced. */
static void leave_unsynced_header(void){
  struct pager *p = open_watched();
  add_pages(p, 3);
  n_sync_until_failure = 3;
  on_before = fail_a_main_sync;
  CHECK_RC( VECDB_IOERR_SYNC,
            vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL, NULL, NULL) );
  on_before = NULL;
  REQUIRE_RC( VECDB_OK, close_db(p) );
}

TEST(ckpt__syncs_the_header_another_one_left){
  struct pager *q, *p;
  q = open_db();                       /* keeps the shared memory */
  leave_unsynced_header();
  p = open_watched();
  n_main_sync = 0;
  on_after = count_main_sync;
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_RESTART, NULL,
                                             NULL) );
  CHECK( n_main_sync>0 );              /* before the log is begun anew */
  REQUIRE_RC( VECDB_OK, close_db(p) );
  REQUIRE_RC( VECDB_OK, close_db(q) );
  end_world();
}

TEST(life__an_opener_syncs_the_header_another_one_left){
  struct pager *p;
  leave_unsynced_header();
  n_main_sync = 0;
  on_after = count_main_sync;
  p = open_watched();
  REQUIRE_RC( VECDB_OK, close_db(p) );
  CHECK( !exists("t.vdb-wal") );
  CHECK( n_main_sync>0 );              /* before the log is removed */
  end_world();
}

/* ---- names --------------------------------------------------------------- */

static int n_dir_sync;

static int fail_dir_sync(struct lab_event *e){
  return e->call==CALL_SYNC_DIR ? VECDB_IOERR_SYNC : VECDB_OK;
}
static void count_dir_sync(struct lab_event *e, int rc){
  if( e->call==CALL_SYNC_DIR && rc==VECDB_OK ) n_dir_sync++;
}

TEST(wal__the_name_of_a_log_without_header_is_made_durable){
  struct pager *p;
  p = open_watched();
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  REQUIRE_RC( VECDB_OK, vdb_root_set(p, ROOT_SCHEMA_COOKIE, 7) );
  on_before = fail_dir_sync;           /* the log is made, not its name */
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_commit(p) );
  on_before = NULL;
  CHECK_INT( PAGER_ERROR, vdb_pager_state(p) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  CHECK( exists("t.vdb-wal") );
  p = open_watched();
  on_after = count_dir_sync;
  n_dir_sync = 0;
  add_pages(p, 1);
  CHECK( n_dir_sync>0 );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
}

/* ---- a full disk --------------------------------------------------------- */

static int log_is_full(struct lab_event *e){
  return e->call==CALL_WRITE && ends_with(e->path, "-wal") ? VECDB_FULL
                                                           : VECDB_OK;
}

TEST(wal__a_commit_refused_by_a_full_disk_can_be_tried_again){
  struct page *pg = NULL;
  struct pager *p;
  page_no pgno;
  p = open_watched();
  add_pages(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  REQUIRE_RC( VECDB_OK, vdb_page_new(p, PAGE_BTREE_LEAF, &pg) );
  pgno = pg->pgno;
  vdb_page_unpin(p, pg);
  on_before = log_is_full;
  CHECK_RC( VECDB_FULL, vdb_pager_commit(p) );
  CHECK_INT( PAGER_WRITE, vdb_pager_state(p) );
  on_before = NULL;
  CHECK_RC( VECDB_OK, vdb_pager_commit(p) );
  CHECK( has_page(p, pgno) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
}

/* ---- a recovery that fails under a snapshot ------------------------------ */

static int n_read_until_failure;

static int fail_a_log_sync(struct lab_event *e){
  return e->call==CALL_SYNC && ends_with(e->path, "-wal") ? VECDB_IOERR_SYNC
                                                          : VECDB_OK;
}
static int fail_a_log_read(struct lab_event *e){
  if( e->call!=CALL_READ || !ends_with(e->path, "-wal") ) return VECDB_OK;
  return --n_read_until_failure==0 ? VECDB_IOERR_READ : VECDB_OK;
}

/* Leaves the write lock as one who died does. */
static void die_writing(void){
  struct pager *p = open_watched();
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  REQUIRE_RC( VECDB_OK, vdb_root_set(p, ROOT_SCHEMA_COOKIE, 7) );
  on_before = fail_a_log_sync;
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_commit(p) );
  on_before = NULL;
  REQUIRE_RC( VECDB_OK, close_db(p) );
}

TEST(snapshot__survives_a_recovery_that_fails){
  struct page *pg = NULL;
  struct pager *p;
  page_no pgno;
  p = open_watched();
  pgno = add_pages(p, 3);
  vdb_pager_forget(p, 0);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  die_writing();
  n_read_until_failure = 3;
  on_before = fail_a_log_read;
  CHECK_RC( VECDB_IOERR_READ, vdb_pager_begin_write(p) );
  on_before = NULL;
  CHECK_INT( PAGER_READ, vdb_pager_state(p) );
  CHECK_RC( VECDB_OK, vdb_page_get(p, pgno, PAGE_BTREE_LEAF, &pg) );
  vdb_page_unpin(p, pg);
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
}

/* ---- closing together ---------------------------------------------------- */

static struct pager *other;

/* The other one closes between our try for the lifecycle lock and its end. */
static void close_other(struct lab_event *e, int rc){
  struct pager *q = other;
  if( e->call!=CALL_LOCK || rc!=VECDB_BUSY || q==NULL ) return;
  other = NULL;
  CHECK_RC( VECDB_OK, close_db(q) );
}

TEST(life__of_two_that_close_together_one_cleans_up){
  struct pager *p;
  p = open_watched();
  other = open_db();
  add_pages(p, 3);
  on_after = close_other;
  CHECK_RC( VECDB_OK, close_db(p) );
  CHECK( other==NULL );
  CHECK( !exists("t.vdb-wal") );
  CHECK( !exists("t.vdb-shm") );
  end_world();
}

static struct pager *open_reader(void){
  struct pager_config cfg = config();
  cfg.open_flags = VECDB_OPEN_READONLY;
  return open_with(&cfg);
}

TEST(life__a_reader_leaves_nothing_behind){
  struct pager *p, *r;
  page_no pgno;
  p = open_watched();
  pgno = add_pages(p, 3);
  r = open_reader();
  REQUIRE_RC( VECDB_OK, close_db(r) );
  CHECK( exists("t.vdb-shm") );        /* p is there */
  r = open_reader();
  REQUIRE_RC( VECDB_OK, close_db(p) );
  CHECK( exists("t.vdb-wal") );        /* r is there */
  CHECK( has_page(r, pgno) );
  REQUIRE_RC( VECDB_OK, close_db(r) );
  CHECK( exists("t.vdb-wal") );        /* for somebody who may write */
  CHECK( !exists("t.vdb-shm") );
  REQUIRE_RC( VECDB_OK, close_db(open_db()) );
  CHECK( !exists("t.vdb-wal") );
  r = open_reader();
  CHECK( has_page(r, pgno) );
  REQUIRE_RC( VECDB_OK, close_db(r) );
  CHECK( !exists("t.vdb-shm") );
  end_world();
}

/* ---- a young file -------------------------------------------------------- */

TEST(header__a_young_file_with_commits_is_not_taken_for_unborn){
  const unsigned char *b;
  unsigned char *main, *wal;
  size_t n_main, n_wal;
  struct pager *p, *q = NULL;
  struct pager_config cfg = config();
  p = open_db();
  add_pages(p, 3);
  REQUIRE_RC( VECDB_OK, vdb_file_mem_peek(world, "t.vdb", &b, &n_main) );
  main = vdb_memdup(b, n_main);
  REQUIRE_RC( VECDB_OK, vdb_file_mem_peek(world, "t.vdb-wal", &b, &n_wal) );
  wal = vdb_memdup(b, n_wal);
  REQUIRE_RC( VECDB_OK, close_db(p) );
  main[100] ^= 1;                      /* rot in slot A */
  REQUIRE_RC( VECDB_OK, vdb_file_mem_poke(world, "t.vdb", main, n_main) );
  REQUIRE_RC( VECDB_OK, vdb_file_mem_poke(world, "t.vdb-wal", wal, n_wal) );
  CHECK_RC( VECDB_CORRUPT_CHECKSUM, vdb_pager_open(&cfg, &err, &q) );
  CHECK( exists("t.vdb-wal") );
  close_db(q);
  vdb_free(main);
  vdb_free(wal);
  end_world();
}

/* ---- replacing ----------------------------------------------------------- */

static void make_copy(struct pager *p){
  REQUIRE_RC( VECDB_OK, vdb_pager_backup(p, "t.new", NULL, NULL) );
}

TEST(replace__refuses_a_copy_of_an_older_state){
  struct pager *p, *q;
  page_no pgno;
  p = open_db();
  add_pages(p, 1);
  make_copy(p);
  q = open_db();
  pgno = add_pages(q, 1);
  REQUIRE_RC( VECDB_OK, close_db(q) );
  CHECK_RC( VECDB_BUSY_SNAPSHOT, vdb_pager_replace_file(p, "t.new") );
  CHECK( has_page(p, pgno) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
}

/* Somebody comes when the new file has just got the name. */
static void open_other(struct lab_event *e, int rc){
  struct pager_config cfg = config();
  if( e->call!=CALL_RENAME || rc!=VECDB_OK || other ) return;
  (void)vdb_pager_open(&cfg, &err, &other);
}

TEST(replace__nobody_gets_in_between){
  struct pager *p, *q;
  p = open_watched();
  add_pages(p, 1);
  make_copy(p);
  on_after = open_other;
  CHECK_RC( VECDB_OK, vdb_pager_replace_file(p, "t.new") );
  on_after = NULL;
  CHECK( other==NULL );
  q = open_db();                  /* they meet in the same -shm */
  CHECK( has_page(p, add_pages(q, 1)) );
  close_db(other);
  other = NULL;
  REQUIRE_RC( VECDB_OK, close_db(q) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  CHECK( !exists("t.vdb-shm") );
  end_world();
}

/* ---- rows ---------------------------------------------------------------- */

static vecdb *open_rows(const struct vecdb_file_ops *ops){
  vecdb_options o = VECDB_OPTIONS_INIT;
  o.file = ops;
  return api_open("t.vdb", &o);
}

static void delete_row(vecdb_collection *c, int64_t key){
  vecdb *db = vecdb_collection_db(c);
  vecdb_stmt *s = NULL;
  OK(db, vecdb_prepare_delete(c, &s));
  OK(db, vecdb_bind_int64(s, VECDB_KEY, key));
  DONE(db, vecdb_step(s));
  OK(db, vecdb_finalize(s));
}

/* What a scan and a search see. */
static void check_keys(vecdb_collection *c, const char *want){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb *db = vecdb_collection_db(c);
  vecdb_stmt *s = NULL;
  OK(db, vecdb_prepare_scan(c, NULL, &s));
  KEYS(db, want, s);
  OK(db, vecdb_finalize(s));
  o.k = 10;
  OK(db, vecdb_prepare_search(c, &o, &s));
  OK(db, vecdb_bind_vector_text(s, VECDB_QUERY, "[0,0]", (size_t)-1));
  KEYS(db, want, s);
  OK(db, vecdb_finalize(s));
}

static vecdb_collection *three_rows(vecdb *db){
  vecdb_collection *c = api_collection(db, "c", "id INTEGER PRIMARY KEY, "
                                       "v FLOAT[2]");
  for(int i=1; i<=3; i++) api_put(c, i, "[1,2]");
  return c;
}

static void come_and_go(void){
  vecdb *db = open_rows(world);
  vecdb_collection *c = api_collection(db, "c", NULL);
  delete_row(c, 2);
  OK(db, vecdb_collection_close(c));
  OK(db, vecdb_close(db));
}

static bool has_come;
static int come_at_vacuum(struct lab_event *e){
  if( e->call!=CALL_OPEN || !ends_with(e->path, "-vacuum") || has_come ){
    return VECDB_OK;
  }
  has_come = true;
  come_and_go();
  return VECDB_OK;
}

TEST(vacuum__loses_no_commit_of_others){
  vecdb_collection *c;
  vecdb *db;
  begin_world();
  has_come = false;
  db = open_rows(layer);
  c = three_rows(db);
  on_before = come_at_vacuum;
  CHECK_RC( VECDB_BUSY_SNAPSHOT, vecdb_vacuum(db) );
  on_before = NULL;
  CHECK( has_come );
  CHECK( !exists("t.vdb-vacuum") );
  check_keys(c, "1 3 ");
  OK(db, vecdb_vacuum(db));
  check_keys(c, "1 3 ");
  OK(db, vecdb_collection_close(c));
  OK(db, vecdb_close(db));
  end_world();
}

static int n_sync_of_copy;
static int fail_a_copy_sync(struct lab_event *e){
  if( e->call!=CALL_SYNC || !ends_with(e->path, "-vacuum-wal") ){
    return VECDB_OK;
  }
  return ++n_sync_of_copy==3 ? VECDB_IOERR_SYNC : VECDB_OK;
}

TEST(vacuum__takes_no_copy_that_is_not_complete){
  vecdb_options o = VECDB_OPTIONS_INIT;
  vecdb_collection *c;
  vecdb *db;
  begin_world();
  o.file = layer;
  o.wal_bytes = 4096;
  db = api_open("t.vdb", &o);
  c = three_rows(db);
  n_sync_of_copy = 0;
  on_before = fail_a_copy_sync;        /* of its checkpoint after the commit */
  CHECK_RC( VECDB_IOERR_SYNC, vecdb_vacuum(db) );
  on_before = NULL;
  CHECK( n_sync_of_copy>=3 );
  check_keys(c, "1 2 3 ");
  OK(db, vecdb_collection_close(c));
  OK(db, vecdb_close(db));
  end_world();
}

TEST(twophase__a_decision_that_fails_leaves_no_stale_rows){
  static const unsigned char host[16] = { 1 };
  vecdb_collection *c, *c2;
  vecdb *db, *db2;
  begin_world();
  db = open_rows(layer);
  db2 = open_rows(world);
  c = three_rows(db);
  c2 = api_collection(db2, "c", NULL);
  OK(db, vecdb_begin(db, VECDB_WRITE));
  delete_row(c, 1);
  check_keys(c, "2 3 ");
  OK(db, vecdb_prepare_commit(db, host, 1));
  on_before = log_is_full;
  CHECK( vecdb_decide(db, 0)!=VECDB_OK );
  on_before = NULL;
  OK(db2, vecdb_decide(db2, 0));
  delete_row(c2, 3);
  check_keys(c2, "1 2 ");
  check_keys(c, "1 2 ");
  OK(db, vecdb_collection_close(c));
  OK(db2, vecdb_collection_close(c2));
  OK(db2, vecdb_close(db2));
  OK(db, vecdb_close(db));
  end_world();
}

TEST(twophase__a_state_that_was_never_committed_is_not_remembered){
  static const unsigned char host[16] = { 1 };
  vecdb_collection *c, *c2;
  vecdb *db, *db2;
  begin_world();
  db = open_rows(layer);
  db2 = open_rows(world);
  c = three_rows(db);
  c2 = api_collection(db2, "c", NULL);
  OK(db, vecdb_begin(db, VECDB_WRITE));
  delete_row(c, 1);
  OK(db, vecdb_prepare_commit(db, host, 1));
  OK(db2, vecdb_begin_read_at(db2, 1));
  check_keys(c2, "2 3 ");
  OK(db2, vecdb_rollback(db2));
  OK(db, vecdb_decide(db, 0));
  delete_row(c, 3);
  check_keys(c, "1 2 ");
  check_keys(c2, "1 2 ");
  OK(db, vecdb_collection_close(c));
  OK(db2, vecdb_collection_close(c2));
  OK(db2, vecdb_close(db2));
  OK(db, vecdb_close(db));
  end_world();
}
