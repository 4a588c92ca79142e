/* index.h -- what all indexes share, and the exact index, `flat`.
**
** Used by   store/ (searches, segments, the delta) and the other indexes
**           (rows they must scan).
** Threads   functions may run at the same time on the same arrays, which they
**           only read.
** Errors    VECDB_ codes; on error every output is empty (0 rows, NULL).
**
** Rows are plain arrays. A row has a slot, its number in the collection;
** bitmaps are by slot. Results are ordered by (distance, tie): the distance
** is the float that simd/simd.h defines, and equal distances are ordered by
** the caller's comparison of slots (by primary key; NULL: by slot). So the
** answer depends neither on how rows are divided into runs, nor on the order
** of runs, nor on the number of threads.
*/
#ifndef VDB_INDEX_H
#define VDB_INDEX_H
#include "util/common.h"
#include "util/topk.h"

struct flat_coder;              /* index/flat_code.h */

/* n_rows vectors at vecs, vecs+stride, ... */
struct flat_run {
  const void *vecs;         /* NULL: to be opened when a row is wanted */
  size_t stride;            /* bytes from row to row; at least a vector */
  uint32_t n_rows;
  slot_no slot_base;        /* slot of row i is slot_base+i, ... */
  const slot_no *slots;     /* ... or slots[i] if this is not NULL */
  const uint64_t *live;     /* bitmap by slot: only these rows; NULL: all */
  const float *norm2;       /* canonical square norms by row, or NULL */
  int row_type;             /* 0: the search's; VECDB_I8 or _U8 in a search of
                            ** F32: bytes that stand for floats. Known before
                            ** the run is opened */
  uint32_t n_codes;         /* n_rows if the rows have codes, else 0 */
  const unsigned char *codes;           /* as vdb_flat_encode() wrote them */
  slot_no slot_last;        /* while vecs is NULL: slots are slot_base.. this */
};

/* Where rows come from that are not simply there. Both are called by the
** thread that searches, before it reads; a failure ends the search. */
struct flat_source {
  /* Fill in vecs, slots, codes of a run whose vecs is NULL. */
  int (*open)(void *arg, const struct flat_run *run);
  /* The vectors of rows i..i+n-1 are going to be read. */
  int (*touch)(void *arg, const struct flat_run *run, size_t i, size_t n);
  void *arg;
};

/* Only rows with min <= distance <= max. Build one from SQL's operators with
** vdb_window_init(). */
struct flat_window { float min, max; };

/* Rows at a distance > min (is_min_open) or >= min, and < max (is_max_open)
** or <= max. The bounds are doubles, as SQL gives them; -INFINITY and
** INFINITY leave a side unbounded. NaN bounds match nothing. */
void vdb_window_init(struct flat_window *w, double min, bool is_min_open,
                     double max, bool is_max_open);

/* What to search. Zero-initialise, then set what is needed. */
struct flat_search {
  int metric, type;         /* VECDB_L2.., VECDB_F32.. */
  size_t dim;
  const struct flat_run *runs;
  size_t n_runs;
  const uint64_t *filter;   /* bitmap by slot: only these rows; NULL: all */
  const struct flat_window *window;       /* NULL: any distance */
  vdb_tie_fn tie;           /* called from worker threads, perhaps at once */
  void *tie_arg;
  /* Called about once per MiB of vectors, by one thread at a time; nonzero
  ** ends the search with INTERRUPT. NULL: never. */
  int (*progress)(void *arg);
  void *progress_arg;
  unsigned n_thread;        /* at most so many threads; 0 and 1: the caller */
  const struct flat_coder *coder;       /* of the runs' codes; NULL: none */
  const struct flat_source *source;     /* NULL: all rows are there */
};

/* Open all runs and touch all their rows, for a caller that reads them by
** itself. What the source says. */
int vdb_flat_open_all(const struct flat_search *s);

/* The k nearest rows of one query (dim elements of the column's type).
** hit[0..*n_hit-1] are sorted; *n_hit is k, or less if fewer rows qualify.
** MISMATCH, RANGE (dim), NOMEM, INTERRUPT. */
int vdb_flat_knn(const struct flat_search *s, const void *query, size_t k,
                 struct vdb_hit *hit, size_t *n_hit);

/* The same for n_query queries at `queries`, `queries`+stride, ...: the hits
** of query i are hit[i*k .. i*k+n_hit[i]-1], equal to those of vdb_flat_knn
** bit for bit. Much faster per query from about 16 queries on. */
int vdb_flat_knn_batch(const struct flat_search *s, const void *queries,
                       size_t stride, size_t n_query, size_t k,
                       struct vdb_hit *hit, size_t *n_hit);

/* All rows inside the window (NULL: all rows), sorted. *hits belongs to the
** caller, who frees it with vdb_free(); NULL if there are none. */
int vdb_flat_range(const struct flat_search *s, const void *query,
                   struct vdb_hit **hits, size_t *n_hit);
#endif
