/* t_graph_shapes.c -- graphs at the edges of what there may be: options, sizes,
** kinds of rows, queries, filters, edges from elsewhere.
*/
#include "unit/lib_graph.h"

#include "index/graph_build_int.h"

#define QUICK  .seed = 1, .list1 = 8, .list2 = 24, .n_router = 32, \
               .no_calibration = true

/* ---- What is refused ----------------------------------------------------- */

TEST(graph_shapes__options_out_of_range_are_refused){
  static const struct { struct vdb_graph_opts o; int rc; } wrong[] = {
    { { .n_lanes = 33 }, VECDB_RANGE }, { { .bits = 3 }, VECDB_RANGE },
    { { .alpha = 0.5f }, VECDB_RANGE }, { { .alpha = 2.5f }, VECDB_RANGE },
    { { .list1 = 5000 }, VECDB_RANGE }, { { .list2 = 5000 }, VECDB_RANGE },
    { { .sz_memory = 1000 }, VECDB_TOOBIG },
    { { .prefix = 64, .n_lanes = 33 }, VECDB_RANGE } };
  struct rows r = rows_make(MADE_FLOATS, 50, 80, 61);
  struct rows none = { 10, 0, r.x }, wide = { 10, VDB_GRAPH_DIMS_MAX+1, r.x };
  struct rows many = { VDB_GRAPH_SLOTS_MAX+1, 4, r.x };
  struct vdb_graph_opts o = { QUICK };
  struct built m;
  for(size_t i=0; i<VDB_ARRAY_LEN(wrong); i++){
    CHECK_RC(wrong[i].rc, build_try(&m, &r, &wrong[i].o));
    CHECK(m.header==NULL && m.n_group==0);
  }
  CHECK_RC(VECDB_RANGE, build_try(&m, &none, &o));
  CHECK_RC(VECDB_RANGE, build_try(&m, &wide, &o));
  CHECK_RC(VECDB_TOOBIG, build_try(&m, &many, &o));
  vdb_free(r.x);
}

static int insert_try(const struct built *old, uint32_t n,
                      const struct rows *more, const struct vdb_graph_opts *o,
                      struct built *out){
  struct vdb_graph_source src = { n, more->d, test_fetch, NULL, NULL,
                                  (void*)(uintptr_t)more };
  struct vdb_graph_sink sink = { test_group, test_header, NULL, out, NULL };
  struct vdb_graph_prior prior = { 0 };
  memset(out, 0, sizeof(*out));
  prior.g = old->g;
  prior.base = (const unsigned char *const*)old->group;
  return vdb_graph_insert(&prior, &src, o, &sink);
}

TEST(graph_shapes__insertions_out_of_range_are_refused){
  struct rows r = rows_make(MADE_FLOATS, 50, 8, 62), none = { 0, 8, r.x };
  struct rows other = { 20, 4, r.x };
  struct vdb_graph_opts o = { QUICK };
  struct built m, out, empty;
  build(&m, &r, &o);
  build(&empty, &none, &o);
  CHECK_RC(VECDB_RANGE, insert_try(&m, 20, &other, &o, &out));
  CHECK_RC(VECDB_TOOBIG, insert_try(&m, VDB_GRAPH_SLOTS_MAX, &r, &o, &out));
  CHECK_RC(VECDB_MISMATCH, insert_try(&empty, 5, &r, &o, &out));
  o.sz_memory = 1000;
  CHECK_RC(VECDB_TOOBIG, insert_try(&m, 20, &r, &o, &out));
  o.sz_memory = 1<<24;
  CHECK_RC(VECDB_OK, insert_try(&m, 20, &r, &o, &out));
  built_close(&out);
  o.alpha = 3;
  CHECK_RC(VECDB_RANGE, insert_try(&m, 20, &r, &o, &out));
  built_close(&empty);
  built_close(&m);
  vdb_free(r.x);
}

