/* t_coll.c -- what collections promise, one behaviour at a time: keys, values,
** transactions, order. */
#include "lib_simple.h"

/* ---- Keys ---------------------------------------------------------------- */

TEST(coll__gives_the_greatest_key_ever_used_plus_one){
  struct simple s;
  int64_t key;

  simple_open(&s, DB_MEMORY, "v float[2], n int");
  OK(&s.db, simple_insert(&s, 0, 1, &key));
  CHECK_INT(1, key);
  OK(&s.db, simple_insert(&s, 70, 1, &key));
  OK(&s.db, simple_delete(&s, 70));
  OK(&s.db, simple_insert(&s, 0, 1, &key));
  CHECK_INT(71, key);
  OK(&s.db, simple_insert(&s, -5, 1, &key));
  OK(&s.db, simple_insert(&s, 0, 1, &key));
  CHECK_INT(72, key);
  OK(&s.db, vdb_store_vacuum(s.db.st));
  OK(&s.db, simple_delete(&s, 72));
  OK(&s.db, vdb_store_vacuum(s.db.st));
  OK(&s.db, simple_insert(&s, 0, 1, &key));
  CHECK_INT(73, key);
  {                                        /* a changed key counts, too */
    struct vdb_value old = { VECDB_INTEGER, 73, 0, NULL, 0 };
    struct write_scope w;
    simple_row(&s, 500, 0);
    s.row[1].type = s.row[2].type = VALUE_UNSET;
    OK(&s.db, vdb_store_write_begin(s.db.st, &w));
    OK(&s.db, vdb_store_write_end(s.db.st, &w,
                                  vdb_coll_update(s.c, &old, s.row, 0)));
    OK(&s.db, simple_insert(&s, 0, 1, &key));
    CHECK_INT(501, key);
  }
  OK(&s.db, simple_insert(&s, INT64_MAX, 1, &key));
  CHECK_RC(VECDB_FULL, simple_insert(&s, 0, 1, &key));
  CHECK_STR("no key is left in collection \"t\": 9223372036854775807 has been "
            "used; give the key yourself", vdb_error_text(&s.db.err));
  OK(&s.db, simple_insert(&s, 5, 1, &key));
  simple_close(&s);
}

TEST(coll__refuses_rows_before_it_changes_anything){
  struct simple s;
  struct vdb_value *row;
  uint64_t version;

  simple_open(&s, DB_MEMORY, "v float[2], n int not null");
  OK(&s.db, simple_insert(&s, 1, 1, NULL));
  version = simple_stats(&s).data_version;
  CHECK_RC(VECDB_CONSTRAINT_PK, simple_insert(&s, 1, 2, NULL));
  CHECK_STR("collection \"t\" already has a row with key 1",
            vdb_error_text(&s.db.err));
  CHECK_RC(VECDB_CONSTRAINT_NOTNULL, simple_insert(&s, 2, -1, NULL));
  CHECK_STR("column \"n\" of \"t\" cannot be NULL",
            vdb_error_text(&s.db.err));
  OK(&s.db, vdb_store_begin_write(s.db.st));
  row = simple_row(&s, 3, 1);
  row[1].type = VECDB_NULL;
  CHECK_RC(VECDB_CONSTRAINT_NOTNULL, vdb_coll_insert(s.c, row, 0, NULL, NULL));
  row = simple_row(&s, 3, 1);
  row[1].n = 4;
  CHECK_RC(VECDB_MISMATCH, vdb_coll_insert(s.c, row, 0, NULL, NULL));
  CHECK_STR("column \"v\" of \"t\" takes vectors of 8 bytes (float[2]), not 4",
            vdb_error_text(&s.db.err));
  row = simple_row(&s, 3, 1);
  row[2].type = VECDB_REAL;
  CHECK_RC(VECDB_CONSTRAINT_TYPE, vdb_coll_insert(s.c, row, 0, NULL, NULL));
  CHECK_STR("column \"n\" of \"t\" takes integer, not real",
            vdb_error_text(&s.db.err));
  OK(&s.db, vdb_store_rollback(s.db.st));
  CHECK_U64(version, simple_stats(&s).data_version);
  CHECK_RC(VECDB_NOTFOUND, simple_delete(&s, 9));
  CHECK_STR("collection \"t\" has no row with key 9",
            vdb_error_text(&s.db.err));
  simple_close(&s);
}

