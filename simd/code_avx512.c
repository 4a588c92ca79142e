/* code_avx512.c -- the code kernels for AVX-512 with VNNI. code_scalar.c says
** what the words mean.
*/
#include "simd/code_int.h"
#if defined(VDB_SIMD_AVX512)
# include <math.h>
# include "simd/isa_avx512.h"

/* Two sums: one dependency chain of vpdpbusd is as long as the loads of two
** steps. */
static inline uint32_t ci_dot(const uint8_t *u, const int8_t *q, size_t n){
  __m512i s = _mm512_setzero_si512(), t = s;
  size_t i;
  for(i=0; i+128<=n; i+=128){
    s = _mm512_dpbusd_epi32(s, _mm512_loadu_si512(u+i),
                            _mm512_loadu_si512(q+i));
    t = _mm512_dpbusd_epi32(t, _mm512_loadu_si512(u+i+64),
                            _mm512_loadu_si512(q+i+64));
  }
  if( i<n ){
    s = _mm512_dpbusd_epi32(s, _mm512_loadu_si512(u+i),
                            _mm512_loadu_si512(q+i));
  }
  return (uint32_t)_mm512_reduce_add_epi32(_mm512_add_epi32(s, t));
}

/* Sums of the 16 numbers of each of eight registers. */
static inline __m512i m512i_pair_sums(__m512i a, __m512i b){
  return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b),
                          _mm512_unpackhi_epi32(a, b));
}
static inline __m512i m512i_quad_sums(__m512i a, __m512i b){
  return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b),
                          _mm512_unpackhi_epi64(a, b));
}
static inline void m512i_store_sums(const __m512i *s, int32_t *out){
  __m512i x = m512i_quad_sums(m512i_pair_sums(s[0], s[1]),
                              m512i_pair_sums(s[2], s[3]));
  __m512i y = m512i_quad_sums(m512i_pair_sums(s[4], s[5]),
                              m512i_pair_sums(s[6], s[7]));
  x = _mm512_add_epi32(_mm512_shuffle_i64x2(x, y, 0x88),
                       _mm512_shuffle_i64x2(x, y, 0xdd));
  x = _mm512_add_epi32(x, _mm512_shuffle_i64x2(x, x, 0xb1));
  _mm256_storeu_si256((__m256i*)out,
    _mm256_inserti128_si256(_mm512_castsi512_si256(x),
                            _mm512_extracti32x4_epi32(x, 2), 1));
}

/* u stays in a register for eight rows, whose sums are folded together. */
static inline void ci_dots(const int8_t *row, const uint8_t *u, size_t n,
                           int32_t *out){
  __m512i s[CODE_DOTS];
  CODE_UNROLL
  for(int j=0; j<CODE_DOTS; j++) s[j] = _mm512_setzero_si512();
  for(size_t i=0; i<n; i+=64){
    __m512i x = _mm512_loadu_si512(u+i);
    CODE_UNROLL
    for(int j=0; j<CODE_DOTS; j++){
      s[j] = _mm512_dpbusd_epi32(s[j], x,
                                 _mm512_loadu_si512(row + (size_t)j*n + i));
    }
  }
  m512i_store_sums(s, out);
}

static inline uint32_t ci_low(const uint8_t *low, const int8_t *q, size_t n){
  const __m512i three = _mm512_set1_epi8(3);
  const size_t part = n/4;
  __m512i s = _mm512_setzero_si512(), t = s;
  for(size_t i=0; i<part; i+=64){
    __mmask64 m = part-i<64 ? ((__mmask64)1<<(part-i)) - 1 : ~(__mmask64)0;
    __m512i z = _mm512_maskz_loadu_epi8(m, low+i);
    s = _mm512_dpbusd_epi32(s, _mm512_and_si512(z, three),
                            _mm512_maskz_loadu_epi8(m, q+i));
    t = _mm512_dpbusd_epi32(t,
          _mm512_and_si512(_mm512_srli_epi16(z, 2), three),
          _mm512_maskz_loadu_epi8(m, q+i+part));
    s = _mm512_dpbusd_epi32(s,
          _mm512_and_si512(_mm512_srli_epi16(z, 4), three),
          _mm512_maskz_loadu_epi8(m, q+i+2*part));
    t = _mm512_dpbusd_epi32(t,
          _mm512_and_si512(_mm512_srli_epi16(z, 6), three),
          _mm512_maskz_loadu_epi8(m, q+i+3*part));
  }
  return (uint32_t)_mm512_reduce_add_epi32(_mm512_add_epi32(s, t));
}

