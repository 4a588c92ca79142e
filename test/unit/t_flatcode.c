/* t_flatcode.c -- exact search by codes: the bits of the plain scan, whatever
** the rows are; codes with the same bytes everywhere; rows and runs that are
** fetched when they are wanted.
*/
#include "vt.h"

#include <math.h>

#include "index/flat_code.h"
#include "index/index.h"
#include "pager/format.h"
#include "simd/code.h"
#include "simd/simd.h"
#include "util/bitset.h"
#include "util/bytes.h"
#include "util/mem.h"
#include "util/rng.h"

enum { RUNS = 4, N_CODED = 3, ROWS = 640, SLOTS = 4096, DIM_MAX = 330 };

/* ---- Rows of many kinds -------------------------------------------------- */

enum { KIND_GAUSS, KIND_CLUSTERS, KIND_GRID, KIND_HUGE, KIND_TINY,
       KIND_ONE_HOT, KIND_FAR, KIND_MIXED, N_KIND };

static void kind_row(struct vdb_rng *r, int kind, size_t dim, float *x){
  float scale = 1, at = 0;
  uint32_t c = vdb_rng_below(r, 5);
  if( kind==KIND_MIXED ) kind = (int)vdb_rng_below(r, KIND_MIXED);
  if( kind==KIND_HUGE ) scale = vdb_rng_below(r, 2) ? 3e17f : 1e14f;
  if( kind==KIND_TINY ) scale = vdb_rng_below(r, 2) ? 1e-41f : 1e-16f;
  if( kind==KIND_FAR ) at = 1e4f;
  for(size_t i=0; i<dim; i++){
    float g = (float)vdb_rng_gauss(r);
    x[i] = at + scale*g;
    if( kind==KIND_CLUSTERS ){
      x[i] = (float)((i*7919 + c*104729)%13) + 0.01f*g;
    }
    if( kind==KIND_GRID ) x[i] = (float)vdb_rng_below(r, 2);
    if( kind==KIND_ONE_HOT ) x[i] = 0;
  }
  if( kind==KIND_ONE_HOT ) x[vdb_rng_below(r, (uint32_t)dim)] = 1 + (float)c;
  if( vdb_rng_below(r, 40)==0 ) memset(x, 0, dim*sizeof(*x));
}

static void put_row(int type, const float *x, size_t dim, uint8_t *out){
  if( type==VECDB_F32 ) memcpy(out, x, dim*4);
  if( type==VECDB_F16 || type==VECDB_BF16 ){
    uint16_t h[DIM_MAX];
    if( type==VECDB_F16 ) vdb_f16_from_f32(x, h, dim);
    else vdb_bf16_from_f32(x, h, dim);
    for(size_t i=0; i<dim; i++){                 /* no infinities */
      if( (h[i] & 0x7fff)>=(type==VECDB_F16 ? 0x7c00 : 0x7f80) ) h[i] = 0;
    }
    memcpy(out, h, dim*2);
  }
}

/* ---- A search with codes, and the same without --------------------------- */

struct world {
  struct flat_search coded, plain;
  struct flat_run run[RUNS], bare[RUNS];
  struct flat_coder *coder;
  int bits;
  uint8_t *vecs[RUNS];
  unsigned char *codes[RUNS];
  slot_no *slots[RUNS];
  uint64_t live[SLOTS/64], filter[SLOTS/64];
  struct flat_window window;
  uint8_t query[DIM_MAX*4];
};

static int slots_backwards(void *arg, slot_no a, slot_no b){
  (void)arg;
  return a>b ? -1 : a<b;
}

