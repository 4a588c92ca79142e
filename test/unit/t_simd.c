/* t_simd.c -- kernels: right against double precision, equal bits on every
** path, right at the edges of the number formats.
*/
#include "vt.h"

#include <float.h>

#include "simd/simd.h"
#include "util/rng.h"
#if defined(__x86_64__)
# include <xmmintrin.h>
#endif

enum { DIM_TEST = 1100, ROWS_TEST = 5 };

static const char *const paths[] = { "scalar", "avx2", "avx512" };
static const int all_types[] = { VECDB_F32, VECDB_F16, VECDB_BF16, VECDB_I8,
                                 VECDB_U8, VECDB_BIT };

/* ---- Vectors ------------------------------------------------------------- */

static bool type_is_float(int type){
  return type==VECDB_F32 || type==VECDB_F16 || type==VECDB_BF16;
}

static void random_vector(struct vdb_rng *r, int type, void *out, size_t dim){
  uint8_t *z = out;
  for(size_t i=0; i<dim && type_is_float(type); i++){
    float x = (float)vdb_rng_gauss(r);
    uint16_t h;
    if( type==VECDB_F32 ){
      memcpy(z+i*4, &x, 4);
    }else{
      if( type==VECDB_F16 ) vdb_f16_from_f32(&x, &h, 1);
      else vdb_bf16_from_f32(&x, &h, 1);
      memcpy(z+i*2, &h, 2);
    }
  }
  if( !type_is_float(type) ){
    size_t n = vdb_vector_bytes(type, dim);
    for(size_t i=0; i<n; i++) z[i] = (uint8_t)vdb_rng_u64(r);
    if( type==VECDB_BIT && dim%8 ) z[n-1] &= (uint8_t)((1<<(dim%8)) - 1);
  }
}

/* The sums of all kernels of a type for one pair, as doubles. */
struct sums { double l2sq, dot, l1, hamming, jaccard, scale; };

static void reference_sums(int type, const void *a, const void *b, size_t dim,
                           struct sums *out){
  static float x[VDB_DIM_MAX], y[VDB_DIM_MAX];
  double n_or = 0;
  memset(out, 0, sizeof(*out));
  vdb_widen(type, a, x, dim);
  vdb_widen(type, b, y, dim);
  for(size_t i=0; i<dim; i++){
    double d = (double)x[i] - (double)y[i];
    out->l2sq += d*d;
    out->dot += (double)x[i]*(double)y[i];
    out->l1 += fabs(d);
    out->scale += (double)x[i]*x[i] + (double)y[i]*y[i];
    n_or += x[i]!=0 || y[i]!=0;
  }
  out->hamming = out->l2sq;
  out->jaccard = n_or>0 ? out->hamming/n_or : 0;
}

/* ---- Against the reference ----------------------------------------------- */

/* Canonical sums have at most dim/32+6 roundings per term. */
static double tolerance(int type, size_t dim, double scale){
  double n = type_is_float(type) ? (double)dim/32 + 8 : 1;
  return n*0x1p-24*scale*1.01;
}

static void check_sums(int type, const void *a, const void *b, size_t dim){
  const struct vdb_type_simd *k = &vdb_simd()->type[type];
  struct sums ref;
  float s, n2;
  reference_sums(type, a, b, dim, &ref);
  k->l2sq(a, &b, 1, dim, &s);
  CHECK_DBL(ref.l2sq, s, tolerance(type, dim, ref.l2sq));
  k->dot(a, &b, 1, dim, &s);
  CHECK_DBL(ref.dot, s, tolerance(type, dim, ref.scale/2));
  if( k->l1 ){
    k->l1(a, &b, 1, dim, &s);
    CHECK_DBL(ref.l1, s, tolerance(type, dim, ref.l1));
    k->dot_norm(a, &b, 1, dim, &s, &n2);
    CHECK_DBL(ref.dot, s, tolerance(type, dim, ref.scale/2));
    CHECK_DBL(vdb_norm2(type, b, dim), n2, 0);
  }
  if( k->hamming ){
    k->hamming(a, &b, 1, dim, &s);
    CHECK_DBL(ref.hamming, s, 0);
    k->jaccard(a, &b, 1, dim, &s);
    CHECK_DBL(ref.jaccard, s, 0x1p-24);
  }
}

