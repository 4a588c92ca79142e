/* collection.c -- the collection page and the open handle.
**
** vdb_coll_refresh makes a handle show the state that the transaction sees.
** It compares one number, the pager's version, and is done when that has not
** changed. Otherwise the schema cookie says whether the catalog must be asked
** again, and the collection page is decoded anew; caches notice by the
** versions in it.
*/
#include "util/common.h"
#include "store/coll_int.h"

enum { COLL_HAS_MAX_KEY = 1, COLL_IS_ORDERED = 2 };

struct vdb_err *vdb_coll_err(struct coll *c){ return c->st->err; }

int vdb_coll_corrupt(struct coll *c, const char *file, int line,
                     const char *what){
  return vdb_error_at(c->st->err, VECDB_CORRUPT, file, line,
                      "collection \"%s\": %s", c->name ? c->name : "?", what);
}

/* ---- The page ------------------------------------------------------------ */

static void state_decode(const unsigned char *p, struct coll_state *s){
  uint32_t flags = get_u32(p+COLL_FLAGS);

  s->version = get_u64(p+COLL_VERSION);
  s->seg_version = get_u64(p+COLL_SEGVERSION);
  s->delta_edits = get_u64(p+COLL_DELTAEDITS);
  s->max_key = (int64_t)get_u64(p+COLL_MAXKEY);
  s->has_max_key = (flags & COLL_HAS_MAX_KEY)!=0;
  s->is_ordered = (flags & COLL_IS_ORDERED)!=0;
  s->next_slot = get_u32(p+COLL_NEXTSLOT);
  s->delta_first = get_u32(p+COLL_DELTAFIRST);
  s->n_live_sealed = get_u32(p+COLL_NLIVESEALED);
  s->n_dead_delta = get_u32(p+COLL_NDEADDELTA);
  s->n_row_sealed = get_u32(p+COLL_NROWSEALED);
  s->pk = get_u32(p+COLL_PK);
  s->segs = get_u32(p+COLL_SEGMENTS);
  s->heap = get_u32(p+COLL_HEAP);
  s->delta = get_u32(p+COLL_DELTA);
  s->live = get_u32(p+COLL_LIVE);
  s->dead = get_u32(p+COLL_DEAD);
  s->cols = get_u32(p+COLL_COLUMNS);
  s->graphs = get_u32(p+COLL_GRAPHS);
  s->graph_version = get_u64(p+COLL_GRAPHVERSION);
}

static void state_encode(unsigned char *p, const struct coll_state *s){
  put_u64(p+COLL_VERSION, s->version);
  put_u64(p+COLL_SEGVERSION, s->seg_version);
  put_u64(p+COLL_DELTAEDITS, s->delta_edits);
  put_u64(p+COLL_MAXKEY, (uint64_t)s->max_key);
  put_u32(p+COLL_FLAGS, (s->has_max_key ? COLL_HAS_MAX_KEY : 0u) |
                        (s->is_ordered ? COLL_IS_ORDERED : 0u));
  put_u32(p+COLL_NEXTSLOT, s->next_slot);
  put_u32(p+COLL_DELTAFIRST, s->delta_first);
  put_u32(p+COLL_NLIVESEALED, s->n_live_sealed);
  put_u32(p+COLL_NDEADDELTA, s->n_dead_delta);
  put_u32(p+COLL_NROWSEALED, s->n_row_sealed);
  put_u32(p+COLL_PK, s->pk);
  put_u32(p+COLL_SEGMENTS, s->segs);
  put_u32(p+COLL_HEAP, s->heap);
  put_u32(p+COLL_DELTA, s->delta);
  put_u32(p+COLL_LIVE, s->live);
  put_u32(p+COLL_DEAD, s->dead);
  put_u32(p+COLL_COLUMNS, s->cols);
  put_u32(p+COLL_GRAPHS, s->graphs);
  put_u64(p+COLL_GRAPHVERSION, s->graph_version);
}

