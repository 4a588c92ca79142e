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

extern const struct vdb_simd vdb_simd_scalar;
extern const struct vdb_simd vdb_simd_avx2;
extern const struct vdb_simd vdb_simd_avx512;
#endif
