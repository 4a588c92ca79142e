/* t_parray_fail.c -- paged arrays when memory ends, reads fail or their root
** lies.
*/
#include "unit/lib_fail.h"
#include "pager/pager_int.h"
#include "pager/parray.h"

static page_no array;
enum { WIDTH = 512, N_ELEM = 20000 };
static unsigned char elem[WIDTH];

static struct pager *with_array(uint32_t width){
  struct pager *p = open_watched();
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  REQUIRE_RC( VECDB_OK, vdb_parray_create(p, width, &array) );
  memset(elem, 7, sizeof(elem));
  for(uint64_t i=0; i<N_ELEM; i+=4000){
    REQUIRE_RC( VECDB_OK, vdb_parray_put(p, array, i, 1, elem) );
  }
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  return p;
}

static int act_put(struct pager *p){
  return vdb_parray_put(p, array, 1, 1, elem);
}
static int act_clear_some(struct pager *p){
  int rc = vdb_parray_put(p, array, 1, 1, elem);
  return rc==VECDB_OK ? vdb_parray_clear(p, array, 0, 1) : rc;
}
static int act_clear_all(struct pager *p){
  return vdb_parray_clear(p, array, 0, UINT64_MAX);
}
static int act_gather(struct pager *p){
  static const uint32_t at[] = { 0, 4000, 8001, 4000000000u };
  unsigned char out[4*WIDTH];
  int rc = vdb_parray_gather(p, array, at, 4, out);
  if( rc==VECDB_OK ){
    CHECK_INT( 7, out[WIDTH] );
    CHECK_INT( 0, out[2*WIDTH] );
    CHECK_INT( 0, out[3*WIDTH] );
  }
  return rc;
}
static int act_get(struct pager *p){
  unsigned char out[WIDTH];
  return vdb_parray_get(p, array, 4000, 1, out);
}

/* Under a savepoint each page that changes needs memory for its image; without
** a cache each page is read. After a failure the array is as it was. */
TEST(parray__each_change_and_look_may_fail){
  static int (*const act[])(struct pager*) = { act_put, act_clear_some,
                                               act_clear_all, act_gather,
                                               act_get };
  for(int memory=0; memory<2; memory++){
    struct pager *p = with_array(WIDTH);
    for(size_t i=0; i<VDB_ARRAY_LEN(act); i++){
      for(int n=1; n<300; n++){
        unsigned char out[WIDTH];
        bool fired;
        unsigned sp;
        int rc;
        REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
        REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &sp) );
        if( !memory ) vdb_pager_forget(p, 0);
        if( memory ) vdb_mem_fail_at((uint64_t)n, false);
        else fail(CALL_READ, "", n-1, VECDB_IOERR_READ);
        rc = act[i](p);
        fired = memory ? vdb_mem_fail_at(0, false)>0 : fault.n==0;
        on_before = NULL;
        if( rc!=VECDB_OK ) CHECK_RC( memory ? VECDB_NOMEM : VECDB_IOERR_READ,
                                     rc );
        REQUIRE_RC( VECDB_OK, vdb_pager_rollback_to(p, sp) );
        REQUIRE_RC( VECDB_OK, vdb_parray_get(p, array, 4000, 1, out) );
        CHECK_MEM( elem, out, WIDTH );
        REQUIRE_RC( VECDB_OK, vdb_parray_get(p, array, 1, 1, out) );
        CHECK_INT( 0, out[0] );
        REQUIRE_RC( VECDB_OK, vdb_pager_rollback(p) );
        if( !fired ) break;
      }
    }
    end_world();
  }
}

/* An array that two owners claim. */
TEST(parray__one_that_is_reached_twice_is_reported){
  struct pager *p = with_array(WIDTH);
  struct census *c = NULL;
  uint64_t n_bad = 0;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  REQUIRE_RC( VECDB_OK, vdb_census_begin(p, false, NULL, NULL, &c) );
  CHECK_RC( VECDB_OK, vdb_parray_check(p, c, array, "one") );
  CHECK_RC( VECDB_OK, vdb_parray_check(p, c, array, "two") );
  REQUIRE_RC( VECDB_OK, vdb_census_end(c, &n_bad) );
  CHECK_U64( 1, n_bad );
  end_world();
}

/* Elements of no width, and a root that is higher than what it holds. */
TEST(parray__a_root_that_lies_is_told_or_mended){
  struct pager *p = with_array(WIDTH);
  struct page *pg = NULL;
  unsigned char out[WIDTH];
  unsigned sp;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  REQUIRE_RC( VECDB_OK, vdb_parray_clear(p, array, 0, UINT64_MAX) );
  REQUIRE_RC( VECDB_OK, vdb_page_get(p, array, PAGE_PARRAY_DIR, &pg) );
  put_u32(pg->data + PARRAYDIR_WIDTH, 0);
  CHECK_RC( VECDB_CORRUPT, vdb_parray_get(p, array, 0, 1, out) );
  put_u32(pg->data + PARRAYDIR_WIDTH, WIDTH);
  pg->data[PARRAYDIR_HEIGHT] = 2;
  vdb_page_unpin(p, pg);
  REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &sp) );
  vdb_mem_fail_at(1, false);
  CHECK_RC( VECDB_NOMEM, vdb_parray_clear(p, array, 0, UINT64_MAX) );
  vdb_mem_fail_at(0, false);
  CHECK_RC( VECDB_OK, vdb_parray_clear(p, array, 0, UINT64_MAX) );
  CHECK_RC( VECDB_OK, vdb_parray_put(p, array, 3, 1, elem) );
  CHECK_RC( VECDB_OK, vdb_parray_get(p, array, 3, 1, out) );
  CHECK_MEM( elem, out, WIDTH );
  end_world();
}
