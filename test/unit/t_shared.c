/* t_shared.c -- shared memory that is torn or lies, reader slots that are
** shared, and hints to the system about what is mapped.
*/
#include "unit/lib_words.h"
#include "pager/pager_int.h"

static const unsigned char host[16] = "host of words";

/* Locks of these bytes of -shm fail, or show a function: n_skip go by. */
static struct {
  uint64_t lo, hi;
  int n_skip, rc;
  void (*fn)(void);
} at_lock;
static int lock_before(struct lab_event *e){
  if( e->call!=CALL_LOCK || !ends_with(e->path, "-shm") || e->off<at_lock.lo
      || e->off>at_lock.hi || at_lock.n_skip-->0 ) return VECDB_OK;
  return at_lock.rc;
}
static void lock_after(struct lab_event *e, int rc){
  if( e->call!=CALL_LOCK || !ends_with(e->path, "-shm") || rc!=VECDB_OK
      || e->off<at_lock.lo || e->off>at_lock.hi || at_lock.fn==NULL ) return;
  at_lock.fn();
  at_lock.fn = NULL;
}
static void locks_fail(uint64_t lo, uint64_t hi, int n_skip){
  at_lock.lo = lo;
  at_lock.hi = hi;
  at_lock.n_skip = n_skip;
  at_lock.rc = VECDB_IOERR_LOCK;
  on_before = lock_before;
}

/* ---- the published state ------------------------------------------------- */

TEST(shm__a_torn_first_copy_is_read_from_the_second){
  struct pager *p = open_db(), *r = open_db();
  page_no a = create_page(p, 1);
  word_put(SHM_HDRA + SHMHDR_NPAGE, 12345);            /* its hash is wrong */
  CHECK_INT( 1, read_fill(r, a) );
  commit_fill(r, a, 2);
  CHECK_INT( 2, read_fill(p, a) );
  end_world();
}

TEST(shm__a_state_that_nobody_may_rebuild_is_an_error){
  struct pager *p = open_db(), *r = open_watched();
  page_no a = create_page(p, 1);
  word_put(SHM_HDRA + SHMHDR_CHANGE, 0);
  word_put(SHM_HDRB + SHMHDR_CHANGE, 0);
  locks_fail(LOCK_WRITER, LOCK_WRITER, 0);
  CHECK_RC( VECDB_IOERR_LOCK, vdb_pager_begin_read(r) );
  on_before = NULL;
  CHECK_INT( 1, read_fill(r, a) );
  end_world();
}

/* The word of the backfill is of another log, and says that all is home. */
TEST(wal__a_word_of_another_log_lets_none_restart){
  struct pager *p = open_db(), *q = open_db();
  page_no a = create_page(p, 1);
  uint64_t gen = fstore_of(p->store)->log.generation;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  set_page(p, a, 2);
  word_put(SHM_BACKFILL, BACKFILL(gen+7, 1000));
  CHECK_RC( VECDB_OK, vdb_pager_commit(p) );
  CHECK_U64( gen, fstore_of(p->store)->log.generation );
  word_put(SHM_BACKFILL, BACKFILL(gen, 0));
  CHECK_INT( 2, read_fill(q, a) );
  end_world();
}

