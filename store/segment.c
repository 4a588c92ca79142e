/* segment.c -- row groups: the sealed vectors of a column, in extents.
**
** A row group is an extent of vectors, `stride` = the bytes of one (narrow.c:
** or its elements), for rows in ascending order of slot. Its slots are
** first..last (n_row of them), or, after dead rows were left out, given by a
** second extent of u32. The tree
** COLL.SEGMENTS lists the groups by (column, kind, first slot); in memory they
** are an array per vector column, read once per SEGVERSION. Beside the groups
** of a column the tree holds what their codes refer to (codes.c).
**
** What is read is checked: groups ascend, do not overlap, lie below
** delta_first; an extent has the stride, count and owner it should have; a
** slot map ascends strictly from `first` to `last`. So a search may index
** bitmaps by its entries. A map is checked when it is first pinned.
*/
#include "util/common.h"
#include "index/flat_code.h"
#include "store/coll_int.h"

uint32_t vdb_seg_capacity(const struct coll *c, int i_vec){
  return vdb_extent_capacity(c->schema->col[c->vec_col[i_vec]].sz_vec);
}

void vdb_segs_clear(struct coll *c){
  for(int v=0; c->segs!=NULL && v<c->schema->n_vector; v++){
    vdb_free(c->segs[v].seg);
    vdb_flat_coder_unref(c->segs[v].coder);
    memset(&c->segs[v], 0, sizeof(c->segs[v]));
  }
  c->has_segs = false;
}

int vdb_vector_number(const struct coll *c, int column){
  for(int v=0; v<c->schema->n_vector; v++){
    if( c->vec_col[v]==column ) return v;
  }
  return -1;
}

void vdb_seg_key(unsigned char *key, int column, int kind, slot_no first){
  key[SEGKEY_COLUMN] = (unsigned char)(column>>8);
  key[SEGKEY_COLUMN+1] = (unsigned char)column;
  key[SEGKEY_KIND] = 0;
  key[SEGKEY_KIND+1] = (unsigned char)kind;
  put_key_u32(key+SEGKEY_FIRST, first);
}

static void seg_record(unsigned char *val, const struct seg *g){
  memset(val, 0, SEGREC_SIZE);
  put_u32(val+SEGREC_LAST, g->last);
  put_u32(val+SEGREC_NROW, g->n_row);
  put_u32(val+SEGREC_DATA, g->data);
  put_u32(val+SEGREC_MAP, g->map);
  put_u32(val+SEGREC_CODES, g->codes);
  put_u32(val+SEGREC_FORM, (uint32_t)g->form);
}

/* ---- Loading ------------------------------------------------------------- */

/* The key of an entry: its vector column and kind. */
static int seg_key_decode(struct coll *c, const unsigned char *key,
                          size_t n_key, int *v, int *kind){
  *v = -1;
  *kind = 0;
  if( n_key==SEGKEY_SIZE ){
    *v = vdb_vector_number(c, key[SEGKEY_COLUMN]<<8 | key[SEGKEY_COLUMN+1]);
    *kind = key[SEGKEY_KIND]<<8 | key[SEGKEY_KIND+1];
  }
  if( *v<0 || (*kind!=SEG_KIND_PLAIN && *kind!=SEG_KIND_CODER) ){
    return COLL_CORRUPT(c, "a row group of an unknown column or kind");
  }
  return VECDB_OK;
}

/* A row group, checked on its own. */
static int seg_decode(struct coll *c, const unsigned char *key, int v,
                      const unsigned char *val, size_t n_val,
                      struct seg *g){
  if( n_val!=SEGREC_SIZE ){
    return COLL_CORRUPT(c, "an entry of the row groups has a wrong size");
  }
  memset(g, 0, sizeof(*g));
  g->first = get_key_u32(key+SEGKEY_FIRST);
  g->last = get_u32(val+SEGREC_LAST);
  g->n_row = get_u32(val+SEGREC_NROW);
  g->data = get_u32(val+SEGREC_DATA);
  g->map = get_u32(val+SEGREC_MAP);
  g->codes = get_u32(val+SEGREC_CODES);
  if( get_u32(val+SEGREC_FORM)>(vdb_narrow_fits(c, v) ? FORM_I8 : 0) ){
    return COLL_CORRUPT(c, "a row group of an unknown form");
  }
  g->form = (int)get_u32(val+SEGREC_FORM);
  if( g->n_row==0 || g->n_row>vdb_seg_capacity(c, v) ||
      g->last<g->first || g->last>=c->s.delta_first ||
      g->n_row-1>g->last-g->first ||
      (g->map==0 && g->n_row-1!=g->last-g->first) ){
    return COLL_CORRUPT(c, "a row group has impossible slots");
  }
  return VECDB_OK;
}

