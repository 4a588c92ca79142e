/* cmd_copy.c -- whole files: attach, save, restore, recover, resolve. */
#include "shell/cmd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- .attach, .detach, .databases ---------------------------------------- */

bool cmd_attach(struct shell *sh, int argc, char **argv){
  const char *name = argc==4 ? argv[3] : argv[2];
  if( argc!=4 && argc!=3 ) return false;
  if( argc==4 && sqlite3_stricmp(argv[2], "as")!=0 ) return false;
  if( !cmd_allowed(sh, ".attach") ) return true;
  shell_attach(sh, argv[1], name);
  return true;
}

bool cmd_detach(struct shell *sh, int argc, char **argv){
  char *z;
  if( argc!=2 ) return false;
  z = sqlite3_mprintf("DETACH \"%w\"", argv[1]);
  if( z ) cmd_query(sh, z, NULL);
  sqlite3_free(z);
  return true;
}

/* The .vdb behind a schema: of its first vector table; freed by the caller. */
static char *schema_vdb(struct shell *sh, const char *schema){
  char *z = sqlite3_mprintf("SELECT (SELECT value FROM vecdb_stats(%Q||'.'||"
      "name) WHERE key='file') FROM \"%w\".sqlite_schema WHERE sql LIKE "
      "'CREATE VIRTUAL TABLE%%USING vec%%' LIMIT 1", schema, schema);
  sqlite3_stmt *st = NULL;
  char *out = NULL;
  if( z && sqlite3_prepare_v2(sh->sql, z, -1, &st, NULL)==SQLITE_OK
   && sqlite3_step(st)==SQLITE_ROW && sqlite3_column_text(st, 0) ){
    out = sqlite3_mprintf("%s", sqlite3_column_text(st, 0));
  }
  sqlite3_finalize(st);
  sqlite3_free(z);
  return out;
}

bool cmd_databases(struct shell *sh, int argc, char **argv){
  sqlite3_stmt *st = NULL;
  (void)argv;
  if( argc!=1 ) return false;
  sqlite3_prepare_v2(sh->sql, "SELECT name, file FROM pragma_database_list "
                     "WHERE name<>'temp' ORDER BY seq", -1, &st, NULL);
  while( st && sqlite3_step(st)==SQLITE_ROW ){
    const char *name = (const char*)sqlite3_column_text(st, 0);
    const char *file = (const char*)sqlite3_column_text(st, 1);
    bool is_main = strcmp(name, "main")==0;
    char *vdb = file && file[0] ? NULL : is_main
              ? sqlite3_mprintf("%s", sh->path) : schema_vdb(sh, name);
    fprintf(sh->out, "%s: %s%s%s\n", name,
            vdb ? vdb : file && file[0] ? file : "(memory)",
            !vdb && file && file[0] ? " (SQLite)" : "",
            is_main && sh->is_temp ? " (temporary)"
            : sh->open_flags & VECDB_OPEN_READONLY ? " (read-only)" : "");
    sqlite3_free(vdb);
  }
  sqlite3_finalize(st);
  return true;
}

/* ---- .save, .restore ----------------------------------------------------- */

/* A copy that a temporary database goes on in. */
bool cmd_save(struct shell *sh, int argc, char **argv){
  bool was_temp = sh->is_temp;
  if( argc!=2 ) return false;
  if( was_temp && sh->sql && !sqlite3_get_autocommit(sh->sql) ){
    shell_error(sh, EXIT_SQL, "cannot save inside a transaction; COMMIT or "
                "ROLLBACK first");
    return true;
  }
  if( !cmd_backup_to(sh, argv[1], "saved") || !was_temp ) return true;
  if( shell_open(sh, argv[1])!=VECDB_OK ) sh->quit = true;
  return true;
}

static bool file_exists(const char *path, const char *suffix){
  char *z = sqlite3_mprintf("%s%s", path, suffix);
  struct stat s;
  bool yes = z && stat(z, &s)==0;
  sqlite3_free(z);
  return yes;
}

/* A checked copy of `from` at `to`; false after saying why not. */
static bool copy_checked(struct shell *sh, const char *from, const char *to){
  vecdb *db = NULL;
  int rc = vecdb_open(from, VECDB_OPEN_READONLY, NULL, &db);
  if( rc==VECDB_OK ) rc = vecdb_backup(db, to);
  if( rc!=VECDB_OK ){
    shell_error(sh, shell_exit_of_vecdb(rc), "%s",
                db ? vecdb_errmsg(db) : vecdb_errstr(rc));
  }
  vecdb_close(db);
  return rc==VECDB_OK;
}

