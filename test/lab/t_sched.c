/* t_sched.c -- many orders of what several connections do to each other.
**
** Cast: two writers, two checkpointers, two readers, one that opens and
** closes; of rows also one that merges and one that copies the file. In one
** run out of three somebody dies at a random step. Every schedule starts from
** the same file, and must keep:
**
**   1  a snapshot does not change while it is held, and is a state that some
**      writer announced (all of its bytes);
**   2  no acknowledged commit disappears, and nobody sees time run backwards;
**   3  nobody waits for ever, nobody gets an error but BUSY;
**   4  at the end the file is sound, also when shared memory is dropped.
*/
#include <stdlib.h>

#include "vt.h"
#include "util/mem.h"
#include "util/rng.h"
#include "lab/lib_sched.h"
#include "lab/lib_toy.h"

enum { STATE_MAX = 64, RIVAL_MAX = 8, N_RETRY = 200 };

static const char db_path[] = "x.vdb";

struct stage {                     /* what the actors of one run share */
  struct toy_config cfg;
  uint64_t seed;
  uint64_t announced[STATE_MAX][RIVAL_MAX];   /* digests, by state */
  int n_rival[STATE_MAX];
  uint64_t acked;                  /* newest state whose commit returned */
  bool is_bad;
};

struct part {                      /* one actor's */
  struct stage *stage;
  const char *name;
  struct vdb_rng rng;
};

static bool is_busy(int rc){ return (rc & 0xff)==VECDB_BUSY; }

static void part_fail(struct part *p, const char *what, int rc,
                      const struct toy *t){
  if( p->stage->is_bad ) return;             /* the first failure says most */
  p->stage->is_bad = true;
  FAIL("schedule %llu, %s: %s (%d, %s)", (unsigned long long)p->stage->seed,
       p->name, what, rc, t ? t->err.msg : "");
}

static bool part_check(struct part *p, const char *what, int rc,
                       const struct toy *t){
  if( rc==VECDB_OK ) return true;
  if( !is_busy(rc) ) part_fail(p, what, rc, t);
  return false;
}

static bool part_open(struct part *p, struct toy *t){
  for(int i=0; i<N_RETRY && !p->stage->is_bad; i++){
    int rc = toy_open(t, &p->stage->cfg);
    if( part_check(p, "open", rc, t) ) return true;
  }
  part_fail(p, "nobody lets it in", 0, t);
  return false;
}

static void part_close(struct part *p, struct toy *t){
  int rc = toy_close(t);
  if( rc!=VECDB_OK ) part_fail(p, "close", rc, t);
}

static bool state_was_announced(const struct stage *g, uint64_t state,
                                uint64_t digest){
  if( state>=STATE_MAX ) return false;
  for(int i=0; i<g->n_rival[state]; i++){
    if( g->announced[state][i]==digest ) return true;
  }
  return false;
}

static void state_announce(struct stage *g, uint64_t state, uint64_t digest){
  if( state<STATE_MAX && g->n_rival[state]<RIVAL_MAX ){
    g->announced[state][g->n_rival[state]++] = digest;
  }
}

/* ---- the cast ------------------------------------------------------------ */

static int write_once(struct part *p, struct toy *t){
  uint64_t state = 0, digest = 0;
  int rc = toy_begin_write(t);
  if( rc!=VECDB_OK ) return rc;
  rc = toy_digest(t, &state, &digest);
  if( rc==VECDB_OK && !state_was_announced(p->stage, state, digest) ){
    part_fail(p, "writes on a state that never was", (int)state, t);
  }
  if( rc==VECDB_OK && state<p->stage->acked ){
    part_fail(p, "writes on an old state", (int)state, t);
  }
  if( rc==VECDB_OK ) rc = toy_change(t, vdb_rng_u64(&p->rng),
                                     1 + vdb_rng_below(&p->rng, 4));
  if( rc==VECDB_OK && vdb_rng_below(&p->rng, 6)==0 ) return toy_rollback(t);
  if( rc==VECDB_OK ) rc = toy_set_state(t, state + 1);
  if( rc==VECDB_OK ) rc = toy_digest(t, &state, &digest);
  if( rc==VECDB_OK ) state_announce(p->stage, state, digest);
  if( rc==VECDB_OK ) rc = toy_commit(t);
  if( rc!=VECDB_OK ){
    toy_rollback(t);
    return rc;
  }
  if( state>p->stage->acked ) p->stage->acked = state;
  return VECDB_OK;
}