TEST(coll__text_keys_have_at_most_900_bytes){
  struct db db;
  struct coll *c;
  struct write_scope w;
  struct vdb_value row[2], got;
  struct vdb_str buf = VDB_STR_INIT;
  struct coll_cursor *cur = NULL;
  char key[901];
  float v = 1;
  slot_no slot;
  bool at_end;

  db_open(&db, DB_MEMORY);
  create(&db, "t", "id text primary key, v float[1]");
  c = open_coll(&db, "t");
  memset(key, 'x', sizeof(key));
  memset(row, 0, sizeof(row));
  row[0].type = VECDB_TEXT;
  row[0].p = key;
  row[1].type = VECDB_VECTOR;
  row[1].p = &v;
  row[1].n = 4;
  for(size_t n=0; n<=901; n+=n<895 ? 179 : 1){
    int rc;
    row[0].n = n;
    OK(&db, vdb_store_write_begin(db.st, &w));
    rc = vdb_store_write_end(db.st, &w,
                             vdb_coll_insert(c, row, 0, NULL, NULL));
    CHECK_RC(n<=900 ? VECDB_OK : VECDB_TOOBIG, rc);
    if( n>900 ) break;
    OK(&db, vdb_store_begin_read(db.st));
    OK(&db, vdb_coll_find(c, &row[0], &slot));
    OK(&db, vdb_coll_value(c, 0, slot, &buf, &got));
    REQUIRE_U64(n, got.n);
    CHECK_MEM(key, got.p, n);
    OK(&db, vdb_store_end_read(db.st));
  }
  CHECK_STR("key of collection \"t\" has 901 bytes, at most 900 are allowed",
            vdb_error_text(&db.err));
  OK(&db, vdb_store_begin_read(db.st));
  OK(&db, vdb_coll_cursor_open(c, &cur));
  row[0].n = 899;
  OK(&db, vdb_coll_cursor_seek(cur, &row[0], &slot, &at_end));
  CHECK(!at_end);
  row[0].n = 901;                          /* past the longest there is */
  OK(&db, vdb_coll_cursor_seek(cur, &row[0], &slot, &at_end));
  CHECK(at_end);
  vdb_coll_cursor_close(cur);
  OK(&db, vdb_store_end_read(db.st));
  vdb_str_clear(&buf);
  db_check(&db);
  vdb_store_coll_close(c);
  db_close(&db);
}

/* ---- Values -------------------------------------------------------------- */

TEST(coll__keeps_auxiliary_values_of_every_type){
  static const char schema[] = "v float[1], +i int, +r real, +s text, +b blob";
  struct db db;
  struct coll *c;
  struct write_scope w;
  struct vdb_value row[6], got;
  struct vdb_str buf = VDB_STR_INIT;
  size_t sz = 3000000;
  char *big = vdb_malloc(sz);
  float v = 1;
  slot_no slot;

  REQUIRE(big!=NULL);
  for(size_t i=0; i<sz; i++) big[i] = (char)(i*i>>7);
  db_open(&db, DB_MEMORY);
  create(&db, "t", schema);
  c = open_coll(&db, "t");
  memset(row, 0, sizeof(row));
  row[1] = (struct vdb_value){ VECDB_VECTOR, 0, 0, &v, 4 };
  row[2] = (struct vdb_value){ VECDB_INTEGER, INT64_MIN, 0, NULL, 0 };
  row[3] = (struct vdb_value){ VECDB_REAL, 0, -0.5, NULL, 0 };
  row[4] = (struct vdb_value){ VECDB_TEXT, 0, 0, "", 0 };
  row[5] = (struct vdb_value){ VECDB_BLOB, 0, 0, big, sz };
  OK(&db, vdb_store_write_begin(db.st, &w));
  OK(&db, vdb_store_write_end(db.st, &w,
                              vdb_coll_insert(c, row, 0, NULL, NULL)));
  for(int round=0; round<2; round++){        /* in the delta, then sealed */
    struct vdb_value key = { VECDB_INTEGER, 1, 0, NULL, 0 };
    OK(&db, vdb_store_begin_read(db.st));
    OK(&db, vdb_coll_find(c, &key, &slot));
    OK(&db, vdb_coll_value(c, 2, slot, &buf, &got));
    CHECK_INT(VECDB_INTEGER, got.type);
    CHECK_INT(INT64_MIN, got.i);
    OK(&db, vdb_coll_value(c, 3, slot, &buf, &got));
    CHECK_DBL(-0.5, got.r, 0);
    OK(&db, vdb_coll_value(c, 4, slot, &buf, &got));
    CHECK_INT(VECDB_TEXT, got.type);
    CHECK_U64(0, got.n);
    OK(&db, vdb_coll_value(c, 5, slot, &buf, &got));
    REQUIRE_U64(sz, got.n);
    CHECK(memcmp(big, got.p, sz)==0);
    OK(&db, vdb_store_end_read(db.st));
    OK(&db, vdb_store_write_begin(db.st, &w));
    OK(&db, vdb_store_write_end(db.st, &w,
                                vdb_coll_optimize(c, VECDB_OPTIMIZE_SEAL)));
  }
  vdb_str_clear(&buf);
  vdb_free(big);
  db_check(&db);
  vdb_store_coll_close(c);
  db_close(&db);
}

