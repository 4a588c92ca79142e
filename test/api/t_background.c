/* t_background.c -- optimize=background: a thread keeps graphs current. What it
** does when is not decided here: tests wait, with a bound, for it to be idle, and
** look at what is so then.
*/
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/graph.h"

#include "pager/file.h"

#define BG_SCHEMA  G_SCHEMA ", optimize=background, merge_rows=100"
#define BG_WAIT_MS 120000

static vecdb_background_info bg_info(vecdb *db){
  vecdb_background_info i = { .size = sizeof(i) };
  OK(db, vecdb_background(db, &i));
  return i;
}

static vecdb_background_info bg_wait(vecdb *db){
  vecdb_background_info i = bg_info(db);
  for(int ms=0; i.state==VECDB_BACKGROUND_BUSY && ms<BG_WAIT_MS; ms+=2){
    usleep(2000);
    i = bg_info(db);
  }
  CHECK_U64(VECDB_BACKGROUND_IDLE, i.state);
  return i;
}

static vecdb *bg_open(const char *path, const struct vecdb_file_ops *ops){
  vecdb_options o = VECDB_OPTIONS_INIT;
  o.sync = VECDB_SYNC_OFF;
  o.threads = 1;
  o.busy_ms = 60000;
  o.file = ops;
  return api_open(path, &o);
}

/* Threads of this process; -1 where it cannot be told: ThreadSanitizer has one of
** its own, and none may start after a fork. */
#ifdef __SANITIZE_THREAD__
#define BG_IS_TSAN 1
#else
#define BG_IS_TSAN 0
#endif
/* AddressSanitizer's allocator, unlike that of libc, takes no care of its locks
** in fork(): one that another thread holds then is held for ever in the child. */
#if defined(__SANITIZE_ADDRESS__)
# define BG_IS_ASAN 1
#elif defined(__has_feature)
# if __has_feature(address_sanitizer)
#  define BG_IS_ASAN 1
# endif
#endif
#ifndef BG_IS_ASAN
# define BG_IS_ASAN 0
#endif
static int bg_threads(void){
  DIR *d = opendir("/proc/self/task");
  int n = -2;                                     /* . and .. */
  if( d==NULL ) return -1;
  if( BG_IS_TSAN ){
    closedir(d);
    return -1;
  }
  while( readdir(d)!=NULL ) n++;
  closedir(d);
  return n;
}

static void bg_good(vecdb_collection *c, uint64_t n_row){
  vecdb_search_options o = g_options(G_K, 60);
  vecdb_collection_stats st = { .size = sizeof(st) };
  vecdb *db = vecdb_collection_db(c);
  OK(db, vecdb_collection_stat(c, &st));
  CHECK_U64(n_row, st.n_row);
  CHECK(g_recall(c, &o, VECDB_F32, 40)>=0.97);
  CHECK_STR("graph", g_info(c).plan);
  OK(db, vecdb_check(db, 0, NULL, NULL));
}

/* ---- What it is for ------------------------------------------------------ */

TEST(background__keeps_graphs_current){
  int n_before = bg_threads();
  vecdb *db = bg_open(vt_path("t.vdb"), NULL);
  vecdb_collection *c = g_table(db, BG_SCHEMA, VECDB_F32, 600);
  vecdb_background_info i = bg_info(db);
  uint64_t n = 600;
  CHECK_U64(VECDB_BACKGROUND_NONE, i.state);
  for(; n<1600; n+=125) g_fill(c, VECDB_F32, n, n+125);
  i = bg_wait(db);
  CHECK_U64(n, g_graph_rows(c));
  CHECK(i.n_done>0);
  CHECK_U64(0, i.n_failed);
  CHECK_INT(VECDB_OK, i.rc);
  bg_good(c, n);
  if( n_before>0 ) CHECK_INT(n_before+1, bg_threads());
  OK(db, vecdb_close(db));
  if( n_before>0 ) CHECK_INT(n_before, bg_threads());
}

TEST(background__starts_no_thread_unless_asked){
  int n_before = bg_threads();
  vecdb *db = bg_open(vt_path("t.vdb"), NULL);
  vecdb_collection *a = g_table(db, G_SCHEMA ", merge_rows=100", VECDB_F32, 600);
  vecdb_collection *b = api_collection(db, "b", BG_SCHEMA);
  g_fill(a, VECDB_F32, 600, 900);
  CHECK_U64(900, g_graph_rows(a));
  g_fill(b, VECDB_F32, 0, 50);                    /* nothing to do there */
  CHECK_U64(VECDB_BACKGROUND_NONE, bg_info(db).state);
  CHECK_INT(n_before, bg_threads());
  OK(db, vecdb_close(db));
}