/* The space of another index is no place for rows of other dimensions, nor for
** floats if it holds bytes. */
TEST(graph_shapes__rows_must_fit_the_space_they_share){
  struct rows bytes = rows_make(MADE_BYTES, 60, 80, 63);
  struct rows floats = rows_make(MADE_FLOATS, 60, 80, 64);
  struct rows other = { 60, 40, floats.x };
  struct vdb_graph_opts o = { QUICK, .prefix = 64 };
  struct built m, out;
  build(&m, &bytes, &o);
  o.like = m.g;
  CHECK_RC(VECDB_MISMATCH, build_try(&out, &floats, &o));
  CHECK_RC(VECDB_RANGE, build_try(&out, &other, &o));
  floats.x[0] = 256;                             /* one is enough */
  for(uint32_t i=1; i<60*80; i++) floats.x[i] = bytes.x[i];
  CHECK_RC(VECDB_MISMATCH, build_try(&out, &floats, &o));
  REQUIRE_RC(VECDB_OK, build_try(&out, &bytes, &o));
  built_open(&out);
  check_ok(&out);
  CHECK(recall_of(&out, &bytes, 60, NULL)>=0.9);
  built_close(&out);
  built_close(&m);
  vdb_free(bytes.x);
  vdb_free(floats.x);
}

/* ---- No rows ------------------------------------------------------------- */

TEST(graph_shapes__an_empty_index_answers){
  struct rows r = { 0, 8, NULL };
  struct vdb_graph_opts o = { QUICK };
  struct vdb_graph_search p = { 5, 10, -1 };
  struct vdb_graph_range range = { 1, 20, -1, 1, 1e9, SIZE_MAX };
  struct vdb_graph_found f = { 0 };
  struct vdb_graph_hit hit[10];
  struct vdb_graph_stats st;
  unsigned char *header = NULL;
  float q[16] = { 0 };
  uint32_t n[2] = { 9, 9 };
  struct built m;
  size_t sz;
  build(&m, &r, &o);
  check_ok(&m);
  CHECK_RC(VECDB_OK, vdb_graph_knn(m.s, &m.b, q, &p, hit, n, &st));
  CHECK_U64(0, n[0]);
  CHECK_RC(VECDB_OK, vdb_graph_knn_many(m.s, &m.b, q, 2, &p, hit, n));
  CHECK_U64(0, n[0]+n[1]);
  CHECK_RC(VECDB_OK, vdb_graph_within_distance(m.s, &m.b, q, &range, &f, &st));
  CHECK_U64(0, f.n);
  CHECK_RC(VECDB_OK, vdb_graph_recalibrate(m.g, &m.b, 0, &header, &sz));
  CHECK_U64(m.sz_header, sz);
  vdb_free(header);
  built_close(&m);
}

/* ---- Kinds of rows ------------------------------------------------------- */

TEST(graph_shapes__bytes_may_be_signed){
  struct rows r = rows_make(MADE_BYTES, 300, 12, 65);
  struct vdb_graph_opts o = { QUICK };
  struct vdb_graph_info info;
  struct built m;
  for(uint32_t i=0; i<300*12; i++) r.x[i] -= 128;
  build(&m, &r, &o);
  vdb_graph_info(m.g, &info);
  CHECK_U64(VDB_NAV_BYTES, info.nav);
  CHECK(recall_of(&m, &r, 60, NULL)>=0.95);
  built_close(&m);
  r.x[5] = 128;                                  /* -128..128 is no byte */
  build(&m, &r, &o);
  vdb_graph_info(m.g, &info);
  CHECK_U64(VDB_NAV_F32, info.nav);
  built_close(&m);
  r.x[5] = -129;
  build(&m, &r, &o);
  vdb_graph_info(m.g, &info);
  CHECK_U64(VDB_NAV_F32, info.nav);
  built_close(&m);
  vdb_free(r.x);
}

TEST(graph_shapes__codes_of_the_first_dimensions){
  for(int made=MADE_BYTES; made<=MADE_FLOATS; made++){
    struct rows r = rows_make(made, 300, 80, 66);
    struct vdb_graph_opts o = { QUICK, .prefix = 64, .axes = VDB_AXES_FIRST };
    struct vdb_graph_info info;
    struct built m;
    for(uint32_t i=0; i<300*80; i++) if( i%80>=64 ) r.x[i] = 0;
    build(&m, &r, &o);
    vdb_graph_info(m.g, &info);
    CHECK(info.is_prefix);
    CHECK_U64(64, info.dims_code);
    CHECK(recall_of(&m, &r, 60, NULL)>=0.9);
    built_close(&m);
    vdb_free(r.x);
  }
}

