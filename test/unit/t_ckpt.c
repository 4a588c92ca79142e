/* t_ckpt.c -- checkpoints, the recycling of extents, and copies of the file.
*/
#include "unit/lib_world.h"

/* ---- checkpoints --------------------------------------------------------- */

/* Between the marks of a checkpoint the main file alone is refused. */
TEST(ckpt__a_file_that_lost_its_log_half_way_is_refused){
  struct pager_config cfg;
  struct pager *p = open_db();
  struct image main;
  unsigned char *slot;
  page_no a = create_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL, NULL,
                                             NULL) );
  commit_fill(p, a, 2);
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL, NULL,
                                             NULL) );
  main = image_take("t.vdb");
  /* The slot not in force is the one with the mark; destroy the other. */
  slot = main.p + (get_u64(main.p+HDRSLOT_SEQ)
                   >get_u64(main.p+4096+HDRSLOT_SEQ) ? 0 : 4096);
  memset(slot, 0xee, 512);
  end_world();
  cfg = config();
  cfg.open_flags = VECDB_OPEN_READWRITE;
  image_put("t.vdb", main);
  CHECK_RC( VECDB_CORRUPT_WAL, vdb_pager_open(&cfg, &err, &p) );
  cfg.open_flags = VECDB_OPEN_IMMUTABLE;
  CHECK_RC( VECDB_CORRUPT_WAL, vdb_pager_open(&cfg, &err, &p) );
  vdb_free(main.p);
  end_world();
}

TEST(ckpt__truncate_cuts_the_log){
  struct pager *p = open_db();
  struct image wal;
  page_no a = create_page(p, 1);
  for(int i=0; i<50; i++) commit_fill(p, a, (unsigned char)i);
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_TRUNCATE,
                                             NULL, NULL) );
  wal = image_take("t.vdb-wal");
  CHECK_U64( WALHDR_SIZE, wal.n );
  vdb_free(wal.p);
  CHECK_INT( 49, read_fill(p, a) );
  commit_fill(p, a, 51);
  CHECK_INT( 51, read_fill(p, a) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
}

/* The log does not grow for ever. */
TEST(ckpt__happens_by_itself){
  struct pager *p = open_db();
  struct pager_stats st;
  page_no a = create_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_set(p, "wal_bytes", 100000) );
  for(int i=0; i<200; i++){
    commit_fill(p, a, (unsigned char)i);
    REQUIRE_RC( VECDB_OK, vdb_pager_stats(p, &st) );
    CHECK( st.sz_wal<110000 );
  }
  CHECK( st.ckpt_txid>100 );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
}

TEST(ckpt__a_log_far_too_long_waits_for_readers){
  struct pager *w = open_db(), *r = open_db();
  struct pager_stats st;
  page_no a = create_page(w, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_set(w, "wal_bytes", 4096) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(r) );
  for(int i=0; i<200; i++) commit_fill(w, a, (unsigned char)i);
  REQUIRE_RC( VECDB_OK, vdb_pager_stats(w, &st) );
  CHECK( st.sz_wal>64*4096 );
  CHECK_INT( 1, fill_of(r, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_set(w, "busy_ms", 50) );
  {
    int64_t begin = world->now_ms(world->env);
    commit_fill(w, a, 201);
    CHECK( world->now_ms(world->env)>=begin+50 );
  }
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r) );
  commit_fill(w, a, 202);
  REQUIRE_RC( VECDB_OK, vdb_pager_stats(w, &st) );
  CHECK( st.sz_wal<64*4096 );
  end_world();
}

/* ---- extents ------------------------------------------------------------- */

