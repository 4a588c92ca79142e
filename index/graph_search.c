/* graph_search.c -- the walk: from the router along estimates to the nearest.
**
** A block holds its own vector and, for each neighbour, a code. Reading one
** block gives the exact distance of its owner and estimates for all its
** neighbours, so the walk touches one run of memory per step ("hop"):
**
**   pool := the best router entries, by estimate
**   x := the nearest of the pool
**   while there is an x:
**     y := the nearest of the pool that was not chosen before
**     offer x, with its distance, to the results
**     offer the neighbours of x, with estimates, to the pool
**     x := y, or, if there was none, the nearest that was not chosen
**
** INVARIANTS
**   G1  No slot is twice in the pool, none is expanded twice. An expanded
**       entry that others pushed out of the pool may come back into it; w->seen
**       then stops it.
**   G2  Every slot used as an index has been compared with n_slots: neighbours
**       in the kernel, router entries when the header was opened, chains here.
**   G3  What a walk finds does not depend on when its blocks arrive: requests
**       and interleaving of queries change no result.
**
** A neighbour met again has another estimate, as codes are relative to the
** owner of the block. It moves up if the new one is smaller and below the k-th
** result: near the end estimates decide, before it only costs time.
**
** LIMIT     Where other graphs have been asked before, k results are known, and a
**           walk is over once it makes no progress among nodes that are farther
**           than those: it stands where the query is nearest, and there is
**           nothing for it there.
**
** LAG       The memory traffic is the cost. So the node to be expanded after x is
**           chosen before x is expanded, and its whole block requested, which
**           then arrives while x is worked on. What x brings cannot be next but
**           one after: a few more nodes are expanded, of which some are found
**           useful, and none is waited for. (Measured: 14 to 18 % more queries
**           at the same effort, and a little more recall, than choosing after
**           x and requesting the first two that wait.)
*/
#include <math.h>

#include "index/graph_int.h"
#include "util/mem.h"

#define SEEDS_MAX  64           /* router entries a walk starts from */
#define TAIL_EF    30           /* below it, the best that were not expanded */
#define TAIL_MORE  8            /* are ranked by their true distance too */
#define SEEN_KEEP  65536u       /* places in the table from query to query */
#define BEYOND_HOPS   5         /* steps without progress beyond the limit */

/* ---- Buffers ------------------------------------------------------------- */

static void pool_free(struct vdb_pool *p){
  vdb_free_aligned(p->key);
  vdb_free_aligned(p->id);
  vdb_free_aligned(p->met);
  memset(p, 0, sizeof(*p));
}

static int pool_alloc(struct vdb_pool *p, uint32_t n){
  pool_free(p);
  p->key = vdb_malloc_aligned(VDB_POOL_SLOTS(n)*sizeof(float));
  p->id = vdb_malloc_aligned(VDB_POOL_SLOTS(n)*sizeof(uint32_t));
  p->met = vdb_malloc_aligned(vdb_pool_places(n)*sizeof(*p->met));
  return p->key && p->id && p->met ? VECDB_OK : VECDB_NOMEM;
}

int vdb_graph_walk_init(struct graph_walk *w, const struct vdb_graph *g){
  int rc = VECDB_OK;
  memset(w, 0, sizeof(*w));
  w->g = g;
  w->x = vdb_malloc_aligned(g->dims_nav*sizeof(float));
  w->xc = vdb_malloc_aligned(g->dims_code*sizeof(float));
  w->q.u = vdb_malloc_aligned(g->dims_nav);
  w->q.hi = vdb_malloc_aligned(g->dims_nav);
  w->q.lo8 = vdb_malloc_aligned(g->dims_nav);
  w->code.table = vdb_malloc_aligned(VDB_CODE_TABLE_BYTES(g->dims_code));
  w->code.fine = vdb_malloc_aligned(VDB_CODE_TABLE_BYTES(g->dims_code));
  w->code.dims = g->dims_code;
  w->code.bits = g->bits;
  w->code.kind = g->code_kind;
  if( !w->x || !w->xc || !w->q.u || !w->q.hi || !w->q.lo8
   || !w->code.table || !w->code.fine ) rc = VECDB_NOMEM;
  if( rc==VECDB_OK ) rc = pool_alloc(&w->seeds, SEEDS_MAX);
  return rc;
}

void vdb_graph_walk_clear(struct graph_walk *w){
  vdb_free_aligned(w->x);
  vdb_free_aligned(w->xc);
  vdb_free_aligned(w->q.u);
  vdb_free_aligned(w->q.hi);
  vdb_free_aligned(w->q.lo8);
  vdb_free_aligned(w->code.table);
  vdb_free_aligned(w->code.fine);
  pool_free(&w->pool);
  pool_free(&w->seeds);
  pool_free(&w->bridge);
  vdb_free(w->hit);
  vdb_free(w->seen);
  memset(w, 0, sizeof(*w));
}

