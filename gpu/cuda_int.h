/* cuda_int.h -- what the files of the CUDA plugin share.
**
** LAYOUT  Rows lie on the device as they were given (x), in order. Where tensor
**   cores may be used there is a copy of them, in fp16 or, of bytes under l2 and
**   ip, as they are, in the order of visits (rules.h): the copy at position p is
**   that of row visit(p). Copies are padded with zeros to whole slices of 128
**   bytes. Lists and blocks of 128 rows go by positions.
** LISTS   Each query of a block of queries has a list of (position, value),
**   a count of entries, a threshold tau and a flag, which says that the list
**   overflowed: then it means nothing.
** STREAM  Everything a device does for us is in order on one stream.
*/
#ifndef VDB_CUDA_INT_H
#define VDB_CUDA_INT_H
#if defined(VDB_GPU_EMULATE)
# include "gpu/emulate.h"
#else
# include "gpu/cuda_isa.h"
#endif
#include "gpu/edges.h"
#include "gpu/plugin.h"
#include "vecdb.h"

enum { WARP = 32, BLOCK_THREADS = 256, BLOCK_WARPS = BLOCK_THREADS/WARP,
       TILE = 128,                 /* queries and rows of a filter's tile */
       SLICE_ROW = 128,            /* bytes of a row that a step reads */
       CAPACITY_MIN = 256, CAP_OUT_MAX = 4096 };
#define ROW_NONE  0xffffffffu
#define UPLOAD_BYTES  ((size_t)16<<20)     /* of a pinned buffer */
#define LISTS_BYTES   ((uint64_t)1<<30)    /* of the lists of a block */

/* What copies are made of. */
enum { COPY_HALF = 0, COPY_S8 = 1, COPY_U8 = 2 };

/* Metrics as rules.h counts them. */
enum { RULE_L2 = 0, RULE_IP = 1, RULE_COSINE = 2 };
static inline int rule_of_metric(uint32_t metric){
  return metric==VECDB_L2 ? RULE_L2 : metric==VECDB_IP ? RULE_IP
                                                       : RULE_COSINE;
}

struct vdb_gpu_device {
  vdb_gpu_config cfg;
  int i_device;
  uint32_t n_unit;
  bool is_lost;
  bool has_stream, has_pool, has_event[2];
  cudaStream_t stream;
  cudaMemPool_t pool;              /* keeps what was freed for the next call */
  cudaEvent_t event[2];
  void *pinned[2];                 /* UPLOAD_BYTES each */
  uint64_t sz_budget, sz_used;     /* of the device's memory, by us */
  uint64_t sz_rows;
  vdb_gpu_stats stats;
  /* vdb_gpu_control */
  uint64_t fail_alloc, fail_launch;
  uint32_t path, capacity, growth;
};

struct vdb_gpu_rows {
  vdb_gpu_device *d;
  vdb_gpu_source src;              /* without fetch */
  int rule;
  size_t sz_vec;
  uint64_t sz;
  uint32_t step;                   /* of visits */
  void *x;
  /* The copy; NULL where rows are only scanned. */
  uint32_t n_pad, d_pad;           /* d_pad: dimensions of a copy */
  int kind;                        /* COPY_ */
  uint32_t sz_copy;                /* bytes of a row in it */
  float scale;                     /* s */
  float *mu;                       /* d_pad */
  unsigned char *copy;             /* n_pad x sz_copy */
  float *nx;                       /* n_pad: |b|^2 for l2, else 0 */
  float2 *block;                   /* n_pad/128: B, R */
};

struct dev_entry { uint32_t pos; float v; };

/* The lists of a block of queries. */
struct dev_lists {
  uint32_t n, n_pad, k, cap;
  dev_entry *entry;                /* n x cap */
  uint32_t *count, *flag;          /* n_pad */
  float *tau;                      /* n_pad */
};

