/* t_graph_memory.c -- a build and an insertion hold no more memory than they may
** have, by the allocator's own count, with whatever blocks hold, codes and
** threads; and say how many rows would do.
*/
#include "vt.h"

#include "index/graph.h"
#include "util/mem.h"
#include "util/rng.h"

enum { DIMS_MAX = 320, ROWS_MAX = 9000, GROUPS_MAX = 400 };

static float row_x[ROWS_MAX*DIMS_MAX];

enum kind { OF_FLOATS, OF_BYTES, OF_BITS };

static void rows_fill(enum kind kind, uint32_t d){
  struct vdb_rng r;
  vdb_rng_init(&r, vt_seed());
  for(uint32_t i=0; i<ROWS_MAX*d; i++){
    uint64_t x = vdb_rng_u64(&r);
    row_x[i] = kind==OF_BITS ? (float)(x>>63)
             : kind==OF_BYTES ? (float)(x>>56) : (float)(x>>40)/65536.0f;
  }
}

/* What comes of a build, held as a draft of the store is. */
struct made {
  uint32_t lo, d;
  void *group[GROUPS_MAX], *header;
  size_t sz_header;
  uint32_t n_group;
};

static int made_fetch(void *arg, uint32_t i, float *vec){
  const struct made *m = arg;
  memcpy(vec, row_x + (size_t)(m->lo+i)*m->d, m->d*sizeof(float));
  return VECDB_OK;
}
static int made_group(void *arg, uint32_t i, const void *blocks, uint32_t n,
                      uint32_t stride){
  struct made *m = arg;
  REQUIRE(i<GROUPS_MAX);
  m->group[i] = vdb_malloc_aligned((size_t)n*stride);
  if( m->group[i]==NULL ) return VECDB_NOMEM;
  memcpy(m->group[i], blocks, (size_t)n*stride);
  m->n_group = i+1;
  return VECDB_OK;
}
static int made_header(void *arg, const void *bytes, size_t sz){
  struct made *m = arg;
  m->header = vdb_memdup(bytes, sz);
  m->sz_header = sz;
  return m->header ? VECDB_OK : VECDB_NOMEM;
}
static void made_free(struct made *m){
  for(uint32_t i=0; i<m->n_group; i++) vdb_free_aligned(m->group[i]);
  vdb_free(m->header);
}

/* The peak is that of the process: fill up to it first, so that whatever is more
** is ours. */
struct peak { void *ballast; uint64_t sz; };

static void peak_begin(struct peak *p){
  struct vdb_mem_stats s;
  vdb_mem_stats(&s);
  p->ballast = vdb_malloc((size_t)(s.sz_peak-s.sz_now));
  REQUIRE(p->ballast!=NULL);
  p->sz = s.sz_peak;
}
static uint64_t peak_end(struct peak *p){
  struct vdb_mem_stats s;
  vdb_mem_stats(&s);
  vdb_free(p->ballast);
  return s.sz_peak - p->sz;
}

/* Rows lo..lo+n-1, anew or added to `old`. */
static int make(struct made *out, struct made *old, uint32_t lo, uint32_t n,
                uint32_t d, const struct vdb_graph_opts *o, uint64_t *sz_peak){
  struct vdb_graph_source src = { n, d, made_fetch, NULL, NULL, out };
  struct vdb_graph_sink sink = { made_group, made_header, NULL, out, NULL };
  struct vdb_graph_prior prior = { 0 };
  struct vdb_graph *g = NULL;
  uint64_t key[ROWS_MAX];
  struct peak p;
  int rc;
  memset(out, 0, sizeof(*out));
  out->lo = lo;
  out->d = d;
  for(uint32_t i=0; i<n; i++) key[i] = lo+i;
  src.key = key;
  if( old ){
    REQUIRE_RC(VECDB_OK, vdb_graph_open(old->header, old->sz_header, &g));
    prior.g = g;
    prior.base = (const unsigned char *const*)old->group;
  }
  peak_begin(&p);
  rc = old ? vdb_graph_insert(&prior, &src, o, &sink)
           : vdb_graph_build(&src, o, &sink);
  *sz_peak = peak_end(&p);
  vdb_graph_close(g);
  return rc;
}

