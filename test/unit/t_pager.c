/* t_pager.c -- transactions, savepoints, allocation, extents, on every store.
*/
#include "unit/lib_pages.h"
#include "pager/file.h"

static struct pager *open_mem(void){
  struct pager_config cfg;
  struct pager *p = NULL;
  memset(&cfg, 0, sizeof(cfg));
  REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, &err, &p) );
  return p;
}

TEST(pager__keeps_committed_pages_and_forgets_rolled_back_ones){
  struct pager *p = open_mem();
  page_no a, b;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  a = put_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  set_page(p, a, 2);
  b = put_page(p, 3);
  REQUIRE_RC( VECDB_OK, vdb_pager_rollback(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  CHECK_INT( 1, fill_of(p, a) );
  CHECK( 0>fill_of(p, b) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  CHECK_RC( VECDB_OK, vdb_pager_close(p) );
}

TEST(pager__nests_savepoints){
  struct pager *p = open_mem();
  page_no a, b;
  unsigned n;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  a = put_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &n) );
  CHECK_INT( 0, n );
  set_page(p, a, 2);
  REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &n) );
  CHECK_INT( 1, n );
  set_page(p, a, 3);
  b = put_page(p, 4);
  REQUIRE_RC( VECDB_OK, vdb_pager_rollback_to(p, 1) );
  CHECK_INT( 2, fill_of(p, a) );
  CHECK( 0>fill_of(p, b) );
  b = put_page(p, 5);
  REQUIRE_RC( VECDB_OK, vdb_pager_release(p, 1) );
  CHECK_INT( 1, vdb_pager_n_savepoint(p) );
  CHECK_INT( 5, fill_of(p, b) );
  REQUIRE_RC( VECDB_OK, vdb_pager_rollback_to(p, 0) );
  CHECK_INT( 1, fill_of(p, a) );
  CHECK( 0>fill_of(p, b) );
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  CHECK_RC( VECDB_OK, vdb_pager_close(p) );
}

struct bad { uint64_t n; };
static void count_bad(void *arg, int severity, const char *object,
                      const char *message){
  struct bad *b = arg;
  if( severity>=1 ){
    b->n++;
    printf("  %s: %s\n", object, message);
  }
}

/* Free and reuse many pages in every order; nothing leaks. */
TEST(pager__free_list_survives_random_use){
  struct pager *p = open_mem();
  struct vdb_rng rng;
  struct census *c;
  struct bad bad = { 0 };
  page_no page[2000];
  unsigned char fill[2000];
  size_t n = 0;
  uint64_t n_bad;

  vdb_rng_init(&rng, vt_seed());
  for(int txn=0; txn<60; txn++){
    size_t n_before = n;
    page_no page_before[2000];
    unsigned char fill_before[2000];
    bool grow = vdb_rng_below(&rng, 2);
    memcpy(page_before, page, sizeof(page));
    memcpy(fill_before, fill, sizeof(fill));
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    for(int i=0; i<200; i++){
      if( (grow || vdb_rng_below(&rng, 4)==0) && n<2000 ){
        fill[n] = (unsigned char)vdb_rng_below(&rng, 250);
        page[n] = put_page(p, fill[n]);
        n++;
      }else if( n>0 ){
        size_t k = vdb_rng_below(&rng, (uint32_t)n);
        free_page(p, page[k]);
        page[k] = page[--n];
        fill[k] = fill[n];
      }
    }
    if( vdb_rng_below(&rng, 3)==0 ){
      REQUIRE_RC( VECDB_OK, vdb_pager_rollback(p) );
      memcpy(page, page_before, sizeof(page));
      memcpy(fill, fill_before, sizeof(fill));
      n = n_before;
    }else{
      REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
    }
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
    REQUIRE_RC( VECDB_OK, vdb_census_begin(p, false, count_bad, &bad, &c) );
    for(size_t i=0; i<n; i++){
      CHECK( vdb_census_page(c, page[i], "test") );
      CHECK_INT( fill[i], fill_of(p, page[i]) );
    }
    REQUIRE_RC( VECDB_OK, vdb_census_end(c, &n_bad) );
    REQUIRE_U64( 0, n_bad );
    REQUIRE_U64( 0, bad.n );
    REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  }
  CHECK_RC( VECDB_OK, vdb_pager_close(p) );
}

TEST(extent__is_created_pinned_and_freed){
  struct pager *p = open_mem();
  struct extent_spec spec = { 7, 100, 1000, 42 };
  struct extent e;
  unsigned char *bytes = vdb_malloc(100000);
  struct vdb_rng rng;
  page_no head;

  vdb_rng_init(&rng, vt_seed());
  for(int i=0; i<100000; i++) bytes[i] = (unsigned char)vdb_rng_u64(&rng);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  REQUIRE_RC( VECDB_OK, vdb_extent_create(p, &spec, bytes, &head) );
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  REQUIRE_RC( VECDB_OK, vdb_extent_pin(p, head, &e) );
  CHECK_U64( 100000, e.sz );
  CHECK_U64( 42, e.spec.owner );
  CHECK_MEM( bytes, e.data, 100000 );
  CHECK( (uintptr_t)e.data%64==0 );
  vdb_extent_unpin(p, &e);
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  REQUIRE_RC( VECDB_OK, vdb_extent_free(p, head) );
  REQUIRE_RC( VECDB_OK, vdb_pager_rollback(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  REQUIRE_RC( VECDB_OK, vdb_extent_pin(p, head, &e) );
  CHECK_MEM( bytes, e.data, 100000 );
  vdb_extent_unpin(p, &e);
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  CHECK_RC( VECDB_OK, vdb_pager_close(p) );
  vdb_free(bytes);
}

TEST(pager__version_follows_the_state_that_is_seen){
  struct pager *p = open_mem();
  uint64_t v0, v1;
  unsigned n;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  v0 = vdb_pager_version(p);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  CHECK_U64( v0, vdb_pager_version(p) );
  put_page(p, 1);
  vdb_pager_touch(p);
  REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &n) );
  v1 = vdb_pager_version(p);
  CHECK( v1!=v0 );
  vdb_pager_touch(p);
  CHECK( vdb_pager_version(p)!=v1 );
  REQUIRE_RC( VECDB_OK, vdb_pager_rollback_to(p, 0) );
  CHECK_U64( v1, vdb_pager_version(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_rollback(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  CHECK_U64( v0, vdb_pager_version(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  put_page(p, 1);
  vdb_pager_touch(p);
  v1 = vdb_pager_version(p);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  CHECK_U64( v1, vdb_pager_version(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  CHECK_RC( VECDB_OK, vdb_pager_close(p) );
}
