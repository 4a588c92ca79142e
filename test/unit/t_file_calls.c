/* t_file_calls.c -- the file layer on a system whose calls fail.
**
** The program has functions of its own by the names of the C library's, which
** pass everything on but the call that a test wants to fail. Where the library
** asks for other names (32 bits, old C libraries) these tests are skipped.
*/
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vt.h"
#include "util/mem.h"
#include "pager/file.h"

/* ---- calls that fail ----------------------------------------------------- */

enum call {
  OPEN, FCNTL, FSTAT, STAT, LSTAT, FCHMOD, FCHOWN, ACCESS, MMAP, MADVISE,
  FALLOCATE, FTRUNCATE, PREAD, PWRITE, FDATASYNC, FSYNC, UNLINK, RENAME,
  REALPATH, GETRANDOM, GETEUID, N_CALL
};

enum { SHORT = -1 };                  /* an "errno": the call returns 0 */

static struct {
  int skip;                           /* calls that succeed before */
  int n;                              /* calls that fail then */
  int e;                              /* how */
  int n_call;                         /* calls since fail_next */
} plan[N_CALL];

/* The call after `skip` others fails with errno e, and n-1 more. */
static void fail_some(enum call c, int skip, int n, int e){
  plan[c].skip = skip;
  plan[c].n = n;
  plan[c].e = e;
  plan[c].n_call = 0;
}
static void fail_next(enum call c, int e){ fail_some(c, 0, 1, e); }

/* Is this one to fail? Sets errno. */
static bool fails(enum call c){
  plan[c].n_call++;
  if( plan[c].n==0 || plan[c].skip-- >0 ) return false;
  plan[c].skip = 0;
  plan[c].n--;
  errno = plan[c].e==SHORT ? 0 : plan[c].e;
  return true;
}

#define REAL(name, type)  ((type)dlsym(RTLD_NEXT, name))

int open(const char *path, int flags, ...){
  mode_t mode = 0;
  va_list ap;
  va_start(ap, flags);
  if( flags & O_CREAT ) mode = va_arg(ap, mode_t);
  va_end(ap);
  if( fails(OPEN) ) return -1;
  return REAL("open", int(*)(const char*, int, ...))(path, flags, mode);
}
int fcntl(int fd, int cmd, ...){
  void *arg;
  va_list ap;
  va_start(ap, cmd);
  arg = va_arg(ap, void*);
  va_end(ap);
  if( fails(FCNTL) ) return -1;
  return REAL("fcntl", int(*)(int, int, ...))(fd, cmd, arg);
}
int fstat(int fd, struct stat *st){
  if( fails(FSTAT) ) return -1;
  return REAL("fstat", int(*)(int, struct stat*))(fd, st);
}
int stat(const char *path, struct stat *st){
  if( fails(STAT) ) return -1;
  return REAL("stat", int(*)(const char*, struct stat*))(path, st);
}
int lstat(const char *path, struct stat *st){
  if( fails(LSTAT) ) return -1;
  return REAL("lstat", int(*)(const char*, struct stat*))(path, st);
}
int fchmod(int fd, mode_t mode){
  if( fails(FCHMOD) ) return -1;
  return REAL("fchmod", int(*)(int, mode_t))(fd, mode);
}
int fchown(int fd, uid_t uid, gid_t gid){
  if( fails(FCHOWN) ) return -1;
  return plan[GETEUID].n>0 ? 0
       : REAL("fchown", int(*)(int, uid_t, gid_t))(fd, uid, gid);
}
int access(const char *path, int mode){
  if( fails(ACCESS) ) return -1;
  return REAL("access", int(*)(const char*, int))(path, mode);
}
void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t off){
  if( fd>=0 && fails(MMAP) ) return MAP_FAILED;
  return REAL("mmap", void*(*)(void*, size_t, int, int, int, off_t))
         (at, n, prot, flags, fd, off);
}
int madvise(void *at, size_t n, int advice){
  if( fails(MADVISE) ) return -1;
  return REAL("madvise", int(*)(void*, size_t, int))(at, n, advice);
}
int posix_fallocate(int fd, off_t off, off_t n){
  if( fails(FALLOCATE) ) return errno;
  return REAL("posix_fallocate", int(*)(int, off_t, off_t))(fd, off, n);
}
int ftruncate(int fd, off_t n){
  if( fails(FTRUNCATE) ) return -1;
  return REAL("ftruncate", int(*)(int, off_t))(fd, n);
}
ssize_t pread(int fd, void *p, size_t n, off_t off){
  if( fails(PREAD) ) return -1;
  return REAL("pread", ssize_t(*)(int, void*, size_t, off_t))(fd, p, n, off);
}
ssize_t pwrite(int fd, const void *p, size_t n, off_t off){
  if( fails(PWRITE) ) return plan[PWRITE].e==SHORT ? 0 : -1;
  return REAL("pwrite", ssize_t(*)(int, const void*, size_t, off_t))
         (fd, p, n, off);
}
int fdatasync(int fd){
  return fails(FDATASYNC) ? -1 : REAL("fdatasync", int(*)(int))(fd);
}
int fsync(int fd){
  return fails(FSYNC) ? -1 : REAL("fsync", int(*)(int))(fd);
}
int unlink(const char *path){
  return fails(UNLINK) ? -1 : REAL("unlink", int(*)(const char*))(path);
}
int rename(const char *from, const char *to){
  if( fails(RENAME) ) return -1;
  return REAL("rename", int(*)(const char*, const char*))(from, to);
}
char *realpath(const char *path, char *full){
  if( fails(REALPATH) ) return NULL;
  return REAL("realpath", char*(*)(const char*, char*))(path, full);
}
ssize_t getrandom(void *p, size_t n, unsigned flags){
  if( fails(GETRANDOM) ) return plan[GETRANDOM].e==SHORT ? 0 : -1;
  return REAL("getrandom", ssize_t(*)(void*, size_t, unsigned))(p, n, flags);
}
/* "Failing": the user is root, so that files are given away. */
uid_t geteuid(void){
  return plan[GETEUID].n>0 ? 0 : REAL("geteuid", uid_t(*)(void))();
}

