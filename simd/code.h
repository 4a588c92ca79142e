/* code.h -- codes of a few bits per dimension, and what a graph search does
** with them, on plain arrays.
**
** Used by   index/ (graph blocks, routers, code columns).
** Threads   any; everything here is read-only after the first call.
** Errors    none; nothing allocates. Sizes have been checked by the caller.
**
** ROTATION  FHT-Kac: four rounds of sign flips, a fast Hadamard transform of
**           the first or last T elements (T the largest power of two <= dims)
**           and, unless T = dims, a butterfly of the two halves. It preserves
**           norms. `dims` is a multiple of 64 here and everywhere below.
**
** CODES     A vector r becomes U_j, an unsigned number of `bits` bits (1, 2 or
**           4) per dimension, which stands for x_j = U_j - (2^bits - 1)/2:
**             x_j = sgn(r_j)*(k_j + 1/2),
**             k_j = min(floor(f*abs(r_j)), 2^(bits-1) - 1),  f = t/norm(r)
**           with t = vdb_code_scale(bits, dims), the scale that makes the
**           angle between r and x smallest for Gaussian vectors.
**
** FACTORS   r = P(o - c) is the residual of a row o to a reference point c,
**           n2 = norm2(o - c), c' and q' are c and the query, both centred
**           and rotated.  Then for every o, without bias,
**             est = fma(f_resc, fma(delta, ip, kappa), f_add + g_add)
**           estimates norm2(q - o), where g_add = norm2(q - c),
**             f_resc = -2*n2/<x,r>       f_add = n2 - f_resc*<x,c'>
**           ip is an integer that depends on the codes and on the query's
**           table, delta and kappa on the query alone.  Its standard error is
**           f_tan*norm(q-c)/sqrt(dims-1)*2 and its error never above
**           2*f_tan*norm(q-c), f_tan = sqrt(n2)*tan of the angle of r and x,
**           both apart from the rounding of the query.
**
** GROUPS    32 codes (lanes) side by side, bits*4*dims bytes:
**   bits 1   FastScan: for each pair p = 2m, 2m+1 of nibbles (4 dimensions,
**            the first in bit 0) 32 bytes; byte 16h+j, lane l = j/2 + 8*(j%2):
**            low half = nibble 2m+h of lane l, high half = that of l+16.
**            The query is a table of 16 bytes per nibble.
**   bits 2,4 32 x 4 bytes for each run of 32/bits dimensions: in byte j of a
**            lane, field f (at bit bits*f) is dimension 4f+j of the run. The
**            query is one signed byte per dimension.
**   bits of vectors of bits (kind), with bits 1: 32 x 4 bytes for each run of 32
**            dimensions, the first in the lowest bit. The query is its bits;
**            what is estimated is exact.
**
** All integers and floats have the same bits on every instruction set.
*/
#ifndef VDB_CODE_H
#define VDB_CODE_H
#include "util/common.h"

#define VDB_CODE_LANES      32
#define VDB_CODE_DIMS_MAX   65536u

/* A table per query: largest size in bytes. */
#define VDB_CODE_TABLE_BYTES(dims)   (4*(size_t)(dims))
#define VDB_CODE_GROUP_BYTES(dims, bits)   (4*(size_t)(dims)*(size_t)(bits))

/* What a group holds, and what `estimate` gives: codes, by FACTORS; or the
** bits of vectors of bits, whose distance is f_add + x, x the number of bits
** that differ, or that by the number of bits which are set in either of the two,
** of which f_resc is how many the lane has. */
enum { VDB_CODE_RESIDUAL = 0, VDB_CODE_HAMMING = 1, VDB_CODE_JACCARD = 2 };

/* A query made ready for codes of one width. `table` belongs to the caller
** and is 64-byte aligned. */
struct vdb_code_query {
  uint8_t *table;           /* VDB_CODE_TABLE_BYTES(dims) */
  uint32_t dims, bits;
  uint32_t kind;            /* VDB_CODE_*: what codes are of */
  float n_one;              /* of vectors of bits: ones of the query */
  float delta, kappa;       /* see FACTORS */
  float lut_err;            /* abs(<U,q'> - what delta, kappa and ip say) is at
                            ** most this times (2^bits - 1) */
  uint8_t *fine;            /* NULL, or a second table: what `table` leaves of
                            ** the query, in steps of fine_delta */
  float fine_delta, fine_kappa;
  float fine_least;         /* of the sums in `table`, for bits 1 */
  float fine_below;         /* estimates from owners that are nearer than this
                            ** want it: else the steps of `table` say more
                            ** than the codes do */
};

