/* b_gpu.c -- exact searches on a GPU: time from host to host, against the CPU.
**
** For each size of generated data (the numbers of gpu_peer.py, which measures
** torch on the same): rows are attached once, then batches of Q queries, k = 10
** and 100, 5 times at least and 20 where they are short, with queries of their
** own. Up to 100 queries of each configuration are compared with the CPU, bit
** for bit; where they differ there is no number. Then, for the first size, the
** device's part of a graph: lists of 64 neighbours, edges; and k-means of 4,096
** centroids and 20 rounds, of 256 and 2 for less than 100,000 rows, which is
** compared with the CPU's only then. Goals are those of one H200.
**
** Usage: b_gpu [-n rows] [-q] [-o FILE]     -n: one size instead of all, 128
** dimensions; -q: few batches. Without a GPU it says so and measures nothing.
*/

#include "bench/record.h"

#include "gpu/gpu.h"
#include "index/index.h"
#include "index/kmeans.h"
#include "simd/simd.h"
#include "util/pool.h"
#include "bench/clock.h"

enum { K_MAX = 100, TIES = 32, CHECKED = 100, Q_MAX = 10000, LIST = 64 };


static void *allocate(size_t sz){
  void *p = aligned_alloc(64, (sz+63)/64*64);
  if( p==NULL ){
    fprintf(stderr, "b_gpu: out of memory\n");
    exit(1);
  }
  return p;
}

/* ---- Data ---------------------------------------------------------------- */

/* Element i of a stream: the sum of four uniform numbers, -1..1 each; the
** operations are exact, so Python has the same bits. */
static float element(uint64_t i, uint64_t seed){
  uint64_t z = i*0x9e3779b97f4a7c15u + seed*0xbf58476d1ce4e5b9u;
  z = (z ^ z>>30)*0xbf58476d1ce4e5b9u;
  z = (z ^ z>>27)*0x94d049bb133111ebu;
  z ^= z>>31;
  return (float)((int32_t)(z & 0xffff) + (int32_t)(z>>16 & 0xffff)
                 + (int32_t)(z>>32 & 0xffff) + (int32_t)(z>>48)
                 - 131072)*0x1p-15f;
}

struct fill { float *v; size_t n, d; uint64_t seed; };
static int fill_task(void *arg, size_t i, unsigned worker){
  const struct fill *f = arg;
  size_t lo = i*4096, hi = lo+4096<f->n ? lo+4096 : f->n;
  (void)worker;
  for(size_t j=lo*f->d; j<hi*f->d; j++) f->v[j] = element(j, f->seed);
  return 0;
}
static float *generate(size_t n, size_t d, uint64_t seed){
  struct fill f = { allocate(n*d*sizeof(float)), n, d, seed };
  vdb_pool_run(vdb_cpu_count(), (n+4095)/4096, fill_task, &f);
  return f.v;
}

/* ---- One size ------------------------------------------------------------ */

static size_t n_rows, dim;
static float *rows, *queries;
static struct gpu_piece *piece;
static uint32_t *got_row, *got_n;
static float *got_distance;

static int fetch(void *arg, uint32_t first, uint32_t n, void *dst){
  (void)arg;
  memcpy(dst, rows + (size_t)first*dim, (size_t)n*dim*sizeof(float));
  return 0;
}

static vdb_gpu_source source(void){
  vdb_gpu_source src = { sizeof(src), VECDB_L2, VECDB_F32, (uint32_t)dim,
                         (uint32_t)n_rows, 0, fetch, NULL };
  return src;
}

static int ask(const float *q, size_t nq, size_t k){
  vdb_gpu_source src = source();
  vdb_gpu_knn a = { sizeof(a), (uint32_t)nq, (uint32_t)k,
                    (uint32_t)(k+TIES), q, NULL, NULL, NULL, got_row,
                    got_distance, got_n };
  return vdb_gpu_piece_knn(piece, &src, &a);
}

/* Do the first answers have the bits of the CPU? */
static bool is_right(const float *q, size_t nq, size_t k, double *cpu){
  struct flat_run run = { .vecs = rows, .stride = dim*sizeof(float),
                          .n_rows = (uint32_t)n_rows };
  struct flat_search s = { .metric = VECDB_L2, .type = VECDB_F32, .dim = dim,
                           .runs = &run, .n_runs = 1,
                           .n_thread = vdb_cpu_count() };
  size_t n = nq<CHECKED ? nq : CHECKED, n_hit[CHECKED];
  struct vdb_hit *hit = allocate(n*k*sizeof(*hit));
  double t0 = wall_seconds();
  bool right = vdb_flat_knn_batch(&s, q, dim*sizeof(float), n, k, hit, n_hit)
            == VECDB_OK;
  *cpu = (wall_seconds()-t0)/(double)n*(double)nq;
  for(size_t i=0; i<n && right; i++) for(size_t j=0; j<n_hit[i]; j++){
    size_t at = i*(k+TIES)+j;
    right &= got_n[i]!=VDB_GPU_LEFT && j<got_n[i]
          && hit[i*k+j].slot==got_row[at]
          && memcmp(&hit[i*k+j].distance, &got_distance[at], 4)==0;
  }
  free(hit);
  return right;
}

