/* t_fault_file.c -- what a .vdb file goes through, with each call failing once
** (lib_sweep.h): opening, transactions, savepoints, checkpoints, two-phase
** commit, commits that may be undone, copies.
*/
#include "vt.h"
#include "util/common.h"
#include "pager/extent.h"
#include "pager/pager_int.h"
#include "lab/lib_sweep.h"

static const unsigned char host[16] = "host of sweeps";

static struct pager *pager_of(struct toy *t){ return t->db; }

/* ---- steps --------------------------------------------------------------- */

static int txn(struct toy *t, uint64_t seed, unsigned n){
  int rc;
  TRY( toy_begin_write(t) );
  TRY( toy_change(t, seed, n) );
  TRY( toy_set_state(t, seed) );
  TRY( toy_commit(t) );
done:
  return rc;
}

static int load(struct toy *t, uint64_t seed, unsigned n){
  int rc;
  TRY( toy_begin_write(t) );
  TRY( toy_load(t, seed, n) );
  TRY( toy_set_state(t, seed) );
  TRY( toy_commit(t) );
done:
  return rc;
}

static int checkpoint(struct toy *t, int mode){
  return toy_checkpoint(t, mode, NULL, NULL);
}

static int read_all(struct toy *t){
  uint64_t state, digest;
  return toy_read(t, &state, &digest);
}

/* Transaction `token` is prepared. */
static int prepare(struct toy *t, uint64_t token, unsigned n){
  int rc;
  TRY( toy_begin_write(t) );
  TRY( toy_change(t, 100 + token, n) );
  TRY( toy_set_state(t, 100 + token) );
  TRY( toy_prepare(t, host, token) );
done:
  return rc;
}

static int commit_undoable(struct toy *t, uint64_t token){
  int rc;
  TRY( prepare(t, token, 1) );
  TRY( vdb_pager_decide(pager_of(t), true, true) );
done:
  return rc;
}

/* ---- files that runs begin with ------------------------------------------ */

static int make_little(struct toy *t){
  return txn(t, 1, 3);
}

/* Part of it home, part in the log. */
static int make_some(struct toy *t){
  int rc;
  TRY( load(t, 1, 2) );
  TRY( txn(t, 2, 6) );
  TRY( checkpoint(t, VECDB_CHECKPOINT_FULL) );
  TRY( txn(t, 3, 3) );
done:
  return rc;
}

/* A tail that is free and home. */
static int make_free_tail(struct toy *t){
  int rc;
  TRY( toy_begin_write(t) );
  TRY( toy_load(t, 1, 2) );
  TRY( toy_commit(t) );
  TRY( toy_begin_write(t) );
  TRY( toy_load(t, 2, 12) );
  TRY( toy_commit(t) );
  TRY( checkpoint(t, VECDB_CHECKPOINT_TRUNCATE) );
done:
  return rc;
}

static int make_prepared(struct toy *t){
  int rc;
  TRY( txn(t, 1, 3) );
  TRY( prepare(t, 7, 2) );
done:
  return rc;
}

/* A host that cannot make its commits durable now. */
static int host_refuses(void *arg){
  VDB_UNUSED(arg);
  return VECDB_BUSY;
}

static int make_undoable(struct toy *t){
  int rc;
  vdb_pager_set_host(pager_of(t), host_refuses, NULL);
  TRY( txn(t, 1, 3) );
  TRY( checkpoint(t, VECDB_CHECKPOINT_FULL) );
  TRY( commit_undoable(t, 5) );
  TRY( commit_undoable(t, 6) );
done:
  return rc;
}

/* ---- opening and closing ------------------------------------------------- */

static int act_open(struct toy *t){
  int rc;
  TRY( toy_open(t, sweep_config()) );
  TRY( read_all(t) );
done:
  return rc;
}

static int act_open_and_close(struct toy *t){
  int rc;
  TRY( toy_open(t, sweep_config()) );
  TRY( txn(t, 9, 1) );
  TRY( toy_close(t) );
done:
  return rc;
}

