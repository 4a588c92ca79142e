/* filter_leaf.c -- a comparison of one column with constants, over its cells.
**
** Cells are compared where they lie, a run at a time, by the kernels of
** simd/column.h; what they say is one bit per slot. A run starts anywhere, so
** its bits are shifted into place.
**
** SURE OR NOT  A text cell holds the length and the first 12 bytes. Where that
**   does not decide (a longer text, an equal beginning), the cell is decoded
**   and the node is asked as for one row (filter_row.c). Cells of other types
**   always decide.
** NULL  is neither true nor false, whatever was asked of the cell; only LEAF_
**   CELL, which takes any node, decides about NULLs itself. x [NOT] IN a list
**   with a NULL is NULL for what is not found in it.
*/
#include "util/common.h"
#include "store/filter_int.h"

#include "simd/column.h"
#include "util/bitset.h"
#include "util/bytes.h"

#define RUN_CELLS  4096u           /* handled at once */
#define RUN_WORDS  (RUN_CELLS/64)

struct leaf_scan {                 /* what the callback of a scan needs */
  struct filter_run *r;
  const struct filter_plan *p;
  const struct vdb_column_simd *simd;
  uint32_t i;                      /* the node */
  slot_no lo;                      /* first slot of the block */
  const uint64_t *mask;
  uint64_t *t, *u;
  uint32_t width;
};

/* ---- Cells of one run: bits of what is true, and of what is to be asked --- */

static void run_int_set(const struct leaf_scan *s, const unsigned char *cell,
                        size_t n, uint64_t *bit){
  const struct filter_plan *p = s->p;
  uint64_t one[RUN_WORDS];
  if( p->intset ){
    for(size_t i=0; i<n; i+=64){
      bit[i/64] = vdb_intset_word(p->intset, cell + 8*i,
                                  (unsigned)vdb_min_sz(64, n-i));
    }
    return;
  }
  memset(bit, 0, VDB_COLUMN_WORDS(n)*8);
  for(size_t k=0; k<p->n_ints; k++){
    s->simd->int_range(cell, n, p->ints[k], p->ints[k], one);
    for(size_t w=0; w<VDB_COLUMN_WORDS(n); w++) bit[w] |= one[w];
  }
}

static bool reals_contain(const struct filter_plan *p, double v){
  size_t lo = 0, hi = p->n_reals;
  while( lo<hi ){
    size_t mid = lo + (hi-lo)/2;
    if( p->reals[mid]<v ) lo = mid+1;
    else hi = mid;
  }
  return lo<p->n_reals && p->reals[lo]==v;
}

static void run_real_set(const struct filter_plan *p,
                         const unsigned char *cell, size_t n, uint64_t *bit){
  memset(bit, 0, VDB_COLUMN_WORDS(n)*8);
  for(size_t i=0; i<n; i++){
    if( reals_contain(p, get_f64(cell + 8*i)) ) vdb_bit_set(bit, i);
  }
}

static void run_bool(const struct leaf_scan *s, const unsigned char *cell,
                     size_t n, uint64_t *bit){
  uint64_t all = s->p->has_false ? UINT64_MAX : 0;
  if( s->p->has_false==s->p->has_true ){
    for(size_t w=0; w<VDB_COLUMN_WORDS(n); w++) bit[w] = all;
    return;
  }
  s->simd->byte_equal(cell, n, 1, bit);
  for(size_t w=0; w<VDB_COLUMN_WORDS(n); w++) bit[w] ^= all;
}

/* Texts whose beginning says that they are before (behind) the constant, and
** those whose beginning is its own. */
static void run_text_order(const struct leaf_scan *s,
                           const unsigned char *cell, size_t n, uint64_t *bit,
                           uint64_t *ask){
  uint64_t other[RUN_WORDS];
  if( s->p->is_below ) s->simd->text_order(cell, n, s->p->head, bit, other);
  else s->simd->text_order(cell, n, s->p->head, other, bit);
  for(size_t w=0; w<VDB_COLUMN_WORDS(n); w++) ask[w] = ~(bit[w] | other[w]);
}

