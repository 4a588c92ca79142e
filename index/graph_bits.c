/* graph_bits.c -- how many bits a code should have.
**
** More bits make better estimates and larger blocks. Which is cheaper depends
** on the data in ways that no sample of a few thousand rows shows: clusters of
** near rows need four bits, curved sheets get along with one. (Measured, same
** graphs: 96-d Gaussian clusters 1.5 times the queries with 4 bits as with 2,
** 256-d sheets and texts 1.2 to 1.4 times with 1, SIFT 1.4 times with 2 as
** with 4.) So the graph is built with the bits of the rule, and when it is
** there its codes are made anew with each other width for the blocks that some
** searches for rows held out touch. The width whose searches are cheapest, by
** the model of graph_calib.c, is taken; all codes are made anew if it is another
** one and clearly better. Edges do not depend on it.
*/
#include "index/graph_build_int.h"
#include "util/mem.h"
#include "util/pool.h"

#define BITS_NODES_MIN  2000u   /* fewer are not worth a trial */
#define BITS_TOTAL_MAX  2048u   /* dimensions times bits worth a trial */
#define BITS_BETTER     0.88    /* cost, squared as it is a product of two, at
                                ** which another width is taken */
#define RECODE_TASK     256

/* ---- One block ----------------------------------------------------------- */

/* The block of `slot` with codes of g, which differs from b->g in bits. u and
** tmp: dims_code bytes, 2*dims_code floats. */
static void block_recode(const struct graph_builder *b,
                         const struct vdb_graph *g, uint32_t slot,
                         unsigned char *out, uint8_t *u, float *tmp){
  const unsigned char *block = build_block(b, slot);
  uint32_t n = build_degree(b, slot);
  vdb_graph_block_init(g, out, slot, 0, 0);
  memcpy(out, block, graph_off_lanes(g));
  for(uint32_t i=0; i<n; i++){
    uint32_t nbr = graph_nbr(b->g, block, i);
    vdb_graph_lane_put(g, out, i, nbr, build_code(b, nbr), build_code(b, slot),
                       build_edge_d2(b, slot)[i], u, tmp);
  }
}

struct recode_scratch { uint8_t *u; float *tmp; };

static int scratch_init(struct recode_scratch *s, const struct vdb_graph *g){
  s->u = vdb_malloc_aligned(g->dims_code);
  s->tmp = vdb_malloc_aligned(2*(size_t)g->dims_code*sizeof(float));
  return s->u && s->tmp ? VECDB_OK : VECDB_NOMEM;
}
static void scratch_clear(struct recode_scratch *s){
  vdb_free_aligned(s->u);
  vdb_free_aligned(s->tmp);
}

/* ---- The router ---------------------------------------------------------- */

static void router_free(struct graph_router *r){
  vdb_free_aligned(r->slot);
  vdb_free_aligned(r->f_add);
  vdb_free_aligned(r->f_resc);
  vdb_free_aligned(r->code);
}

/* g->router becomes a copy of that of b, with codes of g. */
static int router_recode(const struct graph_builder *b, struct vdb_graph *g,
                         struct recode_scratch *s){
  const struct graph_router *old = &b->g->router;
  struct graph_router *r = &g->router;
  size_t sz = VDB_CODE_GROUP_BYTES(g->dims_code, g->bits);
  r->slot = vdb_malloc_aligned(r->n_pad*sizeof(uint32_t) + 64);
  r->f_add = vdb_malloc_aligned(r->n_pad*sizeof(float) + 64);
  r->f_resc = vdb_malloc_aligned(r->n_pad*sizeof(float) + 64);
  r->code = vdb_malloc_aligned(r->n_pad/32*sz + 64);
  if( !r->slot || !r->f_add || !r->f_resc || !r->code ) return VECDB_NOMEM;
  memcpy(r->slot, old->slot, r->n_pad*sizeof(uint32_t));
  memcpy(r->f_add, old->f_add, r->n_pad*sizeof(float));
  memcpy(r->f_resc, old->f_resc, r->n_pad*sizeof(float));
  memset(r->code, 0, r->n_pad/32*sz);
  for(uint32_t i=0; i<r->n; i++){
    const float *o = build_code(b, r->slot[i]);
    float n2 = g->simd->dot(o, o, g->dims_code);
    struct vdb_code_factors f = vdb_code_encode(o, NULL, n2, g->dims_code,
                                                (int)g->bits, s->u, s->tmp);
    r->f_add[i] = f.f_add;
    r->f_resc[i] = f.f_resc;
    vdb_code_put(r->code + i/32*sz, i%32, g->dims_code, (int)g->bits, s->u);
  }
  return VECDB_OK;
}

