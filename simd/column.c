/* column.c -- column kernels: which of them run. */
#include "simd/column_int.h"

const struct vdb_column_simd *vdb_column_simd(void){
  const struct vdb_simd *s = vdb_simd();
#if defined(VDB_SIMD_AVX512)
  if( s==&vdb_simd_avx512 ) return &vdb_column_avx512;
#endif
#if defined(VDB_SIMD_AVX2)
  if( s==&vdb_simd_avx2 ) return &vdb_column_avx2;
#endif
  VDB_UNUSED(s);
  return &vdb_column_scalar;
}
