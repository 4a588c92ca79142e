/* bulk.c -- load many rows at once, then answer many queries at once.
**
** vecdb_put_many takes columns, not rows: large batches go straight to where
** they will be searched. vecdb_search_many uses all cores.
*/
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "vecdb.h"

enum { N = 20000, D = 64, NQ = 100, K = 5 };

static vecdb *db;

static void must(int rc){
  if( rc==VECDB_OK ) return;
  fprintf(stderr, "error: %s\n", vecdb_errmsg(db));
  exit(1);
}

static float *made_up_vectors(int n, unsigned seed){
  float *v = malloc((size_t)n*D*sizeof(float));
  if( v==NULL ) exit(1);
  for(int i=0; i<n*D; i++){
    seed = seed*1664525u + 1013904223u;
    v[i] = (float)(seed>>8)/16777216.0f;
  }
  return v;
}

int main(void){
  float *rows = made_up_vectors(N, 1), *queries = made_up_vectors(NQ, 2);
  int64_t *year = malloc(N*sizeof(*year)), first;
  static int64_t keys[NQ*K];
  static float distances[NQ*K];
  vecdb_search_options opt = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_column_data data[2] = {
    { sizeof(*data), 0, VECDB_VECTOR, VECDB_F32, NULL, 0, NULL },
    { sizeof(*data), 0, VECDB_INTEGER, 0, NULL, 0, NULL }
  };
  vecdb_collection *c;
  clock_t t;

  for(int i=0; i<N; i++) year[i] = 1970 + i%50;
  must( vecdb_open("bulk.vdb", VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE, NULL,
                   &db) );
  must( vecdb_create_collection(db, "items", "v float[64], year int") );
  must( vecdb_collection_open(db, "items", &c) );

  data[0].column = vecdb_column_find(c, "v");
  data[0].data = rows;
  data[1].column = vecdb_column_find(c, "year");
  data[1].data = year;
  t = clock();
  must( vecdb_put_many(c, N, data, 2, 0, &first) );
  printf("%d rows from key %lld on, %.0f ms\n", N, (long long)first,
         1e3*(double)(clock()-t)/CLOCKS_PER_SEC);

  opt.k = K;
  opt.filter = "year BETWEEN 1990 AND 1999";
  must( vecdb_search_many(c, &opt, NQ, VECDB_F32, queries, 0, keys, distances,
                          NULL) );
  for(int i=0; i<3; i++){
    printf("query %d:", i);
    for(int k=0; k<K; k++) printf("  %lld %.3f", (long long)keys[i*K+k],
                                  (double)distances[i*K+k]);
    printf("\n");
  }
  free(rows), free(queries), free(year);
  return vecdb_close(db);
}
