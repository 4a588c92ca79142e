/* graph_calib.c -- what a build measures on its own rows: which router suits,
** and how much recall an effort buys.
**
** HELD OUT  Up to CAL_ROWS nodes, spread over the build order, are searched for
**           as if they were not in the graph: a walk never expands them, and
**           their true neighbours exclude them. Their distances to all nodes
**           are computed exactly (in the navigation space).
** ROUTER    candidates of size and seeds; the one that makes recall 0.95 and
**           0.99 cheapest, by a model of cost with fixed constants: measured
**           times must not decide bytes.
** TABLE     recall for a grid of ef and early stop; kept are the settings that
**           no cheaper one beats. The lower bound is the mean less 1.645
**           standard errors.
*/
#include <math.h>
#include <stdlib.h>

#include "index/graph_build_int.h"
#include "util/mem.h"
#include "util/pool.h"

#define CAL_ROWS     400u
#define PROBE_ROWS   200u
#define CAL_DEPTH    100u
#define CAL_MIN      20u        /* fewer held-out rows say nothing */
#define TRUTH_TILE   8          /* queries that share a pass over the rows */

/* Nanoseconds, roughly; only ratios matter. */
#define COST_HOP     60.0
#define COST_LINE    8.0        /* per 64 bytes of a block */
#define COST_GROUP   15.0       /* per 32 entries of the router, and per */
#define COST_CODE    0.06       /* dimension and bit of them */

struct calib {
  struct graph_builder *b;
  uint32_t n;                   /* held-out rows */
  uint32_t *slot;
  float *kth10, *kth100;        /* distance of the last true neighbour */
  /* The setting being measured. */
  uint32_t n_use, ef, k;
  float stop;
  uint16_t *n_right;            /* by held-out row */
  uint32_t *n_hop;
};

/* ---- Truth --------------------------------------------------------------- */

static void nearest_add(float *list, uint32_t *n, float d2){
  uint32_t i = *n<CAL_DEPTH ? (*n)++ : CAL_DEPTH-1;
  if( *n==CAL_DEPTH && i==CAL_DEPTH-1 && !(d2<list[i]) && list[i]<INFINITY ){
    return;
  }
  for(; i>0 && list[i-1]>d2; i--) list[i] = list[i-1];
  list[i] = d2;
}

static int truth_task(void *arg, size_t i_task, unsigned worker){
  struct calib *c = arg;
  const struct vdb_graph *g = c->b->g;
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
    vdb_graph_query_block(g, build_block(c->b, c->slot[lo+j]), &q[j]);
  }
  for(uint32_t s=0; s<c->b->n_nodes; s++){
    const unsigned char *block = build_block(c->b, s);
    __builtin_prefetch(build_block(c->b, s+2<c->b->n_nodes ? s+2 : s), 0, 3);
    for(uint32_t j=0; j<n_q; j++){
      float d2 = vdb_graph_d2(g, &q[j], block);
      if( d2<list[j*CAL_DEPTH+CAL_DEPTH-1] && s!=c->slot[lo+j] ){
        nearest_add(list + j*CAL_DEPTH, &n[j], d2);
      }
    }
  }
  for(uint32_t j=0; j<n_q; j++){
    c->kth10[lo+j] = list[j*CAL_DEPTH + 9];
    c->kth100[lo+j] = list[j*CAL_DEPTH + CAL_DEPTH-1];
  }
done:
  vdb_free_aligned(hi);
  vdb_free(list);
  return rc;
}

/* ---- One setting --------------------------------------------------------- */

