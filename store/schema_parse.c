/* schema_parse.c -- the argument list of CREATE VIRTUAL TABLE as a schema.
**
**   arg       := vector | partition | primary | aux | meta | option
**   vector    := ident vtype '[' dims ']' [NOT NULL] { vopt }
**   partition := ident (text|int|integer) PARTITION KEY
**   primary   := ident (text|int|integer) [NOT NULL] PRIMARY KEY
**   aux       := + ident (text|int|integer|float|double|real|blob)
**   meta      := ident (bool|..|int|..|float|..|text) [NOT NULL]
**   option    := word = value                       (schema_opts.c)
**
** An argument whose first plain word is followed by `=` is an option; a type
** followed by `[` is a vector's. Columns are collected in the order written;
** the key then moves to the front, or an implied integer `rowid` is put
** there.
*/
#include "util/common.h"
#include "simd/simd.h"
#include "store/schema_int.h"

/* A delta record holds a whole row but its long texts and aux columns, and
** is one element of a paged array (PARRAY_WIDTH_MAX is 8 MiB). */
#define SCHEMA_ROW_MAX  ((uint64_t)8<<20)

struct word_value { const char *word; int value; };

static const struct word_value vector_types[] = {
  {"float", VECDB_F32}, {"float32", VECDB_F32}, {"f32", VECDB_F32},
  {"float16", VECDB_F16}, {"f16", VECDB_F16},
  {"bfloat16", VECDB_BF16}, {"bf16", VECDB_BF16},
  {"int8", VECDB_I8}, {"i8", VECDB_I8},
  {"uint8", VECDB_U8}, {"u8", VECDB_U8}, {"bit", VECDB_BIT}, {NULL, 0} };
static const struct word_value meta_types[] = {
  {"bool", VECDB_BOOLEAN}, {"boolean", VECDB_BOOLEAN},
  {"int", VECDB_INTEGER}, {"integer", VECDB_INTEGER},
  {"int64", VECDB_INTEGER}, {"integer64", VECDB_INTEGER},
  {"float", VECDB_REAL}, {"double", VECDB_REAL}, {"real", VECDB_REAL},
  {"float64", VECDB_REAL}, {"f64", VECDB_REAL}, {"text", VECDB_TEXT},
  {NULL, 0} };
static const struct word_value key_types[] = {      /* partition, primary */
  {"text", VECDB_TEXT}, {"int", VECDB_INTEGER}, {"integer", VECDB_INTEGER},
  {NULL, 0} };
static const struct word_value aux_types[] = {
  {"text", VECDB_TEXT}, {"int", VECDB_INTEGER}, {"integer", VECDB_INTEGER},
  {"float", VECDB_REAL}, {"double", VECDB_REAL}, {"real", VECDB_REAL},
  {"blob", VECDB_BLOB}, {NULL, 0} };

static const struct word_value *find_word(const struct word_value *t,
                                          const char *word){
  for(; t->word!=NULL; t++){
    if( vdb_stricmp(t->word, word)==0 ) return t;
  }
  return NULL;
}

static int unknown_type(struct schema_lexer *x, const char *what,
                        const char *type, const struct word_value *t){
  const char *names[16];
  size_t n = 0;

  for(; t->word!=NULL && n<VDB_ARRAY_LEN(names)-1; t++) names[n++] = t->word;
  names[n] = NULL;
  return vdb_schema_unknown(x->err, what, type, names);
}

static void column_clear(struct schema_column *col){
  vdb_free(col->name);
  vdb_free(col->decl);
  memset(col, 0, sizeof(*col));
}

void vdb_schema_destroy(struct schema *s){
  if( s==NULL ) return;
  for(int i=0; i<s->n_col; i++) column_clear(&s->col[i]);
  vdb_free(s->col);
  vdb_free(s->file);
  vdb_free(s->collection);
  vdb_free(s);
}

/* ---- One column ---------------------------------------------------------- */

/* A name, plain or quoted, then on to the type. */
static int read_name(struct schema_lexer *x, struct schema_column *col){
  if( x->tok!=TOK_WORD && x->tok!=TOK_QUOTED ){
    return vdb_schema_expected(x, "the name of a column or option");
  }
  if( x->val.n==0 ) return vdb_schema_expected(x, "a name that is not empty");
  if( x->val.n>SCHEMA_NAME_MAX ){
    return vdb_error(x->err, VECDB_TOOBIG,
        "column \"%.40s..\": its name has %zu bytes, at most %d are allowed",
        x->val.z, x->val.n, SCHEMA_NAME_MAX);
  }
  col->name = vdb_strndup(x->val.z, x->val.n);
  if( col->name==NULL ) return VECDB_NOMEM;
  return vdb_schema_next(x, false);
}

