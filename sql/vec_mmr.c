/* vec_mmr.c -- vecdb_mmr(id, vector, distance, k, lambda [,metric]): re-rank
** the rows of a group for diversity; a JSON array of ids.
**
** The rule is that of mmr.c. It serves where the candidates do not come
** from one search: lists fused by vecdb_rrf, joins, several tables. `distance`
** is to the query, smaller is better, and should be of the metric that the
** vectors are compared with (l2 unless named; bit vectors: hamming). k and
** lambda are those of the last row. Ties are given to the row that came first.
*/
#include "sql/mmr.h"

struct mmr_group {                     /* SQLite zeroes it */
  struct mmr_pool pool;                /* text of an item: its id as JSON */
  sqlite3_int64 k;
  double lambda;
  int has_failed;                      /* an error was reported */
};

static void group_fail(sqlite3_context *ctx, struct mmr_group *g, char *msg){
  if( msg ) sqlite3_result_error(ctx, msg, -1);
  else sqlite3_result_error_nomem(ctx);
  sqlite3_free(msg);
  vdb_mmr_clear(&g->pool);
  g->has_failed = 1;
}

/* ---- The ids as JSON ---------------------------------------------------- */

static void json_add_text(sqlite3_str *s, const char *z){
  sqlite3_str_appendchar(s, 1, '"');
  for(; *z; z++){
    unsigned char c = (unsigned char)*z;
    if( c=='"' || c=='\\' ) sqlite3_str_appendchar(s, 1, '\\');
    if( c<0x20 ) sqlite3_str_appendf(s, "\\u%04x", c);
    else sqlite3_str_appendchar(s, 1, *z);
  }
  sqlite3_str_appendchar(s, 1, '"');
}

static char *json_of_value(sqlite3_value *v){
  sqlite3_str *s = sqlite3_str_new(NULL);
  switch( sqlite3_value_type(v) ){
    case SQLITE_INTEGER:
      sqlite3_str_appendf(s, "%lld", sqlite3_value_int64(v));
      break;
    case SQLITE_FLOAT:
      sqlite3_str_appendf(s, "%!.17g", sqlite3_value_double(v));
      break;
    case SQLITE_NULL:
      sqlite3_str_appendall(s, "null");
      break;
    default: {
      const char *z = (const char*)sqlite3_value_text(v);
      json_add_text(s, z ? z : "");
    }
  }
  return sqlite3_str_finish(s);
}

/* ---- Collecting --------------------------------------------------------- */

/* The metric by its name, fitting the elements; 0: there is none. */
static int metric_of(const char *name, int element){
  static const struct { const char *name; int metric, of_bits; } metrics[] = {
    { "l2", VECDB_L2, 0 }, { "cosine", VECDB_COSINE, 0 }, { "ip", VECDB_IP, 0 },
    { "l1", VECDB_L1, 0 }, { "hamming", VECDB_HAMMING, 1 },
    { "jaccard", VECDB_JACCARD, 1 }
  };
  size_t i;
  if( name==NULL ) name = element==VECDB_BIT ? "hamming" : "l2";
  for(i=0; i<sizeof(metrics)/sizeof(metrics[0]); i++){
    if( sqlite3_stricmp(metrics[i].name, name)==0
     && metrics[i].of_bits==(element==VECDB_BIT) ) return metrics[i].metric;
  }
  return 0;
}

/* The first row says what the others have to be; NULL: fine. */
static char *pool_check(struct mmr_pool *p, const struct sql_vec *v,
                         const char *metric){
  if( p->n==0 ){
    p->sz_vector = v->sz;
    p->n_dim = v->n_dim;
    p->element = v->element;
    p->metric = metric_of(metric, v->element);
    if( p->metric==0 ){
      return sqlite3_mprintf("vecdb_mmr: no metric \"%s\" for %s vectors",
                             metric, vdb_vec_element_name(v->element));
    }
  }
  if( v->element!=p->element || v->n_dim!=p->n_dim ){
    return sqlite3_mprintf("vecdb_mmr: a %s vector of %lld among %s vectors of "
        "%lld", vdb_vec_element_name(v->element), (long long)v->n_dim,
        vdb_vec_element_name(p->element), (long long)p->n_dim);
  }
  return NULL;
}

static void mmr_step(sqlite3_context *ctx, int n, sqlite3_value **a){
  struct mmr_group *g = sqlite3_aggregate_context(ctx, sizeof(*g));
  struct mmr_item *item = NULL;
  struct sql_vec v;
  char *err = NULL;

  if( g==NULL ){
    sqlite3_result_error_nomem(ctx);
    return;
  }
  if( g->has_failed || sqlite3_value_type(a[1])==SQLITE_NULL ) return;
  memset(&v, 0, sizeof(v));
  if( vdb_vec_read(a[1], 0, &v, &err)!=SQLITE_OK ){
    group_fail(ctx, g, err);
    return;
  }
  err = pool_check(&g->pool, &v,
                   n>5 ? (const char*)sqlite3_value_text(a[5]) : NULL);
  if( err==NULL ){
    item = vdb_mmr_add(&g->pool, sqlite3_value_double(a[2]), v.p);
  }
  if( item ) item->text = json_of_value(a[0]);
  if( item==NULL || item->text==NULL ) group_fail(ctx, g, err);
  vdb_vec_clear(&v);
  g->k = sqlite3_value_int64(a[3]);
  g->lambda = sqlite3_value_double(a[4]);
}

/* ---- The result --------------------------------------------------------- */

static void mmr_final(sqlite3_context *ctx){
  struct mmr_group *g = sqlite3_aggregate_context(ctx, 0);
  sqlite3_str *s;
  sqlite3_int64 i;
  char *z;

  if( g && g->has_failed ) return;
  if( g && g->pool.n && !(g->lambda>=0 && g->lambda<=1) ){
    group_fail(ctx, g, sqlite3_mprintf(
        "vecdb_mmr: lambda must be a number from 0 to 1"));
    return;
  }
  s = sqlite3_str_new(NULL);
  sqlite3_str_appendchar(s, 1, '[');
  for(i=0; g && i<g->k && i<(sqlite3_int64)g->pool.n; i++){
    sqlite3_str_appendf(s, "%s%s", i ? "," : "",
                        vdb_mmr_choose(&g->pool, g->lambda)->text);
  }
  sqlite3_str_appendchar(s, 1, ']');
  z = sqlite3_str_finish(s);
  if( z ){
    sqlite3_result_text(ctx, z, -1, sqlite3_free);
    sqlite3_result_subtype(ctx, SUBTYPE_JSON);
  }else{
    sqlite3_result_error_nomem(ctx);
  }
  if( g ) vdb_mmr_clear(&g->pool);
}

int vdb_vec_mmr_register(struct sql_state *st){
  enum { PURE = SQLITE_UTF8 | SQLITE_INNOCUOUS | SQLITE_DETERMINISTIC
              | SQLITE_SUBTYPE | SQLITE_RESULT_SUBTYPE };
  int n, rc = SQLITE_OK;
  for(n=5; n<=6 && rc==SQLITE_OK; n++){
    rc = sqlite3_create_function_v2(st->db, "vecdb_mmr", n, PURE, st, NULL,
                                    mmr_step, mmr_final, NULL);
  }
  return rc;
}
