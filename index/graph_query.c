/* graph_query.c -- distances between a query and the vector of a block.
**
** With bytes u on both sides, |a - b|^2 = |a|^2 + |b|^2 - 2<a,b> in integers.
** The instructions multiply unsigned by signed bytes, so the query is stored
** as q - 128 and 128*sum(u) is added again; everything is modulo 2^32, where
** the result fits: 65536*255*255 < 2^32.
**
** A query of floats against bytes becomes two signed bytes per element,
** x = step*(128*hi + lo8): 14 bits and more, an error far below that of
** quantised rows; for exact rows the caller ranks the best again
** (vdb_graph_d2_exact). The steps from integers to the result are in double
** precision and in one order, so the bits are the same everywhere.
*/
#include <math.h>

#include "index/graph_int.h"

static double query_dot(const struct vdb_graph *g, const struct graph_query *q,
                        const unsigned char *block){
  const uint8_t *u = graph_nav(block);
  int32_t hi = g->simd->dot_u8s8(u, q->hi, g->dims_nav);
  int32_t lo = g->simd->dot_u8s8(u, q->lo8, g->dims_nav);
  return q->scale*(128.0*hi + lo);
}

static float d2_wide(const struct vdb_graph *g, const struct graph_query *q,
                     const unsigned char *block){
  double scale = get_f32(block+GRAPHBLOCK_SCALE);
  double lo = get_f32(block+GRAPHBLOCK_LO);
  double dot = scale*query_dot(g, q, block) + lo*q->sum;
  double d2 = q->norm2 + (double)get_f32(block+GRAPHBLOCK_NORM2) - 2*dot;
  return d2>0 ? (float)d2 : 0;
}

static float d2_sq8(const struct vdb_graph *g, const struct graph_query *q,
                    const unsigned char *block){
  double scale = get_f32(block+GRAPHBLOCK_SCALE);
  double lo = get_f32(block+GRAPHBLOCK_LO), n = g->dims_nav;
  uint32_t usum = get_u32(block+GRAPHBLOCK_USUM);
  int64_t uu = g->simd->dot_u8s8(graph_nav(block), q->hi, g->dims_nav)
             + (int64_t)128*usum;
  /* Symmetric in the two sides. */
  double dot = q->scale*scale*(double)uu
             + (q->scale*lo*q->usum + q->lo*scale*usum) + n*(q->lo*lo);
  double d2 = q->norm2 + (double)get_f32(block+GRAPHBLOCK_NORM2) - 2*dot;
  return d2>0 ? (float)d2 : 0;
}

static float d2_bytes(const struct vdb_graph *g, const struct graph_query *q,
                      const unsigned char *block){
  uint32_t dot = (uint32_t)g->simd->dot_u8s8(graph_nav(block), q->hi,
                                             g->dims_nav);
  dot += 128*get_u32(block+GRAPHBLOCK_USUM);
  return (float)(q->unorm2 + get_u32(block+GRAPHBLOCK_UNORM2) - 2*dot);
}

float vdb_graph_d2(const struct vdb_graph *g, const struct graph_query *q,
                   const unsigned char *block){
  switch( q->metric ){
    case GQ_BYTES: return d2_bytes(g, q, block);
    case GQ_F32:
      return g->simd->l2sq(q->x, (const float*)(const void*)graph_nav(block),
                           g->dims_nav);
    case GQ_SQ8:   return d2_sq8(g, q, block);
    case GQ_BITS:  return vdb_graph_bits_d2(g, q, block);
    case GQ_WIDE:
    default:       return d2_wide(g, q, block);
  }
}

float vdb_graph_d2_exact(const struct vdb_graph *g, const float *x,
                         const unsigned char *block, float *tmp){
  const unsigned char *u = graph_nav(block);
  for(size_t i=0; i<g->d; i++) tmp[i] = (float)((int32_t)u[i] + g->lo);
  return g->simd->l2sq(x, tmp, g->d);
}

/* ---- Preparing ----------------------------------------------------------- */

static void bytes_flip(const uint8_t *u, int8_t *q, size_t n){
  for(size_t i=0; i<n; i+=8) put_u64(q+i, get_u64(u+i) ^ 0x8080808080808080u);
}

