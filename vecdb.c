/* vecdb.c -- the public functions: check arguments, delegate, say what failed.
**
** EVERY CALL on a handle runs between db_enter and db_leave. db_enter takes
** the handle's mutex and refuses a handle that is not open, that crossed a
** fork, or that is inside one of its own callbacks; db_leave records the
** result for vecdb_errcode and vecdb_errmsg: nothing after success, and after
** a failure the sentence of whoever found it, or that of the code.
** Accessors of the current row (row_enter, row_leave) keep the last result
** unless they fail.
**
** INTERRUPT  vecdb_interrupt sets a flag, which everything long polls. A call
**   that begins while no statement is in progress clears it: there was
**   nothing to stop.
**
** OWNERSHIP  A collection handle is counted: the user holds one reference,
**   each of its statements another. vecdb_close takes all that is left.
*/
#include "util/common.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "gpu/gpu.h"
#include "pager/file.h"
#include "pager/pager.h"
#include "simd/simd.h"
#include "store/batch.h"
#include "store/collection.h"
#include "store/device.h"
#include "store/session.h"
#include "store/stmt.h"
#include "store/store.h"
#include "store/tender.h"
#include "store/value.h"
#include "store/vecjson.h"
#include "util/mem.h"
#include "util/str.h"

#define PROGRESS_MS       100          /* between two calls of the handler */
#define THREADS_MAX       1024
#define BUILD_BYTES_MIN   (1<<20)
#define OPEN_FLAGS_ALL    0x3fu

struct vecdb {
  pthread_mutex_t mutex;
  bool is_busy;                        /* between db_enter and db_leave */
  unsigned fork_count;                 /* of the process that opened it */
  struct session ss;
  struct vdb_err err;                  /* sentence of the last failure */
  int rc;                              /* result of the last call */
  vecdb_progress_fn progress;
  void *progress_arg;
  int64_t progress_ms;                 /* when the handler was called last */
  vecdb_collection *first;             /* all collection handles */
  vecdb_page_store store;              /* an outside store, completed */
  struct tender_note background;       /* as told last */
};

struct vecdb_collection {
  vecdb *db;
  vecdb_collection *next, **link;
  unsigned n_ref;                      /* the user's, and its statements' */
  struct coll *coll;
  struct schema *schema;               /* as it was when opened */
  char *name, *text;                   /* as told last */
};

/* ---- Version ------------------------------------------------------------ */

const char *vecdb_libversion(void){ return VECDB_VERSION; }
int vecdb_libversion_number(void){ return VECDB_VERSION_NUMBER; }

const char *vecdb_compile_option(int i){
  static const char *const simd[] = { "SIMD=scalar", "SIMD=avx2",
                                      "SIMD=avx512", "SIMD=neon" };
  static const char *const option[] = {
#ifdef VDB_DEBUG
    "DEBUG",
#endif
#ifdef VDB_HAVE_OPENBLAS
    "OPENBLAS",
#endif
#ifdef VDB_HAVE_DLOPEN
    "DLOPEN",
#endif
    NULL
  };
  if( i<0 || i>=(int)VDB_ARRAY_LEN(option) ) return NULL;
  if( i>0 ) return option[i-1];
  for(size_t k=0; k<VDB_ARRAY_LEN(simd); k++){
    if( vdb_stricmp(simd[k]+5, vdb_simd()->name)==0 ) return simd[k];
  }
  return "SIMD";
}

/* ---- Results ------------------------------------------------------------ */

const char *vecdb_errstr(int rc){
  switch( rc & 0xff ){
#define RESULT(name, num, text) case num: return text;
    VECDB_RESULT_MAP(RESULT)
#undef RESULT
    default: return "unknown result code";
  }
}

const char *vecdb_errname(int rc){
#define KIND(name) if( rc==VECDB_##name ) return "VECDB_" #name;
  KIND(IOERR_READ) KIND(IOERR_SHORT_READ) KIND(IOERR_WRITE) KIND(IOERR_SYNC)
  KIND(IOERR_LOCK) KIND(IOERR_TRUNCATE) KIND(IOERR_MAP)
  KIND(CORRUPT_CHECKSUM) KIND(CORRUPT_WAL) KIND(CORRUPT_INDEX)
  KIND(BUSY_SNAPSHOT) KIND(BUSY_RECOVERY) KIND(BUSY_INDOUBT)
  KIND(CONSTRAINT_PK) KIND(CONSTRAINT_NOTNULL) KIND(CONSTRAINT_TYPE)
#undef KIND
  switch( rc & 0xff ){
#define RESULT(name, num, text) case num: return "VECDB_" #name;
    VECDB_RESULT_MAP(RESULT)
#undef RESULT
    default: return "VECDB_UNKNOWN";
  }
}

void vecdb_config_log(vecdb_log_fn fn, void *arg){
  vdb_log_set(fn, arg);
}

/* ---- Entering and leaving ----------------------------------------------- */

/* Forks since the library was loaded: a handle of another count belongs to a
** parent process. */
static unsigned fork_count;
static void fork_in_child(void){ fork_count++; }
static void fork_watch(void){ pthread_atfork(NULL, NULL, fork_in_child); }
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static bool result_is_good(int rc){
  return rc==VECDB_OK || rc==VECDB_ROW || rc==VECDB_DONE;
}

/* Record the result of a call. */
static int db_result(vecdb *db, int rc){
  if( result_is_good(rc) ) vdb_error_clear(&db->err);
  else if( db->err.rc!=rc ) (void)vdb_error(&db->err, rc, "%s", "");
  db->rc = rc;
  return rc;
}

static bool db_has_active(const vecdb *db){
  for(struct stmt *s=db->ss.first; s; s=vdb_stmt_next(s)){
    if( vdb_stmt_is_active(s) ) return true;
  }
  return false;
}

/* Take the handle, if it may be used at all. */
static int db_lock(vecdb *db){
  if( db==NULL || db->fork_count!=fork_count ) return VECDB_MISUSE;
  pthread_mutex_lock(&db->mutex);
  if( !db->is_busy ){
    db->is_busy = true;
    return VECDB_OK;
  }
  pthread_mutex_unlock(&db->mutex);    /* called from one of its callbacks */
  return VECDB_MISUSE;
}

static void db_unlock(vecdb *db){
  db->is_busy = false;
  pthread_mutex_unlock(&db->mutex);
}

static int db_leave(vecdb *db, int rc){
  rc = db_result(db, rc);
  db_unlock(db);
  return rc;
}

static int db_enter(vecdb *db){
  int rc = db_lock(db);
  if( rc!=VECDB_OK ) return rc;
  vdb_error_clear(&db->err);
  if( db->ss.st==NULL ){
    return db_leave(db, vdb_error(&db->err, VECDB_MISUSE,
                                  "the database is not open"));
  }
  if( vdb_session_interrupted(&db->ss) && !db_has_active(db) ){
    vdb_session_interrupt(&db->ss, 0);
  }
  return VECDB_OK;
}

static int db_misuse(vecdb *db, const char *what){
  return vdb_error(&db->err, VECDB_MISUSE, "%s", what);
}

/* A read transaction around a call that does not step. */
static int db_enter_read(vecdb *db, bool *held){
  int rc = db_enter(db);
  *held = false;
  if( rc!=VECDB_OK ) return rc;
  rc = vdb_session_read_begin(&db->ss, held);
  return rc==VECDB_OK ? rc : db_leave(db, rc);
}

static int db_leave_read(vecdb *db, bool *held, int rc){
  int rc_end = vdb_session_read_end(&db->ss, held);
  return db_leave(db, rc==VECDB_OK ? rc_end : rc);
}

int vecdb_errcode(vecdb *db){
  return db ? db->rc : VECDB_NOMEM;
}

const char *vecdb_errmsg(vecdb *db){
  if( db==NULL ) return vecdb_errstr(VECDB_NOMEM);
  if( result_is_good(db->rc) ) return vecdb_errstr(db->rc);
  return vdb_error_text(&db->err);
}

/* ---- Structs that begin with their size --------------------------------- */

