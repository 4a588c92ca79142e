/* t_flat.c -- exact search: equal to a plain sort of all distances, however
** rows, queries and threads are divided; exact on real data.
*/
#include "vt.h"

#include <math.h>
#if defined(__x86_64__)
# include <xmmintrin.h>
#endif

#include "index/index.h"
#include "simd/simd.h"
#include "util/bitset.h"
#include "util/mem.h"
#include "util/rng.h"

/* ---- A collection of random rows ----------------------------------------- */

enum { RUNS_MAX = 4, SLOTS_MAX = 1<<15 };

/* Rows in several runs, with everything a search may have to respect. */
struct world {
  struct flat_search s;
  struct flat_run run[RUNS_MAX];
  uint8_t *vecs[RUNS_MAX];
  slot_no *slots[RUNS_MAX];
  float *norm2[RUNS_MAX];
  uint64_t live[SLOTS_MAX/64], filter[SLOTS_MAX/64];
  size_t n_rows;
  struct flat_window window;
};

/* Few distinct values, so that ties are frequent; `offset` moves the rows away
** from the origin, which is what cancellation likes. */
static void grid_vector(struct vdb_rng *r, int type, uint8_t *out, size_t dim,
                        float offset){
  for(size_t i=0; i<dim; i++){
    float x = offset + (float)vdb_rng_below(r, 4);
    uint16_t h;
    switch( type ){
      case VECDB_F32:  memcpy(out+i*4, &x, 4); break;
      case VECDB_F16:  vdb_f16_from_f32(&x, &h, 1); memcpy(out+i*2, &h, 2);
                       break;
      case VECDB_BF16: vdb_bf16_from_f32(&x, &h, 1); memcpy(out+i*2, &h, 2);
                       break;
      case VECDB_I8:
      case VECDB_U8:   out[i] = (uint8_t)(int)x; break;
      default:         if( i%8==0 ) out[i/8] = 0;
                       out[i/8] |= (uint8_t)(((int)x & 1) << (i%8));
    }
  }
}

/* Each slot is used once; listed slots are shuffled by an odd multiplier. */
static void world_init_run(struct world *w, struct vdb_rng *r, size_t i,
                           uint32_t n, uint32_t first_slot, float offset){
  struct flat_run *run = &w->run[i];
  size_t dim = w->s.dim, sz = vdb_vector_bytes(w->s.type, dim);
  run->stride = sz + vdb_rng_below(r, 3)*5;
  run->n_rows = n;
  run->slot_base = first_slot;
  w->vecs[i] = vdb_malloc(run->stride*n + 1);
  w->slots[i] = NULL;
  w->norm2[i] = NULL;
  run->vecs = w->vecs[i];
  for(uint32_t j=0; j<n; j++){
    grid_vector(r, w->s.type, w->vecs[i] + j*run->stride, dim, offset);
  }
  if( vdb_rng_below(r, 2) ){
    w->slots[i] = vdb_malloc_array(n+1, sizeof(slot_no));
    for(uint32_t j=0; j<n; j++) w->slots[i][j] = first_slot + (n-1-j);
    run->slots = w->slots[i];
  }
  if( vdb_rng_below(r, 2) ){
    w->norm2[i] = vdb_malloc_array(n+1, sizeof(float));
    for(uint32_t j=0; j<n; j++){
      w->norm2[i][j] = vdb_norm2(w->s.type, w->vecs[i]+j*run->stride, dim);
    }
    run->norm2 = w->norm2[i];
  }
  if( vdb_rng_below(r, 2) ) run->live = w->live;
}

static void world_init(struct world *w, struct vdb_rng *r, int metric,
                       int type, size_t dim, uint32_t n, float offset){
  uint32_t slot = vdb_rng_below(r, 100);
  memset(w, 0, sizeof(*w));
  for(size_t i=0; i<SLOTS_MAX/64; i++){
    w->live[i] = vdb_rng_u64(r) | vdb_rng_u64(r);
    w->filter[i] = vdb_rng_u64(r) | (i%3 ? 0 : ~(uint64_t)0);
    if( i%5==0 ) w->filter[i] = 0;
  }
  w->s.metric = metric;
  w->s.type = type;
  w->s.dim = dim;
  w->s.runs = w->run;
  w->s.n_runs = 1 + vdb_rng_below(r, RUNS_MAX);
  for(size_t i=0; i<w->s.n_runs; i++){
    uint32_t m = i+1<w->s.n_runs ? vdb_rng_below(r, n+1) : n;
    world_init_run(w, r, i, m, slot, offset);
    slot += m + vdb_rng_below(r, 70);
    w->n_rows += m;
    n -= m;
  }
  REQUIRE(slot<SLOTS_MAX);
  if( vdb_rng_below(r, 2) ) w->s.filter = w->filter;
}

