/* cuda_graph.cu -- one request for edges: memory, the order of steps.
**
** Steps are launched for some rows at a time, so that none takes long; between
** launches the caller is told and may give up.
*/
#include "gpu/cuda_int.h"

#define STEP_WORK  ((uint64_t)1<<24)     /* rows*dimensions of a launch */

struct graph_work {
  vdb_gpu_rows *r;
  vdb_gpu_edges *e;
  dev_edges g;
  uint32_t *near;
  uint32_t *host;                  /* n+1 counts */
};

static uint64_t n_edge(const graph_work *w){
  return (uint64_t)w->g.n*w->g.n_lane;
}

static void graph_free(graph_work *w){
  vdb_gpu_device *d = w->r->d;
  dev_edges *g = &w->g;
  uint64_t n = g->n;
  dev_array_free(d, w->near, n*g->k);
  dev_array_free(d, g->list, n_edge(w));
  dev_array_free(d, g->next, n_edge(w));
  dev_array_free(d, g->in, n_edge(w));
  dev_array_free(d, g->count, n);
  dev_array_free(d, g->n_next, n);
  dev_array_free(d, g->first, n+1);
  dev_array_free(d, g->cursor, n);
  dev_array_free(d, g->fixed, n);
  dev_array_free(d, g->seen, n);
  dev_array_free(d, g->queue[0], n);
  dev_array_free(d, g->queue[1], n);
  dev_array_free(d, g->n_queue, 1);
  dev_array_free(d, g->ask, n);
  dev_array_free(d, g->ask_d2, n);
  if( w->host ) d->cfg.release(w->host);
}

static int graph_alloc(graph_work *w){
  vdb_gpu_device *d = w->r->d;
  dev_edges *g = &w->g;
  uint64_t n = g->n;
  int code;
  DEV_TRY( dev_array(d, &w->near, n*g->k) );
  g->near = w->near;
  DEV_TRY( dev_array(d, &g->list, n_edge(w)) );
  DEV_TRY( dev_array(d, &g->next, n_edge(w)) );
  DEV_TRY( dev_array(d, &g->in, n_edge(w)) );
  DEV_TRY( dev_array(d, &g->count, n) );
  DEV_TRY( dev_array(d, &g->n_next, n) );
  DEV_TRY( dev_array(d, &g->first, n+1) );
  DEV_TRY( dev_array(d, &g->cursor, n) );
  DEV_TRY( dev_array(d, &g->fixed, n) );
  DEV_TRY( dev_array(d, &g->seen, n) );
  DEV_TRY( dev_array(d, &g->queue[0], n) );
  DEV_TRY( dev_array(d, &g->queue[1], n) );
  DEV_TRY( dev_array(d, &g->n_queue, 1) );
  DEV_TRY( dev_array(d, &g->ask, n) );
  DEV_TRY( dev_array(d, &g->ask_d2, n) );
  w->host = (uint32_t*)d->cfg.alloc((n+1)*sizeof(uint32_t));
  if( w->host==NULL ) code = VDB_GPU_NOMEM;
done:
  return code;
}

static int graph_poll(const graph_work *w, double done){
  return w->e->progress && w->e->progress(w->e->arg, done) ? VDB_GPU_CANCELLED
                                                           : VDB_GPU_OK;
}

/* One step for all rows; `share` of everything was done before it. */
static int step_run(graph_work *w, int step, double share){
  uint64_t n_some = STEP_WORK/w->g.d;
  int code = VDB_GPU_OK;
  for(uint64_t lo=0; lo<w->g.n && code==VDB_GPU_OK; lo+=n_some){
    uint64_t hi = w->g.n-lo<n_some ? w->g.n : lo+n_some;
    code = vdb_cuda_edges_step(w->r->d, &w->g, step, (uint32_t)lo,
                               (uint32_t)hi);
    if( code==VDB_GPU_OK ) code = vdb_cuda_sync(w->r->d);
    if( code==VDB_GPU_OK ) code = graph_poll(w, share + 0.3*hi/w->g.n);
  }
  return code;
}

/* The counts of cursor become places, in first and cursor. */
static int places_set(graph_work *w){
  vdb_gpu_device *d = w->r->d;
  uint32_t n = w->g.n, sum = 0;
  int code;
  DEV_TRY( vdb_cuda_to_host(d, w->host, w->g.cursor, (size_t)n*4) );
  for(uint32_t i=0; i<n; i++){
    uint32_t c = w->host[i];
    w->host[i] = sum;
    sum += c;
  }
  w->host[n] = sum;
  if( sum>n_edge(w) ) return VDB_GPU_INTERNAL;
  DEV_TRY( vdb_cuda_to_device(d, w->g.first, w->host, ((size_t)n+1)*4) );
  DEV_TRY( vdb_cuda_to_device(d, w->g.cursor, w->host, (size_t)n*4) );
  DEV_TRY( vdb_cuda_sync(d) );
done:
  return code;
}

static int lists_turn(graph_work *w){
  vdb_gpu_device *d = w->r->d;
  int code;
  DEV_TRY( vdb_cuda_zero(d, w->g.cursor, (size_t)w->g.n*4) );
  DEV_TRY( vdb_cuda_edges_count(d, &w->g) );
  DEV_TRY( places_set(w) );
  DEV_TRY( vdb_cuda_edges_turn(d, &w->g) );
done:
  return code;
}

