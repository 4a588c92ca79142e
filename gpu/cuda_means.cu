/* cuda_means.cu -- the kernels of k-means: rows sorted into lists, means,
** halves of lists.
**
** SORT    Lists are in the order of rows, whatever the order of threads: tiles
**   of rows count how many go to each list, a sum over tiles says where a
**   tile's rows begin in it, and one warp places the rows of a tile, 32 at a
**   time, each behind those of the same list in lower lanes.
** SUMS    A block sums one run of 256 rows in double precision, a thread per
**   dimension and rows in order; another kernel adds runs in order. No atomics,
**   so the bits are those of index/kmeans.c.
** NEAREST Canonical distances to all centroids, a warp per row: for few
**   centroids, and for rows that the filter left.
*/
#include "gpu/cuda_int.h"

enum { SUM_THREADS = 128, CENTROIDS = 4 };
#define FULL_WARP  0xffffffffu

static __device__ __forceinline__ uint32_t lane_number(void){
  return threadIdx.x%WARP;
}
static __device__ __forceinline__ uint64_t warp_number(void){
  return (uint64_t)blockIdx.x*BLOCK_WARPS + threadIdx.x/WARP;
}
static __device__ __forceinline__ uint64_t item_number(void){
  return (uint64_t)blockIdx.x*BLOCK_THREADS + threadIdx.x;
}

/* ---- Nearest ------------------------------------------------------------- */

/* Squares of x and CENTROIDS others; in all lanes. */
static __device__ __forceinline__ void some_d2(const float *x,
                                               const float *const *c,
                                               uint32_t d, float *out){
  float s[CENTROIDS] = { 0, 0, 0, 0 };
  for(uint32_t j=lane_number(); j<d; j+=WARP){
    float a = __ldg(x+j);
#pragma unroll
    for(int r=0; r<CENTROIDS; r++){
      s[r] = sum_step(true, a, __ldg(c[r]+j), s[r]);
    }
  }
#pragma unroll
  for(int r=0; r<CENTROIDS; r++){
    out[r] = __shfl_sync(FULL_WARP, sum_fold(s[r]), 0);
  }
}

static __global__ void __launch_bounds__(BLOCK_THREADS)
k_nearest(const float *x, uint32_t n, uint32_t d, const float *centroid,
          uint32_t k, uint32_t *list, bool is_all){
  uint64_t i = warp_number();
  uint32_t best = 0;
  float least = INFINITY;
  if( i>=n || (!is_all && list[i]!=ROW_NONE) ) return;
  for(uint32_t c=0; c<k; c+=CENTROIDS){
    const float *at[CENTROIDS];
    float d2[CENTROIDS];
#pragma unroll
    for(uint32_t r=0; r<CENTROIDS; r++){
      at[r] = centroid + (size_t)(k-c>r ? c+r : c)*d;
    }
    some_d2(x + i*d, at, d, d2);
#pragma unroll
    for(uint32_t r=0; r<CENTROIDS; r++){
      float v = __fsqrt_rn(rules_not_nan(d2[r]));
      if( k-c>r && v<least ){
        least = v;
        best = c+r;
      }
    }
  }
  if( lane_number()==0 ) list[i] = best;
}

static __global__ void __launch_bounds__(BLOCK_THREADS)
k_nearest_take(const uint32_t *row, const uint32_t *n_out, uint32_t cap,
               uint32_t n, uint32_t n_centroid, uint32_t *list){
  uint64_t i = item_number();
  uint32_t c;
  if( i>=n ) return;
  c = n_out[i]==VDB_GPU_LEFT || n_out[i]==0 ? ROW_NONE : row[i*cap];
  list[i] = c<n_centroid ? c : ROW_NONE;
}

static __global__ void __launch_bounds__(BLOCK_THREADS)
k_changed(const uint32_t *list, const uint32_t *before, uint32_t n,
          uint32_t *n_changed){
  uint64_t i = item_number();
  unsigned lanes = __ballot_sync(FULL_WARP, i<n && list[i]!=before[i]);
  if( lane_number()==0 && lanes ) atomicAdd(n_changed, (uint32_t)__popc(lanes));
}

/* ---- Sort ---------------------------------------------------------------- */

