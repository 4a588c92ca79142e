/* crc32c.c -- CRC-32C by table and by the SSE4.2 instruction.
**
** The polynomial is 0x1edc6f41, bits reflected; the register starts and ends
** inverted, so that a seed of 0 gives the usual checksum (that of "123456789"
** is 0xe3069283) and the result of one call seeds the next.
**
** By table: eight bytes a step ("slicing by 8"), crc_table[k][b] being the
** effect of byte b followed by k zero bytes.
**
** By instruction: crc32 takes 8 bytes a cycle but answers after three, so one
** chain alone runs at a third of the speed. Three neighbouring blocks of n
** bytes are therefore summed at once and joined: the register after block 1 is
** moved over n zero bytes (a linear map, four table lookups), xored with the
** sum of block 2, and so on. Three block sizes are prepared: SHORT, MIDDLE
** (three of them make almost one page of 4 KiB, the usual customer) and LONG.
**
** By folding, where registers of 512 bits can be multiplied without carries:
** 128 bits moved over n zero bytes are, modulo the polynomial, the xor of two
** products, of either half with a constant. Sixteen neighbouring pieces are so
** moved onto those 256 bytes further on, until one piece is left, whose sum
** two crc32 give. It takes a third of the time for a page or for a block of a
** graph, whose sums are most of what first searches after opening cost.
**
** Tables are filled at the first call, in about 20 microseconds.
*/
#include <pthread.h>

#include "util/common.h"
#include "util/bytes.h"
#include "util/crc32c.h"

#define CRC_POLY    0x82f63b78u           /* reflected */
#define CRC_SHORT   256u
#define CRC_MIDDLE  1344u
#define CRC_LONG    8192u

static uint32_t crc_table[8][256];
static pthread_once_t crc_tables_once = PTHREAD_ONCE_INIT;

static void crc_table_fill(void){
  for(uint32_t b=0; b<256; b++){
    uint32_t c = b;
    for(int i=0; i<8; i++) c = c & 1 ? c>>1 ^ CRC_POLY : c>>1;
    crc_table[0][b] = c;
  }
  for(uint32_t b=0; b<256; b++){
    for(int k=1; k<8; k++){
      uint32_t c = crc_table[k-1][b];
      crc_table[k][b] = c>>8 ^ crc_table[0][c & 0xff];
    }
  }
}

/* The register after the n bytes at p, by table. */
static uint32_t crc_soft(uint32_t c, const unsigned char *p, size_t n){
  for(; n>=8; p+=8, n-=8){
    uint32_t lo = get_u32(p) ^ c, hi = get_u32(p+4);
    c = crc_table[7][lo & 0xff] ^ crc_table[6][lo>>8 & 0xff]
      ^ crc_table[5][lo>>16 & 0xff] ^ crc_table[4][lo>>24]
      ^ crc_table[3][hi & 0xff] ^ crc_table[2][hi>>8 & 0xff]
      ^ crc_table[1][hi>>16 & 0xff] ^ crc_table[0][hi>>24];
  }
  for(; n>0; p++, n--) c = c>>8 ^ crc_table[0][(c ^ *p) & 0xff];
  return c;
}

#if defined(VDB_HAVE_SSE42)
#include <nmmintrin.h>
#define TARGET_SSE42 __attribute__((target("sse4.2")))

static uint32_t crc_by_short[4][256], crc_by_middle[4][256];
static uint32_t crc_by_long[4][256];
static bool crc_has_sse42;

/* a*b modulo the polynomial. Bit 31 is the coefficient of x^0. */
static uint32_t poly_multiply(uint32_t a, uint32_t b){
  uint32_t product = 0;
  for(uint32_t bit=0x80000000u; bit; bit>>=1){
    if( a & bit ) product ^= b;
    b = b & 1 ? b>>1 ^ CRC_POLY : b>>1;
  }
  return product;
}

/* x^n modulo the polynomial. */
static uint32_t poly_power(uint32_t n){
  uint32_t result = 0x80000000u, square = 0x40000000u;   /* x^0, x^1 */
  for(; n; n>>=1){
    if( n & 1 ) result = poly_multiply(result, square);
    square = poly_multiply(square, square);
  }
  return result;
}

