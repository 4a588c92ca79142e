/* stmt_bind.c -- bound values, and making them fit their column.
**
** Numbers fit where nothing is lost: integral reals into INTEGER, integers
** into REAL. A vector is its column's own type, or float32 for the 16-bit
** floats; a blob is taken by its length. What does not fit is refused here
** when the type alone says so, else when the statement is stepped, because a
** value bound with VECDB_STATIC may change until then.
*/
#include "util/common.h"
#include "store/stmt_int.h"

#include <math.h>

#include "simd/simd.h"
#include "store/value.h"
#include "store/vecjson.h"
#include "util/bytes.h"
#include "util/mem.h"

/* ---- Holding values ----------------------------------------------------- */

void vdb_binding_clear(struct binding *b){
  if( b->is_copy ) vdb_free((void*)(uintptr_t)b->v.p);
  else if( b->free_fn ) b->free_fn((void*)(uintptr_t)b->v.p);
  memset(b, 0, sizeof(*b));
}

static void value_release(const void *p, vecdb_free_fn destroy){
  if( p && destroy!=VECDB_STATIC && destroy!=VECDB_TRANSIENT ){
    destroy((void*)(uintptr_t)p);
  }
}

/* Put v into b. The bytes are copied, kept, or kept until destroy is called. */
static int binding_set(struct binding *b, const struct vdb_value *v,
                       int element, vecdb_free_fn destroy){
  bool has_bytes = v->type==VECDB_TEXT || v->type==VECDB_BLOB
                || v->type==VECDB_VECTOR;
  void *copy = NULL;
  if( has_bytes && destroy==VECDB_TRANSIENT ){
    copy = vdb_memdup(v->p, v->n);
    if( copy==NULL ) return VECDB_NOMEM;
  }
  vdb_binding_clear(b);
  b->is_set = true;
  b->v = *v;
  b->element = element;
  if( copy ){
    b->v.p = copy;
    b->is_copy = true;
  }else if( has_bytes && destroy!=VECDB_STATIC ){
    b->free_fn = destroy;
  }
  return VECDB_OK;
}

/* Which binding is i? *column is the column it goes to, -1 for a parameter. */
static int binding_find(struct stmt *s, int i, struct binding **out,
                        int *column){
  bool has_columns = s->kind==STMT_INSERT || s->kind==STMT_UPDATE;
  bool has_key = s->kind==STMT_UPDATE || s->kind==STMT_DELETE
              || s->kind==STMT_GET;
  *out = NULL;
  *column = -1;
  if( s->state==ST_ROW || s->state==ST_ABORTED ){
    return vdb_error(s->ss->err, VECDB_MISUSE,
                     "cannot bind while the statement is in progress; reset "
                     "it first");
  }
  if( i==VECDB_KEY && s->kind==STMT_INSERT ) i = 0;
  if( i==VECDB_KEY && has_key ){
    *out = &s->key;
    *column = 0;
  }else if( i==VECDB_QUERY && s->kind==STMT_SEARCH ){
    *out = &s->query;
    *column = s->column;
  }else if( has_columns && i>=0 && i<s->schema->n_col ){
    *out = &s->col[i];
    *column = i;
  }else if( i>=1 && (unsigned)i<=s->n_param ){
    *out = &s->param[i-1];
  }
  if( *out ) return VECDB_OK;
  if( has_columns ){
    return vdb_error(s->ss->err, VECDB_RANGE,
                     "cannot bind %d: \"%.100s\" has columns 0..%d", i,
                     vdb_coll_name(s->coll), s->schema->n_col-1);
  }
  return vdb_error(s->ss->err, VECDB_RANGE, "cannot bind %d: the %s has %u "
                   "parameters%s", i, has_key ? "statement" : "filter",
                   s->n_param, has_key ? " besides VECDB_KEY"
                   : s->kind==STMT_SEARCH ? " besides VECDB_QUERY" : "");
}

/* ---- Vectors ------------------------------------------------------------ */

static int vector_wrong_type(const struct schema_column *col, int element,
                             struct vdb_err *err){
  return vdb_error(err, VECDB_MISMATCH,
                   "column \"%.100s\" takes %s vectors, not %s", col->name,
                   vdb_element_name(col->element), vdb_element_name(element));
}

