/* pca.c -- principal axes by subspace iteration.
**
** C = covariance of the sample; Q = a random d x w basis; repeat: Q = C*Q,
** orthonormalise. A few rounds suffice, because nothing here needs single
** eigenvectors: codes are made after a random rotation of the subspace, and a
** direction at the border between kept and dropped ones carries the same
** energy either way.
**
** Everything is in double precision, every element is computed by the same
** operations in the same order: the loops run over elements of rows that are
** independent of each other, so vectorisation and threads change nothing.
*/
#include <math.h>

#include "index/pca.h"
#include "util/mem.h"
#include "util/pool.h"
#include "util/rng.h"

#define PCA_ROUNDS  6
#define PCA_TILE    16          /* rows of a result per task */
#define PCA_STRIP   64          /* sample rows at a time */

typedef double pca8 __attribute__((vector_size(64)));

/* y[0..n-1] += a*x[0..n-1]; n is a multiple of 8. */
static inline void row_add(double *y, const double *x, double a, size_t n){
  pca8 k = { a, a, a, a, a, a, a, a }, u, v;
  for(size_t i=0; i<n; i+=8){
    memcpy(&u, x+i, sizeof(u));
    memcpy(&v, y+i, sizeof(v));
    v += k*u;
    memcpy(y+i, &v, sizeof(v));
  }
}

/* Sum of products with 8 partial sums, folded in a fixed order. */
static double row_dot(const double *x, const double *y, size_t n){
  pca8 s = { 0 }, u, v;
  for(size_t i=0; i<n; i+=8){
    memcpy(&u, x+i, sizeof(u));
    memcpy(&v, y+i, sizeof(v));
    s += u*v;
  }
  return ((s[0]+s[4]) + (s[2]+s[6])) + ((s[1]+s[5]) + (s[3]+s[7]));
}

struct pca {
  const double *rows;           /* n x d, centred */
  size_t n, d, w;
  double *cov;                  /* d x d */
  double *q, *z;                /* w x d: the basis, and C times it */
};

static int cov_task(void *arg, size_t i_task, unsigned worker){
  struct pca *p = arg;
  size_t lo = i_task*PCA_TILE, hi = lo+PCA_TILE<p->d ? lo+PCA_TILE : p->d;
  size_t from = lo/8*8;                   /* the rest follows by symmetry */
  VDB_UNUSED(worker);
  for(size_t r=0; r<p->n; r+=PCA_STRIP){
    size_t end = r+PCA_STRIP<p->n ? r+PCA_STRIP : p->n;
    for(size_t i=lo; i<hi; i++){
      for(size_t k=r; k<end; k++){
        const double *x = p->rows + k*p->d;
        row_add(p->cov + i*p->d + from, x + from, x[i], p->d - from);
      }
    }
  }
  return VECDB_OK;
}

/* z = C*q, row by row of q. */
static int mul_task(void *arg, size_t i_task, unsigned worker){
  struct pca *p = arg;
  size_t lo = i_task*PCA_TILE, hi = lo+PCA_TILE<p->w ? lo+PCA_TILE : p->w;
  VDB_UNUSED(worker);
  memset(p->z + lo*p->d, 0, (hi-lo)*p->d*sizeof(double));
  for(size_t j=0; j<p->d; j++){
    for(size_t i=lo; i<hi; i++){
      row_add(p->z + i*p->d, p->cov + j*p->d, p->q[i*p->d + j], p->d);
    }
  }
  return VECDB_OK;
}

/* Gram-Schmidt, each row against those before it, twice: the second time
** removes what rounding left. A row that vanishes becomes an axis. */
static void basis_orthonormalise(double *q, size_t w, size_t d){
  for(size_t i=0; i<w; i++){
    double *x = q + i*d, s;
    for(int round=0; round<2; round++){
      for(size_t j=0; j<i; j++) row_add(x, q+j*d, -row_dot(x, q+j*d, d), d);
      s = sqrt(row_dot(x, x, d));
      if( !(s>1e-150) ){
        memset(x, 0, d*sizeof(*x));
        x[i] = 1;
        continue;
      }
      for(size_t j=0; j<d; j++) x[j] /= s;
    }
  }
}

