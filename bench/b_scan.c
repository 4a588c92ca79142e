/* b_scan.c -- how fast exact search is, against the memory it reads.
**
** 1  One query, k = 10, over 60,000 x 784 float32 (188 MB), one thread, beside
**    a plain loop that adds up the same bytes: the machine's read speed. The
**    two alternate, so that noise meets both; medians and every repetition
**    are printed. The loop is compiled for each vector width and the fastest
**    one counts. Goal: scan <= 1.25 * sum.
** 2  The same for every element type and metric, scan only.
** 3  10,000 queries at once on fashion-mnist-784, where the data is, as bytes
**    and as floats, 1 and 2 threads, every distance checked against the
**    ground truth.
** 4  What OpenBLAS (where there is one) needs for the products of 3 alone.
**
** Usage: b_scan [-r repetitions] [-o result.json]     data: $VECDB_DATA
*/
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index/index.h"
#include "simd/simd.h"
#include "bench/clock.h"
#if defined(VDB_HAVE_OPENBLAS)
# include <cblas.h>
#endif

enum { N_ROWS = 60000, DIM = 784, K = 10, REPS_MAX = 1000 };


static void *allocate(size_t sz){
  void *p = aligned_alloc(64, (sz+63)/64*64);
  if( p==NULL ){
    fprintf(stderr, "b_scan: out of memory\n");
    exit(1);
  }
  return p;
}

static int compare_doubles(const void *a, const void *b){
  double x = *(const double*)a, y = *(const double*)b;
  return x<y ? -1 : x>y;
}
static double median(const double *t, int n){
  double s[REPS_MAX];
  memcpy(s, t, (size_t)n*sizeof(s[0]));
  qsort(s, (size_t)n, sizeof(s[0]), compare_doubles);
  return n%2 ? s[n/2] : (s[n/2-1] + s[n/2])/2;
}

/* ---- The plain loop ------------------------------------------------------ */

typedef float wide __attribute__((vector_size(64)));

static inline __attribute__((always_inline)) float sum_body(const wide *p,
                                                            size_t n){
  wide a = {0}, b = {0}, c = {0}, d = {0};
  float s = 0;
  for(size_t i=0; i+4<=n; i+=4){
    a += p[i]; b += p[i+1]; c += p[i+2]; d += p[i+3];
  }
  a += b; c += d; a += c;
  for(int i=0; i<16; i++) s += a[i];
  return s;
}
static float sum_plain(const wide *p, size_t n){ return sum_body(p, n); }
#if defined(__x86_64__)
__attribute__((target("avx2")))
static float sum_avx2(const wide *p, size_t n){ return sum_body(p, n); }
__attribute__((target("avx512f")))
static float sum_avx512(const wide *p, size_t n){ return sum_body(p, n); }
#endif

typedef float (*sum_fn)(const wide *p, size_t n);
static volatile float sum_sink;      /* what is not used is not computed */

static double sum_time(sum_fn f, const void *p, size_t sz){
  double t = wall_seconds();
  sum_sink = f(p, sz/sizeof(wide));
  return wall_seconds() - t;
}

/* The fastest of those the processor has. */
static sum_fn sum_choose(const void *p, size_t sz, const char **name){
  sum_fn fn[3] = { sum_plain, NULL, NULL }, best = sum_plain;
  const char *names[3] = { "baseline", "avx2", "avx512" };
  double t[5], m, t_best = 1e9;
#if defined(__x86_64__)
  if( __builtin_cpu_supports("avx2") ) fn[1] = sum_avx2;
  if( __builtin_cpu_supports("avx512f") ) fn[2] = sum_avx512;
#endif
  for(int i=0; i<3; i++){
    if( fn[i]==NULL ) continue;
    for(int r=0; r<5; r++) t[r] = sum_time(fn[i], p, sz);
    m = median(t, 5);
    if( m<t_best ){ t_best = m; best = fn[i]; *name = names[i]; }
  }
  return best;
}

/* ---- 1: scan against sum ------------------------------------------------- */

static uint64_t random_state = 1;
static uint64_t random_u64(void){
  random_state = random_state*6364136223846793005u + 1442695040888963407u;
  return random_state ^ (random_state>>29);
}

static double scan_time(const struct flat_search *s, const void *query){
  struct vdb_hit hit[K];
  size_t n_hit;
  double t = wall_seconds();
  if( vdb_flat_knn(s, query, K, hit, &n_hit)!=VECDB_OK || n_hit!=K ) exit(1);
  return wall_seconds() - t;
}

static void print_times(FILE *out, const char *name, const double *t, int n){
  fprintf(out, "    \"%s\": [", name);
  for(int i=0; i<n; i++) fprintf(out, "%s%.3f", i ? ", " : "", t[i]*1e3);
  fprintf(out, "],\n");
}

