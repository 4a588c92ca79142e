/* graph_purge.c -- rows that do not live leave an index.
**
** A node of several rows (a chain) stays while one of them lives. A node that
** goes is bypassed: every node with an edge to it chooses new neighbours among
** those it has left and the neighbours of those it lost, as a build does. Then
** the blocks of dead nodes are empty, and no block names them.
**
** Nodes that only dead ones led to are connected by the repair that ends every
** insertion (graph_fix.c).
*/
#include "index/graph_build_int.h"
#include "util/mem.h"
#include "util/pool.h"

#define TASK_ROWS   16
#define MEND_MORE   3           /* times n_lanes: candidates of lost ones */

bool vdb_graph_row_lives(const struct graph_builder *b, uint32_t row){
  const struct vdb_graph_prior *old = b->insert->old;
  return old->live==NULL || (row<old->n_row && vdb_bit_get(old->live, row));
}

struct purge {
  struct graph_builder *b;
  uint64_t *is_dead;            /* nodes that go, bitmap by slot */
  uint32_t *mend;               /* nodes with edges to them */
  uint32_t n_dead, n_mend;
};

/* ---- Chains -------------------------------------------------------------- */

/* Keep the rows of a node that live; *is_dead if none does. */
static int chain_purge(struct graph_builder *b, uint32_t head, bool *is_dead){
  struct graph_row *row = NULL;
  uint32_t n, m = 0;
  int rc;
  TRY( vdb_graph_chain_rows(b, head, &row, &n) );
  for(uint32_t i=0; i<n; i++){
    if( vdb_graph_row_lives(b, row[i].row) ) row[m++] = row[i];
  }
  *is_dead = m==0;
  /* The block of a node without rows is wanted for its edges yet. */
  if( m<n && (m>0 || n>1) ){
    TRY( vdb_graph_chain_set(b, head, row, m>0 ? m : 1, NULL) );
  }
done:
  vdb_free(row);
  return rc;
}

static int chains_purge(struct purge *p){
  struct graph_builder *b = p->b;
  int rc = VECDB_OK;
  for(uint32_t s=0; s<b->n; s++){
    bool is_dead = false;
    if( !vdb_bit_get(b->insert->is_node, s) ) continue;
    if( get_u32(build_block(b, s)+GRAPHBLOCK_DUP)!=SLOT_NONE ){
      TRY( chain_purge(b, s, &is_dead) );
    }else{
      uint32_t row = get_u32(build_block(b, s)+GRAPHBLOCK_ROW);
      is_dead = !vdb_graph_row_lives(b, row);
    }
    if( !is_dead ) continue;
    vdb_bit_set(p->is_dead, s);
    p->n_dead++;
  }
done:
  return rc;
}

/* ---- Edges --------------------------------------------------------------- */

static void mend_find(struct purge *p){
  struct graph_builder *b = p->b;
  for(uint32_t s=0; s<b->n; s++){
    uint32_t n, i = 0;
    if( !vdb_bit_get(b->insert->is_node, s) || vdb_bit_get(p->is_dead, s) ){
      continue;
    }
    n = build_degree(b, s);
    while( i<n && !vdb_bit_get(p->is_dead,
                               graph_nbr(b->g, build_block(b, s), i)) ) i++;
    if( i==n ) continue;
    p->mend[p->n_mend++] = s;
    vdb_graph_own(b, s);
  }
}

/* Candidates of `slot`: neighbours it has left. Returns how many are lost. */
static uint32_t mend_left(const struct purge *p, struct build_worker *w,
                          uint32_t slot, uint32_t *lost){
  const struct graph_builder *b = p->b;
  uint32_t n = build_degree(b, slot), n_lost = 0;
  w->n_cand = 0;
  for(uint32_t i=0; i<n; i++){
    uint32_t nbr = graph_nbr(b->g, build_block(b, slot), i);
    if( vdb_bit_get(p->is_dead, nbr) ){
      lost[n_lost++] = nbr;
    }else{
      w->cand[w->n_cand].slot = nbr;
      w->cand[w->n_cand++].d2 = build_edge_d2(b, slot)[i];
    }
  }
  return n_lost;
}