/* The sums of four registers. */
static inline __m128i m512i_sum4(const __m512i *s){
  __m512i t = _mm512_add_epi32(_mm512_unpacklo_epi32(s[0], s[1]),
                               _mm512_unpackhi_epi32(s[0], s[1]));
  __m512i u = _mm512_add_epi32(_mm512_unpacklo_epi32(s[2], s[3]),
                               _mm512_unpackhi_epi32(s[2], s[3]));
  __m256i v;
  t = _mm512_add_epi32(_mm512_unpacklo_epi64(t, u),
                       _mm512_unpackhi_epi64(t, u));
  v = _mm256_add_epi32(_mm512_castsi512_si256(t),
                       _mm512_extracti64x4_epi64(t, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(v),
                       _mm256_extracti128_si256(v, 1));
}
static inline __attribute__((always_inline))
__m512i m512i_run(const int bits, const uint8_t *p){
  const __m512i shift = _mm512_set_epi32(6,6,6,6, 4,4,4,4, 2,2,2,2, 0,0,0,0);
  __m512i z;
  if( bits==1 ){
    uint64_t m;
    memcpy(&m, p, 8);
    return _mm512_maskz_set1_epi8((__mmask64)m, 1);
  }
  z = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i*)(const void*)p));
  return _mm512_and_si512(_mm512_srlv_epi32(z, shift), _mm512_set1_epi8(3));
}
static inline __attribute__((always_inline))
void ci_rows4(const int bits, const int8_t *q, size_t dims,
              const uint8_t *const *row, int32_t *ip){
  __m512i s[4];
  for(int r=0; r<4; r++) s[r] = _mm512_setzero_si512();
  for(size_t d=0, at=0; d<dims; d+=64, at+=8*(size_t)bits){
    __m512i x = _mm512_loadu_si512(q+d);
    CODE_UNROLL
    for(int r=0; r<4; r++){
      s[r] = _mm512_dpbusd_epi32(s[r], m512i_run(bits, row[r]+at), x);
    }
  }
  _mm_storeu_si128((__m128i*)(void*)ip, m512i_sum4(s));
}

/* Fields stay where they are in their byte: a field's sum is then a multiple
** of its place value, and one shift at the end removes it. Largest sum:
** 65536*240*128 < 2^31. */
static inline __m512i m512i_query4(const int8_t *q){
  int32_t v;
  memcpy(&v, q, 4);
  return _mm512_set1_epi32(v);
}
static inline __attribute__((always_inline))
void ci_fields(const int bits, const uint8_t *code, const int8_t *q,
               size_t dims, int32_t *ip){
  const int n_field = 8/bits;
  __m512i a[4], b[4], mask[4];
  CODE_UNROLL
  for(int f=0; f<n_field; f++){
    a[f] = b[f] = _mm512_setzero_si512();
    mask[f] = _mm512_set1_epi8((char)(((1<<bits) - 1) << (bits*f)));
  }
  for(size_t d=0; d<dims; d+=4*(size_t)n_field, code+=128){
    __m512i x = _mm512_load_si512(code), y = _mm512_load_si512(code+64);
    CODE_UNROLL
    for(int f=0; f<n_field; f++){
      __m512i v = m512i_query4(q + d + 4*(size_t)f);
      a[f] = _mm512_dpbusd_epi32(a[f], _mm512_and_si512(x, mask[f]), v);
      b[f] = _mm512_dpbusd_epi32(b[f], _mm512_and_si512(y, mask[f]), v);
    }
  }
  CODE_UNROLL
  for(int f=1; f<n_field; f++){
    a[0] = _mm512_add_epi32(a[0], _mm512_srai_epi32(a[f], bits*f));
    b[0] = _mm512_add_epi32(b[0], _mm512_srai_epi32(b[f], bits*f));
  }
  _mm512_store_si512(ip, a[0]);
  _mm512_store_si512(ip+16, b[0]);
}

