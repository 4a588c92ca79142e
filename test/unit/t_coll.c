/* t_coll.c -- what collections promise, one behaviour at a time. */
#include "index/index.h"
#include "lib_store.h"
#include "store/coll_int.h"

/* Rows of "v float[2], n int" by default: the least there is to set up. */
struct simple {
  struct db db;
  struct coll *c;
  float v[2];
  struct vdb_value row[5];
};

static void simple_open(struct simple *s, enum db_kind kind,
                        const char *schema){
  memset(s, 0, sizeof(*s));
  db_open(&s->db, kind);
  create(&s->db, "t", schema);
  s->c = open_coll(&s->db, "t");
}

static void simple_close(struct simple *s){
  db_check(&s->db);
  vdb_store_coll_close(s->c);
  db_close(&s->db);
}

/* key 0: the next one; n<0: NULL. */
static struct vdb_value *simple_row(struct simple *s, int64_t key, int64_t n){
  memset(s->row, 0, sizeof(s->row));
  if( key!=0 ) s->row[0].type = VECDB_INTEGER;
  s->row[0].i = key;
  s->v[0] = (float)(n & 0xff);
  s->v[1] = (float)(key & 0xff);
  s->row[1].type = VECDB_VECTOR;
  s->row[1].p = s->v;
  s->row[1].n = sizeof(s->v);
  if( n>=0 ) s->row[2].type = VECDB_INTEGER;
  s->row[2].i = n;
  return s->row;
}

static int simple_insert(struct simple *s, int64_t key, int64_t n,
                         int64_t *used){
  struct write_scope w;

  OK(&s->db, vdb_store_write_begin(s->db.st, &w));
  return vdb_store_write_end(s->db.st, &w,
      vdb_coll_insert(s->c, simple_row(s, key, n), 0, used, NULL));
}

static int simple_delete(struct simple *s, int64_t key){
  struct vdb_value v = { VECDB_INTEGER, key, 0, NULL, 0 };
  struct write_scope w;

  OK(&s->db, vdb_store_write_begin(s->db.st, &w));
  return vdb_store_write_end(s->db.st, &w, vdb_coll_delete(s->c, &v));
}

static int simple_optimize(struct simple *s, unsigned flags){
  struct write_scope w;

  OK(&s->db, vdb_store_write_begin(s->db.st, &w));
  return vdb_store_write_end(s->db.st, &w, vdb_coll_optimize(s->c, flags));
}

static int bulk_range(struct simple *s, int64_t lo, int64_t hi, int64_t n_of){
  struct coll_bulk *b = NULL;
  int rc = vdb_coll_bulk_begin(s->c, 0, &b), rc2;

  for(int64_t k=lo; k<hi && rc==VECDB_OK; k++){
    rc = vdb_coll_bulk_add(b, simple_row(s, k, n_of<0 ? k : n_of), NULL, NULL);
  }
  rc2 = b ? vdb_coll_bulk_end(b, rc==VECDB_OK) : rc;
  return rc!=VECDB_OK ? rc : rc2;
}

static void simple_bulk(struct simple *s, int64_t lo, int64_t hi){
  struct write_scope w;

  OK(&s->db, vdb_store_write_begin(s->db.st, &w));
  OK(&s->db, vdb_store_write_end(s->db.st, &w, bulk_range(s, lo, hi, -1)));
}

static vecdb_collection_stats simple_stats(struct simple *s){
  vecdb_collection_stats out = { .size = sizeof(out) };
  struct read_scope r;

  OK(&s->db, vdb_store_read_begin(s->db.st, &r));
  OK(&s->db, vdb_coll_stats(s->c, &out));
  OK(&s->db, vdb_store_read_end(s->db.st, &r));
  return out;
}

static uint64_t pages_in_use(struct db *db){
  struct pager_stats st;
  struct read_scope r;

  OK(db, vdb_store_read_begin(db->st, &r));
  OK(db, vdb_pager_stats(vdb_store_pager(db->st), &st));
  OK(db, vdb_store_read_end(db->st, &r));
  return st.n_page - st.n_free_page;
}

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

/* ---- Space --------------------------------------------------------------- */

static void insert_delete_loop(enum db_kind kind){
  struct simple s;
  uint64_t n_before = 0;

  simple_open(&s, kind, "v float[2], n int, merge_rows=100");
  for(int round=0; round<60; round++){
    OK(&s.db, vdb_store_begin_write(s.db.st));
    for(int i=0; i<500; i++){
      OK(&s.db, vdb_coll_insert(s.c, simple_row(&s, 0, i), 0, NULL, NULL));
    }
    OK(&s.db, vdb_store_commit(s.db.st));
    OK(&s.db, vdb_store_begin_write(s.db.st));
    for(int i=0; i<500; i++){
      struct vdb_value key = { VECDB_INTEGER, round*500+i+1, 0, NULL, 0 };
      OK(&s.db, vdb_coll_delete(s.c, &key));
    }
    OK(&s.db, vdb_store_commit(s.db.st));
    OK(&s.db, simple_optimize(&s, 0));
    if( round==20 ) n_before = pages_in_use(&s.db);
  }
  CHECK(pages_in_use(&s.db)<=n_before+2);
  CHECK_U64(0, simple_stats(&s).n_segment);
  CHECK_U64(0, simple_stats(&s).n_tombstone);
  simple_close(&s);
}

