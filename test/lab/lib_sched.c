/* lib_sched.c -- coroutines over the file layer. See lib_sched.h. */
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#include "util/common.h"
#include "util/rng.h"
#include "lab/lib_sched.h"

#if defined(__SANITIZE_ADDRESS__)
# define SCHED_ASAN 1
#elif defined(__has_feature)
# if __has_feature(address_sanitizer)
#  define SCHED_ASAN 1
# endif
#endif
#ifdef SCHED_ASAN
# include <sanitizer/common_interface_defs.h>
#endif

enum { SZ_STACK = 512<<10, N_CHANGE = 3, TAIL = 60, OPEN_MAX_FILES = 64 };

enum actor_state { ACTOR_READY, ACTOR_DONE, ACTOR_DEAD };

struct actor {
  struct sched *s;
  void (*fn)(void *arg);
  void *arg;
  ucontext_t context;
  unsigned char *stack;
  enum actor_state state;
  uint64_t priority;             /* highest runs; PCT */
  uint64_t n_step, n_die;        /* dies before step n_die; 0: never */
};

struct tail_entry { int actor; enum lab_call call; uint64_t off, word; };

struct open_entry { struct vdb_file *lower; int actor; };

struct sched {
  struct vecdb_file_ops *ops;
  struct actor actors[SCHED_ACTOR_MAX];
  int n_actor, now;              /* now: -1 outside of actors */
  ucontext_t main;
  struct vdb_rng rng;
  bool is_pct;
  uint64_t change[N_CHANGE];     /* steps at which the runner falls behind */
  uint64_t low;                  /* next lowest priority, counts down */
  uint64_t n_step, trace;
  uint64_t n_in_a_row;           /* steps of the same actor */
  struct tail_entry tail[TAIL];
  struct open_entry open[OPEN_MAX_FILES];   /* files below, by who opened */
};

/* Stacks of the dead are kept for ever: what lies on them stays reachable. */
static struct { unsigned char **p; size_t n, n_cap; } graveyard;
static unsigned char *stack_pool[SCHED_ACTOR_MAX];
static size_t n_stack_pool;

static unsigned char *stack_get(void){
  return n_stack_pool ? stack_pool[--n_stack_pool] : lab_alloc(SZ_STACK);
}

static void stack_put(unsigned char *stack){
  if( n_stack_pool<SCHED_ACTOR_MAX ) stack_pool[n_stack_pool++] = stack;
  else free(stack);
}

static void stack_bury(unsigned char *stack){
  if( graveyard.n==graveyard.n_cap ){
    graveyard.n_cap = graveyard.n_cap ? graveyard.n_cap*2 : 16;
    graveyard.p = lab_grow(graveyard.p, graveyard.n_cap*sizeof(stack));
  }
  graveyard.p[graveyard.n++] = stack;
}

/* ---- switching ----------------------------------------------------------- */

static void switch_context(ucontext_t *from, ucontext_t *to, void *stack,
                           size_t n){
#ifdef SCHED_ASAN
  void *fake = NULL;
  __sanitizer_start_switch_fiber(&fake, stack, n);
  swapcontext(from, to);
  __sanitizer_finish_switch_fiber(fake, NULL, NULL);
#else
  VDB_UNUSED(stack); VDB_UNUSED(n);
  swapcontext(from, to);
#endif
}

#ifdef SCHED_ASAN
static const void *main_stack;        /* of the thread that runs sched_run */
static size_t main_stack_size;
#endif

static void switch_to_main(struct actor *a){
#ifdef SCHED_ASAN
  switch_context(&a->context, &a->s->main, (void*)(uintptr_t)main_stack,
                 main_stack_size);
#else
  switch_context(&a->context, &a->s->main, NULL, 0);
#endif
}

/* makecontext passes ints, so the actor travels here. */
static struct actor *actor_starting;

static void actor_entry(void){
  struct actor *a = actor_starting;
#ifdef SCHED_ASAN
  __sanitizer_finish_switch_fiber(NULL, &main_stack, &main_stack_size);
#endif
  a->fn(a->arg);
  a->state = ACTOR_DONE;
  switch_to_main(a);
}

/* ---- choosing ------------------------------------------------------------ */

static int n_ready(const struct sched *s){
  int n = 0;
  for(int i=0; i<s->n_actor; i++) n += s->actors[i].state==ACTOR_READY;
  return n;
}

static int choose_random(struct sched *s){
  int k = (int)vdb_rng_below(&s->rng, (uint32_t)n_ready(s));
  for(int i=0; i<s->n_actor; i++){
    if( s->actors[i].state==ACTOR_READY && k--==0 ) return i;
  }
  return -1;
}

static int choose_highest(struct sched *s){
  int best = -1;
  for(int i=0; i<s->n_actor; i++){
    if( s->actors[i].state!=ACTOR_READY ) continue;
    if( best<0 || s->actors[i].priority>s->actors[best].priority ) best = i;
  }
  return best;
}

/* Should the running actor stop before this call? */
static bool must_switch(struct sched *s, const struct lab_event *e){
  struct actor *a = &s->actors[s->now];
  if( e->call==CALL_SLEEP || ++s->n_in_a_row>3000 ){
    a->priority = s->low--;
    return true;
  }
  if( !s->is_pct ) return vdb_rng_below(&s->rng, 12)==0;
  for(int i=0; i<N_CHANGE; i++){
    if( s->change[i]==s->n_step ){
      a->priority = s->low--;
      return true;
    }
  }
  return false;
}

