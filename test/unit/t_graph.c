/* t_graph.c -- the graph index: recall, determinism, equal vectors, filters,
** tiny sets.
*/
#include "unit/lib_graph.h"

#include "index/graph_int.h"
#include "simd/simd.h"

/* ---- Answers ------------------------------------------------------------- */

static void finds_neighbours(int kind, uint32_t d,
                             const struct vdb_graph_opts *o, double least){
  struct rows r = rows_make(kind, 1200, d, vt_seed());
  struct rows q = rows_make(kind, 40, d, vt_seed()+1);
  struct built m;
  build(&m, &r, o);
  check_ok(&m);
  CHECK(recall_of(&m, &q, 200, NULL)>=least);
  built_close(&m);
  vdb_free(r.x);
  vdb_free(q.x);
}

TEST(graph__finds_neighbours_of_bytes){
  struct vdb_graph_opts o = { .seed = 1 };
  finds_neighbours(MADE_BYTES, 24, &o, 0.97);
}
TEST(graph__finds_neighbours_of_floats){
  struct vdb_graph_opts o = { .seed = 1 };
  finds_neighbours(MADE_FLOATS, 20, &o, 0.97);
}
TEST(graph__finds_neighbours_through_quantised_bytes){
  struct vdb_graph_opts o = { .seed = 1, .nav = VDB_NAV_SQ8 };
  finds_neighbours(MADE_FLOATS, 20, &o, 0.90);
}
TEST(graph__finds_neighbours_with_every_width_of_codes){
  struct vdb_graph_opts o = { .seed = 1 };
  for(o.bits=1; o.bits<=4; o.bits*=2){
    finds_neighbours(MADE_BYTES, 24, &o, 0.94);
  }
}
TEST(graph__finds_neighbours_through_a_projection){
  struct vdb_graph_opts o = { .seed = 1, .prefix = 64 };
  finds_neighbours(MADE_BYTES, 80, &o, 0.60);
}
TEST(graph__finds_neighbours_with_64_lanes){
  struct vdb_graph_opts o = { .seed = 1, .n_lanes = 64 };
  finds_neighbours(MADE_FLOATS, 20, &o, 0.97);
}
TEST(graph__finds_neighbours_of_bits){
  struct vdb_graph_opts o = { .seed = 1, .nav = VDB_NAV_BITS };
  finds_neighbours(MADE_BITS, 72, &o, 0.97);
  o.n_lanes = 64;
  finds_neighbours(MADE_BITS, 1000, &o, 0.97);
}

/* Jaccard's distance, in the order that the scalar function gives. */
TEST(graph__knows_the_distance_of_jaccard){
  struct vdb_graph_opts o = { .seed = 1, .nav = VDB_NAV_BITS,
                              .is_jaccard = true };
  struct vdb_graph_search p = { 10, 200, -1 };
  struct rows r = rows_make(MADE_BITS, 1500, 136, 41);
  struct rows q = rows_make(MADE_BITS, 20, 136, 42);
  struct built m;
  uint32_t n_right = 0;
  memset(r.x, 0, 2*136*sizeof(float));            /* no ones at all */
  memset(q.x, 0, 136*sizeof(float));
  build(&m, &r, &o);
  check_ok(&m);
  for(uint32_t i=0; i<q.n; i++){
    struct vdb_graph_hit hit[10];
    float d[1500], sorted[1500];
    double all[1500];
    uint32_t n;
    for(uint32_t j=0; j<r.n; j++){
      uint32_t n_xor = 0, n_or = 0;
      for(uint32_t k=0; k<136; k++){
        bool a = r.x[j*136+k]>0, b = q.x[i*136+k]>0;
        n_xor += a!=b;
        n_or += a || b;
      }
      all[j] = d[j] = n_or ? (float)n_xor/(float)n_or : 0;
    }
    qsort(all, r.n, sizeof(*all), compare_doubles);
    for(uint32_t j=0; j<r.n; j++) sorted[j] = (float)all[j];
    REQUIRE(vdb_graph_knn(m.s, &m.b, q.x+i*136, &p, hit, &n, NULL)==VECDB_OK);
    CHECK_U64(10, n);
    for(uint32_t j=0; j<n; j++){
      CHECK(hit[j].d2==d[hit[j].row]);
      n_right += hit[j].d2<=sorted[9];
    }
  }
  CHECK(n_right>=196);
  built_close(&m);
  vdb_free(r.x);
  vdb_free(q.x);
}

