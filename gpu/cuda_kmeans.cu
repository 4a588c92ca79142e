/* cuda_kmeans.cu -- one request for k-means: memory, the order of steps.
**
** Centroids are rows of their own on the device, among which the nearest is
** found by the filter of the exact search; means are written over them. The
** host decides by numbers alone: how many rows changed, how long lists are.
** Rows never leave the device, centroids only at the end, when all went well.
*/
#include "gpu/cuda_int.h"

#define ASSIGN_ROWS   ((uint32_t)1<<18)  /* between two waits */
#define SCAN_WORK     ((uint64_t)1<<37)  /* products of an unfiltered launch */
#define SORT_TILE     1024u              /* rows, at least */
#define SORT_COUNTS   ((uint64_t)1<<24)  /* of tiles and lists, if possible */

struct kmeans_work {
  vdb_gpu_rows *r;
  vdb_gpu_kmeans *m;
  vdb_gpu_rows *c;                 /* the centroids */
  uint32_t n, d, k, most;          /* most: rounds */
  double done;
  uint64_t n_count, n_part;
  uint32_t *list, *before, *member, *sorted, *side;   /* n each */
  uint32_t *count, *size;          /* n_count, k */
  uint32_t *place;                 /* first and runs of k+1 lists, one after
                                   ** the other */
  double *part;                    /* n_part x d */
  unsigned long long *far;
  uint32_t *n_changed;
  uint32_t *host;                  /* as place */
  uint32_t *begin, *n_member;      /* on the host: list l is member[begin[l]..] */
};

static uint64_t n_place(const kmeans_work *w){
  return 2*((uint64_t)w->k + 2);
}

static int kmeans_poll(void *arg){
  const kmeans_work *w = (const kmeans_work*)arg;
  return w->m->progress && w->m->progress(w->m->arg, w->done);
}

/* Rows of a tile, so that counts of n rows and k lists take no more memory than
** is worth it. */
static uint64_t tile_rows(uint32_t n, uint32_t k){
  uint64_t tile = SORT_TILE;
  while( tile<n && (n + tile-1)/tile*k>SORT_COUNTS ) tile *= 2;
  return tile;
}

static void kmeans_free(kmeans_work *w){
  vdb_gpu_device *d = w->r->d;
  uint64_t n = w->n;
  vdb_cuda_detach(w->c);
  dev_array_free(d, w->list, n);
  dev_array_free(d, w->before, n);
  dev_array_free(d, w->member, n);
  dev_array_free(d, w->sorted, n);
  dev_array_free(d, w->side, n);
  dev_array_free(d, w->count, w->n_count);
  dev_array_free(d, w->size, (uint64_t)w->k+2);
  dev_array_free(d, w->place, n_place(w));
  dev_array_free(d, w->part, w->n_part*w->d);
  dev_array_free(d, w->far, 1);
  dev_array_free(d, w->n_changed, 1);
  if( w->host ) d->cfg.release(w->host);
  if( w->begin ) d->cfg.release(w->begin);
}

static int centroids_fetch(void *arg, uint32_t first, uint32_t n, void *dst){
  const kmeans_work *w = (const kmeans_work*)arg;
  memcpy(dst, w->m->centroid + (size_t)first*w->d,
         (size_t)n*w->d*sizeof(float));
  return 0;
}

static int kmeans_alloc(kmeans_work *w){
  vdb_gpu_device *d = w->r->d;
  vdb_gpu_source src = w->r->src;
  uint64_t n = w->n;
  int code;
  src.n_rows = w->k;
  src.fetch = centroids_fetch;
  src.arg = w;
  DEV_TRY( vdb_cuda_attach(d, &src, &w->c) );
  DEV_TRY( dev_array(d, &w->list, n) );
  DEV_TRY( dev_array(d, &w->before, n) );
  DEV_TRY( dev_array(d, &w->member, n) );
  DEV_TRY( dev_array(d, &w->sorted, n) );
  DEV_TRY( dev_array(d, &w->side, n) );
  DEV_TRY( dev_array(d, &w->count, w->n_count) );
  DEV_TRY( dev_array(d, &w->size, (uint64_t)w->k+2) );
  DEV_TRY( dev_array(d, &w->place, n_place(w)) );
  DEV_TRY( dev_array(d, &w->part, w->n_part*w->d) );
  DEV_TRY( dev_array(d, &w->far, 1) );
  DEV_TRY( dev_array(d, &w->n_changed, 1) );
  w->host = (uint32_t*)d->cfg.alloc(n_place(w)*sizeof(uint32_t));
  w->begin = (uint32_t*)d->cfg.alloc(2*(uint64_t)w->k*sizeof(uint32_t));
  if( w->host==NULL || w->begin==NULL ) code = VDB_GPU_NOMEM;
  else w->n_member = w->begin + w->k;
done:
  return code;
}

/* ---- Assignment ---------------------------------------------------------- */

