/* t_gpu_errors.c -- a GPU that is not there, is too old, has no memory, breaks:
** whoever named it gets an error that says why, whoever left the choice gets
** the CPU's answer and a line in the log. And no driver is touched before a GPU
** is asked for. Every test is a process of its own.
*/
#include "api/gpu_batch.h"

enum { N = 700, DIM = 12, NQ = 6, K = 5 };

static char logged[1000];
static int n_logged;

static void log_keep(void *arg, int rc, const char *msg){
  (void)arg;
  if( rc!=VECDB_GPU ) return;
  n_logged++;
  snprintf(logged, sizeof(logged), "%s", msg);
}

static bool is_mapped(void){
  char line[4096];
  FILE *f = fopen("/proc/self/maps", "r");
  bool found = false;
  while( f && fgets(line, sizeof(line), f) ){
    found |= strstr(line, "libvecdb_gpu")!=NULL;
  }
  if( f ) fclose(f);
  return found;
}

static float query[NQ*DIM];

static int ask(int64_t *key){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  o.flags = VECDB_SEARCH_EXACT;
  o.k = K;
  return vecdb_search_many(c, &o, NQ, VECDB_F32, query, 0, key, NULL, NULL);
}

static int build(uint32_t flags){
  vecdb_optimize_options o = { .size = sizeof(o),
                               .flags = flags | VECDB_OPTIMIZE_ALL };
  return vecdb_optimize(c, &o);
}

static uint64_t graph_rows(void){
  vecdb_collection_stats s = { .size = sizeof(s) };
  OK(db, vecdb_collection_stat(c, &s));
  return s.n_graph_row;
}

/* As gpu_batch.h begins, but with an index that graphs serve, and the reference
** plugin spoilt as `mode` says; "none": no plugin. */
static void begin_spoilt(const char *mode){
  if( !gpu_is_reference() ) SKIP("no plugin that can be spoilt");
  setenv("VECDB_GPU_REF", mode, 1);
  if( strcmp(mode, "none")==0 ) setenv("VECDB_GPU_PLUGIN", "none", 1);
  else OK(NULL, vecdb_config_gpu(gpu_plugin()));
  vecdb_config_log(log_keep, NULL);
  vdb_rng_init(&rng, vt_seed());
  element = VECDB_F32;
  n_dim = DIM;
  db = api_memory();
  c = api_collection(db, "t", "id integer primary key, v float[12], half int");
  put_random(N, 1, 1);
  seal();
  fill(query, NQ, 1);
}

/* `why` stands for the GPU all through a process. */
static void stands_in(const char *mode, const char *why){
  int64_t want[NQ*K], got[NQ*K];
  char text[300];
  begin_spoilt(mode);
  OK(db, vecdb_set(db, "gpu", VECDB_GPU_OFF));
  OK(db, ask(want));
  CHECK(!is_mapped());

  OK(db, vecdb_set(db, "gpu", VECDB_GPU_AUTO));
  OK(db, ask(got));                          /* small: nobody is asked */
  CHECK(!is_mapped());
  CHECK_INT(VDB_GPU_OK, vdb_gpu_control(VDB_GPU_SET_EAGER, 1));
  for(int i=0; i<3; i++){
    OK(db, ask(got));
    CHECK_MEM(want, got, sizeof(want));
  }
  CHECK_INT(1, n_logged);                    /* once for all searches */
  CHECK(strncmp(logged, "search on the CPU: ", 19)==0);
  CHECK(strstr(logged, why)!=NULL);

  OK(db, vecdb_set(db, "gpu", VECDB_GPU_REQUIRE));
  CHECK_INT(VECDB_GPU, ask(got));
  snprintf(text, sizeof(text), "search: gpu=require: %s", why);
  CHECK(strncmp(vecdb_errmsg(db), text, strlen(text))==0);

  CHECK_INT(VECDB_GPU, build(VECDB_OPTIMIZE_GPU));
  snprintf(text, sizeof(text), "optimize: device=gpu: %s", why);
  CHECK(strncmp(vecdb_errmsg(db), text, strlen(text))==0);
  CHECK_U64(0, graph_rows());
  OK(db, build(VECDB_OPTIMIZE_GPU_OR_CPU));
  CHECK_U64(N, graph_rows());
  CHECK_INT(2, n_logged);
  CHECK(strncmp(logged, "optimize on the CPU: ", 21)==0);
  put_random(10, 9000, 1);
  OK(db, build(VECDB_OPTIMIZE_GPU_OR_CPU));
  CHECK_INT(3, n_logged);                    /* builds say it each time */
  OK(db, vecdb_check(db, 0, NULL, NULL));
  vecdb_close(db);
}

