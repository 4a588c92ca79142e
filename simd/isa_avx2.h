/* isa_avx2.h -- the vocabulary of kernels.inc in AVX2, FMA and F16C.
** isa_scalar.h says what each word means.
*/
#include <immintrin.h>

#define ISA_NAME  "avx2"
#define ISA(f)    f##_avx2
#include "simd/isa_names.h"

typedef struct { __m256 a, b, c, d; } v32;

static inline v32 v32_zero(void){
  v32 z; z.a = z.b = z.c = z.d = _mm256_setzero_ps(); return z;
}
static inline v32 v32_load_f32(const float *p){
  v32 z;
  z.a = _mm256_loadu_ps(p);    z.b = _mm256_loadu_ps(p+8);
  z.c = _mm256_loadu_ps(p+16); z.d = _mm256_loadu_ps(p+24);
  return z;
}
/* The first n of 8 elements; n may be negative or above 8. */
static inline __m256 v8_part(const float *p, int n){
  __m256i i = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), i));
}
static inline v32 v32_part_f32(const float *p, size_t n){
  v32 z;
  z.a = v8_part(p, (int)n);       z.b = v8_part(p+8, (int)n-8);
  z.c = v8_part(p+16, (int)n-16); z.d = v8_part(p+24, (int)n-24);
  return z;
}
static inline __m256 v8_load_f16(const uint16_t *p){
  return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p));
}
static inline __m256 v8_load_bf16(const uint16_t *p){
  __m128i h = _mm_loadu_si128((const __m128i*)p);
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
static inline v32 v32_load_f16(const uint16_t *p){
  v32 z;
  z.a = v8_load_f16(p);    z.b = v8_load_f16(p+8);
  z.c = v8_load_f16(p+16); z.d = v8_load_f16(p+24);
  return z;
}
static inline v32 v32_load_bf16(const uint16_t *p){
  v32 z;
  z.a = v8_load_bf16(p);    z.b = v8_load_bf16(p+8);
  z.c = v8_load_bf16(p+16); z.d = v8_load_bf16(p+24);
  return z;
}
static inline __m256 v8_load_u8(const uint8_t *p){
  __m128i h = _mm_loadl_epi64((const __m128i*)p);
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(h));
}
static inline __m256 v8_load_i8(const uint8_t *p){
  __m128i h = _mm_loadl_epi64((const __m128i*)p);
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(h));
}
static inline v32 v32_load_u8(const uint8_t *p){
  v32 z;
  z.a = v8_load_u8(p);    z.b = v8_load_u8(p+8);
  z.c = v8_load_u8(p+16); z.d = v8_load_u8(p+24);
  return z;
}
static inline v32 v32_load_i8(const uint8_t *p){
  v32 z;
  z.a = v8_load_i8(p);    z.b = v8_load_i8(p+8);
  z.c = v8_load_i8(p+16); z.d = v8_load_i8(p+24);
  return z;
}
static inline v32 v32_part_u8(const uint8_t *p, size_t n){
  uint8_t tmp[32] = {0};
  memcpy(tmp, p, n);
  return v32_load_u8(tmp);
}
static inline v32 v32_part_i8(const uint8_t *p, size_t n){
  uint8_t tmp[32] = {0};
  memcpy(tmp, p, n);
  return v32_load_i8(tmp);
}
/* There is no masked load of 16-bit elements. */
static inline v32 v32_part_f16(const uint16_t *p, size_t n){
  uint16_t tmp[32] = {0};
  memcpy(tmp, p, n*2);
  return v32_load_f16(tmp);
}
static inline v32 v32_part_bf16(const uint16_t *p, size_t n){
  uint16_t tmp[32] = {0};
  memcpy(tmp, p, n*2);
  return v32_load_bf16(tmp);
}
static inline v32 v32_sub(v32 x, v32 y){
  v32 z;
  z.a = _mm256_sub_ps(x.a, y.a); z.b = _mm256_sub_ps(x.b, y.b);
  z.c = _mm256_sub_ps(x.c, y.c); z.d = _mm256_sub_ps(x.d, y.d);
  return z;
}
static inline v32 v32_fma(v32 x, v32 y, v32 s){
  v32 z;
  z.a = _mm256_fmadd_ps(x.a, y.a, s.a); z.b = _mm256_fmadd_ps(x.b, y.b, s.b);
  z.c = _mm256_fmadd_ps(x.c, y.c, s.c); z.d = _mm256_fmadd_ps(x.d, y.d, s.d);
  return z;
}
static inline __m256 v8_abs(__m256 x){
  return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}
