/* cuda_knn.cu -- one request: chunks, lists that overflow, results.
**
** FILTER  From five queries on, where rows have copies. Chunk by chunk: values
**   into the lists, then lists are cut. At the end what is left is rescored
**   and cut again, by distances.
** SCAN    Everything else, and the lists that overflowed in the filter; with
**   the chunks of the filter, and again, for those that overflow even so, with
**   chunks of half a list, which leave more than k entries only when that many
**   rows are equally far. Those stay unanswered.
** WAITS   Once per block of queries, for the answers; whether lists overflowed
**   comes with them.
** LIMITS  A launch of the filter is kept below about LAUNCH_WORK products, a
**   few ten milliseconds; between launches the caller may cancel.
*/
#include "gpu/cuda_int.h"

#define FILTER_FROM  5u
#define FEW_CAPACITY 4096u             /* of lists, and growth of chunks, where */
#define FEW_GROWTH   64u               /* each round counts: few queries */
#define LAUNCH_WORK  ((uint64_t)5<<42)
#define QUERIES_MAX  16384u

struct knn_work {
  vdb_gpu_rows *r;
  const vdb_gpu_knn *q;
  uint32_t n_block, n_pad, cap, cap_out;
  dev_lists l;
  dev_queries dq;
  bool has_filter;
  uint64_t *pass;
  uint32_t *which;                 /* on the device */
  uint32_t *row, *n_out;
  float *distance;
  const char *resident;            /* queries that are there already, or NULL */
  uint32_t *host;                  /* n_block flags, then n_block lists */
};

static uint64_t pass_words(const vdb_gpu_rows *r){
  return ((uint64_t)r->src.n_rows + 63)/64;
}

static void work_free(knn_work *w){
  vdb_gpu_device *d = w->r->d;
  uint64_t n = w->n_block, n_pad = w->n_pad;
  dev_array_free(d, w->l.entry, n*w->cap);
  dev_array_free(d, w->l.count, n_pad);
  dev_array_free(d, w->l.flag, n_pad);
  dev_array_free(d, w->l.tau, n_pad);
  if( w->resident==NULL ) vdb_cuda_free(d, (void*)w->dq.raw, n*w->r->sz_vec);
  dev_array_free(d, w->dq.copy, n_pad*w->r->sz_copy);
  dev_array_free(d, w->dq.a, n_pad);
  dev_array_free(d, w->dq.lin, n_pad);
  dev_array_free(d, w->dq.z, n_pad);
  dev_array_free(d, w->dq.f, n_pad);
  dev_array_free(d, w->pass, pass_words(w->r));
  dev_array_free(d, w->which, n);
  dev_array_free(d, w->row, n*w->cap_out);
  dev_array_free(d, w->distance, n*w->cap_out);
  dev_array_free(d, w->n_out, n);
  if( w->host ) d->cfg.release(w->host);
}

static int work_alloc(knn_work *w){
  vdb_gpu_device *d = w->r->d;
  uint64_t n = w->n_block, n_pad = w->n_pad;
  void *raw = NULL;
  int code;
  DEV_TRY( dev_array(d, &w->l.entry, n*w->cap) );
  DEV_TRY( dev_array(d, &w->l.count, n_pad) );
  DEV_TRY( dev_array(d, &w->l.flag, n_pad) );
  DEV_TRY( dev_array(d, &w->l.tau, n_pad) );
  if( w->resident==NULL ) DEV_TRY( vdb_cuda_alloc(d, &raw, n*w->r->sz_vec) );
  w->dq.raw = raw;
  if( w->has_filter ){
    DEV_TRY( dev_array(d, &w->dq.copy, n_pad*w->r->sz_copy) );
    DEV_TRY( dev_array(d, &w->dq.a, n_pad) );
    DEV_TRY( dev_array(d, &w->dq.lin, n_pad) );
    DEV_TRY( dev_array(d, &w->dq.z, n_pad) );
    DEV_TRY( dev_array(d, &w->dq.f, n_pad) );
  }
  if( w->q->pass ){
    DEV_TRY( dev_array(d, &w->pass, pass_words(w->r)) );
    DEV_TRY( vdb_cuda_to_device(d, w->pass, w->q->pass,
                                pass_words(w->r)*8) );
  }
  DEV_TRY( dev_array(d, &w->which, n) );
  DEV_TRY( dev_array(d, &w->row, n*w->cap_out) );
  DEV_TRY( dev_array(d, &w->distance, n*w->cap_out) );
  DEV_TRY( dev_array(d, &w->n_out, n) );
  w->host = (uint32_t*)d->cfg.alloc(2*n*sizeof(uint32_t));
  if( w->host==NULL ) code = VDB_GPU_NOMEM;
done:
  return code;
}

