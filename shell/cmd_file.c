/* cmd_file.c -- dot-commands that work on the whole file, through vecdb.h. */
#include "shell/cmd.h"

#include <stdlib.h>
#include <string.h>

/* Run fn(sh->db, ..) with a progress line around it. */
#define WITH_PROGRESS(sh, phase, unit, call) do{                        \
    struct progress pg_;                                                \
    progress_begin(&pg_, (sh), (phase), (unit), 0);                     \
    vecdb_progress_handler((sh)->db, progress_vecdb, &pg_);             \
    rc = (call);                                                        \
    vecdb_progress_handler((sh)->db, NULL, NULL);                       \
    progress_end(&pg_, NULL);                                           \
  }while(0)

/* The SQL side must hold no transaction while the file is worked on from
** here, or both would wait for each other. */
static bool no_transaction(struct shell *sh, const char *what){
  if( sqlite3_get_autocommit(sh->sql) ) return true;
  shell_error(sh, EXIT_SQL, "cannot %s inside a transaction; COMMIT or "
              "ROLLBACK first", what);
  return false;
}

bool cmd_open(struct shell *sh, int argc, char **argv){
  char *old;
  if( argc!=2 ) return false;
  if( !cmd_allowed(sh, ".open") ) return true;
  if( !no_transaction(sh, "open another file") ) return true;
  old = sqlite3_mprintf("%s", sh->is_temp ? "" : sh->path);
  if( shell_open(sh, argv[1])!=VECDB_OK
   && shell_open(sh, old)!=VECDB_OK && shell_open(sh, NULL)!=VECDB_OK ){
    sh->quit = true;                     /* no file at all: nothing to do */
  }
  sqlite3_free(old);
  return true;
}

bool cmd_checkpoint(struct shell *sh, int argc, char **argv){
  static const char *const modes[] = { "passive", "full", "restart",
                                       "truncate" };
  uint64_t n_log = 0, n_done = 0;
  int mode = argc==1 ? VECDB_CHECKPOINT_PASSIVE : -1, rc;
  if( argc>2 ) return false;
  if( !cmd_needs_vdb(sh, "checkpoint") ) return true;
  for(int i=0; argc==2 && i<4; i++) if( !strcmp(argv[1], modes[i]) ) mode = i;
  if( mode<0 ) return false;
  WITH_PROGRESS(sh, "checkpoint", "pages",
                vecdb_checkpoint(sh->db, mode, &n_log, &n_done));
  if( rc!=VECDB_OK ){ cmd_vecdb_error(sh, rc); return true; }
  fprintf(sh->out, "%llu of %llu frames of the log are home\n",
          (unsigned long long)n_done, (unsigned long long)n_log);
  return true;
}

bool cmd_wal(struct shell *sh, int argc, char **argv){
  vecdb_stats s;
  char size[32];
  int rc;
  (void)argv;
  if( argc!=1 ) return false;
  if( !cmd_needs_vdb(sh, "look at the log of") ) return true;
  memset(&s, 0, sizeof s);
  s.size = sizeof s;
  rc = vecdb_stat(sh->db, &s);
  if( rc!=VECDB_OK ){ cmd_vecdb_error(sh, rc); return true; }
  shell_format_bytes(size, sizeof size, s.wal_bytes);
  fprintf(sh->out, "log %s, newest commit %llu, home up to %llu\n", size,
          (unsigned long long)s.txid, (unsigned long long)s.checkpoint_txid);
  return true;
}

bool cmd_backup_to(struct shell *sh, const char *path, const char *verb){
  double t0 = shell_now();
  char secs[32];
  int rc;
  if( !cmd_allowed(sh, ".backup") ) return false;
  if( sh->db==NULL ){
    if( !host_backup(sh, path) ) return false;
    fprintf(sh->out, "%s to \"%s\"; tables with file= are not in it\n", verb,
            path);
    return true;
  }
  WITH_PROGRESS(sh, "backup", "pages", vecdb_backup(sh->db, path));
  if( rc!=VECDB_OK ){ cmd_vecdb_error(sh, rc); return false; }
  shell_format_secs(secs, sizeof secs, shell_now()-t0);
  fprintf(sh->out, "%s to \"%s\" and checked, %s\n", verb, path, secs);
  return true;
}

bool cmd_backup(struct shell *sh, int argc, char **argv){
  if( argc!=2 ) return false;
  cmd_backup_to(sh, argv[1], "copied");
  return true;
}

