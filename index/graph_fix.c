/* graph_fix.c -- every node can be reached from the router.
**
** Edges are followed breadth first from all entries. While a node was not
** reached: the first such in build order is searched for; the nearest node
** that the search expanded, which therefore is reached, gets an edge to it in
** place of its longest one (never one that a repair added), and the node an
** edge back. What it leads to is reached now.
**
** An edge that was replaced may have been another node's only one, so the whole
** is repeated until nothing is found, at most REPAIR_ROUNDS times. Nodes that
** are unreached even then, as no node near them has a lane to spare, become
** entries of the router, which has room for more.
*/
#include "index/graph_build_int.h"
#include "util/bitset.h"
#include "util/mem.h"

#define REPAIR_ROUNDS  8
#define REPAIR_EF      128

struct reach {
  uint64_t *seen;               /* bitmap by slot */
  uint32_t *queue;
  uint32_t n_queue, i_queue;
};

static void reach_add(struct reach *r, uint32_t slot){
  if( vdb_bit_get(r->seen, slot) ) return;
  vdb_bit_set(r->seen, slot);
  r->queue[r->n_queue++] = slot;
}

static void reach_run(const struct graph_builder *b, struct reach *r){
  while( r->i_queue<r->n_queue ){
    uint32_t slot = r->queue[r->i_queue++], n = build_degree(b, slot);
    const unsigned char *block = build_block(b, slot);
    for(uint32_t i=0; i<n; i++) reach_add(r, graph_nbr(b->g, block, i));
  }
}

static void reach_begin(const struct graph_builder *b, struct reach *r){
  memset(r->seen, 0, vdb_bitset_words(b->n_nodes)*sizeof(uint64_t));
  r->n_queue = r->i_queue = 0;
  for(uint32_t i=0; i<b->g->router.n; i++) reach_add(r, b->g->router.slot[i]);
  reach_run(b, r);
}

/* An edge from `from` to `to` that later repairs keep. False if all lanes are
** taken by such. */
static bool edge_force(struct graph_builder *b, uint32_t from, uint32_t to,
                       float d2){
  struct graph_near e = { d2, to };
  unsigned char *block = build_block(b, from);
  uint32_t n = build_degree(b, from), lane = n;
  if( b->insert ){
    vdb_graph_own(b, from);
    block = build_block(b, from);
    vdb_graph_measure(b, &b->worker[0], from);
    vdb_bit_set(b->insert->is_measured, from);
  }
  for(uint32_t i=0; i<n; i++){
    if( graph_nbr(b->g, block, i)==to ){
      b->fixed[from] |= (uint64_t)1<<i;
      return true;
    }
  }
  if( n==b->n_lanes ){
    float most = -1;
    for(uint32_t i=0; i<n; i++){
      if( b->fixed[from]>>i & 1 || build_edge_d2(b, from)[i]<most ) continue;
      most = build_edge_d2(b, from)[i];
      lane = i;
    }
    if( lane==n ) return false;
  }else{
    put_u16(block+GRAPHBLOCK_DEGREE, (uint16_t)(n+1));
  }
  vdb_graph_set_lane(b, &b->worker[0], from, lane, e);
  b->fixed[from] |= (uint64_t)1<<lane;
  return true;
}

/* Connect one unreached node. False if nothing near it has a lane to spare. */
static int node_connect(struct graph_builder *b, uint32_t slot, bool *is_done){
  struct build_worker *w = &b->worker[0];
  struct graph_walk *k = &w->walk[0];
  int rc = VECDB_OK;
  *is_done = false;
  TRY( vdb_graph_find(b, w, &slot, 1, REPAIR_EF) );
  vdb_graph_near_sort(k->trace, k->n_trace);
  for(uint32_t i=0; i<k->n_trace && !*is_done; i++){
    struct graph_near a = k->trace[i];
    if( a.slot==slot ) continue;
    *is_done = edge_force(b, a.slot, slot, a.d2);
    if( *is_done ) (void)edge_force(b, slot, a.slot, a.d2);
  }
done:
  return rc;
}

static int repair_round(struct graph_builder *b, struct reach *r,
                        uint32_t *n_fixed){
  int rc = VECDB_OK;
  *n_fixed = 0;
  reach_begin(b, r);
  for(uint32_t s=0; s<b->n_nodes; s++){
    bool is_done;
    if( vdb_bit_get(r->seen, s) || !build_is_node(b, s) ) continue;
    TRY( node_connect(b, s, &is_done) );
    ++*n_fixed;
    reach_add(r, s);
    reach_run(b, r);
  }
done:
  return rc;
}

/* Of nodes that lead to each other one is enough. */
static int rest_enter(struct graph_builder *b, struct reach *r){
  int rc = VECDB_OK;
  reach_begin(b, r);
  for(uint32_t s=0; s<b->n_nodes; s++){
    if( vdb_bit_get(r->seen, s) || !build_is_node(b, s) ) continue;
    TRY( vdb_graph_router_add(b, s) );
    reach_add(r, s);
    reach_run(b, r);
  }
done:
  return rc;
}

int vdb_graph_repair(struct graph_builder *b){
  struct reach r = { 0 };
  uint32_t n_fixed = 1;
  int rc = VECDB_OK;
  r.seen = vdb_calloc(vdb_bitset_words(b->n_nodes), sizeof(uint64_t));
  r.queue = vdb_malloc_array(b->n_nodes, sizeof(*r.queue));
  if( r.seen==NULL || r.queue==NULL ) TRY( VECDB_NOMEM );
  for(int round=0; round<REPAIR_ROUNDS && n_fixed; round++){
    TRY( repair_round(b, &r, &n_fixed) );
  }
  if( n_fixed>0 ) TRY( rest_enter(b, &r) );
done:
  vdb_free(r.seen);
  vdb_free(r.queue);
  return rc;
}
