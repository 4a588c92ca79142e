/* t_churn.c -- graphs whose rows come and go: clusters far apart, another
** process that searches meanwhile, I/O that fails while rows join a graph.
**
** vecdb_check finds a fault in every node of a graph that no search reaches,
** so a sound file has none. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/graph.h"
#include "lab/lib_fault.h"
#include "util/mem.h"
#include "util/rng.h"

static bool is_full(void){ return vt_scale()>=100; }

static void erase_keys(vecdb_collection *c, const int64_t *keys, size_t n){
  vecdb *db = vecdb_collection_db(c);
  vecdb_stmt *s = NULL;
  OK(db, vecdb_prepare_delete(c, &s));
  for(size_t i=0; i<n; i++){
    OK(db, vecdb_bind_int64(s, VECDB_KEY, keys[i]));
    DONE(db, vecdb_step(s));
    OK(db, vecdb_reset(s));
  }
  OK(db, vecdb_finalize(s));
}

static void erase_range(vecdb_collection *c, int64_t lo, int64_t hi){
  for(; lo<hi; lo++) erase_keys(c, &lo, 1);
}

static void sound(vecdb_collection *c){
  vecdb *db = vecdb_collection_db(c);
  if( !OK(db, vecdb_check(db, 0, NULL, NULL)) ) vt_stop();
}

/* ---- Clusters far apart -------------------------------------------------- */

/* Few rows are searched exactly with more effort. */
#define FAR_EF (is_full() ? 128u : 64u)

/* Full size: 40,000 rows of 300 clusters; else as many rows a cluster. */
enum { FAR_PER_CLUSTER = 133, FAR_CLUSTERS = 300, FAR_CLUSTERS_FEW = 24,
       FAR_MAX = FAR_PER_CLUSTER*FAR_CLUSTERS, FAR_QUERIES = 100,
       FAR_ROUNDS = 20 };

struct far {
  vecdb *db;
  vecdb_collection *c;
  struct vdb_rng rng;
  uint64_t n_cluster, next;            /* next: the row to come */
  float apart;
  size_t n;
  int64_t key[FAR_MAX];                /* of the live rows, in no order */
};

/* Centres are 12*apart times as far apart as rows of a cluster are. */
static void far_vector(const struct far *f, uint64_t i, float *v){
  uint64_t cluster = g_hash(i)%f->n_cluster;
  for(uint64_t j=0; j<G_DIMS; j++){
    v[j] = f->apart*(float)(g_hash(cluster*1000+j+7)%100)
         + (float)(g_hash(i*64+j+99991)%4096)/512;
  }
}

static void far_insert(struct far *f, size_t n){
  float *v = malloc(n*G_DIMS*sizeof(*v));
  vecdb_column_data d[2] = {
    { sizeof(d[0]), 0, VECDB_INTEGER, 0, f->key+f->n, 0, NULL },
    { sizeof(d[0]), 1, VECDB_VECTOR, VECDB_F32, v, 0, NULL } };
  REQUIRE(v!=NULL && f->n+n<=FAR_MAX);
  for(size_t i=0; i<n; i++){
    far_vector(f, f->next, v + i*G_DIMS);
    f->key[f->n+i] = (int64_t)f->next++;
  }
  OK(f->db, vecdb_put_many(f->c, n, d, 2, 0, NULL));
  f->n += n;
  free(v);
}

/* Random rows go, as many others come, in one commit. */
static void far_replace(struct far *f, size_t n){
  OK(f->db, vecdb_begin(f->db, VECDB_WRITE));
  for(size_t i=0; i<n; i++){
    size_t at = vdb_rng_below(&f->rng, (uint32_t)f->n);
    erase_keys(f->c, &f->key[at], 1);
    f->key[at] = f->key[--f->n];
  }
  far_insert(f, n);
  OK(f->db, vecdb_commit(f->db));
}

static double far_recall(const struct far *f, uint32_t ef){
  static float q[FAR_QUERIES*G_DIMS], got[FAR_QUERIES*G_K];
  static float want[FAR_QUERIES*G_K];
  static int64_t key[FAR_QUERIES*G_K];
  vecdb_search_options o = g_options(G_K, ef);
  uint32_t n[FAR_QUERIES];
  int n_right = 0;
  for(uint64_t i=0; i<FAR_QUERIES; i++){
    far_vector(f, 1000000+i, q + i*G_DIMS);
  }
  OK(f->db, vecdb_search_many(f->c, &o, FAR_QUERIES, VECDB_F32, q, 0, key,
                              got, n));
  CHECK(strncmp("graph", g_info(f->c).plan, 5)==0);
  o.flags = VECDB_SEARCH_EXACT;
  OK(f->db, vecdb_search_many(f->c, &o, FAR_QUERIES, VECDB_F32, q, 0, key,
                              want, NULL));
  for(int i=0; i<FAR_QUERIES; i++){
    CHECK_U64(G_K, n[i]);
    for(int j=0; j<G_K; j++) n_right += got[i*G_K+j]<=want[i*G_K+G_K-1];
  }
  return (double)n_right/(FAR_QUERIES*G_K);
}

