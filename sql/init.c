/* init.c -- entry points of the extension, and what gets registered.
**
** SQLite looks for an entry point named after the file: sqlite3_vecdb_init in
** vecdb.so, sqlite3_vec_init in a copy named vec0.so; sqlite3_extension_init
** serves every other name. The shell calls sqlite3_vecdb_init directly.
**
** A function vec_* or a module that the connection already has (sqlite-vec,
** say) is left alone.
*/
#define VDB_SQL_INIT 1
#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT1
#include "sql/vtab_int.h"

#include <stdarg.h>

#define SQLITE_OLDEST 3038000          /* sqlite3_vtab_in */

/* ---- Small helpers ------------------------------------------------------ */

char *vdb_sql_strdup(const char *z){
  size_t n = strlen(z) + 1;
  char *p = sqlite3_malloc64(n);
  if( p ) memcpy(p, z, n);
  return p;
}

/* The arguments may come from *err, so it is replaced last. */
int vdb_sql_fail(char **err, int rc, const char *fmt, ...){
  va_list ap;
  char *z;
  if( err==NULL ) return rc;
  va_start(ap, fmt);
  z = sqlite3_vmprintf(fmt, ap);
  va_end(ap);
  sqlite3_free(*err);
  *err = z;
  return z ? rc : SQLITE_NOMEM;
}

/* ---- State -------------------------------------------------------------- */

static struct sql_state *state_create(sqlite3 *db){
  struct sql_state *st = sqlite3_malloc(sizeof(*st));
  if( st==NULL ) return NULL;
  memset(st, 0, sizeof(*st));
  st->db = db;
  st->n_ref = 1;
  st->i_level = -1;
  st->cache_bytes = VDB_HOST_CACHE_DEFAULT;
  return st;
}

void vdb_state_unref(void *p){
  struct sql_state *st = p;
  if( st==NULL || --st->n_ref>0 ) return;
  sqlite3_free(st->default_file);
  sqlite3_free(st->last.plan);
  sqlite3_free(st->last.table);
  sqlite3_free(st->last.filter);
  sqlite3_free(st);
}

struct sql_state *vdb_function_state(sqlite3_context *ctx){
  return sqlite3_user_data(ctx);
}

/* ---- Registering -------------------------------------------------------- */

/* Does a PRAGMA that lists functions or modules list one like `pattern`, with
** n_arg arguments or any number of them (n_arg -2: whatever)? A PRAGMA, not the
** table of that name: compiling the latter reads the schema, and tables read
** before their module is registered are not known as its shadow tables. An
** SQLite without these pragmas cannot say, and has no conflict then. */
static int is_listed(sqlite3 *db, const char *pragma, const char *pattern,
                     int n_arg){
  sqlite3_stmt *s = NULL;
  int found = 0;
  if( sqlite3_prepare_v2(db, pragma, -1, &s, NULL)==SQLITE_OK ){
    while( !found && sqlite3_step(s)==SQLITE_ROW ){
      const char *z = (const char*)sqlite3_column_text(s, 0);
      int n = sqlite3_column_int(s, 4);
      found = z && sqlite3_strlike(pattern, z, 0)==0
           && (n_arg<-1 || n==-1 || n==n_arg);
    }
  }
  sqlite3_finalize(s);
  return found;
}

/* `_` in the pattern matches any character, which no name here minds. */
static int has_function(sqlite3 *db, const char *name, int n_arg){
  return is_listed(db, "PRAGMA function_list", name, n_arg);
}
static int has_module(sqlite3 *db, const char *name){
  return is_listed(db, "PRAGMA module_list", name, -2);
}

int vdb_register_function(struct sql_state *st, const char *name, int n_arg,
                          int flags,
                          void (*fn)(sqlite3_context*, int, sqlite3_value**)){
  if( st->has_others && has_function(st->db, name, n_arg) ){
    return SQLITE_OK;
  }
  st->n_ref++;
  return sqlite3_create_function_v2(st->db, name, n_arg, flags, st, fn, NULL,
                                    NULL, vdb_state_unref);
}

int vdb_register_module(struct sql_state *st, const char *name,
                        const sqlite3_module *m){
  if( st->has_others && has_module(st->db, name) ){
    return SQLITE_OK;
  }
  st->n_ref++;
  return sqlite3_create_module_v2(st->db, name, m, st, vdb_state_unref);
}

static int register_all(sqlite3 *db){
  struct sql_state *st = state_create(db);
  int rc;
  if( st==NULL ) return SQLITE_NOMEM;
  /* Nearly always nothing is there: one question instead of one per name. */
  st->vec0_is_strict = vdb_vec0_is_strict();
  st->vec0_is_other = has_module(db, "vec0");
  st->has_others = has_function(db, "vec%", -2) || has_module(db, "vec%");
  SQL_TRY( vdb_guard_register(st) );
  SQL_TRY( vdb_table_register(st) );
  SQL_TRY( vdb_register_module(st, "vec_each", &vdb_vec_each_module) );
  SQL_TRY( vdb_rows_register(st) );
  SQL_TRY( vdb_vec_register(st) );
  SQL_TRY( vdb_info_register(st) );
  SQL_TRY( vdb_vec_mmr_register(st) );
done:
  vdb_state_unref(st);
  return rc;
}

#ifdef _WIN32
# define ENTRY __declspec(dllexport)
#elif defined(__GNUC__)
# define ENTRY __attribute__((visibility("default")))
#else
# define ENTRY
#endif
ENTRY int sqlite3_vecdb_init(sqlite3 *db, char **err,
                             const sqlite3_api_routines *api);
ENTRY int sqlite3_vec_init(sqlite3 *db, char **err,
                           const sqlite3_api_routines *api);
ENTRY int sqlite3_extension_init(sqlite3 *db, char **err,
                                 const sqlite3_api_routines *api);

#ifndef SQLITE_CORE
/* The library's log goes where SQLite's goes. A program that has the extension
** linked in decides for itself. */
static void log_pass(void *arg, int rc, const char *msg){
  (void)arg;
  sqlite3_log(vdb_sql_code(rc), "vecdb: %s", msg);
}
#endif

int sqlite3_vecdb_init(sqlite3 *db, char **err,
                       const sqlite3_api_routines *api){
  SQLITE_EXTENSION_INIT2(api);
  (void)api;
  if( sqlite3_libversion_number()<SQLITE_OLDEST ){
    return vdb_sql_fail(err, SQLITE_ERROR, "vecdb needs SQLite 3.38.0 or "
                        "newer, this is %s", sqlite3_libversion());
  }
  if( has_module(db, "vecdb") ) return SQLITE_OK;
#ifndef SQLITE_CORE
  vecdb_config_log(log_pass, NULL);
#endif
  return register_all(db);
}

int sqlite3_vec_init(sqlite3 *db, char **err,
                     const sqlite3_api_routines *api){
  return sqlite3_vecdb_init(db, err, api);
}

int sqlite3_extension_init(sqlite3 *db, char **err,
                           const sqlite3_api_routines *api){
  return sqlite3_vecdb_init(db, err, api);
}
