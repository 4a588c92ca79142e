/* t_graph_insert.c -- rows enter and leave a graph index: recall against a
** fresh build, equal vectors, determinism, what is shared, failure.
*/
#include "vt.h"

#include "index/graph.h"
#include "pager/format.h"
#include "simd/simd.h"
#include "util/bitset.h"
#include "util/bytes.h"
#include "util/mem.h"
#include "util/rng.h"

/* ---- An index in memory, by versions ------------------------------------- */

enum { GROUPS = 64, ROWS_MAX = 9000, DIMS = 16 };

struct rows { uint32_t n, d; float x[ROWS_MAX*DIMS]; };

struct version {
  unsigned char *group[GROUPS], *header;
  size_t sz_group[GROUPS], sz_header;
  bool is_kept[GROUPS];                /* belongs to the version before */
  const struct version *before;
  uint32_t n_group;
  struct vdb_graph *g;
};

struct feed { const struct rows *r; const uint32_t *row; };

static int feed_fetch(void *arg, uint32_t i, float *vec){
  const struct feed *f = arg;
  memcpy(vec, f->r->x + (size_t)f->row[i]*f->r->d, f->r->d*sizeof(float));
  return VECDB_OK;
}
static int version_group(void *arg, uint32_t i, const void *blocks, uint32_t n,
                         uint32_t stride){
  struct version *v = arg;
  REQUIRE(i<GROUPS);
  v->sz_group[i] = (size_t)n*stride;
  v->group[i] = vdb_malloc_aligned(v->sz_group[i]);
  if( v->group[i]==NULL ) return VECDB_NOMEM;
  memcpy(v->group[i], blocks, v->sz_group[i]);
  v->n_group = i+1;
  return VECDB_OK;
}
static int version_kept(void *arg, uint32_t i){
  struct version *v = arg;
  v->group[i] = v->before->group[i];
  v->sz_group[i] = v->before->sz_group[i];
  v->is_kept[i] = true;
  v->n_group = i+1;
  return VECDB_OK;
}
static int version_header(void *arg, const void *bytes, size_t sz){
  struct version *v = arg;
  v->header = vdb_memdup(bytes, sz);
  v->sz_header = sz;
  return v->header ? VECDB_OK : VECDB_NOMEM;
}
static void version_close(struct version *v){
  vdb_graph_close(v->g);
  for(uint32_t i=0; i<v->n_group; i++){
    if( !v->is_kept[i] ) vdb_free_aligned(v->group[i]);
  }
  vdb_free(v->header);
  memset(v, 0, sizeof(*v));
}

/* What insertions are asked for; a test that sets it clears it. */
static struct { bool renew, is_beside; } ask;

/* Rows row[0..n-1], numbered as they are. */
static int version_make(struct version *out, const struct version *before,
                        const struct rows *r, const uint32_t *row, uint32_t n,
                        const uint64_t *live, const struct vdb_graph_opts *o,
                        int (*progress)(void*, double)){
  struct vdb_graph_prior old = { 0 };
  struct feed f = { r, row };
  struct vdb_graph_source src = { n, r->d, feed_fetch, row, NULL, &f };
  struct vdb_graph_sink sink = { version_group, version_header, progress, out,
                                 version_kept };
  uint64_t *key = vdb_malloc_array((size_t)n+1, sizeof(*key));
  int rc;
  memset(out, 0, sizeof(*out));
  if( key==NULL ) return VECDB_NOMEM;
  for(uint32_t i=0; i<n; i++) key[i] = row[i];
  src.key = key;
  out->before = before;
  if( before ){
    old.g = before->g;
    old.base = (const unsigned char *const*)before->group;
    old.live = live;
    old.n_row = live ? ROWS_MAX : 0;
    old.purge = live!=NULL;
    old.renew = ask.renew;
    old.is_beside = ask.is_beside;
    rc = vdb_graph_insert(&old, &src, o, &sink);
  }else{
    rc = vdb_graph_build(&src, o, &sink);
  }
  vdb_free(key);
  if( rc==VECDB_OK ) rc = vdb_graph_open(out->header, out->sz_header, &out->g);
  return rc;
}
static void version_must(struct version *out, const struct version *before,
                         const struct rows *r, const uint32_t *row, uint32_t n,
                         const uint64_t *live,
                         const struct vdb_graph_opts *o){
  REQUIRE(version_make(out, before, r, row, n, live, o, NULL)==VECDB_OK);
}

