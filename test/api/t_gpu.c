/* t_gpu.c -- exact batches on a GPU: the bits of the CPU, in every shape.
**
** Every test makes a collection and compares a batch with gpu=off and with
** gpu=require. By what the device finds its rows depends on the numbers of
** queries and of k, the type, the metric and the dimensions, so these vary.
*/
#include "api/gpu_batch.h"

#include <sys/wait.h>
#include <unistd.h>

/* ---- Shapes -------------------------------------------------------------- */

TEST(gpu__numbers_of_queries_and_results){
  static const size_t nq[] = { 1, 4, 5, 17, 128, 129, 1000 };
  static const size_t k[] = { 1, 10, 100, 256, 257 };
  begin(VECDB_F32, 24, "l2");
  put_random(3000, 1, 1);
  seal();
  for(size_t i=0; i<7; i++) for(size_t j=0; j<5; j++){
    if( nq[i]*k[j]<=10000 ) compare(nq[i], k[j], NULL);
  }
  compare(6, 1000, NULL);
  compare(3, 2048, NULL);
  compare(6, 2048, "half < 900");
  vecdb_close(db);
}

TEST(gpu__types_and_metrics){
  for(int type=VECDB_F32; type<=VECDB_U8; type++) for(int m=0; m<3; m++){
    if( db ) vecdb_close(db);
    begin(type, 40, metrics[m]);
    put_random(1500, 1, 1);
    seal();
    compare(1, 5, NULL);
    compare(9, 20, NULL);
  }
  vecdb_close(db);
}

TEST(gpu__dimensions){
  static const size_t d[] = { 1, 3, 15, 16, 17, 63, 64, 65, 100, 128, 129, 768,
                              1536, 4096 };
  for(size_t i=0; i<VDB_ARRAY_LEN(d); i++) for(int m=0; m<3; m++){
    if( d[i]>200 && m==2 ) continue;
    if( db ) vecdb_close(db);
    begin(VECDB_F32, d[i], metrics[m]);
    put_random(d[i]>200 ? 300 : 1100, 1, 1);
    seal();
    compare(2, 7, NULL);
    compare(6, 7, NULL);
  }
  vecdb_close(db);
}

/* ---- Rows ---------------------------------------------------------------- */

TEST(gpu__delta_and_dead_rows){
  vecdb_stmt *s = NULL;
  begin(VECDB_F32, 16, "l2");
  compare(5, 3, NULL);                       /* nothing at all */
  put_random(700, 1, 1);
  compare(5, 3, NULL);                       /* only the delta */
  seal();
  compare(5, 3, NULL);
  put_random(50, 5000, 1);
  OK(db, vecdb_prepare_delete(c, &s));
  for(int64_t key=1; key<700; key+=3){
    OK(db, vecdb_bind_int64(s, VECDB_KEY, key));
    DONE(db, vecdb_step(s));
    OK(db, vecdb_reset(s));
  }
  OK(db, vecdb_finalize(s));
  compare(5, 10, NULL);
  compare(5, 600, NULL);                     /* more than there are */
  seal();
  compare(7, 10, NULL);
  OK(db, vecdb_optimize(c, NULL));
  compare(7, 10, NULL);
  vecdb_close(db);
}

TEST(gpu__filters){
  begin(VECDB_F32, 20, "cosine");
  put_random(2500, 1, 1);
  seal();
  put_random(100, 9000, 1);
  compare(6, 10, "half >= 0");
  compare(6, 10, "half < 500");
  compare(6, 10, "half < 50");
  compare(6, 10, "half = 77");
  compare(6, 10, "half < 0");
  compare(2, 10, "half < 300");
  vecdb_close(db);
}

