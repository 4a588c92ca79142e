/* suggest.c -- "did you mean": the name of the schema nearest to a wrong one.
**
** A name is near when at most a third of its letters have to be changed, added
** or taken away; equal but for case is nearest of all.
*/
#include "shell/shell.h"

#include <ctype.h>
#include <string.h>

enum { NAME_MAX_LEN = 64 };

static int least(int a, int b, int c){
  int m = a<b ? a : b;
  return m<c ? m : c;
}

/* Edits between two names, case ignored; many for long ones. */
static int edits(const char *a, const char *b){
  int row[NAME_MAX_LEN+1];
  int n = (int)strlen(a), m = (int)strlen(b);
  if( n>NAME_MAX_LEN || m>NAME_MAX_LEN ) return NAME_MAX_LEN;
  for(int j=0; j<=m; j++) row[j] = j;
  for(int i=1; i<=n; i++){
    int diagonal = row[0];
    row[0] = i;
    for(int j=1; j<=m; j++){
      int same = tolower((unsigned char)a[i-1])==tolower((unsigned char)b[j-1]);
      int above = row[j];
      row[j] = least(above + 1, row[j-1] + 1, diagonal + !same);
      diagonal = above;
    }
  }
  return row[m];
}

/* The nearest name that sql gives, from sqlite3_malloc, or NULL. */
static char *nearest(sqlite3 *db, const char *sql, const char *name){
  int best = ((int)strlen(name) + 2)/3 + 1;
  sqlite3_stmt *st = NULL;
  char *out = NULL;
  sqlite3_prepare_v2(db, sql, -1, &st, NULL);
  while( st && sqlite3_step(st)==SQLITE_ROW ){
    const char *z = (const char*)sqlite3_column_text(st, 0);
    int d = z ? edits(name, z) : NAME_MAX_LEN;
    if( d<best ){
      best = d;
      sqlite3_free(out);
      out = sqlite3_mprintf("%s", z);
    }
  }
  sqlite3_finalize(st);
  return out;
}

char *shell_suggest(struct shell *sh, const char *message){
  static const struct { const char *begin, *sql; } kinds[] = {
    { "no such table: ", "SELECT name FROM sqlite_schema WHERE type IN "
      "('table','view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'" },
    { "no such column: ", "SELECT p.name FROM sqlite_schema s, "
      "pragma_table_xinfo(s.name) p WHERE s.type IN ('table','view')" },
    { "no such function: ", "SELECT name FROM pragma_function_list" },
    { "no such module: ", "SELECT name FROM pragma_module_list" },
  };
  for(size_t i=0; i<sizeof(kinds)/sizeof(kinds[0]); i++){
    size_t n = strlen(kinds[i].begin);
    const char *name, *dot;
    if( strncmp(message, kinds[i].begin, n)!=0 ) continue;
    name = message + n;
    dot = strrchr(name, '.');
    return nearest(sh->sql, kinds[i].sql, dot ? dot + 1 : name);
  }
  return NULL;
}