TEST(graph__reaches_separated_clusters){
  struct vdb_graph_opts o = { .seed = 1 };
  struct rows r = rows_make(MADE_CLUSTERS, 6000, 16, 5);
  struct rows q = rows_make(MADE_CLUSTERS, 100, 16, 6);
  struct built m;
  build(&m, &r, &o);
  check_ok(&m);
  CHECK(recall_of(&m, &q, 32, NULL)>=0.98);
  CHECK(recall_of(&m, &q, 128, NULL)>=0.998);
  built_close(&m);
  vdb_free(r.x);
  vdb_free(q.x);
}

/* Clusters outnumber the entries asked for: more become entries. Other sets
** keep to what was asked for. */
TEST(graph__has_entries_for_clusters_that_no_edge_leads_to){
  struct vdb_graph_opts o = { .seed = 1, .n_router = 32, .n_seed = 1,
                              .no_calibration = true };
  struct rows r = rows_make(MADE_CLUSTERS, 6000, 16, 5);
  struct rows q = rows_make(MADE_CLUSTERS, 100, 16, 6);
  struct vdb_graph_info info;
  struct built m;
  build(&m, &r, &o);
  check_ok(&m);
  vdb_graph_info(m.g, &info);
  CHECK(info.n_router>32);
  CHECK(recall_of(&m, &q, 32, NULL)>=0.97);
  CHECK(recall_of(&m, &q, 128, NULL)>=0.99);
  built_close(&m);
  vdb_free(r.x);
  r = rows_make(MADE_FLOATS, 1500, 16, 5);
  build(&m, &r, &o);
  vdb_graph_info(m.g, &info);
  CHECK_U64(32, info.n_router);
  CHECK_U64(1, info.n_seed);
  built_close(&m);
  vdb_free(r.x);
  vdb_free(q.x);
}

TEST(graph__queries_need_not_be_bytes_when_rows_are){
  struct vdb_graph_opts o = { .seed = 1 };
  struct rows r = rows_make(MADE_BYTES, 1500, 24, 7);
  struct rows q = rows_make(MADE_BYTES, 30, 24, 8);
  struct built m;
  for(uint32_t i=0; i<q.n*q.d; i++) q.x[i] = q.x[i]*0.77f + 0.3f;
  build(&m, &r, &o);
  CHECK(recall_of(&m, &q, 200, NULL)>=0.97);
  built_close(&m);
  vdb_free(r.x);
  vdb_free(q.x);
}

TEST(graph__batches_answer_as_single_queries_do){
  struct vdb_graph_opts o = { .seed = 1 };
  struct rows r = rows_make(MADE_FLOATS, 1500, 20, 9);
  struct rows q = rows_make(MADE_FLOATS, 33, 20, 10);
  struct vdb_graph_search p = { 10, 20, 0.2f };
  struct vdb_graph_hit hit[10], many[330];
  uint32_t n, n_many[33];
  struct built m;
  build(&m, &r, &o);
  REQUIRE(vdb_graph_knn_many(m.s, &m.b, q.x, 33, &p, many, n_many)==VECDB_OK);
  for(uint32_t i=0; i<33; i++){
    REQUIRE(vdb_graph_knn(m.s, &m.b, q.x+i*20, &p, hit, &n, NULL)==VECDB_OK);
    CHECK_U64(n, n_many[i]);
    for(uint32_t j=0; j<n && j<n_many[i]; j++){
      CHECK_U64(hit[j].slot, many[i*10+j].slot);
      CHECK(hit[j].d2==many[i*10+j].d2);
    }
  }
  built_close(&m);
  vdb_free(r.x);
  vdb_free(q.x);
}