static uint64_t version_digest(const struct version *v){
  uint64_t h = 1;
  for(size_t i=0; i<v->sz_header; i++) h = (h ^ v->header[i])*0x100000001b3u;
  for(uint32_t g=0; g<v->n_group; g++){
    for(size_t i=0; i<v->sz_group[g]; i++){
      h = (h ^ v->group[g][i])*0x100000001b3u;
    }
  }
  return h;
}

static void version_blocks(const struct version *v, const uint64_t *live,
                           struct vdb_graph_blocks *b){
  struct vdb_graph_info info;
  vdb_graph_info(v->g, &info);
  memset(b, 0, sizeof(*b));
  b->base = (const unsigned char *const*)v->group;
  b->n_slots = info.n_slots;
  b->live = live;
  b->n_row = ROWS_MAX;
}

/* Every row of `live` is in one block, no other is; all is well formed and
** reachable. */
static void version_check(const struct version *v, const uint64_t *live,
                          uint32_t n_live){
  struct vdb_graph_report rep;
  struct vdb_graph_blocks b;
  struct vdb_graph_info info;
  uint32_t n = 0;
  vdb_graph_info(v->g, &info);
  version_blocks(v, live, &b);
  CHECK_RC(VECDB_OK, vdb_graph_check(v->g, &b, &rep));
  CHECK_U64(0, rep.n_unreached);
  for(uint32_t s=0; s<info.n_slots; s++){
    const unsigned char *p = v->group[s>>info.shift]
                           + (size_t)(s & ((1u<<info.shift)-1))*info.stride;
    uint32_t row;
    uint64_t key;
    int rc = vdb_graph_block_row(v->g, p, s, &row, &key);
    if( rc==VECDB_NOTFOUND ) continue;
    CHECK_RC(VECDB_OK, rc);
    CHECK_U64(row, key);
    CHECK(row<ROWS_MAX && vdb_bit_get(live, row));
    n++;
  }
  CHECK_U64(n_live, n);
}

static void rows_fill(struct rows *r, uint32_t n, uint32_t d,
                      uint32_t n_cluster, uint64_t seed){
  struct vdb_rng g, c;
  vdb_rng_init(&g, seed);
  r->n = n;
  r->d = d;
  for(uint32_t i=0; i<n; i++){
    uint64_t centre = vdb_rng_below(&g, n_cluster);
    for(uint32_t j=0; j<d; j++){
      vdb_rng_init(&c, centre*1000+j);
      r->x[i*d+j] = (float)((n_cluster>1 ? 30*vdb_rng_gauss(&c) : 0)
                            + vdb_rng_gauss(&g));
    }
  }
}

static float d2_of(const struct rows *r, uint32_t i, const float *q){
  return vdb_l2sq(VECDB_F32, q, r->x + (size_t)i*r->d, r->d);
}

/* Recall of 10 for queries that are rows moved a little. */
static double version_recall(const struct version *v, const struct rows *r,
                             const uint64_t *live, uint32_t ef){
  struct vdb_graph_searcher *s;
  struct vdb_graph_blocks b;
  struct vdb_graph_search p = { 10, ef, -1 };
  struct vdb_rng g;
  uint32_t got = 0, all = 0;
  REQUIRE(vdb_graph_searcher_create(v->g, &s)==VECDB_OK);
  version_blocks(v, live, &b);
  vdb_rng_init(&g, 77);
  for(int i=0; i<100; i++){
    struct vdb_graph_hit hit[10];
    float q[DIMS], near[11];
    uint32_t at = vdb_rng_below(&g, r->n), n, m = 0;
    for(uint32_t j=0; j<r->d; j++){
      q[j] = r->x[at*r->d+j] + 0.5f*(float)vdb_rng_gauss(&g);
    }
    for(uint32_t j=0; j<r->n; j++){
      float d2 = d2_of(r, j, q);
      uint32_t k = m;
      if( !vdb_bit_get(live, j) || (m==10 && d2>=near[9]) ) continue;
      if( m<10 ) m++;
      for(k = m-1; k>0 && near[k-1]>d2; k--) near[k] = near[k-1];
      near[k] = d2;
    }
    REQUIRE(vdb_graph_knn(s, &b, q, &p, hit, &n, NULL)==VECDB_OK);
    for(uint32_t j=0; j<n; j++) got += d2_of(r, hit[j].row, q)<=near[m-1];
    all += m;
  }
  vdb_graph_searcher_destroy(s);
  return (double)got/all;
}

