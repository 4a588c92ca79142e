/* graphs.c -- the graphs of a collection: reading, opening, holding, freeing.
**
** GRAPHREC names the extents of blocks and carries the header of graph.h. A
** graph is opened once per GRAPHVERSION; its extents are held from search to
** search (vdb_extent_hold), because pinning a hundred of them would cost more
** than a search; and graphs whose record did not change are taken over from one
** GRAPHVERSION to the next (GRAPHREC.BORN). That is safe: they are read only
** in a transaction whose state has the same record, and such a state still
** sees them. Blocks have checksums and are checked one by one, when a search
** first comes to them (graph_seg.sound), so the searches after opening cost
** little more than later ones; a group of blocks without checksums is verified
** as a whole when it is first held.
**
** What is read is checked: ranges ascend and lie below delta_first, an extent
** has the stride, count and owner it should have, side slots ascend within
** the range. Rows named by blocks are compared with the bitmaps' size by the
** search (graph.h).
*/
#include "util/common.h"
#include "store/graphs.h"

#include "simd/simd.h"

/* Squares of norms beyond these leave no room for sums of floats. */
#define NORM2_MAX  1e36f
#define NORM2_MIN  1e-30f

/* ---- Shape -------------------------------------------------------------- */

/* Vectors that a graph could hold, whatever index the column has. */
static bool column_fits(const struct schema_column *col){
  return col->metric==VECDB_L2 || col->metric==VECDB_COSINE ||
         col->metric==VECDB_IP || col->metric==VECDB_HAMMING ||
         col->metric==VECDB_JACCARD;
}

bool vdb_graphs_possible(const struct coll *c, int v){
  const struct schema_column *col = &c->schema->col[c->vec_col[v]];
  return col->index.kind==INDEX_GRAPH && column_fits(col);
}

uint32_t vdb_graph_dims(const struct coll *c, int v){
  const struct schema_column *col = &c->schema->col[c->vec_col[v]];
  return col->dims + (col->metric==VECDB_IP);
}

bool vdb_graph_vec(const struct coll *c, int v, const void *vec,
                   float norm_max, bool is_query, float *out){
  int type = c->schema->col[c->vec_col[v]].element;

  return vdb_graph_vec_of(c, v, type, vec, norm_max, is_query, out);
}

bool vdb_graph_vec_of(const struct coll *c, int v, int type, const void *vec,
                      float norm_max, bool is_query, float *out){
  const struct schema_column *col = &c->schema->col[c->vec_col[v]];
  float norm2, scale;

  if( col->element==VECDB_BIT ){
    const unsigned char *p = vec;
    for(uint32_t i=0; i<col->dims; i++) out[i] = (float)(p[i/8]>>(i%8) & 1);
    return true;
  }
  vdb_widen(type, vec, out, col->dims);
  if( col->metric==VECDB_L2 && is_query ) return true;
  norm2 = vdb_norm2(VECDB_F32, out, col->dims);
  if( !(norm2<=NORM2_MAX) ) return false;
  if( col->metric==VECDB_L2 ) return true;
  if( col->metric==VECDB_IP ){
    float rest = norm_max*norm_max - norm2;
    out[col->dims] = is_query || rest<=0 ? 0 : __builtin_sqrtf(rest);
    return true;
  }
  if( !(norm2>=NORM2_MIN) ) return false;
  scale = 1/__builtin_sqrtf(norm2);
  for(uint32_t i=0; i<col->dims; i++) out[i] *= scale;
  return true;
}

int vdb_graph_rc(struct coll *c, int rc){
  if( rc==VECDB_CORRUPT_INDEX ){
    return vdb_error(vdb_coll_err(c), rc, "collection \"%.100s\": a graph is "
                     "damaged; vecdb_check says where", c->name);
  }
  if( rc==VECDB_FORMAT ){
    return vdb_error(vdb_coll_err(c), rc, "collection \"%.100s\": a graph is "
                     "of a version that this library does not know, expected "
                     "1; optimize with rebuild makes it anew", c->name);
  }
  return rc;
}

/* ---- Opening ------------------------------------------------------------ */

static void seg_close(struct coll *c, struct graph_seg *s){
  for(uint32_t i=0; s->group!=NULL && i<s->info.n_group; i++){
    vdb_extent_unpin(c->p, &s->group[i]);
  }
  vdb_graph_codes_let_go(c, s);
  vdb_graph_searcher_destroy(s->searcher);
  vdb_graph_close(s->g);
  vdb_free(s->side);
  vdb_free(s->head);
  vdb_free(s->group);
  vdb_free(s->base);
  vdb_free(s->sound);
  vdb_free(s->rows);
  vdb_free(s->row_of);
  vdb_free(s->code_head);
  vdb_free(s->code);
  vdb_free(s->code_base);
  memset(s, 0, sizeof(*s));
}

