/* extent.h -- immutable runs of fixed-stride records, outside the WAL.
**
** Used by   store/, index/ (as plain arrays).
** Threads   pin and unpin on the connection's thread; the bytes of a pinned
**           extent may be read by any thread.
**
** An extent is created whole, written straight to its place, synced by the
** commit that names it, and never changed. Its directory page (an ordinary
** page of type PAGE_EXTENT, layout EXTENT in format.def) holds start, length,
** stride, count, creating transaction and one CRC-32C per 4 KiB of payload;
** an extent is named by the number of that page. Payload has no headers: a
** pinned extent is one plain array, 64-byte aligned or better.
*/
#ifndef VDB_EXTENT_H
#define VDB_EXTENT_H
#include "pager/pager.h"

#define EXTENT_MAX_BYTES  (2u<<20)      /* payload of one extent */

struct extent_spec {
  uint32_t kind;                        /* EXTENT_KIND_* of the owner */
  uint32_t stride;                      /* bytes of a record */
  uint32_t n_rec;                       /* records; stride*n_rec is the size */
  uint64_t owner;                       /* collection id, for check */
};

struct extent {                         /* a pinned extent */
  const unsigned char *data;            /* stride*n_rec bytes */
  size_t  sz;
  struct extent_spec spec;
  page_no head;                         /* its directory page */
  txn_id  txid;                         /* transaction that created it */
  void   *pin;                          /* of the pager */
};

/* How many records of `stride` bytes one extent takes: the largest power of
** two that fits EXTENT_MAX_BYTES, at least 1. 0 when one record is larger
** than EXTENT_MAX_BYTES. */
uint32_t vdb_extent_capacity(uint32_t stride);

/* Write payload (spec->stride*spec->n_rec bytes) as a new extent of the
** running write transaction; *head names it. Rolled back with the
** transaction. NOMEM, FULL, TOOBIG, IOERR_*. */
int  vdb_extent_create(struct pager *p, const struct extent_spec *spec,
                       const void *payload, page_no *head);
/* Pin for reading; every checksum is verified on the first pin. The bytes
** stay valid until unpin, at the latest the end of the transaction. */
int  vdb_extent_pin(struct pager *p, page_no head, struct extent *out);
/* As pin, and nothing is verified: callers verify what they touch. */
int  vdb_extent_pin_raw(struct pager *p, page_no head, struct extent *out);
/* As pin_raw, and the bytes stay in place after the transaction, until unpin
** or until the pager is closed or its file replaced. Between transactions
** their space may be used anew: whoever holds an extent reads it only in a
** transaction that still sees (head, txid). */
int  vdb_extent_hold(struct pager *p, page_no head, struct extent *out);
/* Blocks of extents that were read into memory fill half of the cache's
** budget: whoever holds some should let them go, then shrink. */
bool vdb_extent_is_crowded(const struct pager *p);
/* Free blocks without pins, oldest first, until the budget is met. */
void vdb_extent_shrink(struct pager *p);
int  vdb_extent_verify(struct pager *p, const struct extent *e, size_t off,
                       size_t n);
void vdb_extent_unpin(struct pager *p, struct extent *e);  /* cleared is fine */
/* Read the directory page only (kind, stride, n_rec, owner; no data). */
int  vdb_extent_describe(struct pager *p, page_no head, struct extent *out);
/* Free extent and directory page; space is recycled when no snapshot and no
** checkpointed state can still see it (storage.md 4). */
int  vdb_extent_free(struct pager *p, page_no head);
/* Mark its pages and, unless quick, verify every checksum. */
int  vdb_extent_check(struct pager *p, struct census *c, page_no head,
                      const char *what);
#endif