/* The nearest candidates so far, ascending. Arrays are 64-byte aligned and
** have VDB_POOL_SLOTS(n_cap) entries; from n_cap on keys stay +inf and ids
** stay VDB_POOL_NONE. Ids hardly ever occur twice (when `met` has forgotten
** one). */
struct vdb_pool {
  float *key;
  uint32_t *id;             /* below 2^31; VDB_POOL_DONE is set when expanded */
  uint32_t n_cap;
  uint32_t first;           /* no entry before it waits to be expanded */
  uint32_t *met;            /* ids that were offered, by a hash */
  uint32_t met_mask;        /* places - 1, a power of two - 1 */
};
#define VDB_POOL_DONE       0x80000000u
#define VDB_POOL_NONE       0xffffffffu
#define VDB_POOL_CAP_MAX    65600u
#define VDB_POOL_HOLES      (VDB_POOL_CAP_MAX/16)
#define VDB_POOL_SLOTS(n)   (((size_t)(n)+16)/16*16)

/* Places in `met` that suit a pool; the place of an id, and its tag, which is
** even and never that of an empty half. */
#define VDB_MET_PLACE  0x9e3779b1u
#define VDB_MET_TAG    0x85ebca6bu
#define VDB_MET_EMPTY  0xffffu
#define VDB_MET_DONE   1u
static inline uint32_t vdb_met_place(const struct vdb_pool *p, uint32_t id){
  return (id*VDB_MET_PLACE >> 12) & p->met_mask;
}
static inline uint32_t vdb_met_tag(uint32_t id){
  uint32_t t = id*VDB_MET_TAG >> 16 & 0xfffeu;
  return t<0xfffeu ? t : 0xfffcu;
}
static inline bool vdb_met_has(const struct vdb_pool *p, uint32_t id){
  uint32_t t = p->met[vdb_met_place(p, id)], tag = vdb_met_tag(id);
  return ((t & 0xffff) ^ tag)<2 || (t>>16 ^ tag)<2;
}
static inline uint32_t vdb_pool_places(uint32_t n_cap){
  uint32_t n = 2048;
  while( n<32*n_cap && n<(1u<<20) ) n *= 2;
  return n;
}

/* 32 or 64 candidates with their codes. */
struct vdb_lanes {
  const uint32_t *id;
  const float *f_add, *f_resc;
  const uint8_t *code;      /* groups */
  uint32_t n;
};

/* What `expand` needs to know beside the query. */
struct vdb_expand {
  float g_add;              /* distance of the query to the block's owner */
  float bound;              /* offer nothing that is not below it */
  float reuse;              /* a candidate met again moves up if its new
                            ** estimate is below this and its old one */
  uint32_t n_slots;         /* ids at or above it are ignored */
  bool is_fine;             /* use q->fine, which has been prepared */
};

/* What a scan of codes compares with a limit: for each of 32 lanes
**   est = c*resc*(delta*ip + kappa) + a*norm2 + b
**   low = est - reach*tan - w*norm                                           */
struct vdb_code_bound {
  float a, b, c, w, reach, delta, kappa, limit;
};

/* Codes of rows one after the other, each with 16 bits that say how long the
** row is and how well the code fits: from the top 6 bits of exponent and 5 of
** mantissa of its norm, then 5 bits of a factor,
**   norm  from 2^-31 to 2^32, rounded to the middle of what these bits are cut
**         off from
**   fit   f = base*(1 + i/20): norm*sqrt(dims)/<x,r> with x of CODES
** and VDB_RANK_NONE where that does not suit. With ip the product of the code
** with the signed bytes of a query,
**   est = norm*(norm - f*(delta*ip + kappa)) + g_add
**   low = est - norm*(slack + i*slack_step)                                  */
struct vdb_rank {
  float delta, kappa, g_add;
  float base;               /* of f, times 2/sqrt(dims) */
  float slack, slack_step;
};
#define VDB_RANK_NONE  0xffffu

