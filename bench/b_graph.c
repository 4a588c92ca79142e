/* b_graph.c -- the graph index on a data set: build, then recall against
** queries per second.
**
** Reads base.u8bin or base.fbin, query.*, gt.ivecs of a folder (layout in the
** README of the data), builds the index in memory, sweeps ef and the early
** stop, and prints for every setting recall@10 *by distance* (a result counts
** if it is not farther than the 10th true neighbour), queries per second of
** one thread for single queries and for interleaved batches, and blocks read
** per query. Repetitions go round the settings, so that noise meets all of
** them; medians are printed.
**
** Usage: b_graph [options] FOLDER
**   -t N  threads of the build     -b N  bits of codes    -p N  prefix
**   -l A,B  list lengths           -r N  repetitions      -s S  early stops
**   -c    cosine: rows and queries are normalised         -n N  nav (1 2 3)
**   -e LIST  values of ef; none: those the index plans for .9, .95, .99
**   -q N  queries                  -o FILE  JSON
**   -R N,S  router entries, seeds
**   -w FILE  write the index       -i FILE  read it instead of building
**   -C       measure the table of recall anew
**   -g       edges from a GPU, or the plugin that $VECDB_GPU_PLUGIN names
**   -N N     the first N rows alone, and their true neighbours
** Times are processor time of the process.
*/
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench/dataset.h"
#include "gpu/gpu.h"
#include "index/graph.h"
#include "simd/simd.h"
#include "bench/clock.h"
#include "store/device.h"

enum { N_SET_MAX = 256, REPS_MAX = 101 };

/* Processor time: a machine that others use too shows less noise in it. */
static void *big_alloc(size_t sz){
  size_t all = (sz + (4u<<20))/(2u<<20)*(2u<<20);
  void *p = aligned_alloc(2u<<20, all);
  if( p==NULL ) die("memory", "none left");
  madvise(p, all, MADV_HUGEPAGE);
  memset(p, 0, all);
  return p;
}
static int compare_doubles(const void *a, const void *b){
  double x = *(const double*)a, y = *(const double*)b;
  return x<y ? -1 : x>y;
}
static double median(double *t, int n){
  qsort(t, (size_t)n, sizeof(*t), compare_doubles);
  return t[n/2];
}

/* ---- The index in memory ------------------------------------------------- */

struct memory_index {
  const struct set *base;
  unsigned char *arena;
  size_t sz_group, sz_blocks;
  const unsigned char **group;
  unsigned char *header;
  size_t sz_header;
};

static int fetch_row(void *arg, uint32_t i, float *vec){
  struct memory_index *m = arg;
  memcpy(vec, m->base->x + (size_t)i*m->base->d, m->base->d*4);
  return VECDB_OK;
}
static int take_group(void *arg, uint32_t i_group, const void *blocks,
                      uint32_t n, uint32_t stride){
  struct memory_index *m = arg;
  if( m->arena==NULL ){
    m->sz_group = (size_t)n*stride;
    m->arena = big_alloc((size_t)m->base->n*stride + m->sz_group);
    m->group = calloc(m->base->n/n+2, sizeof(*m->group));
  }
  m->group[i_group] = m->arena + i_group*m->sz_group;
  memcpy(m->arena + i_group*m->sz_group, blocks, (size_t)n*stride);
  m->sz_blocks += (size_t)n*stride;
  return VECDB_OK;
}
static int take_header(void *arg, const void *bytes, size_t sz){
  struct memory_index *m = arg;
  m->header = malloc(sz);
  memcpy(m->header, bytes, sz);
  m->sz_header = sz;
  return VECDB_OK;
}

