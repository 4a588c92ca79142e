/* device_graph.c -- the edges of a graph from a GPU.
**
** The rows, in the space of the graph, become a piece on the device; then they
** are its queries, block by block: lists of exact neighbours. Rows with more
** ties at the end of their list than a first answer has room for are asked for
** again with more room. From the lists the device chooses the edges
** (gpu/edges.h), and index/graph_link.c makes blocks of them.
**
** GATE    Lists that are not exact would spoil a graph, or give it bytes that
**   depend on the device. So the lists of SAMPLE rows are compared with those of
**   the CPU; one difference and the device is not believed.
** LIMIT   All must be resident at once, and the work, n^2*d products, stay
**   below WORK_MAX: a million rows of 1536 dimensions, ten of 128. Beyond
**   that nothing is built this way.
*/
#include "util/common.h"
#include "store/device.h"

#include "gpu/gpu.h"
#include "index/index.h"
#include "simd/simd.h"
#include "util/pool.h"

#define LISTS_BLOCK  4096u             /* queries of a request */
#define LISTS_TIES   32u
#define LISTS_MORE   2048u             /* room when ties are asked again */
#define SAMPLE       2000u
#define SCAN_BYTES   ((size_t)32<<20)  /* of rows that the gate looks at */
#define WORK_MAX     2e16

struct device_lists {
  struct device_linker *l;
  const struct vdb_graph_rows *rows;
  uint32_t k;
  uint32_t *near;
  struct gpu_piece *piece;
  vdb_gpu_source src;
  float *query;                        /* LISTS_BLOCK of them */
  uint32_t *row, *n;                   /* what the device gives */
  float *distance;
  uint32_t *again;                     /* rows with too many ties */
  uint32_t n_again;
  int rc;                              /* of a fetch that failed */
};

static int lists_rows_fetch(void *arg, uint32_t first, uint32_t n, void *dst){
  struct device_lists *d = arg;
  float *out = dst;
  for(uint32_t i=0; i<n && d->rc==VECDB_OK; i++, out+=d->rows->d){
    d->rc = d->rows->fetch(d->rows->arg, first+i, out);
  }
  if( d->rc==VECDB_OK ){
    d->rc = d->rows->progress(d->rows->arg,
                              0.1*(first+n)/((double)d->rows->n+1));
  }
  return d->rc!=VECDB_OK;
}

/* The k first of an answer without the row itself. */
static void list_keep(struct device_lists *d, uint32_t i, const uint32_t *row,
                      uint32_t n){
  uint32_t *out = d->near + (size_t)i*d->k, m = 0;
  for(uint32_t j=0; j<n && m<d->k; j++) if( row[j]!=i ) out[m++] = row[j];
  while( m<d->k ) out[m++] = SLOT_NONE;
}

/* Rows which[0..n-1], or first.. if that is NULL, with room for cap. */
static int lists_ask(struct device_lists *d, const uint32_t *which,
                     uint32_t first, uint32_t n, uint32_t cap){
  vdb_gpu_knn q = { .size = sizeof(q), .n_query = n, .k = d->k+1, .cap = cap,
                    .queries = d->query, .row = d->row,
                    .distance = d->distance, .n = d->n };
  int rc = VECDB_OK;
  for(uint32_t i=0; i<n; i++){
    TRY( d->rows->fetch(d->rows->arg, which ? which[i] : first+i,
                        d->query + (size_t)i*d->rows->d) );
  }
  d->l->code = vdb_gpu_piece_knn(d->piece, &d->src, &q);
  if( d->l->code!=VDB_GPU_OK ) return d->rc ? d->rc : VECDB_GPU;
  for(uint32_t i=0; i<n; i++){
    uint32_t r = which ? which[i] : first+i;
    if( d->n[i]!=VDB_GPU_LEFT ){
      list_keep(d, r, d->row + (size_t)i*cap, d->n[i]);
    }else if( which ){
      d->l->code = VDB_GPU_UNSUPPORTED;          /* ties without end */
      return VECDB_GPU;
    }else{
      d->again[d->n_again++] = r;
    }
  }
done:
  return rc;
}

