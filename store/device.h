/* device.h -- exact batches and graph builds on a GPU.
**
** Used by   store/search.c, store/graphs_build.c, vecdb.c.
** Threads   the connection's.
** Errors    VECDB_ codes; the sentence is in vdb_store_err(). VECDB_GPU: a GPU
**           was asked for by name and could not do it.
*/
#ifndef VDB_DEVICE_H
#define VDB_DEVICE_H
#include "index/graph.h"
#include "store/coll_int.h"
#include "store/search.h"

/* "off", "auto", "require" as VECDB_GPU_*; 0 if it is none of them. */
int  vdb_device_mode(const char *z);
const char *vdb_device_mode_name(int mode);

/* An exact batch (vdb_search_batch) over all rows, on the GPU if ss->gpu
** allows and it is worth it: then *used, and hits are those of the CPU, bit
** for bit. `s` is what the CPU would search. */
int  vdb_device_batch(struct session *ss, struct coll *c,
                      const struct search_request *q,
                      const struct flat_search *s, const void *queries,
                      size_t stride, size_t nq, struct vdb_hit *hit,
                      size_t *n_hit, bool *used);
/* The linker of graph.h; arg is a struct device_linker. VECDB_GPU: `code` says
** why, and nothing was reported. */
struct device_linker { int code; };
int  vdb_device_edges(void *arg, const struct vdb_graph_rows *rows,
                      const struct vdb_graph_linking *how, uint32_t *edge);
#endif
