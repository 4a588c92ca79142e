/* graph_space.c -- the rows of a build: their order, their spaces, duplicates.
**
** ORDER    by a seeded hash of the key, another for every key: any prefix is a
**          random sample, and the order depends on the set of rows alone.
** NAV      what blocks hold of a vector (graph_nav.c).
** CODES    bits and projection as asked for, else by rule and by trial
**          (graph_probe.c).
** EQUALS   rows whose stored vectors are equal byte by byte share a node, the
**          one with the smallest key; the others form its chain, by key.
*/
#include <math.h>
#include <stdlib.h>

#include "index/graph_build_int.h"
#include "index/pca.h"
#include "util/bitset.h"
#include "util/mem.h"
#include "util/pool.h"
#include "util/rng.h"

#define SAMPLE_MEAN   16384u    /* rows whose mean is the centre */
#define SAMPLE_PCA    4096u     /* rows whose covariance is analysed */
#define FULL_2BIT_MAX 384u      /* dimensions from which codes have one bit */
#define ONE_BIT_FROM  256u      /* .. at first, if others are tried later */
#define PREFIX        256u      /* principal dimensions tried */
#define PREFIX_ROWS_MIN  4096u  /* fewer rows are not worth a trial */
#define PREFIX_FROM_MAX  4096u  /* d*d numbers of covariance are kept */
#define ROUTER_BUILD  2048u     /* entries, until a trial finds fewer enough */
#define ROUTER_MAX    16384u
#define ROUTER_SEEDS  4u

/* ---- Order --------------------------------------------------------------- */

struct row_order { uint64_t hash; uint32_t i; };

static int row_order_compare(const void *a, const void *b){
  const struct row_order *x = a, *y = b;
  return x->hash<y->hash ? -1 : x->hash>y->hash;
}

static uint64_t source_key(const struct vdb_graph_source *src, uint32_t i){
  return src->key ? src->key[i] : i;
}
static uint32_t source_row(const struct vdb_graph_source *src, uint32_t i){
  return src->row ? src->row[i] : i;
}

int vdb_graph_rows_order(struct graph_builder *b, uint32_t n){
  struct row_order *o = vdb_malloc_array((size_t)n+1, sizeof(*o));
  int rc = VECDB_OK;
  b->origin = vdb_malloc_array((size_t)n+1, sizeof(*b->origin));
  if( o==NULL || b->origin==NULL ) TRY( VECDB_NOMEM );
  for(uint32_t i=0; i<n; i++){
    o[i].i = i;
    o[i].hash = vdb_mix64(source_key(b->src, i)
                          + vdb_mix64(b->opts->seed + 1));
  }
  qsort(o, n, sizeof(*o), row_order_compare);
  for(uint32_t i=0; i<n; i++) b->origin[i] = o[i].i;
done:
  vdb_free(o);
  return rc;
}

/* ---- Codes --------------------------------------------------------------- */

/* Does the memory allow a trial? */
static bool probe_fits(const struct graph_builder *b){
  uint64_t d = b->g->d, sz = b->opts->sz_memory;
  return sz==0 || sz>=12*d*d + SAMPLE_PCA*4*d + vdb_graph_probe_bytes(d);
}

/* Codes of a projection, if a trial says that they make searches cheaper: how
** much of the energy it keeps does not tell (0.83 is enough for pictures,
** 0.82 not for texts). *prefix is d if they do not. */
static int prefix_choose(struct graph_builder *b, uint32_t *prefix){
  uint32_t d = b->g->d;
  double full, part;
  int rc = VECDB_OK;
  *prefix = d;
  if( vdb_graph_prefix_is_short(b) ) *prefix = b->opts->prefix;
  if( b->opts->prefix || b->g->nav==VDB_NAV_F32 || d<=FULL_2BIT_MAX
   || d>PREFIX_FROM_MAX || b->n<PREFIX_ROWS_MIN || !probe_fits(b) ) goto done;
  TRY( vdb_graph_probe(b, d, &full) );
  TRY( vdb_graph_probe(b, PREFIX, &part) );
  if( part<full ) *prefix = PREFIX;
done:
  return rc;
}