static void world_clear(struct world *w){
  for(size_t i=0; i<RUNS_MAX; i++){
    vdb_free(w->vecs[i]);
    vdb_free(w->slots[i]);
    vdb_free(w->norm2[i]);
  }
}

/* The other way round, as primary keys may be. */
static int slots_backwards(void *arg, slot_no a, slot_no b){
  (void)arg;
  return a>b ? -1 : a<b;
}

/* ---- The reference ------------------------------------------------------- */

static const struct flat_search *sort_by;
static int compare_hits(const void *a, const void *b){
  return vdb_hit_cmp(a, b, sort_by->tie, sort_by->tie_arg);
}

/* Every row that qualifies, sorted. */
static struct vdb_hit *reference(const struct flat_search *s,
                                 const void *query, size_t *n_hit){
  struct vdb_hit *hit = vdb_malloc_array(SLOTS_MAX, sizeof(hit[0]));
  size_t n = 0;
  for(size_t i=0; i<s->n_runs; i++){
    const struct flat_run *r = &s->runs[i];
    for(uint32_t j=0; j<r->n_rows; j++){
      slot_no slot = r->slots ? r->slots[j] : r->slot_base+j;
      const char *x = (const char*)r->vecs + j*r->stride;
      float d;
      if( r->live && !vdb_bit_get(r->live, slot) ) continue;
      if( s->filter && !vdb_bit_get(s->filter, slot) ) continue;
      d = vdb_distance(s->metric, s->type, query, x, s->dim);
      if( s->window && (d<s->window->min || d>s->window->max) ) continue;
      hit[n++] = (struct vdb_hit){ d, slot };
    }
  }
  sort_by = s;
  qsort(hit, n, sizeof(hit[0]), compare_hits);
  *n_hit = n;
  return hit;
}

static void check_hits(const struct vdb_hit *want, size_t n_want,
                       const struct vdb_hit *got, size_t n_got){
  if( !CHECK_U64(n_want, n_got) ) return;
  for(size_t i=0; i<n_want; i++){
    if( want[i].slot==got[i].slot && want[i].distance==got[i].distance ){
      continue;
    }
    FAIL("rank %zu is slot %u at %.9g, expected %u at %.9g", i, got[i].slot,
         (double)got[i].distance, want[i].slot, (double)want[i].distance);
    return;
  }
}

/* ---- Single search ------------------------------------------------------- */

static void check_knn(const struct flat_search *s, const void *query,
                      size_t k){
  struct vdb_hit *hit = vdb_malloc_array(k+1, sizeof(hit[0]));
  size_t n = 99, n_ref;
  struct vdb_hit *ref = reference(s, query, &n_ref);
  CHECK_RC(VECDB_OK, vdb_flat_knn(s, query, k, hit, &n));
  check_hits(ref, vdb_min_sz(k, n_ref), hit, n);
  vdb_free(hit);
  vdb_free(ref);
}

static void check_range(const struct flat_search *s, const void *query){
  struct vdb_hit *hit, *ref;
  size_t n, n_ref;
  ref = reference(s, query, &n_ref);
  CHECK_RC(VECDB_OK, vdb_flat_range(s, query, &hit, &n));
  check_hits(ref, n_ref, hit, n);
  vdb_free(hit);
  vdb_free(ref);
}

/* A window around the distances that occur, sharp at both ends. */
static void choose_window(struct world *w, struct vdb_rng *r,
                          const void *query){
  size_t n;
  struct vdb_hit *ref;
  w->s.window = NULL;
  ref = reference(&w->s, query, &n);
  if( n>0 ){
    double lo = ref[vdb_rng_below(r, (uint32_t)n)].distance;
    double hi = ref[vdb_rng_below(r, (uint32_t)n)].distance;
    if( vdb_rng_below(r, 3)==0 ) lo = -INFINITY;
    vdb_window_init(&w->window, lo, vdb_rng_below(r, 2), hi,
                    vdb_rng_below(r, 2));
    w->s.window = &w->window;
  }
  vdb_free(ref);
}

