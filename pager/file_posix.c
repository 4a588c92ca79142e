/* file_posix.c -- the file layer on a POSIX system; locks are Linux's.
**
** LOCKS    Open-file-description locks (F_OFD_SETLK): they belong to the open
**          file, not to the process, so two connections of one process
**          exclude each other, and closing some other descriptor of the same
**          file releases nothing. They vanish when the last reference to the
**          open file does. A mapping and a descriptor inherited by fork are
**          such references; hence F1 and F2.
**
** INVARIANTS
**   F1  Everything an open file has mapped is unmapped before, or by, close.
**       Otherwise its locks would outlive it.
**   F2  A child of fork holds no reference: mappings are MADV_DONTFORK, and
**       an atfork handler closes every descriptor in the child. (Until the
**       child has run it, locks of a parent that dies linger: a moment.)
**       There the file is an orphan: every call on it returns VECDB_MISUSE,
**       close frees it.
**   F3  Descriptors 0, 1 and 2 are never used for a database: a stray
**       printf() in a program that closed them would write into it.
**   F4  A sync that failed is reported and not tried again: after the first
**       failure the kernel may call the lost pages clean.
**
** ERRORS   ENOSPC, EDQUOT and EFBIG are VECDB_FULL. Otherwise the code says
**          which call failed, the sentence says the rest. EINTR is retried.
**
** NEW FILES   x.vdb-wal and x.vdb-shm get the mode, and from root also the
**          owner, of x.vdb: whoever may use the one can use the others.
*/
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pager/file_posix.h"
#include "util/mem.h"

/* One transfer. Linux moves at most 0x7ffff000 bytes at once anyway. */
#define POSIX_IO_MAX  ((size_t)1<<30)

/* All open files, for the child of a fork. The lock is held across fork. */
static pthread_mutex_t posix_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct posix_file *posix_list;
static pthread_once_t posix_once = PTHREAD_ONCE_INIT;

int vdb_posix_error(struct vdb_err *err, int rc, const char *what,
                    const char *path, int e){
  if( posix_is_full(e) ) rc = VECDB_FULL;
  if( e==ENOMEM ) rc = VECDB_NOMEM;
  return vdb_error(err, rc, "cannot %s \"%s\": %s", what, path, strerror(e));
}

int vdb_posix_error_at(struct vdb_err *err, int rc, const char *what,
                       const struct posix_file *f, uint64_t off, int e){
  if( posix_is_full(e) ) rc = VECDB_FULL;
  return vdb_error(err, rc, "cannot %s \"%s\" at offset %llu: %s", what,
                   f->path, (unsigned long long)off, strerror(e));
}

int vdb_posix_orphan(const struct posix_file *f, struct vdb_err *err){
  return vdb_error(err, VECDB_MISUSE, "cannot use \"%s\": it was opened "
                   "before fork(); open it again in the child", f->path);
}

/* ---- fork (F2) ----------------------------------------------------------- */

void vdb_posix_hold_forks(void){ pthread_mutex_lock(&posix_mutex); }
void vdb_posix_let_forks(void){ pthread_mutex_unlock(&posix_mutex); }

static void posix_in_child(void){
  for(struct posix_file *f=posix_list; f; f=f->next){
    if( f->fd>=0 ) close(f->fd);
    f->fd = -1;
  }
  pthread_mutex_unlock(&posix_mutex);
}

/* Our pid in a page that any kind of fork, also one that runs no handlers,
** gives to the child as zeros: asked for at every transaction, it should not
** be a call of the system each time. NULL: it has to be. */
static int64_t *posix_pid_page;

static void pid_page_create(void){
  size_t n = (size_t)sysconf(_SC_PAGESIZE);
  void *p = mmap(NULL, n, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS,
                 -1, 0);
  if( p==MAP_FAILED ) return;
  if( madvise(p, n, MADV_WIPEONFORK)!=0 ){
    munmap(p, n);
    return;
  }
  __atomic_store_n(&posix_pid_page, p, __ATOMIC_RELEASE);
}

static int64_t posix_pid(void *env){
  int64_t *page = __atomic_load_n(&posix_pid_page, __ATOMIC_ACQUIRE), pid;
  VDB_UNUSED(env);
  if( page==NULL ) return (int64_t)getpid();
  pid = __atomic_load_n(page, __ATOMIC_RELAXED);
  if( pid==0 ){
    pid = (int64_t)getpid();
    __atomic_store_n(page, pid, __ATOMIC_RELAXED);
  }
  return pid;
}

