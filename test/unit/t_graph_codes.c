/* t_graph_codes.c -- codes of a graph's rows: which rows they leave out.
*/
#include "vt.h"

#include <math.h>

#include "index/graph.h"
#include "pager/format.h"
#include "simd/code.h"
#include "simd/simd.h"
#include "util/bitset.h"
#include "util/bytes.h"
#include "util/mem.h"
#include "util/rng.h"

enum { FIRST = 37, SHIFT = 7, EXTENTS_MAX = 64, K = 10 };

/* ---- Kernels ------------------------------------------------------------- */

static int code_element(const uint8_t *code, int bits, size_t i){
  const uint8_t *run = code + i/64*8*(size_t)bits;
  size_t j = i%64;
  return bits==1 ? run[j/8]>>(j%8) & 1 : run[j%16]>>(j/16*2) & 3;
}

TEST(graph_codes__products_are_right_on_all_paths){
  static const char *const isa[] = { "scalar", "avx2", "avx512" };
  const char *old = vdb_simd()->name;
  enum { DIMS = 576, N = 64 };
  static uint8_t code[N][DIMS/4];
  static int8_t q[DIMS];
  const uint8_t *row[N];
  struct vdb_rng r;
  vdb_rng_init(&r, vt_seed());
  for(size_t dims=64; dims<=DIMS; dims+=64){
    for(int bits=1; bits<=2; bits++){
      size_t n = 1 + vdb_rng_below(&r, N);
      for(size_t i=0; i<N; i++){
        row[i] = code[i];
        for(size_t j=0; j<DIMS/4; j++) code[i][j] = (uint8_t)vdb_rng_u64(&r);
      }
      for(size_t i=0; i<dims; i++){
        q[i] = (int8_t)((int)vdb_rng_below(&r, 255)-127);
      }
      for(size_t p=0; p<VDB_ARRAY_LEN(isa); p++){
        int32_t ip[N+1] = { 0 };
        if( vdb_simd_select(isa[p])!=VECDB_OK ) continue;
        ip[n] = 12345;
        vdb_code_simd()->dot_rows(q, dims, bits, row, n, ip);
        for(size_t i=0; i<n; i++){
          int32_t want = 0;
          for(size_t j=0; j<dims; j++){
            want += q[j]*code_element(code[i], bits, j);
          }
          CHECK_INT(want, ip[i]);
        }
        CHECK_INT(12345, ip[n]);
      }
    }
  }
  vdb_simd_select(old);
}

TEST(graph_codes__ranks_are_the_same_on_all_paths){
  static const char *const isa[] = { "avx2", "avx512" };
  const char *old = vdb_simd()->name;
  _Alignas(64) float est[2][64], low[2][64];
  struct vdb_rank k = { 0.01f, -3, 7, 0.1f, 0.2f, 0.01f };
  uint16_t fit[64];
  int32_t ip[64];
  struct vdb_rng r;
  vdb_rng_init(&r, vt_seed());
  for(int round=0; round<50; round++){
    uint64_t want;
    for(int i=0; i<64; i++){
      fit[i] = (uint16_t)(vdb_rng_u64(&r) & 0x3ff) + (28u<<10);
      if( vdb_rng_below(&r, 20)==0 ) fit[i] = VDB_RANK_NONE;
      ip[i] = (int32_t)vdb_rng_below(&r, 9999) - 5000;
    }
    vdb_simd_select("scalar");
    want = vdb_code_simd()->rank(&k, fit, ip, 64, 5, est[0], low[0]);
    for(int i=0; i<64; i++){
      CHECK((want>>i & 1)==(low[0][i]<5));
      CHECK((fit[i]==VDB_RANK_NONE)==(est[0][i]==-INFINITY));
    }
    for(size_t p=0; p<VDB_ARRAY_LEN(isa); p++){
      if( vdb_simd_select(isa[p])!=VECDB_OK ) continue;
      CHECK_U64(want, vdb_code_simd()->rank(&k, fit, ip, 64, 5, est[1],
                                            low[1]));
      CHECK_INT(0, memcmp(est[0], est[1], sizeof(est[0])));
      CHECK_INT(0, memcmp(low[0], low[1], sizeof(low[0])));
    }
  }
  vdb_simd_select(old);
}