/* Sums of 16 bits hold 255*256 steps of one look-up: flushed every 1024
** dimensions. The even bytes of `s` are known modulo 2^16 only after the odd
** ones, summed apart, have been taken away. A register holds four nibbles. */
static inline __m512i m512i_sum_lanes(__m512i s){
  __m256i y = _mm256_add_epi16(_mm512_castsi512_si256(s),
                               _mm512_extracti64x4_epi64(s, 1));
  return _mm512_cvtepu16_epi32(y);
}
static inline void ci_nibbles(const uint8_t *code, const uint8_t *lut,
                              size_t dims, int32_t *ip){
  const __m512i four = _mm512_set1_epi8(15);
  __m512i lo = _mm512_setzero_si512(), hi = lo;
  for(size_t d=0; d<dims; ){
    size_t stop = dims-d>1024 ? d+1024 : dims;
    __m512i s0 = _mm512_setzero_si512(), s1 = s0, t0 = s0, t1 = s0;
    __m512i e, o;
    for(; d<stop; d+=16, code+=64, lut+=64){
      __m512i z = _mm512_loadu_si512(code), t = _mm512_loadu_si512(lut);
      __m512i x = _mm512_shuffle_epi8(t, _mm512_and_si512(z, four));
      __m512i y = _mm512_shuffle_epi8(t,
                    _mm512_and_si512(_mm512_srli_epi16(z, 4), four));
      s0 = _mm512_add_epi16(s0, x);
      s1 = _mm512_add_epi16(s1, _mm512_srli_epi16(x, 8));
      t0 = _mm512_add_epi16(t0, y);
      t1 = _mm512_add_epi16(t1, _mm512_srli_epi16(y, 8));
    }
    s0 = _mm512_sub_epi16(s0, _mm512_slli_epi16(s1, 8));
    t0 = _mm512_sub_epi16(t0, _mm512_slli_epi16(t1, 8));
    /* 32 sums of 16 bits: four quarters of eight lanes, to be added. Each is
    ** at most 255*64, so the sum of four fits as well. */
    e = m512i_sum_lanes(s0);  /* 16: two halves of lanes 0..7 */
    o = m512i_sum_lanes(s1);  /* lanes 8..15 */
    e = _mm512_add_epi32(e, _mm512_shuffle_i64x2(e, e, 0x4e));
    o = _mm512_add_epi32(o, _mm512_shuffle_i64x2(o, o, 0x4e));
    lo = _mm512_add_epi32(lo, _mm512_shuffle_i64x2(e, o, 0x44));
    e = m512i_sum_lanes(t0);
    o = m512i_sum_lanes(t1);
    e = _mm512_add_epi32(e, _mm512_shuffle_i64x2(e, e, 0x4e));
    o = _mm512_add_epi32(o, _mm512_shuffle_i64x2(o, o, 0x4e));
    hi = _mm512_add_epi32(hi, _mm512_shuffle_i64x2(e, o, 0x44));
  }
  _mm512_store_si512(ip, lo);
  _mm512_store_si512(ip+16, hi);
}

static inline void ci_bits(const uint8_t *code, const uint8_t *q, size_t dims,
                           int32_t *ip){
  __m512i a = _mm512_setzero_si512(), b = a, a2 = a, b2 = a;
  for(size_t d=0; d<dims; d+=64, code+=256){
    __m512i v = m512i_query4((const int8_t*)q + d/8);
    __m512i w = m512i_query4((const int8_t*)q + d/8 + 4);
    a = _mm512_add_epi32(a, _mm512_popcnt_epi32(
          _mm512_xor_si512(_mm512_load_si512(code), v)));
    b = _mm512_add_epi32(b, _mm512_popcnt_epi32(
          _mm512_xor_si512(_mm512_load_si512(code+64), v)));
    a2 = _mm512_add_epi32(a2, _mm512_popcnt_epi32(
           _mm512_xor_si512(_mm512_load_si512(code+128), w)));
    b2 = _mm512_add_epi32(b2, _mm512_popcnt_epi32(
           _mm512_xor_si512(_mm512_load_si512(code+192), w)));
  }
  _mm512_store_si512(ip, _mm512_add_epi32(a, a2));
  _mm512_store_si512(ip+16, _mm512_add_epi32(b, b2));
}