/* The declared type as written, but in lower case. */
static int set_decl(struct schema_column *col, const char *word,
                    uint32_t dims){
  struct vdb_str s = VDB_STR_INIT;

  vdb_str_addz(&s, word);
  if( dims>0 ) vdb_str_addf(&s, "[%u]", dims);
  col->decl = vdb_str_take(&s);
  return col->decl==NULL ? VECDB_NOMEM : VECDB_OK;
}

static int check_metric(struct schema_lexer *x, struct schema_column *col){
  bool is_bit = col->element==VECDB_BIT;

  if( !col->metric_given ) col->metric = is_bit ? VECDB_HAMMING : VECDB_L2;
  if( vdb_metric_fits(col->metric, col->element) ) return VECDB_OK;
  return vdb_error(x->err, VECDB_MISMATCH,
      "metric \"%s\" needs %s, not %s", vdb_schema_metric_word(col->metric),
      is_bit ? "a numeric element type" : "element type bit", col->decl);
}

/* From the `[` after the type `t` on. */
static int read_vector(struct schema_lexer *x, const struct word_value *t,
                       struct schema_column *col){
  int64_t dims = 0;
  int rc;

  col->role = VECDB_ROLE_VECTOR;
  col->type = VECDB_VECTOR;
  col->element = t->value;
  col->index.kind = INDEX_GRAPH;
  TRY( vdb_schema_next(x, false) );
  TRY( vdb_schema_int(x, "dimensions", 1, SCHEMA_DIMS_MAX, &dims) );
  col->dims = (uint32_t)dims;
  if( col->element==VECDB_BIT && dims%8!=0 ){
    return vdb_error(x->err, VECDB_RANGE,
        "dimensions is %u, expected a multiple of 8 for bit vectors",
        col->dims);
  }
  col->sz_vec = (uint32_t)vdb_vector_bytes(col->element, col->dims);
  TRY( vdb_schema_punct(x, ']', "\"]\"") );
  TRY( set_decl(col, t->word, col->dims) );
  TRY( vdb_schema_vector_options(x, col) );
  TRY( check_metric(x, col) );
done:
  return rc;
}

/* The words after a scalar's type: NOT NULL, PRIMARY KEY, PARTITION KEY. */
static int read_constraints(struct schema_lexer *x,
                            struct schema_column *col){
  int rc = VECDB_OK;

  col->role = VECDB_ROLE_META;
  if( vdb_schema_is_word(x, "not") ){
    TRY( vdb_schema_next(x, false) );
    if( !vdb_schema_is_word(x, "null") ) return vdb_schema_expected(x, "NULL");
    col->not_null = true;
    TRY( vdb_schema_next(x, false) );
  }
  if( vdb_schema_is_word(x, "primary") ){
    col->role = VECDB_ROLE_KEY;
  }else if( vdb_schema_is_word(x, "partition") && !col->not_null ){
    col->role = VECDB_ROLE_PARTITION;
  }else{
    return VECDB_OK;
  }
  TRY( vdb_schema_next(x, false) );
  if( !vdb_schema_is_word(x, "key") ) return vdb_schema_expected(x, "KEY");
  TRY( vdb_schema_next(x, false) );
done:
  return rc;
}

/* A column that is no vector; the current token follows its type. */
static int read_scalar(struct schema_lexer *x, const char *type, bool is_aux,
                       struct schema_column *col){
  const struct word_value *table = is_aux ? aux_types : meta_types;
  const struct word_value *t = find_word(table, type);
  int rc = VECDB_OK;

  if( t==NULL ){
    if( !is_aux && find_word(vector_types, type) ){
      return vdb_error(x->err, VECDB_SYNTAX,
          "type \"%s\" is one of vectors; write its dimensions, \"%s[768]\"",
          type, type);
    }
    return unknown_type(x, is_aux ? "type of an auxiliary column" : "type",
                        type, table);
  }
  col->type = t->value;
  TRY( set_decl(col, t->word, 0) );
  if( is_aux ){
    col->role = VECDB_ROLE_AUX;
    return VECDB_OK;
  }
  TRY( read_constraints(x, col) );
  if( col->role!=VECDB_ROLE_META && !find_word(key_types, type) ){
    return unknown_type(x, col->role==VECDB_ROLE_KEY ?
        "type of a primary key" : "type of a partition key", type, key_types);
  }
done:
  return rc;
}

