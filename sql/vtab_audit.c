/* vtab_audit.c -- measuring the recall of searches. See vtab_audit.h.
**
** INTERVAL   Hits of one query are not independent, so the interval is Wilson's
** for as many trials as the queries are worth: n*k divided by the design effect
** k*var(recall of a query)/(p(1-p)), which lies between 1 (independent hits)
** and k (a query finds all or nothing). Where p is 0 or 1 nothing can be told
** about the effect, and each query counts as one trial.
*/
#include "sql/vtab_audit.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

enum { EF_FIRST = 10, EF_LAST = 4096 };

double vdb_audit_now(void){
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (double)ts.tv_sec + 1e-9*(double)ts.tv_nsec;
}

int vdb_audit_column(struct sql_table *t, const char *name, char **err){
  int i;
  for(i=0; i<t->n_col; i++){
    if( t->cols[i].info.role!=VECDB_ROLE_VECTOR ) continue;
    if( name==NULL || sqlite3_stricmp(name, t->cols[i].name)==0 ) return i;
  }
  vdb_sql_fail(err, SQLITE_ERROR, "table \"%s\" has no vector column \"%s\"",
               t->name, name ? name : "");
  return -1;
}

/* ---- Drawing rows ------------------------------------------------------- */

static uint64_t draw(uint64_t *state){
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30))*0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27))*0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static int audit_alloc(struct audit *a){
  size_t n = (size_t)a->n_max;
  a->vec = sqlite3_malloc64(n*a->sz);
  a->key = sqlite3_malloc64(n*sizeof(*a->key));
  a->limit = sqlite3_malloc64(n*sizeof(*a->limit));
  a->n_true = sqlite3_malloc64(n*sizeof(*a->n_true));
  a->text = sqlite3_malloc64(n*sizeof(*a->text));
  if( !a->vec || !a->key || !a->limit || !a->n_true || !a->text ){
    return SQLITE_NOMEM;
  }
  memset(a->text, 0, n*sizeof(*a->text));
  return SQLITE_OK;
}

void vdb_audit_end(struct audit *a){
  int i;
  for(i=0; a->text && i<a->n_max; i++) sqlite3_free(a->text[i]);
  for(i=0; a->filter && i<a->n_max; i++) sqlite3_free(a->filter[i]);
  sqlite3_free(a->text);
  sqlite3_free(a->filter);
  sqlite3_free(a->bucket);
  sqlite3_free(a->vec);
  sqlite3_free(a->key);
  sqlite3_free(a->limit);
  sqlite3_free(a->n_true);
  memset(a, 0, sizeof(*a));
}

/* The current row of s becomes query i. A NULL vector leaves it as it was. */
static int query_take(struct audit *a, vecdb_stmt *s, int i){
  size_t n = 0;
  const void *v = vecdb_column_vector(s, a->column, &n);
  if( v==NULL || n!=a->sz ) return vecdb_column_errcode(s);
  memcpy(a->vec + (size_t)i*a->sz, v, n);
  a->key[i] = 0;
  if( a->t->has_text_key ){
    sqlite3_free(a->text[i]);
    a->text[i] = vdb_sql_strdup(vecdb_column_text(s, 0));
    if( a->text[i]==NULL ) return VECDB_NOMEM;
  }else{
    a->key[i] = vecdb_column_int64(s, 0);
  }
  if( i>=a->n ) a->n = i + 1;
  return VECDB_OK;
}

/* Reservoir sampling over one scan. */
static int rows_draw(struct audit *a, vecdb_stmt *s){
  uint64_t n_seen = 0, state = a->seed;
  int rc;
  while( (rc = vecdb_step(s))==VECDB_ROW ){
    uint64_t i = a->n<a->n_max ? (uint64_t)a->n : draw(&state) % (n_seen + 1);
    n_seen++;
    if( i<(uint64_t)a->n_max ){
      rc = query_take(a, s, (int)i);
      if( rc!=VECDB_OK ) return rc;
    }
    if( a->t->st->interrupted && *a->t->st->interrupted ){
      return VECDB_INTERRUPT;
    }
  }
  return rc==VECDB_DONE ? VECDB_OK : rc;
}

static int audit_init(struct audit *a, struct sql_table *t, int column,
                      uint32_t k, int n, uint64_t seed){
  memset(a, 0, sizeof(*a));
  a->t = t;
  a->column = column;
  a->k = k;
  a->n_max = n;
  a->seed = seed;
  a->only = BUCKET_ALL;
  a->sz = t->cols[column].info.vector_bytes;
  return audit_alloc(a);
}

int vdb_audit_begin_captured(struct audit *a, struct sql_table *t, int column,
                             uint32_t k, int n, char **err){
  int rc = audit_init(a, t, column, k, n, 0);
  if( rc!=SQLITE_OK ) return rc;
  a->filter = sqlite3_malloc64((size_t)n*sizeof(*a->filter));
  a->bucket = sqlite3_malloc64((size_t)n*sizeof(*a->bucket));
  if( a->filter==NULL || a->bucket==NULL ) return SQLITE_NOMEM;
  memset(a->filter, 0, (size_t)n*sizeof(*a->filter));
  memset(a->bucket, 0, (size_t)n*sizeof(*a->bucket));
  rc = vdb_capture_audit(t, a);
  return rc==VECDB_OK ? SQLITE_OK : vdb_conn_error(t->conn, rc, err);
}

