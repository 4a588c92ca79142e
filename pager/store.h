/* store.h -- what the pager asks of a place where pages and extents live.
**
** Used by   pager/ alone. Implementations: store_file.c, store_mem.c,
**           store_outside.c.
** Threads   the connection's.
** Errors    VECDB_ codes, with a sentence in the pager's struct vdb_err.
**
** The pager keeps pages in its cache and before-images for savepoints; a
** store reads pages of the snapshot, takes dirty pages at commit (or earlier,
** as a spill), and keeps extents under a number. Stores differ in one more
** thing: where `has_runs` is set, extents are runs of pages and their numbers
** are page numbers given by the free list (alloc.c); elsewhere they count up.
**
** Calls come in this order: begin_read (begin_write (spill|commit|rollback)*
** )* end_read. commit and rollback end the write transaction; the pager calls
** end_read after them.
*/
#ifndef VDB_PAGE_STORE_H
#define VDB_PAGE_STORE_H
#include "pager/pcache.h"

/* Nobody gets that far; a number beyond was never given, and one more must
** not overflow, nor twice it (reader slots). */
#define TXID_MAX             ((txn_id)1<<62)

struct snapshot {
  txn_id  txid;                     /* the state that is read */
  txn_id  txid_write;               /* begin_write: number to write under */
  page_no n_page;                   /* pages, the header region included */
  uint64_t version;                 /* equal versions, equal states */
  bool is_undecided;                /* a PREPARE, which may be taken back; set
                                    ** by begin_read_at alone */
};

struct page_store;

struct page_store_ops {
  /* Ends everything and frees. is_child: after fork, release nothing that the
  ** parent holds too. */
  int  (*close)(struct page_store *s, bool is_child);

  /* Snapshot of the newest committed state. The store drops from the cache
  ** what is no longer true (vdb_pager_forget). */
  int  (*begin_read)(struct page_store *s, struct snapshot *out);
  void (*end_read)(struct page_store *s);
  /* Called in a snapshot of this store that need not be the newest:
  ** BUSY_SNAPSHOT then. lock_write comes first when the writer has no
  ** snapshot yet, so that it cannot be stale; unlock_write undoes it. */
  int  (*lock_write)(struct page_store *s);
  void (*unlock_write)(struct page_store *s);
  int  (*begin_write)(struct page_store *s, struct snapshot *io);

  /* Bytes of a page as of the snapshot, in WRITE also what this transaction
  ** spilled; unchecked. */
  int  (*read_page)(struct page_store *s, page_no pgno, void *buf);
  /* Take pages of the running transaction early. NULL: it cannot. */
  int  (*spill)(struct page_store *s, struct cpage *const *pages, size_t n);
  /* All or nothing; on failure the transaction goes on as if commit had not
  ** been called, unless the pager is poisoned. n_page: of the new state. */
  int  (*commit)(struct page_store *s, struct cpage *const *dirty, size_t n,
                 page_no n_page);
  void (*rollback)(struct page_store *s);

  /* Savepoints of a store that spills: a mark, and going back to it. undo
  ** forgets what was spilled since. May be NULL. */
  uint64_t (*mark)(struct page_store *s);
  void (*undo)(struct page_store *s, uint64_t mark);
  /* Call fn for each page that was spilled since the mark. */
  int  (*spilled)(struct page_store *s, uint64_t mark,
                  int (*fn)(struct pager *p, page_no pgno), struct pager *p);

  /* Extents. `no` is a page number or a plain number (has_runs), sz the
  ** payload. free may be called for what was created and is rolled back;
  ** the pager calls it only when nobody can need the bytes any more. */
  int  (*extent_write)(struct page_store *s, uint64_t no, const void *p,
                       size_t sz);
  int  (*extent_read)(struct page_store *s, uint64_t no, size_t off,
                      void *buf, size_t n);
  /* Bytes in place, until extent_unmap(*pin). UNSUPPORTED: read them; a store
  ** that never says so needs no extent_read. */
  int  (*extent_map)(struct page_store *s, uint64_t no, size_t sz,
                     const unsigned char **out, void **pin);
  void (*extent_unmap)(struct page_store *s, void *pin);
  int  (*extent_free)(struct page_store *s, uint64_t no);
  /* Pages freed by transactions up to this one may be written in place. */
  txn_id (*recycle_limit)(struct page_store *s);

  /* Two-phase commit. NULL: unsupported. */
  int  (*prepare)(struct page_store *s, struct cpage *const *dirty, size_t n,
                  page_no n_page, const unsigned char host[16],
                  uint64_t token);
  int  (*decide_orphan)(struct page_store *s, bool commit);
  int  (*in_doubt)(struct page_store *s, bool *in_doubt,
                   unsigned char host[16], uint64_t *token);
  int  (*begin_read_at)(struct page_store *s, uint64_t token,
                        struct snapshot *out);

  /* Commits that a host may still lose (undo.c). */
  int  (*undoable)(struct page_store *s, bool *undoable,
                   struct undo_tokens *out);
  int  (*rewind)(struct page_store *s, uint64_t token, uint64_t newest);

  /* Upkeep. NULL: unsupported, or nothing to do. */
  int  (*checkpoint)(struct page_store *s, int mode, uint64_t *n_log,
                     uint64_t *n_done);
  int  (*backup)(struct page_store *s, const char *path,
                 vdb_progress_cb progress, void *arg);
  int  (*replace)(struct page_store *s, const char *path_new);
  void (*stats)(struct page_store *s, struct pager_stats *out);
  /* After a commit, without a transaction: a good moment for upkeep. */
  void (*after_commit)(struct page_store *s);
  /* Alone with the file at the end: what to do before the last checkpoint.
  ** True: worth trimming the free tail. */
  bool (*close_begin)(struct page_store *s);
};

struct page_store {
  const struct page_store_ops *ops;
  struct pager *pager;
  uint32_t usable;                  /* bytes of a page */
  page_no  pg_first;                /* the root page; smaller ones are none */
  bool     has_runs;                /* extents are runs of pages */
  bool     is_hosted;               /* a host undoes what it was given since a
                                    ** shared savepoint, by itself (save.c) */
  bool     is_readonly;
  unsigned char uuid[16];           /* of the database */
};

int vdb_store_mem_open(struct pager *p, struct page_store **out);
int vdb_store_outside_open(struct pager *p, struct page_store **out);
int vdb_store_file_open(struct pager *p, struct page_store **out);
#endif