/* ---- Transactions -------------------------------------------------------- */

TEST(coll__caches_do_not_survive_a_rollback){
  struct simple s;
  struct coll_runs runs;

  simple_open(&s, DB_MEMORY, "v float[2], n int");
  OK(&s.db, simple_insert(&s, 1, 1, NULL));
  for(int i=0; i<3; i++){
    OK(&s.db, vdb_store_begin_write(s.db.st));
    OK(&s.db, vdb_coll_insert(s.c, simple_row(&s, 2, 10+i), 0, NULL, NULL));
    OK(&s.db, vdb_coll_runs_open(s.c, 1, &runs));
    OK(&s.db, vdb_coll_runs_ready(&runs));       /* fill the caches */
    REQUIRE_U64(1, runs.n_run);
    CHECK_INT(2, runs.run[0].n_rows);
    CHECK_DBL(10+i, ((const float*)runs.run[0].vecs)[2], 0);
    OK(&s.db, vdb_store_rollback(s.db.st));
    CHECK_RC(VECDB_ABORT, vdb_coll_runs_error(&runs));
    vdb_coll_runs_close(&runs);
  }
  OK(&s.db, simple_insert(&s, 3, 33, NULL));
  OK(&s.db, vdb_store_begin_read(s.db.st));
  OK(&s.db, vdb_coll_runs_open(s.c, 1, &runs));
  OK(&s.db, vdb_coll_runs_ready(&runs));
  CHECK_DBL(33, ((const float*)runs.run[0].vecs)[2], 0);
  vdb_coll_runs_close(&runs);
  OK(&s.db, vdb_store_end_read(s.db.st));
  simple_close(&s);
}

/* An open search shows the rows of its opening, whatever happens after. */
TEST(coll__an_open_search_keeps_its_rows){
  struct simple s;
  struct coll_runs runs;

  simple_open(&s, DB_MEMORY, "v float[2], n int, merge_rows=500");
  OK(&s.db, vdb_store_begin_write(s.db.st));
  for(int i=1; i<=100; i++){
    OK(&s.db, vdb_coll_insert(s.c, simple_row(&s, i, i), 0, NULL, NULL));
  }
  OK(&s.db, vdb_coll_runs_open(s.c, 1, &runs));
  OK(&s.db, vdb_coll_runs_ready(&runs));
  for(int i=1; i<=100; i+=2){
    struct vdb_value key = { VECDB_INTEGER, i, 0, NULL, 0 };
    OK(&s.db, vdb_coll_delete(s.c, &key));
  }
  for(int i=101; i<=1500; i++){                  /* grows, seals, seals */
    OK(&s.db, vdb_coll_insert(s.c, simple_row(&s, i, i), 0, NULL, NULL));
  }
  REQUIRE_U64(1, runs.n_run);
  CHECK_INT(100, runs.run[0].n_rows);
  CHECK_U64(100, vdb_bit_count(runs.live, 100));
  for(int i=0; i<100; i++){
    REQUIRE(((const float*)runs.run[0].vecs)[2*i]==(float)(i+1));
  }
  CHECK_RC(VECDB_OK, vdb_coll_runs_error(&runs));
  vdb_coll_runs_close(&runs);
  OK(&s.db, vdb_store_commit(s.db.st));
  CHECK_U64(1450, simple_stats(&s).n_row);
  simple_close(&s);
}

static int stop_at_once(void *arg, const char *phase, const char *unit,
                        uint64_t done, uint64_t total){
  VDB_UNUSED(phase);
  VDB_UNUSED(unit);
  VDB_UNUSED(done);
  VDB_UNUSED(total);
  ++*(int*)arg;
  return 1;
}