/* Built, then grown by merges, then replaced in rounds. */
static void far_run(float apart){
  static struct far f;
  double first;
  size_t n;
  memset(&f, 0, sizeof(f));
  f.apart = apart;
  f.n_cluster = is_full() ? FAR_CLUSTERS : FAR_CLUSTERS_FEW;
  n = (size_t)f.n_cluster*FAR_PER_CLUSTER;
  vdb_rng_init(&f.rng, vt_seed());
  f.db = api_memory();
  f.c = api_collection(f.db, "t", G_SCHEMA ", merge_rows=100");
  far_insert(&f, n*3/5);
  OK(f.db, g_optimize(f.c));
  sound(f.c);
  CHECK(far_recall(&f, 32)>=0.99);
  CHECK(far_recall(&f, FAR_EF)>=(is_full() ? 1 : 0.995));
  while( f.n<n ){                      /* the rest, by merges */
    far_insert(&f, n-f.n<n/5 ? n-f.n : n/10);
    CHECK_U64(f.n, g_graph_rows(f.c));
    sound(f.c);
  }
  first = far_recall(&f, 32);
  CHECK(first>=0.99);
  CHECK(far_recall(&f, FAR_EF)>=(is_full() ? 0.998 : 0.995));
  for(int i=0; i<FAR_ROUNDS; i++){
    far_replace(&f, n/20);
    CHECK(g_graph_rows(f.c)>=f.n);     /* none is left to the scan */
    sound(f.c);
  }
  CHECK(far_recall(&f, 32)>=first-0.01);
  CHECK(far_recall(&f, FAR_EF)>=(is_full() ? 0.998 : 0.995));
  vecdb_close(f.db);
}

TEST(churn__finds_all_clusters_that_are_far_apart){
  far_run(1);
  far_run(40);
  if( is_full() ) far_run(2000);
}

/* ---- Another process ----------------------------------------------------- */

enum { N_QUERY = 24, N_START = 1600, N_TURN = 30 };
struct answers { int64_t key[N_QUERY*G_K]; float distance[N_QUERY*G_K]; };

static vecdb *open_patient(const char *path, vecdb_collection **c){
  vecdb_options o = VECDB_OPTIONS_INIT;
  vecdb *db;
  o.busy_ms = 20000;
  o.threads = 1;
  db = api_open(path, &o);
  *c = api_collection(db, "t", NULL);
  return db;
}

/* One query after the other: by the graph, a batch of so few would not be. */
static void answers_get(vecdb_collection *c, bool exact, struct answers *a){
  vecdb_search_options o = g_options(G_K, 30);
  static struct answer one;
  float q[G_DIMS];
  if( exact ) o.flags = VECDB_SEARCH_EXACT;
  for(uint64_t i=0; i<N_QUERY; i++){
    g_vector(1000000+i, q);
    g_search(c, &o, VECDB_F32, q, &one);
    REQUIRE_U64(G_K, one.n);
    CHECK_INT(!exact, strncmp("graph", g_info(c).plan, 5)==0);
    memcpy(a->key + i*G_K, one.key, sizeof(one.key[0])*G_K);
    memcpy(a->distance + i*G_K, one.distance, sizeof(one.distance[0])*G_K);
  }
}

static double answers_recall(const struct answers *a, const struct answers *e){
  int n = 0;
  for(int i=0; i<N_QUERY*G_K; i++){
    n += a->distance[i]<=e->distance[i/G_K*G_K + G_K-1];
  }
  return (double)n/(N_QUERY*G_K);
}

/* Wait at most so long for word from the other process; true if it came. */
static bool heard(int fd, int ms){
  struct pollfd p = { fd, POLLIN, 0 };
  char word;
  int n;
  while( (n = poll(&p, 1, ms))<0 && errno==EINTR ){}
  return n>0 && read(fd, &word, 1)>=0;
}
static void tell(int fd){ REQUIRE(write(fd, "x", 1)==1); }

