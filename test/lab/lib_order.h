/* lib_order.h -- a file layer that watches the order of writes and syncs.
**
** Used by   t_crash and t_order, over any other layer, with one connection and
**           VECDB_SYNC_FULL.
**
** RULES     "clean" means: no write since the last sync.
**   O1  When a COMMIT or PREPARE frame is written to the log, the main file is
**       clean: extents are on disk before anything names them.
**   O2  When a header slot is written, the log is clean, and the main file is
**       clean but for that slot.
**   O3  While the header in force says that a checkpoint is writing pages,
**       and only after that header was synced, pages are written; what is
**       written then is synced before the next header.
**   O4  When the backfill word moves up, the pages written by the checkpoint
**       and the header are synced.
**   O5  When the log header is written, the same; when a frame is written, the
**       log header is synced.
**   O6  When a larger number of visible frames is published, the log is clean
**       (but for the decision about a prepared transaction) and the names of
**       both files were synced.
*/
#ifndef LIB_ORDER_H
#define LIB_ORDER_H
#include "lab/lib_layer.h"

struct order;
/* Watches the database `path` (its log is path-wal, its memory path-shm). */
struct order *order_create(const struct vecdb_file_ops *lower,
                           const char *path);
void order_destroy(struct order *o);
const struct vecdb_file_ops *order_ops(struct order *o);

size_t order_n_violation(const struct order *o);
const char *order_violation(const struct order *o);  /* the first one, or "" */
/* How often each rule was applied: a watcher that never looked is blind. */
size_t order_n_applied(const struct order *o, int rule);      /* 1..6 */
#endif
