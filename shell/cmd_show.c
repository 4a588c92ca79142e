/* cmd_show.c -- dot-commands that show what is in the file. */
#include "shell/cmd.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char *element_name(uint32_t e){
  static const char *const name[] = { "?", "float32", "float16", "bfloat16",
                                      "int8", "uint8", "bit" };
  return e<sizeof(name)/sizeof(name[0]) ? name[e] : "?";
}
static const char *metric_name(uint32_t m){
  static const char *const name[] = { "?", "l2", "cosine", "ip", "l1",
                                      "hamming", "jaccard" };
  return m<sizeof(name)/sizeof(name[0]) ? name[m] : "?";
}

bool cmd_tables(struct shell *sh, int argc, char **argv){
  enum shell_mode old = sh->mode;
  int headers = sh->headers;
  if( argc>2 ) return false;
  shell_mount(sh);                   /* others may have made some */
  sh->mode = MODE_LIST;
  sh->headers = 0;
  cmd_query(sh, "SELECT name FROM sqlite_schema WHERE type IN ('table','view')"
                " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
                " AND name NOT LIKE 'vecdb\\_%' ESCAPE '\\'"
                " AND name NOT IN (SELECT name FROM pragma_table_list"
                " WHERE type='shadow')"
                " AND name LIKE coalesce(?1,'%') ORDER BY 1",
            argc==2 ? argv[1] : NULL);
  sh->mode = old;
  sh->headers = headers;
  return true;
}

/* ---- Rows made by the shell itself, printed in the current mode ----------
** A listing is collected in a table of a database of its own and selected from
** there, so that .mode, .headers and .output apply to it as to any result. */

struct listing { sqlite3 *db; struct shell *sh; const char *only; int n; };

/* Add a row: fmt makes "a AS x, ..", the values with the names of columns. */
static void listing_add(struct listing *l, const char *fmt, ...)
  __attribute__((format(printf,2,3)));
static void listing_add(struct listing *l, const char *fmt, ...){
  va_list ap;
  char *row, *z;
  va_start(ap, fmt);
  row = sqlite3_vmprintf(fmt, ap);
  va_end(ap);
  z = row ? sqlite3_mprintf("%s SELECT %s", l->n ? "INSERT INTO listing"
                            : "CREATE TABLE listing AS", row) : NULL;
  if( z && (l->db || sqlite3_open(":memory:", &l->db)==SQLITE_OK) ){
    sqlite3_exec(l->db, z, NULL, NULL, NULL);
  }
  sqlite3_free(row);
  sqlite3_free(z);
  l->n++;
}

static void listing_end(struct listing *l, const char *when_empty){
  sqlite3_stmt *st = NULL;
  if( l->n==0 && when_empty ) fprintf(l->sh->out, "%s\n", when_empty);
  if( l->n>0 ){
    int rc = sqlite3_prepare_v2(l->db, "SELECT * FROM listing", -1, &st, NULL);
    if( rc==SQLITE_OK ) rc = shell_print_rows(l->sh, st);
    if( rc!=SQLITE_DONE ){
      shell_error(l->sh, shell_exit_of_sqlite(rc), "%s",
                  l->db ? sqlite3_errmsg(l->db) : sqlite3_errstr(rc));
    }
  }
  sqlite3_finalize(st);
  sqlite3_close(l->db);
}

static bool stats_get(struct shell *sh, const char *name,
                      vecdb_collection **c, vecdb_collection_stats *s){
  int rc = vecdb_collection_open(sh->db, name, c);
  memset(s, 0, sizeof *s);
  s->size = sizeof *s;
  if( rc==VECDB_OK ) rc = vecdb_collection_stat(*c, s);
  if( rc!=VECDB_OK ){
    cmd_vecdb_error(sh, rc);
    vecdb_collection_close(*c);
    *c = NULL;
  }
  return rc==VECDB_OK;
}

