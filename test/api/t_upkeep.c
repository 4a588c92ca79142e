/* t_upkeep.c -- settings, statistics, checks, copies, interrupts, progress. */
#include "api/api.h"

#include <pthread.h>
#include <unistd.h>

#include "unit/lib_host.h"

static vecdb *db;
static vecdb_collection *c;

static void put(int from, int to){
  vecdb_stmt *s = api_insert(c);
  for(int i=from; i<=to; i++){
    float v[4] = { (float)i, 1, 2, 3 };
    OK(db, vecdb_bind_vector(s, 1, VECDB_F32, v, 16, VECDB_STATIC));
    DONE(db, vecdb_step(s));
  }
  OK(db, vecdb_finalize(s));
}

static void put_batch(size_t n){
  float *v = calloc(n, 16);
  vecdb_column_data d = { sizeof(d), 1, VECDB_VECTOR, VECDB_F32, v, 0, NULL };
  OK(db, vecdb_put_many(c, n, &d, 1, 0, NULL));
  free(v);
}

static void setup(void){
  db = api_memory();
  c = api_collection(db, "t", "v float[4]");
}

TEST(set__knows_its_names){
  setup();
  OK(db, vecdb_set(db, "threads", 3));
  OK(db, vecdb_set(db, "busy_ms", 30));
  REFUSES(db, VECDB_NOTFOUND, "no setting \"bussy_ms\"; did you mean "
                              "\"busy_ms\"?",
          vecdb_set(db, "bussy_ms", 3));
  REFUSES(db, VECDB_NOTFOUND, "no setting \"colour\"; known are build_bytes, "
          "busy_ms, gpu, sync, threads, wal_bytes", vecdb_set(db, "colour", 3));
  REFUSES(db, VECDB_RANGE, "threads -1 is not in 0..1024", vecdb_set(db,
                                                            "threads", -1));
  REFUSES(db, VECDB_MISUSE, "set: no name", vecdb_set(db, NULL, 0));
  vecdb_close(db);
}

TEST(stats__count){
  vecdb_stats st = { .size = sizeof(st) };
  vecdb_collection_stats cs = { .size = sizeof(cs) };
  uint64_t version;
  setup();
  OK(db, vecdb_stat(db, &st));
  CHECK_INT(4096, st.page_size);
  CHECK(st.n_page>1 && st.mem_bytes>0 && st.mem_peak_bytes>=st.mem_bytes);
  OK(db, vecdb_collection_stat(c, &cs));
  CHECK_U64(0, cs.n_row);
  version = cs.data_version;
  put(1, 10);
  OK(db, vecdb_collection_stat(c, &cs));
  CHECK_U64(10, cs.n_row);
  CHECK_U64(10, cs.n_delta);
  CHECK(cs.data_version!=version);
  REFUSES(db, VECDB_MISUSE, "stat: no out", vecdb_stat(db, NULL));
  REFUSES(db, VECDB_MISUSE, "no out", vecdb_collection_stat(c, NULL));
  cs.size = 0;
  REFUSES(db, VECDB_MISUSE, "vecdb_collection_stats: set its size before the "
                            "call, "
          "found 0", vecdb_collection_stat(c, &cs));
  vecdb_close(db);
}

TEST(optimize__seals_and_merges){
  vecdb_collection_stats cs = { .size = sizeof(cs) };
  vecdb_optimize_options o = { .size = sizeof(o),
                               .flags = VECDB_OPTIMIZE_SEAL };
  vecdb_stmt *s;
  setup();
  put(1, 1000);
  OK(db, vecdb_optimize(c, &o));
  OK(db, vecdb_collection_stat(c, &cs));
  CHECK_U64(1000, cs.n_row);
  CHECK_U64(0, cs.n_delta);
  CHECK(cs.n_segment>=1 && cs.vector_bytes>=16000);
  OK(db, vecdb_prepare_delete(c, &s));
  for(int i=1; i<=1000; i+=2){
    OK(db, vecdb_bind_int64(s, VECDB_KEY, i));
    DONE(db, vecdb_step(s));
  }
  OK(db, vecdb_optimize(c, NULL));
  OK(db, vecdb_collection_stat(c, &cs));
  CHECK_U64(500, cs.n_row);
  OK(db, vecdb_prepare_scan(c, "rowid <= 6", &s));
  KEYS(db, "2 4 6 ", s);
  o.flags = 64;
  REFUSES(db, VECDB_MISUSE, "optimize: unknown flags 0x40", vecdb_optimize(c,
                                                            &o));
  OK(db, vecdb_check(db, 0, NULL, NULL));
  vecdb_close(db);
}

