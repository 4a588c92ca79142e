/* graph_knn.c -- searches for callers: one query, many, all within a distance.
**
** MANY      Four walks go on in turn, each waiting for memory while the others
**           work. What can be done for several queries at once is done ahead:
**           their projection, whose matrix is larger than the first-level
**           cache, and the scan of the router. Then walks take them over, one
**           by one. Results are those of single searches, bit for bit.
*/
#include "index/graph_int.h"
#include "simd/simd.h"
#include "util/mem.h"

#define BEYOND_FACTOR 1.21f     /* of the limit: what estimates are trusted */

/* ---- The searcher -------------------------------------------------------- */

struct vdb_graph_searcher {
  const struct vdb_graph *g;
  float *tmp;                   /* dims_nav */
  struct graph_ranking *ranking;/* NULL at first */
  struct graph_walk walk[WALKS];
  /* Of a batch: queries i_ready.. of it, made ready; buffers are there from
  ** the first one on. */
  struct graph_walk ready[GRAPH_TOGETHER];
  bool has_ready;
  size_t i_ready, n_ready;
};

int vdb_graph_searcher_create(const struct vdb_graph *g,
                              struct vdb_graph_searcher **out){
  struct vdb_graph_searcher *s = vdb_calloc(1, sizeof(*s));
  int rc = VECDB_OK;
  *out = NULL;
  if( s==NULL ) return VECDB_NOMEM;
  s->g = g;
  s->tmp = vdb_malloc_aligned(g->dims_nav*sizeof(float));
  if( s->tmp==NULL ) TRY( VECDB_NOMEM );
  for(int i=0; i<WALKS; i++) TRY( vdb_graph_walk_init(&s->walk[i], g) );
  *out = s;
  s = NULL;
done:
  vdb_graph_searcher_destroy(s);
  return rc;
}

void vdb_graph_searcher_destroy(struct vdb_graph_searcher *s){
  if( s==NULL ) return;
  vdb_free_aligned(s->tmp);
  vdb_graph_ranking_destroy(s->ranking);
  for(int i=0; i<WALKS; i++) vdb_graph_walk_clear(&s->walk[i]);
  for(int i=0; i<GRAPH_TOGETHER; i++) vdb_graph_walk_clear(&s->ready[i]);
  vdb_free(s);
}

/* ---- One query ----------------------------------------------------------- */

static int search_check(const struct vdb_graph *g,
                        const struct vdb_graph_blocks *b,
                        const struct vdb_graph_search *p){
  if( b->n_slots!=g->n_slots ) return VECDB_MISUSE;
  if( p->k<1 || p->k>VDB_GRAPH_EF_MAX || p->ef>VDB_GRAPH_EF_MAX ){
    return VECDB_RANGE;
  }
  if( b->within && !(b->within->share>0 && b->within->share<=1
                     && (b->filter || b->live)) ){
    return VECDB_MISUSE;
  }
  return VECDB_OK;
}

/* A query of floats against exact bytes was searched with rounded distances:
** compute those of the results, and sort again. */
static int results_exact(struct graph_walk *w, float *tmp){
  if( w->q.metric!=GQ_WIDE || w->g->nav!=VDB_NAV_BYTES ) return VECDB_OK;
  for(uint32_t i=0; i<w->n_hit; i++){
    struct vdb_graph_hit h = w->hit[i];
    const unsigned char *block = vdb_graph_walk_block(w, h.slot);
    uint32_t j = i;
    if( block==NULL ) return w->rc;
    h.d2 = vdb_graph_d2_exact(w->g, w->x, block, tmp);
    for(; j>0 && (w->hit[j-1].d2>h.d2
                  || (w->hit[j-1].d2==h.d2 && w->hit[j-1].key>h.key)); j--){
      w->hit[j] = w->hit[j-1];
    }
    w->hit[j] = h;
  }
  return VECDB_OK;
}

/* Results beyond k that a query needs before it is ranked exactly. */
static uint32_t search_spare(const struct graph_walk *w){
  return w->q.metric==GQ_WIDE && w->g->nav==VDB_NAV_BYTES ? 8 : 0;
}

/* The query has been set. */
static int query_begin(struct graph_walk *w, const struct vdb_graph_blocks *b,
                       const struct vdb_graph_search *p, size_t i_query){
  uint32_t ef = p->ef<p->k ? p->k : p->ef;
  int rc = vdb_graph_walk_begin(w, b, ef, p->k + search_spare(w), p->stop);
  if( b->limit ) w->limit = b->limit[i_query]*BEYOND_FACTOR;
  return rc;
}