static inline v32 v32_add_abs(v32 s, v32 x){
  v32 z;
  z.a = _mm256_add_ps(s.a, v8_abs(x.a));
  z.b = _mm256_add_ps(s.b, v8_abs(x.b));
  z.c = _mm256_add_ps(s.c, v8_abs(x.c));
  z.d = _mm256_add_ps(s.d, v8_abs(x.d));
  return z;
}
static inline float v32_fold(v32 s){
  __m256 y = _mm256_add_ps(_mm256_add_ps(s.a, MUTANT(10, s.b, s.c)),
                           _mm256_add_ps(MUTANT(10, s.c, s.b), s.d));
  __m128 x = _mm_add_ps(_mm256_castps256_ps128(y),
                        _mm256_extractf128_ps(y, 1));
  x = _mm_add_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

/* ---- Bytes --------------------------------------------------------------- */

#define VB_BYTES  32
typedef __m256i vb;
typedef struct { __m256i lo, hi; } vw;
typedef struct { __m256i a, b; } vi;

static inline vb vb_load(const void *p){
  return _mm256_loadu_si256((const __m256i*)p);
}
/* Half a register is loaded as such: many dimensions are multiples of 16. */
static inline vb vb_part(const void *p, size_t n){
  uint8_t tmp[32] = {0};
  __m128i x;
  if( n<16 ){
    memcpy(tmp, p, n);
    return vb_load(tmp);
  }
  x = _mm_loadu_si128((const __m128i*)p);
  if( n==16 ) return _mm256_zextsi128_si256(x);
  memcpy(tmp, (const char*)p + 16, n-16);
  return _mm256_inserti128_si256(_mm256_castsi128_si256(x),
                                 _mm_loadu_si128((const __m128i*)tmp), 1);
}
static inline vb vb_flip(vb x){
  return _mm256_xor_si256(x, _mm256_set1_epi8((char)0x80));
}
static inline vb vb_xor(vb x, vb y){ return _mm256_xor_si256(x, y); }
static inline vb vb_or(vb x, vb y){ return _mm256_or_si256(x, y); }
static inline vw vw_from_u8(vb x){
  vw z;
  z.lo = _mm256_unpacklo_epi8(x, _mm256_setzero_si256());
  z.hi = _mm256_unpackhi_epi8(x, _mm256_setzero_si256());
  return z;
}
static inline vw vw_from_i8(vb x){
  vw z;
  z.lo = _mm256_srai_epi16(_mm256_unpacklo_epi8(x, x), 8);
  z.hi = _mm256_srai_epi16(_mm256_unpackhi_epi8(x, x), 8);
  return z;
}
static inline vi vi_zero(void){
  vi z; z.a = z.b = _mm256_setzero_si256(); return z;
}
static inline vi vi_add_dot(vi s, vw x, vw y){
  s.a = _mm256_add_epi32(s.a, _mm256_madd_epi16(x.lo, y.lo));
  s.b = _mm256_add_epi32(s.b, _mm256_madd_epi16(x.hi, y.hi));
  return s;
}
static inline vb vb_absdiff_u8(vb x, vb y){
  return _mm256_or_si256(_mm256_subs_epu8(x, y), _mm256_subs_epu8(y, x));
}
static inline vi vi_add_absdiff(vi s, vb x, vb y){
  s.a = _mm256_add_epi32(s.a, _mm256_sad_epu8(x, y));
  return s;
}
/* A table look-up per half byte, added up by the sad instruction. */
static inline vi vi_add_popcount(vi s, vb x){
  __m256i four = _mm256_set1_epi8(0x0f);
  __m256i t = _mm256_setr_epi8(0,1,1,2,1,2,2,3,1,2,2,3,2,3,3,4,
                               0,1,1,2,1,2,2,3,1,2,2,3,2,3,3,4);
  __m256i lo = _mm256_shuffle_epi8(t, _mm256_and_si256(x, four));
  __m256i hi = _mm256_shuffle_epi8(t,
                  _mm256_and_si256(_mm256_srli_epi16(x, 4), four));
  s.a = _mm256_add_epi32(s.a, _mm256_sad_epu8(_mm256_add_epi8(lo, hi),
                                              _mm256_setzero_si256()));
  return s;
}
static inline uint32_t vi_sum(vi s){
  __m256i y = _mm256_add_epi32(s.a, s.b);
  __m128i x = _mm_add_epi32(_mm256_castsi256_si128(y),
                            _mm256_extracti128_si256(y, 1));
  x = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0x4e));
  x = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0xb1));
  return (uint32_t)_mm_cvtsi128_si32(x);
}

