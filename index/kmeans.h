/* kmeans.h -- k-means, defined to the bit.
**
** Used by   builds that divide rows into lists or code them by centroids.
** Threads   works on the calling thread and n_thread-1 more; `assign` is called
**           on the calling thread.
** Errors    NOMEM, INTERRUPT, and what the callbacks return.
**
** The result depends on rows, their order and the first centroids alone: not
** on the number of threads, the instruction set, or on who assigns rows to
** centroids (a GPU may), as the nearest one is defined exactly.
*/
#ifndef VDB_KMEANS_H
#define VDB_KMEANS_H
#include "util/common.h"

struct vdb_kmeans {
  const float *rows;           /* n x d, finite */
  uint32_t n, d, k;
  bool is_unit;                /* centroids are scaled to length 1 */
  uint32_t n_round;            /* at most; 0: 12 */
  unsigned n_thread;           /* 0 and 1: the calling thread */
  /* list[i] = the centroid nearest to row i by canonical l2, the first of those
  ** equally near. NULL: computed here. */
  int (*assign)(void *arg, const float *centroid, uint32_t *list);
  int (*progress)(void *arg, double done);   /* nonzero: INTERRUPT; or NULL */
  void *arg;
};

/* centroid (k x d) holds the first ones and becomes the last ones; list (n) is
** the assignment to these. *n_round (may be NULL) is how often they moved. */
int vdb_kmeans_run(const struct vdb_kmeans *p, float *centroid,
                   uint32_t *list, uint32_t *n_round);
#endif
