/* vec_func.c -- the scalar functions vec_*.
**
** They do what sqlite-vec's do, with its sentences, spelling included; ours
** are vec_f16, vec_bf16, vec_uint8, vec_distance_ip, vec_distance_jaccard and
** the second argument of vec_to_json. A function that makes a vector attaches
** the subtype of its elements, so that the next one knows them. doc/sql.md
** has the table.
*/
#include "sql/vtab_int.h"

#include <math.h>

/* Report rc; err is freed. */
static void result_failure(sqlite3_context *ctx, int rc, char *err){
  if( rc==SQLITE_NOMEM ){
    sqlite3_result_error_nomem(ctx);
  }else{
    sqlite3_result_error(ctx, err ? err : "vector expected", -1);
  }
  sqlite3_free(err);
}

/* Return sz bytes at p as a vector; p is from sqlite3_malloc and given away. */
static void result_vector(sqlite3_context *ctx, int element, void *p,
                          size_t sz){
  sqlite3_result_blob64(ctx, p, sz, sqlite3_free);
  sqlite3_result_subtype(ctx, (unsigned)vdb_vec_subtype_of_element(element));
}

/* Read argument i as a vector of any type; on failure the error is set. */
static int arg_vector(sqlite3_context *ctx, sqlite3_value *arg, int element,
                      struct sql_vec *out){
  char *err = NULL;
  int rc = vdb_vec_read(arg, element, out, &err);
  if( rc!=SQLITE_OK ) result_failure(ctx, rc, err);
  return rc;
}

/* ---- Constructors ------------------------------------------------------- */

/* float16 and bfloat16 take float32 (JSON or BLOB of 4 bytes per element is
** JSON only: a BLOB is already of the type asked for). */
static void construct_half(sqlite3_context *ctx, sqlite3_value *arg,
                           int element){
  struct sql_vec v;
  char msg[120] = "";
  void *out;
  size_t sz;
  int subtype = (int)sqlite3_value_subtype(arg);
  int from = VECDB_F32;

  if( sqlite3_value_type(arg)==SQLITE_BLOB && subtype!=SUBTYPE_F32 ){
    from = element;
  }
  if( arg_vector(ctx, arg, from, &v)!=SQLITE_OK ) return;
  sz = vecdb_vector_bytes(element, v.n_dim);
  out = sqlite3_malloc64(sz);
  if( out==NULL ){
    sqlite3_result_error_nomem(ctx);
  }else if( from==element ){
    memcpy(out, v.p, sz);
    result_vector(ctx, element, out, sz);
  }else if( vecdb_vector_convert(from, element, v.n_dim, v.p, out, msg,
                                 sizeof(msg))!=VECDB_OK ){
    sqlite3_result_error(ctx, msg, -1);
    sqlite3_free(out);
  }else{
    result_vector(ctx, element, out, sz);
  }
  vdb_vec_clear(&v);
}

static void construct(sqlite3_context *ctx, sqlite3_value *arg, int element){
  struct sql_vec v;
  void *out;

  if( arg_vector(ctx, arg, element, &v)!=SQLITE_OK ) return;
  out = v.owned;
  if( out==NULL ){
    out = sqlite3_malloc64(v.sz);
    if( out ) memcpy(out, v.p, v.sz);
  }
  v.owned = NULL;
  if( out ){
    result_vector(ctx, element, out, v.sz);
  }else{
    sqlite3_result_error_nomem(ctx);
  }
}

static void fn_f32(sqlite3_context *ctx, int n, sqlite3_value **a){
  (void)n;
  construct(ctx, a[0], VECDB_F32);
}
static void fn_int8(sqlite3_context *ctx, int n, sqlite3_value **a){
  (void)n;
  construct(ctx, a[0], VECDB_I8);
}
static void fn_uint8(sqlite3_context *ctx, int n, sqlite3_value **a){
  (void)n;
  construct(ctx, a[0], VECDB_U8);
}
static void fn_bit(sqlite3_context *ctx, int n, sqlite3_value **a){
  (void)n;
  construct(ctx, a[0], VECDB_BIT);
}
static void fn_f16(sqlite3_context *ctx, int n, sqlite3_value **a){
  (void)n;
  construct_half(ctx, a[0], VECDB_F16);
}
static void fn_bf16(sqlite3_context *ctx, int n, sqlite3_value **a){
  (void)n;
  construct_half(ctx, a[0], VECDB_BF16);
}

/* ---- Facts -------------------------------------------------------------- */