static void world_add_run(struct world *w, struct vdb_rng *r, int kind, int i,
                          slot_no *slot){
  struct flat_run *run = &w->run[i];
  size_t dim = w->coded.dim, sz = vdb_vector_bytes(w->coded.type, dim);
  float x[DIM_MAX];
  run->n_rows = ROWS - vdb_rng_below(r, 50);
  run->stride = sz;
  run->slot_base = *slot;
  w->vecs[i] = vdb_malloc(run->n_rows*sz);
  run->vecs = w->vecs[i];
  for(size_t j=0; j<run->n_rows; j++){
    kind_row(r, kind, dim, x);
    put_row(w->coded.type, x, dim, w->vecs[i] + j*sz);
    if( j>0 && vdb_rng_below(r, 30)==0 ){                     /* a duplicate */
      memcpy(w->vecs[i] + j*sz, w->vecs[i] + (j-1)*sz, sz);
    }
  }
  if( i==1 ){
    w->slots[i] = vdb_malloc_array(run->n_rows, sizeof(slot_no));
    for(size_t j=0; j<run->n_rows; j++){
      w->slots[i][j] = *slot;
      *slot += 1 + (vdb_rng_below(r, 9)==0);
    }
    run->slots = w->slots[i];
  }else{
    *slot += run->n_rows;
  }
  run->live = w->live;
}

static void world_encode(struct world *w, unsigned n_thread){
  size_t dim = w->coded.dim;
  float *centre = vdb_malloc_array(dim, sizeof(float));
  const struct flat_search *s = &w->coded;
  CHECK_RC(VECDB_OK, vdb_flat_code_centre(s->metric, s->type, dim,
                     w->vecs[0], w->run[0].stride, w->run[0].n_rows, centre));
  CHECK_RC(VECDB_OK, vdb_flat_coder_create(s->metric, s->type, dim, w->bits,
                                           centre, &w->coder));
  for(int i=0; i<N_CODED; i++){
    size_t n = w->run[i].n_rows;
    w->codes[i] = vdb_malloc_aligned(vdb_flat_code_units(n)*
                                     vdb_flat_code_unit(dim, w->bits));
    CHECK_RC(VECDB_OK, vdb_flat_encode(w->coder, w->vecs[i],
                             w->run[i].stride, n, n_thread, w->codes[i]));
    w->run[i].codes = w->codes[i];
    w->run[i].n_codes = (uint32_t)n;
  }
  w->coded.coder = w->coder;
  vdb_free(centre);
}

static void world_init(struct world *w, struct vdb_rng *r, int metric,
                       int type, size_t dim, int kind){
  slot_no slot = vdb_rng_below(r, 70);
  float x[DIM_MAX];
  memset(w, 0, sizeof(*w));
  w->bits = kind==KIND_MIXED || vdb_rng_below(r, 4) ? 6 : 4;
  w->coded.metric = metric;
  w->coded.type = type;
  w->coded.dim = dim;
  for(size_t i=0; i<SLOTS/64; i++){
    w->live[i] = vdb_rng_u64(r) | vdb_rng_u64(r) | vdb_rng_u64(r);
    w->filter[i] = vdb_rng_u64(r) & (i%4 ? ~(uint64_t)0 : 1);
  }
  for(int i=0; i<RUNS; i++) world_add_run(w, r, kind, i, &slot);
  REQUIRE(slot<SLOTS);
  world_encode(w, 1);
  w->coded.runs = w->run;
  w->coded.n_runs = RUNS;
  memcpy(w->bare, w->run, sizeof(w->run));
  for(int i=0; i<RUNS; i++) w->bare[i].n_codes = 0;
  w->plain = w->coded;
  w->plain.coder = NULL;
  w->plain.runs = w->bare;
  kind_row(r, kind, dim, x);
  put_row(type, x, dim, w->query);
}

static void world_clear(struct world *w){
  for(int i=0; i<RUNS; i++){
    vdb_free(w->vecs[i]);
    vdb_free(w->slots[i]);
    vdb_free_aligned(w->codes[i]);
  }
  vdb_flat_coder_unref(w->coder);
}

static void check_same(const struct vdb_hit *want, size_t n_want,
                       const struct vdb_hit *got, size_t n_got){
  if( !CHECK_U64(n_want, n_got) ) return;
  for(size_t i=0; i<n_want; i++){
    if( want[i].slot==got[i].slot
     && memcmp(&want[i].distance, &got[i].distance, 4)==0 ) continue;
    FAIL("rank %zu is slot %u at %.9g, expected %u at %.9g", i, got[i].slot,
         (double)got[i].distance, want[i].slot, (double)want[i].distance);
    return;
  }
}

