/* bytes.h -- little-endian integers and floats in byte arrays.
**
** All on-disk access goes through these with offsets from pager/format.h;
** nobody casts a struct onto page bytes. No alignment is needed.
*/
#ifndef VDB_BYTES_H
#define VDB_BYTES_H
#include "util/common.h"

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
# define VDB_LE16(x) (x)
# define VDB_LE32(x) (x)
# define VDB_LE64(x) (x)
#else
# define VDB_LE16(x) __builtin_bswap16(x)
# define VDB_LE32(x) __builtin_bswap32(x)
# define VDB_LE64(x) __builtin_bswap64(x)
#endif

static inline uint16_t get_u16(const void *p){
  uint16_t v; memcpy(&v, p, 2); return VDB_LE16(v);
}
static inline uint32_t get_u32(const void *p){
  uint32_t v; memcpy(&v, p, 4); return VDB_LE32(v);
}
static inline uint64_t get_u64(const void *p){
  uint64_t v; memcpy(&v, p, 8); return VDB_LE64(v);
}
static inline void put_u16(void *p, uint16_t v){ v = VDB_LE16(v); memcpy(p, &v, 2); }
static inline void put_u32(void *p, uint32_t v){ v = VDB_LE32(v); memcpy(p, &v, 4); }
static inline void put_u64(void *p, uint64_t v){ v = VDB_LE64(v); memcpy(p, &v, 8); }

static inline double get_f64(const void *p){
  uint64_t u = get_u64(p); double d; memcpy(&d, &u, 8); return d;
}
static inline void put_f64(void *p, double d){
  uint64_t u; memcpy(&u, &d, 8); put_u64(p, u);
}
static inline float get_f32(const void *p){
  uint32_t u = get_u32(p); float f; memcpy(&f, &u, 4); return f;
}
static inline void put_f32(void *p, float f){
  uint32_t u; memcpy(&u, &f, 4); put_u32(p, u);
}

/* Big-endian with the sign bit flipped: memcmp order is numeric order. */
static inline void put_key_i64(unsigned char *p, int64_t v){
  uint64_t u = (uint64_t)v ^ ((uint64_t)1<<63);
  for(int i=0; i<8; i++) p[i] = (unsigned char)(u >> (56-8*i));
}
static inline int64_t get_key_i64(const unsigned char *p){
  uint64_t u = 0;
  for(int i=0; i<8; i++) u = u<<8 | p[i];
  return (int64_t)(u ^ ((uint64_t)1<<63));
}
static inline void put_key_u32(unsigned char *p, uint32_t v){
  for(int i=0; i<4; i++) p[i] = (unsigned char)(v >> (24-8*i));
}
static inline uint32_t get_key_u32(const unsigned char *p){
  return (uint32_t)p[0]<<24 | (uint32_t)p[1]<<16 | (uint32_t)p[2]<<8 | p[3];
}

/* Varint: 7 bits a byte, least significant first, high bit = more follows.
** put returns the bytes written (1..10); get returns the bytes read, 0 when
** the varint is cut off by `end` or longer than 10 bytes. */
size_t vdb_put_varint(unsigned char *p, uint64_t v);
size_t vdb_get_varint(const unsigned char *p, const unsigned char *end,
                      uint64_t *out);
#define VARINT_MAX_BYTES 10
#endif
