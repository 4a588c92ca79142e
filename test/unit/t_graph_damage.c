/* t_graph_damage.c -- bytes of graphs that are not what a build has written:
** headers, blocks, chains, groups that cannot be had. What check says, what
** searches say, and that each condition of a well formed graph is asked.
*/
#include "unit/lib_graph.h"

#include "index/graph_int.h"
#include "util/crc32c.h"

/* ---- Headers ------------------------------------------------------------- */

/* One field of a header that is otherwise sound. size 4 or less: `value`. */
struct lie { size_t at, size; uint32_t value; int rc; };

static uint32_t bits_of(float x){
  uint32_t u;
  memcpy(&u, &x, 4);
  return u;
}

static void lie_tell(const struct lie *l, unsigned char *p){
  unsigned char v[4];
  put_u32(v, l->value);
  memcpy(p + l->at, v, l->size);
}

static void lies_are_refused(const struct built *m, const struct lie *l,
                             size_t n){
  unsigned char *p = vdb_malloc(m->sz_header);
  struct vdb_graph *g = NULL;
  for(size_t i=0; i<n; i++){
    int rc;
    memcpy(p, m->header, m->sz_header);
    lie_tell(&l[i], p);
    rc = vdb_graph_open(p, m->sz_header, &g);
    if( rc!=(l[i].rc ? l[i].rc : VECDB_CORRUPT_INDEX) ){
      FAIL("lie %zu, %x at %zu: %s", i, l[i].value, l[i].at, vecdb_errname(rc));
    }
    CHECK(rc==VECDB_OK || g==NULL);
    vdb_graph_close(g);
  }
  vdb_free(p);
}

#define HDR(f)  GRAPHHDR_##f
#define ANY_LIES \
  { HDR(MAGIC), 4, 0, 0 }, { HDR(VERSION), 4, 2, VECDB_FORMAT }, \
  { HDR(NAV), 1, 0, 0 }, { HDR(NAV), 1, 5, 0 }, \
  { HDR(FLAGS), 1, 0x14, 0 }, { HDR(LO), 4, 1, 0 }, \
  { HDR(LO), 4, 0xffffff81, 0 }, \
  { HDR(NNODE), 4, 421, 0 }, { HDR(NNODE), 4, 0, 0 }, { HDR(NSLOT), 4, 0, 0 }, \
  { HDR(NSLOT), 4, 0x7fffffff, 0 }, { HDR(NCAL), 4, 65, 0 }, \
  { HDR(NCAL), 4, 0, 0 }, { HDR(NSEED), 2, 0, 0 }, { HDR(NSEED), 2, 65, 0 }, \
  { HDR(REUSE), 4, 3, 0 }, { HDR(STOP), 4, 0x7fc00000, 0 }, \
  { HDR(STOP), 4, 0xc0000000, 0 }, { HDR(STOP), 4, 0x4b000000, 0 }, \
  { HDR(NROUTER), 4, 421, 0 }, { HDR(NROUTER), 4, 0, 0 }, \
  { HDR(NROUTER), 4, 1, 0 }, { HDR(D), 4, 0, 0 }, { HDR(D), 4, 65537, 0 }, \
  { HDR(NLANES), 2, 33, 0 }, { HDR(BITS), 1, 3, 0 }, { HDR(BITS), 1, 0, 0 }, \
  { HDR(DIMSNAV), 4, 1024, 0 }, { HDR(ROTDIMS), 4, 192, 0 }, \
  { HDR(STRIDE), 4, 4096, 0 }, { HDR(SHIFT), 1, 30, 0 }, { HDR(SZ), 4, 192, 0 }

TEST(graph_damage__headers_that_cannot_be_are_refused){
  static const struct lie any[] = { ANY_LIES };
  static const struct lie prefix[] = {           /* codes of fewer dimensions */
    { HDR(DIMSCODE), 4, 65, 0 }, { HDR(DIMSCODE), 4, 0, 0 },
    { HDR(DIMSCODE), 4, 192, 0 }, { HDR(NAV), 1, VDB_NAV_F32, 0 },
    { HDR(NAV), 1, VDB_NAV_SQ8, 0 }, { HDR(FLAGS), 1, GRAPH_SUMMED, 0 },
    { HDR(FLAGS), 1, GRAPH_SUMMED|GRAPH_PROJECTED|GRAPH_JACCARD, 0 } };
  static const struct lie full[] = {
    { HDR(DIMSCODE), 4, 128, 0 }, { HDR(FLAGS), 1, GRAPH_PROJECTED, 0 } };
  static const struct lie bits[] = {
    { HDR(BITS), 1, 2, 0 }, { HDR(LO), 4, 0xffffff80, 0 },
    { HDR(FLAGS), 1, GRAPH_SUMMED|GRAPH_PROJECTED, 0 } };
  struct vdb_graph_opts o = { .seed = 1, .prefix = 64, .list1 = 8, .list2 = 16 };
  struct rows r = rows_make(MADE_BYTES, 420, 80, 41);
  struct vdb_graph *g = NULL;
  struct built m;
  build(&m, &r, &o);
  lies_are_refused(&m, any, VDB_ARRAY_LEN(any));
  lies_are_refused(&m, prefix, VDB_ARRAY_LEN(prefix));
  for(size_t n=0; n<m.sz_header; n+=1+n/3){
    CHECK_RC(VECDB_CORRUPT_INDEX, vdb_graph_open(m.header, n, &g));
  }
  built_close(&m);
  vdb_free(r.x);
  r = rows_make(MADE_FLOATS, 420, 60, 42);
  o.prefix = 0;
  build(&m, &r, &o);
  lies_are_refused(&m, any, VDB_ARRAY_LEN(any));
  lies_are_refused(&m, full, VDB_ARRAY_LEN(full));
  built_close(&m);
  vdb_free(r.x);
  r = rows_make(MADE_BITS, 420, 60, 43);
  o.nav = VDB_NAV_BITS;
  build(&m, &r, &o);
  lies_are_refused(&m, any, VDB_ARRAY_LEN(any));
  lies_are_refused(&m, bits, VDB_ARRAY_LEN(bits));
  built_close(&m);
  vdb_free(r.x);
}

