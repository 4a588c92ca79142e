/* t_prepared.c -- prepared transactions that are changed, undone in part or
** decided while something fails; and commits that may be undone, likewise.
*/
#include "unit/lib_fail.h"
#include "pager/pager_int.h"

static const unsigned char host[16] = "host of t_prep";

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
      for(unsigned k=0; k<i%3; k++) put_page(p, 5);
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
  while( n<149 && !(p->cache.lru.first==NULL
                    && vdb_pcache_is_over(&p->cache)) ){
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

/* What is undecided, or may be undone, is in a log that cannot be read. */
TEST(twophase__an_undecided_state_that_cannot_be_followed_is_an_error){
  struct pager *p = open_db(), *r;
  page_no a = create_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  set_page(p, a, 2);
  REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, 5) );
  r = open_watched();
  fail(CALL_READ, "-wal", 0, VECDB_IOERR_READ);
  CHECK_RC( VECDB_IOERR_READ, vdb_pager_begin_read_at(r, 5) );
  CHECK_INT( PAGER_NONE, vdb_pager_state(r) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read_at(r, 5) );
  CHECK_INT( 2, fill_of(r, a) );
  CHECK( vdb_pager_reads_undecided(r) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r) );
  CHECK( !vdb_pager_reads_undecided(r) );
  end_world();
}

static int host_is_busy(void *arg){
  VDB_UNUSED(arg);
  return VECDB_BUSY;
}

/* Commits 1, 2 and 3 of a page that is home, or in the log before them; all
** may be undone. */
static struct pager *with_undoable(page_no *a, bool home){
  struct pager *p = open_db();
  *a = create_page(p, 0);
  if( home ){
    REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_TRUNCATE,
                                               NULL, NULL) );
  }
  vdb_pager_set_host(p, host_is_busy, NULL);
  for(unsigned i=1; i<=3; i++){
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    set_page(p, *a, (unsigned char)i);
    REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, i) );
    REQUIRE_RC( VECDB_OK, vdb_pager_decide(p, true, true) );
  }
  return p;
}

TEST(undo__what_cannot_be_read_is_an_error){
  struct undo_tokens tok;
  struct image im;
  page_no a;
  struct pager *p = with_undoable(&a, true), *q = open_watched();
  bool yes;
  fail(CALL_READ, "-wal", 0, VECDB_IOERR_READ);
  CHECK_RC( VECDB_IOERR_READ, vdb_pager_undoable(q, &yes, &tok) );
  on_before = NULL;
  CHECK_RC( VECDB_OK, vdb_pager_undoable(q, &yes, &tok) );
  CHECK( yes );
  im = image_take("t.vdb");
  im.p[2*4096 + 200] ^= 1;                 /* the root that is home */
  image_put("t.vdb", im);
  CHECK_RC( VECDB_CORRUPT_CHECKSUM, vdb_pager_undoable(p, &yes, &tok) );
  vdb_free(im.p);
  end_world();
}

/* Going back brings commits home, and that fails: they are as they were. */
TEST(undo__a_rewind_that_cannot_write_is_made_again){
  struct undo_tokens tok;
  struct pager *p;
  page_no a;
  bool yes = false;
  (void)with_undoable(&a, true);
  crash_keeping(0);
  p = open_watched();
  fail(CALL_WRITE, "t.vdb", 1, VECDB_IOERR_WRITE);
  CHECK_RC( VECDB_IOERR_WRITE, vdb_pager_rewind(p, 2, 3) );
  on_before = NULL;
  crash_keeping(0);
  p = open_db();
  CHECK_INT( 3, read_fill(p, a) );
  CHECK_RC( VECDB_OK, vdb_pager_undoable(p, &yes, &tok) );
  CHECK( yes );
  CHECK_U64( 3, tok.newest );
  CHECK_RC( VECDB_OK, vdb_pager_rewind(p, 2, 3) );
  CHECK_INT( 2, read_fill(p, a) );
  end_world();
}

/* What a checkpoint brought home, or has begun to, cannot be undone, whatever
** the marks in the log say. */
TEST(undo__what_is_home_stays_after_a_crash){
  for(int half=0; half<2; half++){
    struct undo_tokens tok;
    page_no a;
    struct pager *p = with_undoable(&a, false), *q;
    bool yes = true;
    word_put(SHM_FIRM, 1000);              /* the host is durable by now */
    q = open_watched();
    if( half ) fail(CALL_SYNC, "t.vdb", 1, VECDB_IOERR_SYNC);
    CHECK_RC( half ? VECDB_IOERR_SYNC : VECDB_OK,
              vdb_pager_checkpoint(q, VECDB_CHECKPOINT_PASSIVE, NULL, NULL) );
    crash_keeping(0);
    p = open_db();
    CHECK_RC( VECDB_OK, vdb_pager_undoable(p, &yes, &tok) );
    CHECK( !yes );
    CHECK_INT( 3, read_fill(p, a) );
    end_world();
  }
}
