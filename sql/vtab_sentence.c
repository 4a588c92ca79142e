/* vtab_sentence.c -- a plan as SQLite keeps it between xBestIndex and xFilter.
**
** This file alone knows how a plan is written into idxNum and idxStr and read
** back. idxStr is a sentence that EXPLAIN QUERY PLAN shows; every `?` in it
** takes one value, in order:
**
**   plan  := KNN(col) path [bound] {hint} {section}
**          | WITHIN(col) path {hint} {section} | POINT(col=?)
**          | {section} | SCAN
**   path  := FLAT | GRAPH | IVF | EXACT
**   bound := (nothing: k) | LIMIT | LIMIT+OFFSET | K+LIMIT | K+LIMIT+OFFSET
**          | STREAM
**   hint  := EF(?) | RECALL(?) | EXACT(?) | MMR(?) | ARGS(?)
**   section := DISTANCE(c) | PK(c) | PARTITION(c) | FILTER(c) | AUX(c)
**          | EXPR(?)
**   c     := [col] op ? [COLLATE name] { AND .. }
**
** KNN and WITHIN take the query first, then the values of the bound.
*/
#include "sql/vtab_int.h"

static const char *const path_name[] = { "FLAT", "GRAPH", "IVF", "EXACT" };
static const char *const bound_name[] = {
  "", "LIMIT", "LIMIT+OFFSET", "K+LIMIT", "K+LIMIT+OFFSET", "STREAM"
};
static const char *const hint_name[HINT_N] = {
  "EF", "RECALL", "EXACT", "MMR", "ARGS"
};
static const char *const section_name[SECT_N] = {
  "DISTANCE", "PK", "PARTITION", "FILTER", "AUX", "EXPR"
};
static const char *const op_name[TERM_N] = {
  "=", " IS ", "<", "<=", ">", ">=", "<>", " IS NOT ", " LIKE ", " GLOB ",
  " IN ", " NOT IN ", " NOT LIKE "
};
static const char *const coll_name[] = { "BINARY", "NOCASE", "RTRIM" };

const char *vdb_plan_op_name(int op){ return op_name[op]; }
const char *vdb_plan_collation_name(int coll){ return coll_name[coll]; }

void vdb_plan_init(struct plan *p){
  int i;
  memset(p, 0, sizeof(*p));
  p->i_query = -1;
  for(i=0; i<3; i++) p->i_bound[i] = -1;
  for(i=0; i<HINT_N; i++) p->i_hint[i] = -1;
}

void vdb_plan_clear(struct plan *p){
  sqlite3_free(p->terms);
  vdb_plan_init(p);
}

int vdb_plan_add(struct plan *p, int section, int col, int op, int coll,
                 int i_con){
  struct plan_term *t;
  if( p->n_term==p->n_term_max ){
    int n = p->n_term_max ? 2*p->n_term_max : 8;
    t = sqlite3_realloc64(p->terms, (sqlite3_uint64)n*sizeof(*t));
    if( t==NULL ) return SQLITE_NOMEM;
    p->terms = t;
    p->n_term_max = n;
  }
  t = &p->terms[p->n_term++];
  t->section = section;
  t->col = col;
  t->op = op;
  t->coll = coll;
  t->i_con = i_con;
  return SQLITE_OK;
}

/* ---- Writing ------------------------------------------------------------- */

static int name_is_plain(const char *z){
  int i;
  for(i=0; z[i]; i++){
    char c = z[i];
    int alpha = (c>='a' && c<='z') || (c>='A' && c<='Z') || c=='_';
    if( !alpha && !(i>0 && c>='0' && c<='9') ) return 0;
  }
  return i>0;
}

static void put_name(sqlite3_str *s, const char *z){
  sqlite3_str_appendf(s, name_is_plain(z) ? "%s" : "\"%w\"", z);
}

/* Give the next `?` to constraint i. */
static void consume(sqlite3_index_info *info, int i, int *n_arg, int omit){
  info->aConstraintUsage[i].argvIndex = ++*n_arg;
  info->aConstraintUsage[i].omit = (unsigned char)omit;
}

/* What is written, and for whom. */
struct sentence {
  const struct sql_table *t;
  const struct plan *plan;
  sqlite3_index_info *info;
};