/* A block per tile. */
static __global__ void __launch_bounds__(BLOCK_THREADS) k_tally(dev_sort s){
  uint64_t lo = (uint64_t)blockIdx.x*s.tile, hi = lo + s.tile;
  if( hi>s.n ) hi = s.n;
  for(uint64_t i=lo+threadIdx.x; i<hi; i+=BLOCK_THREADS){
    atomicAdd(&s.count[(size_t)s.list[i]*s.n_tile + blockIdx.x], 1u);
  }
}

/* A warp per list: counts of tiles become places within the list. */
static __global__ void __launch_bounds__(BLOCK_THREADS) k_places(dev_sort s){
  uint64_t l = warp_number();
  uint32_t lane = lane_number(), sum = 0, *count;
  if( l>=s.k ) return;
  count = s.count + l*s.n_tile;
  for(uint32_t t=0; t<s.n_tile; t+=WARP){
    uint32_t mine = t+lane<s.n_tile ? count[t+lane] : 0, upto = mine;
    for(uint32_t h=1; h<WARP; h*=2){
      uint32_t below = __shfl_up_sync(FULL_WARP, upto, h);
      if( lane>=h ) upto += below;
    }
    if( t+lane<s.n_tile ) count[t+lane] = sum + upto - mine;
    sum += __shfl_sync(FULL_WARP, upto, WARP-1);
  }
  if( lane==0 ) s.size[l] = sum;
}

/* Lanes whose list is that of this lane. */
static __device__ __forceinline__ unsigned lanes_alike(uint32_t l, bool is_in,
                                                       uint32_t n_bit){
  unsigned in = __ballot_sync(FULL_WARP, is_in), alike = is_in ? in : 0;
  for(uint32_t b=0; b<n_bit; b++){
    unsigned set = __ballot_sync(FULL_WARP, (int)(l>>b & 1));
    alike &= l>>b & 1 ? set : ~set;
  }
  return alike;
}

/* A warp per tile. */
static __global__ void __launch_bounds__(BLOCK_THREADS) k_place(dev_sort s){
  uint64_t tile = warp_number(), lo = tile*s.tile, hi = lo + s.tile;
  uint32_t lane = lane_number();
  if( tile>=s.n_tile ) return;
  if( hi>s.n ) hi = s.n;
  for(; lo<hi; lo+=WARP){
    uint64_t i = lo+lane;
    bool is_in = i<hi;
    uint32_t l = is_in ? s.list[i] : 0, below, at = 0;
    unsigned alike = lanes_alike(l, is_in, s.n_bit);
    uint32_t *count = s.count + (size_t)l*s.n_tile + tile;
    below = (uint32_t)__popc(alike & ((1u<<lane)-1));
    if( is_in ) at = *count;
    __syncwarp();
    if( is_in && below==0 ) *count = at + (uint32_t)__popc(alike);
    __syncwarp();
    if( is_in ){
      s.member[s.first[l] + at + below] = s.row ? s.row[i] : (uint32_t)i;
    }
  }
}

/* ---- Means --------------------------------------------------------------- */

/* A block per run: its list is the last whose runs begin at or before it. */
static __global__ void __launch_bounds__(SUM_THREADS) k_run(dev_means g){
  __shared__ uint32_t row[RULES_SUM_RUN];
  uint32_t lo = 0, hi = g.k, n, from;
  while( hi-lo>1 ){
    uint32_t mid = lo + (hi-lo)/2;
    if( g.runs[mid]<=blockIdx.x ) lo = mid;
    else hi = mid;
  }
  from = g.first[lo] + (blockIdx.x-g.runs[lo])*RULES_SUM_RUN;
  n = g.first[lo+1] - from;
  if( n>RULES_SUM_RUN ) n = RULES_SUM_RUN;
  for(uint32_t i=threadIdx.x; i<n; i+=SUM_THREADS) row[i] = g.member[from+i];
  __syncthreads();
  for(uint32_t j=threadIdx.x; j<g.d; j+=SUM_THREADS){
    double sum = 0;
#pragma unroll 8
    for(uint32_t i=0; i<n; i++){
      sum += (double)__ldg(g.x + (size_t)row[i]*g.d + j);
    }
    g.part[(size_t)blockIdx.x*g.d + j] = sum;
  }
}

