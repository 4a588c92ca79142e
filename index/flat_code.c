/* flat_code.c -- writing the codes of plain rows (flat_code.h says what they
** are; flat_coded.c searches them).
**
** ROUNDING  TAN and NORM are used as upper bounds, so what rounding may hide
**           is added: norms are canonical sums, wrong by (dims/32+6)*2^-24 at
**           most, and <x,r> by twice that, as the angle of x and r is below
**           60 degrees (else there is no bound). So norm2(r)*norm2(x)/<x,r>^2
**           is wrong by less than 4*(dims/32+16)*2^-23.
**           The step may be anything: its effect is inside of s and TAN.
*/
#include "index/flat_code.h"

#include <float.h>
#include <math.h>

#include "pager/format.h"
#include "simd/code.h"
#include "simd/simd.h"
#include "util/bytes.h"
#include "util/mem.h"
#include "util/pool.h"
#include "util/rng.h"

#define FLAT_ROTATION_SEED  0x666c617420636f64u
/* Standard deviations that the numbers span to either side. 2.8 costs level 2
** a little and is best for level 1: error .105 of the norm, .110 for 3.0. */
#define FLAT_CLIP           2.8f
#define FLAT_CENTRE_ROWS    65536u
#define FLAT_UNITS_PER_TASK 4u
/* Squares of norms that the bounds are proved for. */
#define FLAT_NORM2_MIN      0x1p-100f
#define FLAT_NORM2_MAX      0x1p100f

bool vdb_flat_code_fits(int metric, int type, size_t dim){
  return (metric==VECDB_L2 || metric==VECDB_COSINE || metric==VECDB_IP)
      && (type==VECDB_F32 || type==VECDB_F16 || type==VECDB_BF16)
      && dim>=FLAT_CODE_DIM_MIN && dim<=VDB_DIM_MAX;
}

size_t vdb_flat_code_dims(size_t dim){ return (dim+63)/64*64; }
size_t vdb_flat_code_coarse(size_t dim){
  return VDB_CODE_GROUP_BYTES(vdb_flat_code_dims(dim), 4) + FLATCODE_SIZE;
}
size_t vdb_flat_code_fine(size_t dim){
  return FLATFINE_SIZE + vdb_flat_code_dims(dim)/4;
}
size_t vdb_flat_code_unit(size_t dim, int bits){
  return vdb_flat_code_coarse(dim) + (bits>4 ? 32*vdb_flat_code_fine(dim) : 0);
}

/* ---- The coder ----------------------------------------------------------- */

static bool norm2_is_usable(float norm2){
  return norm2>=FLAT_NORM2_MIN && norm2<=FLAT_NORM2_MAX;
}

/* A row as floats, of length 1 under cosine. */
static bool row_to_space(int metric, int type, size_t dim, const void *vec,
                         float *out){
  float norm2, inv;
  vdb_widen(type, vec, out, dim);
  if( metric!=VECDB_COSINE ) return true;
  norm2 = vdb_norm2(type, vec, dim);
  if( !norm2_is_usable(norm2) ) return false;
  inv = (float)(1/sqrt((double)norm2));
  for(size_t i=0; i<dim; i++) out[i] *= inv;
  return true;
}

bool vdb_flat_code_vector(const struct flat_coder *k, const void *vec,
                          bool is_centred, float *out){
  bool ok = row_to_space(k->metric, k->type, k->dim, vec, out);
  for(size_t i=k->dim; i<k->dims; i++) out[i] = 0;
  for(size_t i=0; is_centred && i<k->dim; i++) out[i] -= k->centre[i];
  return ok;
}

