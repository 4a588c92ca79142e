/* b_knn.c -- searches of a data set through vecdb.h alone: what users get.
**
** Imports a folder (bench/dataset.h) into a database file, builds the graph,
** and prints for every setting recall@10 by distance and queries per second:
** of one statement that is bound and stepped again and again, each time in a
** transaction of its own, and of vecdb_search_many on one thread and on all.
** Besides: time and memory of the build, bytes per row of file and graph, the
** first answers after the file was opened, with the operating system's cache
** empty and full.
**
** Usage: b_knn [options] FOLDER
**   -f FILE  the database; built if it is not there (a scratch file, removed
**            at the end)
**   -t N     threads of the build; 0: cores      -r N  repetitions
**   -e LIST  efforts   -R LIST  recall targets   -q N  queries
**   -x TEXT  more schema options of the column   -c    cosine
**   -F       bytes are stored as floats          -o FILE  JSON
** Queries per second are of processor time, but for all threads: there it is
** wall time. Repetitions go round the settings; medians are printed.
*/
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vecdb.h"
#include "bench/dataset.h"
#include "bench/clock.h"

enum { N_SET_MAX = 64, REPS_MAX = 101 };

static struct {
  const char *folder, *file, *out, *ef, *recall, *extra;
  unsigned threads;
  int reps;
  uint32_t n_query;
  bool is_cosine, is_float;
} opt = { .reps = 5, .ef = "10,14,20,28,40,56,80,112,160,224,320",
          .recall = "0.9,0.95,0.99", .extra = "" };

struct setting {
  uint32_t ef;
  double target, recall;
  double t_single[REPS_MAX], t_batch[REPS_MAX], t_all[REPS_MAX];
};

static struct setting set[N_SET_MAX];
static int n_set;
static struct set base, query;
static double *limit;
static double build_cpu_s, build_wall_s, import_s, peak_mb, file_per_row,
              graph_per_row;

/* From opening the file to the end of the first query; the first 100 and 1000,
** opening included, by wall clock; and the 1000 in processor time. */
static struct opening { double first_ms, us100, us1000, cpu_us; } cold, warm;


static void must(vecdb *db, int rc, const char *what){
  if( rc!=VECDB_OK ) die(what, db ? vecdb_errmsg(db) : vecdb_errstr(rc));
}
static int compare_doubles(const void *a, const void *b){
  double x = *(const double*)a, y = *(const double*)b;
  return x<y ? -1 : x>y;
}
static double median(double *t){
  qsort(t, (size_t)opt.reps, sizeof(*t), compare_doubles);
  return t[opt.reps/2];
}

/* ---- Vectors as the column has them -------------------------------------- */

static bool is_u8(void){ return base.is_bytes && !opt.is_float; }
static int element(void){ return is_u8() ? VECDB_U8 : VECDB_F32; }
static size_t vec_size(void){ return is_u8() ? base.d : 4*(size_t)base.d; }

/* The rows of a set in the type of the column. */
static void *set_stored(const struct set *s){
  size_t n = (size_t)s->n*s->d;
  uint8_t *u;
  if( !is_u8() ) return s->x;
  u = malloc(n);
  if( u==NULL ) die("memory", "none left");
  for(size_t i=0; i<n; i++) u[i] = (uint8_t)s->x[i];
  return u;
}

/* ---- The file ------------------------------------------------------------ */

static vecdb *file_open(unsigned threads, vecdb_collection **c){
  vecdb_options o = VECDB_OPTIONS_INIT;
  vecdb *db = NULL;
  o.threads = threads;
  must(db, vecdb_open(opt.file, VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE, &o,
                      &db), "open");
  if( c ) must(db, vecdb_collection_open(db, "v", c), "collection");
  return db;
}

