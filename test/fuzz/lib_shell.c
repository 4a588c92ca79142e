/* lib_shell.c -- the shell inside a fuzz target. See lib_shell.h.
**
** The linker sends the shell's popen, system and fopen here (--wrap), and
** SQLite's files pass a VFS of ours. Files live in memory where the system
** has such a folder: a sync per execution would be most of it. Statements may
** be of any cost, so a progress handler ends long ones, and SQLite's own
** limits bound what one value takes. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fuzz/lib_shell.h"

enum { N_STEP_MAX = 200 };              /* of 1000 operations each */

int sqlite3_vecdb_init(sqlite3 *db, char **err, const void *api);
FILE *__wrap_popen(const char *command, const char *mode);
int __wrap_system(const char *command);
FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);

static sqlite3_vfs vfs_real, vfs_watch;
static bool is_watched;
static int n_step;
static char folder[200];

const char *shell_folder(void){ return folder; }

FILE *__wrap_popen(const char *command, const char *mode){
  VDB_UNUSED(mode);
  fuzz_fail("a program was started: %s", command);
}

int __wrap_system(const char *command){
  fuzz_fail("a program was started: %s", command ? command : "");
}

FILE *__wrap_fopen(const char *path, const char *mode){
  if( is_watched && (mode[0]!='r' || strchr(mode, '+')) ){
    fuzz_fail("\"%s\" was opened with \"%s\"", path, mode);
  }
  return __real_fopen(path, mode);
}

/* The host is in memory and temporary files have no name. */
static int watch_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *f,
                      int flags, int *out){
  VDB_UNUSED(vfs);
  if( is_watched && path ) fuzz_fail("SQLite opened \"%s\"", path);
  return vfs_real.xOpen(&vfs_real, path, f, flags, out);
}

void shell_world_begin(void){
  const char *tmp = getenv("TMPDIR");
  sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
  if( access("/dev/shm", W_OK)==0 ) setenv("TMPDIR", "/dev/shm", 1);
  else if( !tmp ) setenv("TMPDIR", "/tmp", 1);
  snprintf(folder, sizeof(folder), "%s", getenv("TMPDIR"));
  vfs_real = vfs_watch = *vfs;
  vfs_watch.zName = "watch";
  vfs_watch.xOpen = watch_open;
  sqlite3_vfs_register(&vfs_watch, 1);
  sqlite3_auto_extension((void(*)(void))(uintptr_t)sqlite3_vecdb_init);
  sqlite3_hard_heap_limit64(256<<20);
  stdout = __real_fopen("/dev/null", "w");
  stderr = __real_fopen("/dev/null", "w");
}

static int step_count(void *arg){
  VDB_UNUSED(arg);
  return ++n_step>N_STEP_MAX;
}

void shell_renew(struct shell *sh){
  sh->exit_code = EXIT_OK;
  n_step = 0;
}

void shell_begin(struct shell *sh, bool is_safe, const char *sql){
  memset(sh, 0, sizeof(*sh));
  sh->open_flags = VECDB_OPEN_READWRITE | VECDB_OPEN_CREATE;
  sh->out = stdout;
  sh->headers = -1;
  sh->mode = MODE_LIST;
  sh->separator[0] = '|';
  sh->n_thread = 1;
  sh->batch = sh->quiet = true;
  shell_current = sh;
  if( shell_open(sh, NULL)!=VECDB_OK ) fuzz_fail("cannot open a shell");
  if( sql && sqlite3_exec(sh->sql, sql, NULL, NULL, NULL)!=SQLITE_OK ){
    fuzz_fail("%s", sqlite3_errmsg(sh->sql));
  }
  if( is_safe ){
    sh->safe = true;
    if( shell_reopen_sql(sh)!=VECDB_OK ) fuzz_fail("cannot be safe");
  }
  sqlite3_limit(sh->sql, SQLITE_LIMIT_LENGTH, 1<<20);
  sqlite3_limit(sh->sql, SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 200);
  sqlite3_progress_handler(sh->sql, 1000, step_count, NULL);
  shell_renew(sh);
  is_watched = is_safe;
}

void shell_feed(struct shell *sh, const void *p, size_t n){
  struct shell_source src = { NULL, "input", 0, NULL };
  if( n==0 ) return;
  src.in = fmemopen((void*)(uintptr_t)p, n, "r");
  if( !src.in ) fuzz_fail("no stream");
  shell_run_source(sh, &src);
  fclose(src.in);
}

void shell_end(struct shell *sh){
  is_watched = false;
  shell_output_reset(sh);
  sqlite3_progress_handler(sh->sql, 0, NULL, NULL);
  shell_close(sh);
  sqlite3_close(sh->params);
  if( sqlite3_memory_used()>1<<20 ){
    fuzz_fail("SQLite keeps %lld bytes", (long long)sqlite3_memory_used());
  }
}
