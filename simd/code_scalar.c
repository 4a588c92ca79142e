/* code_scalar.c -- the code kernels in portable C, and what the words mean
** that code_kernels.inc adds to the vocabulary of isa_scalar.h.
**
**   ci_dot      sum of u8*s8 over n bytes (a multiple of 64), modulo 2^32
**   ci_dots     those of u with CODE_DOTS rows, n apart
**   ci_low      the sum for n numbers of 2 bits, laid out as code.h says of
**               `low`
**   ci_rows4    sums of u1*s8 or u2*s8 over the dimensions of four rows, laid out
**               as code.h says of dot_rows
**   ci_fields   sums of a group of 2- or 4-bit codes with an s8 query
**   ci_nibbles  sums of a group of 1-bit codes with a table of bytes
**   ci_bits     of 32 vectors of bits, how many differ from those of a query
**   cf_estimate the formula of code.h for 32 lanes
**   cf_mask     bit l: est[l] < bound and id[l] < n_slots
**   pm_find_id  position of an id in the first n entries of a pool, or n
**   pm_insert   (x, y) goes before the first key that is greater, at position
**               end at the latest; what lies from there to end-1 moves up,
**               entry `end` is overwritten; returns the position
**   pm_merge    n <= 32 new entries (x, y), each before the first key that is
**               greater, the earlier of equal ones first; what has no room is
**               dropped; returns the lowest position taken
**   pm_waiting  first position from i on that is not done, or >= n
**   pm_met      which of the ids whose bit is set in m are in a table of met
**               ones (code.h); *done: which of those were expanded
**   pm_pick     keys and ids of the lanes in m, ascending; room for 16 more than
**               there are; returns how many
*/
#include "simd/code_int.h"
#include "simd/isa_scalar.h"

static inline uint32_t ci_dot(const uint8_t *u, const int8_t *q, size_t n){
  uint32_t s = 0;
  for(size_t i=0; i<n; i++) s += (uint32_t)((int32_t)u[i]*q[i]);
  return s;
}

static inline void ci_dots(const int8_t *row, const uint8_t *u, size_t n,
                           int32_t *out){
  for(size_t j=0; j<CODE_DOTS; j++){
    out[j] = (int32_t)ci_dot(u, row + j*n, n);
  }
}

static inline uint32_t ci_low(const uint8_t *low, const int8_t *q, size_t n){
  uint32_t s = 0;
  for(size_t i=0; i<n; i++){
    s += (uint32_t)((low[i%(n/4)] >> 2*(i/(n/4)) & 3)*q[i]);
  }
  return s;
}

static inline void ci_rows4(const int bits, const int8_t *q, size_t dims,
                            const uint8_t *const *row, int32_t *ip){
  for(int r=0; r<4; r++){
    const uint8_t *p = row[r];
    ip[r] = 0;
    for(size_t d=0; d<dims; d+=64, p+=8*(size_t)bits){
      for(size_t j=0; j<64; j++){
        int v = bits==1 ? p[j/8]>>(j%8) & 1 : p[j%16]>>(j/16*2) & 3;
        ip[r] += v*q[d+j];
      }
    }
  }
}

static inline void ci_fields(const int bits, const uint8_t *code,
                             const int8_t *q, size_t dims, int32_t *ip){
  size_t per_run = 32/(size_t)bits;
  uint32_t mask = (1u<<bits) - 1;
  for(int l=0; l<32; l++) ip[l] = 0;
  for(size_t d=0; d<dims; d+=per_run, code+=128){
    for(int l=0; l<32; l++){
      for(size_t j=0; j<per_run; j++){
        uint32_t v = code[4*l + j%4] >> (bits*(int)(j/4)) & mask;
        ip[l] += (int32_t)v*q[d+j];
      }
    }
  }
}

static inline void ci_nibbles(const uint8_t *code, const uint8_t *lut,
                              size_t dims, int32_t *ip){
  for(int l=0; l<32; l++) ip[l] = 0;
  for(size_t p=0; p<dims/4; p++, lut+=16){
    const uint8_t *z = code + p*16;
    for(int j=0; j<16; j++){
      int l = (j>>1) + 8*(j&1);
      ip[l] += lut[z[j] & 15];
      ip[l+16] += lut[z[j] >> 4];
    }
  }
}

static inline void ci_bits(const uint8_t *code, const uint8_t *q, size_t dims,
                           int32_t *ip){
  for(int l=0; l<32; l++) ip[l] = 0;
  for(size_t d=0; d<dims; d+=32, code+=128){
    uint32_t v, w;
    memcpy(&v, q + d/8, 4);
    for(int l=0; l<32; l++){
      memcpy(&w, code + 4*l, 4);
      ip[l] += __builtin_popcount(v^w);
    }
  }
}

static inline void cf_estimate(const int32_t *ip, const float *f_add,
                               const float *f_resc, float delta, float kappa,
                               float g_add, float *est){
  for(int l=0; l<32; l++){
    est[l] = fmaf(f_resc[l], fmaf(delta, (float)ip[l], kappa),
                  f_add[l] + g_add);
  }
}

static inline uint32_t cf_mask(const float *est, const uint32_t *id,
                               float bound, uint32_t n_slots){
  uint32_t m = 0;
  for(int l=0; l<32; l++){
    m |= (uint32_t)(est[l]<bound && id[l]<n_slots) << l;
  }
  return m;
}

static inline uint32_t pm_find_id(const uint32_t *id, uint32_t n, uint32_t y){
  uint32_t i;
  for(i=0; i<n && (id[i] & ~VDB_POOL_DONE)!=y; i++){}
  return i;
}
static inline uint32_t pm_insert(float *key, uint32_t *id, uint32_t n,
                                 uint32_t end, float x, uint32_t y){
  uint32_t pos = 0;
  (void)n;
  while( pos<end && !(key[pos]>x) ) pos++;
  memmove(key+pos+1, key+pos, (end-pos)*sizeof(*key));
  memmove(id+pos+1, id+pos, (end-pos)*sizeof(*id));
  key[pos] = x;
  id[pos] = y;
  return pos;
}
#include "simd/pool_plain.h"
#include "simd/code_kernels.inc"
