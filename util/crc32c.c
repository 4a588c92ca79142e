/* crc32c.c -- CRC-32C by table and by the SSE4.2 instruction.
**
** The polynomial is 0x1edc6f41, bits reflected; the register starts and ends
** inverted, so that a seed of 0 gives the usual checksum (that of "123456789"
** is 0xe3069283) and the result of one call seeds the next.
**
** By table: eight bytes a step ("slicing by 8"), table[k][b] being the effect
** of byte b followed by k zero bytes.
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

#define POLY    0x82f63b78u           /* reflected */
#define SHORT   256u
#define MIDDLE  1344u
#define LONG    8192u

static uint32_t table[8][256];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static void fill_table(void){
  for(uint32_t b=0; b<256; b++){
    uint32_t c = b;
    for(int i=0; i<8; i++) c = c & 1 ? c>>1 ^ POLY : c>>1;
    table[0][b] = c;
  }
  for(uint32_t b=0; b<256; b++){
    for(int k=1; k<8; k++){
      uint32_t c = table[k-1][b];
      table[k][b] = c>>8 ^ table[0][c & 0xff];
    }
  }
}

/* The register after the n bytes at p, by table. */
static uint32_t sum_soft(uint32_t c, const unsigned char *p, size_t n){
  for(; n>=8; p+=8, n-=8){
    uint32_t lo = get_u32(p) ^ c, hi = get_u32(p+4);
    c = table[7][lo & 0xff] ^ table[6][lo>>8 & 0xff]
      ^ table[5][lo>>16 & 0xff] ^ table[4][lo>>24]
      ^ table[3][hi & 0xff] ^ table[2][hi>>8 & 0xff]
      ^ table[1][hi>>16 & 0xff] ^ table[0][hi>>24];
  }
  for(; n>0; p++, n--) c = c>>8 ^ table[0][(c ^ *p) & 0xff];
  return c;
}

#if defined(VDB_HAVE_SSE42)
#include <nmmintrin.h>
#define TARGET_SSE42 __attribute__((target("sse4.2")))

static uint32_t shift_short[4][256], shift_middle[4][256], shift_long[4][256];
static bool has_sse42;

/* a*b modulo the polynomial. Bit 31 is the coefficient of x^0. */
static uint32_t multiply(uint32_t a, uint32_t b){
  uint32_t product = 0;
  for(uint32_t bit=0x80000000u; bit; bit>>=1){
    if( a & bit ) product ^= b;
    b = b & 1 ? b>>1 ^ POLY : b>>1;
  }
  return product;
}

/* x^n modulo the polynomial. */
static uint32_t power_of_x(uint32_t n){
  uint32_t result = 0x80000000u, square = 0x40000000u;   /* x^0, x^1 */
  for(; n; n>>=1){
    if( n & 1 ) result = multiply(result, square);
    square = multiply(square, square);
  }
  return result;
}

/* t[i][b]: the register (b << 8i) after n zero bytes. The map is linear, so
** the effect of b is that of its lowest bit and of the rest. */
static void fill_shift(uint32_t t[4][256], uint32_t n){
  uint32_t factor = power_of_x(8*n);
  for(uint32_t i=0; i<4; i++){
    t[i][0] = 0;
    for(uint32_t b=1; b<256; b++){
      uint32_t low = b & (~b+1);
      t[i][b] = b==low ? multiply(factor, b << 8*i) : t[i][b^low] ^ t[i][low];
    }
  }
}

static inline uint32_t shift(uint32_t t[4][256], uint32_t c){
  return t[0][c & 0xff] ^ t[1][c>>8 & 0xff] ^ t[2][c>>16 & 0xff] ^ t[3][c>>24];
}

static inline TARGET_SSE42 uint64_t step8(uint64_t c, const unsigned char *p){
  return _mm_crc32_u64(c, get_u64(p));
}

/* Sum three blocks of sz bytes each (a multiple of 8) at once. */
static inline TARGET_SSE42 uint32_t sum_three(uint32_t c, size_t sz,
                                              const unsigned char *p,
                                              uint32_t t[4][256]){
  uint64_t a = c, b = 0, d = 0;
  for(size_t i=0; i<sz; i+=8){
    a = step8(a, p+i);
    b = step8(b, p+sz+i);
    d = step8(d, p+2*sz+i);
  }
  b ^= shift(t, (uint32_t)a);
  return (uint32_t)d ^ shift(t, (uint32_t)b);
}

static TARGET_SSE42 uint32_t sum_sse42(uint32_t c, const unsigned char *p,
                                       size_t n){
  uint64_t r;
  for(; n>=3*LONG; p+=3*LONG, n-=3*LONG) c = sum_three(c, LONG, p, shift_long);
  for(; n>=3*MIDDLE; p+=3*MIDDLE, n-=3*MIDDLE){
    c = sum_three(c, MIDDLE, p, shift_middle);
  }
  for(; n>=3*SHORT; p+=3*SHORT, n-=3*SHORT){
    c = sum_three(c, SHORT, p, shift_short);
  }
  r = c;
  for(; n>=8; p+=8, n-=8) r = step8(r, p);
  for(; n>0; p++, n--) r = _mm_crc32_u8((uint32_t)r, *p);
  return (uint32_t)r;
}

static void fill_tables(void){
  fill_table();
  fill_shift(shift_short, SHORT);
  fill_shift(shift_middle, MIDDLE);
  fill_shift(shift_long, LONG);
  has_sse42 = __builtin_cpu_supports("sse4.2");
}

static uint32_t sum_best(uint32_t c, const unsigned char *p, size_t n){
  return has_sse42 ? sum_sse42(c, p, n) : sum_soft(c, p, n);
}

#else
static void fill_tables(void){ fill_table(); }
static uint32_t sum_best(uint32_t c, const unsigned char *p, size_t n){
  return sum_soft(c, p, n);
}
#endif /* VDB_HAVE_SSE42 */

uint32_t vdb_crc32c(uint32_t seed, const void *p, size_t n){
  pthread_once(&tables_once, fill_tables);
  return ~sum_best(~seed, p, n);
}

uint32_t vdb_crc32c_soft(uint32_t seed, const void *p, size_t n){
  pthread_once(&tables_once, fill_tables);
  return ~sum_soft(~seed, p, n);
}