static void random_search(struct vdb_rng *r, int metric, int type){
  static uint8_t query[300*4];
  struct world w;
  size_t dim = 1 + vdb_rng_below(r, type==VECDB_BIT ? 300 : 70);
  uint32_t n = vdb_rng_below(r, vdb_rng_below(r, 4) ? 700 : 3);
  size_t ks[] = { 0, 1, 5, n/2, n, n+10 };

  world_init(&w, r, metric, type, dim, n, 0);
  grid_vector(r, type, query, dim, 0);
  if( vdb_rng_below(r, 2) ) w.s.tie = slots_backwards;
  for(size_t i=0; i<VDB_ARRAY_LEN(ks); i++) check_knn(&w.s, query, ks[i]);
  check_range(&w.s, query);
  choose_window(&w, r, query);
  check_knn(&w.s, query, 7);
  check_range(&w.s, query);
  world_clear(&w);
}

TEST(flat__equals_a_sort_of_all_distances){
  struct vdb_rng r;
  vdb_rng_init(&r, vt_seed());
  for(int round=0; round<12*vt_scale(); round++){
    for(int type=VECDB_F32; type<=VECDB_BIT; type++){
      for(int metric=VECDB_L2; metric<=VECDB_JACCARD; metric++){
        if( vdb_metric_fits(metric, type) ) random_search(&r, metric, type);
      }
    }
  }
}

TEST(flat__threads_change_nothing){
  static uint8_t query[784];
  struct vdb_rng r;
  struct world w;
  struct vdb_hit one[50], many[50], *all, *all_many;
  size_t n_one, n_many;
  static const unsigned n_threads[] = { 2, 3, 8 };
  vdb_rng_init(&r, vt_seed());
  world_init(&w, &r, VECDB_L2, VECDB_U8, 784, 20000, 0);   /* several tasks */
  grid_vector(&r, VECDB_U8, query, 784, 0);
  REQUIRE_RC(VECDB_OK, vdb_flat_knn(&w.s, query, 50, one, &n_one));
  vdb_window_init(&w.window, 0, false, one[20].distance, false);
  w.s.window = &w.window;
  REQUIRE_RC(VECDB_OK, vdb_flat_range(&w.s, query, &all, &n_many));
  for(size_t i=0; i<VDB_ARRAY_LEN(n_threads); i++){
    size_t n_all = n_many, n;
    w.s.n_thread = n_threads[i];
    CHECK_RC(VECDB_OK, vdb_flat_range(&w.s, query, &all_many, &n));
    check_hits(all, n_all, all_many, n);
    vdb_free(all_many);
    w.s.window = NULL;
    CHECK_RC(VECDB_OK, vdb_flat_knn(&w.s, query, 50, many, &n));
    check_hits(one, n_one, many, n);
    w.s.window = &w.window;
  }
  vdb_free(all);
  world_clear(&w);
}

TEST(flat__finds_many_neighbours){
  static float base[30000], query = 0.3f;
  struct flat_run run = { .vecs = base, .stride = 4, .n_rows = 30000 };
  struct flat_search s = { .metric = VECDB_L2, .type = VECDB_F32, .dim = 1,
                           .runs = &run, .n_runs = 1 };
  struct vdb_rng r;
  vdb_rng_init(&r, vt_seed());
  for(size_t i=0; i<30000; i++) base[i] = (float)vdb_rng_below(&r, 9000);
  check_knn(&s, &query, 20000);
  check_knn(&s, &query, 100000);
}