/* Copy the caller's struct (its size is its first field) into ours of sz
** bytes: what it lacks is 0, what it has beyond must be 0. */
static int struct_read(vecdb *db, const char *name, const void *in, void *out,
                       size_t sz){
  uint32_t size;
  memcpy(&size, in, sizeof(size));
  memset(out, 0, sz);
  if( size<sizeof(size) ){
    return vdb_error(&db->err, VECDB_MISUSE,
                     "%s: the size is %u; begin with the _INIT macro", name,
                     size);
  }
  memcpy(out, in, vdb_min_sz(size, sz));
  for(size_t i=sz; i<size; i++){
    if( ((const char*)in)[i]==0 ) continue;
    return vdb_error(&db->err, VECDB_MISUSE,
                     "%s: byte %zu is set, and this version knows only %zu",
                     name, i, sz);
  }
  return VECDB_OK;
}

/* The reverse: fill as much as the caller has room for. */
static int struct_write(vecdb *db, const char *name, void *out,
                        const void *in, size_t sz){
  uint32_t size;
  memcpy(&size, out, sizeof(size));
  if( size<2*sizeof(size) ){
    return vdb_error(&db->err, VECDB_MISUSE,
                     "%s: set its size before the call, found %u", name,
                     size);
  }
  memcpy((char*)out+4, (const char*)in+4, vdb_min_sz(size, sz)-4);
  if( size>sz ) memset((char*)out+sz, 0, size-sz);
  return VECDB_OK;
}

/* ---- Opening ------------------------------------------------------------ */

static int open_check_flags(vecdb *db, const char *path, uint32_t flags){
  bool is_ro = flags & (VECDB_OPEN_READONLY|VECDB_OPEN_IMMUTABLE);
  if( flags & ~OPEN_FLAGS_ALL ){
    return vdb_error(&db->err, VECDB_MISUSE, "open: unknown flags 0x%x",
                     flags & ~OPEN_FLAGS_ALL);
  }
  if( is_ro && (flags & (VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE)) ){
    return db_misuse(db, "open: READONLY and IMMUTABLE exclude READWRITE and "
                     "CREATE");
  }
  if( is_ro && (flags & VECDB_OPEN_MEMORY) ){
    return db_misuse(db, "open: MEMORY excludes READONLY and IMMUTABLE");
  }
  return path==NULL ? db_misuse(db, "open: no path") : VECDB_OK;
}

/* The pager checks the rest of the options. */
static int open_check_threads(vecdb *db, const vecdb_options *o){
  if( o->threads<=THREADS_MAX ) return VECDB_OK;
  return vdb_error(&db->err, VECDB_RANGE, "threads %u is not in 0..%d",
                   o->threads, THREADS_MAX);
}

static int build_bytes_check(vecdb *db, int64_t sz){
  if( sz==0 || sz>=BUILD_BYTES_MIN ) return VECDB_OK;
  return vdb_error(&db->err, VECDB_RANGE, "build_bytes %lld is not 0 and less "
                   "than %d", (long long)sz, BUILD_BYTES_MIN);
}

/* An outside store, checked and completed. */
static int open_store_struct(vecdb *db, const vecdb_page_store *in,
                             vecdb_page_store *out){
  uint32_t sz;
  int rc = struct_read(db, "vecdb_page_store", in, out, sizeof(*out));
  if( rc!=VECDB_OK ) return rc;
  out->size = sizeof(*out);
  sz = out->usable_size;
  if( sz<4032 || sz>65536 || sz%32 ){
    return vdb_error(&db->err, VECDB_RANGE, "usable size %u of the page store "
                     "is not a multiple of 32 in 4032..65536", sz);
  }
  if( !out->begin_read || !out->begin_write || !out->end || !out->read_page
   || !out->flush || !out->free_page || !out->extent_write
   || !out->extent_read || !out->extent_free ){
    return db_misuse(db, "a function of the page store is NULL");
  }
  return VECDB_OK;
}

static int progress_relay(void *arg, const char *phase, const char *unit,
                          uint64_t done, uint64_t total){
  vecdb *db = arg;
  const struct vecdb_file_ops *ops;
  vecdb_progress p = { sizeof(p), 0, phase, unit, done, total };
  int64_t now;
  if( vdb_session_interrupted(&db->ss) ) return 1;
  if( db->progress==NULL ) return 0;
  ops = vdb_pager_file_ops(vdb_store_pager(db->ss.st));
  if( ops==NULL ) ops = &vdb_file_posix;
  now = ops->now_ms(ops->env);
  if( now-db->progress_ms<PROGRESS_MS ) return 0;
  db->progress_ms = now;
  return db->progress(db->progress_arg, &p);
}

/* The default is of the environment. */
static int open_set_gpu(vecdb *db, uint32_t gpu){
  const char *z = getenv("VECDB_GPU");
  if( gpu>VECDB_GPU_REQUIRE ){
    return vdb_error(&db->err, VECDB_RANGE, "gpu %u is not in 0..3", gpu);
  }
  db->ss.gpu = gpu ? (int)gpu : VECDB_GPU_OFF;
  if( gpu==VECDB_GPU_DEFAULT && z && z[0] ){
    db->ss.gpu = vdb_device_mode(z);
    if( db->ss.gpu==0 ){
      db->ss.gpu = VECDB_GPU_OFF;
      return vdb_error(&db->err, VECDB_RANGE, "VECDB_GPU=%.40s is none of "
                       "off, auto, require", z);
    }
  }
  return VECDB_OK;
}

static int db_open(vecdb *db, const char *path, uint32_t flags,
                   const vecdb_options *opt){
  vecdb_options o = VECDB_OPTIONS_INIT;
  struct pager_config cfg = { 0 };
  const char *simd = NULL;
  int rc;
  if( opt ) TRY( struct_read(db, "vecdb_options", opt, &o, sizeof(o)) );
  TRY( open_check_flags(db, path, flags) );
  TRY( open_check_threads(db, &o) );
  TRY( build_bytes_check(db, o.build_bytes>INT64_MAX ? -1
                                                     : (int64_t)o.build_bytes) );
  if( o.store ) TRY( open_store_struct(db, o.store, &db->store) );
  if( vdb_simd_status(&simd)!=VECDB_OK ){
    TRY( vdb_error(&db->err, VECDB_UNSUPPORTED, "VECDB_SIMD=%.40s is not "
                   "available on this machine", simd ? simd : "") );
  }
  if( !(flags & (VECDB_OPEN_READONLY|VECDB_OPEN_IMMUTABLE)) ){
    flags |= VECDB_OPEN_READWRITE;
  }
  if( flags & VECDB_OPEN_IMMUTABLE ) flags |= VECDB_OPEN_READONLY;
  cfg.path = flags & VECDB_OPEN_MEMORY ? NULL : path;
  cfg.open_flags = flags;
  cfg.sz_page = o.page_size;
  cfg.sz_cache = o.cache_bytes;
  cfg.sync = o.sync;
  cfg.busy_ms = o.busy_ms;
  cfg.no_mmap = o.no_mmap!=0;
  cfg.sz_wal_auto = o.wal_bytes;
  cfg.fixed_seed = o.fixed_seed;
  cfg.store = o.store ? &db->store : NULL;
  cfg.file = o.file;
  cfg.interrupted = &db->ss.interrupted;
  TRY( open_set_gpu(db, o.gpu) );
  db->ss.n_thread = o.threads;
  TRY( vdb_store_open(&cfg, &db->err, &db->ss.st) );
  vdb_store_set_threads(db->ss.st, o.threads);
  vdb_store_set_build_bytes(db->ss.st, o.build_bytes);
  vdb_store_set_progress(db->ss.st, progress_relay, db);
done:
  return rc;
}

int vecdb_open(const char *path, uint32_t flags, const vecdb_options *opt,
               vecdb **out){
  pthread_mutexattr_t recursive;       /* a callback finds is_busy set */
  vecdb *db;
  int rc;
  if( out==NULL ) return VECDB_MISUSE;
  *out = NULL;
  pthread_once(&fork_once, fork_watch);
  db = vdb_calloc(1, sizeof(*db));
  if( db==NULL ) return VECDB_NOMEM;
  pthread_mutexattr_init(&recursive);
  pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
  pthread_mutex_init(&db->mutex, &recursive);
  pthread_mutexattr_destroy(&recursive);
  db->fork_count = fork_count;
  db->ss.err = &db->err;
  rc = db_result(db, db_open(db, path, flags, opt));
  if( rc==VECDB_NOMEM ){
    (void)vecdb_close(db);
    return rc;
  }
  *out = db;
  return rc;
}

