/* graph_calib.c -- what an index measures on its own rows: which router suits,
** and how much recall an effort buys.
**
** HELD OUT  Up to CAL_ROWS nodes, chosen by the seed, are searched for as if
**           they were not in the graph: a walk never expands them, and their
**           true neighbours exclude them. Their distances to all nodes are
**           computed exactly (in the navigation space). The way to a node that
**           is left out is a little worse than that to a vector that never was
**           there, so recall of real queries is rather higher.
** ROUTER    candidates of size and seeds; the one that makes recall 0.95 and
**           0.99 cheapest, by a model of cost with fixed constants: measured
**           times must not decide bytes.
** TABLE     recall for a grid of ef and early stop; kept are the settings that
**           no cheaper one beats, and some for 25, 50 and 100 neighbours, which
**           may lie in other places than the first 10 (of rows in clusters of
**           20, say): ef for other numbers is between those. The lower
**           bound is the mean less half a standard error. ef is sought as long
**           as it gains recall, so that hard data get large ones; without early
**           stop first, then each stop where it may matter until it caps.
*/
#include <math.h>
#include <stdlib.h>

#include "index/graph_build_int.h"
#include "simd/simd.h"
#include "util/bitset.h"
#include "util/mem.h"
#include "util/pool.h"
#include "util/rng.h"

#define CAL_ROWS     400u
#define CAL_ROWS_FAR 200u       /* for large efforts */
#define PROBE_ROWS   200u
#define TRIAL_ROWS   100u
#define DEEP_ROWS    100u
#define CAL_DEPTH    100u
#define N_DEPTH      4
#define CAL_MIN      20u        /* fewer held-out rows say nothing */
#define TRUTH_TILE   8          /* queries that share a pass over the rows */
#define RECALL_FULL  0.9985     /* more is not sought */
#define RECALL_FROM  0.85       /* early stop is tried from there on .. */
#define HOPS_GAIN    1.01       /* .. until a larger ef walks no farther */
#define LOW_ERRORS   0.5
#define N_WIDE       22         /* rows of the table for ten neighbours */
#define DEEP_EF_MAX  2048u

/* Nanoseconds, roughly; only ratios matter. */
#define COST_HOP     110.0
#define COST_LINE    5.5        /* per 64 bytes of a block */
#define COST_GROUP   15.0       /* per 32 entries of the router, and per */
#define COST_CODE    0.06       /* dimension and bit of them */

struct calib {
  struct vdb_graph *g;
  const struct vdb_graph_blocks *blocks;
  const struct calib *rows;     /* whose blocks hold the rows; NULL: these */
  unsigned n_thread;
  struct graph_walk *walk;      /* n_thread */
  uint32_t n;                   /* held-out rows */
  uint32_t *slot;
  float *code;                  /* their vectors in the code space */
  float *kth[N_DEPTH];          /* distance of the depth_of[]-th neighbour */
  /* The setting being measured. */
  uint32_t ef, k;
  float stop;
  uint16_t *n_right;            /* by held-out row */
  uint32_t *n_hop;
};

/* Numbers of neighbours that recall is measured of. */
static const uint32_t depth_of[N_DEPTH] = { 10, 25, 50, CAL_DEPTH };

/* All blocks are in memory. */
static const unsigned char *calib_block(const struct calib *c, uint32_t slot){
  const struct vdb_graph *g;
  if( c->rows ) c = c->rows;
  g = c->g;
  return c->blocks->base[slot >> g->shift]
       + (size_t)(slot & ((1u<<g->shift)-1))*g->stride;
}

/* ---- Truth --------------------------------------------------------------- */

static void nearest_add(float *list, uint32_t *n, float d2){
  uint32_t i = *n<CAL_DEPTH ? (*n)++ : CAL_DEPTH-1;
  for(; i>0 && list[i-1]>d2; i--) list[i] = list[i-1];
  list[i] = d2;
}