/* More is said to be home than is: space that the own snapshot still needs is
** not given away. */
TEST(shm__a_lie_about_what_is_home_frees_nothing_too_early){
  struct pager *p = open_db();
  page_no head, fresh;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  head = create_extent(p, 1, 20*4096);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  word_put(SHM_CKPTTXID, 1u<<20);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  REQUIRE_RC( VECDB_OK, vdb_extent_free(p, head) );
  fresh = create_extent(p, 2, 20*4096);
  CHECK( extent_is(p, fresh, 2, 20*4096) );
  REQUIRE_RC( VECDB_OK, vdb_pager_rollback(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  CHECK( extent_is(p, head, 1, 20*4096) );
  end_world();
}

/* ---- shared slots -------------------------------------------------------- */

static struct vdb_file *crowd;

/* All slots that can be owned are. */
static void crowd_in(void){
  crowd = words_open();
  for(int i=0; i<N_OWN; i++){
    REQUIRE_RC( VECDB_OK, world->lock(crowd, LOCK_SLOT(i), LOCK_EXCLUSIVE,
                                      NULL) );
  }
}
static size_t slot_at(int i){ return SHM_SLOTS + 8*(size_t)i; }

/* The slot with the right word is just being taken by another: there are
** more. */
TEST(slots__one_that_cannot_be_locked_is_not_shared){
  struct pager *p, *q = open_db(), *r;
  page_no a = create_page(q, 1);
  r = open_db();
  REQUIRE_RC( VECDB_OK, close_db(q) );
  crowd_in();
  p = open_watched();
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(r) );
  CHECK_INT( N_OWN, fstore_of(r->store)->i_slot );
  locks_fail(LOCK_SLOT(N_OWN), LOCK_SLOT(N_OWN), 0);
  at_lock.rc = VECDB_BUSY;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  on_before = NULL;
  CHECK_INT( N_OWN+1, fstore_of(p->store)->i_slot );
  CHECK_INT( 1, fill_of(p, a) );
  world->close(crowd);
  end_world();
}

static void word_changes(void){ word_put(slot_at(N_OWN), SLOT_WORD(1, false)); }

TEST(slots__one_whose_word_changes_while_it_is_locked_is_let_go){
  struct pager *p, *w = open_db(), *q = open_db();
  page_no a = create_page(w, 1);
  REQUIRE_RC( VECDB_OK, close_db(w) );
  crowd_in();
  p = open_watched();
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(q) );
  at_lock.lo = at_lock.hi = LOCK_SLOT(N_OWN);
  at_lock.fn = word_changes;
  on_after = lock_after;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  on_after = NULL;
  CHECK_INT( N_OWN+1, fstore_of(p->store)->i_slot );
  CHECK_INT( 1, fill_of(p, a) );
  world->close(crowd);
  end_world();
}

TEST(slots__one_that_cannot_be_made_shared_is_an_error){
  struct pager *p = open_db(), *q;
  page_no a = create_page(p, 1);
  q = open_watched();
  REQUIRE_RC( VECDB_OK, close_db(p) );
  crowd_in();
  locks_fail(LOCK_SLOT(N_OWN), LOCK_SLOT(N_OWN), 1);
  CHECK_RC( VECDB_IOERR_LOCK, vdb_pager_begin_read(q) );
  CHECK( strstr(err.msg, "cannot lock a reader slot")!=NULL );
  on_before = NULL;
  CHECK_INT( 1, read_fill(q, a) );
  world->close(crowd);
  end_world();
}

/* A writer whose slot others may share restarts the log if none does. */
TEST(slots__a_shared_one_keeps_the_log_only_for_others){
  for(int shared=0; shared<2; shared++){
    struct pager *p = open_db(), *q, *r;
    page_no a = create_page(p, 1);
    uint64_t gen;
    q = open_db();
    r = open_db();
    REQUIRE_RC( VECDB_OK, close_db(p) );
    crowd_in();
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(q) );   /* reads the log */
    if( shared ) REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(r) );
    CHECK_INT( N_OWN, fstore_of(q->store)->i_slot );
    p = open_db();
    REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL, NULL,
                                               NULL) );
    gen = fstore_of(q->store)->log.generation;
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(q) );
    set_page(q, a, 2);
    REQUIRE_RC( VECDB_OK, vdb_pager_commit(q) );
    CHECK( (fstore_of(q->store)->log.generation==gen)==(shared==1) );
    if( shared ) CHECK_INT( 1, fill_of(r, a) );
    CHECK_INT( 2, read_fill(p, a) );
    world->close(crowd);
    end_world();
  }
}