/* Queries of a block as the filter reads them, all n_pad long. */
struct dev_queries {
  const void *raw;                 /* n x sz_vec */
  unsigned char *copy;             /* n_pad x sz_copy */
  float *a, *lin, *z, *f;          /* rules_band, and the factor of dots */
  float c, k;                      /* the same for all */
};

/* Which rows, in which order. */
struct dev_visit {
  uint32_t n, step;
  const uint64_t *pass;            /* NULL: all */
  uint32_t lo, hi;                 /* positions of this chunk */
  bool is_first;                   /* entry = position, nothing is tested */
};

static __host__ __device__ inline uint32_t visit_row(const dev_visit &v,
                                                     uint32_t pos){
  return rules_visit(pos, v.step, v.n);
}
static __device__ inline bool visit_passes(const dev_visit &v, uint32_t row){
  return v.pass==NULL || (v.pass[row>>6]>>(row&63) & 1);
}

/* ---- cuda_plugin.cu: memory and errors; VDB_GPU_ codes ------------------- */

/* A cudaError_t as a code; remembers that the device is lost. */
int vdb_cuda_code(vdb_gpu_device *d, cudaError_t e);
int vdb_cuda_alloc(vdb_gpu_device *d, void **p, uint64_t sz);
void vdb_cuda_free(vdb_gpu_device *d, void *p, uint64_t sz);
/* Was the last launch in order? Counts steps for tests. */
int vdb_cuda_step(vdb_gpu_device *d);
int vdb_cuda_sync(vdb_gpu_device *d);
int vdb_cuda_to_device(vdb_gpu_device *d, void *to, const void *from,
                       size_t n);
/* The second waits until it is there. */
int vdb_cuda_to_host_later(vdb_gpu_device *d, void *to, const void *from,
                           size_t n);
int vdb_cuda_to_host(vdb_gpu_device *d, void *to, const void *from, size_t n);
int vdb_cuda_zero(vdb_gpu_device *d, void *p, size_t n);
#define DEV_TRY(expr) do{ if( (code = (expr))!=VDB_GPU_OK ) goto done; }while(0)

/* Allocation of an array, freed by vdb_cuda_free with the same size. */
template<typename T> static inline int dev_array(vdb_gpu_device *d, T **p,
                                                 uint64_t n){
  return vdb_cuda_alloc(d, (void**)p, n*sizeof(T));
}
template<typename T> static inline void dev_array_free(vdb_gpu_device *d, T *p,
                                                       uint64_t n){
  vdb_cuda_free(d, (void*)p, n*sizeof(T));
}

/* ---- cuda_rows.cu -------------------------------------------------------- */
int vdb_cuda_attach(vdb_gpu_device *d, const vdb_gpu_source *src,
                    vdb_gpu_rows **out);
void vdb_cuda_detach(vdb_gpu_rows *r);
int vdb_cuda_estimate(vdb_gpu_device *d, const vdb_gpu_source *src,
                      uint64_t *bytes);
/* Rows on the device have changed: the copy is made again. */
int vdb_cuda_copy_again(vdb_gpu_rows *r);
/* Fill q->copy and so on of n queries; flag[i] is set where the filter cannot
** be used. */
int vdb_cuda_prepare(vdb_gpu_rows *r, const dev_queries *q, uint32_t n,
                     uint32_t *flag);

/* ---- cuda_filter.cu, cuda_scan.cu, cuda_lists.cu ------------------------- */
int vdb_cuda_filter_setup(void);
/* Positions v.lo..v.hi-1 against all lists. */
int vdb_cuda_filter(vdb_gpu_rows *r, const dev_queries *q,
                    const dev_lists *l, const dev_visit *v);
/* The same by canonical distances, for the lists which[0..n-1]. */
int vdb_cuda_scan(vdb_gpu_rows *r, const void *raw, const dev_lists *l,
                  const uint32_t *which, uint32_t n, const dev_visit *v);
