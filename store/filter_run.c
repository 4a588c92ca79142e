/* filter_run.c -- evaluate a filter over slots.
**
** BLOCKS    Slots go by blocks of FILTER_BLOCK. A node of truth value gets a
**           mask of rows that still matter and answers with two bitmaps, true
**           and null; false is the rest of the mask. AND drops rows from the
**           mask of its next child as soon as they are false, OR as soon as
**           they are true, so costly children see few rows.
**
** LEAVES    A comparison that involves a single column, which has cells, and
**           constants is answered from the cells: integers and reals against a
**           closed range, lists of integers by bisection, equality of texts
**           against length and prefix, and whatever else by decoding cell by
**           cell. Other leaves, and masks with few rows, are answered row by
**           row (row_truth), which is also how one row is tested
**           (vdb_filter_row).
**
** CONSTANTS are converted by the affinity of what they are compared with, and
**           lists of IN are sorted, once per run (plan_node).
**
** INVARIANTS
**   F1  Bits of true and null are subsets of the mask, and disjoint.
**   F2  Both ways to answer a leaf give the same bits.
*/
#include "util/common.h"
#include "store/filter_int.h"

#include <math.h>
#include <stdlib.h>

#include "util/bitset.h"
#include "util/mem.h"

#define FILTER_BLOCK   65536u
#define BLOCK_WORDS    (FILTER_BLOCK/64)
#define ROWS_SPARSE    64         /* one row of so many: not worth the cells */

enum leaf_kind {
  LEAF_ROWS = 0,       /* row by row */
  LEAF_INT,            /* integer or boolean cell in lo_i..hi_i */
  LEAF_REAL,           /* real cell in lo_r..hi_r */
  LEAF_INT_SET,        /* integer or boolean cell in the set */
  LEAF_TEXT_EQ,        /* text cell equal to val of `con` */
  LEAF_IS_NULL,        /* cell is NULL */
  LEAF_CELL            /* decode the cell, then row_truth */
};