/* A file of an index, for runs that only search. */
static void index_save(const struct memory_index *m, const char *path){
  FILE *f = fopen(path, "wb");
  uint64_t h[3] = { m->sz_header, m->sz_blocks, m->sz_group };
  if( f==NULL || fwrite(h, 8, 3, f)!=3
   || fwrite(m->header, 1, m->sz_header, f)!=m->sz_header
   || fwrite(m->arena, 1, m->sz_blocks, f)!=m->sz_blocks
   || fclose(f)!=0 ) die(path, "cannot write");
}
static void index_load(struct memory_index *m, const char *path){
  FILE *f = fopen(path, "rb");
  uint64_t h[3];
  size_t n;
  if( f==NULL || fread(h, 8, 3, f)!=3 ) die(path, "cannot read");
  m->sz_header = h[0];
  m->sz_blocks = h[1];
  m->sz_group = h[2];
  m->header = malloc(h[0]);
  m->arena = big_alloc(h[1] + h[2]);
  n = h[1]/h[2] + 1;
  m->group = calloc(n, sizeof(*m->group));
  for(size_t i=0; i<n; i++) m->group[i] = m->arena + i*h[2];
  if( fread(m->header, 1, h[0], f)!=h[0] || fread(m->arena, 1, h[1], f)!=h[1] ){
    die(path, "short");
  }
  fclose(f);
}

/* A new table of recall. */
static void index_measure(struct memory_index *m, struct vdb_graph **g,
                          const struct vdb_graph_blocks *b, unsigned n_thread){
  double t = cpu_seconds();
  unsigned char *header;
  if( vdb_graph_recalibrate(*g, b, n_thread, &header, &m->sz_header)!=VECDB_OK ){
    die("recalibrate", "failed");
  }
  printf("table of recall: %.2f s\n", cpu_seconds()-t);
  m->header = header;
  vdb_graph_close(*g);
  if( vdb_graph_open(m->header, m->sz_header, g)!=VECDB_OK ){
    die("open", "failed");
  }
}

/* ---- Measuring ----------------------------------------------------------- */

struct setting { uint32_t ef; float stop; double recall, hops;
                 double t_single[REPS_MAX], t_batch[REPS_MAX]; };

static double hits_recall(const struct vdb_graph_hit *hit,
                          const uint32_t *n_hit, const struct set *base,
                          const struct set *query, const double *limit,
                          uint32_t n){
  double s = 0;
  for(uint32_t i=0; i<n; i++){
    for(uint32_t j=0; j<n_hit[i]; j++){
      s += row_is_right(base, query, limit, i, hit[i*K+j].row);
    }
  }
  return s/n/K;
}

/* What a caller does when blocks do not hold the true vectors: rank more hits
** than it wants by those. Leaves the K best of each query, k apart -> K apart. */
static void hits_rerank(struct vdb_graph_hit *hit, uint32_t *n_hit,
                        const struct set *base, const float *query, uint32_t k,
                        uint32_t i){
  struct vdb_graph_hit *from = hit + (size_t)i*k, *to = hit + (size_t)i*K;
  for(uint32_t j=0; j<n_hit[i]; j++){
    struct vdb_graph_hit h = from[j];
    uint32_t at = j;
    h.d2 = vdb_l2sq(VECDB_F32, query, base->x + (size_t)h.row*base->d, base->d);
    for(; at>0 && from[at-1].d2>h.d2; at--) from[at] = from[at-1];
    from[at] = h;
  }
  if( n_hit[i]>K ) n_hit[i] = K;
  memmove(to, from, n_hit[i]*sizeof(*to));
}

static void usage(void){ die("usage", "b_graph [options] FOLDER"); }

