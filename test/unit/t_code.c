/* t_code.c -- codes: equal bits on every path, estimates without bias, bounds
** that hold, sums that do not overflow.
*/
#include "vt.h"

#include <math.h>

#include "simd/code.h"
#include "simd/simd.h"
#include "util/mem.h"
#include "util/rng.h"

static const char *const paths[] = { "scalar", "avx2", "avx512" };
static const int widths[] = { 1, 2, 4 };

static void gauss(struct vdb_rng *r, float *x, size_t n, double scale){
  for(size_t i=0; i<n; i++) x[i] = (float)(scale*vdb_rng_gauss(r));
}
static double norm2(const float *x, size_t n){
  double s = 0;
  for(size_t i=0; i<n; i++) s += (double)x[i]*x[i];
  return s;
}
static double dist2(const float *x, const float *y, size_t n){
  double s = 0;
  for(size_t i=0; i<n; i++) s += ((double)x[i]-y[i])*((double)x[i]-y[i]);
  return s;
}
static uint64_t digest(uint64_t h, const void *p, size_t n){
  const uint8_t *z = p;
  for(size_t i=0; i<n; i++) h = (h ^ z[i])*0x100000001b3u;
  return h;
}
static float *floats(size_t n){
  float *p = vdb_malloc_aligned(n*sizeof(float));
  REQUIRE(p!=NULL);
  memset(p, 0, n*sizeof(float));
  return p;
}
static uint8_t *bytes(size_t n){
  uint8_t *p = vdb_malloc_aligned(n);
  REQUIRE(p!=NULL);
  memset(p, 0, n);
  return p;
}

TEST(code__rotation_keeps_norms_for_all_dims){
  float *sign = floats(4*2048), *x = floats(2048);
  const struct vdb_code_simd *s = vdb_code_simd();
  struct vdb_rng r;
  vdb_rng_init(&r, vt_seed());
  for(size_t dims=64; dims<=2048; dims+=64){
    double before;
    for(size_t i=0; i<4*dims; i++) sign[i] = vdb_rng_u64(&r)>>63 ? 1 : -1;
    gauss(&r, x, dims, 3);
    before = norm2(x, dims);
    s->rotate(sign, dims, x);
    CHECK_DBL(1.0, norm2(x, dims)/before, 1e-5);
  }
  vdb_free_aligned(sign);
  vdb_free_aligned(x);
}

/* Everything that a path computes, in one number. */
static uint64_t path_digest(size_t dims, int bits){
  const struct vdb_code_simd *s = vdb_code_simd();
  struct vdb_code_query q = { .dims = (uint32_t)dims, .bits = (uint32_t)bits };
  float *sign = floats(4*dims), *x = floats(dims), *o = floats(dims);
  float *tmp = floats(dims), *f_add = floats(32), *f_resc = floats(32);
  float *est = floats(32);
  uint8_t *u = bytes(dims), *group = bytes(VDB_CODE_GROUP_BYTES(dims, bits));
  struct vdb_rng r;
  int32_t ip[32], v;
  uint64_t h = 1;
  q.table = bytes(VDB_CODE_TABLE_BYTES(dims));
  vdb_rng_init(&r, dims*7 + (uint64_t)bits);
  for(size_t i=0; i<4*dims; i++) sign[i] = vdb_rng_u64(&r)>>63 ? 1 : -1;
  gauss(&r, x, dims, 10);
  s->rotate(sign, dims, x);
  h = digest(h, x, dims*4);
  s->prepare(&q, x);
  h = digest(h, q.table, bits==1 ? 4*dims : dims);
  h = digest(h, &q.delta, 4);
  h = digest(h, &q.kappa, 4);
  q.fine = bytes(VDB_CODE_TABLE_BYTES(dims));
  s->prepare_fine(&q, x);
  h = digest(h, q.fine, bits==1 ? 4*dims : dims);
  h = digest(h, &q.fine_delta, 4);
  h = digest(h, &q.fine_kappa, 4);
  h = digest(h, &q.fine_below, 4);
  for(size_t l=0; l<32; l++){
    struct vdb_code_factors f;
    gauss(&r, o, dims, 10);
    if( l==3 ) memset(o, 0, dims*4);
    f = vdb_code_encode(o, x, s->dot(o, o, dims), dims, bits, u, tmp);
    vdb_code_put(group, l, dims, bits, u);
    f_add[l] = f.f_add;
    f_resc[l] = f.f_resc;
    h = digest(h, &f, sizeof(f));
    v = s->dot_u8s8(u, (const int8_t*)q.table, dims);
    h = digest(h, &v, 4);
  }
  s->sums(&q, group, ip);
  h = digest(h, ip, sizeof(ip));
  s->estimate(&q, group, f_add, f_resc, 32, 77, est);
  h = digest(h, est, 32*4);
  v = (int32_t)s->bytes_exact(x, dims, 0, u);
  h = digest(h, &v, 4);
  s->bytes(x, dims, -20, 7, u);
  h = digest(h, u, dims);
  s->wide(x, dims, 100, (int8_t*)u, (int8_t*)q.table);
  h = digest(digest(h, u, dims), q.table, dims);
  vdb_free_aligned(sign); vdb_free_aligned(x); vdb_free_aligned(o);
  vdb_free_aligned(tmp); vdb_free_aligned(f_add); vdb_free_aligned(f_resc);
  vdb_free_aligned(est); vdb_free_aligned(u); vdb_free_aligned(group);
  vdb_free_aligned(q.table); vdb_free_aligned(q.fine);
  return h;
}

