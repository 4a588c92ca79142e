/* vtab_rows.c -- table-valued functions that fill a small table at once.
**
** A struct rows_def declares the columns and has one function that adds all
** rows for given arguments. Arguments are hidden columns; those after the
** first n_arg_min may be left out, from the end.
*/
#include "sql/vtab_int.h"

struct cell {
  char *z;                    /* text, or */
  sqlite3_value *v;           /* a value, or */
  sqlite3_int64 n;            /* an integer, if is_int */
  double x;                   /* a number, if is_real */
  int is_int, is_real;
};

struct rows_table {
  sqlite3_vtab base;
  struct sql_state *st;
  const struct rows_def *def;
};

struct sql_rows {             /* the cursor */
  sqlite3_vtab_cursor base;
  size_t n_row, n_max, i;
  struct cell *cells;         /* n_row * n_out */
  sqlite3_value *args[8];
};

static const struct rows_def *rows_def_of(struct sql_rows *r){
  return ((struct rows_table*)r->base.pVtab)->def;
}

struct sql_state *vdb_rows_state(struct sql_rows *r){
  return ((struct rows_table*)r->base.pVtab)->st;
}

/* ---- Filling ------------------------------------------------------------ */

int vdb_rows_begin(struct sql_rows *r){
  size_t n_out = (size_t)rows_def_of(r)->n_out;
  if( r->n_row==r->n_max ){
    size_t n = r->n_max ? 2*r->n_max : 16;
    void *p = sqlite3_realloc64(r->cells, n*n_out*sizeof(struct cell));
    if( p==NULL ) return SQLITE_NOMEM;
    r->cells = p;
    r->n_max = n;
  }
  memset(&r->cells[r->n_row*n_out], 0, n_out*sizeof(struct cell));
  r->n_row++;
  return SQLITE_OK;
}

static struct cell *last_cell(struct sql_rows *r, int i){
  return &r->cells[(r->n_row - 1)*(size_t)rows_def_of(r)->n_out + (size_t)i];
}

int vdb_rows_text(struct sql_rows *r, int i, const char *z){
  if( z==NULL ) return SQLITE_OK;
  last_cell(r, i)->z = vdb_sql_strdup(z);
  return last_cell(r, i)->z ? SQLITE_OK : SQLITE_NOMEM;
}

int vdb_rows_int(struct sql_rows *r, int i, sqlite3_int64 v){
  last_cell(r, i)->n = v;
  last_cell(r, i)->is_int = 1;
  return SQLITE_OK;
}

int vdb_rows_real(struct sql_rows *r, int i, double x){
  last_cell(r, i)->x = x;
  last_cell(r, i)->is_real = 1;
  return SQLITE_OK;
}

int vdb_rows_value(struct sql_rows *r, int i, sqlite3_value *v){
  last_cell(r, i)->v = sqlite3_value_dup(v);
  return last_cell(r, i)->v ? SQLITE_OK : SQLITE_NOMEM;
}

static void rows_clear(struct sql_rows *r){
  size_t k, n = r->n_row*(size_t)rows_def_of(r)->n_out;
  int i;
  for(k=0; k<n; k++){
    sqlite3_free(r->cells[k].z);
    sqlite3_value_free(r->cells[k].v);
  }
  for(i=0; i<8; i++){
    sqlite3_value_free(r->args[i]);
    r->args[i] = NULL;
  }
  r->n_row = r->i = 0;
}

/* ---- The module --------------------------------------------------------- */

static int rows_connect(sqlite3 *db, void *aux, int argc,
                        const char *const *argv, sqlite3_vtab **out,
                        char **err){
  struct sql_state *st = aux;
  struct rows_table *t;
  const struct rows_def *def = NULL;
  int i, rc;

  (void)argc; (void)err;
  for(i=0; vdb_rows_defs[i]; i++){
    if( sqlite3_stricmp(vdb_rows_defs[i]->name, argv[0])==0 ){
      def = vdb_rows_defs[i];
    }
  }
  if( def==NULL ) return SQLITE_INTERNAL;
  rc = sqlite3_declare_vtab(db, def->declare);
  if( rc!=SQLITE_OK ) return rc;
  t = sqlite3_malloc(sizeof(*t));
  if( t==NULL ) return SQLITE_NOMEM;
  memset(t, 0, sizeof(*t));
  t->st = st;
  t->def = def;
  sqlite3_vtab_config(db, SQLITE_VTAB_DIRECTONLY);
  *out = &t->base;
  return SQLITE_OK;
}

static int rows_disconnect(sqlite3_vtab *vtab){
  sqlite3_free(vtab);
  return SQLITE_OK;
}

