/* cuda_rows.cu -- rows and queries on the device, and their copies in fp16.
**
** Rows come through two pinned buffers, one of which is filled while the other
** is copied. Then, where the filter can be used: their extent (the largest
** element decides the scale, the norms whether the bounds of rules.h hold),
** for l2 the mean of some rows as centre, and the copies, norms and residuals,
** in double precision so that their own error vanishes in the slack of e. Bytes
** under l2 and ip are copied as they are; nothing is lost, nothing to measure.
** Norms and residuals are rounded up by 2^-20.
*/
#include "gpu/cuda_int.h"

#define UP  (1.0 + 0x1p-20)

struct rows_args {
  const unsigned char *x;
  uint32_t type, n, d, n_pad, d_pad, step;
  size_t sz_vec;
  int rule;
  float scale;
  float *mu;
  int kind;
  uint32_t sz_copy;
  unsigned char *copy;
  float *nx;
  float2 *block;
};

/* Largest |x-mu|, largest and smallest square norm that is not 0. */
struct rows_range { uint32_t most; uint64_t norm_max, norm_min; };

static __device__ __forceinline__ double warp_sum(double s){
  for(int h=16; h>0; h/=2) s += __shfl_xor_sync(0xffffffffu, s, h);
  return s;
}
static __device__ __forceinline__ float warp_max(float x){
  for(int h=16; h>0; h/=2){
    float y = __shfl_xor_sync(0xffffffffu, x, h);
    x = y>x ? y : x;
  }
  return x;
}
/* Numbers >= 0 are ordered as their bits. */
static __device__ __forceinline__ uint32_t float_bits(float x){
  union { float f; uint32_t u; } v;
  v.f = x;
  return v.u;
}
static __device__ __forceinline__ unsigned long long double_bits(double x){
  union { double d; unsigned long long u; } v;
  v.d = x;
  return v.u;
}

/* The mean of at most 4096 rows, a thread per dimension. Whole numbers for
** integers, so that differences are exact in fp16. */
static __global__ void k_mean(rows_args g){
  uint32_t i = blockIdx.x*BLOCK_THREADS + threadIdx.x, n = g.n, every;
  float sum = 0;
  if( i>=g.d_pad ) return;
  if( n>4096 ) n = 4096;
  every = n ? g.n/n : 1;
  for(uint32_t r=0; r<n && i<g.d && g.rule==RULE_L2; r++){
    sum += element_float(g.type, g.x + (size_t)r*every*g.sz_vec, i)/(float)n;
  }
  if( g.type==VECDB_I8 || g.type==VECDB_U8 ) sum = rintf(sum);
  g.mu[i] = sum==sum && fabsf(sum)<RULES_NORM_MAX ? sum : 0;
}

static __global__ void __launch_bounds__(BLOCK_THREADS)
k_range(rows_args g, rows_range *out){
  uint32_t lane = threadIdx.x%WARP;
  float most = 0;
  double norm_max = 0, norm_min = INFINITY;
  for(uint32_t r=(blockIdx.x*BLOCK_THREADS + threadIdx.x)/WARP; r<g.n;
      r+=gridDim.x*BLOCK_WARPS){
    const void *x = g.x + (size_t)r*g.sz_vec;
    double s = 0;
    for(uint32_t i=lane; i<g.d; i+=WARP){
      float e = element_float(g.type, x, i), c = fabsf(e - g.mu[i]);
      s += (double)e*(double)e;
      if( c>most ) most = c;
    }
    s = warp_sum(s);
    if( s>norm_max ) norm_max = s;
    if( s>0 && s<norm_min ) norm_min = s;
  }
  most = warp_max(most);
  if( lane==0 ){
    atomicMax(&out->most, float_bits(most));
    atomicMax((unsigned long long*)&out->norm_max, double_bits(norm_max));
    atomicMin((unsigned long long*)&out->norm_min, double_bits(norm_min));
  }
}

