/* t_corrupt.c -- damaged files: never a crash, a hang or a wrong answer.
**
** A file with a log beside it is damaged in one place and used in every way.
**
**   repaired    a field of format.def gets a strange value and all checksums
**               are made right again: any clean error is an answer, and so is
**               success; nothing may crash, hang, leak or ask for much memory
**   not         single bits, and cuts at any length: the checksums must
**   repaired    notice, unless what is read is what was written
**
** Damage to the newest transaction of the log cannot be told from a commit
** that never finished: there the state before it is an answer, too. So is
** the last checkpoint when the header of the log is damaged, for that is how
** a log looks that was being started anew. An empty file is a new database. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "vt.h"
#include "util/bytes.h"
#include "util/mem.h"
#include "util/rng.h"
#include "pager/format.h"
#include "lab/lib_layer.h"
#include "lab/lib_mutate.h"
#include "lab/lib_toy.h"

enum { MEM_MAX = 64<<20, SECONDS_MAX = 20, N_COMMIT_HOME = 4, N_COMMIT = 9 };

static char damage[256] = "none";       /* what is being tried, for a report */

/* ---- a sound database ---------------------------------------------------- */

struct sample {
  enum toy_kind kind;
  struct mutate_files files;
  uint64_t digest[N_COMMIT + 1];        /* of each state */
  size_t off_last;                      /* in the log: last transaction */
};

static int sample_commit(struct toy *t, uint64_t i, uint64_t *digest){
  uint64_t state;
  int rc;
  TRY( toy_begin_write(t) );
  TRY( toy_change(t, vt_seed()*100 + i, 9) );
  if( i==2 ) TRY( toy_load(t, vt_seed(), 1) );
  TRY( toy_set_state(t, i) );
  TRY( toy_digest(t, &state, digest) );
  TRY( toy_commit(t) );
done:
  return rc;
}

static void sample_keep(struct vecdb_file_ops *mem, const char *path,
                        unsigned char **p, size_t *n){
  const unsigned char *bytes = NULL;
  REQUIRE_RC( VECDB_OK, vdb_file_mem_peek(mem, path, &bytes, n) );
  *p = lab_alloc(*n);
  memcpy(*p, bytes, *n);
}

/* Where the frames of the newest transaction begin. Behind the end of the log
** may be frames of an older one. */
static size_t last_transaction(const struct mutate_files *f){
  uint64_t salt = get_u64(f->log + WALHDR_SALT);
  size_t at = WALHDR_SIZE, begin = at, last = at;
  while( at + FRAME_SIZE<=f->n_log ){
    const unsigned char *p = f->log + at;
    unsigned kind = get_u16(p + FRAME_KIND);
    if( get_u64(p + FRAME_SALT)!=salt ) break;
    at += FRAME_SIZE + (kind==1 ? f->sz_page : (size_t)COMMIT_SIZE);
    if( kind==1 ) continue;
    last = begin;
    begin = at;
  }
  return last;
}

/* Some commits, a checkpoint, some more that stay in the log. */
static void sample_make(struct sample *s, enum toy_kind kind){
  struct vecdb_file_ops *mem = NULL;
  struct toy_config cfg;
  uint64_t n_log, n_done;
  struct toy t;

  memset(s, 0, sizeof(*s));
  memset(&cfg, 0, sizeof(cfg));
  REQUIRE_RC( VECDB_OK, vdb_file_mem_create(3, &mem) );
  s->kind = cfg.kind = kind;
  cfg.ops = mem;
  cfg.path = "x.vdb";
  REQUIRE_RC( VECDB_OK, toy_open(&t, &cfg) );
  for(uint64_t i=1; i<=N_COMMIT; i++){
    REQUIRE_RC( VECDB_OK, sample_commit(&t, i, &s->digest[i]) );
    if( i==3 ) REQUIRE_RC( VECDB_OK, toy_tidy(&t, false) );
    if( i==N_COMMIT_HOME ){
      REQUIRE_RC( VECDB_OK, toy_checkpoint(&t, VECDB_CHECKPOINT_RESTART,
                                                 &n_log, &n_done) );
    }
  }
  sample_keep(mem, "x.vdb", &s->files.main, &s->files.n_main);
  sample_keep(mem, "x.vdb-wal", &s->files.log, &s->files.n_log);
  s->files.sz_page = 4096;
  s->off_last = last_transaction(&s->files);
  REQUIRE_RC( VECDB_OK, toy_close(&t) );
  vdb_file_mem_destroy(mem);
}

static void sample_free(struct sample *s){
  free(s->files.main);
  free(s->files.log);
}

static struct mutate_files files_copy(const struct mutate_files *f){
  struct mutate_files c = *f;
  c.main = lab_alloc(f->n_main);
  c.log = lab_alloc(f->n_log);
  memcpy(c.main, f->main, f->n_main);
  memcpy(c.log, f->log, f->n_log);
  return c;
}

