/* t_pager_random.c -- random transactions of several connections against a
** model: every snapshot stays what it was, every commit is there afterwards,
** no page is lost, whatever is checkpointed, closed or crashed in between.
**
** The model is one byte per page slot and per extent slot. A state is copied
** when a connection begins to read or write, and replaces the committed one
** when it commits.
*/
#include "vt.h"
#include "util/common.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/rng.h"
#include "pager/extent.h"
#include "pager/file.h"
#include "pager/pager.h"

#define N_CONN    4                 /* on a file */
#define N_PAGE    120
#define N_EXTENT  12
#define N_SAVE    3

struct state {                      /* what the database holds */
  page_no page[N_PAGE];             /* 0: not there */
  unsigned char fill[N_PAGE];
  page_no head[N_EXTENT];
  uint32_t seed[N_EXTENT], n_rec[N_EXTENT];
};

struct conn {
  struct pager *p;
  struct state st;                  /* what its transaction sees */
  struct state save[N_SAVE];
  struct pager_config cfg;
};

/* A host that keeps pages: what SQLite is to its virtual tables. It can undo
** one transaction, and is asked for nothing it should not be. */
#define HOST_PAGES    4096
#define HOST_USABLE   4032
#define HOST_EXTENTS  4096

struct host_data {
  unsigned char *page[HOST_PAGES];
  struct { unsigned char *p; size_t n; } extent[HOST_EXTENTS];
};

struct host {
  struct vecdb_page_store fn;
  struct host_data now, before;     /* before: to go back to */
  bool is_writing, is_reading;
  uint64_t version;
};

static void host_copy(struct host_data *to, const struct host_data *from){
  for(int i=0; i<HOST_PAGES; i++){
    free(to->page[i]);
    to->page[i] = NULL;
    if( from==NULL || from->page[i]==NULL ) continue;
    to->page[i] = malloc(HOST_USABLE);
    memcpy(to->page[i], from->page[i], HOST_USABLE);
  }
  for(int i=0; i<HOST_EXTENTS; i++){
    free(to->extent[i].p);
    to->extent[i].p = NULL;
    if( from==NULL || from->extent[i].p==NULL ) continue;
    to->extent[i].n = from->extent[i].n;
    to->extent[i].p = malloc(to->extent[i].n);
    memcpy(to->extent[i].p, from->extent[i].p, to->extent[i].n);
  }
}

static int host_begin_read(void *arg, uint64_t *version){
  struct host *h = arg;
  CHECK( !h->is_reading && !h->is_writing );
  h->is_reading = true;
  *version = h->version;
  return VECDB_OK;
}

static int host_begin_write(void *arg, uint64_t *version){
  struct host *h = arg;
  CHECK( !h->is_writing );
  h->is_writing = true;
  host_copy(&h->before, &h->now);
  *version = h->version;
  return VECDB_OK;
}

static int host_end(void *arg, int committed){
  struct host *h = arg;
  CHECK( h->is_reading || h->is_writing );
  if( h->is_writing && !committed ) host_copy(&h->now, &h->before);
  if( h->is_writing && committed ) h->version++;
  h->is_reading = h->is_writing = false;
  return VECDB_OK;
}

static int host_read_page(void *arg, uint32_t pgno, void *buf){
  struct host *h = arg;
  CHECK( h->is_reading || h->is_writing );
  if( pgno>=HOST_PAGES || h->now.page[pgno]==NULL ) return VECDB_NOTFOUND;
  memcpy(buf, h->now.page[pgno], HOST_USABLE);
  return VECDB_OK;
}

static int host_flush(void *arg, size_t n, const uint32_t *pgno,
                      const void *const *pages){
  struct host *h = arg;
  CHECK( h->is_writing );
  for(size_t i=0; i<n; i++){
    if( pgno[i]>=HOST_PAGES ) return VECDB_FULL;
    if( h->now.page[pgno[i]]==NULL ) h->now.page[pgno[i]] = malloc(HOST_USABLE);
    memcpy(h->now.page[pgno[i]], pages[i], HOST_USABLE);
  }
  return VECDB_OK;
}

static int host_free_page(void *arg, uint32_t pgno){
  struct host *h = arg;
  if( pgno>=HOST_PAGES ) return VECDB_NOTFOUND;
  free(h->now.page[pgno]);
  h->now.page[pgno] = NULL;
  return VECDB_OK;
}

static int host_extent_write(void *arg, uint64_t no, const void *p, size_t n){
  struct host *h = arg;
  CHECK( h->is_writing );
  if( no>=HOST_EXTENTS ) return VECDB_FULL;
  CHECK( h->now.extent[no].p==NULL );
  h->now.extent[no].p = malloc(n);
  h->now.extent[no].n = n;
  memcpy(h->now.extent[no].p, p, n);
  return VECDB_OK;
}

