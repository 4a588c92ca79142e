/* rng.h -- seeded random numbers (SplitMix64), the same on every machine. */
#ifndef VDB_RNG_H
#define VDB_RNG_H
#include "util/common.h"

struct vdb_rng { uint64_t state; };

static inline void vdb_rng_init(struct vdb_rng *r, uint64_t seed){
  r->state = seed;
}
static inline uint64_t vdb_mix64(uint64_t z){      /* a good 64-bit hash */
  z = (z ^ (z>>30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z>>27)) * 0x94d049bb133111ebu;
  return z ^ (z>>31);
}
static inline uint64_t vdb_rng_u64(struct vdb_rng *r){
  return vdb_mix64(r->state += 0x9e3779b97f4a7c15u);
}
/* Uniform in 0..n-1 (n>0), by multiplication: bias below 2^-32. */
static inline uint32_t vdb_rng_below(struct vdb_rng *r, uint32_t n){
  return (uint32_t)(((vdb_rng_u64(r) >> 32) * n) >> 32);
}
static inline double vdb_rng_unit(struct vdb_rng *r){      /* [0,1) */
  return (double)(vdb_rng_u64(r) >> 11) * 0x1p-53;
}
double vdb_rng_gauss(struct vdb_rng *r);                  /* N(0,1) */
#endif