/* Milliseconds wanted of an H200; 0: no goal. */
static double goal_of(size_t nq, size_t k){
  if( n_rows!=1000000 || k!=10 ) return 0;
  if( dim==768 ) return nq==10000 ? 45 : 0;
  return dim!=128 ? 0 : nq==1 ? 0.17 : nq==100 ? 0.25 : nq==10000 ? 10 : 0;
}

static void measure(size_t nq, size_t k){
  char name[48];
  double cpu = 0, total = 0;
  size_t at = 0;
  int code = ask(queries, nq, k);              /* warms up */
  snprintf(name, sizeof(name), "%zux%zu Q=%zu k=%zu", n_rows, dim, nq, k);
  if( code!=VDB_GPU_OK || !is_right(queries, nq, k, &cpu) ){
    printf("%-32s void: %s\n", name, code ? vdb_gpu_why(code)
                                          : "other bits than the CPU's");
    n_missed++;
    return;
  }
  for(int r=0; r<20 && (r<5 || total<1); r++){
    double t0 = wall_seconds(), t;
    at = (at + nq)%(Q_MAX-nq+1);               /* other queries each time */
    ask(queries + at*dim, nq, k);
    t = wall_seconds()-t0;
    total += t;
    record(name, 1e3*t);
  }
  figure(name, median(name), "ms", goal_of(nq, k)>0 ? AT_MOST : GOAL_NONE,
         goal_of(nq, k));
  printf("%-52s %12.4g times that\n", "  the CPU, all its threads",
         1e3*cpu/median(name));
}

/* The answers for rows first.. become their lists, without the rows. */
static void lists_keep(uint32_t *near, size_t first, size_t n){
  enum { CAP = LIST+1+TIES };
  for(size_t i=0; i<n; i++){
    uint32_t *out = near + (first+i)*LIST, m = 0;
    uint32_t n_got = got_n[i]==VDB_GPU_LEFT ? 0 : got_n[i];
    for(uint32_t j=0; j<n_got && m<LIST; j++){
      if( got_row[i*CAP+j]!=first+i ) out[m++] = got_row[i*CAP+j];
    }
    while( m<LIST ) out[m++] = VDB_GPU_NONE;
  }
}

static int lists_ask(uint32_t *near){
  enum { BLOCK = 4096 };
  int code = VDB_GPU_OK;
  for(size_t i=0; i<n_rows && code==VDB_GPU_OK; i+=BLOCK){
    size_t n = n_rows-i<BLOCK ? n_rows-i : BLOCK;
    code = ask(rows + i*dim, n, LIST+1);
    if( code==VDB_GPU_OK ) lists_keep(near, i, n);
  }
  return code;
}

/* The device's part of a graph: lists of all rows, edges chosen from them. */
static void graph(void){
  enum { LANES = 32 };
  uint32_t *near = allocate(n_rows*LIST*sizeof(*near));
  uint32_t *edge = allocate(n_rows*LANES*sizeof(*edge));
  vdb_gpu_source src = source();
  vdb_gpu_edges e = { .size = sizeof(e), .n_lane = LANES, .k = LIST,
                      .n_spare = 48, .n_entry = 256, .alpha2 = 1,
                      .near = near, .edge = edge };
  double t0 = wall_seconds(), t1, t2;
  int code = lists_ask(near);
  t1 = wall_seconds();
  if( code==VDB_GPU_OK ) code = vdb_gpu_piece_edges(piece, &src, &e);
  t2 = wall_seconds();
  if( code==VDB_GPU_OK ){
    bool has_goal = n_rows==1000000 && dim==128;
    figure("lists of 64 neighbours", t1-t0, "s", GOAL_NONE, 0);
    figure("edges, 32 lanes", t2-t1, "s", GOAL_NONE, 0);
    figure("graph, the device's part", t2-t0, "s",
           has_goal ? AT_MOST : GOAL_NONE, 1.5);
  }else{
    printf("graph: %s\n", vdb_gpu_why(code));
  }
  free(near);
  free(edge);
}

/* Are centroids and lists those of the CPU? */
static bool kmeans_is_right(const vdb_gpu_kmeans *m, const float *first){
  struct vdb_kmeans p = { .rows = rows, .n = (uint32_t)n_rows,
                          .d = (uint32_t)dim, .k = m->k,
                          .n_round = m->n_round, .n_thread = vdb_cpu_count() };
  size_t sz = (size_t)m->k*dim*sizeof(float);
  float *centroid = allocate(sz);
  uint32_t *list = allocate(n_rows*sizeof(*list));
  bool right;
  memcpy(centroid, first, sz);
  right = vdb_kmeans_run(&p, centroid, list, NULL)==VECDB_OK
       && memcmp(centroid, m->centroid, sz)==0
       && memcmp(list, m->list, n_rows*sizeof(*list))==0;
  free(centroid);
  free(list);
  return right;
}