/* Blocks of more than 2 MiB are none. */
TEST(graph_damage__blocks_have_a_greatest_size){
  struct vdb_graph_opts o = { .seed = 1, .no_calibration = true };
  struct rows r = rows_make(MADE_FLOATS, 40, 4, 44);
  struct vdb_graph *g = NULL;
  struct built m;
  build(&m, &r, &o);
  put_u32(m.header + GRAPHHDR_D, 65536);
  m.header[GRAPHHDR_BITS] = 4;
  put_u16(m.header + GRAPHHDR_NLANES, 64);
  CHECK_RC(VECDB_CORRUPT_INDEX, vdb_graph_open(m.header, m.sz_header, &g));
  CHECK(g==NULL);
  built_close(&m);
  vdb_free(r.x);
}

/* Where the parts of a header begin (format.def). */
enum { PART_MU, PART_SIGNS, PART_PROJ, PART_SCALE, PART_BIAS, PART_SLOT,
       PART_ADD, PART_RESC, PART_CODE, PART_CAL, N_PART };

static void parts_find(const struct vdb_graph *g, size_t off[N_PART]){
  size_t dc = g->is_prefix ? g->dims_code : 0, at = GRAPHHDR_SIZE;
  const size_t size[N_PART] = {
    4*(size_t)g->d, g->rot_dims/2, dc*g->dims_nav, 4*dc, 4*dc,
    4*(size_t)g->router.n_pad, 4*(size_t)g->router.n_pad,
    4*(size_t)g->router.n_pad,
    g->router.n_pad/32*VDB_CODE_GROUP_BYTES(g->dims_code, g->bits),
    g->n_cal*(size_t)GRAPHCAL_SIZE };
  for(int i=0; i<N_PART; i++){
    off[i] = (at+63)/64*64;
    at = off[i] + size[i];
  }
}

TEST(graph_damage__tables_that_cannot_be_are_refused){
  struct vdb_graph_opts o = { .seed = 1, .prefix = 64, .n_router = 40,
                              .list1 = 8, .list2 = 16 };
  struct rows r = rows_make(MADE_BYTES, 420, 80, 45);
  const uint32_t nan = 0x7fc00000, inf = 0x7f800000;
  size_t off[N_PART];
  struct built m;
  build(&m, &r, &o);
  parts_find(m.g, off);
  REQUIRE(m.g->router.n==40 && m.g->n_cal>1);
  {
    const struct lie l[] = {
      { off[PART_MU]+4, 4, nan, 0 }, { off[PART_MU]+4, 4, inf, 0 },
      { off[PART_SCALE], 4, nan, 0 }, { off[PART_BIAS]+8, 4, inf, 0 },
      { off[PART_SLOT]+4, 4, 420, 0 }, { off[PART_SLOT]+4*39, 4, SLOT_NONE, 0 },
      { off[PART_SLOT]+4*40, 4, 0, 0 },
      { off[PART_ADD], 4, nan, 0 }, { off[PART_ADD], 4, inf|0x80000000u, 0 },
      { off[PART_RESC]+4, 4, inf, 0 },
      { off[PART_CAL]+GRAPHCAL_EF, 4, 0, 0 },
      { off[PART_CAL]+GRAPHCAL_EF, 4, VDB_GRAPH_EF_MAX+1, 0 },
      { off[PART_CAL]+GRAPHCAL_STOP, 4, nan, 0 },
      { off[PART_CAL]+GRAPHCAL_STOP, 4, bits_of(-2), 0 },
      { off[PART_CAL]+GRAPHCAL_STOP, 4, bits_of(2e6f), 0 },
      { off[PART_CAL]+GRAPHCAL_RECALL10, 4, nan, 0 },
      { off[PART_CAL]+GRAPHCAL_RECALL10, 4, bits_of(1.5f), 0 },
      { off[PART_CAL]+GRAPHCAL_LOW10, 4, nan, 0 },
      { off[PART_CAL]+GRAPHCAL_RECALLN, 4, nan, 0 },
      { off[PART_CAL]+GRAPHCAL_LOWN, 4, nan, 0 },
      { off[PART_CAL]+GRAPHCAL_HOPS, 4, nan, 0 } };
    lies_are_refused(&m, l, VDB_ARRAY_LEN(l));
  }
  built_close(&m);
  vdb_free(r.x);
}

/* Entries whose estimates are all infinite: a walk begins at one of them. */
TEST(graph_damage__infinite_estimates_of_entries_are_searched_nonetheless){
  struct vdb_graph_opts o = { .seed = 1, .no_calibration = true };
  struct rows r = rows_make(MADE_FLOATS, 600, 8, 46);
  struct rows q = rows_make(MADE_FLOATS, 20, 8, 47);
  size_t off[N_PART];
  struct built m;
  REQUIRE_RC(VECDB_OK, build_try(&m, &r, &o));
  built_open(&m);
  parts_find(m.g, off);
  for(uint32_t i=0; i<m.g->router.n; i++){
    put_f32(m.header + off[PART_ADD] + 4*i, INFINITY);
  }
  vdb_graph_searcher_destroy(m.s);
  vdb_graph_close(m.g);
  built_open(&m);
  CHECK(recall_of(&m, &q, 200, NULL)>=0.95);
  built_close(&m);
  vdb_free(r.x);
  vdb_free(q.x);
}

/* ---- Blocks -------------------------------------------------------------- */

/* The checksum of a block whose bytes were changed. */
static void block_reseal(struct built *m, uint32_t slot){
  vdb_graph_block_seal(m->g, built_block(m, slot));
}

/* A graph of 200 rows, a fifth of them equal. In a mixed one, as insertions leave
** it, the last member of the chain is an empty block, and nodes may be
** anywhere. */
enum { D_ROWS = 200, D_EQUAL = 40, D_NODES = D_ROWS-D_EQUAL+1 };
struct damaged { struct built m; struct rows r; };

static uint32_t block_next(struct built *m, uint32_t slot){
  return get_u32(built_block(m, slot)+GRAPHBLOCK_DUP);
}