/* Two squares with one root. The scan meets the row with the smaller square
** first; the other one, first by key, must still get past the cut. */
TEST(flat__ties_after_the_root_are_ordered_by_key){
  enum { N = 200, NQ = 60 };
  static float base[N][2], queries[NQ][2];
  static slot_no slots[N];
  struct flat_run run = { .vecs = base, .stride = 8, .n_rows = N,
                          .slots = slots };
  struct flat_search s = { .metric = VECDB_L2, .type = VECDB_F32, .dim = 2,
                           .runs = &run, .n_runs = 1 };
  struct vdb_hit hit[NQ];
  size_t n_hit[NQ], n;
  float near = 1, far;

  do{
    near = nextafterf(near, 2);
    base[0][0] = base[0][1] = base[1][0] = near;
    base[1][1] = far = nextafterf(near, 2);
  }while( vdb_norm2(VECDB_F32, base[0], 2)==vdb_norm2(VECDB_F32, base[1], 2)
       || sqrtf(vdb_norm2(VECDB_F32, base[0], 2))
          !=sqrtf(vdb_norm2(VECDB_F32, base[1], 2)) );
  for(size_t i=0; i<N; i++){
    slots[i] = (slot_no)(i<2 ? 1-i : i);
    if( i>=2 ) base[i][0] = base[i][1] = 9;
  }
  CHECK(far>near);
  CHECK_RC(VECDB_OK, vdb_flat_knn(&s, queries, 1, hit, &n));
  CHECK_INT(0, hit[0].slot);
  CHECK_RC(VECDB_OK, vdb_flat_knn_batch(&s, queries, 8, NQ, 1, hit, n_hit));
  for(size_t i=0; i<NQ; i++) CHECK_INT(0, hit[i].slot);
  s.tie = slots_backwards;
  CHECK_RC(VECDB_OK, vdb_flat_knn(&s, queries, 1, hit, &n));
  CHECK_INT(1, hit[0].slot);
}

/* ---- The window ---------------------------------------------------------- */

TEST(flat__window_has_the_bounds_of_sql){
  struct flat_window w;
  vdb_window_init(&w, 1, true, 2, true);
  CHECK(w.min==nextafterf(1, 2) && w.max==nextafterf(2, 1));
  vdb_window_init(&w, 1, false, 2, false);
  CHECK(w.min==1 && w.max==2);
  vdb_window_init(&w, 0.1, true, 0.1, false);      /* between two floats */
  CHECK(w.min>0.1 && w.max<=0.1 && w.min==nextafterf(w.max, 1));
  vdb_window_init(&w, -INFINITY, false, INFINITY, false);
  CHECK(w.min==-INFINITY && w.max==INFINITY);
  vdb_window_init(&w, -1e300, false, 1e300, false);
  CHECK(w.min==-__FLT_MAX__ && w.max==__FLT_MAX__);
  vdb_window_init(&w, INFINITY, true, INFINITY, false);
  CHECK(w.min>w.max);
  vdb_window_init(&w, -INFINITY, false, -INFINITY, true);
  CHECK(w.min>w.max);
  vdb_window_init(&w, NAN, false, 1, false);
  CHECK(w.min>w.max);
}

/* ---- Batches ------------------------------------------------------------- */

static void check_batch(const struct flat_search *s, const uint8_t *queries,
                        size_t stride, size_t n, size_t k){
  struct vdb_hit *hit = vdb_malloc_array(n*k+1, sizeof(hit[0]));
  struct vdb_hit *one = vdb_malloc_array(k+1, sizeof(one[0]));
  size_t *n_hit = vdb_calloc(n+1, sizeof(n_hit[0])), n_one;
  CHECK_RC(VECDB_OK, vdb_flat_knn_batch(s, queries, stride, n, k, hit, n_hit));
  for(size_t i=0; i<n; i++){
    struct flat_search single = *s;
    single.n_thread = 1;
    CHECK_RC(VECDB_OK, vdb_flat_knn(&single, queries+i*stride, k, one,
                                    &n_one));
    check_hits(one, n_one, hit+i*k, n_hit[i]);
  }
  vdb_free(hit);
  vdb_free(one);
  vdb_free(n_hit);
}