TEST(coll__an_insert_delete_loop_does_not_grow_memory){
  insert_delete_loop(DB_MEMORY);
}
TEST(coll__an_insert_delete_loop_does_not_grow_a_file){
  insert_delete_loop(DB_FILE);
}
TEST(coll__an_insert_delete_loop_does_not_grow_a_host){
  insert_delete_loop(DB_HOST);
}

TEST(coll__a_commit_tidies_what_became_mostly_dead){
  struct simple s;
  vecdb_collection_stats st;

  simple_open(&s, DB_MEMORY, "v float[2], n int");
  simple_bulk(&s, 1, 100001);
  CHECK_U64(1, simple_stats(&s).n_segment);
  OK(&s.db, vdb_store_begin_write(s.db.st));
  for(int i=1; i<=60000; i++){
    struct vdb_value key = { VECDB_INTEGER, i, 0, NULL, 0 };
    OK(&s.db, vdb_coll_delete(s.c, &key));
  }
  st = simple_stats(&s);
  CHECK_U64(60000, st.n_tombstone);
  OK(&s.db, vdb_store_commit(s.db.st));
  st = simple_stats(&s);
  CHECK_U64(0, st.n_tombstone);
  CHECK_U64(40000, st.n_row);
  CHECK_U64(40000*8, st.vector_bytes);
  simple_close(&s);
}

TEST(coll__a_commit_joins_eight_small_groups){
  struct simple s;

  simple_open(&s, DB_MEMORY, "v float[2], n int, merge_rows=10");
  for(int i=1; i<=79; i++) OK(&s.db, simple_insert(&s, i, i, NULL));
  CHECK_U64(7, simple_stats(&s).n_segment);
  OK(&s.db, simple_insert(&s, 80, 80, NULL));
  CHECK_U64(1, simple_stats(&s).n_segment);
  CHECK_U64(80, simple_stats(&s).n_row);
  simple_close(&s);

  simple_open(&s, DB_MEMORY,
              "v float[2], n int, merge_rows=10, optimize=manual");
  for(int i=1; i<=80; i++) OK(&s.db, simple_insert(&s, i, i, NULL));
  CHECK_U64(8, simple_stats(&s).n_segment);
  OK(&s.db, simple_optimize(&s, 0));
  CHECK_U64(1, simple_stats(&s).n_segment);
  simple_close(&s);
}

TEST(coll__optimize_all_leaves_full_groups_of_live_rows){
  struct simple s;
  vecdb_collection_stats st;

  simple_open(&s, DB_MEMORY, "v float[2], n int, optimize=manual");
  simple_bulk(&s, 1, 300001);                    /* 262144 + 37856 */
  simple_bulk(&s, 300001, 300101);
  for(int i=7; i<=1000; i+=7) OK(&s.db, simple_delete(&s, i));
  OK(&s.db, simple_optimize(&s, 0));             /* few dead rows: kept */
  CHECK_U64(142, simple_stats(&s).n_tombstone);
  OK(&s.db, simple_optimize(&s, VECDB_OPTIMIZE_ALL));
  st = simple_stats(&s);
  CHECK_U64(0, st.n_tombstone);
  CHECK_U64(2, st.n_segment);
  CHECK_U64(300100-142, st.n_row);
  simple_close(&s);
}

TEST(coll__drop_gives_back_everything){
  struct simple s;
  uint64_t n_page;

  simple_open(&s, DB_MEMORY, "v float[2], n int, +b blob");
  create(&s.db, "keep", "v float[2]");
  n_page = pages_in_use(&s.db);
  for(int i=0; i<10; i++){
    struct write_scope w;
    struct coll *c;
    create(&s.db, "gone", "id int primary key, v float[2], n int");
    c = s.c;
    s.c = open_coll(&s.db, "GONE");
    simple_bulk(&s, 1, 50000);
    OK(&s.db, simple_insert(&s, 0, 5, NULL));
    OK(&s.db, vdb_store_write_begin(s.db.st, &w));
    OK(&s.db, vdb_store_write_end(s.db.st, &w,
                                  vdb_store_drop(s.db.st, "gone")));
    OK(&s.db, vdb_store_begin_read(s.db.st));
    CHECK_RC(VECDB_NOTFOUND, vdb_coll_refresh(s.c));
    OK(&s.db, vdb_store_end_read(s.db.st));
    vdb_store_coll_close(s.c);
    s.c = c;
  }
  CHECK_U64(n_page, pages_in_use(&s.db));
  simple_close(&s);
}

TEST(coll__vacuum_makes_slots_dense){
  struct simple s;
  vecdb_collection_stats st;
  struct vdb_value key = { VECDB_INTEGER, 99, 0, NULL, 0 }, v;
  struct vdb_str buf = VDB_STR_INIT;
  slot_no slot;

  simple_open(&s, DB_MEMORY, "v float[2], n int");
  simple_bulk(&s, 1, 1001);
  for(int i=1; i<=1000; i++) if( i%100!=99 ) OK(&s.db, simple_delete(&s, i));
  OK(&s.db, vdb_store_vacuum(s.db.st));
  st = simple_stats(&s);
  CHECK_U64(10, st.n_row);
  CHECK_U64(10, st.n_slot);
  OK(&s.db, vdb_store_begin_read(s.db.st));
  OK(&s.db, vdb_coll_find(s.c, &key, &slot));
  CHECK_INT(0, slot);
  OK(&s.db, vdb_coll_value(s.c, 2, slot, &buf, &v));
  CHECK_INT(99, v.i);
  OK(&s.db, vdb_store_end_read(s.db.st));
  vdb_str_clear(&buf);
  simple_close(&s);
}