static void check_path_against_reference(const char *path){
  static uint8_t a[VDB_DIM_MAX*4+64], b[VDB_DIM_MAX*4+64];
  struct vdb_rng r;
  if( vdb_simd_select(path)!=VECDB_OK ) SKIP("no %s here", path);
  vdb_rng_init(&r, vt_seed());
  for(size_t t=0; t<VDB_ARRAY_LEN(all_types); t++){
    int type = all_types[t];
    for(size_t dim=0; dim<=DIM_TEST; dim++){
      size_t off = dim%13;                   /* every misalignment */
      random_vector(&r, type, a+off, dim);
      random_vector(&r, type, b+64-off, dim);
      check_sums(type, a+off, b+64-off, dim);
    }
    random_vector(&r, type, a, VDB_DIM_MAX);
    random_vector(&r, type, b, VDB_DIM_MAX);
    check_sums(type, a, b, VDB_DIM_MAX);
  }
}

TEST(simd__scalar_matches_double_precision){
  check_path_against_reference("scalar");
}
TEST(simd__avx2_matches_double_precision){
  check_path_against_reference("avx2");
}
TEST(simd__avx512_matches_double_precision){
  check_path_against_reference("avx512");
}

/* ---- Equal bits ---------------------------------------------------------- */

/* All sums of a and rows by the path in use, one after the other. */
static size_t all_sums(const struct vdb_simd *s, int type, const void *a,
                       const void *const *row, size_t n, size_t dim,
                       float *out){
  const struct vdb_type_simd *k = &s->type[type];
  size_t m = 0;
  k->l2sq(a, row, n, dim, out+m); m += n;
  k->dot(a, row, n, dim, out+m); m += n;
  if( k->l1 ){
    k->l1(a, row, n, dim, out+m); m += n;
    k->dot_norm(a, row, n, dim, out+m, out+m+n); m += 2*n;
  }
  if( k->hamming ){
    k->hamming(a, row, n, dim, out+m); m += n;
    k->jaccard(a, row, n, dim, out+m); m += n;
  }
  return m;
}

static void check_equal_bits(const struct vdb_simd *s, int type,
                             const void *a, const void *const *row, size_t n,
                             size_t dim){
  float want[8*ROWS_TEST], got[8*ROWS_TEST];
  size_t m = all_sums(vdb_simd_find("scalar"), type, a, row, n, dim, want);
  CHECK_U64(m, all_sums(s, type, a, row, n, dim, got));
  if( !CHECK_MEM(want, got, m*sizeof(got[0])) ){
    FAIL("type %d, %zu dimensions", type, dim);
  }
}

static void check_path_bits(const char *path){
  static uint8_t a[VDB_DIM_MAX*4+64], b[ROWS_TEST][VDB_DIM_MAX*4+64];
  const struct vdb_simd *s = vdb_simd_find(path);
  const void *row[ROWS_TEST];
  struct vdb_rng r;
  if( s==NULL ) SKIP("no %s here", path);
  vdb_rng_init(&r, vt_seed());
  for(size_t t=0; t<VDB_ARRAY_LEN(all_types); t++){
    int type = all_types[t];
    for(size_t dim=0; dim<=DIM_TEST+1; dim++){
      size_t d = dim<=DIM_TEST ? dim : VDB_DIM_MAX;
      size_t n = d<=DIM_TEST ? 1 + dim%ROWS_TEST : 1, off = dim%17;
      random_vector(&r, type, a+off, d);
      for(size_t i=0; i<n; i++){
        row[i] = b[i] + (off*7+i)%64;
        random_vector(&r, type, b[i] + (off*7+i)%64, d);
      }
      check_equal_bits(s, type, a+off, row, n, d);
    }
  }
}
TEST(simd__avx2_has_the_bits_of_scalar){ check_path_bits("avx2"); }
TEST(simd__avx512_has_the_bits_of_scalar){ check_path_bits("avx512"); }

