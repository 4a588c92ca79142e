/* t_log_fail.c -- the log when calls fail at rare places: appending, following,
** recovering from the dead; and prepared transactions that are changed again.
*/
#include "unit/lib_words.h"
#include "pager/pager_int.h"

static const unsigned char host[16] = "host of log ..";

/* Calls of that kind on a path that ends so fail: n, after n_skip. */
static struct {
  enum lab_call call;
  const char *path;
  int n_skip, n, rc;
} fault;

static int fault_before(struct lab_event *e){
  if( e->call!=fault.call || !ends_with(e->path, fault.path) ) return VECDB_OK;
  if( fault.n_skip-->0 || fault.n--<=0 ) return VECDB_OK;
  return vdb_error(e->err, fault.rc, "cannot %s \"%s\": injected",
                   lab_call_name[e->call], e->path);
}
static void fail(enum lab_call call, const char *path, int n_skip, int rc){
  fault.call = call;
  fault.path = path;
  fault.n_skip = n_skip;
  fault.n = 1;
  fault.rc = rc;
  on_before = fault_before;
}

static uint64_t findings(struct pager *p){
  struct census *c = NULL;
  uint64_t n_bad = 0;
  REQUIRE_RC( VECDB_OK, vdb_census_begin(p, false, NULL, NULL, &c) );
  REQUIRE_RC( VECDB_OK, vdb_census_end(c, &n_bad) );
  return n_bad;
}

/* ---- appending ----------------------------------------------------------- */

/* The frames are more than the buffer holds; the first part cannot be
** written. */
TEST(wal__a_large_commit_that_fails_early_can_be_tried_again){
  struct pager *p = open_watched();
  page_no a = create_page(p, 1), last = 0;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  for(int i=0; i<300; i++) last = put_page(p, 2);
  set_page(p, a, 2);
  fail(CALL_WRITE, "-wal", 0, VECDB_FULL);
  CHECK_RC( VECDB_FULL, vdb_pager_commit(p) );
  CHECK_INT( PAGER_WRITE, vdb_pager_state(p) );
  CHECK_RC( VECDB_OK, vdb_pager_commit(p) );
  crash_keeping(0);
  p = open_db();
  CHECK_INT( 2, read_fill(p, a) );
  CHECK_INT( 2, read_fill(p, last) );
  end_world();
}

/* Where frames of the log before lie, a commit that failed may be in the file:
** it is overwritten, also where commits are not synced. */
TEST(wal__a_failed_commit_in_an_old_log_is_not_found_again){
  static const uint32_t syncs[] = { VECDB_SYNC_FULL, VECDB_SYNC_NORMAL };
  for(size_t i=0; i<VDB_ARRAY_LEN(syncs); i++){
    struct pager *p = open_watched();
    page_no a = create_page(p, 1);
    add_pages(p, 50);
    REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_RESTART,
                                               NULL, NULL) );
    REQUIRE_RC( VECDB_OK, vdb_pager_set(p, "sync", syncs[i]) );
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    set_page(p, a, 2);
    fail(CALL_WRITE, "-wal", 0, VECDB_IOERR_WRITE);
    CHECK_RC( VECDB_IOERR_WRITE, vdb_pager_commit(p) );
    CHECK_INT( PAGER_WRITE, vdb_pager_state(p) );
    crash_keeping(0);
    p = open_db();
    CHECK_INT( 1, read_fill(p, a) );
    end_world();
  }
}

/* A connection that has not followed the log begins to write while a reader
** keeps that from restarting: the log is followed now, and cannot be read. */
TEST(wal__a_log_that_cannot_be_followed_takes_no_commit){
  for(int n=0; n<2; n++){
    struct pager *w = open_db(), *r = open_db(), *p;
    page_no a = create_page(w, 1);
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(r) );
    REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(w, VECDB_CHECKPOINT_FULL, NULL,
                                               NULL) );
    p = open_watched();
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    set_page(p, a, 2);
    fail(CALL_READ, "-wal", n, VECDB_IOERR_READ);
    CHECK_RC( VECDB_IOERR_READ, vdb_pager_commit(p) );
    CHECK_INT( PAGER_WRITE, vdb_pager_state(p) );
    CHECK_RC( VECDB_OK, vdb_pager_commit(p) );
    CHECK_INT( 2, read_fill(w, a) );
    CHECK_INT( 1, fill_of(r, a) );
    end_world();
  }
}

