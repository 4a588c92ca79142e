/* t_races.c -- what another connection may do exactly between two steps of
** ours: at a word of shared memory, at a lock, while somebody waits.
**
** Words that no connection would write stand for one that died half way, or
** for somebody who lies.
*/
#include "unit/lib_words.h"

static const unsigned char host[16] = "host of races!!";

/* ---- moments ------------------------------------------------------------- */

/* What is done once, when the watched connection makes that call at that
** offset: before it, or after it. */
static struct {
  enum lab_call call;
  uint64_t off_lo, off_hi;             /* of the word or byte */
  const char *path;                    /* its end */
  unsigned n_skip;                     /* calls let go by */
  void (*fn)(void);
} moment;

static bool is_moment(const struct lab_event *e){
  if( moment.fn==NULL || e->call!=moment.call
      || e->off<moment.off_lo || e->off>moment.off_hi
      || !ends_with(e->path, moment.path) ) return false;
  if( moment.n_skip>0 ){
    moment.n_skip--;
    return false;
  }
  return true;
}
static void moment_act(void){
  void (*fn)(void) = moment.fn;
  moment.fn = NULL;
  fn();
}
static int moment_before(struct lab_event *e){
  if( is_moment(e) ) moment_act();
  return VECDB_OK;
}
static void moment_after(struct lab_event *e, int rc){
  VDB_UNUSED(rc);
  if( is_moment(e) ) moment_act();
}
static void at_moment(enum lab_call call, uint64_t lo, uint64_t hi,
                      const char *path, void (*fn)(void), bool before){
  moment.call = call;
  moment.off_lo = lo;
  moment.off_hi = hi;
  moment.path = path;
  moment.n_skip = 0;
  moment.fn = fn;
  on_before = before ? moment_before : NULL;
  on_after = before ? NULL : moment_after;
}
static void at_word(enum lab_call call, uint64_t at, void (*fn)(void)){
  at_moment(call, at, at, "-shm", fn, true);
}
static void moment_end(void){
  CHECK( moment.fn==NULL );            /* it has come */
  on_before = NULL;
  on_after = NULL;
}

static struct pager *other;
static page_no page;

/* ---- readers ------------------------------------------------------------- */

static void other_checkpoints(void){
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(other, VECDB_CHECKPOINT_FULL,
                                             NULL, NULL) );
}
static void checkpoint_and_restart(void){
  other_checkpoints();
  restart_and_die();
}

/* All came home and the log began to restart when the reader had chosen to
** read the log and not yet set its slot: it reads the main file alone. */
TEST(snapshot__a_log_that_restarts_is_not_read){
  struct pager *r;
  other = open_db();
  page = create_page(other, 1);
  r = open_watched();
  CHECK_INT( 1, read_fill(r, page) );
  commit_fill(other, page, 2);
  at_moment(CALL_SHM_STORE, SHM_SLOTS, SHM_SLOTS + 8*N_SLOT, "-shm",
            checkpoint_and_restart, true);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(r) );
  moment_end();
  CHECK( fstore_of(r->store)->min_frame>=fstore_of(r->store)->max_frame );
  vdb_pager_forget(r, 0);
  CHECK_INT( 2, fill_of(r, page) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r) );
  commit_fill(other, page, 3);         /* writers get along with it */
  CHECK_INT( 3, read_fill(r, page) );
  end_world();
}

/* A cache follows a log only within one generation. */
TEST(snapshot__a_cache_of_another_log_is_dropped){
  struct pager *r;
  other = open_db();
  page = create_page(other, 1);
  r = open_db();
  CHECK_INT( 1, read_fill(r, page) );
  for(int i=2; i<6; i++){
    commit_fill(other, page, (unsigned char)i);
    REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(other, VECDB_CHECKPOINT_RESTART,
                                               NULL, NULL) );
    commit_fill(other, page, (unsigned char)(10*i));
    CHECK_INT( 10*i, read_fill(r, page) );
  }
  end_world();
}

/* ---- the log restarts ---------------------------------------------------- */

/* A log whose frames are all home: the next commit restarts it. */
static struct pager *with_all_home(void){
  struct pager *p = open_watched();
  page = create_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL, NULL,
                                             NULL) );
  return p;
}

static void bump_once(void){ generation_bump(5); }

/* The word moved on between looking and swapping: another time. */
TEST(wal__a_restart_that_somebody_else_began_is_not_made){
  struct pager *p = with_all_home();
  uint64_t gen = fstore_of(p->store)->log.generation;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  set_page(p, page, 2);
  at_word(CALL_SHM_CAS, SHM_BACKFILL, bump_once);
  CHECK_RC( VECDB_OK, vdb_pager_commit(p) );
  moment_end();
  CHECK_U64( gen, fstore_of(p->store)->log.generation );    /* it went on */
  CHECK_INT( 2, read_fill(p, page) );
  commit_fill(p, page, 3);             /* and goes on with another's word */
  CHECK_U64( gen, fstore_of(p->store)->log.generation );
  CHECK_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_PASSIVE, NULL,
                                           NULL) );
  CHECK_INT( 3, read_fill(p, page) );
  crash_keeping(0);
  p = open_db();
  CHECK_INT( 3, read_fill(p, page) );
  end_world();
}