/* Canonical distances to all centroids. */
static int some_scan(kmeans_work *w, uint32_t first, uint32_t n, bool is_all){
  const float *x = (const float*)w->r->x;
  uint64_t n_some = SCAN_WORK/((uint64_t)w->k*w->d) + 1;
  int code = VDB_GPU_OK;
  for(uint64_t i=first; i<(uint64_t)first+n && code==VDB_GPU_OK; i+=n_some){
    uint64_t rest = (uint64_t)first+n - i;
    code = vdb_cuda_nearest_scan(w->r->d, x + i*w->d,
                                 (uint32_t)(rest<n_some ? rest : n_some), w->c,
                                 w->list + i, is_all);
    if( code==VDB_GPU_OK && kmeans_poll(w) ) code = VDB_GPU_CANCELLED;
  }
  return code;
}

static int rows_assign(kmeans_work *w, uint32_t round){
  bool has_filter = vdb_cuda_nearest_filters(w->c);
  int code = VDB_GPU_OK;
  if( round>0 && has_filter ) DEV_TRY( vdb_cuda_copy_again(w->c) );
  has_filter = has_filter && w->c->copy!=NULL;
  for(uint64_t i=0; i<w->n; i+=ASSIGN_ROWS){
    uint32_t n = w->n-i<ASSIGN_ROWS ? (uint32_t)(w->n-i) : ASSIGN_ROWS;
    w->done = (round + (double)i/w->n)/((double)w->most+1);
    if( has_filter ){
      DEV_TRY( vdb_cuda_nearest(w->c, (const float*)w->r->x + i*w->d, n,
                                kmeans_poll, w, w->list + i) );
    }
    DEV_TRY( some_scan(w, (uint32_t)i, n, !has_filter) );
    DEV_TRY( vdb_cuda_sync(w->r->d) );
  }
done:
  return code;
}

static int rows_changed(kmeans_work *w, uint32_t *n_changed){
  vdb_gpu_device *d = w->r->d;
  int code = vdb_cuda_changed(d, w->list, w->before, w->n, w->n_changed);
  return code==VDB_GPU_OK ? vdb_cuda_to_host(d, n_changed, w->n_changed, 4)
                          : code;
}

/* ---- Means --------------------------------------------------------------- */

/* Places of k lists from their sizes in host[]; INTERNAL: not n rows. */
static int places_make(kmeans_work *w, uint32_t n, uint32_t k){
  uint32_t *first = w->host, *runs = w->host + k+1, n_run = 0;
  uint64_t sum = 0;
  for(uint32_t l=0; l<k; l++){
    uint32_t size = first[l];
    first[l] = (uint32_t)sum;
    runs[l] = n_run;
    sum += size;
    n_run += size/RULES_SUM_RUN + (size%RULES_SUM_RUN!=0);
    if( sum>n ) return VDB_GPU_INTERNAL;
  }
  first[k] = (uint32_t)sum;
  runs[k] = n_run;
  return sum==n && n_run<=w->n_part ? VDB_GPU_OK : VDB_GPU_INTERNAL;
}

/* n rows in k lists, to out[]; then w->host and w->place say where. */
static int lists_sort(kmeans_work *w, const uint32_t *list, const uint32_t *row,
                      uint32_t n, uint32_t k, uint32_t *out){
  vdb_gpu_device *d = w->r->d;
  uint64_t tile = tile_rows(n, k);
  dev_sort s = { list, row, n, k, (uint32_t)(tile<n ? tile : n),
                 (uint32_t)((n + tile-1)/tile), 0, w->count, w->size, w->place,
                 out };
  int code;
  while( s.n_bit<32 && (k-1)>>s.n_bit ) s.n_bit++;
  DEV_TRY( vdb_cuda_sort_count(d, &s) );
  DEV_TRY( vdb_cuda_to_host(d, w->host, w->size, (size_t)k*4) );
  DEV_TRY( places_make(w, n, k) );
  DEV_TRY( vdb_cuda_to_device(d, w->place, w->host, 2*((size_t)k+1)*4) );
  DEV_TRY( vdb_cuda_sort_place(d, &s) );
done:
  return code;
}

/* After lists_sort. */
static int means_make(kmeans_work *w, uint32_t k, const uint32_t *member,
                      float *centroid, int64_t stride){
  dev_means g = { (const float*)w->r->x, w->d, k, w->host[2*(size_t)k+1],
                  w->m->is_unit!=0, member, w->place, w->place + k+1, w->part,
                  centroid, stride };
  return vdb_cuda_means(w->r->d, &g);
}

static int centroids_move(kmeans_work *w){
  int code;
  DEV_TRY( lists_sort(w, w->list, NULL, w->n, w->k, w->member) );
  for(uint32_t l=0; l<w->k; l++){
    w->begin[l] = w->host[l];
    w->n_member[l] = w->host[l+1] - w->host[l];
  }
  DEV_TRY( means_make(w, w->k, w->member, (float*)w->c->x, w->d) );
done:
  return code;
}

/* ---- Empty lists --------------------------------------------------------- */