static void put_section(const struct sentence *s, sqlite3_str *z, int section,
                        int *n_arg){
  const struct plan *p = s->plan;
  int i, n = 0;
  for(i=0; i<p->n_term; i++){
    const struct plan_term *t = &p->terms[i];
    if( t->section!=section ) continue;
    if( n++==0 ){
      sqlite3_str_appendf(z, " %s(", section_name[section]);
    }else{
      sqlite3_str_appendall(z, " AND ");
    }
    if( section!=SECT_EXPR ){
      if( section!=SECT_DISTANCE ) put_name(z, s->t->cols[t->col].name);
      sqlite3_str_appendall(z, op_name[t->op]);
    }
    sqlite3_str_appendchar(z, 1, '?');
    if( t->coll!=COLL_BINARY ){
      sqlite3_str_appendf(z, " COLLATE %s", coll_name[t->coll]);
    }
    if( t->op==TERM_IN ) sqlite3_vtab_in(s->info, t->i_con, 1);
    consume(s->info, t->i_con, n_arg, 1);
  }
  if( n ) sqlite3_str_appendchar(z, 1, ')');
}

static void put_search(const struct sentence *s, sqlite3_str *z, int *n_arg){
  const struct plan *p = s->plan;
  int i;

  sqlite3_str_appendall(z, p->kind==PLAN_KNN ? "KNN(" : "WITHIN(");
  put_name(z, s->t->cols[p->col].name);
  sqlite3_str_appendf(z, ") %s", path_name[p->path]);
  consume(s->info, p->i_query, n_arg, 1);
  if( p->kind==PLAN_KNN && p->bound!=BOUND_K ){
    sqlite3_str_appendf(z, " %s", bound_name[p->bound]);
  }
  for(i=0; i<3; i++){
    /* SQLite skips the rows of OFFSET itself: omit is 0. */
    if( p->i_bound[i]>=0 ) consume(s->info, p->i_bound[i], n_arg, i!=2);
  }
  for(i=0; i<HINT_N; i++){
    if( p->i_hint[i]<0 ) continue;
    sqlite3_str_appendf(z, " %s(?)", hint_name[i]);
    consume(s->info, p->i_hint[i], n_arg, 1);
  }
}

int vdb_plan_encode(const struct sql_table *t, const struct plan *p,
                    sqlite3_index_info *info){
  const struct sentence s = { t, p, info };
  sqlite3_str *z = sqlite3_str_new(NULL);
  int section, n_arg = 0, n_skip;
  char *text;

  if( p->kind==PLAN_KNN || p->kind==PLAN_WITHIN ) put_search(&s, z, &n_arg);
  if( p->kind==PLAN_SCAN ) sqlite3_str_appendall(z, "SCAN");
  if( p->kind==PLAN_POINT ){
    sqlite3_str_appendall(z, "POINT(");
    put_name(z, t->cols[0].name);
    sqlite3_str_appendall(z, "=?)");
    consume(info, p->terms[0].i_con, &n_arg, 1);
  }else{
    for(section=0; section<SECT_N; section++){
      put_section(&s, z, section, &n_arg);
    }
  }
  text = sqlite3_str_finish(z);
  if( text==NULL ) return SQLITE_NOMEM;
  n_skip = text[0]==' ';
  if( n_skip ) memmove(text, text + 1, strlen(text));
  info->idxNum = p->kind;
  info->idxStr = text;
  info->needToFreeIdxStr = 1;
  return SQLITE_OK;
}

/* ---- Reading ------------------------------------------------------------- */

/* Skip the word and return true, if it stands at *z. */
static int eat(const char **z, const char *word){
  size_t n = strlen(word);
  if( strncmp(*z, word, n)!=0 ) return 0;
  *z += n;
  return 1;
}

/* The column whose name stands at *z, or -1. */
static int eat_column(const struct sql_table *t, const char **z){
  int i, found = -1;
  size_t n_best = 0;
  for(i=0; i<t->n_col; i++){
    char *q;
    size_t n;
    if( name_is_plain(t->cols[i].name) ){
      n = strlen(t->cols[i].name);
      if( strncmp(*z, t->cols[i].name, n)==0 && n>n_best ){
        found = i;
        n_best = n;
      }
      continue;
    }
    q = sqlite3_mprintf("\"%w\"", t->cols[i].name);
    n = q ? strlen(q) : 0;
    if( q && strncmp(*z, q, n)==0 && n>n_best ){
      found = i;
      n_best = n;
    }
    sqlite3_free(q);
  }
  *z += n_best;
  return found;
}