/* The type and what follows it; the current token is the type. */
static int read_type(struct schema_lexer *x, bool is_aux,
                     struct schema_column *col){
  const struct word_value *t;
  char type[24];
  int rc = VECDB_OK;

  if( x->tok!=TOK_WORD ) return vdb_schema_expected(x, "a type");
  if( x->val.n>=sizeof(type) ){
    return unknown_type(x, "type", x->val.z, meta_types);
  }
  memcpy(type, x->val.z, x->val.n+1);
  TRY( vdb_schema_next(x, false) );
  if( is_aux || !vdb_schema_is_punct(x, '[') ){
    return read_scalar(x, type, is_aux, col);
  }
  t = find_word(vector_types, type);
  if( t==NULL ){
    return unknown_type(x, "element type", type, vector_types);
  }
  TRY( read_vector(x, t, col) );
done:
  return rc;
}

/* ---- The list ------------------------------------------------------------ */

/* Is the current word followed by `=`? Then it names an option. */
static bool is_option(const struct schema_lexer *x){
  const char *z = x->z;

  while( z<x->end && vdb_is_space(*z) ) z++;
  return x->tok==TOK_WORD && z<x->end && *z=='=';
}

static int add_column(struct schema *s, struct schema_column *col,
                      size_t *n_cap){
  size_t n_want = (size_t)s->n_col+1;
  int rc = vdb_grow(&s->col, n_cap, n_want, sizeof(*s->col));

  if( rc!=VECDB_OK ) return rc;
  s->col[s->n_col++] = *col;
  memset(col, 0, sizeof(*col));          /* the schema's now */
  return VECDB_OK;
}

static int read_column(struct schema_lexer *x, struct schema *s,
                       size_t *n_cap){
  struct schema_column col;
  bool is_aux = vdb_schema_is_punct(x, '+');
  int rc = VECDB_OK;

  memset(&col, 0, sizeof(col));
  if( is_aux ) TRY( vdb_schema_next(x, true) );
  TRY( read_name(x, &col) );
  rc = read_type(x, is_aux, &col);
  if( rc!=VECDB_OK && x->err!=NULL && x->err->rc==rc &&
      strncmp(x->err->msg, "schema: ", 8)!=0 ){       /* has a byte number */
    vdb_error_prefix(x->err, "column \"%s\"", col.name);
  }
  if( rc==VECDB_OK ) rc = add_column(s, &col, n_cap);
done:
  column_clear(&col);
  return rc;
}

static int read_list(struct schema_lexer *x, struct schema *s, size_t *n_cap){
  int rc = VECDB_OK;

  for(;;){
    if( is_option(x) ) rc = vdb_schema_table_option(x, s);
    else rc = read_column(x, s, n_cap);
    if( rc!=VECDB_OK || x->tok==TOK_END ) break;
    if( !vdb_schema_is_punct(x, ',') ){
      rc = vdb_schema_expected(x, "\",\" or the end of the text");
      break;
    }
    TRY( vdb_schema_next(x, true) );
  }
done:
  return rc;
}

/* ---- The whole ----------------------------------------------------------- */

/* Move the declared key to the front, or put the implied one there. */
static int place_key(struct schema *s, size_t *n_cap, struct vdb_err *err){
  struct schema_column key;
  int at = -1;

  for(int i=0; i<s->n_col; i++){
    if( s->col[i].role!=VECDB_ROLE_KEY ) continue;
    if( at>=0 ){
      return vdb_error(err, VECDB_SYNTAX,
          "\"%s\" and \"%s\" are both primary keys; only one column can be",
          s->col[at].name, s->col[i].name);
    }
    at = i;
  }
  s->has_key = at>=0;
  if( at<0 ){
    int rc;
    memset(&key, 0, sizeof(key));
    key.role = VECDB_ROLE_KEY;
    key.type = VECDB_INTEGER;
    key.name = vdb_strdup("rowid");
    key.decl = vdb_strdup("integer");
    rc = key.name && key.decl ? add_column(s, &key, n_cap) : VECDB_NOMEM;
    column_clear(&key);
    if( rc!=VECDB_OK ) return rc;
    at = s->n_col-1;
  }
  key = s->col[at];
  memmove(&s->col[1], &s->col[0], (size_t)at*sizeof(key));
  s->col[0] = key;
  return VECDB_OK;
}