TEST(store__long_operations_can_be_interrupted){
  struct write_scope w;
  struct simple s;
  uint64_t n_bad;
  int n = 0;

  simple_open(&s, DB_MEMORY, "v float[2], n int");
  simple_bulk(&s, 1, 3001);
  simple_bulk(&s, 3001, 6001);
  vdb_store_set_progress(s.db.st, stop_at_once, &n);
  OK(&s.db, vdb_store_write_begin(s.db.st, &w));
  CHECK_RC(VECDB_INTERRUPT, vdb_store_write_end(s.db.st, &w,
           bulk_range(&s, 10001, 20001, -1)));
  CHECK_STR("interrupted while at insert", vdb_error_text(&s.db.err));
  CHECK_RC(VECDB_INTERRUPT, simple_optimize(&s, VECDB_OPTIMIZE_ALL));
  CHECK_RC(VECDB_INTERRUPT, vdb_store_vacuum(s.db.st));
  CHECK_RC(VECDB_INTERRUPT, vdb_store_check(s.db.st, false, NULL, NULL,
                                            &n_bad));
  CHECK_INT(4, n);
  vdb_store_set_progress(s.db.st, NULL, NULL);
  CHECK_U64(6000, simple_stats(&s).n_row);
  CHECK_U64(2, simple_stats(&s).n_segment);
  simple_close(&s);
}

/* A reading statement goes on, in the newest state, when the transaction it
** shared has ended. */
TEST(store__reading_goes_on_after_a_commit){
  struct read_scope r;
  struct coll_runs runs;
  struct simple s;

  simple_open(&s, DB_FILE, "v float[2], n int");
  OK(&s.db, vdb_store_read_begin(s.db.st, &r));
  OK(&s.db, vdb_coll_runs_open(s.c, 1, &runs));
  OK(&s.db, vdb_coll_runs_ready(&runs));
  CHECK_U64(0, runs.n_row);
  OK(&s.db, simple_insert(&s, 1, 1, NULL));
  CHECK_RC(VECDB_ABORT, vdb_coll_runs_error(&runs));
  vdb_coll_runs_close(&runs);
  CHECK_INT(PAGER_READ, vdb_pager_state(vdb_store_pager(s.db.st)));
  OK(&s.db, vdb_coll_runs_open(s.c, 1, &runs));
  OK(&s.db, vdb_coll_runs_ready(&runs));
  CHECK_U64(1, runs.n_row);
  CHECK_RC(VECDB_MISUSE, vdb_store_vacuum(s.db.st));
  vdb_coll_runs_close(&runs);
  OK(&s.db, vdb_store_read_end(s.db.st, &r));
  CHECK_INT(PAGER_NONE, vdb_pager_state(vdb_store_pager(s.db.st)));
  simple_close(&s);
}

/* Prepared and decided by somebody else (sql.md 5.1). */
TEST(store__a_prepared_transaction_is_decided){
  static const unsigned char host[16] = { 1, 2, 3 };
  struct simple s;
  uint64_t n_undo;

  simple_open(&s, DB_FILE, "v float[2], n int, merge_rows=10");
  for(int i=0; i<8; i++){
    bool yes = i%2==0;
    n_undo = vdb_store_n_undo(s.db.st);
    OK(&s.db, vdb_store_begin_write(s.db.st));
    for(int k=0; k<50; k++){
      OK(&s.db, vdb_coll_insert(s.c, simple_row(&s, 0, k), 0, NULL, NULL));
    }
    OK(&s.db, vdb_store_prepare(s.db.st, host, (uint64_t)i+1));
    OK(&s.db, vdb_store_decide(s.db.st, yes, false));
    CHECK_U64(n_undo+!yes, vdb_store_n_undo(s.db.st));
    CHECK_U64((uint64_t)(i/2+1)*50, simple_stats(&s).n_row);
  }
  CHECK(simple_stats(&s).n_segment<8);       /* tidied after the decision */
  simple_close(&s);
}

TEST(store__closing_ends_what_is_open){
  struct coll_runs runs;
  struct simple s;

  simple_open(&s, DB_FILE, "v float[2], n int");
  simple_bulk(&s, 1, 10);
  OK(&s.db, vdb_store_begin_write(s.db.st));
  OK(&s.db, vdb_coll_insert(s.c, simple_row(&s, 50, 1), 0, NULL, NULL));
  OK(&s.db, vdb_coll_runs_open(s.c, 1, &runs));
  OK(&s.db, vdb_coll_runs_ready(&runs));
  OK(&s.db, vdb_store_close(s.db.st));
  CHECK_RC(VECDB_ABORT, vdb_coll_runs_error(&runs));
  vdb_coll_runs_close(&runs);
  OK(&s.db, db_try_open(&s.db));
  s.c = open_coll(&s.db, "t");
  CHECK_U64(9, simple_stats(&s).n_row);
  simple_close(&s);
}

