/* vtab_args.c -- the arguments of CREATE VIRTUAL TABLE that are not columns.
**
** SQLite passes each argument as text, verbatim. `file = '..'`, `collection =
** '..'` and `durability = ..` belong to the table in its host and are taken out
** here; all others, in order and joined by commas, are the schema text of
** vecdb_create_collection, whose parser is the only one. An argument is an
** option when its second token is `=`: no column definition looks like that.
*/
#include "sql/vtab_int.h"

static int is_space(char c){
  return c==' ' || c=='\t' || c=='\n' || c=='\r' || c=='\f';
}

static int is_word(char c){
  return (c>='a' && c<='z') || (c>='A' && c<='Z') || (c>='0' && c<='9')
      || c=='_' || c=='$' || (c & 0x80);
}

/* If arg is `name = value`, the value's first character, else NULL. */
static const char *option_value(const char *arg, const char *name){
  size_t n = strlen(name);
  while( is_space(*arg) ) arg++;
  if( sqlite3_strnicmp(arg, name, (int)n)!=0 || is_word(arg[n]) ) return NULL;
  arg += n;
  while( is_space(*arg) ) arg++;
  if( *arg!='=' ) return NULL;
  arg++;
  while( is_space(*arg) ) arg++;
  return arg;
}

/* Copy the quoted string at z, which is all that may follow. */
static int unquote(const char *name, const char *z, char **out, char **err){
  char quote = *z;
  char *to;
  size_t n = 0;

  if( quote!='\'' && quote!='"' ){
    return vdb_sql_fail(err, SQLITE_ERROR,
                    "%s= needs a quoted string, found \"%s\"", name, z);
  }
  to = sqlite3_malloc64(strlen(z) + 1);
  if( to==NULL ) return SQLITE_NOMEM;
  for(z++; *z && (*z!=quote || z[1]==quote); z++){
    if( *z==quote ) z++;
    to[n++] = *z;
  }
  to[n] = 0;
  if( *z==quote ) z++; else n = 0;
  while( is_space(*z) ) z++;
  if( *z || n==0 ){
    sqlite3_free(to);
    return vdb_sql_fail(err, SQLITE_ERROR,
        *z ? "%s= takes one quoted string, found more text: \"%s\""
           : "%s= needs a closed, non-empty string", name, z);
  }
  *out = to;
  return SQLITE_OK;
}

/* Take option `name` out of arg; *found says whether it was that. */
static int take_option(const char *arg, const char *name, char **out,
                       int *found, char **err){
  const char *z = option_value(arg, name);
  *found = z!=NULL;
  if( z==NULL ) return SQLITE_OK;
  if( *out ){
    return vdb_sql_fail(err, SQLITE_ERROR, "%s= is given twice", name);
  }
  return unquote(name, z, out, err);
}

/* durability = full | relaxed, with or without quotes. */
static int take_durability(const char *arg, struct sql_args *out, int *found,
                           char **err){
  static const struct { const char *word; int level; } words[] = {
    { "full", DURABILITY_FULL }, { "relaxed", DURABILITY_RELAXED }
  };
  const char *z = option_value(arg, "durability");
  char quote;
  size_t i;

  *found = z!=NULL;
  if( z==NULL ) return SQLITE_OK;
  quote = *z=='\'' || *z=='"' ? *z++ : 0;
  for(i=0; i<sizeof(words)/sizeof(words[0]); i++){
    size_t n = strlen(words[i].word);
    const char *end = z + n;
    if( sqlite3_strnicmp(z, words[i].word, (int)n)!=0 ) continue;
    if( quote ? *end!=quote : is_word(*end) ) continue;
    for(end += quote!=0; is_space(*end); end++){}
    if( *end ) continue;
    out->durability = words[i].level;
    return SQLITE_OK;
  }
  return vdb_sql_fail(err, SQLITE_ERROR, "durability= must be full or relaxed, "
                      "found \"%s\"", z - (quote!=0));
}

static int is_blank(const char *z){
  while( is_space(*z) ) z++;
  return *z==0;
}

static int is_background(const char *arg){
  const char *z = option_value(arg, "optimize");
  if( z && (*z=='\'' || *z=='"') ) z++;
  return z && sqlite3_strnicmp(z, "background", 10)==0;
}