/* ---- Files --------------------------------------------------------------- */

/* storage.md 9: 768 x f32 and 8 metadata columns, with texts that fit their
** cells or not. New pages come by the handful: commits that bring some write
** more, the others less. */
static void check_frames(const char *text){
  struct pager_stats before, after;
  struct vdb_value row[10];
  struct simple s;
  float v[768] = { 1 };
  int n_more = 0, n_frame = 0;

  simple_open(&s, DB_FILE,
      "v float[768], a int, b real, c text, d text, e bool, f int, "
      "g text partition key, h int");
  memset(row, 0, sizeof(row));
  row[1] = (struct vdb_value){ VECDB_VECTOR, 0, 0, v, sizeof(v) };
  row[2].type = row[7].type = row[9].type = VECDB_INTEGER;
  row[3].type = VECDB_REAL;
  row[4] = row[5] = row[8] =
      (struct vdb_value){ VECDB_TEXT, 0, 0, text, strlen(text) };
  row[6].type = VECDB_BOOLEAN;
  for(int i=0; i<400; i++){
    struct write_scope w;
    OK(&s.db, vdb_pager_stats(vdb_store_pager(s.db.st), &before));
    OK(&s.db, vdb_store_write_begin(s.db.st, &w));
    OK(&s.db, vdb_store_write_end(s.db.st, &w,
                vdb_coll_insert(s.c, row, 0, NULL, NULL)));
    OK(&s.db, vdb_pager_stats(vdb_store_pager(s.db.st), &after));
    n_more += after.n_frame-before.n_frame>6;
    n_frame += (int)(after.n_frame-before.n_frame);
  }
  printf("  %d frames for 400 rows, more than 6 for %d\n", n_frame, n_more);
  CHECK(n_more<=60);
  CHECK(n_frame<=6*400 + 200);
  simple_close(&s);
}
TEST(coll__an_insert_writes_at_most_six_frames){
  check_frames("twelve bytes");
  check_frames("these are more than twelve bytes");
}

static int digest_chunk(void *arg, const struct coll_chunk *k){
  uint64_t *sum = arg;

  for(uint32_t i=0; i<k->n; i++){
    uint64_t x = (uint64_t)(k->lo+i)<<40;
    if( !vdb_bit_get(k->live, i) ) continue;
    x ^= k->null && vdb_bit_get(k->null, i) ? 77 :
         (uint64_t)vdb_cell_int(k->cell + 8*i);
    *sum += vdb_mix64(x);
  }
  return VECDB_OK;
}

/* Keys, metadata and vectors by slot, in the state of the transaction. */
static uint64_t digest_now(struct simple *s){
  struct coll_runs runs;
  uint64_t sum = 0;

  OK(&s->db, vdb_coll_scan(s->c, 0, 0, SLOT_NONE, digest_chunk, &sum));
  OK(&s->db, vdb_coll_scan(s->c, 2, 0, SLOT_NONE, digest_chunk, &sum));
  OK(&s->db, vdb_coll_runs_open(s->c, 1, &runs));
  OK(&s->db, vdb_coll_runs_ready(&runs));
  for(size_t i=0; i<runs.n_run; i++){
    const struct flat_run *r = &runs.run[i];
    for(uint32_t k=0; k<r->n_rows; k++){
      slot_no slot = r->slots ? r->slots[k] : r->slot_base+k;
      const float *v = (const void*)((const char*)r->vecs + k*r->stride);
      if( !vdb_bit_get(r->live, slot) ) continue;
      sum += vdb_mix64(slot*1000003u ^ (uint64_t)(v[0]*4096+v[1]));
    }
  }
  vdb_coll_runs_close(&runs);
  return sum;
}

static uint64_t digest(struct simple *s){
  uint64_t sum;

  OK(&s->db, vdb_store_begin_read(s->db.st));
  sum = digest_now(s);
  OK(&s->db, vdb_store_end_read(s->db.st));
  return sum;
}

static void random_change(struct simple *s, struct vdb_rng *rng){
  int64_t at = 1+vdb_rng_below(rng, 300);
  struct vdb_value key = { VECDB_INTEGER, at, 0, NULL, 0 };

  simple_row(s, at, (int64_t)vdb_rng_below(rng, 1000)-200);
  switch( vdb_rng_below(rng, 12) ){
    case 0: case 1: case 2: case 3: case 4:
      OK(&s->db, vdb_coll_insert(s->c, s->row, VECDB_OR_REPLACE, NULL, NULL));
      break;
    case 5: vdb_coll_delete(s->c, &key); break;
    case 6: OK(&s->db, vdb_coll_optimize(s->c, 0)); break;
    case 7:
      for(int k=0; k<6; k++){
        OK(&s->db, vdb_coll_insert(s->c, simple_row(s, 0, k), 0, NULL, NULL));
      }
      break;
    default:
      s->row[0].type = VALUE_UNSET;
      if( vdb_rng_below(rng, 2) ) s->row[1].type = VALUE_UNSET;
      vdb_coll_update(s->c, &key, s->row, 0);
  }
}