static int act_join(struct toy *t){
  int rc;
  TRY( sweep_open_other(0, false) );
  TRY( toy_open(t, sweep_config()) );
  TRY( read_all(t) );
  TRY( txn(sweep_other(0), 9, 1) );
  TRY( read_all(t) );
done:
  return rc;
}

TEST(fault__opening_a_new_file){
  struct sweep s = { .name="create", .act=act_open, .act_opens=true };
  sweep_run(&s);
  s.name = "create, large pages";
  s.sz_page = 8192;
  s.once = true;
  sweep_run(&s);
}

/* What a creation left that a power cut tore: zeros. */
static int act_create_again(struct toy *t){
  int rc;
  TRY( toy_open(t, sweep_config()) );
  TRY( txn(t, 9, 1) );
done:
  return rc;
}

TEST(fault__making_a_torn_file_again){
  struct sweep s = { .name="create again", .act=act_create_again,
                     .act_opens=true, .torn=true };
  sweep_run(&s);
}

TEST(fault__opening_a_file_with_a_log){
  struct sweep s = { .name="open", .make=make_some, .act=act_open,
                     .act_opens=true };
  sweep_run(&s);
  s.name = "open to read";
  s.flags = VECDB_OPEN_READONLY;
  sweep_run(&s);
  s.name = "open as immutable";
  s.make = make_free_tail;
  s.flags = VECDB_OPEN_IMMUTABLE;
  sweep_run(&s);
  s.name = "open with a prepared transaction";
  s.make = make_prepared;
  s.flags = 0;
  sweep_run(&s);
}

TEST(fault__joining_others){
  struct sweep s = { .name="join", .make=make_little, .act=act_join,
                     .act_opens=true };
  sweep_run(&s);
}

TEST(fault__closing){
  struct sweep s = { .name="close", .make=make_free_tail,
                     .act=act_open_and_close, .act_opens=true, .shm=true };
  sweep_run(&s);
}

/* ---- transactions -------------------------------------------------------- */

static int act_commits(struct toy *t){
  int rc;
  TRY( txn(t, 10, 2) );
done:
  return rc;
}

/* Space that was freed is used again; runs of it are merged first. */
static int make_holes(struct toy *t){
  int rc;
  TRY( load(t, 1, 8) );
  TRY( load(t, 2, 8) );
  TRY( txn(t, 3, 4) );
  TRY( checkpoint(t, VECDB_CHECKPOINT_FULL) );
done:
  return rc;
}
static int act_load(struct toy *t){
  return load(t, 11, 3);
}

static int act_large(struct toy *t){
  return txn(t, 12, 200);
}

static int act_large_rolled_back(struct toy *t){
  int rc;
  TRY( toy_begin_write(t) );
  TRY( toy_change(t, 12, 200) );
  TRY( toy_rollback(t) );
done:
  return rc;
}

static int act_savepoints(struct toy *t){
  unsigned a, b;
  int rc;
  TRY( toy_begin_write(t) );
  TRY( toy_change(t, 13, 2) );
  TRY( toy_savepoint(t, &a) );
  TRY( toy_change(t, 14, 2) );
  TRY( toy_savepoint(t, &b) );
  TRY( toy_change(t, 15, 2) );
  TRY( toy_rollback_to(t, b) );
  TRY( toy_change(t, 16, 1) );
  TRY( toy_release(t, b) );
  TRY( toy_rollback_to(t, a) );
  TRY( toy_set_state(t, 13) );
  TRY( toy_commit(t) );
done:
  return rc;
}

TEST(fault__a_commit){
  struct sweep s = { .name="commit", .make=make_some, .act=act_commits };
  sweep_run(&s);
  s.name = "commit, synced now and then";
  s.sync = VECDB_SYNC_NORMAL;
  sweep_run(&s);
  s.name = "commit with an automatic checkpoint";
  s.sync = VECDB_SYNC_FULL;
  s.sz_wal = 4096;
  sweep_run(&s);
}

TEST(fault__extents_in_recycled_space){
  struct sweep s = { .name="load", .make=make_holes, .act=act_load,
                     .once=true };
  sweep_run(&s);
  s.name = "load, without mapping";
  s.no_mmap = true;
  sweep_run(&s);
}

