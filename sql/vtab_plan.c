/* vtab_plan.c -- xBestIndex: which part of a query the engine does.
**
** COSTS
**   P1  A KNN search must not be repeated per row of another table when it
**       need not: k counts rows of this table. Every term consumed may be one
**       that another table supplies, and SQLite does not say which, so each
**       multiplies the cost by TERM_WEIGHT. Constants are usable in every
**       plan and raise all of them alike.
**   P2  A plan without MATCH costs more than any with it: SQLite also tries
**       to satisfy `.. AND (a=1 OR b=2)` by one lookup per branch without
**       showing us the MATCH, and such a plan cannot be run.
*/
#include "sql/vtab_int.h"

#define TERM_WEIGHT   1e6              /* P1 */
#define KNN_COST_MAX  1e95
#define OTHER_WEIGHT  1e100            /* P2 */

static const int hint_column[HINT_N] = {
  HID_EF, HID_RECALL, HID_EXACT, HID_MMR, HID_ARGS
};

static int plan_has(const struct plan *p, int section){
  int i;
  for(i=0; i<p->n_term; i++){
    if( p->terms[i].section==section ) return 1;
  }
  return 0;
}

/* ---- Reading the constraints -------------------------------------------- */

/* What one call of xBestIndex found. */
struct survey {
  struct sql_table *t;
  sqlite3_index_info *info;
  struct plan plan;
  int i_match, i_table;       /* v MATCH ?, <table> = ? */
  int i_k, i_limit, i_offset, i_filter;
  int must_refuse;            /* something needed is not usable here */
  int n_left;                 /* terms that SQLite will check itself */
  int hid_compared;           /* HID_* found beside < and the like; -1 */
  int i_blind;                /* one of them that k would cut before; -1 */
};

static int survey_error(struct survey *s, char *msg){
  return vdb_table_set_error(s->t, SQLITE_ERROR, msg);
}

/* TERM_* of a SQLite operator, or -1. */
static int term_of_op(unsigned char op){
  switch( op ){
    case SQLITE_INDEX_CONSTRAINT_EQ:        return TERM_EQ;
    case SQLITE_INDEX_CONSTRAINT_IS:        return TERM_IS;
    case SQLITE_INDEX_CONSTRAINT_ISNULL:    return TERM_IS;
    case SQLITE_INDEX_CONSTRAINT_ISNOT:     return TERM_ISNOT;
    case SQLITE_INDEX_CONSTRAINT_ISNOTNULL: return TERM_ISNOT;
    case SQLITE_INDEX_CONSTRAINT_LT:        return TERM_LT;
    case SQLITE_INDEX_CONSTRAINT_LE:        return TERM_LE;
    case SQLITE_INDEX_CONSTRAINT_GT:        return TERM_GT;
    case SQLITE_INDEX_CONSTRAINT_GE:        return TERM_GE;
    case SQLITE_INDEX_CONSTRAINT_NE:        return TERM_NE;
    case SQLITE_INDEX_CONSTRAINT_LIKE:      return TERM_LIKE;
    case SQLITE_INDEX_CONSTRAINT_GLOB:      return TERM_GLOB;
    case FUNC_NOT_IN:                       return TERM_NOT_IN;
    case FUNC_NOT_LIKE:                     return TERM_NOT_LIKE;
    default:                                return -1;
  }
}

static int op_is_pattern(int op){
  return op==TERM_LIKE || op==TERM_GLOB || op==TERM_NOT_LIKE;
}

/* COLL_* of the comparison, or -1 for one the engine does not know. Numbers
** have none. */
static int term_collation(struct survey *s, int i, int type, int op){
  const char *z;
  int c;
  if( type!=VECDB_TEXT && type!=VECDB_BLOB ) return COLL_BINARY;
  if( op_is_pattern(op) || op==TERM_NOT_IN ) return COLL_BINARY;
  z = sqlite3_vtab_collation(s->info, i);
  for(c=COLL_BINARY; z && c<=COLL_RTRIM; c++){
    if( sqlite3_stricmp(z, vdb_plan_collation_name(c))==0 ) return c;
  }
  return z ? -1 : COLL_BINARY;
}

static int section_of_column(const struct sql_table *t, int col){
  switch( t->cols[col].info.role ){
    case VECDB_ROLE_KEY:       return SECT_PK;
    case VECDB_ROLE_PARTITION: return SECT_PARTITION;
    case VECDB_ROLE_META:      return SECT_FILTER;
    case VECDB_ROLE_AUX:       return SECT_AUX;
    default:                   return -1;
  }
}