TEST(background__takes_dead_rows_out){
  vecdb *db = bg_open(vt_path("t.vdb"), NULL);
  vecdb_collection *c = g_table(db, BG_SCHEMA, VECDB_F32, 2000);
  vecdb_stmt *s = NULL;
  OK(db, vecdb_begin(db, VECDB_WRITE));
  OK(db, vecdb_prepare_delete(c, &s));
  for(int64_t i=0; i<700; i++){
    OK(db, vecdb_bind_int64(s, VECDB_KEY, i));
    DONE(db, vecdb_step(s));
    OK(db, vecdb_reset(s));
  }
  OK(db, vecdb_finalize(s));
  OK(db, vecdb_commit(db));
  bg_wait(db);
  CHECK_U64(1300, g_graph_rows(c));
  bg_good(c, 1300);
  OK(db, vecdb_close(db));
}

TEST(background__serves_all_handles_of_a_file_with_one_thread){
  int n_before = bg_threads();
  vecdb *a = bg_open(vt_path("t.vdb"), NULL), *b;
  vecdb_collection *ca = g_table(a, BG_SCHEMA, VECDB_F32, 600), *cb;
  b = bg_open(vt_path("t.vdb"), NULL);
  cb = api_collection(b, "t", NULL);
  g_fill(ca, VECDB_F32, 600, 800);
  g_fill(cb, VECDB_F32, 800, 1000);
  bg_wait(a);
  bg_wait(b);
  if( n_before>0 ) CHECK_INT(n_before+1, bg_threads());
  OK(a, vecdb_close(a));
  g_fill(cb, VECDB_F32, 1000, 1200);
  bg_wait(b);
  CHECK_U64(1200, g_graph_rows(cb));
  bg_good(cb, 1200);
  OK(b, vecdb_close(b));
  if( n_before>0 ) CHECK_INT(n_before, bg_threads());
}

TEST(background__is_the_commit_in_memory){
  vecdb *db = api_memory();
  vecdb_collection *c = g_table(db, BG_SCHEMA, VECDB_F32, 600);
  g_fill(c, VECDB_F32, 600, 800);
  CHECK_U64(800, g_graph_rows(c));
  CHECK_U64(VECDB_BACKGROUND_NONE, bg_info(db).state);
  OK(db, vecdb_close(db));
}

/* ---- In the middle of work ----------------------------------------------- */

/* So many rows at once are at work for a while: whatever comes finds it busy. */
enum { BG_FEW = 600, BG_MANY = 2500 };

TEST(background__can_be_stopped_in_its_work){
  const char *path = vt_path("t.vdb");
  vecdb *db = bg_open(path, NULL);
  vecdb_collection *c = g_table(db, BG_SCHEMA, VECDB_F32, BG_FEW);
  uint64_t n = BG_FEW+BG_MANY;
  g_fill(c, VECDB_F32, BG_FEW, n);
  OK(db, vecdb_close(db));
  db = bg_open(path, NULL);
  c = api_collection(db, "t", NULL);
  OK(db, vecdb_check(db, 0, NULL, NULL));
  g_fill(c, VECDB_F32, n, n+110);
  OK(db, vecdb_vacuum(db));                       /* needs to be alone */
  g_fill(c, VECDB_F32, n+110, n+220);
  OK(db, vecdb_checkpoint(db, VECDB_CHECKPOINT_PASSIVE, NULL, NULL));
  bg_wait(db);
  CHECK_U64(n+220, g_graph_rows(c));
  CHECK_U64(0, bg_info(db).n_failed);
  bg_good(c, n+220);
  OK(db, vecdb_close(db));
}

/* The thread waits for the lock that the test holds: who needs to be alone with
** the file interrupts it, and it waits again. */
TEST(background__can_be_held_while_it_waits){
  const char *path = vt_path("t.vdb");
  vecdb *a = bg_open(path, NULL), *b;
  vecdb_collection *ca = g_table(a, BG_SCHEMA, VECDB_F32, BG_FEW), *cb;
  uint64_t n = BG_FEW+250;
  b = bg_open(path, NULL);
  cb = api_collection(b, "t", NULL);
  OK(b, vecdb_set(b, "busy_ms", 1));
  g_fill(cb, VECDB_F32, BG_FEW, BG_FEW+125);
  bg_wait(b);
  g_fill(ca, VECDB_F32, BG_FEW+125, n);
  OK(a, vecdb_begin(a, VECDB_WRITE));
  usleep(300000);
  CHECK_RC(VECDB_BUSY, vecdb_vacuum(b));
  OK(a, vecdb_rollback(a));
  bg_wait(a);
  CHECK_U64(0, bg_info(a).n_failed);
  CHECK_U64(n, g_graph_rows(cb));
  OK(a, vecdb_close(a));
  OK(b, vecdb_close(b));
}

