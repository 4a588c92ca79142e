/* pool.h -- run a function over 0..n-1 on several threads.
**
** Threads are started for the call and joined before it returns, so a host
** process never sees a thread of ours at rest. With n_thread<=1, or when no
** thread can be started, the calling thread does all the work: the result is
** the same. `fn` must write only to what belongs to task i.
*/
#ifndef VDB_POOL_H
#define VDB_POOL_H
#include "util/common.h"

/* Process tasks i = 0..n_task-1; worker is 0..n_thread-1 (for scratch space).
** A nonzero return stops the rest; the code of the lowest failing task that
** ran is returned. */
typedef int (*vdb_task_fn)(void *arg, size_t i_task, unsigned worker);
int vdb_pool_run(unsigned n_thread, size_t n_task, vdb_task_fn fn, void *arg);

/* Cores this process may use. */
unsigned vdb_cpu_count(void);
/* Bytes of memory that the machine has; 0: unknown. */
uint64_t vdb_machine_memory(void);
#endif