/* ---- helpers ------------------------------------------------------------- */

static const struct vecdb_file_ops *ops = &vdb_file_posix;
static struct vdb_err err;

static void need_names(void){
  struct stat st;
  bool yes = false;
  if( sizeof(long)<8 || dlsym(RTLD_NEXT, "fstat")==NULL ){
    SKIP("the C library's calls have other names");
  }
  fail_next(STAT, EIO);
  ops->exists(NULL, "/", &yes);
  if( plan[STAT].n!=0 ) SKIP("the library calls the system by other names");
  (void)st;
}

static struct vdb_file *file_make(const char *name){
  struct vdb_file *f = NULL;
  need_names();
  REQUIRE_RC( VECDB_OK, ops->open(NULL, vt_path(name), FILE_CREATE, &f,
                                  &err) );
  return f;
}

static int try_open(const char *name, unsigned flags){
  struct vdb_file *f = NULL;
  int rc = ops->open(NULL, vt_path(name), flags, &f, &err);
  if( f ) ops->close(f);
  return rc;
}

static void nothing_is_left(void){
  struct vdb_mem_stats st;
  vdb_mem_stats(&st);
  CHECK_U64( 0, st.n_block );
}

/* ---- reading and writing ------------------------------------------------- */

TEST(file_calls__an_error_of_a_transfer_is_told){
  struct vdb_file *f = file_make("a");
  char b[8] = "abcdefg";
  size_t n;
  fail_next(PREAD, EIO);
  CHECK_RC( VECDB_IOERR_READ, f->ops->read(f, 3, b, 8, &n, &err) );
  CHECK( strstr(err.msg, "at offset 3")!=NULL );
  CHECK_U64( 0, n );
  fail_next(PWRITE, EIO);
  CHECK_RC( VECDB_IOERR_WRITE, f->ops->write(f, 0, b, 8, &err) );
  fail_next(PWRITE, EDQUOT);
  CHECK_RC( VECDB_FULL, f->ops->write(f, 0, b, 8, &err) );
  fail_next(PWRITE, EFBIG);
  CHECK_RC( VECDB_FULL, f->ops->write(f, 0, b, 8, &err) );
  fail_next(PWRITE, SHORT);              /* nothing was written: no room */
  CHECK_RC( VECDB_FULL, f->ops->write(f, 0, b, 8, &err) );
  CHECK_RC( VECDB_OK, f->ops->write(f, 0, b, 8, &err) );
  f->ops->close(f);
  nothing_is_left();
}