static int lists_all(struct device_lists *d){
  uint32_t n = d->rows->n, few = LISTS_BLOCK*(d->k+1+LISTS_TIES)/LISTS_MORE;
  int rc = VECDB_OK;
  for(uint32_t i=0; i<n; i+=LISTS_BLOCK){
    uint32_t m = n-i<LISTS_BLOCK ? n-i : LISTS_BLOCK;
    TRY( lists_ask(d, NULL, i, m, d->k+1+LISTS_TIES) );
    TRY( d->rows->progress(d->rows->arg, 0.1 + 0.5*i/n) );
  }
  for(uint32_t i=0; i<d->n_again; i+=few){
    uint32_t m = d->n_again-i<few ? d->n_again-i : few;
    TRY( lists_ask(d, d->again+i, 0, m, LISTS_MORE) );
  }
done:
  return rc;
}

/* ---- The gate ------------------------------------------------------------ */

/* Rows first..first+n-1, in `some`, to the nearest of the sample. */
static int sample_offer(const struct flat_search *s, const float *query,
                        uint32_t n_query, size_t k, struct vdb_hit *hit,
                        size_t *n_hit, struct vdb_topk *top){
  int rc = VECDB_OK;
  TRY( vdb_flat_knn_batch(s, query, s->dim*sizeof(float), n_query, k, hit,
                          n_hit) );
  for(uint32_t i=0; i<n_query; i++) for(size_t j=0; j<n_hit[i]; j++){
    TRY( vdb_topk_push(&top[i], hit[i*k+j].distance, hit[i*k+j].slot) );
  }
done:
  return rc;
}

/* The k+1 nearest rows of n queries, by the CPU, in one pass over all. */
static int sample_scan(struct device_lists *d, const float *query, uint32_t n,
                       struct vdb_topk *top){
  size_t sz = d->rows->d*sizeof(float), k = d->k+1, n_hit[SAMPLE];
  uint32_t n_some = (uint32_t)(SCAN_BYTES/sz);
  struct flat_run run = { .stride = sz };
  struct flat_search s = { .metric = VECDB_L2, .type = VECDB_F32,
                           .dim = d->rows->d, .runs = &run, .n_runs = 1,
                           .n_thread = vdb_cpu_count() };
  struct vdb_hit *hit = vdb_malloc_array((size_t)n*k, sizeof(*hit));
  float *some;
  int rc = VECDB_OK;
  if( n_some>d->rows->n ) n_some = d->rows->n;
  some = vdb_malloc_array(n_some, sz);
  if( hit==NULL || some==NULL ) TRY( VECDB_NOMEM );
  run.vecs = some;
  for(uint32_t i=0; i<d->rows->n; i+=run.n_rows){
    run.n_rows = d->rows->n-i<n_some ? d->rows->n-i : n_some;
    run.slot_base = i;
    for(uint32_t j=0; j<run.n_rows; j++){
      TRY( d->rows->fetch(d->rows->arg, i+j, some + (size_t)j*d->rows->d) );
    }
    TRY( sample_offer(&s, query, n, k, hit, n_hit, top) );
    TRY( d->rows->progress(d->rows->arg, 0.6 + 0.1*i/d->rows->n) );
  }
done:
  vdb_free(hit);
  vdb_free(some);
  return rc;
}

/* Is the list of row i what the CPU found? */
static bool list_is_right(const struct device_lists *d, uint32_t i,
                          struct vdb_topk *top){
  const uint32_t *near = d->near + (size_t)i*d->k;
  uint32_t m = 0;
  vdb_topk_sort(top);
  for(size_t j=0; j<top->n && m<d->k; j++){
    if( top->hit[j].slot!=i && near[m++]!=top->hit[j].slot ) return false;
  }
  return true;
}

