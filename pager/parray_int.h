/* parray_int.h -- what the files of paged arrays share; private to pager/.
**
** LAYOUT   PARRAYDIR and PARRAYDATA in format.def. The root is a directory of
**          some height h >= 1; a directory of height 1 names data pages, one
**          of height h directories of height h-1; 0 names nothing, and what
**          lies there reads as zero. Data pages are numbered from 0 through
**          the whole array; page d is found by the digits of d in base
**          fan-out. The array grows in height by moving the root's content
**          down into a new page, so the root keeps its number.
** NARROW   elements (width <= content of a page): `per` of them to a page.
** WIDE     elements: `k` pages each; per is 0.
**
** BYTES    Both kinds are handled through one map: data page d holds bytes
**          begin(d) .. begin(d)+len(d)-1 of the packed array (element i at
**          i*width). Page numbers are limited to PARRAY_PAGE_MAX, so these
**          byte numbers fit 64 bits.
**
** INVARIANTS
**   P1  Width is the same in all directories; heights fall by one a step.
**   P2  USED counts a directory's entries that are not 0; only the root's
**       may be 0.
**   P3  A walk visits no more pages than the database has: a damaged
**       directory that repeats itself ends as CORRUPT, not as a long wait.
**   P4  Nothing is pinned between two calls.
*/
#ifndef VDB_PARRAY_INT_H
#define VDB_PARRAY_INT_H
#include "pager/parray.h"
#include "pager/format.h"
#include "pager/pager_int.h"

#define PARRAY_HEIGHT_MAX  5                /* reaches PARRAY_PAGE_MAX */
#define PARRAY_PAGE_MAX    ((uint64_t)1<<40)

struct parray {                     /* one operation on one array */
  struct pager *p;
  page_no root;
  uint32_t width;                   /* bytes of an element */
  uint32_t per;                     /* narrow: elements of a page; wide: 0 */
  uint32_t k;                       /* pages of an element; narrow: 1 */
  uint32_t content;                 /* bytes of a data page */
  uint32_t fanout;                  /* entries of a directory */
  unsigned height;                  /* of the root */
  uint64_t n_elem_max;              /* elements that may be addressed */
  uint64_t budget;                  /* pages this call may still visit (P3) */
};

#define PARRAY_CORRUPT(a, pgno, fmt, ...) \
  VDB_CORRUPT(vdb_pager_err((a)->p), "page %u of %s: array %u: " fmt, \
              (unsigned)(pgno), vdb_pager_name((a)->p), \
              (unsigned)(a)->root, __VA_ARGS__)

/* Bytes of one data page: see vdb_parray_span. */
struct array_span { uint64_t at; uint32_t off, n; };

/* Pin the root and learn width and height from it. */
int vdb_parray_open(struct parray *a, struct pager *p, page_no root,
                    struct page **out);
/* Pin a directory below the root, or a data page (height 0). */
int vdb_parray_node(struct parray *a, page_no pgno, unsigned height,
                    struct page **out);
page_no vdb_parray_entry(const struct page *dir, uint32_t i);
/* Set an entry of a writable directory, keeping P2. */
int vdb_parray_set_entry(const struct parray *a, struct page *dir, uint32_t i,
                         page_no pgno);
/* Data pages below a directory entry of this height (0: 1 page). */
uint64_t vdb_parray_reach(const struct parray *a, unsigned height);
/* Data pages lo..hi-1 hold elements i..j-1 (i<j<=n_elem_max). */
void vdb_parray_pages(const struct parray *a, uint64_t i, uint64_t j,
                      uint64_t *lo, uint64_t *hi);
/* The part of bytes b_lo..b_hi-1 of the packed array that lies on data page
** d: `n` bytes at `off` of its content, which are bytes `at`.. of the array. */
struct array_span vdb_parray_span(const struct parray *a, uint64_t d,
                                  uint64_t b_lo, uint64_t b_hi);

/* Called for every data page that exists in a range, in order. */
typedef int (*array_page_fn)(void *arg, uint64_t d, struct page *pg);
/* Visit data pages lo..hi-1 of an open array. */
int vdb_parray_walk(struct parray *a, struct page *root, uint64_t lo,
                    uint64_t hi, array_page_fn fn, void *arg);

static inline bool vdb_parray_is_zero(const unsigned char *p, size_t n){
  return n==0 || (p[0]==0 && memcmp(p, p+1, n-1)==0);
}
#endif
