/* b_filter.c -- how fast a filter answers from the column pages.
**
** A collection of N rows (-n, 1,000,000) in a file: two integer columns, one
** real, one boolean, one of short and one of long texts, an integer with NULLs.
** Each filter is answered -r times (9) over all rows from a warm cache, on one
** thread, to the bitmap that a search takes; the figure is rows per second of
** processor time, median. Besides it: the same kernel over the same cells as a
** plain array in memory, which is what pages and bitmaps cost.
**
** Usage: b_filter [-n rows] [-r repetitions] [-o result.json]
*/

#include "simd/column.h"
#include "store/search.h"
#include "store/store.h"
#include "util/bytes.h"
#include "util/mem.h"
#include "util/rng.h"

#include "record.h"
#include "bench/clock.h"


static struct store *st;
static struct vdb_err err;
static struct coll *coll;

static void check(int rc, const char *what){
  if( rc==VECDB_OK ) return;
  fprintf(stderr, "b_filter: %s: code %d, %s\n", what, rc,
          vdb_error_text(&err));
  exit(1);
}

/* ---- Rows ---------------------------------------------------------------- */

static const char schema[] =
  "id integer primary key, a int, b int, f float, yes boolean, s text, "
  "l text, n int, v float[1]";
enum { N_COL = 9 };

static void fill_row(struct vdb_rng *r, struct vdb_value *v, int64_t id,
                     char *s, char *l, const float *vec){
  memset(v, 0, N_COL*sizeof(*v));
  v[0].type = v[1].type = v[2].type = v[7].type = VECDB_INTEGER;
  v[0].i = id;
  v[1].i = (int64_t)vdb_rng_below(r, 1000);
  v[2].i = (int64_t)vdb_rng_u64(r);
  v[3].type = VECDB_REAL;
  v[3].r = vdb_rng_gauss(r);
  v[4].type = VECDB_BOOLEAN;
  v[4].i = vdb_rng_below(r, 2);
  v[5].type = v[6].type = VECDB_TEXT;
  v[5].n = (size_t)sprintf(s, "word%u", vdb_rng_below(r, 1000));
  v[5].p = s;
  v[6].n = (size_t)sprintf(l, "%u is the beginning of a long text",
                           vdb_rng_below(r, 1000));
  v[6].p = l;
  v[7].i = (int64_t)vdb_rng_below(r, 100);
  if( vdb_rng_below(r, 3)==0 ) v[7].type = VECDB_NULL;
  v[8].type = VECDB_VECTOR;
  v[8].p = vec;
  v[8].n = sizeof(*vec);
}

static void load(uint64_t n){
  struct vdb_value v[N_COL];
  struct coll_bulk *bulk = NULL;
  struct write_scope w;
  struct vdb_rng rng;
  char s[32], l[64];
  float vec = 1;
  int64_t key;
  bool done;

  vdb_rng_init(&rng, 1);
  check(vdb_store_write_begin(st, &w), "begin");
  check(vdb_store_create(st, "t", schema), "create");
  check(vdb_store_coll_open(st, "t", &coll), "open");
  check(vdb_coll_bulk_begin(coll, 0, &bulk), "bulk");
  for(uint64_t i=0; i<n; i++){
    fill_row(&rng, v, (int64_t)i, s, l, &vec);
    check(vdb_coll_bulk_add(bulk, v, &key, &done), "row");
  }
  check(vdb_coll_bulk_end(bulk, true), "bulk");
  check(vdb_store_write_end(st, &w, VECDB_OK), "commit");
}

/* ---- Filters ------------------------------------------------------------- */

static double filter_seconds(const char *text, uint64_t *n){
  struct filter_source src;
  struct filter_run *run = NULL;
  struct filter *f = NULL;
  struct coll_runs runs;
  uint64_t *rows = NULL;
  double t;

  check(vdb_coll_runs_open(coll, N_COL-1, &runs), "runs");
  check(vdb_filter_parse(vdb_coll_schema(coll), text, &err, &f), text);
  vdb_filter_source_coll(coll, &src);
  t = cpu_seconds();
  check(vdb_filter_begin(f, NULL, 0, &src, &run), "begin");
  check(vdb_search_rows(coll, &runs, run, NULL, &rows, n), "rows");
  t = cpu_seconds() - t;
  vdb_free(rows);
  vdb_filter_end(run);
  vdb_filter_destroy(f);
  vdb_coll_runs_close(&runs);
  return t;
}

