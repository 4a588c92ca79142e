/* t_pager_use.c -- the rules of use of a pager, in each of its states and on
** stores that cannot do everything; settings, and what can be interrupted.
*/
#include "unit/lib_world.h"
#include "pager/btree.h"
#include "pager/fstore.h"
#include "pager/parray.h"

static const unsigned char host[16] = "host of rules!!";

static struct pager *open_memory(void){
  struct pager_config cfg;
  struct pager *p = NULL;
  memset(&cfg, 0, sizeof(cfg));
  REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, &err, &p) );
  return p;
}

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

TEST(pager__memory_has_no_two_phase_commit_and_no_file){
  struct undo_tokens tok;
  struct pager *p = open_memory();
  page_no a;
  unsigned char h[16];
  uint64_t token = 1;
  bool yes = true;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  a = put_page(p, 1);
  CHECK_RC( VECDB_UNSUPPORTED, vdb_pager_prepare(p, host, 1) );
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  CHECK_RC( VECDB_UNSUPPORTED, vdb_pager_decide(p, true, false) );
  CHECK_RC( VECDB_UNSUPPORTED, vdb_pager_rewind(p, 1, 1) );
  CHECK_RC( VECDB_UNSUPPORTED, vdb_pager_begin_read_at(p, 1) );
  CHECK_RC( VECDB_UNSUPPORTED, vdb_pager_backup(p, "b.vdb", NULL, NULL) );
  CHECK_RC( VECDB_UNSUPPORTED, vdb_pager_replace_file(p, "b.vdb") );
  CHECK_RC( VECDB_OK, vdb_pager_in_doubt(p, &yes, h, &token) );
  CHECK( !yes && token==0 );
  yes = true;
  CHECK_RC( VECDB_OK, vdb_pager_undoable(p, &yes, &tok) );
  CHECK( !yes );
  CHECK_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL, NULL,
                                           NULL) );
  CHECK_INT( 1, read_fill(p, a) );
  CHECK_RC( VECDB_OK, vdb_pager_close(p) );
}

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

/* Numbers of extents come from pages: a wrong one is told. */
TEST(extent__one_that_memory_does_not_have_is_corrupt){
  static const uint64_t lies[] = { 2, 1000000 };
  struct pager *p = open_memory();
  struct page *pg = NULL;
  struct extent e;
  page_no head, gone;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  head = create_extent(p, 1, 4096);
  gone = create_extent(p, 2, 4096);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  REQUIRE_RC( VECDB_OK, vdb_extent_free(p, gone) );
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  for(size_t i=0; i<VDB_ARRAY_LEN(lies)+1; i++){
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    REQUIRE_RC( VECDB_OK, vdb_page_get(p, head, PAGE_EXTENT, &pg) );
    REQUIRE_RC( VECDB_OK, vdb_page_write(p, pg) );
    if( i<VDB_ARRAY_LEN(lies) ){
      put_u64(pg->data + EXTENT_START, lies[i]);
    }else{                                    /* longer than what is there */
      put_u32(pg->data + EXTENT_NREC, 2*4096/64);
      put_u32(pg->data + EXTENT_NCRC, 2);
    }
    vdb_page_unpin(p, pg);
    CHECK_RC( VECDB_CORRUPT, vdb_extent_pin(p, head, &e) );
    CHECK( strstr(err.msg, "does not exist")!=NULL );
    if( i==1 ){                               /* freeing it frees nothing */
      CHECK_RC( VECDB_OK, vdb_extent_free(p, head) );
      CHECK_RC( VECDB_OK, vdb_pager_commit(p) );
      break;
    }
    REQUIRE_RC( VECDB_OK, vdb_pager_rollback(p) );
  }
  CHECK_RC( VECDB_OK, vdb_pager_close(p) );
}

/* ---- settings and arguments ---------------------------------------------- */

TEST(pager__settings_have_ranges){
  static const struct { const char *name; int64_t v; int rc; } settings[] = {
    { "busy_ms", -1, VECDB_RANGE }, { "busy_ms", INT64_MAX, VECDB_RANGE },
    { "busy_ms", 7, VECDB_OK }, { "sync", -1, VECDB_RANGE },
    { "sync", 3, VECDB_RANGE }, { "sync", VECDB_SYNC_OFF, VECDB_OK },
    { "wal_bytes", -1, VECDB_RANGE }, { "wal_bytes", 0, VECDB_OK },
    { "wal_bytes", 9999, VECDB_OK } };
  struct pager *p = open_db();
  for(size_t i=0; i<VDB_ARRAY_LEN(settings); i++){
    CHECK_RC( settings[i].rc,
              vdb_pager_set(p, settings[i].name, settings[i].v) );
  }
  CHECK_U64( 7, vdb_pager_busy_ms(p) );
  CHECK_RC( VECDB_RANGE, vdb_pager_checkpoint(p, -1, NULL, NULL) );
  end_world();
}

