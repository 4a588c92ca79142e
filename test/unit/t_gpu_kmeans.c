/* t_gpu_kmeans.c -- k-means of the plugins: the bits of index/kmeans.c, from
** the reference and from the kernels of the device plugin, run on the CPU.
*/
#include <math.h>

#include "unit/gpu_plugin.h"

#include "index/kmeans.h"
#include "simd/simd.h"
#include "util/rng.h"

static struct vdb_rng rng;
static struct plugin ref, emu;
static float *rows, *first;
static uint32_t n_row, n_dim, n_first;

static int rows_fetch(void *arg, uint32_t i, uint32_t n, void *dst){
  (void)arg;
  memcpy(dst, rows + (size_t)i*n_dim, (size_t)n*n_dim*sizeof(float));
  return 0;
}

static int kmeans_of(struct plugin *p, vdb_gpu_kmeans *m){
  vdb_gpu_source src = { .size = sizeof(src), .metric = VECDB_L2,
                         .type = VECDB_F32, .dim = n_dim, .n_rows = n_row,
                         .fetch = rows_fetch };
  int code = p->api->attach(p->dev, &src, &p->rows);
  if( code==VDB_GPU_OK ) code = p->api->kmeans(p->rows, m);
  p->api->detach(p->rows);
  p->rows = NULL;
  return code;
}

/* ---- Rows ---------------------------------------------------------------- */

/* Noise; whole numbers with ties; clusters, fewer than centroids; rows all the
** same but for a few; numbers so large that rows have no copy in fp16; runs of
** large ones that cancel each other, so that the order of sums shows. */
enum { NOISE, GRID, CLUSTERS, SAME, LARGE, CANCEL, KINDS };

static float element_make(int kind, uint32_t i, uint32_t j){
  float x = (float)vdb_rng_gauss(&rng);
  switch( kind ){
    case GRID:     return (float)(int)(x*2);
    case CLUSTERS: return x*0x1p-9f + (float)((i%3)*(j+1)%5)*100;
    case SAME:     return i%97==0 ? x : 0.375f;
    case LARGE:    return x*0x1p61f;
    case CANCEL:   return i/256%3==0 ? x*0x1p50f
                        : i/256%3==1 ? -rows[(size_t)(i-256)*n_dim+j] : x;
    default:       return x;
  }
}

/* The first centroids are rows; with twins every other one is the same row. */
static void rows_make(int kind, uint32_t n, uint32_t d, uint32_t k,
                      bool has_twins){
  n_row = n;
  n_dim = d;
  n_first = k;
  rows = malloc(((size_t)n*d+1)*sizeof(*rows));
  first = malloc(((size_t)k*d+1)*sizeof(*first));
  for(uint32_t i=0; i<n; i++) for(uint32_t j=0; j<d; j++){
    rows[(size_t)i*d+j] = element_make(kind, i, j);
  }
  for(uint32_t c=0; c<k; c++){
    uint32_t i = (uint32_t)((uint64_t)c*n/k);
    if( has_twins && c%2 ) i = 0;
    memcpy(first + (size_t)c*d, rows + (size_t)i*d, d*sizeof(*rows));
  }
}

static void rows_drop(void){
  free(rows);
  free(first);
}

/* ---- A result ------------------------------------------------------------ */

struct result {
  float *centroid;
  uint32_t *list, n_moved;
};

static void result_make(struct result *r){
  size_t sz = (size_t)n_first*n_dim*sizeof(float);
  r->centroid = malloc(sz+1);
  memcpy(r->centroid, first, sz);
  r->list = malloc((n_row+1)*sizeof(*r->list));
  memset(r->list, 0xee, n_row*sizeof(*r->list));
  r->n_moved = 77;
}
static void result_drop(struct result *r){
  free(r->centroid);
  free(r->list);
}

static void check_plugin(struct plugin *p, const struct result *want,
                         uint32_t n_round, bool is_unit){
  struct result got;
  vdb_gpu_kmeans m = { .size = sizeof(m), .k = n_first, .n_round = n_round,
                       .is_unit = is_unit };
  result_make(&got);
  m.centroid = got.centroid;
  m.list = got.list;
  CHECK_INT(VDB_GPU_OK, kmeans_of(p, &m));
  CHECK_U64(want->n_moved, m.n_moved);
  CHECK_MEM(want->list, got.list, n_row*sizeof(*got.list));
  CHECK_MEM(want->centroid, got.centroid,
            (size_t)n_first*n_dim*sizeof(float));
  result_drop(&got);
}

