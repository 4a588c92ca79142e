/* column.h -- which cells of a column lie in a range, as bits.
**
** Used by   store/ (filters).
** Threads   any; everything here is read-only after the first call.
** Errors    none; nothing allocates.
**
** A cell is what the store keeps of a value (format.def): INTEGER a signed
** number and REAL a double, 8 bytes each; BOOLEAN one byte; TEXT 16 bytes, the
** length in four and the first 12 bytes of the text, padded with zeros. All
** are little-endian, at any address, n of them side by side. Bit i%64 of
** out[i/64] says whether cell i is in; the bits beyond n are 0.
**
** The bits are the same on every instruction set.
*/
#ifndef VDB_COLUMN_H
#define VDB_COLUMN_H
#include "util/common.h"

#define VDB_COLUMN_WORDS(n)  (((size_t)(n)+63)/64)

struct vdb_column_simd {
  const char *name;
  /* lo <= cell <= hi; lo is at most hi. */
  void (*int_range)(const void *cell, size_t n, int64_t lo, int64_t hi,
                    uint64_t *out);
  /* lo <= cell <= hi; NaN is in no range. */
  void (*real_range)(const void *cell, size_t n, double lo, double hi,
                     uint64_t *out);
  /* cell == v */
  void (*byte_equal)(const void *cell, size_t n, uint8_t v, uint64_t *out);
  /* (cell & mask) == want, 16 bytes each. */
  void (*text_equal)(const void *cell, size_t n, const uint8_t *want,
                     const uint8_t *mask, uint64_t *out);
  /* The first 8 bytes of the text, as a big-endian number, are below or above
  ** `head`. */
  void (*text_order)(const void *cell, size_t n, uint64_t head,
                     uint64_t *below, uint64_t *above);
};

/* The kernels of vdb_simd(). */
const struct vdb_column_simd *vdb_column_simd(void);
#endif
