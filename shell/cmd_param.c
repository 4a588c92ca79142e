/* cmd_param.c -- .parameter: values for the parameters of statements.
**
** They live in a database of their own, so that they outlast .open and
** .vacuum. A value is what its text means as an SQL expression; text that is
** none is a string.
*/
#include "shell/cmd.h"

#include <string.h>

static bool params_open(struct shell *sh){
  if( sh->params ) return true;
  return sqlite3_open(":memory:", &sh->params)==SQLITE_OK
      && sqlite3_exec(sh->params, "CREATE TABLE p(name TEXT PRIMARY KEY, value)"
                      " WITHOUT ROWID", NULL, NULL, NULL)==SQLITE_OK;
}

void shell_bind_parameters(struct shell *sh, sqlite3_stmt *st){
  sqlite3_stmt *get = NULL;
  int n = sqlite3_bind_parameter_count(st);
  if( n==0 || sh->params==NULL ) return;
  sqlite3_prepare_v2(sh->params, "SELECT value FROM p WHERE name=?1", -1, &get,
                     NULL);
  for(int i=1; i<=n && get; i++){
    const char *name = sqlite3_bind_parameter_name(st, i);
    char number[16];
    snprintf(number, sizeof number, "?%d", i);
    sqlite3_bind_text(get, 1, name ? name : number, -1, SQLITE_TRANSIENT);
    if( sqlite3_step(get)==SQLITE_ROW ){
      sqlite3_bind_value(st, i, sqlite3_column_value(get, 0));
    }
    sqlite3_reset(get);
  }
  sqlite3_finalize(get);
}

/* Evaluated where the tables and functions are. */
static bool value_set(struct shell *sh, const char *name, const char *text){
  char *z = sqlite3_mprintf("SELECT %s", text);
  sqlite3_stmt *get = NULL, *put = NULL;
  int rc = z ? sqlite3_prepare_v2(sh->sql, z, -1, &get, NULL) : SQLITE_NOMEM;
  bool is_expr = rc==SQLITE_OK && get && sqlite3_column_count(get)==1
              && sqlite3_step(get)==SQLITE_ROW;
  rc = sqlite3_prepare_v2(sh->params, "REPLACE INTO p VALUES(?1,?2)", -1, &put,
                          NULL);
  if( rc==SQLITE_OK ){
    sqlite3_bind_text(put, 1, name, -1, SQLITE_TRANSIENT);
    if( is_expr ) sqlite3_bind_value(put, 2, sqlite3_column_value(get, 0));
    else sqlite3_bind_text(put, 2, text, -1, SQLITE_TRANSIENT);
    sqlite3_step(put);
    rc = sqlite3_finalize(put);
  }
  sqlite3_finalize(get);
  sqlite3_free(z);
  return rc==SQLITE_OK;
}

static void params_list(struct shell *sh){
  sqlite3_stmt *st = NULL;
  sqlite3_prepare_v2(sh->params, "SELECT name, quote(value) FROM p ORDER BY 1",
                     -1, &st, NULL);
  while( st && sqlite3_step(st)==SQLITE_ROW ){
    fprintf(sh->out, "%-12s %s\n", sqlite3_column_text(st, 0),
            sqlite3_column_text(st, 1));
  }
  sqlite3_finalize(st);
}

static void param_unset(struct shell *sh, const char *name){
  char *z = sqlite3_mprintf("DELETE FROM p WHERE name=%Q", name);
  if( z ) sqlite3_exec(sh->params, z, NULL, NULL, NULL);
  sqlite3_free(z);
  if( sqlite3_changes(sh->params)==0 ){
    shell_error(sh, EXIT_SQL, "no parameter \"%s\" is set", name);
  }
}

/* The text behind "set NAME", as it was written. */
static const char *value_text(const struct shell *sh, const char *name){
  const char *z = strstr(sh->raw_args, name);
  z = z ? z + strlen(name) : "";
  return z + strspn(z, " \t");
}

bool cmd_parameter(struct shell *sh, int argc, char **argv){
  const char *verb = argc>1 ? argv[1] : "";
  if( !params_open(sh) ) return true;
  if( argc==2 && strcmp(verb, "list")==0 ) params_list(sh);
  else if( argc==2 && strcmp(verb, "clear")==0 ){
    sqlite3_exec(sh->params, "DELETE FROM p", NULL, NULL, NULL);
  }else if( argc==3 && strcmp(verb, "unset")==0 ) param_unset(sh, argv[2]);
  else if( argc>=4 && strcmp(verb, "set")==0 ){
    if( strchr(":@$?", argv[2][0])==NULL ){
      shell_error(sh, EXIT_SQL, "a parameter begins with : @ $ or ?, not \"%s\"",
                  argv[2]);
    }else if( !value_set(sh, argv[2], value_text(sh, argv[2])) ){
      shell_error(sh, EXIT_SQL, "cannot set \"%s\"", argv[2]);
    }
  }
  else return false;
  return true;
}

bool cmd_prompt(struct shell *sh, int argc, char **argv){
  if( argc<2 || argc>3 ) return false;
  for(int i=1; i<argc; i++){
    snprintf(sh->prompt[i-1], sizeof sh->prompt[i-1], "%s", argv[i]);
  }
  return true;
}
