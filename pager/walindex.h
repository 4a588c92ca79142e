/* walindex.h -- which frame of the log holds the newest image of a page.
**
** Used by   the file store. Each connection keeps its own, extended from the
**           frames appended since it last looked.
** Errors    VECDB_NOMEM, VECDB_FULL; then nothing has changed.
**
** Frames are numbered from 1, as FRAME.SEQ is. Frames after n_decided belong
** to a transaction that has neither COMMIT nor ABORT yet.
*/
#ifndef VDB_WALINDEX_H
#define VDB_WALINDEX_H
#include "util/common.h"

#define WALINDEX_MAX  (UINT32_MAX-1)   /* frames; their numbers are 32 bits */

struct frame_ref {
  page_no  pgno;                    /* 0: no page, or of an aborted one */
  uint32_t prev;                    /* next older frame of the page, or 0 */
  uint64_t off;                     /* of the frame in the file */
  uint32_t crc;                     /* FRAME.CRC, seeds the next frame */
};

struct commit_ref {                 /* a COMMIT frame */
  uint32_t i_frame;
  page_no  n_page;
  txn_id   txid;
  uint64_t token;
};

struct walindex {
  uint64_t generation, salt;        /* of the log it describes; 0: none */
  uint64_t off_end;                 /* byte after the last frame */
  uint32_t crc;                     /* of the last frame or the log header */
  uint32_t crc_header;
  struct frame_ref *frame; size_t n, n_cap;        /* frame i is [i-1] */
  struct commit_ref *commit; size_t n_commit, n_commit_cap;
  uint32_t n_decided;
  struct { page_no pgno; uint32_t i_frame; } *slot;  /* hash table */
  size_t n_slot, n_slot_cap;
};

void vdb_walindex_init(struct walindex *ix, uint64_t generation,
                       uint64_t salt, uint32_t crc_header);
void vdb_walindex_clear(struct walindex *ix);
int  vdb_walindex_add(struct walindex *ix, page_no pgno, size_t sz,
                      uint32_t crc);
/* The last frame is a COMMIT: of txid and what came before it. */
int  vdb_walindex_add_commit(struct walindex *ix, txn_id txid, page_no n_page,
                             uint64_t token);
/* The last COMMIT of a transaction up to txid, or NULL. */
const struct commit_ref *vdb_walindex_commit(const struct walindex *ix,
                                             txn_id txid);
/* The frames after n_decided, but the last, are void: it is an ABORT. */
void vdb_walindex_abort(struct walindex *ix);
/* Forget the frames after the first n (not fewer than n_decided). */
void vdb_walindex_truncate(struct walindex *ix, size_t n);
/* Newest frame of the page within (lo, hi], or 0. */
uint32_t vdb_walindex_find(const struct walindex *ix, page_no pgno,
                           uint64_t lo, uint64_t hi);
#endif
