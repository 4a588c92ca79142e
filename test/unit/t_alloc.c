/* t_alloc.c -- the free list, extents and savepoints when memory ends, reads
** fail, or bytes say what cannot be.
**
** What is tried is done again and again in one database, with the n-th
** allocation or read failing, until nothing fails any more. Each time the
** transaction is rolled back, and all must be as it was.
*/
#include "unit/lib_fail.h"
#include "pager/freelist.h"

static const unsigned char host[16] = "host of t_alloc";

/* ---- failures, one by one ------------------------------------------------ */

static int n_read_left;
static int fail_a_read(struct lab_event *e){
  if( e->call!=CALL_READ || n_read_left<=0 || --n_read_left>0 ) return VECDB_OK;
  return vdb_error(e->err, VECDB_IOERR_READ, "cannot read: injected");
}

static int fail_n;                     /* what fails .. */
static bool fail_memory;               /* .. an allocation, or a read */

static void failures_begin(void){
  if( fail_memory ) vdb_mem_fail_at((uint64_t)fail_n, false);
  n_read_left = fail_memory ? 0 : fail_n;
  on_before = fail_a_read;
}
static bool failures_end(void){
  on_before = NULL;
  return fail_memory ? vdb_mem_fail_at(0, false)>0 : n_read_left==0;
}

/* act is called inside of a write transaction; it calls failures_begin. */
static void each_failure(struct pager *p, page_no kept,
                         int (*act)(struct pager *p)){
  for(int kind=0; kind<2; kind++){
    fail_memory = kind==0;
    for(fail_n=1; fail_n<3000; fail_n++){
      bool fired;
      int rc;
      REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
      rc = act(p);
      fired = failures_end();
      if( rc!=VECDB_OK ){
        CHECK_RC( fail_memory ? VECDB_NOMEM : VECDB_IOERR_READ, rc );
      }
      REQUIRE_RC( VECDB_OK, vdb_pager_rollback(p) );
      CHECK_INT( 1, read_fill(p, kept) );
      if( !fired ){
        CHECK_RC( VECDB_OK, rc );
        break;
      }
    }
    CHECK( fail_n<3000 );
  }
}

/* ---- a free list of several pages ---------------------------------------- */

enum { N_FREE = 1000 };
static page_no kept;                   /* full of 1, before the free ones */
static const struct extent_spec spec_long = { 1, 4096, 64, 1 };
static unsigned char long_bytes[64*4096];

/* Neighbours that were freed apart from each other, and a free tail. */
static struct pager *with_many_free(void){
  struct pager *p = open_watched();
  page_no first, last;
  kept = create_page(p, 1);
  first = kept + 1;
  last = add_pages(p, N_FREE + 40);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  for(page_no odd=0; odd<2; odd++){
    for(page_no i=odd; i<N_FREE; i+=2) free_page(p, first+i);
  }
  for(page_no i=0; i<20; i++) free_page(p, last-i);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_TRUNCATE,
                                             NULL, NULL) );
  return p;
}

/* A cache of a few pages: what was read is read again. */
static void cache_of_few(struct pager *p){
  p->cache.sz_max = 4*4300;
  vdb_pager_forget(p, 0);
}

static int act_long_run(struct pager *p){
  page_no head;
  unsigned sp;
  int rc;
  if( !fail_memory ) cache_of_few(p);
  failures_begin();
  rc = fail_memory ? vdb_pager_savepoint(p, &sp) : VECDB_OK;
  if( rc==VECDB_OK ) rc = vdb_extent_create(p, &spec_long, long_bytes, &head);
  return rc;
}

/* Trunks are read to be kept for a savepoint. */
static int act_long_run_saved(struct pager *p){
  page_no head;
  unsigned sp;
  cache_of_few(p);
  REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &sp) );
  failures_begin();
  return vdb_extent_create(p, &spec_long, long_bytes, &head);
}

/* A run that fits, in the first trunk. */
static int act_short_run(struct pager *p){
  static const struct extent_spec spec = { 1, 4096, 8, 1 };
  page_no head;
  unsigned sp;
  REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &sp) );
  failures_begin();
  return vdb_extent_create(p, &spec, long_bytes, &head);
}

