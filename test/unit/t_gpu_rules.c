/* t_gpu_rules.c -- the bound of gpu/rules.h: what a tensor core that always
** rounds towards zero makes of copies in fp16 stays within e of the canonical
** distance, also for numbers that cancel. And the order of visits.
*/
#include <math.h>

#include "vt.h"

#include "gpu/rules.h"
#include "simd/simd.h"
#include "util/rng.h"

enum { D_MAX = 300 };
static struct vdb_rng rng;

static float half_of(double x, double *lost2){
  float f = (float)x;
  uint16_t h;
  (void)vdb_f16_from_f32(&f, &h, 1);
  vdb_widen(VECDB_F16, &h, &f, 1);
  *lost2 += (x - (double)f)*(x - (double)f);
  return f;
}

static float towards_zero(double x){
  float f = (float)x;
  return fabs((double)f)>fabs(x) ? nextafterf(f, 0.0f) : f;
}

/* One side: copies of s(x*unit - mu), its norm and what was lost, rounded up. */
static void copy_of(const float *x, const float *mu, uint32_t d, double s,
                    double unit, float *out, float *norm, float *lost){
  double norm2 = 0, lost2 = 0;
  for(uint32_t i=0; i<d; i++){
    double e = s*((double)x[i]*unit - (double)mu[i]);
    norm2 += e*e;
    out[i] = half_of(e, &lost2);
  }
  *norm = (float)(sqrt(norm2)*(1+0x1p-20));
  *lost = (float)(sqrt(lost2)*(1+0x1p-20));
}

static double length_of(const float *x, uint32_t d){
  double s = 0;
  for(uint32_t i=0; i<d; i++) s += (double)x[i]*(double)x[i];
  return sqrt(s);
}

static float most_of(const float *x, const float *mu, uint32_t d,
                     double unit){
  float most = 0;
  for(uint32_t i=0; i<d; i++){
    float c = (float)fabs((double)x[i]*unit - (double)mu[i]);
    if( c>most ) most = c;
  }
  return most;
}

/* How much of e the error of this pair takes; metric as rules.h counts. */
static double share_of(int metric, const float *q, const float *x,
                       const float *mu, uint32_t d){
  static const int metrics[] = { VECDB_L2, VECDB_IP, VECDB_COSINE };
  double uq = metric==2 ? 1/length_of(q, d) : 1;
  double ux = metric==2 ? 1/length_of(x, d) : 1;
  float s = rules_scale(most_of(x, mu, d, ux));
  float t = rules_scale(most_of(q, mu, d, uq)), dot = 0, v, z = 0;
  float a[D_MAX], b[D_MAX], A, ra, B, R;
  double ratio = metric==0 ? (double)s/t : 1, canon, W;
  copy_of(q, mu, d, t, uq, a, &A, &ra);
  copy_of(x, mu, d, s, ux, b, &B, &R);
  for(uint32_t i=0; i<d; i++){
    dot = towards_zero((double)dot + (double)a[i]*(double)b[i]);
  }
  canon = (double)vdb_distance(metrics[metric], VECDB_F32, q, x, d);
  if( metric==0 ){
    struct vdb_query prepared;
    double a2 = 0;
    (void)vdb_query_init(&prepared, VECDB_L2, VECDB_F32, q, d);
    for(uint32_t i=0; i<d; i++){
      double e = (double)s*((double)q[i] - (double)mu[i]);
      a2 += e*e;
    }
    W = (double)s*s*(double)vdb_key(&prepared, x) - a2;
    v = fmaf(-(float)(2*ratio), dot, B*B);
    z = (float)(d+64)*(s*0x1p-74f)*(s*0x1p-75f);
  }else{
    W = metric==1 ? canon*s*t : (canon-1)*s*t;
    v = -dot;
    if( metric==1 ) z = (float)(d+64)*(s*0x1p-74f)*(t*0x1p-75f);
  }
  return fabs((double)v - W)
       / (double)rules_band_at(rules_band_of(metric, d, (float)(A*ratio),
                                             (float)(ra*ratio), z), B, R);
}

static void numbers(float *x, uint32_t d, int kind, float scale){
  for(uint32_t i=0; i<d; i++){
    float r = (float)vdb_rng_gauss(&rng);
    switch( kind ){
      case 0: x[i] = r; break;                           /* noise */
      case 1: x[i] = i%2 ? -x[i-1] + r*0x1p-10f : r; break;   /* cancels */
      case 2: x[i] = i==0 ? 1000 : r*0x1p-6f; break;     /* one is large */
      default: x[i] = 50 + r; break;                     /* far from 0 */
    }
    if( i%2==0 || kind!=1 ) x[i] *= scale;
    else x[i] = -x[i-1] + r*0x1p-10f*scale;
  }
}

TEST(gpu_rules__the_bound_holds){
  static const uint32_t dims[] = { 1, 3, 16, 100, 300 };
  double worst = 0;
  vdb_rng_init(&rng, vt_seed());
  for(int metric=0; metric<3; metric++) for(int kind=0; kind<16; kind++){
    for(int i=0; i<5; i++) for(int n=0; n<40; n++){
      float q[D_MAX], x[D_MAX], mu[D_MAX] = { 0 }, zero[D_MAX] = { 0 };
      float scale = n%4==0 ? 0x1p-20f : n%4==1 ? 0x1p20f : 1;
      double share;
      numbers(q, dims[i], kind%4, scale);
      numbers(x, dims[i], kind/4, n%8==0 ? 1 : scale);
      numbers(mu, dims[i], 3, scale*0.9f);
      if( n%5==0 ) memcpy(x, q, dims[i]*sizeof(*x));
      share = share_of(metric, q, x, metric==0 ? mu : zero, dims[i]);
      if( share>worst ) worst = share;
      if( !(share<1) ){
        FAIL("metric %d, kind %d, %u dimensions: %g of the bound", metric,
             kind, dims[i], share);
      }
    }
  }
  CHECK(worst>0.01);                         /* and is not idle */
}

TEST(gpu_rules__every_row_is_visited_once){
  for(uint32_t n=1; n<700; n+=1+n/7){
    uint32_t step = rules_step(n), n_seen = 0;
    bool seen[700] = { false };
    for(uint32_t i=0; i<n; i++){
      uint32_t r = rules_visit(i, step, n);
      REQUIRE(r<n);
      n_seen += !seen[r];
      seen[r] = true;
    }
    CHECK_U64(n, n_seen);
  }
}

TEST(gpu_rules__keys_order_as_numbers_do){
  static const float x[] = { -INFINITY, -3e38f, -1, -1e-45f, 0, 1e-45f, 1,
                             3e38f, INFINITY };
  for(size_t i=0; i<sizeof(x)/sizeof(*x); i++){
    CHECK(rules_unorder(rules_order(x[i]))==x[i]);
    if( i>0 ) CHECK(rules_order(x[i-1])<rules_order(x[i]));
  }
  CHECK_U64(rules_order(0.0f), rules_order(-0.0f));
  CHECK_U64(0xffffffffu, rules_order(NAN));
}
