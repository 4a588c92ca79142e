/* open.c -- opening and closing the file of a session.
**
** A .vdb is opened twice: an in-memory SQLite connection with the extension,
** where each collection is mounted as a table, and a vecdb handle for what is
** no SQL. Locks are those of the file, so the two behave as two processes
** would. A SQLite database is opened as such, and there is no vecdb handle.
*/
#include "shell/shell.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int vecdb_handle_open(struct shell *sh, const char *path){
  vecdb_options opt = VECDB_OPTIONS_INIT;
  int rc;
  opt.threads = (uint32_t)sh->n_thread;
  opt.gpu = (uint32_t)sh->gpu;
  opt.busy_ms = (uint32_t)sh->busy_ms;
  opt.cache_bytes = (uint64_t)sh->cache_bytes;
  opt.build_bytes = (uint64_t)sh->build_bytes;
  rc = vecdb_open(path, sh->open_flags, &opt, &sh->db);
  if( rc!=VECDB_OK ){
    shell_error(sh, rc==VECDB_NOMEM ? EXIT_SQL : shell_exit_of_vecdb(rc),
                "%s", sh->db ? vecdb_errmsg(sh->db) : vecdb_errstr(rc));
    vecdb_close(sh->db);
    sh->db = NULL;
  }
  return rc;
}

static int sql_exec_bound(struct shell *sh, const char *sql, const char *arg){
  sqlite3_stmt *st = NULL;
  int rc = sqlite3_prepare_v2(sh->sql, sql, -1, &st, NULL);
  if( rc==SQLITE_OK ){
    if( arg!=NULL ) sqlite3_bind_text(st, 1, arg, -1, SQLITE_TRANSIENT);
    while( (rc = sqlite3_step(st))==SQLITE_ROW ){}
    rc = sqlite3_finalize(st);
  }
  return rc;
}

static int sql_report(struct shell *sh, int rc){
  if( rc!=SQLITE_OK ){
    shell_error(sh, shell_exit_of_sqlite(rc), "%s",
                sh->sql ? sqlite3_errmsg(sh->sql) : sqlite3_errstr(rc));
  }
  return rc;
}

int shell_gpu_apply(struct shell *sh){
  static const char *const name[] = { "off", "off", "auto", "require" };
  return sql_exec_bound(sh, "SELECT vecdb_config('gpu', ?1)", name[sh->gpu]);
}

/* With -safe: no other file, whether by ATTACH or by VACUUM INTO. */
static int safe_authorize(void *arg, int action, const char *a1,
                          const char *a2, const char *schema,
                          const char *trigger){
  (void)arg; (void)a2; (void)schema; (void)trigger;
  if( action!=SQLITE_ATTACH ) return SQLITE_OK;
  return a1!=NULL && (a1[0]==0 || strcmp(a1, ":memory:")==0) ? SQLITE_OK
                                                             : SQLITE_DENY;
}

static int sql_confine(struct shell *sh){
  int rc = sql_exec_bound(sh, "SELECT vecdb_config('files', ?1)", "confined");
  sqlite3_set_authorizer(sh->sql, safe_authorize, NULL);
  return rc;
}

/* Ctrl-C reaches long work inside the extension through a flag. */
static int sql_prepare_session(struct shell *sh){
  sqlite3_stmt *st = NULL;
  int rc;
  sqlite3_busy_timeout(sh->sql, (int)sh->busy_ms);
  sqlite3_extended_result_codes(sh->sql, 1);
  rc = sqlite3_prepare_v2(sh->sql, "SELECT vecdb_config('interrupt', ?1)", -1,
                          &st, NULL);
  if( rc==SQLITE_OK ){
    sqlite3_bind_pointer(st, 1, (void*)&sh->interrupted, "vecdb_interrupt",
                         NULL);
    sqlite3_step(st);
    rc = sqlite3_finalize(st);
  }
  if( rc==SQLITE_OK && (sh->open_flags & VECDB_OPEN_READONLY) ){
    rc = sql_exec_bound(sh, "SELECT vecdb_config('readonly', ?1)", "1");
  }
  if( rc==SQLITE_OK && sh->gpu ) rc = shell_gpu_apply(sh);
  if( rc==SQLITE_OK && sh->build_bytes ){
    char z[32];
    snprintf(z, sizeof(z), "%lld", sh->build_bytes);
    rc = sql_exec_bound(sh, "SELECT vecdb_config('build_bytes', ?1)", z);
  }
  return rc;
}