static const struct layout {
  enum kind kind;
  uint32_t d;
  struct vdb_graph_opts o;
} layouts[] = {
  { OF_FLOATS, 24, { .seed = 1 } },
  { OF_FLOATS, 24, { .seed = 1, .n_lanes = 64, .bits = 4 } },
  { OF_FLOATS, 300, { .seed = 1, .nav = VDB_NAV_SQ8 } },
  { OF_FLOATS, 300, { .seed = 1, .prefix = 64 } },
  { OF_BYTES, 100, { .seed = 1 } },
  { OF_BITS, 256, { .seed = 1, .nav = VDB_NAV_BITS, .bits = 1 } } };

/* The most rows that the limit allows, built and, from two thirds on, added. */
static void layout_keeps(const struct layout *l, uint64_t limit,
                         unsigned n_thread){
  struct vdb_graph_opts o = l->o;
  uint32_t n_fit = 0;
  struct made m, more;
  uint64_t sz;
  o.sz_memory = limit;
  o.n_thread = n_thread;
  o.n_fit = &n_fit;
  CHECK_RC(VECDB_TOOBIG, make(&m, NULL, 0, ROWS_MAX, l->d, &o, &sz));
  CHECK(sz<=limit);
  made_free(&m);
  if( !CHECK(n_fit>600 && n_fit<ROWS_MAX) ) return;
  CHECK_RC(VECDB_TOOBIG, make(&m, NULL, 0, n_fit+1, l->d, &o, &sz));
  made_free(&m);
  CHECK_RC(VECDB_OK, make(&m, NULL, 0, n_fit, l->d, &o, &sz));
  if( !CHECK(sz<=limit && sz>limit/2) ){
    printf("  %" PRIu64 " of %" PRIu64 "\n", sz, limit);
  }
  made_free(&m);
  CHECK_RC(VECDB_OK, make(&m, NULL, 0, n_fit/3*2, l->d, &o, &sz));
  CHECK(sz<=limit);
  CHECK_RC(VECDB_OK, make(&more, &m, n_fit/3*2, n_fit/3, l->d, &o, &sz));
  if( !CHECK(sz<=limit) ) printf("  %" PRIu64 " of %" PRIu64 "\n", sz, limit);
  made_free(&more);
  CHECK_RC(VECDB_TOOBIG, make(&more, &m, n_fit/3*2, n_fit/2, l->d, &o, &sz));
  made_free(&more);
  made_free(&m);
}

TEST(graph_memory__builds_and_insertions_keep_the_limit){
  for(size_t i=0; i<VDB_ARRAY_LEN(layouts); i++){
    rows_fill(layouts[i].kind, layouts[i].d);
    printf("  layout %zu\n", i);
    layout_keeps(&layouts[i], (uint64_t)4<<20, 1 + (i%3)*3);
  }
}

/* .. with trials of bits, and other bits taken in the end. */
TEST(graph_memory__trials_keep_the_limit){
  static const struct layout l = { OF_FLOATS, 24, { .seed = 1 } };
  rows_fill(l.kind, l.d);
  layout_keeps(&l, (uint64_t)8<<20, 2);
}

/* How many rows fit has nothing to do with threads. */
TEST(graph_memory__what_fits_does_not_depend_on_threads){
  uint32_t n[3] = { 0 };
  rows_fill(OF_FLOATS, 24);
  for(unsigned i=0; i<3; i++){
    struct vdb_graph_opts o = { .seed = 1, .sz_memory = (uint64_t)2<<20,
                                .n_thread = 1+7*i, .n_fit = &n[i] };
    struct made m;
    uint64_t sz;
    CHECK_RC(VECDB_TOOBIG, make(&m, NULL, 0, ROWS_MAX, 24, &o, &sz));
    made_free(&m);
  }
  CHECK(n[0]>0);
  CHECK_U64(n[0], n[1]);
  CHECK_U64(n[0], n[2]);
}
