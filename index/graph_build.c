/* graph_build.c -- building a graph: two passes of batches.
**
** PASS 1   nodes enter in build order, in batches that double up to 2 % of all
**          (prefix doubling). Every new node searches the graph as it was
**          before the batch; what it expanded and the best of its pool are
**          candidates for its edges. Then the nodes that were chosen get edges
**          back, and prune their lists if these are full.
** PASS 2   the same over all nodes with longer lists; a node's edges join its
**          candidates. Nodes of one batch have not seen each other in pass 1;
**          here they do. (Measured: 32/200 builds faster than 64/200 and
**          searches as well; below 150 in pass 2 hub-like data lose.)
** INSERTION has one pass, of batches that double, with the lists of pass 2: the
**          graph is good already. (Measured on two sets: a second pass costs
**          half as much again and gains nothing; leaving an edge back out when
**          a nearer neighbour is nearer to the new node saves 2 % and costs a
**          point of recall.)
** THEN     edges back where lanes are free, the other free lanes filled,
**          unreachable nodes connected, the table of recall measured, blocks
**          written.
**
** INVARIANTS
**   B1  In the parallel steps a task reads the graph of before the step and
**       writes to what belongs to its own nodes. So nothing depends on the
**       number of threads or on timing.
**   B2  All decisions compare (d2, slot), and d2 has the same bits everywhere.
*/
#include <math.h>

#include "index/graph_build_int.h"
#include "simd/simd.h"
#include "util/mem.h"
#include "util/pool.h"

#define TASK_ROWS  16           /* nodes per task */
#define SORT_BITS  11u          /* of a target, sorted by in one round */
#define SORT_COUNTS (1u<<SORT_BITS)
#define LIST1      32           /* candidates wanted in pass 1 and 2 */
#define LIST2      200
#define LIST_MAX   4096
#define PROBE_SAMPLE  6000u     /* rows of a trial build, and its lists */
#define PROBE_LIST1   48
#define PROBE_LIST2   100

int vdb_graph_progress(struct graph_builder *b, double add){
  b->done += add;
  if( b->sink->progress==NULL ) return VECDB_OK;
  return b->sink->progress(b->sink->arg,
                           b->todo>0 && b->done<b->todo ? b->done/b->todo : 1)
       ? VECDB_INTERRUPT : VECDB_OK;
}

/* ---- Workers ------------------------------------------------------------- */

static int worker_init(const struct graph_builder *b, struct build_worker *w){
  const struct vdb_graph *g = b->g;
  uint32_t ef = b->list2>b->list1 ? b->list2 : b->list1;
  size_t n_tmp = 2*(size_t)g->dims_code;
  int rc = VECDB_OK;
  for(unsigned i=0; i<WALKS; i++){
    struct graph_walk *k = &w->walk[i];
    TRY( vdb_graph_walk_init(k, g) );
    k->n_trace_max = 8*ef;
    k->trace = vdb_malloc_array(8*(size_t)ef, sizeof(*k->trace));
    if( k->trace==NULL ) TRY( VECDB_NOMEM );
  }
  if( n_tmp<g->dims_nav ) n_tmp = g->dims_nav;
  w->n_cand_max = 8*ef + BUILD_POOL + (BUILD_IN_MAX+2)*b->n_lanes;
  w->cand = vdb_malloc_array(w->n_cand_max, sizeof(*w->cand));
  w->kept_hi = vdb_malloc_aligned((size_t)b->n_lanes*g->dims_nav);
  w->list = vdb_malloc_array(b->n_lanes+1, sizeof(*w->list));
  w->u = vdb_malloc_aligned(g->dims_code);
  w->tmp = vdb_malloc_aligned(n_tmp*sizeof(float));
  if( !w->cand || !w->kept_hi || !w->list || !w->u || !w->tmp ){
    rc = VECDB_NOMEM;
  }
done:
  return rc;
}

static void worker_clear(struct build_worker *w){
  for(unsigned i=0; i<WALKS; i++){
    vdb_free(w->walk[i].trace);
    vdb_graph_walk_clear(&w->walk[i]);
  }
  vdb_free(w->cand);
  vdb_free_aligned(w->kept_hi);
  vdb_free(w->list);
  vdb_free_aligned(w->u);
  vdb_free_aligned(w->tmp);
}

/* ---- Candidates of one node ---------------------------------------------- */