/* One snapshot while the other optimizes; then a new one for each turn. */
static void searcher(const char *path, int fd_in, int fd_out){
  struct answers before, now, exact;
  vecdb_collection *c;
  vecdb *db = open_patient(path, &c);
  bool over = false;
  OK(db, vecdb_begin(db, VECDB_READ));
  answers_get(c, false, &before);
  tell(fd_out);
  while( !over ){
    over = heard(fd_in, 1);
    answers_get(c, false, &now);       /* once more when it is over */
    CHECK_MEM(before.key, now.key, sizeof(now.key));
    CHECK_MEM(before.distance, now.distance, sizeof(now.distance));
    CHECK_U64(N_START, g_graph_rows(c));
  }
  OK(db, vecdb_commit(db));
  tell(fd_out);
  for(over=false; !over; ){
    over = heard(fd_in, 1);
    OK(db, vecdb_begin(db, VECDB_READ));
    answers_get(c, false, &now);
    answers_get(c, true, &exact);
    OK(db, vecdb_commit(db));
    CHECK(answers_recall(&now, &exact)>=0.95);
  }
  sound(c);
  OK(db, vecdb_close(db));
}

/* Rows come and go, merged at their commits and by hand. */
static void turns(vecdb_collection *c, uint64_t lo, uint64_t hi){
  vecdb *db = vecdb_collection_db(c);
  for(uint64_t i=lo; i<hi; i++){
    OK(db, vecdb_begin(db, VECDB_WRITE));
    erase_range(c, (int64_t)i*N_TURN, (int64_t)(i+1)*N_TURN);
    g_fill(c, VECDB_F32, N_START + i*N_TURN, N_START + (i+1)*N_TURN);
    OK(db, vecdb_commit(db));
    OK(db, i%3 ? vecdb_optimize(c, NULL) : g_optimize(c));
  }
}

TEST(churn__leaves_searches_of_another_process_alone){
  const char *path = vt_path("churn.vdb");
  uint64_t n = is_full() ? 40 : 6;
  vecdb_collection *c;
  vecdb *db = api_open(path, NULL);
  int up[2], down[2], status = 0;
  pid_t pid;
  (void)g_table(db, G_SCHEMA ", merge_rows=20", VECDB_F32, N_START);
  OK(db, vecdb_close(db));
  REQUIRE(pipe(up)==0 && pipe(down)==0);
  fflush(NULL);
  if( (pid = fork())==0 ){
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    searcher(path, down[0], up[1]);
    fflush(NULL);
    _exit(vt_has_failed());
  }
  close(up[1]);                        /* its death is heard, too */
  db = open_patient(path, &c);
  CHECK(heard(up[0], 20000));
  turns(c, 0, n);
  tell(down[1]);
  CHECK(heard(up[0], 20000));
  turns(c, n, 2*n);
  tell(down[1]);
  CHECK(waitpid(pid, &status, 0)==pid);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status)==0);
  sound(c);
  OK(db, vecdb_close(db));
}

/* ---- Failing I/O --------------------------------------------------------- */

static const char lab_path[] = "x.vdb";
enum { N_IMAGE = 560, N_JOIN = 40, N_GONE = 60, N_STEP = 3 };

/* Rows of the state after so many steps; the last step changes none. */
static uint64_t state_rows(int step){
  return N_IMAGE + (step>0 ? N_JOIN : 0) - (step>1 ? N_GONE : 0);
}

struct trial {
  const unsigned char *image;          /* a file with a graph */
  size_t sz_image;
  enum lab_call call;
  enum fault_error error;
  uint64_t n;                          /* which call fails */
  bool for_ever, no_mmap;
  int n_done;                          /* steps that said OK */
};

static void trial_fail(const struct trial *t, const char *what, int rc,
                       vecdb *db){
  FAIL("%s %s number %llu%s%s, %d steps done: %s (%s, %s)",
       lab_call_name[t->call], fault_error_name[t->error],
       (unsigned long long)t->n, t->for_ever ? " and later" : "",
       t->no_mmap ? ", without mapping" : "", t->n_done, what,
       vecdb_errname(rc), db ? vecdb_errmsg(db) : "no handle");
}

static vecdb *lab_open(const struct vecdb_file_ops *ops, bool no_mmap,
                       int *rc){
  vecdb_options o = VECDB_OPTIONS_INIT;
  vecdb *db = NULL;
  o.file = ops;
  o.threads = 1;
  o.fixed_seed = 1;
  o.no_mmap = no_mmap;
  o.wal_bytes = 32<<10;                /* checkpoints in between */
  *rc = vecdb_open(lab_path, VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE, &o, &db);
  return db;
}

