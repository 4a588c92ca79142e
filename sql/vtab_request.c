/* vtab_request.c -- what a search is asked for, apart from the query: k, LIMIT,
** hints, the window of distances, and the JSON arguments of the call form.
**
** A value of a wrong type or size is an error, NULL leaves the default (k: no
** row). What the JSON arguments say joins what the columns say; k may be said
** by one of the two.
*/
#include "sql/vtab_int.h"

static int request_fail(struct sql_table *t, char *msg){
  return vdb_table_set_error(t, SQLITE_ERROR, msg);
}

/* k and its like: *out -1 for NULL, which means no row. */
static int read_count(struct sql_table *t, const char *name, sqlite3_value *v,
                      sqlite3_int64 *out){
  int64_t n = 0;
  *out = -1;
  if( sqlite3_value_type(v)==SQLITE_NULL ) return SQLITE_OK;
  if( !vdb_key_int(v, &n) ){
    return request_fail(t, sqlite3_mprintf("%s must be an integer, found %s",
                        name, vdb_value_type_name(v)));
  }
  if( n<0 ){
    return request_fail(t, sqlite3_mprintf(t->is_vec0
        ? "%s value in knn queries must be greater than or equal to 0."
        : "%s must not be negative, found %lld", name, (long long)n));
  }
  if( n>0x7fffffff ){
    return request_fail(t, sqlite3_mprintf("%s is %lld, the limit is %d", name,
                        (long long)n, 0x7fffffff));
  }
  *out = n;
  return SQLITE_OK;
}

static int read_fraction(struct sql_table *t, const char *name,
                         sqlite3_value *v, double low, double *out){
  int type = sqlite3_value_numeric_type(v);
  double r = sqlite3_value_double(v);
  if( (type!=SQLITE_INTEGER && type!=SQLITE_FLOAT) || !(r>=low && r<=1) ){
    return request_fail(t, sqlite3_mprintf("%s must be a number from %s to 1",
                        name, low>0 ? "above 0" : "0"));
  }
  *out = r;
  return SQLITE_OK;
}

static int read_switch(struct sql_table *t, const char *name,
                       sqlite3_value *v, int *out){
  int type = sqlite3_value_numeric_type(v);
  sqlite3_int64 i = sqlite3_value_int64(v);
  if( type!=SQLITE_INTEGER || (i!=0 && i!=1) ){
    return request_fail(t, sqlite3_mprintf("%s must be 0 or 1, found %s", name,
        type==SQLITE_INTEGER ? (const char*)sqlite3_value_text(v)
                             : vdb_value_type_name(v)));
  }
  *out = (int)i;
  return SQLITE_OK;
}

static int request_read_hint(struct sql_table *t, struct sql_request *q,
                             int hint, sqlite3_value *v){
  sqlite3_int64 n = 0;
  int rc;

  switch( hint ){
    case HINT_EF:
      rc = read_count(t, "ef", v, &n);
      if( rc==SQLITE_OK && n==0 ){
        rc = request_fail(t, sqlite3_mprintf("ef must be at least 1"));
      }
      q->ef = (uint32_t)n;
      return rc;
    case HINT_RECALL:
      return read_fraction(t, "recall", v, 1e-9, &q->recall);
    case HINT_EXACT:
      return read_switch(t, "exact", v, &q->is_exact);
    case HINT_MMR:
      return read_fraction(t, "mmr_lambda", v, 0, &q->mmr_lambda);
    default:
      return SQLITE_OK;
  }
}

/* Set one hint by name; NULL leaves the default. Columns and arguments may say
** it twice only if they agree. */
int vdb_request_hint(struct sql_table *t, struct sql_request *q, int hint,
                     sqlite3_value *v){
  static const char *const name[HINT_N] = {
    "ef", "recall", "exact", "mmr_lambda", "args"
  };
  struct sql_request was = *q;
  int rc;

  if( sqlite3_value_type(v)==SQLITE_NULL ) return SQLITE_OK;
  rc = request_read_hint(t, q, hint, v);
  if( rc==SQLITE_OK && (was.said & 1u<<hint)
   && (q->ef!=was.ef || q->recall!=was.recall || q->is_exact!=was.is_exact
       || q->mmr_lambda!=was.mmr_lambda) ){
    rc = request_fail(t, sqlite3_mprintf("%s of table \"%s\" is given twice",
                      name[hint], t->name));
  }
  q->said |= 1u<<hint;
  return rc;
}

/* Narrow the window of distances by one comparison. */
void vdb_request_distance(struct sql_request *q, int op, sqlite3_value *v){
  int type = sqlite3_value_numeric_type(v);
  int lower = op==TERM_GT || op==TERM_GE || op==TERM_EQ;
  int upper = op==TERM_LT || op==TERM_LE || op==TERM_EQ;
  double r = sqlite3_value_double(v);

  if( type==SQLITE_NULL ){
    q->is_empty = 1;
    return;
  }
  if( type!=SQLITE_INTEGER && type!=SQLITE_FLOAT ){
    if( lower ) q->is_empty = 1;       /* every number is below a text */
    return;
  }
  if( lower && (!(q->dist_flags & VECDB_SEARCH_HAS_MIN) || r>q->dist_min
                || (r==q->dist_min && op==TERM_GT)) ){
    q->dist_min = r;
    q->dist_flags |= VECDB_SEARCH_HAS_MIN;
    q->dist_flags &= ~VECDB_SEARCH_AFTER_STRICT;
    if( op==TERM_GT ) q->dist_flags |= VECDB_SEARCH_AFTER_STRICT;
  }
  if( upper && (!(q->dist_flags & VECDB_SEARCH_HAS_MAX) || r<q->dist_max
                || (r==q->dist_max && op==TERM_LT)) ){
    q->dist_max = r;
    q->dist_flags |= VECDB_SEARCH_HAS_MAX;
    q->dist_flags &= ~VECDB_SEARCH_WITHIN_STRICT;
    if( op==TERM_LT ) q->dist_flags |= VECDB_SEARCH_WITHIN_STRICT;
  }
}

