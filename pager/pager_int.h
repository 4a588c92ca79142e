/* pager_int.h -- what the files of the pager share; private to pager/.
**
** pager.c transactions · upkeep.c facts, settings, upkeep · page.c pages ·
** save.c savepoints · root.c the root page · alloc.c, freelist.c free pages ·
** extent.c extents · census.c checking · store_*.c the stores.
*/
#ifndef VDB_PAGER_INT_H
#define VDB_PAGER_INT_H
#include "pager/file.h"
#include "pager/format.h"
#include "pager/pager.h"
#include "pager/pcache.h"
#include "pager/pgset.h"
#include "pager/store.h"
#include "util/bytes.h"
#include "util/mem.h"

#define PAGER_CACHE_DEFAULT  (64u<<20)
#define PAGER_CACHE_MIN      (256u<<10)
#define PAGER_WAL_DEFAULT    (4u<<20)
#define PAGER_NPAGE_MAX      0xfffffffeu
#define VDB_IS_CORRUPT(rc)   (((rc) & 0xff)==VECDB_CORRUPT)
#define EXTENT_CHUNK         4096u      /* bytes under one checksum */

/* A list of extent numbers: created or freed by the running transaction. */
struct extent_log { uint64_t *no; size_t n, n_cap; };

struct save_image {                 /* a page as a savepoint found it */
  page_no pgno;
  struct cpage *image;              /* in memory, or .. */
  uint64_t i_file;                  /* .. page i_file-1 of the undo file; both
                                    ** 0: it was no page of any structure */
};

struct save {                       /* a savepoint */
  struct save_image *images;        /* in order of the first change */
  size_t n, n_cap;
  struct pgset seen;                /* their page numbers */
  uint64_t mark;                    /* of the store */
  uint64_t version;                 /* of the pager, back then .. */
  page_no n_page;                   /* .. and its number of pages */
  size_t n_created, n_freed;        /* length of the extent logs, back then */
  bool is_shared;                   /* the host has made one, too (S5) */
};

struct verified;                    /* extent.c: checked checksums, by extent */
struct extent_cache;                /* extent.c: extents in the heap */

struct pager {
  struct pager_config cfg;          /* path is ours */
  const struct vecdb_file_ops *ops; /* the file layer, for clock and pid too */
  struct vdb_err *err;
  struct vdb_err err_own;           /* when the caller gave none */
  struct page_store *store;
  struct pcache cache;
  int64_t pid;                      /* who opened it */
  char *name;                       /* quoted path, for messages */
  char *path_full;                  /* absolute; of the file store, or NULL */

  enum pager_state state;
  bool is_poisoned;                 /* a sync failed: P3 */
  bool is_prepared;                 /* WRITE: the store holds a PREPARE */
  bool is_undoable;                 /* the commit under way may be undone */
  int  (*host_fn)(void *arg);       /* makes the host durable; NULL: none */
  void *host_arg;
  bool is_changed;                  /* WRITE: since begin, or since PREPARE */
  struct snapshot snap;
  page_no n_page;                   /* now; in WRITE it moves */
  page_no n_page_high;              /* WRITE: largest n_page so far */
  bool no_reuse;                    /* WRITE: extents only at the end (A4) */

  uint64_t n_forgotten;             /* times a host went back, see pager.h */
  uint64_t version;                 /* of what is seen now */
  uint64_t version_last;            /* highest ever given */
  uint64_t version_begin;           /* WRITE: at its begin */
  uint64_t version_snap;            /* snap.version that `version` is for */

  struct save *save;                /* savepoints, outermost first */
  size_t n_save, n_save_cap;
  unsigned i_undo;                  /* the savepoint being undone to */
  bool no_spill;                    /* while that, or a commit, goes on */
  size_t n_image;                   /* before-images in memory */
  struct vdb_file *undo;            /* holds the others; NULL: none yet */
  uint64_t n_undo;                  /* pages in it */
  struct extent_log created, freed; /* WRITE, numbered extents */
  struct extent_cache *extents;     /* in the heap, and checked checksums */
  uint64_t sz_run_none;             /* alloc.c: no run this long is free */
  uint64_t n_commit, n_sync, n_frame;
};

