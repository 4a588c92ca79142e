/* lib_toy.h -- a small database straight on the pager, with contents that can
** be proved right.
**
** Used by   t_crash, t_fault, t_kill, t_multi, t_corrupt.
**
** A toy has TOY_N_SLOT slots; each is empty, a page or an extent. Every byte
** of it follows from (slot, stamp), and the table of slots keeps the stamps,
** so a digest of the table is a digest of everything, once the bytes were
** compared. A transaction ends with toy_commit, which gives the state a new
** number: states of a run are 0,1,2.. and no two have the same digest.
*/
#ifndef LIB_TOY_H
#define LIB_TOY_H
#include "pager/extent.h"
#include "pager/file.h"
#include "pager/pager.h"

enum { TOY_N_SLOT = 96, TOY_WORD_TABLE = 15, TOY_WORD_STATE = 14 };

struct toy {
  struct pager *p;             /* NULL: not open */
  struct vdb_err err;
};

struct toy_config {
  const struct vecdb_file_ops *ops;      /* NULL: the operating system */
  const char *path;
  uint32_t flags;                        /* VECDB_OPEN_*; 0: READWRITE|CREATE */
  uint32_t sync, busy_ms;
  uint64_t sz_cache, sz_wal;             /* 0: the defaults */
  uint32_t sz_page;
  bool no_mmap;
};

/* On failure t->err says why and t->p is NULL. */
int toy_open(struct toy *t, const struct toy_config *cfg);
int toy_close(struct toy *t);

/* Inside a write transaction. An empty toy gets its table from the first. */
int toy_put(struct toy *t, unsigned slot, uint64_t stamp);       /* a page */
int toy_put_extent(struct toy *t, unsigned slot, uint64_t stamp);
int toy_drop(struct toy *t, unsigned slot);
/* About n changes drawn from `seed`: pages, extents, removals. */
int toy_change(struct toy *t, uint64_t seed, unsigned n);
/* The number of the state that a commit will make. */
int toy_set_state(struct toy *t, uint64_t state);

/* Inside a read or write transaction: number and digest of the state. Every
** byte is compared; CORRUPT when one is wrong (err says which). */
int toy_digest(struct toy *t, uint64_t *state, uint64_t *digest);
/* The same in a read transaction of its own. */
int toy_read(struct toy *t, uint64_t *state, uint64_t *digest);
/* Everything reachable once, nothing lost: number of findings of severity 1
** and 2 (err has the first). In a read transaction of its own. */
int toy_check(struct toy *t, size_t *n_finding);
#endif
