/* graph_header.c -- the header of a graph index: bytes to tables and back.
**
** FORMAT   GRAPHHDR in pager/format.def and the parts listed above it there.
**
** What a header says about sizes is checked against each other and against the
** number of bytes there are, before anything is allocated: a header cannot
** make us allocate more than a small multiple of its own length.
*/
#include <math.h>

#include "index/graph_int.h"
#include "util/mem.h"
#include "util/rng.h"

#define HEADER_VERSION  1u
static const char graph_magic[8] = { 'v','d','b','g','r','a','p','h' };

/* Blocks of vectors whose sizes are known. */
static int layout_block(struct vdb_graph *g){
  uint64_t sz_code, stride;
  sz_code = (uint64_t)g->n_lanes/32
          * VDB_CODE_GROUP_BYTES(g->dims_code, g->bits);
  stride = GRAPHBLOCK_SIZE + g->sz_nav + 12*g->n_lanes + sz_code;
  if( stride>(2u<<20) ) return VECDB_RANGE;
  g->stride = (uint32_t)stride;
  g->shift = 0;
  while( ((uint64_t)g->stride<<(g->shift+1))<=GRAPH_GROUP_MAX ) g->shift++;
  return VECDB_OK;
}

/* Vectors of bits: nothing is rotated, codes are the bits. */
static int layout_bits(struct vdb_graph *g){
  if( g->bits!=1 || g->is_prefix || g->lo!=0 ) return VECDB_RANGE;
  g->code_kind = g->is_jaccard ? VDB_CODE_JACCARD : VDB_CODE_HAMMING;
  g->dims_nav = graph_round_up(g->d, 512);
  g->sz_nav = g->dims_nav/8;
  g->dims_code = graph_round_up(g->d, 64);
  g->len_code = graph_round_up(g->dims_code/32, 16);
  g->rot_dims = 0;
  return layout_block(g);
}

int vdb_graph_layout(struct vdb_graph *g){
  g->simd = vdb_code_simd();
  if( g->d<1 || g->d>VDB_GRAPH_DIMS_MAX ) return VECDB_RANGE;
  if( g->n_lanes!=32 && g->n_lanes!=64 ) return VECDB_RANGE;
  if( g->bits!=1 && g->bits!=2 && g->bits!=4 ) return VECDB_RANGE;
  if( g->n_slots>VDB_GRAPH_SLOTS_MAX ) return VECDB_TOOBIG;
  g->code_kind = VDB_CODE_RESIDUAL;
  if( g->nav==VDB_NAV_BITS ) return layout_bits(g);
  g->dims_nav = graph_round_up(g->d, g->nav==VDB_NAV_F32 ? 16 : 64);
  g->sz_nav = g->dims_nav * (g->nav==VDB_NAV_F32 ? 4 : 1);
  if( g->is_prefix ){
    if( g->nav==VDB_NAV_F32 || g->dims_code%64 || g->dims_code<64
     || g->dims_code>graph_round_up(g->d, 64) ) return VECDB_RANGE;
    g->rot_dims = g->nav==VDB_NAV_SQ8 ? g->dims_nav : 0;
  }else{
    g->dims_code = graph_round_up(g->d, 64);
    g->rot_dims = g->dims_code;
  }
  g->len_code = g->dims_code;
  return layout_block(g);
}

/* ---- Tables -------------------------------------------------------------- */

static int table_alloc(void *pp, size_t n, size_t sz){
  size_t all = 0;
  bool fits = vdb_mul_sz(n, sz, &all);
  void *p;
  /* Both are below 2^18 (vdb_graph_layout, ROUTER_MAX), or there are as many
  ** bytes in the header that is read. */
  VDB_UNUSED(fits);                      /* where NEVER is a constant */
  if( VDB_NEVER(!fits) ) return VECDB_NOMEM;
  p = vdb_malloc_aligned(all + 64);
  if( p==NULL ) return VECDB_NOMEM;
  memset(p, 0, all + 64);
  memcpy(pp, &p, sizeof(p));
  return VECDB_OK;
}

