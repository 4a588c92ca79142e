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

/* ---- a host that fails --------------------------------------------------- */

static struct vecdb_page_store host_ops;   /* what the failing one calls */
static struct host *host_under;
static uint64_t n_host_call, n_host_fail;  /* calls so far; which one fails */
static const char *host_words;

static bool host_fails(void){ return ++n_host_call==n_host_fail; }

static int failing_begin_read(void *arg, uint64_t *version){
  return host_fails() ? VECDB_IOERR : host_ops.begin_read(arg, version);
}
static int failing_begin_write(void *arg, uint64_t *version){
  return host_fails() ? VECDB_BUSY : host_ops.begin_write(arg, version);
}
/* A commit that fails is a rollback. */
static int failing_end(void *arg, int committed){
  if( committed && host_under->is_writing && host_fails() ){
    host_ops.end(arg, 0);
    return VECDB_FULL;
  }
  return host_ops.end(arg, committed);
}
static int failing_read_page(void *arg, uint32_t pgno, void *buf){
  return host_fails() ? VECDB_IOERR : host_ops.read_page(arg, pgno, buf);
}
static int failing_flush(void *arg, size_t n, const uint32_t *pgno,
                         const void *const *pages){
  return host_fails() ? VECDB_FULL : host_ops.flush(arg, n, pgno, pages);
}
static int failing_free_page(void *arg, uint32_t pgno){
  if( host_fails() ) return VECDB_IOERR;
  if( host_under->page[pgno].p==NULL ) return VECDB_NOTFOUND;
  return host_ops.free_page(arg, pgno);
}
/* What a failed free has left is replaced. */
static int failing_extent_write(void *arg, uint64_t no, const void *p,
                                size_t n){
  if( no<HOST_MAX && host_under->extent[no].p ) host_ops.extent_free(arg, no);
  return host_fails() ? VECDB_FULL : host_ops.extent_write(arg, no, p, n);
}
static int failing_extent_read(void *arg, uint64_t no, size_t off, void *buf,
                               size_t n){
  return host_fails() ? VECDB_IOERR
                      : host_ops.extent_read(arg, no, off, buf, n);
}
/* A rollback of the host may have been before. */
static int failing_extent_free(void *arg, uint64_t no){
  if( no>=HOST_MAX || host_under->extent[no].p==NULL ) return VECDB_NOTFOUND;
  return host_fails() ? VECDB_IOERR : host_ops.extent_free(arg, no);
}
static const char *failing_errmsg(void *arg){
  VDB_UNUSED(arg);
  return host_words;
}

static struct host *failing_host(void){
  struct host *h = host_create();
  host_ops = h->ops;
  host_under = h;
  n_host_fail = 0;
  h->ops.begin_read = failing_begin_read;
  h->ops.begin_write = failing_begin_write;
  h->ops.end = failing_end;
  h->ops.read_page = failing_read_page;
  h->ops.flush = failing_flush;
  h->ops.free_page = failing_free_page;
  h->ops.extent_write = failing_extent_write;
  h->ops.extent_read = failing_extent_read;
  h->ops.extent_free = failing_extent_free;
  h->ops.errmsg = failing_errmsg;
  host_words = "said the host";
  return h;
}

enum { N_KEPT = 20 };

/* A database of N_KEPT pages full of 1 and an extent. */
struct kept { page_no page[N_KEPT], head; };

static struct kept keep_some(struct pager *p){
  struct kept k;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  for(int i=0; i<N_KEPT; i++) k.page[i] = put_page(p, 1);
  k.head = create_extent(p, 1, 8192);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  return k;
}

static int fill_page(struct pager *p, page_no pgno, int fill){
  struct page *pg = NULL;
  int rc;
  TRY( vdb_page_get(p, pgno, PAGE_BTREE_LEAF, &pg) );
  TRY( vdb_page_write(p, pg) );
  memset(pg->data+PAGE_CONTENT, fill, vdb_pager_usable(p)-PAGE_CONTENT);
done:
  vdb_page_unpin(p, pg);
  return rc;
}