static void rows_release(struct coll *c, struct row_hold *h){
  for(size_t i=0; i<h->n; i++) vdb_extent_unpin(c->p, &h->data[i]);
  vdb_free(h->data);
  memset(h, 0, sizeof(*h));
}

static void cache_destroy(struct coll *c, struct graph_cache *k){
  if( k==NULL ) return;
  for(int v=0; k->list!=NULL && v<c->schema->n_vector; v++){
    for(size_t i=0; i<k->list[v].n; i++) seg_close(c, &k->list[v].seg[i]);
    vdb_free(k->list[v].seg);
  }
  for(int v=0; k->rows!=NULL && v<c->schema->n_vector; v++){
    rows_release(c, &k->rows[v]);
  }
  vdb_free(k->list);
  vdb_free(k->rows);
  vdb_free(k);
}

void vdb_graphs_clear(struct coll *c){
  cache_destroy(c, c->graphs);
  c->graphs = NULL;
}

/* Extents of GRAPHREC.ROWS, if there are any. */
static uint32_t rows_extents(const struct graph_seg *s){
  uint32_t n_max = vdb_extent_capacity(4);
  return s->info.n_nodes/n_max + (s->info.n_nodes%n_max!=0);
}

/* Queries have the dimensions of the column: a walk may not read others. */
static bool space_fits(const struct coll *c, int v,
                       const struct vdb_graph_info *g){
  const struct schema_column *col = &c->schema->col[c->vec_col[v]];
  return g->d==vdb_graph_dims(c, v)
      && (g->nav==VDB_NAV_BITS)==(col->element==VECDB_BIT)
      && g->is_jaccard==(col->metric==VECDB_JACCARD);
}

/* GRAPHREC.CODES at p; n_codes has been checked. */
static int seg_open_codes(struct graph_seg *s, const unsigned char *p){
  s->code_head = vdb_calloc((size_t)s->n_codes+1, sizeof(*s->code_head));
  s->code = vdb_calloc((size_t)s->n_codes+1, sizeof(*s->code));
  s->code_base = vdb_calloc((size_t)s->n_codes+1, sizeof(*s->code_base));
  if( !s->code_head || !s->code || !s->code_base ) return VECDB_NOMEM;
  for(uint32_t i=0; i<s->n_codes; i++) s->code_head[i] = get_u32(p + 4*(size_t)i);
  return VECDB_OK;
}

/* The parts after GRAPHREC of column v: extents, side list, rows, codes,
** header. */
static int seg_open_parts(struct coll *c, int v, struct graph_seg *s,
                          const unsigned char *p, uint32_t n_group,
                          uint32_t sz_header){
  int rc = VECDB_OK;

  rc = vdb_graph_open(p + 4*((size_t)n_group+s->n_side+s->n_rows+s->n_codes),
                      sz_header, &s->g);
  TRY( vdb_graph_rc(c, rc) );
  vdb_graph_info(s->g, &s->info);
  if( !space_fits(c, v, &s->info) ){
    s->info.n_group = 0;
    TRY( COLL_CORRUPT(c, "a graph is not of its column's vectors") );
  }
  if( s->info.n_group!=n_group || s->info.n_slots>s->end-s->first ||
      (s->n_rows>0 && s->n_rows!=rows_extents(s)) ||
      (s->n_codes>0 && s->n_codes!=vdb_graph_codes_extents(s)) ){
    s->info.n_group = 0;
    TRY( COLL_CORRUPT(c, "a graph has another size than its record") );
  }
  s->head = vdb_calloc((size_t)n_group+1, sizeof(*s->head));
  s->side = vdb_calloc((size_t)s->n_side+1, sizeof(*s->side));
  s->group = vdb_calloc((size_t)n_group+1, sizeof(*s->group));
  s->base = vdb_calloc((size_t)n_group+1, sizeof(*s->base));
  s->rows = vdb_calloc((size_t)s->n_rows+1, sizeof(*s->rows));
  if( !s->head || !s->side || !s->group || !s->base || !s->rows ){
    return VECDB_NOMEM;
  }
  if( s->info.has_sums ){
    s->sound = vdb_calloc(vdb_bitset_words(s->info.n_slots)+1, 8);
    if( s->sound==NULL ) return VECDB_NOMEM;
  }
  for(uint32_t i=0; i<n_group; i++) s->head[i] = get_u32(p + 4*(size_t)i);
  p += 4*(size_t)n_group;
  for(uint32_t i=0; i<s->n_side; i++){
    s->side[i] = get_u32(p + 4*(size_t)i);
    if( s->side[i]<s->first || s->side[i]>=s->end ||
        (i>0 && s->side[i]<=s->side[i-1]) ){
      TRY( COLL_CORRUPT(c, "a graph names rows outside of its range") );
    }
  }
  p += 4*(size_t)s->n_side;
  for(uint32_t i=0; i<s->n_rows; i++) s->rows[i] = get_u32(p + 4*(size_t)i);
  TRY( seg_open_codes(s, p + 4*(size_t)s->n_rows) );
done:
  return rc;
}