static struct rows set;                /* one at a time */
static uint32_t ascending[ROWS_MAX];

static void set_make(uint32_t n, uint32_t d, uint32_t n_cluster){
  rows_fill(&set, n, d, n_cluster, 5);
  for(uint32_t i=0; i<ROWS_MAX; i++) ascending[i] = i;
}

/* ---- Growing ------------------------------------------------------------- */

TEST(graph_insert__grown_graphs_search_as_built_ones_do){
  struct vdb_graph_opts o = { .seed = 1, .no_calibration = true };
  uint64_t live[ROWS_MAX/64+1] = { 0 };
  struct version v[2] = { 0 }, fresh;
  uint32_t n = 2000;
  int at = 0;
  set_make(4000, 12, 40);
  vdb_bit_set_range(live, 0, set.n);
  version_must(&v[0], NULL, &set, ascending, n, NULL, &o);
  for(; n<set.n; n+=250){
    version_must(&v[!at], &v[at], &set, ascending+n, 250, NULL, &o);
    version_close(&v[at]);
    at = !at;
  }
  version_must(&fresh, NULL, &set, ascending, set.n, NULL, &o);
  version_check(&v[at], live, set.n);
  CHECK(version_recall(&v[at], &set, live, 20)
        >=version_recall(&fresh, &set, live, 20)-0.01);
  CHECK(version_recall(&v[at], &set, live, 128)>=0.999);
  version_close(&v[at]);
  version_close(&fresh);
}

/* The first rows are in one half of the space, the later ones in the other. */
TEST(graph_insert__new_regions_are_found){
  struct vdb_graph_opts o = { .seed = 1, .no_calibration = true };
  uint64_t live[ROWS_MAX/64+1] = { 0 };
  struct version a, b;
  set_make(2400, 8, 200);
  for(uint32_t i=2000; i<set.n; i++) set.x[i*8] += 60;
  vdb_bit_set_range(live, 0, set.n);
  version_must(&a, NULL, &set, ascending, 2000, NULL, &o);
  version_must(&b, &a, &set, ascending+2000, 400, NULL, &o);
  version_check(&b, live, set.n);
  CHECK(version_recall(&b, &set, live, 64)>=0.99);
  version_close(&b);
  version_close(&a);
}

TEST(graph_insert__a_centre_that_moved_wants_a_new_build){
  struct vdb_graph_opts o = { .seed = 1, .no_calibration = true };
  struct version a, b;
  set_make(2000, 8, 1);
  for(uint32_t i=1000; i<set.n; i++) set.x[i*8] += 60;
  version_must(&a, NULL, &set, ascending, 1000, NULL, &o);
  CHECK_RC(VECDB_MISMATCH, version_make(&b, &a, &set, ascending+1000, 1000,
                                        NULL, &o, NULL));
  version_close(&b);
  version_close(&a);
}

/* A new build would have the centre of the first graph as well. */
TEST(graph_insert__rows_beside_another_graph_may_be_anywhere){
  struct vdb_graph_opts o = { .seed = 1, .no_calibration = true };
  uint64_t live[ROWS_MAX/64+1] = { 0 };
  struct version a, b;
  set_make(2000, 8, 1);
  for(uint32_t i=1000; i<set.n; i++) set.x[i*8] += 60;
  vdb_bit_set_range(live, 0, set.n);
  version_must(&a, NULL, &set, ascending, 1000, NULL, &o);
  ask.is_beside = true;
  version_must(&b, &a, &set, ascending+1000, 1000, NULL, &o);
  ask.is_beside = false;
  version_check(&b, live, set.n);
  CHECK(version_recall(&b, &set, live, 64)>=0.99);
  version_close(&b);
  version_close(&a);
}

