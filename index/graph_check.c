/* graph_check.c -- is every block well formed, every node reachable, every
** chain finite? Do entries of the router have the codes of their nodes?
**
** That last question is about the tables of the header: a centre, a rotation or a
** projection that is not the one which codes were made with gives others. What is
** not asked is whether edges are good ones, and whether the table of recall is
** true: whoever forges a graph with right checksums can make searches by it miss
** rows (SECURITY.md).
*/
#include "index/graph_int.h"
#include "simd/simd.h"
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

/* ---- Entries ------------------------------------------------------------- */

struct entry_scratch {
  uint8_t *group, *u, *u_is;
  float *o, *tmp, *x;           /* in the code space, dims_nav, dims_code */
};

static int entry_scratch_init(struct entry_scratch *t,
                              const struct vdb_graph *g){
  size_t sz = VDB_CODE_GROUP_BYTES(g->dims_code, g->bits);
  t->group = vdb_malloc_aligned(sz);
  t->u = vdb_malloc_aligned(g->dims_code);
  t->u_is = vdb_malloc_aligned(g->dims_code);
  t->o = vdb_malloc_aligned(g->len_code*sizeof(float));
  t->tmp = vdb_malloc_aligned(g->dims_nav*sizeof(float));
  t->x = vdb_malloc_aligned(g->dims_code*sizeof(float));
  if( !t->group || !t->u || !t->u_is || !t->o || !t->tmp || !t->x ){
    return VECDB_NOMEM;
  }
  memset(t->group, 0, sz);
  return VECDB_OK;
}

static void entry_scratch_clear(struct entry_scratch *t){
  vdb_free_aligned(t->group);
  vdb_free_aligned(t->u);
  vdb_free_aligned(t->u_is);
  vdb_free_aligned(t->o);
  vdb_free_aligned(t->tmp);
  vdb_free_aligned(t->x);
}

/* Do two groups hold the same in a lane? */
static bool lanes_equal(const struct vdb_graph *g, const uint8_t *a,
                        const uint8_t *b, uint32_t lane,
                        struct entry_scratch *t){
  if( g->code_kind==VDB_CODE_RESIDUAL ){
    vdb_code_get(a, lane, g->dims_code, (int)g->bits, t->u);
    vdb_code_get(b, lane, g->dims_code, (int)g->bits, t->u_is);
    return memcmp(t->u, t->u_is, g->dims_code)==0;
  }
  for(size_t i=4*lane; i<g->dims_code/8*32; i+=128){
    if( get_u32(a+i)!=get_u32(b+i) ) return false;
  }
  return true;
}

static bool entry_is_right(struct graph_checker *c, uint32_t i,
                           struct entry_scratch *t){
  const struct vdb_graph *g = c->g;
  uint32_t slot = g->router.slot[i];
  const unsigned char *block = checker_block(c, slot);
  struct vdb_code_factors f;
  if( block==NULL || c->flags[slot]!=0 ) return false;
  vdb_graph_to_code(g, block, t->o, t->tmp);
  f = vdb_graph_entry_put(g, t->group, i%32, t->o, t->u, t->x);
  return memcmp(&f.f_add, &g->router.f_add[i], 4)==0
      && memcmp(&f.f_resc, &g->router.f_resc[i], 4)==0
      && lanes_equal(g, t->group, graph_entry_group(g, i), i%32, t);
}

static int check_entries(struct graph_checker *c){
  struct vdb_fpmode fp = vdb_fpmode_enter();
  struct entry_scratch t = { 0 };
  int rc = entry_scratch_init(&t, c->g);
  for(uint32_t i=0; i<c->g->router.n && rc==VECDB_OK; i++){
    if( !entry_is_right(c, i, &t) ){
      checker_fault(c, c->g->router.slot[i], &c->out->n_bad_entry);
    }
  }
  entry_scratch_clear(&t);
  vdb_fpmode_leave(fp);
  return rc;
}

/* ---- The whole ----------------------------------------------------------- */

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
  TRY( check_entries(&c) );
  if( out->slot_first!=SLOT_NONE ) rc = VECDB_CORRUPT_INDEX;
done:
  vdb_free(c.seen);
  vdb_free(c.queue);
  vdb_free(c.degree_in);
  vdb_free(c.flags);
  return rc;
}