int vdb_audit_begin(struct audit *a, struct sql_table *t, int column,
                    uint32_t k, int n, uint64_t seed, char **err){
  vecdb_stmt *s = NULL;
  int rc = audit_init(a, t, column, k, n, seed);

  if( rc!=SQLITE_OK ) return rc;
  rc = vecdb_prepare_scan(t->coll, NULL, &s);
  if( rc==VECDB_OK ) rc = rows_draw(a, s);
  vecdb_finalize(s);
  return rc==VECDB_OK ? SQLITE_OK : vdb_conn_error(t->conn, rc, err);
}

/* ---- Searching ---------------------------------------------------------- */

static int is_self(const struct audit *a, vecdb_stmt *s, int i){
  if( a->filter ) return 0;            /* a captured query is no row */
  if( a->t->has_text_key ){
    const char *z = vecdb_column_text(s, 0);
    return z && strcmp(z, a->text[i])==0;
  }
  return vecdb_column_int64(s, 0)==a->key[i];
}

/* Search for query i; distances of up to k others go to out (k of them),
** *n is how many. */
static int query_run(const struct audit *a, vecdb_stmt *s, int i,
                     double *out, int *n){
  int rc;
  *n = 0;
  vecdb_reset(s);
  rc = vecdb_bind_vector(s, VECDB_QUERY, (int)a->t->cols[a->column].info.element,
                         a->vec + (size_t)i*a->sz, a->sz, VECDB_STATIC);
  while( rc==VECDB_OK && (rc = vecdb_step(s))==VECDB_ROW ){
    if( *n<(int)a->k && !is_self(a, s, i) ) out[(*n)++] = vecdb_row_distance(s);
    rc = VECDB_OK;
  }
  return rc==VECDB_DONE ? VECDB_OK : rc;
}

/* The search for query i. Drawn rows share one; captured queries have filters
** of their own. */
static int search_prepare(const struct audit *a, int i, vecdb_collection *coll,
                          const struct audit_effort *effort,
                          vecdb_stmt **out){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  if( *out && a->filter==NULL ) return VECDB_OK;
  vecdb_finalize(*out);
  *out = NULL;
  if( a->filter ) o.filter = a->filter[i];
  o.k = (uint64_t)a->k + 1;            /* the row itself comes, too */
  o.column = a->column;
  o.ef = effort->ef;
  o.recall = effort->recall;
  if( effort->is_exact ) o.flags |= VECDB_SEARCH_EXACT;
  return vecdb_prepare_search(coll, &o, out);
}

static int engine_error(vecdb *db, int rc, char **err){
  return vdb_sql_fail(err, vdb_sql_code(rc), "%s", vecdb_errmsg(db));
}

static int is_stopped(const struct audit *a){
  return a->t->st->interrupted && *a->t->st->interrupted;
}

/* By the share of rows that the filter let pass in the exact search. */
static int bucket_choose(struct audit *a, int i, vecdb *db,
                         vecdb_collection *coll){
  vecdb_collection_stats cs;
  vecdb_search_info info;
  int rc;

  if( a->filter[i]==NULL ) return VECDB_OK;
  memset(&cs, 0, sizeof(cs));
  memset(&info, 0, sizeof(info));
  cs.size = sizeof(cs);
  info.size = sizeof(info);
  rc = vecdb_last_search(db, &info);
  if( rc==VECDB_OK ) rc = vecdb_collection_stat(coll, &cs);
  a->bucket[i] = info.n_match*10>=cs.n_row ? BUCKET_TENTH
               : info.n_match*100>=cs.n_row ? BUCKET_HUNDREDTH : BUCKET_FEW;
  return rc;
}

int vdb_audit_truth(struct audit *a, vecdb *db, vecdb_collection *coll,
                    char **err){
  static const struct audit_effort exact = { 0, 0, 1 };
  double *d = sqlite3_malloc64(sizeof(double)*(a->k + 1));
  vecdb_stmt *s = NULL;
  int i, rc = d ? VECDB_OK : VECDB_NOMEM;

  for(i=0; i<a->n && rc==VECDB_OK; i++){
    rc = search_prepare(a, i, coll, &exact, &s);
    if( rc==VECDB_OK ) rc = query_run(a, s, i, d, &a->n_true[i]);
    if( rc==VECDB_OK && a->bucket ) rc = bucket_choose(a, i, db, coll);
    a->limit[i] = a->n_true[i] ? d[a->n_true[i] - 1] : 0;
    if( rc==VECDB_OK && is_stopped(a) ) rc = VECDB_INTERRUPT;
  }
  if( rc!=VECDB_OK ) rc = engine_error(db, rc, err);
  vecdb_finalize(s);
  sqlite3_free(d);
  return rc;
}

/* No more digits than there is to know. */
static double round_to(double x, double scale){
  return round(x*scale)/scale;
}

