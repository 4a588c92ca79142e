/* column.c -- sealed scalar columns: cells and NULL bits by slot.
**
** A column is a paged array of cells, and one of u64 words of NULL bits once
** a NULL has been sealed or written. Both are made when first needed, so a
** collection of many columns costs nothing before it has sealed rows. Their
** roots are elements of COLL.COLUMNS.
*/
#include "util/common.h"
#include "store/coll_int.h"

/* ---- Bitmap arrays ------------------------------------------------------- */

int vdb_bits_put(struct pager *p, page_no root, slot_no lo, uint32_t n,
                 const uint64_t *bits){
  uint64_t word[64];
  uint64_t i = lo, end = (uint64_t)lo+n;
  int rc = VECDB_OK;

  while( i<end ){
    uint64_t first = i/64;
    size_t n_word = (size_t)vdb_min_sz((size_t)((end+63)/64-first), 64);
    TRY( vdb_parray_get(p, root, first, n_word, word) );
    for(size_t w=0; w<n_word; w++) word[w] = VDB_LE64(word[w]);
    for(; i<end && i/64<first+n_word; i++){
      size_t at = (size_t)(i-first*64);
      if( vdb_bit_get(bits, (size_t)(i-lo)) ) vdb_bit_set(word, at);
      else vdb_bit_clear(word, at);
    }
    for(size_t w=0; w<n_word; w++) word[w] = VDB_LE64(word[w]);
    TRY( vdb_parray_put(p, root, first, n_word, word) );
  }
done:
  return rc;
}

int vdb_bits_get_one(struct pager *p, page_no root, slot_no at, bool *on){
  unsigned char word[8];
  int rc;

  *on = false;
  rc = vdb_parray_get(p, root, at/64, 1, word);
  if( rc==VECDB_OK ) *on = get_u64(word) >> (at%64) & 1;
  return rc;
}

int vdb_bits_set_one(struct pager *p, page_no root, slot_no at, bool on){
  unsigned char word[8];
  uint64_t bit = (uint64_t)1 << (at%64);
  int rc;

  rc = vdb_parray_get(p, root, at/64, 1, word);
  if( rc!=VECDB_OK ) return rc;
  put_u64(word, on ? get_u64(word) | bit : get_u64(word) & ~bit);
  return vdb_parray_put(p, root, at/64, 1, word);
}

/* ---- Columns ------------------------------------------------------------- */

/* Enter c->root[column] into COLL.COLUMNS. */
static int root_store(struct coll *c, int column){
  unsigned char rec[COLROOT_SIZE];

  put_u32(rec+COLROOT_CELLS, c->root[column].cells);
  put_u32(rec+COLROOT_NULLS, c->root[column].nulls);
  vdb_coll_structure_changed(c);
  return vdb_parray_put(c->p, c->s.cols, (uint64_t)column, 1, rec);
}

static int column_create(struct coll *c, int column){
  int rc = vdb_parray_create(c->p, c->lay.field[column].width,
                             &c->root[column].cells);
  return rc==VECDB_OK ? root_store(c, column) : rc;
}

static int nulls_create(struct coll *c, int column){
  int rc = vdb_parray_create(c->p, 8, &c->root[column].nulls);
  return rc==VECDB_OK ? root_store(c, column) : rc;
}

static bool any_bit(const uint64_t *bits, uint32_t n){
  for(size_t w=0; w<n/64; w++) if( bits[w] ) return true;
  return n%64!=0 && (bits[n/64] & (((uint64_t)1<<(n%64))-1))!=0;
}

int vdb_column_put(struct coll *c, int column, slot_no lo, uint32_t n,
                   const unsigned char *cells, const uint64_t *nulls){
  int rc;

  TRY( vdb_coll_roots(c) );
  if( c->root[column].cells==0 ) TRY( column_create(c, column) );
  TRY( vdb_parray_put(c->p, c->root[column].cells, lo, n, cells) );
  if( nulls==NULL ) goto done;
  if( c->root[column].nulls==0 ){
    if( !any_bit(nulls, n) ) goto done;
    TRY( nulls_create(c, column) );
  }
  TRY( vdb_bits_put(c->p, c->root[column].nulls, lo, n, nulls) );
done:
  return rc;
}

int vdb_column_get(struct coll *c, int column, slot_no slot,
                   unsigned char *cell, bool *is_null){
  int rc;

  *is_null = false;
  TRY( vdb_coll_roots(c) );
  if( c->root[column].cells==0 ){
    TRY( COLL_CORRUPT(c, "a column of a sealed row is missing") );
  }
  TRY( vdb_parray_get(c->p, c->root[column].cells, slot, 1, cell) );
  if( c->root[column].nulls!=0 ){
    TRY( vdb_bits_get_one(c->p, c->root[column].nulls, slot, is_null) );
  }
done:
  return rc;
}

