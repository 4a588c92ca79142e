/* t_kill.c -- kill -9 on the real file system.
**
** A writer, two readers and a checkpointer work on one file. The parent kills
** one of them, or all, at a random moment, and has a fresh process look: the
** file must be sound and in the state of the last commit that the writer
** acknowledged, or of the one it had announced. Where others live on, the
** locks of the dead must have vanished by themselves and shared memory must
** be usable. Then who was killed is started again.
**
** A kill keeps the kernel's page cache: what a power cut loses is t_crash's. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vt.h"
#include "util/rng.h"
#include "lab/lib_toy.h"

enum role { ROLE_WRITER, ROLE_READER, ROLE_READER_2, ROLE_CHECKPOINTER,
            N_ROLE };
static const char *const role_name[N_ROLE] = {
  "writer", "reader", "reader 2", "checkpointer"
};

enum message_kind { MESSAGE_BEGIN = 1, MESSAGE_DONE = 2, MESSAGE_BAD = 3 };
struct message {                   /* from a worker; shorter than PIPE_BUF */
  uint64_t kind, state, digest;
  uint64_t base;                   /* BEGIN: digest of the state before */
  char text[96];
};

struct arena {
  enum toy_kind kind;
  char path[512];
  int pipe[2];
  pid_t pids[N_ROLE];
  uint64_t acked, begun;           /* states */
  uint64_t digest_acked, digest_begun;
  uint64_t n_start;                /* workers started, for their seeds */
  uint64_t n_commit;
  bool is_bad;
};

static void arena_config(const struct arena *a, struct toy_config *cfg){
  memset(cfg, 0, sizeof(*cfg));
  cfg->kind = a->kind;
  cfg->path = a->path;
  cfg->busy_ms = 20000;
  cfg->sz_wal = 256<<10;
}

static void message_send(struct arena *a, enum message_kind kind,
                         uint64_t state, uint64_t digest, uint64_t base,
                         const char *text){
  struct message m;
  memset(&m, 0, sizeof(m));
  m.kind = kind;
  m.state = state;
  m.digest = digest;
  m.base = base;
  snprintf(m.text, sizeof(m.text), "%s", text);
  while( write(a->pipe[1], &m, sizeof(m))<0 && errno==EINTR ){}
}

/* ---- workers ------------------------------------------------------------- */

static _Noreturn void worker_die(struct arena *a, const char *doing, int rc,
                       const struct toy *t){
  char text[96];
  snprintf(text, sizeof(text), "%s: %d, %.80s", doing, rc, t->err.msg);
  message_send(a, MESSAGE_BAD, 0, 0, 0, text);
  _exit(1);
}

static void writer_run(struct arena *a, struct toy *t, struct vdb_rng *r){
  for(;;){
    uint64_t state, digest, base;
    int rc = toy_begin_write(t);
    if( rc!=VECDB_OK ) worker_die(a, "writer: begin", rc, t);
    rc = toy_digest(t, &state, &base);
    if( rc==VECDB_OK ) rc = toy_change(t, vdb_rng_u64(r),
                                       1 + vdb_rng_below(r, 12));
    if( rc==VECDB_OK ) rc = toy_set_state(t, state + 1);
    if( rc==VECDB_OK ) rc = toy_digest(t, &state, &digest);
    if( rc!=VECDB_OK ) worker_die(a, "writer: change", rc, t);
    message_send(a, MESSAGE_BEGIN, state, digest, base, "");
    rc = toy_commit(t);
    if( rc!=VECDB_OK ) worker_die(a, "writer: commit", rc, t);
    message_send(a, MESSAGE_DONE, state, digest, 0, "");
  }
}

