/* graph_block.c -- blocks: their layout, the vector and the lanes inside.
**
** FORMAT   GRAPHBLOCK in pager/format.def and what is said above it there;
**          groups of codes in simd/code.h.
**
** SPACES   navigation   NAV_BYTES  byte + LO, exact       (LO = 0 or -128)
**                       NAV_F32    as given, exact
**                       NAV_SQ8    P(x - mu), lo + scale*byte by block
**                       NAV_BITS   a bit per element (graph_binary.c)
**          code         full       P(x - mu)
**                       projected  M*x - M*mu, M of signed bytes with a scale
**                                  per row, x of bytes: integers until the
**                                  last step
**          For SQ8 the rotation has been done in the navigation space, so the
**          full code space is the same one.
*/
#include <math.h>

#include "index/graph_int.h"
#include "util/crc32c.h"

static void values_pad(float *x, size_t from, size_t to){
  for(size_t i=from; i<to; i++) x[i] = 0;
}

/* x - mu, padded with zeros to `dims`, rotated. */
static void vector_rotate(const struct vdb_graph *g, const float *x,
                          float *out, size_t dims){
  for(size_t i=0; i<g->d; i++) out[i] = x[i] - g->mu[i];
  values_pad(out, g->d, dims);
  g->simd->rotate(g->sign, dims, out);
}

void vdb_graph_to_nav(const struct vdb_graph *g, const float *x, float *out){
  if( g->nav==VDB_NAV_SQ8 ){
    vector_rotate(g, x, out, g->dims_nav);
  }else{
    memcpy(out, x, g->d*sizeof(*x));
    values_pad(out, g->d, g->dims_nav);
  }
}

/* ---- The vector ---------------------------------------------------------- */

/* Bytes for n values: x[i] is about *lo + *scale*u[i]. */
static void values_to_bytes(const struct vdb_graph *g, const float *x,
                            size_t n, uint8_t *u, float *scale, float *lo){
  float most;
  g->simd->range(x, n, lo, &most);
  *scale = (most - *lo)/255.0f;
  g->simd->bytes(x, n, *lo, *scale>0 ? 1.0f / *scale : 0, u);
}

static void bytes_sums(const uint8_t *u, size_t n, uint32_t *sum,
                       uint32_t *norm2){
  uint32_t s = 0, t = 0;
  for(size_t i=0; i<n; i++){
    s += u[i];
    t += (uint32_t)u[i]*u[i];
  }
  *sum = s;
  *norm2 = t;
}

/* The distance of x to its bytes, rounded up: the sum of n squares has a
** relative error below n*2^-22. */
static float bytes_error(const float *x, const uint8_t *u, size_t n,
                         float scale, float lo){
  double s = 0;
  for(size_t i=0; i<n; i++){
    double e = (double)x[i] - ((double)lo + (double)scale*u[i]);
    s += e*e;
  }
  return (float)(sqrt(s)*(1.0 + 1e-6)) + 1e-30f;
}

static void block_store_sq8(const struct vdb_graph *g, unsigned char *block,
                            const float *x){
  uint8_t *u = block + GRAPHBLOCK_SIZE;
  size_t n = g->dims_nav;
  uint32_t sum, norm2;
  float scale, lo;
  double s;
  values_to_bytes(g, x, n, u, &scale, &lo);
  bytes_sums(u, n, &sum, &norm2);
  s = (double)scale*scale*norm2 + 2.0*scale*lo*sum + (double)n*lo*lo;
  put_f32(block+GRAPHBLOCK_SCALE, scale);
  put_f32(block+GRAPHBLOCK_LO, lo);
  put_f32(block+GRAPHBLOCK_NORM2, (float)s);
  put_f32(block+GRAPHBLOCK_ERR, bytes_error(x, u, n, scale, lo));
  put_u32(block+GRAPHBLOCK_USUM, sum);
  put_u32(block+GRAPHBLOCK_UNORM2, norm2);
}

static void block_store_bytes(const struct vdb_graph *g, unsigned char *block,
                              const float *x){
  uint8_t *u = block + GRAPHBLOCK_SIZE;
  uint32_t sum, norm2;
  double s;
  for(size_t i=0; i<g->d; i++) u[i] = (uint8_t)((int32_t)x[i] - g->lo);
  memset(u+g->d, 0, g->dims_nav-g->d);
  bytes_sums(u, g->d, &sum, &norm2);
  s = (double)norm2 + 2.0*g->lo*sum + (double)g->d*g->lo*g->lo;
  put_f32(block+GRAPHBLOCK_SCALE, 1);
  put_f32(block+GRAPHBLOCK_LO, (float)g->lo);
  put_f32(block+GRAPHBLOCK_NORM2, (float)s);
  put_f32(block+GRAPHBLOCK_ERR, 0);
  put_u32(block+GRAPHBLOCK_USUM, sum);
  put_u32(block+GRAPHBLOCK_UNORM2, norm2);
}

