/* lib_script.c -- scripted lives of a toy database. See lib_script.h. */
#include <stdio.h>

#include "util/common.h"
#include "util/rng.h"
#include "lab/lib_script.h"

static const unsigned char script_host[16] = "host of scripts";

/* ---- steps --------------------------------------------------------------- */

static void run_mark(struct script_run *r, int hi){
  if( r->log ) crash_mark(r->log, r->durable, hi, r->must_doubt);
}

/* Nothing before the present state can come back. */
static void run_durable(struct script_run *r){
  r->durable = r->state;
  r->must_doubt = false;
  run_mark(r, r->state);
}

static int run_open(struct script_run *r){
  uint64_t state = 0, digest = 0;
  int rc = toy_open(&r->toy, &r->cfg);
  if( rc!=VECDB_OK ) return rc;
  rc = toy_read(&r->toy, &state, &digest);
  if( rc==VECDB_OK && r->state==0 ) r->digests[0] = digest;
  return rc;
}

/* The last close writes everything home, which makes it durable. */
static int run_close(struct script_run *r){
  int rc = toy_close(&r->toy);
  if( rc!=VECDB_OK ) return rc;
  run_durable(r);
  return VECDB_OK;
}

/* Finish the open write transaction as a new state: number and digest. */
static int run_seal(struct script_run *r){
  uint64_t state;
  int rc = toy_set_state(&r->toy, (uint64_t)r->state + 1);
  if( rc!=VECDB_OK ) return rc;
  return toy_digest(&r->toy, &state, &r->digests[r->state + 1]);
}

static void run_committed(struct script_run *r, bool is_synced){
  r->state++;
  r->in_commit = false;
  if( is_synced ) run_durable(r);
  else run_mark(r, r->state);
}

static int run_commit(struct script_run *r){
  int rc = run_seal(r);
  if( rc!=VECDB_OK ) return rc;
  r->in_commit = true;
  run_mark(r, r->state + 1);
  rc = toy_commit(&r->toy);
  if( rc==VECDB_OK ) run_committed(r, r->cfg.sync==VECDB_SYNC_FULL);
  return rc;
}

/* A write transaction of about n changes. */
static int run_txn(struct script_run *r, unsigned n){
  int rc = toy_begin_write(&r->toy);
  if( rc!=VECDB_OK ) return rc;
  rc = toy_change(&r->toy, r->seed + (uint64_t)r->state, n);
  return rc==VECDB_OK ? run_commit(r) : rc;
}

static int run_txns(struct script_run *r, int n_txn, unsigned n){
  int rc = VECDB_OK;
  while( rc==VECDB_OK && n_txn-- >0 ) rc = run_txn(r, n);
  return rc;
}

static int run_checkpoint(struct script_run *r, int mode){
  uint64_t n_log = 0, n_done = 0;
  int rc = toy_checkpoint(&r->toy, mode, &n_log, &n_done);
  if( rc==VECDB_OK && n_log==n_done ) run_durable(r);
  return rc;
}

/* A transaction of n large things. */
static int run_load(struct script_run *r, unsigned n){
  int rc = toy_begin_write(&r->toy);
  if( rc==VECDB_OK ) rc = toy_load(&r->toy, r->seed + (uint64_t)r->state, n);
  return rc==VECDB_OK ? run_commit(r) : rc;
}

/* What is prepared is durable; the decision is not, for the host knows it. */
static int run_prepared(struct script_run *r, unsigned n, bool commit){
  int rc = toy_begin_write(&r->toy);
  if( rc!=VECDB_OK ) return rc;
  TRY( toy_change(&r->toy, r->seed + 5000 + (uint64_t)r->state, n) );
  TRY( run_seal(r) );
  r->in_doubt = true;
  r->doubt[r->n_doubt].state = (uint64_t)r->state + 1;
  r->doubt[r->n_doubt++].digest = r->digests[r->state + 1];
  TRY( toy_prepare(&r->toy, script_host, ++r->host_token) );
  r->in_commit = commit;
  r->durable = r->state;
  r->must_doubt = true;
  run_mark(r, r->state + (commit ? 1 : 0));
  r->must_doubt = commit;
  run_mark(r, r->state + (commit ? 1 : 0));
  TRY( toy_decide(&r->toy, commit) );
  r->in_doubt = false;
  if( commit ) run_committed(r, false);
  else run_mark(r, r->state);
done:
  return rc;
}

/* ---- scripts ------------------------------------------------------------- */

static int script_commits(struct script_run *r){
  int rc;
  TRY( run_open(r) );
  TRY( run_txns(r, 3, 2) );
  TRY( run_txns(r, 3, 6) );
  TRY( run_txns(r, 2, 1) );
  TRY( run_close(r) );
done:
  return rc;
}