int vdb_graph_alloc(struct vdb_graph *g, uint32_t n_router){
  struct graph_router *r = &g->router;
  int rc = VECDB_OK;
  r->n = n_router;
  r->n_pad = graph_round_up(n_router, 32);
  TRY( table_alloc(&g->mu, g->dims_nav, sizeof(float)) );
  TRY( table_alloc(&g->sign, 4*(size_t)g->rot_dims, sizeof(float)) );
  TRY( table_alloc(&g->sign_bits, g->rot_dims/2, 1) );
  if( g->is_prefix ){
    TRY( table_alloc(&g->proj, g->dims_code, g->dims_nav) );
    TRY( table_alloc(&g->proj_scale, g->dims_code, sizeof(float)) );
    TRY( table_alloc(&g->proj_bias, g->dims_code, sizeof(float)) );
    TRY( table_alloc(&g->proj_sum, g->dims_code, sizeof(int32_t)) );
  }
  TRY( table_alloc(&r->slot, r->n_pad, sizeof(uint32_t)) );
  TRY( table_alloc(&r->f_add, r->n_pad, sizeof(float)) );
  TRY( table_alloc(&r->f_resc, r->n_pad, sizeof(float)) );
  TRY( table_alloc(&r->code, r->n_pad/32,
                   VDB_CODE_GROUP_BYTES(g->dims_code, g->bits)) );
  for(uint32_t i=0; i<r->n_pad; i++){
    r->slot[i] = SLOT_NONE;
    r->f_add[i] = INFINITY;
  }
done:
  return rc;
}

void vdb_graph_close(struct vdb_graph *g){
  if( g==NULL ) return;
  vdb_free_aligned(g->mu);
  vdb_free_aligned(g->sign);
  vdb_free_aligned(g->sign_bits);
  vdb_free_aligned(g->proj);
  vdb_free_aligned(g->proj_scale);
  vdb_free_aligned(g->proj_bias);
  vdb_free_aligned(g->proj_sum);
  vdb_free_aligned(g->router.slot);
  vdb_free_aligned(g->router.f_add);
  vdb_free_aligned(g->router.f_resc);
  vdb_free_aligned(g->router.code);
  vdb_free(g);
}

void vdb_graph_draw_signs(struct vdb_graph *g){
  struct vdb_rng r;
  vdb_rng_init(&r, vdb_mix64(g->seed ^ 0x726f746174696f6eu));
  for(size_t i=0; i<g->rot_dims/2; i+=8){
    put_u64(g->sign_bits+i, vdb_rng_u64(&r));
  }
}

void vdb_graph_derive(struct vdb_graph *g){
  if( g->rot_dims ) vdb_code_signs(g->sign_bits, g->rot_dims, g->sign);
  for(size_t i=0; g->is_prefix && i<g->dims_code; i++){
    const int8_t *p = g->proj + i*g->dims_nav;
    int32_t s = 0;
    for(size_t j=0; j<g->dims_nav; j++) s += p[j];
    g->proj_sum[i] = s;
  }
}

/* ---- Parts, in order ----------------------------------------------------- */

/* Walks the parts of a header: writes to p, reads from src, or only counts. */
struct header_io {
  unsigned char *p;             /* when writing */
  const unsigned char *src;     /* when reading */
  size_t off;
};

