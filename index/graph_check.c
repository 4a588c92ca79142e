/* graph_check.c -- is every block well formed, every node reachable, every
** chain finite?
*/
#include "index/graph_int.h"
#include "util/bitset.h"
#include "util/mem.h"

struct graph_checker {
  const struct vdb_graph *g;
  const struct vdb_graph_blocks *b;
  struct vdb_graph_report *out;
  uint64_t *seen;               /* bitmap by slot: reached, or in a chain */
  uint16_t *flags;              /* by slot, of its block */
  uint32_t *queue, *degree_in;
  uint32_t n_queue;
};

static const unsigned char *checker_block(struct graph_checker *c,
                                          uint32_t slot){
  const struct vdb_graph *g = c->g;
  const unsigned char *p = c->b->base[slot >> g->shift];
  if( p==NULL && (c->b->load==NULL
      || c->b->load(c->b->arg, slot >> g->shift, &p)!=VECDB_OK) ) return NULL;
  return p ? p + (size_t)(slot & ((1u<<g->shift)-1))*g->stride : NULL;
}

static void checker_fault(struct graph_checker *c, uint32_t slot,
                          uint32_t *count){
  ++*count;
  if( c->out->slot_first==SLOT_NONE ) c->out->slot_first = slot;
}

static void checker_reach(struct graph_checker *c, uint32_t slot){
  if( vdb_bit_get(c->seen, slot) ) return;
  vdb_bit_set(c->seen, slot);
  c->queue[c->n_queue++] = slot;
}

/* The blocks, and their edges counted. */
static void check_blocks(struct graph_checker *c){
  const struct vdb_graph *g = c->g;
  for(uint32_t s=0; s<g->n_slots; s++){
    const unsigned char *block = checker_block(c, s);
    uint32_t n;
    if( block==NULL || !vdb_graph_block_ok(g, block, s) ){
      checker_fault(c, s, &c->out->n_bad_block);
      continue;
    }
    n = get_u16(block+GRAPHBLOCK_DEGREE);
    c->flags[s] = get_u16(block+GRAPHBLOCK_FLAGS);
    c->out->n_edge += n;
    for(uint32_t i=0; i<n; i++){
      uint32_t nbr = graph_nbr(g, block, i), d = ++c->degree_in[nbr];
      if( d>c->out->degree_in_max ) c->out->degree_in_max = d;
    }
  }
}

static void check_reach(struct graph_checker *c){
  const struct vdb_graph *g = c->g;
  for(uint32_t i=0; i<g->router.n; i++) checker_reach(c, g->router.slot[i]);
  for(uint32_t i=0; i<c->n_queue; i++){
    const unsigned char *block = checker_block(c, c->queue[i]);
    uint32_t n = block ? get_u16(block+GRAPHBLOCK_DEGREE) : 0;
    for(uint32_t j=0; j<n && j<g->n_lanes; j++){
      uint32_t nbr = graph_nbr(g, block, j);
      if( nbr<g->n_nodes && c->flags[nbr]==0 ) checker_reach(c, nbr);
      else checker_fault(c, c->queue[i], &c->out->n_bad_edge);
    }
  }
  for(uint32_t s=0; s<g->n_nodes; s++){
    if( vdb_bit_get(c->seen, s) || c->flags[s]!=0 ) continue;
    checker_fault(c, s, &c->out->n_unreached);
  }
}

/* Every member of a chain has one predecessor. */
static void check_chains(struct graph_checker *c){
  const struct vdb_graph *g = c->g;
  for(uint32_t s=0; s<g->n_slots; s++){
    const unsigned char *block = checker_block(c, s);
    uint32_t dup = block ? get_u32(block+GRAPHBLOCK_DUP) : SLOT_NONE;
    if( dup==SLOT_NONE ) continue;
    if( dup>=g->n_slots || c->flags[dup]!=GRAPH_DUP
     || vdb_bit_get(c->seen, dup) ){
      checker_fault(c, s, &c->out->n_bad_chain);
    }else{
      vdb_bit_set(c->seen, dup);
    }
  }
  for(uint32_t s=0; s<g->n_slots; s++){
    if( c->flags[s]!=GRAPH_DUP || vdb_bit_get(c->seen, s) ) continue;
    checker_fault(c, s, &c->out->n_bad_chain);
  }
}

int vdb_graph_check(const struct vdb_graph *g,
                    const struct vdb_graph_blocks *b,
                    struct vdb_graph_report *out){
  struct graph_checker c = { .g = g, .b = b, .out = out };
  int rc = VECDB_OK;
  memset(out, 0, sizeof(*out));
  out->slot_first = SLOT_NONE;
  if( b->n_slots!=g->n_slots ) return VECDB_MISUSE;
  c.seen = vdb_calloc(vdb_bitset_words(g->n_slots)+1, sizeof(uint64_t));
  c.queue = vdb_malloc_array((size_t)g->n_nodes+1, sizeof(*c.queue));
  c.degree_in = vdb_calloc((size_t)g->n_nodes+1, sizeof(*c.degree_in));
  c.flags = vdb_calloc((size_t)g->n_slots+1, sizeof(*c.flags));
  if( !c.seen || !c.queue || !c.degree_in || !c.flags ) TRY( VECDB_NOMEM );
  check_blocks(&c);
  check_reach(&c);
  check_chains(&c);
  if( out->slot_first!=SLOT_NONE ) rc = VECDB_CORRUPT_INDEX;
done:
  vdb_free(c.seen);
  vdb_free(c.queue);
  vdb_free(c.degree_in);
  vdb_free(c.flags);
  return rc;
}
