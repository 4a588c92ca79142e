/* isa_scalar.h -- the vocabulary of kernels.inc in portable C, and what its
** words mean. A compiler may use any instructions for it: the results are
** the same.
**
**   v32      32 floats, the partial sums of the canonical order. _load takes
**            32 elements (bytes become floats), _part the first n < 32 and zeros; _fma is x*y+s in
**            one rounding; _add_abs is s+|x|; _fold adds +16, +8, +4, +2, +1.
**   vb       VB_BYTES bytes. _part: the first n < VB_BYTES and zeros.
**   vw       the same number of 16-bit integers.
**   vi       an unsigned sum modulo 2^32, split among lanes. _add_dot adds
**            x*y, _add_absdiff |x-y| of unsigned bytes, vi_sum gives it.
**   vgf vgi  VG_W floats; VG_W sums of products of VG_GROUP integer elements
**            of type vg_elem, whose loads take cells of that many elements.
**            _step is s+q*x; vgf_reached has the bits of the lanes where not
**            s < a + b*u + v. vg_row makes elements of a row's bytes.
**   vh       VH_W conversions of halves to or from floats.
**
** Contraction of x*y+s is off in the whole build (-ffp-contract=off): where
** one rounding is meant it says fmaf.
*/
#include <math.h>

#define ISA_NAME  "scalar"
#define ISA(f)    f##_scalar
#include "simd/isa_names.h"

typedef struct { float f[VDB_CANON_LANES]; } v32;

static inline v32 v32_zero(void){ v32 z = {{0}}; return z; }
static inline v32 v32_part_f32(const float *p, size_t n){
  v32 z = {{0}};
  memcpy(z.f, p, n*sizeof(float));
  return z;
}
static inline v32 v32_load_f32(const float *p){ return v32_part_f32(p, 32); }
static inline v32 v32_part_f16(const uint16_t *p, size_t n){
  uint16_t h[32] = {0};
  v32 z;
  memcpy(h, p, n*2);                     /* p may be unaligned */
  for(size_t i=0; i<32; i++) z.f[i] = half_to_f32(h[i]);
  return z;
}
static inline v32 v32_load_f16(const uint16_t *p){ return v32_part_f16(p, 32);}
static inline v32 v32_part_bf16(const uint16_t *p, size_t n){
  uint16_t h[32] = {0};
  v32 z;
  memcpy(h, p, n*2);
  for(size_t i=0; i<32; i++) z.f[i] = bf16_to_f32(h[i]);
  return z;
}
static inline v32 v32_load_bf16(const uint16_t *p){
  return v32_part_bf16(p, 32);
}
static inline v32 v32_part_u8(const uint8_t *p, size_t n){
  v32 z = {{0}};
  for(size_t i=0; i<n; i++) z.f[i] = (float)p[i];
  return z;
}
static inline v32 v32_load_u8(const uint8_t *p){ return v32_part_u8(p, 32); }
static inline v32 v32_part_i8(const uint8_t *p, size_t n){
  v32 z = {{0}};
  for(size_t i=0; i<n; i++) z.f[i] = (float)(int8_t)p[i];
  return z;
}
static inline v32 v32_load_i8(const uint8_t *p){ return v32_part_i8(p, 32); }
static inline v32 v32_sub(v32 x, v32 y){
  for(int i=0; i<32; i++) x.f[i] -= y.f[i];
  return x;
}
static inline v32 v32_fma(v32 x, v32 y, v32 s){
  for(int i=0; i<32; i++) s.f[i] = fmaf(x.f[i], y.f[i], s.f[i]);
  return s;
}
static inline v32 v32_add_abs(v32 s, v32 x){
  for(int i=0; i<32; i++) s.f[i] += fabsf(x.f[i]);
  return s;
}
static inline float v32_fold(v32 s){
  if( MUTANT(10, true, false) ){             /* one after the other */
    for(int i=1; i<32; i++) s.f[0] += s.f[i];
    return s.f[0];
  }
  for(int h=16; h>0; h/=2){
    for(int i=0; i<h; i++) s.f[i] += s.f[i+h];
  }
  return s.f[0];
}

/* ---- Bytes --------------------------------------------------------------- */

#define VB_BYTES  16
typedef struct { uint8_t b[VB_BYTES]; } vb;
typedef struct { int16_t h[VB_BYTES]; } vw;
typedef struct { uint32_t s; } vi;