TEST(graph_insert__floats_have_no_place_among_bytes){
  struct vdb_graph_opts o = { .seed = 1, .no_calibration = true };
  struct version a, b;
  set_make(600, 8, 1);
  for(uint32_t i=0; i<500*8; i++) set.x[i] = (float)(int)(100+10*set.x[i]);
  version_must(&a, NULL, &set, ascending, 500, NULL, &o);
  CHECK_RC(VECDB_MISMATCH, version_make(&b, &a, &set, ascending+500, 100,
                                        NULL, &o, NULL));
  version_close(&b);
  version_close(&a);
}

TEST(graph_insert__a_graph_can_share_the_space_of_another){
  struct vdb_graph_opts o = { .seed = 1, .no_calibration = true };
  uint64_t live[ROWS_MAX/64+1] = { 0 };
  struct version a, b;
  set_make(2000, 12, 20);
  vdb_bit_set_range(live, 0, 500);
  version_must(&a, NULL, &set, ascending, 2000, NULL, &o);
  o.like = a.g;
  o.n_router = 64;
  version_must(&b, NULL, &set, ascending, 500, NULL, &o);
  version_check(&b, live, 500);
  set.n = 500;
  CHECK(version_recall(&b, &set, live, 64)>=0.99);
  version_close(&b);
  version_close(&a);
}

/* ---- Replacing ----------------------------------------------------------- */

/* Every row is replaced by one that is equal, a twentieth at a time. */
static void churn(struct version *v, struct rows *r, uint64_t *live,
                  uint32_t n, unsigned rounds, struct vdb_graph_opts *o){
  uint32_t row[ROWS_MAX], m = n/20;
  struct version next;
  for(unsigned i=0; i<rounds; i++){
    for(uint32_t j=0; j<m; j++){
      uint32_t old = (uint32_t)((uint64_t)(i*m+j)*7919%n);
      row[j] = n + old;
      memcpy(r->x + (size_t)row[j]*r->d, r->x + (size_t)old*r->d,
             r->d*sizeof(float));
      vdb_bit_clear(live, old);
    }
    version_must(&next, v, r, row, m, live, o);
    for(uint32_t j=0; j<m; j++) vdb_bit_set(live, row[j]);
    version_close(v);
    *v = next;
  }
}

TEST(graph_insert__rows_that_are_replaced_leave_no_trace){
  struct vdb_graph_opts o = { .seed = 1, .no_calibration = true };
  uint64_t live[ROWS_MAX/64+1] = { 0 };
  struct vdb_graph_info info;
  struct version v;
  double before;
  set_make(2000, 12, 40);
  /* Some are equal, three and three. */
  for(uint32_t i=0; i<600; i++){
    memcpy(set.x + i*12, set.x + i/3*36, 12*sizeof(float));
  }
  vdb_bit_set_range(live, 0, set.n);
  version_must(&v, NULL, &set, ascending, set.n, NULL, &o);
  before = version_recall(&v, &set, live, 20);
  churn(&v, &set, live, 2000, 20, &o);
  set.n = 4000;
  version_check(&v, live, 2000);
  CHECK(version_recall(&v, &set, live, 20)>=before-0.01);
  vdb_graph_info(v.g, &info);
  CHECK_U64(2000, info.n_slots);       /* blocks were used again */
  version_close(&v);
}

/* Half of the rows are replaced by others of their kind. */
static double replaced_recall(bool renew, const uint32_t *row, uint64_t *live,
                              const struct vdb_graph_opts *o){
  struct version v, next;
  double recall;
  memset(live, 0, (ROWS_MAX/64+1)*sizeof(*live));
  vdb_bit_set_range(live, 0, 2000);
  version_must(&v, NULL, &set, row, 2000, NULL, o);
  ask.renew = renew;
  for(uint32_t n=2000; n<3000; n+=100){
    for(uint32_t i=n-2000; i<n-1900; i++) vdb_bit_clear(live, i);
    version_must(&next, &v, &set, row+n, 100, live, o);
    vdb_bit_set_range(live, n, n+100);
    version_close(&v);
    v = next;
  }
  ask.renew = false;
  version_check(&v, live, 2000);
  recall = version_recall(&v, &set, live, 16);
  version_close(&v);
  return recall;
}

