/* simd.h -- distances between vectors on plain arrays.
**
** Used by   index/ (searches and builds), store/ and sql/ (scalar functions).
** Threads   any; everything here is read-only after the first call.
** Errors    VECDB_ codes where a function says so; nothing allocates.
**
** CANONICAL RESULTS
**   Every number a function below returns has the same bits on every
**   instruction set and compiler, because files and answers depend on them.
**   VECDB_SIMD=scalar|avx2|avx512 chooses the speed, never the result.
**   (The exception is the batch filter at the end, which only proposes.)
**
**   F32, F16, BF16   a sum of products has VDB_CANON_LANES partial sums.
**                    Element i goes to partial i mod 32, in increasing i, by
**                    one fused multiply-add (l1: one addition); the vector
**                    is padded with zeros to a multiple of 32; partials are
**                    folded j += j+16, +8, +4, +2, +1. F16 and BF16 are
**                    widened, which is exact, and then summed as F32.
**   I8, U8           the sum is an exact integer, rounded once to the nearest
**                    float. Exact for VDB_DIM_MAX dimensions.
**   BIT              exact integer counts.
**
**   l2        sqrtf(sum of (a-b)^2)
**   ip        0 - dot
**   l1        sum of |a-b|
**   cosine    dot, aa, bb are canonical sums (aa = dot(a,a)).
**             aa = 0 or bb = 0: 1. Otherwise, in floats, 1 - dot/m, clamped
**             to 0..2, where m = sqrt(aa*bb) computed in double precision
**             and rounded to float. So a vector is at distance exactly 0
**             from itself.
**   hamming   popcount(a^b)
**   jaccard   popcount(a^b)/popcount(a|b), one rounding; 0/0 is 0
**
**   A result that is not a number (overflow of both signs) becomes +inf, so
**   that distances are totally ordered.
**
** KEYS
**   Searches compare keys, which order as distances do and cost less: for l2
**   the square, otherwise the distance. Two squares may have one root, and
**   the order of results is by the root, so a cut on keys must use
**   vdb_key_cut().
**
** VECTORS need no alignment. BIT vectors have (dim+7)/8 bytes, bit i in byte
** i/8 at position i%8; spare bits must be 0.
*/
#ifndef VDB_SIMD_H
#define VDB_SIMD_H
#include "util/common.h"

#define VDB_CANON_LANES  32      /* partial sums; a constant of the format */
#define VDB_DIM_MAX      65535u  /* exactness of the integer sums is proved
                                 ** up to here */

/* ---- Elements ------------------------------------------------------------ */

/* Bytes of a vector; 0 for an unknown type. */
size_t vdb_vector_bytes(int type, size_t dim);

/* True if `metric` is defined on elements of `type`. */
bool vdb_metric_fits(int metric, int type);

/* True if no element is NaN or infinite (integers and bits: always). */
bool vdb_is_finite(int type, const void *vec, size_t dim);

/* Rounding to nearest even. Returns how many finite elements became infinite,
** which the caller reports. src and dst do not overlap. */
size_t vdb_f16_from_f32(const float *src, uint16_t *dst, size_t n);
size_t vdb_bf16_from_f32(const float *src, uint16_t *dst, size_t n);

/* Elements of any type but BIT as float: exact. BIT: 0.0 and 1.0. */
void vdb_widen(int type, const void *src, float *dst, size_t n);

/* Number of bits set in n_byte bytes. */
uint64_t vdb_popcount(const void *p, size_t n_byte);

/* ---- One distance -------------------------------------------------------- */

/* The distance of a and b as a search reports it. The caller has checked
** that the metric fits the type. */
float vdb_distance(int metric, int type, const void *a, const void *b,
                   size_t dim);

/* As vdb_distance, but cosine is NaN when a or b is the zero vector: SQL's
** scalar function makes NULL of it. */
float vdb_distance_or_nan(int metric, int type, const void *a, const void *b,
                          size_t dim);

/* Canonical sum of squares; of dot products; of squared differences. BIT:
** number of ones; of common ones; of differing bits. */
float vdb_norm2(int type, const void *a, size_t dim);
float vdb_dot(int type, const void *a, const void *b, size_t dim);
float vdb_l2sq(int type, const void *a, const void *b, size_t dim);

/* The last step of cosine, for callers that have the three sums. */
float vdb_cosine_from_sums(float dot, float aa, float bb);

/* ---- One query, many rows ------------------------------------------------ */

struct vdb_simd;

/* A prepared query; refers to the caller's vector. Plain data: copy freely. */
struct vdb_query {
  const struct vdb_simd *simd;   /* kernels to use */
  const void *vec;               /* dim elements of `type` */
  size_t dim;
  int metric, type;              /* VECDB_L2.., VECDB_F32.. */
  float norm2;                   /* canonical; cosine only, else 0 */
};

/* MISMATCH if the metric does not fit the type, RANGE if dim is 0 or above
** VDB_DIM_MAX. */
int vdb_query_init(struct vdb_query *q, int metric, int type,
                   const void *vec, size_t dim);

/* A query of F32 for rows of `row_type`, I8 or U8, whose elements stand for
** floats: keys are those of the widened rows. Other row types change nothing. */
struct vdb_query vdb_query_on(const struct vdb_query *q, int row_type);