/* A comparison of a stored column. */
static int survey_term(struct survey *s, int i, int col){
  unsigned char sql_op = s->info->aConstraint[i].op;
  int section = section_of_column(s->t, col);
  int op = term_of_op(sql_op);
  int coll = COLL_BINARY;

  if( sql_op==SQLITE_INDEX_CONSTRAINT_EQ && sqlite3_vtab_in(s->info, i, -1) ){
    op = TERM_IN;
  }
  if( section>=0 && op>=0 ){
    coll = term_collation(s, i, (int)s->t->cols[col].info.type, op);
  }
  if( section<0 || op<0 || coll<0 ){
    s->n_left++;
    s->i_blind = i;
    return SQLITE_OK;
  }
  return vdb_plan_add(&s->plan, section, col, op, coll, i);
}

/* A comparison of `distance`. */
static int survey_distance(struct survey *s, int i){
  int op = term_of_op(s->info->aConstraint[i].op);
  if( op!=TERM_EQ && op!=TERM_LT && op!=TERM_LE && op!=TERM_GT
   && op!=TERM_GE ){
    s->n_left++;
    return SQLITE_OK;
  }
  if( op==TERM_EQ && sqlite3_vtab_in(s->info, i, -1) ){
    s->n_left++;
    return SQLITE_OK;
  }
  return vdb_plan_add(&s->plan, SECT_DISTANCE, 0, op, COLL_BINARY, i);
}

/* Do constraints i and j compare with the same literal? A condition that
** SQLite has pushed into a subquery is there twice. */
static int is_same_literal(struct survey *s, int i, int j){
  sqlite3_value *a = NULL, *b = NULL;
  const char *x, *y;
  if( sqlite3_vtab_rhs_value(s->info, i, &a)!=SQLITE_OK || a==NULL
   || sqlite3_vtab_rhs_value(s->info, j, &b)!=SQLITE_OK || b==NULL
   || sqlite3_value_type(a)!=sqlite3_value_type(b) ){
    return 0;
  }
  x = (const char*)sqlite3_value_text(a);
  y = (const char*)sqlite3_value_text(b);
  return x && y && strcmp(x, y)==0;
}

/* Remember `hidden = value` as *slot. SQLite would make two of them an empty
** answer, or leave one out, before we could say what the rows are. */
static int survey_once(struct survey *s, int hid, int *slot, int i){
  if( *slot<0 ){
    *slot = i;
    return SQLITE_OK;
  }
  if( is_same_literal(s, *slot, i) ){
    s->n_left++;
    return SQLITE_OK;
  }
  return survey_error(s, sqlite3_mprintf("%s of table \"%s\" is given twice%s",
      vdb_table_hidden_name(hid), s->t->name,
      hid==HID_FILTER ? "; join the two texts by AND" : ""));
}

static int survey_hidden(struct survey *s, int i, int hid){
  const struct sqlite3_index_constraint *con = &s->info->aConstraint[i];
  int h, rc = SQLITE_OK;

  if( hid==HID_DISTANCE ){
    if( !con->usable ){
      s->n_left++;
      return SQLITE_OK;
    }
    return survey_distance(s, i);
  }
  if( con->op!=SQLITE_INDEX_CONSTRAINT_EQ ){
    int op = term_of_op(con->op);
    if( op>=0 && op!=TERM_IS && op!=TERM_ISNOT ) s->hid_compared = hid;
    s->n_left++;
    return SQLITE_OK;
  }
  if( !con->usable ){
    s->must_refuse = 1;
    return SQLITE_OK;
  }
  if( hid==HID_TABLE ) return survey_once(s, hid, &s->i_table, i);
  if( hid==HID_K ) return survey_once(s, hid, &s->i_k, i);
  if( hid==HID_FILTER ){
    int is_first = s->i_filter<0;
    SQL_TRY( survey_once(s, hid, &s->i_filter, i) );
    if( is_first ){
      rc = vdb_plan_add(&s->plan, SECT_EXPR, 0, TERM_EQ, COLL_BINARY, i);
    }
    return rc;
  }
  for(h=0; h<HINT_N && rc==SQLITE_OK; h++){
    if( hid==hint_column[h] ){
      rc = survey_once(s, hid, &s->plan.i_hint[h], i);
    }
  }
done:
  return rc;
}