/* A node and its chain: rows that may be returned. */
static void nearest_add_node(const struct calib *c, const unsigned char *block,
                             float *list, uint32_t *n, float d2){
  for(uint32_t i=0; i<CAL_DEPTH; i++){
    uint32_t dup = get_u32(block+GRAPHBLOCK_DUP);
    if( graph_row_qualifies(c->blocks, get_u32(block+GRAPHBLOCK_ROW)) ){
      nearest_add(list, n, d2);
    }
    if( dup>=c->g->n_slots ) break;
    block = calib_block(c, dup);
  }
}

static int truth_task(void *arg, size_t i_task, unsigned worker){
  struct calib *c = arg;
  const struct vdb_graph *g = c->g;
  struct graph_query q[TRUTH_TILE];
  uint32_t lo = (uint32_t)i_task*TRUTH_TILE, n[TRUTH_TILE] = { 0 };
  uint32_t n_q = c->n-lo<TRUTH_TILE ? c->n-lo : TRUTH_TILE;
  int8_t *hi = vdb_malloc_aligned((size_t)TRUTH_TILE*g->dims_nav);
  float *list = vdb_malloc_array((size_t)TRUTH_TILE*CAL_DEPTH, sizeof(*list));
  int rc = VECDB_OK;
  VDB_UNUSED(worker);
  if( hi==NULL || list==NULL ) TRY( VECDB_NOMEM );
  for(uint32_t j=0; j<TRUTH_TILE*CAL_DEPTH; j++) list[j] = INFINITY;
  for(uint32_t j=0; j<n_q; j++){
    q[j].hi = hi + (size_t)j*g->dims_nav;
    vdb_graph_query_block(g, calib_block(c, c->slot[lo+j]), &q[j]);
  }
  for(uint32_t s=0; s<g->n_nodes; s++){
    const unsigned char *block = calib_block(c, s);
    __builtin_prefetch(calib_block(c, s+2<g->n_nodes ? s+2 : s), 0, 3);
    if( get_u16(block+GRAPHBLOCK_FLAGS)!=0 ) continue;
    for(uint32_t j=0; j<n_q; j++){
      float d2 = vdb_graph_d2(g, &q[j], block);
      float *near = list + j*CAL_DEPTH;
      if( d2<near[CAL_DEPTH-1] && s!=c->slot[lo+j] ){
        nearest_add_node(c, block, near, &n[j], d2);
      }
    }
  }
  for(uint32_t j=0; j<n_q; j++){
    for(int i=0; i<N_DEPTH; i++){
      c->kth[i][lo+j] = list[j*CAL_DEPTH + depth_of[i]-1];
    }
  }
done:
  vdb_free_aligned(hi);
  vdb_free(list);
  return rc;
}

/* ---- One setting --------------------------------------------------------- */

static int setting_task(void *arg, size_t i_task, unsigned worker){
  struct calib *c = arg;
  struct graph_walk *w = &c->walk[worker];
  uint32_t slot = c->slot[i_task], n = 0;
  int i_depth = 0, rc = VECDB_OK;
  float kth;
  while( depth_of[i_depth]<c->k ) i_depth++;
  kth = c->kth[i_depth][i_task];
  vdb_graph_query_block(c->g, calib_block(c, slot), &w->q);
  memcpy(w->xc, c->code + i_task*c->g->len_code,
         c->g->len_code*sizeof(float));
  c->g->simd->prepare(&w->code, w->xc);
  TRY( vdb_graph_walk_begin(w, c->blocks, c->ef, c->k, c->stop) );
  vdb_graph_walk_avoid(w, slot);
  TRY( vdb_graph_walk_run(w) );
  for(uint32_t i=0; i<w->n_hit; i++) n += w->hit[i].d2<=kth;
  c->n_right[i_task] = (uint16_t)n;
  c->n_hop[i_task] = w->n_hop;
done:
  return rc;
}

struct measured { double recall, low, hops; };