/* Bits to begin with. Where a trial on the finished graph chooses them
** (graph_bits.c) large vectors begin with one: edges come from true distances, so
** the graph is as good, and is built from fewer bytes. (Measured, 256-d texts: a
** sixth less time. With 128 dimensions nothing is gained.) */
uint32_t vdb_graph_bits_begin(const struct graph_builder *b,
                              const struct vdb_graph *g){
  if( b->opts->bits ) return b->opts->bits;
  if( g->dims_code>=ONE_BIT_FROM && vdb_graph_bits_tried(b) ) return 1;
  return g->is_prefix || g->dims_code<=FULL_2BIT_MAX ? 2 : 1;
}

static int space_choose(struct graph_builder *b, float *x){
  struct vdb_graph *g = b->g;
  uint32_t prefix;
  int rc = VECDB_OK;
  TRY( vdb_graph_choose_nav(b, x) );
  if( g->nav==VDB_NAV_BITS ){
    g->is_jaccard = b->opts->is_jaccard;
    g->bits = 1;
    return vdb_graph_layout(g);
  }
  TRY( prefix_choose(b, &prefix) );
  g->is_prefix = prefix<g->d && g->nav!=VDB_NAV_F32;
  g->dims_code = graph_round_up(g->is_prefix ? prefix : g->d, 64);
  g->bits = vdb_graph_bits_begin(b, g);
  g->reuse = g->is_prefix ? 1 : 0;
  TRY( vdb_graph_layout(g) );
done:
  return rc;
}

/* In double precision and in build order. */
int vdb_graph_centre(const struct graph_builder *b, struct vdb_graph *g,
                     float *x){
  uint32_t n = b->n<SAMPLE_MEAN ? b->n : SAMPLE_MEAN;
  double *sum = vdb_calloc(g->d, sizeof(*sum));
  int rc = VECDB_OK;
  if( sum==NULL ) return VECDB_NOMEM;
  for(uint32_t i=0; i<n; i++){
    TRY( b->src->fetch(b->src->arg, b->origin[i], x) );
    for(uint32_t j=0; j<g->d; j++) sum[j] += x[j];
  }
  for(uint32_t j=0; j<g->d && n; j++) g->mu[j] = (float)(sum[j]/(double)n);
done:
  vdb_free(sum);
  return rc;
}

/* Row i becomes the image of unit vector i under a rotation: the given one of
** the navigation basis, or a random one. */
static int axes_of_units(const struct vdb_graph *g, bool is_random,
                         float *axes){
  size_t n = g->dims_nav;
  float *sign = vdb_malloc_aligned(4*n*sizeof(float));
  struct vdb_rng r;
  if( sign==NULL ) return VECDB_NOMEM;
  vdb_rng_init(&r, vdb_mix64(g->seed ^ 0x61786573u));
  for(size_t i=0; i<4*n; i++){
    sign[i] = !is_random ? g->sign[i] : vdb_rng_u64(&r)>>63 ? 1.0f : -1.0f;
  }
  memset(axes, 0, g->dims_code*n*sizeof(float));
  for(size_t i=0; i<g->dims_code; i++){
    axes[i*n+i] = 1;
    g->simd->rotate(sign, n, axes + i*n);
  }
  vdb_free_aligned(sign);
  return VECDB_OK;
}

/* The first dimensions of the caller, in the navigation basis. */
static int axes_first(const struct vdb_graph *g, float *axes){
  if( g->nav==VDB_NAV_SQ8 ) return axes_of_units(g, false, axes);
  memset(axes, 0, (size_t)g->dims_code*g->dims_nav*sizeof(float));
  for(size_t i=0; i<g->dims_code; i++) axes[i*g->dims_nav + i] = 1;
  return VECDB_OK;
}

/* Rows of the sample, floats and doubles: a quarter of the memory at most. */
static uint32_t sample_pca(const struct graph_builder *b){
  uint64_t n = b->n<SAMPLE_PCA ? b->n : SAMPLE_PCA;
  uint64_t most = b->opts->sz_memory/(48*(uint64_t)b->g->dims_nav);
  if( b->opts->sz_memory>0 && n>most ) n = most<64 ? 64 : most;
  return n<b->n ? (uint32_t)n : b->n;
}

