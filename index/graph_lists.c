/* graph_lists.c -- a build whose candidates are lists of exact neighbours.
**
** Whoever has a fast exact search (a GPU) gives every node its nearest other
** nodes; these stand in for what pass 2 of graph_build.c finds by searching, and
** pass 1 is left out. All that follows, pruning, edges back, filling,
** connecting, the router and the measurements, is the same code.
**
** Lists hold LIST_PER_LANE neighbours per lane, in 48..128: of 20,000
** photo descriptors, found by searches with ef = 16 and 32: with 64 neighbours
** 0.942 and 0.981, with 128 0.946 and 0.982, as many as after inserting (0.947,
** 0.984). They are exact, since inexact lists spoil a graph. Well separated
** clusters leave it in many components; graph_fix.c connects them.
**
** The bytes depend on the lists, that is on the rows alone: exact neighbours
** by (distance, slot) are the same whoever computes them.
*/
#include "index/graph_build_int.h"
#include "util/mem.h"

#define LIST_PER_LANE  4
#define LIST_MIN  48u
#define LIST_MOST 128u

static int lists_fetch(void *arg, uint32_t i, float *vec){
  const struct graph_builder *b = arg;
  return b->src->fetch(b->src->arg, b->origin[i], vec);
}

static int lists_progress(void *arg, double done){
  struct graph_builder *b = arg;
  return vdb_graph_progress(b, done*b->n_nodes - b->done);
}

int vdb_graph_lists_load(struct graph_builder *b){
  struct vdb_graph_rows rows = { b->n_nodes, b->g->d, lists_fetch,
                                 lists_progress, b };
  const struct vdb_graph_lister *l = b->opts->lister;
  uint32_t k = LIST_PER_LANE*b->n_lanes;
  int rc = VECDB_OK;
  if( l==NULL ) return VECDB_OK;
  k = k<LIST_MIN ? LIST_MIN : k>LIST_MOST ? LIST_MOST : k;
  if( k>b->n_nodes-1 ) k = b->n_nodes-1;
  b->n_near = k;
  b->near = vdb_malloc_array((size_t)b->n_nodes*k+1, sizeof(*b->near));
  if( b->near==NULL ) return VECDB_NOMEM;
  if( k>0 ) TRY( l->lists(l->arg, &rows, k, b->near) );
  for(size_t i=0; i<(size_t)b->n_nodes*k; i++){
    if( b->near[i]>=b->n_nodes && b->near[i]!=SLOT_NONE ) rc = VECDB_INTERNAL;
  }
done:
  return rc;
}

void vdb_graph_cand_listed(const struct graph_builder *b,
                           struct build_worker *w, uint32_t slot){
  const uint32_t *near = b->near + (size_t)slot*b->n_near;
  struct graph_walk *k = &w->walk[0];
  vdb_graph_query_block(b->g, build_block(b, slot), &k->q);
  w->n_cand = 0;
  for(uint32_t i=0; i<b->n_near && near[i]!=SLOT_NONE; i++){
    if( near[i]==slot ) continue;
    w->cand[w->n_cand].slot = near[i];
    w->cand[w->n_cand++].d2 = vdb_graph_d2(b->g, &k->q,
                                           build_block(b, near[i]));
  }
}