/* The slot of the chain's node. */
static uint32_t chain_head(struct built *m){
  uint32_t s = 0;
  while( block_next(m, s)==SLOT_NONE ) s++;
  return s;
}

static void damaged_make(struct damaged *d, bool is_mixed){
  struct vdb_graph_opts o = { .seed = 1, .no_calibration = true };
  struct vdb_graph_info info;
  d->r = rows_make(MADE_FLOATS, D_ROWS, 8, 48);
  for(uint32_t i=0; i<D_ROWS; i+=5) memcpy(d->r.x+i*8, d->r.x, 32);
  build(&d->m, &d->r, &o);
  vdb_graph_info(d->m.g, &info);
  REQUIRE_U64(D_NODES, info.n_nodes);
  if( is_mixed ){
    uint32_t last = chain_head(&d->m), before = last;
    while( block_next(&d->m, last)!=SLOT_NONE ){
      before = last;
      last = block_next(&d->m, last);
    }
    put_u32(built_block(&d->m, before)+GRAPHBLOCK_DUP, SLOT_NONE);
    block_reseal(&d->m, before);
    vdb_graph_block_init(d->m.g, built_block(&d->m, last), last, SLOT_NONE, 0);
    put_u16(built_block(&d->m, last)+GRAPHBLOCK_FLAGS, GRAPH_EMPTY);
    block_reseal(&d->m, last);
    d->m.header[GRAPHHDR_FLAGS] |= GRAPH_MIXED;
    put_u32(d->m.header+GRAPHHDR_NNODE, D_ROWS);
    vdb_graph_searcher_destroy(d->m.s);
    vdb_graph_close(d->m.g);
    built_open(&d->m);
  }
  check_ok(&d->m);
}

static void damaged_free(struct damaged *d){
  built_close(&d->m);
  vdb_free(d->r.x);
}

/* Check finds a block of that slot malformed, and nothing else is touched. */
static void lies_are_found(struct damaged *d, uint32_t slot,
                           const struct lie *l, size_t n){
  size_t stride = d->m.g->stride;
  unsigned char *block = built_block(&d->m, slot);
  unsigned char *kept = vdb_memdup(block, stride);
  struct vdb_graph_report rep;
  for(size_t i=0; i<n; i++){
    lie_tell(&l[i], block);
    if( l[i].at!=GRAPHBLOCK_CRC ) block_reseal(&d->m, slot);
    CHECK_RC(VECDB_CORRUPT_INDEX, vdb_graph_check(d->m.g, &d->m.b, &rep));
    if( rep.n_bad_block!=1 || rep.slot_first!=slot ){
      FAIL("lie %zu, %x at %zu: %u bad, first %u", i, l[i].value, l[i].at,
           rep.n_bad_block, rep.slot_first);
    }
    memcpy(block, kept, stride);
  }
  CHECK_RC(VECDB_OK, vdb_graph_check(d->m.g, &d->m.b, &rep));
  vdb_free(kept);
}

#define BLK(f)  GRAPHBLOCK_##f
#define NAN_BITS  0x7fc00000u
#define INF_BITS  0x7f800000u

TEST(graph_damage__malformed_blocks_are_found){
  static const struct lie node[] = {
    { BLK(SLOT), 4, 1, 0 }, { BLK(DEGREE), 2, 33, 0 }, { BLK(FLAGS), 2, 4, 0 },
    { BLK(FLAGS), 2, GRAPH_DUP, 0 }, { BLK(DEGREE), 4, GRAPH_DUP<<16, 0 },
    { BLK(DEGREE), 4, GRAPH_EMPTY<<16, 0 },
    { BLK(SCALE), 4, NAN_BITS, 0 }, { BLK(SCALE), 4, INF_BITS, 0 },
    { BLK(SCALE), 4, INF_BITS|0x80000000u, 0 }, { BLK(LO), 4, NAN_BITS, 0 },
    { BLK(NORM2), 4, INF_BITS, 0 }, { BLK(ERR), 4, NAN_BITS, 0 },
    { BLK(ERR), 4, 0xbf800000, 0 }, { BLK(CRC), 4, 0, 0 } };
  static const struct lie empty[] = {
    { BLK(FLAGS), 2, GRAPH_EMPTY|GRAPH_DUP, 0 }, { BLK(ROW), 4, 7, 0 },
    { BLK(DUP), 4, 7, 0 }, { BLK(DEGREE), 2, 1, 0 } };
  static const struct lie member[] = { { BLK(FLAGS), 2, 0, 0 } };
  struct damaged d;
  uint32_t head, s = D_ROWS-1;
  size_t lane, add, resc;
  damaged_make(&d, false);
  head = chain_head(&d.m);
  lies_are_found(&d, 0, node, VDB_ARRAY_LEN(node));
  lies_are_found(&d, block_next(&d.m, head), member, 1);
  lane = graph_off_lanes(d.m.g);
  add = lane + 4*d.m.g->n_lanes;
  resc = add + 4*d.m.g->n_lanes;
  {
    const struct lie edge[] = {
      { lane, 4, D_NODES, 0 }, { lane, 4, SLOT_NONE, 0 }, { lane+4, 4, 0, 0 },
      { add+4, 4, NAN_BITS, 0 }, { add, 4, INF_BITS, 0 },
      { resc, 4, NAN_BITS, 0 } };
    const struct lie beyond[] = {        /* lanes of a block without edges */
      { lane, 4, 1, 0 }, { add, 4, 0, 0 } };
    lies_are_found(&d, 0, edge, VDB_ARRAY_LEN(edge));
    lies_are_found(&d, block_next(&d.m, head), beyond, VDB_ARRAY_LEN(beyond));
  }
  damaged_free(&d);
  damaged_make(&d, true);
  while( get_u16(built_block(&d.m, s)+GRAPHBLOCK_FLAGS)!=GRAPH_EMPTY ) s--;
  lies_are_found(&d, s, empty, VDB_ARRAY_LEN(empty));
  damaged_free(&d);
}

/* ---- Edges and chains ---------------------------------------------------- */

static void edge_set(struct built *m, uint32_t slot, uint32_t lane,
                     uint32_t to){
  put_u32(built_block(m, slot) + graph_off_lanes(m->g) + 4*lane, to);
  block_reseal(m, slot);
}