/* What a hostile file could make large or negative is refused here. The delta
** holds at most one row more than its limit in bytes allows. */
static int state_check(struct coll *c, const struct coll_state *s){
  uint64_t n_delta_max = DELTA_BYTES_MAX/c->lay.sz_record + 1;

  if( s->delta_first>s->next_slot || s->next_slot>SLOT_MAX+1 ||
      s->next_slot-s->delta_first>n_delta_max ||
      s->n_dead_delta>s->next_slot-s->delta_first ||
      s->n_live_sealed>s->delta_first || s->n_row_sealed>s->delta_first ||
      s->n_live_sealed>s->n_row_sealed ){
    return COLL_CORRUPT(c, "its counters contradict each other");
  }
  if( s->pk==0 || s->segs==0 || s->delta==0 || s->live==0 || s->dead==0 ||
      s->cols==0 ){
    return COLL_CORRUPT(c, "a structure is missing");
  }
  return VECDB_OK;
}

/* Arrays have the widths that reading them relies on. */
static int widths_check(struct coll *c, const struct coll_state *s){
  struct { page_no root; uint32_t width; } a[4] = {
    { s->delta, c->lay.sz_record }, { s->live, 8 }, { s->dead, 8 },
    { s->cols, COLROOT_SIZE } };
  int rc = VECDB_OK;

  for(size_t i=0; i<VDB_ARRAY_LEN(a); i++){
    uint32_t width = 0;
    TRY( vdb_parray_width(c->p, a[i].root, &width) );
    if( width!=a[i].width ){
      TRY( COLL_CORRUPT(c, "an array has a wrong width") );
    }
  }
done:
  return rc;
}

int vdb_coll_state_read(struct coll *c){
  struct coll_state s, *old = &c->s;
  struct page *pg = NULL;
  int rc;

  TRY( vdb_page_get(c->p, c->page, PAGE_COLLECTION, &pg) );
  if( get_u64(pg->data+COLL_ID)!=c->id ){
    TRY( COLL_CORRUPT(c, "its page belongs to another collection") );
  }
  state_decode(pg->data, &s);
  TRY( state_check(c, &s) );
  if( !c->is_valid || s.delta!=old->delta || s.live!=old->live ||
      s.dead!=old->dead || s.cols!=old->cols ){
    TRY( widths_check(c, &s) );
  }
  c->s = s;
done:
  vdb_page_unpin(c->p, pg);
  return rc;
}

void vdb_coll_change_begin(struct coll *c){
  vdb_handle_dirty(c);
  vdb_pager_touch(c->p);
  c->pager_version = vdb_pager_version(c->p);
  c->live_follows = c->live!=NULL && c->live->n_ref==1 &&
                    c->live_version==c->s.version;
}

int vdb_coll_state_write(struct coll *c){
  struct page *pg = NULL;
  int rc;

  TRY( vdb_page_get(c->p, c->page, PAGE_COLLECTION, &pg) );
  TRY( vdb_page_write(c->p, pg) );
  c->s.version++;
  state_encode(pg->data, &c->s);
  if( c->live_follows ) c->live_version = c->s.version;
  c->live_follows = false;
  vdb_pager_touch(c->p);
  c->pager_version = vdb_pager_version(c->p);
done:
  vdb_page_unpin(c->p, pg);
  return rc;
}

void vdb_coll_structure_changed(struct coll *c){
  uint64_t v = c->s.seg_version++;

  if( c->roots_version==v ) c->roots_version = v+1;
  if( c->segs_version==v ) c->segs_version = v+1;
}

/* ---- Creating and destroying --------------------------------------------- */

static bool needs_heap(const struct schema *s){
  for(int i=0; i<s->n_col; i++){
    if( s->col[i].role==VECDB_ROLE_AUX || s->col[i].type==VECDB_TEXT ){
      return true;
    }
  }
  return false;
}

