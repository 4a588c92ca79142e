/* thread.h -- one long-lived thread of the library.
**
** Used by   store/tender.c. (Loops use pool.h, whose threads end with them.)
** Threads   start and join on any thread, one after the other.
** Errors    NOMEM when the system gives no thread.
**
** A thread begins with every signal blocked, so that the host's handlers run in
** the host's own threads. It must be joined before the library can be unloaded.
*/
#ifndef VDB_THREAD_H
#define VDB_THREAD_H
#include <pthread.h>

#include "util/common.h"

int vdb_thread_start(pthread_t *t, void *(*fn)(void *arg), void *arg);
void vdb_thread_join(pthread_t t);
#endif
