/* pool_plain.h -- the words pm_merge .. pm_pick (code_scalar.c) in plain C, for
** instruction sets that have nothing better. Included after pm_insert.
*/
#ifndef VDB_POOL_PLAIN_H
#define VDB_POOL_PLAIN_H

static inline uint32_t pm_merge(float *key, uint32_t *id, uint32_t n_cap,
                                const float *x, const uint32_t *y,
                                uint32_t n){
  uint32_t first = n_cap;
  for(uint32_t i=0; i<n; i++){
    if( x[i]<key[n_cap-1] ){
      uint32_t pos = pm_insert(key, id, n_cap, n_cap-1, x[i], y[i]);
      first = pos<first ? pos : first;
    }
  }
  return first;
}
static inline uint32_t pm_waiting(const uint32_t *id, uint32_t i, uint32_t n){
  while( i<n && (id[i] & VDB_POOL_DONE) ) i++;
  return i;
}

static inline uint32_t pm_met(const uint32_t *met, uint32_t mask,
                              const uint32_t *id, uint32_t m,
                              uint32_t *done){
  uint32_t hit = 0;
  *done = 0;
  for(; m; m&=m-1){
    uint32_t i = (uint32_t)__builtin_ctz(m), tag = vdb_met_tag(id[i]);
    uint32_t t = met[(id[i]*VDB_MET_PLACE >> 12) & mask];
    uint32_t lo = (t & 0xffff) ^ tag, hi = (t >> 16) ^ tag;
    hit |= (uint32_t)((lo<2) | (hi<2)) << i;
    *done |= (uint32_t)((lo==1) | (hi==1)) << i;
  }
  return hit;
}
static inline uint32_t pm_pick(const float *est, const uint32_t *id,
                               uint32_t m, float *key, uint32_t *out){
  uint32_t n = 0;
  for(; m; m&=m-1){
    uint32_t i = (uint32_t)__builtin_ctz(m);
    key[n] = est[i];
    out[n++] = id[i];
  }
  return n;
}
#endif