TEST(file_calls__an_interrupted_call_is_made_again){
  struct vdb_file *f = file_make("a"), *g;
  char b[8] = "abcdefg", back[8] = "";
  size_t n;
  fail_next(PWRITE, EINTR);
  CHECK_RC( VECDB_OK, f->ops->write(f, 0, b, 8, &err) );
  fail_some(PREAD, 0, 3, EINTR);
  CHECK_RC( VECDB_OK, f->ops->read(f, 0, back, 8, &n, &err) );
  CHECK_MEM( b, back, 8 );
  fail_next(FDATASYNC, EINTR);
  CHECK_RC( VECDB_OK, f->ops->sync(f, &err) );
  fail_next(FTRUNCATE, EINTR);
  CHECK_RC( VECDB_OK, f->ops->truncate(f, 4, &err) );
  fail_next(FCNTL, EINTR);
  CHECK_RC( VECDB_OK, f->ops->lock(f, 0, LOCK_EXCLUSIVE, NULL) );
  fail_next(FALLOCATE, EINTR);
  CHECK_RC( VECDB_OK, f->ops->shm_map(f, 8192, &err) );
  fail_next(FSYNC, EINTR);
  CHECK_RC( VECDB_OK, ops->sync_dir(NULL, vt_path("a"), &err) );
  fail_next(OPEN, EINTR);
  REQUIRE_RC( VECDB_OK, ops->open(NULL, vt_path("a"), 0, &g, &err) );
  fail_next(GETRANDOM, EINTR);
  ops->random(NULL, back, 8);
  g->ops->close(g);
  f->ops->close(f);
  nothing_is_left();
}

TEST(file_calls__a_failed_sync_is_not_repeated){
  struct vdb_file *f = file_make("a");
  fail_next(FDATASYNC, ENOSPC);
  CHECK_RC( VECDB_IOERR_SYNC, f->ops->sync(f, &err) );
  CHECK_INT( 1, plan[FDATASYNC].n_call );
  fail_next(FSYNC, EIO);
  CHECK_RC( VECDB_IOERR_SYNC, ops->sync_dir(NULL, vt_path("a"), &err) );
  CHECK_INT( 1, plan[FSYNC].n_call );
  f->ops->close(f);
}

/* Some file systems cannot sync a folder, some folders cannot be opened. */
TEST(file_calls__a_folder_that_cannot_be_synced_is_no_failure){
  struct vdb_file *f = file_make("a");
  static char longest[PATH_MAX + 10];
  fail_next(FSYNC, EINVAL);
  CHECK_RC( VECDB_OK, ops->sync_dir(NULL, vt_path("a"), &err) );
  fail_next(FSYNC, ENOTSUP);
  CHECK_RC( VECDB_OK, ops->sync_dir(NULL, vt_path("a"), &err) );
  fail_next(OPEN, EACCES);
  CHECK_RC( VECDB_OK, ops->sync_dir(NULL, vt_path("a"), &err) );
  fail_next(OPEN, EMFILE);
  CHECK_RC( VECDB_IOERR_SYNC, ops->sync_dir(NULL, vt_path("a"), &err) );
  memset(longest, 'd', sizeof(longest)-1);
  memcpy(longest + sizeof(longest)-3, "/a", 3);
  CHECK_RC( VECDB_IOERR_SYNC, ops->sync_dir(NULL, longest, &err) );
  f->ops->close(f);
}

TEST(file_calls__size_and_identity_may_be_unknown){
  struct vdb_file *f = file_make("a");
  struct file_id id;
  uint64_t sz;
  bool yes;
  fail_next(FSTAT, EIO);
  CHECK_RC( VECDB_IOERR_READ, f->ops->size(f, &sz, &err) );
  fail_next(FSTAT, EIO);
  CHECK_RC( VECDB_IOERR_READ, f->ops->id(f, &id) );
  fail_next(STAT, EIO);
  CHECK_RC( VECDB_IOERR_READ, ops->path_id(NULL, vt_path("a"), &id) );
  fail_next(STAT, ENOTDIR);
  CHECK_RC( VECDB_NOTFOUND, ops->path_id(NULL, vt_path("a"), &id) );
  fail_next(STAT, EIO);
  CHECK_RC( VECDB_IOERR_READ, ops->exists(NULL, vt_path("a"), &yes) );
  fail_next(STAT, ENOTDIR);
  CHECK_RC( VECDB_OK, ops->exists(NULL, vt_path("a"), &yes) );
  CHECK( !yes );
  fail_next(FTRUNCATE, EIO);
  CHECK_RC( VECDB_IOERR_TRUNCATE, f->ops->truncate(f, 1, &err) );
  f->ops->close(f);
}