static void check_knn(struct world *w, size_t k){
  struct vdb_hit *a = vdb_malloc_array(k, sizeof(*a));
  struct vdb_hit *b = vdb_malloc_array(k, sizeof(*b));
  size_t n_a = 0, n_b = 0;
  CHECK_RC(VECDB_OK, vdb_flat_knn(&w->plain, w->query, k, a, &n_a));
  CHECK_RC(VECDB_OK, vdb_flat_knn(&w->coded, w->query, k, b, &n_b));
  check_same(a, n_a, b, n_b);
  vdb_free(a);
  vdb_free(b);
}

static void check_range(struct world *w){
  struct vdb_hit *a, *b;
  size_t n_a, n_b;
  CHECK_RC(VECDB_OK, vdb_flat_range(&w->plain, w->query, &a, &n_a));
  CHECK_RC(VECDB_OK, vdb_flat_range(&w->coded, w->query, &b, &n_b));
  check_same(a, n_a, b, n_b);
  vdb_free(a);
  vdb_free(b);
}

/* A window with a bound that is the distance of some row. */
static void choose_window(struct world *w, struct vdb_rng *r, bool has_min){
  struct vdb_hit hit[100];
  size_t n;
  CHECK_RC(VECDB_OK, vdb_flat_knn(&w->plain, w->query, 100, hit, &n));
  if( n<10 ) return;
  vdb_window_init(&w->window,
                  has_min ? (double)hit[3].distance : -INFINITY, false,
                  (double)hit[vdb_rng_below(r, (uint32_t)n)].distance,
                  vdb_rng_below(r, 2));
  w->plain.window = w->coded.window = &w->window;
}

static void random_search(struct vdb_rng *r, int metric, int type, int kind){
  size_t dims[] = { 64, 65, 96, 128, 200, 320, DIM_MAX };
  struct world w;
  world_init(&w, r, metric, type, dims[vdb_rng_below(r, 7)], kind);
  if( vdb_rng_below(r, 2) ) w.plain.tie = w.coded.tie = slots_backwards;
  if( vdb_rng_below(r, 2) ){            /* a query that is one of the rows */
    memcpy(w.query, w.vecs[2], w.run[2].stride);
  }
  if( vdb_rng_below(r, 2) ) w.plain.filter = w.coded.filter = w.filter;
  check_knn(&w, 1);
  check_knn(&w, 10);
  check_knn(&w, 190);
  choose_window(&w, r, false);
  check_range(&w);
  check_knn(&w, 20);
  choose_window(&w, r, true);
  check_range(&w);
  check_knn(&w, 20);
  world_clear(&w);
}

static void check_searches_on(const char *isa){
  const char *old = vdb_simd()->name;
  struct vdb_rng r;
  if( vdb_simd_find(isa)==NULL ) SKIP("no %s here", isa);
  vdb_simd_select(isa);
  vdb_rng_init(&r, vt_seed());
  for(int round=0; round<vt_scale(); round++){
    for(int kind=0; kind<N_KIND; kind++){
      for(int metric=VECDB_L2; metric<=VECDB_IP; metric++){
        int type = VECDB_F32 + (int)vdb_rng_below(&r, 3);
        random_search(&r, metric, type, kind);
      }
    }
  }
  vdb_simd_select(old);
}
TEST(flatcode__equals_the_plain_scan_scalar){ check_searches_on("scalar"); }
TEST(flatcode__equals_the_plain_scan_avx2){ check_searches_on("avx2"); }
TEST(flatcode__equals_the_plain_scan_avx512){ check_searches_on("avx512"); }

/* ---- The bound ----------------------------------------------------------- */

/* Without the bound the equality above would hold as well, slowly: on rows
** that are spread evenly few may be left to compute. */
struct count { const struct flat_run *run; size_t n_row, n_open; };
static int count_open(void *arg, const struct flat_run *run){
  struct count *k = arg;
  (void)run;
  k->n_open++;
  return VECDB_OK;
}
static int count_touch(void *arg, const struct flat_run *run, size_t i,
                       size_t n){
  struct count *k = arg;
  (void)run;
  (void)i;
  k->n_row += n;
  return VECDB_OK;
}