TEST(graph_damage__edges_to_what_is_no_node_are_found){
  struct vdb_graph_report rep;
  struct damaged d;
  uint32_t s, head;
  damaged_make(&d, true);
  head = chain_head(&d.m);
  for(int i=0; i<2; i++){
    uint32_t kept = graph_nbr(d.m.g, built_block(&d.m, 0), 0);
    s = block_next(&d.m, head);
    if( i==1 ){
      s = D_ROWS-1;
      while( get_u16(built_block(&d.m, s)+GRAPHBLOCK_FLAGS)!=GRAPH_EMPTY ) s--;
    }
    edge_set(&d.m, 0, 0, s);
    CHECK_RC(VECDB_CORRUPT_INDEX, vdb_graph_check(d.m.g, &d.m.b, &rep));
    CHECK_U64(1, rep.n_bad_edge);
    CHECK_U64(0, rep.slot_first);
    edge_set(&d.m, 0, 0, kept);
  }
  CHECK_RC(VECDB_OK, vdb_graph_check(d.m.g, &d.m.b, &rep));
  damaged_free(&d);
}

/* No edge leads to a node any more, and no entry is it. */
TEST(graph_damage__nodes_that_nothing_leads_to_are_found){
  struct vdb_graph_opts o = { .seed = 1, .n_router = 32,
                              .no_calibration = true };
  struct rows r = rows_make(MADE_FLOATS, 300, 8, 49);
  struct vdb_graph_report rep;
  uint32_t lost = 299;
  struct built m;
  build(&m, &r, &o);
  check_ok(&m);
  for(bool again=true; again; ){
    again = false;
    for(uint32_t i=0; i<m.g->router.n; i++) again |= m.g->router.slot[i]==lost;
    lost -= again;
  }
  for(uint32_t s=0; s<300; s++){
    uint32_t n = get_u16(built_block(&m, s)+GRAPHBLOCK_DEGREE);
    for(uint32_t i=0; i<n; i++){
      if( graph_nbr(m.g, built_block(&m, s), i)==lost ){
        edge_set(&m, s, i, s==0 ? 1 : s-1 != lost ? s-1 : s-2);
      }
    }
  }
  CHECK_RC(VECDB_CORRUPT_INDEX, vdb_graph_check(m.g, &m.b, &rep));
  CHECK_U64(1, rep.n_unreached);
  CHECK_U64(lost, rep.slot_first);
  CHECK_U64(0, rep.n_bad_block + rep.n_bad_edge + rep.n_bad_chain);
  built_close(&m);
  vdb_free(r.x);
}

/* Everything that follows the chain of the equal rows. */
static void chain_is_corrupt(struct damaged *d, uint32_t n_bad){
  static const uint64_t none[D_ROWS/64+1];
  struct vdb_graph_search p = { D_ROWS, D_ROWS, -1 };
  struct vdb_graph_range range = { 1e-3f, 20, -1, 1, 1e9, SIZE_MAX };
  struct vdb_graph_hit hit[D_ROWS];
  struct vdb_graph_found f = { 0 };
  struct vdb_graph_report rep;
  struct vdb_graph_stats st;
  uint32_t n = 1;
  CHECK_RC(VECDB_CORRUPT_INDEX, vdb_graph_check(d->m.g, &d->m.b, &rep));
  CHECK(rep.n_bad_chain>=n_bad);
  /* No row qualifies: no number of results ends the way along the chain. */
  d->m.b.filter = none;
  d->m.b.n_row = D_ROWS;
  CHECK_RC(VECDB_CORRUPT_INDEX,
           vdb_graph_knn(d->m.s, &d->m.b, d->r.x, &p, hit, &n, NULL));
  CHECK_U64(0, n);
  d->m.b.filter = NULL;
  CHECK_RC(VECDB_CORRUPT_INDEX,
           vdb_graph_within_distance(d->m.s, &d->m.b, d->r.x, &range, &f, &st));
  vdb_free(f.hit);
}

TEST(graph_damage__chains_that_lead_astray_are_told){
  struct damaged d;
  uint32_t head, first, second, wrong[5];
  damaged_make(&d, false);
  head = chain_head(&d.m);
  first = block_next(&d.m, head);
  second = block_next(&d.m, first);
  wrong[0] = D_ROWS;                             /* outside */
  wrong[1] = SLOT_NONE-1;
  wrong[2] = head==0 ? 1 : 0;                    /* a node */
  wrong[3] = head;                               /* its own node */
  wrong[4] = first;                              /* itself: a loop */
  for(int i=0; i<5; i++){
    put_u32(built_block(&d.m, first)+GRAPHBLOCK_DUP, wrong[i]);
    block_reseal(&d.m, first);
    chain_is_corrupt(&d, 1);
  }
  put_u32(built_block(&d.m, first)+GRAPHBLOCK_DUP, second);
  block_reseal(&d.m, first);
  check_ok(&d.m);
  damaged_free(&d);
}

/* Far along the chain, where a search for a few neighbours does not come. */
TEST(graph_damage__long_chains_are_followed_to_the_end){
  struct vdb_graph_range range = { 1e-3f, 20, -1, 1, 1e9, SIZE_MAX };
  struct vdb_graph_found f = { 0 };
  struct vdb_graph_stats st;
  struct damaged d;
  uint32_t at, wrong[4];
  damaged_make(&d, false);
  at = chain_head(&d.m);
  for(int i=0; i<20; i++) at = block_next(&d.m, at);
  wrong[0] = D_ROWS;
  wrong[1] = 0;                                  /* a node */
  wrong[2] = at;
  wrong[3] = block_next(&d.m, at);
  for(int i=0; i<4; i++){
    put_u32(built_block(&d.m, at)+GRAPHBLOCK_DUP, wrong[i]);
    block_reseal(&d.m, at);
    CHECK_RC(i<3 ? VECDB_CORRUPT_INDEX : VECDB_OK,
             vdb_graph_within_distance(d.m.s, &d.m.b, d.r.x, &range, &f, &st));
  }
  CHECK_U64(D_EQUAL, f.n);
  vdb_free(f.hit);
  damaged_free(&d);
}

