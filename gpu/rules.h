/* rules.h -- why a device's filter loses no row, and the rules it goes by.
**
** Used by   gpu/cuda_*.cu, k-means. C11 and nvcc. What changes a result raises
**           VDB_GPU_RULES (plugin.h).
**
** FILTER    Tensor cores compute v, an approximation of a value V by which
**           rows of one query are ordered:
**             l2      V = |b|^2 - 2 a.b       a = s(q-mu), b = s(x-mu)
**             ip      V = -a.b                a = t q,     b = s x
**             cosine  V = -a.b                a = t q/|q|, b = s x/|x|
**           with powers of two s, t and any mu. a', b' are the copies in
**           fp16, ra, rb >= |a-a'|, |b-b'|. A row is dropped only if v - e
**           exceeds tau, the k-th smallest v + e of some rows seen. e bounds
**           |v - W|, where W stands for the *canonical* distance in the same
**           units, since that defines the result. u = 2^-24, d = dimensions
**           (as padded), A >= |a|, and B, R >= |b|, rb for a block of rows:
**
**           e = c A R + (c ra + c G (A+ra) + h A)(B+R) + K (A+B)^2 + Z
**
**             c A R + c ra (B+R)      fp16 copies: a.b - a'.b' =
**                                     a.(b-b') + (a-a').b'
**             c G (A+ra)(B+R)         sums of products in tensor cores, taken
**                                     to truncate: G = 2 d 2^-23
**             h A (B+R)               ip, cosine: canonical sums are within
**                                     g|q||x|, g = 2u(d/32+9), cosine 8u more
**             K (A+B)^2               l2: canonical squares are relatively
**                                     within g; |b|^2, the sum and v+e, v-e
**                                     round by 16u together; squares whose
**                                     roots are equal differ by 16u at most
**             Z                       products that vanish: d 2^-149 s^2
**             c                       2 for l2, else 1
**
**           Bytes under l2 and ip are their own copies, and tensor cores add
**           their products exactly, so that R, ra and G vanish (s = t = 1,
**           mu = 0): |b|^2 and the sums are below 2^31, and are rounded to
**           floats as counted in K and h.
**
**           a is meant in units of b where the scales differ (l2: the product
**           is multiplied by 2s/t afterwards, which is exact). The whole is
**           increased by 2^-10 of itself for the roundings of e.
**
** ORDER     By (distance, row); rows tied with the k-th are all returned and
**           the host decides by key.
**
** CHUNKS    Rows are visited in an order that looks random: the i-th is row
**           i*step modulo their number (step coprime to it), so that rows
**           sorted or clustered do no harm. Blocks are of rows visited one
**           after the other. Lists have room for rules_capacity(k) entries; a
**           first chunk of half of that is taken whole, each next one is
**           `growth` times what was seen, so that about growth*k of its rows
**           pass.
*/
#ifndef VDB_GPU_RULES_H
#define VDB_GPU_RULES_H
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __CUDACC__
# define RULES_FN  static __host__ __device__ inline
#else
# define RULES_FN  static inline
#endif

#define RULES_BLOCK  128u              /* rows that share B and R */
#define RULES_CAPACITY_MIN  1024u
#define RULES_NORM_MAX  0x1p60f        /* beyond, rows are scanned */
#define RULES_NORM_MIN  0x1p-40f
#define RULES_HALF_TOP  14             /* copies are below 2^14 */

/* The same for every element of a block pair: what a query contributes. */
struct rules_band {
  float a;               /* A */
  float c_a;             /* c A: times R */
  float lin;             /* c ra + c G (A+ra) + h A: times B+R */
  float k;               /* K */
  float z;               /* Z */
};

RULES_FN float rules_canon_error(uint32_t dim){
  return 2*0x1p-24f*((float)((dim+31)/32) + 9);
}