/* Axes of a sample in the navigation basis, mixed by a rotation so that every
** code dimension has the same share of the energy, as rows of signed bytes. */
static int projection_compute(struct graph_builder *b, float *x){
  struct vdb_graph *g = b->g;
  uint32_t n = sample_pca(b);
  float *rows = vdb_malloc_aligned((size_t)n*g->dims_nav*sizeof(float) + 64);
  float *axes = vdb_malloc_aligned((size_t)g->dims_code*g->dims_nav
                                   *sizeof(float));
  int rc = VECDB_OK;
  if( rows==NULL || axes==NULL ) TRY( VECDB_NOMEM );
  if( b->opts->axes==VDB_AXES_RANDOM ){
    TRY( axes_of_units(g, true, axes) );
  }else if( b->opts->axes==VDB_AXES_FIRST ){
    TRY( axes_first(g, axes) );
  }else{
    for(uint32_t i=0; i<n; i++){
      TRY( b->src->fetch(b->src->arg, b->origin[i], x) );
      vdb_graph_to_nav(g, x, rows + (size_t)i*g->dims_nav);
    }
    TRY( vdb_pca_axes(rows, n, g->dims_nav, g->dims_code, g->seed, b->n_thread,
                      axes) );
  }
  TRY( vdb_pca_mix(g->simd, axes, g->dims_code, g->dims_nav, g->seed) );
  vdb_pca_bytes(axes, g->dims_code, g->dims_nav, g->proj, g->proj_scale);
  for(uint32_t i=0; i<g->dims_code && g->nav==VDB_NAV_BYTES; i++){
    double s = 0;
    for(uint32_t j=0; j<g->d; j++){
      s += (double)g->mu[j]*g->proj[(size_t)i*g->dims_nav + j];
    }
    g->proj_bias[i] = (float)(s*g->proj_scale[i]);
  }
done:
  vdb_free_aligned(rows);
  vdb_free_aligned(axes);
  return rc;
}

/* ---- Blocks -------------------------------------------------------------- */

static int blocks_load(struct graph_builder *b, float *x, float *nav){
  uint32_t *slot = vdb_malloc_array((size_t)b->n+1, sizeof(*slot));
  int rc = VECDB_OK;
  if( slot==NULL ) return VECDB_NOMEM;
  for(uint32_t s=0; s<b->n; s++) slot[b->origin[s]] = s;
  for(uint32_t i=0; i<b->n; i++){
    unsigned char *block = build_block(b, slot[i]);
    TRY( b->src->fetch(b->src->arg, i, x) );
    if( b->opts->like && !vdb_graph_vector_fits(b->g, x) ){
      TRY( VECDB_MISMATCH );
    }
    vdb_graph_to_nav(b->g, x, nav);
    vdb_graph_block_init(b->g, block, slot[i], source_row(b->src, i),
                         source_key(b->src, i));
    vdb_graph_block_vector(b->g, block, nav);
  }
done:
  vdb_free(slot);
  return rc;
}

static int blocks_alloc(struct graph_builder *b){
  struct vdb_graph *g = b->g;
  uint32_t n_group = (uint32_t)(((uint64_t)b->n + (1u<<g->shift)-1)
                                >> g->shift);
  int rc;
  TRY( vdb_graph_pieces_open(b, g, b->n, &b->piece) );
  TRY( vdb_graph_pieces_alloc(g, &b->piece) );
  b->base = vdb_malloc_array((size_t)n_group+1, sizeof(*b->base));
  if( b->base==NULL ) TRY( VECDB_NOMEM );
  for(uint32_t i=0; i<n_group; i++) b->base[i] = build_group(b, i);
  b->blocks.base = b->base;
  b->blocks.n_slots = b->n;
done:
  return rc;
}

/* ---- Equal vectors ------------------------------------------------------- */

struct row_hash { uint64_t hash; uint32_t slot; };

static int row_hash_compare(const void *a, const void *b){
  const struct row_hash *x = a, *y = b;
  if( x->hash!=y->hash ) return x->hash<y->hash ? -1 : 1;
  return x->slot<y->slot ? -1 : x->slot>y->slot;
}

