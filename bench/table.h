/* table.h -- a table of vectors in a file, for the benchmarks of changing data:
** made, filled, searched and told about.
**
** Included by one benchmark program each, after dataset.h.
*/
#ifndef BENCH_TABLE_H
#define BENCH_TABLE_H
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vecdb.h"
#include "bench/clock.h"
#include "bench/dataset.h"

struct table { vecdb *db; vecdb_collection *c; char path[4096]; };

static void must(const struct table *t, int rc, const char *what){
  if( rc!=VECDB_OK ) die(what, t->db ? vecdb_errmsg(t->db) : "cannot open");
}

static void table_unlink(const struct table *t){
  static const char *const suffix[] = { "", "-wal", "-shm" };
  for(int i=0; i<3; i++){
    char path[4200];
    snprintf(path, sizeof(path), "%s%s", t->path, suffix[i]);
    unlink(path);
  }
}

static void table_make(struct table *t, const char *folder, const char *name,
                       const struct set *base, int is_cosine,
                       const char *threads){
  char text[200];
  memset(t, 0, sizeof(*t));
  snprintf(t->path, sizeof(t->path), "%s/churn-%ld-%s.vdb", folder,
           (long)getpid(), name);
  table_unlink(t);
  must(t, vecdb_open(t->path, VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE, NULL,
                     &t->db), "open");
  must(t, vecdb_set(t->db, "threads", strtol(threads, NULL, 10)), "threads");
  snprintf(text, sizeof(text), "id integer primary key, v %s[%u] "
           "distance_metric=%s", base->is_bytes ? "uint8" : "float", base->d,
           is_cosine ? "cosine" : "l2");
  must(t, vecdb_create_collection(t->db, "t", text), "create");
  must(t, vecdb_collection_open(t->db, "t", &t->c), "collection");
}

static void table_put(struct table *t, const struct set *base, uint32_t lo,
                      uint32_t n){
  size_t sz = (size_t)base->d*(base->is_bytes ? 1 : 4);
  vecdb_column_data data[2];
  int64_t *key = malloc(n*sizeof(*key));
  unsigned char *v = malloc(n*sz);
  memset(data, 0, sizeof(data));
  for(uint32_t i=0; i<n; i++){
    const float *x = base->x + (size_t)(lo+i)*base->d;
    key[i] = lo+i;
    if( !base->is_bytes ) memcpy(v + i*sz, x, sz);
    else for(uint32_t j=0; j<base->d; j++) v[i*sz+j] = (unsigned char)x[j];
  }
  data[0].size = data[1].size = sizeof(data[0]);
  data[0].column = 0;
  data[0].type = VECDB_INTEGER;
  data[0].data = key;
  data[1].column = 1;
  data[1].type = VECDB_VECTOR;
  data[1].element = base->is_bytes ? VECDB_U8 : VECDB_F32;
  data[1].data = v;
  must(t, vecdb_put_many(t->c, n, data, 2, 0, NULL), "put");
  free(key);
  free(v);
}

/* Bind query i and run s; the rows are left for the caller to step through. */
static void table_ask(struct table *t, vecdb_stmt *s, const struct set *base,
                      const struct set *query, uint32_t i,
                      unsigned char *as_bytes){
  const float *q = query->x + (size_t)i*query->d;
  for(uint32_t j=0; base->is_bytes && j<query->d; j++){
    as_bytes[j] = (unsigned char)q[j];
  }
  must(t, base->is_bytes
          ? vecdb_bind_vector(s, VECDB_QUERY, VECDB_U8, as_bytes, query->d,
                              VECDB_STATIC)
          : vecdb_bind_vector(s, VECDB_QUERY, VECDB_F32, q, query->d*4,
                              VECDB_STATIC), "bind");
}

/* Seconds for queries lo..lo+n-1; recall over them where there is truth. */
static double table_search_with(struct table *t, const vecdb_search_options *o,
                                const struct set *base,
                                const struct set *query, const double *limit,
                                uint32_t lo, uint32_t n, double *recall){
  uint32_t right = 0;
  unsigned char *as_bytes = malloc(query->d);
  vecdb_stmt *s;
  double t0;
  must(t, vecdb_prepare_search(t->c, o, &s), "prepare");
  t0 = cpu_seconds();
  for(uint32_t i=lo; i<lo+n; i++){
    table_ask(t, s, base, query, i%query->n, as_bytes);
    while( vecdb_step(s)==VECDB_ROW ){
      if( recall==NULL ) continue;
      right += (uint32_t)row_is_right(base, query, limit, i%query->n,
                                 (uint32_t)vecdb_column_int64(s, 0));
    }
    must(t, vecdb_reset(s), "search");
  }
  t0 = cpu_seconds() - t0;
  vecdb_finalize(s);
  free(as_bytes);
  if( recall ) *recall = (double)right/n/K;
  return t0;
}

static inline double table_search(struct table *t, const struct set *base,
                                  const struct set *query, const double *limit,
                                  uint32_t lo, uint32_t n, double *recall){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  return table_search_with(t, &o, base, query, limit, lo, n, recall);
}

/* All queries at this effort: seconds without looking at rows, and recall. */
static inline double table_search_ef(struct table *t, const struct set *base,
                                     const struct set *query,
                                     const double *limit, uint32_t ef,
                                     double *recall){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  o.ef = ef;
  (void)table_search_with(t, &o, base, query, limit, 0, query->n, recall);
  return table_search_with(t, &o, base, query, limit, 0, query->n, NULL);
}

static void table_optimize(struct table *t, const char *what){
  double a = cpu_seconds(), b = wall_seconds();
  must(t, vecdb_optimize(t->c, NULL), "optimize");
  printf("%s: %.2f s, %.2f s of processor time\n", what, wall_seconds()-b,
         cpu_seconds()-a);
}

static inline void table_report(struct table *t, const char *name,
                         const struct set *base, const struct set *query,
                         const double *limit){
  vecdb_collection_stats s = { .size = sizeof(s) };
  struct stat st;
  double recall, sec = table_search(t, base, query, limit, 0, query->n,
                                    &recall);
  sec = table_search(t, base, query, limit, 0, query->n, NULL);
  must(t, vecdb_collection_stat(t->c, &s), "stats");
  if( stat(t->path, &st)!=0 ) st.st_size = 0;
  printf("%-8s recall %.4f, %.0f searches/s, %llu rows of %llu in graphs, "
         "file %.1f MB\n", name, recall, query->n/sec,
         (unsigned long long)s.n_graph_row, (unsigned long long)s.n_row,
         (double)st.st_size/1e6);
}
#endif