int vdb_coll_page_create(struct store *st, uint64_t id,
                         const struct schema *schema, page_no *page){
  struct coll_layout lay = { 0, 0, NULL };
  struct coll_state s;
  struct page *pg = NULL;
  int rc;

  *page = 0;
  memset(&s, 0, sizeof(s));
  TRY( vdb_layout_create(schema, &lay) );
  TRY( vdb_page_new(st->p, PAGE_COLLECTION, &pg) );
  TRY( vdb_btree_create(st->p, &s.pk) );
  TRY( vdb_btree_create(st->p, &s.segs) );
  if( needs_heap(schema) ) TRY( vdb_btree_create(st->p, &s.heap) );
  TRY( vdb_parray_create(st->p, lay.sz_record, &s.delta) );
  TRY( vdb_parray_create(st->p, 8, &s.live) );
  TRY( vdb_parray_create(st->p, 8, &s.dead) );
  TRY( vdb_parray_create(st->p, COLROOT_SIZE, &s.cols) );
  s.is_ordered = schema->col[0].type==VECDB_INTEGER;
  put_u64(pg->data+COLL_ID, id);
  state_encode(pg->data, &s);
  *page = pg->pgno;
done:
  vdb_page_unpin(st->p, pg);
  vdb_layout_clear(&lay);
  return rc;
}

static int destroy_segments(struct coll *c){
  int rc;

  TRY( vdb_segs_load(c) );
  for(int v=0; v<c->schema->n_vector; v++){
    for(size_t i=0; i<c->segs[v].n; i++){
      const struct seg *g = &c->segs[v].seg[i];
      TRY( vdb_extent_free(c->p, g->data) );
      if( g->map!=0 ) TRY( vdb_extent_free(c->p, g->map) );
      if( g->codes!=0 ) TRY( vdb_extent_free(c->p, g->codes) );
    }
  }
  TRY( vdb_btree_destroy(c->p, c->s.segs) );
done:
  return rc;
}

static int destroy_columns(struct coll *c){
  int rc;

  TRY( vdb_coll_roots(c) );
  for(int i=0; i<c->schema->n_col; i++){
    if( c->root[i].cells!=0 ) TRY( vdb_parray_destroy(c->p, c->root[i].cells) );
    if( c->root[i].nulls!=0 ) TRY( vdb_parray_destroy(c->p, c->root[i].nulls) );
  }
  TRY( vdb_parray_destroy(c->p, c->s.cols) );
done:
  return rc;
}

int vdb_coll_page_destroy(struct coll *c){
  struct page *pg = NULL;
  int rc;

  TRY( vdb_graphs_destroy(c) );
  TRY( destroy_segments(c) );
  TRY( destroy_columns(c) );
  TRY( vdb_btree_destroy(c->p, c->s.pk) );
  if( c->s.heap!=0 ) TRY( vdb_btree_destroy(c->p, c->s.heap) );
  TRY( vdb_parray_destroy(c->p, c->s.delta) );
  TRY( vdb_parray_destroy(c->p, c->s.live) );
  TRY( vdb_parray_destroy(c->p, c->s.dead) );
  TRY( vdb_page_get(c->p, c->page, PAGE_COLLECTION, &pg) );
  rc = vdb_page_free(c->p, pg);
  pg = NULL;
done:
  vdb_page_unpin(c->p, pg);
  return rc;
}

/* ---- Caches -------------------------------------------------------------- */

void vdb_coll_drop_caches(struct coll *c){
  vdb_graphs_clear(c);
  vdb_device_clear(c);
  vdb_segs_clear(c);
  c->has_roots = false;
  vdb_passed_clear(c);
  vdb_live_unref(c->live);
  c->live = NULL;
  c->live_follows = false;
  vdb_delta_unref(c->mirror);
  c->mirror = NULL;
  c->is_valid = false;
}

/* A handle that never changed anything still must not trust the cookie: it
** may have seen a schema that was rolled back. */
void vdb_coll_forget_dirty(struct coll *c){
  if( c->is_dirty ) vdb_coll_drop_caches(c);
  c->is_valid = false;
}

