/* plugin.h -- what the library and a GPU plugin say to each other.
**
** Used by   gpu/load.c (the library's side), gpu/ref.c and gpu/cuda_*.cu (the
**           plugins). C11 and C++; no other header of ours.
** Threads   the library calls one function of a device at a time; callbacks
**           are called on the thread of the call.
** Errors    VDB_GPU_ codes. On error every output is unspecified.
**
** A plugin sees arrays, never files, pages or locks. It exports one symbol,
** vdb_gpu_entry, which gives a table. Structs begin with their size and are
** only appended to; nobody reads beyond what the other side's size covers.
**
** EXACT     Every distance a plugin returns has the bits of simd/simd.h. What
**           it computes otherwise (tensor cores) only proposes rows. So all
**           plugins and devices return the same arrays.
*/
#ifndef VDB_GPU_PLUGIN_H
#define VDB_GPU_PLUGIN_H
#include <stddef.h>
#include <stdint.h>

#define VDB_GPU_ABI_VERSION  1u    /* this interface */
#define VDB_GPU_RULES  3u   /* gpu/rules.h, gpu/edges.h: what is computed */
#define VDB_GPU_CANON  1u    /* simd/simd.h: 32 partial sums, and so on */
#define VDB_GPU_K_MAX  2048u
#define VDB_GPU_DIM_MAX  4096u

/* number, name, sentence */
#define VDB_GPU_CODES(X) \
  X(OK,          0, "it can be used")                                  \
  X(NO_PLUGIN,   1, "there is no GPU plugin")                          \
  X(ABI,         2, "the GPU plugin is of another version of vecdb")   \
  X(NO_DEVICE,   3, "there is no GPU, or no driver for it")            \
  X(DRIVER_OLD,  4, "the GPU's driver is too old")                     \
  X(OOM,         5, "the GPU has too little memory")                   \
  X(UNSUPPORTED, 6, "this is not done on a GPU")                       \
  X(CANCELLED,   7, "interrupted")                                     \
  X(DEVICE_LOST, 8, "the GPU has failed")                              \
  X(FORKED,      9, "the process has forked since the GPU was opened") \
  X(INTERNAL,   10, "the GPU plugin failed its own test")              \
  X(NOMEM,      11, "out of memory")
enum {
#define VDB_GPU_X(name, num, text) VDB_GPU_##name = num,
  VDB_GPU_CODES(VDB_GPU_X)
#undef VDB_GPU_X
  VDB_GPU_CODE_LAST_
};

typedef struct vdb_gpu_device vdb_gpu_device;   /* an opened device */
typedef struct vdb_gpu_rows vdb_gpu_rows;       /* rows that are resident */

typedef struct vdb_gpu_info {
  uint32_t size, arch;         /* arch: 90 for compute capability 9.0 */
  uint64_t sz_total, sz_free;  /* bytes of device memory; free: 0, not asked */
  uint32_t n_unit, driver;     /* multiprocessors; 13000 for 13.0 */
  char name[64];
} vdb_gpu_info;

typedef struct vdb_gpu_config {
  uint32_t size, i_device;
  uint64_t sz_memory;          /* budget; 0: the plugin's own rule */
  void *(*alloc)(size_t sz);
  void (*release)(void *p);
} vdb_gpu_config;

/* n_rows vectors of `dim` elements of `type` (VECDB_F32 ..), searched by
** `metric` (VECDB_L2 ..). */
typedef struct vdb_gpu_source {
  uint32_t size, metric, type, dim, n_rows, reserved;
  /* Rows first..first+n-1, packed, to dst; 0, or nonzero to give up. */
  int (*fetch)(void *arg, uint32_t first, uint32_t n, void *dst);
  void *arg;
} vdb_gpu_source;

#define VDB_GPU_LEFT  0xffffffffu   /* vdb_gpu_knn.n: not answered */

/* Nearest rows. For each query all rows that pass and whose distance is at
** most the k-th smallest (fewer than k: all that pass), ascending by
** (distance, row); or VDB_GPU_LEFT, when ties are more than `cap` takes, or
** when the plugin could not: the caller computes that query itself. */
typedef struct vdb_gpu_knn {
  uint32_t size, n_query, k, cap;   /* k <= cap, k <= VDB_GPU_K_MAX */
  const void *queries;              /* packed, of the rows' type */
  const uint64_t *pass;             /* bitmap by row; NULL: all */
  int (*cancelled)(void *arg);      /* may be NULL */
  void *arg;
  uint32_t *row;                    /* n_query x cap */
  float *distance;                  /* n_query x cap */
  uint32_t *n;                      /* n_query */
} vdb_gpu_knn;

