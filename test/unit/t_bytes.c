/* t_bytes.c -- rows of bytes that stand for floats: the bits of the floats, in
** every kernel and every kind of search.
*/
#include "vt.h"

#include <math.h>

#include "index/index.h"
#include "simd/simd.h"
#include "util/mem.h"
#include "util/rng.h"

enum { N = 700, DIM_MAX = 300, N_QUERY = 40, K = 12 };

struct pair {
  struct flat_run bytes[2], floats[2];   /* the same rows */
  struct flat_search a, b;               /* of bytes, of floats */
  uint8_t *byte;
  float *wide, query[N_QUERY][DIM_MAX];
  size_t dim;
};

static void pair_init(struct pair *p, struct vdb_rng *r, int metric, int type,
                      size_t dim){
  memset(p, 0, sizeof(*p));
  p->dim = dim;
  p->byte = vdb_malloc(N*dim);
  p->wide = vdb_malloc_array(N*dim, sizeof(float));
  for(size_t i=0; i<N*dim; i++){
    p->byte[i] = (uint8_t)(i/dim%50==0 ? 0 : vdb_rng_u64(r));
  }
  vdb_widen(type, p->byte, p->wide, N*dim);
  for(int q=0; q<N_QUERY; q++){
    for(size_t i=0; i<dim; i++){                 /* some are integers */
      float x = (float)vdb_rng_below(r, 256) - (type==VECDB_I8 ? 128 : 0);
      p->query[q][i] = q%3==0 ? x : x + (float)vdb_rng_unit(r);
    }
  }
  for(int i=0; i<2; i++){
    size_t first = i ? 300 : 0;
    p->bytes[i].n_rows = p->floats[i].n_rows = i ? N-300 : 300;
    p->bytes[i].slot_base = p->floats[i].slot_base = (slot_no)first;
    p->bytes[i].vecs = p->byte + first*dim;
    p->bytes[i].stride = dim;
    p->bytes[i].row_type = type;
    p->floats[i].vecs = p->wide + first*dim;
    p->floats[i].stride = dim*sizeof(float);
  }
  p->bytes[0] = p->floats[0];                    /* a plain run among them */
  p->a.metric = metric;
  p->a.type = VECDB_F32;
  p->a.dim = dim;
  p->a.runs = p->bytes;
  p->a.n_runs = 2;
  p->b = p->a;
  p->b.runs = p->floats;
}

static void pair_clear(struct pair *p){
  vdb_free(p->byte);
  vdb_free(p->wide);
}

static void check_same(const struct vdb_hit *a, size_t n_a,
                       const struct vdb_hit *b, size_t n_b){
  if( !CHECK_U64(n_a, n_b) ) return;
  for(size_t i=0; i<n_a; i++){
    if( memcmp(&a[i], &b[i], sizeof(*a))==0 ) continue;
    FAIL("rank %zu: slot %u at %.9g, floats say %u at %.9g", i, a[i].slot,
         (double)a[i].distance, b[i].slot, (double)b[i].distance);
    return;
  }
}

static void check_searches(struct pair *p){
  static struct vdb_hit a[N_QUERY*K], b[N_QUERY*K];
  size_t n_a[N_QUERY], n_b[N_QUERY];
  struct vdb_hit *all_a, *all_b;
  for(int q=0; q<4; q++){
    CHECK_RC(VECDB_OK, vdb_flat_knn(&p->a, p->query[q], K, a, &n_a[0]));
    CHECK_RC(VECDB_OK, vdb_flat_knn(&p->b, p->query[q], K, b, &n_b[0]));
    check_same(a, n_a[0], b, n_b[0]);
  }
  CHECK_RC(VECDB_OK, vdb_flat_range(&p->a, p->query[1], &all_a, &n_a[0]));
  CHECK_RC(VECDB_OK, vdb_flat_range(&p->b, p->query[1], &all_b, &n_b[0]));
  check_same(all_a, n_a[0], all_b, n_b[0]);
  vdb_free(all_a);
  vdb_free(all_b);
  for(size_t n=3; n<=N_QUERY; n+=N_QUERY-3){     /* by blocks, by filter */
    CHECK_RC(VECDB_OK, vdb_flat_knn_batch(&p->a, p->query,
             sizeof(p->query[0]), n, K, a, n_a));
    CHECK_RC(VECDB_OK, vdb_flat_knn_batch(&p->b, p->query,
             sizeof(p->query[0]), n, K, b, n_b));
    for(size_t q=0; q<n; q++) check_same(a+q*K, n_a[q], b+q*K, n_b[q]);
  }
}

static void check_on(const char *isa){
  const char *old = vdb_simd()->name;
  size_t dims[] = { 1, 16, 31, 64, 100, 257, DIM_MAX };
  struct vdb_rng r;
  struct pair p;
  if( vdb_simd_find(isa)==NULL ) SKIP("no %s here", isa);
  vdb_simd_select(isa);
  vdb_rng_init(&r, vt_seed());
  for(int metric=VECDB_L2; metric<=VECDB_L1; metric++){
    for(size_t d=0; d<VDB_ARRAY_LEN(dims); d++){
      pair_init(&p, &r, metric, d%2 ? VECDB_U8 : VECDB_I8, dims[d]);
      check_searches(&p);
      pair_clear(&p);
    }
  }
  vdb_simd_select(old);
}
TEST(bytes__have_the_distances_of_floats_scalar){ check_on("scalar"); }
TEST(bytes__have_the_distances_of_floats_avx2){ check_on("avx2"); }
TEST(bytes__have_the_distances_of_floats_avx512){ check_on("avx512"); }

/* Sums above 2^24 are not exact as floats: the order of additions shows. */
TEST(bytes__keep_the_order_of_sums){
  enum { DIM = 6000 };
  static uint8_t byte[DIM];
  static float wide[DIM], query[DIM];
  struct vdb_query q, on;
  struct vdb_rng r;
  float a, b;
  vdb_rng_init(&r, vt_seed());
  for(int metric=VECDB_L2; metric<=VECDB_L1; metric++){
    for(int i=0; i<DIM; i++){
      byte[i] = (uint8_t)vdb_rng_u64(&r);
      query[i] = (float)vdb_rng_below(&r, 256);
    }
    vdb_widen(VECDB_U8, byte, wide, DIM);
    CHECK_RC(VECDB_OK, vdb_query_init(&q, metric, VECDB_F32, query, DIM));
    on = vdb_query_on(&q, VECDB_U8);
    a = vdb_key(&on, byte);
    b = vdb_key(&q, wide);
    CHECK(memcmp(&a, &b, 4)==0);
  }
}