static void check_rest(int metric, int kind, size_t k, size_t n_most){
  struct count count = { NULL, 0, 0 };
  struct flat_source source = { count_open, count_touch, &count };
  struct vdb_hit hit[10];
  struct vdb_rng r;
  struct world w;
  size_t n;
  vdb_rng_init(&r, 5);
  world_init(&w, &r, metric, VECDB_F32, 256, kind);
  w.coded.n_runs = N_CODED;
  w.coded.source = &source;
  CHECK_RC(VECDB_OK, vdb_flat_knn(&w.coded, w.query, k, hit, &n));
  if( count.n_row>n_most ) FAIL("%zu rows were computed", count.n_row);
  world_clear(&w);
}
TEST(flatcode__few_rows_are_computed){
  check_rest(VECDB_L2, KIND_GAUSS, 1, 250);
  check_rest(VECDB_COSINE, KIND_GAUSS, 1, 250);
  check_rest(VECDB_IP, KIND_GAUSS, 1, 250);
  check_rest(VECDB_L2, KIND_FAR, 10, 400);
}

/* ---- Bytes --------------------------------------------------------------- */

TEST(flatcode__bytes_are_the_same_everywhere){
  const char *isa[] = { "scalar", "avx2", "avx512" };
  const char *old = vdb_simd()->name;
  unsigned char *want = NULL;
  struct vdb_rng r;
  struct world w;
  size_t sz = 0;
  for(size_t i=0; i<VDB_ARRAY_LEN(isa); i++){
    if( vdb_simd_find(isa[i])==NULL ) continue;
    vdb_simd_select(isa[i]);
    for(unsigned n_thread=1; n_thread<4; n_thread++){
      vdb_rng_init(&r, 9);
      world_init(&w, &r, VECDB_COSINE, VECDB_F32, 200, KIND_MIXED);
      sz = vdb_flat_code_units(w.run[0].n_rows)*vdb_flat_code_unit(200, 6);
      CHECK_RC(VECDB_OK, vdb_flat_encode(w.coder, w.vecs[0],
               w.run[0].stride, w.run[0].n_rows, n_thread, w.codes[0]));
      if( want==NULL ){
        want = vdb_malloc(sz);
        memcpy(want, w.codes[0], sz);
      }
      CHECK(memcmp(want, w.codes[0], sz)==0);
      world_clear(&w);
    }
  }
  vdb_free(want);
  vdb_simd_select(old);
}

/* s and tan in doubles, from the bytes themselves. */
TEST(flatcode__factors_bound_the_error_of_codes){
  enum { DIM = 128 };
  const struct vdb_code_simd *simd = vdb_code_simd();
  _Alignas(64) float rr[DIM];
  uint8_t high[DIM];
  struct vdb_rng r;
  struct world w;
  vdb_rng_init(&r, vt_seed());
  world_init(&w, &r, VECDB_L2, VECDB_F32, DIM, KIND_GAUSS);
  for(size_t i=0; i<w.run[0].n_rows; i++){
    const unsigned char *unit = w.codes[0] + i/32*vdb_flat_code_coarse(DIM);
    const unsigned char *f = unit + 16*DIM + 4*(i%32);
    double n2 = 0, xr = 0, err = 0, s = -(double)get_f32(f+FLATCODE_RESC)/2;
    double tan = (double)get_f32(f+FLATCODE_TAN);
    if( isinf(tan) ) continue;
    vdb_flat_code_vector(w.coder, w.vecs[0] + i*w.run[0].stride, true, rr);
    simd->rotate(w.coder->sign, DIM, rr);
    vdb_code_get(unit, i%32, DIM, 4, high);
    for(size_t j=0; j<DIM; j++){
      double x = 4.0*high[j] - 30, e = s*x - (double)rr[j];
      n2 += (double)rr[j]*(double)rr[j];
      xr += x*(double)rr[j];
      err += e*e;
    }
    CHECK(fabs(n2 - (double)get_f32(f+FLATCODE_NORM2))<1e-5*n2);
    CHECK(fabs(s*xr - n2)<1e-4*n2);
    CHECK(sqrt(err)<=tan*(1+1e-6) && tan<=sqrt(err)*1.01);
  }
  world_clear(&w);
}

