/* store.h -- a database of collections over a pager: transactions, catalog.
**
** Used by   vecdb.c (one struct store per vecdb handle), store/ itself.
** Threads   the connection's.
** Errors    VECDB_ codes; the sentence is in the pager's struct vdb_err
**           (vdb_store_err).
**
** Whoever begins, commits or rolls back does it through the functions below,
** never through the pager directly: they drop caches of what was undone and
** run the policy optimize=commit.
**
** A statement that writes is wrapped in vdb_store_write_begin / _end: a
** savepoint inside an open transaction, else a transaction of its own. All
** functions of collection.h that change something may leave it half done when
** they fail; _end with that rc undoes it.
*/
#ifndef VDB_STORE_H
#define VDB_STORE_H
#include "pager/pager.h"
#include "store/schema.h"

struct store;
struct coll;                           /* an open collection: collection.h */

int  vdb_store_open(const struct pager_config *cfg, struct vdb_err *err,
                    struct store **out);
int  vdb_store_close(struct store *st);      /* always frees; rolls back */
struct pager   *vdb_store_pager(struct store *st);
struct vdb_err *vdb_store_err(struct store *st);

/* Threads for builds; 0: as many as cores. */
void vdb_store_set_threads(struct store *st, unsigned n);
/* Memory that a build of graphs may take; 0: half of the machine's. */
void vdb_store_set_build_bytes(struct store *st, uint64_t sz);

/* Progress of long operations (optimize, vacuum, bulk loads, check); a
** nonzero return of cb, or the pager's interrupt flag, ends them with
** INTERRUPT. */
void vdb_store_set_progress(struct store *st, vdb_progress_cb cb, void *arg);
/* Report; OK or INTERRUPT. */
int  vdb_store_progress(struct store *st, const char *phase, const char *unit,
                        uint64_t done, uint64_t total);

/* ---- Transactions -------------------------------------------------------- */
int  vdb_store_begin_read(struct store *st);
int  vdb_store_begin_read_at(struct store *st, uint64_t token);
int  vdb_store_end_read(struct store *st);
int  vdb_store_begin_write(struct store *st);
/* Runs the policy of every collection changed here, then commits. On failure
** the transaction is still open, as with the pager's. */
int  vdb_store_commit(struct store *st);
int  vdb_store_rollback(struct store *st);
int  vdb_store_prepare(struct store *st, const unsigned char host_uuid[16],
                       uint64_t token);
int  vdb_store_decide(struct store *st, bool commit, bool undoable);
int  vdb_store_rewind(struct store *st, uint64_t token, uint64_t newest);
int  vdb_store_savepoint(struct store *st, unsigned *n);
int  vdb_store_release(struct store *st, unsigned n);
int  vdb_store_rollback_to(struct store *st, unsigned n);

/* Scope of one statement. begin_write or a savepoint; on _end with rc OK the
** transaction is committed, or the savepoint released; else undone. Returns
** rc, or the code of the failing commit. A refused row (CONSTRAINT, NOTFOUND,
** ..) costs no undo when nothing was changed yet. */
struct write_scope { bool is_own; unsigned savepoint; uint64_t version; };
int  vdb_store_write_begin(struct store *st, struct write_scope *w);
int  vdb_store_write_end(struct store *st, struct write_scope *w, int rc);
/* Scope of one reading statement: begins a read transaction unless one is
** open; the last end closes it, unless it was begun explicitly. When a
** transaction ends while reading statements are open, they go on in a new one
** that sees the newest state; open coll_runs end with the old one. */
struct read_scope { bool is_own; };
/* Counts rollbacks, also to savepoints, and rewinds: a statement that was open
** across one answers ABORT. */
uint64_t vdb_store_n_undo(const struct store *st);
int  vdb_store_read_begin(struct store *st, struct read_scope *r);
int  vdb_store_read_end(struct store *st, struct read_scope *r);

/* ---- Catalog: inside a transaction (READ, or WRITE where it changes) --------
** Names are 1..255 bytes, compared without ASCII case. */
#define STORE_NAME_MAX 255
int  vdb_store_create(struct store *st, const char *name, const char *schema);
int  vdb_store_drop(struct store *st, const char *name);
int  vdb_store_rename(struct store *st, const char *from, const char *to);
typedef int (*vdb_list_fn)(void *arg, const char *name, const char *schema);
int  vdb_store_list(struct store *st, vdb_list_fn fn, void *arg);
/* Open by name: a shared, reference-counted handle. NOTFOUND. */
int  vdb_store_coll_open(struct store *st, const char *name,
                         struct coll **out);
void vdb_store_coll_close(struct coll *c);               /* NULL is fine */

/* ---- Upkeep -------------------------------------------------------------- */
/* Rebuild the file without free space; outside of transactions. File stores:
** BUSY unless alone; memory and outside stores: compacts in place. */
int  vdb_store_vacuum(struct store *st);
/* Fill a new file at path with a copy without free space; nothing may be at
** path. Any kind of store is copied; the copy is a database of its own. */
int  vdb_store_copy(struct store *st, const char *path);
/* Examine everything in one read snapshot (begun here unless open); *n_bad
** counts findings of severity 2. */
int  vdb_store_check(struct store *st, bool quick, vdb_report_fn report,
                     void *arg, uint64_t *n_bad);
#endif
