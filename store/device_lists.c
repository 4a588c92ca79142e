/* device_lists.c -- lists of exact neighbours from a GPU, for graph builds.
**
** The rows, in the space of the graph, become a piece on the device; then they
** are its queries, block by block. Rows with more ties at the end of their list
** than a first answer has room for are asked for again with more room.
**
** GATE    Lists that are not exact would spoil a graph, or give it bytes that
**   depend on the device. So the lists of SAMPLE rows are compared with those of
**   the CPU, bit by bit; one difference and the device is not believed.
** LIMIT   All must be resident at once, and the work, n^2*d products, stay
**   below WORK_MAX: a million rows of 1536 dimensions, ten of 128. Beyond
**   that nothing is built this way.
*/
#include "util/common.h"
#include "store/device.h"

#include "gpu/gpu.h"
#include "simd/simd.h"

#define LISTS_BLOCK  4096u             /* queries of a request */
#define LISTS_TIES   32u
#define LISTS_MORE   2048u             /* room when ties are asked again */
#define SAMPLE       32u
#define WORK_MAX     2e16

struct device_lists {
  struct device_lister *l;
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
    TRY( d->rows->progress(d->rows->arg, 0.1 + 0.9*i/n) );
  }
  for(uint32_t i=0; i<d->n_again; i+=few){
    uint32_t m = d->n_again-i<few ? d->n_again-i : few;
    TRY( lists_ask(d, d->again+i, 0, m, LISTS_MORE) );
  }
done:
  return rc;
}

/* ---- The gate ------------------------------------------------------------ */

/* The nearest rows of SAMPLE rows, by the CPU, in one pass over all. */
static int sample_scan(struct device_lists *d, uint32_t n, uint32_t step,
                       struct vdb_topk *top){
  uint32_t dim = d->rows->d;
  float *x = d->query + (size_t)n*dim, key;
  int rc = VECDB_OK;
  for(uint32_t s=0; s<n; s++){
    TRY( d->rows->fetch(d->rows->arg, s*step, d->query + (size_t)s*dim) );
    vdb_topk_init(&top[s], d->k+1, NULL, NULL);
  }
  for(uint32_t i=0; i<d->rows->n; i++){
    TRY( d->rows->fetch(d->rows->arg, i, x) );
    for(uint32_t s=0; s<n; s++){
      struct vdb_query q;
      TRY( vdb_query_init(&q, VECDB_L2, VECDB_F32, d->query + (size_t)s*dim,
                          dim) );
      key = vdb_key_distance(VECDB_L2, vdb_key(&q, x));
      if( key<=vdb_topk_bound(&top[s]) ) TRY( vdb_topk_push(&top[s], key, i) );
    }
  }
done:
  return rc;
}

static int lists_gate(struct device_lists *d){
  uint32_t n = d->rows->n<SAMPLE ? d->rows->n : SAMPLE;
  uint32_t step = d->rows->n/(n ? n : 1), m;
  struct vdb_topk top[SAMPLE];
  int rc;
  memset(top, 0, sizeof(top));
  TRY( sample_scan(d, n, step, top) );
  for(uint32_t s=0; s<n; s++){
    const uint32_t *near = d->near + (size_t)s*step*d->k;
    vdb_topk_sort(&top[s]);
    m = 0;
    for(size_t j=0; j<top[s].n && m<d->k; j++){
      if( top[s].hit[j].slot==s*step ) continue;
      if( near[m++]!=top[s].hit[j].slot ) d->l->code = VDB_GPU_INTERNAL;
    }
  }
  if( d->l->code!=VDB_GPU_OK ) rc = VECDB_GPU;
done:
  for(uint32_t s=0; s<n; s++) vdb_topk_clear(&top[s]);
  return rc;
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
  if( !d->query || !d->row || !d->distance || !d->n || !d->again
   || vdb_gpu_piece_create(&d->piece)!=VDB_GPU_OK ) return VECDB_NOMEM;
  return VECDB_OK;
}

int vdb_device_lists(void *arg, const struct vdb_graph_rows *rows, uint32_t k,
                     uint32_t *near){
  struct device_lists d = { .l = arg, .rows = rows, .k = k, .near = near };
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
done:
  vdb_gpu_piece_destroy(d.piece);
  vdb_free(d.query);
  vdb_free(d.row);
  vdb_free(d.distance);
  vdb_free(d.n);
  vdb_free(d.again);
  if( d.l->code==VDB_GPU_NOMEM ) rc = VECDB_NOMEM;
  return rc;
}