/* key[i] = key of row[i], i = 0..n-1. norm2, or NULL, holds the canonical
** square norms of the rows (only cosine reads them). While a row is computed
** the next ones are prefetched, so long lists are better than short ones. */
void vdb_keys(const struct vdb_query *q, const void *const *row,
              const float *norm2, size_t n, float *key);

/* The same for rows at base, base+stride, ... */
void vdb_keys_run(const struct vdb_query *q, const void *base, size_t stride,
                  const float *norm2, size_t n, float *key);

static inline float vdb_key(const struct vdb_query *q, const void *row){
  float key;
  vdb_keys(q, &row, NULL, 1, &key);
  return key;
}

/* The distance that a key stands for. */
float vdb_key_distance(int metric, float key);

/* The largest key whose distance is <= distance; -inf if there is none. */
float vdb_key_cut(int metric, float distance);

/* ---- The kernels --------------------------------------------------------- */

/* Canonical sums of one query against n rows. */
typedef void (*vdb_sums_fn)(const void *q, const void *const *row, size_t n,
                            size_t dim, float *sum);
/* Two sums per row in one pass: dot(q,row) and dot(row,row). */
typedef void (*vdb_sums2_fn)(const void *q, const void *const *row, size_t n,
                             size_t dim, float *dot, float *norm2);

/* Kernels of one element type. NULL where a metric is not defined. */
struct vdb_type_simd {
  vdb_sums_fn l2sq;       /* sum of squared differences; BIT: differing bits */
  vdb_sums_fn dot;        /* BIT: common ones */
  vdb_sums_fn l1;
  vdb_sums2_fn dot_norm;
  vdb_sums_fn hamming;    /* BIT */
  vdb_sums_fn jaccard;    /* BIT; the distance itself */
};

/* The batch filter: an approximate dot product of each of up to n_row rows
** with each of n_query queries, compared with a threshold at once. It only
** proposes: index/flat_batch.c derives thresholds that include the proven
** error and computes survivors canonically.
**
** A panel holds n_query queries interleaved so that a register holds one
** element of many queries; see kernels.inc. Rows are read in place when
** their elements can be used as they are, else from a prepared copy. */
struct vdb_filter {
  size_t n_query;         /* queries per panel, <= 64 */
  size_t n_row;           /* rows per tile, <= 8 */
  /* Bytes of a panel and of a prepared row. */
  size_t (*sz_panel)(int type, size_t dim);
  size_t (*sz_row)(int type, size_t dim);
  /* Fill a panel from n <= n_query queries; the rest are zero. The panel is
  ** 64-byte aligned. */
  void (*pack)(int type, const void *const *query, size_t n, size_t dim,
               void *panel);
  /* Make `row` usable: returns row itself, or `copy` after filling it. */
  const void *(*prepare)(int type, const void *row, size_t dim, void *copy);
  /* Bit j of mask[i] is set iff not  dot(i,j) < a[j] + b[j]*u[i] + v[i].
  ** NaN on either side therefore sets it. There are n_row rows; a, b have
  ** n_query entries. */
  void (*tile)(int type, const void *const *row, const void *panel,
               size_t dim, const float *a, const float *b, const float *u,
               const float *v, uint64_t *mask);
};

/* Rows of bytes that stand for floats, under queries of floats: types that only
** a vdb_query has (vdb_query_on). Sums are those of the floats. */
#define VDB_F32_ON_I8  (VECDB_BIT+1)
#define VDB_F32_ON_U8  (VECDB_BIT+2)

struct vdb_simd {
  const char *name;                      /* "scalar", "avx2", "avx512" */
  struct vdb_type_simd type[VDB_F32_ON_U8+1];  /* indexed by element type */
  struct vdb_filter filter;              /* F32, F16, BF16, I8, U8 */
  size_t (*f16_from_f32)(const float *src, uint16_t *dst, size_t n);
  void (*f32_from_f16)(const void *src, float *dst, size_t n);
  uint64_t (*popcount)(const void *p, size_t n_byte);
};

/* The table in use: the best the processor has, or the one VECDB_SIMD names;
** chosen once. Never NULL: an unusable VECDB_SIMD gives the best one, and
** vdb_simd_status() says so. */
const struct vdb_simd *vdb_simd(void);

/* OK, or UNSUPPORTED if VECDB_SIMD names a path that this build or processor
** does not have; then *name (may be NULL) is what it named. vecdb_open()
** reports it. */
int vdb_simd_status(const char **name);

/* A table by name, "auto" or NULL for the best; NULL if this build or
** processor does not have it. */
const struct vdb_simd *vdb_simd_find(const char *name);

/* Make `name` the table in use from now on; UNSUPPORTED if there is none.
** For tests and benchmarks: not to be called while others search. */
int vdb_simd_select(const char *name);

/* ---- Floating-point mode ------------------------------------------------- */

/* Canonical results need rounding to nearest and subnormal numbers. A host
** process may have changed either (-ffast-math objects do so when they are
** loaded), and threads inherit the change, so every entry point that computes
** distances brackets its work:
**
**   struct vdb_fpmode fp = vdb_fpmode_enter();   ...   vdb_fpmode_leave(fp);
*/
struct vdb_fpmode { uint64_t saved; };
struct vdb_fpmode vdb_fpmode_enter(void);
void vdb_fpmode_leave(struct vdb_fpmode fp);
#endif
