/* lib_rowsweep.h -- one thing done through vecdb.h, once for each call and
** each allocation in it that may fail.
**
** Used by   api/t_fault_*.c. As lib_sweep does it to pages: what is done is
**           short, and every place is reached.
**
** Each run finds the file that `make` has left, opens it, lets `ready` prepare,
** and then does `act` with one failure in it. After it:
**
**   1  the code is OK, or one that such a failure has;
**   2  what `act` answered in spite of it is what it answers without one;
**   3  the handle can read (unless a sync failed), and so can a new one: all
**      rows and schemas are those from before, or those that `act` leaves
**      without a failure; the database is sound;
**   4  not a block of memory is left.
*/
#ifndef LIB_ROWSWEEP_H
#define LIB_ROWSWEEP_H
#include "util/common.h"

#define ROWSWEEP_EDGE  50

struct rowsweep {
  const char *name;
  int (*make)(vecdb *db);        /* NULL: a file without collections */
  int (*ready)(vecdb *db);       /* NULL: nothing */
  int (*act)(vecdb *db, uint64_t *answer);     /* answer is 0 before */
  void (*finish)(void);          /* lets go of what ready has made; or NULL */
  bool reads;                    /* act changes nothing: 3 for the handle */
  bool in_memory;                /* no file; make belongs to each run */
  bool is_mapped;                /* else every read of a page is a call */
  bool for_ever;                 /* also: each allocation and all after it */
  bool may_close;                /* a failure may leave the handle useless */
  unsigned step;                 /* every so many-th failure, but for the first
                                 ** and the last ROWSWEEP_EDGE; 0: each */
  uint64_t sz_cache;
  uint32_t n_thread;             /* 0: 1 */
};
void rowsweep_run(const struct rowsweep *s);

/* What actions are made of. Cells are written "1|[1,2]|0.5|text||x" in the order
** of the columns, by the type of each; an empty one is NULL, "-" is not bound.
** A collection is opened and closed by each of these. They return VECDB_OK or
** the code of what failed, and fold what they read into *answer. */
int row_put(vecdb *db, const char *coll, uint32_t flags, const char *cells);
int row_update(vecdb *db, const char *coll, const char *key,
               const char *cells);
int row_delete(vecdb *db, const char *coll, const char *key);
int row_get(vecdb *db, const char *coll, const char *key, uint64_t *answer);
/* Rows lo..hi-1 of a generator, in one transaction or the open one; the key is
** the number of the row. Every fifth nullable cell is NULL. */
int rows_fill(vecdb *db, const char *coll, int64_t lo, int64_t hi);
int rows_erase(vecdb *db, const char *coll, int64_t lo, int64_t hi,
               int64_t step);
int rows_scan(vecdb *db, const char *coll, const char *filter,
              uint64_t *answer);
/* query: JSON. */
int rows_search(vecdb *db, const char *coll, const vecdb_search_options *o,
                const char *query, uint64_t *answer);
/* Step s to its end; finalizes it. rc: of what came before. */
int rows_take(vecdb_stmt *s, int rc, uint64_t *answer);
int coll_optimize(vecdb *db, const char *coll, uint32_t flags);
int coll_set(vecdb *db, const char *coll, const char *name, const char *value);
#endif