#define VDB_GPU_NONE  0xffffffffu   /* no row */

/* Edges of a graph over all rows, which are float32 under l2, by the steps of
** gpu/edges.h. */
typedef struct vdb_gpu_edges {
  uint32_t size, n_lane;            /* edges of a row at most: 1..64 */
  uint32_t k, n_spare;              /* near[]: 1..128 a row; of them, for
                                    ** free lanes */
  uint32_t n_entry;                 /* rows 0..n_entry-1, 1 at least, are where
                                    ** searches begin */
  float alpha2;                     /* 1..4 */
  const uint32_t *near;             /* n_rows x k nearest rows, each another,
                                    ** by (distance, row); NONE at the end */
  int (*progress)(void *arg, double done);   /* 0..1; nonzero: give up */
  void *arg;
  uint32_t *edge;                   /* n_rows x n_lane, by (distance, row); NONE
                                    ** at the end */
  uint32_t n_unreached;             /* rows that no path from the entries
                                    ** reaches, */
  uint32_t n_attached;              /* and before any were attached */
} vdb_gpu_edges;

/* K-means over all rows, which are float32 under l2, as index/kmeans.h defines
** it: the same bits. The resident rows are read; centroids and lists come and
** go. */
typedef struct vdb_gpu_kmeans {
  uint32_t size, k;                 /* k: centroids */
  uint32_t n_round, is_unit;        /* rounds at most, 0: 12; centroids are
                                    ** scaled to length 1 */
  int (*progress)(void *arg, double done);   /* 0..1; nonzero: give up */
  void *arg;
  float *centroid;                  /* k x dim, finite: the first, then the
                                    ** last; kept on error */
  uint32_t *list;                   /* n_rows: the nearest of the last */
  uint32_t n_moved, reserved;       /* rounds in which they moved */
} vdb_gpu_kmeans;

typedef struct vdb_gpu_stats {
  uint32_t size, reserved;
  uint64_t sz_rows, sz_budget;      /* bytes resident, and allowed */
  uint64_t n_query, n_survivor;     /* tensor-core queries, rows rescored */
  uint64_t n_scan, n_overflow;      /* queries scanned; of them, as lists
                                    ** were too short for the filter */
  uint64_t n_left, sz_upload;
} vdb_gpu_stats;

/* For tests. Values stay until they are set again; 0 is the default. */
enum {
  VDB_GPU_FAIL_ALLOC = 1,     /* the n-th allocation from now fails */
  VDB_GPU_FAIL_LAUNCH = 2,    /* the n-th step from now loses the device */
  VDB_GPU_SET_PATH = 3,       /* 1: scan; 2: filter, also for few queries */
  VDB_GPU_SET_CAPACITY = 4,   /* entries of a list, a power of two */
  VDB_GPU_SET_GROWTH = 5,     /* chunks grow by this factor */
  VDB_GPU_SET_BUDGET = 6,     /* bytes */
  VDB_GPU_SET_EAGER = 7       /* the library alone: 1: small searches, too,
                              ** under gpu=auto */
};

typedef struct vdb_gpu_api {
  uint32_t size, abi, rules, canon;
  const char *name, *version;       /* "cuda", of vecdb */
  int (*device_count)(uint32_t *n); /* creates no context; NO_DEVICE: 0 */
  int (*device_info)(uint32_t i, vdb_gpu_info *out);
  int (*open)(const vdb_gpu_config *cfg, vdb_gpu_device **out);
  void (*close)(vdb_gpu_device *d);
  /* Bytes that attach of such rows takes. */
  int (*estimate)(vdb_gpu_device *d, const vdb_gpu_source *src,
                  uint64_t *bytes);
  int (*attach)(vdb_gpu_device *d, const vdb_gpu_source *src,
                vdb_gpu_rows **out);
  void (*detach)(vdb_gpu_rows *r);
  int (*knn)(vdb_gpu_rows *r, const vdb_gpu_knn *q);
  int (*stats)(vdb_gpu_device *d, vdb_gpu_stats *out);
  int (*control)(vdb_gpu_device *d, uint32_t what, uint64_t value);
  /* UNSUPPORTED: not such rows, or numbers out of range. */
  int (*edges)(vdb_gpu_rows *r, vdb_gpu_edges *e);
  int (*kmeans)(vdb_gpu_rows *r, vdb_gpu_kmeans *m);
} vdb_gpu_api;

/* NULL if the plugin does not know this version of the interface. */
#define VDB_GPU_ENTRY  "vdb_gpu_entry"
typedef const vdb_gpu_api *(*vdb_gpu_entry_fn)(uint32_t abi,
                                               uint32_t host_size);
#endif
