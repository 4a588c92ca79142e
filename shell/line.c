/* line.c -- reading lines: readline, libedit, or plain stdio.
**
** Only a terminal gets editing, history and completion; anything else is read
** with getline. History is kept in $VECDB_HISTORY or ~/.vecdb_history, which
** only its owner may read.
*/
#include "config.h"
#include "shell/shell.h"

#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(VDB_HAVE_READLINE)
# include <readline/readline.h>
# include <readline/history.h>
# define LINE_EDIT 1
#elif defined(VDB_HAVE_EDITLINE)
# include <editline/readline.h>
# define LINE_EDIT 1
#else
# define LINE_EDIT 0
#endif

static char *line_plain(FILE *in){
  char *z = NULL;
  size_t n_cap = 0;
  ssize_t n = getline(&z, &n_cap, in);
  if( n<0 ){ free(z); return NULL; }
  while( n>0 && (z[n-1]=='\n' || z[n-1]=='\r') ) z[--n] = 0;
  return z;
}

#if LINE_EDIT
static struct shell *complete_shell;
static sqlite3_stmt *complete_stmt;
static size_t complete_next;

/* Keyword number complete_next of SQLite and the following that begin with
** text, spelled in the case of its first letter. */
static char *complete_keyword(const char *text){
  int n = (int)strlen(text);
  while( (int)complete_next<sqlite3_keyword_count() ){
    const char *z;
    int n_z;
    char *out;
    if( sqlite3_keyword_name((int)complete_next++, &z, &n_z)!=SQLITE_OK
     || n==0 || n_z<n || sqlite3_strnicmp(z, text, n)!=0 ) continue;
    out = strndup(z, (size_t)n_z);
    for(char *c=out; c && text[0]>='a' && text[0]<='z' && *c; c++){
      if( *c>='A' && *c<='Z' ) *c = (char)(*c + ('a'-'A'));
    }
    return out;
  }
  return NULL;
}

/* Do file names belong here: behind a dot-command that takes one? */
static bool complete_is_file(void){
  static const char *const names[] = { ".open ", ".import ", ".export ",
    ".backup ", ".read ", ".output ", ".once ", ".cd ", ".attach ", ".save ",
    ".restore ", ".recover " };
  for(size_t i=0; i<sizeof(names)/sizeof(names[0]); i++){
    if( strncmp(rl_line_buffer, names[i], strlen(names[i]))==0 ) return true;
  }
  return false;
}

/* The next word that begins with `text`: dot-commands, else names of the
** schema and keywords of SQL; NULL lets the line editor offer file names. */
static char *complete_word(const char *text, int state){
  const char *const *names = shell_command_names();
  size_t n = strlen(text);
  if( state==0 ){
    complete_next = 0;
    sqlite3_finalize(complete_stmt);
    complete_stmt = NULL;
    sqlite3_prepare_v2(complete_shell->sql,
      "SELECT name FROM sqlite_schema WHERE name LIKE ?1 || '%' "
      "UNION SELECT p.name FROM sqlite_schema s, pragma_table_info(s.name) p "
      "WHERE p.name LIKE ?1 || '%'", -1, &complete_stmt, NULL);
    if( complete_stmt!=NULL ){
      sqlite3_bind_text(complete_stmt, 1, text, -1, SQLITE_TRANSIENT);
    }
  }
  if( text[0]=='.' ){
    while( names[complete_next]!=NULL ){
      const char *z = names[complete_next++];
      if( strncmp(z, text+1, n-1)==0 ){
        char *out = malloc(strlen(z)+2);
        if( out!=NULL ){ out[0] = '.'; memcpy(out+1, z, strlen(z)+1); }
        return out;
      }
    }
    return NULL;
  }
  if( complete_stmt!=NULL && sqlite3_step(complete_stmt)==SQLITE_ROW ){
    const char *z = (const char*)sqlite3_column_text(complete_stmt, 0);
    return z!=NULL ? strdup(z) : NULL;
  }
  sqlite3_finalize(complete_stmt);
  complete_stmt = NULL;
  return complete_keyword(text);
}

/* Either words or, behind some commands, files: the default of the editor. */
static char **complete_line(const char *text, int start, int end){
  (void)start; (void)end;
  if( complete_is_file() ) return NULL;
  rl_attempted_completion_over = 1;
  return rl_completion_matches(text, complete_word);
}

static bool history_path(char *buf, size_t n){
  const char *z = getenv("VECDB_HISTORY");
  if( z!=NULL ) return snprintf(buf, n, "%s", z) < (int)n && z[0]!=0;
  z = getenv("HOME");
  return z!=NULL && snprintf(buf, n, "%s/.vecdb_history", z) < (int)n;
}
#endif

void line_begin(struct shell *sh){
#if LINE_EDIT
  char path[1024];
  complete_shell = sh;
  rl_readline_name = (char*)"vecdb";
  rl_attempted_completion_function = complete_line;
  rl_basic_word_break_characters = (char*)" \t\n\"\\'`@$><=;|&{(,";
  using_history();
  if( history_path(path, sizeof path) ) read_history(path);
#else
  (void)sh;
#endif
}

void line_add_history(const char *z){
#if LINE_EDIT
  if( z[0]!=0 ) add_history(z);
#else
  (void)z;
#endif
}

void line_end(void){
#if LINE_EDIT
  char path[1024];
  sqlite3_finalize(complete_stmt);
  complete_stmt = NULL;
  if( history_path(path, sizeof path) ){
    mode_t old = umask(077);
    stifle_history(2000);
    write_history(path);
    umask(old);
  }
#endif
}

/* Ctrl-C while a line is read: the handler jumps back here. Only memory of
** the line editor is in flight then, and it cleans that up itself. */
static sigjmp_buf line_jump;
static volatile sig_atomic_t line_is_reading;

void line_interrupt(void){
  if( line_is_reading ) siglongjmp(line_jump, 1);
}

static bool line_was_empty(void){
#if LINE_EDIT
  bool is_empty = rl_end==0;
# if defined(VDB_HAVE_READLINE)
  rl_free_line_state();                 /* shows the line a last time */
  rl_cleanup_after_signal();
# endif
  rl_end = rl_point = 0;
  return is_empty;
#else
  return true;
#endif
}

static char *line_edit(const char *prompt){
#if LINE_EDIT
  if( isatty(0) ) return readline(prompt);
#endif
  fputs(prompt, stdout);
  fflush(stdout);
  return line_plain(stdin);
}

char *line_read(struct shell *sh, const char *prompt){
  char *z;
  if( sh->source->in!=NULL ) return line_plain(sh->source->in);
  if( sigsetjmp(line_jump, 1)!=0 ){
    bool is_empty;
    line_is_reading = 0;
    is_empty = line_was_empty();
    fputs("^C\n", stdout);
    if( is_empty && prompt[0]!=' ' ){        /* at an empty first prompt */
      sh->exit_code = EXIT_INTERRUPT;
      sh->quit = true;
      return NULL;
    }
    sh->interrupted = 1;                     /* the caller starts anew */
    return strdup("");
  }
  line_is_reading = 1;
  z = line_edit(prompt);
  line_is_reading = 0;
  return z;
}
