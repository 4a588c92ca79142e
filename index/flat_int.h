/* flat_int.h -- what flat.c and flat_batch.c share: walking over rows, and
** asking the caller now and then whether to go on.
*/
#ifndef VDB_FLAT_INT_H
#define VDB_FLAT_INT_H
#include <stdatomic.h>

#include "index/index.h"
#include "simd/simd.h"

/* ---- Rows in pieces ------------------------------------------------------ */

enum { FLAT_BLOCK = 256 };       /* rows: long enough for the prefetching in
                                 ** the kernels, short enough for the stack */

/* Rows of one run that pass its live bits and the filter. */
struct flat_block {
  size_t n;                      /* how many; may be 0 */
  size_t n_seen;                 /* rows looked at to find them */
  const void *row[FLAT_BLOCK];
  slot_no slot[FLAT_BLOCK];
  int row_type;                  /* as in flat_run */
  bool has_norm2;                /* the run knows its norms */
  float norm2[FLAT_BLOCK];
};

/* Walks rows first..first+n-1 of all runs, counted through. */
struct flat_cursor {
  const struct flat_search *s;
  size_t i_run;                  /* the run it is in */
  size_t i_row;                  /* next row of that run */
  uint64_t n_left;               /* rows still to look at */
};

/* Rows in all runs together. */
uint64_t vdb_flat_count(const struct flat_search *s);
void vdb_flat_seek(struct flat_cursor *c, const struct flat_search *s,
                   uint64_t first, uint64_t n);
/* The next block of at most n_max rows; false at the end. */
bool vdb_flat_next(struct flat_cursor *c, struct flat_block *b, size_t n_max);

/* Runs may have to be opened, and their rows touched (index.h). open: run is
** ready for reading slots and codes. passes: some row of it may pass, as far as
** that is known unopened. ready: all passing rows of the runs
** first..last-1 can be read by any thread. */
int vdb_flat_open(const struct flat_search *s, const struct flat_run *run);
bool vdb_flat_passes(const struct flat_search *s, const struct flat_run *run);
int vdb_flat_ready(const struct flat_search *s, size_t first, size_t last);
static inline int vdb_flat_touch(const struct flat_search *s,
                                 const struct flat_run *run, size_t i,
                                 size_t n){
  return s->source ? s->source->touch(s->source->arg, run, i, n) : VECDB_OK;
}

/* ---- Going on or not ----------------------------------------------------- */

/* One per search, shared by its threads. */
struct flat_poll {
  const struct flat_search *s;
  size_t sz_vec;                 /* bytes of a vector */
  atomic_flag is_busy;           /* some thread is in the callback */
};
void vdb_flat_poll_init(struct flat_poll *p, const struct flat_search *s);

/* Account for n bytes, with `sz` (a counter of the calling thread) holding
** those since the last call; INTERRUPT if the callback says so. */
int vdb_flat_poll(struct flat_poll *p, size_t *sz, size_t n);
/* What a block cost. */
static inline size_t flat_block_cost(const struct flat_poll *p,
                                     const struct flat_block *b){
  return b->n*p->sz_vec + b->n_seen/8;         /* rows passed over: one bit */
}

/* ---- Picking ------------------------------------------------------------- */

/* The best rows of one query so far. */
struct flat_pick {
  struct vdb_topk top;
  struct flat_window window;
  float cut;                     /* no key above this can get in */
  int metric;
};

/* Keep the k best. `hit` has room for k, or is NULL: then memory is allocated
** as hits come in, and vdb_topk_clear(&p->top) frees it. */
void vdb_flat_pick_init(struct flat_pick *p, const struct flat_search *s,
                        size_t k, struct vdb_hit *hit);
/* Offer a row whose key is <= cut. */
int vdb_flat_pick_add(struct flat_pick *p, float key, slot_no slot);
/* Offer the rows of a block. */
int vdb_flat_pick_block(struct flat_pick *p, const struct flat_block *b,
                        const float *key);
/* Take over what `other` has. */
int vdb_flat_pick_merge(struct flat_pick *p, const struct vdb_hit *hit,
                        size_t n);
#endif