/* Zeros, the least numbers there are, great ones below 0, halves: each kind of
** blocks gives as many rows as were asked for, the nearest first. */
TEST(graph_shapes__queries_of_any_size_are_answered){
  static const struct { int made; struct vdb_graph_opts o; } kind[] = {
    { MADE_BYTES, { QUICK } }, { MADE_FLOATS, { QUICK } },
    { MADE_FLOATS, { QUICK, .nav = VDB_NAV_SQ8 } } };
  static const float like[] = { 0, 1e-44f, -1e-20f, -300, -1e15f, 0.5f };
  for(size_t i=0; i<VDB_ARRAY_LEN(kind); i++){
    struct rows r = rows_make(kind[i].made, 300, 12, 67);
    struct rows q = { VDB_ARRAY_LEN(like), 12, vdb_malloc(6*12*4) };
    struct vdb_graph_hit hit[10];
    struct vdb_graph_search p = { 10, 150, -1 };
    struct built m;
    for(uint32_t j=0; j<6*12; j++) q.x[j] = like[j/12];
    for(uint32_t j=0; j<20; j++) memcpy(r.x + j*12, r.x, 48);
    build(&m, &r, &kind[i].o);
    for(uint32_t j=0; j<6; j++){
      uint32_t n;
      REQUIRE_RC(VECDB_OK, vdb_graph_knn(m.s, &m.b, q.x+j*12, &p, hit, &n,
                                         NULL));
      CHECK_U64(10, n);
      for(uint32_t k=1; k<n; k++){
        CHECK(hit[k].d2>hit[k-1].d2
              || (hit[k].d2==hit[k-1].d2 && hit[k].key>hit[k-1].key));
      }
    }
    built_close(&m);
    vdb_free(r.x);
    vdb_free(q.x);
  }
}

/* Rows that are all the same have no spread to quantise, and no axes. */
static void equal_rows(uint32_t prefix){
  struct rows r = rows_make(MADE_FLOATS, 80, 70, 68);
  struct vdb_graph_opts o = { QUICK, .nav = VDB_NAV_SQ8, .prefix = prefix };
  struct vdb_graph_search p = { 80, 80, -1 };
  struct vdb_graph_hit hit[80];
  struct built m;
  uint32_t n;
  for(uint32_t i=0; i<80*70; i++) r.x[i] = 3;
  build(&m, &r, &o);
  check_ok(&m);
  REQUIRE_RC(VECDB_OK, vdb_graph_knn(m.s, &m.b, r.x, &p, hit, &n, NULL));
  CHECK_U64(80, n);
  built_close(&m);
  vdb_free(r.x);
}
TEST(graph_shapes__equal_rows_have_quantised_bytes){ equal_rows(0); }
TEST(graph_shapes__equal_rows_have_a_projection){ equal_rows(64); }

/* Quantised rows of many dimensions: what is found within a distance is all
** within it but for the error of a row. */
TEST(graph_shapes__quantised_rows_are_found_within_a_distance){
  struct rows r = rows_make(MADE_FLOATS, 300, 80, 73);
  struct vdb_graph_opts o = { QUICK, .nav = VDB_NAV_SQ8 };
  struct vdb_graph_range range = { 150, 60, -1, 2, 1e9, SIZE_MAX };
  struct vdb_graph_found f = { 0 };
  struct vdb_graph_stats st;
  uint32_t n = 0;
  struct built m;
  build(&m, &r, &o);
  REQUIRE_RC(VECDB_OK, vdb_graph_within_distance(m.s, &m.b, r.x, &range, &f,
                                                 &st));
  for(uint32_t i=0; i<300; i++) n += d2_of(&r, i, r.x)<=150;
  CHECK(n>20 && f.n>=n-n/20);
  for(size_t i=0; i<f.n; i++){
    CHECK(sqrt(d2_of(&r, f.hit[i].row, r.x))
          <=sqrt(150) + 2*(double)f.hit[i].err);
  }
  vdb_free(f.hit);
  built_close(&m);
  vdb_free(r.x);
}