/* ---- locks --------------------------------------------------------------- */

TEST(file_calls__a_lock_that_cannot_be_asked_for_is_told){
  struct vdb_file *f = file_make("a");
  fail_next(FCNTL, ENOLCK);
  CHECK_RC( VECDB_IOERR_LOCK, f->ops->lock(f, 0, LOCK_SHARED, NULL) );
  fail_next(FCNTL, EACCES);
  CHECK_RC( VECDB_BUSY, f->ops->lock(f, 0, LOCK_SHARED, NULL) );
  fail_next(FCNTL, EIO);
  CHECK_RC( VECDB_IOERR_LOCK, f->ops->unlock(f, 0) );
  f->ops->close(f);
}

/* ---- opening ------------------------------------------------------------- */

TEST(file_calls__opening_says_why_it_failed){
  struct vdb_file *f = file_make("a");
  f->ops->close(f);
  fail_next(OPEN, ENOMEM);
  CHECK_RC( VECDB_NOMEM, try_open("a", 0) );
  fail_next(OPEN, ENOSPC);
  CHECK_RC( VECDB_FULL, try_open("a", 0) );
  fail_next(OPEN, EIO);
  CHECK_RC( VECDB_CANTOPEN, try_open("a", FILE_READONLY) );
  fail_next(OPEN, EIO);
  CHECK_RC( VECDB_CANTOPEN, try_open("a", 0) );
  fail_next(FSTAT, EIO);
  CHECK_RC( VECDB_CANTOPEN, try_open("a", 0) );
  vdb_mem_fail_at(1, false);
  CHECK_RC( VECDB_NOMEM, try_open("a", 0) );
  vdb_mem_fail_at(0, false);
  nothing_is_left();
}

/* What may only be read says READONLY, whatever the words of the system. */
TEST(file_calls__a_denied_write_may_leave_reading){
  static const int denial[] = { EACCES, EROFS, EPERM, ETXTBSY };
  struct vdb_file *f = file_make("a");
  f->ops->close(f);
  for(size_t i=0; i<4; i++){
    fail_next(OPEN, denial[i]);
    CHECK_RC( VECDB_READONLY, try_open("a", 0) );
  }
  fail_next(OPEN, EACCES);                 /* it may not be read either */
  fail_next(ACCESS, EACCES);
  CHECK_RC( VECDB_CANTOPEN, try_open("a", 0) );
  fail_next(OPEN, EACCES);                 /* nor can one look for it */
  fail_next(ACCESS, EACCES);
  fail_next(STAT, EACCES);
  CHECK_RC( VECDB_CANTOPEN, try_open("none", FILE_CREATE) );
  fail_some(OPEN, 1, 1, EACCES);           /* it may not be created */
  CHECK_RC( VECDB_READONLY, try_open("none", FILE_CREATE) );
}

/* Others create and remove the file between our two attempts: once that is
** noticed, for ever it is an error. */
TEST(file_calls__a_file_that_comes_and_goes_is_tried_again){
  need_names();
  fail_some(OPEN, 1, 1, EEXIST);
  CHECK_RC( VECDB_OK, try_open("b", FILE_CREATE) );
  CHECK_INT( 4, plan[OPEN].n_call );
  ops->unlink(NULL, vt_path("b"), NULL);
  fail_some(OPEN, 0, 1000, EEXIST);
  plan[OPEN].e = EEXIST;
  CHECK_RC( VECDB_EXISTS, try_open("b", FILE_CREATE) );
  fail_some(OPEN, 0, 0, 0);
}

/* The second of two standard descriptors that are closed. */
TEST(file_calls__no_descriptor_above_the_standard_ones){
  struct vdb_file *f = file_make("a");
  int fd = dup(0);
  f->ops->close(f);
  close(0);
  fail_next(FCNTL, EMFILE);
  CHECK_RC( VECDB_CANTOPEN, try_open("a", 0) );
  dup2(fd, 0);
  close(fd);
}

