/* graph_binary.c -- vectors of bits: how blocks hold them, what is between them.
**
** The caller gives floats 0 and 1, as of any vector. A block holds the bits, and
** those of its neighbours (simd/code.h, GROUPS); the code space of vectors of bits
** is their bits, in memory where floats would be. So nothing is estimated: a
** neighbour's distance is known where it is named.
**
** The square distance of the index's space is the number of bits that differ, which
** is that of the floats; or, where the index is asked for it, Jaccard's distance,
** which is the square of a distance in some Euclidean space, too: all that a build
** does with square distances holds for it.
*/
#include "index/graph_int.h"

/* A lane's f_resc is its number of ones, for Jaccard's distance. */
#define FACTOR_ONES(g, n)  ((g)->is_jaccard ? (float)(n) : 0)

/* x has n elements, 0 or 1, n a multiple of 16; `one` is scratch of n bytes.
** Eight bytes 0 or 1 become a byte by a multiplication that moves byte i to bit
** 56+i. */
void vdb_graph_bits_pack(const struct vdb_graph *g, const float *x, size_t n,
                         uint8_t *one, uint8_t *bits){
  (void)g->simd->bytes_exact(x, n, 0, one);
  for(size_t i=0; i<n; i+=8){
    bits[i/8] = (uint8_t)((get_u64(one+i) & 0x0101010101010101u)
                          * 0x0102040810204080u >> 56);
  }
}

void vdb_graph_bits_unpack(const uint8_t *bits, size_t n, float *x){
  for(size_t i=0; i<n; i++) x[i] = (float)(bits[i/8]>>(i%8) & 1);
}

uint32_t vdb_graph_bits_ones(const struct vdb_graph *g, const uint8_t *bits){
  uint32_t n = 0;
  for(size_t i=0; i<g->dims_code/8; i+=8){
    n += (uint32_t)__builtin_popcountll(get_u64(bits+i));
  }
  return n;
}

float vdb_graph_bits_d2(const struct vdb_graph *g, const struct graph_query *q,
                        const unsigned char *block){
  uint32_t x = g->simd->differ(q->bits, graph_nav(block), g->sz_nav), either;
  if( !g->is_jaccard ) return (float)x;
  either = (x + q->usum + get_u32(block+GRAPHBLOCK_USUM))/2;
  return either ? (float)x/(float)either : 0;
}

/* Lane `lane` of a group becomes the vector `bits`. */
void vdb_graph_bits_put(const struct vdb_graph *g, uint8_t *group,
                        uint32_t lane, const uint8_t *bits){
  for(size_t i=0; i<g->dims_code/32; i++){
    memcpy(group + 128*i + 4*lane, bits + 4*i, 4);
  }
}

struct vdb_code_factors vdb_graph_bits_factors(const struct vdb_graph *g,
                                               const uint8_t *bits){
  struct vdb_code_factors f = { 0, 0, 0 };
  f.f_resc = FACTOR_ONES(g, vdb_graph_bits_ones(g, bits));
  return f;
}
