/* t_pager_use.c -- the rules of use of a pager in its states, beside t_rules.c:
** readers, a failed sync, what is prepared; and opening without memory.
*/
#include "unit/lib_world.h"
#include "pager/btree.h"
#include "pager/fstore.h"

static const unsigned char host[16] = "host of rules!!";

/* ---- states -------------------------------------------------------------- */

TEST(pager__a_reader_may_not_change_anything){
  struct extent_spec spec = { 1, 64, 1, 1 };
  static const unsigned char bytes[64];
  struct undo_tokens tok;
  struct pager *p = open_db();
  struct page *pg = NULL;
  struct census *c = NULL;
  page_no a = create_page(p, 1), head;
  unsigned n;
  bool yes = true;
  CHECK_RC( VECDB_MISUSE, vdb_census_begin(p, false, NULL, NULL, &c) );
  CHECK( vdb_page_peek(p, a, PAGE_BTREE_LEAF)==NULL );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  REQUIRE_RC( VECDB_OK, vdb_page_get(p, a, PAGE_BTREE_LEAF, &pg) );
  CHECK_RC( VECDB_MISUSE, vdb_page_write(p, pg) );
  vdb_page_unpin(p, pg);
  CHECK( vdb_page_peek(p, a, PAGE_BTREE_LEAF)!=NULL );
  CHECK( vdb_page_peek(p, 0, PAGE_BTREE_LEAF)==NULL );
  CHECK( vdb_page_peek(p, a+100, PAGE_BTREE_LEAF)==NULL );
  CHECK_RC( VECDB_MISUSE, vdb_root_set(p, ROOT_SCHEMA_COOKIE, 1) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_savepoint(p, &n) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_release(p, 0) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_rollback_to(p, 0) );
  CHECK_RC( VECDB_MISUSE, vdb_extent_create(p, &spec, bytes, &head) );
  CHECK_RC( VECDB_MISUSE, vdb_extent_free(p, a) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_decide(p, true, false) );
  CHECK_RC( VECDB_OK, vdb_pager_undoable(p, &yes, &tok) );
  CHECK( !yes );
  CHECK_RC( VECDB_OK, vdb_pager_commit(p) );        /* ends what it was */
  CHECK_INT( PAGER_NONE, vdb_pager_state(p) );
  CHECK_RC( VECDB_OK, vdb_pager_end_read(p) );      /* nothing to end */
  CHECK_INT( 1, read_fill(p, a) );
  end_world();
}

TEST(pager__a_backup_is_for_readers){
  struct pager *p = open_db();
  page_no a = create_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  CHECK_RC( VECDB_OK, vdb_pager_backup(p, "b.vdb", NULL, NULL) );
  CHECK_INT( PAGER_READ, vdb_pager_state(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_backup(p, "c.vdb", NULL, NULL) );
  CHECK( !exists("c.vdb") );
  REQUIRE_RC( VECDB_OK, vdb_pager_rollback(p) );
  CHECK_INT( 1, read_fill(p, a) );
  end_world();
}

static int fail_a_sync(struct lab_event *e){
  return e->call==CALL_SYNC ? VECDB_IOERR_SYNC : VECDB_OK;
}

/* A write transaction whose commit could not be synced. */
static struct pager *poisoned(void){
  struct pager *p = open_watched();
  page_no a = create_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  set_page(p, a, 2);
  on_before = fail_a_sync;
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_commit(p) );
  on_before = NULL;
  CHECK_INT( PAGER_ERROR, vdb_pager_state(p) );
  return p;
}