/* pager.c */
/* Same process (P4); the others also: state NONE (else MISUSE: cannot `verb`
** inside a transaction), and no sync has failed (P3). */
int  vdb_pager_enter(struct pager *p);
int  vdb_pager_enter_none(struct pager *p, const char *verb);
int  vdb_pager_not_poisoned(struct pager *p);
int  vdb_pager_use(struct pager *p);         /* READ or WRITE, same process */
int  vdb_pager_use_write(struct pager *p);   /* WRITE */
const char *vdb_pager_name(const struct pager *p);   /* for messages */
/* Random bytes; with a fixed seed they follow from it and the context. */
void vdb_pager_random(struct pager *p, uint64_t context, void *buf, size_t n);
/* A sync failed: nothing but rollback and close works from here on. */
void vdb_pager_poison(struct pager *p);
/* The page may differ from what the cache holds; pgno 0: every page. */
void vdb_pager_forget(struct pager *p, page_no pgno);

/* page.c */
void vdb_page_seal(unsigned char *data, uint32_t usable, page_no pgno,
                   txn_id txid);
int  vdb_page_verify(struct pager *p, const unsigned char *data, page_no pgno);
/* The same without a message. */
bool vdb_page_verify_bytes(const unsigned char *data, uint32_t usable,
                           page_no pgno);
/* Fresh, pinned, dirty and zero; the number is the caller's. What the page
** held is of no interest, also to a savepoint (else: vdb_page_write first). */
int  vdb_page_make(struct pager *p, page_no pgno, enum page_type type,
                   struct page **out);
int  vdb_page_load(struct pager *p, page_no pgno, struct cpage **out);
static inline struct cpage *cpage_of(struct page *pg){
  return (struct cpage*)(void*)pg;
}

/* save.c */
int  vdb_save_before_change(struct pager *p, struct cpage *cp);
int  vdb_save_before_new(struct pager *p, page_no pgno);
bool vdb_save_lets_spill(const struct pager *p, page_no pgno);      /* S5 */
void vdb_save_clear(struct pager *p);        /* forget all savepoints */
void vdb_save_close(struct pager *p);        /* and the undo file */

/* root.c */
void vdb_root_format(unsigned char *data, uint32_t usable, page_no pg_root);
int  vdb_root_set_token(struct pager *p, const unsigned char host[16],
                        uint64_t token);
int  vdb_root_get_token(struct pager *p, unsigned char host[16],
                        uint64_t *token);
/* Write the number of the transaction into the root: stores that do not keep
** it elsewhere read it there. */
int  vdb_root_touch(struct pager *p);
int  vdb_root_page(struct pager *p, struct page **out);
int  vdb_root_write(struct pager *p, struct page **out);   /* pinned, dirty */
void vdb_root_add_free(struct page *root, int64_t n);
int  vdb_alloc_number(struct pager *p, uint64_t *out);     /* of an extent */

/* alloc.c, freelist.c */
int  vdb_alloc_page(struct pager *p, enum page_type type, struct page **out);
int  vdb_alloc_free(struct pager *p, page_no start, uint32_t n, txn_id txid);
int  vdb_alloc_run(struct pager *p, uint32_t n, page_no *out);
int  vdb_alloc_trim(struct pager *p, bool *trimmed);
int  vdb_alloc_check(struct pager *p, struct census *c);
/* Call fn for each page that transaction txid, the running one, has freed and
** not used again. Trunks are in use. */
int  vdb_alloc_each_freed(struct pager *p, txn_id txid,
                          int (*fn)(void *arg, page_no pgno), void *arg);

/* extent.c */
int  vdb_extents_init(struct pager *p);
void vdb_extents_reset(struct pager *p);       /* empty, as after init */
void vdb_extents_clear(struct pager *p);
void vdb_extents_end_txn(struct pager *p);   /* no pin is left */
/* Extents created since n_created are void, frees since n_freed are not to
** be done (a savepoint, or 0,0: all of the transaction). */
void vdb_extents_undo(struct pager *p, size_t n_created, size_t n_freed);
/* The frees of numbered extents; the transaction may go on, and yet be undone
** in part. */
int  vdb_extents_free_logged(struct pager *p);
void vdb_extents_forget(struct pager *p);    /* nothing known is valid */

/* census.c */
/* As vdb_census_page for n pages, and their bytes are not looked at. */
void vdb_census_run(struct census *c, page_no start, uint32_t n,
                    const char *what);
#endif