/* Put the copy in the place of our file, which nobody else may have open:
** then it has no log beside it. */
static bool replace_file(struct shell *sh, const char *copy, const char *path){
  if( file_exists(path, "-wal") ){
    shell_error(sh, EXIT_BUSY, "cannot restore \"%s\": others have it open, or "
                "a transaction in it is in doubt", path);
    return false;
  }
  if( rename(copy, path)==0 ) return true;
  shell_error(sh, EXIT_SQL, "cannot restore \"%s\": %s", path,
              strerror(errno));
  return false;
}

bool cmd_restore(struct shell *sh, int argc, char **argv){
  char *copy, *path;
  bool done = false;
  if( argc!=2 ) return false;
  if( !cmd_allowed(sh, ".restore") || !cmd_needs_vdb(sh, "restore") ){
    return true;
  }
  if( sh->is_temp || (sh->open_flags & VECDB_OPEN_READONLY)
   || !sqlite3_get_autocommit(sh->sql) ){
    shell_error(sh, EXIT_SQL, "cannot restore %s", sh->is_temp
        ? "a temporary database; .open the file to restore"
        : sh->open_flags & VECDB_OPEN_READONLY ? "what is open for reading only"
        : "inside a transaction; COMMIT or ROLLBACK first");
    return true;
  }
  path = sqlite3_mprintf("%s", sh->path);
  copy = sqlite3_mprintf("%s-restore", sh->path);
  if( path && copy && copy_checked(sh, argv[1], copy) ){
    shell_close(sh);
    done = replace_file(sh, copy, path);
    if( shell_open(sh, path)!=VECDB_OK ) sh->quit = true;
  }
  if( done ) fprintf(sh->out, "restored from \"%s\"\n", argv[1]);
  else if( copy ) unlink(copy);
  sqlite3_free(copy);
  sqlite3_free(path);
  return true;
}

/* ---- .resolve ------------------------------------------------------------ */

/* What is in doubt, in words. */
static bool doubt_print(struct shell *sh){
  uint64_t token = 0, newest = 0, firm = 0;
  int in_doubt = 0, undoable = 0;
  vecdb_in_doubt(sh->db, &in_doubt, NULL, &token);
  vecdb_undoable(sh->db, &undoable, NULL, &newest, &firm);
  if( in_doubt ){
    fprintf(sh->out, "transaction %" PRIu64 " of a SQLite database is prepared "
            "and not decided: whoever made it has died\n", token);
  }
  if( undoable ){
    fprintf(sh->out, "commits %" PRIu64 " to %" PRIu64 " of a SQLite database "
            "may have been lost there\n", firm+1, newest);
  }
  if( !in_doubt && !undoable ) fputs("nothing is in doubt\n", sh->out);
  else fputs("open that database to settle it, or give commit or rollback\n",
             sh->out);
  return in_doubt || undoable;
}

/* The SQL handle lets go of the file: taking back needs to be alone. */
static int doubt_settle(struct shell *sh, bool commit){
  uint64_t newest = 0, firm = 0;
  int in_doubt = 0, undoable = 0;
  int rc = vecdb_in_doubt(sh->db, &in_doubt, NULL, NULL);
  if( rc==VECDB_OK && in_doubt ) rc = vecdb_decide(sh->db, commit);
  if( rc==VECDB_OK ){
    rc = vecdb_undoable(sh->db, &undoable, NULL, &newest, &firm);
  }
  if( rc==VECDB_OK && undoable ){
    rc = vecdb_rewind(sh->db, commit ? newest : firm, newest);
    if( rc==VECDB_OK ){
      rc = vecdb_checkpoint(sh->db, VECDB_CHECKPOINT_FULL, NULL, NULL);
    }
  }
  return rc;
}

bool cmd_resolve(struct shell *sh, int argc, char **argv){
  bool commit = argc==2 && strcmp(argv[1], "commit")==0;
  int rc;
  if( argc>2 || (argc==2 && !commit && strcmp(argv[1], "rollback")!=0) ){
    return false;
  }
  if( !cmd_needs_vdb(sh, "resolve") ) return true;
  if( argc==1 ){
    doubt_print(sh);
    return true;
  }
  if( !sqlite3_get_autocommit(sh->sql) ){
    shell_error(sh, EXIT_SQL, "cannot resolve inside a transaction");
    return true;
  }
  sqlite3_close_v2(sh->sql);
  sh->sql = NULL;
  rc = doubt_settle(sh, commit);
  if( rc!=VECDB_OK ) cmd_vecdb_error(sh, rc);
  else fputs(commit ? "committed\n" : "rolled back\n", sh->out);
  if( shell_reopen_sql(sh)!=VECDB_OK ) sh->quit = true;
  return true;
}
