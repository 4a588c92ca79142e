/* graphs_build.c -- making a graph of a range of slots: anew, or from one that
** is there and the rows that came after it.
**
** HOW     Row groups are pinned and rows fetched from where they are; those of
**   the delta from its mirror. What the build hands out goes to the file at
**   once, or is a draft for later (graphs_write.c). The bytes depend on rows,
**   keys and options alone (graph.h).
** SPACE   A graph beside others takes the space of the first one (`like`), so
**   that it needs neither trials nor a table of its own. A small one is made
**   with half the effort: in few rows as much is found, and they move on. Where
**   its rows have no place in it, and where an insertion is refused, it is built anew.
**   Under ip, rows with a norm above M are in the side list.
** MEMORY  a pointer and two slots per row, and what the build needs. If that is
**   more than builds may have (vdb_store_build_bytes) the range is cut where
**   equal parts that fit would end, and the first of them is made. Parts depend
**   on rows and limit alone. Fewer than PART_ROWS_MIN rows are no graph.
*/
#include "util/common.h"
#include "store/graphs_write.h"

#include "gpu/gpu.h"
#include "simd/simd.h"
#include "store/device.h"
#include "util/pool.h"

#define TIER_ROUTER  256u                /* entries of graphs beside others */
#define SMALL_ROWS  16384u               /* of these, such with fewer rows .. */
#define SMALL_LIST    100u               /* .. are made with less effort */
#define PART_ROWS_MIN  1024u             /* fewer are not worth a graph */
#define ROW_LEAST  1000u                 /* bytes of a row in a build, at least,
                                         ** besides one for each element */
#define GRAPH_SEED  0x76656364622d3031u        /* of every build */

struct graph_build {
  struct coll *c;
  int v;
  const struct graph_make *what;
  struct graph_seg *old;                 /* rows are added to; or NULL */
  slot_no lo;                            /* rows from this slot on */
  bool is_fixed;                         /* M is given */
  uint32_t n, n_cap_row;                 /* rows that go into the graph */
  const unsigned char **vec;             /* their vectors, where they lie, */
  unsigned char *type;                   /* and the type of the elements */
  slot_no *slot;
  uint64_t *key;
  float *scratch;                        /* one vector in the index's space */
  struct extent *pin;                    /* of all row groups */
  size_t n_pin;
  struct delta_mirror *mirror;           /* rows that are not sealed yet */
  struct graph_out *out;                 /* what comes of it */
};

/* ---- Which rows --------------------------------------------------------- */

/* One row: into the graph, or to the side. */
static void row_take(struct graph_build *b, slot_no slot, int type,
                     const unsigned char *vec){
  const struct schema_column *col = &b->c->schema->col[b->c->vec_col[b->v]];
  bool fits;

  if( type==0 ) type = col->element;
  fits = vdb_graph_vec_of(b->c, b->v, type, vec, 0, false, b->scratch);
  if( fits && col->metric==VECDB_IP ){
    float norm2 = vdb_norm2(VECDB_F32, b->scratch, col->dims);
    if( b->is_fixed ) fits = norm2<=b->out->norm_max*b->out->norm_max;
    else if( norm2>b->out->norm_max ) b->out->norm_max = norm2;
  }
  if( !fits ){
    b->out->side[b->out->n_side++] = slot;
    return;
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
    if( g->last<b->lo || g->first>=b->what->end ) continue;
    TRY( vdb_seg_pin(b->c, b->v, g, &e[0], &e[1], &slots) );
    b->n_pin += 2;
    for(uint32_t r=0; r<g->n_row; r++){
      slot_no slot = slots ? slots[r] : g->first+r;
      if( slot<b->lo || slot>=b->what->end || b->n==b->n_cap_row
       || !vdb_bit_get(live->word, slot) ) continue;
      row_take(b, slot, vdb_seg_row_type(g), e[0].data + (size_t)r*sz);
    }
  }
done:
  return rc;
}