static int host_extent_read(void *arg, uint64_t no, size_t off, void *buf,
                            size_t n){
  struct host *h = arg;
  if( no>=HOST_EXTENTS || h->now.extent[no].p==NULL
      || off+n>h->now.extent[no].n ) return VECDB_NOTFOUND;
  memcpy(buf, h->now.extent[no].p+off, n);
  return VECDB_OK;
}

static int host_extent_free(void *arg, uint64_t no){
  struct host *h = arg;
  CHECK( h->is_writing );
  if( no>=HOST_EXTENTS || h->now.extent[no].p==NULL ) return VECDB_NOTFOUND;
  free(h->now.extent[no].p);
  h->now.extent[no].p = NULL;
  return VECDB_OK;
}

static struct host *host_create(void){
  struct host *h = calloc(1, sizeof(*h));
  struct vecdb_page_store fn = {
    sizeof(fn), HOST_USABLE, h, host_begin_read, host_begin_write, host_end,
    host_read_page, host_flush, host_free_page, host_extent_write,
    host_extent_read, host_extent_free, NULL
  };
  h->fn = fn;
  return h;
}

/* How many extents it keeps. */
static int host_count(const struct host *h){
  int n = 0;
  for(int i=0; i<HOST_EXTENTS; i++) n += h->now.extent[i].p!=NULL;
  return n;
}

static void host_destroy(struct host *h){
  host_copy(&h->now, NULL);
  host_copy(&h->before, NULL);
  free(h);
}

struct run {
  int n_conn;
  bool is_file;
  struct vecdb_file_ops *world;
  struct conn conn[N_CONN];
  struct state now;                 /* newest commit */
  struct vdb_rng rng;
  struct vdb_err err;
};

static uint32_t pick(struct run *r, uint32_t n){
  return vdb_rng_below(&r->rng, n);
}

static void must(struct run *r, int rc, const char *what){
  if( rc!=VECDB_OK ){
    FAIL("%s: %d %s", what, rc, r->err.msg);
    vt_stop();
  }
}

static void page_check(struct run *r, struct conn *c, int i){
  struct page *pg = NULL;
  uint32_t usable = vdb_pager_usable(c->p);
  must(r, vdb_page_get(c->p, c->st.page[i], PAGE_BTREE_LEAF, &pg), "get");
  for(uint32_t k=PAGE_CONTENT; k<usable; k+=511){
    if( pg->data[k]==c->st.fill[i] ) continue;
    FAIL("page %u is %d, expected %d", c->st.page[i], pg->data[k],
         c->st.fill[i]);
    break;
  }
  vdb_page_unpin(c->p, pg);
}

static unsigned char extent_byte(uint32_t seed, uint32_t i){
  return (unsigned char)(vdb_mix64(seed + (i>>6)) >> (i&31));
}

static void extent_check(struct run *r, struct conn *c, int i){
  struct extent e;
  must(r, vdb_extent_pin(c->p, c->st.head[i], &e), "pin");
  CHECK_U64( c->st.n_rec[i], e.spec.n_rec );
  for(uint32_t k=0; k<e.sz; k+=1021){
    if( e.data[k]!=extent_byte(c->st.seed[i], k) ){
      FAIL("extent %u is damaged at %u", c->st.head[i], k);
      break;
    }
  }
  vdb_extent_unpin(c->p, &e);
}

static void state_check(struct run *r, struct conn *c, bool all){
  for(int i=0; i<N_PAGE; i++){
    if( c->st.page[i] && (all || pick(r, 8)==0) ) page_check(r, c, i);
  }
  for(int i=0; i<N_EXTENT; i++){
    if( c->st.head[i] && (all || pick(r, 4)==0) ) extent_check(r, c, i);
  }
}

static void report(void *arg, int severity, const char *object,
                   const char *message){
  (void)arg;
  if( severity>=1 ) FAIL("%s: %s", object, message);
}

static void census(struct run *r, struct conn *c){
  struct census *cs;
  uint64_t n_bad;
  must(r, vdb_census_begin(c->p, false, report, NULL, &cs), "census");
  for(int i=0; i<N_PAGE; i++){
    if( c->st.page[i] ) vdb_census_page(cs, c->st.page[i], "page");
  }
  for(int i=0; i<N_EXTENT; i++){
    if( c->st.head[i] ) vdb_extent_check(c->p, cs, c->st.head[i], "extent");
  }
  must(r, vdb_census_end(cs, &n_bad), "census");
}