/* Values that betray flushed subnormals, other orders and lost signs. */
TEST(simd__paths_agree_on_special_values){
  static const float special[] = {
    0.0f, -0.0f, 1.0f, -1.0f, FLT_MIN, -FLT_MIN, 0x1p-149f, -0x1p-149f,
    0x1p-130f, 0x1.8p-75f, -0x1.4p-74f, FLT_MAX, -FLT_MAX, 0x1p64f, -0x1p63f,
    0x1.fffffep0f, 0x1p-24f, 16777216.0f, 3.0f, 0x1p-126f
  };
  float a[160], b[160];
  const void *row = b;
  struct vdb_rng r;
  vdb_rng_init(&r, vt_seed());
  for(int round=0; round<4000; round++){
    size_t dim = 1 + vdb_rng_below(&r, 160);
    /* Half of the rounds without what overflows, so that sums stay finite. */
    uint32_t n = round%2 ? VDB_ARRAY_LEN(special) : 11;
    for(size_t i=0; i<dim; i++){
      a[i] = special[vdb_rng_below(&r, n)];
      b[i] = special[vdb_rng_below(&r, n)];
    }
    for(size_t p=1; p<VDB_ARRAY_LEN(paths); p++){
      const struct vdb_simd *s = vdb_simd_find(paths[p]);
      struct vdb_query q;
      float want, got;
      if( s==NULL ) continue;
      if( n==11 ) check_equal_bits(s, VECDB_F32, a, &row, 1, dim);
      /* With infinities the sums may be NaN, whose bits are nobody's; the
      ** distances are ordered. */
      for(int m=VECDB_L2; m<=VECDB_L1; m++){
        REQUIRE_RC(VECDB_OK, vdb_query_init(&q, m, VECDB_F32, a, dim));
        q.simd = vdb_simd_find("scalar");
        want = vdb_key(&q, b);
        q.simd = s;
        got = vdb_key(&q, b);
        CHECK(got==got);
        CHECK_MEM(&want, &got, sizeof(got));
      }
    }
  }
}

TEST(simd__sums_subnormal_products){
  float a[3] = { 0x1p-100f, 0x1p-140f, 0 }, b[3] = { 0x1p-40f, 1, 5 };
  CHECK_DBL(0x1p-140 + 0x1p-140, vdb_dot(VECDB_F32, a, b, 3), 0);
}

/* The bits are part of the file format: files written by one build are checked
** by another. No compiler, option or processor may change this number. */
TEST(simd__bits_are_the_same_for_ever){
  static uint8_t a[257*4], b[257*4];
  const void *row = b;
  struct vdb_rng r;
  vdb_rng_init(&r, 42);
  for(size_t p=0; p<VDB_ARRAY_LEN(paths); p++){
    const struct vdb_simd *s = vdb_simd_find(paths[p]);
    uint64_t hash = 0;
    if( s==NULL ) continue;
    vdb_rng_init(&r, 42);
    for(int type=VECDB_F32; type<=VECDB_BIT; type++){
      for(size_t dim=1; dim<=256; dim++){
        float sums[8];
        size_t n;
        for(size_t i=0; i<sizeof(a); i++){
          a[i] = (uint8_t)vdb_rng_u64(&r);
          b[i] = (uint8_t)vdb_rng_u64(&r);
          /* Exponents that neither overflow nor are special. */
          if( type==VECDB_F32 && i%4==3 ) a[i] = 0x3e | (a[i] & 0x81);
          if( type==VECDB_F32 && i%4==3 ) b[i] = 0x3e | (b[i] & 0x81);
          if( type<=VECDB_BF16 && type>VECDB_F32 && i%2 ){
            a[i] = 0x38 | (a[i] & 0x83);
            b[i] = 0x38 | (b[i] & 0x83);
          }
        }
        n = all_sums(s, type, a, &row, 1, dim, sums);
        for(size_t i=0; i<n; i++){
          uint32_t u;
          memcpy(&u, &sums[i], 4);
          hash = vdb_mix64(hash ^ u) + i;
        }
      }
    }
    CHECK_U64(UINT64_C(0xe386765b9fd8b94b), hash);
  }
}

/* ---- Integers: exact at the extremes ------------------------------------- */