void vdb_graph_query_block(const struct vdb_graph *g,
                           const unsigned char *block, struct graph_query *q){
  const unsigned char *u = graph_nav(block);
  if( g->nav==VDB_NAV_F32 ){
    q->metric = GQ_F32;
    q->x = (const float*)(const void*)u;
    return;
  }
  if( g->nav==VDB_NAV_BITS ){
    q->metric = GQ_BITS;
    q->bits = u;
    q->usum = get_u32(block+GRAPHBLOCK_USUM);
    return;
  }
  q->metric = g->nav==VDB_NAV_SQ8 ? GQ_SQ8 : GQ_BYTES;
  bytes_flip(u, q->hi, g->dims_nav);
  q->usum = get_u32(block+GRAPHBLOCK_USUM);
  q->unorm2 = get_u32(block+GRAPHBLOCK_UNORM2);
  q->norm2 = get_f32(block+GRAPHBLOCK_NORM2);
  q->scale = get_f32(block+GRAPHBLOCK_SCALE);
  q->lo = get_f32(block+GRAPHBLOCK_LO);
}

/* Are all elements integers that a byte of this index can hold? Padding in x
** is zero and must be byte 0 in u, whatever that stands for. */
static bool query_bytes(const struct vdb_graph *g, const float *x,
                        struct graph_query *q){
  static const uint8_t one[64] = {
    1,1,1,1,1,1,1,1, 1,1,1,1,1,1,1,1, 1,1,1,1,1,1,1,1, 1,1,1,1,1,1,1,1,
    1,1,1,1,1,1,1,1, 1,1,1,1,1,1,1,1, 1,1,1,1,1,1,1,1, 1,1,1,1,1,1,1,1
  };
  if( !g->simd->bytes_exact(x, g->dims_nav, (float)g->lo, q->u) ) return false;
  memset(q->u+g->d, 0, g->dims_nav-g->d);
  bytes_flip(q->u, q->hi, g->dims_nav);
  q->usum = 0;
  for(size_t i=0; i<g->dims_nav; i+=64){
    q->usum += (uint32_t)g->simd->dot_u8s8(q->u+i, (const int8_t*)one, 64);
  }
  q->unorm2 = (uint32_t)g->simd->dot_u8s8(q->u, q->hi, g->dims_nav)
            + 128*q->usum;
  q->metric = GQ_BYTES;
  return true;
}

static double values_sum(const float *x, size_t n){
  double s[8] = { 0 };
  for(size_t i=0; i<n; i+=8){
    for(size_t j=0; j<8; j++) s[j] += x[i+j];
  }
  return ((s[0]+s[1]) + (s[2]+s[3])) + ((s[4]+s[5]) + (s[6]+s[7]));
}

static void query_wide(const struct vdb_graph *g, const float *x,
                       struct graph_query *q){
  size_t n = g->dims_nav;
  float least, most, inv;
  g->simd->range(x, n, &least, &most);
  most = -least>most ? -least : most;
  inv = most>0 ? 16256.0f/most : 0;
  if( !(inv<=3e38f) ) inv = 0;
  g->simd->wide(x, n, inv, q->hi, q->lo8);
  q->metric = GQ_WIDE;
  q->scale = inv>0 ? 1.0/(double)inv : 0;
  q->sum = values_sum(x, n);
  q->norm2 = g->simd->dot(x, x, n);
}

/* q->hi has room for a byte per element. */
static void query_bits(const struct vdb_graph *g, const float *x,
                       struct graph_query *q){
  uint8_t *bits = (uint8_t*)q->hi;
  vdb_graph_bits_pack(g, x, g->dims_nav, q->u, bits);
  q->metric = GQ_BITS;
  q->bits = bits;
  q->usum = vdb_graph_bits_ones(g, bits);
}

void vdb_graph_query_vector(const struct vdb_graph *g, const float *x,
                            struct graph_query *q){
  q->x = x;
  if( g->nav==VDB_NAV_F32 ) q->metric = GQ_F32;
  else if( g->nav==VDB_NAV_BITS ) query_bits(g, x, q);
  else if( g->nav!=VDB_NAV_BYTES || !query_bytes(g, x, q) ) query_wide(g, x, q);
}
