/* graphs_search.c -- approximate search: graphs, and a scan of the rest.
**
** A search asks every graph of the column for candidates, computes their
** distances from the stored rows, adds the rows of the side lists and the
** exact answer over what no graph covers, and keeps the k first in order of
** (distance, key). Only the choice of candidates is approximate.
**
** ENOUGH  A graph that finds fewer rows than it was asked for, although more of
**   its rows qualify, is asked again with twice the effort, four times (not
**   one that is walked within a filter: there were few to find); then the
**   caller searches exactly. So does a query that is no number in the
**   graph's space: the zero vector under cosine, overflows. Where rows have
**   codes (graphs_codes.c) a walk within that finds too few, or gives up, goes
**   on with those.
**
** PLAN    store/plan.c.
*/
#include "util/common.h"
#include "store/graphs_int.h"

#define EF_RETRIES       4             /* doublings when too few are found */
#define SLACK_SIGMAS     5
#define DIMS_FEW         1024          /* no memory is asked for below */
#define HITS_FEW         64
#define HITS_STOP        10u
#define HITS_HINTED      256           /* rows requested ahead */

/* ---- Candidates --------------------------------------------------------- */

int vdb_gsearch_begin(struct gsearch *g, struct session *ss, struct coll *c,
                      const struct coll_runs *r,
                      const struct search_request *q,
                      const struct graph_plan *plan){
  memset(g, 0, sizeof(*g));
  g->ss = ss;
  g->c = c;
  g->v = vdb_vector_number(c, q->column);
  g->r = r;
  g->q = q;
  g->plan = plan;
  g->k = q->k>0 ? (size_t)q->k : SIZE_MAX;
  vdb_topk_init(&g->top, g->k, r->tie, r->tie_arg);
  return vdb_graphs_load(c);
}

void vdb_gsearch_end(struct gsearch *g){
  vdb_topk_clear(&g->top);
  vdb_str_clear(&g->buf);
  vdb_graphs_relax(g->c);
}

int vdb_gsearch_query(struct gsearch *g, const void *query){
  const struct schema_column *col = &g->c->schema->col[g->q->column];
  return vdb_query_init(&g->query, col->metric, col->element, query,
                        col->dims);
}

/* Hits that a graph should find: more than k where it ranks by copies that are
** not exact. */
static uint32_t hits_needed(const struct gsearch *g,
                            const struct graph_seg *s){
  size_t k = g->k;
  if( s->info.needs_rerank ) k += vdb_max_sz(8, k/2);
  return (uint32_t)k;
}

/* An early stop goes by the distance of the last hit and was measured with ten:
** a walk for one or two would end when those are found, right or wrong. */
uint32_t vdb_gsearch_k(const struct gsearch *g, const struct graph_seg *s){
  uint32_t k = hits_needed(g, s);
  bool has_stop = g->plan->is_within || g->plan->stop>=0;
  return has_stop && k<HITS_STOP ? HITS_STOP : k;
}

size_t vdb_gsearch_k_max(const struct gsearch *g){
  return vdb_max_sz(HITS_STOP, g->k + vdb_max_sz(8, g->k/2));
}

int vdb_gsearch_within(struct gsearch *g, struct graph_seg *s,
                       struct vdb_graph_within *in,
                       struct vdb_graph_blocks *b){
  int rc = VECDB_OK;

  if( !g->plan->is_within ) return VECDB_OK;
  TRY( vdb_graph_rows_load(g->c, s) );
  in->row = s->row_of;
  in->share = g->plan->share;
  in->n_hop_exact = g->plan->n_hop_exact;
  b->within = in;
done:
  return rc;
}

void vdb_gsearch_blocks(const struct gsearch *g, const struct graph_seg *s,
                        struct vdb_graph_blocks *b){
  memset(b, 0, sizeof(*b));
  b->base = s->base;
  b->sound = s->sound;
  b->n_slots = s->info.n_slots;
  b->live = g->r->live;
  b->filter = g->q->rows;
  b->n_row = (uint32_t)g->r->n_slot;
}

bool vdb_gsearch_has_limit(const struct gsearch *g, const struct graph_seg *s){
  const struct graph_seg *first = g->c->graphs->list[g->v].seg;
  return s->norm_max==first->norm_max && !g->plan->is_within
      && g->q->window==NULL;
}

