/* f_sql.c -- SQL over a vecdb table gives what it gives over an ordinary one.
**
** Table t is vecdb's, m holds the same rows in SQLite. An input is a form (its
** first byte) and a text:
**
**   WHERE      an expression: the same ids from t and m, through the planner
**   filter=    the same text as a filter of ours, if it is one, over t
**   ORDER BY   grouping and sorting by the expression
**   MATCH      the expression beside a search: rows are among those of m, as
**              near as they say, in order and no more than asked
**   any        a statement, undone afterwards: no code that is not documented,
**              and t is what it was
*/
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fuzz/lib_shell.h"
#include "lab/lib_layer.h"

static const char *const words[] = {
  "id", "i", "r", "s", "b", "p", "v", "x", "rowid", " AND ", " OR ", " NOT ",
  " IS ", " IS NOT ", " NULL", " ISNULL", " NOTNULL", " IN (", " NOT IN (",
  " BETWEEN ", " LIKE ", " GLOB ", " ESCAPE '\\'", " COLLATE NOCASE",
  " COLLATE RTRIM", "TRUE", "FALSE", "(", ")", ",", "=", "<>", "<", "<=", ">",
  ">=", "'a'", "'t3'", "'%t_'", "'T1'", "x'74'", "-", "1", "0", "2.5", "1e308",
  "9223372036854775807", "+", "*", "||", "abs(", "length(", "typeof(",
  "coalesce(", "SELECT ", "id FROM t", " FROM m", " WHERE ", " JOIN m ON ",
  " GROUP BY ", " ORDER BY ", " LIMIT 3", "DELETE FROM t", "UPDATE t SET ",
  "INSERT INTO t", " VALUES(", " OR REPLACE ", "DROP TABLE t", "ALTER TABLE ",
  " MATCH ", " AND k = ", "'[1,2,3,4]'", "distance", "CASE WHEN ", " THEN ",
  " END", "EXISTS(", "vec_to_json(v)", "vec_f32(", "vec_distance_l2(v,",
  "vec_add(v,v)", "vec_slice(v,0,2)", "vecdb_stats('t')", "vec_each(v)",
  "filter=", "mmr_lambda=0.5", "vecdb_knn('t','[1,2,3,4]',2)", "\"", NULL
};

static const char setup[] =
  "CREATE VIRTUAL TABLE t USING vecdb(id integer primary key, v float[4], "
  "i int, r real, s text, b boolean, p integer partition key, +x blob);"
  "WITH RECURSIVE c(k) AS (SELECT 1 UNION ALL SELECT k+1 FROM c WHERE k<70) "
  "INSERT INTO t(id,v,i,r,s,b,p,x) SELECT k, '['||(k%5)||','||(k%7)||',1,2]',"
  " CASE WHEN k%5 THEN k%7-3 END, CASE WHEN k%6 THEN k*0.25-4 END,"
  " CASE WHEN k%4 THEN CASE WHEN k%9 THEN 't'||(k%11) ELSE "
  "  'Text '||k||', longer than a cell' END END,"
  " CASE WHEN k%3 THEN k%2 END, k%3, CASE WHEN k%8=0 THEN x'00ff' END FROM c;"
  "CREATE TABLE m(id integer primary key, v blob, i int, r real, s text, "
  "b boolean, p integer, x blob);"
  "INSERT INTO m SELECT id,v,i,r,s,b,p,x FROM t;";

static struct shell *sh;

static int authorize(void *arg, int action, const char *a1, const char *a2,
                     const char *schema, const char *trigger){
  static const char *const denied[] = {
    "random", "randomblob", "load_extension", "vecdb_config", "changes",
    "last_insert_rowid", "total_changes"
  };
  VDB_UNUSED(arg);
  VDB_UNUSED(schema);
  VDB_UNUSED(trigger);
  if( action==SQLITE_ATTACH || action==SQLITE_PRAGMA
   || action==SQLITE_TRANSACTION || action==SQLITE_SAVEPOINT ){
    return SQLITE_DENY;
  }
  for(size_t k=0; action==SQLITE_FUNCTION && k<VDB_ARRAY_LEN(denied); k++){
    if( sqlite3_stricmp(a2, denied[k])==0 ) return SQLITE_DENY;
  }
  VDB_UNUSED(a1);
  return SQLITE_OK;
}

static void exec(const char *sql){
  char *err = NULL;
  if( sqlite3_exec(sh->sql, sql, NULL, NULL, &err)!=SQLITE_OK ){
    fuzz_fail("%s: %s", sql, err);
  }
}