/* A chain that ends early loses rows; two that share members give them twice. */
TEST(graph_damage__chains_that_lose_or_share_members_are_found){
  struct vdb_graph_report rep;
  struct damaged d;
  uint32_t head, other;
  damaged_make(&d, false);
  head = chain_head(&d.m);
  other = head==0 ? 1 : 0;
  put_u32(built_block(&d.m, other)+GRAPHBLOCK_DUP, block_next(&d.m, head));
  block_reseal(&d.m, other);
  CHECK_RC(VECDB_CORRUPT_INDEX, vdb_graph_check(d.m.g, &d.m.b, &rep));
  CHECK_U64(1, rep.n_bad_chain);
  put_u32(built_block(&d.m, other)+GRAPHBLOCK_DUP, SLOT_NONE);
  put_u32(built_block(&d.m, head)+GRAPHBLOCK_DUP, SLOT_NONE);
  block_reseal(&d.m, other);
  block_reseal(&d.m, head);
  CHECK_RC(VECDB_CORRUPT_INDEX, vdb_graph_check(d.m.g, &d.m.b, &rep));
  CHECK_U64(1, rep.n_bad_chain);
  CHECK_U64(0, rep.n_bad_block + rep.n_bad_edge + rep.n_unreached);
  damaged_free(&d);
}

/* ---- Insertion ----------------------------------------------------------- */

/* Add two rows, one of them equal to those of the chain; `live`: rows that stay. */
static int damaged_insert(const struct damaged *d, const uint64_t *live){
  struct rows more = { 2, 8, d->r.x };           /* rows 0, as the chain, and 1 */
  uint32_t row[] = { D_ROWS, D_ROWS+1 };
  uint64_t key[] = { D_ROWS, D_ROWS+1 };
  struct vdb_graph_source src = { 2, 8, test_fetch, row, key, &more };
  struct vdb_graph_opts o = { .seed = 1, .no_calibration = true, .list1 = 8,
                              .list2 = 16 };
  struct vdb_graph_prior prior = { 0 };
  struct built out;
  struct vdb_graph_sink sink = { test_group, test_header, NULL, &out, NULL };
  int rc;
  memset(&out, 0, sizeof(out));
  prior.g = d->m.g;
  prior.base = (const unsigned char *const*)d->m.group;
  prior.live = live;
  prior.n_row = live ? D_ROWS : 0;
  prior.purge = live!=NULL;
  rc = vdb_graph_insert(&prior, &src, &o, &sink);
  CHECK(rc==VECDB_OK || out.header==NULL);
  built_close(&out);
  return rc;
}

/* Whatever the chain does, whoever follows it: rows that come, rows that go. */
TEST(graph_damage__insertions_refuse_chains_that_lead_astray){
  uint64_t live[D_ROWS/64+1];
  struct damaged d;
  uint32_t head, first, second, wrong[5];
  memset(live, 0xff, sizeof(live));
  vdb_bit_clear(live, 5);                        /* a member */
  damaged_make(&d, false);
  CHECK_RC(VECDB_OK, damaged_insert(&d, NULL));
  CHECK_RC(VECDB_OK, damaged_insert(&d, live));
  head = chain_head(&d.m);
  first = block_next(&d.m, head);
  second = block_next(&d.m, first);
  wrong[0] = D_ROWS;
  wrong[1] = SLOT_NONE-1;
  wrong[2] = head==0 ? 1 : 0;
  wrong[3] = head;
  wrong[4] = first;                              /* a loop */
  for(int i=0; i<5; i++){
    put_u32(built_block(&d.m, first)+GRAPHBLOCK_DUP, wrong[i]);
    block_reseal(&d.m, first);
    CHECK_RC(VECDB_CORRUPT_INDEX, damaged_insert(&d, NULL));
    CHECK_RC(VECDB_CORRUPT_INDEX, damaged_insert(&d, live));
  }
  /* Two nodes share the rest of the chain: what one has emptied is none of the
  ** other's members. */
  put_u32(built_block(&d.m, first)+GRAPHBLOCK_DUP, second);
  block_reseal(&d.m, first);
  put_u32(built_block(&d.m, wrong[2])+GRAPHBLOCK_DUP, second);
  block_reseal(&d.m, wrong[2]);
  memset(live, 0, sizeof(live));
  for(uint32_t i=0; i<D_ROWS; i++) if( i%5 ) vdb_bit_set(live, i);
  CHECK_RC(VECDB_CORRUPT_INDEX, damaged_insert(&d, live));
  damaged_free(&d);
}

/* Edges and entries that are members of a chain, or empty blocks. */
TEST(graph_damage__insertions_refuse_what_is_no_node){
  struct damaged d;
  uint32_t member, kept;
  damaged_make(&d, true);
  member = block_next(&d.m, chain_head(&d.m));
  CHECK_RC(VECDB_OK, damaged_insert(&d, NULL));
  kept = graph_nbr(d.m.g, built_block(&d.m, 0), 0);
  edge_set(&d.m, 0, 0, member);
  CHECK_RC(VECDB_CORRUPT_INDEX, damaged_insert(&d, NULL));
  edge_set(&d.m, 0, 0, kept);
  d.m.g->router.slot[0] = member;
  CHECK_RC(VECDB_CORRUPT_INDEX, damaged_insert(&d, NULL));
  damaged_free(&d);
}

/* ---- Entries ------------------------------------------------------------- */

/* Is the table one that codes are made with? Quantised blocks hold vectors that
** have been centred and rotated; a projection has the centre in its bias. */
static bool part_counts(const struct vdb_graph *g, int part){
  if( g->nav==VDB_NAV_BITS ) return part>=PART_SLOT;
  if( part==PART_MU ) return !g->is_prefix && g->nav!=VDB_NAV_SQ8;
  if( part==PART_SIGNS ) return g->rot_dims>0 && g->nav!=VDB_NAV_SQ8;
  if( part==PART_BIAS ) return g->is_prefix && g->nav==VDB_NAV_BYTES;
  return part>=PART_SLOT || g->is_prefix;
}

