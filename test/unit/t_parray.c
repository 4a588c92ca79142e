/* t_parray.c -- paged arrays against a plain array, and against damage.
**
** The model of an array is a window of elements at a base index: what lies
** outside was never written and must read as zero.
*/
#include "vt.h"

#include "pager/format.h"
#include "pager/parray.h"
#include "pager/pager.h"
#include "util/bytes.h"
#include "util/mem.h"
#include "util/rng.h"

struct bench {
  struct vdb_err err;
  struct pager *p;
  page_no root;
  uint32_t width;
  struct vdb_rng rng;
  uint64_t base;                        /* index of the window */
  size_t n;                             /* elements in it */
  unsigned char *model, *buf;           /* n*width bytes each */
};

static unsigned below(struct bench *b, unsigned n){
  return vdb_rng_below(&b->rng, n);
}

static void bench_open(struct bench *b, uint32_t sz_page, uint32_t width,
                       uint64_t base, size_t n){
  struct pager_config cfg;
  memset(b, 0, sizeof(*b));
  memset(&cfg, 0, sizeof(cfg));
  cfg.open_flags = VECDB_OPEN_MEMORY|VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE;
  cfg.sz_page = sz_page;
  cfg.fixed_seed = 1;
  b->width = width;
  b->base = base;
  b->n = n;
  b->model = calloc(n, width);
  b->buf = calloc(n, width);
  vdb_rng_init(&b->rng, vt_seed() + width + base);
  REQUIRE_RC(VECDB_OK, vdb_pager_open(&cfg, &b->err, &b->p));
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b->p));
  REQUIRE_RC(VECDB_OK, vdb_parray_create(b->p, width, &b->root));
  REQUIRE_RC(VECDB_OK, vdb_pager_commit(b->p));
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b->p));
}

static void bench_close(struct bench *b){
  if( vdb_pager_state(b->p)!=PAGER_NONE ) vdb_pager_rollback(b->p);
  CHECK_RC(VECDB_OK, vdb_pager_close(b->p));
  free(b->model);
  free(b->buf);
}

static uint64_t pages_in_use(struct bench *b){
  struct pager_stats st;
  REQUIRE_RC(VECDB_OK, vdb_pager_stats(b->p, &st));
  return st.n_page - st.n_free_page;
}

struct findings { int n_damage; int n_leak; char first[600]; };

static void findings_add(void *arg, int severity, const char *object,
                         const char *message){
  struct findings *f = arg;
  if( severity==2 && f->n_damage++==0 ){
    snprintf(f->first, sizeof(f->first), "%s: %s", object, message);
  }
  f->n_leak += severity==1;
}

static struct findings array_findings(struct bench *b){
  struct findings f = { 0, 0, "" };
  struct census *c = NULL;
  uint64_t n_bad;
  REQUIRE_RC(VECDB_OK, vdb_census_begin(b->p, false, findings_add, &f, &c));
  REQUIRE_RC(VECDB_OK, vdb_parray_check(b->p, c, b->root, "array"));
  REQUIRE_RC(VECDB_OK, vdb_census_end(c, &n_bad));
  return f;
}

static void array_is_sound(struct bench *b){
  struct findings f = array_findings(b);
  REQUIRE_STR("", f.first);
  REQUIRE_INT(0, f.n_leak);
}

/* ------------------------------------------------------------- the model */

struct visit { struct bench *b; uint64_t next; };

static int visit_run(void *arg, uint64_t i, size_t n,
                     const unsigned char *data){
  struct visit *v = arg;
  struct bench *b = v->b;
  REQUIRE_U64(v->next, i);
  REQUIRE(n>0);
  v->next = i+n;
  if( !data ) memset(b->buf + (size_t)(i-b->base)*b->width, 0, n*b->width);
  else memcpy(b->buf + (size_t)(i-b->base)*b->width, data, n*b->width);
  return 0;
}

static void array_equals_model(struct bench *b){
  struct visit v = { b, b->base };
  memset(b->buf, 0x55, b->n*b->width);
  REQUIRE_RC(VECDB_OK, vdb_parray_get(b->p, b->root, b->base, b->n, b->buf));
  REQUIRE_MEM(b->model, b->buf, b->n*b->width);
  memset(b->buf, 0x55, b->n*b->width);
  REQUIRE_RC(VECDB_OK, vdb_parray_scan(b->p, b->root, b->base, b->base+b->n,
                                       visit_run, &v));
  REQUIRE_U64(b->base + b->n, v.next);
  REQUIRE_MEM(b->model, b->buf, b->n*b->width);
}