static int work_poll(const knn_work *w){
  return w->q->cancelled && w->q->cancelled(w->q->arg) ? VDB_GPU_CANCELLED
                                                       : VDB_GPU_OK;
}

/* ---- Chunks -------------------------------------------------------------- */

static dev_visit chunk_first(const knn_work *w){
  uint32_t n = w->cap/2/TILE*TILE;
  dev_visit v = { w->r->src.n_rows, w->r->step, w->pass, 0,
                  n<w->r->src.n_rows ? n : w->r->src.n_rows, true };
  return v;
}

/* growth 0: half a list at a time. */
static bool chunk_next(const knn_work *w, dev_visit *v, uint32_t growth){
  uint32_t half = w->cap/2/TILE*TILE;
  uint64_t n = growth ? (uint64_t)v->hi*growth : half;
  if( v->hi==v->n ) return false;
  n = n/TILE*TILE;
  v->lo = v->hi;
  v->hi = v->n-v->lo<n ? v->n : v->lo + (uint32_t)n;
  v->is_first = false;
  return true;
}

static uint32_t chunk_growth(const knn_work *w){
  uint32_t g = w->r->d->growth, most = w->cap/(4*w->l.k);
  if( g ) return g;
  if( w->has_filter || w->cap<FEW_CAPACITY || most<=16 ){
    return rules_growth(w->cap, w->l.k);
  }
  return most<FEW_GROWTH ? most : FEW_GROWTH;
}

/* A chunk in launches that are not too long. */
static int chunk_filter(knn_work *w, const dev_visit *v){
  uint64_t per_row = (uint64_t)w->l.n_pad*w->r->d_pad;
  uint64_t n = LAUNCH_WORK/per_row/TILE*TILE;
  dev_visit part = *v;
  int code = VDB_GPU_OK;
  if( n<TILE ) n = TILE;
  for(uint64_t lo=v->lo; lo<v->hi && code==VDB_GPU_OK; lo+=n){
    part.lo = (uint32_t)lo;
    part.hi = v->hi-lo<n ? v->hi : (uint32_t)(lo+n);
    code = vdb_cuda_filter(w->r, &w->dq, &w->l, &part);
    if( code==VDB_GPU_OK ) code = work_poll(w);
  }
  return code;
}

static int lists_filter(knn_work *w){
  dev_visit v = chunk_first(w);
  int code;
  DEV_TRY( vdb_cuda_reset(w->r->d, &w->l, NULL, w->l.n_pad) );
  DEV_TRY( vdb_cuda_prepare(w->r, &w->dq, w->l.n, w->l.flag) );
  do{
    DEV_TRY( chunk_filter(w, &v) );
    DEV_TRY( vdb_cuda_select(w->r, &w->dq, &w->l, NULL, w->l.n,
                             v.is_first ? v.hi : 0) );
  }while( chunk_next(w, &v, chunk_growth(w)) );
  DEV_TRY( vdb_cuda_rescore(w->r, w->dq.raw, &w->l) );
  DEV_TRY( vdb_cuda_select(w->r, NULL, &w->l, NULL, w->l.n, 0) );
done:
  return code;
}

/* The lists which[0..n-1] of the device. */
static int lists_scan(knn_work *w, const uint32_t *which, uint32_t n,
                      uint32_t growth){
  dev_visit v = chunk_first(w);
  int code;
  DEV_TRY( vdb_cuda_reset(w->r->d, &w->l, which, n) );
  do{
    DEV_TRY( vdb_cuda_scan(w->r, w->dq.raw, &w->l, which, n, &v) );
    DEV_TRY( vdb_cuda_select(w->r, NULL, &w->l, which, n,
                             v.is_first ? v.hi : 0) );
    DEV_TRY( work_poll(w) );
  }while( chunk_next(w, &v, growth) );
done:
  return code;
}

/* ---- A block of queries -------------------------------------------------- */

