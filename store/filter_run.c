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
**           row (filter_row.c), which is also how one row is tested
**           (vdb_filter_row).
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

#define FILTER_BLOCK   65536u
#define BLOCK_WORDS    (FILTER_BLOCK/64)
#define ROWS_SPARSE    64         /* one row of so many: not worth the cells */

struct filter_level {                     /* scratch of one AND, OR, NOT */
  uint64_t mask[BLOCK_WORDS], t[BLOCK_WORDS], u[BLOCK_WORDS];
};

/* ---- Leaves over cells -------------------------------------------------- */

struct leaf_scan {                 /* what the callback of a scan needs */
  struct filter_run *r;
  uint32_t i;                      /* the node */
  slot_no lo;                      /* first slot of the block */
  const uint64_t *mask;
  uint64_t *t, *u;
};

static uint64_t word_int(const unsigned char *cell, unsigned n,
                         const struct filter_plan *p){
  uint64_t w = 0, span = (uint64_t)p->hi_i - (uint64_t)p->lo_i;
  for(unsigned j=0; j<n; j++){
    uint64_t v = (uint64_t)vdb_cell_int(cell + 8*j) - (uint64_t)p->lo_i;
    w |= (uint64_t)(v<=span) << j;
  }
  return w;
}

static uint64_t word_bool(const unsigned char *cell, unsigned n,
                          const struct filter_plan *p){
  uint64_t w = 0;
  bool f = p->lo_i<=0 && p->hi_i>=0, t = p->lo_i<=1 && p->hi_i>=1;
  for(unsigned j=0; j<n; j++){
    w |= (uint64_t)(vdb_cell_bool(cell + j) ? t : f) << j;
  }
  return w;
}

static uint64_t word_real(const unsigned char *cell, unsigned n,
                          const struct filter_plan *p){
  uint64_t w = 0;
  for(unsigned j=0; j<n; j++){
    double v = vdb_cell_real(cell + 8*j);
    w |= (uint64_t)(v>=p->lo_r && v<=p->hi_r) << j;
  }
  return w;
}

static bool ints_contain(const struct filter_plan *p, int64_t v){
  size_t lo = 0, hi = p->n_ints;
  while( lo<hi ){
    size_t mid = lo + (hi-lo)/2;
    if( p->ints[mid]<v ) lo = mid+1;
    else hi = mid;
  }
  return lo<p->n_ints && p->ints[lo]==v;
}

static uint64_t word_int_set(const unsigned char *cell, unsigned width,
                             unsigned n, const struct filter_plan *p){
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
  const struct filter_plan *p = &s->r->plan[s->i];
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
    rc = vdb_filter_truth(r, s->i, slot, &v);
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
  const struct filter_plan *p = &s->r->plan[s->i];
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
      TRY( vdb_filter_truth(s->r, s->i, s->lo + (slot_no)(64*w) + j, &v) );
      if( v==TRI_TRUE ) s->t[w] |= (uint64_t)1 << j;
      if( v==TRI_NULL ) s->u[w] |= (uint64_t)1 << j;
    }
  }
done:
  return rc;
}

/* ---- Blocks ------------------------------------------------------------- */

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
