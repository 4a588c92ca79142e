/* file_mem.c -- the file layer in RAM: a world of files, locks, shared memory
** and time of its own.
**
** What it is for: tests. It behaves as file_posix.c does on a POSIX system,
** and adds what a test needs: files can be looked at and set, time stands
** still unless somebody sleeps, randomness follows from the seed, and the
** world can be rebooted.
**
**   files      A node is the file, a name points to it. A node lives until
**              neither a name nor an open file refers to it, so a file may be
**              removed or replaced while open. Folders do not exist: a path
**              is a name. Names are compared byte for byte.
**   locks      belong to the open file, as OFD locks do: two opens exclude
**              each other, close releases its own and no others.
**   shared     the bytes of the node itself, as with mmap: truncating the
**   memory     file empties it, and a new file of the same name is another
**              memory. A reboot empties every file that was ever shared.
**   mappings   see later writes. A buffer that is too small to grow in place
**              is kept beside the new one while it is mapped, and writes go
**              to both (M1).
**   time       starts at 1000 ms and moves only in sleep_ms.
**   process    the pid is always 1.
**
** INVARIANTS
**   M1  Every buffer of a node holds, as far as it reaches, the same bytes as
**       the newest, which holds all of them.
**   M2  Bytes of a buffer beyond the size of the file are zero, so growing
**       the file only moves its end.
**
** Threads  any number, each with files of its own: one mutex per world.
*/
#include <pthread.h>

#include "util/common.h"
#include "util/mem.h"
#include "util/rng.h"
#include "pager/file.h"

struct ram_buffer {                 /* bytes of a node */
  struct ram_buffer *next;          /* older and smaller, or NULL */
  unsigned char *p;
  size_t n_cap;                     /* bytes at p */
  size_t n_map;                     /* mappings that point into it */
};

struct ram_lock {                   /* one byte locked by one open file */
  struct ram_lock *next;
  const struct ram_file *owner;
  uint64_t byte;
  enum file_lock_kind kind;
};

struct ram_node {                   /* a file */
  struct ram_buffer *buf;           /* newest first, NULL: never written */
  size_t sz;                        /* size of the file in bytes */
  struct ram_lock *locks;
  uint64_t ino;                     /* never used twice in a world */
  unsigned n_name, n_open;          /* what keeps it alive: names, opens */
  bool was_shared;                  /* shm_map was called on it */
  size_t sz_max;                    /* what the disk has room for; 0: no end */
};

struct ram_name {                   /* a directory entry */
  struct ram_name *next;
  struct ram_node *node;
  char path[];
};

struct ram_world {
  struct vecdb_file_ops ops;        /* what the user holds; must be first */
  pthread_mutex_t mutex;            /* over everything below */
  struct ram_name *names;
  size_t sz_max;                    /* of nodes to come */
  struct vdb_rng rng;
  uint64_t dev, next_ino;           /* identities of files */
  int64_t now_ms;
  size_t n_open;                    /* open files, for destroy and reboot */
};

struct ram_file {
  struct vdb_file base;
  struct ram_world *world;
  struct ram_node *node;
  size_t sz_shm;                    /* bytes shared, 0: none */
  bool readonly;
};

static struct ram_world *ram_world_of(void *env){ return env; }
static struct ram_file *ram_of(struct vdb_file *f){
  return (struct ram_file*)f;
}
static void ram_enter(struct ram_world *w){ pthread_mutex_lock(&w->mutex); }
static void ram_leave(struct ram_world *w){ pthread_mutex_unlock(&w->mutex); }

/* ---- bytes of a node ----------------------------------------------------- */

static void ram_buffer_free(struct ram_buffer *b){
  vdb_free_aligned(b->p);
  vdb_free(b);
}

/* Drop the older buffers that nobody maps any more. */
static void ram_node_sweep(struct ram_node *n){
  struct ram_buffer **pb;
  if( !n->buf ) return;
  pb = &n->buf->next;
  while( *pb ){
    struct ram_buffer *b = *pb;
    if( b->n_map>0 ){
      pb = &b->next;
    }else{
      *pb = b->next;
      ram_buffer_free(b);
    }
  }
}