static int vector_wrong_size(const struct schema_column *col, int element,
                             size_t n, struct vdb_err *err){
  size_t sz8 = vdb_vector_bytes(element, 8);
  if( n*8%sz8 ){
    return vdb_error(err, VECDB_MISMATCH,
                     "column \"%.100s\": %zu bytes are no whole number of "
                     "%s elements", col->name, n, vdb_element_name(element));
  }
  return vdb_error(err, VECDB_MISMATCH,
                   "column \"%.100s\" has %u dimensions, not %zu", col->name,
                   col->dims, n*8/sz8);
}

/* May vectors of this type and size go into the column? */
static int vector_check(const struct schema_column *col, int element,
                        size_t n, struct vdb_err *err){
  bool narrows = element==VECDB_F32
              && (col->element==VECDB_F16 || col->element==VECDB_BF16);
  if( vdb_vector_bytes(element, 8)==0 ){
    return vdb_error(err, VECDB_MISUSE, "%d is no element type", element);
  }
  if( element!=col->element && !narrows ){
    return vector_wrong_type(col, element, err);
  }
  if( n!=vdb_vector_bytes(element, col->dims) ){
    return vector_wrong_size(col, element, n, err);
  }
  return VECDB_OK;
}

/* Element i of v, widened. */
static double vector_at(int element, const void *v, size_t i){
  float f;
  if( element==VECDB_F32 ) return (double)get_f32((const char*)v + 4*i);
  vdb_widen(element, (const char*)v + 2*i, &f, 1);
  return (double)f;
}

/* The first element that is not finite, for the message. */
static int vector_not_finite(const struct schema_column *col, int element,
                             const void *v, struct vdb_err *err){
  size_t i = 0;
  while( i+1<col->dims && isfinite(vector_at(element, v, i)) ) i++;
  return vdb_error(err, VECDB_RANGE, "column \"%.100s\": element %zu is %s",
                   col->name, i, isnan(vector_at(element, v, i))
                   ? "not a number" : "infinite");
}

static int vector_narrow(const struct schema_column *col, const float *v,
                         uint16_t *out, struct vdb_err *err){
  size_t n_over = col->element==VECDB_F16
                ? vdb_f16_from_f32(v, out, col->dims)
                : vdb_bf16_from_f32(v, out, col->dims);
  size_t i = 0;
  if( n_over==0 ) return VECDB_OK;
  while( i+1<col->dims && isfinite(vector_at(col->element, out, i)) ) i++;
  return vdb_error(err, VECDB_RANGE, "column \"%.100s\": element %zu, %g, is "
                   "outside the range of %s", col->name, i, (double)v[i],
                   vdb_element_name(col->element));
}

static bool vector_is_aligned(int element, const void *p){
  size_t sz = element==VECDB_F32 ? 4 : element<=VECDB_BF16 ? 2 : 1;
  return (uintptr_t)p%sz==0;
}

int vdb_vector_adopt(const struct schema_column *col, int element,
                     const void *p, size_t n, void *buf, const void **out,
                     struct vdb_err *err){
  void *copy = NULL;
  int rc;
  *out = NULL;
  TRY( vector_check(col, element, n, err) );
  if( !vector_is_aligned(element, p) ){
    copy = vdb_memdup(p, n);
    if( copy==NULL ) return VECDB_NOMEM;
    p = copy;
  }
  if( !vdb_is_finite(element, p, col->dims) ){
    TRY( vector_not_finite(col, element, p, err) );
  }
  if( element!=col->element ){
    TRY( vector_narrow(col, p, buf, err) );
  }else if( copy ){
    memcpy(buf, copy, n);
  }
  *out = copy || element!=col->element ? buf : p;
done:
  vdb_free(copy);
  return rc;
}

/* Element type of a blob, by its length; 0: none fits. */
static int blob_element(const struct schema_column *col, size_t n){
  if( n==col->sz_vec ) return col->element;
  if( (col->element==VECDB_F16 || col->element==VECDB_BF16)
   && n==4*(size_t)col->dims ) return VECDB_F32;
  return 0;
}

