/* pager.h -- transactions over pages: what every structure above is built on.
**
** Used by   pager/btree, parray, extent; store/.
** Threads   a struct pager is one connection, used by one thread at a time.
** Errors    VECDB_ codes; the sentence is in the struct vdb_err given at open.
**
** A pager is a page cache over one of three page stores (pager/store.h):
** file (WAL), memory, or an outside store (vecdb_page_store). The layers
** above cannot tell them apart.
**
** TRANSACTIONS   NONE --begin_read--> READ --begin_write--> WRITE
**   READ sees one committed state until end_read, whatever others do.
**   WRITE may begin from NONE or READ; commit and rollback go back to NONE.
**   Pages and extents may only be touched in READ or WRITE.
*/
#ifndef VDB_PAGER_H
#define VDB_PAGER_H
#include "util/common.h"
#include "util/err.h"

struct vecdb_file_ops;

struct pager_config {
  const char *path;                 /* NULL for memory and outside stores */
  uint32_t open_flags;              /* VECDB_OPEN_* */
  uint32_t sz_page;                 /* at creation; 0: 4096 */
  uint64_t sz_cache;                /* byte budget of the page cache */
  uint32_t sync;                    /* VECDB_SYNC_* */
  uint32_t busy_ms;
  bool     no_mmap;
  uint64_t sz_wal_auto;             /* automatic checkpoint beyond; 0: 4 MiB */
  uint64_t fixed_seed;              /* not 0: uuid and salts derive from it */
  const struct vecdb_page_store *store;   /* outside store, or NULL */
  const struct vecdb_file_ops *file;      /* NULL: the operating system */
  volatile int *interrupted;        /* polled in long loops; may be NULL */
};

struct pager;
int  vdb_pager_open(const struct pager_config *cfg, struct vdb_err *err,
                    struct pager **out);
int  vdb_pager_close(struct pager *p);           /* always frees */

enum pager_state { PAGER_NONE, PAGER_READ, PAGER_WRITE, PAGER_ERROR };
enum pager_state vdb_pager_state(const struct pager *p);
bool     vdb_pager_is_readonly(const struct pager *p);
uint32_t vdb_pager_usable(const struct pager *p);   /* bytes of a page */
struct vdb_err *vdb_pager_err(struct pager *p);
/* Changes exactly when the state that the current transaction sees differs
** from the one of an earlier call: key for caches above. In WRITE it changes
** with vdb_pager_touch, which every writer above calls after a change. */
uint64_t vdb_pager_version(const struct pager *p);
void     vdb_pager_touch(struct pager *p);
txn_id   vdb_pager_txid(const struct pager *p);     /* of the snapshot; in
                                                    ** WRITE: being written */
/* Counts how often the host of an outside store has undone what was committed:
** names and version numbers in pages may mean other contents since. */
uint64_t vdb_pager_n_forgotten(const struct pager *p);

int vdb_pager_begin_read(struct pager *p);
int vdb_pager_end_read(struct pager *p);
int vdb_pager_begin_write(struct pager *p);   /* BUSY, BUSY_SNAPSHOT, READONLY */
int vdb_pager_commit(struct pager *p);        /* on failure still in WRITE,
                                              ** unless PAGER_ERROR */
int vdb_pager_rollback(struct pager *p);      /* always ends in NONE */

/* Savepoints, numbered 0,1,2.. by depth. create returns the number of the new
** one; rollback_to(n) undoes to it and keeps it; release(n) forgets it and
** all inside it. */
int vdb_pager_savepoint(struct pager *p, unsigned *n);
int vdb_pager_release(struct pager *p, unsigned n);
int vdb_pager_rollback_to(struct pager *p, unsigned n);
unsigned vdb_pager_n_savepoint(const struct pager *p);
/* The owner of an outside store has made the same savepoint. */
void vdb_pager_share_savepoint(struct pager *p, unsigned n);

/* Two-phase commit (storage.md 3, sql.md 5.1). prepare leaves WRITE open. */
int vdb_pager_prepare(struct pager *p, const unsigned char host_uuid[16],
                      uint64_t token);
int vdb_pager_decide(struct pager *p, bool commit, bool undoable);
/* Commits that the host may still lose (undo.c). */
struct undo_tokens {
  unsigned char host[16];              /* who made them */
  uint64_t newest;                     /* token of the newest commit .. */
  uint64_t firm;                       /* .. and of the last that stays */
};
int vdb_pager_undoable(struct pager *p, bool *undoable,
                       struct undo_tokens *out);
int vdb_pager_rewind(struct pager *p, uint64_t token, uint64_t newest);
/* fn makes the host durable; called before a checkpoint that needs it. */
void vdb_pager_set_host(struct pager *p, int (*fn)(void *arg), void *arg);
/* Make names in the folder of path durable. */
int vdb_pager_sync_folder(struct pager *p, const char *path);
/* The commit belongs to the transaction of a host that has storage of its own:
** prepare brings everything there. */
bool vdb_pager_is_hosted(const struct pager *p);
/* Other connections can write beside this one: it is a file of ours. */
bool vdb_pager_is_shared(const struct pager *p);
int vdb_pager_in_doubt(struct pager *p, bool *in_doubt,
                       unsigned char host_uuid[16], uint64_t *token);
int vdb_pager_committed_token(struct pager *p, unsigned char host_uuid[16],
                              uint64_t *token);
int vdb_pager_begin_read_at(struct pager *p, uint64_t token);
/* READ, of a transaction that may still be rolled back. */
bool vdb_pager_reads_undecided(const struct pager *p);