void vdb_gsearch_limit(const struct gsearch *g, const struct graph_seg *s,
                       const struct vdb_graph_hit *hit, uint32_t n,
                       float *limit){
  float d;

  if( n<g->k || !vdb_gsearch_has_limit(g, s) ) return;
  d = __builtin_sqrtf(hit[g->k-1].d2) + hit[g->k-1].err;
  if( d*d<*limit ) *limit = d*d;
}

uint32_t vdb_gsearch_finite(const struct vdb_graph_hit *hit, uint32_t n){
  while( n>0 && !(hit[n-1].d2<__builtin_inff()) ) n--;
  return n;
}

static bool qualifies(const struct gsearch *g, slot_no slot){
  return vdb_bit_get(g->r->live, slot) &&
         (g->q->rows==NULL || vdb_bit_get(g->q->rows, slot));
}

/* Rows of a graph that qualify, those of its side list included, up to max. */
static uint64_t count_in_range(const struct gsearch *g,
                               const struct graph_seg *s, uint64_t max){
  slot_no at = s->first;
  uint64_t n = 0;

  for(; at<s->end && at%64!=0; at++) n += qualifies(g, at);
  for(; (uint64_t)at+64<=s->end && n<max; at+=64){
    uint64_t w = g->r->live[at/64];
    if( g->q->rows ) w &= g->q->rows[at/64];
    n += (uint64_t)__builtin_popcountll(w);
  }
  for(; at<s->end && n<max; at++) n += qualifies(g, at);
  return n;
}

bool vdb_gsearch_is_short(const struct gsearch *g, const struct graph_seg *s,
                          uint32_t n){
  uint64_t n_side = 0;

  if( n>=hits_needed(g, s) ) return false;
  for(uint32_t i=0; i<s->n_side; i++) n_side += qualifies(g, s->side[i]);
  return count_in_range(g, s, n+n_side+1)>n+n_side;
}

static int offer_distance(struct gsearch *g, float distance, slot_no slot){
  const struct flat_window *w = g->q->window;

  if( w!=NULL && !(distance>=w->min && distance<=w->max) ) return VECDB_OK;
  return vdb_topk_push(&g->top, distance, slot);
}

/* The distance that users see, from the stored row. */
int vdb_gsearch_offer_slot(struct gsearch *g, slot_no slot){
  const unsigned char *vec;
  struct vdb_query query;
  float key;
  int type, rc = vdb_graph_row(g->c, g->v, slot, &g->buf, &vec, &type);

  if( rc!=VECDB_OK ) return rc;
  query = vdb_query_on(&g->query, type);
  key = vdb_key(&query, vec);
  return offer_distance(g, vdb_key_distance(g->query.metric, key), slot);
}

/* The largest d2 of a graph's hit that has the bits which the stored row would
** give; there are none above 0. Blocks must hold the very vector, in the
** column's own space: floats, or integers, whose sums are exact, in whatever
** order, below 2^24; bits always. */
static float exact_below(const struct gsearch *g, const struct graph_seg *s){
  const struct schema_column *col = &g->c->schema->col[g->q->column];
  bool is_integer = col->element==VECDB_U8 || col->element==VECDB_I8;

  if( s->info.nav==VDB_NAV_BITS ) return __builtin_inff();
  if( col->metric!=VECDB_L2 ) return -1;
  if( s->info.nav==VDB_NAV_F32 && col->element==VECDB_F32 ){
    return __builtin_inff();
  }
  return s->info.nav==VDB_NAV_BYTES && (is_integer || col->element==VECDB_F32)
       ? 16777216.0f : -1;
}

/* How far the distance to a quantised vector is from that to the true one. The
** difference of the two, of length err, lies in a random direction (blocks hold
** rotated vectors), so its share along the way to the query has a standard
** deviation of err/sqrt(d). */
static float distance_slack(const struct graph_seg *s, float err){
  return SLACK_SIGMAS*err/__builtin_sqrtf((float)s->info.d);
}

/* Of n hits in order, those that may be among the k nearest: reading a stored
** row costs as much as several steps of the walk. */
static uint32_t hits_worth_reading(const struct gsearch *g,
                                   const struct graph_seg *s,
                                   const struct vdb_graph_hit *hit,
                                   uint32_t n){
  float most;

  if( !s->info.needs_rerank || n<=g->k ) return n;
  most = __builtin_sqrtf(hit[g->k-1].d2)
       + distance_slack(s, hit[g->k-1].err);
  for(uint32_t i=(uint32_t)g->k; i<n; i++){
    if( __builtin_sqrtf(hit[i].d2) - distance_slack(s, hit[i].err)>most ){
      return i;
    }
  }
  return n;
}

