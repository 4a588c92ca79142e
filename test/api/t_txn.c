/* t_txn.c -- transactions, savepoints, and statements across them. */
#include "api/graph.h"

static vecdb *db;
static vecdb_collection *c;

static void setup(void){
  db = api_memory();
  c = api_collection(db, "t", "v float[2]");
  for(int i=1; i<=5; i++) api_put(c, i, "[1,2]");
}

static vecdb_stmt *scan(void){
  vecdb_stmt *s = NULL;
  OK(db, vecdb_prepare_scan(c, NULL, &s));
  return s;
}

static void del(int64_t key){
  vecdb_stmt *s;
  OK(db, vecdb_prepare_delete(c, &s));
  OK(db, vecdb_bind_int64(s, VECDB_KEY, key));
  DONE(db, vecdb_step(s));
  OK(db, vecdb_finalize(s));
}

#define ROWS(want) do{ \
  vecdb_stmt *rows_ = scan(); \
  KEYS(db, want, rows_); \
  OK(db, vecdb_finalize(rows_)); \
}while(0)

TEST(transaction__has_states){
  setup();
  CHECK_INT(0, vecdb_in_transaction(db));
  REFUSES(db, VECDB_MISUSE, "no transaction is open", vecdb_rollback(db));
  REFUSES(db, VECDB_MISUSE, "7 is neither VECDB_READ nor VECDB_WRITE",
          vecdb_begin(db, 7));
  OK(db, vecdb_begin(db, VECDB_READ));
  CHECK_INT(1, vecdb_in_transaction(db));
  REFUSES(db, VECDB_MISUSE, "cannot begin: a transaction is open; commit or "
                            "roll "
          "back first", vecdb_begin(db, VECDB_WRITE));
  api_put(c, 6, "[1,2]");                       /* upgrades */
  CHECK_INT(2, vecdb_in_transaction(db));
  OK(db, vecdb_rollback(db));
  CHECK_INT(0, vecdb_in_transaction(db));
  ROWS("1 2 3 4 5 ");
  OK(db, vecdb_begin(db, VECDB_WRITE));
  CHECK_INT(2, vecdb_in_transaction(db));
  api_put(c, 6, "[1,2]");
  ROWS("1 2 3 4 5 6 ");
  OK(db, vecdb_commit(db));
  ROWS("1 2 3 4 5 6 ");
  OK(db, vecdb_begin(db, VECDB_READ));
  OK(db, vecdb_commit(db));
  vecdb_close(db);
}

TEST(transaction__undoes_collections){
  vecdb_collection *u;
  setup();
  OK(db, vecdb_begin(db, VECDB_WRITE));
  u = api_collection(db, "u", "v float[2]");
  api_put(u, 1, "[1,2]");
  OK(db, vecdb_drop_collection(db, "t"));
  CHECK_RC(VECDB_NOTFOUND, vecdb_collection_open(db, "t", &u));
  OK(db, vecdb_rollback(db));
  ROWS("1 2 3 4 5 ");
  CHECK_RC(VECDB_NOTFOUND, vecdb_collection_open(db, "u", &u));
  vecdb_close(db);
}

/* A failed statement leaves the transaction as it was before it. */
TEST(transaction__survives_a_failed_statement){
  vecdb_stmt *s;
  setup();
  OK(db, vecdb_begin(db, VECDB_WRITE));
  api_put(c, 10, "[1,2]");
  s = api_insert(c);
  OK(db, vecdb_bind_int64(s, 0, 3));
  OK(db, vecdb_bind_vector_text(s, 1, "[9,9]", (size_t)-1));
  CHECK_RC(VECDB_CONSTRAINT_PK, vecdb_step(s));
  api_put(c, 11, "[1,2]");
  OK(db, vecdb_commit(db));
  ROWS("1 2 3 4 5 10 11 ");
  vecdb_close(db);
}

/* ---- Savepoints --------------------------------------------------------- */

