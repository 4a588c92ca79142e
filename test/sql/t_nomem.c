/* t_nomem.c -- when SQLite's allocator says no, a statement fails and nothing
** else: no crash, no leak, no statement left open, the next one works.
**
** One script runs again and again; in run n the n-th allocation fails, once.
** Allocations of the engine are its own and tested elsewhere.
*/
#include <sqlite3.h>

#include "sql/scratch.h"

int sqlite3_vecdb_init(sqlite3 *db, char **err, const void *api);

static sqlite3_mem_methods real;
static long long n_until_failure;      /* 0: never */
static int has_failed;

static int should_fail(void){
  if( n_until_failure==0 || --n_until_failure>0 ) return 0;
  has_failed = 1;
  return 1;
}
static void *failing_malloc(int n){
  return should_fail() ? NULL : real.xMalloc(n);
}
static void *failing_realloc(void *p, int n){
  return should_fail() ? NULL : real.xRealloc(p, n);
}

static void install(void){
  sqlite3_mem_methods m;
  sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real);
  m = real;
  m.xMalloc = failing_malloc;
  m.xRealloc = failing_realloc;
  sqlite3_config(SQLITE_CONFIG_MALLOC, &m);
}

static const char create_file[] =
  "CREATE VIRTUAL TABLE t USING vecdb(file='x.vdb', id integer primary key,"
  " v float[2], i int, s text, +x blob)";
static const char create_hosted[] =
  "CREATE VIRTUAL TABLE t USING vecdb(id integer primary key, v float[2], i int,"
  " s text, +x blob)";

static const char *const script[] = {
  "INSERT INTO t(id,v,i,s,x) VALUES(1,'[1,2]',1,'a',x'00'),"
  "(2,vec_f32('[2,3]'),2,'b',NULL),(3,vec_normalize('[3,3]'),NULL,'c',NULL)",
  "SELECT id, distance, vec_to_json(v), i, s, x FROM t WHERE v MATCH '[1,1]'"
  " AND k=2 AND i IN (1,2,3) AND s LIKE '%' AND id>0",
  "SELECT id FROM t WHERE v MATCH '[1,1]' AND id IN (1,2) AND"
  " filter='i=1 OR i=2' AND vecdb_not_in(i,'[7,8]')",
  "SELECT id FROM t('[1,1]','{\"k\":3,\"filter\":\"i>0\"}') WHERE mmr_lambda=0.5",
  "SELECT * FROM vecdb_knn('t','[1,1]',2)",
  "SELECT value FROM vec_each('[1,2]')",
  "BEGIN", "SAVEPOINT s", "UPDATE t SET i=9, v='[5,5]' WHERE id=2",
  "DELETE FROM t WHERE id=3", "ROLLBACK TO s", "COMMIT",
  "INSERT INTO t(t) VALUES('flush')",
  "SELECT * FROM vecdb_stats('t')",
  "SELECT * FROM vecdb_last_query",
  "ALTER TABLE t RENAME TO u",
  "SELECT count(*) FROM u WHERE s='a'",
  "DROP TABLE u",
};

/* Run the script; statements that fail are passed over. Returns how many. */
static int run_statement(sqlite3 *db, const char *sql){
  sqlite3_stmt *s = NULL;
  int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
  while( rc==SQLITE_OK || rc==SQLITE_ROW ){
    if( (rc = sqlite3_step(s))==SQLITE_DONE ) break;
  }
  return sqlite3_finalize(s)!=SQLITE_OK || rc!=SQLITE_DONE;
}

static int run_script(sqlite3 *db, const char *create){
  size_t i;
  int n_failed = run_statement(db, create);
  for(i=0; i<sizeof(script)/sizeof(script[0]); i++){
    n_failed += run_statement(db, script[i]);
  }
  if( !sqlite3_get_autocommit(db) ) sqlite3_exec(db, "ROLLBACK", 0, 0, 0);
  return n_failed;
}

static int run_once(const char *create, long long n){
  sqlite3 *db = NULL;
  int n_failed = 0;

  scratch_remove();
  has_failed = 0;
  REQUIRE_INT(SQLITE_OK, sqlite3_open(scratch("host.db"), &db));
  n_until_failure = n;
  if( sqlite3_vecdb_init(db, NULL, NULL)==SQLITE_OK ){
    n_failed = run_script(db, create);
  }
  n_until_failure = 0;
  CHECK_INT(SQLITE_OK, sqlite3_close(db));       /* BUSY: a statement is left */
  return n_failed;
}

static void fail_everywhere(const char *create){
  long long n, step = vt_scale()>10 ? 1 : 19;
  int n_bad = 0;

  install();
  REQUIRE_INT(0, run_once(create, 0));
  for(n=1; n<1000000; n+=step){
    n_bad += run_once(create, n)>0;
    if( !has_failed ) break;
    CHECK_INT(0, (int)(sqlite3_memory_used()));
  }
  CHECK( n>1000 );
  CHECK( n_bad>5 );
  REQUIRE_INT(0, run_once(create, 0));
  scratch_end();
}

TEST(nomem__fails_a_statement_and_nothing_else){
  fail_everywhere(create_file);
}

TEST(nomem__in_shadow_tables_fails_a_statement_and_nothing_else){
  fail_everywhere(create_hosted);
}
