/* stmt.h -- prepared operations: bind, step, read columns.
**
** Used by   vecdb.c (vecdb_stmt is a struct stmt) and store/session.c.
** Threads   the handle's.
** Errors    VECDB_ codes; the sentence is in the session's err.
**
**              step: ROW            step: DONE
**   RESET --------------> ROW ----------------> DONE
**     ^ \__ step: DONE, error __________________/^
**     |__________ reset, or the next step _______/
**
**   RESET   holds nothing. May be bound.
**   ROW     stands on a row; may hold the automatic read transaction, a
**           cursor with its pins, hits. suspend copies the row and lets go of
**           transaction and pins.
**   DONE    as RESET, but for the next step, which starts anew.
**   ABORTED the transaction was rolled back: the next step says so.
*/
#ifndef VDB_STMT_H
#define VDB_STMT_H
#include "store/collection.h"
#include "store/session.h"

enum stmt_kind { STMT_INSERT, STMT_UPDATE, STMT_DELETE, STMT_GET, STMT_SCAN,
                 STMT_SEARCH };

/* c and schema must outlive the statement. flags: VECDB_OR_*. */
int  vdb_stmt_create(struct session *ss, struct coll *c,
                     const struct schema *schema, enum stmt_kind kind,
                     unsigned flags, struct stmt **out);
/* Of a scan or search: give it a filter; of a search: its options. */
int  vdb_stmt_set_filter(struct stmt *s, const char *filter);
int  vdb_stmt_set_search(struct stmt *s, const vecdb_search_options *opt);
/* .. of several columns; the parts' queries are copied. */
int  vdb_stmt_set_multi(struct stmt *s, const vecdb_search_options *opt,
                        const vecdb_query_part *part, size_t n_part);
int  vdb_stmt_destroy(struct stmt *s);                   /* NULL is fine */

struct stmt *vdb_stmt_next(struct stmt *s);  /* in the session's list */
enum stmt_kind vdb_stmt_kind(const struct stmt *s);
/* For whoever made the statement: any pointer. */
void  vdb_stmt_set_owner(struct stmt *s, void *owner);
void *vdb_stmt_owner(const struct stmt *s);
bool  vdb_stmt_is_active(const struct stmt *s);          /* in state ROW */

/* ---- Binding: as the functions of vecdb.h. `destroy` has been called, or
** will be, also when they fail. */
int  vdb_stmt_bind(struct stmt *s, int i, const struct vdb_value *v,
                   vecdb_free_fn destroy);
/* v->p, v->n of type VECTOR; element is that of the bytes. */
int  vdb_stmt_bind_vector(struct stmt *s, int i, int element, const void *p,
                          size_t n, vecdb_free_fn destroy);
int  vdb_stmt_bind_json(struct stmt *s, int i, const char *z, size_t n);
int  vdb_stmt_clear_bindings(struct stmt *s);
int  vdb_stmt_set_k(struct stmt *s, uint64_t k);
int  vdb_stmt_set_keys(struct stmt *s, size_t n, const int64_t *i,
                       const char *const *z);

/* ---- Running ------------------------------------------------------------ */
int  vdb_stmt_step(struct stmt *s);
int  vdb_stmt_reset(struct stmt *s);
int  vdb_stmt_suspend(struct stmt *s);
void vdb_stmt_abort(struct stmt *s);

/* ---- The current row. Failures to read a value make it NULL, are noted in
** the session's err, and returned by the next step. */
const struct vdb_value *vdb_stmt_column(struct stmt *s, int column);
/* As text; *n its bytes; NULL for NULL. */
const char *vdb_stmt_column_text(struct stmt *s, int column, size_t *n);
/* Why a value of the current row could not be read; OK: none failed. */
int vdb_stmt_column_rc(const struct stmt *s);
double vdb_stmt_distance(const struct stmt *s);

/* ---- For vecdb_put_many and vecdb_search_many ------------------------------
** A vector given as `element`, n bytes, as the bytes of column col: *out is p
** itself or buf (sz_vec bytes). Checks size, finiteness, overflow. */
int  vdb_vector_adopt(const struct schema_column *col, int element,
                      const void *p, size_t n, void *buf, const void **out,
                      struct vdb_err *err);
/* Make a number fit the type of the column, where nothing is lost. */
void vdb_value_fit(const struct schema_column *col, struct vdb_value *v);
#endif