static int script_checkpoints(struct script_run *r){
  int rc;
  TRY( run_open(r) );
  TRY( run_txns(r, 2, 5) );
  TRY( run_checkpoint(r, VECDB_CHECKPOINT_PASSIVE) );
  TRY( run_txns(r, 2, 5) );
  TRY( run_checkpoint(r, VECDB_CHECKPOINT_FULL) );
  TRY( run_txns(r, 1, 3) );
  TRY( run_checkpoint(r, VECDB_CHECKPOINT_RESTART) );
  TRY( run_txns(r, 2, 4) );
  TRY( run_checkpoint(r, VECDB_CHECKPOINT_TRUNCATE) );
  TRY( run_txns(r, 2, 3) );
  TRY( run_close(r) );
done:
  return rc;
}

static int script_savepoints(struct script_run *r){
  unsigned a = 0, b = 0;
  int rc;
  TRY( run_open(r) );
  TRY( run_txn(r, 6) );
  TRY( toy_begin_write(&r->toy) );
  TRY( toy_change(&r->toy, r->seed + 901, 4) );
  TRY( toy_savepoint(&r->toy, &a) );
  TRY( toy_change(&r->toy, r->seed + 902, 4) );
  TRY( toy_savepoint(&r->toy, &b) );
  TRY( toy_change(&r->toy, r->seed + 903, 4) );
  TRY( toy_rollback_to(&r->toy, b) );
  TRY( toy_change(&r->toy, r->seed + 904, 2) );
  TRY( toy_release(&r->toy, b) );
  TRY( toy_rollback_to(&r->toy, a) );
  TRY( toy_change(&r->toy, r->seed + 905, 3) );
  TRY( run_commit(r) );
  TRY( toy_begin_write(&r->toy) );
  TRY( toy_change(&r->toy, r->seed + 906, 9) );
  TRY( toy_rollback(&r->toy) );
  TRY( run_txns(r, 2, 3) );
  TRY( run_close(r) );
done:
  return rc;
}

/* Space is freed, checkpointed, and used again. */
static int script_recycling(struct script_run *r){
  int rc;
  TRY( run_open(r) );
  for(int i=0; i<4; i++){
    TRY( run_load(r, 5) );
    TRY( run_txn(r, 3) );
    if( i%2==0 ) TRY( run_checkpoint(r, VECDB_CHECKPOINT_FULL) );
    TRY( run_load(r, 4) );
  }
  TRY( run_checkpoint(r, VECDB_CHECKPOINT_TRUNCATE) );
  TRY( run_load(r, 4) );
  TRY( run_close(r) );
done:
  return rc;
}

/* The log is restarted again and again by commits themselves. */
static int script_auto_checkpoint(struct script_run *r){
  int rc;
  TRY( run_open(r) );
  TRY( run_txns(r, 14, 4) );
  TRY( run_close(r) );
done:
  return rc;
}

/* More dirty pages than the cache holds, committed and rolled back. */
static int script_spill(struct script_run *r){
  int rc;
  TRY( run_open(r) );
  for(int i=0; i<2; i++){
    TRY( toy_begin_write(&r->toy) );
    TRY( toy_change(&r->toy, r->seed + 700 + (unsigned)i, 250) );
    if( i==0 ) TRY( run_commit(r) );
    else TRY( toy_rollback(&r->toy) );
  }
  TRY( run_txns(r, 2, 3) );
  TRY( run_close(r) );
done:
  return rc;
}

static int script_two_phase(struct script_run *r){
  int rc;
  TRY( run_open(r) );
  TRY( run_txn(r, 4) );
  TRY( run_prepared(r, 4, true) );
  TRY( run_prepared(r, 3, false) );
  TRY( run_txn(r, 2) );
  TRY( run_prepared(r, 5, true) );
  TRY( run_checkpoint(r, VECDB_CHECKPOINT_FULL) );
  TRY( run_prepared(r, 2, true) );
  TRY( run_close(r) );
done:
  return rc;
}

static int script_reopening(struct script_run *r){
  int rc;
  for(int i=0; i<3; i++){
    TRY( run_open(r) );
    TRY( run_txns(r, 2, 4) );
    TRY( run_close(r) );
  }
done:
  return rc;
}

static int script_backup(struct script_run *r){
  int rc;
  TRY( run_open(r) );
  TRY( run_txns(r, 2, 6) );
  TRY( toy_backup(&r->toy, "backup.vdb") );
  r->state_backup = r->state;
  if( r->log ) r->i_backup = crash_log_size(r->log);
  TRY( run_txns(r, 2, 3) );
  TRY( run_close(r) );
done:
  return rc;
}

/* A reader keeps a snapshot while others commit and checkpoint. */
static int script_reader(struct script_run *r){
  struct toy reader;
  uint64_t state, digest, again;
  int rc;

  memset(&reader, 0, sizeof(reader));
  TRY( run_open(r) );
  TRY( run_txns(r, 2, 4) );
  TRY( toy_open(&reader, &r->cfg) );
  TRY( toy_begin_read(&reader) );
  TRY( toy_digest(&reader, &state, &digest) );
  TRY( run_txns(r, 2, 4) );
  rc = run_checkpoint(r, VECDB_CHECKPOINT_PASSIVE);
  if( rc!=VECDB_OK && (rc & 0xff)!=VECDB_BUSY ) goto done;
  TRY( run_load(r, 4) );
  TRY( toy_digest(&reader, &state, &again) );
  if( again!=digest ) TRY( VECDB_INTERNAL );
  TRY( toy_rollback(&reader) );
  TRY( run_checkpoint(r, VECDB_CHECKPOINT_RESTART) );
  TRY( run_txns(r, 2, 2) );
  TRY( toy_close(&reader) );
  TRY( run_close(r) );
done:
  toy_close(&reader);
  return rc;
}