/* Room for sz bytes in the newest buffer (M1, M2). */
static int ram_node_reserve(struct ram_node *n, size_t sz){
  size_t n_cap = 4096;
  struct ram_buffer *b;

  if( n->sz_max && sz>n->sz_max ) return VECDB_FULL;
  if( n->buf && n->buf->n_cap>=sz ) return VECDB_OK;
  while( n_cap<sz ){
    if( !vdb_mul_sz(n_cap, 2, &n_cap) ) return VECDB_FULL;
  }
  b = vdb_calloc(1, sizeof(*b));
  if( !b ) return VECDB_NOMEM;
  b->p = vdb_malloc_aligned(n_cap);
  if( !b->p ){
    vdb_free(b);
    return VECDB_NOMEM;
  }
  b->n_cap = n_cap;
  if( n->sz ) memcpy(b->p, n->buf->p, n->sz);
  memset(b->p + n->sz, 0, n_cap - n->sz);
  b->next = n->buf;
  n->buf = b;
  ram_node_sweep(n);
  return VECDB_OK;
}

/* Copy (src NULL: zero) into every buffer; the newest has room. */
static void ram_node_put(struct ram_node *n, size_t off, const void *src,
                         size_t sz){
  for(struct ram_buffer *b=n->buf; b; b=b->next){
    size_t k;
    if( off>=b->n_cap ) continue;
    k = vdb_min_sz(sz, b->n_cap - off);
    if( src ) memcpy(b->p + off, src, k);
    else memset(b->p + off, 0, k);
  }
}

static int ram_node_resize(struct ram_node *n, uint64_t sz){
  int rc = VECDB_OK;
  if( sz>SIZE_MAX/4 ) return VECDB_FULL;
  if( sz>n->sz ) rc = ram_node_reserve(n, (size_t)sz);
  else ram_node_put(n, (size_t)sz, NULL, n->sz - (size_t)sz);      /* M2 */
  if( rc==VECDB_OK ) n->sz = (size_t)sz;
  return rc;
}

/* Free the node when nothing refers to it any more. */
static void ram_node_release(struct ram_node *n){
  if( n->n_name || n->n_open ) return;
  assert( !n->locks );
  while( n->buf ){
    struct ram_buffer *b = n->buf;
    n->buf = b->next;
    ram_buffer_free(b);
  }
  vdb_free(n);
}

/* ---- names --------------------------------------------------------------- */

/* The link that leads to `path`, or to the NULL at the end. */
static struct ram_name **ram_find(struct ram_world *w, const char *path){
  struct ram_name **pn = &w->names;
  while( *pn && strcmp((*pn)->path, path)!=0 ) pn = &(*pn)->next;
  return pn;
}

static struct ram_name *ram_create(struct ram_world *w, const char *path){
  size_t n = strlen(path) + 1;
  struct ram_name *name = vdb_calloc(1, sizeof(*name) + n);
  struct ram_node *node = vdb_calloc(1, sizeof(*node));
  if( !name || !node ){
    vdb_free(name);
    vdb_free(node);
    return NULL;
  }
  memcpy(name->path, path, n);
  node->ino = ++w->next_ino;
  node->sz_max = w->sz_max;
  node->n_name = 1;
  name->node = node;
  name->next = w->names;
  w->names = name;
  return name;
}

static void ram_name_remove(struct ram_name **pn){
  struct ram_name *name = *pn;
  *pn = name->next;
  name->node->n_name--;
  ram_node_release(name->node);
  vdb_free(name);
}

static int ram_open_locked(struct ram_world *w, const char *path,
                           unsigned flags, struct ram_file *f,
                           struct vdb_err *err){
  struct ram_name *name = *ram_find(w, path);

  if( name && (flags & FILE_CREATE) && (flags & FILE_EXCL) ){
    return vdb_error(err, VECDB_EXISTS, "cannot create \"%s\": it exists",
                     path);
  }
  if( !name && !(flags & FILE_CREATE) ){
    return vdb_error(err, VECDB_NOTFOUND, "cannot open \"%s\": there is no "
                     "such file", path);
  }
  if( !name ) name = ram_create(w, path);
  if( !name ) return VECDB_NOMEM;
  f->base.ops = &w->ops;
  f->world = w;
  f->node = name->node;
  f->readonly = (flags & FILE_READONLY)!=0;
  f->node->n_open++;
  w->n_open++;
  return VECDB_OK;
}