/* ---- An index and its codes ---------------------------------------------- */

struct coded {
  uint32_t n, d;
  float *x;
  unsigned char *codes[EXTENTS_MAX];     /* of 1<<SHIFT rows */
  struct vdb_graph_codes c;
  unsigned char *blocks[EXTENTS_MAX], *header;
  uint32_t n_block[EXTENTS_MAX], stride, n_group;
  struct vdb_graph *g;
  struct vdb_graph_searcher *s;
};

static int coded_fetch(void *arg, uint32_t i, float *vec){
  const struct coded *t = arg;
  memcpy(vec, t->x + (size_t)i*t->d, t->d*sizeof(float));
  return VECDB_OK;
}
static int coded_group(void *arg, uint32_t i_group, const void *blocks,
                       uint32_t n, uint32_t stride){
  struct coded *t = arg;
  if( i_group>=EXTENTS_MAX ) return VECDB_MISUSE;
  t->blocks[i_group] = vdb_malloc_aligned((size_t)n*stride);
  memcpy(t->blocks[i_group], blocks, (size_t)n*stride);
  t->n_block[i_group] = n;
  t->stride = stride;
  t->n_group = i_group+1;
  return VECDB_OK;
}
static int coded_header(void *arg, const void *bytes, size_t sz){
  struct coded *t = arg;
  t->header = vdb_memdup(bytes, sz);
  return t->header ? vdb_graph_open(bytes, sz, &t->g) : VECDB_NOMEM;
}

static uint32_t extent_rows(const struct coded *t, uint32_t i_row){
  uint32_t left = t->n - (i_row>>SHIFT<<SHIFT);
  return left<(1u<<SHIFT) ? left : 1u<<SHIFT;
}

/* Row i of x has the number FIRST+i; rows whose number is divisible by
** `without` get no code. */
static void coded_make(struct coded *t, const struct vdb_graph_opts *o,
                       uint32_t without){
  uint32_t *row = vdb_malloc_array(t->n, sizeof(*row));
  struct vdb_graph_source src = { t->n, t->d, coded_fetch, row, NULL, t };
  struct vdb_graph_sink sink = { coded_group, coded_header, NULL, t, NULL };
  struct vdb_graph_coder *k;
  uint32_t stride;
  for(uint32_t i=0; i<t->n; i++) row[i] = FIRST+i;
  REQUIRE_RC(VECDB_OK, vdb_graph_build(&src, o, &sink));
  REQUIRE_RC(VECDB_OK, vdb_graph_searcher_create(t->g, &t->s));
  REQUIRE_RC(VECDB_OK, vdb_graph_coder_create(t->g, &k));
  stride = vdb_graph_code_stride(t->g);
  for(uint32_t at=0; at<t->n; at+=1u<<SHIFT){
    uint32_t n = extent_rows(t, at);
    t->codes[at>>SHIFT] = vdb_malloc_aligned((size_t)n*stride);
    vdb_graph_codes_init(t->g, n, t->codes[at>>SHIFT]);
  }
  for(uint32_t i=0; i<t->n_group; i++){
    for(uint32_t j=0; j<t->n_block[i]; j++){
      const unsigned char *b = t->blocks[i] + (size_t)j*t->stride;
      uint32_t at = get_u32(b+GRAPHBLOCK_ROW) - FIRST;
      unsigned char *code, *fit;
      if( without && (at+FIRST)%without==0 ) continue;
      code = vdb_graph_code_at(t->g, t->codes[at>>SHIFT], extent_rows(t, at),
                               at & ((1u<<SHIFT)-1), &fit);
      vdb_graph_code_block(k, b, code, fit);
    }
  }
  t->c = (struct vdb_graph_codes){
    (const unsigned char *const*)t->codes, SHIFT, FIRST, t->n };
  vdb_graph_coder_destroy(k);
  vdb_free(row);
}

static void coded_close(struct coded *t){
  vdb_graph_searcher_destroy(t->s);
  vdb_graph_close(t->g);
  for(int i=0; i<EXTENTS_MAX; i++){
    vdb_free_aligned(t->codes[i]);
    vdb_free_aligned(t->blocks[i]);
  }
  vdb_free(t->header);
  vdb_free(t->x);
}