bool cmd_vacuum(struct shell *sh, int argc, char **argv){
  vecdb_stats a, b;
  char z_a[32], z_b[32];
  int rc;
  (void)argv;
  if( argc!=1 ) return false;
  if( !no_transaction(sh, "vacuum") ) return true;
  if( sh->db==NULL ){
    cmd_query(sh, "VACUUM", NULL);
    return true;
  }
  memset(&a, 0, sizeof a);
  a.size = sizeof a;
  b = a;
  rc = vecdb_stat(sh->db, &a);
  /* The SQL handle has to let go of the file: vacuum needs to be alone. */
  if( rc==VECDB_OK ){
    sqlite3_close_v2(sh->sql);
    sh->sql = NULL;
    WITH_PROGRESS(sh, "vacuum", "rows", vecdb_vacuum(sh->db));
  }
  if( rc!=VECDB_OK ) cmd_vecdb_error(sh, rc);
  else if( vecdb_stat(sh->db, &b)==VECDB_OK ){
    shell_format_bytes(z_a, sizeof z_a, a.file_bytes);
    shell_format_bytes(z_b, sizeof z_b, b.file_bytes);
    fprintf(sh->out, "%s before, %s after\n", z_a, z_b);
  }
  if( shell_reopen_sql(sh)!=VECDB_OK ) sh->quit = true;
  return true;
}

static int optimize_one(void *arg, const char *name, const char *schema){
  struct shell *sh = arg;
  (void)schema;
  cmd_optimize_table(sh, name, 0);
  return sh->interrupted;
}

/* optimized "photos" in 14.2 s: 100,000 rows, 100,000 in the graph */
static void optimize_summary(struct shell *sh, vecdb_collection *c,
                             const char *name, double secs){
  vecdb_collection_stats s = { .size = sizeof s };
  char z_secs[32], rows[32], graph[32];
  if( vecdb_collection_stat(c, &s)!=VECDB_OK ) return;
  shell_format_secs(z_secs, sizeof z_secs, secs);
  shell_format_count(rows, sizeof rows, s.n_row);
  shell_format_count(graph, sizeof graph, s.n_graph_row);
  fprintf(sh->out, "optimized \"%s\" in %s: %s rows, %s in %s\n", name, z_secs,
          rows, graph, s.n_graph_row ? "the graph" : "a graph");
}

void cmd_optimize_table(struct shell *sh, const char *name, uint32_t flags){
  double t0 = shell_now();
  vecdb_collection *c = NULL;
  vecdb_optimize_options opt = { .size = sizeof opt, .flags = flags };
  int rc = vecdb_collection_open(sh->db, name, &c);
  if( rc==VECDB_OK ){
    WITH_PROGRESS(sh, "optimize", "rows", vecdb_optimize(c, &opt));
  }
  if( rc!=VECDB_OK ) cmd_vecdb_error(sh, rc);
  else optimize_summary(sh, c, name, shell_now()-t0);
  vecdb_collection_close(c);
}

bool cmd_optimize(struct shell *sh, int argc, char **argv){
  uint32_t flags = 0;
  char command[40];
  for(int i=2; i<argc; i++){
    if( strcmp(argv[i], "all")==0 ) flags |= VECDB_OPTIMIZE_ALL;
    else if( strcmp(argv[i], "device=gpu")==0 ) flags |= VECDB_OPTIMIZE_GPU;
    else if( strcmp(argv[i], "device=auto")==0 ){
      flags |= VECDB_OPTIMIZE_GPU_OR_CPU;
    }else return false;
  }
  if( !no_transaction(sh, "optimize") ) return true;
  if( sh->db==NULL ){
    snprintf(command, sizeof command, "%s%s",
             flags & VECDB_OPTIMIZE_ALL ? "rebuild" : "optimize",
             flags & VECDB_OPTIMIZE_GPU ? " device=gpu"
             : flags & VECDB_OPTIMIZE_GPU_OR_CPU ? " device=auto" : "");
    host_command(sh, argc>=2 ? argv[1] : NULL, command);
    return true;
  }
  if( argc>=2 ) cmd_optimize_table(sh, argv[1], flags);
  else vecdb_list_collections(sh->db, optimize_one, sh);
  return true;
}

/* ---- .check -------------------------------------------------------------- */

struct check_count { struct shell *sh; int n[3]; };

static void check_report(void *arg, int severity, const char *object,
                         const char *message){
  static const char *const word[] = { "note", "waste", "DAMAGE" };
  struct check_count *c = arg;
  if( severity<0 || severity>2 ) severity = 2;
  if( c->n[severity]++ < 100 ){
    fprintf(c->sh->out, "%-6s %s: %s\n", word[severity], object, message);
  }
}

bool cmd_check(struct shell *sh, int argc, char **argv){
  struct check_count c = { sh, {0,0,0} };
  int quick = argc==2 && strcmp(argv[1], "quick")==0, rc;
  if( argc>2 || (argc==2 && !quick) ) return false;
  if( sh->db==NULL ){
    host_check(sh, quick!=0);
    return true;
  }
  WITH_PROGRESS(sh, "check", "pages",
                vecdb_check(sh->db, quick, check_report, &c));
  if( c.n[2]>0 ){
    shell_error(sh, EXIT_CORRUPT, "%d damaged object%s in \"%s\"; restore a "
                "backup, or save what can be read with .recover", c.n[2],
                c.n[2]==1 ? "" : "s", sh->path);
  }else if( rc!=VECDB_OK ){
    cmd_vecdb_error(sh, rc);
  }else{
    fprintf(sh->out, "ok%s\n", quick ? " (quick: vectors were not read)" : "");
  }
  return true;
}
