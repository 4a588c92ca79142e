/* lib_rowsweep.c -- one action on rows under every failure. See
** lib_rowsweep.h. */
#define VT_NO_MAIN
#include "vt.h"
#include "util/mem.h"
#include "lab/lib_fault.h"
#include "lab/lib_rowsweep.h"

static const char path_main[] = "x.vdb";

enum failure { FAIL_MEMORY, FAIL_MEMORY_FOR_EVER, FAIL_CALL, N_FAILURE };

struct image { unsigned char *p; size_t n; };

struct rowsweep_state {
  const struct rowsweep *s;
  struct image main;               /* the file that a run finds */
  uint64_t before, after;          /* digests */
  uint64_t answer;                 /* of act without a failure */
  uint64_t n_memory, n_call;       /* allocations and calls in it */
  struct vecdb_file_ops *mem;      /* of the run */
  struct fault *fault;
  vecdb *db;
  enum failure failure;
  uint64_t n;                      /* which one fails */
};
static struct rowsweep_state now;

static void run_complain(const char *what, int rc){
  static const char *const name[N_FAILURE] = {
    "allocation", "allocation and later ones", "call"
  };
  bool is_call = now.failure==FAIL_CALL && now.fault
              && fault_fired(now.fault)>0;
  FAIL("%s, %s %llu%s%s: %s (%s, %s)", now.s->name, name[now.failure],
       (unsigned long long)now.n, is_call ? " " : "",
       is_call ? lab_call_name[fault_first(now.fault)] : "", what,
       vecdb_errname(rc), now.db ? vecdb_errmsg(now.db) : "not open");
}

/* ---- Opening and closing ------------------------------------------------- */

static int db_open(const struct vecdb_file_ops *ops, vecdb **out){
  vecdb_options o = VECDB_OPTIONS_INIT;
  o.file = ops;
  o.fixed_seed = 77;
  o.threads = now.s->n_thread ? now.s->n_thread : 1;
  o.no_mmap = !now.s->is_mapped;
  o.cache_bytes = now.s->sz_cache;
  if( now.s->in_memory ) return vecdb_open("", VECDB_OPEN_MEMORY, &o, out);
  return vecdb_open(path_main, VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE, &o,
                    out);
}

static void image_put(const char *path, const struct image *b){
  if( b->p==NULL ) return;
  REQUIRE_RC( VECDB_OK, vdb_file_mem_poke(now.mem, path, b->p, b->n) );
}

static void image_take(const char *path, struct image *b){
  const unsigned char *p;
  if( vdb_file_mem_peek(now.mem, path, &p, &b->n)!=VECDB_OK ) return;
  b->p = lab_alloc(b->n+1);
  memcpy(b->p, p, b->n);
}

static void files_begin(void){
  REQUIRE_RC( VECDB_OK, vdb_file_mem_create(5, &now.mem) );
  now.fault = fault_create(now.mem);
  fault_set(now.fault, CALL_ANY, FAULT_EIO, 0, false);
  image_put(path_main, &now.main);
}

static void files_end(void){
  fault_destroy(now.fault);
  now.fault = NULL;
  vdb_file_mem_destroy(now.mem);
}

/* The file, once. All of it is home, so that every page is read from it. */
static void file_make(void){
  int rc;
  if( now.s->make==NULL || now.s->in_memory ) return;
  files_begin();
  rc = db_open(now.mem, &now.db);
  if( rc==VECDB_OK ) rc = now.s->make(now.db);
  if( rc==VECDB_OK ){
    rc = vecdb_checkpoint(now.db, VECDB_CHECKPOINT_TRUNCATE, NULL, NULL);
  }
  if( rc!=VECDB_OK ) run_complain("the file cannot be made", rc);
  image_take(path_main, &now.main);
  vecdb_close(now.db);
  now.db = NULL;
  files_end();
}

/* ---- What a database holds ------------------------------------------------ */

struct names { char *name[16]; size_t n; uint64_t hash; };

static int name_note(void *arg, const char *name, const char *schema){
  struct names *l = arg;
  if( l->n==16 ) return 1;
  l->name[l->n++] = lab_strdup(name);
  l->hash = lab_hash(l->hash, name, strlen(name)+1);
  l->hash = lab_hash(l->hash, schema, strlen(schema)+1);
  return 0;
}

static int db_digest(vecdb *db, uint64_t *digest){
  struct names l = { { NULL }, 0, 0 };
  int rc = vecdb_list_collections(db, name_note, &l);
  for(size_t i=0; i<l.n; i++){
    if( rc==VECDB_OK ) rc = rows_scan(db, l.name[i], NULL, &l.hash);
    free(l.name[i]);
  }
  *digest = l.hash;
  return rc;
}

static void finding_show(void *arg, int severity, const char *object,
                         const char *message){
  VDB_UNUSED(arg);
  if( severity<1 ) return;
  FAIL("%s: check says: %s: %s", now.s->name, object, message);
}

static void state_check(vecdb *db, const char *when, const char *what){
  uint64_t digest = 0;
  int rc = db_digest(db, &digest);
  if( rc!=VECDB_OK ) run_complain(when, rc);
  else if( digest!=now.before && digest!=now.after ) run_complain(what, rc);
}

/* ---- One run ------------------------------------------------------------- */

static void failure_arm(void){
  if( now.failure==FAIL_CALL ){
    fault_set(now.fault, CALL_ANY, FAULT_EIO, now.n, false);
  }else{
    vdb_mem_fail_at(now.n, now.failure==FAIL_MEMORY_FOR_EVER);
  }
}