/* Pages made and freed, an extent for another, everything read again. */
static int host_change(struct pager *p, struct kept *k){
  static const unsigned char bytes[4096];
  struct extent_spec spec = { 1, 64, 64, 1 };
  struct page *pg = NULL;
  struct extent e;
  page_no head, made[4];
  unsigned sp;
  int rc;

  memset(&e, 0, sizeof(e));
  TRY( vdb_pager_begin_write(p) );
  for(int i=0; i<N_KEPT; i++) TRY( fill_page(p, k->page[i], 2) );
  TRY( vdb_extent_pin(p, k->head, &e) );
  vdb_extent_unpin(p, &e);
  TRY( vdb_pager_savepoint(p, &sp) );
  for(int i=0; i<3; i++){
    TRY( vdb_page_new(p, PAGE_BTREE_LEAF, &pg) );
    rc = vdb_page_free(p, pg);
    pg = NULL;
    TRY( rc );
  }
  TRY( vdb_extent_create(p, &spec, bytes, &head) );
  TRY( vdb_pager_rollback_to(p, sp) );
  TRY( vdb_pager_release(p, sp) );
  for(int i=0; i<4; i++){                  /* pages that nobody wrote .. */
    TRY( vdb_page_new(p, PAGE_BTREE_LEAF, &pg) );
    made[i] = pg->pgno;
    vdb_page_unpin(p, pg);
    pg = NULL;
  }
  for(int i=0; i<4; i++){                  /* .. are free */
    TRY( vdb_page_get(p, made[i], 0, &pg) );
    rc = vdb_page_free(p, pg);
    pg = NULL;
    TRY( rc );
  }
  TRY( vdb_extent_free(p, k->head) );
  TRY( vdb_extent_create(p, &spec, bytes, &head) );
  TRY( vdb_extent_free(p, head) );
  TRY( vdb_extent_create(p, &spec, bytes, &head) );
  TRY( vdb_extent_pin(p, head, &e) );
done:
  vdb_extent_unpin(p, &e);
  vdb_page_unpin(p, pg);
  return rc;
}

static int act_commit(struct pager *p, struct kept *k){
  int rc;
  TRY( host_change(p, k) );
  TRY( vdb_pager_commit(p) );
done:
  return rc;
}
static int act_two_phases(struct pager *p, struct kept *k){
  static const unsigned char uuid[16] = "host of t_host";
  int rc;
  TRY( host_change(p, k) );
  TRY( vdb_pager_prepare(p, uuid, 5) );
  TRY( fill_page(p, k->page[0], 2) );      /* it goes on, and is brought anew */
  TRY( vdb_pager_prepare(p, uuid, 6) );
  TRY( vdb_pager_decide(p, true, false) );
done:
  return rc;
}

/* Every page has the same byte, which says before or after. */
static int kept_fill(struct pager *p, const struct kept *k){
  int fill = read_fill(p, k->page[0]);
  for(int i=1; i<N_KEPT; i++) CHECK_INT( fill, read_fill(p, k->page[i]) );
  return fill;
}

/* One run with call n of the host failing, or allocation n. */
static bool host_run(int (*act)(struct pager *p, struct kept *k), uint64_t n,
                     bool memory){
  struct host *h = failing_host();
  struct pager *p = open_host(h);
  struct kept k = keep_some(p);
  uint64_t n_fired;
  int rc, fill;

  h->version++;                            /* somebody else was there */
  n_host_call = 0;
  if( memory ) vdb_mem_fail_at(n, false);
  else n_host_fail = n;
  rc = act(p, &k);
  n_fired = memory ? vdb_mem_fail_at(0, false) : n_host_call>=n;
  n_host_fail = 0;
  if( memory && rc!=VECDB_OK ) CHECK_RC( VECDB_NOMEM, rc );
  if( !memory && rc!=VECDB_OK ){
    CHECK( strstr(err.msg, "the page store cannot ")!=NULL );
    CHECK( strstr(err.msg, "said the host")!=NULL );
  }
  REQUIRE_RC( VECDB_OK, vdb_pager_rollback(p) );
  fill = kept_fill(p, &k);
  CHECK( fill==(rc==VECDB_OK ? 2 : 1) );
  if( fill==1 ){
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
    CHECK( extent_is(p, k.head, 1, 8192) );
    REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  }
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
  host_destroy(h);
  return n_fired>0 && !vt_has_failed();
}

TEST(host__each_call_may_fail){
  uint64_t n = 1;
  while( host_run(act_commit, n, false) ) n++;
  CHECK( n>N_KEPT );
  for(n=1; host_run(act_two_phases, n, false); n++){}
}

TEST(host__each_allocation_may_fail){
  for(uint64_t n=1; host_run(act_commit, n, true); n++){}
  for(uint64_t n=1; host_run(act_two_phases, n, true); n++){}
}

TEST(host__a_failure_without_words_has_those_of_its_code){
  struct host *h = failing_host();
  struct pager *p = open_host(h);
  host_words = NULL;
  n_host_fail = n_host_call+1;
  CHECK_RC( VECDB_IOERR, vdb_pager_begin_read(p) );
  CHECK( strstr(err.msg, "begin to read: ")!=NULL );
  h->ops.errmsg = NULL;
  n_host_fail = n_host_call+1;
  CHECK_RC( VECDB_IOERR, vdb_pager_begin_read(p) );
  CHECK( strstr(err.msg, "begin to read: ")!=NULL );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
  host_destroy(h);
}