static int act_trim(struct pager *p){
  bool trimmed = false;
  unsigned sp;
  int rc;
  if( !fail_memory ) cache_of_few(p);
  failures_begin();
  rc = fail_memory ? vdb_pager_savepoint(p, &sp) : VECDB_OK;
  if( rc==VECDB_OK ) rc = vdb_alloc_trim(p, &trimmed);
  if( rc==VECDB_OK ) CHECK( trimmed );
  return rc;
}

static int act_census(struct pager *p){
  struct census *c = NULL;
  uint64_t n_bad;
  int rc;
  if( !fail_memory ) cache_of_few(p);
  failures_begin();
  rc = vdb_census_begin(p, false, NULL, NULL, &c);
  if( rc==VECDB_OK ) rc = vdb_census_end(c, &n_bad);
  return rc;
}

static int count_freed(void *arg, page_no pgno){
  VDB_UNUSED(pgno);
  return --*(int*)arg==0 ? VECDB_FULL : VECDB_OK;
}

static int act_each_freed(struct pager *p){
  int n = 100000;
  free_page(p, kept);
  if( !fail_memory ) cache_of_few(p);
  failures_begin();
  return vdb_alloc_each_freed(p, p->snap.txid_write, count_freed, &n);
}

TEST(freelist__merging_and_trimming_may_fail_anywhere){
  struct pager *p = with_many_free();
  page_no n_page;
  each_failure(p, kept, act_long_run);
  each_failure(p, kept, act_long_run_saved);
  each_failure(p, kept, act_short_run);
  each_failure(p, kept, act_trim);
  each_failure(p, kept, act_census);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  n_page = vdb_pager_n_page(p);
  fail_memory = true;
  fail_n = 0;
  CHECK_RC( VECDB_OK, act_long_run(p) );
  on_before = NULL;
  CHECK_U64( n_page, vdb_pager_n_page(p) );          /* merged and reused */
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  CHECK_INT( 1, read_fill(p, kept) );
  end_world();
}

static int act_none_freed(struct pager *p){
  int n = 100000;
  vdb_pager_forget(p, 0);
  failures_begin();
  return vdb_alloc_each_freed(p, p->snap.txid_write, count_freed, &n);
}

TEST(freelist__what_was_freed_is_told_until_somebody_objects){
  struct pager *p = with_many_free();
  int n = 2;
  each_failure(p, kept, act_each_freed);
  each_failure(p, kept, act_none_freed);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  for(page_no i=0; i<6; i++) free_page(p, kept + N_FREE + 3 + 2*i);
  CHECK_RC( VECDB_FULL, vdb_alloc_each_freed(p, p->snap.txid_write,
                                             count_freed, &n) );
  n = 1000;
  CHECK_RC( VECDB_OK, vdb_alloc_each_freed(p, p->snap.txid_write, count_freed,
                                           &n) );
  CHECK_INT( 1000-6, n );
  REQUIRE_RC( VECDB_OK, vdb_pager_rollback(p) );
  end_world();
}

/* A run that fits is taken from the first page of the list. */
TEST(freelist__the_latest_run_that_fits_is_taken){
  struct pager *p = with_many_free();
  page_no head, n_page, last;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  head = create_extent(p, 1, 64*4096);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  REQUIRE_RC( VECDB_OK, vdb_extent_free(p, head) );
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  last = add_pages(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL, NULL,
                                             NULL) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  n_page = vdb_pager_n_page(p);
  head = create_extent(p, 2, 60*4096);
  CHECK_U64( n_page, vdb_pager_n_page(p) );
  CHECK( extent_is(p, head, 2, 60*4096) );
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  CHECK_INT( 0, read_fill(p, last) );
  end_world();
}

/* ---- lists that lie ------------------------------------------------------ */

static struct page *trunk_change(struct pager *p){
  struct page *root = NULL, *trunk = NULL;
  REQUIRE_RC( VECDB_OK, vdb_root_page(p, &root) );
  REQUIRE_RC( VECDB_OK, vdb_page_get(p, get_u32(root->data + ROOT_FREE),
                                     PAGE_FREE, &trunk) );
  vdb_page_unpin(p, root);
  REQUIRE_RC( VECDB_OK, vdb_page_write(p, trunk) );
  return trunk;
}