static uint64_t failure_disarm(void){
  uint64_t n;
  if( now.failure!=FAIL_CALL ) return vdb_mem_fail_at(0, false);
  n = fault_fired(now.fault);
  fault_set(now.fault, CALL_ANY, FAULT_EIO, 0, false);
  return n;
}

/* 1. A lock that cannot be asked for counts as held. */
static bool code_is_right(int rc){
  int primary = rc & 0xff;
  if( rc==VECDB_OK || primary==VECDB_BUSY ) return true;
  if( now.failure!=FAIL_CALL ) return primary==VECDB_NOMEM;
  return primary==VECDB_IOERR || primary==VECDB_CANTOPEN
      || primary==VECDB_READONLY;
}

static void run_prepare(void){
  int rc;
  files_begin();
  rc = db_open(fault_ops(now.fault), &now.db);
  if( rc==VECDB_OK && now.s->in_memory && now.s->make ){
    rc = now.s->make(now.db);
  }
  if( rc==VECDB_OK && now.s->ready ) rc = now.s->ready(now.db);
  if( rc!=VECDB_OK ) run_complain("cannot begin", rc);
}

/* 3, of the handle. */
static void handle_check(int rc){
  if( vecdb_in_transaction(now.db) ) vecdb_rollback(now.db);
  if( rc==VECDB_IOERR_SYNC || (rc!=VECDB_OK && now.s->may_close) ) return;
  state_check(now.db, "the handle cannot read",
              "the handle reads what should not be");
}

static void reopened_check(void){
  vecdb *db = NULL;
  int rc = db_open(now.mem, &db);
  if( rc!=VECDB_OK ) run_complain("cannot be opened again", rc);
  else{
    state_check(db, "cannot be read again", "a state that should not be");
    rc = vecdb_check(db, 0, finding_show, NULL);
    if( rc!=VECDB_OK ) run_complain("is not sound", rc);
  }
  vecdb_close(db);
}

/* Calls that may fail, up to now. */
static uint64_t calls_made(void){
  uint64_t n = 0;
  for(size_t i=0; i<fault_n_call; i++){
    n += fault_count(now.fault, fault_calls[i]);
  }
  return n;
}

static uint64_t allocations_made(void){
  struct vdb_mem_stats st;
  vdb_mem_stats(&st);
  return st.n_call;
}

static uint64_t n_blocks(void){
  struct vdb_mem_stats st;
  vdb_mem_stats(&st);
  return st.n_block;
}

static bool run_once(uint64_t n){
  uint64_t n_fired, n_block = n_blocks(), answer = 0;
  int rc;
  now.n = n;
  run_prepare();
  failure_arm();
  rc = now.s->act(now.db, &answer);
  n_fired = failure_disarm();
  if( n_fired==0 && rc!=VECDB_OK ) run_complain("fails by itself", rc);
  if( !code_is_right(rc) ) run_complain("a code that was not injected", rc);
  if( rc==VECDB_OK && answer!=now.answer ){
    run_complain("another answer than without a failure", rc);
  }
  handle_check(rc);
  if( now.s->finish ) now.s->finish();
  vecdb_close(now.db);
  now.db = NULL;
  if( !now.s->reads && !now.s->in_memory ) reopened_check();
  files_end();
  if( n_blocks()!=n_block ) run_complain("leaks", VECDB_OK);
  return n_fired>0;
}

static void run_end(void){
  if( now.s->finish ) now.s->finish();
  vecdb_close(now.db);
  now.db = NULL;
  files_end();
}

/* The states before and after, and the answer, without a failure. What a run
** reads first must not be read here before. */
static void run_learn(void){
  int rc;
  run_prepare();
  rc = db_digest(now.db, &now.before);
  if( rc!=VECDB_OK ) run_complain("cannot be read", rc);
  run_end();
  run_prepare();
  now.n_memory = allocations_made();
  now.n_call = calls_made();
  rc = now.s->act(now.db, &now.answer);
  now.n_memory = allocations_made() - now.n_memory;
  now.n_call = calls_made() - now.n_call;
  if( rc==VECDB_OK && vecdb_in_transaction(now.db) ) rc = VECDB_MISUSE;
  if( rc==VECDB_OK ) rc = db_digest(now.db, &now.after);
  if( rc!=VECDB_OK ) run_complain("does not work at all", rc);
  if( now.s->reads && now.before!=now.after ) run_complain("writes", rc);
  run_end();
}

/* The failure to try after the n-th. */
static uint64_t failure_next(uint64_t n){
  uint64_t n_all = now.failure==FAIL_CALL ? now.n_call : now.n_memory;
  bool is_edge = n<=ROWSWEEP_EDGE || n+ROWSWEEP_EDGE>=n_all;
  if( is_edge || now.s->step==0 ) return n+1;
  n += now.s->step;
  return n+ROWSWEEP_EDGE<n_all ? n : n_all-ROWSWEEP_EDGE;
}

void rowsweep_run(const struct rowsweep *s){
  memset(&now, 0, sizeof(now));
  now.s = s;
  file_make();
  if( !vt_has_failed() ) run_learn();
  for(int f=0; f<N_FAILURE && !vt_has_failed(); f++){
    uint64_t n = 1;
    if( f==FAIL_MEMORY_FOR_EVER && !s->for_ever ) continue;
    if( f==FAIL_CALL && s->in_memory ) continue;
    now.failure = (enum failure)f;
    while( run_once(n) && !vt_has_failed() ) n = failure_next(n);
  }
  free(now.main.p);
}
