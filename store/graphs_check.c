/* graphs_check.c -- are graphs sound, and what becomes of damaged ones.
**
** A graph covers its range (C7 in coll_int.h): every live row is in a block or
** in the side list, once, and GRAPHREC.ROWS says what the blocks say. The
** blocks themselves are checked by graph.h.
**
** Damage that a search meets, or that keeps a record from being read, makes
** searches exact (vdb_graphs_distrust), with a line in the log. The next
** optimize frees what is surely the graph's and makes it anew.
*/
#include "util/common.h"
#include "store/graphs.h"

#include "simd/simd.h"

/* ---- Freeing what cannot be read ---------------------------------------- */

/* A second name for an extent finds it gone. */
int vdb_graph_extent_free(struct coll *c, page_no head){
  struct extent e;
  int rc;

  memset(&e, 0, sizeof(e));
  rc = vdb_extent_describe(c->p, head, &e);
  if( rc==VECDB_OK && e.spec.owner==c->id &&
      (e.spec.kind==EXTENT_KIND_GRAPH ||
       e.spec.kind==EXTENT_KIND_GRAPHROWS ||
       e.spec.kind==EXTENT_KIND_ROWCODES) ){
    rc = vdb_extent_free(c->p, head);
  }
  if( !graph_is_damage(rc) ) return rc;
  vdb_error_clear(vdb_coll_err(c));
  return VECDB_OK;
}

/* Extents of a damaged record. */
static int record_free(struct coll *c, const unsigned char *val, size_t n_val){
  uint64_t n_head, n_side, n_rows;       /* codes are like rows */
  int rc = VECDB_OK;

  if( n_val<GRAPHREC_SIZE ) return VECDB_OK;
  n_head = get_u32(val+GRAPHREC_NGROUP);
  n_side = get_u32(val+GRAPHREC_NSIDE);
  n_rows = (uint64_t)get_u32(val+GRAPHREC_NROWS) + get_u32(val+GRAPHREC_NCODES);
  if( GRAPHREC_SIZE + 4*(n_head+n_side+n_rows)>n_val ) return VECDB_OK;
  for(uint64_t i=0; i<n_head+n_side+n_rows; i++){
    if( i>=n_head && i<n_head+n_side ) continue;
    TRY( vdb_graph_extent_free(c, get_u32(val+GRAPHREC_SIZE+4*i)) );
  }
done:
  return rc;
}

/* All records go, whatever is in them. What they name that is not theirs, or
** cannot be read, is left for vacuum. */
int vdb_graphs_drop_damaged(struct coll *c){
  struct vdb_str key = VDB_STR_INIT, val = VDB_STR_INIT;
  const unsigned char *p;
  size_t n;
  bool at_end;
  int rc;

  for(;;){
    struct btree_cursor *k = NULL;
    vdb_str_truncate(&key, 0);
    vdb_str_truncate(&val, 0);
    rc = vdb_btree_cursor_open(c->p, c->s.graphs, &k);
    if( rc==VECDB_OK ) rc = vdb_btree_first(k, &at_end);
    if( rc==VECDB_OK && !at_end ){
      rc = vdb_btree_key(k, &p, &n);
      if( rc==VECDB_OK ) vdb_str_add(&key, p, n);
      if( rc==VECDB_OK ) rc = vdb_btree_value(k, &p, &n);
      if( rc==VECDB_OK ) vdb_str_add(&val, p, n);
    }
    vdb_btree_cursor_close(k);
    TRY( rc );
    if( at_end ) break;
    TRY( vdb_str_rc(&key) );
    TRY( vdb_str_rc(&val) );
    TRY( record_free(c, (const unsigned char*)val.z, val.n) );
    TRY( vdb_btree_delete(c->p, c->s.graphs, key.z, key.n) );
  }
  c->s.graph_version++;
done:
  vdb_str_clear(&key);
  vdb_str_clear(&val);
  return rc;
}

/* ---- Checking ----------------------------------------------------------- */

/* C7: every block and side slot is another row of the range; every live row
** there is one of them. */
struct cover { uint64_t *seen; uint64_t n_bad, n_missing; };