int vdb_column_clear(struct coll *c, slot_no lo, slot_no hi){
  int rc;

  TRY( vdb_coll_roots(c) );
  for(int i=0; i<c->schema->n_col; i++){
    if( c->root[i].cells!=0 ){
      TRY( vdb_parray_clear(c->p, c->root[i].cells, lo, hi) );
    }
    if( c->root[i].nulls!=0 ){              /* whole words only */
      uint64_t w_lo = ((uint64_t)lo+63)/64, w_hi = hi/64;
      if( w_lo<w_hi ){
        TRY( vdb_parray_clear(c->p, c->root[i].nulls, w_lo, w_hi) );
      }
    }
  }
done:
  return rc;
}

/* ---- Scans --------------------------------------------------------------- */

/* Scratch of one scan; freed at its end. */
struct column_scan {
  struct coll *c;
  int column;
  const struct live_map *live;
  unsigned char *cell;                      /* COLL_CHUNK cells */
  uint64_t null[COLL_CHUNK/64], words[COLL_CHUNK/64];
  bool has_null;
};

/* Sealed slots lo..lo+n-1 of the chunk at `base`. */
static int scan_sealed(struct column_scan *x, slot_no base, slot_no lo,
                       uint32_t n){
  struct coll *c = x->c;
  struct col_root *root = &c->root[x->column];
  uint32_t width = c->lay.field[x->column].width, at = lo-base;
  int rc = VECDB_OK;

  if( n==0 ) return VECDB_OK;
  if( root->cells!=0 ){
    TRY( vdb_parray_get(c->p, root->cells, lo, n,
                        x->cell + (size_t)at*width) );
  }
  if( root->nulls!=0 ){                     /* base and at are 64-aligned */
    size_t n_word = (n+63)/64;
    TRY( vdb_parray_get(c->p, root->nulls, lo/64, n_word, x->null+at/64) );
    for(size_t w=at/64; w<at/64+n_word; w++) x->null[w] = VDB_LE64(x->null[w]);
    x->has_null = true;
  }
done:
  return rc;
}

/* Slots lo..lo+n-1, all in the delta, of the chunk at `base`. */
static void scan_delta(struct column_scan *x, slot_no base, slot_no lo,
                       uint32_t n){
  const struct coll *c = x->c;
  const struct coll_field *f = &c->lay.field[x->column];
  const struct delta_mirror *m = c->mirror;

  for(uint32_t i=0; i<n; i++){
    const unsigned char *rec = m->meta + (size_t)(lo+i-m->first)*m->sz_meta;
    uint32_t at = lo+i-base;
    memcpy(x->cell + (size_t)at*f->width, rec+f->off, f->width);
    vdb_bit_clear(x->null, at);
    if( vdb_record_is_null(c, rec, x->column) ){
      vdb_bit_set(x->null, at);
      x->has_null = true;
    }
  }
}

/* Copy the live bits of lo..lo+n-1; false when there are none. */
static bool scan_live(struct column_scan *x, slot_no lo, uint32_t n){
  uint64_t any = 0;

  for(size_t w=0; w<(n+63)/64; w++){
    x->words[w] = x->live->word[lo/64+w];
    if( w==n/64 ) x->words[w] &= ((uint64_t)1<<(n%64))-1;
    any |= x->words[w];
  }
  return any!=0;
}

static int scan_chunk(struct column_scan *x, slot_no lo, uint32_t n,
                      vdb_chunk_fn fn, void *arg){
  struct coll *c = x->c;
  struct coll_chunk chunk;
  uint32_t n_sealed = 0;
  int rc;

  if( !scan_live(x, lo, n) ) return VECDB_OK;
  if( lo<c->s.delta_first ){
    n_sealed = (uint32_t)vdb_min_sz(n, c->s.delta_first-lo);
  }
  x->has_null = false;
  memset(x->null, 0, sizeof(x->null));
  rc = scan_sealed(x, lo, lo, n_sealed);
  if( rc!=VECDB_OK ) return rc;
  if( n_sealed<n ) scan_delta(x, lo, lo+n_sealed, n-n_sealed);
  chunk.lo = lo;
  chunk.n = n;
  chunk.cell = x->cell;
  chunk.width = c->lay.field[x->column].width;
  chunk.null = x->has_null ? x->null : NULL;
  chunk.live = x->words;
  return fn(arg, &chunk);
}

/* Caches are current, and the column is one that has cells. */
static int scan_begin(struct coll *c, int column){
  int rc;

  TRY( vdb_coll_refresh(c) );
  if( column<0 || column>=c->schema->n_col ||
      vdb_cell_width(c->schema->col[column].type)==0 ||
      c->schema->col[column].role==VECDB_ROLE_AUX ){
    TRY( VDB_INTERNAL(vdb_coll_err(c), "column %d cannot be scanned", column) );
  }
  TRY( vdb_delta_sync(c) );
  TRY( vdb_coll_roots(c) );
done:
  return rc;
}

