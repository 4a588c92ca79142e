/* gpu_int.h -- what load.c and piece.c share. */
#ifndef VDB_GPU_INT_H
#define VDB_GPU_INT_H
#include <pthread.h>

#include "gpu/gpu.h"

/* One per process; guarded by its lock. */
struct gpu_process {
  pthread_mutex_t lock;
  bool is_tried;                   /* the plugin was looked for */
  int code;                        /* VDB_GPU_OK: api and dev can be used */
  char why[256];                   /* about `code` */
  char path[512];                  /* of the plugin that was loaded */
  char wanted[512];                /* by vdb_gpu_path_set */
  const vdb_gpu_api *api;
  vdb_gpu_device *dev;
  vdb_gpu_info info;
  uint64_t sz_budget;
  long pid;
  uint64_t n_call, n_drop;         /* requests, pieces dropped for others */
  uint64_t n_fallback;             /* times the CPU stood in */
  bool is_eager;                   /* VDB_GPU_SET_EAGER */
  char fallback[128];              /* the last one, "" if there was none */
  uint32_t is_logged;              /* codes already in the log */
  struct gpu_piece *newest, *oldest;   /* resident pieces, by last use */
  uint64_t sz_resident;
};
extern struct gpu_process vdb_gpu_process;

/* False in a callback of a request that this thread makes: whoever asks for
** the GPU from there gets UNSUPPORTED instead of waiting for himself. */
static inline bool gpu_enter(struct gpu_process *g){
  return pthread_mutex_lock(&g->lock)==0;
}
static inline void gpu_leave(struct gpu_process *g){
  pthread_mutex_unlock(&g->lock);
}

/* The lock is held: start if that was not tried, then the code. */
int  vdb_gpu_start_locked(struct gpu_process *g);
/* The lock is held. A code that the plugin returned: remembers that the device
** is gone. */
int  vdb_gpu_result(struct gpu_process *g, int code);
#endif
