/* file_posix.h -- what the files of the POSIX file layer share: file_posix.c
** (open files, forks, reading and writing, locks), file_posix_map.c (mappings
** and shared memory) and file_posix_env.c (paths, clock, randomness). Nobody
** else includes it.
*/
#ifndef PAGER_FILE_POSIX_H
#define PAGER_FILE_POSIX_H
#include <errno.h>
#include <sys/types.h>

#include "util/common.h"
#include "pager/file.h"

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

static inline struct posix_file *posix_of(struct vdb_file *f){
  return (struct posix_file*)f;
}

static inline bool posix_is_full(int e){
  return e==ENOSPC || e==EDQUOT || e==EFBIG;
}

/* The call that was to `what` failed with errno e; rc when the disk is not
** full. */
int vdb_posix_error(struct vdb_err *err, int rc, const char *what,
                    const char *path, int e);
int vdb_posix_error_at(struct vdb_err *err, int rc, const char *what,
                       const struct posix_file *f, uint64_t off, int e);
/* The file was opened before fork(): VECDB_MISUSE. */
int vdb_posix_orphan(const struct posix_file *f, struct vdb_err *err);

/* No fork of this process happens between the two. */
void vdb_posix_hold_forks(void);
void vdb_posix_let_forks(void);
/* open(2) until it is not interrupted, and not on 0..2 (F3). -1: errno. */
int vdb_posix_fd_open(const char *path, int oflags, mode_t mode);

/* file_posix_map.c */
int vdb_posix_map(struct vdb_file *file, uint64_t off, size_t n,
                  const void **out, struct vdb_err *err);
void vdb_posix_unmap(struct vdb_file *file, const void *p, size_t n);
bool vdb_posix_map_whole(struct vdb_file *file, const void *p, size_t n);
int vdb_posix_shm_map(struct vdb_file *file, size_t n, struct vdb_err *err);
uint64_t vdb_posix_shm_load(struct vdb_file *file, size_t off);
void vdb_posix_shm_store(struct vdb_file *file, size_t off, uint64_t v);
bool vdb_posix_shm_cas(struct vdb_file *file, size_t off, uint64_t old,
                       uint64_t v);
void vdb_posix_shm_barrier(struct vdb_file *file);
void vdb_posix_shm_unmap(struct vdb_file *file);
void vdb_posix_maps_close(struct posix_file *f);      /* all of a file (F1) */

/* file_posix_env.c */
int vdb_posix_unlink(void *env, const char *path, struct vdb_err *err);
int vdb_posix_rename(void *env, const char *from, const char *to,
                     struct vdb_err *err);
int vdb_posix_exists(void *env, const char *path, bool *out);
int vdb_posix_path_id(void *env, const char *path, struct file_id *out);
int vdb_posix_sync_dir(void *env, const char *path, struct vdb_err *err);
int vdb_posix_full_path(void *env, const char *path, char **out);
int64_t vdb_posix_now_ms(void *env);
int64_t vdb_posix_wall_s(void *env);
void vdb_posix_random(void *env, void *buf, size_t n);
void vdb_posix_sleep_ms(void *env, unsigned ms);

#endif