int vdb_gsearch_offer_all(struct gsearch *g, const struct graph_seg *s,
                          const struct vdb_graph_hit *hit, size_t n){
  float exact = exact_below(g, s);
  int rc = VECDB_OK;

  for(size_t i=0; i<n && i<HITS_HINTED; i++){
    if( !(hit[i].d2<exact) ) vdb_graph_row_hint(g->c, g->v, hit[i].row);
  }
  for(size_t i=0; i<n && rc==VECDB_OK; i++){
    if( hit[i].row<s->first || hit[i].row>=s->end ){
      return COLL_CORRUPT(g->c, "a graph names rows outside of its range");
    }
    if( !(hit[i].d2<exact) ) rc = vdb_gsearch_offer_slot(g, hit[i].row);
    else{
      rc = offer_distance(g, vdb_key_distance(g->query.metric, hit[i].d2),
                          hit[i].row);
    }
  }
  return rc;
}

int vdb_gsearch_offer(struct gsearch *g, const struct graph_seg *s,
                      const struct vdb_graph_hit *hit, uint32_t n){
  return vdb_gsearch_offer_all(g, s, hit, hits_worth_reading(g, s, hit, n));
}

int vdb_gsearch_offer_side(struct gsearch *g, const struct graph_seg *s){
  int rc = VECDB_OK;
  for(uint32_t i=0; i<s->n_side && rc==VECDB_OK; i++){
    if( qualifies(g, s->side[i]) ) rc = vdb_gsearch_offer_slot(g, s->side[i]);
  }
  return rc;
}

int vdb_gsearch_offer_hits(struct gsearch *g, const struct vdb_hit *hit,
                           size_t n){
  int rc = VECDB_OK;
  for(size_t i=0; i<n && rc==VECDB_OK; i++){
    rc = vdb_topk_push(&g->top, hit[i].distance, hit[i].slot);
  }
  return rc;
}

void vdb_gsearch_take(struct gsearch *g, struct vdb_hit *hit, size_t *n_hit){
  vdb_topk_sort(&g->top);
  *n_hit = g->top.n;
  if( g->top.n>0 ) memcpy(hit, g->top.hit, g->top.n*sizeof(*hit));
  g->top.n = 0;
}

void vdb_gsearch_take_all(struct gsearch *g, struct vdb_hit **hit,
                          size_t *n_hit){
  vdb_topk_sort(&g->top);
  *n_hit = g->top.n;
  *hit = g->top.hit;
  g->top.hit = NULL;
  g->top.n = g->top.n_cap = 0;
}

/* ---- One query ---------------------------------------------------------- */

static int group_load(void *arg, uint32_t i_group, const unsigned char **base){
  struct graph_loader *l = arg;
  int rc = vdb_graph_hold(l->g->c, l->s, i_group);
  if( rc==VECDB_OK ) *base = l->s->base[i_group];
  return rc;
}

int vdb_gsearch_begin_walk(struct gsearch *g, struct graph_seg *s,
                           struct graph_loader *l,
                           struct vdb_graph_blocks *b){
  l->g = g;
  l->s = s;
  b->load = group_load;
  b->arg = l;
  return s->searcher!=NULL ? VECDB_OK
                           : vdb_graph_searcher_create(s->g, &s->searcher);
}

