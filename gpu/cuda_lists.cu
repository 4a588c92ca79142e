/* cuda_lists.cu -- the lists of queries: emptied, cut, put in order.
**
** A block of threads has one list. CUT finds the k-th smallest v+e by four
** rounds of counting 8 bits each, then moves what stays to the front: what is
** read in a round lies behind what is written in it. Entries come in any
** order, but which of them stay after rescoring does not depend on it.
*/
#include "gpu/cuda_int.h"

struct lists_args {
  dev_lists l;
  const uint32_t *which;           /* NULL: list i */
  uint32_t n_first;
  bool has_band;                   /* else e is 0 */
  dev_queries q;
  const float2 *block;
};

static __device__ __forceinline__ uint32_t list_of_block(const lists_args &g){
  return g.which ? g.which[blockIdx.x] : blockIdx.x;
}

static __global__ void k_reset(lists_args g, uint32_t n){
  uint32_t i = blockIdx.x*BLOCK_THREADS + threadIdx.x;
  if( i>=n ) return;
  if( g.which ) i = g.which[i];
  g.l.count[i] = 0;
  g.l.flag[i] = 0;
  g.l.tau[i] = i<g.l.n ? INFINITY : -INFINITY;
}

static __device__ __forceinline__ float entry_error(const lists_args &g,
                                                    uint32_t i,
                                                    dev_entry x){
  float2 br;
  struct rules_band e;
  if( !g.has_band || x.pos==ROW_NONE ) return 0;
  br = g.block[x.pos/TILE];
  e.a = g.q.a[i];
  e.c_a = g.q.c*e.a;
  e.lin = g.q.lin[i];
  e.k = g.q.k;
  e.z = g.q.z[i];
  return rules_band_at(e, br.x, br.y);
}

/* The bin of 256 in which the k-th falls, by the thread whose bin it is; with
** k there, and how many of that are left for the bin. */
static __device__ __forceinline__ void bin_choose(const uint32_t *hist,
                                                  uint32_t k,
                                                  uint32_t *chosen,
                                                  uint32_t *left){
  __shared__ uint32_t n_warp[BLOCK_WARPS];
  uint32_t lane = threadIdx.x%WARP, warp = threadIdx.x/WARP;
  uint32_t mine = hist[threadIdx.x], sum = mine;
  for(uint32_t h=1; h<WARP; h*=2){
    uint32_t below = __shfl_up_sync(0xffffffffu, sum, h);
    if( lane>=h ) sum += below;
  }
  if( lane==WARP-1 ) n_warp[warp] = sum;
  __syncthreads();
  for(uint32_t w=0; w<warp; w++) sum += n_warp[w];
  if( sum>=k && sum-mine<k ){
    *chosen = threadIdx.x;
    *left = k - (sum-mine);
  }
}

/* The k-th smallest key of n entries, 0xffffffff if there are not so many. */
static __device__ uint32_t list_kth(const lists_args &g, uint32_t i,
                                    const dev_entry *entry, uint32_t n){
  __shared__ uint32_t hist[256];
  __shared__ uint32_t chosen, left;
  uint32_t prefix = 0, k = g.l.k;
  if( n<k ) return 0xffffffffu;
  for(int shift=24; shift>=0; shift-=8){
    hist[threadIdx.x] = 0;
    __syncthreads();
    for(uint32_t at=threadIdx.x; at<n; at+=BLOCK_THREADS){
      dev_entry x = entry[at];
      uint32_t key = x.pos==ROW_NONE ? 0xffffffffu
                   : rules_order(x.v + entry_error(g, i, x));
      if( shift==24 || key>>(shift+8)==prefix ){
        atomicAdd(&hist[key>>shift & 255], 1u);
      }
    }
    __syncthreads();
    bin_choose(hist, k, &chosen, &left);
    __syncthreads();
    prefix = prefix<<8 | chosen;
    k = left;
    __syncthreads();
  }
  return prefix;
}