TEST(code__all_paths_compute_the_same_bits){
  static const size_t dims[] = { 64, 128, 192, 320, 832, 1024, 1088, 4096 };
  for(size_t w=0; w<3; w++){
    for(size_t d=0; d<VDB_ARRAY_LEN(dims); d++){
      uint64_t want = 0;
      for(size_t p=0; p<VDB_ARRAY_LEN(paths); p++){
        if( vdb_simd_select(paths[p])!=VECDB_OK ) continue;
        if( p==0 ) want = path_digest(dims[d], widths[w]);
        else CHECK_U64(want, path_digest(dims[d], widths[w]));
      }
    }
  }
}

/* A number of rows that is no multiple of what a path takes at a time; the
** least and greatest bytes. */
static void check_products(const struct vdb_code_simd *s, size_t n){
  enum { ROWS = 21 };
  uint8_t *u = bytes(n*ROWS);
  int8_t *row = (int8_t*)bytes(n*ROWS);
  const uint8_t *many[ROWS];
  int32_t out[ROWS], out_many[ROWS], all[ROWS*ROWS];
  struct vdb_rng r;
  vdb_rng_init(&r, vt_seed()+n);
  for(size_t i=0; i<n*ROWS; i++){
    u[i] = i<n ? 255 : (uint8_t)vdb_rng_u64(&r);
    row[i] = i<n ? -128 : i<2*n ? 127 : (int8_t)vdb_rng_u64(&r);
  }
  for(size_t j=0; j<ROWS; j++) many[j] = u + j*n;
  for(size_t k=0; k<2; k++){
    s->matvec(row, ROWS, u+k*n, n, out);
    s->dot_u8s8_many(row+k*n, many, ROWS, n, out_many);
    for(size_t j=0; j<ROWS; j++){
      int64_t a = 0, b = 0;
      for(size_t i=0; i<n; i++){
        a += (int64_t)u[k*n+i]*row[j*n+i];
        b += (int64_t)u[j*n+i]*row[k*n+i];
      }
      REQUIRE_U64((uint64_t)a, (uint64_t)out[j]);
      REQUIRE_U64((uint64_t)b, (uint64_t)out_many[j]);
      REQUIRE_U64((uint64_t)a, (uint64_t)s->dot_u8s8(u+k*n, row+j*n, n));
    }
  }
  for(size_t n_u=1; n_u<=ROWS; n_u+=10){
    s->matmat(row, ROWS, many, n_u, n, all);
    for(size_t j=0; j<n_u; j++){
      s->matvec(row, ROWS, many[j], n, out);
      REQUIRE( memcmp(out, all+j*ROWS, sizeof(out))==0 );
    }
  }
  vdb_free_aligned(u);
  vdb_free_aligned(row);
}
TEST(code__products_of_bytes_are_exact){
  for(size_t i=0; i<VDB_ARRAY_LEN(paths); i++){
    if( vdb_simd_select(paths[i])!=VECDB_OK ) continue;
    check_products(vdb_code_simd(), 64);
    check_products(vdb_code_simd(), 832);
  }
  check_products(vdb_code_simd(), 65536);
}