TEST(graph_shapes__lists_of_any_length_are_sorted){
  enum { N = 3000 };
  static struct graph_near a[N];
  static const uint32_t n[] = { 0, 1, 40, 2000, 2001, N };
  struct vdb_rng g;
  vdb_rng_init(&g, vt_seed());
  for(size_t k=0; k<VDB_ARRAY_LEN(n); k++){
    for(uint32_t i=0; i<n[k]; i++){
      a[i].d2 = (float)vdb_rng_below(&g, 500);
      a[i].slot = vdb_rng_below(&g, 1u<<30);
    }
    vdb_graph_near_sort(a, n[k]);
    for(uint32_t i=1; i<n[k]; i++){
      CHECK(a[i-1].d2<a[i].d2
            || (a[i-1].d2==a[i].d2 && a[i-1].slot<=a[i].slot));
    }
  }
}

/* ---- Edges from elsewhere ------------------------------------------------ */

enum edges { EDGES_RING, EDGES_SELF, EDGES_BEYOND, EDGES_TWICE, EDGES_NONE };
struct elsewhere { enum edges kind; uint32_t n_asked, list; };

static int elsewhere_edges(void *arg, const struct vdb_graph_rows *rows,
                           const struct vdb_graph_linking *how,
                           uint32_t *edge){
  struct elsewhere *e = arg;
  e->n_asked++;
  e->list = how->list;
  for(uint32_t i=0; i<rows->n; i++){
    uint32_t *p = edge + (size_t)i*how->n_lanes;
    for(uint32_t j=0; j<how->n_lanes; j++){
      p[j] = e->kind!=EDGES_NONE && j+1<rows->n ? (i+j+1)%rows->n : SLOT_NONE;
    }
    if( i!=rows->n-1 ) continue;
    if( e->kind==EDGES_SELF ) p[1] = i;
    if( e->kind==EDGES_BEYOND ) p[1] = rows->n;
    if( e->kind==EDGES_TWICE ) p[1] = p[0];
  }
  return VECDB_OK;
}

TEST(graph_shapes__edges_from_elsewhere_are_not_trusted){
  struct rows r = rows_make(MADE_FLOATS, 200, 8, 69), one = { 1, 8, r.x };
  struct elsewhere e = { .kind = EDGES_SELF };
  struct vdb_graph_linker linker = { elsewhere_edges, &e };
  struct vdb_graph_opts o = { QUICK, .linker = &linker };
  struct built m;
  for(; e.kind<=EDGES_TWICE; e.kind++){
    CHECK_RC(VECDB_INTERNAL, build_try(&m, &r, &o));
    CHECK(m.header==NULL);
  }
  /* No edge at all: those that the entries do not reach are connected. */
  build(&m, &r, &o);
  check_ok(&m);
  built_close(&m);
  e.kind = EDGES_RING;
  o.n_lanes = 64;
  build(&m, &r, &o);
  check_ok(&m);
  CHECK_U64(128, e.list);
  built_close(&m);
  e.n_asked = 0;
  build(&m, &one, &o);
  CHECK_U64(0, e.n_asked);                       /* there are none to choose */
  check_ok(&m);
  built_close(&m);
  vdb_free(r.x);
}

/* ---- Filters ------------------------------------------------------------- */

