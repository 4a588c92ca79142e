/* graphs_build.c -- building the graph of a vector column.
**
** WHEN    Only optimize builds. Decided by counts alone, so that files are the
**   same everywhere. A column gets a graph from 20,000 live sealed rows on
**   (with VECDB_OPTIMIZE_ALL from 256). An old graph stays while at most a
**   16th of the rows, or 4096, lie outside of it, and less than 40 % of its
**   rows are dead; else one over all rows takes its place. Where more than a
**   fifth of the rows cannot be in a graph (graphs.h, SPACE) there is none.
** HOW     Row groups are pinned and rows fetched from where they are. Groups
**   of blocks become extents as they are finished. The bytes depend on rows,
**   keys and options alone (graph.h).
** MEMORY  a pointer and two slots per row, and what the build needs.
*/
#include "util/common.h"
#include "store/graphs.h"

#include "gpu/gpu.h"
#include "simd/simd.h"
#include "store/device.h"
#include "util/pool.h"

#define GRAPH_ROWS_MIN      20000u
#define GRAPH_ROWS_MIN_ALL    256u
#define GRAPH_REST_MIN       4096u
#define GRAPH_SEED  0x76656364622d3031u        /* of every build */

struct graph_build {
  struct coll *c;
  int v;
  float norm_max;
  uint32_t n, n_cap_row;                 /* rows that go into the graph */
  const unsigned char **vec;             /* their vectors, where they lie, */
  unsigned char *type;                   /* and the type of the elements */
  slot_no *slot;
  uint64_t *key;
  slot_no *side;
  uint32_t n_side;
  float *scratch;                        /* one vector in the index's space */
  struct extent *pin;                    /* of all row groups */
  size_t n_pin;
  page_no *head;                         /* extents written */
  size_t n_head, n_head_cap;
  struct vdb_str header;
  unsigned char *row_of;                 /* GRAPHREC.ROWS, by block */
  uint32_t n_block, n_node;
};

/* ---- Which rows --------------------------------------------------------- */

/* One row: into the graph, or to the side. */
static void row_take(struct graph_build *b, slot_no slot, int type,
                     const unsigned char *vec){
  const struct schema_column *col = &b->c->schema->col[b->c->vec_col[b->v]];

  if( type==0 ) type = col->element;
  if( !vdb_graph_vec_of(b->c, b->v, type, vec, 0, false, b->scratch) ){
    b->side[b->n_side++] = slot;
    return;
  }
  if( col->metric==VECDB_IP ){
    float norm2 = vdb_norm2(VECDB_F32, b->scratch, col->dims);
    if( norm2>b->norm_max ) b->norm_max = norm2;
  }
  b->vec[b->n] = vec;
  b->type[b->n] = (unsigned char)type;
  b->slot[b->n++] = slot;
}

static int rows_pin(struct graph_build *b, const struct live_map *live){
  struct seg_list *list = &b->c->segs[b->v];
  int rc = VECDB_OK;

  for(size_t i=0; i<list->n; i++){
    struct seg *g = &list->seg[i];
    uint32_t sz = vdb_seg_row_bytes(b->c, b->v, g);
    struct extent *e = &b->pin[b->n_pin];
    const slot_no *slots;
    TRY( vdb_seg_pin(b->c, b->v, g, &e[0], &e[1], &slots) );
    b->n_pin += 2;
    for(uint32_t r=0; r<g->n_row; r++){
      slot_no slot = slots ? slots[r] : g->first+r;
      if( !vdb_bit_get(live->word, slot) || b->n==b->n_cap_row ) continue;
      row_take(b, slot, vdb_seg_row_type(g), e[0].data + (size_t)r*sz);
    }
  }
  /* M is a quarter more than the greatest norm, so that later rows fit. */
  b->norm_max = 1.25f*__builtin_sqrtf(b->norm_max);
done:
  return rc;
}

/* Keys order ties in the index; the search orders them by the real key. */
static int key_chunk(void *arg, const struct coll_chunk *k){
  struct graph_build *b = arg;
  uint32_t lo = 0, hi = b->n;

  while( lo<hi ){                        /* first row at or after the chunk */
    uint32_t mid = lo+(hi-lo)/2;
    if( b->slot[mid]<k->lo ) lo = mid+1;
    else hi = mid;
  }
  for(; lo<b->n && b->slot[lo]<k->lo+k->n; lo++){
    int64_t key = vdb_cell_int(k->cell + 8*(size_t)(b->slot[lo]-k->lo));
    b->key[lo] = (uint64_t)key ^ (uint64_t)1<<63;
  }
  return VECDB_OK;
}

