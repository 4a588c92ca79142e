/* vtab_term.c -- WHERE terms become filter text, parameters and keys.
**
** A comparison goes to the engine as `"col" op ?n`; the engine compares by
** SQLite's rules, affinity and collation included, so nothing is converted
** here. Equality with the key, and lists of keys, go as a set of keys, which
** the engine looks up instead of testing every row.
*/
#include "sql/vtab_int.h"

#include <stdlib.h>

#define LIST_PARAM_MAX 20000           /* longer lists are written as text */

void vdb_bound_clear(struct sql_bound *b){
  size_t k;
  int i;
  sqlite3_free(b->text ? sqlite3_str_finish(b->text) : NULL);
  for(i=0; i<b->n; i++) sqlite3_value_free(b->v[i]);
  sqlite3_free(b->v);
  for(k=0; b->text_keys && k<b->n_key; k++) sqlite3_free(b->text_keys[k]);
  sqlite3_free(b->text_keys);
  sqlite3_free(b->keys);
  memset(b, 0, sizeof(*b));
}

/* ---- Text --------------------------------------------------------------- */

/* Begin the next conjunct. */
static int bound_and(struct sql_bound *b){
  if( b->text==NULL ){
    b->text = sqlite3_str_new(NULL);
  }else{
    sqlite3_str_appendall(b->text, " AND ");
  }
  return b->text ? SQLITE_OK : SQLITE_NOMEM;
}

/* Append `?n` for a copy of v. */
static int bound_param(struct sql_bound *b, sqlite3_value *v){
  if( b->n==b->n_max ){
    int n = b->n_max ? 2*b->n_max : 8;
    sqlite3_value **p = sqlite3_realloc64(b->v, sizeof(*p)*(size_t)n);
    if( p==NULL ) return SQLITE_NOMEM;
    b->v = p;
    b->n_max = n;
  }
  b->v[b->n] = sqlite3_value_dup(v);
  if( b->v[b->n]==NULL ) return SQLITE_NOMEM;
  b->n++;
  sqlite3_str_appendf(b->text, "?%d", b->n);
  return SQLITE_OK;
}

/* Append one member of a list. */
static int bound_member(struct sql_bound *b, sqlite3_value *v){
  const char *z;
  if( b->n<LIST_PARAM_MAX ) return bound_param(b, v);
  switch( sqlite3_value_type(v) ){
    case SQLITE_INTEGER:
      sqlite3_str_appendf(b->text, "%lld", sqlite3_value_int64(v));
      return SQLITE_OK;
    case SQLITE_FLOAT:
      sqlite3_str_appendf(b->text, "%!.17g", sqlite3_value_double(v));
      return SQLITE_OK;
    case SQLITE_TEXT:
      z = (const char*)sqlite3_value_text(v);
      if( z==NULL ) return SQLITE_NOMEM;
      if( strlen(z)!=(size_t)sqlite3_value_bytes(v) ) return SQLITE_TOOBIG;
      sqlite3_str_appendf(b->text, "%Q", z);
      return SQLITE_OK;
    case SQLITE_NULL:
      sqlite3_str_appendall(b->text, "NULL");
      return SQLITE_OK;
    default:
      return SQLITE_TOOBIG;
  }
}

static void bound_column(struct sql_table *t, const struct plan_term *term,
                         struct sql_bound *b){
  sqlite3_str_appendf(b->text, "\"%w\"", t->cols[term->col].name);
  if( term->coll!=COLL_BINARY ){
    sqlite3_str_appendf(b->text, " COLLATE %s",
                        vdb_plan_collation_name(term->coll));
  }
}