static void writer_part(void *arg){
  struct part *p = arg;
  struct toy t;
  if( !part_open(p, &t) ) return;
  for(int i=0; i<4 && !p->stage->is_bad; i++){
    part_check(p, "write", write_once(p, &t), &t);
  }
  part_close(p, &t);
}

static void reader_part(void *arg){
  struct part *p = arg;
  uint64_t newest = 0;
  struct toy t;
  if( !part_open(p, &t) ) return;
  for(int i=0; i<4 && !p->stage->is_bad; i++){
    uint64_t s1 = 0, d1 = 0, s2 = 0, d2 = 0, acked = p->stage->acked;
    if( !part_check(p, "begin", toy_begin_read(&t), &t) ) continue;
    if( part_check(p, "read", toy_digest(&t, &s1, &d1), &t)
     && part_check(p, "read again", toy_digest(&t, &s2, &d2), &t) ){
      if( s1!=s2 || d1!=d2 ) part_fail(p, "a snapshot changed", (int)s1, &t);
      if( !state_was_announced(p->stage, s1, d1) ){
        part_fail(p, "reads a state that never was", (int)s1, &t);
      }
      if( s1<newest || s1<acked ) part_fail(p, "reads the past", (int)s1, &t);
      newest = s1;
    }
    part_check(p, "end", toy_rollback(&t), &t);
  }
  part_close(p, &t);
}

static void checkpointer_part(void *arg){
  struct part *p = arg;
  struct toy t;
  if( !part_open(p, &t) ) return;
  for(int i=0; i<4 && !p->stage->is_bad; i++){
    uint64_t n_log, n_done;
    int mode = (int)vdb_rng_below(&p->rng, 4);
    part_check(p, "checkpoint", toy_checkpoint(&t, mode, &n_log, &n_done), &t);
  }
  part_close(p, &t);
}

static void opener_part(void *arg){
  struct part *p = arg;
  for(int i=0; i<3 && !p->stage->is_bad; i++){
    uint64_t state = 0, digest = 0, acked = p->stage->acked;
    struct toy t;
    if( !part_open(p, &t) ) return;
    if( part_check(p, "read", toy_read(&t, &state, &digest), &t) ){
      if( !state_was_announced(p->stage, state, digest) || state<acked ){
        part_fail(p, "opens a state that should not be", (int)state, &t);
      }
    }
    part_close(p, &t);
  }
}

/* Nothing that a reader could see. */
static void optimizer_part(void *arg){
  struct part *p = arg;
  struct toy t;
  if( !part_open(p, &t) ) return;
  for(int i=0; i<3 && !p->stage->is_bad; i++){
    part_check(p, "optimize", toy_tidy(&t, false), &t);
  }
  part_close(p, &t);
}

/* The copy is a database of a state that was announced. */
static void copier_part(void *arg){
  struct part *p = arg;
  uint64_t state = 0, digest = 0, acked;
  struct toy t, copy;
  struct toy_config cfg = p->stage->cfg;
  if( !part_open(p, &t) ) return;
  acked = p->stage->acked;
  cfg.path = "copy.vdb";
  if( part_check(p, "backup", toy_backup(&t, cfg.path), &t)
   && part_check(p, "opening the copy", toy_open(&copy, &cfg), &copy) ){
    if( part_check(p, "reading the copy", toy_read(&copy, &state, &digest),
                   &copy)
     && (!state_was_announced(p->stage, state, digest) || state<acked) ){
      part_fail(p, "copies a state that should not be", (int)state, &copy);
    }
    part_close(p, &copy);
  }
  part_close(p, &t);
}

/* ---- one schedule -------------------------------------------------------- */

