/* cmd_host.c -- the same commands when the file is a SQLite database: its
** vector tables are reached through SQL alone. */
#include "shell/cmd.h"

#include <string.h>

#define VECTOR_TABLES \
  "FROM sqlite_schema m WHERE m.type='table' AND " \
  "m.sql LIKE 'CREATE VIRTUAL TABLE%USING vec%'"

bool cmd_needs_vdb(struct shell *sh, const char *what){
  if( sh->db!=NULL ) return true;
  shell_error(sh, EXIT_SQL, "cannot %s \"%s\": it is a SQLite database; open "
              "the .vdb of the table, or use SQL", what, sh->path);
  return false;
}

void host_collections(struct shell *sh){
  cmd_query(sh, "SELECT m.name AS \"table\", (SELECT value FROM "
    "vecdb_stats(m.name) WHERE key='rows') AS \"rows\", x.name AS \"column\", "
    "replace(x.type,' BLOB','') AS type "
    "FROM sqlite_schema m, pragma_table_info(m.name) x WHERE m.type='table' "
    "AND m.sql LIKE 'CREATE VIRTUAL TABLE%USING vec%' "
    "AND x.type LIKE '%[%] BLOB' ORDER BY 1, x.cid", NULL);
}

void host_schema(struct shell *sh, const char *only){
  sqlite3_stmt *st = NULL;
  int n = 0;
  sqlite3_prepare_v2(sh->sql, "SELECT sql FROM sqlite_schema WHERE sql IS NOT "
      "NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND (?1 IS NULL OR "
      "tbl_name=?1 COLLATE NOCASE) AND name NOT IN (SELECT name FROM "
      "pragma_table_list WHERE type='shadow')", -1, &st, NULL);
  if( only && st ) sqlite3_bind_text(st, 1, only, -1, SQLITE_TRANSIENT);
  for(; st && sqlite3_step(st)==SQLITE_ROW; n++){
    fprintf(sh->out, "%s;\n", sqlite3_column_text(st, 0));
  }
  sqlite3_finalize(st);
  if( n==0 && only ){
    shell_error(sh, EXIT_SQL, "no table \"%s\"; .tables lists them", only);
  }
}

void host_stat(struct shell *sh, const char *table){
  if( table ){
    cmd_query(sh, "SELECT key, value FROM vecdb_stats(?1) UNION ALL SELECT "
      "'recall of '||\"column\", printf('%g (%g to %g) at k %d, %s, %d changes "
      "ago', recall, lower, upper, k, date(max(at),'unixepoch'), changes) "
      "FROM vecdb_audits(?1) GROUP BY \"column\"", table);
    return;
  }
  cmd_query(sh, "SELECT 'page size' AS key, page_size AS value FROM "
    "pragma_page_size UNION ALL SELECT 'pages', page_count FROM "
    "pragma_page_count UNION ALL SELECT 'free pages', freelist_count FROM "
    "pragma_freelist_count UNION ALL SELECT 'journal mode', journal_mode FROM "
    "pragma_journal_mode UNION ALL SELECT 'vector tables', count(*) "
    VECTOR_TABLES, NULL);
}

/* Findings of SQLite, then those of each .vdb. */
void host_check(struct shell *sh, bool quick){
  static const char findings[] =
    "SELECT integrity_check AS finding FROM pragma_integrity_check "
    "WHERE integrity_check<>'ok' UNION ALL SELECT m.name||': '||c.severity||"
    "' '||c.object||': '||c.message FROM sqlite_schema m, "
    "vecdb_check(m.name, ?1) c WHERE m.type='table' AND m.sql LIKE "
    "'CREATE VIRTUAL TABLE%USING vec%' AND c.severity='damage'";
  sqlite3_stmt *st = NULL;
  int n = 0, rc = sqlite3_prepare_v2(sh->sql, findings, -1, &st, NULL);
  if( st && quick ) sqlite3_bind_text(st, 1, "quick", -1, SQLITE_STATIC);
  for(; st && (rc = sqlite3_step(st))==SQLITE_ROW; n++){
    fprintf(sh->out, "DAMAGE %s\n", sqlite3_column_text(st, 0));
  }
  sqlite3_finalize(st);
  if( rc!=SQLITE_DONE ){
    shell_error(sh, shell_exit_of_sqlite(rc), "%s", sqlite3_errmsg(sh->sql));
  }else if( n>0 ){
    shell_error(sh, EXIT_CORRUPT, "%d damaged object%s in \"%s\"", n,
                n==1 ? "" : "s", sh->path);
  }else{
    fputs("ok\n", sh->out);
  }
}

bool host_backup(struct shell *sh, const char *path){
  sqlite3 *to = NULL;
  sqlite3_backup *b = NULL;
  int rc = sqlite3_open(path, &to);
  if( rc==SQLITE_OK ) b = sqlite3_backup_init(to, "main", sh->sql, "main");
  if( b ){
    while( (rc = sqlite3_backup_step(b, 1000))==SQLITE_OK
        && !sh->interrupted ){}
    sqlite3_backup_finish(b);
  }
  if( rc!=SQLITE_DONE ){
    shell_error(sh, shell_exit_of_sqlite(rc), "%s", sqlite3_errmsg(to));
  }
  sqlite3_close(to);
  return rc==SQLITE_DONE;
}

/* Run a command of one vector table, or of all of them. */
void host_command(struct shell *sh, const char *table, const char *command){
  sqlite3_stmt *st = NULL;
  int n = 0;
  sqlite3_prepare_v2(sh->sql, "SELECT m.name " VECTOR_TABLES
      " AND (?1 IS NULL OR m.name=?1 COLLATE NOCASE)", -1, &st, NULL);
  if( st && table ) sqlite3_bind_text(st, 1, table, -1, SQLITE_TRANSIENT);
  for(; st && sqlite3_step(st)==SQLITE_ROW; n++){
    const char *name = (const char*)sqlite3_column_text(st, 0);
    char *z = sqlite3_mprintf("INSERT INTO \"%w\"(\"%w\") VALUES(?1)", name,
                              name);
    if( z ) cmd_query(sh, z, command);
    sqlite3_free(z);
  }
  sqlite3_finalize(st);
  if( table && n==0 ){
    shell_error(sh, EXIT_SQL, "no table of vectors \"%s\"; .collections lists "
                "them", table);
  }
}