/* The nearest of the rows that pass, by walks within: independent of the query,
** or only far from it. */
TEST(graph_shapes__walks_within_find_what_passes){
  enum { N = 3000, D = 8 };
  static const double share[] = { 1, 0.5, 0.1, 0.02 };
  struct rows r = rows_make(MADE_FLOATS, N, D, 70);
  struct rows q = rows_make(MADE_FLOATS, 20, D, 71);
  struct vdb_graph_opts o = { .seed = 1, .list1 = 16, .list2 = 48,
                              .n_router = 64, .no_calibration = true };
  struct vdb_graph_within within = { 0 };
  uint64_t pass[N/64+1];
  uint32_t row[N];
  struct vdb_graph_stats st;
  struct built m;
  build(&m, &r, &o);
  for(uint32_t s=0; s<N; s++){
    row[s] = get_u32(built_block(&m, s)+GRAPHBLOCK_ROW);
  }
  within.row = row;
  within.n_hop_exact = 1e9;
  for(int far=0; far<2; far++){
    for(size_t i=0; i<VDB_ARRAY_LEN(share); i++){
      uint32_t n_pass = 0;
      memset(pass, 0, sizeof(pass));
      for(uint32_t j=0; j<N; j++){
        bool on = far ? r.x[j*D]>2*(1-share[i])
                      : vdb_mix64(j)%1000<1000*share[i];
        if( on ) vdb_bit_set(pass, j);
        n_pass += on;
      }
      within.share = (double)n_pass/N;
      if( n_pass<20 ) continue;
      for(uint32_t j=0; far && j<20; j++) q.x[j*D] = -2;
      m.b.within = &within;
      m.g->reuse = (uint32_t)i%3;      /* what of candidates met again: as asked */
      CHECK(recall_of(&m, &q, 60, pass)>=(far ? 0.6 : 0.9));
    }
  }
  /* Too dear: no answer, and it says so. */
  {
    struct vdb_graph_search p = { 10, 60, 0 };
    struct vdb_graph_hit hit[10];
    uint32_t n;
    m.b.filter = pass;
    m.b.n_row = N;
    within.n_hop_exact = 1;
    CHECK_RC(VECDB_OK, vdb_graph_knn(m.s, &m.b, q.x, &p, hit, &n, &st));
    CHECK(st.gave_up);
    CHECK_U64(0, n);
  }
  built_close(&m);
  vdb_free(r.x);
  vdb_free(q.x);
}

/* ---- The parts of a build ------------------------------------------------ */

struct part {
  struct graph_builder b;
  struct vdb_graph_source src;
  struct vdb_graph_opts o;
  struct vdb_graph_sink sink;
};

/* A build whose nodes have their edges. */
static void part_build(struct part *p, struct rows *r,
                       const struct vdb_graph_opts *o){
  memset(p, 0, sizeof(*p));
  p->src = (struct vdb_graph_source){ r->n, r->d, test_fetch, NULL, NULL, r };
  p->o = *o;
  p->b.src = &p->src;
  p->b.opts = &p->o;
  p->b.sink = &p->sink;
  p->b.n = r->n;
  p->b.n_lanes = 32;
  REQUIRE_RC(VECDB_OK, vdb_graph_build_options(&p->b));
  REQUIRE_RC(VECDB_OK, vdb_graph_load_rows(&p->b));
  p->b.n_order = p->b.n_nodes;
  p->b.order = vdb_malloc_array(p->b.n_order, sizeof(uint32_t));
  for(uint32_t i=0; i<p->b.n_order; i++) p->b.order[i] = i;
  REQUIRE_RC(VECDB_OK, vdb_graph_build_alloc(&p->b));
  REQUIRE_RC(VECDB_OK, vdb_graph_enter(&p->b));
}

/* Where no lane may be replaced, nodes that nothing leads to become entries. */
TEST(graph_shapes__nodes_without_a_free_lane_near_them_become_entries){
  struct rows r = rows_make(MADE_FLOATS, 400, 6, 72);
  struct vdb_graph_opts o = { QUICK };
  uint32_t lost[3] = { 399, 398, 397 }, n_found = 0;
  struct part p;
  part_build(&p, &r, &o);
  for(uint32_t s=0; s<400; s++){
    unsigned char *block = build_block(&p.b, s);
    uint32_t n = build_degree(&p.b, s), m = 0;
    for(uint32_t i=0; i<n; i++){
      uint32_t nbr = graph_nbr(p.b.g, block, i);
      if( nbr<397 ) put_u32(graph_lanes(p.b.g, block) + 4*m++, nbr);
    }
    for(uint32_t i=m; i<32; i++){                /* full, of whatever */
      put_u32(graph_lanes(p.b.g, block) + 4*i, (s+i)%390);
    }
    put_u16(block+GRAPHBLOCK_DEGREE, 32);
    p.b.fixed[s] = ~(uint64_t)0;
  }
  REQUIRE_RC(VECDB_OK, vdb_graph_repair(&p.b));
  CHECK_U64(32+3, p.b.g->router.n);              /* beside those there were */
  for(uint32_t i=0; i<p.b.g->router.n; i++){
    for(int k=0; k<3; k++) n_found += p.b.g->router.slot[i]==lost[k];
  }
  CHECK_U64(3, n_found);
  vdb_graph_build_clear(&p.b);
  vdb_free(r.x);
}
