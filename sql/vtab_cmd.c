/* vtab_cmd.c -- INSERT INTO t(t) VALUES('command').
**
** A command runs in the transaction of the INSERT. `name=value` sets an option
** of the table that stays (gpu= one of the connection); a word alone does
** something now.
*/
#include "sql/vtab_int.h"

struct command {
  const char *name;
  int (*run)(struct sql_table *t);
};

/* On its own in autocommit, the command of a table with file= leaves the
** transaction that has changed nothing, so that graphs are built beside other
** writers, and comes back to it. */
static int optimize_with(struct sql_table *t, uint32_t flags, uint32_t ms){
  vecdb_optimize_options opt;
  int is_apart = vdb_conn_is_fresh(t->conn) && !(flags & VECDB_OPTIMIZE_SEAL);
  int rc, rc_back = SQLITE_OK;
  memset(&opt, 0, sizeof(opt));
  opt.size = sizeof(opt);
  opt.flags = flags;
  opt.budget_ms = ms;
  if( is_apart ) vdb_conn_leave(t->conn);
  rc = vecdb_optimize(t->coll, &opt);
  if( rc!=VECDB_OK ) rc = vdb_table_error(t, rc);
  else if( !is_apart ) vdb_conn_changed(t->conn);
  if( is_apart ) rc_back = vdb_conn_return(t->conn, &t->base.zErrMsg);
  return rc!=VECDB_OK ? rc : rc_back;
}

static int command_optimize(struct sql_table *t){
  return optimize_with(t, 0, 0);
}
static int command_flush(struct sql_table *t){
  return optimize_with(t, VECDB_OPTIMIZE_SEAL, 0);
}
static int command_rebuild(struct sql_table *t){
  return optimize_with(t, VECDB_OPTIMIZE_ALL, 0);
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

static int command_tune(struct sql_table *t){
  return vdb_command_tune(t, NULL);
}

static const struct command commands[] = {
  { "calibrate",       vdb_command_calibrate },
  { "detach",          command_detach },
  { "flush",           command_flush },
  { "integrity-check", command_check },
  { "optimize",        command_optimize },
  { "rebuild",         command_rebuild },
  { "tune",            command_tune },
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
  sqlite3_str_appendall(s, "ef=, recall=, optimize=, merge_rows=, capture=, gpu=");
  return vdb_table_set_error(t, SQLITE_ERROR, sqlite3_str_finish(s));
}

/* VECDB_GPU_OFF.. by name; VECDB_GPU_DEFAULT if it is none of them. */
int vdb_gpu_mode(const char *z){
  static const char *const name[] = { "off", "auto", "require" };
  for(int i=0; i<3; i++){
    if( sqlite3_stricmp(name[i], z)==0 ) return VECDB_GPU_OFF+i;
  }
  return VECDB_GPU_DEFAULT;
}

/* gpu=off|auto|require: of the file's handle, not kept. */
static int command_gpu(struct sql_table *t, const char *z){
  int mode = vdb_gpu_mode(z), rc;
  if( mode==VECDB_GPU_DEFAULT ){
    return vdb_table_set_error(t, SQLITE_ERROR, sqlite3_mprintf(
        "gpu must be off, auto or require, found \"%s\"", z));
  }
  rc = vecdb_set(t->conn->eng, "gpu", mode);
  return rc==VECDB_OK ? SQLITE_OK : vdb_table_error(t, rc);
}

static int command_option(struct sql_table *t, const char *z, const char *eq){
  int rc, n = (int)(eq - z);
  size_t i;
  if( n==3 && sqlite3_strnicmp(z, "gpu", 3)==0 ) return command_gpu(t, eq+1);
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

/* "ms=N": a budget. */
static int word_is_ms(const char *z, size_t n, uint32_t *ms){
  uint64_t v = 0;
  if( n<4 || n>12 || sqlite3_strnicmp(z, "ms=", 3)!=0 ) return 0;
  for(size_t i=3; i<n; i++){
    if( z[i]<'0' || z[i]>'9' ) return 0;
    v = v*10 + (uint64_t)(z[i]-'0');
  }
  if( v==0 || v>UINT32_MAX ) return 0;
  *ms = (uint32_t)v;
  return 1;
}

/* "optimize [ms=N] [device=cpu|gpu|auto] [fallback=cpu]", "rebuild ..": the
** words after the command, or its args. */
static int command_build(struct sql_table *t, const char *z, uint32_t flags){
  static const struct { const char *word; uint32_t flags; } words[] = {
    { "device=cpu",   0 },
    { "device=gpu",   VECDB_OPTIMIZE_GPU },
    { "device=auto",  VECDB_OPTIMIZE_GPU|VECDB_OPTIMIZE_GPU_OR_CPU },
    { "fallback=cpu", VECDB_OPTIMIZE_GPU_OR_CPU },
  };
  const size_t n_word = sizeof(words)/sizeof(*words);
  uint32_t more = 0, ms = 0;
  for(z += strspn(z, " "); *z; z += strspn(z, " ")){
    size_t i, n = strcspn(z, " ");
    for(i=0; i<n_word; i++){
      if( n==strlen(words[i].word)
       && sqlite3_strnicmp(z, words[i].word, (int)n)==0 ) break;
    }
    if( i<n_word ) more |= words[i].flags;
    else if( !word_is_ms(z, n, &ms) ){
      return vdb_table_set_error(t, SQLITE_ERROR, sqlite3_mprintf(
          "optimize takes ms=N, device=cpu, gpu or auto, and fallback=cpu, "
          "found \"%.40s\"", z));
    }
    z += n;
  }
  if( !(more & VECDB_OPTIMIZE_GPU) ) more = 0;
  if( more & VECDB_OPTIMIZE_GPU_OR_CPU ) more = VECDB_OPTIMIZE_GPU_OR_CPU;
  return optimize_with(t, flags | more, ms);
}

int vdb_table_command(struct sql_table *t, sqlite3_value *cmd,
                      sqlite3_value *args){
  const char *z = (const char*)sqlite3_value_text(cmd);
  const char *eq;
  size_t i;

  if( z==NULL ) return SQLITE_NOMEM;
  if( args && sqlite3_value_type(args)!=SQLITE_NULL ){
    const char *words = (const char*)sqlite3_value_text(args);
    if( words==NULL ) return SQLITE_NOMEM;
    if( sqlite3_stricmp(z, "optimize")==0 ) return command_build(t, words, 0);
    if( sqlite3_stricmp(z, "rebuild")==0 ){
      return command_build(t, words, VECDB_OPTIMIZE_ALL);
    }
    return vdb_table_set_error(t, SQLITE_ERROR, sqlite3_mprintf(
        "command \"%s\" takes no args", z));
  }
  if( sqlite3_strnicmp(z, "optimize ", 9)==0 ){
    return command_build(t, z+9, 0);
  }
  if( sqlite3_strnicmp(z, "rebuild ", 8)==0 ){
    return command_build(t, z+8, VECDB_OPTIMIZE_ALL);
  }
  eq = strchr(z, '=');
  if( sqlite3_strnicmp(z, "tune=", 5)==0 ) return vdb_command_tune(t, eq + 1);
  if( sqlite3_strnicmp(z, "capture=", 8)==0 ){
    return vdb_command_capture(t, eq + 1);
  }
  if( eq ) return command_option(t, z, eq);
  for(i=0; i<N_COMMAND; i++){
    if( sqlite3_stricmp(commands[i].name, z)==0 ) return commands[i].run(t);
  }
  return command_unknown(t, z);
}
