/* main.c -- options, opening, signals: the frame of the `vecdb` program.
**
** A shell is two handles on one file: an in-memory SQLite connection, where
** every collection of the file is mounted as a table, and a vecdb handle for
** what is no SQL. Locks are those of the file, so the two behave as two
** processes would.
*/
#include "shell/shell.h"

#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct sqlite3_api_routines;
int sqlite3_vecdb_init(sqlite3 *db, char **err,
                       const struct sqlite3_api_routines *api);

struct shell *shell_current;

/* ---- Exit codes ---------------------------------------------------------- */

int shell_exit_of_sqlite(int rc){
  switch( rc & 0xff ){
    case SQLITE_OK: case SQLITE_DONE: case SQLITE_ROW: return EXIT_OK;
    case SQLITE_CANTOPEN: return EXIT_CANTOPEN;
    case SQLITE_CORRUPT: case SQLITE_NOTADB: return EXIT_CORRUPT;
    case SQLITE_BUSY: case SQLITE_LOCKED: return EXIT_BUSY;
    case SQLITE_INTERRUPT: return EXIT_INTERRUPT;
    default: return EXIT_SQL;
  }
}

int shell_exit_of_vecdb(int rc){
  switch( rc & 0xff ){
    case VECDB_OK: case VECDB_DONE: case VECDB_ROW: return EXIT_OK;
    case VECDB_CANTOPEN: case VECDB_NOTADB: case VECDB_FORMAT:
      return EXIT_CANTOPEN;
    case VECDB_CORRUPT: return EXIT_CORRUPT;
    case VECDB_BUSY: return EXIT_BUSY;
    case VECDB_INTERRUPT: return EXIT_INTERRUPT;
    default: return EXIT_SQL;
  }
}

/* ---- Ctrl-C -------------------------------------------------------------- */

static void on_sigint(int sig){
  struct shell *sh = shell_current;
  (void)sig;
  line_interrupt();                     /* does not return at a prompt */
  if( sh!=NULL && sh->defer_interrupt ){
    if( ++sh->deferred>=2 ) _exit(EXIT_INTERRUPT);
    return;
  }
  if( sh==NULL || ++sh->interrupted>=2 ) _exit(EXIT_INTERRUPT);
  if( sh->sql ) sqlite3_interrupt(sh->sql);
  if( sh->db ) vecdb_interrupt(sh->db);
}

static void signals_install(void){
  struct sigaction sa;
  memset(&sa, 0, sizeof sa);
  sa.sa_handler = on_sigint;
  sigemptyset(&sa.sa_mask);
  sa.sa_flags = SA_RESTART;
  sigaction(SIGINT, &sa, NULL);
  signal(SIGPIPE, SIG_IGN);
}

/* ---- Options ------------------------------------------------------------- */

static const char usage_text[] =
"Usage: vecdb [OPTIONS] [FILE] [\"SQL or .command\" ...]\n"
"\n"
"Opens or creates FILE (a .vdb), mounts each of its collections as a table\n"
"and runs SQL from the arguments, from standard input, or at a prompt.\n"
"A SQLite database is opened as such, with the extension loaded.\n"
"Without FILE, a temporary database that is gone at the end.\n"
"\n"
"  -readonly          open FILE for reading only, never create it\n"
"  -immutable         as -readonly, and nobody writes: no locks\n"
"  -nofollow          refuse FILE when it is a symbolic link\n"
"  -safe              no .shell, no pipes, no files but FILE\n"
"  -batch             no prompt, no progress, whatever stdin is\n"
"  -interactive       prompt even when stdin is no terminal\n"
"  -bail              stop at the first error\n"
"  -echo              print each statement before running it\n"
"  -quiet             no banner, no progress, no summaries\n"
"  -init F            run F first instead of ~/.vecdbrc\n"
"  -cmd C             run C before anything else\n"
"  -MODE              box table markdown json jsonl csv tabs line list html\n"
"                     quote\n"
"  -header -noheader  column names or not\n"
"  -separator S       between columns of list mode\n"
"  -nullvalue S       text for NULL\n"
"  -threads N         threads for batches and builds\n"
"  -gpu MODE          off, auto or require: a GPU for exact searches\n"
"  -memory SIZE       cache budget, with K, M or G\n"
"  -build-memory SIZE what building a graph may take; half of all by default\n"
"  -timeout MS        wait this long for locks\n"
"  -stats             figures after each statement\n"
"  -version -help     print and exit\n"
"  --                 no options after this\n"
"\n"
"Exit codes: 0 ok, 1 a statement failed, 2 usage, 3 cannot open, 4 corrupt,\n"
"5 busy, 130 interrupted. Inside, .help lists the dot-commands.\n";