/* Mode and owner are a courtesy: failing to pass them on is no failure. */
TEST(file_calls__a_log_that_cannot_take_after_its_database_is_made){
  struct vdb_file *f = file_make("d.vdb");
  f->ops->close(f);
  fail_next(FCHMOD, EPERM);
  CHECK_RC( VECDB_OK, try_open("d.vdb-wal", FILE_CREATE) );
  plan[GETEUID].n = 1;                     /* as root */
  plan[FCHOWN].n_call = 0;
  CHECK_RC( VECDB_OK, try_open("d.vdb-shm", FILE_CREATE) );
  CHECK_INT( 1, plan[FCHOWN].n_call );
  fail_next(FCHOWN, EPERM);
  CHECK_RC( VECDB_OK, try_open("d.vdb-undo", FILE_CREATE) );
  plan[GETEUID].n = 0;
  mkdir(vt_path("folder"), 0755);          /* no database to take after */
  CHECK_RC( VECDB_OK, try_open("folder-wal", FILE_CREATE) );
  CHECK_RC( VECDB_CANTOPEN, try_open("no-folder/x", FILE_CREATE) );
}

TEST(file_calls__long_and_odd_names_have_no_owner){
  static char longest[PATH_MAX + 10];
  struct vdb_file *f = NULL;
  need_names();
  memset(longest, 'n', sizeof(longest)-1);
  memcpy(longest + sizeof(longest)-5, "-wal", 5);
  CHECK_RC( VECDB_CANTOPEN, ops->open(NULL, longest, FILE_CREATE, &f, &err) );
  CHECK_RC( VECDB_OK, try_open("plain", FILE_CREATE) );
  CHECK_RC( VECDB_OK, try_open("-wal", FILE_CREATE) );
}

/* ---- removing, renaming -------------------------------------------------- */

TEST(file_calls__removing_and_renaming_say_why_they_failed){
  static const struct { int e, rc_unlink, rc_rename; } is[] = {
    { EACCES, VECDB_READONLY, VECDB_READONLY },
    { EROFS, VECDB_READONLY, VECDB_READONLY },
    { EPERM, VECDB_READONLY, VECDB_READONLY },
    { EIO, VECDB_IOERR_WRITE, VECDB_IOERR_WRITE },
    { ENOENT, VECDB_NOTFOUND, VECDB_NOTFOUND },
    { ENOSPC, VECDB_FULL, VECDB_FULL } };
  struct vdb_file *f = file_make("a");
  f->ops->close(f);
  for(size_t i=0; i<sizeof(is)/sizeof(is[0]); i++){
    fail_next(UNLINK, is[i].e);
    CHECK_RC( is[i].rc_unlink, ops->unlink(NULL, vt_path("a"), &err) );
    fail_next(RENAME, is[i].e);
    CHECK_RC( is[i].rc_rename, ops->rename(NULL, vt_path("a"), vt_path("b"),
                                           &err) );
  }
  CHECK_RC( VECDB_OK, ops->unlink(NULL, vt_path("a"), &err) );
}

/* ---- mapping ------------------------------------------------------------- */

TEST(file_calls__what_cannot_be_mapped_is_read){
  static const struct { int e, rc; } is[] = {
    { ENODEV, VECDB_UNSUPPORTED }, { EACCES, VECDB_UNSUPPORTED },
    { EPERM, VECDB_UNSUPPORTED }, { ENOMEM, VECDB_NOMEM },
    { EIO, VECDB_IOERR_MAP }, { ENOSPC, VECDB_FULL } };
  struct vdb_file *f = file_make("a");
  const void *p, *q, *r;
  REQUIRE_RC( VECDB_OK, f->ops->truncate(f, 100000, &err) );
  for(size_t i=0; i<sizeof(is)/sizeof(is[0]); i++){
    fail_next(MMAP, is[i].e);
    CHECK_RC( is[i].rc, f->ops->map(f, 0, 4096, &p, &err) );
    fail_next(MADVISE, is[i].e);
    CHECK_RC( is[i].rc, f->ops->map(f, 0, 4096, &p, &err) );
  }
  fail_next(FSTAT, EIO);
  CHECK_RC( VECDB_IOERR_MAP, f->ops->map(f, 0, 4096, &p, &err) );
  vdb_mem_fail_at(1, false);
  CHECK_RC( VECDB_NOMEM, f->ops->map(f, 0, 4096, &p, &err) );
  vdb_mem_fail_at(0, false);
  CHECK_RC( VECDB_IOERR_MAP, f->ops->map(f, 0, 0, &p, &err) );
  CHECK_RC( VECDB_IOERR_MAP, f->ops->map(f, 200000, 1, &p, &err) );
  CHECK_RC( VECDB_IOERR_MAP, f->ops->map(f, 99999, 2, &p, &err) );
  REQUIRE_RC( VECDB_OK, f->ops->map(f, 0, 4096, &p, &err) );
  REQUIRE_RC( VECDB_OK, f->ops->map(f, 0, 8192, &q, &err) );
  REQUIRE_RC( VECDB_OK, f->ops->map(f, 5000, 100, &r, &err) );
  f->ops->unmap(f, p, 4096);
  f->ops->unmap(f, q, 8192);
  f->ops->close(f);                        /* and r with it */
  nothing_is_left();
}