uint64_t vdb_graph_block_hash(const struct vdb_graph *g,
                              const unsigned char *block){
  uint64_t h = get_u64(block+GRAPHBLOCK_SCALE);
  const unsigned char *p = graph_nav(block);
  for(uint32_t i=0; i<g->sz_nav; i+=8){
    h = (h ^ get_u64(p+i))*0x9e3779b97f4a7c15u;
    h ^= h>>29;
  }
  return vdb_mix64(h);
}

bool vdb_graph_block_equal(const struct vdb_graph *g, const unsigned char *a,
                           const unsigned char *b){
  return get_u64(a+GRAPHBLOCK_SCALE)==get_u64(b+GRAPHBLOCK_SCALE)
      && memcmp(graph_nav(a), graph_nav(b), g->sz_nav)==0;
}

static uint64_t block_key(const struct graph_builder *b, uint32_t slot){
  return get_u64(build_block(b, slot)+GRAPHBLOCK_KEY);
}

/* Members of a group are chained in order of key. */
struct row_key { uint64_t key; uint32_t slot; };

static int key_compare(const void *a, const void *b){
  const struct row_key *x = a, *y = b;
  return x->key<y->key ? -1 : x->key>y->key;
}
static int chain_build(struct graph_builder *b, const struct row_hash *h,
                       uint32_t n, uint64_t *is_member){
  struct row_key *o;
  o = vdb_malloc_array(n, sizeof(*o));
  if( o==NULL ) return VECDB_NOMEM;
  for(uint32_t i=0; i<n; i++){
    o[i].slot = h[i].slot;
    o[i].key = block_key(b, h[i].slot);
  }
  qsort(o, n, sizeof(*o), key_compare);
  for(uint32_t i=0; i<n; i++){
    put_u32(build_block(b, o[i].slot)+GRAPHBLOCK_DUP,
            i+1<n ? o[i+1].slot : SLOT_NONE);
    if( i>0 ) vdb_bit_set(is_member, o[i].slot);
  }
  vdb_free(o);
  return VECDB_OK;
}

/* Chain equal vectors; members are marked in a bitmap by slot. Rows that share
** a hash but not a vector stay apart, at worst uncoupled from an equal one. */
static int equals_chain(struct graph_builder *b, uint64_t *is_member,
                        uint32_t *n_member){
  struct row_hash *h = vdb_malloc_array((size_t)b->n+1, sizeof(*h));
  uint32_t j;
  int rc = VECDB_OK;
  *n_member = 0;
  if( h==NULL ) return VECDB_NOMEM;
  for(uint32_t s=0; s<b->n; s++){
    h[s].slot = s;
    h[s].hash = vdb_graph_block_hash(b->g, build_block(b, s));
  }
  qsort(h, b->n, sizeof(*h), row_hash_compare);
  for(uint32_t i=0; i<b->n; i=j){
    for(j=i+1; j<b->n && h[j].hash==h[i].hash
               && vdb_graph_block_equal(b->g, build_block(b, h[i].slot),
                                        build_block(b, h[j].slot)); j++){}
    if( j-i<2 ) continue;
    TRY( chain_build(b, h+i, j-i, is_member) );
    *n_member += j-i-1;
  }
done:
  vdb_free(h);
  return rc;
}

/* Move every block to its new slot, cycle by cycle. */
static int blocks_permute(struct graph_builder *b, uint32_t *to){
  struct vdb_graph *g = b->g;
  unsigned char *held = vdb_malloc_aligned(2*(size_t)g->stride);
  unsigned char *next = held + g->stride;
  if( held==NULL ) return VECDB_NOMEM;
  for(uint32_t s=0; s<b->n; s++){
    uint32_t at = s, origin = b->origin[s], t;
    if( to[s]==SLOT_NONE ) continue;
    memcpy(held, build_block(b, s), g->stride);
    while( (t = to[at])!=SLOT_NONE ){
      uint32_t o = b->origin[t];
      memcpy(next, build_block(b, t), g->stride);
      memcpy(build_block(b, t), held, g->stride);
      b->origin[t] = origin;
      origin = o;
      memcpy(held, next, g->stride);
      to[at] = SLOT_NONE;
      at = t;
    }
  }
  vdb_free_aligned(held);
  return VECDB_OK;
}