static void sql_begin(void){
  shell_world_begin();
  sh = shell_lend(false, setup);
  exec("INSERT INTO t(t) VALUES('optimize'); DELETE FROM t WHERE id>60;"
       "DELETE FROM m WHERE id>60");
}

static void sql_end(void){
  shell_return(sh);
  shell_world_end();
}

/* What a statement gives: rows as text, and how it ended. */
struct result { char *z; size_t n, n_cap; uint64_t n_row; int rc; };

static void result_add(struct result *r, const void *p, size_t n){
  while( r->n + n + 1>r->n_cap ){
    r->n_cap = 2*r->n_cap + 256;
    r->z = lab_grow(r->z, r->n_cap);
  }
  if( n>0 ) memcpy(r->z + r->n, p, n);
  r->n += n;
}

static bool rc_is_known(int rc){
  switch( rc & 0xff ){
    case SQLITE_DONE: case SQLITE_ERROR: case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH: case SQLITE_TOOBIG: case SQLITE_RANGE:
    case SQLITE_AUTH: case SQLITE_INTERRUPT: case SQLITE_LOCKED:
    case SQLITE_READONLY: case SQLITE_BUSY: case SQLITE_NOMEM:
      return true;           /* NOMEM: SQLite's own heap has a limit here */
  }
  return false;
}

static void result_of(struct result *r, const char *sql){
  sqlite3_stmt *s = NULL;
  memset(r, 0, sizeof(*r));
  sqlite3_set_authorizer(sh->sql, authorize, NULL);
  r->rc = sqlite3_prepare_v2(sh->sql, sql, -1, &s, NULL);
  while( r->rc==SQLITE_OK && s && (r->rc = sqlite3_step(s))==SQLITE_ROW ){
    r->rc = SQLITE_OK;
    for(int c=0; c<sqlite3_column_count(s) && r->n<(1<<16); c++){
      char kind = (char)('0' + sqlite3_column_type(s, c));
      result_add(r, &kind, 1);
      result_add(r, sqlite3_column_blob(s, c),
                 (size_t)sqlite3_column_bytes(s, c));
      result_add(r, "|", 1);
    }
    result_add(r, "\n", 1);
    if( ++r->n_row>2000 ) r->rc = SQLITE_INTERRUPT;
  }
  if( r->rc==SQLITE_OK ) r->rc = SQLITE_DONE;
  if( !rc_is_known(r->rc) ){
    fuzz_fail("%s: %d %s", sql, r->rc, sqlite3_errmsg(sh->sql));
  }
  sqlite3_finalize(s);
  sqlite3_set_authorizer(sh->sql, NULL, NULL);
}

/* The same from both, if both could. */
static void expect_equal(char *sql_t, char *sql_m, bool both_ways){
  struct result a, b;
  result_of(&a, sql_t);
  result_of(&b, sql_m);
  if( a.rc==SQLITE_DONE && b.rc==SQLITE_DONE
   && (a.n!=b.n || (a.n && memcmp(a.z, b.z, a.n)!=0)) ){
    fuzz_fail("%s\ngives\n%.*s%s\ngives\n%.*s", sql_t, (int)a.n,
              a.z ? a.z : "", sql_m, (int)b.n, b.z ? b.z : "");
  }
  if( both_ways && a.rc!=b.rc && b.rc==SQLITE_DONE && a.rc!=SQLITE_INTERRUPT ){
    fuzz_fail("%s: %s", sql_t, sqlite3_errmsg(sh->sql));
  }
  free(a.z);
  free(b.z);
  sqlite3_free(sql_t);
  sqlite3_free(sql_m);
}

static void expect_search(const char *z){
  struct result a, b;
  char *sql = sqlite3_mprintf("SELECT id FROM t WHERE v MATCH '[1,2,1,2]' AND "
    "k=5 AND (%s\n)", z);
  char *ids = sqlite3_mprintf("SELECT id FROM m WHERE (%s\n)", z);
  result_of(&a, sql);
  result_of(&b, ids);
  if( a.rc==SQLITE_DONE && b.rc==SQLITE_DONE ){
    if( a.n_row>5 || a.n_row>b.n_row ) fuzz_fail("%s: too many rows", sql);
    for(size_t i=0, k; i<a.n; i=k+1){
      for(k=i; a.z[k]!='\n'; k++){}
      if( !memmem(b.z, b.n, a.z + i, k - i) ){
        fuzz_fail("%s: a row that does not qualify", sql);
      }
    }
  }
  free(a.z);
  free(b.z);
  sqlite3_free(sql);
  sqlite3_free(ids);
}

