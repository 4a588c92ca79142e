/* distance.c -- from canonical sums to keys and distances (simd.h).
**
** The kernels give sums; here is the last step of each metric, once, so that
** a row has the same distance whichever way it was found.
*/
#include <float.h>
#include <math.h>

#include "simd/simd_int.h"

/* The product of two floats is exact in double precision and has no overflow
** there; the root of aa*aa is aa exactly, so a vector is at distance 0 from
** itself, which sqrtf(aa)*sqrtf(bb) would not give. */
float vdb_cosine_from_sums(float dot, float aa, float bb){
  float d;
  if( aa==0 || bb==0 ) return 1.0f;
  d = 1.0f - dot/(float)sqrt((double)aa*(double)bb);
  if( d<0.0f ) return 0.0f;
  if( d>2.0f ) return d<=FLT_MAX ? 2.0f : INFINITY;
  return d==d ? d : INFINITY;
}

int vdb_query_init(struct vdb_query *q, int metric, int type,
                   const void *vec, size_t dim){
  memset(q, 0, sizeof(*q));
  if( !vdb_metric_fits(metric, type) ) return VECDB_MISMATCH;
  if( dim==0 || dim>VDB_DIM_MAX ) return VECDB_RANGE;
  q->simd = vdb_simd();
  q->vec = vec;
  q->dim = dim;
  q->metric = metric;
  q->type = type;
  if( metric==VECDB_COSINE ){
    q->simd->type[type].dot(vec, &vec, 1, dim, &q->norm2);
  }
  return VECDB_OK;
}

struct vdb_query vdb_query_on(const struct vdb_query *q, int row_type){
  struct vdb_query out = *q;
  if( q->type==VECDB_F32 && row_type==VECDB_I8 ) out.type = VDB_F32_ON_I8;
  if( q->type==VECDB_F32 && row_type==VECDB_U8 ) out.type = VDB_F32_ON_U8;
  return out;
}

/* NaN comes from an overflow of both signs: no place in the order but last. */
static void keys_order_nan(float *key, size_t n){
  for(size_t i=0; i<n; i++) key[i] = key[i]==key[i] ? key[i] : INFINITY;
}

static void cosine_keys(const struct vdb_query *q, const void *const *row,
                        const float *norm2, size_t n, float *key){
  const struct vdb_type_simd *k = &q->simd->type[q->type];
  float nn[64];
  for(size_t i=0, m; i<n; i+=m){
    const float *xx = nn;
    m = vdb_min_sz(n-i, VDB_ARRAY_LEN(nn));
    if( norm2 ){
      k->dot(q->vec, row+i, m, q->dim, key+i);
      xx = norm2+i;
    }else{
      k->dot_norm(q->vec, row+i, m, q->dim, key+i, nn);
    }
    for(size_t j=0; j<m; j++){
      key[i+j] = vdb_cosine_from_sums(key[i+j], q->norm2, xx[j]);
    }
  }
}

void vdb_keys(const struct vdb_query *q, const void *const *row,
              const float *norm2, size_t n, float *key){
  const struct vdb_type_simd *k = &q->simd->type[q->type];
  switch( q->metric ){
    case VECDB_L2:
      k->l2sq(q->vec, row, n, q->dim, key);
      keys_order_nan(key, n);
      break;
    case VECDB_IP:
      k->dot(q->vec, row, n, q->dim, key);
      for(size_t i=0; i<n; i++) key[i] = 0.0f - key[i];
      keys_order_nan(key, n);
      break;
    case VECDB_L1:
      k->l1(q->vec, row, n, q->dim, key);
      keys_order_nan(key, n);
      break;
    case VECDB_COSINE:  cosine_keys(q, row, norm2, n, key); break;
    case VECDB_HAMMING: k->hamming(q->vec, row, n, q->dim, key); break;
    case VECDB_JACCARD: k->jaccard(q->vec, row, n, q->dim, key); break;
    default: assert( 0 );
  }
}

void vdb_keys_run(const struct vdb_query *q, const void *base, size_t stride,
                  const float *norm2, size_t n, float *key){
  const void *row[256];
  const char *z = base;
  for(size_t i=0, m; i<n; i+=m){
    m = vdb_min_sz(n-i, VDB_ARRAY_LEN(row));
    for(size_t j=0; j<m; j++) row[j] = z + (i+j)*stride;
    vdb_keys(q, row, norm2 ? norm2+i : NULL, m, key+i);
  }
}

float vdb_key_distance(int metric, float key){
  return metric==VECDB_L2 ? sqrtf(key) : key;
}

/* For l2 the square of the distance may round to either side, and several
** floats share a root: walk to the last of them, two or three steps. */
float vdb_key_cut(int metric, float distance){
  float key, next;
  if( metric!=VECDB_L2 || distance==INFINITY ) return distance;
  if( !(distance>=0) ) return -INFINITY;
  key = distance*distance;
  while( sqrtf(key)>distance ) key = nextafterf(key, 0.0f);
  while( (next = nextafterf(key, INFINITY))<INFINITY
      && sqrtf(next)<=distance ) key = next;
  return key;
}

float vdb_distance(int metric, int type, const void *a, const void *b,
                   size_t dim){
  struct vdb_query q;
  float key = INFINITY;
  if( vdb_query_init(&q, metric, type, a, dim)==VECDB_OK ){
    vdb_keys(&q, &b, NULL, 1, &key);
  }
  return vdb_key_distance(metric, key);
}

float vdb_distance_or_nan(int metric, int type, const void *a, const void *b,
                          size_t dim){
  if( metric==VECDB_COSINE && (vdb_norm2(type, a, dim)==0
                            || vdb_norm2(type, b, dim)==0) ) return NAN;
  return vdb_distance(metric, type, a, b, dim);
}

float vdb_dot(int type, const void *a, const void *b, size_t dim){
  float sum;
  vdb_simd()->type[type].dot(a, &b, 1, dim, &sum);
  return sum;
}
float vdb_l2sq(int type, const void *a, const void *b, size_t dim){
  float sum;
  vdb_simd()->type[type].l2sq(a, &b, 1, dim, &sum);
  return sum;
}
float vdb_norm2(int type, const void *a, size_t dim){
  return vdb_dot(type, a, a, dim);
}