TEST(fault__transactions_larger_than_the_cache){
  struct sweep s = { .name="spill", .make=make_some, .act=act_large,
                     .sz_cache=1, .once=true };
  sweep_run(&s);
  s.name = "spill and roll back";
  s.act = act_large_rolled_back;
  sweep_run(&s);
}

enum { WORD_MANY = 6 };             /* the first page of make_many_free */

static bool is_kept(page_no i){ return i<800 && i%3!=0; }

static int many_digest(struct toy *t, uint64_t *digest){
  VDB_UNUSED(t); VDB_UNUSED(digest);
  return VECDB_OK;
}
static int many_census(struct toy *t, struct census *c){
  uint64_t first = 0;
  int rc;
  TRY( vdb_root_get(pager_of(t), (enum root_word)WORD_MANY, &first) );
  for(page_no i=0; first && i<800; i++){
    if( is_kept(i) ) vdb_census_page(c, (page_no)first+i, "kept");
  }
done:
  return rc;
}
static const struct toy_extra extra_many = { many_digest, many_census };

/* More free runs than a trunk has room for: single pages, and at the end some
** neighbours, freed apart. */
static int make_many_free(struct toy *t){
  struct page *pg = NULL;
  page_no first = 0;
  int rc;
  TRY( toy_begin_write(t) );
  for(int i=0; i<840; i++){
    TRY( vdb_page_new(pager_of(t), PAGE_OVERFLOW, &pg) );
    if( i==0 ) first = pg->pgno;
    vdb_page_unpin(pager_of(t), pg);
  }
  TRY( vdb_root_set(pager_of(t), (enum root_word)WORD_MANY, first) );
  TRY( toy_set_state(t, 1) );
  TRY( toy_commit(t) );
  for(page_no odd=0; odd<2; odd++){
    TRY( toy_begin_write(t) );
    for(page_no i=0; i<840; i++){
      if( i<800 ? is_kept(i) || odd : i%2!=odd ) continue;
      TRY( vdb_page_get(pager_of(t), first+i, PAGE_OVERFLOW, &pg) );
      TRY( vdb_page_free(pager_of(t), pg) );
    }
    TRY( toy_commit(t) );
  }
  TRY( checkpoint(t, VECDB_CHECKPOINT_TRUNCATE) );
done:
  return rc;
}

/* A run longer than any entry: all entries are merged. Under a savepoint each
** trunk needs a before-image. */
static int act_defragment(struct toy *t){
  unsigned sp;
  int rc;
  TRY( toy_begin_write(t) );
  TRY( toy_savepoint(t, &sp) );
  TRY( toy_load(t, 21, 6) );
  TRY( toy_release(t, sp) );
  TRY( toy_set_state(t, 21) );
  TRY( toy_commit(t) );
done:
  return rc;
}

TEST(fault__merging_the_free_list){
  struct sweep s = { .name="defragment", .make=make_many_free,
                     .act=act_defragment, .once=true, .extra=&extra_many };
  sweep_run(&s);
  s.name = "trim";
  s.act = act_open_and_close;
  s.act_opens = true;
  sweep_run(&s);
}

/* Images of more pages than the cache holds go to a file, and come back. */
static int act_undo_file(struct toy *t){
  unsigned sp;
  int rc;
  TRY( toy_begin_write(t) );
  TRY( toy_savepoint(t, &sp) );
  TRY( toy_change(t, 31, 16) );
  TRY( toy_savepoint(t, &sp) );
  TRY( toy_change(t, 32, 12) );
  TRY( toy_rollback_to(t, 0) );
  TRY( toy_set_state(t, 31) );
  TRY( toy_commit(t) );
done:
  return rc;
}

static int make_large(struct toy *t){
  return txn(t, 12, 60);
}

/* A cache far smaller than can be asked for: a few pages, an image or two. */
static int ready_small(struct toy *t){
  pager_of(t)->cfg.sz_cache = 2*4096;
  pager_of(t)->cache.sz_max = 9*4300;
  return VECDB_OK;
}