/* Commits while the thread is at something long make graphs of their rows. */
TEST(background__commits_help_where_it_is_outrun){
  vecdb *db = bg_open(vt_path("t.vdb"), NULL);
  vecdb_collection *c = g_table(db, BG_SCHEMA, VECDB_F32, BG_FEW);
  uint64_t n = BG_FEW;
  for(int i=0; i<6; i++, n+=500) g_fill(c, VECDB_F32, n, n+500);
  bg_wait(db);
  CHECK_U64(n, g_graph_rows(c));
  CHECK_U64(0, bg_info(db).n_failed);
  bg_good(c, n);
  OK(db, vecdb_close(db));
}

TEST(background__builds_a_first_graph){
  vecdb *db = bg_open(vt_path("t.vdb"), NULL);
  vecdb_collection *c = api_collection(db, "t", BG_SCHEMA);
  if( BG_IS_TSAN ) SKIP("a minute of work under ThreadSanitizer");
  g_fill(c, VECDB_F32, 0, 19999);
  CHECK_U64(VECDB_BACKGROUND_NONE, bg_info(db).state);
  g_fill(c, VECDB_F32, 19999, 20000);
  bg_wait(db);
  CHECK_U64(20000, g_graph_rows(c));
  bg_good(c, 20000);
  OK(db, vecdb_close(db));
}

/* The thread keeps the limit that is set while it is there. */
TEST(background__keeps_a_limit_of_memory_that_is_set_later){
  vecdb *db = bg_open(vt_path("limit.vdb"), NULL);
  vecdb_collection *c = g_table(db, BG_SCHEMA, VECDB_F32, 600);
  vecdb_background_info i;
  g_fill(c, VECDB_F32, 600, 800);
  i = bg_wait(db);
  CHECK_U64(800, g_graph_rows(c));
  CHECK_U64(0, i.n_failed);
  OK(db, vecdb_set(db, "build_bytes", 1<<20));     /* some 460 rows */
  g_fill(c, VECDB_F32, 800, 3000);
  i = bg_wait(db);
  CHECK(i.n_failed>0);
  CHECK_INT(VECDB_TOOBIG, i.rc);
  CHECK_U64(800, g_graph_rows(c));
  OK(db, vecdb_set(db, "build_bytes", 0));
  g_fill(c, VECDB_F32, 3000, 3200);
  bg_wait(db);
  bg_good(c, 3200);
  CHECK_U64(3200, g_graph_rows(c));
  OK(db, vecdb_close(db));
}

/* A child has no thread, and its parent's is none of its business. */
TEST(background__is_not_there_in_a_child){
  const char *path = vt_path("t.vdb");
  vecdb *db = bg_open(path, NULL);
  vecdb_collection *c = g_table(db, BG_SCHEMA, VECDB_F32, 600);
  int status = -1;
  pid_t pid;
  if( BG_IS_TSAN ) SKIP("ThreadSanitizer starts no thread after a fork");
  g_fill(c, VECDB_F32, 600, 800);
  if( BG_IS_ASAN ) bg_wait(db);
  pid = fork();
  REQUIRE( pid>=0 );
  if( pid==0 ){
    vecdb_background_info i = { .size = sizeof(i) };
    bool good = vecdb_background(db, &i)==VECDB_MISUSE
             && vecdb_close(db)==VECDB_MISUSE;
    vecdb *own = bg_open(path, NULL);
    vecdb_collection *cc = api_collection(own, "t", NULL);
    g_fill(cc, VECDB_F32, 800, 1000);
    bg_wait(own);
    good = vecdb_close(own)==VECDB_OK && good;
    _exit(good ? 0 : 1);
  }
  CHECK_INT(pid, waitpid(pid, &status, 0));
  CHECK( WIFEXITED(status) && WEXITSTATUS(status)==0 );
  g_fill(c, VECDB_F32, 1000, 1200);
  bg_wait(db);
  bg_good(c, 1200);
  CHECK_U64(1200, g_graph_rows(c));
  OK(db, vecdb_close(db));
}

/* Several processes write and tend the same table. */
TEST(background__works_beside_other_processes){
  const char *path = vt_path("t.vdb");
  vecdb *db = bg_open(path, NULL);
  vecdb_collection *c = g_table(db, BG_SCHEMA, VECDB_F32, 600);
  pid_t pid[2];
  OK(db, vecdb_close(db));
  for(uint64_t p=0; p<2; p++){
    pid[p] = fork();
    REQUIRE( pid[p]>=0 );
    if( pid[p]==0 ){
      db = bg_open(path, NULL);
      c = api_collection(db, "t", NULL);
      for(uint64_t n=0; n<10; n++){
        uint64_t at = 10000*(p+1) + 60*n;
        g_fill(c, VECDB_F32, at, at+60);
      }
      bg_wait(db);
      _exit(vecdb_close(db)==VECDB_OK && !vt_has_failed() ? 0 : 1);
    }
  }
  for(int p=0; p<2; p++){
    int status = -1;
    CHECK_INT(pid[p], waitpid(pid[p], &status, 0));
    CHECK( WIFEXITED(status) && WEXITSTATUS(status)==0 );
  }
  db = bg_open(path, NULL);
  c = api_collection(db, "t", NULL);
  g_fill(c, VECDB_F32, 50000, 50120);
  bg_wait(db);
  CHECK_U64(1920, g_graph_rows(c));
  bg_good(c, 1920);
  OK(db, vecdb_close(db));
}