TEST(gpu__ties_go_by_key){
  float v[900][4];
  begin(VECDB_F32, 4, "l2");
  for(int i=0; i<900; i++) for(int j=0; j<4; j++) v[i][j] = (float)(i%5);
  put(v, 300, 2000, -1);                     /* keys fall with slots */
  put(v[300], 300, 5000, 1);
  put(v[600], 300, 100, 2);
  seal();
  compare_with(v, 6, 10, NULL);
  compare_with(v, 6, 200, NULL);
  compare_with(v, 2, 10, NULL);
  vecdb_close(db);
}

TEST(gpu__equal_rows_only){
  float v[3000][3];
  begin(VECDB_F32, 3, "cosine");
  for(int i=0; i<3000; i++) v[i][0] = v[i][1] = v[i][2] = 1;
  put(v, 3000, 9000, -2);
  seal();
  compare_with(v, 7, 10, NULL);
  vecdb_close(db);
}

/* ---- Numbers ------------------------------------------------------------- */

TEST(gpu__norms_of_all_sizes){
  static const float scale[] = { 1e-38f, 1e-30f, 1e-16f, 1e-4f, 1e5f, 1e12f,
                                 1e17f, 1e19f, 1e30f };
  for(size_t i=0; i<VDB_ARRAY_LEN(scale); i++) for(int m=0; m<3; m++){
    float *q;
    if( db ) vecdb_close(db);
    begin(VECDB_F32, 12, metrics[m]);
    put_scaled(1200, scale[i], 1);
    seal();
    compare(6, 5, NULL);                     /* queries of ordinary size */
    q = malloc(8*n_dim*sizeof(*q));
    fill(q, 8, scale[i]);
    compare_with(q, 8, 5, NULL);
    compare_with(q, 2, 5, NULL);
    free(q);
  }
  vecdb_close(db);
}

TEST(gpu__zero_vectors_and_one_huge_row){
  float v[8][6] = { { 0 } };
  for(int m=0; m<3; m++){
    if( db ) vecdb_close(db);
    begin(VECDB_F32, 6, metrics[m]);
    memset(v, 0, sizeof(v));
    v[1][2] = 3e7f;
    put(v, 8, 100000, 1);
    put_random(1500, 1, 1);
    seal();
    compare(6, 12, NULL);
    compare_with(v, 8, 12, NULL);
    compare_with(v, 3, 12, NULL);
  }
  vecdb_close(db);
}

TEST(gpu__a_large_offset){
  float *v;
  begin(VECDB_F32, 32, "l2");
  v = malloc(2000*n_dim*sizeof(*v));
  fill(v, 2000, 1);
  for(size_t i=0; i<2000*n_dim; i++) v[i] += 1000;
  put(v, 2000, 1, 1);
  seal();
  compare_with(v, 20, 10, NULL);
  free(v);
  vecdb_close(db);
}

TEST(gpu__sorted_rows){
  float *v;
  begin(VECDB_F32, 8, "l2");
  v = malloc(4000*n_dim*sizeof(*v));
  for(size_t i=0; i<4000*n_dim; i++) v[i] = 4000 - (float)(i/n_dim);
  put(v, 4000, 1, 1);
  seal();
  compare_with(v + 3990*n_dim, 10, 10, NULL);
  compare_with(v + 3990*n_dim, 2, 10, NULL);
  free(v);
  vecdb_close(db);
}

/* ---- Any shape ----------------------------------------------------------- */

/* Of numbers from 1 to most, small ones more often. */
static size_t some(size_t most){
  size_t n = 1 + vdb_rng_u64(&rng)%most;
  return vdb_rng_u64(&rng)%2 ? 1 + n%(most/8+1) : n;
}