static bool texts_contain(const struct filter_plan *p,
                          const unsigned char *cell){
  uint64_t a = get_u64(cell), b = get_u64(cell+8);
  size_t at = text_place(p, a, b);
  while( p->texts[at].w[0]!=TEXT_NONE ){
    if( p->texts[at].w[0]==a && p->texts[at].w[1]==b ) return true;
    at = (at+1) & p->texts_mask;
  }
  return false;
}

static void run_text_set(const struct leaf_scan *s, const unsigned char *cell,
                         size_t n, uint64_t *bit, uint64_t *ask){
  static const uint8_t all[16] = { 255,255,255,255, 255,255,255,255,
                                   255,255,255,255, 255,255,255,255 };
  const struct filter_plan *p = s->p;
  uint64_t one[RUN_WORDS];
  memset(bit, 0, VDB_COLUMN_WORDS(n)*8);
  memset(ask, 0, VDB_COLUMN_WORDS(n)*8);
  for(size_t k=0; p->n_texts<=SET_FEW && k<p->n_texts; k++){
    uint8_t want[16];
    put_u64(want, p->texts[k].w[0]);
    put_u64(want+8, p->texts[k].w[1]);
    s->simd->text_equal(cell, n, want, all, one);
    for(size_t w=0; w<VDB_COLUMN_WORDS(n); w++) bit[w] |= one[w];
  }
  for(size_t i=0; p->n_texts>SET_FEW && i<n; i++){
    if( texts_contain(p, cell + 16*i) ) vdb_bit_set(bit, i);
  }
  for(size_t w=0; w<VDB_COLUMN_WORDS(n); w++){
    for(uint64_t m=bit[w]; m; m &= m-1){
      unsigned j = (unsigned)__builtin_ctzll(m);
      if( vdb_cell_text_len(cell + 16*(64*w+j))<=CELL_INLINE_MAX ) continue;
      ask[w] |= (uint64_t)1 << j;
    }
    bit[w] &= ~ask[w];
  }
}

/* *has_ask: ask is set, and some bits of it may be. */
static void run_bits(const struct leaf_scan *s, const unsigned char *cell,
                     size_t n, uint64_t *bit, uint64_t *ask, bool *has_ask){
  const struct filter_plan *p = s->p;
  *has_ask = false;
  switch( p->leaf ){
    case LEAF_INT:
      s->simd->int_range(cell, n, p->lo_i, p->hi_i, bit);
      return;
    case LEAF_INT_SET:  run_int_set(s, cell, n, bit); return;
    case LEAF_REAL:
      s->simd->real_range(cell, n, p->lo_r, p->hi_r, bit);
      return;
    case LEAF_REAL_SET: run_real_set(p, cell, n, bit); return;
    case LEAF_BOOL:     run_bool(s, cell, n, bit); return;
    case LEAF_TEXT_MASK:
      s->simd->text_equal(cell, n, p->want, p->mask, bit);
      if( p->is_sure ) return;
      memcpy(ask, bit, VDB_COLUMN_WORDS(n)*8);
      memset(bit, 0, VDB_COLUMN_WORDS(n)*8);
      break;
    case LEAF_TEXT_ORDER: run_text_order(s, cell, n, bit, ask); break;
    case LEAF_TEXT_SET:   run_text_set(s, cell, n, bit, ask); break;
    default:
      memset(bit, 0, VDB_COLUMN_WORDS(n)*8);
      memset(ask, 0xff, VDB_COLUMN_WORDS(n)*8);
  }
  *has_ask = true;
}

/* ---- Asking -------------------------------------------------------------- */

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

/* Bit `at` of the block from what the node says of a decoded cell. */
static int cell_ask(struct leaf_scan *s, size_t at, const unsigned char *cell){
  struct filter_run *r = s->r;
  slot_no slot = s->lo + (slot_no)at;
  enum tri v;
  int rc = cell_decode(r, s->p->column, slot, cell, vdb_bit_get(r->null, at),
                       &r->cell_val);
  if( rc!=VECDB_OK ) return rc;
  r->cell_col = (int)s->p->column;
  rc = vdb_filter_truth(r, s->i, slot, &v);
  r->cell_col = -1;
  if( rc!=VECDB_OK ) return rc;
  if( v==TRI_NULL ) vdb_bit_set(s->u, at);
  if( (v==TRI_TRUE)!=s->p->flip ) vdb_bit_set(s->t, at);
  return VECDB_OK;
}

