/* t_coll_space.c -- what collections take of a file: space that is used again,
** upkeep at commits, sealing, limits. */
#include "lib_simple.h"

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
