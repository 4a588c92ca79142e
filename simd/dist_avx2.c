/* dist_avx2.c -- the kernels for AVX2, FMA and F16C, and compiled with them:
** nothing in this file may run before dispatch.c has asked the processor.
*/
#include "simd/simd_int.h"
#if defined(VDB_SIMD_AVX2)
# include "simd/isa_avx2.h"
# include "simd/kernels.inc"
#else
typedef int vdb_no_avx2;       /* a file must not be empty */
#endif
