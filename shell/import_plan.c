/* import_plan.c -- which column of the files goes into which of the table.
**
** A table that does not exist is made: the key is the column named by --id,
** or one called "id"; vectors of a vector file become "embedding" (--column);
** columns of the row file get the narrowest type that holds every value:
** integer, float, a vector (JSON arrays of one length), else text.
*/
#include "shell/import_int.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool import_fail(struct import *im, const char *fmt, ...){
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(im->err, sizeof im->err, fmt, ap);
  va_end(ap);
  return false;
}

/* ---- Inference ----------------------------------------------------------- */

static bool is_integer(const char *z){
  char *end;
  if( *z=='-' || *z=='+' ) z++;
  if( *z<'0' || *z>'9' || strlen(z)>18 ) return false;
  strtoll(z, &end, 10);
  return *end==0;
}

static bool is_real(const char *z){
  sqlite3_int64 len = (sqlite3_int64)strlen(z);
  if( len==0 || len>40 ) return false;
  return z[strspn(z, "0123456789+-.eE")]==0 && strpbrk(z, "0123456789")!=NULL
      && strchr("0123456789+-.", z[0])!=NULL;
}

/* Widen what column c is known to hold so that z fits too. */
static void type_widen(struct import_column *c, const char *z){
  size_t dims = 0;
  if( c->type==VECDB_TEXT ) return;
  if( z[0]=='[' && (c->type==VECDB_NULL || c->type==VECDB_VECTOR)
   && vecdb_vector_parse(VECDB_F32, z, strlen(z), NULL, 0, &dims, NULL, 0)
      ==VECDB_OK && (c->type==VECDB_NULL || c->dims==dims) ){
    c->type = VECDB_VECTOR;
    c->dims = (uint32_t)dims;
    c->element = VECDB_F32;
  }else if( c->type==VECDB_VECTOR ){
    c->type = VECDB_TEXT;
  }else if( is_integer(z) ){
    if( c->type==VECDB_NULL ) c->type = VECDB_INTEGER;
  }else if( is_real(z) ){
    c->type = VECDB_REAL;
  }else{
    c->type = VECDB_TEXT;
  }
}

/* Read the whole row file once. */
static bool types_infer(struct import *im){
  bool at_end = false;
  uint64_t n = 0;
  for(int i=0; i<im->row.n_col; i++) im->col[i].type = VECDB_NULL;
  while( row_reader_next(&im->row, &at_end) && !at_end ){
    for(int i=0; i<im->row.n_col; i++){
      if( im->row.field[i] ) type_widen(&im->col[i], im->row.field[i]);
    }
    n++;
  }
  if( !at_end ) return import_fail(im, "%s", im->row.err);
  for(int i=0; i<im->row.n_col; i++){
    if( im->col[i].type==VECDB_NULL ) im->col[i].type = VECDB_TEXT;
  }
  if( im->has_vec && n!=im->vec.n_total ){
    return import_fail(im, "\"%s\" has %llu rows, \"%s\" has %llu",
                       im->a.path, (unsigned long long)im->vec.n_total,
                       im->row.path, (unsigned long long)n);
  }
  if( !im->has_vec ) im->n_total = n;
  return row_reader_rewind(&im->row) || import_fail(im, "%s", im->row.err);
}

/* ---- Making the table ---------------------------------------------------- */

static const char *element_word(int e){
  static const char *const w[] = { "", "float", "float16", "bfloat16", "int8",
                                   "uint8", "bit" };
  return w[e];
}

static int key_column_of_file(const struct import *im){
  const char *want = im->a.id ? im->a.id : "id";
  for(int i=0; i<im->row.n_col; i++){
    if( strcasecmp(im->row.name[i], want)==0 ) return i;
  }
  return -1;
}

static void schema_add(char **z, const char *fmt, ...){
  va_list ap;
  char *one, *all;
  va_start(ap, fmt);
  one = sqlite3_vmprintf(fmt, ap);
  va_end(ap);
  all = sqlite3_mprintf("%s%s%s", *z ? *z : "", *z ? ", " : "", one ? one : "");
  sqlite3_free(one);
  sqlite3_free(*z);
  *z = all;
}

static void schema_add_vector(struct import *im, char **z, const char *name,
                              int element, uint32_t dims){
  schema_add(z, "\"%w\" %s[%u]%s%s", name, element_word(element), dims,
             im->a.metric ? " distance_metric=" : "",
             im->a.metric ? im->a.metric : "");
}