static int setting_measure(struct calib *c, uint32_t n, uint32_t ef,
                           uint32_t k, float stop, struct measured *out){
  double sum = 0, sum2 = 0, hops = 0;
  int rc = VECDB_OK;
  c->ef = ef;
  c->k = k;
  c->stop = stop;
  TRY( vdb_pool_run(c->n_thread, n, setting_task, c) );
  for(uint32_t i=0; i<n; i++){
    double r = (double)c->n_right[i]/k;
    sum += r;
    sum2 += r*r;
    hops += c->n_hop[i];
  }
  out->recall = sum/n;
  out->low = out->recall
           - LOW_ERRORS*sqrt(fmax(sum2/n - out->recall*out->recall, 0)/n);
  out->hops = hops/n;
done:
  return rc;
}

/* ---- The router ---------------------------------------------------------- */

/* Hops at which `recall` is reached, between measured settings; far beyond the
** last one if it is not. */
static double hops_at(const struct measured *m, int n, double recall){
  for(int i=0; i<n; i++){
    double t;
    if( m[i].recall<recall ) continue;
    if( i==0 || !(m[i].recall>m[i-1].recall) ) return m[i].hops;
    t = (recall - m[i-1].recall)/(m[i].recall - m[i-1].recall);
    return m[i-1].hops + t*(m[i].hops - m[i-1].hops);
  }
  return m[n-1].hops*(1 + 40*(recall - m[n-1].recall));
}

static void router_cut(struct vdb_graph *g, uint32_t n, uint32_t n_seed){
  struct graph_router *r = &g->router;
  r->n = n;
  r->n_pad = graph_round_up(n, 32);
  r->n_seed = n_seed;
  for(uint32_t i=0; i<r->n_pad; i++) r->slot[i] = i<n ? i : SLOT_NONE;
}

static int search_cost(struct calib *c, uint32_t n, int n_ef, double *cost){
  static const uint32_t ef[] = { 16, 32, 64, 128, 256 };
  const struct vdb_graph *g = c->g;
  struct measured m[VDB_ARRAY_LEN(ef)];
  double hop = COST_HOP + COST_LINE*(g->stride/64.0);
  double fixed = (COST_GROUP + COST_CODE*g->dims_code*g->bits)
               * (g->router.n_pad/32.0);
  int rc = VECDB_OK;
  for(int i=0; i<n_ef; i++){
    TRY( setting_measure(c, n, ef[i], 10, 0.3f, &m[i]) );
  }
  /* The product weighs both targets alike. */
  *cost = (fixed + 1000 + hop*hops_at(m, n_ef, 0.95))
        * (fixed + 1000 + hop*hops_at(m, n_ef, 0.99));
done:
  return rc;
}

static int router_choose(struct calib *c, double *cost_best){
  struct vdb_graph *g = c->g;
  const uint32_t small = graph_round_up(g->n_nodes/1024+1, 32);
  const uint32_t size[] = { small<64 ? 64 : small, 256, 2048, 256, 2048 };
  const uint32_t seed[] = { 4, 1, 4, 4, 1 };
  uint32_t n_all = g->router.n, best_n = n_all, best_seed = g->router.n_seed;
  double best = INFINITY, cost;
  int rc = VECDB_OK;
  for(size_t i=0; i<VDB_ARRAY_LEN(size); i++){
    if( size[i]>n_all ) continue;
    router_cut(g, size[i], seed[i]);
    TRY( search_cost(c, c->n<PROBE_ROWS ? c->n : PROBE_ROWS, 5, &cost) );
    if( cost>=best ) continue;
    best = cost;
    best_n = size[i];
    best_seed = seed[i];
  }
  *cost_best = best;
done:
  router_cut(g, best_n, best_seed);
  return rc;
}

/* ---- The table ----------------------------------------------------------- */

static const uint16_t cal_ef[] = {
  10, 12, 14, 17, 20, 24, 28, 34, 40, 48, 57, 68, 80, 96, 114, 136, 160, 192,
  228, 272, 320, 384, 456, 544, 640, 768, 912, 1088, 1280, 1536, 1824, 2048
};
static const float cal_stop[] = { 0.05f, 0.1f, 0.2f, 0.3f, 0.5f };
enum { N_EF = VDB_ARRAY_LEN(cal_ef), N_STOP = VDB_ARRAY_LEN(cal_stop) };