TEST(flatcode__low_halves_and_bounds_agree_on_all_paths){
  enum { N = 192 };
  const char *isa[] = { "avx2", "avx512" };
  const char *old = vdb_simd()->name;
  _Alignas(64) uint8_t factor[512];
  _Alignas(64) float est[2][32];
  _Alignas(64) int32_t ip[32];
  uint8_t low[N/4];
  int8_t q[N];
  struct vdb_code_bound b = { 1, 2, 1, .01f, .2f, .1f, -3, 4 };
  struct vdb_rng r;
  uint32_t want;
  int32_t dot;
  vdb_rng_init(&r, vt_seed());
  for(int round=0; round<50; round++){
    for(int i=0; i<N/4; i++) low[i] = (uint8_t)vdb_rng_u64(&r);
    for(int i=0; i<N; i++) q[i] = (int8_t)((int)vdb_rng_below(&r, 255)-127);
    for(int i=0; i<32; i++) ip[i] = (int32_t)vdb_rng_below(&r, 999);
    for(int i=0; i<128; i++){
      put_f32(factor+4*i, (float)vdb_rng_gauss(&r));
      if( vdb_rng_below(&r, 20)==0 ) put_f32(factor+4*i, INFINITY);
    }
    vdb_simd_select("scalar");
    dot = vdb_code_simd()->dot_low(low, q, N);
    want = vdb_code_simd()->bounds(&b, factor, ip, est[0]);
    for(size_t i=0; i<VDB_ARRAY_LEN(isa); i++){
      if( vdb_simd_select(isa[i])!=VECDB_OK ) continue;
      CHECK_INT(dot, vdb_code_simd()->dot_low(low, q, N));
      CHECK_U64(want, vdb_code_simd()->bounds(&b, factor, ip, est[1]));
    }
  }
  vdb_simd_select(old);
}

/* ---- Rows that come when they are wanted --------------------------------- */

/* Runs are closed and rows are rubbish until they have been asked for. */
struct lazy {
  struct flat_run *run;
  const struct flat_run *whole;
  uint8_t *bytes[RUNS];
  size_t n_open;
  int fail_at;                           /* calls until one fails; 0: none */
};
static int lazy_open(void *arg, const struct flat_run *run){
  struct lazy *z = arg;
  size_t i = (size_t)(run - z->run);
  if( z->fail_at>0 && --z->fail_at==0 ) return VECDB_IOERR_READ;
  z->n_open++;
  z->run[i] = z->whole[i];
  z->run[i].vecs = z->bytes[i];
  return VECDB_OK;
}
static int lazy_touch(void *arg, const struct flat_run *run, size_t i,
                      size_t n){
  struct lazy *z = arg;
  size_t at = (size_t)(run - z->run);
  if( z->fail_at>0 && --z->fail_at==0 ) return VECDB_IOERR_READ;
  memcpy(z->bytes[at] + i*run->stride,
         (const uint8_t*)z->whole[at].vecs + i*run->stride, n*run->stride);
  return VECDB_OK;
}

static void lazy_close(struct lazy *z){
  for(int i=0; i<RUNS; i++){
    z->run[i] = z->whole[i];
    z->run[i].vecs = NULL;
    z->run[i].slots = NULL;
    z->run[i].codes = NULL;
    z->run[i].slot_last = z->whole[i].slots
        ? z->whole[i].slots[z->whole[i].n_rows-1]
        : z->whole[i].slot_base + z->whole[i].n_rows-1;
    memset(z->bytes[i], 0xff, z->whole[i].n_rows*z->whole[i].stride);
  }
}

static void lazy_init(struct lazy *z, struct world *w, struct flat_run *whole,
                      struct flat_source *source){
  memset(z, 0, sizeof(*z));
  memcpy(whole, w->run, sizeof(w->run));
  z->run = w->run;
  z->whole = whole;
  for(int i=0; i<RUNS; i++){
    z->bytes[i] = vdb_malloc(whole[i].n_rows*whole[i].stride);
  }
  source->open = lazy_open;
  source->touch = lazy_touch;
  source->arg = z;
  w->coded.source = source;
  lazy_close(z);
}

