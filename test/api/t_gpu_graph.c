/* t_gpu_graph.c -- graphs built from a GPU's lists of neighbours: they are
** sound, they find what there is, their bytes depend on the rows alone.
*/
#include "api/api.h"
#include "api/gpu.h"

#include <sys/stat.h>

#include "gpu/gpu.h"
#include "util/rng.h"

static vecdb *db;
static vecdb_collection *c;
static struct vdb_rng rng;
static size_t n_dim, n_row;
static float *rows;

static void begin_at(const char *path, size_t d, const char *metric){
  vecdb_options o = VECDB_OPTIONS_INIT;
  char schema[120];
  if( db==NULL ) OK(NULL, vecdb_config_gpu(gpu_plugin()));
  if( vdb_gpu_start()!=VDB_GPU_OK ) SKIP("no device");
  o.fixed_seed = 7;
  o.gpu = VECDB_GPU_OFF;
  db = api_open(path, &o);
  snprintf(schema, sizeof(schema), "v float[%zu] distance_metric=%s", d,
           metric);
  c = api_collection(db, "t", schema);
  n_dim = d;
  vdb_rng_init(&rng, vt_seed());
}
static void begin(size_t d, const char *metric){
  begin_at(vt_path("x.vdb"), d, metric);
}

/* n rows around n_centre centres, `apart` from each other. */
static void fill(size_t n, size_t n_centre, float apart){
  float *centre = malloc(n_centre*n_dim*sizeof(*centre));
  vecdb_column_data d = { sizeof(d), 1, VECDB_VECTOR, VECDB_F32, NULL, 0,
                          NULL };
  rows = malloc(n*n_dim*sizeof(*rows));
  n_row = n;
  for(size_t i=0; i<n_centre*n_dim; i++){
    centre[i] = apart*(float)vdb_rng_gauss(&rng);
  }
  for(size_t i=0; i<n; i++) for(size_t j=0; j<n_dim; j++){
    rows[i*n_dim+j] = centre[i%n_centre*n_dim+j]
                    + (float)vdb_rng_gauss(&rng);
  }
  d.data = rows;
  OK(db, vecdb_put_many(c, n, &d, 1, 0, NULL));
  free(centre);
}

static int build(uint32_t flags){
  vecdb_optimize_options o = { .size = sizeof(o),
                               .flags = flags | VECDB_OPTIMIZE_ALL };
  return vecdb_optimize(c, &o);
}

static uint64_t n_graph_row(void){
  vecdb_collection_stats s = { .size = sizeof(s) };
  OK(db, vecdb_collection_stat(c, &s));
  return s.n_graph_row;
}

/* Of the 10 nearest of 200 rows, how many a search with ef finds. */
static double recall(uint32_t ef){
  enum { NQ = 200, K = 10 };
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  int64_t (*key)[NQ*K] = malloc(2*sizeof(*key));
  int n = 0;
  for(int g=0; g<2; g++){
    o.flags = g ? 0 : VECDB_SEARCH_EXACT;
    o.ef = ef;
    OK(db, vecdb_search_many(c, &o, NQ, VECDB_F32, rows, 0, key[g], NULL,
                             NULL));
  }
  for(int i=0; i<NQ; i++) for(int a=0; a<K; a++) for(int e=0; e<K; e++){
    n += key[0][i*K+a]==key[1][i*K+e];
  }
  free(key);
  return n/(double)(NQ*K);
}

static void end(void){
  OK(db, vecdb_check(db, 0, NULL, NULL));
  vecdb_close(db);
  free(rows);
}

TEST(gpu_graph__finds_neighbours){
  static const char *const metric[] = { "l2", "cosine", "ip" };
  for(int m=0; m<3; m++){
    char name[8];
    snprintf(name, sizeof(name), "%d.vdb", m);
    begin_at(vt_path(name), 16, metric[m]);
    fill(3000, 30, 1);
    OK(db, build(VECDB_OPTIMIZE_GPU));
    CHECK_U64(3000, n_graph_row());
    if( m<2 ) CHECK_DBL(1, recall(100), 0.02);
    end();
  }
}

TEST(gpu_graph__separated_clusters){
  begin(12, "l2");
  fill(3000, 60, 300);
  OK(db, build(VECDB_OPTIMIZE_GPU));
  CHECK_DBL(1, recall(64), 0.01);
  end();
}

