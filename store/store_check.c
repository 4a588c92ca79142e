/* store_check.c -- examining everything: pages, structures, invariants.
**
** A census reaches every page once: catalog, collection pages, all trees,
** arrays and extents. Then each collection's invariants C1..C5 (coll_int.h)
** are compared with what the structures hold. A structure that cannot be read
** is a finding, not the end: the rest is examined all the same. Only lack of
** memory, an interrupt, or an I/O error ends a check early.
**
** quick leaves out the checksums of extents and the comparison of each row's
** key with the pk map.
*/
#include "util/common.h"
#include "store/graphs.h"

struct check {
  struct store *st;
  struct census *census;
  struct coll *c;                        /* under examination */
  char object[STORE_NAME_MAX+32];
};

static bool is_finding(int rc){
  return (rc & 0xff)==VECDB_CORRUPT || (rc & 0xff)==VECDB_NOTFOUND ||
         (rc & 0xff)==VECDB_INTERNAL;
}

/* A failure becomes a finding, with its sentence; else it ends the check. */
static int check_failed(struct check *k, int rc){
  if( rc==VECDB_OK || !is_finding(rc) ) return rc;
  vdb_census_report(k->census, 2, k->object, "%s",
                    vdb_error_text(k->st->err));
  vdb_error_clear(k->st->err);
  return VECDB_OK;
}

#define CHECK_TRY(k, expr)  TRY( check_failed((k), (expr)) )

static void check_count(struct check *k, const char *what, uint64_t found,
                        uint64_t expected){
  if( found==expected ) return;
  vdb_census_report(k->census, 2, k->object, "%llu %s, expected %llu",
      (unsigned long long)found, what, (unsigned long long)expected);
}

/* ---- Structures ---------------------------------------------------------- */

static int check_segment_extents(struct check *k, int v){
  struct coll *c = k->c;
  int rc = VECDB_OK;

  for(size_t i=0; i<c->segs[v].n; i++){
    struct seg *g = &c->segs[v].seg[i];
    struct extent data, map;
    const slot_no *slots;
    CHECK_TRY( k, vdb_extent_check(c->p, k->census, g->data, "vectors") );
    if( g->map!=0 ){
      CHECK_TRY( k, vdb_extent_check(c->p, k->census, g->map, "slot map") );
    }
    if( g->codes!=0 ){
      CHECK_TRY( k, vdb_extent_check(c->p, k->census, g->codes, "codes") );
    }
    if( vdb_census_is_quick(k->census) ) continue;
    rc = vdb_seg_pin(c, v, g, &data, &map, &slots);
    if( rc==VECDB_OK ){
      vdb_extent_unpin(c->p, &data);
      vdb_extent_unpin(c->p, &map);
    }
    CHECK_TRY( k, rc );
  }
done:
  return rc;
}

static int check_columns(struct check *k){
  struct coll *c = k->c;
  int rc;

  rc = vdb_coll_roots(c);
  if( rc!=VECDB_OK ) return check_failed(k, rc);
  for(int i=0; i<c->schema->n_col; i++){
    int role = c->schema->col[i].role;
    if( c->root[i].cells==0 && c->s.n_live_sealed>0 &&
        role!=VECDB_ROLE_VECTOR && role!=VECDB_ROLE_AUX ){
      vdb_census_report(k->census, 2, k->object, "column \"%s\" has no cells",
                        c->schema->col[i].name);
    }
    if( c->root[i].cells!=0 ){
      CHECK_TRY( k, vdb_parray_check(c->p, k->census, c->root[i].cells,
                                     c->schema->col[i].name) );
    }
    if( c->root[i].nulls!=0 ){
      CHECK_TRY( k, vdb_parray_check(c->p, k->census, c->root[i].nulls,
                                     "NULL bitmap") );
    }
  }
done:
  return rc;
}