/* ---- Binding ------------------------------------------------------------ */

static int bind_json(struct stmt *s, struct binding *b, int column,
                     const char *z, size_t n){
  const struct schema_column *col = &s->schema->col[column];
  struct vdb_value v = { VECDB_VECTOR, 0, 0, NULL, col->sz_vec };
  void *buf = vdb_malloc(col->sz_vec);
  size_t dims = 0;
  int rc;
  if( buf==NULL ) return VECDB_NOMEM;
  rc = vdb_vecjson_parse(col->element, z, n, buf, col->sz_vec, &dims,
                         s->ss->err);
  if( (rc==VECDB_OK || rc==VECDB_TOOBIG) && dims!=col->dims ){
    rc = vdb_error(s->ss->err, VECDB_MISMATCH,
                   "column \"%.100s\" has %u dimensions, not %zu", col->name,
                   col->dims, dims);
  }
  if( rc==VECDB_OK ){
    v.p = buf;
    rc = binding_set(b, &v, col->element, VECDB_STATIC);
    b->is_copy = true;
    buf = NULL;
  }
  vdb_free(buf);
  return rc;
}

/* A scalar, text or blob that goes to a vector column. */
static int bind_to_vector(struct stmt *s, struct binding *b, int column,
                          const struct vdb_value *v, vecdb_free_fn destroy){
  const struct schema_column *col = &s->schema->col[column];
  struct vdb_value vec = *v;
  int element, rc;
  if( v->type==VECDB_TEXT ){
    rc = bind_json(s, b, column, v->p, v->n);
    value_release(v->p, destroy);
    return rc;
  }
  if( v->type==VECDB_NULL ) return binding_set(b, v, 0, VECDB_STATIC);
  if( v->type!=VECDB_BLOB ){
    return vdb_error(s->ss->err, VECDB_CONSTRAINT_TYPE,
                     "column \"%.100s\" takes vectors, not numbers",
                     col->name);
  }
  element = blob_element(col, v->n);
  if( element==0 ){
    rc = vector_wrong_size(col, col->element, v->n, s->ss->err);
    value_release(v->p, destroy);
    return rc;
  }
  vec.type = VECDB_VECTOR;
  rc = binding_set(b, &vec, element, destroy);
  if( rc!=VECDB_OK ) value_release(v->p, destroy);
  return rc;
}

int vdb_stmt_bind(struct stmt *s, int i, const struct vdb_value *v,
                  vecdb_free_fn destroy){
  struct binding *b;
  int column, rc = binding_find(s, i, &b, &column);
  if( rc!=VECDB_OK ){
    value_release(v->p, destroy);
    return rc;
  }
  s->bind_version++;
  if( column>=0 && s->schema->col[column].type==VECDB_VECTOR ){
    return bind_to_vector(s, b, column, v, destroy);
  }
  rc = binding_set(b, v, 0, destroy);
  if( rc!=VECDB_OK ) value_release(v->p, destroy);
  return rc;
}

int vdb_stmt_bind_vector(struct stmt *s, int i, int element, const void *p,
                         size_t n, vecdb_free_fn destroy){
  struct vdb_value v = { VECDB_VECTOR, 0, 0, p, n };
  struct binding *b;
  int column, rc;
  TRY( binding_find(s, i, &b, &column) );
  if( column<0 || s->schema->col[column].type!=VECDB_VECTOR ){
    TRY( vdb_error(s->ss->err, VECDB_CONSTRAINT_TYPE, "%s%.100s%s takes no "
                   "vectors", column<0 ? "a filter" : "column \"",
                   column<0 ? "" : s->schema->col[column].name,
                   column<0 ? "" : "\"") );
  }
  TRY( vector_check(&s->schema->col[column], element, n, s->ss->err) );
  TRY( binding_set(b, &v, element, destroy) );
done:
  if( rc!=VECDB_OK ) value_release(p, destroy);
  return rc;
}