/* Two connections on one file: what one commits the other shows, through all
** its caches; what one rolls back nobody shows. */
TEST(coll__two_connections_show_the_same_rows){
  struct simple s[2];
  struct vdb_rng rng;

  vdb_rng_init(&rng, vt_seed());
  simple_open(&s[0], DB_FILE, "v float[2], n int, merge_rows=30");
  memset(&s[1], 0, sizeof(s[1]));
  s[1].db.ops = s[0].db.ops;
  OK(&s[1].db, db_try_open(&s[1].db));
  s[1].c = open_coll(&s[1].db, "t");
  for(int i=0; i<1500*vt_scale(); i++){
    uint32_t who = vdb_rng_below(&rng, 2);
    struct simple *a = &s[who], *b = &s[1-who];
    uint64_t sum, sum_old = 0;
    bool undo = vdb_rng_below(&rng, 3)==0, held = vdb_rng_below(&rng, 3)==0;
    if( held ){
      OK(&b->db, vdb_store_begin_read(b->db.st));
      sum_old = digest_now(b);
    }
    OK(&a->db, vdb_store_begin_write(a->db.st));
    for(uint32_t k=1+vdb_rng_below(&rng, 4); k>0; k--) random_change(a, &rng);
    if( vdb_rng_below(&rng, 2) ){                 /* fill its caches */
      struct coll_runs runs;
      OK(&a->db, vdb_coll_runs_open(a->c, 1, &runs));
      OK(&a->db, vdb_coll_runs_ready(&runs));
      vdb_coll_runs_close(&runs);
    }
    if( undo ) OK(&a->db, vdb_store_rollback(a->db.st));
    else OK(&a->db, vdb_store_commit(a->db.st));
    if( held ){
      REQUIRE_U64(sum_old, digest_now(b));        /* its snapshot stays */
      OK(&b->db, vdb_store_end_read(b->db.st));
    }
    sum = digest(&s[0]);
    REQUIRE_U64(sum, digest(&s[1]));
    if( i%100==99 ){                              /* nothing but the file */
      vdb_coll_drop_caches(s[0].c);
      REQUIRE_U64(sum, digest(&s[0]));
    }
  }
  vdb_store_coll_close(s[1].c);
  OK(&s[1].db, vdb_store_close(s[1].db.st));
  simple_close(&s[0]);
}

/* Row groups that the transaction itself made, then rewrote after a savepoint,
** are there again when it goes back to the savepoint. */
TEST(coll__a_savepoint_brings_back_row_groups){
  struct coll_runs runs;
  struct simple s;
  unsigned sp;

  simple_open(&s, DB_FILE, "v float[2], n int");
  OK(&s.db, vdb_store_begin_write(s.db.st));
  OK(&s.db, bulk_range(&s, 1, 10001, -1));
  OK(&s.db, vdb_store_savepoint(s.db.st, &sp));
  for(int i=1; i<=5000; i++){
    struct vdb_value key = { VECDB_INTEGER, i, 0, NULL, 0 };
    OK(&s.db, vdb_coll_delete(s.c, &key));
  }
  OK(&s.db, vdb_coll_optimize(s.c, 0));
  OK(&s.db, bulk_range(&s, 20001, 30001, 7));      /* writes extents anew */
  OK(&s.db, vdb_store_rollback_to(s.db.st, sp));
  OK(&s.db, vdb_coll_runs_open(s.c, 1, &runs));
  OK(&s.db, vdb_coll_runs_ready(&runs));
  REQUIRE_U64(1, runs.n_run);
  for(int i=1; i<=10000; i++){
    const float *v = runs.run[0].vecs;
    REQUIRE(v[2*i-2]==(float)(i & 0xff));
  }
  vdb_coll_runs_close(&runs);
  OK(&s.db, vdb_store_commit(s.db.st));
  simple_close(&s);
}

TEST(coll__vacuum_shrinks_a_file){
  struct pager_stats before, after;
  struct simple s;

  simple_open(&s, DB_FILE, "v float[64], n int");
  {
    float v[64] = { 0 };
    struct coll_bulk *b;
    OK(&s.db, vdb_store_begin_write(s.db.st));
    OK(&s.db, vdb_coll_bulk_begin(s.c, 0, &b));
    for(int i=1; i<=20000; i++){
      simple_row(&s, i, i);
      v[0] = (float)i;
      s.row[1].p = v;
      s.row[1].n = sizeof(v);
      OK(&s.db, vdb_coll_bulk_add(b, s.row, NULL, NULL));
    }
    OK(&s.db, vdb_coll_bulk_end(b, true));
    OK(&s.db, vdb_store_commit(s.db.st));
  }
  OK(&s.db, vdb_store_begin_write(s.db.st));
  for(int i=1; i<=19000; i++){
    struct vdb_value key = { VECDB_INTEGER, i, 0, NULL, 0 };
    OK(&s.db, vdb_coll_delete(s.c, &key));
  }
  OK(&s.db, vdb_store_commit(s.db.st));
  OK(&s.db, vdb_pager_stats(vdb_store_pager(s.db.st), &before));
  OK(&s.db, vdb_store_vacuum(s.db.st));
  OK(&s.db, vdb_pager_stats(vdb_store_pager(s.db.st), &after));
  CHECK(after.sz_file<before.sz_file/5);
  CHECK_U64(1000, simple_stats(&s).n_row);
  CHECK_U64(1000, simple_stats(&s).n_slot);
  simple_close(&s);
}