/* Merging and rebuilding change nothing that a reader sees. */
static int script_merging(struct script_run *r){
  int rc;
  TRY( run_open(r) );
  TRY( run_txns(r, 2, 6) );
  TRY( run_load(r, 1) );
  TRY( toy_tidy(&r->toy, false) );
  TRY( run_txns(r, 2, 6) );
  TRY( run_checkpoint(r, VECDB_CHECKPOINT_FULL) );
  TRY( run_load(r, 2) );
  TRY( toy_tidy(&r->toy, false) );
  TRY( run_txn(r, 3) );
  TRY( run_close(r) );
done:
  return rc;
}

static int script_rebuilding(struct script_run *r){
  int rc;
  TRY( run_open(r) );
  TRY( run_load(r, 1) );
  TRY( run_txns(r, 3, 12) );
  TRY( toy_tidy(&r->toy, false) );
  TRY( toy_tidy(&r->toy, true) );
  TRY( run_txns(r, 2, 6) );
  TRY( toy_tidy(&r->toy, true) );
  TRY( run_txn(r, 2) );
  TRY( run_close(r) );
done:
  return rc;
}

#define FULL   VECDB_SYNC_FULL
#define NORMAL VECDB_SYNC_NORMAL
const struct script scripts[] = {
  { "commits",     TOY_PAGER, script_commits,         FULL, 0, 0, false },
  { "checkpoints", TOY_PAGER, script_checkpoints,     FULL, 0, 0, false },
  { "savepoints",  TOY_PAGER, script_savepoints,      FULL, 0, 0, false },
  { "recycling",   TOY_PAGER, script_recycling,       FULL, 0, 0, false },
  { "automatic",   TOY_PAGER, script_auto_checkpoint, FULL, 0, 64<<10, false },
  { "spill",       TOY_PAGER, script_spill,           FULL, 1, 0, false },
  { "two_phase",   TOY_PAGER, script_two_phase,       FULL, 0, 0, false },
  { "reopening",   TOY_PAGER, script_reopening,       FULL, 0, 0, false },
  { "backup",      TOY_PAGER, script_backup,          FULL, 0, 0, false },
  { "reader",      TOY_PAGER, script_reader,          FULL, 0, 0, false },
  { "unmapped",    TOY_PAGER, script_recycling,       FULL, 0, 0, true },
  { "normal",      TOY_PAGER, script_checkpoints,     NORMAL, 0, 0, false },
  { "normal_auto", TOY_PAGER, script_auto_checkpoint, NORMAL, 0, 64<<10,
    false },
  { "rows",        TOY_ROWS,  script_checkpoints,     FULL, 0, 0, false },
  { "rows_save",   TOY_ROWS,  script_savepoints,      FULL, 0, 0, false },
  { "rows_merge",  TOY_ROWS,  script_merging,         FULL, 0, 0, false },
  { "rows_vacuum", TOY_ROWS,  script_rebuilding,      FULL, 0, 0, false },
  { "rows_2phase", TOY_ROWS,  script_two_phase,       FULL, 0, 0, false },
  { "rows_backup", TOY_ROWS,  script_backup,          FULL, 0, 0, true },
  { "rows_auto",   TOY_ROWS,  script_auto_checkpoint, NORMAL, 0, 64<<10,
    false }
};
#undef FULL
#undef NORMAL
const size_t n_script = sizeof(scripts)/sizeof(scripts[0]);

int script_run(const struct script *s, const struct vecdb_file_ops *ops,
               const char *path, struct crash_log *log, uint64_t seed,
               bool keep_open, struct script_run *r){
  int rc;
  memset(r, 0, sizeof(*r));
  r->cfg.kind = s->kind;
  r->cfg.ops = ops;
  r->cfg.path = path;
  r->cfg.sync = s->sync;
  r->cfg.sz_cache = s->sz_cache;
  r->cfg.sz_wal = s->sz_wal;
  r->cfg.no_mmap = s->no_mmap;
  r->seed = vdb_mix64(seed)>>8;
  r->log = log;
  rc = s->fn(r);
  if( rc==VECDB_OK || !keep_open ) toy_close(&r->toy);
  return rc;
}

bool script_knows(const struct script_run *r, uint64_t state,
                  uint64_t digest){
  uint64_t n = (uint64_t)r->state + (r->in_commit || r->in_doubt);
  if( state==0 && r->digests[0]==0 ) return true;    /* never got that far */
  for(int i=0; i<r->n_doubt; i++){
    if( r->doubt[i].state==state && r->doubt[i].digest==digest ) return true;
  }
  return state<=n && r->digests[state]==digest;
}
