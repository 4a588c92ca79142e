/* bench.c -- `.bench TABLE`: searches of growing effort, their recall and rate.
**
** Queries are drawn rows of the table (a row is its own nearest neighbour, so
** one more is asked for and the first is not counted), or a file of vectors.
** The truth is an exact batch search. Each effort runs as a batch over all
** threads (of a SQLite database: one search after another), repeated until it
** has taken long enough to be told from noise; the best run counts. The last
** line is the exact search.
**
** A row says what must be known to compare it: rows, dimensions, type, metric,
** k, threads and the machine. FILE.csv gets all columns, FILE.svg a picture of
** queries per second over recall.
*/
#include "shell/cmd.h"
#include "shell/table.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_EFFORT_MAX = 16, N_QUERY = 200, K_DEFAULT = 10 };
#define RUN_SECONDS 0.2

struct bench_row { uint32_t ef; double recall, qps; };

struct bench {
  struct shell *sh;
  const char *column, *file;
  struct table t;
  vecdb_column_info ci;
  int i_col;
  uint64_t n_row;
  uint32_t k, nq;
  unsigned char *query;
  int64_t *self, *key;                 /* self: key of the row drawn */
  float *distance, *limit;
  struct bench_row row[N_EFFORT_MAX];
  int n;
};

/* ---- Queries ------------------------------------------------------------- */

static bool bench_alloc(struct bench *b){
  size_t n = (size_t)b->nq*(b->k + 1);
  b->query = malloc((size_t)b->nq*b->ci.vector_bytes);
  b->self = malloc(b->nq*sizeof *b->self);
  b->limit = malloc(b->nq*sizeof *b->limit);
  b->key = malloc(n*sizeof *b->key);
  b->distance = malloc(n*sizeof *b->distance);
  return b->query && b->self && b->limit && b->key && b->distance;
}

/* Every n-th row, in order of the key. */
static int queries_draw(struct bench *b){
  uint64_t step = b->n_row/b->nq ? b->n_row/b->nq : 1, i = 0;
  uint32_t n = 0;
  const struct table_ops *ops = b->t.ops;
  struct scan s;
  int rc = ops->scan_begin(&b->t, &s);
  while( rc==VECDB_OK && n<b->nq && (rc = ops->scan_step(&s))==VECDB_ROW ){
    struct cell v;
    rc = VECDB_OK;
    if( i++%step ) continue;
    rc = ops->scan_value(&s, b->i_col, &v);
    if( rc!=VECDB_OK || v.type!=VECDB_VECTOR ) continue;
    memcpy(b->query + (size_t)n*b->ci.vector_bytes, v.data,
           b->ci.vector_bytes);
    rc = ops->scan_value(&s, 0, &v);
    b->self[n++] = v.i;
  }
  ops->scan_end(&s);
  b->nq = n;
  return rc==VECDB_DONE ? VECDB_OK : rc;
}

/* ---- One effort ---------------------------------------------------------- */

static int batch_run(struct bench *b, uint32_t ef, bool is_exact){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  o.k = b->k + 1;
  o.column = b->i_col;
  o.ef = ef;
  if( is_exact ) o.flags |= VECDB_SEARCH_EXACT;
  return b->t.ops->search(&b->t, &o, b->nq, (int)b->ci.element, b->query,
                          b->key, b->distance);
}

/* Distance of the j-th neighbour of query i, itself left out; +inf: none. */
static float neighbour(const struct bench *b, uint32_t i, uint32_t j){
  const int64_t *key = b->key + (size_t)i*(b->k+1);
  for(uint32_t p=0; p<=b->k; p++){
    if( key[p]==b->self[i] ) continue;
    if( j--==0 ) return b->distance[(size_t)i*(b->k+1) + p];
  }
  return INFINITY;
}

static double recall_of(const struct bench *b){
  uint64_t n_hit = 0;
  for(uint32_t i=0; i<b->nq; i++){
    for(uint32_t j=0; j<b->k; j++) n_hit += neighbour(b, i, j)<=b->limit[i];
  }
  return b->nq ? (double)n_hit/((double)b->nq*b->k) : 0;
}

static int effort_measure(struct bench *b, uint32_t ef, bool is_exact){
  struct bench_row *r = &b->row[b->n];
  double t0 = shell_now(), best = 0;
  int rc = VECDB_OK;
  do{
    double t = shell_now(), secs;
    rc = batch_run(b, ef, is_exact);
    secs = shell_now() - t;
    if( secs>0 && b->nq/secs>best ) best = b->nq/secs;
  }while( rc==VECDB_OK && shell_now()-t0<RUN_SECONDS && !b->sh->interrupted );
  if( rc!=VECDB_OK ) return rc;
  r->ef = ef;
  r->qps = best;
  r->recall = recall_of(b);
  b->n++;
  return VECDB_OK;
}