/* `col IN (..)` over the values SQLite collected; an empty list is false. */
static int add_in(struct sql_table *t, const struct plan_term *term,
                  sqlite3_value *list, struct sql_bound *b, int *is_empty){
  sqlite3_value *v = NULL;
  int rc, n = 0;

  for(rc=sqlite3_vtab_in_first(list, &v); rc==SQLITE_OK && v;
      rc=sqlite3_vtab_in_next(list, &v)){
    if( n++==0 ){
      SQL_TRY( bound_and(b) );
      bound_column(t, term, b);
      sqlite3_str_appendall(b->text, " IN (");
    }else{
      sqlite3_str_appendchar(b->text, 1, ',');
    }
    SQL_TRY( bound_member(b, v) );
  }
  if( rc==SQLITE_DONE ) rc = SQLITE_OK;
  if( rc==SQLITE_OK && n>0 ) sqlite3_str_appendchar(b->text, 1, ')');
  if( n==0 ) *is_empty = 1;
done:
  return rc;
}

/* vecdb_not_in(col, json): `col NOT IN (..)`, with SQL's NULL rules. */
static int add_not_in(struct sql_table *t, const struct plan_term *term,
                      sqlite3_value *json, struct sql_bound *b){
  sqlite3_stmt *s = NULL;
  int rc, n = 0;

  SQL_TRY( sqlite3_prepare_v2(t->st->db, "SELECT value FROM json_each(?1)", -1,
                              &s, NULL) );
  SQL_TRY( sqlite3_bind_value(s, 1, json) );
  while( (rc = sqlite3_step(s))==SQLITE_ROW ){
    if( n++==0 ){
      SQL_TRY( bound_and(b) );
      bound_column(t, term, b);
      sqlite3_str_appendall(b->text, " NOT IN (");
    }else{
      sqlite3_str_appendchar(b->text, 1, ',');
    }
    SQL_TRY( bound_member(b, sqlite3_column_value(s, 0)) );
  }
  rc = rc==SQLITE_DONE ? SQLITE_OK : rc;
  if( rc==SQLITE_OK && n>0 ) sqlite3_str_appendchar(b->text, 1, ')');
done:
  if( rc!=SQLITE_OK && rc!=SQLITE_NOMEM ){
    vdb_table_set_error(t, rc, sqlite3_mprintf(
        "vecdb_not_in: the list must be a JSON array: %s",
        sqlite3_errmsg(t->st->db)));
  }
  sqlite3_finalize(s);
  return rc;
}

/* ---- Keys --------------------------------------------------------------- */

int vdb_key_int(sqlite3_value *v, int64_t *key){
  double r;
  switch( sqlite3_value_numeric_type(v) ){
    case SQLITE_INTEGER:
      *key = sqlite3_value_int64(v);
      return 1;
    case SQLITE_FLOAT:
      r = sqlite3_value_double(v);
      if( !(r>=-9223372036854775808.0 && r<9223372036854775808.0) ) return 0;
      *key = (int64_t)r;
      return (double)*key==r;
    default:
      return 0;
  }
}

/* The text key that v can be equal to, or NULL. Numbers become texts. */
static const char *key_text(sqlite3_value *v){
  int type = sqlite3_value_type(v);
  if( type==SQLITE_NULL || type==SQLITE_BLOB ) return NULL;
  return (const char*)sqlite3_value_text(v);
}

static int bound_key(struct sql_table *t, struct sql_bound *b,
                     sqlite3_value *v){
  if( b->n_key==b->n_key_max ){
    size_t n = b->n_key_max ? 2*b->n_key_max : 16;
    void *p = sqlite3_realloc64(t->has_text_key ? (void*)b->text_keys
                                                : (void*)b->keys,
                                n*sizeof(int64_t));
    if( p==NULL ) return SQLITE_NOMEM;
    if( t->has_text_key ) b->text_keys = p; else b->keys = p;
    b->n_key_max = n;
  }
  if( t->has_text_key ){
    const char *z = key_text(v);
    if( z==NULL ) return SQLITE_OK;
    b->text_keys[b->n_key] = vdb_sql_strdup(z);
    if( b->text_keys[b->n_key]==NULL ) return SQLITE_NOMEM;
    b->n_key++;
  }else if( vdb_key_int(v, &b->keys[b->n_key]) ){
    b->n_key++;
  }
  return SQLITE_OK;
}
_Static_assert(sizeof(char*)<=sizeof(int64_t), "keys share one growth");

