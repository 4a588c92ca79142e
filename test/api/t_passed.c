/* t_passed.c -- filters whose answer is remembered: what changes, or is
** undone, is never answered from before.
*/
#include "api/api.h"

static vecdb *db;
static vecdb_collection *coll;

static void table_open(const char *path){
  db = path ? api_open(path, NULL) : api_memory();
  coll = api_collection(db, "t", "id integer primary key, v float[2], n int");
}

static void put(int64_t id, int64_t n){
  vecdb_stmt *s = NULL;
  float v[2] = { (float)id, 0 };
  OK(db, vecdb_prepare_insert(coll, VECDB_OR_REPLACE, &s));
  OK(db, vecdb_bind_int64(s, 0, id));
  OK(db, vecdb_bind_vector(s, 1, VECDB_F32, v, sizeof(v), VECDB_STATIC));
  OK(db, vecdb_bind_int64(s, 2, n));
  DONE(db, vecdb_step(s));
  OK(db, vecdb_finalize(s));
}

/* The keys that a search for "n = ?" (with n<0: for a filter without
** parameters) gives, as one decimal number. */
static int64_t ask(vecdb_stmt *s, int64_t n){
  static const float q[2] = { 0, 0 };
  int64_t keys = 0;
  if( n>=0 ) OK(db, vecdb_bind_int64(s, 1, n));
  OK(db, vecdb_bind_vector(s, VECDB_QUERY, VECDB_F32, q, sizeof(q),
                           VECDB_STATIC));
  while( vecdb_step(s)==VECDB_ROW ) keys = 10*keys + vecdb_column_int64(s, 0);
  OK(db, vecdb_reset(s));
  return keys;
}

static vecdb_stmt *search(const char *filter){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_stmt *s = NULL;
  o.k = 9;
  o.filter = filter;
  OK(db, vecdb_prepare_search(coll, &o, &s));
  return s;
}

static int64_t ask_anew(int64_t n){
  vecdb_stmt *s = search("n = ?");
  int64_t keys = ask(s, n);
  OK(db, vecdb_finalize(s));
  return keys;
}

TEST(passed__tells_values_apart){
  table_open(NULL);
  for(int i=1; i<=6; i++) put(i, i%2);
  for(int round=0; round<3; round++){
    CHECK_INT(135, ask_anew(1));
    CHECK_INT(246, ask_anew(0));
    CHECK_INT(0, ask_anew(2));
  }
  OK(db, vecdb_close(db));
}

TEST(passed__follows_each_change){
  vecdb_stmt *s;
  table_open(NULL);
  for(int i=1; i<=6; i++) put(i, i%2);
  s = search("n = ?");
  CHECK_INT(135, ask(s, 1));
  put(7, 1);
  CHECK_INT(1357, ask(s, 1));
  CHECK_INT(1357, ask_anew(1));
  put(3, 0);
  CHECK_INT(157, ask_anew(1));
  CHECK_INT(157, ask(s, 1));
  OK(db, vecdb_finalize(s));
  OK(db, vecdb_close(db));
}

/* The number of a version that was undone is used again, for other data. */
TEST(passed__forgets_what_was_undone){
  vecdb_stmt *s;
  table_open(NULL);
  put(1, 1);
  s = search("n = 1");
  OK(db, vecdb_begin(db, VECDB_WRITE));
  put(2, 1);
  CHECK_INT(12, ask(s, -1));
  OK(db, vecdb_rollback(db));
  CHECK_INT(1, ask_anew(1));
  OK(db, vecdb_begin(db, VECDB_WRITE));
  put(3, 2);
  CHECK_INT(1, ask(s, -1));
  CHECK_INT(1, ask_anew(1));
  CHECK_INT(3, ask_anew(2));
  OK(db, vecdb_commit(db));
  OK(db, vecdb_finalize(s));
  OK(db, vecdb_close(db));
}

static void put_by_host(int64_t id, int64_t n, uint64_t token, int decision){
  static const unsigned char host[16] = { 1, 2, 3 };
  OK(db, vecdb_begin(db, VECDB_WRITE));
  put(id, n);
  OK(db, vecdb_prepare_commit(db, host, token));
  OK(db, vecdb_decide(db, decision));
}

/* A host takes commits back that it has lost. */
TEST(passed__forgets_what_a_host_takes_back){
  vecdb_stmt *s;
  table_open(vt_path("t.vdb"));
  put_by_host(1, 1, 1, 1);
  s = search("n = 1");
  put_by_host(2, 1, 2, VECDB_DECIDE_UNDOABLE);
  CHECK_INT(12, ask(s, -1));
  OK(db, vecdb_rewind(db, 1, 2));
  put_by_host(3, 2, 3, 1);
  CHECK_INT(1, ask(s, -1));
  CHECK_INT(1, ask_anew(1));
  CHECK_INT(3, ask_anew(2));
  OK(db, vecdb_finalize(s));
  OK(db, vecdb_close(db));
}

/* Another connection commits between two statements. */
TEST(passed__follows_other_connections){
  vecdb *other;
  vecdb_collection *c;
  table_open(vt_path("t.vdb"));
  put(1, 1);
  CHECK_INT(1, ask_anew(1));
  other = api_open(vt_path("t.vdb"), NULL);
  c = api_collection(other, "t", NULL);
  {
    vecdb_stmt *s = NULL;
    float v[2] = { 2, 0 };
    OK(other, vecdb_prepare_insert(c, 0, &s));
    OK(other, vecdb_bind_int64(s, 0, 2));
    OK(other, vecdb_bind_vector(s, 1, VECDB_F32, v, sizeof(v), VECDB_STATIC));
    OK(other, vecdb_bind_int64(s, 2, 1));
    DONE(other, vecdb_step(s));
    OK(other, vecdb_finalize(s));
  }
  CHECK_INT(12, ask_anew(1));
  OK(other, vecdb_close(other));
  OK(db, vecdb_close(db));
}
