/* pca.h -- principal axes of a sample, with the same bits everywhere.
**
** Used by   index/graph_space.c (projected codes).
** Threads   vdb_pca_axes uses n_thread threads; the result does not depend on
**           how many.
** Errors    NOMEM.
*/
#ifndef VDB_PCA_H
#define VDB_PCA_H
#include "simd/code.h"
#include "util/common.h"

/* An orthonormal basis of the `w` directions of greatest variance of the rows
** (n x d floats): axes is w x d. The basis spans them; it is not sorted. w and
** d are multiples of 16. */
int vdb_pca_axes(const float *rows, size_t n, size_t d, size_t w,
                 uint64_t seed, unsigned n_thread, float *axes);

/* Replace the basis by a random rotation of it. w is a multiple of 64. */
int vdb_pca_mix(const struct vdb_code_simd *simd, float *axes, size_t w,
                size_t d, uint64_t seed);

/* Axes as signed bytes with a scale per row. */
void vdb_pca_bytes(const float *axes, size_t w, size_t d, int8_t *byte,
                   float *scale);
#endif