static void bench_against_sum(FILE *out, int n_rep){
  size_t sz = (size_t)N_ROWS*DIM*sizeof(float);
  float *base = allocate(sz), query[DIM];
  struct flat_run run = { .vecs = base, .stride = DIM*sizeof(float),
                          .n_rows = N_ROWS };
  struct flat_search s = { .metric = VECDB_L2, .type = VECDB_F32, .dim = DIM,
                           .runs = &run, .n_runs = 1 };
  const char *sum_name = "";
  double scan[REPS_MAX], sum[REPS_MAX], ms, mc;
  sum_fn plain;

  for(size_t i=0; i<(size_t)N_ROWS*DIM; i++){
    base[i] = (float)(random_u64()>>40)*0x1p-24f - 0.5f;
  }
  memcpy(query, base, sizeof(query));
  plain = sum_choose(base, sz, &sum_name);
  for(int r=0; r<n_rep; r++){
    sum[r] = sum_time(plain, base, sz);
    scan[r] = scan_time(&s, query);
  }
  ms = median(sum, n_rep);
  mc = median(scan, n_rep);
  fprintf(out, "  \"scan_f32_l2\": {\n    \"rows\": %d, \"dim\": %d, \"k\": %d,"
          " \"bytes\": %zu, \"threads\": 1,\n", N_ROWS, DIM, K, sz);
  fprintf(out, "    \"sum_loop\": \"%s\",\n", sum_name);
  print_times(out, "sum_ms", sum, n_rep);
  print_times(out, "scan_ms", scan, n_rep);
  fprintf(out, "    \"sum_median_ms\": %.3f, \"scan_median_ms\": %.3f,\n",
          ms*1e3, mc*1e3);
  fprintf(out, "    \"sum_gb_per_s\": %.2f, \"scan_gb_per_s\": %.2f,\n",
          (double)sz/ms*1e-9, (double)sz/mc*1e-9);
  fprintf(out, "    \"scan_over_sum\": %.3f, \"goal\": 1.25\n  },\n", mc/ms);
  fprintf(stderr, "scan %.2f ms, sum %.2f ms (%s): ratio %.3f, goal 1.25\n",
          mc*1e3, ms*1e3, sum_name, mc/ms);
  free(base);
}

/* ---- 2: all types and metrics -------------------------------------------- */

static const struct { int number; const char *name; } types[] = {
  { VECDB_F32, "float32" }, { VECDB_F16, "float16" },
  { VECDB_BF16, "bfloat16" }, { VECDB_I8, "int8" }, { VECDB_U8, "uint8" },
  { VECDB_BIT, "bit" }
}, metrics[] = {
  { VECDB_L2, "l2" }, { VECDB_COSINE, "cosine" }, { VECDB_IP, "ip" },
  { VECDB_L1, "l1" }, { VECDB_HAMMING, "hamming" },
  { VECDB_JACCARD, "jaccard" }
};

/* Random elements; as floats of any width they are small and finite. */
static void fill(int type, void *p, size_t n_byte){
  uint8_t *z = p;
  for(size_t i=0; i<n_byte; i++){
    z[i] = (uint8_t)(random_u64()>>56);
    if( type==VECDB_F32 && i%4==3 ) z[i] = (uint8_t)(0x3f | (z[i] & 0x80));
    if( (type==VECDB_F16 || type==VECDB_BF16) && i%2 ){
      z[i] = (uint8_t)(0x3c | (z[i] & 0x80));
    }
  }
}

static void bench_types(FILE *out, int n_rep){
  bool is_first = true;
  if( n_rep>11 ) n_rep = 11;
  fprintf(out, "  \"scans\": [\n");
  for(size_t i=0; i<sizeof(types)/sizeof(types[0]); i++){
    int type = types[i].number;
    size_t dim = type==VECDB_BIT ? 8192 : DIM;
    size_t stride = vdb_vector_bytes(type, dim), sz = stride*N_ROWS;
    void *base = allocate(sz);
    fill(type, base, sz);
    for(size_t m=0; m<sizeof(metrics)/sizeof(metrics[0]); m++){
      struct flat_run run = { .vecs = base, .stride = stride,
                              .n_rows = N_ROWS };
      struct flat_search s = { .metric = metrics[m].number, .type = type,
                               .dim = dim, .runs = &run, .n_runs = 1 };
      double t[REPS_MAX];
      if( !vdb_metric_fits(s.metric, type) ) continue;
      for(int r=0; r<n_rep; r++) t[r] = scan_time(&s, base);
      fprintf(out, "%s    {\"type\": \"%s\", \"metric\": \"%s\", \"dim\": %zu,"
              " \"median_ms\": %.3f, \"gb_per_s\": %.2f}",
              is_first ? "" : ",\n", types[i].name, metrics[m].name, dim, median(t, n_rep)*1e3,
              (double)sz/median(t, n_rep)*1e-9);
      is_first = false;
    }
    free(base);
  }
  fprintf(out, "\n  ],\n");
}