static int seg_list_add(struct seg_list *list, const struct seg *g){
  int rc = vdb_grow(&list->seg, &list->n_cap, list->n+1, sizeof(*g));
  if( rc==VECDB_OK ) list->seg[list->n++] = *g;
  return rc;
}

static int seg_entry(struct coll *c, const unsigned char *key, size_t n_key,
                     const unsigned char *val, size_t n_val){
  struct seg_list *list;
  struct seg g;
  int v, kind, rc;

  TRY( seg_key_decode(c, key, n_key, &v, &kind) );
  list = &c->segs[v];
  if( kind==SEG_KIND_CODER ){
    if( list->coder!=NULL ) return COLL_CORRUPT(c, "codes with two centres");
    TRY( vdb_codes_decode(c, v, val, n_val, &list->coder) );
    return VECDB_OK;
  }
  TRY( seg_decode(c, key, v, val, n_val, &g) );
  if( list->n>0 && list->seg[list->n-1].last>=g.first ){
    TRY( COLL_CORRUPT(c, "two row groups overlap") );
  }
  TRY( seg_list_add(list, &g) );
done:
  return rc;
}

static int segs_read(struct coll *c){
  struct btree_cursor *k = NULL;
  unsigned char key[SEGKEY_SIZE+1];
  const unsigned char *p, *val;
  size_t n_key, n_val;
  bool at_end;
  int rc;

  TRY( vdb_btree_cursor_open(c->p, c->s.segs, &k) );
  TRY( vdb_btree_first(k, &at_end) );
  while( !at_end ){
    TRY( vdb_btree_key(k, &p, &n_key) );
    if( n_key>SEGKEY_SIZE ) n_key = SEGKEY_SIZE+1;
    memcpy(key, p, n_key);
    TRY( vdb_btree_value(k, &val, &n_val) );
    TRY( seg_entry(c, key, n_key, val, n_val) );
    TRY( vdb_btree_next(k, &at_end) );
  }
  for(int v=0; v<c->schema->n_vector; v++){
    const struct seg_list *list = &c->segs[v];
    for(size_t i=0; i<list->n && list->coder==NULL; i++){
      if( list->seg[i].codes==0 ) continue;
      TRY( COLL_CORRUPT(c, "codes without a centre") );
    }
  }
done:
  vdb_btree_cursor_close(k);
  return rc;
}

int vdb_segs_load(struct coll *c){
  int rc;

  if( c->has_segs && c->segs_version==c->s.seg_version ) return VECDB_OK;
  vdb_segs_clear(c);
  rc = segs_read(c);
  if( rc!=VECDB_OK ){
    vdb_segs_clear(c);
    return rc;
  }
  c->has_segs = true;
  c->segs_version = c->s.seg_version;
  return VECDB_OK;
}

/* ---- Reading ------------------------------------------------------------- */

int vdb_seg_check_extent(struct coll *c, const struct extent *e,
                         uint32_t kind, uint32_t stride, uint32_t n_rec){
  if( e->spec.kind==kind && e->spec.stride==stride && e->spec.n_rec==n_rec &&
      e->spec.owner==c->id && e->sz==(size_t)stride*n_rec ){
    return VECDB_OK;
  }
  return COLL_CORRUPT(c, "an extent is not the one its row group expects");
}

/* Invariant of a slot map: strictly ascending from first to last. */
static int check_map(struct coll *c, const struct seg *g,
                     const slot_no *slots){
  bool ok = slots[0]==g->first && slots[g->n_row-1]==g->last;

  for(uint32_t i=1; i<g->n_row && ok; i++) ok = slots[i-1]<slots[i];
  return ok ? VECDB_OK : COLL_CORRUPT(c, "a slot map does not ascend");
}

static int pin_map(struct coll *c, struct seg *g, struct extent *map,
                   const slot_no **slots){
  int rc;

  TRY( vdb_extent_pin(c->p, g->map, map) );
  TRY( vdb_seg_check_extent(c, map, EXTENT_KIND_SLOTMAP, 4, g->n_row) );
  *slots = (const slot_no*)(const void*)map->data;
  if( g->map_txid==0 || g->map_txid!=map->txid ){
    TRY( check_map(c, g, *slots) );
    g->map_txid = map->txid;
  }
done:
  return rc;
}

