/* column_int.h -- the tables of column kernels, private to simd/. */
#ifndef VDB_COLUMN_INT_H
#define VDB_COLUMN_INT_H
#include "simd/column.h"
#include "simd/simd_int.h"
#include "util/bytes.h"

/* A range of integers as the words of column_kernels.inc take it: v is inside
** iff v-lo, without sign, is at most span. */
struct column_ints { uint64_t lo, span; };
struct column_reals { double lo, hi; };
/* The halves of 16 bytes. */
struct column_text { uint64_t want[2], mask[2]; };

extern const struct vdb_column_simd vdb_column_scalar;
extern const struct vdb_column_simd vdb_column_avx2;
extern const struct vdb_column_simd vdb_column_avx512;
#endif