static int walk_pool_alloc(struct graph_walk *w, uint32_t n){
  int rc;
  if( n<=w->n_pool_alloc ) return VECDB_OK;
  w->n_pool_alloc = 0;
  rc = pool_alloc(&w->pool, n);
  if( rc==VECDB_OK ) w->n_pool_alloc = n;
  return rc;
}

static int walk_hit_alloc(struct graph_walk *w, uint32_t n){
  if( n<=w->n_hit_alloc ) return VECDB_OK;
  vdb_free(w->hit);
  w->n_hit_alloc = 0;
  w->hit = vdb_malloc_array(n, sizeof(*w->hit));
  if( w->hit==NULL ) return VECDB_NOMEM;
  w->n_hit_alloc = n;
  return VECDB_OK;
}

/* ---- Slots expanded ------------------------------------------------------ */

static uint32_t seen_place(const struct graph_walk *w, uint64_t v){
  uint32_t i = (uint32_t)(((v & 0xffffffffu)*0x9e3779b97f4a7c15u) >> 40);
  for(i&=w->seen_mask; w->seen[i]!=v && w->seen[i]>>32==w->epoch;
      i=(i+1) & w->seen_mask){}
  return i;
}

/* A table of at least n places; entries of this query move over. */
static int seen_resize(struct graph_walk *w, uint32_t n){
  uint64_t *old = w->seen;
  uint32_t n_old = old ? w->seen_mask+1 : 0;
  uint64_t *t = vdb_calloc(n, sizeof(*t));
  if( t==NULL ) return VECDB_NOMEM;
  w->seen = t;
  w->seen_mask = n-1;
  for(uint32_t i=0; i<n_old; i++){
    if( old[i]>>32==w->epoch ) w->seen[seen_place(w, old[i])] = old[i];
  }
  vdb_free(old);
  return VECDB_OK;
}

static int seen_reset(struct graph_walk *w){
  w->n_seen = 0;
  if( w->seen==NULL ){
    w->epoch = 1;
    return seen_resize(w, 1024);
  }
  if( ++w->epoch==0 ){
    memset(w->seen, 0, ((size_t)w->seen_mask+1)*sizeof(*w->seen));
    w->epoch = 1;
  }
  return VECDB_OK;
}

/* Remember a slot; false if it was there. */
static bool seen_add(struct graph_walk *w, uint32_t slot){
  uint64_t v = (uint64_t)w->epoch<<32 | slot;
  uint32_t i = seen_place(w, v);
  if( w->seen[i]==v ) return false;
  w->seen[i] = v;
  if( ++w->n_seen>w->seen_mask/2 ) w->rc = seen_resize(w, 2*(w->seen_mask+1));
  return true;
}
void vdb_graph_walk_shrink(struct graph_walk *w){
  if( w->seen==NULL || w->seen_mask<SEEN_KEEP ) return;
  vdb_free(w->seen);
  w->seen = NULL;                /* seen_reset makes another */
}
void vdb_graph_walk_avoid(struct graph_walk *w, uint32_t slot){
  (void)seen_add(w, slot);
}

/* ---- Blocks -------------------------------------------------------------- */

/* The block, or NULL if it is not in memory yet. */
static inline const unsigned char *block_peek(const struct graph_walk *w,
                                              uint32_t slot){
  const struct vdb_graph *g = w->g;
  const unsigned char *p = w->b->base[slot >> g->shift];
  return p ? p + (size_t)(slot & ((1u<<g->shift)-1))*g->stride : NULL;
}

static inline void block_prefetch(const struct graph_walk *w, uint32_t slot){
  const unsigned char *p = block_peek(w, slot);
  if( p==NULL ) return;
  for(uint32_t i=0; i<w->g->stride; i+=64) __builtin_prefetch(p+i, 0, 3);
}

/* Was the block's checksum right, or is it now? */
static bool block_prove(const struct graph_walk *w, const unsigned char *p,
                        uint32_t slot){
  uint64_t *word = w->b->sound + slot/64, bit = (uint64_t)1<<(slot%64);
  if( VDB_LIKELY(__atomic_load_n(word, __ATOMIC_RELAXED) & bit) ) return true;
  if( !vdb_graph_block_is_intact(w->g, p) ) return false;
  __atomic_fetch_or(word, bit, __ATOMIC_RELAXED);
  return true;
}

