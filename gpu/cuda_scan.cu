/* cuda_scan.cu -- canonical distances: of all rows for a few queries, and of
** what the filter left.
**
** The 32 partial sums of a canonical sum (simd/simd.h) are the 32 lanes of a
** warp: lane i adds elements i, i+32, .. in order, and shuffles fold. So rows
** are read where they lie, 128 bytes at a time, and the bits are those of the
** CPU. A warp has eight rows under way for one query, four for four queries: a
** multiprocessor needs some 24 KiB on the way to be kept busy by 4 TB/s.
*/
#include "gpu/cuda_int.h"

enum { MANY = 4, ROWS_OF_ONE = 8, ROWS_OF_MANY = 4 };

struct scan_args {
  dev_lists l;
  dev_visit v;
  const unsigned char *x, *raw;
  const uint32_t *which;           /* NULL: list i is query i */
  uint32_t n, d;
  size_t sz_vec;
  int rule;
};

/* dot(q,q), or 0 where no metric asks for it; the same in all lanes. */
template<int TYPE> static __device__ float query_norm(int rule, const void *q,
                                                      uint32_t d){
  typedef dev_element<TYPE> E;
  typename E::sum s = 0;
  if( rule!=RULE_COSINE ) return 0;
  for(uint32_t i=0; i<d; i+=WARP){
    uint32_t j = i + threadIdx.x%WARP;
    typename E::sum a = j<d ? E::at(q, j) : (typename E::sum)0;
    s = sum_step(false, a, a, s);
  }
  s = __shfl_sync(0xffffffffu, sum_fold(s), 0);
  return sum_float<VECDB_U8>(false, s);
}

/* A distance of list i at `pos` is known, in one lane. */
static __device__ __forceinline__ void distance_keep(const scan_args &g,
                                                     uint32_t i, uint32_t pos,
                                                     uint32_t row, float v){
  bool passes = visit_passes(g.v, row);
  uint32_t at = pos;
  if( !g.v.is_first ){
    if( !passes || v>g.l.tau[i] ) return;
    at = atomicAdd(&g.l.count[i], 1u);
    if( at>=g.l.cap ) return;
  }
  g.l.entry[(size_t)i*g.l.cap + at].pos = passes ? pos : ROW_NONE;
  g.l.entry[(size_t)i*g.l.cap + at].v = v;
}

/* The sums of NQ queries and ROWS rows from position p on: lane i*ROWS+r takes
** that of query i and row r, so that the last steps are done side by side.
** my_list and my_qq belong to the lane's query. */
template<int TYPE, int NQ, int ROWS, typename T>
static __device__ __forceinline__ void
tile_keep(const scan_args &g, const T (*s)[ROWS], const T *xx,
          uint32_t my_list, float my_qq, uint32_t p){
  uint32_t lane = threadIdx.x%WARP, pos = p + lane%ROWS;
  T my_sum = 0, my_xx = 0;
  float v;
#pragma unroll
  for(int r=0; r<ROWS; r++){
    T t = xx[r];
    if( g.rule==RULE_COSINE ) t = __shfl_sync(0xffffffffu, sum_fold(t), 0);
    if( lane%ROWS==(uint32_t)r ) my_xx = t;
#pragma unroll
    for(int i=0; i<NQ; i++){
      t = __shfl_sync(0xffffffffu, sum_fold(s[i][r]), 0);
      if( lane==(uint32_t)(i*ROWS + r) ) my_sum = t;
    }
  }
  if( lane>=NQ*ROWS || pos>=g.v.hi || blockIdx.y*NQ+lane/ROWS>=g.n ) return;
  v = distance_of_sums(g.rule, sum_float<TYPE>(g.rule!=RULE_L2, my_sum),
                       my_qq, sum_float<VECDB_U8>(false, my_xx));
  distance_keep(g, my_list, pos, visit_row(g.v, pos), v);
}

template<int TYPE, int NQ, int ROWS> static __global__ void
__launch_bounds__(BLOCK_THREADS, 2) k_scan(scan_args g){
  typedef dev_element<TYPE> E;
  typedef typename E::sum T;
  uint32_t lane = threadIdx.x%WARP, warp = threadIdx.x/WARP, my_list = 0;
  const unsigned char *q[NQ];
  float my_qq = 0;
  bool is_l2 = g.rule==RULE_L2, has_norm = g.rule==RULE_COSINE;

#pragma unroll
  for(int i=0; i<NQ; i++){
    uint32_t at = blockIdx.y*NQ + i;
    if( at>=g.n ) at = g.n-1;              /* its twin is ignored below */
    if( g.which ) at = g.which[at];
    q[i] = g.raw + (size_t)at*g.sz_vec;
    float qq = query_norm<TYPE>(g.rule, q[i], g.d);
    if( lane/ROWS==(uint32_t)i ){
      my_list = at;
      my_qq = qq;
    }
  }
  for(uint32_t p=g.v.lo + (blockIdx.x*BLOCK_WARPS + warp)*ROWS; p<g.v.hi;
      p+=gridDim.x*BLOCK_WARPS*ROWS){
    const unsigned char *x[ROWS];
    T s[NQ][ROWS], xx[ROWS];
#pragma unroll
    for(int r=0; r<ROWS; r++){
      x[r] = g.x + (size_t)visit_row(g.v, p+r<g.v.hi ? p+r : p)*g.sz_vec;
      xx[r] = 0;
#pragma unroll
      for(int i=0; i<NQ; i++) s[i][r] = 0;
    }
    /* Rows beside each other hide the latency; more of one would only need
    ** registers. */
#pragma unroll 1
    for(uint32_t j0=0; j0<g.d; j0+=WARP){
      uint32_t j = j0+lane;
      bool is_in = j<g.d;
      T b[ROWS];
#pragma unroll
      for(int r=0; r<ROWS; r++) b[r] = is_in ? E::at(x[r], j) : (T)0;
#pragma unroll
      for(int i=0; i<NQ; i++){
        T a = is_in ? E::at(q[i], j) : (T)0;
#pragma unroll
        for(int r=0; r<ROWS; r++) s[i][r] = sum_step(is_l2, a, b[r], s[i][r]);
      }
      if( has_norm ){
#pragma unroll
        for(int r=0; r<ROWS; r++) xx[r] = sum_step(false, b[r], b[r], xx[r]);
      }
    }
    tile_keep<TYPE, NQ, ROWS>(g, s, xx, my_list, my_qq, p);
  }
}