static void fn_length(sqlite3_context *ctx, int n, sqlite3_value **a){
  struct sql_vec v;
  (void)n;
  if( arg_vector(ctx, a[0], 0, &v)!=SQLITE_OK ) return;
  sqlite3_result_int64(ctx, (sqlite3_int64)v.n_dim);
  vdb_vec_clear(&v);
}

static void fn_type(sqlite3_context *ctx, int n, sqlite3_value **a){
  struct sql_vec v;
  (void)n;
  if( arg_vector(ctx, a[0], 0, &v)!=SQLITE_OK ) return;
  sqlite3_result_text(ctx, vdb_vec_element_name(v.element), -1, SQLITE_STATIC);
  vdb_vec_clear(&v);
}

static void result_json(sqlite3_context *ctx, char *z){
  if( z==NULL ){
    sqlite3_result_error_nomem(ctx);
    return;
  }
  sqlite3_result_text(ctx, z, -1, sqlite3_free);
  sqlite3_result_subtype(ctx, SUBTYPE_JSON);
}

static void json_exact(sqlite3_context *ctx, const struct sql_vec *v){
  char *z = NULL;
  if( vecdb_vector_print(v->element, v->n_dim, v->p, &z)!=VECDB_OK ){
    sqlite3_result_error_nomem(ctx);
    return;
  }
  sqlite3_result_text(ctx, z, -1, SQLITE_TRANSIENT);
  sqlite3_result_subtype(ctx, SUBTYPE_JSON);
  vecdb_free(z);
}

static void fn_to_json(sqlite3_context *ctx, int n, sqlite3_value **a){
  struct sql_vec v;
  sqlite3_str *s;
  size_t i;
  int is_float;

  if( n==2 && (sqlite3_value_type(a[1])!=SQLITE_TEXT
   || sqlite3_stricmp((const char*)sqlite3_value_text(a[1]), "exact")!=0) ){
    sqlite3_result_error(ctx, "2nd argument to vec_to_json() must be 'exact'.",
                         -1);
    return;
  }
  if( arg_vector(ctx, a[0], 0, &v)!=SQLITE_OK ) return;
  if( n==2 ){
    json_exact(ctx, &v);
    vdb_vec_clear(&v);
    return;
  }
  is_float = v.element==VECDB_F32 || v.element==VECDB_F16
          || v.element==VECDB_BF16;
  s = sqlite3_str_new(sqlite3_context_db_handle(ctx));
  sqlite3_str_appendchar(s, 1, '[');
  for(i=0; i<v.n_dim; i++){
    if( i ) sqlite3_str_appendchar(s, 1, ',');
    if( is_float ){
      sqlite3_str_appendf(s, "%f", vdb_vec_at(&v, i));
    }else{
      sqlite3_str_appendf(s, "%d", (int)vdb_vec_at(&v, i));
    }
  }
  sqlite3_str_appendchar(s, 1, ']');
  result_json(ctx, sqlite3_str_finish(s));
  vdb_vec_clear(&v);
}

/* ---- Arithmetic --------------------------------------------------------- */

/* Read two vectors of one type and length; on failure the error is set. */
static int arg_pair(sqlite3_context *ctx, sqlite3_value **a,
                    struct sql_vec *x, struct sql_vec *y){
  static const char *const which[] = { "1st", "2nd" };
  struct sql_vec *to[2];
  char *err = NULL;
  int i, rc = SQLITE_OK;

  to[0] = x;
  to[1] = y;
  memset(x, 0, sizeof(*x));
  memset(y, 0, sizeof(*y));
  for(i=0; i<2 && rc==SQLITE_OK; i++){
    rc = vdb_vec_read(a[i], 0, to[i], &err);
    if( rc!=SQLITE_OK && err ){
      err = sqlite3_mprintf("Error reading %s vector: %z", which[i], err);
    }
  }
  if( rc==SQLITE_OK && x->element!=y->element ){
    rc = vdb_sql_fail(&err, SQLITE_ERROR, "Vector type mistmatch. First "
                  "vector has type %s, while the second has type %s.",
                  vdb_vec_element_name(x->element),
                  vdb_vec_element_name(y->element));
  }
  if( rc==SQLITE_OK && x->n_dim!=y->n_dim ){
    rc = vdb_sql_fail(&err, SQLITE_ERROR, "Vector dimension mistmatch. First "
                  "vector has %lld dimensions, while the second has %lld "
                  "dimensions.", (long long)x->n_dim, (long long)y->n_dim);
  }
  if( rc!=SQLITE_OK ){
    vdb_vec_clear(x);
    vdb_vec_clear(y);
    result_failure(ctx, rc, err);
  }
  return rc;
}