static void collection_free(vecdb_collection *c){
  *c->link = c->next;
  if( c->next ) c->next->link = c->link;
  vdb_store_coll_close(c->coll);
  vdb_schema_destroy(c->schema);
  vdb_free(c->name);
  vdb_free(c->text);
  vdb_free(c);
}

static void collection_release(vecdb_collection *c){
  if( --c->n_ref==0 ) collection_free(c);
}

int vecdb_close(vecdb *db){
  int rc;
  if( db==NULL ) return VECDB_OK;
  rc = db_lock(db);
  if( rc!=VECDB_OK ) return rc;
  vdb_session_abort(&db->ss);
  while( db->ss.first ) (void)vdb_stmt_destroy(db->ss.first);
  while( db->first ) collection_free(db->first);
  if( db->ss.in_tx ) (void)vdb_session_rollback(&db->ss);
  if( db->ss.st ) rc = vdb_store_close(db->ss.st);
  vdb_free(db->ss.sp_id);
  db_unlock(db);
  pthread_mutex_destroy(&db->mutex);
  vdb_free(db);
  return rc;
}

/* ---- Transactions ------------------------------------------------------- */

int vecdb_begin(vecdb *db, int mode){
  int rc = db_enter(db);
  return rc ? rc : db_leave(db, vdb_session_begin(&db->ss, mode));
}

int vecdb_commit(vecdb *db){
  int rc = db_enter(db);
  return rc ? rc : db_leave(db, vdb_session_commit(&db->ss));
}

int vecdb_rollback(vecdb *db){
  int rc = db_enter(db);
  return rc ? rc : db_leave(db, vdb_session_rollback(&db->ss));
}

int vecdb_in_transaction(vecdb *db){
  int n = 0;
  if( db_lock(db)!=VECDB_OK ) return 0;
  if( db->ss.st && db->ss.in_tx ){
    n = vdb_pager_state(vdb_store_pager(db->ss.st))==PAGER_READ ? 1 : 2;
  }
  db_unlock(db);
  return n;
}

int vecdb_savepoint(vecdb *db, uint32_t id){
  int rc = db_enter(db);
  return rc ? rc : db_leave(db, vdb_session_savepoint(&db->ss, id));
}

int vecdb_release(vecdb *db, uint32_t id){
  int rc = db_enter(db);
  return rc ? rc : db_leave(db, vdb_session_release(&db->ss, id));
}

int vecdb_rollback_to(vecdb *db, uint32_t id){
  int rc = db_enter(db);
  return rc ? rc : db_leave(db, vdb_session_rollback_to(&db->ss, id));
}

int vecdb_prepare_commit(vecdb *db, const unsigned char host_uuid[16],
                         uint64_t token){
  int rc = db_enter(db);
  if( rc!=VECDB_OK ) return rc;
  if( host_uuid==NULL ) return db_leave(db, db_misuse(db, "no host uuid"));
  return db_leave(db, vdb_session_prepare(&db->ss, host_uuid, token));
}

int vecdb_decide(vecdb *db, int commit){
  int rc = db_enter(db);
  return rc ? rc : db_leave(db,
      vdb_session_decide(&db->ss, commit!=0, commit==VECDB_DECIDE_UNDOABLE));
}

int vecdb_undoable(vecdb *db, int *undoable, unsigned char host_uuid[16],
                   uint64_t *newest, uint64_t *firm){
  struct undo_tokens t = { {0}, 0, 0 };
  bool is_undoable = false;
  int rc = db_enter(db);
  if( undoable ) *undoable = 0;
  if( rc!=VECDB_OK ) return rc;
  rc = vdb_pager_undoable(vdb_store_pager(db->ss.st), &is_undoable, &t);
  if( undoable ) *undoable = is_undoable;
  if( host_uuid ) memcpy(host_uuid, t.host, 16);
  if( newest ) *newest = t.newest;
  if( firm ) *firm = t.firm;
  return db_leave(db, rc);
}

int vecdb_rewind(vecdb *db, uint64_t token, uint64_t newest){
  int rc = db_enter(db);
  return rc ? rc : db_leave(db, vdb_session_rewind(&db->ss, token, newest));
}

int vecdb_host_handler(vecdb *db, int (*fn)(void *arg), void *arg){
  int rc = db_enter(db);
  if( rc!=VECDB_OK ) return rc;
  vdb_pager_set_host(vdb_store_pager(db->ss.st), fn, arg);
  return db_leave(db, VECDB_OK);
}

int vecdb_sync_folder(vecdb *db, const char *path){
  if( db==NULL || db->ss.st==NULL || path==NULL ) return VECDB_MISUSE;
  return vdb_pager_sync_folder(vdb_store_pager(db->ss.st), path);
}

int vecdb_in_doubt(vecdb *db, int *in_doubt, unsigned char host_uuid[16],
                   uint64_t *token){
  unsigned char uuid[16] = { 0 };
  bool is_in_doubt = false;
  uint64_t t = 0;
  int rc = db_enter(db);
  if( in_doubt ) *in_doubt = 0;
  if( rc!=VECDB_OK ) return rc;
  rc = vdb_pager_in_doubt(vdb_store_pager(db->ss.st), &is_in_doubt, uuid, &t);
  if( in_doubt ) *in_doubt = is_in_doubt;
  if( host_uuid ) memcpy(host_uuid, uuid, 16);
  if( token ) *token = t;
  return db_leave(db, rc);
}

int vecdb_committed_token(vecdb *db, unsigned char host_uuid[16],
                          uint64_t *token){
  unsigned char uuid[16] = { 0 };
  uint64_t t = 0;
  int rc = db_enter(db);
  if( rc!=VECDB_OK ) return rc;
  rc = vdb_pager_committed_token(vdb_store_pager(db->ss.st), uuid, &t);
  if( host_uuid ) memcpy(host_uuid, uuid, 16);
  if( token ) *token = t;
  return db_leave(db, rc);
}

int vecdb_begin_read_at(vecdb *db, uint64_t token){
  int rc = db_enter(db);
  return rc ? rc : db_leave(db, vdb_session_begin_read_at(&db->ss, token));
}

/* ---- Upkeep ------------------------------------------------------------- */

int vecdb_checkpoint(vecdb *db, int mode, uint64_t *n_log, uint64_t *n_done){
  uint64_t a = 0, b = 0;
  int rc = db_enter(db);
  if( n_log ) *n_log = 0;
  if( n_done ) *n_done = 0;
  if( rc!=VECDB_OK ) return rc;
  if( mode<VECDB_CHECKPOINT_PASSIVE || mode>VECDB_CHECKPOINT_TRUNCATE ){
    return db_leave(db, vdb_error(&db->err, VECDB_MISUSE,
                                  "%d is none of VECDB_CHECKPOINT_*", mode));
  }
  rc = vdb_session_require_none(&db->ss, "checkpoint");
  if( rc==VECDB_OK ){
    rc = vdb_pager_checkpoint(vdb_store_pager(db->ss.st), mode, &a, &b);
  }
  if( n_log ) *n_log = a;
  if( n_done ) *n_done = b;
  return db_leave(db, rc);
}

int vecdb_backup(vecdb *db, const char *path){
  int rc = db_enter(db);
  if( rc!=VECDB_OK ) return rc;
  if( path==NULL ) return db_leave(db, db_misuse(db, "backup: no path"));
  return db_leave(db, vdb_batch_backup(&db->ss, path, progress_relay, db));
}

int vecdb_vacuum(vecdb *db){
  int rc = db_enter(db);
  if( rc!=VECDB_OK ) return rc;
  rc = vdb_session_require_none(&db->ss, "vacuum");
  if( rc==VECDB_OK ) rc = vdb_store_vacuum(db->ss.st);
  return db_leave(db, rc);
}

struct check_relay {
  vecdb_check_fn report;
  void *arg;
  char first[300];                     /* finding of severity 2 */
};

static void check_finding(void *arg, int severity, const char *object,
                          const char *message){
  struct check_relay *r = arg;
  if( severity>=2 && r->first[0]==0 ){
    struct vdb_err e;
    (void)vdb_error(&e, VECDB_CORRUPT, "%.80s: %.200s", object, message);
    memcpy(r->first, e.msg, sizeof(r->first)-1);
  }
  if( r->report ) r->report(r->arg, severity, object, message);
}