/* An in-memory host with the module registered and pointed at our file. */
static int memory_host_open(struct shell *sh){
  int rc = sqlite3_open(":memory:", &sh->sql);
  if( rc==SQLITE_OK ) rc = sql_prepare_session(sh);
  if( rc==SQLITE_OK ){
    rc = sql_exec_bound(sh, "SELECT vecdb_config('default_file', ?1)",
                        sh->path);
  }
  if( rc==SQLITE_OK && sh->safe ) rc = sql_confine(sh);
  return sql_report(sh, rc);
}

static int file_host_open(struct shell *sh){
  int flags = sh->open_flags & VECDB_OPEN_READONLY ? SQLITE_OPEN_READONLY
                                                   : SQLITE_OPEN_READWRITE;
  int rc;
  if( sh->open_flags & VECDB_OPEN_NOFOLLOW ) flags |= SQLITE_OPEN_NOFOLLOW;
  rc = sqlite3_open_v2(sh->path, &sh->sql, flags, NULL);
  if( rc==SQLITE_OK ) rc = sql_prepare_session(sh);
  if( rc==SQLITE_OK ){
    rc = sqlite3_exec(sh->sql, "SELECT 1 FROM sqlite_schema", NULL, NULL,
                      NULL);
  }
  if( rc==SQLITE_OK && sh->safe ) rc = sql_confine(sh);
  return sql_report(sh, rc);
}

/* ---- Mounting ------------------------------------------------------------ */

struct mount { struct shell *sh; const char *path, *schema; };

static int mount_one(void *arg, const char *name, const char *text){
  struct mount *m = arg;
  struct shell *sh = m->sh;
  char *z = sqlite3_mprintf("CREATE VIRTUAL TABLE IF NOT EXISTS \"%w\".\"%w\" "
      "USING vecdb(file='%q', collection='%q')", m->schema, name, m->path,
      name);
  int rc = z ? sqlite3_exec(sh->sql, z, NULL, NULL, NULL) : SQLITE_NOMEM;
  (void)text;
  sqlite3_free(z);
  if( rc!=SQLITE_OK ){
    shell_error(sh, shell_exit_of_sqlite(rc), "cannot mount \"%s\": %s", name,
                sqlite3_errmsg(sh->sql));
  }
  return 0;
}

int shell_mount(struct shell *sh){
  struct mount m = { sh, sh->path, "main" };
  int rc;
  if( sh->db==NULL ) return VECDB_OK;
  rc = vecdb_list_collections(sh->db, mount_one, &m);
  if( rc!=VECDB_OK ){
    shell_error(sh, shell_exit_of_vecdb(rc), "%s", vecdb_errmsg(sh->db));
  }
  return rc;
}