/* Elements so small that the second table has no steps left. */
TEST(code__second_tables_of_the_smallest_numbers_are_empty){
  enum { N = 128 };
  float *x = floats(N);
  for(size_t i=0; i<N; i++) x[i] = (float)((int)(i%7)-3)*0x1p-143f;
  for(size_t p=0; p<VDB_ARRAY_LEN(paths); p++){
    if( vdb_simd_select(paths[p])!=VECDB_OK ) continue;
    for(size_t w=0; w<3; w++){
      struct vdb_code_query q = { .dims = N, .bits = (uint32_t)widths[w] };
      size_t sz = VDB_CODE_TABLE_BYTES(N);
      q.table = bytes(sz);
      q.fine = bytes(sz);
      vdb_code_simd()->prepare(&q, x);
      CHECK(q.delta>0);
      memset(q.fine, 1, sz);
      vdb_code_simd()->prepare_fine(&q, x);
      CHECK(q.fine_delta==0 && q.fine_kappa==0);
      for(size_t i=0; i<sz; i++) CHECK_INT(0, q.fine[i]);
      vdb_free_aligned(q.table);
      vdb_free_aligned(q.fine);
    }
  }
  vdb_free_aligned(x);
}

TEST(code__lanes_read_back_as_written){
  uint8_t *u = bytes(192), *v = bytes(192), *group = bytes(16*192);
  struct vdb_rng r;
  vdb_rng_init(&r, vt_seed());
  for(size_t w=0; w<3; w++){
    uint8_t kept[32][192];
    for(size_t l=0; l<32; l++){
      for(size_t i=0; i<192; i++){
        u[i] = (uint8_t)vdb_rng_below(&r, 1u<<widths[w]);
      }
      memcpy(kept[l], u, 192);
      vdb_code_put(group, l, 192, widths[w], u);
    }
    for(size_t l=0; l<32; l++){
      vdb_code_get(group, l, 192, widths[w], v);
      CHECK(memcmp(kept[l], v, 192)==0);
    }
  }
  vdb_free_aligned(u); vdb_free_aligned(v); vdb_free_aligned(group);
}

/* Extreme tables and codes: every sum at its largest. */
TEST(code__sums_do_not_overflow){
  static const size_t dims[] = { 128, 1024, 1088, 65536 };
  for(size_t p=0; p<VDB_ARRAY_LEN(paths); p++){
    if( vdb_simd_select(paths[p])!=VECDB_OK ) continue;
    for(size_t d=0; d<VDB_ARRAY_LEN(dims); d++){
      for(size_t w=0; w<3; w++){
        size_t n = dims[d], sz = VDB_CODE_GROUP_BYTES(n, widths[w]);
        struct vdb_code_query q = { .dims = (uint32_t)n,
                                    .bits = (uint32_t)widths[w] };
        uint8_t *group = bytes(sz);
        int64_t most = widths[w]==1 ? 255*(int64_t)(n/4)
                     : ((1<<widths[w])-1)*(int64_t)127*(int64_t)n;
        int32_t ip[32];
        q.table = bytes(VDB_CODE_TABLE_BYTES(n));
        memset(q.table, widths[w]==1 ? 255 : 127, VDB_CODE_TABLE_BYTES(n));
        memset(group, 255, sz);
        vdb_code_simd()->sums(&q, group, ip);
        for(int l=0; l<32; l++) CHECK_INT(most, ip[l]);
        vdb_free_aligned(group);
        vdb_free_aligned(q.table);
      }
    }
  }
}