TEST(graph__returns_only_rows_that_pass){
  struct vdb_graph_opts o = { .seed = 1 };
  struct rows r = rows_make(MADE_FLOATS, 1500, 20, 11);
  struct rows q = rows_make(MADE_FLOATS, 30, 20, 12);
  uint64_t half[1500/64+1];
  struct built m;
  for(size_t i=0; i<VDB_ARRAY_LEN(half); i++) half[i] = 0xaaaaaaaaaaaaaaaau;
  build(&m, &r, &o);
  CHECK(recall_of(&m, &q, 300, half)>=0.97);
  built_close(&m);
  vdb_free(r.x);
  vdb_free(q.x);
}

/* Rows within the distance of the m-th; *n_all: how many there are. */
static uint32_t range_of(struct built *t, const float *x, uint32_t m,
                         float sigmas, uint64_t *rows, uint32_t *n_all){
  struct vdb_graph_range p = { 0, 40, -1, sigmas, 1e9, SIZE_MAX };
  struct vdb_graph_found f = { 0 };
  struct vdb_graph_stats st;
  double *d = vdb_malloc_array(t->rows.n, sizeof(*d));
  uint32_t n = 0;
  for(uint32_t j=0; j<t->rows.n; j++) d[j] = d2_of(&t->rows, j, x);
  qsort(d, t->rows.n, sizeof(*d), compare_doubles);
  p.d2 = (float)(d[m-1]*(1+1e-5));
  *n_all = 0;
  while( *n_all<t->rows.n && d[*n_all]<=(double)p.d2 ) ++*n_all;
  memset(rows, 0, vdb_bitset_words(t->rows.n)*8);
  REQUIRE(vdb_graph_within_distance(t->s, &t->b, x, &p, &f, &st)==VECDB_OK);
  CHECK(!f.gave_up && st.n_hop>0);
  for(size_t i=0; i<f.n; i++){
    CHECK(!vdb_bit_get(rows, f.hit[i].row));     /* each once */
    vdb_bit_set(rows, f.hit[i].row);
    n += d2_of(&t->rows, f.hit[i].row, x)<=(double)p.d2;
  }
  vdb_free(f.hit);
  vdb_free(d);
  return n;
}

TEST(graph__finds_what_is_within_a_distance){
  static const uint32_t rank[] = { 1, 10, 50, 300 };
  for(uint32_t nav=0; nav<=VDB_NAV_SQ8; nav+=VDB_NAV_SQ8){
    struct vdb_graph_opts o = { .seed = 1, .nav = nav };
    struct rows r = rows_make(MADE_FLOATS, 1500, 12, 31);
    struct rows q = rows_make(MADE_FLOATS, 30, 12, 32);
    uint64_t rows[1500/64+1];
    uint32_t n_all, n = 0, n_want = 0;
    struct built m;
    for(uint32_t i=100; i<140; i++) memcpy(r.x+i*12, r.x, 12*sizeof(float));
    build(&m, &r, &o);
    for(uint32_t i=0; i<q.n; i++){
      for(size_t j=0; j<VDB_ARRAY_LEN(rank); j++){
        n += range_of(&m, q.x+i*12, rank[j], 2, rows, &n_all);
        n_want += n_all;
      }
    }
    CHECK(n>=0.97*n_want && n<=n_want);
    CHECK_U64(41, range_of(&m, r.x, 1, 2, rows, &n_all));
    built_close(&m);
    vdb_free(r.x);
    vdb_free(q.x);
  }
}