TEST(simd__integers_are_exact_at_full_length){
  static uint8_t zero[VDB_DIM_MAX], full[VDB_DIM_MAX];
  static int8_t low[VDB_DIM_MAX], high[VDB_DIM_MAX];
  size_t d = VDB_DIM_MAX;
  memset(full, 255, d);
  memset(low, -128, d);
  memset(high, 127, d);
  for(size_t p=0; p<VDB_ARRAY_LEN(paths); p++){
    const void *row = zero, *hi = high, *lo = low, *f = full;
    float s;
    if( vdb_simd_select(paths[p])!=VECDB_OK ) continue;
    vdb_simd()->type[VECDB_U8].l2sq(full, &row, 1, d, &s);
    CHECK_DBL((float)(65535.0*255*255), s, 0);
    vdb_simd()->type[VECDB_U8].dot(full, &f, 1, d, &s);
    CHECK_DBL((float)(65535.0*255*255), s, 0);
    vdb_simd()->type[VECDB_U8].l1(full, &row, 1, d, &s);
    CHECK_DBL(65535.0*255, s, 0);
    vdb_simd()->type[VECDB_I8].l2sq(low, &hi, 1, d, &s);
    CHECK_DBL((float)(65535.0*255*255), s, 0);
    vdb_simd()->type[VECDB_I8].dot(low, &hi, 1, d, &s);
    CHECK_DBL((float)(-65535.0*128*127), s, 0);
    vdb_simd()->type[VECDB_I8].dot(low, &lo, 1, d, &s);
    CHECK_DBL((float)(65535.0*128*128), s, 0);
    vdb_simd()->type[VECDB_I8].l1(low, &hi, 1, d, &s);
    CHECK_DBL(65535.0*255, s, 0);
  }
}

TEST(simd__counts_bits_of_any_length){
  static uint8_t a[300];
  struct vdb_rng r;
  vdb_rng_init(&r, vt_seed());
  for(size_t i=0; i<sizeof(a); i++) a[i] = (uint8_t)vdb_rng_u64(&r);
  for(size_t p=0; p<VDB_ARRAY_LEN(paths); p++){
    uint64_t want = 0;
    if( vdb_simd_select(paths[p])!=VECDB_OK ) continue;
    for(size_t n=0; n<sizeof(a); n++){
      CHECK_U64(want, vdb_popcount(a, n));
      want += (uint64_t)__builtin_popcount(a[n]);
    }
  }
}

/* ---- Distances ----------------------------------------------------------- */

TEST(simd__distance_is_the_formula_of_the_header){
  float a[3] = { 1, 2, 2 }, b[3] = { 2, 4, 5 };
  uint8_t p[2] = { 0x0f, 0x01 }, q[2] = { 0x3c, 0x00 }, none[2] = { 0, 0 };
  CHECK_DBL(sqrtf(14), vdb_distance(VECDB_L2, VECDB_F32, a, b, 3), 0);
  CHECK_DBL(-20, vdb_distance(VECDB_IP, VECDB_F32, a, b, 3), 0);
  CHECK_DBL(6, vdb_distance(VECDB_L1, VECDB_F32, a, b, 3), 0);
  CHECK_DBL(1 - 20.0f/sqrtf(9*45),
            vdb_distance(VECDB_COSINE, VECDB_F32, a, b, 3), 0);
  CHECK_DBL(5, vdb_distance(VECDB_HAMMING, VECDB_BIT, p, q, 9), 0);
  CHECK_DBL(5.0f/7.0f, vdb_distance(VECDB_JACCARD, VECDB_BIT, p, q, 9), 0);
  CHECK_DBL(0, vdb_distance(VECDB_JACCARD, VECDB_BIT, none, none, 9), 0);
}

TEST(simd__squared_distance_and_products){
  float a[3] = { 1, 2, 2 }, b[3] = { 2, 4, 5 };
  CHECK_DBL(14, vdb_l2sq(VECDB_F32, a, b, 3), 0);
  CHECK_DBL(20, vdb_dot(VECDB_F32, a, b, 3), 0);
  CHECK_DBL(9, vdb_norm2(VECDB_F32, a, 3), 0);
}