static void random_batch(struct vdb_rng *r, int metric, int type,
                         float offset){
  static const size_t n_queries[] = { 1, 13, 60, 101 };
  static const unsigned n_threads[] = { 1, 2, 3, 8 };
  static uint8_t queries[101*60*4];
  struct world w;
  size_t dim = 1 + vdb_rng_below(r, 60);
  size_t stride = vdb_vector_bytes(type, dim);

  world_init(&w, r, metric, type, dim, 700, offset);
  for(size_t i=0; i<101; i++){
    grid_vector(r, type, queries+i*stride, dim, offset);
  }
  if( vdb_rng_below(r, 2) ) w.s.tie = slots_backwards;
  for(size_t i=0; i<4; i++){
    w.s.n_thread = n_threads[i];
    check_batch(&w.s, queries, stride, n_queries[(i+dim)%4], 3);
  }
  check_batch(&w.s, queries, stride, 30, 200);     /* k too large to filter */
  choose_window(&w, r, queries);
  check_batch(&w.s, queries, stride, 60, 5);
  world_clear(&w);
}

static void check_batches_on(const char *path){
  struct vdb_rng r;
  if( vdb_simd_select(path)!=VECDB_OK ) SKIP("no %s here", path);
  vdb_rng_init(&r, vt_seed());
  for(int type=VECDB_F32; type<=VECDB_BIT; type++){
    for(int metric=VECDB_L2; metric<=VECDB_JACCARD; metric++){
      if( !vdb_metric_fits(metric, type) ) continue;
      for(int round=0; round<vt_scale(); round++){
        random_batch(&r, metric, type, 0);
        random_batch(&r, metric, type, type==VECDB_U8 ? 250 : 100);
      }
    }
  }
}
TEST(flat__batch_equals_single_search_scalar){ check_batches_on("scalar"); }
TEST(flat__batch_equals_single_search_avx2){ check_batches_on("avx2"); }
TEST(flat__batch_equals_single_search_avx512){ check_batches_on("avx512"); }

/* Rows where approximate products are worth nothing: huge, tiny, zero, all
** nearly the same. */
static void hard_vector(struct vdb_rng *r, int kind, float *x, size_t dim){
  static const float scales[] = { 1e-44f, 1e-30f, 1e-19f, 1e-3f, 1, 1e4f,
                                  1e18f, 3e37f };
  float scale = scales[vdb_rng_below(r, VDB_ARRAY_LEN(scales))];
  bool is_zero = vdb_rng_below(r, 10)==0;
  for(size_t i=0; i<dim; i++){
    float g = (float)vdb_rng_gauss(r);
    x[i] = kind==0 ? g*scale : 1000.0f + g*0x1p-10f;
    if( kind==0 && is_zero ) x[i] = 0;
  }
}
TEST(flat__batch_is_exact_on_hard_data){
  enum { DIM = 40, N = 600, NQ = 60 };
  static float base[N*DIM], queries[NQ*DIM];
  struct flat_run run = { .vecs = base, .stride = DIM*4, .n_rows = N };
  struct flat_search s = { .type = VECDB_F32, .dim = DIM, .runs = &run,
                           .n_runs = 1 };
  struct vdb_rng r;
  vdb_rng_init(&r, vt_seed());
  for(int round=0; round<20*vt_scale(); round++){
    for(size_t i=0; i<N; i++) hard_vector(&r, round%2, base+i*DIM, DIM);
    for(size_t i=0; i<NQ; i++) hard_vector(&r, round%2, queries+i*DIM, DIM);
    for(s.metric=VECDB_L2; s.metric<=VECDB_L1; s.metric++){
      check_batch(&s, (const uint8_t*)queries, DIM*4, NQ, 6);
    }
  }
}

/* The sums of the integer filter are as large as they get. */
TEST(flat__batch_is_exact_at_full_length){
  enum { N = 24, NQ = 26 };
  static const size_t dims[] = { 32768, 32769, VDB_DIM_MAX };
  uint8_t *base = vdb_malloc((size_t)N*VDB_DIM_MAX);
  uint8_t *queries = vdb_malloc((size_t)NQ*VDB_DIM_MAX);
  struct vdb_rng r;
  vdb_rng_init(&r, vt_seed());
  for(int type=VECDB_I8; type<=VECDB_U8; type++){
    for(size_t d=0; d<3; d++){
      size_t dim = dims[d];
      struct flat_run run = { .vecs = base, .stride = dim, .n_rows = N };
      struct flat_search s = { .metric = VECDB_L2, .type = type, .dim = dim,
                               .runs = &run, .n_runs = 1 };
      int far = type==VECDB_I8 ? -128 : 255;
      memset(base, far, N*dim);
      memset(queries, type==VECDB_I8 ? 127 : 255, NQ*dim);
      for(size_t i=0; i<N; i++) base[i*dim+i] ^= (uint8_t)vdb_rng_u64(&r);
      check_batch(&s, queries, dim, NQ, 3);
      s.metric = VECDB_IP;
      check_batch(&s, queries, dim, NQ, 3);
      s.metric = VECDB_COSINE;
      check_batch(&s, queries, dim, NQ, 3);
    }
  }
  vdb_free(base);
  vdb_free(queries);
}