int vecdb_check(vecdb *db, int quick, vecdb_check_fn report, void *arg){
  struct check_relay relay = { report, arg, "" };
  uint64_t n_bad = 0;
  int rc = db_enter(db);
  if( rc!=VECDB_OK ) return rc;
  rc = vdb_store_check(db->ss.st, quick!=0, check_finding, &relay, &n_bad);
  if( rc==VECDB_OK && n_bad>0 ){
    rc = vdb_error(&db->err, VECDB_CORRUPT, "findings of damage: %llu, first "
                   "%s", (unsigned long long)n_bad, relay.first);
  }
  return db_leave(db, rc);
}

int vecdb_progress_handler(vecdb *db, vecdb_progress_fn fn, void *arg){
  int rc = db_lock(db);
  if( rc!=VECDB_OK ) return rc;
  db->progress = fn;
  db->progress_arg = arg;
  db_unlock(db);                        /* errmsg stays that of the last call */
  return VECDB_OK;
}

void vecdb_interrupt(vecdb *db){
  if( db ) vdb_session_interrupt(&db->ss, 1);
}

int vecdb_stat(vecdb *db, vecdb_stats *out){
  struct pager_stats p = { 0 };
  struct vdb_mem_stats m;
  vecdb_stats s = { 0 };
  bool held;
  int rc = db_enter_read(db, &held);
  if( rc!=VECDB_OK ) return rc;
  if( out==NULL ){
    return db_leave_read(db, &held, db_misuse(db, "stat: no out"));
  }
  rc = vdb_pager_stats(vdb_store_pager(db->ss.st), &p);
  vdb_mem_stats(&m);
  s.page_size = p.sz_page;
  s.n_page = p.n_page;
  s.n_free_page = p.n_free_page;
  s.file_bytes = p.sz_file;
  s.wal_bytes = p.sz_wal;
  s.txid = p.txid;
  s.checkpoint_txid = p.ckpt_txid;
  s.cache_bytes = p.sz_cache;
  s.cache_hits = p.n_hit;
  s.cache_misses = p.n_miss;
  s.n_distance = db->ss.n_distance;
  s.n_commit = p.n_commit;
  s.n_sync = p.n_sync;
  s.n_frame = p.n_frame;
  s.mem_bytes = m.sz_now;
  s.mem_peak_bytes = m.sz_peak;
  if( rc==VECDB_OK ) rc = struct_write(db, "vecdb_stats", out, &s, sizeof(s));
  return db_leave_read(db, &held, rc);
}

int vecdb_last_search(vecdb *db, vecdb_search_info *out){
  vecdb_search_info info = { 0 };
  const struct search_note *n;
  int rc = db_enter(db);
  if( rc!=VECDB_OK ) return rc;
  if( out==NULL ) return db_leave(db, db_misuse(db, "last_search: no out"));
  n = &db->ss.last;
  if( n->plan==NULL ){
    return db_leave(db, vdb_error(&db->err, VECDB_NOTFOUND,
                                  "no search was made on this handle"));
  }
  info.ef = n->ef;
  info.n_match = n->n_match;
  info.n_distance = n->n_distance;
  info.recall = n->recall;
  info.plan = n->plan;
  info.why = n->why;
  info.n_row = n->n_row;
  info.n_block = n->n_block;
  info.n_bridge = n->n_bridge;
  info.n_far = n->n_far;
  info.n_switch = n->n_switch;
  info.share_near = n->share_near;
  info.cost_exact_us = n->cost_exact;
  info.cost_through_us = n->cost_through;
  info.cost_within_us = n->cost_within;
  info.cost_codes_us = n->cost_codes;
  return db_leave(db, struct_write(db, "vecdb_search_info", out, &info,
                                   sizeof(info)));
}

int vecdb_uuid(vecdb *db, unsigned char uuid[16]){
  int rc = db_enter(db);
  if( rc!=VECDB_OK ) return rc;
  vdb_pager_uuid(vdb_store_pager(db->ss.st), uuid);
  return db_leave(db, VECDB_OK);
}

int vecdb_set(vecdb *db, const char *name, int64_t value){
  static const char *const known[] = { "build_bytes", "busy_ms", "gpu", "sync",
                                       "threads", "wal_bytes", NULL };
  const char *near;
  int rc = db_enter(db);
  if( rc!=VECDB_OK ) return rc;
  if( name==NULL ) return db_leave(db, db_misuse(db, "set: no name"));
  if( vdb_stricmp(name, "threads")==0 ){
    if( value<0 || value>THREADS_MAX ){
      rc = vdb_error(&db->err, VECDB_RANGE, "threads %lld is not in 0..%d",
                     (long long)value, THREADS_MAX);
    }else{
      db->ss.n_thread = (unsigned)value;
      vdb_store_set_threads(db->ss.st, (unsigned)value);
    }
    return db_leave(db, rc);
  }
  if( vdb_stricmp(name, "build_bytes")==0 ){
    rc = build_bytes_check(db, value);
    if( rc==VECDB_OK ) vdb_store_set_build_bytes(db->ss.st, (uint64_t)value);
    return db_leave(db, rc);
  }
  if( vdb_stricmp(name, "gpu")==0 ){
    rc = value<0 || value>VECDB_GPU_REQUIRE
       ? vdb_error(&db->err, VECDB_RANGE, "gpu %lld is not in 0..3",
                   (long long)value)
       : open_set_gpu(db, (uint32_t)value);
    return db_leave(db, rc);
  }
  rc = vdb_pager_set(vdb_store_pager(db->ss.st), name, value);
  if( rc==VECDB_NOTFOUND ){
    near = vdb_nearest_word(name, known);
    (void)vdb_error(&db->err, rc, "no setting \"%.60s\"; %s%s%s", name,
                    near ? "did you mean \"" : "known are build_bytes, busy_ms, "
                    "gpu, sync, threads, wal_bytes", near ? near : "", near ? "\"?" : "");
  }
  return db_leave(db, rc);
}

/* ---- GPUs --------------------------------------------------------------- */

int vecdb_config_gpu(const char *path){
  return vdb_gpu_path_set(path);
}

int vecdb_gpu_status(char **json){
  struct vdb_str s = VDB_STR_INIT;
  if( json==NULL ) return VECDB_MISUSE;
  vdb_gpu_status(&s);
  *json = vdb_str_take(&s);
  return *json ? VECDB_OK : VECDB_NOMEM;
}

/* ---- Collections -------------------------------------------------------- */

int vecdb_create_collection(vecdb *db, const char *name, const char *schema){
  struct write_scope w;
  int rc = db_enter(db);
  if( rc!=VECDB_OK ) return rc;
  if( name==NULL || schema==NULL ){
    return db_leave(db, db_misuse(db, "create: no name or no schema"));
  }
  rc = vdb_session_write_begin(&db->ss, &w);
  if( rc!=VECDB_OK ) return db_leave(db, rc);
  rc = vdb_store_create(db->ss.st, name, schema);
  return db_leave(db, vdb_session_write_end(&db->ss, &w, rc));
}

int vecdb_drop_collection(vecdb *db, const char *name){
  struct write_scope w;
  int rc = db_enter(db);
  if( rc!=VECDB_OK ) return rc;
  if( name==NULL ) return db_leave(db, db_misuse(db, "drop: no name"));
  rc = vdb_session_write_begin(&db->ss, &w);
  if( rc!=VECDB_OK ) return db_leave(db, rc);
  rc = vdb_store_drop(db->ss.st, name);
  return db_leave(db, vdb_session_write_end(&db->ss, &w, rc));
}

int vecdb_rename_collection(vecdb *db, const char *from, const char *to){
  struct write_scope w;
  int rc = db_enter(db);
  if( rc!=VECDB_OK ) return rc;
  if( from==NULL || to==NULL ){
    return db_leave(db, db_misuse(db, "rename: no name"));
  }
  rc = vdb_session_write_begin(&db->ss, &w);
  if( rc!=VECDB_OK ) return db_leave(db, rc);
  rc = vdb_store_rename(db->ss.st, from, to);
  return db_leave(db, vdb_session_write_end(&db->ss, &w, rc));
}

/* Names and schemas, one after the other, each with its NUL. */
static int list_note(void *arg, const char *name, const char *schema){
  struct vdb_str *s = arg;
  vdb_str_add(s, name, strlen(name)+1);
  vdb_str_add(s, schema, strlen(schema)+1);
  return vdb_str_rc(s);
}