/* Those that are not sealed yet: only a draft comes before that. */
static int rows_of_delta(struct graph_build *b, const struct live_map *live){
  struct coll *c = b->c;
  uint32_t sz = c->schema->col[c->vec_col[b->v]].sz_vec;
  int rc;

  if( b->what->end<=c->s.delta_first ) return VECDB_OK;
  TRY( vdb_delta_sync(c) );
  b->mirror = c->mirror;
  b->mirror->n_ref++;
  for(uint32_t i=0; i<b->mirror->n; i++){
    slot_no slot = b->mirror->first+i;
    if( slot<b->lo || slot>=b->what->end || b->n==b->n_cap_row
     || !vdb_bit_get(live->word, slot) ) continue;
    row_take(b, slot, 0, b->mirror->vec[b->v] + (size_t)i*sz);
  }
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
  return vdb_coll_scan(c, 0, b->lo, b->what->end, key_chunk, b);
}

/* Rows of the old side list that live stay there. */
static void side_keep(struct graph_build *b, const struct live_map *live){
  for(uint32_t i=0; b->old!=NULL && i<b->old->n_side; i++){
    if( vdb_bit_get(live->word, b->old->side[i]) ){
      b->out->side[b->out->n_side++] = b->old->side[i];
    }
  }
}

static int build_begin(struct graph_build *b){
  struct coll *c = b->c;
  struct live_map *live = NULL;
  size_t n;
  int rc;

  TRY( vdb_segs_load(c) );
  TRY( vdb_live_ref(c, &live) );
  b->n_cap_row = (uint32_t)vdb_live_count(live, b->lo, b->what->end);
  n = (size_t)b->n_cap_row + (b->old ? b->old->n_side : 0);
  b->vec = vdb_malloc_array(n+1, sizeof(*b->vec));
  b->type = vdb_malloc(n+1);
  b->slot = vdb_malloc_array(n+1, sizeof(*b->slot));
  b->key = vdb_calloc(n+1, sizeof(*b->key));
  b->out->side = vdb_malloc_array(n+1, sizeof(*b->out->side));
  b->scratch = vdb_malloc_array(vdb_graph_dims(c, b->v), sizeof(float));
  b->pin = vdb_calloc(2*c->segs[b->v].n+1, sizeof(*b->pin));
  if( !b->vec || !b->type || !b->slot || !b->key || !b->out->side
   || !b->scratch || !b->pin ){
    TRY( VECDB_NOMEM );
  }
  side_keep(b, live);
  TRY( rows_pin(b, live) );
  TRY( rows_of_delta(b, live) );
  /* M is a quarter more than the greatest norm, so that later rows fit. */
  if( !b->is_fixed ){
    b->out->norm_max = 1.25f*__builtin_sqrtf(b->out->norm_max);
  }
  TRY( keys_read(b) );
done:
  vdb_live_unref(live);
  return rc;
}

static void build_end(struct graph_build *b){
  for(size_t i=0; i<b->n_pin; i++) vdb_extent_unpin(b->c->p, &b->pin[i]);
  vdb_delta_unref(b->mirror);
  vdb_free(b->pin);
  vdb_free(b->vec);
  vdb_free(b->type);
  vdb_free(b->slot);
  vdb_free(b->key);
  vdb_free(b->scratch);
}

/* ---- What the build calls ----------------------------------------------- */

static int row_fetch(void *arg, uint32_t i, float *vec){
  struct graph_build *b = arg;
  if( !vdb_graph_vec_of(b->c, b->v, b->type[i], b->vec[i], b->out->norm_max,
                        false, vec) ){
    return VDB_INTERNAL(vdb_coll_err(b->c), "a zero vector in a graph");
  }
  return VECDB_OK;
}

static int group_write(void *arg, uint32_t i_group, const void *blocks,
                       uint32_t n, uint32_t stride){
  struct graph_build *b = arg;

  VDB_UNUSED(i_group);                   /* they come in order */
  return vdb_graph_out_blocks(b->c, b->out, blocks, n, stride);
}

/* The group of the old graph serves the new one. */
static int group_keep(void *arg, uint32_t i_group){
  struct graph_build *b = arg;
  return vdb_graph_out_keep(b->out, b->old, i_group);
}