struct table { struct graph_cal e[N_EF*(N_STOP+1)]; uint32_t n; };

static int table_add(struct calib *c, struct table *t, uint32_t ef,
                     float stop){
  struct graph_cal *e = &t->e[t->n];
  uint32_t n = ef>256 && c->n>CAL_ROWS_FAR ? CAL_ROWS_FAR : c->n;
  struct measured m;
  int rc;
  TRY( setting_measure(c, n, ef, 10, stop, &m) );
  memset(e, 0, sizeof(*e));
  e->ef = ef;
  e->stop = stop;
  e->recall10 = (float)m.recall;
  e->low10 = (float)m.low;
  e->hops = (float)m.hops;
  t->n++;
done:
  return rc;
}

/* One early stop: every ef from n_from on, until recall is full or the stop
** alone decides. */
static int table_sweep(struct calib *c, struct table *t, uint32_t n_from,
                       uint32_t n_end, float stop){
  uint32_t first = t->n;
  int rc = VECDB_OK;
  for(uint32_t i=n_from; i<n_end; i++){
    TRY( table_add(c, t, cal_ef[i], stop) );
    if( t->e[t->n-1].recall10>=RECALL_FULL ) break;
    if( stop>=0 && t->n-first>1
     && t->e[t->n-1].hops<HOPS_GAIN*t->e[t->n-2].hops ) break;
  }
done:
  return rc;
}

static int cal_compare(const void *a, const void *b){
  const struct graph_cal *x = a, *y = b;
  if( x->hops!=y->hops ) return x->hops<y->hops ? -1 : 1;
  return x->ef<y->ef ? -1 : x->ef>y->ef;
}

/* Of n settings in order of hops the one whose neighbours are nearest. */
static uint32_t cal_crowded(const struct graph_cal *e, uint32_t n){
  uint32_t best = 1;
  for(uint32_t i=2; i+1<n; i++){
    if( e[i+1].hops*e[best-1].hops < e[best+1].hops*e[i-1].hops ) best = i;
  }
  return best;
}

/* Keep what is better than everything cheaper, and of that not too much. */
static void table_keep(struct vdb_graph *g, struct table *t){
  uint32_t m = 0;
  qsort(t->e, t->n, sizeof(*t->e), cal_compare);
  for(uint32_t i=0; i<t->n; i++){
    if( m==0 || t->e[i].low10>t->e[m-1].low10 ) t->e[m++] = t->e[i];
  }
  while( m>N_WIDE ){
    uint32_t i = cal_crowded(t->e, m--);
    memmove(&t->e[i], &t->e[i+1], (m-i)*sizeof(t->e[0]));
  }
  memcpy(g->cal, t->e, m*sizeof(t->e[0]));
  g->n_cal = m;
}

/* Settings for `depth` neighbours. */
static int table_deep(struct calib *c, uint32_t depth, uint32_t ef_max){
  static const float factor[] = { 1, 1.25f, 1.6f, 2, 2.6f, 3.4f, 4.5f, 6, 9, 14,
                                  20, 30 };
  uint32_t n = c->n<DEEP_ROWS ? c->n : DEEP_ROWS;
  int rc = VECDB_OK;
  for(size_t i=0; i<VDB_ARRAY_LEN(factor); i++){
    struct graph_cal *e = &c->g->cal[c->g->n_cal];
    uint32_t ef = (uint32_t)(factor[i]*(float)depth);
    struct measured m;
    if( ef>ef_max || ef>DEEP_EF_MAX || c->g->n_cal==GRAPH_CAL_MAX ) break;
    TRY( setting_measure(c, n, ef, depth, -1, &m) );
    memset(e, 0, sizeof(*e));
    e->ef = ef;
    e->stop = -1;
    e->recall_n = (float)m.recall;
    e->low_n = (float)m.low;
    e->hops = (float)m.hops;
    e->n = depth;
    c->g->n_cal++;
    if( m.recall>=RECALL_FULL ) break;
  }
done:
  return rc;
}