static void files_free(struct mutate_files *f){
  free(f->main);
  free(f->log);
}

/* ---- using it ------------------------------------------------------------ */

/* Codes that may come from bytes. */
static bool code_is_clean(int rc){
  switch( rc & 0xff ){
    case VECDB_OK: case VECDB_CORRUPT: case VECDB_NOTADB: case VECDB_FORMAT:
    case VECDB_READONLY: case VECDB_FULL: case VECDB_TOOBIG:
      return true;
    case VECDB_IOERR:
      return rc==VECDB_IOERR_SHORT_READ;
    case VECDB_BUSY:
      return rc==VECDB_BUSY_INDOUBT;
    default:
      return false;
  }
}

static bool expect_clean(const char *doing, int rc, const struct toy *t){
  if( code_is_clean(rc) ) return rc==VECDB_OK;
  FAIL("%s: %s says %d, %s", damage, doing, rc, t->err.msg);
  return false;
}

struct answer { int rc; uint64_t state, digest; };

/* Read and check, then write, copy home and read again. */
static void toy_use(struct toy *t, struct answer *a){
  uint64_t state, digest, n_log, n_done;
  size_t n;
  int rc;

  a->rc = toy_read(t, &a->state, &a->digest);
  expect_clean("reading", a->rc, t);
  expect_clean("check", toy_check(t, &n), t);
  rc = toy_begin_write(t);
  if( expect_clean("begin", rc, t) ){
    rc = toy_change(t, 17, 12);
    if( expect_clean("changing", rc, t) ){
      rc = toy_commit(t);
      expect_clean("commit", rc, t);
    }
    if( rc!=VECDB_OK ) expect_clean("rollback", toy_rollback(t), t);
  }
  rc = toy_checkpoint(t, VECDB_CHECKPOINT_TRUNCATE, &n_log, &n_done);
  expect_clean("checkpoint", rc, t);
  expect_clean("reading again", toy_read(t, &state, &digest), t);
}

/* Everything with one damaged pair of files. */
static void files_use(const struct mutate_files *f, enum toy_kind kind,
                      bool no_mmap, struct answer *a){
  struct vecdb_file_ops *mem = NULL;
  struct toy_config cfg;
  struct vdb_mem_stats st;
  struct toy t;
  int rc;

  memset(a, 0, sizeof(*a));
  memset(&cfg, 0, sizeof(cfg));
  alarm(SECONDS_MAX);
  REQUIRE_RC( VECDB_OK, vdb_file_mem_create(4, &mem) );
  vdb_file_mem_poke(mem, "x.vdb", f->main, f->n_main);
  vdb_file_mem_poke(mem, "x.vdb-wal", f->log, f->n_log);
  cfg.kind = kind;
  cfg.ops = mem;
  cfg.path = "x.vdb";
  cfg.flags = VECDB_OPEN_READWRITE;
  cfg.sz_cache = 1<<20;
  cfg.no_mmap = no_mmap;
  rc = toy_open(&t, &cfg);
  if( expect_clean("open", rc, &t) ) toy_use(&t, a);
  else a->rc = rc;
  rc = toy_close(&t);
  expect_clean("close", rc, &t);
  vdb_file_mem_destroy(mem);
  vdb_mem_stats(&st);
  if( st.n_block ) FAIL("%s: %llu blocks leaked", damage,
                        (unsigned long long)st.n_block);
  if( st.sz_peak>MEM_MAX ) FAIL("%s: took %llu bytes of memory", damage,
                                (unsigned long long)st.sz_peak);
  alarm(0);
}

/* A signal must say what was being tried; then it takes its course. */
static void signal_report(int sig){
  static const char head[] = "  died of: ";
  if( write(1, head, sizeof(head)-1)<0 || write(1, damage, strlen(damage))<0
   || write(1, "\n", 1)<0 ) _exit(3);
  signal(sig, SIG_DFL);
  raise(sig);
}

static void signals_report(void){
  static const int all[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGALRM };
  for(size_t i=0; i<sizeof(all)/sizeof(all[0]); i++){
    signal(all[i], signal_report);
  }
}

/* ---- repaired ------------------------------------------------------------ */