/* out = x + sign*y, elementwise. */
static void combine(const struct sql_vec *x, const struct sql_vec *y, int sign,
                    unsigned char *out){
  size_t i;
  for(i=0; i<x->n_dim; i++){
    if( x->element==VECDB_F32 ){
      float a, b;
      memcpy(&a, (const char*)x->p + 4*i, 4);
      memcpy(&b, (const char*)y->p + 4*i, 4);
      a = sign>0 ? a + b : a - b;
      memcpy(out + 4*i, &a, 4);
    }else{
      const unsigned char *a = x->p, *b = y->p;
      out[i] = (unsigned char)(sign>0 ? a[i] + b[i] : a[i] - b[i]);
    }
  }
}

static void add_or_subtract(sqlite3_context *ctx, sqlite3_value **a, int sign){
  struct sql_vec x, y;
  unsigned char *out;

  if( arg_pair(ctx, a, &x, &y)!=SQLITE_OK ) return;
  if( x.element==VECDB_BIT ){
    sqlite3_result_error(ctx, sign>0 ? "Cannot add two bitvectors together."
                         : "Cannot subtract two bitvectors together.", -1);
  }else if( x.element!=VECDB_F32 && x.element!=VECDB_I8 ){
    char *err = sqlite3_mprintf("Cannot %s two %s vectors.",
                                sign>0 ? "add" : "subtract",
                                vdb_vec_element_name(x.element));
    result_failure(ctx, err ? SQLITE_ERROR : SQLITE_NOMEM, err);
  }else if( (out = sqlite3_malloc64(x.sz))==NULL ){
    sqlite3_result_error_nomem(ctx);
  }else{
    combine(&x, &y, sign, out);
    result_vector(ctx, x.element, out, x.sz);
  }
  vdb_vec_clear(&x);
  vdb_vec_clear(&y);
}

static void fn_add(sqlite3_context *ctx, int n, sqlite3_value **a){
  (void)n;
  add_or_subtract(ctx, a, 1);
}
static void fn_sub(sqlite3_context *ctx, int n, sqlite3_value **a){
  (void)n;
  add_or_subtract(ctx, a, -1);
}

/* Why [start, end) of v cannot be taken, or NULL. */
static const char *slice_problem(const struct sql_vec *v, sqlite3_int64 start,
                                 sqlite3_int64 end){
  sqlite3_int64 n = (sqlite3_int64)v->n_dim;
  if( start<0 ) return "slice 'start' index must be a postive number.";
  if( end<0 ) return "slice 'end' index must be a postive number.";
  if( start>n ){
    return "slice 'start' index is greater than the number of dimensions";
  }
  if( end>n ){
    return "slice 'end' index is greater than the number of dimensions";
  }
  if( start>end ) return "slice 'start' index is greater than 'end' index";
  if( start==end ){
    return "slice 'start' index is equal to the 'end' index, vectors must "
           "have non-zero length";
  }
  if( v->element==VECDB_BIT && start%8 ){
    return "start index must be divisible by 8.";
  }
  if( v->element==VECDB_BIT && end%8 ){
    return "end index must be divisible by 8.";
  }
  return NULL;
}

static void fn_slice(sqlite3_context *ctx, int n, sqlite3_value **a){
  struct sql_vec v;
  sqlite3_int64 start = sqlite3_value_int64(a[1]);
  sqlite3_int64 end = sqlite3_value_int64(a[2]);
  const char *problem;
  size_t off, sz;
  void *out;

  (void)n;
  if( arg_vector(ctx, a[0], 0, &v)!=SQLITE_OK ) return;
  problem = slice_problem(&v, start, end);
  if( problem ){
    sqlite3_result_error(ctx, problem, -1);
    vdb_vec_clear(&v);
    return;
  }
  off = start ? vecdb_vector_bytes(v.element, (size_t)start) : 0;
  sz = vecdb_vector_bytes(v.element, (size_t)(end - start));
  out = sqlite3_malloc64(sz);
  if( out ){
    memcpy(out, (const char*)v.p + off, sz);
    result_vector(ctx, v.element, out, sz);
  }else{
    sqlite3_result_error_nomem(ctx);
  }
  vdb_vec_clear(&v);
}