static int ram_open(void *env, const char *path, unsigned flags,
                    struct vdb_file **out, struct vdb_err *err){
  struct ram_world *w = ram_world_of(env);
  struct ram_file *f = vdb_calloc(1, sizeof(*f));
  int rc;

  *out = NULL;
  if( !f ) return VECDB_NOMEM;
  ram_enter(w);
  rc = ram_open_locked(w, path, flags, f, err);
  ram_leave(w);
  if( rc!=VECDB_OK ){
    vdb_free(f);
    return rc;
  }
  *out = &f->base;
  return VECDB_OK;
}

static int ram_unlink(void *env, const char *path, struct vdb_err *err){
  struct ram_world *w = ram_world_of(env);
  struct ram_name **pn;
  int rc = VECDB_NOTFOUND;
  VDB_UNUSED(err);
  ram_enter(w);
  pn = ram_find(w, path);
  if( *pn ){
    ram_name_remove(pn);
    rc = VECDB_OK;
  }
  ram_leave(w);
  return rc;
}

static int ram_rename_locked(struct ram_world *w, const char *from,
                             const char *to, struct vdb_err *err){
  size_t n = strlen(to) + 1;
  struct ram_name *old = *ram_find(w, from);
  struct ram_name *name, **pn;

  if( !old ){
    return vdb_error(err, VECDB_NOTFOUND, "cannot rename \"%s\" to \"%s\": "
                     "there is no such file", from, to);
  }
  if( strcmp(from, to)==0 ) return VECDB_OK;
  name = vdb_calloc(1, sizeof(*name) + n);
  if( !name ) return VECDB_NOMEM;
  memcpy(name->path, to, n);
  name->node = old->node;
  name->node->n_name++;
  ram_name_remove(ram_find(w, from));
  pn = ram_find(w, to);
  if( *pn ) ram_name_remove(pn);
  name->next = w->names;
  w->names = name;
  return VECDB_OK;
}

static int ram_rename(void *env, const char *from, const char *to,
                      struct vdb_err *err){
  struct ram_world *w = ram_world_of(env);
  int rc;
  ram_enter(w);
  rc = ram_rename_locked(w, from, to, err);
  ram_leave(w);
  return rc;
}

static int ram_exists(void *env, const char *path, bool *out){
  struct ram_world *w = ram_world_of(env);
  ram_enter(w);
  *out = *ram_find(w, path)!=NULL;
  ram_leave(w);
  return VECDB_OK;
}

static void ram_node_id(const struct ram_world *w, const struct ram_node *n,
                        struct file_id *out){
  out->dev = w->dev;
  out->ino = n ? n->ino : 0;
}

static int ram_path_id(void *env, const char *path, struct file_id *out){
  struct ram_world *w = ram_world_of(env);
  struct ram_name *name;
  ram_enter(w);
  name = *ram_find(w, path);
  ram_node_id(w, name ? name->node : NULL, out);
  ram_leave(w);
  return name ? VECDB_OK : VECDB_NOTFOUND;
}

static int ram_sync_dir(void *env, const char *path, struct vdb_err *err){
  VDB_UNUSED(env); VDB_UNUSED(path); VDB_UNUSED(err);
  return VECDB_OK;
}

static int ram_full_path(void *env, const char *path, char **out){
  VDB_UNUSED(env);
  *out = vdb_strdup(path);
  return *out ? VECDB_OK : VECDB_NOMEM;
}

/* ---- clock, randomness, process ------------------------------------------ */

static int64_t ram_now_ms(void *env){
  struct ram_world *w = ram_world_of(env);
  int64_t now;
  ram_enter(w);
  now = w->now_ms;
  ram_leave(w);
  return now;
}

static int64_t ram_wall_s(void *env){
  return 1700000000 + ram_now_ms(env)/1000;
}

static void ram_random(void *env, void *buf, size_t n){
  struct ram_world *w = ram_world_of(env);
  unsigned char *p = buf;
  ram_enter(w);
  for(size_t i=0; i<n; i++) p[i] = (unsigned char)(vdb_rng_u64(&w->rng) >> 32);
  ram_leave(w);
}

static void ram_sleep_ms(void *env, unsigned ms){
  struct ram_world *w = ram_world_of(env);
  ram_enter(w);
  w->now_ms += ms;
  ram_leave(w);
}

static int64_t ram_pid(void *env){
  VDB_UNUSED(env);
  return 1;
}

