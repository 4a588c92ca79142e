/* narrow.c -- float32 vectors whose elements are small integers, as bytes.
**
** Pixels, histograms and SIFT come as floats and are integers of 0..255 or
** -128..127. A row group of such rows is stored with a byte per element: a
** quarter of the file, and of what an exact search reads. Nothing is lost:
** rows are written so only if they come back bit for bit (-0.0 does not), and
** distances are those of the floats (simd/simd.h, VDB_F32_ON_U8).
**
** A group is one or the other as a whole, decided by its rows alone.
*/
#include "util/common.h"
#include "simd/code.h"
#include "simd/simd.h"
#include "store/coll_int.h"

#define NARROW_DIMS_MIN  16u             /* fewer: nothing to gain */
#define NARROW_CHUNK     4096u           /* elements compared at a time */

bool vdb_narrow_fits(const struct coll *c, int v){
  const struct schema_column *col = &c->schema->col[c->vec_col[v]];

  return col->element==VECDB_F32 && col->dims>=NARROW_DIMS_MIN;
}

/* Do n bytes, widened, have the bits of x? */
static bool is_same(int type, const unsigned char *byte, const float *x,
                    size_t n){
  float wide[NARROW_CHUNK];

  for(size_t i=0, m; i<n; i+=m){
    m = vdb_min_sz(n-i, NARROW_CHUNK);
    vdb_widen(type, byte+i, wide, m);
    if( memcmp(wide, x+i, m*sizeof(*x))!=0 ) return false;
  }
  return true;
}

/* x as bytes of `type`; false if that loses something. */
static bool narrow_to(int type, const float *x, size_t n,
                      unsigned char *out){
  float lo = type==VECDB_U8 ? 0.0f : -128.0f;
  size_t whole = n/16*16;

  if( whole>0 && !vdb_code_simd()->bytes_exact(x, 16, lo, out) ) return false;
  if( !vdb_code_simd()->bytes_exact(x, whole, lo, out) ) return false;
  for(size_t i=whole; i<n; i++){
    float k = x[i]-lo;
    if( !(k>=0.0f && k<=255.0f) ) return false;
    out[i] = (unsigned char)k;
  }
  for(size_t i=0; i<n && type==VECDB_I8; i++) out[i] ^= 0x80;
  return is_same(type, out, x, n);
}

int vdb_narrow(const struct coll *c, int v, const unsigned char *rows,
               uint32_t n, unsigned char *out){
  const float *x = (const float*)(const void*)rows;
  size_t n_all = (size_t)n*c->schema->col[c->vec_col[v]].dims;

  if( narrow_to(VECDB_U8, x, n_all, out) ) return FORM_U8;
  return narrow_to(VECDB_I8, x, n_all, out) ? FORM_I8 : FORM_PLAIN;
}

uint32_t vdb_seg_row_bytes(const struct coll *c, int i_vec,
                           const struct seg *g){
  const struct schema_column *col = &c->schema->col[c->vec_col[i_vec]];

  return g->form==FORM_PLAIN ? col->sz_vec : col->dims;
}

int vdb_seg_row_type(const struct seg *g){
  return g->form==FORM_U8 ? VECDB_U8 : g->form==FORM_I8 ? VECDB_I8 : 0;
}

void vdb_seg_rows(const struct coll *c, int i_vec, const struct seg *g,
                  const unsigned char *data, uint32_t i, uint32_t n,
                  unsigned char *out){
  size_t sz = vdb_seg_row_bytes(c, i_vec, g);

  data += i*sz;
  if( g->form==FORM_PLAIN ) memcpy(out, data, n*sz);
  else vdb_widen(vdb_seg_row_type(g), data, (float*)(void*)out, n*sz);
}