int vdb_graph_find(const struct graph_builder *b, struct build_worker *w,
                   const uint32_t *slot, unsigned n, uint32_t ef){
  int rc = VECDB_OK;
  for(unsigned i=0; i<n; i++){
    struct graph_walk *k = &w->walk[i];
    vdb_graph_query_block(b->g, build_block(b, slot[i]), &k->q);
    memcpy(k->xc, build_code(b, slot[i]), b->g->len_code*sizeof(float));
    b->g->simd->prepare(&k->code, k->xc);
    TRY( vdb_graph_walk_begin(k, &b->blocks, ef, 10, -1) );
  }
  TRY( vdb_graph_walk_run_many(w->walk, n) );
done:
  return rc;
}

/* What the search expanded, and the best of the pool that it did not. */
static void cand_from_walk(const struct graph_builder *b,
                           struct build_worker *w,
                           const struct graph_walk *k, uint32_t slot){
  uint32_t n_pool = 0;
  for(uint32_t i=0; i<k->pool.n_cap && n_pool<BUILD_POOL; i++){
    uint32_t id = k->pool.id[i];
    const unsigned char *p;
    if( id & VDB_POOL_DONE ) continue;
    p = build_block(b, id);
    for(size_t j=0; j<GRAPHBLOCK_SIZE+b->g->sz_nav; j+=64){
      __builtin_prefetch(p+j, 0, 2);
    }
    n_pool++;
  }
  n_pool = 0;
  w->n_cand = 0;
  for(uint32_t i=0; i<k->n_trace; i++){
    if( k->trace[i].slot!=slot ) w->cand[w->n_cand++] = k->trace[i];
  }
  for(uint32_t i=0; i<k->pool.n_cap && n_pool<BUILD_POOL; i++){
    uint32_t id = k->pool.id[i];
    if( (id & VDB_POOL_DONE) || id==slot ) continue;
    w->cand[w->n_cand].slot = id;
    w->cand[w->n_cand++].d2 = vdb_graph_d2(b->g, &k->q, build_block(b, id));
    n_pool++;
  }
}

void vdb_graph_cand_lanes(const struct graph_builder *b,
                          struct build_worker *w, uint32_t slot){
  uint32_t n = build_degree(b, slot);
  for(uint32_t i=0; i<n && w->n_cand<w->n_cand_max; i++){
    w->cand[w->n_cand].slot = graph_nbr(b->g, build_block(b, slot), i);
    w->cand[w->n_cand++].d2 = build_edge_d2(b, slot)[i];
  }
}

/* Sort; equal slots have equal distances and end up side by side. */
void vdb_graph_cand_sort(struct build_worker *w){
  uint32_t n = 0;
  vdb_graph_near_sort(w->cand, w->n_cand);
  for(uint32_t i=0; i<w->n_cand; i++){
    if( n==0 || w->cand[i].slot!=w->cand[n-1].slot ) w->cand[n++] = w->cand[i];
  }
  w->n_cand = n;
}

/* ---- One batch ----------------------------------------------------------- */

/* Step 1: new lists of the nodes of a batch. */
static void node_choose(struct graph_builder *b, struct build_worker *w,
                        const struct graph_walk *k, uint32_t at){
  uint32_t slot = b->order[at], i = at - b->lo, n;
  struct graph_near *out = b->batch + (size_t)i*b->n_lanes;
  cand_from_walk(b, w, k, slot);
  if( b->is_renewal ) vdb_graph_measure(b, w, slot);
  if( b->is_second ) vdb_graph_cand_lanes(b, w, slot);
  vdb_graph_cand_sort(w);
  n = vdb_graph_prune(b, w, b->n_lanes);
  memcpy(out, w->list, n*sizeof(*out));
  b->n_batch[i] = (uint16_t)n;
  if( b->is_second ){
    n = w->n_cand<BUILD_SPARE ? w->n_cand : BUILD_SPARE;
    for(uint32_t j=0; j<n; j++){
      b->spare[(size_t)at*BUILD_SPARE + j] = w->cand[j].slot;
    }
    b->n_spare[at] = (uint8_t)n;
  }
}

static int batch_search(void *arg, size_t i_task, unsigned worker){
  struct graph_builder *b = arg;
  struct build_worker *w = &b->worker[worker];
  uint32_t lo = b->lo + (uint32_t)i_task*TASK_ROWS;
  uint32_t hi = b->hi-lo<TASK_ROWS ? b->hi : lo+TASK_ROWS;
  uint32_t ef = b->is_second ? b->list2 : b->list1;
  int rc = VECDB_OK;
  for(uint32_t s=lo; s<hi; s+=WALKS){
    unsigned n = hi-s<WALKS ? hi-s : WALKS;
    TRY( vdb_graph_find(b, w, b->order+s, n, ef) );
    for(unsigned i=0; i<n; i++) node_choose(b, w, &w->walk[i], s+i);
  }
done:
  return rc;
}