/* Neither instructions nor earlier queries show in what is found. */
TEST(graph__within_a_distance_finds_the_same_everywhere){
  static const char *const path[] = { "avx512", "avx2", "scalar" };
  struct rows r = rows_make(MADE_BYTES, 900, 24, 33);
  struct rows q = rows_make(MADE_BYTES, 12, 24, 34);
  uint64_t want[12][900/64+1], got[900/64+1];
  uint32_t n_all;
  bool is_known = false;
  for(uint32_t i=0; i<q.n*q.d; i++) q.x[i] += 0.3f;
  for(size_t k=0; k<VDB_ARRAY_LEN(path); k++){
    struct vdb_graph_opts o = { .seed = 1, .no_calibration = true };
    struct built m;
    if( vdb_simd_select(path[k])!=VECDB_OK ) continue;
    build(&m, &r, &o);
    for(uint32_t n=0; n<q.n; n++){
      uint32_t i = k==0 ? n : q.n-1-n;
      range_of(&m, q.x+i*24, 60, 0, is_known ? got : want[i], &n_all);
      if( is_known ) CHECK(memcmp(want[i], got, sizeof(got))==0);
    }
    is_known = true;
    built_close(&m);
  }
  vdb_free(r.x);
  vdb_free(q.x);
}

/* What a walk may keep does not count what a greater one has left behind. */
TEST(graph__within_a_distance_forgets_how_much_there_was){
  struct vdb_graph_opts o = { .seed = 1 };
  struct rows r = rows_make(MADE_BYTES, 3000, 24, 36);
  struct vdb_graph_range all = { 1e9f, 10, -1, 1, 1e9, SIZE_MAX };
  struct vdb_graph_range few = { 1, 10, -1, 1, 1e9, 32768 };
  struct vdb_graph_found f = { 0 }, more = { 0 };
  struct vdb_graph_stats st;
  struct built m;
  build(&m, &r, &o);
  CHECK_RC(VECDB_OK, vdb_graph_within_distance(m.s, &m.b, r.x, &few, &f, &st));
  CHECK(!f.gave_up && f.n==1);
  CHECK_RC(VECDB_OK, vdb_graph_within_distance(m.s, &m.b, r.x, &all, &more,
                                               &st));
  CHECK(!more.gave_up);
  CHECK_U64(3000, more.n);
  CHECK_RC(VECDB_OK, vdb_graph_within_distance(m.s, &m.b, r.x, &few, &f, &st));
  CHECK(!f.gave_up && f.n==1);
  vdb_free(f.hit);
  vdb_free(more.hit);
  built_close(&m);
  vdb_free(r.x);
}

TEST(graph__gives_up_on_a_distance_that_holds_too_much){
  struct vdb_graph_opts o = { .seed = 1 };
  struct rows r = rows_make(MADE_BYTES, 900, 24, 35);
  struct vdb_graph_range p = { 1e9f, 10, -1, 1, 100, SIZE_MAX };
  struct vdb_graph_found f = { 0 };
  struct vdb_graph_stats st;
  struct built m;
  build(&m, &r, &o);
  CHECK_RC(VECDB_OK, vdb_graph_within_distance(m.s, &m.b, r.x, &p, &f, &st));
  CHECK(f.gave_up && st.gave_up);
  p.n_hop_most = 1e9;
  p.sz_most = 4096;
  CHECK_RC(VECDB_OK, vdb_graph_within_distance(m.s, &m.b, r.x, &p, &f, &st));
  CHECK(f.gave_up);
  p.sz_most = SIZE_MAX;
  CHECK_RC(VECDB_OK, vdb_graph_within_distance(m.s, &m.b, r.x, &p, &f, &st));
  CHECK(!f.gave_up);
  CHECK_U64(900, f.n);
  p.d2 = -1;
  CHECK_RC(VECDB_RANGE, vdb_graph_within_distance(m.s, &m.b, r.x, &p, &f, &st));
  vdb_free(f.hit);
  built_close(&m);
  vdb_free(r.x);
}

