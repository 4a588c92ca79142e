/* fstore.h -- what the files of the file store share; private to pager/.
**
** store_file.c snapshots and transactions · life.c opening, closing ·
** header.c header slots · wal.c appending · wal_scan.c reading the log ·
** walindex.c which frame holds a page · shm.c shared memory, reader slots ·
** lock.c locks and waiting · ckpt.c checkpoints · map.c mapped extents ·
** twophase.c prepared transactions · undo.c commits that may be undone · view.c readers without shared memory ·
** backup.c copies.
**
** The rules that hold these together are in store_file.c, the locks and their
** order in doc/locking.md.
*/
#ifndef VDB_FSTORE_H
#define VDB_FSTORE_H
#include "pager/pager_int.h"
#include "pager/walindex.h"
#include "util/rng.h"

/* ---- locks (lock.c) ------------------------------------------------------ */

#define LOCK_LIFE     ((uint64_t)1<<62)      /* of the main file */
#define LOCK_VIEW     (((uint64_t)1<<62)+1)  /* of the main file */
#define LOCK_WRITER   0u                     /* these are of the shm file */
#define LOCK_CKPT     1u
#define LOCK_SLOT(i)  (16u + (unsigned)(i))
#define N_SLOT        376
#define N_OWN         256                    /* the first of them, see shm.c */

/* A point in time until which a lock is waited for. */
struct deadline { int64_t end_ms; unsigned n_wait; };

/* ---- header slots (header.c) --------------------------------------------- */

#define HEADER_VERSION       1
#define HEADER_CHECKPOINTING 1u              /* HDRSLOT.FLAGS */
#define HEADER_CREATING      2u
#define HEADER_SLOT_OFF(i)   ((uint64_t)(i)*4096)

struct header {
  uint32_t flags, sz_page;
  unsigned char uuid[16];
  uint64_t seq;
  txn_id   txid;
  uint64_t salt;
  page_no  n_page, pg_root;
  uint64_t seed;
  txn_id   target;                     /* with HEADER_CHECKPOINTING */
  bool     is_readonly;                /* unknown bits say: do not write */
  unsigned i_slot;                     /* where it was read, 0 or 1 */
};

/* ---- state of the log (shm.c) -------------------------------------------- */

/* SHMHDR as numbers. off_end is 0 while the -wal file has no valid header:
** the next writer begins a log. */
struct log_state {
  uint64_t change, generation, salt;
  uint64_t n_frame, n_visible, off_end;
  uint32_t crc;
  txn_id   txid, txid_used;
  txn_id   txid_firm;                  /* <= txid: later ones may be undone,
                                       ** but see vdb_undo_firm */
  page_no  n_page;
  uint64_t synced;
  txn_id   prep_txid;                  /* 0: nothing is undecided */
  page_no  prep_n_page;
  uint64_t prep_token;
  unsigned char prep_host[16];
};

/* SHM.BACKFILL: which frames of which log are home. */
#define BACKFILL(gen, n)     ((uint64_t)(uint32_t)(gen)<<32 | (uint32_t)(n))
#define BACKFILL_GEN(w)      ((uint32_t)((w)>>32))
#define BACKFILL_N(w)        ((uint32_t)(w))

/* FRAME.FLAGS of a COMMIT. */
#define FRAME_UNDOABLE       1u

#define SLOT_WORD(txid, main_only)  ((uint64_t)(txid)<<1 | (main_only))
#define SLOT_USED            1u        /* free, but not the end of the list */

enum frame_kind { FRAME_PAGE = 1, FRAME_COMMIT, FRAME_PREPARE, FRAME_ABORT };

enum fstore_mode {
  FSTORE_SHARED,                       /* locks and shared memory */
  FSTORE_VIEW,                         /* read only, no right to write shm */
  FSTORE_IMMUTABLE                     /* read only, nobody writes */
};

struct map_window;

struct fstore {
  struct page_store base;
  const struct vecdb_file_ops *ops;
  struct vdb_err *err;                 /* the pager's */
  enum fstore_mode mode;
  char *path, *path_wal, *path_shm;    /* absolute */
  struct vdb_file *main, *wal, *shm;   /* wal is opened when first needed */
  uint32_t sz_page;
  struct header header;                /* as last read or written by us */
  bool is_last;                        /* closing, LIFE held exclusively */

