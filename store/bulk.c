/* bulk.c -- many rows at once: vectors straight into extents.
**
** Rows get slots from delta_first on (a delta that holds rows is sealed
** first) and are sealed at once. Each vector column fills a buffer of one
** extent; scalar cells and live bits wait in chunks of BULK_CHUNK rows and are
** written in runs. Keys go to the pk map row by row, or, while the collection
** was empty and keys ascend, through the map's bulk loader. Memory is bounded
** by BULK_BYTES and the chunk, whatever the number of rows.
**
** Inside a bulk load the state in memory is ahead of the pages; the caller's
** scope undoes everything when the load fails.
*/
#include "util/common.h"
#include "store/coll_int.h"

#define BULK_CHUNK  2048u                /* rows of scalar cells; 64 divides */
#define BULK_BYTES  (32u<<20)            /* all vector buffers together */
#define BULK_TICK   1024u                /* rows between progress calls */

struct bulk_vector {
  unsigned char *buf;
  uint32_t n, n_max;                     /* rows in it, rows it takes */
  slot_no  first;                        /* slot of its first row */
};

struct bulk_column { unsigned char *cell; uint64_t *null; };

struct coll_bulk {
  struct coll *c;                        /* referenced */
  unsigned flags;                        /* VECDB_OR_* */
  struct bulk_vector *vec;               /* by vector column */
  struct bulk_column *col;               /* by column; scalars only */
  slot_no  first;                        /* slot of the chunk's first row */
  uint32_t n;                            /* rows of the chunk */
  uint64_t live[BULK_CHUNK/64];          /* of the chunk */
  uint64_t n_done;
  struct btree_loader *loader;           /* NULL: keys are put one by one */
  struct coll_key last;                  /* greatest key the loader has */
  bool has_last;
  int  rc;                               /* first failure; sticky */
};

static bool is_scalar_column(const struct coll *c, int i){
  return c->lay.field[i].width>0 &&
         c->schema->col[i].role!=VECDB_ROLE_VECTOR;
}

/* ---- Begin --------------------------------------------------------------- */

static void bulk_free(struct coll_bulk *b){
  if( b==NULL ) return;
  for(int v=0; b->vec!=NULL && v<b->c->schema->n_vector; v++){
    vdb_free_aligned(b->vec[v].buf);
  }
  for(int i=0; b->col!=NULL && i<b->c->schema->n_col; i++){
    vdb_free(b->col[i].cell);
    vdb_free(b->col[i].null);
  }
  vdb_free(b->vec);
  vdb_free(b->col);
  vdb_store_coll_close(b->c);
  vdb_free(b);
}

static int bulk_buffers(struct coll_bulk *b){
  struct coll *c = b->c;
  size_t share = BULK_BYTES/(size_t)c->schema->n_vector;
  int rc = VECDB_OK;

  b->vec = vdb_calloc((size_t)c->schema->n_vector, sizeof(*b->vec));
  b->col = vdb_calloc((size_t)c->schema->n_col, sizeof(*b->col));
  if( b->vec==NULL || b->col==NULL ) TRY( VECDB_NOMEM );
  for(int v=0; v<c->schema->n_vector; v++){
    size_t sz = c->schema->col[c->vec_col[v]].sz_vec;
    uint32_t n_max = vdb_seg_capacity(c, v);
    while( n_max>1 && n_max*sz>share ) n_max /= 2;
    b->vec[v].n_max = n_max;
    b->vec[v].buf = vdb_malloc_aligned(n_max*sz);
    if( b->vec[v].buf==NULL ) TRY( VECDB_NOMEM );
  }
  for(int i=0; i<c->schema->n_col; i++){
    if( !is_scalar_column(c, i) ) continue;
    b->col[i].cell = vdb_malloc_array(BULK_CHUNK, c->lay.field[i].width);
    b->col[i].null = vdb_calloc(BULK_CHUNK/64, sizeof(uint64_t));
    if( !b->col[i].cell || !b->col[i].null ) TRY( VECDB_NOMEM );
  }
done:
  return rc;
}

