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

#include "util/bytes.h"
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

/* ---- Texts ---------------------------------------------------------------
** A cell is the length and 12 bytes, zeros behind a shorter text; put_u64 and
** the kernels agree on the order of bytes. */

static struct text_cell text_cell(const struct vdb_value *v){
  unsigned char cell[16] = { 0 };
  struct text_cell t;
  put_u32(cell, (uint32_t)v->n);
  if( v->n>0 ) memcpy(cell+4, v->p, vdb_min_sz(v->n, CELL_INLINE_MAX));
  t.w[0] = get_u64(cell);
  t.w[1] = get_u64(cell+8);
  return t;
}

/* Equal: so is the whole cell. Before or behind: by the first 8 bytes, unless
** they are equal. */
static void plan_text(struct filter_plan *p, enum filter_op op,
                      const struct vdb_value *c){
  struct text_cell t = text_cell(c);
  if( op==OP_EQ || op==OP_NE ){
    p->leaf = LEAF_TEXT_MASK;
    p->is_sure = c->n<=CELL_INLINE_MAX;
    p->flip = op==OP_NE;
    memset(p->mask, 0xff, sizeof(p->mask));
    put_u64(p->want, t.w[0]);
    put_u64(p->want+8, t.w[1]);
    return;
  }
  p->leaf = LEAF_TEXT_ORDER;
  p->is_below = op==OP_LT || op==OP_LE;
  p->head = 0;
  for(size_t i=0; i<8; i++){
    p->head = p->head<<8 | (i<c->n ? ((const unsigned char*)c->p)[i] : 0u);
  }
}

static bool is_letter(unsigned char x){
  return (x>='a' && x<='z') || (x>='A' && x<='Z');
}

/* text LIKE or GLOB pattern: what stands before the first wild card must be in
** the cell, for LIKE in either case. A zero byte could be padding. */
static void plan_pattern(struct filter_run *r, uint32_t i, uint32_t pattern,
                         bool is_like){
  struct filter_plan *p = &r->plan[i];
  const struct vdb_value *v = &r->plan[pattern].val;
  const unsigned char *z = v->p;
  const char *wild = is_like ? "%_" : "*?[";
  size_t n = 0;
  if( v->type!=VECDB_TEXT ) return;
  memset(p->want, 0, sizeof(p->want));
  memset(p->mask, 0, sizeof(p->mask));
  for(; n<v->n && n<CELL_INLINE_MAX && z[n] && !strchr(wild, z[n]); n++){
    p->mask[4+n] = is_like && is_letter(z[n]) ? 0xdf : 0xff;
    p->want[4+n] = z[n] & p->mask[4+n];
  }
  if( n==0 ) return;
  p->leaf = LEAF_TEXT_MASK;
  p->is_sure = n+1==v->n && z[n]==wild[0];
  p->flip = r->f->node[i].is_not;
}

/* A comparison of a column that has cells with a constant. */
static void plan_cells(struct filter_run *r, uint32_t i, uint32_t col,
                       uint32_t con, enum filter_op op){
  struct filter_plan *p = &r->plan[i];
  const struct vdb_value *c = &r->plan[con].val;
  int type = r->f->col_type[r->f->node[col].n];
  p->column = r->f->node[col].n;
  p->leaf = LEAF_CELL;
  if( c->type==VECDB_NULL ) return;
  if( type==VECDB_INTEGER || type==VECDB_BOOLEAN ){
    p->leaf = LEAF_INT;
    range_of_int(p, op, c);
    if( type==VECDB_BOOLEAN ){
      p->leaf = LEAF_BOOL;
      p->has_false = p->lo_i<=0 && p->hi_i>=0;
      p->has_true = p->lo_i<=1 && p->hi_i>=1;
    }
  }else if( type==VECDB_REAL ){
    p->leaf = LEAF_REAL;
    range_of_real(p, op, c);
  }else if( type==VECDB_TEXT && c->type==VECDB_TEXT
         && p->coll<=COLL_BINARY ){
    plan_text(p, op, c);
  }
}

