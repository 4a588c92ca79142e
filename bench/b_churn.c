/* b_churn.c -- a table that is searched while rows come: what a commit costs
** that keeps the graph current, and what searches cost meanwhile.
**
** The first rows of a data set are loaded and optimized. The others follow in
** commits of -s rows. Between commits a slice of the queries is searched at
** the default recall; `slowest` is the worst slice beside the time of the same
** slice right after the first optimize. Then optimize, then all rows anew in
** another file: recall and speed of both, side by side.
**
** Usage: b_churn [-f first rows] [-s rows a commit] [-t threads] [-c (cosine)]
**                [-d folder for the file] FOLDER
** Inserts are timed by the clock and by processor time, searches by processor
** time. With -x LIMIT the program fails if searches ever were LIMIT times
** slower.
*/
#include "bench/table.h"

enum { SLICE = 1000 };

/* The rows from `first` on, in commits. Returns the worst slice. */
static double table_grow(struct table *t, const struct set *base,
                         const struct set *query, uint32_t first,
                         uint32_t step){
  double sec = 0, sec_cpu = 0, worst = 0, sum = 0, quiet[64] = { 0 };
  uint32_t n_commit = 0, n_slice = query->n/SLICE;
  if( n_slice>64 ) n_slice = 64;
  if( n_slice==0 ) die("queries", "too few");
  for(int round=0; round<3; round++){
    for(uint32_t i=0; i<n_slice; i++){
      double s = table_search(t, base, query, NULL, i*SLICE, SLICE, NULL);
      if( round==1 || (round>1 && s<quiet[i]) ) quiet[i] = s;
    }
  }
  for(uint32_t lo=first; lo<base->n; lo+=step, n_commit++){
    uint32_t n = base->n-lo<step ? base->n-lo : step, i = n_commit%n_slice;
    double a = wall_seconds(), b = cpu_seconds(), s;
    table_put(t, base, lo, n);
    sec += wall_seconds()-a;
    sec_cpu += cpu_seconds()-b;
    /* The first search after a commit opens what is new. */
    (void)table_search(t, base, query, NULL, i*SLICE, 1, NULL);
    s = table_search(t, base, query, NULL, i*SLICE, SLICE, NULL)/quiet[i];
    sum += s;
    if( s>worst ) worst = s;
  }
  printf("inserts: %.0f rows/s, %.1f us of processor time each, %u commits\n",
         (base->n-first)/sec, 1e6*sec_cpu/(base->n-first), n_commit);
  printf("searches meanwhile: %.2f times as slow, slowest %.2f\n",
         n_commit ? sum/n_commit : 0, worst);
  return worst;
}

int main(int argc, char **argv){
  const char *folder = "/tmp", *threads = "2";
  uint32_t first = 0, step = 1000;
  double most = 0, worst, *limit;
  int opt, is_cosine = 0;
  struct set base, query;
  struct table t, fresh;

  while( (opt = getopt(argc, argv, "f:s:t:cd:x:"))!=-1 ){
    switch( opt ){
      case 'f': first = (uint32_t)strtoul(optarg, NULL, 10); break;
      case 's': step = (uint32_t)strtoul(optarg, NULL, 10); break;
      case 't': threads = optarg; break;
      case 'c': is_cosine = 1; break;
      case 'd': folder = optarg; break;
      case 'x': most = strtod(optarg, NULL); break;
      default: die("usage", "b_churn [options] FOLDER");
    }
  }
  if( optind+1!=argc || step==0 ) die("usage", "b_churn [options] FOLDER");
  base = set_read(argv[optind], "base");
  query = set_read(argv[optind], "query");
  if( is_cosine ){ set_normalise(&base); set_normalise(&query); }
  limit = truth_read(argv[optind], &base, &query);
  if( first==0 || first>base.n ) first = base.n/2;

  table_make(&t, folder, "grown", &base, is_cosine, threads);
  table_put(&t, &base, 0, first);
  table_optimize(&t, "first optimize");
  worst = table_grow(&t, &base, &query, first, step);
  table_report(&t, "grown", &base, &query, limit);
  table_optimize(&t, "optimize");
  table_report(&t, "merged", &base, &query, limit);
  table_make(&fresh, folder, "fresh", &base, is_cosine, threads);
  table_put(&fresh, &base, 0, base.n);
  table_optimize(&fresh, "all at once");
  table_report(&fresh, "fresh", &base, &query, limit);
  vecdb_close(t.db);
  vecdb_close(fresh.db);
  table_unlink(&t);
  table_unlink(&fresh);
  return most>0 && worst>most;
}
