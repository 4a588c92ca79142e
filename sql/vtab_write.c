/* vtab_write.c -- xUpdate: INSERT, UPDATE, DELETE and commands.
**
** Every row is one engine statement inside the transaction that xBegin opened;
** one that fails leaves nothing behind. Statements are prepared once per table
** and keep no bindings between rows, so values can be bound without copying.
**
** CONFLICTS  A constraint that fails is reported before anything changes, so
**            SQLite can apply ON CONFLICT itself. It looks for the plain code
**            SQLITE_CONSTRAINT when the mode is not ABORT; otherwise callers
**            get the extended one.
*/
#include "sql/vtab_int.h"

/* ---- Errors ------------------------------------------------------------- */

/* The code for a failed row under its conflict mode. */
static int conflict_code(struct sql_table *t, int rc){
  int mode = sqlite3_vtab_on_conflict(t->st->db);
  if( (rc & 0xff)!=SQLITE_CONSTRAINT || mode==SQLITE_ABORT ) return rc;
  if( mode==SQLITE_IGNORE && rc==SQLITE_CONSTRAINT_DATATYPE ) return rc;
  return SQLITE_CONSTRAINT;
}

static int write_failed(struct sql_table *t, int engine_rc){
  int rc = vdb_table_error(t, engine_rc);
  if( t->is_vec0 && rc==SQLITE_CONSTRAINT_PRIMARYKEY ){
    vdb_table_set_error(t, rc, sqlite3_mprintf(
        "UNIQUE constraint failed on %s primary key", t->name));
  }
  return conflict_code(t, rc);
}

static int hidden_error(struct sql_table *t, int hid){
  const char *name = hid==HID_DISTANCE ? "distance" : hid==HID_K ? "k"
                   : "hint";
  if( t->is_vec0 && hid!=HID_TABLE ){
    return vdb_table_set_error(t, SQLITE_ERROR, sqlite3_mprintf(
        "A value was provided for the hidden \"%s\" column.", name));
  }
  return vdb_table_set_error(t, SQLITE_ERROR, sqlite3_mprintf(
      "cannot write the hidden column of table \"%s\" that %s", t->name,
      hid==HID_TABLE ? "takes commands; use INSERT" :
      hid==HID_DISTANCE ? "shows the distance" : "tunes a search"));
}

/* ---- Values ------------------------------------------------------------- */

/* 1.0 is an integer to an INTEGER column and 1 a real to a REAL one. */
static int bind_plain(struct sql_table *t, vecdb_stmt *s, int i,
                      sqlite3_value *v){
  const vecdb_column_info *info = &t->cols[i].info;
  int64_t n;
  if( info->type==VECDB_INTEGER && sqlite3_value_type(v)==SQLITE_FLOAT
   && vdb_key_int(v, &n) ){
    return vecdb_bind_int64(s, i, n);
  }
  if( info->type==VECDB_REAL && sqlite3_value_type(v)==SQLITE_INTEGER ){
    return vecdb_bind_double(s, i, sqlite3_value_double(v));
  }
  return vdb_bind_value(s, i, v);
}

static int bind_column(struct sql_table *t, vecdb_stmt *s, int i,
                       const char *what, sqlite3_value *v){
  int rc;
  if( t->cols[i].info.role!=VECDB_ROLE_VECTOR ){
    char *words = t->is_vec0 ? vdb_vec0_value_sentence(&t->cols[i], v) : NULL;
    if( words ){
      return vdb_table_set_error(t, t->cols[i].info.role==VECDB_ROLE_AUX
                                 ? SQLITE_CONSTRAINT : SQLITE_ERROR, words);
    }
    rc = bind_plain(t, s, i, v);
    return rc==VECDB_OK ? SQLITE_OK : write_failed(t, rc);
  }
  if( sqlite3_value_type(v)==SQLITE_NULL && !t->is_vec0 ){
    vdb_table_set_error(t, SQLITE_CONSTRAINT_NOTNULL, sqlite3_mprintf(
        "vector column \"%w\" of table \"%s\" must not be NULL",
        t->cols[i].name, t->name));
    return sqlite3_vtab_on_conflict(t->st->db)==SQLITE_ABORT
           ? SQLITE_CONSTRAINT_NOTNULL : SQLITE_CONSTRAINT;
  }
  return vdb_bind_vector_value(t, s, i, i, what, v, VECDB_STATIC);
}

