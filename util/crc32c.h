/* crc32c.h -- CRC-32C (Castagnoli), the checksum of pages, frames, extents.
**
** crc = vdb_crc32c(seed, p, n); the seed of a fresh sum is 0, and the result
** of one call is the seed of the next (chaining). Hardware instructions are
** used where the CPU has them; the value is the same everywhere.
*/
#ifndef VDB_CRC32C_H
#define VDB_CRC32C_H
#include "util/common.h"
uint32_t vdb_crc32c(uint32_t seed, const void *p, size_t n);
/* For tests: what processors without wide registers do; the tables. */
uint32_t vdb_crc32c_plain(uint32_t seed, const void *p, size_t n);
uint32_t vdb_crc32c_soft(uint32_t seed, const void *p, size_t n);
#endif
