/* lib_sweep.c -- one action under every failure. See lib_sweep.h. */
#define VT_NO_MAIN
#include "vt.h"
#include "util/common.h"
#include "util/mem.h"
#include "lab/lib_fault.h"
#include "lab/lib_sweep.h"

static const char path_main[] = "x.vdb", path_wal[] = "x.vdb-wal";

struct bytes { unsigned char *p; size_t n; bool exists; };

enum failure { FAIL_MEMORY, FAIL_CALL, FAIL_CALLS_FOR_EVER, FAIL_SHM,
               N_FAILURE };

struct sweep_state {
  const struct sweep *s;
  struct bytes main, wal;             /* the files that a run finds */
  uint64_t before, after;             /* digests */
  struct vecdb_file_ops *mem;         /* of the run */
  struct fault *fault;
  struct toy_config cfg;
  struct toy toy, other[4];
  enum failure failure;
  uint64_t n;                         /* which call fails */
};
static struct sweep_state now;

const struct toy_config *sweep_config(void){ return &now.cfg; }
struct toy *sweep_other(unsigned i){ return &now.other[i]; }

int sweep_open_other(unsigned i, bool with_failures){
  struct toy_config cfg = now.cfg;
  if( !with_failures ) cfg.ops = now.mem;
  return toy_open(&now.other[i], &cfg);
}

static void sweep_complain(const char *what, int rc, const struct toy *t){
  static const char *const name[N_FAILURE] = {
    "allocation", "call", "call and later ones", "unreadable state from call"
  };
  FAIL("%s, %s %llu (%s): %s (%d/%d, %s)", now.s->name, name[now.failure],
       (unsigned long long)now.n,
       now.failure!=FAIL_MEMORY && now.fault && fault_fired(now.fault)
         ? lab_call_name[fault_first(now.fault)] : "",
       what, rc & 0xff, rc>>8, t && t->err.msg[0] ? t->err.msg : "no message");
}

/* ---- the files ----------------------------------------------------------- */

static struct bytes bytes_take(const char *path){
  struct bytes b = { NULL, 0, false };
  const unsigned char *p;
  if( vdb_file_mem_peek(now.mem, path, &p, &b.n)!=VECDB_OK ) return b;
  b.p = lab_alloc(b.n + 1);
  memcpy(b.p, p, b.n);
  b.exists = true;
  return b;
}

static void bytes_put(const char *path, const struct bytes *b){
  if( !b->exists ) return;
  REQUIRE_RC( VECDB_OK, vdb_file_mem_poke(now.mem, path, b->p, b->n) );
}

static void world_begin(void){
  REQUIRE_RC( VECDB_OK, vdb_file_mem_create(5, &now.mem) );
  now.fault = fault_create(now.mem);
  fault_set(now.fault, CALL_ANY, FAULT_EIO, 0, false);
  bytes_put(path_main, &now.main);
  bytes_put(path_wal, &now.wal);
  memset(&now.cfg, 0, sizeof(now.cfg));
  now.cfg.ops = fault_ops(now.fault);
  now.cfg.path = path_main;
  now.cfg.flags = now.s->flags;
  now.cfg.sync = now.s->sync;
  now.cfg.sz_page = now.s->sz_page;
  now.cfg.sz_cache = now.s->sz_cache;
  now.cfg.sz_wal = now.s->sz_wal;
  now.cfg.no_mmap = now.s->no_mmap;
  now.cfg.extra = now.s->extra;
}

static void world_end(void){
  toy_close(&now.toy);
  for(int i=0; i<4; i++) toy_close(&now.other[i]);
  fault_destroy(now.fault);
  now.fault = NULL;
  vdb_file_mem_destroy(now.mem);
}

static void files_make(void){
  struct toy_config cfg;
  struct toy t;
  int rc;
  if( now.s->torn ){
    now.main.p = lab_alloc(now.main.n = 8192);
    now.main.exists = true;
  }
  if( now.s->make==NULL ) return;
  world_begin();
  cfg = now.cfg;
  cfg.flags = 0;
  rc = toy_open(&t, &cfg);
  if( rc==VECDB_OK ) rc = now.s->make(&t);
  if( rc!=VECDB_OK ) sweep_complain("the files cannot be made", rc, &t);
  now.main = bytes_take(path_main);
  now.wal = bytes_take(path_wal);
  toy_close(&t);
  world_end();
}

/* ---- one run ------------------------------------------------------------- */

static void failure_arm(void){
  if( now.failure==FAIL_MEMORY ) vdb_mem_fail_at(now.n, false);
  else if( now.failure==FAIL_SHM ) fault_set_shm(now.fault, now.n);
  else fault_set(now.fault, CALL_ANY, FAULT_EIO, now.n,
                 now.failure==FAIL_CALLS_FOR_EVER);
}

static uint64_t failure_disarm(void){
  uint64_t n;
  if( now.failure==FAIL_MEMORY ) return vdb_mem_fail_at(0, false);
  n = fault_fired(now.fault);
  fault_set(now.fault, CALL_ANY, FAULT_EIO, 0, false);
  fault_set_shm(now.fault, 0);
  return n;
}