static void file_build(void){
  vecdb_column_data data = { sizeof(data), 1, VECDB_VECTOR,
                             (uint32_t)element(), NULL, 0, NULL };
  vecdb *db = file_open(opt.threads, NULL);
  vecdb_collection *c;
  char schema[600];
  struct rusage ru;
  double t = wall_seconds(), t_cpu;
  void *rows = set_stored(&base);
  snprintf(schema, sizeof(schema), "id integer primary key, vec %s[%u]%s %s",
           is_u8() ? "uint8" : "float", base.d,
           opt.is_cosine ? " distance_metric=cosine" : "", opt.extra);
  must(db, vecdb_create_collection(db, "v", schema), "create");
  must(db, vecdb_collection_open(db, "v", &c), "collection");
  data.data = rows;
  must(db, vecdb_put_many(c, base.n, &data, 1, 0, NULL), "put_many");
  import_s = wall_seconds()-t;
  t = wall_seconds();
  t_cpu = cpu_seconds();
  must(db, vecdb_optimize(c, NULL), "optimize");
  build_wall_s = wall_seconds()-t;
  build_cpu_s = cpu_seconds()-t_cpu;
  must(db, vecdb_close(db), "close");
  getrusage(RUSAGE_SELF, &ru);
  peak_mb = (double)ru.ru_maxrss/1024;
  if( rows!=base.x ) free(rows);
}

static void file_sizes(vecdb_collection *c, vecdb *db){
  vecdb_collection_stats st;
  struct stat s;
  memset(&st, 0, sizeof(st));
  st.size = sizeof(st);
  must(db, vecdb_collection_stat(c, &st), "stats");
  if( stat(opt.file, &s)!=0 ) die(opt.file, "cannot stat");
  file_per_row = (double)s.st_size/base.n;
  graph_per_row = (double)st.graph_bytes/base.n;
}

/* The pages of the file leave the operating system's cache. */
static void file_forget(void){
  int fd = open(opt.file, O_RDONLY);
  if( fd<0 || fdatasync(fd)!=0
   || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED)!=0 ){
    die(opt.file, "cannot drop its pages");
  }
  close(fd);
}

/* ---- Searching ----------------------------------------------------------- */

static vecdb_search_options wish(const struct setting *s){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  o.k = K;
  o.ef = s->ef;
  o.recall = s->target;
  return o;
}

/* Right ones among the results of a query; keys count from 1. */
static int keys_right(uint32_t i, const int64_t *key, int n){
  int right = 0;
  for(int j=0; j<n; j++){
    if( key[j]<1 || key[j]>(int64_t)base.n ) continue;
    right += row_is_right(&base, &query, limit, i, (uint32_t)(key[j]-1));
  }
  return right;
}

/* Queries lo.. of one statement; returns how many results were right, or 0
** unless that is asked for. */
static int64_t singles(vecdb *db, vecdb_stmt *s, const char *q, uint32_t lo,
                       uint32_t hi, bool is_counted){
  int64_t right = 0, key[K];
  for(uint32_t i=lo; i<hi; i++){
    int n = 0, rc;
    must(db, vecdb_reset(s), "reset");
    must(db, vecdb_bind_vector(s, VECDB_QUERY, element(), q + i*vec_size(),
                               vec_size(), VECDB_STATIC), "bind");
    while( (rc = vecdb_step(s))==VECDB_ROW ){
      if( n<K ) key[n++] = vecdb_column_int64(s, 0);
    }
    if( rc!=VECDB_DONE ) must(db, rc, "step");
    if( is_counted ) right += keys_right(i, key, n);
  }
  return right;
}

static void measure_single(const char *q, int rep){
  vecdb_collection *c;
  vecdb *db = file_open(1, &c);
  for(int i=0; i<n_set; i++){
    vecdb_search_options o = wish(&set[i]);
    vecdb_stmt *s;
    double t;
    must(db, vecdb_prepare_search(c, &o, &s), "prepare");
    if( i==0 || rep==0 ){              /* the first warms this handle up */
      set[i].recall = (double)singles(db, s, q, 0, opt.n_query, true)
                      /opt.n_query/K;
    }
    t = cpu_seconds();
    (void)singles(db, s, q, 0, opt.n_query, false);
    set[i].t_single[rep] = cpu_seconds()-t;
    must(db, vecdb_finalize(s), "finalize");
  }
  must(db, vecdb_close(db), "close");
}