TEST(pager__a_configuration_that_cannot_be_is_refused){
  static const uint32_t sizes[] = { 2048, 5000, 131072 };
  struct pager_config cfg = config();
  struct pager *p = NULL;
  for(size_t i=0; i<VDB_ARRAY_LEN(sizes); i++){
    cfg.sz_page = sizes[i];
    CHECK_RC( VECDB_RANGE, vdb_pager_open(&cfg, &err, &p) );
    CHECK( strstr(err.msg, "is not a power of two in 4096..65536")!=NULL );
  }
  cfg.sz_page = 0;
  cfg.sync = VECDB_SYNC_OFF + 1;
  CHECK_RC( VECDB_RANGE, vdb_pager_open(&cfg, &err, &p) );
  CHECK( strstr(err.msg, "expected 0, 1 or 2")!=NULL );
  cfg.sync = 0;
  cfg.open_flags |= VECDB_OPEN_MEMORY;        /* the path is a mere name */
  REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, &err, &p) );
  CHECK( !vdb_pager_is_shared(p) );
  CHECK( !exists("t.vdb") );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
  end_world();
}

TEST(extent__sizes_have_ends){
  struct pager *p = open_db();
  struct extent_spec spec = { 1, 0, 4, 1 };
  page_no head;
  CHECK_U64( 0, vdb_extent_capacity(0) );
  CHECK_U64( 0, vdb_extent_capacity(EXTENT_MAX_BYTES+1) );
  CHECK_U64( 1, vdb_extent_capacity(EXTENT_MAX_BYTES) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  CHECK_RC( VECDB_TOOBIG, vdb_extent_create(p, &spec, "", &head) );
  spec.stride = EXTENT_MAX_BYTES;
  CHECK_RC( VECDB_TOOBIG, vdb_extent_create(p, &spec, "", &head) );
  end_world();
}

/* ---- interruption -------------------------------------------------------- */

static volatile int stop;

static int stop_at(void *arg, const char *phase, const char *unit,
                   uint64_t done, uint64_t total){
  int *n = arg;
  VDB_UNUSED(phase); VDB_UNUSED(unit); VDB_UNUSED(done); VDB_UNUSED(total);
  return --*n==0;
}

static int see_nothing(void *arg, uint64_t i, size_t n,
                       const unsigned char *data){
  VDB_UNUSED(arg); VDB_UNUSED(i); VDB_UNUSED(n); VDB_UNUSED(data);
  return VECDB_OK;
}

TEST(pager__long_work_can_be_interrupted){
  struct pager_config cfg = config();
  struct pager *p, *q;
  struct census *c = NULL;
  page_no array = 0, tree = 0;
  unsigned char w[8] = { 1 };
  uint64_t n_bad;
  int n;
  cfg.interrupted = &stop;
  cfg.busy_ms = 60000;
  p = open_with(&cfg);
  add_pages(p, 600);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  REQUIRE_RC( VECDB_OK, vdb_parray_create(p, 8, &array) );
  REQUIRE_RC( VECDB_OK, vdb_parray_put(p, array, 5, 1, w) );
  REQUIRE_RC( VECDB_OK, vdb_btree_create(p, &tree) );
  stop = 1;
  CHECK_RC( VECDB_INTERRUPT, vdb_parray_clear(p, array, 0, 10) );
  CHECK_RC( VECDB_INTERRUPT, vdb_parray_scan(p, array, 0, 10, see_nothing,
                                             NULL) );
  CHECK_RC( VECDB_INTERRUPT, vdb_btree_destroy(p, tree) );
  REQUIRE_RC( VECDB_OK, vdb_census_begin(p, true, NULL, NULL, &c) );
  CHECK_RC( VECDB_INTERRUPT, vdb_parray_check(p, c, array, "array") );
  CHECK_RC( VECDB_OK, vdb_parray_check(p, c, array, "again") );
  REQUIRE_RC( VECDB_OK, vdb_census_end(c, &n_bad) );
  CHECK( n_bad>0 );                           /* it was reached twice */
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  CHECK_RC( VECDB_INTERRUPT, vdb_pager_backup(p, "b.vdb", NULL, NULL) );
  CHECK( !exists("b.vdb") );
  q = open_db();                              /* waiting, too */
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(q) );
  CHECK_RC( VECDB_BUSY, vdb_pager_begin_write(p) );
  CHECK( world->now_ms(world->env)<30000 );
  REQUIRE_RC( VECDB_OK, vdb_pager_rollback(q) );
  stop = 0;
  n = 2;
  CHECK_RC( VECDB_INTERRUPT, vdb_pager_backup(p, "b.vdb", stop_at, &n) );
  CHECK( !exists("b.vdb") );
  n = 1000;
  CHECK_RC( VECDB_OK, vdb_pager_backup(p, "b.vdb", stop_at, &n) );
  CHECK( exists("b.vdb") );
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