int vecdb_list_collections(vecdb *db,
    int (*fn)(void *arg, const char *name, const char *schema), void *arg){
  struct vdb_str s = VDB_STR_INIT;
  bool held;
  int rc = db_enter_read(db, &held);
  if( rc!=VECDB_OK ) return rc;
  rc = fn ? vdb_store_list(db->ss.st, list_note, &s)
          : db_misuse(db, "list: no function");
  rc = db_leave_read(db, &held, rc);
  for(size_t i=0; rc==VECDB_OK && i<s.n; ){     /* fn may use the handle */
    const char *name = s.z+i, *schema = name+strlen(name)+1;
    if( fn(arg, name, schema) ) break;
    i = (size_t)(schema - s.z) + strlen(schema) + 1;
  }
  vdb_str_clear(&s);
  return rc;
}

int vecdb_check_schema(vecdb *db, const char *schema, char **canonical){
  struct schema *s = NULL;
  int rc = db_enter(db);
  if( canonical ) *canonical = NULL;
  if( rc!=VECDB_OK ) return rc;
  rc = schema ? vdb_schema_parse(schema, &db->err, &s)
              : db_misuse(db, "no schema");
  if( rc==VECDB_OK && canonical ) rc = vdb_schema_print(s, false, canonical);
  vdb_schema_destroy(s);
  return db_leave(db, rc);
}

/* The parts of a collection handle, inside a read transaction. */
static int collection_fill(vecdb_collection *c, const char *name){
  const char *text = NULL;
  int rc;
  TRY( vdb_store_coll_open(c->db->ss.st, name, &c->coll) );
  TRY( vdb_coll_refresh(c->coll) );
  TRY( vdb_coll_schema_text(c->coll, &text) );
  TRY( vdb_schema_parse(text, &c->db->err, &c->schema) );
  c->name = vdb_strdup(vdb_coll_name(c->coll));
  c->text = vdb_strdup(text);
  if( c->name==NULL || c->text==NULL ) rc = VECDB_NOMEM;
done:
  return rc;
}

int vecdb_collection_open(vecdb *db, const char *name,
                          vecdb_collection **out){
  vecdb_collection *c = NULL;
  bool held;
  int rc = db_enter_read(db, &held);
  if( out ) *out = NULL;
  if( rc!=VECDB_OK ) return rc;
  if( name==NULL || out==NULL ){
    return db_leave_read(db, &held, db_misuse(db, "open: no name or no out"));
  }
  c = vdb_calloc(1, sizeof(*c));
  if( c==NULL ) return db_leave_read(db, &held, VECDB_NOMEM);
  c->db = db;
  c->n_ref = 1;
  c->next = db->first;
  c->link = &db->first;
  if( c->next ) c->next->link = &c->next;
  db->first = c;
  rc = collection_fill(c, name);
  if( rc!=VECDB_OK ) collection_release(c);
  else *out = c;
  return db_leave_read(db, &held, rc);
}

int vecdb_collection_close(vecdb_collection *c){
  vecdb *db = c ? c->db : NULL;
  int rc;
  if( c==NULL ) return VECDB_OK;
  rc = db_enter(db);
  if( rc!=VECDB_OK ) return rc;
  collection_release(c);
  return db_leave(db, VECDB_OK);
}

vecdb *vecdb_collection_db(vecdb_collection *c){
  return c ? c->db : NULL;
}

/* Bring name and text up to date, as far as they still can be. */
static void collection_renew(vecdb_collection *c){
  const char *text = NULL;
  char *name, *copy;
  bool held;
  if( db_enter_read(c->db, &held)!=VECDB_OK ) return;
  if( vdb_coll_refresh(c->coll)==VECDB_OK
   && vdb_coll_schema_text(c->coll, &text)==VECDB_OK ){
    name = vdb_strdup(vdb_coll_name(c->coll));
    copy = vdb_strdup(text);
    if( name && copy ){
      char *old = c->name;
      c->name = name;
      name = old;
      old = c->text;
      c->text = copy;
      copy = old;
    }
    vdb_free(name);
    vdb_free(copy);
  }
  (void)db_leave_read(c->db, &held, VECDB_OK);
}

const char *vecdb_collection_name(vecdb_collection *c){
  if( c==NULL ) return NULL;
  collection_renew(c);
  return c->name;
}

const char *vecdb_collection_schema(vecdb_collection *c){
  if( c==NULL ) return NULL;
  collection_renew(c);
  return c->text;
}

int vecdb_column_count(vecdb_collection *c){
  return c ? c->schema->n_col : 0;
}

/* What serves a vector column now. A graph that cannot be read is for searches
** and checks to complain about. */
static const char *column_index(vecdb_collection *c, int column){
  bool held = false, has_graph = false;
  int rc;
  if( c->schema->col[column].index.kind!=INDEX_GRAPH ) return "flat";
  rc = vdb_session_read_begin(&c->db->ss, &held);
  if( rc==VECDB_OK ) rc = vdb_coll_has_graph(c->coll, column, &has_graph);
  vdb_session_read_end(&c->db->ss, &held);
  vdb_error_clear(&c->db->err);
  return has_graph ? "graph" : "flat";
}

int vecdb_column_describe(vecdb_collection *c, int column,
                          vecdb_column_info *out){
  vecdb_column_info info = { 0 };
  const struct schema_column *col;
  int rc = db_enter(c ? c->db : NULL);
  if( rc!=VECDB_OK ) return rc;
  if( out==NULL ) return db_leave(c->db, db_misuse(c->db, "no out"));
  if( column<0 || column>=c->schema->n_col ){
    rc = vdb_error(&c->db->err, VECDB_NOTFOUND, "no column %d in \"%.100s\"; "
                   "there are %d", column, c->name, c->schema->n_col);
    return db_leave(c->db, rc);
  }
  col = &c->schema->col[column];
  info.role = (uint32_t)col->role;
  info.type = (uint32_t)col->type;
  info.not_null = col->not_null;
  info.name = col->name;
  info.decl = col->decl;
  if( col->type==VECDB_VECTOR ){
    info.element = (uint32_t)col->element;
    info.dims = col->dims;
    info.metric = (uint32_t)col->metric;
    info.vector_bytes = col->sz_vec;
    info.index = column_index(c, column);
  }
  return db_leave(c->db, struct_write(c->db, "vecdb_column_info", out, &info,
                                      sizeof(info)));
}

int vecdb_column_find(vecdb_collection *c, const char *name){
  return c && name ? vdb_schema_find(c->schema, name) : -1;
}

int vecdb_has_declared_key(vecdb_collection *c){
  return c && c->schema->has_key;
}

int vecdb_collection_stat(vecdb_collection *c, vecdb_collection_stats *out){
  vecdb_collection_stats s = { .size = sizeof(s) };
  vecdb *db = c ? c->db : NULL;
  bool held;
  int rc = db_enter_read(db, &held);
  if( rc!=VECDB_OK ) return rc;
  if( out==NULL ) return db_leave_read(db, &held, db_misuse(db, "no out"));
  rc = vdb_coll_stats(c->coll, &s);
  if( rc==VECDB_OK ){
    rc = struct_write(db, "vecdb_collection_stats", out, &s, sizeof(s));
  }
  return db_leave_read(db, &held, rc);
}

/* Beside other writers: where there can be any, outside of transactions. */
static bool optimize_is_apart(const vecdb *db, uint32_t flags){
  const struct pager *p = vdb_store_pager(db->ss.st);
  return !db->ss.in_tx && vdb_pager_state(p)==PAGER_NONE
      && vdb_pager_is_shared(p) && !vdb_pager_is_readonly(p)
      && !(flags & VECDB_OPTIMIZE_SEAL);
}