/* ---- Pages ---------------------------------------------------------------
** Bytes 0..15 are the page header (PAGEHDR in format.def), kept by the pager
** except the type byte, which vdb_page_new sets. Content begins at
** PAGE_CONTENT. A page is pinned from get/new until unpin; its bytes may be
** changed only after vdb_page_write. A rollback (also to a savepoint) needs
** all pins released. */
#define PAGE_CONTENT 16

enum page_type {                    /* PAGEHDR.TYPE; 0 never occurs on disk */
  PAGE_ROOT = 1, PAGE_FREE = 2, PAGE_BTREE_LEAF = 3, PAGE_BTREE_NODE = 4,
  PAGE_OVERFLOW = 5, PAGE_PARRAY_DIR = 6, PAGE_PARRAY_DATA = 7,
  PAGE_EXTENT = 8, PAGE_COLLECTION = 9
};

struct page {
  unsigned char *data;              /* usable bytes, 64-byte aligned */
  page_no pgno;
  /* the rest belongs to the cache */
};

/* Pin page pgno, checked (bounds, checksum, number), of type `type`
** (0: any). CORRUPT names the page and what was expected. */
int  vdb_page_get(struct pager *p, page_no pgno, enum page_type type,
                  struct page **out);
/* The page, if it is in memory and of that type, without a pin: good until the
** next call that pins or makes one. Does not make it younger in the cache. */
const struct page *vdb_page_peek(struct pager *p, page_no pgno,
                                 enum page_type type);
/* Make a pinned page writable (WRITE only). NOMEM, FULL, IOERR_*. */
int  vdb_page_write(struct pager *p, struct page *pg);
/* A fresh, pinned, writable page, zero after the header. */
int  vdb_page_new(struct pager *p, enum page_type type, struct page **out);
/* Return a page to the free list. The caller's pin is consumed in all cases. */
int  vdb_page_free(struct pager *p, struct page *pg);
void vdb_page_unpin(struct pager *p, struct page *pg);     /* NULL is fine */
page_no vdb_pager_n_page(const struct pager *p);           /* loop bound */

/* ---- Words of the root page for the layers above: 8-byte values that start
** as 0 (catalog root, counters). */
enum root_word { ROOT_CATALOG = 0, ROOT_SCHEMA_COOKIE = 1,
                 ROOT_NEXT_COLLECTION = 2, ROOT_USER_MAX = 16 };
int vdb_root_get(struct pager *p, enum root_word w, uint64_t *out);
int vdb_root_set(struct pager *p, enum root_word w, uint64_t v);

/* ---- Upkeep -------------------------------------------------------------- */
typedef int (*vdb_progress_cb)(void *arg, const char *phase, const char *unit,
                               uint64_t done, uint64_t total);
int vdb_pager_checkpoint(struct pager *p, int mode, uint64_t *n_log,
                         uint64_t *n_done);
/* Copy the newest committed state to a new file at path (file stores), under
** a read snapshot. EXISTS when path exists. */
int vdb_pager_backup(struct pager *p, const char *path,
                     vdb_progress_cb progress, void *arg);
/* Replace this pager's file by the finished file at path_new, atomically; the
** pager is closed and opened again on it. BUSY unless alone, BUSY_SNAPSHOT
** when there is a newer state than the one this pager saw last. State NONE. */
int vdb_pager_replace_file(struct pager *p, const char *path_new);
const char *vdb_pager_path(const struct pager *p);         /* absolute, "" */
const struct vecdb_file_ops *vdb_pager_file_ops(const struct pager *p);
/* Of the database: given at creation, kept by backup and replace_file. */
void vdb_pager_uuid(const struct pager *p, unsigned char uuid[16]);

struct pager_stats {
  uint32_t sz_page;
  uint64_t n_page, n_free_page, sz_file, sz_wal;
  txn_id txid, ckpt_txid;
  uint64_t sz_cache, n_hit, n_miss, n_commit, n_sync, n_frame;
};
int  vdb_pager_stats(struct pager *p, struct pager_stats *out);
int  vdb_pager_set(struct pager *p, const char *name, int64_t value);
                                /* "busy_ms" "sync" "wal_bytes"; NOTFOUND */
uint32_t vdb_pager_busy_ms(const struct pager *p);
bool vdb_pager_interrupted(const struct pager *p);
int64_t vdb_pager_now_ms(const struct pager *p); /* of a clock that only rises */

/* ---- Checking ------------------------------------------------------------
** A census visits every structure; each page must be reached exactly once
** (by a structure, by the free list, or as part of an extent). */
struct census;
typedef void (*vdb_report_fn)(void *arg, int severity, const char *object,
                              const char *message);
int  vdb_census_begin(struct pager *p, bool quick, vdb_report_fn report,
                      void *arg, struct census **out);
/* One page is used by `what`; a second use is reported. False: do not follow
** it (out of range or seen before). */
bool vdb_census_page(struct census *c, page_no pgno, const char *what);
void vdb_census_report(struct census *c, int severity, const char *object,
                       const char *fmt, ...) VDB_PRINTF(4,5);
bool vdb_census_is_quick(const struct census *c);
/* The walk ended before its end, for this reason: what was not reached is no
** leak. */
void vdb_census_fail(struct census *c, int rc);
/* Free list, root, headers; then pages nobody reached are reported as leaks.
** *n_bad counts findings of severity 2. Frees c. */
int  vdb_census_end(struct census *c, uint64_t *n_bad);
#endif
