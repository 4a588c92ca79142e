/* t_gpu_edges.c -- edges of a graph (gpu/edges.h): the kernels of the device
** plugin, run on the CPU, give those of the reference plugin, number by number,
** and both are edges of a graph.
*/
#include <math.h>

#include "unit/gpu_plugin.h"

#include "gpu/edges.h"
#include "simd/simd.h"
#include "util/rng.h"

static struct vdb_rng rng;
static float *rows;
static uint32_t n_row, n_dim, *lists, n_list;

static int rows_fetch(void *arg, uint32_t first, uint32_t n, void *dst){
  (void)arg;
  memcpy(dst, rows + (size_t)first*n_dim, (size_t)n*n_dim*sizeof(float));
  return 0;
}

/* ---- A plugin ------------------------------------------------------------ */

static int edges_of(struct plugin *p, vdb_gpu_edges *e){
  vdb_gpu_source src = { .size = sizeof(src), .metric = VECDB_L2,
                         .type = VECDB_F32, .dim = n_dim, .n_rows = n_row,
                         .fetch = rows_fetch };
  int code = p->api->attach(p->dev, &src, &p->rows);
  if( code==VDB_GPU_OK ) code = p->api->edges(p->rows, e);
  p->api->detach(p->rows);
  p->rows = NULL;
  return code;
}

/* ---- Rows and lists ------------------------------------------------------ */

/* kind 0: noise; 1: a grid, with ties; 2: clusters far from each other; 3: all
** rows around one, whom all choose. */
static void rows_make(uint32_t n, uint32_t d, int kind){
  n_row = n;
  n_dim = d;
  rows = malloc((size_t)n*d*sizeof(*rows));
  for(uint32_t i=0; i<n; i++) for(uint32_t j=0; j<d; j++){
    float x = (float)vdb_rng_gauss(&rng);
    if( kind==1 ) x = (float)((i>>(2*j)) & 3);
    if( kind==2 ) x = x*0x1p-6f + (float)((i%7)*(j+1)%5)*100;
    if( kind==3 ) x = i==0 ? 0 : x*(1+0x1p-4f*(float)i);
    rows[(size_t)i*d+j] = x;
  }
}

static float distance(uint32_t a, uint32_t b){
  return vdb_distance(VECDB_L2, VECDB_F32, rows + (size_t)a*n_dim,
                      rows + (size_t)b*n_dim, n_dim);
}

static void lists_make(uint32_t k){
  n_list = k;
  lists = malloc((size_t)n_row*k*sizeof(*lists));
  for(uint32_t i=0; i<n_row; i++){
    uint32_t *near = lists + (size_t)i*k, n = 0;
    for(uint32_t j=0; j<n_row; j++){
      float x = distance(i, j);
      uint32_t at;
      if( j==i ) continue;
      at = n<k ? n++ : k;
      for(; at>0 && distance(i, near[at-1])>x; at--){
        if( at<k ) near[at] = near[at-1];
      }
      if( at<k ) near[at] = j;
    }
    while( n<k ) near[n++] = VDB_GPU_NONE;
  }
}

static void edges_check(const uint32_t *edge, uint32_t n_lane){
  for(uint32_t i=0; i<n_row; i++){
    const uint32_t *e = edge + (size_t)i*n_lane;
    uint32_t n = 0;
    for(; n<n_lane && e[n]!=VDB_GPU_NONE; n++){
      CHECK(e[n]<n_row && e[n]!=i);
      if( n>0 ) CHECK(distance(i, e[n-1])<=distance(i, e[n]));
      for(uint32_t j=0; j<n; j++) CHECK(e[j]!=e[n]);
    }
    for(; n<n_lane; n++) CHECK_U64(VDB_GPU_NONE, e[n]);
  }
}

static struct plugin ref, emu;