static int equals_find(struct graph_builder *b){
  uint64_t *is_member = vdb_calloc((size_t)b->n/64+1, sizeof(*is_member));
  uint32_t *to = vdb_malloc_array((size_t)b->n+1, sizeof(*to)), *to2 = NULL;
  uint32_t n_member, i_node = 0, i_member;
  int rc = VECDB_OK;
  b->n_nodes = b->n;
  if( is_member==NULL || to==NULL ) TRY( VECDB_NOMEM );
  TRY( equals_chain(b, is_member, &n_member) );
  if( n_member==0 ) goto done;
  b->n_nodes = i_member = b->n - n_member;
  for(uint32_t s=0; s<b->n; s++){
    bool m = is_member[s/64] >> (s%64) & 1;
    to[s] = m ? i_member++ : i_node++;
  }
  to2 = vdb_memdup(to, b->n*sizeof(*to));
  if( to2==NULL ) TRY( VECDB_NOMEM );
  TRY( blocks_permute(b, to2) );
  for(uint32_t s=0; s<b->n; s++){
    unsigned char *p = build_block(b, s);
    uint32_t dup = get_u32(p+GRAPHBLOCK_DUP);
    put_u32(p+GRAPHBLOCK_SLOT, s);
    if( dup!=SLOT_NONE ) put_u32(p+GRAPHBLOCK_DUP, to[dup]);
    if( s>=b->n_nodes ) put_u16(p+GRAPHBLOCK_FLAGS, GRAPH_DUP);
  }
done:
  vdb_free(is_member);
  vdb_free(to);
  vdb_free(to2);
  return rc;
}

/* ---- Codes and router ---------------------------------------------------- */

#define CODE_TASK  256

static int code_task(void *arg, size_t i_task, unsigned worker){
  struct graph_builder *b = arg;
  uint32_t lo = (uint32_t)i_task*CODE_TASK;
  uint32_t hi = b->n_nodes-lo<CODE_TASK ? b->n_nodes : lo+CODE_TASK;
  float *tmp = vdb_malloc_aligned(b->g->dims_nav*sizeof(float));
  VDB_UNUSED(worker);
  if( tmp==NULL ) return VECDB_NOMEM;
  for(uint32_t s=lo; s<hi; s++){
    vdb_graph_to_code(b->g, build_block(b, s), build_code(b, s), tmp);
  }
  vdb_free_aligned(tmp);
  return VECDB_OK;
}

static int codes_compute(struct graph_builder *b){
  size_t n;
  if( !vdb_mul_sz(b->n_nodes, b->g->len_code, &n)
   || !vdb_mul_sz(n, sizeof(float), &n) ) return VECDB_TOOBIG;
  b->code = vdb_malloc_aligned(n+64);
  if( b->code==NULL ) return VECDB_NOMEM;
  vdb_mem_prefer_huge(b->code, n);
  return vdb_pool_run(b->n_thread, (b->n_nodes + CODE_TASK-1)/CODE_TASK,
                      code_task, b);
}

/* Entry i of the router: node `slot`, coded relative to the centre. */
int vdb_graph_router_set(struct graph_builder *b, uint32_t i, uint32_t slot){
  struct vdb_graph *g = b->g;
  struct graph_router *r = &g->router;
  uint8_t *u = vdb_malloc_aligned(g->dims_code);
  float *x = vdb_malloc_aligned(g->dims_code*sizeof(float));
  struct vdb_code_factors f;
  int rc = VECDB_OK;
  if( u==NULL || x==NULL ) TRY( VECDB_NOMEM );
  f = vdb_graph_entry_put(g, graph_entry_group(g, i), i%32,
                          build_code(b, slot), u, x);
  r->slot[i] = slot;
  r->f_add[i] = f.f_add;
  r->f_resc[i] = f.f_resc;
done:
  vdb_free_aligned(u);
  vdb_free_aligned(x);
  return rc;
}

/* The first nodes in build order. */
int vdb_graph_fill_router(struct graph_builder *b){
  int rc = VECDB_OK;
  for(uint32_t i=0; i<b->g->router.n; i++) TRY( vdb_graph_router_set(b, i, i) );
done:
  return rc;
}

