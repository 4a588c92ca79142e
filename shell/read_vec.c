/* read_vec.c -- vector files.
**
** FORMATS   little-endian.
**   fvecs bvecs ivecs   each row: int32 d, then d float32 | uint8 | int32
**   fbin u8bin i8bin ibin   uint32 n, uint32 d, then n*d numbers
**   npy                 "\x93NUMPY", version, header dict (NEP 1); 2-d, C order,
**                       <f4 <f8 <f2 |u1 |i1
** The size of the file is compared with what the header promises before the
** first row is handed out, so a truncated file is refused, not half imported.
** int32 and float64 become float32; an integer that float32 cannot hold and a
** number that overflows are refused, with their row and column.
*/
#include "shell/reader.h"
#include "vecdb.h"

#include <math.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct { const char *name; enum vec_format f; int source; } formats[] = {
  {"fvecs", VEC_FVECS, 'f'}, {"bvecs", VEC_BVECS, 'u'},
  {"ivecs", VEC_IVECS, 'i'}, {"fbin", VEC_FBIN, 'f'},
  {"u8bin", VEC_U8BIN, 'u'}, {"i8bin", VEC_I8BIN, 'b'},
  {"ibin", VEC_IBIN, 'i'},   {"npy", VEC_NPY, 0},
};
#define N_FORMAT (sizeof(formats)/sizeof(formats[0]))

enum vec_format vec_format_find(const char *name, const char *path){
  const char *dot = strrchr(path, '.');
  const char *z = name ? name : dot ? dot+1 : "";
  for(size_t i=0; i<N_FORMAT; i++){
    if( strcasecmp(z, formats[i].name)==0 ) return formats[i].f;
  }
  return VEC_NONE;
}

static bool fail(struct vec_reader *r, const char *what){
  char head[READER_ERR/2];
  snprintf(head, sizeof head, "%s", what);
  snprintf(r->err, sizeof r->err, "cannot import \"%.200s\": %s", r->path, head);
  return false;
}

static uint32_t u32_of(const unsigned char *p){
  return p[0] | (uint32_t)p[1]<<8 | (uint32_t)p[2]<<16 | (uint32_t)p[3]<<24;
}

static size_t source_size(int source){
  switch( source ){
    case 'd': return 8;
    case 'f': case 'i': return 4;
    case 'e': return 2;
    default: return 1;
  }
}

static bool has_row_header(const struct vec_reader *r){
  return r->format==VEC_FVECS || r->format==VEC_BVECS || r->format==VEC_IVECS;
}

static size_t raw_row_bytes(const struct vec_reader *r){
  return (size_t)r->dims*source_size(r->source) + (has_row_header(r) ? 4 : 0);
}

/* ---- Headers ------------------------------------------------------------- */

/* The value of 'key' in a numpy header dict, without leading blanks. */
static const char *npy_value(const char *dict, const char *key){
  const char *z = strstr(dict, key);
  if( z==NULL ) return NULL;
  z += strlen(key);
  while( *z==' ' || *z==':' || *z=='\'' || *z=='"' ) z++;
  return z;
}

static bool npy_dict_read(struct vec_reader *r, const char *dict){
  static const struct { const char *descr; int source, element; } types[] = {
    {"<f4",'f',VECDB_F32}, {"<f8",'d',VECDB_F32}, {"<f2",'e',VECDB_F16},
    {"|u1",'u',VECDB_U8}, {"|i1",'b',VECDB_I8}, {"<i4",'i',VECDB_F32},
  };
  const char *descr = npy_value(dict, "'descr'");
  const char *order = npy_value(dict, "'fortran_order'");
  const char *shape = npy_value(dict, "'shape'");
  unsigned long long n, d;
  char what[160];
  if( descr==NULL || order==NULL || shape==NULL ){
    return fail(r, "its numpy header has no descr, fortran_order and shape");
  }
  if( strncmp(order, "False", 5)!=0 ){
    return fail(r, "the array is in Fortran order; save it with "
                   "numpy.ascontiguousarray");
  }
  for(size_t i=0; i<sizeof(types)/sizeof(types[0]); i++){
    if( strncmp(descr, types[i].descr, 3)==0 ){
      r->source = types[i].source;
      r->element = types[i].element;
    }
  }
  if( r->source==0 ){
    snprintf(what, sizeof what, "its element type is \"%.3s\"; known: <f4 <f8 "
             "<f2 <i4 |u1 |i1", descr);
    return fail(r, what);
  }
  if( sscanf(shape, "(%llu, %llu)", &n, &d)!=2 || d==0 || d>65535 ){
    return fail(r, "its shape is not (rows, dimensions 1..65535)");
  }
  r->n_total = n;
  r->dims = (uint32_t)d;
  return true;
}

static bool npy_open(struct vec_reader *r, uint64_t *sz_header){
  unsigned char h[12];
  char *dict;
  size_t n_len, n;
  bool ok;
  if( fread(h, 1, 10, r->f)!=10 || memcmp(h, "\x93NUMPY", 6)!=0 ){
    return fail(r, "it does not begin as a numpy file does");
  }
  n_len = h[6]>=2 ? 4 : 2;
  if( n_len==4 && fread(h+10, 1, 2, r->f)!=2 ) return fail(r, "it is cut off");
  n = n_len==2 ? h[8] | (size_t)h[9]<<8 : u32_of(h+8);
  if( n>65536 ) return fail(r, "its numpy header is longer than 64 KiB");
  dict = calloc(1, n+1);
  if( dict==NULL ) return fail(r, "out of memory");
  ok = fread(dict, 1, n, r->f)==n || fail(r, "its numpy header is cut off");
  ok = ok && npy_dict_read(r, dict);
  free(dict);
  *sz_header = 8 + n_len + n;
  return ok;
}