/* t[i][b]: the register (b << 8i) after n zero bytes. The map is linear, so
** the effect of b is that of its lowest bit and of the rest. */
static void crc_shift_fill(uint32_t t[4][256], uint32_t n){
  uint32_t factor = poly_power(8*n);
  for(uint32_t i=0; i<4; i++){
    t[i][0] = 0;
    for(uint32_t b=1; b<256; b++){
      uint32_t low = b & (~b+1);
      t[i][b] = b==low ? poly_multiply(factor, b << 8*i)
                       : t[i][b^low] ^ t[i][low];
    }
  }
}

static inline uint32_t crc_shift(uint32_t t[4][256], uint32_t c){
  return t[0][c & 0xff] ^ t[1][c>>8 & 0xff] ^ t[2][c>>16 & 0xff] ^ t[3][c>>24];
}

static inline TARGET_SSE42 uint64_t crc_step8(uint64_t c,
                                              const unsigned char *p){
  return _mm_crc32_u64(c, get_u64(p));
}

/* Sum three blocks of sz bytes each (a multiple of 8) at once. */
static inline TARGET_SSE42 uint32_t crc_three(uint32_t c, size_t sz,
                                              const unsigned char *p,
                                              uint32_t t[4][256]){
  uint64_t a = c, b = 0, d = 0;
  for(size_t i=0; i<sz; i+=8){
    a = crc_step8(a, p+i);
    b = crc_step8(b, p+sz+i);
    d = crc_step8(d, p+2*sz+i);
  }
  b ^= crc_shift(t, (uint32_t)a);
  return (uint32_t)d ^ crc_shift(t, (uint32_t)b);
}

static TARGET_SSE42 uint32_t crc_sse42(uint32_t c, const unsigned char *p,
                                       size_t n){
  uint64_t r;
  for(; n>=3*CRC_LONG; p+=3*CRC_LONG, n-=3*CRC_LONG){
    c = crc_three(c, CRC_LONG, p, crc_by_long);
  }
  for(; n>=3*CRC_MIDDLE; p+=3*CRC_MIDDLE, n-=3*CRC_MIDDLE){
    c = crc_three(c, CRC_MIDDLE, p, crc_by_middle);
  }
  for(; n>=3*CRC_SHORT; p+=3*CRC_SHORT, n-=3*CRC_SHORT){
    c = crc_three(c, CRC_SHORT, p, crc_by_short);
  }
  r = c;
  for(; n>=8; p+=8, n-=8) r = crc_step8(r, p);
  for(; n>0; p++, n--) r = _mm_crc32_u8((uint32_t)r, *p);
  return (uint32_t)r;
}

#if defined(VDB_HAVE_VPCLMUL)
#include <immintrin.h>
#define TARGET_FOLD  __attribute__((target("sse4.2,avx512f,vpclmulqdq")))
#define CRC_FOLD     256u            /* bytes of a step; fewer are not folded */

/* For both halves of 128 bits: the factor that moves them over so many
** bytes. */
struct crc_factor { uint64_t k[2]; };
static struct crc_factor crc_over[4];     /* 64, 128, 192, 256 bytes */
static struct crc_factor crc_onto_last[4];/* 48, 32, 16 bytes, 0 */
static bool crc_has_fold;

/* A product without carries of reflected numbers is one bit short, hence the
** powers less one. */
static struct crc_factor crc_factor_of(uint32_t n_bytes){
  struct crc_factor f;
  f.k[0] = (uint64_t)poly_power(8*n_bytes + 63) << 32;
  f.k[1] = (uint64_t)poly_power(8*n_bytes - 1) << 32;
  return f;
}

static void crc_fold_fill(void){
  for(uint32_t i=0; i<4; i++) crc_over[i] = crc_factor_of(64*(i+1));
  for(uint32_t i=0; i<3; i++) crc_onto_last[i] = crc_factor_of(48-16*i);
  crc_has_fold = __builtin_cpu_supports("avx512f")
              && __builtin_cpu_supports("vpclmulqdq");
}

static inline TARGET_FOLD __m512i crc_move(__m512i a, __m512i f, __m512i to){
  return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(a, f, 0x00),
                                   _mm512_clmulepi64_epi128(a, f, 0x11), to,
                                   0x96);
}
static inline TARGET_FOLD __m512i crc_move_over(int i){
  __m128i f;
  memcpy(&f, &crc_over[i], sizeof(f));
  return _mm512_broadcast_i32x4(f);
}
static inline TARGET_FOLD __m512i crc_load(const unsigned char *p){
  return _mm512_loadu_si512(p);
}