static int query_end(struct vdb_graph_searcher *s, struct graph_walk *w,
                     const struct vdb_graph_search *p,
                     struct vdb_graph_hit *hit, uint32_t *n_hit){
  int rc = w->rc;
  *n_hit = 0;
  if( rc==VECDB_OK ) rc = results_exact(w, s->tmp);
  if( rc!=VECDB_OK ) return rc;
  *n_hit = w->n_hit<p->k ? w->n_hit : p->k;
  memcpy(hit, w->hit, *n_hit*sizeof(*hit));
  return VECDB_OK;
}

int vdb_graph_knn(struct vdb_graph_searcher *s,
                  const struct vdb_graph_blocks *b, const float *query,
                  const struct vdb_graph_search *p,
                  struct vdb_graph_hit *hit, uint32_t *n_hit,
                  struct vdb_graph_stats *stats){
  struct graph_walk *w = &s->walk[0];
  struct vdb_fpmode fp = vdb_fpmode_enter();
  int rc = VECDB_OK;
  *n_hit = 0;
  TRY( search_check(s->g, b, p) );
  if( s->g->n_slots==0 ) goto done;
  w->n_bridge = 0;
  w->is_far = w->gave_up = false;
  vdb_graph_walk_query(w, query);
  if( b->within ){
    TRY( vdb_graph_walk_within(w, b, p, p->k + search_spare(w)) );
  }else{
    TRY( query_begin(w, b, p, 0) );
    TRY( vdb_graph_walk_run(w) );
  }
  TRY( query_end(s, w, p, hit, n_hit) );
  if( stats ){
    stats->n_hop = w->n_hop;
    stats->n_distance = w->n_hop + w->n_distance;
    stats->n_bridge = w->n_bridge;
    stats->share = b->within ? w->share : 0;
    stats->is_far = w->is_far;
    stats->gave_up = w->gave_up;
  }
done:
  vdb_fpmode_leave(fp);
  return rc;
}

int vdb_graph_rank(struct vdb_graph_searcher *s,
                   const struct vdb_graph_codes *c, const float *query,
                   const uint64_t *filter, uint32_t k, float sigmas,
                   const struct vdb_graph_candidate **out, size_t *n){
  struct vdb_fpmode fp = vdb_fpmode_enter();
  int rc = VECDB_OK;
  *out = NULL;
  *n = 0;
  if( k<1 || k>VDB_GRAPH_EF_MAX ) TRY( VECDB_RANGE );
  if( s->ranking==NULL ) s->ranking = vdb_graph_ranking_create();
  if( s->ranking==NULL ) TRY( VECDB_NOMEM );
  vdb_graph_walk_query(&s->walk[0], query);
  TRY( vdb_graph_walk_rank(s->ranking, &s->walk[0], c, filter, k, sigmas) );
  *out = vdb_graph_ranked(s->ranking, n);
done:
  vdb_fpmode_leave(fp);
  return rc;
}

int vdb_graph_within_distance(struct vdb_graph_searcher *s,
                              const struct vdb_graph_blocks *b,
                              const float *query,
                              const struct vdb_graph_range *p,
                              struct vdb_graph_found *out,
                              struct vdb_graph_stats *stats){
  struct graph_walk *w = &s->walk[0];
  struct vdb_fpmode fp = vdb_fpmode_enter();
  int rc = VECDB_OK;
  out->n = 0;
  out->gave_up = false;
  memset(stats, 0, sizeof(*stats));
  if( b->n_slots!=s->g->n_slots ) TRY( VECDB_MISUSE );
  if( p->ef>VDB_GRAPH_EF_MAX || !(p->d2>=0) ) TRY( VECDB_RANGE );
  if( s->g->n_slots==0 ) goto done;
  vdb_graph_walk_query(w, query);
  TRY( vdb_graph_walk_range(w, b, p, s->tmp, out) );
  stats->n_hop = stats->n_distance = w->n_hop;
  stats->gave_up = out->gave_up;
done:
  vdb_fpmode_leave(fp);
  return rc;
}

/* ---- Many ---------------------------------------------------------------- */