static bool bin_open(struct vec_reader *r, uint64_t *sz_header){
  unsigned char h[8];
  if( fread(h, 1, 8, r->f)!=8 ) return fail(r, "it is shorter than its header");
  r->n_total = u32_of(h);
  r->dims = u32_of(h+4);
  *sz_header = 8;
  return true;
}

static bool vecs_open(struct vec_reader *r){
  unsigned char h[4];
  if( fread(h, 1, 4, r->f)!=4 ) return fail(r, "it is empty");
  r->dims = u32_of(h);
  return fseeko(r->f, 0, SEEK_SET)==0 || fail(r, strerror(errno));
}

/* Compare the size of the file with the header, or derive the rows. */
static bool size_check(struct vec_reader *r, uint64_t sz_header, uint64_t size){
  uint64_t row = raw_row_bytes(r), want;
  char what[200];
  if( r->dims==0 || r->dims>65535 ){
    snprintf(what, sizeof what, "it has %u dimensions, expected 1..65535; "
             "is it really of this format?", r->dims);
    return fail(r, what);
  }
  if( has_row_header(r) ){
    r->n_total = size/row;
    want = r->n_total*row;
  }else{
    want = sz_header + r->n_total*row;
  }
  if( want==size ) return true;
  snprintf(what, sizeof what, "%llu rows of %u dimensions take %llu bytes, the "
           "file has %llu; it is truncated or of another format",
           (unsigned long long)r->n_total, r->dims, (unsigned long long)want,
           (unsigned long long)size);
  return fail(r, what);
}

bool vec_reader_open(struct vec_reader *r, const char *path,
                     enum vec_format format){
  char why[READER_ERR/2];
  uint64_t sz_header = 0;
  off_t size;
  bool ok;
  memset(r, 0, sizeof *r);
  r->path = path;
  r->format = format;
  for(size_t i=0; i<N_FORMAT; i++){
    if( formats[i].f==format ) r->source = formats[i].source;
  }
  r->element = r->source=='u' ? VECDB_U8 : r->source=='b' ? VECDB_I8 : VECDB_F32;
  r->f = reader_file_open(path, why);
  if( r->f==NULL ) return fail(r, why);
  if( fseeko(r->f, 0, SEEK_END)!=0 || (size = ftello(r->f))<0 ){
    return fail(r, "it is no regular file");
  }
  rewind(r->f);
  ok = format==VEC_NPY ? npy_open(r, &sz_header)
     : has_row_header(r) ? vecs_open(r) : bin_open(r, &sz_header);
  if( !ok || !size_check(r, sz_header, (uint64_t)size) ) return false;
  r->raw = malloc(raw_row_bytes(r));
  return r->raw!=NULL || fail(r, "out of memory");
}

void vec_reader_close(struct vec_reader *r){
  if( r->f ) fclose(r->f);
  free(r->raw);
  r->f = NULL;
  r->raw = NULL;
}

/* ---- Rows ---------------------------------------------------------------- */

size_t vec_reader_row_bytes(const struct vec_reader *r){
  return vecdb_vector_bytes(r->element, r->dims);
}

bool vec_reader_skip(struct vec_reader *r, uint64_t n){
  if( n>r->n_total ) n = r->n_total;
  if( fseeko(r->f, (off_t)(n*raw_row_bytes(r)), SEEK_CUR)!=0 ){
    return fail(r, strerror(errno));
  }
  r->n_read += n;
  return true;
}

static bool number_fail(struct vec_reader *r, uint32_t j, const char *why){
  char what[160];
  snprintf(what, sizeof what, "row %llu, column %u %s",
           (unsigned long long)r->n_read, j, why);
  return fail(r, what);
}

/* p (as stored) into out (as handed out). */
static bool row_convert(struct vec_reader *r, const unsigned char *p, void *out){
  float *f = out;
  if( r->source!='i' && r->source!='d' ){
    memcpy(out, p, vec_reader_row_bytes(r));
    return true;
  }
  for(uint32_t j=0; j<r->dims; j++){
    if( r->source=='i' ){
      int32_t v = (int32_t)u32_of(p + 4*(size_t)j);
      f[j] = (float)v;
      if( (double)f[j]!=(double)v ){
        return number_fail(r, j, "is an integer that float32 cannot hold");
      }
    }else{
      double d;
      memcpy(&d, p + 8*(size_t)j, 8);
      f[j] = (float)d;
      if( !isfinite(f[j]) ){
        return number_fail(r, j, "is no finite float32");
      }
    }
  }
  return true;
}

static bool row_read(struct vec_reader *r, void *out){
  size_t n = raw_row_bytes(r), off = has_row_header(r) ? 4 : 0;
  char what[120];
  if( fread(r->raw, 1, n, r->f)!=n ) return fail(r, "it ends inside a row");
  if( off && u32_of(r->raw)!=r->dims ){
    snprintf(what, sizeof what, "row %llu has %u dimensions, not %u",
             (unsigned long long)r->n_read, u32_of(r->raw), r->dims);
    return fail(r, what);
  }
  return row_convert(r, r->raw+off, out);
}

bool vec_reader_next(struct vec_reader *r, size_t n, void *buf, size_t *n_got){
  size_t row = vec_reader_row_bytes(r);
  unsigned char *out = buf;
  for(*n_got=0; *n_got<n && r->n_read<r->n_total; ++*n_got){
    if( !row_read(r, out + *n_got*row) ) return false;
    r->n_read++;
  }
  return true;
}