static uint32_t router_size(const struct graph_builder *b){
  uint32_t n = b->opts->n_router ? b->opts->n_router : ROUTER_BUILD;
  n = n<32 ? 32 : n>ROUTER_MAX ? ROUTER_MAX : n;
  return n<b->n_nodes ? n : b->n_nodes;
}

/* The space of another index. */
static int space_share(struct vdb_graph *g, const struct vdb_graph *like){
  g->nav = like->nav;
  g->lo = like->lo;
  g->is_jaccard = like->is_jaccard;
  g->is_prefix = like->is_prefix;
  g->dims_code = like->dims_code;
  g->bits = like->bits;
  g->reuse = like->reuse;
  return g->d==like->d ? vdb_graph_layout(g) : VECDB_RANGE;
}

static void tables_share(struct vdb_graph *g, const struct vdb_graph *like){
  size_t n_code = g->is_prefix ? g->dims_code : 0;
  memcpy(g->mu, like->mu, g->d*sizeof(float));
  memcpy(g->sign_bits, like->sign_bits, g->rot_dims/2);
  if( n_code>0 ){
    memcpy(g->proj, like->proj, n_code*g->dims_nav);
    memcpy(g->proj_scale, like->proj_scale, n_code*sizeof(float));
    memcpy(g->proj_bias, like->proj_bias, n_code*sizeof(float));
  }
  vdb_graph_derive(g);
}

/* Centre, rotation, projection of this index's own rows. */
static int tables_compute(struct graph_builder *b, float *x){
  struct vdb_graph *g = b->g;
  int rc;
  if( g->nav==VDB_NAV_BITS ) return VECDB_OK;
  TRY( vdb_graph_centre(b, g, x) );
  vdb_graph_draw_signs(g);
  vdb_graph_derive(g);
  if( !g->is_prefix ) return VECDB_OK;
  TRY( projection_compute(b, x) );
  vdb_graph_derive(g);
done:
  return rc;
}

bool vdb_graph_vector_fits(const struct vdb_graph *g, const float *x){
  if( g->nav!=VDB_NAV_BYTES ) return true;
  for(uint32_t i=0; i<g->d; i++){
    float v = x[i] - (float)g->lo;
    if( !(v>=0 && v<=255) || v!=(float)(int32_t)v ) return false;
  }
  return true;
}

int vdb_graph_load_rows(struct graph_builder *b){
  struct vdb_graph *g = vdb_calloc(1, sizeof(*g));
  float *x = NULL, *nav = NULL;
  int rc = VECDB_OK;
  b->g = g;
  if( g==NULL ) return VECDB_NOMEM;
  g->d = b->src->d;
  g->n_slots = b->n;
  g->n_lanes = b->n_lanes;
  g->seed = b->opts->seed;
  if( g->d<1 || g->d>VDB_GRAPH_DIMS_MAX ) TRY( VECDB_RANGE );
  x = vdb_malloc_aligned(g->d*sizeof(float));
  if( x==NULL ) TRY( VECDB_NOMEM );
  TRY( vdb_graph_rows_order(b, b->n) );
  TRY( b->opts->like ? space_share(g, b->opts->like) : space_choose(b, x) );
  TRY( vdb_graph_memory_check(b, b->n) );
  nav = vdb_malloc_aligned(g->dims_nav*sizeof(float));
  if( nav==NULL ) TRY( VECDB_NOMEM );
  /* Until equals are known: at most so many entries. */
  b->n_nodes = b->n;
  TRY( vdb_graph_alloc(g, router_size(b)) );
  g->router.n_seed = b->opts->n_seed ? b->opts->n_seed : ROUTER_SEEDS;
  if( b->opts->like ) tables_share(g, b->opts->like);
  else TRY( tables_compute(b, x) );
  TRY( blocks_alloc(b) );
  TRY( blocks_load(b, x, nav) );
  TRY( equals_find(b) );
  g->n_nodes = b->n_nodes;
  TRY( codes_compute(b) );
  if( g->router.n>b->n_nodes ){
    g->router.n = b->n_nodes;
    g->router.n_pad = graph_round_up(b->n_nodes, 32);
  }
  TRY( vdb_graph_fill_router(b) );
done:
  vdb_free_aligned(x);
  vdb_free_aligned(nav);
  return rc;
}