/* Copy one vector: out[i] = fp16 of s(x[i]*unit - mu[i]). Returns square norms
** of what was copied and of what was lost, the same in all lanes. */
static __device__ void vector_copy(const rows_args &g, const void *x,
                                   double s, double unit, uint16_t *out,
                                   double *norm2, double *lost2){
  double a = 0, b = 0;
  for(uint32_t i=threadIdx.x%WARP; i<g.d_pad; i+=WARP){
    double e = 0, rest;
    uint16_t h;
    if( i<g.d ){
      e = s*((double)element_float(g.type, x, i)*unit - (double)g.mu[i]);
    }
    h = dev_half((float)e);
    rest = e - (double)dev_float(h);
    out[i] = h;
    a += e*e;
    b += rest*rest;
  }
  *norm2 = warp_sum(a);
  *lost2 = warp_sum(b);
}

/* The same of bytes, which are copied as they are. */
static __device__ void bytes_copy(const rows_args &g, const unsigned char *x,
                                  unsigned char *out, double *norm2){
  double a = 0;
  for(uint32_t i=threadIdx.x%WARP; i<g.sz_copy; i+=WARP){
    double e = i<g.d ? (double)element_float(g.type, x, i) : 0;
    out[i] = i<g.d ? x[i] : 0;
    a += e*e;
  }
  *norm2 = warp_sum(a);
}

/* 1/|x| for cosine (0 for the zero vector), else 1. */
static __device__ double vector_unit(const rows_args &g, const void *x,
                                     double *norm2){
  double s = 0;
  for(uint32_t i=threadIdx.x%WARP; i<g.d; i+=WARP){
    double e = (double)element_float(g.type, x, i);
    s += e*e;
  }
  *norm2 = s = warp_sum(s);
  return g.rule!=RULE_COSINE ? 1 : s>0 ? 1/sqrt(s) : 0;
}

/* A warp per position. */
static __global__ void __launch_bounds__(BLOCK_THREADS) k_copy(rows_args g){
  uint32_t p = (blockIdx.x*BLOCK_THREADS + threadIdx.x)/WARP;
  const unsigned char *x;
  unsigned char *out = g.copy + (size_t)p*g.sz_copy;
  double norm2, lost2 = 0, unit;
  if( p>=g.n ) return;                     /* a whole warp */
  x = g.x + (size_t)rules_visit(p, g.step, g.n)*g.sz_vec;
  if( g.kind==COPY_HALF ){
    unit = vector_unit(g, x, &norm2);
    vector_copy(g, x, g.scale, unit, (uint16_t*)(void*)out, &norm2, &lost2);
  }else{
    bytes_copy(g, x, out, &norm2);
  }
  if( threadIdx.x%WARP==0 ){
    g.nx[p] = g.rule==RULE_L2 ? (float)norm2 : 0;
    atomicMax((uint32_t*)&g.block[p/TILE].x,
              float_bits((float)(sqrt(norm2)*UP)));
    atomicMax((uint32_t*)&g.block[p/TILE].y,
              float_bits((float)(sqrt(lost2)*UP)));
  }
}

/* A query of bytes; the same in all lanes. */
static __device__ void bytes_prepare(const rows_args &g, const dev_queries &q,
                                     uint32_t i, uint32_t *flag){
  const unsigned char *x = (const unsigned char*)q.raw + (size_t)i*g.sz_vec;
  struct rules_band e;
  double norm2;
  bytes_copy(g, x, q.copy + (size_t)i*g.sz_copy, &norm2);
  if( threadIdx.x%WARP!=0 ) return;
  e = rules_band_exact(g.rule, g.d, (float)(sqrt(norm2)*UP));
  q.a[i] = e.a;
  q.lin[i] = e.lin;
  q.z[i] = 0;
  q.f[i] = g.rule==RULE_L2 ? 2 : 1;
  flag[i] = 0;
}

