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
** one and clearly better. Edges do not depend on it. The model does not count
** bytes, of which four bits of many dimensions take most of a file: they must
** be much better. (Clusters of 768 dimensions: 1.75 times the queries.)
*/
#include <math.h>

#include "index/graph_build_int.h"
#include "util/mem.h"
#include "util/pool.h"

#define BITS_NODES_MIN  2000u   /* fewer are not worth a trial */
#define BITS_TOTAL_MAX  4096u   /* dimensions times bits worth a trial */
#define BITS_TOTAL_FEW  2048u   /* more are taken for what they save alone */
#define BITS_BETTER     0.88    /* cost, squared as it is a product of two, at
                                ** which another width is taken, .. */
#define BITS_MUCH       0.6     /* .. and one that makes blocks so large */
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

/* Blocks are made when a search comes to them: each is a group of its own. A
** trial that there is no memory for is lost. */
struct bits_trial {
  const struct graph_builder *b;
  struct vdb_graph g;
  struct recode_scratch scratch;
  unsigned char **base;
  struct vdb_graph_blocks blocks;
  uint64_t sz_left;              /* memory for more blocks */
};

static int trial_load(void *arg, uint32_t slot, const unsigned char **base){
  struct bits_trial *t = arg;
  unsigned char *p;
  if( t->sz_left<t->g.stride ) return VECDB_TOOBIG;
  t->sz_left -= t->g.stride;
  p = vdb_malloc_aligned(t->g.stride);
  if( p==NULL ) return VECDB_NOMEM;
  block_recode(t->b, &t->g, slot, p, t->scratch.u, t->scratch.tmp);
  t->base[slot] = p;
  *base = p;
  return VECDB_OK;
}

static int trial_cost(const struct graph_builder *b, struct calib *c,
                      uint32_t bits, double *cost){
  struct bits_trial t = { .b = b, .sz_left = vdb_graph_memory_left(b) };
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
  rc = vdb_graph_calib_cost(c, &t.g, &t.blocks, cost);
  if( rc==VECDB_TOOBIG ){
    *cost = INFINITY;
    rc = VECDB_OK;
  }
done:
  for(uint32_t i=0; t.base && i<b->n; i++) vdb_free_aligned(t.base[i]);
  vdb_free(t.base);
  router_free(&t.g.router);
  scratch_clear(&t.scratch);
  return rc;
}

/* ---- Taking another width ------------------------------------------------ */

/* The old blocks go as the new ones come: a block is made of itself and of
** vectors in the code space. */
struct recode {
  struct graph_builder *b;
  const struct vdb_graph *g;
  struct build_pieces piece;     /* of the new blocks */
  uint32_t lo, hi;               /* slots of the piece at hand */
  unsigned char *out;
};

static int recode_task(void *arg, size_t i_task, unsigned worker){
  struct recode *r = arg;
  uint32_t lo = r->lo + (uint32_t)i_task*RECODE_TASK;
  uint32_t hi = r->hi-lo<RECODE_TASK ? r->hi : lo+RECODE_TASK;
  struct recode_scratch s = { NULL, NULL };
  int rc = VECDB_OK;
  VDB_UNUSED(worker);
  TRY( scratch_init(&s, r->g) );
  for(uint32_t i=lo; i<hi; i++){
    block_recode(r->b, r->g, i, r->out + (size_t)(i - r->lo)*r->g->stride, s.u,
                 s.tmp);
  }
done:
  scratch_clear(&s);
  return rc;
}

/* All blocks, piece by piece. */
static int recode_run(struct recode *r){
  const struct vdb_graph *old = r->b->g;
  struct build_pieces *p = &r->b->piece;
  uint32_t i_old = 0;
  int rc = VECDB_OK;
  for(uint32_t i=0; i<r->piece.n; i++){
    uint64_t end = (uint64_t)(i+1)<<(r->piece.shift + r->g->shift);
    TRY( vdb_graph_piece_alloc(r->g, &r->piece, i) );
    r->lo = i<<(r->piece.shift + r->g->shift);
    r->hi = end<r->b->n ? (uint32_t)end : r->b->n;
    r->out = r->piece.at[i];
    TRY( vdb_pool_run(r->b->n_thread, (r->hi-r->lo + RECODE_TASK-1)/RECODE_TASK,
                      recode_task, r) );
    for(; (uint64_t)(i_old+1)<<(p->shift + old->shift) <= end && i_old<p->n;
        i_old++){
      vdb_graph_piece_free(p, i_old);
    }
  }
done:
  return rc;
}

static int bits_take(struct graph_builder *b, struct calib *c, uint32_t bits){
  struct recode_scratch s = { NULL, NULL };
  struct vdb_graph g = { .router = { 0 } };
  struct recode r = { .b = b, .g = &g };
  const unsigned char **base = NULL;
  size_t n_group;
  int rc = VECDB_OK;
  TRY( scratch_init(&s, b->g) );
  TRY( graph_recode(b, bits, &g, &s) );
  n_group = ((size_t)b->n + ((size_t)1<<g.shift) - 1) >> g.shift;
  base = vdb_malloc_array(n_group+1, sizeof(*base));
  if( base==NULL ) TRY( VECDB_NOMEM );
  TRY( vdb_graph_pieces_open(b, &g, b->n, &r.piece) );
  TRY( recode_run(&r) );
  router_free(&b->g->router);
  *b->g = g;
  memset(&g.router, 0, sizeof(g.router));
  vdb_graph_pieces_close(&b->piece);
  vdb_free(b->base);
  b->piece = r.piece;
  b->base = base;
  for(uint32_t i=0; i<n_group; i++) b->base[i] = build_group(b, i);
  b->blocks.base = b->base;
  memset(&r.piece, 0, sizeof(r.piece));
  base = NULL;
  vdb_graph_calib_recoded(c);
  for(unsigned i=0; i<b->n_thread; i++){
    for(unsigned j=0; j<WALKS; j++) b->worker[i].walk[j].code.bits = bits;
  }
done:
  vdb_graph_pieces_close(&r.piece);
  vdb_free(base);
  router_free(&g.router);
  scratch_clear(&s);
  return rc;
}

/* Is there memory for blocks with so many bits, and later for more rows? */
static bool bits_fit(const struct graph_builder *b, uint32_t bits){
  struct vdb_graph g = *b->g;
  if( g.dims_code*bits>BITS_TOTAL_MAX ) return false;
  g.bits = bits;
  return vdb_graph_layout(&g)==VECDB_OK
      && b->n<=vdb_graph_rows_within(&g, b->opts->sz_memory, false);
}

/* The cost, by the model, at which these bits are worth as much as others. */
static double bits_worth(const struct vdb_graph *g, uint32_t bits,
                         double cost){
  bool is_large = bits>g->bits && g->dims_code*bits>BITS_TOTAL_FEW;
  return is_large ? cost*(BITS_BETTER/BITS_MUCH) : cost;
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
    cost = bits_worth(b->g, width[i], cost);
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
