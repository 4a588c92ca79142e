/* filter_run.c -- evaluate a filter over slots.
**
** BLOCKS    Slots go by blocks of FILTER_BLOCK. A node of truth value gets a
**           mask of rows that still matter and answers with two bitmaps, true
**           and null; false is the rest of the mask. AND drops rows from the
**           mask of its next child as soon as they are false, OR as soon as
**           they are true, so costly children see few rows.
**
** LEAVES    A comparison that involves a single column, which has cells, and
**           constants is answered from the cells (filter_leaf.c). Other leaves,
**           and masks with few rows, are answered row by row (filter_row.c),
**           which is also how one row is tested (vdb_filter_row).
**
** CONSTANTS are converted by the affinity of what they are compared with, and
**           lists of IN are sorted, once per run (filter_plan.c).
**
** INVARIANTS
**   F1  Bits of true and null are subsets of the mask, and disjoint.
**   F2  Both ways to answer a leaf give the same bits.
*/
#include "util/common.h"
#include "store/filter_int.h"

#include "util/bitset.h"
#include "util/mem.h"

#define BLOCK_WORDS    FILTER_BLOCK_WORDS
#define ROWS_SPARSE    512        /* one row of so many: not worth the cells */

struct filter_level {                     /* scratch of one AND, OR, NOT */
  uint64_t mask[BLOCK_WORDS], t[BLOCK_WORDS], u[BLOCK_WORDS];
};

/* ---- Blocks ------------------------------------------------------------- */

static int leaf_rows(struct filter_run *r, uint32_t i, slot_no lo,
                     const uint64_t *mask, uint64_t *t, uint64_t *u){
  enum tri v;
  int rc = VECDB_OK;
  for(size_t w=0; w<BLOCK_WORDS; w++){
    for(uint64_t m=mask[w]; m; m &= m-1){
      unsigned j = (unsigned)__builtin_ctzll(m);
      TRY( vdb_filter_truth(r, i, lo + (slot_no)(64*w) + j, &v) );
      if( v==TRI_TRUE ) t[w] |= (uint64_t)1 << j;
      if( v==TRI_NULL ) u[w] |= (uint64_t)1 << j;
    }
  }
done:
  return rc;
}

static int leaf_block(struct filter_run *r, uint32_t i, slot_no lo,
                      const uint64_t *mask, uint64_t *t, uint64_t *u){
  size_t n = vdb_bit_count(mask, FILTER_BLOCK), w = BLOCK_WORDS;
  memset(t, 0, BLOCK_WORDS*8);
  memset(u, 0, BLOCK_WORDS*8);
  if( n==0 ) return VECDB_OK;
  while( mask[w-1]==0 ) w--;
  if( r->plan[i].leaf==LEAF_ROWS || n*ROWS_SPARSE<64*w ){
    return leaf_rows(r, i, lo, mask, t, u);
  }
  return vdb_filter_leaf(r, i, lo, w, mask, t, u);
}

/* Truth of node i over one block: t and u (F1). */
static int node_block(struct filter_run *r, uint32_t i, unsigned level,
                      slot_no lo, const uint64_t *mask, uint64_t *t,
                      uint64_t *u){
  const struct filter_node *x = &r->f->node[i];
  struct filter_level *l = &r->level[level];
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
    if( r->plan[c].is_merged ) continue;
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

/* ---- Runs --------------------------------------------------------------- */

void vdb_filter_end(struct filter_run *r){
  if( r==NULL ) return;
  for(size_t i=0; r->plan && i<r->f->n_node; i++){
    vdb_str_clear(&r->plan[i].buf);
    vdb_free(r->plan[i].set);
    vdb_free(r->plan[i].ints);
    vdb_free(r->plan[i].reals);
    vdb_free(r->plan[i].texts);
    vdb_intset_destroy(r->plan[i].intset);
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
  TRY( vdb_filter_plan(r, f->root) );
  *out = r;
  r = NULL;
done:
  vdb_filter_end(r);
  return rc;
}

int vdb_filter_row(struct filter_run *r, slot_no slot, bool *pass){
  enum tri t = TRI_NULL;
  int rc = vdb_filter_truth(r, r->f->root, slot, &t);
  *pass = rc==VECDB_OK && t==TRI_TRUE;
  return rc;
}

int vdb_filter_rows(struct filter_run *r, uint64_t *rows, uint64_t n_slot){
  struct filter_level *l = &r->level[r->f->height];       /* nobody's below */
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