/* A process that dies in the middle leaves a database that is sound, and the
** next one goes on. */
TEST(background__dies_with_its_process){
  const char *path = vt_path("t.vdb");
  vecdb *db = bg_open(path, NULL);
  vecdb_collection *c = g_table(db, BG_SCHEMA, VECDB_F32, BG_FEW);
  vecdb_collection_stats st = { .size = sizeof(st) };
  uint64_t n = BG_FEW;
  OK(db, vecdb_close(db));
  if( BG_IS_TSAN ) SKIP("ThreadSanitizer starts no thread after a fork");
  for(uint64_t round=0; round<5; round++){
    int fd[2], status;
    char one;
    pid_t pid;
    REQUIRE( pipe(fd)==0 );
    pid = fork();
    REQUIRE( pid>=0 );
    if( pid==0 ){
      db = bg_open(path, NULL);
      c = api_collection(db, "t", NULL);
      for(uint64_t at=10000*(round+1); ; at+=110){
        g_fill(c, VECDB_F32, at, at+110);
        if( write(fd[1], "x", 1)!=1 ) _exit(1);
      }
    }
    for(uint64_t i=0; i<2+round; i++) REQUIRE( read(fd[0], &one, 1)==1 );
    usleep((useconds_t)(1000*round*round));
    kill(pid, SIGKILL);
    CHECK_INT(pid, waitpid(pid, &status, 0));
    close(fd[0]);
    close(fd[1]);
    db = bg_open(path, NULL);
    c = api_collection(db, "t", NULL);
    OK(db, vecdb_collection_stat(c, &st));
    CHECK( st.n_row>=n+110*(2+round) && (st.n_row-n)%110==0 );
    n = st.n_row;
    OK(db, vecdb_check(db, 0, NULL, NULL));      /* nothing leaks */
    OK(db, vecdb_close(db));
  }
  db = bg_open(path, NULL);
  c = api_collection(db, "t", NULL);
  g_fill(c, VECDB_F32, 900000, 900110);
  bg_wait(db);
  CHECK_U64(n+110, g_graph_rows(c));
  bg_good(c, n+110);
  OK(db, vecdb_close(db));
}

/* ---- Failures ------------------------------------------------------------ */

/* A file system that fails to write for all threads but the test's. */
static struct {
  struct vecdb_file_ops ops, *real;
  pthread_t main;
  int is_armed;
} bad;

static int bad_write(struct vdb_file *f, uint64_t off, const void *buf,
                     size_t n, struct vdb_err *err){
  if( __atomic_load_n(&bad.is_armed, __ATOMIC_ACQUIRE)
   && !pthread_equal(pthread_self(), bad.main) ){
    return vdb_error(err, VECDB_IOERR_WRITE, "cannot write: no disk today");
  }
  return bad.real->write(f, off, buf, n, err);
}

TEST(background__keeps_what_failed_and_goes_on){
  vecdb_background_info i;
  vecdb_collection *c;
  vecdb *db;
  REQUIRE_RC(VECDB_OK, vdb_file_mem_create(vt_seed(), &bad.real));
  bad.ops = *bad.real;
  bad.ops.write = bad_write;
  bad.main = pthread_self();
  db = bg_open("x.vdb", &bad.ops);
  c = g_table(db, BG_SCHEMA, VECDB_F32, 600);
  __atomic_store_n(&bad.is_armed, 1, __ATOMIC_RELEASE);
  g_fill(c, VECDB_F32, 600, 800);
  i = bg_wait(db);
  CHECK(i.n_failed>0);
  CHECK_INT(VECDB_IOERR_WRITE, i.rc);
  CHECK_STR("cannot write: no disk today", i.message);
  CHECK_U64(600, g_graph_rows(c));
  OK(db, vecdb_check(db, 0, NULL, NULL));
  __atomic_store_n(&bad.is_armed, 0, __ATOMIC_RELEASE);
  g_fill(c, VECDB_F32, 800, 1000);                /* asks again */
  i = bg_wait(db);
  CHECK(i.n_done>0 && i.n_failed>0);              /* still told */
  CHECK_U64(1000, g_graph_rows(c));
  bg_good(c, 1000);
  OK(db, vecdb_close(db));
  vdb_file_mem_destroy(bad.real);
}
