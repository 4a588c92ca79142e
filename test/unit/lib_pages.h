/* lib_pages.h -- pages and extents with contents that can be told again.
**
** Used by   the tests of the pager, whatever its store.
*/
#ifndef LIB_PAGES_H
#define LIB_PAGES_H
#include "vt.h"
#include "util/common.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/rng.h"
#include "pager/extent.h"
#include "pager/pager.h"

static struct vdb_err err;             /* of every pager of the test */

/* A new page full of one byte. */
static inline page_no put_page(struct pager *p, unsigned char fill){
  struct page *pg = NULL;
  page_no pgno;
  REQUIRE_RC( VECDB_OK, vdb_page_new(p, PAGE_BTREE_LEAF, &pg) );
  memset(pg->data+PAGE_CONTENT, fill, vdb_pager_usable(p)-PAGE_CONTENT);
  pgno = pg->pgno;
  vdb_page_unpin(p, pg);
  return pgno;
}

static inline void set_page(struct pager *p, page_no pgno, unsigned char fill){
  struct page *pg = NULL;
  REQUIRE_RC( VECDB_OK, vdb_page_get(p, pgno, PAGE_BTREE_LEAF, &pg) );
  REQUIRE_RC( VECDB_OK, vdb_page_write(p, pg) );
  memset(pg->data+PAGE_CONTENT, fill, vdb_pager_usable(p)-PAGE_CONTENT);
  vdb_page_unpin(p, pg);
}

/* The byte a page is full of, -1 when it is not, -rc when it cannot be read.
*/
static inline int fill_of(struct pager *p, page_no pgno){
  struct page *pg = NULL;
  int fill, rc = vdb_page_get(p, pgno, PAGE_BTREE_LEAF, &pg);
  if( rc!=VECDB_OK ) return -rc;
  fill = pg->data[PAGE_CONTENT];
  for(uint32_t i=PAGE_CONTENT; i<vdb_pager_usable(p); i++){
    if( pg->data[i]!=fill ) fill = -1;
  }
  vdb_page_unpin(p, pg);
  return fill;
}

static inline void free_page(struct pager *p, page_no pgno){
  struct page *pg = NULL;
  REQUIRE_RC( VECDB_OK, vdb_page_get(p, pgno, 0, &pg) );
  REQUIRE_RC( VECDB_OK, vdb_page_free(p, pg) );
}

/* One page changed in a transaction of its own. */
static inline void commit_fill(struct pager *p, page_no pgno, unsigned char fill){
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  set_page(p, pgno, fill);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
}

static inline int read_fill(struct pager *p, page_no pgno){
  int fill;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  fill = fill_of(p, pgno);
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  return fill;
}

static inline page_no create_page(struct pager *p, unsigned char fill){
  page_no pgno;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  pgno = put_page(p, fill);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  return pgno;
}

/* A transaction that adds n pages; returns the last. */
static inline page_no add_pages(struct pager *p, int n){
  page_no pgno = 0;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  for(int i=0; i<n; i++) pgno = put_page(p, 0);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  return pgno;
}

static inline bool has_page(struct pager *p, page_no pgno){
  return read_fill(p, pgno)>=0;
}

/* An extent of n bytes that follow from the seed. */
static inline page_no create_extent(struct pager *p, uint64_t seed, uint32_t n){
  struct extent_spec spec = { 1, 64, n/64, 1 };
  unsigned char *b = vdb_malloc(n);
  struct vdb_rng rng;
  page_no head = 0;
  vdb_rng_init(&rng, seed);
  for(uint32_t i=0; i<n; i++) b[i] = (unsigned char)vdb_rng_u64(&rng);
  REQUIRE_RC( VECDB_OK, vdb_extent_create(p, &spec, b, &head) );
  vdb_free(b);
  return head;
}

static inline bool extent_is(struct pager *p, page_no head, uint64_t seed,
                      uint32_t n){
  struct extent e;
  struct vdb_rng rng;
  bool ok;
  int rc = vdb_extent_pin(p, head, &e);
  if( rc!=VECDB_OK ) return FAIL("%s", err.msg);
  vdb_rng_init(&rng, seed);
  ok = e.sz==n;
  for(uint32_t i=0; i<n && ok; i++){
    ok = e.data[i]==(unsigned char)vdb_rng_u64(&rng);
  }
  vdb_extent_unpin(p, &e);
  return ok;
}
#endif
