/* t_file.c -- the file layer: the same behaviour from both implementations,
** then what only one of them can be asked. */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vt.h"
#include "util/mem.h"
#include "pager/file.h"

/* One implementation under test: its functions, and a folder for its files. */
struct side {
  const struct vecdb_file_ops *ops;
  struct vecdb_file_ops *mem;             /* to destroy; NULL for posix */
};

static struct side side_open(bool is_mem){
  struct side s = { &vdb_file_posix, NULL };
  if( is_mem ){
    REQUIRE_RC( VECDB_OK, vdb_file_mem_create(7, &s.mem) );
    s.ops = s.mem;
  }
  return s;
}

/* Every test ends here, so every test proves that nothing leaks. */
static void side_close(struct side *s){
  struct vdb_mem_stats st;
  vdb_file_mem_destroy(s->mem);
  vdb_mem_stats(&st);
  CHECK_U64( 0, st.n_block );
}

static struct vdb_file *file_open(struct side *s, const char *name,
                                  unsigned flags){
  struct vdb_file *f = NULL;
  struct vdb_err err = {0};
  REQUIRE_RC( VECDB_OK, s->ops->open(s->ops->env, vt_path(name), flags, &f,
                                     &err) );
  return f;
}

static int file_try_open(struct side *s, const char *name, unsigned flags,
                         struct vdb_err *err){
  struct vdb_file *f = NULL;
  int rc = s->ops->open(s->ops->env, vt_path(name), flags, &f, err);
  CHECK( (rc==VECDB_OK)==(f!=NULL) );
  if( f ) f->ops->close(f);
  return rc;
}

static void file_put(struct vdb_file *f, uint64_t off, const char *z){
  CHECK_RC( VECDB_OK, f->ops->write(f, off, z, strlen(z), NULL) );
}

static void file_expect(struct vdb_file *f, uint64_t off, const char *z){
  char buf[64] = {0};
  size_t n = 0;
  CHECK_RC( VECDB_OK, f->ops->read(f, off, buf, strlen(z), &n, NULL) );
  CHECK_U64( strlen(z), n );
  CHECK_STR( z, buf );
}

static uint64_t file_size(struct vdb_file *f){
  uint64_t sz = 0;
  CHECK_RC( VECDB_OK, f->ops->size(f, &sz, NULL) );
  return sz;
}

static bool file_exists(struct side *s, const char *name){
  bool yes = false;
  CHECK_RC( VECDB_OK, s->ops->exists(s->ops->env, vt_path(name), &yes) );
  return yes;
}

/* ---- both sides ---------------------------------------------------------- */

static void check_open_flags(struct side *s){
  struct vdb_err err = {0};
  CHECK_RC( VECDB_NOTFOUND, file_try_open(s, "a", 0, &err) );
  CHECK( strstr(err.msg, "cannot open \"")!=NULL );
  CHECK( !file_exists(s, "a") );
  CHECK_RC( VECDB_OK, file_try_open(s, "a", FILE_CREATE, &err) );
  CHECK_RC( VECDB_OK, file_try_open(s, "a", FILE_CREATE, &err) );
  CHECK_RC( VECDB_OK, file_try_open(s, "a", FILE_READONLY, &err) );
  CHECK_RC( VECDB_EXISTS, file_try_open(s, "a", FILE_CREATE|FILE_EXCL, &err) );
  CHECK_RC( VECDB_OK, file_try_open(s, "b", FILE_CREATE|FILE_EXCL, &err) );
  CHECK( file_exists(s, "a") && file_exists(s, "b") );
}