/* Both plugins give what the library gives; the device in both its ways, the
** filter (2), which takes long here, only for some rows. */
enum { FILTER_ROWS = 200 };
static void check_both(uint32_t n_round, bool is_unit){
  struct vdb_kmeans p = { .rows = rows, .n = n_row, .d = n_dim, .k = n_first,
                          .is_unit = is_unit, .n_round = n_round };
  struct result want;
  result_make(&want);
  CHECK_RC(VECDB_OK, vdb_kmeans_run(&p, want.centroid, want.list,
                                    &want.n_moved));
  check_plugin(&ref, &want, n_round, is_unit);
  for(uint64_t path=1; path<=2 && (path==1 || n_row<FILTER_ROWS); path++){
    emu.api->control(emu.dev, VDB_GPU_SET_PATH, path);
    check_plugin(&emu, &want, n_round, is_unit);
  }
  emu.api->control(emu.dev, VDB_GPU_SET_PATH, 0);
  result_drop(&want);
}

static void begin(void){
  vdb_rng_init(&rng, vt_seed());
  REQUIRE(plugin_open(&ref, "ref"));
  if( !plugin_open(&emu, "emu") ) SKIP("the compiler does no C++");
}

/* ---- Tests --------------------------------------------------------------- */

TEST(gpu_kmeans__kinds_of_rows){
  begin();
  for(int kind=0; kind<KINDS; kind++){
    rows_make(kind, 40, 9, 11, false);
    check_both(2, false);
    rows_drop();
  }
}

TEST(gpu_kmeans__random_shapes){
  begin();
  for(int i=0; i<3; i++){
    uint32_t n = 1 + vdb_rng_below(&rng, 90);
    uint32_t d = 1 + vdb_rng_below(&rng, 140);
    uint32_t k = 1 + vdb_rng_below(&rng, n<30 ? n : 30);
    rows_make((int)vdb_rng_below(&rng, KINDS), n, d, k, i%2);
    check_both(1 + vdb_rng_below(&rng, 2), i%3==0);
    rows_drop();
  }
}

/* Lists longer than a run of sums, and of exactly one and two; rows of more than
** one tile, and of more than 32, that are sorted side by side. */
TEST(gpu_kmeans__sums_of_many_rows){
  static const uint32_t n[] = { 256, 257, 1300, 33000 };
  begin();
  for(size_t i=0; i<VDB_ARRAY_LEN(n); i++){
    rows_make(CANCEL, n[i], i<3 ? 8 : 1, i<3 ? 1 : 2, false);
    check_both(1, false);
    rows_drop();
  }
}

TEST(gpu_kmeans__one_centroid_and_as_many_as_rows){
  begin();
  rows_make(NOISE, 40, 5, 1, false);
  check_both(0, false);
  rows_drop();
  rows_make(NOISE, 30, 5, 30, false);
  check_both(0, false);
  rows_drop();
  rows_make(NOISE, 1, 5, 1, false);
  check_both(0, true);
  rows_drop();
}

/* Centroids that are all the same leave lists empty, which take halves of the
** largest; with more centroids than rows some stay empty, and among equal rows
** no half is found. */
TEST(gpu_kmeans__empty_lists){
  begin();
  rows_make(NOISE, 60, 4, 14, true);
  check_both(2, false);
  rows_drop();
  rows_make(CLUSTERS, 60, 6, 20, true);
  check_both(1, true);
  rows_drop();
  rows_make(GRID, 10, 2, 17, true);
  check_both(3, false);
  rows_drop();
  rows_make(NOISE, 20, 1, 2, true);    /* of rows equally far the first */
  for(uint32_t i=0; i<20; i++) rows[i] = i%2 ? 1 : -1;
  first[0] = first[1] = 0;
  check_both(1, false);
  rows_drop();
  rows_make(NOISE, 30, 3, 4, false);
  for(uint32_t i=0; i<30*3; i++) rows[i] = 0.5f;
  for(uint32_t i=0; i<4*3; i++) first[i] = 0.5f;
  check_both(2, false);
  rows_drop();
}

TEST(gpu_kmeans__nothing_to_do){
  struct plugin *p[2] = { &ref, &emu };
  begin();
  rows_make(NOISE, 5, 3, 0, false);
  for(int i=0; i<2; i++){
    vdb_gpu_kmeans m = { .size = sizeof(m), .n_moved = 9 };
    CHECK_INT(VDB_GPU_OK, kmeans_of(p[i], &m));
    CHECK_U64(0, m.n_moved);
  }
  rows_drop();
}