static bool size_parse(const char *z, long long *out){
  char *end;
  long long v = strtoll(z, &end, 10);
  int shift = 0;
  switch( *end ){
    case 'k': case 'K': shift = 10; end++; break;
    case 'm': case 'M': shift = 20; end++; break;
    case 'g': case 'G': shift = 30; end++; break;
  }
  if( end==z || *end!=0 || v<0 || v>(INT64_MAX>>shift) ) return false;
  *out = v<<shift;
  return true;
}

struct options {
  const char *init, *cmd[16];
  int n_cmd, interactive;            /* -1 batch, 0 ask stdin, 1 forced */
};

static bool flag_parse(struct shell *sh, struct options *o, const char *z){
  int mode = shell_mode_parse(z);
  if( mode>=0 ){ sh->mode = (enum shell_mode)mode; sh->mode_set = true; }
  else if( !strcmp(z, "readonly") ) sh->open_flags = VECDB_OPEN_READONLY;
  else if( !strcmp(z, "immutable") ){
    sh->open_flags = VECDB_OPEN_READONLY | VECDB_OPEN_IMMUTABLE;
  }
  else if( !strcmp(z, "nofollow") ) sh->open_flags |= VECDB_OPEN_NOFOLLOW;
  else if( !strcmp(z, "safe") ) sh->safe = true;
  else if( !strcmp(z, "batch") ){ sh->batch = true; o->interactive = -1; }
  else if( !strcmp(z, "interactive") ) o->interactive = 1;
  else if( !strcmp(z, "bail") ) sh->bail = true;
  else if( !strcmp(z, "echo") ) sh->echo = true;
  else if( !strcmp(z, "quiet") ) sh->quiet = true;
  else if( !strcmp(z, "stats") ) sh->stats = true;
  else if( !strcmp(z, "header") ) sh->headers = 1;
  else if( !strcmp(z, "noheader") ) sh->headers = 0;
  else return false;
  return true;
}

/* True when z is an option that takes a value; 0 in *ok: the value is bad. */
static bool value_parse(struct shell *sh, struct options *o, const char *z,
                        const char *v, bool *ok){
  long long n = 0;
  *ok = v!=NULL;
  if( !strcmp(z, "init") ) o->init = v;
  else if( !strcmp(z, "cmd") ){
    *ok = *ok && o->n_cmd<16;
    if( *ok ) o->cmd[o->n_cmd++] = v;
  }
  else if( !strcmp(z, "separator") ){
    if( v ) snprintf(sh->separator, sizeof sh->separator, "%s", v);
  }
  else if( !strcmp(z, "nullvalue") ){
    if( v ) snprintf(sh->null_value, sizeof sh->null_value, "%s", v);
  }
  else if( !strcmp(z, "threads") ){
    *ok = v!=NULL && size_parse(v, &n) && n<=1024;
    sh->n_thread = (int)n;
  }
  else if( !strcmp(z, "gpu") ){
    *ok = v!=NULL && shell_gpu_mode(v)!=0;
    if( *ok ) sh->gpu = shell_gpu_mode(v);
  }
  else if( !strcmp(z, "memory") ) *ok = v!=NULL && size_parse(v, &sh->cache_bytes);
  else if( !strcmp(z, "build-memory") ){
    *ok = v!=NULL && size_parse(v, &sh->build_bytes);
  }
  else if( !strcmp(z, "timeout") ){
    *ok = v!=NULL && size_parse(v, &n) && n<=INT32_MAX;
    sh->busy_ms = (long)n;
  }
  else return false;
  return true;
}