/* A snapshot is read twice, with others at work in between. */
static void reader_run(struct arena *a, struct toy *t, struct vdb_rng *r){
  uint64_t newest = 0;
  for(;;){
    uint64_t s1, d1, s2, d2;
    int rc = toy_begin_read(t);
    if( rc==VECDB_OK ) rc = toy_digest(t, &s1, &d1);
    if( vdb_rng_below(r, 4)==0 ) usleep(vdb_rng_below(r, 5000));
    if( rc==VECDB_OK ) rc = toy_digest(t, &s2, &d2);
    if( rc!=VECDB_OK ) worker_die(a, "reader", rc, t);
    if( s1!=s2 || d1!=d2 ) worker_die(a, "reader: snapshot changed", 0, t);
    if( s1<newest ) worker_die(a, "reader: time ran backwards", 0, t);
    newest = s1;
    toy_rollback(t);
  }
}

static void checkpointer_run(struct arena *a, struct toy *t,
                             struct vdb_rng *r){
  for(;;){
    uint64_t n_log, n_done;
    int mode = (int)vdb_rng_below(r, 4);
    int rc = toy_checkpoint(t, mode, &n_log, &n_done);
    if( rc!=VECDB_OK && (rc & 0xff)!=VECDB_BUSY ){
      worker_die(a, "checkpointer", rc, t);
    }
    usleep(vdb_rng_below(r, 3000));
  }
}

static void worker_run(struct arena *a, enum role role){
  struct toy_config cfg;
  struct vdb_rng r;
  struct toy t;
  int rc;

  prctl(PR_SET_PDEATHSIG, SIGKILL);
  vdb_rng_init(&r, vt_seed() + a->n_start*N_ROLE + (uint64_t)role);
  arena_config(a, &cfg);
  rc = toy_open(&t, &cfg);
  if( rc!=VECDB_OK ) worker_die(a, role_name[role], rc, &t);
  if( role==ROLE_WRITER ) writer_run(a, &t, &r);
  if( role==ROLE_CHECKPOINTER ) checkpointer_run(a, &t, &r);
  reader_run(a, &t, &r);
}

/* ---- the parent ---------------------------------------------------------- */

static void worker_start(struct arena *a, enum role role){
  a->n_start++;
  fflush(NULL);
  a->pids[role] = fork();
  REQUIRE( a->pids[role]>=0 );
  if( a->pids[role]==0 ) worker_run(a, role);
}

static void worker_kill(struct arena *a, enum role role){
  int status = 0;
  kill(a->pids[role], SIGKILL);
  waitpid(a->pids[role], &status, 0);
  if( WIFEXITED(status) ) a->is_bad = true;     /* it has said why */
  a->pids[role] = 0;
}

/* A writer stands on the acknowledged state; or on the announced one, whose
** writer died when it was in the log and not yet published: the next writer
** finds it there. */
static void arena_begin(struct arena *a, const struct message *m){
  if( m->state==a->begun + 1 && m->base==a->digest_begun ){
    a->acked = a->begun;
    a->digest_acked = a->digest_begun;
  }else if( m->state!=a->acked + 1
         || (a->acked>0 && m->base!=a->digest_acked) ){
    FAIL("a writer stands on state %llu; %llu was acknowledged, %llu announced",
         (unsigned long long)m->state - 1, (unsigned long long)a->acked,
         (unsigned long long)a->begun);
    a->is_bad = true;
  }
  a->begun = m->state;
  a->digest_begun = m->digest;
}

static void arena_listen(struct arena *a){
  struct message m;
  while( read(a->pipe[0], &m, sizeof(m))==(ssize_t)sizeof(m) ){
    if( m.kind==MESSAGE_BAD ){
      FAIL("%.96s", m.text);
      a->is_bad = true;
    }else if( m.kind==MESSAGE_BEGIN ){
      arena_begin(a, &m);
    }else{
      a->acked = m.state;
      a->digest_acked = m.digest;
      a->n_commit++;
    }
  }
}