/* What becomes of lanes when a filter says who is wanted: those that pass go
** to one pool, the others to another. */
struct vdb_split {
  const uint32_t *row;      /* of each id; VDB_SPLIT_ALL: passes */
  const uint64_t *filter;   /* bitmap by row */
  uint32_t n_row;           /* its bits; other rows fail */
  float bound;              /* offer nothing that fails and is not below it */
  struct vdb_pool *fail;
  bool is_counted;          /* look at all lanes, and add up: */
  uint32_t n_seen, n_pass;  /* lanes, and those of them that pass */
};
#define VDB_SPLIT_ALL  0xffffffffu

/* Kernels of one instruction set. n, dims: multiples of 64, except f32 lengths,
** which are arbitrary. */
struct vdb_code_simd {
  const char *name;
  /* Rotate x in place; sign: 4*dims times +1 or -1. */
  void (*rotate)(const float *sign, size_t dims, float *x);
  /* Canonical sums (simd.h): one pair; one vector against many. */
  float (*l2sq)(const float *a, const float *b, size_t n);
  float (*dot)(const float *a, const float *b, size_t n);
  void (*l2sq_many)(const float *a, const float *const *b, size_t n_b,
                    size_t n, float *out);
  /* Exact dot products of unsigned bytes with signed ones, modulo 2^32. */
  int32_t (*dot_u8s8)(const uint8_t *u, const int8_t *q, size_t n);
  void (*dot_u8s8_many)(const int8_t *q, const uint8_t *const *u, size_t n_u,
                        size_t n, int32_t *out);
  /* The same for n_row rows of signed bytes, `n` apart. */
  void (*matvec)(const int8_t *row, size_t n_row, const uint8_t *u, size_t n,
                 int32_t *out);
  /* The same for n_u vectors u[j]: their products are at out + j*n_row. */
  void (*matmat)(const int8_t *row, size_t n_row, const uint8_t *const *u,
                 size_t n_u, size_t n, int32_t *out);
  /* True if every x[i]-lo is an integer in 0..255: u has them then. For this
  ** and the next three n is a multiple of 16. */
  bool (*bytes_exact)(const float *x, size_t n, float lo, uint8_t *u);
  /* Least and greatest element. */
  void (*range)(const float *x, size_t n, float *least, float *most);
  /* u = (x-lo)*inv, rounded and limited to 0..255. */
  void (*bytes)(const float *x, size_t n, float lo, float inv, uint8_t *u);
  /* 128*hi + lo = x*inv, rounded; abs(x*inv) is at most 16256. */
  void (*wide)(const float *x, size_t n, float inv, int8_t *hi, int8_t *lo);
  /* r = o - c. */
  void (*residual)(const float *o, const float *c, size_t dims, float *r);
  /* Code of r: u[j] = U_j, x[j] = x_j; f as in CODES. */
  void (*quantise)(const float *r, size_t dims, int bits, float f,
                   uint8_t *u, float *x);
  /* Of two vectors of n bytes: how many bits differ. n: a multiple of 64. */
  uint32_t (*differ)(const uint8_t *a, const uint8_t *b, size_t n);
  /* q->table, delta, kappa, lut_err from the rotated query; of kinds of bits
  ** the query is dims bits, where floats would be, and n_one is set. */
  void (*prepare)(struct vdb_code_query *q, const float *query);
  /* After it, for the same query: q->fine, fine_delta, fine_kappa. */
  void (*prepare_fine)(struct vdb_code_query *q, const float *query);
  /* ip of the 32 lanes of a group. */
  void (*sums)(const struct vdb_code_query *q, const uint8_t *group,
               int32_t *ip);
  /* est of n (32 or 64) lanes. */
  void (*estimate)(const struct vdb_code_query *q, const uint8_t *groups,
                   const float *f_add, const float *f_resc, size_t n,
                   float g_add, float *est);
  /* est of 32 lanes, as in vdb_code_bound; norm2, resc, tan and norm are 32
  ** floats each, one after the other at `factor`. Bit l of the result is clear
  ** iff low[l] > limit. */
  uint32_t (*bounds)(const struct vdb_code_bound *b, const uint8_t *factor,
                     const int32_t *ip, float *est);
  /* Codes of 6 bits in two parts: u = (r*inv + 31.5), rounded and limited to
  ** 0..63; x6 = u - 31.5; high = u/4, x4 = 4*high - 30; byte j of low holds
  ** u%4 of elements j, j+n/4, j+n/2 and j+3n/4, the first in its lowest bits.
  ** n: a multiple of 64. */
  void (*split)(const float *r, size_t n, float inv, uint8_t *high,
                uint8_t *low, float *x4, float *x6);
  /* Dot product of the low parts of n dimensions with signed bytes. */
  int32_t (*dot_low)(const uint8_t *low, const int8_t *q, size_t n);
  /* Products of n codes with signed bytes. bits 1: element j is bit j%8 of
  ** byte j/8. bits 2: of 64 dimensions 16 bytes, byte j with the elements j,
  ** j+16, j+32, j+48 from its lowest bits on. */
  void (*dot_rows)(const int8_t *q, size_t dims, int bits,
                   const uint8_t *const *row, size_t n, int32_t *ip);
  /* est and low of n rows, n is 32 or 64: see vdb_rank. Of VDB_RANK_NONE both
  ** are -inf. Bit i of the result is set iff low[i] < bound. */
  uint64_t (*rank)(const struct vdb_rank *r, const uint16_t *fit,
                   const int32_t *ip, size_t n, float bound, float *est,
                   float *low);
  /* Offer lanes, which nobody has checked, to the pool. A candidate that was
  ** met before, in another block, and not expanded moves up, or comes back
  ** into the pool, if its estimate is below e->reuse. */
  void (*expand)(const struct vdb_code_query *q, const struct vdb_lanes *l,
                 const struct vdb_expand *e, struct vdb_pool *pool);
  /* The same for those that pass a filter; the others are offered to another
  ** pool. */
  void (*expand_split)(const struct vdb_code_query *q,
                       const struct vdb_lanes *l, const struct vdb_expand *e,
                       struct vdb_split *s, struct vdb_pool *pool);
  /* Offer one candidate. */
  void (*offer)(struct vdb_pool *pool, float key, uint32_t id, float reuse);
  /* Position of the first entry at or after `from` that is not done, or a
  ** number >= n. */
  uint32_t (*waiting)(const struct vdb_pool *pool, uint32_t from, uint32_t n);
};

