/* cuda_edges.cu -- the steps of gpu/edges.h that choose edges; a block of
** threads makes the list of one row.
**
** HIDING  A row that is kept is staged in shared memory, and the warps compare
**   it with all candidates that are still alive, four at a time: every pair is
**   looked at that the rule looks at, in parallel over candidates. Sums are
**   canonical (cuda_int.h).
** ORDER   Candidates are keys (d2, row), all different, sorted in shared memory;
**   so it does not matter in which order edges by target were written.
** BARRIERS  Flags that decide a branch are written between two barriers and
**   read after the second, by all threads.
*/
#include "gpu/cuda_int.h"

enum { EDGE_THREADS = 128, EDGE_WARPS = EDGE_THREADS/WARP, FOUR = 4 };
#define KEY_NONE  (~(uint64_t)0)
#define IS_USED   1u
#define IS_NARROW60  2u
#define IS_NARROW50  4u

/* Shared memory of a block. */
struct edge_shared {
  uint64_t *key;                   /* 2*n_half, LIST_MAX at least */
  uint64_t *out;                   /* LANES_MAX */
  float *row;                      /* d */
  unsigned char *flag;             /* as many as keys */
};

static __host__ __device__ inline uint32_t keys_room(const dev_edges &g){
  return 2*g.n_half>RULES_LIST_MAX ? 2*g.n_half : RULES_LIST_MAX;
}
static __device__ __forceinline__ edge_shared shared_of(const dev_edges &g){
  edge_shared s;
  s.key = (uint64_t*)(void*)DEV_SHARED;
  s.out = s.key + keys_room(g);
  s.row = (float*)(void*)(s.out + RULES_LANES_MAX);
  s.flag = (unsigned char*)(void*)(s.row + g.d);
  return s;
}
static size_t shared_bytes(const dev_edges *g){
  return ((size_t)keys_room(*g) + RULES_LANES_MAX)*8 + (size_t)g->d*4
       + keys_room(*g);
}

static __device__ __forceinline__ uint32_t power_of_two(uint32_t n){
  uint32_t p = 2;
  while( p<n ) p *= 2;
  return p;
}
static __device__ __forceinline__ const float *row_at(const dev_edges &g,
                                                      uint32_t row){
  return g.x + (size_t)row*g.d;
}
static __device__ __forceinline__ void row_stage(const dev_edges &g,
                                                 float *to, uint32_t row){
  const float *from = row_at(g, row);
  for(uint32_t j=threadIdx.x; j<g.d; j+=EDGE_THREADS) to[j] = __ldg(from+j);
}

/* Squares of the staged row and four others; lane r has that of x[r]. */
static __device__ __forceinline__ float four_d2(const float *row,
                                                const float *const *x,
                                                uint32_t d){
  uint32_t lane = threadIdx.x%WARP;
  float s[FOUR] = { 0, 0, 0, 0 }, mine = 0;
  for(uint32_t j=lane; j<d; j+=WARP){
    float a = row[j];
#pragma unroll
    for(int r=0; r<FOUR; r++) s[r] = sum_step(true, a, __ldg(x[r]+j), s[r]);
  }
#pragma unroll
  for(int r=0; r<FOUR; r++){
    float t = __shfl_sync(0xffffffffu, sum_fold(s[r]), 0);
    if( lane==(uint32_t)r ) mine = t;
  }
  return mine;
}

/* key[i] = near[i] with its square from the staged row, i<n. */
static __device__ void near_measure(const dev_edges &g, const edge_shared &s,
                                    const uint32_t *near, uint32_t n){
  uint32_t lane = threadIdx.x%WARP;
  for(uint32_t i=threadIdx.x/WARP*FOUR; i<n; i+=EDGE_WARPS*FOUR){
    const float *x[FOUR];
    float d2;
#pragma unroll
    for(int r=0; r<FOUR; r++) x[r] = row_at(g, near[i+r<n ? i+r : i]);
    d2 = four_d2(s.row, x, g.d);
    if( lane<FOUR && i+lane<n ) s.key[i+lane] = rules_key(d2, near[i+lane]);
  }
}

