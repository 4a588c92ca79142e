/* f_graph.c -- the header and blocks of a graph index, any bytes: what the
** files of f_image and f_host hold behind all their checksums, searched,
** extended and examined directly. A thousand rows would have to be read for
** each of these searches if they went through a database.
**
** An input is the size of the header (u32), the header, the blocks.
**
** If the check finds nothing, hits are in order and of different blocks, many
** searches at once give what each gives alone, also after rows came and went.
** Rows that a filter leaves out are never found. */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz/fuzz.h"
#include "index/graph.h"
#include "lab/lib_layer.h"
#include "pager/format.h"
#include "util/bitset.h"
#include "util/bytes.h"
#include "util/mem.h"

enum { D_MAX = 256, N_ROW = 256, GROUPS_MAX = 256, K = 6, N_QUERY = 3,
       BLOCKS_MAX = 160<<10 };

/* An index in memory: groups lie one behind the other. */
struct index {
  uint8_t *header, *blocks;
  size_t sz_header, sz_blocks;
  const unsigned char *base[GROUPS_MAX];
  struct vdb_graph *g;
  struct vdb_graph_info info;
  struct vdb_graph_blocks b;
  const struct index *before;            /* of an insertion */
};

/* ---- open and close ------------------------------------------------------ */

/* Sizes agree? What they say is what the caller of index/graph.h compares, too. */
static bool index_open(struct index *x, const uint8_t *header){
  int rc = vdb_graph_open(header, x->sz_header, &x->g);
  size_t sz_group;
  if( !fuzz_clean(rc, "open", "") ) return false;
  vdb_graph_info(x->g, &x->info);
  if( x->info.n_group>GROUPS_MAX || x->info.d>D_MAX
   || (uint64_t)x->info.n_slots*x->info.stride!=x->sz_blocks ) return false;
  sz_group = (size_t)x->info.stride << x->info.shift;
  for(uint32_t i=0; i<x->info.n_group; i++) x->base[i] = x->blocks + i*sz_group;
  x->b.base = x->base;
  x->b.n_slots = x->info.n_slots;
  return true;
}

static void index_close(struct index *x){
  vdb_graph_close(x->g);
  vdb_free_aligned(x->blocks);
  vdb_free(x->header);
}

static bool index_is_sound(const struct index *x){
  struct vdb_graph_report report;
  return fuzz_clean(vdb_graph_check(x->g, &x->b, &report), "check", "");
}

/* ---- searches ------------------------------------------------------------ */

static void query_make(const struct index *x, uint64_t how, float *q){
  for(uint32_t j=0; j<x->info.d*N_QUERY; j++){
    q[j] = (float)(vdb_mix64(how + j) % 64);
  }
}

/* filter: what b->filter says, or NULL. */
static void hits_examine(const struct vdb_graph_hit *hit, uint32_t n,
                         const struct vdb_graph_blocks *b, bool is_sound){
  if( n>K ) fuzz_fail("%u hits, asked for %d", n, K);
  for(uint32_t i=0; i<n; i++){
    if( hit[i].slot>=b->n_slots ) fuzz_fail("a hit in block %u", hit[i].slot);
    if( b->filter && (hit[i].row>=b->n_row
                      || !vdb_bit_get(b->filter, hit[i].row)) ){
      fuzz_fail("a hit in row %u, which the filter leaves out", hit[i].row);
    }
    if( !is_sound || i==0 ) continue;
    if( hit[i].d2<hit[i-1].d2
     || (hit[i].d2<=hit[i-1].d2 && hit[i].key<hit[i-1].key) ){
      fuzz_fail("sound, and yet hit %u is out of order", i);
    }
    for(uint32_t k=0; k<i; k++){
      if( hit[k].slot==hit[i].slot ) fuzz_fail("block %u twice", hit[i].slot);
    }
  }
}

