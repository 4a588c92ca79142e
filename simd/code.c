/* code.c -- codes: what needs no instruction set.
**
** t is a scale per dimension of unit variance times sqrt(dims): a vector of
** norm 1 has elements of variance 1/dims. The three constants come from
** tools/gen-code-scale.c, which maximises the mean cosine between a Gaussian
** vector and its code; at 64 dimensions the best constant differs so little
** that the cosine changes by less than 1e-4.
*/
#include <math.h>

#include "simd/code_int.h"
#include "util/bytes.h"

/* Printed by tools/gen-code-scale.c. */
#define CODE_SCALE_2  1.004332f   /* cosine 0.938698, tan 0.3673 */
#define CODE_SCALE_4  2.983288f   /* cosine 0.994212, tan 0.1081 */

float vdb_code_scale(int bits, size_t dims){
  float unit = bits==4 ? CODE_SCALE_4 : bits==2 ? CODE_SCALE_2 : 1.0f;
  return unit*sqrtf((float)dims);
}

const struct vdb_code_simd *vdb_code_simd(void){
  const struct vdb_simd *s = vdb_simd();
#if defined(VDB_SIMD_AVX512)
  if( s==&vdb_simd_avx512 ) return &vdb_code_avx512;
#endif
#if defined(VDB_SIMD_AVX2)
  if( s==&vdb_simd_avx2 ) return &vdb_code_avx2;
#endif
  VDB_UNUSED(s);
  return &vdb_code_scalar;
}

void vdb_code_signs(const uint8_t *bit, size_t dims, float *sign){
  for(size_t i=0; i<4*dims; i++){
    sign[i] = bit[i/8]>>(i%8) & 1 ? -1.0f : 1.0f;
  }
}

struct vdb_code_factors vdb_code_encode(const float *r, const float *c,
                                        float n2, size_t dims, int bits,
                                        uint8_t *u, float *x){
  const struct vdb_code_simd *s = vdb_code_simd();
  struct vdb_code_factors out = { n2, 0, sqrtf(n2) };
  float rr = s->dot(r, r, dims), xr, xx, t2;
  float f = rr>0 ? vdb_code_scale(bits, dims)/sqrtf(rr) : 0;
  if( !(f<=3e38f) ) f = 0;                 /* a norm too small to divide by */
  s->quantise(r, dims, bits, f, u, x);
  xr = s->dot(x, r, dims);
  if( f==0 || !(xr>0) || !(n2/xr<=1e38f) ) return out;
  xx = s->dot(x, x, dims);
  t2 = n2*(xx/xr)/xr - 1.0f;
  out.f_resc = -2.0f*(n2/xr);
  if( c ) out.f_add = n2 - out.f_resc*s->dot(x, c, dims);
  out.f_tan = t2>0 ? out.f_tan*sqrtf(t2) : 0;
  return out;
}

/* ---- One lane of a group ------------------------------------------------- */

static void nibbles_put(uint8_t *group, size_t lane, size_t dims,
                        const uint8_t *u){
  size_t l = lane%16, j = 2*(l%8) + l/8;
  int shift = lane<16 ? 0 : 4;
  for(size_t p=0; p<dims/4; p++, u+=4){
    uint8_t *z = group + 16*p + j;
    unsigned v = u[0] | u[1]<<1 | u[2]<<2 | u[3]<<3;
    *z = (uint8_t)((*z & ~(15u<<shift)) | v<<shift);
  }
}

static void nibbles_get(const uint8_t *group, size_t lane, size_t dims,
                        uint8_t *u){
  size_t l = lane%16, j = 2*(l%8) + l/8;
  for(size_t i=0; i<dims; i++){
    unsigned v = group[16*(i/4) + j] >> (lane<16 ? 0 : 4);
    u[i] = v >> (i%4) & 1;
  }
}

void vdb_code_put(uint8_t *group, size_t lane, size_t dims, int bits,
                  const uint8_t *u){
  if( bits==1 ){
    nibbles_put(group, lane, dims, u);
    return;
  }
  group += 4*lane;
  for(size_t d=0; d<dims; group+=128){
    uint32_t v = 0;
    for(int f=0; f<8; f+=bits, d+=4) v |= get_u32(u+d) << f;
    put_u32(group, v);
  }
}

void vdb_code_get(const uint8_t *group, size_t lane, size_t dims, int bits,
                  uint8_t *u){
  if( bits==1 ){
    nibbles_get(group, lane, dims, u);
    return;
  }
  group += 4*lane;
  for(size_t d=0; d<dims; group+=128){
    uint32_t mask = 0x01010101u*((1u<<bits) - 1);
    for(int f=0; f<8; f+=bits, d+=4) put_u32(u+d, get_u32(group)>>f & mask);
  }
}

void vdb_pool_reset(struct vdb_pool *pool, uint32_t n_cap){
  size_t n = VDB_POOL_SLOTS(n_cap);
  pool->n_cap = n_cap;
  pool->first = 0;
  for(size_t i=0; i<n; i++) pool->key[i] = INFINITY;
  memset(pool->id, 0xff, n*sizeof(*pool->id));
  pool->met_mask = vdb_pool_places(n_cap)-1;
  memset(pool->met, 0xff, ((size_t)pool->met_mask+1)*sizeof(*pool->met));
}