/* Lane l of a group has the bits of row l; row 0 has none, like the query in one
** round of two. */
TEST(code__bits_are_compared_exactly){
  static const uint32_t dims[] = { 64, 128, 1024, 4160 };
  for(size_t k=0; k<VDB_ARRAY_LEN(paths)*VDB_ARRAY_LEN(dims)*2; k++){
    uint32_t d = dims[k/2%VDB_ARRAY_LEN(dims)], n_byte = d/8;
    uint8_t *row = bytes(32*(size_t)n_byte), *x = bytes(n_byte+64);
    uint8_t *group = bytes(VDB_CODE_GROUP_BYTES(d, 1));
    struct vdb_code_query q = { .dims = d, .bits = 1 };
    float f_add[32] = { 0 }, f_resc[32] = { 0 }, est[32];
    const struct vdb_code_simd *s;
    struct vdb_rng r;
    if( vdb_simd_select(paths[k/2/VDB_ARRAY_LEN(dims)])!=VECDB_OK ) d = 0;
    s = vdb_code_simd();
    q.table = bytes(VDB_CODE_TABLE_BYTES(q.dims));
    vdb_rng_init(&r, 7);
    for(uint32_t i=0; i<32*n_byte; i++){
      row[i] = i<n_byte ? 0 : (uint8_t)vdb_rng_below(&r, 256);
      memcpy(group + 128*(i%n_byte/4) + 4*(i/n_byte) + i%4, row+i, 1);
    }
    for(uint32_t i=0; k%2 && i<n_byte; i++){
      x[i] = (uint8_t)vdb_rng_below(&r, 256);
    }
    for(q.kind=VDB_CODE_HAMMING; d>0 && q.kind<=VDB_CODE_JACCARD; q.kind++){
      for(uint32_t l=0; l<32; l++){
        f_resc[l] = (float)vdb_popcount(row + l*n_byte, n_byte);
      }
      f_add[31] = INFINITY;                              /* not used */
      s->prepare(&q, (const float*)(const void*)x);
      s->estimate(&q, group, f_add, f_resc, 32, 77, est);
      for(uint32_t l=0; l<31; l++){
        float want = vdb_distance(q.kind==VDB_CODE_HAMMING ? VECDB_HAMMING
                                                           : VECDB_JACCARD,
                                  VECDB_BIT, x, row + l*n_byte, d);
        CHECK(est[l]==want);
      }
      CHECK(est[31]==INFINITY);
    }
    if( d>=1024 && d%512==0 ){
      CHECK_U64((uint64_t)vdb_distance(VECDB_HAMMING, VECDB_BIT, row + n_byte,
                                       row + 2*n_byte, d),
                s->differ(row + n_byte, row + 2*n_byte, n_byte));
    }
    vdb_free_aligned(row);
    vdb_free_aligned(x);
    vdb_free_aligned(group);
    vdb_free_aligned(q.table);
  }
}

/* Mean error 0 within noise; standard deviation as the tan table says; the
** proven bound never violated, the statistical one by 3..8 % of the pairs. */
TEST(code__estimates_are_unbiased_and_bounded){
  static const double tan_of[] = { .756, .367, .108 };
  enum { DIMS = 256, PAIRS = 20000 };
  const struct vdb_code_simd *s = vdb_code_simd();
  float *sign = floats(4*DIMS), *c = floats(DIMS), *x = floats(DIMS);
  float *o = floats(DIMS), *res = floats(DIMS), *tmp = floats(DIMS);
  float *f_add = floats(32), *f_resc = floats(32), *est = floats(32);
  uint8_t *u = bytes(DIMS), *table = bytes(VDB_CODE_TABLE_BYTES(DIMS));
  struct vdb_rng r;
  vdb_rng_init(&r, vt_seed());
  for(size_t i=0; i<4*DIMS; i++) sign[i] = vdb_rng_u64(&r)>>63 ? 1 : -1;
  for(size_t w=0; w<3; w++){
    struct vdb_code_query q = { .table = table, .dims = DIMS,
                                .bits = (uint32_t)widths[w] };
    uint8_t *group = bytes(VDB_CODE_GROUP_BYTES(DIMS, widths[w]));
    double sum = 0, sum2 = 0, n_far = 0, n = 0;
    for(int round=0; round<PAIRS/32; round++){
      struct vdb_code_factors f[32];
      double truth[32], cx;
      gauss(&r, x, DIMS, 1);
      gauss(&r, c, DIMS, 1);
      s->rotate(sign, DIMS, x);
      s->prepare(&q, x);
      cx = dist2(c, x, DIMS);
      for(size_t l=0; l<32; l++){
        /* Independent of x - c, so that the table applies as it is. */
        gauss(&r, res, DIMS, 1);
        for(size_t i=0; i<DIMS; i++) o[i] = c[i] + res[i];
        s->residual(o, c, DIMS, res);
        f[l] = vdb_code_encode(res, c, (float)norm2(res, DIMS), DIMS,
                               widths[w], u, tmp);
        vdb_code_put(group, l, DIMS, widths[w], u);
        f_add[l] = f[l].f_add;
        f_resc[l] = f[l].f_resc;
        truth[l] = dist2(o, x, DIMS);
      }
      s->estimate(&q, group, f_add, f_resc, 32, (float)cx, est);
      for(size_t l=0; l<32; l++){
        double e = est[l]-truth[l], side = 2*f[l].f_tan*sqrt(cx);
        double lut = fabs(f[l].f_resc)*((1<<widths[w])-1)*q.lut_err;
        CHECK(fabs(e)<=side + lut + 0x1p-15*(fabs(f[l].f_add) + cx));
        e /= 2*sqrt(cx)*sqrt(norm2(res, DIMS))/sqrt(DIMS-1);
        sum += e;
        sum2 += e*e;
        n_far += fabs(est[l]-truth[l])>1.9*side/sqrt(DIMS-1);
        n++;
      }
    }
    CHECK_DBL(0, sum/n, 4*sqrt(sum2/n/n));
    CHECK_DBL(tan_of[w], sqrt(sum2/n), 0.05*tan_of[w]);
    if( widths[w]<4 ) CHECK_DBL(0.055, n_far/n, 0.025);
    vdb_free_aligned(group);
  }
  vdb_free_aligned(sign); vdb_free_aligned(c); vdb_free_aligned(x);
  vdb_free_aligned(o); vdb_free_aligned(res); vdb_free_aligned(tmp);
  vdb_free_aligned(f_add); vdb_free_aligned(f_resc); vdb_free_aligned(est);
  vdb_free_aligned(u); vdb_free_aligned(table);
}