static void posix_watch_forks(void){
  pid_page_create();
  pthread_atfork(vdb_posix_hold_forks, vdb_posix_let_forks, posix_in_child);
}

static void list_add(struct posix_file *f){
  f->next = posix_list;
  f->prev = &posix_list;
  if( posix_list ) posix_list->prev = &f->next;
  posix_list = f;
}

static void list_remove(struct posix_file *f){
  *f->prev = f->next;
  if( f->next ) f->next->prev = f->prev;
}

/* ---- opening ------------------------------------------------------------- */

/* close() is not retried on EINTR: on Linux the descriptor is gone. */
static void fd_close(int fd){
  if( fd>=0 ) close(fd);
}

int vdb_posix_fd_open(const char *path, int oflags, mode_t mode){
  int fd, fd_high, e;
  do{
    fd = open(path, oflags|O_CLOEXEC|O_NOCTTY|O_NONBLOCK, mode);
  }while( fd<0 && errno==EINTR );
  if( fd<0 || fd>2 ) return fd;
  fd_high = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  e = errno;
  close(fd);
  errno = e;
  return fd_high;
}

/* The file that `path` belongs to: "x.vdb" for "x.vdb-wal". */
static bool path_owner_stat(const char *path, struct stat *st){
  const char *dash = strrchr(path, '-');
  char main_path[PATH_MAX];
  size_t n = dash ? (size_t)(dash - path) : 0;

  if( n==0 || n>=sizeof(main_path) || strchr(dash, '/') ) return false;
  memcpy(main_path, path, n);
  main_path[n] = 0;
  return stat(main_path, st)==0 && S_ISREG(st->st_mode);
}

/* A file just created takes after the one it belongs to. That it may not is
** no reason to fail: whoever cannot open it will be told. */
static void file_inherit(int fd, const struct stat *owner){
  if( fchmod(fd, owner->st_mode & 0777) ) return;
  if( geteuid()==0 && fchown(fd, owner->st_uid, owner->st_gid) ) return;
}

/* Create `path`, which was absent a moment ago. EEXIST: not any more. */
static int fd_create(const char *path, int oflags){
  struct stat owner;
  bool has_owner = path_owner_stat(path, &owner);
  mode_t mode = has_owner ? owner.st_mode & 0777 : 0644;
  int fd = vdb_posix_fd_open(path, oflags|O_CREAT|O_EXCL, mode);
  if( fd>=0 && has_owner ) file_inherit(fd, &owner);
  return fd;
}

/* As open() in file.h. Another process may create or remove the file between
** our two attempts, so there are a few rounds of them. */
static int fd_open_or_create(const char *path, unsigned flags){
  int oflags = (flags & FILE_READONLY) ? O_RDONLY : O_RDWR;
  int fd = -1;

  if( flags & FILE_NOFOLLOW ) oflags |= O_NOFOLLOW;
  if( (flags & FILE_CREATE) && (flags & FILE_EXCL) ){
    return fd_create(path, oflags);
  }
  for(int i=0; i<8; i++){
    fd = vdb_posix_fd_open(path, oflags, 0);
    if( fd>=0 || errno!=ENOENT || !(flags & FILE_CREATE) ) break;
    fd = fd_create(path, oflags);
    if( fd>=0 || errno!=EEXIST ) break;
  }
  return fd;
}

/* Writing is denied: is reading allowed, so that READONLY says it all? An
** absent file in a folder that may be searched counts: what keeps it from
** being created is the right to write, too. */
static bool reading_is_allowed(const char *path, int e){
  struct stat st;
  if( e!=EACCES && e!=EROFS && e!=EPERM && e!=ETXTBSY ) return false;
  if( access(path, R_OK)==0 ) return true;
  return stat(path, &st)!=0 && errno==ENOENT;
}

static int open_error(struct vdb_err *err, const char *path, unsigned flags,
                      int e){
  const char *what = (flags & FILE_CREATE) ? "open or create" : "open";
  int rc = VECDB_CANTOPEN;
  if( e==ENOENT && !(flags & FILE_CREATE) ) rc = VECDB_NOTFOUND;
  if( e==EEXIST ) rc = VECDB_EXISTS;
  if( !(flags & FILE_READONLY) && reading_is_allowed(path, e) ){
    rc = VECDB_READONLY;
  }
  return vdb_posix_error(err, rc, what, path, e);
}

