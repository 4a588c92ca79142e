/* filter_int.h -- what the files filter_*.c share.
**
** A filter is a tree of nodes in one array; children are linked by number.
** Node 0 is never used, so that 0 says "none". Every node but the root has
** exactly one parent.
*/
#ifndef VDB_FILTER_INT_H
#define VDB_FILTER_INT_H
#include "store/filter.h"
#include "store/intset.h"
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

#define FILTER_BLOCK        65536u   /* slots that are answered at once */
#define FILTER_BLOCK_WORDS  (FILTER_BLOCK/64)

enum leaf_kind {
  LEAF_ROWS = 0,       /* row by row */
  LEAF_CELL,           /* decode each cell, then as ROWS */
  LEAF_IS_NULL,        /* the NULL bits alone */
  LEAF_INT,            /* integer in lo_i..hi_i */
  LEAF_INT_SET,        /* integer in ints */
  LEAF_REAL,           /* real in lo_r..hi_r */
  LEAF_REAL_SET,       /* real in reals */
  LEAF_BOOL,           /* boolean: false if has_false, true if has_true */
  LEAF_TEXT_MASK,      /* text cell, as bytes, under a mask */
  LEAF_TEXT_ORDER,     /* text before or behind a constant */
  LEAF_TEXT_SET        /* text in texts */
};

/* A text cell as two numbers. */
struct text_cell { uint64_t w[2]; };

struct filter_plan {               /* of one node */
  struct vdb_value val;            /* CONST, PARAM: converted */
  char text[VALUE_TEXT_MAX];       /* of val, when it was a number */
  struct vdb_str buf;              /* COLUMN: bytes of the value read last */
  enum leaf_kind leaf;
  uint32_t column;                 /* of a leaf on cells */
  bool flip;                       /* the cells say false, others say true */
  bool is_merged;                  /* under AND: a sibling asks for it, too */
  bool has_false, has_true;        /* LEAF_BOOL */
  bool is_sure;                    /* LEAF_TEXT_MASK: what matches is true,
                                   ** otherwise it is decoded and asked */
  int64_t lo_i, hi_i;
  double lo_r, hi_r;
  uint8_t want[16], mask[16];      /* LEAF_TEXT_MASK */
  uint64_t head;                   /* LEAF_TEXT_ORDER: 8 bytes of it */
  bool is_below;                   /* .. and texts before it are meant */
  struct vdb_value *set;           /* IN over constants: sorted, no NULLs */
  size_t n_set;
  bool has_set, set_has_null;
  int64_t *ints;                   /* LEAF_INT_SET: the same as integers */
  size_t n_ints;
  struct intset *intset;           /* .. unless they are few */
  double *reals;                   /* LEAF_REAL_SET: ascending */
  size_t n_reals;
  struct text_cell *texts;         /* LEAF_TEXT_SET: a hash table of texts_mask
                                   ** +1 places, those of w[0]==TEXT_NONE free;
                                   ** a few are at the first places */
  size_t n_texts, texts_mask;
  enum affinity aff;               /* CMP, IS, IN: of the comparison */
  enum filter_coll coll;
};
#define SET_FEW  4u                /* so many are compared one by one */
#define TEXT_NONE UINT64_MAX       /* no text is so long */

static inline size_t text_place(const struct filter_plan *p, uint64_t a,
                                uint64_t b){
  uint64_t h = (a ^ (b<<29 | b>>35))*0x9e3779b97f4a7c15u;
  return (size_t)(h ^ h>>32) & p->texts_mask;
}

struct filter_run {
  const struct filter *f;
  struct filter_source src;
  struct filter_plan *plan;        /* by node */
  struct filter_level *level;      /* f->height+1 of them */
  uint64_t null[FILTER_BLOCK_WORDS];   /* of the column being looked at */
  /* The column whose value is known because its cell is being looked at. */
  int cell_col;                    /* -1: none */
  struct vdb_value cell_val;
  struct vdb_str cell_buf;
};

/* filter_row.c: truth of node i for one row. */
int vdb_filter_truth(struct filter_run *r, uint32_t i, slot_no slot,
                     enum tri *out);
/* filter_leaf.c: truth of leaf i over the first n_word words of the block at
** lo, from cells. t and u are cleared. */
int vdb_filter_leaf(struct filter_run *r, uint32_t i, slot_no lo,
                    size_t n_word, const uint64_t *mask, uint64_t *t,
                    uint64_t *u);
/* filter_plan.c: how node i and those below it are to be answered. */
int vdb_filter_plan(struct filter_run *r, uint32_t i);
#endif