/* What was prepared is changed, and the change taken back. */
static int act_change_prepared(struct toy *t){
  unsigned sp;
  int rc;
  TRY( prepare(t, 3, 2) );
  TRY( toy_savepoint(t, &sp) );
  TRY( toy_change(t, 41, 25) );
  TRY( toy_rollback_to(t, sp) );
  TRY( toy_load(t, 42, 2) );
  TRY( toy_prepare(t, host, 3) );
  TRY( toy_decide(t, true) );
done:
  return rc;
}

TEST(fault__images_beyond_the_cache){
  struct sweep s = { .name="undo file", .make=make_large, .ready=ready_small,
                     .act=act_undo_file, .once=true };
  sweep_run(&s);
  s.name = "undo of what was prepared";
  s.act = act_change_prepared;
  sweep_run(&s);
}

TEST(fault__savepoints){
  struct sweep s = { .name="savepoints", .make=make_some, .act=act_savepoints,
                     .once=true };
  sweep_run(&s);
}

/* ---- checkpoints --------------------------------------------------------- */

static int act_passive(struct toy *t){ return checkpoint(t, 0); }
static int act_truncate(struct toy *t){ return checkpoint(t, 3); }

static int act_upgrade(struct toy *t){
  int rc;
  TRY( toy_begin_read(t) );
  TRY( toy_begin_write(t) );
  TRY( toy_set_state(t, 77) );
  TRY( toy_commit(t) );
done:
  return rc;
}

/* The index of t is behind: another one has committed. */
static int ready_behind(struct toy *t){
  int rc;
  TRY( read_all(t) );
  TRY( sweep_open_other(0, false) );
  TRY( txn(sweep_other(0), 8, 2) );
done:
  return rc;
}

/* All is home, but a reader of the log is there: it cannot restart. */
static int ready_log_in_use(struct toy *t){
  int rc;
  TRY( sweep_open_other(0, false) );
  TRY( sweep_open_other(1, false) );
  TRY( toy_checkpoint(t, VECDB_CHECKPOINT_RESTART, NULL, NULL) );
  TRY( txn(sweep_other(0), 8, 2) );
  TRY( toy_begin_read(sweep_other(1)) );
  TRY( toy_checkpoint(sweep_other(0), VECDB_CHECKPOINT_FULL, NULL, NULL) );
done:
  return rc;
}

static int ready_reader(struct toy *t){
  int rc;
  TRY( sweep_open_other(0, false) );
  TRY( toy_begin_read(sweep_other(0)) );
  TRY( txn(t, 8, 1) );
done:
  return rc;
}

TEST(fault__checkpoints){
  struct sweep s = { .name="passive checkpoint", .make=make_some,
                     .act=act_passive };
  sweep_run(&s);
  s.name = "truncating checkpoint";
  s.act = act_truncate;
  sweep_run(&s);
  s.name = "checkpoint before a reader";
  s.act = act_passive;
  s.ready = ready_reader;
  sweep_run(&s);
}

TEST(fault__following_others){
  struct sweep s = { .name="checkpoint of others' commits", .make=make_little,
                     .ready=ready_behind, .act=act_passive };
  sweep_run(&s);
  s.name = "commit into a log in use";
  s.ready = ready_log_in_use;
  s.act = act_commits;
  sweep_run(&s);
}

/* The published state becomes unreadable at any moment, and the log that it
** would be made from again, too. */
TEST(fault__a_state_that_cannot_be_read){
  struct sweep s = { .name="commit", .make=make_some, .act=act_commits,
                     .once=true, .shm=true };
  sweep_run(&s);
  s.name = "checkpoint";
  s.act = act_truncate;
  sweep_run(&s);
  s.name = "checkpoint of others' commits";
  s.ready = ready_behind;
  s.act = act_passive;
  sweep_run(&s);
  s.name = "write after reading";
  s.ready = ready_behind;
  s.act = act_upgrade;
  sweep_run(&s);
}

/* ---- two-phase commit ---------------------------------------------------- */

static int act_two_phase(struct toy *t){
  int rc;
  TRY( prepare(t, 3, 1) );
  TRY( toy_decide(t, true) );
done:
  return rc;
}

static int act_two_phase_back(struct toy *t){
  int rc;
  TRY( prepare(t, 3, 1) );
  TRY( toy_decide(t, false) );
done:
  return rc;
}

