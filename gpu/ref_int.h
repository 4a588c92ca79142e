/* ref_int.h -- what the files of the reference plugin share. */
#ifndef VDB_REF_INT_H
#define VDB_REF_INT_H
#include "gpu/plugin.h"
#include "simd/simd.h"

struct vdb_gpu_device {
  uint64_t sz_budget, sz_rows, sz_upload, n_scan, n_left;
  uint64_t fail_alloc, fail_launch;   /* countdowns; 0: off */
};

struct vdb_gpu_rows {
  vdb_gpu_device *dev;
  vdb_gpu_source src;                 /* without fetch */
  size_t sz_vec;
  uint64_t sz;
  unsigned char *vec;
};

/* Does the countdown end now? */
static inline bool ref_counts_down(uint64_t *n){
  return *n>0 && --*n==0;
}

/* ref_graph.c */
int vdb_ref_edges(vdb_gpu_rows *r, vdb_gpu_edges *e);
/* ref_kmeans.c */
int vdb_ref_kmeans(vdb_gpu_rows *r, vdb_gpu_kmeans *m);
#endif
