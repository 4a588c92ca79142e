/* lib_layer.c -- forwards every call of the file layer to the one below, and
** tells a hook before and after. */
#include <stdio.h>
#include <stdlib.h>

#include "util/common.h"
#include "util/bytes.h"
#include "lab/lib_layer.h"

struct layer {                    /* what ops.env of a layer points to */
  struct vecdb_file_ops ops;      /* must be first */
  const struct vecdb_file_ops *lower;
  struct lab_hook hook;
};

struct layer_file {
  struct vdb_file base;
  struct layer *layer;
  struct vdb_file *lower;
  char *path;
};

const char *const lab_call_name[LAB_N_CALL] = {
  "open", "unlink", "rename", "exists", "sync_dir", "close", "read", "write",
  "sync", "size", "truncate", "map", "lock", "unlock", "shm_map", "shm_load",
  "shm_store", "shm_cas", "sleep", "path_id", "id"
};

/* ---- helpers of the lab -------------------------------------------------- */

void *lab_grow(void *p, size_t sz){
  p = realloc(p, sz ? sz : 1);
  if( !p ){
    fprintf(stderr, "the lab is out of memory\n");
    abort();
  }
  return p;
}

void *lab_alloc(size_t sz){
  void *p = lab_grow(NULL, sz);
  memset(p, 0, sz);
  return p;
}

char *lab_strdup(const char *z){
  size_t n = strlen(z) + 1;
  char *copy = lab_alloc(n);
  memcpy(copy, z, n);
  return copy;
}

static inline uint64_t hash_fold(uint64_t h, uint64_t v){
  h = (h ^ v) * 0x9e3779b97f4a7c15u;
  return h ^ (h>>32);
}

/* Four lanes, so that the multiplications overlap. */
uint64_t lab_hash(uint64_t h, const void *bytes, size_t n){
  const unsigned char *p = bytes;
  uint64_t a = h, b = ~h, c = h<<1, d = h>>1;
  size_t i = 0;
  for(; i+32<=n; i+=32){
    a = hash_fold(a, get_u64(p+i));
    b = hash_fold(b, get_u64(p+i+8));
    c = hash_fold(c, get_u64(p+i+16));
    d = hash_fold(d, get_u64(p+i+24));
  }
  for(; i<n; i++) a = hash_fold(a, p[i]);
  return hash_fold(hash_fold(hash_fold(hash_fold(a, b), c), d), n);
}

/* ---- forwarding ---------------------------------------------------------- */

static struct layer *layer_of(void *env){ return env; }
static struct layer_file *layer_file_of(struct vdb_file *f){
  return (struct layer_file*)f;
}

static int event_before(struct layer *l, struct lab_event *e){
  return l->hook.before ? l->hook.before(l->hook.arg, e) : VECDB_OK;
}

static int event_after(struct layer *l, struct lab_event *e, int rc){
  if( l->hook.after ) l->hook.after(l->hook.arg, e, rc);
  return rc;
}

static struct lab_event file_event(struct layer_file *f, enum lab_call call){
  struct lab_event e;
  memset(&e, 0, sizeof(e));
  e.call = call;
  e.path = f->path;
  e.lower = f->lower;
  return e;
}

static struct lab_event path_event(enum lab_call call, const char *path,
                                   struct vdb_err *err){
  struct lab_event e;
  memset(&e, 0, sizeof(e));
  e.call = call;
  e.path = path;
  e.err = err;
  return e;
}

/* The call through `expr`, when the hook lets it. */
#define FORWARD(l, e, expr) do{ \
    int rc_ = event_before((l), &(e)); \
    if( rc_==VECDB_OK ) rc_ = (expr); \
    return event_after((l), &(e), rc_); \
  }while(0)

static int layer_open(void *env, const char *path, unsigned flags,
                      struct vdb_file **out, struct vdb_err *err){
  struct layer *l = layer_of(env);
  struct lab_event e = path_event(CALL_OPEN, path, err);
  struct layer_file *f;
  struct vdb_file *lower = NULL;
  int rc;

  *out = NULL;
  e.flags = flags;
  l->lower->exists(l->lower->env, path, &e.existed);
  rc = event_before(l, &e);
  if( rc==VECDB_OK ) rc = l->lower->open(l->lower->env, path, flags, &lower,
                                         err);
  if( rc==VECDB_OK ){
    f = lab_alloc(sizeof(*f));
    f->base.ops = &l->ops;
    f->layer = l;
    f->lower = lower;
    f->path = lab_strdup(path);
    *out = &f->base;
    e.lower = lower;
  }
  return event_after(l, &e, rc);
}

static int layer_unlink(void *env, const char *path, struct vdb_err *err){
  struct layer *l = layer_of(env);
  struct lab_event e = path_event(CALL_UNLINK, path, err);
  FORWARD(l, e, l->lower->unlink(l->lower->env, path, err));
}