/* Queries by way of a pinned buffer, which is free between blocks. */
static int queries_upload(knn_work *w, uint32_t first){
  vdb_gpu_device *d = w->r->d;
  const char *from = (const char*)w->q->queries + (size_t)first*w->r->sz_vec;
  size_t sz = (size_t)w->l.n*w->r->sz_vec;
  if( sz<=UPLOAD_BYTES ){
    memcpy(d->pinned[1], from, sz);
    from = (const char*)d->pinned[1];
  }
  return vdb_cuda_to_device(d, (void*)w->dq.raw, from, sz);
}

/* Answers and flags of the block to the host, with one wait if they fit a
** pinned buffer; *n_flagged lists overflowed. */
static int block_results(knn_work *w, uint32_t first, uint32_t *n_flagged){
  vdb_gpu_device *d = w->r->d;
  const vdb_gpu_knn *q = w->q;
  size_t sz_n = (size_t)w->l.n*4, sz = sz_n*w->cap_out;
  struct { void *to; const void *from; size_t sz; } part[] = {
    { q->n + first, w->n_out, sz_n },
    { w->host, w->l.flag, sz_n },
    { q->row + (size_t)first*q->cap, w->row, sz },
    { q->distance + (size_t)first*q->cap, w->distance, sz } };
  bool is_small = 2*(sz_n+sz)<=UPLOAD_BYTES;
  char *at = (char*)d->pinned[0];
  int code;
  DEV_TRY( vdb_cuda_output(w->r, &w->l, w->cap_out, w->row, w->distance,
                           w->n_out) );
  for(int i=0; i<4; i++){
    DEV_TRY( vdb_cuda_to_host_later(d, is_small ? at : part[i].to,
                                    part[i].from, part[i].sz) );
    at += part[i].sz;
  }
  DEV_TRY( vdb_cuda_sync(d) );
  at = (char*)d->pinned[0];
  for(int i=0; i<4 && is_small; at+=part[i++].sz){
    memcpy(part[i].to, at, part[i].sz);
  }
  *n_flagged = 0;
  for(uint32_t i=0; i<w->l.n; i++) *n_flagged += w->host[i]!=0;
done:
  return code;
}

/* Lists that overflowed are made again, by scanning. */
static int flagged_scan(knn_work *w, uint32_t first, uint32_t growth,
                        uint32_t *n_flagged){
  uint32_t *which = w->host + w->n_block, n = 0;
  int code;
  for(uint32_t i=0; i<w->l.n; i++) if( w->host[i] ) which[n++] = i;
  DEV_TRY( vdb_cuda_to_device(w->r->d, w->which, which, n*4) );
  DEV_TRY( lists_scan(w, w->which, n, growth) );
  DEV_TRY( block_results(w, first, n_flagged) );
done:
  return code;
}

static int block_search(knn_work *w, uint32_t first, uint32_t n){
  vdb_gpu_device *d = w->r->d;
  uint32_t n_flagged = 0;
  int code;
  w->l.n = n;
  w->l.n_pad = (n + TILE-1)/TILE*TILE;
  DEV_TRY( queries_upload(w, first) );
  if( w->has_filter ){
    DEV_TRY( lists_filter(w) );
    DEV_TRY( block_results(w, first, &n_flagged) );
    d->stats.n_query += n;
    d->stats.n_overflow += n_flagged;
    d->stats.n_scan += n_flagged;
    if( n_flagged ) DEV_TRY( flagged_scan(w, first, chunk_growth(w),
                                          &n_flagged) );
  }else{
    DEV_TRY( lists_scan(w, NULL, n, chunk_growth(w)) );
    DEV_TRY( block_results(w, first, &n_flagged) );
    d->stats.n_scan += n;
  }
  if( n_flagged ) DEV_TRY( flagged_scan(w, first, 0, &n_flagged) );
  for(uint32_t i=first; i<first+n; i++){
    if( w->q->n[i]==VDB_GPU_LEFT ) d->stats.n_left++;
    else if( w->has_filter ) d->stats.n_survivor += w->q->n[i];
  }
done:
  return code;
}

