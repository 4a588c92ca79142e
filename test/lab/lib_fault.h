/* lib_fault.h -- a file layer that fails when told to.
**
** Used by   t_fault and whoever wants one call to fail. A scenario is run with
**           n = 1, 2, 3.. until a run ends in which nothing fired: then every
**           place was reached.
**
** What a failing call leaves behind is the worst a system may leave: a write
** that fails has written the first half of its bytes; a sync that fails has
** synced nothing; everything else has done nothing.
*/
#ifndef LIB_FAULT_H
#define LIB_FAULT_H
#include "lab/lib_layer.h"

enum fault_error {
  FAULT_EIO,             /* the IOERR_* code of the call (CANTOPEN for open) */
  FAULT_ENOSPC,          /* VECDB_FULL: only calls that may need room fail */
  FAULT_N_ERROR
};
extern const char *const fault_error_name[FAULT_N_ERROR];

/* Calls that may fail, for loops over all kinds. */
extern const enum lab_call fault_calls[];
extern const size_t fault_n_call;

struct fault;
struct fault *fault_create(const struct vecdb_file_ops *lower);
void fault_destroy(struct fault *f);
const struct vecdb_file_ops *fault_ops(struct fault *f);

/* The n-th call of that kind from now fails (n=1: the next one), with
** for_ever every later one of the kind too. n=0: none. CALL_ANY: of all kinds
** that can fail. */
#define CALL_ANY  LAB_N_CALL
void fault_set(struct fault *f, enum lab_call call, enum fault_error error,
               uint64_t n, bool for_ever);
/* At the n-th call of any kind, those on shared memory too, the published state
** of the log is made unreadable, and no file can be read from then on: whoever
** looks at the state next cannot have it. n=0: all is well again. */
void fault_set_shm(struct fault *f, uint64_t n);
uint64_t fault_fired(const struct fault *f);       /* failures since the set */
enum lab_call fault_first(const struct fault *f);  /* the first of them */
int fault_code(enum lab_call call);                /* what such a call returns */
/* Calls of a kind since creation. */
uint64_t fault_count(const struct fault *f, enum lab_call call);
#endif