static int check_structures(struct check *k){
  struct coll *c = k->c;
  int rc = VECDB_OK;

  vdb_census_page(k->census, c->page, k->object);
  CHECK_TRY( k, vdb_btree_check(c->p, k->census, c->s.pk, "key map") );
  CHECK_TRY( k, vdb_btree_check(c->p, k->census, c->s.segs, "row groups") );
  if( c->s.heap!=0 ){
    CHECK_TRY( k, vdb_btree_check(c->p, k->census, c->s.heap, "heap") );
  }
  CHECK_TRY( k, vdb_parray_check(c->p, k->census, c->s.delta, "delta") );
  CHECK_TRY( k, vdb_parray_check(c->p, k->census, c->s.live, "live bitmap") );
  CHECK_TRY( k, vdb_parray_check(c->p, k->census, c->s.dead, "dead bitmap") );
  CHECK_TRY( k, vdb_parray_check(c->p, k->census, c->s.cols, "columns") );
  TRY( check_columns(k) );
  rc = vdb_segs_load(c);
  if( rc!=VECDB_OK ) return check_failed(k, rc);
  for(int v=0; v<c->schema->n_vector; v++){
    TRY( check_segment_extents(k, v) );
  }
  CHECK_TRY( k, vdb_graphs_check(c, k->census, k->object) );
done:
  return rc;
}

/* ---- Invariants ---------------------------------------------------------- */

/* C2: no bit of LIVE at delta_first or above, none of DEAD elsewhere than in
** the delta, and counters that agree. */
static int count_bits(void *arg, uint64_t i, size_t n,
                      const unsigned char *data){
  uint64_t *count = arg;

  VDB_UNUSED(i);
  for(size_t w=0; data!=NULL && w<n; w++){
    *count += (uint64_t)__builtin_popcountll(get_u64(data+8*w));
  }
  return VECDB_OK;
}

static int check_bitmaps(struct check *k, const struct live_map *live){
  struct coll *c = k->c;
  uint64_t n_live = 0, n_dead = 0;
  uint64_t n_word = vdb_bitset_words(SLOT_MAX);
  int rc;

  TRY( vdb_parray_scan(c->p, c->s.live, 0, n_word, count_bits, &n_live) );
  TRY( vdb_parray_scan(c->p, c->s.dead, 0, n_word, count_bits, &n_dead) );
  check_count(k, "bits in the live bitmap", n_live, c->s.n_live_sealed);
  check_count(k, "bits in the dead bitmap", n_dead, c->s.n_dead_delta);
  check_count(k, "live sealed rows", vdb_live_count(live, 0, c->s.delta_first),
              c->s.n_live_sealed);
  check_count(k, "live rows in the delta",
              vdb_live_count(live, c->s.delta_first, c->s.next_slot),
              coll_n_delta(c)-c->s.n_dead_delta);
done:
  return rc;
}

/* C3: each column's groups hold every live sealed row once. */
static int check_groups(struct check *k, const struct live_map *live, int v){
  struct coll *c = k->c;
  uint64_t n_live = 0, n_row = 0;
  bool ok = true;
  int rc = VECDB_OK;

  for(size_t i=0; i<c->segs[v].n; i++){
    struct seg *g = &c->segs[v].seg[i];
    struct extent data, map;
    const slot_no *slots;
    rc = vdb_seg_pin(c, v, g, &data, &map, &slots);
    if( rc!=VECDB_OK ) return rc;
    for(uint32_t r=0; r<g->n_row; r++){
      n_live += vdb_bit_get(live->word, slots ? slots[r] : g->first+r);
    }
    n_row += g->n_row;
    vdb_extent_unpin(c->p, &data);
    vdb_extent_unpin(c->p, &map);
    if( g->codes==0 || vdb_census_is_quick(k->census) ) continue;
    rc = vdb_codes_verify(c, v, g, &ok);
    if( rc!=VECDB_OK ) return rc;
    if( !ok ){
      vdb_census_report(k->census, 2, k->object, "slots %u..%u: the codes are "
          "not those of the vectors; optimize writes new ones", g->first,
          g->last);
    }
  }
  check_count(k, "live rows in row groups", n_live, c->s.n_live_sealed);
  if( v==0 ) check_count(k, "rows in row groups", n_row, c->s.n_row_sealed);
  return rc;
}

