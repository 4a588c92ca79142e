/* graph_filter.c -- the walk when a filter says which rows are wanted.
**
** An unfiltered walk expands what is near; of it only a share passes, so it
** would have to expand 1/share times as much. But a block tells estimates of
** 32 neighbours at once: rows that pass are found where they are *named*, not
** only where they are expanded. So there are two pools, one of what passes and
** one of what does not (bridges), and lanes are told apart before they enter.
**
**   while one of the pools has a node worth expanding:
**     take the nearest that passes, unless a bridge is BRIDGE_NEAR times nearer
**     offer it to the results if it passes; offer its neighbours to the pools
**   rank the best that passed and were not expanded by their true distance
**
** BRIDGES   are expanded while they are nearer than the k-th result and their
**           budget lasts: BRIDGE_SHARE*effort/share, more where the share is
**           low. (Measured on three data sets at shares of 3 to 50 %: so many
**           find 95 % of the nearest with filters that are independent of the
**           query.)
** SHARE     is the share of rows that pass *near the query*: the lanes of the
**           first blocks are a sample. The share of all rows only says how
**           large the sample must be.
** FAR       Where much fewer pass near the query than elsewhere, the
**           nearest rows that pass are far away and lie on the border of where
**           rows pass, which a walk explores badly: it gets more effort.
** GIVE UP   The caller says how many blocks cost as much as comparing all rows
**           that pass. When the sample says that the walk will cost more, or,
**           being far, three quarters of it (as it finds less), the walk ends
**           without results. So does one that finds fewer than k: the caller
**           then compares them all.
**
** As in graph_search.c the next node is chosen, and its block requested, before
** the one at hand is expanded; G1, G2 and G3 hold here, too. Results do not
** depend on timing, since all limits are counts.
*/
#include <math.h>

#include "index/graph_int.h"
#include "util/mem.h"

#define EFFORT_MIN     16u      /* nodes that pass, expanded at most: ef, or .. */
#define EFFORT_RARE    4u       /* .. this; where fewer pass this times that; */
#define EFFORT_FAR     4u       /* .. far away this times that, .. */
#define EFFORT_FAR_ADD 300u     /* .. and some more */
#define BRIDGE_NEAR    1.2f     /* (square distances) */
#define BRIDGE_SHARE   0.12     /* bridges: this times effort by share, .. */
#define BRIDGE_RARE    0.03     /* .. where the share is so low, twice that, .. */
#define BRIDGE_ADD     8u       /* .. and some more */
#define BRIDGE_MAX     2048u
#define BRIDGE_FAR     64u
#define STOP_MIN       0.2f     /* early stops among nodes that pass */
#define STOP_FAR       0.4f     /* .. where fewer pass */
#define TAIL_PASS      20u      /* ranked without being expanded */
#define SAMPLE_MIN     12u      /* blocks whose lanes are the sample */
#define SAMPLE_MAX     48u
#define SAMPLE_PASS    8.0      /* lanes that should pass in it */
#define SAMPLE_PRIOR   16.0     /* lanes that pass as elsewhere, added to it */
#define RARE_SHARE     0.85     /* near the query, of the share elsewhere */
#define FAR_SHARE      0.6
#define FAR_COST       1.3

struct filter_walk {
  struct graph_walk *w;
  const struct vdb_graph_within *in;
  uint32_t ef;
  struct vdb_split split;
  uint32_t n_effort;            /* nodes that pass are expanded this far */
  uint32_t n_budget;            /* bridges that may be expanded */
  uint32_t n_sample;            /* blocks of the sample; 0: it was taken */
  uint32_t n_open;              /* nodes chosen so far */
  bool is_pass, is_pass_after;  /* w->next, and the node after it, pass */
};

/* ---- Budgets ------------------------------------------------------------- */

static uint32_t bridges_for(uint32_t ef, double share){
  double effort = ef>EFFORT_MIN ? ef : EFFORT_MIN;
  double n = effort*BRIDGE_SHARE/share*(1+BRIDGE_RARE/share) + BRIDGE_ADD;
  return n<BRIDGE_MAX ? (uint32_t)n : BRIDGE_MAX;
}

static uint32_t effort_for(uint32_t ef, bool is_far){
  uint32_t n = ef>EFFORT_MIN ? ef : EFFORT_MIN;
  if( is_far ) n = EFFORT_FAR*n + EFFORT_FAR_ADD;
  return n<VDB_GRAPH_EF_MAX-TAIL_PASS ? n : VDB_GRAPH_EF_MAX-TAIL_PASS;
}

double vdb_graph_filter_hops(uint32_t ef, double share){
  return (double)bridges_for(ef, share) + effort_for(ef, false);
}