/* ---- Nothing to find, nothing to find it in ------------------------------ */

TEST(flat__empty_cases_are_fine){
  float query[3] = { 1, 2, 3 };
  struct flat_run run = { .vecs = query, .stride = 12, .n_rows = 0 };
  struct flat_search s = { .metric = VECDB_L2, .type = VECDB_F32, .dim = 3,
                           .runs = &run, .n_runs = 1 };
  struct vdb_hit hit[2], *hits;
  size_t n = 7, n2[2] = { 7, 7 };
  CHECK_RC(VECDB_OK, vdb_flat_knn(&s, query, 2, hit, &n));
  CHECK_U64(0, n);
  CHECK_RC(VECDB_OK, vdb_flat_range(&s, query, &hits, &n));
  CHECK(hits==NULL && n==0);
  CHECK_RC(VECDB_OK, vdb_flat_knn_batch(&s, query, 0, 2, 1, hit, n2));
  CHECK(n2[0]==0 && n2[1]==0);
  CHECK_RC(VECDB_OK, vdb_flat_knn_batch(&s, query, 0, 0, 1, hit, n2));
  s.n_runs = 0;
  CHECK_RC(VECDB_OK, vdb_flat_knn(&s, query, 2, hit, &n));
  CHECK_U64(0, n);
  s.dim = 0;
  CHECK_RC(VECDB_RANGE, vdb_flat_knn(&s, query, 2, hit, &n));
  s.dim = 3;
  s.metric = VECDB_HAMMING;
  CHECK_RC(VECDB_MISMATCH, vdb_flat_knn(&s, query, 0, NULL, &n));
  CHECK_RC(VECDB_MISMATCH, vdb_flat_range(&s, query, &hits, &n));
  CHECK_RC(VECDB_MISMATCH, vdb_flat_knn_batch(&s, query, 0, 1, 1, hit, n2));
}

/* ---- Interrupts, memory, mode -------------------------------------------- */

static int count_down(void *arg){
  int *n = arg;
  return --*n<0;
}
TEST(flat__progress_can_end_a_search){
  enum { N = 20000, DIM = 512 };
  uint8_t *base = vdb_calloc(N, DIM);              /* ten times 1 MiB */
  struct flat_run run = { .vecs = base, .stride = DIM, .n_rows = N };
  struct flat_search s = { .metric = VECDB_L2, .type = VECDB_U8, .dim = DIM,
                           .runs = &run, .n_runs = 1,
                           .progress = count_down };
  struct vdb_hit hit[300], *hits;
  size_t n, n_hit[100];
  int left;
  s.progress_arg = &left;
  for(s.n_thread=1; s.n_thread<=2; s.n_thread++){
    left = 1000;
    CHECK_RC(VECDB_OK, vdb_flat_knn(&s, base, 3, hit, &n));
    CHECK(left<=1000-6 && left>=1000-12);
    left = 2;
    CHECK_RC(VECDB_INTERRUPT, vdb_flat_knn(&s, base, 3, hit, &n));
    CHECK_U64(0, n);
    left = 2;
    CHECK_RC(VECDB_INTERRUPT, vdb_flat_range(&s, base, &hits, &n));
    CHECK(n==0 && hits==NULL);
    left = 2;
    CHECK_RC(VECDB_INTERRUPT, vdb_flat_knn_batch(&s, base, DIM, 100, 3, hit,
                                                 n_hit));
    CHECK_U64(0, n_hit[0]);
  }
  vdb_free(base);
}