TEST(simd__cosine_of_zero_vectors_is_1_or_nan){
  float zero[4] = {0}, a[4] = { 1, 0, 0, 2 };
  CHECK_DBL(1, vdb_distance(VECDB_COSINE, VECDB_F32, zero, a, 4), 0);
  CHECK_DBL(1, vdb_distance(VECDB_COSINE, VECDB_F32, a, zero, 4), 0);
  CHECK_DBL(1, vdb_distance(VECDB_COSINE, VECDB_F32, zero, zero, 4), 0);
  CHECK(isnan(vdb_distance_or_nan(VECDB_COSINE, VECDB_F32, zero, a, 4)));
  CHECK(isnan(vdb_distance_or_nan(VECDB_COSINE, VECDB_F32, a, zero, 4)));
  CHECK_DBL(0, vdb_distance_or_nan(VECDB_COSINE, VECDB_F32, a, a, 4), 0);
  CHECK_DBL(2, vdb_distance_or_nan(VECDB_L1, VECDB_F32, zero, a, 4), 1);
}

/* Of itself, of its multiples by powers of two, of its opposite; and whatever
** rounding does, never outside 0..2. */
TEST(simd__cosine_is_exact_on_a_line_and_bounded){
  float a[77], b[77];
  struct vdb_rng r;
  vdb_rng_init(&r, vt_seed());
  for(int round=0; round<2000; round++){
    float factor = ldexpf(1, (int)vdb_rng_below(&r, 60) - 30), d;
    for(int i=0; i<77; i++){
      a[i] = (float)vdb_rng_gauss(&r)*ldexpf(1, round%30 - 15);
      b[i] = a[i]*factor;
    }
    CHECK_DBL(0, vdb_distance(VECDB_COSINE, VECDB_F32, a, b, 77), 0);
    for(int i=0; i<77; i++) b[i] = -b[i];
    CHECK_DBL(2, vdb_distance(VECDB_COSINE, VECDB_F32, a, b, 77), 0);
    for(int i=0; i<77; i++) b[i] = a[i]*(1 + 0x1p-22f*(float)(i%3));
    d = vdb_distance(VECDB_COSINE, VECDB_F32, a, b, 77);
    CHECK(d>=0 && d<1e-5);
  }
}

TEST(simd__what_is_not_a_number_sorts_last){
  float a[2] = { FLT_MAX, FLT_MAX }, b[2] = { FLT_MAX, -FLT_MAX };
  CHECK(vdb_distance(VECDB_IP, VECDB_F32, a, b, 2)==INFINITY);
  CHECK(vdb_distance(VECDB_L2, VECDB_F32, a, b, 2)==INFINITY);
  CHECK(vdb_distance(VECDB_COSINE, VECDB_F32, a, b, 2)==INFINITY);
}

TEST(simd__a_list_of_rows_gives_the_bits_of_single_rows){
  static uint8_t base[600*80*4], query[80*4];
  float key[600], norm2[600];
  struct vdb_rng r;
  vdb_rng_init(&r, vt_seed());
  for(size_t y=0; y<VDB_ARRAY_LEN(all_types); y++){
    int type = all_types[y];
    size_t dim = 71, stride = vdb_vector_bytes(type, dim) + 3;
    random_vector(&r, type, query, dim);
    for(size_t i=0; i<600; i++) random_vector(&r, type, base+i*stride, dim);
    for(size_t i=0; i<600; i++){
      norm2[i] = vdb_norm2(type, base+i*stride, dim);
    }
    for(int m=VECDB_L2; m<=VECDB_JACCARD; m++){
      struct vdb_query q;
      if( !vdb_metric_fits(m, type) ) continue;
      REQUIRE_RC(VECDB_OK, vdb_query_init(&q, m, type, query, dim));
      for(int with_norms=0; with_norms<2; with_norms++){
        vdb_keys_run(&q, base, stride, with_norms ? norm2 : NULL, 600, key);
        for(size_t i=0; i<600; i++){
          float one = vdb_key(&q, base+i*stride);
          float d = vdb_distance(m, type, query, base+i*stride, dim);
          CHECK_MEM(&one, &key[i], sizeof(one));
          CHECK_DBL(d, vdb_key_distance(m, key[i]), 0);
        }
      }
    }
  }
}

