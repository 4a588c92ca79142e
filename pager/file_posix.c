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
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "util/common.h"
#include "util/mem.h"
#include "pager/file.h"

/* One transfer. Linux moves at most 0x7ffff000 bytes at once anyway. */
#define POSIX_IO_MAX  ((size_t)1<<30)

struct posix_map {                  /* one live mapping of a file */
  struct posix_map *next;
  void  *base;                      /* page aligned */
  size_t n;                         /* bytes from base */
};

struct posix_file {
  struct vdb_file base;
  struct posix_file *next, **prev;  /* in posix_list */
  struct posix_map *maps;           /* read-only ones */
  unsigned char *shm;               /* shared memory, NULL: not mapped */
  size_t sz_shm;                    /* bytes at shm */
  int  fd;                          /* -1: an orphan (F2) */
  bool readonly;
  char path[];                      /* as given, for messages */
};

/* All open files, for the child of a fork. The lock is held across fork. */
static pthread_mutex_t posix_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct posix_file *posix_list;
static pthread_once_t posix_once = PTHREAD_ONCE_INIT;

static struct posix_file *posix_of(struct vdb_file *f){
  return (struct posix_file*)f;
}

static bool errno_is_full(int e){
  return e==ENOSPC || e==EDQUOT || e==EFBIG;
}

/* The call that was to `what` failed with errno e; rc when the disk is not
** full. */
static int posix_error(struct vdb_err *err, int rc, const char *what,
                       const char *path, int e){
  if( errno_is_full(e) ) rc = VECDB_FULL;
  if( e==ENOMEM ) rc = VECDB_NOMEM;
  return vdb_error(err, rc, "cannot %s \"%s\": %s", what, path, strerror(e));
}

static int posix_error_at(struct vdb_err *err, int rc, const char *what,
                          const struct posix_file *f, uint64_t off, int e){
  if( errno_is_full(e) ) rc = VECDB_FULL;
  return vdb_error(err, rc, "cannot %s \"%s\" at offset %llu: %s", what,
                   f->path, (unsigned long long)off, strerror(e));
}

static int posix_orphan(const struct posix_file *f, struct vdb_err *err){
  return vdb_error(err, VECDB_MISUSE, "cannot use \"%s\": it was opened "
                   "before fork(); open it again in the child", f->path);
}

/* ---- fork (F2) ----------------------------------------------------------- */

static void posix_before_fork(void){ pthread_mutex_lock(&posix_mutex); }
static void posix_in_parent(void){ pthread_mutex_unlock(&posix_mutex); }

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