/* One bit of a table is another, the header sound otherwise: the entries no
** longer have the codes of their nodes. */
TEST(graph_damage__tables_of_another_space_are_found){
  static const struct { int made; uint32_t d; struct vdb_graph_opts o; } kind[] = {
    { MADE_BYTES, 80, { .prefix = 64 } }, { MADE_FLOATS, 12, { .bits = 1 } },
    { MADE_FLOATS, 12, { .bits = 4 } },
    { MADE_FLOATS, 80, { .nav = VDB_NAV_SQ8 } },
    { MADE_FLOATS, 80, { .nav = VDB_NAV_SQ8, .prefix = 64 } },
    { MADE_BITS, 80, { .nav = VDB_NAV_BITS, .is_jaccard = true } } };
  for(size_t k=0; k<VDB_ARRAY_LEN(kind); k++){
    struct rows r = rows_make(kind[k].made, 150, kind[k].d, 53);
    struct vdb_graph_opts o = kind[k].o;
    struct vdb_graph_report rep;
    size_t off[N_PART];
    struct built m;
    o.seed = 1;
    o.n_router = 40;
    o.no_calibration = true;
    build(&m, &r, &o);
    check_ok(&m);
    parts_find(m.g, off);
    for(int i=PART_MU; i<=PART_CODE; i++){
      /* The exponent of the second float; the sign of the second dimension. */
      size_t at = off[i] + (i==PART_SIGNS ? 0 : 7);
      unsigned char kept = m.header[at];
      struct vdb_graph *g = NULL;
      if( !part_counts(m.g, i) ) continue;
      m.header[at] ^= 2;
      if( vdb_graph_open(m.header, m.sz_header, &g)==VECDB_OK ){
        CHECK_RC(VECDB_CORRUPT_INDEX, vdb_graph_check(g, &m.b, &rep));
        if( rep.n_bad_entry==0 ) FAIL("kind %zu, part %d", k, i);
        CHECK_U64(0, rep.n_bad_block + rep.n_bad_edge + rep.n_bad_chain);
      }else{
        CHECK_INT(PART_SLOT, i);                 /* no such block */
      }
      vdb_graph_close(g);
      m.header[at] = kept;
    }
    built_close(&m);
    vdb_free(r.x);
  }
}

/* An entry that is a member of a chain, or an empty block. */
TEST(graph_damage__entries_that_are_no_nodes_are_found){
  struct vdb_graph_report rep;
  struct damaged d;
  damaged_make(&d, true);
  d.m.g->router.slot[0] = block_next(&d.m, chain_head(&d.m));
  CHECK_RC(VECDB_CORRUPT_INDEX, vdb_graph_check(d.m.g, &d.m.b, &rep));
  CHECK_U64(1, rep.n_bad_entry);
  damaged_free(&d);
}

/* ---- Groups that are not there ------------------------------------------- */

struct loader { const unsigned char *const *base; int rc; bool is_empty; };

static int loader_load(void *arg, uint32_t i, const unsigned char **base){
  const struct loader *l = arg;
  if( l->rc!=VECDB_OK ) return l->rc;
  if( !l->is_empty ) *base = l->base[i];
  return VECDB_OK;
}

static int all_searches(struct built *m, const struct vdb_graph_blocks *b,
                        const float *q, int want){
  struct vdb_graph_search p = { 10, 40, -1 };
  struct vdb_graph_range range = { 2, 20, -1, 1, 1e9, SIZE_MAX };
  struct vdb_graph_hit hit[20];
  struct vdb_graph_found f = { 0 };
  struct vdb_graph_stats st;
  uint32_t n[2];
  int rc = vdb_graph_knn(m->s, b, q, &p, hit, n, &st);
  CHECK_RC(want, rc);
  CHECK_RC(want, vdb_graph_knn_many(m->s, b, q, 2, &p, hit, n));
  if( want!=VECDB_OK ) CHECK_U64(0, n[0] + n[1]);
  if( b->within==NULL ){
    CHECK_RC(want, vdb_graph_within_distance(m->s, b, q, &range, &f, &st));
  }
  vdb_free(f.hit);
  return rc;
}

TEST(graph_damage__groups_are_loaded_or_the_search_ends){
  static const unsigned char *const nothing[64];
  struct vdb_graph_opts o = { .seed = 1, .no_calibration = true };
  struct rows r = rows_make(MADE_FLOATS, 300, 8, 50);
  struct vdb_graph_within within = { NULL, 1, 1e9 };
  struct vdb_graph_report rep;
  uint32_t row[300];
  uint64_t ones[300/64+1];
  struct vdb_graph_blocks b;
  struct loader l = { .rc = VECDB_OK };
  struct built m;
  build(&m, &r, &o);
  for(uint32_t i=0; i<300; i++) row[i] = UINT32_MAX;
  memset(ones, 0xff, sizeof(ones));
  within.row = row;
  for(int pass=0; pass<2; pass++){
    b = m.b;
    b.base = nothing;
    b.load = loader_load;
    b.arg = &l;
    b.live = ones;
    b.n_row = 300;
    b.within = pass ? &within : NULL;
    l = (struct loader){ m.b.base, VECDB_OK, false };
    all_searches(&m, &b, r.x, VECDB_OK);
    CHECK_RC(VECDB_OK, vdb_graph_check(m.g, &b, &rep));
    l.rc = VECDB_IOERR_READ;
    all_searches(&m, &b, r.x, VECDB_IOERR_READ);
    CHECK_RC(VECDB_CORRUPT_INDEX, vdb_graph_check(m.g, &b, &rep));
    CHECK_U64(300, rep.n_bad_block);
    l = (struct loader){ m.b.base, VECDB_OK, true };
    all_searches(&m, &b, r.x, VECDB_CORRUPT_INDEX);
    CHECK_RC(VECDB_CORRUPT_INDEX, vdb_graph_check(m.g, &b, &rep));
    b.load = NULL;
    all_searches(&m, &b, r.x, VECDB_CORRUPT_INDEX);
    CHECK_RC(VECDB_CORRUPT_INDEX, vdb_graph_check(m.g, &b, &rep));
  }
  built_close(&m);
  vdb_free(r.x);
}

