/* b_range.c -- everything within a distance: by the graph against exact.
**
** Makes a table in memory of a data set's rows with a graph, and asks for all
** rows within the distance of the m-th nearest row, m = 1 to 3000: the share of
** the exact answer that comes, the processor time of both, how many searches
** went on exactly as the graph would have read more than all rows.
**
** Usage: b_range [-m METRIC] [-q QUERIES] FOLDER   (layout: README of the data)
*/
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/dataset.h"
#include "bench/clock.h"
#include "vecdb.h"

static vecdb *db;

static void must(int rc, const char *what){
  if( rc!=VECDB_OK ) die(what, vecdb_errmsg(db));
}

static vecdb_collection *table_make(const struct set *base,
                                    const char *metric){
  vecdb_optimize_options o = { .size = sizeof(o), .flags = VECDB_OPTIMIZE_ALL };
  vecdb_column_data d = { sizeof(d), 1, VECDB_VECTOR, VECDB_F32, base->x, 0,
                          NULL };
  vecdb_collection *c;
  char schema[200];
  snprintf(schema, sizeof(schema), "id integer primary key, "
           "v float[%u] distance_metric=%s", base->d, metric);
  must(vecdb_open("b", VECDB_OPEN_MEMORY, NULL, &db),
       "open");
  must(vecdb_create_collection(db, "t", schema), "create");
  must(vecdb_collection_open(db, "t", &c), "open");
  must(vecdb_put_many(c, base->n, &d, 1, 0, NULL), "rows");
  must(vecdb_optimize(c, &o), "optimize");
  return c;
}

/* Rows of one search, the distance of the last one. */
static uint64_t search(vecdb_collection *c, const vecdb_search_options *o,
                       const struct set *q, uint32_t i, double *last,
                       double *seconds){
  vecdb_stmt *s;
  uint64_t n = 0;
  int rc;
  must(vecdb_prepare_search(c, o, &s), "search");
  must(vecdb_bind_vector(s, VECDB_QUERY, VECDB_F32, q->x + (size_t)i*q->d,
                         4*(size_t)q->d, VECDB_STATIC), "query");
  *seconds -= cpu_seconds();
  for(; (rc = vecdb_step(s))==VECDB_ROW; n++) *last = vecdb_row_distance(s);
  *seconds += cpu_seconds();
  if( rc!=VECDB_DONE ) must(rc, "step");
  must(vecdb_finalize(s), "end");
  return n;
}

int main(int argc, char **argv){
  static const uint64_t rank[] = { 1, 10, 30, 100, 300, 1000, 3000 };
  static const double recall[] = { 0.9, 0.95, 0.99 };
  enum { N_RANK = sizeof(rank)/sizeof(rank[0]) };
  const char *metric = "l2";
  uint32_t n_query = 50;
  struct set base, query;
  vecdb_collection *c;
  double *radius, t, last = 0;
  int opt;

  while( (opt = getopt(argc, argv, "m:q:"))!=-1 ){
    if( opt=='m' ) metric = optarg;
    else if( opt=='q' ) n_query = (uint32_t)strtoul(optarg, NULL, 10);
    else die("usage", "b_range [-m METRIC] [-q QUERIES] FOLDER");
  }
  if( optind+1!=argc ) die("usage", "b_range [-m METRIC] [-q QUERIES] FOLDER");
  base = set_read(argv[optind], "base");
  query = set_read(argv[optind], "query");
  if( n_query>query.n ) n_query = query.n;
  c = table_make(&base, metric);
  radius = malloc(n_query*N_RANK*sizeof(*radius));
  printf("%s, %s: rows within: share found, ms by graph, ms exact, exact after "
         "all\n", argv[optind], metric);
  for(int j=0; j<N_RANK; j++){
    for(uint32_t i=0; i<n_query; i++){
      vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
      o.flags = VECDB_SEARCH_EXACT;
      o.k = rank[j];
      search(c, &o, &query, i, &radius[i*N_RANK+j], &t);
    }
  }
  for(size_t r=0; r<sizeof(recall)/sizeof(recall[0]); r++){
    for(int j=0; j<N_RANK; j++){
      double found = 0, t_graph = 0, t_exact = 0;
      int n_switch = 0;
      for(uint32_t i=0; i<n_query; i++){
        vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
        vecdb_search_info info = { .size = sizeof(info) };
        uint64_t n, n_all;
        o.flags = VECDB_SEARCH_HAS_MAX;
        o.k = 0;
        o.max_distance = radius[i*N_RANK+j];
        o.recall = recall[r];
        n = search(c, &o, &query, i, &last, &t_graph);
        must(vecdb_last_search(db, &info), "info");
        n_switch += strcmp(info.plan, "graph")!=0;
        o.flags |= VECDB_SEARCH_EXACT;
        n_all = search(c, &o, &query, i, &last, &t_exact);
        found += (double)n/(double)n_all;
      }
      printf("recall %.2f  %5llu: %.4f  %7.3f  %7.3f  %d\n", recall[r],
             (unsigned long long)rank[j], found/n_query,
             1000*t_graph/n_query, 1000*t_exact/n_query, n_switch);
      fflush(stdout);
    }
  }
  free(radius);
  return vecdb_close(db)!=VECDB_OK;
}