/* A key that a row is to be given. */
static int bind_new_key(struct sql_table *t, vecdb_stmt *s, sqlite3_value *v){
  int type = sqlite3_value_type(v), can_match = 0;
  if( type==SQLITE_NULL && !t->has_text_key ) return SQLITE_OK;
  if( t->has_text_key ? type!=SQLITE_TEXT : type!=SQLITE_INTEGER ){
    if( t->is_vec0 ){
      return vdb_table_set_error(t, SQLITE_ERROR, sqlite3_mprintf(
          t->has_text_key ? "The %s virtual table was declared with a TEXT "
          "primary key, but a non-TEXT value was provided in an INSERT."
          : "Only integers are allows for primary key values on %s", t->name));
    }
    return vdb_table_set_error(t, SQLITE_ERROR, sqlite3_mprintf(
        "key \"%w\" of table \"%s\" must be %s, found %s", t->cols[0].name,
        t->name, t->has_text_key ? "TEXT" : "an INTEGER",
        vdb_value_type_name(v)));
  }
  return vdb_key_bind(t, s, 0, v, &can_match);
}

/* Run a bound statement and leave it without bindings. */
static int run_statement(struct sql_table *t, vecdb_stmt *s, int *found){
  int rc = vecdb_step(s), sql_rc = SQLITE_OK;
  *found = rc!=VECDB_NOTFOUND;
  if( rc==VECDB_DONE ){
    vdb_conn_changed(t->conn);
  }else if( rc!=VECDB_NOTFOUND ){
    sql_rc = write_failed(t, rc);
  }
  vecdb_reset(s);
  vecdb_clear_bindings(s);
  return sql_rc;
}

/* ---- Insert ------------------------------------------------------------- */

/* UPDATE .. FROM hands over all columns as read, also those it does not set;
** a plain UPDATE marks them. */
static int is_update_from(struct sql_table *t, sqlite3_value **col){
  int i;
  for(i=0; i<t->n_col + t->n_hidden; i++){
    if( sqlite3_value_nochange(col[i]) ) return 0;
  }
  return 1;
}

static int check_hidden(struct sql_table *t, sqlite3_value **col,
                        int is_update){
  int i;
  if( is_update && is_update_from(t, col) ) return SQLITE_OK;
  for(i=0; i<t->n_hidden; i++){
    sqlite3_value *v = col[t->n_col + i];
    if( is_update ? sqlite3_value_nochange(v)
                  : sqlite3_value_type(v)==SQLITE_NULL ){
      continue;
    }
    return hidden_error(t, t->hidden[i]);
  }
  return SQLITE_OK;
}

static int row_insert(struct sql_table *t, sqlite3_value *key_given,
                      sqlite3_value **col, sqlite3_int64 *rowid){
  int is_replace = sqlite3_vtab_on_conflict(t->st->db)==SQLITE_REPLACE;
  vecdb_stmt *s;
  int i, rc = SQLITE_OK, found;

  SQL_TRY( check_hidden(t, col, 0) );
  if( t->insert[is_replace]==NULL ){
    rc = vecdb_prepare_insert(t->coll, is_replace ? VECDB_OR_REPLACE : 0,
                              &t->insert[is_replace]);
    if( rc!=VECDB_OK ) return vdb_table_error(t, rc);
  }
  s = t->insert[is_replace];
  if( sqlite3_value_type(col[0])!=SQLITE_NULL || t->has_text_key ){
    key_given = col[0];
  }
  rc = bind_new_key(t, s, key_given);
  for(i=1; i<t->n_col && rc==SQLITE_OK; i++){
    rc = bind_column(t, s, i, "inserted", col[i]);
  }
  if( rc!=SQLITE_OK ){
    vecdb_clear_bindings(s);
    goto done;
  }
  rc = run_statement(t, s, &found);
  if( rc==SQLITE_OK && !t->has_text_key ){
    *rowid = vecdb_last_key(t->conn->eng);
  }
done:
  return rc;
}

/* ---- Delete ------------------------------------------------------------- */

