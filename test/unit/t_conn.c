/* t_conn.c -- connections: opening, closing, rules of use, processes. */
#include "unit/lib_world.h"

/* ---- life ---------------------------------------------------------------- */

TEST(life__a_clean_close_leaves_one_file){
  struct pager *p = open_db();
  page_no a = create_page(p, 7);
  CHECK( exists("t.vdb-wal") );
  CHECK( exists("t.vdb-shm") );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  CHECK( !exists("t.vdb-wal") );
  CHECK( !exists("t.vdb-shm") );
  p = open_db();
  CHECK( !exists("t.vdb-wal") );
  CHECK_INT( 7, read_fill(p, a) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
}

TEST(life__an_empty_transaction_writes_nothing){
  struct pager *p = open_db();
  struct pager_stats st;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  CHECK( !exists("t.vdb-wal") );
  REQUIRE_RC( VECDB_OK, vdb_pager_stats(p, &st) );
  CHECK_U64( 1, st.txid );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
}

TEST(life__foreign_files_are_refused_with_a_reason){
  struct pager_config cfg = config();
  struct pager *p = NULL;
  unsigned char b[8192] = "SQLite format 3";
  REQUIRE_RC( VECDB_OK, vdb_file_mem_poke(world, "t.vdb", b, sizeof(b)) );
  CHECK_RC( VECDB_NOTADB, vdb_pager_open(&cfg, &err, &p) );
  CHECK( strstr(err.msg, "is a SQLite database")!=NULL );
  memset(b, 'x', sizeof(b));
  REQUIRE_RC( VECDB_OK, vdb_file_mem_poke(world, "t.vdb", b, sizeof(b)) );
  CHECK_RC( VECDB_NOTADB, vdb_pager_open(&cfg, &err, &p) );
  CHECK_STR( "\"t.vdb\" is not a vecdb file", err.msg );
  cfg.path = "none.vdb";
  cfg.open_flags = VECDB_OPEN_READWRITE;
  CHECK_RC( VECDB_CANTOPEN, vdb_pager_open(&cfg, &err, &p) );
  REQUIRE_RC( VECDB_OK, vdb_file_mem_poke(world, "t.vdb", b, 0) );
  cfg = config();
  cfg.open_flags = VECDB_OPEN_READONLY;
  CHECK_RC( VECDB_NOTADB, vdb_pager_open(&cfg, &err, &p) );
  p = open_db();                      /* empty: made new */
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
}

TEST(life__the_last_closer_cuts_a_free_tail){
  struct pager *p = open_db();
  struct image im;
  page_no head;
  size_t sz;
  REQUIRE_RC( VECDB_OK, close_db(p) );
  im = image_take("t.vdb");
  sz = im.n;
  vdb_free(im.p);
  p = open_db();
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  head = create_extent(p, 1, 1<<20);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  REQUIRE_RC( VECDB_OK, vdb_extent_free(p, head) );
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  im = image_take("t.vdb");
  CHECK_U64( sz, im.n );
  vdb_free(im.p);
  end_world();
}

TEST(life__a_page_size_is_kept){
  struct pager_config cfg = config();
  struct pager *p;
  page_no a;
  for(uint32_t n=4096; n<=65536; n*=2){
    cfg = config();
    cfg.sz_page = n;
    p = open_with(&cfg);
    a = create_page(p, 5);
    REQUIRE_RC( VECDB_OK, close_db(p) );
    p = open_db();
    CHECK_U64( n, vdb_pager_usable(p) );
    CHECK_INT( 5, read_fill(p, a) );
    end_world();
  }
  cfg = config();
  cfg.sz_page = 3000;
  p = NULL;
  CHECK_RC( VECDB_RANGE, vdb_pager_open(&cfg, &err, &p) );
  end_world();
}

/* ---- rules of use -------------------------------------------------------- */

TEST(pager__wrong_states_are_misuse){
  struct pager *p = open_db();
  struct page *pg = NULL;
  uint64_t token;
  unsigned char h[16];
  CHECK_RC( VECDB_MISUSE, vdb_page_get(p, 2, 0, &pg) );
  CHECK_RC( VECDB_MISUSE, vdb_page_new(p, PAGE_BTREE_LEAF, &pg) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_commit(p) );
  CHECK_RC( VECDB_OK, vdb_pager_rollback(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_begin_read(p) );
  CHECK_RC( VECDB_MISUSE, vdb_page_new(p, PAGE_BTREE_LEAF, &pg) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_checkpoint(p, 0, NULL, NULL) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_begin_write(p) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_end_read(p) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_rollback_to(p, 0) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_release(p, 0) );
  CHECK_RC( VECDB_OK, vdb_pager_committed_token(p, h, &token) );
  CHECK_RC( VECDB_OK, vdb_pager_rollback(p) );
  CHECK_RC( VECDB_RANGE, vdb_pager_checkpoint(p, 4, NULL, NULL) );
  CHECK_RC( VECDB_NOTFOUND, vdb_pager_set(p, "bussy_ms", 1) );
  CHECK_RC( VECDB_RANGE, vdb_pager_set(p, "sync", 3) );
  CHECK_RC( VECDB_NOTFOUND, vdb_pager_decide(p, true, false) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
}

static bool sync_fails;
static int (*world_sync)(struct vdb_file *f, struct vdb_err *e);
static int sync_or_fail(struct vdb_file *f, struct vdb_err *e){
  return sync_fails ? vdb_error(e, VECDB_IOERR_SYNC, "no sync today")
                    : world_sync(f, e);
}

TEST(pager__a_failed_sync_is_final){
  struct pager_config cfg = config();
  struct vecdb_file_ops ops = *world;
  struct pager *p = NULL, *q;
  page_no a;
  world_sync = world->sync;
  ops.sync = sync_or_fail;
  cfg.file = &ops;
  REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, &err, &p) );
  a = create_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  set_page(p, a, 2);
  sync_fails = true;
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_commit(p) );
  sync_fails = false;
  CHECK_INT( PAGER_ERROR, vdb_pager_state(p) );
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_commit(p) );
  CHECK_RC( VECDB_OK, vdb_pager_rollback(p) );
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_begin_read(p) );
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_begin_write(p) );
  q = open_db();                      /* others go on, from the state before */
  CHECK_INT( 1, read_fill(q, a) );
  commit_fill(q, a, 3);
  CHECK_INT( 3, read_fill(q, a) );
  CHECK_RC( VECDB_OK, vdb_pager_close(p) );
  p = open_db();
  CHECK_INT( 3, read_fill(p, a) );
  end_world();
}