/* ---- The batch filter ---------------------------------------------------- */

#define VG_W      8        /* lanes */
#define VG_REGS   3        /* registers across: 24 queries */
#define VG_ROWS   4        /* rows down: 12 sums, 3 queries, 1 row element */
#define VG_GROUP  2        /* integer elements per cell: 8-bit products would
                           ** saturate, so cells hold two 16-bit elements */
typedef __m256 vgf;
typedef __m256i vgi;
typedef int16_t vg_elem;

static inline vgf vgf_load(const void *p){ return _mm256_loadu_ps(p); }
static inline vgi vgi_load(const void *p){
  return _mm256_loadu_si256((const __m256i*)p);
}
static inline vgf vgf_set1(const void *p){
  float x; memcpy(&x, p, 4); return _mm256_set1_ps(x);
}
static inline vgi vgi_set1(const void *p){
  int32_t x; memcpy(&x, p, 4); return _mm256_set1_epi32(x);
}
static inline vgf vgf_step(vgf s, vgf q, vgf x){
  return _mm256_fmadd_ps(q, x, s);
}
static inline vgi vgi_step_u8(vgi s, vgi q, vgi x){
  return _mm256_add_epi32(s, _mm256_madd_epi16(q, x));
}
static inline vgi vgi_step_i8(vgi s, vgi q, vgi x){
  return vgi_step_u8(s, q, x);
}
static inline vgf vgi_as_float(vgi s){ return _mm256_cvtepi32_ps(s); }
static inline uint64_t vgf_reached(vgf s, vgf a, vgf b, vgf u, vgf v){
  vgf t = _mm256_add_ps(_mm256_fmadd_ps(b, u, a), v);
  return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(s, t, _CMP_NLT_UQ));
}
#define VG_ROW_BIAS(type)  ((void)(type), 0)
static inline void vg_row(int type, const uint8_t *src, vg_elem *dst,
                          size_t n){
  size_t i;
  for(i=0; i+16<=n; i+=16){
    __m128i x = _mm_loadu_si128((const __m128i*)(src+i));
    _mm256_storeu_si256((__m256i*)(dst+i), type==VECDB_U8
                        ? _mm256_cvtepu8_epi16(x) : _mm256_cvtepi8_epi16(x));
  }
  for(; i<n; i++){
    dst[i] = (vg_elem)(type==VECDB_U8 ? src[i] : (int8_t)src[i]);
  }
}

/* ---- Half precision ------------------------------------------------------ */

#define VH_W  8
static inline void vh_store(uint16_t *dst, const float *src){
  _mm_storeu_si128((__m128i*)dst, _mm256_cvtps_ph(_mm256_loadu_ps(src),
                                          _MM_FROUND_TO_NEAREST_INT));
}
static inline void vh_load(float *dst, const void *src){
  _mm256_storeu_ps(dst, v8_load_f16(src));
}
