/* graph_entry.c -- entries of the router after an insertion.
**
** The router stays a random sample of the nodes: entries that are gone are
** replaced, new nodes get the share that they have of all, and there is one
** entry per ROUTER_SHARE nodes at least. Which old nodes are taken is drawn by
** hashes of numbers, so that it depends on nothing but the blocks.
*/
#include "index/graph_build_int.h"
#include "util/mem.h"
#include "util/rng.h"

#define ROUTER_SHARE  1024u
#define ROUTER_MAX    16384u

/* A source of old and new nodes, each once. */
struct drawer {
  struct graph_builder *b;
  uint64_t *is_taken;           /* bitmap by slot */
  uint64_t i_draw;
  uint32_t i_slot;              /* when draws fail: slots in order */
};

/* A node that was not drawn yet, or NONE. */
static uint32_t drawer_next(struct drawer *d){
  struct graph_builder *b = d->b;
  for(int i=0; i<64; i++){
    uint32_t s = (uint32_t)(vdb_mix64(d->i_draw++ + b->g->seed) % b->n);
    if( vdb_bit_get(b->insert->is_node, s) && !vdb_bit_get(d->is_taken, s) ){
      vdb_bit_set(d->is_taken, s);
      return s;
    }
  }
  for(; d->i_slot<b->n; d->i_slot++){
    uint32_t s = d->i_slot;
    if( vdb_bit_get(b->insert->is_node, s) && !vdb_bit_get(d->is_taken, s) ){
      vdb_bit_set(d->is_taken, s);
      return s;
    }
  }
  return SLOT_NONE;
}

static int drawer_open(struct drawer *d, struct graph_builder *b){
  memset(d, 0, sizeof(*d));
  d->b = b;
  d->is_taken = vdb_calloc(vdb_bitset_words(b->n)+1, sizeof(uint64_t));
  return d->is_taken ? VECDB_OK : VECDB_NOMEM;
}

static uint32_t count_nodes(const struct graph_builder *b){
  uint32_t n = 0;
  for(uint32_t s=0; s<b->n; s++) n += vdb_bit_get(b->insert->is_node, s);
  return n;
}

/* The first n entries of one router become those of another. */
static void entries_copy(const struct vdb_graph *g, struct graph_router *to,
                         const struct graph_router *from, uint32_t n){
  size_t sz = VDB_CODE_GROUP_BYTES(g->dims_code, g->bits);
  memcpy(to->slot, from->slot, n*sizeof(*to->slot));
  memcpy(to->f_add, from->f_add, n*sizeof(*to->f_add));
  memcpy(to->f_resc, from->f_resc, n*sizeof(*to->f_resc));
  memcpy(to->code, from->code, graph_round_up(n, 32)/32*sz);
}

/* Tables for n entries; those there were are kept as far as there is room. */
static int router_resize(struct vdb_graph *g, uint32_t n){
  struct graph_router *r = &g->router;
  struct vdb_graph fresh = { .dims_code = g->dims_code, .bits = g->bits };
  struct vdb_graph *t = vdb_malloc(sizeof(*t));
  int rc;
  if( t==NULL ) return VECDB_NOMEM;
  *t = fresh;
  rc = vdb_graph_alloc(t, n);
  if( rc==VECDB_OK ){
    struct graph_router old = *r;
    entries_copy(g, &t->router, &old, old.n<n ? old.n : n);
    *r = t->router;
    r->n_seed = old.n_seed;
    t->router = old;
  }
  vdb_graph_close(t);
  return rc;
}

/* The slots of the new router: old entries that are nodes, the share of new
** nodes, the rest drawn. */
static uint32_t entries_choose(struct drawer *d, uint32_t *out, uint32_t want,
                               uint32_t n_new){
  const struct graph_router *r = &d->b->g->router;
  const struct graph_insert *in = d->b->insert;
  uint32_t n = 0;
  for(uint32_t i=0; i<r->n && n<want-n_new; i++){
    uint32_t s = r->slot[i];
    if( !vdb_bit_get(in->is_node, s) || vdb_bit_get(in->is_new, s)
     || vdb_bit_get(d->is_taken, s) ) continue;
    vdb_bit_set(d->is_taken, s);
    out[n++] = s;
  }
  for(uint32_t i=0; i<n_new; i++){
    vdb_bit_set(d->is_taken, d->b->order[i]);
    out[n++] = d->b->order[i];
  }
  while( n<want ){
    uint32_t s = drawer_next(d);
    if( s==SLOT_NONE ) break;
    out[n++] = s;
  }
  return n;
}

int vdb_graph_router_renew(struct graph_builder *b){
  struct graph_router *r = &b->g->router;
  uint32_t n_node = count_nodes(b), want, n_new;
  uint32_t *slot = NULL;
  struct drawer d;
  int rc;
  TRY( drawer_open(&d, b) );
  want = graph_round_up(n_node/ROUTER_SHARE+1, 32);
  if( want>ROUTER_MAX ) want = ROUTER_MAX;
  if( want<r->n ) want = r->n;
  if( want>n_node ) want = n_node;
  n_new = (uint32_t)((uint64_t)want*b->n_order/n_node);
  slot = vdb_malloc_array((size_t)want+1, sizeof(*slot));
  if( slot==NULL ) TRY( VECDB_NOMEM );
  want = entries_choose(&d, slot, want, n_new);
  TRY( router_resize(b->g, want) );
  for(uint32_t i=0; i<want; i++){
    TRY( vdb_graph_router_set(b, i, slot[i]) );
  }
done:
  vdb_free(slot);
  vdb_free(d.is_taken);
  return rc;
}

int vdb_graph_router_add(struct graph_builder *b, uint32_t slot){
  struct graph_router *r = &b->g->router;
  uint32_t n = r->n;
  int rc = VECDB_OK;
  if( n==r->n_pad ) TRY( router_resize(b->g, n+32) );
  r->n = n+1;
  TRY( vdb_graph_router_set(b, n, slot) );
done:
  return rc;
}