/* Where there is no log yet that is all there is to do: try again. */
TEST(wal__a_first_log_that_somebody_else_began_is_told){
  struct pager *p = open_watched();
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  page = put_page(p, 1);
  at_word(CALL_SHM_CAS, SHM_BACKFILL, bump_once);
  CHECK_RC( VECDB_BUSY, vdb_pager_commit(p) );
  moment_end();
  CHECK( strstr(err.msg, "is being changed; retry")!=NULL );
  CHECK_INT( PAGER_WRITE, vdb_pager_state(p) );
  CHECK_RC( VECDB_OK, vdb_pager_commit(p) );
  CHECK_INT( 1, read_fill(p, page) );
  end_world();
}

/* Somebody died after he had taken the next generation: it is not taken
** twice. */
TEST(wal__a_generation_is_not_used_twice){
  struct pager *p = open_db(), *q = open_db();
  uint64_t taken;
  generation_bump(1);
  taken = BACKFILL_GEN(word_get(SHM_BACKFILL));
  page = create_page(p, 1);
  CHECK( fstore_of(p->store)->log.generation!=taken );
  CHECK_INT( 1, read_fill(q, page) );
  end_world();
}

/* ---- checkpoints --------------------------------------------------------- */

/* The word is another one when a checkpoint wants to move it: what it brought
** home stays home, and the word stays as it was found. */
TEST(ckpt__a_word_that_is_another_one_is_left_alone){
  struct pager_stats st;
  struct pager *p = open_watched();
  uint64_t w;
  page = create_page(p, 1);
  w = word_get(SHM_BACKFILL);
  at_word(CALL_SHM_CAS, SHM_BACKFILL, bump_once);
  CHECK_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_PASSIVE, NULL,
                                           NULL) );
  moment_end();
  CHECK_U64( BACKFILL(BACKFILL_GEN(w)+5, 0), word_get(SHM_BACKFILL) );
  REQUIRE_RC( VECDB_OK, vdb_pager_stats(p, &st) );
  CHECK( st.ckpt_txid<st.txid );
  CHECK_INT( 1, read_fill(p, page) );
  crash_keeping(0);
  p = open_db();
  CHECK_INT( 1, read_fill(p, page) );
  end_world();
}

/* The header in force rots: the one before it says that less is home. Frames
** that are home are not written again, over what is there by now. */
TEST(ckpt__a_rotten_header_slot_brings_no_stale_frames_home){
  struct pager *p = open_db(), *r;
  struct image im;
  page_no a[40], head;
  uint32_t n = 16*4096;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  for(int i=0; i<40; i++) a[i] = put_page(p, (unsigned char)i);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  for(int i=1; i<40; i++) free_page(p, a[i]);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  r = open_db();
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(r) );     /* keeps the log */
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL, NULL,
                                             NULL) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  head = create_extent(p, 9, n);
  REQUIRE( head<=a[39] );
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r) );
  im = image_take("t.vdb");
  im.p[HEADER_SLOT_OFF(fstore_of(p->store)->header.i_slot) + 40] ^= 1;
  image_put("t.vdb", im);
  vdb_free(im.p);
  CHECK_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL, NULL,
                                           NULL) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  CHECK( extent_is(p, head, 9, n) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  end_world();
}

TEST(ckpt__an_undecided_transaction_keeps_the_log){
  struct pager *p = open_db();
  page = create_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  set_page(p, page, 2);
  REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, 3) );
  crash_keeping(0);
  p = open_db();
  CHECK_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL, NULL,
                                           NULL) );
  CHECK_RC( VECDB_BUSY_INDOUBT, vdb_pager_checkpoint(p,
                                  VECDB_CHECKPOINT_RESTART, NULL, NULL) );
  CHECK( strstr(err.msg, "a prepared transaction is undecided")!=NULL );
  REQUIRE_RC( VECDB_OK, vdb_pager_decide(p, true, false) );
  CHECK_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_RESTART, NULL,
                                           NULL) );
  CHECK_INT( 2, read_fill(p, page) );
  end_world();
}

static void other_leaves(void){
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(other) );
}