/* The numbers 0, step, .. as the list of an IN. */
static char *list_make(const char *column, unsigned n, unsigned step){
  size_t cap = 40 + 12*(size_t)n;
  char *z = malloc(cap);
  size_t at = (size_t)snprintf(z, cap, "%s IN (0", column);
  for(unsigned i=1; i<n; i++){
    at += (size_t)snprintf(z+at, cap-at, ",%u", i*step);
  }
  snprintf(z+at, cap-at, ")");
  return z;
}

static void bench_filters(uint64_t n_row, int n_rep){
  char *few = list_make("a", 4, 7), *dense = list_make("a", 400, 2);
  char *far = list_make("b", 10000, 100003);
  const struct { const char *name, *text; bool is_goal; } filter[] = {
    { "integer =",               "a = 7", true },
    { "integer <",               "a < 500", true },
    { "integer between",         "a BETWEEN 100 AND 199", true },
    { "integer = or =",          "a = 7 OR a = 9", false },
    { "two integers and",        "a < 500 AND b > 0", false },
    { "integer in 4",            few, false },
    { "integer in 400",          dense, false },
    { "integer in 10000 apart",  far, false },
    { "integer with nulls <",    "n < 50", false },
    { "is null",                 "n IS NULL", false },
    { "real <",                  "f < 0.5", false },
    { "boolean",                 "yes", false },
    { "short text =",            "s = 'word7'", false },
    { "short text <",            "s < 'word5'", false },
    { "short text like prefix",  "s LIKE 'word7%'", false },
    { "short text in 5",
      "s IN ('word1','word2','word3','word4','word5')", false },
    { "long text =",
      "l = '7 is the beginning of a long text'", false },
    { "long text like prefix",   "l LIKE '7 is%'", false },
    { "all columns",
      "a<900 AND b<>0 AND f>-2 AND yes=1 AND s>'word1' AND n IS NOT NULL", false },
  };
  uint64_t n_match = 0;
  for(size_t i=0; i<VDB_ARRAY_LEN(filter); i++){
    filter_seconds(filter[i].text, &n_match);       /* warms the cache */
    for(int r=0; r<n_rep; r++){
      record(filter[i].name, (double)n_row/filter_seconds(filter[i].text,
                                                          &n_match));
    }
    figure(filter[i].name, median(filter[i].name)/1e6, "M rows/s",
           filter[i].is_goal ? AT_LEAST : GOAL_NONE, 1000);
  }
  free(few);
  free(dense);
  free(far);
}

/* ---- The kernel alone ---------------------------------------------------- */

static void bench_kernel(uint64_t n_row, int n_rep){
  unsigned char *cell = malloc(8*n_row);
  uint64_t *bit = malloc(8*VDB_COLUMN_WORDS(n_row));
  struct vdb_rng rng;
  vdb_rng_init(&rng, 2);
  for(uint64_t i=0; i<n_row; i++) put_u64(cell+8*i, vdb_rng_below(&rng, 1000));
  for(int r=0; r<=n_rep; r++){
    double t = cpu_seconds();
    vdb_column_simd()->int_range(cell, n_row, 100, 199, bit);
    t = cpu_seconds() - t;
    if( r>0 ) record("kernel", (double)n_row/t);
  }
  figure("kernel alone, integer between", median("kernel")/1e6, "M rows/s",
         GOAL_NONE, 0);
  free(cell);
  free(bit);
}

int main(int argc, char **argv){
  const char *out = NULL, *path = "b_filter.vdb";
  uint64_t n_row = 1000000;
  int n_rep = 9, opt;
  struct pager_config cfg;
  struct read_scope r;
  while( (opt = getopt(argc, argv, "n:r:o:"))!=-1 ){
    if( opt=='n' ) n_row = strtoull(optarg, NULL, 10);
    else if( opt=='r' ) n_rep = atoi(optarg);
    else if( opt=='o' ) out = optarg;
    else return 2;
  }
  if( n_row<1 || n_rep<1 || n_rep>=REPS_MAX ) return 2;
  load_at_start = load_now();
  memset(&cfg, 0, sizeof(cfg));
  cfg.path = path;
  cfg.open_flags = VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE;
  cfg.sync = VECDB_SYNC_OFF;
  cfg.sz_cache = (uint64_t)1<<30;
  check(vdb_store_open(&cfg, &err, &st), "open");
  load(n_row);
  check(vdb_store_read_begin(st, &r), "begin");
  bench_filters(n_row, n_rep);
  bench_kernel(n_row, n_rep);
  check(vdb_store_read_end(st, &r), "end");
  vdb_store_coll_close(coll);
  check(vdb_store_close(st), "close");
  unlink(path);
  if( out ){
    const char *about[] = { "benchmark", "b_filter", "simd",
                            vdb_column_simd()->name, NULL };
    json_write(out, ".", about);
  }
  return 0;
}
