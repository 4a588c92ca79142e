/* column_avx512.c -- the column kernels for AVX-512. column_scalar.c says what
** the words mean.
*/
#include "simd/column_int.h"
#if defined(VDB_SIMD_AVX512)
# include <immintrin.h>
# define ISA_NAME  "avx512"
# define ISA(f)    f##_avx512

/* The bits of a mask in a general register. Without it gcc 12, short of
** registers, writes a mask of 8 bits to the stack as one byte and reads it back
** as eight. */
static inline unsigned c512_bits(unsigned m){
  __asm__("" : "+r"(m));
  return m;
}
static inline unsigned cw_ints(const unsigned char *p, const void *arg){
  const struct column_ints *r = arg;
  __m512i v = _mm512_sub_epi64(_mm512_loadu_si512(p),
                               _mm512_set1_epi64((int64_t)r->lo));
  return c512_bits(_mm512_cmple_epu64_mask(v,
                       _mm512_set1_epi64((int64_t)r->span)));
}
static inline unsigned cw_reals(const unsigned char *p, const void *arg){
  const struct column_reals *r = arg;
  __m512d v = _mm512_loadu_pd(p);
  __mmask8 m = _mm512_cmp_pd_mask(v, _mm512_set1_pd(r->lo), _CMP_GE_OQ);
  return c512_bits(_mm512_mask_cmp_pd_mask(m, v, _mm512_set1_pd(r->hi),
                                           _CMP_LE_OQ));
}
static inline uint64_t cw_bytes(const unsigned char *p, uint8_t v){
  return _mm512_cmpeq_epi8_mask(_mm512_loadu_si512(p),
                                _mm512_set1_epi8((char)v));
}

/* First and second halves of eight cells. */
static inline void c512_halves(const unsigned char *p, __m512i *lo,
                               __m512i *hi){
  const __m512i even = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
  const __m512i odd = _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15);
  __m512i a = _mm512_loadu_si512(p), b = _mm512_loadu_si512(p+64);
  *lo = _mm512_permutex2var_epi64(a, even, b);
  *hi = _mm512_permutex2var_epi64(a, odd, b);
}
static inline unsigned cw_equal(const unsigned char *p, const void *arg){
  const struct column_text *t = arg;
  __m512i lo, hi;
  __mmask8 m;
  c512_halves(p, &lo, &hi);
  lo = _mm512_and_si512(lo, _mm512_set1_epi64((int64_t)t->mask[0]));
  hi = _mm512_and_si512(hi, _mm512_set1_epi64((int64_t)t->mask[1]));
  m = _mm512_cmpeq_epi64_mask(lo, _mm512_set1_epi64((int64_t)t->want[0]));
  return c512_bits(_mm512_mask_cmpeq_epi64_mask(m, hi,
                       _mm512_set1_epi64((int64_t)t->want[1])));
}
static inline unsigned cw_order(const unsigned char *p, uint64_t head){
  const __m512i swap = _mm512_broadcast_i32x4(
      _mm_setr_epi8(7,6,5,4,3,2,1,0, 15,14,13,12,11,10,9,8));
  const __m512i y = _mm512_set1_epi64((int64_t)head);
  __m512i lo, hi, v;
  c512_halves(p, &lo, &hi);
  v = _mm512_or_si512(_mm512_srli_epi64(lo, 32), _mm512_slli_epi64(hi, 32));
  v = _mm512_shuffle_epi8(v, swap);
  return c512_bits(_mm512_cmplt_epu64_mask(v, y))
       | c512_bits(_mm512_cmpgt_epu64_mask(v, y))<<8;
}

# include "simd/column_kernels.inc"
#else
typedef int vdb_no_column_avx512;   /* a file must not be empty */
#endif