/* ---- Order --------------------------------------------------------------- */

static void check_ties(struct simple *s, const int64_t *want, size_t n){
  struct flat_search fs;
  struct coll_runs runs;
  struct vdb_str buf = VDB_STR_INIT;
  struct vdb_hit hit[64];
  struct vdb_value v;
  float q[2] = { 0, 0 };
  size_t n_hit;

  OK(&s->db, vdb_store_begin_read(s->db.st));
  OK(&s->db, vdb_coll_runs_open(s->c, 1, &runs));
  OK(&s->db, vdb_coll_runs_ready(&runs));
  memset(&fs, 0, sizeof(fs));
  fs.metric = VECDB_L2;
  fs.type = VECDB_F32;
  fs.dim = 2;
  fs.runs = runs.run;
  fs.n_runs = runs.n_run;
  fs.tie = runs.tie;
  fs.tie_arg = runs.tie_arg;
  OK(&s->db, vdb_flat_knn(&fs, q, 64, hit, &n_hit));
  CHECK_RC(VECDB_OK, vdb_coll_runs_error(&runs));
  REQUIRE_U64(n, n_hit);
  for(size_t i=0; i<n; i++){
    OK(&s->db, vdb_coll_value(s->c, 0, hit[i].slot, &buf, &v));
    if( v.type==VECDB_TEXT ) v.i = atoi((const char*)v.p+20);
    CHECK_INT(want[i], v.i);
  }
  vdb_coll_runs_close(&runs);
  OK(&s->db, vdb_store_end_read(s->db.st));
  vdb_str_clear(&buf);
}

TEST(coll__equal_distances_are_ordered_by_key){
  static const int64_t ascending[] = { 1, 2, 5, 9 };
  static const int64_t mixed[] = { -300, 1, 2, 3, 5, 9 };
  static const int64_t moved[] = { -300, 1, 2, 4, 5, 9 };
  struct vdb_value key = { VECDB_INTEGER, 3, 0, NULL, 0 };
  struct coll_runs runs;
  struct write_scope w;
  struct simple s;

  simple_open(&s, DB_MEMORY, "v float[2], n int");
  for(size_t i=0; i<4; i++){
    OK(&s.db, vdb_store_write_begin(s.db.st, &w));
    simple_row(&s, ascending[i], 0)[2].i = 0;
    s.v[1] = 0;
    OK(&s.db, vdb_store_write_end(s.db.st, &w,
                vdb_coll_insert(s.c, s.row, 0, NULL, NULL)));
  }
  OK(&s.db, vdb_store_begin_read(s.db.st));
  OK(&s.db, vdb_coll_runs_open(s.c, 1, &runs));
  OK(&s.db, vdb_coll_runs_ready(&runs));
  CHECK(runs.tie==NULL);                     /* slots ascend with keys */
  vdb_coll_runs_close(&runs);
  OK(&s.db, vdb_store_end_read(s.db.st));
  check_ties(&s, ascending, 4);
  OK(&s.db, simple_optimize(&s, VECDB_OPTIMIZE_SEAL));
  for(int64_t k=3; k>=-300; k-=303){
    OK(&s.db, vdb_store_write_begin(s.db.st, &w));
    simple_row(&s, k, 0);
    s.v[1] = 0;
    OK(&s.db, vdb_store_write_end(s.db.st, &w,
                vdb_coll_insert(s.c, s.row, 0, NULL, NULL)));
  }
  check_ties(&s, mixed, 6);
  OK(&s.db, simple_optimize(&s, 0));
  check_ties(&s, mixed, 6);
  simple_row(&s, 4, 0);
  s.row[1].type = s.row[2].type = VALUE_UNSET;
  OK(&s.db, vdb_store_write_begin(s.db.st, &w));
  OK(&s.db, vdb_store_write_end(s.db.st, &w,
                                vdb_coll_update(s.c, &key, s.row, 0)));
  check_ties(&s, moved, 6);
  simple_close(&s);
}