static int collection_row(void *arg, const char *name, const char *schema){
  struct listing *l = arg;
  vecdb_collection *c = NULL;
  vecdb_collection_stats s;
  (void)schema;
  if( l->only!=NULL ? sqlite3_stricmp(l->only, name)!=0
                    : sqlite3_strnicmp(name, "vecdb_", 6)==0 ) return 0;
  if( !stats_get(l->sh, name, &c, &s) ) return 0;
  for(int i=0; i<vecdb_column_count(c); i++){
    vecdb_column_info ci = { .size = sizeof ci };
    if( vecdb_column_describe(c, i, &ci)!=VECDB_OK
     || ci.role!=VECDB_ROLE_VECTOR ) continue;
    char *row = sqlite3_mprintf(
      "%Q AS collection, %lld AS \"rows\", %Q AS \"column\", %u AS dims, "
      "%Q AS type, %Q AS metric", name, (long long)s.n_row, ci.name, ci.dims,
      element_name(ci.element), metric_name(ci.metric));
    if( row ) listing_add(l, "%s", row);
    sqlite3_free(row);
  }
  vecdb_collection_close(c);
  return 0;
}

bool cmd_collections(struct shell *sh, int argc, char **argv){
  struct listing l = { NULL, sh, NULL, 0 };
  (void)argv;
  if( argc!=1 ) return false;
  if( sh->db==NULL ){
    host_collections(sh);
    return true;
  }
  vecdb_list_collections(sh->db, collection_row, &l);
  listing_end(&l, "no collections; CREATE VIRTUAL TABLE t USING "
                  "vecdb(v float[3]) makes one");
  return true;
}

bool cmd_indexes(struct shell *sh, int argc, char **argv){
  struct listing l = { NULL, sh, argc==2 ? argv[1] : NULL, 0 };
  if( argc>2 ) return false;
  if( sh->db==NULL ){
    host_collections(sh);
    return true;
  }
  vecdb_list_collections(sh->db, collection_row, &l);
  listing_end(&l, argc==2 ? "no such collection" : "no collections");
  return true;
}

/* ---- .schema ------------------------------------------------------------- */

static int schema_print(void *arg, const char *name, const char *schema){
  struct listing *l = arg;
  char *z;
  if( l->only!=NULL && sqlite3_stricmp(l->only, name)!=0 ) return 0;
  z = sqlite3_mprintf("CREATE VIRTUAL TABLE \"%w\" USING vecdb(%s);\n", name,
                      schema);
  if( z ) fputs(z, l->sh->out);
  sqlite3_free(z);
  l->n++;
  return 0;
}

/* Ordinary tables that live beside the collections for this session. */
static int schema_print_temp(struct shell *sh, const char *only){
  sqlite3_stmt *st = NULL;
  int n = 0;
  sqlite3_prepare_v2(sh->sql,
    "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL "
    "AND sql NOT LIKE 'CREATE VIRTUAL TABLE%USING vecdb%' "
    "AND name NOT LIKE 'vecdb\\_txn%' ESCAPE '\\' "
    "AND (?1 IS NULL OR tbl_name=?1 COLLATE NOCASE)", -1, &st, NULL);
  if( only ) sqlite3_bind_text(st, 1, only, -1, SQLITE_TRANSIENT);
  while( st!=NULL && sqlite3_step(st)==SQLITE_ROW ){
    fprintf(sh->out, "%s;\n", sqlite3_column_text(st, 0));
    n++;
  }
  sqlite3_finalize(st);
  return n;
}

bool cmd_schema(struct shell *sh, int argc, char **argv){
  struct listing l = { NULL, sh, argc==2 ? argv[1] : NULL, 0 };
  int rc;
  if( argc>2 ) return false;
  if( sh->db==NULL ){
    host_schema(sh, l.only);
    return true;
  }
  rc = vecdb_list_collections(sh->db, schema_print, &l);
  if( rc!=VECDB_OK ) cmd_vecdb_error(sh, rc);
  l.n += schema_print_temp(sh, l.only);
  if( l.n==0 && l.only ){
    shell_error(sh, EXIT_SQL, "no table \"%s\"; .tables lists them", l.only);
  }
  return true;
}