/* A copy of b->g with other bits and a router of its own; the other tables are
** shared. */
static int graph_recode(const struct graph_builder *b, uint32_t bits,
                        struct vdb_graph *g, struct recode_scratch *s){
  int rc;
  *g = *b->g;
  memset(&g->router, 0, sizeof(g->router));
  g->router.n = b->g->router.n;
  g->router.n_pad = b->g->router.n_pad;
  g->router.n_seed = b->g->router.n_seed;
  g->bits = bits;
  rc = vdb_graph_layout(g);
  return rc==VECDB_OK ? router_recode(b, g, s) : rc;
}

/* ---- A trial ------------------------------------------------------------- */

/* Blocks are made when a search comes to them: each is a group of its own. */
struct bits_trial {
  const struct graph_builder *b;
  struct vdb_graph g;
  struct recode_scratch scratch;
  unsigned char **base;
  struct vdb_graph_blocks blocks;
};

static int trial_load(void *arg, uint32_t slot, const unsigned char **base){
  struct bits_trial *t = arg;
  unsigned char *p = vdb_malloc_aligned(t->g.stride);
  if( p==NULL ) return VECDB_NOMEM;
  block_recode(t->b, &t->g, slot, p, t->scratch.u, t->scratch.tmp);
  t->base[slot] = p;
  *base = p;
  return VECDB_OK;
}

static int trial_cost(const struct graph_builder *b, struct calib *c,
                      uint32_t bits, double *cost){
  struct bits_trial t = { .b = b };
  int rc = VECDB_OK;
  TRY( scratch_init(&t.scratch, b->g) );
  TRY( graph_recode(b, bits, &t.g, &t.scratch) );
  t.g.shift = 0;
  t.base = vdb_calloc((size_t)b->n+1, sizeof(*t.base));
  if( t.base==NULL ) TRY( VECDB_NOMEM );
  t.blocks.base = (const unsigned char *const*)t.base;
  t.blocks.n_slots = b->n;
  t.blocks.load = trial_load;
  t.blocks.arg = &t;
  TRY( vdb_graph_calib_cost(c, &t.g, &t.blocks, cost) );
done:
  for(uint32_t i=0; t.base && i<b->n; i++) vdb_free_aligned(t.base[i]);
  vdb_free(t.base);
  router_free(&t.g.router);
  scratch_clear(&t.scratch);
  return rc;
}

/* ---- Taking another width ------------------------------------------------ */

struct recode {
  const struct graph_builder *b;
  const struct vdb_graph *g;
  unsigned char *block;
};

static int recode_task(void *arg, size_t i_task, unsigned worker){
  struct recode *r = arg;
  uint32_t lo = (uint32_t)i_task*RECODE_TASK;
  uint32_t hi = r->b->n-lo<RECODE_TASK ? r->b->n : lo+RECODE_TASK;
  struct recode_scratch s = { NULL, NULL };
  int rc = VECDB_OK;
  VDB_UNUSED(worker);
  TRY( scratch_init(&s, r->g) );
  for(uint32_t i=lo; i<hi; i++){
    block_recode(r->b, r->g, i, r->block + (size_t)i*r->g->stride, s.u, s.tmp);
  }
done:
  scratch_clear(&s);
  return rc;
}