/* Space of an extent is not written while somebody can see it. */
TEST(extent__is_recycled_only_when_nobody_can_see_it){
  struct pager *w = open_db(), *r = open_db();
  uint32_t n = 64*1024;
  page_no a, b, n_page;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(w) );
  a = create_extent(w, 1, n);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(w) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(r) );
  for(int round=0; round<3; round++){
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(w) );
    n_page = vdb_pager_n_page(w);
    if( round==0 ) REQUIRE_RC( VECDB_OK, vdb_extent_free(w, a) );
    b = create_extent(w, (uint64_t)round+2, n);
    CHECK( vdb_pager_n_page(w)>=n_page+n/4096 );     /* not reused */
    REQUIRE_RC( VECDB_OK, vdb_pager_commit(w) );
    REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(w, VECDB_CHECKPOINT_PASSIVE,
                                               NULL, NULL) );
    CHECK( extent_is(r, a, 1, n) );
  }
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r) );
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(w, VECDB_CHECKPOINT_FULL, NULL,
                                             NULL) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(w) );
  n_page = vdb_pager_n_page(w);
  a = create_extent(w, 77, n/2);
  CHECK_U64( n_page, vdb_pager_n_page(w) );          /* reused */
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(w) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(r) );
  CHECK( extent_is(r, a, 77, n/2) );
  CHECK( extent_is(r, b, 4, n) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r) );
  REQUIRE_RC( VECDB_OK, close_db(w) );
  REQUIRE_RC( VECDB_OK, close_db(r) );
  end_world();
}

/* A3 of alloc.c: pages that were in the log become part of an extent; neither
** a checkpoint nor recovery puts the old frames over it. */
TEST(extent__is_not_overwritten_by_stale_frames){
  struct pager *p = open_db();
  uint32_t n = 16*4096;
  page_no page[40], head;

  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  for(int i=0; i<40; i++) page[i] = put_page(p, (unsigned char)i);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  for(int i=1; i<40; i++){
    struct page *pg = NULL;
    REQUIRE_RC( VECDB_OK, vdb_page_get(p, page[i], 0, &pg) );
    REQUIRE_RC( VECDB_OK, vdb_page_free(p, pg) );
  }
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  /* Keep the log from restarting: a reader that needs it. */
  {
    struct pager *r = open_db();
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(r) );
    REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL, NULL,
                                               NULL) );
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    head = create_extent(p, 9, n);
    REQUIRE( head<=page[39] );
    REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
    REQUIRE_RC( VECDB_OK, vdb_pager_backup(p, "b.vdb", NULL, NULL) );
    crash_keeping(0);                 /* the log holds the stale frames */
  }
  p = open_db();
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  CHECK( extent_is(p, head, 9, n) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL, NULL,
                                             NULL) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  CHECK( extent_is(p, head, 9, n) );
  CHECK_INT( 0, fill_of(p, page[0]) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
}

/* ---- copies -------------------------------------------------------------- */

TEST(backup__is_the_newest_commit){
  struct pager *p = open_db(), *b = NULL;
  struct pager_config cfg = config();
  uint32_t n = 100*4096;
  page_no a = create_page(p, 1), head;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  head = create_extent(p, 5, n);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  commit_fill(p, a, 2);
  REQUIRE_RC( VECDB_OK, vdb_pager_backup(p, "b.vdb", NULL, NULL) );
  CHECK_RC( VECDB_EXISTS, vdb_pager_backup(p, "b.vdb", NULL, NULL) );
  commit_fill(p, a, 3);
  cfg.path = "b.vdb";
  REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, &err, &b) );
  CHECK_INT( 2, read_fill(b, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(b) );
  CHECK( extent_is(b, head, 5, n) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(b) );
  commit_fill(b, a, 4);
  REQUIRE_RC( VECDB_OK, close_db(b) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
}

TEST(replace__swaps_the_file_and_keeps_its_name){
  struct pager *p = open_db(), *q = NULL, *r = open_db();
  struct pager_config cfg = config();
  unsigned char u[16], v[16];
  page_no a = create_page(p, 1), b;
  cfg.path = "new.vdb";
  REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, &err, &q) );
  b = create_page(q, 9);
  CHECK_U64( a, b );
  REQUIRE_RC( VECDB_OK, close_db(q) );
  vdb_pager_uuid(p, u);
  CHECK_RC( VECDB_BUSY, vdb_pager_replace_file(p, "new.vdb") );
  CHECK_INT( 1, read_fill(p, a) );
  REQUIRE_RC( VECDB_OK, close_db(r) );
  REQUIRE_RC( VECDB_OK, vdb_pager_replace_file(p, "new.vdb") );
  CHECK_INT( 9, read_fill(p, a) );
  CHECK( !exists("new.vdb") );
  vdb_pager_uuid(p, v);
  CHECK_MEM( u, v, 16 );
  commit_fill(p, a, 10);
  r = open_db();
  CHECK_INT( 10, read_fill(r, a) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  REQUIRE_RC( VECDB_OK, close_db(r) );
  end_world();
}