static int table_measure(struct calib *c){
  uint32_t ef_max = c->g->n_nodes/4, n_end = 1, n_from = 0, n;
  struct table t = { .n = 0 };
  int rc = VECDB_OK;
  while( n_end<N_EF && cal_ef[n_end]<=ef_max ) n_end++;
  TRY( table_sweep(c, &t, 0, n_end, -1) );
  n = t.n;
  while( n_from<n && t.e[n_from].recall10<RECALL_FROM ) n_from++;
  for(int i=0; i<N_STOP; i++){
    TRY( table_sweep(c, &t, n_from, n, cal_stop[i]) );
  }
  table_keep(c->g, &t);
  for(int i=1; i<N_DEPTH && c->g->n_nodes>depth_of[i]; i++){
    TRY( table_deep(c, depth_of[i], ef_max) );
  }
  c->g->stop = vdb_graph_plan_recall(c->g, 10, 0.95).stop;
done:
  return rc;
}

/* ---- The whole ----------------------------------------------------------- */

static bool is_entry(const struct vdb_graph *g, uint32_t slot){
  for(uint32_t i=0; i<g->router.n; i++){
    if( g->router.slot[i]==slot ) return true;
  }
  return false;
}

/* Draws c->n nodes that live and, unless most are, are no entries of the
** router; fewer if they are hard to find. */
static int rows_draw(struct calib *c){
  const struct vdb_graph *g = c->g;
  uint64_t *drawn = vdb_calloc(vdb_bitset_words(g->n_nodes), 8);
  bool spare_entries = g->router.n<g->n_nodes/2;
  uint32_t n = 0;
  struct vdb_rng r;
  if( drawn==NULL ) return VECDB_NOMEM;
  vdb_rng_init(&r, vdb_mix64(g->seed ^ 0x63616c69u));
  for(uint32_t i=0; i<64*c->n && n<c->n; i++){
    uint32_t s = (uint32_t)(((vdb_rng_u64(&r)>>32)*g->n_nodes)>>32);
    const unsigned char *block = calib_block(c, s);
    if( get_u16(block+GRAPHBLOCK_FLAGS)!=0 || vdb_bit_get(drawn, s)
     || !graph_row_qualifies(c->blocks, get_u32(block+GRAPHBLOCK_ROW))
     || (spare_entries && is_entry(g, s)) ) continue;
    vdb_bit_set(drawn, s);
    c->slot[n++] = s;
  }
  c->n = n;
  vdb_free(drawn);
  return VECDB_OK;
}

static int codes_read(struct calib *c){
  float *tmp = vdb_malloc_aligned(c->g->dims_nav*sizeof(float));
  if( tmp==NULL ) return VECDB_NOMEM;
  for(uint32_t i=0; i<c->n; i++){
    vdb_graph_to_code(c->g, calib_block(c, c->slot[i]),
                      c->code + (size_t)i*c->g->len_code, tmp);
  }
  vdb_free_aligned(tmp);
  return VECDB_OK;
}

static int calib_open(struct vdb_graph *g, const struct vdb_graph_blocks *b,
                      unsigned n_thread, struct calib **out){
  struct calib *c = vdb_calloc(1, sizeof(*c));
  size_t n;
  int rc = VECDB_OK;
  *out = c;
  if( c==NULL ) return VECDB_NOMEM;
  c->g = g;
  c->blocks = b;
  c->n = g->n_nodes/20<CAL_ROWS ? g->n_nodes/20 : CAL_ROWS;
  if( c->n<CAL_MIN ) c->n = 0;
  n = (size_t)c->n+1;
  c->walk = vdb_calloc(n_thread, sizeof(*c->walk));
  c->slot = vdb_malloc_array(n, sizeof(*c->slot));
  c->code = vdb_malloc_aligned(n*g->len_code*sizeof(float));
  for(int i=0; i<N_DEPTH; i++){
    c->kth[i] = vdb_malloc_array(n, sizeof(float));
    if( c->kth[i]==NULL ) return VECDB_NOMEM;
  }
  c->n_right = vdb_malloc_array(n, sizeof(*c->n_right));
  c->n_hop = vdb_malloc_array(n, sizeof(*c->n_hop));
  if( !c->walk || !c->slot || !c->code || !c->n_right || !c->n_hop ){
    TRY( VECDB_NOMEM );
  }
  c->n_thread = n_thread;
  for(unsigned i=0; i<n_thread; i++){
    TRY( vdb_graph_walk_init(&c->walk[i], g) );
  }
  TRY( rows_draw(c) );
  TRY( codes_read(c) );
  TRY( vdb_pool_run(n_thread, (c->n + TRUTH_TILE-1)/TRUTH_TILE, truth_task,
                    c) );
done:
  return rc;
}