static void part_f32(struct header_io *io, float *x, size_t n){
  io->off = (io->off+63)/64*64;
  for(size_t i=0; i<n && io->p; i++) put_f32(io->p+io->off+4*i, x[i]);
  for(size_t i=0; i<n && io->src; i++) x[i] = get_f32(io->src+io->off+4*i);
  io->off += 4*n;
}
static void part_u32(struct header_io *io, uint32_t *x, size_t n){
  io->off = (io->off+63)/64*64;
  for(size_t i=0; i<n && io->p; i++) put_u32(io->p+io->off+4*i, x[i]);
  for(size_t i=0; i<n && io->src; i++) x[i] = get_u32(io->src+io->off+4*i);
  io->off += 4*n;
}
static void part_bytes(struct header_io *io, void *x, size_t n){
  io->off = (io->off+63)/64*64;
  if( io->p && n ) memcpy(io->p+io->off, x, n);
  if( io->src && n ) memcpy(x, io->src+io->off, n);
  io->off += n;
}
static void part_cal(struct header_io *io, struct graph_cal *c, size_t n){
  io->off = (io->off+63)/64*64;
  for(size_t i=0; i<n; i++, c++){
    size_t at = io->off + i*GRAPHCAL_SIZE;
    unsigned char *p = io->p ? io->p+at : NULL;
    const unsigned char *z = io->src ? io->src+at : NULL;
    if( p ){
      put_u32(p+GRAPHCAL_EF, c->ef);
      put_f32(p+GRAPHCAL_STOP, c->stop);
      put_f32(p+GRAPHCAL_RECALL10, c->recall10);
      put_f32(p+GRAPHCAL_LOW10, c->low10);
      put_f32(p+GRAPHCAL_RECALLN, c->recall_n);
      put_f32(p+GRAPHCAL_LOWN, c->low_n);
      put_f32(p+GRAPHCAL_HOPS, c->hops);
      put_u32(p+GRAPHCAL_N, c->n);
    }
    if( z ){
      c->ef = get_u32(z+GRAPHCAL_EF);
      c->stop = get_f32(z+GRAPHCAL_STOP);
      c->recall10 = get_f32(z+GRAPHCAL_RECALL10);
      c->low10 = get_f32(z+GRAPHCAL_LOW10);
      c->recall_n = get_f32(z+GRAPHCAL_RECALLN);
      c->low_n = get_f32(z+GRAPHCAL_LOWN);
      c->hops = get_f32(z+GRAPHCAL_HOPS);
      c->n = get_u32(z+GRAPHCAL_N);
      if( c->n==0 ) c->n = 100;
    }
  }
  io->off += n*GRAPHCAL_SIZE;
}

/* The tables of g; without source and destination: how many bytes. */
static void header_parts(struct vdb_graph *g, struct header_io *io){
  struct graph_router *r = &g->router;
  size_t n_code = g->is_prefix ? g->dims_code : 0;
  io->off = GRAPHHDR_SIZE;
  part_f32(io, g->mu, g->nav==VDB_NAV_BITS ? 0 : g->d);
  part_bytes(io, g->sign_bits, g->rot_dims/2);
  part_bytes(io, g->proj, n_code*g->dims_nav);
  part_f32(io, g->proj_scale, n_code);
  part_f32(io, g->proj_bias, n_code);
  part_u32(io, r->slot, r->n_pad);
  part_f32(io, r->f_add, r->n_pad);
  part_f32(io, r->f_resc, r->n_pad);
  part_bytes(io, r->code, (size_t)r->n_pad/32
                          *VDB_CODE_GROUP_BYTES(g->dims_code, g->bits));
  part_cal(io, g->cal, g->n_cal);
}

static void header_put(const struct vdb_graph *g, unsigned char *p, size_t sz){
  memcpy(p+GRAPHHDR_MAGIC, graph_magic, 8);
  put_u32(p+GRAPHHDR_VERSION, HEADER_VERSION);
  put_u32(p+GRAPHHDR_NSLOT, g->n_slots);
  put_u64(p+GRAPHHDR_SZ, sz);
  put_u64(p+GRAPHHDR_SEED, g->seed);
  put_u32(p+GRAPHHDR_NNODE, g->n_nodes);
  put_u32(p+GRAPHHDR_D, g->d);
  put_u32(p+GRAPHHDR_DIMSNAV, g->dims_nav);
  put_u32(p+GRAPHHDR_DIMSCODE, g->dims_code);
  put_u32(p+GRAPHHDR_ROTDIMS, g->rot_dims);
  put_u32(p+GRAPHHDR_STRIDE, g->stride);
  p[GRAPHHDR_SHIFT] = (unsigned char)g->shift;
  p[GRAPHHDR_NAV] = (unsigned char)g->nav;
  p[GRAPHHDR_BITS] = (unsigned char)g->bits;
  p[GRAPHHDR_FLAGS] = (unsigned char)((g->is_prefix ? GRAPH_PROJECTED : 0)
                                      | (g->is_mixed ? GRAPH_MIXED : 0)
                                      | (g->is_summed ? GRAPH_SUMMED : 0)
                                      | (g->is_jaccard ? GRAPH_JACCARD : 0));
  put_u16(p+GRAPHHDR_NLANES, (uint16_t)g->n_lanes);
  put_u16(p+GRAPHHDR_NSEED, (uint16_t)g->router.n_seed);
  put_u32(p+GRAPHHDR_LO, (uint32_t)g->lo);
  put_u32(p+GRAPHHDR_NROUTER, g->router.n);
  put_u32(p+GRAPHHDR_NCAL, g->n_cal);
  put_f32(p+GRAPHHDR_STOP, g->stop);
  put_u32(p+GRAPHHDR_REUSE, g->reuse);
  put_u32(p+GRAPHHDR_NCHANGED, g->n_changed);
}

