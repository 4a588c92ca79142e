/* run.c -- one execution of a fuzz target: caps, leaks, and who is to blame.
** See fuzz.h.
**
** Memory and time are capped per execution. Time is processor time, as a
** loaded machine must not fail a run: ITIMER_PROF brings SIGPROF when the cap
** has passed. A signal saves the input before it takes its course; under a
** sanitizer, which ends the process its own way, its death callback does.
**
** SPEED  Most executions are short, so what every one of them pays counts. The
** input lies at the end of a buffer that stays, the rest of it poisoned. Of
** ASan's settings those that cost page faults and walks of the stack are
** smaller than usual: what one execution frees fits the quarantine many times
** over. */
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
__attribute__((weak)) void __asan_poison_memory_region(void const volatile *p,
                                                       size_t n);
__attribute__((weak)) void __asan_unpoison_memory_region(
  void const volatile *p, size_t n);

/* Asked for by ASan before main(); ASAN_OPTIONS of the environment come last. */
const char *__asan_default_options(void);
__attribute__((visibility("default"), used))
const char *__asan_default_options(void){
  return "quarantine_size_mb=16:thread_local_quarantine_size_kb=512:"
         "malloc_context_size=8";
}

static const char *run_program = "";
static uint8_t *now_buf;                 /* sz_max bytes, inputs at its end */
static const uint8_t *now_p;             /* the input being executed */
static size_t now_n;
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

void fuzz_seed_text(const char *kind, size_t i, int first, const char *z){
  size_t n = strlen(z), n_first = first>=0;
  char *buf = lab_alloc(n_first + n + 1), name[40];
  if( n_first ) buf[0] = (char)first;
  memcpy(buf + n_first, z, n);
  snprintf(name, sizeof(name), "%s%02zu", kind, i);
  fuzz_seed(name, buf, n_first + n);
  free(buf);
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

/* "fuzz-NAME-HASH", by what it holds. */
static void input_name(char *path, size_t n_path){
  static const char digit[] = "0123456789abcdef";
  uint64_t h = lab_hash(now_n, now_p, now_n);
  size_t n = strlen(fuzz_target.name);
  if( n>n_path - 23 ) n = n_path - 23;
  memcpy(path, "fuzz-", 5);
  memcpy(path + 5, fuzz_target.name, n);
  path += 5 + n;
  *path++ = '-';
  for(int i=60; i>=0; i-=4) *path++ = digit[h>>i & 15];
  *path = 0;
}

static void input_save(void){
  char path[100];
  int fd;
  if( !now_p ) return;
  input_name(path, sizeof(path));
  fd = open(path, O_WRONLY|O_CREAT|O_TRUNC, 0666);
  if( fd<0 || write(fd, now_p, now_n)!=(ssize_t)now_n ){
    say("cannot save the input\n");
  }else{
    say("again: ");
    say(run_program);
    say(" ");
    say(path);
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

/* A copy with nothing readable on either side, so that a byte too far is
** noticed. */
static const uint8_t *input_place(const uint8_t *p, size_t n){
  size_t sz = fuzz_target.sz_max;
  uint8_t *at;
  if( n>sz ) fuzz_fail("an input of %zu bytes, at most %zu", n, sz);
  if( !now_buf ) now_buf = lab_alloc(sz ? sz : 1);
  at = now_buf + sz - n;
  if( __asan_unpoison_memory_region ) __asan_unpoison_memory_region(at, n);
  if( n>0 ) memcpy(at, p, n);
  if( __asan_poison_memory_region ){
    __asan_poison_memory_region(now_buf, sz - n);
  }
  return at;
}

void fuzz_end(void){
  if( fuzz_target.end ) fuzz_target.end();
  if( !now_buf ) return;
  if( __asan_unpoison_memory_region ){
    __asan_unpoison_memory_region(now_buf, fuzz_target.sz_max);
  }
  free(now_buf);
  now_buf = NULL;
}

void fuzz_execute(const uint8_t *p, size_t n){
  struct vdb_mem_stats before, after;

  now_p = input_place(p, n);
  now_n = n;
  clock_renew();
  vdb_mem_stats(&before);
  fuzz_target.one(now_p, n);
  vdb_mem_stats(&after);
  blocks_check(&before, &after);
  if( after.sz_peak>before.sz_now + fuzz_target.mem_max ){
    fuzz_fail("took %llu bytes of memory",
              (unsigned long long)(after.sz_peak - before.sz_now));
  }
  now_p = NULL;
}