/* ---- one open file ------------------------------------------------------- */

static int ram_refuse_write(const struct ram_file *f, struct vdb_err *err){
  if( !f->readonly ) return VECDB_OK;
  return vdb_error(err, VECDB_READONLY, "cannot write: the file is open for "
                   "reading only");
}

static int ram_full(struct vdb_err *err, int rc){
  return rc==VECDB_FULL ? vdb_error(err, rc, "cannot write: the file would be "
                                    "too large") : rc;
}

static int ram_read(struct vdb_file *file, uint64_t off, void *buf, size_t n,
                    size_t *n_read, struct vdb_err *err){
  struct ram_file *f = ram_of(file);
  struct ram_node *node = f->node;
  size_t k = 0;

  VDB_UNUSED(err);
  ram_enter(f->world);
  if( off<node->sz ){
    k = vdb_min_sz(n, node->sz - (size_t)off);
    memcpy(buf, node->buf->p + off, k);
  }
  ram_leave(f->world);
  *n_read = k;
  return VECDB_OK;
}

static int ram_write(struct vdb_file *file, uint64_t off, const void *buf,
                     size_t n, struct vdb_err *err){
  struct ram_file *f = ram_of(file);
  struct ram_node *node = f->node;
  int rc = ram_refuse_write(f, err);

  if( rc!=VECDB_OK || n==0 ) return rc;
  if( off>SIZE_MAX/4 || n>SIZE_MAX/4 ) return ram_full(err, VECDB_FULL);
  ram_enter(f->world);
  rc = ram_node_reserve(node, (size_t)off + n);
  if( rc==VECDB_OK ){
    ram_node_put(node, (size_t)off, buf, n);
    node->sz = vdb_max_sz(node->sz, (size_t)off + n);
  }
  ram_leave(f->world);
  return ram_full(err, rc);
}

static int ram_sync(struct vdb_file *file, struct vdb_err *err){
  VDB_UNUSED(file); VDB_UNUSED(err);
  return VECDB_OK;
}

static int ram_size(struct vdb_file *file, uint64_t *out, struct vdb_err *err){
  struct ram_file *f = ram_of(file);
  VDB_UNUSED(err);
  ram_enter(f->world);
  *out = f->node->sz;
  ram_leave(f->world);
  return VECDB_OK;
}

static int ram_truncate(struct vdb_file *file, uint64_t size,
                        struct vdb_err *err){
  struct ram_file *f = ram_of(file);
  int rc = ram_refuse_write(f, err);
  if( rc!=VECDB_OK ) return rc;
  ram_enter(f->world);
  rc = ram_node_resize(f->node, size);
  ram_leave(f->world);
  return ram_full(err, rc);
}

static int ram_id(struct vdb_file *file, struct file_id *out){
  struct ram_file *f = ram_of(file);
  ram_node_id(f->world, f->node, out);
  return VECDB_OK;
}

static int ram_map(struct vdb_file *file, uint64_t off, size_t n,
                   const void **out, struct vdb_err *err){
  struct ram_file *f = ram_of(file);
  struct ram_node *node = f->node;
  int rc = VECDB_OK;

  *out = NULL;
  ram_enter(f->world);
  if( n==0 || off>node->sz || n>node->sz - off ){
    rc = vdb_error(err, VECDB_IOERR_MAP, "cannot map %zu bytes at offset %llu:"
                   " the file has %zu", n, (unsigned long long)off, node->sz);
  }else{
    node->buf->n_map++;
    *out = node->buf->p + off;
  }
  ram_leave(f->world);
  return rc;
}

static void ram_unmap(struct vdb_file *file, const void *p, size_t n){
  struct ram_file *f = ram_of(file);
  const unsigned char *q = p;
  struct ram_buffer *b;

  VDB_UNUSED(n);
  ram_enter(f->world);
  for(b=f->node->buf; b; b=b->next){
    if( q>=b->p && q<b->p + b->n_cap ) break;
  }
  assert( b && b->n_map>0 );
  if( b ) b->n_map--;
  ram_node_sweep(f->node);
  ram_leave(f->world);
}

/* ---- locks --------------------------------------------------------------- */

/* The link to this file's own lock on `byte`, or to the NULL at the end. */
static struct ram_lock **ram_lock_find(struct ram_file *f, uint64_t byte){
  struct ram_lock **pl = &f->node->locks;
  while( *pl && ((*pl)->owner!=f || (*pl)->byte!=byte) ) pl = &(*pl)->next;
  return pl;
}