static __device__ __forceinline__ float *centroid_of(const dev_means &g,
                                                     uint64_t l){
  return g.centroid + (int64_t)l*g.stride;
}

/* A thread per list and dimension. Lists without rows keep their centroid. */
static __global__ void __launch_bounds__(BLOCK_THREADS)
k_list_mean(dev_means g){
  uint64_t at = item_number(), l = at/g.d;
  uint32_t j = (uint32_t)(at%g.d), n;
  double sum = 0;
  if( l>=g.k ) return;
  n = g.first[l+1] - g.first[l];
  if( n==0 ) return;
  for(uint32_t r=g.runs[l]; r<g.runs[l+1]; r++){
    sum += g.part[(size_t)r*g.d + j];
  }
  centroid_of(g, l)[j] = (float)(sum/(double)n);
}

/* A warp per list. */
static __global__ void __launch_bounds__(BLOCK_THREADS) k_unit(dev_means g){
  uint64_t l = warp_number();
  float *x, s = 0, scale;
  if( l>=g.k || g.first[l+1]==g.first[l] ) return;
  x = centroid_of(g, l);
  for(uint32_t j=lane_number(); j<g.d; j+=WARP){
    s = sum_step(false, x[j], x[j], s);
  }
  s = __shfl_sync(FULL_WARP, sum_fold(s), 0);
  scale = s>0 ? 1.0f/__fsqrt_rn(s) : 1.0f;
  for(uint32_t j=lane_number(); j<g.d; j+=WARP) x[j] *= scale;
}

/* ---- Halves -------------------------------------------------------------- */

/* The square of a centroid and a row; in all lanes. */
static __device__ __forceinline__ float one_d2(const float *c, const float *x,
                                               uint32_t d){
  float s = 0;
  for(uint32_t j=lane_number(); j<d; j+=WARP){
    s = sum_step(true, c[j], x[j], s);
  }
  return __shfl_sync(FULL_WARP, sum_fold(s), 0);
}

/* The greatest square, and of those the first: squares have no sign. A warp per
** row. */
static __global__ void __launch_bounds__(BLOCK_THREADS) k_far(dev_split g){
  uint64_t i = warp_number();
  union { float f; uint32_t u; } v;
  if( i>=g.n ) return;
  v.f = rules_not_nan(one_d2(g.a, g.x + (size_t)g.member[i]*g.d, g.d));
  if( lane_number()==0 ){
    atomicMax(g.far, (unsigned long long)v.u<<32 | (uint32_t)~i);
  }
}

static __global__ void __launch_bounds__(BLOCK_THREADS) k_seed(dev_split g){
  uint32_t i = ~(uint32_t)*g.far;
  const float *x = g.x + (size_t)g.member[i]*g.d;
  for(uint32_t j=threadIdx.x; j<g.d; j+=BLOCK_THREADS) g.b[j] = x[j];
}

/* A warp per row. */
static __global__ void __launch_bounds__(BLOCK_THREADS) k_sides(dev_split g){
  uint64_t i = warp_number();
  const float *x;
  float to_a, to_b;
  if( i>=g.n ) return;
  x = g.x + (size_t)g.member[i]*g.d;
  to_b = one_d2(g.b, x, g.d);
  to_a = one_d2(g.a, x, g.d);
  if( lane_number()==0 ) g.side[i] = to_b<to_a;
}

/* The sorted halves take the place of the list. */
static __global__ void __launch_bounds__(BLOCK_THREADS)
k_halves(dev_split g, const uint32_t *sorted, uint32_t n_a, uint32_t from,
         uint32_t to, uint32_t *list){
  uint64_t i = item_number();
  if( i>=g.n ) return;
  g.member[i] = sorted[i];
  list[sorted[i]] = i<n_a ? from : to;
}

/* ---- Launches ------------------------------------------------------------ */

static dim3 grid_of(uint64_t n, uint32_t per_block){
  return dim3((uint32_t)((n + per_block-1)/per_block));
}
static const dim3 block_dim(BLOCK_THREADS);

