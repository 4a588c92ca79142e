/* half.h -- f16 and bf16, one element at a time, in integer arithmetic.
**
** Used by   simd/ only: the portable path, the ends of vectors on the others.
** The results are those of the processor's instructions, NaN included.
*/
#ifndef VDB_HALF_H
#define VDB_HALF_H
#include "util/common.h"

static inline uint32_t bits_from_f32(float x){
  uint32_t u; memcpy(&u, &x, 4); return u;
}
static inline float f32_from_bits(uint32_t u){
  float x; memcpy(&x, &u, 4); return x;
}

/* x rounded to nearest even. The exponent is rebased from 127 to 15; what
** lies below 2^-14 becomes subnormal, from 65520 on infinite. */
static inline uint16_t half_from_f32(float x){
  uint32_t u = bits_from_f32(x), sign = (u>>16) & 0x8000u, rest;
  u &= 0x7fffffffu;
  if( u>0x7f800000u ){                       /* NaN: made quiet */
    return (uint16_t)(sign | 0x7e00u | ((u>>13) & 0x3ffu));
  }
  if( u>=0x477ff000u ) return (uint16_t)(sign | 0x7c00u);
  if( u<0x38800000u ){                       /* subnormal or zero */
    uint32_t shift = 126 - (u>>23), m = (u & 0x7fffffu) | 0x800000u, h;
    if( shift>24 ) return (uint16_t)sign;    /* below half the smallest */
    h = m >> shift;
    rest = m & (((uint32_t)1<<shift) - 1);
    h += rest>((uint32_t)1<<(shift-1))
      || (rest==((uint32_t)1<<(shift-1)) && (h & 1));
    return (uint16_t)(sign | h);
  }
  u -= 0x38000000u;
  rest = u & 0x1fffu;
  u >>= 13;
  u += rest>0x1000u || (rest==0x1000u && (u & 1));
  return (uint16_t)(sign | u);
}

static inline float half_to_f32(uint16_t h){
  uint32_t sign = (uint32_t)(h & 0x8000u) << 16, e = (h>>10) & 31, m = h & 1023;
  if( e==31 ){
    return f32_from_bits(sign | 0x7f800000u | (m ? 0x400000u : 0) | m<<13);
  }
  if( e==0 ){                                /* m * 2^-24, exact */
    float x = (float)m * 0x1p-24f;
    return f32_from_bits(sign | bits_from_f32(x));
  }
  return f32_from_bits(sign | (e+112)<<23 | m<<13);
}

static inline uint16_t bf16_round(float x){
  uint32_t u = bits_from_f32(x);
  if( (u & 0x7fffffffu)>0x7f800000u ) return (uint16_t)(u>>16 | 0x40);
  return (uint16_t)((u + 0x7fffu + ((u>>16) & 1)) >> 16);
}
static inline float bf16_to_f32(uint16_t h){
  return f32_from_bits((uint32_t)h << 16);
}
#endif
