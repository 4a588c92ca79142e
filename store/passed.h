/* passed.h -- the rows that pass a filter, as a bitmap, for whoever asks next.
**
** Used by   store/stmt_search.c, store/stmt_scan.c.
** Threads   the connection's.
** Errors    NOMEM, and what evaluating a filter says.
**
** A statement holds one such set from run to run. The collection keeps the
** newest ones besides, so that a statement that is prepared anew with a
** filter and values that were asked before, which is what SQL does all the
** time, need not evaluate it. A set belongs to one state of the data.
*/
#ifndef VDB_PASSED_H
#define VDB_PASSED_H
#include "store/search.h"
#include "util/str.h"

#define PASSED_BYTES  ((uint64_t)8<<20)  /* of the bitmaps that are kept */
#define PASSED_KEY    4096               /* longer filters are not kept */

struct passed {
  unsigned n_ref;
  uint64_t version, n_undo;              /* of the data */
  uint64_t n_slot, n;                    /* bits; of them set */
  uint64_t *rows;                        /* by slot */
  struct vdb_str key;                    /* what was asked; empty: not kept */
};

/* What a filter asks: its text and the values of its parameters. */
int  vdb_passed_key(const char *filter, const struct vdb_value *param,
                    unsigned n_param, struct vdb_str *key);
/* Evaluate: as vdb_search_rows. */
int  vdb_passed_make(struct coll *c, const struct coll_runs *r,
                     struct filter_run *filter, const struct keyset *keys,
                     struct passed **out);
/* A set for this key and the state at hand, referenced; or NULL. */
struct passed *vdb_passed_find(struct coll *c, const struct vdb_str *key);
/* The collection keeps a set that was just made, in place of older ones. */
void vdb_passed_keep(struct coll *c, struct passed *p,
                     const struct vdb_str *key);
/* Is it of the state that the collection shows? */
bool vdb_passed_is_current(const struct passed *p, struct coll *c);
void vdb_passed_unref(struct passed *p);                  /* NULL is fine */
#endif