/* Step 2: the lists become lanes. */
static int batch_store(void *arg, size_t i_task, unsigned worker){
  struct graph_builder *b = arg;
  uint32_t lo = b->lo + (uint32_t)i_task*TASK_ROWS;
  uint32_t hi = b->hi-lo<TASK_ROWS ? b->hi : lo+TASK_ROWS;
  for(uint32_t s=lo; s<hi; s++){
    vdb_graph_set_lanes(b, &b->worker[worker], b->order[s],
                        b->batch + (size_t)(s - b->lo)*b->n_lanes,
                        b->n_batch[s - b->lo]);
  }
  return VECDB_OK;
}

/* Step 3: edges back, grouped by target, in order of source. Counting sort in
** rounds of SORT_BITS of the target, as many as slots have; sources are in order
** to begin with. */
static void edges_sort(struct graph_builder *b){
  uint32_t count[SORT_COUNTS+1];
  for(unsigned shift=0; shift<32 && b->n>>shift!=0; shift+=SORT_BITS){
    struct build_edge *t;
    memset(count, 0, sizeof(count));
    for(uint32_t i=0; i<b->n_edge; i++){
      count[(b->edge[i].target>>shift & (SORT_COUNTS-1)) + 1]++;
    }
    for(uint32_t i=0; i<SORT_COUNTS; i++) count[i+1] += count[i];
    for(uint32_t i=0; i<b->n_edge; i++){
      uint32_t digit = b->edge[i].target>>shift & (SORT_COUNTS-1);
      b->edge_tmp[count[digit]++] = b->edge[i];
    }
    t = b->edge;
    b->edge = b->edge_tmp;
    b->edge_tmp = t;
  }
}

static void edges_collect(struct graph_builder *b){
  b->n_edge = 0;
  for(uint32_t s=b->lo; s<b->hi; s++){
    const struct graph_near *list = b->batch + (size_t)(s-b->lo)*b->n_lanes;
    for(uint32_t i=0; i<b->n_batch[s-b->lo]; i++){
      struct build_edge *e = &b->edge[b->n_edge++];
      e->target = list[i].slot;
      e->source = b->order[s];
      e->d2 = list[i].d2;
    }
  }
  edges_sort(b);
  b->n_run = 0;
  for(uint32_t i=0; i<b->n_edge; i++){
    if( i==0 || b->edge[i].target!=b->edge[i-1].target ) b->run[b->n_run++] = i;
  }
  b->run[b->n_run] = b->n_edge;
}

/* Step 4: one target takes its new in-edges as edges back. */
static void target_update(struct graph_builder *b, struct build_worker *w,
                          const struct build_edge *e, uint32_t n){
  uint32_t slot = e[0].target, degree = build_degree(b, slot), n_new;
  const unsigned char *block = build_block(b, slot);
  uint32_t most = BUILD_IN_MAX*b->n_lanes;
  bool is_old = b->insert && !vdb_bit_get(b->insert->is_new, slot);
  w->n_cand = 0;
  if( !b->is_mutual && !b->is_renewal ) build_wear(b, slot, n);
  if( is_old && !b->is_mutual ) vdb_graph_measure(b, w, slot);
  for(uint32_t i=0; i<n; i++){
    bool is_there = false;
    for(uint32_t j=0; j<degree && !is_there; j++){
      is_there = graph_nbr(b->g, block, j)==e[i].source;
    }
    if( is_there ) continue;
    if( w->n_cand==w->n_cand_max-b->n_lanes ){
      vdb_graph_near_sort(w->cand, w->n_cand);
      w->n_cand = most;
    }
    w->cand[w->n_cand].slot = e[i].source;
    w->cand[w->n_cand++].d2 = e[i].d2;
  }
  if( b->is_mutual ){
    vdb_graph_near_sort(w->cand, w->n_cand);
    if( w->n_cand>b->n_lanes-degree ) w->n_cand = b->n_lanes-degree;
  }
  n_new = w->n_cand;
  if( degree+n_new<=b->n_lanes ){
    for(uint32_t i=0; i<n_new; i++){
      vdb_graph_set_lane(b, w, slot, degree+i, w->cand[i]);
    }
    put_u16(build_block(b, slot)+GRAPHBLOCK_DEGREE, (uint16_t)(degree+n_new));
    return;
  }
  if( n_new>most ){
    vdb_graph_near_sort(w->cand, w->n_cand);
    w->n_cand = most;
  }
  vdb_graph_cand_lanes(b, w, slot);
  vdb_graph_cand_sort(w);
  /* Nodes of the old index had all their lanes filled. */
  n_new = is_old ? vdb_graph_drop(b, w) : vdb_graph_prune(b, w, b->n_lanes);
  vdb_graph_set_lanes(b, w, slot, w->list, n_new);
}

