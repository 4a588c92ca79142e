/* t_handles.c -- handles of collections whose creation was undone: of no other
** collection that gets their place; statements that ran out of memory once.
*/
#include "api/api.h"
#include "util/mem.h"

#define WIDE "id integer primary key, v float[2], a text, b text, c int, d text"
#define NARROW "id integer primary key, v float[2]"

static void is_gone(vecdb_collection *c, const char *name){
  vecdb_collection_stats st = { .size = sizeof(st) };
  vecdb *db = vecdb_collection_db(c);
  char want[100];
  snprintf(want, sizeof(want), "there is no collection \"%s\"", name);
  REFUSES(db, VECDB_NOTFOUND, want, vecdb_collection_stat(c, &st));
}

/* A statement of a collection that is gone, bound completely. */
static void insert_is_refused(vecdb_stmt *s){
  vecdb *db = vecdb_collection_db(vecdb_stmt_collection(s));
  OK(db, vecdb_bind_int64(s, 0, 1));
  OK(db, vecdb_bind_vector_text(s, 1, "[1,2]", (size_t)-1));
  REFUSES(db, VECDB_NOTFOUND, "there is no collection \"t\"", vecdb_step(s));
}

static uint64_t row_count(vecdb_collection *c){
  vecdb_collection_stats st = { .size = sizeof(st) };
  OK(vecdb_collection_db(c), vecdb_collection_stat(c, &st));
  return st.n_row;
}

static void undone_then(vecdb *db, const char *name, const char *schema){
  vecdb_collection *gone, *c;
  vecdb_stmt *s, *u;
  OK(db, vecdb_begin(db, VECDB_WRITE));
  gone = api_collection(db, "t", NARROW);
  s = api_insert(gone);
  api_put(gone, 1, "[1,2]");
  OK(db, vecdb_rollback(db));
  is_gone(gone, "t");
  c = api_collection(db, name, schema);
  is_gone(gone, "t");
  insert_is_refused(s);
  u = api_insert(c);
  OK(db, vecdb_bind_vector_text(u, 1, "[3,4]", (size_t)-1));
  DONE(db, vecdb_step(u));
  CHECK_U64(1, row_count(c));
  insert_is_refused(s);
  OK(db, vecdb_finalize(u));
  OK(db, vecdb_finalize(s));
  OK(db, vecdb_collection_close(gone));
  CHECK_U64(1, row_count(c));
  OK(db, vecdb_check(db, 0, NULL, NULL));
  OK(db, vecdb_collection_close(c));
  OK(db, vecdb_drop_collection(db, name));
}

TEST(handles__of_what_was_rolled_back_are_of_no_other){
  vecdb *db = api_memory();
  undone_then(db, "t", WIDE);
  undone_then(db, "t", NARROW);
  undone_then(db, "u", NARROW);
  undone_then(db, "u", WIDE);
  OK(db, vecdb_close(db));
}

TEST(handles__of_what_was_rolled_back_are_of_no_other_file){
  vecdb *db = api_open(vt_path("t.vdb"), NULL);
  undone_then(db, "t", WIDE);
  undone_then(db, "u", NARROW);
  OK(db, vecdb_close(db));
}

/* Somebody else gets the number that was given back. */
TEST(handles__of_what_was_rolled_back_do_not_follow_others){
  const char *path = vt_path("t.vdb");
  vecdb *db = api_open(path, NULL), *other = api_open(path, NULL);
  vecdb_collection *gone, *c;
  OK(db, vecdb_begin(db, VECDB_WRITE));
  gone = api_collection(db, "t", NARROW);
  OK(db, vecdb_rollback(db));
  c = api_collection(other, "t", NARROW);
  api_put(c, 1, "[1,2]");
  is_gone(gone, "t");
  CHECK_U64(1, row_count(api_collection(db, "t", NULL)));
  OK(db, vecdb_close(db));
  OK(other, vecdb_close(other));
}

/* What was there before the savepoint stays. */
TEST(handles__follow_savepoints){
  vecdb *db = api_memory();
  vecdb_collection *before, *gone, *c;
  OK(db, vecdb_begin(db, VECDB_WRITE));
  before = api_collection(db, "before", NARROW);
  api_put(before, 1, "[1,2]");
  OK(db, vecdb_savepoint(db, 1));
  gone = api_collection(db, "t", NARROW);
  OK(db, vecdb_rollback_to(db, 1));
  is_gone(gone, "t");
  CHECK_U64(1, row_count(before));
  c = api_collection(db, "t", WIDE);
  is_gone(gone, "t");
  CHECK_U64(0, row_count(c));
  OK(db, vecdb_commit(db));
  CHECK_U64(1, row_count(before));
  CHECK_U64(0, row_count(c));
  is_gone(gone, "t");
  OK(db, vecdb_close(db));
}

/* A failure of the moment is none of the next row. */
TEST(stmt__reads_again_when_memory_is_back){
  static const char text[] = "a text that is longer than its cell";
  vecdb *db = api_memory();
  vecdb_collection *c = api_collection(db, "t", "id integer primary key, "
                                       "v float[2], s text, n int, +x text");
  vecdb_stmt *s = api_insert(c);
  OK(db, vecdb_bind_int64(s, 0, 1));
  OK(db, vecdb_bind_vector_text(s, 1, "[1,2]", (size_t)-1));
  OK(db, vecdb_bind_text(s, 2, text, (size_t)-1, VECDB_STATIC));
  OK(db, vecdb_bind_int64(s, 3, 42));
  OK(db, vecdb_bind_text(s, 4, text, (size_t)-1, VECDB_STATIC));
  DONE(db, vecdb_step(s));
  OK(db, vecdb_finalize(s));
  for(int column=1; column<5; column++){
    OK(db, vecdb_prepare_get(c, &s));
    OK(db, vecdb_bind_int64(s, VECDB_KEY, 1));
    ROW(db, vecdb_step(s));
    vdb_mem_fail_at(1, true);
    CHECK(vecdb_column_text(s, column)==NULL);
    vdb_mem_fail_at(0, false);
    CHECK_RC(VECDB_NOMEM, vecdb_column_errcode(s));
    OK(db, vecdb_reset(s));
    ROW(db, vecdb_step(s));
    CHECK_STR(column==1 ? "[1,2]" : column==3 ? "42" : text,
              vecdb_column_text(s, column));
    CHECK_RC(VECDB_OK, vecdb_column_errcode(s));
    DONE(db, vecdb_step(s));
    OK(db, vecdb_finalize(s));
  }
  OK(db, vecdb_close(db));
}
