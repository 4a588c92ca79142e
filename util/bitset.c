/* bitset.c -- ranges and counts over arrays of 64-bit words. */
#include "util/common.h"
#include "util/bitset.h"

/* Bits lo..63 of a word, and bits 0..hi-1 of one (hi in 1..64). */
static inline uint64_t bit_mask_from(unsigned lo){
  return ~(uint64_t)0 << lo;
}
static inline uint64_t bit_mask_below(unsigned hi){
  return ~(uint64_t)0 >> (64-hi);
}

void vdb_bit_set_range(uint64_t *b, size_t lo, size_t hi){
  size_t i_first, i_last;

  if( lo>=hi ) return;
  i_first = lo>>6;
  i_last = (hi-1)>>6;
  if( i_first==i_last ){
    b[i_first] |= bit_mask_from(lo & 63) & bit_mask_below(((hi-1) & 63) + 1);
    return;
  }
  b[i_first] |= bit_mask_from(lo & 63);
  for(size_t i=i_first+1; i<i_last; i++) b[i] = ~(uint64_t)0;
  b[i_last] |= bit_mask_below(((hi-1) & 63) + 1);
}

size_t vdb_bit_count(const uint64_t *b, size_t n_bit){
  size_t n = 0, n_word = n_bit>>6;

  for(size_t i=0; i<n_word; i++) n += (size_t)__builtin_popcountll(b[i]);
  if( n_bit & 63 ){
    n += (size_t)__builtin_popcountll(b[n_word] & bit_mask_below(n_bit & 63));
  }
  return n;
}