/* Values become canonical distances. */
int vdb_cuda_rescore(vdb_gpu_rows *r, const void *raw, const dev_lists *l);
/* Empty lists: all, or which[0..n-1]. */
int vdb_cuda_reset(vdb_gpu_device *d, const dev_lists *l,
                   const uint32_t *which, uint32_t n);
/* tau becomes the k-th smallest v+e; what cannot be among the k goes. With
** n_first>0 the first so many entries were filled without counting. q may be
** NULL: values are exact. */
int vdb_cuda_select(vdb_gpu_rows *r, const dev_queries *q, const dev_lists *l,
                    const uint32_t *which, uint32_t n, uint32_t n_first);
/* Rows and distances in order; n_out[i] is VDB_GPU_LEFT where the list
** overflowed or is longer than cap_out. */
int vdb_cuda_output(vdb_gpu_rows *r, const dev_lists *l, uint32_t cap_out,
                    uint32_t *row, float *distance, uint32_t *n_out);

/* ---- cuda_edges.cu, cuda_graph.cu ---------------------------------------- */

/* The edges of a graph while they are made; all on the device. A key is
** (d2, row) of edges.h. */
struct dev_edges {
  const float *x;
  const uint32_t *near;            /* n x k */
  uint32_t n, d, k, n_lane, n_spare, n_half;   /* n_half: power of two, at
                                   ** least RULES_IN_MAX*n_lane */
  float alpha2;
  uint64_t *list, *next;           /* n x n_lane keys, ascending */
  uint32_t *count, *n_next;        /* by row: how many */
  uint64_t *in;                    /* n x n_lane: by target, (d2, source) */
  uint32_t *first;                 /* n+1: where a row's part of `in` begins */
  uint32_t *cursor;                /* n: counts, then places to be filled */
  uint64_t *fixed;                 /* n: bitmaps of lanes that were attached */
  uint32_t *seen;                  /* n: reached */
  uint32_t *queue[2], *n_queue;    /* rows whose edges are followed next */
  uint32_t *ask;                   /* n: whom an unreached row asks */
  float *ask_d2;
};
enum { EDGE_STEP_CHOOSE, EDGE_STEP_BACK, EDGE_STEP_FILL };
/* One step for rows lo..hi-1: from list (and in) to list or next. */
int vdb_cuda_edges_step(vdb_gpu_device *d, const dev_edges *g, int step,
                        uint32_t lo, uint32_t hi);
/* cursor += edges by target, in[] is filled as cursor says; the same for
** requests of unreached rows. */
int vdb_cuda_edges_count(vdb_gpu_device *d, const dev_edges *g);
int vdb_cuda_edges_turn(vdb_gpu_device *d, const dev_edges *g);
int vdb_cuda_edges_ask(vdb_gpu_device *d, const dev_edges *g);
int vdb_cuda_edges_asked(vdb_gpu_device *d, const dev_edges *g);
/* n rows of queue[from] are reached: what they lead to, to the other queue. */
int vdb_cuda_edges_reach(vdb_gpu_device *d, const dev_edges *g, uint32_t n,
                         int from);
int vdb_cuda_edges_attach(vdb_gpu_device *d, const dev_edges *g);
/* Row numbers of the lists, n x n_lane. */
int vdb_cuda_edges_out(vdb_gpu_device *d, const dev_edges *g, uint32_t *out);

int vdb_cuda_edges(vdb_gpu_rows *r, vdb_gpu_edges *e);

/* ---- cuda_means.cu, cuda_kmeans.cu --------------------------------------- */

/* list[i] of n rows on the device becomes the nearest row of c by canonical
** distances: of all, or of those that have ROW_NONE. */
int vdb_cuda_nearest_scan(vdb_gpu_device *d, const float *x, uint32_t n,
                          const vdb_gpu_rows *c, uint32_t *list, bool is_all);