static int erase_try(vecdb_collection *c, int64_t lo, int64_t hi){
  vecdb_stmt *s = NULL;
  int rc = vecdb_prepare_delete(c, &s);
  for(; rc==VECDB_OK && lo<hi; lo++){
    rc = vecdb_bind_int64(s, VECDB_KEY, lo);
    if( rc==VECDB_OK && (rc = vecdb_step(s))==VECDB_DONE ) rc = VECDB_OK;
    if( rc==VECDB_OK ) rc = vecdb_reset(s);
  }
  vecdb_finalize(s);
  return rc;
}

/* Rows that join the graph at their commit; a ninth that leave, one commit;
** what optimize does then. */
static int step_make(vecdb *db, vecdb_collection *c, int step){
  float v[N_JOIN*G_DIMS];
  int64_t keys[N_JOIN];
  vecdb_column_data d[2] = {
    { sizeof(d[0]), 0, VECDB_INTEGER, 0, keys, 0, NULL },
    { sizeof(d[0]), 1, VECDB_VECTOR, VECDB_F32, v, 0, NULL } };
  int rc;
  if( step==2 ) return vecdb_optimize(c, NULL);
  rc = vecdb_begin(db, VECDB_WRITE);
  for(int i=0; i<N_JOIN; i++){
    keys[i] = N_IMAGE+i;
    g_vector((uint64_t)keys[i], v + i*G_DIMS);
  }
  if( rc==VECDB_OK && step==0 ) rc = vecdb_put_many(c, N_JOIN, d, 2, 0, NULL);
  if( rc==VECDB_OK && step==1 ) rc = erase_try(c, 0, N_GONE);
  return rc==VECDB_OK ? vecdb_commit(db) : rc;
}

static int steps_make(struct trial *t, vecdb *db){
  vecdb_collection *c = NULL;
  int rc = vecdb_collection_open(db, "t", &c);
  for(t->n_done=0; rc==VECDB_OK && t->n_done<N_STEP; ){
    rc = step_make(db, c, t->n_done);
    t->n_done += rc==VECDB_OK;
  }
  return rc;
}

/* Every row of a state in which a database may be, and no other; the graph
** finds them. */
static void state_check(const struct trial *t, vecdb *db, const char *what){
  vecdb_search_options o = g_options(N_IMAGE+N_JOIN+1, 0);
  static struct answer all, a;
  vecdb_collection *c = NULL;
  float q[G_DIMS];
  int rc = vecdb_collection_open(db, "t", &c);
  uint64_t n_left = 0;
  g_vector(1000000, q);
  o.flags = VECDB_SEARCH_EXACT;
  if( rc==VECDB_OK ) rc = g_try(c, &o, VECDB_F32, q, &all);
  if( rc==VECDB_OK ) rc = vecdb_check(db, 0, NULL, NULL);
  o = g_options(G_K, 14);
  if( rc==VECDB_OK ) rc = g_try(c, &o, VECDB_F32, q, &a);
  if( rc!=VECDB_OK ){
    trial_fail(t, what, rc, db);
    return;
  }
  if( all.n!=state_rows(t->n_done) && all.n!=state_rows(t->n_done+1) ){
    trial_fail(t, "rows were lost or came back", (int)all.n, db);
  }
  for(size_t i=0; i<all.n; i++) n_left += (uint64_t)all.key[i]<N_GONE;
  CHECK_U64(all.n==state_rows(2) ? 0 : N_GONE, n_left);
  CHECK(strncmp("graph", g_info(c).plan, 5)==0);
  CHECK_U64(G_K, a.n);
  CHECK(a.n==G_K && memcmp(a.key, all.key, sizeof(a.key[0])*G_K)==0);
}

static bool code_is_right(const struct trial *t, int rc){
  int primary = rc & 0xff;
  return rc==VECDB_OK || primary==VECDB_IOERR || primary==VECDB_FULL
      || primary==VECDB_CANTOPEN
      || (primary==VECDB_BUSY && t->call!=CALL_WRITE);
}