struct prepared {                  /* the file that every run starts from */
  enum toy_kind kind;
  unsigned char *p;
  size_t n;
  uint64_t state, digest;
};

static void prepare(struct prepared *f, enum toy_kind kind){
  struct vecdb_file_ops *mem = NULL;
  const unsigned char *bytes;
  struct toy_config cfg;
  struct toy t;

  memset(&cfg, 0, sizeof(cfg));
  REQUIRE_RC( VECDB_OK, vdb_file_mem_create(1, &mem) );
  f->kind = cfg.kind = kind;
  cfg.ops = mem;
  cfg.path = db_path;
  REQUIRE_RC( VECDB_OK, toy_open(&t, &cfg) );
  REQUIRE_RC( VECDB_OK, toy_begin_write(&t) );
  REQUIRE_RC( VECDB_OK, toy_change(&t, 11, 20) );
  REQUIRE_RC( VECDB_OK, toy_set_state(&t, 1) );
  REQUIRE_RC( VECDB_OK, toy_commit(&t) );
  REQUIRE_RC( VECDB_OK, toy_read(&t, &f->state, &f->digest) );
  REQUIRE_RC( VECDB_OK, toy_close(&t) );
  REQUIRE_RC( VECDB_OK, vdb_file_mem_peek(mem, db_path, &bytes, &f->n) );
  f->p = lab_alloc(f->n);
  memcpy(f->p, bytes, f->n);
  vdb_file_mem_destroy(mem);
}

/* 4 */
static void final_look(struct stage *g, struct vecdb_file_ops *mem,
                       const char *when){
  struct part p = { g, when, { 0 } };
  uint64_t state = 0, digest = 0;
  struct toy_config cfg = g->cfg;
  size_t n = 0;
  struct toy t;
  int rc;

  if( g->is_bad ) return;
  cfg.ops = mem;
  rc = toy_open(&t, &cfg);
  if( rc==VECDB_OK ) rc = toy_read(&t, &state, &digest);
  if( rc==VECDB_OK ) rc = toy_check(&t, &n);
  if( rc!=VECDB_OK || n>0 ){
    part_fail(&p, "the file is not sound", rc, &t);
  }else if( !state_was_announced(g, state, digest) || state<g->acked ){
    part_fail(&p, "a commit has disappeared", (int)state, &t);
  }
  rc = toy_close(&t);
  if( rc!=VECDB_OK ) part_fail(&p, "cannot be closed", rc, &t);
}

static void cast_spawn(struct sched *s, struct stage *g, struct part *parts){
  static const struct role {
    const char *name;
    void (*fn)(void *arg);
  } optimizer = { "optimizer", optimizer_part },
    copier = { "copier", copier_part }, cast[7] = {
    { "writer", writer_part }, { "reader", reader_part },
    { "checkpointer", checkpointer_part }, { "writer 2", writer_part },
    { "opener", opener_part }, { "checkpointer 2", checkpointer_part },
    { "reader 2", reader_part }
  };
  int n = 3 + (int)(vdb_mix64(g->seed) % 5);
  for(int i=0; i<n; i++){
    const struct role *role = &cast[i];
    if( g->cfg.kind==TOY_ROWS && i==2 && g->seed % 4==1 ) role = &optimizer;
    if( g->cfg.kind==TOY_ROWS && i==5 && g->seed % 2==1 ) role = &copier;
    parts[i].stage = g;
    parts[i].name = role->name;
    vdb_rng_init(&parts[i].rng, g->seed*16 + (uint64_t)i);
    sched_spawn(s, role->fn, &parts[i]);
  }
  if( g->seed % 3==0 ){
    sched_kill_at(s, (int)(g->seed/3 % (uint64_t)n),
                  1 + vdb_mix64(g->seed + 5) % 400);
  }
}

