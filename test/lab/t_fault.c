/* t_fault.c -- every call of the file layer fails once and for ever, every
** allocation too, in the middle of scripted lives.
**
** A script of lib_script.c is run with the n-th call of a kind failing, for
** n = 1, 2, 3.. (a seeded sample of them at small scale). Then:
**
**   1  the code is one of the kind that was injected, never CORRUPT, INTERNAL
**      or MISUSE; or the script did not need what failed. A sync that fails
**      without a word was upkeep after the last commit, and is not repeated;
**   2  the handle still works once the fault is over, except after a failed
**      sync, or when a failed commit could not be taken back because every
**      call kept failing, or when a vacuum has replaced the file and could not
**      open the new one: then it says IOERR_SYNC until it is closed;
**   3  the database is in the state of the last commit that returned OK, or
**      in the one being committed; every byte of it, and sound;
**   4  it can be opened again and written;
**   5  not a byte of memory is left. */
#include <stdlib.h>

#include "vt.h"
#include "util/mem.h"
#include "util/rng.h"
#include "lab/lib_fault.h"
#include "lab/lib_script.h"

static const char db_path[] = "x.vdb";

enum { KIND_MEMORY = LAB_N_CALL };     /* beside enum lab_call */

struct injection {
  const struct script *script;
  uint64_t seed;                   /* of the script */
  int kind;                        /* enum lab_call, or KIND_MEMORY */
  enum fault_error error;
  uint64_t n;                      /* which call fails */
  bool for_ever;
  struct fault *fault;
  struct script_run run;
};

static const char *kind_name(int kind){
  return kind==KIND_MEMORY ? "malloc" : lab_call_name[kind];
}

static void injection_fail(struct injection *in, const char *what, int rc,
                           const struct toy *t){
  FAIL("script %s of seed %llu, %s %s number %llu%s: %s (%d, %s)",
       in->script->name, (unsigned long long)in->seed, kind_name(in->kind),
       in->kind==KIND_MEMORY ? "" : fault_error_name[in->error],
       (unsigned long long)in->n, in->for_ever ? " and later" : "", what, rc,
       t && t->err.msg[0] ? t->err.msg : "no message");
}

static void injection_arm(struct injection *in){
  if( in->kind==KIND_MEMORY ) vdb_mem_fail_at(in->n, in->for_ever);
  else fault_set(in->fault, (enum lab_call)in->kind, in->error, in->n,
                 in->for_ever);
}

/* How often it fired. */
static uint64_t injection_disarm(struct injection *in){
  uint64_t n;
  if( in->kind==KIND_MEMORY ) return vdb_mem_fail_at(0, false);
  n = fault_fired(in->fault);
  fault_set(in->fault, CALL_READ, FAULT_EIO, 0, false);
  return n;
}

/* 1 */
static bool code_is_expected(const struct injection *in, int rc){
  int primary = rc & 0xff;
  if( rc==VECDB_OK ) return true;
  /* A lock that cannot be asked for, here for want of memory, counts as held
  ** by somebody else. */
  if( in->kind==KIND_MEMORY ){
    return primary==VECDB_NOMEM || primary==VECDB_BUSY;
  }
  if( primary==VECDB_BUSY && in->kind!=CALL_WRITE ) return true;
  return primary==VECDB_IOERR || primary==VECDB_FULL
      || primary==VECDB_CANTOPEN;
}

/* 3: the toy holds a state that it may hold. */
static bool state_is_expected(struct injection *in, struct toy *t,
                              const char *when){
  const struct script_run *r = &in->run;
  uint64_t state = 0, digest = 0;
  size_t n = 0;
  int rc = toy_read(t, &state, &digest);
  if( rc==VECDB_OK ) rc = toy_check(t, &n);
  if( rc!=VECDB_OK || n>0 ){
    injection_fail(in, when, rc, t);
    return false;
  }
  if( state<(uint64_t)r->state || !script_knows(r, state, digest) ){
    injection_fail(in, "a state that should not be", (int)state, t);
    return false;
  }
  return true;
}

/* 2: the handle that failed, now that the fault is over. */
static void handle_check(struct injection *in, int rc_script){
  struct toy *t = &in->run.toy;
  int rc;

  if( !t->db ) return;
  toy_rollback(t);
  rc = toy_begin_write(t);
  if( rc==VECDB_OK ) rc = toy_rollback(t);
  if( rc==VECDB_IOERR_SYNC ){
    if( in->kind!=CALL_SYNC && in->kind!=CALL_SYNC_DIR && !in->for_ever
     && strcmp(in->script->name, "rows_vacuum")!=0 ){
      injection_fail(in, "is poisoned without a failed sync", rc_script, t);
    }
    return;
  }
  if( rc!=VECDB_OK && rc!=VECDB_BUSY_INDOUBT ){
    injection_fail(in, "the handle does not work afterwards", rc, t);
    return;
  }
  state_is_expected(in, t, "the handle cannot read afterwards");
}