static void count_findings(void *arg, int severity, const char *object,
                           const char *message){
  int *n = arg;
  if( severity>0 ){
    FAIL("finding %d: %s: %s", severity, object, message);
    ++*n;
  }
}

TEST(check__of_a_sound_database_finds_nothing){
  int n = 0;
  setup();
  put(1, 500);
  put_batch(20000);
  OK(db, vecdb_check(db, 0, count_findings, &n));
  OK(db, vecdb_check(db, 1, count_findings, &n));
  CHECK_INT(0, n);
  vecdb_close(db);
}

TEST(vacuum__keeps_the_rows){
  vecdb_stmt *s;
  setup();
  put(1, 100);
  OK(db, vecdb_prepare_delete(c, &s));
  for(int i=1; i<=97; i++){
    OK(db, vecdb_bind_int64(s, VECDB_KEY, i));
    DONE(db, vecdb_step(s));
  }
  OK(db, vecdb_begin(db, VECDB_READ));
  REFUSES(db, VECDB_MISUSE, "cannot vacuum: a transaction is open; commit or "
                            "roll "
          "back first", vecdb_vacuum(db));
  OK(db, vecdb_commit(db));
  OK(db, vecdb_vacuum(db));
  OK(db, vecdb_prepare_scan(c, NULL, &s));
  KEYS(db, "98 99 100 ", s);
  OK(db, vecdb_check(db, 0, NULL, NULL));
  put(1, 1);
  KEYS(db, "98 99 100 101 ", s);
  vecdb_close(db);
}

/* ---- Files -------------------------------------------------------------- */

TEST(backup__is_a_database_of_its_own){
  const char *path = vt_path("a.vdb"), *copy = vt_path("b.vdb");
  vecdb_stmt *s;
  db = api_open(path, NULL);
  c = api_collection(db, "t", "v float[4]");
  put(1, 20);
  put_batch(9000);
  OK(db, vecdb_prepare_scan(c, "rowid < 4", &s));
  ROW(db, vecdb_step(s));
  OK(db, vecdb_backup(db, copy));
  KEYS(db, "2 3 ", s);                          /* goes on */
  CHECK_RC(VECDB_EXISTS, vecdb_backup(db, copy));
  REFUSES(db, VECDB_MISUSE, "backup: no path", vecdb_backup(db, NULL));
  OK(db, vecdb_begin(db, VECDB_WRITE));
  CHECK_RC(VECDB_MISUSE, vecdb_backup(db, vt_path("c.vdb")));
  OK(db, vecdb_close(db));
  db = api_open(copy, NULL);
  c = api_collection(db, "t", NULL);
  vecdb_collection_stats cs = { .size = sizeof(cs) };
  OK(db, vecdb_collection_stat(c, &cs));
  CHECK_U64(9020, cs.n_row);
  put(1, 1);
  OK(db, vecdb_close(db));
}

TEST(backup__saves_what_is_in_memory){
  const char *path = vt_path("saved.vdb");
  vecdb_stmt *s;
  setup();
  put(1, 20);
  put_batch(9000);
  OK(db, vecdb_backup(db, path));
  CHECK_RC(VECDB_EXISTS, vecdb_backup(db, path));
  put(1, 1);
  OK(db, vecdb_close(db));
  db = api_open(path, NULL);
  c = api_collection(db, "t", NULL);
  OK(db, vecdb_prepare_scan(c, "rowid < 3 OR rowid > 9019", &s));
  KEYS(db, "1 2 9020 ", s);
  OK(db, vecdb_close(db));
}

