/* hello.c -- open a database, insert a few vectors, find the nearest.
**
**   cc hello.c -lvecdb && ./a.out
*/
#include <stdio.h>
#include <stdlib.h>

#include "vecdb.h"

static vecdb *db;

static void must(int rc){
  if( rc==VECDB_OK || rc==VECDB_DONE ) return;
  fprintf(stderr, "error: %s\n", vecdb_errmsg(db));
  exit(1);
}

static void put(vecdb_stmt *ins, const char *title, const char *vector){
  must( vecdb_bind_text(ins, 1, title, (size_t)-1, VECDB_TRANSIENT) );
  must( vecdb_bind_vector_text(ins, 2, vector, (size_t)-1) );
  must( vecdb_step(ins) );
}

int main(void){
  vecdb_search_options near = VECDB_SEARCH_OPTIONS_INIT;
  const float query[3] = { 0.9f, 0.1f, 0 };
  vecdb_collection *fruit;
  vecdb_stmt *ins, *search;
  int rc;

  must( vecdb_open("hello.vdb", VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE, NULL,
                   &db) );
  must( vecdb_create_collection(db, "fruit",
          "id integer primary key, title text, "
          "taste float[3] distance_metric=cosine") );
  must( vecdb_collection_open(db, "fruit", &fruit) );

  must( vecdb_begin(db, VECDB_WRITE) );
  must( vecdb_prepare_insert(fruit, 0, &ins) );
  put(ins, "apple", "[1, 0.2, 0.1]");          /* sweet, sour, bitter */
  put(ins, "lemon", "[0.1, 1, 0.2]");
  put(ins, "grapefruit", "[0.3, 0.6, 0.8]");
  put(ins, "mango", "[1, 0.1, 0]");
  must( vecdb_commit(db) );

  near.k = 2;
  must( vecdb_prepare_search(fruit, &near, &search) );
  must( vecdb_bind_vector(search, VECDB_QUERY, VECDB_F32, query,
                          sizeof(query), VECDB_STATIC) );
  while( (rc = vecdb_step(search))==VECDB_ROW ){
    printf("%-10s %.4f\n", vecdb_column_text(search, 1),
           vecdb_row_distance(search));
  }
  must(rc);
  must( vecdb_finalize(ins) );
  must( vecdb_finalize(search) );
  return vecdb_close(db);
}
