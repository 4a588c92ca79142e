/* t_interop.c -- one file, two doors: what the C library writes SQL reads, and
** the other way round, also while both have it open.
*/
#include <sqlite3.h>

#include "sql/scratch.h"

int sqlite3_vecdb_init(sqlite3 *db, char **err, const void *api);

static sqlite3 *host_open(void){
  sqlite3 *db = NULL;
  REQUIRE_INT(SQLITE_OK, sqlite3_open(scratch("host.db"), &db));
  REQUIRE_INT(SQLITE_OK, sqlite3_vecdb_init(db, NULL, NULL));
  return db;
}

static void exec(sqlite3 *db, const char *sql){
  char *err = NULL;
  if( sqlite3_exec(db, sql, NULL, NULL, &err)!=SQLITE_OK ){
    FAIL("%s: %s", sql, err ? err : "");
  }
  sqlite3_free(err);
}

static int64_t ask(sqlite3 *db, const char *sql){
  sqlite3_stmt *s = NULL;
  int64_t out = -1;
  if( sqlite3_prepare_v2(db, sql, -1, &s, NULL)!=SQLITE_OK ){
    FAIL("%s: %s", sql, sqlite3_errmsg(db));
  }else if( sqlite3_step(s)==SQLITE_ROW ){
    out = sqlite3_column_int64(s, 0);
  }else{
    FAIL("%s: no row, %s", sql, sqlite3_errmsg(db));
  }
  sqlite3_finalize(s);
  return out;
}

static vecdb *file_open(void){
  vecdb *db = NULL;
  REQUIRE_RC(VECDB_OK, vecdb_open(scratch("x.vdb"),
             VECDB_OPEN_READWRITE | VECDB_OPEN_CREATE, NULL, &db));
  return db;
}

/* Rows 1..n with vector [i, 0, 0, 0] and i%10 in `m`. */
static void put_rows(vecdb_collection *c, int64_t first, int n){
  float *v = calloc((size_t)n*4, sizeof(float));
  int64_t *key = calloc((size_t)n, sizeof(*key));
  int64_t *m = calloc((size_t)n, sizeof(*m));
  vecdb_column_data data[3];
  int i;

  memset(data, 0, sizeof(data));
  for(i=0; i<n; i++){
    key[i] = first + i;
    v[4*i] = (float)(first + i);
    m[i] = (first + i)%10;
  }
  for(i=0; i<3; i++) data[i].size = sizeof(data[i]);
  data[0].column = 0;  data[0].type = VECDB_INTEGER;  data[0].data = key;
  data[1].column = 1;  data[1].type = VECDB_VECTOR;
  data[1].element = VECDB_F32;  data[1].data = v;
  data[2].column = 2;  data[2].type = VECDB_INTEGER;  data[2].data = m;
  CHECK_RC(VECDB_OK, vecdb_put_many(c, (size_t)n, data, 3, 0, NULL));
  free(v);
  free(key);
  free(m);
}

static uint64_t row_count(vecdb_collection *c){
  vecdb_collection_stats st;
  memset(&st, 0, sizeof(st));
  st.size = sizeof(st);
  CHECK_RC(VECDB_OK, vecdb_collection_stat(c, &st));
  return st.n_row;
}

#define SCHEMA "id integer primary key, v float[4], m int"

TEST(interop__sql_reads_what_the_library_wrote){
  vecdb *file;
  vecdb_collection *c = NULL;
  sqlite3 *db;

  scratch_remove();
  file = file_open();
  REQUIRE_RC(VECDB_OK, vecdb_create_collection(file, "docs", SCHEMA));
  REQUIRE_RC(VECDB_OK, vecdb_collection_open(file, "docs", &c));
  put_rows(c, 1, 5000);                  /* enough to be sealed */
  db = host_open();
  exec(db, "CREATE VIRTUAL TABLE docs USING vecdb(file='x.vdb')");
  CHECK_INT(5000, ask(db, "SELECT count(*) FROM docs"));
  CHECK_INT(77, ask(db, "SELECT id FROM docs WHERE v MATCH '[77,0,0,0]' AND "
                    "k=1"));
  CHECK_INT(73, ask(db, "SELECT id FROM docs WHERE v MATCH '[77,0,0,0]' AND "
                    "k=1 AND m=3"));
  put_rows(c, 5001, 10);                 /* both have it open */
  CHECK_INT(5010, ask(db, "SELECT count(*) FROM docs"));
  CHECK_INT(5010, ask(db, "SELECT id FROM docs WHERE "
                      "v MATCH '[6000,0,0,0]' AND k=1"));
  CHECK_RC(VECDB_OK, vecdb_collection_close(c));
  CHECK_RC(VECDB_OK, vecdb_close(file));
  CHECK_INT(SQLITE_OK, sqlite3_close(db));
  scratch_end();
}

TEST(interop__library_reads_what_sql_wrote){
  vecdb *file;
  vecdb_collection *c = NULL;
  sqlite3 *db;

  scratch_remove();
  db = host_open();
  exec(db, "CREATE VIRTUAL TABLE t USING vecdb(file='x.vdb', " SCHEMA ")");
  exec(db, "INSERT INTO t(id,v,m) VALUES(1,'[1,0,0,0]',5),(2,'[2,0,0,0]',6)");
  file = file_open();
  REQUIRE_RC(VECDB_OK, vecdb_collection_open(file, "t", &c));
  CHECK_STR(SCHEMA, vecdb_collection_schema(c));
  CHECK_U64(2, row_count(c));
  exec(db, "BEGIN; DELETE FROM t WHERE id=1");
  CHECK_U64(2, row_count(c));            /* not committed yet */
  exec(db, "COMMIT");
  CHECK_U64(1, row_count(c));
  CHECK_RC(VECDB_OK, vecdb_collection_close(c));
  CHECK_RC(VECDB_OK, vecdb_close(file));
  CHECK_INT(SQLITE_OK, sqlite3_close(db));
  scratch_end();
}