static void measure_many(const char *q, int rep, unsigned threads){
  int64_t *key = malloc((size_t)opt.n_query*K*sizeof(*key));
  float *dist = malloc((size_t)opt.n_query*K*sizeof(*dist));
  vecdb_collection *c;
  vecdb *db = file_open(threads, &c);
  if( key==NULL || dist==NULL ) die("memory", "none left");
  for(int i=0; i<n_set; i++){
    vecdb_search_options o = wish(&set[i]);
    double t;
    if( i==0 ){                        /* warms this handle up */
      must(db, vecdb_search_many(c, &o, opt.n_query, element(), q, 0, key,
                                 dist, NULL), "search_many");
    }
    t = threads==1 ? cpu_seconds() : wall_seconds();
    must(db, vecdb_search_many(c, &o, opt.n_query, element(), q, 0, key, dist,
                               NULL), "search_many");
    t = (threads==1 ? cpu_seconds() : wall_seconds()) - t;
    if( threads==1 ) set[i].t_batch[rep] = t;
    else set[i].t_all[rep] = t;
  }
  must(db, vecdb_close(db), "close");
  free(key);
  free(dist);
}

static struct opening first_queries(const char *q){
  uint32_t n = opt.n_query<1000 ? opt.n_query : 1000, n1 = n<100 ? n : 100;
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  double t = wall_seconds(), t_cpu = cpu_seconds();
  struct opening out;
  vecdb_collection *c;
  vecdb *db = file_open(1, &c);
  vecdb_stmt *s;
  o.k = K;
  must(db, vecdb_prepare_search(c, &o, &s), "prepare");
  (void)singles(db, s, q, 0, 1, false);
  out.first_ms = 1e3*(wall_seconds()-t);
  (void)singles(db, s, q, 1, n1, false);
  out.us100 = 1e6*(wall_seconds()-t)/n1;
  (void)singles(db, s, q, n1, n, false);
  out.us1000 = 1e6*(wall_seconds()-t)/n;
  out.cpu_us = 1e6*(cpu_seconds()-t_cpu)/n;
  must(db, vecdb_finalize(s), "finalize");
  must(db, vecdb_close(db), "close");
  return out;
}

static void measure_all(void){
  char *q = set_stored(&query);
  vecdb_collection *c;
  vecdb *db = file_open(1, &c);
  file_sizes(c, db);
  must(db, vecdb_close(db), "close");
  file_forget();
  cold = first_queries(q);
  warm = first_queries(q);
  for(int r=0; r<opt.reps; r++){
    measure_single(q, r);
    measure_many(q, r, 1);
    measure_many(q, r, 0);
  }
}

/* ---- Reporting ----------------------------------------------------------- */

static void report(FILE *f){
  fprintf(f, "{\"system\":\"vecdb\",\"build_s\":%.3f,\"build_wall_s\":%.3f,"
          "\"import_s\":%.3f,\"peak_mb\":%.0f,\"file_bytes_per_row\":%.0f,"
          "\"graph_bytes_per_row\":%.0f,\"cold_us\":%.1f,\"open_us\":%.1f,"
          "\"cold_first_ms\":%.2f,\"open_first_ms\":%.2f,"
          "\"cold1000_us\":%.1f,\"open1000_us\":%.1f,"
          "\"open1000_cpu_us\":%.1f,"
          "\"points\":[", build_cpu_s, build_wall_s, import_s, peak_mb,
          file_per_row, graph_per_row, cold.us100, warm.us100,
          cold.first_ms, warm.first_ms, cold.us1000, warm.us1000, warm.cpu_us);
  for(int i=0; i<n_set; i++){
    fprintf(f, "%s{\"ef\":%u,\"target\":%g,\"recall\":%.5f,\"qps\":%.1f,"
            "\"qps_batch\":%.1f,\"qps_all\":%.1f}", i ? "," : "", set[i].ef,
            set[i].target, set[i].recall,
            opt.n_query/median(set[i].t_single),
            opt.n_query/median(set[i].t_batch),
            opt.n_query/median(set[i].t_all));
  }
  fprintf(f, "]}\n");
}

