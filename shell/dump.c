/* dump.c -- `.dump`: SQL that makes the tables and rows again.
**
** One snapshot, rows in order of the key, every value exact. Of a SQLite
** database all is printed that sqlite3's .dump prints, except that a table of
** vectors is made and filled anew instead of by the tables it is stored in; one
** with file= becomes one that is stored in the database, so that the script
** needs no other file.
*/
#include "shell/cmd.h"
#include "shell/value.h"

#include <string.h>

struct dump { struct shell *sh; const char *only; int n, rc; };

/* ---- Tables of vectors --------------------------------------------------- */

static int dump_row(struct scan *s, const char *head){
  struct table *t = s->t;
  int rc = VECDB_OK;
  fputs(head, t->sh->out);
  for(int i=0; rc==VECDB_OK && i<vecdb_column_count(t->c); i++){
    vecdb_column_info ci = { .size = sizeof ci };
    struct cell v;
    char *z;
    vecdb_column_describe(t->c, i, &ci);
    rc = t->ops->scan_value(s, i, &v);
    z = rc==VECDB_OK ? value_styled(&v, &ci, STYLE_SQL) : NULL;
    if( rc==VECDB_OK && z==NULL ){
      snprintf(t->err, sizeof t->err, "out of memory");
      rc = VECDB_NOMEM;
    }
    if( z ) fprintf(t->sh->out, "%s%s", i ? "," : "", z);
    sqlite3_free(z);
  }
  fputs(");\n", t->sh->out);
  return rc;
}

static char *insert_head(struct table *t){
  sqlite3_str *s = sqlite3_str_new(NULL);
  sqlite3_str_appendf(s, "INSERT INTO \"%w\"(", t->name);
  for(int i=0; i<vecdb_column_count(t->c); i++){
    vecdb_column_info ci = { .size = sizeof ci };
    vecdb_column_describe(t->c, i, &ci);
    sqlite3_str_appendf(s, "%s\"%w\"", i ? "," : "", ci.name);
  }
  sqlite3_str_appendall(s, ") VALUES(");
  return sqlite3_str_finish(s);
}

static int dump_rows(struct table *t){
  struct scan s;
  char *head = insert_head(t);
  int rc = head ? t->ops->scan_begin(t, &s) : VECDB_NOMEM;
  while( rc==VECDB_OK && (rc = t->ops->scan_step(&s))==VECDB_ROW ){
    rc = dump_row(&s, head);
    if( rc==VECDB_OK && t->sh->interrupted ){
      snprintf(t->err, sizeof t->err, "interrupted");
      rc = VECDB_INTERRUPT;
    }
  }
  if( head ) t->ops->scan_end(&s);
  sqlite3_free(head);
  return rc==VECDB_DONE ? VECDB_OK : rc;
}

static void dump_vectors(struct dump *d, const char *name, const char *module){
  struct table t;
  char *z;
  table_init(&t, d->sh, name);
  d->rc = t.ops->open(&t);
  if( d->rc==VECDB_OK ){
    z = sqlite3_mprintf("CREATE VIRTUAL TABLE \"%w\" USING %s(%s);\n", name,
                        module, vecdb_collection_schema(t.c));
    if( z ) fputs(z, d->sh->out);
    sqlite3_free(z);
    d->rc = dump_rows(&t);
  }
  if( d->rc!=VECDB_OK ) table_error(&t, d->rc);
  table_close(&t);
}

/* Of a .vdb. */
static int dump_collection(void *arg, const char *name, const char *schema){
  struct dump *d = arg;
  (void)schema;
  if( d->only && sqlite3_stricmp(d->only, name)!=0 ) return 0;
  d->n++;
  dump_vectors(d, name, "vecdb");
  return d->rc!=VECDB_OK;
}

/* ---- What else a SQLite database holds ----------------------------------- */

/* The tables of vectors; the tables they are stored in; what the module keeps
** beside tables with file=. */
#define IS_VECTORS "sql LIKE 'CREATE VIRTUAL TABLE%USING vec%'"
#define IS_OURS "(name IN ('vecdb_txn','vecdb_detached') OR name IN (SELECT " \
  "v.name||x.column1 FROM (SELECT name FROM sqlite_schema WHERE type='table' " \
  "AND " IS_VECTORS ") v, (VALUES('_meta'),('_pages'),('_extents')) x))"

static int dump_sqlite_error(struct dump *d, int rc){
  if( rc!=SQLITE_OK && rc!=SQLITE_ROW && rc!=SQLITE_DONE ){
    d->rc = VECDB_ERROR;
    shell_error(d->sh, shell_exit_of_sqlite(rc), "%s",
                sqlite3_errmsg(d->sh->sql));
  }
  return rc;
}

/* One value as SQL: quote() stops at a zero byte in a text, and what it says
** of an infinity depends on the version. */
#define VALUE_SQL \
  "CASE WHEN typeof(\"%w\")='text' AND instr(\"%w\",char(0)) THEN " \
  "'CAST('||quote(CAST(\"%w\" AS BLOB))||' AS TEXT)' " \
  "WHEN typeof(\"%w\")='real' AND abs(\"%w\")=9e999 THEN " \
  "iif(\"%w\"<0,'-9.0e+999','9.0e+999') ELSE quote(\"%w\") END"

