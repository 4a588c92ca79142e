/* t_undo.c -- commits that a host may still lose (pager/undo.c), and prepared
** transactions that meet others at awkward moments (pager/twophase.c).
*/
#include "unit/lib_world.h"
#include "pager/fstore.h"

static const unsigned char host[16] = "host of t_undo!";

static int host_rc;                    /* what making the host durable gives */
static int n_host;                     /* how often it was asked */
static int host_sync(void *arg){
  VDB_UNUSED(arg);
  n_host++;
  return host_rc;
}

/* A connection of a host that cannot be made durable now. */
static struct pager *open_hosted(void){
  struct pager *p = open_db();
  host_rc = VECDB_BUSY;
  n_host = 0;
  vdb_pager_set_host(p, host_sync, NULL);
  return p;
}

static void commit_token(struct pager *p, page_no a, unsigned char fill,
                         uint64_t token, bool undoable){
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  set_page(p, a, fill);
  REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, token) );
  REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, token) );  /* once more */
  REQUIRE_RC( VECDB_OK, vdb_pager_decide(p, true, undoable) );
}

static bool is_undoable(struct pager *p, struct undo_tokens *t){
  bool yes = false;
  CHECK_RC( VECDB_OK, vdb_pager_undoable(p, &yes, t) );
  return yes;
}

/* Commits 1 (firm), 2, 3, 4 of page a, full of 1, 2, 3, 4. */
static struct pager *with_undoable(page_no *a){
  struct pager *p = open_hosted();
  *a = create_page(p, 0);
  commit_token(p, *a, 1, 1, false);
  for(unsigned i=2; i<=4; i++) commit_token(p, *a, (unsigned char)i, i, true);
  return p;
}

/* ---- firm or not --------------------------------------------------------- */

TEST(undo__what_a_host_may_lose_stays_in_the_log){
  struct undo_tokens tok;
  struct pager_stats st;
  page_no a;
  struct pager *p = with_undoable(&a);
  CHECK( is_undoable(p, &tok) );
  CHECK_U64( 4, tok.newest );
  CHECK_U64( 1, tok.firm );
  CHECK_MEM( host, tok.host, 16 );
  CHECK_RC( VECDB_BUSY_INDOUBT, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL,
                                                     NULL, NULL) );
  REQUIRE_RC( VECDB_OK, vdb_pager_stats(p, &st) );
  CHECK( st.ckpt_txid<st.txid );
  CHECK( is_undoable(p, &tok) );
  host_rc = VECDB_OK;                      /* the host is durable now */
  CHECK_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL, NULL,
                                           NULL) );
  CHECK( !is_undoable(p, &tok) );
  REQUIRE_RC( VECDB_OK, vdb_pager_stats(p, &st) );
  CHECK_U64( st.txid, st.ckpt_txid );
  CHECK_INT( 4, read_fill(p, a) );
  end_world();
}

TEST(undo__without_the_host_nothing_is_written_on_top){
  struct undo_tokens tok;
  page_no a;
  struct pager *p = with_undoable(&a), *q = open_db();
  CHECK_INT( 4, read_fill(q, a) );
  CHECK_RC( VECDB_BUSY_INDOUBT, vdb_pager_begin_write(q) );
  CHECK( strstr(err.msg, "may still lose them")!=NULL );
  CHECK_RC( VECDB_BUSY_INDOUBT, vdb_pager_checkpoint(q, VECDB_CHECKPOINT_FULL,
                                                     NULL, NULL) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  set_page(p, a, 9);                       /* one phase asks the host first */
  CHECK_RC( VECDB_BUSY_INDOUBT, vdb_pager_commit(p) );
  host_rc = VECDB_OK;
  CHECK_RC( VECDB_OK, vdb_pager_commit(p) );
  CHECK_RC( VECDB_OK, vdb_pager_begin_write(q) );
  REQUIRE_RC( VECDB_OK, vdb_pager_rollback(q) );
  CHECK( !is_undoable(q, &tok) );
  end_world();
}

/* A commit that was not prepared cannot be undone by a host. */
TEST(undo__one_phase_is_firm){
  struct undo_tokens tok;
  struct pager *p = open_hosted();
  page_no a = create_page(p, 0);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  set_page(p, a, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_decide(p, true, true) );
  CHECK( !is_undoable(p, &tok) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );     /* nor one of nothing */
  REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, 9) );
  set_page(p, a, 2);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );          /* not what was said */
  CHECK( !is_undoable(p, &tok) );
  CHECK_INT( 2, read_fill(p, a) );
  end_world();
}