/* Fail the n-th allocation for every n; returns how many there were. */
static int fail_each(const struct flat_search *s, const uint8_t *query,
                     size_t stride){
  struct vdb_mem_stats before, after;
  struct vdb_hit hit[60*3], *hits;
  size_t n, n_hit[60];
  int rc = VECDB_NOMEM, n_tried = 0;
  for(int what=0; what<3; what++){
    rc = VECDB_NOMEM;
    for(uint64_t i=1; rc!=VECDB_OK; i++){
      uint64_t n_injected;
      hits = NULL;
      vdb_mem_stats(&before);
      vdb_mem_fail_at(i, i%2);
      if( what==0 ) rc = vdb_flat_knn(s, query, 3, hit, &n);
      else if( what==1 ) rc = vdb_flat_range(s, query, &hits, &n);
      else rc = vdb_flat_knn_batch(s, query, stride, 60, 3, hit, n_hit);
      n_injected = vdb_mem_fail_at(0, false);
      if( rc!=VECDB_OK ){
        CHECK_RC(VECDB_NOMEM, rc);
        CHECK(n_injected>0);
        CHECK(hits==NULL);
        CHECK_U64(0, what<2 ? n : n_hit[0]);
      }
      vdb_free(hits);
      vdb_mem_stats(&after);
      CHECK_U64(before.sz_now, after.sz_now);
      CHECK_U64(before.n_block, after.n_block);
      n_tried++;
      REQUIRE(i<1000);
      /* The pool does without threads when it gets no memory for them, so a
      ** search may succeed although an allocation failed: go on. */
      if( rc==VECDB_OK && n_injected>0 ) rc = VECDB_NOMEM;
    }
  }
  return n_tried;
}
TEST(flat__survives_running_out_of_memory){
  static uint8_t base[9000*500];                  /* enough for threads */
  struct flat_run run = { .vecs = base, .stride = 500, .n_rows = 9000 };
  struct flat_search s = { .metric = VECDB_L2, .type = VECDB_U8, .dim = 500,
                           .runs = &run, .n_runs = 1 };
  struct vdb_rng r;
  int n_tried = 0;
  vdb_rng_init(&r, vt_seed());
  for(size_t i=0; i<sizeof(base); i++) base[i] = (uint8_t)vdb_rng_below(&r, 9);
  s.metric = VECDB_L1;
  run.n_rows = 300;
  n_tried += fail_each(&s, base, 500);
  s.metric = VECDB_L2;
  run.n_rows = 1000;
  n_tried += fail_each(&s, base, 500);
  run.n_rows = 9000;
  s.n_thread = 3;
  n_tried += fail_each(&s, base, 500);
  CHECK(n_tried>60);
}

TEST(flat__ignores_the_floating_point_mode_of_the_host){
#if defined(__x86_64__)
  enum { DIM = 20, N = 300 };
  static float base[N*DIM];
  struct flat_run run = { .vecs = base, .stride = DIM*4, .n_rows = N };
  struct flat_search s = { .metric = VECDB_COSINE, .type = VECDB_F32,
                           .dim = DIM, .runs = &run, .n_runs = 1 };
  struct vdb_hit want[N], got[N];
  size_t n;
  struct vdb_rng r;
  vdb_rng_init(&r, vt_seed());
  for(size_t i=0; i<N*DIM; i++) base[i] = (float)vdb_rng_gauss(&r)*1e-20f;
  CHECK_RC(VECDB_OK, vdb_flat_knn(&s, base, N, want, &n));
  _mm_setcsr(0xffc0);                    /* towards zero, FTZ and DAZ */
  CHECK_RC(VECDB_OK, vdb_flat_knn(&s, base, N, got, &n));
  CHECK_INT(0xffc0, _mm_getcsr() & 0xffc0);
  _mm_setcsr(0x1f80);
  check_hits(want, N, got, n);
#else
  SKIP("the mode of this processor is not tested");
#endif
}

/* ---- Real data ----------------------------------------------------------- */

struct real {
  uint8_t *base, *queries;
  int32_t *truth;                        /* k, then 100 rows, per query */
  uint32_t n, n_query, dim;
  size_t stride;
};