static void block_store_bits(const struct vdb_graph *g, unsigned char *block,
                             const float *x){
  uint8_t *bits = block + GRAPHBLOCK_SIZE, one[512];
  uint32_t n;
  for(size_t i=0; i<g->dims_nav; i+=512){
    vdb_graph_bits_pack(g, x+i, 512, one, bits+i/8);
  }
  n = vdb_graph_bits_ones(g, bits);
  put_f32(block+GRAPHBLOCK_SCALE, 1);
  put_f32(block+GRAPHBLOCK_NORM2, (float)n);
  put_u32(block+GRAPHBLOCK_USUM, n);
  put_u32(block+GRAPHBLOCK_UNORM2, n);
}

void vdb_graph_block_vector(const struct vdb_graph *g, unsigned char *block,
                            const float *x){
  if( g->nav==VDB_NAV_SQ8 ){
    block_store_sq8(g, block, x);
  }else if( g->nav==VDB_NAV_BYTES ){
    block_store_bytes(g, block, x);
  }else if( g->nav==VDB_NAV_BITS ){
    block_store_bits(g, block, x);
  }else{
    unsigned char *p = block + GRAPHBLOCK_SIZE;
    for(size_t i=0; i<g->dims_nav; i++) put_f32(p+4*i, x[i]);
    put_f32(block+GRAPHBLOCK_SCALE, 1);
    put_f32(block+GRAPHBLOCK_NORM2, g->simd->dot(x, x, g->dims_nav));
  }
}

/* The vector of a block in the navigation basis, padding as stored. */
static void block_floats(const struct vdb_graph *g, const unsigned char *block,
                         float *out){
  const unsigned char *p = graph_nav(block);
  if( g->nav==VDB_NAV_F32 ){
    for(size_t i=0; i<g->dims_nav; i++) out[i] = get_f32(p+4*i);
  }else{
    float scale = get_f32(block+GRAPHBLOCK_SCALE);
    float lo = get_f32(block+GRAPHBLOCK_LO);
    size_t n = g->nav==VDB_NAV_BYTES ? g->d : g->dims_nav;
    for(size_t i=0; i<n; i++) out[i] = lo + scale*(float)p[i];
    values_pad(out, n, g->dims_nav);
  }
}

void vdb_graph_block_nav(const struct vdb_graph *g, const unsigned char *block,
                         float *out){
  block_floats(g, block, out);
}

int vdb_graph_vector(const struct vdb_graph *g, const unsigned char *block,
                     float *vec){
  const unsigned char *p = graph_nav(block);
  if( g->nav==VDB_NAV_SQ8 ) return VECDB_MISUSE;
  if( g->nav==VDB_NAV_BITS ){
    vdb_graph_bits_unpack(p, g->d, vec);
    return VECDB_OK;
  }
  for(size_t i=0; i<g->d; i++){
    vec[i] = g->nav==VDB_NAV_F32 ? get_f32(p+4*i)
                                 : (float)((int32_t)p[i] + g->lo);
  }
  return VECDB_OK;
}

/* ---- The code space ------------------------------------------------------ */

#define PROJECT_ROWS  64        /* of the matrix at a time */

/* n <= GRAPH_TOGETHER vectors of bytes, which stand for lo + scale*byte. */
static void bytes_project(const struct vdb_graph *g, const uint8_t *const *u,
                          size_t n, const float *scale, const float *lo,
                          float *const *out){
  int32_t dot[GRAPH_TOGETHER*PROJECT_ROWS];
  for(size_t i=0; i<g->dims_code; i+=PROJECT_ROWS){
    g->simd->matmat(g->proj + i*g->dims_nav, PROJECT_ROWS, u, n, g->dims_nav,
                    dot);
    for(size_t k=0; k<n; k++){
      for(size_t j=0; j<PROJECT_ROWS; j++){
        float v = scale[k]*(float)dot[k*PROJECT_ROWS+j]
                + lo[k]*(float)g->proj_sum[i+j];
        out[k][i+j] = g->proj_scale[i+j]*v - g->proj_bias[i+j];
      }
    }
  }
}

static void vecs_project(const struct vdb_graph *g,
                         const struct graph_to_code *v, size_t n){
  float scale[GRAPH_TOGETHER], lo[GRAPH_TOGETHER], *out[GRAPH_TOGETHER];
  const uint8_t *u[GRAPH_TOGETHER];
  for(size_t i=0; i<n; i++){
    scale[i] = 1;
    lo[i] = (float)g->lo;
    u[i] = v[i].bytes;
    out[i] = v[i].out;
    if( v[i].is_exact ) continue;
    values_to_bytes(g, v[i].x, g->dims_nav, v[i].bytes, &scale[i], &lo[i]);
    if( g->nav==VDB_NAV_BYTES ) memset(v[i].bytes+g->d, 0, g->dims_nav-g->d);
  }
  bytes_project(g, u, n, scale, lo, out);
}

