/* isa_avx512.h -- the vocabulary of kernels.inc in AVX-512 (F, BW, VL, DQ,
** VNNI, VPOPCNTDQ). isa_scalar.h says what each word means.
*/
#include <immintrin.h>

#define ISA_NAME  "avx512"
#define ISA(f)    f##_avx512
#include "simd/isa_names.h"

typedef struct { __m512 a, b; } v32;

static inline v32 v32_zero(void){
  v32 z; z.a = z.b = _mm512_setzero_ps(); return z;
}
static inline v32 v32_load_f32(const float *p){
  v32 z; z.a = _mm512_loadu_ps(p); z.b = _mm512_loadu_ps(p+16); return z;
}
static inline v32 v32_part_f32(const float *p, size_t n){
  uint32_t m = ((uint32_t)1<<n) - 1;
  v32 z;
  z.a = _mm512_maskz_loadu_ps((__mmask16)m, p);
  z.b = _mm512_maskz_loadu_ps((__mmask16)(m>>16), p+16);
  return z;
}
static inline v32 v32_from_f16(__m512i h){
  v32 z;
  z.a = _mm512_cvtph_ps(_mm512_castsi512_si256(h));
  z.b = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(h, 1));
  return z;
}
static inline __m512 v16_from_bf16(__m256i h){
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
static inline v32 v32_from_bf16(__m512i h){
  v32 z;
  z.a = v16_from_bf16(_mm512_castsi512_si256(h));
  z.b = v16_from_bf16(_mm512_extracti64x4_epi64(h, 1));
  return z;
}
static inline v32 v32_load_f16(const uint16_t *p){
  return v32_from_f16(_mm512_loadu_si512(p));
}
static inline v32 v32_part_f16(const uint16_t *p, size_t n){
  return v32_from_f16(_mm512_maskz_loadu_epi16(((uint32_t)1<<n) - 1, p));
}
static inline v32 v32_load_bf16(const uint16_t *p){
  return v32_from_bf16(_mm512_loadu_si512(p));
}
static inline v32 v32_part_bf16(const uint16_t *p, size_t n){
  return v32_from_bf16(_mm512_maskz_loadu_epi16(((uint32_t)1<<n) - 1, p));
}
static inline v32 v32_from_u8(__m256i h){
  v32 z;
  z.a = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm256_castsi256_si128(h)));
  z.b = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(
                             _mm256_extracti128_si256(h, 1)));
  return z;
}
static inline v32 v32_from_i8(__m256i h){
  v32 z;
  z.a = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_castsi256_si128(h)));
  z.b = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(
                             _mm256_extracti128_si256(h, 1)));
  return z;
}
static inline v32 v32_load_u8(const uint8_t *p){
  return v32_from_u8(_mm256_loadu_si256((const __m256i*)p));
}
static inline v32 v32_part_u8(const uint8_t *p, size_t n){
  return v32_from_u8(_mm256_maskz_loadu_epi8(((uint32_t)1<<n) - 1, p));
}
static inline v32 v32_load_i8(const uint8_t *p){
  return v32_from_i8(_mm256_loadu_si256((const __m256i*)p));
}
static inline v32 v32_part_i8(const uint8_t *p, size_t n){
  return v32_from_i8(_mm256_maskz_loadu_epi8(((uint32_t)1<<n) - 1, p));
}
static inline v32 v32_sub(v32 x, v32 y){
  v32 z;
  z.a = _mm512_sub_ps(x.a, y.a); z.b = _mm512_sub_ps(x.b, y.b);
  return z;
}
static inline v32 v32_fma(v32 x, v32 y, v32 s){
  v32 z;
  z.a = _mm512_fmadd_ps(x.a, y.a, s.a); z.b = _mm512_fmadd_ps(x.b, y.b, s.b);
  return z;
}
static inline v32 v32_add_abs(v32 s, v32 x){
  v32 z;
  z.a = _mm512_add_ps(s.a, _mm512_abs_ps(x.a));
  z.b = _mm512_add_ps(s.b, _mm512_abs_ps(x.b));
  return z;
}
static inline float v32_fold(v32 s){
  __m512 w = _mm512_add_ps(s.a, s.b);
  __m256 y = _mm256_add_ps(_mm512_castps512_ps256(w),
                           _mm512_extractf32x8_ps(w, 1));
  __m128 x = _mm_add_ps(_mm256_castps256_ps128(y),
                        _mm256_extractf128_ps(y, 1));
  x = _mm_add_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

/* ---- Bytes --------------------------------------------------------------- */

#define VB_BYTES  64
typedef __m512i vb;
typedef struct { __m512i lo, hi; } vw;
typedef struct { __m512i a, b; } vi;

static inline vb vb_load(const void *p){ return _mm512_loadu_si512(p); }
static inline vb vb_part(const void *p, size_t n){
  return _mm512_maskz_loadu_epi8(((uint64_t)1<<n) - 1, p);
}
static inline vb vb_flip(vb x){
  return _mm512_xor_si512(x, _mm512_set1_epi8((char)0x80));
}
static inline vb vb_xor(vb x, vb y){ return _mm512_xor_si512(x, y); }
static inline vb vb_or(vb x, vb y){ return _mm512_or_si512(x, y); }
static inline vw vw_from_u8(vb x){
  vw z;
  z.lo = _mm512_unpacklo_epi8(x, _mm512_setzero_si512());
  z.hi = _mm512_unpackhi_epi8(x, _mm512_setzero_si512());
  return z;
}
static inline vw vw_from_i8(vb x){
  vw z;
  z.lo = _mm512_srai_epi16(_mm512_unpacklo_epi8(x, x), 8);
  z.hi = _mm512_srai_epi16(_mm512_unpackhi_epi8(x, x), 8);
  return z;
}
static inline vi vi_zero(void){
  vi z; z.a = z.b = _mm512_setzero_si512(); return z;
}
static inline vi vi_add_dot(vi s, vw x, vw y){
  s.a = _mm512_dpwssd_epi32(s.a, x.lo, y.lo);
  s.b = _mm512_dpwssd_epi32(s.b, x.hi, y.hi);
  return s;
}
static inline vb vb_absdiff_u8(vb x, vb y){
  return _mm512_or_si512(_mm512_subs_epu8(x, y), _mm512_subs_epu8(y, x));
}
static inline vi vi_add_absdiff(vi s, vb x, vb y){
  s.a = _mm512_add_epi32(s.a, _mm512_sad_epu8(x, y));
  return s;
}
static inline vi vi_add_popcount(vi s, vb x){
  s.a = _mm512_add_epi32(s.a, _mm512_popcnt_epi64(x));
  return s;
}
/* Not _mm512_reduce_add_epi32: gcc's ends in a signed addition in C, where an
** overflow is undefined; sums modulo 2^32 are meant. */
static inline uint32_t vi_sum(vi s){
  __m512i w = _mm512_add_epi32(s.a, s.b);
  __m256i y = _mm256_add_epi32(_mm512_castsi512_si256(w),
                               _mm512_extracti64x4_epi64(w, 1));
  __m128i x = _mm_add_epi32(_mm256_castsi256_si128(y),
                            _mm256_extracti128_si256(y, 1));
  x = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0x4e));
  x = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0xb1));
  return (uint32_t)_mm_cvtsi128_si32(x);
}