/* A piece of its own, so that sending the rows counts. */
static int kmeans_ask(vdb_gpu_kmeans *m, double *seconds){
  vdb_gpu_source src = source();
  struct gpu_piece *own = NULL;
  double t0 = wall_seconds();
  int code = vdb_gpu_piece_create(&own);
  if( code==VDB_GPU_OK ) code = vdb_gpu_piece_kmeans(own, &src, m);
  *seconds = wall_seconds()-t0;
  vdb_gpu_piece_destroy(own);
  return code;
}

/* The first centroids are rows, evenly spaced. */
static void kmeans(void){
  bool is_small = n_rows<100000, has_goal = n_rows==1000000 && dim==128;
  uint32_t k = is_small ? 256 : 4096;
  size_t sz = k*dim*sizeof(float);
  float *first = allocate(sz);
  vdb_gpu_kmeans m = { .size = sizeof(m), .k = k, .centroid = allocate(sz),
                       .n_round = is_small ? 2 : 20,
                       .list = allocate(n_rows*sizeof(uint32_t)) };
  char name[48];
  double t;
  int code;
  for(size_t c=0; c<k; c++){
    memcpy(first + c*dim, rows + c*n_rows/k*dim, dim*sizeof(float));
  }
  memcpy(m.centroid, first, sz);
  code = kmeans_ask(&m, &t);
  if( code!=VDB_GPU_OK || (is_small && !kmeans_is_right(&m, first)) ){
    printf("k-means: void: %s\n", code ? vdb_gpu_why(code)
                                       : "other bits than the CPU's");
    n_missed++;
  }else{
    snprintf(name, sizeof(name), "k-means, %u centroids, %u iterations", k,
             m.n_moved);
    figure(name, t, "s", has_goal ? AT_MOST : GOAL_NONE, 0.3);
  }
  free(first);
  free(m.centroid);
  free(m.list);
}

static void one_size(size_t n, size_t d, bool is_quick, bool has_graph){
  static const size_t nq[] = { 1, 4, 16, 64, 100, 256, 1000, 4000, 10000 };
  double t0;
  n_rows = n;
  dim = d;
  rows = generate(n, d, 1);
  queries = generate(Q_MAX, d, 2);
  if( vdb_gpu_piece_create(&piece)!=VDB_GPU_OK ) exit(1);
  t0 = wall_seconds();
  if( ask(queries, 1, 1)==VDB_GPU_OK ){
    figure(d==128 ? "attach, d=128" : "attach", wall_seconds()-t0, "s",
           GOAL_NONE, 0);
  }
  for(size_t i=0; i<9; i++){
    if( is_quick && i%4 ) continue;
    measure(nq[i], 10);
    if( nq[i]==1 || nq[i]==100 || nq[i]==1000 ) measure(nq[i], K_MAX);
  }
  if( has_graph ){
    graph();
    kmeans();
  }
  vdb_gpu_piece_destroy(piece);
  free(rows);
  free(queries);
}

int main(int argc, char **argv){
  size_t n = 0, n_cell = (size_t)Q_MAX*(K_MAX+TIES);
  const char *out = NULL;
  bool is_quick = false;
  const char *about[] = { "plugin", "", NULL, NULL };
  struct vdb_str status = VDB_STR_INIT;
  for(int c; (c = getopt(argc, argv, "n:qo:"))!=-1; ){
    if( c=='n' ) n = (size_t)strtoull(optarg, NULL, 10);
    else if( c=='q' ) is_quick = true;
    else if( c=='o' ) out = optarg;
    else return 2;
  }
  vdb_gpu_status(&status);
  printf("%s\n", status.z);
  vdb_str_clear(&status);
  if( vdb_gpu_start()!=VDB_GPU_OK ){
    printf("not measured: %s\n", vdb_gpu_why(vdb_gpu_start()));
    return 0;
  }
  got_row = allocate(n_cell*sizeof(*got_row));
  got_distance = allocate(n_cell*sizeof(*got_distance));
  got_n = allocate(Q_MAX*sizeof(*got_n));
  if( n ){
    one_size(n, 128, is_quick, true);
  }else{
    one_size(1000000, 128, is_quick, true);
    one_size(1000000, 768, is_quick, false);
    if( !is_quick ) one_size(10000000, 128, true, false);
  }
  vdb_gpu_status(&status);
  printf("%s\n", status.z);
  vdb_str_clear(&status);
  about[1] = getenv("VECDB_GPU_PLUGIN");
  if( about[1]==NULL ) about[1] = "";
  if( out ) json_write(out, ".", about);
  return n_missed>0;
}
