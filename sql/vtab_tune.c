/* vtab_tune.c -- what reaches a target recall with the least work.
**
**   vecdb_tune(t [,target [,column]])    proposals, measured, best first
**   INSERT INTO t(t) VALUES('tune')      takes the best one
**   INSERT INTO t(t) VALUES('tune=0.9')  the same for that target
**
** Two things are tuned. The effort: the smallest ef whose recall, measured on
** drawn rows of the table against exact searches, reaches the target. The
** layout: graphs with other codes and degrees are built over a part of the
** rows in memory and measured in the same way, the layout in force among them,
** so that they can be compared with one another; what they cost on the whole
** table is the ratio between the two trials times what the table costs now.
**
** 'tune' sets ef= where there is a graph, and index= where another layout is at
** least a fifth faster, which the next 'rebuild' makes. Without a graph searches
** are exact at any effort: the least one would pass, and a graph of later rows
** would be walked with it.
*/
#include "sql/vtab_audit.h"

enum { TRIAL_ROWS = 8000, TRIAL_BATCH = 1000, QUERIES = 100, TUNE_K = 10,
       SEED = 7, N_LAYOUT_MAX = 8 };
#define TARGET_DEFAULT 0.95
#define LAYOUT_GAIN    0.8   /* of the time now, or less: worth a rebuild */

struct proposal {
  char index[64];             /* as in the schema; "" is the one in force */
  uint32_t ef;                /* 0: the target is out of reach */
  struct audit_result r;      /* on the table, or on the trial */
  double ms;                  /* of a query of the whole table */
  uint64_t bytes;             /* of the trial graph, per row */
  int is_trial;
};

struct tune {
  struct sql_table *t;
  int column;
  double target;
  struct proposal p[N_LAYOUT_MAX + 1];
  int n, n_tried;             /* n_tried: of them measured so far */
  double trial_now;           /* ms of the layout in force, in its trial */
};

/* ---- Trials ------------------------------------------------------------- */

struct trial { vecdb *db; vecdb_collection *coll; };

static void trial_end(struct trial *x){
  vecdb_collection_close(x->coll);
  vecdb_close(x->db);
}

/* Say how many of the layouts are done; not 0: stop. */
static int tune_report(const struct tune *u){
  struct sql_state *st = u->t->st;
  vecdb_progress p;
  memset(&p, 0, sizeof(p));
  p.size = sizeof(p);
  p.phase = "trying layouts";
  p.unit = "layouts";
  p.done = (uint64_t)u->n_tried;
  p.total = (uint64_t)u->n;
  if( st->progress && (*st->progress)((void*)st->progress, &p) ) return 1;
  return st->interrupted && *st->interrupted;
}

/* Ctrl-C ends the build of a trial, too. */
static int trial_is_stopped(void *arg, const vecdb_progress *p){
  (void)p;
  return tune_report(arg);
}

/* A collection in memory with this index and the drawn rows. */
static int trial_begin(struct trial *x, struct tune *u, struct audit *rows,
                       const char *index, char **err){
  const vecdb_column_info *ci = &rows->t->cols[rows->column].info;
  static const char *const metric[] = { "", "l2", "cosine", "ip", "l1",
                                        "hamming", "jaccard" };
  vecdb_optimize_options opt;
  vecdb_column_data data;
  char *schema = sqlite3_mprintf("id integer primary key, v %s "
      "distance_metric=%s%s%s", ci->decl, metric[ci->metric],
      index[0] ? " index=" : "", index);
  int rc = schema ? vecdb_open("", VECDB_OPEN_MEMORY, NULL, &x->db)
                  : VECDB_NOMEM;

  memset(&data, 0, sizeof(data));
  data.size = sizeof(data);
  data.column = 1;
  data.type = VECDB_VECTOR;
  data.element = ci->element;
  data.data = rows->vec;
  memset(&opt, 0, sizeof(opt));
  opt.size = sizeof(opt);
  opt.flags = VECDB_OPTIMIZE_ALL;
  if( rc==VECDB_OK ){
    vecdb_progress_handler(x->db, trial_is_stopped, u);
    rc = vecdb_create_collection(x->db, "t", schema);
  }
  if( rc==VECDB_OK ) rc = vecdb_collection_open(x->db, "t", &x->coll);
  if( rc==VECDB_OK ){
    rc = vecdb_put_many(x->coll, (size_t)rows->n, &data, 1, 0, NULL);
  }
  if( rc==VECDB_OK ) rc = vecdb_optimize(x->coll, &opt);
  sqlite3_free(schema);
  if( rc==VECDB_OK ) return SQLITE_OK;
  return vdb_sql_fail(err, vdb_sql_code(rc), "trial of %s: %s",
                      index[0] ? index : "the layout in force",
                      x->db ? vecdb_errmsg(x->db) : vecdb_errstr(rc));
}

