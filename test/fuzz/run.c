/* run.c -- one execution of a fuzz target: caps, leaks, and who is to blame.
** See fuzz.h.
**
** Memory and time are capped per execution. Time is processor time, as a
** loaded machine must not fail a run: ITIMER_PROF brings SIGPROF when the cap
** has passed. A signal saves the input before it takes its course; under a
** sanitizer, which ends the process its own way, its death callback does. */
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "lab/lib_layer.h"
#include "util/mem.h"

/* In every sanitizer's runtime, and nowhere else. */
__attribute__((weak)) void __sanitizer_set_death_callback(void (*fn)(void));

static const char *run_program = "";
static const uint8_t *now_p;             /* the input being executed */
static size_t now_n;
static char now_path[200];               /* where it is saved */
static void (*seed_fn)(void *, const char *, const uint8_t *, size_t);
static void *seed_arg;

const uint8_t *fuzz_input(size_t *n){
  *n = now_n;
  return now_p;
}

void fuzz_seed_to(void (*fn)(void *arg, const char *name, const uint8_t *p,
                             size_t n), void *arg){
  seed_fn = fn;
  seed_arg = arg;
}

void fuzz_seed(const char *name, const void *p, size_t n){
  seed_fn(seed_arg, name, p, n);
}

static void seed_write(void *arg, const char *name, const uint8_t *p,
                       size_t n){
  char path[4096];
  FILE *f;
  snprintf(path, sizeof(path), "%s/%s", (const char*)arg, name);
  f = fopen(path, "wb");
  if( !f || fwrite(p, 1, n, f)!=n || fclose(f)!=0 ){
    fprintf(stderr, "cannot write \"%s\"\n", path);
    exit(1);
  }
}

void fuzz_seeds_write(const char *folder){
  fuzz_seed_to(seed_write, (void*)(uintptr_t)folder);
  fuzz_target.seeds();
}

/* Only what a signal handler may call. */
static void say(const char *z){
  if( write(2, z, strlen(z))<0 ) _exit(3);
}

static void input_save(void){
  int fd;
  if( !now_p ) return;
  fd = open(now_path, O_WRONLY|O_CREAT|O_TRUNC, 0666);
  if( fd<0 || write(fd, now_p, now_n)!=(ssize_t)now_n ){
    say("cannot save the input\n");
  }else{
    say("again: ");
    say(run_program);
    say(" ");
    say(now_path);
    say("\n");
  }
  if( fd>=0 ) close(fd);
  now_p = NULL;
}

void fuzz_fail(const char *fmt, ...){
  va_list ap;
  fflush(stdout);
  dprintf(2, "FAIL %s: ", fuzz_target.name);       /* stderr may be away */
  va_start(ap, fmt);
  vdprintf(2, fmt, ap);
  va_end(ap);
  dprintf(2, "\n");
  abort();
}

void fuzz_ok(int rc, const char *text, const char *file, int line){
  if( rc==VECDB_OK || rc==VECDB_ROW || rc==VECDB_DONE ) return;
  fuzz_fail("%s:%d: %s is %s", file, line, text, vecdb_errname(rc));
}

bool fuzz_clean(int rc, const char *doing, const char *msg){
  switch( rc & 0xff ){
    case VECDB_OK: case VECDB_ROW: case VECDB_DONE:
      return true;
    case VECDB_ERROR: case VECDB_CORRUPT: case VECDB_NOTADB:
    case VECDB_FORMAT: case VECDB_READONLY: case VECDB_FULL:
    case VECDB_CANTOPEN: case VECDB_NOTFOUND: case VECDB_EXISTS:
    case VECDB_MISMATCH: case VECDB_RANGE: case VECDB_TOOBIG:
    case VECDB_UNSUPPORTED: case VECDB_CONSTRAINT: case VECDB_SYNTAX:
    case VECDB_BUSY: case VECDB_ABORT:
      return false;
    case VECDB_IOERR:
      if( rc==VECDB_IOERR_SHORT_READ ) return false;
  }
  fuzz_fail("%s: %s, %s", doing, vecdb_errname(rc), msg ? msg : "");
}

static void signal_take(int sig){
  if( sig==SIGPROF ) say("took too long\n");
  else say("died of a signal\n");
  input_save();
  signal(sig==SIGPROF ? SIGABRT : sig, SIG_DFL);
  raise(sig==SIGPROF ? SIGABRT : sig);
}

static void signals_take(void){
  static const int all[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL,
                             SIGPROF };
  struct sigaction sa;
  memset(&sa, 0, sizeof(sa));
  sa.sa_handler = signal_take;
  for(size_t i=0; i<VDB_ARRAY_LEN(all); i++){
    bool is_theirs = __sanitizer_set_death_callback && all[i]!=SIGPROF
                  && all[i]!=SIGABRT;
    if( !is_theirs ) sigaction(all[i], &sa, NULL);
  }
}

void fuzz_begin(const char *program){
  run_program = program;
  signals_take();
  if( __sanitizer_set_death_callback ){
    __sanitizer_set_death_callback(input_save);
  }
  if( fuzz_target.begin ) fuzz_target.begin();
}

static void clock_set(unsigned seconds){
  struct itimerval t;
  memset(&t, 0, sizeof(t));
  t.it_value.tv_sec = (time_t)seconds;
  setitimer(ITIMER_PROF, &t, NULL);
}

/* Set again only when half of it may have passed: a call per execution would
** cost more than a short execution does. */
static void clock_renew(void){
  static unsigned n_since;
  struct itimerval t;
  if( n_since++ % 16!=0 ) return;
  getitimer(ITIMER_PROF, &t);
  if( t.it_value.tv_sec<(time_t)fuzz_target.seconds_max ){
    clock_set(2*fuzz_target.seconds_max);
  }
}

/* A target that keeps a database open may keep some blocks of it, too. */
static void blocks_check(const struct vdb_mem_stats *before,
                         const struct vdb_mem_stats *after){
  static uint64_t n_first;
  uint64_t n_max = before->n_block;
  if( n_first==0 ) n_first = before->n_block;
  if( fuzz_target.n_keep ) n_max = n_first + fuzz_target.n_keep;
  if( after->n_block>n_max ){
    fuzz_fail("%llu blocks leaked",
              (unsigned long long)(after->n_block - n_max));
  }
}

void fuzz_execute(const uint8_t *p, size_t n){
  struct vdb_mem_stats before, after;
  uint64_t h = lab_hash(n, p, n);
  /* A copy of the very size, so that a byte too far is noticed. */
  uint8_t *copy = lab_alloc(n ? n : 1);

  memcpy(copy, p, n);
  now_p = copy;
  now_n = n;
  snprintf(now_path, sizeof(now_path), "fuzz-%s-%016llx", fuzz_target.name,
           (unsigned long long)h);
  clock_renew();
  vdb_mem_stats(&before);
  fuzz_target.one(copy, n);
  vdb_mem_stats(&after);
  blocks_check(&before, &after);
  if( after.sz_peak>before.sz_now + fuzz_target.mem_max ){
    fuzz_fail("took %llu bytes of memory",
              (unsigned long long)(after.sz_peak - before.sz_now));
  }
  now_p = NULL;
  free(copy);
}