/* One after the other, then at once: the same. */
static void index_search(const struct index *x, struct vdb_graph_blocks *b,
                         struct vdb_graph_searcher *s, uint64_t how,
                         bool is_sound){
  struct vdb_graph_search p = { K, 8 + (uint32_t)(how>>8) % 24, -1 };
  struct vdb_graph_hit one[K], many[N_QUERY*K];
  uint32_t n_one, n_many[N_QUERY];
  float q[D_MAX*N_QUERY];
  int rc;
  query_make(x, how, q);
  if( how & 1 ) p.stop = x->info.stop;
  rc = vdb_graph_knn(s, b, q, &p, one, &n_one, NULL);
  if( !fuzz_clean(rc, "search", "") ) return;
  hits_examine(one, n_one, b, is_sound);
  rc = vdb_graph_knn_many(s, b, q, N_QUERY, &p, many, n_many);
  if( !fuzz_clean(rc, "searches", "") ) return;
  for(int i=0; i<N_QUERY; i++) hits_examine(many + i*K, n_many[i], b, is_sound);
  if( is_sound && (n_many[0]!=n_one
                   || memcmp(one, many, n_one*sizeof(one[0]))!=0) ){
    fuzz_fail("sound, and yet many searches give something else than one");
  }
}

/* Through all rows, with a filter, over bridges. */
static void index_searches(const struct index *x, uint64_t how, bool is_sound){
  static uint64_t bits[N_ROW/64];
  static uint32_t rows[BLOCKS_MAX/GRAPHBLOCK_SIZE];
  struct vdb_graph_within within = { rows, 0.5, 1000 };
  struct vdb_graph_searcher *s = NULL;
  struct vdb_graph_blocks b = x->b;
  for(size_t i=0; i<VDB_ARRAY_LEN(bits); i++) bits[i] = vdb_mix64(how + i);
  for(uint32_t i=0; i<x->info.n_slots; i++){
    uint64_t key;
    if( vdb_graph_block_row(x->g, x->blocks + (size_t)i*x->info.stride, i,
                            &rows[i], &key)!=VECDB_OK ) rows[i] = UINT32_MAX;
  }
  FUZZ_OK( vdb_graph_searcher_create(x->g, &s) );
  index_search(x, &b, s, how, is_sound);
  b.filter = bits;
  b.n_row = N_ROW;
  if( how & 2 ) b.within = &within;
  index_search(x, &b, s, how>>3, is_sound);
  vdb_graph_searcher_destroy(s);
}

/* ---- rows that come and go ----------------------------------------------- */

struct rows { uint32_t n, d, n_value; bool is_whole; };

static int row_fetch(void *arg, uint32_t i, float *vec){
  const struct rows *r = arg;
  for(uint32_t j=0; j<r->d; j++){
    uint64_t v = vdb_mix64((uint64_t)(i % r->n_value)*1000 + j) % 64;
    vec[j] = r->is_whole ? (float)v : (float)v*0.37f - 11;
  }
  return VECDB_OK;
}

static int group_take(void *arg, uint32_t i, const void *p, uint32_t n,
                      uint32_t stride){
  struct index *x = arg;
  size_t sz = (size_t)n*stride;
  if( x->sz_blocks + sz>BLOCKS_MAX ) return VECDB_TOOBIG;
  VDB_UNUSED(i);                               /* they come in order */
  memcpy(x->blocks + x->sz_blocks, p, sz);
  x->sz_blocks += sz;
  return VECDB_OK;
}

static int group_keep(void *arg, uint32_t i){
  struct index *x = arg;
  const struct vdb_graph_info *info = &x->before->info;
  uint32_t n = info->n_slots - (i<<info->shift);
  if( n>1u<<info->shift ) n = 1u<<info->shift;
  return group_take(x, i, x->before->base[i], n, info->stride);
}

static int header_take(void *arg, const void *p, size_t n){
  struct index *x = arg;
  x->header = vdb_memdup(p, n);
  x->sz_header = n;
  return x->header ? VECDB_OK : VECDB_NOMEM;
}

static void index_begin(struct index *x, const struct index *before){
  memset(x, 0, sizeof(*x));
  x->before = before;
  x->blocks = vdb_malloc_aligned(BLOCKS_MAX);
}