static int int_compare(const void *a, const void *b){
  int64_t x = *(const int64_t*)a, y = *(const int64_t*)b;
  return x<y ? -1 : x>y;
}
static int text_compare(const void *a, const void *b){
  return strcmp(*(char *const*)a, *(char *const*)b);
}

/* Sort and drop what is there twice. */
static void bound_sort_keys(struct sql_table *t, struct sql_bound *b){
  size_t i, n = 0;
  if( b->n_key<2 ) return;
  if( t->has_text_key ){
    qsort(b->text_keys, b->n_key, sizeof(char*), text_compare);
    for(i=1; i<b->n_key; i++){
      if( strcmp(b->text_keys[n], b->text_keys[i])==0 ){
        sqlite3_free(b->text_keys[i]);
      }else{
        b->text_keys[++n] = b->text_keys[i];
      }
    }
  }else{
    qsort(b->keys, b->n_key, sizeof(int64_t), int_compare);
    for(i=1; i<b->n_key; i++){
      if( b->keys[i]!=b->keys[n] ) b->keys[++n] = b->keys[i];
    }
  }
  b->n_key = n + 1;
}

static int add_keys(struct sql_table *t, const struct plan_term *term,
                    sqlite3_value *value, struct sql_bound *b, int *is_empty){
  sqlite3_value *v = NULL;
  int rc = SQLITE_OK;

  b->has_keys = 1;
  if( term->op==TERM_EQ ){
    rc = bound_key(t, b, value);
  }else{
    for(rc=sqlite3_vtab_in_first(value, &v); rc==SQLITE_OK && v;
        rc=sqlite3_vtab_in_next(value, &v)){
      rc = bound_key(t, b, v);
      if( rc!=SQLITE_OK ) return rc;
    }
    if( rc==SQLITE_DONE ) rc = SQLITE_OK;
  }
  bound_sort_keys(t, b);
  if( b->n_key==0 ) *is_empty = 1;
  return rc;
}

/* ---- Terms -------------------------------------------------------------- */

int vdb_term_add(struct sql_table *t, const struct plan_term *term,
                 sqlite3_value *v, struct sql_bound *b, int *is_empty){
  int rc;

  if( term->section==SECT_PK && term->coll==COLL_BINARY && !b->has_keys
   && (term->op==TERM_EQ || term->op==TERM_IN) ){
    return add_keys(t, term, v, b, is_empty);
  }
  if( term->op==TERM_IN ) return add_in(t, term, v, b, is_empty);
  if( term->op==TERM_NOT_IN ) return add_not_in(t, term, v, b);
  rc = bound_and(b);
  if( rc!=SQLITE_OK ) return rc;
  bound_column(t, term, b);
  sqlite3_str_appendall(b->text, vdb_plan_op_name(term->op));
  return bound_param(b, v);
}

/* A `?` outside quotes would name one of our own parameters. */
static int has_parameter(const char *z){
  char quote = 0;
  for(; *z; z++){
    if( quote ){
      if( *z==quote ) quote = 0;
    }else if( *z=='\'' || *z=='"' || *z=='`' ){
      quote = *z;
    }else if( *z=='[' ){
      quote = ']';
    }else if( *z=='?' ){
      return 1;
    }
  }
  return 0;
}

/* The text must be an expression by itself: it is put between parentheses,
** and what closes them early would change the terms beside it. */
int vdb_term_add_expr(struct sql_table *t, const char *z, struct sql_bound *b){
  vecdb_stmt *probe = NULL;
  int rc;

  if( has_parameter(z) ){
    return vdb_table_set_error(t, SQLITE_ERROR, sqlite3_mprintf(
        "filter of table \"%s\" has a parameter; write the value instead",
        t->name));
  }
  rc = vecdb_prepare_scan(t->coll, z, &probe);
  if( rc!=VECDB_OK ) rc = vdb_table_error(t, rc);
  vecdb_finalize(probe);
  if( rc!=SQLITE_OK ) return rc;
  rc = bound_and(b);
  if( rc==SQLITE_OK ) sqlite3_str_appendf(b->text, "(%s)", z);
  return rc;
}

