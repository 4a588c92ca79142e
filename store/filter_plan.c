/* filter_plan.c -- constants converted, lists sorted, leaves classified.
**
** A comparison of an integer column with any constant is one closed range of
** integers, or its complement; of a real column, one closed range of doubles:
** what the constant's type and value mean is settled here, once per run.
*/
#include "util/common.h"
#include "store/filter_int.h"

#include <math.h>
#include <stdlib.h>

#include "util/mem.h"

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
static void range_of_int(struct filter_plan *p, enum filter_op op,
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
static void range_of_real(struct filter_plan *p, enum filter_op op,
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
  struct filter_plan *p = &r->plan[i];
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
  struct filter_plan *p = &r->plan[i];
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
  struct filter_plan *p = &r->plan[i];
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

int vdb_filter_plan(struct filter_run *r, uint32_t i){
  const struct filter *f = r->f;
  const struct filter_node *x = &f->node[i];
  struct filter_plan *p = &r->plan[i];
  uint32_t a = x->child, b = a ? f->node[a].next : 0, n_col = 0, col = 0;
  int rc = VECDB_OK;
  for(uint32_t c=a; c; c=f->node[c].next) TRY( vdb_filter_plan(r, c) );
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

/* ---- Keys --------------------------------------------------------------- */

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
