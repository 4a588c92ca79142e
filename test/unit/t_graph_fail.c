/* t_graph_fail.c -- graphs while something fails: memory, the rows' source, the
** sink, or the caller does not want to go on. Each place in turn.
**
** A build that fails leaves nothing behind; a search that fails leaves a
** searcher that answers as before.
*/
#include "unit/lib_graph.h"

#include "index/graph_build_int.h"

/* ---- One build in which something fails ---------------------------------- */

enum fail { FAIL_MEMORY, FAIL_FETCH, FAIL_SINK, FAIL_PROGRESS, FAIL_LINKER };

struct trial {
  struct built m;                       /* first: callbacks get it */
  struct rows rows;
  struct vdb_graph_opts o;
  const struct built *before;           /* not NULL: rows are added to it */
  const uint64_t *live;
  uint32_t n_old;                       /* its rows */
  enum fail what;
  uint64_t n_call, at;                  /* of `what` */
};

static bool trial_fails(struct trial *t, enum fail what){
  return t->what==what && ++t->n_call==t->at;
}

static int trial_fetch(void *arg, uint32_t i, float *vec){
  struct trial *t = arg;
  if( trial_fails(t, FAIL_FETCH) ) return VECDB_IOERR_READ;
  return test_fetch(&t->rows, i, vec);
}
static int trial_group(void *arg, uint32_t i, const void *blocks, uint32_t n,
                       uint32_t stride){
  struct trial *t = arg;
  if( trial_fails(t, FAIL_SINK) ) return VECDB_FULL;
  return test_group(&t->m, i, blocks, n, stride);
}
static int trial_header(void *arg, const void *bytes, size_t sz){
  struct trial *t = arg;
  if( trial_fails(t, FAIL_SINK) ) return VECDB_FULL;
  return test_header(&t->m, bytes, sz);
}
static int trial_kept(void *arg, uint32_t i){
  struct trial *t = arg;
  size_t sz = t->before->sz_group[i];
  if( trial_fails(t, FAIL_SINK) ) return VECDB_FULL;
  return test_group(&t->m, i, t->before->group[i], (uint32_t)sz, 1);
}
static int trial_progress(void *arg, double done){
  struct trial *t = arg;
  CHECK(done>=0 && done<=1);
  return trial_fails(t, FAIL_PROGRESS);
}

static int trial_edges(void *arg, const struct vdb_graph_rows *rows,
                       const struct vdb_graph_linking *how, uint32_t *edge){
  struct trial *t = arg;
  if( trial_fails(t, FAIL_LINKER) ) return VECDB_IOERR;
  for(uint32_t i=0; i<rows->n; i++){
    float x[128];
    int rc = rows->fetch(rows->arg, i, x);
    if( rc!=VECDB_OK ) return rc;
    for(uint32_t j=0; j<how->n_lanes; j++){
      edge[i*how->n_lanes+j] = j<8 && j+1<rows->n ? (i+j+1)%rows->n
                                                  : SLOT_NONE;
    }
    if( rows->progress(rows->arg, (i+1.0)/rows->n) ) return VECDB_INTERRUPT;
  }
  return VECDB_OK;
}

static int trial_run(struct trial *t){
  struct vdb_graph_source src = { t->rows.n, t->rows.d, trial_fetch, NULL, NULL,
                                  t };
  struct vdb_graph_sink sink = { trial_group, trial_header, trial_progress, t,
                                 trial_kept };
  struct vdb_graph_linker linker = { trial_edges, t };
  struct vdb_graph_prior prior = { 0 };
  struct vdb_graph_opts o = t->o;
  uint32_t row[128];
  uint64_t key[128];
  int rc;
  if( o.linker ) o.linker = &linker;
  memset(&t->m, 0, sizeof(t->m));
  t->n_call = 0;
  if( t->before==NULL ) return vdb_graph_build(&src, &o, &sink);
  for(uint32_t i=0; i<t->rows.n; i++) key[i] = row[i] = t->n_old+i;
  src.row = row;
  src.key = key;
  prior.g = t->before->g;
  prior.base = (const unsigned char *const*)t->before->group;
  prior.live = t->live;
  prior.n_row = t->live ? t->n_old : 0;
  prior.purge = t->live!=NULL;
  rc = vdb_graph_insert(&prior, &src, &o, &sink);
  return rc;
}