/* Without `k = 5` beside it `k < 9` compares with NULL and no row would come.
** With it SQLite compares the 5. */
static int survey_compared(struct survey *s){
  int hid = s->hid_compared, is_said = hid==HID_TABLE || hid==HID_ARGS, h;

  for(h=0; h<HINT_N; h++){
    if( hid==hint_column[h] && s->plan.i_hint[h]>=0 ) is_said = 1;
  }
  if( hid==HID_K && s->i_k>=0 ) is_said = 1;
  if( hid==HID_FILTER && s->i_filter>=0 ) is_said = 1;
  if( hid<0 || is_said ) return SQLITE_OK;
  return survey_error(s, sqlite3_mprintf("%s of table \"%s\" is said with =, "
      "not compared", vdb_table_hidden_name(hid), s->t->name));
}

static int survey_match(struct survey *s, int i){
  const struct sqlite3_index_constraint *con = &s->info->aConstraint[i];
  struct sql_table *t = s->t;

  if( con->iColumn<0 || con->iColumn>=t->n_col
   || t->cols[con->iColumn].info.role!=VECDB_ROLE_VECTOR ){
    return survey_error(s, sqlite3_mprintf(
        "MATCH needs a vector column of table \"%s\" at its left", t->name));
  }
  if( !con->usable ){
    s->must_refuse = 1;
    return SQLITE_OK;
  }
  if( s->i_match>=0 ){
    return survey_error(s, sqlite3_mprintf(
        "only 1 MATCH operator is allowed in a single %s query",
        t->is_vec0 ? "vec0" : "vecdb"));
  }
  s->i_match = i;
  s->plan.col = con->iColumn;
  return SQLITE_OK;
}

static int survey_constraint(struct survey *s, int i){
  const struct sqlite3_index_constraint *con = &s->info->aConstraint[i];
  int col = con->iColumn<0 ? 0 : con->iColumn;   /* rowid is the key */
  int hid;

  if( con->op==SQLITE_INDEX_CONSTRAINT_MATCH ) return survey_match(s, i);
  if( con->op==SQLITE_INDEX_CONSTRAINT_LIMIT ){
    if( con->usable ) s->i_limit = i;
    return SQLITE_OK;
  }
  if( con->op==SQLITE_INDEX_CONSTRAINT_OFFSET ){
    if( con->usable ) s->i_offset = i; else s->n_left++;
    return SQLITE_OK;
  }
  hid = vdb_table_hidden(s->t, col);
  if( hid>=0 ) return survey_hidden(s, i, hid);
  if( !con->usable ){
    s->n_left++;
    return SQLITE_OK;
  }
  return survey_term(s, i, col);
}

/* ---- Choosing ----------------------------------------------------------- */

/* True if the rows come in the order the query wants when they come by
** (distance, key), or by key. Nothing follows a key: it is unique. */
static int order_is_natural(struct survey *s, int is_knn){
  const sqlite3_index_info *info = s->info;
  int i = 0;
  if( info->nOrderBy==0 ) return 1;
  if( is_knn ){
    if( vdb_table_hidden(s->t, info->aOrderBy[0].iColumn)!=HID_DISTANCE
     || info->aOrderBy[0].desc ){
      return 0;
    }
    if( info->nOrderBy==1 ) return 1;
    i = 1;
  }
  return info->aOrderBy[i].iColumn<=0 && !info->aOrderBy[i].desc;
}

static int has_upper_distance(const struct plan *p){
  int i;
  for(i=0; i<p->n_term; i++){
    const struct plan_term *t = &p->terms[i];
    if( t->section==SECT_DISTANCE
     && (t->op==TERM_LT || t->op==TERM_LE || t->op==TERM_EQ) ){
      return 1;
    }
  }
  return 0;
}

/* The value of constraint i when it is a literal, else dflt. */
static sqlite3_int64 literal_int(struct survey *s, int i, sqlite3_int64 dflt){
  sqlite3_value *v = NULL;
  if( i<0 || sqlite3_vtab_rhs_value(s->info, i, &v)!=SQLITE_OK || v==NULL ){
    return dflt;
  }
  return sqlite3_value_numeric_type(v)==SQLITE_INTEGER
         ? sqlite3_value_int64(v) : dflt;
}