static inline vb vb_part(const void *p, size_t n){
  vb z = {{0}};
  memcpy(z.b, p, n);
  return z;
}
static inline vb vb_load(const void *p){ return vb_part(p, VB_BYTES); }
static inline vb vb_flip(vb x){
  for(int i=0; i<VB_BYTES; i++) x.b[i] ^= 0x80;
  return x;
}
static inline vb vb_xor(vb x, vb y){
  for(int i=0; i<VB_BYTES; i++) x.b[i] ^= y.b[i];
  return x;
}
static inline vb vb_or(vb x, vb y){
  for(int i=0; i<VB_BYTES; i++) x.b[i] |= y.b[i];
  return x;
}
static inline vw vw_from_u8(vb x){
  vw z;
  for(int i=0; i<VB_BYTES; i++) z.h[i] = x.b[i];
  return z;
}
static inline vw vw_from_i8(vb x){
  vw z;
  for(int i=0; i<VB_BYTES; i++) z.h[i] = (int8_t)x.b[i];
  return z;
}
static inline vi vi_zero(void){ vi z = {0}; return z; }
static inline vi vi_add_dot(vi s, vw x, vw y){
  for(int i=0; i<VB_BYTES; i++) s.s += (uint32_t)(x.h[i]*y.h[i]);
  return s;
}
static inline vb vb_absdiff_u8(vb x, vb y){
  for(int i=0; i<VB_BYTES; i++){
    x.b[i] = (uint8_t)(x.b[i]>y.b[i] ? x.b[i]-y.b[i] : y.b[i]-x.b[i]);
  }
  return x;
}
static inline vi vi_add_absdiff(vi s, vb x, vb y){
  x = vb_absdiff_u8(x, y);
  for(int i=0; i<VB_BYTES; i++) s.s += x.b[i];
  return s;
}
static inline vi vi_add_popcount(vi s, vb x){
  uint64_t w[VB_BYTES/8];
  memcpy(w, x.b, sizeof(w));
  for(int i=0; i<VB_BYTES/8; i++) s.s += (uint32_t)__builtin_popcountll(w[i]);
  return s;
}
static inline uint32_t vi_sum(vi s){ return s.s; }

/* ---- The batch filter ---------------------------------------------------- */

#define VG_W      4
#define VG_REGS   2        /* 8 queries */
#define VG_ROWS   4
#define VG_GROUP  1
typedef struct { float f[VG_W]; } vgf;
typedef struct { int32_t i[VG_W]; } vgi;
typedef int32_t vg_elem;

static inline vgf vgf_load(const void *p){
  vgf z; memcpy(&z, p, sizeof(z)); return z;
}
static inline vgi vgi_load(const void *p){
  vgi z; memcpy(&z, p, sizeof(z)); return z;
}
static inline vgf vgf_set1(const void *p){
  vgf z;
  for(int i=0; i<VG_W; i++) memcpy(&z.f[i], p, 4);
  return z;
}
static inline vgi vgi_set1(const void *p){
  vgi z;
  for(int i=0; i<VG_W; i++) memcpy(&z.i[i], p, 4);
  return z;
}
static inline vgf vgf_step(vgf s, vgf q, vgf x){
  for(int i=0; i<VG_W; i++) s.f[i] += q.f[i]*x.f[i];
  return s;
}
static inline vgi vgi_step_u8(vgi s, vgi q, vgi x){
  for(int i=0; i<VG_W; i++) s.i[i] += q.i[i]*x.i[i];
  return s;
}
static inline vgi vgi_step_i8(vgi s, vgi q, vgi x){
  return vgi_step_u8(s, q, x);
}
static inline vgf vgi_as_float(vgi s){
  vgf z;
  for(int i=0; i<VG_W; i++) z.f[i] = (float)s.i[i];
  return z;
}
static inline uint64_t vgf_reached(vgf s, vgf a, vgf b, vgf u, vgf v){
  uint64_t m = 0;
  for(int i=0; i<VG_W; i++){
    float t = (b.f[i]*u.f[i] + a.f[i]) + v.f[i];
    m |= (uint64_t)!(s.f[i]<t) << i;
  }
  return m;
}
#define VG_ROW_BIAS(type)  ((void)(type), 0)
static inline void vg_row(int type, const uint8_t *src, vg_elem *dst,
                          size_t n){
  for(size_t i=0; i<n; i++){
    dst[i] = type==VECDB_U8 ? src[i] : (int8_t)src[i];
  }
}

/* ---- Half precision ------------------------------------------------------ */

#define VH_W  1
static inline void vh_store(uint16_t *dst, const float *src){
  *dst = half_from_f32(*src);
}
static inline void vh_load(float *dst, const void *src){
  uint16_t h;
  memcpy(&h, src, 2);
  *dst = half_to_f32(h);
}
