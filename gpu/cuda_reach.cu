/* cuda_reach.cu -- edges by target, and what can be reached (gpu/edges.h).
**
** Counts by target are added up by the host; places are then taken in any order,
** as whoever reads a part sorts it. What is reached is a set, so it does not
** matter who reaches a row first.
*/
#include "gpu/cuda_int.h"

static __device__ __forceinline__ uint32_t thread_number(void){
  return blockIdx.x*BLOCK_THREADS + threadIdx.x;
}

/* ---- Edges by target ----------------------------------------------------- */

/* A thread per row. */
static __global__ void __launch_bounds__(BLOCK_THREADS) k_count(dev_edges g){
  uint32_t p = thread_number();
  if( p>=g.n ) return;
  for(uint32_t i=0; i<g.count[p]; i++){
    atomicAdd(&g.cursor[rules_key_row(g.list[(size_t)p*g.n_lane + i])], 1u);
  }
}

static __global__ void __launch_bounds__(BLOCK_THREADS) k_turn(dev_edges g){
  uint32_t p = thread_number();
  if( p>=g.n ) return;
  for(uint32_t i=0; i<g.count[p]; i++){
    uint64_t key = g.list[(size_t)p*g.n_lane + i];
    uint32_t at = atomicAdd(&g.cursor[rules_key_row(key)], 1u);
    g.in[at] = rules_key(rules_key_d2(key), p);
  }
}

/* ---- What is reached ----------------------------------------------------- */

/* A thread per row and lane. */
static __global__ void __launch_bounds__(BLOCK_THREADS)
k_reach(dev_edges g, uint32_t n, int from){
  uint64_t i = (uint64_t)blockIdx.x*BLOCK_THREADS + threadIdx.x;
  uint32_t p, lane, t;
  if( i/g.n_lane>=n ) return;
  p = g.queue[from][i/g.n_lane];
  lane = (uint32_t)(i%g.n_lane);
  if( lane>=g.count[p] ) return;
  t = rules_key_row(g.list[(size_t)p*g.n_lane + lane]);
  if( atomicMax(&g.seen[t], 1u)==0 ){
    g.queue[!from][atomicAdd(g.n_queue, 1u)] = t;
  }
}

/* The first of near(u) that is reached, or ROW_NONE; the same in all lanes. */
static __device__ uint32_t near_reached(const dev_edges &g, uint32_t u){
  const uint32_t *near = g.near + (size_t)u*g.k;
  uint32_t lane = threadIdx.x%WARP;
  for(uint32_t i=0; i<g.k; i+=WARP){
    uint32_t row = i+lane<g.k ? near[i+lane] : ROW_NONE;
    bool ends = row>=g.n, is = !ends && g.seen[row];
    uint32_t hits = __ballot_sync(0xffffffffu, is);
    uint32_t stops = __ballot_sync(0xffffffffu, ends);
    /* Of the lanes before the first that ends: the first that is reached. */
    if( stops ) hits &= (stops & (0u-stops)) - 1;
    if( hits ){
      int at = __popc((hits & (0u-hits)) - 1);
      return __shfl_sync(0xffffffffu, row, at);
    }
    if( stops ) return ROW_NONE;
  }
  return ROW_NONE;
}

/* A warp per row. */
static __global__ void __launch_bounds__(BLOCK_THREADS) k_ask(dev_edges g){
  uint32_t u = blockIdx.x*BLOCK_WARPS + threadIdx.x/WARP;
  uint32_t lane = threadIdx.x%WARP, t = ROW_NONE;
  float s = 0;
  if( u>=g.n ) return;
  if( !g.seen[u] ) t = near_reached(g, u);
  if( lane==0 ) g.ask[u] = t;
  if( t==ROW_NONE ) return;
  for(uint32_t j=lane; j<g.d; j+=WARP){
    s = sum_step(true, __ldg(g.x + (size_t)t*g.d + j),
                 __ldg(g.x + (size_t)u*g.d + j), s);
  }
  s = sum_fold(s);
  if( lane==0 ){
    g.ask_d2[u] = s;
    atomicAdd(&g.cursor[t], 1u);
  }
}

static __global__ void __launch_bounds__(BLOCK_THREADS) k_asked(dev_edges g){
  uint32_t u = thread_number(), t;
  if( u>=g.n ) return;
  t = g.ask[u];
  if( t==ROW_NONE ) return;
  g.in[atomicAdd(&g.cursor[t], 1u)] = rules_key(g.ask_d2[u], u);
}

/* ---- ATTACH -------------------------------------------------------------- */