TEST(gpu_kmeans__rows_of_other_kinds_are_refused){
  struct plugin *p[2] = { &ref, &emu };
  begin();
  rows_make(NOISE, 4, 8, 2, false);
  for(int i=0; i<2; i++) for(int j=0; j<2; j++){
    vdb_gpu_source src = { .size = sizeof(src), .dim = 8, .n_rows = 4,
                           .metric = j ? VECDB_IP : VECDB_L2,
                           .type = j ? VECDB_F32 : VECDB_F16,
                           .fetch = rows_fetch };
    uint32_t list[4];
    vdb_gpu_kmeans m = { .size = sizeof(m), .k = 2, .centroid = first,
                         .list = list };
    n_dim = j ? 8 : 4;                   /* fetch copies floats */
    REQUIRE(p[i]->api->attach(p[i]->dev, &src, &p[i]->rows)==VDB_GPU_OK);
    CHECK_INT(VDB_GPU_UNSUPPORTED, p[i]->api->kmeans(p[i]->rows, &m));
    p[i]->api->detach(p[i]->rows);
    p[i]->rows = NULL;
  }
  rows_drop();
}

static int n_calls;
static double last_done;
static int give_up(void *arg, double done){
  CHECK(done>=last_done && done<=1);
  last_done = done;
  return ++n_calls>=*(int*)arg;
}

/* Whatever fails, the centroids are still the first ones, memory is given
** back, and another try gives the right result. */
TEST(gpu_kmeans__faults){
  struct plugin *p[2] = { &ref, &emu };
  uint32_t list[40];
  begin();
  rows_make(NOISE, 20, 4, 4, true);
  emu.api->control(emu.dev, VDB_GPU_SET_PATH, 2);
  for(int i=0; i<2; i++){
    float centroid[4*4];
    vdb_gpu_kmeans m = { .size = sizeof(m), .k = 4, .n_round = 1,
                         .centroid = centroid, .list = list };
    static const uint32_t fault[] = { VDB_GPU_FAIL_ALLOC, VDB_GPU_FAIL_LAUNCH };
    static const int wanted[] = { VDB_GPU_OOM, VDB_GPU_DEVICE_LOST };
    vdb_gpu_stats stats = { .size = sizeof(stats) };
    int n = 1, code;
    memcpy(centroid, first, sizeof(centroid));
    m.progress = give_up;
    m.arg = &n;
    for(; n<1000; n++){
      n_calls = 0;
      last_done = 0;
      code = kmeans_of(p[i], &m);
      if( code==VDB_GPU_OK ) break;
      CHECK_INT(VDB_GPU_CANCELLED, code);
      CHECK_MEM(first, centroid, sizeof(centroid));
    }
    CHECK(n>2 && n<1000);
    m.progress = NULL;
    /* So little memory that what failed tries keep would be missed. A device
    ** that is lost stays lost: it happens once, among the halves of lists. */
    p[i]->api->control(p[i]->dev, VDB_GPU_SET_BUDGET, (uint64_t)1<<20);
    for(int f=0; f<2; f++) for(n=f && i ? 60 : 1; n<200; n++){
      memcpy(centroid, first, sizeof(centroid));
      p[i]->api->control(p[i]->dev, fault[f], (uint64_t)n);
      code = kmeans_of(p[i], &m);
      p[i]->api->control(p[i]->dev, fault[f], 0);
      if( code==VDB_GPU_OK ) break;
      CHECK_INT(wanted[f], code);
      CHECK_MEM(first, centroid, sizeof(centroid));
      if( f==1 && i==1 ) break;
    }
    CHECK(n>1 && n<200);
    if( i==1 ) CHECK_INT(VDB_GPU_DEVICE_LOST, code);
    p[i]->api->stats(p[i]->dev, &stats);
    CHECK_U64(0, stats.sz_rows);
  }
  rows_drop();
}

/* Too little memory for anything but the rows. */
TEST(gpu_kmeans__budget){
  struct plugin *p[2] = { &ref, &emu };
  uint32_t list[100];
  begin();
  rows_make(NOISE, 100, 4, 70, false);
  for(int i=0; i<2; i++){
    vdb_gpu_kmeans m = { .size = sizeof(m), .k = 70, .n_round = 1,
                         .centroid = first, .list = list };
    vdb_gpu_source src = { .size = sizeof(src), .metric = VECDB_L2,
                           .type = VECDB_F32, .dim = 4, .n_rows = 100,
                           .fetch = rows_fetch };
    uint64_t sz = 0;
    CHECK_INT(VDB_GPU_OK, p[i]->api->estimate(p[i]->dev, &src, &sz));
    p[i]->api->control(p[i]->dev, VDB_GPU_SET_BUDGET, sz + 1024);
    CHECK_INT(VDB_GPU_OOM, kmeans_of(p[i], &m));
    p[i]->api->control(p[i]->dev, VDB_GPU_SET_BUDGET, (uint64_t)1<<30);
    CHECK_INT(VDB_GPU_OK, kmeans_of(p[i], &m));
  }
  rows_drop();
}