int vecdb_optimize(vecdb_collection *c, const vecdb_optimize_options *opt){
  vecdb_optimize_options o = { sizeof(o), 0, 0 };
  vecdb *db = c ? c->db : NULL;
  struct write_scope w;
  int rc = db_enter(db);
  if( rc!=VECDB_OK ) return rc;
  if( opt ) rc = struct_read(db, "vecdb_optimize_options", opt, &o, sizeof(o));
  if( rc==VECDB_OK
   && (o.flags & ~(VECDB_OPTIMIZE_SEAL|VECDB_OPTIMIZE_ALL
                   |VECDB_OPTIMIZE_GPU|VECDB_OPTIMIZE_GPU_OR_CPU)) ){
    rc = vdb_error(&db->err, VECDB_MISUSE, "optimize: unknown flags 0x%x",
                   o.flags);
  }
  if( rc==VECDB_OK ) rc = vdb_session_suspend(&db->ss);
  if( rc==VECDB_OK && optimize_is_apart(db, o.flags) ){
    rc = vdb_coll_optimize_apart(c->coll, o.flags, o.budget_ms);
    return db_leave(db, rc);
  }
  if( rc==VECDB_OK ) rc = vdb_session_write_begin(&db->ss, &w);
  if( rc!=VECDB_OK ) return db_leave(db, rc);
  rc = vdb_coll_optimize_within(c->coll, o.flags, o.budget_ms);
  return db_leave(db, vdb_session_write_end(&db->ss, &w, rc));
}

int vecdb_background(vecdb *db, vecdb_background_info *out){
  vecdb_background_info info = { 0 };
  struct tender_note *n;
  int rc = db_enter(db);
  if( rc!=VECDB_OK ) return rc;
  if( out==NULL ) return db_leave(db, db_misuse(db, "background: no out"));
  n = &db->background;
  vdb_tender_note(db->ss.st, n);
  info.state = !n->is_there ? VECDB_BACKGROUND_NONE
             : n->is_busy ? VECDB_BACKGROUND_BUSY : VECDB_BACKGROUND_IDLE;
  info.n_done = n->n_done;
  info.n_failed = n->n_failed;
  info.rc = n->last.rc;
  info.message = vdb_error_text(&n->last);
  return db_leave(db, struct_write(db, "vecdb_background_info", out, &info,
                                   sizeof(info)));
}

int vecdb_collection_set(vecdb_collection *c, const char *name,
                         const char *value){
  vecdb *db = c ? c->db : NULL;
  struct write_scope w;
  int rc = db_enter(db);
  if( rc!=VECDB_OK ) return rc;
  if( name==NULL || value==NULL ){
    return db_leave(db, db_misuse(db, "set: no name or no value"));
  }
  rc = vdb_session_write_begin(&db->ss, &w);
  if( rc!=VECDB_OK ) return db_leave(db, rc);
  rc = vdb_coll_set(c->coll, name, value);
  return db_leave(db, vdb_session_write_end(&db->ss, &w, rc));
}

/* ---- Statements --------------------------------------------------------- */

/* A vecdb_stmt is a struct stmt under another name. */
static struct stmt *stmt_of(vecdb_stmt *s){ return (struct stmt*)s; }
static vecdb_collection *stmt_collection(vecdb_stmt *s){
  return s ? vdb_stmt_owner(stmt_of(s)) : NULL;
}
static vecdb *stmt_db(vecdb_stmt *s){
  return s ? stmt_collection(s)->db : NULL;
}

/* Make a statement; what is left to do before db_leave is up to the caller. */
static int stmt_prepare(vecdb_collection *c, enum stmt_kind kind,
                        uint32_t flags, struct stmt **out){
  int rc = vdb_stmt_create(&c->db->ss, c->coll, c->schema, kind, flags, out);
  if( rc!=VECDB_OK ) return rc;
  vdb_stmt_set_owner(*out, c);
  c->n_ref++;
  return VECDB_OK;
}

/* Give the statement to the caller, or unmake it. */
static int stmt_deliver(vecdb_collection *c, struct stmt *s, int rc,
                        vecdb_stmt **out){
  if( rc==VECDB_OK ){
    *out = (vecdb_stmt*)s;
  }else if( s ){
    (void)vdb_stmt_destroy(s);
    collection_release(c);
  }
  return rc;
}

static int stmt_prepare_simple(vecdb_collection *c, enum stmt_kind kind,
                               uint32_t flags, vecdb_stmt **out){
  struct stmt *s = NULL;
  int rc = db_enter(c ? c->db : NULL);
  if( out ) *out = NULL;
  if( rc!=VECDB_OK ) return rc;
  rc = out ? stmt_prepare(c, kind, flags, &s) : db_misuse(c->db, "no out");
  return db_leave(c->db, stmt_deliver(c, s, rc, out));
}

int vecdb_prepare_insert(vecdb_collection *c, uint32_t flags,
                         vecdb_stmt **out){
  return stmt_prepare_simple(c, STMT_INSERT, flags, out);
}
int vecdb_prepare_update(vecdb_collection *c, vecdb_stmt **out){
  return stmt_prepare_simple(c, STMT_UPDATE, 0, out);
}
int vecdb_prepare_delete(vecdb_collection *c, vecdb_stmt **out){
  return stmt_prepare_simple(c, STMT_DELETE, 0, out);
}
int vecdb_prepare_get(vecdb_collection *c, vecdb_stmt **out){
  return stmt_prepare_simple(c, STMT_GET, 0, out);
}

int vecdb_prepare_scan(vecdb_collection *c, const char *filter,
                       vecdb_stmt **out){
  struct stmt *s = NULL;
  int rc = db_enter(c ? c->db : NULL);
  if( out ) *out = NULL;
  if( rc!=VECDB_OK ) return rc;
  rc = out ? stmt_prepare(c, STMT_SCAN, 0, &s) : db_misuse(c->db, "no out");
  if( rc==VECDB_OK ) rc = vdb_stmt_set_filter(s, filter);
  return db_leave(c->db, stmt_deliver(c, s, rc, out));
}

int vecdb_prepare_search(vecdb_collection *c, const vecdb_search_options *opt,
                         vecdb_stmt **out){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  struct stmt *s = NULL;
  int rc = db_enter(c ? c->db : NULL);
  if( out ) *out = NULL;
  if( rc!=VECDB_OK ) return rc;
  if( out==NULL ) rc = db_misuse(c->db, "no out");
  else if( opt ) rc = struct_read(c->db, "vecdb_search_options", opt, &o,
                                  sizeof(o));
  if( rc==VECDB_OK ) rc = stmt_prepare(c, STMT_SEARCH, 0, &s);
  if( rc==VECDB_OK ) rc = vdb_stmt_set_search(s, &o);
  return db_leave(c->db, stmt_deliver(c, s, rc, out));
}

int vecdb_prepare_search_multi(vecdb_collection *c,
                               const vecdb_search_options *opt,
                               const vecdb_query_part *part, size_t n_part,
                               vecdb_stmt **out){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  struct stmt *s = NULL;
  int rc = db_enter(c ? c->db : NULL);
  if( out ) *out = NULL;
  if( rc!=VECDB_OK ) return rc;
  if( out==NULL ) rc = db_misuse(c->db, "no out");
  else if( part==NULL ) rc = db_misuse(c->db, "no parts");
  else if( opt ) rc = struct_read(c->db, "vecdb_search_options", opt, &o,
                                  sizeof(o));
  for(size_t i=0; i<n_part && rc==VECDB_OK; i++){
    vecdb_query_part p;
    rc = struct_read(c->db, "vecdb_query_part", &part[i], &p, sizeof(p));
  }
  if( rc==VECDB_OK ) rc = stmt_prepare(c, STMT_SEARCH, 0, &s);
  if( rc==VECDB_OK ) rc = vdb_stmt_set_multi(s, &o, part, n_part);
  return db_leave(c->db, stmt_deliver(c, s, rc, out));
}

int vecdb_search_set_k(vecdb_stmt *s, uint64_t k){
  int rc = db_enter(stmt_db(s));
  return rc ? rc : db_leave(stmt_db(s), vdb_stmt_set_k(stmt_of(s), k));
}

int vecdb_search_set_keys(vecdb_stmt *s, size_t n, const int64_t *keys){
  int rc = db_enter(stmt_db(s));
  if( rc!=VECDB_OK ) return rc;
  return db_leave(stmt_db(s), vdb_stmt_set_keys(stmt_of(s), n, keys, NULL));
}

int vecdb_search_set_text_keys(vecdb_stmt *s, size_t n,
                               const char *const *keys){
  int rc = db_enter(stmt_db(s));
  if( rc!=VECDB_OK ) return rc;
  return db_leave(stmt_db(s), vdb_stmt_set_keys(stmt_of(s), n, NULL, keys));
}

/* ---- Binding ------------------------------------------------------------ */