/* ---- Requests that cannot be --------------------------------------------- */

TEST(graph_damage__requests_out_of_range_are_refused){
  struct vdb_graph_opts o = { .seed = 1, .no_calibration = true };
  struct rows r = rows_make(MADE_FLOATS, 100, 8, 51);
  static const struct vdb_graph_search wrong[] = {
    { 0, 10, -1 }, { VDB_GRAPH_EF_MAX+1, 10, -1 }, { 5, VDB_GRAPH_EF_MAX+1, -1 }
  };
  static const double share[] = { 0, -1, 1.5, NAN };
  struct vdb_graph_search p = { 5, 10, -1 };
  struct vdb_graph_range range = { NAN, 20, -1, 1, 1e9, SIZE_MAX };
  struct vdb_graph_within within = { NULL, 1, 1e9 };
  uint64_t ones[2] = { ~(uint64_t)0, ~(uint64_t)0 };
  struct vdb_graph_found f = { 0 };
  struct vdb_graph_report rep;
  struct vdb_graph_stats st;
  struct vdb_graph_hit hit[5];
  unsigned char *header;
  float vec[8];
  uint32_t n, row;
  uint64_t key;
  size_t sz;
  struct built m;
  build(&m, &r, &o);
  for(size_t i=0; i<VDB_ARRAY_LEN(wrong); i++){
    CHECK_RC(VECDB_RANGE,
             vdb_graph_knn(m.s, &m.b, r.x, &wrong[i], hit, &n, NULL));
    CHECK_RC(VECDB_RANGE,
             vdb_graph_knn_many(m.s, &m.b, r.x, 1, &wrong[i], hit, &n));
  }
  CHECK_RC(VECDB_RANGE,
           vdb_graph_within_distance(m.s, &m.b, r.x, &range, &f, &st));
  range.d2 = 1;
  range.ef = VDB_GRAPH_EF_MAX+1;
  CHECK_RC(VECDB_RANGE,
           vdb_graph_within_distance(m.s, &m.b, r.x, &range, &f, &st));
  m.b.within = &within;
  CHECK_RC(VECDB_MISUSE, vdb_graph_knn(m.s, &m.b, r.x, &p, hit, &n, NULL));
  m.b.live = ones;
  m.b.n_row = 100;
  for(size_t i=0; i<VDB_ARRAY_LEN(share); i++){
    within.share = share[i];
    CHECK_RC(VECDB_MISUSE, vdb_graph_knn(m.s, &m.b, r.x, &p, hit, &n, NULL));
  }
  m.b.within = NULL;
  m.b.n_slots--;
  CHECK_RC(VECDB_MISUSE, vdb_graph_knn(m.s, &m.b, r.x, &p, hit, &n, NULL));
  CHECK_RC(VECDB_MISUSE,
           vdb_graph_within_distance(m.s, &m.b, r.x, &range, &f, &st));
  CHECK_RC(VECDB_MISUSE, vdb_graph_check(m.g, &m.b, &rep));
  CHECK_RC(VECDB_MISUSE, vdb_graph_recalibrate(m.g, &m.b, 1, &header, &sz));
  CHECK(header==NULL);
  CHECK_RC(VECDB_CORRUPT_INDEX,
           vdb_graph_block_row(m.g, m.group[0], 100, &row, &key));
  CHECK_RC(VECDB_CORRUPT_INDEX,
           vdb_graph_block_row(m.g, m.group[0], 1, &row, &key));
  built_close(&m);
  o.nav = VDB_NAV_SQ8;
  build(&m, &r, &o);
  CHECK_RC(VECDB_MISUSE, vdb_graph_vector(m.g, m.group[0], vec));
  built_close(&m);
  vdb_free(r.x);
}

/* ---- Checksums of blocks ------------------------------------------------- */

enum { SUM_ROWS = 900, SUM_DIMS = 24 };

static size_t bits_set(const uint64_t *word){
  return vdb_bit_count(word, SUM_ROWS);
}

static uint32_t slots_read(struct built *m, const float *x, uint32_t *slot){
  struct vdb_graph_search p = { 10, 12, -1 };
  struct vdb_graph_hit hit[10];
  struct vdb_graph_stats st;
  uint32_t n = 0;
  REQUIRE(vdb_graph_knn(m->s, &m->b, x, &p, hit, &n, &st)==VECDB_OK);
  for(uint32_t i=0; i<n; i++) slot[i] = hit[i].slot;
  CHECK_U64(10, n);
  return st.n_distance;
}

/* What a search reads is checked, once, and nothing else; answers are the
** same. */
TEST(graph_damage__blocks_are_checked_when_they_are_read){
  struct vdb_graph_opts o = { .seed = 1 };
  struct rows r = rows_make(MADE_FLOATS, SUM_ROWS, SUM_DIMS, 31);
  uint64_t sound[(SUM_ROWS+63)/64] = { 0 };
  uint32_t want[10], got[10], n_read;
  struct vdb_graph_info info;
  struct built m;
  build(&m, &r, &o);
  vdb_graph_info(m.g, &info);
  CHECK(info.has_sums);
  n_read = slots_read(&m, r.x, want);
  m.b.sound = sound;
  CHECK_U64(n_read, slots_read(&m, r.x, got));
  CHECK_MEM(want, got, sizeof(want));
  CHECK(bits_set(sound)>=10);
  CHECK(bits_set(sound)<=n_read);
  CHECK(n_read<SUM_ROWS/2);
  n_read = (uint32_t)bits_set(sound);
  (void)slots_read(&m, r.x, got);
  CHECK_U64(n_read, bits_set(sound));
  built_close(&m);
  vdb_free(r.x);
}