TEST(pager__after_a_failed_sync_nothing_works_but_going_back){
  struct undo_tokens tok;
  struct pager_stats st;
  struct pager *p = poisoned();
  struct page *pg = NULL;
  unsigned char h[16];
  uint64_t token;
  bool yes;
  CHECK_RC( VECDB_IOERR_SYNC, vdb_page_new(p, PAGE_BTREE_LEAF, &pg) );
  CHECK_RC( VECDB_IOERR_SYNC, vdb_page_get(p, 2, 0, &pg) );
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_prepare(p, host, 1) );
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_decide(p, true, false) );
  CHECK_INT( PAGER_ERROR, vdb_pager_state(p) );
  CHECK_RC( VECDB_OK, vdb_pager_decide(p, false, false) );
  CHECK_INT( PAGER_NONE, vdb_pager_state(p) );
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_begin_read_at(p, 1) );
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_decide(p, true, false) );
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_rewind(p, 1, 1) );
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_checkpoint(p, 0, NULL, NULL) );
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_replace_file(p, "t.new") );
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_backup(p, "b.vdb", NULL, NULL) );
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_in_doubt(p, &yes, h, &token) );
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_undoable(p, &yes, &tok) );
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_committed_token(p, h, &token) );
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_stats(p, &st) );
  CHECK( strstr(err.msg, "close it and open it again")!=NULL );
  end_world();
}

/* Who prepared it knows; for everybody else it is in doubt only once he is
** gone. */
TEST(twophase__what_its_owner_holds_is_not_in_doubt){
  struct pager *p = open_db(), *q = open_db();
  page_no a = create_page(p, 1);
  unsigned char h[16];
  uint64_t token;
  bool yes = true;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  set_page(p, a, 2);
  REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, 3) );
  CHECK_RC( VECDB_OK, vdb_pager_in_doubt(p, &yes, h, &token) );
  CHECK( !yes );
  yes = true;
  CHECK_RC( VECDB_OK, vdb_pager_in_doubt(q, &yes, h, &token) );
  CHECK( !yes );
  REQUIRE_RC( VECDB_OK, vdb_pager_decide(p, true, false) );
  CHECK_INT( 2, read_fill(q, a) );
  end_world();
}

/* ---- a database in memory ------------------------------------------------ */

TEST(pager__opening_in_memory_gives_back_all_when_memory_ends){
  struct vdb_mem_stats before, after;
  struct pager_config cfg;
  int rc = VECDB_NOMEM;
  memset(&cfg, 0, sizeof(cfg));
  vdb_mem_stats(&before);
  for(uint64_t i=1; rc!=VECDB_OK && i<100; i++){
    struct pager *p = NULL;
    vdb_mem_fail_at(i, false);
    rc = vdb_pager_open(&cfg, NULL, &p);      /* and the caller wants no word */
    vdb_mem_fail_at(0, false);
    CHECK( (rc==VECDB_OK) == (p!=NULL) );
    if( rc!=VECDB_OK ) CHECK_RC( VECDB_NOMEM, rc );
    vdb_pager_close(p);
    vdb_mem_stats(&after);
    CHECK_U64( before.n_block, after.n_block );
  }
  CHECK_RC( VECDB_OK, rc );
}

/* ---- trees --------------------------------------------------------------- */

TEST(btree__freeing_one_can_be_interrupted){
  static volatile int stop;
  struct pager_config cfg = config();
  struct pager *p;
  page_no tree = 0;
  cfg.interrupted = &stop;
  p = open_with(&cfg);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  REQUIRE_RC( VECDB_OK, vdb_btree_create(p, &tree) );
  stop = 1;
  CHECK_RC( VECDB_INTERRUPT, vdb_btree_destroy(p, tree) );
  stop = 0;
  CHECK_RC( VECDB_OK, vdb_btree_destroy(p, tree) );
  end_world();
}

/* ---- who holds the lock -------------------------------------------------- */

/* The holder has not come to say who he is. */
TEST(lock__a_holder_without_a_name_is_told_as_one){
  struct pager *p = open_db();
  struct vdb_file *shm = NULL;
  page_no a = create_page(p, 1);
  REQUIRE_RC( VECDB_OK, world->open(world->env, "t.vdb-shm", 0, &shm, &err) );
  REQUIRE_RC( VECDB_OK, world->lock(shm, LOCK_WRITER, LOCK_EXCLUSIVE, NULL) );
  REQUIRE_RC( VECDB_OK, vdb_pager_set(p, "busy_ms", 30) );   /* waits, too */
  CHECK_RC( VECDB_BUSY, vdb_pager_begin_write(p) );
  CHECK( strstr(err.msg, "another connection holds the write lock")!=NULL );
  REQUIRE_RC( VECDB_OK, world->close(shm) );
  commit_fill(p, a, 2);
  CHECK_INT( 2, read_fill(p, a) );
  end_world();
}