TEST(simd__refuses_what_does_not_fit){
  struct vdb_query q;
  float a[1] = {0};
  CHECK_RC(VECDB_MISMATCH, vdb_query_init(&q, VECDB_HAMMING, VECDB_F32, a, 1));
  CHECK_RC(VECDB_MISMATCH, vdb_query_init(&q, VECDB_L2, VECDB_BIT, a, 8));
  CHECK_RC(VECDB_MISMATCH, vdb_query_init(&q, 99, VECDB_F32, a, 1));
  CHECK_RC(VECDB_MISMATCH, vdb_query_init(&q, VECDB_L2, 0, a, 1));
  CHECK_RC(VECDB_RANGE, vdb_query_init(&q, VECDB_L2, VECDB_F32, a, 0));
  CHECK_RC(VECDB_RANGE, vdb_query_init(&q, VECDB_L2, VECDB_F32, a,
                                       VDB_DIM_MAX+1));
  CHECK_U64(0, vdb_vector_bytes(99, 5));
  CHECK_U64(2, vdb_vector_bytes(VECDB_BIT, 9));
}

/* ---- Keys ---------------------------------------------------------------- */

TEST(simd__cut_is_the_last_key_within_a_distance){
  struct vdb_rng r;
  vdb_rng_init(&r, vt_seed());
  for(int i=0; i<20000; i++){
    float d = ldexpf((float)vdb_rng_unit(&r), (int)vdb_rng_below(&r, 200)-100);
    float cut = vdb_key_cut(VECDB_L2, d);
    CHECK(sqrtf(cut)<=d);
    CHECK(cut==FLT_MAX || sqrtf(nextafterf(cut, INFINITY))>d);
  }
  CHECK(sqrtf(vdb_key_cut(VECDB_L2, FLT_MAX))<=FLT_MAX);
  CHECK(vdb_key_cut(VECDB_L2, INFINITY)==INFINITY);
  CHECK(vdb_key_cut(VECDB_L2, -1)==-INFINITY);
  CHECK(vdb_key_cut(VECDB_L2, 0)==0);
  CHECK(vdb_key_cut(VECDB_IP, -7.5f)==-7.5f);
}

/* ---- Half precision ------------------------------------------------------ */

/* The double nearest to x among halves, by trying both neighbours. */
static bool half_is_nearest(float x, uint16_t h){
  float lo, hi, mid;
  uint16_t below = (uint16_t)(h-1), above = (uint16_t)(h+1);
  vdb_widen(VECDB_F16, &h, &mid, 1);
  vdb_widen(VECDB_F16, &below, &lo, 1);
  vdb_widen(VECDB_F16, &above, &hi, 1);
  if( (h & 0x7fff)>0 ){
    double gap = fabs((double)x - lo) - fabs((double)x - mid);
    if( gap<0 || (gap==0 && (h & 1)) ) return false;
  }
  if( (h & 0x7fff)<0x7bff ){
    double gap = fabs((double)x - hi) - fabs((double)x - mid);
    if( gap<0 || (gap==0 && (h & 1)) ) return false;
  }
  return true;
}

static void check_halves(const char *path){
  static float wide[65536];
  static uint16_t all[65536], back[65536];
  struct vdb_rng r;
  if( vdb_simd_select(path)!=VECDB_OK ) return;
  for(int i=0; i<65536; i++) all[i] = (uint16_t)i;
  vdb_widen(VECDB_F16, all, wide, 65536);
  CHECK_U64(0, vdb_f16_from_f32(wide, back, 65536));
  for(int i=0; i<65536; i++){
    bool is_nan = (i & 0x7c00)==0x7c00 && (i & 0x3ff);
    CHECK_INT(is_nan ? (i | 0x200) : i, back[i]);
  }
  vdb_rng_init(&r, vt_seed());
  for(int i=0; i<300000; i++){
    float x = ldexpf((float)vdb_rng_unit(&r), (int)vdb_rng_below(&r, 44) - 28);
    uint16_t h;
    if( i%3==0 ) x = wide[1 + vdb_rng_below(&r, 0x7bfe)];
    if( i%3==1 ){                            /* exactly between two */
      uint32_t j = 1 + vdb_rng_below(&r, 0x7bfd);
      x = (float)(((double)wide[j] + wide[j+1])/2);
    }
    if( x>=65520 ) continue;
    if( vdb_rng_u64(&r) & 1 ) x = -x;
    CHECK_U64(0, vdb_f16_from_f32(&x, &h, 1));
    if( !half_is_nearest(x, h) ) FAIL("%a became half 0x%04x", (double)x, h);
  }
}
TEST(simd__halves_round_to_nearest_even){
  for(size_t p=0; p<VDB_ARRAY_LEN(paths); p++) check_halves(paths[p]);
}