/* The graph of a record, out of an older cache. */
static bool seg_reuse(struct graph_cache *old, int v, struct graph_seg *s){
  struct graph_list *list = old!=NULL && v>=0 ? &old->list[v] : NULL;

  for(size_t i=0; list!=NULL && i<list->n; i++){
    struct graph_seg *o = &list->seg[i];
    if( o->g==NULL || o->first!=s->first || o->born!=s->born ) continue;
    *s = *o;
    memset(o, 0, sizeof(*o));
    return true;
  }
  return false;
}

static int seg_open(struct coll *c, struct graph_cache *old,
                    const unsigned char *key, size_t n_key,
                    const unsigned char *val, size_t n_val, int *v,
                    struct graph_seg *s){
  uint64_t n_group, sz_header, sz;

  memset(s, 0, sizeof(*s));
  if( n_key!=GRAPHKEY_SIZE || n_val<GRAPHREC_SIZE ){
    return COLL_CORRUPT(c, "an entry of the graphs has a wrong size");
  }
  *v = vdb_vector_number(c, key[GRAPHKEY_COLUMN]<<8 | key[GRAPHKEY_COLUMN+1]);
  s->first = get_key_u32(key+GRAPHKEY_FIRST);
  s->born = get_u64(val+GRAPHREC_BORN);
  if( seg_reuse(old, *v, s) ) return VECDB_OK;
  s->end = get_u32(val+GRAPHREC_END);
  s->n_row = get_u32(val+GRAPHREC_NROW);
  s->n_side = get_u32(val+GRAPHREC_NSIDE);
  s->norm_max = get_f32(val+GRAPHREC_NORMMAX);
  s->n_rows = get_u32(val+GRAPHREC_NROWS);
  s->n_codes = get_u32(val+GRAPHREC_NCODES);
  n_group = get_u32(val+GRAPHREC_NGROUP);
  sz_header = get_u32(val+GRAPHREC_SZHEADER);
  sz = GRAPHREC_SIZE + sz_header
     + 4*(n_group + s->n_side + s->n_rows + s->n_codes);
  if( *v<0 || sz!=n_val || s->end<=s->first || s->end>c->s.delta_first ||
      s->n_side>s->end-s->first || s->n_row>s->end-s->first ||
      !column_fits(&c->schema->col[c->vec_col[*v]]) ){
    return COLL_CORRUPT(c, "a graph has impossible numbers");
  }
  return seg_open_parts(c, *v, s, val+GRAPHREC_SIZE, (uint32_t)n_group,
                        (uint32_t)sz_header);
}

slot_no vdb_graphs_end(const struct coll *c, int v){
  const struct graph_list *list = &c->graphs->list[v];
  return list->n>0 ? list->seg[list->n-1].end : 0;
}

static int list_read(struct coll *c, struct graph_cache *old){
  struct btree_cursor *k = NULL;
  const unsigned char *key, *val;
  size_t n_key, n_val;
  struct graph_seg s;
  bool at_end;
  int v = 0, rc;

  memset(&s, 0, sizeof(s));
  TRY( vdb_btree_cursor_open(c->p, c->s.graphs, &k) );
  TRY( vdb_btree_first(k, &at_end) );
  while( !at_end ){
    struct graph_list *list;
    TRY( vdb_btree_key(k, &key, &n_key) );
    TRY( vdb_btree_value(k, &val, &n_val) );
    TRY( seg_open(c, old, key, n_key, val, n_val, &v, &s) );
    list = &c->graphs->list[v];
    if( s.first!=vdb_graphs_end(c, v) ){
      TRY( COLL_CORRUPT(c, "graphs overlap, or leave rows out") );
    }
    TRY( vdb_grow(&list->seg, &list->n_cap, list->n+1, sizeof(s)) );
    list->seg[list->n++] = s;
    memset(&s, 0, sizeof(s));
    TRY( vdb_btree_next(k, &at_end) );
  }
done:
  if( rc!=VECDB_OK ) seg_close(c, &s);
  vdb_btree_cursor_close(k);
  return rc;
}