TEST(savepoint__numbers_are_the_callers){
  setup();
  REFUSES(db, VECDB_MISUSE, "savepoint 1: no write transaction is open",
          vecdb_savepoint(db, 1));
  OK(db, vecdb_begin(db, VECDB_WRITE));
  OK(db, vecdb_savepoint(db, 3));
  api_put(c, 10, "[1,2]");
  OK(db, vecdb_savepoint(db, 7));
  api_put(c, 11, "[1,2]");
  REFUSES(db, VECDB_MISUSE, "savepoint 7 cannot be inside savepoint 7: "
                            "numbers grow "
          "inwards", vecdb_savepoint(db, 7));
  OK(db, vecdb_rollback_to(db, 8));             /* reaches none */
  ROWS("1 2 3 4 5 10 11 ");
  OK(db, vecdb_rollback_to(db, 5));             /* the outermost >= 5: 7 */
  ROWS("1 2 3 4 5 10 ");
  api_put(c, 12, "[1,2]");
  OK(db, vecdb_rollback_to(db, 7));             /* still there */
  ROWS("1 2 3 4 5 10 ");
  api_put(c, 13, "[1,2]");
  OK(db, vecdb_release(db, 7));
  OK(db, vecdb_release(db, 7));                 /* does nothing */
  ROWS("1 2 3 4 5 10 13 ");
  OK(db, vecdb_savepoint(db, 4));
  del(1);
  OK(db, vecdb_rollback_to(db, 0));             /* 3, and all inside */
  ROWS("1 2 3 4 5 ");
  OK(db, vecdb_release(db, 0));
  OK(db, vecdb_savepoint(db, 0));
  OK(db, vecdb_commit(db));
  ROWS("1 2 3 4 5 ");
  OK(db, vecdb_release(db, 0));                 /* gone with the transaction */
  vecdb_close(db);
}

TEST(savepoint__undoes_many_rows){
  setup();
  OK(db, vecdb_begin(db, VECDB_WRITE));
  for(unsigned d=0; d<20; d++){
    OK(db, vecdb_savepoint(db, d*10));
    for(int i=0; i<50; i++) api_put(c, 100+(int)d*50+i, "[1,2]");
  }
  OK(db, vecdb_rollback_to(db, 10));
  OK(db, vecdb_commit(db));
  vecdb_collection_stats st = { .size = sizeof(st) };
  OK(db, vecdb_collection_stat(c, &st));
  CHECK_U64(55, st.n_row);
  vecdb_close(db);
}

/* ---- Statements in progress --------------------------------------------- */

TEST(statement__goes_on_while_its_handle_writes){
  vecdb_stmt *s;
  setup();
  s = scan();
  ROW(db, vecdb_step(s));
  ROW(db, vecdb_step(s));
  CHECK_INT(2, vecdb_column_int64(s, 0));
  del(2);                                       /* the row it stands on */
  del(4);
  api_put(c, 6, "[3,4]");
  CHECK_INT(2, vecdb_column_int64(s, 0));       /* still readable */
  CHECK_STR("[1,2]", vecdb_column_text(s, 1));
  ROW(db, vecdb_step(s));
  CHECK_INT(3, vecdb_column_int64(s, 0));
  del(3);
  ROW(db, vecdb_step(s));
  CHECK_INT(5, vecdb_column_int64(s, 0));
  ROW(db, vecdb_step(s));
  CHECK_INT(6, vecdb_column_int64(s, 0));
  DONE(db, vecdb_step(s));
  vecdb_close(db);
}

/* Deleting each row that a scan stands on deletes all, once. */
TEST(statement__may_delete_what_it_scans){
  vecdb_stmt *s;
  int n = 0;
  setup();
  for(int i=6; i<=300; i++) api_put(c, i, "[1,2]");
  s = scan();
  while( vecdb_step(s)==VECDB_ROW ){
    del(vecdb_column_int64(s, 0));
    n++;
  }
  CHECK_INT(300, n);
  ROWS("");
  vecdb_close(db);
}