/* ---- Runs into blocks ---------------------------------------------------- */

/* out[off..] |= bit[0..n-1], off counted in bits. */
static void bits_or(uint64_t *out, size_t off, const uint64_t *bit, size_t n){
  unsigned sh = off%64;
  out += off/64;
  for(size_t w=0; 64*w<n; w++){
    uint64_t b = bit[w];
    if( n-64*w<64 ) b &= ((uint64_t)1 << (n-64*w)) - 1;
    out[w] |= b << sh;
    if( sh && b>>(64-sh) ) out[w+1] |= b >> (64-sh);
  }
}

static bool any_wanted(const uint64_t *mask, size_t off, size_t n){
  for(size_t w=off/64; w<=(off+n-1)/64; w++) if( mask[w] ) return true;
  return false;
}

/* n <= RUN_CELLS cells from bit `off` of the block on. */
static int leaf_run(struct leaf_scan *s, size_t off, size_t n,
                    const unsigned char *cell){
  uint64_t bit[RUN_WORDS], ask[RUN_WORDS];
  bool has_ask, takes_null = s->p->leaf==LEAF_CELL;
  int rc = VECDB_OK;
  if( !any_wanted(s->mask, off, n) ) return VECDB_OK;
  run_bits(s, cell, n, bit, ask, &has_ask);
  bits_or(s->t, off, bit, n);
  for(size_t w=0; has_ask && w<VDB_COLUMN_WORDS(n); w++){
    for(uint64_t m=ask[w]; m; m &= m-1){
      size_t j = 64*w + (unsigned)__builtin_ctzll(m), at = off+j;
      if( j>=n ) break;
      if( !vdb_bit_get(s->mask, at) ) continue;
      if( !takes_null && vdb_bit_get(s->r->null, at) ) continue;
      TRY( cell_ask(s, at, cell + j*s->width) );
    }
  }
done:
  return rc;
}

static int leaf_cells(void *arg, slot_no lo, size_t n,
                      const unsigned char *cell){
  struct leaf_scan *s = arg;
  size_t off = lo - s->lo, k;
  int rc = VECDB_OK;
  for(; n>0 && rc==VECDB_OK; off+=k, n-=k, cell+=k*s->width){
    k = vdb_min_sz(n, RUN_CELLS);
    rc = leaf_run(s, off, k, cell);
  }
  return rc;
}

static uint32_t cell_width(int type){
  return type==VECDB_BOOLEAN ? 1 : type==VECDB_TEXT ? 16 : 8;
}

int vdb_filter_leaf(struct filter_run *r, uint32_t i, slot_no lo,
                    size_t n_word, const uint64_t *mask, uint64_t *t,
                    uint64_t *u){
  const struct filter_plan *p = &r->plan[i];
  struct leaf_scan s = { r, p, vdb_column_simd(), i, lo, mask, t, u,
                         cell_width(r->f->col_type[p->column]) };
  uint64_t hi = (uint64_t)lo + 64*n_word;
  uint64_t flip = p->flip ? UINT64_MAX : 0;
  int rc;
  TRY( r->src.nulls(r->src.arg, (int)p->column, lo, n_word, r->null) );
  if( p->leaf==LEAF_IS_NULL ){
    for(size_t w=0; w<n_word; w++) t[w] = (r->null[w] ^ flip) & mask[w];
    return VECDB_OK;
  }
  TRY( r->src.cells(r->src.arg, (int)p->column, lo,
                    hi<SLOT_NONE ? (slot_no)hi : SLOT_NONE, leaf_cells, &s) );
  for(size_t w=0; w<n_word; w++){
    uint64_t found = t[w];
    if( p->leaf!=LEAF_CELL ) u[w] |= r->null[w];
    if( p->leaf!=LEAF_CELL && p->set_has_null ) u[w] |= ~found;
    u[w] &= mask[w];
    t[w] = (found ^ flip) & mask[w] & ~u[w];
  }
done:
  return rc;
}
