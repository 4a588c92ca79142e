/* vec_value.c -- a vector out of a sqlite3_value.
**
** A vector is a BLOB of elements or a JSON array of numbers. A BLOB does not
** say what its elements are; a function that makes one attaches a subtype,
** and vdb_vec_read believes it. Without one a BLOB is float32.
**
** The sentences are those of sqlite-vec, spelling included, because programs
** compare them. NaN and infinities are refused.
*/
#include "sql/vtab_int.h"

static const struct element_row {
  int element, subtype;
  const char *name;
} element_table[] = {
  { VECDB_F32,  SUBTYPE_F32,  "float32"  },
  { VECDB_F16,  SUBTYPE_F16,  "float16"  },
  { VECDB_BF16, SUBTYPE_BF16, "bfloat16" },
  { VECDB_I8,   SUBTYPE_I8,   "int8"     },
  { VECDB_U8,   SUBTYPE_U8,   "uint8"    },
  { VECDB_BIT,  SUBTYPE_BIT,  "bit"      },
};
#define N_ELEMENT (sizeof(element_table)/sizeof(element_table[0]))

int vdb_vec_element_of_subtype(int subtype){
  size_t i;
  for(i=0; i<N_ELEMENT; i++){
    if( element_table[i].subtype==subtype ) return element_table[i].element;
  }
  return 0;
}

int vdb_vec_subtype_of_element(int element){
  size_t i;
  for(i=0; i<N_ELEMENT; i++){
    if( element_table[i].element==element ) return element_table[i].subtype;
  }
  return 0;
}

const char *vdb_vec_element_name(int element){
  size_t i;
  for(i=0; i<N_ELEMENT; i++){
    if( element_table[i].element==element ) return element_table[i].name;
  }
  return "unknown";
}

const char *vdb_value_type_name(sqlite3_value *v){
  switch( sqlite3_value_type(v) ){
    case SQLITE_INTEGER: return "INTEGER";
    case SQLITE_FLOAT:   return "FLOAT";
    case SQLITE_TEXT:    return "TEXT";
    case SQLITE_BLOB:    return "BLOB";
    default:             return "NULL";
  }
}

/* Elements in n bytes; 0 when n is no multiple of the element. */
static size_t element_count(int element, size_t n){
  size_t one = vecdb_vector_bytes(element, 1);
  if( element==VECDB_BIT ) return n*8;
  return one>0 && n%one==0 ? n/one : 0;
}

/* 0: finite, 1: infinite, 2: not a number. */
static int float_class(int element, const unsigned char *p){
  uint32_t bits = 0, exponent = 0, fraction = 0;
  if( element==VECDB_F32 ){
    memcpy(&bits, p, 4);
    exponent = 0x7f800000u;
    fraction = 0x007fffffu;
  }else{
    uint16_t half;
    memcpy(&half, p, 2);
    bits = half;
    exponent = element==VECDB_F16 ? 0x7c00u : 0x7f80u;
    fraction = element==VECDB_F16 ? 0x03ffu : 0x007fu;
  }
  if( (bits & exponent)!=exponent ) return 0;
  return (bits & fraction) ? 2 : 1;
}

static int floats_are_finite(const struct sql_vec *v, char **err){
  size_t one, i;
  if( v->element!=VECDB_F32 && v->element!=VECDB_F16
   && v->element!=VECDB_BF16 ){
    return SQLITE_OK;
  }
  one = vecdb_vector_bytes(v->element, 1);
  for(i=0; i<v->n_dim; i++){
    int cls = float_class(v->element, (const unsigned char*)v->p + i*one);
    if( cls ){
      return vdb_sql_fail(err, SQLITE_ERROR,
                      "invalid %s vector: element %d is %s",
                      vdb_vec_element_name(v->element), (int)i,
                      cls==2 ? "NaN" : "Inf");
    }
  }
  return SQLITE_OK;
}

static int vec_from_blob(sqlite3_value *value, struct sql_vec *out,
                         char **err){
  out->sz = (size_t)sqlite3_value_bytes(value);
  out->p = sqlite3_value_blob(value);
  if( out->sz==0 ){
    return vdb_sql_fail(err, SQLITE_ERROR,
                    "zero-length vectors are not supported.");
  }
  out->n_dim = element_count(out->element, out->sz);
  if( out->n_dim==0 ){
    return vdb_sql_fail(err, SQLITE_ERROR,
        "invalid %s vector BLOB length. Must be divisible by %d, found %d",
        vdb_vec_element_name(out->element),
        (int)vecdb_vector_bytes(out->element, 1), (int)out->sz);
  }
  return floats_are_finite(out, err);
}

