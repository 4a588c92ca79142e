/* repl.c -- reading statements, running them, saying what went wrong.
**
** INPUT     A line that begins with '.' in column 0 is a dot-command, with
**           '#' a comment; both only between statements. Everything else is
**           collected until SQLite calls it complete (";" outside quotes), or
**           until a line that is just "/" or "go".
** ERRORS    stderr. At a prompt: "error: message", the line and a caret where
**           the position is known. In a script: "error: FILE:LINE: message".
**           Scripts go on unless -bail or `.bail on`.
*/
#include "shell/shell.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* ---- Errors -------------------------------------------------------------- */

static void exit_code_note(struct shell *sh, int code){
  /* The first error that is worse than "a statement failed" wins. */
  if( sh->exit_code==EXIT_OK || sh->exit_code==EXIT_SQL ) sh->exit_code = code;
}

void shell_error(struct shell *sh, int exit_code, const char *fmt, ...){
  va_list ap;
  char *z;
  va_start(ap, fmt);
  z = sqlite3_vmprintf(fmt, ap);
  va_end(ap);
  fflush(sh->out);
  if( sh->source!=NULL && sh->source->name!=NULL ){
    fprintf(stderr, "error: %s:%d: %s\n", sh->source->name,
            sh->source->n_line, z ? z : "out of memory");
  }else{
    fprintf(stderr, "error: %s\n", z ? z : "out of memory");
  }
  sqlite3_free(z);
  if( !sh->is_interactive || exit_code!=EXIT_SQL ) exit_code_note(sh, exit_code);
}

/* The offending line of the statement and a caret under the place. */
static void caret_print(const char *sql, int offset){
  int lo = offset, hi = offset;
  while( lo>0 && sql[lo-1]!='\n' ) lo--;
  while( sql[hi]!=0 && sql[hi]!='\n' ) hi++;
  if( offset-lo>60 ) lo = offset-60;
  if( hi-offset>60 ) hi = offset+60;
  fprintf(stderr, "  %.*s\n  %*s^\n", hi-lo, sql+lo,
          shell_text_width(sql+lo, offset-lo), "");
}

static void sql_error(struct shell *sh, const char *sql, int rc){
#if SQLITE_VERSION_NUMBER>=3038000
  int offset = sqlite3_error_offset(sh->sql);
#else
  int offset = -1;
#endif
  char *msg = sqlite3_mprintf("%s", (rc & 0xff)==SQLITE_INTERRUPT
                              ? "interrupted" : sqlite3_errmsg(sh->sql));
  char *near = msg ? shell_suggest(sh, msg) : NULL;
  if( near ){
    shell_error(sh, shell_exit_of_sqlite(rc), "%s; did you mean \"%s\"?", msg,
                near);
  }else{
    shell_error(sh, shell_exit_of_sqlite(rc), "%s", msg);
  }
  sqlite3_free(near);
  sqlite3_free(msg);
  if( sh->is_interactive && offset>=0 && offset<=(int)strlen(sql) ){
    caret_print(sql, offset);
  }
}

/* ---- One statement ------------------------------------------------------- */

struct stopwatch { double real, user, sys; };

static void stopwatch_read(struct stopwatch *w){
  struct rusage ru;
  getrusage(RUSAGE_SELF, &ru);
  w->real = shell_now();
  w->user = (double)ru.ru_utime.tv_sec + 1e-6*(double)ru.ru_utime.tv_usec;
  w->sys = (double)ru.ru_stime.tv_sec + 1e-6*(double)ru.ru_stime.tv_usec;
}

static void timer_print(struct shell *sh, const struct stopwatch *a){
  struct stopwatch b;
  stopwatch_read(&b);
  fprintf(sh->out, "Run Time: real %.6f user %.6f sys %.6f\n",
          b.real-a->real, b.user-a->user, b.sys-a->sys);
}

/* Show the plan of `st` as EXPLAIN QUERY PLAN tells it, as a tree. */
static void plan_print(struct shell *sh, sqlite3_stmt *st){
  char *z = sqlite3_mprintf("EXPLAIN QUERY PLAN %s", sqlite3_sql(st));
  sqlite3_stmt *plan = NULL;
  int depth[64], id[64], n = 0;
  if( z!=NULL && sqlite3_stmt_isexplain(st)==0
   && sqlite3_prepare_v2(sh->sql, z, -1, &plan, NULL)==SQLITE_OK ){
    while( sqlite3_step(plan)==SQLITE_ROW ){
      int parent = sqlite3_column_int(plan, 1), d = 0;
      for(int i=0; i<n; i++) if( id[i]==parent ) d = depth[i]+1;
      if( n==0 ) fputs("QUERY PLAN\n", sh->out);
      if( n<64 ){ id[n] = sqlite3_column_int(plan, 0); depth[n++] = d; }
      fprintf(sh->out, "%*s`--%s\n", d*3, "", sqlite3_column_text(plan, 3));
    }
  }
  sqlite3_finalize(plan);
  sqlite3_free(z);
}

static void last_query_print(struct shell *sh){
  sqlite3_stmt *st = NULL;
  if( sqlite3_prepare_v2(sh->sql, "SELECT * FROM vecdb_last_query", -1, &st,
                         NULL)==SQLITE_OK ){
    shell_print_rows(sh, st);
  }
  sqlite3_finalize(st);
}

static void stats_print(struct shell *sh){
  vecdb_stats s;
  char mem[32], peak[32];
  memset(&s, 0, sizeof s);
  s.size = sizeof s;
  if( sh->db==NULL || vecdb_stat(sh->db, &s)!=VECDB_OK ) return;
  shell_format_bytes(mem, sizeof mem, s.mem_bytes);
  shell_format_bytes(peak, sizeof peak, s.mem_peak_bytes);
  fprintf(sh->out, "memory %s (peak %s), pages %llu (%llu free), txid %llu\n",
          mem, peak, (unsigned long long)s.n_page,
          (unsigned long long)s.n_free_page, (unsigned long long)s.txid);
}

