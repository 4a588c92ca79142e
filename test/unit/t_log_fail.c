/* t_log_fail.c -- the log when calls fail at rare places: appending, following,
** checkpoints, recovering from the dead.
*/
#include "unit/lib_fail.h"
#include "pager/pager_int.h"
#include "util/crc32c.h"

static const unsigned char host[16] = "host of log ..";

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

/* ---- checkpoints --------------------------------------------------------- */

TEST(ckpt__a_file_that_cannot_be_made_longer_is_an_error){
  struct pager *p = open_watched();
  page_no a = create_page(p, 1), last;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  last = put_page(p, 2);
  for(int i=0; i<10; i++) last = put_page(p, 2);
  for(page_no i=0; i<11; i++) free_page(p, last-10+i);   /* never written */
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  fail(CALL_TRUNCATE, "t.vdb", 0, VECDB_FULL);
  CHECK_RC( VECDB_FULL, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL, NULL,
                                             NULL) );
  CHECK_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL, NULL,
                                           NULL) );
  CHECK_INT( 1, read_fill(p, a) );
  end_world();
}

/* All is home as a header says that was not synced; now it cannot be either. */
TEST(ckpt__a_header_of_the_dead_that_cannot_be_synced_is_an_error){
  struct pager *q = open_db(), *p = open_watched();
  page_no a = create_page(q, 1);
  fail(CALL_SYNC, "t.vdb", 2, VECDB_IOERR_SYNC);
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL,
                                                   NULL, NULL) );
  on_before = NULL;
  REQUIRE_RC( VECDB_OK, close_db(p) );
  p = open_watched();
  fail(CALL_SYNC, "t.vdb", 0, VECDB_IOERR_SYNC);
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL,
                                                   NULL, NULL) );
  on_before = NULL;
  CHECK_RC( VECDB_OK, vdb_pager_checkpoint(q, VECDB_CHECKPOINT_FULL, NULL,
                                           NULL) );
  CHECK_INT( 1, read_fill(q, a) );
  end_world();
}

/* Who has never read the log is to cut it. */
TEST(ckpt__a_log_that_cannot_be_opened_is_not_cut){
  struct pager *q = open_db(), *p;
  page_no a = create_page(q, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(q, VECDB_CHECKPOINT_RESTART, NULL,
                                             NULL) );
  p = open_watched();
  fail(CALL_OPEN, "-wal", 0, VECDB_CANTOPEN);
  CHECK_RC( VECDB_CANTOPEN, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_TRUNCATE,
                                                 NULL, NULL) );
  CHECK_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_TRUNCATE, NULL,
                                           NULL) );
  CHECK_INT( 1, read_fill(p, a) );
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

/* A file that was being made is told from one that rotted by its log: where
** that cannot be read, or is another's, too. */
TEST(header__a_torn_creation_asks_the_log){
  struct pager *p = open_db();
  struct image im = image_take("t.vdb"), wal;
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
  im.p[50] ^= 1;                           /* slot A */
  for(int what=0; what<3; what++){
    struct pager_config cfg = config();
    REQUIRE_RC( VECDB_OK, vdb_pager_set(p = open_db(), "busy_ms", 0) );
    create_page(p, 1);
    wal = image_take("t.vdb-wal");
    if( what==2 ){                         /* of another file, whole */
      wal.p[WALHDR_UUID] ^= 1;
      put_u32(wal.p + WALHDR_CRC, vdb_crc32c(0, wal.p, WALHDR_CRC));
    }
    end_world();
    cfg = config();
    cfg.file = layer;
    image_put("t.vdb", im);
    image_put("t.vdb-wal", wal);
    if( what==0 ) fail(CALL_OPEN, "-wal", 0, VECDB_CANTOPEN);
    if( what==1 ) fail(CALL_READ, "-wal", 0, VECDB_IOERR_READ);
    p = NULL;
    CHECK_RC( what==0 ? VECDB_CANTOPEN : what==1 ? VECDB_IOERR_READ : VECDB_OK,
              vdb_pager_open(&cfg, &err, &p) );
    vdb_pager_close(p);
    vdb_free(wal.p);
    end_world();
  }
  vdb_free(im.p);
}

/* A prepared transaction between two others was taken back. */
TEST(wal__an_abort_after_commits_is_passed_over){
  struct pager *p = open_db();
  page_no a = create_page(p, 1), b;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  for(int i=0; i<5; i++) put_page(p, 9);
  REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, 7) );
  REQUIRE_RC( VECDB_OK, vdb_pager_decide(p, false, false) );
  b = create_page(p, 2);
  crash_keeping(0);
  p = open_db();
  CHECK_INT( 1, read_fill(p, a) );
  CHECK_INT( 2, read_fill(p, b) );
  end_world();
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

/* ---- what is not there, lies, or goes back ------------------------------ */

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
  CHECK_RC( VECDB_CORRUPT, vdb_pager_begin_read_at(r, 0) );
  CHECK( strstr(err.msg, "page count 4294967295 is not within")!=NULL );
  CHECK_INT( PAGER_NONE, vdb_pager_state(r) );
  crash_keeping(0);
  p = open_db();
  CHECK_INT( 1, read_fill(p, a) );
  end_world();
}
