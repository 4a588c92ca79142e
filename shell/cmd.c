/* cmd.c -- taking dot-command lines apart and finding who runs them.
**
** Words are separated by blanks; "..." takes backslash escapes, '...' does
** not. Any unique prefix of a name works (".imp"); the exact name wins.
*/
#include "shell/cmd.h"

#include <ctype.h>
#include <string.h>

#define CMD_MAX_ARGS 64

static const struct command {
  const char *name;
  shell_cmd_fn fn;
  const char *usage, *help;
} commands[] = {
#define X(name, fn, usage, help) { name, fn, usage, help },
  SHELL_COMMANDS(X)
#undef X
};
#define N_COMMAND (sizeof(commands)/sizeof(commands[0]))

const char *const *shell_command_names(void){
  static const char *names[N_COMMAND+1];
  for(size_t i=0; i<N_COMMAND; i++) names[i] = commands[i].name;
  return names;
}

int cmd_boolean(const char *z){
  if( !strcmp(z, "on") || !strcmp(z, "1") || !strcmp(z, "yes") ) return 1;
  if( !strcmp(z, "off") || !strcmp(z, "0") || !strcmp(z, "no") ) return 0;
  return -1;
}

bool cmd_allowed(struct shell *sh, const char *what){
  if( !sh->safe ) return true;
  shell_error(sh, EXIT_SQL, "%s is not allowed with -safe", what);
  return false;
}

void cmd_vecdb_error(struct shell *sh, int rc){
  shell_error(sh, shell_exit_of_vecdb(rc), "%s", vecdb_errmsg(sh->db));
}

bool cmd_query(struct shell *sh, const char *sql, const char *arg){
  sqlite3_stmt *st = NULL;
  int rc = sqlite3_prepare_v2(sh->sql, sql, -1, &st, NULL);
  if( rc==SQLITE_OK ){
    if( arg!=NULL ) sqlite3_bind_text(st, 1, arg, -1, SQLITE_TRANSIENT);
    rc = shell_print_rows(sh, st);
    if( rc==SQLITE_DONE ) rc = SQLITE_OK;
  }
  if( rc!=SQLITE_OK ){
    shell_error(sh, shell_exit_of_sqlite(rc), "%s", sqlite3_errmsg(sh->sql));
  }
  sqlite3_finalize(st);
  return rc==SQLITE_OK;
}

/* ---- Words --------------------------------------------------------------- */

static char escape_char(char c){
  switch( c ){
    case 'n': return '\n';
    case 't': return '\t';
    case 'r': return '\r';
    default: return c;
  }
}

/* One quoted word in place: returns where the rest begins. */
static char *word_unquote(char *z, char **out){
  char quote = *z++, *w = z;
  *out = z;
  while( *z && *z!=quote ){
    if( *z=='\\' && quote=='"' && z[1] ){ *w++ = escape_char(z[1]); z += 2; }
    else *w++ = *z++;
  }
  if( *z==quote ) z++;
  *w = 0;
  return z;
}

/* Split z in place. */
static int words_split(char *z, char **argv){
  int n = 0;
  while( n<CMD_MAX_ARGS ){
    while( isspace((unsigned char)*z) ) z++;
    if( *z==0 ) break;
    if( *z=='"' || *z=='\'' ){
      char *rest = word_unquote(z, &argv[n++]);
      z = rest;
    }else{
      argv[n++] = z;
      while( *z && !isspace((unsigned char)*z) ) z++;
      if( *z ) *z++ = 0;
    }
  }
  return n;
}

/* ---- Finding ------------------------------------------------------------- */

static const struct command *command_find(const char *name, int *n_match){
  const struct command *found = NULL;
  size_t n = strlen(name);
  *n_match = 0;
  for(size_t i=0; i<N_COMMAND; i++){
    if( strcmp(commands[i].name, name)==0 ){ *n_match = 1; return &commands[i]; }
    if( n>0 && strncmp(commands[i].name, name, n)==0 ){
      found = &commands[i];
      ++*n_match;
    }
  }
  return *n_match==1 ? found : NULL;
}