/* ---- going back ---------------------------------------------------------- */

TEST(undo__rewind_goes_back_to_what_the_host_has){
  for(unsigned token=1; token<=5; token++){
    for(int home=0; home<2; home++){
      struct undo_tokens tok;
      page_no a;
      struct pager *p = with_undoable(&a);
      if( home ) (void)vdb_pager_checkpoint(p, 0, NULL, NULL);   /* state 1 */
      CHECK_RC( VECDB_OK, vdb_pager_rewind(p, token, 4) );
      CHECK_INT( (int)(token<4 ? token : 4), read_fill(p, a) );
      CHECK( !is_undoable(p, &tok) );
      commit_fill(p, a, 77);
      crash_keeping(0);
      p = open_db();
      CHECK_INT( 77, read_fill(p, a) );
      end_world();
    }
  }
}

TEST(undo__rewind_refuses_what_does_not_fit){
  struct pager_config cfg;
  page_no a;
  struct pager *p = with_undoable(&a), *q;
  CHECK_RC( VECDB_BUSY_SNAPSHOT, vdb_pager_rewind(p, 2, 5) );
  CHECK_RC( VECDB_BUSY_SNAPSHOT, vdb_pager_rewind(p, 0, 4) );
  CHECK( strstr(err.msg, "commits 1 to 4 that can be undone")!=NULL );
  q = open_db();
  CHECK_RC( VECDB_BUSY, vdb_pager_rewind(p, 2, 4) );
  CHECK( strstr(err.msg, "others have it open")!=NULL );
  REQUIRE_RC( VECDB_OK, close_db(q) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_rewind(p, 2, 4) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  cfg = config();
  cfg.open_flags = VECDB_OPEN_READONLY;
  q = open_with(&cfg);
  CHECK_RC( VECDB_READONLY, vdb_pager_rewind(q, 2, 4) );
  CHECK_RC( VECDB_READONLY, vdb_pager_decide(q, true, false) );
  REQUIRE_RC( VECDB_OK, close_db(q) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  set_page(p, a, 5);
  REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, 5) );
  crash_keeping(0);
  p = open_db();
  CHECK_RC( VECDB_BUSY_INDOUBT, vdb_pager_rewind(p, 2, 4) );
  REQUIRE_RC( VECDB_OK, vdb_pager_decide(p, false, false) );
  CHECK_RC( VECDB_OK, vdb_pager_rewind(p, 3, 4) );
  CHECK_INT( 3, read_fill(p, a) );
  CHECK_RC( VECDB_OK, vdb_pager_rewind(p, 1, 4) );      /* nothing is left */
  CHECK_INT( 3, read_fill(p, a) );
  end_world();
}

/* ---- words of shared memory that lie ------------------------------------- */

static void shm_put(size_t at, uint64_t v){
  struct vdb_file *f = NULL;
  REQUIRE_RC( VECDB_OK, world->open(world->env, "t.vdb-shm", 0, &f, NULL) );
  REQUIRE_RC( VECDB_OK, world->shm_map(f, SHM_SIZE, NULL) );
  world->shm_store(f, at, v);
  if( at>=SHM_HDRA && at<SHM_HDRB ){       /* the other copy, and hashes */
    for(int k=0; k<2; k++){
      size_t off = k ? SHM_HDRB : SHM_HDRA;
      uint64_t h = 0x76656364622d7368u;
      world->shm_store(f, off + at - SHM_HDRA, v);
      for(size_t i=0; i<SHMHDR_SIZE/8-1; i++){
        h = vdb_mix64(h ^ world->shm_load(f, off + 8*i)) + i;
      }
      world->shm_store(f, off + SHMHDR_CHECK, h);
    }
  }
  world->close(f);
}

TEST(undo__a_lie_about_what_is_firm_does_no_harm){
  struct undo_tokens tok;
  page_no a;
  struct pager *p = with_undoable(&a);
  shm_put(SHM_FIRM, 999);                  /* more than there is */
  CHECK( !is_undoable(p, &tok) );
  CHECK_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_TRUNCATE, NULL,
                                           NULL) );
  shm_put(SHM_FIRM, 0);
  shm_put(SHM_HDRA + SHMHDR_TXIDFIRM, 0);  /* less, of an empty log */
  CHECK( !is_undoable(p, &tok) );
  CHECK_INT( 4, read_fill(p, a) );
  end_world();
}

