/* bitset.h -- plain arrays of 64-bit words, bit i in word i/64. */
#ifndef VDB_BITSET_H
#define VDB_BITSET_H
#include "util/common.h"
static inline size_t vdb_bitset_words(size_t n_bit){ return (n_bit+63)/64; }
static inline bool vdb_bit_get(const uint64_t *b, size_t i){
  return (b[i>>6] >> (i&63)) & 1;
}
static inline void vdb_bit_set(uint64_t *b, size_t i){ b[i>>6] |= (uint64_t)1<<(i&63); }
static inline void vdb_bit_clear(uint64_t *b, size_t i){ b[i>>6] &= ~((uint64_t)1<<(i&63)); }
/* Set bits lo..hi-1. */
void vdb_bit_set_range(uint64_t *b, size_t lo, size_t hi);
/* How many of the first n_bit bits are set. */
size_t vdb_bit_count(const uint64_t *b, size_t n_bit);
#endif