/* Keys are read from several threads of one search. */
TEST(coll__ties_are_the_same_on_several_threads){
  enum { N = 40000, K = 50 };
  struct flat_search fs;
  struct coll_runs runs;
  struct coll_bulk *b;
  struct vdb_hit one[K], many[K];
  struct simple s;
  float q[2] = { 1, 1 };
  size_t n_one, n_many;

  simple_open(&s, DB_FILE, "v float[2], n int");
  OK(&s.db, vdb_store_begin_write(s.db.st));
  OK(&s.db, vdb_coll_bulk_begin(s.c, 0, &b));
  for(int i=0; i<N; i++){
    simple_row(&s, 1 + i*7919%N, i%3);
    s.v[1] = 0;
    OK(&s.db, vdb_coll_bulk_add(b, s.row, NULL, NULL));
  }
  OK(&s.db, vdb_coll_bulk_end(b, true));
  OK(&s.db, vdb_coll_insert(s.c, simple_row(&s, -1, 0), 0, NULL, NULL));
  OK(&s.db, vdb_store_commit(s.db.st));
  OK(&s.db, vdb_store_begin_read(s.db.st));
  OK(&s.db, vdb_coll_runs_open(s.c, 1, &runs));
  OK(&s.db, vdb_coll_runs_ready(&runs));
  memset(&fs, 0, sizeof(fs));
  fs.metric = VECDB_L2;
  fs.type = VECDB_F32;
  fs.dim = 2;
  fs.runs = runs.run;
  fs.n_runs = runs.n_run;
  fs.tie = runs.tie;
  fs.tie_arg = runs.tie_arg;
  OK(&s.db, vdb_flat_knn(&fs, q, K, one, &n_one));
  fs.n_thread = 4;
  OK(&s.db, vdb_flat_knn(&fs, q, K, many, &n_many));
  CHECK_RC(VECDB_OK, vdb_coll_runs_error(&runs));
  REQUIRE_U64(K, n_one);
  REQUIRE_U64(K, n_many);
  for(size_t i=0; i<K; i++) REQUIRE_INT(one[i].slot, many[i].slot);
  vdb_coll_runs_close(&runs);
  OK(&s.db, vdb_store_end_read(s.db.st));
  simple_close(&s);
}

TEST(coll__equal_distances_are_ordered_by_text_key){
  static const int64_t want[] = { 1, 3, 4, 7 }, order[] = { 4, 1, 7, 3 };
  struct write_scope w;
  struct simple s;
  char key[32];

  simple_open(&s, DB_MEMORY, "id text primary key, v float[2], n int");
  for(size_t i=0; i<4; i++){
    simple_row(&s, 1, 0);
    s.v[1] = 0;
    s.row[0].type = VECDB_TEXT;
    s.row[0].p = key;
    s.row[0].n = (size_t)snprintf(key, sizeof(key), "%s%d",
        "a-long-common-prefix", (int)order[i]);
    OK(&s.db, vdb_store_write_begin(s.db.st, &w));
    OK(&s.db, vdb_store_write_end(s.db.st, &w,
                vdb_coll_insert(s.c, s.row, 0, NULL, NULL)));
    if( i==1 ) OK(&s.db, simple_optimize(&s, VECDB_OPTIMIZE_SEAL));
  }
  check_ties(&s, want, 4);
  simple_close(&s);
}

TEST(coll__cursor_seeks_by_key){
  struct simple s;
  struct coll_cursor *k = NULL;
  struct vdb_value key = { VECDB_INTEGER, 15, 0, NULL, 0 };
  slot_no slot;
  bool at_end;

  simple_open(&s, DB_MEMORY, "v float[2], n int");
  for(int i=30; i>0; i-=10) OK(&s.db, simple_insert(&s, i, i, NULL));
  OK(&s.db, vdb_store_begin_read(s.db.st));
  OK(&s.db, vdb_coll_cursor_open(s.c, &k));
  OK(&s.db, vdb_coll_cursor_seek(k, &key, &slot, &at_end));
  CHECK(!at_end);
  CHECK_INT(1, slot);                        /* key 20 was second */
  OK(&s.db, vdb_coll_cursor_next(k, &slot, &at_end));
  CHECK_INT(0, slot);
  OK(&s.db, vdb_coll_cursor_next(k, &slot, &at_end));
  CHECK(at_end);
  key.i = 31;
  OK(&s.db, vdb_coll_cursor_seek(k, &key, &slot, &at_end));
  CHECK(at_end);
  vdb_coll_cursor_close(k);
  OK(&s.db, vdb_store_end_read(s.db.st));
  simple_close(&s);
}