static void cover_add(struct cover *k, const struct graph_seg *s,
                      uint32_t row){
  if( row<s->first || row>=s->end || vdb_bit_get(k->seen, row-s->first) ){
    k->n_bad++;
  }else{
    vdb_bit_set(k->seen, row-s->first);
  }
}

/* Codes are those of the blocks. */
struct cover_codes {
  struct vdb_graph_codes codes;
  struct vdb_graph_coder *coder;
  unsigned char *buf;
  size_t stride;
};
static int cover_codes_begin(struct coll *c, struct graph_seg *s,
                             struct cover_codes *k){
  int rc;

  memset(k, 0, sizeof(*k));
  TRY( vdb_graph_codes_hold(c, s, &k->codes) );
  if( k->codes.n==0 ) return VECDB_OK;
  k->stride = vdb_graph_code_stride(s->g);
  k->buf = vdb_malloc(k->stride);
  if( k->buf==NULL ) TRY( VECDB_NOMEM );
  TRY( vdb_graph_coder_create(s->g, &k->coder) );
done:
  return rc;
}
static void cover_codes_end(struct cover_codes *k){
  vdb_graph_coder_destroy(k->coder);
  vdb_free(k->buf);
}
static bool code_differs(const struct cover_codes *k, const struct vdb_graph *g,
                         uint32_t row, const unsigned char *block){
  uint32_t at = row - k->codes.first, n_max = (uint32_t)1<<k->codes.shift, n;
  unsigned char *code, *fit;

  if( k->coder==NULL || at>=k->codes.n ) return false;
  n = k->codes.n - at/n_max*n_max;
  code = vdb_graph_code_at(g, k->codes.base[at/n_max], n<n_max ? n : n_max,
                           at%n_max, &fit);
  vdb_graph_code_block(k->coder, block, k->buf, k->buf + k->stride-2);
  return memcmp(k->buf, code, k->stride-2)!=0
      || memcmp(k->buf + k->stride-2, fit, 2)!=0;
}

static int seg_cover(struct coll *c, struct graph_seg *s, struct cover *k){
  struct vdb_fpmode fp = vdb_fpmode_enter();       /* codes, as when written */
  struct live_map *live = NULL;
  struct cover_codes codes;
  uint32_t row;
  uint64_t key;
  int rc;

  TRY( cover_codes_begin(c, s, &codes) );
  for(uint32_t i=0; i<s->info.n_slots; i++){
    const unsigned char *block = s->base[i>>s->info.shift] +
        (size_t)(i & ((1u<<s->info.shift)-1))*s->info.stride;
    int rc2 = vdb_graph_block_row(s->g, block, i, &row, &key);
    if( rc2==VECDB_NOTFOUND ) continue;          /* an empty block */
    if( rc2!=VECDB_OK ) k->n_bad++;
    else cover_add(k, s, row);
    if( rc2==VECDB_OK ) k->n_bad += code_differs(&codes, s->g, row, block);
    if( s->row_of==NULL || i>=s->info.n_nodes ) continue;
    if( get_u32(block+GRAPHBLOCK_DUP)!=SLOT_NONE ) row = SLOT_NONE;
    k->n_bad += s->row_of[i]!=row;
  }
  for(uint32_t i=0; i<s->n_side; i++) cover_add(k, s, s->side[i]);
  TRY( vdb_live_ref(c, &live) );
  for(slot_no at=s->first; at<s->end; at++){
    k->n_missing += vdb_bit_get(live->word, at) &&
                    !vdb_bit_get(k->seen, at-s->first);
  }
done:
  cover_codes_end(&codes);
  vdb_live_unref(live);
  vdb_fpmode_leave(fp);
  return rc;
}

int vdb_graph_is_sound(struct coll *c, struct graph_seg *s, bool *out){
  struct cover k = { NULL, 0, 0 };
  struct vdb_graph_blocks b = { 0 };
  struct vdb_graph_report report;
  int rc;

  *out = false;
  TRY( vdb_graph_hold_sound(c, s) );
  TRY( vdb_graph_rows_load(c, s) );
  b.base = s->base;
  b.n_slots = s->info.n_slots;
  b.n_row = c->s.next_slot;
  TRY( vdb_graph_check(s->g, &b, &report) );
  k.seen = vdb_calloc(vdb_bitset_words(s->end-s->first), 8);
  if( k.seen==NULL ) TRY( VECDB_NOMEM );
  TRY( seg_cover(c, s, &k) );
  *out = k.n_bad+k.n_missing==0;
done:
  vdb_free(k.seen);
  if( graph_is_damage(rc) ){
    vdb_error_clear(vdb_coll_err(c));
    rc = VECDB_OK;
  }
  return rc;
}

