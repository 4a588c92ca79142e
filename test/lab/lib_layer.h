/* lib_layer.h -- a file layer on top of another one, with hooks.
**
** Used by   lib_fault, lib_crash, lib_order and tests: each is a pair of
**           functions that sees every call before and after it is made.
**           Layers stack: fault over crash over memory, say.
** Errors    what the layer below returns, or what `before` says instead.
**
** The layers take memory from malloc, not from util/mem.h: failures injected
** there must hit the library and not the lab.
*/
#ifndef LIB_LAYER_H
#define LIB_LAYER_H
#include "pager/file.h"

enum lab_call {
  CALL_OPEN, CALL_UNLINK, CALL_RENAME, CALL_EXISTS, CALL_SYNC_DIR,
  CALL_CLOSE, CALL_READ, CALL_WRITE, CALL_SYNC, CALL_SIZE, CALL_TRUNCATE,
  CALL_MAP, CALL_LOCK, CALL_UNLOCK, CALL_SHM_MAP, CALL_SHM_LOAD,
  CALL_SHM_STORE, CALL_SHM_CAS, CALL_SLEEP, CALL_PATH_ID, CALL_ID,
  LAB_N_CALL
};
extern const char *const lab_call_name[LAB_N_CALL];

struct lab_event {
  enum lab_call call;
  const char *path;          /* of the file, or the first path */
  const char *path_to;       /* RENAME: the second one */
  struct vdb_file *lower;    /* the file below; NULL for paths, and before
                             ** OPEN */
  unsigned flags;            /* OPEN: FILE_*, LOCK: kind */
  bool existed;              /* OPEN: the file was there before */
  uint64_t off;              /* READ..MAP: offset; TRUNCATE: new size; LOCK,
                             ** UNLOCK: the byte; SHM_*: offset of the word */
  size_t n;                  /* READ, WRITE, MAP, SHM_MAP: bytes */
  const void *buf;           /* WRITE: what is written */
  uint64_t word, word_old;   /* SHM_STORE, SHM_CAS: new and expected value */
  bool swapped;              /* SHM_CAS, after: it was replaced */
  struct vdb_err *err;       /* of the caller; may be NULL */
};

/* Both may be NULL. */
struct lab_hook {
  void *arg;
  /* Anything but VECDB_OK becomes the result and the call is not made. The
  ** calls without a result (CLOSE, UNLOCK, SHM_*, SLEEP) are always made. */
  int  (*before)(void *arg, struct lab_event *e);
  void (*after)(void *arg, struct lab_event *e, int rc);
};

/* A layer over `lower`, which must outlive it. Abort when out of memory. */
struct vecdb_file_ops *lab_layer_create(const struct vecdb_file_ops *lower,
                                        const char *name,
                                        const struct lab_hook *hook);
/* All files must be closed. NULL is fine. */
void lab_layer_destroy(struct vecdb_file_ops *ops);

/* malloc and friends that abort when there is no memory. */
void *lab_alloc(size_t sz);                           /* zero filled */
void *lab_grow(void *p, size_t sz);
char *lab_strdup(const char *z);
/* A fast 64-bit hash of bytes, chained through `h`. */
uint64_t lab_hash(uint64_t h, const void *p, size_t n);
#endif