/* 1. A file whose identity cannot be told counts as moved away; a lock that
** cannot be asked for as held. */
static bool code_is_expected(int rc){
  int primary = rc & 0xff;
  if( rc==VECDB_OK || primary==VECDB_BUSY ) return true;
  if( now.failure==FAIL_MEMORY ) return primary==VECDB_NOMEM;
  return primary==VECDB_IOERR || primary==VECDB_CANTOPEN
      || primary==VECDB_READONLY;
}

/* 3, through an open toy. */
static bool digest_of(struct toy *t, const char *when, uint64_t *digest){
  uint64_t state = 0;
  size_t n = 0;
  int rc = toy_read(t, &state, digest);
  if( rc==VECDB_OK ) rc = toy_check(t, &n);
  if( rc!=VECDB_OK || n>0 ) sweep_complain(when, rc, t);
  return rc==VECDB_OK && n==0;
}

static void digest_check(struct toy *t, const char *when){
  uint64_t digest = 0;
  if( !digest_of(t, when, &digest) ) return;
  if( digest!=now.before && digest!=now.after ){
    sweep_complain("a state that should not be", 0, t);
  }
}

/* 2 */
static void handle_check(void){
  uint64_t state, digest;
  int rc;
  if( now.toy.db==NULL ) return;
  toy_rollback(&now.toy);
  rc = toy_read(&now.toy, &state, &digest);
  if( rc==VECDB_IOERR_SYNC
   && (now.failure!=FAIL_MEMORY || now.s->may_close) ) return;
  if( now.failure==FAIL_SHM && (rc & 0xff)==VECDB_BUSY ) return;
  if( rc!=VECDB_OK ) sweep_complain("the handle cannot read", rc, &now.toy);
  else if( digest!=now.before && digest!=now.after ){
    sweep_complain("the handle reads what should not be", 0, &now.toy);
  }
}

/* Open the files without failures; what is in doubt is taken back. */
static int reopen(struct toy *t){
  struct toy_config cfg = now.cfg;
  bool in_doubt = false;
  int rc;
  cfg.ops = now.mem;
  cfg.flags = 0;
  TRY( toy_open(t, &cfg) );
  TRY( toy_in_doubt(t, &in_doubt) );
  if( in_doubt ) TRY( toy_decide(t, false) );
done:
  return rc;
}

/* Everything before the failure. */
static void run_prepare(void){
  int rc = VECDB_OK;
  memset(&now.toy, 0, sizeof(now.toy));
  memset(now.other, 0, sizeof(now.other));
  world_begin();
  if( !now.s->act_opens ) rc = toy_open(&now.toy, &now.cfg);
  if( rc==VECDB_OK && now.s->ready ) rc = now.s->ready(&now.toy);
  if( rc!=VECDB_OK ) sweep_complain("cannot begin", rc, &now.toy);
}

/* The run up to its end. n 0: no failure. Returns the code of act. */
static int run_begin(uint64_t n, uint64_t *n_fired){
  int rc;
  now.n = n;
  run_prepare();
  failure_arm();
  rc = now.s->act(&now.toy);
  *n_fired = failure_disarm();
  return rc;
}

static bool run_once(uint64_t n){
  struct vdb_mem_stats st;
  struct toy again;
  uint64_t n_fired, n_block;
  int rc;

  memset(&again, 0, sizeof(again));
  vdb_mem_stats(&st);
  n_block = st.n_block;
  rc = run_begin(n, &n_fired);
  if( n_fired==0 && rc!=VECDB_OK ){
    sweep_complain("fails by itself", rc, &now.toy);
  }
  if( !code_is_expected(rc) ){
    sweep_complain("ends with a code that was not injected", rc, &now.toy);
  }
  handle_check();
  toy_close(&now.toy);
  for(int i=0; i<4; i++) toy_close(&now.other[i]);
  rc = reopen(&again);
  if( rc!=VECDB_OK ) sweep_complain("cannot be opened again", rc, &again);
  else digest_check(&again, "is not sound");
  toy_close(&again);
  world_end();
  vdb_mem_stats(&st);
  if( st.n_block!=n_block ) sweep_complain("leaks", (int)st.n_block, NULL);
  return n_fired>0;
}

/* The states before and after, from runs without a failure. */
static uint64_t digest_learn(bool with_act){
  struct toy again;
  uint64_t digest = 0, n_fired;
  int rc = VECDB_OK;

  memset(&again, 0, sizeof(again));
  if( with_act ) rc = run_begin(0, &n_fired);
  else run_prepare();
  if( rc!=VECDB_OK ) sweep_complain("does not work at all", rc, &now.toy);
  toy_close(&now.toy);
  for(int i=0; i<4; i++) toy_close(&now.other[i]);
  rc = reopen(&again);
  if( rc!=VECDB_OK ) sweep_complain("cannot be opened", rc, &again);
  else digest_of(&again, "is not sound without a failure", &digest);
  toy_close(&again);
  world_end();
  return digest;
}

void sweep_run(const struct sweep *s){
  memset(&now, 0, sizeof(now));
  now.s = s;
  files_make();
  now.before = digest_learn(false);
  now.after = digest_learn(true);
  for(int f=0; f<N_FAILURE && !vt_has_failed(); f++){
    uint64_t n = 1;
    if( f==FAIL_CALLS_FOR_EVER && s->once ) continue;
    if( f==FAIL_SHM && !s->shm ) continue;
    now.failure = (enum failure)f;
    while( run_once(n) && !vt_has_failed() ) n++;
  }
  free(now.main.p);
  free(now.wal.p);
}