/* Queries of a trial are some of its rows: their keys are 1, 2, .. there. */
static int trial_queries(const struct audit *rows, struct audit *a){
  int i, rc;
  *a = *rows;
  a->text = NULL;
  a->n = rows->n<QUERIES ? rows->n : QUERIES;
  a->key = sqlite3_malloc64(sizeof(*a->key)*(size_t)(a->n + 1));
  a->limit = sqlite3_malloc64(sizeof(*a->limit)*(size_t)(a->n + 1));
  a->n_true = sqlite3_malloc64(sizeof(*a->n_true)*(size_t)(a->n + 1));
  rc = a->key && a->limit && a->n_true ? SQLITE_OK : SQLITE_NOMEM;
  for(i=0; rc==SQLITE_OK && i<a->n; i++) a->key[i] = i + 1;
  return rc;
}

static int trial_measure(struct tune *u, struct audit *rows,
                         struct proposal *p, char **err){
  struct trial x = { NULL, NULL };
  vecdb_collection_stats cs;
  struct sql_table shape = *u->t;      /* of the trial: integer keys, column 1*/
  struct sql_column cols[2];
  struct audit a;
  int rc;

  memset(&a, 0, sizeof(a));
  memset(&cs, 0, sizeof(cs));
  cs.size = sizeof(cs);
  SQL_TRY( trial_begin(&x, u, rows, p->index, err) );
  SQL_TRY( trial_queries(rows, &a) );
  cols[0] = u->t->cols[0];
  cols[1] = u->t->cols[u->column];
  shape.cols = cols;
  shape.has_text_key = 0;
  a.t = &shape;
  a.column = 1;
  SQL_TRY( vdb_audit_truth(&a, x.db, x.coll, err) );
  SQL_TRY( vdb_audit_find_ef(&a, x.db, x.coll, u->target, &p->ef, &p->r,
                             err) );
  if( vecdb_collection_stat(x.coll, &cs)==VECDB_OK && cs.n_row ){
    p->bytes = cs.graph_bytes/cs.n_row;
  }
done:
  sqlite3_free(a.key);
  sqlite3_free(a.limit);
  sqlite3_free(a.n_true);
  trial_end(&x);
  return rc;
}

/* ---- Proposals ---------------------------------------------------------- */

/* The layouts to try; "" is the one in force. */
static int layouts_list(struct tune *u){
  static const char *const fixed[] = {
    "", "graph(bits=1)", "graph(bits=2)", "graph(bits=4)", "graph(r=64)"
  };
  uint32_t dims = u->t->cols[u->column].info.dims;
  size_t i;
  for(i=0; i<sizeof(fixed)/sizeof(fixed[0]); i++){
    sqlite3_snprintf(64, u->p[u->n++].index, "%s", fixed[i]);
  }
  if( dims>=256 ){
    sqlite3_snprintf(64, u->p[u->n++].index, "graph(nav=pca:%u)",
                     dims/4/64*64);
  }
  return u->n;
}

/* The part of the schema text that describes the column: from its name to the
** comma behind it; *end is there. NULL: not found. */
static const char *column_text(const struct tune *u, const char **end){
  const char *z = vecdb_collection_schema(u->t->coll);
  const char *name = u->t->cols[u->column].name;
  size_t n = strlen(name);

  while( *z ){
    const char *start = z + strspn(z, " "), *word;
    int depth = 0;
    for(z=start; *z && (depth>0 || *z!=','); z++){
      depth += *z=='(';
      depth -= *z==')';
    }
    *end = z;
    word = *start=='"' ? start + 1 : start;
    if( sqlite3_strnicmp(word, name, (int)n)==0
     && (word[n]==' ' || word[n]=='"') ) return start;
    if( *z ) z++;
  }
  return NULL;
}

