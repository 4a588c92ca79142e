/* vec0_strict.c -- VECDB_STRICT_VEC0=1: the module vec0 refuses the queries
** that sqlite-vec refuses.
**
** Without it vec0 answers them: it has no such limits. With it a program can be
** tested here that has to run on sqlite-vec as well. Only refusals change, no
** answer does.
*/
#include "sql/vtab_int.h"

#include <stdlib.h>

#define K_MAX 4096

int vdb_vec0_is_strict(void){
  const char *z = getenv("VECDB_STRICT_VEC0");
  return z && strcmp(z, "1")==0;
}

static const char *const illegal_metadata =
    "An illegal WHERE constraint was provided on a vec0 metadata column in a "
    "KNN query. Only one of EQUALS, GREATER_THAN, LESS_THAN_OR_EQUAL, "
    "LESS_THAN, GREATER_THAN_OR_EQUAL, NOT_EQUALS is allowed.";

static int is_comparison(int op){
  return op==SQLITE_INDEX_CONSTRAINT_EQ || op==SQLITE_INDEX_CONSTRAINT_GT
      || op==SQLITE_INDEX_CONSTRAINT_LE || op==SQLITE_INDEX_CONSTRAINT_LT
      || op==SQLITE_INDEX_CONSTRAINT_GE || op==SQLITE_INDEX_CONSTRAINT_NE;
}

/* What is wrong with a comparison of a column; NULL: nothing. */
static const char *column_sentence(const vecdb_column_info *info,
                                   sqlite3_index_info *x, int i){
  int op = x->aConstraint[i].op;
  if( info->role==VECDB_ROLE_AUX ){
    return "An illegal WHERE constraint was provided on a vec0 auxiliary column"
           " in a KNN query.";
  }
  if( info->role!=VECDB_ROLE_META ) return NULL;
  if( info->type==VECDB_BOOLEAN && is_comparison(op)
   && op!=SQLITE_INDEX_CONSTRAINT_EQ && op!=SQLITE_INDEX_CONSTRAINT_NE ){
    return "ONLY EQUALS (=) or NOT_EQUALS (!=) operators are allowed on "
           "boolean metadata columns.";
  }
  if( !is_comparison(op) ) return illegal_metadata;
  if( info->type!=VECDB_INTEGER && info->type!=VECDB_TEXT
   && sqlite3_vtab_in(x, i, -1) ){
    return "'xxx in (...)' is only available on INTEGER or TEXT metadata "
           "columns.";
  }
  return NULL;
}

static const char *order_sentence(const struct sql_table *t,
                                  const sqlite3_index_info *x){
  if( x->nOrderBy>1 ){
    return "Only a single 'ORDER BY distance' clause is allowed on vec0 KNN "
           "queries";
  }
  if( x->nOrderBy==1 && x->aOrderBy[0].desc
   && vdb_table_hidden(t, x->aOrderBy[0].iColumn)==HID_DISTANCE ){
    return "Only ascending in ORDER BY distance clause is supported, DESC is "
           "not supported yet.";
  }
  return NULL;
}

int vdb_vec0_strict_plan(struct sql_table *t, sqlite3_index_info *x){
  const char *z = NULL;
  int i, n_match = 0, n_k = 0, n_limit = 0;

  for(i=0; i<x->nConstraint && z==NULL; i++){
    const struct sqlite3_index_constraint *c = &x->aConstraint[i];
    if( !c->usable ) continue;
    if( c->op==SQLITE_INDEX_CONSTRAINT_MATCH ) n_match++;
    else if( c->op==SQLITE_INDEX_CONSTRAINT_LIMIT ) n_limit++;
    else if( c->op==SQLITE_INDEX_CONSTRAINT_EQ
          && vdb_table_hidden(t, c->iColumn)==HID_K ) n_k++;
  }
  if( n_match!=1 ) return SQLITE_OK;
  if( n_k==0 && n_limit==0 ){
    z = "A LIMIT or 'k = ?' constraint is required on vec0 knn queries.";
  }else if( n_k && n_limit ){
    z = "Only LIMIT or 'k =?' can be provided, not both";
  }
  if( z==NULL ) z = order_sentence(t, x);
  for(i=0; i<x->nConstraint && z==NULL; i++){
    int col = x->aConstraint[i].iColumn;
    if( !x->aConstraint[i].usable || col<1 || col>=t->n_col
     || x->aConstraint[i].op==SQLITE_INDEX_CONSTRAINT_LIMIT
     || x->aConstraint[i].op==SQLITE_INDEX_CONSTRAINT_OFFSET ) continue;
    z = column_sentence(&t->cols[col].info, x, i);
  }
  if( z==NULL ) return SQLITE_OK;
  return vdb_table_set_error(t, SQLITE_ERROR, vdb_sql_strdup(z));
}

int vdb_vec0_strict_k(struct sql_table *t, sqlite3_int64 k){
  if( k<=K_MAX ) return SQLITE_OK;
  return vdb_table_set_error(t, SQLITE_ERROR, sqlite3_mprintf(
      "k value in knn query too large, provided %lld and the limit is %d", k,
      K_MAX));
}