static void lazy_clear(struct lazy *z){
  memcpy(z->run, z->whole, RUNS*sizeof(*z->run));
  for(int i=0; i<RUNS; i++) vdb_free(z->bytes[i]);
}

static void check_lazy(struct vdb_rng *r, bool has_codes, bool has_filter){
  struct flat_run whole[RUNS];
  struct flat_source source;
  struct lazy z;
  struct world w;
  world_init(&w, r, VECDB_L2, VECDB_F32, 96, KIND_GAUSS);
  if( !has_codes ) for(int i=0; i<RUNS; i++) w.run[i].n_codes = 0;
  if( has_filter ) w.plain.filter = w.coded.filter = w.filter;
  lazy_init(&z, &w, whole, &source);
  check_knn(&w, 10);
  lazy_close(&z);
  check_knn(&w, 1);
  lazy_close(&z);
  choose_window(&w, r, false);
  check_range(&w);
  lazy_clear(&z);
  world_clear(&w);
}
TEST(flatcode__rows_are_asked_for_before_they_are_read){
  struct vdb_rng r;
  vdb_rng_init(&r, vt_seed());
  for(int i=0; i<4; i++) check_lazy(&r, i%2, i/2);
}

/* Few rows pass, all in one run: the others stay closed. */
TEST(flatcode__runs_without_a_passing_row_are_not_opened){
  struct flat_run whole[RUNS];
  struct flat_source source;
  struct vdb_rng r;
  struct lazy z;
  struct world w;
  slot_no at;
  vdb_rng_init(&r, vt_seed());
  world_init(&w, &r, VECDB_L2, VECDB_F32, 96, KIND_GAUSS);
  memset(w.filter, 0, sizeof(w.filter));
  at = w.run[2].slot_base + 5;
  vdb_bit_set(w.filter, at);
  vdb_bit_set(w.filter, at+300);
  w.plain.filter = w.coded.filter = w.filter;
  lazy_init(&z, &w, whole, &source);
  check_knn(&w, 5);
  CHECK_U64(1, z.n_open);
  for(int i=0; i<RUNS; i++) w.run[i].n_codes = 0;
  for(int i=0; i<RUNS; i++) whole[i].n_codes = 0;
  z.n_open = 0;
  lazy_close(&z);
  check_knn(&w, 5);
  CHECK_U64(1, z.n_open);
  lazy_clear(&z);
  world_clear(&w);
}

TEST(flatcode__a_row_that_cannot_be_had_ends_the_search){
  struct flat_run whole[RUNS];
  struct flat_source source;
  struct vdb_hit hit[10];
  struct vdb_rng r;
  struct lazy z;
  struct world w;
  size_t n, n_failed = 0;
  int rc = VECDB_IOERR_READ;
  vdb_rng_init(&r, vt_seed());
  world_init(&w, &r, VECDB_L2, VECDB_F32, 96, KIND_GAUSS);
  lazy_init(&z, &w, whole, &source);
  for(int i=1; rc!=VECDB_OK && i<4000; i+=1+i/8){
    lazy_close(&z);
    z.fail_at = i;
    rc = vdb_flat_knn(&w.coded, w.query, 10, hit, &n);
    n_failed += rc!=VECDB_OK;
    if( rc!=VECDB_OK ) CHECK_RC(VECDB_IOERR_READ, rc);
    if( rc!=VECDB_OK ) CHECK_U64(0, n);
  }
  CHECK_RC(VECDB_OK, rc);
  CHECK(n_failed>4);
  lazy_clear(&z);
  world_clear(&w);
}

/* ---- Trouble ------------------------------------------------------------- */