static size_t skip_space(const char *z, size_t n){
  size_t i = 0;
  while( i<n && (z[i]==' ' || z[i]=='\t' || z[i]=='\n' || z[i]=='\r') ) i++;
  return i;
}

static int vec_from_json(sqlite3_value *value, struct sql_vec *out,
                         char **err){
  const char *z = (const char*)sqlite3_value_text(value);
  size_t n = (size_t)sqlite3_value_bytes(value);
  size_t i, cap;
  int rc;

  if( z==NULL ) return SQLITE_NOMEM;
  if( n==0 ){
    return vdb_sql_fail(err, SQLITE_ERROR,
                    "zero-length vectors are not supported.");
  }
  i = skip_space(z, n);
  if( i==n || z[i]!='[' ){
    return vdb_sql_fail(err, SQLITE_ERROR,
        "JSON array parsing error: Input does not start with '['");
  }
  i++;
  i += skip_space(z + i, n - i);
  if( i<n && z[i]==']' && i + 1 + skip_space(z+i+1, n-i-1)==n ){
    return vdb_sql_fail(err, SQLITE_ERROR,
                    "zero-length vectors are not supported.");
  }
  cap = (n/2 + 1)*4;                   /* an element takes two characters */
  out->owned = sqlite3_malloc64(cap);
  if( out->owned==NULL ) return SQLITE_NOMEM;
  rc = vecdb_vector_parse(out->element, z, n, out->owned, cap, &out->n_dim,
                          NULL, 0);
  if( rc==VECDB_NOMEM ) return SQLITE_NOMEM;
  if( rc==VECDB_RANGE ){
    return vdb_sql_fail(err, SQLITE_ERROR,
                    "JSON parsing error: value out of range for %s",
                    vdb_vec_element_name(out->element));
  }
  if( rc!=VECDB_OK ){
    return vdb_sql_fail(err, SQLITE_ERROR, "JSON parsing error");
  }
  out->p = out->owned;
  out->sz = vecdb_vector_bytes(out->element, out->n_dim);
  return SQLITE_OK;
}

int vdb_vec_read(sqlite3_value *v, int element, struct sql_vec *out,
                 char **err){
  int type = sqlite3_value_type(v);
  int rc;

  memset(out, 0, sizeof(*out));
  if( element==0 ){
    int subtype = (int)sqlite3_value_subtype(v);
    element = VECDB_F32;
    if( subtype!=0 && subtype!=SUBTYPE_JSON ){
      element = vdb_vec_element_of_subtype(subtype);
      if( element==0 ){
        return vdb_sql_fail(err, SQLITE_ERROR, "Unknown subtype: %d", subtype);
      }
    }
  }
  out->element = element;
  if( type==SQLITE_BLOB ){
    rc = vec_from_blob(v, out, err);
  }else if( element==VECDB_BIT ){
    rc = vdb_sql_fail(err, SQLITE_ERROR, "Unknown type for bitvector.");
  }else if( type==SQLITE_TEXT ){
    rc = vec_from_json(v, out, err);
  }else{
    rc = vdb_sql_fail(err, SQLITE_ERROR,
        "Input must have type BLOB (compact format) or TEXT (JSON), found %s",
        vdb_value_type_name(v));
  }
  if( rc!=SQLITE_OK ) vdb_vec_clear(out);
  return rc;
}

void vdb_vec_clear(struct sql_vec *v){
  sqlite3_free(v->owned);
  memset(v, 0, sizeof(*v));
}

double vdb_vec_at(const struct sql_vec *v, size_t i){
  const unsigned char *p = v->p;
  float f = 0;
  size_t one;

  switch( v->element ){
    case VECDB_BIT: return (p[i/8] >> (i%8)) & 1;
    case VECDB_I8:  return (signed char)p[i];
    case VECDB_U8:  return p[i];
    case VECDB_F32:
      memcpy(&f, p + 4*i, 4);
      return f;
    default:
      one = vecdb_vector_bytes(v->element, 1);
      vecdb_vector_convert(v->element, VECDB_F32, 1, p + one*i, &f, NULL, 0);
      return f;
  }
}
