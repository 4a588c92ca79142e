/* t_data.c -- exact answers over real data, against their ground truth.
**
** The truth ranks by (distance, row number) with distances in float64; ours
** are floats, so that rows which differ by less than a float can swap. What
** must agree is therefore the distance at each rank: exactly for bytes, whose
** sums are integers, and within 1e-6 for cosine.
*/
#include "api/api.h"

#include "util/bytes.h"

struct table { unsigned char *p; uint32_t n, d; };     /* after its header */

static struct table load(const char *dir, const char *name){
  struct table t = { NULL, 0, 0 };
  unsigned char head[8];
  char path[4200];
  long sz;
  FILE *f;
  snprintf(path, sizeof(path), "%s/%s", dir, name);
  f = fopen(path, "rb");
  if( f==NULL ) return t;
  fseek(f, 0, SEEK_END);
  sz = ftell(f);
  rewind(f);
  REQUIRE_U64(8, fread(head, 1, 8, f));
  t.n = get_u32(head);
  t.d = get_u32(head+4);
  t.p = malloc((size_t)sz-8);
  REQUIRE_U64((uint64_t)sz-8, fread(t.p, 1, (size_t)sz-8, f));
  fclose(f);
  return t;
}

/* gt.ivecs: for each query k and k row numbers. */
static int32_t *load_truth(const char *dir, uint32_t nq, uint32_t *k){
  char path[4200];
  int32_t *all;
  FILE *f;
  snprintf(path, sizeof(path), "%s/gt.ivecs", dir);
  f = fopen(path, "rb");
  REQUIRE(f!=NULL);
  REQUIRE_U64(4, fread(k, 1, 4, f));
  rewind(f);
  all = malloc((size_t)nq*(*k+1)*4);
  REQUIRE_U64((uint64_t)nq*(*k+1)*4, fread(all, 1, (size_t)nq*(*k+1)*4, f));
  fclose(f);
  return all;
}

/* Search nq queries and compare the distance at each rank with that of the
** row which the truth has there. */
static void check_set(const char *set, const char *base_name,
                      const char *query_name, const char *decl, int element,
                      int metric, uint32_t nq, double tolerance){
  const char *dir = vt_data(set);
  const char *path = vt_path("data.vdb");
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_column_data d = { sizeof(d), 1, VECDB_VECTOR, (uint32_t)element, NULL,
                          0, NULL };
  struct table base, query;
  char schema[80];
  uint32_t k = 0, n_bad = 0;
  size_t sz;
  int32_t *truth;
  int64_t *keys, first;
  float *dist;
  vecdb *db;
  vecdb_collection *c;
  if( dir==NULL ) SKIP("no data set %s", set);
  base = load(dir, base_name);
  query = load(dir, query_name);
  if( base.p==NULL || query.p==NULL ) SKIP("%s is incomplete", set);
  if( nq>query.n ) nq = query.n;
  truth = load_truth(dir, query.n, &k);
  db = api_open(path, NULL);
  snprintf(schema, sizeof(schema), decl, base.d);
  c = api_collection(db, "t", schema);
  d.data = base.p;
  OK(db, vecdb_put_many(c, base.n, &d, 1, 0, &first));
  CHECK_INT(1, first);
  OK(db, vecdb_close(db));                      /* from the file, then */
  db = api_open(path, NULL);
  c = api_collection(db, "t", NULL);
  o.k = k;
  keys = malloc((size_t)nq*k*8);
  dist = malloc((size_t)nq*k*4);
  OK(db, vecdb_search_many(c, &o, nq, element, query.p, 0, keys, dist, NULL));
  sz = vecdb_vector_bytes(element, base.d);
  for(uint32_t i=0; i<nq; i++){
    for(uint32_t j=0; j<k; j++){
      const unsigned char *row = base.p + (size_t)truth[i*(k+1)+1+j]*sz;
      double want = 0, own = 0;
      vecdb_distance(metric, element, base.d, query.p + i*sz, row, &want);
      vecdb_distance(metric, element, base.d, query.p + i*sz,
                     base.p + (size_t)(keys[i*k+j]-1)*sz, &own);
      n_bad += !(fabs(want-(double)dist[i*k+j])<=tolerance)
            || own!=(double)dist[i*k+j];
    }
  }
  CHECK_U64(0, n_bad);
  OK(db, vecdb_check(db, 1, NULL, NULL));
  OK(db, vecdb_close(db));
  free(base.p); free(query.p); free(truth); free(keys); free(dist);
}

static uint32_t n_query(uint32_t quick){
  return vt_scale()>=100 ? UINT32_MAX : quick;
}

TEST(data__fashion_mnist_is_exact){
  check_set("fashion-mnist-784-euclidean", "base.u8bin", "query.u8bin",
            "v uint8[%u]", VECDB_U8, VECDB_L2, n_query(200), 0);
}

TEST(data__sift_is_exact){
  check_set("sift-photos-100k", "base.u8bin", "query.u8bin", "v uint8[%u]",
            VECDB_U8, VECDB_L2, n_query(200), 0);
}

TEST(data__wordnet_is_exact){
  check_set("wordnet-glosses-lsi-256", "base.fbin", "query.fbin",
            "v float[%u] distance_metric=cosine", VECDB_F32, VECDB_COSINE,
            n_query(100), 1e-6);
}

TEST(data__emoji_is_exact){
  check_set("emoji2vec-300", "base.fbin", "query.fbin",
            "v float[%u] distance_metric=cosine", VECDB_F32, VECDB_COSINE,
            n_query(100), 1e-6);
}
