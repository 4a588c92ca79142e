/* code_avx2.c -- the code kernels for AVX2. code_scalar.c says what the words
** mean.
*/
#include "simd/code_int.h"
#if defined(VDB_SIMD_AVX2)
# include <math.h>
# include "simd/isa_avx2.h"

static inline __m256i m256i_load(const void *p){
  return _mm256_loadu_si256((const __m256i*)p);
}
static inline __m128i m128i_load(const void *p){
  return _mm_loadu_si128((const __m128i*)p);
}
static inline uint32_t m256i_sum(__m256i y){
  vi s;
  s.a = y;
  s.b = _mm256_setzero_si256();
  return vi_sum(s);
}

/* vpmaddubsw would saturate, so bytes are widened. */
static inline uint32_t ci_dot(const uint8_t *u, const int8_t *q, size_t n){
  __m256i s = _mm256_setzero_si256(), t = s;
  for(size_t i=0; i<n; i+=32){
    s = _mm256_add_epi32(s, _mm256_madd_epi16(
          _mm256_cvtepu8_epi16(m128i_load(u+i)),
          _mm256_cvtepi8_epi16(m128i_load(q+i))));
    t = _mm256_add_epi32(t, _mm256_madd_epi16(
          _mm256_cvtepu8_epi16(m128i_load(u+i+16)),
          _mm256_cvtepi8_epi16(m128i_load(q+i+16))));
  }
  return m256i_sum(_mm256_add_epi32(s, t));
}

/* u is widened once for all rows. */
static inline void ci_dots(const int8_t *row, const uint8_t *u, size_t n,
                           int32_t *out){
  __m256i s[CODE_DOTS];
  CODE_UNROLL
  for(int j=0; j<CODE_DOTS; j++) s[j] = _mm256_setzero_si256();
  for(size_t i=0; i<n; i+=16){
    __m256i x = _mm256_cvtepu8_epi16(m128i_load(u+i));
    CODE_UNROLL
    for(int j=0; j<CODE_DOTS; j++){
      s[j] = _mm256_add_epi32(s[j], _mm256_madd_epi16(x,
               _mm256_cvtepi8_epi16(m128i_load(row + (size_t)j*n + i))));
    }
  }
  CODE_UNROLL
  for(int j=0; j<CODE_DOTS; j++) out[j] = (int32_t)m256i_sum(s[j]);
}

/* Two products are at most 2*3*128: four of them fit in 16 bits. */
static inline uint32_t ci_low(const uint8_t *low, const int8_t *q, size_t n){
  const __m128i three = _mm_set1_epi8(3), one = _mm_set1_epi16(1);
  __m128i s = _mm_setzero_si128();
  for(size_t i=0; i<n/4; i+=16){
    __m128i z = m128i_load(low+i), t = _mm_setzero_si128();
    for(int p=0; p<4; p++){
      __m128i x = _mm_and_si128(_mm_srli_epi16(z, 2*p), three);
      t = _mm_add_epi16(t, _mm_maddubs_epi16(x,
                             m128i_load(q + i + (size_t)p*(n/4))));
    }
    s = _mm_add_epi32(s, _mm_madd_epi16(t, one));
  }
  return m256i_sum(_mm256_zextsi128_si256(s));
}

/* Elements h*32.. of a run of 64, h is 0 or 1. */
static inline __attribute__((always_inline))
__m256i m256i_run(const int bits, const uint8_t *p, int h){
  const __m256i spread = _mm256_setr_epi8(0,0,0,0,0,0,0,0, 1,1,1,1,1,1,1,1,
                                          2,2,2,2,2,2,2,2, 3,3,3,3,3,3,3,3);
  const __m256i place = _mm256_set1_epi64x((long long)0x8040201008040201u);
  __m256i z;
  if( bits==1 ){
    int32_t w;
    memcpy(&w, p+4*h, 4);
    z = _mm256_shuffle_epi8(_mm256_set1_epi32(w), spread);
    z = _mm256_cmpeq_epi8(_mm256_and_si256(z, place), place);
    return _mm256_and_si256(z, _mm256_set1_epi8(1));
  }
  z = _mm256_broadcastsi128_si256(m128i_load(p));
  z = _mm256_srlv_epi32(z, h ? _mm256_setr_epi32(4,4,4,4, 6,6,6,6)
                             : _mm256_setr_epi32(0,0,0,0, 2,2,2,2));
  return _mm256_and_si256(z, _mm256_set1_epi8(3));
}
/* Two products are at most 2*3*128: four of them fit in 16 bits. */
static inline __attribute__((always_inline))
void ci_rows4(const int bits, const int8_t *q, size_t dims,
              const uint8_t *const *row, int32_t *ip){
  const __m256i one = _mm256_set1_epi16(1);
  __m256i s[4], y;
  for(int r=0; r<4; r++) s[r] = _mm256_setzero_si256();
  for(size_t d=0, at=0; d<dims; d+=64, at+=8*(size_t)bits){
    __m256i a = m256i_load(q+d), b = m256i_load(q+d+32);
    CODE_UNROLL
    for(int r=0; r<4; r++){
      __m256i t = _mm256_add_epi16(
                    _mm256_maddubs_epi16(m256i_run(bits, row[r]+at, 0), a),
                    _mm256_maddubs_epi16(m256i_run(bits, row[r]+at, 1), b));
      s[r] = _mm256_add_epi32(s[r], _mm256_madd_epi16(t, one));
    }
  }
  y = _mm256_hadd_epi32(_mm256_hadd_epi32(s[0], s[1]),
                        _mm256_hadd_epi32(s[2], s[3]));
  _mm_storeu_si128((__m128i*)(void*)ip,
                   _mm_add_epi32(_mm256_castsi256_si128(y),
                                 _mm256_extracti128_si256(y, 1)));
}