/* ---- 3: batches ---------------------------------------------------------- */

/* A .u8bin file; NULL if it is not there. */
static uint8_t *read_u8bin(const char *dir, const char *name, uint32_t *n,
                           uint32_t *dim){
  char path[4096];
  uint8_t *p = NULL;
  size_t sz;
  FILE *in;
  snprintf(path, sizeof(path), "%s/%s", dir, name);
  in = fopen(path, "rb");
  if( in==NULL ) return NULL;
  if( fread(n, 4, 1, in)==1 && fread(dim, 4, 1, in)==1 ){
    sz = (size_t)*n * *dim;
    p = allocate(sz);
    if( fread(p, 1, sz, in)!=sz ) exit(1);
  }
  fclose(in);
  return p;
}

static float *as_floats(const uint8_t *p, size_t n){
  float *f = allocate(n*sizeof(float));
  for(size_t i=0; i<n; i++) f[i] = p[i];
  return f;
}

/* Ranks at which the distance is not that of the true neighbour. */
static size_t count_wrong(const struct flat_search *s, const char *dir,
                          const char *queries, size_t n_query,
                          const struct vdb_hit *hit){
  size_t stride = s->runs[0].stride, n_wrong = 0;
  char path[4096];
  int32_t truth[101];
  FILE *in;
  snprintf(path, sizeof(path), "%s/gt.ivecs", dir);
  in = fopen(path, "rb");
  for(size_t i=0; i<n_query; i++){
    if( in==NULL || fread(truth, 4, 101, in)!=101 ) exit(1);
    for(size_t j=0; j<K; j++){
      const char *x = (const char*)s->runs[0].vecs
                    + (size_t)truth[1+j]*stride;
      n_wrong += hit[i*K+j].distance!=vdb_distance(s->metric, s->type,
                                        queries + i*stride, x, s->dim);
    }
  }
  fclose(in);
  return n_wrong;
}

static void bench_batch(FILE *out, const char *dir, const char *name, int type,
                        const void *base, const void *queries, uint32_t n,
                        uint32_t n_query, uint32_t dim, unsigned n_thread){
  struct flat_run run = { .vecs = base, .n_rows = n,
                          .stride = vdb_vector_bytes(type, dim) };
  struct flat_search s = { .metric = VECDB_L2, .type = type, .dim = dim,
                           .runs = &run, .n_runs = 1, .n_thread = n_thread };
  struct vdb_hit *hit = allocate((size_t)n_query*K*sizeof(*hit));
  size_t *n_hit = allocate(n_query*sizeof(*n_hit)), n_wrong;
  double t[3];

  for(int r=0; r<3; r++){
    double t0 = wall_seconds();
    if( vdb_flat_knn_batch(&s, queries, run.stride, n_query, K, hit, n_hit) ){
      exit(1);
    }
    t[r] = wall_seconds() - t0;
  }
  n_wrong = count_wrong(&s, dir, queries, n_query, hit);
  fprintf(out, ",\n    {\"type\": \"%s\", \"threads\": %u, \"queries\": %u, "
          "\"k\": %d, \"seconds\": [%.3f, %.3f, %.3f], \"qps\": %.0f, "
          "\"wrong_distances\": %zu}", name, n_thread, n_query, K, t[0], t[1],
          t[2], n_query/median(t, 3), n_wrong);
  fprintf(stderr, "fashion-mnist as %s, %u threads: %.0f queries/s, %zu "
          "wrong\n", name, n_thread, n_query/median(t, 3), n_wrong);
  free(hit);
  free(n_hit);
}

static void bench_batches(FILE *out){
  const char *data = getenv("VECDB_DATA");
  char dir[2048];
  uint32_t n, n_query, dim;
  uint8_t *base, *queries;

  snprintf(dir, sizeof(dir), "%s/fashion-mnist-784-euclidean",
           data && data[0] ? data : VDB_SRCDIR "/../shared/data");
  base = read_u8bin(dir, "base.u8bin", &n, &dim);
  queries = read_u8bin(dir, "query.u8bin", &n_query, &dim);
  fprintf(out, "  \"batches\": [\n    {\"data\": \"fashion-mnist-784\", "
          "\"present\": %s}", base && queries ? "true" : "false");
  if( base && queries ){
    float *fbase = as_floats(base, (size_t)n*dim);
    float *fqueries = as_floats(queries, (size_t)n_query*dim);
    for(unsigned t=1; t<=2; t++){
      bench_batch(out, dir, "uint8", VECDB_U8, base, queries, n, n_query, dim,
                  t);
      bench_batch(out, dir, "float32", VECDB_F32, fbase, fqueries, n, n_query,
                  dim, t);
    }
    free(fbase);
    free(fqueries);
  }
  fprintf(out, "\n  ]");
  free(base);
  free(queries);
}