static void try_fields(enum toy_kind kind){
  bool full = vt_scale()>=100;
  struct mutate_target *targets;
  size_t n_target, n = 0, n_error = 0;
  struct sample s;
  struct vdb_rng r;

  signals_report();
  sample_make(&s, kind);
  vdb_rng_init(&r, vt_seed());
  n_target = mutate_targets(&s.files, &targets);
  for(size_t i=0; i<n_target; i++){
    for(int v=0; v<MUTATE_N_VALUE; v++){
      struct mutate_files f;
      struct answer a;
      if( !full && vdb_rng_below(&r, (uint32_t)n_target*MUTATE_N_VALUE)
                   >= 800*(uint32_t)vt_scale() ) continue;
      f = files_copy(&s.files);
      if( mutate_apply(&targets[i], v, vdb_rng_u64(&r), true, &f, damage,
                       sizeof(damage)) ){
        files_use(&f, s.kind, n % 2!=0, &a);
        n_error += a.rc!=VECDB_OK;
        n++;
      }
      files_free(&f);
    }
  }
  printf("  %zu damaged files of %zu fields, %zu of them refused\n", n,
         n_target, n_error);
  CHECK( n>=300 );
  vt_figure("damaged-files", n, 4000);
  CHECK( n_error>n/20 && n_error<n );
  free(targets);
  sample_free(&s);
}
TEST(corrupt_pager__every_field_repaired_is_a_clean_answer){
  try_fields(TOY_PAGER);
}
TEST(corrupt_rows__every_field_repaired_is_a_clean_answer){
  try_fields(TOY_ROWS);
}

/* ---- not repaired -------------------------------------------------------- */

/* The oldest state that may be found when bytes from `off` on are not what
** was written. */
static uint64_t oldest_state(const struct sample *s, bool in_log, size_t off){
  if( !in_log ) return N_COMMIT;
  if( off<WALHDR_SIZE ) return N_COMMIT_HOME;
  return off<s->off_last ? N_COMMIT : N_COMMIT - 1;
}

static void expect_answer(const struct sample *s, const struct answer *a,
                          uint64_t oldest){
  if( a->rc!=VECDB_OK ) return;
  if( a->state<oldest || a->state>N_COMMIT
   || a->digest!=s->digest[a->state] ){
    FAIL("%s: a wrong answer, state %llu", damage,
         (unsigned long long)a->state);
  }
}

static void try_bits(enum toy_kind kind){
  size_t n = vt_scale()>=100 ? 6000 : 400*(size_t)vt_scale(), n_error = 0;
  struct sample s;
  struct vdb_rng r;

  signals_report();
  sample_make(&s, kind);
  vdb_rng_init(&r, vt_seed());
  for(size_t i=0; i<n; i++){
    struct mutate_files f = files_copy(&s.files);
    bool in_log = vdb_rng_below(&r, 2)!=0;
    size_t sz = in_log ? f.n_log : f.n_main;
    size_t off = vdb_rng_below(&r, (uint32_t)sz);
    unsigned bit = vdb_rng_below(&r, 8);
    struct answer a;
    if( i<256 ) off = vdb_rng_below(&r, 512);   /* headers, more often */
    (in_log ? f.log : f.main)[off] ^= (unsigned char)(1u << bit);
    snprintf(damage, sizeof(damage), "bit %u of byte %zu of the %s", bit, off,
             in_log ? "log" : "main file");
    files_use(&f, s.kind, i % 2!=0, &a);
    expect_answer(&s, &a, oldest_state(&s, in_log, off));
    n_error += a.rc!=VECDB_OK;
    files_free(&f);
  }
  printf("  %zu bits, %zu noticed\n", n, n_error);
  vt_figure("damaged-files", n, 6000);
  CHECK( n_error>n/4 );
  sample_free(&s);
}
TEST(corrupt_pager__flipped_bits_are_noticed){ try_bits(TOY_PAGER); }
TEST(corrupt_rows__flipped_bits_are_noticed){ try_bits(TOY_ROWS); }

/* A log that ends early is a log that was not written further: some state in
** order. A main file that ends early is refused, or all it lacks is in the
** log. */
static void try_cuts(enum toy_kind kind){
  size_t step = vt_scale()>=100 ? 512 : 4096, n = 0;
  struct sample s;
  struct answer a;

  signals_report();
  sample_make(&s, kind);
  for(int in_log=0; in_log<2; in_log++){
    size_t sz = in_log ? s.files.n_log : s.files.n_main;
    for(size_t cut=0; cut<sz; cut+=step, n++){
      struct mutate_files f = files_copy(&s.files);
      if( in_log ) f.n_log = cut;
      else f.n_main = cut;
      snprintf(damage, sizeof(damage), "%s cut to %zu of %zu bytes",
               in_log ? "log" : "main file", cut, sz);
      files_use(&f, s.kind, n % 2!=0, &a);
      if( in_log || cut>0 ){
        expect_answer(&s, &a, in_log ? N_COMMIT_HOME : N_COMMIT);
      }
      files_free(&f);
    }
  }
  printf("  %zu cuts\n", n);
  sample_free(&s);
}
TEST(corrupt_pager__files_cut_short_are_noticed){ try_cuts(TOY_PAGER); }
TEST(corrupt_rows__files_cut_short_are_noticed){ try_cuts(TOY_ROWS); }
