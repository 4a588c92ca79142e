/* dist_avx512.c -- the kernels for AVX-512 F, BW, VL, DQ, VNNI, VPOPCNTDQ, and
** compiled with them: nothing in this file may run before dispatch.c has asked
** the processor.
*/
#include "simd/simd_int.h"
#if defined(VDB_SIMD_AVX512)
# include "simd/isa_avx512.h"
# include "simd/kernels.inc"
#else
typedef int vdb_no_avx512;     /* a file must not be empty */
#endif