static bool ram_lock_conflicts(const struct ram_file *f, uint64_t byte,
                               enum file_lock_kind kind){
  for(const struct ram_lock *l=f->node->locks; l; l=l->next){
    if( l->owner!=f && l->byte==byte
     && (kind==LOCK_EXCLUSIVE || l->kind==LOCK_EXCLUSIVE) ) return true;
  }
  return false;
}

static int ram_lock_locked(struct ram_file *f, uint64_t byte,
                           enum file_lock_kind kind){
  struct ram_lock *l;
  if( ram_lock_conflicts(f, byte, kind) ) return VECDB_BUSY;
  l = *ram_lock_find(f, byte);
  if( !l ){
    l = vdb_calloc(1, sizeof(*l));
    if( !l ) return VECDB_NOMEM;
    l->owner = f;
    l->byte = byte;
    l->next = f->node->locks;
    f->node->locks = l;
  }
  l->kind = kind;
  return VECDB_OK;
}

static int ram_lock(struct vdb_file *file, uint64_t byte,
                    enum file_lock_kind kind, int64_t *pid_holder){
  struct ram_file *f = ram_of(file);
  int rc;
  if( pid_holder ) *pid_holder = 0;
  if( kind==LOCK_EXCLUSIVE && f->readonly ) return VECDB_READONLY;
  ram_enter(f->world);
  rc = ram_lock_locked(f, byte, kind);
  ram_leave(f->world);
  return rc;
}

static void ram_lock_drop(struct ram_lock **pl){
  struct ram_lock *l = *pl;
  *pl = l->next;
  vdb_free(l);
}

static int ram_unlock(struct vdb_file *file, uint64_t byte){
  struct ram_file *f = ram_of(file);
  struct ram_lock **pl;
  ram_enter(f->world);
  pl = ram_lock_find(f, byte);
  if( *pl ) ram_lock_drop(pl);
  ram_leave(f->world);
  return VECDB_OK;
}

static int ram_close(struct vdb_file *file){
  struct ram_file *f = ram_of(file);
  struct ram_world *w = f->world;
  struct ram_lock **pl;

  ram_enter(w);
  pl = &f->node->locks;
  while( *pl ){
    if( (*pl)->owner==f ) ram_lock_drop(pl);
    else pl = &(*pl)->next;
  }
  f->node->n_open--;
  ram_node_release(f->node);
  w->n_open--;
  ram_leave(w);
  vdb_free(f);
  return VECDB_OK;
}

/* ---- shared memory ------------------------------------------------------- */

static int ram_shm_map(struct vdb_file *file, size_t n, struct vdb_err *err){
  struct ram_file *f = ram_of(file);
  int rc = VECDB_OK;
  if( f->readonly ){
    return vdb_error(err, VECDB_READONLY, "cannot share memory: the file may "
                     "only be read");
  }
  ram_enter(f->world);
  if( f->node->sz<n ) rc = ram_node_resize(f->node, n);
  if( rc==VECDB_OK ){
    f->node->was_shared = true;
    f->sz_shm = vdb_max_sz(f->sz_shm, n);
  }
  ram_leave(f->world);
  return ram_full(err, rc);
}

/* On a POSIX system, touching a word that the file has no longer got is
** SIGBUS; here it is an assertion. */
static unsigned char *ram_word(struct ram_file *f, size_t off){
  assert( off%8==0 && off + 8<=f->sz_shm && off + 8<=f->node->sz );
  return f->node->buf->p + off;
}

static uint64_t ram_shm_load(struct vdb_file *file, size_t off){
  struct ram_file *f = ram_of(file);
  uint64_t v;
  ram_enter(f->world);
  memcpy(&v, ram_word(f, off), 8);
  ram_leave(f->world);
  return v;
}

static void ram_shm_store(struct vdb_file *file, size_t off, uint64_t v){
  struct ram_file *f = ram_of(file);
  ram_enter(f->world);
  memcpy(ram_word(f, off), &v, 8);
  ram_leave(f->world);
}