TEST(wal__numbers_of_frames_have_an_end){
  struct walindex ix;
  memset(&ix, 0, sizeof(ix));
  ix.n = WALINDEX_MAX;
  CHECK_RC( VECDB_FULL, vdb_walindex_add(&ix, 3, 4200, 7) );
  CHECK_U64( WALINDEX_MAX, ix.n );
}

/* ---- prepared transactions ----------------------------------------------- */

/* No memory when the decision is appended: it can be made again. */
TEST(twophase__a_decision_without_memory_can_be_made_again){
  for(uint64_t n=1; n<=2; n++){
    struct pager *p = open_db();
    page_no a = create_page(p, 0);
    int n_failed = 0;
    for(unsigned i=1; i<=100; i++){
      int rc;
      REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
      set_page(p, a, (unsigned char)i);
      REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, i) );
      vdb_mem_fail_at(n, false);
      rc = vdb_pager_decide(p, true, false);
      vdb_mem_fail_at(0, false);
      if( rc==VECDB_OK ) continue;
      CHECK_RC( VECDB_NOMEM, rc );
      CHECK_INT( PAGER_WRITE, vdb_pager_state(p) );
      n_failed++;
      REQUIRE_RC( VECDB_OK, vdb_pager_decide(p, true, false) );
    }
    CHECK( n_failed>0 );
    CHECK_INT( 100, read_fill(p, a) );
    crash_keeping(0);
    p = open_db();
    CHECK_INT( 100, read_fill(p, a) );
    end_world();
  }
}

/* A savepoint from before the PREPARE is undone: the frames stay where they
** are, so extents go where none of them was. */
TEST(twophase__going_back_to_before_a_prepare_disturbs_no_extent){
  for(int grow=0; grow<2; grow++){
    uint32_t n = 16*4096;
    struct pager *p = open_db();
    page_no a = create_page(p, 1), b = create_page(p, 1), head, high;
    unsigned sp;
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    set_page(p, b, 2);
    REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &sp) );
    for(int i=0; i<30*grow; i++) put_page(p, 7);
    set_page(p, a, 7);
    REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, 5) );
    high = vdb_pager_n_page(p);
    REQUIRE_RC( VECDB_OK, vdb_pager_rollback_to(p, sp) );
    CHECK_INT( 1, fill_of(p, a) );
    CHECK_INT( 2, fill_of(p, b) );
    CHECK( !grow || vdb_pager_n_page(p)<high );
    head = create_extent(p, 9, n);
    CHECK( vdb_pager_n_page(p)>=high + n/4096 );
    REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, 6) );
    REQUIRE_RC( VECDB_OK, vdb_pager_decide(p, true, false) );
    for(int k=0; k<2; k++){
      REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
      CHECK_INT( 1, fill_of(p, a) );
      CHECK_INT( 2, fill_of(p, b) );
      CHECK( extent_is(p, head, 9, n) );
      CHECK_U64( 0, findings(p) );
      REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
      if( k==0 ){
        crash_keeping(0);
        p = open_db();
        REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL,
                                                   NULL, NULL) );
      }
    }
    end_world();
  }
}