static int setting_task(void *arg, size_t i_task, unsigned worker){
  struct calib *c = arg;
  struct graph_builder *b = c->b;
  struct graph_walk *w = &b->worker[worker].walk[0];
  uint32_t slot = c->slot[i_task], n = 0;
  float kth = c->k>10 ? c->kth100[i_task] : c->kth10[i_task];
  int rc = VECDB_OK;
  vdb_graph_query_block(b->g, build_block(b, slot), &w->q);
  memcpy(w->xc, build_code(b, slot), b->g->dims_code*sizeof(float));
  b->g->simd->prepare(&w->code, w->xc);
  TRY( vdb_graph_walk_begin(w, &b->blocks, c->ef, c->k, c->stop) );
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
  TRY( vdb_pool_run(c->b->n_thread, n, setting_task, c) );
  for(uint32_t i=0; i<n; i++){
    double r = (double)c->n_right[i]/k;
    sum += r;
    sum2 += r*r;
    hops += c->n_hop[i];
  }
  out->recall = sum/n;
  out->low = out->recall
           - 1.645*sqrt(fmax(sum2/n - out->recall*out->recall, 0)/n);
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

static int router_cost(struct calib *c, double *cost){
  static const uint32_t ef[] = { 16, 32, 64, 128, 256 };
  const struct vdb_graph *g = c->b->g;
  struct measured m[VDB_ARRAY_LEN(ef)];
  double hop = COST_HOP + COST_LINE*(g->stride/64.0);
  double fixed = (COST_GROUP + COST_CODE*g->dims_code*g->bits)
               * (g->router.n_pad/32.0);
  uint32_t n = c->n<PROBE_ROWS ? c->n : PROBE_ROWS;
  int rc = VECDB_OK;
  for(size_t i=0; i<VDB_ARRAY_LEN(ef); i++){
    TRY( setting_measure(c, n, ef[i], 10, 0.3f, &m[i]) );
  }
  /* The product weighs both targets alike. */
  *cost = (fixed + 1000 + hop*hops_at(m, VDB_ARRAY_LEN(ef), 0.95))
        * (fixed + 1000 + hop*hops_at(m, VDB_ARRAY_LEN(ef), 0.99));
done:
  return rc;
}

static int router_choose(struct calib *c){
  struct vdb_graph *g = c->b->g;
  const uint32_t small = graph_round_up(g->n_nodes/1024+1, 32);
  const uint32_t size[] = { small<64 ? 64 : small, 256, 2048, 256, 2048 };
  const uint32_t seed[] = { 4, 1, 4, 4, 1 };
  uint32_t n_all = g->router.n, best_n = n_all, best_seed = g->router.n_seed;
  double best = INFINITY, cost;
  int rc = VECDB_OK;
  for(size_t i=0; i<VDB_ARRAY_LEN(size); i++){
    if( size[i]>n_all ) continue;
    router_cut(g, size[i], seed[i]);
    TRY( router_cost(c, &cost) );
    if( cost>=best ) continue;
    best = cost;
    best_n = size[i];
    best_seed = seed[i];
  }
  c->b->cost = best;
done:
  router_cut(g, best_n, best_seed);
  return rc;
}

/* ---- The table ----------------------------------------------------------- */

static int cal_compare(const void *a, const void *b){
  const struct graph_cal *x = a, *y = b;
  if( x->hops!=y->hops ) return x->hops<y->hops ? -1 : 1;
  return x->ef<y->ef ? -1 : x->ef>y->ef;
}

/* Keep what is better than everything cheaper, evenly thinned if too many. */
static void table_keep(struct vdb_graph *g, struct graph_cal *t, uint32_t n){
  uint32_t m = 0;
  qsort(t, n, sizeof(*t), cal_compare);
  for(uint32_t i=0; i<n; i++){
    if( m==0 || t[i].low10>t[m-1].low10 ) t[m++] = t[i];
  }
  g->n_cal = m<GRAPH_CAL_MAX ? m : GRAPH_CAL_MAX;
  for(uint32_t i=0; i<g->n_cal; i++){
    g->cal[i] = t[g->n_cal<2 ? 0 : (uint64_t)i*(m-1)/(g->n_cal-1)];
  }
}

static int table_measure(struct calib *c){
  static const uint32_t ef[] = { 10, 14, 20, 28, 40, 60, 90, 140, 220, 360 };
  /* An early stop that suits a target binds from some ef on and takes over
  ** from the looser one before it; pairs that cannot win are left out. */
  static const struct { float stop; uint32_t least, most; } how[] = {
    { -1, 10, 140 }, { 0.05f, 20, 90 }, { 0.1f, 28, 140 }, { 0.2f, 40, 220 },
    { 0.3f, 90, 360 }, { 0.5f, 140, 360 }
  };
  struct graph_cal t[VDB_ARRAY_LEN(ef)*VDB_ARRAY_LEN(how)];
  uint32_t n = 0;
  int rc = VECDB_OK;
  for(size_t i=0; i<VDB_ARRAY_LEN(ef); i++){
    for(size_t j=0; j<VDB_ARRAY_LEN(how); j++){
      struct measured m;
      struct graph_cal *e = &t[n];
      if( ef[i]<how[j].least || ef[i]>how[j].most ) continue;
      TRY( setting_measure(c, c->n, ef[i], 10, how[j].stop, &m) );
      e->ef = ef[i];
      e->stop = how[j].stop;
      e->recall10 = (float)m.recall;
      e->low10 = (float)m.low;
      e->hops = (float)m.hops;
      e->recall100 = e->low100 = 0;
      n++;
    }
  }
  table_keep(c->b->g, t, n);
  for(uint32_t i=0; i<c->b->g->n_cal; i++){
    struct graph_cal *e = &c->b->g->cal[i];
    struct measured m;
    if( e->ef<CAL_DEPTH || c->b->n_nodes<=CAL_DEPTH ) continue;
    TRY( setting_measure(c, c->n<100 ? c->n : 100, e->ef, CAL_DEPTH, e->stop,
                         &m) );
    e->recall100 = (float)m.recall;
    e->low100 = (float)m.low;
  }
done:
  return rc;
}

/* ---- The whole ----------------------------------------------------------- */

int vdb_graph_calib_begin(struct graph_builder *b, struct calib **out){
  struct calib *c = vdb_calloc(1, sizeof(*c));
  int rc = VECDB_OK;
  *out = c;
  if( c==NULL ) return VECDB_NOMEM;
  c->b = b;
  c->n = b->n_nodes/20<CAL_ROWS ? b->n_nodes/20 : CAL_ROWS;
  if( c->n<CAL_MIN ) c->n = 0;
  c->slot = vdb_malloc_array((size_t)c->n+1, sizeof(*c->slot));
  c->kth10 = vdb_malloc_array((size_t)c->n+1, sizeof(float));
  c->kth100 = vdb_malloc_array((size_t)c->n+1, sizeof(float));
  c->n_right = vdb_malloc_array((size_t)c->n+1, sizeof(*c->n_right));
  c->n_hop = vdb_malloc_array((size_t)c->n+1, sizeof(*c->n_hop));
  if( !c->slot || !c->kth10 || !c->kth100 || !c->n_right || !c->n_hop ){
    TRY( VECDB_NOMEM );
  }
  /* In a random order themselves, so that the first ones are a sample. The
  ** last nodes in build order: none of them is an entry of the router. */
  for(uint32_t i=0; i<c->n; i++) c->slot[i] = b->n_nodes-1 - i;
  TRY( vdb_pool_run(b->n_thread, (c->n + TRUTH_TILE-1)/TRUTH_TILE, truth_task,
                    c) );
done:
  return rc;
}

void vdb_graph_calib_end(struct calib *c){
  if( c==NULL ) return;
  vdb_free(c->slot);
  vdb_free(c->kth10);
  vdb_free(c->kth100);
  vdb_free(c->n_right);
  vdb_free(c->n_hop);
  vdb_free(c);
}

int vdb_graph_choose_router(struct graph_builder *b, struct calib *c){
  b->cost = INFINITY;
  if( b->opts->n_router || c->n==0 ) return VECDB_OK;
  return router_choose(c);
}

int vdb_graph_calibrate(struct graph_builder *b, struct calib *c){
  int rc = VECDB_OK;
  b->g->n_cal = 0;
  b->g->stop = -1;
  if( c->n==0 || b->opts->no_calibration ) return VECDB_OK;
  TRY( table_measure(c) );
  b->g->stop = vdb_graph_plan_recall(b->g, 10, 0.95).stop;
done:
  return rc;
}

struct vdb_graph_plan vdb_graph_plan_recall(const struct vdb_graph *g,
                                            uint32_t k, double recall){
  struct vdb_graph_plan p = { 0, -1, 0 };
  for(uint32_t i=0; i<g->n_cal; i++){
    const struct graph_cal *e = &g->cal[i];
    bool is_deep = k>10 && e->recall100>0;
    double low = is_deep ? e->low100 : e->low10;
    double least = 1.5*k + 0.5, ef = e->ef;
    if( low<recall ) continue;
    if( i && e[-1].stop==e->stop && e[-1].low10<recall && e->low10>recall
     && e[-1].ef<e->ef && !is_deep ){
      double t = (recall - e[-1].low10)/(e->low10 - e[-1].low10);
      ef = e[-1].ef*pow((double)e->ef/e[-1].ef, t) + 0.999;
    }
    if( k>10 && ef<least ) ef = least;
    if( ef>VDB_GRAPH_EF_MAX ) break;
    p.ef = (uint32_t)ef;
    p.stop = e->stop;
    p.recall = is_deep ? e->recall100 : e->recall10;
    break;
  }
  return p;
}