static int decode_term(const struct sql_table *t, const char **z, int section,
                       int i_arg, struct plan *p){
  int col = 0, op = TERM_EQ, coll = COLL_BINARY, i, n_best = 0;

  if( section!=SECT_EXPR ){
    if( section!=SECT_DISTANCE ) col = eat_column(t, z);
    if( col<0 ) return SQLITE_INTERNAL;
    for(i=0; i<TERM_N; i++){            /* the longest that fits */
      int n = (int)strlen(op_name[i]);
      if( strncmp(*z, op_name[i], (size_t)n)==0 && n>n_best ){
        op = i;
        n_best = n;
      }
    }
    if( n_best==0 ) return SQLITE_INTERNAL;
    *z += n_best;
  }
  if( !eat(z, "?") ) return SQLITE_INTERNAL;
  if( eat(z, " COLLATE NOCASE") ) coll = COLL_NOCASE;
  if( eat(z, " COLLATE RTRIM") ) coll = COLL_RTRIM;
  return vdb_plan_add(p, section, col, op, coll, i_arg);
}

static int decode_section(const struct sql_table *t, const char **z,
                          int *n_arg, struct plan *p){
  int section, rc;
  for(section=0; section<SECT_N; section++){
    size_t n = strlen(section_name[section]);
    if( strncmp(*z, section_name[section], n)==0 && (*z)[n]=='(' ){
      *z += n + 1;
      break;
    }
  }
  if( section==SECT_N ) return SQLITE_INTERNAL;
  do{
    rc = decode_term(t, z, section, (*n_arg)++, p);
  }while( rc==SQLITE_OK && eat(z, " AND ") );
  if( rc==SQLITE_OK && !eat(z, ")") ) rc = SQLITE_INTERNAL;
  return rc;
}

static int decode_search(const struct sql_table *t, const char **z,
                         int *n_arg, struct plan *p){
  int i, n_best = 0;

  if( !eat(z, p->kind==PLAN_KNN ? "KNN(" : "WITHIN(") ) return SQLITE_INTERNAL;
  p->col = eat_column(t, z);
  if( p->col<0 || !eat(z, ") ") ) return SQLITE_INTERNAL;
  for(p->path=0; p->path<PATH_EXACT; p->path++){
    if( eat(z, path_name[p->path]) ) break;
  }
  if( p->path==PATH_EXACT && !eat(z, "EXACT") ) return SQLITE_INTERNAL;
  p->i_query = (*n_arg)++;
  p->bound = p->kind==PLAN_KNN ? BOUND_K : BOUND_STREAM;
  for(i=BOUND_LIMIT; **z==' ' && i<=BOUND_STREAM; i++){
    int n = (int)strlen(bound_name[i]);
    if( strncmp(*z + 1, bound_name[i], (size_t)n)==0 && n>n_best ){
      p->bound = i;
      n_best = n;
    }
  }
  if( n_best ) *z += 1 + n_best;
  if( p->bound==BOUND_K || p->bound>=BOUND_K_LIMIT ){
    if( p->bound!=BOUND_STREAM ) p->i_bound[0] = (*n_arg)++;
  }
  if( p->bound!=BOUND_K && p->bound!=BOUND_STREAM ){
    p->i_bound[1] = (*n_arg)++;
  }
  if( p->bound==BOUND_LIMIT_OFFSET || p->bound==BOUND_K_LIMIT_OFFSET ){
    p->i_bound[2] = (*n_arg)++;
  }
  for(i=0; i<HINT_N; i++){
    const char *at = *z;
    if( eat(&at, " ") && eat(&at, hint_name[i]) && eat(&at, "(?)") ){
      p->i_hint[i] = (*n_arg)++;
      *z = at;
    }
  }
  return SQLITE_OK;
}

int vdb_plan_decode(const struct sql_table *t, int idx_num,
                    const char *idx_str, struct plan *out){
  const char *z = idx_str;
  int n_arg = 0, rc = SQLITE_OK;

  vdb_plan_init(out);
  out->kind = idx_num;
  if( idx_num==PLAN_SCAN ) return SQLITE_OK;
  if( z==NULL ) return SQLITE_INTERNAL;
  if( idx_num==PLAN_POINT ) return vdb_plan_add(out, SECT_PK, 0, TERM_EQ, 0, 0);
  if( idx_num==PLAN_KNN || idx_num==PLAN_WITHIN ){
    rc = decode_search(t, &z, &n_arg, out);
    if( rc==SQLITE_OK && *z && !eat(&z, " ") ) rc = SQLITE_INTERNAL;
  }
  while( rc==SQLITE_OK && *z ){
    rc = decode_section(t, &z, &n_arg, out);
    if( rc==SQLITE_OK && *z && !eat(&z, " ") ) rc = SQLITE_INTERNAL;
  }
  if( rc!=SQLITE_OK ) vdb_plan_clear(out);
  return rc;
}
