/* pcache.h -- pages in memory: a hash table, a list of dirty pages, and an
** LRU list of what may be dropped.
**
** Used by   the pager alone. Threads: one connection, one cache.
** Errors    VECDB_NOMEM from vdb_pcache_add, nothing else can fail.
**
** The cache knows nothing of stores and transactions. Its budget also counts
** bytes that the pager keeps elsewhere (extents read into the heap), which it
** is told of through sz_other. When nothing can be dropped it grows beyond
** the budget: whoever adds pages asks vdb_pcache_is_over first and makes room
** by writing dirty pages out.
*/
#ifndef VDB_PCACHE_H
#define VDB_PCACHE_H
#include "pager/pager.h"

/* One cached page. Its bytes and this struct are one block of memory. */
struct cpage {
  struct page pub;                  /* what users see; must be first */
  struct cpage *hash_next;          /* in its bucket */
  struct cpage *prev, *next;        /* in the LRU or the dirty list, if any */
  uint32_t n_pin;                   /* users holding it */
  bool is_dirty;                    /* in the dirty list */
  uint64_t i_txn;                   /* pcache.i_txn: maybe written out by the
                                    ** running transaction, not what is
                                    ** committed; an older one, or 0: not */
};

struct cpage_list { struct cpage *first, *last; };

struct pcache {
  uint32_t sz_page;                 /* bytes of a page */
  uint64_t sz_max;                  /* the budget */
  uint64_t sz_other;                /* bytes kept elsewhere under it */
  size_t n_page, n_dirty;           /* pages held, and dirty ones */
  struct cpage **bucket;            /* n_bucket of them, a power of two */
  size_t n_bucket;
  struct cpage_list lru;            /* clean and unpinned, oldest first */
  struct cpage_list dirty;          /* in order of becoming dirty */
  size_t n_pin;                     /* pins held, over all pages */
  uint64_t i_txn;                   /* counts transactions that wrote out */
  bool has_in_txn;                  /* some page may be is_in_txn */
  uint64_t n_hit, n_miss;
};

int  vdb_pcache_init(struct pcache *pc, uint32_t sz_page, uint64_t sz_max);
void vdb_pcache_clear(struct pcache *pc);        /* frees everything */
uint64_t vdb_pcache_bytes(const struct pcache *pc);
bool vdb_pcache_is_over(const struct pcache *pc);  /* one page more is */
/* Drop clean pages until the budget is met or none is left. */
void vdb_pcache_shrink(struct pcache *pc);

struct cpage *vdb_pcache_find(struct pcache *pc, page_no pgno);  /* no pin */
/* A page that is not there yet, clean, pinned once, its bytes undefined. */
int  vdb_pcache_add(struct pcache *pc, page_no pgno, struct cpage **out);
void vdb_pcache_pin(struct pcache *pc, struct cpage *cp);
void vdb_pcache_unpin(struct pcache *pc, struct cpage *cp);
void vdb_pcache_set_dirty(struct pcache *pc, struct cpage *cp);
void vdb_pcache_set_clean(struct pcache *pc, struct cpage *cp);
static inline bool vdb_cpage_is_in_txn(const struct pcache *pc,
                                       const struct cpage *cp){
  return cp->i_txn==pc->i_txn;
}
static inline void vdb_cpage_set_in_txn(const struct pcache *pc,
                                        struct cpage *cp, bool on){
  cp->i_txn = on ? pc->i_txn : 0;
}
/* Clean, because the running transaction has written it out. */
void vdb_pcache_set_written(struct pcache *pc, struct cpage *cp);
/* Forget a page without pins, dirty or not. NULL is fine. */
void vdb_pcache_drop(struct pcache *pc, struct cpage *cp);
/* Forget every page that is not pinned and not dirty, or just the dirty and
** is_in_txn ones (what a rollback undoes). */
void vdb_pcache_drop_clean(struct pcache *pc);
void vdb_pcache_drop_txn(struct pcache *pc);
/* No page is of the running transaction any more. */
void vdb_pcache_end_txn(struct pcache *pc);

/* A page that is in no cache: a before-image. NULL: no memory. */
struct cpage *vdb_cpage_create(const struct pcache *pc, page_no pgno);
struct cpage *vdb_cpage_copy(const struct pcache *pc, const struct cpage *cp);
void vdb_cpage_free(struct cpage *cp);           /* NULL is fine */
/* Put a before-image in place of whatever the cache holds (not pinned), as a
** dirty page. Cannot fail; the image is the cache's afterwards. */
void vdb_pcache_restore(struct pcache *pc, struct cpage *image);
#endif