int vdb_args_parse(int argc, const char *const *argv, struct sql_args *out,
                   char **err){
  sqlite3_str *rest = sqlite3_str_new(NULL);
  int i, rc = SQLITE_OK, found;

  memset(out, 0, sizeof(*out));
  for(i=0; i<argc; i++){
    SQL_TRY( take_option(argv[i], "file", &out->file, &found, err) );
    if( found ) continue;
    SQL_TRY( take_option(argv[i], "collection", &out->collection, &found,
                         err) );
    if( found || is_blank(argv[i]) ) continue;
    SQL_TRY( take_durability(argv[i], out, &found, err) );
    if( found ) continue;
    if( is_background(argv[i]) ) out->is_background = 1;
    if( sqlite3_str_length(rest)>0 ) sqlite3_str_appendall(rest, ", ");
    sqlite3_str_appendall(rest, argv[i]);
  }
done:
  if( rc==SQLITE_OK && sqlite3_str_errcode(rest) ) rc = SQLITE_NOMEM;
  out->schema = sqlite3_str_finish(rest);
  if( rc==SQLITE_OK && out->schema==NULL ){
    out->schema = vdb_sql_strdup("");
    if( out->schema==NULL ) rc = SQLITE_NOMEM;
  }
  if( rc!=SQLITE_OK ) vdb_args_clear(out);
  return rc;
}

void vdb_args_clear(struct sql_args *a){
  sqlite3_free(a->file);
  sqlite3_free(a->collection);
  sqlite3_free(a->schema);
  memset(a, 0, sizeof(*a));
}

/* ---- Paths -------------------------------------------------------------- */

int vdb_host_is_file(sqlite3 *db, const char *schema){
  const char *z = sqlite3_db_filename(db, schema);
  return z!=NULL && z[0]!=0;
}

/* A defensive connection does not follow a database somebody else wrote out
** of its folder. */
static int is_defensive(sqlite3 *db){
  int on = 0;
  return sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, -1, &on)==SQLITE_OK
      && on;
}

static int has_dot_dot(const char *z){
  while( z ){
    if( z[0]=='.' && z[1]=='.' && (z[2]=='/' || z[2]==0) ) return 1;
    z = strchr(z, '/');
    if( z ) z++;
  }
  return 0;
}

/* `file` in the folder of the host's file; a relative path in a host without
** a file is relative to the working directory. */
static char *path_beside(sqlite3 *db, const char *schema, const char *file){
  const char *host = sqlite3_db_filename(db, schema);
  const char *slash = host ? strrchr(host, '/') : NULL;
  if( file[0]=='/' || slash==NULL ) return vdb_sql_strdup(file);
  return sqlite3_mprintf("%.*s/%s", (int)(slash - host), host, file);
}

int vdb_args_path(sqlite3 *db, const char *schema, const char *file,
                  char **path, char **err){
  sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
  char *full = NULL, *beside = path_beside(db, schema, file);
  int rc = SQLITE_OK;

  *path = NULL;
  if( beside==NULL || vfs==NULL ){
    rc = SQLITE_NOMEM;
    goto done;
  }
  if( is_defensive(db) && has_dot_dot(file) ){
    rc = vdb_sql_fail(err, SQLITE_ERROR, "cannot open \"%s\": \"..\" is "
                      "refused by a defensive connection", file);
    goto done;
  }
  full = sqlite3_malloc(vfs->mxPathname + 1);
  if( full==NULL ){
    rc = SQLITE_NOMEM;
    goto done;
  }
  full[0] = 0;
  rc = vfs->xFullPathname(vfs, beside, vfs->mxPathname + 1, full);
  if( rc==SQLITE_OK_SYMLINK && is_defensive(db) ){
    rc = vdb_sql_fail(err, SQLITE_ERROR, "cannot open \"%s\": a symbolic link "
                      "is refused by a defensive connection", file);
    goto done;
  }
  if( rc!=SQLITE_OK && rc!=SQLITE_OK_SYMLINK ){
    rc = vdb_sql_fail(err, SQLITE_CANTOPEN, "cannot find the folder of \"%s\"",
                  beside);
    goto done;
  }
  rc = SQLITE_OK;
  *path = full;
  full = NULL;
done:
  sqlite3_free(beside);
  sqlite3_free(full);
  return rc;
}
