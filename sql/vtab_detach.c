/* vtab_detach.c -- tables whose DROP keeps the collection.
**
** The command 'detach' is a part of its transaction and outlives the
** connection: an ordinary table of the host remembers the name,
**
**   vecdb_detached(name PRIMARY KEY)
**
** which exists once somebody ran the command. DROP takes the name out, RENAME
** changes it; both are rolled back with everything else.
*/
#include "sql/vtab_int.h"

static int table_exists(const struct sql_table *t){
  return sqlite3_table_column_metadata(t->st->db, t->schema, "vecdb_detached",
             "name", NULL, NULL, NULL, NULL, NULL)==SQLITE_OK;
}

/* Run sql (freed here) with names bound to ?1 and ?2; *changed (may be NULL)
** is the number of rows it changed. */
static int detach_run(struct sql_table *t, char *sql, const char *name,
                      const char *name_to, int *changed){
  sqlite3 *db = t->st->db;
  sqlite3_stmt *s = NULL;
  int rc = sql ? sqlite3_prepare_v2(db, sql, -1, &s, NULL) : SQLITE_NOMEM;

  sqlite3_free(sql);
  if( rc==SQLITE_OK && name ){
    sqlite3_bind_text(s, 1, name, -1, SQLITE_STATIC);
    if( name_to ) sqlite3_bind_text(s, 2, name_to, -1, SQLITE_STATIC);
  }
  if( rc==SQLITE_OK ){
    sqlite3_step(s);
    rc = sqlite3_finalize(s);
    if( changed ) *changed = sqlite3_changes(db);
  }
  if( rc==SQLITE_OK ) return rc;
  return vdb_table_set_error(t, rc, sqlite3_mprintf(
      "cannot write table \"vecdb_detached\": %s", sqlite3_errmsg(db)));
}

int vdb_table_detach(struct sql_table *t){
  int rc = SQLITE_OK;
  if( !table_exists(t) ){
    SQL_TRY( detach_run(t, sqlite3_mprintf(
        "CREATE TABLE \"%w\".vecdb_detached(name TEXT PRIMARY KEY COLLATE "
        "NOCASE) WITHOUT ROWID", t->schema), NULL, NULL, NULL) );
  }
  rc = detach_run(t, sqlite3_mprintf("INSERT OR IGNORE INTO "
      "\"%w\".vecdb_detached VALUES(?1)", t->schema), t->name, NULL, NULL);
done:
  return rc;
}

int vdb_detach_take(struct sql_table *t, int *was_detached){
  *was_detached = 0;
  if( !table_exists(t) ) return SQLITE_OK;
  return detach_run(t, sqlite3_mprintf("DELETE FROM \"%w\".vecdb_detached "
      "WHERE name=?1", t->schema), t->name, NULL, was_detached);
}

int vdb_detach_rename(struct sql_table *t, const char *name_to){
  if( !table_exists(t) ) return SQLITE_OK;
  return detach_run(t, sqlite3_mprintf("UPDATE \"%w\".vecdb_detached "
      "SET name=?2 WHERE name=?1", t->schema), t->name, name_to, NULL);
}