static inline __m512 m512_estimate(const int32_t *ip, const float *f_add,
                                   const float *f_resc, float delta,
                                   float kappa, float g_add){
  __m512 s = _mm512_cvtepi32_ps(_mm512_load_si512(ip));
  s = _mm512_fmadd_ps(_mm512_set1_ps(delta), s, _mm512_set1_ps(kappa));
  return _mm512_fmadd_ps(_mm512_loadu_ps(f_resc), s,
                         _mm512_add_ps(_mm512_loadu_ps(f_add),
                                       _mm512_set1_ps(g_add)));
}
static inline void cf_estimate(const int32_t *ip, const float *f_add,
                               const float *f_resc, float delta, float kappa,
                               float g_add, float *est){
  _mm512_storeu_ps(est, m512_estimate(ip, f_add, f_resc, delta, kappa, g_add));
  _mm512_storeu_ps(est+16, m512_estimate(ip+16, f_add+16, f_resc+16, delta,
                                         kappa, g_add));
}

static inline uint32_t m512_mask(const float *est, const uint32_t *id,
                                 float bound, uint32_t n_slots){
  __mmask16 m = _mm512_cmplt_epu32_mask(_mm512_loadu_si512(id),
                                        _mm512_set1_epi32((int)n_slots));
  return _mm512_mask_cmp_ps_mask(m, _mm512_loadu_ps(est),
                                 _mm512_set1_ps(bound), _CMP_LT_OQ);
}
static inline uint32_t cf_mask(const float *est, const uint32_t *id,
                               float bound, uint32_t n_slots){
  return m512_mask(est, id, bound, n_slots)
       | m512_mask(est+16, id+16, bound, n_slots)<<16;
}

/* A pool of at most 64 is handled in one go, without branches that depend on
** where things are; larger ones register by register. */
#define POOL_FEW  64

static inline uint32_t m512i_same(const uint32_t *id, __m512i y){
  return _mm512_testn_epi32_mask(_mm512_xor_si512(_mm512_load_si512(id), y),
                                 _mm512_set1_epi32(0x7fffffff));
}
static inline uint32_t pm_find_id(const uint32_t *id, uint32_t n, uint32_t y){
  const __m512i v = _mm512_set1_epi32((int)y);
  if( n<=POOL_FEW ){
    uint64_t m = 0;
    for(uint32_t i=0; i<n; i+=16) m |= (uint64_t)m512i_same(id+i, v) << i;
    return m ? (uint32_t)__builtin_ctzll(m) : n;
  }
  for(uint32_t i=0; i<n; i+=16){
    uint32_t m = m512i_same(id+i, v);
    if( m ) return i + (uint32_t)__builtin_ctz(m);
  }
  return n;
}

