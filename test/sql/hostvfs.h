/* hostvfs.h -- a SQLite VFS over a file layer of vecdb, so that the host's
** files and the .vdb live in one simulated world and fail together.
**
** Files are those of the layer. What SQLite's unix VFS does about durability
** is done here too: the folder is synced with the first sync of a new journal
** or log, and on a removal that asks for it. Locks between the connections of
** the process, and the shared memory of WAL mode, are kept in RAM and are gone
** with the world, as after a reboot. One thread.
*/
#ifndef HOSTVFS_H
#define HOSTVFS_H
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pager/file.h"

enum { HOST_N_SHM_LOCK = 8, HOST_N_REGION = 8, HOST_N_NODE = 16 };

struct host_node {               /* what the connections on a path share */
  char path[128];
  int n_open, n_shared, n_shm;
  const void *reserved, *pending, *exclusive;
  void *region[HOST_N_REGION];
  int shm_shared[HOST_N_SHM_LOCK];
  const void *shm_exclusive[HOST_N_SHM_LOCK];
};

struct host_world {
  sqlite3_vfs vfs;               /* first */
  const struct vecdb_file_ops *ops;
  char name[32];
  struct host_node nodes[HOST_N_NODE];
};

struct host_file {
  sqlite3_file base;             /* first */
  struct host_world *w;
  struct vdb_file *f;
  struct host_node *node;
  int lock, flags;
  int sync_folder;               /* with the next sync */
  int has_shm;
};
#define HOST_OPS(h) ((h)->w->ops)

static struct host_node *host_node_of(struct host_world *w, const char *path){
  struct host_node *free_node = NULL;
  for(int i=0; i<HOST_N_NODE; i++){
    struct host_node *n = &w->nodes[i];
    if( n->n_open && strcmp(n->path, path)==0 ) return n;
    if( !n->n_open && !free_node ) free_node = n;
  }
  if( free_node==NULL ) abort();
  memset(free_node, 0, sizeof(*free_node));
  snprintf(free_node->path, sizeof(free_node->path), "%s", path);
  return free_node;
}

static void host_shm_free(struct host_node *n){
  for(int i=0; i<HOST_N_REGION; i++){
    free(n->region[i]);
    n->region[i] = NULL;
  }
}

/* ---- bytes --------------------------------------------------------------- */

static int host_read(sqlite3_file *f, void *p, int n, sqlite3_int64 off){
  struct host_file *h = (struct host_file*)f;
  size_t n_read = 0;
  int rc = HOST_OPS(h)->read(h->f, (uint64_t)off, p, (size_t)n, &n_read, NULL);
  if( rc!=VECDB_OK ) return SQLITE_IOERR_READ;
  if( n_read==(size_t)n ) return SQLITE_OK;
  memset((char*)p + n_read, 0, (size_t)n - n_read);
  return SQLITE_IOERR_SHORT_READ;
}
static int host_write(sqlite3_file *f, const void *p, int n,
                      sqlite3_int64 off){
  struct host_file *h = (struct host_file*)f;
  return HOST_OPS(h)->write(h->f, (uint64_t)off, p, (size_t)n, NULL)
         ==VECDB_OK ? SQLITE_OK : SQLITE_IOERR_WRITE;
}
static int host_truncate(sqlite3_file *f, sqlite3_int64 n){
  struct host_file *h = (struct host_file*)f;
  return HOST_OPS(h)->truncate(h->f, (uint64_t)n, NULL)==VECDB_OK
         ? SQLITE_OK : SQLITE_IOERR_TRUNCATE;
}
static int host_sync(sqlite3_file *f, int flags){
  struct host_file *h = (struct host_file*)f;
  (void)flags;
  if( HOST_OPS(h)->sync(h->f, NULL)!=VECDB_OK ) return SQLITE_IOERR_FSYNC;
  if( h->sync_folder ){
    h->sync_folder = 0;
    HOST_OPS(h)->sync_dir(HOST_OPS(h)->env, h->node->path, NULL);
  }
  return SQLITE_OK;
}
static int host_size(sqlite3_file *f, sqlite3_int64 *n){
  struct host_file *h = (struct host_file*)f;
  uint64_t sz = 0;
  int rc = HOST_OPS(h)->size(h->f, &sz, NULL);
  *n = (sqlite3_int64)sz;
  return rc==VECDB_OK ? SQLITE_OK : SQLITE_IOERR_FSTAT;
}

/* ---- locks --------------------------------------------------------------- */