/* Rows wider than a page, in every column of which few fit an extent. */
TEST(coll__the_widest_vectors_seal_and_come_back){
  enum { DIM = 65535, N = 70 };
  struct vdb_value row[3];
  struct vdb_str buf = VDB_STR_INIT;
  struct simple s;
  float *v = vdb_malloc(DIM*sizeof(*v));
  uint16_t *w = vdb_calloc(DIM, sizeof(*w));

  REQUIRE(v!=NULL && w!=NULL);
  simple_open(&s, DB_FILE, "v float[65535], w float16[65535]");
  memset(row, 0, sizeof(row));
  row[1] = (struct vdb_value){ VECDB_VECTOR, 0, 0, v, DIM*4 };
  row[2] = (struct vdb_value){ VECDB_VECTOR, 0, 0, w, DIM*2 };
  OK(&s.db, vdb_store_begin_write(s.db.st));
  for(int i=0; i<N; i++){
    for(int k=0; k<DIM; k++) v[k] = (float)(i*1000+k);
    w[DIM-1] = (uint16_t)i;
    OK(&s.db, vdb_coll_insert(s.c, row, 0, NULL, NULL));
  }
  OK(&s.db, vdb_store_commit(s.db.st));
  CHECK(simple_stats(&s).n_delta<N);              /* 16 MiB seal it */
  OK(&s.db, vdb_store_begin_read(s.db.st));
  for(int i=0; i<N; i+=3){
    struct vdb_value got;
    OK(&s.db, vdb_coll_value(s.c, 1, (slot_no)i, &buf, &got));
    for(int k=0; k<DIM; k++) v[k] = (float)(i*1000+k);
    REQUIRE(memcmp(v, got.p, DIM*4)==0);
    OK(&s.db, vdb_coll_value(s.c, 2, (slot_no)i, &buf, &got));
    w[DIM-1] = (uint16_t)i;
    REQUIRE(memcmp(w, got.p, DIM*2)==0);
  }
  OK(&s.db, vdb_store_end_read(s.db.st));
  vdb_str_clear(&buf);
  vdb_free(v);
  vdb_free(w);
  simple_close(&s);
}

TEST(coll__says_when_the_slots_are_used_up){
  struct simple s;

  simple_open(&s, DB_MEMORY, "v float[2], n int");
  OK(&s.db, vdb_store_begin_write(s.db.st));
  vdb_coll_change_begin(s.c);
  s.c->s.next_slot = s.c->s.delta_first = SLOT_MAX+1;
  OK(&s.db, vdb_coll_state_write(s.c));
  CHECK_RC(VECDB_FULL, vdb_coll_insert(s.c, simple_row(&s, 1, 1), 0, NULL,
                                       NULL));
  CHECK_STR("collection \"t\" has used all 4294967294 slots; vacuum gives "
            "them back", vdb_error_text(&s.db.err));
  OK(&s.db, vdb_store_rollback(s.db.st));
  simple_close(&s);
}

/* ---- Catalog ------------------------------------------------------------- */

static int collect(void *arg, const char *name, const char *schema){
  struct vdb_str *s = arg;
  vdb_str_addf(s, "%s:%s;", name, schema);
  return VECDB_OK;
}

static void check_list(struct db *db, const char *want){
  struct vdb_str s = VDB_STR_INIT;
  struct read_scope r;

  OK(db, vdb_store_read_begin(db->st, &r));
  vdb_str_add(&s, "", 0);
  OK(db, vdb_store_list(db->st, collect, &s));
  OK(db, vdb_store_read_end(db->st, &r));
  CHECK_STR(want, s.z ? s.z : "");
  vdb_str_clear(&s);
}

TEST(catalog__names_ignore_case_and_keep_it){
  struct db db;
  struct write_scope w;
  struct coll *c;

  db_open(&db, DB_MEMORY);
  check_list(&db, "");
  create(&db, "Beta", "v float[2] , file='x.vdb'");
  create(&db, "alpha", "w bit[8]");
  check_list(&db, "alpha:w bit[8];Beta:v float[2];");
  OK(&db, vdb_store_write_begin(db.st, &w));
  CHECK_RC(VECDB_EXISTS, vdb_store_write_end(db.st, &w,
           vdb_store_create(db.st, "BETA", "v float[2]")));
  CHECK_STR("there already is a collection \"Beta\"", vdb_error_text(&db.err));
  c = open_coll(&db, "beTA");
  CHECK_STR("Beta", vdb_coll_name(c));
  OK(&db, vdb_store_write_begin(db.st, &w));
  OK(&db, vdb_store_write_end(db.st, &w,
                              vdb_store_rename(db.st, "beta", "Gamma")));
  OK(&db, vdb_store_begin_read(db.st));
  OK(&db, vdb_coll_refresh(c));                  /* the handle follows */
  CHECK_STR("Gamma", vdb_coll_name(c));
  OK(&db, vdb_store_end_read(db.st));
  check_list(&db, "alpha:w bit[8];Gamma:v float[2];");
  OK(&db, vdb_store_write_begin(db.st, &w));
  CHECK_RC(VECDB_EXISTS, vdb_store_write_end(db.st, &w,
           vdb_store_rename(db.st, "gamma", "ALPHA")));
  OK(&db, vdb_store_write_begin(db.st, &w));
  CHECK_RC(VECDB_SYNTAX, vdb_store_write_end(db.st, &w,
           vdb_store_rename(db.st, "gamma", "V")));
  CHECK_STR("column \"v\": the name is the collection's own; choose another",
            vdb_error_text(&db.err));
  OK(&db, vdb_store_write_begin(db.st, &w));
  CHECK_RC(VECDB_NOTFOUND, vdb_store_write_end(db.st, &w,
           vdb_store_drop(db.st, "beta")));
  CHECK_STR("there is no collection \"beta\"", vdb_error_text(&db.err));
  db_check(&db);
  vdb_store_coll_close(c);
  db_close(&db);
}

