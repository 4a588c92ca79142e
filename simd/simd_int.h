/* simd_int.h -- the tables of kernels, private to simd/.
**
** Whether a table exists is decided by configure (VDB_HAVE_*); whether it may
** be used, by dispatch.c at run time.
*/
#ifndef VDB_SIMD_INT_H
#define VDB_SIMD_INT_H
#include "config.h"
#include "simd/half.h"
#include "simd/simd.h"

/* The AVX-512 path uses all of this; a compiler that lacks some has AVX2. */
#if defined(VDB_HAVE_AVX512) && defined(VDB_HAVE_AVX512VNNI) \
 && defined(VDB_HAVE_AVX512VPOPCNTDQ)
# define VDB_SIMD_AVX512 1
#endif
#if defined(VDB_HAVE_AVX2)
# define VDB_SIMD_AVX2 1
#endif

/* Which sum a kernel of kernels.inc computes. */
enum { KERNEL_L2SQ, KERNEL_DOT, KERNEL_L1 };

/* Bytes a kernel prefetches ahead. Measured: 2 KiB are too few for rows of 128
** bytes to 2 KiB, 16 KiB win nothing more. */
enum { KERNEL_AHEAD = 8192 };

static inline bool type_is_int(int type){
  return type==VECDB_I8 || type==VECDB_U8;
}

extern const struct vdb_simd vdb_simd_scalar;
extern const struct vdb_simd vdb_simd_avx2;
extern const struct vdb_simd vdb_simd_avx512;
#endif