/* The first n_most of near(p) as sorted keys; p is staged. How many. */
static __device__ uint32_t near_load(const dev_edges &g, const edge_shared &s,
                                     uint32_t p, uint32_t n_most){
  __shared__ uint32_t n_valid;
  const uint32_t *near = g.near + (size_t)p*g.k;
  uint32_t n_sort = power_of_two(n_most), n;
  __syncthreads();
  if( threadIdx.x==0 ) n_valid = n_most;
  row_stage(g, s.row, p);
  for(uint32_t i=threadIdx.x; i<n_sort; i+=EDGE_THREADS) s.key[i] = KEY_NONE;
  __syncthreads();
  for(uint32_t i=threadIdx.x; i<n_most; i+=EDGE_THREADS){
    if( near[i]>=g.n ) atomicMin(&n_valid, i);
  }
  __syncthreads();
  n = n_valid;
  near_measure(g, s, near, n);
  __syncthreads();
  block_sort<EDGE_THREADS>(s.key, n_sort);
  return n;
}

/* Four candidates from i on and the staged row: lane r has the square of
** candidate i+r. False if all have one of the flags. */
static __device__ __forceinline__ bool four_measure(const dev_edges &g,
                                                    const edge_shared &s,
                                                    uint32_t i, uint32_t n,
                                                    uint32_t flags,
                                                    float *d2){
  const float *x[FOUR];
  const float *some = NULL;
#pragma unroll
  for(int r=0; r<FOUR; r++){
    bool lives = i+r<n && !(s.flag[i+r] & flags);
    x[r] = lives ? row_at(g, rules_key_row(s.key[i+r])) : NULL;
    if( lives ) some = x[r];
  }
  if( some==NULL ) return false;
#pragma unroll
  for(int r=0; r<FOUR; r++) if( x[r]==NULL ) x[r] = some;
  *d2 = four_d2(s.row, x, g.d);
  return true;
}

/* ---- PRUNE --------------------------------------------------------------- */

static __device__ void candidates_hide(const dev_edges &g,
                                       const edge_shared &s, uint32_t from,
                                       uint32_t n){
  uint32_t lane = threadIdx.x%WARP;
  float d2 = 0;
  for(uint32_t i=from + threadIdx.x/WARP*FOUR; i<n; i+=EDGE_WARPS*FOUR){
    if( !four_measure(g, s, i, n, IS_USED, &d2) ) continue;
    if( lane<FOUR && i+lane<n
     && rules_hides(g.alpha2, d2, rules_key_d2(s.key[i+lane])) ){
      s.flag[i+lane] = IS_USED;
    }
  }
}

/* Of n sorted candidates, of which some are flagged, to s.out. */
static __device__ uint32_t keys_prune(const dev_edges &g,
                                      const edge_shared &s, uint32_t n){
  uint32_t n_out = 0;
  for(uint32_t at=0; at<n && n_out<g.n_lane; at++){
    if( s.flag[at] ) continue;
    if( threadIdx.x==0 ) s.out[n_out] = s.key[at];
    if( ++n_out==g.n_lane ) break;
    row_stage(g, s.row, rules_key_row(s.key[at]));
    __syncthreads();
    candidates_hide(g, s, at+1, n);
    __syncthreads();
  }
  __syncthreads();
  return n_out;
}

static __device__ void list_put(const dev_edges &g, uint64_t *list,
                                uint32_t *count, uint32_t p,
                                const uint64_t *key, uint32_t n){
  for(uint32_t i=threadIdx.x; i<n; i+=EDGE_THREADS){
    list[(size_t)p*g.n_lane + i] = key[i];
  }
  if( threadIdx.x==0 ) count[p] = n;
}