/* All is home, but somebody reads the log: a restart waits until he goes. */
TEST(ckpt__a_restart_waits_for_readers_of_the_log){
  struct pager *p = open_watched();
  page = create_page(p, 1);
  other = open_db();
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(other) );
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL, NULL,
                                             NULL) );
  CHECK_RC( VECDB_BUSY, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_RESTART,
                                             NULL, NULL) );
  CHECK( strstr(err.msg, "cannot restart the log of")!=NULL );
  REQUIRE_RC( VECDB_OK, vdb_pager_set(p, "busy_ms", 1000) );
  moment.n_skip = 0;
  at_moment(CALL_SLEEP, 0, UINT64_MAX, "", other_leaves, true);
  moment.n_skip = 3;
  CHECK_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_RESTART, NULL,
                                           NULL) );
  moment_end();
  CHECK_U64( 0, fstore_of(p->store)->log.n_frame );
  CHECK_INT( 1, read_fill(other, page) );
  end_world();
}

static struct vdb_file *blocker;
static void blocker_leaves(void){
  world->close(blocker);
}

/* Another checkpoint is waited for, as long as was allowed. */
TEST(ckpt__waits_for_another_one){
  struct pager *p = open_watched();
  page = create_page(p, 1);
  blocker = words_open();
  REQUIRE_RC( VECDB_OK, world->lock(blocker, LOCK_CKPT, LOCK_EXCLUSIVE,
                                    NULL) );
  CHECK_RC( VECDB_BUSY, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL, NULL,
                                             NULL) );
  CHECK( strstr(err.msg, "another connection is checkpointing")!=NULL );
  REQUIRE_RC( VECDB_OK, vdb_pager_set(p, "busy_ms", 1000) );
  at_moment(CALL_SLEEP, 0, UINT64_MAX, "", blocker_leaves, true);
  CHECK_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL, NULL,
                                           NULL) );
  moment_end();
  CHECK_INT( 1, read_fill(p, page) );
  end_world();
}

/* ---- commits that may be undone ------------------------------------------ */

static int host_is_durable(void *arg){
  VDB_UNUSED(arg);
  return VECDB_OK;
}
static int host_is_busy(void *arg){
  VDB_UNUSED(arg);
  return VECDB_BUSY;
}

static void commit_undoable(struct pager *p, unsigned char fill){
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  set_page(p, page, fill);
  REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, fill) );
  REQUIRE_RC( VECDB_OK, vdb_pager_decide(p, true, true) );
}

static void other_settles(void){
  vdb_pager_set_host(other, host_is_durable, NULL);
  CHECK_RC( VECDB_OK, vdb_undo_settle(fstore_of(other->store)) );
}
static void firm_is_another(void){ word_put(SHM_FIRM, 1); }

/* Two connections of the host find at the same time that it is durable. */
TEST(undo__two_may_note_at_once_what_is_firm){
  for(int far=0; far<2; far++){
    struct undo_tokens tok;
    struct pager *p = open_watched();
    bool yes = true;
    page = create_page(p, 0);
    other = open_db();
    vdb_pager_set_host(p, host_is_busy, NULL);
    commit_undoable(p, 1);
    vdb_pager_set_host(p, host_is_durable, NULL);
    at_word(CALL_SHM_CAS, SHM_FIRM, far ? other_settles : firm_is_another);
    CHECK_RC( VECDB_OK, vdb_undo_settle(fstore_of(p->store)) );
    moment_end();
    CHECK_RC( VECDB_OK, vdb_pager_undoable(other, &yes, &tok) );
    CHECK( !yes );
    CHECK_INT( 1, read_fill(other, page) );
    end_world();
  }
}

/* Rewinding needs the log for itself. */
TEST(undo__a_rewind_in_a_log_that_moves_is_told){
  struct pager *p = open_watched();
  page = create_page(p, 0);
  vdb_pager_set_host(p, host_is_busy, NULL);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  set_page(p, page, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, 1) );
  REQUIRE_RC( VECDB_OK, vdb_pager_decide(p, true, false) );
  commit_undoable(p, 2);
  at_word(CALL_SHM_CAS, SHM_BACKFILL, bump_once);
  CHECK_RC( VECDB_BUSY, vdb_pager_rewind(p, 1, 2) );
  moment_end();
  CHECK( strstr(err.msg, "its log is in use")!=NULL );
  crash_keeping(0);
  p = open_db();                       /* what went home is firm */
  CHECK( read_fill(p, page)>=1 );
  end_world();
}

/* ---- states of tokens ---------------------------------------------------- */

static void commit_token(struct pager *p, unsigned char fill){
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  set_page(p, page, fill);
  REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, fill) );
  REQUIRE_RC( VECDB_OK, vdb_pager_decide(p, true, false) );
}

