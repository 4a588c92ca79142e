/* cmd_set.c -- dot-commands that change how the shell behaves. */
#include "shell/cmd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const shell_mode_names[] = {
  "box", "table", "markdown", "json", "jsonl", "csv", "tabs", "line", "list",
  "html", "quote", NULL
};

int shell_mode_parse(const char *z){
  for(int i=0; shell_mode_names[i]; i++){
    if( strcmp(z, shell_mode_names[i])==0 ) return i;
  }
  return -1;
}

bool cmd_mode(struct shell *sh, int argc, char **argv){
  int mode;
  if( argc==1 ){
    fprintf(sh->out, "%s\n", shell_mode_names[sh->mode]);
    return true;
  }
  if( argc!=2 ) return false;
  mode = shell_mode_parse(argv[1]);
  if( mode<0 ){
    shell_error(sh, EXIT_SQL, "unknown mode \"%s\"; known: box, table, "
                "markdown, json, jsonl, csv, tabs, line, list, html, quote",
                argv[1]);
    return true;
  }
  sh->mode = (enum shell_mode)mode;
  return true;
}

/* Set *flag from one "on" or "off". */
static bool flag_set(int argc, char **argv, bool *flag){
  int v = argc==2 ? cmd_boolean(argv[1]) : -1;
  if( v>=0 ) *flag = v!=0;
  return v>=0;
}

bool cmd_timer(struct shell *sh, int argc, char **argv){
  return flag_set(argc, argv, &sh->timer);
}
bool cmd_echo(struct shell *sh, int argc, char **argv){
  return flag_set(argc, argv, &sh->echo);
}
bool cmd_bail(struct shell *sh, int argc, char **argv){
  return flag_set(argc, argv, &sh->bail);
}

bool cmd_headers(struct shell *sh, int argc, char **argv){
  bool on;
  if( !flag_set(argc, argv, &on) ) return false;
  sh->headers = on;
  return true;
}

bool cmd_eqp(struct shell *sh, int argc, char **argv){
  int v = argc==2 ? cmd_boolean(argv[1]) : -1;
  if( argc==2 && strcmp(argv[1], "full")==0 ) v = 2;
  if( v<0 ) return false;
  sh->eqp = v;
  return true;
}

bool cmd_separator(struct shell *sh, int argc, char **argv){
  if( argc!=2 ) return false;
  snprintf(sh->separator, sizeof sh->separator, "%s", argv[1]);
  return true;
}

bool cmd_nullvalue(struct shell *sh, int argc, char **argv){
  if( argc!=2 ) return false;
  snprintf(sh->null_value, sizeof sh->null_value, "%s", argv[1]);
  return true;
}

bool cmd_width(struct shell *sh, int argc, char **argv){
  if( argc-1>SHELL_MAX_WIDTHS ) return false;
  for(int i=1; i<argc; i++){
    char *end;
    long v = strtol(argv[i], &end, 10);
    if( end==argv[i] || *end || v<0 || v>10000 ) return false;
    sh->width[i-1] = (int)v;
  }
  sh->n_width = argc-1;
  return true;
}

int shell_gpu_mode(const char *z){
  return !strcmp(z, "off") ? VECDB_GPU_OFF : !strcmp(z, "auto") ? VECDB_GPU_AUTO
       : !strcmp(z, "require") ? VECDB_GPU_REQUIRE : 0;
}

/* For the shell's own handle and for SQL. */
bool cmd_gpu(struct shell *sh, int argc, char **argv){
  char *json = NULL;
  int rc;
  if( argc>2 || (argc==2 && shell_gpu_mode(argv[1])==0) ) return false;
  if( argc==2 ){
    sh->gpu = shell_gpu_mode(argv[1]);
    rc = sh->db ? vecdb_set(sh->db, "gpu", sh->gpu) : VECDB_OK;
    if( rc!=VECDB_OK ) cmd_vecdb_error(sh, rc);
    (void)shell_gpu_apply(sh);
    return true;
  }
  if( vecdb_gpu_status(&json)==VECDB_OK ) fprintf(sh->out, "%s\n", json);
  vecdb_free(json);
  return true;
}

bool cmd_timeout(struct shell *sh, int argc, char **argv){
  char *end;
  long v;
  int rc;
  if( argc!=2 ) return false;
  v = strtol(argv[1], &end, 10);
  if( *end || v<0 ) return false;
  sh->busy_ms = v;
  sqlite3_busy_timeout(sh->sql, (int)v);
  if( sh->db==NULL ) return true;
  rc = vecdb_set(sh->db, "busy_ms", v);
  if( rc!=VECDB_OK ) cmd_vecdb_error(sh, rc);
  return true;
}