/* The same, and memory or a read fails on the way: going back can be tried
** again, or the whole be rolled back. */
TEST(twophase__going_back_to_before_a_prepare_may_fail){
  for(uint64_t n=1; n<200; n++){
    struct pager_config cfg = config();
    struct pager *p;
    page_no a, head = 0, pages[100];
    struct extent_spec spec = { 1, 64, 64, 1 };
    static const unsigned char bytes[4096];
    uint64_t n_fired;
    unsigned sp;
    int rc;
    cfg.file = layer;
    cfg.sz_cache = 1;                  /* the smallest there is */
    p = open_with(&cfg);
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    for(int i=0; i<100; i++) pages[i] = put_page(p, 1);
    REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
    a = pages[0];
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    set_page(p, a, 2);
    REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &sp) );
    for(int i=0; i<5; i++) put_page(p, 7);
    REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, 5) );
    for(int i=1; i<90; i++) set_page(p, pages[i], 3);   /* these are spilled */
    if( n%2 ) vdb_mem_fail_at(n/2+1, false);
    else fail(CALL_READ, "-wal", (int)n/2-1, VECDB_IOERR_READ);
    rc = vdb_pager_rollback_to(p, sp);
    if( rc==VECDB_OK ) rc = vdb_extent_create(p, &spec, bytes, &head);
    n_fired = n%2 ? vdb_mem_fail_at(0, false) : fault.n==0;
    on_before = NULL;
    if( rc==VECDB_OK ){
      CHECK_INT( 2, fill_of(p, a) );
      REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
    }else{
      CHECK_RC( n%2 ? VECDB_NOMEM : VECDB_IOERR_READ, rc );
      REQUIRE_RC( VECDB_OK, vdb_pager_rollback_to(p, sp) );
      CHECK_INT( 2, fill_of(p, a) );
      CHECK_INT( 1, fill_of(p, pages[50]) );
      REQUIRE_RC( VECDB_OK, vdb_pager_rollback(p) );
    }
    CHECK_INT( rc==VECDB_OK ? 2 : 1, read_fill(p, a) );
    CHECK_INT( 1, read_fill(p, pages[50]) );
    end_world();
    if( n_fired==0 && n>20 ) break;
  }
}

/* What was prepared is changed, all of that spilled, and then committed. */
TEST(twophase__a_commit_of_spilled_changes_is_not_that_of_what_was_prepared){
  struct pager_config cfg = config();
  struct pager *p;
  page_no pages[150];
  int n = 0;
  cfg.file = layer;
  cfg.sz_cache = 1;
  p = open_with(&cfg);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  for(int i=0; i<150; i++) pages[i] = put_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  set_page(p, pages[0], 2);
  REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, 5) );
  while( n<149 && !(p->cache.lru.first==NULL && vdb_pcache_is_over(&p->cache)) ){
    set_page(p, pages[n++], 3);
  }
  CHECK_INT( 1, fill_of(p, pages[149]) );  /* pushes the others out */
  REQUIRE_INT( 0, (int)p->cache.n_dirty );
  vdb_pager_forget(p, p->store->pg_first);
  fail(CALL_READ, "-wal", 0, VECDB_IOERR_READ);   /* the root, for its token */
  CHECK_RC( VECDB_IOERR_READ, vdb_pager_commit(p) );
  CHECK_INT( PAGER_WRITE, vdb_pager_state(p) );
  CHECK_RC( VECDB_OK, vdb_pager_commit(p) );
  crash_keeping(0);
  p = open_db();
  for(int i=0; i<150; i++) CHECK_INT( i<n ? 3 : 1, read_fill(p, pages[i]) );
  end_world();
}

/* ---- after the dead ------------------------------------------------------ */

/* Somebody died while he wrote; who comes next has to sync what is there. */
TEST(wal__what_the_dead_left_is_synced_or_not_used){
  static const char *const path[] = { "-wal", "t.vdb" };
  for(int i=0; i<2; i++){
    struct pager *p = open_watched(), *q = open_db();
    page_no a = create_page(q, 1);
    if( i==1 ){
      REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(q, VECDB_CHECKPOINT_FULL,
                                                 NULL, NULL) );
      restart_and_die();
    }
    word_put(SHM_WRITERPID, 99);
    fail(CALL_SYNC, path[i], 0, VECDB_IOERR_SYNC);
    CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_begin_write(p) );
    on_before = NULL;
    commit_fill(q, a, 2);
    CHECK_INT( 2, read_fill(q, a) );
    end_world();
  }
}

