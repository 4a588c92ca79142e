/* pool.c -- one parallel loop over threads that live as long as the loop.
**
** Tasks are claimed in order from a shared counter, so at any moment the tasks
** that ran are a prefix plus what is in flight. The first failure stops the
** claiming; of several, the one with the lowest task number is reported.
**
** Starting threads costs some 20 microseconds each, which no caller notices:
** a loop worth running in parallel takes milliseconds. A standing pool would
** hold threads in a host process that may fork or unload us.
*/
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "util/common.h"
#include "util/mem.h"
#include "util/pool.h"

struct pool_loop {
  vdb_task_fn     fn;
  void           *arg;
  size_t          n_task;
  atomic_size_t   i_next;     /* the next task nobody has claimed */
  atomic_bool     is_stopped; /* some task failed */
  pthread_mutex_t lock;       /* guards the two below */
  size_t          i_failed;   /* lowest task that failed, n_task if none */
  int             rc;         /* and its code */
};

struct pool_worker {
  struct pool_loop *loop;
  pthread_t    thread;
  unsigned     number;        /* 0 is the calling thread */
};

static void failure_record(struct pool_loop *l, size_t i_task, int rc){
  atomic_store(&l->is_stopped, true);
  pthread_mutex_lock(&l->lock);
  if( i_task<l->i_failed ){
    l->i_failed = i_task;
    l->rc = rc;
  }
  pthread_mutex_unlock(&l->lock);
}

static void tasks_run(struct pool_loop *l, unsigned worker){
  size_t i;
  while( !atomic_load_explicit(&l->is_stopped, memory_order_relaxed)
      && (i = atomic_fetch_add(&l->i_next, 1))<l->n_task ){
    int rc = l->fn(l->arg, i, worker);
    if( rc!=VECDB_OK ) failure_record(l, i, rc);
  }
}

static void *pool_worker_main(void *p){
  struct pool_worker *w = p;
  tasks_run(w->loop, w->number);
  return NULL;
}

/* Start up to n workers; returns how many run. They inherit a mask that blocks
** every signal, so that the host's handlers run in the host's own threads. */
static unsigned workers_start(struct pool_worker *w, unsigned n,
                              struct pool_loop *l){
  sigset_t all, old;
  unsigned i;

  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  for(i=0; i<n; i++){
    w[i].loop = l;
    w[i].number = i+1;
    if( pthread_create(&w[i].thread, NULL, pool_worker_main, &w[i])!=0 ) break;
  }
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  return i;
}

int vdb_pool_run(unsigned n_thread, size_t n_task, vdb_task_fn fn, void *arg){
  struct pool_loop l = { .fn = fn, .arg = arg, .n_task = n_task,
                    .i_failed = n_task, .rc = VECDB_OK };
  struct pool_worker *w = NULL;
  unsigned n_worker = 0;

  pthread_mutex_init(&l.lock, NULL);
  if( n_thread>n_task ) n_thread = (unsigned)n_task;
  if( n_thread>1 ) w = vdb_malloc_array(n_thread-1, sizeof(*w));
  if( w ) n_worker = workers_start(w, n_thread-1, &l);
  tasks_run(&l, 0);
  for(unsigned i=0; i<n_worker; i++) pthread_join(w[i].thread, NULL);
  vdb_free(w);
  pthread_mutex_destroy(&l.lock);
  return l.rc;
}

unsigned vdb_cpu_count(void){
  cpu_set_t set;
  long n = 0;
  if( sched_getaffinity(0, sizeof(set), &set)==0 ) n = CPU_COUNT(&set);
  /* Fails on machines with more cores than the set has room for. */
  if( n<1 ) n = sysconf(_SC_NPROCESSORS_ONLN);
  return n<1 ? 1 : (unsigned)n;
}

uint64_t vdb_machine_memory(void){
  long n_page = sysconf(_SC_PHYS_PAGES), sz = sysconf(_SC_PAGESIZE);
  return n_page>0 && sz>0 ? (uint64_t)n_page*(uint64_t)sz : 0;
}