/* Estimates of 32 lanes around an owner that is near to the query, both at
** `far` times that distance from the centre; returns the mean square error, in
** units of what the codes alone are to blame for. */
static double near_error(int bits, float far, bool is_fine){
  enum { DIMS = 128, ROUNDS = 40 };
  static const double tan_of[] = { 0, .756, .367, 0, .108 };
  const struct vdb_code_simd *s = vdb_code_simd();
  float *x = floats(DIMS), *c = floats(DIMS), *o = floats(DIMS);
  float *r = floats(DIMS), *f_add = floats(32), *f_resc = floats(32);
  uint8_t *u = bytes(DIMS), *group = bytes(VDB_CODE_GROUP_BYTES(DIMS, bits));
  struct vdb_code_query q = { .dims = DIMS, .bits = (uint32_t)bits };
  struct vdb_pool p = { .n_cap = 0 };
  struct vdb_rng rng;
  double sum = 0;
  uint32_t id[32];
  q.table = bytes(VDB_CODE_TABLE_BYTES(DIMS));
  q.fine = bytes(VDB_CODE_TABLE_BYTES(DIMS));
  p.key = floats(VDB_POOL_SLOTS(32));
  p.id = (uint32_t*)(void*)bytes(VDB_POOL_SLOTS(32)*4);
  p.met = (uint32_t*)(void*)bytes(vdb_pool_places(32)*sizeof(*p.met));
  vdb_rng_init(&rng, vt_seed());
  for(int round=0; round<ROUNDS; round++){
    struct vdb_expand e = { .bound = INFINITY, .reuse = -INFINITY,
                            .n_slots = 32, .is_fine = is_fine };
    struct vdb_lanes l = { id, f_add, f_resc, group, 32 };
    double truth[32], side[32];
    gauss(&rng, c, DIMS, (double)far);
    gauss(&rng, x, DIMS, 1);
    for(size_t i=0; i<DIMS; i++) x[i] += c[i];
    s->prepare(&q, x);
    s->prepare_fine(&q, x);
    e.g_add = (float)dist2(x, c, DIMS);
    CHECK_INT(far>=100, e.g_add<q.fine_below);
    for(uint32_t j=0; j<32; j++){
      struct vdb_code_factors f;
      gauss(&rng, o, DIMS, 1);
      for(size_t i=0; i<DIMS; i++) o[i] += c[i];
      s->residual(o, c, DIMS, r);
      f = vdb_code_encode(r, c, (float)norm2(r, DIMS), DIMS, bits, u, o);
      for(size_t i=0; i<DIMS; i++) o[i] = c[i] + r[i];
      vdb_code_put(group, j, DIMS, bits, u);
      id[j] = j;
      f_add[j] = f.f_add;
      f_resc[j] = f.f_resc;
      truth[j] = dist2(o, x, DIMS);
      side[j] = 2*tan_of[bits]*sqrt(norm2(r, DIMS)*(double)e.g_add)
              / sqrt(DIMS-1);
    }
    vdb_pool_reset(&p, 32);
    s->expand(&q, &l, &e, &p);
    for(int i=0; i<32; i++){
      double d = (double)p.key[i] - truth[p.id[i]];
      sum += d*d/side[p.id[i]]/side[p.id[i]];
    }
  }
  vdb_free_aligned(x); vdb_free_aligned(c); vdb_free_aligned(o);
  vdb_free_aligned(r); vdb_free_aligned(f_add); vdb_free_aligned(f_resc);
  vdb_free_aligned(u); vdb_free_aligned(group); vdb_free_aligned(q.table);
  vdb_free_aligned(q.fine); vdb_free_aligned(p.key);
  vdb_free_aligned(p.id); vdb_free_aligned(p.met);
  return sum/(32*ROUNDS);
}

