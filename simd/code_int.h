/* code_int.h -- the tables of code kernels, private to simd/. */
#ifndef VDB_CODE_INT_H
#define VDB_CODE_INT_H
#include "simd/code.h"
#include "simd/simd_int.h"

/* Before loops over registers: without it they stay in memory. */
#if defined(__clang__)
# define CODE_UNROLL  _Pragma("unroll")
#else
# define CODE_UNROLL  _Pragma("GCC unroll 8")
#endif

#define CODE_DOTS  8            /* rows that ci_dots takes */

extern const struct vdb_code_simd vdb_code_scalar;
extern const struct vdb_code_simd vdb_code_avx2;
extern const struct vdb_code_simd vdb_code_avx512;
#endif