int vdb_graph_encode(const struct vdb_graph *g, unsigned char **out,
                     size_t *sz){
  struct vdb_graph copy = *g;
  struct header_io io = { 0 };
  *out = NULL;
  *sz = 0;
  header_parts(&copy, &io);
  io.p = vdb_calloc(1, io.off);
  if( io.p==NULL ) return VECDB_NOMEM;
  *sz = io.off;
  *out = io.p;
  header_parts(&copy, &io);
  header_put(g, *out, *sz);
  return VECDB_OK;
}

/* ---- Opening ------------------------------------------------------------- */

static int header_get(struct vdb_graph *g, const unsigned char *p){
  uint32_t n_nav = get_u32(p+GRAPHHDR_DIMSNAV);
  uint32_t n_rot = get_u32(p+GRAPHHDR_ROTDIMS);
  g->n_slots = get_u32(p+GRAPHHDR_NSLOT);
  g->n_nodes = get_u32(p+GRAPHHDR_NNODE);
  g->seed = get_u64(p+GRAPHHDR_SEED);
  g->d = get_u32(p+GRAPHHDR_D);
  g->dims_code = get_u32(p+GRAPHHDR_DIMSCODE);
  g->nav = p[GRAPHHDR_NAV];
  g->bits = p[GRAPHHDR_BITS];
  g->is_prefix = (p[GRAPHHDR_FLAGS] & GRAPH_PROJECTED)!=0;
  g->is_mixed = (p[GRAPHHDR_FLAGS] & GRAPH_MIXED)!=0;
  g->is_summed = (p[GRAPHHDR_FLAGS] & GRAPH_SUMMED)!=0;
  g->is_jaccard = (p[GRAPHHDR_FLAGS] & GRAPH_JACCARD)!=0;
  g->n_lanes = get_u16(p+GRAPHHDR_NLANES);
  g->lo = (int32_t)get_u32(p+GRAPHHDR_LO);
  g->n_cal = get_u32(p+GRAPHHDR_NCAL);
  g->stop = get_f32(p+GRAPHHDR_STOP);
  g->reuse = get_u32(p+GRAPHHDR_REUSE);
  g->n_changed = get_u32(p+GRAPHHDR_NCHANGED);
  g->router.n_seed = get_u16(p+GRAPHHDR_NSEED);
  if( g->nav<VDB_NAV_BYTES || g->nav>VDB_NAV_BITS
   || (g->is_jaccard && g->nav!=VDB_NAV_BITS)
   || (g->lo!=0 && g->lo!=-128) || g->n_nodes>g->n_slots
   || (g->n_nodes==0)!=(g->n_slots==0)
   || (g->is_mixed && g->n_nodes!=g->n_slots)
   || p[GRAPHHDR_FLAGS]>(GRAPH_PROJECTED|GRAPH_MIXED|GRAPH_SUMMED|GRAPH_JACCARD)
   || g->n_cal>GRAPH_CAL_MAX
   || g->router.n_seed<1 || g->router.n_seed>64 || g->reuse>2
   || !(g->stop>=-1 && g->stop<=1e6f)
   || get_u32(p+GRAPHHDR_NROUTER)>g->n_nodes
   || (get_u32(p+GRAPHHDR_NROUTER)==0)!=(g->n_nodes==0)
   || vdb_graph_layout(g)!=VECDB_OK
   || g->dims_nav!=n_nav || g->rot_dims!=n_rot
   || g->dims_code!=get_u32(p+GRAPHHDR_DIMSCODE)
   || g->stride!=get_u32(p+GRAPHHDR_STRIDE) || g->shift!=p[GRAPHHDR_SHIFT] ){
    return VECDB_CORRUPT_INDEX;
  }
  return VECDB_OK;
}

