/* collection.h -- rows of one schema: what statements and searches call.
**
** Used by   statements, filter, planner and search in store/; vecdb.c.
** Threads   the connection's, except where noted.
** Errors    VECDB_ codes; the sentence is in vdb_store_err(). NOTFOUND from
**           any function whose collection has been dropped.
**
** All functions need a transaction (READ, or WRITE when they change rows) and
** act on the state it sees. Each first calls vdb_coll_refresh itself, which
** is one comparison when nothing has changed.
**
** SLOTS   A row version has a slot, a number below vdb_coll_n_slot. It keeps
**         the slot while it lives; slots are given in ascending order and
**         not used again before a vacuum. A slot read in one transaction
**         means nothing in the next.
*/
#ifndef VDB_COLLECTION_H
#define VDB_COLLECTION_H
#include "index/index.h"
#include "store/store.h"
#include "util/str.h"

/* ---- Values -----------------------------------------------------------------
** Values given are of the column's own type, converted by the caller:
** INTEGER and BOOLEAN in i, REAL in r, TEXT, BLOB and VECTOR in p, n (a vector
** already in the column's element type, finite). Else CONSTRAINT_TYPE. */
#define VALUE_UNSET (-1)               /* update: leave the column alone */
struct vdb_value {
  int type;                            /* VECDB_NULL .. VECDB_VECTOR, UNSET */
  int64_t i;
  double r;
  const void *p;
  size_t n;
};

/* ---- The handle ---------------------------------------------------------- */
struct store *vdb_coll_store(struct coll *c);
int  vdb_coll_refresh(struct coll *c);           /* NOTFOUND: dropped */
const char *vdb_coll_name(struct coll *c);
/* Lives until the handle sees another schema version (options only change
** by vdb_coll_set; columns never). */
const struct schema *vdb_coll_schema(struct coll *c);
int  vdb_coll_schema_text(struct coll *c, const char **out);
uint64_t vdb_coll_n_row(struct coll *c);         /* live rows */
uint64_t vdb_coll_n_slot(struct coll *c);        /* all slots are below */
/* Equal numbers: equal rows (within one handle, uncommitted changes too). */
uint64_t vdb_coll_data_version(struct coll *c);
int  vdb_coll_stats(struct coll *c, vecdb_collection_stats *out);
/* Does a graph serve this vector column? */
int  vdb_coll_has_graph(struct coll *c, int column, bool *out);
int  vdb_coll_set(struct coll *c, const char *name, const char *value);

/* ---- Changing rows ----------------------------------------------------------
** row[0..n_col-1] by column number. insert: a NULL integer key is max ever
** used + 1, put in *key (may be NULL) with the key used; *done (may be NULL)
** is false when OR IGNORE kept an old row. flags: VECDB_OR_*.
** CONSTRAINT_PK, _NOTNULL, _TYPE, TOOBIG (a key above 900 bytes, rows above
** limits), FULL (no key or slot left): nothing was changed. */
int  vdb_coll_insert(struct coll *c, const struct vdb_value *row,
                     unsigned flags, int64_t *key, bool *done);
/* Set the columns that are not UNSET of the row `key`. row[0] given: the new
** key. flags: VECDB_OR_REPLACE deletes a row in the way of a key change,
** VECDB_OR_IGNORE leaves all as it was. NOTFOUND: no such row. */
int  vdb_coll_update(struct coll *c, const struct vdb_value *key,
                     const struct vdb_value *row, unsigned flags);
int  vdb_coll_delete(struct coll *c, const struct vdb_value *key);

/* ---- Bulk -------------------------------------------------------------------
** As inserting each row, but vectors go straight to extents and columns are
** written in runs. No other call on c between begin and end. end with
** ok == false drops what is unwritten; the caller's scope undoes the rest. */
struct coll_bulk;
int  vdb_coll_bulk_begin(struct coll *c, unsigned flags,
                         struct coll_bulk **out);
int  vdb_coll_bulk_add(struct coll_bulk *b, const struct vdb_value *row,
                       int64_t *key, bool *done);
int  vdb_coll_bulk_end(struct coll_bulk *b, bool ok);
/* Batches of at least this many rows are better off in bulk. */
uint64_t vdb_coll_bulk_threshold(struct coll *c);

/* ---- Reading rows -----------------------------------------------------------
** Slot of a key; NOTFOUND. A key of another type than the column's is
** NOTFOUND, too. */
int  vdb_coll_find(struct coll *c, const struct vdb_value *key, slot_no *out);
/* Integer keys of the rows of hits (live ones), all at once. */
int  vdb_coll_keys(struct coll *c, const struct vdb_hit *hit, size_t n,
                   int64_t *key);
/* Value of one column of a live row (any column: key, vector, aux too). Text,
** blob and vector bytes are in *buf (cleared first), which must live as long
** as the value is used. */
int  vdb_coll_value(struct coll *c, int column, slot_no slot,
                    struct vdb_str *buf, struct vdb_value *out);

/* Rows in order of the key. seek: the first row with key >= *key (NULL: the
** first of all). The cursor stays correct while rows change. */
struct coll_cursor;
int  vdb_coll_cursor_open(struct coll *c, struct coll_cursor **out);
void vdb_coll_cursor_close(struct coll_cursor *k);       /* NULL is fine */
int  vdb_coll_cursor_seek(struct coll_cursor *k, const struct vdb_value *key,
                          slot_no *slot, bool *at_end);