static void check_bytes(struct side *s){
  struct vdb_file *f = file_open(s, "a", FILE_CREATE);
  char buf[16];
  size_t n = 99;

  CHECK_U64( 0, file_size(f) );
  CHECK_RC( VECDB_OK, f->ops->read(f, 5, buf, 4, &n, NULL) );
  CHECK_U64( 0, n );
  file_put(f, 10, "hello");                  /* a hole reads as zero */
  CHECK_U64( 15, file_size(f) );
  CHECK_RC( VECDB_OK, f->ops->read(f, 0, buf, 16, &n, NULL) );
  CHECK_U64( 15, n );
  CHECK_MEM( "\0\0\0\0\0\0\0\0\0\0hello", buf, 15 );
  file_put(f, 12, "LLOW");
  file_expect(f, 10, "heLLOW");
  CHECK_RC( VECDB_OK, f->ops->truncate(f, 12, NULL) );
  CHECK_RC( VECDB_OK, f->ops->truncate(f, 16, NULL) );
  CHECK_RC( VECDB_OK, vdb_file_read_full(f, 10, buf, 6, NULL) );
  CHECK_MEM( "he\0\0\0\0", buf, 6 );         /* what was cut is gone */
  CHECK_RC( VECDB_OK, f->ops->sync(f, NULL) );
  CHECK_RC( VECDB_OK, f->ops->write(f, 0, NULL, 0, NULL) );
  CHECK_U64( 16, file_size(f) );
  f->ops->close(f);
}

static void check_read_full(struct side *s){
  struct vdb_file *f = file_open(s, "a", FILE_CREATE);
  struct vdb_err err = {0};
  char buf[8];
  file_put(f, 0, "abcd");
  memset(buf, 'x', 8);
  CHECK_RC( VECDB_IOERR_SHORT_READ, vdb_file_read_full(f, 2, buf, 4, &err) );
  CHECK_MEM( "cd\0\0xxxx", buf, 8 );
  CHECK( strstr(err.msg, "the file ends after 2")!=NULL );
  f->ops->close(f);
}

static void check_readonly(struct side *s){
  struct vdb_file *f = file_open(s, "a", FILE_CREATE);
  file_put(f, 0, "abcd");
  f->ops->close(f);
  f = file_open(s, "a", FILE_READONLY);
  CHECK_RC( VECDB_READONLY, f->ops->write(f, 0, "x", 1, NULL) );
  CHECK_RC( VECDB_READONLY, f->ops->truncate(f, 0, NULL) );
  CHECK_RC( VECDB_READONLY, f->ops->shm_map(f, 4096, NULL) );
  CHECK_RC( VECDB_READONLY, f->ops->lock(f, 1, LOCK_EXCLUSIVE, NULL) );
  CHECK_RC( VECDB_OK, f->ops->lock(f, 1, LOCK_SHARED, NULL) );
  file_expect(f, 0, "abcd");
  f->ops->close(f);
}

static void check_rename(struct side *s){
  struct vdb_file *a = file_open(s, "a", FILE_CREATE);
  struct vdb_file *b = file_open(s, "b", FILE_CREATE);
  struct file_id ia, ib, in;
  void *env = s->ops->env;

  file_put(a, 0, "aaa");
  file_put(b, 0, "bbb");
  CHECK_RC( VECDB_OK, a->ops->id(a, &ia) );
  CHECK_RC( VECDB_OK, b->ops->id(b, &ib) );
  CHECK( ia.dev==ib.dev && ia.ino!=ib.ino );
  CHECK_RC( VECDB_OK, s->ops->rename(env, vt_path("a"), vt_path("b"), NULL) );
  CHECK( !file_exists(s, "a") );
  CHECK_RC( VECDB_OK, s->ops->path_id(env, vt_path("b"), &in) );
  CHECK_U64( ia.ino, in.ino );
  CHECK_RC( VECDB_NOTFOUND, s->ops->path_id(env, vt_path("a"), &in) );
  file_put(b, 3, "!");                       /* replaced, yet it lives */
  file_expect(b, 0, "bbb!");
  b->ops->close(b);
  b = file_open(s, "b", 0);
  file_expect(b, 0, "aaa");
  b->ops->close(b);
  a->ops->close(a);
  CHECK_RC( VECDB_NOTFOUND, s->ops->rename(env, vt_path("a"), vt_path("c"),
                                           NULL) );
  CHECK_RC( VECDB_OK, s->ops->sync_dir(env, vt_path("b"), NULL) );
}

