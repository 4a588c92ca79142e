/* t_codes.c -- codes in a file that say something wrong under right checksums:
** an error, or a search that ends, never a crash; check finds it.
*/
#include "unit/lib_store.h"

#include "index/flat_code.h"
#include "pager/pager_int.h"
#include "store/coll_int.h"

enum { DIM = 64, N_ROW = 2200 };

/* Rows of floats that are integers are stored as bytes. */
static void make_rows(struct db *db, bool is_bytes){
  struct vdb_value row[2] = { { VECDB_INTEGER, 0, 0, NULL, 0 },
                              { VECDB_VECTOR, 0, 0, NULL, 0 } };
  struct coll_bulk *b = NULL;
  struct coll *c = NULL;
  struct vdb_rng r;
  float v[DIM];

  vdb_rng_init(&r, 3);
  create(db, "t", "v float[64] index=flat(bits=6)");
  OK(db, vdb_store_begin_write(db->st));
  OK(db, vdb_store_coll_open(db->st, "t", &c));
  OK(db, vdb_coll_bulk_begin(c, 0, &b));
  for(int i=0; i<N_ROW; i++){
    row[0].i = i+1;
    row[1].p = (const void*)v;
    row[1].n = sizeof(v);
    for(int j=0; j<DIM; j++){
      v[j] = is_bytes ? (float)vdb_rng_below(&r, 200)
                      : (float)vdb_rng_gauss(&r);
    }
    OK(db, vdb_coll_bulk_add(b, row, NULL, NULL));
  }
  OK(db, vdb_coll_bulk_end(b, true));
  OK(db, vdb_store_commit(db->st));
  vdb_store_coll_close(c);
}

static void make(struct db *db){ make_rows(db, false); }

static struct vdb_hit found[20];

/* Search as SQL would; any code is fine. */
static int search(struct db *db){
  struct flat_search s = { .metric = VECDB_L2, .type = VECDB_F32, .dim = DIM };
  struct coll_runs runs = { 0 };
  struct coll *c = NULL;
  float q[DIM] = { 1, 2 };
  size_t n;
  int rc;

  TRY( vdb_store_begin_read(db->st) );
  TRY( vdb_store_coll_open(db->st, "t", &c) );
  TRY( vdb_coll_runs_open(c, 1, &runs) );
  s.runs = runs.run;
  s.n_runs = runs.n_run;
  s.coder = runs.coder;
  s.source = &runs.source;
  TRY( vdb_flat_knn(&s, q, 20, found, &n) );
  CHECK_U64(20, n);
done:
  vdb_coll_runs_close(&runs);
  vdb_store_coll_close(c);
  vdb_store_end_read(db->st);
  return rc;
}

static void count_bad(void *arg, int severity, const char *object,
                      const char *message){
  VDB_UNUSED(severity);
  VDB_UNUSED(object);
  VDB_UNUSED(message);
  ++*(int*)arg;
}

/* Change four bytes of an entry of the row groups. */
static int tamper_entry(struct coll *c, int kind, slot_no first, size_t at,
                        uint32_t value){
  unsigned char key[SEGKEY_SIZE];
  struct vdb_str rec = VDB_STR_INIT;
  int rc;

  vdb_seg_key(key, 1, kind, first);
  TRY( vdb_btree_get(c->p, c->s.segs, key, sizeof(key), &rec) );
  REQUIRE(at+4<=rec.n);
  put_u32((unsigned char*)rec.z+at, value);
  TRY( vdb_btree_put(c->p, c->s.segs, key, sizeof(key), rec.z, rec.n,
                     BTREE_REPLACE) );
done:
  vdb_str_clear(&rec);
  return rc;
}

/* Random words into the codes of the first group. */
static int tamper_codes(struct coll *c, uint64_t seed){
  struct extent e = { 0 };
  unsigned char *copy = NULL;
  struct vdb_rng r;
  page_no fresh;
  int rc;

  vdb_rng_init(&r, seed);
  TRY( vdb_segs_load(c) );
  TRY( vdb_extent_pin(c->p, c->segs[0].seg[0].codes, &e) );
  copy = vdb_malloc(e.sz);
  memcpy(copy, e.data, e.sz);
  for(int i=0; i<200; i++){
    size_t at = vdb_rng_below(&r, (uint32_t)e.sz/4)*4;
    put_u32(copy+at, i%3==0 ? 0x7f800000u + i%2 : (uint32_t)vdb_rng_u64(&r));
  }
  TRY( vdb_extent_create(c->p, &e.spec, copy, &fresh) );
  vdb_extent_unpin(c->p, &e);
  TRY( vdb_seg_set_codes(c, 0, &c->segs[0].seg[0], fresh) );
done:
  vdb_extent_unpin(c->p, &e);
  vdb_free(copy);
  return rc;
}

struct change { int kind; size_t at; uint32_t value; uint64_t seed; };