void vdb_graphs_distrust(struct coll *c, int rc){
  struct graph_cache *k = c->graphs;

  vdb_log(rc, "collection \"%.100s\": searches are exact until rebuild: %s",
          c->name, vdb_error_text(vdb_coll_err(c)));
  vdb_error_clear(vdb_coll_err(c));
  for(int v=0; v<c->schema->n_vector; v++){
    for(size_t i=0; i<k->list[v].n; i++) seg_close(c, &k->list[v].seg[i]);
    k->list[v].n = 0;
  }
  k->is_damaged = true;
}

int vdb_graphs_load(struct coll *c){
  struct graph_cache *old = c->graphs;
  int rc = VECDB_OK;

  if( old!=NULL && old->version==c->s.graph_version ) return VECDB_OK;
  c->graphs = vdb_calloc(1, sizeof(*c->graphs));
  if( c->graphs==NULL ) TRY( VECDB_NOMEM );
  c->graphs->list = vdb_calloc((size_t)c->schema->n_vector,
                               sizeof(*c->graphs->list));
  c->graphs->rows = vdb_calloc((size_t)c->schema->n_vector,
                               sizeof(*c->graphs->rows));
  if( c->graphs->list==NULL || c->graphs->rows==NULL ) TRY( VECDB_NOMEM );
  c->graphs->version = c->s.graph_version;
  for(int v=0; old!=NULL && old->rows!=NULL && v<c->schema->n_vector; v++){
    c->graphs->rows[v] = old->rows[v];
    memset(&old->rows[v], 0, sizeof(old->rows[v]));
  }
  if( c->s.graphs!=0 ){
    rc = list_read(c, old);
    if( graph_is_damage(rc) ){
      vdb_graphs_distrust(c, rc);
      rc = VECDB_OK;
    }
  }
done:
  cache_destroy(c, old);
  if( rc!=VECDB_OK ) vdb_graphs_clear(c);
  return rc;
}

/* ---- What there is ------------------------------------------------------- */

int vdb_coll_has_graph(struct coll *c, int column, bool *out){
  int v, rc;

  *out = false;
  TRY( vdb_coll_refresh(c) );
  v = vdb_vector_number(c, column);
  if( v<0 || c->s.graphs==0 ) return VECDB_OK;
  TRY( vdb_graphs_load(c) );
  *out = c->graphs->list[v].n>0;
done:
  return rc;
}

int vdb_graphs_stats(struct coll *c, vecdb_collection_stats *out){
  int rc = VECDB_OK;

  if( c->s.graphs==0 ) return VECDB_OK;
  TRY( vdb_graphs_load(c) );
  for(int v=0; v<c->schema->n_vector; v++){
    for(size_t i=0; i<c->graphs->list[v].n; i++){
      const struct graph_seg *s = &c->graphs->list[v].seg[i];
      out->n_graph++;
      out->n_graph_row += (uint64_t)s->n_row + s->n_side;
      out->graph_bytes += (uint64_t)s->info.n_slots*s->info.stride;
      out->n_extent += s->info.n_group;
    }
  }
done:
  return rc;
}

/* ---- Blocks ------------------------------------------------------------- */

int vdb_graph_hold(struct coll *c, struct graph_seg *s, uint32_t i_group){
  struct extent *e = &s->group[i_group];
  uint32_t n = (uint32_t)1<<s->info.shift, at = i_group<<s->info.shift;
  int rc;

  if( s->base[i_group]!=NULL ) return VECDB_OK;
  if( n>s->info.n_slots-at ) n = s->info.n_slots-at;
  TRY( vdb_extent_hold(c->p, s->head[i_group], e) );
  if( e->spec.kind!=EXTENT_KIND_GRAPH || e->spec.stride!=s->info.stride ||
      e->spec.n_rec!=n || e->spec.owner!=c->id ){
    TRY( COLL_CORRUPT(c, "an extent is not the one its graph expects") );
  }
  if( s->sound==NULL ) TRY( vdb_extent_verify(c->p, e, 0, e->sz) );
  s->base[i_group] = e->data;
done:
  if( rc!=VECDB_OK ) vdb_extent_unpin(c->p, e);
  return rc;
}