TEST(statement__filter_sees_later_changes_row_by_row){
  vecdb_stmt *s, *u;
  db = api_memory();
  c = api_collection(db, "t", "v float[2], n int");
  s = api_insert(c);
  OK(db, vecdb_bind_vector_text(s, 1, "[1,2]", (size_t)-1));
  for(int i=1; i<=4; i++){
    OK(db, vecdb_bind_int64(s, 2, i));
    DONE(db, vecdb_step(s));
  }
  OK(db, vecdb_prepare_scan(c, "n < 4", &s));
  ROW(db, vecdb_step(s));
  OK(db, vecdb_prepare_update(c, &u));
  OK(db, vecdb_bind_int64(u, VECDB_KEY, 2));
  OK(db, vecdb_bind_int64(u, 2, 9));
  DONE(db, vecdb_step(u));
  OK(db, vecdb_bind_int64(u, VECDB_KEY, 4));
  OK(db, vecdb_bind_int64(u, 2, 0));
  DONE(db, vecdb_step(u));
  ROW(db, vecdb_step(s));
  CHECK_INT(3, vecdb_column_int64(s, 0));
  ROW(db, vecdb_step(s));
  CHECK_INT(4, vecdb_column_int64(s, 0));
  DONE(db, vecdb_step(s));
  vecdb_close(db);
}

TEST(statement__search_leaves_out_rows_deleted_meanwhile){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_stmt *s;
  setup();
  OK(db, vecdb_prepare_search(c, &o, &s));
  OK(db, vecdb_bind_vector_text(s, VECDB_QUERY, "[0,0]", (size_t)-1));
  ROW(db, vecdb_step(s));
  CHECK_INT(1, vecdb_column_int64(s, 0));
  del(3);
  OK(db, vecdb_begin(db, VECDB_WRITE));
  ROW(db, vecdb_step(s));
  CHECK_INT(2, vecdb_column_int64(s, 0));
  ROW(db, vecdb_step(s));
  CHECK_INT(4, vecdb_column_int64(s, 0));
  CHECK_DBL(sqrtf(5), vecdb_row_distance(s), 0);
  OK(db, vecdb_commit(db));
  ROW(db, vecdb_step(s));
  CHECK_INT(5, vecdb_column_int64(s, 0));
  del(5);
  DONE(db, vecdb_step(s));
  vecdb_close(db);
}

TEST(statement__is_aborted_by_a_rollback){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_stmt *s, *q;
  setup();
  s = scan();
  OK(db, vecdb_prepare_search(c, &o, &q));
  OK(db, vecdb_bind_vector_text(q, VECDB_QUERY, "[0,0]", (size_t)-1));
  OK(db, vecdb_begin(db, VECDB_WRITE));
  api_put(c, 9, "[1,2]");
  OK(db, vecdb_savepoint(db, 1));
  ROW(db, vecdb_step(s));
  ROW(db, vecdb_step(q));
  OK(db, vecdb_rollback_to(db, 1));
  CHECK_INT(VECDB_NULL, vecdb_column_type(s, 0));
  REFUSES(db, VECDB_ABORT, "the transaction of this statement has ended",
          vecdb_step(s));
  KEYS(db, "1 2 3 4 5 9 ", s);                  /* begins anew */
  ROW(db, vecdb_step(s));
  OK(db, vecdb_rollback(db));
  CHECK_RC(VECDB_ABORT, vecdb_step(s));
  CHECK_RC(VECDB_ABORT, vecdb_step(q));
  ROW(db, vecdb_step(q));
  OK(db, vecdb_begin(db, VECDB_READ));
  ROW(db, vecdb_step(s));
  OK(db, vecdb_rollback(db));
  OK(db, vecdb_reset(s));                       /* reset forgets it */
  KEYS(db, "1 2 3 4 5 ", s);
  vecdb_close(db);
}

TEST(statement__goes_on_after_a_commit){
  vecdb_stmt *s;
  setup();
  s = scan();
  OK(db, vecdb_begin(db, VECDB_WRITE));
  ROW(db, vecdb_step(s));
  api_put(c, 7, "[1,2]");
  OK(db, vecdb_commit(db));
  CHECK_INT(1, vecdb_column_int64(s, 0));
  KEYS(db, "2 3 4 5 7 ", s);
  vecdb_close(db);
}