TEST(graph__gives_vectors_back_bit_for_bit){
  struct vdb_graph_opts o = { .seed = 1, .no_calibration = true };
  for(int kind=MADE_BYTES; kind<=MADE_FLOATS; kind++){
    struct rows r = rows_make(kind, 500, 19, 13);
    struct vdb_graph_info info;
    struct built m;
    build(&m, &r, &o);
    vdb_graph_info(m.g, &info);
    for(uint32_t s=0; s<r.n; s++){
      const unsigned char *p = m.group[s>>info.shift]
                   + (size_t)(s & ((1u<<info.shift)-1))*info.stride;
      uint32_t row;
      uint64_t key;
      float x[19];
      REQUIRE(vdb_graph_block_row(m.g, p, s, &row, &key)==VECDB_OK);
      CHECK_U64(row, key);
      REQUIRE(vdb_graph_vector(m.g, p, x)==VECDB_OK);
      CHECK(memcmp(x, r.x + (size_t)row*19, sizeof(x))==0);
    }
    built_close(&m);
    vdb_free(r.x);
  }
}

/* ---- Special sets -------------------------------------------------------- */

TEST(graph__equal_vectors_come_in_order_of_key){
  struct vdb_graph_opts o = { .seed = 1 };
  struct rows r = rows_make(MADE_FLOATS, 2000, 8, 14);
  struct vdb_graph_search p = { 50, 60, -1 };
  struct vdb_graph_hit hit[50];
  struct built m;
  uint32_t n;
  for(uint32_t i=0; i<r.n; i+=2) memcpy(r.x+i*8, r.x, 8*sizeof(float));
  build(&m, &r, &o);
  check_ok(&m);
  REQUIRE(vdb_graph_knn(m.s, &m.b, r.x, &p, hit, &n, NULL)==VECDB_OK);
  CHECK_U64(50, n);
  for(uint32_t j=0; j<n; j++) CHECK_U64(2*j, hit[j].row);
  built_close(&m);
  vdb_free(r.x);
}

TEST(graph__tiny_and_uniform_sets_work){
  static const uint32_t size[] = { 0, 1, 2, 3, 33, 70 };
  struct vdb_graph_opts o = { .seed = 1 };
  for(int equal=0; equal<2; equal++){
    for(size_t i=0; i<VDB_ARRAY_LEN(size); i++){
      struct rows r = rows_make(MADE_FLOATS, size[i], 1+(uint32_t)i, 15);
      struct vdb_graph_search p = { 100, 10, -1 };
      struct vdb_graph_hit hit[100];
      struct built m;
      uint32_t n;
      float zero[8] = { 0 };
      for(uint32_t j=0; equal && j<r.n*r.d; j++) r.x[j] = 3;
      build(&m, &r, &o);
      check_ok(&m);
      REQUIRE(vdb_graph_knn(m.s, &m.b, zero, &p, hit, &n, NULL)==VECDB_OK);
      CHECK_U64(size[i], n);
      built_close(&m);
      vdb_free(r.x);
    }
  }
}

/* ---- The same bytes ------------------------------------------------------ */

TEST(graph__bytes_depend_on_neither_threads_nor_instructions){
  static const struct { const char *path; unsigned n_thread; } how[] = {
    { "avx512", 1 }, { "avx512", 2 }, { "avx512", 7 }, { "avx2", 2 },
    { "scalar", 2 }
  };
  for(int kind=MADE_BYTES; kind<=MADE_FLOATS; kind++){
    for(uint32_t nav=0; nav<=VDB_NAV_SQ8; nav+=VDB_NAV_SQ8){
      struct rows r = rows_make(kind, 220, 40, 16);
      uint64_t want = 0;
      for(size_t i=0; i<VDB_ARRAY_LEN(how); i++){
        struct vdb_graph_opts o = { .seed = 1, .nav = nav,
                                    .n_thread = how[i].n_thread };
        struct built m;
        if( vdb_simd_select(how[i].path)!=VECDB_OK ) continue;
        build(&m, &r, &o);
        if( want==0 ) want = built_digest(&m);
        CHECK_U64(want, built_digest(&m));
        built_close(&m);
      }
      vdb_free(r.x);
    }
  }
}

