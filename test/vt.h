/* vt.h -- the test harness: one process per test, typed checks, one summary.
**
** Used by   every program in test/. A file defines its tests with TEST() and
**           includes this header; main() comes with it. A support file that
**           only wants the checks defines VT_NO_MAIN first.
**
**   TEST(wal__drops_a_torn_commit){ CHECK_INT(3, n_frame); }
**
**   t_wal            runs every test of the program
**   t_wal torn       runs those with "torn" in their name
**   t_wal -l         lists them        t_wal -d torn   stays in this process
**
** A failed CHECK reports both values and goes on, a failed REQUIRE ends the
** test. A crash, a hang or a nonzero exit of the child is a failure. `t` is
** the running test. In every check the expected value comes first.
**
** Environment: VECDB_SEED (base of all randomness), VECDB_LAB_SCALE (1..100),
** VECDB_DATA (folder of the data sets), VECDB_KEEP (keep scratch folders),
** VECDB_TEST_LIMIT (seconds a test may take, 60 times the scale by default).
*/
#ifndef VT_H
#define VT_H
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vecdb.h"

struct vt {
  const char *name;                  /* as given to TEST() */
  void (*fn)(struct vt *t);          /* its body */
  struct vt *next;                   /* in the order of definition */
  int n_failed;                      /* checks that failed so far */
  uint64_t seed;                     /* for the test's own randomness */
};

enum { VT_FAIL_MAX = 20, VT_EXIT_FAILED = 1, VT_EXIT_SKIPPED = 77 };

#define TEST(id) \
  static void vt_body_##id(struct vt *t); \
  static struct vt vt_test_##id = { #id, vt_body_##id, NULL, 0, 0 }; \
  __attribute__((constructor)) static void vt_add_##id(void){ \
    vt_add(&vt_test_##id); \
  } \
  static void vt_body_##id(struct vt *t __attribute__((unused)))

/* Ends the test and counts it as neither passed nor failed. Say why. */
#define SKIP(...)  vt_skip(__VA_ARGS__)
#define FAIL(...)  vt_fail(__FILE__, __LINE__, __VA_ARGS__)

/* #g here and not in a helper: the text must not be macro-expanded. */
#define VT_AT              __FILE__, __LINE__
#define CHECK(x)           vt_true(!!(x), #x, VT_AT)
#define CHECK_INT(e, g)    vt_int((e), (g), #g, VT_AT)
#define CHECK_U64(e, g)    vt_u64((e), (g), #g, VT_AT)
#define CHECK_STR(e, g)    vt_str((e), (g), #g, VT_AT)
#define CHECK_RC(e, g)     vt_rc((e), (g), #g, VT_AT)
#define CHECK_DBL(e, g, tolerance)  vt_dbl((e), (g), (tolerance), #g, VT_AT)
#define CHECK_MEM(e, g, sz)         vt_mem((e), (g), (sz), #g, VT_AT)