static int batch_targets(void *arg, size_t i_task, unsigned worker){
  struct graph_builder *b = arg;
  uint32_t lo = (uint32_t)i_task*TASK_ROWS;
  uint32_t hi = b->n_run-lo<TASK_ROWS ? b->n_run : lo+TASK_ROWS;
  for(uint32_t r=lo; r<hi; r++){
    target_update(b, &b->worker[worker], b->edge + b->run[r],
                  b->run[r+1] - b->run[r]);
  }
  return VECDB_OK;
}

static int targets_run(struct graph_builder *b){
  int rc = VECDB_OK;
  edges_collect(b);
  for(uint32_t i=0; b->insert && i<b->n_run; i++){
    vdb_graph_own(b, b->edge[b->run[i]].target);
  }
  TRY( vdb_pool_run(b->n_thread, (b->n_run + TASK_ROWS-1)/TASK_ROWS,
                    batch_targets, b) );
  for(uint32_t i=0; b->insert && !b->is_mutual && i<b->n_run; i++){
    vdb_bit_set(b->insert->is_measured, b->edge[b->run[i]].target);
  }
done:
  return rc;
}

static int batch_run(struct graph_builder *b){
  size_t n_task = (b->hi - b->lo + TASK_ROWS-1)/TASK_ROWS;
  int rc = VECDB_OK;
  TRY( vdb_pool_run(b->n_thread, n_task, batch_search, b) );
  TRY( vdb_pool_run(b->n_thread, n_task, batch_store, b) );
  TRY( targets_run(b) );
  TRY( vdb_graph_progress(b, (b->hi - b->lo)*(b->is_second ? 3.0 : 1.0)) );
done:
  return rc;
}

static uint32_t batch_max(const struct graph_builder *b){
  uint32_t n = b->n_nodes/BUILD_BATCHES;
  return n<64 ? 64 : n;
}

/* ---- The passes ---------------------------------------------------------- */

/* Only nodes that are in the graph are entries. */
static void router_open(struct graph_builder *b, uint32_t n){
  struct graph_router *r = &b->g->router;
  for(uint32_t i=0; i<r->n; i++) r->slot[i] = i<n ? i : SLOT_NONE;
}

static int passes_run(struct graph_builder *b){
  uint32_t most = batch_max(b);
  int rc = VECDB_OK;
  b->is_second = b->insert!=NULL;
  for(b->lo=b->insert==NULL; b->lo<b->n_order; b->lo=b->hi){
    uint32_t n = b->lo==0 ? 1 : b->lo<most ? b->lo : most;
    if( b->is_renewal ) n = most;
    b->hi = b->n_order-b->lo<n ? b->n_order : b->lo+n;
    if( b->insert==NULL ) router_open(b, b->lo);
    TRY( batch_run(b) );
  }
  if( b->insert ) return VECDB_OK;
  router_open(b, b->n_nodes);
  b->is_second = true;
  for(b->lo=0; b->lo<b->n_order; b->lo=b->hi){
    b->hi = b->n_order-b->lo<most ? b->n_order : b->lo+most;
    TRY( batch_run(b) );
  }
done:
  return rc;
}

/* Pass 2 dropped edges back to nodes that have nearer neighbours; where lanes
** are free they return, or such nodes would hardly ever be found. */
static int edges_mutual(struct graph_builder *b){
  uint32_t most = batch_max(b);
  int rc = VECDB_OK;
  b->is_mutual = true;
  for(b->lo=0; b->lo<b->n_order; b->lo=b->hi){
    b->hi = b->n_order-b->lo<most ? b->n_order : b->lo+most;
    for(uint32_t s=b->lo; s<b->hi; s++){
      struct graph_near *list = b->batch + (size_t)(s - b->lo)*b->n_lanes;
      uint32_t n = b->n_own[s], slot = b->order[s];
      b->n_batch[s - b->lo] = (uint16_t)n;
      for(uint32_t i=0; i<n; i++){
        list[i].slot = graph_nbr(b->g, build_block(b, slot), i);
        list[i].d2 = build_edge_d2(b, slot)[i];
      }
    }
    TRY( targets_run(b) );
  }
done:
  return rc;
}