TEST(backup__saves_the_pages_of_a_host){
  struct host *host = host_create();
  vecdb_options o = VECDB_OPTIONS_INIT;
  vecdb_stmt *s;
  o.store = &host->ops;
  db = api_open("", &o);
  c = api_collection(db, "t", "v float[4]");
  put(1, 20);
  OK(db, vecdb_backup(db, vt_path("saved.vdb")));
  OK(db, vecdb_close(db));
  db = api_open("", &o);                        /* it is all still there */
  c = api_collection(db, "t", NULL);
  put(1, 1);
  OK(db, vecdb_prepare_scan(c, "rowid > 18", &s));
  KEYS(db, "19 20 21 ", s);
  OK(db, vecdb_close(db));
  db = api_open(vt_path("saved.vdb"), NULL);
  c = api_collection(db, "t", NULL);
  OK(db, vecdb_prepare_scan(c, "rowid > 18", &s));
  KEYS(db, "19 20 ", s);
  OK(db, vecdb_close(db));
  host_destroy(host);
}

TEST(checkpoint__brings_the_log_home){
  const char *path = vt_path("a.vdb");
  vecdb_stats st = { .size = sizeof(st) };
  uint64_t n_log = 9, n_done = 9;
  db = api_open(path, NULL);
  c = api_collection(db, "t", "v float[4]");
  put(1, 20);
  OK(db, vecdb_stat(db, &st));
  CHECK(st.wal_bytes>0 && st.n_commit>=20);
  OK(db, vecdb_checkpoint(db, VECDB_CHECKPOINT_FULL, &n_log, &n_done));
  CHECK(n_log>0 && n_log==n_done);
  OK(db, vecdb_checkpoint(db, VECDB_CHECKPOINT_TRUNCATE, NULL, NULL));
  REFUSES(db, VECDB_MISUSE, "4 is none of VECDB_CHECKPOINT_*",
          vecdb_checkpoint(db, 4, NULL, NULL));
  OK(db, vecdb_close(db));
  char wal[4300];
  snprintf(wal, sizeof(wal), "%s-wal", path);
  CHECK(access(wal,
               F_OK)!=0);                  /* one file after a clean close */
}

TEST(vacuum__shrinks_the_file){
  const char *path = vt_path("a.vdb");
  vecdb_stats st = { .size = sizeof(st) };
  uint64_t before;
  vecdb *other = NULL;
  db = api_open(path, NULL);
  c = api_collection(db, "t", "v float[4]");
  put_batch(60000);
  OK(db, vecdb_drop_collection(db, "t"));
  c = api_collection(db, "u", "v float[4]");
  put(1, 5);
  OK(db, vecdb_checkpoint(db, VECDB_CHECKPOINT_TRUNCATE, NULL, NULL));
  OK(db, vecdb_stat(db, &st));
  before = st.file_bytes;
  other = api_open(path, NULL);
  CHECK_RC(VECDB_BUSY, vecdb_vacuum(db));
  OK(other, vecdb_close(other));
  OK(db, vecdb_vacuum(db));
  OK(db, vecdb_stat(db, &st));
  CHECK(st.file_bytes<before/2);
  c = api_collection(db, "u", NULL);
  put(1, 1);
  OK(db, vecdb_check(db, 0, NULL, NULL));
  OK(db, vecdb_close(db));
}

/* ---- Interrupts and progress -------------------------------------------- */

struct watch { int n, stop_at, n_backwards; uint64_t done; };
static int watch_progress(void *arg, const vecdb_progress *p){
  struct watch *w = arg;
  CHECK_INT(sizeof(*p), p->size);
  CHECK(p->phase && p->unit);
  /* From inside, the handle is not available. */
  CHECK_RC(VECDB_MISUSE, vecdb_begin(db, VECDB_READ));
  CHECK_RC(VECDB_MISUSE, vecdb_close(db));
  w->n++;
  return w->n==w->stop_at;
}

TEST(progress__may_stop_a_batch){
  struct watch w = { .stop_at = 1 };
  vecdb_collection_stats cs = { .size = sizeof(cs) };
  setup();
  OK(db, vecdb_progress_handler(db, watch_progress, &w));
  float *v = calloc(400000, 16);
  vecdb_column_data d = { sizeof(d), 1, VECDB_VECTOR, VECDB_F32, v, 0, NULL };
  int rc = vecdb_put_many(c, 400000, &d, 1, 0, NULL);
  if( w.n==0 ) SKIP("the batch took less than 0.1 s");
  CHECK_RC(VECDB_INTERRUPT, rc);
  CHECK_STR("interrupted while at insert", vecdb_errmsg(db));
  OK(db, vecdb_collection_stat(c, &cs));
  CHECK_U64(0, cs.n_row);
  OK(db, vecdb_progress_handler(db, NULL, NULL));
  put(1, 3);
  OK(db, vecdb_check(db, 0, NULL, NULL));
  vecdb_close(db);
  free(v);
}

