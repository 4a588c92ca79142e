/* t_rules.c -- rules of use: settings, ranges, states, interruptions; for the
** pager on each of its stores, for extents, arrays and the census.
*/
#include "unit/lib_world.h"
#include "unit/lib_host.h"
#include "pager/pager_int.h"
#include "pager/parray.h"

static struct pager *open_mem(void){
  struct pager_config cfg;
  struct pager *p = NULL;
  memset(&cfg, 0, sizeof(cfg));
  REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, &err, &p) );
  return p;
}

/* ---- configuration and settings ------------------------------------------ */

TEST(pager__refuses_what_cannot_be_configured){
  static const uint32_t bad[] = { 1000, 3000, 5000, 131072 };
  struct pager_config cfg;
  struct pager *p = NULL;
  memset(&cfg, 0, sizeof(cfg));
  for(size_t i=0; i<VDB_ARRAY_LEN(bad); i++){
    cfg.sz_page = bad[i];
    CHECK_RC( VECDB_RANGE, vdb_pager_open(&cfg, &err, &p) );
  }
  cfg.sz_page = 0;
  cfg.sync = 3;
  CHECK_RC( VECDB_RANGE, vdb_pager_open(&cfg, &err, &p) );
  CHECK( strstr(err.msg, "sync is 3")!=NULL );
  CHECK( p==NULL );
}

/* A path says nothing when the database is in memory; nobody need listen. */
TEST(pager__in_memory_a_path_is_ignored){
  struct pager_config cfg = config();
  struct pager *p = NULL;
  cfg.open_flags = VECDB_OPEN_MEMORY;
  REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, NULL, &p) );
  CHECK_STR( "", vdb_pager_path(p) );
  CHECK( !vdb_pager_is_shared(p) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_commit(p) );
  CHECK( strstr(vdb_pager_err(p)->msg, "no write transaction")!=NULL );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
  CHECK( !exists("t.vdb") );
  end_world();
}

TEST(pager__settings_have_ranges){
  struct pager *p = open_db();
  CHECK_RC( VECDB_RANGE, vdb_pager_set(p, "busy_ms", -1) );
  CHECK_RC( VECDB_RANGE, vdb_pager_set(p, "busy_ms", (int64_t)1<<31) );
  CHECK_RC( VECDB_OK, vdb_pager_set(p, "busy_ms", INT32_MAX) );
  CHECK_RC( VECDB_RANGE, vdb_pager_set(p, "sync", -1) );
  CHECK_RC( VECDB_RANGE, vdb_pager_set(p, "sync", 3) );
  CHECK_RC( VECDB_OK, vdb_pager_set(p, "sync", VECDB_SYNC_OFF) );
  CHECK_RC( VECDB_RANGE, vdb_pager_set(p, "wal_bytes", -1) );
  CHECK_RC( VECDB_OK, vdb_pager_set(p, "wal_bytes", 0) );
  CHECK_RC( VECDB_OK, vdb_pager_set(p, "wal_bytes", 5000) );
  CHECK_RC( VECDB_NOTFOUND, vdb_pager_set(p, "busy", 1) );
  CHECK_RC( VECDB_RANGE, vdb_pager_checkpoint(p, -1, NULL, NULL) );
  CHECK_RC( VECDB_RANGE, vdb_pager_checkpoint(p, 4, NULL, NULL) );
  end_world();
}

/* ---- states -------------------------------------------------------------- */