/* ---- .stat --------------------------------------------------------------- */

/* The thread of optimize=background, where a table of this handle asked. */
static void background_stat(struct shell *sh, struct listing *l){
  vecdb_background_info b;
  char *z;
  memset(&b, 0, sizeof b);
  b.size = sizeof b;
  if( vecdb_background(sh->db, &b)!=VECDB_OK
   || b.state==VECDB_BACKGROUND_NONE ) return;
  listing_add(l, "'background' AS key, '%s' AS value",
              b.state==VECDB_BACKGROUND_BUSY ? "busy" : "idle");
  if( b.rc==VECDB_OK ) return;
  z = sqlite3_mprintf("%Q", b.message);
  listing_add(l, "'background failed' AS key, %s AS value", z ? z : "NULL");
  sqlite3_free(z);
}

static void file_stat(struct shell *sh){
  vecdb_stats s;
  struct listing l = { NULL, sh, NULL, 0 };
  int rc;
  memset(&s, 0, sizeof s);
  s.size = sizeof s;
  rc = vecdb_stat(sh->db, &s);
  if( rc!=VECDB_OK ){ cmd_vecdb_error(sh, rc); return; }
  struct { const char *key; unsigned long long v; } row[] = {
    {"file bytes", s.file_bytes}, {"log bytes", s.wal_bytes},
    {"page size", s.page_size}, {"pages", s.n_page},
    {"free pages", s.n_free_page}, {"newest commit", s.txid},
    {"home up to commit", s.checkpoint_txid},
    {"cache bytes", s.cache_bytes}, {"cache hits", s.cache_hits},
    {"cache misses", s.cache_misses}, {"memory bytes", s.mem_bytes},
    {"memory peak bytes", s.mem_peak_bytes},
  };
  for(size_t i=0; i<sizeof(row)/sizeof(row[0]); i++){
    listing_add(&l, "'%s' AS key, %llu AS value", row[i].key, row[i].v);
  }
  background_stat(sh, &l);
  listing_end(&l, NULL);
}

/* The newest audit of each vector column, and what has changed since. */
static void audit_rows(struct listing *l, const char *name){
  sqlite3_stmt *st = NULL;
  sqlite3_prepare_v2(l->sh->sql, "SELECT 'recall of '||\"column\", printf("
      "'%g (%g to %g) at k %d, %s, %d changes ago', recall, lower, upper, k, "
      "date(at,'unixepoch'), changes), max(at) FROM vecdb_audits(?1) "
      "GROUP BY \"column\"", -1, &st, NULL);
  if( st ) sqlite3_bind_text(st, 1, name, -1, SQLITE_TRANSIENT);
  while( st && sqlite3_step(st)==SQLITE_ROW ){
    char *row = sqlite3_mprintf("%Q AS key, %Q AS value",
                                sqlite3_column_text(st, 0),
                                sqlite3_column_text(st, 1));
    if( row ) listing_add(l, "%s", row);
    sqlite3_free(row);
  }
  sqlite3_finalize(st);
}

static void table_stat(struct shell *sh, const char *name){
  vecdb_collection *c = NULL;
  vecdb_collection_stats s;
  struct listing l = { NULL, sh, NULL, 0 };
  if( !stats_get(sh, name, &c, &s) ) return;
  struct { const char *key; unsigned long long v; } row[] = {
    {"rows", s.n_row}, {"slots", s.n_slot}, {"unmerged rows", s.n_delta},
    {"dead rows", s.n_tombstone}, {"segments", s.n_segment},
    {"extents", s.n_extent}, {"vector bytes", s.vector_bytes},
    {"graphs", s.n_graph}, {"graph rows", s.n_graph_row}, {"graph bytes", s.graph_bytes},
    {"data version", s.data_version},
  };
  for(size_t i=0; i<sizeof(row)/sizeof(row[0]); i++){
    listing_add(&l, "'%s' AS key, %llu AS value", row[i].key, row[i].v);
  }
  audit_rows(&l, name);
  listing_end(&l, NULL);
  vecdb_collection_close(c);
}