static void work_shape(knn_work *w){
  vdb_gpu_device *d = w->r->d;
  const vdb_gpu_knn *q = w->q;
  uint64_t n;
  w->has_filter = w->r->copy!=NULL && d->path!=1
               && (q->n_query>=FILTER_FROM || d->path==2);
  w->cap = d->capacity ? d->capacity : rules_capacity(q->k);
  if( w->cap<CAPACITY_MIN ) w->cap = CAPACITY_MIN;
  if( d->capacity==0 && q->n_query<FILTER_FROM && w->cap<FEW_CAPACITY ){
    w->cap = FEW_CAPACITY;
  }
  w->cap_out = q->cap;
  n = LISTS_BYTES/(w->cap*sizeof(dev_entry));
  if( n>QUERIES_MAX ) n = QUERIES_MAX;
  w->n_block = q->n_query<n ? q->n_query : (uint32_t)n;
  w->n_pad = (w->n_block + TILE-1)/TILE*TILE;
  w->l.k = q->k;
  w->l.cap = w->cap;
  if( w->has_filter ){
    struct rules_band e = rules_band_of(w->r->rule, w->r->src.dim, 1, 0, 0);
    w->dq.c = e.c_a;
    w->dq.k = e.k;
  }
}

int vdb_cuda_knn(vdb_gpu_rows *r, const vdb_gpu_knn *q){
  knn_work w = {};
  int code = VDB_GPU_OK;
  if( q->k==0 || q->k>VDB_GPU_K_MAX || q->cap<q->k || q->cap>CAP_OUT_MAX ){
    return VDB_GPU_UNSUPPORTED;
  }
  if( q->n_query==0 ) return VDB_GPU_OK;
  if( r->src.n_rows==0 ){
    memset(q->n, 0, q->n_query*sizeof(*q->n));
    return VDB_GPU_OK;
  }
  w.r = r;
  w.q = q;
  work_shape(&w);
  DEV_TRY( work_alloc(&w) );
  DEV_TRY( work_poll(&w) );
  for(uint32_t i=0; i<q->n_query; i+=w.n_block){
    uint32_t n = q->n_query-i<w.n_block ? q->n_query-i : w.n_block;
    DEV_TRY( block_search(&w, i, n) );
  }
done:
  if( code!=VDB_GPU_OK ) (void)vdb_cuda_sync(r->d);
  work_free(&w);
  return code;
}

/* ---- Queries on the device ----------------------------------------------- */

#define NEAREST_FEW   64u              /* rows: all distances are taken */
#define NEAREST_TIES  32u

bool vdb_cuda_nearest_filters(const vdb_gpu_rows *r){
  return r->d->path==2 || (r->d->path==0 && r->src.n_rows>=NEAREST_FEW);
}

/* The answers stay on the device, so lists that overflowed are not known here:
** they become ROW_NONE like those with too many ties. */
static int block_nearest(knn_work *w, uint32_t first, uint32_t n,
                         uint32_t *list){
  int code;
  w->l.n = n;
  w->l.n_pad = (n + TILE-1)/TILE*TILE;
  w->dq.raw = w->resident + (size_t)first*w->r->sz_vec;
  DEV_TRY( lists_filter(w) );
  DEV_TRY( vdb_cuda_output(w->r, &w->l, w->cap_out, w->row, w->distance,
                           w->n_out) );
  DEV_TRY( vdb_cuda_nearest_take(w->r->d, w->row, w->n_out, w->cap_out, n,
                                 w->r->src.n_rows, list + first) );
  w->r->d->stats.n_query += n;
done:
  return code;
}

int vdb_cuda_nearest(vdb_gpu_rows *r, const void *queries, uint32_t n,
                     int (*cancelled)(void *arg), void *arg, uint32_t *list){
  vdb_gpu_knn q = {};
  knn_work w = {};
  int code;
  q.n_query = n;
  q.k = 1;
  q.cap = NEAREST_TIES;
  q.cancelled = cancelled;
  q.arg = arg;
  w.r = r;
  w.q = &q;
  w.resident = (const char*)queries;
  work_shape(&w);
  w.has_filter = true;
  DEV_TRY( work_alloc(&w) );
  for(uint32_t i=0; i<n; i+=w.n_block){
    uint32_t n_some = n-i<w.n_block ? n-i : w.n_block;
    DEV_TRY( work_poll(&w) );
    DEV_TRY( block_nearest(&w, i, n_some, list) );
  }
done:
  if( code!=VDB_GPU_OK ) (void)vdb_cuda_sync(r->d);
  work_free(&w);
  return code;
}
