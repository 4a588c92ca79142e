/* cuda_filter.cu -- approximate values of all rows for all queries of a block,
** by tensor cores; those at most a query's threshold go to its list.
**
** TILE    A block of threads has 128 queries and walks over tiles of 128 rows.
**   A step is a slice of 128 bytes of a tile's rows, 64 halves or 128 bytes; three stages of shared
**   memory hold the slices that come (cp.async), the one that is used and the
**   one after. Queries of two slices at most stay in shared memory.
** WARPS   Eight, 2 x 4: each has 64 queries and 32 rows, in 64 registers.
** BYTES   Fragments of bytes lie in registers as those of halves do, two bytes
**   for a half, so that all but the product itself is the same; sums are exact.
** SWIZZLE A row of a slice is 128 bytes, 8 pieces of 16; piece j of row r lies
**   at j^(r%8), so that neither copies nor ldmatrix meet in a bank.
** TAIL    v = nx - f*dot. A value goes on unless v > tau + e (rules.h), which
**   is also so for what is not a number; few do, so filters and counting cost
**   nothing. The product never leaves the registers.
*/
#include "gpu/cuda_int.h"

enum { STAGES = 3, SLICE_BYTES = TILE*SLICE_ROW, STAY_SLICES = 2,
       MMA_BYTES = 32 };                   /* of a row, in one product */

struct filter_args {
  dev_lists l;
  dev_queries q;
  dev_visit v;
  const unsigned char *copy;
  const float *nx;
  const float2 *block;
  uint32_t sz_copy, n_slice, n_tile, tiles_per;
};

/* One slice of 128 rows of `from` to shared memory. */
static __device__ __forceinline__ void slice_copy(unsigned char *to,
                                                  const unsigned char *from,
                                                  uint32_t row0,
                                                  uint32_t sz_copy,
                                                  uint32_t slice){
  for(int i=0; i<TILE*8/BLOCK_THREADS; i++){
    uint32_t at = threadIdx.x + i*BLOCK_THREADS, row = at/8, j = at%8;
    dev_copy16(to + row*SLICE_ROW + ((j ^ (row&7))<<4),
               from + (size_t)(row0+row)*sz_copy + slice*SLICE_ROW + j*16);
  }
}

/* Sums by kind of copy. */
template<int KIND> struct mma_of {
  typedef int sum;
  static __device__ __forceinline__ void add(int c[4], const uint32_t a[4],
                                             const uint32_t b[2]){
    if( KIND==COPY_S8 ) dev_mma_s8(c, a, b);
    else dev_mma_u8(c, a, b);
  }
};
template<> struct mma_of<COPY_HALF> {
  typedef float sum;
  static __device__ __forceinline__ void add(float c[4], const uint32_t a[4],
                                             const uint32_t b[2]){
    dev_mma(c, a, b);
  }
};

/* 32 bytes from piece 2*k on of a slice: A of 4 x 16 queries from `m0` on, B of
** 4 x 8 rows from `n0` on. */
template<int KIND> static __device__ __forceinline__ void step_multiply(
    typename mma_of<KIND>::sum acc[4][4][4], const unsigned char *sa,
    const unsigned char *sb, uint32_t m0, uint32_t n0, uint32_t k){
  uint32_t lane = threadIdx.x%WARP, a[4][4], b[2][4];
#pragma unroll
  for(int i=0; i<4; i++){
    uint32_t row = m0 + i*16 + lane%16, j = k*2 + lane/16;
    dev_ldmatrix(a[i], sa + row*SLICE_ROW + ((j ^ (row&7))<<4));
  }
#pragma unroll
  for(int i=0; i<2; i++){
    uint32_t row = n0 + i*16 + (lane/16)*8 + lane%8, j = k*2 + lane/8%2;
    dev_ldmatrix(b[i], sb + row*SLICE_ROW + ((j ^ (row&7))<<4));
  }
#pragma unroll
  for(int i=0; i<4; i++){
#pragma unroll
    for(int j=0; j<4; j++){
      mma_of<KIND>::add(acc[i][j], a[i], &b[j/2][j%2*2]);
    }
  }
}

