/* ref.c -- the reference plugin: the interface of plugin.h in plain C.
**
** It defines what a device has to return, needs none, and is what tests load
** where there is no GPU. It is not installed. One thread, no speed intended;
** distances come from simd/, so that they are canonical by construction.
**
** For tests, $VECDB_GPU_REF makes it wrong on purpose: "abi", "rules", "canon",
** "size", "null" (the loader), "nodevice", "driver", "broken" (opening), "oom",
** "lost" (at work).
*/
#include <stdlib.h>

#include "gpu/ref_int.h"
#include "util/bitset.h"
#include "util/mem.h"
#include "util/topk.h"

#define REF_SOME  4096u               /* rows per block of keys */

static bool is_mode(const char *mode){
  const char *z = getenv("VECDB_GPU_REF");
  return z!=NULL && strcmp(z, mode)==0;
}

static int ref_device_count(uint32_t *n){
  *n = is_mode("nodevice") || is_mode("driver") ? 0 : 1;
  return *n ? VDB_GPU_OK
       : is_mode("driver") ? VDB_GPU_DRIVER_OLD : VDB_GPU_NO_DEVICE;
}

static int ref_device_info(uint32_t i, vdb_gpu_info *out){
  VDB_UNUSED(i);
  memset(out, 0, sizeof(*out));
  out->size = sizeof(*out);
  out->sz_total = out->sz_free = (uint64_t)4<<30;
  out->n_unit = 1;
  memcpy(out->name, "reference", 10);
  return VDB_GPU_OK;
}

static int ref_open(const vdb_gpu_config *cfg, vdb_gpu_device **out){
  vdb_gpu_device *d;
  *out = NULL;
  if( is_mode("broken") ) return VDB_GPU_INTERNAL;
  d = vdb_calloc(1, sizeof(*d));
  if( d==NULL ) return VDB_GPU_NOMEM;
  *out = d;
  d->sz_budget = cfg->sz_memory ? cfg->sz_memory : (uint64_t)2<<30;
  return VDB_GPU_OK;
}

static void ref_close(vdb_gpu_device *d){
  vdb_free(d);
}

/* ---- Rows ---------------------------------------------------------------- */

static int ref_estimate(vdb_gpu_device *d, const vdb_gpu_source *src,
                        uint64_t *bytes){
  VDB_UNUSED(d);
  *bytes = 0;
  if( src->type>VECDB_U8 || src->dim==0 || src->dim>VDB_GPU_DIM_MAX
   || (src->metric!=VECDB_L2 && src->metric!=VECDB_COSINE
       && src->metric!=VECDB_IP) ){
    return VDB_GPU_UNSUPPORTED;
  }
  *bytes = (uint64_t)src->n_rows*vdb_vector_bytes((int)src->type, src->dim);
  return VDB_GPU_OK;
}

static void ref_detach(vdb_gpu_rows *r){
  if( r==NULL ) return;
  r->dev->sz_rows -= r->sz;
  vdb_free_aligned(r->vec);
  vdb_free(r);
}

static int ref_attach(vdb_gpu_device *d, const vdb_gpu_source *src,
                      vdb_gpu_rows **out){
  vdb_gpu_rows *r = NULL;
  uint64_t sz;
  int code = ref_estimate(d, src, &sz);
  *out = NULL;
  if( code!=VDB_GPU_OK ) return code;
  if( is_mode("oom") || ref_counts_down(&d->fail_alloc)
   || sz>d->sz_budget-d->sz_rows ) return VDB_GPU_OOM;
  r = vdb_calloc(1, sizeof(*r));
  if( r==NULL ) return VDB_GPU_NOMEM;
  r->dev = d;
  r->src = *src;
  r->sz_vec = vdb_vector_bytes((int)src->type, src->dim);
  r->vec = vdb_malloc_aligned((size_t)sz + 1);
  r->sz = sz;
  d->sz_rows += sz;
  if( r->vec==NULL ){
    ref_detach(r);
    return VDB_GPU_NOMEM;
  }
  for(uint32_t i=0; i<src->n_rows; i+=REF_SOME){
    uint32_t n = src->n_rows-i<REF_SOME ? src->n_rows-i : REF_SOME;
    if( src->fetch(src->arg, i, n, r->vec + (size_t)i*r->sz_vec) ){
      ref_detach(r);
      return VDB_GPU_CANCELLED;
    }
  }
  d->sz_upload += sz;
  *out = r;
  return VDB_GPU_OK;
}

/* ---- Nearest rows -------------------------------------------------------- */

static bool row_passes(const vdb_gpu_knn *q, uint32_t row){
  return q->pass==NULL || vdb_bit_get(q->pass, row);
}

static int hit_order(const void *a, const void *b){
  return vdb_hit_cmp(a, b, NULL, NULL);
}

/* Distances of all rows to dist[], the k nearest that pass to *top. */
static int query_scan(const vdb_gpu_rows *r, const vdb_gpu_knn *q,
                      const void *query, float *dist, struct vdb_topk *top){
  struct vdb_query prepared;
  if( vdb_query_init(&prepared, (int)r->src.metric, (int)r->src.type, query,
                     r->src.dim)!=VECDB_OK ) return VDB_GPU_UNSUPPORTED;
  vdb_keys_run(&prepared, r->vec, r->sz_vec, NULL, r->src.n_rows, dist);
  for(uint32_t i=0; i<r->src.n_rows; i++){
    dist[i] = vdb_key_distance((int)r->src.metric, dist[i]);
    if( !row_passes(q, i) || dist[i]>vdb_topk_bound(top) ) continue;
    if( vdb_topk_push(top, dist[i], i)!=VECDB_OK ) return VDB_GPU_NOMEM;
  }
  return VDB_GPU_OK;
}