/* In a register whose lanes `stay` are before the place, `hole` is the place
** (if here), the others take what is one lane lower. Whole registers are
** written: masked stores would not be forwarded to the loads of the next
** insertion. */
static inline uint32_t pm_insert(float *key, uint32_t *id, uint32_t n,
                                 uint32_t end, float x, uint32_t y){
  const __m512 vx = _mm512_set1_ps(x);
  const __m512i vy = _mm512_set1_epi32((int)y);
  __m512i k0, v0;
  uint32_t pos, i, last = end & ~15u;
  if( n<=POOL_FEW ){
    uint64_t m = 0;
    for(i=0; i<n; i+=16){
      m |= (uint64_t)_mm512_cmp_ps_mask(_mm512_load_ps(key+i), vx, _CMP_GT_OQ)
           << i;
    }
    pos = m ? (uint32_t)__builtin_ctzll(m) : end;
  }else{
    uint32_t m;
    for(i=0; ; i+=16){
      m = _mm512_cmp_ps_mask(_mm512_load_ps(key+i), vx, _CMP_GT_OQ);
      if( m || i>=last ) break;
    }
    pos = m ? i + (uint32_t)__builtin_ctz(m) : end;
  }
  if( pos>end ) pos = end;
  i = pos & ~15u;
  k0 = _mm512_load_si512(key+i);
  v0 = _mm512_load_si512(id+i);
  {
    __mmask16 others = (__mmask16)~(1u<<(pos & 15));
    __m512i k = _mm512_mask_expand_epi32(_mm512_castps_si512(vx), others, k0);
    __m512i v = _mm512_mask_expand_epi32(vy, others, v0);
    __mmask16 tail = (__mmask16)((2u<<(end & 15)) - 1);
    for(; i<last; i+=16){
      __m512i k1 = _mm512_load_si512(key+i+16);
      __m512i v1 = _mm512_load_si512(id+i+16);
      _mm512_store_si512(key+i, k);
      _mm512_store_si512(id+i, v);
      k = _mm512_alignr_epi32(k1, k0, 15);
      v = _mm512_alignr_epi32(v1, v0, 15);
      k0 = k1;
      v0 = v1;
    }
    _mm512_store_si512(key+i, _mm512_mask_blend_epi32(tail, k0, k));
    _mm512_store_si512(id+i, _mm512_mask_blend_epi32(tail, v0, v));
  }
  return pos;
}

/* The place of an entry in the result is the number of old keys not above it
** plus the number of new ones before it. Old entries are spread around those
** places from the last register down, then the new ones are stored. */
static inline uint32_t pm_merge(float *key, uint32_t *id, uint32_t n_cap,
                                const float *x, const uint32_t *y,
                                uint32_t n){
  const __mmask32 used = (__mmask32)((uint64_t)0xffffffff >> (32-n));
  __m512 x0 = _mm512_mask_loadu_ps(_mm512_set1_ps(INFINITY), (__mmask16)used,
                                   x);
  __m512 x1 = _mm512_mask_loadu_ps(_mm512_set1_ps(INFINITY),
                                   (__mmask16)(used>>16), x+16);
  uint32_t place[32], first = n_cap, before = 0, end = (n_cap-1) & ~15u;
  uint16_t hole[VDB_POOL_HOLES];
  bool is_wide = n>16;
  for(uint32_t i=0; i<n_cap; i+=16) hole[i/16] = 0;
  for(uint32_t j=0; j<n; j++){
    __m512 v = _mm512_set1_ps(x[j]);
    uint32_t m = _mm512_cmp_ps_mask(x0, v, _CMP_LT_OQ), pos;
    uint32_t same = _mm512_cmp_ps_mask(x0, v, _CMP_EQ_OQ);
    if( is_wide ){
      m |= (uint32_t)_mm512_cmp_ps_mask(x1, v, _CMP_LT_OQ) << 16;
      same |= (uint32_t)_mm512_cmp_ps_mask(x1, v, _CMP_EQ_OQ) << 16;
    }
    pos = (uint32_t)__builtin_popcount(m | (same & ((1u<<j)-1)));
    for(uint32_t i=0; i<n_cap; i+=16){
      pos += (uint32_t)__builtin_popcount(
               _mm512_cmp_ps_mask(_mm512_load_ps(key+i), v, _CMP_LE_OQ));
    }
    place[j] = pos;
    first = pos<first ? pos : first;
    if( pos<n_cap ){
      hole[pos/16] |= (uint16_t)(1u<<(pos & 15));
      before++;
    }
  }
  if( first>=n_cap ) return n_cap;
  {
    __mmask16 tail = (__mmask16)((2u<<((n_cap-1) & 15)) - 1);
    __m512 k_old = _mm512_load_ps(key+end);
    __m512i v_old = _mm512_load_si512(id+end);
    for(uint32_t i=end; ; i-=16){
      __mmask16 keep = (__mmask16)~hole[i/16];
      before -= (uint32_t)__builtin_popcount(hole[i/16]);
      _mm512_store_ps(key+i, _mm512_maskz_expandloadu_ps(keep, key+i-before));
      _mm512_store_si512(id+i, _mm512_maskz_expandloadu_epi32(keep,
                                                              id+i-before));
      if( i<=first ) break;
    }
    _mm512_store_ps(key+end, _mm512_mask_blend_ps(tail, k_old,
                                                  _mm512_load_ps(key+end)));
    _mm512_store_si512(id+end, _mm512_mask_blend_epi32(tail, v_old,
                                               _mm512_load_si512(id+end)));
  }
  for(uint32_t j=0; j<n; j++){
    if( place[j]<n_cap ){
      key[place[j]] = x[j];
      id[place[j]] = y[j];
    }
  }
  return first;
}