int vdb_bound_finish(struct sql_bound *b, char **text){
  *text = NULL;
  if( b->text ){
    int rc = sqlite3_str_errcode(b->text);
    *text = sqlite3_str_finish(b->text);
    b->text = NULL;
    if( rc!=SQLITE_OK ){
      sqlite3_free(*text);
      *text = NULL;
      return rc;
    }
  }
  return SQLITE_OK;
}

int vdb_bound_bind(struct sql_table *t, struct sql_bound *b, vecdb_stmt *s){
  int i, rc = VECDB_OK;
  for(i=0; i<b->n && rc==VECDB_OK; i++) rc = vdb_bind_value(s, i + 1, b->v[i]);
  if( rc==VECDB_OK && t->has_text_key ){
    rc = vecdb_search_set_text_keys(s, b->n_key, b->has_keys
             ? (const char *const*)b->text_keys : NULL);
  }else if( rc==VECDB_OK ){
    rc = vecdb_search_set_keys(s, b->n_key, b->has_keys ? b->keys : NULL);
  }
  return rc==VECDB_OK ? SQLITE_OK : vdb_table_error(t, rc);
}

/* ---- Binding ------------------------------------------------------------ */

int vdb_bind_value(vecdb_stmt *s, int i, sqlite3_value *v){
  switch( sqlite3_value_type(v) ){
    case SQLITE_INTEGER:
      return vecdb_bind_int64(s, i, sqlite3_value_int64(v));
    case SQLITE_FLOAT:
      return vecdb_bind_double(s, i, sqlite3_value_double(v));
    case SQLITE_TEXT: {
      const char *z = (const char*)sqlite3_value_text(v);
      if( z==NULL ) return VECDB_NOMEM;
      return vecdb_bind_text(s, i, z, (size_t)sqlite3_value_bytes(v),
                             VECDB_TRANSIENT);
    }
    case SQLITE_BLOB: {
      const void *p = sqlite3_value_blob(v);
      return vecdb_bind_blob(s, i, p ? p : "", (size_t)sqlite3_value_bytes(v),
                             VECDB_TRANSIENT);
    }
    default:
      return vecdb_bind_null(s, i);
  }
}

int vdb_key_bind(struct sql_table *t, vecdb_stmt *s, int i, sqlite3_value *v,
                 int *can_match){
  int64_t key = 0;
  int rc = VECDB_OK;

  *can_match = 0;
  if( t->has_text_key ){
    const char *z = key_text(v);
    if( z==NULL ) return SQLITE_OK;
    rc = vecdb_bind_text(s, i, z, (size_t)sqlite3_value_bytes(v),
                         VECDB_TRANSIENT);
  }else{
    if( !vdb_key_int(v, &key) ) return SQLITE_OK;
    rc = vecdb_bind_int64(s, i, key);
  }
  *can_match = 1;
  return rc==VECDB_OK ? SQLITE_OK : vdb_table_error(t, rc);
}

static int vector_dims_error(struct sql_table *t, int col, const char *what,
                             size_t found){
  const struct sql_column *c = &t->cols[col];
  const char *z = strcmp(what, "updated")==0 ? "new updated" : what;
  if( t->is_vec0 ){
    return vdb_table_set_error(t, SQLITE_ERROR, sqlite3_mprintf(
        "Dimension mismatch for %s vector for the \"%w\" column. Expected %d "
        "dimensions but received %lld.", z, c->name, (int)c->info.dims,
        (long long)found));
  }
  return vdb_table_set_error(t, SQLITE_ERROR, sqlite3_mprintf(
      "%s vector for \"%w\" has %lld dimensions, expected %d", what, c->name,
      (long long)found, (int)c->info.dims));
}

static int vector_type_error(struct sql_table *t, int col, const char *what,
                             int element){
  const struct sql_column *c = &t->cols[col];
  const char *expected = vdb_vec_element_name((int)c->info.element);
  const char *found = vdb_vec_element_name(element);
  if( t->is_vec0 ){
    return vdb_table_set_error(t, SQLITE_ERROR, sqlite3_mprintf(
        "%c%s vector for the \"%w\" column is expected to be of type %s, but a "
        "%s vector was provided.", what[0] - 'a' + 'A', what + 1, c->name,
        expected, found));
  }
  return vdb_table_set_error(t, SQLITE_ERROR, sqlite3_mprintf(
      "%s vector for \"%w\" is %s, expected %s", what, c->name, found,
      expected));
}