TEST(pager__what_a_transaction_allows){
  struct pager *p = open_db();
  struct undo_tokens tokens;
  struct pager_stats st;
  struct census *c = NULL;
  bool undoable = true;
  unsigned n;
  CHECK_RC( VECDB_OK, vdb_pager_end_read(p) );           /* there is none */
  CHECK_RC( VECDB_MISUSE, vdb_census_begin(p, true, NULL, NULL, &c) );
  CHECK_RC( VECDB_MISUSE, vdb_root_set(p, ROOT_CATALOG, 1) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_savepoint(p, &n) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  CHECK( !vdb_pager_reads_undecided(p) );
  CHECK_RC( VECDB_OK, vdb_pager_stats(p, &st) );
  CHECK_RC( VECDB_OK, vdb_pager_backup(p, "b.vdb", NULL, NULL) );
  CHECK_RC( VECDB_OK, vdb_pager_undoable(p, &undoable, &tokens) );
  CHECK( !undoable );
  CHECK_RC( VECDB_MISUSE, vdb_pager_decide(p, true, false) );
  CHECK_RC( VECDB_OK, vdb_pager_commit(p) );             /* of a reader */
  CHECK_INT( PAGER_NONE, vdb_pager_state(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_backup(p, "c.vdb", NULL, NULL) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_checkpoint(p, 0, NULL, NULL) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_replace_file(p, "b.vdb") );
  CHECK_RC( VECDB_MISUSE, vdb_pager_begin_read_at(p, 1) );
  CHECK_RC( VECDB_OK, vdb_pager_decide(p, false, false) );   /* a rollback */
  CHECK_INT( PAGER_NONE, vdb_pager_state(p) );
  end_world();
}

TEST(pager__a_failed_sync_leaves_nothing_but_rollback){
  struct pager *p = open_db();
  struct page *pg = NULL;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  vdb_pager_poison(p);
  CHECK_RC( VECDB_IOERR_SYNC, vdb_page_get(p, 2, 0, &pg) );
  CHECK_RC( VECDB_IOERR_SYNC, vdb_page_new(p, PAGE_BTREE_LEAF, &pg) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_end_read(p) );
  CHECK_RC( VECDB_OK, vdb_pager_decide(p, false, false) );
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_begin_read_at(p, 1) );
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_rewind(p, 1, 1) );
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_checkpoint(p, 0, NULL, NULL) );
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_replace_file(p, "x.vdb") );
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_decide(p, true, false) );
  end_world();
}

TEST(pager__a_database_in_memory_has_no_two_phases){
  struct pager *p = open_mem();
  struct undo_tokens tokens;
  unsigned char h[16] = { 1 };
  bool yes = true;
  uint64_t token;
  struct pager_stats st;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  CHECK_RC( VECDB_UNSUPPORTED, vdb_pager_prepare(p, h, 1) );
  REQUIRE_RC( VECDB_OK, vdb_pager_rollback(p) );
  CHECK_RC( VECDB_OK, vdb_pager_in_doubt(p, &yes, h, &token) );
  CHECK( !yes );
  CHECK_RC( VECDB_OK, vdb_pager_undoable(p, &yes, &tokens) );
  CHECK( !yes );
  CHECK_RC( VECDB_UNSUPPORTED, vdb_pager_rewind(p, 1, 1) );
  CHECK_RC( VECDB_UNSUPPORTED, vdb_pager_decide(p, true, false) );
  CHECK_RC( VECDB_UNSUPPORTED, vdb_pager_begin_read_at(p, 1) );
  CHECK_RC( VECDB_UNSUPPORTED, vdb_pager_backup(p, "b", NULL, NULL) );
  CHECK_RC( VECDB_OK, vdb_pager_stats(p, &st) );
  CHECK_U64( 1, st.ckpt_txid );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
}

/* ---- pages --------------------------------------------------------------- */