/* The first of each answer of vdb_cuda_output; ROW_NONE where there is none. */
int vdb_cuda_nearest_take(vdb_gpu_device *d, const uint32_t *row,
                          const uint32_t *n_out, uint32_t cap, uint32_t n,
                          uint32_t n_centroid, uint32_t *list);
int vdb_cuda_changed(vdb_gpu_device *d, const uint32_t *list,
                     const uint32_t *before, uint32_t n, uint32_t *n_changed);

/* i=0..n-1 by list, in order. Between the two calls the host makes `first` of
** `size`. */
struct dev_sort {
  const uint32_t *list;            /* n, below k */
  const uint32_t *row;             /* what i stands for; NULL: i */
  uint32_t n, k, tile, n_tile, n_bit;   /* n_bit: of the numbers of lists */
  uint32_t *count;                 /* k x n_tile */
  uint32_t *size;                  /* k */
  const uint32_t *first;           /* k+1 */
  uint32_t *member;                /* n */
};
int vdb_cuda_sort_count(vdb_gpu_device *d, const dev_sort *s);
int vdb_cuda_sort_place(vdb_gpu_device *d, const dev_sort *s);

/* Means of lists that were sorted; list l's goes to centroid + l*stride. */
struct dev_means {
  const float *x;
  uint32_t d, k, n_run;
  bool is_unit;
  const uint32_t *member, *first, *runs;   /* k+1: where rows and runs of a list
                                   ** begin */
  double *part;                    /* n_run x d */
  float *centroid;
  int64_t stride;
};
int vdb_cuda_means(vdb_gpu_device *d, const dev_means *g);

/* A list of n rows is split between centroids a and b. */
struct dev_split {
  const float *x;
  uint32_t *member;                /* n */
  uint32_t n, d;
  float *a, *b;
  unsigned long long *far;
  uint32_t *side;                  /* n: 1 for those nearer to b */
};
/* b becomes the row farthest from a. */
int vdb_cuda_split_begin(vdb_gpu_device *d, const dev_split *g);
int vdb_cuda_split_sides(vdb_gpu_device *d, const dev_split *g);
int vdb_cuda_split_end(vdb_gpu_device *d, const dev_split *g,
                       const uint32_t *sorted, uint32_t n_a, uint32_t from,
                       uint32_t to, uint32_t *list);

int vdb_cuda_kmeans(vdb_gpu_rows *r, vdb_gpu_kmeans *m);

/* ---- cuda_knn.cu, cuda_test.cu ------------------------------------------- */
int vdb_cuda_knn(vdb_gpu_rows *r, const vdb_gpu_knn *q);
/* May lists of nearest rows of r be made by the filter for many queries? */
bool vdb_cuda_nearest_filters(const vdb_gpu_rows *r);
/* list[i] = the nearest row of r, for n queries that are on the device; or
** ROW_NONE, where the filter has none. Nothing waits. */
int vdb_cuda_nearest(vdb_gpu_rows *r, const void *queries, uint32_t n,
                     int (*cancelled)(void *arg), void *arg, uint32_t *list);
/* Does the device compute what it should? INTERNAL if not. */
int vdb_cuda_test(vdb_gpu_device *d);

/* ---- Canonical sums (simd/simd.h) ---------------------------------------- */

/* Element i of a vector: a number, or an integer for I8 and U8. */
template<int TYPE> struct dev_element;
template<> struct dev_element<VECDB_F32> {
  typedef float sum;
  static __device__ __forceinline__ float at(const void *p, size_t i){
    return __ldg((const float*)p + i);
  }
};
template<> struct dev_element<VECDB_F16> {
  typedef float sum;
  static __device__ __forceinline__ float at(const void *p, size_t i){
    return dev_float(__ldg((const unsigned short*)p + i));
  }
};
template<> struct dev_element<VECDB_BF16> {
  typedef float sum;
  static __device__ __forceinline__ float at(const void *p, size_t i){
    union { uint32_t u; float f; } v;
    v.u = (uint32_t)__ldg((const unsigned short*)p + i)<<16;
    return v.f;
  }
};
template<> struct dev_element<VECDB_I8> {
  typedef int sum;
  static __device__ __forceinline__ int at(const void *p, size_t i){
    return __ldg((const signed char*)p + i);
  }
};
template<> struct dev_element<VECDB_U8> {
  typedef int sum;
  static __device__ __forceinline__ int at(const void *p, size_t i){
    return __ldg((const unsigned char*)p + i);
  }
};