static int host_unlock(sqlite3_file *f, int lock){
  struct host_file *h = (struct host_file*)f;
  struct host_node *n = h->node;
  if( h->lock>SQLITE_LOCK_SHARED ){
    if( n->reserved==h ) n->reserved = NULL;
    if( n->pending==h ) n->pending = NULL;
    if( n->exclusive==h ) n->exclusive = NULL;
    h->lock = SQLITE_LOCK_SHARED;
  }
  if( lock==SQLITE_LOCK_NONE && h->lock==SQLITE_LOCK_SHARED ){
    n->n_shared--;
    h->lock = SQLITE_LOCK_NONE;
  }
  return SQLITE_OK;
}

static int host_lock(sqlite3_file *f, int lock){
  struct host_file *h = (struct host_file*)f;
  struct host_node *n = h->node;
  if( lock<=h->lock ) return SQLITE_OK;
  if( lock==SQLITE_LOCK_SHARED ){
    if( n->pending || n->exclusive ) return SQLITE_BUSY;
    n->n_shared++;
  }else if( lock==SQLITE_LOCK_RESERVED ){
    if( n->reserved || n->pending ) return SQLITE_BUSY;
    n->reserved = h;
  }else{
    if( n->pending && n->pending!=h ) return SQLITE_BUSY;
    if( n->reserved && n->reserved!=h ) return SQLITE_BUSY;
    n->pending = h;
    h->lock = SQLITE_LOCK_PENDING;
    if( n->n_shared>1 ) return SQLITE_BUSY;
    n->exclusive = h;
  }
  h->lock = lock;
  return SQLITE_OK;
}

static int host_reserved(sqlite3_file *f, int *out){
  struct host_node *n = ((struct host_file*)f)->node;
  *out = n->reserved!=NULL || n->pending!=NULL;
  return SQLITE_OK;
}

/* ---- shared memory of WAL mode ------------------------------------------- */

static int host_shm_map(sqlite3_file *f, int i, int n, int extend,
                        void volatile **out){
  struct host_file *h = (struct host_file*)f;
  if( !h->has_shm ){
    h->has_shm = 1;
    h->node->n_shm++;
  }
  if( i>=HOST_N_REGION ) return SQLITE_IOERR_SHMSIZE;
  if( h->node->region[i]==NULL && extend ){
    h->node->region[i] = calloc(1, (size_t)n);
  }
  *out = h->node->region[i];
  return SQLITE_OK;
}

static int host_shm_lock(sqlite3_file *f, int off, int n, int flags){
  struct host_file *h = (struct host_file*)f;
  struct host_node *node = h->node;
  for(int i=off; i<off+n && (flags & SQLITE_SHM_LOCK); i++){
    if( node->shm_exclusive[i] && node->shm_exclusive[i]!=h ){
      return SQLITE_BUSY;
    }
    if( (flags & SQLITE_SHM_EXCLUSIVE) && node->shm_shared[i] ){
      return SQLITE_BUSY;
    }
  }
  for(int i=off; i<off+n; i++){
    int step = flags & SQLITE_SHM_LOCK ? 1 : -1;
    if( flags & SQLITE_SHM_SHARED ) node->shm_shared[i] += step;
    else node->shm_exclusive[i] = step>0 ? h : NULL;
  }
  return SQLITE_OK;
}
static void host_shm_barrier(sqlite3_file *f){ (void)f; }
static int host_shm_unmap(sqlite3_file *f, int del){
  struct host_file *h = (struct host_file*)f;
  (void)del;
  if( h->has_shm ){
    h->has_shm = 0;
    if( --h->node->n_shm==0 ) host_shm_free(h->node);
  }
  return SQLITE_OK;
}

/* ---- the rest of a file -------------------------------------------------- */