TEST(page__freeing_what_is_in_use_is_corrupt){
  struct pager *p = open_db();
  struct page *pg = NULL, *again = NULL;
  page_no a;
  unsigned n;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  a = put_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_page_get(p, a, 0, &pg) );
  REQUIRE_RC( VECDB_OK, vdb_page_get(p, a, 0, &again) );
  CHECK_RC( VECDB_CORRUPT, vdb_page_free(p, pg) );       /* pinned twice */
  vdb_page_unpin(p, again);
  REQUIRE_RC( VECDB_OK, vdb_root_page(p, &pg) );
  CHECK_RC( VECDB_CORRUPT, vdb_page_free(p, pg) );       /* the root */
  REQUIRE_RC( VECDB_OK, vdb_page_get(p, a, 0, &pg) );
  REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &n) );
  CHECK_RC( VECDB_CORRUPT, vdb_alloc_free(p, a, 1, 1) );
  CHECK( strstr(err.msg, "in use and on the free list")!=NULL );
  vdb_page_unpin(p, pg);
  REQUIRE_RC( VECDB_OK, vdb_pager_rollback_to(p, n) );
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  REQUIRE_RC( VECDB_OK, vdb_page_get(p, a, 0, &pg) );
  CHECK_RC( VECDB_MISUSE, vdb_page_free(p, pg) );        /* only read */
  REQUIRE_RC( VECDB_OK, vdb_page_get(p, a, 0, &pg) );
  CHECK_RC( VECDB_MISUSE, vdb_page_write(p, pg) );
  vdb_page_unpin(p, pg);
  CHECK_RC( VECDB_CORRUPT, vdb_page_get(p, a, PAGE_COLLECTION, &pg) );
  CHECK_RC( VECDB_CORRUPT, vdb_page_get(p, 0, 0, &pg) );
  CHECK_RC( VECDB_CORRUPT, vdb_page_get(p, 999999, 0, &pg) );
  end_world();
}

/* The number of pages has an end, which is said before anything changes. */
TEST(page__a_file_of_all_page_numbers_is_full){
  struct pager *p = open_db();
  struct page *pg = NULL;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  REQUIRE_RC( VECDB_OK, vdb_root_write(p, &pg) );
  p->n_page = PAGER_NPAGE_MAX;
  put_u32(pg->data + ROOT_NPAGE, p->n_page);
  vdb_page_unpin(p, pg);
  CHECK_RC( VECDB_FULL, vdb_page_new(p, PAGE_BTREE_LEAF, &pg) );
  CHECK( strstr(err.msg, "is full: it has 4294967294 pages")!=NULL );
  REQUIRE_RC( VECDB_OK, vdb_pager_rollback(p) );
  end_world();
}

/* A page in the wrong place has a checksum that is right. */
TEST(page__in_the_place_of_another_is_noticed){
  struct pager *p = open_db();
  struct image im;
  page_no last = add_pages(p, 5);
  REQUIRE_RC( VECDB_OK, close_db(p) );
  im = image_take("t.vdb");
  memcpy(im.p + 4096*(size_t)last, im.p + 4096*(size_t)(last-1), 4096);
  im.p[4096*(size_t)(last-2) + 100] ^= 1;
  image_put("t.vdb", im);
  vdb_free(im.p);
  p = open_db();
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  CHECK_INT( -VECDB_CORRUPT_CHECKSUM, fill_of(p, last) );
  CHECK( strstr(err.msg, "it is marked as page")!=NULL );
  CHECK_INT( -VECDB_CORRUPT_CHECKSUM, fill_of(p, last-2) );
  CHECK( strstr(err.msg, "checksum is 0x")!=NULL );
  end_world();
}

/* ---- extents ------------------------------------------------------------- */