static void lists_swap(graph_work *w){
  uint64_t *list = w->g.list;
  uint32_t *count = w->g.count;
  w->g.list = w->g.next;
  w->g.next = list;
  w->g.count = w->g.n_next;
  w->g.n_next = count;
}

/* ---- ATTACH -------------------------------------------------------------- */

/* seen: what is reached; *n_not: how many rows are not. */
static int rows_reach(graph_work *w, uint32_t *n_not){
  vdb_gpu_device *d = w->r->d;
  uint32_t n = w->e->n_entry<w->g.n ? w->e->n_entry : w->g.n, n_all = n;
  int code, from = 0;
  for(uint32_t i=0; i<n; i++) w->host[i] = i;
  DEV_TRY( vdb_cuda_to_device(d, w->g.queue[0], w->host, (size_t)n*4) );
  for(uint32_t i=0; i<n; i++) w->host[i] = 1;
  DEV_TRY( vdb_cuda_sync(d) );
  DEV_TRY( vdb_cuda_zero(d, w->g.seen, (size_t)w->g.n*4) );
  DEV_TRY( vdb_cuda_to_device(d, w->g.seen, w->host, (size_t)n*4) );
  for(; n>0; from=!from, n_all+=n){
    DEV_TRY( vdb_cuda_zero(d, w->g.n_queue, 4) );
    DEV_TRY( vdb_cuda_edges_reach(d, &w->g, n, from) );
    DEV_TRY( vdb_cuda_to_host(d, &n, w->g.n_queue, 4) );
    if( n>w->g.n-n_all ) return VDB_GPU_INTERNAL;
  }
  *n_not = w->g.n-n_all;
done:
  return code;
}

static int rows_attach(graph_work *w){
  vdb_gpu_device *d = w->r->d;
  int code;
  DEV_TRY( vdb_cuda_zero(d, w->g.fixed, (size_t)w->g.n*8) );
  DEV_TRY( rows_reach(w, &w->e->n_unreached) );
  w->e->n_attached = w->e->n_unreached;
  for(int i=0; i<RULES_ATTACH_ROUNDS && w->e->n_unreached>0; i++){
    DEV_TRY( vdb_cuda_zero(d, w->g.cursor, (size_t)w->g.n*4) );
    DEV_TRY( vdb_cuda_edges_ask(d, &w->g) );
    DEV_TRY( places_set(w) );
    DEV_TRY( vdb_cuda_edges_asked(d, &w->g) );
    DEV_TRY( vdb_cuda_edges_attach(d, &w->g) );
    DEV_TRY( rows_reach(w, &w->e->n_unreached) );
  }
done:
  return code;
}

/* ---- All of it ----------------------------------------------------------- */

static bool edges_fit(const vdb_gpu_rows *r, const vdb_gpu_edges *e){
  return r->src.type==VECDB_F32 && r->src.metric==VECDB_L2
      && e->n_lane>=1 && e->n_lane<=RULES_LANES_MAX && e->k>=1
      && e->k<=RULES_LIST_MAX && e->n_entry>=1 && e->alpha2>=1 && e->alpha2<=4
      && (uint64_t)r->src.n_rows*e->n_lane<0xffffffffu;
}

static void graph_shape(graph_work *w, vdb_gpu_rows *r, vdb_gpu_edges *e){
  dev_edges *g = &w->g;
  w->r = r;
  w->e = e;
  g->x = (const float*)r->x;
  g->n = r->src.n_rows;
  g->d = r->src.dim;
  g->k = e->k;
  g->n_lane = e->n_lane;
  g->n_spare = e->n_spare<e->k ? e->n_spare : e->k;
  g->alpha2 = e->alpha2;
  g->n_half = 2;
  while( g->n_half<RULES_IN_MAX*g->n_lane ) g->n_half *= 2;
}

static int steps_run(graph_work *w){
  vdb_gpu_device *d = w->r->d;
  int code;
  DEV_TRY( vdb_cuda_to_device(d, w->near, w->e->near,
                              (size_t)w->g.n*w->g.k*4) );
  DEV_TRY( step_run(w, EDGE_STEP_CHOOSE, 0) );
  DEV_TRY( lists_turn(w) );
  DEV_TRY( step_run(w, EDGE_STEP_BACK, 0.3) );
  lists_swap(w);
  DEV_TRY( lists_turn(w) );
  DEV_TRY( step_run(w, EDGE_STEP_FILL, 0.6) );
  lists_swap(w);
  DEV_TRY( rows_attach(w) );
  DEV_TRY( vdb_cuda_edges_out(d, &w->g, (uint32_t*)(void*)w->g.next) );
  DEV_TRY( vdb_cuda_to_host(d, w->e->edge, w->g.next, n_edge(w)*4) );
  code = graph_poll(w, 1);
done:
  return code;
}

int vdb_cuda_edges(vdb_gpu_rows *r, vdb_gpu_edges *e){
  graph_work w = {};
  int code;
  if( !edges_fit(r, e) ) return VDB_GPU_UNSUPPORTED;
  e->n_unreached = e->n_attached = 0;
  if( r->src.n_rows==0 ) return VDB_GPU_OK;
  graph_shape(&w, r, e);
  DEV_TRY( graph_alloc(&w) );
  DEV_TRY( steps_run(&w) );
done:
  if( code!=VDB_GPU_OK ) (void)vdb_cuda_sync(r->d);
  graph_free(&w);
  return code;
}
