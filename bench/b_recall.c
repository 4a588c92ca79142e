/* b_recall.c -- is a target of recall kept? Recall measured on queries that the
** graph has not seen, beside the target that was asked for.
**
** Usage: b_recall [-q N] [-n N] [-s] [[cosine:]FOLDER ..]
**   -q N  queries of each set (1000)   -n N  rows of the sets made here (30000)
**   -s    leave the sets made here out
**
** Sets: folders (bench/dataset.h), and three made here: Gaussian rows; rows in
** 300 clusters; rows near a curved surface of 12 dimensions. Each of these has
** queries like its rows, and queries that are not: the same, moved and turned
** (`off`), as texts that ask are not like texts that answer.
**
** A number is the mean over the queries of the share of the k nearest that was
** found; a row as near as the k-th is right. `!` marks what lies more than a
** point below the target, `exact` what was searched exactly (few rows, or more
** recall than the graph was measured to give). Queries per second are of
** processor time, one thread.
*/
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vecdb.h"
#include "bench/dataset.h"
#include "util/rng.h"

enum { K_MAX = 100, N_K = 4, N_TARGET = 3, CLUSTERS = 300, LATENT = 12 };
static const uint32_t k_of[N_K] = { 1, 10, 50, 100 };
static const double target_of[N_TARGET] = { .90, .95, .99 };

static uint32_t n_query = 1000, n_made = 30000;
static int n_below;                    /* numbers marked with ! */

static double seconds(void){
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9*(double)t.tv_nsec;
}

static void must(vecdb *db, int rc, const char *what){
  if( rc!=VECDB_OK && rc!=VECDB_DONE ) die(what, vecdb_errmsg(db));
}

/* ---- Sets made here ------------------------------------------------------ */

enum made { GAUSS, CLUSTERED, SURFACE, N_MADE };
static const struct { const char *name; uint32_t d; } made[N_MADE] = {
  { "gauss-48", 48 }, { "clusters-96", 96 }, { "surface-128", 128 }
};

/* Vector i of a set; the same numbers make rows and queries. */
static void made_vector(enum made kind, struct vdb_rng *r, const float *frame,
                        uint32_t d, float *x){
  double z[LATENT];
  const float *centre = frame + (size_t)vdb_rng_below(r, CLUSTERS)*d;
  if( kind!=SURFACE ){
    double spread = kind==GAUSS ? 1 : .25;
    for(uint32_t j=0; j<d; j++){
      x[j] = (float)(spread*vdb_rng_gauss(r)) + (kind==GAUSS ? 0 : centre[j]);
    }
    return;
  }
  for(int i=0; i<LATENT; i++) z[i] = vdb_rng_gauss(r);
  for(uint32_t j=0; j<d; j++){
    double s = 0;
    for(int i=0; i<LATENT; i++) s += z[i]*(double)frame[(size_t)i*d+j];
    x[j] = (float)(sin(s) + .02*vdb_rng_gauss(r));
  }
}

/* Move and turn: mix each element with its neighbour, and push all one way. */
static void made_off(float *x, uint32_t d){
  for(uint32_t j=0; j<d; j++){
    x[j] = .8f*x[j] + .6f*x[(j+1)%d] + .3f;
  }
}

static struct set made_set(enum made kind, uint32_t n, uint64_t seed,
                           int is_off){
  struct set s = { n, made[kind].d, NULL, 0 };
  float *frame = malloc(4*(size_t)CLUSTERS*s.d);
  struct vdb_rng r;
  vdb_rng_init(&r, 99);
  for(size_t i=0; i<(size_t)CLUSTERS*s.d; i++){
    frame[i] = (float)vdb_rng_gauss(&r)*(kind==SURFACE ? .5f : 1);
  }
  s.x = malloc(4*(size_t)n*s.d);
  vdb_rng_init(&r, seed);
  for(uint32_t i=0; i<n; i++){
    made_vector(kind, &r, frame, s.d, s.x + (size_t)i*s.d);
    if( is_off ) made_off(s.x + (size_t)i*s.d, s.d);
  }
  free(frame);
  return s;
}

/* ---- One set ------------------------------------------------------------- */

struct table { vecdb *db; vecdb_collection *c; const char *path; };