/* Both plugins; the edges of the reference, for further questions. */
static uint32_t *both(uint32_t n_lane, uint32_t n_spare, uint32_t n_entry,
                      float alpha2, uint32_t *n_attached){
  size_t n = (size_t)n_row*n_lane;
  uint32_t *edge[2] = { malloc(n*4), malloc(n*4) };
  vdb_gpu_edges e = { .size = sizeof(e), .n_lane = n_lane, .k = n_list,
                      .n_spare = n_spare, .n_entry = n_entry,
                      .alpha2 = alpha2, .near = lists, .edge = edge[0] };
  vdb_gpu_edges f = e;
  f.edge = edge[1];
  CHECK_INT(VDB_GPU_OK, edges_of(&ref, &e));
  CHECK_INT(VDB_GPU_OK, edges_of(&emu, &f));
  CHECK_MEM(edge[0], edge[1], n*4);
  CHECK_U64(e.n_unreached, f.n_unreached);
  CHECK_U64(e.n_attached, f.n_attached);
  edges_check(edge[0], n_lane);
  if( n_attached ) *n_attached = e.n_attached - e.n_unreached;
  free(edge[1]);
  return edge[0];
}

static void begin(void){
  vdb_rng_init(&rng, vt_seed());
  REQUIRE(plugin_open(&ref, "ref"));
  if( !plugin_open(&emu, "emu") ) SKIP("the compiler does no C++");
}
static void end(void){
  free(rows);
  free(lists);
}

/* ---- Tests --------------------------------------------------------------- */

TEST(gpu_edges__kinds_of_rows){
  static const uint32_t lanes[] = { 8, 3, 8, 4 };
  begin();
  for(int kind=0; kind<4; kind++){
    rows_make(100, kind==1 ? 4 : 33, kind);
    lists_make(16);
    free(both(lanes[kind], 12, 4, 1, NULL));
    end();
  }
}

TEST(gpu_edges__numbers_of_lanes){
  begin();
  rows_make(75, 5, 0);
  lists_make(70);
  free(both(1, 0, 1, 1, NULL));
  free(both(32, 48, 8, 1, NULL));
  free(both(64, 70, 90, 1.44f, NULL));
  end();
}

TEST(gpu_edges__few_rows){
  begin();
  for(uint32_t n=1; n<5; n++){
    rows_make(n, 2, 0);
    lists_make(6);
    free(both(4, 6, 1, 1, NULL));
    end();
  }
}

/* Rows whom nobody chose are attached; with full lists all the same. */
TEST(gpu_edges__unreached_rows_are_attached){
  uint32_t n_attached = 0;
  begin();
  rows_make(120, 3, 3);
  lists_make(12);
  free(both(2, 0, 1, 1, &n_attached));
  CHECK(n_attached>0);
  end();
}

/* Numbers that are no rows end a list, whatever is behind them. */
TEST(gpu_edges__numbers_that_are_no_rows){
  begin();
  rows_make(60, 4, 0);
  lists_make(8);
  for(uint32_t i=0; i<n_row; i+=3){
    lists[i*8 + i%8] = i%2 ? n_row : VDB_GPU_NONE;
  }
  free(both(4, 8, 2, 1, NULL));
  end();
}

TEST(gpu_edges__requests_out_of_range){
  struct plugin *p[2] = { &ref, &emu };
  uint32_t edge[10*65];
  begin();
  rows_make(10, 2, 0);
  lists_make(5);
  for(int i=0; i<2; i++){
    vdb_gpu_edges good = { .size = sizeof(good), .n_lane = 4, .k = 5,
                           .n_entry = 1, .alpha2 = 1, .near = lists,
                           .edge = edge };
    vdb_gpu_edges e = good;
    CHECK_INT(VDB_GPU_OK, edges_of(p[i], &e));
    e = good; e.n_lane = 65;
    CHECK_INT(VDB_GPU_UNSUPPORTED, edges_of(p[i], &e));
    e = good; e.n_lane = 0;
    CHECK_INT(VDB_GPU_UNSUPPORTED, edges_of(p[i], &e));
    e = good; e.k = 129;
    CHECK_INT(VDB_GPU_UNSUPPORTED, edges_of(p[i], &e));
    e = good; e.n_entry = 0;
    CHECK_INT(VDB_GPU_UNSUPPORTED, edges_of(p[i], &e));
    e = good; e.alpha2 = NAN;
    CHECK_INT(VDB_GPU_UNSUPPORTED, edges_of(p[i], &e));
  }
  end();
}