/* Rows, queries and memory of all sizes; equal rows; what is dead, new or
** filtered out. With too little memory for one piece there are several; with
** too little for any the GPU says so. */
TEST(gpu__shapes_drawn_at_random){
  struct vdb_rng draw;
  vdb_rng_init(&draw, vt_seed()+77);
  for(int round=0; round<40; round++){
    static const char *const filter[] = { NULL, "half < 500", "half < 30",
                                          "half >= 1000" };
    size_t n, nq, k;
    char *v;
    if( db ) vecdb_close(db);
    rng = draw;
    n = some(2500), nq = some(40), k = some(round%8 ? 60 : 2048);
    n_dim = some(70);
    draw = rng;
    begin(1 + round%5, n_dim, metrics[round%3]);
    rng = draw;
    v = malloc(n*vecdb_vector_bytes(element, n_dim));
    fill(v, n, 1);
    for(size_t i=0, sz=vecdb_vector_bytes(element, n_dim); i<n/9; i++){
      memcpy(v + sz*(vdb_rng_u64(&rng)%n), v + sz*(vdb_rng_u64(&rng)%n), sz);
    }
    put(v, n, round%2 ? 1 : 1000000, round%2 ? 3 : -7);
    free(v);
    if( round%4 ) seal();
    put_random(some(30), 2000000, 1);
    compare(nq, k, filter[vdb_rng_u64(&rng)%4]);
    draw = rng;
  }
  vecdb_close(db);
}

/* ---- Tiers and faults ---------------------------------------------------- */

static void start(void){
  int code = vdb_gpu_start();
  if( code!=VDB_GPU_OK ) SKIP("no device: %s", vdb_gpu_why(code));
}

TEST(gpu__pieces_when_memory_is_short){
  begin(VECDB_F32, 256, "l2");
  start();
  put_random(6000, 1, 1);                    /* 6 MB, three extents */
  seal();
  compare(5, 10, NULL);
  for(uint64_t sz=24u<<20; sz>=12u<<20; sz-=6u<<20){
    CHECK_INT(VDB_GPU_OK, vdb_gpu_control(VDB_GPU_SET_BUDGET, sz));
    compare(5, 10, NULL);
    compare(5, 10, "half < 400");
    compare(2, 300, NULL);
  }
  vecdb_close(db);
}

TEST(gpu__lists_that_overflow){
  begin(VECDB_F32, 16, "l2");
  start();
  put_random(5000, 1, 1);
  seal();
  for(int path=1; path<=2; path++){
    CHECK_INT(VDB_GPU_OK, vdb_gpu_control(VDB_GPU_SET_PATH, (uint64_t)path));
    CHECK_INT(VDB_GPU_OK, vdb_gpu_control(VDB_GPU_SET_CAPACITY, 256));
    CHECK_INT(VDB_GPU_OK, vdb_gpu_control(VDB_GPU_SET_GROWTH, 200));
    compare(9, 12, NULL);
    CHECK_INT(VDB_GPU_OK, vdb_gpu_control(VDB_GPU_SET_GROWTH, 1));
    compare(9, 12, "half < 500");
    CHECK_INT(VDB_GPU_OK, vdb_gpu_control(VDB_GPU_SET_CAPACITY, 0));
    compare(9, 12, NULL);
  }
  vecdb_close(db);
}

static int search(int *rc, int64_t *key){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  float q[3*16] = { 0.5f };
  o.flags = VECDB_SEARCH_EXACT;
  o.k = 4;
  return *rc = vecdb_search_many(c, &o, 3, VECDB_F32, q, 0, key, NULL, NULL);
}

TEST(gpu__memory_that_fails){
  int64_t want[12], got[12];
  int rc = VECDB_OK, n;
  begin(VECDB_F32, 16, "l2");
  put_random(500, 1, 1);
  seal();
  start();
  OK(db, search(&rc, want));
  for(n=1; n<100; n++){
    OK(db, vecdb_optimize(c, NULL));         /* what is resident goes */
    put_random(1, 10000+n, 1);
    seal();
    OK(db, vecdb_set(db, "gpu", VECDB_GPU_OFF));
    OK(db, search(&rc, want));
    OK(db, vecdb_set(db, "gpu", VECDB_GPU_REQUIRE));
    CHECK_INT(VDB_GPU_OK, vdb_gpu_control(VDB_GPU_FAIL_ALLOC, (uint64_t)n));
    if( search(&rc, got)==VECDB_OK ) break;
    REFUSES(db, VECDB_GPU, "search: gpu=require: the GPU has too little memory "
            "(OOM)", rc);
  }
  CHECK_MEM(want, got, sizeof(want));
  CHECK(n>1 && n<100);
  CHECK_INT(VDB_GPU_OK, vdb_gpu_control(VDB_GPU_FAIL_ALLOC, 0));
  OK(db, search(&rc, got));
  CHECK_MEM(want, got, sizeof(want));
  vecdb_close(db);
}