/* C4, one entry of the pk map. */
static int check_key(struct check *k, struct btree_cursor *cur,
                     const struct live_map *live){
  struct coll *c = k->c;
  const unsigned char *key, *val;
  struct coll_key stored;
  size_t n_key, n_val;
  slot_no slot;
  int rc;

  TRY( vdb_btree_key(cur, &key, &n_key) );
  TRY( vdb_btree_value(cur, &val, &n_val) );
  slot = n_val==4 ? get_u32(val) : SLOT_NONE;
  if( slot>=live->n_bit || !vdb_bit_get(live->word, slot) ){
    vdb_census_report(k->census, 2, k->object,
                      "the key map names slot %u, which is not live", slot);
    goto done;
  }
  if( vdb_census_is_quick(k->census) ) goto done;
  TRY( vdb_btree_key(cur, &key, &n_key) );
  TRY( vdb_key_of_slot(c, slot, &stored) );
  TRY( vdb_btree_key(cur, &key, &n_key) );
  if( stored.n!=n_key || memcmp(stored.b, key, n_key)!=0 ){
    vdb_census_report(k->census, 2, k->object,
                      "slot %u holds another key than the key map says", slot);
  }
done:
  return rc;
}

static int check_keys(struct check *k, const struct live_map *live){
  struct btree_cursor *cur = NULL;
  uint64_t n = 0;
  bool at_end;
  int rc;

  TRY( vdb_btree_cursor_open(k->c->p, k->c->s.pk, &cur) );
  for(rc=vdb_btree_first(cur, &at_end); rc==VECDB_OK && !at_end;
      rc=vdb_btree_next(cur, &at_end)){
    CHECK_TRY( k, check_key(k, cur, live) );
    if( ++n%8192==0 ){
      TRY( vdb_store_progress(k->st, "check", "rows", n, k->c->s.next_slot) );
    }
  }
  if( rc==VECDB_OK ) check_count(k, "keys", n, vdb_coll_n_row(k->c));
done:
  vdb_btree_cursor_close(cur);
  return rc;
}

/* C5: entries of live rows, of columns that can have one. */
static int check_heap(struct check *k, const struct live_map *live){
  struct coll *c = k->c;
  struct btree_cursor *cur = NULL;
  const unsigned char *key;
  size_t n;
  bool at_end;
  int rc;

  if( c->s.heap==0 ) return VECDB_OK;
  TRY( vdb_btree_cursor_open(c->p, c->s.heap, &cur) );
  for(rc=vdb_btree_first(cur, &at_end); rc==VECDB_OK && !at_end;
      rc=vdb_btree_next(cur, &at_end)){
    slot_no slot;
    int column;
    bool ok;
    TRY( vdb_btree_key(cur, &key, &n) );
    slot = n==HEAPKEY_SIZE ? get_key_u32(key) : SLOT_NONE;
    column = n==HEAPKEY_SIZE ? key[4]<<8 | key[5] : c->schema->n_col;
    ok = slot<live->n_bit && vdb_bit_get(live->word, slot) &&
         column<c->schema->n_col;
    if( ok ) continue;
    vdb_census_report(k->census, 2, k->object,
        "the heap has a value of slot %u, column %d, which is not live", slot,
        column);
  }
done:
  vdb_btree_cursor_close(cur);
  return rc;
}

/* C5, the other way: what a row says is in the heap is there, and complete. */
static int check_row_values(struct check *k, slot_no slot,
                            struct vdb_str *buf){
  const struct schema *schema = k->c->schema;
  struct vdb_value v;
  int rc = VECDB_OK;

  for(int i=0; i<schema->n_col; i++){
    if( schema->col[i].role!=VECDB_ROLE_AUX &&
        schema->col[i].type!=VECDB_TEXT ){
      continue;
    }
    CHECK_TRY( k, vdb_coll_value(k->c, i, slot, buf, &v) );
  }
done:
  return rc;
}