TEST(interrupt__stops_statements_in_progress){
  vecdb_stmt *s;
  setup();
  put(1, 5);
  vecdb_interrupt(db);                          /* nothing runs: no effect */
  OK(db, vecdb_prepare_scan(c, NULL, &s));
  ROW(db, vecdb_step(s));
  vecdb_interrupt(db);
  REFUSES(db, VECDB_INTERRUPT, "interrupted", vecdb_step(s));
  KEYS(db, "1 2 3 4 5 ", s);                    /* begins anew */
  vecdb_close(db);
}

static void *interrupt_soon(void *arg){
  for(int i=0; i<2000; i++){
    usleep(1000);
    vecdb_interrupt(db);
  }
  (void)arg;
  return NULL;
}

TEST(interrupt__comes_from_another_thread){
  pthread_t thread;
  float *v = calloc(300000, 16);
  vecdb_column_data d = { sizeof(d), 1, VECDB_VECTOR, VECDB_F32, v, 0, NULL };
  int rc = VECDB_OK;
  setup();
  pthread_create(&thread, NULL, interrupt_soon, NULL);
  for(int i=0; i<50 && rc==VECDB_OK; i++){
    rc = vecdb_put_many(c, 300000, &d, 1, 0, NULL);
  }
  CHECK_RC(VECDB_INTERRUPT, rc);
  pthread_cancel(thread);
  pthread_join(thread, NULL);
  vecdb_close(db);
  free(v);
}

/* A handle may be shared if its callers take turns; it sees to that itself. */
static void *insert_100(void *arg){
  vecdb_stmt *s = NULL;
  int *n_bad = arg;
  *n_bad += vecdb_prepare_insert(c, 0, &s)!=VECDB_OK;
  for(int i=0; i<100; i++){
    *n_bad += vecdb_bind_vector_text(s, 1, "[1,2,3,4]", (size_t)-1)!=VECDB_OK;
    *n_bad += vecdb_step(s)!=VECDB_DONE;
  }
  *n_bad += vecdb_finalize(s)!=VECDB_OK;
  return NULL;
}

TEST(handle__is_used_by_several_threads_in_turn){
  vecdb_collection_stats cs = { .size = sizeof(cs) };
  pthread_t thread[4];
  int n_bad[4] = { 0 };
  setup();
  for(int i=0; i<4; i++){
    pthread_create(&thread[i], NULL, insert_100, &n_bad[i]);
  }
  for(int i=0; i<4; i++){
    pthread_join(thread[i], NULL);
    CHECK_INT(0, n_bad[i]);
  }
  OK(db, vecdb_collection_stat(c, &cs));
  CHECK_U64(400, cs.n_row);
  vecdb_close(db);
}

static int n_logged;
static void log_count(void *arg, int rc, const char *msg){
  (void)rc;
  CHECK(arg==&n_logged);
  CHECK(msg[0]!=0);
  n_logged++;
}

TEST(log__tells_what_is_no_error_of_a_call){
  const char *path = vt_path("a.vdb");
  char wal[4300];
  FILE *f;
  vecdb_config_log(log_count, &n_logged);
  db = api_open(path, NULL);
  c = api_collection(db, "t", "v float[4]");
  OK(db, vecdb_close(db));
  snprintf(wal, sizeof(wal), "%s-wal", path);
  f = fopen(wal, "wb");                         /* a foreign log is ignored */
  for(int i=0; i<8192; i++) fputc(i*7, f);
  fclose(f);
  db = api_open(path, NULL);
  CHECK(n_logged>0);
  c = api_collection(db, "t", NULL);
  put(1, 1);
  OK(db, vecdb_close(db));
  vecdb_config_log(NULL, NULL);
}