TEST(file_calls__shared_memory_needs_blocks_behind_it){
  struct vdb_file *f = file_make("a");
  fail_next(FSTAT, EIO);
  CHECK_RC( VECDB_IOERR_WRITE, f->ops->shm_map(f, 8192, &err) );
  fail_next(FALLOCATE, ENOSPC);
  CHECK_RC( VECDB_FULL, f->ops->shm_map(f, 8192, &err) );
  fail_next(FALLOCATE, EINVAL);            /* such file systems are trusted */
  CHECK_RC( VECDB_OK, f->ops->shm_map(f, 8192, &err) );
  CHECK_RC( VECDB_OK, f->ops->shm_map(f, 4096, &err) );      /* it is there */
  fail_next(FALLOCATE, EOPNOTSUPP);
  fail_next(FTRUNCATE, EIO);
  CHECK_RC( VECDB_IOERR_WRITE, f->ops->shm_map(f, 16384, &err) );
  fail_next(FALLOCATE, EOPNOTSUPP);
  CHECK_RC( VECDB_OK, f->ops->shm_map(f, 16384, &err) );
  fail_next(MMAP, ENOMEM);
  CHECK_RC( VECDB_NOMEM, f->ops->shm_map(f, 32768, &err) );
  f->ops->shm_store(f, 8, 77);             /* what was mapped still is */
  CHECK_U64( 77, f->ops->shm_load(f, 8) );
  f->ops->close(f);
  nothing_is_left();
}

/* ---- paths --------------------------------------------------------------- */

TEST(file_calls__a_path_that_cannot_be_resolved_is_refused){
  static char longest[PATH_MAX + 10], near[PATH_MAX];
  struct vdb_file *f = file_make("a");
  char *full = NULL;
  fail_next(REALPATH, EACCES);
  CHECK_RC( VECDB_CANTOPEN, ops->full_path(NULL, vt_path("a"), &full) );
  CHECK_RC( VECDB_CANTOPEN, ops->full_path(NULL, vt_path("no/a"), &full) );
  CHECK_RC( VECDB_CANTOPEN, ops->full_path(NULL, "no-such-folder/", &full) );
  memset(longest, 'd', sizeof(longest)-1);
  memcpy(longest + sizeof(longest)-3, "/a", 3);
  fail_next(REALPATH, ENOENT);
  fail_next(LSTAT, ENOENT);
  CHECK_RC( VECDB_CANTOPEN, ops->full_path(NULL, longest, &full) );
  memset(near, 'n', sizeof(near)-1);       /* fits until it is resolved */
  fail_next(REALPATH, ENOENT);
  fail_next(LSTAT, ENOENT);
  CHECK_RC( VECDB_CANTOPEN, ops->full_path(NULL, near, &full) );
  fail_some(REALPATH, 0, 100, ENOENT);     /* it comes and goes */
  CHECK_RC( VECDB_CANTOPEN, ops->full_path(NULL, vt_path("a"), &full) );
  fail_some(REALPATH, 0, 3, ENOENT);       /* it came */
  CHECK_RC( VECDB_OK, ops->full_path(NULL, vt_path("a"), &full) );
  vdb_free(full);
  vdb_mem_fail_at(1, false);
  CHECK_RC( VECDB_NOMEM, ops->full_path(NULL, vt_path("a"), &full) );
  vdb_mem_fail_at(0, false);
  f->ops->close(f);
  nothing_is_left();
}

/* ---- randomness ---------------------------------------------------------- */

TEST(file_calls__without_random_bytes_the_clock_serves){
  unsigned char a[32], b[32];
  need_names();
  fail_next(GETRANDOM, ENOSYS);
  ops->random(NULL, a, sizeof(a));
  fail_next(GETRANDOM, SHORT);
  ops->random(NULL, b, sizeof(b));
  CHECK( memcmp(a, b, sizeof(a))!=0 );
}