/* Tables of a .vdb, in a memory schema of their own. */
static int attach_vdb(struct shell *sh, const char *path, const char *name){
  struct mount m = { sh, path, name };
  uint32_t flags = sh->open_flags & (VECDB_OPEN_READONLY | VECDB_OPEN_NOFOLLOW);
  vecdb_options opt = VECDB_OPTIONS_INIT;
  vecdb *db = NULL;
  char *z;
  int rc;
  opt.busy_ms = (uint32_t)sh->busy_ms;
  rc = vecdb_open(path, flags ? flags : VECDB_OPEN_READWRITE, &opt, &db);
  if( rc!=VECDB_OK ){
    shell_error(sh, shell_exit_of_vecdb(rc), "%s",
                db ? vecdb_errmsg(db) : vecdb_errstr(rc));
  }else{
    z = sqlite3_mprintf("ATTACH ':memory:' AS \"%w\"", name);
    rc = z ? sqlite3_exec(sh->sql, z, NULL, NULL, NULL) : SQLITE_NOMEM;
    sqlite3_free(z);
    rc = sql_report(sh, rc);
    if( rc==SQLITE_OK ) rc = vecdb_list_collections(db, mount_one, &m);
  }
  vecdb_close(db);
  return rc;
}

/* "SQLite format 3" is what a SQLite database begins with. */
static bool is_sqlite_file(const char *path){
  char magic[16] = "";
  FILE *f = fopen(path, "rb");
  bool yes = f && fread(magic, 1, 16, f)==16
          && memcmp(magic, "SQLite format 3", 16)==0;
  if( f ) fclose(f);
  return yes;
}

int shell_attach(struct shell *sh, const char *path, const char *name){
  char *full, *z;
  int rc;
  if( is_sqlite_file(path) ){
    z = sqlite3_mprintf("ATTACH %Q AS \"%w\"", path, name);
    rc = z ? sqlite3_exec(sh->sql, z, NULL, NULL, NULL) : SQLITE_NOMEM;
    sqlite3_free(z);
    return sql_report(sh, rc);
  }
  full = realpath(path, NULL);         /* .cd must not change what is meant */
  if( full==NULL ){
    shell_error(sh, EXIT_CANTOPEN, "cannot attach \"%s\": %s", path,
                strerror(errno));
    return VECDB_CANTOPEN;
  }
  rc = attach_vdb(sh, full, name);
  free(full);
  return rc;
}

/* ---- Opening and closing ------------------------------------------------- */

int shell_reopen_sql(struct shell *sh){
  if( sh->sql ) sqlite3_close_v2(sh->sql);
  sh->sql = NULL;
  return memory_host_open(sh)==SQLITE_OK ? shell_mount(sh) : VECDB_ERROR;
}

/* Without a file the shell works on a temporary one, gone at the end. */
static char *temp_path(void){
  const char *dir = getenv("TMPDIR");
  char *z = sqlite3_mprintf("%s/vecdb-XXXXXX",
                            dir!=NULL && dir[0] ? dir : "/tmp");
  int fd = z ? mkstemp(z) : -1;
  if( fd<0 ){ sqlite3_free(z); return NULL; }
  close(fd);
  return z;
}

static bool open_handles(struct shell *sh){
  if( is_sqlite_file(sh->path) ) return file_host_open(sh)==SQLITE_OK;
  return vecdb_handle_open(sh, sh->path)==VECDB_OK
      && memory_host_open(sh)==SQLITE_OK
      && shell_mount(sh)==VECDB_OK;
}

int shell_open(struct shell *sh, const char *path){
  shell_close(sh);
  sh->is_temp = path==NULL || path[0]==0 || strcmp(path, ":memory:")==0;
  sh->path = sh->is_temp ? temp_path() : sqlite3_mprintf("%s", path);
  if( sh->path==NULL ){
    shell_error(sh, EXIT_CANTOPEN, "cannot make a temporary file: %s",
                strerror(errno));
    return VECDB_CANTOPEN;
  }
  if( open_handles(sh) ) return VECDB_OK;
  shell_close(sh);
  return VECDB_CANTOPEN;
}

void shell_close(struct shell *sh){
  if( sh->sql ) sqlite3_close_v2(sh->sql);
  vecdb_close(sh->db);
  if( sh->is_temp && sh->path ) unlink(sh->path);
  sqlite3_free(sh->path);
  sh->sql = NULL;
  sh->db = NULL;
  sh->path = NULL;
  sh->is_temp = false;
}