static int keys_read(struct graph_build *b){
  struct coll *c = b->c;

  if( c->schema->col[0].type!=VECDB_INTEGER ){
    for(uint32_t i=0; i<b->n; i++) b->key[i] = b->slot[i];
    return VECDB_OK;
  }
  return vdb_coll_scan(c, 0, 0, c->s.delta_first, key_chunk, b);
}

static int build_begin(struct graph_build *b){
  struct coll *c = b->c;
  struct live_map *live = NULL;
  size_t n = c->s.n_live_sealed;
  int rc;

  TRY( vdb_segs_load(c) );
  b->n_cap_row = c->s.n_live_sealed;
  b->vec = vdb_malloc_array(n+1, sizeof(*b->vec));
  b->type = vdb_malloc(n+1);
  b->slot = vdb_malloc_array(n+1, sizeof(*b->slot));
  b->key = vdb_calloc(n+1, sizeof(*b->key));
  b->side = vdb_malloc_array(n+1, sizeof(*b->side));
  b->scratch = vdb_malloc_array(vdb_graph_dims(c, b->v), sizeof(float));
  b->pin = vdb_calloc(2*c->segs[b->v].n+1, sizeof(*b->pin));
  b->row_of = vdb_malloc_array(n+1, 4);
  if( !b->vec || !b->type || !b->slot || !b->key || !b->side || !b->scratch ||
      !b->pin || !b->row_of ){
    return VECDB_NOMEM;
  }
  TRY( vdb_live_ref(c, &live) );
  TRY( rows_pin(b, live) );
  TRY( keys_read(b) );
done:
  vdb_live_unref(live);
  return rc;
}

static void build_end(struct graph_build *b){
  for(size_t i=0; i<b->n_pin; i++) vdb_extent_unpin(b->c->p, &b->pin[i]);
  vdb_free(b->pin);
  vdb_free(b->vec);
  vdb_free(b->type);
  vdb_free(b->slot);
  vdb_free(b->key);
  vdb_free(b->side);
  vdb_free(b->scratch);
  vdb_free(b->head);
  vdb_free(b->row_of);
  vdb_str_clear(&b->header);
}

/* ---- What the build calls ----------------------------------------------- */

static int row_fetch(void *arg, uint32_t i, float *vec){
  struct graph_build *b = arg;
  if( !vdb_graph_vec_of(b->c, b->v, b->type[i], b->vec[i], b->norm_max, false,
                        vec) ){
    return VDB_INTERNAL(vdb_coll_err(b->c), "a zero vector in a graph");
  }
  return VECDB_OK;
}

/* Rows of blocks, for filters: those of nodes, which come first. */
static void rows_note(struct graph_build *b, const unsigned char *block,
                      uint32_t n, uint32_t stride){
  for(uint32_t i=0; i<n && b->n_block<b->n; i++, block+=stride){
    bool is_chain = get_u32(block+GRAPHBLOCK_DUP)!=SLOT_NONE;
    put_u32(b->row_of + 4*(size_t)b->n_block,
            is_chain ? SLOT_NONE : get_u32(block+GRAPHBLOCK_ROW));
    b->n_block++;
    if( !(get_u16(block+GRAPHBLOCK_FLAGS) & 1) ) b->n_node = b->n_block;
  }
}

static int group_write(void *arg, uint32_t i_group, const void *blocks,
                       uint32_t n, uint32_t stride){
  struct graph_build *b = arg;
  struct extent_spec spec = { EXTENT_KIND_GRAPH, stride, n, b->c->id };
  int rc;

  VDB_UNUSED(i_group);                   /* they come in order */
  TRY( vdb_grow(&b->head, &b->n_head_cap, b->n_head+1, sizeof(*b->head)) );
  TRY( vdb_extent_create(b->c->p, &spec, blocks, &b->head[b->n_head]) );
  b->n_head++;
  rows_note(b, blocks, n, stride);
done:
  return rc;
}

static int header_keep(void *arg, const void *bytes, size_t sz){
  struct graph_build *b = arg;
  vdb_str_add(&b->header, bytes, sz);
  return vdb_str_rc(&b->header);
}

static int build_progress(void *arg, double done){
  struct graph_build *b = arg;
  return vdb_store_progress(b->c->st, "graph", "rows",
                            (uint64_t)(done*b->n), b->n);
}