/* ---- The batch filter ---------------------------------------------------- */

#define VG_W      16       /* lanes */
#define VG_REGS   3        /* registers across: 48 queries */
#define VG_ROWS   8        /* rows down: 24 sums, 3 queries, 1 row element */
#define VG_GROUP  4        /* integer elements per cell */
typedef __m512 vgf;
/* Not __m512i: gcc takes that for 8 integers of 64 bits, and converting to 16
** of 32 bits and back in every step made it keep the sums in memory. */
typedef int32_t vgi __attribute__((vector_size(64)));
typedef int8_t vg_elem;

static inline vgf vgf_load(const void *p){ return _mm512_loadu_ps(p); }
static inline vgi vgi_load(const void *p){
  return (vgi)_mm512_loadu_si512(p);
}
static inline vgf vgf_set1(const void *p){
  float x; memcpy(&x, p, 4); return _mm512_set1_ps(x);
}
static inline vgi vgi_set1(const void *p){
  int32_t x; memcpy(&x, p, 4); return (vgi)_mm512_set1_epi32(x);
}
static inline vgf vgf_step(vgf s, vgf q, vgf x){
  return _mm512_fmadd_ps(q, x, s);
}
static inline vgi vgi_step_u8(vgi s, vgi q, vgi x){  /* q unsigned, x signed */
  return (vgi)_mm512_dpbusd_epi32((__m512i)s, (__m512i)q, (__m512i)x);
}
static inline vgi vgi_step_i8(vgi s, vgi q, vgi x){  /* x unsigned, q signed */
  return (vgi)_mm512_dpbusd_epi32((__m512i)s, (__m512i)x, (__m512i)q);
}
static inline vgf vgi_as_float(vgi s){
  return _mm512_cvtepi32_ps((__m512i)s);
}
static inline uint64_t vgf_reached(vgf s, vgf a, vgf b, vgf u, vgf v){
  vgf t = _mm512_add_ps(_mm512_fmadd_ps(b, u, a), v);
  return _mm512_cmp_ps_mask(s, t, _CMP_NLT_UQ);
}
/* Only one operand of the instruction is signed. The row's bytes get their
** top bit flipped: u8 becomes x-128, signed, beside unsigned queries; i8
** becomes x+128, unsigned, beside signed queries. vg_row_bias undoes it. */
#define VG_ROW_BIAS(type)  ((type)==VECDB_U8 ? 128 : -128)
static inline void vg_row(int type, const uint8_t *src, vg_elem *dst,
                          size_t n){
  size_t i;
  (void)type;
  for(i=0; i+VB_BYTES<=n; i+=VB_BYTES){
    _mm512_storeu_si512(dst+i, vb_flip(vb_load(src+i)));
  }
  _mm512_mask_storeu_epi8(dst+i, ((uint64_t)1<<(n-i)) - 1,
                          vb_flip(vb_part(src+i, n-i)));
}

/* ---- Half precision ------------------------------------------------------ */

#define VH_W  16
static inline void vh_store(uint16_t *dst, const float *src){
  _mm256_storeu_si256((__m256i*)dst, _mm512_cvtps_ph(_mm512_loadu_ps(src),
                                             _MM_FROUND_TO_NEAREST_INT));
}
static inline void vh_load(float *dst, const void *src){
  _mm512_storeu_ps(dst, _mm512_cvtph_ps(
                            _mm256_loadu_si256((const __m256i*)src)));
}
