/* driver.c -- runs a fuzz target where there is no libFuzzer, and in
** `make check`. See fuzz.h.
**
** Usage: f_NAME [-n EXECUTIONS] [-t SECONDS] [-seed N] [INPUT]...
**        f_NAME -seeds FOLDER
**
** With inputs, it runs those. Else it runs what the target's generator makes
** and the committed corpus (test/fuzz/corpus/NAME), then as many mutations
** as asked for, 400 times the scale if nothing is said. -t ends it sooner.
** -seeds writes what the generator makes. Equal seeds, equal runs.
**
** FEEDBACK  A build with -fsanitize-coverage=trace-pc calls
**           __sanitizer_cov_trace_pc() at every edge; inputs that reach
**           a place for the first time are kept and mutated further. Without
**           it one input in 64 is kept, whatever it did, so that a run goes
**           away from its seeds. A place is a distance in the program, so that
**           runs of the same one are equal wherever it is loaded.
**
** COST      Long inputs take their time in proportion, so those of more than
**           SZ_LONG bytes are chosen more rarely by as much. A target is worth
**           what its executions meet, and most of that is in short ones.
*/
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "lab/lib_layer.h"

enum { N_POOL_MAX = 4096, N_PLACE = 1<<16, SZ_LONG = 64<<10 };

struct input { uint8_t *p; size_t n; };

static struct {                    /* inputs to mutate */
  struct input *in;
  size_t n, n_seed;                /* the first n_seed always stay */
} pool;

/* ---- feedback ------------------------------------------------------------ */

static uint8_t place_seen[N_PLACE];
static size_t n_place;             /* seen for the first time in this input */
static bool has_feedback;

#ifdef __clang__
# define NOT_TRACED __attribute__((no_sanitize("coverage")))
#else
# define NOT_TRACED __attribute__((no_sanitize_coverage))
#endif
void __sanitizer_cov_trace_pc(void);
NOT_TRACED
void __sanitizer_cov_trace_pc(void){
  uintptr_t pc = (uintptr_t)__builtin_return_address(0)
               - (uintptr_t)&fuzz_target;
  size_t h = (pc ^ pc>>16 ^ pc>>5) & (N_PLACE-1);
  has_feedback = true;
  if( place_seen[h] ) return;
  place_seen[h] = 1;
  n_place++;
}

/* ---- the pool ------------------------------------------------------------ */

static void pool_add(const uint8_t *p, size_t n, struct vdb_rng *r){
  struct input in = { lab_alloc(n ? n : 1), n };
  size_t i = pool.n;
  memcpy(in.p, p, n);
  if( pool.n==N_POOL_MAX ){
    i = pool.n_seed + vdb_rng_below(r, (uint32_t)(N_POOL_MAX - pool.n_seed));
    free(pool.in[i].p);
  }else{
    pool.n++;
  }
  pool.in[i] = in;
}

static void pool_seed(void *arg, const char *name, const uint8_t *p,
                      size_t n){
  if( n>fuzz_target.sz_max || pool.n==N_POOL_MAX/2 ){
    fprintf(stderr, "seed %s: %zu bytes are too many\n", name, n);
    exit(1);
  }
  pool_add(p, n, arg);
}

/* Seeds more often than the rest where nothing says that the rest is good. */
static const struct input *input_choose(struct vdb_rng *r){
  size_t n = !has_feedback && vdb_rng_below(r, 4) ? pool.n_seed : pool.n;
  const struct input *in;
  do{
    in = &pool.in[vdb_rng_below(r, (uint32_t)n)];
  }while( in->n>SZ_LONG && vdb_rng_below(r, (uint32_t)in->n)>=SZ_LONG );
  return in;
}

static void pool_free(void){
  for(size_t i=0; i<pool.n; i++) free(pool.in[i].p);
  free(pool.in);
}

/* ---- files --------------------------------------------------------------- */

static uint8_t *file_read(const char *path, size_t *n){
  FILE *f = fopen(path, "rb");
  uint8_t *p = NULL;
  long sz;
  if( f && fseek(f, 0, SEEK_END)==0 && (sz = ftell(f))>=0 ){
    rewind(f);
    p = lab_alloc((size_t)sz + 1);
    *n = fread(p, 1, (size_t)sz, f);
  }
  if( f ) fclose(f);
  if( !p ){
    fprintf(stderr, "cannot read \"%s\"\n", path);
    exit(1);
  }
  return p;
}

static int name_is_visible(const struct dirent *d){ return d->d_name[0]!='.'; }