/* ---- The record --------------------------------------------------------- */

static void add_u32(struct vdb_str *s, uint32_t v){
  unsigned char b[4];
  put_u32(b, v);
  vdb_str_add(s, b, 4);
}

/* GRAPHREC.ROWS: extents, and their numbers to *heads. */
static int rows_write(struct graph_build *b, struct vdb_str *heads,
                      uint32_t *n_extent){
  uint32_t n_max = vdb_extent_capacity(4);
  page_no head;
  int rc = VECDB_OK;

  *n_extent = 0;
  if( b->n_block!=b->n ) return VECDB_OK;
  for(uint32_t at=0; at<b->n_node; at+=n_max, ++*n_extent){
    uint32_t n = b->n_node-at<n_max ? b->n_node-at : n_max;
    struct extent_spec spec = { EXTENT_KIND_GRAPHROWS, 4, n, b->c->id };
    TRY( vdb_extent_create(b->c->p, &spec, b->row_of + 4*(size_t)at, &head) );
    add_u32(heads, head);
  }
done:
  return rc;
}

static int record_write(struct graph_build *b){
  struct coll *c = b->c;
  int column = c->vec_col[b->v], rc;
  unsigned char key[GRAPHKEY_SIZE] = { 0 }, rec[GRAPHREC_SIZE] = { 0 };
  struct vdb_str val = VDB_STR_INIT, rows = VDB_STR_INIT;
  uint32_t n_rows;

  TRY( rows_write(b, &rows, &n_rows) );
  key[GRAPHKEY_COLUMN] = (unsigned char)(column>>8);
  key[GRAPHKEY_COLUMN+1] = (unsigned char)column;
  put_key_u32(key+GRAPHKEY_FIRST, 0);
  put_u32(rec+GRAPHREC_END, c->s.delta_first);
  put_u32(rec+GRAPHREC_NROW, b->n);
  put_u32(rec+GRAPHREC_NGROUP, (uint32_t)b->n_head);
  put_u32(rec+GRAPHREC_NSIDE, b->n_side);
  put_u32(rec+GRAPHREC_SZHEADER, (uint32_t)b->header.n);
  put_f32(rec+GRAPHREC_NORMMAX, b->norm_max);
  put_u32(rec+GRAPHREC_NROWS, n_rows);
  vdb_str_add(&val, rec, sizeof(rec));
  for(size_t i=0; i<b->n_head; i++) add_u32(&val, b->head[i]);
  for(uint32_t i=0; i<b->n_side; i++) add_u32(&val, b->side[i]);
  vdb_str_add(&val, rows.z, rows.n);
  vdb_str_add(&val, b->header.z, b->header.n);
  TRY( vdb_str_rc(&rows) );
  TRY( vdb_str_rc(&val) );
  if( c->s.graphs==0 ) TRY( vdb_btree_create(c->p, &c->s.graphs) );
  TRY( vdb_btree_put(c->p, c->s.graphs, key, sizeof(key), val.z, val.n,
                     BTREE_INSERT) );
  c->s.graph_version++;
done:
  vdb_str_clear(&val);
  vdb_str_clear(&rows);
  return rc;
}

/* ---- One column --------------------------------------------------------- */

static void options_set(const struct coll *c, int v,
                        struct vdb_graph_opts *o){
  const struct schema_index *x = &c->schema->col[c->vec_col[v]].index;
  unsigned n = c->st->n_thread;

  memset(o, 0, sizeof(*o));
  o->n_lanes = x->r==0 ? 0 : x->r<=32 ? 32 : 64;
  o->bits = x->bits<=2 ? x->bits : 4;
  o->prefix = x->nav==NAV_NONE ? UINT32_MAX : x->n_nav;
  o->axes = x->nav==NAV_RP ? VDB_AXES_RANDOM
          : x->nav==NAV_TRUNCATE ? VDB_AXES_FIRST : VDB_AXES_PCA;
  o->list1 = x->build_l;
  o->n_thread = n ? n : vdb_cpu_count();
  o->seed = GRAPH_SEED;
}