/* A table that is not there may be a collection that another program has made
** since: look again once. */
static int statement_prepare(struct shell *sh, const char *z,
                             sqlite3_stmt **st, const char **tail){
  int rc = sqlite3_prepare_v2(sh->sql, z, -1, st, tail);
  if( rc!=SQLITE_ERROR || !sqlite3_get_autocommit(sh->sql)
   || sh->db==NULL
   || strncmp(sqlite3_errmsg(sh->sql), "no such table", 13)!=0
   || shell_mount(sh)!=VECDB_OK ) return rc;
  return sqlite3_prepare_v2(sh->sql, z, -1, st, tail);
}

/* Prepare and run the first statement of z; *tail is where the next begins.
** False after an error. */
static bool statement_run(struct shell *sh, const char *z, const char **tail){
  sqlite3_stmt *st = NULL;
  struct stopwatch watch;
  int rc = statement_prepare(sh, z, &st, tail);
  bool was_explain;
  if( rc!=SQLITE_OK ){ sql_error(sh, z, rc); return false; }
  if( st==NULL ) return true;                    /* only a comment */
  if( sh->echo ) fprintf(sh->out, "%s\n", sqlite3_sql(st));
  was_explain = sqlite3_stmt_isexplain(st)!=0;
  shell_bind_parameters(sh, st);
  if( sh->eqp ) plan_print(sh, st);
  stopwatch_read(&watch);
  rc = shell_print_rows(sh, st);
  if( rc!=SQLITE_DONE ) sql_error(sh, z, sqlite3_extended_errcode(sh->sql));
  sqlite3_finalize(st);
  fflush(sh->out);
  if( rc==SQLITE_DONE && sh->eqp==2 && !was_explain ) last_query_print(sh);
  if( sh->timer ) timer_print(sh, &watch);
  if( sh->stats ) stats_print(sh);
  return rc==SQLITE_DONE;
}

void shell_run_sql(struct shell *sh, const char *z){
  while( *z && !sh->quit ){
    const char *tail = NULL;
    sh->interrupted = 0;
    while( isspace((unsigned char)*z) ) z++;
    if( *z==0 ) break;
    if( !statement_run(sh, z, &tail) ){
      if( sh->bail && !sh->is_interactive ) sh->quit = true;
      break;                     /* as in sqlite3, the rest of the input goes */
    }
    z = tail;
  }
  if( sh->out_once ) shell_output_reset(sh);
}

void shell_run_text(struct shell *sh, const char *z){
  if( z[0]=='.' ) shell_run_command(sh, z);
  else shell_run_sql(sh, z);
}

/* ---- Lines to statements ------------------------------------------------- */

struct text { char *z; size_t n, n_cap; };

static bool text_add(struct text *t, const char *z){
  size_t n = strlen(z);
  if( t->n+n+2 > t->n_cap ){
    size_t n_cap = (t->n_cap + n)*2 + 256;
    char *p = realloc(t->z, n_cap);
    if( p==NULL ) return false;
    t->z = p;
    t->n_cap = n_cap;
  }
  memcpy(t->z+t->n, z, n);
  t->n += n;
  t->z[t->n++] = '\n';
  t->z[t->n] = 0;
  return true;
}

static bool is_blank(const char *z){
  while( isspace((unsigned char)*z) ) z++;
  return *z==0;
}

/* "/" or "go" alone on a line ends a statement, as in other shells. */
static bool is_terminator(const char *z){
  size_t n = strlen(z);
  while( n>0 && isspace((unsigned char)z[n-1]) ) n--;
  return (n==1 && z[0]=='/') || (n==2 && sqlite3_strnicmp(z, "go", 2)==0);
}

/* Take in one line; runs what became complete. */
static void line_take(struct shell *sh, struct text *t, const char *z){
  if( t->n==0 && (is_blank(z) || z[0]=='#') ) return;
  if( t->n==0 && z[0]=='.' ){
    if( sh->echo ) fprintf(sh->out, "%s\n", z);
    shell_run_command(sh, z);
    return;
  }
  if( is_terminator(z) && t->n>0 ) z = ";";
  if( !text_add(t, z) ){
    shell_error(sh, EXIT_SQL, "out of memory");
    t->n = 0;
    return;
  }
  if( sqlite3_complete(t->z) ){
    shell_run_sql(sh, t->z);
    t->n = 0;
  }
}

void shell_run_source(struct shell *sh, struct shell_source *src){
  struct shell_source *outer = sh->source;
  struct text t = { NULL, 0, 0 };
  src->outer = outer;
  sh->source = src;
  while( !sh->quit ){
    char *z;
    sh->interrupted = 0;
    z = line_read(sh, sh->prompt[t.n!=0]);
    if( z==NULL ) break;
    if( src->in==NULL && sh->interrupted ){          /* Ctrl-C: start anew */
      t.n = 0;
      free(z);
      continue;
    }
    src->n_line++;
    if( src->in==NULL ) line_add_history(z);
    line_take(sh, &t, z);
    free(z);
    if( sh->bail && sh->exit_code && !sh->is_interactive ) break;
    if( sh->interrupted && src->in!=NULL ){
      sh->exit_code = EXIT_INTERRUPT;
      sh->quit = true;
    }
  }
  if( t.n>0 && !sh->quit && !is_blank(t.z) ){
    if( src->in==NULL ) putchar('\n');
    shell_run_sql(sh, t.z);
  }else if( src->in==NULL && !sh->quit ){
    putchar('\n');
  }
  free(t.z);
  sh->source = outer;
}