/* "-name" or "--name". "-- comment" and "-1" are SQL, "-" is a file. */
static bool looks_like_option(const char *z){
  if( *z++!='-' ) return false;
  if( *z=='-' ) z++;
  return (*z>='a' && *z<='z') || (*z>='A' && *z<='Z');
}

static void version_print(void){
  printf("vecdb %s (SQLite %s)\n", vecdb_libversion(), sqlite3_libversion());
}

/* The option argv[i]: index of the last word it takes; -1 after a usage
** error. */
static int option_take(struct shell *sh, struct options *o, int argc,
                       char **argv, int i){
  const char *z = argv[i] + 1;
  bool ok;
  if( *z=='-' ) z++;
  if( !strcmp(z, "help") ){ fputs(usage_text, stdout); exit(EXIT_OK); }
  if( !strcmp(z, "version") ){ version_print(); exit(EXIT_OK); }
  if( flag_parse(sh, o, z) ) return i;
  if( !value_parse(sh, o, z, i+1<argc ? argv[i+1] : NULL, &ok) ){
    fprintf(stderr, "error: unknown option \"%s\"; see vecdb -help\n", argv[i]);
    return -1;
  }
  if( ok ) return i+1;
  fprintf(stderr, "error: option \"%s\" %s; see vecdb -help\n", argv[i],
          i+1<argc ? "has a bad value" : "needs a value");
  return -1;
}

/* Take the options out of argv, wherever they stand: what is left is FILE and
** what to run. Returns how many words that is; -1 after a usage error. */
static int options_parse(struct shell *sh, struct options *o, int argc,
                         char **argv){
  bool is_over = false;
  int n = 0;
  for(int i=1; i<argc; i++){
    if( !is_over && strcmp(argv[i], "--")==0 ) is_over = true;
    else if( is_over || !looks_like_option(argv[i]) ) argv[n++] = argv[i];
    else if( (i = option_take(sh, o, argc, argv, i))<0 ) return -1;
  }
  return n;
}

/* Is the first argument no file but something to run? Nobody has a file of
** that name, and it begins as a statement or a dot-command does. */
static bool is_text_to_run(const char *z){
  static const char *const words[] = {
    "select", "insert", "create", "with", "pragma", "explain", "values",
    "update", "delete", "drop", "attach", "begin"
  };
  if( access(z, F_OK)==0 ) return false;
  for(size_t i=0; i<sizeof(words)/sizeof(words[0]); i++){
    size_t n = strlen(words[i]);
    if( sqlite3_strnicmp(z, words[i], (int)n)==0 && strchr(" \t\n(;", z[n])
     && z[n] ) return true;
  }
  for(const char *const *c=shell_command_names(); z[0]=='.' && *c; c++){
    size_t n = strlen(*c);
    if( strncmp(z+1, *c, n)==0 && (z[n+1]==0 || z[n+1]==' ') ) return true;
  }
  return false;
}

/* ---- The program --------------------------------------------------------- */

static void run_file(struct shell *sh, const char *path, bool must_exist){
  struct shell_source src = { NULL, path, 0, NULL };
  src.in = fopen(path, "r");
  if( src.in==NULL ){
    if( must_exist ){
      shell_error(sh, EXIT_SQL, "cannot open \"%s\": %s", path,
                  strerror(errno));
    }
    return;
  }
  shell_run_source(sh, &src);
  fclose(src.in);
}

