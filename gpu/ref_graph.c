/* ref_graph.c -- the reference plugin's edges: the steps of gpu/edges.h, row
** after row, as plainly as they can be written. What a device returns is
** compared with this.
*/
#include <stdlib.h>

#include "gpu/edges.h"
#include "gpu/ref_int.h"
#include "util/mem.h"

struct edge_work {
  const vdb_gpu_rows *r;
  vdb_gpu_edges *e;
  uint32_t n, n_lane, k;
  uint64_t *list, *next;       /* n x n_lane keys, ascending */
  uint32_t *count, *n_next;    /* by row: how many */
  uint64_t *fixed;             /* bitmap of lanes that were attached */
  uint32_t *first;             /* n+1: where a row's part of `in` begins */
  uint64_t *in;                /* n x n_lane: (d2, source) of edges to it */
  uint64_t *cand;              /* one row's: all that may be */
  uint32_t *queue;
  bool *seen;
};

static float row_d2(const struct edge_work *w, uint32_t a, uint32_t b){
  size_t sz = w->r->sz_vec;
  return vdb_l2sq(VECDB_F32, w->r->vec + a*sz, w->r->vec + b*sz,
                  w->r->src.dim);
}

static int key_order(const void *a, const void *b){
  const uint64_t *x = a, *y = b;
  return *x<*y ? -1 : *x>*y;
}
static void keys_sort(uint64_t *key, uint32_t n){
  qsort(key, n, sizeof(*key), key_order);
}

/* The first n_most of near(p), as sorted keys. */
static uint32_t near_keys(const struct edge_work *w, uint32_t p,
                          uint32_t n_most, uint64_t *out){
  const uint32_t *near = w->e->near + (size_t)p*w->k;
  uint32_t n = 0;
  for(uint32_t i=0; i<n_most && near[i]<w->n; i++){
    out[n++] = rules_key(row_d2(w, p, near[i]), near[i]);
  }
  keys_sort(out, n);
  return n;
}

/* PRUNE: of n sorted candidates to out[]. */
static uint32_t keys_prune(const struct edge_work *w, const uint64_t *cand,
                           uint32_t n, uint64_t *out){
  uint32_t n_out = 0;
  for(uint32_t i=0; i<n && n_out<w->n_lane; i++){
    uint32_t j = 0;
    while( j<n_out
        && !rules_hides(w->e->alpha2, row_d2(w, rules_key_row(out[j]),
                                             rules_key_row(cand[i])),
                        rules_key_d2(cand[i])) ) j++;
    if( j==n_out ) out[n_out++] = cand[i];
  }
  return n_out;
}

/* ---- Edges by target ----------------------------------------------------- */

/* w->in and w->first from the lists; each part is sorted. */
static void edges_turn(struct edge_work *w){
  memset(w->first, 0, ((size_t)w->n+2)*sizeof(*w->first));
  for(uint32_t p=0; p<w->n; p++) for(uint32_t i=0; i<w->count[p]; i++){
    w->first[rules_key_row(w->list[(size_t)p*w->n_lane+i]) + 2]++;
  }
  for(uint32_t t=0; t<w->n; t++) w->first[t+2] += w->first[t+1];
  for(uint32_t p=0; p<w->n; p++) for(uint32_t i=0; i<w->count[p]; i++){
    uint64_t key = w->list[(size_t)p*w->n_lane+i];
    w->in[w->first[rules_key_row(key)+1]++] = rules_key(rules_key_d2(key), p);
  }
  for(uint32_t t=0; t<w->n; t++){
    keys_sort(w->in + w->first[t], w->first[t+1]-w->first[t]);
  }
}

static bool keys_have(const uint64_t *key, uint32_t n, uint64_t x){
  for(uint32_t i=0; i<n; i++) if( key[i]==x ) return true;
  return false;
}

/* ---- Steps --------------------------------------------------------------- */

static void row_choose(struct edge_work *w, uint32_t p){
  uint32_t n = near_keys(w, p, w->k, w->cand);
  w->count[p] = keys_prune(w, w->cand, n, w->list + (size_t)p*w->n_lane);
}

static void row_back(struct edge_work *w, uint32_t t){
  const uint64_t *own = w->list + (size_t)t*w->n_lane;
  const uint64_t *in = w->in + w->first[t];
  uint64_t *out = w->next + (size_t)t*w->n_lane;
  uint32_t n_in = w->first[t+1]-w->first[t], n = w->count[t];
  if( n_in>RULES_IN_MAX*w->n_lane ) n_in = RULES_IN_MAX*w->n_lane;
  memcpy(w->cand, own, n*sizeof(*own));
  for(uint32_t i=0; i<n_in; i++){
    if( !keys_have(own, w->count[t], in[i]) ) w->cand[n++] = in[i];
  }
  keys_sort(w->cand, n);
  if( n<=w->n_lane ) memcpy(out, w->cand, n*sizeof(*out));
  else n = keys_prune(w, w->cand, n, out);
  w->n_next[t] = n;
}