/* A value of query q at `pos` that may count. */
static __device__ __forceinline__ void value_keep(const filter_args &g,
                                                  uint32_t q, uint32_t pos,
                                                  float v){
  bool passes = pos<g.v.n && visit_passes(g.v, visit_row(g.v, pos));
  uint32_t i;
  if( g.v.is_first ){
    if( pos>=g.v.hi ) return;
    i = pos;
  }else{
    if( !passes || pos>=g.v.hi ) return;
    i = atomicAdd(&g.l.count[q], 1u);
    if( i>=g.l.cap ) return;
  }
  g.l.entry[(size_t)q*g.l.cap + i].pos = passes ? pos : ROW_NONE;
  g.l.entry[(size_t)q*g.l.cap + i].v = v;
}

/* The sums of a tile of rows from position p0 on. s_q has, by query of the
** block, tau+z, a, lin, f. */
template<typename T> static __device__ __forceinline__ void tile_finish(
    const filter_args &g, T acc[4][4][4], const float *s_q, uint32_t q0,
    uint32_t p0, uint32_t m0, uint32_t n0){
  uint32_t lane = threadIdx.x%WARP;
  float2 br = g.block[p0/TILE];
  float2 nx[4];
#pragma unroll
  for(int j=0; j<4; j++){
    nx[j] = __ldg((const float2*)(g.nx + p0 + n0 + j*8 + lane%4*2));
  }
#pragma unroll
  for(int i=0; i<4; i++){
#pragma unroll
    for(int h=0; h<2; h++){
      uint32_t m = m0 + i*16 + h*8 + lane/4;
      struct rules_band e = { s_q[TILE+m], g.q.c*s_q[TILE+m], s_q[2*TILE+m],
                              g.q.k, 0 };
      float limit = s_q[m] + rules_band_at(e, br.x, br.y);
      float f = s_q[3*TILE+m];
      if( q0+m>=g.l.n ) continue;
#pragma unroll
      for(int j=0; j<4; j++){
#pragma unroll
        for(int c=0; c<2; c++){
          float v = fmaf(-f, (float)acc[i][j][h*2+c], c ? nx[j].y : nx[j].x);
          if( !(v>limit) || g.v.is_first ){
            value_keep(g, q0+m, p0 + n0 + j*8 + lane%4*2 + c, v);
          }
        }
      }
    }
  }
}

template<bool STAY, int KIND> static __global__ void
__launch_bounds__(BLOCK_THREADS, 2) k_filter(filter_args g){
  unsigned char *sa = DEV_SHARED;          /* queries that stay */
  unsigned char *stage = sa + (STAY ? STAY_SLICES*SLICE_BYTES : 0);
  const uint32_t sz_stage = STAY ? SLICE_BYTES : 2*SLICE_BYTES;
  float *s_q = (float*)(stage + STAGES*sz_stage);
  uint32_t q0 = blockIdx.x*TILE, t0 = blockIdx.y*g.tiles_per;
  uint32_t n_tile = g.n_tile-t0<g.tiles_per ? g.n_tile-t0 : g.tiles_per;
  uint32_t warp = threadIdx.x/WARP, m0 = warp/4*64, n0 = warp%4*32;
  uint32_t n_step = n_tile*g.n_slice, slice = 0, tile = 0;
  uint32_t next_slice = 0, next_tile = 0;
  typename mma_of<KIND>::sum acc[4][4][4];

  if( t0>=g.n_tile ) return;
  for(uint32_t i=threadIdx.x; i<TILE; i+=BLOCK_THREADS){
    s_q[i] = g.l.tau[q0+i] + g.q.z[q0+i];
    s_q[TILE+i] = g.q.a[q0+i];
    s_q[2*TILE+i] = g.q.lin[q0+i];
    s_q[3*TILE+i] = g.q.f[q0+i];
  }
  if( STAY ){
    for(uint32_t s=0; s<g.n_slice; s++){
      slice_copy(sa + s*SLICE_BYTES, g.q.copy, q0, g.sz_copy, s);
    }
  }
  for(uint32_t step=0; step<n_step+2; step++){
    /* The copies of two steps are under way; those of step-2 are needed now
    ** and the stage of step-3 is free, as all have passed this barrier. */
    dev_copy_wait<1>();
    __syncthreads();
    if( step<n_step ){
      unsigned char *to = stage + step%STAGES*sz_stage;
      uint32_t row0 = g.v.lo + (t0+next_tile)*TILE;
      slice_copy(to, g.copy, row0, g.sz_copy, next_slice);
      if( !STAY ){
        slice_copy(to + SLICE_BYTES, g.q.copy, q0, g.sz_copy, next_slice);
      }
      if( ++next_slice==g.n_slice ){
        next_slice = 0;
        next_tile++;
      }
    }
    dev_copy_commit();
    if( step<2 ) continue;
    if( slice==0 ){
#pragma unroll
      for(int i=0; i<64; i++) (&acc[0][0][0])[i] = 0;
    }
    const unsigned char *sb = stage + (step-2)%STAGES*sz_stage;
    const unsigned char *a = STAY ? sa + slice*SLICE_BYTES : sb + SLICE_BYTES;
#pragma unroll
    for(uint32_t k=0; k<SLICE_ROW/MMA_BYTES; k++){
      step_multiply<KIND>(acc, a, sb, m0, n0, k);
    }
    if( ++slice==g.n_slice ){
      tile_finish(g, acc, s_q, q0, g.v.lo + (t0+tile)*TILE, m0, n0);
      slice = 0;
      tile++;
    }
  }
}

