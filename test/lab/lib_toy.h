/* lib_toy.h -- a small database with contents that can be proved right.
**
** Used by   t_crash, t_fault, t_kill, t_corrupt, and the scripts.
**
** There are two of them behind one set of functions: one straight on the pager
** (lib_toy_pager.c: pages and extents), one through vecdb.h (lib_toy_rows.c:
** rows of two collections). Every byte of a toy follows from where it is and
** from a stamp kept beside it, so a digest of the stamps is a digest of
** everything, once the bytes were compared. A transaction that calls
** toy_set_state gives the state a number: states of a run are 0,1,2.. and no
** two have the same digest.
*/
#ifndef LIB_TOY_H
#define LIB_TOY_H
#include "pager/file.h"
#include "util/err.h"

enum toy_kind { TOY_PAGER, TOY_ROWS };

struct toy;
struct census;

/* What a test keeps in a TOY_PAGER beside the slots. */
struct toy_extra {
  int (*digest)(struct toy *t, uint64_t *digest);   /* fold it in */
  int (*census)(struct toy *t, struct census *c);
};

struct toy_config {
  enum toy_kind kind;
  const struct vecdb_file_ops *ops;      /* NULL: the operating system */
  const char *path;
  uint32_t flags;                        /* VECDB_OPEN_*; 0: READWRITE|CREATE */
  uint32_t sync, busy_ms;
  uint64_t sz_cache, sz_wal;             /* 0: the defaults */
  uint32_t sz_page;
  bool no_mmap;
  const struct vecdb_page_store *store;  /* TOY_PAGER: of a host, or NULL */
  const struct toy_extra *extra;         /* TOY_PAGER; NULL: nothing */
};

struct toy {
  const struct toy_ops *ops;
  void *db;                              /* NULL: not open */
  const struct toy_extra *extra;         /* of the configuration */
  struct vdb_err err;
};

/* What a toy can do; the functions below call these. */
struct toy_ops {
  int (*open)(struct toy *t, const struct toy_config *cfg);
  int (*close)(struct toy *t);
  int (*begin)(struct toy *t, bool write);
  int (*commit)(struct toy *t);
  int (*rollback)(struct toy *t);
  int (*savepoint)(struct toy *t, unsigned *n);
  int (*release)(struct toy *t, unsigned n);
  int (*rollback_to)(struct toy *t, unsigned n);
  int (*prepare)(struct toy *t, const unsigned char host[16], uint64_t token);
  int (*decide)(struct toy *t, bool commit);
  int (*in_doubt)(struct toy *t, bool *in_doubt);
  int (*checkpoint)(struct toy *t, int mode, uint64_t *n_log,
                    uint64_t *n_done);
  int (*backup)(struct toy *t, const char *path);
  int (*change)(struct toy *t, uint64_t seed, unsigned n);
  int (*load)(struct toy *t, uint64_t seed, unsigned n);
  int (*tidy)(struct toy *t, bool vacuum);
  int (*set_state)(struct toy *t, uint64_t state);
  int (*digest)(struct toy *t, uint64_t *state, uint64_t *digest);
  int (*check)(struct toy *t, size_t *n_finding);
};
extern const struct toy_ops toy_pager_ops, toy_rows_ops;

/* On failure t->err says why and the toy is not open. Closing a toy that is
** not open does nothing. */
int toy_open(struct toy *t, const struct toy_config *cfg);
int toy_close(struct toy *t);

int toy_begin_read(struct toy *t);
int toy_begin_write(struct toy *t);
int toy_commit(struct toy *t);
int toy_rollback(struct toy *t);           /* also ends a read transaction */
int toy_savepoint(struct toy *t, unsigned *n);
int toy_release(struct toy *t, unsigned n);
int toy_rollback_to(struct toy *t, unsigned n);
int toy_prepare(struct toy *t, const unsigned char host[16], uint64_t token);
int toy_decide(struct toy *t, bool commit);
int toy_in_doubt(struct toy *t, bool *in_doubt);
int toy_checkpoint(struct toy *t, int mode, uint64_t *n_log,
                   uint64_t *n_done);
int toy_backup(struct toy *t, const char *path);

/* Inside a write transaction: about n changes drawn from `seed`; n large
** things (extents, or a bulk load of 100*n rows). */
int toy_change(struct toy *t, uint64_t seed, unsigned n);
int toy_load(struct toy *t, uint64_t seed, unsigned n);
/* Outside: merge, or rebuild, without any change that a reader sees. */
int toy_tidy(struct toy *t, bool vacuum);
/* The number of the state that a commit will make. */
int toy_set_state(struct toy *t, uint64_t state);

/* Inside a transaction: number and digest of the state. Every byte is
** compared; CORRUPT when one is wrong (err says which). */
int toy_digest(struct toy *t, uint64_t *state, uint64_t *digest);
/* The same in a read transaction of its own. */
int toy_read(struct toy *t, uint64_t *state, uint64_t *digest);
/* Everything reachable once, nothing lost: number of findings of severity 1
** and 2 (err has the first). Outside a transaction. */
int toy_check(struct toy *t, size_t *n_finding);
#endif