static int act_decide_orphan(struct toy *t){
  bool in_doubt = false;
  int rc;
  TRY( toy_in_doubt(t, &in_doubt) );
  TRY( toy_decide(t, true) );
done:
  return rc;
}

static int read_at(struct toy *t, uint64_t token){
  uint64_t state, digest;
  int rc;
  TRY( vdb_pager_begin_read_at(pager_of(t), token) );
  rc = toy_digest(t, &state, &digest);
  toy_rollback(t);
done:
  return rc;
}

static int ready_tokens(struct toy *t){
  int rc;
  TRY( sweep_open_other(0, false) );
  for(uint64_t i=1; i<4; i++){
    TRY( prepare(sweep_other(0), i, 1) );
    TRY( toy_decide(sweep_other(0), true) );
  }
  TRY( prepare(sweep_other(0), 4, 1) );
  TRY( read_all(t) );
done:
  return rc;
}

static int act_read_at(struct toy *t){
  int rc;
  TRY( read_at(t, 4) );               /* undecided */
  TRY( read_at(t, 3) );               /* the newest */
  TRY( read_at(t, 2) );               /* older */
done:
  return rc;
}

TEST(fault__two_phase_commit){
  struct sweep s = { .name="prepare, commit", .make=make_little,
                     .act=act_two_phase, .shm=true };
  sweep_run(&s);
  s.name = "prepare, abort";
  s.act = act_two_phase_back;
  sweep_run(&s);
  s.name = "decide for the dead";
  s.make = make_prepared;
  s.act = act_decide_orphan;
  sweep_run(&s);
}

TEST(fault__reading_at_a_token){
  struct sweep s = { .name="read at tokens", .make=make_little,
                     .ready=ready_tokens, .act=act_read_at, .shm=true };
  sweep_run(&s);
}

/* ---- commits that may be undone ------------------------------------------ */

static int act_undoable(struct toy *t){
  struct undo_tokens tokens;
  bool undoable = false;
  int rc;
  TRY( commit_undoable(t, 8) );
  TRY( vdb_pager_undoable(pager_of(t), &undoable, &tokens) );
done:
  return rc;
}

static int act_rewind(struct toy *t){
  struct undo_tokens tokens;
  bool undoable = false;
  int rc;
  TRY( vdb_pager_undoable(pager_of(t), &undoable, &tokens) );
  TRY( undoable ? VECDB_OK : VECDB_INTERNAL );
  TRY( vdb_pager_rewind(pager_of(t), 4, tokens.newest) );
done:
  return rc;
}

TEST(fault__commits_that_may_be_undone){
  struct sweep s = { .name="undoable commit", .make=make_little,
                     .act=act_undoable, .shm=true };
  sweep_run(&s);
  s.name = "rewind";
  s.make = make_undoable;
  s.act = act_rewind;
  sweep_run(&s);
}

/* ---- copies -------------------------------------------------------------- */

static int act_backup(struct toy *t){
  return toy_backup(t, "copy.vdb");
}

static int ready_copy(struct toy *t){
  return toy_backup(t, "copy.vdb");
}

static int act_replace(struct toy *t){
  return vdb_pager_replace_file(pager_of(t), "copy.vdb");
}

TEST(fault__copies){
  struct sweep s = { .name="backup", .make=make_some, .act=act_backup,
                     .shm=true };
  sweep_run(&s);
  s.name = "replace";
  s.may_close = true;
  s.ready = ready_copy;
  s.act = act_replace;
  sweep_run(&s);
}

/* ---- checks and counts --------------------------------------------------- */

static int act_look(struct toy *t){
  struct pager_stats st;
  unsigned char h[16];
  uint64_t token;
  size_t n;
  int rc;
  TRY( toy_check(t, &n) );
  TRY( vdb_pager_stats(pager_of(t), &st) );
  TRY( vdb_pager_committed_token(pager_of(t), h, &token) );
done:
  return rc;
}

TEST(fault__looking){
  struct sweep s = { .name="look", .make=make_some, .act=act_look };
  sweep_run(&s);
  s.name = "look at a file, not a log";
  s.make = make_free_tail;
  sweep_run(&s);
}