/* A warp per query. The scale t is that of the query itself. */
static __global__ void __launch_bounds__(BLOCK_THREADS, 4)
k_prepare(rows_args g, dev_queries q, uint32_t n, uint32_t n_pad,
          uint32_t *flag){
  uint32_t i = (blockIdx.x*BLOCK_THREADS + threadIdx.x)/WARP;
  uint32_t lane = threadIdx.x%WARP;
  const unsigned char *x = (const unsigned char*)q.raw + (size_t)i*g.sz_vec;
  uint16_t *out = (uint16_t*)(void*)(q.copy + (size_t)i*g.sz_copy);
  double unit, raw2, norm2, lost2, ratio;
  float most = 0, t, z = 0;
  struct rules_band e;
  if( i>=n_pad ) return;
  if( i>=n ){
    for(uint32_t j=lane; j<g.sz_copy/2; j+=WARP) out[j] = 0;
    if( lane==0 ) q.a[i] = q.lin[i] = q.z[i] = q.f[i] = 0;
    return;
  }
  if( g.kind!=COPY_HALF ){
    bytes_prepare(g, q, i, flag);
    return;
  }
  unit = vector_unit(g, x, &raw2);
  for(uint32_t j=lane; j<g.d; j+=WARP){
    float c = (float)fabs((double)element_float(g.type, x, j)*unit
                          - (double)g.mu[j]);
    if( c>most ) most = c;
  }
  most = warp_max(most);
  if( !(raw2<=(double)RULES_NORM_MAX*RULES_NORM_MAX) ) most = 0;
  t = rules_scale(most);
  vector_copy(g, x, t, unit, out, &norm2, &lost2);
  if( lane!=0 ) return;
  ratio = g.rule==RULE_L2 ? (double)g.scale/t : 1;
  if( g.rule==RULE_L2 ){
    z = (float)(g.d+64)*(g.scale*0x1p-74f)*(g.scale*0x1p-75f);
  }
  if( g.rule==RULE_IP ){
    z = (float)(g.d+64)*(g.scale*0x1p-74f)*(t*0x1p-75f);
  }
  e = rules_band_of(g.rule, g.d, (float)(sqrt(norm2)*ratio*UP),
                    (float)(sqrt(lost2)*ratio*UP), z);
  q.a[i] = e.a;
  q.lin[i] = e.lin;
  q.z[i] = e.z;
  q.f[i] = g.rule==RULE_L2 ? (float)(2*ratio) : 1;
  /* Values, e and their products must be far from overflow. */
  flag[i] = !(raw2<=(double)RULES_NORM_MAX*RULES_NORM_MAX)
         || !(e.a<=0x1p56f) || !(2*ratio<=0x1p56) || !(z<=0x1p56f)
         || (g.rule==RULE_COSINE
             && !(raw2>=(double)RULES_NORM_MIN*RULES_NORM_MIN));
}

/* ---- Rows ---------------------------------------------------------------- */

static uint32_t round_up(uint32_t x, uint32_t to){ return (x + to-1)/to*to; }

static size_t element_bytes(uint32_t type){
  return type==VECDB_F32 ? 4 : type<=VECDB_BF16 ? 2 : 1;
}

static bool source_fits(const vdb_gpu_source *s){
  return s->type>=VECDB_F32 && s->type<=VECDB_U8 && s->dim>0
      && s->dim<=VDB_GPU_DIM_MAX && s->n_rows<0x7fffff00u
      && (s->metric==VECDB_L2 || s->metric==VECDB_COSINE
          || s->metric==VECDB_IP);
}

static uint64_t copy_bytes(const vdb_gpu_rows *r){
  return (uint64_t)r->n_pad*r->sz_copy + (uint64_t)r->n_pad*4
       + (uint64_t)r->n_pad/TILE*sizeof(float2) + (uint64_t)r->d_pad*4;
}

static void rows_shape(vdb_gpu_rows *r, const vdb_gpu_source *src){
  r->src = *src;
  r->rule = rule_of_metric(src->metric);
  r->sz_vec = src->dim*element_bytes(src->type);
  r->n_pad = round_up(src->n_rows, TILE);
  r->kind = r->rule==RULE_COSINE ? COPY_HALF : src->type==VECDB_I8 ? COPY_S8
          : src->type==VECDB_U8 ? COPY_U8 : COPY_HALF;
  r->sz_copy = round_up(src->dim*(r->kind==COPY_HALF ? 2 : 1), SLICE_ROW);
  r->d_pad = r->kind==COPY_HALF ? r->sz_copy/2 : r->sz_copy;
  r->step = rules_step(src->n_rows ? src->n_rows : 1);
}