struct plan {                      /* of one node */
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

struct level {                     /* scratch of one AND, OR, NOT */
  uint64_t mask[BLOCK_WORDS], t[BLOCK_WORDS], u[BLOCK_WORDS];
};

struct filter_run {
  const struct filter *f;
  struct filter_source src;
  struct plan *plan;               /* by node */
  struct level *level;             /* f->height+1 of them */
  /* The column whose value is known because its cell is being looked at. */
  int cell_col;                    /* -1: none */
  struct vdb_value cell_val;
  struct vdb_str cell_buf;
};

/* ---- Row by row ----------------------------------------------------------- */

static int row_truth(struct filter_run *r, uint32_t i, slot_no slot,
                     enum tri *out);

/* Value of operand i for the row: BOOLEAN becomes INTEGER, NaN NULL. */
static int row_value(struct filter_run *r, uint32_t i, slot_no slot,
                     struct vdb_value *out){
  const struct filter_node *x = &r->f->node[i];
  enum tri t;
  int rc;
  switch( x->kind ){
    case F_CONST: case F_PARAM:
      *out = r->plan[i].val;
      return VECDB_OK;
    case F_COLUMN:
      if( (int)x->n==r->cell_col ){
        *out = r->cell_val;
        return VECDB_OK;
      }
      rc = r->src.value(r->src.arg, (int)x->n, slot, &r->plan[i].buf, out);
      if( out->type==VECDB_BOOLEAN ) out->type = VECDB_INTEGER;
      return rc;
    default:
      memset(out, 0, sizeof(*out));
      rc = row_truth(r, i, slot, &t);
      out->type = t==TRI_NULL ? VECDB_NULL : VECDB_INTEGER;
      out->i = t==TRI_TRUE;
      return rc;
  }
}

static enum tri tri_not(enum tri t){
  return t==TRI_NULL ? TRI_NULL : t==TRI_TRUE ? TRI_FALSE : TRI_TRUE;
}

static enum tri tri_of(bool b){
  return b ? TRI_TRUE : TRI_FALSE;
}

/* a op b, or a IS b, after affinity. */
static int row_compare(struct filter_run *r, uint32_t i, slot_no slot,
                       enum tri *out){
  const struct filter_node *x = &r->f->node[i];
  const struct plan *p = &r->plan[i];
  uint32_t b = r->f->node[x->child].next;
  char ta[VALUE_TEXT_MAX], tb[VALUE_TEXT_MAX];
  struct vdb_value va, vb;
  int rc, cmp;
  TRY( row_value(r, x->child, slot, &va) );
  TRY( row_value(r, b, slot, &vb) );
  vdb_value_convert(&va, p->aff, ta);
  vdb_value_convert(&vb, p->aff, tb);
  if( x->kind==F_CMP && (va.type==VECDB_NULL || vb.type==VECDB_NULL) ){
    *out = TRI_NULL;
    return VECDB_OK;
  }
  cmp = vdb_value_cmp(&va, &vb, p->coll);
  *out = x->kind==F_IS ? tri_of((cmp==0)!=x->is_not)
                       : tri_of(vdb_op_holds(x->op, cmp));
done:
  return rc;
}

/* Is v among the sorted constants of p? */
static bool set_contains(const struct plan *p, const struct vdb_value *v){
  size_t lo = 0, hi = p->n_set;
  while( lo<hi ){
    size_t mid = lo + (hi-lo)/2;
    int cmp = vdb_value_cmp(&p->set[mid], v, p->coll);
    if( cmp==0 ) return true;
    if( cmp<0 ) lo = mid+1;
    else hi = mid;
  }
  return false;
}

static int row_in(struct filter_run *r, uint32_t i, slot_no slot,
                  enum tri *out){
  const struct filter_node *x = &r->f->node[i];
  const struct plan *p = &r->plan[i];
  uint32_t item = r->f->node[x->child].next;
  char ta[VALUE_TEXT_MAX], tb[VALUE_TEXT_MAX];
  struct vdb_value va, vb;
  bool seen = false, has_null = p->set_has_null;
  int rc;
  *out = tri_of(x->is_not);
  if( item==0 ) return VECDB_OK;                /* IN (): false, whatever x */
  TRY( row_value(r, x->child, slot, &va) );
  vdb_value_convert(&va, p->aff, ta);
  if( va.type==VECDB_NULL ){
    *out = TRI_NULL;
    return VECDB_OK;
  }
  if( p->has_set ) seen = set_contains(p, &va);
  for(; !p->has_set && item && !seen; item=r->f->node[item].next){
    TRY( row_value(r, item, slot, &vb) );
    vdb_value_convert(&vb, p->aff, tb);
    if( vb.type==VECDB_NULL ) has_null = true;
    else seen = vdb_value_cmp(&va, &vb, p->coll)==0;
  }
  *out = !seen && has_null ? TRI_NULL : tri_of(seen!=x->is_not);
done:
  return rc;
}

static int row_like(struct filter_run *r, uint32_t i, slot_no slot,
                    enum tri *out){
  const struct filter_node *x = &r->f->node[i];
  uint32_t pat = r->f->node[x->child].next, esc = r->f->node[pat].next;
  char ta[VALUE_TEXT_MAX], tb[VALUE_TEXT_MAX], te[VALUE_TEXT_MAX];
  struct vdb_value va, vb, ve;
  int rc, escape = -1;
  bool seen;
  TRY( row_value(r, x->child, slot, &va) );
  TRY( row_value(r, pat, slot, &vb) );
  vdb_value_convert(&va, AFF_TEXT, ta);
  vdb_value_convert(&vb, AFF_TEXT, tb);
  *out = TRI_NULL;
  if( va.type==VECDB_NULL || vb.type==VECDB_NULL ) return VECDB_OK;
  if( esc ){
    TRY( row_value(r, esc, slot, &ve) );
    vdb_value_convert(&ve, AFF_TEXT, te);
    if( ve.type==VECDB_NULL || ve.n!=1 ) return VECDB_OK;
    escape = *(const unsigned char*)ve.p;
  }
  seen = x->kind==F_LIKE ? vdb_like_match(va.p, va.n, vb.p, vb.n, escape)
                         : vdb_glob_match(va.p, va.n, vb.p, vb.n);
  *out = tri_of(seen!=x->is_not);
done:
  return rc;
}

/* AND, OR: the value that decides ends the walk. */
static int row_chain(struct filter_run *r, uint32_t i, slot_no slot,
                     enum tri *out){
  const struct filter_node *x = &r->f->node[i];
  enum tri decides = x->kind==F_AND ? TRI_FALSE : TRI_TRUE, t;
  bool has_null = false;
  int rc;
  for(uint32_t c=x->child; c; c=r->f->node[c].next){
    rc = row_truth(r, c, slot, &t);
    if( rc!=VECDB_OK || t==decides ){
      *out = t;
      return rc;
    }
    if( t==TRI_NULL ) has_null = true;
  }
  *out = has_null ? TRI_NULL : tri_not(decides);
  return VECDB_OK;
}

static int row_truth(struct filter_run *r, uint32_t i, slot_no slot,
                     enum tri *out){
  const struct filter_node *x = &r->f->node[i];
  struct vdb_value v;
  int rc = VECDB_OK;
  *out = TRI_NULL;
  switch( x->kind ){
    case F_CMP: case F_IS:   return row_compare(r, i, slot, out);
    case F_IN:               return row_in(r, i, slot, out);
    case F_LIKE: case F_GLOB: return row_like(r, i, slot, out);
    case F_AND: case F_OR:   return row_chain(r, i, slot, out);
    case F_NOT:
      rc = row_truth(r, x->child, slot, out);
      *out = tri_not(*out);
      return rc;
    default: break;
  }
  rc = row_value(r, x->kind==F_BOOL || x->kind==F_NULL || x->kind==F_TRUTH
                    ? x->child : i, slot, &v);
  if( rc!=VECDB_OK ) return rc;
  *out = vdb_value_truth(&v);
  if( x->kind==F_NULL ) *out = tri_of((v.type==VECDB_NULL)!=x->is_not);
  if( x->kind==F_TRUTH ) *out = tri_of((*out==(enum tri)x->n)!=x->is_not);
  return VECDB_OK;
}

/* ---- Plans ---------------------------------------------------------------- */

static bool node_is_const(const struct filter_run *r, uint32_t i){
  int kind = r->f->node[i].kind;
  return kind==F_CONST || kind==F_PARAM;
}

static enum affinity node_affinity(const struct filter_run *r, uint32_t i){
  const struct filter_node *x = &r->f->node[i];
  return x->kind==F_COLUMN ? vdb_filter_affinity(r->f->col_type[x->n])
                           : AFF_NONE;
}

static void plan_convert(struct filter_run *r, uint32_t i, enum affinity aff){
  if( node_is_const(r, i) ){
    vdb_value_convert(&r->plan[i].val, aff, r->plan[i].text);
  }
}

/* x op c as a closed range of integers, and whether it is to be flipped. */
static void range_of_int(struct plan *p, enum filter_op op,
                         const struct vdb_value *c){
  bool all = false, none = false;
  int64_t lo = INT64_MIN, hi = INT64_MAX, v = c->i;
  if( c->type==VECDB_TEXT || c->type==VECDB_BLOB ){
    all = op==OP_LT || op==OP_LE || op==OP_NE;      /* numbers are below */
    none = !all;
  }else if( c->type==VECDB_REAL && !vdb_real_is_int(c->r, &v) ){
    bool is_above = c->r>=0x1p63, is_below = c->r<-0x1p63;
    all = op==OP_NE || (is_above && (op==OP_LT || op==OP_LE))
       || (is_below && (op==OP_GT || op==OP_GE));
    none = !all && (op==OP_EQ || is_above || is_below);
    if( !all && !none ){
      if( op==OP_LT || op==OP_LE ) hi = (int64_t)floor(c->r);
      else lo = (int64_t)ceil(c->r);
    }
  }else{
    switch( op ){
      case OP_EQ: case OP_NE: lo = hi = v; break;
      case OP_LE: hi = v; break;
      case OP_GE: lo = v; break;
      case OP_LT: hi = v-(v>INT64_MIN); none = v==INT64_MIN; break;
      default:    lo = v+(v<INT64_MAX); none = v==INT64_MAX; break;
    }
    p->flip = op==OP_NE;
  }
  if( all || none ){
    lo = INT64_MIN;
    hi = INT64_MAX;
    p->flip = none;
  }
  p->lo_i = lo;
  p->hi_i = hi;
}

/* The same for reals. A constant that no double equals lies between two. */
static void range_of_real(struct plan *p, enum filter_op op,
                          const struct vdb_value *c){
  double d = c->type==VECDB_REAL ? c->r : (double)c->i;
  double below = d, above = d;         /* the doubles <= c and >= c */
  struct vdb_value approx = { VECDB_REAL, 0, d, NULL, 0 };
  bool is_text = c->type==VECDB_TEXT || c->type==VECDB_BLOB, exact;
  int side = vdb_value_cmp(&approx, c, COLL_BINARY);
  p->lo_r = -INFINITY;
  p->hi_r = INFINITY;
  if( is_text ){
    p->flip = op==OP_EQ || op==OP_GT || op==OP_GE;
    return;
  }
  exact = side==0;
  if( side>0 ) below = nextafter(d, -INFINITY);
  if( side<0 ) above = nextafter(d, INFINITY);
  switch( op ){
    case OP_LT: p->hi_r = exact ? nextafter(d, -INFINITY) : below; break;
    case OP_LE: p->hi_r = below; break;
    case OP_GT: p->lo_r = exact ? nextafter(d, INFINITY) : above; break;
    case OP_GE: p->lo_r = above; break;
    default:
      p->flip = exact ? op==OP_NE : op==OP_EQ;
      if( exact ) p->lo_r = p->hi_r = d;
  }
  /* Nothing lies beyond an infinity. */
  if( op==OP_LT && exact && d==-INFINITY ) p->flip = true, p->hi_r = INFINITY;
  if( op==OP_GT && exact && d==INFINITY ) p->flip = true, p->lo_r = -INFINITY;
}

static enum filter_op op_mirror(enum filter_op op){
  switch( op ){
    case OP_LT: return OP_GT;
    case OP_LE: return OP_GE;
    case OP_GT: return OP_LT;
    case OP_GE: return OP_LE;
    default:    return op;
  }
}

/* A comparison of a column that has cells with a constant. */
static void plan_cells(struct filter_run *r, uint32_t i, uint32_t col,
                       uint32_t con, enum filter_op op){
  struct plan *p = &r->plan[i];
  const struct vdb_value *c = &r->plan[con].val;
  int type = r->f->col_type[r->f->node[col].n];
  p->column = r->f->node[col].n;
  p->con = con;
  p->leaf = LEAF_CELL;
  if( c->type==VECDB_NULL ) return;
  if( type==VECDB_INTEGER || type==VECDB_BOOLEAN ){
    p->leaf = LEAF_INT;
    range_of_int(p, op, c);
  }else if( type==VECDB_REAL ){
    p->leaf = LEAF_REAL;
    range_of_real(p, op, c);
  }else if( type==VECDB_TEXT && c->type==VECDB_TEXT
         && (op==OP_EQ || op==OP_NE) && p->coll<=COLL_BINARY ){
    p->leaf = LEAF_TEXT_EQ;
    p->flip = op==OP_NE;
  }
}

/* The only column below i, when it has cells and is used once: *col. */
static void columns_below(const struct filter_run *r, uint32_t i, uint32_t *n,
                          uint32_t *col){
  const struct filter_node *x = &r->f->node[i];
  if( x->kind==F_COLUMN ){
    ++*n;
    *col = i;
  }
  for(uint32_t c=x->child; c; c=r->f->node[c].next) columns_below(r, c, n, col);
}

static int value_order(const void *a, const void *b){
  return vdb_value_cmp(a, b, COLL_BINARY);
}
static int value_order_nocase(const void *a, const void *b){
  return vdb_value_cmp(a, b, COLL_NOCASE);
}
static int value_order_rtrim(const void *a, const void *b){
  return vdb_value_cmp(a, b, COLL_RTRIM);
}

static int plan_in(struct filter_run *r, uint32_t i){
  const struct filter_node *x = &r->f->node[i];
  struct plan *p = &r->plan[i];
  uint32_t first = r->f->node[x->child].next, c;
  size_t n = 0;
  p->aff = node_affinity(r, x->child);
  p->has_set = true;
  for(c=first; c; c=r->f->node[c].next, n++){
    plan_convert(r, c, p->aff);
    if( !node_is_const(r, c) ) p->has_set = false;
  }
  if( !p->has_set ) return VECDB_OK;
  p->set = vdb_malloc_array(n, sizeof(*p->set));
  if( p->set==NULL ) return VECDB_NOMEM;
  for(c=first; c; c=r->f->node[c].next){
    if( r->plan[c].val.type==VECDB_NULL ) p->set_has_null = true;
    else p->set[p->n_set++] = r->plan[c].val;
  }
  qsort(p->set, p->n_set, sizeof(*p->set),
        p->coll==COLL_NOCASE ? value_order_nocase
        : p->coll==COLL_RTRIM ? value_order_rtrim : value_order);
  return VECDB_OK;
}

/* x IN (constants), x an integer column without NULLs in the list: the list
** as integers. What is none cannot be equal to one. */
static int plan_int_set(struct filter_run *r, uint32_t i, uint32_t col){
  struct plan *p = &r->plan[i];
  int type = r->f->col_type[r->f->node[col].n];
  int64_t v;
  if( !p->has_set || p->set_has_null || p->n_set==0
   || (type!=VECDB_INTEGER && type!=VECDB_BOOLEAN) ) return VECDB_OK;
  p->ints = vdb_malloc_array(p->n_set, sizeof(*p->ints));
  if( p->ints==NULL ) return VECDB_NOMEM;
  for(size_t k=0; k<p->n_set; k++){
    const struct vdb_value *c = &p->set[k];
    if( c->type==VECDB_INTEGER ) v = c->i;
    else if( c->type!=VECDB_REAL || !vdb_real_is_int(c->r, &v) ) continue;
    p->ints[p->n_ints++] = v;
  }
  p->leaf = LEAF_INT_SET;
  p->flip = r->f->node[i].is_not;
  return VECDB_OK;
}

static int plan_node(struct filter_run *r, uint32_t i){
  const struct filter *f = r->f;
  const struct filter_node *x = &f->node[i];
  struct plan *p = &r->plan[i];
  uint32_t a = x->child, b = a ? f->node[a].next : 0, n_col = 0, col = 0;
  int rc = VECDB_OK;
  for(uint32_t c=a; c; c=f->node[c].next) TRY( plan_node(r, c) );
  if( x->kind==F_CMP || x->kind==F_IS ){
    p->coll = f->node[a].coll ? f->node[a].coll : f->node[b].coll;
    p->aff = vdb_filter_cmp_affinity(node_affinity(r, a), node_affinity(r, b));
    plan_convert(r, a, p->aff);
    plan_convert(r, b, p->aff);
  }else if( x->kind==F_IN ){
    p->coll = f->node[a].coll;
    TRY( plan_in(r, i) );
  }
  if( x->kind>=F_AND || a==0 ) return VECDB_OK;
  columns_below(r, i, &n_col, &col);
  if( n_col!=1 || !f->col_in_cells[f->node[col].n] ) return VECDB_OK;
  p->leaf = LEAF_CELL;
  p->column = f->node[col].n;
  if( x->kind==F_NULL && col==a ){
    p->leaf = LEAF_IS_NULL;
    p->flip = x->is_not;
  }else if( x->kind==F_IN && col==a ){
    TRY( plan_int_set(r, i, col) );
  }else if( x->kind==F_CMP && col==a && node_is_const(r, b) ){
    plan_cells(r, i, a, b, x->op);
  }else if( x->kind==F_CMP && col==b && node_is_const(r, a) ){
    plan_cells(r, i, b, a, op_mirror(x->op));
  }
done:
  return rc;
}

/* ---- Leaves over cells ---------------------------------------------------- */

struct leaf_scan {                 /* what the callback of a scan needs */
  struct filter_run *r;
  uint32_t i;                      /* the node */
  slot_no lo;                      /* first slot of the block */
  const uint64_t *mask;
  uint64_t *t, *u;
};

static uint64_t word_int(const unsigned char *cell, unsigned n,
                         const struct plan *p){
  uint64_t w = 0, span = (uint64_t)p->hi_i - (uint64_t)p->lo_i;
  for(unsigned j=0; j<n; j++){
    uint64_t v = (uint64_t)vdb_cell_int(cell + 8*j) - (uint64_t)p->lo_i;
    w |= (uint64_t)(v<=span) << j;
  }
  return w;
}

static uint64_t word_bool(const unsigned char *cell, unsigned n,
                          const struct plan *p){
  uint64_t w = 0;
  bool f = p->lo_i<=0 && p->hi_i>=0, t = p->lo_i<=1 && p->hi_i>=1;
  for(unsigned j=0; j<n; j++){
    w |= (uint64_t)(vdb_cell_bool(cell + j) ? t : f) << j;
  }
  return w;
}

static uint64_t word_real(const unsigned char *cell, unsigned n,
                          const struct plan *p){
  uint64_t w = 0;
  for(unsigned j=0; j<n; j++){
    double v = vdb_cell_real(cell + 8*j);
    w |= (uint64_t)(v>=p->lo_r && v<=p->hi_r) << j;
  }
  return w;
}

static bool ints_contain(const struct plan *p, int64_t v){
  size_t lo = 0, hi = p->n_ints;
  while( lo<hi ){
    size_t mid = lo + (hi-lo)/2;
    if( p->ints[mid]<v ) lo = mid+1;
    else hi = mid;
  }
  return lo<p->n_ints && p->ints[lo]==v;
}

static uint64_t word_int_set(const unsigned char *cell, unsigned width,
                             unsigned n, const struct plan *p){
  uint64_t w = 0;
  for(unsigned j=0; j<n; j++){
    int64_t v = width==1 ? vdb_cell_bool(cell+j) : vdb_cell_int(cell+8*j);
    w |= (uint64_t)ints_contain(p, v) << j;
  }
  return w;
}

/* Rows `want` whose text is the constant's: the length and the first bytes
** decide nearly always. */
static int word_text(struct leaf_scan *s, const unsigned char *cell,
                     slot_no slot, uint64_t want, uint64_t *out){
  const struct plan *p = &s->r->plan[s->i];
  const struct vdb_value *c = &s->r->plan[p->con].val;
  size_t n_head = vdb_min_sz(c->n, CELL_INLINE_MAX), n;
  const char *z;
  int rc = VECDB_OK;
  *out = 0;
  for(; want; want &= want-1){
    unsigned j = (unsigned)__builtin_ctzll(want);
    const unsigned char *x = cell + 16*j;
    if( vdb_cell_text_len(x)!=c->n ) continue;
    if( n_head && memcmp(vdb_cell_prefix(x), c->p, n_head)!=0 ) continue;
    if( c->n>CELL_INLINE_MAX ){
      TRY( s->r->src.cell_text(s->r->src.arg, (int)p->column, slot+j, x,
                               &s->r->cell_buf, &z, &n) );
      if( n!=c->n || memcmp(z, c->p, n)!=0 ) continue;
    }
    *out |= (uint64_t)1 << j;
  }
done:
  return rc;
}

/* The value in a cell, as row_value would give it. */
static int cell_decode(struct filter_run *r, uint32_t column, slot_no slot,
                       const unsigned char *cell, bool is_null,
                       struct vdb_value *v){
  const char *z = NULL;
  int rc = VECDB_OK;
  memset(v, 0, sizeof(*v));
  if( is_null ) return VECDB_OK;
  v->type = r->f->col_type[column];
  switch( v->type ){
    case VECDB_INTEGER: v->i = vdb_cell_int(cell); break;
    case VECDB_REAL:    v->r = vdb_cell_real(cell); break;
    case VECDB_BOOLEAN:
      v->type = VECDB_INTEGER;
      v->i = vdb_cell_bool(cell);
      break;
    default:
      rc = r->src.cell_text(r->src.arg, (int)column, slot, cell, &r->cell_buf,
                            &z, &v->n);
      v->p = z;
  }
  return rc;
}

/* Rows `want` of one word, each decoded. */
static int word_cells(struct leaf_scan *s, const struct coll_chunk *k,
                      unsigned off, uint64_t want, uint64_t null,
                      uint64_t *t, uint64_t *u){
  struct filter_run *r = s->r;
  uint32_t column = r->plan[s->i].column;
  enum tri v;
  int rc = VECDB_OK;
  *t = *u = 0;
  for(; want; want &= want-1){
    unsigned j = (unsigned)__builtin_ctzll(want);
    slot_no slot = k->lo + off + j;
    TRY( cell_decode(r, column, slot, k->cell + (size_t)k->width*(off+j),
                     (null>>j)&1, &r->cell_val) );
    r->cell_col = (int)column;
    rc = row_truth(r, s->i, slot, &v);
    r->cell_col = -1;
    if( rc!=VECDB_OK ) goto done;
    if( v==TRI_TRUE ) *t |= (uint64_t)1 << j;
    if( v==TRI_NULL ) *u |= (uint64_t)1 << j;
  }
done:
  return rc;
}

/* One word of at most 64 rows at offset `off` of the chunk. */
static int leaf_word(struct leaf_scan *s, const struct coll_chunk *k,
                     unsigned off, uint64_t mask, uint64_t *t, uint64_t *u){
  const struct plan *p = &s->r->plan[s->i];
  unsigned n = k->n-off<64 ? k->n-off : 64;
  uint64_t null = k->null ? k->null[off/64] : 0, w = 0;
  const unsigned char *cell = k->cell + (size_t)k->width*off;
  int rc = VECDB_OK;
  *u = null & mask;
  switch( p->leaf ){
    case LEAF_CELL:
      return word_cells(s, k, off, mask, null, t, u);
    case LEAF_IS_NULL:
      w = null;
      null = *u = 0;
      break;
    case LEAF_INT:
      w = k->width==1 ? word_bool(cell, n, p) : word_int(cell, n, p);
      break;
    case LEAF_REAL:
      w = word_real(cell, n, p);
      break;
    case LEAF_INT_SET:
      w = word_int_set(cell, k->width, n, p);
      break;
    default:
      rc = word_text(s, cell, k->lo+off, mask & ~null, &w);
  }
  if( p->flip ) w = ~w;
  *t = w & mask & ~null;
  return rc;
}

static int leaf_chunk(void *arg, const struct coll_chunk *k){
  struct leaf_scan *s = arg;
  int rc = VECDB_OK;
  for(unsigned off=0; off<k->n; off+=64){
    size_t w = (k->lo + off - s->lo)/64;
    uint64_t mask;
    if( k->lo+off<s->lo || w>=BLOCK_WORDS ) continue;
    mask = s->mask[w];
    if( k->n-off<64 ) mask &= ((uint64_t)1 << (k->n-off)) - 1;
    if( mask==0 ) continue;
    TRY( leaf_word(s, k, off, mask, &s->t[w], &s->u[w]) );
  }
done:
  return rc;
}

static int leaf_rows(struct leaf_scan *s){
  enum tri v;
  int rc = VECDB_OK;
  for(size_t w=0; w<BLOCK_WORDS; w++){
    for(uint64_t m=s->mask[w]; m; m &= m-1){
      unsigned j = (unsigned)__builtin_ctzll(m);
      TRY( row_truth(s->r, s->i, s->lo + (slot_no)(64*w) + j, &v) );
      if( v==TRI_TRUE ) s->t[w] |= (uint64_t)1 << j;
      if( v==TRI_NULL ) s->u[w] |= (uint64_t)1 << j;
    }
  }
done:
  return rc;
}

/* ---- Blocks --------------------------------------------------------------- */

static int leaf_block(struct filter_run *r, uint32_t i, slot_no lo,
                      const uint64_t *mask, uint64_t *t, uint64_t *u){
  struct leaf_scan s = { r, i, lo, mask, t, u };
  size_t n = vdb_bit_count(mask, FILTER_BLOCK), w = BLOCK_WORDS;
  uint64_t hi;
  memset(t, 0, BLOCK_WORDS*8);
  memset(u, 0, BLOCK_WORDS*8);
  if( n==0 ) return VECDB_OK;
  while( mask[w-1]==0 ) w--;
  if( r->plan[i].leaf==LEAF_ROWS || n*ROWS_SPARSE<64*w ) return leaf_rows(&s);
  hi = (uint64_t)lo + 64*w;
  return r->src.scan(r->src.arg, (int)r->plan[i].column, lo,
                     hi<SLOT_NONE ? (slot_no)hi : SLOT_NONE, leaf_chunk, &s);
}

/* Truth of node i over one block: t and u (F1). */
static int node_block(struct filter_run *r, uint32_t i, unsigned level,
                      slot_no lo, const uint64_t *mask, uint64_t *t,
                      uint64_t *u){
  const struct filter_node *x = &r->f->node[i];
  struct level *l = &r->level[level];
  int rc = VECDB_OK;
  if( x->kind<F_AND ) return leaf_block(r, i, lo, mask, t, u);
  if( x->kind==F_NOT ){
    TRY( node_block(r, x->child, level+1, lo, mask, t, u) );
    for(size_t w=0; w<BLOCK_WORDS; w++) t[w] = mask[w] & ~(t[w] | u[w]);
    return VECDB_OK;
  }
  /* AND: l->mask is what is not false yet, t what is true so far.
  ** OR: l->mask is what is not true yet, u what was null so far. */
  memcpy(l->mask, mask, sizeof(l->mask));
  memset(u, 0, sizeof(l->u));
  if( x->kind==F_AND ) memcpy(t, mask, sizeof(l->t));
  else memset(t, 0, sizeof(l->t));
  for(uint32_t c=x->child; c; c=r->f->node[c].next){
    TRY( node_block(r, c, level+1, lo, l->mask, l->t, l->u) );
    for(size_t w=0; w<BLOCK_WORDS; w++){
      if( x->kind==F_AND ){
        l->mask[w] &= l->t[w] | l->u[w];
        t[w] &= l->t[w];
      }else{
        l->mask[w] &= ~l->t[w];
        t[w] |= l->t[w];
        u[w] |= l->u[w];
      }
    }
  }
  for(size_t w=0; w<BLOCK_WORDS; w++){
    if( x->kind==F_AND ) u[w] = l->mask[w] & ~t[w];
    else u[w] &= ~t[w];
  }
done:
  return rc;
}

/* ---- Keys ----------------------------------------------------------------- */

/* Does node i say that the key is one of a few constants? Then their values:
** *n of them, from v[0] or, for an IN, in order. */
static bool node_names_keys(const struct filter_run *r, uint32_t i,
                            const struct vdb_value **v, size_t *n){
  const struct filter_node *x = &r->f->node[i];
  uint32_t a = x->child, b = a ? r->f->node[a].next : 0;
  if( x->kind==F_CMP && x->op==OP_EQ && node_is_const(r, a) ){
    uint32_t t = a;
    a = b;
    b = t;
  }
  if( a==0 || r->f->node[a].kind!=F_COLUMN || r->f->node[a].n!=0
   || r->plan[i].coll>COLL_BINARY ) return false;
  if( x->kind==F_CMP && x->op==OP_EQ && node_is_const(r, b) ){
    *v = &r->plan[b].val;
    *n = 1;
    return true;
  }
  *v = r->plan[i].set;
  *n = r->plan[i].n_set;
  return x->kind==F_IN && !x->is_not && r->plan[i].has_set;
}

bool vdb_filter_keys(const struct filter_run *r, const struct vdb_value **v,
                     size_t *n){
  uint32_t i = r->f->root;
  if( r->f->node[i].kind!=F_AND ) return node_names_keys(r, i, v, n);
  for(uint32_t c=r->f->node[i].child; c; c=r->f->node[c].next){
    if( node_names_keys(r, c, v, n) ) return true;
  }
  return false;
}

/* ---- Runs ----------------------------------------------------------------- */

void vdb_filter_end(struct filter_run *r){
  if( r==NULL ) return;
  for(size_t i=0; r->plan && i<r->f->n_node; i++){
    vdb_str_clear(&r->plan[i].buf);
    vdb_free(r->plan[i].set);
    vdb_free(r->plan[i].ints);
  }
  vdb_str_clear(&r->cell_buf);
  vdb_free(r->plan);
  vdb_free(r->level);
  vdb_free(r);
}

static void plan_constants(struct filter_run *r,
                           const struct vdb_value *param, size_t n_param){
  for(size_t i=1; i<r->f->n_node; i++){
    const struct filter_node *x = &r->f->node[i];
    struct vdb_value *v = &r->plan[i].val;
    if( x->kind==F_CONST ) *v = r->f->literal[x->n];
    if( x->kind==F_PARAM && x->n<=n_param ) *v = param[x->n-1];
    if( v->type==VECDB_BOOLEAN ) v->type = VECDB_INTEGER;
    if( v->type==VECDB_REAL && v->r!=v->r ) v->type = VECDB_NULL;
    if( v->type==VALUE_UNSET ) v->type = VECDB_NULL;
  }
}

int vdb_filter_begin(const struct filter *f, const struct vdb_value *param,
                     size_t n_param, const struct filter_source *src,
                     struct filter_run **out){
  struct filter_run *r = vdb_calloc(1, sizeof(*r));
  int rc = VECDB_NOMEM;
  *out = NULL;
  if( r==NULL ) return VECDB_NOMEM;
  r->f = f;
  r->src = *src;
  r->cell_col = -1;
  r->plan = vdb_calloc(f->n_node, sizeof(*r->plan));
  if( r->plan==NULL ) goto done;
  r->level = vdb_malloc_array((size_t)f->height+1, sizeof(*r->level));
  if( r->level==NULL ) goto done;
  plan_constants(r, param, n_param);
  TRY( plan_node(r, f->root) );
  *out = r;
  r = NULL;
done:
  vdb_filter_end(r);
  return rc;
}

int vdb_filter_row(struct filter_run *r, slot_no slot, bool *pass){
  enum tri t = TRI_NULL;
  int rc = row_truth(r, r->f->root, slot, &t);
  *pass = rc==VECDB_OK && t==TRI_TRUE;
  return rc;
}

int vdb_filter_rows(struct filter_run *r, uint64_t *rows, uint64_t n_slot){
  struct level *l = &r->level[r->f->height];       /* nobody's below */
  size_t n_word = vdb_bitset_words(n_slot);
  int rc = VECDB_OK;
  for(size_t w=0; w<n_word; w+=BLOCK_WORDS){
    size_t n = vdb_min_sz(BLOCK_WORDS, n_word-w);
    if( r->src.poll ) TRY( r->src.poll(r->src.arg) );
    memset(l->mask, 0, sizeof(l->mask));
    memcpy(l->mask, rows+w, n*8);
    TRY( node_block(r, r->f->root, 0, (slot_no)(64*w), l->mask, l->t, l->u) );
    memcpy(rows+w, l->t, n*8);
  }
done:
  return rc;
}