TEST(catalog__rollback_undoes_create_drop_and_rename){
  struct simple s;
  struct coll *c = NULL;

  simple_open(&s, DB_MEMORY, "v float[2], n int");
  OK(&s.db, simple_insert(&s, 5, 6, NULL));
  OK(&s.db, vdb_store_begin_write(s.db.st));
  OK(&s.db, vdb_store_create(s.db.st, "u", "v float[9]"));
  OK(&s.db, vdb_store_coll_open(s.db.st, "u", &c));
  OK(&s.db, vdb_store_drop(s.db.st, "t"));
  CHECK_RC(VECDB_NOTFOUND, vdb_coll_refresh(s.c));
  OK(&s.db, vdb_store_rename(s.db.st, "u", "t"));
  OK(&s.db, vdb_store_rollback(s.db.st));
  check_list(&s.db, "t:v float[2], n int;");
  OK(&s.db, vdb_store_begin_read(s.db.st));
  CHECK_RC(VECDB_NOTFOUND, vdb_coll_refresh(c));
  OK(&s.db, vdb_coll_refresh(s.c));
  CHECK_U64(1, vdb_coll_n_row(s.c));
  OK(&s.db, vdb_store_end_read(s.db.st));
  vdb_store_coll_close(c);
  simple_close(&s);
}

TEST(catalog__stored_options_change){
  struct simple s;
  struct write_scope w;
  const struct schema *schema;
  const char *text;

  simple_open(&s, DB_MEMORY, "v float[2], n int");
  schema = vdb_coll_schema(s.c);
  OK(&s.db, vdb_store_write_begin(s.db.st, &w));
  OK(&s.db, vdb_store_write_end(s.db.st, &w,
                                vdb_coll_set(s.c, "merge_rows", "10")));
  OK(&s.db, vdb_store_write_begin(s.db.st, &w));
  CHECK_RC(VECDB_NOTFOUND, vdb_store_write_end(s.db.st, &w,
                                vdb_coll_set(s.c, "merge", "10")));
  OK(&s.db, vdb_store_begin_read(s.db.st));
  OK(&s.db, vdb_coll_schema_text(s.c, &text));
  CHECK_STR("v float[2], n int, merge_rows=10", text);
  CHECK(schema==vdb_coll_schema(s.c));           /* names stay where they are */
  CHECK_U64(10, schema->merge_rows);
  OK(&s.db, vdb_store_end_read(s.db.st));
  simple_close(&s);
}

TEST(store__refused_statements_leave_the_transaction_as_it_was){
  struct simple s;
  struct write_scope w;

  simple_open(&s, DB_MEMORY, "v float[2], n int");
  OK(&s.db, vdb_store_begin_write(s.db.st));
  OK(&s.db, simple_insert(&s, 1, 1, NULL));
  OK(&s.db, vdb_store_write_begin(s.db.st, &w));
  OK(&s.db, vdb_coll_insert(s.c, simple_row(&s, 2, 2), 0, NULL, NULL));
  CHECK_RC(VECDB_CONSTRAINT_PK, vdb_store_write_end(s.db.st, &w,
      vdb_coll_insert(s.c, simple_row(&s, 1, 2), 0, NULL, NULL)));
  CHECK_STR("collection \"t\" already has a row with key 1",
            vdb_error_text(&s.db.err));
  OK(&s.db, vdb_store_commit(s.db.st));
  CHECK_U64(1, simple_stats(&s).n_row);
  simple_close(&s);
}

/* ---- Failing allocations ------------------------------------------------- */

/* A bit of everything, in transactions of their own. */
static int script(struct simple *s){
  struct store *st = s->db.st;
  struct write_scope w;
  struct vdb_value key = { VECDB_INTEGER, 3, 0, NULL, 0 };
  struct coll_runs runs;
  int rc;

  TRY( vdb_store_write_begin(st, &w) );
  rc = vdb_store_create(st, "t", "v float[2], n int, merge_rows=20");
  TRY( vdb_store_write_end(st, &w, rc) );
  TRY( vdb_store_begin_write(st) );
  rc = vdb_store_coll_open(st, "t", &s->c);
  for(int i=1; i<=50 && rc==VECDB_OK; i++){
    rc = vdb_coll_insert(s->c, simple_row(s, i, i%3 ? i : -1), 0, NULL, NULL);
  }
  if( rc==VECDB_OK ) rc = vdb_coll_delete(s->c, &key);
  if( rc==VECDB_OK ) rc = vdb_coll_runs_open(s->c, 1, &runs);
  if( rc==VECDB_OK ){
    rc = vdb_coll_runs_ready(&runs);
    vdb_coll_runs_close(&runs);
  }
  if( rc==VECDB_OK ) rc = vdb_store_commit(st);
  if( rc!=VECDB_OK ){
    vdb_store_rollback(st);
    goto done;
  }
  TRY( vdb_store_write_begin(st, &w) );
  rc = bulk_range(s, 100, 200, -1);
  TRY( vdb_store_write_end(st, &w, rc) );
  TRY( vdb_store_write_begin(st, &w) );
  rc = vdb_coll_optimize(s->c, VECDB_OPTIMIZE_ALL);
  TRY( vdb_store_write_end(st, &w, rc) );
  TRY( vdb_store_vacuum(st) );
done:
  return rc;
}