static int column_build(struct coll *c, int v,
                        const struct vdb_graph_lister *lister){
  struct graph_build b = { .c = c, .v = v, .header = VDB_STR_INIT };
  struct vdb_graph_source src = { 0 };
  struct vdb_graph_sink sink = { group_write, header_keep, build_progress,
                                 &b, NULL };
  struct vdb_graph_opts opts;
  int rc;

  TRY( build_begin(&b) );
  if( b.n<GRAPH_ROWS_MIN_ALL || b.n_side>b.n/4 ) goto done;
  src.n_rows = b.n;
  src.d = vdb_graph_dims(c, v);
  src.fetch = row_fetch;
  src.row = b.slot;
  src.key = b.key;
  src.arg = &b;
  options_set(c, v, &opts);
  opts.lister = lister;
  TRY( vdb_graph_build(&src, &opts, &sink) );
  TRY( record_write(&b) );
done:
  build_end(&b);
  return rc;
}

static int gpu_refused(struct coll *c, int code){
  return vdb_error(vdb_coll_err(c), VECDB_GPU, "optimize: device=gpu: %s (%s)",
                   vdb_gpu_why(code), vdb_gpu_code_name(code));
}

/* With lists of neighbours from a GPU, if the flags say so. It is asked before
** anything is written, so that without one the CPU can begin anew. */
static int column_build_by(struct coll *c, int v, unsigned flags){
  struct device_lister gpu = { 0 };
  struct vdb_graph_lister lister = { vdb_device_lists, &gpu };
  int rc;

  if( !(flags & (VECDB_OPTIMIZE_GPU|VECDB_OPTIMIZE_GPU_OR_CPU)) ){
    return column_build(c, v, NULL);
  }
  rc = column_build(c, v, &lister);
  if( rc!=VECDB_GPU ) return rc;
  if( flags & VECDB_OPTIMIZE_GPU ) return gpu_refused(c, gpu.code);
  vdb_gpu_note_fallback("optimize", gpu.code);
  return column_build(c, v, NULL);
}

/* ---- Deciding ----------------------------------------------------------- */

/* Was the graph built with other options than the column has by now? */
static bool layout_differs(const struct coll *c, int v){
  const struct graph_list *list = &c->graphs->list[v];
  struct vdb_graph_info info;
  struct vdb_graph_opts o;

  if( list->n!=1 ) return false;
  options_set(c, v, &o);
  vdb_graph_info(list->seg[0].g, &info);
  return (o.bits && o.bits!=info.bits)
      || (o.prefix && o.prefix!=info.dims_code)
      || (o.n_lanes ? o.n_lanes : 32)!=info.n_lanes;
}

static bool wants_build(const struct coll *c, int v,
                        const struct live_map *live, unsigned flags){
  const struct graph_list *list = &c->graphs->list[v];
  bool all = (flags & VECDB_OPTIMIZE_ALL)!=0;
  uint32_t n = c->s.n_live_sealed, n_in = 0, n_row = 0, n_rest;

  if( n<(all ? GRAPH_ROWS_MIN_ALL : GRAPH_ROWS_MIN) ) return false;
  for(size_t i=0; i<list->n; i++){
    n_row += list->seg[i].n_row + list->seg[i].n_side;
    n_in += (uint32_t)vdb_live_count(live, list->seg[i].first,
                                     list->seg[i].end);
  }
  n_rest = n-n_in;
  if( list->n==0 ) return true;
  if( all ){
    return list->n>1 || n_rest>0 || n_in<n_row || layout_differs(c, v);
  }
  return (n_rest>GRAPH_REST_MIN && n_rest>n/16) ||
         (uint64_t)(n_row-n_in)*10>(uint64_t)n_row*4;
}

int vdb_graphs_optimize(struct coll *c, unsigned flags){
  struct vdb_fpmode fp = vdb_fpmode_enter();
  struct live_map *live = NULL;
  int rc = VECDB_OK;

  if( (flags & VECDB_OPTIMIZE_GPU) && vdb_gpu_start()!=VDB_GPU_OK ){
    TRY( gpu_refused(c, vdb_gpu_start()) );
  }
  for(int v=0; v<c->schema->n_vector; v++){
    bool build;
    if( !vdb_graphs_possible(c, v) ) continue;
    TRY( vdb_graphs_load(c) );
    TRY( vdb_live_ref(c, &live) );
    build = wants_build(c, v, live, flags);
    vdb_live_unref(live);
    live = NULL;
    if( !build ) continue;
    vdb_coll_change_begin(c);
    TRY( vdb_graphs_drop(c, v) );
    TRY( column_build_by(c, v, flags) );
    TRY( vdb_coll_state_write(c) );
  }
done:
  vdb_live_unref(live);
  vdb_fpmode_leave(fp);
  return rc;
}