int vdb_seg_pin_raw(struct coll *c, int i_vec, struct seg *g,
                    struct extent *data, struct extent *map,
                    const slot_no **slots){
  uint32_t sz = vdb_seg_row_bytes(c, i_vec, g);
  int rc;

  memset(data, 0, sizeof(*data));
  memset(map, 0, sizeof(*map));
  *slots = NULL;
  TRY( vdb_extent_pin_raw(c->p, g->data, data) );
  TRY( vdb_seg_check_extent(c, data, EXTENT_KIND_VECTORS, sz, g->n_row) );
  if( g->map!=0 ) TRY( pin_map(c, g, map, slots) );
done:
  if( rc!=VECDB_OK ){
    vdb_extent_unpin(c->p, data);
    vdb_extent_unpin(c->p, map);
    *slots = NULL;
  }
  return rc;
}

int vdb_seg_pin(struct coll *c, int i_vec, struct seg *g, struct extent *data,
                struct extent *map, const slot_no **slots){
  int rc;

  TRY( vdb_seg_pin_raw(c, i_vec, g, data, map, slots) );
  rc = vdb_extent_verify(c->p, data, 0, data->sz);
  if( rc!=VECDB_OK ){
    vdb_extent_unpin(c->p, data);
    vdb_extent_unpin(c->p, map);
    *slots = NULL;
  }
done:
  return rc;
}

/* Index of the last group whose first slot is <= slot, or n. */
static size_t seg_search(const struct seg_list *list, slot_no slot){
  size_t lo = 0, hi = list->n;

  while( lo<hi ){
    size_t mid = lo+(hi-lo)/2;
    if( list->seg[mid].first<=slot ) lo = mid+1;
    else hi = mid;
  }
  return lo==0 ? list->n : lo-1;
}

/* Row of `slot` in an ascending map, or n. */
static uint32_t map_search(const slot_no *slots, uint32_t n, slot_no slot){
  uint32_t lo = 0, hi = n;

  while( lo<hi ){
    uint32_t mid = lo+(hi-lo)/2;
    if( slots[mid]<slot ) lo = mid+1;
    else hi = mid;
  }
  return lo<n && slots[lo]==slot ? lo : n;
}

/* Verifies the chunks of this vector alone: damage elsewhere in the group
** leaves it readable. */
int vdb_seg_vector(struct coll *c, int i_vec, slot_no slot,
                   unsigned char *out){
  uint32_t sz, row;
  struct extent data, map;
  const slot_no *slots;
  struct seg *g;
  size_t i;
  int rc;

  memset(&data, 0, sizeof(data));
  memset(&map, 0, sizeof(map));
  TRY( vdb_segs_load(c) );
  i = seg_search(&c->segs[i_vec], slot);
  if( i==c->segs[i_vec].n || slot>c->segs[i_vec].seg[i].last ){
    TRY( COLL_CORRUPT(c, "a live slot is in no row group") );
  }
  g = &c->segs[i_vec].seg[i];
  TRY( vdb_seg_pin_raw(c, i_vec, g, &data, &map, &slots) );
  row = slots ? map_search(slots, g->n_row, slot) : slot-g->first;
  if( row==g->n_row ){
    TRY( COLL_CORRUPT(c, "a live slot is in no row group") );
  }
  sz = vdb_seg_row_bytes(c, i_vec, g);
  TRY( vdb_extent_verify(c->p, &data, (size_t)row*sz, sz) );
  vdb_seg_rows(c, i_vec, g, data.data, row, 1, out);
done:
  vdb_extent_unpin(c->p, &data);
  vdb_extent_unpin(c->p, &map);
  return rc;
}

/* ---- Writing ------------------------------------------------------------- */

/* Enter g into the list in memory, in order of slot. */
static int seg_insert(struct coll *c, int i_vec, const struct seg *g){
  struct seg_list *list = &c->segs[i_vec];
  size_t at = list->n;
  int rc = seg_list_add(list, g);

  if( rc!=VECDB_OK ) return rc;
  while( at>0 && list->seg[at-1].first>g->first ) at--;
  memmove(&list->seg[at+1], &list->seg[at],
          (list->n-1-at)*sizeof(list->seg[0]));
  list->seg[at] = *g;
  return VECDB_OK;
}