int vdb_coll_bulk_begin(struct coll *c, unsigned flags,
                        struct coll_bulk **out){
  struct coll_bulk *b = NULL;
  int rc;

  *out = NULL;
  TRY( vdb_coll_refresh(c) );
  TRY( vdb_delta_seal(c) );
  b = vdb_calloc(1, sizeof(*b));
  if( b==NULL ) TRY( VECDB_NOMEM );
  b->c = c;
  b->flags = flags;
  c->n_ref++;
  TRY( bulk_buffers(b) );
  b->first = c->s.next_slot;
  vdb_coll_change_begin(c);
  c->live_follows = false;               /* built anew afterwards */
  if( vdb_coll_n_row(c)==0 ){
    TRY( vdb_btree_load_begin(c->p, c->s.pk, &b->loader) );
  }
  *out = b;
  b = NULL;
done:
  bulk_free(b);
  return rc;
}

/* ---- Flushing ------------------------------------------------------------ */

static int flush_vector(struct coll_bulk *b, int v){
  struct bulk_vector *bv = &b->vec[v];
  int rc;

  if( bv->n==0 ) return VECDB_OK;
  rc = vdb_seg_write(b->c, v, bv->first, bv->n, NULL, bv->buf);
  bv->n = 0;
  return rc;
}

static int flush_chunk(struct coll_bulk *b){
  struct coll *c = b->c;
  int rc = VECDB_OK;

  if( b->n==0 ) return VECDB_OK;
  for(int i=0; i<c->schema->n_col; i++){
    if( !is_scalar_column(c, i) ) continue;
    TRY( vdb_column_put(c, i, b->first, b->n, b->col[i].cell,
                        b->col[i].null) );
    memset(b->col[i].null, 0, BULK_CHUNK/64*sizeof(uint64_t));
  }
  TRY( vdb_bits_put(c->p, c->s.live, b->first, b->n, b->live) );
  memset(b->live, 0, sizeof(b->live));
  b->first += b->n;
  b->n = 0;
done:
  return rc;
}

/* ---- Adding -------------------------------------------------------------- */

static int key_compare(const struct coll_key *a, const struct coll_key *b){
  size_t n = vdb_min_sz(a->n, b->n);
  int cmp = n ? memcmp(a->b, b->b, n) : 0;
  return cmp!=0 ? cmp : a->n<b->n ? -1 : a->n>b->n;
}

static int loader_end(struct coll_bulk *b, bool commit){
  struct btree_loader *l = b->loader;

  b->loader = NULL;
  return l==NULL ? VECDB_OK : vdb_btree_load_end(l, commit);
}

/* Slot of the row that has this key already, or SLOT_NONE. */
static int find_old(struct coll_bulk *b, const struct vdb_value *key,
                    const struct coll_key *k, slot_no *old){
  struct coll *c = b->c;
  int rc;

  *old = SLOT_NONE;
  if( b->loader!=NULL ){
    if( !b->has_last || key_compare(&b->last, k)<0 ) return VECDB_OK;
    rc = loader_end(b, true);            /* keys do not ascend: one by one */
    if( rc!=VECDB_OK ) return rc;
  }
  if( key->type==VECDB_INTEGER && c->s.has_max_key && key->i>c->s.max_key ){
    return VECDB_OK;                     /* greater than any ever used */
  }
  rc = vdb_pk_get(c, k, old);
  return rc==VECDB_NOTFOUND ? VECDB_OK : rc;
}

static int kill_old(struct coll_bulk *b, slot_no old){
  struct coll *c = b->c;

  if( old<b->first ) return vdb_row_kill(c, old);
  vdb_bit_clear(b->live, old-b->first);  /* of this very chunk */
  c->s.n_live_sealed--;
  return vdb_heap_drop_row(c, old);
}

static int put_key(struct coll_bulk *b, const struct coll_key *k,
                   slot_no slot){
  unsigned char val[4];
  int rc;

  if( b->loader==NULL ) return vdb_pk_put(b->c, k, slot, BTREE_UPSERT);
  put_u32(val, slot);
  rc = vdb_btree_load_add(b->loader, k->b, k->n, val, sizeof(val));
  b->last = *k;
  b->has_last = true;
  return rc;
}