static void range_choose(struct bench *b, size_t *i, size_t *n){
  unsigned n_max = below(b, 10)==0 ? (unsigned)b->n : 40;
  *i = below(b, (unsigned)b->n);
  *n = 1 + below(b, n_max);
  if( *n>b->n-*i ) *n = b->n-*i;
}

static void op_put(struct bench *b){
  size_t i, n, sz;
  unsigned char *p;
  range_choose(b, &i, &n);
  sz = n*b->width;
  p = b->model + i*b->width;
  if( below(b, 5)==0 ) memset(p, 0, sz);               /* zeros are special */
  else for(size_t k=0; k<sz; k++) p[k] = (unsigned char)vdb_rng_u64(&b->rng);
  REQUIRE_RC(VECDB_OK, vdb_parray_put(b->p, b->root, b->base+i, n, p));
}

static void op_clear(struct bench *b){
  size_t i, n;
  range_choose(b, &i, &n);
  memset(b->model + i*b->width, 0, n*b->width);
  REQUIRE_RC(VECDB_OK, vdb_parray_clear(b->p, b->root, b->base+i,
                                        b->base+i+n));
}

static void op_get(struct bench *b){
  size_t i, n;
  range_choose(b, &i, &n);
  REQUIRE_RC(VECDB_OK, vdb_parray_get(b->p, b->root, b->base+i, n, b->buf));
  REQUIRE_MEM(b->model + i*b->width, b->buf, n*b->width);
}

/* Elements here and there, in any order. */
static void op_gather(struct bench *b){
  uint32_t at[70];
  size_t n = below(b, 71);
  if( b->base+b->n>UINT32_MAX || n>b->n ) return;
  for(size_t k=0; k<n; k++) at[k] = (uint32_t)b->base + below(b, (unsigned)b->n);
  REQUIRE_RC(VECDB_OK, vdb_parray_gather(b->p, b->root, at, n, b->buf));
  for(size_t k=0; k<n; k++){
    REQUIRE_MEM(b->model + (at[k]-b->base)*b->width, b->buf + k*b->width,
                b->width);
  }
}

static void op_scan(struct bench *b){
  struct visit v = { b, 0 };
  size_t i, n;
  range_choose(b, &i, &n);
  v.next = b->base+i;
  REQUIRE_RC(VECDB_OK, vdb_parray_scan(b->p, b->root, b->base+i,
                                       b->base+i+n, visit_run, &v));
  REQUIRE_U64(b->base+i+n, v.next);
  REQUIRE_MEM(b->model + i*b->width, b->buf + i*b->width, n*b->width);
}

static void stream_test(uint32_t sz_page, uint32_t width, uint64_t base,
                        size_t n, int n_op){
  unsigned char *saved;
  struct bench b;
  uint64_t n_page0;
  unsigned sp;

  bench_open(&b, sz_page, width, base, n);
  n_page0 = pages_in_use(&b);
  saved = malloc(n*width);
  for(int i=0; i<n_op*vt_scale(); i++){
    if( i%4==0 ) op_gather(&b);
    switch( below(&b, 10) ){
      case 0: case 1: case 2: case 3: op_put(&b); break;
      case 4: case 5: op_clear(&b); break;
      case 6: case 7: op_get(&b); break;
      case 8: op_scan(&b); break;
      default:
        memcpy(saved, b.model, n*width);
        REQUIRE_RC(VECDB_OK, vdb_pager_savepoint(b.p, &sp));
        for(int k=0; k<5; k++){ op_put(&b); op_clear(&b); }
        if( below(&b, 2) ){
          REQUIRE_RC(VECDB_OK, vdb_pager_rollback_to(b.p, sp));
          memcpy(b.model, saved, n*width);
        }
        REQUIRE_RC(VECDB_OK, vdb_pager_release(b.p, sp));
    }
    if( i%200==199 ){
      array_is_sound(&b);
      array_equals_model(&b);
    }
  }
  array_is_sound(&b);
  array_equals_model(&b);
  REQUIRE_RC(VECDB_OK, vdb_parray_clear(b.p, b.root, 0, UINT64_MAX));
  array_is_sound(&b);
  CHECK_U64(n_page0, pages_in_use(&b));
  free(saved);
  bench_close(&b);
}

