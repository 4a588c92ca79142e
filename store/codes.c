/* codes.c -- codes beside the row groups of a vector column.
**
** Exact search reads codes instead of vectors where it can (index/flat_code.h,
** index/flat_coded.c). A group's codes are one extent, named by its SEGREC and
** written with the group; an entry of kind 2 in COLL.SEGMENTS holds the centre
** that all codes of the column refer to: the mean of the first group that got
** codes.
**
** WHICH   Columns with index=flat of a type and metric that allow it, unless
**   codec=none is said. bits=4 leaves out the second level; everything else
**   means 6. Without bits or codec columns of less than CODES_DIMS_AUTO
**   dimensions have none: at 128 dimensions searches would be 2.3 times as
**   fast, and loading rows half as fast. Groups of fewer than CODES_ROWS_MIN
**   rows have none, nor have those that are stored as bytes (narrow.c). So
**   schema, rows and counts alone decide, and files are the same
**   everywhere. Columns that have
**   or may get a graph have no codes: they are rarely searched exactly, and
**   their bytes would lie idle.
*/
#include "util/common.h"
#include "index/flat_code.h"
#include "simd/simd.h"
#include "store/coll_int.h"
#include "util/pool.h"

#define CODES_ROWS_MIN   64u
#define CODES_DIMS_AUTO  192u
#define CODES_VERSION    1u

static const struct schema_column *codes_column(const struct coll *c, int v){
  return &c->schema->col[c->vec_col[v]];
}

/* Of the codes to be written for a column. */
static int codes_bits(const struct coll *c, int v){
  return codes_column(c, v)->index.bits==4 ? 4 : 6;
}

static uint32_t codes_stride(const struct coll *c, int v, int bits){
  return (uint32_t)vdb_flat_code_unit(codes_column(c, v)->dims, bits);
}

/* ---- The centre ---------------------------------------------------------- */

int vdb_codes_decode(struct coll *c, int v, const unsigned char *val,
                     size_t n_val, struct flat_coder **out){
  const struct schema_column *col = codes_column(c, v);
  float *centre = NULL;
  uint32_t bits = n_val>=CODEREC_SIZE ? get_u32(val+CODEREC_BITS) : 0;
  int rc;

  if( n_val!=CODEREC_SIZE+4*(size_t)col->dims ||
      get_u32(val+CODEREC_VERSION)!=CODES_VERSION ||
      get_u32(val+CODEREC_D)!=col->dims || (bits!=4 && bits!=6) ||
      !vdb_flat_code_fits(col->metric, col->element, col->dims) ){
    return COLL_CORRUPT(c, "the centre of codes has a wrong form");
  }
  centre = vdb_malloc_array(col->dims, sizeof(*centre));
  if( centre==NULL ) TRY( VECDB_NOMEM );
  for(uint32_t i=0; i<col->dims; i++){
    centre[i] = get_f32(val + CODEREC_SIZE + 4*(size_t)i);
  }
  if( !vdb_is_finite(VECDB_F32, centre, col->dims) ){
    TRY( COLL_CORRUPT(c, "the centre of codes has a wrong form") );
  }
  TRY( vdb_flat_coder_create(col->metric, col->element, col->dims, (int)bits,
                             centre, out) );
done:
  vdb_free(centre);
  return rc;
}

static int centre_write(struct coll *c, int v, const float *centre){
  const struct schema_column *col = codes_column(c, v);
  size_t sz = CODEREC_SIZE + 4*(size_t)col->dims;
  unsigned char key[SEGKEY_SIZE], *val = vdb_calloc(1, sz);
  int rc;

  if( val==NULL ) return VECDB_NOMEM;
  vdb_seg_key(key, c->vec_col[v], SEG_KIND_CODER, 0);
  put_u32(val+CODEREC_VERSION, CODES_VERSION);
  put_u32(val+CODEREC_D, col->dims);
  put_u32(val+CODEREC_BITS, (uint32_t)codes_bits(c, v));
  for(uint32_t i=0; i<col->dims; i++){
    put_f32(val + CODEREC_SIZE + 4*(size_t)i, centre[i]);
  }
  TRY( vdb_btree_put(c->p, c->s.segs, key, sizeof(key), val, sz,
                     BTREE_INSERT) );
done:
  vdb_free(val);
  return rc;
}

/* The column gets its coder from the first rows that need it. */
static int coder_make(struct coll *c, int v, const unsigned char *rows,
                      uint32_t n){
  const struct schema_column *col = codes_column(c, v);
  float *centre = vdb_malloc_array(col->dims, sizeof(*centre));
  int rc;

  if( centre==NULL ) return VECDB_NOMEM;
  TRY( vdb_flat_code_centre(col->metric, col->element, col->dims, rows,
                            col->sz_vec, n, centre) );
  TRY( centre_write(c, v, centre) );
  TRY( vdb_flat_coder_create(col->metric, col->element, col->dims,
                             codes_bits(c, v), centre, &c->segs[v].coder) );
  vdb_coll_structure_changed(c);
done:
  vdb_free(centre);
  return rc;
}