/* In a child, since this process has forked workers and will again. Sends the
** state it finds: DONE, or BAD. */
static void look_run(struct arena *a){
  struct toy_config cfg;
  uint64_t state, digest;
  size_t n = 0;
  struct toy t;
  int rc;

  arena_config(a, &cfg);
  rc = toy_open(&t, &cfg);
  if( rc!=VECDB_OK ) worker_die(a, "cannot be opened after a kill", rc, &t);
  rc = toy_read(&t, &state, &digest);
  if( rc!=VECDB_OK ) worker_die(a, "cannot be read after a kill", rc, &t);
  rc = toy_check(&t, &n);
  if( rc!=VECDB_OK || n>0 ) worker_die(a, "is not sound after a kill", rc, &t);
  message_send(a, MESSAGE_DONE, state, digest, 0, "");
  toy_close(&t);
  _exit(0);
}

/* The writer is dead, so the state stands still: it must be the acknowledged
** one or the one that had been announced. */
static void arena_look(struct arena *a){
  uint64_t acked, digest_acked, n_commit = a->n_commit;
  pid_t pid;

  arena_listen(a);
  acked = a->acked;
  digest_acked = a->digest_acked;
  fflush(NULL);
  pid = fork();
  REQUIRE( pid>=0 );
  if( pid==0 ) look_run(a);
  waitpid(pid, NULL, 0);
  n_commit = a->n_commit;
  arena_listen(a);
  if( a->n_commit!=n_commit + 1 ){
    a->is_bad = true;
    FAIL("nobody could look at the file");
    return;
  }
  a->n_commit = n_commit;
  if( a->acked==acked && (acked==0 || a->digest_acked==digest_acked) ) return;
  if( a->acked==a->begun && a->digest_acked==a->digest_begun ) return;
  FAIL("state %llu is there, %llu was acknowledged and %llu announced",
       (unsigned long long)a->acked, (unsigned long long)acked,
       (unsigned long long)a->begun);
  a->is_bad = true;
}

static void arena_kill(struct arena *a, struct vdb_rng *r, int *n_kill){
  enum role one = (enum role)vdb_rng_below(r, N_ROLE);
  bool all = vdb_rng_below(r, 4)==0;

  if( vdb_rng_below(r, 2) ) one = ROLE_WRITER;
  for(int i=0; i<N_ROLE; i++){
    if( !all && i!=(int)one ) continue;
    worker_kill(a, (enum role)i);
    ++*n_kill;
  }
  if( a->pids[ROLE_WRITER]==0 ) arena_look(a);
  for(int i=0; i<N_ROLE; i++){
    if( a->pids[i]==0 ) worker_start(a, (enum role)i);
  }
}

static void kill_many(enum toy_kind kind){
  int n_want = vt_scale()>=100 ? 500 : 5 + vt_scale();
  struct vdb_rng r;
  struct arena a;
  int n_kill = 0;

  memset(&a, 0, sizeof(a));
  a.kind = kind;
  snprintf(a.path, sizeof(a.path), "%s", vt_path("x.vdb"));
  REQUIRE( pipe(a.pipe)==0 );
  fcntl(a.pipe[0], F_SETFL, O_NONBLOCK);
  fcntl(a.pipe[1], F_SETPIPE_SZ, 1<<20);
  vdb_rng_init(&r, vt_seed());
  for(int i=0; i<N_ROLE; i++) worker_start(&a, (enum role)i);
  while( n_kill<n_want && !a.is_bad ){
    for(unsigned ms=5 + vdb_rng_below(&r, 60); ms>0; ms--){
      usleep(1000);
      arena_listen(&a);
    }
    arena_kill(&a, &r, &n_kill);
  }
  for(int i=0; i<N_ROLE; i++) if( a.pids[i] ) worker_kill(&a, (enum role)i);
  arena_look(&a);
  printf("  %d kills, %llu commits\n", n_kill, (unsigned long long)a.n_commit);
  CHECK( !a.is_bad );
  CHECK( a.n_commit>0 );
  vt_figure("kills", (uint64_t)n_kill, 500);
}

TEST(kill_pager__loses_no_acknowledged_commit){ kill_many(TOY_PAGER); }
TEST(kill_rows__loses_no_acknowledged_commit){ kill_many(TOY_ROWS); }
