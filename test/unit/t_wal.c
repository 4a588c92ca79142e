/* t_wal.c -- the log: recovery, foreign logs, two-phase commit, spilling. */
#include "unit/lib_world.h"

/* ---- recovery ------------------------------------------------------------ */

TEST(wal__is_recovered_after_a_crash){
  struct pager *p = open_db();
  page_no a = create_page(p, 1);
  for(int i=2; i<10; i++) commit_fill(p, a, (unsigned char)i);
  crash_keeping(0);
  p = open_db();
  CHECK_INT( 9, read_fill(p, a) );
  commit_fill(p, a, 10);
  crash_keeping(0);
  p = open_db();
  CHECK_INT( 10, read_fill(p, a) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
}

/* A commit whose last write was cut short never happened. */
TEST(wal__drops_a_torn_commit){
  for(size_t cut=8; cut<2*4136+80; cut+=504){
    struct pager *p = open_db();
    page_no a = create_page(p, 1), b;
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    b = put_page(p, 5);
    set_page(p, a, 2);
    REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
    crash_keeping(cut);
    p = open_db();
    CHECK_INT( 1, read_fill(p, a) );
    CHECK_INT( -VECDB_CORRUPT, read_fill(p, b) );
    commit_fill(p, a, 3);
    crash_keeping(0);
    p = open_db();
    CHECK_INT( 3, read_fill(p, a) );
    REQUIRE_RC( VECDB_OK, close_db(p) );
    end_world();
  }
  end_world();
}

/* A bit flipped in what was synced is no torn tail. */
TEST(wal__tells_rot_from_a_torn_tail){
  struct pager_config cfg;
  struct pager *p = open_db();
  struct image main, wal;
  page_no a = create_page(p, 1);
  for(int i=2; i<6; i++) commit_fill(p, a, (unsigned char)i);
  main = image_take("t.vdb");
  wal = image_take("t.vdb-wal");
  for(size_t off=0; off<wal.n; off+=61){
    int rc;
    end_world();
    cfg = config();
    wal.p[off] ^= 4;
    image_put("t.vdb", main);
    image_put("t.vdb-wal", wal);
    p = NULL;
    rc = vdb_pager_open(&cfg, &err, &p);
    if( rc==VECDB_OK ){
      /* The last transaction, or the part of the header nobody needs. */
      int fill = read_fill(p, a);
      CHECK( fill==5 || (fill==4 && off>wal.n-2*(4136+80)) );
      REQUIRE_RC( VECDB_OK, close_db(p) );
    }else{
      CHECK_RC( VECDB_CORRUPT_WAL, rc );
    }
    wal.p[off] ^= 4;
  }
  vdb_free(main.p);
  vdb_free(wal.p);
  end_world();
}

/* ---- foreign logs and older copies --------------------------------------- */

TEST(wal__a_log_beside_an_older_copy_is_ignored){
  struct pager *p = open_db();
  struct image old, wal;
  page_no a = create_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_TRUNCATE,
                                             NULL, NULL) );
  old = image_take("t.vdb");
  for(int i=2; i<5; i++){             /* two generations further */
    commit_fill(p, a, (unsigned char)i);
    REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_TRUNCATE,
                                               NULL, NULL) );
  }
  commit_fill(p, a, 9);
  wal = image_take("t.vdb-wal");
  end_world();
  (void)config();
  image_put("t.vdb", old);
  image_put("t.vdb-wal", wal);
  p = open_db();
  CHECK_INT( 1, read_fill(p, a) );
  commit_fill(p, a, 10);
  crash_keeping(0);
  p = open_db();
  CHECK_INT( 10, read_fill(p, a) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  vdb_free(old.p);
  vdb_free(wal.p);
  end_world();
}

/* ---- two-phase commit ---------------------------------------------------- */

static const unsigned char host[16] = "host host host!";

TEST(twophase__a_prepared_transaction_waits_for_its_decision){
  for(int commit=0; commit<2; commit++){
    struct pager *p = open_db(), *r;
    unsigned char h[16];
    uint64_t token;
    bool in_doubt;
    page_no a = create_page(p, 1);

    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    set_page(p, a, 2);
    REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, 12) );
    r = open_db();
    CHECK_INT( 1, read_fill(r, a) );
    REQUIRE_RC( VECDB_OK, vdb_pager_in_doubt(r, &in_doubt, h, &token) );
    CHECK( !in_doubt );               /* its owner is alive */
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_read_at(r, 12) );
    CHECK_INT( 2, fill_of(r, a) );
    REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r) );
    crash_keeping(0);
    p = open_db();
    CHECK_INT( 1, read_fill(p, a) );
    REQUIRE_RC( VECDB_OK, vdb_pager_in_doubt(p, &in_doubt, h, &token) );
    CHECK( in_doubt );
    CHECK_U64( 12, token );
    CHECK_MEM( host, h, 16 );
    CHECK_RC( VECDB_BUSY_INDOUBT, vdb_pager_begin_write(p) );
    CHECK_RC( VECDB_BUSY_SNAPSHOT, vdb_pager_begin_read_at(p, 11) );
    REQUIRE_RC( VECDB_OK, vdb_pager_decide(p, commit, false) );
    CHECK_INT( commit ? 2 : 1, read_fill(p, a) );
    REQUIRE_RC( VECDB_OK, vdb_pager_committed_token(p, h, &token) );
    CHECK_U64( commit ? 12 : 0, token );
    commit_fill(p, a, 5);
    REQUIRE_RC( VECDB_OK, close_db(p) );
    CHECK( !exists("t.vdb-wal") );
    p = open_db();
    CHECK_INT( 5, read_fill(p, a) );
    REQUIRE_RC( VECDB_OK, close_db(p) );
    end_world();
  }
  end_world();
}