/* ---- the operating system ------------------------------------------------ */

static struct pager *open_posix(const char *path){
  struct pager_config cfg;
  struct pager *p = NULL;
  memset(&cfg, 0, sizeof(cfg));
  cfg.path = path;
  cfg.open_flags = VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE;
  if( vdb_pager_open(&cfg, &err, &p)!=VECDB_OK ) FAIL("%s", err.msg);
  REQUIRE( p!=NULL );
  return p;
}

TEST(posix__two_connections_of_one_process_exclude_each_other){
  const char *path = vt_path("two.vdb");
  struct pager *p = open_posix(path), *q = open_posix(path);
  page_no a = create_page(p, 1), head;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  CHECK_RC( VECDB_BUSY, vdb_pager_begin_write(q) );
  head = create_extent(p, 3, 4687*64);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(q) );
  CHECK( extent_is(q, head, 3, 4687*64) );
  CHECK_INT( 1, fill_of(q, a) );
  commit_fill(p, a, 2);
  CHECK_INT( 1, fill_of(q, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(q) );
  CHECK_INT( 2, read_fill(q, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(q) );
  CHECK( access(vt_path("two.vdb-wal"), F_OK)!=0 );
  p = open_posix(path);
  CHECK_INT( 2, read_fill(p, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
}

/* A child may close what it inherited and nothing else; its parent goes on. */
TEST(posix__a_child_of_fork_gets_misuse){
  const char *path = vt_path("fork.vdb");
  struct pager *p = open_posix(path);
  page_no a = create_page(p, 1);
  int status = 0;
  pid_t pid;

  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  set_page(p, a, 2);
  pid = fork();
  if( pid==0 ){
    int ok = vdb_pager_commit(p)==VECDB_MISUSE
          && vdb_pager_rollback(p)==VECDB_MISUSE;
    vdb_pager_close(p);
    vt_exit_child(ok ? 0 : 1);
  }
  REQUIRE( waitpid(pid, &status, 0)==pid );
  CHECK_INT( 0, status );
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  CHECK_INT( 2, read_fill(p, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
}

/* Another process is killed while it holds the write lock. */
TEST(posix__a_dead_writer_leaves_no_lock){
  const char *path = vt_path("dead.vdb");
  struct pager *p = open_posix(path);
  page_no a = create_page(p, 1);
  int status = 0;
  pid_t pid = fork();

  if( pid==0 ){
    struct pager *q = open_posix(path);
    vdb_pager_begin_write(q);
    set_page(q, a, 2);
    raise(SIGKILL);
  }
  REQUIRE( waitpid(pid, &status, 0)==pid );
  CHECK( WIFSIGNALED(status) );
  CHECK_INT( 1, read_fill(p, a) );
  commit_fill(p, a, 3);
  CHECK_INT( 3, read_fill(p, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
}