/* At every n-th call of a kind until none fails any more, by larger steps later
** on. Returns how many failed. */
static unsigned trial_sweep(struct trial *t, enum fail what, int want,
                            unsigned step){
  struct vdb_mem_stats before, after;
  unsigned n_failed = 0;
  int rc = want;
  t->what = what;
  vdb_mem_stats(&before);
  for(t->at=1; rc!=VECDB_OK; t->at+=1+(step ? t->at/step : 0)){
    if( what==FAIL_MEMORY ) vdb_mem_fail_at(t->at, false);
    rc = trial_run(t);
    vdb_mem_fail_at(0, false);
    if( rc!=VECDB_OK && !CHECK_RC(want, rc) ) break;
    CHECK(rc==VECDB_OK || t->m.header==NULL);
    n_failed += rc!=VECDB_OK;
    built_close(&t->m);
    vdb_mem_stats(&after);
    if( !CHECK_U64(before.sz_now, after.sz_now) ) break;
  }
  return n_failed;
}

static void trial_all(struct trial *t, unsigned step){
  CHECK(trial_sweep(t, FAIL_MEMORY, VECDB_NOMEM, step)>40);
  CHECK(trial_sweep(t, FAIL_FETCH, VECDB_IOERR_READ, 4)>5);
  CHECK(trial_sweep(t, FAIL_SINK, VECDB_FULL, 0)>=2);
  CHECK(trial_sweep(t, FAIL_PROGRESS, VECDB_INTERRUPT, 0)>=2);
}

/* ---- Builds -------------------------------------------------------------- */

/* Short lists, no measurements: what fails is reached soon. */
#define TRIAL_OPTS  .seed = 1, .list1 = 4, .list2 = 8, .n_router = 32, \
                    .no_calibration = true

TEST(graph_fail__builds_of_each_kind){
  static const struct { int made; uint32_t d; struct vdb_graph_opts o; } kind[] = {
    { MADE_BYTES, 70, { TRIAL_OPTS, .prefix = 64 } },
    { MADE_FLOATS, 80, { TRIAL_OPTS, .prefix = 64, .axes = VDB_AXES_RANDOM } },
    { MADE_FLOATS, 8, { TRIAL_OPTS, .n_lanes = 64 } },
    { MADE_BITS, 70, { TRIAL_OPTS, .nav = VDB_NAV_BITS } }
  };
  for(size_t i=0; i<VDB_ARRAY_LEN(kind); i++){
    struct trial x = { .rows = rows_make(kind[i].made, 60, kind[i].d, 21),
                       .o = kind[i].o };
    for(uint32_t j=0; j<60; j+=7){                /* some are equal */
      memcpy(x.rows.x + j*x.rows.d, x.rows.x, x.rows.d*sizeof(float));
    }
    trial_all(&x, 0);
    vdb_free(x.rows.x);
  }
}

TEST(graph_fail__builds_whose_edges_come_from_elsewhere){
  static const struct vdb_graph_linker any = { trial_edges, NULL };
  struct trial x = { .rows = rows_make(MADE_FLOATS, 50, 8, 22),
                     .o = { TRIAL_OPTS, .linker = &any } };
  trial_all(&x, 0);
  CHECK_U64(1, trial_sweep(&x, FAIL_LINKER, VECDB_IOERR, 0));
  vdb_free(x.rows.x);
}

/* What is measured on the rows held out. */
TEST(graph_fail__measurements){
  struct trial x = { .rows = rows_make(MADE_FLOATS, 420, 4, 23),
                     .o = { .seed = 1, .list1 = 4, .list2 = 8 } };
  trial_all(&x, 8);
  vdb_free(x.rows.x);
}