static double *rows_centre(const float *rows, size_t n, size_t d){
  double *x = vdb_malloc_array(n*d+1, sizeof(*x));
  double *mean = vdb_calloc(d, sizeof(*mean));
  for(size_t i=0; x && mean && i<n; i++){
    for(size_t j=0; j<d; j++) mean[j] += rows[i*d+j];
  }
  for(size_t i=0; x && mean && i<n; i++){
    for(size_t j=0; j<d; j++) x[i*d+j] = rows[i*d+j] - mean[j]/(double)n;
  }
  if( mean==NULL ){
    vdb_free(x);
    x = NULL;
  }
  vdb_free(mean);
  return x;
}

int vdb_pca_axes(const float *rows, size_t n, size_t d, size_t w,
                 uint64_t seed, unsigned n_thread, float *axes){
  struct pca p = { .n = n, .d = d, .w = w };
  double *x = rows_centre(rows, n, d);
  struct vdb_rng r;
  int rc = VECDB_OK;
  p.rows = x;
  p.cov = vdb_calloc(d*d, sizeof(double));
  p.q = vdb_malloc_array(w*d, sizeof(double));
  p.z = vdb_malloc_array(w*d, sizeof(double));
  if( !x || !p.cov || !p.q || !p.z ) TRY( VECDB_NOMEM );
  vdb_rng_init(&r, vdb_mix64(seed ^ 0x70636120u));
  /* +1 and -1: no function of the C library decides a bit. */
  for(size_t i=0; i<w*d; i++) p.q[i] = vdb_rng_u64(&r)>>63 ? 1 : -1;
  TRY( vdb_pool_run(n_thread, (d+PCA_TILE-1)/PCA_TILE, cov_task, &p) );
  for(size_t i=0; i<d; i++){
    for(size_t j=0; j<i; j++) p.cov[i*d+j] = p.cov[j*d+i];
  }
  for(int round=0; round<PCA_ROUNDS; round++){
    double *t;
    TRY( vdb_pool_run(n_thread, (w+PCA_TILE-1)/PCA_TILE, mul_task, &p) );
    t = p.q;
    p.q = p.z;
    p.z = t;
    basis_orthonormalise(p.q, w, d);
  }
  for(size_t i=0; i<w*d; i++) axes[i] = (float)p.q[i];
done:
  vdb_free(x);
  vdb_free(p.cov);
  vdb_free(p.q);
  vdb_free(p.z);
  return rc;
}

int vdb_pca_mix(const struct vdb_code_simd *simd, float *axes, size_t w,
                size_t d, uint64_t seed){
  float *sign = vdb_malloc_aligned(4*w*sizeof(float));
  float *col = vdb_malloc_aligned(w*sizeof(float));
  struct vdb_rng r;
  int rc = VECDB_OK;
  if( sign==NULL || col==NULL ) TRY( VECDB_NOMEM );
  vdb_rng_init(&r, vdb_mix64(seed ^ 0x6d6978u));
  for(size_t i=0; i<4*w; i++) sign[i] = vdb_rng_u64(&r)>>63 ? 1.0f : -1.0f;
  for(size_t j=0; j<d; j++){
    for(size_t i=0; i<w; i++) col[i] = axes[i*d+j];
    simd->rotate(sign, w, col);
    for(size_t i=0; i<w; i++) axes[i*d+j] = col[i];
  }
done:
  vdb_free_aligned(sign);
  vdb_free_aligned(col);
  return rc;
}

void vdb_pca_bytes(const float *axes, size_t w, size_t d, int8_t *byte,
                   float *scale){
  for(size_t i=0; i<w; i++){
    float most = 0, inv;
    for(size_t j=0; j<d; j++){
      float a = fabsf(axes[i*d+j]);
      most = a>most ? a : most;
    }
    scale[i] = most/127.0f;
    inv = most>0 ? 127.0f/most : 0;
    for(size_t j=0; j<d; j++){
      float v = axes[i*d+j]*inv;
      byte[i*d+j] = (int8_t)(int32_t)(v<0 ? v-0.5f : v+0.5f);
    }
  }
}
