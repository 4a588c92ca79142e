/* filter_int.h -- what filter_parse.c, filter_value.c and filter_run.c share.
**
** A filter is a tree of nodes in one array; children are linked by number.
** Node 0 is never used, so that 0 says "none". Every node but the root has
** exactly one parent.
*/
#ifndef VDB_FILTER_INT_H
#define VDB_FILTER_INT_H
#include "store/filter.h"
#include "store/value.h"

enum filter_kind {
  F_CONST = 1,            /* literal[n] */
  F_PARAM,                /* ?n */
  F_COLUMN,               /* column n */
  F_CMP,                  /* two children, op */
  F_IS,                   /* two children: NULL is NULL is true */
  F_NULL,                 /* one child: is it NULL? */
  F_TRUTH,                /* one child: is it n (1 true, 0 false)? never NULL */
  F_BOOL,                 /* one child, a value, taken as truth value */
  F_IN,                   /* the first child among the others */
  F_LIKE,                 /* text, pattern [, escape] */
  F_GLOB,                 /* text, pattern */
  F_AND, F_OR, F_NOT      /* children are not values */
};
enum filter_op { OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE };
enum filter_coll { COLL_NONE = 0, COLL_BINARY, COLL_NOCASE, COLL_RTRIM };

struct filter_node {
  uint8_t kind, op, coll;  /* enum filter_kind, filter_op, filter_coll */
  bool is_not;             /* IS, NULL, TRUTH, IN, LIKE, GLOB negated */
  uint32_t child, next;    /* first child; next sibling */
  uint32_t n;              /* of CONST, PARAM, COLUMN, TRUTH */
  uint32_t cost;           /* AND and OR ask cheap children first */
};

struct filter {
  struct filter_node *node;
  size_t n_node, n_node_cap;
  uint32_t root;           /* of truth value */
  struct vdb_value *literal;
  size_t n_literal, n_literal_cap;
  char *pool;              /* the bytes that text and blob literals point to */
  unsigned n_param;
  unsigned height;         /* longest path of AND, OR, NOT nodes */
  int *col_type;           /* VECDB_INTEGER .. by column */
  bool *col_in_cells;      /* false: auxiliary, reached row by row */
  char **col_name;
  int n_col;
};

/* ---- Values (filter_value.c) ---------------------------------------------- */

/* False, true, or neither: the three values of a predicate. */
enum tri { TRI_FALSE = 0, TRI_TRUE = 1, TRI_NULL = 2 };

enum affinity { AFF_NONE, AFF_NUMERIC, AFF_TEXT };

/* Affinity of a column type; of a comparison of two operands, of which one
** that is no column has AFF_NONE and is_column false. */
enum affinity vdb_filter_affinity(int col_type);
enum affinity vdb_filter_cmp_affinity(enum affinity a, enum affinity b);

/* Convert v by the affinity; `buf` takes the text of a number. */
void vdb_value_convert(struct vdb_value *v, enum affinity aff,
                       char buf[VALUE_TEXT_MAX]);
/* -1, 0, 1 for values that are not NULL. */
int  vdb_value_cmp(const struct vdb_value *a, const struct vdb_value *b,
                   enum filter_coll coll);
bool vdb_op_holds(enum filter_op op, int cmp);
enum tri vdb_value_truth(const struct vdb_value *v);
bool vdb_like_match(const char *z, size_t n, const char *pat, size_t n_pat,
                    int escape);                       /* -1: no escape */
bool vdb_glob_match(const char *z, size_t n, const char *pat, size_t n_pat);

#endif