static int posix_open(void *env, const char *path, unsigned flags,
                      struct vdb_file **out, struct vdb_err *err){
  struct posix_file *f = NULL;
  size_t n = strlen(path) + 1;
  struct stat st;
  int fd = -1, rc = VECDB_OK;

  VDB_UNUSED(env);
  *out = NULL;
  pthread_once(&posix_once, posix_watch_forks);
  f = vdb_calloc(1, sizeof(*f) + n);
  if( !f ) return VECDB_NOMEM;
  memcpy(f->path, path, n);
  f->base.ops = &vdb_file_posix;
  f->readonly = (flags & FILE_READONLY)!=0;

  pthread_mutex_lock(&posix_mutex);   /* no fork between open and list_add */
  fd = fd_open_or_create(path, flags);
  if( fd<0 ){
    rc = open_error(err, path, flags, errno);
  }else if( fstat(fd, &st)!=0 ){
    rc = vdb_posix_error(err, VECDB_CANTOPEN, "open", path, errno);
  }else if( !S_ISREG(st.st_mode) ){
    rc = vdb_error(err, VECDB_CANTOPEN,
                   "cannot open \"%s\": it is not a regular file", path);
  }else{
    f->fd = fd;
    list_add(f);
    *out = &f->base;
    fd = -1;
    f = NULL;
  }
  fd_close(fd);
  pthread_mutex_unlock(&posix_mutex);
  vdb_free(f);
  return rc;
}

/* ---- reading and writing ------------------------------------------------- */

static int posix_read(struct vdb_file *file, uint64_t off, void *buf, size_t n,
                      size_t *n_read, struct vdb_err *err){
  struct posix_file *f = posix_of(file);
  size_t done = 0;

  *n_read = 0;
  if( f->fd<0 ) return vdb_posix_orphan(f, err);
  while( done<n ){
    ssize_t k = pread(f->fd, (unsigned char*)buf + done,
                      vdb_min_sz(n - done, POSIX_IO_MAX), (off_t)(off + done));
    if( k==0 ) break;
    if( k>0 ){
      done += (size_t)k;
    }else if( errno!=EINTR ){
      return vdb_posix_error_at(err, VECDB_IOERR_READ, "read", f, off + done,
                                errno);
    }
  }
  *n_read = done;
  return VECDB_OK;
}

static int posix_write(struct vdb_file *file, uint64_t off, const void *buf,
                       size_t n, struct vdb_err *err){
  struct posix_file *f = posix_of(file);
  size_t done = 0;

  if( f->fd<0 ) return vdb_posix_orphan(f, err);
  if( f->readonly ){
    return vdb_error(err, VECDB_READONLY, "cannot write \"%s\": it is open "
                     "for reading only", f->path);
  }
  while( done<n ){
    ssize_t k = pwrite(f->fd, (const unsigned char*)buf + done,
                       vdb_min_sz(n - done, POSIX_IO_MAX),
                       (off_t)(off + done));
    if( k>0 ){
      done += (size_t)k;
    }else if( k==0 || errno!=EINTR ){
      return vdb_posix_error_at(err, VECDB_IOERR_WRITE, "write", f, off + done,
                                k==0 ? ENOSPC : errno);
    }
  }
  return VECDB_OK;
}

static int posix_sync(struct vdb_file *file, struct vdb_err *err){
  struct posix_file *f = posix_of(file);
  int e;

  if( f->fd<0 ) return vdb_posix_orphan(f, err);
  do{
    e = fdatasync(f->fd)==0 ? 0 : errno;
  }while( e==EINTR );
  /* Also when the disk is full: what was written may be lost (F4). */
  if( e ) return vdb_error(err, VECDB_IOERR_SYNC, "cannot sync \"%s\": %s",
                           f->path, strerror(e));
  return VECDB_OK;
}

static int posix_size(struct vdb_file *file, uint64_t *out,
                      struct vdb_err *err){
  struct posix_file *f = posix_of(file);
  struct stat st;

  *out = 0;
  if( f->fd<0 ) return vdb_posix_orphan(f, err);
  if( fstat(f->fd, &st)!=0 ){
    return vdb_posix_error(err, VECDB_IOERR_READ, "ask the size of", f->path,
                           errno);
  }
  *out = (uint64_t)st.st_size;
  return VECDB_OK;
}

