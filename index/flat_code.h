/* flat_code.h -- codes beside plain rows: what a coder is, and its bytes.
**
** Used by   index/flat_coded.c (searching), store/ (writing and checking the
**           code extents of row groups).
** Threads   a coder is read-only after it was created.
** Errors    VECDB_ codes.
**
** A coder belongs to a vector column: it holds the centre that rows are
** taken from and the rotation, so all codes of a column have one coder.
**
** SPACE     Codes know one distance, the square l2. l2 and ip: rows as they
**           are; cosine: rows of length 1.
**
** CODE      r = P(o - centre), P the rotation of simd/code.h, padded with
**           zeros to `dims`, a multiple of 64. With step = 2.8*norm(r)/
**           sqrt(dims)/32 a row is the 6-bit numbers u_j = r_j/step + 31.5,
**           rounded and limited to 0..63. Level 1 knows the high four bits,
**           level 2 all:
**             x_j = 4*(u_j/4) - 30        x_j = u_j - 31.5
**           (u_j/4 rounded down). For either,
**             s = norm2(r)/<x,r>,  tan = norm(s*x - r),
**           s*x - r is orthogonal to r, which index/flat_coded.c makes a
**           bound of.
**
** BYTES     n rows are (n+31)/32 units. First the level 1 of all units, then
**           the level 2 of all units (search reads them apart):
**             level 1   32 lanes of 4-bit codes (simd/code.h), then FLATCODE
**             level 2   32 times FLATFINE, then dims/4 bytes, the low bits as
**                       simd/code.h says (split); not there if the coder has
**                       4 bits
**           Rows that no bound holds for (norms out of range, zero vectors
**           under cosine) have TAN = +inf and zeros: never left out. Lanes
**           beyond the last row are zeros.
*/
#ifndef VDB_FLAT_CODE_H
#define VDB_FLAT_CODE_H
#include "util/common.h"

#define FLAT_CODE_DIM_MIN  64u         /* fewer dimensions: no codes */

struct flat_coder {
  unsigned n_ref;                      /* of the thread that owns it */
  int metric, type;                    /* VECDB_L2.., VECDB_F32.. */
  int bits;                            /* 4: level 1 alone; 6: both */
  size_t dim, dims;                    /* of rows, of codes */
  float *centre;                       /* dims; zeros from dim on */
  float *sign;                         /* 4*dims: the rotation */
};

/* Can rows like these have codes? (Search decides by itself whether to use
** them.) */
bool vdb_flat_code_fits(int metric, int type, size_t dim);

/* Dimensions of codes; bytes of a unit; of level 1 of a unit; of level 2 of a
** row. */
size_t vdb_flat_code_dims(size_t dim);
size_t vdb_flat_code_unit(size_t dim, int bits);
size_t vdb_flat_code_coarse(size_t dim);
size_t vdb_flat_code_fine(size_t dim);
static inline size_t vdb_flat_code_units(size_t n_row){
  return (n_row+31)/32;
}

/* The mean of n rows (in the codes' space), which suits as a centre. NOMEM. */
int  vdb_flat_code_centre(int metric, int type, size_t dim, const void *rows,
                          size_t stride, size_t n, float *centre);
/* centre: dim floats, copied. NOMEM. */
int  vdb_flat_coder_create(int metric, int type, size_t dim, int bits,
                           const float *centre, struct flat_coder **out);
static inline struct flat_coder *flat_coder_ref(struct flat_coder *k){
  if( k ) k->n_ref++;
  return k;
}
void vdb_flat_coder_unref(struct flat_coder *k);         /* NULL is fine */

/* Codes of n rows, units(n)*unit(dim, bits) bytes; the
** same on every machine and for every n_thread. NOMEM. */
int  vdb_flat_encode(const struct flat_coder *k, const void *rows,
                     size_t stride, size_t n, unsigned n_thread,
                     unsigned char *out);

/* Take a vector into the codes' space, minus the centre if `is_centred`:
** out[0..dims-1]. False: it has no place there. */
bool vdb_flat_code_vector(const struct flat_coder *k, const void *vec,
                          bool is_centred, float *out);
#endif