TEST(graph__of_bits_is_the_same_everywhere){
  static const struct { const char *path; unsigned n_thread; } how[] = {
    { "avx512", 1 }, { "avx512", 2 }, { "avx512", 8 }, { "avx2", 2 },
    { "scalar", 2 }
  };
  struct rows r = rows_make(MADE_BITS, 300, 1096, 43);
  for(int jaccard=0; jaccard<2; jaccard++){
    uint64_t want = 0;
    for(size_t i=0; i<VDB_ARRAY_LEN(how); i++){
      struct vdb_graph_opts o = { .seed = 1, .nav = VDB_NAV_BITS,
                                  .is_jaccard = jaccard!=0,
                                  .n_thread = how[i].n_thread };
      struct built m;
      if( vdb_simd_select(how[i].path)!=VECDB_OK ) continue;
      build(&m, &r, &o);
      if( want==0 ) want = built_digest(&m);
      CHECK_U64(want, built_digest(&m));
      built_close(&m);
    }
  }
  vdb_free(r.x);
}

TEST(graph__a_projection_is_the_same_everywhere){
  struct rows r = rows_make(MADE_BYTES, 220, 100, 17);
  static const char *const paths[] = { "avx512", "avx2", "scalar" };
  uint64_t want = 0;
  for(unsigned i=0; i<3; i++){
    struct vdb_graph_opts o = { .seed = 1, .prefix = 64, .n_thread = 3-i };
    struct built m;
    if( vdb_simd_select(paths[i])!=VECDB_OK ) continue;
    build(&m, &r, &o);
    if( want==0 ) want = built_digest(&m);
    CHECK_U64(want, built_digest(&m));
    built_close(&m);
  }
  vdb_free(r.x);
}

/* What is asked for is what is built, and it finds. */
TEST(graph__builds_the_codes_that_are_asked_for){
  static const struct { struct vdb_graph_opts o; uint32_t nav, dims; } want[] = {
    { { .n_lanes = 64, .bits = 1 }, VDB_NAV_F32, 256 },
    { { .bits = 4, .prefix = UINT32_MAX }, VDB_NAV_F32, 256 },
    { { .prefix = 100 }, VDB_NAV_SQ8, 128 },
    { { .prefix = 128, .axes = VDB_AXES_RANDOM, .bits = 4 }, VDB_NAV_SQ8, 128 },
    { { .prefix = 64, .axes = VDB_AXES_FIRST, .bits = 2 }, VDB_NAV_SQ8, 64 }
  };
  struct rows r = rows_make(MADE_CLUSTERS, 700, 200, 24);
  struct rows q = rows_make(MADE_CLUSTERS, 20, 200, 25);
  for(size_t i=0; i<VDB_ARRAY_LEN(want); i++){
    struct vdb_graph_opts o = want[i].o;
    struct vdb_graph_info info;
    struct built m;
    o.seed = 1;
    o.no_calibration = true;
    build(&m, &r, &o);
    vdb_graph_info(m.g, &info);
    CHECK_U64(o.n_lanes ? o.n_lanes : 32, info.n_lanes);
    CHECK_U64(o.bits ? o.bits : 2, info.bits);
    CHECK_U64(want[i].nav, info.nav);
    CHECK_U64(want[i].dims, info.dims_code);
    CHECK_INT(o.prefix>0 && o.prefix<200, info.is_prefix);
    CHECK(recall_of(&m, &q, 200, NULL)>=0.9);
    built_close(&m);
  }
  vdb_free(r.x);
  vdb_free(q.x);
}