static int header_keep(void *arg, const void *bytes, size_t sz){
  struct graph_build *b = arg;
  vdb_str_add(&b->out->header, bytes, sz);
  return vdb_str_rc(&b->out->header);
}

static int build_progress(void *arg, double done){
  struct graph_build *b = arg;
  return vdb_store_progress(b->c->st, "graph", "rows",
                            (uint64_t)(done*b->n), b->n);
}

/* Rows in the graph: all of the range that live but those of the side list,
** and those that were left in it as waypoints. */
static void rows_count(struct graph_build *b, const struct live_map *live){
  uint32_t *n = &b->out->n_row;

  *n = b->n;
  if( b->old!=NULL && !b->what->purge ) *n += b->old->n_row;
  if( b->old==NULL || !b->what->purge ) return;
  *n = (uint32_t)vdb_live_count(live, b->what->first, b->what->end);
  *n -= b->out->n_side;
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
  o->list1 = x->build_l<32 ? x->build_l : 0;
  o->list2 = x->build_l;
  o->alpha = (float)x->alpha;
  o->n_thread = n ? n : vdb_cpu_count();
  o->seed = GRAPH_SEED;
  if( c->schema->col[c->vec_col[v]].element==VECDB_BIT ){
    o->nav = VDB_NAV_BITS;
    o->is_jaccard = c->schema->col[c->vec_col[v]].metric==VECDB_JACCARD;
    o->bits = 1;
    o->prefix = 0;
  }
}

/* The index of the rows, to blocks and header. */
static int build_index(struct graph_build *b, const struct vdb_graph_opts *opts,
                       const struct live_map *live){
  struct vdb_graph_source src = { b->n, vdb_graph_dims(b->c, b->v), row_fetch,
                                  b->slot, b->key, b };
  struct vdb_graph_sink sink = { group_write, header_keep, build_progress,
                                 b, group_keep };
  struct vdb_graph_prior prior = { 0 };
  int rc;

  if( b->old==NULL ) return vdb_graph_build(&src, opts, &sink);
  TRY( vdb_graph_hold_sound(b->c, b->old) );
  TRY( vdb_graph_out_old(b->out, b->old) );
  prior.g = b->old->g;
  prior.base = b->old->base;
  prior.live = live->word;
  prior.n_row = (uint32_t)live->n_bit;
  prior.purge = b->what->purge;
  prior.renew = b->what->renew;
  prior.is_beside = b->what->first>0;
  TRY( vdb_graph_insert(&prior, &src, opts, &sink) );
done:
  return rc;
}

/* A first graph, or one in the space that is given. */
static void range_options(const struct graph_build *b,
                          const struct graph_seg *like,
                          struct vdb_graph_opts *opts){
  uint64_t sz = vdb_store_build_bytes(b->c->st);
  options_set(b->c, b->v, opts);
  opts->linker = b->what->linker;
  if( sz>0 ) opts->sz_memory = sz>b->what->sz_held ? sz-b->what->sz_held : 1;
  if( b->what->first>0 ){
    opts->like = like ? like->g : NULL;
    if( b->n + (b->old ? b->old->n_row : 0)<SMALL_ROWS ){
      opts->list2 = opts->list2 ? opts->list2/2 + 1 : SMALL_LIST;
    }
    opts->n_router = TIER_ROUTER;
    opts->no_calibration = true;
  }
}

/* ---- What memory allows ------------------------------------------------- */

/* Rows that do not fit into one graph: the end of the first of equal parts of
** all n_all; 0: there is none. */
static slot_no part_end(const struct graph_build *b, uint32_t n_fit,
                        uint64_t n_all){
  uint64_t n_part;

  if( b->old!=NULL || n_fit<PART_ROWS_MIN || b->n<=n_fit ) return 0;
  n_part = (n_all + n_fit-1)/n_fit;
  return b->slot[(n_all + n_part-1)/n_part];
}