static void change_page(struct run *r, struct conn *c){
  int i = (int)pick(r, N_PAGE);
  unsigned char fill = (unsigned char)pick(r, 256);
  struct page *pg = NULL;

  if( c->st.page[i]==0 ){
    must(r, vdb_page_new(c->p, PAGE_BTREE_LEAF, &pg), "new");
    c->st.page[i] = pg->pgno;
  }else{
    must(r, vdb_page_get(c->p, c->st.page[i], PAGE_BTREE_LEAF, &pg), "get");
    if( pick(r, 3)==0 ){
      must(r, vdb_page_free(c->p, pg), "free");
      c->st.page[i] = 0;
      return;
    }
    must(r, vdb_page_write(c->p, pg), "write");
  }
  memset(pg->data+PAGE_CONTENT, fill, vdb_pager_usable(c->p)-PAGE_CONTENT);
  c->st.fill[i] = fill;
  vdb_page_unpin(c->p, pg);
}

static void change_extent(struct run *r, struct conn *c){
  int i = (int)pick(r, N_EXTENT);
  struct extent_spec spec = { 1, 64, 1+pick(r, 800), 7 };
  unsigned char *b;

  if( c->st.head[i] ){
    must(r, vdb_extent_free(c->p, c->st.head[i]), "extent free");
    c->st.head[i] = 0;
    return;
  }
  c->st.seed[i] = pick(r, 1u<<30);
  c->st.n_rec[i] = spec.n_rec;
  b = vdb_malloc(64*spec.n_rec);
  for(uint32_t k=0; k<64*spec.n_rec; k++) b[k] = extent_byte(c->st.seed[i], k);
  must(r, vdb_extent_create(c->p, &spec, b, &c->st.head[i]), "extent");
  vdb_free(b);
}

static void change(struct run *r, struct conn *c){
  for(uint32_t n=1+pick(r, 40); n>0; n--) change_page(r, c);
  if( pick(r, 2) ) change_extent(r, c);
  vdb_pager_touch(c->p);
}

static void step_save(struct run *r, struct conn *c){
  unsigned n = vdb_pager_n_savepoint(c->p), k;
  if( n<N_SAVE && pick(r, 2) ){
    c->save[n] = c->st;
    must(r, vdb_pager_savepoint(c->p, &k), "savepoint");
  }else if( n>0 ){
    k = pick(r, n);
    if( pick(r, 2) ){
      must(r, vdb_pager_release(c->p, k), "release");
    }else{
      must(r, vdb_pager_rollback_to(c->p, k), "rollback_to");
      c->st = c->save[k];
      state_check(r, c, false);
    }
  }
}

static void step_write(struct run *r, struct conn *c){
  switch( pick(r, 10) ){
    case 0: case 1: case 2: case 3: change(r, c); break;
    case 4: case 5: step_save(r, c); break;
    case 6: state_check(r, c, false); break;
    case 7:
      must(r, vdb_pager_rollback(c->p), "rollback");
      break;
    default:
      must(r, vdb_pager_commit(c->p), "commit");
      r->now = c->st;
  }
}

static void step_read(struct run *r, struct conn *c){
  int rc;
  switch( pick(r, 6) ){
    case 0: state_check(r, c, true); break;
    case 1: census(r, c); break;
    case 2:
      rc = vdb_pager_begin_write(c->p);
      if( (rc&0xff)!=VECDB_BUSY ) must(r, rc, "upgrade");
      break;
    case 3: case 4:
      state_check(r, c, false);
      must(r, vdb_pager_end_read(c->p), "end_read");
      break;
    default: state_check(r, c, false);
  }
}

static void reopen(struct run *r, struct conn *c){
  if( c->p ) must(r, vdb_pager_close(c->p), "close");
  c->p = NULL;
  must(r, vdb_pager_open(&c->cfg, &r->err, &c->p), "open");
}

static void step_none(struct run *r, struct conn *c){
  int rc;
  switch( pick(r, 12) ){
    case 0: case 1: case 2: case 3:
      must(r, vdb_pager_begin_read(c->p), "begin_read");
      c->st = r->now;
      state_check(r, c, false);
      break;
    case 4: case 5: case 6: case 7:
      rc = vdb_pager_begin_write(c->p);
      if( rc==VECDB_OK ) c->st = r->now;
      else if( (rc&0xff)!=VECDB_BUSY ) must(r, rc, "begin_write");
      break;
    case 8:
      if( r->is_file || c->cfg.store ) reopen(r, c);
      break;
    default:
      if( !r->is_file ) break;
      rc = vdb_pager_checkpoint(c->p, (int)pick(r, 4), NULL, NULL);
      if( (rc&0xff)!=VECDB_BUSY ) must(r, rc, "checkpoint");
  }
}