TEST(flatcode__survives_running_out_of_memory){
  struct vdb_mem_stats before, after;
  struct vdb_hit hit[10];
  struct vdb_rng r;
  struct world w;
  size_t n, n_failed = 0;
  int rc = VECDB_NOMEM;
  vdb_rng_init(&r, vt_seed());
  world_init(&w, &r, VECDB_L2, VECDB_F32, 96, KIND_GAUSS);
  for(uint64_t i=1; rc!=VECDB_OK && i<100; i++){
    vdb_mem_stats(&before);
    vdb_mem_fail_at(i, false);
    rc = vdb_flat_knn(&w.coded, w.query, 10, hit, &n);
    vdb_mem_fail_at(0, false);
    vdb_mem_stats(&after);
    CHECK_U64(before.sz_now, after.sz_now);
    if( rc!=VECDB_OK ) CHECK_RC(VECDB_NOMEM, rc);
    n_failed += rc!=VECDB_OK;
  }
  CHECK_RC(VECDB_OK, rc);
  CHECK(n_failed>=4);
  rc = VECDB_NOMEM;
  for(uint64_t i=1; rc!=VECDB_OK && i<100; i++){
    vdb_mem_fail_at(i, false);
    rc = vdb_flat_encode(w.coder, w.vecs[0], w.run[0].stride, 100, 1,
                         w.codes[0]);
    vdb_mem_fail_at(0, false);
    if( rc!=VECDB_OK ) CHECK_RC(VECDB_NOMEM, rc);
  }
  CHECK_RC(VECDB_OK, rc);
  world_clear(&w);
}

static int stop_at_once(void *arg){
  ++*(int*)arg;
  return 1;
}
TEST(flatcode__progress_can_end_a_search){
  struct vdb_hit hit[10];
  struct vdb_rng r;
  struct flat_run many[5*N_CODED];               /* more than a MiB of codes */
  struct world w;
  int n_call = 0;
  size_t n;
  vdb_rng_init(&r, vt_seed());
  world_init(&w, &r, VECDB_L2, VECDB_F32, 330, KIND_GAUSS);
  for(int i=0; i<5*N_CODED; i++) many[i] = w.run[i%N_CODED];
  w.coded.runs = many;
  w.coded.n_runs = VDB_ARRAY_LEN(many);
  w.coded.progress = stop_at_once;
  w.coded.progress_arg = &n_call;
  CHECK_RC(VECDB_INTERRUPT, vdb_flat_knn(&w.coded, w.query, 10, hit, &n));
  CHECK_INT(1, n_call);
  CHECK_U64(0, n);
  world_clear(&w);
}

TEST(flatcode__coders_survive_running_out_of_memory){
  struct vdb_mem_stats before, after;
  struct flat_coder *coder = NULL;
  static float rows[100*96], centre[96];
  struct vdb_rng r;
  int rc = VECDB_NOMEM;
  uint64_t i;
  vdb_rng_init(&r, vt_seed());
  for(size_t j=0; j<VDB_ARRAY_LEN(rows); j++){
    rows[j] = (float)vdb_rng_gauss(&r);
  }
  vdb_mem_stats(&before);
  for(i=1; rc!=VECDB_OK; i++){
    vdb_mem_fail_at(i, false);
    rc = vdb_flat_code_centre(VECDB_COSINE, VECDB_F32, 96, rows, 384, 100,
                              centre);
    if( rc==VECDB_OK ){
      rc = vdb_flat_coder_create(VECDB_COSINE, VECDB_F32, 96, 6, centre,
                                 &coder);
    }
    vdb_mem_fail_at(0, false);
    if( rc!=VECDB_OK ) CHECK_RC(VECDB_NOMEM, rc);
    CHECK((rc==VECDB_OK)==(coder!=NULL));
    vdb_flat_coder_unref(coder);
    vdb_mem_stats(&after);
    CHECK_U64(before.sz_now, after.sz_now);
  }
  CHECK_U64(8, i);                               /* six places and none */
}

TEST(flatcode__says_what_it_is_for){
  CHECK(vdb_flat_code_fits(VECDB_L2, VECDB_F32, 96));
  CHECK(vdb_flat_code_fits(VECDB_IP, VECDB_F16, 96));
  CHECK(vdb_flat_code_fits(VECDB_COSINE, VECDB_BF16, 96));
  CHECK(!vdb_flat_code_fits(VECDB_L1, VECDB_F32, 96));
  CHECK(!vdb_flat_code_fits(VECDB_L2, VECDB_I8, 96));
  CHECK(!vdb_flat_code_fits(VECDB_L2, VECDB_F32, FLAT_CODE_DIM_MIN-1));
  CHECK(!vdb_flat_code_fits(VECDB_L2, VECDB_F32, VDB_DIM_MAX+1));
}