static void choose_bound(struct survey *s){
  struct plan *p = &s->plan;
  int has_limit = s->i_limit>=0 && s->n_left==0 && p->i_hint[HINT_MMR]<0
               && order_is_natural(s, 1);

  p->i_bound[0] = s->i_k;
  if( has_limit ){
    p->i_bound[1] = s->i_limit;
    p->i_bound[2] = s->i_offset;
    if( s->i_k>=0 ){
      p->bound = s->i_offset>=0 ? BOUND_K_LIMIT_OFFSET : BOUND_K_LIMIT;
    }else{
      p->bound = s->i_offset>=0 ? BOUND_LIMIT_OFFSET : BOUND_LIMIT;
    }
  }else{
    p->bound = s->i_k>=0 ? BOUND_K : BOUND_STREAM;
  }
  p->kind = p->bound==BOUND_STREAM && has_upper_distance(p)
         && p->i_hint[HINT_ARGS]<0 ? PLAN_WITHIN : PLAN_KNN;
}

/* What serves the column by now; it was described when the table was opened. */
static const char *column_index(const struct sql_table *t, int col){
  vecdb_column_info info = { .size = sizeof(info) };
  int rc = vecdb_column_describe(t->coll, col, &info);
  return rc==VECDB_OK ? info.index : t->cols[col].info.index;
}

static void choose_path(struct survey *s){
  struct plan *p = &s->plan;
  const char *index = column_index(s->t, p->col);
  int has_hint = p->i_hint[HINT_EF]>=0 || p->i_hint[HINT_RECALL]>=0;

  if( literal_int(s, p->i_hint[HINT_EXACT], 0)!=0
   || (p->bound==BOUND_STREAM && !has_hint && p->i_hint[HINT_ARGS]<0) ){
    p->path = PATH_EXACT;
  }else if( index && strcmp(index, "graph")==0 ){
    p->path = PATH_GRAPH;
  }else if( index && strcmp(index, "ivf")==0 ){
    p->path = PATH_IVF;
  }else{
    p->path = PATH_FLAT;
  }
}

/* A predicate that SQLite will only apply after k rows were chosen. */
static int refuse_blind(struct survey *s){
  unsigned char op = s->info->aConstraint[s->i_blind].op;
  int col = s->info->aConstraint[s->i_blind].iColumn;
  const char *name = s->t->cols[col<0 ? 0 : col].name;
  if( op==SQLITE_INDEX_CONSTRAINT_REGEXP ){
    return survey_error(s, sqlite3_mprintf("cannot apply \"%w\" REGEXP before "
        "the k cut; use ORDER BY distance LIMIT", name));
  }
  return survey_error(s, sqlite3_mprintf("cannot compare \"%w\" with collation "
      "%s before the k cut; use ORDER BY distance LIMIT", name,
      sqlite3_vtab_collation(s->info, s->i_blind)));
}

static int is_blind(struct survey *s){
  int op;
  if( s->i_blind<0 ) return 0;
  op = s->info->aConstraint[s->i_blind].op;
  return op==SQLITE_INDEX_CONSTRAINT_REGEXP || term_of_op((unsigned char)op)>=0;
}

static double row_count(struct sql_table *t){
  vecdb_collection_stats st;
  memset(&st, 0, sizeof(st));
  st.size = sizeof(st);
  if( vecdb_collection_stat(t->coll, &st)!=VECDB_OK ) return 1000;
  return st.n_row>0 ? (double)st.n_row : 1;
}

static void cost_knn(struct survey *s, double n){
  struct plan *p = &s->plan;
  double bytes = n*s->t->cols[p->col].info.vector_bytes;
  double cost = 30 + bytes/1000, rows = n<100 ? n : 100;
  int i, is_filtered = 0;

  if( p->path==PATH_GRAPH || p->path==PATH_IVF ) cost = 30 + 2*100;
  if( p->kind==PLAN_WITHIN ) rows = n/10;
  if( p->bound!=BOUND_STREAM ){
    rows = (double)literal_int(s, s->i_k>=0 ? s->i_k : s->i_limit,
                               (sqlite3_int64)rows);
    if( rows<0 || rows>n ) rows = n;
  }
  for(i=0; i<p->n_term; i++){
    if( p->terms[i].section!=SECT_DISTANCE ) is_filtered = 1;
  }
  if( is_filtered ) cost += n/64;
  for(i=0; i<p->n_term && cost<KNN_COST_MAX; i++){
    int section = p->terms[i].section;
    if( section!=SECT_DISTANCE && section!=SECT_EXPR ) cost *= TERM_WEIGHT;
  }
  s->info->estimatedCost = cost<KNN_COST_MAX ? cost : KNN_COST_MAX;
  s->info->estimatedRows = rows<1 ? 1 : (sqlite3_int64)rows;
}