/* The block, loaded and seen to be the right one, or NULL and w->rc. */
static const unsigned char *block_get(struct graph_walk *w, uint32_t slot){
  const unsigned char *p = block_peek(w, slot);
  if( VDB_UNLIKELY(p==NULL) ){
    const unsigned char *base = NULL;
    uint32_t i_group = slot >> w->g->shift;
    if( w->b->load ) w->rc = w->b->load(w->b->arg, i_group, &base);
    if( w->rc==VECDB_OK && base==NULL ) w->rc = VECDB_CORRUPT_INDEX;
    if( w->rc!=VECDB_OK ) return NULL;
    p = base + (size_t)(slot & ((1u<<w->g->shift)-1))*w->g->stride;
  }
  if( VDB_UNLIKELY(get_u32(p+GRAPHBLOCK_SLOT)!=slot)
   || (w->b->sound && !block_prove(w, p, slot)) ){
    w->rc = VECDB_CORRUPT_INDEX;
    return NULL;
  }
  return p;
}

/* ---- Results ------------------------------------------------------------- */

static void hit_insert(struct graph_walk *w, float d2,
                       const unsigned char *block, uint32_t slot){
  struct vdb_graph_hit h = { d2, slot, get_u32(block+GRAPHBLOCK_ROW),
                             get_f32(block+GRAPHBLOCK_ERR),
                             get_u64(block+GRAPHBLOCK_KEY) };
  uint32_t i;
  if( !graph_row_qualifies(w->b, h.row) ) return;
  i = w->n_hit<w->k ? w->n_hit++ : w->k;     /* there is room for k+1 */
  for(; i>0 && (w->hit[i-1].d2>d2
                || (w->hit[i-1].d2==d2 && w->hit[i-1].key>h.key)); i--){
    w->hit[i] = w->hit[i-1];
  }
  w->hit[i] = h;
  if( w->n_hit==w->k ) w->worst = w->hit[w->k-1].d2;
}

/* Offer a node and the members of its chain, which are in order of key: after
** k that qualify the others cannot get in. A chain that is longer than the
** number of blocks loops. (Blocks that are in no chain are not members.) */
static void results_add(struct graph_walk *w, float d2,
                        const unsigned char *block, uint32_t slot){
  uint32_t n_left = w->g->n_slots, n_add = 0;
  if( !(d2<=w->worst) ) return;
  hit_insert(w, d2, block, slot);
  while( (slot = get_u32(block+GRAPHBLOCK_DUP))!=SLOT_NONE ){
    if( slot>=w->g->n_slots || n_left--==0 ){
      w->rc = VECDB_CORRUPT_INDEX;           /* G2 */
      return;
    }
    block = block_get(w, slot);
    if( block==NULL ) return;
    if( get_u16(block+GRAPHBLOCK_FLAGS)!=GRAPH_DUP ){
      w->rc = VECDB_CORRUPT_INDEX;
      return;
    }
    if( !graph_row_qualifies(w->b, get_u32(block+GRAPHBLOCK_ROW)) ) continue;
    hit_insert(w, d2, block, slot);
    if( ++n_add>w->k ) return;
  }
}

/* ---- The walk ------------------------------------------------------------ */

/* The true distances of the seeds instead of estimates. */
static void seeds_rank(struct graph_walk *w){
  struct vdb_pool *p = &w->seeds;
  uint32_t id[SEEDS_MAX], n = 0;
  for(; n<w->g->router.n_seed && p->key[n]<INFINITY; n++){
    id[n] = p->id[n];
    vdb_graph_walk_request_vector(w, id[n]);
  }
  vdb_pool_reset(p, w->g->router.n_seed);
  for(uint32_t i=0; i<n; i++){
    const unsigned char *block = block_get(w, id[i]);
    if( block==NULL ) return;
    w->g->simd->offer(p, vdb_graph_d2(w->g, &w->q, block), id[i], -INFINITY);
  }
  w->n_distance += n;
}

void vdb_graph_router_scan(const struct vdb_graph *g,
                           const struct graph_seeding *q, size_t n){
  const struct graph_router *r = &g->router;
  size_t sz = VDB_CODE_GROUP_BYTES(g->dims_code, g->bits);
  struct vdb_expand e[GRAPH_TOGETHER];
  for(size_t j=0; j<n; j++){
    e[j] = (struct vdb_expand){ .bound = INFINITY, .reuse = -INFINITY,
                                .n_slots = g->n_nodes };
    e[j].g_add = graph_centre_d2(g, q[j].xc);
    vdb_pool_reset(q[j].seeds, r->n_seed);
  }
  for(uint32_t i=0; i<r->n_pad; i+=32){
    struct vdb_lanes l = { r->slot+i, r->f_add+i, r->f_resc+i,
                           r->code + i/32*sz, 32 };
    for(size_t j=0; j<n; j++){
      g->simd->expand(q[j].code, &l, &e[j], q[j].seeds);
    }
  }
}