static void row_mutual(struct edge_work *w, uint32_t t){
  const uint64_t *own = w->list + (size_t)t*w->n_lane;
  uint64_t *out = w->next + (size_t)t*w->n_lane;
  uint32_t n = w->count[t];
  memcpy(out, own, n*sizeof(*out));
  for(uint32_t i=w->first[t]; i<w->first[t+1] && n<w->n_lane; i++){
    if( !keys_have(own, w->count[t], w->in[i]) ) out[n++] = w->in[i];
  }
  keys_sort(out, n);
  w->n_next[t] = n;
}

/* Is the angle at p between c and one of the list narrower? */
static bool key_is_narrow(const struct edge_work *w, uint64_t c,
                          const uint64_t *list, uint32_t n, float cosine){
  for(uint32_t i=0; i<n; i++){
    if( rules_is_narrow(rules_key_d2(c), rules_key_d2(list[i]),
                        row_d2(w, rules_key_row(c), rules_key_row(list[i])),
                        cosine) ) return true;
  }
  return false;
}

static void row_fill(struct edge_work *w, uint32_t p){
  static const float cosine[] = { RULES_COS_60, RULES_COS_50, 2 };
  uint64_t *list = w->list + (size_t)p*w->n_lane;
  uint32_t n = w->count[p], n_cand;
  if( n==w->n_lane ) return;
  n_cand = near_keys(w, p, w->e->n_spare<w->k ? w->e->n_spare : w->k, w->cand);
  for(int round=0; round<3; round++){
    for(uint32_t i=0; i<n_cand && n<w->n_lane; i++){
      if( keys_have(list, n, w->cand[i]) ) continue;
      if( round<2 && key_is_narrow(w, w->cand[i], list, n, cosine[round]) ){
        continue;
      }
      list[n++] = w->cand[i];
    }
  }
  keys_sort(list, n);
  w->count[p] = n;
}

/* ---- ATTACH -------------------------------------------------------------- */

/* w->seen: what is reached; returns how many rows are not. */
static uint32_t rows_reach(struct edge_work *w){
  uint32_t n = 0;
  memset(w->seen, 0, w->n*sizeof(*w->seen));
  for(; n<w->e->n_entry && n<w->n; n++){
    w->queue[n] = n;
    w->seen[n] = true;
  }
  for(uint32_t i=0; i<n; i++){
    uint32_t p = w->queue[i];
    for(uint32_t j=0; j<w->count[p]; j++){
      uint32_t t = rules_key_row(w->list[(size_t)p*w->n_lane+j]);
      if( w->seen[t] ) continue;
      w->seen[t] = true;
      w->queue[n++] = t;
    }
  }
  return w->n-n;
}

/* The lane that a row gives away next, or n_lane. */
static uint32_t lane_spare(const struct edge_work *w, uint32_t t){
  uint32_t n = w->count[t], n_fixed = 0;
  for(uint32_t i=0; i<n; i++) n_fixed += w->fixed[t]>>i & 1;
  if( n_fixed>=(w->n_lane+1)/2 ) return w->n_lane;
  if( n<w->n_lane ) return n;
  while( w->fixed[t]>>(n-1) & 1 ) n--;
  return n-1;
}

/* Keys of one list stay sorted but for those that were attached; those are
** ordered again in the end. */
static void row_attach(struct edge_work *w, uint32_t t, uint64_t key){
  uint32_t lane = lane_spare(w, t);
  if( lane==w->n_lane ) return;
  if( lane==w->count[t] ) w->count[t]++;
  w->list[(size_t)t*w->n_lane + lane] = key;
  w->fixed[t] |= (uint64_t)1<<lane;
}

/* Whom unreached rows ask: requests by target, sorted, in w->in. */
static void requests_collect(struct edge_work *w){
  memset(w->first, 0, ((size_t)w->n+2)*sizeof(*w->first));
  for(uint32_t u=0; u<w->n; u++){
    const uint32_t *near = w->e->near + (size_t)u*w->k;
    uint32_t i = 0;
    w->queue[u] = VDB_GPU_NONE;
    if( w->seen[u] ) continue;
    while( i<w->k && near[i]<w->n && !w->seen[near[i]] ) i++;
    if( i==w->k || near[i]>=w->n ) continue;
    w->queue[u] = near[i];
    w->first[near[i]+2]++;
  }
  for(uint32_t t=0; t<w->n; t++) w->first[t+2] += w->first[t+1];
  for(uint32_t u=0; u<w->n; u++){
    uint32_t t = w->queue[u];
    if( t==VDB_GPU_NONE ) continue;
    w->in[w->first[t+1]++] = rules_key(row_d2(w, t, u), u);
  }
}

