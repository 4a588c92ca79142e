/* graph_write.c -- the final order of slots, and the bytes.
**
** Nodes are numbered breadth first along their edges from the first node, so
** that neighbours share groups and pages; nodes that this does not reach begin
** anew, in build order. Members of chains follow in build order. Blocks are moved
** to their places in memory, and then given away piece by piece: whatever else
** the build held is gone by then.
**
** After an insertion slots stay, and groups that were not touched are kept, so
** that old and new index share them; unless so few are left that new numbers,
** without holes and with neighbours side by side, are worth more than those.
** Blocks get their checksums last; an old index without any goes on without,
** as long as it lends groups to new ones.
*/
#include "index/graph_build_int.h"
#include "util/mem.h"

#define KEEP_SHARE  4           /* 1/4 of the groups are kept, or none is */

static uint32_t block_flags(const struct graph_builder *b, uint32_t s){
  return get_u16(build_block(b, s)+GRAPHBLOCK_FLAGS);
}

/* New numbers, and the old ones by them. Sets *n_nodes, returns the number of
** blocks. */
static uint32_t order_nodes(const struct graph_builder *b, uint32_t *to,
                            uint32_t *queue, uint32_t *n_nodes){
  uint32_t n = 0, i = 0;
  for(uint32_t s=0; s<b->n; s++) to[s] = SLOT_NONE;
  for(uint32_t s=0; s<b->n; s++){
    if( to[s]!=SLOT_NONE || block_flags(b, s)!=0 ) continue;
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
  *n_nodes = n;
  for(uint32_t s=0; s<b->n; s++){
    if( block_flags(b, s)!=GRAPH_DUP ) continue;
    to[s] = n;
    queue[n++] = s;
  }
  return n;
}

/* The block of build slot s, in place, gets its final number. */
static void block_renumber(const struct graph_builder *b, uint32_t s,
                           const uint32_t *to){
  unsigned char *block = build_block(b, s);
  uint32_t dup = get_u32(block+GRAPHBLOCK_DUP);
  uint32_t degree = get_u16(block+GRAPHBLOCK_DEGREE);
  put_u32(block+GRAPHBLOCK_SLOT, to[s]);
  if( dup!=SLOT_NONE ) put_u32(block+GRAPHBLOCK_DUP, to[dup]);
  for(uint32_t i=0; i<degree; i++){
    put_u32(graph_lanes(b->g, block) + 4*i, to[graph_nbr(b->g, block, i)]);
  }
}

/* Block from[i] moves to place i, for all i, cycle by cycle. from[i] is i
** afterwards. */
static int blocks_move(const struct graph_builder *b, uint32_t *from){
  size_t sz = b->g->stride;
  unsigned char *held = vdb_malloc_aligned(sz);
  if( held==NULL ) return VECDB_NOMEM;
  for(uint32_t i=0; i<b->n; i++){
    uint32_t at = i;
    if( from[i]==i ) continue;
    memcpy(held, build_block(b, i), sz);
    while( from[at]!=i ){
      uint32_t next = from[at];
      memcpy(build_block(b, at), build_block(b, next), sz);
      from[at] = at;
      at = next;
    }
    memcpy(build_block(b, at), held, sz);
    from[at] = at;
  }
  vdb_free_aligned(held);
  return VECDB_OK;
}

static void group_seal(const struct graph_builder *b, uint32_t lo,
                       uint32_t n){
  for(uint32_t s=lo; s<lo+n; s++) vdb_graph_block_seal(b->g, build_block(b, s));
}

static int group_give(struct graph_builder *b, uint32_t i, uint32_t n){
  group_seal(b, i<<b->g->shift, n);
  return b->sink->group(b->sink->arg, i, b->base[i], n, b->g->stride);
}

/* A piece goes with its last group. */
static void piece_given(struct graph_builder *b, uint32_t i_group){
  uint32_t in = 1u<<b->piece.shift;
  if( (i_group+1)%in==0 ) vdb_graph_piece_free(&b->piece, i_group/in);
}

static int groups_write(struct graph_builder *b, uint32_t n_all){
  uint32_t n_in = 1u<<b->g->shift;
  int rc = VECDB_OK;
  for(uint32_t lo=0; lo<n_all; lo+=n_in){
    TRY( group_give(b, lo>>b->g->shift, n_all-lo<n_in ? n_all-lo : n_in) );
    piece_given(b, lo>>b->g->shift);
    TRY( vdb_graph_progress(b, 0) );
  }
done:
  return rc;
}

/* What is the old index's, too, becomes ours. */
static void groups_own(struct graph_builder *b){
  for(uint32_t lo=0; b->insert && lo<b->n; lo+=1u<<b->g->shift){
    vdb_graph_own(b, lo);
  }
}

static int write_anew(struct graph_builder *b){
  struct vdb_graph *g = b->g;
  uint32_t *to = vdb_malloc_array((size_t)b->n+1, sizeof(*to));
  uint32_t *from = vdb_malloc_array((size_t)b->n+1, sizeof(*from));
  uint32_t n_all;
  int rc = VECDB_OK;
  if( to==NULL || from==NULL ) TRY( VECDB_NOMEM );
  groups_own(b);
  n_all = order_nodes(b, to, from, &g->n_nodes);
  for(uint32_t s=0, n=n_all; s<b->n; s++){
    if( to[s]==SLOT_NONE ) from[n++] = s;        /* empty, behind the others */
    else block_renumber(b, s, to);
  }
  TRY( blocks_move(b, from) );
  g->is_summed = true;
  TRY( groups_write(b, n_all) );
  g->n_slots = n_all;
  g->is_mixed = false;
  for(uint32_t i=0; i<g->router.n; i++){
    g->router.slot[i] = to[g->router.slot[i]];
  }
done:
  vdb_free(to);
  vdb_free(from);
  return rc;
}

static bool is_kept(const struct graph_builder *b, uint32_t i_group){
  return b->base[i_group]!=build_group(b, i_group);
}

/* Groups that were touched, and word of the others. */
static int write_touched(struct graph_builder *b){
  uint32_t n_in = 1u<<b->g->shift;
  int rc = VECDB_OK;
  for(uint32_t lo=0; lo<b->n; lo+=n_in){
    uint32_t i = lo>>b->g->shift;
    if( is_kept(b, i) ){
      TRY( b->sink->kept(b->sink->arg, i) );
    }else{
      TRY( group_give(b, i, b->n-lo<n_in ? b->n-lo : n_in) );
    }
    piece_given(b, i);
    TRY( vdb_graph_progress(b, 0) );
  }
done:
  return rc;
}

int vdb_graph_write(struct graph_builder *b){
  uint32_t n_group = (uint32_t)(((uint64_t)b->n + (1u<<b->g->shift)-1)
                                >> b->g->shift);
  uint32_t n_kept = 0;
  unsigned char *bytes = NULL;
  size_t sz;
  int rc;
  vdb_graph_build_strip(b);
  for(uint32_t i=0; b->insert && i<n_group; i++) n_kept += is_kept(b, i);
  if( n_kept>0 && n_kept>=n_group/KEEP_SHARE ) TRY( write_touched(b) );
  else TRY( write_anew(b) );
  TRY( vdb_graph_encode(b->g, &bytes, &sz) );
  TRY( b->sink->header(b->sink->arg, bytes, sz) );
done:
  vdb_free(bytes);
  return rc;
}