static int choose_knn(struct survey *s){
  struct plan *p = &s->plan;
  int rc = SQLITE_OK;

  p->i_query = s->i_match>=0 ? s->i_match : s->i_table;
  if( s->i_match>=0 && s->i_table>=0 ){
    return survey_error(s, sqlite3_mprintf(
        "table \"%s\" takes one query vector, MATCH or argument, not both",
        s->t->name));
  }
  if( s->i_match<0 ){
    for(p->col=0; p->col<s->t->n_col; p->col++){
      if( s->t->cols[p->col].info.role==VECDB_ROLE_VECTOR ) break;
    }
  }
  if( s->i_k>=0 && is_blind(s) ) return refuse_blind(s);
  SQL_TRY( survey_compared(s) );
  choose_bound(s);
  choose_path(s);
  cost_knn(s, row_count(s->t));
done:
  return rc;
}

/* The key equality of a point lookup becomes the whole plan. */
static int find_point(const struct plan *p){
  int i;
  for(i=0; i<p->n_term; i++){
    const struct plan_term *t = &p->terms[i];
    if( t->section==SECT_PK && t->op==TERM_EQ && t->coll==COLL_BINARY ){
      return i;
    }
  }
  return -1;
}

static int choose_other(struct survey *s){
  struct plan *p = &s->plan;
  double n = row_count(s->t), rows = n, cost;
  int i, n_kept = 0;

  if( s->i_k>=0 ){
    return survey_error(s, sqlite3_mprintf("\"k\" of table \"%s\" needs a "
        "MATCH of the same table beside it", s->t->name));
  }
  i = find_point(p);
  if( i>=0 ){
    p->terms[0] = p->terms[i];
    p->n_term = 1;
    p->kind = PLAN_POINT;
    s->info->idxFlags |= SQLITE_INDEX_SCAN_UNIQUE;
    s->info->estimatedCost = 5*OTHER_WEIGHT;
    s->info->estimatedRows = 1;
    return SQLITE_OK;
  }
  for(i=0; i<p->n_term; i++){           /* distance is NULL here */
    if( p->terms[i].section!=SECT_DISTANCE ) p->terms[n_kept++] = p->terms[i];
  }
  p->n_term = n_kept;
  for(i=0; i<HINT_N; i++) p->i_hint[i] = -1;
  p->kind = n_kept==0 ? PLAN_SCAN : plan_has(p, SECT_PK) ? PLAN_PK
                                                         : PLAN_FILTER;
  for(i=0; i<n_kept; i++){
    int op = p->terms[i].op;
    rows /= op==TERM_EQ ? 10 : op==TERM_IN ? 8 : 3;
  }
  if( rows<1 ) rows = 1;
  cost = p->kind==PLAN_SCAN ? 10*n : n/64 + 10*rows;
  s->info->estimatedCost = cost*OTHER_WEIGHT;
  s->info->estimatedRows = (sqlite3_int64)rows;
  return SQLITE_OK;
}

int vdb_plan_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info){
  struct survey s;
  int i, is_knn, rc = SQLITE_OK;

  memset(&s, 0, sizeof(s));
  s.t = (struct sql_table*)vtab;
  rc = vdb_table_usable(s.t);
  if( rc==SQLITE_OK && s.t->is_vec0 && s.t->st->vec0_is_strict ){
    rc = vdb_vec0_strict_plan(s.t, info);
  }
  if( rc!=SQLITE_OK ) return rc;
  s.info = info;
  s.i_match = s.i_table = s.i_k = s.i_limit = s.i_offset = s.i_blind = -1;
  s.i_filter = s.hid_compared = -1;
  vdb_plan_init(&s.plan);
  for(i=0; i<info->nConstraint; i++) SQL_TRY( survey_constraint(&s, i) );
  if( s.must_refuse ){
    rc = SQLITE_CONSTRAINT;
    goto done;
  }
  is_knn = s.i_match>=0 || s.i_table>=0;
  rc = is_knn ? choose_knn(&s) : choose_other(&s);
  if( rc!=SQLITE_OK ) goto done;
  info->orderByConsumed = info->nOrderBy>0 && order_is_natural(&s, is_knn)
                       && s.plan.i_hint[HINT_MMR]<0;
  rc = vdb_plan_encode(s.t, &s.plan, info);
done:
  vdb_plan_clear(&s.plan);
  return rc;
}