static int check_names(const struct schema *s, struct vdb_err *err){
  for(int i=0; i<s->n_col; i++){
    const char *name = s->col[i].name;
    if( vdb_stricmp(name, "distance")==0 || vdb_stricmp(name, "k")==0 ){
      return vdb_error(err, VECDB_SYNTAX,
          "column \"%s\": the name is reserved; choose another", name);
    }
  }
  for(int i=0; i<s->n_col; i++){
    for(int j=0; j<i; j++){
      if( vdb_stricmp(s->col[i].name, s->col[j].name)==0 ){
        return vdb_error(err, VECDB_EXISTS, "column \"%s\" is named twice%s",
            s->col[i].name, j==0 && !s->has_key ? "; \"rowid\" is the key "
            "when no primary key is declared" : "");
      }
    }
  }
  return VECDB_OK;
}

static int check_one_limit(const char *what, int n, int n_max,
                           struct vdb_err *err){
  if( n<=n_max ) return VECDB_OK;
  return vdb_error(err, VECDB_TOOBIG, "%d %s, at most %d are allowed", n,
                   what, n_max);
}

/* Count the roles; enforce the limits of sql.md 1. */
static int check_limits(struct schema *s, struct vdb_err *err){
  uint64_t sz_row = 64;
  int rc;

  s->i_first_vector = -1;
  for(int i=0; i<s->n_col; i++){
    int role = s->col[i].role;
    if( role==VECDB_ROLE_VECTOR && s->n_vector==0 ) s->i_first_vector = i;
    s->n_vector += role==VECDB_ROLE_VECTOR;
    s->n_partition += role==VECDB_ROLE_PARTITION;
    s->n_meta += role==VECDB_ROLE_META;
    s->n_aux += role==VECDB_ROLE_AUX;
    sz_row += role==VECDB_ROLE_VECTOR ? s->col[i].sz_vec : 17;
  }
  if( s->n_vector==0 ){
    return vdb_error(err, VECDB_SYNTAX, "no vector column; declare at least "
                     "one, \"embedding float[768]\"");
  }
  TRY( check_one_limit("vector columns", s->n_vector, SCHEMA_VECTOR_MAX, err) );
  TRY( check_one_limit("partition columns", s->n_partition,
                       SCHEMA_PARTITION_MAX, err) );
  TRY( check_one_limit("metadata columns", s->n_meta, SCHEMA_META_MAX, err) );
  TRY( check_one_limit("auxiliary columns", s->n_aux, SCHEMA_AUX_MAX, err) );
  if( sz_row>SCHEMA_ROW_MAX ){
    return vdb_error(err, VECDB_TOOBIG,
        "a row takes %llu bytes, at most %llu are allowed; use fewer vector "
        "columns", (unsigned long long)sz_row,
        (unsigned long long)SCHEMA_ROW_MAX);
  }
done:
  return rc;
}

int vdb_schema_parse(const char *text, struct vdb_err *err,
                     struct schema **out){
  struct schema_lexer x;
  struct schema *s = NULL;
  size_t n_cap = 0;
  int rc;

  *out = NULL;
  memset(&x, 0, sizeof(x));
  TRY( vdb_schema_lex_init(&x, text, err) );
  s = vdb_calloc(1, sizeof(*s));
  if( s==NULL ) TRY( VECDB_NOMEM );
  TRY( read_list(&x, s, &n_cap) );
  TRY( place_key(s, &n_cap, err) );
  TRY( check_names(s, err) );
  TRY( check_limits(s, err) );
  *out = s;
  s = NULL;
done:
  vdb_schema_destroy(s);
  vdb_schema_lex_clear(&x);
  return rc;
}

int vdb_schema_find(const struct schema *s, const char *name){
  for(int i=0; i<s->n_col; i++){
    if( vdb_stricmp(s->col[i].name, name)==0 ) return i;
  }
  return -1;
}