TEST(host__a_stale_snapshot_cannot_be_written){
  struct host *h = failing_host();
  struct pager *p = open_host(h);
  page_no a = create_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  h->version++;
  CHECK_RC( VECDB_BUSY_SNAPSHOT, vdb_pager_begin_write(p) );
  h->is_writing = false;                   /* a host begins its own again */
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  commit_fill(p, a, 2);
  CHECK_INT( 2, read_fill(p, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
  host_destroy(h);
}

/* What a host has lost, or never had, is no page and no extent. */
TEST(host__missing_pages_and_extents_are_corrupt){
  struct host *h = failing_host();
  struct pager *p = open_host(h);
  struct kept k = keep_some(p);
  struct extent e;
  struct census *c;
  uint64_t n_bad = 0;

  free(h->page[k.page[3]].p);
  h->page[k.page[3]].p = NULL;
  for(int i=0; i<HOST_MAX; i++){
    free(h->extent[i].p);
    h->extent[i].p = NULL;
  }
  h->version = 0;                          /* another history: know nothing */
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  CHECK_INT( -VECDB_CORRUPT, fill_of(p, k.page[3]) );
  CHECK_RC( VECDB_CORRUPT, vdb_extent_pin(p, k.head, &e) );
  REQUIRE_RC( VECDB_OK, vdb_census_begin(p, false, NULL, NULL, &c) );
  CHECK( vdb_census_page(c, k.page[3], "a page") );
  REQUIRE_RC( VECDB_OK, vdb_census_end(c, &n_bad) );
  CHECK( n_bad>0 );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  free(h->page[1].p);                      /* the root of a database */
  h->page[1].p = NULL;
  h->version++;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  CHECK_INT( -VECDB_CORRUPT, fill_of(p, k.page[0]) );    /* is empty now */
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
  host_destroy(h);
}

/* The root is gone although the version is the same: somebody lies. */
TEST(host__a_root_that_vanished_is_corrupt){
  struct host *h = host_create();
  struct pager *p = open_host(h);
  page_no a = create_page(p, 1);
  struct page *root = NULL;
  CHECK_INT( 1, read_fill(p, a) );
  free(h->page[1].p);
  h->page[1].p = NULL;
  vdb_pager_forget(p, 0);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  CHECK_RC( VECDB_CORRUPT, vdb_root_page(p, &root) );
  CHECK( strstr(err.msg, "does not exist")!=NULL );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
  host_destroy(h);
}

/* A smaller version is another history, however new its root is. */
TEST(host__an_older_version_forgets_what_was_known){
  struct host *h = host_create();
  struct pager *p = open_host(h);
  page_no head = add_extent(p, 1);
  uint64_t n = vdb_pager_n_forgotten(p);
  CHECK_INT( 1, extent_fill(p, head) );
  host_set_txid(h, 1, 100);
  h->version = 0;
  CHECK_INT( 1, extent_fill(p, head) );
  CHECK( vdb_pager_n_forgotten(p)>n );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
  host_destroy(h);
}

TEST(host__pages_that_are_no_size_are_misuse){
  static const uint32_t bad[] = { 4000, 65568, 4050 };
  struct host *h = host_create();
  struct pager_config cfg;
  struct pager *p = NULL;
  memset(&cfg, 0, sizeof(cfg));
  cfg.store = &h->ops;
  for(int i=0; i<3; i++){
    h->ops.usable_size = bad[i];
    CHECK_RC( VECDB_MISUSE, vdb_pager_open(&cfg, &err, &p) );
  }
  h->ops.usable_size = HOST_PAGE;
  h->ops.size--;
  CHECK_RC( VECDB_MISUSE, vdb_pager_open(&cfg, &err, &p) );
  h->ops.size++;
  for(uint64_t n=1; n<20; n++){            /* and for want of memory */
    int rc;
    vdb_mem_fail_at(n, false);
    rc = vdb_pager_open(&cfg, &err, &p);
    vdb_mem_fail_at(0, false);
    if( rc==VECDB_OK ) break;
    CHECK_RC( VECDB_NOMEM, rc );
  }
  REQUIRE( p!=NULL );
  CHECK_RC( VECDB_UNSUPPORTED, vdb_pager_backup(p, "b", NULL, NULL) );
  CHECK_RC( VECDB_UNSUPPORTED, vdb_pager_replace_file(p, "b") );
  CHECK_RC( VECDB_UNSUPPORTED, vdb_pager_begin_read_at(p, 1) );
  CHECK_RC( VECDB_NOTFOUND, vdb_pager_decide(p, true, false) );
  CHECK_RC( VECDB_OK, vdb_pager_checkpoint(p, 0, NULL, NULL) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
  host_destroy(h);
}