TEST(extent__has_a_size_that_is_possible){
  static const unsigned char b[64];
  struct pager *p = open_db();
  struct extent_spec spec = { 1, 0, 1, 1 };
  page_no head;
  CHECK_U64( 0, vdb_extent_capacity(0) );
  CHECK_U64( 0, vdb_extent_capacity(EXTENT_MAX_BYTES+1) );
  CHECK_U64( 1, vdb_extent_capacity(EXTENT_MAX_BYTES) );
  CHECK_U64( 2048, vdb_extent_capacity(1000) );
  CHECK_RC( VECDB_MISUSE, vdb_extent_create(p, &spec, b, &head) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  CHECK_RC( VECDB_TOOBIG, vdb_extent_create(p, &spec, b, &head) );
  spec.stride = EXTENT_MAX_BYTES;
  spec.n_rec = 2;
  CHECK_RC( VECDB_TOOBIG, vdb_extent_create(p, &spec, b, &head) );
  spec.stride = 64;
  spec.n_rec = 1;
  CHECK_RC( VECDB_OK, vdb_extent_create(p, &spec, b, &head) );
  CHECK_RC( VECDB_OK, vdb_pager_rollback(p) );
  CHECK_RC( VECDB_MISUSE, vdb_extent_free(p, head) );
  end_world();
}

/* Pins are let go of at the end of a transaction, held ones with the pager;
** each may be returned later, in any order. */
TEST(extent__pins_that_were_forgotten_keep_nothing){
  for(int no_mmap=0; no_mmap<2; no_mmap++){
    struct pager_config cfg = config();
    struct extent e[3], held[2];
    struct pager *p;
    page_no head;
    cfg.no_mmap = no_mmap;
    p = open_with(&cfg);
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    head = create_extent(p, 1, 8192);
    REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
    for(int i=0; i<3; i++) REQUIRE_RC( VECDB_OK,
                                       vdb_extent_pin(p, head, &e[i]) );
    for(int i=0; i<2; i++) REQUIRE_RC( VECDB_OK,
                                       vdb_extent_hold(p, head, &held[i]) );
    vdb_extent_unpin(p, &e[1]);
    REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
    vdb_extent_unpin(p, &e[2]);
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
    CHECK( extent_is(p, head, 1, 8192) );
    CHECK_MEM( held[0].data, held[1].data, 8192 );
    REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
    end_world();                           /* e[0] and both held with it */
  }
}

/* ---- arrays -------------------------------------------------------------- */

static int count_runs(void *arg, uint64_t i, size_t n,
                      const unsigned char *data){
  int *left = arg;
  VDB_UNUSED(i); VDB_UNUSED(n); VDB_UNUSED(data);
  return --*left<0 ? VECDB_INTERRUPT : VECDB_OK;
}

/* A scan stops at the first call that says so, wherever that is. */
TEST(parray__a_scan_can_be_stopped_anywhere){
  static const uint32_t widths[] = { 8, 9000 };
  static unsigned char b[9000];
  memset(b, 1, sizeof(b));
  for(int k=0; k<2; k++){
    struct pager *p = open_mem();
    page_no root;
    int n_run = 1000, n_all;
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    REQUIRE_RC( VECDB_OK, vdb_parray_create(p, widths[k], &root) );
    for(uint64_t i=3; i<4000; i+=1300){
      REQUIRE_RC( VECDB_OK, vdb_parray_put(p, root, i, 1, b) );
    }
    REQUIRE_RC( VECDB_OK, vdb_parray_scan(p, root, 0, 9000, count_runs,
                                          &n_run) );
    n_all = 1000-n_run;
    CHECK( n_all>=5 );
    n_run = 0;
    CHECK_RC( VECDB_INTERRUPT, vdb_parray_scan(p, root, 5000, UINT64_MAX,
                                               count_runs, &n_run) );
    for(int n=0; n<n_all; n++){
      int left = n;
      CHECK_RC( VECDB_INTERRUPT, vdb_parray_scan(p, root, 0, 9000, count_runs,
                                                 &left) );
    }
    REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
  }
}

TEST(parray__has_numbers_that_are_possible){
  struct pager *p = open_mem();
  uint64_t v = 7;
  page_no root, bad;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  CHECK_RC( VECDB_RANGE, vdb_parray_create(p, 0, &bad) );
  CHECK_RC( VECDB_RANGE, vdb_parray_create(p, PARRAY_WIDTH_MAX+1, &bad) );
  REQUIRE_RC( VECDB_OK, vdb_parray_create(p, 8, &root) );
  CHECK_RC( VECDB_OK, vdb_parray_put(p, root, UINT64_MAX, 0, &v) );
  CHECK_RC( VECDB_RANGE, vdb_parray_put(p, root, UINT64_MAX, 1, &v) );
  CHECK_RC( VECDB_RANGE, vdb_parray_put(p, root, 5, SIZE_MAX/8, &v) );
  CHECK_RC( VECDB_OK, vdb_parray_put(p, root, 5, 1, &v) );
  v = 1;
  CHECK_RC( VECDB_OK, vdb_parray_get(p, root, UINT64_MAX, 1, &v) );
  CHECK_U64( 0, v );
  CHECK_RC( VECDB_OK, vdb_parray_get(p, root, 3000000, 1, &v) );
  CHECK_U64( 0, v );
  CHECK_RC( VECDB_OK, vdb_parray_get(p, root, 5, 1, &v) );
  CHECK_U64( 7, v );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
}

TEST(parray__directories_that_cannot_be_are_corrupt){
  struct pager *p = open_mem();
  struct page *pg = NULL;
  page_no root, dir;
  uint64_t v = 7;
  unsigned sp;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  REQUIRE_RC( VECDB_OK, vdb_parray_create(p, 8, &root) );
  REQUIRE_RC( VECDB_OK, vdb_parray_put(p, root, 5, 1, &v) );
  REQUIRE_RC( VECDB_OK, vdb_parray_put(p, root, 5000000, 1, &v) );
  REQUIRE_RC( VECDB_OK, vdb_page_get(p, root, PAGE_PARRAY_DIR, &pg) );
  dir = get_u32(pg->data + PARRAYDIR_SIZE);
  vdb_page_unpin(p, pg);
  for(int lie=0; lie<6; lie++){
    REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &sp) );
    REQUIRE_RC( VECDB_OK, vdb_page_get(p, lie<3 ? root : dir, PAGE_PARRAY_DIR,
                                       &pg) );
    REQUIRE_RC( VECDB_OK, vdb_page_write(p, pg) );
    switch( lie ){
      case 0:  put_u32(pg->data + PARRAYDIR_WIDTH, 0); break;
      case 1:  put_u32(pg->data + PARRAYDIR_WIDTH, PARRAY_WIDTH_MAX+1); break;
      case 2:  pg->data[PARRAYDIR_HEIGHT] = 9; break;
      case 3:  put_u32(pg->data + PARRAYDIR_WIDTH, 16); break;
      case 4:  pg->data[PARRAYDIR_HEIGHT] = 2; break;
      default: put_u16(pg->data + PARRAYDIR_USED, 0);
    }
    vdb_page_unpin(p, pg);
    CHECK_RC( VECDB_CORRUPT, vdb_parray_get(p, root, 5, 1, &v) );
    CHECK_RC( VECDB_CORRUPT, vdb_parray_put(p, root, 6, 1, &v) );
    CHECK_RC( VECDB_CORRUPT, vdb_parray_clear(p, root, 0, 10) );
    REQUIRE_RC( VECDB_OK, vdb_pager_rollback_to(p, sp) );
    REQUIRE_RC( VECDB_OK, vdb_pager_release(p, sp) );
  }
  CHECK_RC( VECDB_OK, vdb_parray_get(p, root, 5, 1, &v) );
  CHECK_U64( 7, v );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
}