static void table(void){
  printf("%s: %u x %u; import %.1f s, build %.1f s (%.1f s of processor), "
         "peak %.0f MiB\n", opt.folder, base.n, base.d, import_s, build_wall_s,
         build_cpu_s, peak_mb);
  printf("bytes per row: file %.0f, graph %.0f\n", file_per_row,
         graph_per_row);
  printf("after opening, file on disk: first answer %.1f ms, first 100 %.0f us "
         "each, 1000 %.0f us\n", cold.first_ms, cold.us100, cold.us1000);
  printf("after opening, file in memory: first answer %.1f ms, first 100 %.0f us "
         "each, 1000 %.0f us (%.1f us of processor)\n", warm.first_ms,
         warm.us100, warm.us1000, warm.cpu_us);
  printf("%6s %6s %8s %10s %10s %12s\n", "ef", "target", "recall", "single",
         "batch", "all threads");
  for(int i=0; i<n_set; i++){
    printf("%6u %6g %8.4f %10.0f %10.0f %12.0f\n", set[i].ef, set[i].target,
           set[i].recall, opt.n_query/median(set[i].t_single),
           opt.n_query/median(set[i].t_batch),
           opt.n_query/median(set[i].t_all));
  }
}

static void settings_read(void){
  char *end;
  for(const char *z=opt.ef; *z && n_set<N_SET_MAX; z=*end ? end+1 : end){
    set[n_set++].ef = (uint32_t)strtoul(z, &end, 10);
  }
  for(const char *z=opt.recall; *z && n_set<N_SET_MAX; z=*end ? end+1 : end){
    set[n_set++].target = strtod(z, &end);
  }
}

static void options_read(int argc, char **argv){
  int ch;
  while( (ch = getopt(argc, argv, "f:t:r:e:R:q:x:cFo:"))!=-1 ){
    switch( ch ){
      case 'f': opt.file = optarg; break;
      case 't': opt.threads = (unsigned)strtoul(optarg, NULL, 10); break;
      case 'r': opt.reps = (int)strtol(optarg, NULL, 10); break;
      case 'e': opt.ef = optarg; break;
      case 'R': opt.recall = optarg; break;
      case 'q': opt.n_query = (uint32_t)strtoul(optarg, NULL, 10); break;
      case 'x': opt.extra = optarg; break;
      case 'c': opt.is_cosine = true; break;
      case 'F': opt.is_float = true; break;
      case 'o': opt.out = optarg; break;
      default: die("usage", "b_knn [options] FOLDER");
    }
  }
  if( optind+1!=argc || opt.reps<1 || opt.reps>REPS_MAX ){
    die("usage", "b_knn [options] FOLDER");
  }
  opt.folder = argv[optind];
}

int main(int argc, char **argv){
  static const char *const tail[] = { "", "-wal", "-shm" };
  char scratch[64], path[4096];
  bool is_scratch;
  options_read(argc, argv);
  settings_read();
  base = set_read(opt.folder, "base");
  query = set_read(opt.folder, "query");
  if( opt.is_cosine ){ set_normalise(&base); set_normalise(&query); }
  limit = truth_read(opt.folder, &base, &query);
  if( opt.n_query==0 || opt.n_query>query.n ) opt.n_query = query.n;
  snprintf(scratch, sizeof(scratch), "b_knn-%ld.vdb", (long)getpid());
  is_scratch = opt.file==NULL;
  if( is_scratch ) opt.file = scratch;
  if( access(opt.file, F_OK)!=0 ) file_build();
  measure_all();
  table();
  if( opt.out ){
    FILE *f = fopen(opt.out, "w");
    if( f==NULL ) die(opt.out, "cannot write");
    report(f);
    fclose(f);
  }
  for(size_t i=0; is_scratch && i<sizeof(tail)/sizeof(*tail); i++){
    snprintf(path, sizeof(path), "%s%s", opt.file, tail[i]);
    (void)unlink(path);
  }
  return 0;
}