/* Less and less memory: the answer is that of the CPU or there is none. */
TEST(gpu__memory_down_to_nothing){
  int64_t want[12], got[12];
  int rc, n_refused = 0, n_answered = 0;
  begin(VECDB_F32, 16, "l2");
  put_random(9000, 1, 1);
  seal();
  start();
  OK(db, search(&rc, want));
  for(uint64_t sz=4u<<20; sz>0; sz/=2){
    CHECK_INT(VDB_GPU_OK, vdb_gpu_control(VDB_GPU_SET_BUDGET, sz));
    memset(got, 0, sizeof(got));
    if( search(&rc, got)==VECDB_OK ){
      CHECK_MEM(want, got, sizeof(want));
      n_answered++;
      continue;
    }
    REFUSES(db, VECDB_GPU, "search: gpu=require: the GPU has too little memory "
            "(OOM)", rc);
    n_refused++;
  }
  CHECK(n_refused>0 && n_answered>0);
  CHECK_INT(VDB_GPU_OK, vdb_gpu_control(VDB_GPU_SET_BUDGET, (uint64_t)1<<30));
  OK(db, search(&rc, got));
  CHECK_MEM(want, got, sizeof(want));
  vecdb_close(db);
}

TEST(gpu__a_lost_device){
  int64_t want[12], got[12];
  int rc;
  begin(VECDB_F32, 16, "l2");
  put_random(500, 1, 1);
  seal();
  start();
  OK(db, search(&rc, want));
  CHECK_INT(VDB_GPU_OK, vdb_gpu_control(VDB_GPU_FAIL_LAUNCH, 1));
  REFUSES(db, VECDB_GPU, "search: gpu=require: the GPU has failed "
          "(DEVICE_LOST)", search(&rc, got));
  REFUSES(db, VECDB_GPU, "search: gpu=require: the GPU has failed "
          "(DEVICE_LOST)", search(&rc, got));        /* for good */
  OK(db, vecdb_set(db, "gpu", VECDB_GPU_AUTO));
  OK(db, search(&rc, got));
  CHECK_MEM(want, got, sizeof(want));
  vecdb_close(db);
}

/* Lost at any step of a search; each time in a process of its own, as a device
** is lost for good. */
enum { ANSWERED = 40, LOST, NO_DEVICE, OTHERWISE };
static int lost_at(uint64_t n){
  int64_t got[12];
  int rc, status = 0;
  pid_t pid = fork();
  if( pid==0 ){
    begin(VECDB_F32, 16, "l2");
    put_random(300, 1, 1);
    seal();
    if( vdb_gpu_start()!=VDB_GPU_OK ) _exit(NO_DEVICE);
    (void)vdb_gpu_control(VDB_GPU_FAIL_LAUNCH, n);
    if( search(&rc, got)==VECDB_OK ) _exit(ANSWERED);
    _exit(strstr(vecdb_errmsg(db), "(DEVICE_LOST)") ? LOST : OTHERWISE);
  }
  CHECK(waitpid(pid, &status, 0)==pid && WIFEXITED(status));
  return WEXITSTATUS(status);
}

TEST(gpu__a_device_lost_at_any_step){
  uint64_t n = 1;
  int how = lost_at(1);
  if( how==NO_DEVICE ) SKIP("no device");
  for(; how==LOST && n<60; n++) how = lost_at(n+1);
  CHECK_INT(ANSWERED, how);
  CHECK(n>1);
}