TEST(freelist__a_lie_is_met_by_pages_runs_and_the_last_who_closes){
  struct pager *p = with_many_free();
  enum { LIE_ENTRY, LIE_NEXT, LIE_RING, LIE_TWICE, N_LIE };
  for(int lie=0; lie<N_LIE; lie++){
    struct page *trunk, *pg = NULL;
    bool trimmed;
    int rc, n = 100000;
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    trunk = trunk_change(p);
    if( lie==LIE_ENTRY ){
      put_u32(entry_at(trunk->data, get_u32(trunk->data + FREETRUNK_N)-1)
              + FREEENTRY_LENGTH, 0);
    }else if( lie==LIE_NEXT ){
      put_u32(trunk->data + FREETRUNK_N, 0);
      put_u32(trunk->data + FREETRUNK_NEXT, 99999);
    }else if( lie==LIE_RING ){
      put_u32(trunk->data + FREETRUNK_N, 0);
      put_u32(trunk->data + FREETRUNK_NEXT, trunk->pgno);
    }else{
      memcpy(entry_at(trunk->data, 0), entry_at(trunk->data, 1),
             FREEENTRY_SIZE);
    }
    vdb_page_unpin(p, trunk);
    CHECK_RC( VECDB_CORRUPT, vdb_alloc_trim(p, &trimmed) );
    rc = vdb_alloc_each_freed(p, p->snap.txid_write, count_freed, &n);
    CHECK_RC( lie<LIE_RING ? VECDB_CORRUPT : VECDB_OK, rc );
    if( lie==LIE_ENTRY ){
      CHECK_RC( VECDB_CORRUPT, vdb_page_new(p, PAGE_BTREE_LEAF, &pg) );
      REQUIRE_RC( VECDB_OK, vdb_page_get(p, kept, 0, &pg) );
      CHECK_RC( VECDB_CORRUPT, vdb_page_free(p, pg) );
      CHECK( strstr(err.msg, "names 0 pages")!=NULL );
    }
    REQUIRE_RC( VECDB_OK, vdb_pager_rollback(p) );
    CHECK_INT( 1, read_fill(p, kept) );
  }
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  {
    struct page *root = NULL;
    REQUIRE_RC( VECDB_OK, vdb_root_write(p, &root) );
    p->n_page = PAGER_NPAGE_MAX;
    put_u32(root->data + ROOT_NPAGE, p->n_page);
    vdb_page_unpin(p, root);
  }
  {
    page_no head;
    static const struct extent_spec more = { 1, 4096, 512, 1 };
    unsigned char *b = vdb_calloc(512, 4096);
    int rc = vdb_extent_create(p, &more, b, &head);
    CHECK_RC( VECDB_FULL, rc );
    vdb_free(b);
  }
  REQUIRE_RC( VECDB_OK, vdb_pager_rollback(p) );
  end_world();
}

/* ---- savepoints ---------------------------------------------------------- */

static page_no many[120];

static struct pager *with_many_pages(void){
  struct pager_config cfg = config();
  struct pager *p;
  cfg.file = layer;
  p = open_with(&cfg);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  for(size_t i=0; i<VDB_ARRAY_LEN(many); i++) many[i] = put_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  return p;
}

/* Images of an inner savepoint become those of the outer one. */
static int act_release(struct pager *p){
  unsigned sp;
  int rc;
  REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &sp) );
  set_page(p, many[0], 2);
  REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &sp) );
  for(int i=0; i<100; i++) set_page(p, many[i], 3);
  failures_begin();
  rc = vdb_pager_release(p, 1);
  (void)failures_end();
  if( rc!=VECDB_OK ){                  /* it is still there */
    CHECK_RC( VECDB_OK, vdb_pager_rollback_to(p, 1) );
    CHECK_INT( 2, fill_of(p, many[0]) );
  }
  failures_begin();
  return rc;
}

/* Pages that were dirty at the savepoint and have been spilled come back. */
static int act_reclaim(struct pager *p){
  unsigned sp;
  int rc;
  p->cache.sz_max = 12*4300;
  for(int i=0; i<8; i++) set_page(p, many[i], 2);
  REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &sp) );
  for(int i=20; i<100; i++) set_page(p, many[i], 3);
  failures_begin();
  rc = vdb_pager_rollback_to(p, sp);
  if( rc==VECDB_OK ) CHECK_INT( 2, fill_of(p, many[3]) );
  return rc;
}