static void posix_watch_forks(void){
  pid_page_create();
  pthread_atfork(posix_before_fork, posix_in_parent, posix_in_child);
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

/* open(2) until it is not interrupted, and not on 0..2 (F3). -1: errno. */
static int fd_open(const char *path, int oflags, mode_t mode){
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
  int fd = fd_open(path, oflags|O_CREAT|O_EXCL, mode);
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
    fd = fd_open(path, oflags, 0);
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
  return posix_error(err, rc, what, path, e);
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
    rc = posix_error(err, VECDB_CANTOPEN, "open", path, errno);
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

/* ---- mappings ------------------------------------------------------------ */

static size_t os_page_size(void){
  long sz = sysconf(_SC_PAGESIZE);
  return VDB_ALWAYS(sz>0) ? (size_t)sz : 4096;      /* every system says so */
}

/* mmap that no child inherits. MAP_FAILED: errno. */
static void *map_shared(int fd, uint64_t off, size_t n, int prot){
  void *p = MAP_FAILED;
  pthread_mutex_lock(&posix_mutex);            /* no fork in between (F2) */
  p = mmap(NULL, n, prot, MAP_SHARED, fd, (off_t)off);
  if( p!=MAP_FAILED && madvise(p, n, MADV_DONTFORK)!=0 ){
    int e = errno;
    munmap(p, n);
    errno = e;
    p = MAP_FAILED;
  }
  pthread_mutex_unlock(&posix_mutex);
  return p;
}

/* In an orphan the address may hold something else by now. */
static void map_release(const struct posix_file *f, void *p, size_t n){
  if( f->fd>=0 ) munmap(p, n);
}

static int map_error(struct posix_file *f, uint64_t off, int e,
                     struct vdb_err *err){
  if( e==ENODEV || e==EACCES || e==EPERM ) return VECDB_UNSUPPORTED;
  if( e==ENOMEM ){
    return vdb_error(err, VECDB_NOMEM, "cannot map \"%s\": %s", f->path,
                     strerror(e));
  }
  return posix_error_at(err, VECDB_IOERR_MAP, "map", f, off, e);
}

static int posix_map(struct vdb_file *file, uint64_t off, size_t n,
                     const void **out, struct vdb_err *err){
  struct posix_file *f = posix_of(file);
  size_t skip = (size_t)(off % os_page_size());
  struct posix_map *m = NULL;
  struct stat st;
  void *p;

  *out = NULL;
  if( f->fd<0 ) return posix_orphan(f, err);
  if( fstat(f->fd, &st)!=0 ) return map_error(f, off, errno, err);
  if( n==0 || off>(uint64_t)st.st_size || n>(uint64_t)st.st_size - off ){
    return vdb_error(err, VECDB_IOERR_MAP, "cannot map %zu bytes of \"%s\" at "
                     "offset %llu: the file has %llu", n, f->path,
                     (unsigned long long)off, (unsigned long long)st.st_size);
  }
  m = vdb_malloc(sizeof(*m));
  if( !m ) return VECDB_NOMEM;
  p = map_shared(f->fd, off - skip, n + skip, PROT_READ);
  if( p==MAP_FAILED ){
    int e = errno;
    vdb_free(m);
    return map_error(f, off, e, err);
  }
  m->base = p;
  m->n = n + skip;
  m->next = f->maps;
  f->maps = m;
  *out = (const unsigned char*)p + skip;
  return VECDB_OK;
}

static void posix_unmap(struct vdb_file *file, const void *p, size_t n){
  struct posix_file *f = posix_of(file);
  size_t skip = (size_t)((uintptr_t)p % os_page_size());
  const unsigned char *base = (const unsigned char*)p - skip;

  for(struct posix_map **pp=&f->maps; *pp; pp=&(*pp)->next){
    struct posix_map *m = *pp;
    if( m->base!=base || m->n!=n + skip ) continue;
    *pp = m->next;
    map_release(f, m->base, m->n);
    vdb_free(m);
    return;
  }
  assert( !"unmap of what was not mapped" );
}

/* ---- shared memory ------------------------------------------------------- */

/* Make the file at least n bytes long, with blocks behind them: a page of a
** mapping that the disk has no room for is SIGBUS. Two processes may do this
** at once; neither shortens it. */
static int shm_reserve(struct posix_file *f, size_t n, struct vdb_err *err){
  struct stat st;
  int e = 0;
  if( fstat(f->fd, &st)!=0 ) e = errno;
  if( e==0 && (uint64_t)st.st_size<n ){
    do{
      e = posix_fallocate(f->fd, 0, (off_t)n);
    }while( e==EINTR );
    if( (e==EINVAL || e==EOPNOTSUPP) && ftruncate(f->fd, (off_t)n)==0 ) e = 0;
  }
  return e ? posix_error(err, VECDB_IOERR_WRITE, "extend", f->path, e)
           : VECDB_OK;
}

static void posix_shm_unmap(struct vdb_file *file){
  struct posix_file *f = posix_of(file);
  if( f->shm ) map_release(f, f->shm, f->sz_shm);
  f->shm = NULL;
  f->sz_shm = 0;
}

static int posix_shm_map(struct vdb_file *file, size_t n, struct vdb_err *err){
  struct posix_file *f = posix_of(file);
  void *p;
  int rc;

  if( f->fd<0 ) return posix_orphan(f, err);
  if( f->shm && f->sz_shm>=n ) return VECDB_OK;
  if( f->readonly ){
    return vdb_error(err, VECDB_READONLY, "cannot share memory in \"%s\": it "
                     "may only be read", f->path);
  }
  rc = shm_reserve(f, n, err);
  if( rc!=VECDB_OK ) return rc;
  p = map_shared(f->fd, 0, n, PROT_READ|PROT_WRITE);
  if( p==MAP_FAILED ) return map_error(f, 0, errno, err);
  posix_shm_unmap(file);
  f->shm = p;
  f->sz_shm = n;
  return VECDB_OK;
}

/* Aligned 8-byte words are lock-free atomics on every machine we run on, and
** those work between processes. */
static _Atomic uint64_t *shm_word(struct vdb_file *file, size_t off){
  struct posix_file *f = posix_of(file);
  assert( f->shm && off%8==0 && off + 8<=f->sz_shm );
  return (_Atomic uint64_t*)(void*)(f->shm + off);
}

static uint64_t posix_shm_load(struct vdb_file *file, size_t off){
  return atomic_load(shm_word(file, off));
}

static void posix_shm_store(struct vdb_file *file, size_t off, uint64_t v){
  atomic_store(shm_word(file, off), v);
}

static bool posix_shm_cas(struct vdb_file *file, size_t off, uint64_t old,
                          uint64_t v){
  return atomic_compare_exchange_strong(shm_word(file, off), &old, v);
}

static void posix_shm_barrier(struct vdb_file *file){
  VDB_UNUSED(file);
  atomic_thread_fence(memory_order_seq_cst);
}

/* ---- hints ------------------------------------------------------------------
** Pages of a file that faults bring in one by one stay single pages: each has
** to be mapped by itself, and translated by itself in every search since. With
** MADV_HUGEPAGE they come two megabytes at a time, in one piece, which is also
** how disks like it. But a piece is not made where one of its pages is there
** already: who reads a page with read() first has it brought by a fault.
** Where pages do not fit into memory, pieces would push each other out. */

#define WHOLE_SHARE  8             /* of the machine's memory: 1/8 */

static bool posix_map_whole(struct vdb_file *file, const void *p, size_t n){
  size_t skip = (size_t)((uintptr_t)p % os_page_size());
  long n_page = sysconf(_SC_PHYS_PAGES);

  VDB_UNUSED(file);
  if( n_page<=0 || n/os_page_size()>(size_t)n_page/WHOLE_SHARE ) return false;
  return madvise((char*)(uintptr_t)p - skip, n + skip, MADV_HUGEPAGE)==0;
}

static void posix_map_bring(struct vdb_file *file, const void *p, size_t n){
  size_t skip = (size_t)((uintptr_t)p % os_page_size());
  VDB_UNUSED(file);
#if defined(MADV_POPULATE_READ)
  (void)madvise((char*)(uintptr_t)p - skip, n + skip, MADV_POPULATE_READ);
#else
  VDB_UNUSED(skip);
  VDB_UNUSED(n);
#endif
}

/* ---- reading and writing ------------------------------------------------- */

static int posix_read(struct vdb_file *file, uint64_t off, void *buf, size_t n,
                      size_t *n_read, struct vdb_err *err){
  struct posix_file *f = posix_of(file);
  size_t done = 0;

  *n_read = 0;
  if( f->fd<0 ) return posix_orphan(f, err);
  while( done<n ){
    ssize_t k = pread(f->fd, (unsigned char*)buf + done,
                      vdb_min_sz(n - done, POSIX_IO_MAX), (off_t)(off + done));
    if( k==0 ) break;
    if( k>0 ){
      done += (size_t)k;
    }else if( errno!=EINTR ){
      return posix_error_at(err, VECDB_IOERR_READ, "read", f, off+done, errno);
    }
  }
  *n_read = done;
  return VECDB_OK;
}

static int posix_write(struct vdb_file *file, uint64_t off, const void *buf,
                       size_t n, struct vdb_err *err){
  struct posix_file *f = posix_of(file);
  size_t done = 0;

  if( f->fd<0 ) return posix_orphan(f, err);
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
      return posix_error_at(err, VECDB_IOERR_WRITE, "write", f, off + done,
                            k==0 ? ENOSPC : errno);
    }
  }
  return VECDB_OK;
}

