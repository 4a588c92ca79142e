/* btree.h -- B+trees of byte strings over pages.
**
** Used by   store/ (catalog, pk maps, segments, long values).
** Threads   the connection's. Errors: VECDB_ codes; CORRUPT for bad bytes.
**
** Keys are compared with memcmp, shorter first; they are unique and at most
** BTREE_KEY_MAX bytes. Values may be up to 1 GiB (overflow chains). A tree is
** named by its root page, whose number never changes.
**
** NOTFOUND, EXISTS, TOOBIG and MISUSE come before anything has changed. After
** any other failure of a function that changes a tree the caller rolls back,
** at least to a savepoint.
*/
#ifndef VDB_BTREE_H
#define VDB_BTREE_H
#include "pager/pager.h"
#include "util/str.h"

#define BTREE_KEY_MAX  900          /* bytes; 4 keys fit any page */

int vdb_btree_create(struct pager *p, page_no *root);
int vdb_btree_destroy(struct pager *p, page_no root);      /* frees all pages */
int vdb_btree_clear(struct pager *p, page_no root);  /* empty, root stays */

/* Append the value to *val (cleared first). NOTFOUND. */
int vdb_btree_get(struct pager *p, page_no root, const void *key, size_t n_key,
                  struct vdb_str *val);
enum btree_put_mode { BTREE_UPSERT, BTREE_INSERT, BTREE_REPLACE };
/* UPSERT: set. INSERT: EXISTS when the key is there. REPLACE: NOTFOUND when
** it is not. */
int vdb_btree_put(struct pager *p, page_no root, const void *key, size_t n_key,
                  const void *val, size_t n_val, enum btree_put_mode mode);
int vdb_btree_delete(struct pager *p, page_no root, const void *key,
                     size_t n_key);                        /* NOTFOUND */
int vdb_btree_count(struct pager *p, page_no root, uint64_t *out);  /* walks */

/* Cursors. They stay correct while the tree is changed by the same
** connection: a change makes the next move seek again from the last key, be
** it deleted by then (value says NOTFOUND in that case). A cursor that ran
** off an end stays there: prev goes back to the last entry, next to the
** first. Between two calls nothing is pinned. key and value without an entry:
** MISUSE. */
struct btree_cursor;
int  vdb_btree_cursor_open(struct pager *p, page_no root,
                           struct btree_cursor **out);
void vdb_btree_cursor_close(struct btree_cursor *c);
/* Position; *at_end (next/prev: true when there is no more). */
int  vdb_btree_first(struct btree_cursor *c, bool *at_end);
int  vdb_btree_last(struct btree_cursor *c, bool *at_end);
int  vdb_btree_seek(struct btree_cursor *c, const void *key, size_t n_key,
                    bool *at_end);                 /* first key >= key */
int  vdb_btree_next(struct btree_cursor *c, bool *at_end);
int  vdb_btree_prev(struct btree_cursor *c, bool *at_end);
/* Of the current entry; the pointers live until the next call on c. */
int  vdb_btree_key(struct btree_cursor *c, const unsigned char **key,
                   size_t *n_key);
int  vdb_btree_value(struct btree_cursor *c, const unsigned char **val,
                     size_t *n_val);

/* Bulk load of ascending keys, all above those already there: pages are filled
** one after the other (fill 100 %), without a descent for each key. Nothing
** else may change the tree meanwhile. abort (commit false) leaves a tree
** empty that was empty at the begin; any other the caller rolls back. A key
** twice: EXISTS, keys that do not ascend: MISUSE. */
struct btree_loader;
int  vdb_btree_load_begin(struct pager *p, page_no root,
                          struct btree_loader **out);
int  vdb_btree_load_add(struct btree_loader *l, const void *key, size_t n_key,
                        const void *val, size_t n_val);
int  vdb_btree_load_end(struct btree_loader *l, bool commit);   /* frees l */

/* Structure, order, depth, page types; marks every page in the census. */
int  vdb_btree_check(struct pager *p, struct census *c, page_no root,
                     const char *what);
#endif