TEST(parray__agrees_with_a_model_for_bytes){
  stream_test(4096, 1, 0, 20000, 1000);
}
TEST(parray__agrees_with_a_model_for_words_far_out){
  stream_test(4096, 8, (uint64_t)1<<31, 5000, 1000);
}
TEST(parray__agrees_with_a_model_for_odd_widths){
  stream_test(4096, 1361, 1000*1000, 300, 600);
}
TEST(parray__agrees_with_a_model_for_elements_of_a_page){
  stream_test(4096, 4080, 7, 100, 600);
}
TEST(parray__agrees_with_a_model_for_elements_just_over_a_page){
  stream_test(4096, 4081, 1017, 60, 600);
}
TEST(parray__agrees_with_a_model_for_wide_elements){
  stream_test(4096, 30001, 100, 40, 200);
}
TEST(parray__agrees_with_a_model_for_large_pages){
  stream_test(65536, 16, 65535, 20000, 300);
}
TEST(parray__agrees_with_a_model_at_the_end_of_the_index){
  stream_test(4096, 4, ((uint64_t)1<<40)*1020 - 3000, 3000, 400);
}

/* ------------------------------------------------------------- by itself */

TEST(parray__reads_zero_where_nothing_was_written){
  unsigned char out[40];
  struct bench b;

  bench_open(&b, 4096, 4, 0, 10);
  memset(out, 1, sizeof(out));
  REQUIRE_RC(VECDB_OK, vdb_parray_get(b.p, b.root, (uint64_t)1<<60, 10, out));
  CHECK_MEM(b.model, out, 40);
  REQUIRE_RC(VECDB_OK, vdb_parray_get(b.p, b.root, UINT64_MAX, 1, out));
  REQUIRE_RC(VECDB_OK, vdb_parray_get(b.p, b.root, 0, 0, out));
  CHECK_RC(VECDB_RANGE, vdb_parray_put(b.p, b.root, (uint64_t)1<<60, 1, out));
  CHECK_RC(VECDB_RANGE, vdb_parray_put(b.p, b.root, UINT64_MAX, 2, out));
  bench_close(&b);
}

TEST(parray__knows_its_width){
  uint32_t w;
  page_no root;
  struct bench b;

  bench_open(&b, 4096, 12, 0, 1);
  REQUIRE_RC(VECDB_OK, vdb_parray_width(b.p, b.root, &w));
  CHECK_U64(12, w);
  CHECK_RC(VECDB_RANGE, vdb_parray_create(b.p, 0, &root));
  CHECK_RC(VECDB_RANGE, vdb_parray_create(b.p, PARRAY_WIDTH_MAX+1, &root));
  CHECK_U64(0, root);
  REQUIRE_RC(VECDB_OK, vdb_parray_create(b.p, PARRAY_WIDTH_MAX, &root));
  REQUIRE_RC(VECDB_OK, vdb_parray_destroy(b.p, root));
  array_is_sound(&b);
  bench_close(&b);
}

TEST(parray__zeros_take_no_pages){
  static const unsigned char zero[100000];
  uint64_t n0;
  struct bench b;

  bench_open(&b, 4096, 4, 0, 1);
  n0 = pages_in_use(&b);
  REQUIRE_RC(VECDB_OK, vdb_parray_put(b.p, b.root, 5000000, 25000, zero));
  CHECK_U64(n0, pages_in_use(&b));
  array_is_sound(&b);
  bench_close(&b);
}

/* Freeing from the front, as the delta does. */
TEST(parray__gives_back_what_was_cleared){
  uint64_t n0, n1;
  struct bench b;

  bench_open(&b, 4096, 1000, 0, 2000);
  n0 = pages_in_use(&b);
  memset(b.model, 1, b.n*b.width);
  REQUIRE_RC(VECDB_OK, vdb_parray_put(b.p, b.root, 0, b.n, b.model));
  n1 = pages_in_use(&b);
  CHECK_U64(n0+500, n1);
  REQUIRE_RC(VECDB_OK, vdb_parray_clear(b.p, b.root, 0, 1000));
  CHECK_U64(n1-250, pages_in_use(&b));
  REQUIRE_RC(VECDB_OK, vdb_parray_clear(b.p, b.root, 1000, 1002));
  CHECK_U64(n1-250, pages_in_use(&b));
  REQUIRE_RC(VECDB_OK, vdb_parray_clear(b.p, b.root, 1002, 1004));
  CHECK_U64(n1-251, pages_in_use(&b));
  REQUIRE_RC(VECDB_OK, vdb_parray_clear(b.p, b.root, 0, UINT64_MAX));
  CHECK_U64(n0, pages_in_use(&b));
  array_is_sound(&b);
  bench_close(&b);
}