static void vec_to_code(const struct vdb_graph *g,
                        const struct graph_to_code *v){
  if( g->nav==VDB_NAV_BITS ){
    for(size_t i=0; i<g->dims_code; i+=64){
      vdb_graph_bits_pack(g, v->x+i, 64, v->bytes, (uint8_t*)v->out+i/8);
    }
  }else if( g->nav==VDB_NAV_SQ8 ){
    memcpy(v->out, v->x, g->dims_code*sizeof(*v->x));
  }else{
    vector_rotate(g, v->x, v->out, g->dims_code);
  }
}

void vdb_graph_vecs_to_code(const struct vdb_graph *g,
                            const struct graph_to_code *v, size_t n){
  if( g->is_prefix ) vecs_project(g, v, n);
  else for(size_t i=0; i<n; i++) vec_to_code(g, &v[i]);
}

void vdb_graph_to_code(const struct vdb_graph *g, const unsigned char *block,
                       float *out, float *tmp){
  if( g->nav==VDB_NAV_BITS ){
    memcpy(out, graph_nav(block), g->dims_code/8);
  }else if( g->is_prefix ){
    const uint8_t *u = graph_nav(block);
    float scale = get_f32(block+GRAPHBLOCK_SCALE);
    float lo = get_f32(block+GRAPHBLOCK_LO);
    bytes_project(g, &u, 1, &scale, &lo, &out);
  }else if( g->nav==VDB_NAV_SQ8 ){
    block_floats(g, block, out);
  }else{
    block_floats(g, block, tmp);
    vector_rotate(g, tmp, out, g->dims_code);
  }
}

/* ---- Lanes --------------------------------------------------------------- */

static uint8_t *lane_group(const struct vdb_graph *g, unsigned char *block,
                           uint32_t lane){
  return graph_lanes(g, block) + 12*g->n_lanes
       + lane/32*VDB_CODE_GROUP_BYTES(g->dims_code, g->bits);
}

void vdb_graph_lane_put(const struct vdb_graph *g, unsigned char *block,
                        uint32_t lane, uint32_t slot, const float *o,
                        const float *c, float n2, uint8_t *u, float *tmp){
  unsigned char *p = graph_lanes(g, block) + 4*lane;
  float *r = tmp, *x = tmp + g->dims_code;
  struct vdb_code_factors f;
  if( g->nav==VDB_NAV_BITS ){
    f = vdb_graph_bits_factors(g, (const uint8_t*)o);
    vdb_graph_bits_put(g, lane_group(g, block, lane), lane%32,
                       (const uint8_t*)o);
  }else{
    g->simd->residual(o, c, g->dims_code, r);
    f = vdb_code_encode(r, c, n2, g->dims_code, (int)g->bits, u, x);
    vdb_code_put(lane_group(g, block, lane), lane%32, g->dims_code,
                 (int)g->bits, u);
  }
  put_u32(p, slot);
  put_f32(p + 4*g->n_lanes, f.f_add);
  put_f32(p + 8*g->n_lanes, f.f_resc);
}

struct vdb_code_factors vdb_graph_entry_put(const struct vdb_graph *g,
                                            uint8_t *group, uint32_t lane,
                                            const float *o, uint8_t *u,
                                            float *x){
  struct vdb_code_factors f;
  if( g->code_kind!=VDB_CODE_RESIDUAL ){
    vdb_graph_bits_put(g, group, lane, (const uint8_t*)o);
    return vdb_graph_bits_factors(g, (const uint8_t*)o);
  }
  f = vdb_code_encode(o, NULL, g->simd->dot(o, o, g->dims_code), g->dims_code,
                      (int)g->bits, u, x);
  vdb_code_put(group, lane, g->dims_code, (int)g->bits, u);
  return f;
}

void vdb_graph_lane_clear(const struct vdb_graph *g, unsigned char *block,
                          uint32_t lane){
  static const uint8_t zero[64];
  unsigned char *p = graph_lanes(g, block) + 4*lane;
  uint8_t *group = lane_group(g, block, lane);
  put_u32(p, SLOT_NONE);
  put_f32(p + 4*g->n_lanes, INFINITY);
  put_f32(p + 8*g->n_lanes, 0);
  for(size_t i=0; g->nav==VDB_NAV_BITS && i<g->dims_code/32; i++){
    put_u32(group + 128*i + 4*(lane%32), 0);
  }
  if( g->nav==VDB_NAV_BITS ) return;
  /* 64 dimensions at a time. */
  for(size_t i=0; i<g->dims_code; i+=64){
    vdb_code_put(group, lane%32, 64, (int)g->bits, zero);
    group += VDB_CODE_GROUP_BYTES(64, g->bits);
  }
}