/* A bit that is flipped anywhere in a block is found by the search that comes
** there first, singly or in a batch, and by the check. */
TEST(graph_damage__a_flipped_bit_in_a_block_ends_the_search){
  struct vdb_graph_opts o = { .seed = 1 };
  struct rows r = rows_make(MADE_FLOATS, SUM_ROWS, SUM_DIMS, 31);
  struct vdb_graph_search p = { 10, 12, -1 };
  struct vdb_graph_hit hit[10];
  struct vdb_graph_report rep;
  struct vdb_graph_info info;
  uint32_t slot[10], n;
  unsigned char *block;
  struct built m;
  build(&m, &r, &o);
  vdb_graph_info(m.g, &info);
  (void)slots_read(&m, r.x, slot);
  block = m.group[slot[3]>>info.shift]
        + (size_t)(slot[3] & ((1u<<info.shift)-1))*info.stride;
  for(size_t at=4; at<info.stride; at+=13){       /* 0..3 is its number */
    uint64_t sound[(SUM_ROWS+63)/64] = { 0 };
    m.b.sound = sound;
    block[at] ^= (unsigned char)(1u<<(at%8));
    CHECK_RC(VECDB_CORRUPT_INDEX,
             vdb_graph_knn(m.s, &m.b, r.x, &p, hit, &n, NULL));
    CHECK_RC(VECDB_CORRUPT_INDEX,
             vdb_graph_knn_many(m.s, &m.b, r.x, 1, &p, hit, &n));
    if( at<200 ) CHECK_RC(VECDB_CORRUPT_INDEX, vdb_graph_check(m.g, &m.b, &rep));
    CHECK(!vdb_bit_get(sound, slot[3]));
    block[at] ^= (unsigned char)(1u<<(at%8));
    CHECK_RC(VECDB_OK, vdb_graph_knn(m.s, &m.b, r.x, &p, hit, &n, NULL));
  }
  built_close(&m);
  vdb_free(r.x);
}

/* An index made before blocks had checksums is read as it is. */
TEST(graph_damage__blocks_without_checksums_are_taken){
  struct vdb_graph_opts o = { .seed = 1 };
  struct rows r = rows_make(MADE_FLOATS, SUM_ROWS, SUM_DIMS, 31);
  uint64_t sound[(SUM_ROWS+63)/64] = { 0 };
  uint32_t want[10], got[10];
  struct vdb_graph_report rep;
  struct vdb_graph_info info;
  struct built m;
  REQUIRE_RC(VECDB_OK, build_try(&m, &r, &o));
  m.header[GRAPHHDR_FLAGS] &= (unsigned char)~4u;
  built_open(&m);
  vdb_graph_info(m.g, &info);
  CHECK(!info.has_sums);
  (void)slots_read(&m, r.x, want);
  for(uint32_t g=0; g<m.n_group; g++){
    for(size_t at=0; at<m.sz_group[g]; at+=info.stride){
      put_u32(m.group[g]+at+GRAPHBLOCK_CRC, 0);
    }
  }
  m.b.sound = sound;
  (void)slots_read(&m, r.x, got);
  CHECK_MEM(want, got, sizeof(want));
  CHECK_RC(VECDB_OK, vdb_graph_check(m.g, &m.b, &rep));
  built_close(&m);
  vdb_free(r.x);
}

/* Bytes of blocks and header changed at random: an answer or an error. */
static void damage_is_survived(int made, uint32_t nav, int n_round){
  struct vdb_graph_opts o = { .seed = 1, .nav = nav, .is_jaccard = nav>0 };
  struct rows r = rows_make(made, 700, 20, 22);
  struct rows q = rows_make(made, 10, 20, 23);
  struct vdb_graph_search p = { 10, 40, -1 };
  struct vdb_graph_range range = { 12, 40, -1, 1, 1e9, 1u<<20 };
  struct vdb_graph_found f = { 0 };
  struct vdb_graph_stats st;
  struct vdb_graph_hit hit[10];
  struct built m;
  struct vdb_rng g;
  uint32_t n;
  vdb_rng_init(&g, vt_seed());
  for(uint32_t i=0; i<r.n; i+=3) memcpy(r.x+i*20, r.x, 20*sizeof(float));
  build(&m, &r, &o);
  for(int round=0; round<n_round; round++){
    unsigned char *block = m.group[0] + vdb_rng_below(&g, 700)
                         * (m.sz_group[0]/700);
    uint32_t at = vdb_rng_below(&g, 600), kind = vdb_rng_below(&g, 3);
    unsigned char kept[4];
    struct vdb_graph_report rep;
    memcpy(kept, block+at, 4);
    if( kind==0 ) put_u32(block+at, (uint32_t)vdb_rng_u64(&g));
    else if( kind==1 ) block[at] ^= (unsigned char)(1u<<vdb_rng_below(&g, 8));
    else put_u32(block+at, 0x7fc00000u);
    for(uint32_t i=0; i<q.n; i++){
      int rc = vdb_graph_knn(m.s, &m.b, q.x+i*20, &p, hit, &n, NULL);
      CHECK(rc==VECDB_OK || rc==VECDB_CORRUPT_INDEX);
      if( i>1 ) continue;
      rc = vdb_graph_within_distance(m.s, &m.b, q.x+i*20, &range, &f, &st);
      CHECK(rc==VECDB_OK || rc==VECDB_CORRUPT_INDEX);
    }
    (void)vdb_graph_check(m.g, &m.b, &rep);
    if( round%2 ) memcpy(block+at, kept, 4);
  }
  for(int round=0; round<5*n_round; round++){
    struct vdb_graph *h = NULL;
    size_t at = vdb_rng_below(&g, round%2 ? GRAPHHDR_SIZE
                                          : (uint32_t)m.sz_header);
    unsigned char kept = m.header[at];
    m.header[at] ^= (unsigned char)(1u<<vdb_rng_below(&g, 8));
    if( vdb_graph_open(m.header, m.sz_header, &h)==VECDB_OK ){
      vdb_graph_close(h);
    }
    m.header[at] = kept;
    at = vdb_rng_below(&g, (uint32_t)m.sz_header);
    CHECK(vdb_graph_open(m.header, at, &h)!=VECDB_OK);
  }
  vdb_free(f.hit);
  built_close(&m);
  vdb_free(r.x);
  vdb_free(q.x);
}

TEST(graph_damage__damage_gives_errors_or_answers){
  damage_is_survived(MADE_FLOATS, 0, 400);
}
TEST(graph_damage__damage_of_bits_gives_errors_or_answers){
  damage_is_survived(MADE_BITS, VDB_NAV_BITS, 200);
}