/* While neighbours are sought that bytes would hide. */
TEST(graph_fail__the_choice_of_floats){
  struct trial x = { .rows = clusters_make(500, 300, 22),
                     .o = { TRIAL_OPTS } };
  CHECK(trial_sweep(&x, FAIL_MEMORY, VECDB_NOMEM, 30)>20);
  CHECK(trial_sweep(&x, FAIL_FETCH, VECDB_IOERR_READ, 3)>5);
  CHECK(trial_sweep(&x, FAIL_PROGRESS, VECDB_INTERRUPT, 4)>=2);
  vdb_free(x.rows.x);
}

/* ---- Rows that are added ------------------------------------------------- */

TEST(graph_fail__insertions){
  struct rows r = rows_make(MADE_FLOATS, 150, 8, 24);
  struct vdb_graph_opts o = { TRIAL_OPTS };
  uint64_t live[3] = { ~(uint64_t)0x1111, ~(uint64_t)0x100, ~(uint64_t)0 };
  struct built m;
  for(uint32_t i=0; i<150; i+=10) memcpy(r.x+i*8, r.x, 32);
  build(&m, &r, &o);
  for(int purge=0; purge<3; purge++){            /* 2: all equal ones go */
    for(uint32_t i=0; purge==2 && i<150; i+=10) vdb_bit_clear(live, i);
    struct trial x = { .rows = rows_make(MADE_FLOATS, 40, 8, 25), .o = o,
                       .before = &m, .live = purge ? live : NULL,
                       .n_old = 150 };
    for(uint32_t i=0; i<40; i+=9) memcpy(x.rows.x+i*8, r.x, 32);
    for(uint32_t i=1; i<40; i+=9) memcpy(x.rows.x+i*8, x.rows.x+8, 32);
    trial_all(&x, 0);
    vdb_free(x.rows.x);
  }
  built_close(&m);
  vdb_free(r.x);
}

/* A row added to many groups: the others are kept, or the caller is not told. */
TEST(graph_fail__insertions_that_keep_groups){
  struct rows r = rows_make(MADE_CLUSTERS, 4200, 8, 26);
  struct vdb_graph_opts o = { TRIAL_OPTS };
  struct trial x = { .rows = { 1, 8, NULL }, .o = o, .n_old = 4200 };
  struct built m;
  build(&m, &r, &o);
  REQUIRE(m.n_group>=3);
  x.before = &m;
  x.rows.x = vdb_memdup(r.x, 32);
  CHECK(trial_sweep(&x, FAIL_SINK, VECDB_FULL, 0)==m.n_group+1);
  vdb_free(x.rows.x);
  built_close(&m);
  vdb_free(r.x);
}

/* ---- Another width of codes ---------------------------------------------- */

static int bits_fetch(void *arg, uint32_t i, float *vec){
  return test_fetch(arg, i, vec);
}

struct bits_build {
  struct graph_builder b;
  struct vdb_graph_source src;
  struct vdb_graph_opts o;
  struct vdb_graph_sink sink;
  struct calib *calib;
};

/* A build up to the choice of bits. */
static void bits_build(struct bits_build *t, struct rows *r){
  memset(t, 0, sizeof(*t));
  t->src = (struct vdb_graph_source){ r->n, r->d, bits_fetch, NULL, NULL, r };
  t->o = (struct vdb_graph_opts){ .seed = 1, .list1 = 16, .list2 = 40,
                                  .n_router = 32 };
  t->b.src = &t->src;
  t->b.opts = &t->o;
  t->b.sink = &t->sink;
  t->b.n = r->n;
  t->b.n_lanes = 32;
  REQUIRE_RC(VECDB_OK, vdb_graph_build_options(&t->b));
  REQUIRE_RC(VECDB_OK, vdb_graph_load_rows(&t->b));
  t->b.n_order = t->b.n_nodes;
  t->b.order = vdb_malloc_array(t->b.n_order, sizeof(uint32_t));
  for(uint32_t i=0; i<t->b.n_order; i++) t->b.order[i] = i;
  REQUIRE_RC(VECDB_OK, vdb_graph_build_alloc(&t->b));
  REQUIRE_RC(VECDB_OK, vdb_graph_enter(&t->b));
  REQUIRE_RC(VECDB_OK, vdb_graph_calib_begin(&t->b, &t->calib));
}
static void bits_close(struct bits_build *t){
  vdb_graph_calib_end(t->calib);
  vdb_graph_build_clear(&t->b);
}
static int stop_at_once(void *arg, double done){
  VDB_UNUSED(arg);
  return done>=0;
}
static uint64_t mem_calls(void){
  struct vdb_mem_stats st;
  vdb_mem_stats(&st);
  return st.n_call;
}