static int index_insert(struct index *x, const struct index *old,
                        struct rows *r, const uint64_t *live){
  static const uint32_t row[] = { 200, 201, 202, 203 };
  static const uint64_t key[] = { 9000, 9001, 9002, 9003 };
  struct vdb_graph_source src = { r->n, r->d, row_fetch, row, key, r };
  struct vdb_graph_sink sink = { group_take, header_take, NULL, x, group_keep };
  struct vdb_graph_opts o = { .n_thread = 1, .list1 = 32, .list2 = 32,
                              .no_calibration = true };
  struct vdb_graph_prior prior = { .g = old->g, .base = old->base, .live = live,
                                   .n_row = live ? N_ROW : 0,
                                   .purge = live!=NULL };
  index_begin(x, old);
  return vdb_graph_insert(&prior, &src, &o, &sink);
}

/* Forged values may have grown too large on the way: then it is refused. */
static void index_change(const struct index *old, uint64_t how){
  struct rows r = { 1 + (uint32_t)(how>>4) % 4, old->info.d, 100,
                    old->info.nav==VDB_NAV_BYTES };
  uint64_t live[N_ROW/64];
  struct index x;
  for(size_t i=0; i<VDB_ARRAY_LEN(live); i++) live[i] = ~vdb_mix64(how + i)
                                                      | vdb_mix64(how + 9 + i);
  if( fuzz_clean(index_insert(&x, old, &r, how & 1 ? live : NULL), "insert", "")
   && index_open(&x, x.header) ){
    index_searches(&x, how>>8, index_is_sound(&x));
  }
  index_close(&x);
}

static void index_measure(const struct index *x){
  unsigned char *header = NULL;
  size_t sz = 0;
  int rc = vdb_graph_recalibrate(x->g, &x->b, 1, &header, &sz);
  if( rc!=VECDB_MISUSE ) fuzz_clean(rc, "recalibrate", "");
  vdb_free(header);
}

/* ---- the target ---------------------------------------------------------- */

static void graph_one(const uint8_t *p, size_t n){
  uint64_t how = lab_hash(1, p, n);
  struct index x;
  memset(&x, 0, sizeof(x));
  if( n<4 || get_u32(p)>n - 4 ) return;
  x.sz_header = get_u32(p);
  x.sz_blocks = n - 4 - x.sz_header;
  x.blocks = vdb_malloc_aligned(x.sz_blocks);       /* not a byte more */
  memcpy(x.blocks, p + 4 + x.sz_header, x.sz_blocks);
  if( index_open(&x, p + 4) ){
    bool is_sound = index_is_sound(&x);
    index_searches(&x, how, is_sound);
    if( (how>>20)%4==0 ) index_change(&x, how>>24);
    if( (how>>40)%64==0 ) index_measure(&x);
  }
  index_close(&x);
}

static void neighbour_change(uint8_t *block, size_t stride, uint32_t n_slots,
                             const uint8_t *header, struct vdb_rng *r){
  uint32_t dims = get_u32(header + GRAPHHDR_DIMSNAV);
  size_t n_lanes = get_u16(header + GRAPHHDR_NLANES);
  size_t at = GRAPHBLOCK_SIZE
            + (size_t)dims*(header[GRAPHHDR_NAV]==VDB_NAV_F32 ? 4 : 1);
  if( n_lanes==0 || at + 4*n_lanes>stride ) return;
  at += 4*(size_t)vdb_rng_below(r, (uint32_t)n_lanes);
  put_u32(block + at, vdb_rng_below(r, n_slots + 2));
}

