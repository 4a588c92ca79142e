/* column_avx2.c -- the column kernels for AVX2. column_scalar.c says what the
** words mean.
*/
#include "simd/column_int.h"
#if defined(VDB_SIMD_AVX2)
# include <immintrin.h>
# define ISA_NAME  "avx2"
# define ISA(f)    f##_avx2

/* Comparisons of 64 bits are signed: both sides get their top bit flipped. */
static inline __m256i c256_top(void){
  return _mm256_set1_epi64x((int64_t)((uint64_t)1<<63));
}
static inline unsigned c256_bits(__m256i v){
  return (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(v));
}
static inline __m256i c256_load(const unsigned char *p){
  return _mm256_loadu_si256((const __m256i*)(const void*)p);
}

static inline unsigned cw_ints(const unsigned char *p, const void *arg){
  const struct column_ints *r = arg;
  /* v-lo with the top bit flipped is v-(lo^top). */
  const __m256i lo = _mm256_set1_epi64x((int64_t)(r->lo ^ (uint64_t)1<<63));
  const __m256i span = _mm256_xor_si256(_mm256_set1_epi64x((int64_t)r->span),
                                        c256_top());
  __m256i a = _mm256_sub_epi64(c256_load(p), lo);
  __m256i b = _mm256_sub_epi64(c256_load(p+32), lo);
  return (c256_bits(_mm256_cmpgt_epi64(a, span))
          | c256_bits(_mm256_cmpgt_epi64(b, span))<<4) ^ 255u;
}
static inline unsigned c256_reals(const unsigned char *p, __m256d lo,
                                  __m256d hi){
  __m256d v = _mm256_castsi256_pd(c256_load(p));
  return (unsigned)_mm256_movemask_pd(_mm256_and_pd(
             _mm256_cmp_pd(v, lo, _CMP_GE_OQ),
             _mm256_cmp_pd(v, hi, _CMP_LE_OQ)));
}
static inline unsigned cw_reals(const unsigned char *p, const void *arg){
  const struct column_reals *r = arg;
  const __m256d lo = _mm256_set1_pd(r->lo), hi = _mm256_set1_pd(r->hi);
  return c256_reals(p, lo, hi) | c256_reals(p+32, lo, hi)<<4;
}
static inline uint64_t cw_bytes(const unsigned char *p, uint8_t v){
  const __m256i x = _mm256_set1_epi8((char)v);
  uint32_t a = (uint32_t)_mm256_movemask_epi8(
                   _mm256_cmpeq_epi8(c256_load(p), x));
  uint32_t b = (uint32_t)_mm256_movemask_epi8(
                   _mm256_cmpeq_epi8(c256_load(p+32), x));
  return a | (uint64_t)b<<32;
}

/* First and second halves of four cells. */
static inline void c256_halves(const unsigned char *p, __m256i *lo,
                               __m256i *hi){
  const __m128i *c = (const __m128i*)(const void*)p;
  __m256i a = _mm256_inserti128_si256(
      _mm256_castsi128_si256(_mm_loadu_si128(c)), _mm_loadu_si128(c+2), 1);
  __m256i b = _mm256_inserti128_si256(
      _mm256_castsi128_si256(_mm_loadu_si128(c+1)), _mm_loadu_si128(c+3), 1);
  *lo = _mm256_unpacklo_epi64(a, b);
  *hi = _mm256_unpackhi_epi64(a, b);
}
static inline unsigned c256_equal(const unsigned char *p,
                                  const struct column_text *t){
  __m256i lo, hi;
  c256_halves(p, &lo, &hi);
  lo = _mm256_and_si256(lo, _mm256_set1_epi64x((int64_t)t->mask[0]));
  hi = _mm256_and_si256(hi, _mm256_set1_epi64x((int64_t)t->mask[1]));
  lo = _mm256_cmpeq_epi64(lo, _mm256_set1_epi64x((int64_t)t->want[0]));
  hi = _mm256_cmpeq_epi64(hi, _mm256_set1_epi64x((int64_t)t->want[1]));
  return c256_bits(_mm256_and_si256(lo, hi));
}
static inline unsigned cw_equal(const unsigned char *p, const void *arg){
  const struct column_text *t = arg;
  return c256_equal(p, t) | c256_equal(p+64, t)<<4;
}

static inline unsigned c256_order(const unsigned char *p, uint64_t head){
  const __m256i swap = _mm256_setr_epi8(7,6,5,4,3,2,1,0, 15,14,13,12,11,10,9,8,
                                        7,6,5,4,3,2,1,0, 15,14,13,12,11,10,9,8);
  const __m256i y = _mm256_set1_epi64x((int64_t)(head ^ (uint64_t)1<<63));
  __m256i lo, hi, v;
  c256_halves(p, &lo, &hi);
  v = _mm256_or_si256(_mm256_srli_epi64(lo, 32), _mm256_slli_epi64(hi, 32));
  v = _mm256_xor_si256(_mm256_shuffle_epi8(v, swap), c256_top());
  return c256_bits(_mm256_cmpgt_epi64(y, v))
       | c256_bits(_mm256_cmpgt_epi64(v, y))<<8;
}
static inline unsigned cw_order(const unsigned char *p, uint64_t head){
  return c256_order(p, head) | c256_order(p+64, head)<<4;
}

# include "simd/column_kernels.inc"
#else
typedef int vdb_no_column_avx2;     /* a file must not be empty */
#endif