/* Memory fails while widths are tried, and while the new one is taken: the
** graph is as it was (of one piece: others go as they are done). */
TEST(graph_fail__the_choice_of_bits){
  struct rows r = rows_make(MADE_FLOATS, 2000, 64, 26);
  struct bits_build x;
  uint64_t n_call;
  bits_build(&x, &r);
  n_call = mem_calls();
  REQUIRE_RC(VECDB_OK, vdb_graph_choose_bits(&x.b, x.calib));
  n_call = mem_calls() - n_call;
  REQUIRE(x.b.g->bits!=2);                       /* another was taken */
  bits_close(&x);
  bits_build(&x, &r);
  for(uint64_t at=1; at<=n_call; at = at<48 || at+20>=n_call ? at+1
                                                            : n_call-20){
    unsigned char *block = x.b.piece.at[0];
    vdb_mem_fail_at(at, false);
    CHECK_RC(VECDB_NOMEM, vdb_graph_choose_bits(&x.b, x.calib));
    vdb_mem_fail_at(0, false);
    CHECK_U64(2, x.b.g->bits);
    CHECK(x.b.piece.at[0]==block);
  }
  x.sink.progress = stop_at_once;
  CHECK_RC(VECDB_INTERRUPT, vdb_graph_choose_bits(&x.b, x.calib));
  x.sink.progress = NULL;
  CHECK_U64(2, x.b.g->bits);
  CHECK_RC(VECDB_OK, vdb_graph_choose_bits(&x.b, x.calib));
  CHECK(x.b.g->bits!=2);
  bits_close(&x);
  vdb_free(r.x);
}

/* A width is not tried for which there is no memory besides. */
TEST(graph_fail__widths_that_do_not_fit_are_not_tried){
  struct rows r = rows_make(MADE_FLOATS, 2000, 64, 26);
  static const uint64_t sz[] = { 1, 4000000, 1u<<31 };
  uint64_t n_tried[3];
  struct bits_build x;
  for(int i=0; i<3; i++){
    bits_build(&x, &r);
    x.o.sz_memory = sz[i];
    n_tried[i] = mem_calls();
    REQUIRE_RC(VECDB_OK, vdb_graph_choose_bits(&x.b, x.calib));
    n_tried[i] = mem_calls() - n_tried[i];
    CHECK(i==2 || x.b.g->bits==2);
    bits_close(&x);
  }
  CHECK(n_tried[0]==n_tried[1] && n_tried[1]<n_tried[2]);
  bits_build(&x, &r);
  CHECK(vdb_graph_bits_tried(&x.b));
  x.o.bits = 2;
  CHECK(!vdb_graph_bits_tried(&x.b));
  x.o.bits = 0;
  x.o.no_calibration = true;
  CHECK(!vdb_graph_bits_tried(&x.b));
  x.o.n_router = 0;
  CHECK(vdb_graph_bits_tried(&x.b));
  x.b.is_probe = true;
  CHECK(!vdb_graph_bits_tried(&x.b));
  bits_close(&x);
  vdb_free(r.x);
}

/* ---- Searches, checks, measurements of what is there --------------------- */

enum { K = 5, N_QUERY = 6 };
struct answers {
  struct vdb_graph_hit one[K], within[K], many[N_QUERY*K];
  uint32_t n_one, n_within, n_many[N_QUERY];
  size_t n_range;
};

