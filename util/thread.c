/* thread.c -- starting and joining a thread.
**
** The mask of signals is inherited from the starting thread, so it is blocked
** around the start: there is no moment in which the new thread could run a
** handler.
*/
#include <signal.h>

#include "util/thread.h"

int vdb_thread_start(pthread_t *t, void *(*fn)(void *arg), void *arg){
  sigset_t all, old;
  int failed;

  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  failed = pthread_create(t, NULL, fn, arg);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  return failed ? VECDB_NOMEM : VECDB_OK;
}

void vdb_thread_join(pthread_t t){
  pthread_join(t, NULL);
}