static int bench_run(struct bench *b){
  static const uint32_t efs[] = { 10, 16, 24, 36, 54, 80, 120, 180, 270, 400,
                                  600 };
  struct progress pg;
  int rc = queries_draw(b);
  if( rc==VECDB_OK && b->nq==0 ) return VECDB_NOTFOUND;
  progress_begin(&pg, b->sh, "bench", "efforts",
                 sizeof(efs)/sizeof(efs[0]) + 1);
  if( rc==VECDB_OK ) rc = batch_run(b, 0, true);
  for(uint32_t i=0; i<b->nq && rc==VECDB_OK; i++){
    b->limit[i] = neighbour(b, i, b->k-1);
  }
  for(size_t i=0; i<sizeof(efs)/sizeof(efs[0]) && rc==VECDB_OK
                  && !b->sh->interrupted; i++){
    if( efs[i]<b->k ) continue;
    rc = effort_measure(b, efs[i], false);
    progress_update(&pg, i+1);
  }
  if( rc==VECDB_OK ) rc = effort_measure(b, 0, true);
  progress_end(&pg, NULL);
  return rc;
}

/* ---- Results ------------------------------------------------------------- */

static const char *machine(char *buf, size_t n){
  FILE *f = fopen("/proc/cpuinfo", "r");
  char line[256], *z;
  snprintf(buf, n, "unknown");
  while( f && fgets(line, sizeof line, f) ){
    if( strncmp(line, "model name", 10)!=0 || (z = strchr(line, ':'))==NULL ){
      continue;
    }
    z[strcspn(z, "\n")] = 0;
    snprintf(buf, n, "%s", z+2);
    break;
  }
  if( f ) fclose(f);
  return buf;
}

static const char *metric_name(uint32_t m){
  static const char *const name[] = { "?", "l2", "cosine", "ip", "l1",
                                      "hamming", "jaccard" };
  return m<sizeof(name)/sizeof(name[0]) ? name[m] : "?";
}

static long threads(const struct bench *b){
  if( b->sh->db==NULL ) return 1;
  return b->sh->n_thread ? b->sh->n_thread : sysconf(_SC_NPROCESSORS_ONLN);
}

static void csv_write(const struct bench *b, FILE *f){
  char cpu[128];
  machine(cpu, sizeof cpu);
  fputs("table,rows,type,metric,k,queries,threads,machine,ef,recall,qps\n",
        f);
  for(int i=0; i<b->n; i++){
    const struct bench_row *r = &b->row[i];
    char ef[16] = "exact";
    if( r->ef ) snprintf(ef, sizeof ef, "%u", r->ef);
    fprintf(f, "%s,%" PRIu64 ",%s,%s,%u,%u,%ld,\"%s\",%s,%.4f,%.1f\n",
            b->t.name, b->n_row, b->ci.decl, metric_name(b->ci.metric), b->k,
            b->nq, threads(b), cpu, ef, r->recall, r->qps);
  }
}

/* Recall on the x axis as -log10(1-recall), so that 0.9, 0.99 and 0.999 are
** equally far apart; queries per second, logarithmic, on the y axis. */
static double svg_x(double recall){
  double x = -log10(1 - (recall>0.9999 ? 0.9999 : recall));
  return 60 + 130*x;
}
static double svg_y(double qps, double lo, double hi){
  double span = log10(hi) - log10(lo);
  return 340 - 300*(span>0 ? (log10(qps) - log10(lo))/span : 0.5);
}

static void svg_write(const struct bench *b, FILE *f){
  static const double ticks[] = { 0, 0.5, 0.9, 0.99, 0.999, 0.9999 };
  double lo = 1e300, hi = 1;
  for(int i=0; i<b->n; i++){
    if( b->row[i].qps<lo ) lo = b->row[i].qps;
    if( b->row[i].qps>hi ) hi = b->row[i].qps;
  }
  fprintf(f, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"640\" "
    "height=\"400\" font-family=\"sans-serif\" font-size=\"12\">\n"
    "<rect width=\"640\" height=\"400\" fill=\"white\"/>\n"
    "<text x=\"60\" y=\"20\">queries per second over recall@%u: %" PRIu64
    " rows, %ld threads</text>\n", b->k, b->n_row, threads(b));
  for(size_t i=0; i<sizeof(ticks)/sizeof(ticks[0]); i++){
    fprintf(f, "<line x1=\"%.0f\" y1=\"40\" x2=\"%.0f\" y2=\"340\" "
      "stroke=\"#ddd\"/><text x=\"%.0f\" y=\"358\" text-anchor=\"middle\">%g"
      "</text>\n", svg_x(ticks[i]), svg_x(ticks[i]), svg_x(ticks[i]),
      ticks[i]);
  }
  fprintf(f, "<text x=\"6\" y=\"340\">%.0f</text><text x=\"6\" y=\"46\">%.0f"
          "</text>\n<polyline fill=\"none\" stroke=\"#36c\" points=\"", lo, hi);
  for(int i=0; i<b->n; i++){
    if( b->row[i].ef==0 ) continue;
    fprintf(f, "%.1f,%.1f ", svg_x(b->row[i].recall),
            svg_y(b->row[i].qps, lo, hi));
  }
  fputs("\"/>\n", f);
  for(int i=0; i<b->n; i++){
    const struct bench_row *r = &b->row[i];
    fprintf(f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"><title>"
      "%s%.0u: recall %.4f, %.0f/s</title></circle>\n", svg_x(r->recall),
      svg_y(r->qps, lo, hi), r->ef ? "#36c" : "#c33",
      r->ef ? "ef " : "exact", r->ef, r->recall, r->qps);
  }
  fputs("</svg>\n", f);
}