int main(int argc, char **argv){
  struct vdb_graph_opts o = { .n_thread = 1 };
  struct memory_index m = { 0 };
  struct vdb_graph_source src = { 0 };
  struct vdb_graph_sink sink = { .group = take_group, .header = take_header };
  struct vdb_graph_blocks blocks = { 0 };
  struct vdb_graph_searcher *s = NULL;
  struct vdb_graph *g = NULL;
  struct vdb_graph_info info;
  struct vdb_graph_hit *hit;
  struct set base, query;
  struct setting *set;
  const char *ef_list = NULL;
  const char *stop_list = "-1", *out = NULL, *folder;
  const char *save = NULL, *load = NULL;
  double *limit, t, t_build;
  uint32_t *n_hit, n_query = 0, n_base = 0, k;
  struct device_linker gpu = { 0 };
  struct vdb_graph_linker linker = { vdb_device_edges, &gpu };
  int n_set = 0, reps = 5, is_cosine = 0, is_measured = 0, opt;

  while( (opt = getopt(argc, argv, "t:b:p:l:r:s:cn:e:q:o:L:w:i:R:CgN:"))!=-1 ){
    switch( opt ){
      case 't': o.n_thread = (uint32_t)strtoul(optarg, NULL, 10); break;
      case 'b': o.bits = (uint32_t)strtoul(optarg, NULL, 10); break;
      case 'p': o.prefix = (uint32_t)strtoul(optarg, NULL, 10); break;
      case 'n': o.nav = (uint32_t)strtoul(optarg, NULL, 10); break;
      case 'L': o.n_lanes = (uint32_t)strtoul(optarg, NULL, 10); break;
      case 'l': o.list1 = (uint32_t)strtoul(optarg, &optarg, 10);
                o.list2 = (uint32_t)strtoul(optarg+1, NULL, 10); break;
      case 'R': o.n_router = (uint32_t)strtoul(optarg, &optarg, 10);
                if( *optarg ) o.n_seed = (uint32_t)strtoul(optarg+1, NULL, 10);
                break;
      case 'r': reps = (int)strtol(optarg, NULL, 10); break;
      case 's': stop_list = optarg; break;
      case 'e': ef_list = optarg; break;
      case 'q': n_query = (uint32_t)strtoul(optarg, NULL, 10); break;
      case 'o': out = optarg; break;
      case 'w': save = optarg; break;
      case 'i': load = optarg; break;
      case 'c': is_cosine = 1; break;
      case 'C': is_measured = 1; break;
      case 'g': o.linker = &linker; break;
      case 'N': n_base = (uint32_t)strtoul(optarg, NULL, 10); break;
      default: usage();
    }
  }
  if( optind+1!=argc || reps<1 || reps>REPS_MAX ) usage();
  folder = argv[optind];
  base = set_read(folder, "base");
  query = set_read(folder, "query");
  if( is_cosine ){ set_normalise(&base); set_normalise(&query); }
  if( n_query==0 || n_query>query.n ) n_query = query.n;
  query.n = n_query;
  if( n_base>0 && n_base<base.n ){
    base.n = n_base;
    limit = truth_scan(&base, &query);
  }else{
    limit = truth_read(folder, &base, &query);
  }

  set = calloc(N_SET_MAX, sizeof(*set));
  m.base = &base;
  src.n_rows = base.n;
  src.d = base.d;
  src.fetch = fetch_row;
  src.arg = sink.arg = &m;
  t_build = cpu_seconds();
  if( load ) index_load(&m, load);
  else if( vdb_graph_build(&src, &o, &sink)!=VECDB_OK ){
    die("build", gpu.code ? vdb_gpu_why(gpu.code) : "failed");
  }
  if( save ) index_save(&m, save);
  t_build = cpu_seconds() - t_build;
  if( vdb_graph_open(m.header, m.sz_header, &g)!=VECDB_OK ){
    die("open", "failed");
  }
  vdb_graph_info(g, &info);
  blocks.base = m.group;
  blocks.n_slots = info.n_slots;
  if( is_measured ) index_measure(&m, &g, &blocks, o.n_thread);
  {
    struct vdb_graph_report rep;
    int rc = vdb_graph_check(g, &blocks, &rep);
    printf("%s: %u x %u, %s, build %.2f s on %u threads, check %d "
           "(unreached %u, edges %.1f, in-degree max %u)\n",
           folder, base.n, base.d, vdb_simd()->name, t_build, o.n_thread, rc,
           rep.n_unreached, (double)rep.n_edge/info.n_nodes,
           rep.degree_in_max);
  }
  printf("nav %u bits %u dims %u%s stride %u bytes/row %.0f header %zu "
         "router %u x %u\n", info.nav, info.bits, info.dims_code,
         info.is_prefix ? " (projected)" : "", info.stride,
         (double)(m.sz_blocks + m.sz_header)/base.n, m.sz_header,
         info.n_router, info.n_seed);
  for(int i=0; i<3; i++){
    static const double target[] = { 0.9, 0.95, 0.99 };
    struct vdb_graph_plan p = vdb_graph_plan_recall(g, K, target[i]);
    printf("plan for %.2f: ef %u stop %.2f, recall %.4f\n", target[i], p.ef,
           (double)p.stop, (double)p.recall);
    if( !ef_list && p.ef && n_set<N_SET_MAX ){
      set[n_set].ef = p.ef;
      set[n_set++].stop = p.stop;
    }
  }
  if( vdb_graph_searcher_create(g, &s)!=VECDB_OK ) die("searcher", "failed");
  k = info.needs_rerank ? K+8 : K;
  hit = malloc((size_t)n_query*k*sizeof(*hit));
  n_hit = malloc(n_query*sizeof(*n_hit));
  for(const char *z=stop_list; ef_list && *z; ){
    char *end;
    float stop = strtof(z, &end);
    for(const char *y=ef_list; *y && n_set<N_SET_MAX; ){
      char *e2;
      set[n_set].ef = (uint32_t)strtoul(y, &e2, 10);
      set[n_set++].stop = stop;
      y = *e2 ? e2+1 : e2;
    }
    z = *end ? end+1 : end;
  }
  for(int r=0; r<=reps; r++){
    for(int i=0; i<n_set; i++){
      struct vdb_graph_search p = { k, set[i].ef, set[i].stop };
      struct vdb_graph_stats st;
      double hops = 0;
      t = cpu_seconds();
      for(uint32_t j=0; j<n_query; j++){
        if( vdb_graph_knn(s, &blocks, query.x + (size_t)j*base.d, &p,
                          hit + (size_t)j*k, &n_hit[j], &st)!=VECDB_OK ){
          die("search", "failed");
        }
        if( k>K ) hits_rerank(hit, n_hit, &base, query.x + (size_t)j*base.d, k,
                              j);
        hops += st.n_hop;
      }
      t = cpu_seconds() - t;
      if( r ) set[i].t_single[r-1] = t;
      if( r==0 ){
        set[i].recall = hits_recall(hit, n_hit, &base, &query, limit, n_query);
        set[i].hops = hops/n_query;
      }
      t = cpu_seconds();
      if( vdb_graph_knn_many(s, &blocks, query.x, n_query, &p, hit, n_hit)
            !=VECDB_OK ) die("batch", "failed");
      for(uint32_t j=0; k>K && j<n_query; j++){
        hits_rerank(hit, n_hit, &base, query.x + (size_t)j*base.d, k, j);
      }
      t = cpu_seconds() - t;
      if( r ) set[i].t_batch[r-1] = t;
      if( r==0 && set[i].recall!=hits_recall(hit, n_hit, &base, &query, limit,
                                             n_query) ){
        die("batch", "other results");
      }
    }
  }
  printf("%6s %6s %8s %10s %10s %7s\n", "ef", "stop", "recall", "qps", "batch",
         "hops");
  for(int i=0; i<n_set; i++){
    double a = n_query/median(set[i].t_single, reps);
    double b = n_query/median(set[i].t_batch, reps);
    printf("%6u %6.2f %8.4f %10.0f %10.0f %7.1f\n", set[i].ef,
           (double)set[i].stop, set[i].recall, a, b, set[i].hops);
  }
  if( out ){
    FILE *f = fopen(out, "w");
    if( f==NULL ) die(out, "cannot write");
    fprintf(f, "{\"system\":\"vecdb\",\"build_s\":%.3f,\"threads\":%u,"
            "\"bytes_per_row\":%.0f,\"points\":[", t_build, o.n_thread,
            (double)(m.sz_blocks + m.sz_header)/base.n);
    for(int i=0; i<n_set; i++){
      fprintf(f, "%s{\"ef\":%u,\"stop\":%g,\"recall\":%.5f,\"qps\":%.1f,"
              "\"qps_batch\":%.1f,\"hops\":%.2f}", i ? "," : "", set[i].ef,
              (double)set[i].stop, set[i].recall,
              n_query/median(set[i].t_single, reps),
              n_query/median(set[i].t_batch, reps), set[i].hops);
    }
    fprintf(f, "]}\n");
    fclose(f);
  }
  vdb_graph_searcher_destroy(s);
  vdb_graph_close(g);
  return 0;
}