/* Vectors around 20 centres; bytes, or floats of any size. */
static void coded_rows(struct coded *t, uint32_t n, uint32_t d, bool is_bytes){
  struct vdb_rng r;
  memset(t, 0, sizeof(*t));
  t->n = n;
  t->d = d;
  t->x = vdb_malloc_array((size_t)n*d, sizeof(float));
  vdb_rng_init(&r, 5);
  for(uint32_t i=0; i<n; i++){
    uint64_t centre = vdb_rng_below(&r, 20);
    struct vdb_rng c;
    vdb_rng_init(&c, centre+1);
    for(uint32_t j=0; j<d; j++){
      double x = vdb_rng_gauss(&c) + vdb_rng_gauss(&r);
      if( is_bytes ) x = floor(fmin(fmax(128 + 25*x, 0), 255));
      t->x[(size_t)i*d+j] = (float)x;
    }
  }
}

static float coded_d2(const struct coded *t, uint32_t i, const float *q){
  double s = 0;
  for(uint32_t j=0; j<t->d; j++){
    double e = (double)t->x[(size_t)i*t->d+j] - (double)q[j];
    s += e*e;
  }
  return (float)s;
}

/* Distance of the k-th nearest row of the filter. */
static float coded_kth(const struct coded *t, const uint64_t *filter,
                       const float *q, uint32_t k){
  float best[K+1];
  uint32_t n = 0, j;
  for(uint32_t i=0; i<t->n; i++){
    float d = coded_d2(t, i, q);
    if( !vdb_bit_get(filter, FIRST+i) ) continue;
    for(j=n; j>0 && best[j-1]>d; j--) best[j] = best[j-1];
    best[j] = d;
    if( n<k ) n++;
  }
  return best[n-1];
}

/* The mean error of estimates of all rows that pass. */
static double rank_error(struct coded *t, const uint64_t *filter,
                         const float *q){
  const struct vdb_graph_candidate *cand;
  double error = 0, sum = 0;
  size_t n;
  REQUIRE_RC(VECDB_OK, vdb_graph_rank(t->s, &t->c, q, filter, K, 1e6f, &cand,
                                      &n));
  CHECK_U64(t->n/3, n);
  for(size_t i=0; i<n; i++){
    double d = (double)coded_d2(t, cand[i].row-FIRST, q);
    error += (double)cand[i].d2-d;
    sum += d;
  }
  return error/sum;
}

/* Every third row passes. Of the nearest hardly any is left out, of the others
** most are; the least estimates come first. */
static void ranks_well(struct coded *t, double share_kept){
  uint64_t filter[64] = { 0 };
  double n_found = 0, n_want = 0, n_kept = 0, n_pass = 0;
  for(uint32_t i=0; i<FIRST+t->n; i++) if( i%3==0 ) vdb_bit_set(filter, i);
  for(uint32_t i=0; i<40; i++){
    const struct vdb_graph_candidate *cand;
    const float *q = t->x + (size_t)(i*31%t->n)*t->d;
    float kth = coded_kth(t, filter, q, K), worst = -INFINITY;
    double error = rank_error(t, filter, q);
    size_t n;
    if( !(fabs(error)<0.03) ) FAIL("error %.4f", error);
    REQUIRE_RC(VECDB_OK, vdb_graph_rank(t->s, &t->c, q, filter, K, 2.5f, &cand,
                                        &n));
    CHECK(n>=K);
    for(size_t j=0; j<n; j++){
      CHECK(cand[j].row>=FIRST && cand[j].row<FIRST+t->n
            && vdb_bit_get(filter, cand[j].row));
      CHECK(cand[j].low<=cand[j].d2 && cand[j].d2>-INFINITY);
      n_found += coded_d2(t, cand[j].row-FIRST, q)<=kth;
      if( j<K && cand[j].d2>worst ) worst = cand[j].d2;
      if( j>=2*K ) CHECK(cand[j].d2>=worst);
    }
    n_kept += (double)n;
    n_want += K;
    n_pass += t->n/3;
  }
  if( !(n_found>=0.98*n_want) ) FAIL("found %.4f", n_found/n_want);
  if( !(n_kept<=share_kept*n_pass) ) FAIL("kept %.4f", n_kept/n_pass);
}