int vdb_coll_roots(struct coll *c){
  unsigned char *buf = NULL;
  int n = c->schema->n_col, rc = VECDB_OK;

  if( c->has_roots && c->roots_version==c->s.seg_version ) return VECDB_OK;
  c->has_roots = false;
  buf = vdb_malloc_array((size_t)n, COLROOT_SIZE);
  if( buf==NULL ) TRY( VECDB_NOMEM );
  TRY( vdb_parray_get(c->p, c->s.cols, 0, (size_t)n, buf) );
  for(int i=0; i<n; i++){
    uint32_t width, want = c->lay.field[i].width;
    struct col_root *r = &c->root[i];
    r->cells = get_u32(buf + (size_t)i*COLROOT_SIZE + COLROOT_CELLS);
    r->nulls = get_u32(buf + (size_t)i*COLROOT_SIZE + COLROOT_NULLS);
    if( r->cells!=0 ){
      TRY( vdb_parray_width(c->p, r->cells, &width) );
      if( width!=want || c->schema->col[i].role==VECDB_ROLE_VECTOR ){
        TRY( COLL_CORRUPT(c, "a column has a wrong width") );
      }
    }
    if( r->nulls!=0 ){
      TRY( vdb_parray_width(c->p, r->nulls, &width) );
      if( width!=8 ) TRY( COLL_CORRUPT(c, "a NULL bitmap has a wrong width") );
    }
  }
  c->has_roots = true;
  c->roots_version = c->s.seg_version;
done:
  vdb_free(buf);
  return rc;
}

/* ---- The handle ---------------------------------------------------------- */

/* Everything that follows from the schema text. */
static void shape_clear(struct coll *c){
  vdb_graphs_clear(c);
  vdb_device_clear(c);
  vdb_segs_clear(c);
  vdb_free(c->segs);
  vdb_free(c->root);
  vdb_free(c->vec_col);
  vdb_free(c->record);
  vdb_layout_clear(&c->lay);
  vdb_schema_destroy(c->schema);
  c->segs = NULL;
  c->root = NULL;
  c->vec_col = NULL;
  c->record = NULL;
  c->schema = NULL;
}

static int shape_create(struct coll *c, const char *text){
  size_t n_col;
  int v = 0, rc;

  TRY( vdb_schema_parse(text, c->st->err, &c->schema) );
  n_col = (size_t)c->schema->n_col;
  TRY( vdb_layout_create(c->schema, &c->lay) );
  c->vec_col = vdb_calloc((size_t)c->schema->n_vector, sizeof(*c->vec_col));
  c->segs = vdb_calloc((size_t)c->schema->n_vector, sizeof(*c->segs));
  c->root = vdb_calloc(n_col, sizeof(*c->root));
  c->record = vdb_calloc(1, c->lay.sz_record);
  if( !c->vec_col || !c->segs || !c->root || !c->record ){
    TRY( VECDB_NOMEM );
  }
  for(int i=0; i<c->schema->n_col; i++){
    if( c->schema->col[i].role==VECDB_ROLE_VECTOR ) c->vec_col[v++] = i;
  }
done:
  return rc;
}

/* What rows are made of; options and indexes aside. */
static bool columns_equal(const struct schema *a, const struct schema *b){
  bool same = a->n_col==b->n_col;

  for(int i=0; same && i<a->n_col; i++){
    const struct schema_column *x = &a->col[i], *y = &b->col[i];
    same = strcmp(x->name, y->name)==0 && strcmp(x->decl, y->decl)==0
        && x->role==y->role && x->not_null==y->not_null
        && x->metric==y->metric;
  }
  return same;
}