/* A block per list, a warp per entry. */
template<int TYPE> static __global__ void
__launch_bounds__(BLOCK_THREADS, 2) k_rescore(scan_args g){
  typedef dev_element<TYPE> E;
  typedef typename E::sum T;
  uint32_t i = blockIdx.x, lane = threadIdx.x%WARP;
  dev_entry *entry = g.l.entry + (size_t)i*g.l.cap;
  const unsigned char *q = g.raw + (size_t)i*g.sz_vec;
  uint32_t n = g.l.flag[i] ? 0 : g.l.count[i];
  bool is_l2 = g.rule==RULE_L2, has_norm = g.rule==RULE_COSINE;
  float qq = query_norm<TYPE>(g.rule, q, g.d);

  for(uint32_t at=threadIdx.x/WARP; at<n; at+=BLOCK_WARPS){
    uint32_t row = visit_row(g.v, entry[at].pos);
    const unsigned char *x = g.x + (size_t)row*g.sz_vec;
    T s = 0, xx = 0;
    float sum, bb = 0;
#pragma unroll 2
    for(uint32_t j0=0; j0<g.d; j0+=WARP){
      uint32_t j = j0+lane;
      T a = j<g.d ? E::at(q, j) : (T)0, b = j<g.d ? E::at(x, j) : (T)0;
      s = sum_step(is_l2, a, b, s);
      if( has_norm ) xx = sum_step(false, b, b, xx);
    }
    sum = sum_float<TYPE>(!is_l2, sum_fold(s));
    if( has_norm ) bb = sum_float<VECDB_U8>(false, sum_fold(xx));
    if( lane==0 ) entry[at].v = distance_of_sums(g.rule, sum, qq, bb);
  }
}

template<int TYPE> static void scan_launch(vdb_gpu_rows *r,
                                           const scan_args &g, bool rescore){
  uint32_t n_row = g.v.hi - g.v.lo, n_y, n_x;
  if( rescore ){
    DEV_LAUNCH(k_rescore<TYPE>, dim3(g.l.n), dim3(BLOCK_THREADS), 0,
               r->d->stream, g);
    return;
  }
  n_y = g.n==1 ? 1 : (g.n + MANY-1)/MANY;
  n_x = BLOCK_WARPS*(g.n==1 ? ROWS_OF_ONE : ROWS_OF_MANY);
  n_x = (n_row + n_x-1)/n_x;
  if( n_x>8*r->d->n_unit ) n_x = 8*r->d->n_unit;
  if( g.n==1 ){
    DEV_LAUNCH((k_scan<TYPE, 1, ROWS_OF_ONE>), dim3(n_x, n_y), dim3(BLOCK_THREADS), 0,
               r->d->stream, g);
  }else{
    DEV_LAUNCH((k_scan<TYPE, MANY, ROWS_OF_MANY>), dim3(n_x, n_y), dim3(BLOCK_THREADS), 0,
               r->d->stream, g);
  }
}

static int scan_any(vdb_gpu_rows *r, const scan_args &g, bool rescore){
  switch( r->src.type ){
    case VECDB_F32:  scan_launch<VECDB_F32>(r, g, rescore); break;
    case VECDB_F16:  scan_launch<VECDB_F16>(r, g, rescore); break;
    case VECDB_BF16: scan_launch<VECDB_BF16>(r, g, rescore); break;
    case VECDB_I8:   scan_launch<VECDB_I8>(r, g, rescore); break;
    default:         scan_launch<VECDB_U8>(r, g, rescore); break;
  }
  return vdb_cuda_step(r->d);
}

int vdb_cuda_scan(vdb_gpu_rows *r, const void *raw, const dev_lists *l,
                  const uint32_t *which, uint32_t n, const dev_visit *v){
  scan_args g = { *l, *v, (const unsigned char*)r->x,
                  (const unsigned char*)raw, which, n, r->src.dim, r->sz_vec,
                  r->rule };
  return scan_any(r, g, false);
}

int vdb_cuda_rescore(vdb_gpu_rows *r, const void *raw, const dev_lists *l){
  dev_visit v = { r->src.n_rows, r->step, NULL, 0, 0, false };
  scan_args g = { *l, v, (const unsigned char*)r->x,
                  (const unsigned char*)raw, NULL, l->n, r->src.dim,
                  r->sz_vec, r->rule };
  return scan_any(r, g, true);
}
