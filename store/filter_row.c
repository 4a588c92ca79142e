/* filter_row.c -- a filter for one row: the tree, walked.
**
** This is the reference for every faster way (F2 in filter_run.c). While the
** cell of a column is being looked at, the value of that column is in
** cell_val; all others are read from the row.
*/
#include "util/common.h"
#include "store/filter_int.h"

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
      rc = vdb_filter_truth(r, i, slot, &t);
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
  const struct filter_plan *p = &r->plan[i];
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
static bool set_contains(const struct filter_plan *p,
                         const struct vdb_value *v){
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
  const struct filter_plan *p = &r->plan[i];
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
    rc = vdb_filter_truth(r, c, slot, &t);
    if( rc!=VECDB_OK || t==decides ){
      *out = t;
      return rc;
    }
    if( t==TRI_NULL ) has_null = true;
  }
  *out = has_null ? TRI_NULL : tri_not(decides);
  return VECDB_OK;
}

int vdb_filter_truth(struct filter_run *r, uint32_t i, slot_no slot,
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
      rc = vdb_filter_truth(r, x->child, slot, out);
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
