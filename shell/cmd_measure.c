/* cmd_measure.c -- .recall and .tune: what the SQL functions measure, and the
** commands that keep or apply it. */
#include "shell/cmd.h"

#include <stdlib.h>
#include <string.h>

/* INSERT INTO t(t) VALUES(command); false after an error. */
static bool table_command(struct shell *sh, const char *table,
                          const char *command){
  char *z = sqlite3_mprintf("INSERT INTO \"%w\"(\"%w\") VALUES(?1)", table,
                            table);
  bool ok = z && cmd_query(sh, z, command);
  sqlite3_free(z);
  return ok;
}

static bool table_query(struct shell *sh, const char *fmt, const char *table){
  char *z = sqlite3_mprintf(fmt, table);
  bool ok = z && cmd_query(sh, z, NULL);
  sqlite3_free(z);
  return ok;
}

/* "name=value" among the arguments, or `missing`. */
static const char *argument(int argc, char **argv, const char *name,
                            const char *missing){
  size_t n = strlen(name);
  for(int i=2; i<argc; i++){
    if( strncmp(argv[i], name, n)==0 && argv[i][n]=='=' ) return argv[i]+n+1;
  }
  return missing;
}

/* Only these may be given. */
static bool arguments_known(int argc, char **argv, const char *const *names){
  for(int i=2; i<argc; i++){
    bool known = false;
    for(int j=0; names[j]; j++){
      size_t n = strlen(names[j]);
      known |= strncmp(argv[i], names[j], n)==0
            && (argv[i][n]=='=' || (argv[i][n]==0 && names[j+1]==NULL));
    }
    if( !known ) return false;
  }
  return true;
}

bool cmd_recall(struct shell *sh, int argc, char **argv){
  static const char *const names[] = { "k", "samples", "column", "seed",
                                       "keep", NULL };
  bool keep = argc==3 && strcmp(argv[2], "keep")==0;
  char *z;
  if( argc<2 || !arguments_known(argc, argv, names) ) return false;
  if( keep ){
    if( table_command(sh, argv[1], "calibrate") ){
      table_query(sh, "SELECT datetime(at,'unixepoch') AS at, \"column\", k, ef, "
                  "n, recall, lower, upper, ms, changes FROM vecdb_audits(%Q)",
                  argv[1]);
    }
    return true;
  }
  z = sqlite3_mprintf("SELECT filter_bucket, k, ef, n, recall, lower, "
      "upper, ms FROM vecdb_recall(%Q, %Q, %Q, %Q, %Q)", argv[1],
      argument(argc, argv, "column", NULL),
      argument(argc, argv, "k", "10"),
      argument(argc, argv, "samples", "100"),
      argument(argc, argv, "seed", "1"));
  if( z ) cmd_query(sh, z, NULL);
  sqlite3_free(z);
  return true;
}

/* What vecdb_config('progress') takes: a function, called with its place. */
struct tune_hook {
  vecdb_progress_fn fn;
  struct progress pg;
};

static int tune_progress(void *arg, const vecdb_progress *v){
  struct tune_hook *hook = arg;
  hook->pg.total = v->total;
  if( v->done<v->total ) progress_update(&hook->pg, v->done);
  else progress_end(&hook->pg, NULL);  /* rows or an error are printed next */
  return hook->pg.sh->interrupted;
}

/* hook NULL: no more. */
static void tune_watch(struct shell *sh, struct tune_hook *hook){
  sqlite3_stmt *st = NULL;
  sqlite3_prepare_v2(sh->sql, "SELECT vecdb_config('progress', ?1)", -1, &st,
                     NULL);
  if( st && hook ) sqlite3_bind_pointer(st, 1, hook, "vecdb_progress", NULL);
  if( st ) sqlite3_step(st);
  sqlite3_finalize(st);
}

bool cmd_tune(struct shell *sh, int argc, char **argv){
  static const char *const names[] = { "recall", "column", "apply", NULL };
  bool apply = argc>2 && strcmp(argv[argc-1], "apply")==0;
  const char *target = argument(argc, argv, "recall", "0.95");
  struct tune_hook hook = { tune_progress, { 0 } };
  char *z, *end;
  double d = strtod(target, &end);
  if( argc<2 || !arguments_known(argc, argv, names) || *end ) return false;
  z = sqlite3_mprintf("SELECT kind, layout, ef, recall, lower, upper, ms, "
      "compared, bytes_per_row FROM vecdb_tune(%Q, %!.6g, %Q)", argv[1], d,
      argument(argc, argv, "column", NULL));
  progress_begin(&hook.pg, sh, "trying layouts", "layouts", 0);
  tune_watch(sh, &hook);
  if( z && !apply ) cmd_query(sh, z, NULL);
  sqlite3_free(z);
  if( apply ){
    z = sqlite3_mprintf("tune=%s", target);
    if( z && table_command(sh, argv[1], z) ){
      table_query(sh, "SELECT value AS schema FROM vecdb_stats(%Q) WHERE "
                  "key='schema'", argv[1]);
    }
    sqlite3_free(z);
  }
  tune_watch(sh, NULL);
  progress_end(&hook.pg, NULL);
  return true;
}

/* Options stay with the table: ef=100, recall=0.99, v.index=graph(bits=2). */
static bool option_set(struct shell *sh, const char *table, const char *text){
  char *name = sqlite3_mprintf("%.*s", (int)strcspn(text, "="), text);
  const char *value = strchr(text, '=');
  vecdb_collection *c = NULL;
  int rc;
  if( sh->db==NULL ){                  /* the command of the same words */
    sqlite3_free(name);
    return table_command(sh, table, text);
  }
  rc = vecdb_collection_open(sh->db, table, &c);
  if( rc==VECDB_OK ){
    rc = vecdb_collection_set(c, name ? name : "", value ? value+1 : "");
  }
  if( rc!=VECDB_OK ) cmd_vecdb_error(sh, rc);
  vecdb_collection_close(c);
  sqlite3_free(name);
  return rc==VECDB_OK;
}

static int rebuild_one(void *arg, const char *name, const char *schema){
  struct shell *sh = arg;
  (void)schema;
  cmd_optimize_table(sh, name, VECDB_OPTIMIZE_ALL);
  return sh->interrupted;
}

bool cmd_rebuild(struct shell *sh, int argc, char **argv){
  if( !sqlite3_get_autocommit(sh->sql) ){
    shell_error(sh, EXIT_SQL, "cannot rebuild inside a transaction; COMMIT or "
                "ROLLBACK first");
    return true;
  }
  for(int i=2; i<argc; i++){
    if( strchr(argv[i], '=')==NULL ) return false;
    if( !option_set(sh, argv[1], argv[i]) ) return true;
  }
  if( sh->db==NULL ){
    host_command(sh, argc>1 ? argv[1] : NULL, "rebuild");
    return true;
  }
  if( argc>1 ) cmd_optimize_table(sh, argv[1], VECDB_OPTIMIZE_ALL);
  else vecdb_list_collections(sh->db, rebuild_one, sh);
  return true;
}