/* The bytes on disk as they are, in a new world. */
static void crash(struct run *r){
  static const char *const name[2] = { "t.vdb", "t.vdb-wal" };
  unsigned char *copy[2] = { NULL, NULL };
  size_t n[2] = { 0, 0 };

  for(int i=0; i<2; i++){
    const unsigned char *p;
    if( vdb_file_mem_peek(r->world, name[i], &p, &n[i])==VECDB_OK ){
      copy[i] = vdb_memdup(p, n[i]);
    }
  }
  for(int i=0; i<N_CONN; i++) vdb_pager_close(r->conn[i].p);
  vdb_file_mem_destroy(r->world);
  REQUIRE_RC( VECDB_OK, vdb_file_mem_create(vdb_rng_u64(&r->rng), &r->world) );
  for(int i=0; i<2; i++){
    if( copy[i]==NULL ) continue;
    REQUIRE_RC( VECDB_OK, vdb_file_mem_poke(r->world, name[i], copy[i], n[i]) );
    vdb_free(copy[i]);
  }
  for(int i=0; i<N_CONN; i++){
    r->conn[i].p = NULL;
    r->conn[i].cfg.file = r->world;
    reopen(r, &r->conn[i]);
  }
}

static void run_steps(struct run *r, int n_step){
  for(int i=0; i<r->n_conn; i++) reopen(r, &r->conn[i]);
  for(int i=0; i<n_step; i++){
    struct conn *c = &r->conn[pick(r, (uint32_t)r->n_conn)];
    if( pick(r, 400)==0 && r->is_file ){
      crash(r);
      continue;
    }
    switch( vdb_pager_state(c->p) ){
      case PAGER_NONE:  step_none(r, c);  break;
      case PAGER_READ:  step_read(r, c);  break;
      case PAGER_WRITE: step_write(r, c); break;
      case PAGER_ERROR: FAIL("poisoned"); vt_stop();
    }
  }
  for(int i=0; i<r->n_conn; i++){
    must(r, vdb_pager_rollback(r->conn[i].p), "rollback");
    must(r, vdb_pager_begin_read(r->conn[i].p), "begin_read");
    r->conn[i].st = r->now;
    state_check(r, &r->conn[i], true);
    census(r, &r->conn[i]);
    must(r, vdb_pager_close(r->conn[i].p), "close");
  }
}

static void run_random(uint64_t seed, int n_step, uint32_t sz_page,
                       bool no_mmap, uint64_t sz_cache){
  struct run r;
  memset(&r, 0, sizeof(r));
  vdb_rng_init(&r.rng, seed);
  r.n_conn = N_CONN;
  r.is_file = true;
  REQUIRE_RC( VECDB_OK, vdb_file_mem_create(seed, &r.world) );
  for(int i=0; i<N_CONN; i++){
    struct pager_config *cfg = &r.conn[i].cfg;
    cfg->path = "t.vdb";
    cfg->open_flags = VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE;
    cfg->sz_page = sz_page;
    cfg->file = r.world;
    cfg->no_mmap = no_mmap;
    cfg->sz_cache = sz_cache;
    cfg->sz_wal_auto = i==0 ? 100000 : 300000;
  }
  run_steps(&r, n_step);
  vdb_file_mem_destroy(r.world);
}

TEST(pager_random__mapped){
  for(int i=0; i<4*vt_scale(); i++){
    run_random(vt_seed()+(uint64_t)i*1000, 3000, 4096, false, 0);
  }
}
TEST(pager_random__read_and_small_cache){
  for(int i=0; i<4*vt_scale(); i++){
    run_random(vt_seed()+(uint64_t)i*1000+1, 3000, 4096, true, 1);
  }
}
TEST(pager_random__large_pages){
  for(int i=0; i<2*vt_scale(); i++){
    run_random(vt_seed()+(uint64_t)i*1000+2, 1000, 65536, false, 0);
  }
}

TEST(pager_random__in_memory){
  for(int i=0; i<4*vt_scale(); i++){
    struct run r;
    memset(&r, 0, sizeof(r));
    vdb_rng_init(&r.rng, vt_seed()+(uint64_t)i*1000+3);
    r.n_conn = 1;
    run_steps(&r, 2000);
  }
}
TEST(pager_random__with_a_host){
  for(int i=0; i<4*vt_scale(); i++){
    struct host *h = host_create();
    struct run r;
    int n = 0;
    memset(&r, 0, sizeof(r));
    vdb_rng_init(&r.rng, vt_seed()+(uint64_t)i*1000+4);
    r.n_conn = 1;
    r.conn[0].cfg.store = &h->fn;
    r.conn[0].cfg.sz_cache = i&1;     /* default, or so small that it spills */
    run_steps(&r, 1000);
    for(int k=0; k<N_EXTENT; k++) n += r.now.head[k]!=0;
    CHECK_INT( n, host_count(h) );
    host_destroy(h);
  }
}