/* The columns of a collection never change: one with others has got the id of
** this one, whose creation was undone. A new text normally brings other options
** alone, and then the schema stays (*stays), with the caches. */
static int options_update(struct coll *c, const char *text, bool *stays){
  struct schema *s = NULL, before = *c->schema;
  char *printed = NULL;
  int rc;

  *stays = false;
  TRY( vdb_schema_parse(text, c->st->err, &s) );
  if( !columns_equal(s, c->schema) ){
    vdb_handle_lose(c);
    TRY( vdb_catalog_missing(c->st, c->name) );
  }
  c->schema->policy_given = s->policy_given;
  c->schema->policy = s->policy;
  c->schema->merge_rows = s->merge_rows;
  c->schema->recall = s->recall;
  c->schema->ef = s->ef;
  rc = vdb_schema_print(c->schema, true, &printed);
  *stays = rc==VECDB_OK && strcmp(printed, text)==0;
  if( !*stays ) *c->schema = before;
done:
  vdb_schema_destroy(s);
  vdb_free(printed);
  return rc;
}

/* Everything anew; without memory for it, next time. */
static int shape_update(struct coll *c, const char *text){
  int rc;

  vdb_coll_drop_caches(c);
  shape_clear(c);
  vdb_free(c->text);
  c->text = NULL;
  rc = shape_create(c, text);
  if( rc!=VECDB_OK ) shape_clear(c);
  return rc;
}

/* Take over name and text of the catalog; the shape only when it differs. */
static int handle_update(struct coll *c, struct vdb_str *name,
                         struct vdb_str *text){
  bool stays = false;
  int rc = VECDB_OK;

  if( c->text==NULL || strcmp(c->text, text->z)!=0 ){
    if( c->text!=NULL ) rc = options_update(c, text->z, &stays);
    if( rc==VECDB_OK && !stays ) rc = shape_update(c, text->z);
    if( rc!=VECDB_OK && rc!=VECDB_NOMEM && !c->is_gone ){
      rc = COLL_CORRUPT(c, "its schema does not parse");
    }
    if( rc!=VECDB_OK ) return rc;
    vdb_free(c->text);
    c->text = vdb_str_take(text);
  }
  if( strcmp(c->name, name->z)!=0 ){
    vdb_free(c->name);
    c->name = vdb_str_take(name);
  }
  return rc;                            /* taking allocates nothing */
}

static int handle_locate(struct coll *c){
  struct vdb_str name = VDB_STR_INIT, text = VDB_STR_INIT;
  page_no page;
  int rc;

  TRY( vdb_catalog_locate(c, &page, &name, &text) );
  TRY( handle_update(c, &name, &text) );
  if( page!=c->page ) vdb_coll_drop_caches(c);
  c->page = page;
done:
  vdb_str_clear(&name);
  vdb_str_clear(&text);
  return rc;
}

int vdb_coll_refresh(struct coll *c){
  uint64_t version = vdb_pager_version(c->p), cookie = 0;
  int rc = VECDB_OK;

  if( c->is_valid && version==c->pager_version ) return VECDB_OK;
  if( c->is_attached ) return VECDB_OK;
  if( c->is_gone ) return vdb_catalog_missing(c->st, c->name);
  if( c->n_forgotten!=vdb_pager_n_forgotten(c->p) ){
    vdb_coll_drop_caches(c);
    c->n_forgotten = vdb_pager_n_forgotten(c->p);
  }
  TRY( vdb_root_get(c->p, ROOT_SCHEMA_COOKIE, &cookie) );
  if( !c->is_valid || cookie!=c->cookie || c->text==NULL ){
    c->is_valid = false;
    TRY( handle_locate(c) );
    c->cookie = cookie;
  }
  TRY( vdb_coll_state_read(c) );
  c->pager_version = version;
  c->is_valid = true;
done:
  if( rc!=VECDB_OK ) c->is_valid = false;
  return rc;
}

