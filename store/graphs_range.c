/* graphs_range.c -- all rows within a distance, by graphs.
**
** Only where the caller says how much of the answer he wants (ef or recall):
** graphs find nearly all rows, never with a proof (index/graph_range.c). What no
** graph covers, and the side lists, are compared as in every search, and every
** row that comes is inside by the distance that users see.
**
** RADIUS  in the index's space: l2: squared; cosine: unit vectors q and x have
**   square distance 2*(1 - <q,x>); hamming, jaccard: the distance itself; ip: [q,0] and [x,pad] have |q|^2 + M^2 - 2<q,x>,
**   distances being -<q,x>. A little more is asked for, as these are rounded.
** COST    A walk that reads as many blocks as cost 0.4 times what comparing all
**   rows does is given up (store/plan.c), and so is one of a query or radius that
**   has no place in the index's space: then all rows are compared.
*/
#include "util/common.h"
#include "store/graphs_int.h"

#include <math.h>

#define SZ_RANGE_MAX     ((size_t)64<<20)   /* of what a walk keeps */
#define ROUND_UNIT       4e-6           /* unit vectors: errors of squares, .. */
#define ROUND_SHARE      4e-6           /* .. and of sums, as a share of them */
#define DIMS_FEW         1024           /* no memory is asked for below */

bool vdb_search_range_wish(const struct search_request *q){
  return q->k==0 && q->window!=NULL && q->window->max<__builtin_inff()
      && !q->wish.exact && (q->wish.ef>0 || q->wish.recall>0);
}

/* The square of the window's far side in the space of a graph, for a query of
** this square norm; negative: nothing can be that near. */
static double radius2(const struct gsearch *g, const struct graph_seg *s,
                      double query2){
  const struct schema_column *col = &g->c->schema->col[g->q->column];
  double max = g->q->window->max, m2 = (double)s->norm_max*s->norm_max;

  if( col->metric==VECDB_L2 ){
    return max<0 ? -1 : max*max*(1 + ROUND_SHARE);
  }
  if( col->element==VECDB_BIT ) return max;
  if( col->metric==VECDB_COSINE ) return 2*max + ROUND_UNIT;
  return query2 + m2 + 2*max + ROUND_SHARE*(query2 + m2);
}

/* The rows of one graph; *is_over: not all were looked for. */
static int range_ask(struct gsearch *g, struct graph_seg *s, const float *vec,
                     double query2, struct vdb_graph_found *f, bool *is_over){
  double d2 = radius2(g, s, query2);
  struct vdb_graph_range p = { 0, g->plan->ef, g->plan->stop,
                               g->plan->sigmas, g->plan->n_hop_exact,
                               SZ_RANGE_MAX };
  struct graph_loader l;
  struct vdb_graph_stats stats;
  struct vdb_graph_blocks b;
  int rc = VECDB_OK;

  TRY( vdb_gsearch_offer_side(g, s) );
  if( d2<0 ) return VECDB_OK;
  if( !(d2<3e38) ){
    *is_over = true;
    return VECDB_OK;
  }
  p.d2 = (float)d2;
  vdb_gsearch_blocks(g, s, &b);
  TRY( vdb_gsearch_begin_walk(g, s, &l, &b) );
  rc = vdb_graph_within_distance(s->searcher, &b, vec, &p, f, &stats);
  TRY( rc==VECDB_CORRUPT_INDEX ? vdb_graph_rc(g->c, rc) : rc );
  g->ss->n_distance += stats.n_distance;
  g->ss->last.n_block += stats.n_hop;
  if( f->gave_up ){
    *is_over = true;
    return VECDB_OK;
  }
  TRY( vdb_gsearch_offer_all(g, s, f->hit, f->n) );
done:
  return rc;
}

/* The exact answer over what no graph covers. */
static int range_rest(struct gsearch *g, const void *query){
  struct search_watch w;
  struct flat_search rest;
  struct vdb_hit *hit = NULL;
  size_t n = 0;
  int rc = VECDB_OK;

  if( g->r->n_run==0 ) return VECDB_OK;
  vdb_search_setup(g->ss, g->c, g->r, g->q, &w, &rest);
  TRY( vdb_flat_range(&rest, query, &hit, &n) );
  TRY( vdb_gsearch_offer_hits(g, hit, n) );
  for(size_t i=0; i<g->r->n_run; i++) g->ss->n_distance += g->r->run[i].n_rows;
done:
  vdb_free(hit);
  return rc;
}

int vdb_graphs_range(struct session *ss, struct coll *c,
                     const struct coll_runs *r, const struct search_request *q,
                     const struct graph_plan *plan, const void *query,
                     struct vdb_hit **hit, size_t *n_hit, bool *used){
  _Alignas(64) float small[DIMS_FEW];
  struct vdb_graph_found f = { 0 };
  struct graph_list *list;
  struct gsearch g;
  float *vec = small;
  uint32_t d;
  double query2;
  bool is_over = false;
  int rc;

  *hit = NULL;
  *n_hit = 0;
  *used = false;
  TRY( vdb_gsearch_begin(&g, ss, c, r, q, plan) );
  list = &c->graphs->list[g.v];
  d = vdb_graph_dims(c, g.v);
  if( d>DIMS_FEW ){
    vec = vdb_malloc_aligned(d*sizeof(*vec));
    if( vec==NULL ) TRY( VECDB_NOMEM );
  }
  if( !vdb_graph_vec(c, g.v, query, 0, true, vec) ) goto done;
  query2 = vdb_norm2(VECDB_F32, vec, d);
  TRY( vdb_gsearch_query(&g, query) );
  for(size_t i=0; i<list->n && !is_over; i++){
    TRY( range_ask(&g, &list->seg[i], vec, query2, &f, &is_over) );
  }
  if( is_over ) goto done;
  TRY( range_rest(&g, query) );
  vdb_gsearch_take_all(&g, hit, n_hit);
  *used = true;
done:
  vdb_free(f.hit);
  vdb_gsearch_end(&g);
  if( vec!=small ) vdb_free_aligned(vec);
  return rc;
}