/* Apply a change, search and check, and start anew. */
static void try_change(const struct change *t, bool must_fail){
  uint64_t n_finding = 0;
  struct coll *c = NULL;
  struct db db;
  int n_bad = 0, rc;

  db_open(&db, DB_FILE);
  make(&db);
  OK(&db, vdb_store_begin_write(db.st));
  OK(&db, vdb_store_coll_open(db.st, "t", &c));
  OK(&db, vdb_coll_refresh(c));
  vdb_coll_change_begin(c);
  if( t->seed ) OK(&db, tamper_codes(c, t->seed));
  else OK(&db, tamper_entry(c, t->kind, 0, t->at, t->value));
  vdb_coll_structure_changed(c);
  OK(&db, vdb_coll_state_write(c));
  vdb_store_coll_close(c);
  OK(&db, vdb_store_commit(db.st));
  OK(&db, vdb_store_close(db.st));
  OK(&db, db_try_open(&db));
  rc = search(&db);
  if( must_fail ) CHECK(VDB_IS_CORRUPT(rc));
  OK(&db, vdb_store_check(db.st, false, count_bad, &n_bad, &n_finding));
  CHECK(n_bad>0 && n_finding>0);
  db_close(&db);
}

TEST(codes__wrong_entries_are_corrupt){
  static const struct change changes[] = {
    { SEG_KIND_CODER, CODEREC_VERSION, 2, 0 },
    { SEG_KIND_CODER, CODEREC_D, 65, 0 },
    { SEG_KIND_CODER, CODEREC_BITS, 5, 0 },
    { SEG_KIND_CODER, CODEREC_BITS, 4, 0 },
    { SEG_KIND_CODER, CODEREC_SIZE+8, 0x7fc00000, 0 },
    { SEG_KIND_PLAIN, SEGREC_FORM, 1, 0 },
    { SEG_KIND_PLAIN, SEGREC_FORM, 3, 0 },
    { SEG_KIND_PLAIN, SEGREC_CODES, 1, 0 },
    { SEG_KIND_PLAIN, SEGREC_CODES, 0xffffffff, 0 } };
  for(size_t i=0; i<VDB_ARRAY_LEN(changes); i++) try_change(&changes[i], true);
}

/* The extent of the vectors in the place of the codes. */
TEST(codes__another_extent_is_corrupt){
  struct change bad = { SEG_KIND_PLAIN, SEGREC_CODES, 0, 0 };
  struct coll *c;
  struct db db;

  db_open(&db, DB_FILE);
  make(&db);
  c = open_coll(&db, "t");
  OK(&db, vdb_store_begin_read(db.st));
  OK(&db, vdb_coll_refresh(c));
  OK(&db, vdb_segs_load(c));
  bad.value = c->segs[0].seg[0].data;
  OK(&db, vdb_store_end_read(db.st));
  vdb_store_coll_close(c);
  db_close(&db);
  try_change(&bad, true);
}

TEST(codes__of_other_rows_are_found_by_check){
  for(uint64_t seed=1; seed<6; seed++){
    struct change bad = { 0, 0, 0, seed };
    try_change(&bad, false);
  }
}

/* A centre that is elsewhere makes other codes: check says so. */
TEST(codes__with_another_centre_are_found_by_check){
  struct change bad = { SEG_KIND_CODER, CODEREC_SIZE, 0x40a00000, 0 };
  try_change(&bad, false);
}

/* Codes in the record of a group of bytes, which has none: they are left alone,
** or bytes would be read as floats. */
TEST(codes__beside_bytes_are_not_used){
  static float other[N_ROW*DIM];
  struct vdb_hit before[20];
  uint64_t n_finding = 0;
  struct coll *c = NULL;
  page_no codes = 0;
  struct db db;
  int n_bad = 0;

  for(int i=0; i<N_ROW*DIM; i++) other[i] = (float)(i%1000)*0.001f;
  db_open(&db, DB_FILE);
  make_rows(&db, true);
  OK(&db, search(&db));
  memcpy(before, found, sizeof(before));
  OK(&db, vdb_store_begin_write(db.st));
  OK(&db, vdb_store_coll_open(db.st, "t", &c));
  OK(&db, vdb_coll_refresh(c));
  OK(&db, vdb_segs_load(c));
  vdb_coll_change_begin(c);
  CHECK_INT(FORM_U8, c->segs[0].seg[0].form);
  OK(&db, vdb_codes_write(c, 0, (const unsigned char*)other,
                          c->segs[0].seg[0].n_row, &codes));
  OK(&db, vdb_seg_set_codes(c, 0, &c->segs[0].seg[0], codes));
  OK(&db, vdb_coll_state_write(c));
  OK(&db, vdb_store_commit(db.st));
  OK(&db, search(&db));
  CHECK_MEM(before, found, sizeof(before));
  OK(&db, vdb_store_check(db.st, false, count_bad, &n_bad, &n_finding));
  CHECK(n_bad>0);
  OK(&db, vdb_store_begin_write(db.st));
  OK(&db, vdb_coll_optimize(c, 0));
  OK(&db, vdb_store_commit(db.st));
  CHECK_U64(0, c->segs[0].seg[0].codes);
  OK(&db, search(&db));
  CHECK_MEM(before, found, sizeof(before));
  vdb_store_coll_close(c);
  db_close(&db);
}