/* Cut off what cannot fit by what a row takes at the least, so that no table is
** made for more rows than that. *n_all: live rows there were. */
static int range_clip(struct coll *c, int v, struct graph_make *m,
                      uint64_t *n_all){
  const struct schema_column *col = &c->schema->col[c->vec_col[v]];
  uint64_t sz = vdb_store_build_bytes(c->st), n_most;
  struct live_map *live = NULL;
  int rc;

  n_most = sz/(ROW_LEAST + (col->element==VECDB_BIT ? col->dims/8 : col->dims));
  TRY( vdb_live_ref(c, &live) );
  *n_all = vdb_live_count(live, m->first, m->end);
  if( sz>0 && n_most>=PART_ROWS_MIN && *n_all>n_most ){
    m->end = (slot_no)vdb_live_nth(live, m->first, n_most);
  }
done:
  vdb_live_unref(live);
  return rc;
}

uint64_t vdb_graphs_rows_max(const struct coll *c, int v){
  const struct graph_list *list = &c->graphs->list[v];
  uint64_t sz = vdb_store_build_bytes(c->st), n = UINT64_MAX;

  for(size_t i=0; i<list->n && sz>0; i++){
    uint32_t k = vdb_graph_rows_within(list->seg[i].g, sz, false);
    if( k<n ) n = k;
  }
  return n;
}

static int toobig_say(struct coll *c, int v, uint32_t n_fit){
  return vdb_error(vdb_coll_err(c), VECDB_TOOBIG, "collection \"%.100s\": no "
                   "graph of \"%.100s\": build_bytes %llu has room for %u rows, "
                   "expected %u at least; raise it", c->name,
                   c->schema->col[c->vec_col[v]].name,
                   (unsigned long long)vdb_store_build_bytes(c->st), n_fit,
                   PART_ROWS_MIN);
}

/* ---- Attempts ----------------------------------------------------------- */

struct made {
  uint64_t n_all;                        /* rows to be in graphs */
  bool is_made;                          /* there is one */
  slot_no cut;                           /* too big: where it would not be; 0:
                                         ** nowhere */
};

/* One attempt: added to the old graph, or anew. MISMATCH: nothing was written
** that a savepoint would have to undo. TOOBIG: see made->cut. */
static int range_try(struct coll *c, int v, const struct graph_make *what,
                     bool is_insert, const struct graph_seg *like,
                     struct graph_out *o, struct made *made){
  struct graph_build b = { .c = c, .v = v, .what = what, .out = o };
  struct graph_list *list = &c->graphs->list[v];
  struct live_map *live = NULL;
  struct vdb_graph_opts opts;
  uint32_t n_fit = 0;
  int rc;

  made->cut = 0;
  vdb_graph_out_clear(o);
  vdb_graph_out_init(o, v, what->first, what->end, what->drafts!=NULL);
  made->is_made = false;
  b.lo = what->first;
  if( is_insert ){
    b.old = &list->seg[what->i_seg];
    b.lo = b.old->end;
    like = b.old;
  }
  if( like!=NULL && like->norm_max>0 ){
    o->norm_max = like->norm_max;
    b.is_fixed = true;
  }
  TRY( build_begin(&b) );
  if( what->n_min>0 && (b.n<what->n_min || o->n_side>b.n/4) ) goto done;
  range_options(&b, like, &opts);
  opts.n_fit = &n_fit;
  TRY( vdb_live_ref(c, &live) );
  rc = build_index(&b, &opts, live);
  if( rc==VECDB_TOOBIG ){
    made->cut = part_end(&b, n_fit, made->n_all);
    if( made->cut==0 && b.old==NULL && what->sz_held==0 ) rc = toobig_say(c, v, n_fit);
  }
  TRY( rc );
  rows_count(&b, live);
  TRY( vdb_graph_out_codes(c, o, b.old) );
  made->is_made = true;
done:
  vdb_live_unref(live);
  build_end(&b);
  return rc;
}