static int layer_rename(void *env, const char *from, const char *to,
                        struct vdb_err *err){
  struct layer *l = layer_of(env);
  struct lab_event e = path_event(CALL_RENAME, from, err);
  e.path_to = to;
  FORWARD(l, e, l->lower->rename(l->lower->env, from, to, err));
}

static int layer_exists(void *env, const char *path, bool *out){
  struct layer *l = layer_of(env);
  struct lab_event e = path_event(CALL_EXISTS, path, NULL);
  *out = false;
  FORWARD(l, e, l->lower->exists(l->lower->env, path, out));
}

static int layer_path_id(void *env, const char *path, struct file_id *out){
  struct layer *l = layer_of(env);
  struct lab_event e = path_event(CALL_PATH_ID, path, NULL);
  memset(out, 0, sizeof(*out));
  FORWARD(l, e, l->lower->path_id(l->lower->env, path, out));
}

static int layer_sync_dir(void *env, const char *path, struct vdb_err *err){
  struct layer *l = layer_of(env);
  struct lab_event e = path_event(CALL_SYNC_DIR, path, err);
  FORWARD(l, e, l->lower->sync_dir(l->lower->env, path, err));
}

static int layer_full_path(void *env, const char *path, char **out){
  struct layer *l = layer_of(env);
  return l->lower->full_path(l->lower->env, path, out);
}

static int64_t layer_now_ms(void *env){
  struct layer *l = layer_of(env);
  return l->lower->now_ms(l->lower->env);
}

static int64_t layer_wall_s(void *env){
  struct layer *l = layer_of(env);
  return l->lower->wall_s(l->lower->env);
}

static void layer_random(void *env, void *buf, size_t n){
  struct layer *l = layer_of(env);
  l->lower->random(l->lower->env, buf, n);
}

static void layer_sleep_ms(void *env, unsigned ms){
  struct layer *l = layer_of(env);
  struct lab_event e = path_event(CALL_SLEEP, "", NULL);
  e.n = ms;
  event_before(l, &e);
  l->lower->sleep_ms(l->lower->env, ms);
  event_after(l, &e, VECDB_OK);
}

static int64_t layer_pid(void *env){
  struct layer *l = layer_of(env);
  return l->lower->pid(l->lower->env);
}

static int layer_close(struct vdb_file *file){
  struct layer_file *f = layer_file_of(file);
  struct lab_event e = file_event(f, CALL_CLOSE);
  int rc;
  event_before(f->layer, &e);
  rc = f->lower->ops->close(f->lower);
  e.lower = NULL;
  event_after(f->layer, &e, rc);
  free(f->path);
  free(f);
  return rc;
}

static int layer_read(struct vdb_file *file, uint64_t off, void *buf, size_t n,
                      size_t *n_read, struct vdb_err *err){
  struct layer_file *f = layer_file_of(file);
  struct lab_event e = file_event(f, CALL_READ);
  *n_read = 0;
  e.off = off;
  e.n = n;
  e.err = err;
  FORWARD(f->layer, e,
          f->lower->ops->read(f->lower, off, buf, n, n_read, err));
}

static int layer_write(struct vdb_file *file, uint64_t off, const void *buf,
                       size_t n, struct vdb_err *err){
  struct layer_file *f = layer_file_of(file);
  struct lab_event e = file_event(f, CALL_WRITE);
  e.off = off;
  e.n = n;
  e.buf = buf;
  e.err = err;
  FORWARD(f->layer, e, f->lower->ops->write(f->lower, off, buf, n, err));
}

static int layer_sync(struct vdb_file *file, struct vdb_err *err){
  struct layer_file *f = layer_file_of(file);
  struct lab_event e = file_event(f, CALL_SYNC);
  e.err = err;
  FORWARD(f->layer, e, f->lower->ops->sync(f->lower, err));
}

static int layer_size(struct vdb_file *file, uint64_t *out,
                      struct vdb_err *err){
  struct layer_file *f = layer_file_of(file);
  struct lab_event e = file_event(f, CALL_SIZE);
  *out = 0;
  e.err = err;
  FORWARD(f->layer, e, f->lower->ops->size(f->lower, out, err));
}

static int layer_truncate(struct vdb_file *file, uint64_t size,
                          struct vdb_err *err){
  struct layer_file *f = layer_file_of(file);
  struct lab_event e = file_event(f, CALL_TRUNCATE);
  e.off = size;
  e.err = err;
  FORWARD(f->layer, e, f->lower->ops->truncate(f->lower, size, err));
}

static int layer_id(struct vdb_file *file, struct file_id *out){
  struct layer_file *f = layer_file_of(file);
  struct lab_event e = file_event(f, CALL_ID);
  memset(out, 0, sizeof(*out));
  FORWARD(f->layer, e, f->lower->ops->id(f->lower, out));
}