/* Candidates of one graph, with more and more effort. *is_short: still too few.
** `hit` has room for what it is asked for. */
static int graph_ask(struct gsearch *g, struct graph_seg *s, const float *vec,
                     struct vdb_graph_hit *hit, float *limit, bool *is_short){
  struct graph_loader l;
  struct vdb_graph_search p = { vdb_gsearch_k(g, s), g->plan->ef,
                                g->plan->stop };
  struct vdb_graph_stats stats = { .n_hop = 0 };
  struct vdb_graph_within in;
  struct vdb_graph_blocks b;
  bool is_limited;
  uint32_t n = 0;
  int rc = VECDB_OK;

  if( g->plan->is_coded ){
    return vdb_gsearch_rank(g, s, vec, is_short);
  }
  vdb_gsearch_blocks(g, s, &b);
  TRY( vdb_gsearch_begin_walk(g, s, &l, &b) );
  TRY( vdb_gsearch_within(g, s, &in, &b) );
  is_limited = *limit<__builtin_inff() && vdb_gsearch_has_limit(g, s);
  if( is_limited ) b.limit = limit;
  for(int i=0; ; i++){
    rc = vdb_graph_knn(s->searcher, &b, vec, &p, hit, &n, &stats);
    TRY( rc==VECDB_CORRUPT_INDEX ? vdb_graph_rc(g->c, rc) : rc );
    g->ss->n_distance += stats.n_distance;
    vdb_search_note_walk(g->ss, &stats);
    n = vdb_gsearch_finite(hit, n);
    if( g->plan->has_codes && b.within
     && (stats.gave_up || vdb_gsearch_is_short(g, s, n)) ){
      vdb_search_note_codes(g->ss);
      return vdb_gsearch_rank(g, s, vec, is_short);
    }
    *is_short = stats.gave_up
             || (!is_limited && vdb_gsearch_is_short(g, s, n));
    if( !*is_short ) break;
    if( b.within || i==EF_RETRIES || p.ef>=VDB_GRAPH_EF_MAX/2 ) return VECDB_OK;
    p.ef *= 2;
    p.stop = -1;
  }
  vdb_gsearch_limit(g, s, hit, n, limit);
  TRY( vdb_gsearch_offer(g, s, hit, n) );
  TRY( vdb_gsearch_offer_side(g, s) );
done:
  return rc;
}

/* All graphs of the column. */
static int graphs_ask(struct gsearch *g, const float *vec, bool *is_short){
  struct graph_list *list = &g->c->graphs->list[g->v];
  size_t n = vdb_gsearch_k_max(g);
  struct vdb_graph_hit few[HITS_FEW], *hit = few;
  float limit = __builtin_inff();
  int rc = VECDB_OK;

  *is_short = false;
  if( n>HITS_FEW ) hit = vdb_malloc_array(n, sizeof(*hit));
  if( hit==NULL ) return VECDB_NOMEM;
  for(size_t i=0; i<list->n && !*is_short; i++){
    TRY( graph_ask(g, &list->seg[i], vec, hit, &limit, is_short) );
  }
done:
  if( hit!=few ) vdb_free(hit);
  return rc;
}

/* The exact answer over what no graph covers; `hit` is scratch. */
static int rest_ask(struct gsearch *g, const void *query, struct vdb_hit *hit){
  struct search_watch w;
  struct flat_search rest;
  size_t n_rest = 0;
  int rc = VECDB_OK;

  if( g->r->n_run==0 ) return VECDB_OK;
  vdb_search_setup(g->ss, g->c, g->r, g->q, &w, &rest);
  TRY( vdb_flat_knn(&rest, query, g->k, hit, &n_rest) );
  TRY( vdb_gsearch_offer_hits(g, hit, n_rest) );
  for(size_t i=0; i<g->r->n_run; i++) g->ss->n_distance += g->r->run[i].n_rows;
done:
  return rc;
}

int vdb_graphs_search(struct session *ss, struct coll *c,
                      const struct coll_runs *r,
                      const struct search_request *q,
                      const struct graph_plan *plan, const void *query,
                      struct vdb_hit *hit, size_t *n_hit){
  _Alignas(64) float small[DIMS_FEW];
  struct gsearch g;
  float *vec = small;
  bool is_short;
  int rc;

  *n_hit = 0;
  TRY( vdb_gsearch_begin(&g, ss, c, r, q, plan) );
  if( vdb_graph_dims(c, g.v)>DIMS_FEW ){
    vec = vdb_malloc_aligned(vdb_graph_dims(c, g.v)*sizeof(*vec));
    if( vec==NULL ) TRY( VECDB_NOMEM );
  }
  if( !vdb_graph_vec(c, g.v, query, 0, true, vec) ) goto done;
  TRY( vdb_gsearch_query(&g, query) );
  TRY( graphs_ask(&g, vec, &is_short) );
  if( is_short ) goto done;
  TRY( rest_ask(&g, query, hit) );
  vdb_gsearch_take(&g, hit, n_hit);
done:
  vdb_gsearch_end(&g);
  if( vec!=small ) vdb_free_aligned(vec);
  return rc;
}