int vdb_flat_code_centre(int metric, int type, size_t dim, const void *rows,
                         size_t stride, size_t n, float *centre){
  double *sum = vdb_calloc(dim, sizeof(*sum));
  float *v = vdb_malloc_array(dim, sizeof(*v));
  struct vdb_fpmode fp = vdb_fpmode_enter();
  size_t n_sum = 0;
  int rc = sum && v ? VECDB_OK : VECDB_NOMEM;

  if( n>FLAT_CENTRE_ROWS ) n = FLAT_CENTRE_ROWS;
  for(size_t r=0; r<n && rc==VECDB_OK; r++){
    const void *row = (const char*)rows + r*stride;
    if( !norm2_is_usable(vdb_norm2(type, row, dim))
     || !row_to_space(metric, type, dim, row, v) ) continue;
    for(size_t i=0; i<dim; i++) sum[i] += (double)v[i];
    n_sum++;
  }
  for(size_t i=0; i<dim && rc==VECDB_OK; i++){
    centre[i] = n_sum ? (float)(sum[i]/(double)n_sum) : 0;
  }
  vdb_fpmode_leave(fp);
  vdb_free(sum);
  vdb_free(v);
  return rc;
}

static int coder_draw_signs(struct flat_coder *k){
  uint8_t *bit = vdb_malloc(k->dims/2);
  struct vdb_rng r;
  if( bit==NULL ) return VECDB_NOMEM;
  vdb_rng_init(&r, FLAT_ROTATION_SEED);
  for(size_t i=0; i<k->dims/2; i+=8) put_u64(bit+i, vdb_rng_u64(&r));
  vdb_code_signs(bit, k->dims, k->sign);
  vdb_free(bit);
  return VECDB_OK;
}

int vdb_flat_coder_create(int metric, int type, size_t dim, int bits,
                          const float *centre, struct flat_coder **out){
  struct flat_coder *k = vdb_calloc(1, sizeof(*k));
  int rc = VECDB_OK;

  *out = NULL;
  if( k==NULL ) return VECDB_NOMEM;
  k->n_ref = 1;
  k->metric = metric;
  k->type = type;
  k->bits = bits;
  k->dim = dim;
  k->dims = vdb_flat_code_dims(dim);
  k->centre = vdb_malloc_aligned(k->dims*sizeof(float));
  k->sign = vdb_malloc_aligned(4*k->dims*sizeof(float));
  if( !k->centre || !k->sign ) TRY( VECDB_NOMEM );
  memcpy(k->centre, centre, dim*sizeof(float));
  for(size_t i=dim; i<k->dims; i++) k->centre[i] = 0;
  TRY( coder_draw_signs(k) );
  *out = k;
  k = NULL;
done:
  vdb_flat_coder_unref(k);
  return rc;
}

void vdb_flat_coder_unref(struct flat_coder *k){
  if( k==NULL || --k->n_ref>0 ) return;
  vdb_free_aligned(k->centre);
  vdb_free_aligned(k->sign);
  vdb_free(k);
}

/* ---- Encoding ------------------------------------------------------------ */

struct code_level { float resc, tan, norm; };

static float float_above(double x){
  float f = (float)x;
  return (double)f<x ? nextafterf(f, INFINITY) : f;
}

/* s and its error for one level, whose x is given; false: there is none. */
static bool level_measure(const float *x, const float *r, float n2,
                          size_t dims, struct code_level *out){
  const struct vdb_code_simd *simd = vdb_code_simd();
  double xr = (double)simd->dot(x, r, dims);
  double xx = (double)simd->dot(x, x, dims);
  double slack = ((double)dims/32 + 16)*0x1p-23, t2;
  if( !(xr*xr>0.25*xx*(double)n2) ) return false;
  t2 = (double)n2*xx/(xr*xr) - 1 + 4*slack;
  out->resc = (float)(-2*(double)n2/xr);
  out->tan = float_above(sqrt((double)n2*t2));
  out->norm = float_above(sqrt((double)n2*(1 + t2))*(1 + slack));
  return isfinite(out->resc) && isfinite(out->tan) && isfinite(out->norm);
}

struct code_scratch { float *r, *x4, *x6; uint8_t *high, *low; };

static bool code_scratch_init(struct code_scratch *z, size_t dims){
  z->r = vdb_malloc_aligned(dims*sizeof(float));
  z->x4 = vdb_malloc_aligned(dims*sizeof(float));
  z->x6 = vdb_malloc_aligned(dims*sizeof(float));
  z->high = vdb_malloc_aligned(dims);
  z->low = vdb_malloc_aligned(dims/4);
  return z->r && z->x4 && z->x6 && z->high && z->low;
}
static void code_scratch_clear(struct code_scratch *z){
  vdb_free_aligned(z->r);
  vdb_free_aligned(z->x4);
  vdb_free_aligned(z->x6);
  vdb_free_aligned(z->high);
  vdb_free_aligned(z->low);
}

