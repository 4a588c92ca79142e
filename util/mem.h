/* mem.h -- the only way to memory (the only caller of malloc and free).
**
** Used by   everything. Threads: any.
** Errors    NULL when out of memory; callers return VECDB_NOMEM.
**
** A block remembers its size, so the bytes in use are exact and a test can
** ask for zero at the end. Requests of 0 bytes return a valid pointer.
*/
#ifndef VDB_MEM_H
#define VDB_MEM_H
#include "util/common.h"

void *vdb_malloc(size_t sz);
void *vdb_calloc(size_t n, size_t sz);           /* checks n*sz, zero filled */
void *vdb_realloc(void *p, size_t sz);           /* p may be NULL */
void *vdb_malloc_array(size_t n, size_t sz);     /* checks n*sz */
void  vdb_free(void *p);                         /* NULL is fine */
char *vdb_strdup(const char *z);                 /* NULL in, NULL out */
char *vdb_strndup(const char *z, size_t n);
void *vdb_memdup(const void *p, size_t n);

/* Blocks aligned to 64 bytes (vectors, pages). Freed with vdb_free_aligned. */
void *vdb_malloc_aligned(size_t sz);
void  vdb_free_aligned(void *p);

/* Ask for huge pages under a large block that is read at random. Only a wish. */
void  vdb_mem_prefer_huge(void *p, size_t sz);

/* Grow *p (elements of sz bytes, capacity *n_cap) to hold at least n_want,
** doubling. NOMEM leaves everything as it was. */
int vdb_grow(void *pp, size_t *n_cap, size_t n_want, size_t sz);

struct vdb_mem_stats { uint64_t n_block, sz_now, sz_peak, n_call; };
void vdb_mem_stats(struct vdb_mem_stats *out);

/* Test hook: the n-th call from now fails (n=1: the next one); when `for_ever`
** every later one too. n=0 switches the hook off. Returns how many failures
** were injected since it was last set. */
uint64_t vdb_mem_fail_at(uint64_t n, bool for_ever);
#endif