/* metric: 0 l2, 1 ip, 2 cosine. */
RULES_FN struct rules_band rules_band_of(int metric, uint32_t dim, float a,
                                         float ra, float z){
  struct rules_band e;
  float c = metric==0 ? 2.0f : 1.0f;
  float g = rules_canon_error(dim), G = 2*(float)(dim+64)*0x1p-23f;
  float h = metric==0 ? 0 : metric==1 ? g : g + 8*0x1p-24f;
  e.a = a;
  e.c_a = c*a;
  e.lin = c*ra + c*G*(a+ra) + h*a;
  e.k = metric==0 ? g + 36*0x1p-24f : 0;
  e.z = z;
  return e;
}

/* The same for copies and sums that are exact. */
RULES_FN struct rules_band rules_band_exact(int metric, uint32_t dim,
                                            float a){
  struct rules_band e = rules_band_of(metric, dim, a, 0, 0);
  e.lin = metric==0 ? 0 : (rules_canon_error(dim) + 8*0x1p-24f)*a;
  return e;
}

/* e for a block of rows with B and R. */
RULES_FN float rules_band_at(struct rules_band e, float B, float R){
  float s = e.a + B;
  float x = e.c_a*R + e.lin*(B+R) + e.k*s*s + e.z;
  return x + x*0x1p-10f;
}

/* The power of two that brings a number of this size below 2^14. */
RULES_FN float rules_scale(float most){
  int e = 0;
  if( !(most>0) ) return 1;
  (void)frexpf(most, &e);
  return ldexpf(1.0f, RULES_HALF_TOP - e);
}

/* Order of floats as unsigned numbers; NaN last. simd/ orders alike. */
RULES_FN uint32_t rules_order(float x){
  union { float f; uint32_t u; } v;
  v.f = x + 0.0f;
  if( x!=x ) return 0xffffffffu;
  return v.u & 0x80000000u ? ~v.u : v.u | 0x80000000u;
}
RULES_FN float rules_unorder(uint32_t k){
  union { float f; uint32_t u; } v;
  v.u = k & 0x80000000u ? k & 0x7fffffffu : ~k;
  return v.f;
}

/* ---- Chunks -------------------------------------------------------------- */

RULES_FN uint32_t rules_capacity(uint32_t k){
  uint32_t c = RULES_CAPACITY_MIN;
  while( c<8*k ) c *= 2;
  return c;
}

RULES_FN uint32_t rules_gcd(uint32_t a, uint32_t b){
  while( b ){ uint32_t t = a%b; a = b; b = t; }
  return a;
}
/* A step that visits all of n rows, about 0.618 n. */
RULES_FN uint32_t rules_step(uint32_t n){
  uint32_t s = (uint32_t)((uint64_t)n*2654435769u>>32);
  if( s==0 ) s = 1;
  while( rules_gcd(s, n)!=1 ) s++;
  return s;
}
/* Which row of n is the i-th. */
RULES_FN uint32_t rules_visit(uint32_t i, uint32_t step, uint32_t n){
  return (uint32_t)((uint64_t)i*step%n);
}
/* The growth of chunks: lists fill to about a half. */
RULES_FN uint32_t rules_growth(uint32_t capacity, uint32_t k){
  uint32_t g = capacity/(4*(k ? k : 1));
  return g<2 ? 2 : g>16 ? 16 : g;
}

/* ---- K-means (index/kmeans.h) -------------------------------------------- */

#define RULES_KMEANS_ROUNDS  12u     /* where nobody says how many */
#define RULES_SPLIT_ROUNDS   4       /* of the 2-means of a list */
#define RULES_SUM_RUN        256u    /* rows summed before sums are added */
/* Fewer than one row of a thousand changed its list: that was all. */
RULES_FN bool rules_kmeans_ends(uint32_t n_changed, uint32_t n){
  return (uint64_t)n_changed*1000<n;
}

/* ---- Last steps of distances (simd/simd.h) ------------------------------- */

/* A sum that is not a number is last in the order. */
RULES_FN float rules_not_nan(float x){ return x==x ? x : INFINITY; }

#endif