/* `column` of the JSON arguments. */
static int request_column(struct sql_table *t, struct sql_request *q,
                          sqlite3_value *v){
  const char *z = (const char*)sqlite3_value_text(v);
  int i = z ? vecdb_column_find(t->coll, z) : -1;
  if( i<0 || i>=t->n_col || t->cols[i].info.role!=VECDB_ROLE_VECTOR ){
    return request_fail(t, sqlite3_mprintf("table \"%s\" has no vector column "
                        "\"%s\"", t->name, z ? z : ""));
  }
  q->column = i;
  return SQLITE_OK;
}

static int request_json_key(struct sql_table *t, struct sql_request *q,
                            struct sql_bound *b, const char *key,
                            sqlite3_value *v){
  sqlite3_int64 n = 0;
  int rc;
  if( key==NULL ) return SQLITE_NOMEM;
  if( strcmp(key, "k")==0 ){
    rc = read_count(t, "k", v, &n);
    if( rc!=SQLITE_OK ) return rc;
    if( q->k>=0 && q->k!=n ){
      return request_fail(t, sqlite3_mprintf("k of table \"%s\" is given twice",
                          t->name));
    }
    if( n<0 ) q->is_empty = 1;
    q->k = n;
    return SQLITE_OK;
  }
  if( strcmp(key, "ef")==0 ) return vdb_request_hint(t, q, HINT_EF, v);
  if( strcmp(key, "recall")==0 ) return vdb_request_hint(t, q, HINT_RECALL, v);
  if( strcmp(key, "exact")==0 ) return vdb_request_hint(t, q, HINT_EXACT, v);
  if( strcmp(key, "mmr_lambda")==0 ) return vdb_request_hint(t, q, HINT_MMR, v);
  if( strcmp(key, "column")==0 ) return request_column(t, q, v);
  if( strcmp(key, "distance")==0 ){
    vdb_request_distance(q, TERM_LE, v);
    return SQLITE_OK;
  }
  if( strcmp(key, "filter")==0 ){
    const char *z = (const char*)sqlite3_value_text(v);
    return z ? vdb_term_add_expr(t, z, b) : SQLITE_OK;
  }
  return request_fail(t, sqlite3_mprintf("unknown argument \"%s\" for table "
      "\"%s\"; known: k, ef, recall, exact, distance, filter, column, "
      "mmr_lambda", key, t->name));
}

/* The second argument of t(query, json). */
int vdb_request_json(struct sql_table *t, struct sql_request *q,
                     struct sql_bound *b, sqlite3_value *json){
  sqlite3_stmt *s = NULL;
  int rc;

  if( sqlite3_value_type(json)==SQLITE_NULL ) return SQLITE_OK;
  rc = sqlite3_prepare_v2(t->st->db, "SELECT key, value, json_type(?1)='object'"
                          " FROM json_each(?1)", -1, &s, NULL);
  if( rc==SQLITE_OK ) rc = sqlite3_bind_value(s, 1, json);
  while( rc==SQLITE_OK && (rc = sqlite3_step(s))==SQLITE_ROW ){
    if( !sqlite3_column_int(s, 2) ){
      rc = request_fail(t, sqlite3_mprintf("the second argument of table "
                        "\"%s\" must be a JSON object", t->name));
      sqlite3_finalize(s);
      return rc;
    }
    rc = request_json_key(t, q, b, (const char*)sqlite3_column_text(s, 0),
                          sqlite3_column_value(s, 1));
    if( rc!=SQLITE_OK ){
      sqlite3_finalize(s);
      return rc;
    }
  }
  if( rc!=SQLITE_DONE ){
    rc = request_fail(t, sqlite3_mprintf("the second argument of table \"%s\" "
        "must be a JSON object: %s", t->name, sqlite3_errmsg(t->st->db)));
    sqlite3_finalize(s);
    return rc;
  }
  return sqlite3_finalize(s);
}

/* k, LIMIT and OFFSET. */
int vdb_request_bound(struct sql_table *t, const struct plan *p,
                      sqlite3_value **argv, struct sql_request *q){
  int rc = SQLITE_OK;
  if( p->i_bound[0]>=0 ){
    rc = read_count(t, "k", argv[p->i_bound[0]], &q->k);
    if( rc==SQLITE_OK && t->is_vec0 && t->st->vec0_is_strict ){
      rc = vdb_vec0_strict_k(t, q->k);
    }
    if( q->k<0 ) q->is_empty = 1;
  }
  if( p->i_bound[1]>=0 ){              /* negative: no limit, as in SQLite */
    sqlite3_int64 limit = sqlite3_value_int64(argv[p->i_bound[1]]);
    sqlite3_int64 offset = 0;
    if( p->i_bound[2]>=0 ) offset = sqlite3_value_int64(argv[p->i_bound[2]]);
    if( offset<0 ) offset = 0;
    if( limit>=0 && offset<=0x7fffffff && limit<=0x7fffffff ){
      q->limit = limit + offset;
    }
  }
  return rc;
}