/* The token goes into the root page, which needs an image. */
static int act_prepare(struct pager *p){
  unsigned sp;
  set_page(p, many[1], 2);
  REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &sp) );
  vdb_pager_forget(p, p->store->pg_first);
  failures_begin();
  return vdb_pager_prepare(p, host, 7);
}

TEST(save__images_may_fail_anywhere){
  struct pager *p = with_many_pages();
  each_failure(p, many[110], act_reclaim);
  fail_memory = true;
  each_failure(p, many[110], act_prepare);
  for(fail_n=1; fail_n<50; fail_n++){
    int rc;
    fail_memory = true;
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    rc = act_release(p);
    (void)failures_end();
    REQUIRE_RC( VECDB_OK, vdb_pager_rollback(p) );
    if( rc==VECDB_OK ) break;
    CHECK_RC( VECDB_NOMEM, rc );
  }
  CHECK( fail_n>1 && fail_n<50 );
  for(int i=0; i<100; i++) CHECK_INT( 1, read_fill(p, many[i]) );
  end_world();
}

/* After a prepare was undone in part, extents go behind all it had. */
static int act_behind_a_gap(struct pager *p){
  page_no head;
  unsigned sp;
  REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &sp) );
  for(int i=0; i<10; i++) put_page(p, 7);
  REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, 5) );
  REQUIRE_RC( VECDB_OK, vdb_pager_rollback_to(p, sp) );
  failures_begin();
  return vdb_extent_create(p, &spec_long, long_bytes, &head);
}

