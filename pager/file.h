/* file.h -- the file layer: the only code that calls the operating system.
**
** Used by   pager/ (and test/lab, which stacks fault, crash and schedule
**           layers on top of it).
** Threads   a struct vdb_file is used by one connection; every connection
**           opens its own, so that two connections of one process exclude
**           each other exactly as two processes do (decision 0001).
** Errors    VECDB_ codes; a sentence with path, offset and errno goes to
**           `err` when it is not NULL. Short reads past the end are no error:
**           the count read is returned. EINTR and short transfers are retried
**           and invisible.
**
** file_posix.c is the real one (OFD locks, mmap); file_mem.c keeps files,
** shared memory and locks in RAM and is what the lab builds on.
*/
#ifndef VDB_FILE_H
#define VDB_FILE_H
#include "util/common.h"
#include "util/err.h"

struct vdb_file;                       /* begins with its `ops` pointer */

enum file_open_flag {
  FILE_READONLY = 1,                   /* open for reading only */
  FILE_CREATE   = 2,                   /* make it when absent */
  FILE_EXCL     = 4,                   /* with CREATE: fail when present */
  FILE_NOFOLLOW = 8                    /* refuse a symbolic link */
};
enum file_lock_kind { LOCK_SHARED = 1, LOCK_EXCLUSIVE = 2 };

/* Identity of a file, to notice that a path names another one by now. */
struct file_id { uint64_t dev, ino; };

struct vecdb_file_ops {
  void *env;                           /* passed to path functions */
  const char *name;                    /* "posix", "mem", "fault", .. */

  /* Paths. open: NOTFOUND when absent without CREATE, EXISTS with EXCL,
  ** READONLY when only reading is allowed (also when an absent file may not
  ** be created in a folder that may be searched), CANTOPEN otherwise.
  ** unlink: NOTFOUND when absent. */
  int  (*open)(void *env, const char *path, unsigned flags,
               struct vdb_file **out, struct vdb_err *err);
  int  (*unlink)(void *env, const char *path, struct vdb_err *err);
  int  (*rename)(void *env, const char *from, const char *to,
                 struct vdb_err *err);          /* replaces atomically */
  int  (*exists)(void *env, const char *path, bool *out);
  int  (*path_id)(void *env, const char *path, struct file_id *out);
                                                /* NOTFOUND when absent */
  int  (*sync_dir)(void *env, const char *path_of_a_file,
                   struct vdb_err *err);
  /* Absolute path; freed with vdb_free. */
  int  (*full_path)(void *env, const char *path, char **out);

  /* Clock and randomness, so that tests can fix them. */
  int64_t (*now_ms)(void *env);                 /* monotonic */
  int64_t (*wall_s)(void *env);                 /* seconds since 1970 */
  void (*random)(void *env, void *buf, size_t n);
  void (*sleep_ms)(void *env, unsigned ms);
  int64_t (*pid)(void *env);

  /* One open file. read returns the bytes read in *n_read (short only at the
  ** end of the file). write extends the file when needed; FULL on ENOSPC. */
  int  (*close)(struct vdb_file *f);
  int  (*read)(struct vdb_file *f, uint64_t off, void *buf, size_t n,
               size_t *n_read, struct vdb_err *err);
  int  (*write)(struct vdb_file *f, uint64_t off, const void *buf, size_t n,
                struct vdb_err *err);
  int  (*sync)(struct vdb_file *f, struct vdb_err *err);   /* fdatasync */
  int  (*size)(struct vdb_file *f, uint64_t *out, struct vdb_err *err);
  int  (*truncate)(struct vdb_file *f, uint64_t size, struct vdb_err *err);
  int  (*id)(struct vdb_file *f, struct file_id *out);

  /* Map bytes off..off+n-1 (within the file) for reading. UNSUPPORTED: the
  ** caller reads instead. The mapping stays valid until unmap, also when the
  ** file grows; later writes through the file are seen in it. */
  int  (*map)(struct vdb_file *f, uint64_t off, size_t n, const void **out,
              struct vdb_err *err);
  void (*unmap)(struct vdb_file *f, const void *p, size_t n);
  /* A hint about what is mapped; may be NULL: bytes all over these n will be
  ** read, so those that are on disk should come in large pieces. False: they
  ** will not, there are too many for the memory. */
  bool (*map_whole)(struct vdb_file *f, const void *p, size_t n);

  /* Lock one byte, without waiting: BUSY when somebody else's lock is in the
  ** way. Taking SHARED while holding EXCLUSIVE downgrades, and the reverse
  ** upgrades (BUSY when others share it; the shared lock is kept then).
  ** READONLY: exclusive, on a file opened for reading. *pid_holder (may be
  ** NULL) is the holder on BUSY, 0 when unknown (OFD locks never know). */
  int  (*lock)(struct vdb_file *f, uint64_t byte, enum file_lock_kind kind,
               int64_t *pid_holder);
  int  (*unlock)(struct vdb_file *f, uint64_t byte);

  /* Shared memory: n bytes of the file mapped read-write by every opener. It
  ** grows the file when needed (new bytes are 0); the bytes are the file's, so
  ** truncating the file clears them. READONLY, FULL, NOMEM, IOERR_*.
  ** Words are touched only through load, store and cas (sequentially
  ** consistent, 8-byte aligned offsets), so that a schedule can be explored. */
  int  (*shm_map)(struct vdb_file *f, size_t n, struct vdb_err *err);
  uint64_t (*shm_load)(struct vdb_file *f, size_t off);
  void (*shm_store)(struct vdb_file *f, size_t off, uint64_t v);
  bool (*shm_cas)(struct vdb_file *f, size_t off, uint64_t old, uint64_t v);
  void (*shm_barrier)(struct vdb_file *f);
  void (*shm_unmap)(struct vdb_file *f);
};

struct vdb_file { const struct vecdb_file_ops *ops; };

/* The operating system. */
extern const struct vecdb_file_ops vdb_file_posix;

/* A world of its own in RAM: files by path, shared by all who use the same
** ops. Destroying it frees everything (all files must be closed). */
int  vdb_file_mem_create(uint64_t seed, struct vecdb_file_ops **out);
void vdb_file_mem_destroy(struct vecdb_file_ops *ops);
/* For labs: the current bytes of a file (valid until it is written; NOTFOUND
** when absent), and setting them outright (made when absent). */
int  vdb_file_mem_peek(struct vecdb_file_ops *ops, const char *path,
                       const unsigned char **p, size_t *n);
int  vdb_file_mem_poke(struct vecdb_file_ops *ops, const char *path,
                       const unsigned char *p, size_t n);
/* From now on no file grows beyond sz bytes (FULL); 0: no limit. */
void vdb_file_mem_limit(struct vecdb_file_ops *ops, size_t sz);
/* As if the machine had been switched off: files that were ever shared
** memory are emptied, others stay. No file may be open. */
void vdb_file_mem_reboot(struct vecdb_file_ops *ops);

/* Read exactly n bytes, or IOERR_SHORT_READ. */
int vdb_file_read_full(struct vdb_file *f, uint64_t off, void *buf, size_t n,
                       struct vdb_err *err);
#endif