static int bind_value(vecdb_stmt *s, int i, const struct vdb_value *v,
                      vecdb_free_fn destroy){
  vecdb *db = stmt_db(s);
  int rc = db_enter(db);
  if( rc!=VECDB_OK ){
    if( v->p && destroy!=VECDB_STATIC && destroy!=VECDB_TRANSIENT ){
      destroy((void*)(uintptr_t)v->p);
    }
    return rc;
  }
  return db_leave(db, vdb_stmt_bind(stmt_of(s), i, v, destroy));
}

int vecdb_bind_null(vecdb_stmt *s, int i){
  struct vdb_value v = { VECDB_NULL, 0, 0, NULL, 0 };
  return bind_value(s, i, &v, VECDB_STATIC);
}

int vecdb_bind_int64(vecdb_stmt *s, int i, int64_t x){
  struct vdb_value v = { VECDB_INTEGER, x, 0, NULL, 0 };
  return bind_value(s, i, &v, VECDB_STATIC);
}

int vecdb_bind_double(vecdb_stmt *s, int i, double x){
  struct vdb_value v = { VECDB_REAL, 0, x, NULL, 0 };
  return bind_value(s, i, &v, VECDB_STATIC);
}

int vecdb_bind_text(vecdb_stmt *s, int i, const char *z, size_t n_bytes,
                    vecdb_free_fn destroy){
  struct vdb_value v = { VECDB_TEXT, 0, 0, z, n_bytes };
  if( z==NULL ) return vecdb_bind_null(s, i);
  if( n_bytes==(size_t)-1 ) v.n = strlen(z);
  return bind_value(s, i, &v, destroy);
}

int vecdb_bind_blob(vecdb_stmt *s, int i, const void *p, size_t n_bytes,
                    vecdb_free_fn destroy){
  struct vdb_value v = { VECDB_BLOB, 0, 0, p, n_bytes };
  if( p==NULL && n_bytes==0 ) return vecdb_bind_null(s, i);
  if( p==NULL || n_bytes==(size_t)-1 ){
    vecdb *db = stmt_db(s);
    int rc = db_enter(db);
    return rc ? rc : db_leave(db, db_misuse(db, "a blob needs its size"));
  }
  return bind_value(s, i, &v, destroy);
}

int vecdb_bind_vector(vecdb_stmt *s, int i, int element, const void *p,
                      size_t n_bytes, vecdb_free_fn destroy){
  vecdb *db = stmt_db(s);
  int rc;
  if( p==NULL ) return vecdb_bind_null(s, i);
  rc = db_enter(db);
  if( rc!=VECDB_OK ){
    if( destroy!=VECDB_STATIC && destroy!=VECDB_TRANSIENT ){
      destroy((void*)(uintptr_t)p);
    }
    return rc;
  }
  return db_leave(db, vdb_stmt_bind_vector(stmt_of(s), i, element, p, n_bytes,
                                           destroy));
}

int vecdb_bind_vector_text(vecdb_stmt *s, int i, const char *z,
                           size_t n_bytes){
  vecdb *db = stmt_db(s);
  int rc;
  if( z==NULL ) return vecdb_bind_null(s, i);
  if( n_bytes==(size_t)-1 ) n_bytes = strlen(z);
  rc = db_enter(db);
  if( rc!=VECDB_OK ) return rc;
  return db_leave(db, vdb_stmt_bind_json(stmt_of(s), i, z, n_bytes));
}

int vecdb_clear_bindings(vecdb_stmt *s){
  int rc = db_enter(stmt_db(s));
  return rc ? rc : db_leave(stmt_db(s), vdb_stmt_clear_bindings(stmt_of(s)));
}

/* ---- Running ------------------------------------------------------------ */

int vecdb_step(vecdb_stmt *s){
  vecdb *db = stmt_db(s);
  int rc = db_enter(db);
  if( rc!=VECDB_OK ) return rc;
  return db_leave(db, vdb_stmt_step(stmt_of(s)));
}

int vecdb_reset(vecdb_stmt *s){
  vecdb *db = stmt_db(s);
  int rc = db_enter(db);
  if( rc!=VECDB_OK ) return rc;
  return db_leave(db, vdb_stmt_reset(stmt_of(s)));
}

int vecdb_finalize(vecdb_stmt *s){
  vecdb_collection *c = stmt_collection(s);
  vecdb *db;
  int rc;
  if( s==NULL ) return VECDB_OK;
  db = c->db;
  rc = db_enter(db);
  if( rc!=VECDB_OK ) return rc;
  rc = vdb_stmt_destroy(stmt_of(s));
  collection_release(c);
  return db_leave(db, rc);
}

vecdb_collection *vecdb_stmt_collection(vecdb_stmt *s){
  return stmt_collection(s);
}

/* ---- Columns ------------------------------------------------------------ */

static const struct vdb_value column_null = { VECDB_NULL, 0, 0, NULL, 0 };

/* A value of the current row, and as text when `text` is given. */
static const struct vdb_value *row_read(vecdb_stmt *s, int column,
                                         const char **text, size_t *n){
  vecdb *db = stmt_db(s);
  const struct vdb_value *v;
  struct vdb_err before;
  bool had_error;
  if( db_lock(db)!=VECDB_OK ) return &column_null;
  had_error = db->err.rc!=VECDB_OK;         /* rarely, and it is long */
  if( had_error ){
    before = db->err;
    vdb_error_clear(&db->err);
  }
  v = vdb_stmt_column(stmt_of(s), column);
  if( text ) *text = vdb_stmt_column_text(stmt_of(s), column, n);
  if( db->err.rc!=VECDB_OK ) db->rc = db->err.rc;
  else if( had_error ) db->err = before;
  db_unlock(db);
  return v;
}

int vecdb_column_type(vecdb_stmt *s, int column){
  return row_read(s, column, NULL, NULL)->type;
}

int64_t vecdb_column_int64(vecdb_stmt *s, int column){
  const struct vdb_value *v = row_read(s, column, NULL, NULL);
  switch( v->type ){
    case VECDB_INTEGER: case VECDB_BOOLEAN: return v->i;
    case VECDB_REAL: return vdb_real_to_int(v->r);
    case VECDB_TEXT: case VECDB_BLOB: return vdb_text_to_int(v->p, v->n);
    default: return 0;
  }
}

double vecdb_column_double(vecdb_stmt *s, int column){
  const struct vdb_value *v = row_read(s, column, NULL, NULL);
  switch( v->type ){
    case VECDB_INTEGER: case VECDB_BOOLEAN: return (double)v->i;
    case VECDB_REAL: return v->r;
    case VECDB_TEXT: case VECDB_BLOB: return vdb_text_to_real(v->p, v->n);
    default: return 0;
  }
}

const char *vecdb_column_text(vecdb_stmt *s, int column){
  const char *text = NULL;
  size_t n;
  (void)row_read(s, column, &text, &n);
  return text;
}

const void *vecdb_column_blob(vecdb_stmt *s, int column){
  const char *text = NULL;
  size_t n;
  const struct vdb_value *v = row_read(s, column, NULL, NULL);
  if( v->type==VECDB_VECTOR || v->type==VECDB_TEXT || v->type==VECDB_BLOB ){
    return v->n ? v->p : NULL;
  }
  (void)row_read(s, column, &text, &n);
  return text;
}

size_t vecdb_column_bytes(vecdb_stmt *s, int column){
  const char *text = NULL;
  size_t n = 0;
  const struct vdb_value *v = row_read(s, column, NULL, NULL);
  if( v->type==VECDB_VECTOR || v->type==VECDB_TEXT || v->type==VECDB_BLOB ){
    return v->n;
  }
  (void)row_read(s, column, &text, &n);
  return n;
}

const void *vecdb_column_vector(vecdb_stmt *s, int column, size_t *n_bytes){
  const struct vdb_value *v = row_read(s, column, NULL, NULL);
  bool is_vector = v->type==VECDB_VECTOR;
  if( n_bytes ) *n_bytes = is_vector ? v->n : 0;
  return is_vector ? v->p : NULL;
}

int vecdb_column_errcode(vecdb_stmt *s){
  int rc = db_lock(stmt_db(s));
  if( rc!=VECDB_OK ) return rc;
  rc = vdb_stmt_column_rc(stmt_of(s));
  db_unlock(stmt_db(s));
  return rc;
}