static void run_init(struct shell *sh, const char *init){
  const char *home = getenv("HOME"), *xdg = getenv("XDG_CONFIG_HOME");
  char path[1024];
  if( init!=NULL ){ run_file(sh, init, true); return; }
  if( xdg!=NULL && snprintf(path, sizeof path, "%s/vecdb/vecdbrc", xdg)
                   < (int)sizeof path && access(path, R_OK)==0 ){
    run_file(sh, path, false);
  }else if( home!=NULL && snprintf(path, sizeof path, "%s/.vecdbrc", home)
                          < (int)sizeof path ){
    run_file(sh, path, false);
  }
}

static void banner(struct shell *sh){
  if( sh->quiet ) return;
  printf("vecdb %s, SQLite %s. Type .help for help, .quit to leave.\n",
         vecdb_libversion(), sqlite3_libversion());
  if( sh->is_temp ){
    puts("No file was named: this database is gone at the end. "
         "Use .save FILE to keep it.");
  }
}

static void shell_init(struct shell *sh){
  memset(sh, 0, sizeof *sh);
  sh->open_flags = VECDB_OPEN_READWRITE | VECDB_OPEN_CREATE;
  sh->out = stdout;
  sh->headers = -1;
  sh->mode = MODE_LIST;
  sh->busy_ms = 2000;
  sh->separator[0] = '|';
  snprintf(sh->prompt[0], sizeof sh->prompt[0], "vecdb> ");
  snprintf(sh->prompt[1], sizeof sh->prompt[1], "   ...> ");
}

/* Run what the command line says, else what standard input holds. */
static void run_input(struct shell *sh, char **text, int n_text,
                      struct shell_source *src){
  if( n_text>0 ){
    for(int i=0; i<n_text && !sh->quit; i++){
      shell_run_text(sh, text[i]);
      if( sh->bail && sh->exit_code ) break;
    }
    return;
  }
  if( sh->quit ) return;
  if( sh->is_interactive ){
    banner(sh);
    line_begin(sh);
  }else{
    src->in = stdin;
    src->name = "stdin";
  }
  shell_run_source(sh, src);
  if( sh->is_interactive ) line_end();
}

/* What a GPU was wanted for and the CPU did; other lines of the log are not for
** the terminal. */
static void log_print(void *arg, int rc, const char *msg){
  (void)arg;
  if( rc==VECDB_GPU ) fprintf(stderr, "note: %s\n", msg);
}

int main(int argc, char **argv){
  struct shell sh;
  struct options o;
  struct shell_source src = { NULL, NULL, 0, NULL };
  bool is_text;
  int n_arg;

  setlocale(LC_CTYPE, "");
  shell_init(&sh);
  memset(&o, 0, sizeof o);
  n_arg = options_parse(&sh, &o, argc, argv);
  if( n_arg<0 ) return EXIT_USAGE;
  shell_current = &sh;
  sh.source = &src;
  signals_install();
  sqlite3_auto_extension((void(*)(void))sqlite3_vecdb_init);
  vecdb_config_log(log_print, NULL);

  is_text = n_arg>0 && is_text_to_run(argv[0]);
  sh.is_interactive = n_arg+is_text<2 && o.interactive>=0
                   && (o.interactive>0 || isatty(0));
  if( !sh.is_interactive ) sh.batch = sh.batch || !isatty(2);
  if( !sh.mode_set && isatty(1) ) sh.mode = MODE_BOX;
  if( shell_open(&sh, n_arg>0 && !is_text ? argv[0] : NULL)!=VECDB_OK ){
    return sh.exit_code ? sh.exit_code : EXIT_CANTOPEN;
  }
  if( sh.is_interactive || o.init ) run_init(&sh, o.init);
  for(int i=0; i<o.n_cmd && !sh.quit; i++) shell_run_text(&sh, o.cmd[i]);
  run_input(&sh, argv+!is_text, n_arg-!is_text, &src);
  shell_output_reset(&sh);
  shell_close(&sh);
  sqlite3_close(sh.params);
  return sh.exit_code;
}
