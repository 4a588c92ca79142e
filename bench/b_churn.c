/* b_churn.c -- a table that is searched while rows come: what a commit costs
** that keeps the graph current, and what searches cost meanwhile.
**
** The first rows of a data set are loaded and optimized. The others follow in
** commits of -s rows. Between commits a slice of the queries is searched at
** the default recall; `slowest` is the worst slice beside the time of the same
** slice right after the first optimize. Then optimize, then all rows anew in
** another file: recall and speed of both, side by side.
**
** Usage: b_churn [-f first rows] [-s rows a commit] [-t threads] [-c (cosine)]
**                [-d folder for the file] FOLDER
** Inserts are timed by the clock and by processor time, searches by processor
** time. With -x LIMIT the program fails if searches ever were LIMIT times
** slower.
*/
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vecdb.h"
#include "bench/dataset.h"
#include "bench/clock.h"

enum { SLICE = 1000 };


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

/* Seconds for queries lo..lo+n-1; recall over them where there is truth. */
static double table_search(struct table *t, const struct set *base,
                           const struct set *query, const double *limit,
                           uint32_t lo, uint32_t n, double *recall){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  uint32_t right = 0;
  unsigned char *as_bytes = malloc(query->d);
  vecdb_stmt *s;
  double t0;
  must(t, vecdb_prepare_search(t->c, &o, &s), "prepare");
  t0 = cpu_seconds();
  for(uint32_t i=lo; i<lo+n; i++){
    const float *q = query->x + (size_t)(i%query->n)*query->d;
    for(uint32_t j=0; base->is_bytes && j<query->d; j++){
      as_bytes[j] = (unsigned char)q[j];
    }
    must(t, base->is_bytes
            ? vecdb_bind_vector(s, VECDB_QUERY, VECDB_U8, as_bytes, query->d,
                                VECDB_STATIC)
            : vecdb_bind_vector(s, VECDB_QUERY, VECDB_F32, q, query->d*4,
                                VECDB_STATIC), "bind");
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

static void table_optimize(struct table *t, const char *what){
  double a = cpu_seconds(), b = wall_seconds();
  must(t, vecdb_optimize(t->c, NULL), "optimize");
  printf("%s: %.2f s, %.2f s of processor time\n", what, wall_seconds()-b,
         cpu_seconds()-a);
}

static void table_report(struct table *t, const char *name,
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

/* The rows from `first` on, in commits. Returns the worst slice. */
static double table_grow(struct table *t, const struct set *base,
                         const struct set *query, uint32_t first,
                         uint32_t step){
  double sec = 0, sec_cpu = 0, worst = 0, sum = 0, quiet[64] = { 0 };
  uint32_t n_commit = 0, n_slice = query->n/SLICE;
  if( n_slice>64 ) n_slice = 64;
  if( n_slice==0 ) die("queries", "too few");
  for(int round=0; round<3; round++){
    for(uint32_t i=0; i<n_slice; i++){
      double s = table_search(t, base, query, NULL, i*SLICE, SLICE, NULL);
      if( round==1 || (round>1 && s<quiet[i]) ) quiet[i] = s;
    }
  }
  for(uint32_t lo=first; lo<base->n; lo+=step, n_commit++){
    uint32_t n = base->n-lo<step ? base->n-lo : step, i = n_commit%n_slice;
    double a = wall_seconds(), b = cpu_seconds(), s;
    table_put(t, base, lo, n);
    sec += wall_seconds()-a;
    sec_cpu += cpu_seconds()-b;
    /* The first search after a commit opens what is new. */
    (void)table_search(t, base, query, NULL, i*SLICE, 1, NULL);
    s = table_search(t, base, query, NULL, i*SLICE, SLICE, NULL)/quiet[i];
    sum += s;
    if( s>worst ) worst = s;
  }
  printf("inserts: %.0f rows/s, %.1f us of processor time each, %u commits\n",
         (base->n-first)/sec, 1e6*sec_cpu/(base->n-first), n_commit);
  printf("searches meanwhile: %.2f times as slow, slowest %.2f\n",
         n_commit ? sum/n_commit : 0, worst);
  return worst;
}

int main(int argc, char **argv){
  const char *folder = "/tmp", *threads = "2";
  uint32_t first = 0, step = 1000;
  double most = 0, worst, *limit;
  int opt, is_cosine = 0;
  struct set base, query;
  struct table t, fresh;

  while( (opt = getopt(argc, argv, "f:s:t:cd:x:"))!=-1 ){
    switch( opt ){
      case 'f': first = (uint32_t)strtoul(optarg, NULL, 10); break;
      case 's': step = (uint32_t)strtoul(optarg, NULL, 10); break;
      case 't': threads = optarg; break;
      case 'c': is_cosine = 1; break;
      case 'd': folder = optarg; break;
      case 'x': most = strtod(optarg, NULL); break;
      default: die("usage", "b_churn [options] FOLDER");
    }
  }
  if( optind+1!=argc || step==0 ) die("usage", "b_churn [options] FOLDER");
  base = set_read(argv[optind], "base");
  query = set_read(argv[optind], "query");
  if( is_cosine ){ set_normalise(&base); set_normalise(&query); }
  limit = truth_read(argv[optind], &base, &query);
  if( first==0 || first>base.n ) first = base.n/2;

  table_make(&t, folder, "grown", &base, is_cosine, threads);
  table_put(&t, &base, 0, first);
  table_optimize(&t, "first optimize");
  worst = table_grow(&t, &base, &query, first, step);
  table_report(&t, "grown", &base, &query, limit);
  table_optimize(&t, "optimize");
  table_report(&t, "merged", &base, &query, limit);
  table_make(&fresh, folder, "fresh", &base, is_cosine, threads);
  table_put(&fresh, &base, 0, base.n);
  table_optimize(&fresh, "all at once");
  table_report(&fresh, "fresh", &base, &query, limit);
  vecdb_close(t.db);
  vecdb_close(fresh.db);
  table_unlink(&t);
  table_unlink(&fresh);
  return most>0 && worst>most;
}