static bool ram_shm_cas(struct vdb_file *file, size_t off, uint64_t old,
                        uint64_t v){
  struct ram_file *f = ram_of(file);
  uint64_t now;
  ram_enter(f->world);
  memcpy(&now, ram_word(f, off), 8);
  if( now==old ) memcpy(ram_word(f, off), &v, 8);
  ram_leave(f->world);
  return now==old;
}

/* Every access holds the mutex, which is barrier enough. */
static void ram_shm_barrier(struct vdb_file *file){ VDB_UNUSED(file); }
static void ram_shm_unmap(struct vdb_file *file){ ram_of(file)->sz_shm = 0; }

/* ---- the world ----------------------------------------------------------- */

static const struct vecdb_file_ops ram_ops = {
  .name = "mem",
  .open = ram_open, .unlink = ram_unlink, .rename = ram_rename,
  .exists = ram_exists, .path_id = ram_path_id, .sync_dir = ram_sync_dir,
  .full_path = ram_full_path,
  .now_ms = ram_now_ms, .wall_s = ram_wall_s, .random = ram_random,
  .sleep_ms = ram_sleep_ms, .pid = ram_pid,
  .close = ram_close, .read = ram_read, .write = ram_write, .sync = ram_sync,
  .size = ram_size, .truncate = ram_truncate, .id = ram_id,
  .map = ram_map, .unmap = ram_unmap, .lock = ram_lock, .unlock = ram_unlock,
  .shm_map = ram_shm_map, .shm_load = ram_shm_load,
  .shm_store = ram_shm_store, .shm_cas = ram_shm_cas,
  .shm_barrier = ram_shm_barrier, .shm_unmap = ram_shm_unmap
};

int vdb_file_mem_create(uint64_t seed, struct vecdb_file_ops **out){
  struct ram_world *w = vdb_calloc(1, sizeof(*w));
  *out = NULL;
  if( !w ) return VECDB_NOMEM;
  w->ops = ram_ops;
  w->ops.env = w;
  w->dev = vdb_mix64(seed);
  w->now_ms = 1000;
  vdb_rng_init(&w->rng, seed);
  pthread_mutex_init(&w->mutex, NULL);
  *out = &w->ops;
  return VECDB_OK;
}

void vdb_file_mem_limit(struct vecdb_file_ops *ops, size_t sz){
  struct ram_world *w = (struct ram_world*)(void*)ops;
  ram_enter(w);
  w->sz_max = sz;
  for(struct ram_name *n=w->names; n; n=n->next) n->node->sz_max = sz;
  ram_leave(w);
}

void vdb_file_mem_destroy(struct vecdb_file_ops *ops){
  struct ram_world *w;
  if( !ops ) return;
  w = ram_world_of(ops->env);
  assert( w->n_open==0 );
  while( w->names ) ram_name_remove(&w->names);
  pthread_mutex_destroy(&w->mutex);
  vdb_free(w);
}

int vdb_file_mem_peek(struct vecdb_file_ops *ops, const char *path,
                      const unsigned char **p, size_t *n){
  struct ram_world *w = ram_world_of(ops->env);
  struct ram_name *name;

  *p = NULL;
  *n = 0;
  ram_enter(w);
  name = *ram_find(w, path);
  if( name ){
    *p = name->node->buf ? name->node->buf->p : (const unsigned char*)"";
    *n = name->node->sz;
  }
  ram_leave(w);
  return name ? VECDB_OK : VECDB_NOTFOUND;
}

int vdb_file_mem_poke(struct vecdb_file_ops *ops, const char *path,
                      const unsigned char *p, size_t n){
  struct ram_world *w = ram_world_of(ops->env);
  struct ram_name *name;
  int rc = VECDB_OK;

  ram_enter(w);
  name = *ram_find(w, path);
  if( !name ) name = ram_create(w, path);
  if( !name ) rc = VECDB_NOMEM;
  if( rc==VECDB_OK ) rc = ram_node_resize(name->node, n);
  if( rc==VECDB_OK && n>0 ) ram_node_put(name->node, 0, p, n);
  ram_leave(w);
  return rc;
}

void vdb_file_mem_reboot(struct vecdb_file_ops *ops){
  struct ram_world *w = ram_world_of(ops->env);
  ram_enter(w);
  assert( w->n_open==0 );
  for(struct ram_name *name=w->names; name; name=name->next){
    if( name->node->was_shared ) ram_node_resize(name->node, 0);
    name->node->was_shared = false;
  }
  ram_leave(w);
}