static int answers_get(struct vdb_graph_searcher *s,
                       const struct vdb_graph_blocks *b, const float *q,
                       struct answers *a){
  static const struct vdb_graph_search p = { K, 300, -1 };
  struct vdb_graph_range range = { 3, 20, -1, 1, 1e9, SIZE_MAX };
  struct vdb_graph_found f = { 0 };
  struct vdb_graph_blocks every = *b;
  struct vdb_graph_stats st;
  int rc;
  memset(a, 0, sizeof(*a));
  every.within = NULL;
  TRY( vdb_graph_knn(s, &every, q, &p, a->one, &a->n_one, NULL) );
  TRY( vdb_graph_knn(s, b, q, &p, a->within, &a->n_within, &st) );
  TRY( vdb_graph_knn_many(s, &every, q, N_QUERY, &p, a->many, a->n_many) );
  TRY( vdb_graph_within_distance(s, &every, q, &range, &f, &st) );
  a->n_range = f.n;
done:
  vdb_free(f.hit);
  return rc;
}

TEST(graph_fail__searches){
  struct rows r = rows_make(MADE_FLOATS, 900, 6, 27);
  struct vdb_graph_opts o = { TRIAL_OPTS };
  uint64_t half[900/64+1], n_failed = 0;
  struct vdb_graph_within within = { NULL, 0.5, 1e9 };
  uint32_t row[900];
  struct answers want, got;
  struct built m;
  int rc = VECDB_NOMEM;
  for(size_t i=0; i<VDB_ARRAY_LEN(half); i++) half[i] = 0x5555555555555555u;
  build(&m, &r, &o);
  for(uint32_t i=0; i<900; i++) row[i] = UINT32_MAX;
  within.row = row;
  m.b.filter = half;
  m.b.n_row = 900;
  m.b.within = &within;
  REQUIRE_RC(VECDB_OK, answers_get(m.s, &m.b, r.x, &want));
  CHECK(want.n_range>1);
  for(uint64_t at=1; rc!=VECDB_OK; at++){
    struct vdb_graph_searcher *s = NULL;
    vdb_mem_fail_at(at, false);
    rc = vdb_graph_searcher_create(m.g, &s);
    if( rc==VECDB_OK ) rc = answers_get(s, &m.b, r.x, &got);
    vdb_mem_fail_at(0, false);
    CHECK(rc==VECDB_OK || rc==VECDB_NOMEM);
    n_failed += rc!=VECDB_OK;
    if( s==NULL ) continue;
    CHECK_RC(VECDB_OK, answers_get(s, &m.b, r.x, &got));
    CHECK_MEM(&want, &got, sizeof(want));
    vdb_graph_searcher_destroy(s);
  }
  CHECK(n_failed>60);
  built_close(&m);
  vdb_free(r.x);
}

static int examine(struct built *m){
  struct vdb_graph_report rep;
  struct vdb_graph *g = NULL;
  unsigned char *header = NULL;
  size_t sz = 0;
  int rc;
  TRY( vdb_graph_check(m->g, &m->b, &rep) );
  TRY( vdb_graph_open(m->header, m->sz_header, &g) );
  TRY( vdb_graph_recalibrate(m->g, &m->b, 1, &header, &sz) );
  CHECK(sz>m->sz_header);                        /* there is a table now */
done:
  if( rc!=VECDB_OK ) CHECK(header==NULL && sz==0);
  vdb_graph_close(g);
  vdb_free(header);
  return rc;
}

TEST(graph_fail__checks_and_measurements){
  struct rows r = rows_make(MADE_BYTES, 420, 70, 28);
  struct vdb_graph_opts o = { TRIAL_OPTS, .prefix = 64 };
  struct vdb_mem_stats before, after;
  uint64_t n_failed = 0;
  struct built m;
  int rc = VECDB_NOMEM;
  build(&m, &r, &o);
  vdb_mem_stats(&before);
  for(uint64_t at=1; rc!=VECDB_OK; at++){
    vdb_mem_fail_at(at, false);
    rc = examine(&m);
    vdb_mem_fail_at(0, false);
    CHECK(rc==VECDB_OK || rc==VECDB_NOMEM);
    n_failed += rc!=VECDB_OK;
    vdb_mem_stats(&after);
    CHECK_U64(before.sz_now, after.sz_now);
  }
  CHECK(n_failed>40);
  built_close(&m);
  vdb_free(r.x);
}