/* Blocks hold bytes, or floats where bytes would hide neighbours, unless bytes
** are asked for. */
TEST(graph__holds_floats_where_bytes_would_hide_neighbours){
  static const struct {
    float apart; struct vdb_graph_opts o; uint32_t nav;
  } want[] = {
    { 0, { .n_thread = 1 }, VDB_NAV_SQ8 },
    { 4, { .n_thread = 1 }, VDB_NAV_SQ8 },
    { 300, { .n_thread = 1 }, VDB_NAV_F32 },
    { 300, { .n_thread = 3 }, VDB_NAV_F32 },
    { 300, { .nav = VDB_NAV_SQ8 }, VDB_NAV_SQ8 },
    { 300, { .prefix = 64 }, VDB_NAV_SQ8 }
  };
  uint64_t one = 0;
  for(size_t i=0; i<VDB_ARRAY_LEN(want); i++){
    struct rows r = clusters_make(800, want[i].apart, vt_seed());
    struct rows q = clusters_make(20, want[i].apart, vt_seed()+1);
    struct vdb_graph_opts o = want[i].o;
    struct vdb_graph_info info;
    struct built m;
    o.seed = 1;
    o.no_calibration = true;
    build(&m, &r, &o);
    vdb_graph_info(m.g, &info);
    CHECK_U64(want[i].nav, info.nav);
    CHECK_INT(want[i].nav==VDB_NAV_SQ8, info.needs_rerank);
    if( want[i].nav==VDB_NAV_F32 ){
      CHECK(recall_of(&m, &q, 64, NULL)>=0.97);
      if( want[i].o.n_thread==1 ) one = built_digest(&m);
      CHECK_U64(one, built_digest(&m));
    }
    built_close(&m);
    vdb_free(r.x);
    vdb_free(q.x);
  }
}

/* Another width than that of the rule is taken where the trial says so; the
** index is whole then, and the same for any number of threads. */
TEST(graph__takes_other_bits_after_a_trial){
  struct rows r = rows_make(MADE_FLOATS, 2500, 64, 26);
  struct rows q = rows_make(MADE_FLOATS, 20, 64, 27);
  uint64_t want = 0;
  for(uint32_t i=0; i<2; i++){
    struct vdb_graph_opts o = { .seed = 1, .n_thread = 1+2*i };
    struct vdb_graph_report report;
    struct vdb_graph_info info;
    struct built m;
    build(&m, &r, &o);
    vdb_graph_info(m.g, &info);
    CHECK_U64(4, info.bits);
    CHECK_RC(VECDB_OK, vdb_graph_check(m.g, &m.b, &report));
    CHECK(recall_of(&m, &q, 400, NULL)>=0.95);
    if( i==0 ) want = built_digest(&m);
    CHECK_U64(want, built_digest(&m));
    built_close(&m);
  }
  vdb_free(r.x);
  vdb_free(q.x);
}

/* Four bits of many dimensions, too, where clusters are far apart. */
TEST(graph__takes_four_bits_of_many_dimensions){
  struct rows r = rows_make(MADE_FLOATS, 2048, 576, 28);
  struct vdb_graph_opts o = { .seed = 1, .n_thread = 2 };
  struct vdb_graph_info info;
  struct built m;
  for(uint32_t i=0; i<r.n; i++) r.x[(size_t)i*r.d + i%8] += 500;
  build(&m, &r, &o);
  vdb_graph_info(m.g, &info);
  CHECK_U64(4, info.bits);
  CHECK_U64(576, info.dims_code);
  built_close(&m);
  vdb_free(r.x);
}

/* ---- Recall -------------------------------------------------------------- */

TEST(graph__plans_keep_their_promise){
  struct vdb_graph_opts o = { .seed = 1 };
  struct rows r = rows_make(MADE_FLOATS, 2500, 12, 18);
  struct rows q = rows_make(MADE_FLOATS, 100, 12, 19);
  struct built m;
  build(&m, &r, &o);
  for(int i=0; i<2; i++){
    double want = i ? 0.97 : 0.9;
    struct vdb_graph_plan p = vdb_graph_plan_recall(m.g, 10, want);
    CHECK(p.ef>=10 && p.ef<=400);
    CHECK(recall_of(&m, &q, p.ef, NULL)>=want-0.03);
  }
  CHECK_U64(0, vdb_graph_plan_recall(m.g, 10, 1.01).ef);
  built_close(&m);
  vdb_free(r.x);
  vdb_free(q.x);
}