TEST(statement__may_be_left_open_at_close){
  vecdb_stmt *s;
  setup();
  s = scan();
  ROW(db, vecdb_step(s));
  OK(db, vecdb_begin(db, VECDB_WRITE));
  api_put(c, 7, "[1,2]");
  CHECK_RC(VECDB_OK, vecdb_close(db));
}

TEST(statement__belongs_to_its_collection){
  vecdb_stmt *s;
  setup();
  s = scan();
  CHECK(vecdb_stmt_collection(s)==c);
  OK(db, vecdb_collection_close(c));
  ROW(db, vecdb_step(s));
  OK(db, vecdb_finalize(s));
  vecdb_close(db);
}

/* ---- Two handles on one file -------------------------------------------- */

static vecdb *a, *b;
static vecdb_collection *ca, *cb;

static void two_handles(void){
  const char *path = vt_path("two.vdb");
  a = api_open(path, NULL);
  ca = api_collection(a, "t", "v float[2]");
  for(int i=1; i<=3; i++) api_put(ca, i, "[1,2]");
  b = api_open(path, NULL);
  cb = api_collection(b, "t", NULL);
}

static const char *keys_of(vecdb *h, vecdb_collection *col){
  vecdb_stmt *s;
  const char *z;
  int rc;
  OK(h, vecdb_prepare_scan(col, NULL, &s));
  z = api_keys(s, &rc);
  DONE(h, rc);
  OK(h, vecdb_finalize(s));
  return z;
}

TEST(handles__read_what_the_other_committed){
  two_handles();
  OK(b, vecdb_begin(b, VECDB_READ));
  CHECK_STR("1 2 3 ", keys_of(b, cb));
  api_put(ca, 4, "[1,2]");
  CHECK_STR("1 2 3 ", keys_of(b, cb));          /* its snapshot */
  CHECK_STR("1 2 3 4 ", keys_of(a, ca));
  OK(b, vecdb_commit(b));
  CHECK_STR("1 2 3 4 ", keys_of(b, cb));
  OK(a, vecdb_begin(a, VECDB_WRITE));
  api_put(ca, 5, "[1,2]");
  CHECK_STR("1 2 3 4 ", keys_of(b, cb));
  OK(a, vecdb_rollback(a));
  vecdb_close(a);
  vecdb_close(b);
}

TEST(handles__one_writes_at_a_time){
  vecdb_stmt *s;
  two_handles();
  OK(a, vecdb_begin(a, VECDB_WRITE));
  CHECK_RC(VECDB_BUSY, vecdb_begin(b, VECDB_WRITE));
  CHECK(strstr(vecdb_errmsg(b), "write lock")!=NULL);
  OK(b, vecdb_prepare_insert(cb, 0, &s));
  OK(b, vecdb_bind_vector_text(s, 1, "[1,2]", (size_t)-1));
  CHECK_RC(VECDB_BUSY, vecdb_step(s));
  OK(b, vecdb_set(b, "busy_ms", 50));
  CHECK_RC(VECDB_BUSY, vecdb_begin(b, VECDB_WRITE));
  OK(a, vecdb_commit(a));
  OK(b, vecdb_begin(b, VECDB_WRITE));
  OK(b, vecdb_commit(b));
  DONE(b, vecdb_step(s));
  CHECK_STR("1 2 3 4 ", keys_of(a, ca));
  vecdb_close(a);
  vecdb_close(b);
}

TEST(handles__a_stale_reader_cannot_become_writer){
  vecdb_stmt *s;
  two_handles();
  OK(b, vecdb_begin(b, VECDB_READ));
  CHECK_STR("1 2 3 ", keys_of(b, cb));
  api_put(ca, 4, "[1,2]");
  OK(b, vecdb_prepare_insert(cb, 0, &s));
  OK(b, vecdb_bind_vector_text(s, 1, "[1,2]", (size_t)-1));
  CHECK_RC(VECDB_BUSY_SNAPSHOT, vecdb_step(s));
  CHECK_INT(1, vecdb_in_transaction(b));
  CHECK_STR("1 2 3 ", keys_of(b, cb));
  OK(b, vecdb_rollback(b));
  DONE(b, vecdb_step(s));
  CHECK_STR("1 2 3 4 5 ", keys_of(a, ca));
  vecdb_close(a);
  vecdb_close(b);
}