TEST(graph_insert__renewal_keeps_graphs_as_good_as_built_ones){
  struct vdb_graph_opts o = { .seed = 1, .no_calibration = true };
  uint64_t live[ROWS_MAX/64+1] = { 0 };
  struct version fresh;
  double worn, renewed, built;
  set_make(3000, DIMS, 1);
  worn = replaced_recall(false, ascending, live, &o);
  renewed = replaced_recall(true, ascending, live, &o);
  version_must(&fresh, NULL, &set, ascending+1000, 2000, NULL, &o);
  built = version_recall(&fresh, &set, live, 16);
  CHECK(renewed>worn);
  CHECK(renewed>=built-0.01);
  version_close(&fresh);
}

TEST(graph_insert__all_rows_may_go_but_one){
  struct vdb_graph_opts o = { .seed = 1, .no_calibration = true };
  uint64_t live[ROWS_MAX/64+1] = { 0 };
  struct version a, b, c;
  set_make(300, 8, 1);
  version_must(&a, NULL, &set, ascending, set.n, NULL, &o);
  vdb_bit_set(live, 123);
  version_must(&b, &a, &set, ascending, 0, live, &o);
  version_check(&b, live, 1);
  vdb_bit_clear(live, 123);
  CHECK_RC(VECDB_MISMATCH, version_make(&c, &b, &set, ascending, 0, live, &o,
                                        NULL));
  version_close(&c);
  version_close(&b);
  version_close(&a);
}

/* Rows of one vector come in order of key, whoever comes and goes. */
TEST(graph_insert__equal_rows_stay_in_order_of_key){
  struct vdb_graph_opts o = { .seed = 1, .no_calibration = true };
  uint64_t live[ROWS_MAX/64+1] = { 0 };
  struct vdb_graph_search p = { 60, 80, -1 };
  struct vdb_graph_hit hit[60];
  struct vdb_graph_searcher *s;
  struct vdb_graph_blocks b;
  struct version v, next;
  uint32_t row[ROWS_MAX], n, n_equal = 0, m = 0;
  set_make(1000, 8, 1);
  for(uint32_t i=0; i<set.n; i+=20) memcpy(set.x+i*8, set.x, 8*sizeof(float));
  for(uint32_t i=0; i<set.n; i++) if( i%3==1 ) row[m++] = i;
  for(uint32_t i=0; i<m; i++) vdb_bit_set(live, row[i]);
  version_must(&v, NULL, &set, row, m, NULL, &o);
  for(uint32_t gone=0; gone<3; gone++){
    /* Rows i%3==gone die, the next third comes. */
    for(uint32_t i=0; i<set.n; i++) if( i%3==gone ) vdb_bit_clear(live, i);
    for(uint32_t i=m=0; i<set.n; i++) if( i%3==(gone+2)%3 ) row[m++] = i;
    for(uint32_t i=0; i<m; i++) if( vdb_bit_get(live, row[i]) ) m = 0;
    version_must(&next, &v, &set, row, m, live, &o);
    for(uint32_t i=0; i<m; i++) vdb_bit_set(live, row[i]);
    version_close(&v);
    v = next;
    for(uint32_t i=n_equal=n=0; i<set.n; i++){
      n += vdb_bit_get(live, i);
      n_equal += i%20==0 && vdb_bit_get(live, i);
    }
    version_check(&v, live, n);
    version_blocks(&v, live, &b);
    REQUIRE(vdb_graph_searcher_create(v.g, &s)==VECDB_OK);
    REQUIRE(vdb_graph_knn(s, &b, set.x, &p, hit, &n, NULL)==VECDB_OK);
    CHECK(n>=n_equal);
    for(uint32_t i=0; i<n_equal; i++){
      CHECK_U64(0, hit[i].row%20);
      CHECK(i==0 || hit[i].row>hit[i-1].row);
    }
    vdb_graph_searcher_destroy(s);
  }
  version_close(&v);
}

/* ---- What is shared ------------------------------------------------------ */