static int stop_at_once(void *arg, const vecdb_progress *p){
  (void)arg;
  (void)p;
  vecdb_interrupt(db);
  return 0;
}

TEST(gpu__an_interrupt){
  int64_t got[12];
  int rc;
  begin(VECDB_F32, 16, "l2");
  put_random(500, 1, 1);
  seal();
  start();
  OK(db, search(&rc, got));
  OK(db, vecdb_progress_handler(db, stop_at_once, NULL));
  CHECK_INT(VECDB_INTERRUPT, search(&rc, got));
  OK(db, vecdb_progress_handler(db, NULL, NULL));
  OK(db, search(&rc, got));
  vecdb_close(db);
}

static char *inner_status;
static int ask_inside(void *arg, const vecdb_progress *p){
  (void)arg;
  (void)p;
  if( inner_status==NULL ) OK(NULL, vecdb_gpu_status(&inner_status));
  return 0;
}

TEST(gpu__a_callback_that_asks_for_the_gpu){
  int64_t got[12];
  int rc;
  begin(VECDB_F32, 16, "l2");
  put_random(500, 1, 1);
  seal();
  start();
  OK(db, vecdb_progress_handler(db, ask_inside, NULL));
  OK(db, search(&rc, got));                  /* does not wait for itself */
  CHECK(inner_status && inner_status[0]=='{');
  vecdb_free(inner_status);
  vecdb_close(db);
}

/* ---- Limits -------------------------------------------------------------- */

TEST(gpu__what_it_does_not_do){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  float q[4] = { 0 };
  int64_t key[3000];
  begin(VECDB_F32, 4, "l1");
  put_random(10, 1, 1);
  seal();
  o.k = 2;
  REFUSES(db, VECDB_GPU, "search: gpu=require: this is not done on a GPU "
          "(UNSUPPORTED)",
          vecdb_search_many(c, &o, 1, VECDB_F32, q, 0, key, NULL, NULL));
  OK(db, vecdb_set(db, "gpu", VECDB_GPU_AUTO));
  OK(db, vecdb_search_many(c, &o, 1, VECDB_F32, q, 0, key, NULL, NULL));
  vecdb_close(db);
  db = api_memory();
  c = api_collection(db, "t", "id integer primary key, v bit[8] "
                     "distance_metric=hamming index=flat, half int");
  element = VECDB_BIT;
  n_dim = 8;
  put("bits", 4, 1, 1);
  seal();
  OK(db, vecdb_set(db, "gpu", VECDB_GPU_REQUIRE));
  o.flags = VECDB_SEARCH_EXACT;
  REFUSES(db, VECDB_GPU, "search: gpu=require: this is not done on a GPU "
          "(UNSUPPORTED)",
          vecdb_search_many(c, &o, 1, VECDB_BIT, q, 0, key, NULL, NULL));
  vecdb_close(db);
}

TEST(gpu__settings){
  vecdb_options o = VECDB_OPTIONS_INIT;
  vecdb *bad = NULL;
  db = api_memory();
  REFUSES(db, VECDB_RANGE, "gpu 4 is not in 0..3", vecdb_set(db, "gpu", 4));
  REFUSES(db, VECDB_RANGE, "gpu -1 is not in 0..3", vecdb_set(db, "gpu", -1));
  o.gpu = 9;
  CHECK_INT(VECDB_RANGE, vecdb_open(":memory:", VECDB_OPEN_MEMORY, &o, &bad));
  CHECK_STR("gpu 9 is not in 0..3", vecdb_errmsg(bad));
  vecdb_close(bad);
  setenv("VECDB_GPU", "maybe", 1);
  CHECK_INT(VECDB_RANGE, vecdb_open(":memory:", VECDB_OPEN_MEMORY, NULL,
                                    &bad));
  CHECK_STR("VECDB_GPU=maybe is none of off, auto, require",
            vecdb_errmsg(bad));
  vecdb_close(bad);
  vecdb_close(db);
}