int vdb_graph_hold_all(struct coll *c, struct graph_seg *s){
  int rc = VECDB_OK;
  for(uint32_t i=0; i<s->info.n_group && rc==VECDB_OK; i++){
    rc = vdb_graph_hold(c, s, i);
  }
  return rc;
}

int vdb_graph_hold_sound(struct coll *c, struct graph_seg *s){
  int rc = vdb_graph_hold_all(c, s);
  for(uint32_t i=0; i<s->info.n_group && rc==VECDB_OK; i++){
    rc = vdb_extent_verify(c->p, &s->group[i], 0, s->group[i].sz);
  }
  return rc;
}

int vdb_graph_rows_load(struct coll *c, struct graph_seg *s){
  uint32_t n_max = vdb_extent_capacity(4), *row_of = NULL;
  struct extent e;
  int rc = VECDB_OK;

  memset(&e, 0, sizeof(e));
  if( s->row_of!=NULL || s->n_rows==0 ) return VECDB_OK;
  row_of = vdb_malloc_array(s->info.n_nodes, 4);
  if( row_of==NULL ) return VECDB_NOMEM;
  for(uint32_t i=0; i<s->n_rows; i++){
    uint32_t at = i*n_max, n = s->info.n_nodes-at;
    if( n>n_max ) n = n_max;
    TRY( vdb_extent_pin(c->p, s->rows[i], &e) );
    if( e.spec.kind!=EXTENT_KIND_GRAPHROWS || e.spec.stride!=4 ||
        e.spec.n_rec!=n || e.spec.owner!=c->id ){
      TRY( COLL_CORRUPT(c, "an extent is not the one its graph expects") );
    }
    for(uint32_t j=0; j<n; j++) row_of[at+j] = get_u32(e.data + 4*(size_t)j);
    vdb_extent_unpin(c->p, &e);
  }
  s->row_of = row_of;
  row_of = NULL;
done:
  vdb_extent_unpin(c->p, &e);
  vdb_free(row_of);
  return rc;
}

/* ---- Rows ------------------------------------------------------------------
** Results need the stored vectors of a few slots all over the column: their
** row groups are held, too, and verified chunk by chunk as rows are read. */

static int rows_sync(struct coll *c, int v, struct row_hold *h){
  if( h->data!=NULL && h->version==c->s.seg_version ) return VECDB_OK;
  rows_release(c, h);
  h->data = vdb_calloc(c->segs[v].n+1, sizeof(*h->data));
  if( h->data==NULL ) return VECDB_NOMEM;
  h->n = c->segs[v].n;
  h->version = c->s.seg_version;
  return VECDB_OK;
}

/* Index of the group that holds `slot`, or n. */
static size_t group_of(const struct seg_list *list, slot_no slot){
  size_t lo = 0, hi = list->n;

  while( lo<hi ){
    size_t mid = lo+(hi-lo)/2;
    if( list->seg[mid].last<slot ) lo = mid+1;
    else hi = mid;
  }
  return lo<list->n && list->seg[lo].first<=slot ? lo : list->n;
}

int vdb_graph_row(struct coll *c, int v, slot_no slot, struct vdb_str *buf,
                  const unsigned char **vec, int *type){
  uint32_t sz = c->schema->col[c->vec_col[v]].sz_vec;
  struct row_hold *h = &c->graphs->rows[v];
  const struct seg *g;
  size_t i, off;
  int rc;

  TRY( vdb_segs_load(c) );
  TRY( rows_sync(c, v, h) );
  i = group_of(&c->segs[v], slot);
  g = i<h->n ? &c->segs[v].seg[i] : NULL;
  *type = 0;
  if( g==NULL || g->map!=0 ){            /* compacted: by its slot map */
    vdb_str_truncate(buf, 0);
    for(uint32_t n=0; n<sz; n+=64) vdb_str_add(buf, (char[64]){0}, 64);
    TRY( vdb_str_rc(buf) );
    TRY( vdb_seg_vector(c, v, slot, (unsigned char*)buf->z) );
    *vec = (const unsigned char*)buf->z;
    return VECDB_OK;
  }
  sz = vdb_seg_row_bytes(c, v, g);
  if( h->data[i].data==NULL ){
    TRY( vdb_extent_hold(c->p, g->data, &h->data[i]) );
    if( h->data[i].spec.stride!=sz || h->data[i].spec.n_rec!=g->n_row ||
        h->data[i].spec.owner!=c->id ){
      vdb_extent_unpin(c->p, &h->data[i]);
      TRY( COLL_CORRUPT(c, "an extent is not the one its row group expects") );
    }
  }
  off = (size_t)(slot-g->first)*sz;
  TRY( vdb_extent_verify(c->p, &h->data[i], off, sz) );
  *vec = h->data[i].data + off;
  *type = vdb_seg_row_type(g);
done:
  return rc;
}