/* The sample is taken: set budgets; false: give up. */
static bool share_decide(struct filter_walk *f){
  struct graph_walk *w = f->w;
  const struct vdb_graph_within *in = f->in;
  double share = (f->split.n_pass + SAMPLE_PRIOR*in->share)
               / (f->split.n_seen + SAMPLE_PRIOR);
  bool is_far = share<FAR_SHARE*in->share;
  double cost;
  f->n_sample = 0;
  f->split.is_counted = false;
  f->n_budget = bridges_for(f->ef, share);
  w->share = (float)share;
  w->is_far = is_far;
  if( is_far ){
    uint32_t n = effort_for(f->ef, true);
    if( f->n_budget>BRIDGE_FAR ) f->n_budget = BRIDGE_FAR;
    f->n_effort = n;
    w->pool.n_cap = n + TAIL_PASS;
    w->stop_factor = (1+STOP_FAR)*(1+STOP_FAR);
    cost = FAR_COST*(f->n_budget + (double)n);
  }else{
    if( share<RARE_SHARE*in->share ){
      f->n_effort *= EFFORT_RARE;
      w->stop_factor = (1+STOP_FAR)*(1+STOP_FAR);
    }
    w->pool.n_cap = f->n_effort + TAIL_PASS;
    cost = f->n_budget + (double)effort_for(f->ef, false);
  }
  if( f->n_budget>w->bridge.n_cap ) f->n_budget = w->bridge.n_cap;
  return !(cost>in->n_hop_exact);
}

/* ---- The walk ------------------------------------------------------------ */

static int bridge_alloc(struct graph_walk *w, uint32_t n){
  int rc = VECDB_OK;
  if( n>w->n_bridge_alloc ){
    w->n_bridge_alloc = 0;
    rc = vdb_graph_pool_alloc(&w->bridge, n);
    if( rc!=VECDB_OK ) return rc;
    w->n_bridge_alloc = n;
  }
  vdb_pool_reset(&w->bridge, n);
  return rc;
}

static int filter_begin(struct filter_walk *f, struct graph_walk *w,
                        const struct vdb_graph_blocks *b,
                        const struct vdb_graph_search *p, uint32_t k){
  const struct vdb_graph_within *in = b->within;
  double n_sample = SAMPLE_PASS/(32*in->share);
  uint32_t n_bridge = 2*bridges_for(p->ef, in->share);
  float stop = p->stop<0 ? STOP_FAR : p->stop + 0.1f;
  int rc;
  memset(f, 0, sizeof(*f));
  f->w = w;
  f->in = in;
  f->ef = p->ef;
  f->n_effort = effort_for(p->ef, false);
  f->n_budget = bridges_for(p->ef, in->share);
  f->n_sample = n_sample<SAMPLE_MIN ? SAMPLE_MIN
              : n_sample>SAMPLE_MAX ? SAMPLE_MAX : (uint32_t)n_sample;
  TRY( vdb_graph_walk_begin(w, b, effort_for(p->ef, true)+TAIL_PASS, k,
                            stop<STOP_MIN ? STOP_MIN : stop) );
  w->pool.n_cap = f->n_effort + TAIL_PASS;      /* grows when far */
  TRY( bridge_alloc(w, n_bridge<BRIDGE_MAX ? n_bridge : BRIDGE_MAX) );
  w->n_bridge = 0;
  w->is_far = w->gave_up = false;
  w->share = (float)in->share;
  f->split.row = in->row;
  f->split.filter = b->filter ? b->filter : b->live;
  f->split.n_row = b->n_row;
  f->split.fail = &w->bridge;
  f->split.bound = INFINITY;
done:
  return rc;
}

/* Offer the n lanes at `id` (a block's, or a group of the router's). */
static void lanes_split(struct filter_walk *f, const struct vdb_lanes *l,
                        float g_add, float reuse){
  struct graph_walk *w = f->w;
  struct vdb_expand e = { .g_add = g_add, .reuse = reuse,
                          .n_slots = w->g->n_nodes };
  e.bound = w->worst<INFINITY ? w->worst*w->stop_factor : INFINITY;
  graph_walk_near(w, g_add, &e);
  f->split.bound = w->worst;
  w->g->simd->expand_split(&w->code, l, &e, &f->split, &w->pool);
}

static void filter_seed(struct filter_walk *f){
  const struct vdb_graph *g = f->w->g;
  const struct graph_router *r = &g->router;
  size_t sz = VDB_CODE_GROUP_BYTES(g->dims_code, g->bits);
  float g_add = graph_centre_d2(g, f->w->xc);
  for(uint32_t i=0; i<r->n_pad; i+=32){
    struct vdb_lanes l = { r->slot+i, r->f_add+i, r->f_resc+i,
                           r->code + i/32*sz, 32 };
    lanes_split(f, &l, g_add, -INFINITY);
  }
  f->split.is_counted = true;
}

