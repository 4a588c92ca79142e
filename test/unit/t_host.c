/* t_host.c -- the pager on the pages of a host. */
#include "unit/lib_host.h"
#include "unit/lib_pages.h"
#include "pager/format.h"
#include "pager/pager_int.h"
#include "util/bytes.h"
#include "util/crc32c.h"

/* ---- the pages of a host ------------------------------------------------- */

static struct pager *open_host(struct host *h){
  struct pager_config cfg;
  struct pager *p = NULL;
  memset(&cfg, 0, sizeof(cfg));
  cfg.open_flags = VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE;
  cfg.store = &h->ops;
  REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, &err, &p) );
  return p;
}

static int host_count(const struct host *h){
  int n = 0;
  for(int i=0; i<HOST_MAX; i++) n += h->page[i].p!=NULL;
  return n;
}

TEST(host__gets_freed_pages_back){
  struct host *h = host_create();
  struct pager *p = open_host(h);
  struct page *pg = NULL;
  page_no last = add_pages(p, 600);
  int n = host_count(h);

  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  for(page_no i=0; i<550; i++){
    REQUIRE_RC( VECDB_OK, vdb_page_get(p, last-i, PAGE_BTREE_LEAF, &pg) );
    REQUIRE_RC( VECDB_OK, vdb_page_free(p, pg) );
  }
  CHECK_INT( n, host_count(h) );       /* not before the commit */
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  CHECK( host_count(h)<=n-540 );       /* but for a few trunks */
  last = add_pages(p, 300);
  CHECK( has_page(p, last) );
  CHECK( host_count(h)<=n-240 );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
  host_destroy(h);
}

/* The transaction number of the root page is another, its checksum right. */
static void host_set_txid(struct host *h, page_no root, txn_id txid){
  unsigned char *b = h->page[root].p;
  uint32_t crc;
  put_u64(b + ROOT_TXID, txid);
  crc = vdb_crc32c(0, b, PAGEHDR_CRC);
  crc = vdb_crc32c(crc, b + PAGEHDR_SIZE, HOST_PAGE - PAGEHDR_SIZE);
  put_u32(b + PAGEHDR_CRC, crc);
  h->version++;
}

TEST(host__may_not_bring_transactions_that_were_never_made){
  static const txn_id wrong[] = { 0, ((txn_id)1<<62)+1, UINT64_MAX };
  struct host *h = host_create();
  struct pager *p = open_host(h);
  page_no last = add_pages(p, 3), root = p->store->pg_first;
  txn_id right = get_u64(h->page[root].p + ROOT_TXID);

  for(size_t i=0; i<VDB_ARRAY_LEN(wrong); i++){
    host_set_txid(h, root, wrong[i]);
    CHECK_INT( VECDB_CORRUPT, vdb_pager_begin_read(p) & 0xff );
    CHECK_INT( VECDB_CORRUPT, vdb_pager_begin_write(p) & 0xff );
  }
  host_set_txid(h, root, right);
  CHECK( has_page(p, last) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
  host_destroy(h);
}

static page_no add_extent(struct pager *p, int fill){
  static unsigned char b[8192];
  struct extent_spec spec;
  page_no head = 0;
  memset(&spec, 0, sizeof(spec));
  memset(b, fill, sizeof(b));
  spec.kind = 1;
  spec.stride = 64;
  spec.n_rec = sizeof(b)/64;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  REQUIRE_RC( VECDB_OK, vdb_extent_create(p, &spec, b, &head) );
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  return head;
}

static int extent_fill(struct pager *p, page_no head){
  struct extent e;
  int fill = -1;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  CHECK_RC( VECDB_OK, vdb_extent_pin(p, head, &e) );
  if( e.data ) fill = e.data[0];
  vdb_extent_unpin(p, &e);
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  return fill;
}

/* Everything is as it was before the first commit. */
static void host_go_back(struct host *h){
  for(int i=0; i<HOST_MAX; i++){
    free(h->page[i].p);
    free(h->extent[i].p);
    h->page[i].p = h->extent[i].p = NULL;
  }
  h->version++;
}

TEST(host__may_undo_what_was_committed){
  struct host *h = host_create();
  struct pager *p = open_host(h);
  page_no head = add_extent(p, 1);

  CHECK_INT( 1, extent_fill(p, head) );
  host_go_back(h);
  CHECK_U64( head, add_extent(p, 2) );
  CHECK_INT( 2, extent_fill(p, head) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
  host_destroy(h);
}