static int visit_stop(void *arg, uint64_t i, size_t n,
                      const unsigned char *data){
  (void)i; (void)n; (void)data;
  return ++*(int*)arg==2 ? 77 : 0;
}

TEST(parray__scan_stops_when_told){
  int n_call = 0;
  struct bench b;

  bench_open(&b, 4096, 8, 0, 4000);
  memset(b.model, 1, b.n*b.width);
  REQUIRE_RC(VECDB_OK, vdb_parray_put(b.p, b.root, 0, b.n, b.model));
  CHECK_INT(77, vdb_parray_scan(b.p, b.root, 0, b.n, visit_stop, &n_call));
  CHECK_INT(2, n_call);
  bench_close(&b);
}

/* An absent stretch is one run, however long. */
static int visit_count(void *arg, uint64_t i, size_t n,
                       const unsigned char *data){
  (void)i; (void)n; (void)data;
  ++*(int*)arg;
  return 0;
}

TEST(parray__scan_skips_holes_at_once){
  int n_call = 0;
  struct bench b;

  bench_open(&b, 4096, 20000, 0, 1);
  memset(b.model, 1, b.width);
  REQUIRE_RC(VECDB_OK, vdb_parray_put(b.p, b.root, 3, 1, b.model));
  REQUIRE_RC(VECDB_OK, vdb_parray_put(b.p, b.root, 4000000000u, 1, b.model));
  REQUIRE_RC(VECDB_OK, vdb_parray_scan(b.p, b.root, 0, UINT64_MAX/4,
                                       visit_count, &n_call));
  CHECK_INT(5, n_call);
  bench_close(&b);
}

/* -------------------------------------------------------- out of memory */

TEST(parray__rolls_back_from_every_failed_allocation){
  struct vdb_mem_stats after;
  struct bench b;
  int rc = VECDB_NOMEM;

  bench_open(&b, 4096, 500, 900, 3000);
  for(int i=0; i<20; i++) op_put(&b);
  REQUIRE_RC(VECDB_OK, vdb_pager_commit(b.p));
  memset(b.buf, 3, b.n*b.width);
  for(uint64_t n=1; rc!=VECDB_OK; n++){
    struct visit v = { &b, 0 };
    unsigned char *p = malloc(b.n*b.width);
    REQUIRE(n<5000);
    REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b.p));
    vdb_mem_fail_at(n, n%2==0);
    memset(p, 3, b.n*b.width);
    rc = vdb_parray_put(b.p, b.root, 1000, 60, p);
    if( rc==VECDB_OK ) rc = vdb_parray_put(b.p, b.root, 50000000, 20, p);
    if( rc==VECDB_OK ) rc = vdb_parray_clear(b.p, b.root, 950, 1030);
    if( rc==VECDB_OK ) rc = vdb_parray_get(b.p, b.root, 900, 100, p);
    v.next = 1000;
    if( rc==VECDB_OK ) rc = vdb_parray_scan(b.p, b.root, 1000, 1100,
                                            visit_run, &v);
    if( rc==VECDB_OK ) rc = vdb_parray_destroy(b.p, b.root);
    vdb_mem_fail_at(0, false);
    free(p);
    if( rc!=VECDB_OK ) REQUIRE_RC(VECDB_NOMEM, rc);
    REQUIRE_RC(VECDB_OK, vdb_pager_rollback(b.p));
    REQUIRE_RC(VECDB_OK, vdb_pager_begin_read(b.p));
    array_equals_model(&b);
    REQUIRE_RC(VECDB_OK, vdb_pager_end_read(b.p));
  }
  bench_close(&b);
  vdb_mem_stats(&after);
  CHECK_U64(0, after.n_block);
}

/* --------------------------------------------------------------- damage */

static bool rc_is_fine(int rc){
  return rc==VECDB_OK || (rc & 0xff)==VECDB_CORRUPT;
}

static int visit_any(void *arg, uint64_t i, size_t n,
                     const unsigned char *data){
  (void)arg; (void)i;
  return data && n==0;
}