/* Query i. `hit` has room for cap. */
static int query_answer(vdb_gpu_rows *r, const vdb_gpu_knn *q, uint32_t i,
                        float *dist, struct vdb_hit *hit){
  const char *query = (const char*)q->queries + (size_t)i*r->sz_vec;
  struct vdb_topk top;
  float bound;
  uint32_t n = 0;
  int code;
  vdb_topk_init(&top, q->k, NULL, NULL);
  code = query_scan(r, q, query, dist, &top);
  bound = vdb_topk_bound(&top);
  vdb_topk_clear(&top);
  if( code!=VDB_GPU_OK ) return code;
  for(uint32_t j=0; j<r->src.n_rows; j++){
    if( dist[j]>bound || !row_passes(q, j) ) continue;
    if( n==q->cap ){
      q->n[i] = VDB_GPU_LEFT;
      r->dev->n_left++;
      return VDB_GPU_OK;
    }
    hit[n].distance = dist[j];
    hit[n++].slot = j;
  }
  qsort(hit, n, sizeof(*hit), hit_order);
  q->n[i] = n;
  for(uint32_t j=0; j<n; j++){
    q->row[(size_t)i*q->cap + j] = hit[j].slot;
    q->distance[(size_t)i*q->cap + j] = hit[j].distance;
  }
  return VDB_GPU_OK;
}

static int ref_knn(vdb_gpu_rows *r, const vdb_gpu_knn *q){
  struct vdb_fpmode fp = vdb_fpmode_enter();
  float *dist = vdb_malloc_array((size_t)r->src.n_rows+1, sizeof(*dist));
  struct vdb_hit *hit = vdb_malloc_array(q->cap, sizeof(*hit));
  int code = dist && hit ? VDB_GPU_OK : VDB_GPU_NOMEM;
  if( q->k==0 || q->k>VDB_GPU_K_MAX || q->k>q->cap ){
    code = VDB_GPU_UNSUPPORTED;
  }
  if( ref_counts_down(&r->dev->fail_alloc) ) code = VDB_GPU_OOM;
  for(uint32_t i=0; i<q->n_query && code==VDB_GPU_OK; i++){
    if( q->cancelled && q->cancelled(q->arg) ) code = VDB_GPU_CANCELLED;
    else if( is_mode("lost") || ref_counts_down(&r->dev->fail_launch) ){
      code = VDB_GPU_DEVICE_LOST;
    }else code = query_answer(r, q, i, dist, hit);
    r->dev->n_scan++;
  }
  vdb_free(dist);
  vdb_free(hit);
  vdb_fpmode_leave(fp);
  return code;
}

/* ---- The table ----------------------------------------------------------- */

static int ref_stats(vdb_gpu_device *d, vdb_gpu_stats *out){
  memset(out, 0, sizeof(*out));
  out->size = sizeof(*out);
  out->sz_rows = d->sz_rows;
  out->sz_budget = d->sz_budget;
  out->n_scan = d->n_scan;
  out->n_left = d->n_left;
  out->sz_upload = d->sz_upload;
  return VDB_GPU_OK;
}

static int ref_control(vdb_gpu_device *d, uint32_t what, uint64_t value){
  switch( what ){
    case VDB_GPU_FAIL_ALLOC:  d->fail_alloc = value; break;
    case VDB_GPU_FAIL_LAUNCH: d->fail_launch = value; break;
    case VDB_GPU_SET_BUDGET:  d->sz_budget = value; break;
    case VDB_GPU_SET_PATH: case VDB_GPU_SET_CAPACITY: case VDB_GPU_SET_GROWTH:
      break;                          /* there is one way only */
    default: return VDB_GPU_UNSUPPORTED;
  }
  return VDB_GPU_OK;
}

#define REF_API(abi, rules, canon) { \
  sizeof(vdb_gpu_api), abi, rules, canon, "reference", VECDB_VERSION, \
  ref_device_count, ref_device_info, ref_open, ref_close, ref_estimate, \
  ref_attach, ref_detach, ref_knn, ref_stats, ref_control, vdb_ref_edges, \
  vdb_ref_kmeans }

static const vdb_gpu_api ref_api =
    REF_API(VDB_GPU_ABI_VERSION, VDB_GPU_RULES, VDB_GPU_CANON);
static const vdb_gpu_api ref_api_abi =
    REF_API(VDB_GPU_ABI_VERSION+1, VDB_GPU_RULES, VDB_GPU_CANON);
static const vdb_gpu_api ref_api_rules =
    REF_API(VDB_GPU_ABI_VERSION, VDB_GPU_RULES+1, VDB_GPU_CANON);
static const vdb_gpu_api ref_api_canon =
    REF_API(VDB_GPU_ABI_VERSION, VDB_GPU_RULES, VDB_GPU_CANON+1);
static const vdb_gpu_api ref_api_size = { .size = 16,
    .abi = VDB_GPU_ABI_VERSION, .rules = VDB_GPU_RULES,
    .canon = VDB_GPU_CANON };

const vdb_gpu_api *vdb_gpu_entry(uint32_t abi, uint32_t host_size);

const vdb_gpu_api *vdb_gpu_entry(uint32_t abi, uint32_t host_size){
  VDB_UNUSED(host_size);
  if( abi!=VDB_GPU_ABI_VERSION || is_mode("null") ) return NULL;
  if( is_mode("abi") ) return &ref_api_abi;
  if( is_mode("rules") ) return &ref_api_rules;
  if( is_mode("canon") ) return &ref_api_canon;
  if( is_mode("size") ) return &ref_api_size;
  return &ref_api;
}