/* 4: a new handle. */
static void reopen_check(struct injection *in,
                         const struct vecdb_file_ops *ops){
  struct toy_config cfg = in->run.cfg;
  bool in_doubt = false;
  struct toy t;
  int rc;

  cfg.ops = ops;
  TRY( toy_open(&t, &cfg) );
  if( !state_is_expected(in, &t, "cannot be read when opened again") ){
    goto done;
  }
  TRY( toy_in_doubt(&t, &in_doubt) );
  if( in_doubt ) TRY( toy_decide(&t, false) );
  TRY( toy_begin_write(&t) );
  TRY( toy_change(&t, 99, 4) );
  TRY( toy_commit(&t) );
  TRY( toy_close(&t) );
done:
  if( rc!=VECDB_OK ) injection_fail(in, "cannot be used again", rc, &t);
  toy_close(&t);
}

/* One run. False when nothing fired: n is beyond the last such call. */
static bool injection_run(struct injection *in, int *rc_script){
  struct vecdb_file_ops *mem = NULL;
  struct vdb_mem_stats st;
  uint64_t n_fired;
  int rc;

  REQUIRE_RC( VECDB_OK, vdb_file_mem_create(5, &mem) );
  in->fault = fault_create(mem);
  injection_arm(in);
  rc = script_run(in->script, fault_ops(in->fault), db_path, NULL, in->seed,
                  true, &in->run);
  n_fired = injection_disarm(in);
  *rc_script = rc;
  if( n_fired==0 && rc!=VECDB_OK ){
    injection_fail(in, "fails by itself", rc, &in->run.toy);
  }
  if( !code_is_expected(in, rc) ){
    injection_fail(in, "ends with a code that was not injected", rc,
                   &in->run.toy);
  }
  if( n_fired>0 && rc==VECDB_OK && in->kind==CALL_SYNC
   && fault_count(in->fault, CALL_SYNC)>in->n ){
    injection_fail(in, "was tried again", rc, NULL);
  }
  if( rc!=VECDB_OK ) handle_check(in, rc);
  toy_close(&in->run.toy);
  reopen_check(in, mem);
  fault_destroy(in->fault);
  vdb_file_mem_destroy(mem);
  vdb_mem_stats(&st);
  if( st.n_block ) injection_fail(in, "leaks blocks", (int)st.n_block, NULL);
  return n_fired>0;
}

/* All n for one kind of failure; every `stride`-th on average. */
static uint64_t injections(struct injection *in, uint32_t stride){
  struct vdb_rng r;
  uint64_t n_done = 0;
  int rc;
  vdb_rng_init(&r, vt_seed() + (uint64_t)in->kind*8 + in->error*2
                   + in->for_ever);
  in->n = 1 + vdb_rng_below(&r, stride);
  while( injection_run(in, &rc) ){
    n_done++;
    in->n += 1 + vdb_rng_below(&r, 2*stride - 1);
  }
  return n_done;
}

static bool is_full(void){ return vt_scale()>=100; }

/* Every kind of call and error, in one script. */
static uint64_t script_io_errors(const struct script *s, uint64_t seed,
                                 uint32_t stride){
  struct injection in;
  uint64_t n = 0;
  memset(&in, 0, sizeof(in));
  in.script = s;
  in.seed = seed;
  for(size_t k=0; k<fault_n_call; k++){
    in.kind = (int)fault_calls[k];
    for(int e=0; e<FAULT_N_ERROR; e++){
      in.error = (enum fault_error)e;
      for(int ever=0; ever<2; ever++){
        in.for_ever = ever!=0;
        n += injections(&in, stride);
      }
    }
  }
  return n;
}

TEST(fault__io_errors_leave_before_or_after){
  uint64_t n = 0;
  for(size_t s=0; s<n_script; s++){
    n += script_io_errors(&scripts[s], vt_seed(), is_full() ? 1 : 50);
    if( is_full() ) n += script_io_errors(&scripts[s], vt_seed() + 1, 1);
  }
  CHECK( n>=100 );
  vt_figure("io-errors", n, 20000);
}

TEST(fault__out_of_memory_leaves_before_or_after){
  uint64_t n = 0;
  for(size_t s=0; s<n_script; s++){
    struct injection in;
    memset(&in, 0, sizeof(in));
    in.script = &scripts[s];
    in.seed = vt_seed();
    in.kind = KIND_MEMORY;
    for(int ever=0; ever<2; ever++){
      in.for_ever = ever!=0;
      n += injections(&in, is_full() ? 1 : 250);
    }
  }
  CHECK( n>=50 );
  vt_figure("failed-allocations", n, 20000);
}