/* A root that says 0 entries are used although one is: it has no room left to
** give up. */
TEST(parray__a_root_that_undercounts_is_corrupt){
  struct pager *p = open_mem();
  struct page *pg = NULL;
  page_no root;
  uint64_t v = 7;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  REQUIRE_RC( VECDB_OK, vdb_parray_create(p, 8, &root) );
  REQUIRE_RC( VECDB_OK, vdb_parray_put(p, root, 5, 1, &v) );
  REQUIRE_RC( VECDB_OK, vdb_page_get(p, root, PAGE_PARRAY_DIR, &pg) );
  REQUIRE_RC( VECDB_OK, vdb_page_write(p, pg) );
  put_u16(pg->data + PARRAYDIR_USED, 0);
  vdb_page_unpin(p, pg);
  CHECK_RC( VECDB_CORRUPT, vdb_parray_clear(p, root, 0, 10) );
  CHECK( strstr(err.msg, "of an unused directory")!=NULL );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
}

TEST(parray__stops_when_interrupted){
  static volatile int stop;
  struct pager_config cfg;
  struct pager *p = NULL;
  struct census *c = NULL;
  page_no root;
  uint64_t v = 7, n;
  int left = 9;
  memset(&cfg, 0, sizeof(cfg));
  cfg.interrupted = &stop;
  REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, &err, &p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  REQUIRE_RC( VECDB_OK, vdb_parray_create(p, 8, &root) );
  REQUIRE_RC( VECDB_OK, vdb_parray_put(p, root, 5, 1, &v) );
  stop = 1;
  CHECK_RC( VECDB_INTERRUPT, vdb_parray_scan(p, root, 0, 10, count_runs,
                                             &left) );
  CHECK_RC( VECDB_INTERRUPT, vdb_parray_clear(p, root, 0, 10) );
  REQUIRE_RC( VECDB_OK, vdb_census_begin(p, true, NULL, NULL, &c) );
  CHECK_RC( VECDB_INTERRUPT, vdb_parray_check(p, c, root, "array") );
  stop = 0;
  REQUIRE_RC( VECDB_OK, vdb_census_end(c, &n) );
  CHECK_RC( VECDB_OK, vdb_parray_get(p, root, 5, 1, &v) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
}

/* ---- the census ---------------------------------------------------------- */

static void count_leaks(void *arg, int severity, const char *object,
                        const char *message){
  int *n = arg;
  VDB_UNUSED(object); VDB_UNUSED(message);
  n[severity]++;
}

/* Runs as long as a file says it is, whole leaves of the bitmap in them, cost
** nothing; what is reached twice, or lies beyond, is told. */
TEST(census__long_runs_of_pages_are_marked_at_once){
  struct pager *p = open_mem();
  struct census *c = NULL;
  uint64_t n_bad;
  int n[3] = { 0, 0, 0 };
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  p->n_page = 5*32768 + 100;
  REQUIRE_RC( VECDB_OK, vdb_census_begin(p, true, count_leaks, n, &c) );
  vdb_census_run(c, 1000, 3*32768, "run");
  CHECK( !vdb_census_page(c, 2*32768, "again") );
  CHECK( !vdb_census_page(c, 999+3*32768, "again") );
  CHECK( vdb_census_page(c, 1000+3*32768, "next") );
  CHECK_INT( 2, n[2] );
  vdb_census_run(c, 2*32768, 32768, "again");
  CHECK_INT( 3, n[2] );
  vdb_census_run(c, 4*32768, 10*32768, "beyond");    /* as far as it goes */
  CHECK_INT( 4, n[2] );
  vdb_census_run(c, 7*32768, 32768, "far beyond");
  CHECK_INT( 5, n[2] );
  p->n_page = 2;
  REQUIRE_RC( VECDB_OK, vdb_census_end(c, &n_bad) );
  CHECK( n_bad>=5 );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
}

/* Leaks are told one by one, but not for ever. */
TEST(census__many_leaks_are_summed_up){
  struct pager *p = open_db();
  struct census *c = NULL;
  page_no last = add_pages(p, 60);
  uint64_t n_bad;
  int n[3] = { 0, 0, 0 };
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  REQUIRE_RC( VECDB_OK, vdb_census_begin(p, true, count_leaks, n, &c) );
  for(page_no i=last-59; i<=last; i+=2) vdb_census_page(c, i, "page");
  REQUIRE_RC( VECDB_OK, vdb_census_end(c, &n_bad) );
  CHECK_U64( 0, n_bad );
  CHECK_INT( 17, n[1] );
  end_world();
}

/* Without memory the marks are lost: the census says so at its end. */
TEST(census__running_out_of_memory_is_its_result){
  struct pager *p = open_mem();
  struct census *c = NULL;
  uint64_t n_bad;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  p->n_page = 3*32768;
  REQUIRE_RC( VECDB_OK, vdb_census_begin(p, true, NULL, NULL, &c) );
  vdb_mem_fail_at(1, true);
  CHECK( !vdb_census_page(c, 40000, "page") );
  CHECK( !vdb_census_page(c, 80000, "page") );
  vdb_mem_fail_at(0, false);
  CHECK_RC( VECDB_NOMEM, vdb_census_end(c, &n_bad) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
}

/* ---- parts of the pager by themselves ------------------------------------ */

TEST(pgset__counts_a_member_once){
  struct pgset s = { NULL, 0, 0 };
  for(int k=0; k<2; k++){
    for(page_no i=1; i<100; i++) REQUIRE_RC( VECDB_OK, vdb_pgset_add(&s, i) );
  }
  CHECK_U64( 99, s.n );
  CHECK( vdb_pgset_has(&s, 99) && !vdb_pgset_has(&s, 100) );
  vdb_pgset_clear(&s);
}

/* A page may become clean while somebody holds it; it can go afterwards. */
TEST(pcache__a_page_in_use_is_in_no_list_when_clean){
  struct pcache pc;
  struct cpage *cp = NULL;
  REQUIRE_RC( VECDB_OK, vdb_pcache_init(&pc, 4096, 100000) );
  REQUIRE_RC( VECDB_OK, vdb_pcache_add(&pc, 7, &cp) );
  vdb_pcache_set_dirty(&pc, cp);
  vdb_pcache_set_clean(&pc, cp);
  vdb_pcache_set_clean(&pc, cp);
  CHECK( pc.lru.first==NULL && pc.dirty.first==NULL );
  vdb_pcache_unpin(&pc, cp);
  CHECK( pc.lru.first==cp );
  vdb_pcache_clear(&pc);
}

/* ---- extents in memory --------------------------------------------------- */

/* A directory page that names an extent the store has not got. */
TEST(extent__in_memory_a_wrong_number_is_corrupt){
  struct pager *p = open_mem();
  struct page *pg = NULL;
  struct extent e;
  page_no head;
  static const uint64_t wrong[] = { 0, 5, 99999 };
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  for(size_t i=0; i<VDB_ARRAY_LEN(wrong); i++){
    head = create_extent(p, 1, 8192);
    REQUIRE_RC( VECDB_OK, vdb_page_get(p, head, PAGE_EXTENT, &pg) );
    REQUIRE_RC( VECDB_OK, vdb_page_write(p, pg) );
    put_u64(pg->data + EXTENT_START, wrong[i]);
    vdb_page_unpin(p, pg);
    CHECK_RC( VECDB_CORRUPT, vdb_extent_pin(p, head, &e) );
    CHECK( strstr(err.msg, "does not exist")!=NULL );
    REQUIRE_RC( VECDB_OK, vdb_extent_free(p, head) );
  }
  head = create_extent(p, 1, 4096);        /* there, but shorter than said */
  REQUIRE_RC( VECDB_OK, vdb_page_get(p, head, PAGE_EXTENT, &pg) );
  REQUIRE_RC( VECDB_OK, vdb_page_write(p, pg) );
  put_u32(pg->data + EXTENT_NREC, 128);
  put_u32(pg->data + EXTENT_NCRC, 2);
  vdb_page_unpin(p, pg);
  CHECK_RC( VECDB_CORRUPT, vdb_extent_pin(p, head, &e) );
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
}

/* A file that grows is mapped anew; what was held stays where it is. */
TEST(extent__held_ones_stay_while_the_file_grows){
  struct pager *p = open_db();
  struct extent held[4];
  page_no head[4];
  for(int i=0; i<4; i++){
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    head[i] = create_extent(p, (uint64_t)i, 128*1024);
    REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
    REQUIRE_RC( VECDB_OK, vdb_extent_hold(p, head[i], &held[i]) );
    REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  }
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  for(int i=0; i<4; i++) CHECK( extent_is(p, head[i], (uint64_t)i, 128*1024) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  for(int i=0; i<4; i++) vdb_extent_unpin(p, &held[(i*3)%4]);
  end_world();
}

/* ---- savepoints, spilling ------------------------------------------------ */

TEST(spill__goes_on_in_batches){
  struct pager_config cfg = config();
  struct pager *p;
  page_no page[700];
  cfg.sz_cache = 2<<20;
  p = open_with(&cfg);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  for(int i=0; i<700; i++) page[i] = put_page(p, (unsigned char)i);
  for(int i=0; i<700; i++) CHECK_INT( i&0xff, fill_of(p, page[i]) );
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  for(int i=0; i<700; i+=50) CHECK_INT( i&0xff, read_fill(p, page[i]) );
  end_world();
}

/* Pages that a host would undo by itself stay here: the cache grows. */
TEST(spill__spares_what_a_shared_savepoint_needs){
  struct host *h = host_create();
  struct pager_config cfg;
  struct pager *p = NULL;
  struct pager_stats st;
  page_no page[90];
  unsigned n;
  memset(&cfg, 0, sizeof(cfg));
  cfg.store = &h->ops;
  cfg.sz_cache = 1;
  REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, &err, &p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  for(int i=0; i<50; i++) page[i] = put_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &n) );
  vdb_pager_share_savepoint(p, n);
  vdb_pager_share_savepoint(p, n+1);       /* there is none */
  for(int i=50; i<90; i++) page[i] = put_page(p, 2);
  for(int i=0; i<50; i++) CHECK_INT( 1, fill_of(p, page[i]) );
  for(int i=0; i<50; i++) CHECK( h->page[page[i]].p==NULL );
  CHECK_RC( VECDB_OK, vdb_pager_stats(p, &st) );
  REQUIRE_RC( VECDB_OK, vdb_pager_rollback_to(p, n) );
  for(int i=0; i<50; i++) CHECK_INT( 1, fill_of(p, page[i]) );
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_release(p, 0) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_rollback_to(p, 0) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_prepare(p, (unsigned char*)
                                            "0123456789abcde", 1) );
  for(int i=0; i<50; i++) CHECK_INT( 1, read_fill(p, page[i]) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
  host_destroy(h);
}

/* A root page of a host that says there are no pages. */
TEST(host__a_page_count_below_the_root_is_corrupt){
  struct host *h = host_create();
  struct pager_config cfg;
  struct pager *p = NULL;
  memset(&cfg, 0, sizeof(cfg));
  cfg.store = &h->ops;
  REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, &err, &p) );
  (void)create_page(p, 1);
  put_u32(h->page[1].p + ROOT_NPAGE, 1);
  vdb_page_seal(h->page[1].p, HOST_PAGE, 1, 2);
  h->version++;
  CHECK_RC( VECDB_CORRUPT, vdb_pager_begin_read(p) );
  CHECK_RC( VECDB_CORRUPT, vdb_pager_begin_write(p) );
  CHECK_INT( PAGER_NONE, vdb_pager_state(p) );
  h->page[1].p[100] ^= 1;
  h->version++;
  CHECK_RC( VECDB_CORRUPT_CHECKSUM, vdb_pager_begin_read(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
  host_destroy(h);
}

/* ---- waiting ------------------------------------------------------------- */

TEST(lock__waiting_ends_when_interrupted){
  static volatile int stop = 1;
  struct pager_config cfg = config();
  struct pager *p = open_db(), *q;
  int64_t begin = world->now_ms(world->env);
  cfg.busy_ms = 100000;
  cfg.interrupted = &stop;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  q = open_with(&cfg);
  CHECK_RC( VECDB_BUSY, vdb_pager_begin_write(q) );
  CHECK( world->now_ms(world->env)<begin+1000 );
  end_world();
}

/* ---- backup -------------------------------------------------------------- */

static int backup_progress(void *arg, const char *phase, const char *unit,
                           uint64_t done, uint64_t total){
  int *left = arg;
  CHECK_STR( "backup", phase );
  CHECK_STR( "pages", unit );
  CHECK( done<total );
  return --*left<0;
}

TEST(backup__can_be_stopped){
  static volatile int stop;
  struct pager_config cfg = config();
  struct pager *p;
  int left = 99;
  cfg.interrupted = &stop;
  p = open_with(&cfg);
  add_pages(p, 700);                       /* more than is copied at once */
  CHECK_RC( VECDB_OK, vdb_pager_backup(p, "a.vdb", backup_progress, &left) );
  CHECK_INT( 96, left );
  left = 1;
  CHECK_RC( VECDB_INTERRUPT, vdb_pager_backup(p, "b.vdb", backup_progress,
                                              &left) );
  CHECK( !exists("b.vdb") );
  stop = 1;
  CHECK_RC( VECDB_INTERRUPT, vdb_pager_backup(p, "b.vdb", NULL, NULL) );
  CHECK( !exists("b.vdb") );
  stop = 0;
  CHECK_RC( VECDB_OK, vdb_pager_backup(p, "b.vdb", NULL, NULL) );
  end_world();
}