static int seg_check_cover(struct coll *c, struct census *census,
                           struct graph_seg *s, const char *object){
  struct cover k = { NULL, 0, 0 };
  int rc = VECDB_OK;

  k.seen = vdb_calloc(vdb_bitset_words(s->end-s->first), 8);
  if( k.seen==NULL ) return VECDB_NOMEM;
  TRY( seg_cover(c, s, &k) );
  if( k.n_bad+k.n_missing>0 ){
    vdb_census_report(census, 2, object, "graph of slots %u..%u: %llu rows "
        "are wrong, %llu live ones are missing; drop and "
        "fill the table again", s->first, s->end-1, (unsigned long long)k.n_bad,
        (unsigned long long)k.n_missing);
  }
done:
  vdb_free(k.seen);
  return rc;
}

static int seg_check(struct coll *c, struct census *census,
                     struct graph_seg *s, const char *object){
  struct vdb_graph_blocks b = { 0 };
  struct vdb_graph_report report;
  int rc = VECDB_OK;

  TRY( vdb_graph_hold_sound(c, s) );
  TRY( vdb_graph_rows_load(c, s) );
  b.base = s->base;
  b.n_slots = s->info.n_slots;
  b.n_row = c->s.next_slot;
  rc = vdb_graph_check(s->g, &b, &report);
  if( rc==VECDB_CORRUPT_INDEX ){
    vdb_census_report(census, 2, object, "graph of slots %u..%u: %u bad "
        "blocks, %u bad edges, %u bad chains, %u bad entries, %u nodes "
        "out of reach",
        s->first, s->end-1, report.n_bad_block, report.n_bad_edge,
        report.n_bad_chain, report.n_bad_entry, report.n_unreached);
    return VECDB_OK;
  }
  TRY( rc );
  TRY( seg_check_cover(c, census, s, object) );
done:
  return rc;
}

/* Extents of all graphs first, so that damage in one hides none of them. */
static int check_extents(struct coll *c, struct census *census){
  int rc = VECDB_OK;

  for(int v=0; v<c->schema->n_vector; v++){
    for(size_t i=0; i<c->graphs->list[v].n; i++){
      const struct graph_seg *s = &c->graphs->list[v].seg[i];
      for(uint32_t j=0; j<s->info.n_group; j++){
        TRY( vdb_extent_check(c->p, census, s->head[j], "graph") );
      }
      for(uint32_t j=0; j<s->n_rows; j++){
        TRY( vdb_extent_check(c->p, census, s->rows[j], "rows of a graph") );
      }
      for(uint32_t j=0; j<s->n_codes; j++){
        TRY( vdb_extent_check(c->p, census, s->code_head[j],
                              "codes of a graph") );
      }
    }
  }
done:
  return rc;
}

int vdb_graphs_check(struct coll *c, struct census *census,
                     const char *object){
  int rc = VECDB_OK;

  if( c->s.graphs==0 ) return VECDB_OK;
  TRY( vdb_btree_check(c->p, census, c->s.graphs, "graphs") );
  TRY( vdb_graphs_load(c) );
  if( c->graphs->is_damaged ){
    vdb_census_report(census, 2, object, "a graph is damaged, or of a version "
                      "that this library does not know; optimize with rebuild "
                      "makes it anew");
    return VECDB_OK;
  }
  TRY( check_extents(c, census) );
  for(int v=0; !vdb_census_is_quick(census) && v<c->schema->n_vector; v++){
    for(size_t i=0; i<c->graphs->list[v].n; i++){
      TRY( seg_check(c, census, &c->graphs->list[v].seg[i], object) );
    }
  }
done:
  vdb_graphs_relax(c);
  return rc;
}