/* ---- 4: OpenBLAS --------------------------------------------------------- */

/* Seconds for the products of 10,000 queries and 60,000 rows, one thread, by
** the piece of 768 x 60,000 that a group of queries is, scaled up. */
static void bench_sgemm(FILE *out){
#if defined(VDB_HAVE_OPENBLAS)
  enum { N_QUERY = 768, N_BLOCK = 960 };
  float *base = allocate((size_t)N_ROWS*DIM*sizeof(float));
  float *queries = allocate((size_t)N_QUERY*DIM*sizeof(float));
  float *product = allocate((size_t)N_QUERY*N_BLOCK*sizeof(float));
  double t[5];
  fill(VECDB_F32, base, (size_t)N_ROWS*DIM*sizeof(float));
  fill(VECDB_F32, queries, (size_t)N_QUERY*DIM*sizeof(float));
  openblas_set_num_threads(1);
  for(int r=0; r<5; r++){
    double t0 = wall_seconds();
    for(size_t i=0; i<N_ROWS; i+=N_BLOCK){
      size_t n = N_ROWS-i<N_BLOCK ? N_ROWS-i : N_BLOCK;
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, N_QUERY, (int)n,
                  DIM, 1, queries, DIM, base + i*DIM, DIM, 0, product,
                  N_BLOCK);
    }
    t[r] = (wall_seconds() - t0)*10000/N_QUERY;
  }
  fprintf(out, ",\n  \"sgemm\": {\"library\": \"OpenBLAS\", \"threads\": 1, "
          "\"seconds_for_10000_queries\": %.3f}", median(t, 5));
  fprintf(stderr, "OpenBLAS, products alone: %.2f s for 10,000 queries\n",
          median(t, 5));
  free(base);
  free(queries);
  free(product);
#else
  fprintf(out, ",\n  \"sgemm\": null");
#endif
}

/* ---- The rest ------------------------------------------------------------ */

/* "model name" as lscpu prints it; no host names. */
static void print_machine(FILE *out){
  char line[512], model[256] = "unknown";
  int n_cpu = 0;
  FILE *in = fopen("/proc/cpuinfo", "r");
  while( in && fgets(line, sizeof(line), in) ){
    char *z = strchr(line, ':');
    if( strncmp(line, "model name", 10)!=0 || z==NULL ) continue;
    z[strcspn(z, "\n\"\\")] = 0;
    snprintf(model, sizeof(model), "%s", z+2);
    n_cpu++;
  }
  if( in ) fclose(in);
  fprintf(out, "  \"machine\": {\"cpu\": \"%s\", \"cpus\": %d, "
          "\"kernels\": \"%s\", \"compiler\": \"%s\"},\n", model, n_cpu,
          vdb_simd()->name, __VERSION__);
}

int main(int argc, char **argv){
  int n_rep = 31;
  const char *path = VDB_SRCDIR "/bench/results/scan.json";
  FILE *out;

  for(int i=1; i<argc; i++){
    if( strcmp(argv[i], "-r")==0 && i+1<argc ){
      n_rep = (int)strtol(argv[++i], NULL, 10);
    }else if( strcmp(argv[i], "-o")==0 && i+1<argc ){
      path = argv[++i];
    }else{
      fprintf(stderr, "usage: b_scan [-r repetitions] [-o result.json]\n");
      return 2;
    }
  }
  if( n_rep<1 || n_rep>REPS_MAX ) n_rep = 31;
  out = strcmp(path, "-")==0 ? stdout : fopen(path, "w");
  if( out==NULL ){
    fprintf(stderr, "b_scan: cannot write \"%s\": %s\n", path,
            strerror(errno));
    return 1;
  }
  fprintf(out, "{\n  \"benchmark\": \"scan\",\n  \"command\": \"b_scan -r %d\","
          "\n", n_rep);
  print_machine(out);
  bench_against_sum(out, n_rep);
  bench_types(out, n_rep);
  bench_batches(out);
  bench_sgemm(out);
  fprintf(out, "\n}\n");
  return out!=stdout && fclose(out)!=0;
}