static __global__ void __launch_bounds__(EDGE_THREADS, 8)
k_choose(dev_edges g, uint32_t lo){
  edge_shared s = shared_of(g);
  uint32_t p = lo + blockIdx.x, n = near_load(g, s, p, g.k);
  for(uint32_t i=threadIdx.x; i<n; i+=EDGE_THREADS) s.flag[i] = 0;
  __syncthreads();
  n = keys_prune(g, s, n);
  list_put(g, g.list, g.count, p, s.out, n);
}

/* ---- BACK, MUTUAL, FILL -------------------------------------------------- */

/* The nearest rows that chose t, RULES_IN_MAX*R at most, sorted, in s.key;
** n_half at a time. How many. */
static __device__ uint32_t in_load(const dev_edges &g, const edge_shared &s,
                                   uint32_t t){
  uint32_t lo = g.first[t], hi = g.first[t+1], h = g.n_half;
  uint32_t most = RULES_IN_MAX*g.n_lane;
  for(uint32_t at=lo; at==lo || at<hi; at+=h){
    uint32_t to = at==lo ? 0 : h, n_sort = at==lo ? h : 2*h;
    for(uint32_t i=threadIdx.x; i<h; i+=EDGE_THREADS){
      s.key[to+i] = at<hi && i<hi-at ? g.in[at+i] : KEY_NONE;
    }
    __syncthreads();
    block_sort<EDGE_THREADS>(s.key, n_sort);
  }
  return hi-lo<most ? hi-lo : most;
}

/* Flags of n sorted keys: those that equal the one before. How many. */
static __device__ uint32_t repeats_flag(const edge_shared &s, uint32_t n){
  __shared__ uint32_t n_repeat;
  if( threadIdx.x==0 ) n_repeat = 0;
  __syncthreads();
  for(uint32_t i=threadIdx.x; i<n; i+=EDGE_THREADS){
    bool is = i>0 && s.key[i]==s.key[i-1];
    s.flag[i] = is ? IS_USED : 0;
    if( is ) atomicAdd(&n_repeat, 1u);
  }
  __syncthreads();
  return n_repeat;
}

static __global__ void __launch_bounds__(EDGE_THREADS, 8)
k_back(dev_edges g, uint32_t lo){
  edge_shared s = shared_of(g);
  uint32_t t = lo + blockIdx.x, n_in = in_load(g, s, t), n_own = g.count[t];
  uint32_t n = n_in + n_own, n_sort = power_of_two(n), n_repeat;
  for(uint32_t i=n_in + threadIdx.x; i<n_sort; i+=EDGE_THREADS){
    s.key[i] = i<n ? g.list[(size_t)t*g.n_lane + i-n_in] : KEY_NONE;
  }
  __syncthreads();
  block_sort<EDGE_THREADS>(s.key, n_sort);
  n_repeat = repeats_flag(s, n);
  if( n-n_repeat>g.n_lane ){
    n = keys_prune(g, s, n);
  }else{
    if( threadIdx.x==0 ){
      uint32_t to = 0;
      for(uint32_t i=0; i<n; i++) if( !s.flag[i] ) s.out[to++] = s.key[i];
    }
    n -= n_repeat;
    __syncthreads();
  }
  list_put(g, g.next, g.n_next, t, s.out, n);
}

/* Of n keys: flag those that are in s.out. */
static __device__ void used_flag(const edge_shared &s, uint32_t n,
                                 uint32_t n_out){
  for(uint32_t i=threadIdx.x; i<n; i+=EDGE_THREADS){
    bool is = false;
    for(uint32_t j=0; j<n_out; j++) is |= s.out[j]==s.key[i];
    s.flag[i] = is ? IS_USED : 0;
  }
  __syncthreads();
}

/* MUTUAL: s.out has the list of t, n_out long. */
static __device__ uint32_t list_mutual(const dev_edges &g,
                                       const edge_shared &s, uint32_t t,
                                       uint32_t n_out){
  __shared__ uint32_t n_all;
  uint32_t n = in_load(g, s, t);
  used_flag(s, n, n_out);
  if( threadIdx.x==0 ){
    for(uint32_t i=0; i<n && n_out<g.n_lane; i++){
      if( !s.flag[i] ) s.out[n_out++] = s.key[i];
    }
    n_all = n_out;
  }
  __syncthreads();
  return n_all;
}