static int ready_alloc(struct vdb_graph_searcher *s){
  int rc = VECDB_OK;
  s->n_ready = 0;
  for(int i=0; i<GRAPH_TOGETHER && !s->has_ready; i++){
    vdb_graph_walk_clear(&s->ready[i]);
    TRY( vdb_graph_walk_init(&s->ready[i], s->g) );
  }
  s->has_ready = true;
done:
  return rc;
}

/* The n queries at `query`, GRAPH_TOGETHER at most, become ready. */
static void queries_prepare(struct vdb_graph_searcher *s, const float *query,
                            size_t n){
  const struct vdb_graph *g = s->g;
  struct graph_to_code v[GRAPH_TOGETHER] = { { NULL, NULL, NULL, false } };
  struct graph_seeding q[GRAPH_TOGETHER];
  for(size_t i=0; i<n; i++){
    struct graph_walk *r = &s->ready[i];
    vdb_graph_to_nav(g, query + i*g->d, r->x);
    vdb_graph_query_vector(g, r->x, &r->q);
    v[i] = (struct graph_to_code){ r->x, r->xc, r->q.u,
                                   r->q.metric==GQ_BYTES };
    q[i] = (struct graph_seeding){ &r->code, r->xc, &r->seeds };
  }
  vdb_graph_vecs_to_code(g, v, n);
  for(size_t i=0; i<n; i++) g->simd->prepare(&s->ready[i].code, s->ready[i].xc);
  vdb_graph_router_scan(g, q, n);
}

#define SWAP(type, a, b)  do{ type t_ = (a); (a) = (b); (b) = t_; }while(0)

/* w takes over what was prepared; r gets its buffers. */
static void query_take(struct graph_walk *w, struct graph_walk *r){
  SWAP(struct graph_query, w->q, r->q);
  SWAP(struct vdb_code_query, w->code, r->code);
  SWAP(struct vdb_pool, w->seeds, r->seeds);
  SWAP(float*, w->x, r->x);
  SWAP(float*, w->xc, r->xc);
}

/* Query i of n to w, with its seeds. */
static void query_open(struct vdb_graph_searcher *s, struct graph_walk *w,
                       const float *query, size_t i, size_t n){
  if( s->n_ready==0 || i>=s->i_ready+s->n_ready ){
    s->i_ready = i;
    s->n_ready = n-i<GRAPH_TOGETHER ? n-i : GRAPH_TOGETHER;
    queries_prepare(s, query + i*s->g->d, s->n_ready);
  }
  query_take(w, &s->ready[i-s->i_ready]);
}

int vdb_graph_knn_many(struct vdb_graph_searcher *s,
                       const struct vdb_graph_blocks *b, const float *query,
                       size_t n, const struct vdb_graph_search *p,
                       struct vdb_graph_hit *hit, uint32_t *n_hit){
  struct vdb_fpmode fp = vdb_fpmode_enter();
  size_t i_query[WALKS], i_next = 0, n_open = 0;
  bool is_open[WALKS] = { false };
  int rc = VECDB_OK;

  memset(n_hit, 0, n*sizeof(*n_hit));
  TRY( search_check(s->g, b, p) );
  if( s->g->n_slots==0 ) goto done;
  for(size_t i=0; b->within && i<n; i++){
    TRY( vdb_graph_knn(s, b, query + i*s->g->d, p, hit + i*p->k, &n_hit[i],
                       NULL) );
  }
  if( b->within ) goto done;
  TRY( ready_alloc(s) );
  do{
    for(int i=0; i<WALKS; i++){
      struct graph_walk *w = &s->walk[i];
      if( is_open[i] ){
        if( vdb_graph_walk_step(w) ) continue;
      }else if( i_next<n ){
        i_query[i] = i_next++;
        query_open(s, w, query, i_query[i], n);
        TRY( query_begin(w, b, p, i_query[i]) );
        is_open[i] = true;
        n_open++;
        if( vdb_graph_walk_start(w) ) continue;
      }else{
        continue;
      }
      vdb_graph_walk_finish(w);
      TRY( query_end(s, w, p, hit + i_query[i]*p->k, &n_hit[i_query[i]]) );
      is_open[i] = false;
      n_open--;
    }
  }while( n_open>0 || i_next<n );
done:
  if( rc!=VECDB_OK ) memset(n_hit, 0, n*sizeof(*n_hit));
  vdb_fpmode_leave(fp);
  return rc;
}