/* Eight lanes per register. Two products of a field are at most 2*15*128 and
** those of a run at most 4*3*2*128, so 16 bits do not saturate. */
static inline __attribute__((always_inline))
void ci_fields(const int bits, const uint8_t *code, const int8_t *q,
               size_t dims, int32_t *ip){
  const int n_field = 8/bits;
  const __m256i mask = _mm256_set1_epi8((char)((1<<bits) - 1));
  const __m256i one = _mm256_set1_epi16(1);
  __m256i s[4];
  CODE_UNROLL
  for(int g=0; g<4; g++) s[g] = _mm256_setzero_si256();
  for(size_t d=0; d<dims; d+=4*(size_t)n_field, code+=128){
    __m256i v[4];
    CODE_UNROLL
    for(int f=0; f<n_field; f++){
      int32_t w;
      memcpy(&w, q + d + 4*(size_t)f, 4);
      v[f] = _mm256_set1_epi32(w);
    }
    CODE_UNROLL
    for(int g=0; g<4; g++){
      __m256i z = m256i_load(code + 32*g), t = _mm256_setzero_si256();
      CODE_UNROLL
      for(int f=0; f<n_field; f++){
        __m256i x = _mm256_and_si256(_mm256_srli_epi16(z, bits*f), mask);
        t = _mm256_add_epi16(t, _mm256_maddubs_epi16(x, v[f]));
      }
      s[g] = _mm256_add_epi32(s[g], _mm256_madd_epi16(t, one));
    }
  }
  CODE_UNROLL
  for(int g=0; g<4; g++) _mm256_store_si256((__m256i*)(ip+8*g), s[g]);
}

/* See code_avx512.c. */
static inline __m256i m256i_sum_halves(__m256i s){
  return _mm256_cvtepu16_epi32(_mm_add_epi16(_mm256_castsi256_si128(s),
                                             _mm256_extracti128_si256(s, 1)));
}
static inline void ci_nibbles(const uint8_t *code, const uint8_t *lut,
                              size_t dims, int32_t *ip){
  const __m256i four = _mm256_set1_epi8(15);
  __m256i sum[4];
  CODE_UNROLL
  for(int g=0; g<4; g++) sum[g] = _mm256_setzero_si256();
  for(size_t d=0; d<dims; ){
    size_t stop = dims-d>1024 ? d+1024 : dims;
    __m256i s0 = _mm256_setzero_si256(), s1 = s0, t0 = s0, t1 = s0;
    for(; d<stop; d+=8, code+=32, lut+=32){
      __m256i z = m256i_load(code), t = m256i_load(lut);
      __m256i x = _mm256_shuffle_epi8(t, _mm256_and_si256(z, four));
      __m256i y = _mm256_shuffle_epi8(t,
                    _mm256_and_si256(_mm256_srli_epi16(z, 4), four));
      s0 = _mm256_add_epi16(s0, x);
      s1 = _mm256_add_epi16(s1, _mm256_srli_epi16(x, 8));
      t0 = _mm256_add_epi16(t0, y);
      t1 = _mm256_add_epi16(t1, _mm256_srli_epi16(y, 8));
    }
    s0 = _mm256_sub_epi16(s0, _mm256_slli_epi16(s1, 8));
    t0 = _mm256_sub_epi16(t0, _mm256_slli_epi16(t1, 8));
    sum[0] = _mm256_add_epi32(sum[0], m256i_sum_halves(s0));
    sum[1] = _mm256_add_epi32(sum[1], m256i_sum_halves(s1));
    sum[2] = _mm256_add_epi32(sum[2], m256i_sum_halves(t0));
    sum[3] = _mm256_add_epi32(sum[3], m256i_sum_halves(t1));
  }
  CODE_UNROLL
  for(int g=0; g<4; g++) _mm256_store_si256((__m256i*)(ip+8*g), sum[g]);
}