/* Choose the next node to w->next and request its block; false: none is worth
** it. */
static bool filter_pop(struct filter_walk *f, bool *is_pass){
  struct graph_walk *w = f->w;
  const struct vdb_code_simd *simd = w->g->simd;
  for(;;){
    struct vdb_pool *p = &w->pool, *q = &w->bridge;
    uint32_t i = simd->waiting(p, p->first, f->n_effort);
    uint32_t j = simd->waiting(q, q->first, q->n_cap);
    float x = i<f->n_effort ? p->key[i] : INFINITY;
    float y = j<q->n_cap && w->n_bridge<f->n_budget ? q->key[j] : INFINITY;
    if( w->worst<INFINITY ){
      if( !(x<=w->worst*w->stop_factor) ) x = INFINITY;
      if( !(y<=w->worst) ) y = INFINITY;
    }
    if( x==INFINITY && y==INFINITY ) return false;
    *is_pass = x<=BRIDGE_NEAR*y;
    w->next = *is_pass ? vdb_pool_take(p, i) : vdb_pool_take(q, j);
    if( !vdb_graph_walk_see(w, w->next) ){
      if( w->rc!=VECDB_OK ) return false;
      continue;                                                /* G1 */
    }
    w->n_bridge += !*is_pass;
    vdb_graph_walk_request(w, w->next);
    return w->rc==VECDB_OK;
  }
}

static void filter_expand(struct filter_walk *f, uint32_t slot, bool is_pass){
  struct graph_walk *w = f->w;
  const struct vdb_graph *g = w->g;
  const unsigned char *block = vdb_graph_walk_block(w, slot);
  struct vdb_lanes l;
  float d2;
  if( block==NULL ) return;
  d2 = vdb_graph_d2(g, &w->q, block);
  w->n_hop++;
  l.id = (const uint32_t*)(const void*)(block + graph_off_lanes(g));
  l.f_add = (const float*)(const void*)(l.id + g->n_lanes);
  l.f_resc = l.f_add + g->n_lanes;
  l.code = (const uint8_t*)(l.f_resc + g->n_lanes);
  l.n = g->n_lanes;
  lanes_split(f, &l, d2, g->reuse==1 ? w->worst
                       : g->reuse==0 ? -INFINITY : INFINITY);
  if( is_pass ) vdb_graph_walk_offer(w, d2, block, slot);
}

/* What passes, waits, and may be among the results. */
static void filter_tail(struct graph_walk *w){
  uint32_t slot[TAIL_PASS], n = 0;
  for(uint32_t i=0; i<w->pool.n_cap && n<TAIL_PASS; i++){
    if( !(w->pool.key[i]<w->worst*w->stop_factor) ) break;
    if( w->pool.id[i] & VDB_POOL_DONE ) continue;
    slot[n] = w->pool.id[i];
    vdb_graph_walk_request_vector(w, slot[n++]);
  }
  for(uint32_t i=0; i<n && w->rc==VECDB_OK; i++){
    const unsigned char *block = vdb_graph_walk_block(w, slot[i]);
    if( block==NULL || !vdb_graph_walk_see(w, slot[i]) ) continue;
    vdb_graph_walk_offer(w, vdb_graph_d2(w->g, &w->q, block), block, slot[i]);
    w->n_distance++;
  }
}

int vdb_graph_walk_within(struct graph_walk *w,
                          const struct vdb_graph_blocks *b,
                          const struct vdb_graph_search *p, uint32_t k){
  struct filter_walk f;
  bool more;
  int rc;
  TRY( filter_begin(&f, w, b, p, k) );
  filter_seed(&f);
  more = filter_pop(&f, &f.is_pass);
  while( more ){
    uint32_t now = w->next;
    more = filter_pop(&f, &f.is_pass_after);
    if( w->rc!=VECDB_OK ) break;
    filter_expand(&f, now, f.is_pass);
    if( w->rc!=VECDB_OK ) break;
    if( f.n_sample>0 && --f.n_sample==0 && !share_decide(&f) ){
      w->gave_up = true;
      w->n_hit = 0;
      return VECDB_OK;
    }
    if( more ) f.is_pass = f.is_pass_after;
    else more = filter_pop(&f, &f.is_pass);
  }
  if( w->rc==VECDB_OK ) filter_tail(w);
  rc = w->rc;
done:
  return rc;
}