TEST(graph_codes__keep_the_nearest){
  static const struct { uint32_t d; bool is_bytes; uint32_t prefix; } set[] = {
    { 20, false, 0 }, { 128, true, 0 }, { 128, false, 0 }, { 256, false, 0 },
    { 300, true, 0 }, { 300, true, 128 }, { 300, false, 256 } };
  for(size_t i=0; i<VDB_ARRAY_LEN(set); i++){
    struct vdb_graph_opts o = { .seed = 1, .prefix = set[i].prefix, .list1 = 32,
                                .list2 = 48, .no_calibration = true };
    struct coded m;
    coded_rows(&m, 3000, set[i].d, set[i].is_bytes);
    coded_make(&m, &o, 0);
    ranks_well(&m, set[i].d<64 ? 0.6 : 0.35);
    coded_close(&m);
  }
}

/* A row without a code is never left out, and k are there with any filter. */
TEST(graph_codes__never_leave_out_what_has_none){
  struct vdb_graph_opts o = { .seed = 1, .list1 = 32, .list2 = 48,
                              .no_calibration = true };
  uint64_t filter[64] = { 0 };
  const struct vdb_graph_candidate *cand;
  struct coded m;
  size_t n, n_without = 0;
  coded_rows(&m, 1000, 64, false);
  coded_make(&m, &o, 17);
  memset(filter, 0xff, sizeof(filter));
  REQUIRE_RC(VECDB_OK, vdb_graph_rank(m.s, &m.c, m.x, filter, K, 1, &cand, &n));
  for(size_t i=0; i<n; i++){
    bool has_none = cand[i].row%17==0;
    n_without += has_none;
    CHECK(has_none==(cand[i].d2==-INFINITY));
  }
  CHECK_U64((FIRST+1000-1)/17 - (FIRST-1)/17, n_without);
  for(uint32_t pass=1; pass<200; pass+=9){
    memset(filter, 0, sizeof(filter));
    for(uint32_t i=0; i<pass; i++) vdb_bit_set(filter, FIRST + i*5);
    vdb_bit_set(filter, FIRST-1);                   /* not in the range */
    vdb_bit_set(filter, FIRST+1000);
    REQUIRE_RC(VECDB_OK, vdb_graph_rank(m.s, &m.c, m.x, filter, K, 1, &cand,
                                        &n));
    CHECK(n>=(pass<K ? pass : K) && n<=pass);
  }
  CHECK_RC(VECDB_RANGE, vdb_graph_rank(m.s, &m.c, m.x, filter, 0, 1, &cand,
                                       &n));
  coded_close(&m);
}

TEST(graph_codes__survive_failed_allocations){
  struct vdb_graph_opts o = { .seed = 1, .list1 = 32, .list2 = 48,
                              .no_calibration = true };
  uint64_t filter[64];
  struct coded m;
  struct vdb_mem_stats before, after;
  int rc = VECDB_NOMEM;
  coded_rows(&m, 2000, 64, false);
  coded_make(&m, &o, 0);
  memset(filter, 0xff, sizeof(filter));
  vdb_mem_stats(&before);
  for(uint64_t at=1; rc!=VECDB_OK && at<100; at++){
    const struct vdb_graph_candidate *cand;
    struct vdb_graph_searcher *s = NULL;
    struct vdb_graph_coder *k = NULL;
    size_t n;
    vdb_mem_fail_at(at, true);
    rc = vdb_graph_searcher_create(m.g, &s);
    if( rc==VECDB_OK ) rc = vdb_graph_coder_create(m.g, &k);
    if( rc==VECDB_OK ) rc = vdb_graph_rank(s, &m.c, m.x, filter, 1500, 9,
                                           &cand, &n);
    vdb_mem_fail_at(0, false);
    CHECK(rc==VECDB_OK || rc==VECDB_NOMEM);
    vdb_graph_searcher_destroy(s);
    vdb_graph_coder_destroy(k);
    vdb_mem_stats(&after);
    CHECK_U64(before.sz_now, after.sz_now);
  }
  CHECK_RC(VECDB_OK, rc);
  coded_close(&m);
}