/* The log restarts just when the slot of an undecided state is set: the state
** is looked for among commits, and is none. */
TEST(twophase__an_undecided_state_is_read_in_its_log_or_not_at_all){
  struct pager *r;
  other = open_db();
  page = create_page(other, 1);
  r = open_watched();
  CHECK_INT( 1, read_fill(r, page) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(other) );
  set_page(other, page, 2);
  REQUIRE_RC( VECDB_OK, vdb_pager_prepare(other, host, 5) );
  at_moment(CALL_SHM_STORE, SHM_SLOTS, SHM_SLOTS + 8*N_SLOT, "-shm",
            bump_once, true);
  CHECK_RC( VECDB_BUSY_SNAPSHOT, vdb_pager_begin_read_at(r, 5) );
  moment_end();
  CHECK( strstr(err.msg, "is gone")!=NULL );
  CHECK_INT( PAGER_NONE, vdb_pager_state(r) );
  CHECK_INT( 1, read_fill(r, page) );
  end_world();
}

static void other_commits(void){ commit_token(other, 3); }

static void other_commits_then_restarts(void){
  other_commits();
  other_checkpoints();
  at_moment(CALL_SHM_STORE, SHM_SLOTS, SHM_SLOTS + 8*N_SLOT, "-shm",
            restart_and_die, true);
}

/* A state that is not the newest is in the log until that restarts: before
** anybody looked, or before the slot is set. */
TEST(twophase__an_older_state_goes_with_its_log){
  for(int late=0; late<2; late++){
    struct pager *r;
    other = open_db();
    page = create_page(other, 0);
    r = open_watched();
    commit_token(other, 1);
    commit_token(other, 2);
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_read_at(r, 1) );
    CHECK_INT( 1, fill_of(r, page) );
    REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r) );
    at_moment(CALL_LOCK, LOCK_CKPT, LOCK_CKPT, "-shm", late
              ? other_commits_then_restarts : checkpoint_and_restart, true);
    CHECK_RC( VECDB_BUSY_SNAPSHOT, vdb_pager_begin_read_at(r, late ? 3 : 1) );
    moment_end();
    CHECK( strstr(err.msg, "the state with token")!=NULL );
    CHECK_INT( PAGER_NONE, vdb_pager_state(r) );
    CHECK_INT( late ? 3 : 2, read_fill(r, page) );
    commit_fill(other, page, 9);
    CHECK_INT( 9, read_fill(r, page) );
    end_world();
  }
}

static int fail_wal_reads(struct lab_event *e){
  if( is_moment(e) ) moment_act();
  if( moment.fn || e->call!=CALL_READ || !ends_with(e->path, "-wal") ){
    return VECDB_OK;
  }
  return vdb_error(e->err, VECDB_IOERR_READ, "cannot read the log");
}

/* Somebody commits while an older state is looked for, and what he wrote
** cannot be read. */
TEST(twophase__an_older_state_in_a_log_that_cannot_be_read_is_an_error){
  struct pager *r;
  other = open_db();
  page = create_page(other, 0);
  r = open_watched();
  commit_token(other, 1);
  commit_token(other, 2);
  CHECK_INT( 2, read_fill(r, page) );
  at_moment(CALL_LOCK, LOCK_CKPT, LOCK_CKPT, "-shm", other_commits, true);
  on_before = fail_wal_reads;
  CHECK_RC( VECDB_IOERR_READ, vdb_pager_begin_read_at(r, 1) );
  moment_end();
  CHECK_INT( PAGER_NONE, vdb_pager_state(r) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read_at(r, 1) );
  CHECK_INT( 1, fill_of(r, page) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r) );
  CHECK_RC( VECDB_OK, vdb_pager_checkpoint(other, VECDB_CHECKPOINT_FULL, NULL,
                                           NULL) );   /* no lock is left */
  end_world();
}

static int n_lock_until;
static int fail_slot_locks(struct lab_event *e){
  if( is_moment(e) ) moment_act();
  if( e->call!=CALL_LOCK || e->off<LOCK_SLOT(0) || !ends_with(e->path, "-shm")
      || --n_lock_until>0 ) return VECDB_OK;
  return VECDB_IOERR_LOCK;
}

/* No slot can be had for it. */
TEST(twophase__a_state_without_a_slot_is_an_error){
  for(int n=1; n<=2; n++){
    struct pager *r;
    other = open_db();
    page = create_page(other, 0);
    commit_token(other, 1);
    commit_token(other, 2);
    if( n==1 ){
      REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(other) );
      set_page(other, page, 3);
      REQUIRE_RC( VECDB_OK, vdb_pager_prepare(other, host, 3) );
    }
    r = open_watched();
    n_lock_until = 1;
    on_before = fail_slot_locks;
    CHECK_RC( VECDB_IOERR_LOCK, vdb_pager_begin_read_at(r, n==1 ? 3 : 1) );
    on_before = NULL;
    CHECK( strstr(err.msg, "cannot lock a reader slot")!=NULL );
    CHECK_INT( PAGER_NONE, vdb_pager_state(r) );
    CHECK_INT( 2, read_fill(r, page) );
    end_world();
  }
}