int vdb_coll_scan(struct coll *c, int column, slot_no lo, slot_no hi,
                  vdb_chunk_fn fn, void *arg){
  struct column_scan x;
  struct live_map *live = NULL;
  uint64_t at, end;
  int rc;

  memset(&x, 0, sizeof(x));
  TRY( scan_begin(c, column) );
  TRY( vdb_live_ref(c, &live) );
  x.c = c;
  x.column = column;
  x.live = live;
  x.cell = vdb_calloc(COLL_CHUNK, c->lay.field[column].width);
  if( x.cell==NULL ) TRY( VECDB_NOMEM );
  at = lo/64*64;
  end = vdb_min_sz((size_t)(((uint64_t)hi+63)/64*64), c->s.next_slot);
  for(; at<end; at+=COLL_CHUNK){
    uint32_t n = (uint32_t)vdb_min_sz(COLL_CHUNK, (size_t)(end-at));
    TRY( scan_chunk(&x, (slot_no)at, n, fn, arg) );
  }
done:
  vdb_free(x.cell);
  vdb_live_unref(live);
  return rc;
}

/* ---- Cells in place ------------------------------------------------------ */

#define ZERO_BYTES  4096u                  /* cells of pages that do not exist */

struct cells_scan {
  vdb_cells_fn fn;
  void *arg;
  uint32_t width;
};

static int cells_run(void *arg, uint64_t i, size_t n,
                     const unsigned char *data){
  static const unsigned char zero[ZERO_BYTES];
  const struct cells_scan *x = arg;
  int rc = VECDB_OK;

  if( data!=NULL ) return x->fn(x->arg, (slot_no)i, n, data);
  for(size_t k; n>0 && rc==VECDB_OK; i+=k, n-=k){
    k = vdb_min_sz(n, ZERO_BYTES/x->width);
    rc = x->fn(x->arg, (slot_no)i, k, zero);
  }
  return rc;
}

/* Slots lo..hi-1 of the delta, whose records lie apart: put together. */
static int cells_delta(struct coll *c, int column, slot_no lo, slot_no hi,
                       const struct cells_scan *x){
  const struct delta_mirror *m = c->mirror;
  uint32_t off = c->lay.field[column].off;
  unsigned char cell[ZERO_BYTES];
  int rc = VECDB_OK;

  while( lo<hi && rc==VECDB_OK ){
    size_t n = vdb_min_sz(hi-lo, ZERO_BYTES/x->width);
    const unsigned char *rec = m->meta + (size_t)(lo-m->first)*m->sz_meta + off;
    for(size_t i=0; i<n; i++, rec+=m->sz_meta){
      memcpy(cell + i*x->width, rec, x->width);
    }
    rc = x->fn(x->arg, lo, n, cell);
    lo += (slot_no)n;
  }
  return rc;
}

int vdb_coll_cells(struct coll *c, int column, slot_no lo, slot_no hi,
                   vdb_cells_fn fn, void *arg){
  struct cells_scan x = { fn, arg, 0 };
  slot_no mid;
  int rc;

  TRY( scan_begin(c, column) );
  x.width = c->lay.field[column].width;
  if( hi>c->s.next_slot ) hi = c->s.next_slot;
  mid = hi<c->s.delta_first ? hi : c->s.delta_first;
  if( lo<mid ){
    page_no root = c->root[column].cells;
    if( root==0 ) TRY( cells_run(&x, lo, mid-lo, NULL) );
    else TRY( vdb_parray_scan(c->p, root, lo, mid, cells_run, &x) );
    lo = mid;
  }
  if( lo<hi ) TRY( cells_delta(c, column, lo, hi, &x) );
done:
  return rc;
}

int vdb_coll_nulls(struct coll *c, int column, slot_no lo, size_t n_word,
                   uint64_t *out){
  slot_no at;
  uint64_t end = (uint64_t)lo + 64*(uint64_t)n_word;
  int rc;

  memset(out, 0, n_word*8);
  TRY( scan_begin(c, column) );
  if( end>c->s.next_slot ) end = c->s.next_slot;
  if( c->root[column].nulls!=0 && lo<c->s.delta_first ){
    TRY( vdb_parray_get(c->p, c->root[column].nulls, lo/64, n_word, out) );
    for(size_t w=0; w<n_word; w++) out[w] = VDB_LE64(out[w]);
  }
  if( c->lay.field[column].i_null<0 ) goto done;
  at = lo<c->s.delta_first ? c->s.delta_first : lo;
  for(; at<end; at++){
    const struct delta_mirror *m = c->mirror;
    const unsigned char *rec = m->meta + (size_t)(at-m->first)*m->sz_meta;
    if( vdb_record_is_null(c, rec, column) ) vdb_bit_set(out, at-lo);
    else vdb_bit_clear(out, at-lo);
  }
done:
  return rc;
}