static int rows_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info){
  const struct rows_def *def = ((struct rows_table*)vtab)->def;
  int at[8], i, n;

  for(i=0; i<8; i++) at[i] = -1;
  for(i=0; i<info->nConstraint; i++){
    const struct sqlite3_index_constraint *c = &info->aConstraint[i];
    int arg = c->iColumn - def->n_out;
    if( c->op!=SQLITE_INDEX_CONSTRAINT_EQ || arg<0 || arg>=def->n_arg ){
      continue;
    }
    if( !c->usable ) return SQLITE_CONSTRAINT;
    at[arg] = i;
  }
  for(n=0; n<def->n_arg && at[n]>=0; n++){
    info->aConstraintUsage[at[n]].argvIndex = n + 1;
    info->aConstraintUsage[at[n]].omit = 1;
  }
  if( n<def->n_arg_min ){
    sqlite3_free(vtab->zErrMsg);
    vtab->zErrMsg = sqlite3_mprintf("%s() needs %d argument%s", def->name,
        def->n_arg_min, def->n_arg_min>1 ? "s" : "");
    return SQLITE_ERROR;
  }
  info->idxNum = n;
  info->estimatedCost = 100;
  info->estimatedRows = 20;
  return SQLITE_OK;
}

static int rows_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **out){
  struct sql_rows *r = sqlite3_malloc(sizeof(*r));
  (void)vtab;
  if( r==NULL ) return SQLITE_NOMEM;
  memset(r, 0, sizeof(*r));
  *out = &r->base;
  return SQLITE_OK;
}

static int rows_close(sqlite3_vtab_cursor *cur){
  struct sql_rows *r = (struct sql_rows*)cur;
  rows_clear(r);
  sqlite3_free(r->cells);
  sqlite3_free(r);
  return SQLITE_OK;
}

static int rows_filter(sqlite3_vtab_cursor *cur, int idx_num,
                       const char *idx_str, int argc, sqlite3_value **argv){
  struct sql_rows *r = (struct sql_rows*)cur;
  char *err = NULL;
  int i, rc;

  (void)idx_str; (void)idx_num;
  rows_clear(r);
  for(i=0; i<argc && i<8; i++){
    r->args[i] = sqlite3_value_dup(argv[i]);
    if( r->args[i]==NULL ) return SQLITE_NOMEM;
  }
  rc = rows_def_of(r)->fill(r, argc, argv, &err);
  if( rc!=SQLITE_OK ){
    sqlite3_free(cur->pVtab->zErrMsg);
    cur->pVtab->zErrMsg = err;
  }
  return rc;
}

static int rows_next(sqlite3_vtab_cursor *cur){
  ((struct sql_rows*)cur)->i++;
  return SQLITE_OK;
}

static int rows_eof(sqlite3_vtab_cursor *cur){
  struct sql_rows *r = (struct sql_rows*)cur;
  return r->i>=r->n_row;
}

static int rows_column(sqlite3_vtab_cursor *cur, sqlite3_context *ctx, int i){
  struct sql_rows *r = (struct sql_rows*)cur;
  const struct rows_def *def = rows_def_of(r);
  const struct cell *c;

  if( i>=def->n_out ){
    if( i - def->n_out<8 && r->args[i - def->n_out] ){
      sqlite3_result_value(ctx, r->args[i - def->n_out]);
    }
    return SQLITE_OK;
  }
  c = &r->cells[r->i*(size_t)def->n_out + (size_t)i];
  if( c->v ){
    sqlite3_result_value(ctx, c->v);
  }else if( c->z ){
    sqlite3_result_text(ctx, c->z, -1, SQLITE_TRANSIENT);
  }else if( c->is_real ){
    sqlite3_result_double(ctx, c->x);
  }else if( c->is_int ){
    sqlite3_result_int64(ctx, c->n);
  }
  return SQLITE_OK;
}

static int rows_rowid(sqlite3_vtab_cursor *cur, sqlite3_int64 *rowid){
  *rowid = (sqlite3_int64)((struct sql_rows*)cur)->i;
  return SQLITE_OK;
}

static const sqlite3_module rows_module = {
  .iVersion = 0,
  .xConnect = rows_connect,
  .xBestIndex = rows_best_index,
  .xDisconnect = rows_disconnect,
  .xOpen = rows_open,
  .xClose = rows_close,
  .xFilter = rows_filter,
  .xNext = rows_next,
  .xEof = rows_eof,
  .xColumn = rows_column,
  .xRowid = rows_rowid,
};

int vdb_rows_register(struct sql_state *st){
  int i, rc = SQLITE_OK;
  for(i=0; vdb_rows_defs[i] && rc==SQLITE_OK; i++){
    rc = vdb_register_module(st, vdb_rows_defs[i]->name, &rows_module);
  }
  return rc;
}