static bool ends_with(const char *z, const char *end){
  size_t n = strlen(z), m = strlen(end);
  return n>=m && sqlite3_stricmp(z+n-m, end)==0;
}

static void file_write(const struct bench *b, const char *path){
  FILE *f = fopen(path, "w");
  bool bad = f==NULL;
  if( f ){
    if( ends_with(path, ".svg") ) svg_write(b, f);
    else csv_write(b, f);
    bad = ferror(f)!=0;
    if( fclose(f)!=0 ) bad = true;
  }
  if( bad ) shell_error(b->sh, EXIT_SQL, "cannot write \"%s\"", path);
}

static void table_print(const struct bench *b){
  char cpu[128];
  fprintf(b->sh->out, "%s: %" PRIu64 " rows, %s, %s, k %u, %u queries, %ld "
          "threads, %s\n", b->t.name, b->n_row, b->ci.decl,
          metric_name(b->ci.metric), b->k, b->nq, threads(b),
          machine(cpu, sizeof cpu));
  fprintf(b->sh->out, "%6s %8s %12s\n", "ef", "recall", "queries/s");
  for(int i=0; i<b->n; i++){
    const struct bench_row *r = &b->row[i];
    char ef[16] = "exact", qps[32];
    if( r->ef ) snprintf(ef, sizeof ef, "%u", r->ef);
    shell_format_count(qps, sizeof qps, (unsigned long long)(r->qps + 0.5));
    fprintf(b->sh->out, "%6s %8.4f %12s\n", ef, r->recall, qps);
  }
}

/* ---- The command --------------------------------------------------------- */

static bool bench_open(struct bench *b){
  int rc = b->t.ops->open(&b->t), n;
  if( rc==VECDB_OK ) rc = b->t.ops->count(&b->t, &b->n_row);
  if( rc!=VECDB_OK ){ table_error(&b->t, rc); return false; }
  n = vecdb_column_count(b->t.c);
  for(b->i_col=0; b->i_col<n; b->i_col++){
    b->ci.size = sizeof b->ci;
    vecdb_column_describe(b->t.c, b->i_col, &b->ci);
    if( b->i_col==0 && b->ci.type==VECDB_TEXT ){
      shell_error(b->sh, EXIT_SQL, "cannot bench \"%s\": batches need integer "
                  "keys", b->t.name);
      return false;
    }
    if( b->ci.role==VECDB_ROLE_VECTOR && (b->column==NULL
        || sqlite3_stricmp(b->column, b->ci.name)==0) ) break;
  }
  if( b->i_col==n ){
    shell_error(b->sh, EXIT_SQL, "no vector column \"%s\" in \"%s\"",
                b->column ? b->column : "", b->t.name);
  }
  return b->i_col<n;
}

static bool args_parse(struct bench *b, int argc, char **argv){
  long k = K_DEFAULT, nq = N_QUERY;
  if( argc<2 ) return false;
  table_init(&b->t, b->sh, argv[1]);
  for(int i=2; i<argc; i++){
    if( strncmp(argv[i], "k=", 2)==0 ) k = strtol(argv[i]+2, NULL, 10);
    else if( strncmp(argv[i], "queries=", 8)==0 ) nq = strtol(argv[i]+8, NULL, 10);
    else if( strncmp(argv[i], "column=", 7)==0 ) b->column = argv[i]+7;
    else if( ends_with(argv[i], ".csv") || ends_with(argv[i], ".svg") ){
      b->file = argv[i];
    }
    else return false;
  }
  b->k = (uint32_t)k;
  b->nq = (uint32_t)nq;
  return k>0 && k<=1000 && nq>0 && nq<=100000;
}

bool cmd_bench(struct shell *sh, int argc, char **argv){
  struct bench b;
  int rc;
  memset(&b, 0, sizeof b);
  b.sh = sh;
  if( !args_parse(&b, argc, argv) ) return false;
  if( b.file && !cmd_allowed(sh, "writing a file") ) return true;
  if( bench_open(&b) && bench_alloc(&b) ){
    rc = b.t.ops->begin(&b.t, false);
    if( rc==VECDB_OK ){
      rc = bench_run(&b);
      b.t.ops->rollback(&b.t);
    }
    if( rc==VECDB_NOTFOUND ) shell_error(sh, EXIT_SQL, "\"%s\" has no rows",
                                         b.t.name);
    else if( rc!=VECDB_OK ) table_error(&b.t, rc);
    else{
      table_print(&b);
      if( b.file ) file_write(&b, b.file);
    }
  }
  table_close(&b.t);
  free(b.query);
  free(b.self);
  free(b.limit);
  free(b.key);
  free(b.distance);
  return true;
}
