/* file_posix_env.c -- paths, clock and randomness of the POSIX file layer.
*/
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "pager/file_posix.h"
#include "util/mem.h"

/* ---- paths --------------------------------------------------------------- */

int vdb_posix_unlink(void *env, const char *path, struct vdb_err *err){
  VDB_UNUSED(env);
  if( unlink(path)==0 ) return VECDB_OK;
  if( errno==ENOENT ) return VECDB_NOTFOUND;
  return vdb_posix_error(err, errno==EACCES || errno==EROFS || errno==EPERM
                         ? VECDB_READONLY : VECDB_IOERR_WRITE, "remove", path,
                         errno);
}

int vdb_posix_rename(void *env, const char *from, const char *to,
                     struct vdb_err *err){
  int e, rc;
  VDB_UNUSED(env);
  if( rename(from, to)==0 ) return VECDB_OK;
  e = errno;
  rc = e==EACCES || e==EROFS || e==EPERM ? VECDB_READONLY :
       e==ENOENT ? VECDB_NOTFOUND : posix_is_full(e) ? VECDB_FULL :
       VECDB_IOERR_WRITE;
  return vdb_error(err, rc, "cannot rename \"%s\" to \"%s\": %s", from, to,
                   strerror(e));
}

int vdb_posix_exists(void *env, const char *path, bool *out){
  struct stat st;
  VDB_UNUSED(env);
  *out = stat(path, &st)==0;
  return *out || errno==ENOENT || errno==ENOTDIR ? VECDB_OK : VECDB_IOERR_READ;
}

int vdb_posix_path_id(void *env, const char *path, struct file_id *out){
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

int vdb_posix_sync_dir(void *env, const char *path, struct vdb_err *err){
  char dir[PATH_MAX];
  int fd, e = 0;

  VDB_UNUSED(env);
  if( !path_folder(path, dir) ){
    return vdb_posix_error(err, VECDB_IOERR_SYNC, "sync the folder of", path,
                           ENAMETOOLONG);
  }
  fd = vdb_posix_fd_open(dir, O_RDONLY|O_DIRECTORY, 0);
  if( fd<0 ){
    /* A folder that may be searched but not listed cannot be synced. */
    if( errno==EACCES ) return VECDB_OK;
    return vdb_posix_error(err, VECDB_IOERR_SYNC, "sync the folder", dir,
                           errno);
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
int vdb_posix_full_path(void *env, const char *path, char **out){
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

/* ---- clock, randomness -------------------------------------------------- */

int64_t vdb_posix_now_ms(void *env){
  struct timespec ts;
  VDB_UNUSED(env);
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (int64_t)ts.tv_sec*1000 + ts.tv_nsec/1000000;
}

int64_t vdb_posix_wall_s(void *env){
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

void vdb_posix_random(void *env, void *buf, size_t n){
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
void vdb_posix_sleep_ms(void *env, unsigned ms){
  struct timespec ts;
  VDB_UNUSED(env);
  ts.tv_sec = (time_t)(ms/1000);
  ts.tv_nsec = (long)(ms%1000)*1000000;
  nanosleep(&ts, NULL);
}
