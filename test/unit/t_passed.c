/* t_passed.c -- the sets of rows that a collection keeps: which are found
** again, and which make room.
*/
#include "lib_store.h"
#include "store/coll_int.h"
#include "store/passed.h"

struct passing {
  struct db db;
  struct coll *c;
  struct read_scope r;
  struct coll_runs runs;
};

static void passing_open(struct passing *p){
  memset(p, 0, sizeof(*p));
  db_open(&p->db, DB_MEMORY);
  create(&p->db, "t", "v float[2], n int");
  p->c = open_coll(&p->db, "t");
  OK(&p->db, vdb_store_read_begin(p->db.st, &p->r));
  OK(&p->db, vdb_coll_runs_open(p->c, 1, &p->runs));
}

static void passing_close(struct passing *p){
  vdb_coll_runs_close(&p->runs);
  OK(&p->db, vdb_store_read_end(p->db.st, &p->r));
  vdb_store_coll_close(p->c);
  db_close(&p->db);
}

static struct vdb_str key_of(const char *text, int64_t i){
  struct vdb_value v = { VECDB_INTEGER, i, 0, NULL, 0 };
  struct vdb_str key = VDB_STR_INIT;
  REQUIRE_RC(VECDB_OK, vdb_passed_key(text, &v, 1, &key));
  return key;
}

/* Make and keep a set of n_slot bits (told, not there). */
static struct passed *keep(struct passing *p, int64_t i, uint64_t n_slot){
  struct vdb_str key = key_of("n = ?", i);
  struct passed *s = NULL;
  OK(&p->db, vdb_passed_make(p->c, &p->runs, NULL, NULL, &s));
  s->n_slot = n_slot;
  vdb_passed_keep(p->c, s, &key);
  vdb_str_clear(&key);
  return s;
}

static bool is_found(struct passing *p, const char *text, int64_t i,
                     const struct passed *want){
  struct vdb_str key = key_of(text, i);
  struct passed *s = vdb_passed_find(p->c, &key);
  bool same = s!=NULL && s==want;
  vdb_passed_unref(s);
  vdb_str_clear(&key);
  return same;
}

TEST(passed__finds_what_was_asked_and_nothing_else){
  struct passing p;
  struct passed *s;
  passing_open(&p);
  s = keep(&p, 7, 64);
  CHECK(is_found(&p, "n = ?", 7, s));
  CHECK(!is_found(&p, "n = ?", 8, s));
  CHECK(!is_found(&p, "n < ?", 7, s));
  vdb_passed_unref(s);
  CHECK(is_found(&p, "n = ?", 7, s));        /* the collection has it */
  passing_close(&p);
}

TEST(passed__keys_tell_types_and_lengths_apart){
  struct vdb_value v[][2] = {
    { { VECDB_INTEGER, 1, 0, NULL, 0 }, { VECDB_NULL, 0, 0, NULL, 0 } },
    { { VECDB_REAL, 0, 1, NULL, 0 }, { VECDB_NULL, 0, 0, NULL, 0 } },
    { { VECDB_TEXT, 0, 0, "1", 1 }, { VECDB_TEXT, 0, 0, "", 0 } },
    { { VECDB_BLOB, 0, 0, "1", 1 }, { VECDB_TEXT, 0, 0, "", 0 } },
    { { VECDB_TEXT, 0, 0, "", 0 }, { VECDB_TEXT, 0, 0, "1", 1 } },
    { { VECDB_NULL, 0, 0, NULL, 0 }, { VECDB_INTEGER, 1, 0, NULL, 0 } } };
  struct vdb_str key[VDB_ARRAY_LEN(v)];
  for(size_t i=0; i<VDB_ARRAY_LEN(v); i++){
    key[i] = (struct vdb_str)VDB_STR_INIT;
    REQUIRE_RC(VECDB_OK, vdb_passed_key("a=? AND b=?", v[i], 2, &key[i]));
    for(size_t j=0; j<i; j++){
      CHECK(key[i].n!=key[j].n || memcmp(key[i].z, key[j].z, key[i].n)!=0);
    }
  }
  for(size_t i=0; i<VDB_ARRAY_LEN(v); i++) vdb_str_clear(&key[i]);
}

TEST(passed__the_longest_unused_makes_room){
  struct passing p;
  struct passed *s[PASSED_SETS+1];
  passing_open(&p);
  for(int i=0; i<PASSED_SETS; i++) s[i] = keep(&p, i, 64);
  CHECK(is_found(&p, "n = ?", 0, s[0]));     /* now it is the newest */
  s[PASSED_SETS] = keep(&p, PASSED_SETS, 64);
  CHECK(is_found(&p, "n = ?", 0, s[0]));
  CHECK(!is_found(&p, "n = ?", 1, s[1]));
  for(int i=2; i<=PASSED_SETS; i++) CHECK(is_found(&p, "n = ?", i, s[i]));
  for(int i=0; i<=PASSED_SETS; i++) vdb_passed_unref(s[i]);
  passing_close(&p);
}

TEST(passed__keeps_no_more_bytes_than_it_may){
  struct passing p;
  struct passed *s[4];
  passing_open(&p);
  for(int i=0; i<3; i++) s[i] = keep(&p, i, PASSED_BYTES*8*2/5);
  CHECK(!is_found(&p, "n = ?", 0, s[0]));
  CHECK(is_found(&p, "n = ?", 1, s[1]));
  CHECK(is_found(&p, "n = ?", 2, s[2]));
  s[3] = keep(&p, 3, PASSED_BYTES*8 + 64);   /* too large: the others stay */
  CHECK(!is_found(&p, "n = ?", 3, s[3]));
  CHECK(is_found(&p, "n = ?", 2, s[2]));
  for(int i=0; i<4; i++) vdb_passed_unref(s[i]);
  passing_close(&p);
}

TEST(passed__lets_go_of_other_states){
  struct passing p;
  struct passed *s;
  passing_open(&p);
  s = keep(&p, 1, 64);
  s->version--;
  CHECK(!is_found(&p, "n = ?", 1, s));
  CHECK_U64(1, s->n_ref);                    /* ours alone */
  vdb_passed_unref(s);
  passing_close(&p);
}