static inline uint32_t pm_waiting(const uint32_t *id, uint32_t i, uint32_t n){
  uint32_t m = 0xffffu<<(i & 15) & 0xffff;
  for(i&=~15u; i<n; i+=16, m=0xffff){
    m &= ~(uint32_t)_mm512_movepi32_mask(_mm512_load_si512(id+i));
    if( m ) return i + (uint32_t)__builtin_ctz(m);
  }
  return n;
}

/* 16 lanes: the elements of their places are gathered and both halves compared
** with the tags. */
static inline uint32_t m512i_met(const uint32_t *met, __m512i mask,
                                 const uint32_t *id, uint32_t *done){
  const __m512i one = _mm512_set1_epi32(1), two = _mm512_set1_epi32(2);
  __m512i v = _mm512_loadu_si512(id), place, tag, t, lo, hi;
  place = _mm512_mullo_epi32(v, _mm512_set1_epi32((int)VDB_MET_PLACE));
  place = _mm512_and_si512(_mm512_srli_epi32(place, 12), mask);
  t = _mm512_i32gather_epi32(place, met, 4);
  tag = _mm512_mullo_epi32(v, _mm512_set1_epi32((int)VDB_MET_TAG));
  tag = _mm512_and_si512(_mm512_srli_epi32(tag, 16),
                         _mm512_set1_epi32(0xfffe));
  tag = _mm512_min_epu32(tag, _mm512_set1_epi32(0xfffc));
  lo = _mm512_xor_si512(_mm512_and_si512(t, _mm512_set1_epi32(0xffff)), tag);
  hi = _mm512_xor_si512(_mm512_srli_epi32(t, 16), tag);
  *done = (uint32_t)_mm512_cmpeq_epi32_mask(lo, one)
        | (uint32_t)_mm512_cmpeq_epi32_mask(hi, one);
  return (uint32_t)_mm512_cmplt_epu32_mask(lo, two)
       | (uint32_t)_mm512_cmplt_epu32_mask(hi, two);
}
static inline uint32_t pm_met(const uint32_t *met, uint32_t mask,
                              const uint32_t *id, uint32_t m,
                              uint32_t *done){
  const __m512i all = _mm512_set1_epi32((int)mask);
  uint32_t hit = 0, done_lo = 0, done_hi = 0;
  if( m & 0xffff ) hit = m512i_met(met, all, id, &done_lo);
  if( m>>16 ) hit |= m512i_met(met, all, id+16, &done_hi) << 16;
  *done = done_lo | done_hi<<16;
  return hit & m;
}
static inline uint32_t pm_pick(const float *est, const uint32_t *id,
                               uint32_t m, float *key, uint32_t *out){
  __mmask16 lo = (__mmask16)m, hi = (__mmask16)(m>>16);
  uint32_t n = (uint32_t)__builtin_popcount(lo);
  _mm512_storeu_ps(key, _mm512_maskz_compress_ps(lo, _mm512_loadu_ps(est)));
  _mm512_storeu_si512(out, _mm512_maskz_compress_epi32(lo,
                                                _mm512_loadu_si512(id)));
  _mm512_storeu_ps(key+n, _mm512_maskz_compress_ps(hi,
                                                   _mm512_loadu_ps(est+16)));
  _mm512_storeu_si512(out+n, _mm512_maskz_compress_epi32(hi,
                                                _mm512_loadu_si512(id+16)));
  return n + (uint32_t)__builtin_popcount(hi);
}

# include "simd/code_kernels.inc"
#else
typedef int vdb_no_code_avx512;     /* a file must not be empty */
#endif
