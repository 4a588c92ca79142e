/* b_replace.c -- what a graph is worth after half of its rows were replaced.
**
** Two thirds of a data set are loaded and optimized. Then, in -r rounds, the
** oldest rows go and as many of the last third come, half of the table in all,
** with optimize after each round. Beside it, in another file, the rows that are
** there in the end, all at once: recall at fixed efforts, searches per second of
** processor time, and the size of the files after vacuum.
**
** Usage: b_replace [-r rounds] [-q queries] [-t threads] [-c (cosine)]
**                  [-d folder for the files] FOLDER
*/
#include "bench/table.h"

static const uint32_t efforts[] = { 16, 32, 64, 128 };
enum { N_EFFORT = sizeof(efforts)/sizeof(efforts[0]) };

static void rows_delete(struct table *t, uint32_t lo, uint32_t n){
  vecdb_stmt *s;
  must(t, vecdb_begin(t->db, VECDB_WRITE), "begin");
  must(t, vecdb_prepare_delete(t->c, &s), "prepare");
  for(uint32_t i=lo; i<lo+n; i++){
    must(t, vecdb_bind_int64(s, VECDB_KEY, i), "bind");
    if( vecdb_step(s)!=VECDB_DONE ) die("delete", vecdb_errmsg(t->db));
    must(t, vecdb_reset(s), "reset");
  }
  vecdb_finalize(s);
  must(t, vecdb_commit(t->db), "commit");
}

static long file_bytes(struct table *t){
  struct stat st;
  must(t, vecdb_vacuum(t->db), "vacuum");
  must(t, vecdb_checkpoint(t->db, VECDB_CHECKPOINT_TRUNCATE, NULL, NULL),
       "checkpoint");
  return stat(t->path, &st)==0 ? (long)st.st_size : -1;
}

static void line(const char *what, double replaced, double fresh,
                 const char *format){
  printf("%-24s ", what);
  printf(format, replaced);
  printf(format, fresh);
  printf("%8.3f\n", replaced/fresh);
}

static void compare(struct table *t, struct table *fresh,
                    const struct set *base, const struct set *query,
                    const double *limit){
  for(int i=0; i<N_EFFORT; i++){
    double recall[2], sec[2];
    char what[40];
    for(int rep=0; rep<2; rep++){          /* the second one counts */
      sec[0] = table_search_ef(t, base, query, limit, efforts[i], &recall[0]);
      sec[1] = table_search_ef(fresh, base, query, limit, efforts[i],
                               &recall[1]);
    }
    snprintf(what, sizeof(what), "recall at ef %u", efforts[i]);
    line(what, recall[0], recall[1], "%10.4f");
    snprintf(what, sizeof(what), "searches/s at ef %u", efforts[i]);
    line(what, query->n/sec[0], query->n/sec[1], "%10.0f");
  }
  line("bytes after vacuum", (double)file_bytes(t), (double)file_bytes(fresh),
       "%10.0f");
}

int main(int argc, char **argv){
  const char *folder = "/tmp", *threads = "1";
  uint32_t n_round = 20, n_query = 1000, n_row, n_step;
  int opt, is_cosine = 0;
  struct set base, query, live;
  struct table t, fresh;
  double *limit, t0;

  while( (opt = getopt(argc, argv, "r:q:t:cd:"))!=-1 ){
    switch( opt ){
      case 'r': n_round = (uint32_t)strtoul(optarg, NULL, 10); break;
      case 'q': n_query = (uint32_t)strtoul(optarg, NULL, 10); break;
      case 't': threads = optarg; break;
      case 'c': is_cosine = 1; break;
      case 'd': folder = optarg; break;
      default: die("usage", "b_replace [options] FOLDER");
    }
  }
  if( optind+1!=argc || n_round==0 ) die("usage", "b_replace [options] FOLDER");
  base = set_read(argv[optind], "base");
  query = set_read(argv[optind], "query");
  if( is_cosine ){ set_normalise(&base); set_normalise(&query); }
  if( query.n>n_query ) query.n = n_query;
  n_row = base.n/3*2;
  n_step = n_row/2/n_round;

  table_make(&t, folder, "replaced", &base, is_cosine, threads);
  table_put(&t, &base, 0, n_row);
  table_optimize(&t, "first optimize");
  t0 = cpu_seconds();
  for(uint32_t r=0; r<n_round; r++){
    rows_delete(&t, r*n_step, n_step);
    table_put(&t, &base, n_row + r*n_step, n_step);
    must(&t, vecdb_optimize(t.c, NULL), "optimize");
  }
  printf("%u rounds of %u rows: %.2f s of processor time each\n", n_round,
         n_step, (cpu_seconds()-t0)/n_round);
  must(&t, vecdb_check(t.db, 0, NULL, NULL), "check");

  table_make(&fresh, folder, "fresh", &base, is_cosine, threads);
  table_put(&fresh, &base, n_round*n_step, n_row);
  table_optimize(&fresh, "all at once");
  live = base;
  live.x += (size_t)n_round*n_step*base.d;
  live.n = n_row;
  limit = truth_scan(&live, &query);
  printf("%-24s %10s%10s%8s\n", "", "replaced", "fresh", "ratio");
  compare(&t, &fresh, &base, &query, limit);
  vecdb_close(t.db);
  vecdb_close(fresh.db);
  table_unlink(&t);
  table_unlink(&fresh);
  return 0;
}