/* A commit of the library keeps the token, so the host goes on as before. */
TEST(interop__both_write_in_turns){
  vecdb *file;
  vecdb_collection *c = NULL;
  sqlite3 *db;
  int i;

  scratch_remove();
  db = host_open();
  exec(db, "CREATE VIRTUAL TABLE t USING vecdb(file='x.vdb', " SCHEMA ")");
  file = file_open();
  REQUIRE_RC(VECDB_OK, vecdb_collection_open(file, "t", &c));
  for(i=0; i<20; i++){
    put_rows(c, 100 + 2*i, 1);
    exec(db, "INSERT INTO t(v,m) VALUES('[1,1,1,1]',1)");
    CHECK_INT(2*(i + 1), ask(db, "SELECT count(*) FROM t"));
    CHECK_U64((uint64_t)(2*(i + 1)), row_count(c));
  }
  CHECK_RC(VECDB_OK, vecdb_begin(file, VECDB_WRITE));
  CHECK_INT(SQLITE_BUSY, sqlite3_exec(db, "DELETE FROM t", 0, 0, 0) & 0xff);
  CHECK_RC(VECDB_OK, vecdb_rollback(file));
  exec(db, "DELETE FROM t");
  CHECK_U64(0, row_count(c));
  CHECK_RC(VECDB_OK, vecdb_collection_close(c));
  CHECK_RC(VECDB_OK, vecdb_close(file));
  CHECK_INT(SQLITE_OK, sqlite3_close(db));
  scratch_end();
}

struct watch { vecdb_progress_fn fn; uint64_t n_call, done, total; };

static int watch_call(void *arg, const vecdb_progress *p){
  struct watch *w = arg;
  CHECK( p->done>=w->done && p->done<=p->total );
  w->n_call++;
  w->done = p->done;
  w->total = p->total;
  return 0;
}

static void watch_set(sqlite3 *db, struct watch *w){
  sqlite3_stmt *s = NULL;
  REQUIRE_INT(SQLITE_OK, sqlite3_prepare_v2(db,
      "SELECT vecdb_config('progress', ?1)", -1, &s, NULL));
  if( w ) sqlite3_bind_pointer(s, 1, w, "vecdb_progress", NULL);
  CHECK_INT(SQLITE_ROW, sqlite3_step(s));
  sqlite3_finalize(s);
}

TEST(interop__tells_how_far_tune_is){
  struct watch w = { watch_call, 0, 0, 0 };
  uint64_t n_call;
  sqlite3 *db;

  scratch_remove();
  db = host_open();
  exec(db, "CREATE VIRTUAL TABLE t USING vecdb(id integer primary key, v "
       "float[4])");
  exec(db, "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM n WHERE "
       "n<2100) INSERT INTO t(id,v) SELECT n, json_array(n%7, n%11, n%13, n) "
       "FROM n");
  exec(db, "INSERT INTO t(t) VALUES('rebuild')");
  watch_set(db, &w);
  exec(db, "SELECT * FROM vecdb_tune('t', 0.5)");
  CHECK( w.n_call>=6 );                /* five layouts, and the last word */
  CHECK_U64(6, w.total);
  CHECK_U64(w.total, w.done);
  n_call = w.n_call;
  watch_set(db, NULL);
  exec(db, "SELECT * FROM vecdb_tune('t', 0.5)");
  CHECK_U64(n_call, w.n_call);
  CHECK_INT(SQLITE_OK, sqlite3_close(db));
  scratch_end();
}

/* Ctrl-C in the shell: a flag outside may stop what runs inside (it is looked
** at a few times a second), and nothing is lost. */
TEST(interop__survives_a_flag_that_stops_it){
  static volatile int flag;
  int rc;
  sqlite3 *db;
  sqlite3_stmt *s = NULL;

  scratch_remove();
  db = host_open();
  exec(db, "CREATE VIRTUAL TABLE t USING vecdb(file='x.vdb', " SCHEMA ")");
  exec(db, "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM n WHERE "
       "n<3000) INSERT INTO t(id,v,m) SELECT n, vec_f32(zeroblob(16)), 1 "
       "FROM n");
  REQUIRE_INT(SQLITE_OK, sqlite3_prepare_v2(db,
      "SELECT vecdb_config('interrupt', ?1)", -1, &s, NULL));
  sqlite3_bind_pointer(s, 1, (void*)&flag, "vecdb_interrupt", NULL);
  CHECK_INT(SQLITE_ROW, sqlite3_step(s));
  sqlite3_finalize(s);
  exec(db, "INSERT INTO t(t) VALUES('rebuild')");
  flag = 1;
  rc = sqlite3_exec(db, "INSERT INTO t(t) VALUES('rebuild')", 0, 0, 0);
  CHECK( rc==SQLITE_OK || rc==SQLITE_INTERRUPT );
  flag = 0;
  CHECK_INT(3000, ask(db, "SELECT count(*) FROM t"));
  exec(db, "INSERT INTO t(t) VALUES('rebuild')");
  CHECK_INT(SQLITE_OK, sqlite3_close(db));
  scratch_end();
}
