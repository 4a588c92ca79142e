/* shell.h -- what the parts of the `vecdb` program share.
**
** Used by   shell/ only. The shell stands on two public doors: SQL through
**           an in-memory SQLite connection with our extension registered, and
**           vecdb.h for what is no SQL (import, backup, check, figures).
** Threads   one; Ctrl-C is a signal that sets `interrupted` and asks both
**           engines to stop.
*/
#ifndef VDB_SHELL_H
#define VDB_SHELL_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include "vecdb.h"

/* Exit codes, the same as documented in `vecdb -help`. */
enum shell_exit {
  EXIT_OK = 0, EXIT_SQL = 1, EXIT_USAGE = 2, EXIT_CANTOPEN = 3,
  EXIT_CORRUPT = 4, EXIT_BUSY = 5, EXIT_INTERRUPT = 130
};

enum shell_mode {
  MODE_BOX, MODE_TABLE, MODE_MARKDOWN, MODE_JSON, MODE_JSONL, MODE_CSV,
  MODE_TABS, MODE_LINE, MODE_LIST, MODE_HTML, MODE_QUOTE
};
#define SHELL_MAX_WIDTHS 64

/* Where the text being run comes from: names errors "FILE:LINE:". */
struct shell_source {
  FILE *in;                       /* NULL: the terminal */
  const char *name;               /* NULL: terminal or command line */
  int  n_line;                    /* line being read, from 1 */
  struct shell_source *outer;     /* that runs this one; set while running */
};

struct shell {
  sqlite3 *sql;                   /* in-memory host, collections mounted; or
                                  ** the SQLite database that was opened */
  vecdb   *db;                    /* own handle on the same file; NULL when
                                  ** it is a SQLite database */
  char    *path;                  /* of the file; NULL when none is open */
  bool     is_temp;               /* path is removed at the end */
  unsigned open_flags;            /* VECDB_OPEN_* for the next open */

  FILE    *out;                   /* results; stdout, a file or a pipe */
  bool     out_is_pipe;
  bool     out_once;              /* back to stdout after one command */
  enum shell_mode mode;
  bool     mode_set;              /* by the user: keep it */
  int      headers;               /* 1, 0, or -1: as the mode likes it */
  char     separator[16];
  char     null_value[32];
  char     prompt[2][32];         /* of a first line, of those that follow */
  sqlite3 *params;                /* of .parameter: table p(name, value) */
  int      width[SHELL_MAX_WIDTHS];  /* 0: as wide as needed */
  int      n_width;

  bool     is_interactive;        /* prompts, banner, progress */
  bool     batch, quiet, safe;
  bool     bail, echo, timer, stats;
  int      eqp;                   /* 0 off, 1 on, 2 full */
  int      n_thread;              /* 0: default */
  int      gpu;                   /* VECDB_GPU_*; 0: default */
  long     busy_ms;
  long long cache_bytes, build_bytes;   /* 0: default */
  bool     quit;                  /* .quit was given */
  int      exit_code;             /* of .exit N, else worst error so far */
  const char *raw_args;           /* of the running command, not taken apart */
  struct shell_source *source;    /* innermost; never NULL while running */
  int      depth;                 /* of .read */
  volatile int interrupted;       /* Ctrl-C since the last statement */
  volatile int defer_interrupt;   /* while nonzero, Ctrl-C only counts in.. */
  volatile int deferred;          /* ..this; the second ends the program */
};

/* main.c */
extern struct shell *shell_current;         /* for the signal handler */
int  shell_exit_of_sqlite(int rc);
int  shell_exit_of_vecdb(int rc);

/* open.c */
int  shell_open(struct shell *sh, const char *path);
void shell_close(struct shell *sh);
/* Tell the SQL handle what sh->gpu is. */
int  shell_gpu_apply(struct shell *sh);
/* VECDB_GPU_* by name; 0 if it is none. */
int  shell_gpu_mode(const char *z);
/* A fresh SQL handle on the open file, everything mounted. */
int  shell_reopen_sql(struct shell *sh);
/* Mount collections that have no table yet: ours made through vecdb.h, and
** those of other programs. A table whose collection is gone stays, and says
** so when it is used. */
int  shell_mount(struct shell *sh);
/* Mount the collections of another .vdb as schema `name`. */
int  shell_attach(struct shell *sh, const char *path, const char *name);

/* cmd_param.c */
/* Bind what .parameter has set to the parameters of st. */
void shell_bind_parameters(struct shell *sh, sqlite3_stmt *st);

/* repl.c */
/* Run text from the source until its end or .quit. */
void shell_run_source(struct shell *sh, struct shell_source *src);
/* Run one argument: SQL statements or one dot-command. */
void shell_run_text(struct shell *sh, const char *z);
void shell_run_sql(struct shell *sh, const char *z);
/* Print "error: ..." in the form the situation asks for, remember the exit
** code. */
void shell_error(struct shell *sh, int exit_code, const char *fmt, ...)
  __attribute__((format(printf,3,4)));

/* suggest.c */
/* For SQLite's "no such table: x" and the like: the nearest name there is, from
** sqlite3_malloc; else NULL. */
char *shell_suggest(struct shell *sh, const char *message);

/* cmd.c */
void shell_run_command(struct shell *sh, const char *line);
const char *const *shell_command_names(void);      /* ends with NULL */
/* Name and number of a mode; -1 when unknown. */
int  shell_mode_parse(const char *z);
extern const char *const shell_mode_names[];       /* ends with NULL */

/* cmd_file.c, cmd_show.c, cmd_set.c: the commands. argv[0] is the name
** without the dot. A false result prints the usage line. */
typedef bool (*shell_cmd_fn)(struct shell *sh, int argc, char **argv);

/* output.c */
/* Run one prepared statement and print its rows. SQLITE_DONE or an error. */
int  shell_print_rows(struct shell *sh, sqlite3_stmt *st);
/* Printable width of UTF-8 text in terminal columns. */
int  shell_text_width(const char *z, int n);
void shell_output_reset(struct shell *sh);          /* back to stdout */

/* import.c */
bool cmd_import(struct shell *sh, int argc, char **argv);

/* progress.c -- one line on stderr, at most ten times a second, only on a
** terminal and not with -batch or -quiet. */
struct progress {
  struct shell *sh;
  const char *phase, *unit;
  unsigned long long total;         /* 0: unknown */
  double t_start, t_shown, t_prev;  /* seconds */
  unsigned long long n_prev;
  bool is_on, was_shown;
};
void   progress_begin(struct progress *p, struct shell *sh, const char *phase,
                      const char *unit, unsigned long long total);
void   progress_update(struct progress *p, unsigned long long done);
/* Clears the line; prints `summary` (may be NULL) unless quiet. */
void   progress_end(struct progress *p, const char *summary);
int    progress_vecdb(void *arg, const vecdb_progress *v);  /* arg: progress */
double shell_now(void);
void   shell_format_count(char *buf, size_t n, unsigned long long v);
void   shell_format_bytes(char *buf, size_t n, unsigned long long v);
void   shell_format_secs(char *buf, size_t n, double s);

/* line.c */
/* One line without its newline, to be freed with free(); NULL at the end. */
char *line_read(struct shell *sh, const char *prompt);
/* From the signal handler: give up the line being read, if any. */
void  line_interrupt(void);
void  line_begin(struct shell *sh);                /* history, completion */
void  line_add_history(const char *z);
void  line_end(void);
#endif