int vdb_cuda_nearest_scan(vdb_gpu_device *d, const float *x, uint32_t n,
                          const vdb_gpu_rows *c, uint32_t *list, bool is_all){
  DEV_LAUNCH(k_nearest, grid_of(n, BLOCK_WARPS), block_dim, 0, d->stream, x, n,
             c->src.dim, (const float*)c->x, c->src.n_rows, list, is_all);
  return vdb_cuda_step(d);
}
int vdb_cuda_nearest_take(vdb_gpu_device *d, const uint32_t *row,
                          const uint32_t *n_out, uint32_t cap, uint32_t n,
                          uint32_t n_centroid, uint32_t *list){
  DEV_LAUNCH(k_nearest_take, grid_of(n, BLOCK_THREADS), block_dim, 0,
             d->stream, row, n_out, cap, n, n_centroid, list);
  return vdb_cuda_step(d);
}
int vdb_cuda_changed(vdb_gpu_device *d, const uint32_t *list,
                     const uint32_t *before, uint32_t n, uint32_t *n_changed){
  int code = vdb_cuda_zero(d, n_changed, sizeof(*n_changed));
  if( code!=VDB_GPU_OK ) return code;
  DEV_LAUNCH(k_changed, grid_of(n, BLOCK_THREADS), block_dim, 0, d->stream,
             list, before, n, n_changed);
  return vdb_cuda_step(d);
}

int vdb_cuda_sort_count(vdb_gpu_device *d, const dev_sort *s){
  int code = vdb_cuda_zero(d, s->count, (size_t)s->k*s->n_tile*4);
  if( code!=VDB_GPU_OK ) return code;
  DEV_LAUNCH(k_tally, dim3(s->n_tile), block_dim, 0, d->stream, *s);
  code = vdb_cuda_step(d);
  if( code!=VDB_GPU_OK ) return code;
  DEV_LAUNCH(k_places, grid_of(s->k, BLOCK_WARPS), block_dim, 0, d->stream, *s);
  return vdb_cuda_step(d);
}
int vdb_cuda_sort_place(vdb_gpu_device *d, const dev_sort *s){
  DEV_LAUNCH(k_place, grid_of(s->n_tile, BLOCK_WARPS), block_dim, 0, d->stream,
             *s);
  return vdb_cuda_step(d);
}

int vdb_cuda_means(vdb_gpu_device *d, const dev_means *g){
  int code;
  DEV_LAUNCH(k_run, dim3(g->n_run), dim3(SUM_THREADS), 0, d->stream, *g);
  DEV_TRY( vdb_cuda_step(d) );
  DEV_LAUNCH(k_list_mean, grid_of((uint64_t)g->k*g->d, BLOCK_THREADS),
             block_dim, 0, d->stream, *g);
  DEV_TRY( vdb_cuda_step(d) );
  if( !g->is_unit ) goto done;
  DEV_LAUNCH(k_unit, grid_of(g->k, BLOCK_WARPS), block_dim, 0, d->stream, *g);
  DEV_TRY( vdb_cuda_step(d) );
done:
  return code;
}

int vdb_cuda_split_begin(vdb_gpu_device *d, const dev_split *g){
  int code = vdb_cuda_zero(d, g->far, sizeof(*g->far));
  if( code!=VDB_GPU_OK ) return code;
  DEV_LAUNCH(k_far, grid_of(g->n, BLOCK_WARPS), block_dim, 0, d->stream, *g);
  code = vdb_cuda_step(d);
  if( code!=VDB_GPU_OK ) return code;
  DEV_LAUNCH(k_seed, dim3(1), block_dim, 0, d->stream, *g);
  return vdb_cuda_step(d);
}
int vdb_cuda_split_sides(vdb_gpu_device *d, const dev_split *g){
  DEV_LAUNCH(k_sides, grid_of(g->n, BLOCK_WARPS), block_dim, 0, d->stream, *g);
  return vdb_cuda_step(d);
}
int vdb_cuda_split_end(vdb_gpu_device *d, const dev_split *g,
                       const uint32_t *sorted, uint32_t n_a, uint32_t from,
                       uint32_t to, uint32_t *list){
  DEV_LAUNCH(k_halves, grid_of(g->n, BLOCK_THREADS), block_dim, 0, d->stream,
             *g, sorted, n_a, from, to, list);
  return vdb_cuda_step(d);
}