/* A column as a truth value: 0 is false. */
static void plan_truth(struct filter_plan *p, int type){
  if( type==VECDB_INTEGER ) p->leaf = LEAF_INT;
  else if( type==VECDB_REAL ) p->leaf = LEAF_REAL;
  else if( type==VECDB_BOOLEAN ) p->leaf = LEAF_BOOL;
  p->has_true = type==VECDB_BOOLEAN;
  p->flip = type==VECDB_INTEGER || type==VECDB_REAL;
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

/* ---- Lists ----------------------------------------------------------------
** What cannot be equal to a value of the column is left out. */

static int plan_int_set(struct filter_plan *p, int type){
  int64_t v;
  p->ints = vdb_malloc_array(p->n_set+1, sizeof(*p->ints));
  if( p->ints==NULL ) return VECDB_NOMEM;
  for(size_t k=0; k<p->n_set; k++){
    const struct vdb_value *c = &p->set[k];
    if( c->type==VECDB_INTEGER ) v = c->i;
    else if( c->type!=VECDB_REAL || !vdb_real_is_int(c->r, &v) ) continue;
    if( p->n_ints>0 && p->ints[p->n_ints-1]==v ) continue;
    p->ints[p->n_ints++] = v;
    if( v==0 ) p->has_false = true;
    if( v==1 ) p->has_true = true;
  }
  p->leaf = type==VECDB_BOOLEAN ? LEAF_BOOL : LEAF_INT_SET;
  if( type==VECDB_BOOLEAN || p->n_ints<=SET_FEW ) return VECDB_OK;
  return vdb_intset_create(p->ints, p->n_ints, &p->intset);
}

static int plan_real_set(struct filter_plan *p){
  p->reals = vdb_malloc_array(p->n_set+1, sizeof(*p->reals));
  if( p->reals==NULL ) return VECDB_NOMEM;
  for(size_t k=0; k<p->n_set; k++){
    const struct vdb_value *c = &p->set[k];
    struct vdb_value v = { VECDB_REAL, 0, 0, NULL, 0 };
    if( c->type!=VECDB_INTEGER && c->type!=VECDB_REAL ) continue;
    v.r = c->type==VECDB_REAL ? c->r : (double)c->i;
    if( vdb_value_cmp(&v, c, COLL_BINARY)==0 ) p->reals[p->n_reals++] = v.r;
  }
  p->leaf = LEAF_REAL_SET;
  return VECDB_OK;
}

static void texts_add(struct filter_plan *p, struct text_cell t){
  size_t at = 0;
  if( p->texts_mask ){
    at = text_place(p, t.w[0], t.w[1]);
    while( p->texts[at].w[0]!=TEXT_NONE ) at = (at+1) & p->texts_mask;
  }else{
    at = p->n_texts;
  }
  p->texts[at] = t;
  p->n_texts++;
}

static int plan_text_set(struct filter_plan *p){
  size_t n = 16;
  while( n<2*p->n_set ) n *= 2;
  p->texts = vdb_malloc_array(n, sizeof(*p->texts));
  if( p->texts==NULL ) return VECDB_NOMEM;
  for(size_t k=0; k<n; k++) p->texts[k].w[0] = p->texts[k].w[1] = TEXT_NONE;
  p->texts_mask = p->n_set>SET_FEW ? n-1 : 0;
  for(size_t k=0; k<p->n_set; k++){
    if( p->set[k].type==VECDB_TEXT ) texts_add(p, text_cell(&p->set[k]));
  }
  /* A table of few texts is looked through. */
  if( p->n_texts<=SET_FEW && p->texts_mask ){
    size_t at = 0;
    for(size_t k=0; k<n; k++){
      if( p->texts[k].w[0]!=TEXT_NONE ) p->texts[at++] = p->texts[k];
    }
  }
  p->leaf = LEAF_TEXT_SET;
  return VECDB_OK;
}

/* x IN (constants), x a column that has cells. */
static int plan_set(struct filter_run *r, uint32_t i, uint32_t col){
  struct filter_plan *p = &r->plan[i];
  int type = r->f->col_type[r->f->node[col].n], rc = VECDB_OK;
  if( !p->has_set || p->n_set==0 ) return VECDB_OK;  /* NULL IN (): false */
  if( type==VECDB_TEXT && p->coll<=COLL_BINARY ) rc = plan_text_set(p);
  else if( type==VECDB_REAL ) rc = plan_real_set(p);
  else if( type==VECDB_INTEGER || type==VECDB_BOOLEAN ){
    rc = plan_int_set(p, type);
  }
  if( p->leaf!=LEAF_CELL ) p->flip = r->f->node[i].is_not;
  return rc;
}

/* ---- AND ----------------------------------------------------------------- */

static bool is_range(const struct filter_plan *p){
  return (p->leaf==LEAF_INT || p->leaf==LEAF_REAL) && !p->flip;
}

/* a >= 3 AND a < 7 looks at the column once. Ranges that exclude each other
** stay apart: there is no empty one. */
static void plan_merge(struct filter_run *r, uint32_t i){
  const struct filter *f = r->f;
  for(uint32_t c=f->node[i].child; c; c=f->node[c].next){
    struct filter_plan *p = &r->plan[c];
    if( !is_range(p) || p->is_merged ) continue;
    for(uint32_t d=f->node[c].next; d; d=f->node[d].next){
      struct filter_plan *q = &r->plan[d];
      if( !is_range(q) || q->is_merged || q->leaf!=p->leaf
       || q->column!=p->column ) continue;
      if( q->lo_i>p->hi_i || q->hi_i<p->lo_i ) continue;
      if( q->lo_r>p->hi_r || q->hi_r<p->lo_r ) continue;
      if( q->lo_i>p->lo_i ) p->lo_i = q->lo_i;
      if( q->hi_i<p->hi_i ) p->hi_i = q->hi_i;
      if( q->lo_r>p->lo_r ) p->lo_r = q->lo_r;
      if( q->hi_r<p->hi_r ) p->hi_r = q->hi_r;
      q->is_merged = true;
    }
  }
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
  if( x->kind==F_AND ) plan_merge(r, i);
  if( x->kind>=F_AND || a==0 ) return VECDB_OK;
  columns_below(r, i, &n_col, &col);
  if( n_col!=1 || !f->col_in_cells[f->node[col].n] ) return VECDB_OK;
  p->leaf = LEAF_CELL;
  p->column = f->node[col].n;
  if( x->kind==F_NULL && col==a ){
    p->leaf = LEAF_IS_NULL;
    p->flip = x->is_not;
  }else if( x->kind==F_BOOL && col==a ){
    plan_truth(p, f->col_type[p->column]);
  }else if( x->kind==F_IN && col==a ){
    TRY( plan_set(r, i, col) );
  }else if( (x->kind==F_LIKE || x->kind==F_GLOB) && col==a
         && node_is_const(r, b) && f->node[b].next==0
         && f->col_type[f->node[a].n]==VECDB_TEXT ){
    plan_pattern(r, i, b, x->kind==F_LIKE);
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