static size_t graph_mutate(uint8_t *p, size_t n, size_t n_cap,
                           struct vdb_rng *r){
  size_t sz = n>=4 ? get_u32(p) : 0, stride;
  uint8_t *header = p + 4, *block;
  uint32_t n_slots;
  if( sz<GRAPHHDR_SIZE || sz>n - 4 || vdb_rng_below(r, 64)==0 ){
    return fuzz_mutate_bytes(p, n, n_cap, r);
  }
  stride = get_u32(header + GRAPHHDR_STRIDE);
  n_slots = stride>=GRAPHBLOCK_SIZE ? (uint32_t)((n - 4 - sz)/stride) : 0;
  for(unsigned k=1+vdb_rng_below(r, 3); k>0; k--){
    unsigned what = n_slots>0 ? vdb_rng_below(r, 12) : vdb_rng_below(r, 3);
    block = header + sz + (n_slots ? vdb_rng_below(r, n_slots)*stride : 0);
    switch( what ){
      case 0: fuzz_change_value(header, GRAPHHDR_SIZE, r);               break;
      case 1: case 2: fuzz_change_value(header, sz, r);                  break;
      case 3: case 4: case 5:
        fuzz_change_value(block, GRAPHBLOCK_SIZE, r);                    break;
      case 6: case 7: case 8:
        neighbour_change(block, stride, n_slots, header, r);             break;
      case 9:
        memmove(block, header + sz + vdb_rng_below(r, n_slots)*stride, stride);
        put_u32(block + GRAPHBLOCK_SLOT,
                (uint32_t)((size_t)(block - header - sz)/stride));       break;
      default: fuzz_change_value(block, stride, r);
    }
  }
  return n;
}

/* ---- seeds --------------------------------------------------------------- */

static void index_seed(const char *name, const struct index *x){
  size_t n = 4 + x->sz_header + x->sz_blocks;
  uint8_t *p = lab_alloc(n);
  put_u32(p, (uint32_t)x->sz_header);
  memcpy(p + 4, x->header, x->sz_header);
  memcpy(p + 4 + x->sz_header, x->blocks, x->sz_blocks);
  fuzz_seed(name, p, n);
  free(p);
}

struct kind {
  const char *name;
  struct rows rows;
  struct vdb_graph_opts o;
};

static void kind_build(const struct kind *k, struct index *x){
  struct vdb_graph_source src = { k->rows.n, k->rows.d, row_fetch, NULL, NULL,
                                  (void*)(uintptr_t)&k->rows };
  struct vdb_graph_sink sink = { group_take, header_take, NULL, x, NULL };
  index_begin(x, NULL);
  FUZZ_OK( vdb_graph_build(&src, &k->o, &sink) );
  if( !index_open(x, x->header) ) fuzz_fail("%s cannot be opened", k->name);
}

static void graph_seeds(void){
  static const struct kind kinds[] = {
    { "bytes",    { 40, 16, 100, true },  { .bits = 2 } },
    { "floats",   { 40, 8, 100, false },  { .bits = 1 } },
    { "prefix",   { 30, 72, 100, false }, { .bits = 2, .prefix = 64 } },
    { "equal",    { 40, 16, 9, true },    { .bits = 2 } },
    { "wide",     { 70, 16, 100, true },  { .bits = 1, .n_lanes = 64 } },
    { "four",     { 20, 16, 100, true },  { .bits = 4, .no_calibration = true } },
    { "one",      { 1, 4, 100, true },    { .bits = 1 } },
    { "none",     { 0, 4, 100, true },    { .bits = 1 } }
  };
  static const uint64_t live[N_ROW/64] = { 0xfff0fffefffffff5u, ~0u, ~0u, ~0u };
  struct index x, y;
  for(size_t i=0; i<VDB_ARRAY_LEN(kinds); i++){
    struct rows more = { 4, kinds[i].rows.d, 100, kinds[i].rows.is_whole };
    char name[40];
    kind_build(&kinds[i], &x);
    index_seed(kinds[i].name, &x);
    if( i<4 ){                        /* mixed: gaps, nodes anywhere */
      FUZZ_OK( index_insert(&y, &x, &more, live) );
      snprintf(name, sizeof(name), "%s_changed", kinds[i].name);
      index_seed(name, &y);
      index_close(&y);
    }
    index_close(&x);
  }
}

const struct fuzz_target fuzz_target = {
  .name = "graph", .sz_max = 160<<10, .mem_max = 64<<20, .seconds_max = 2,
  .one = graph_one, .mutate = graph_mutate, .seeds = graph_seeds
};
