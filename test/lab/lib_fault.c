/* lib_fault.c -- fails the n-th call of a kind. See lib_fault.h. */
#include <stdlib.h>

#include "util/common.h"
#include "pager/format.h"
#include "lab/lib_fault.h"

struct fault {
  struct vecdb_file_ops *ops;
  enum lab_call call;             /* kind that fails */
  enum fault_error error;
  uint64_t n_left;                /* calls until it does; 0: never */
  bool for_ever, is_on;           /* is_on: the time has come */
  enum lab_call first;            /* what failed first */
  uint64_t n_shm_left;            /* calls until shared memory goes bad */
  bool shm_is_bad;
  struct vdb_file *shm;           /* the -shm file below, while it is mapped */
  uint64_t n_fired;
  uint64_t n_call[LAB_N_CALL];
};

const char *const fault_error_name[FAULT_N_ERROR] = { "EIO", "ENOSPC" };

const enum lab_call fault_calls[] = {
  CALL_OPEN, CALL_UNLINK, CALL_RENAME, CALL_SYNC_DIR, CALL_READ, CALL_WRITE,
  CALL_SYNC, CALL_SIZE, CALL_TRUNCATE, CALL_MAP, CALL_LOCK, CALL_SHM_MAP
};
const size_t fault_n_call = sizeof(fault_calls)/sizeof(fault_calls[0]);

int fault_code(enum lab_call call){
  switch( call ){
    case CALL_OPEN:     return VECDB_CANTOPEN;
    case CALL_READ:     return VECDB_IOERR_READ;
    case CALL_SIZE:
    case CALL_EXISTS:
    case CALL_PATH_ID:
    case CALL_ID:       return VECDB_IOERR_READ;
    case CALL_SYNC:     return VECDB_IOERR_SYNC;
    case CALL_SYNC_DIR: return VECDB_IOERR_SYNC;
    case CALL_LOCK:     return VECDB_IOERR_LOCK;
    case CALL_TRUNCATE: return VECDB_IOERR_TRUNCATE;
    case CALL_MAP:      return VECDB_IOERR_MAP;
    case CALL_SHM_MAP:  return VECDB_IOERR_MAP;
    default:            return VECDB_IOERR_WRITE;
  }
}

static bool call_needs_room(const struct lab_event *e){
  return e->call==CALL_WRITE || e->call==CALL_TRUNCATE
      || e->call==CALL_SHM_MAP || e->call==CALL_RENAME
      || (e->call==CALL_OPEN && (e->flags & FILE_CREATE) && !e->existed);
}

static bool call_may_fail(enum lab_call call){
  switch( call ){
    case CALL_CLOSE: case CALL_UNLOCK: case CALL_SHM_LOAD:
    case CALL_SHM_STORE: case CALL_SHM_CAS: case CALL_SLEEP: return false;
    default: return true;
  }
}

/* Is this the call that fails? */
static bool fault_hits(struct fault *f, const struct lab_event *e){
  if( f->call==CALL_ANY ? !call_may_fail(e->call) : e->call!=f->call ){
    return false;
  }
  if( f->error==FAULT_ENOSPC && !call_needs_room(e) ) return false;
  if( f->n_left>0 && --f->n_left==0 ){
    f->is_on = f->for_ever;
    return true;
  }
  return f->is_on;
}

/* The word CHANGE of both copies says that nothing was published. */
static void shm_go_bad(struct fault *f){
  f->shm_is_bad = true;
  f->n_fired++;
  f->first = CALL_SHM_STORE;
  if( f->shm==NULL ) return;
  f->shm->ops->shm_store(f->shm, SHM_HDRA + SHMHDR_CHANGE, 0);
  f->shm->ops->shm_store(f->shm, SHM_HDRB + SHMHDR_CHANGE, 0);
}

static void shm_watch(struct fault *f, const struct lab_event *e){
  if( e->call==CALL_CLOSE && e->lower==f->shm ) f->shm = NULL;
  if( f->n_shm_left>0 && --f->n_shm_left==0 ) shm_go_bad(f);
}

static int fault_before(void *arg, struct lab_event *e){
  struct fault *f = arg;
  int rc;

  f->n_call[e->call]++;
  shm_watch(f, e);
  if( f->shm_is_bad && e->call==CALL_READ ){
    return vdb_error(e->err, VECDB_IOERR_READ, "cannot read \"%s\": injected",
                     e->path);
  }
  if( !fault_hits(f, e) ) return VECDB_OK;
  if( f->n_fired++==0 ) f->first = e->call;
  if( e->call==CALL_WRITE && e->n>1 ){
    e->lower->ops->write(e->lower, e->off, e->buf, e->n/2, NULL);
  }
  rc = f->error==FAULT_ENOSPC ? VECDB_FULL : fault_code(e->call);
  return vdb_error(e->err, rc, "cannot %s \"%s\": injected %s",
                   lab_call_name[e->call], e->path,
                   fault_error_name[f->error]);
}

static void fault_after(void *arg, struct lab_event *e, int rc){
  struct fault *f = arg;
  if( e->call==CALL_SHM_MAP && rc==VECDB_OK ) f->shm = e->lower;
}

void fault_set_shm(struct fault *f, uint64_t n){
  f->n_shm_left = n;
  f->shm_is_bad = false;
  f->n_fired = 0;
}

struct fault *fault_create(const struct vecdb_file_ops *lower){
  struct fault *f = lab_alloc(sizeof(*f));
  struct lab_hook hook = { f, fault_before, fault_after };
  f->ops = lab_layer_create(lower, "fault", &hook);
  return f;
}

void fault_destroy(struct fault *f){
  if( !f ) return;
  lab_layer_destroy(f->ops);
  free(f);
}

const struct vecdb_file_ops *fault_ops(struct fault *f){ return f->ops; }

void fault_set(struct fault *f, enum lab_call call, enum fault_error error,
               uint64_t n, bool for_ever){
  f->call = call;
  f->error = error;
  f->n_left = n;
  f->for_ever = for_ever;
  f->is_on = false;
  f->n_fired = 0;
}

uint64_t fault_fired(const struct fault *f){ return f->n_fired; }
enum lab_call fault_first(const struct fault *f){ return f->first; }
uint64_t fault_count(const struct fault *f, enum lab_call call){
  return f->n_call[call];
}