  /* The snapshot, between begin_read and end_read. */
  struct log_state log;                /* as of its begin, or our last commit */
  int      i_slot;                     /* reader slot held, -1: none */
  int      i_own;                      /* reader slot we own, -1: none .. */
  unsigned n_share;                    /* .. and are not to ask for yet */
  uint64_t min_frame, max_frame;       /* frames in (min,max] are visible */

  struct walindex ix;                  /* frames of generation ix.generation */

  /* What the pager's cache is valid for. */
  txn_id   cache_txid;
  uint64_t cache_generation, cache_frame;

  /* The write transaction. */
  bool has_write;                      /* LOCK_WRITER is held */
  bool is_appending;                   /* append_begin was done .. */
  uint64_t n_base;                     /* .. when the log had so many frames */
  bool is_main_dirty;                  /* extents were written, not synced */
  uint64_t n_prepared;                 /* frames up to our PREPARE, or 0 */
  txn_id recycle_limit;                /* 0: not known yet */
  unsigned char *buf;                  /* frames not yet written .. */
  size_t n_buf, sz_buf;                /* .. their bytes, and its size */
  uint64_t off_buf;                    /* .. and where they go */

  struct map_window *windows;          /* map.c */
};

static inline struct fstore *fstore_of(struct page_store *s){
  return (struct fstore*)(void*)s;
}
static inline uint64_t page_offset(const struct fstore *fs, page_no pgno){
  return (uint64_t)pgno * fs->sz_page;
}

/* lock.c */
struct deadline vdb_deadline(const struct fstore *fs, uint32_t wait_ms);
/* Sleep a little; false when the time is up. */
bool vdb_deadline_wait(const struct fstore *fs, struct deadline *d);
/* Try until the deadline. BUSY without a sentence. */
int  vdb_lock_wait(struct fstore *fs, struct vdb_file *f, uint64_t byte,
                   enum file_lock_kind kind, struct deadline *d);
int  vdb_lock_writer(struct fstore *fs, uint32_t wait_ms);
void vdb_unlock_writer(struct fstore *fs);

/* header.c */
int  vdb_header_read(struct fstore *fs, struct header *out);
int  vdb_header_write(struct fstore *fs, struct header *h);  /* other slot */
int  vdb_header_sync(struct fstore *fs);       /* the main file; poisons */
bool vdb_header_is_unborn(struct fstore *fs, int *rc);
int  vdb_header_create(struct fstore *fs);

/* shm.c */
int  vdb_shm_read(struct fstore *fs, struct log_state *out);
void vdb_shm_publish(struct fstore *fs, struct log_state *st);  /* change++ */
uint64_t vdb_shm_change(struct fstore *fs);
int  vdb_slot_claim(struct fstore *fs, txn_id txid, bool main_only);
void vdb_slot_release(struct fstore *fs);
/* Smallest txid of a held slot below `limit`, else limit. */
txn_id vdb_slot_oldest(struct fstore *fs, txn_id limit);
/* No reader needs the log; ours then needs the main file alone. */
bool vdb_slot_none_in_log(struct fstore *fs);

/* wal_scan.c */
uint32_t vdb_frame_crc(uint32_t seed, const unsigned char *header,
                       const void *payload, size_t n);
void vdb_wal_header_encode(const struct fstore *fs, unsigned char *b,
                           uint64_t generation, uint64_t salt, txn_id txid);
size_t vdb_frame_payload(const struct fstore *fs, unsigned kind);
/* Open the -wal file. NOTFOUND without a sentence when there is none. */
int  vdb_wal_open(struct fstore *fs, bool create);
/* Is there a log with a valid header that names the uuid? Leaves it closed. */
int  vdb_wal_exists_of(struct fstore *fs, const unsigned char uuid[16],
                       bool *yes);
/* Read the log from disk and find where it ends: fills *st, and the index.
** Reports rot as CORRUPT_WAL. The caller holds the write lock, or is alone,
** or is a view. */
int  vdb_wal_recover(struct fstore *fs, struct log_state *st);
/* Make the index hold frames 1..st->n_frame of the log, which are known to be
** good. */
int  vdb_wal_follow(struct fstore *fs, const struct log_state *st);