TEST(handles__a_scan_keeps_its_snapshot){
  vecdb_stmt *s;
  two_handles();
  OK(b, vecdb_prepare_scan(cb, NULL, &s));
  ROW(b, vecdb_step(s));
  api_put(ca, 4, "[1,2]");
  OK(a, vecdb_drop_collection(a, "t"));
  KEYS(b, "2 3 ", s);
  CHECK_RC(VECDB_NOTFOUND, vecdb_step(s));
  vecdb_close(a);
  vecdb_close(b);
}

/* ---- Two-phase commit --------------------------------------------------- */

TEST(prepare__is_decided_by_the_host){
  static const unsigned char host[16] = "the host's uuid";
  unsigned char uuid[16];
  uint64_t token = 9;
  int in_doubt = 9;
  two_handles();
  OK(a, vecdb_committed_token(a, uuid, &token));
  CHECK_U64(0, token);
  CHECK_RC(VECDB_MISUSE, vecdb_prepare_commit(a, host, 1));
  OK(a, vecdb_begin(a, VECDB_WRITE));
  api_put(ca, 4, "[1,2]");
  OK(a, vecdb_prepare_commit(a, host, 1));
  CHECK_STR("1 2 3 ", keys_of(b, cb));
  OK(b, vecdb_in_doubt(b, &in_doubt, uuid, &token));
  CHECK_INT(0, in_doubt);                       /* its owner lives */
  OK(a, vecdb_decide(a, 1));
  CHECK_INT(0, vecdb_in_transaction(a));
  CHECK_STR("1 2 3 4 ", keys_of(b, cb));
  OK(b, vecdb_committed_token(b, uuid, &token));
  CHECK_U64(1, token);
  CHECK_MEM(host, uuid, 16);
  OK(a, vecdb_begin(a, VECDB_WRITE));
  api_put(ca, 5, "[1,2]");
  OK(a, vecdb_prepare_commit(a, host, 2));
  api_put(ca, 6, "[1,2]");
  OK(a, vecdb_prepare_commit(a, host, 2));      /* again */
  OK(a, vecdb_decide(a, 0));
  CHECK_STR("1 2 3 4 ", keys_of(a, ca));
  OK(b, vecdb_begin_read_at(b, 1));
  CHECK_STR("1 2 3 4 ", keys_of(b, cb));
  OK(b, vecdb_commit(b));
  CHECK_RC(VECDB_BUSY_SNAPSHOT, vecdb_begin_read_at(b, 77));
  vecdb_close(a);
  vecdb_close(b);
}

/* The row nearest to generated row i. */
static int64_t nearest(uint64_t i){
  vecdb_search_options o = g_options(1, 0);
  static struct answer found;
  float q[G_DIMS];
  g_vector(i, q);
  g_search(c, &o, VECDB_F32, q, &found);
  return found.n==1 ? found.key[0] : -1;
}

/* A handle that was opened when the changes were there already keeps nothing of
** them when they are undone: what comes next has the same version numbers. */
TEST(rollback__is_known_to_handles_opened_inside){
  for(int seal=0; seal<2; seal++){
    db = api_memory();
    c = api_collection(db, "t", "id integer primary key, v float[16]");
    g_fill(c, VECDB_F32, 0, 500);
    OK(db, vecdb_begin(db, VECDB_WRITE));
    g_fill(c, VECDB_F32, 1000, 1300);
    if( seal ) OK(db, vecdb_optimize(c, NULL));
    OK(db, vecdb_collection_close(c));
    OK(db, vecdb_collection_open(db, "t", &c));
    CHECK_INT(1100, nearest(1100));
    OK(db, vecdb_rollback(db));
    OK(db, vecdb_begin(db, VECDB_WRITE));
    g_fill(c, VECDB_F32, 2000, 2300);
    if( seal ) OK(db, vecdb_optimize(c, NULL));
    OK(db, vecdb_commit(db));
    CHECK_INT(2100, nearest(2100));
    CHECK(nearest(1100)!=1100);
    OK(db, vecdb_check(db, 0, NULL, NULL));
    vecdb_close(db);
  }
}