/* The nearest of the seeds enter the pool. */
static void walk_seed(struct graph_walk *w){
  const struct vdb_graph *g = w->g;
  const struct graph_router *r = &g->router;
  if( r->n_seed>GRAPH_SEEDS_NEAR ) seeds_rank(w);
  for(uint32_t i=0; i<r->n_seed && i<GRAPH_SEEDS_NEAR
                    && w->seeds.key[i]<INFINITY; i++){
    g->simd->offer(&w->pool, w->seeds.key[i], w->seeds.id[i], -INFINITY);
  }
  /* Every estimate was infinite or NaN: any entry will do. */
  if( w->pool.key[0]==INFINITY && r->n ){
    g->simd->offer(&w->pool, 3e38f, r->slot[0], -INFINITY);
  }
}

/* Position of the first entry at or after i that waits, or ef. */
static inline uint32_t pool_waiting(const struct graph_walk *w, uint32_t i){
  return w->g->simd->waiting(&w->pool, i, w->ef);
}

/* Nothing at or beyond this is worth expanding. (0*inf would be NaN.) */
static inline float walk_bound(const struct graph_walk *w){
  return w->stop_factor<INFINITY ? w->worst*w->stop_factor : INFINITY;
}

/* Take the next node out of the pool to w->next; false at the end. */
static bool walk_pop(struct graph_walk *w){
  struct vdb_pool *p = &w->pool;
  for(;;){
    uint32_t i = pool_waiting(w, p->first);
    if( i>=w->ef || p->key[i]>walk_bound(w) ) return false;
    if( p->key[i]>w->limit && w->n_hop-w->hop_best>=BEYOND_HOPS ) return false;
    w->next = vdb_pool_take(p, i);
    if( seen_add(w, w->next) ) return w->rc==VECDB_OK;       /* G1 */
  }
}

/* Expand the node that was popped. */
static void walk_expand(struct graph_walk *w){
  const struct vdb_graph *g = w->g;
  const unsigned char *block = block_get(w, w->next);
  struct vdb_expand e = { .n_slots = g->n_nodes };
  struct vdb_lanes l;
  float d2;
  if( block==NULL ) return;
  d2 = vdb_graph_d2(g, &w->q, block);
  w->n_hop++;
  if( w->trace ){
    if( w->n_trace<w->n_trace_max ){
      w->trace[w->n_trace].d2 = d2;
      w->trace[w->n_trace++].slot = w->next;
    }
  }
  if( d2<w->best ){
    w->best = d2;
    w->hop_best = w->n_hop;
  }
  e.g_add = d2;
  e.reuse = g->reuse==1 ? w->worst : g->reuse==0 ? -INFINITY : INFINITY;
  e.bound = walk_bound(w);
  graph_walk_near(w, d2, &e);
  l.id = (const uint32_t*)(const void*)(block + graph_off_lanes(g));
  l.f_add = (const float*)(const void*)(l.id + g->n_lanes);
  l.f_resc = l.f_add + g->n_lanes;
  l.code = (const uint8_t*)(l.f_resc + g->n_lanes);
  l.n = g->n_lanes;
  g->simd->expand(&w->code, &l, &e, &w->pool);
  results_add(w, d2, block, w->next);
}

/* The best entries that were not expanded are ranked too: their blocks' first
** lines are read all at once. */
static void walk_tail(struct graph_walk *w){
  uint32_t slot[TAIL_MORE], n = 0;
  for(uint32_t i=0; i<w->pool.n_cap && n<TAIL_MORE; i++){
    if( !(w->pool.id[i] & VDB_POOL_DONE) ) slot[n++] = w->pool.id[i];
  }
  for(uint32_t i=0; i<n; i++){
    const unsigned char *p = block_peek(w, slot[i]);
    for(uint32_t j=0; p && j<GRAPHBLOCK_SIZE+w->g->sz_nav; j+=64){
      __builtin_prefetch(p+j, 0, 3);
    }
  }
  for(uint32_t i=0; i<n && w->rc==VECDB_OK; i++){
    const unsigned char *block = block_get(w, slot[i]);
    if( block==NULL || !seen_add(w, slot[i]) ) continue;
    results_add(w, vdb_graph_d2(w->g, &w->q, block), block, slot[i]);
    w->n_distance++;
  }
}