bool cmd_stat(struct shell *sh, int argc, char **argv){
  if( argc>2 ) return false;
  if( sh->db==NULL ) host_stat(sh, argc==2 ? argv[1] : NULL);
  else if( argc==1 ) file_stat(sh);
  else table_stat(sh, argv[1]);
  return true;
}

/* ---- Queries spelled short ----------------------------------------------- */

/* The first vector column of a table and its key; NULL after an error. Freed
** with sqlite3_free. */
static char *vector_column(struct shell *sh, const char *table, char **key){
  sqlite3_stmt *st = NULL;
  char *out = NULL;
  int n = 0;
  *key = NULL;
  sqlite3_prepare_v2(sh->sql, "SELECT name, type LIKE '%[%] BLOB' FROM "
                     "pragma_table_info(?1) ORDER BY cid", -1, &st, NULL);
  if( st ) sqlite3_bind_text(st, 1, table, -1, SQLITE_TRANSIENT);
  while( st && out==NULL && sqlite3_step(st)==SQLITE_ROW ){
    const char *name = (const char*)sqlite3_column_text(st, 0);
    if( n++==0 ) *key = sqlite3_mprintf("%s", name);
    if( sqlite3_column_int(st, 1) ) out = sqlite3_mprintf("%s", name);
  }
  sqlite3_finalize(st);
  if( out==NULL ){
    shell_error(sh, EXIT_SQL, n ? "table \"%s\" has no vector column"
                : "no such table: %s", table);
  }
  return out;
}

/* False, with a message, when no row has the key. */
static bool key_exists(struct shell *sh, const char *table, const char *key,
                       const char *value){
  sqlite3_stmt *st = NULL;
  char *z = sqlite3_mprintf("SELECT 1 FROM \"%w\" WHERE \"%w\"=?1", table, key);
  bool ok = true;
  if( z && sqlite3_prepare_v2(sh->sql, z, -1, &st, NULL)==SQLITE_OK ){
    sqlite3_bind_text(st, 1, value, -1, SQLITE_TRANSIENT);
    ok = sqlite3_step(st)!=SQLITE_DONE;
  }
  sqlite3_finalize(st);
  sqlite3_free(z);
  if( !ok ) shell_error(sh, EXIT_SQL, "no row %s in \"%s\"", value, table);
  return ok;
}

bool cmd_knn(struct shell *sh, int argc, char **argv){
  char *column, *key, *z;
  long long k = argc==4 ? strtoll(argv[3], NULL, 10) : 0;
  if( k<=0 ) return false;
  column = vector_column(sh, argv[1], &key);
  if( column==NULL ) return true;
  if( sqlite3_strnicmp(argv[2], "key=", 4)==0 ){
    if( !key_exists(sh, argv[1], key, argv[2]+4) ) goto done;
    z = sqlite3_mprintf(
      "SELECT * , distance FROM \"%w\" WHERE \"%w\" MATCH "
      "(SELECT \"%w\" FROM \"%w\" WHERE \"%w\"=?1) AND k=%lld",
      argv[1], column, column, argv[1], key, k);
    argv[2] += 4;
  }else{
    z = sqlite3_mprintf("SELECT * , distance FROM \"%w\" WHERE \"%w\" MATCH ?1"
                        " AND k=%lld", argv[1], column, k);
  }
  if( z ) cmd_query(sh, z, argv[2]);
  sqlite3_free(z);
done:
  sqlite3_free(column);
  sqlite3_free(key);
  return true;
}

bool cmd_explain(struct shell *sh, int argc, char **argv){
  char *z;
  (void)argv;
  if( argc<2 ) return false;
  z = sqlite3_mprintf("EXPLAIN QUERY PLAN %s", sh->raw_args);
  if( z ) cmd_query(sh, z, NULL);
  sqlite3_free(z);
  return true;
}