/* Rows of whole numbers from a hash: the same on every machine. */
static void rows_hash(uint32_t n, uint32_t d, uint32_t range){
  n_row = n;
  n_dim = d;
  rows = malloc((size_t)n*d*sizeof(*rows));
  for(uint32_t i=0; i<n*d; i++){
    rows[i] = (float)(vdb_mix64(i + ((uint64_t)n<<32))%range);
  }
}

/* What rules say now. Another number here means that files come out otherwise:
** then VDB_GPU_RULES is raised. */
TEST(gpu_edges__what_rules_say){
  static const struct {
    uint32_t n, d, range, n_lane, k;
    float alpha2;
    uint64_t hash;
  } set[] = {
    { 400,  8, 256, 32, 128, 1, 0x52d0544cd3393eac },
    { 400, 24,   3,  8,  48, 1, 0x096c3146c335b706 },
    { 300,  2, 100, 16,  64, 1, 0xdcc932190882896f },
    { 200, 16, 256, 64, 128, 1.44f, 0xf0763ed085f33079 },
    { 250,  5,   4, 12,  20, 1, 0x9655e5ba8b2e9d77 },
    { 500,  3,  64,  3,   9, 1.21f, 0xbeaee7f4056407b7 },
  };
  vdb_rng_init(&rng, vt_seed());
  REQUIRE(plugin_open(&ref, "ref"));
  for(size_t i=0; i<VDB_ARRAY_LEN(set); i++){
    size_t n = (size_t)set[i].n*set[i].n_lane;
    uint32_t *edge = malloc(n*sizeof(*edge));
    vdb_gpu_edges e = { .size = sizeof(e), .n_lane = set[i].n_lane,
                        .k = set[i].k, .n_spare = 48, .n_entry = 4,
                        .alpha2 = set[i].alpha2, .edge = edge };
    uint64_t hash = 0;
    rows_hash(set[i].n, set[i].d, set[i].range);
    lists_make(set[i].k);
    e.near = lists;
    CHECK_INT(VDB_GPU_OK, edges_of(&ref, &e));
    edges_check(edge, set[i].n_lane);
    for(size_t j=0; j<n; j++) hash = vdb_mix64(hash + edge[j]);
    CHECK_U64(set[i].hash, hash);
    free(edge);
    end();
  }
}

static int n_calls;
static int give_up(void *arg, double done){
  (void)done;
  return ++n_calls>=*(int*)arg;
}

TEST(gpu_edges__faults){
  struct plugin *p[2] = { &ref, &emu };
  uint32_t edge[40*4];
  begin();
  rows_make(40, 2, 0);
  lists_make(5);
  for(int i=0; i<2; i++){
    vdb_gpu_edges e = { .size = sizeof(e), .n_lane = 4, .k = 5, .n_entry = 1,
                        .alpha2 = 1, .near = lists, .edge = edge };
    int n = 1, code;
    e.progress = give_up;
    e.arg = &n;
    for(; n<100; n++){
      n_calls = 0;
      code = edges_of(p[i], &e);
      if( code==VDB_GPU_OK ) break;
      CHECK_INT(VDB_GPU_CANCELLED, code);
    }
    CHECK(n>1 && n<100);
    e.progress = NULL;
    for(n=1; n<100; n++){
      p[i]->api->control(p[i]->dev, VDB_GPU_FAIL_ALLOC, (uint64_t)n);
      code = edges_of(p[i], &e);
      if( code==VDB_GPU_OK ) break;
      CHECK_INT(VDB_GPU_OOM, code);
    }
    CHECK(n>1 && n<100);
    p[i]->api->control(p[i]->dev, VDB_GPU_FAIL_ALLOC, 0);
    CHECK_INT(VDB_GPU_OK, edges_of(p[i], &e));
    p[i]->api->control(p[i]->dev, VDB_GPU_FAIL_LAUNCH, 4);
    CHECK_INT(VDB_GPU_DEVICE_LOST, edges_of(p[i], &e));
  }
  end();
}
