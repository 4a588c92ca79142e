/* parray.h -- paged arrays: fixed-width elements by number, sparse, on pages.
**
** Used by   store/: metadata columns, tombstones, slot -> key, delta rows.
** Threads   the connection's. Errors: VECDB_ codes.
**
** A radix tree of directory pages over data pages. Elements never written
** (or freed) read as zero bytes. Elements no wider than a page's content lie
** floor(content/width) to a page and never straddle; wider ones take whole
** pages each. Named by the root page, whose number never changes; the width
** is stored there. Layouts PARRAYDIR and PARRAYDATA in format.def. After a
** failed put or clear (but RANGE) the caller rolls back, at least to a
** savepoint.
*/
#ifndef VDB_PARRAY_H
#define VDB_PARRAY_H
#include "pager/pager.h"

#define PARRAY_WIDTH_MAX (8u<<20)

int vdb_parray_create(struct pager *p, uint32_t width, page_no *root);
int vdb_parray_destroy(struct pager *p, page_no root);
int vdb_parray_width(struct pager *p, page_no root, uint32_t *width);

/* Elements i..i+n-1 into out, or from `in`. put: RANGE beyond 2^40 pages. */
int vdb_parray_get(struct pager *p, page_no root, uint64_t i, size_t n,
                   void *out);
int vdb_parray_put(struct pager *p, page_no root, uint64_t i, size_t n,
                   const void *in);
/* Elements at[0..n-1] into out, one behind the other. */
int vdb_parray_gather(struct pager *p, page_no root, const uint32_t *at,
                      size_t n, void *out);
/* Zero elements lo..hi-1 (hi may be UINT64_MAX); data pages that lie wholly
** inside, or hold nothing else, go back to the free list. */
int vdb_parray_clear(struct pager *p, page_no root, uint64_t lo, uint64_t hi);

/* Visit lo..hi-1 in order without copying: fn gets runs of packed elements;
** absent pages come as data == NULL (all zero). A nonzero return stops and is
** returned. Widths beyond a page come one element at a time, copied. */
typedef int (*vdb_parray_fn)(void *arg, uint64_t i, size_t n,
                             const unsigned char *data);
int vdb_parray_scan(struct pager *p, page_no root, uint64_t lo, uint64_t hi,
                    vdb_parray_fn fn, void *arg);

int vdb_parray_check(struct pager *p, struct census *c, page_no root,
                     const char *what);
#endif
