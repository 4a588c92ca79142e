/* lib_sweep.h -- one thing done to a small database, once for each call in it
** that may fail: of the file layer, and for memory; or with shared memory that goes bad.
**
** Used by   unit/t_fault_*.c. lab/t_fault.c does the same to whole lives of a
**           database, of which `make check` has time for a sample; here what is
**           done is short, and every place is reached.
**
** Each run finds the files that `make` has left, as after a crash, opens them,
** lets `ready` prepare, and then does `act` with one failure in it. After it:
**
**   1  the code is OK, or one that such a failure has;
**   2  the handle is good for reading, unless a sync failed (or may_close);
**   3  the database holds, byte for byte, what it held before or what it holds
**      after `act` without a failure; it is sound, and nothing is lost;
**   4  not a block of memory is left.
*/
#ifndef LIB_SWEEP_H
#define LIB_SWEEP_H
#include "lab/lib_toy.h"

struct sweep {
  const char *name;
  int (*make)(struct toy *t);     /* NULL: there is no file yet */
  int (*ready)(struct toy *t);    /* NULL: nothing */
  int (*act)(struct toy *t);
  bool act_opens;                 /* t is not open before act; ready has none */
  bool may_close;                 /* a failure may leave t without a file */
  bool torn;                      /* the file is 8 KiB of zeros; no make */
  bool shm;                       /* also: the state of the log unreadable */
  bool once;                      /* without: each also failing for ever */
  uint32_t flags, sync, sz_page;  /* of t in the runs; see toy_config */
  uint64_t sz_cache, sz_wal;
  bool no_mmap;
  const struct toy_extra *extra;  /* what more there is to look at */
};

/* Counts of runs are added to figures; a failure says which run it was. */
void sweep_run(const struct sweep *s);

/* For act and ready: the configuration of t; another connection that every
** failure spares, one that it does not (i<4, closed at the end of the run);
** where a failure also hits. */
const struct toy_config *sweep_config(void);
struct toy *sweep_other(unsigned i);
int sweep_open_other(unsigned i, bool with_failures);
#endif