static bool cand_has(const struct build_worker *w, uint32_t slot){
  for(uint32_t i=0; i<w->n_cand; i++) if( w->cand[i].slot==slot ) return true;
  return false;
}

/* .. and the neighbours of those that it lost. */
static void mend_more(const struct purge *p, struct build_worker *w,
                      uint32_t slot, const uint32_t *lost, uint32_t n_lost){
  const struct graph_builder *b = p->b;
  uint32_t most = w->n_cand + MEND_MORE*b->n_lanes;
  struct graph_query *q = &w->walk[0].q;
  vdb_graph_query_block(b->g, build_block(b, slot), q);
  for(uint32_t i=0; i<n_lost; i++){
    const unsigned char *block = build_block(b, lost[i]);
    uint32_t n = build_degree(b, lost[i]);
    for(uint32_t j=0; j<n && w->n_cand<most; j++){
      uint32_t nbr = graph_nbr(b->g, block, j);
      if( nbr==slot || vdb_bit_get(p->is_dead, nbr) || cand_has(w, nbr) ){
        continue;
      }
      w->cand[w->n_cand].slot = nbr;
      w->cand[w->n_cand++].d2 = vdb_graph_d2(b->g, q, build_block(b, nbr));
    }
  }
}

/* Blocks of dead nodes are read, those of other live ones but for the vector
** are not: tasks do not meet (B1). */
static int mend_task(void *arg, size_t i_task, unsigned worker){
  const struct purge *p = arg;
  const struct graph_builder *b = p->b;
  struct build_worker *w = &b->worker[worker];
  uint32_t lo = (uint32_t)i_task*TASK_ROWS, lost[GRAPH_LANES_MAX];
  uint32_t hi = p->n_mend-lo<TASK_ROWS ? p->n_mend : lo+TASK_ROWS;
  for(uint32_t i=lo; i<hi; i++){
    uint32_t slot = p->mend[i], n;
    vdb_graph_measure(b, w, slot);
    n = mend_left(p, w, slot, lost);
    build_wear(b, slot, n);
    mend_more(p, w, slot, lost, n);
    vdb_graph_cand_sort(w);
    n = vdb_graph_prune(b, w, b->n_lanes);
    n = vdb_graph_refill(b, w, n);
    vdb_graph_set_lanes(b, w, slot, w->list, n);
  }
  return VECDB_OK;
}

/* ---- The whole ----------------------------------------------------------- */

int vdb_graph_purge(struct graph_builder *b){
  struct purge p = { .b = b };
  uint32_t n_node = 0;
  int rc = VECDB_OK;
  p.is_dead = vdb_calloc(vdb_bitset_words(b->n)+1, sizeof(uint64_t));
  p.mend = vdb_malloc_array((size_t)b->n+1, sizeof(*p.mend));
  if( p.is_dead==NULL || p.mend==NULL ) TRY( VECDB_NOMEM );
  for(uint32_t s=0; s<b->n; s++) n_node += vdb_bit_get(b->insert->is_node, s);
  TRY( chains_purge(&p) );
  if( p.n_dead==n_node ) TRY( VECDB_MISMATCH );
  if( p.n_dead==0 ) goto done;
  mend_find(&p);
  TRY( vdb_pool_run(b->n_thread, (p.n_mend + TASK_ROWS-1)/TASK_ROWS,
                    mend_task, &p) );
  for(uint32_t i=0; i<p.n_mend; i++){
    vdb_bit_set(b->insert->is_measured, p.mend[i]);
  }
  for(uint32_t s=0; s<b->n; s++){
    if( vdb_bit_get(p.is_dead, s) ) vdb_graph_block_empty(b, s);
  }
done:
  vdb_free(p.is_dead);
  vdb_free(p.mend);
  return rc;
}