/* Without syncs what was found counts as never synced. */
TEST(wal__recovery_without_syncs_finds_the_same){
  struct pager_config cfg;
  struct pager *p = open_db();
  page_no a = create_page(p, 1);
  commit_fill(p, a, 2);
  crash_keeping(0);
  cfg = config();
  cfg.sync = VECDB_SYNC_OFF;
  p = open_with(&cfg);
  CHECK_INT( 2, read_fill(p, a) );
  CHECK_U64( fstore_of(p->store)->log.synced<fstore_of(p->store)->log.n_frame,
             1 );
  end_world();
}

/* A snapshot outlives recoveries that fail at any read, its own reads too. */
TEST(snapshot__is_mended_after_a_recovery_that_failed){
  for(int n=0; n<12; n++){
    struct pager *p = open_watched();
    page_no a = add_pages(p, 1), b = add_pages(p, 1), c = add_pages(p, 1);
    struct page *pg = NULL;
    int rc;
    vdb_pager_forget(p, 0);
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
    word_put(SHM_WRITERPID, 99);
    fail(CALL_READ, "-wal", n, VECDB_IOERR_READ);
    rc = vdb_pager_begin_write(p);
    if( rc!=VECDB_OK ){
      CHECK_RC( VECDB_IOERR_READ, rc );
      fail(CALL_READ, "-wal", 0, VECDB_IOERR_READ);
      CHECK_RC( VECDB_IOERR_READ, vdb_page_get(p, a, PAGE_BTREE_LEAF, &pg) );
    }
    on_before = NULL;
    CHECK_INT( 0, fill_of(p, a) );
    CHECK_INT( 0, fill_of(p, b) );
    CHECK_INT( 0, fill_of(p, c) );
    end_world();
  }
}

/* ---- a log far too long -------------------------------------------------- */

static struct pager *with_long_log(page_no *a){
  struct pager *w = open_db(), *r = open_db();
  *a = create_page(w, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(r) );     /* it cannot restart */
  for(int i=0; i<80; i++) commit_fill(w, *a, (unsigned char)i);
  return w;
}

/* What is undecided keeps it: nobody waits for that. */
TEST(wal__a_log_that_an_undecided_transaction_keeps_is_not_waited_for){
  page_no a;
  struct pager *p = with_long_log(&a);
  struct pager_config cfg;
  int64_t begin;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  set_page(p, a, 100);
  REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, 1) );
  crash_keeping(0);
  cfg = config();
  cfg.sz_wal_auto = 4096;
  cfg.busy_ms = 5000;
  p = open_with(&cfg);
  begin = world->now_ms(world->env);
  CHECK_RC( VECDB_BUSY_INDOUBT, vdb_pager_begin_write(p) );
  CHECK_U64( (uint64_t)begin, (uint64_t)world->now_ms(world->env) );
  CHECK( strstr(err.msg, "with token 1 is undecided; decide it first")!=NULL );
  end_world();
}

/* It is brought home before it gets longer, and that cannot be synced. */
TEST(wal__a_sync_that_fails_before_a_transaction_begins_is_told){
  page_no a;
  struct pager_config cfg;
  struct pager *p;
  (void)with_long_log(&a);
  crash_keeping(0);
  cfg = config();
  cfg.file = layer;
  cfg.sz_wal_auto = 4096;
  p = open_with(&cfg);
  fail(CALL_SYNC, "t.vdb", 0, VECDB_IOERR_SYNC);
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_begin_write(p) );
  on_before = NULL;
  CHECK_INT( PAGER_NONE, vdb_pager_state(p) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  p = open_db();
  CHECK_INT( 79, read_fill(p, a) );
  commit_fill(p, a, 80);
  end_world();
}

/* ---- what is not there, lies, or goes back ------------------------------------- */