static int host_close(sqlite3_file *f){
  struct host_file *h = (struct host_file*)f;
  host_shm_unmap(f, 0);
  host_unlock(f, SQLITE_LOCK_NONE);
  HOST_OPS(h)->close(h->f);
  if( h->flags & SQLITE_OPEN_DELETEONCLOSE ){
    HOST_OPS(h)->unlink(HOST_OPS(h)->env, h->node->path, NULL);
  }
  h->node->n_open--;
  return SQLITE_OK;
}
static int host_control(sqlite3_file *f, int op, void *arg){
  (void)f; (void)op; (void)arg;
  return SQLITE_NOTFOUND;
}
static int host_sector(sqlite3_file *f){ (void)f; return 512; }
static int host_device(sqlite3_file *f){
  (void)f;
  return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static const sqlite3_io_methods host_methods = {
  .iVersion = 2,
  .xClose = host_close, .xRead = host_read, .xWrite = host_write,
  .xTruncate = host_truncate, .xSync = host_sync, .xFileSize = host_size,
  .xLock = host_lock, .xUnlock = host_unlock,
  .xCheckReservedLock = host_reserved, .xFileControl = host_control,
  .xSectorSize = host_sector, .xDeviceCharacteristics = host_device,
  .xShmMap = host_shm_map, .xShmLock = host_shm_lock,
  .xShmBarrier = host_shm_barrier, .xShmUnmap = host_shm_unmap,
};

/* ---- paths --------------------------------------------------------------- */

static int host_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *f,
                     int flags, int *out_flags){
  struct host_world *w = (struct host_world*)vfs;
  struct host_file *h = (struct host_file*)f;
  unsigned how = flags & SQLITE_OPEN_CREATE ? FILE_CREATE : 0;
  bool existed = false;

  memset(h, 0, sizeof(*h));
  if( path==NULL ) return SQLITE_CANTOPEN;       /* no temporary files */
  if( flags & SQLITE_OPEN_READONLY ) how = FILE_READONLY;
  w->ops->exists(w->ops->env, path, &existed);
  if( w->ops->open(w->ops->env, path, how, &h->f, NULL)!=VECDB_OK ){
    return SQLITE_CANTOPEN;
  }
  h->w = w;
  h->node = host_node_of(w, path);
  h->node->n_open++;
  h->flags = flags;
  h->sync_folder = !existed && (flags & (SQLITE_OPEN_MAIN_JOURNAL
      | SQLITE_OPEN_SUPER_JOURNAL | SQLITE_OPEN_WAL));
  h->base.pMethods = &host_methods;
  if( out_flags ) *out_flags = flags;
  return SQLITE_OK;
}
static int host_delete(sqlite3_vfs *vfs, const char *path, int sync_folder){
  const struct vecdb_file_ops *ops = ((struct host_world*)vfs)->ops;
  int rc = ops->unlink(ops->env, path, NULL);
  if( rc==VECDB_NOTFOUND ) return SQLITE_IOERR_DELETE_NOENT;
  if( rc==VECDB_OK && sync_folder ) rc = ops->sync_dir(ops->env, path, NULL);
  return rc==VECDB_OK ? SQLITE_OK : SQLITE_IOERR_DELETE;
}
/* A file without bytes is no journal: SQLite's own VFS says so, too. */
static int host_access(sqlite3_vfs *vfs, const char *path, int flags,
                       int *out){
  const struct vecdb_file_ops *ops = ((struct host_world*)vfs)->ops;
  bool exists = false;
  struct vdb_file *f = NULL;
  uint64_t sz = 1;

  ops->exists(ops->env, path, &exists);
  if( exists && flags==SQLITE_ACCESS_EXISTS
   && ops->open(ops->env, path, FILE_READONLY, &f, NULL)==VECDB_OK ){
    ops->size(f, &sz, NULL);
    ops->close(f);
  }
  *out = exists && sz>0;
  return SQLITE_OK;
}
static int host_full_path(sqlite3_vfs *vfs, const char *path, int n,
                          char *out){
  (void)vfs;
  sqlite3_snprintf(n, out, "%s", path);
  return SQLITE_OK;
}

/* Register a VFS over ops; its name is w->name. */
static void host_world_begin(struct host_world *w,
                             const struct vecdb_file_ops *ops){
  static int n;
  sqlite3_vfs *real = sqlite3_vfs_find("unix");
  memset(w, 0, sizeof(*w));
  snprintf(w->name, sizeof(w->name), "world%d", n++);
  w->ops = ops;
  w->vfs = *real;                /* clock, randomness, sleep */
  w->vfs.iVersion = 1;
  w->vfs.zName = w->name;
  w->vfs.pNext = NULL;
  w->vfs.szOsFile = (int)sizeof(struct host_file);
  w->vfs.mxPathname = 120;
  w->vfs.xOpen = host_open;
  w->vfs.xDelete = host_delete;
  w->vfs.xAccess = host_access;
  w->vfs.xFullPathname = host_full_path;
  sqlite3_vfs_register(&w->vfs, 0);
}
static void host_world_end(struct host_world *w){
  sqlite3_vfs_unregister(&w->vfs);
  for(int i=0; i<HOST_N_NODE; i++) host_shm_free(&w->nodes[i]);
}
#endif