/* The lane that t gives away next, or n_lane. */
static __device__ uint32_t lane_spare(const dev_edges &g, uint32_t n,
                                      uint64_t fixed){
  uint32_t n_fixed = (uint32_t)(__popc((uint32_t)fixed)
                              + __popc((uint32_t)(fixed>>32)));
  if( n_fixed>=(g.n_lane+1)/2 ) return g.n_lane;
  if( n<g.n_lane ) return n;
  while( fixed>>(n-1) & 1 ) n--;
  return n-1;
}

/* A block of WARP threads per row: requests one after the other, nearest
** first, while it has lanes. */
static __global__ void __launch_bounds__(WARP) k_attach(dev_edges g){
  __shared__ unsigned long long nearest;
  uint32_t t = blockIdx.x, lo = g.first[t], hi = g.first[t+1];
  uint32_t n = g.count[t], lane;
  uint64_t last = 0, fixed = g.fixed[t];
  while( hi>lo && (lane = lane_spare(g, n, fixed))<g.n_lane ){
    __syncthreads();
    if( threadIdx.x==0 ) nearest = ~0ull;
    __syncthreads();
    for(uint32_t i=lo+threadIdx.x; i<hi; i+=WARP){
      if( g.in[i]>last ) atomicMin(&nearest, (unsigned long long)g.in[i]);
    }
    __syncthreads();
    if( nearest==~0ull ) break;
    last = nearest;
    fixed |= (uint64_t)1<<lane;
    if( lane==n ) n++;
    if( threadIdx.x==0 ) g.list[(size_t)t*g.n_lane + lane] = last;
  }
  __syncthreads();
  if( threadIdx.x==0 ){
    g.count[t] = n;
    g.fixed[t] = fixed;
  }
}

/* A thread per row; the lists are sorted but for what was attached. */
static __global__ void __launch_bounds__(BLOCK_THREADS)
k_numbers(dev_edges g, uint32_t *out){
  uint32_t p = thread_number(), n;
  uint64_t *list;
  if( p>=g.n ) return;
  n = g.count[p];
  list = g.list + (size_t)p*g.n_lane;
  for(uint32_t i=1; i<n; i++){
    uint64_t x = list[i];
    uint32_t at = i;
    for(; at>0 && list[at-1]>x; at--) list[at] = list[at-1];
    list[at] = x;
  }
  for(uint32_t i=0; i<g.n_lane; i++){
    out[(size_t)p*g.n_lane + i] = i<n ? rules_key_row(list[i]) : ROW_NONE;
  }
}

/* ---- Launches ------------------------------------------------------------ */

static dim3 grid_of(uint64_t n){
  return dim3((uint32_t)((n + BLOCK_THREADS-1)/BLOCK_THREADS));
}

int vdb_cuda_edges_count(vdb_gpu_device *d, const dev_edges *g){
  DEV_LAUNCH(k_count, grid_of(g->n), dim3(BLOCK_THREADS), 0, d->stream, *g);
  return vdb_cuda_step(d);
}
int vdb_cuda_edges_turn(vdb_gpu_device *d, const dev_edges *g){
  DEV_LAUNCH(k_turn, grid_of(g->n), dim3(BLOCK_THREADS), 0, d->stream, *g);
  return vdb_cuda_step(d);
}
int vdb_cuda_edges_ask(vdb_gpu_device *d, const dev_edges *g){
  DEV_LAUNCH(k_ask, grid_of((uint64_t)g->n*WARP), dim3(BLOCK_THREADS), 0,
             d->stream, *g);
  return vdb_cuda_step(d);
}
int vdb_cuda_edges_asked(vdb_gpu_device *d, const dev_edges *g){
  DEV_LAUNCH(k_asked, grid_of(g->n), dim3(BLOCK_THREADS), 0, d->stream, *g);
  return vdb_cuda_step(d);
}
int vdb_cuda_edges_reach(vdb_gpu_device *d, const dev_edges *g, uint32_t n,
                         int from){
  DEV_LAUNCH(k_reach, grid_of((uint64_t)n*g->n_lane), dim3(BLOCK_THREADS), 0,
             d->stream, *g, n, from);
  return vdb_cuda_step(d);
}
int vdb_cuda_edges_attach(vdb_gpu_device *d, const dev_edges *g){
  DEV_LAUNCH(k_attach, dim3(g->n), dim3(WARP), 0, d->stream, *g);
  return vdb_cuda_step(d);
}
int vdb_cuda_edges_out(vdb_gpu_device *d, const dev_edges *g, uint32_t *out){
  DEV_LAUNCH(k_numbers, grid_of(g->n), dim3(BLOCK_THREADS), 0, d->stream, *g,
             out);
  return vdb_cuda_step(d);
}