int vdb_stmt_bind_json(struct stmt *s, int i, const char *z, size_t n){
  struct vdb_value v = { VECDB_TEXT, 0, 0, z, n };
  struct binding *b;
  int column, rc;
  TRY( binding_find(s, i, &b, &column) );
  if( column<0 || s->schema->col[column].type!=VECDB_VECTOR ){
    return vdb_stmt_bind(s, i, &v, VECDB_TRANSIENT);
  }
  rc = bind_json(s, b, column, z, n);
done:
  return rc;
}

int vdb_stmt_clear_bindings(struct stmt *s){
  if( s->state==ST_ROW ){
    return vdb_error(s->ss->err, VECDB_MISUSE,
                     "cannot clear bindings while the statement is in "
                     "progress; reset it first");
  }
  for(int i=0; i<s->schema->n_col; i++) vdb_binding_clear(&s->col[i]);
  for(unsigned i=0; i<s->n_param; i++) vdb_binding_clear(&s->param[i]);
  vdb_binding_clear(&s->key);
  vdb_binding_clear(&s->query);
  s->bind_version++;
  return VECDB_OK;
}

int vdb_stmt_set_k(struct stmt *s, uint64_t k){
  vecdb_search_options opt = s->opt;
  int column, rc;
  if( s->kind!=STMT_SEARCH || s->state==ST_ROW ){
    return vdb_error(s->ss->err, VECDB_MISUSE, "cannot set k of %s",
                     s->kind==STMT_SEARCH ? "a search in progress; reset it "
                     "first" : "a statement that is no search");
  }
  opt.k = k;
  rc = vdb_search_check(s->schema, &opt, s->ss->err, &column);
  if( rc==VECDB_OK ) s->opt.k = k;
  return rc;
}

int vdb_stmt_set_keys(struct stmt *s, size_t n, const int64_t *i,
                      const char *const *z){
  struct keyset *keys = NULL;
  int type = z ? VECDB_TEXT : VECDB_INTEGER, rc = VECDB_OK;
  bool has_rows = s->kind==STMT_SCAN || s->kind==STMT_SEARCH;
  if( !has_rows || s->state==ST_ROW ){
    return vdb_error(s->ss->err, VECDB_MISUSE, "cannot restrict %s to keys",
                     has_rows ? "a statement in progress; reset it first,"
                              : "a statement that is no search or scan");
  }
  if( i || z ){
    if( s->schema->col[0].type!=type ){
      return vdb_error(s->ss->err, VECDB_MISMATCH,
                       "the key of \"%.100s\" is %s", vdb_coll_name(s->coll),
                       type==VECDB_TEXT ? "an integer" : "a text");
    }
    rc = vdb_keyset_create(n, i, z, &keys);
    if( rc!=VECDB_OK ) return rc;
  }
  vdb_keyset_destroy(s->keys);
  s->keys = keys;
  s->bind_version++;
  return VECDB_OK;
}

/* ---- What is bound, as the column wants it ------------------------------ */

void vdb_value_fit(const struct schema_column *col, struct vdb_value *v){
  int64_t whole;
  if( v->type==VECDB_REAL && v->r!=v->r ){
    v->type = VECDB_NULL;                                 /* as in SQLite */
  }else if( v->type==VECDB_REAL
         && (col->type==VECDB_INTEGER || col->type==VECDB_BOOLEAN) ){
    if( vdb_real_is_int(v->r, &whole) ){
      v->type = VECDB_INTEGER;
      v->i = whole;
    }
  }else if( v->type==VECDB_INTEGER && col->type==VECDB_REAL ){
    v->type = VECDB_REAL;
    v->r = (double)v->i;
  }
  if( v->type==VECDB_INTEGER && col->type==VECDB_BOOLEAN ){
    v->type = VECDB_BOOLEAN;
  }
}

int vdb_stmt_bound(struct stmt *s, const struct binding *b, int column,
                   void *buf, struct vdb_value *out){
  const struct schema_column *col = &s->schema->col[column];
  int rc;
  *out = b->v;
  if( b->v.type!=VECDB_VECTOR ){
    vdb_value_fit(col, out);
    return VECDB_OK;
  }
  rc = vdb_vector_adopt(col, b->element, b->v.p, b->v.n, buf, &out->p,
                        s->ss->err);
  out->n = col->sz_vec;
  return rc;
}