static void expect_undone(const char *z){
  static uint64_t hash;
  struct result r;
  sqlite3_exec(sh->sql, "BEGIN", NULL, NULL, NULL);
  result_of(&r, z);
  free(r.z);
  sqlite3_exec(sh->sql, "ROLLBACK", NULL, NULL, NULL);   /* it may have been */
  result_of(&r, "SELECT * FROM t ORDER BY id");
  if( hash==0 ) hash = lab_hash(0, r.z, r.n);
  if( r.rc!=SQLITE_DONE || lab_hash(0, r.z, r.n)!=hash ){
    fuzz_fail("not undone: %s", z);
  }
  free(r.z);
}

static void sql_one(const uint8_t *p, size_t n){
  static unsigned n_run;
  char *z;
  if( n==0 ) return;
  z = sqlite3_mprintf("%.*s", (int)n - 1, (const char*)p + 1);
  shell_renew(sh);
  switch( p[0] % 5 ){
    case 0:
      expect_equal(
        sqlite3_mprintf("SELECT id FROM t WHERE (%s\n) ORDER BY id", z),
        sqlite3_mprintf("SELECT id FROM m WHERE (%s\n) ORDER BY id", z), true);
      break;
    case 1:
      expect_equal(
        sqlite3_mprintf("SELECT id FROM t WHERE filter=%Q ORDER BY id", z),
        sqlite3_mprintf("SELECT id FROM m WHERE (%s\n) ORDER BY id", z),
        false);
      break;
    case 2:
      expect_equal(
        sqlite3_mprintf("SELECT count(*),min(id) FROM t GROUP BY (%s\n) "
                        "ORDER BY 2", z),
        sqlite3_mprintf("SELECT count(*),min(id) FROM m GROUP BY (%s\n) "
                        "ORDER BY 2", z), true);
      break;
    case 3:
      expect_search(z);
      break;
    default:
      expect_undone(z);
  }
  if( ++n_run%512==0 && vecdb_check(sh->db, 0, NULL, NULL)!=VECDB_OK ){
    fuzz_fail("check: %s", vecdb_errmsg(sh->db));
  }
  sqlite3_free(z);
}

static void sql_seeds(void){
  static const char *const text[] = {
    "i = 1 OR r > 3.5", "s LIKE 't%' AND NOT b", "i IN (1,2,NULL)",
    "s GLOB 't[0-3]*' AND p=2", "i IS NULL AND id BETWEEN 5 AND 40",
    "x IS NOT NULL", "s COLLATE NOCASE = 'T3'", "id < 10 AND s >= 't2'",
    "b", "i = '1'", "r = 1", "typeof(i)='integer' AND length(s)>2",
    "coalesce(i, p) = 2", "i+0 = 1", "s > 5", "id = 3.0", "rowid IN (7,8)"
  };
  static const char *const statements[] = {
    "SELECT id, distance FROM t WHERE v MATCH '[1,2,3,4]' AND k=4",
    "DELETE FROM t WHERE id IN (SELECT id FROM m WHERE p=1)",
    "UPDATE t SET i=i+1, v=vec_f32('[4,3,2,1]') WHERE b",
    "INSERT OR REPLACE INTO t(id,v,p) SELECT id,v,p+1 FROM m WHERE id<9",
    "DROP TABLE t", "ALTER TABLE t RENAME TO u",
    "SELECT t.id FROM t JOIN m ON t.i=m.i WHERE m.p=2 ORDER BY t.r LIMIT 3",
    "SELECT * FROM vecdb_knn('t','[1,2,3,4]',2)",
    "SELECT value FROM m, vec_each(m.v) WHERE m.id=2",
    "SELECT vec_to_json(vec_normalize(v)) FROM t LIMIT 2",
    "INSERT INTO t(t) VALUES('optimize')"
  };
  for(size_t i=0; i<VDB_ARRAY_LEN(text); i++){
    for(int form=0; form<4; form++){
      char kind[] = { 'e', (char)('0' + form), '_', 0 };
      fuzz_seed_text(kind, i, form, text[i]);
    }
  }
  for(size_t i=0; i<VDB_ARRAY_LEN(statements); i++){
    fuzz_seed_text("s", i, 4, statements[i]);
  }
}

const struct fuzz_target fuzz_target = {
  .name = "sql", .sz_max = 512, .mem_max = 64<<20, .n_keep = 2000,
  .seconds_max = 5, .words = words, .begin = sql_begin, .one = sql_one,
  .end = sql_end,
  .seeds = sql_seeds
};