/* The command whose name shares the longest beginning, for "did you mean". */
static const char *command_nearest(const char *name){
  const char *best = NULL;
  size_t n_best = 1;
  for(size_t i=0; i<N_COMMAND; i++){
    size_t n = 0;
    while( name[n] && commands[i].name[n]==name[n] ) n++;
    if( n>n_best ){ n_best = n; best = commands[i].name; }
  }
  return best;
}

static void unknown_report(struct shell *sh, const char *name, int n_match){
  const char *near = command_nearest(name);
  if( n_match>1 ){
    shell_error(sh, EXIT_SQL, "\".%s\" is ambiguous; .help lists the commands",
                name);
  }else if( near!=NULL ){
    shell_error(sh, EXIT_SQL, "unknown command \".%s\"; did you mean \".%s\"?",
                name, near);
  }else{
    shell_error(sh, EXIT_SQL, "unknown command \".%s\"; .help lists them",
                name);
  }
}

void shell_run_command(struct shell *sh, const char *line){
  char *z = sqlite3_mprintf("%s", line + 1), *argv[CMD_MAX_ARGS+1];
  const struct command *c;
  int argc, n_match;
  bool was_once = sh->out_once;
  if( z==NULL ) return;
  argc = words_split(z, argv);
  argv[argc] = NULL;
  sh->raw_args = line + 1;
  while( isspace((unsigned char)*sh->raw_args) ) sh->raw_args++;
  while( *sh->raw_args && !isspace((unsigned char)*sh->raw_args) ) sh->raw_args++;
  while( isspace((unsigned char)*sh->raw_args) ) sh->raw_args++;
  if( argc>0 ){
    sh->interrupted = 0;
    c = command_find(argv[0], &n_match);
    if( c==NULL ) unknown_report(sh, argv[0], n_match);
    else if( !c->fn(sh, argc, argv) ){
      shell_error(sh, EXIT_SQL, "usage: .%s %s", c->name, c->usage);
    }
    fflush(sh->out);
  }
  if( was_once && sh->out_once ) shell_output_reset(sh);
  sqlite3_free(z);
}

/* Print z after what stands on the line up to column `at`, going on below
** `indent` where 80 columns are not enough; breaks at blanks. */
static void wrapped_print(FILE *f, const char *z, int at, int indent){
  bool is_first = true;
  while( *z ){
    int n = (int)strcspn(z, " ");
    if( !is_first && at+1+n>80 ){
      fprintf(f, "\n%*s", indent, "");
      at = indent;
    }else if( !is_first ){
      fputc(' ', f);
      at++;
    }
    fprintf(f, "%.*s", n, z);
    is_first = false;
    at += n;
    z += n;
    while( *z==' ' ) z++;
  }
  fputc('\n', f);
}

static void command_help(FILE *f, const struct command *c){
  int at = fprintf(f, ".%s ", c->name);
  wrapped_print(f, c->usage, at, 8);
  fputs("    ", f);
  wrapped_print(f, c->help, 4, 4);
}

bool cmd_help(struct shell *sh, int argc, char **argv){
  const struct command *c;
  int n_match;
  if( argc>2 ) return false;
  if( argc==2 ){
    c = command_find(argv[1][0]=='.' ? argv[1]+1 : argv[1], &n_match);
    if( c==NULL ) unknown_report(sh, argv[1], n_match);
    else command_help(sh->out, c);
    return true;
  }
  for(size_t i=0; i<N_COMMAND; i++){
    const char *usage = commands[i].usage;
    bool is_long = strlen(commands[i].name) + strlen(usage) > 24;
    char left[64];
    snprintf(left, sizeof left, ".%s %s", commands[i].name,
             is_long ? "..." : usage);
    fprintf(sh->out, "%-27s ", left);
    wrapped_print(sh->out, commands[i].help, 28, 28);
  }
  fputs("\nSQL ends with a semicolon. \".help COMMAND\" shows all arguments.\n",
        sh->out);
  return true;
}