static int vector_value_error(struct sql_table *t, int col, const char *what,
                              int rc, char *msg){
  const struct sql_column *c = &t->cols[col];
  if( rc==SQLITE_NOMEM || msg==NULL ){
    sqlite3_free(msg);
    return SQLITE_NOMEM;
  }
  if( t->is_vec0 ){
    return vdb_table_set_error(t, rc, sqlite3_mprintf(
        strcmp(what, "query")==0
        ? "%c%s vector on the \"%w\" column is invalid: %z"
        : "%c%s vector for the \"%w\" column is invalid: %z",
        what[0] - 'a' + 'A', what + 1, c->name, msg));
  }
  return vdb_table_set_error(t, rc, sqlite3_mprintf(
      "%s vector for \"%w\": %z", what, c->name, msg));
}

/* What an untyped BLOB for this column holds: its length decides. */
static int blob_element(const struct sql_column *c, size_t sz){
  if( sz==c->info.vector_bytes ) return (int)c->info.element;
  if( sz==4*(size_t)c->info.dims ) return VECDB_F32;
  return 0;
}

/* JSON text: the engine parses it and says at which byte it is wrong. */
static int bind_vector_json(struct sql_table *t, vecdb_stmt *s, int i,
                            sqlite3_value *v){
  const char *z = (const char*)sqlite3_value_text(v);
  int rc;
  if( z==NULL ) return SQLITE_NOMEM;
  rc = vecdb_bind_vector_text(s, i, z, (size_t)sqlite3_value_bytes(v));
  return rc==VECDB_OK ? SQLITE_OK : vdb_table_error(t, rc);
}

/* float32 is rounded to the half types; nothing else is converted. */
static int element_fits(int element, int column_element){
  if( element==column_element ) return 1;
  return element==VECDB_F32
      && (column_element==VECDB_F16 || column_element==VECDB_BF16);
}

int vdb_bind_vector_value(struct sql_table *t, vecdb_stmt *s, int i, int col,
                          const char *what, sqlite3_value *v,
                          vecdb_free_fn lifetime){
  const struct sql_column *c = &t->cols[col];
  int element = 0, own = (int)c->info.element, rc;
  struct sql_vec vec;
  char *msg = NULL;

  memset(&vec, 0, sizeof(vec));
  if( sqlite3_value_type(v)==SQLITE_TEXT && !t->is_vec0 && own!=VECDB_BIT ){
    return bind_vector_json(t, s, i, v);
  }
  if( sqlite3_value_type(v)==SQLITE_BLOB ){
    element = vdb_vec_element_of_subtype((int)sqlite3_value_subtype(v));
    if( element==0 ){
      size_t sz = (size_t)sqlite3_value_bytes(v);
      element = blob_element(c, sz);
      if( element==0 && sz%4==0 && sz>0 && own!=VECDB_BIT ){
        return vector_dims_error(t, col, what,
                                 sz/vecdb_vector_bytes(own, 1));
      }
      if( element==0 ) element = own;
    }
  }else{
    element = own==VECDB_BIT ? VECDB_F32 : own;
  }
  rc = vdb_vec_read(v, element, &vec, &msg);
  if( rc!=SQLITE_OK ) return vector_value_error(t, col, what, rc, msg);
  if( !element_fits(element, own) ){
    rc = vector_type_error(t, col, what, element);
  }else if( vec.n_dim!=c->info.dims ){
    rc = vector_dims_error(t, col, what, vec.n_dim);
  }else{
    rc = vecdb_bind_vector(s, i, element, vec.p, vec.sz,
                           vec.owned ? VECDB_TRANSIENT : lifetime);
    rc = rc==VECDB_OK ? SQLITE_OK : vdb_table_error(t, rc);
  }
  vdb_vec_clear(&vec);
  return rc;
}