TEST(freelist__a_gap_may_fail_to_be_freed){
  struct pager *p = with_many_pages();
  each_failure(p, many[110], act_behind_a_gap);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  CHECK_U64( 0, findings(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  end_world();
}

/* ---- a database in memory ------------------------------------------------ */

TEST(pager__a_commit_in_memory_is_all_or_nothing){
  struct pager_config cfg;
  struct pager *p = NULL;
  page_no a;
  uint64_t n;
  memset(&cfg, 0, sizeof(cfg));
  REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, &err, &p) );
  a = create_page(p, 1);
  for(n=1; n<500; n++){
    struct page *pg = NULL;
    page_no head;
    unsigned sp;
    uint64_t fired;
    int rc;
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    set_page(p, a, 2);
    REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &sp) );
    vdb_mem_fail_at(n, false);
    rc = vdb_extent_create(p, &spec_long, long_bytes, &head);
    for(int i=0; i<40 && rc==VECDB_OK; i++){
      rc = vdb_page_new(p, PAGE_BTREE_LEAF, &pg);
      vdb_page_unpin(p, pg);
    }
    if( rc==VECDB_OK ) rc = vdb_pager_commit(p);
    fired = vdb_mem_fail_at(0, false);
    if( rc!=VECDB_OK ){
      CHECK_RC( VECDB_NOMEM, rc );
      REQUIRE_RC( VECDB_OK, vdb_pager_rollback(p) );
      CHECK_INT( 1, read_fill(p, a) );
      continue;
    }
    if( fired==0 ) break;
    commit_fill(p, a, 1);              /* it did without */
  }
  CHECK( n>10 && n<500 );
  CHECK_INT( 2, read_fill(p, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
}

/* Only the root is touched by it, under a savepoint. */
TEST(pager__a_commit_in_memory_needs_the_root){
  struct pager_config cfg;
  struct pager *p = NULL;
  page_no a;
  unsigned sp;
  memset(&cfg, 0, sizeof(cfg));
  REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, &err, &p) );
  a = create_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  set_page(p, a, 2);
  REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &sp) );
  vdb_mem_fail_at(1, false);
  CHECK_RC( VECDB_NOMEM, vdb_pager_commit(p) );
  vdb_mem_fail_at(0, false);
  CHECK_INT( PAGER_WRITE, vdb_pager_state(p) );
  CHECK_RC( VECDB_OK, vdb_pager_commit(p) );
  CHECK_INT( 2, read_fill(p, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
}

/* ---- extents ------------------------------------------------------------- */

static page_no extents[4];

static struct pager *with_extents(void){
  struct pager_config cfg = config();
  struct pager *p;
  cfg.file = layer;
  cfg.no_mmap = true;
  p = open_with(&cfg);
  kept = create_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  for(unsigned i=0; i<4; i++) extents[i] = create_extent(p, i+1, 20*4096);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  return p;
}

static int act_verify(struct pager *p){
  struct extent e;
  int rc = vdb_extent_pin_raw(p, extents[0], &e);
  REQUIRE_RC( VECDB_OK, rc );
  vdb_extents_forget(p);
  cache_of_few(p);
  for(int i=0; i<4; i++) CHECK_INT( 1, fill_of(p, kept) );
  vdb_pager_forget(p, 0);
  failures_begin();
  rc = vdb_extent_verify(p, &e, 4096, 10);
  if( rc==VECDB_OK ) rc = vdb_extent_verify(p, &e, 0, e.sz);
  vdb_extent_unpin(p, &e);
  return rc;
}

TEST(extent__verifying_may_fail_anywhere){
  struct pager *p = with_extents();
  each_failure(p, kept, act_verify);
  end_world();
}

/* Blocks in use are no victims; a held one outlives the transaction that made
** it, which was rolled back. */
TEST(extent__held_blocks_stay_though_the_cache_is_full){
  struct pager *p = with_extents();
  struct extent held[4], made;
  page_no head;
  p->cache.sz_max = 30*4096;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  for(unsigned i=0; i<4; i++){
    REQUIRE_RC( VECDB_OK, vdb_extent_hold(p, extents[i], &held[i]) );
  }
  head = create_extent(p, 9, 4096);
  REQUIRE_RC( VECDB_OK, vdb_extent_hold(p, head, &made) );
  vdb_extent_shrink(p);
  REQUIRE_RC( VECDB_OK, vdb_pager_rollback(p) );
  CHECK_U64( 4096, made.sz );
  for(unsigned i=0; i<4; i++) CHECK_U64( 20*4096, held[i].sz );
  vdb_extent_unpin(p, &made);
  for(unsigned i=0; i<4; i++) vdb_extent_unpin(p, &held[i]);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  CHECK_U64( head, create_extent(p, 8, 4096) );      /* the same name */
  CHECK( extent_is(p, head, 8, 4096) );
  for(unsigned i=0; i<4; i++) CHECK( extent_is(p, extents[i], i+1, 20*4096) );
  end_world();
}

/* Rot below the cache is found by a full check, not by a quick one. */
TEST(census__a_full_one_reads_what_is_stored){
  struct pager *p = with_extents();
  for(int quick=0; quick<2; quick++){
    struct census *c = NULL;
    struct image im;
    uint64_t n_bad = 0;
    if( quick==0 ){
      REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_TRUNCATE,
                                                 NULL, NULL) );
      CHECK_INT( 1, read_fill(p, kept) );            /* it is in the cache */
      REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
      CHECK( extent_is(p, extents[0], 1, 20*4096) );
      im = image_take("t.vdb");
      im.p[(size_t)kept*4096 + 100] ^= 1;
      for(size_t at=(size_t)(kept+1)*4096; at+4096<=im.n; at+=4096){
        im.p[at + 5] ^= 1;                           /* and all behind it */
      }
      image_put("t.vdb", im);
      vdb_free(im.p);
    }
    REQUIRE_RC( VECDB_OK, vdb_census_begin(p, quick, NULL, NULL, &c) );
    CHECK( vdb_census_page(c, kept, "page") );
    CHECK_RC( VECDB_OK, vdb_extent_check(p, c, extents[0], "extent") );
    REQUIRE_RC( VECDB_OK, vdb_census_end(c, &n_bad) );
    CHECK( quick ? n_bad==0 : n_bad>=2 );
  }
  end_world();
}

TEST(extent__a_lie_is_not_freed){
  struct pager *p = with_extents();
  struct page *pg = NULL;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  REQUIRE_RC( VECDB_OK, vdb_page_get(p, extents[0], PAGE_EXTENT, &pg) );
  REQUIRE_RC( VECDB_OK, vdb_page_write(p, pg) );
  put_u32(pg->data + EXTENT_STRIDE, 0);
  vdb_page_unpin(p, pg);
  CHECK_RC( VECDB_CORRUPT, vdb_extent_free(p, extents[0]) );
  REQUIRE_RC( VECDB_OK, vdb_pager_rollback(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  CHECK( extent_is(p, extents[0], 1, 20*4096) );
  end_world();
}