int  vdb_coll_cursor_next(struct coll_cursor *k, slot_no *slot,
                          bool *at_end);

/* ---- Column scans (filters) -------------------------------------------------
** Chunks of consecutive slots of the key, a metadata or a partition column.
** Chunks without a live row are left out. Cells of dead rows hold anything. */
struct coll_chunk {
  slot_no  lo;                         /* multiple of 64 */
  uint32_t n;                          /* rows, at most COLL_CHUNK */
  const unsigned char *cell;           /* n cells of `width` bytes */
  uint32_t width;                      /* 8: i64/f64; 1: bool; 16: text */
  const uint64_t *null;                /* bit i: row i is NULL; NULL: none */
  const uint64_t *live;                /* bit i: row i lives */
};
#define COLL_CHUNK 4096
typedef int (*vdb_chunk_fn)(void *arg, const struct coll_chunk *chunk);
/* Calls fn for lo..hi-1 (rounded to multiples of 64) in order; a nonzero
** return stops and is returned. fn must not change rows; it may read them. */
int  vdb_coll_scan(struct coll *c, int column, slot_no lo, slot_no hi,
                   vdb_chunk_fn fn, void *arg);
/* The same without chunks, for filters: cells of slots lo..hi-1, as far as
** they exist, in order and where they lie, in runs of any length; those of
** dead rows hold anything. fn may read other columns. */
typedef int (*vdb_cells_fn)(void *arg, slot_no lo, size_t n,
                            const unsigned char *cell);
int  vdb_coll_cells(struct coll *c, int column, slot_no lo, slot_no hi,
                    vdb_cells_fn fn, void *arg);
/* NULL bits of n_word*64 slots from lo on, a multiple of 64. */
int  vdb_coll_nulls(struct coll *c, int column, slot_no lo, size_t n_word,
                    uint64_t *out);
/* Decode cells. A text cell begins with its length; the first 12 bytes of the
** text are in the cell. */
int64_t vdb_cell_int(const unsigned char *cell);
double  vdb_cell_real(const unsigned char *cell);
static inline bool vdb_cell_bool(const unsigned char *cell){
  return cell[0]==1;
}
#define CELL_INLINE_MAX 12
static inline const unsigned char *vdb_cell_prefix(const unsigned char *cell){
  return cell+4;                       /* min(length, 12) bytes */
}
uint32_t vdb_cell_text_len(const unsigned char *cell);
/* Whole text of a cell (column, slot say where the rest lies): *p, *n point
** into the cell or into *buf. */
int  vdb_coll_cell_text(struct coll *c, int column, slot_no slot,
                        const unsigned char *cell, struct vdb_str *buf,
                        const char **p, size_t *n);

/* ---- Searching --------------------------------------------------------------
** What a search of one vector column must look at, under this snapshot:
** the runs cover every live row once. It holds pins and references, stays
** valid until closed (at the latest the end of the transaction), and shows
** the rows of its opening even if rows change meanwhile. The pointers may be
** read by any thread. */
struct coll_runs {
  struct flat_run *run;                /* .live is set in all of them */
  size_t n_run;
  const uint64_t *live;                /* bitmap by slot, n_slot bits */
  uint64_t n_slot, n_row;              /* n_row: live ones */
  vdb_tie_fn tie;                      /* NULL: keys ascend with slots */
  void *tie_arg;
  struct flat_source source;           /* opens runs, verifies rows */
  const struct flat_coder *coder;      /* of the runs' codes, or NULL */
  void *hold;                          /* pins, references */
  bool is_rest;                        /* of vdb_coll_runs_open_rest */
};
int  vdb_coll_runs_open(struct coll *c, int column, struct coll_runs *out);
/* The same, and the runs cover only rows whose slot is at least `from`. */
int  vdb_coll_runs_open_rest(struct coll *c, int column, slot_no from,
                             struct coll_runs *out);
/* Runs are opened and rows verified when a search comes to them
** (index.h, flat_source). This does it for all of them at once. */
int  vdb_coll_runs_ready(struct coll_runs *r);
/* To be asked after a search: a key that could not be read for a tie, or ABORT
** when the transaction has ended meanwhile. */
int  vdb_coll_runs_error(const struct coll_runs *r);
void vdb_coll_runs_close(struct coll_runs *r);           /* cleared is fine */

/* ---- Upkeep -----------------------------------------------------------------
** flags: VECDB_OPTIMIZE_*. Inside a write transaction. */
int  vdb_coll_optimize(struct coll *c, unsigned flags);
/* The same within a budget of milliseconds: steps that have no time left, or
** are expected to take more than is left, are left to the next call. */
int  vdb_coll_optimize_within(struct coll *c, unsigned flags, uint32_t ms);
/* The same outside of transactions, where the store can have other writers:
** graphs are built from a snapshot, and the write lock is only taken to enter
** them. As with statements all or nothing is done. */
int  vdb_coll_optimize_apart(struct coll *c, unsigned flags, uint32_t ms);
#endif
