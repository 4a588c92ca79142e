/* graph_link.c -- a build whose edges are chosen elsewhere.
**
** Whoever has a fast exact search (a GPU) finds every node's nearest other
** nodes and chooses edges among them (gpu/edges.h); that takes the place of the
** passes of graph_build.c, of edges back and of filling. Here the edges are
** checked and become lanes; what follows, connecting, the router, the
** measurements, is the same code for all builds.
**
** Lists hold LIST_PER_LANE neighbours per lane, at most 128. They are exact,
** since inexact lists spoil a graph. Well separated clusters leave it in many
** components; graph_fix.c connects them.
**
** The bytes depend on the edges, that is on the rows alone: they are the same
** whoever computes them.
*/
#include <math.h>

#include "index/graph_build_int.h"
#include "util/mem.h"
#include "util/pool.h"

#define LIST_PER_LANE  4
#define LINK_ROWS 64u            /* nodes per task */

static int link_fetch(void *arg, uint32_t i, float *vec){
  const struct graph_builder *b = arg;
  return b->src->fetch(b->src->arg, b->origin[i], vec);
}

static int link_progress(void *arg, double done){
  struct graph_builder *b = arg;
  return vdb_graph_progress(b, 3*done*b->n_nodes - b->done);
}

struct link_work { struct graph_builder *b; const uint32_t *edge; };

/* The lanes of one node. What came from elsewhere is not trusted. */
static int node_link(struct graph_builder *b, struct build_worker *w,
                     uint32_t slot, const uint32_t *edge){
  struct graph_query *q = &w->walk[0].q;
  uint32_t n = 0;
  vdb_graph_query_block(b->g, build_block(b, slot), q);
  for(; n<b->n_lanes && edge[n]!=SLOT_NONE; n++){
    if( edge[n]>=b->n_nodes || edge[n]==slot ) return VECDB_INTERNAL;
    for(uint32_t i=0; i<n; i++) if( edge[i]==edge[n] ) return VECDB_INTERNAL;
    w->list[n].slot = edge[n];
    w->list[n].d2 = vdb_graph_d2(b->g, q, build_block(b, edge[n]));
  }
  vdb_graph_near_sort(w->list, n);
  vdb_graph_set_lanes(b, w, slot, w->list, n);
  return VECDB_OK;
}

static int link_task(void *arg, size_t i_task, unsigned worker){
  const struct link_work *k = arg;
  struct graph_builder *b = k->b;
  uint32_t lo = (uint32_t)i_task*LINK_ROWS;
  uint32_t hi = b->n_nodes-lo<LINK_ROWS ? b->n_nodes : lo+LINK_ROWS;
  int rc = VECDB_OK;
  for(uint32_t s=lo; s<hi; s++){
    TRY( node_link(b, &b->worker[worker], s,
                   k->edge + (size_t)s*b->n_lanes) );
  }
done:
  return rc;
}

int vdb_graph_link(struct graph_builder *b){
  struct vdb_graph_rows rows = { b->n_nodes, b->g->d, link_fetch,
                                 link_progress, b };
  const struct vdb_graph_linker *l = b->opts->linker;
  struct vdb_graph_linking how = { LIST_PER_LANE*b->n_lanes, b->n_lanes,
                                   BUILD_SPARE, b->g->router.n, b->alpha2 };
  uint32_t *edge = NULL, n_task;
  struct link_work k;
  int rc = VECDB_OK;
  if( b->n_nodes<2 ) return VECDB_OK;
  if( how.list>RULES_LIST_MAX ) how.list = RULES_LIST_MAX;
  if( how.list>b->n_nodes-1 ) how.list = b->n_nodes-1;
  edge = vdb_malloc_array((size_t)b->n_nodes*b->n_lanes, sizeof(*edge));
  if( edge==NULL ) return VECDB_NOMEM;
  TRY( l->edges(l->arg, &rows, &how, edge) );
  k.b = b;
  k.edge = edge;
  n_task = (b->n_nodes + LINK_ROWS-1)/LINK_ROWS;
  TRY( vdb_pool_run(b->n_thread, n_task, link_task, &k) );
  TRY( vdb_graph_progress(b, 4.0*b->n_nodes - b->done) );
done:
  vdb_free(edge);
  return rc;
}