static void damage_exercise(struct bench *b){
  static unsigned char buf[60000], two[120000];
  for(int i=0; i<10; i++){
    uint64_t at = below(b, 2) ? below(b, 3000) : 1000000 + below(b, 99);
    unsigned n = 1 + below(b, 40);
    uint32_t w = 0;
    int rc = vdb_parray_width(b->p, b->root, &w);
    REQUIRE(rc_is_fine(rc));
    if( w==0 || (uint64_t)w*n>sizeof(buf) ) continue;   /* as the store would */
    REQUIRE(rc_is_fine(vdb_parray_get(b->p, b->root, at, n, buf)));
    REQUIRE(rc_is_fine(vdb_parray_gather(b->p, b->root,
                                         (uint32_t[2]){ (uint32_t)at, 7 }, 2,
                                         two)));
    REQUIRE(rc_is_fine(vdb_parray_put(b->p, b->root, at, n, buf)));
    REQUIRE(rc_is_fine(vdb_parray_clear(b->p, b->root, at, at+below(b, 500))));
  }
  REQUIRE(rc_is_fine(vdb_parray_scan(b->p, b->root, 0, UINT64_MAX, visit_any,
                                     NULL)));
  REQUIRE(rc_is_fine(vdb_parray_destroy(b->p, b->root)));
}

TEST(parray__survives_damaged_pages){
  struct findings f;
  struct bench b;
  unsigned sp;

  bench_open(&b, 4096, 1000, 0, 40);
  memset(b.model, 1, b.n*b.width);
  for(uint64_t i=0; i<3000; i+=100){
    REQUIRE_RC(VECDB_OK, vdb_parray_put(b.p, b.root, i, 10, b.model));
  }
  REQUIRE_RC(VECDB_OK, vdb_parray_put(b.p, b.root, 1000000, 10, b.model));
  array_is_sound(&b);
  for(int i=0; i<1000*vt_scale(); i++){
    REQUIRE_RC(VECDB_OK, vdb_pager_savepoint(b.p, &sp));
    for(page_no pgno=1; pgno<=vdb_pager_n_page(b.p); pgno++){
      struct page *pg = NULL;
      if( vdb_page_get(b.p, pgno, PAGE_PARRAY_DIR, &pg)!=VECDB_OK ) continue;
      if( below(&b, 2) ){
        uint32_t off = 16 + below(&b, below(&b, 2) ? 12 : 300);
        REQUIRE_RC(VECDB_OK, vdb_page_write(b.p, pg));
        switch( below(&b, 3) ){
          case 0:  pg->data[off] ^= (unsigned char)(1u<<below(&b, 8)); break;
          case 1:  pg->data[off] = (unsigned char)below(&b, 256); break;
          default: put_u32(pg->data + 24 + 4*below(&b, 1018),
                           below(&b, vdb_pager_n_page(b.p)+3));
        }
      }
      vdb_page_unpin(b.p, pg);
    }
    f = array_findings(&b);
    VDB_UNUSED(f);
    damage_exercise(&b);
    REQUIRE_RC(VECDB_OK, vdb_pager_rollback_to(b.p, sp));
    REQUIRE_RC(VECDB_OK, vdb_pager_release(b.p, sp));
  }
  array_is_sound(&b);
  bench_close(&b);
}

/* Directories that all name one child would be walked for ever. */
TEST(parray__notices_directories_that_repeat){
  unsigned char x[4] = { 1, 2, 3, 4 };
  struct page *pg = NULL;
  struct findings f;
  struct bench b;

  bench_open(&b, 4096, 4, 0, 1);
  REQUIRE_RC(VECDB_OK, vdb_parray_put(b.p, b.root, (uint64_t)1<<40, 1, x));
  for(page_no i=1; i<=vdb_pager_n_page(b.p); i++){
    page_no child = 0;
    if( vdb_page_get(b.p, i, PAGE_PARRAY_DIR, &pg)!=VECDB_OK ) continue;
    REQUIRE_RC(VECDB_OK, vdb_page_write(b.p, pg));
    for(int k=0; k<1018; k++){
      if( get_u32(pg->data+24+4*k) ) child = get_u32(pg->data+24+4*k);
    }
    for(int k=0; k<1018; k++) put_u32(pg->data+24+4*k, child);
    put_u16(pg->data + PARRAYDIR_USED, 1018);
    vdb_page_unpin(b.p, pg);
  }
  CHECK_RC(VECDB_CORRUPT, vdb_parray_scan(b.p, b.root, 0, UINT64_MAX,
                                          visit_any, NULL));
  f = array_findings(&b);
  CHECK(f.n_damage>0);
  CHECK_RC(VECDB_CORRUPT, vdb_parray_destroy(b.p, b.root));
  bench_close(&b);
}