/* Bitonic sort of n_sort keys, a power of two, by all threads of a block; ends
** with a barrier, and begins after one. */
template<int THREADS> static __device__ __forceinline__ void
block_sort(uint64_t *key, uint32_t n_sort){
  for(uint32_t size=2; size<=n_sort; size*=2){
    for(uint32_t stride=size/2; stride>0; stride/=2){
      for(uint32_t at=threadIdx.x; at<n_sort/2; at+=THREADS){
        uint32_t lo = 2*at - (at & (stride-1)), hi = lo + stride;
        bool up = (lo & size)==0;
        uint64_t a = key[lo], b = key[hi];
        if( (a>b)==up ){
          key[lo] = b;
          key[hi] = a;
        }
      }
      __syncthreads();
    }
  }
}

/* A float, whatever the type. */
static __device__ __forceinline__ float element_float(uint32_t type,
                                                      const void *p,
                                                      size_t i){
  switch( type ){
    case VECDB_F32:  return dev_element<VECDB_F32>::at(p, i);
    case VECDB_F16:  return dev_element<VECDB_F16>::at(p, i);
    case VECDB_BF16: return dev_element<VECDB_BF16>::at(p, i);
    case VECDB_I8:   return (float)dev_element<VECDB_I8>::at(p, i);
    default:         return (float)dev_element<VECDB_U8>::at(p, i);
  }
}

static __device__ __forceinline__ float sum_step(bool is_l2, float q, float x,
                                                 float s){
  if( is_l2 ){
    q -= x;
    return fmaf(q, q, s);
  }
  return fmaf(q, x, s);
}
static __device__ __forceinline__ int sum_step(bool is_l2, int q, int x,
                                               int s){
  if( is_l2 ){
    q -= x;
    return s + q*q;
  }
  return s + q*x;
}

/* Partial sums, one per lane, to lane 0: j += j+16, +8, +4, +2, +1. */
template<typename T> static __device__ __forceinline__ T sum_fold(T s){
  for(int h=16; h>0; h/=2) s += __shfl_down_sync(0xffffffffu, s, h);
  return s;
}

/* The sum as a float, rounded once. Only dot products of I8 have a sign; the
** others may pass 2^31. */
template<int TYPE> static __device__ __forceinline__ float sum_float(bool,
                                                                     float s){
  return s;
}
template<int TYPE> static __device__ __forceinline__ float sum_float(
    bool is_dot, int s){
  return is_dot && TYPE==VECDB_I8 ? (float)s : (float)(uint32_t)s;
}

static __device__ __forceinline__ float cosine_of_sums(float dot, float aa,
                                                       float bb){
  float d;
  if( aa==0 || bb==0 ) return 1.0f;
  d = 1.0f - dot/(float)sqrt((double)aa*(double)bb);
  if( d<0.0f ) return 0.0f;
  if( d>2.0f ) return d<=3.402823466e+38f ? 2.0f : INFINITY;
  return d==d ? d : INFINITY;
}
static __device__ __forceinline__ float distance_of_sums(int rule, float sum,
                                                         float aa, float bb){
  if( rule==RULE_L2 ) return __fsqrt_rn(rules_not_nan(sum));
  if( rule==RULE_IP ) return rules_not_nan(0.0f - sum);
  return cosine_of_sums(sum, aa, bb);
}
#endif