static struct table table_make(const struct set *base, int is_cosine){
  vecdb_optimize_options opt = { .size = sizeof(opt),
                                 .flags = VECDB_OPTIMIZE_ALL };
  vecdb_column_data data = { sizeof(data), 1, VECDB_VECTOR, VECDB_F32, base->x,
                             0, NULL };
  struct table t = { .path = "b_recall.vdb" };
  char schema[200];
  unlink(t.path);
  must(NULL, vecdb_open(t.path, VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE, NULL,
                        &t.db), t.path);
  snprintf(schema, sizeof(schema), "id integer primary key, v float[%u] "
           "distance_metric=%s", base->d, is_cosine ? "cosine" : "l2");
  must(t.db, vecdb_create_collection(t.db, "t", schema), schema);
  must(t.db, vecdb_collection_open(t.db, "t", &t.c), "open");
  must(t.db, vecdb_put_many(t.c, base->n, &data, 1, 0, NULL), "rows");
  must(t.db, vecdb_optimize(t.c, &opt), "optimize");
  return t;
}

static void search(const struct table *t, const struct set *q, uint32_t k,
                   double recall, uint32_t flags, int64_t *key, float *dist){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  o.k = k;
  o.recall = recall;
  o.flags = flags;
  must(t->db, vecdb_search_many(t->c, &o, q->n, VECDB_F32, q->x, 0, key, dist,
                                NULL), "search");
}

/* A line of the table: one k, all targets. */
static void line(const struct table *t, const struct set *q, const char *name,
                 uint32_t k, const float *truth){
  int64_t *key = malloc(8*(size_t)q->n*k);
  float *dist = malloc(4*(size_t)q->n*k);
  printf("%-32s %4u ", name, k);
  for(int i=0; i<N_TARGET; i++){
    vecdb_search_info info = { .size = sizeof(info) };
    double recall = 0, time = seconds();
    search(t, q, k, target_of[i], 0, key, dist);
    time = seconds()-time;
    must(t->db, vecdb_last_search(t->db, &info), "info");
    for(uint32_t j=0; j<q->n; j++){
      float limit = truth[(size_t)j*K_MAX + k-1];
      uint32_t n = 0;
      for(uint32_t h=0; h<k; h++) n += dist[(size_t)j*k+h]<=limit;
      recall += (double)n/k/q->n;
    }
    if( info.ef==0 ) printf("  %.4f  (exact)        ", recall);
    else printf("  %.4f%c ef %4u %7.0f/s", recall,
                recall<target_of[i]-.01 ? '!' : ' ', info.ef, q->n/time);
    n_below += recall<target_of[i]-.01;
  }
  printf("\n");
  fflush(stdout);
  free(key);
  free(dist);
}

static void queries(const struct table *t, struct set *q, const char *name){
  int64_t *key;
  float *truth;
  if( q->n>n_query ) q->n = n_query;
  key = malloc(8*(size_t)q->n*K_MAX);
  truth = malloc(4*(size_t)q->n*K_MAX);
  search(t, q, K_MAX, 0, VECDB_SEARCH_EXACT, key, truth);
  for(int i=0; i<N_K; i++) line(t, q, name, k_of[i], truth);
  free(key);
  free(truth);
}

static void table_drop(struct table *t){
  must(t->db, vecdb_close(t->db), "close");
  unlink(t->path);
}

static void folder(const char *arg){
  int is_cosine = strncmp(arg, "cosine:", 7)==0;
  const char *path = is_cosine ? arg+7 : arg, *name = strrchr(path, '/');
  struct set base = set_read(path, "base"), q = set_read(path, "query");
  struct table t = table_make(&base, is_cosine);
  queries(&t, &q, name ? name+1 : path);
  table_drop(&t);
  free(base.x);
  free(q.x);
}

static void made_here(enum made kind){
  struct set base = made_set(kind, n_made, 1, 0);
  struct table t = table_make(&base, 0);
  char name[64];
  for(int is_off=0; is_off<2; is_off++){
    struct set q = made_set(kind, n_query, 2, is_off);
    snprintf(name, sizeof(name), "%s%s", made[kind].name,
             is_off ? ", off" : "");
    queries(&t, &q, name);
    free(q.x);
  }
  table_drop(&t);
  free(base.x);
}

int main(int argc, char **argv){
  int opt, is_skipped = 0;
  while( (opt = getopt(argc, argv, "q:n:s"))!=-1 ){
    if( opt=='q' ) n_query = (uint32_t)strtoul(optarg, NULL, 10);
    else if( opt=='n' ) n_made = (uint32_t)strtoul(optarg, NULL, 10);
    else if( opt=='s' ) is_skipped = 1;
    else return 2;
  }
  if( n_query==0 || n_made<1000 ) return 2;
  printf("%-32s %4s ", "recall found for a target of", "k");
  for(int i=0; i<N_TARGET; i++) printf("  %.2f %18s", target_of[i], "");
  printf("\n");
  for(int i=0; i<N_MADE && !is_skipped; i++) made_here((enum made)i);
  for(int i=optind; i<argc; i++) folder(argv[i]);
  printf("%d of these are more than a point below their target\n", n_below);
  return 0;
}