static size_t filter_shared(bool stays){
  return (size_t)(stays ? STAY_SLICES+STAGES : 2*STAGES)*SLICE_BYTES
       + 4*TILE*sizeof(float);
}

template<int KIND> static cudaError_t kernel_setup(void){
  cudaError_t e = cudaFuncSetAttribute(k_filter<true, KIND>,
      cudaFuncAttributeMaxDynamicSharedMemorySize, (int)filter_shared(true));
  if( e==cudaSuccess ){
    e = cudaFuncSetAttribute(k_filter<false, KIND>,
        cudaFuncAttributeMaxDynamicSharedMemorySize,
        (int)filter_shared(false));
  }
  return e;
}

int vdb_cuda_filter_setup(void){
  cudaError_t e = kernel_setup<COPY_HALF>();
  if( e==cudaSuccess ) e = kernel_setup<COPY_S8>();
  if( e==cudaSuccess ) e = kernel_setup<COPY_U8>();
  return e==cudaSuccess ? VDB_GPU_OK : VDB_GPU_UNSUPPORTED;
}

template<int KIND> static void filter_launch(const vdb_gpu_rows *r,
                                             const filter_args &g, dim3 grid){
  if( g.n_slice<=STAY_SLICES ){
    DEV_LAUNCH((k_filter<true, KIND>), grid, dim3(BLOCK_THREADS),
               filter_shared(true), r->d->stream, g);
  }else{
    DEV_LAUNCH((k_filter<false, KIND>), grid, dim3(BLOCK_THREADS),
               filter_shared(false), r->d->stream, g);
  }
}

int vdb_cuda_filter(vdb_gpu_rows *r, const dev_queries *q,
                    const dev_lists *l, const dev_visit *v){
  filter_args g = { *l, *q, *v, r->copy, r->nx, r->block, r->sz_copy,
                    r->sz_copy/SLICE_ROW, (v->hi - v->lo + TILE-1)/TILE, 0 };
  uint32_t n_x = l->n_pad/TILE, n_y = 4*r->d->n_unit/n_x + 1;
  if( n_y>g.n_tile ) n_y = g.n_tile;
  g.tiles_per = (g.n_tile + n_y-1)/n_y;
  n_y = (g.n_tile + g.tiles_per-1)/g.tiles_per;
  if( r->kind==COPY_HALF ) filter_launch<COPY_HALF>(r, g, dim3(n_x, n_y));
  else if( r->kind==COPY_S8 ) filter_launch<COPY_S8>(r, g, dim3(n_x, n_y));
  else filter_launch<COPY_U8>(r, g, dim3(n_x, n_y));
  return vdb_cuda_step(r->d);
}