TEST(graph_insert__groups_that_do_not_change_are_kept){
  struct vdb_graph_opts o = { .seed = 1, .no_calibration = true };
  uint64_t live[ROWS_MAX/64+1] = { 0 };
  struct version a, b, c;
  uint32_t n_kept = 0;
  uint64_t digest;
  set_make(8001, 4, 300);
  vdb_bit_set_range(live, 0, set.n);
  version_must(&a, NULL, &set, ascending, 8000, NULL, &o);
  digest = version_digest(&a);
  version_must(&b, &a, &set, ascending+8000, 1, NULL, &o);
  for(uint32_t i=0; i<b.n_group; i++) n_kept += b.is_kept[i];
  CHECK(b.n_group>=4);
  CHECK(n_kept>0 && n_kept<b.n_group);
  CHECK_U64(digest, version_digest(&a));         /* I1 */
  version_check(&b, live, set.n);
  /* A row goes, another takes its block. */
  vdb_bit_clear(live, 17);
  memcpy(set.x + 8001*4, set.x + 17*4, 4*sizeof(float));
  set.n = 8002;
  version_must(&c, &b, &set, ascending+8001, 1, live, &o);
  vdb_bit_set(live, 8001);
  version_check(&c, live, 8001);
  version_close(&c);
  version_close(&b);
  version_close(&a);
}

/* ---- The same bytes ------------------------------------------------------ */

TEST(graph_insert__bytes_depend_on_neither_threads_nor_instructions){
  static const struct { const char *path; unsigned n_thread; } how[] = {
    { "avx512", 1 }, { "avx512", 2 }, { "avx512", 8 }, { "avx2", 2 },
    { "scalar", 2 }
  };
  uint64_t live[ROWS_MAX/64+1] = { 0 }, want = 0;
  set_make(700, 16, 10);
  for(uint32_t i=0; i<set.n; i+=7) memcpy(set.x+i*16, set.x, 64);
  vdb_bit_set_range(live, 0, 500);
  for(uint32_t i=0; i<500; i+=9) vdb_bit_clear(live, i);
  for(size_t i=0; i<VDB_ARRAY_LEN(how); i++){
    struct vdb_graph_opts o = { .seed = 1, .n_thread = how[i].n_thread };
    struct version a, b, c;
    if( vdb_simd_select(how[i].path)!=VECDB_OK ) continue;
    version_must(&a, NULL, &set, ascending, 500, NULL, &o);
    version_must(&b, &a, &set, ascending+500, 200, live, &o);
    ask.renew = true;
    version_must(&c, &a, &set, ascending+500, 200, live, &o);
    ask.renew = false;
    if( want==0 ) want = version_digest(&b) + version_digest(&c);
    CHECK_U64(want, version_digest(&b) + version_digest(&c));
    version_close(&c);
    version_close(&b);
    version_close(&a);
  }
}

TEST(graph_insert__follows_alpha_and_the_length_of_lists){
  struct vdb_graph_opts o = { .seed = 1, .no_calibration = true };
  static const float alpha[] = { 0, 1, 1.3f };
  uint64_t live[ROWS_MAX/64+1] = { 0 }, digest[4];
  struct version a, b;
  set_make(700, 12, 10);
  vdb_bit_set_range(live, 0, set.n);
  for(int i=0; i<4; i++){
    o.alpha = i<3 ? alpha[i] : 0;
    o.list2 = i<3 ? 0 : 60;
    version_must(&a, NULL, &set, ascending, 500, NULL, &o);
    version_must(&b, &a, &set, ascending+500, 200, NULL, &o);
    version_check(&b, live, set.n);
    CHECK(version_recall(&b, &set, live, 64)>=0.98);
    digest[i] = version_digest(&b);
    version_close(&b);
    version_close(&a);
  }
  CHECK_U64(digest[0], digest[1]);
  CHECK(digest[1]!=digest[2]);
  CHECK(digest[1]!=digest[3]);
  o.alpha = 3;
  CHECK_RC(VECDB_RANGE, version_make(&a, NULL, &set, ascending, 500, NULL, &o,
                                     NULL));
  version_close(&a);
}

/* ---- Failure ------------------------------------------------------------- */