/* Its index clause, for the trial of the layout in force; "" without one. */
static void layout_in_force(const struct tune *u, char out[64]){
  const char *end = NULL, *z = column_text(u, &end), *paren;
  out[0] = 0;
  z = z ? strstr(z, " index=") : NULL;
  if( z==NULL || z>=end ) return;
  z += 7;
  paren = strpbrk(z, " (");
  if( paren && paren<end ){
    end = *paren=='(' ? strchr(paren, ')') + 1 : paren;
  }
  sqlite3_snprintf(64, out, "%.*s", (int)(end - z), z);
}

static int layouts_try(struct tune *u, char **err){
  struct audit rows;
  char now[64];
  int i, rc;

  memset(&rows, 0, sizeof(rows));
  rc = vdb_audit_begin(&rows, u->t, u->column, TUNE_K, TRIAL_ROWS, SEED, err);
  if( rc!=SQLITE_OK || rows.n<2*TRIAL_BATCH ) goto done;
  layout_in_force(u, now);
  u->n = 1;
  layouts_list(u);                     /* p[1] is a trial of the present */
  for(i=1; i<u->n && rc==SQLITE_OK; i++){
    struct proposal *p = &u->p[i];
    if( i==1 ) sqlite3_snprintf(64, p->index, "%s", now);
    u->n_tried = i;
    (void)tune_report(u);
    p->is_trial = 1;
    rc = trial_measure(u, &rows, p, err);
    if( i==1 ) u->trial_now = p->r.ms;
    p->ms = u->trial_now>0 ? u->p[0].ms*p->r.ms/u->trial_now : 0;
    p->ms = (double)(long long)(p->ms*1e5 + 0.5)/1e5;
  }
done:
  vdb_audit_end(&rows);
  return rc;
}

/* Fill u->p: first the table as it is, then the trials. */
static int tune_run(struct tune *u, char **err){
  vecdb *eng = u->t->conn->eng;
  struct audit a;
  int rc;

  memset(&a, 0, sizeof(a));
  SQL_TRY( vdb_audit_begin(&a, u->t, u->column, TUNE_K, QUERIES, SEED, err) );
  SQL_TRY( vdb_audit_truth(&a, eng, u->t->coll, err) );
  SQL_TRY( vdb_audit_find_ef(&a, eng, u->t->coll, u->target, &u->p[0].ef,
                             &u->p[0].r, err) );
  u->p[0].ms = u->p[0].r.ms;
  u->n = 1;
  if( u->t->cols[u->column].info.element!=VECDB_BIT && u->p[0].r.ef>0 ){
    rc = layouts_try(u, err);
  }
done:
  u->n_tried = u->n;
  (void)tune_report(u);                /* the last word: all of them are done */
  vdb_audit_end(&a);
  return rc;
}

/* ---- vecdb_tune --------------------------------------------------------- */

static int tune_target(struct tune *u, double target, const char *what,
                       char **err){
  if( !(target>0 && target<=1) ){
    return vdb_sql_fail(err, SQLITE_ERROR, "%s: target is %g, expected a "
                        "recall above 0 and at most 1", what, target);
  }
  u->target = target;
  return SQLITE_OK;
}

static int tune_row(struct sql_rows *r, const struct proposal *p){
  int rc;
  SQL_TRY( vdb_rows_begin(r) );
  SQL_TRY( vdb_rows_text(r, 0, p->is_trial ? "trial" : "table") );
  SQL_TRY( vdb_rows_text(r, 1, p->index[0] ? p->index : "as it is") );
  if( p->ef ) SQL_TRY( vdb_rows_int(r, 2, p->ef) );
  SQL_TRY( vdb_rows_real(r, 3, p->r.recall) );
  SQL_TRY( vdb_rows_real(r, 4, p->r.lower) );
  SQL_TRY( vdb_rows_real(r, 5, p->r.upper) );
  SQL_TRY( vdb_rows_real(r, 6, p->ms) );
  SQL_TRY( vdb_rows_int(r, 7, (sqlite3_int64)p->r.n_distance) );
  rc = p->is_trial ? vdb_rows_int(r, 8, (sqlite3_int64)p->bytes) : SQLITE_OK;
done:
  return rc;
}

