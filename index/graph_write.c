/* graph_write.c -- the final order of slots, and the bytes.
**
** Nodes are numbered breadth first along their edges from the first node, so
** that neighbours share groups and pages; nodes that this does not reach begin
** anew, in build order. Members of chains follow in build order.
*/
#include "index/graph_build_int.h"
#include "util/mem.h"

static void order_nodes(const struct graph_builder *b, uint32_t *to,
                        uint32_t *queue){
  uint32_t n = 0, i = 0;
  for(uint32_t s=0; s<b->n; s++) to[s] = s<b->n_nodes ? SLOT_NONE : s;
  for(uint32_t s=0; s<b->n_nodes; s++){
    if( to[s]!=SLOT_NONE ) continue;
    to[s] = n;
    queue[n++] = s;
    for(; i<n; i++){
      const unsigned char *block = build_block(b, queue[i]);
      uint32_t degree = build_degree(b, queue[i]);
      for(uint32_t j=0; j<degree; j++){
        uint32_t nbr = graph_nbr(b->g, block, j);
        if( to[nbr]!=SLOT_NONE ) continue;
        to[nbr] = n;
        queue[n++] = nbr;
      }
    }
  }
  for(uint32_t s=b->n_nodes; s<b->n; s++) queue[s] = s;
}

/* The block of build slot s under its final number. */
static void block_renumber(const struct graph_builder *b, uint32_t s,
                           const uint32_t *to, unsigned char *out){
  const unsigned char *block = build_block(b, s);
  uint32_t dup = get_u32(block+GRAPHBLOCK_DUP);
  uint32_t degree = get_u16(block+GRAPHBLOCK_DEGREE);
  memcpy(out, block, b->g->stride);
  put_u32(out+GRAPHBLOCK_SLOT, to[s]);
  if( dup!=SLOT_NONE ) put_u32(out+GRAPHBLOCK_DUP, to[dup]);
  for(uint32_t i=0; i<degree; i++){
    put_u32(graph_lanes(b->g, out) + 4*i, to[graph_nbr(b->g, block, i)]);
  }
}

static int groups_write(struct graph_builder *b, const uint32_t *to,
                        const uint32_t *from){
  const struct vdb_graph *g = b->g;
  uint32_t n_in = 1u<<g->shift;
  unsigned char *buf = vdb_malloc_aligned((size_t)n_in*g->stride);
  int rc = VECDB_OK;
  if( buf==NULL ) return VECDB_NOMEM;
  for(uint32_t lo=0; lo<b->n; lo+=n_in){
    uint32_t n = b->n-lo<n_in ? b->n-lo : n_in;
    for(uint32_t i=0; i<n; i++){
      block_renumber(b, from[lo+i], to, buf + (size_t)i*g->stride);
    }
    TRY( b->sink->group(b->sink->arg, lo>>g->shift, buf, n, g->stride) );
    TRY( vdb_graph_progress(b, 0) );
  }
done:
  vdb_free_aligned(buf);
  return rc;
}

int vdb_graph_write(struct graph_builder *b){
  struct vdb_graph *g = b->g;
  uint32_t *to = vdb_malloc_array((size_t)b->n+1, sizeof(*to));
  uint32_t *from = vdb_malloc_array((size_t)b->n+1, sizeof(*from));
  unsigned char *bytes = NULL;
  size_t sz;
  int rc = VECDB_OK;
  if( to==NULL || from==NULL ) TRY( VECDB_NOMEM );
  order_nodes(b, to, from);
  TRY( groups_write(b, to, from) );
  for(uint32_t i=0; i<g->router.n; i++){
    g->router.slot[i] = to[g->router.slot[i]];
  }
  TRY( vdb_graph_encode(g, &bytes, &sz) );
  TRY( b->sink->header(b->sink->arg, bytes, sz) );
done:
  vdb_free(to);
  vdb_free(from);
  vdb_free(bytes);
  return rc;
}
