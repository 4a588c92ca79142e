/* intset.h -- a set of integers of any size, made once, asked often.
**
** Used by   store/ (IN lists, sets of keys).
** Threads   one that makes it; then any that read.
** Errors    NOMEM.
*/
#ifndef VDB_INTSET_H
#define VDB_INTSET_H
#include "util/common.h"

struct intset;
/* Of v[0..n-1], in any order, with or without doubles. */
int  vdb_intset_create(const int64_t *v, size_t n, struct intset **out);
void vdb_intset_destroy(struct intset *s);               /* NULL is fine */
/* Bit i of the result: is the number in the i-th of n <= 64 cells (8 bytes
** each, little-endian) in the set? */
uint64_t vdb_intset_word(const struct intset *s, const unsigned char *cell,
                         unsigned n);
#endif