static int tune_fill(struct sql_rows *r, int argc, sqlite3_value **argv,
                     char **err){
  const char *name = (const char*)sqlite3_value_text(argv[0]);
  struct tune u;
  int i, rc;

  memset(&u, 0, sizeof(u));
  u.target = TARGET_DEFAULT;
  SQL_TRY( vdb_table_find(vdb_rows_state(r), name ? name : "", &u.t, err) );
  if( argc>1 && sqlite3_value_type(argv[1])!=SQLITE_NULL ){
    SQL_TRY( tune_target(&u, sqlite3_value_double(argv[1]), "vecdb_tune",
                         err) );
  }
  u.column = vdb_audit_column(u.t, argc>2
                 ? (const char*)sqlite3_value_text(argv[2]) : NULL, err);
  if( u.column<0 ) return SQLITE_ERROR;
  SQL_TRY( vdb_conn_begin_read(u.t->conn, err) );
  rc = tune_run(&u, err);
  vdb_conn_end_read(u.t->conn);
  for(i=0; i<u.n && rc==SQLITE_OK; i++) rc = tune_row(r, &u.p[i]);
done:
  return rc;
}

const struct rows_def vdb_tune_def = {
  "vecdb_tune", "CREATE TABLE x(kind TEXT, layout TEXT, ef INTEGER, "
  "recall REAL, lower REAL, upper REAL, ms REAL, compared INTEGER, "
  "bytes_per_row INTEGER, \"table\" HIDDEN, target HIDDEN, \"column\" HIDDEN)",
  9, 3, 1, tune_fill
};

/* ---- The command -------------------------------------------------------- */

static int tune_set(struct tune *u, const char *name, const char *value){
  return vecdb_collection_set(u->t->coll, name, value);
}

/* The fastest trial that reaches the target, if it is worth a rebuild. */
static const struct proposal *layout_choose(const struct tune *u){
  const struct proposal *best = NULL;
  int i;
  for(i=2; i<u->n; i++){
    const struct proposal *p = &u->p[i];
    if( p->ef==0 || p->r.ms>LAYOUT_GAIN*u->trial_now ) continue;
    if( best==NULL || p->r.ms<best->r.ms ) best = p;
  }
  return best;
}

static int tune_apply(struct tune *u){
  const struct proposal *best = layout_choose(u);
  vecdb_collection_stats cs;
  char value[32];
  char *name;
  int rc;

  memset(&cs, 0, sizeof(cs));
  cs.size = sizeof(cs);
  rc = vecdb_collection_stat(u->t->coll, &cs);
  if( rc==VECDB_OK && u->p[0].ef && cs.n_graph_row ){
    sqlite3_snprintf(sizeof(value), value, "%u", u->p[0].ef);
    rc = tune_set(u, "ef", value);
  }
  if( rc==VECDB_OK && best ){
    name = sqlite3_mprintf("%s.index", u->t->cols[u->column].name);
    rc = name ? tune_set(u, name, best->index) : VECDB_NOMEM;
    sqlite3_free(name);
  }
  return rc;
}

/* As SQL reads it, whatever the locale; text is 0. */
static double number_of(sqlite3 *db, const char *z){
  sqlite3_stmt *s = NULL;
  double x = 0;
  if( sqlite3_prepare_v2(db, "SELECT CAST(?1 AS REAL)", -1, &s, NULL)
      ==SQLITE_OK ){
    sqlite3_bind_text(s, 1, z, -1, SQLITE_STATIC);
    if( sqlite3_step(s)==SQLITE_ROW ) x = sqlite3_column_double(s, 0);
  }
  sqlite3_finalize(s);
  return x;
}

int vdb_command_tune(struct sql_table *t, const char *target){
  struct tune u;
  char *err = NULL;
  int rc = SQLITE_OK;

  memset(&u, 0, sizeof(u));
  u.t = t;
  u.target = TARGET_DEFAULT;
  if( target ) rc = tune_target(&u, number_of(t->st->db, target), "tune", &err);
  u.column = vdb_audit_column(t, NULL, &err);
  if( rc==SQLITE_OK ) rc = tune_run(&u, &err);
  if( rc!=SQLITE_OK ) return vdb_table_set_error(t, rc, err);
  rc = tune_apply(&u);
  if( rc!=VECDB_OK ) return vdb_table_error(t, rc);
  vdb_conn_changed(t->conn);
  return SQLITE_OK;
}
