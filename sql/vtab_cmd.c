/* vtab_cmd.c -- INSERT INTO t(t) VALUES('command').
**
** A command runs in the transaction of the INSERT. `name=value` sets an option
** of the table that stays; a word alone does something now.
*/
#include "sql/vtab_int.h"

struct command {
  const char *name;
  int (*run)(struct sql_table *t);
};

static int optimize_with(struct sql_table *t, uint32_t flags){
  vecdb_optimize_options opt;
  int rc;
  memset(&opt, 0, sizeof(opt));
  opt.size = sizeof(opt);
  opt.flags = flags;
  rc = vecdb_optimize(t->coll, &opt);
  if( rc!=VECDB_OK ) return vdb_table_error(t, rc);
  vdb_conn_changed(t->conn);
  return SQLITE_OK;
}

static int command_optimize(struct sql_table *t){
  return optimize_with(t, 0);
}
static int command_flush(struct sql_table *t){
  return optimize_with(t, VECDB_OPTIMIZE_SEAL);
}
static int command_rebuild(struct sql_table *t){
  return optimize_with(t, VECDB_OPTIMIZE_ALL);
}

struct finding {
  int n;
  char *first;
};

static void note_finding(void *arg, int severity, const char *object,
                         const char *message){
  struct finding *f = arg;
  if( severity<2 ) return;
  if( f->n++==0 ) f->first = sqlite3_mprintf("%s: %s", object, message);
}

int vdb_table_check(struct sql_table *t, int is_quick, char **err){
  struct finding f = { 0, NULL };
  int rc = vecdb_check(t->conn->eng, is_quick, note_finding, &f);
  if( f.n>0 ){
    rc = vdb_sql_fail(err, SQLITE_CORRUPT_VTAB,
        "\"%s\" is damaged in %d place%s: %s", t->conn->path, f.n,
        f.n>1 ? "s" : "", f.first ? f.first : "");
    sqlite3_free(f.first);
    return rc;
  }
  return rc==VECDB_OK ? SQLITE_OK : vdb_conn_error(t->conn, rc, err);
}

static int command_check(struct sql_table *t){
  return vdb_table_check(t, 0, &t->base.zErrMsg);
}

static int command_detach(struct sql_table *t){
  if( !t->is_hosted ) return vdb_table_detach(t);
  return vdb_table_set_error(t, SQLITE_ERROR, sqlite3_mprintf(
      "table \"%s\" is stored in its database; only a table with file= can be "
      "detached", t->name));
}

static const struct command commands[] = {
  { "detach",          command_detach },
  { "flush",           command_flush },
  { "integrity-check", command_check },
  { "optimize",        command_optimize },
  { "rebuild",         command_rebuild },
};
#define N_COMMAND (sizeof(commands)/sizeof(commands[0]))

/* Options of a table, and the older names of some. */
static const struct { const char *name, *option; } options[] = {
  { "ef",         "ef" },
  { "recall",     "recall" },
  { "optimize",   "optimize" },
  { "merge_rows", "merge_rows" },
  { "oversample", "ef" },
  { "search_list_size", "ef" },
  { "search_list_size_search", "ef" },
};
#define N_OPTION (sizeof(options)/sizeof(options[0]))

static int command_unknown(struct sql_table *t, const char *z){
  sqlite3_str *s;
  size_t i;
  if( t->is_vec0 ){
    return vdb_table_set_error(t, SQLITE_ERROR, sqlite3_mprintf(
        "unknown vec0 command: '%s'", z));
  }
  s = sqlite3_str_new(NULL);
  sqlite3_str_appendf(s, "unknown command \"%s\" for table \"%s\"; known: ", z,
                      t->name);
  for(i=0; i<N_COMMAND; i++) sqlite3_str_appendf(s, "%s, ", commands[i].name);
  sqlite3_str_appendall(s, "ef=, recall=, optimize=, merge_rows=");
  return vdb_table_set_error(t, SQLITE_ERROR, sqlite3_str_finish(s));
}

static int command_option(struct sql_table *t, const char *z, const char *eq){
  int rc, n = (int)(eq - z);
  size_t i;
  for(i=0; i<N_OPTION; i++){
    if( sqlite3_strnicmp(options[i].name, z, n)==0 && options[i].name[n]==0 ){
      if( t->is_hosted && sqlite3_strnicmp(eq + 1, "background", 10)==0 ){
        return vdb_table_set_error(t, SQLITE_ERROR, sqlite3_mprintf(
            "optimize=background needs a table with file="));
      }
      rc = vecdb_collection_set(t->coll, options[i].option, eq + 1);
      if( rc!=VECDB_OK ) return vdb_table_error(t, rc);
      vdb_conn_changed(t->conn);
      return SQLITE_OK;
    }
  }
  return command_unknown(t, z);
}

int vdb_table_command(struct sql_table *t, sqlite3_value *cmd,
                      sqlite3_value *args){
  const char *z = (const char*)sqlite3_value_text(cmd);
  const char *eq;
  size_t i;

  if( z==NULL ) return SQLITE_NOMEM;
  if( args && sqlite3_value_type(args)!=SQLITE_NULL ){
    return vdb_table_set_error(t, SQLITE_ERROR, sqlite3_mprintf(
        "command \"%s\" takes no args", z));
  }
  eq = strchr(z, '=');
  if( eq ) return command_option(t, z, eq);
  for(i=0; i<N_COMMAND; i++){
    if( sqlite3_stricmp(commands[i].name, z)==0 ) return commands[i].run(t);
  }
  return command_unknown(t, z);
}
