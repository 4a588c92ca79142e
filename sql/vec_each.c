/* vec_each.c -- SELECT rowid, value FROM vec_each(vector).
**
** One row per element, in order, rowid from 0. Bits come least significant
** first, as vec_to_json prints them.
*/
#include "sql/vtab_int.h"

enum { EACH_VALUE, EACH_VECTOR };

struct each_cursor {
  sqlite3_vtab_cursor base;
  sqlite3_value *arg;         /* keeps the bytes of v alive */
  struct sql_vec v;
  size_t i;                   /* current element */
};

static int each_connect(sqlite3 *db, void *aux, int argc,
                        const char *const *argv, sqlite3_vtab **out,
                        char **err){
  int rc = sqlite3_declare_vtab(db, "CREATE TABLE x(value, vector HIDDEN)");
  (void)aux; (void)argc; (void)argv; (void)err;
  if( rc!=SQLITE_OK ) return rc;
  *out = sqlite3_malloc(sizeof(**out));
  if( *out==NULL ) return SQLITE_NOMEM;
  memset(*out, 0, sizeof(**out));
  sqlite3_vtab_config(db, SQLITE_VTAB_INNOCUOUS);
  return SQLITE_OK;
}

static int each_disconnect(sqlite3_vtab *vtab){
  sqlite3_free(vtab);
  return SQLITE_OK;
}

static int each_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info){
  int i;
  for(i=0; i<info->nConstraint; i++){
    const struct sqlite3_index_constraint *c = &info->aConstraint[i];
    if( c->iColumn!=EACH_VECTOR || c->op!=SQLITE_INDEX_CONSTRAINT_EQ ) continue;
    if( !c->usable ) return SQLITE_CONSTRAINT;
    info->aConstraintUsage[i].argvIndex = 1;
    info->aConstraintUsage[i].omit = 1;
    info->estimatedCost = 100;
    info->estimatedRows = 100;
    return SQLITE_OK;
  }
  vtab->zErrMsg = sqlite3_mprintf("vec_each() needs a vector");
  return SQLITE_ERROR;
}

static int each_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **out){
  struct each_cursor *c = sqlite3_malloc(sizeof(*c));
  (void)vtab;
  if( c==NULL ) return SQLITE_NOMEM;
  memset(c, 0, sizeof(*c));
  *out = &c->base;
  return SQLITE_OK;
}

static void each_clear(struct each_cursor *c){
  vdb_vec_clear(&c->v);
  sqlite3_value_free(c->arg);
  c->arg = NULL;
  c->i = 0;
}

static int each_close(sqlite3_vtab_cursor *cur){
  each_clear((struct each_cursor*)cur);
  sqlite3_free(cur);
  return SQLITE_OK;
}

static int each_filter(sqlite3_vtab_cursor *cur, int idx_num,
                       const char *idx_str, int argc, sqlite3_value **argv){
  struct each_cursor *c = (struct each_cursor*)cur;
  char *err = NULL;
  int rc;

  (void)idx_num; (void)idx_str; (void)argc;
  each_clear(c);
  c->arg = sqlite3_value_dup(argv[0]);
  if( c->arg==NULL ) return SQLITE_NOMEM;
  rc = vdb_vec_read(c->arg, 0, &c->v, &err);
  if( rc!=SQLITE_OK ){
    sqlite3_free(cur->pVtab->zErrMsg);
    cur->pVtab->zErrMsg = err;
  }
  return rc;
}

static int each_next(sqlite3_vtab_cursor *cur){
  ((struct each_cursor*)cur)->i++;
  return SQLITE_OK;
}

static int each_eof(sqlite3_vtab_cursor *cur){
  struct each_cursor *c = (struct each_cursor*)cur;
  return c->i>=c->v.n_dim;
}

static int each_column(sqlite3_vtab_cursor *cur, sqlite3_context *ctx, int i){
  struct each_cursor *c = (struct each_cursor*)cur;
  if( i==EACH_VECTOR ){
    sqlite3_result_value(ctx, c->arg);
  }else if( c->v.element==VECDB_F32 || c->v.element==VECDB_F16
         || c->v.element==VECDB_BF16 ){
    sqlite3_result_double(ctx, vdb_vec_at(&c->v, c->i));
  }else{
    sqlite3_result_int(ctx, (int)vdb_vec_at(&c->v, c->i));
  }
  return SQLITE_OK;
}

static int each_rowid(sqlite3_vtab_cursor *cur, sqlite3_int64 *rowid){
  *rowid = (sqlite3_int64)((struct each_cursor*)cur)->i;
  return SQLITE_OK;
}

const sqlite3_module vdb_vec_each_module = {
  .iVersion = 0,
  .xConnect = each_connect,
  .xBestIndex = each_best_index,
  .xDisconnect = each_disconnect,
  .xOpen = each_open,
  .xClose = each_close,
  .xFilter = each_filter,
  .xNext = each_next,
  .xEof = each_eof,
  .xColumn = each_column,
  .xRowid = each_rowid,
};