/* After any failed allocation the database is sound, and what was acknowledged
** is there: 0, 49 or 149 rows. */
static void fail_every_allocation(enum db_kind kind){
  uint64_t n_failed = 1;

  for(uint64_t n=1; n_failed>0; n++){
    struct vdb_mem_stats before, after;
    struct simple s;
    uint64_t n_row = 0;
    int rc;
    vdb_mem_stats(&before);
    memset(&s, 0, sizeof(s));
    db_open(&s.db, kind);
    vdb_mem_fail_at(n, false);
    rc = script(&s);
    n_failed = vdb_mem_fail_at(0, false);
    if( n_failed==0 ) CHECK_RC(VECDB_OK, rc);
    else if( rc!=VECDB_OK && rc!=VECDB_IOERR_SYNC ) CHECK_RC(VECDB_NOMEM, rc);
    if( vdb_store_begin_read(s.db.st)==VECDB_OK ){
      OK(&s.db, vdb_store_end_read(s.db.st));
    }else{
      vdb_store_coll_close(s.c);                 /* memory ran out in a sync */
      s.c = NULL;
      vdb_store_close(s.db.st);
      OK(&s.db, db_try_open(&s.db));
    }
    REQUIRE_INT(PAGER_NONE, vdb_pager_state(vdb_store_pager(s.db.st)));
    db_check(&s.db);
    if( s.c!=NULL && vdb_store_begin_read(s.db.st)==VECDB_OK ){
      if( vdb_coll_refresh(s.c)==VECDB_OK ) n_row = vdb_coll_n_row(s.c);
      OK(&s.db, vdb_store_end_read(s.db.st));
    }
    REQUIRE(n_row==0 || n_row==49 || n_row==149);
    if( rc==VECDB_OK ) REQUIRE_U64(149, n_row);
    vdb_store_coll_close(s.c);
    db_close(&s.db);
    vdb_mem_stats(&after);
    REQUIRE_U64(before.sz_now, after.sz_now);
  }
}

TEST(store__survives_every_failed_allocation_in_memory){
  fail_every_allocation(DB_MEMORY);
}
TEST(store__survives_every_failed_allocation_in_a_host){
  fail_every_allocation(DB_HOST);
}
TEST(store__survives_every_failed_allocation_on_a_file){
  fail_every_allocation(DB_FILE);
}

/* ---- Bytes --------------------------------------------------------------- */

/* The same statements give the same file, whatever memory held before. */
TEST(store__the_same_statements_give_the_same_bytes){
  unsigned char *first = NULL;
  size_t n_first = 0;

  for(int round=0; round<2; round++){
    const unsigned char *p;
    struct simple s;
    size_t n;
    for(int i=0; i<200*round; i++){              /* litter the heap */
      size_t sz = 37u*(size_t)(i%50+1)*(i%7 ? 1 : 1000);
      void *litter = vdb_malloc(sz);
      REQUIRE(litter!=NULL);
      memset(litter, 0xa5, sz);
      vdb_free(litter);
    }
    memset(&s, 0, sizeof(s));
    db_open(&s.db, DB_FILE);
    OK(&s.db, script(&s));
    vdb_store_coll_close(s.c);
    OK(&s.db, vdb_store_close(s.db.st));
    OK(&s.db, vdb_file_mem_peek(s.db.ops, "/t.vdb", &p, &n));
    if( round==0 ){
      first = vdb_memdup(p, n);
      n_first = n;
    }else{
      REQUIRE_U64(n_first, n);
      CHECK_MEM(first, p, n);
    }
    vdb_file_mem_destroy(s.db.ops);
  }
  vdb_free(first);
}

/* ---- Damage -------------------------------------------------------------- */

/* Touch every byte that a search would. */
static void check_readable(const struct coll_runs *runs){
  volatile unsigned sum = 0;

  for(size_t i=0; i<runs->n_run; i++){
    const struct flat_run *r = &runs->run[i];
    for(uint32_t k=0; k<r->n_rows; k++){
      slot_no slot = r->slots ? r->slots[k] : r->slot_base+k;
      const unsigned char *p = (const unsigned char*)r->vecs + k*r->stride;
      if( vdb_bit_get(r->live, slot) ) sum += (unsigned)(p[0] + p[7]);
    }
  }
  VDB_UNUSED(sum);
}

static int count_chunk(void *arg, const struct coll_chunk *chunk){
  *(int*)arg += (int)chunk->n;
  return VECDB_OK;
}

