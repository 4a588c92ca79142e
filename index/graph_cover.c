/* graph_cover.c -- the router leads to every cluster.
**
** A node that can be reached is not yet found: where clusters are far apart,
** hardly an edge leads from one to another, and a walk that begins in the wrong
** one ends there. So nodes are searched for by their own vectors. One is *lost*
** if what such a search finds is farther away than the node's own neighbours by
** far. (In sets without such clusters no node is, though many are missed.)
**
** Nodes that are lost become entries of the router, and so lead to whatever is
** in their clusters with them. The codes of entries, which are relative to the
** centre of all rows, may not tell the nearest cluster from the next: if many
** nodes are lost, or one that is an entry, walks begin from then on at the
** nearest of GRAPH_SEEDS_FAR entries by true distances.
**
** A part of the nodes is looked at first, which shows any cluster of some twenty.
** An insertion looks at new nodes and those that lost neighbours, and at one in
** INSERT_STEP of the others, each time other ones: that repair leaves no node
** unreachable holds for all of them (graph_fix.c), and to look at all whose
** lists changed took a fifth of the time of insertions.
*/
#include <math.h>

#include "index/graph_build_int.h"
#include "util/mem.h"
#include "util/pool.h"
#include "util/rng.h"

#define TASK_ROWS   16
#define FIND_EF     16
#define BATCH       1024        /* nodes looked at with one router */
#define SAMPLE_ALL  16384u      /* more in a build: one in SAMPLE_STEP first */
#define SAMPLE_STEP 4
#define INSERT_STEP 16          /* .. beside the nodes that are named */
#define NEAR_LANES  4           /* the neighbour whose distance is compared */
#define LOST_FAR    4.0f        /* square of "by far" */
#define LOST_MANY   256         /* one in so many */
#define ENTRIES_MAX 16384u

struct cover {
  struct graph_builder *b;
  uint32_t *slot;               /* nodes to look at */
  uint32_t n, lo, hi;           /* .. and those of the step at hand */
  bool *is_lost;                /* by lo.. */
};

/* Square distance of the NEAR_LANES-th nearest of a node's neighbours. */
static float neighbour_d2(const struct graph_builder *b,
                          const struct graph_query *q, uint32_t slot){
  float near[NEAR_LANES];
  uint32_t n = build_degree(b, slot), m = 0;
  for(uint32_t i=0; i<n; i++){
    uint32_t nbr = graph_nbr(b->g, build_block(b, slot), i), j;
    float d2 = vdb_graph_d2(b->g, q, build_block(b, nbr));
    if( m==NEAR_LANES && !(d2<near[m-1]) ) continue;
    j = m<NEAR_LANES ? m++ : m-1;
    for(; j>0 && near[j-1]>d2; j--) near[j] = near[j-1];
    near[j] = d2;
  }
  return m ? near[m-1] : INFINITY;
}

static bool walk_lost(const struct graph_builder *b,
                      const struct graph_walk *k, uint32_t slot){
  float d2 = INFINITY;
  if( k->n_hit>0 ){
    d2 = k->hit[0].d2;
    if( !(d2>0) || k->hit[0].slot==slot ) return false;
  }
  return d2>LOST_FAR*neighbour_d2(b, &k->q, slot);
}

static int cover_task(void *arg, size_t i_task, unsigned worker){
  struct cover *c = arg;
  struct build_worker *w = &c->b->worker[worker];
  uint32_t lo = c->lo + (uint32_t)i_task*TASK_ROWS;
  uint32_t hi = c->hi-lo<TASK_ROWS ? c->hi : lo+TASK_ROWS;
  int rc = VECDB_OK;
  for(uint32_t i=lo; i<hi; i+=WALKS){
    unsigned n = hi-i<WALKS ? hi-i : WALKS;
    TRY( vdb_graph_find(c->b, w, c->slot+i, n, FIND_EF) );
    for(unsigned j=0; j<n; j++){
      c->is_lost[i-c->lo+j] = walk_lost(c->b, &w->walk[j], c->slot[i+j]);
    }
  }
done:
  return rc;
}

