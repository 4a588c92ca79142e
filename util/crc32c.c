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
** Folding with carry-less multiplication would be faster still on long runs,
** but a page then costs a fifth less at best, for twice the code.
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

static void crc_tables_fill(void){
  crc_table_fill();
  crc_shift_fill(crc_by_short, CRC_SHORT);
  crc_shift_fill(crc_by_middle, CRC_MIDDLE);
  crc_shift_fill(crc_by_long, CRC_LONG);
  crc_has_sse42 = __builtin_cpu_supports("sse4.2");
}

static uint32_t crc_best(uint32_t c, const unsigned char *p, size_t n){
  return crc_has_sse42 ? crc_sse42(c, p, n) : crc_soft(c, p, n);
}

#else
static void crc_tables_fill(void){ crc_table_fill(); }
static uint32_t crc_best(uint32_t c, const unsigned char *p, size_t n){
  return crc_soft(c, p, n);
}
#endif /* VDB_HAVE_SSE42 */

uint32_t vdb_crc32c(uint32_t seed, const void *p, size_t n){
  pthread_once(&crc_tables_once, crc_tables_fill);
  return ~crc_best(~seed, p, n);
}

uint32_t vdb_crc32c_soft(uint32_t seed, const void *p, size_t n){
  pthread_once(&crc_tables_once, crc_tables_fill);
  return ~crc_soft(~seed, p, n);
}