static int lists_gate(struct device_lists *d){
  uint32_t n = d->rows->n<SAMPLE ? d->rows->n : SAMPLE, step = d->rows->n/n;
  struct vdb_topk *top = vdb_calloc(n, sizeof(*top));
  float *query = vdb_malloc_array(n, d->rows->d*sizeof(float));
  int rc = VECDB_OK;
  if( top==NULL || query==NULL ) TRY( VECDB_NOMEM );
  for(uint32_t s=0; s<n; s++){
    TRY( d->rows->fetch(d->rows->arg, s*step, query + (size_t)s*d->rows->d) );
    vdb_topk_init(&top[s], (size_t)d->k+1, NULL, NULL);
  }
  TRY( sample_scan(d, query, n, top) );
  for(uint32_t s=0; s<n; s++){
    if( !list_is_right(d, s*step, &top[s]) ) d->l->code = VDB_GPU_INTERNAL;
  }
  if( d->l->code!=VDB_GPU_OK ) rc = VECDB_GPU;
done:
  for(uint32_t s=0; top && s<n; s++) vdb_topk_clear(&top[s]);
  vdb_free(top);
  vdb_free(query);
  return rc;
}

/* ---- Edges --------------------------------------------------------------- */

static int edges_progress(void *arg, double done){
  struct device_lists *d = arg;
  d->rc = d->rows->progress(d->rows->arg, 0.7 + 0.3*done);
  return d->rc!=VECDB_OK;
}

static int edges_ask(struct device_lists *d, const struct vdb_graph_linking *how,
                     uint32_t *edge){
  vdb_gpu_edges e = { .size = sizeof(e), .n_lane = how->n_lanes, .k = d->k,
                      .n_spare = how->n_spare, .n_entry = how->n_entry,
                      .alpha2 = how->alpha2, .near = d->near,
                      .progress = edges_progress, .arg = d, .edge = edge };
  d->l->code = vdb_gpu_piece_edges(d->piece, &d->src, &e);
  if( d->l->code!=VDB_GPU_OK ) return d->rc ? d->rc : VECDB_GPU;
  return VECDB_OK;
}

/* ---- A build ------------------------------------------------------------- */

static int lists_alloc(struct device_lists *d){
  size_t n_out = (size_t)LISTS_BLOCK*(d->k+1+LISTS_TIES);
  if( n_out<LISTS_MORE ) n_out = LISTS_MORE;
  d->query = vdb_malloc_array((size_t)LISTS_BLOCK*d->rows->d, sizeof(float));
  d->row = vdb_malloc_array(n_out, sizeof(*d->row));
  d->distance = vdb_malloc_array(n_out, sizeof(*d->distance));
  d->n = vdb_malloc_array(LISTS_BLOCK, sizeof(*d->n));
  d->again = vdb_malloc_array(d->rows->n, sizeof(*d->again));
  d->near = vdb_malloc_array((size_t)d->rows->n*d->k, sizeof(*d->near));
  if( !d->near || !d->query || !d->row || !d->distance || !d->n || !d->again
   || vdb_gpu_piece_create(&d->piece)!=VDB_GPU_OK ) return VECDB_NOMEM;
  return VECDB_OK;
}

int vdb_device_edges(void *arg, const struct vdb_graph_rows *rows,
                     const struct vdb_graph_linking *how, uint32_t *edge){
  struct device_lists d = { .l = arg, .rows = rows, .k = how->list };
  double work = (double)rows->n*rows->n*rows->d;
  int rc = VECDB_OK;
  d.src = (vdb_gpu_source){ .size = sizeof(d.src), .metric = VECDB_L2,
      .type = VECDB_F32, .dim = rows->d, .n_rows = rows->n,
      .fetch = lists_rows_fetch, .arg = &d };
  d.l->code = work>WORK_MAX ? VDB_GPU_UNSUPPORTED : vdb_gpu_start();
  if( d.l->code!=VDB_GPU_OK ) return VECDB_GPU;
  TRY( lists_alloc(&d) );
  TRY( lists_all(&d) );
  TRY( lists_gate(&d) );
  TRY( edges_ask(&d, how, edge) );
done:
  vdb_gpu_piece_destroy(d.piece);
  vdb_free(d.near);
  vdb_free(d.query);
  vdb_free(d.row);
  vdb_free(d.distance);
  vdb_free(d.n);
  vdb_free(d.again);
  if( d.l->code==VDB_GPU_NOMEM ) rc = VECDB_NOMEM;
  return rc;
}