#define VT_REQUIRE(held)   do{ if( !(held) ) vt_stop(); }while(0)
#define REQUIRE(x)         VT_REQUIRE( vt_true(!!(x), #x, VT_AT) )
#define REQUIRE_INT(e, g)  VT_REQUIRE( vt_int((e), (g), #g, VT_AT) )
#define REQUIRE_U64(e, g)  VT_REQUIRE( vt_u64((e), (g), #g, VT_AT) )
#define REQUIRE_STR(e, g)  VT_REQUIRE( vt_str((e), (g), #g, VT_AT) )
#define REQUIRE_RC(e, g)   VT_REQUIRE( vt_rc((e), (g), #g, VT_AT) )
#define REQUIRE_DBL(e, g, tolerance) \
  VT_REQUIRE( vt_dbl((e), (g), (tolerance), #g, VT_AT) )
#define REQUIRE_MEM(e, g, sz)  VT_REQUIRE( vt_mem((e), (g), (sz), #g, VT_AT) )

/* Each returns true when the check held. */
bool vt_true(bool ok, const char *text, const char *file, int line);
bool vt_int(int64_t e, int64_t g, const char *text, const char *file, int line);
bool vt_u64(uint64_t e, uint64_t g, const char *text, const char *file,
            int line);
bool vt_str(const char *e, const char *g, const char *text, const char *file,
            int line);
bool vt_rc(int e, int g, const char *text, const char *file, int line);
bool vt_dbl(double e, double g, double tolerance, const char *text,
            const char *file, int line);
bool vt_mem(const void *e, const void *g, size_t sz, const char *text,
            const char *file, int line);

/* Report a failure of the running test in words. Always false. */
bool vt_fail(const char *file, int line, const char *fmt, ...)
  __attribute__((format(printf, 3, 4)));
void vt_skip(const char *fmt, ...)
  __attribute__((format(printf, 1, 2), noreturn));
void vt_stop(void) __attribute__((noreturn));      /* end the running test */
/* End a child of fork that the test has made: as _exit, and what it covered is
** counted. */
void vt_exit_child(int status) __attribute__((noreturn));
void vt_add(struct vt *t);

/* A scratch folder of the running test, removed afterwards. The same string
** at each call. vt_path(name) is a file in it; it stays valid for 8 calls. */
const char *vt_tmpdir(void);
const char *vt_path(const char *name);

/* How large a lab test should be: 1 in `make check`, 100 in check-full. */
int vt_scale(void);
/* Has a check of the running test failed so far? */
bool vt_has_failed(void);
/* A number that the test reached, for tools/figures. At full size fewer than
** n_want (0: any) is a failure. */
void vt_figure(const char *name, uint64_t n, uint64_t n_want);
/* Base of the running test's randomness; printed when the test fails. */
uint64_t vt_seed(void);
/* Folder of a data set, NULL when it is not there (then SKIP). The string
** stays valid until the next call. */
const char *vt_data(const char *set);

/* ---------------------------------------------------- the implementation */
#ifndef VT_NO_MAIN
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct vt *vt_first, **vt_last = &vt_first;
static struct vt *vt_now;              /* the running test */
static char vt_dir[4096];              /* its scratch folder, "" before use */

void vt_add(struct vt *t){
  *vt_last = t;
  vt_last = &t->next;
}

void vt_stop(void){
  exit(vt_now->n_failed ? VT_EXIT_FAILED : 0);   /* exit: leak check, gcov */
}

#ifdef VDB_COVERAGE
void __gcov_dump(void);                /* of the compiler's runtime */
#endif

void vt_exit_child(int status){
#ifdef VDB_COVERAGE
  __gcov_dump();
#endif
  _exit(status);
}

bool vt_fail(const char *file, int line, const char *fmt, ...){
  va_list ap;
  printf("  %s:%d: ", file, line);
  va_start(ap, fmt);
  vprintf(fmt, ap);
  va_end(ap);
  printf("\n");
  fflush(stdout);
  if( ++vt_now->n_failed>=VT_FAIL_MAX ){
    printf("  stopped after %d failed checks\n", VT_FAIL_MAX);
    vt_stop();
  }
  return false;
}

void vt_skip(const char *fmt, ...){
  va_list ap;
  printf("skip %s: ", vt_now->name);
  va_start(ap, fmt);
  vprintf(fmt, ap);
  va_end(ap);
  printf("\n");
  exit(vt_now->n_failed ? VT_EXIT_FAILED : VT_EXIT_SKIPPED);
}

bool vt_true(bool ok, const char *text, const char *file, int line){
  return ok || vt_fail(file, line, "%s is false", text);
}

bool vt_int(int64_t e, int64_t g, const char *text, const char *file,
            int line){
  return e==g || vt_fail(file, line, "%s is %" PRId64 ", expected %" PRId64,
                         text, g, e);
}

bool vt_u64(uint64_t e, uint64_t g, const char *text, const char *file,
            int line){
  return e==g || vt_fail(file, line, "%s is %" PRIu64 " (0x%" PRIx64
                         "), expected %" PRIu64 " (0x%" PRIx64 ")",
                         text, g, g, e, e);
}

bool vt_str(const char *e, const char *g, const char *text, const char *file,
            int line){
  if( e && g ? strcmp(e, g)==0 : e==g ) return true;
  return vt_fail(file, line, "%s is %s%s%s, expected %s%s%s", text,
                 g ? "\"" : "", g ? g : "NULL", g ? "\"" : "",
                 e ? "\"" : "", e ? e : "NULL", e ? "\"" : "");
}

/* The name of a code's class: the table is in vecdb.h, so that a test of a low
** layer needs nothing of vecdb.c. */
static const char *vt_rc_name(int rc){
  switch( rc & 0xff ){
#define VT_NAME(name, num, text) case num: return #name;
    VECDB_RESULT_MAP(VT_NAME)
#undef VT_NAME
  }
  return "?";
}

bool vt_rc(int e, int g, const char *text, const char *file, int line){
  return e==g || vt_fail(file, line, "%s is %s (%d, kind %d), expected %s (%d, "
                         "kind %d)", text, vt_rc_name(g), g, g>>8,
                         vt_rc_name(e), e, e>>8);
}

bool vt_dbl(double e, double g, double tolerance, const char *text,
            const char *file, int line){
  if( e==g || fabs(e-g)<=tolerance ) return true;
  return vt_fail(file, line, "%s is %.17g, expected %.17g +- %g",
                 text, g, e, tolerance);
}

bool vt_mem(const void *e, const void *g, size_t sz, const char *text,
            const char *file, int line){
  const unsigned char *a = e, *b = g;
  size_t i = 0;
  while( i<sz && a[i]==b[i] ) i++;
  return i==sz || vt_fail(file, line, "%s differs at byte %zu of %zu: it is "
                          "0x%02x, expected 0x%02x", text, i, sz, b[i], a[i]);
}

static const char *vt_env(const char *name, const char *otherwise){
  const char *z = getenv(name);
  return z && z[0] ? z : otherwise;
}

int vt_scale(void){
  int n = atoi(vt_env("VECDB_LAB_SCALE", "1"));
  return n<1 ? 1 : n>100 ? 100 : n;
}

bool vt_has_failed(void){
  return vt_now->n_failed>0;
}

void vt_figure(const char *name, uint64_t n, uint64_t n_want){
  printf("figure %s %" PRIu64 "\n", name, n);
  if( vt_scale()>=100 && n<n_want ){
    vt_fail(__FILE__, __LINE__, "%s: %" PRIu64 ", expected at least %" PRIu64,
            name, n, n_want);
  }
}

uint64_t vt_seed(void){
  return vt_now->seed;
}

const char *vt_tmpdir(void){
  if( mkdir(vt_dir, 0700) && errno!=EEXIST ){
    vt_fail(__FILE__, __LINE__, "cannot create \"%s\": %s", vt_dir,
            strerror(errno));
    vt_stop();
  }
  return vt_dir;
}

const char *vt_path(const char *name){
  static char ring[8][4200];
  static unsigned i_ring;
  char *z = ring[i_ring++ % 8];
  snprintf(z, sizeof(ring[0]), "%s/%s", vt_tmpdir(), name);
  return z;
}

const char *vt_data(const char *set){
  static char path[4096];
  const char *dir = vt_env("VECDB_DATA", VDB_SRCDIR "/../shared/data");
  snprintf(path, sizeof(path), "%s/%s", dir, set);
  return access(path, R_OK)==0 ? path : NULL;
}

static int vt_unlink(const char *path, const struct stat *st, int type,
                     struct FTW *ftw){
  (void)st; (void)type; (void)ftw;
  return remove(path);
}

/* The parent names the folder, so that it can also clean up after a crash. */
static void vt_name_dir(int i_test){
  snprintf(vt_dir, sizeof(vt_dir), "%s/vecdb-test-%ld-%d",
           vt_env("TMPDIR", "/tmp"), (long)getpid(), i_test);
}

static void vt_remove_dir(void){
  if( access(vt_dir, F_OK)!=0 ) return;
  if( getenv("VECDB_KEEP") ) printf("  kept %s\n", vt_dir);
  else nftw(vt_dir, vt_unlink, 16, FTW_DEPTH|FTW_PHYS);
}

static double vt_clock(void){
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (double)ts.tv_sec + 1e-9*(double)ts.tv_nsec;
}

static double vt_limit(void){
  double s = atof(vt_env("VECDB_TEST_LIMIT", "0"));
  return s>0 ? s : 60.0*vt_scale();
}

/* Wait for the child; past the time limit kill it and its whole process
** group, and report that through *timed_out. */
static int vt_wait(pid_t pid, bool *timed_out){
  const struct timespec nap = { 1, 0 };
  double t_end = vt_clock() + vt_limit();
  int status = 0;
  sigset_t set;

  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);              /* blocked in main() */
  while( waitpid(pid, &status, WNOHANG)==0 ){
    if( !*timed_out && vt_clock()>t_end ){
      *timed_out = true;
      kill(-pid, SIGKILL);
    }
    sigtimedwait(&set, NULL, &nap);
  }
  kill(-pid, SIGKILL);                   /* what the test left running */
  return status;
}

static void vt_child(struct vt *t){
  sigset_t set;
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  sigprocmask(SIG_UNBLOCK, &set, NULL);
  t->fn(t);
  vt_stop();
}

/* Run one test in its own process. Returns its exit status, 1 for whatever
** ended it badly, after saying what that was. */
static int vt_run(struct vt *t){
  bool timed_out = false;
  int status;
  pid_t pid;

  fflush(NULL);
  pid = fork();
  if( pid==0 ) vt_child(t);
  if( pid<0 ){
    printf("  cannot fork: %s\n", strerror(errno));
    return VT_EXIT_FAILED;
  }
  status = vt_wait(pid, &timed_out);
  if( timed_out ){
    printf("  took longer than %g s\n", vt_limit());
  }else if( WIFSIGNALED(status) ){
    printf("  killed by signal %d (%s)\n", WTERMSIG(status),
           strsignal(WTERMSIG(status)));
  }else if( WEXITSTATUS(status)==0 || WEXITSTATUS(status)==VT_EXIT_SKIPPED ){
    return WEXITSTATUS(status);
  }else if( WEXITSTATUS(status)!=VT_EXIT_FAILED ){
    printf("  exited with status %d\n", WEXITSTATUS(status));
  }
  return VT_EXIT_FAILED;
}

static bool vt_chosen(const struct vt *t, char **names, int n){
  for(int i=0; i<n; i++){
    if( strstr(t->name, names[i]) ) return true;
  }
  return n==0;
}

/* A fresh seed each day would hide a failure from whoever looks at it later,
** so the seed is fixed unless the environment gives another. */
static uint64_t vt_seed_base(void){
  return strtoull(vt_env("VECDB_SEED", "1"), NULL, 0);
}

static void vt_report_failure(const struct vt *t, const char *program){
  printf("FAIL %s\n  again: VECDB_SEED=%" PRIu64 " VECDB_LAB_SCALE=%d %s %s\n",
         t->name, t->seed, vt_scale(), program, t->name);
}

int main(int argc, char **argv){
  int n_passed = 0, n_failed = 0, n_skipped = 0, i_test = 0;
  bool list = argc>1 && strcmp(argv[1], "-l")==0;
  bool direct = argc>1 && strcmp(argv[1], "-d")==0;
  char **names = argv + 1 + (list || direct);
  int n_name = argc - 1 - (list || direct);
  sigset_t set;

  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  if( !direct ) sigprocmask(SIG_BLOCK, &set, NULL);
  setvbuf(stdout, NULL, _IOLBF, 0);
  for(struct vt *t=vt_first; t; t=t->next){
    if( !vt_chosen(t, names, n_name) ) continue;
    if( list ){
      puts(t->name);
      continue;
    }
    t->seed = vt_seed_base();
    vt_now = t;
    vt_name_dir(i_test++);
    if( direct ){                        /* for a debugger */
      t->fn(t);
    }else switch( vt_run(t) ){
      case 0:               n_passed++;  break;
      case VT_EXIT_SKIPPED: n_skipped++; break;
      default:              n_failed++;  vt_report_failure(t, argv[0]);
    }
    vt_remove_dir();
  }
  if( list || direct ) return 0;
  printf("%d passed, %d failed", n_passed, n_failed);
  if( n_skipped ) printf(", %d skipped", n_skipped);
  printf("\n");
  if( n_failed ) return VT_EXIT_FAILED;
  return n_passed ? 0 : n_skipped ? VT_EXIT_SKIPPED : VT_EXIT_FAILED;
}
#endif /* VT_NO_MAIN */
#endif