static void check_unlink(struct side *s){
  struct vdb_file *f = file_open(s, "a", FILE_CREATE);
  struct vdb_file *g;
  void *env = s->ops->env;

  file_put(f, 0, "old");
  CHECK_RC( VECDB_OK, s->ops->unlink(env, vt_path("a"), NULL) );
  CHECK_RC( VECDB_NOTFOUND, s->ops->unlink(env, vt_path("a"), NULL) );
  g = file_open(s, "a", FILE_CREATE);
  CHECK_U64( 0, file_size(g) );
  CHECK_RC( VECDB_OK, f->ops->lock(f, 0, LOCK_EXCLUSIVE, NULL) );
  CHECK_RC( VECDB_OK, g->ops->lock(g, 0, LOCK_EXCLUSIVE, NULL) );
  file_expect(f, 0, "old");
  f->ops->close(f);
  g->ops->close(g);
}

static void check_locks(struct side *s){
  struct vdb_file *a = file_open(s, "a", FILE_CREATE);
  struct vdb_file *b = file_open(s, "a", 0);
  int64_t pid = 5;

  CHECK_RC( VECDB_OK, a->ops->lock(a, 3, LOCK_SHARED, NULL) );
  CHECK_RC( VECDB_OK, b->ops->lock(b, 3, LOCK_SHARED, NULL) );
  CHECK_RC( VECDB_BUSY, a->ops->lock(a, 3, LOCK_EXCLUSIVE, &pid) );
  CHECK_INT( 0, pid );
  CHECK_RC( VECDB_BUSY, b->ops->lock(b, 3, LOCK_EXCLUSIVE, NULL) );
  CHECK_RC( VECDB_OK, b->ops->unlock(b, 3) );
  CHECK_RC( VECDB_OK, a->ops->lock(a, 3, LOCK_EXCLUSIVE, NULL) );
  CHECK_RC( VECDB_BUSY, b->ops->lock(b, 3, LOCK_SHARED, NULL) );
  CHECK_RC( VECDB_OK, b->ops->lock(b, 4, LOCK_EXCLUSIVE, NULL) );
  CHECK_RC( VECDB_OK, a->ops->lock(a, 3, LOCK_EXCLUSIVE, NULL) );
  CHECK_RC( VECDB_OK, a->ops->lock(a, 3, LOCK_SHARED, NULL) );  /* down */
  CHECK_RC( VECDB_OK, b->ops->lock(b, 3, LOCK_SHARED, NULL) );
  CHECK_RC( VECDB_OK, b->ops->unlock(b, 77) );       /* held by nobody */
  a->ops->close(a);
  CHECK_RC( VECDB_OK, b->ops->lock(b, 3, LOCK_EXCLUSIVE, NULL) );
  b->ops->close(b);
}

/* The shared lock survives an upgrade that failed; closing another open file
** of the same file releases nothing of ours (POSIX locks proper would). */
static void check_locks_are_per_open(struct side *s){
  struct vdb_file *a = file_open(s, "a", FILE_CREATE);
  struct vdb_file *b = file_open(s, "a", 0);
  struct vdb_file *c = file_open(s, "a", 0);

  CHECK_RC( VECDB_OK, a->ops->lock(a, 0, LOCK_SHARED, NULL) );
  CHECK_RC( VECDB_OK, b->ops->lock(b, 0, LOCK_SHARED, NULL) );
  CHECK_RC( VECDB_BUSY, a->ops->lock(a, 0, LOCK_EXCLUSIVE, NULL) );
  b->ops->close(b);
  CHECK_RC( VECDB_BUSY, c->ops->lock(c, 0, LOCK_EXCLUSIVE, NULL) );
  CHECK_RC( VECDB_OK, c->ops->lock(c, 0, LOCK_SHARED, NULL) );
  a->ops->close(a);
  CHECK_RC( VECDB_OK, c->ops->lock(c, 0, LOCK_EXCLUSIVE, NULL) );
  c->ops->close(c);
}