int vdb_graph_walk_begin(struct graph_walk *w, const struct vdb_graph_blocks *b,
                         uint32_t ef, uint32_t k, float stop){
  int rc = VECDB_OK;
  uint32_t n_pool = ef<TAIL_EF ? ef+TAIL_MORE : ef;
  TRY( walk_pool_alloc(w, n_pool) );
  TRY( walk_hit_alloc(w, k+1) );
  TRY( seen_reset(w) );
  w->b = b;
  w->ef = ef;
  w->k = k;
  w->stop_factor = stop<0 ? INFINITY : (1+stop)*(1+stop);
  w->has_fine = false;
  w->n_hit = w->n_trace = w->n_hop = w->n_distance = 0;
  w->worst = w->limit = w->best = INFINITY;
  w->hop_best = 0;
  w->rc = VECDB_OK;
  vdb_pool_reset(&w->pool, n_pool);
done:
  return rc;
}

void vdb_graph_walk_query(struct graph_walk *w, const float *query){
  const struct vdb_graph *g = w->g;
  struct graph_to_code v = { w->x, w->xc, w->q.u, false };
  vdb_graph_to_nav(g, query, w->x);
  vdb_graph_query_vector(g, w->x, &w->q);
  v.is_exact = w->q.metric==GQ_BYTES;
  vdb_graph_vecs_to_code(g, &v, 1);
  g->simd->prepare(&w->code, w->xc);
}

/* Take the first node; false if there is none. */
static bool walk_first(struct graph_walk *w){
  if( !walk_pop(w) ) return false;
  block_prefetch(w, w->next);
  return true;
}

/* One step: choose and request the node after the next, expand the next. False
** at the end. */
static bool walk_step(struct graph_walk *w){
  uint32_t now = w->next, after;
  bool more = walk_pop(w);
  if( w->rc!=VECDB_OK ) return false;
  after = w->next;
  if( more ) block_prefetch(w, after);
  w->next = now;
  walk_expand(w);
  if( w->rc!=VECDB_OK ) return false;
  if( !more ) return walk_first(w);
  w->next = after;
  return true;
}

bool vdb_graph_walk_start(struct graph_walk *w){
  walk_seed(w);
  return walk_first(w);
}
bool vdb_graph_walk_step(struct graph_walk *w){ return walk_step(w); }
void vdb_graph_walk_finish(struct graph_walk *w){
  if( w->ef<TAIL_EF && w->rc==VECDB_OK ) walk_tail(w);
}

static void walk_scan(struct graph_walk *w){
  struct graph_seeding q = { &w->code, w->xc, &w->seeds };
  vdb_graph_router_scan(w->g, &q, 1);
}

int vdb_graph_walk_run(struct graph_walk *w){
  walk_scan(w);
  if( vdb_graph_walk_start(w) ){ while( walk_step(w) ){} }
  vdb_graph_walk_finish(w);
  return w->rc;
}

int vdb_graph_walk_run_many(struct graph_walk *w, unsigned n){
  unsigned n_open = 0;
  bool is_open[WALKS];
  int rc = VECDB_OK;
  for(unsigned i=0; i<n; i++){
    walk_scan(&w[i]);
    is_open[i] = vdb_graph_walk_start(&w[i]);
    n_open += is_open[i];
  }
  while( n_open ){
    for(unsigned i=0; i<n; i++){
      if( !is_open[i] || walk_step(&w[i]) ) continue;
      is_open[i] = false;
      n_open--;
    }
  }
  for(unsigned i=0; i<n && rc==VECDB_OK; i++) rc = w[i].rc;
  return rc;
}

/* ---- For other files ----------------------------------------------------- */

const unsigned char *vdb_graph_walk_block(struct graph_walk *w, uint32_t slot){
  return block_get(w, slot);
}
void vdb_graph_walk_request(const struct graph_walk *w, uint32_t slot){
  block_prefetch(w, slot);
}
void vdb_graph_walk_request_vector(const struct graph_walk *w, uint32_t slot){
  const unsigned char *p = block_peek(w, slot);
  for(uint32_t i=0; p && i<GRAPHBLOCK_SIZE+w->g->sz_nav; i+=64){
    __builtin_prefetch(p+i, 0, 3);
  }
}
void vdb_graph_walk_offer(struct graph_walk *w, float d2,
                          const unsigned char *block, uint32_t slot){
  results_add(w, d2, block, slot);
}
bool vdb_graph_walk_see(struct graph_walk *w, uint32_t slot){
  return seen_add(w, slot);
}
int vdb_graph_pool_alloc(struct vdb_pool *p, uint32_t n){
  return pool_alloc(p, n);
}
