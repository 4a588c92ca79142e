/* mmr.h -- the rule of maximal marginal relevance over a pool of candidates.
**
** Used by   sql/: the hint mmr_lambda (vtab_mmr.c), vecdb_mmr (vec_mmr.c).
** Memory    SQLite's. A pool that is all zero but for the shape of its vectors
**           is empty.
*/
#ifndef VDB_SQL_MMR_H
#define VDB_SQL_MMR_H
#include "sql/vtab_int.h"

struct mmr_item {
  sqlite3_int64 key;                   /* the caller's */
  char *text;                          /* the same; freed with the pool */
  double distance;                     /* to the query */
  double nearest;                      /* to the nearest chosen so far */
  int is_chosen;
};

struct mmr_pool {
  int metric, element;                 /* VECDB_L2 .., VECDB_F32 .. */
  size_t n_dim, sz_vector;
  size_t n, n_max, n_chosen;
  struct mmr_item *items;
  unsigned char *vectors;              /* sz_vector each */
};

/* Room for one more: all zero but for distance and vector, which is copied.
** NULL: no memory. */
struct mmr_item *vdb_mmr_add(struct mmr_pool *p, double distance,
                             const void *vector);
/* The item to come next; there is one that is not chosen yet. */
struct mmr_item *vdb_mmr_choose(struct mmr_pool *p, double lambda);
void vdb_mmr_clear(struct mmr_pool *p);
#endif