/* Somebody cuts the file under a reader. */
TEST(page__one_behind_the_end_of_the_file_is_corrupt){
  struct pager *p = open_db();
  struct vdb_file *f = NULL;
  page_no a = create_page(p, 1), b = create_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_TRUNCATE,
                                             NULL, NULL) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  vdb_pager_forget(p, 0);
  REQUIRE_RC( VECDB_OK, world->open(world->env, "t.vdb", 0, &f, NULL) );
  REQUIRE_RC( VECDB_OK, world->truncate(f, (uint64_t)b*4096 + 10, NULL) );
  CHECK_INT( 1, fill_of(p, a) );
  CHECK_INT( -VECDB_CORRUPT, fill_of(p, b) );
  CHECK( strstr(err.msg, "does not exist")!=NULL );
  world->close(f);
  end_world();
}

/* Somebody publishes an older state again, as it was: what followed the newer
** one begins anew. */
TEST(shm__a_state_that_goes_back_is_followed_from_the_beginning){
  struct pager *w = open_db(), *r = open_db();
  uint64_t old[2*SHMHDR_SIZE/8];
  page_no a = create_page(w, 1), b = create_page(w, 1);
  commit_fill(w, a, 2);
  for(size_t i=0; i<VDB_ARRAY_LEN(old); i++) old[i] = word_get(SHM_HDRA + 8*i);
  commit_fill(w, a, 3);
  commit_fill(w, b, 3);
  CHECK_INT( 3, read_fill(r, a) );
  for(size_t i=0; i<VDB_ARRAY_LEN(old); i++) word_put(SHM_HDRA + 8*i, old[i]);
  CHECK_INT( 2, read_fill(r, a) );
  CHECK_INT( 1, read_fill(r, b) );
  end_world();
}

/* The root page counts other pages than there are. Undoing to a savepoint does
** not believe it. */
TEST(save__going_back_does_not_ask_a_root_that_lies){
  static const uint32_t lies[] = { 0, 1, 77777, UINT32_MAX };
  for(size_t i=0; i<VDB_ARRAY_LEN(lies); i++){
    struct pager *p = open_db();
    struct image im;
    page_no a = create_page(p, 1), n_page;
    unsigned sp;
    REQUIRE_RC( VECDB_OK, close_db(p) );
    im = image_take("t.vdb");
    put_u32(im.p + 2*4096 + ROOT_NPAGE, lies[i]);
    vdb_page_seal(im.p + 2*4096, 4096, 2, 9);
    image_put("t.vdb", im);
    vdb_free(im.p);
    p = open_db();
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    n_page = vdb_pager_n_page(p);
    REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &sp) );
    put_page(p, 2);
    put_page(p, 3);
    REQUIRE_RC( VECDB_OK, vdb_pager_rollback_to(p, sp) );
    CHECK_U64( n_page, vdb_pager_n_page(p) );
    CHECK_INT( 1, fill_of(p, a) );
    CHECK( findings(p)>0 );
    end_world();
  }
}

/* So many pages that one more has no number: somebody lies. */
TEST(shm__a_state_of_more_pages_than_there_are_numbers_is_corrupt){
  struct pager *p = open_db(), *r = open_db();
  page_no a = create_page(p, 1);
  uint64_t h = 0x76656364622d7368u;
  for(int k=0; k<2; k++){
    size_t off = k ? SHM_HDRB : SHM_HDRA;
    word_put(off + SHMHDR_NPAGE, UINT32_MAX);
    h = 0x76656364622d7368u;
    for(size_t i=0; i<SHMHDR_SIZE/8-1; i++){
      h = vdb_mix64(h ^ word_get(off + 8*i)) + i;
    }
    word_put(off + SHMHDR_CHECK, h);
  }
  CHECK_RC( VECDB_CORRUPT, vdb_pager_begin_read(r) );
  CHECK_RC( VECDB_CORRUPT, vdb_pager_begin_write(r) );
  CHECK( strstr(err.msg, "page count 4294967295 is not within")!=NULL );
  CHECK_INT( PAGER_NONE, vdb_pager_state(r) );
  crash_keeping(0);
  p = open_db();
  CHECK_INT( 1, read_fill(p, a) );
  end_world();
}