static bool table_create(struct import *im){
  char *z = NULL;
  int i_key = im->has_row ? key_column_of_file(im) : -1, rc, n_vector = 0;
  if( im->a.id && i_key<0 ){
    return import_fail(im, "--id \"%s\" is no column of the row file", im->a.id);
  }
  schema_add(&z, "\"%w\" %s primary key", i_key>=0 ? im->row.name[i_key] : "id",
             i_key>=0 && im->col[i_key].type!=VECDB_INTEGER ? "text"
                                                            : "integer");
  if( im->has_vec ){
    schema_add_vector(im, &z, im->a.column ? im->a.column : "embedding",
                      im->vec.element, im->vec.dims);
    n_vector++;
  }
  for(int i=0; im->has_row && i<im->row.n_col; i++){
    const struct import_column *c = &im->col[i];
    if( i==i_key ) continue;
    if( c->type==VECDB_VECTOR ){
      schema_add_vector(im, &z, im->row.name[i], c->element, c->dims);
      n_vector++;
    }else{
      schema_add(&z, "\"%w\" %s", im->row.name[i],
                 c->type==VECDB_INTEGER ? "integer"
                 : c->type==VECDB_REAL ? "float" : "text");
    }
  }
  if( n_vector==0 ){
    sqlite3_free(z);
    return import_fail(im, "\"%s\" has no vectors, and table \"%s\" does not "
      "exist; import a vector file first, or give one with --meta",
      im->a.path, im->a.table);
  }
  rc = z ? im->t.ops->create(&im->t, z) : VECDB_NOMEM;
  sqlite3_free(z);
  return rc==VECDB_OK || import_fail(im, "cannot make table \"%s\": %s",
                                     im->a.table, im->t.err);
}

/* ---- Mapping ------------------------------------------------------------- */

static bool vector_target(struct import *im){
  vecdb_column_info ci = { .size = sizeof ci };
  int n = vecdb_column_count(im->t.c);
  im->vec_target = im->a.column ? vecdb_column_find(im->t.c, im->a.column) : -1;
  if( im->a.column && im->vec_target<0 ){
    return import_fail(im, "table \"%s\" has no column \"%s\"", im->a.table,
                       im->a.column);
  }
  for(int i=0; im->vec_target<0 && i<n; i++){
    if( vecdb_column_describe(im->t.c, i, &ci)==VECDB_OK
     && ci.role==VECDB_ROLE_VECTOR ) im->vec_target = i;
  }
  if( vecdb_column_describe(im->t.c, im->vec_target, &ci)!=VECDB_OK
   || ci.role!=VECDB_ROLE_VECTOR ){
    return import_fail(im, "column \"%s\" holds no vectors", im->a.column);
  }
  if( ci.dims!=im->vec.dims ){
    return import_fail(im, "cannot import \"%s\": it has %u dimensions, column "
                       "\"%s\" of \"%s\" has %u", im->a.path, im->vec.dims,
                       ci.name, im->a.table, ci.dims);
  }
  im->vec_element = (int)ci.element;
  return true;
}

static bool column_target(struct import *im, int i, int i_key){
  struct import_column *c = &im->col[i];
  vecdb_column_info ci = { .size = sizeof ci };
  c->target = i==i_key ? 0 : vecdb_column_find(im->t.c, im->row.name[i]);
  if( c->target<0 || vecdb_column_describe(im->t.c, c->target, &ci)!=VECDB_OK ){
    return import_fail(im, "table \"%s\" has no column \"%s\"", im->a.table,
                       im->row.name[i]);
  }
  if( ci.role==VECDB_ROLE_VECTOR && im->has_vec
   && c->target==im->vec_target ){
    return import_fail(im, "\"%s\" would be filled from both files", ci.name);
  }
  c->type = (int)ci.type;
  c->dims = ci.dims;
  c->element = (int)ci.element;
  return true;
}

/* Rows without vectors for a table that has them: fill in metadata. */
static void update_decide(struct import *im){
  bool has_vector = im->has_vec;
  for(int i=0; i<im->row.n_col; i++){
    if( im->col[i].type==VECDB_VECTOR ) has_vector = true;
  }
  im->is_update = im->has_row && !has_vector;
}

bool import_plan(struct import *im){
  int rc, i_key;
  vecdb_column_info key = { .size = sizeof key };
  if( im->has_row && !types_infer(im) ) return false;
  rc = im->t.ops->open(&im->t);
  if( (rc&0xff)==VECDB_NOTFOUND ){
    if( !table_create(im) ) return false;
    rc = im->t.ops->open(&im->t);
  }
  if( rc!=VECDB_OK ) return import_fail(im, "%s", im->t.err);
  if( im->has_vec && !vector_target(im) ) return false;
  if( !im->has_row ) return true;
  vecdb_column_describe(im->t.c, 0, &key);
  i_key = key_column_of_file(im);
  for(int i=0; i_key<0 && !im->a.id && i<im->row.n_col; i++){
    if( strcasecmp(im->row.name[i], key.name)==0 ) i_key = i;
  }
  for(int i=0; i<im->row.n_col; i++){
    if( !column_target(im, i, i_key) ) return false;
  }
  update_decide(im);
  if( im->is_update && i_key<0 ){
    return import_fail(im, "\"%s\" has neither vectors nor a key column; name "
                       "the key with --id", im->a.path);
  }
  return true;
}