TEST(simd__halves_report_overflow){
  float a[20] = { 65519.99f, 65520.0f, -1e9f, INFINITY, NAN, 3 };
  uint16_t h[20];
  for(size_t p=0; p<VDB_ARRAY_LEN(paths); p++){
    if( vdb_simd_select(paths[p])!=VECDB_OK ) continue;
    for(size_t n=5; n<=20; n++) CHECK_U64(2, vdb_f16_from_f32(a, h, n));
    CHECK_INT(0x7bff, h[0]);
    CHECK_INT(0x7c00, h[1]);
    CHECK_INT(0xfc00, h[2]);
    CHECK_INT(0x7c00, h[3]);
    CHECK((h[4] & 0x7fff)>0x7c00);
  }
}

TEST(simd__bf16_rounds_to_nearest_even){
  float a[6] = { 1 + 0x1p-8f, 1 + 3*0x1p-8f, 1 + 0x1.2p-8f, FLT_MAX, -INFINITY,
                 NAN };
  uint16_t h[6];
  float x;
  CHECK_U64(1, vdb_bf16_from_f32(a, h, 6));
  CHECK_INT(0x3f80, h[0]);
  CHECK_INT(0x3f82, h[1]);
  CHECK_INT(0x3f81, h[2]);
  CHECK_INT(0x7f80, h[3]);
  CHECK_INT(0xff80, h[4]);
  CHECK((h[5] & 0x7fff)>0x7f80);
  vdb_widen(VECDB_BF16, &h[2], &x, 1);
  CHECK_DBL(1 + 0x1p-7, x, 0);
}

TEST(simd__finds_values_that_are_not_finite){
  float a[40] = {0};
  uint16_t h[40] = {0};
  for(size_t i=0; i<40; i++){
    a[i] = i%2 ? INFINITY : NAN;
    CHECK(!vdb_is_finite(VECDB_F32, a, 40));
    CHECK(vdb_is_finite(VECDB_F32, a, i));
    a[i] = -FLT_MAX;
    CHECK(vdb_is_finite(VECDB_F32, a, 40));
    h[i] = 0xfc00;
    CHECK(!vdb_is_finite(VECDB_F16, h, 40));
    CHECK(vdb_is_finite(VECDB_BF16, h, 40));
    h[i] = 0x7f80;
    CHECK(!vdb_is_finite(VECDB_BF16, h, 40));
    h[i] = 0x7bff;
    CHECK(vdb_is_finite(VECDB_F16, h, 40));
  }
  CHECK(vdb_is_finite(VECDB_I8, a, 40));
}

TEST(simd__widens_every_type){
  int8_t i8[3] = { -128, 0, 127 };
  uint8_t u8[3] = { 0, 128, 255 }, bits[2] = { 0x05, 0x02 };
  float x[10];
  vdb_widen(VECDB_I8, i8, x, 3);
  CHECK_DBL(-128, x[0], 0);
  CHECK_DBL(127, x[2], 0);
  vdb_widen(VECDB_U8, u8, x, 3);
  CHECK_DBL(128, x[1], 0);
  CHECK_DBL(255, x[2], 0);
  vdb_widen(VECDB_BIT, bits, x, 10);
  CHECK_DBL(1, x[0], 0);
  CHECK_DBL(0, x[1], 0);
  CHECK_DBL(1, x[2], 0);
  CHECK_DBL(1, x[9], 0);
}

/* ---- The batch filter ---------------------------------------------------- */