/* A world with the files that were left, without shared memory. */
static struct vecdb_file_ops *world_after_reboot(struct vecdb_file_ops *mem){
  static const char *const names[2] = { "x.vdb", "x.vdb-wal" };
  struct vecdb_file_ops *copy = NULL;
  REQUIRE_RC( VECDB_OK, vdb_file_mem_create(2, &copy) );
  for(int i=0; i<2; i++){
    const unsigned char *p;
    size_t n;
    if( vdb_file_mem_peek(mem, names[i], &p, &n)==VECDB_OK ){
      vdb_file_mem_poke(copy, names[i], p, n);
    }
  }
  return copy;
}

/* Returns the number of steps, 0 after a failure. */
static uint64_t schedule_run(const struct prepared *file, uint64_t seed,
                             uint64_t *trace){
  struct vecdb_file_ops *mem = NULL, *rebooted;
  struct part parts[SCHED_ACTOR_MAX];
  struct sched *s;
  struct stage g;
  uint64_t n_step;

  memset(&g, 0, sizeof(g));
  g.seed = seed;
  REQUIRE_RC( VECDB_OK, vdb_file_mem_create(seed, &mem) );
  vdb_file_mem_poke(mem, db_path, file->p, file->n);
  state_announce(&g, file->state, file->digest);
  g.acked = file->state;
  s = sched_create(mem, seed);
  g.cfg.kind = file->kind;
  g.cfg.ops = sched_ops(s);
  g.cfg.path = db_path;
  g.cfg.busy_ms = (uint32_t)(vdb_mix64(seed + 9) % 3)*20;
  g.cfg.sz_wal = vdb_mix64(seed + 8) % 2 ? 24<<10 : 0;
  g.cfg.no_mmap = vdb_mix64(seed + 7) % 2!=0;
  cast_spawn(s, &g, parts);
  if( !sched_run(s) && !g.is_bad ){
    g.is_bad = true;
    FAIL("schedule %llu: somebody waits for ever", (unsigned long long)seed);
  }
  *trace = sched_trace(s);
  n_step = sched_n_step(s);
  if( g.is_bad ){
    sched_print_tail(s);
    return 0;
  }
  rebooted = world_after_reboot(mem);
  final_look(&g, mem, "afterwards");
  final_look(&g, rebooted, "after a reboot");
  sched_destroy(s);
  vdb_file_mem_destroy(mem);
  vdb_file_mem_destroy(rebooted);
  return g.is_bad ? 0 : n_step;
}

/* A set of traces: the same order twice counts once. */
struct trace_set { uint64_t *p; size_t n, n_cap; };

static void trace_add(struct trace_set *t, uint64_t trace){
  size_t i = (size_t)vdb_mix64(trace) & (t->n_cap-1);
  while( t->p[i] && t->p[i]!=trace ) i = (i+1) & (t->n_cap-1);
  t->n += t->p[i]==0;
  t->p[i] = trace;
}

static void explore(enum toy_kind kind, uint64_t n_small, uint64_t n_full){
  uint64_t n_want = vt_scale()>=100 ? n_full : n_small*(uint64_t)vt_scale();
  struct trace_set seen = { NULL, 0, (size_t)1<<20 };
  uint64_t n_step = 0, again, trace;
  struct prepared file;

  seen.p = lab_alloc(seen.n_cap*sizeof(*seen.p));
  prepare(&file, kind);
  for(uint64_t i=0; i<n_want; i++){
    uint64_t n = schedule_run(&file, vt_seed()*1000000 + i, &trace);
    if( n==0 ) break;
    n_step += n;
    trace_add(&seen, trace);
    if( i<3 ){                                  /* a seed is a schedule */
      CHECK_U64( n, schedule_run(&file, vt_seed()*1000000 + i, &again) );
      CHECK_U64( trace, again );
    }
  }
  printf("  %llu schedules, %zu of them different, %llu steps\n",
         (unsigned long long)n_want, seen.n, (unsigned long long)n_step);
  vt_figure("interleavings", seen.n, n_full - n_full/20);
  free(seen.p);
  free(file.p);
}

TEST(sched_pager__keeps_snapshots_and_commits){
  explore(TOY_PAGER, 60, 84000);
}
TEST(sched_rows__keeps_snapshots_and_commits){ explore(TOY_ROWS, 20, 26000); }