double vecdb_row_distance(vecdb_stmt *s){
  double d = NAN;
  if( db_lock(stmt_db(s))!=VECDB_OK ) return d;
  d = vdb_stmt_distance(stmt_of(s));
  db_unlock(stmt_db(s));
  return d;
}

int64_t vecdb_last_key(vecdb *db){
  int64_t key = 0;
  if( db_lock(db)!=VECDB_OK ) return key;
  key = db->ss.last_key;
  db_unlock(db);
  return key;
}

/* ---- Bulk --------------------------------------------------------------- */

int vecdb_put_many(vecdb_collection *c, size_t n,
                   const vecdb_column_data *data, size_t n_data,
                   uint32_t flags, int64_t *first_key){
  vecdb *db = c ? c->db : NULL;
  int64_t key = 0;
  int rc = db_enter(db);
  if( first_key ) *first_key = 0;
  if( rc!=VECDB_OK ) return rc;
  if( (data==NULL && n_data>0)
   || (flags & ~(VECDB_OR_REPLACE|VECDB_OR_IGNORE))
   || flags==(VECDB_OR_REPLACE|VECDB_OR_IGNORE) ){
    return db_leave(db, db_misuse(db, data || n_data==0
                    ? "put: flags are not one of VECDB_OR_REPLACE, "
                      "VECDB_OR_IGNORE" : "put: no data"));
  }
  rc = vdb_batch_put(&db->ss, c->coll, c->schema, n, data, n_data, flags,
                     &key);
  if( first_key ) *first_key = key;
  return db_leave(db, rc);
}

int vecdb_search_many(vecdb_collection *c, const vecdb_search_options *opt,
                      size_t nq, int element, const void *queries,
                      size_t stride, int64_t *keys, float *distances,
                      uint32_t *counts){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  struct batch_search b = { &o, nq, element, queries, stride, keys, distances,
                            counts };
  vecdb *db = c ? c->db : NULL;
  int rc = db_enter(db);
  if( rc!=VECDB_OK ) return rc;
  if( opt ){
    rc = struct_read(db, "vecdb_search_options", opt, &o, sizeof(o));
    if( rc!=VECDB_OK ) return db_leave(db, rc);
  }
  return db_leave(db, vdb_batch_search(&db->ss, c->coll, c->schema, &b));
}

/* ---- Vectors as values -------------------------------------------------- */

size_t vecdb_vector_bytes(int element, size_t dims){
  if( dims==0 || dims>VDB_DIM_MAX ) return 0;
  return vdb_vector_bytes(element, dims);
}

/* p if it is aligned for its elements, else a copy, which *copy owns. */
static const void *vector_aligned(int element, size_t dims, const void *p,
                                  void **copy){
  size_t sz = element==VECDB_F32 ? 4 : element<=VECDB_BF16 ? 2 : 1;
  *copy = NULL;
  if( (uintptr_t)p%sz==0 ) return p;
  return *copy = vdb_memdup(p, vdb_vector_bytes(element, dims));
}

int vecdb_distance(int metric, int element, size_t dims, const void *a,
                   const void *b, double *out){
  void *copy_a = NULL, *copy_b = NULL;
  struct vdb_fpmode fp;
  int rc = VECDB_OK;
  if( out==NULL ) return VECDB_MISUSE;
  *out = 0;
  if( a==NULL || b==NULL ) return VECDB_MISUSE;
  if( dims==0 || dims>VDB_DIM_MAX ) return VECDB_RANGE;
  if( !vdb_metric_fits(metric, element) ) return VECDB_MISMATCH;
  fp = vdb_fpmode_enter();
  a = vector_aligned(element, dims, a, &copy_a);
  b = vector_aligned(element, dims, b, &copy_b);
  if( a==NULL || b==NULL ){
    rc = VECDB_NOMEM;
  }else if( !vdb_is_finite(element, a, dims)
         || !vdb_is_finite(element, b, dims) ){
    rc = VECDB_RANGE;
  }else{
    *out = (double)vdb_distance_or_nan(metric, element, a, b, dims);
  }
  vdb_free(copy_a);
  vdb_free(copy_b);
  vdb_fpmode_leave(fp);
  return rc;
}

/* The sentence of e into the caller's buffer. */
static int sentence_out(const struct vdb_err *e, int rc, char *err,
                        size_t n_err){
  const char *z = rc==VECDB_OK ? "" : e->rc==rc ? vdb_error_text(e)
                                                : vecdb_errstr(rc);
  size_t n = strlen(z);
  if( err==NULL || n_err==0 ) return rc;
  n = vdb_min_sz(n, n_err-1);
  memcpy(err, z, n);
  err[n] = 0;
  return rc;
}

int vecdb_vector_parse(int element, const char *z, size_t n, void *out,
                       size_t cap, size_t *dims, char *err, size_t n_err){
  struct vdb_err e = { VECDB_OK, "" };
  size_t n_dims = 0;
  int rc;
  if( z==NULL ) return sentence_out(&e, VECDB_MISUSE, err, n_err);
  if( n==(size_t)-1 ) n = strlen(z);
  rc = vdb_vecjson_parse(element, z, n, out, cap, &n_dims, &e);
  if( dims ) *dims = n_dims;
  return sentence_out(&e, rc, err, n_err);
}

int vecdb_vector_print(int element, size_t dims, const void *v, char **out){
  struct vdb_str s = VDB_STR_INIT;
  if( out==NULL ) return VECDB_MISUSE;
  *out = NULL;
  if( v==NULL || vdb_vector_bytes(element, 8)==0 ) return VECDB_MISUSE;
  if( dims>VDB_DIM_MAX ) return VECDB_RANGE;
  vdb_vecjson_print(element, dims, v, &s);
  *out = vdb_str_take(&s);
  return *out ? VECDB_OK : VECDB_NOMEM;
}

static bool element_is_float(int element){
  return element==VECDB_F32 || element==VECDB_F16 || element==VECDB_BF16;
}

/* Convert n (at most 64) elements; i is the number of the first. */
static int convert_some(int from, int to, size_t i, size_t n, const char *in,
                        char *out, struct vdb_err *e){
  uint16_t half[64];
  float wide[64];
  size_t sz = vdb_vector_bytes(to, n);
  if( from==VECDB_F32 ){
    memcpy(wide, in, n*4);
  }else{
    memcpy(half, in, n*2);
    vdb_widen(from, half, wide, n);
  }
  if( to==VECDB_F16 ) (void)vdb_f16_from_f32(wide, half, n);
  if( to==VECDB_BF16 ) (void)vdb_bf16_from_f32(wide, half, n);
  memcpy(out, to==VECDB_F32 ? (void*)wide : (void*)half, sz);
  if( vdb_is_finite(to, to==VECDB_F32 ? (void*)wide : (void*)half, n) ){
    return VECDB_OK;
  }
  for(size_t k=0; k<n; k++){
    const void *x = to==VECDB_F32 ? (void*)&wide[k] : (void*)&half[k];
    if( vdb_is_finite(to, x, 1) ) continue;
    return vdb_error(e, VECDB_RANGE, isfinite(wide[k])
                     ? "vector: element %zu, %g, is outside the range of %s"
                     : "vector: element %zu is %g, which %s does not take",
                     i+k, (double)wide[k], vdb_element_name(to));
  }
  return VECDB_OK;
}

int vecdb_vector_convert(int from, int to, size_t dims, const void *in,
                         void *out, char *err, size_t n_err){
  struct vdb_err e = { VECDB_OK, "" };
  int rc = VECDB_OK;
  if( in==NULL || out==NULL ) return sentence_out(&e, VECDB_MISUSE, err, n_err);
  if( !element_is_float(from) || !element_is_float(to) ){
    rc = vdb_error(&e, VECDB_MISMATCH, "cannot convert %s to %s",
                   vdb_element_name(from), vdb_element_name(to));
  }
  for(size_t i=0; i<dims && rc==VECDB_OK; i+=64){
    rc = convert_some(from, to, i, vdb_min_sz(64, dims-i),
                      (const char*)in + i*(from==VECDB_F32 ? 4 : 2),
                      (char*)out + i*(to==VECDB_F32 ? 4 : 2), &e);
  }
  return sentence_out(&e, rc, err, n_err);
}

void vecdb_free(void *p){
  vdb_free(p);
}