/* A query that is known in 255 steps of its own size says nothing about what is
** a thousandth of that apart; with the second table it does. */
TEST(code__estimates_are_as_good_far_from_the_centre){
  for(size_t w=0; w<3; w++){
    CHECK_DBL(1, near_error(widths[w], 1, false), 0.25);
    CHECK_DBL(1, near_error(widths[w], 1, true), 0.25);
    CHECK(near_error(widths[w], 500, false)>10);
    CHECK_DBL(1, near_error(widths[w], 500, true), 0.25);
  }
}

/* ---- The pool ------------------------------------------------------------ */

static void pool_open(struct vdb_pool *p, uint32_t n){
  p->key = floats(VDB_POOL_SLOTS(n));
  p->id = (uint32_t*)(void*)bytes(VDB_POOL_SLOTS(n)*4);
  p->met = (uint32_t*)(void*)bytes(vdb_pool_places(n)*sizeof(*p->met));
  vdb_pool_reset(p, n);
}
static void pool_close(struct vdb_pool *p){
  vdb_free_aligned(p->key);
  vdb_free_aligned(p->id);
  vdb_free_aligned(p->met);
}

/* Random lanes; ids repeat, some are out of range, some estimates are NaN. */
static uint64_t pool_run(uint32_t n_cap, float reuse, uint64_t seed){
  const struct vdb_code_simd *s = vdb_code_simd();
  struct vdb_code_query q = { .dims = 64, .bits = 2 };
  struct vdb_pool p;
  uint8_t *group = bytes(VDB_CODE_GROUP_BYTES(64, 2));
  float *f_add = floats(32), *f_resc = floats(32);
  uint32_t id[32];
  uint64_t h = 1;
  struct vdb_rng r;
  q.table = bytes(VDB_CODE_TABLE_BYTES(64));
  pool_open(&p, n_cap);
  vdb_rng_init(&r, seed);
  for(int hop=0; hop<60; hop++){
    struct vdb_expand e = { .g_add = 0, .bound = 900, .reuse = reuse,
                            .n_slots = 500 };
    struct vdb_lanes l = { id, f_add, f_resc, group, 32 };
    uint32_t i;
    for(int j=0; j<32; j++){
      id[j] = vdb_rng_below(&r, 520);
      f_add[j] = (float)vdb_rng_below(&r, 1000);
      if( id[j]%97==0 ) f_add[j] = NAN;
    }
    s->expand(&q, &l, &e, &p);
    for(i=0; i+1<n_cap && p.id[i+1]!=VDB_POOL_NONE; i++){
      CHECK(p.key[i]<=p.key[i+1] && p.key[i+1]<900);
      CHECK((p.id[i+1] & ~VDB_POOL_DONE)<500);
    }
    CHECK(isinf(p.key[n_cap]) && p.id[n_cap]==VDB_POOL_NONE);
    i = s->waiting(&p, 0, n_cap);
    CHECK(i>=n_cap || i>=p.first || p.id[i]==VDB_POOL_NONE);
    if( i<n_cap ) vdb_pool_take(&p, i);
    h = digest(h, p.key, n_cap*4);
    h = digest(h, p.id, n_cap*4);
    h = digest(h, &p.first, 4);
  }
  pool_close(&p);
  vdb_free_aligned(group); vdb_free_aligned(f_add); vdb_free_aligned(f_resc);
  vdb_free_aligned(q.table);
  return h;
}

TEST(code__pools_are_alike_on_all_paths){
  static const uint32_t cap[] = { 1, 4, 15, 16, 17, 40, 64, 65, 200, 333 };
  for(size_t c=0; c<VDB_ARRAY_LEN(cap); c++){
    for(int k=0; k<3; k++){
      float reuse = k==0 ? -INFINITY : k==1 ? 300 : INFINITY;
      uint64_t want = 0;
      for(size_t p=0; p<VDB_ARRAY_LEN(paths); p++){
        if( vdb_simd_select(paths[p])!=VECDB_OK ) continue;
        if( p==0 ) want = pool_run(cap[c], reuse, c*3+(uint64_t)k);
        else CHECK_U64(want, pool_run(cap[c], reuse, c*3+(uint64_t)k));
      }
    }
  }
}