TEST(gpu_errors__no_plugin){
  stands_in("none", "there is no GPU plugin");
}
TEST(gpu_errors__no_device){
  stands_in("nodevice", "there is no GPU, or no driver for it");
}
TEST(gpu_errors__an_old_driver){
  stands_in("driver", "the GPU's driver is too old");
}
TEST(gpu_errors__another_version){
  stands_in("rules", "the GPU plugin is of another version of vecdb");
}
TEST(gpu_errors__a_device_that_fails_its_test){
  stands_in("broken", "the GPU plugin failed its own test");
}
TEST(gpu_errors__no_memory_at_all){
  stands_in("oom", "the GPU has too little memory");
}
TEST(gpu_errors__a_device_that_is_lost){
  stands_in("lost", "the GPU has failed");
}

/* A build that fails at any point of the device's work leaves the file as it
** was; by the CPU it goes on. */
TEST(gpu_errors__builds_that_break){
  static const uint32_t what[] = { VDB_GPU_FAIL_ALLOC, VDB_GPU_FAIL_LAUNCH };
  int n_failed = 0;
  begin_spoilt("");
  if( vdb_gpu_start()!=VDB_GPU_OK ) SKIP("no device");
  for(int n=1; n<100; n++){
    int rc;
    CHECK_INT(VDB_GPU_OK, vdb_gpu_control(what[0], (uint64_t)n));
    rc = build(VECDB_OPTIMIZE_GPU);
    if( rc==VECDB_OK ) break;
    n_failed++;
    CHECK_INT(VECDB_GPU, rc);
    CHECK_U64(0, graph_rows());
  }
  CHECK(n_failed>=2);                        /* lists, edges */
  CHECK_INT(VDB_GPU_OK, vdb_gpu_control(what[0], 0));
  CHECK_U64(N, graph_rows());
  put_random(20, 5000, 1);
  CHECK_INT(VDB_GPU_OK, vdb_gpu_control(what[1], N+2));   /* among edges */
  CHECK_INT(VECDB_GPU, build(VECDB_OPTIMIZE_GPU));
  CHECK_U64(N, graph_rows());
  OK(db, build(VECDB_OPTIMIZE_GPU_OR_CPU));
  CHECK_U64(N+20, graph_rows());
  CHECK_STR("optimize on the CPU: the GPU has failed", logged);
  OK(db, vecdb_check(db, 0, NULL, NULL));
  vecdb_close(db);
}

static int stop_soon(void *arg, const vecdb_progress *p){
  *(int*)arg += strcmp(p->phase, "graph")==0;
  if( *(int*)arg==1 ) vecdb_interrupt(db);
  return 0;
}

TEST(gpu_errors__an_interrupted_build){
  int n = 0;
  begin_spoilt("");
  OK(db, vecdb_progress_handler(db, stop_soon, &n));
  CHECK_INT(VECDB_INTERRUPT, build(VECDB_OPTIMIZE_GPU_OR_CPU));
  OK(db, vecdb_progress_handler(db, NULL, NULL));
  CHECK_U64(0, graph_rows());
  CHECK_INT(0, n_logged);                    /* no reason to turn to the CPU */
  OK(db, build(VECDB_OPTIMIZE_GPU));
  CHECK_U64(N, graph_rows());
  vecdb_close(db);
}

/* What never asks for a GPU never loads its plugin. */
TEST(gpu_errors__nothing_is_loaded_unasked){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  int64_t key[NQ*K];
  setenv("VECDB_GPU", "auto", 1);
  begin_spoilt("");
  o.k = K;
  OK(db, vecdb_search_many(c, &o, 1, VECDB_F32, query, 0, key, NULL, NULL));
  OK(db, ask(key));
  OK(db, build(0));
  OK(db, vecdb_search_many(c, &o, NQ, VECDB_F32, query, 0, key, NULL, NULL));
  vecdb_close(db);
  CHECK(!is_mapped());
}