/* ---- hooks --------------------------------------------------------------- */

static bool is_point(enum lab_call call){
  switch( call ){
    case CALL_SIZE: case CALL_MAP: case CALL_EXISTS: case CALL_CLOSE:
    case CALL_PATH_ID: case CALL_ID:
      return false;
    default: return true;
  }
}

static int sched_before(void *arg, struct lab_event *e){
  struct sched *s = arg;
  struct actor *a;
  struct tail_entry *t;

  if( e->call==CALL_CLOSE ){
    for(int i=0; i<OPEN_MAX_FILES; i++){
      if( s->open[i].lower==e->lower ) s->open[i].lower = NULL;
    }
  }
  if( s->now<0 || !is_point(e->call) ) return VECDB_OK;
  a = &s->actors[s->now];
  s->n_step++;
  a->n_step++;
  t = &s->tail[s->n_step % TAIL];
  t->actor = s->now;
  t->call = e->call;
  t->off = e->off;
  t->word = e->word;
  s->trace = vdb_mix64(s->trace ^ (uint64_t)s->now) + s->n_step;
  if( a->n_die && a->n_step>=a->n_die ) a->state = ACTOR_DEAD;
  if( a->state==ACTOR_DEAD || must_switch(s, e) ) switch_to_main(a);
  return VECDB_OK;
}

/* Whose file it is must be known when somebody dies. */
static void sched_note_file(struct sched *s, struct vdb_file *lower){
  int i = 0;
  while( i<OPEN_MAX_FILES && s->open[i].lower ) i++;
  assert( i<OPEN_MAX_FILES );
  s->open[i].lower = lower;
  s->open[i].actor = s->now;
}

static void sched_after(void *arg, struct lab_event *e, int rc){
  struct sched *s = arg;
  if( s->now>=0 && e->call==CALL_OPEN && rc==VECDB_OK ){
    sched_note_file(s, e->lower);
  }
}

/* The kernel closes what a dead process had open. */
static void actor_bury(struct sched *s, int i){
  for(int k=0; k<OPEN_MAX_FILES; k++){
    if( s->open[k].lower && s->open[k].actor==i ){
      s->open[k].lower->ops->close(s->open[k].lower);
      s->open[k].lower = NULL;
    }
  }
}

/* ---- the scheduler ------------------------------------------------------- */

struct sched *sched_create(struct vecdb_file_ops *mem, uint64_t seed){
  struct sched *s = lab_alloc(sizeof(*s));
  struct lab_hook hook = { s, sched_before, sched_after };
  s->ops = lab_layer_create(mem, "sched", &hook);
  s->now = -1;
  s->is_pct = seed % 2==0;
  s->low = (uint64_t)1<<32;
  vdb_rng_init(&s->rng, vdb_mix64(seed + 1));
  for(int i=0; i<N_CHANGE; i++){
    /* Bugs lie near the beginning as often as near the end. */
    uint32_t span = 1u << (4 + vdb_rng_below(&s->rng, 9));
    s->change[i] = 1 + vdb_rng_below(&s->rng, span);
  }
  return s;
}

void sched_destroy(struct sched *s){
  if( !s ) return;
  for(int i=0; i<s->n_actor; i++){
    if( s->actors[i].state==ACTOR_DONE ) stack_put(s->actors[i].stack);
    else stack_bury(s->actors[i].stack);
  }
  lab_layer_destroy(s->ops);
  free(s);
}

const struct vecdb_file_ops *sched_ops(struct sched *s){ return s->ops; }

void sched_spawn(struct sched *s, void (*fn)(void *arg), void *arg){
  struct actor *a = &s->actors[s->n_actor++];
  assert( s->n_actor<=SCHED_ACTOR_MAX );
  a->s = s;
  a->fn = fn;
  a->arg = arg;
  a->stack = stack_get();
  a->priority = ((uint64_t)1<<33) + (vdb_rng_u64(&s->rng)>>32);
  getcontext(&a->context);
  a->context.uc_stack.ss_sp = a->stack;
  a->context.uc_stack.ss_size = SZ_STACK;
  a->context.uc_link = NULL;
  makecontext(&a->context, actor_entry, 0);
}

void sched_kill_at(struct sched *s, int i_actor, uint64_t n){
  s->actors[i_actor].n_die = n;
}

bool sched_run(struct sched *s){
  while( n_ready(s)>0 ){
    int i = s->is_pct ? choose_highest(s) : choose_random(s);
    if( s->n_step>SCHED_STEP_MAX ) return false;
    if( i!=s->now ) s->n_in_a_row = 0;
    s->now = i;
    actor_starting = &s->actors[i];
    switch_context(&s->main, &s->actors[i].context, s->actors[i].stack,
                   SZ_STACK);
    s->now = -1;
    if( s->actors[i].state==ACTOR_DEAD ) actor_bury(s, i);
  }
  return true;
}

uint64_t sched_n_step(const struct sched *s){ return s->n_step; }
uint64_t sched_trace(const struct sched *s){ return s->trace; }

void sched_print_tail(const struct sched *s){
  uint64_t first = s->n_step>TAIL ? s->n_step - TAIL + 1 : 1;
  for(uint64_t i=first; i<=s->n_step; i++){
    const struct tail_entry *t = &s->tail[i % TAIL];
    printf("    step %llu: actor %d %s %llu %llu\n", (unsigned long long)i,
           t->actor, lab_call_name[t->call], (unsigned long long)t->off,
           (unsigned long long)t->word);
  }
}