/* The attempts for a range. */
static int range_attempt(struct coll *c, int v, const struct graph_make *what,
                         struct graph_out *o, struct made *made){
  const struct graph_list *list = &c->graphs->list[v];
  int rc = VECDB_MISMATCH;

  if( what->is_insert ){
    rc = range_try(c, v, what, true, NULL, o, made);
    if( graph_is_damage(rc) ) rc = VECDB_MISMATCH;
  }
  if( rc==VECDB_MISMATCH && what->like!=NULL ){
    rc = range_try(c, v, what, false, what->like, o, made);
  }else if( rc==VECDB_MISMATCH && what->first>0 && list->n>0 ){
    rc = range_try(c, v, what, false, &list->seg[0], o, made);
  }
  if( rc==VECDB_MISMATCH ){
    rc = range_try(c, v, what, false, NULL, o, made);
  }
  return rc;
}

/* The range, or as much of it as memory allows. *end as for vdb_graphs_make. */
static int range_make(struct coll *c, int v, const struct graph_make *what,
                      struct graph_out *o, slot_no *end){
  struct graph_make m = *what;
  struct made made = { .is_made = false };
  int rc;

  *end = 0;
  if( !m.is_insert ) TRY( range_clip(c, v, &m, &made.n_all) );
  for(;;){
    rc = range_attempt(c, v, &m, o, &made);
    if( rc!=VECDB_TOOBIG || m.sz_held>0 ) break;
    if( m.is_insert ){
      m.is_insert = false;
      TRY( range_clip(c, v, &m, &made.n_all) );
    }else if( made.cut>0 ){
      m.end = made.cut;
    }else{
      break;
    }
  }
  if( rc!=VECDB_OK || !made.is_made ) goto done;
  *end = m.end;
  if( m.end==what->end ) goto done;
  o->is_part = true;
  vdb_log(VECDB_TOOBIG, "collection \"%.100s\": build_bytes %llu: a graph of "
          "%u rows, of the others another", c->name,
          (unsigned long long)vdb_store_build_bytes(c->st), o->n_row);
done:
  return vdb_graph_rc(c, rc);
}

int vdb_graphs_make(struct coll *c, int v, const struct graph_make *what,
                    slot_no *end){
  struct graph_out o = { .v = v };
  int rc;

  *end = 0;
  TRY( vdb_graphs_load(c) );
  if( c->graphs->is_damaged && what->drafts==NULL ){
    TRY( vdb_graphs_drop(c, v) );
    TRY( vdb_coll_state_write(c) );      /* reading rows reads the state */
    TRY( vdb_graphs_load(c) );
  }
  TRY( range_make(c, v, what, &o, end) );
  if( *end>0 && what->drafts!=NULL ){
    TRY( vdb_drafts_add(what->drafts, &o) );
  }else if( *end>0 ){
    TRY( vdb_graph_out_enter(c, &o, o.is_part ? SLOT_NONE : what->end) );
  }
done:
  vdb_graph_out_clear(&o);
  return rc;
}

bool vdb_graphs_layout_differs(const struct coll *c, int v){
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

int vdb_graphs_gpu_refused(struct coll *c, int code){
  return vdb_error(vdb_coll_err(c), VECDB_GPU, "optimize: device=gpu: %s (%s)",
                   vdb_gpu_why(code), vdb_gpu_code_name(code));
}

int vdb_graphs_make_by(struct coll *c, int v, const struct graph_make *what,
                       unsigned flags, slot_no *end){
  struct device_linker gpu = { 0 };
  struct vdb_graph_linker linker = { vdb_device_edges, &gpu };
  /* Vectors of bits are compared faster here than lists of them are sent. */
  bool is_bits = c->schema->col[c->vec_col[v]].element==VECDB_BIT;
  struct graph_make m = *what;
  int rc;

  if( !(flags & (VECDB_OPTIMIZE_GPU|VECDB_OPTIMIZE_GPU_OR_CPU))
   || what->is_insert || is_bits ){
    return vdb_graphs_make(c, v, what, end);
  }
  m.linker = &linker;
  rc = vdb_graphs_make(c, v, &m, end);
  if( rc!=VECDB_GPU ) return rc;
  if( flags & VECDB_OPTIMIZE_GPU ) return vdb_graphs_gpu_refused(c, gpu.code);
  vdb_gpu_note_fallback("optimize", gpu.code, true);
  return vdb_graphs_make(c, v, what, end);
}
