/* graph.h -- collections with a graph, for the tests that need one.
**
** Rows 0..n-1 (key = row unless a test says otherwise) come from a generator
** that depends on the row alone: clusters, so that a graph has something to
** find, in integers, so that every element type holds them exactly.
*/
#ifndef TEST_GRAPH_H
#define TEST_GRAPH_H
#include "api/api.h"

enum { G_DIMS = 16, G_ROWS = 1500, G_K = 10, G_KEYS_MAX = 6000 };

static inline uint32_t g_hash(uint64_t x){
  x = (x + 0x9e3779b97f4a7c15u)*0xbf58476d1ce4e5b9u;
  x = (x ^ x>>31)*0x94d049bb133111ebu;
  return (uint32_t)(x>>32);
}

/* Row i as small integers 0..100. */
static inline void g_vector(uint64_t i, float *v){
  uint32_t cluster = g_hash(i)%40;
  for(uint32_t j=0; j<G_DIMS; j++){
    uint32_t centre = g_hash(1000*(uint64_t)cluster+j+7)%80;
    v[j] = (float)(centre + g_hash(i*64+j+99991)%21);
  }
}

/* The vector as elements of the type, where it lies afterwards. */
static inline const void *g_as(int element, const float *v, void *buf){
  unsigned char *b = buf;
  if( element==VECDB_I8 || element==VECDB_U8 ){
    for(int j=0; j<G_DIMS; j++) b[j] = (unsigned char)v[j];
    return b;
  }
  if( element==VECDB_F32 ) return v;
  if( vecdb_vector_convert(VECDB_F32, element, G_DIMS, v, buf, NULL, 0)
      !=VECDB_OK ) vt_stop();
  return buf;
}

/* Insert rows lo..hi-1 of the generator. */
static inline void g_fill(vecdb_collection *c, int element, uint64_t lo,
                          uint64_t hi){
  size_t sz = vecdb_vector_bytes(element, G_DIMS), n = (size_t)(hi-lo);
  char *all = malloc(n*sz), tmp[G_DIMS*4];
  int64_t *keys = malloc(n*sizeof(*keys));
  float v[G_DIMS];
  vecdb_column_data d[2] = {
    { sizeof(d[0]), 0, VECDB_INTEGER, 0, keys, 0, NULL },
    { sizeof(d[0]), 1, VECDB_VECTOR, (uint32_t)element, all, 0, NULL } };
  for(size_t i=0; i<n; i++){
    g_vector(lo+i, v);
    memcpy(all + i*sz, g_as(element, v, tmp), sz);
    keys[i] = (int64_t)(lo+i);
  }
  OK(vecdb_collection_db(c), vecdb_put_many(c, n, d, 2, 0, NULL));
  free(all);
  free(keys);
}

static inline int g_optimize(vecdb_collection *c){
  vecdb_optimize_options o = { .size = sizeof(o), .flags = VECDB_OPTIMIZE_ALL };
  return vecdb_optimize(c, &o);
}

static inline uint64_t g_graph_rows(vecdb_collection *c){
  vecdb_collection_stats s = { .size = sizeof(s) };
  OK(vecdb_collection_db(c), vecdb_collection_stat(c, &s));
  return s.n_graph_row;
}

/* A table of n generated rows with a graph. */
static inline vecdb_collection *g_table(vecdb *db, const char *schema,
                                        int element, uint64_t n){
  vecdb_collection *c = api_collection(db, "t", schema);
  g_fill(c, element, 0, n);
  OK(db, g_optimize(c));
  if( !CHECK_U64(n, g_graph_rows(c)) ) vt_stop();
  return c;
}

#define G_SCHEMA "id integer primary key, v float[16] index=graph"

struct answer {
  size_t n;
  int64_t key[G_KEYS_MAX];
  float distance[G_KEYS_MAX];
};

/* One search, by a statement. */
static inline int g_try(vecdb_collection *c, const vecdb_search_options *o,
                        int element, const void *q, struct answer *a){
  size_t sz = vecdb_vector_bytes(element, G_DIMS);
  vecdb_stmt *s = NULL;
  int rc = vecdb_prepare_search(c, o, &s);
  a->n = 0;
  if( rc==VECDB_OK ){
    rc = vecdb_bind_vector(s, VECDB_QUERY, element, q, sz, VECDB_STATIC);
  }
  while( rc==VECDB_OK && (rc = vecdb_step(s))==VECDB_ROW ){
    if( a->n<G_KEYS_MAX ){
      a->key[a->n] = vecdb_column_int64(s, 0);
      a->distance[a->n++] = (float)vecdb_row_distance(s);
    }
    rc = VECDB_OK;
  }
  vecdb_finalize(s);
  return rc==VECDB_DONE ? VECDB_OK : rc;
}

static inline void g_search(vecdb_collection *c, const vecdb_search_options *o,
                            int element, const void *q, struct answer *a){
  if( !OK(vecdb_collection_db(c), g_try(c, o, element, q, a)) ) vt_stop();
}

static inline vecdb_search_info g_info(vecdb_collection *c){
  vecdb_search_info i = { .size = sizeof(i) };
  OK(vecdb_collection_db(c), vecdb_last_search(vecdb_collection_db(c), &i));
  return i;
}

static inline vecdb_search_options g_options(uint64_t k, uint32_t ef){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  o.k = k;
  o.ef = ef;
  return o;
}

/* Results of `a` that are as near as the true ones, of those in `exact`. */
static inline size_t g_right(const struct answer *a,
                             const struct answer *exact){
  size_t n = 0;
  for(size_t i=0; i<a->n && exact->n>0; i++){
    n += a->distance[i]<=exact->distance[exact->n-1];
  }
  return n;
}

/* Mean recall of n_query generated queries; each gives as many rows as the
** exact search, in order, each row once. */
static inline double g_recall(vecdb_collection *c,
                              const vecdb_search_options *opt, int element,
                              uint64_t n_query){
  static struct answer a, e;
  size_t n = 0, n_all = 0;
  float v[G_DIMS];
  char buf[G_DIMS*4];
  for(uint64_t i=0; i<n_query; i++){
    vecdb_search_options o = *opt;
    const void *q;
    g_vector(1000000+i, v);
    q = g_as(element, v, buf);
    o.flags |= VECDB_SEARCH_EXACT;
    g_search(c, &o, element, q, &e);
    g_search(c, opt, element, q, &a);
    REQUIRE_U64(e.n, a.n);
    for(size_t j=1; j<a.n; j++){
      CHECK(a.distance[j-1]<a.distance[j] ||
            (a.distance[j-1]==a.distance[j] && a.key[j-1]<a.key[j]));
    }
    n += g_right(&a, &e);
    n_all += e.n;
  }
  return n_all ? (double)n/(double)n_all : 1;
}
#endif