static int fill_task(void *arg, size_t i_task, unsigned worker){
  struct graph_builder *b = arg;
  uint32_t lo = (uint32_t)i_task*TASK_ROWS;
  uint32_t hi = b->n_order-lo<TASK_ROWS ? b->n_order : lo+TASK_ROWS;
  for(uint32_t s=lo; s<hi; s++) vdb_graph_fill(b, &b->worker[worker], s);
  return VECDB_OK;
}

int vdb_graph_enter(struct graph_builder *b){
  int rc = VECDB_OK;
  if( b->opts->linker && !b->insert ) return vdb_graph_link(b);
  TRY( passes_run(b) );
  for(uint32_t i=0; i<b->n_order; i++){
    b->n_own[i] = (uint8_t)build_degree(b, b->order[i]);
  }
  TRY( edges_mutual(b) );
  TRY( vdb_pool_run(b->n_thread, (b->n_order + TASK_ROWS-1)/TASK_ROWS,
                    fill_task, b) );
done:
  return rc;
}

/* ---- Memory -------------------------------------------------------------- */

int vdb_graph_build_alloc(struct graph_builder *b){
  size_t n = b->n_nodes, n_new = b->n_order, m = batch_max(b);
  vdb_graph_memory_threads(b);
  b->edge_d2 = vdb_malloc_array(n*b->n_lanes+1, sizeof(float));
  b->spare = vdb_malloc_array(n_new*BUILD_SPARE+1, sizeof(*b->spare));
  b->n_spare = vdb_calloc(n_new+1, 1);
  b->n_own = vdb_calloc(n_new+1, 1);
  b->fixed = vdb_calloc(n+1, sizeof(uint64_t));
  b->batch = vdb_malloc_array(m*b->n_lanes, sizeof(*b->batch));
  b->n_batch = vdb_malloc_array(m, sizeof(*b->n_batch));
  b->edge = vdb_malloc_array(m*b->n_lanes, sizeof(*b->edge));
  b->edge_tmp = vdb_malloc_array(m*b->n_lanes, sizeof(*b->edge_tmp));
  b->run = vdb_malloc_array(m*b->n_lanes + 1, sizeof(*b->run));
  b->worker = vdb_calloc(b->n_thread, sizeof(*b->worker));
  if( !b->edge_d2 || !b->spare || !b->n_spare || !b->n_own || !b->fixed
   || !b->batch || !b->n_batch || !b->edge || !b->edge_tmp || !b->run
   || !b->worker ){
    return VECDB_NOMEM;
  }
  for(unsigned i=0; i<b->n_thread; i++){
    int rc = worker_init(b, &b->worker[i]);
    if( rc!=VECDB_OK ) return rc;
  }
  return VECDB_OK;
}

static void array_free(void *pp){
  void *p;
  memcpy(&p, pp, sizeof(p));
  vdb_free(p);
  memset(pp, 0, sizeof(p));
}

void vdb_graph_build_trim(struct graph_builder *b){
  array_free(&b->spare);
  array_free(&b->n_spare);
  array_free(&b->n_own);
  array_free(&b->batch);
  array_free(&b->n_batch);
  array_free(&b->edge);
  array_free(&b->edge_tmp);
  array_free(&b->run);
}

void vdb_graph_build_strip(struct graph_builder *b){
  vdb_graph_build_trim(b);
  array_free(&b->order);
  array_free(&b->edge_d2);
  array_free(&b->fixed);
  vdb_free_aligned(b->code);
  b->code = NULL;
  for(unsigned i=0; b->worker && i<b->n_thread; i++){
    worker_clear(&b->worker[i]);
  }
  array_free(&b->worker);
}

void vdb_graph_build_clear(struct graph_builder *b){
  vdb_graph_build_strip(b);
  vdb_graph_pieces_close(&b->piece);
  vdb_free(b->origin);
  vdb_free(b->base);
  vdb_graph_close(b->g);
}