/* Half of list `from` becomes list `to`. */
static int list_split(kmeans_work *w, uint32_t from, uint32_t to){
  vdb_gpu_device *d = w->r->d;
  float *a = (float*)w->c->x + (size_t)from*w->d;
  float *b = (float*)w->c->x + (size_t)to*w->d;
  dev_split g = { (const float*)w->r->x, w->member + w->begin[from],
                  w->n_member[from], w->d, a, b, w->far, w->side };
  uint32_t n_a = 0;
  int code;
  DEV_TRY( vdb_cuda_split_begin(d, &g) );
  for(int round=0; round<RULES_SPLIT_ROUNDS; round++){
    DEV_TRY( vdb_cuda_split_sides(d, &g) );
    DEV_TRY( lists_sort(w, w->side, g.member, g.n, 2, w->sorted) );
    n_a = w->host[1];
    DEV_TRY( means_make(w, 2, w->sorted, a, ((int64_t)to - from)*w->d) );
  }
  DEV_TRY( vdb_cuda_split_end(d, &g, w->sorted, n_a, from, to, w->list) );
  w->begin[to] = w->begin[from] + n_a;
  w->n_member[to] = w->n_member[from] - n_a;
  w->n_member[from] = n_a;
done:
  return code;
}

static int empties_fill(kmeans_work *w){
  int code = VDB_GPU_OK;
  for(uint32_t c=0; c<w->k; c++){
    uint32_t from = 0;
    if( w->n_member[c]>0 ) continue;
    for(uint32_t l=1; l<w->k; l++){
      if( w->n_member[l]>w->n_member[from] ) from = l;
    }
    if( w->n_member[from]<2 ) break;
    if( kmeans_poll(w) ) return VDB_GPU_CANCELLED;
    DEV_TRY( list_split(w, from, c) );
  }
done:
  return code;
}

/* ---- All of it ----------------------------------------------------------- */

static int rounds_run(kmeans_work *w){
  int code;
  DEV_TRY( vdb_cuda_zero(w->r->d, w->list, (size_t)w->n*4) );
  for(uint32_t r=0; ; r++){
    uint32_t *list = w->before, n_changed = 0;
    w->m->n_moved = r;
    w->before = w->list;
    w->list = list;
    w->done = r/((double)w->most+1);
    if( kmeans_poll(w) ) return VDB_GPU_CANCELLED;
    DEV_TRY( rows_assign(w, r) );
    if( r==w->most ) break;
    if( r>0 ){
      DEV_TRY( rows_changed(w, &n_changed) );
      if( rules_kmeans_ends(n_changed, w->n) ) break;
    }
    DEV_TRY( centroids_move(w) );
    DEV_TRY( empties_fill(w) );
  }
done:
  return code;
}

/* Both or neither: the centroids are copied last, by way of memory of our own,
** as a copy that fails may have begun. */
static int results_take(kmeans_work *w){
  vdb_gpu_device *d = w->r->d;
  size_t sz = (size_t)w->k*w->d*sizeof(float);
  void *centroid = d->cfg.alloc(sz);
  int code = centroid ? VDB_GPU_OK : VDB_GPU_NOMEM;
  if( code!=VDB_GPU_OK ) return code;
  DEV_TRY( vdb_cuda_to_host(d, w->m->list, w->list, (size_t)w->n*4) );
  DEV_TRY( vdb_cuda_to_host(d, centroid, w->c->x, sz) );
  memcpy(w->m->centroid, centroid, sz);
done:
  d->cfg.release(centroid);
  return code;
}

static void kmeans_shape(kmeans_work *w, vdb_gpu_rows *r, vdb_gpu_kmeans *m){
  uint64_t n_tile, n_half;
  w->r = r;
  w->m = m;
  w->n = r->src.n_rows;
  w->d = r->src.dim;
  w->k = m->k;
  w->most = m->n_round ? m->n_round : RULES_KMEANS_ROUNDS;
  n_tile = (w->n + tile_rows(w->n, w->k)-1)/tile_rows(w->n, w->k);
  n_half = 2*((uint64_t)w->n/SORT_TILE + 1);
  w->n_count = n_tile*w->k>n_half ? n_tile*w->k : n_half;
  w->n_part = (uint64_t)w->n/RULES_SUM_RUN + w->k + 1;
}

int vdb_cuda_kmeans(vdb_gpu_rows *r, vdb_gpu_kmeans *m){
  kmeans_work w = {};
  int code;
  m->n_moved = 0;
  if( r->src.type!=VECDB_F32 || r->rule!=RULE_L2 ) return VDB_GPU_UNSUPPORTED;
  if( r->src.n_rows==0 || m->k==0 ) return VDB_GPU_OK;
  kmeans_shape(&w, r, m);
  DEV_TRY( kmeans_alloc(&w) );
  DEV_TRY( rounds_run(&w) );
  DEV_TRY( results_take(&w) );
done:
  if( code!=VDB_GPU_OK ) (void)vdb_cuda_sync(r->d);
  kmeans_free(&w);
  return code;
}