int vdb_cuda_estimate(vdb_gpu_device *d, const vdb_gpu_source *src,
                      uint64_t *bytes){
  vdb_gpu_rows r = {};
  (void)d;
  *bytes = 0;
  if( !source_fits(src) ) return VDB_GPU_UNSUPPORTED;
  rows_shape(&r, src);
  *bytes = (uint64_t)src->n_rows*r.sz_vec + copy_bytes(&r);
  return VDB_GPU_OK;
}

static void copy_drop(vdb_gpu_rows *r){
  dev_array_free(r->d, r->copy, (uint64_t)r->n_pad*r->sz_copy);
  dev_array_free(r->d, r->nx, r->n_pad);
  dev_array_free(r->d, r->block, r->n_pad/TILE);
  dev_array_free(r->d, r->mu, r->d_pad);
  r->copy = NULL;
  r->nx = NULL;
  r->block = NULL;
  r->mu = NULL;
}

void vdb_cuda_detach(vdb_gpu_rows *r){
  vdb_gpu_device *d;
  if( r==NULL ) return;
  d = r->d;
  copy_drop(r);
  vdb_cuda_free(d, r->x, (uint64_t)r->src.n_rows*r->sz_vec);
  d->sz_rows -= r->sz;
  d->cfg.release(r);
}

static int rows_upload(vdb_gpu_rows *r, const vdb_gpu_source *src){
  vdb_gpu_device *d = r->d;
  uint32_t n_some = (uint32_t)(UPLOAD_BYTES/r->sz_vec), i_buf = 0;
  int code = VDB_GPU_OK;
  for(uint32_t i=0; i<src->n_rows && code==VDB_GPU_OK; i+=n_some, i_buf^=1){
    uint32_t n = src->n_rows-i<n_some ? src->n_rows-i : n_some;
    code = vdb_cuda_code(d, cudaEventSynchronize(d->event[i_buf]));
    if( code!=VDB_GPU_OK ) break;
    if( src->fetch(src->arg, i, n, d->pinned[i_buf]) ){
      code = VDB_GPU_CANCELLED;
      break;
    }
    code = vdb_cuda_code(d, cudaMemcpyAsync((char*)r->x + (size_t)i*r->sz_vec,
        d->pinned[i_buf], (size_t)n*r->sz_vec, cudaMemcpyHostToDevice,
        d->stream));
    if( code==VDB_GPU_OK ){
      code = vdb_cuda_code(d, cudaEventRecord(d->event[i_buf], d->stream));
    }
    d->stats.sz_upload += (uint64_t)n*r->sz_vec;
  }
  if( code==VDB_GPU_OK ) code = vdb_cuda_sync(d);
  else (void)vdb_cuda_sync(d);
  return code;
}

static rows_args args_of_rows(const vdb_gpu_rows *r){
  rows_args g = { (const unsigned char*)r->x, r->src.type, r->src.n_rows,
                  r->src.dim, r->n_pad, r->d_pad, r->step, r->sz_vec,
                  r->rule, r->scale, r->mu, r->kind, r->sz_copy, r->copy, r->nx,
                  r->block };
  return g;
}