static void fn_normalize(sqlite3_context *ctx, int n, sqlite3_value **a){
  struct sql_vec v;
  double sum = 0;
  float *out;
  size_t i;

  (void)n;
  if( arg_vector(ctx, a[0], 0, &v)!=SQLITE_OK ) return;
  if( v.element!=VECDB_F32 ){
    sqlite3_result_error(ctx,
        "only float32 vectors are supported when normalizing", -1);
  }else if( (out = sqlite3_malloc64(v.sz))==NULL ){
    sqlite3_result_error_nomem(ctx);
  }else{
    for(i=0; i<v.n_dim; i++) sum += vdb_vec_at(&v, i)*vdb_vec_at(&v, i);
    sum = sqrt(sum);
    for(i=0; i<v.n_dim; i++){
      out[i] = sum>0 ? (float)(vdb_vec_at(&v, i)/sum) : 0.0f;
    }
    result_vector(ctx, VECDB_F32, out, v.sz);
  }
  vdb_vec_clear(&v);
}

/* ---- Quantizing --------------------------------------------------------- */

static void fn_quantize_binary(sqlite3_context *ctx, int n, sqlite3_value **a){
  struct sql_vec v;
  unsigned char *out;
  size_t i;

  (void)n;
  if( arg_vector(ctx, a[0], 0, &v)!=SQLITE_OK ) return;
  if( v.element==VECDB_BIT ){
    sqlite3_result_error(ctx, "Can only binary quantize float or int8 vectors",
                         -1);
  }else if( v.n_dim%8 ){
    sqlite3_result_error(ctx, "Binary quantization requires vectors with a "
                         "length divisible by 8", -1);
  }else if( (out = sqlite3_malloc64(v.n_dim/8))==NULL ){
    sqlite3_result_error_nomem(ctx);
  }else{
    memset(out, 0, v.n_dim/8);
    for(i=0; i<v.n_dim; i++){
      if( vdb_vec_at(&v, i)>0 ) out[i/8] |= (unsigned char)(1u << (i%8));
    }
    result_vector(ctx, VECDB_BIT, out, v.n_dim/8);
  }
  vdb_vec_clear(&v);
}

static void fn_quantize_int8(sqlite3_context *ctx, int n, sqlite3_value **a){
  const float step = (float)(2.0/255);   /* as sqlite-vec rounds it */
  struct sql_vec v;
  signed char *out;
  size_t i;

  (void)n;
  if( sqlite3_value_type(a[1])!=SQLITE_TEXT
   || sqlite3_stricmp((const char*)sqlite3_value_text(a[1]), "unit")!=0 ){
    sqlite3_result_error(ctx,
        "2nd argument to vec_quantize_int8() must be 'unit'.", -1);
    return;
  }
  if( arg_vector(ctx, a[0], VECDB_F32, &v)!=SQLITE_OK ) return;
  out = sqlite3_malloc64(v.n_dim);
  if( out ){
    for(i=0; i<v.n_dim; i++){
      double q = (vdb_vec_at(&v, i) + 1.0)/step - 128;
      out[i] = (signed char)(q<-128 ? -128 : q>127 ? 127 : q);
    }
    result_vector(ctx, VECDB_I8, out, v.n_dim);
  }else{
    sqlite3_result_error_nomem(ctx);
  }
  vdb_vec_clear(&v);
}

/* ---- Distances ---------------------------------------------------------- */

static void distance(sqlite3_context *ctx, sqlite3_value **a, int metric,
                     const char *name){
  struct sql_vec x, y;
  double d = 0;
  char *err = NULL;
  int is_bit_metric = metric==VECDB_HAMMING || metric==VECDB_JACCARD;

  if( arg_pair(ctx, a, &x, &y)!=SQLITE_OK ) return;
  if( is_bit_metric && x.element!=VECDB_BIT ){
    err = sqlite3_mprintf("Cannot calculate %s distance between two %s "
                          "vectors.", name, vdb_vec_element_name(x.element));
    result_failure(ctx, err ? SQLITE_ERROR : SQLITE_NOMEM, err);
  }else if( !is_bit_metric && x.element==VECDB_BIT ){
    err = sqlite3_mprintf("Cannot calculate %s distance between two "
                          "bitvectors.", name);
    result_failure(ctx, err ? SQLITE_ERROR : SQLITE_NOMEM, err);
  }else if( vecdb_distance(metric, x.element, x.n_dim, x.p, y.p, &d)
            !=VECDB_OK ){
    sqlite3_result_error(ctx, "cannot compute this distance", -1);
  }else{
    sqlite3_result_double(ctx, d);       /* a NaN becomes NULL */
  }
  vdb_vec_clear(&x);
  vdb_vec_clear(&y);
}