static void check_map(struct side *s){
  struct vdb_file *f = file_open(s, "a", FILE_CREATE);
  struct vdb_file *g = file_open(s, "a", 0);
  const void *p = NULL, *q = NULL;
  char big[70000];

  file_put(f, 0, "0123456789");
  CHECK_RC( VECDB_IOERR_MAP, f->ops->map(f, 5, 6, &p, NULL) );
  CHECK_RC( VECDB_IOERR_MAP, f->ops->map(f, 0, 0, &p, NULL) );
  CHECK( p==NULL );
  REQUIRE_RC( VECDB_OK, f->ops->map(f, 2, 8, &p, NULL) );
  CHECK_MEM( "23456789", p, 8 );
  memset(big, 'b', sizeof(big));
  CHECK_RC( VECDB_OK, g->ops->write(g, 100, big, sizeof(big), NULL) );
  CHECK_MEM( "23456789", p, 8 );
  REQUIRE_RC( VECDB_OK, f->ops->map(f, 4096, 60000, &q, NULL) );
  if( f->ops->map_whole ) (void)f->ops->map_whole(f, q, 60000);
  file_put(g, 3, "xyz");                     /* by another, after growth */
  CHECK_MEM( "2xyz6789", p, 8 );
  CHECK_MEM( big, q, 60000 );
  f->ops->unmap(f, p, 8);
  file_put(g, 4096, "Q");
  CHECK_MEM( "Qbb", q, 3 );
  f->ops->unmap(f, q, 60000);
  g->ops->close(g);
  f->ops->close(f);
}

static void check_shm(struct side *s){
  struct vdb_file *a = file_open(s, "a-shm", FILE_CREATE);
  struct vdb_file *b = file_open(s, "a-shm", FILE_CREATE);

  REQUIRE_RC( VECDB_OK, a->ops->shm_map(a, 4096, NULL) );
  REQUIRE_RC( VECDB_OK, b->ops->shm_map(b, 8192, NULL) );
  CHECK( file_size(a)>=8192 );
  CHECK_U64( 0, a->ops->shm_load(a, 8) );
  a->ops->shm_store(a, 8, 0x0123456789abcdefu);
  b->ops->shm_barrier(b);
  CHECK_U64( 0x0123456789abcdefu, b->ops->shm_load(b, 8) );
  CHECK( !b->ops->shm_cas(b, 8, 1, 2) );
  CHECK( b->ops->shm_cas(b, 8, 0x0123456789abcdefu, 2) );
  CHECK_U64( 2, a->ops->shm_load(a, 8) );
  REQUIRE_RC( VECDB_OK, a->ops->shm_map(a, 8192, NULL) );       /* wider */
  b->ops->shm_store(b, 8184, 9);
  CHECK_U64( 9, a->ops->shm_load(a, 8184) );
  CHECK_U64( 2, a->ops->shm_load(a, 8) );
  a->ops->shm_unmap(a);
  b->ops->shm_unmap(b);
  CHECK_RC( VECDB_OK, b->ops->truncate(b, 0, NULL) );
  REQUIRE_RC( VECDB_OK, a->ops->shm_map(a, 4096, NULL) );
  CHECK_U64( 0, a->ops->shm_load(a, 8) );
  a->ops->close(a);
  b->ops->close(b);
}

static void check_clock_and_random(struct side *s){
  void *env = s->ops->env;
  int64_t t0 = s->ops->now_ms(env);
  unsigned char a[32], b[32];

  s->ops->sleep_ms(env, 3);
  CHECK( s->ops->now_ms(env)>=t0+3 );
  CHECK( s->ops->wall_s(env)>1600000000 );
  CHECK( s->ops->pid(env)>0 );
  s->ops->random(env, a, sizeof(a));
  s->ops->random(env, b, sizeof(b));
  CHECK( memcmp(a, b, sizeof(a))!=0 );
}

#define BOTH(id, fn) \
  TEST(file_posix__##id){ \
    struct side s = side_open(false); fn(&s); side_close(&s); \
  } \
  TEST(file_mem__##id){ \
    struct side s = side_open(true); fn(&s); side_close(&s); \
  }
BOTH(follows_open_flags, check_open_flags)
BOTH(keeps_bytes_and_sizes, check_bytes)
BOTH(reports_short_reads, check_read_full)
BOTH(refuses_writes_when_readonly, check_readonly)
BOTH(renames_over_an_open_file, check_rename)
BOTH(keeps_a_removed_file_while_open, check_unlink)
BOTH(excludes_by_locks, check_locks)
BOTH(binds_locks_to_the_open_file, check_locks_are_per_open)
BOTH(shows_later_writes_in_maps, check_map)
BOTH(shares_memory, check_shm)
BOTH(has_a_clock_and_randomness, check_clock_and_random)