static int posix_sync(struct vdb_file *file, struct vdb_err *err){
  struct posix_file *f = posix_of(file);
  int e;

  if( f->fd<0 ) return posix_orphan(f, err);
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
  if( f->fd<0 ) return posix_orphan(f, err);
  if( fstat(f->fd, &st)!=0 ){
    return posix_error(err, VECDB_IOERR_READ, "ask the size of", f->path,
                       errno);
  }
  *out = (uint64_t)st.st_size;
  return VECDB_OK;
}

static int posix_truncate(struct vdb_file *file, uint64_t size,
                          struct vdb_err *err){
  struct posix_file *f = posix_of(file);
  int e;

  if( f->fd<0 ) return posix_orphan(f, err);
  if( f->readonly ){
    return vdb_error(err, VECDB_READONLY, "cannot truncate \"%s\": it is open "
                     "for reading only", f->path);
  }
  do{
    e = ftruncate(f->fd, (off_t)size)==0 ? 0 : errno;
  }while( e==EINTR );
  if( e ) return posix_error(err, VECDB_IOERR_TRUNCATE, "truncate", f->path, e);
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
  struct posix_map *m;

  posix_shm_unmap(file);                                          /* F1 */
  while( (m = f->maps)!=NULL ){
    f->maps = m->next;
    map_release(f, m->base, m->n);
    vdb_free(m);
  }
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

/* ---- paths --------------------------------------------------------------- */

static int posix_unlink(void *env, const char *path, struct vdb_err *err){
  VDB_UNUSED(env);
  if( unlink(path)==0 ) return VECDB_OK;
  if( errno==ENOENT ) return VECDB_NOTFOUND;
  return posix_error(err, errno==EACCES || errno==EROFS || errno==EPERM
                     ? VECDB_READONLY : VECDB_IOERR_WRITE, "remove", path,
                     errno);
}

static int posix_rename(void *env, const char *from, const char *to,
                        struct vdb_err *err){
  int e, rc;
  VDB_UNUSED(env);
  if( rename(from, to)==0 ) return VECDB_OK;
  e = errno;
  rc = e==EACCES || e==EROFS || e==EPERM ? VECDB_READONLY :
       e==ENOENT ? VECDB_NOTFOUND : errno_is_full(e) ? VECDB_FULL :
       VECDB_IOERR_WRITE;
  return vdb_error(err, rc, "cannot rename \"%s\" to \"%s\": %s", from, to,
                   strerror(e));
}

static int posix_exists(void *env, const char *path, bool *out){
  struct stat st;
  VDB_UNUSED(env);
  *out = stat(path, &st)==0;
  return *out || errno==ENOENT || errno==ENOTDIR ? VECDB_OK : VECDB_IOERR_READ;
}

static int posix_path_id(void *env, const char *path, struct file_id *out){
  struct stat st;
  VDB_UNUSED(env);
  memset(out, 0, sizeof(*out));
  if( stat(path, &st)!=0 ){
    return errno==ENOENT || errno==ENOTDIR ? VECDB_NOTFOUND : VECDB_IOERR_READ;
  }
  out->dev = (uint64_t)st.st_dev;
  out->ino = (uint64_t)st.st_ino;
  return VECDB_OK;
}

/* The folder of `path` into dir[PATH_MAX]; false when it does not fit. */
static bool path_folder(const char *path, char *dir){
  const char *slash = strrchr(path, '/');
  size_t n = slash ? (size_t)(slash - path) : 0;
  if( slash==path ) n = 1;
  if( n>=PATH_MAX ) return false;
  memcpy(dir, path, n);
  dir[n] = 0;
  if( !slash ) memcpy(dir, ".", 2);
  return true;
}

static int posix_sync_dir(void *env, const char *path, struct vdb_err *err){
  char dir[PATH_MAX];
  int fd, e = 0;

  VDB_UNUSED(env);
  if( !path_folder(path, dir) ){
    return posix_error(err, VECDB_IOERR_SYNC, "sync the folder of", path,
                       ENAMETOOLONG);
  }
  fd = fd_open(dir, O_RDONLY|O_DIRECTORY, 0);
  if( fd<0 ){
    /* A folder that may be searched but not listed cannot be synced. */
    if( errno==EACCES ) return VECDB_OK;
    return posix_error(err, VECDB_IOERR_SYNC, "sync the folder", dir, errno);
  }
  do{
    e = fsync(fd)==0 ? 0 : errno;
  }while( e==EINTR );
  close(fd);
  if( e==0 || e==EINVAL || e==ENOTSUP ) return VECDB_OK;
  return vdb_error(err, VECDB_IOERR_SYNC, "cannot sync the folder \"%s\": %s",
                   dir, strerror(e));
}

/* The path that an absent file will have: the resolved folder and the name. */
static bool path_resolve_absent(const char *path, char *full){
  const char *slash = strrchr(path, '/');
  const char *name = slash ? slash + 1 : path;
  size_t n, n_name = strlen(name);
  char dir[PATH_MAX];

  if( n_name==0 || !path_folder(path, dir) || !realpath(dir, full) ){
    return false;
  }
  n = strlen(full);
  if( n + 1 + n_name>=PATH_MAX ) return false;
  if( full[n-1]!='/' ) full[n++] = '/';
  memcpy(full + n, name, n_name + 1);
  return true;
}

/* Two names of one database must find the same log, so links are resolved. A
** symbolic link to nothing is refused: the log would be elsewhere once it is
** created. The file may appear while we look, then we look again. */
static int posix_full_path(void *env, const char *path, char **out){
  char full[PATH_MAX];
  struct stat st;

  VDB_UNUSED(env);
  *out = NULL;
  for(int i=0; !realpath(path, full); i++){
    if( errno!=ENOENT ) return VECDB_CANTOPEN;
    if( lstat(path, &st)!=0 ){
      if( !path_resolve_absent(path, full) ) return VECDB_CANTOPEN;
      break;
    }
    if( S_ISLNK(st.st_mode) || i==8 ) return VECDB_CANTOPEN;
  }
  *out = vdb_strdup(full);
  return *out ? VECDB_OK : VECDB_NOMEM;
}

/* ---- clock, randomness, process ------------------------------------------ */

static int64_t posix_now_ms(void *env){
  struct timespec ts;
  VDB_UNUSED(env);
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (int64_t)ts.tv_sec*1000 + ts.tv_nsec/1000000;
}

static int64_t posix_wall_s(void *env){
  VDB_UNUSED(env);
  return (int64_t)time(NULL);
}

/* Uuids and salts must differ between files, not resist anybody, so where
** the kernel has nothing to give (no getrandom before 3.17 or in a sandbox)
** clock, process and address serve. */
static void random_from_clock(unsigned char *p, size_t n){
  struct timespec ts;
  uint64_t x;
  clock_gettime(CLOCK_REALTIME, &ts);
  x = (uint64_t)ts.tv_sec*1000000007u ^ (uint64_t)ts.tv_nsec<<20
    ^ (uint64_t)getpid()<<44 ^ (uint64_t)(uintptr_t)p;
  for(size_t i=0; i<n; i++){
    x = x*6364136223846793005u + 1442695040888963407u;
    p[i] = (unsigned char)(x >> 56);
  }
}

static void posix_random(void *env, void *buf, size_t n){
  unsigned char *p = buf;
  VDB_UNUSED(env);
  while( n>0 ){
    ssize_t k = getrandom(p, n, 0);
    if( k>0 ){
      p += k;
      n -= (size_t)k;
    }else if( k==0 || errno!=EINTR ){
      random_from_clock(p, n);
      return;
    }
  }
}

/* A signal may end it early: whoever waits looks at the clock anyway. */
static void posix_sleep_ms(void *env, unsigned ms){
  struct timespec ts;
  VDB_UNUSED(env);
  ts.tv_sec = (time_t)(ms/1000);
  ts.tv_nsec = (long)(ms%1000)*1000000;
  nanosleep(&ts, NULL);
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

const struct vecdb_file_ops vdb_file_posix = {
  .env = NULL, .name = "posix",
  .open = posix_open, .unlink = posix_unlink, .rename = posix_rename,
  .exists = posix_exists, .path_id = posix_path_id,
  .sync_dir = posix_sync_dir, .full_path = posix_full_path,
  .now_ms = posix_now_ms, .wall_s = posix_wall_s, .random = posix_random,
  .sleep_ms = posix_sleep_ms, .pid = posix_pid,
  .close = posix_close, .read = posix_read, .write = posix_write,
  .sync = posix_sync, .size = posix_size, .truncate = posix_truncate,
  .id = posix_id, .map = posix_map, .unmap = posix_unmap,
  .map_whole = posix_map_whole, .map_bring = posix_map_bring,
  .lock = posix_lock, .unlock = posix_unlock,
  .shm_map = posix_shm_map, .shm_load = posix_shm_load,
  .shm_store = posix_shm_store, .shm_cas = posix_shm_cas,
  .shm_barrier = posix_shm_barrier, .shm_unmap = posix_shm_unmap
};
