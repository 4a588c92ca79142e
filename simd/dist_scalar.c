/* dist_scalar.c -- the kernels in portable C. */
#include "simd/simd_int.h"
#include "simd/isa_scalar.h"
#include "simd/kernels.inc"