/* ---- states of tokens ---------------------------------------------------- */

TEST(twophase__a_token_that_is_gone_is_told){
  struct pager_config cfg = config();
  struct pager *p = open_db(), *r = open_db();
  unsigned char h[16];
  uint64_t token;
  bool yes = true;
  page_no a = create_page(p, 0);
  commit_token(p, a, 1, 1, false);
  commit_token(p, a, 2, 2, false);
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_TRUNCATE,
                                             NULL, NULL) );
  CHECK_RC( VECDB_BUSY_SNAPSHOT, vdb_pager_begin_read_at(r, 1) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read_at(r, 2) );
  CHECK_INT( 2, fill_of(r, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r) );
  end_world();
  cfg = config();
  p = open_db();
  a = create_page(p, 0);
  commit_token(p, a, 2, 2, false);
  REQUIRE_RC( VECDB_OK, close_db(p) );
  p = open_db();                           /* no log at all */
  CHECK_RC( VECDB_BUSY_SNAPSHOT, vdb_pager_begin_read_at(p, 1) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  cfg.open_flags = VECDB_OPEN_IMMUTABLE;   /* without shared memory */
  p = open_with(&cfg);
  CHECK_RC( VECDB_BUSY_SNAPSHOT, vdb_pager_begin_read_at(p, 1) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read_at(p, 2) );
  CHECK_INT( 2, fill_of(p, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  CHECK_RC( VECDB_OK, vdb_pager_in_doubt(p, &yes, h, &token) );
  CHECK( !yes );
  end_world();
}

/* What another connection does at a lock of a reader slot of ours. */
static struct pager *meanwhile;
static int meanwhile_commit;

static int decide_at_slot(struct lab_event *e){
  struct pager *q = meanwhile;
  if( e->call!=CALL_LOCK || q==NULL || !ends_with(e->path, "-shm")
      || e->off<LOCK_SLOT(0) ) return VECDB_OK;
  meanwhile = NULL;
  CHECK_RC( VECDB_OK, vdb_pager_decide(q, meanwhile_commit, false) );
  return VECDB_OK;
}

/* Decided just when it was to be read: then it is a commit, or gone. */
TEST(twophase__a_decision_may_come_while_a_reader_looks){
  for(meanwhile_commit=0; meanwhile_commit<2; meanwhile_commit++){
    struct pager *p = open_db(), *r = open_watched();
    page_no a = create_page(p, 1);
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    set_page(p, a, 2);
    REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, 5) );
    meanwhile = p;
    on_before = decide_at_slot;
    CHECK_RC( meanwhile_commit ? VECDB_OK : VECDB_BUSY_SNAPSHOT,
              vdb_pager_begin_read_at(r, 5) );
    on_before = NULL;
    CHECK( meanwhile==NULL );
    if( meanwhile_commit ){
      CHECK_INT( 2, fill_of(r, a) );
      CHECK( !vdb_pager_reads_undecided(r) );
    }
    end_world();
  }
}

/* ---- a process that forked ----------------------------------------------- */

static int64_t pid_now = 1;
static int64_t fake_pid(void *env){
  VDB_UNUSED(env);
  return pid_now;
}

TEST(pager__in_a_child_every_call_is_misuse){
  struct pager_config cfg = config();
  struct vecdb_file_ops ops = *world;
  struct undo_tokens tok;
  struct pager_stats st;
  struct pager *p = NULL;
  unsigned char h[16] = { 0 };
  uint64_t token;
  bool yes;
  ops.pid = fake_pid;
  cfg.file = &ops;
  REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, &err, &p) );
  pid_now = 2;
  CHECK_RC( VECDB_MISUSE, vdb_pager_begin_read(p) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_begin_read_at(p, 1) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_begin_write(p) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_commit(p) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_rollback(p) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_prepare(p, h, 1) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_decide(p, true, false) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_in_doubt(p, &yes, h, &token) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_undoable(p, &yes, &tok) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_rewind(p, 1, 1) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_stats(p, &st) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_set(p, "busy_ms", 1) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_backup(p, "b.vdb", NULL, NULL) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_checkpoint(p, 0, NULL, NULL) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_replace_file(p, "b.vdb") );
  CHECK( strstr(err.msg, "opened by the parent of this process")!=NULL );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
  CHECK( exists("t.vdb-shm") );            /* the parent's */
  pid_now = 1;
  end_world();
}
