/* filter.h -- the filter language: predicates over the columns of a row.
**
** Used by   store/search*.c and store/stmt*.c.
** Threads   the connection's.
** Errors    SYNTAX, NOTFOUND (unknown column), MISMATCH (a vector column),
**           TOOBIG; sentences name the byte, counted from 1.
**
**   expr     := and { OR and }            and := not { AND not }
**   not      := NOT not | equality
**   equality := relation { (= | == | <> | != | IS [NOT]) relation
**                        | [NOT] IN ( [expr {, expr}] )
**                        | [NOT] BETWEEN relation AND relation
**                        | [NOT] LIKE relation [ESCAPE relation]
**                        | [NOT] GLOB relation
**                        | IS [NOT] (NULL | TRUE | FALSE)
**                        | ISNULL | NOTNULL | NOT NULL }
**   relation := operand { (< | <= | > | >=) operand }
**   operand  := primary [ COLLATE (BINARY | NOCASE | RTRIM) ]
**   primary  := column | number | 'text' | x'hex' | NULL | TRUE | FALSE
**             | ? | ?N | - number | ( expr )
**
** This is SQLite's precedence, and the meaning is SQLite's: NULLs make a
** third truth value, constants are converted to the kind of the column they
** are compared with, then numbers are below texts are below blobs. `rowid`
** stands for an integer key of another name.
*/
#ifndef VDB_FILTER_H
#define VDB_FILTER_H
#include "store/collection.h"

#define FILTER_PARAM_MAX  32766        /* the largest N of ?N */
#define FILTER_DEPTH_MAX  100          /* nesting of parentheses and NOT */
#define FILTER_TEXT_MAX   (16u<<20)    /* bytes of a filter's text */

struct filter;                         /* parsed; does not change */

/* Parse z against the columns of schema, which is not kept. */
int  vdb_filter_parse(const struct schema *schema, const char *z,
                      struct vdb_err *err, struct filter **out);
void vdb_filter_destroy(struct filter *f);               /* NULL is fine */
unsigned vdb_filter_n_param(const struct filter *f);     /* largest N */
/* As a text with parentheses everywhere, for tests and EXPLAIN. */
void vdb_filter_print(const struct filter *f, struct vdb_str *s);

/* Where rows come from: the functions of collection.h, or a test's. */
struct filter_source {
  void *arg;
  /* Cells of slots lo..hi-1 (those that exist), in order. */
  int (*cells)(void *arg, int column, slot_no lo, slot_no hi,
               vdb_cells_fn fn, void *fn_arg);
  /* NULL bits of slots lo, .. lo+64*n_word-1; lo is a multiple of 64. */
  int (*nulls)(void *arg, int column, slot_no lo, size_t n_word,
               uint64_t *out);
  int (*value)(void *arg, int column, slot_no slot, struct vdb_str *buf,
               struct vdb_value *out);
  int (*cell_text)(void *arg, int column, slot_no slot,
                   const unsigned char *cell, struct vdb_str *buf,
                   const char **p, size_t *n);
  int (*poll)(void *arg);              /* INTERRUPT ends it; may be NULL */
};
void vdb_filter_source_coll(struct coll *c, struct filter_source *out);

/* A filter with the values of its parameters: param[i] is ?(i+1), those
** beyond n_param are NULL. Refers to f, src and the values. */
struct filter_run;
int  vdb_filter_begin(const struct filter *f, const struct vdb_value *param,
                      size_t n_param, const struct filter_source *src,
                      struct filter_run **out);
void vdb_filter_end(struct filter_run *r);               /* NULL is fine */

/* Clear the bits of rows[0..n_slot-1] whose row does not pass. Only rows whose
** bit is set are looked at. */
int  vdb_filter_rows(struct filter_run *r, uint64_t *rows, uint64_t n_slot);
/* True when only rows whose key is among v[0..n-1] can pass (key = 7, key IN
** (..) as a term of the whole). The values live as long as the run. */
bool vdb_filter_keys(const struct filter_run *r, const struct vdb_value **v,
                     size_t *n);
/* Does one live row pass? */
int  vdb_filter_row(struct filter_run *r, slot_no slot, bool *pass);
#endif