/* Flags of candidates at a narrow angle to key `kept`, which is staged. */
static __device__ void candidates_angle(const dev_edges &g,
                                        const edge_shared &s, uint64_t kept,
                                        uint32_t n){
  uint32_t lane = threadIdx.x%WARP;
  float k2 = rules_key_d2(kept), d2 = 0;
  for(uint32_t i=threadIdx.x/WARP*FOUR; i<n; i+=EDGE_WARPS*FOUR){
    if( !four_measure(g, s, i, n, IS_USED, &d2) ) continue;
    if( lane<FOUR && i+lane<n ){
      float c2 = rules_key_d2(s.key[i+lane]);
      uint32_t f = s.flag[i+lane];
      if( rules_is_narrow(c2, k2, d2, RULES_COS_60) ) f |= IS_NARROW60;
      if( rules_is_narrow(c2, k2, d2, RULES_COS_50) ) f |= IS_NARROW50;
      s.flag[i+lane] = (unsigned char)f;
    }
  }
}

static __device__ uint32_t list_fill(const dev_edges &g, const edge_shared &s,
                                     uint32_t p, uint32_t n_out){
  uint32_t n = near_load(g, s, p, g.n_spare);
  used_flag(s, n, n_out);
  for(uint32_t j=0; j<n_out; j++){
    row_stage(g, s.row, rules_key_row(s.out[j]));
    __syncthreads();
    candidates_angle(g, s, s.out[j], n);
    __syncthreads();
  }
  for(int round=0; round<3; round++){
    uint32_t no = IS_USED | (round==0 ? IS_NARROW60 : round==1 ? IS_NARROW50
                                                               : 0);
    for(uint32_t i=0; i<n && n_out<g.n_lane; i++){
      if( s.flag[i] & no ) continue;
      row_stage(g, s.row, rules_key_row(s.key[i]));
      __syncthreads();
      if( threadIdx.x==0 ) s.out[n_out] = s.key[i];
      if( threadIdx.x==0 ) s.flag[i] |= IS_USED;
      n_out++;
      __syncthreads();
      if( round<2 ) candidates_angle(g, s, s.key[i], n);
      __syncthreads();
    }
  }
  return n_out;
}

static __global__ void __launch_bounds__(EDGE_THREADS, 8)
k_fill(dev_edges g, uint32_t lo){
  edge_shared s = shared_of(g);
  uint32_t p = lo + blockIdx.x, n = g.count[p];
  for(uint32_t i=threadIdx.x; i<n; i+=EDGE_THREADS){
    s.out[i] = g.list[(size_t)p*g.n_lane + i];
  }
  __syncthreads();
  if( n<g.n_lane ) n = list_mutual(g, s, p, n);
  if( n<g.n_lane && g.n_spare>0 ) n = list_fill(g, s, p, n);
  for(uint32_t i=n + threadIdx.x; i<RULES_LANES_MAX; i+=EDGE_THREADS){
    s.out[i] = KEY_NONE;
  }
  __syncthreads();
  block_sort<EDGE_THREADS>(s.out, RULES_LANES_MAX);
  list_put(g, g.next, g.n_next, p, s.out, n);
}

int vdb_cuda_edges_step(vdb_gpu_device *d, const dev_edges *g, int step,
                        uint32_t lo, uint32_t hi){
  dim3 grid(hi-lo), block(EDGE_THREADS);
  if( step==EDGE_STEP_CHOOSE ){
    DEV_LAUNCH(k_choose, grid, block, shared_bytes(g), d->stream, *g, lo);
  }else if( step==EDGE_STEP_BACK ){
    DEV_LAUNCH(k_back, grid, block, shared_bytes(g), d->stream, *g, lo);
  }else{
    DEV_LAUNCH(k_fill, grid, block, shared_bytes(g), d->stream, *g, lo);
  }
  return vdb_cuda_step(d);
}