static int put_value(struct coll_bulk *b, int i, slot_no slot,
                     const struct vdb_value *v){
  struct bulk_column *col = &b->col[i];
  struct coll *c = b->c;
  bool is_null;

  if( col->cell!=NULL ){
    vdb_cell_encode(c->schema->col[i].type, v,
                    col->cell + (size_t)b->n*c->lay.field[i].width, &is_null);
    if( is_null ) vdb_bit_set(col->null, b->n);
  }
  return vdb_heap_needed(c, i, v) ? vdb_heap_set(c, slot, i, v) : VECDB_OK;
}

static int put_vectors(struct coll_bulk *b, slot_no slot,
                       const struct vdb_value *row){
  struct coll *c = b->c;
  int rc = VECDB_OK;

  for(int v=0; v<c->schema->n_vector; v++){
    struct bulk_vector *bv = &b->vec[v];
    size_t sz = c->schema->col[c->vec_col[v]].sz_vec;
    if( bv->n==0 ) bv->first = slot;
    memcpy(bv->buf + bv->n*sz, row[c->vec_col[v]].p, sz);
    if( ++bv->n==bv->n_max ) TRY( flush_vector(b, v) );
  }
done:
  return rc;
}

/* The row is checked and nothing is in its way any more. */
static int bulk_put(struct coll_bulk *b, const struct vdb_value *row,
                    const struct vdb_value *key, const struct coll_key *k){
  struct coll *c = b->c;
  slot_no slot = c->s.next_slot;
  int rc = VECDB_OK;

  vdb_key_note(c, key);
  for(int i=0; i<c->schema->n_col; i++){
    struct vdb_value v = i==0 ? *key : row[i];
    if( c->schema->col[i].role==VECDB_ROLE_VECTOR ) continue;
    if( v.type==VALUE_UNSET ) v.type = VECDB_NULL;
    TRY( put_value(b, i, slot, &v) );
  }
  TRY( put_key(b, k, slot) );
  vdb_bit_set(b->live, b->n);
  b->n++;
  c->s.next_slot++;
  c->s.delta_first++;                    /* sealed at once; delta is empty */
  c->s.n_live_sealed++;
  TRY( put_vectors(b, slot, row) );
  if( b->n==BULK_CHUNK ) TRY( flush_chunk(b) );
done:
  return rc;
}

int vdb_coll_bulk_add(struct coll_bulk *b, const struct vdb_value *row,
                      int64_t *key_out, bool *done){
  struct coll *c = b->c;
  struct vdb_value key;
  struct coll_key k;
  slot_no old;
  int rc = b->rc;

  if( done!=NULL ) *done = true;
  if( key_out!=NULL ) *key_out = 0;
  if( rc!=VECDB_OK ) return rc;
  TRY( vdb_row_check(c, row, &key) );
  rc = vdb_key_encode(c, &key, &k);
  if( rc!=VECDB_OK ) TRY( vdb_key_fail(c, rc, &key) );
  TRY( find_old(b, &key, &k, &old) );
  if( old!=SLOT_NONE && (b->flags & VECDB_OR_IGNORE) ){
    if( done!=NULL ) *done = false;
    return VECDB_OK;
  }
  if( old!=SLOT_NONE && !(b->flags & VECDB_OR_REPLACE) ){
    TRY( vdb_key_fail(c, VECDB_CONSTRAINT_PK, &key) );
  }
  TRY( vdb_slot_left(c) );
  if( old!=SLOT_NONE ) TRY( kill_old(b, old) );
  TRY( bulk_put(b, row, &key, &k) );
  if( key_out!=NULL ) *key_out = key.i;
  if( ++b->n_done%BULK_TICK==0 ){
    TRY( vdb_store_progress(c->st, "insert", "rows", b->n_done, 0) );
  }
done:
  b->rc = rc;
  return rc;
}

int vdb_coll_bulk_end(struct coll_bulk *b, bool ok){
  int rc = b->rc, rc2;

  ok = ok && rc==VECDB_OK;
  rc2 = loader_end(b, ok);
  if( !ok ) goto done;
  rc = rc2;
  if( rc!=VECDB_OK ) goto done;
  for(int v=0; v<b->c->schema->n_vector; v++) TRY( flush_vector(b, v) );
  TRY( flush_chunk(b) );
  TRY( vdb_coll_state_write(b->c) );
done:
  bulk_free(b);
  return rc;
}