static int bits_take(struct graph_builder *b, struct calib *c, uint32_t bits){
  struct recode_scratch s = { NULL, NULL };
  struct vdb_graph g = { .router = { 0 } };
  struct recode r = { b, &g, NULL };
  const unsigned char **base = NULL;
  size_t n_group, sz;
  int rc = VECDB_OK;
  TRY( scratch_init(&s, b->g) );
  TRY( graph_recode(b, bits, &g, &s) );
  n_group = ((size_t)b->n + ((size_t)1<<g.shift) - 1) >> g.shift;
  sz = (size_t)b->n*g.stride;
  r.block = vdb_malloc_aligned(sz+64);
  base = vdb_malloc_array(n_group+1, sizeof(*base));
  if( r.block==NULL || base==NULL ) TRY( VECDB_NOMEM );
  vdb_mem_prefer_huge(r.block, sz);
  TRY( vdb_pool_run(b->n_thread, (b->n + RECODE_TASK-1)/RECODE_TASK,
                    recode_task, &r) );
  router_free(&b->g->router);
  *b->g = g;
  memset(&g.router, 0, sizeof(g.router));
  vdb_free_aligned(b->block);
  vdb_free(b->base);
  b->block = r.block;
  b->base = base;
  for(uint32_t i=0; i<n_group; i++) b->base[i] = build_group(b, i);
  b->blocks.base = b->base;
  r.block = NULL;
  base = NULL;
  vdb_graph_calib_recoded(c);
  for(unsigned i=0; i<b->n_thread; i++){
    for(unsigned j=0; j<WALKS; j++) b->worker[i].walk[j].code.bits = bits;
  }
done:
  vdb_free_aligned(r.block);
  vdb_free(base);
  router_free(&g.router);
  scratch_clear(&s);
  return rc;
}

/* Is there memory for the blocks twice? */
static bool bits_fit(const struct graph_builder *b, uint32_t bits){
  const struct vdb_graph *g = b->g;
  size_t now, more;
  if( g->dims_code*bits>BITS_TOTAL_MAX ) return false;
  if( b->opts->sz_memory==0 ) return true;
  return vdb_mul_sz(b->n, g->stride + 4*(size_t)g->dims_code + 800, &now)
      && vdb_mul_sz(b->n, g->stride + 16*(size_t)g->dims_code*bits, &more)
      && now<=b->opts->sz_memory && more<=b->opts->sz_memory-now;
}

bool vdb_graph_bits_tried(const struct graph_builder *b){
  const struct vdb_graph_opts *o = b->opts;
  if( b->g->code_kind!=VDB_CODE_RESIDUAL ) return false;
  return !o->bits && !o->like && !b->is_probe && b->n>=BITS_NODES_MIN
      && (!o->no_calibration || o->n_router==0);
}

int vdb_graph_choose_bits(struct graph_builder *b, struct calib *c){
  static const uint32_t width[] = { 1, 2, 4 };
  uint32_t best = b->g->bits;
  double least, cost;
  int rc = VECDB_OK;
  if( !vdb_graph_bits_tried(b) ) return VECDB_OK;
  TRY( vdb_graph_calib_cost(c, b->g, &b->blocks, &least) );
  least *= BITS_BETTER;
  for(size_t i=0; i<VDB_ARRAY_LEN(width); i++){
    if( width[i]==b->g->bits || !bits_fit(b, width[i]) ) continue;
    TRY( trial_cost(b, c, width[i], &cost) );
    if( cost<least ){
      least = cost;
      best = width[i];
    }
    TRY( vdb_graph_progress(b, 0) );
  }
  if( best!=b->g->bits ) TRY( bits_take(b, c, best) );
done:
  return rc;
}