/* The handle goes on once the fault is over, unless a sync failed. */
static void handle_check(const struct trial *t, vecdb *db){
  int rc;
  if( vecdb_in_transaction(db) ) vecdb_rollback(db);
  rc = vecdb_begin(db, VECDB_WRITE);
  if( rc==VECDB_OK ) rc = vecdb_rollback(db);
  if( rc==VECDB_IOERR_SYNC && (t->for_ever || t->call==CALL_SYNC
                               || t->call==CALL_SYNC_DIR) ) return;
  if( rc!=VECDB_OK ) trial_fail(t, "the handle is of no use", rc, db);
  else state_check(t, db, "the handle cannot read");
}

/* A new handle has all, and rows join the graph with it. */
static void reopen_check(struct trial *t, struct vecdb_file_ops *mem){
  int rc;
  vecdb *db = lab_open(mem, t->no_mmap, &rc);
  if( rc!=VECDB_OK ) trial_fail(t, "cannot be opened again", rc, db);
  else state_check(t, db, "cannot be read when opened again");
  if( rc==VECDB_OK ){
    vecdb_collection *c = api_collection(db, "t", NULL);
    g_fill(c, VECDB_F32, 5000, 5000+N_JOIN);     /* joins */
    CHECK(g_graph_rows(c)>=N_IMAGE-N_GONE+N_JOIN);
    sound(c);
  }
  vecdb_close(db);
}

/* False when nothing fired: n is beyond the last such call. */
static bool trial_run(struct trial *t){
  struct vecdb_file_ops *mem = NULL;
  struct vdb_mem_stats st;
  struct fault *f;
  uint64_t n_fired;
  vecdb *db;
  int rc;
  REQUIRE_RC(VECDB_OK, vdb_file_mem_create(5, &mem));
  REQUIRE_RC(VECDB_OK, vdb_file_mem_poke(mem, lab_path, t->image,
                                         t->sz_image));
  f = fault_create(mem);
  fault_set(f, t->call, t->error, t->n, t->for_ever);
  t->n_done = 0;
  db = lab_open(fault_ops(f), t->no_mmap, &rc);
  if( rc==VECDB_OK ) rc = steps_make(t, db);
  n_fired = fault_fired(f);
  if( n_fired==0 ) CHECK_RC(VECDB_OK, rc);
  if( !code_is_right(t, rc) ) trial_fail(t, "the wrong code", rc, db);
  fault_set(f, t->call, t->error, 0, false);
  if( rc!=VECDB_OK && db && t->n_done>0 ) handle_check(t, db);
  vecdb_close(db);
  reopen_check(t, mem);
  fault_destroy(f);
  vdb_file_mem_destroy(mem);
  vdb_mem_stats(&st);
  if( st.n_block ) trial_fail(t, "memory leaks", (int)st.n_block, NULL);
  return n_fired>0;
}

/* Every n, or some, for one kind of failure. */
static uint64_t trials(struct trial *t, uint32_t stride){
  struct vdb_rng r;
  uint64_t n = 0;
  vdb_rng_init(&r, vt_seed() + (uint64_t)t->call*8 + t->error*2
                   + t->for_ever);
  for(t->n=1+vdb_rng_below(&r, stride); trial_run(t); n++){
    t->n += 1 + vdb_rng_below(&r, 2*stride-1);
  }
  return n;
}

TEST(churn__io_errors_lose_no_row){
  struct vecdb_file_ops *mem = NULL;
  struct trial one = { 0 };
  uint64_t n = 0;
  unsigned char *image;
  vecdb *db;
  int rc;
  REQUIRE_RC(VECDB_OK, vdb_file_mem_create(5, &mem));
  db = lab_open(mem, false, &rc);
  REQUIRE_RC(VECDB_OK, rc);
  (void)g_table(db, G_SCHEMA ", merge_rows=30", VECDB_F32, N_IMAGE);
  OK(db, vecdb_close(db));
  REQUIRE_RC(VECDB_OK, vdb_file_mem_peek(mem, lab_path, &one.image,
                                         &one.sz_image));
  image = malloc(one.sz_image);
  REQUIRE(image!=NULL);
  memcpy(image, one.image, one.sz_image);
  one.image = image;
  vdb_file_mem_destroy(mem);
  for(size_t i=0; i<fault_n_call; i++){
    one.call = fault_calls[i];
    for(int e=0; e<4*FAULT_N_ERROR; e++){
      one.error = (enum fault_error)(e/4);
      one.for_ever = e%2!=0;
      one.no_mmap = e/2%2!=0;
      n += trials(&one, is_full() ? 1 : 20);
    }
  }
  printf("  %llu failures\n", (unsigned long long)n);
  CHECK(n>=(is_full() ? 500 : 20));
  free(image);
}