/* fn for the file, or for every file of the folder, by name. */
static size_t path_walk(const char *path,
                        void (*fn)(const char *path, void *arg), void *arg){
  struct dirent **d;
  struct stat st;
  int n;
  if( stat(path, &st)==0 && S_ISDIR(st.st_mode)
   && (n = scandir(path, &d, name_is_visible, alphasort))>=0 ){
    for(int i=0; i<n; i++){
      char file[4096];
      snprintf(file, sizeof(file), "%s/%s", path, d[i]->d_name);
      fn(file, arg);
      free(d[i]);
    }
    free(d);
    return (size_t)n;
  }
  fn(path, arg);
  return 1;
}

static void file_execute(const char *path, void *arg){
  size_t n;
  uint8_t *p = file_read(path, &n);
  VDB_UNUSED(arg);
  fuzz_execute(p, n);
  free(p);
}

static void file_to_pool(const char *path, void *arg){
  size_t n;
  uint8_t *p = file_read(path, &n);
  pool_seed(arg, path, p, n);
  free(p);
}

/* ---- the run ------------------------------------------------------------- */

struct settings { uint64_t n, seed; double seconds; };

static double clock_s(void){
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9*(double)t.tv_nsec;
}

/* Every committed input and every generated one, then mutations. */
static uint64_t fuzz_run(const struct settings *s){
  uint8_t *buf = lab_alloc(fuzz_target.sz_max + 1);
  double t_begin = clock_s();
  char corpus[4096];
  struct vdb_rng r;
  uint64_t n = 0;

  vdb_rng_init(&r, s->seed);
  fuzz_seed_to(pool_seed, &r);
  fuzz_target.seeds();
  snprintf(corpus, sizeof(corpus), "%s/%s", VDB_SRCDIR "/test/fuzz/corpus",
           fuzz_target.name);
  if( access(corpus, R_OK)==0 ) path_walk(corpus, file_to_pool, &r);
  pool.n_seed = pool.n;
  for(size_t i=0; i<pool.n_seed; i++, n++){
    fuzz_execute(pool.in[i].p, pool.in[i].n);
  }
  while( n<s->n ){
    const struct input *in = input_choose(&r);
    size_t sz = in->n;
    memcpy(buf, in->p, sz);
    sz = fuzz_target.mutate
       ? fuzz_target.mutate(buf, sz, fuzz_target.sz_max, &r)
       : fuzz_mutate_bytes(buf, sz, fuzz_target.sz_max, &r);
    n_place = 0;
    fuzz_execute(buf, sz);
    n++;
    if( has_feedback ? n_place>0 : vdb_rng_below(&r, 64)==0 ){
      pool_add(buf, sz, &r);
    }
    if( s->seconds>0 && n%64==0 && clock_s() - t_begin>s->seconds ) break;
  }
  free(buf);
  dprintf(1, "  %s: %llu executions, %zu inputs, %.0f a second\n",
         fuzz_target.name, (unsigned long long)n, pool.n,
         (double)n/(clock_s() - t_begin));
  dprintf(1, "figure fuzz-%s %llu\n", fuzz_target.name, (unsigned long long)n);
  return n;
}

static uint64_t env_u64(const char *name, uint64_t otherwise){
  const char *z = getenv(name);
  return z && z[0] ? strtoull(z, NULL, 0) : otherwise;
}

static const char *value_of(int argc, char **argv, int i){
  if( i+1<argc ) return argv[i+1];
  fprintf(stderr, "%s: %s needs a value\n", argv[0], argv[i]);
  exit(2);
}

int main(int argc, char **argv){
  struct settings s = { 400*env_u64("VECDB_LAB_SCALE", 1),
                        env_u64("VECDB_SEED", 1), 0 };
  bool n_given = false;
  size_t n_file = 0;
  int i = 1;

  fuzz_begin(argv[0]);
  for(; i<argc && argv[i][0]=='-'; i+=2){
    const char *z = value_of(argc, argv, i);
    if( strcmp(argv[i], "-n")==0 ){
      s.n = strtoull(z, NULL, 0);
      n_given = true;
    }
    else if( strcmp(argv[i], "-t")==0 ) s.seconds = strtod(z, NULL);
    else if( strcmp(argv[i], "-seed")==0 ) s.seed = strtoull(z, NULL, 0);
    else if( strcmp(argv[i], "-seeds")==0 ){
      fuzz_seeds_write(z);
      return 0;
    }else{
      fprintf(stderr, "%s: unknown option %s\n", argv[0], argv[i]);
      return 2;
    }
  }
  if( s.seconds>0 && !n_given ) s.n = UINT64_MAX;
  for(; i<argc; i++) n_file += path_walk(argv[i], file_execute, NULL);
  if( n_file==0 ){
    pool.in = lab_alloc(N_POOL_MAX*sizeof(*pool.in));
    fuzz_run(&s);
    pool_free();
  }
  fuzz_end();
  dprintf(1, "1 passed, 0 failed\n");
  return 0;
}