static int posix_truncate(struct vdb_file *file, uint64_t size,
                          struct vdb_err *err){
  struct posix_file *f = posix_of(file);
  int e;

  if( f->fd<0 ) return vdb_posix_orphan(f, err);
  if( f->readonly ){
    return vdb_error(err, VECDB_READONLY, "cannot truncate \"%s\": it is open "
                     "for reading only", f->path);
  }
  do{
    e = ftruncate(f->fd, (off_t)size)==0 ? 0 : errno;
  }while( e==EINTR );
  if( e ){
    return vdb_posix_error(err, VECDB_IOERR_TRUNCATE, "truncate", f->path, e);
  }
  return VECDB_OK;
}

static int posix_id(struct vdb_file *file, struct file_id *out){
  struct posix_file *f = posix_of(file);
  struct stat st;

  memset(out, 0, sizeof(*out));
  if( f->fd<0 ) return VECDB_MISUSE;
  if( fstat(f->fd, &st)!=0 ) return VECDB_IOERR_READ;
  out->dev = (uint64_t)st.st_dev;
  out->ino = (uint64_t)st.st_ino;
  return VECDB_OK;
}

static int posix_close(struct vdb_file *file){
  struct posix_file *f = posix_of(file);

  vdb_posix_maps_close(f);                                            /* F1 */
  pthread_mutex_lock(&posix_mutex);
  list_remove(f);
  fd_close(f->fd);
  pthread_mutex_unlock(&posix_mutex);
  vdb_free(f);
  return VECDB_OK;
}

/* ---- locks --------------------------------------------------------------- */

/* 0 or errno. */
static int lock_set(struct posix_file *f, uint64_t byte, short type){
  struct flock fl;
  int e;
  memset(&fl, 0, sizeof(fl));          /* l_pid must be 0 for OFD locks */
  fl.l_type = type;
  fl.l_whence = SEEK_SET;
  fl.l_start = (off_t)byte;
  fl.l_len = 1;
  do{
    e = fcntl(f->fd, F_OFD_SETLK, &fl)==0 ? 0 : errno;
  }while( e==EINTR );
  return e;
}

static int posix_lock(struct vdb_file *file, uint64_t byte,
                      enum file_lock_kind kind, int64_t *pid_holder){
  struct posix_file *f = posix_of(file);
  int e;

  if( pid_holder ) *pid_holder = 0;    /* an OFD lock has no pid to ask for */
  if( f->fd<0 ) return VECDB_MISUSE;
  if( kind==LOCK_EXCLUSIVE && f->readonly ) return VECDB_READONLY;
  e = lock_set(f, byte, kind==LOCK_EXCLUSIVE ? F_WRLCK : F_RDLCK);
  if( e==EAGAIN || e==EACCES ) return VECDB_BUSY;
  return e ? VECDB_IOERR_LOCK : VECDB_OK;
}

static int posix_unlock(struct vdb_file *file, uint64_t byte){
  struct posix_file *f = posix_of(file);
  if( f->fd<0 ) return VECDB_MISUSE;
  return lock_set(f, byte, F_UNLCK) ? VECDB_IOERR_LOCK : VECDB_OK;
}

const struct vecdb_file_ops vdb_file_posix = {
  .env = NULL, .name = "posix",
  .open = posix_open, .unlink = vdb_posix_unlink, .rename = vdb_posix_rename,
  .exists = vdb_posix_exists, .path_id = vdb_posix_path_id,
  .sync_dir = vdb_posix_sync_dir, .full_path = vdb_posix_full_path,
  .now_ms = vdb_posix_now_ms, .wall_s = vdb_posix_wall_s,
  .random = vdb_posix_random,
  .sleep_ms = vdb_posix_sleep_ms, .pid = posix_pid,
  .close = posix_close, .read = posix_read, .write = posix_write,
  .sync = posix_sync, .size = posix_size, .truncate = posix_truncate,
  .id = posix_id, .map = vdb_posix_map, .unmap = vdb_posix_unmap,
  .map_whole = vdb_posix_map_whole,
  .lock = posix_lock, .unlock = posix_unlock,
  .shm_map = vdb_posix_shm_map, .shm_load = vdb_posix_shm_load,
  .shm_store = vdb_posix_shm_store, .shm_cas = vdb_posix_shm_cas,
  .shm_barrier = vdb_posix_shm_barrier, .shm_unmap = vdb_posix_shm_unmap
};