static void fn_distance_l2(sqlite3_context *ctx, int n, sqlite3_value **a){
  (void)n;
  distance(ctx, a, VECDB_L2, "L2");
}
static void fn_distance_l1(sqlite3_context *ctx, int n, sqlite3_value **a){
  (void)n;
  distance(ctx, a, VECDB_L1, "L1");
}
static void fn_distance_cosine(sqlite3_context *ctx, int n, sqlite3_value **a){
  (void)n;
  distance(ctx, a, VECDB_COSINE, "cosine");
}
static void fn_distance_ip(sqlite3_context *ctx, int n, sqlite3_value **a){
  (void)n;
  distance(ctx, a, VECDB_IP, "inner product");
}
static void fn_distance_hamming(sqlite3_context *ctx, int n,
                                sqlite3_value **a){
  (void)n;
  distance(ctx, a, VECDB_HAMMING, "hamming");
}
static void fn_distance_jaccard(sqlite3_context *ctx, int n,
                                sqlite3_value **a){
  (void)n;
  distance(ctx, a, VECDB_JACCARD, "jaccard");
}

/* ---- Version ------------------------------------------------------------ */

/* The version of sqlite-vec whose functions these follow. */
#define VEC_VERSION "v0.1.10-vecdb-" VECDB_VERSION

static void fn_version(sqlite3_context *ctx, int n, sqlite3_value **a){
  (void)n;
  (void)a;
  sqlite3_result_text(ctx, VEC_VERSION, -1, SQLITE_STATIC);
}

/* A build has no date and no commit: the same sources give the same bytes. */
static void fn_debug(sqlite3_context *ctx, int n, sqlite3_value **a){
  sqlite3_str *s = sqlite3_str_new(sqlite3_context_db_handle(ctx));
  const char *option;
  char *z;
  int i;

  (void)n;
  (void)a;
  sqlite3_str_appendall(s, "Version: " VEC_VERSION
                        "\nDate: none\nCommit: none\nBuild flags:");
  for(i=0; (option = vecdb_compile_option(i))!=NULL; i++){
    sqlite3_str_appendf(s, " %s", option);
  }
  z = sqlite3_str_finish(s);
  if( z ){
    sqlite3_result_text(ctx, z, -1, sqlite3_free);
  }else{
    sqlite3_result_error_nomem(ctx);
  }
}

int vdb_vec_register(struct sql_state *st){
  enum { PURE = SQLITE_UTF8 | SQLITE_INNOCUOUS | SQLITE_DETERMINISTIC,
         READS = PURE | SQLITE_SUBTYPE, MAKES = READS | SQLITE_RESULT_SUBTYPE };
  static const struct {
    const char *name;
    int n_arg, flags;
    void (*fn)(sqlite3_context*, int, sqlite3_value**);
  } functions[] = {
    { "vec_version",          0, PURE,  fn_version },
    { "vec_debug",            0, PURE,  fn_debug },
    { "vec_f32",              1, MAKES, fn_f32 },
    { "vec_f16",              1, MAKES, fn_f16 },
    { "vec_bf16",             1, MAKES, fn_bf16 },
    { "vec_int8",             1, MAKES, fn_int8 },
    { "vec_uint8",            1, MAKES, fn_uint8 },
    { "vec_bit",              1, MAKES, fn_bit },
    { "vec_length",           1, READS, fn_length },
    { "vec_type",             1, READS, fn_type },
    { "vec_to_json",          1, MAKES, fn_to_json },
    { "vec_to_json",          2, MAKES, fn_to_json },
    { "vec_add",              2, MAKES, fn_add },
    { "vec_sub",              2, MAKES, fn_sub },
    { "vec_slice",            3, MAKES, fn_slice },
    { "vec_normalize",        1, MAKES, fn_normalize },
    { "vec_quantize_binary",  1, MAKES, fn_quantize_binary },
    { "vec_quantize_int8",    2, MAKES, fn_quantize_int8 },
    { "vec_distance_l2",      2, READS, fn_distance_l2 },
    { "vec_distance_l1",      2, READS, fn_distance_l1 },
    { "vec_distance_cosine",  2, READS, fn_distance_cosine },
    { "vec_distance_ip",      2, READS, fn_distance_ip },
    { "vec_distance_hamming", 2, READS, fn_distance_hamming },
    { "vec_distance_jaccard", 2, READS, fn_distance_jaccard },
  };
  size_t i;
  int rc = SQLITE_OK;

  for(i=0; i<sizeof(functions)/sizeof(functions[0]) && rc==SQLITE_OK; i++){
    rc = vdb_register_function(st, functions[i].name, functions[i].n_arg,
                               functions[i].flags, functions[i].fn);
  }
  return rc;
}
