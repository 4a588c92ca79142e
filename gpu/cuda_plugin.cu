/* cuda_plugin.cu -- the table of plugin.h for CUDA devices; memory, errors.
**
** A device uses its primary context, one stream and that stream's memory pool.
** The host's current device is put back after every call. Nothing waits for
** the whole device, nothing resets it. Once a call has failed for another
** reason than memory the device is lost: CUDA errors are sticky.
*/
#include "gpu/cuda_int.h"

/* ---- Errors and memory --------------------------------------------------- */

int vdb_cuda_code(vdb_gpu_device *d, cudaError_t e){
  if( e==cudaSuccess ) return d && d->is_lost ? VDB_GPU_DEVICE_LOST
                                              : VDB_GPU_OK;
  (void)cudaGetLastError();                /* not for the host to find */
  if( e==cudaErrorMemoryAllocation ) return VDB_GPU_OOM;
  if( e==cudaErrorNoDevice ) return VDB_GPU_NO_DEVICE;
  if( e==cudaErrorInsufficientDriver ) return VDB_GPU_DRIVER_OLD;
  if( d ) d->is_lost = true;
  return VDB_GPU_DEVICE_LOST;
}

/* Does the countdown end now? */
static bool counts_down(uint64_t *n){
  return *n>0 && --*n==0;
}

int vdb_cuda_alloc(vdb_gpu_device *d, void **p, uint64_t sz){
  int code;
  *p = NULL;
  if( sz<256 ) sz = 256;
  if( counts_down(&d->fail_alloc) || sz>d->sz_budget
   || d->sz_used>d->sz_budget-sz ) return VDB_GPU_OOM;
  code = vdb_cuda_code(d, cudaMallocFromPoolAsync(p, (size_t)sz, d->pool,
                                                  d->stream));
  if( code!=VDB_GPU_OK ) *p = NULL;
  else d->sz_used += sz;
  return code;
}

void vdb_cuda_free(vdb_gpu_device *d, void *p, uint64_t sz){
  if( p==NULL ) return;
  if( sz<256 ) sz = 256;
  d->sz_used -= sz;
  (void)cudaFreeAsync(p, d->stream);
}

int vdb_cuda_step(vdb_gpu_device *d){
  if( counts_down(&d->fail_launch) ) d->is_lost = true;
  return vdb_cuda_code(d, cudaGetLastError());
}

int vdb_cuda_sync(vdb_gpu_device *d){
  return vdb_cuda_code(d, cudaStreamSynchronize(d->stream));
}

int vdb_cuda_to_device(vdb_gpu_device *d, void *to, const void *from,
                       size_t n){
  if( n==0 ) return VDB_GPU_OK;
  return vdb_cuda_code(d, cudaMemcpyAsync(to, from, n, cudaMemcpyHostToDevice,
                                          d->stream));
}

int vdb_cuda_to_host_later(vdb_gpu_device *d, void *to, const void *from,
                           size_t n){
  if( n==0 ) return VDB_GPU_OK;
  return vdb_cuda_code(d, cudaMemcpyAsync(to, from, n, cudaMemcpyDeviceToHost,
                                          d->stream));
}

int vdb_cuda_to_host(vdb_gpu_device *d, void *to, const void *from, size_t n){
  int code = vdb_cuda_to_host_later(d, to, from, n);
  return code==VDB_GPU_OK ? vdb_cuda_sync(d) : code;
}

int vdb_cuda_zero(vdb_gpu_device *d, void *p, size_t n){
  if( n==0 ) return VDB_GPU_OK;
  return vdb_cuda_code(d, cudaMemsetAsync(p, 0, n, d->stream));
}

/* ---- The device ---------------------------------------------------------- */

/* Ours is current until it is left. */
struct cuda_scope {
  int before;
  bool is_set;
};
static int scope_enter(cuda_scope *s, int i){
  s->is_set = cudaGetDevice(&s->before)==cudaSuccess;
  return vdb_cuda_code(NULL, cudaSetDevice(i));
}
static void scope_leave(const cuda_scope *s){
  if( s->is_set ) (void)cudaSetDevice(s->before);
}