/* The scale, and whether the filter can be used at all. */
static int rows_measure(vdb_gpu_rows *r, bool *usable){
  vdb_gpu_device *d = r->d;
  rows_range range = { 0, 0, 0x7ff0000000000000u }, *at = NULL;
  double norm_max, norm_min;
  float most;
  int code;
  *usable = false;
  DEV_TRY( dev_array(d, &at, 1) );
  DEV_TRY( vdb_cuda_to_device(d, at, &range, sizeof(range)) );
  DEV_LAUNCH(k_mean, dim3((r->d_pad + BLOCK_THREADS-1)/BLOCK_THREADS),
             dim3(BLOCK_THREADS), 0, d->stream, args_of_rows(r));
  DEV_TRY( vdb_cuda_step(d) );
  DEV_LAUNCH(k_range, dim3(8*d->n_unit), dim3(BLOCK_THREADS), 0, d->stream,
             args_of_rows(r), at);
  DEV_TRY( vdb_cuda_step(d) );
  DEV_TRY( vdb_cuda_to_host(d, &range, at, sizeof(range)) );
  memcpy(&most, &range.most, sizeof(most));
  memcpy(&norm_max, &range.norm_max, sizeof(norm_max));
  memcpy(&norm_min, &range.norm_min, sizeof(norm_min));
  norm_max = sqrt(norm_max);
  norm_min = sqrt(norm_min);
  *usable = norm_max>=(double)RULES_NORM_MIN
         && norm_max<=(double)RULES_NORM_MAX
         && (r->rule!=RULE_COSINE || norm_min>=(double)RULES_NORM_MIN);
  r->scale = r->rule==RULE_COSINE ? rules_scale(1.0f) : rules_scale(most);
  if( !(r->scale<=0x1p56f) ) *usable = false;
done:
  dev_array_free(d, at, 1);
  return code;
}

static int rows_copy(vdb_gpu_rows *r){
  vdb_gpu_device *d = r->d;
  bool usable = true;
  int code;
  if( r->src.n_rows==0 ) return VDB_GPU_OK;
  DEV_TRY( dev_array(d, &r->mu, r->d_pad) );
  DEV_TRY( dev_array(d, &r->nx, r->n_pad) );
  DEV_TRY( dev_array(d, &r->block, r->n_pad/TILE) );
  DEV_TRY( dev_array(d, &r->copy, (uint64_t)r->n_pad*r->sz_copy) );
  if( r->kind==COPY_HALF ) DEV_TRY( rows_measure(r, &usable) );
  if( !usable ){
    copy_drop(r);
    return VDB_GPU_OK;
  }
  DEV_TRY( vdb_cuda_zero(d, r->nx, r->n_pad*sizeof(float)) );
  DEV_TRY( vdb_cuda_zero(d, r->block, r->n_pad/TILE*sizeof(float2)) );
  DEV_TRY( vdb_cuda_zero(d, r->copy + (size_t)r->src.n_rows*r->sz_copy,
                         (size_t)(r->n_pad - r->src.n_rows)*r->sz_copy) );
  DEV_LAUNCH(k_copy, dim3((r->src.n_rows + BLOCK_WARPS-1)/BLOCK_WARPS),
             dim3(BLOCK_THREADS), 0, d->stream, args_of_rows(r));
  DEV_TRY( vdb_cuda_step(d) );
  DEV_TRY( vdb_cuda_sync(d) );
done:
  return code;
}

int vdb_cuda_copy_again(vdb_gpu_rows *r){
  copy_drop(r);
  return rows_copy(r);
}

int vdb_cuda_attach(vdb_gpu_device *d, const vdb_gpu_source *src,
                    vdb_gpu_rows **out){
  vdb_gpu_rows *r;
  int code;
  *out = NULL;
  if( !source_fits(src) ) return VDB_GPU_UNSUPPORTED;
  r = (vdb_gpu_rows*)d->cfg.alloc(sizeof(*r));
  if( r==NULL ) return VDB_GPU_NOMEM;
  memset(r, 0, sizeof(*r));
  r->d = d;
  rows_shape(r, src);
  r->sz = (uint64_t)src->n_rows*r->sz_vec + copy_bytes(r);
  d->sz_rows += r->sz;
  DEV_TRY( vdb_cuda_alloc(d, &r->x, (uint64_t)src->n_rows*r->sz_vec) );
  DEV_TRY( rows_upload(r, src) );
  DEV_TRY( rows_copy(r) );
  *out = r;
  r = NULL;
done:
  vdb_cuda_detach(r);
  return code;
}

int vdb_cuda_prepare(vdb_gpu_rows *r, const dev_queries *q, uint32_t n,
                     uint32_t *flag){
  uint32_t n_pad = round_up(n, TILE);
  DEV_LAUNCH(k_prepare, dim3(n_pad/BLOCK_WARPS), dim3(BLOCK_THREADS), 0,
             r->d->stream, args_of_rows(r), *q, n, n_pad, flag);
  return vdb_cuda_step(r->d);
}