TEST(gpu_graph__bytes_of_norms_and_equal_rows){
  begin(64, "cosine");
  fill(1000, 3, 0.01f);
  memcpy(rows+n_dim, rows, n_dim*sizeof(*rows));
  OK(db, build(VECDB_OPTIMIZE_GPU));
  CHECK_U64(1000, n_graph_row());
  end();
}

/* The rows of a grid have many neighbours at the same distance. */
TEST(gpu_graph__ties){
  vecdb_column_data d = { sizeof(d), 1, VECDB_VECTOR, VECDB_F32, NULL, 0,
                          NULL };
  begin(5, "l2");
  n_row = 3125;
  rows = malloc(n_row*n_dim*sizeof(*rows));
  for(size_t i=0; i<n_row; i++) for(size_t j=0, x=i; j<5; j++, x/=5){
    rows[i*5+j] = (float)(x%5);
  }
  d.data = rows;
  OK(db, vecdb_put_many(c, n_row, &d, 1, 0, NULL));
  OK(db, build(VECDB_OPTIMIZE_GPU));
  CHECK_U64(3125, n_graph_row());
  end();
}

TEST(gpu_graph__the_same_bytes_again){
  char *text[2];
  size_t sz[2];
  for(int i=0; i<2; i++){
    struct stat st;
    FILE *f;
    const char *path = vt_path(i ? "b.vdb" : "a.vdb");
    begin_at(path, 24, "l2");
    OK(db, vecdb_set(db, "threads", i ? 3 : 1));
    fill(1500, 10, 1);
    OK(db, build(VECDB_OPTIMIZE_GPU));
    end();
    REQUIRE(stat(path, &st)==0);
    sz[i] = (size_t)st.st_size;
    text[i] = malloc(sz[i]);
    f = fopen(path, "rb");
    REQUIRE(f && fread(text[i], 1, sz[i], f)==sz[i]);
    fclose(f);
  }
  CHECK_U64(sz[0], sz[1]);
  CHECK_MEM(text[0], text[1], sz[0]);
  free(text[0]);
  free(text[1]);
}

TEST(gpu_graph__goes_on_by_the_cpu){
  vecdb_stmt *s = NULL;
  begin(8, "l2");
  fill(2000, 10, 1);
  OK(db, build(VECDB_OPTIMIZE_GPU));
  OK(db, vecdb_prepare_delete(c, &s));
  OK(db, vecdb_bind_int64(s, VECDB_KEY, 5));
  DONE(db, vecdb_step(s));
  OK(db, vecdb_finalize(s));
  free(rows);
  fill(300, 10, 1);
  OK(db, build(0));
  CHECK_U64(2299, n_graph_row());
  CHECK_DBL(1, recall(64), 0.05);
  end();
}

TEST(gpu_graph__faults_leave_everything){
  begin(8, "l2");
  fill(600, 10, 1);
  CHECK_INT(VDB_GPU_OK, vdb_gpu_control(VDB_GPU_FAIL_ALLOC, 1));
  REFUSES(db, VECDB_GPU, "optimize: device=gpu: the GPU has too little memory "
          "(OOM)", build(VECDB_OPTIMIZE_GPU));
  CHECK_U64(0, n_graph_row());
  CHECK_INT(VDB_GPU_OK, vdb_gpu_control(VDB_GPU_FAIL_ALLOC, 1));
  OK(db, build(VECDB_OPTIMIZE_GPU_OR_CPU));
  CHECK_U64(600, n_graph_row());
  CHECK_INT(VDB_GPU_OK, vdb_gpu_control(VDB_GPU_FAIL_LAUNCH, 1));
  OK(db, vecdb_optimize(c, NULL));           /* does not ask it */
  free(rows);
  fill(10, 2, 1);
  REFUSES(db, VECDB_GPU, "optimize: device=gpu: the GPU has failed "
          "(DEVICE_LOST)", build(VECDB_OPTIMIZE_GPU));
  end();
}

TEST(gpu_graph__no_plugin){
  setenv("VECDB_GPU_PLUGIN", "none", 1);
  db = api_memory();
  c = api_collection(db, "t", "v float[4]");
  n_dim = 4;
  fill(300, 3, 1);
  REFUSES(db, VECDB_GPU, "optimize: device=gpu: there is no GPU plugin: "
          "VECDB_GPU_PLUGIN is none (NO_PLUGIN)", build(VECDB_OPTIMIZE_GPU));
  OK(db, build(VECDB_OPTIMIZE_GPU_OR_CPU));
  CHECK_U64(300, n_graph_row());
  end();
}