int vdb_coll_attach(struct store *st, uint64_t id, page_no page,
                    const char *name, const char *text, struct coll **out){
  struct coll *c = vdb_calloc(1, sizeof(*c));
  int rc;

  *out = NULL;
  if( c==NULL ) return VECDB_NOMEM;
  c->st = st;
  c->p = st->p;
  c->n_ref = 1;
  c->id = id;
  c->page = page;
  c->name = vdb_strdup(name);
  c->text = vdb_strdup(text);
  if( c->name==NULL || c->text==NULL ) TRY( VECDB_NOMEM );
  TRY( shape_create(c, text) );
  TRY( vdb_coll_state_read(c) );
  c->pager_version = vdb_pager_version(c->p);
  c->is_attached = true;
  *out = c;
  c = NULL;
done:
  vdb_store_coll_close(c);
  return rc;
}

void vdb_store_coll_close(struct coll *c){
  if( c==NULL || --c->n_ref>0 ) return;
  vdb_handle_leave(c);
  vdb_coll_drop_caches(c);
  shape_clear(c);
  vdb_free(c->name);
  vdb_free(c->text);
  vdb_free(c);
}

struct store *vdb_coll_store(struct coll *c){ return c->st; }
const char *vdb_coll_name(struct coll *c){ return c->name; }
const struct schema *vdb_coll_schema(struct coll *c){ return c->schema; }
uint64_t vdb_coll_n_slot(struct coll *c){ return c->s.next_slot; }
uint64_t vdb_coll_data_version(struct coll *c){ return c->s.version; }

uint64_t vdb_coll_n_row(struct coll *c){
  return coll_n_row(c);
}

int vdb_coll_schema_text(struct coll *c, const char **out){
  int rc = vdb_coll_refresh(c);
  *out = rc==VECDB_OK ? c->text : NULL;
  return rc;
}

int vdb_coll_set(struct coll *c, const char *name, const char *value){
  struct schema *copy = NULL;
  char *text = NULL;
  int rc;

  TRY( vdb_coll_refresh(c) );
  TRY( vdb_schema_parse(c->text, c->st->err, &copy) );
  TRY( vdb_schema_set_option(copy, name, value, c->st->err) );
  TRY( vdb_schema_print(copy, true, &text) );
  TRY( vdb_catalog_set(c, 0, text) );
done:
  vdb_schema_destroy(copy);
  vdb_free(text);
  return rc;
}

uint64_t vdb_coll_delta_limit(struct coll *c){
  uint64_t n_row = DELTA_ROWS_MIN, n_fit = DELTA_BYTES_MAX/c->lay.sz_record;

  if( c->s.n_live_sealed/32>n_row ) n_row = c->s.n_live_sealed/32;
  if( c->schema->merge_rows>0 ) n_row = c->schema->merge_rows;
  if( n_row>n_fit ) n_row = n_fit;
  return n_row>0 ? n_row : 1;
}

uint64_t vdb_coll_bulk_threshold(struct coll *c){
  return vdb_coll_delta_limit(c);
}

int vdb_coll_stats(struct coll *c, vecdb_collection_stats *out){
  uint32_t size = out->size;
  int rc;

  memset(out, 0, sizeof(*out));
  out->size = size;
  TRY( vdb_coll_refresh(c) );
  TRY( vdb_segs_load(c) );
  out->n_row = vdb_coll_n_row(c);
  out->n_slot = c->s.next_slot;
  out->n_delta = coll_n_delta(c) - c->s.n_dead_delta;
  out->n_tombstone = (uint64_t)c->s.n_row_sealed - c->s.n_live_sealed +
                     c->s.n_dead_delta;
  out->data_version = c->s.version;
  for(int v=0; v<c->schema->n_vector; v++){
    for(size_t i=0; i<c->segs[v].n; i++){
      const struct seg *g = &c->segs[v].seg[i];
      out->n_segment++;
      out->n_extent += 1 + (g->map!=0) + (g->codes!=0);
      out->vector_bytes += (uint64_t)g->n_row*vdb_seg_row_bytes(c, v, g);
    }
  }
  TRY( vdb_graphs_stats(c, out) );
done:
  return rc;
}