/* Give the index the header that measuring anew makes. */
static void measure_anew(struct built *m, unsigned n_thread){
  unsigned char *header;
  size_t sz;
  REQUIRE(vdb_graph_recalibrate(m->g, &m->b, n_thread, &header, &sz)
            ==VECDB_OK);
  vdb_graph_searcher_destroy(m->s);
  vdb_graph_close(m->g);
  vdb_free(m->header);
  m->header = header;
  m->sz_header = sz;
  REQUIRE(vdb_graph_open(m->header, m->sz_header, &m->g)==VECDB_OK);
  REQUIRE(vdb_graph_searcher_create(m->g, &m->s)==VECDB_OK);
}

TEST(graph__measures_recall_anew){
  struct vdb_graph_opts o = { .seed = 1, .no_calibration = true };
  struct rows r = rows_make(MADE_FLOATS, 2500, 12, 21);
  struct rows q = rows_make(MADE_FLOATS, 60, 12, 22);
  uint64_t live[(2500+63)/64], want;
  struct vdb_graph_plan p, all;
  struct built m;
  build(&m, &r, &o);
  CHECK_U64(0, vdb_graph_plan_recall(m.g, 10, 0.9).ef);
  measure_anew(&m, 1);
  want = built_digest(&m);
  all = vdb_graph_plan_recall(m.g, 10, 0.95);
  CHECK(all.ef>=10 && recall_of(&m, &q, all.ef, NULL)>=0.92);
  measure_anew(&m, 3);
  CHECK_U64(want, built_digest(&m));
  /* With three of four rows dead, more candidates are needed. */
  for(size_t i=0; i<sizeof(live)/8; i++) live[i] = 0x1111111111111111u;
  m.b.live = live;
  m.b.n_row = r.n;
  measure_anew(&m, 2);
  p = vdb_graph_plan_recall(m.g, 10, 0.95);
  CHECK(p.ef>all.ef);
  CHECK(recall_of(&m, &q, p.ef, live)>=0.92);
  built_close(&m);
  vdb_free(r.x);
  vdb_free(q.x);
}

TEST(graph__plans_more_effort_for_more_neighbours){
  struct vdb_graph_opts o = { .seed = 1 };
  struct rows r = rows_make(MADE_FLOATS, 2000, 12, 23);
  uint32_t before = 0;
  struct built m;
  build(&m, &r, &o);
  for(uint32_t k=10; k<=1280; k*=2){
    uint32_t ef = vdb_graph_plan_recall(m.g, k, 0.95).ef;
    CHECK(ef>=k && ef>=before);
    before = ef;
  }
  built_close(&m);
  vdb_free(r.x);
}

/* The number by which a searcher knows what the query at hand has met comes
** round again. */
TEST(graph__a_searcher_outlives_its_counter_of_queries){
  struct vdb_graph_opts o = { .seed = 1, .no_calibration = true };
  struct rows r = rows_make(MADE_FLOATS, 600, 8, 52);
  struct graph_walk w;
  uint32_t slot[10] = { 0 };
  struct built m;
  build(&m, &r, &o);
  REQUIRE_RC(VECDB_OK, vdb_graph_walk_init(&w, m.g));
  for(int i=0; i<4; i++){
    vdb_graph_walk_query(&w, r.x);
    REQUIRE_RC(VECDB_OK, vdb_graph_walk_begin(&w, &m.b, 40, 10, -1));
    CHECK(w.epoch>0);
    CHECK_RC(VECDB_OK, vdb_graph_walk_run(&w));
    CHECK_U64(10, w.n_hit);
    for(uint32_t j=0; j<10; j++){
      if( i==0 ) slot[j] = w.hit[j].slot;
      CHECK_U64(slot[j], w.hit[j].slot);
    }
    if( i==0 ) w.epoch = UINT32_MAX-1;
  }
  vdb_graph_walk_clear(&w);
  built_close(&m);
  vdb_free(r.x);
}