/* Wilson's interval of p over n trials, at 95 %. */
static void interval(double p, double n, double *lower, double *upper){
  const double z = 1.959964;
  double centre = (p + z*z/(2*n))/(1 + z*z/n);
  double half = z/(1 + z*z/n)*sqrt(p*(1 - p)/n + z*z/(4*n*n));
  *lower = centre - half<0 ? 0 : centre - half;
  *upper = centre + half>1 ? 1 : centre + half;
}

/* Mean and variance of the recall of single queries. */
struct tally { int n; double sum, sum2; };

static void tally_judge(const struct audit *a, const struct tally *t,
                        struct audit_result *out){
  double p = t->n ? t->sum/t->n : 1, effect = a->k;
  double var = t->n>1 ? (t->sum2 - t->n*p*p)/(t->n - 1) : 0;
  if( p>0 && p<1 ){
    effect = a->k*var/(p*(1 - p));
    if( effect<1 ) effect = 1;
    if( effect>a->k ) effect = a->k;
  }
  out->recall = round_to(p, 1e4);
  interval(p, t->n ? t->n*(double)a->k/effect : 1, &out->lower, &out->upper);
  out->lower = round_to(out->lower, 1e4);
  out->upper = round_to(out->upper, 1e4);
}

int vdb_audit_measure(struct audit *a, vecdb *db, vecdb_collection *coll,
                      const struct audit_effort *effort,
                      struct audit_result *out, char **err){
  double *d = sqlite3_malloc64(sizeof(double)*(a->k + 1)), t0;
  vecdb_search_info info;
  struct tally tally = { 0, 0, 0 };
  vecdb_stmt *s = NULL;
  int i, j, n, n_run = 0, rc = d ? VECDB_OK : VECDB_NOMEM;

  memset(out, 0, sizeof(*out));
  memset(&info, 0, sizeof(info));
  info.size = sizeof(info);
  t0 = vdb_audit_now();
  for(i=0; i<a->n && rc==VECDB_OK; i++){
    int n_hit = 0;
    if( a->only!=BUCKET_ALL && a->bucket[i]!=a->only ) continue;
    n_run++;
    rc = search_prepare(a, i, coll, effort, &s);
    if( rc==VECDB_OK ) rc = query_run(a, s, i, d, &n);
    if( rc!=VECDB_OK || a->n_true[i]==0 ) continue;
    for(j=0; j<n; j++) n_hit += d[j]<=a->limit[i];
    if( n_hit>a->n_true[i] ) n_hit = a->n_true[i];
    tally.n++;
    tally.sum += (double)n_hit/a->n_true[i];
    tally.sum2 += (double)n_hit/a->n_true[i]*n_hit/a->n_true[i];
    if( vecdb_last_search(db, &info)==VECDB_OK ){
      out->ef = info.ef;
      out->n_distance += info.n_distance;
    }
    if( is_stopped(a) ) rc = VECDB_INTERRUPT;
  }
  out->n = n_run;
  if( n_run ) out->ms = round_to(1000*(vdb_audit_now() - t0)/n_run, 1e5);
  if( tally.n ) out->n_distance /= (uint64_t)tally.n;
  tally_judge(a, &tally, out);
  if( rc!=VECDB_OK ) rc = engine_error(db, rc, err);
  vecdb_finalize(s);
  sqlite3_free(d);
  return rc;
}

/* The time that is least disturbed, and no longer cold. */
static int time_again(struct audit *a, vecdb *db, vecdb_collection *coll,
                      uint32_t ef, struct audit_result *out, char **err){
  struct audit_effort effort = { ef, 0, 0 };
  struct audit_result r;
  int i, rc = SQLITE_OK;
  for(i=0; i<3 && ef>0 && rc==SQLITE_OK; i++){
    rc = vdb_audit_measure(a, db, coll, &effort, &r, err);
    if( rc==SQLITE_OK && r.ms<out->ms ) out->ms = r.ms;
  }
  return rc;
}

/* Recall grows with ef, so bisection on a scale of thirds of octaves finds the
** first that reaches the target. */
int vdb_audit_find_ef(struct audit *a, vecdb *db, vecdb_collection *coll,
                      double target, uint32_t *ef, struct audit_result *out,
                      char **err){
  uint32_t grid[32];
  int n = 0, lo, hi, rc = SQLITE_OK;
  double x = a->k>EF_FIRST ? a->k : EF_FIRST;
  struct audit_result r;

  for(; x<=EF_LAST && n<32; x*=1.26) grid[n++] = (uint32_t)(x + 0.5);
  *ef = 0;
  for(lo=0, hi=n-1; lo<=hi && rc==SQLITE_OK; ){
    int mid = (lo + hi)/2;
    struct audit_effort effort = { grid[mid], 0, 0 };
    rc = vdb_audit_measure(a, db, coll, &effort, &r, err);
    if( rc==SQLITE_OK && r.recall>=target ){
      *ef = grid[mid];
      *out = r;
      hi = mid - 1;
    }else{
      lo = mid + 1;
      if( *ef==0 ) *out = r;
    }
  }
  return rc==SQLITE_OK ? time_again(a, db, coll, *ef, out, err) : rc;
}
