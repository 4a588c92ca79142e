/* dist_avx512.c -- the kernels for AVX-512 F, BW, VL, DQ, VNNI, VPOPCNTDQ.
**
** Nothing in this file may run before dispatch.c has asked the processor.
**
** The instructions are allowed by the pragma, not only by the flags of the
** build, so that the file also works inside an amalgamation.
*/
#include "simd/simd_int.h"
#if defined(VDB_SIMD_AVX512)
# include <immintrin.h>
# if defined(__clang__)
#  pragma clang attribute push(__attribute__((target( \
          "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq," \
          "fma,f16c"))), apply_to=function)
# else
#  pragma GCC push_options
#  pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq", \
                     "avx512vnni,avx512vpopcntdq,fma,f16c")
# endif
# include "simd/isa_avx512.h"
# include "simd/kernels.inc"
# if defined(__clang__)
#  pragma clang attribute pop
# else
#  pragma GCC pop_options
# endif
#else
typedef int vdb_no_avx512;     /* a file must not be empty */
#endif