static int api_device_count(uint32_t *n){
  int i = 0;
  cudaError_t e = cudaGetDeviceCount(&i);
  *n = 0;
  if( e==cudaErrorInsufficientDriver ){
    int driver = 0;
    (void)cudaGetLastError();
    /* No driver at all is reported in the same way. */
    if( cudaDriverGetVersion(&driver)!=cudaSuccess || driver==0 ){
      return VDB_GPU_NO_DEVICE;
    }
    return VDB_GPU_DRIVER_OLD;
  }
  if( e!=cudaSuccess ){
    (void)cudaGetLastError();
    return VDB_GPU_NO_DEVICE;
  }
  *n = (uint32_t)i;
  return i>0 ? VDB_GPU_OK : VDB_GPU_NO_DEVICE;
}

static int api_device_info(uint32_t i, vdb_gpu_info *out){
  cudaDeviceProp p;
  int driver = 0, code;
  size_t all = 0, rest = 0;
  cuda_scope s;
  memset(out, 0, sizeof(*out));
  out->size = sizeof(*out);
  code = vdb_cuda_code(NULL, cudaGetDeviceProperties(&p, (int)i));
  if( code!=VDB_GPU_OK ) return code;
  (void)cudaDriverGetVersion(&driver);
  out->arch = (uint32_t)(p.major*10 + p.minor);
  out->n_unit = (uint32_t)p.multiProcessorCount;
  out->driver = (uint32_t)driver;
  out->sz_total = p.totalGlobalMem;
  memcpy(out->name, p.name, sizeof(out->name)-1);
  code = scope_enter(&s, (int)i);
  if( code==VDB_GPU_OK && cudaMemGetInfo(&rest, &all)==cudaSuccess ){
    out->sz_free = rest;
  }
  scope_leave(&s);
  return code;
}

static void device_clear(vdb_gpu_device *d){
  for(int i=0; i<2; i++){
    if( d->pinned[i] ) (void)cudaFreeHost(d->pinned[i]);
    if( d->has_event[i] ) (void)cudaEventDestroy(d->event[i]);
  }
  if( d->has_pool ) (void)cudaMemPoolDestroy(d->pool);
  if( d->has_stream ) (void)cudaStreamDestroy(d->stream);
  d->cfg.release(d);
}

/* A pool of our own, as the host may use the device's. */
static int pool_begin(vdb_gpu_device *d){
  cudaMemPoolProps props;
  uint64_t keep = UINT64_MAX;
  int code;
  memset(&props, 0, sizeof(props));
  props.allocType = cudaMemAllocationTypePinned;
  props.location.type = cudaMemLocationTypeDevice;
  props.location.id = d->i_device;
  DEV_TRY( vdb_cuda_code(d, cudaMemPoolCreate(&d->pool, &props)) );
  d->has_pool = true;
  DEV_TRY( vdb_cuda_code(d, cudaMemPoolSetAttribute(d->pool,
                                cudaMemPoolAttrReleaseThreshold, &keep)) );
done:
  return code;
}

static int device_begin(vdb_gpu_device *d){
  size_t all = 0, rest = 0;
  vdb_gpu_info info;
  int code;
  DEV_TRY( api_device_info((uint32_t)d->i_device, &info) );
  d->n_unit = info.n_unit;
  if( info.arch<80 ) return VDB_GPU_UNSUPPORTED;
  DEV_TRY( vdb_cuda_code(d, cudaStreamCreateWithFlags(&d->stream,
                                                      cudaStreamNonBlocking)) );
  d->has_stream = true;
  DEV_TRY( pool_begin(d) );
  for(int i=0; i<2; i++){
    DEV_TRY( vdb_cuda_code(d, cudaEventCreateWithFlags(&d->event[i],
                                                cudaEventDisableTiming)) );
    d->has_event[i] = true;
    DEV_TRY( vdb_cuda_code(d, cudaMallocHost(&d->pinned[i], UPLOAD_BYTES)) );
  }
  DEV_TRY( vdb_cuda_code(d, cudaMemGetInfo(&rest, &all)) );
  d->sz_budget = d->cfg.sz_memory ? d->cfg.sz_memory
               : rest>((size_t)1<<30) ? rest - ((size_t)1<<28) : rest/2;
  DEV_TRY( vdb_cuda_filter_setup() );
  DEV_TRY( vdb_cuda_test(d) );
done:
  return code;
}