/* The second claim, for an older state, finds none. */
TEST(twophase__an_older_state_without_a_slot_is_an_error){
  struct pager *p = open_db(), *r;
  page_no a = create_page(p, 0);
  for(unsigned i=1; i<=2; i++){
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    set_page(p, a, (unsigned char)i);
    REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, i) );
    REQUIRE_RC( VECDB_OK, vdb_pager_decide(p, true, false) );
  }
  r = open_watched();
  REQUIRE_RC( VECDB_OK, close_db(p) );
  crowd_in();
  locks_fail(LOCK_SLOT(N_OWN), LOCK_SLOT(N_SLOT), 2);
  CHECK_RC( VECDB_IOERR_LOCK, vdb_pager_begin_read_at(r, 1) );
  on_before = NULL;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read_at(r, 1) );
  CHECK_INT( 1, fill_of(r, a) );
  world->close(crowd);
  end_world();
}

/* ---- what is mapped ------------------------------------------------------ */

static bool whole_yes(struct vdb_file *f, const void *p, size_t n){
  VDB_UNUSED(f); VDB_UNUSED(p); VDB_UNUSED(n);
  return true;
}
static int n_read;
static int read_count(struct vdb_file *f, uint64_t off, void *buf, size_t n,
                      size_t *n_done, struct vdb_err *e){
  n_read++;
  return world->read(f, off, buf, n, n_done, e);
}

/* Where the file is mapped in large pieces pages come from there; behind the
** mapping they are read. */
TEST(map__pages_come_from_a_file_that_is_mapped_whole){
  struct pager_config cfg = config();
  struct vecdb_file_ops ops = *world;
  struct extent e;
  struct pager *p = NULL;
  page_no a, head, last;
  ops.map_whole = whole_yes;
  ops.read = read_count;
  cfg.file = &ops;
  REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, &err, &p) );
  a = create_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  head = create_extent(p, 1, 8192);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_TRUNCATE,
                                             NULL, NULL) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  REQUIRE_RC( VECDB_OK, vdb_extent_pin(p, head, &e) );
  vdb_extent_unpin(p, &e);
  vdb_pager_forget(p, 0);
  n_read = 0;
  CHECK_INT( 1, fill_of(p, a) );
  CHECK_INT( 0, n_read );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  last = add_pages(p, 20);
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_TRUNCATE,
                                             NULL, NULL) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  vdb_pager_forget(p, 0);
  n_read = 0;
  CHECK_INT( 0, fill_of(p, last) );
  CHECK_INT( 1, n_read );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
  end_world();
}

TEST(map__an_extent_behind_the_end_of_the_file_is_corrupt){
  struct pager *p = open_db();
  struct vdb_file *f = NULL;
  struct extent e;
  page_no head;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  head = create_extent(p, 1, 64*4096);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  REQUIRE_RC( VECDB_OK, world->open(world->env, "t.vdb", 0, &f, NULL) );
  REQUIRE_RC( VECDB_OK, world->truncate(f, 20*4096, NULL) );
  world->close(f);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  CHECK_RC( VECDB_CORRUPT, vdb_extent_pin(p, head, &e) );
  CHECK( strstr(err.msg, "an extent needs")!=NULL );
  end_world();
}

/* ---- without syncs ------------------------------------------------------- */

static int no_sync(struct lab_event *e){
  CHECK( e->call!=CALL_SYNC && e->call!=CALL_SYNC_DIR );
  return VECDB_OK;
}

TEST(pager__without_syncs_none_is_made){
  struct pager_config cfg = config();
  struct pager *p;
  page_no a;
  cfg.file = layer;
  cfg.sync = VECDB_SYNC_OFF;
  on_before = no_sync;
  p = open_with(&cfg);
  a = create_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_TRUNCATE,
                                             NULL, NULL) );
  commit_fill(p, a, 2);
  REQUIRE_RC( VECDB_OK, close_db(p) );
  on_before = NULL;
  p = open_db();
  CHECK_INT( 2, read_fill(p, a) );
  end_world();
}