static int stop_at_once(void *arg, double done){
  (void)arg; (void)done;
  return 1;
}
TEST(graph_insert__can_be_interrupted){
  struct vdb_graph_opts o = { .seed = 1, .no_calibration = true };
  struct version a, b;
  set_make(600, 8, 1);
  version_must(&a, NULL, &set, ascending, 500, NULL, &o);
  CHECK_RC(VECDB_INTERRUPT, version_make(&b, &a, &set, ascending+500, 100,
                                         NULL, &o, stop_at_once));
  CHECK(b.header==NULL);
  version_close(&b);
  version_close(&a);
}

TEST(graph_insert__survives_failed_allocations){
  struct vdb_graph_opts o = { .seed = 1, .no_calibration = true };
  uint64_t live[ROWS_MAX/64+1] = { 0 };
  struct vdb_mem_stats before, after;
  struct version a, b;
  int rc = VECDB_NOMEM;
  set_make(300, 8, 1);
  for(uint32_t i=0; i<set.n; i+=5) memcpy(set.x+i*8, set.x, 32);
  vdb_bit_set_range(live, 0, 200);
  for(uint32_t i=0; i<200; i+=4) vdb_bit_clear(live, i);
  version_must(&a, NULL, &set, ascending, 200, NULL, &o);
  ask.renew = true;
  vdb_mem_stats(&before);
  for(uint64_t at=1; rc!=VECDB_OK && at<5000; at+=1+at/32){
    vdb_mem_fail_at(at, true);
    rc = version_make(&b, &a, &set, ascending+200, 100, live, &o, NULL);
    vdb_mem_fail_at(0, false);
    CHECK(rc==VECDB_OK || rc==VECDB_NOMEM);
    version_close(&b);
    vdb_mem_stats(&after);
    CHECK_U64(before.sz_now, after.sz_now);
  }
  ask.renew = false;
  CHECK_RC(VECDB_OK, rc);
  version_close(&a);
}

/* A chain that goes on outside of the index, in a node, in its own head. */
TEST(graph_insert__a_chain_that_leaves_its_members_is_refused){
  struct vdb_graph_opts o = { .seed = 1, .no_calibration = true };
  static const uint32_t wrong[] = { 0, 5, 100, 101, 983039, SLOT_NONE-1 };
  struct version a, b;
  set_make(100, 8, 1);
  version_must(&a, NULL, &set, ascending, 99, NULL, &o);
  for(size_t i=0; i<VDB_ARRAY_LEN(wrong); i++){
    put_u32(a.group[0] + GRAPHBLOCK_DUP, wrong[i]);
    CHECK_RC(VECDB_CORRUPT_INDEX,
             version_make(&b, &a, &set, ascending+99, 1, NULL, &o, NULL));
    version_close(&b);
  }
  version_close(&a);
}

/* Bytes of old blocks changed at random: CORRUPT, or an index. */
TEST(graph_insert__damaged_blocks_are_refused_or_harmless){
  struct vdb_graph_opts o = { .seed = 1, .no_calibration = true };
  uint64_t live[ROWS_MAX/64+1] = { 0 };
  struct version a, b;
  struct vdb_rng g;
  set_make(300, 8, 1);
  for(uint32_t i=0; i<set.n; i+=5) memcpy(set.x+i*8, set.x, 32);
  vdb_bit_set_range(live, 0, 200);
  for(uint32_t i=0; i<200; i+=4) vdb_bit_clear(live, i);
  version_must(&a, NULL, &set, ascending, 200, NULL, &o);
  vdb_rng_init(&g, vt_seed());
  for(int i=0; i<60; i++){
    size_t at = vdb_rng_below(&g, 200)*(a.sz_group[0]/200)
              + vdb_rng_below(&g, i%2 ? 64 : 300);
    unsigned char kept = a.group[0][at];
    int rc;
    a.group[0][at] ^= (unsigned char)(1u<<vdb_rng_below(&g, 8));
    rc = version_make(&b, &a, &set, ascending+200, 100, live, &o, NULL);
    CHECK(rc==VECDB_OK || rc==VECDB_CORRUPT_INDEX || rc==VECDB_MISMATCH);
    version_close(&b);
    a.group[0][at] = kept;
  }
  version_close(&a);
}