/* The extent of a group's vectors, as bytes where they fit in. */
static int vectors_write(struct coll *c, int i_vec, const unsigned char *rows,
                      struct seg *g){
  struct extent_spec spec = { EXTENT_KIND_VECTORS, 0, g->n_row, c->id };
  uint32_t dims = c->schema->col[c->vec_col[i_vec]].dims;
  unsigned char *buf = NULL;
  int rc = VECDB_OK;

  if( vdb_narrow_fits(c, i_vec) ){
    buf = vdb_malloc((size_t)g->n_row*dims);
    if( buf==NULL ) return VECDB_NOMEM;
    g->form = vdb_narrow(c, i_vec, rows, g->n_row, buf);
  }
  spec.stride = vdb_seg_row_bytes(c, i_vec, g);
  TRY( vdb_extent_create(c->p, &spec, g->form==FORM_PLAIN ? rows : buf,
                         &g->data) );
done:
  vdb_free(buf);
  return rc;
}

int vdb_seg_write(struct coll *c, int i_vec, slot_no first, uint32_t n,
                  const slot_no *slots, const unsigned char *rows){
  int column = c->vec_col[i_vec];
  struct extent_spec spec_map = { EXTENT_KIND_SLOTMAP, 4, n, c->id };
  unsigned char key[SEGKEY_SIZE], val[SEGREC_SIZE];
  struct seg g;
  int rc;

  memset(&g, 0, sizeof(g));
  TRY( vdb_segs_load(c) );
  g.first = first;
  g.last = slots ? slots[n-1] : first+n-1;
  g.n_row = n;
  TRY( vectors_write(c, i_vec, rows, &g) );
  if( slots!=NULL ) TRY( vdb_extent_create(c->p, &spec_map, slots, &g.map) );
  if( g.form==FORM_PLAIN && vdb_codes_wanted(c, i_vec, n) ){
    TRY( vdb_codes_write(c, i_vec, rows, n, &g.codes) );
  }
  vdb_seg_key(key, column, SEG_KIND_PLAIN, first);
  seg_record(val, &g);
  TRY( vdb_btree_put(c->p, c->s.segs, key, sizeof(key), val, sizeof(val),
                     BTREE_INSERT) );
  TRY( seg_insert(c, i_vec, &g) );
  if( i_vec==0 ) c->s.n_row_sealed += n;
  vdb_coll_structure_changed(c);
done:
  return rc;
}

int vdb_seg_set_codes(struct coll *c, int i_vec, struct seg *g,
                      page_no codes){
  unsigned char key[SEGKEY_SIZE], val[SEGREC_SIZE];
  page_no old = g->codes;
  int rc;

  g->codes = codes;
  vdb_seg_key(key, c->vec_col[i_vec], SEG_KIND_PLAIN, g->first);
  seg_record(val, g);
  TRY( vdb_btree_put(c->p, c->s.segs, key, sizeof(key), val, sizeof(val),
                     BTREE_UPSERT) );
  if( old!=0 ) TRY( vdb_extent_free(c->p, old) );
  vdb_coll_structure_changed(c);
done:
  return rc;
}

int vdb_seg_remove(struct coll *c, int i_vec, const struct seg *g){
  struct seg_list *list = &c->segs[i_vec];
  struct seg gone = *g;                  /* g may point into the list */
  unsigned char key[SEGKEY_SIZE];
  size_t at;
  int rc;

  vdb_seg_key(key, c->vec_col[i_vec], SEG_KIND_PLAIN, gone.first);
  TRY( vdb_btree_delete(c->p, c->s.segs, key, sizeof(key)) );
  TRY( vdb_extent_free(c->p, gone.data) );
  if( gone.map!=0 ) TRY( vdb_extent_free(c->p, gone.map) );
  if( gone.codes!=0 ) TRY( vdb_extent_free(c->p, gone.codes) );
  at = seg_search(list, gone.first);
  if( at<list->n && list->seg[at].first==gone.first ){
    memmove(&list->seg[at], &list->seg[at+1],
            (list->n-1-at)*sizeof(list->seg[0]));
    list->n--;
  }
  if( i_vec==0 ) c->s.n_row_sealed -= gone.n_row;
  vdb_coll_structure_changed(c);
done:
  return rc;
}