/* Eight lanes per register; a byte counts the ones of 31 words at most. */
static inline void ci_bits(const uint8_t *code, const uint8_t *q, size_t dims,
                           int32_t *ip){
  const __m256i four = _mm256_set1_epi8(15), one = _mm256_set1_epi8(1);
  const __m256i t = _mm256_setr_epi8(0,1,1,2,1,2,2,3,1,2,2,3,2,3,3,4,
                                     0,1,1,2,1,2,2,3,1,2,2,3,2,3,3,4);
  __m256i sum[4];
  CODE_UNROLL
  for(int g=0; g<4; g++) sum[g] = _mm256_setzero_si256();
  for(size_t d=0; d<dims; ){
    size_t stop = dims-d>16*32 ? d+16*32 : dims;
    __m256i s[4];
    CODE_UNROLL
    for(int g=0; g<4; g++) s[g] = _mm256_setzero_si256();
    for(; d<stop; d+=32, code+=128){
      int32_t w;
      __m256i v;
      memcpy(&w, q + d/8, 4);
      v = _mm256_set1_epi32(w);
      CODE_UNROLL
      for(int g=0; g<4; g++){
        __m256i z = _mm256_xor_si256(m256i_load(code + 32*g), v);
        __m256i x = _mm256_shuffle_epi8(t, _mm256_and_si256(z, four));
        __m256i y = _mm256_shuffle_epi8(t,
                      _mm256_and_si256(_mm256_srli_epi16(z, 4), four));
        s[g] = _mm256_add_epi8(s[g], _mm256_add_epi8(x, y));
      }
    }
    CODE_UNROLL
    for(int g=0; g<4; g++){
      sum[g] = _mm256_add_epi32(sum[g], _mm256_madd_epi16(
                 _mm256_maddubs_epi16(s[g], one), _mm256_set1_epi16(1)));
    }
  }
  CODE_UNROLL
  for(int g=0; g<4; g++) _mm256_store_si256((__m256i*)(ip+8*g), sum[g]);
}

static inline void cf_estimate(const int32_t *ip, const float *f_add,
                               const float *f_resc, float delta, float kappa,
                               float g_add, float *est){
  for(int l=0; l<32; l+=8){
    __m256 s = _mm256_cvtepi32_ps(m256i_load(ip+l));
    s = _mm256_fmadd_ps(_mm256_set1_ps(delta), s, _mm256_set1_ps(kappa));
    s = _mm256_fmadd_ps(_mm256_loadu_ps(f_resc+l), s,
                        _mm256_add_ps(_mm256_loadu_ps(f_add+l),
                                      _mm256_set1_ps(g_add)));
    _mm256_storeu_ps(est+l, s);
  }
}

/* There is no unsigned compare: x < n is max(x, n-1) = n-1 for n > 0. */
static inline uint32_t cf_mask(const float *est, const uint32_t *id,
                               float bound, uint32_t n_slots){
  const __m256i top = _mm256_set1_epi32((int)(n_slots-1));
  uint32_t m = 0;
  for(int l=0; l<32 && n_slots; l+=8){
    __m256i x = _mm256_cmpeq_epi32(_mm256_max_epu32(m256i_load(id+l), top),
                                   top);
    __m256 c = _mm256_cmp_ps(_mm256_loadu_ps(est+l), _mm256_set1_ps(bound),
                             _CMP_LT_OQ);
    c = _mm256_and_ps(c, _mm256_castsi256_ps(x));
    m |= (uint32_t)_mm256_movemask_ps(c) << l;
  }
  return m;
}

static inline uint32_t pm_find_id(const uint32_t *id, uint32_t n, uint32_t y){
  const __m256i v = _mm256_set1_epi32((int)(y<<1));
  for(uint32_t i=0; i<n; i+=8){
    __m256i x = _mm256_cmpeq_epi32(_mm256_slli_epi32(m256i_load(id+i), 1), v);
    uint32_t m = (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(x));
    if( m ) return i + (uint32_t)__builtin_ctz(m);
  }
  return n;
}
static inline uint32_t pm_insert(float *key, uint32_t *id, uint32_t n,
                                 uint32_t end, float x, uint32_t y){
  const __m256 v = _mm256_set1_ps(x);
  uint32_t pos = end, i;
  (void)n;
  for(i=0; i<end; i+=8){
    uint32_t m = (uint32_t)_mm256_movemask_ps(
                   _mm256_cmp_ps(_mm256_load_ps(key+i), v, _CMP_GT_OQ));
    if( m ){
      pos = i + (uint32_t)__builtin_ctz(m);
      break;
    }
  }
  if( pos>end ) pos = end;
  for(i=end; i>=pos+8; i-=8){
    __m256i k = m256i_load(key+i-8), w = m256i_load(id+i-8);
    _mm256_storeu_si256((__m256i*)(key+i-7), k);
    _mm256_storeu_si256((__m256i*)(id+i-7), w);
  }
  for(; i>pos; i--){
    key[i] = key[i-1];
    id[i] = id[i-1];
  }
  key[pos] = x;
  id[pos] = y;
  return pos;
}
# include "simd/pool_plain.h"
# include "simd/code_kernels.inc"
#else
typedef int vdb_no_code_avx2;     /* a file must not be empty */
#endif