static int api_open(const vdb_gpu_config *cfg, vdb_gpu_device **out){
  vdb_gpu_device *d = (vdb_gpu_device*)cfg->alloc(sizeof(*d));
  cuda_scope s;
  int code;
  *out = NULL;
  if( d==NULL ) return VDB_GPU_NOMEM;
  memset((void*)d, 0, sizeof(*d));
  d->cfg = *cfg;
  d->i_device = (int)cfg->i_device;
  code = scope_enter(&s, d->i_device);
  if( code==VDB_GPU_OK ) code = device_begin(d);
  if( code==VDB_GPU_OK ) *out = d;
  else device_clear(d);
  scope_leave(&s);
  return code;
}

static void api_close(vdb_gpu_device *d){
  cuda_scope s;
  if( d==NULL ) return;
  (void)scope_enter(&s, d->i_device);
  device_clear(d);
  scope_leave(&s);
}

/* ---- Requests ------------------------------------------------------------ */

static int api_attach(vdb_gpu_device *d, const vdb_gpu_source *src,
                      vdb_gpu_rows **out){
  cuda_scope s;
  int code = scope_enter(&s, d->i_device);
  *out = NULL;
  if( code==VDB_GPU_OK ) code = vdb_cuda_attach(d, src, out);
  scope_leave(&s);
  return code;
}

static void api_detach(vdb_gpu_rows *r){
  cuda_scope s;
  if( r==NULL ) return;
  (void)scope_enter(&s, r->d->i_device);
  vdb_cuda_detach(r);
  scope_leave(&s);
}

static int api_knn(vdb_gpu_rows *r, const vdb_gpu_knn *q){
  cuda_scope s;
  int code = scope_enter(&s, r->d->i_device);
  if( code==VDB_GPU_OK ) code = vdb_cuda_knn(r, q);
  scope_leave(&s);
  return code;
}

static int api_edges(vdb_gpu_rows *r, vdb_gpu_edges *e){
  cuda_scope s;
  int code = scope_enter(&s, r->d->i_device);
  if( code==VDB_GPU_OK ) code = vdb_cuda_edges(r, e);
  scope_leave(&s);
  return code;
}

static int api_kmeans(vdb_gpu_rows *r, vdb_gpu_kmeans *m){
  cuda_scope s;
  int code = scope_enter(&s, r->d->i_device);
  if( code==VDB_GPU_OK ) code = vdb_cuda_kmeans(r, m);
  scope_leave(&s);
  return code;
}

static int api_stats(vdb_gpu_device *d, vdb_gpu_stats *out){
  *out = d->stats;
  out->size = sizeof(*out);
  out->sz_rows = d->sz_rows;
  out->sz_budget = d->sz_budget;
  return VDB_GPU_OK;
}

static int api_control(vdb_gpu_device *d, uint32_t what, uint64_t value){
  switch( what ){
    case VDB_GPU_FAIL_ALLOC:   d->fail_alloc = value; break;
    case VDB_GPU_FAIL_LAUNCH:  d->fail_launch = value; break;
    case VDB_GPU_SET_PATH:     d->path = (uint32_t)value; break;
    case VDB_GPU_SET_CAPACITY: d->capacity = (uint32_t)value; break;
    case VDB_GPU_SET_GROWTH:   d->growth = (uint32_t)value; break;
    case VDB_GPU_SET_BUDGET:   d->sz_budget = value; break;
    default: return VDB_GPU_UNSUPPORTED;
  }
  return VDB_GPU_OK;
}

static const vdb_gpu_api cuda_api = {
  sizeof(vdb_gpu_api), VDB_GPU_ABI_VERSION, VDB_GPU_RULES, VDB_GPU_CANON,
#if defined(VDB_GPU_EMULATE)
  "emulated cuda",
#else
  "cuda",
#endif
  VECDB_VERSION, api_device_count, api_device_info, api_open, api_close,
  vdb_cuda_estimate, api_attach, api_detach, api_knn, api_stats, api_control,
  api_edges, api_kmeans
};

extern "C" __attribute__((visibility("default")))
const vdb_gpu_api *vdb_gpu_entry(uint32_t abi, uint32_t host_size){
  (void)host_size;
  return abi==VDB_GPU_ABI_VERSION ? &cuda_api : NULL;
}