bool cmd_show(struct shell *sh, int argc, char **argv){
  static const char *const eqp[] = { "off", "on", "full" };
  (void)argv;
  if( argc!=1 ) return false;
  fprintf(sh->out, "%12s: %s%s\n", "file", sh->path,
          sh->is_temp ? " (temporary)" : sh->db ? "" : " (SQLite)");
  fprintf(sh->out, "%12s: %s\n", "mode", shell_mode_names[sh->mode]);
  fprintf(sh->out, "%12s: %s\n", "headers",
          sh->headers<0 ? "auto" : sh->headers ? "on" : "off");
  fprintf(sh->out, "%12s: \"%s\"\n", "separator", sh->separator);
  fprintf(sh->out, "%12s: \"%s\"\n", "nullvalue", sh->null_value);
  fprintf(sh->out, "%12s: %s\n", "timer", sh->timer ? "on" : "off");
  fprintf(sh->out, "%12s: %s\n", "echo", sh->echo ? "on" : "off");
  fprintf(sh->out, "%12s: %s\n", "bail", sh->bail ? "on" : "off");
  fprintf(sh->out, "%12s: %s\n", "eqp", eqp[sh->eqp]);
  fprintf(sh->out, "%12s: %ld ms\n", "timeout", sh->busy_ms);
  fprintf(sh->out, "%12s:", "width");
  for(int i=0; i<sh->n_width; i++) fprintf(sh->out, " %d", sh->width[i]);
  fputc('\n', sh->out);
  return true;
}

/* ---- Where output goes --------------------------------------------------- */

static bool output_to(struct shell *sh, const char *target){
  FILE *f;
  bool is_pipe = target[0]=='|';
  if( !cmd_allowed(sh, ".output") ) return true;
  f = is_pipe ? popen(target+1, "w") : fopen(target, "w");
  if( f==NULL ){
    shell_error(sh, EXIT_SQL, "cannot write \"%s\": %s", target,
                strerror(errno));
    return true;
  }
  shell_output_reset(sh);
  sh->out = f;
  sh->out_is_pipe = is_pipe;
  return true;
}

bool cmd_output(struct shell *sh, int argc, char **argv){
  if( argc==1 || strcmp(argv[1], "stdout")==0 ) shell_output_reset(sh);
  else output_to(sh, argv[1][0]=='|' ? sh->raw_args : argv[1]);
  return true;
}

bool cmd_once(struct shell *sh, int argc, char **argv){
  if( argc<2 ) return false;
  output_to(sh, argv[1][0]=='|' ? sh->raw_args : argv[1]);
  sh->out_once = sh->out!=stdout;
  return true;
}

bool cmd_print(struct shell *sh, int argc, char **argv){
  for(int i=1; i<argc; i++) fprintf(sh->out, "%s%s", i>1 ? " " : "", argv[i]);
  fputc('\n', sh->out);
  return true;
}

bool cmd_cd(struct shell *sh, int argc, char **argv){
  if( argc!=2 ) return false;
  if( cmd_allowed(sh, ".cd") && chdir(argv[1])!=0 ){
    shell_error(sh, EXIT_SQL, "cannot change to \"%s\": %s", argv[1],
                strerror(errno));
  }
  return true;
}

bool cmd_shell(struct shell *sh, int argc, char **argv){
  int status;
  (void)argv;
  if( argc<2 ) return false;
  if( !cmd_allowed(sh, ".shell") ) return true;
  fflush(sh->out);
  status = system(sh->raw_args);
  if( status!=0 ){
    shell_error(sh, EXIT_SQL, "\"%s\" ended with status %d", sh->raw_args,
                status);
  }
  return true;
}

bool cmd_read(struct shell *sh, int argc, char **argv){
  struct shell_source src = { NULL, NULL, 0, NULL };
  if( argc!=2 ) return false;
  if( !cmd_allowed(sh, ".read") ) return true;
  if( sh->depth>=10 ){
    shell_error(sh, EXIT_SQL, "cannot read \"%s\": files read each other more "
                "than 10 deep", argv[1]);
    return true;
  }
  src.in = fopen(argv[1], "r");
  src.name = argv[1];
  if( src.in==NULL ){
    shell_error(sh, EXIT_SQL, "cannot open \"%s\": %s", argv[1],
                strerror(errno));
    return true;
  }
  sh->depth++;
  shell_run_source(sh, &src);
  sh->depth--;
  fclose(src.in);
  return true;
}

bool cmd_exit(struct shell *sh, int argc, char **argv){
  if( argc>2 ) return false;
  if( argc==2 ) sh->exit_code = (int)strtol(argv[1], NULL, 10) & 0xff;
  sh->quit = true;
  return true;
}

bool cmd_quit(struct shell *sh, int argc, char **argv){
  (void)argv;
  if( argc!=1 ) return false;
  sh->quit = true;
  return true;
}