/* wal.c */
int  vdb_wal_spill(struct fstore *fs, struct cpage *const *pages, size_t n);
int  vdb_wal_commit(struct fstore *fs, struct cpage *const *pages, size_t n,
                    page_no n_page);
int  vdb_wal_prepare(struct fstore *fs, struct cpage *const *pages, size_t n,
                     page_no n_page, const unsigned char host[16],
                     uint64_t token);
/* Append one COMMIT or ABORT for the prepared transaction and publish. */
int  vdb_wal_decide(struct fstore *fs, bool commit, bool undoable);
void vdb_wal_rollback(struct fstore *fs);
void vdb_wal_undo(struct fstore *fs, uint64_t mark);
/* Begin a new generation if nobody needs the old one; *done says so. The
** caller holds the write lock. */
int  vdb_wal_restart(struct fstore *fs, bool *done);
int  vdb_wal_sync(struct fstore *fs);          /* poisons */
/* Sync what recovery found, and note in *st that it is synced. */
int  vdb_wal_sync_found(struct fstore *fs, struct log_state *st);

/* ckpt.c */
int  vdb_ckpt_run(struct fstore *fs, int mode, uint32_t wait_ms,
                  uint64_t *n_log, uint64_t *n_done);
/* Everything home and the log not needed any more; we are alone. */
int  vdb_ckpt_finish(struct fstore *fs, bool *all_home);
/* Bring home the state of this transaction and begin a new generation of the
** log; what was committed later is gone. We are alone and hold the write
** lock; fs->log is the published state. */
int  vdb_ckpt_rewind(struct fstore *fs, txn_id txid);

/* map.c */
int  vdb_map_extent(struct page_store *s, uint64_t no, size_t sz,
                    const unsigned char **out, void **pin);
/* Bytes of the main file, if they are mapped in large pieces; else false. */
bool vdb_map_read(struct fstore *fs, uint64_t off, void *buf, size_t n);
void vdb_map_unpin(struct page_store *s, void *pin);
void vdb_map_clear(struct fstore *fs);

/* store_file.c */
int  vdb_fstore_recover_shared(struct fstore *fs);  /* write lock held */
/* Frames of the index that belong to transactions up to txid. */
uint64_t vdb_fstore_frames_home(const struct fstore *fs, txn_id txid);
int  vdb_fstore_read_page(struct page_store *s, page_no pgno, void *buf);

/* life.c */
int  vdb_life_open(struct fstore *fs);
/* Does the path still name the file that is open? */
bool vdb_fstore_path_is_ours(struct fstore *fs);
int  vdb_life_close(struct fstore *fs, bool is_child);
bool vdb_life_close_begin(struct page_store *s);
int  vdb_life_replace(struct page_store *s, const char *path_new);

/* twophase.c */
int  vdb_twophase_decide(struct page_store *s, bool commit);
/* The newest commit of the log with at most this token, of those behind frame
** n_home; the state n_home itself is the main file's. */
const struct commit_ref *vdb_twophase_find(const struct walindex *ix,
                                           uint64_t token, uint64_t n_home);
int  vdb_twophase_in_doubt(struct page_store *s, bool *in_doubt,
                           unsigned char host[16], uint64_t *token);
int  vdb_twophase_begin_read_at(struct page_store *s, uint64_t token,
                                struct snapshot *out);

/* undo.c */
/* Transactions up to this one stay; st was just read. */
txn_id vdb_undo_firm(struct fstore *fs, const struct log_state *st);
/* Make all that is published firm, if the host can. */
int  vdb_undo_settle(struct fstore *fs);
/* As vdb_undo_settle; what stays undoable is BUSY_INDOUBT: "cannot `what`". */
int  vdb_undo_require(struct fstore *fs, const char *what);
int  vdb_undo_state(struct page_store *s, bool *undoable,
                    struct undo_tokens *out);
int  vdb_undo_rewind(struct page_store *s, uint64_t token, uint64_t newest);

/* view.c */
int  vdb_view_begin_read(struct fstore *fs);
void vdb_view_end_read(struct fstore *fs);

/* backup.c */
int  vdb_backup_write(struct page_store *s, const char *path,
                      vdb_progress_cb progress, void *arg);
#endif
