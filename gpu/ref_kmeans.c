/* ref_kmeans.c -- the reference plugin's k-means: the definition of
** index/kmeans.h once more, one step after the other. What a device returns is
** compared with this, and this with the library's own.
**
** Centroids are the caller's until everything went well, so that a request that
** failed can be sent again.
*/
#include <math.h>

#include "gpu/ref_int.h"
#include "gpu/rules.h"
#include "util/mem.h"

#define REF_POLL  1024u             /* rows between two questions to go on */

struct kmeans_work {
  const vdb_gpu_rows *r;
  vdb_gpu_kmeans *m;
  uint32_t n, d, k;
  float *centroid;
  uint32_t *list, *before;
  uint32_t *member, *n_member;      /* of one list; of all */
  bool *side;                       /* of a member: the new half */
  double *sum, *run;                /* d each */
};

static const float *work_row(const struct kmeans_work *w, uint32_t i){
  return (const float*)(const void*)(w->r->vec + (size_t)i*w->r->sz_vec);
}
static float *work_centroid(const struct kmeans_work *w, uint32_t c){
  return w->centroid + (size_t)c*w->d;
}
static float work_d2(const struct kmeans_work *w, const float *c, uint32_t i){
  return vdb_l2sq(VECDB_F32, c, work_row(w, i), w->d);
}

static int work_poll(const struct kmeans_work *w, double done){
  return w->m->progress && w->m->progress(w->m->arg, done) ? VDB_GPU_CANCELLED
                                                           : VDB_GPU_OK;
}

/* ---- Steps --------------------------------------------------------------- */

static uint32_t centroid_nearest(const struct kmeans_work *w, uint32_t i){
  uint32_t best = 0;
  float least = INFINITY;
  for(uint32_t c=0; c<w->k; c++){
    float x = sqrtf(work_d2(w, work_centroid(w, c), i));
    if( x<least ){
      least = x;
      best = c;
    }
  }
  return best;
}

/* Round `round` of n_round+1. */
static int rows_assign(struct kmeans_work *w, uint32_t round,
                       uint32_t n_round){
  for(uint32_t i=0; i<w->n; i++){
    if( i%REF_POLL==0 ){
      int code = work_poll(w, (round + (double)i/w->n)/((double)n_round+1));
      if( code!=VDB_GPU_OK ) return code;
    }
    w->list[i] = centroid_nearest(w, i);
  }
  return ref_counts_down(&w->r->dev->fail_launch) ? VDB_GPU_DEVICE_LOST
                                                  : VDB_GPU_OK;
}

/* The mean of those of n rows whose side is `side` becomes the centroid. */
static void mean_of_side(struct kmeans_work *w, const uint32_t *row, uint32_t n,
                         bool side, float *out){
  uint32_t n_in = 0;
  for(uint32_t j=0; j<w->d; j++) w->sum[j] = w->run[j] = 0;
  for(uint32_t i=0; i<n; i++){
    if( w->side[i]!=side ) continue;
    for(uint32_t j=0; j<w->d; j++) w->run[j] += (double)work_row(w, row[i])[j];
    if( ++n_in%RULES_SUM_RUN!=0 ) continue;
    for(uint32_t j=0; j<w->d; j++){
      w->sum[j] += w->run[j];
      w->run[j] = 0;
    }
  }
  if( n_in==0 ) return;
  for(uint32_t j=0; j<w->d; j++){
    out[j] = (float)((w->sum[j] + w->run[j])/n_in);
  }
  if( w->m->is_unit ){
    float norm2 = vdb_norm2(VECDB_F32, out, w->d);
    float scale = norm2>0 ? 1/sqrtf(norm2) : 1;
    for(uint32_t j=0; j<w->d; j++) out[j] *= scale;
  }
}

/* The rows of list c to member[]. */
static uint32_t members_find(struct kmeans_work *w, uint32_t c){
  uint32_t n = 0;
  for(uint32_t i=0; i<w->n; i++) if( w->list[i]==c ) w->member[n++] = i;
  return n;
}

static void centroids_move(struct kmeans_work *w){
  memset(w->side, 0, w->n*sizeof(*w->side));
  for(uint32_t c=0; c<w->k; c++){
    w->n_member[c] = members_find(w, c);
    mean_of_side(w, w->member, w->n_member[c], false, work_centroid(w, c));
  }
}