void vdb_graph_block_init(const struct vdb_graph *g, unsigned char *block,
                          uint32_t slot, uint32_t row, uint64_t key){
  unsigned char *lanes = graph_lanes(g, block);
  memset(block, 0, g->stride);
  put_u32(block+GRAPHBLOCK_SLOT, slot);
  put_u32(block+GRAPHBLOCK_ROW, row);
  put_u64(block+GRAPHBLOCK_KEY, key);
  put_u32(block+GRAPHBLOCK_DUP, SLOT_NONE);
  for(uint32_t i=0; i<g->n_lanes; i++){
    put_u32(lanes + 4*i, SLOT_NONE);
    put_f32(lanes + 4*g->n_lanes + 4*i, INFINITY);
  }
}

int vdb_graph_block_row(const struct vdb_graph *g, const unsigned char *block,
                        uint32_t slot, uint32_t *row, uint64_t *key){
  if( slot>=g->n_slots || get_u32(block+GRAPHBLOCK_SLOT)!=slot ){
    return VECDB_CORRUPT_INDEX;
  }
  *row = get_u32(block+GRAPHBLOCK_ROW);
  *key = get_u64(block+GRAPHBLOCK_KEY);
  if( get_u16(block+GRAPHBLOCK_FLAGS) & GRAPH_EMPTY ) return VECDB_NOTFOUND;
  return VECDB_OK;
}

/* ---- Checksums ------------------------------------------------------------
** A search reads blocks all over the file. Checking those it comes to, while
** they are in the processor's cache, costs a tenth of a step; checking the
** extents that they are in would make the first searches after opening read
** all of the graph. */

static uint32_t block_crc(const struct vdb_graph *g,
                          const unsigned char *block){
  unsigned char head[GRAPHBLOCK_SIZE - 4];
  memcpy(head, block, GRAPHBLOCK_CRC);
  memcpy(head + GRAPHBLOCK_CRC, block + GRAPHBLOCK_CRC + 4,
         sizeof(head) - GRAPHBLOCK_CRC);
  return vdb_crc32c(vdb_crc32c(0, head, sizeof(head)), block + GRAPHBLOCK_SIZE,
                    g->stride - GRAPHBLOCK_SIZE);
}

void vdb_graph_block_seal(const struct vdb_graph *g, unsigned char *block){
  if( g->is_summed ) put_u32(block+GRAPHBLOCK_CRC, block_crc(g, block));
}

bool vdb_graph_block_is_intact(const struct vdb_graph *g,
                               const unsigned char *block){
  return !g->is_summed || get_u32(block+GRAPHBLOCK_CRC)==block_crc(g, block);
}

static bool float_is_sane(float x){ return x>=-3e38f && x<=3e38f; }

bool vdb_graph_block_ok(const struct vdb_graph *g, const unsigned char *block,
                        uint32_t slot){
  uint32_t degree = get_u16(block+GRAPHBLOCK_DEGREE);
  uint32_t flags = get_u16(block+GRAPHBLOCK_FLAGS);
  const unsigned char *lanes = block + graph_off_lanes(g);
  if( get_u32(block+GRAPHBLOCK_SLOT)!=slot || degree>g->n_lanes
   || (flags & ~(GRAPH_DUP|GRAPH_EMPTY)) || (flags && degree)
   || (!g->is_mixed && (flags==GRAPH_DUP)!=(slot>=g->n_nodes))
   || ((flags & GRAPH_EMPTY)
       && (!g->is_mixed || flags!=GRAPH_EMPTY
           || get_u32(block+GRAPHBLOCK_ROW)!=SLOT_NONE
           || get_u32(block+GRAPHBLOCK_DUP)!=SLOT_NONE))
   || !float_is_sane(get_f32(block+GRAPHBLOCK_SCALE))
   || !float_is_sane(get_f32(block+GRAPHBLOCK_LO))
   || !float_is_sane(get_f32(block+GRAPHBLOCK_NORM2))
   || !(get_f32(block+GRAPHBLOCK_ERR)>=0)
   || !vdb_graph_block_is_intact(g, block) ) return false;
  for(uint32_t i=0; i<g->n_lanes; i++){
    uint32_t nbr = get_u32(lanes + 4*i);
    float add = get_f32(lanes + 4*(g->n_lanes+i));
    if( i<degree ? nbr>=g->n_nodes || nbr==slot || !float_is_sane(add)
                     || !float_is_sane(get_f32(lanes + 4*(2*g->n_lanes+i)))
                 : nbr!=SLOT_NONE || add!=INFINITY ) return false;
  }
  return true;
}