TEST(twophase__reads_older_states_by_token){
  struct pager *p = open_db(), *r = open_db();
  page_no a = create_page(p, 1);
  for(unsigned i=1; i<=5; i++){
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    set_page(p, a, (unsigned char)(10*i));
    REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, i) );
    if( i==3 ) set_page(p, a, 33);
    if( i==3 ) REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, i) );
    REQUIRE_RC( VECDB_OK, vdb_pager_decide(p, true, false) );
    commit_fill(p, a, (unsigned char)(10*i+1));   /* keeps the token */
  }
  for(unsigned i=5; i>=1; i--){
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_read_at(r, i) );
    CHECK_INT( 10*(int)i+1, fill_of(r, a) );
    REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r) );
  }
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read_at(r, 3) );
  CHECK_RC( VECDB_BUSY, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL, NULL,
                                             NULL) );
  CHECK_INT( 31, fill_of(r, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r) );
  CHECK_RC( VECDB_BUSY_SNAPSHOT, vdb_pager_begin_read_at(r, 2) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read_at(r, 3) );
  CHECK_INT( 31, fill_of(r, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r) );
  CHECK_INT( 51, read_fill(r, a) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  REQUIRE_RC( VECDB_OK, close_db(r) );
  end_world();
}

TEST(twophase__a_rolled_back_prepare_leaves_no_trace){
  struct pager *p = open_db(), *r = open_db();
  page_no a = create_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  set_page(p, a, 2);
  REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, 4) );
  set_page(p, a, 3);
  REQUIRE_RC( VECDB_OK, vdb_pager_rollback(p) );
  CHECK_INT( 1, read_fill(p, a) );
  CHECK_INT( 1, read_fill(r, a) );
  commit_fill(r, a, 7);
  CHECK_INT( 7, read_fill(p, a) );
  crash_keeping(0);
  p = open_db();
  CHECK_INT( 7, read_fill(p, a) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
}

/* ---- spilling ------------------------------------------------------------ */

TEST(spill__a_transaction_may_be_larger_than_the_cache){
  struct pager_config cfg = config();
  struct pager *p = NULL;
  struct pager_stats st;
  page_no page[500];
  unsigned n;

  cfg.sz_cache = 256<<10;             /* 60 pages */
  p = open_with(&cfg);
  for(int round=0; round<4; round++){
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    for(int i=0; i<500; i++){
      if( round==0 ) page[i] = put_page(p, (unsigned char)i);
      else set_page(p, page[i], (unsigned char)(i+round));
    }
    if( round==3 ){
      /* Undo inner changes that were spilled, keep outer ones that were. */
      REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &n) );
      for(int i=0; i<400; i++) set_page(p, page[i], 200);
      for(int i=0; i<300; i++) put_page(p, 201);
      REQUIRE_RC( VECDB_OK, vdb_pager_rollback_to(p, n) );
      CHECK_INT( 203, fill_of(p, page[200]) );
    }
    REQUIRE_RC( VECDB_OK, vdb_pager_stats(p, &st) );
    if( round<3 ) CHECK( st.sz_cache<(512<<10) );
    if( round==2 ) REQUIRE_RC( VECDB_OK, vdb_pager_rollback(p) );
    else REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
    for(int i=0; i<500; i++){
      CHECK_INT( (i+(round==2 ? 1 : round))&0xff, fill_of(p, page[i]) );
    }
    REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  }
  crash_keeping(0);
  p = open_db();
  for(int i=0; i<500; i++) CHECK_INT( (i+3)&0xff, read_fill(p, page[i]) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
}

/* Before-images beyond the cache lie in a file without a name. */
TEST(spill__before_images_leave_memory){
  struct pager_config cfg = config();
  struct pager *p;
  page_no page[600];
  uint64_t sz_before, sz_most;
  struct vdb_mem_stats ms;
  unsigned n;

  cfg.sz_cache = 256<<10;             /* 60 pages */
  p = open_with(&cfg);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  for(int i=0; i<600; i++) page[i] = put_page(p, (unsigned char)i);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  for(int round=0; round<3; round++){
    struct pager_stats st;
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    vdb_mem_stats(&ms);
    sz_before = ms.sz_now;
    for(int k=0; k<3; k++){
      REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &n) );
      for(int i=k; i<600; i++) set_page(p, page[i], (unsigned char)(100+k));
    }
    vdb_mem_stats(&ms);
    sz_most = ms.sz_now;
    REQUIRE_RC( VECDB_OK, vdb_pager_stats(p, &st) );
    /* The world keeps its files in memory too: the log and the images. */
    CHECK( sz_most-sz_before<(1<<20)+2*(st.sz_wal+(12<<20)) );
    CHECK( st.sz_cache<(1<<20) );
    if( round==1 ) REQUIRE_RC( VECDB_OK, vdb_pager_release(p, 2) );
    if( round==2 ) REQUIRE_RC( VECDB_OK, vdb_pager_release(p, 0) );
    if( round<2 ){
      REQUIRE_RC( VECDB_OK, vdb_pager_rollback_to(p, 1) );
      for(int i=0; i<600; i++) CHECK_INT( 100, fill_of(p, page[i]) );
      REQUIRE_RC( VECDB_OK, vdb_pager_rollback_to(p, 0) );
      for(int i=0; i<600; i++) CHECK_INT( i&0xff, fill_of(p, page[i]) );
    }
    REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  }
  for(int i=0; i<600; i++){
    CHECK_INT( i<2 ? 100+i : 102, read_fill(p, page[i]) );
  }
  end_world();
}