/* ---- posix --------------------------------------------------------------- */

/* The compiler does not see that this is fork: where it counts what is covered,
** it would forget what the child's handlers did. */
static pid_t (*volatile plain_fork)(void) = fork;

static int wait_for(pid_t pid){
  int status = 0;
  REQUIRE( waitpid(pid, &status, 0)==pid );
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* The child of a fork neither keeps the parent's locks alive nor can use its
** files (F2). */
TEST(file_posix__gives_up_its_files_in_a_forked_child){
  struct side s = side_open(false);
  struct vdb_file *f = file_open(&s, "a", FILE_CREATE);
  struct vdb_file *g;
  const void *p = NULL;
  char byte = 0;
  int gate[2], ready[2];
  pid_t pid;

  REQUIRE( pipe(gate)==0 && pipe(ready)==0 );
  file_put(f, 0, "abcd");
  REQUIRE_RC( VECDB_OK, f->ops->map(f, 0, 4, &p, NULL) );
  REQUIRE_RC( VECDB_OK, f->ops->shm_map(f, 4096, NULL) );
  REQUIRE_RC( VECDB_OK, f->ops->lock(f, 0, LOCK_EXCLUSIVE, NULL) );
  pid = plain_fork();
  if( pid==0 ){
    uint64_t sz;
    int bad = 0;
    bad += f->ops->write(f, 0, "x", 1, NULL)!=VECDB_MISUSE;
    bad += f->ops->read(f, 0, &byte, 1, &(size_t){0}, NULL)!=VECDB_MISUSE;
    bad += f->ops->sync(f, NULL)!=VECDB_MISUSE;
    bad += f->ops->size(f, &sz, NULL)!=VECDB_MISUSE;
    bad += f->ops->truncate(f, 0, NULL)!=VECDB_MISUSE;
    bad += f->ops->lock(f, 0, LOCK_SHARED, NULL)!=VECDB_MISUSE;
    bad += f->ops->unlock(f, 0)!=VECDB_MISUSE;
    bad += f->ops->map(f, 0, 1, &p, NULL)!=VECDB_MISUSE;
    bad += f->ops->shm_map(f, 8192, NULL)!=VECDB_MISUSE;
    close(gate[1]);
    close(ready[1]);
    bad += read(gate[0], &byte, 1)!=0;       /* until the parent is done */
    bad += f->ops->id(f, &(struct file_id){0,0})!=VECDB_MISUSE;
    f->ops->close(f);
    vt_exit_child(bad);
  }
  close(gate[0]);
  close(ready[1]);
  CHECK_INT( 0, read(ready[0], &byte, 1) );  /* the child's handler has run */
  CHECK_MEM( "abcd", p, 4 );
  f->ops->close(f);                          /* mapped to the last (F1) */
  g = file_open(&s, "a", 0);
  CHECK_RC( VECDB_OK, g->ops->lock(g, 0, LOCK_EXCLUSIVE, NULL) );
  g->ops->close(g);
  close(gate[1]);
  CHECK_INT( 0, wait_for(pid) );
  side_close(&s);
}

/* Another process sees our locks and our shared memory; both outlive nobody:
** its locks vanish when it is killed, its last store stays. */
TEST(file_posix__locks_die_with_their_process){
  struct side s = side_open(false);
  struct vdb_file *f = file_open(&s, "a", FILE_CREATE);
  pid_t pid;

  REQUIRE_RC( VECDB_OK, f->ops->shm_map(f, 4096, NULL) );
  CHECK_RC( VECDB_OK, f->ops->lock(f, 1, LOCK_EXCLUSIVE, NULL) );
  pid = fork();
  if( pid==0 ){
    struct vdb_file *g = file_open(&s, "a", 0);
    if( g->ops->lock(g, 1, LOCK_SHARED, NULL)!=VECDB_BUSY ) _exit(1);
    if( g->ops->lock(g, 2, LOCK_EXCLUSIVE, NULL)!=VECDB_OK ) _exit(2);
    if( g->ops->shm_map(g, 4096, NULL)!=VECDB_OK ) _exit(3);
    g->ops->shm_store(g, 0, 4711);
    for(;;) pause();
  }
  while( f->ops->shm_load(f, 0)!=4711 ) usleep(1000);
  CHECK_RC( VECDB_BUSY, f->ops->lock(f, 2, LOCK_SHARED, NULL) );
  kill(pid, SIGKILL);
  CHECK_INT( 128+SIGKILL, wait_for(pid) );
  CHECK_RC( VECDB_OK, f->ops->lock(f, 2, LOCK_EXCLUSIVE, NULL) );
  CHECK_U64( 4711, f->ops->shm_load(f, 0) );
  f->ops->close(f);
  side_close(&s);
}

TEST(file_posix__opens_regular_files_only){
  struct side s = side_open(false);
  struct vdb_err err = {0};

  REQUIRE( mkdir(vt_path("dir"), 0700)==0 );
  REQUIRE( mkfifo(vt_path("fifo"), 0600)==0 );
  CHECK_RC( VECDB_CANTOPEN, file_try_open(&s, "dir", 0, &err) );
  CHECK_RC( VECDB_CANTOPEN, file_try_open(&s, "dir", FILE_READONLY, &err) );
  CHECK_RC( VECDB_CANTOPEN, file_try_open(&s, "fifo", FILE_READONLY, &err) );
  CHECK( strstr(err.msg, "not a regular file")!=NULL );
  CHECK_RC( VECDB_CANTOPEN, file_try_open(&s, "no/such", FILE_CREATE, &err) );
  side_close(&s);
}

TEST(file_posix__follows_links_unless_told_not_to){
  struct side s = side_open(false);
  char *real = NULL, *link = NULL;
  struct vdb_err err = {0};

  CHECK_RC( VECDB_OK, file_try_open(&s, "a", FILE_CREATE, &err) );
  REQUIRE( symlink(vt_path("a"), vt_path("l"))==0 );
  REQUIRE( symlink(vt_path("nothing"), vt_path("dangling"))==0 );
  CHECK_RC( VECDB_OK, file_try_open(&s, "l", 0, &err) );
  CHECK_RC( VECDB_CANTOPEN, file_try_open(&s, "l", FILE_NOFOLLOW, &err) );
  CHECK_RC( VECDB_OK, s.ops->full_path(NULL, vt_path("a"), &real) );
  CHECK_RC( VECDB_OK, s.ops->full_path(NULL, vt_path("l"), &link) );
  CHECK_STR( real, link );
  vdb_free(link);
  CHECK_RC( VECDB_CANTOPEN, s.ops->full_path(NULL, vt_path("dangling"),
                                             &link) );
  vdb_free(real);
  side_close(&s);
}

/* An absent file has the full path it will have once created. */
TEST(file_posix__resolves_the_path_of_a_file_to_be){
  struct side s = side_open(false);
  char *before = NULL, *after = NULL, *root = NULL;

  REQUIRE( chdir(vt_tmpdir())==0 );
  CHECK_RC( VECDB_OK, s.ops->full_path(NULL, "new.vdb", &before) );
  CHECK_RC( VECDB_OK, file_try_open(&s, "new.vdb", FILE_CREATE, NULL) );
  CHECK_RC( VECDB_OK, s.ops->full_path(NULL, "./new.vdb", &after) );
  CHECK_STR( after, before );
  CHECK_RC( VECDB_OK, s.ops->full_path(NULL, "/new.vdb", &root) );
  CHECK_STR( "/new.vdb", root );
  vdb_free(before);
  vdb_free(after);
  vdb_free(root);
  side_close(&s);
}

/* A log takes after its database, whatever the umask of who makes it. */
TEST(file_posix__gives_a_log_the_mode_of_its_database){
  struct side s = side_open(false);
  struct stat st;

  umask(022);
  CHECK_RC( VECDB_OK, file_try_open(&s, "x.vdb", FILE_CREATE, NULL) );
  REQUIRE( stat(vt_path("x.vdb"), &st)==0 );
  CHECK_INT( 0644, st.st_mode & 0777 );
  REQUIRE( chmod(vt_path("x.vdb"), 0660)==0 );
  CHECK_RC( VECDB_OK, file_try_open(&s, "x.vdb-wal", FILE_CREATE, NULL) );
  REQUIRE( stat(vt_path("x.vdb-wal"), &st)==0 );
  CHECK_INT( 0660, st.st_mode & 0777 );
  side_close(&s);
}

static int posix_try_open(const char *path, unsigned flags){
  struct vdb_file *f = NULL;
  int rc = vdb_file_posix.open(NULL, path, flags, &f, NULL);
  if( f ) f->ops->close(f);
  return rc;
}

/* Whoever may not write a file, or not create one, is told so apart from
** whoever may not even read. */
TEST(file_posix__says_readonly_when_only_reading_is_allowed){
  if( geteuid()==0 && setuid(65534)!=0 ) SKIP("cannot stop being root");
  CHECK_RC( VECDB_READONLY, posix_try_open("/etc/passwd", 0) );
  CHECK_RC( VECDB_OK, posix_try_open("/etc/passwd", FILE_READONLY) );
  CHECK_RC( VECDB_READONLY, posix_try_open("/etc/vecdb-none", FILE_CREATE) );
  CHECK_RC( VECDB_CANTOPEN, posix_try_open("/etc/shadow", FILE_READONLY) );
}

/* A file that may not grow is a full disk; what was there stays. */
TEST(file_posix__says_full_when_the_disk_is){
  struct side s = side_open(false);
  struct vdb_file *f = file_open(&s, "a", FILE_CREATE);
  struct rlimit lim = { 4096, RLIM_INFINITY };
  struct vdb_err err = {0};
  char page[4096] = "full";

  signal(SIGXFSZ, SIG_IGN);
  CHECK_RC( VECDB_OK, f->ops->write(f, 0, page, sizeof(page), NULL) );
  REQUIRE( setrlimit(RLIMIT_FSIZE, &lim)==0 );
  CHECK_RC( VECDB_FULL, f->ops->write(f, 4000, page, sizeof(page), &err) );
  CHECK( strstr(err.msg, "at offset 4096")!=NULL );
  CHECK_RC( VECDB_FULL, f->ops->truncate(f, 8192, NULL) );
  CHECK_RC( VECDB_FULL, f->ops->shm_map(f, 8192, NULL) );
  CHECK_U64( 4096, file_size(f) );
  f->ops->close(f);
  side_close(&s);
}

/* F3: a database must not become somebody's stdout. */
TEST(file_posix__keeps_off_the_standard_descriptors){
  struct side s = side_open(false);
  struct vdb_file *f;
  int fd = dup(0);

  close(0);
  f = file_open(&s, "a", FILE_CREATE);
  CHECK( fcntl(0, F_GETFD)<0 );
  f->ops->close(f);
  dup2(fd, 0);
  close(fd);
  side_close(&s);
}

/* Signals that interrupt system calls are nobody's business. */
static void ignore_alarm(int sig){ (void)sig; }

TEST(file_posix__is_not_disturbed_by_signals){
  struct side s = side_open(false);
  struct vdb_file *f = file_open(&s, "a", FILE_CREATE);
  struct sigaction sa = { .sa_handler = ignore_alarm };
  struct itimerval every = { {0, 200}, {0, 200} }, off = { {0,0}, {0,0} };
  static unsigned char big[1<<20], back[1<<20];

  memset(big, 0x5a, sizeof(big));
  sigaction(SIGALRM, &sa, NULL);             /* without SA_RESTART */
  setitimer(ITIMER_REAL, &every, NULL);
  for(int i=0; i<8; i++){
    CHECK_RC( VECDB_OK, f->ops->write(f, (uint64_t)i<<20, big, sizeof(big),
                                      NULL) );
    CHECK_RC( VECDB_OK, f->ops->sync(f, NULL) );
    CHECK_RC( VECDB_OK, vdb_file_read_full(f, (uint64_t)i<<20, back,
                                           sizeof(back), NULL) );
    CHECK_MEM( big, back, sizeof(big) );
  }
  setitimer(ITIMER_REAL, &off, NULL);
  f->ops->close(f);
  side_close(&s);
}

/* ---- memory -------------------------------------------------------------- */

TEST(file_mem__reboot_empties_shared_memory_and_keeps_files){
  struct side s = side_open(true);
  struct vdb_file *f = file_open(&s, "a", FILE_CREATE);
  struct vdb_file *m = file_open(&s, "a-shm", FILE_CREATE);

  file_put(f, 0, "kept");
  CHECK_RC( VECDB_OK, m->ops->shm_map(m, 4096, NULL) );
  m->ops->shm_store(m, 0, 1);
  f->ops->close(f);
  m->ops->close(m);
  m = file_open(&s, "a-shm", 0);             /* closing alone loses nothing */
  CHECK_RC( VECDB_OK, m->ops->shm_map(m, 4096, NULL) );
  CHECK_U64( 1, m->ops->shm_load(m, 0) );
  m->ops->close(m);
  vdb_file_mem_reboot(s.mem);
  f = file_open(&s, "a", 0);
  m = file_open(&s, "a-shm", 0);
  file_expect(f, 0, "kept");
  CHECK_U64( 0, file_size(m) );
  f->ops->close(f);
  m->ops->close(m);
  side_close(&s);
}

TEST(file_mem__can_be_looked_at_and_set){
  struct side s = side_open(true);
  const unsigned char *p;
  struct vdb_file *f;
  size_t n;

  CHECK_RC( VECDB_NOTFOUND, vdb_file_mem_peek(s.mem, vt_path("a"), &p, &n) );
  CHECK_RC( VECDB_OK, vdb_file_mem_poke(s.mem, vt_path("a"),
                                        (const unsigned char*)"wxyz", 4) );
  f = file_open(&s, "a", 0);
  file_expect(f, 0, "wxyz");
  CHECK_RC( VECDB_OK, vdb_file_mem_poke(s.mem, vt_path("a"),
                                        (const unsigned char*)"ab", 2) );
  CHECK_U64( 2, file_size(f) );
  CHECK_RC( VECDB_OK, vdb_file_mem_peek(s.mem, vt_path("a"), &p, &n) );
  CHECK_U64( 2, n );
  CHECK_MEM( "ab", p, 2 );
  f->ops->close(f);
  side_close(&s);
}

TEST(file_mem__random_follows_from_the_seed){
  unsigned char a[64], b[64], c[64];
  unsigned char *bufs[3] = { a, b, c };
  const uint64_t seeds[3] = { 11, 11, 12 };
  for(int i=0; i<3; i++){
    struct vecdb_file_ops *w = NULL;
    REQUIRE_RC( VECDB_OK, vdb_file_mem_create(seeds[i], &w) );
    w->random(w->env, bufs[i], 64);
    vdb_file_mem_destroy(w);
  }
  CHECK_MEM( a, b, 64 );
  CHECK( memcmp(a, c, 64)!=0 );
}

/* Out of memory is NOMEM at every place, and the file is as it was. */
TEST(file_mem__survives_out_of_memory){
  for(int n=1; ; n++){
    struct side s = side_open(true);
    struct vdb_file *f = NULL;
    char big[9000] = "x";
    int rc;

    vdb_mem_fail_at((uint64_t)n, false);
    rc = s.ops->open(s.ops->env, "a", FILE_CREATE, &f, NULL);
    if( rc==VECDB_OK ) rc = f->ops->write(f, 0, "abc", 3, NULL);
    if( rc==VECDB_OK ) rc = f->ops->write(f, 3, big, sizeof(big), NULL);
    if( rc==VECDB_OK ) rc = f->ops->lock(f, 0, LOCK_SHARED, NULL);
    if( rc==VECDB_OK ) rc = s.ops->rename(s.ops->env, "a", "b", NULL);
    if( vdb_mem_fail_at(0, false)==0 ){
      CHECK_RC( VECDB_OK, rc );
      if( f ) f->ops->close(f);
      side_close(&s);
      CHECK( n>6 );
      return;
    }
    CHECK_RC( VECDB_NOMEM, rc );
    if( f ) f->ops->close(f);
    side_close(&s);
  }
}