/* SELECT that makes the values of a row, in the order of the table itself;
** hidden and generated columns have none. */
static char *values_select(struct dump *d, const char *name){
  sqlite3_stmt *st = NULL;
  sqlite3_str *s = sqlite3_str_new(d->sh->sql);
  int n = 0;
  sqlite3_prepare_v2(d->sh->sql, "SELECT name FROM pragma_table_info(?1)", -1,
                     &st, NULL);
  if( st ) sqlite3_bind_text(st, 1, name, -1, SQLITE_TRANSIENT);
  sqlite3_str_appendall(s, "SELECT ");
  for(; st && sqlite3_step(st)==SQLITE_ROW; n++){
    const unsigned char *c = sqlite3_column_text(st, 0);
    if( n ) sqlite3_str_appendall(s, "||','||");
    sqlite3_str_appendf(s, VALUE_SQL, c, c, c, c, c, c, c);
  }
  sqlite3_finalize(st);
  sqlite3_str_appendf(s, " FROM \"%w\" NOT INDEXED", name);
  return sqlite3_str_finish(s);
}

static void dump_values(struct dump *d, const char *name){
  char *z = values_select(d, name);
  sqlite3_stmt *st = NULL;
  int rc = z ? sqlite3_prepare_v2(d->sh->sql, z, -1, &st, NULL) : SQLITE_NOMEM;
  sqlite3_free(z);
  while( rc==SQLITE_OK && (rc = sqlite3_step(st))==SQLITE_ROW ){
    z = sqlite3_mprintf("INSERT INTO \"%w\" VALUES(%s);\n", name,
                        sqlite3_column_text(st, 0));
    if( z ) fputs(z, d->sh->out);
    rc = z ? SQLITE_OK : SQLITE_NOMEM;
    sqlite3_free(z);
  }
  dump_sqlite_error(d, rc);
  sqlite3_finalize(st);
}

/* Tables of other modules come with the tables they are stored in, as in
** sqlite3's .dump: the schema alone is written, to find those again. */
static void dump_other_module(struct dump *d, const char *name,
                              const char *sql){
  char *z = sqlite3_mprintf("PRAGMA writable_schema=ON;\nINSERT INTO "
    "sqlite_schema(type,name,tbl_name,rootpage,sql) VALUES('table',%Q,%Q,0,%Q)"
    ";\nPRAGMA writable_schema=OFF;\n", name, name, sql);
  if( z ) fputs(z, d->sh->out);
  sqlite3_free(z);
}

/* is_vectors: 1, or 2 under sqlite-vec's name for the module. */
static void dump_table(struct dump *d, const char *name, const char *sql,
                       int is_vectors){
  if( is_vectors ){
    dump_vectors(d, name, is_vectors>1 ? "vec0" : "vecdb");
  }else if( sqlite3_strnicmp(sql, "CREATE VIRTUAL TABLE", 20)==0 ){
    dump_other_module(d, name, sql);
  }else if( strcmp(name, "sqlite_sequence")==0 ){
    fputs("DELETE FROM sqlite_sequence;\n", d->sh->out);
    dump_values(d, name);
  }else if( sqlite3_strnicmp(name, "sqlite_stat", 11)==0 ){
    fputs("ANALYZE sqlite_schema;\n", d->sh->out);
    dump_values(d, name);
  }else if( sqlite3_strnicmp(name, "sqlite_", 7)!=0 ){
    fprintf(d->sh->out, "%s;\n", sql);
    dump_values(d, name);
  }
}

/* Tables first, in the order in which they were made, then what needs them. */
static void dump_database(struct dump *d){
  static const char list[] =
    "SELECT name, sql, (" IS_VECTORS ")*(1+(sql LIKE '%USING vec0%')), "
    "type='table' FROM sqlite_schema "
    "WHERE sql IS NOT NULL AND NOT (type='table' AND " IS_OURS ") "
    "AND (?1 IS NULL OR tbl_name=?1 COLLATE NOCASE) "
    "ORDER BY type<>'table', name='sqlite_sequence', rowid";
  sqlite3_stmt *st = NULL;
  int rc = sqlite3_prepare_v2(d->sh->sql, list, -1, &st, NULL);
  if( st && d->only ) sqlite3_bind_text(st, 1, d->only, -1, SQLITE_TRANSIENT);
  while( d->rc==VECDB_OK && rc==SQLITE_OK
      && (rc = sqlite3_step(st))==SQLITE_ROW ){
    const char *name = (const char*)sqlite3_column_text(st, 0);
    const char *sql = (const char*)sqlite3_column_text(st, 1);
    if( sqlite3_column_int(st, 3) ){
      dump_table(d, name, sql, sqlite3_column_int(st, 2));
    }else{
      fprintf(d->sh->out, "%s;\n", sql);
    }
    d->n++;
    rc = SQLITE_OK;
  }
  dump_sqlite_error(d, rc);
  sqlite3_finalize(st);
}

/* ---- The command --------------------------------------------------------- */

bool cmd_dump(struct shell *sh, int argc, char **argv){
  struct dump d = { sh, argc==2 ? argv[1] : NULL, 0, VECDB_OK };
  struct table all;
  int rc;
  if( argc>2 ) return false;
  table_init(&all, sh, "");
  rc = all.ops->begin(&all, false);               /* one snapshot for all */
  if( rc!=VECDB_OK ){ table_error(&all, rc); return true; }
  if( sh->db==NULL ) fputs("PRAGMA foreign_keys=OFF;\n", sh->out);
  fputs("BEGIN;\n", sh->out);
  if( sh->db ) vecdb_list_collections(sh->db, dump_collection, &d);
  else dump_database(&d);
  fputs(d.rc==VECDB_OK ? "COMMIT;\n" : "ROLLBACK; -- not complete\n", sh->out);
  all.ops->rollback(&all);
  if( d.only && d.n==0 ){
    shell_error(sh, EXIT_SQL, "no table \"%s\"; .tables lists them", d.only);
  }
  return true;
}