int vdb_graph_build_options(struct graph_builder *b){
  const struct vdb_graph_opts *o = b->opts;
  b->n_thread = o->n_thread ? o->n_thread : 1;
  b->list1 = o->list1 ? o->list1 : LIST1;
  b->list2 = o->list2 ? o->list2 : LIST2;
  b->alpha2 = o->alpha>0 ? o->alpha*o->alpha : 1;
  if( !(b->alpha2>=1 && b->alpha2<=4) ) return VECDB_RANGE;
  if( b->src->n_rows>VDB_GRAPH_SLOTS_MAX ) return VECDB_TOOBIG;
  return b->list1>LIST_MAX || b->list2>LIST_MAX ? VECDB_RANGE : VECDB_OK;
}

/* Rows to a graph with router and table; nothing is written. */
static int build_run(struct graph_builder *b){
  struct calib *calib = NULL;
  int rc = VECDB_OK;

  b->n = b->src->n_rows;
  b->n_lanes = b->opts->n_lanes ? b->opts->n_lanes : 32;
  if( b->opts->like ) b->n_lanes = b->opts->like->n_lanes;
  TRY( vdb_graph_build_options(b) );
  TRY( vdb_graph_load_rows(b) );
  b->todo = 5.0*b->n_nodes;
  if( b->n_nodes==0 ) goto done;
  b->n_order = b->n_nodes;
  b->order = vdb_malloc_array(b->n_order, sizeof(*b->order));
  if( b->order==NULL ) TRY( VECDB_NOMEM );
  for(uint32_t i=0; i<b->n_order; i++) b->order[i] = i;
  TRY( vdb_graph_build_alloc(b) );
  TRY( vdb_graph_enter(b) );
  vdb_graph_build_trim(b);
  if( !b->opts->no_calibration || b->is_probe || b->opts->n_router==0 ){
    TRY( vdb_graph_calib_begin(b, &calib) );
  }
  TRY( vdb_graph_choose_router(b, calib) );
  if( b->is_probe ) goto done;
  TRY( vdb_graph_choose_bits(b, calib) );
  TRY( vdb_graph_repair(b) );
  TRY( vdb_graph_cover(b, NULL) );
  TRY( vdb_graph_calibrate(b, calib) );
  if( b->opts->like && b->g->n_cal==0 ){
    memcpy(b->g->cal, b->opts->like->cal, sizeof(b->g->cal));
    b->g->n_cal = b->opts->like->n_cal;
    b->g->stop = b->opts->like->stop;
  }
done:
  vdb_graph_calib_end(calib);
  return rc;
}

/* ---- Trials -------------------------------------------------------------- */

static int sample_fetch(void *arg, uint32_t i, float *vec){
  const struct graph_builder *b = arg;
  return b->src->fetch(b->src->arg, b->origin[i], vec);
}
static int sample_progress(void *arg, double done){
  const struct graph_builder *b = arg;
  VDB_UNUSED(done);
  return b->sink->progress(b->sink->arg, 0);
}

/* Blocks with quantised bytes and two bits, floats of the code space, the rest. */
uint64_t vdb_graph_probe_bytes(uint64_t d){
  return PROBE_SAMPLE*((d + 16*d + 1024) + 4*d + 1024);
}

int vdb_graph_probe(struct graph_builder *b, uint32_t prefix, double *cost){
  struct vdb_graph_source src = { b->n<PROBE_SAMPLE ? b->n : PROBE_SAMPLE,
                                  b->src->d, sample_fetch, NULL, NULL, b };
  struct vdb_graph_opts opts = *b->opts;
  struct vdb_graph_sink sink = { .arg = b };
  struct graph_builder t = { .src = &src, .opts = &opts, .sink = &sink,
                             .is_probe = true };
  int rc;
  if( b->sink->progress ) sink.progress = sample_progress;
  opts.prefix = prefix;
  opts.nav = b->g->nav;
  opts.list1 = PROBE_LIST1;
  opts.list2 = PROBE_LIST2;
  opts.n_router = opts.n_seed = 0;
  opts.linker = NULL;
  opts.sz_memory = 0;                   /* the caller has seen to it */
  rc = build_run(&t);
  *cost = t.cost;
  vdb_graph_build_clear(&t);
  return rc;
}

int vdb_graph_build(const struct vdb_graph_source *src,
                    const struct vdb_graph_opts *opts,
                    const struct vdb_graph_sink *sink){
  struct graph_builder b = { .src = src, .opts = opts, .sink = sink };
  struct vdb_fpmode fp = vdb_fpmode_enter();
  int rc = VECDB_OK;
  TRY( build_run(&b) );
  TRY( vdb_graph_write(&b) );
done:
  vdb_graph_build_clear(&b);
  vdb_fpmode_leave(fp);
  return rc;
}