static int layer_map(struct vdb_file *file, uint64_t off, size_t n,
                     const void **out, struct vdb_err *err){
  struct layer_file *f = layer_file_of(file);
  struct lab_event e = file_event(f, CALL_MAP);
  *out = NULL;
  e.off = off;
  e.n = n;
  e.err = err;
  FORWARD(f->layer, e, f->lower->ops->map(f->lower, off, n, out, err));
}

static void layer_unmap(struct vdb_file *file, const void *p, size_t n){
  struct layer_file *f = layer_file_of(file);
  f->lower->ops->unmap(f->lower, p, n);
}

static int layer_lock(struct vdb_file *file, uint64_t byte,
                      enum file_lock_kind kind, int64_t *pid_holder){
  struct layer_file *f = layer_file_of(file);
  struct lab_event e = file_event(f, CALL_LOCK);
  if( pid_holder ) *pid_holder = 0;
  e.off = byte;
  e.flags = (unsigned)kind;
  FORWARD(f->layer, e,
          f->lower->ops->lock(f->lower, byte, kind, pid_holder));
}

static int layer_unlock(struct vdb_file *file, uint64_t byte){
  struct layer_file *f = layer_file_of(file);
  struct lab_event e = file_event(f, CALL_UNLOCK);
  e.off = byte;
  event_before(f->layer, &e);
  return event_after(f->layer, &e, f->lower->ops->unlock(f->lower, byte));
}

static int layer_shm_map(struct vdb_file *file, size_t n,
                         struct vdb_err *err){
  struct layer_file *f = layer_file_of(file);
  struct lab_event e = file_event(f, CALL_SHM_MAP);
  e.n = n;
  e.err = err;
  FORWARD(f->layer, e, f->lower->ops->shm_map(f->lower, n, err));
}

static uint64_t layer_shm_load(struct vdb_file *file, size_t off){
  struct layer_file *f = layer_file_of(file);
  struct lab_event e = file_event(f, CALL_SHM_LOAD);
  e.off = off;
  event_before(f->layer, &e);
  e.word = f->lower->ops->shm_load(f->lower, off);
  event_after(f->layer, &e, VECDB_OK);
  return e.word;
}

static void layer_shm_store(struct vdb_file *file, size_t off, uint64_t v){
  struct layer_file *f = layer_file_of(file);
  struct lab_event e = file_event(f, CALL_SHM_STORE);
  e.off = off;
  e.word = v;
  event_before(f->layer, &e);
  f->lower->ops->shm_store(f->lower, off, v);
  event_after(f->layer, &e, VECDB_OK);
}

static bool layer_shm_cas(struct vdb_file *file, size_t off, uint64_t old,
                          uint64_t v){
  struct layer_file *f = layer_file_of(file);
  struct lab_event e = file_event(f, CALL_SHM_CAS);
  e.off = off;
  e.word = v;
  e.word_old = old;
  event_before(f->layer, &e);
  e.swapped = f->lower->ops->shm_cas(f->lower, off, old, v);
  event_after(f->layer, &e, VECDB_OK);
  return e.swapped;
}

static void layer_shm_barrier(struct vdb_file *file){
  struct layer_file *f = layer_file_of(file);
  f->lower->ops->shm_barrier(f->lower);
}

static void layer_shm_unmap(struct vdb_file *file){
  struct layer_file *f = layer_file_of(file);
  f->lower->ops->shm_unmap(f->lower);
}

static const struct vecdb_file_ops layer_ops = {
  .open = layer_open, .unlink = layer_unlink, .rename = layer_rename,
  .exists = layer_exists, .path_id = layer_path_id,
  .sync_dir = layer_sync_dir, .full_path = layer_full_path,
  .now_ms = layer_now_ms, .wall_s = layer_wall_s, .random = layer_random,
  .sleep_ms = layer_sleep_ms, .pid = layer_pid,
  .close = layer_close, .read = layer_read, .write = layer_write,
  .sync = layer_sync, .size = layer_size, .truncate = layer_truncate,
  .id = layer_id, .map = layer_map, .unmap = layer_unmap,
  .lock = layer_lock, .unlock = layer_unlock,
  .shm_map = layer_shm_map, .shm_load = layer_shm_load,
  .shm_store = layer_shm_store, .shm_cas = layer_shm_cas,
  .shm_barrier = layer_shm_barrier, .shm_unmap = layer_shm_unmap
};

struct vecdb_file_ops *lab_layer_create(const struct vecdb_file_ops *lower,
                                        const char *name,
                                        const struct lab_hook *hook){
  struct layer *l = lab_alloc(sizeof(*l));
  l->ops = layer_ops;
  l->ops.env = l;
  l->ops.name = name;
  l->lower = lower;
  l->hook = *hook;
  return &l->ops;
}

void lab_layer_destroy(struct vecdb_file_ops *ops){
  if( ops ) free(layer_of(ops->env));
}