/* Everything a user of the collection could call; codes do not matter. */
static void use_everything(struct simple *s, struct vdb_rng *rng){
  struct vdb_str buf = VDB_STR_INIT;
  struct coll_cursor *k = NULL;
  struct coll_runs runs;
  struct vdb_value v, key = { VECDB_INTEGER, 0, 0, NULL, 0 };
  slot_no slot;
  bool at_end = true;
  uint64_t n_bad;
  int n = 0, count = 0;

  if( vdb_coll_refresh(s->c)!=VECDB_OK ) return;
  if( vdb_coll_runs_open(s->c, 1, &runs)==VECDB_OK ){
    if( vdb_coll_runs_ready(&runs)==VECDB_OK ) check_readable(&runs);
    vdb_coll_runs_close(&runs);
  }
  vdb_coll_scan(s->c, 2, 0, SLOT_NONE, count_chunk, &count);
  if( vdb_coll_cursor_open(s->c, &k)==VECDB_OK ){
    int rc = vdb_coll_cursor_seek(k, NULL, &slot, &at_end);
    while( rc==VECDB_OK && !at_end && n++<2000 ){
      for(int i=0; i<vdb_coll_schema(s->c)->n_col; i++){
        vdb_coll_value(s->c, i, slot, &buf, &v);
      }
      rc = vdb_coll_cursor_next(k, &slot, &at_end);
    }
    vdb_coll_cursor_close(k);
  }
  vdb_store_check(s->db.st, false, NULL, NULL, &n_bad);
  for(int i=0; i<8; i++){
    key.i = vdb_rng_below(rng, 400);
    vdb_coll_delete(s->c, &key);
    vdb_coll_insert(s->c, simple_row(s, key.i, i), VECDB_OR_REPLACE, NULL,
                    NULL);
    simple_row(s, key.i, i);
    s->row[0].type = VALUE_UNSET;
    if( i%2 ) s->row[1].type = VALUE_UNSET;
    key.i++;
    vdb_coll_update(s->c, &key, s->row, 0);
  }
  bulk_range(s, 1000, 1100, -1);
  vdb_coll_optimize(s->c, VECDB_OPTIMIZE_ALL);
  vdb_store_drop(s->db.st, "t");
  vdb_str_clear(&buf);
}

/* Change bytes of a page as a hostile writer would: checksums are right. */
static void damage_page(struct simple *s, struct vdb_rng *rng){
  struct pager *p = vdb_store_pager(s->db.st);
  page_no pgno = 1+vdb_rng_below(rng, vdb_pager_n_page(p));
  uint32_t n = 1+vdb_rng_below(rng, 4), usable = vdb_pager_usable(p);
  struct page *pg = NULL;

  if( vdb_page_get(p, pgno, 0, &pg)!=VECDB_OK ) return;
  if( pg->data[0]!=PAGE_ROOT && pg->data[0]!=PAGE_FREE &&
      vdb_page_write(p, pg)==VECDB_OK ){
    uint32_t span = vdb_rng_below(rng, 2) ? usable : 160;
    for(uint32_t i=0; i<n; i++){
      uint32_t at = 16+vdb_rng_below(rng, span-16);
      static const unsigned char bytes[] = { 0, 1, 0x7f, 0x80, 0xff };
      pg->data[at] = vdb_rng_below(rng, 2) ? bytes[vdb_rng_below(rng, 5)] :
                     (unsigned char)vdb_rng_u64(rng);
    }
  }
  vdb_page_unpin(p, pg);
  vdb_pager_touch(p);
}

TEST(coll__damaged_pages_are_errors_or_wrong_values_never_worse){
  struct vdb_rng rng;
  struct simple s;

  vdb_rng_init(&rng, vt_seed());
  simple_open(&s, DB_MEMORY, "v float[2], n int, s text, +b blob, "
              "merge_rows=64, optimize=manual");
  OK(&s.db, vdb_store_begin_write(s.db.st));
  for(int i=1; i<=300; i++){
    struct vdb_value row[5];
    memcpy(row, simple_row(&s, i, i%5 ? i : -1), sizeof(s.row));
    row[3] = (struct vdb_value){ VECDB_TEXT, 0, 0, "a text of 20 bytes!!", 20 };
    row[4] = (struct vdb_value){ VECDB_BLOB, 0, 0, "xyz", i%4 ? 3 : 0 };
    OK(&s.db, vdb_coll_insert(s.c, row, 0, NULL, NULL));
  }
  for(int i=5; i<250; i+=3){
    struct vdb_value key = { VECDB_INTEGER, i, 0, NULL, 0 };
    OK(&s.db, vdb_coll_delete(s.c, &key));
  }
  OK(&s.db, vdb_coll_optimize(s.c, 0));
  for(int i=400; i<420; i++){
    struct vdb_value row[5];
    memcpy(row, simple_row(&s, i, i), sizeof(s.row));
    row[3].type = row[4].type = VECDB_NULL;
    OK(&s.db, vdb_coll_insert(s.c, row, 0, NULL, NULL));
  }
  OK(&s.db, vdb_store_commit(s.db.st));
  db_check(&s.db);
  for(int i=0; i<400*vt_scale(); i++){
    OK(&s.db, vdb_store_begin_write(s.db.st));
    for(uint32_t k=1+vdb_rng_below(&rng, 2); k>0; k--) damage_page(&s, &rng);
    vdb_coll_drop_caches(s.c);
    use_everything(&s, &rng);
    s.c->is_dirty = true;
    OK(&s.db, vdb_store_rollback(s.db.st));
  }
  simple_close(&s);
}