static void *read_vectors(const char *dir, const char *name, size_t sz_element,
                          uint32_t *n, uint32_t *dim){
  char path[4200];
  void *p = NULL;
  FILE *in;
  snprintf(path, sizeof(path), "%s/%s", dir, name);
  in = fopen(path, "rb");
  REQUIRE(in!=NULL);
  if( fread(n, 4, 1, in)==1 && fread(dim, 4, 1, in)==1 ){
    size_t sz = (size_t)*n * *dim * sz_element;
    p = vdb_malloc_aligned(sz);
    REQUIRE(p!=NULL && fread(p, 1, sz, in)==sz);
  }
  fclose(in);
  return p;
}

static void real_open(struct real *d, const char *set, size_t sz_element){
  const char *dir = vt_data(set);
  char path[4200];
  uint32_t dim;
  FILE *in;
  if( dir==NULL ) SKIP("no data set %s", set);
  d->base = read_vectors(dir, sz_element==4 ? "base.fbin" : "base.u8bin",
                         sz_element, &d->n, &d->dim);
  d->queries = read_vectors(dir, sz_element==4 ? "query.fbin"
                            : "query.u8bin", sz_element, &d->n_query, &dim);
  d->stride = d->dim*sz_element;
  snprintf(path, sizeof(path), "%s/gt.ivecs", dir);
  in = fopen(path, "rb");
  d->truth = vdb_malloc_array(d->n_query, 101*4);
  REQUIRE(in && fread(d->truth, 404, d->n_query, in)==d->n_query);
  fclose(in);
}

static void real_close(struct real *d){
  vdb_free_aligned(d->base);
  vdb_free_aligned(d->queries);
  vdb_free(d->truth);
}

/* The distance at every rank is that of the true neighbour, up to `slack`. */
static void check_truth(const struct real *d, const struct flat_search *s,
                        size_t query, const struct vdb_hit *hit, size_t n_hit,
                        double slack){
  const int32_t *truth = d->truth + query*101 + 1;
  CHECK_U64(100, n_hit);
  for(size_t i=0; i<n_hit; i++){
    float want = vdb_distance(s->metric, s->type, d->queries+query*d->stride,
                              d->base + (size_t)truth[i]*d->stride, s->dim);
    if( !CHECK_DBL(want, hit[i].distance, slack) ){
      FAIL("query %zu, rank %zu", query, i);
      return;
    }
  }
}

static void check_real(const char *set, int type, int metric, double slack,
                       size_t n_query){
  struct real d;
  struct flat_run run = {0};
  struct flat_search s = { .metric = metric, .type = type, .runs = &run,
                           .n_runs = 1, .n_thread = 2 };
  struct vdb_hit *hit, one[100];
  size_t *n_hit, n_one;

  real_open(&d, set, type==VECDB_F32 ? 4 : 1);
  run.vecs = d.base;
  run.stride = d.stride;
  run.n_rows = d.n;
  s.dim = d.dim;
  if( vt_scale()>1 || n_query>d.n_query ) n_query = d.n_query;
  hit = vdb_malloc_array(n_query*100, sizeof(hit[0]));
  n_hit = vdb_malloc_array(n_query, sizeof(n_hit[0]));
  CHECK_RC(VECDB_OK, vdb_flat_knn_batch(&s, d.queries, d.stride, n_query, 100,
                                        hit, n_hit));
  for(size_t i=0; i<n_query; i++){
    check_truth(&d, &s, i, hit+i*100, n_hit[i], slack);
    if( i%(n_query/16)!=0 ) continue;
    CHECK_RC(VECDB_OK, vdb_flat_knn(&s, d.queries+i*d.stride, 100, one,
                                    &n_one));
    check_hits(one, n_one, hit+i*100, n_hit[i]);
  }
  vdb_free(hit);
  vdb_free(n_hit);
  real_close(&d);
}
TEST(flat__is_exact_on_fashion_mnist){
  check_real("fashion-mnist-784-euclidean", VECDB_U8, VECDB_L2, 0, 200);
}
TEST(flat__is_exact_on_sift){
  check_real("sift-photos-100k", VECDB_U8, VECDB_L2, 0, 200);
}
TEST(flat__is_exact_on_wordnet){
  /* The truth was sorted in double precision; neighbours whose distances
  ** differ by less than our rounding may have changed places. */
  check_real("wordnet-glosses-lsi-256", VECDB_F32, VECDB_COSINE, 5e-7, 100);
}