/* Thresholds a bit below and a bit above each true product: proposed, not
** proposed. */
static void check_filter(const struct vdb_simd *s, int type, size_t dim,
                         struct vdb_rng *r){
  const struct vdb_filter *f = &s->filter;
  static uint8_t rows[8][2048*4], queries[64][2048*4], copies[8][2048*4];
  static _Alignas(64) uint8_t panel[2049*64*4];
  const void *prepared[8], *q[64];
  float a[64] = {0}, b[64] = {0}, u[8], v[8];
  uint64_t mask[8];
  size_t n = 1 + vdb_rng_below(r, (uint32_t)f->n_query);

  REQUIRE(f->sz_panel(type, dim)<=sizeof(panel));
  for(size_t j=0; j<n; j++){
    random_vector(r, type, queries[j], dim);
    q[j] = queries[j];
  }
  f->pack(type, q, n, dim, panel);
  for(size_t i=0; i<f->n_row; i++){
    random_vector(r, type, rows[i], dim);
    REQUIRE(f->sz_row(type, dim)<=sizeof(copies[i]));
    prepared[i] = f->prepare(type, rows[i], dim, copies[i]);
    u[i] = (float)i;
    v[i] = -(float)i;
  }
  for(size_t j=0; j<n; j++){
    struct sums ref;
    double slack;
    size_t i = j%f->n_row;
    reference_sums(type, queries[j], rows[i], dim, &ref);
    slack = 1e-5*ref.scale + (type==VECDB_U8 ? 1 : 1e-6);
    b[j] = 0.5f;
    a[j] = (float)(ref.dot + slack*(j%2 ? 1 : -1) + 0.5*(double)i);
  }
  f->tile(type, prepared, panel, dim, a, b, u, v, mask);
  for(size_t j=0; j<n; j++){
    CHECK_INT(j%2==0, (mask[j%f->n_row]>>j) & 1);
  }
  for(size_t j=0; j<f->n_query; j++) a[j] = NAN;
  f->tile(type, prepared, panel, dim, a, b, u, v, mask);
  for(size_t i=0; i<f->n_row; i++){
    CHECK_U64(~(uint64_t)0 >> (64-f->n_query), mask[i]);
  }
}
TEST(simd__filter_compares_products_with_thresholds){
  struct vdb_rng r;
  vdb_rng_init(&r, vt_seed());
  for(size_t p=0; p<VDB_ARRAY_LEN(paths); p++){
    const struct vdb_simd *s = vdb_simd_find(paths[p]);
    for(int type=VECDB_F32; s && type<=VECDB_U8; type++){
      for(size_t dim=1; dim<200; dim+=1+dim/16) check_filter(s, type, dim, &r);
      check_filter(s, type, 2000, &r);
    }
  }
}

/* ---- Choosing a path ----------------------------------------------------- */

TEST(simd__environment_names_a_path){
  const char *name = NULL;
  setenv("VECDB_SIMD", "scalar", 1);
  CHECK_RC(VECDB_OK, vdb_simd_status(NULL));
  CHECK_STR("scalar", vdb_simd()->name);
  setenv("VECDB_SIMD", "abacus", 1);
  CHECK_RC(VECDB_UNSUPPORTED, vdb_simd_status(&name));
  CHECK_STR("abacus", name);
  CHECK_RC(VECDB_UNSUPPORTED, vdb_simd_select("abacus"));
  CHECK_STR("scalar", vdb_simd()->name);
  CHECK(vdb_simd_find("auto")==vdb_simd_find(NULL));
}

TEST(simd__an_unknown_path_does_not_stop_the_library){
  setenv("VECDB_SIMD", "abacus", 1);
  CHECK(vdb_simd()==vdb_simd_find(NULL));
}

TEST(simd__says_which_paths_are_missing){
  for(size_t p=0; p<VDB_ARRAY_LEN(paths); p++){
    if( vdb_simd_find(paths[p])==NULL ) SKIP("no %s here", paths[p]);
  }
}

TEST(simd__mode_is_set_and_restored){
#if defined(__x86_64__)
  unsigned odd = 0xdf80;       /* flush to zero, towards zero */
  float a[2] = { 0x1p-140f, 1 }, b[2] = { 1, 0x1p-24f };
  struct vdb_fpmode fp;
  float d;
  _mm_setcsr(odd | 0x40);      /* subnormals are zero */
  fp = vdb_fpmode_enter();
  CHECK_INT(0x1f80, _mm_getcsr() & 0xffc0);
  d = vdb_dot(VECDB_F32, a, b, 1);
  vdb_fpmode_leave(fp);
  CHECK_INT(odd | 0x40, _mm_getcsr());
  _mm_setcsr(0x1f80);
  CHECK_DBL(0x1p-140, d, 0);
#else
  vdb_fpmode_leave(vdb_fpmode_enter());
#endif
}
