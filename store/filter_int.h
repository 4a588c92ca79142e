/* filter_int.h -- what the files filter_*.c share.
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

/* ---- Values (filter_value.c) -------------------------------------------- */

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

/* ---- Runs (filter_run.c) ------------------------------------------------ */

enum leaf_kind {
  LEAF_ROWS = 0,       /* row by row */
  LEAF_INT,            /* integer or boolean cell in lo_i..hi_i */
  LEAF_REAL,           /* real cell in lo_r..hi_r */
  LEAF_INT_SET,        /* integer or boolean cell in the set */
  LEAF_TEXT_EQ,        /* text cell equal to val of `con` */
  LEAF_IS_NULL,        /* cell is NULL */
  LEAF_CELL            /* decode the cell, then as ROWS */
};

struct filter_plan {               /* of one node */
  struct vdb_value val;            /* CONST, PARAM: converted */
  char text[VALUE_TEXT_MAX];       /* of val, when it was a number */
  struct vdb_str buf;              /* COLUMN: bytes of the value read last */
  enum leaf_kind leaf;
  uint32_t column, con;            /* of a leaf on cells; its constant */
  bool flip;                       /* the range says false, outside says true */
  int64_t lo_i, hi_i;
  double lo_r, hi_r;
  struct vdb_value *set;           /* IN over constants: sorted, no NULLs */
  size_t n_set;
  bool has_set, set_has_null;
  int64_t *ints;                   /* LEAF_INT_SET: the same as integers */
  size_t n_ints;
  enum affinity aff;               /* CMP, IS, IN: of the comparison */
  enum filter_coll coll;
};

struct filter_run {
  const struct filter *f;
  struct filter_source src;
  struct filter_plan *plan;        /* by node */
  struct filter_level *level;      /* f->height+1 of them */
  /* The column whose value is known because its cell is being looked at. */
  int cell_col;                    /* -1: none */
  struct vdb_value cell_val;
  struct vdb_str cell_buf;
};

/* filter_row.c: truth of node i for one row. */
int vdb_filter_truth(struct filter_run *r, uint32_t i, slot_no slot,
                     enum tri *out);
/* filter_plan.c: how node i and those below it are to be answered. */
int vdb_filter_plan(struct filter_run *r, uint32_t i);
#endif