/* The nodes lo..hi-1 of the list; *n_lost of them are. */
static int cover_look(struct cover *c, uint32_t lo, uint32_t *n_lost){
  int rc = VECDB_OK;
  c->lo = lo;
  c->hi = c->n-lo<BATCH ? c->n : lo+BATCH;
  TRY( vdb_pool_run(c->b->n_thread, (c->hi-lo + TASK_ROWS-1)/TASK_ROWS,
                    cover_task, c) );
  for(uint32_t i=0; i<c->hi-lo; i++) *n_lost += c->is_lost[i];
done:
  return rc;
}

static int node_look(struct cover *c, uint32_t slot, bool *is_lost){
  struct build_worker *w = &c->b->worker[0];
  int rc = vdb_graph_find(c->b, w, &slot, 1, FIND_EF);
  *is_lost = rc==VECDB_OK && walk_lost(c->b, &w->walk[0], slot);
  return rc;
}

static void seeds_raise(struct graph_builder *b){
  uint32_t *n = &b->g->router.n_seed;
  if( *n<GRAPH_SEEDS_FAR ) *n = GRAPH_SEEDS_FAR;
}

/* Those of the batch that were lost, one after the other: what became an entry
** may show the way to the next. */
static int cover_batch(struct cover *c){
  struct graph_builder *b = c->b;
  int rc = VECDB_OK;
  for(uint32_t i=c->lo; i<c->hi; i++){
    bool is_lost;
    if( !c->is_lost[i-c->lo] || b->g->router.n>=ENTRIES_MAX ) continue;
    TRY( node_look(c, c->slot[i], &is_lost) );
    if( !is_lost ) continue;
    TRY( vdb_graph_router_add(b, c->slot[i]) );
    TRY( node_look(c, c->slot[i], &is_lost) );
    if( is_lost ) seeds_raise(b);
  }
done:
  return rc;
}

/* Is a node to be looked at first? Others are, from one insertion to the next,
** as the number of changes before it says. */
static bool node_is_first(const struct graph_builder *b, uint32_t slot,
                          const uint64_t *also){
  if( also==NULL ) return slot%SAMPLE_STEP==0 || b->n_nodes<=SAMPLE_ALL;
  return vdb_bit_get(also, slot)
      || (slot + vdb_mix64(b->g->n_changed))%INSERT_STEP==0;
}

static void nodes_list(struct cover *c, bool is_all, const uint64_t *also){
  const struct graph_builder *b = c->b;
  c->n = 0;
  for(uint32_t s=0; s<b->n_nodes; s++){
    if( build_is_node(b, s) && build_degree(b, s)>0
     && (is_all || node_is_first(b, s, also)) ) c->slot[c->n++] = s;
  }
}

int vdb_graph_cover(struct graph_builder *b, const uint64_t *also){
  struct cover c = { .b = b };
  uint32_t n_lost = 0;
  int rc = VECDB_OK;
  c.slot = vdb_malloc_array((size_t)b->n_nodes+1, sizeof(*c.slot));
  c.is_lost = vdb_malloc_array(BATCH, sizeof(*c.is_lost));
  if( c.slot==NULL || c.is_lost==NULL ) TRY( VECDB_NOMEM );
  nodes_list(&c, false, also);
  for(uint32_t i=0; i<c.n; i+=BATCH) TRY( cover_look(&c, i, &n_lost) );
  if( n_lost==0 ) goto done;
  if( n_lost>c.n/LOST_MANY ) seeds_raise(b);
  nodes_list(&c, true, also);
  for(uint32_t i=0; i<c.n; i+=BATCH){
    TRY( cover_look(&c, i, &n_lost) );
    TRY( cover_batch(&c) );
  }
done:
  vdb_free(c.slot);
  vdb_free(c.is_lost);
  return rc;
}
