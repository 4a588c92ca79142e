/* freelist.h -- trunks of the free list, one by one and all at once; private
** to alloc.c and freelist.c. The rules are at the head of alloc.c.
*/
#ifndef VDB_FREELIST_H
#define VDB_FREELIST_H
#include "pager/pager_int.h"

struct run { page_no start; uint32_t n; txn_id txid; };   /* of free pages */

struct free_list {                  /* all of it, in memory */
  struct run *run; size_t n, n_cap;             /* entries */
  page_no *trunk; size_t n_trunk, n_trunk_cap;  /* in their order */
};

/* Entries of one trunk. */
static inline unsigned char *entry_at(unsigned char *trunk, uint32_t i){
  return trunk + FREETRUNK_SIZE + (size_t)i*FREEENTRY_SIZE;
}
uint32_t vdb_trunk_capacity(const struct pager *p);
void vdb_trunk_set(unsigned char *trunk, uint32_t i, struct run r);
int  vdb_trunk_entry(struct pager *p, struct page *trunk, uint32_t i,
                     struct run *out);             /* checked */
/* Pin a trunk and check its count. */
int  vdb_trunk_get(struct pager *p, page_no pgno, struct page **out,
                   uint32_t *n);

/* The whole list; *fl is all zero before the load, and cleared at the end. */
int  vdb_freelist_load(struct pager *p, struct free_list *fl);
void vdb_freelist_clear(struct free_list *fl);
/* Sort, and merge neighbours that were freed together or may be reused alike:
** up to `limit`. */
int  vdb_freelist_merge(struct pager *p, struct free_list *fl, txn_id limit);
/* Fewer entries need fewer trunks: the others become entries. */
int  vdb_freelist_spare(struct pager *p, struct free_list *fl);
/* Write the list: its runs, kept by its trunks, all of which are used. */
int  vdb_freelist_store(struct pager *p, const struct free_list *fl);
#endif
