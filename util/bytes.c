/* bytes.c -- variable-length integers.
**
** FORMAT   Groups of 7 bits, least significant first; the high bit of a byte
**          says that another follows. 64 bits take at most 10 bytes, of which
**          the last can only be 0 or 1.
*/
#include "util/common.h"
#include "util/bytes.h"

size_t vdb_put_varint(unsigned char *p, uint64_t v){
  size_t n = 0;
  while( v>=0x80 ){
    p[n++] = (unsigned char)(v | 0x80);
    v >>= 7;
  }
  p[n++] = (unsigned char)v;
  return n;
}

size_t vdb_get_varint(const unsigned char *p, const unsigned char *end,
                      uint64_t *out){
  uint64_t v = 0;
  size_t n = 0;

  *out = 0;
  for(; n<VARINT_MAX_BYTES && p+n<end; n++){
    v |= (uint64_t)(p[n] & 0x7f) << (7*n);
    if( p[n] & 0x80 ) continue;
    /* A tenth byte above 1 would lose bits: not a number put() wrote. */
    if( n+1==VARINT_MAX_BYTES && p[n]>1 ) return 0;
    *out = v;
    return n+1;
  }
  return 0;
}