static __global__ void __launch_bounds__(BLOCK_THREADS, 4) k_cut(lists_args g){
  __shared__ uint32_t n_warp[BLOCK_WARPS];
  uint32_t i = list_of_block(g), n, n_kept = 0, kth;
  uint32_t lane = threadIdx.x%WARP, warp = threadIdx.x/WARP;
  dev_entry *entry = g.l.entry + (size_t)i*g.l.cap;
  float tau;

  if( g.l.flag[i] ) return;
  n = g.n_first ? g.n_first : g.l.count[i];
  __syncthreads();                         /* all have read the count */
  if( n>g.l.cap ){
    if( threadIdx.x==0 ){
      g.l.flag[i] = 1;
      g.l.count[i] = 0;
      g.l.tau[i] = -INFINITY;
    }
    return;
  }
  kth = list_kth(g, i, entry, n);
  tau = kth==0xffffffffu ? INFINITY : rules_unorder(kth);
  for(uint32_t base=0; base<n; base+=BLOCK_THREADS){
    uint32_t at = base + threadIdx.x, m, before = 0, all = 0;
    dev_entry x = { ROW_NONE, 0 };
    bool stays;
    if( at<n ) x = entry[at];
    stays = x.pos!=ROW_NONE && !(x.v - entry_error(g, i, x)>tau);
    m = __ballot_sync(0xffffffffu, stays);
    if( lane==0 ) n_warp[warp] = (uint32_t)__popc(m);
    __syncthreads();                       /* and all have read their entry */
    for(uint32_t w=0; w<BLOCK_WARPS; w++){
      if( w<warp ) before += n_warp[w];
      all += n_warp[w];
    }
    before += (uint32_t)__popc(m & ((1u<<lane)-1));
    if( stays ) entry[n_kept+before] = x;
    n_kept += all;
    __syncthreads();
  }
  if( threadIdx.x==0 ){
    g.l.count[i] = n_kept;
    g.l.tau[i] = tau;
  }
}

/* Keys are (distance, row), n_sort of them. */
static __global__ void __launch_bounds__(BLOCK_THREADS)
k_output(lists_args g, dev_visit v, uint32_t cap_out, uint32_t n_sort,
         uint32_t *row, float *distance, uint32_t *n_out){
  uint64_t *key = (uint64_t*)(void*)DEV_SHARED;
  uint32_t i = blockIdx.x, n = g.l.count[i];
  const dev_entry *entry = g.l.entry + (size_t)i*g.l.cap;
  if( g.l.flag[i] || n>cap_out ){
    if( threadIdx.x==0 ) n_out[i] = VDB_GPU_LEFT;
    return;
  }
  for(uint32_t at=threadIdx.x; at<n_sort; at+=BLOCK_THREADS){
    key[at] = at<n ? (uint64_t)rules_order(entry[at].v)<<32
                     | visit_row(v, entry[at].pos)
                   : ~(uint64_t)0;
  }
  __syncthreads();
  block_sort<BLOCK_THREADS>(key, n_sort);
  for(uint32_t at=threadIdx.x; at<n; at+=BLOCK_THREADS){
    row[(size_t)i*cap_out + at] = (uint32_t)key[at];
    distance[(size_t)i*cap_out + at] = rules_unorder((uint32_t)(key[at]>>32));
  }
  if( threadIdx.x==0 ) n_out[i] = n;
}

/* ---- Launches ------------------------------------------------------------ */

int vdb_cuda_reset(vdb_gpu_device *d, const dev_lists *l,
                   const uint32_t *which, uint32_t n){
  lists_args g = {};
  g.l = *l;
  g.which = which;
  DEV_LAUNCH(k_reset, dim3((n + BLOCK_THREADS-1)/BLOCK_THREADS),
             dim3(BLOCK_THREADS), 0, d->stream, g, n);
  return vdb_cuda_step(d);
}

int vdb_cuda_select(vdb_gpu_rows *r, const dev_queries *q, const dev_lists *l,
                    const uint32_t *which, uint32_t n, uint32_t n_first){
  lists_args g = {};
  g.l = *l;
  g.which = which;
  g.n_first = n_first;
  g.block = r->block;
  if( q ){
    g.has_band = true;
    g.q = *q;
  }
  DEV_LAUNCH(k_cut, dim3(n), dim3(BLOCK_THREADS), 0, r->d->stream, g);
  return vdb_cuda_step(r->d);
}

int vdb_cuda_output(vdb_gpu_rows *r, const dev_lists *l, uint32_t cap_out,
                    uint32_t *row, float *distance, uint32_t *n_out){
  dev_visit v = { r->src.n_rows, r->step, NULL, 0, 0, false };
  uint32_t n_sort = 2;
  lists_args g = {};
  g.l = *l;
  while( n_sort<cap_out ) n_sort *= 2;
  DEV_LAUNCH(k_output, dim3(l->n), dim3(BLOCK_THREADS),
             n_sort*sizeof(uint64_t), r->d->stream, g, v, cap_out, n_sort,
             row, distance, n_out);
  return vdb_cuda_step(r->d);
}