/* n is a multiple of 64 and at least CRC_FOLD. */
static TARGET_FOLD uint32_t crc_fold(uint32_t c, const unsigned char *p,
                                     size_t n){
  const __m512i by64 = crc_move_over(0), by256 = crc_move_over(3);
  __m512i a = _mm512_xor_si512(crc_load(p),
                _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)c)));
  __m512i b = crc_load(p+64), d = crc_load(p+128), e = crc_load(p+192);
  uint64_t last[8], lo, hi;
  for(p+=CRC_FOLD, n-=CRC_FOLD; n>=CRC_FOLD; p+=CRC_FOLD, n-=CRC_FOLD){
    a = crc_move(a, by256, crc_load(p));
    b = crc_move(b, by256, crc_load(p+64));
    d = crc_move(d, by256, crc_load(p+128));
    e = crc_move(e, by256, crc_load(p+192));
  }
  e = crc_move(a, crc_move_over(2), crc_move(b, crc_move_over(1),
                                             crc_move(d, by64, e)));
  for(; n>=64; p+=64, n-=64) e = crc_move(e, by64, crc_load(p));
  /* The last quarter stays where it is; factors of 0 leave nothing of it. */
  memcpy(last, &e, sizeof(last));
  lo = last[6];
  hi = last[7];
  e = crc_move(e, crc_load((const unsigned char*)crc_onto_last),
               _mm512_setzero_si512());
  memcpy(last, &e, sizeof(last));
  lo ^= last[0] ^ last[2] ^ last[4];
  hi ^= last[1] ^ last[3] ^ last[5];
  return (uint32_t)_mm_crc32_u64(_mm_crc32_u64(0, lo), hi);
}

static uint32_t crc_fast(uint32_t c, const unsigned char *p, size_t n){
  size_t whole = n & ~(size_t)63;
  if( !crc_has_fold || n<CRC_FOLD ) return crc_sse42(c, p, n);
  return crc_sse42(crc_fold(c, p, whole), p+whole, n-whole);
}

#else
static void crc_fold_fill(void){}
static uint32_t crc_fast(uint32_t c, const unsigned char *p, size_t n){
  return crc_sse42(c, p, n);
}
#endif /* VDB_HAVE_VPCLMUL */

static void crc_tables_fill(void){
  crc_table_fill();
  crc_shift_fill(crc_by_short, CRC_SHORT);
  crc_shift_fill(crc_by_middle, CRC_MIDDLE);
  crc_shift_fill(crc_by_long, CRC_LONG);
  crc_fold_fill();
  crc_has_sse42 = __builtin_cpu_supports("sse4.2");
}

static uint32_t crc_best(uint32_t c, const unsigned char *p, size_t n){
  return crc_has_sse42 ? crc_fast(c, p, n) : crc_soft(c, p, n);
}
static uint32_t crc_plain(uint32_t c, const unsigned char *p, size_t n){
  return crc_has_sse42 ? crc_sse42(c, p, n) : crc_soft(c, p, n);
}

#else
static void crc_tables_fill(void){ crc_table_fill(); }
static uint32_t crc_best(uint32_t c, const unsigned char *p, size_t n){
  return crc_soft(c, p, n);
}
static uint32_t crc_plain(uint32_t c, const unsigned char *p, size_t n){
  return crc_soft(c, p, n);
}
#endif /* VDB_HAVE_SSE42 */

uint32_t vdb_crc32c(uint32_t seed, const void *p, size_t n){
  pthread_once(&crc_tables_once, crc_tables_fill);
  return ~crc_best(~seed, p, n);
}

uint32_t vdb_crc32c_plain(uint32_t seed, const void *p, size_t n){
  pthread_once(&crc_tables_once, crc_tables_fill);
  return ~crc_plain(~seed, p, n);
}

uint32_t vdb_crc32c_soft(uint32_t seed, const void *p, size_t n){
  pthread_once(&crc_tables_once, crc_tables_fill);
  return ~crc_soft(~seed, p, n);
}