static void rows_attach(struct edge_work *w){
  w->e->n_unreached = w->e->n_attached = rows_reach(w);
  for(int i=0; i<RULES_ATTACH_ROUNDS && w->e->n_unreached>0; i++){
    requests_collect(w);
    for(uint32_t t=0; t<w->n; t++){
      uint32_t n = w->first[t+1]-w->first[t];
      keys_sort(w->in + w->first[t], n);
      for(uint32_t j=0; j<n; j++) row_attach(w, t, w->in[w->first[t]+j]);
    }
    w->e->n_unreached = rows_reach(w);
  }
}

/* ---- All of it ----------------------------------------------------------- */

static bool edges_fit(const vdb_gpu_rows *r, const vdb_gpu_edges *e){
  return r->src.type==VECDB_F32 && r->src.metric==VECDB_L2
      && e->n_lane>=1 && e->n_lane<=RULES_LANES_MAX && e->k>=1
      && e->k<=RULES_LIST_MAX && e->n_entry>=1 && e->alpha2>=1 && e->alpha2<=4
      && (uint64_t)r->src.n_rows*e->n_lane<UINT32_MAX;
}

/* Lists are those of w->next now. */
static void lists_swap(struct edge_work *w){
  uint64_t *list = w->list;
  uint32_t *count = w->count;
  w->list = w->next;
  w->next = list;
  w->count = w->n_next;
  w->n_next = count;
}

static int step_run(struct edge_work *w, int step,
                    void (*row)(struct edge_work*, uint32_t)){
  for(uint32_t i=0; i<w->n; i++){
    if( i%4096==0 && w->e->progress
     && w->e->progress(w->e->arg, (step + (double)i/w->n)/4) ){
      return VDB_GPU_CANCELLED;
    }
    row(w, i);
  }
  if( ref_counts_down(&w->r->dev->fail_launch) ) return VDB_GPU_DEVICE_LOST;
  return VDB_GPU_OK;
}

static int steps_run(struct edge_work *w){
  int code = step_run(w, 0, row_choose);
  if( code!=VDB_GPU_OK ) return code;
  edges_turn(w);
  code = step_run(w, 1, row_back);
  if( code!=VDB_GPU_OK ) return code;
  lists_swap(w);
  edges_turn(w);
  code = step_run(w, 2, row_mutual);
  if( code!=VDB_GPU_OK ) return code;
  lists_swap(w);
  code = step_run(w, 3, row_fill);
  if( code==VDB_GPU_OK ) rows_attach(w);
  return code;
}

static void edges_out(struct edge_work *w){
  for(uint32_t p=0; p<w->n; p++){
    uint64_t *list = w->list + (size_t)p*w->n_lane;
    uint32_t *out = w->e->edge + (size_t)p*w->n_lane;
    keys_sort(list, w->count[p]);
    for(uint32_t i=0; i<w->n_lane; i++){
      out[i] = i<w->count[p] ? rules_key_row(list[i]) : VDB_GPU_NONE;
    }
  }
}

static bool work_alloc(struct edge_work *w){
  size_t n = (size_t)w->n+2, n_edge = (size_t)w->n*w->n_lane+1;
  if( ref_counts_down(&w->r->dev->fail_alloc) ) return false;
  w->list = vdb_malloc_array(n_edge, sizeof(*w->list));
  w->next = vdb_malloc_array(n_edge, sizeof(*w->next));
  w->in = vdb_malloc_array(n_edge, sizeof(*w->in));
  w->count = vdb_calloc(n, sizeof(*w->count));
  w->n_next = vdb_calloc(n, sizeof(*w->n_next));
  w->fixed = vdb_calloc(n, sizeof(*w->fixed));
  w->first = vdb_malloc_array(n, sizeof(*w->first));
  w->queue = vdb_malloc_array(n, sizeof(*w->queue));
  w->seen = vdb_malloc_array(n, sizeof(*w->seen));
  w->cand = vdb_malloc_array(RULES_LIST_MAX + (RULES_IN_MAX+1)*w->n_lane,
                             sizeof(*w->cand));
  return w->list && w->next && w->in && w->count && w->n_next && w->fixed
      && w->first && w->queue && w->seen && w->cand;
}

static void work_free(struct edge_work *w){
  vdb_free(w->list);
  vdb_free(w->next);
  vdb_free(w->in);
  vdb_free(w->count);
  vdb_free(w->n_next);
  vdb_free(w->fixed);
  vdb_free(w->first);
  vdb_free(w->queue);
  vdb_free(w->seen);
  vdb_free(w->cand);
}

int vdb_ref_edges(vdb_gpu_rows *r, vdb_gpu_edges *e){
  struct edge_work w = { .r = r, .e = e, .n = r->src.n_rows,
                         .n_lane = e->n_lane, .k = e->k };
  struct vdb_fpmode fp = vdb_fpmode_enter();
  int code = VDB_GPU_UNSUPPORTED;
  if( edges_fit(r, e) ){
    code = work_alloc(&w) ? steps_run(&w) : VDB_GPU_OOM;
    if( code==VDB_GPU_OK ) edges_out(&w);
  }
  work_free(&w);
  vdb_fpmode_leave(fp);
  return code;
}
