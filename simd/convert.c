/* convert.c -- elements: sizes, conversions, checks. */
#include "simd/simd_int.h"

size_t vdb_vector_bytes(int type, size_t dim){
  switch( type ){
    case VECDB_F32:  return dim*4;
    case VECDB_F16:
    case VECDB_BF16: return dim*2;
    case VECDB_I8:
    case VECDB_U8:   return dim;
    case VECDB_BIT:  return (dim+7)/8;
    default:         return 0;
  }
}

bool vdb_metric_fits(int metric, int type){
  switch( metric ){
    case VECDB_L2:
    case VECDB_COSINE:
    case VECDB_IP:
    case VECDB_L1:      return type>=VECDB_F32 && type<=VECDB_U8;
    case VECDB_HAMMING:
    case VECDB_JACCARD: return type==VECDB_BIT;
    default:            return false;
  }
}

/* NaN and the infinities are the values with all exponent bits set. */
static bool halves_are_finite(const void *p, size_t n, unsigned exponent){
  const char *z = p;
  bool is_bad = false;
  for(size_t i=0; i<n; i++){
    uint16_t u;
    memcpy(&u, z+i*2, 2);
    is_bad |= (u & exponent)==exponent;
  }
  return !is_bad;
}
static bool floats_are_finite(const void *p, size_t n){
  const char *z = p;
  bool is_bad = false;
  for(size_t i=0; i<n; i++){
    uint32_t u;
    memcpy(&u, z+i*4, 4);
    is_bad |= (u & 0x7f800000u)==0x7f800000u;
  }
  return !is_bad;
}
bool vdb_is_finite(int type, const void *vec, size_t dim){
  switch( type ){
    case VECDB_F32:  return floats_are_finite(vec, dim);
    case VECDB_F16:  return halves_are_finite(vec, dim, 0x7c00);
    case VECDB_BF16: return halves_are_finite(vec, dim, 0x7f80);
    default:         return true;
  }
}

size_t vdb_f16_from_f32(const float *src, uint16_t *dst, size_t n){
  return vdb_simd()->f16_from_f32(src, dst, n);
}

size_t vdb_bf16_from_f32(const float *src, uint16_t *dst, size_t n){
  size_t n_inf = 0;
  for(size_t i=0; i<n; i++){
    dst[i] = bf16_round(src[i]);
    n_inf += (dst[i] & 0x7fff)==0x7f80
          && (bits_from_f32(src[i]) & 0x7fffffff)<0x7f800000;
  }
  return n_inf;
}

void vdb_widen(int type, const void *src, float *dst, size_t n){
  const uint8_t *u8 = src;
  size_t i;
  switch( type ){
    case VECDB_F32:  memcpy(dst, src, n*4); break;
    case VECDB_F16:  vdb_simd()->f32_from_f16(src, dst, n); break;
    case VECDB_BF16:
      for(i=0; i<n; i++){
        uint16_t h;
        memcpy(&h, u8+i*2, 2);
        dst[i] = bf16_to_f32(h);
      }
      break;
    case VECDB_I8:   for(i=0; i<n; i++) dst[i] = (int8_t)u8[i]; break;
    case VECDB_U8:   for(i=0; i<n; i++) dst[i] = u8[i]; break;
    case VECDB_BIT:
      for(i=0; i<n; i++) dst[i] = (float)((u8[i/8]>>(i%8)) & 1);
      break;
    default: assert( 0 );
  }
}

uint64_t vdb_popcount(const void *p, size_t n_byte){
  return vdb_simd()->popcount(p, n_byte);
}
