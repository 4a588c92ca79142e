/* batch.h -- many rows in, many queries at once, a checked copy.
**
** Used by   vecdb.c. Threads: the handle's.
** Errors    VECDB_ codes; the sentence is in the session's err.
*/
#ifndef VDB_BATCH_H
#define VDB_BATCH_H
#include "store/session.h"

struct coll;

/* vecdb_put_many: all rows or none. */
int vdb_batch_put(struct session *ss, struct coll *c,
                  const struct schema *schema, size_t n,
                  const vecdb_column_data *data, size_t n_data,
                  unsigned flags, int64_t *first_key);

/* vecdb_search_many. */
struct batch_search {
  const vecdb_search_options *opt;
  size_t nq;
  int element;
  const void *queries;
  size_t stride;
  int64_t *keys;               /* nq x k */
  float *distances;            /* nq x k, or NULL */
  uint32_t *counts;            /* nq, or NULL */
};
int vdb_batch_search(struct session *ss, struct coll *c,
                     const struct schema *schema,
                     const struct batch_search *b);

/* vecdb_backup: the copy is opened and examined; a bad one is removed. */
int vdb_batch_backup(struct session *ss, const char *path,
                     vdb_progress_cb progress, void *arg);
#endif