/* Both parts of the code of r, and what both levels say of them. */
static bool row_quantise(const struct flat_coder *k, float n2,
                         struct code_scratch *z, struct code_level level[2]){
  float step = FLAT_CLIP/32*sqrtf(n2/(float)k->dims);
  vdb_code_simd()->split(z->r, k->dims, 1.0f/step, z->high, z->low, z->x4,
                         z->x6);
  return level_measure(z->x4, z->r, n2, k->dims, &level[0])
      && level_measure(z->x6, z->r, n2, k->dims, &level[1]);
}

/* Row `vec` as one lane of a unit, which was zeroed. fine: NULL without it. */
static void row_encode(const struct flat_coder *k, const void *vec, size_t lane,
                       unsigned char *coarse, unsigned char *fine,
                       struct code_scratch *z){
  const struct vdb_code_simd *simd = vdb_code_simd();
  unsigned char *factor = coarse + VDB_CODE_GROUP_BYTES(k->dims, 4) + 4*lane;
  struct code_level level[2];
  float n2 = 0;
  bool ok = vdb_flat_code_vector(k, vec, true, z->r);

  if( ok ){
    simd->rotate(k->sign, k->dims, z->r);
    n2 = simd->dot(z->r, z->r, k->dims);
    ok = norm2_is_usable(n2) && row_quantise(k, n2, z, level);
  }
  if( !ok ){
    put_f32(factor + FLATCODE_TAN, INFINITY);
    if( fine ) put_f32(fine + FLATFINE_TAN, INFINITY);
    return;
  }
  vdb_code_put(coarse, lane, k->dims, 4, z->high);
  put_f32(factor + FLATCODE_NORM2, n2);
  put_f32(factor + FLATCODE_RESC, level[0].resc);
  put_f32(factor + FLATCODE_TAN, level[0].tan);
  put_f32(factor + FLATCODE_NORM, level[0].norm);
  if( fine==NULL ) return;
  put_f32(fine + FLATFINE_RESC, level[1].resc);
  put_f32(fine + FLATFINE_TAN, level[1].tan);
  memcpy(fine + FLATFINE_SIZE, z->low, k->dims/4);
}

struct encode_job {
  const struct flat_coder *k;
  const char *rows;
  size_t stride, n, n_unit;
  unsigned char *out;
};

static int encode_task(void *arg, size_t i_task, unsigned worker){
  const struct encode_job *j = arg;
  struct vdb_fpmode fp = vdb_fpmode_enter();     /* threads inherit the mode */
  size_t sz1 = vdb_flat_code_coarse(j->k->dim);
  size_t sz2 = vdb_flat_code_fine(j->k->dim);
  size_t i = i_task*FLAT_UNITS_PER_TASK*32;
  size_t end = vdb_min_sz(i + FLAT_UNITS_PER_TASK*32, j->n);
  unsigned char *fine = j->k->bits>4 ? j->out + j->n_unit*sz1 : NULL;
  struct code_scratch z = { 0 };
  int rc = code_scratch_init(&z, j->k->dims) ? VECDB_OK : VECDB_NOMEM;

  VDB_UNUSED(worker);
  for(; i<end && rc==VECDB_OK; i++){
    row_encode(j->k, j->rows + i*j->stride, i%32, j->out + i/32*sz1,
               fine ? fine + i*sz2 : NULL, &z);
  }
  code_scratch_clear(&z);
  vdb_fpmode_leave(fp);
  return rc;
}

int vdb_flat_encode(const struct flat_coder *k, const void *rows,
                    size_t stride, size_t n, unsigned n_thread,
                    unsigned char *out){
  struct encode_job j = { k, rows, stride, n, vdb_flat_code_units(n), out };
  size_t n_task = (j.n_unit + FLAT_UNITS_PER_TASK-1)/FLAT_UNITS_PER_TASK;

  memset(out, 0, j.n_unit*vdb_flat_code_unit(k->dim, k->bits));
  return vdb_pool_run(n_thread, n_task, encode_task, &j);
}