/* Floats that make no estimate infinite or NaN; padding may be +inf. */
static bool floats_are_sane(const float *x, size_t n, bool is_inf_ok){
  for(size_t i=0; i<n; i++){
    if( !(fabsf(x[i])<=1e30f) && !(is_inf_ok && x[i]==INFINITY) ) return false;
  }
  return true;
}

static bool share_is_sane(float x){ return x>=-1 && x<=1; }

static int tables_check(const struct vdb_graph *g){
  const struct graph_router *r = &g->router;
  size_t n_code = g->is_prefix ? g->dims_code : 0;
  for(uint32_t i=0; i<r->n_pad; i++){
    if( i<r->n ? r->slot[i]>=g->n_nodes : r->slot[i]!=SLOT_NONE ){
      return VECDB_CORRUPT_INDEX;
    }
  }
  for(uint32_t i=0; i<g->n_cal; i++){
    if( g->cal[i].ef<1 || g->cal[i].ef>VDB_GRAPH_EF_MAX
     || !(g->cal[i].stop>=-1 && g->cal[i].stop<=1e6f)
     || !share_is_sane(g->cal[i].recall10) || !share_is_sane(g->cal[i].low10)
     || !share_is_sane(g->cal[i].recall_n)
     || !share_is_sane(g->cal[i].low_n) || !(g->cal[i].hops>=0) ){
      return VECDB_CORRUPT_INDEX;
    }
  }
  return floats_are_sane(g->mu, g->d, false)
      && floats_are_sane(g->proj_scale, n_code, false)
      && floats_are_sane(g->proj_bias, n_code, false)
      && floats_are_sane(r->f_add, r->n_pad, true)
      && floats_are_sane(r->f_resc, r->n_pad, false)
       ? VECDB_OK : VECDB_CORRUPT_INDEX;
}

int vdb_graph_open(const void *bytes, size_t sz, struct vdb_graph **out){
  const unsigned char *p = bytes;
  struct vdb_graph *g = NULL;
  struct header_io io = { 0 };
  int rc = VECDB_OK;

  *out = NULL;
  if( sz<GRAPHHDR_SIZE || memcmp(p, graph_magic, 8)!=0 ){
    return VECDB_CORRUPT_INDEX;
  }
  if( get_u32(p+GRAPHHDR_VERSION)!=HEADER_VERSION ) return VECDB_FORMAT;
  g = vdb_calloc(1, sizeof(*g));
  if( g==NULL ) return VECDB_NOMEM;
  TRY( header_get(g, p) );
  g->router.n = get_u32(p+GRAPHHDR_NROUTER);
  g->router.n_pad = graph_round_up(g->router.n, 32);
  header_parts(g, &io);
  if( io.off!=sz || get_u64(p+GRAPHHDR_SZ)!=sz ){
    rc = VECDB_CORRUPT_INDEX;
    goto done;
  }
  TRY( vdb_graph_alloc(g, g->router.n) );
  io.src = p;
  header_parts(g, &io);
  TRY( tables_check(g) );
  vdb_graph_derive(g);
  *out = g;
  g = NULL;
done:
  vdb_graph_close(g);
  return rc;
}

void vdb_graph_info(const struct vdb_graph *g, struct vdb_graph_info *out){
  memset(out, 0, sizeof(*out));
  out->n_slots = g->n_slots;
  out->n_nodes = g->n_nodes;
  out->d = g->d;
  out->stride = g->stride;
  out->n_lanes = g->n_lanes;
  out->bits = g->bits;
  out->dims_code = g->dims_code;
  out->n_router = g->router.n;
  out->n_seed = g->router.n_seed;
  out->shift = g->shift;
  out->n_group = (uint32_t)(((uint64_t)g->n_slots + (1u<<g->shift) - 1)
                            >> g->shift);
  out->nav = g->nav;
  out->is_prefix = g->is_prefix;
  out->needs_rerank = g->nav==VDB_NAV_SQ8;
  out->has_sums = g->is_summed;
  out->is_jaccard = g->is_jaccard;
  out->stop = g->stop;
}
