/* gpu_batch.h -- collections for the tests of GPUs, and a batch searched twice:
** with gpu=off and with gpu=require, byte for byte.
*/
#ifndef TEST_GPU_BATCH_H
#define TEST_GPU_BATCH_H
#include "api/api.h"
#include "api/gpu.h"

#include <math.h>

#include "gpu/gpu.h"
#include "simd/simd.h"
#include "util/rng.h"

static vecdb *db;
static vecdb_collection *c;
static struct vdb_rng rng;
static size_t n_dim;
static int element;
static const char *const metrics[] = { "l2", "cosine", "ip" };

/* A number between -1 and 1, roughly normal. */
static inline float noise(void){
  float x = 0;
  for(int i=0; i<4; i++) x += (float)(vdb_rng_u64(&rng)>>40)*0x1p-24f;
  return (x-2)/1.2f;
}

static inline void element_put(void *v, size_t i, float x){
  uint16_t h;
  switch( element ){
    case VECDB_F32: ((float*)v)[i] = x; break;
    case VECDB_F16: (void)vdb_f16_from_f32(&x, &h, 1);
                    ((uint16_t*)v)[i] = h; break;
    case VECDB_BF16: (void)vdb_bf16_from_f32(&x, &h, 1);
                    ((uint16_t*)v)[i] = h; break;
    case VECDB_I8: ((int8_t*)v)[i] = (int8_t)(x*100); break;
    default: ((uint8_t*)v)[i] = (uint8_t)(128+x*100); break;
  }
}

/* Rows around one of 20 centres, times `scale`. */
static inline void fill(void *v, size_t n, float scale){
  size_t sz = vecdb_vector_bytes(element, n_dim);
  for(size_t r=0; r<n; r++){
    uint64_t centre = vdb_rng_u64(&rng)%20;
    for(size_t i=0; i<n_dim; i++){
      float x = 0.3f*noise() + (float)((centre*37+i*11)%17)/17 - 0.5f;
      element_put((char*)v + r*sz, i, scale*x);
    }
  }
}

static inline void begin(int type, size_t d, const char *metric){
  static const char *const name[] = { "", "float", "float16", "bfloat16",
                                      "int8", "uint8" };
  char schema[200];
  if( db==NULL ) OK(NULL, vecdb_config_gpu(gpu_plugin()));
  vdb_rng_init(&rng, vt_seed());
  element = type;
  n_dim = d;
  db = api_memory();
  snprintf(schema, sizeof(schema), "id integer primary key, v %s[%zu] "
           "distance_metric=%s index=flat, half int", name[type], d, metric);
  c = api_collection(db, "t", schema);
  OK(db, vecdb_set(db, "gpu", VECDB_GPU_REQUIRE));
}

/* Rows with keys from `key` on, step apart; sealed if asked. */
static inline void put(const void *v, size_t n, int64_t key, int64_t step){
  int64_t *keys = malloc(n*sizeof(*keys)), *half = malloc(n*sizeof(*half));
  vecdb_column_data d[3] = {
    { sizeof(d[0]), VECDB_KEY, VECDB_INTEGER, 0, keys, 0, NULL },
    { sizeof(d[0]), 1, VECDB_VECTOR, (uint32_t)element, v, 0, NULL },
    { sizeof(d[0]), 2, VECDB_INTEGER, 0, half, 0, NULL } };
  for(size_t i=0; i<n; i++){
    keys[i] = key + (int64_t)i*step;
    half[i] = (int64_t)(vdb_rng_u64(&rng)%1000);
  }
  OK(db, vecdb_put_many(c, n, d, 3, 0, NULL));
  free(keys);
  free(half);
}
static inline void put_random(size_t n, int64_t key, int64_t step){
  void *v = malloc(n*vecdb_vector_bytes(element, n_dim));
  fill(v, n, 1);
  put(v, n, key, step);
  free(v);
}
static inline void seal(void){
  vecdb_optimize_options o = { .size = sizeof(o),
                               .flags = VECDB_OPTIMIZE_SEAL };
  OK(db, vecdb_optimize(c, &o));
}

/* The same batch twice. */
static inline void compare_with(const void *query, size_t nq, size_t k,
                         const char *filter){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_search_info info = { .size = sizeof(info) };
  int64_t *key[2];
  float *dist[2];
  uint32_t *n[2];
  o.k = k;
  o.filter = filter;
  o.flags = VECDB_SEARCH_EXACT;
  for(int g=0; g<2; g++){
    key[g] = malloc(nq*k*sizeof(**key));
    dist[g] = malloc(nq*k*sizeof(**dist));
    n[g] = malloc(nq*sizeof(**n));
    OK(db, vecdb_set(db, "gpu", g ? VECDB_GPU_REQUIRE : VECDB_GPU_OFF));
    OK(db, vecdb_search_many(c, &o, nq, element, query, 0, key[g], dist[g],
                             n[g]));
  }
  if( vecdb_last_search(db, &info)==VECDB_OK && info.n_match>0 ){
    CHECK_STR("by the GPU", info.why);
  }
  CHECK_MEM(n[0], n[1], nq*sizeof(**n));
  CHECK_MEM(key[0], key[1], nq*k*sizeof(**key));
  CHECK_MEM(dist[0], dist[1], nq*k*sizeof(**dist));
  for(int g=0; g<2; g++){
    free(key[g]);
    free(dist[g]);
    free(n[g]);
  }
}
static inline void compare(size_t nq, size_t k, const char *filter){
  void *query = malloc(nq*vecdb_vector_bytes(element, n_dim));
  fill(query, nq, 1);
  compare_with(query, nq, k, filter);
  free(query);
}


static inline void put_scaled(size_t n, float scale, int64_t key){
  float *v = malloc(n*n_dim*sizeof(*v));
  fill(v, n, scale);
  put(v, n, key, 1);
  free(v);
}
#endif