static int row_delete(struct sql_table *t, sqlite3_value *key){
  int rc = SQLITE_OK, can_match = 0, found;
  if( t->remove==NULL ){
    rc = vecdb_prepare_delete(t->coll, &t->remove);
    if( rc!=VECDB_OK ) return vdb_table_error(t, rc);
  }
  rc = vdb_key_bind(t, t->remove, VECDB_KEY, key, &can_match);
  if( rc!=SQLITE_OK || !can_match ) return rc;
  return run_statement(t, t->remove, &found);
}

/* ---- Update ------------------------------------------------------------- */

static int same_key(struct sql_table *t, sqlite3_value *a, sqlite3_value *b){
  const char *x, *y;
  if( sqlite3_value_type(a)!=sqlite3_value_type(b) ) return 0;
  if( !t->has_text_key ){
    return sqlite3_value_int64(a)==sqlite3_value_int64(b);
  }
  x = (const char*)sqlite3_value_text(a);
  y = (const char*)sqlite3_value_text(b);
  return x && y && strcmp(x, y)==0;
}

/* The key the row moves to, or NULL if it keeps its own. A rowid table has two
** names for it: column 0 and rowid, given apart. */
static sqlite3_value *moved_key(struct sql_table *t, sqlite3_value *old,
                                sqlite3_value *rowid, sqlite3_value *col0){
  if( !sqlite3_value_nochange(col0) && !same_key(t, old, col0) ) return col0;
  if( !sqlite3_value_nochange(rowid) && !same_key(t, old, rowid) ){
    return rowid;
  }
  return NULL;
}

static int row_update(struct sql_table *t, sqlite3_value *old,
                      sqlite3_value *new_rowid, sqlite3_value **col){
  int mode = sqlite3_vtab_on_conflict(t->st->db);
  sqlite3_value *moved;
  int i, rc = SQLITE_OK, n_set = 0, can_match = 0, found;

  SQL_TRY( check_hidden(t, col, 1) );
  if( t->update==NULL ){
    rc = vecdb_prepare_update(t->coll, &t->update);
    if( rc!=VECDB_OK ) return vdb_table_error(t, rc);
  }
  moved = moved_key(t, old, new_rowid, col[0]);
  if( moved ){
    if( sqlite3_value_type(moved)==SQLITE_NULL ){
      rc = vdb_table_set_error(t, SQLITE_CONSTRAINT_NOTNULL, sqlite3_mprintf(
          "key \"%w\" of table \"%s\" must not be NULL", t->cols[0].name,
          t->name));
      goto done;
    }
    if( mode==SQLITE_REPLACE ) SQL_TRY( row_delete(t, moved) );
    SQL_TRY( bind_new_key(t, t->update, moved) );
    n_set++;
  }
  for(i=1; i<t->n_col && rc==SQLITE_OK; i++){
    if( sqlite3_value_nochange(col[i]) ) continue;
    rc = bind_column(t, t->update, i, "updated", col[i]);
    n_set++;
  }
  if( rc==SQLITE_OK ){
    rc = vdb_key_bind(t, t->update, VECDB_KEY, old, &can_match);
  }
  if( rc!=SQLITE_OK || n_set==0 || !can_match ){
    vecdb_clear_bindings(t->update);
    goto done;
  }
  rc = run_statement(t, t->update, &found);
done:
  return rc;
}

int vdb_table_update(sqlite3_vtab *vtab, int argc, sqlite3_value **argv,
                     sqlite3_int64 *rowid){
  struct sql_table *t = (struct sql_table*)vtab;
  int rc = vdb_table_usable(t);
  if( rc==SQLITE_OK ){
    rc = vdb_conn_begin(t->conn, t->schema, &vtab->zErrMsg);
  }
  if( rc!=SQLITE_OK ) return rc;
  if( argc==1 ) return row_delete(t, argv[0]);
  if( sqlite3_value_type(argv[0])==SQLITE_NULL ){
    sqlite3_value **col = argv + 2;
    sqlite3_value *cmd = col[vdb_table_column_of(t, HID_TABLE)];
    if( sqlite3_value_type(cmd)==SQLITE_NULL ){
      return row_insert(t, argv[1], col, rowid);
    }
    *rowid = 0;
    return vdb_table_command(t, cmd, t->is_vec0 ? NULL
                             : col[vdb_table_column_of(t, HID_ARGS)]);
  }
  return row_update(t, argv[0], argv[1], argv + 2);
}