static bool has_texts(const struct schema *schema){
  for(int i=0; i<schema->n_col; i++){
    if( schema->col[i].role==VECDB_ROLE_AUX ||
        schema->col[i].type==VECDB_TEXT ) return true;
  }
  return false;
}

static int check_values(struct check *k, const struct live_map *live){
  struct vdb_str buf = VDB_STR_INIT;
  int rc = VECDB_OK;

  if( !has_texts(k->c->schema) || vdb_census_is_quick(k->census) ){
    return VECDB_OK;
  }
  for(uint64_t s=0; s<live->n_bit; s++){
    if( !vdb_bit_get(live->word, (size_t)s) ) continue;
    TRY( check_row_values(k, (slot_no)s, &buf) );
    if( s%8192==0 ){
      TRY( vdb_store_progress(k->st, "check", "rows", s, live->n_bit) );
    }
  }
done:
  vdb_str_clear(&buf);
  return rc;
}

static int check_invariants(struct check *k){
  struct live_map *live = NULL;
  int rc;

  rc = vdb_live_ref(k->c, &live);
  if( rc!=VECDB_OK ) return check_failed(k, rc);
  CHECK_TRY( k, check_bitmaps(k, live) );
  if( k->c->has_segs ){
    for(int v=0; v<k->c->schema->n_vector; v++){
      CHECK_TRY( k, check_groups(k, live, v) );
    }
  }
  CHECK_TRY( k, check_keys(k, live) );
  CHECK_TRY( k, check_heap(k, live) );
  TRY( check_values(k, live) );
done:
  vdb_live_unref(live);
  return rc;
}

/* ---- The whole ----------------------------------------------------------- */

static void name_object(struct check *k, const char *name){
  struct vdb_str s = VDB_STR_INIT;

  vdb_str_addf(&s, "collection \"%s\"", name);
  k->object[0] = 0;
  if( s.rc==VECDB_OK && s.n<sizeof(k->object) ){
    memcpy(k->object, s.z, s.n+1);
  }
  vdb_str_clear(&s);
}

static int check_collection(void *arg, uint64_t id, page_no page,
                            const char *name, const char *text){
  struct check *k = arg;
  int rc;

  VDB_UNUSED(id);
  VDB_UNUSED(page);
  VDB_UNUSED(text);
  name_object(k, name);
  TRY( vdb_store_progress(k->st, "check", "rows", 0, 0) );
  rc = vdb_store_coll_open(k->st, name, &k->c);
  if( rc!=VECDB_OK ) return check_failed(k, rc);
  TRY( check_structures(k) );
  TRY( check_invariants(k) );
done:
  vdb_store_coll_close(k->c);
  k->c = NULL;
  return rc;
}

static int check_all(struct check *k){
  uint64_t root = 0;
  int rc;

  memcpy(k->object, "catalog", sizeof("catalog"));
  TRY( vdb_root_get(k->st->p, ROOT_CATALOG, &root) );
  if( root!=0 ){
    CHECK_TRY( k, vdb_btree_check(k->st->p, k->census, (page_no)root,
                                  "catalog") );
  }
  rc = vdb_catalog_each(k->st, check_collection, k);
  memcpy(k->object, "catalog", sizeof("catalog"));
  TRY( check_failed(k, rc) );
done:
  return rc;
}

int vdb_store_check(struct store *st, bool quick, vdb_report_fn report,
                    void *arg, uint64_t *n_bad){
  struct read_scope r = { false };
  struct check k;
  int rc, rc2;

  *n_bad = 0;
  memset(&k, 0, sizeof(k));
  k.st = st;
  TRY( vdb_store_read_begin(st, &r) );
  TRY( vdb_census_begin(st->p, quick, report, arg, &k.census) );
  rc = check_all(&k);
  if( rc!=VECDB_OK ) vdb_census_fail(k.census, rc);
  rc2 = vdb_census_end(k.census, n_bad);
  if( rc==VECDB_OK ) rc = rc2;
done:
  rc2 = vdb_store_read_end(st, &r);
  return rc!=VECDB_OK ? rc : rc2;
}
