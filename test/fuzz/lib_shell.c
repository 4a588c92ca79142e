/* lib_shell.c -- the shell inside a fuzz target. See lib_shell.h.
**
** The linker sends the shell's popen, system and fopen here (--wrap), and
** SQLite's files pass a VFS of ours. Files live in memory where the system
** has such a folder: a sync per execution would be most of it. Statements may
** be of any cost, so a progress handler ends long ones, and SQLite's own
** limits bound what one value takes.
**
** Opening a shell and filling its table takes a hundred times as long as a
** short script. So one that comes back as it was lent is lent again: no
** statement that writes or sets anything was run, no transaction was made
** through the other handle, and the settings are put back. Of any doubt it is
** closed, and an execution never depends on those before it. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fuzz/lib_shell.h"

enum { N_STEP_MAX = 200 };              /* of 1000 operations each */
enum { N_KEPT_MAX = 2 };

/* A shell that is lent, or waits for it. */
struct kept {
  struct shell sh, first;               /* as it is; as it was lent */
  const char *sql;                      /* what it was made with */
  bool is_safe, is_lent, is_changed;
  uint64_t txid;
};

int sqlite3_vecdb_init(sqlite3 *db, char **err, const void *api);
FILE *__wrap_popen(const char *command, const char *mode);
int __wrap_system(const char *command);
FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);

static sqlite3_vfs vfs_real, vfs_watch;
static bool is_watched;
static int n_step;
static char folder[200];
static struct kept kept[N_KEPT_MAX];

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

/* ---- lending ------------------------------------------------------------- */

static uint64_t shell_txid(struct shell *sh){
  vecdb_stats st = { .size = sizeof(st) };
  return sh->db && vecdb_stat(sh->db, &st)==VECDB_OK ? st.txid : 0;
}

/* Whether the handle may be another one after this statement. The question
** that the extension itself asks is none. */
static bool statement_changes(sqlite3_stmt *s){
  static const char *const words[] = { "pragma", "attach", "config",
                                       "resolve" };
  const char *z = sqlite3_sql(s);
  if( !sqlite3_stmt_readonly(s) || !z ) return true;
  if( strcmp(z, "PRAGMA busy_timeout")==0 ) return false;
  for(size_t i=0; i<VDB_ARRAY_LEN(words); i++){
    if( strcasestr(z, words[i]) ) return true;
  }
  return false;
}

static int statement_watch(unsigned what, void *arg, void *stmt, void *text){
  struct kept *k = arg;
  VDB_UNUSED(what);
  VDB_UNUSED(text);
  if( statement_changes(stmt) ) k->is_changed = true;
  return 0;
}

/* Commands that open something or set what a handle keeps to itself. */
static bool script_changes(const char *p, size_t n){
  static const char *const words[] = { "open", "restore", "attach", "cd" };
  for(size_t i=0; i<VDB_ARRAY_LEN(words); i++){
    if( memmem(p, n, words[i], strlen(words[i])) ) return true;
  }
  return false;
}

static void kept_make(struct kept *k, bool is_safe, const char *sql){
  struct shell *sh = &k->sh;
  memset(k, 0, sizeof(*k));
  k->sql = sql;
  k->is_safe = is_safe;
  sh->open_flags = VECDB_OPEN_READWRITE | VECDB_OPEN_CREATE;
  sh->out = stdout;
  sh->headers = -1;
  sh->mode = MODE_LIST;
  sh->separator[0] = '|';
  sh->n_thread = 1;
  sh->batch = sh->quiet = true;
  sh->safe = is_safe;
  shell_current = sh;
  if( shell_open(sh, NULL)!=VECDB_OK ) fuzz_fail("cannot open a shell");
  if( sql && sqlite3_exec(sh->sql, sql, NULL, NULL, NULL)!=SQLITE_OK ){
    fuzz_fail("%s", sqlite3_errmsg(sh->sql));
  }
  sqlite3_limit(sh->sql, SQLITE_LIMIT_LENGTH, 1<<20);
  sqlite3_limit(sh->sql, SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 200);
  sqlite3_progress_handler(sh->sql, 1000, step_count, NULL);
  sqlite3_trace_v2(sh->sql, SQLITE_TRACE_STMT, statement_watch, k);
  k->first = *sh;
  k->txid = shell_txid(sh);
}

static void kept_close(struct kept *k){
  sqlite3_progress_handler(k->sh.sql, 0, NULL, NULL);
  shell_close(&k->sh);
  memset(k, 0, sizeof(*k));
}

/* As it was lent, but for settings that are only in the struct? */
static bool kept_is_same(struct kept *k){
  const struct shell *a = &k->sh, *b = &k->first;
  return !k->is_changed && a->sql==b->sql && a->db==b->db && a->path==b->path
      && a->busy_ms==b->busy_ms && a->gpu==b->gpu
      && a->cache_bytes==b->cache_bytes && sqlite3_get_autocommit(a->sql)
      && !vecdb_in_transaction(a->db) && shell_txid(&k->sh)==k->txid;
}

/* One that waits and was made the same way, or else a place for a new one. */
static struct kept *kept_find(bool is_safe, const char *sql){
  struct kept *k, *free_one = NULL;
  for(size_t i=0; i<N_KEPT_MAX; i++){
    k = &kept[i];
    if( k->is_lent ) continue;
    if( !free_one || free_one->sh.sql ) free_one = k;
    if( k->sh.sql && k->sql==sql && k->is_safe==is_safe ) return k;
  }
  if( !free_one ) fuzz_fail("too many shells are lent");
  if( free_one->sh.sql ) kept_close(free_one);
  kept_make(free_one, is_safe, sql);
  return free_one;
}

struct shell *shell_lend(bool is_safe, const char *sql){
  struct kept *k = kept_find(is_safe, sql);
  k->is_lent = true;
  k->is_changed = false;
  shell_current = &k->sh;
  shell_renew(&k->sh);
  is_watched = is_safe;
  return &k->sh;
}

void shell_return(struct shell *sh){
  struct kept *k = &kept[0];
  while( &k->sh!=sh ) k++;
  is_watched = false;
  shell_output_reset(sh);
  sqlite3_close(sh->params);
  k->is_lent = false;
  if( kept_is_same(k) ) k->sh = k->first;
  else kept_close(k);
  if( sqlite3_memory_used()>2<<20 ){
    fuzz_fail("SQLite keeps %lld bytes", (long long)sqlite3_memory_used());
  }
}

void shell_world_end(void){
  for(size_t i=0; i<N_KEPT_MAX; i++){
    if( kept[i].sh.sql ) kept_close(&kept[i]);
  }
}

void shell_feed(struct shell *sh, const void *p, size_t n){
  struct shell_source src = { NULL, "input", 0, NULL };
  struct kept *k = &kept[0];
  if( n==0 ) return;
  while( &k->sh!=sh ) k++;
  if( script_changes(p, n) ) k->is_changed = true;
  src.in = fmemopen((void*)(uintptr_t)p, n, "r");
  if( !src.in ) fuzz_fail("no stream");
  shell_run_source(sh, &src);
  fclose(src.in);
}