/* The kernels of vdb_simd(). */
const struct vdb_code_simd *vdb_code_simd(void);

/* t in CODES. */
float vdb_code_scale(int bits, size_t dims);

/* Expand stored sign bits (4*dims, LSB first) into +1 and -1. */
void vdb_code_signs(const uint8_t *bit, size_t dims, float *sign);

/* What one code says beside its bits. */
struct vdb_code_factors { float f_add, f_resc, f_tan; };

/* Encode r: U_j to u[0..dims-1]; x is scratch of `dims` floats. `c` is c' or
** NULL for zero. n2 = norm2(o-c), which exceeds norm2(r) if r is only a
** projection. 64-byte alignment of r, c, u, x. */
struct vdb_code_factors vdb_code_encode(const float *r, const float *c,
                                        float n2, size_t dims, int bits,
                                        uint8_t *u, float *x);

/* Write one lane of a group, or read it back. */
void vdb_code_put(uint8_t *group, size_t lane, size_t dims, int bits,
                  const uint8_t *u);
void vdb_code_get(const uint8_t *group, size_t lane, size_t dims, int bits,
                  uint8_t *u);

/* Mark entry i as expanded; returns its id. It will not be offered again. */
static inline uint32_t vdb_pool_take(struct vdb_pool *p, uint32_t i){
  uint32_t id = p->id[i], tag = vdb_met_tag(id);
  uint32_t *t = p->met + vdb_met_place(p, id);
  p->id[i] = id | VDB_POOL_DONE;
  p->first = i+1;
  *t |= (uint32_t)((*t & 0xffff)==tag) | (uint32_t)(*t>>16==tag)<<16;
  return id;
}

/* Make a pool empty. */
void vdb_pool_reset(struct vdb_pool *pool, uint32_t n_cap);
#endif
