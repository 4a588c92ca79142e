/* t_graph_threads.c -- graphs and threads: builds, insertions and measurements by
** several, searches of one graph by several. What they do has the bits of what
** one thread does; under ThreadSanitizer (make check-tsan) nothing races.
*/
#include <pthread.h>

#include "unit/lib_graph.h"

enum { N_ROW = 2100, N_NEW = 300, DIMS = 12 };

/* Rows of which some are equal, so that there are chains. */
static struct rows rows_with_equals(uint32_t n){
  struct rows r = rows_make(MADE_FLOATS, n, DIMS, vt_seed());
  for(uint32_t i=0; i<n; i+=50){
    memcpy(r.x+i*DIMS, r.x, DIMS*sizeof(float));
  }
  return r;
}

struct growth { struct built m; const struct built *before; };

static int growth_kept(void *arg, uint32_t i){
  struct growth *t = arg;
  return test_group(&t->m, i, t->before->group[i],
                    (uint32_t)t->before->sz_group[i], 1);
}

/* Rows first.. come, every 7th of the old ones goes. */
static void grow(struct growth *t, const struct built *before,
                 const struct rows *r, unsigned n_thread){
  uint64_t live[(N_ROW+63)/64];
  uint32_t row[N_NEW];
  uint64_t key[N_NEW];
  struct rows more = { N_NEW, DIMS, r->x };
  struct vdb_graph_source src = { N_NEW, DIMS, test_fetch, row, key, &more };
  struct vdb_graph_sink sink = { test_group, test_header, NULL, t,
                                 growth_kept };
  struct vdb_graph_opts o = { .seed = 1, .n_thread = n_thread,
                              .no_calibration = true };
  struct vdb_graph_prior prior = { 0 };
  memset(t, 0, sizeof(*t));
  t->before = before;
  memset(live, 0xff, sizeof(live));
  for(uint32_t i=0; i<N_ROW; i+=7) vdb_bit_clear(live, i);
  for(uint32_t i=0; i<N_NEW; i++) key[i] = row[i] = N_ROW+i;
  prior.g = before->g;
  prior.base = (const unsigned char *const*)before->group;
  prior.live = live;
  prior.n_row = N_ROW;
  prior.purge = true;
  REQUIRE_RC(VECDB_OK, vdb_graph_insert(&prior, &src, &o, &sink));
}

TEST(graph_threads__builds_and_insertions_are_those_of_one){
  static const unsigned n_thread[] = { 1, 2, 8 };
  struct rows r = rows_with_equals(N_ROW);
  uint64_t want = 0, want_grown = 0;
  for(size_t i=0; i<VDB_ARRAY_LEN(n_thread); i++){
    struct vdb_graph_opts o = { .seed = 1, .n_thread = n_thread[i],
                                .list1 = 8, .list2 = 24 };
    struct growth x;
    struct built m;
    build(&m, &r, &o);                           /* bits are tried, too */
    grow(&x, &m, &r, n_thread[i]);
    if( i==0 ) want = built_digest(&m);
    if( i==0 ) want_grown = built_digest(&x.m);
    CHECK_U64(want, built_digest(&m));
    CHECK_U64(want_grown, built_digest(&x.m));
    built_close(&x.m);
    built_close(&m);
  }
  vdb_free(r.x);
}

/* ---- Searches ------------------------------------------------------------ */

enum { K = 10, N_QUERY = 24, N_THREAD = 4 };

struct found {
  struct vdb_graph_hit one[N_QUERY*K], many[N_QUERY*K], within[N_QUERY*K];
  uint32_t n_one[N_QUERY], n_many[N_QUERY], n_within[N_QUERY];
  size_t n_range[N_QUERY];
};

struct seeker {
  pthread_t thread;
  const struct built *m;
  const struct rows *q;
  const struct vdb_graph_within *within;
  const uint64_t *filter;
  uint32_t first;                       /* query to begin with */
  int rc;
  struct found found;
};

static int seek_one(struct seeker *k, struct vdb_graph_searcher *s,
                    const struct vdb_graph_blocks *b, uint32_t i){
  static const struct vdb_graph_search p = { K, 40, -1 };
  static const struct vdb_graph_range range = { 4, 20, -1, 1, 1e9, SIZE_MAX };
  struct vdb_graph_blocks some = *b;
  struct vdb_graph_found f = { 0 };
  struct vdb_graph_stats st;
  struct found *out = &k->found;
  const float *q = k->q->x + i*DIMS;
  int rc;
  some.filter = k->filter;
  some.n_row = N_ROW;
  some.within = k->within;
  TRY( vdb_graph_knn(s, b, q, &p, out->one + i*K, &out->n_one[i], NULL) );
  TRY( vdb_graph_knn(s, &some, q, &p, out->within + i*K, &out->n_within[i],
                     &st) );
  TRY( vdb_graph_within_distance(s, b, q, &range, &f, &st) );
  out->n_range[i] = f.n;
done:
  vdb_free(f.hit);
  return rc;
}

static void *seek(void *arg){
  static const struct vdb_graph_search p = { K, 40, -1 };
  struct seeker *k = arg;
  struct vdb_graph_searcher *s = NULL;
  int rc;
  TRY( vdb_graph_searcher_create(k->m->g, &s) );
  for(uint32_t i=0; i<N_QUERY; i++){
    TRY( seek_one(k, s, &k->m->b, (k->first+i)%N_QUERY) );
  }
  TRY( vdb_graph_knn_many(s, &k->m->b, k->q->x, N_QUERY, &p, k->found.many,
                          k->found.n_many) );
done:
  vdb_graph_searcher_destroy(s);
  k->rc = rc;
  return NULL;
}

/* One graph, one bitmap of blocks whose checksums were right, a searcher for
** each thread. */
TEST(graph_threads__search_one_graph){
  static struct seeker seeker[N_THREAD+1];
  struct vdb_graph_opts o = { .seed = 1, .no_calibration = true, .list1 = 8,
                              .list2 = 24 };
  struct rows r = rows_with_equals(N_ROW);
  struct rows q = rows_make(MADE_FLOATS, N_QUERY, DIMS, vt_seed()+1);
  uint64_t sound[(N_ROW+63)/64] = { 0 }, half[(N_ROW+63)/64];
  uint32_t row[N_ROW];
  struct vdb_graph_within within = { row, 0.5, 1e9 };
  struct built m;
  build(&m, &r, &o);
  m.b.sound = sound;
  memset(half, 0x55, sizeof(half));
  for(uint32_t i=0; i<N_ROW; i++) row[i] = UINT32_MAX;
  for(int i=0; i<=N_THREAD; i++){
    struct seeker *k = &seeker[i];
    k->m = &m;
    k->q = &q;
    k->within = &within;
    k->filter = half;
    k->first = i<N_THREAD ? (uint32_t)i*5 : 0;
    if( i<N_THREAD ) REQUIRE(pthread_create(&k->thread, NULL, seek, k)==0);
  }
  for(int i=0; i<N_THREAD; i++) pthread_join(seeker[i].thread, NULL);
  seek(&seeker[N_THREAD]);
  for(int i=0; i<=N_THREAD; i++){
    CHECK_RC(VECDB_OK, seeker[i].rc);
    CHECK_MEM(&seeker[N_THREAD].found, &seeker[i].found, sizeof(struct found));
  }
  CHECK_U64(K, seeker[0].found.n_one[0]);
  built_close(&m);
  vdb_free(r.x);
  vdb_free(q.x);
}