/* Half of list `from` becomes list `to`. */
static void list_split(struct kmeans_work *w, uint32_t from, uint32_t to){
  float *a = work_centroid(w, from), *b = work_centroid(w, to), most = -1;
  uint32_t n = members_find(w, from), far = 0;
  for(uint32_t i=0; i<n; i++){
    float x = work_d2(w, a, w->member[i]);
    if( x>most ){
      most = x;
      far = w->member[i];
    }
  }
  memcpy(b, work_row(w, far), w->d*sizeof(*b));
  for(int round=0; round<RULES_SPLIT_ROUNDS; round++){
    for(uint32_t i=0; i<n; i++){
      w->side[i] = work_d2(w, b, w->member[i])<work_d2(w, a, w->member[i]);
    }
    mean_of_side(w, w->member, n, false, a);
    mean_of_side(w, w->member, n, true, b);
  }
  for(uint32_t i=0; i<n; i++){
    if( !w->side[i] ) continue;
    w->list[w->member[i]] = to;
    w->n_member[to]++;
    w->n_member[from]--;
  }
}

static int empties_fill(struct kmeans_work *w){
  for(uint32_t c=0; c<w->k; c++){
    uint32_t from = 0;
    if( w->n_member[c]>0 ) continue;
    for(uint32_t i=1; i<w->k; i++){
      if( w->n_member[i]>w->n_member[from] ) from = i;
    }
    if( w->n_member[from]<2 ) break;
    list_split(w, from, c);
    if( ref_counts_down(&w->r->dev->fail_launch) ) return VDB_GPU_DEVICE_LOST;
  }
  return VDB_GPU_OK;
}

/* ---- All of it ----------------------------------------------------------- */

static uint32_t rows_changed(const struct kmeans_work *w){
  uint32_t n = 0;
  for(uint32_t i=0; i<w->n; i++) n += w->list[i]!=w->before[i];
  return n;
}

static int rounds_run(struct kmeans_work *w){
  uint32_t most = w->m->n_round ? w->m->n_round : RULES_KMEANS_ROUNDS;
  int code;
  for(uint32_t r=0; ; r++){
    w->m->n_moved = r;
    memcpy(w->before, w->list, w->n*sizeof(*w->list));
    code = rows_assign(w, r, most);
    if( code!=VDB_GPU_OK || r==most ) break;
    if( r>0 && rules_kmeans_ends(rows_changed(w), w->n) ) break;
    centroids_move(w);
    code = empties_fill(w);
    if( code!=VDB_GPU_OK ) break;
  }
  return code;
}

static int work_alloc(struct kmeans_work *w){
  uint64_t sz = (uint64_t)w->k*w->d*sizeof(float) + (uint64_t)w->n*8;
  vdb_gpu_device *dev = w->r->dev;
  if( ref_counts_down(&dev->fail_alloc) || dev->sz_rows>dev->sz_budget
   || sz>dev->sz_budget-dev->sz_rows ) return VDB_GPU_OOM;
  w->centroid = vdb_malloc_array((size_t)w->k*w->d, sizeof(*w->centroid));
  w->list = vdb_malloc_array(w->n, sizeof(*w->list));
  w->before = vdb_malloc_array(w->n, sizeof(*w->before));
  w->member = vdb_malloc_array(w->n, sizeof(*w->member));
  w->n_member = vdb_malloc_array(w->k, sizeof(*w->n_member));
  w->side = vdb_malloc_array(w->n, sizeof(*w->side));
  w->sum = vdb_malloc_array(w->d, sizeof(*w->sum));
  w->run = vdb_malloc_array(w->d, sizeof(*w->run));
  return w->centroid && w->list && w->before && w->member && w->n_member
      && w->side && w->sum && w->run ? VDB_GPU_OK : VDB_GPU_NOMEM;
}

static void work_free(struct kmeans_work *w){
  vdb_free(w->centroid);
  vdb_free(w->list);
  vdb_free(w->before);
  vdb_free(w->member);
  vdb_free(w->n_member);
  vdb_free(w->side);
  vdb_free(w->sum);
  vdb_free(w->run);
}

int vdb_ref_kmeans(vdb_gpu_rows *r, vdb_gpu_kmeans *m){
  struct kmeans_work w = { .r = r, .m = m, .n = r->src.n_rows,
                           .d = r->src.dim, .k = m->k };
  struct vdb_fpmode fp;
  int code;
  m->n_moved = 0;
  if( r->src.type!=VECDB_F32 || r->src.metric!=VECDB_L2 ){
    return VDB_GPU_UNSUPPORTED;
  }
  if( w.n==0 || w.k==0 ) return VDB_GPU_OK;
  fp = vdb_fpmode_enter();
  code = work_alloc(&w);
  if( code==VDB_GPU_OK ){
    memcpy(w.centroid, m->centroid, (size_t)w.k*w.d*sizeof(*w.centroid));
    memset(w.list, 0, w.n*sizeof(*w.list));
    code = rounds_run(&w);
  }
  if( code==VDB_GPU_OK ){
    memcpy(m->centroid, w.centroid, (size_t)w.k*w.d*sizeof(*w.centroid));
    memcpy(m->list, w.list, w.n*sizeof(*w.list));
  }
  work_free(&w);
  vdb_fpmode_leave(fp);
  return code;
}