int vdb_graph_calib_begin(struct graph_builder *b, struct calib **out){
  return calib_open(b->g, &b->blocks, b->n_thread, out);
}

void vdb_graph_calib_end(struct calib *c){
  if( c==NULL ) return;
  for(unsigned i=0; i<c->n_thread; i++) vdb_graph_walk_clear(&c->walk[i]);
  vdb_free(c->walk);
  vdb_free(c->slot);
  vdb_free_aligned(c->code);
  for(int i=0; i<N_DEPTH; i++) vdb_free(c->kth[i]);
  vdb_free(c->n_right);
  vdb_free(c->n_hop);
  vdb_free(c);
}

int vdb_graph_calib_cost(const struct calib *c, struct vdb_graph *g,
                         const struct vdb_graph_blocks *b, double *cost){
  struct calib t = *c;                  /* truth and rows are those of c */
  struct graph_walk w;
  int rc = VECDB_OK;
  memset(&w, 0, sizeof(w));
  *cost = INFINITY;
  t.n_right = vdb_malloc_array((size_t)c->n+1, sizeof(*t.n_right));
  t.n_hop = vdb_malloc_array((size_t)c->n+1, sizeof(*t.n_hop));
  if( !t.n_right || !t.n_hop ) TRY( VECDB_NOMEM );
  TRY( vdb_graph_walk_init(&w, g) );
  t.g = g;
  t.blocks = b;
  t.rows = c;
  t.walk = &w;
  t.n_thread = 1;
  if( c->n>=CAL_MIN ){
    TRY( search_cost(&t, c->n<TRIAL_ROWS ? c->n : TRIAL_ROWS, 4, cost) );
  }
done:
  vdb_graph_walk_clear(&w);
  vdb_free(t.n_right);
  vdb_free(t.n_hop);
  return rc;
}

void vdb_graph_calib_recoded(struct calib *c){
  for(unsigned i=0; i<c->n_thread; i++) c->walk[i].code.bits = c->g->bits;
}

int vdb_graph_choose_router(struct graph_builder *b, struct calib *c){
  b->cost = INFINITY;
  if( b->opts->n_router || c->n==0 ) return VECDB_OK;
  return router_choose(c, &b->cost);
}

int vdb_graph_calibrate(struct graph_builder *b, struct calib *c){
  b->g->n_cal = 0;
  b->g->stop = -1;
  if( c==NULL || c->n==0 || b->opts->no_calibration ) return VECDB_OK;
  return table_measure(c);
}

int vdb_graph_recalibrate(const struct vdb_graph *g,
                          const struct vdb_graph_blocks *b, unsigned n_thread,
                          unsigned char **header, size_t *sz){
  struct vdb_fpmode fp = vdb_fpmode_enter();
  struct vdb_graph copy = *g;          /* its tables are those of g */
  struct calib *c = NULL;
  int rc = VECDB_OK;
  *header = NULL;
  *sz = 0;
  copy.n_cal = 0;
  copy.stop = -1;
  if( b->n_slots!=g->n_slots ) TRY( VECDB_MISUSE );
  if( g->n_nodes>0 ){
    TRY( calib_open(&copy, b, n_thread>0 ? n_thread : 1, &c) );
    if( c->n>=CAL_MIN ) TRY( table_measure(c) );
  }
  TRY( vdb_graph_encode(&copy, header, sz) );
done:
  vdb_graph_calib_end(c);
  vdb_fpmode_leave(fp);
  return rc;
}