bool vdb_codes_wanted(const struct coll *c, int v, uint32_t n){
  const struct schema_column *col = codes_column(c, v);
  uint64_t sz = (uint64_t)vdb_flat_code_units(n)*codes_stride(c, v, 6);
  bool is_auto = col->index.bits==0 && col->index.codec==CODEC_DEFAULT;

  if( is_auto && col->dims<CODES_DIMS_AUTO ) return false;
  return col->index.kind==INDEX_FLAT && col->index.codec!=CODEC_NONE &&
         vdb_flat_code_fits(col->metric, col->element, col->dims) &&
         n>=CODES_ROWS_MIN && sz<=EXTENT_MAX_BYTES;
}

/* ---- Codes --------------------------------------------------------------- */

/* Rows that are worth a thread. */
static unsigned codes_threads(const struct coll *c, uint32_t n){
  unsigned most = c->st->n_thread ? c->st->n_thread : vdb_cpu_count();
  unsigned want = n/256;

  return want<most ? want : most;
}

int vdb_codes_write(struct coll *c, int v, const unsigned char *rows,
                    uint32_t n, page_no *codes){
  uint32_t sz_vec = codes_column(c, v)->sz_vec;
  uint32_t n_unit = (uint32_t)vdb_flat_code_units(n);
  struct extent_spec spec = { EXTENT_KIND_CODES, 0, n_unit, c->id };
  unsigned char *buf = NULL;
  int rc = VECDB_OK;

  if( c->segs[v].coder==NULL ) TRY( coder_make(c, v, rows, n) );
  spec.stride = codes_stride(c, v, c->segs[v].coder->bits);
  buf = vdb_malloc_aligned((size_t)n_unit*spec.stride);
  if( buf==NULL ) TRY( VECDB_NOMEM );
  TRY( vdb_flat_encode(c->segs[v].coder, rows, sz_vec, n,
                       codes_threads(c, n), buf) );
  TRY( vdb_extent_create(c->p, &spec, buf, codes) );
done:
  vdb_free_aligned(buf);
  return rc;
}

int vdb_codes_pin(struct coll *c, int v, const struct seg *g,
                  struct extent *out){
  uint32_t n_unit = (uint32_t)vdb_flat_code_units(g->n_row);
  int rc;

  TRY( vdb_extent_pin_raw(c->p, g->codes, out) );
  TRY( vdb_seg_check_extent(c, out, EXTENT_KIND_CODES,
                            codes_stride(c, v, c->segs[v].coder->bits),
                            n_unit) );
  TRY( vdb_extent_verify(c->p, out, 0, out->sz) );
done:
  if( rc!=VECDB_OK ) vdb_extent_unpin(c->p, out);
  return rc;
}

/* Codes for a group that has none, from its vectors. */
static int group_encode(struct coll *c, int v, struct seg *g){
  struct extent data, map;
  const slot_no *slots;
  page_no codes = 0;
  int rc;

  memset(&data, 0, sizeof(data));
  memset(&map, 0, sizeof(map));
  TRY( vdb_seg_pin(c, v, g, &data, &map, &slots) );
  TRY( vdb_codes_write(c, v, data.data, g->n_row, &codes) );
  TRY( vdb_seg_set_codes(c, v, g, codes) );
done:
  vdb_extent_unpin(c->p, &data);
  vdb_extent_unpin(c->p, &map);
  return rc;
}

int vdb_codes_tidy(struct coll *c){
  uint64_t before = c->s.seg_version;
  int rc = VECDB_OK;

  TRY( vdb_segs_load(c) );
  vdb_coll_change_begin(c);
  for(int v=0; v<c->schema->n_vector; v++){
    for(size_t i=0; i<c->segs[v].n; i++){
      struct seg *g = &c->segs[v].seg[i];
      bool wanted = g->form==FORM_PLAIN && vdb_codes_wanted(c, v, g->n_row);
      if( wanted && g->codes==0 ) TRY( group_encode(c, v, g) );
      if( !wanted && g->codes!=0 ) TRY( vdb_seg_set_codes(c, v, g, 0) );
    }
  }
  if( c->s.seg_version!=before ) TRY( vdb_coll_state_write(c) );
done:
  return rc;
}

int vdb_codes_verify(struct coll *c, int v, struct seg *g, bool *ok){
  struct extent data, map, codes;
  const slot_no *slots;
  unsigned char *buf = NULL;
  int rc;

  memset(&data, 0, sizeof(data));
  memset(&map, 0, sizeof(map));
  memset(&codes, 0, sizeof(codes));
  if( g->form!=FORM_PLAIN ){
    *ok = false;                         /* bytes have no codes */
    return VECDB_OK;
  }
  TRY( vdb_seg_pin(c, v, g, &data, &map, &slots) );
  TRY( vdb_codes_pin(c, v, g, &codes) );
  buf = vdb_malloc_aligned(codes.sz);
  if( buf==NULL ) TRY( VECDB_NOMEM );
  TRY( vdb_flat_encode(c->segs[v].coder, data.data, data.spec.stride,
                       g->n_row, codes_threads(c, g->n_row), buf) );
  *ok = memcmp(buf, codes.data, codes.sz)==0;
done:
  vdb_extent_unpin(c->p, &data);
  vdb_extent_unpin(c->p, &map);
  vdb_extent_unpin(c->p, &codes);
  vdb_free_aligned(buf);
  return rc;
}