void vdb_graph_row_hint(struct coll *c, int v, slot_no slot){
  uint32_t sz = c->schema->col[c->vec_col[v]].sz_vec;
  const struct row_hold *h = &c->graphs->rows[v];
  const struct seg *g;
  size_t i;

  if( h->data==NULL || h->version!=c->s.seg_version ) return;
  i = group_of(&c->segs[v], slot);
  if( i>=h->n || i>=c->segs[v].n || h->data[i].data==NULL ) return;
  g = &c->segs[v].seg[i];
  if( g->map!=0 || slot-g->first>=g->n_row ) return;
  sz = vdb_seg_row_bytes(c, v, g);
  for(uint32_t at=0; at<sz && at<1024; at+=64){
    __builtin_prefetch(h->data[i].data + (size_t)(slot-g->first)*sz + at);
  }
}

void vdb_graphs_relax(struct coll *c){
  if( c->graphs==NULL || !vdb_extent_is_crowded(c->p) ) return;
  for(int v=0; v<c->schema->n_vector; v++){
    for(size_t i=0; i<c->graphs->list[v].n; i++){
      struct graph_seg *s = &c->graphs->list[v].seg[i];
      for(uint32_t j=0; j<s->info.n_group; j++){
        vdb_extent_unpin(c->p, &s->group[j]);
        s->base[j] = NULL;
      }
      if( s->sound ){                  /* they may come back as other bytes */
        memset(s->sound, 0, vdb_bitset_words(s->info.n_slots)*8);
      }
      vdb_graph_codes_let_go(c, s);
    }
    rows_release(c, &c->graphs->rows[v]);
  }
  vdb_extent_shrink(c->p);
}

/* ---- Freeing ------------------------------------------------------------ */

int vdb_graph_free(struct coll *c, int v, struct graph_seg *s,
                   const bool *is_kept){
  int column = c->vec_col[v], rc = VECDB_OK;
  unsigned char key[GRAPHKEY_SIZE] = { 0 };

  key[GRAPHKEY_COLUMN] = (unsigned char)(column>>8);
  key[GRAPHKEY_COLUMN+1] = (unsigned char)column;
  put_key_u32(key+GRAPHKEY_FIRST, s->first);
  TRY( vdb_btree_delete(c->p, c->s.graphs, key, sizeof(key)) );
  for(uint32_t i=0; i<s->info.n_group; i++){
    vdb_extent_unpin(c->p, &s->group[i]);
    s->base[i] = NULL;
    if( is_kept!=NULL && is_kept[i] ) continue;
    TRY( vdb_graph_extent_free(c, s->head[i]) );
  }
  for(uint32_t i=0; i<s->n_rows; i++){
    TRY( vdb_graph_extent_free(c, s->rows[i]) );
  }
  vdb_graph_codes_let_go(c, s);
  for(uint32_t i=0; i<s->n_codes; i++){
    TRY( vdb_graph_extent_free(c, s->code_head[i]) );
  }
done:
  return rc;
}

int vdb_graphs_drop(struct coll *c, int v){
  int rc;

  TRY( vdb_graphs_load(c) );
  if( c->graphs->is_damaged ) return vdb_graphs_drop_damaged(c);
  if( c->graphs->list[v].n==0 ) return VECDB_OK;
  for(size_t i=0; i<c->graphs->list[v].n; i++){
    TRY( vdb_graph_free(c, v, &c->graphs->list[v].seg[i], NULL) );
  }
  c->s.graph_version++;
  vdb_graphs_clear(c);
done:
  return rc;
}

int vdb_graphs_destroy(struct coll *c){
  int rc = VECDB_OK;

  if( c->s.graphs==0 ) return VECDB_OK;
  for(int v=0; v<c->schema->n_vector; v++) TRY( vdb_graphs_drop(c, v) );
  TRY( vdb_btree_destroy(c->p, c->s.graphs) );
  c->s.graphs = 0;
done:
  return rc;
}
