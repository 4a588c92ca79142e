/* filter.c -- search among the rows that satisfy a filter, page by page. */
#include <stdio.h>
#include <stdlib.h>

#include "vecdb.h"

static vecdb *db;

static int must(int rc){
  if( rc==VECDB_OK || rc==VECDB_ROW || rc==VECDB_DONE ) return rc;
  fprintf(stderr, "error: %s\n", vecdb_errmsg(db));
  exit(1);
}

static void fill(vecdb_collection *c){
  static const char *const lang[] = { "de", "en", "fr" };
  vecdb_stmt *ins;
  must( vecdb_begin(db, VECDB_WRITE) );
  must( vecdb_prepare_insert(c, 0, &ins) );
  for(int i=0; i<300; i++){
    float v[2] = { (float)(i%20), (float)(i/20) };
    must( vecdb_bind_vector(ins, 1, VECDB_F32, v, sizeof(v), VECDB_STATIC) );
    must( vecdb_bind_text(ins, 2, lang[i%3], 2, VECDB_STATIC) );
    must( vecdb_bind_int64(ins, 3, 1990 + i%35) );
    must( vecdb_step(ins) );
  }
  must( vecdb_finalize(ins) );
  must( vecdb_commit(db) );
}

/* Up to five rows farther away than `last`, which moves on. (Rows exactly as
** far as the last one of a page are passed over; where that matters, ask
** without AFTER_STRICT and leave out the keys that were seen.) */
static int page(vecdb_collection *c, const char *lang, double *last){
  const float query[2] = { 3, 4 };
  vecdb_search_options opt = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_stmt *s;
  int n = 0;
  opt.k = 5;
  opt.filter = "lang = ?1 AND year >= ?2 AND NOT (year IN (2000, 2001))";
  opt.flags = VECDB_SEARCH_HAS_MIN | VECDB_SEARCH_AFTER_STRICT;
  opt.min_distance = *last;
  must( vecdb_prepare_search(c, &opt, &s) );
  must( vecdb_bind_vector(s, VECDB_QUERY, VECDB_F32, query, sizeof(query),
                          VECDB_STATIC) );
  must( vecdb_bind_text(s, 1, lang, (size_t)-1, VECDB_TRANSIENT) );
  must( vecdb_bind_int64(s, 2, 1998) );
  while( must( vecdb_step(s) )==VECDB_ROW ){
    *last = vecdb_row_distance(s);
    printf("  %4lld  %s  %lld  %.4f\n", (long long)vecdb_column_int64(s, 0),
           vecdb_column_text(s, 2), (long long)vecdb_column_int64(s, 3),
           *last);
    n++;
  }
  must( vecdb_finalize(s) );
  return n;
}

int main(void){
  vecdb_collection *c;
  double last = -1;
  must( vecdb_open(":memory:", VECDB_OPEN_MEMORY, NULL, &db) );
  must( vecdb_create_collection(db, "docs",
          "v float[2], lang text, year int") );
  must( vecdb_collection_open(db, "docs", &c) );
  fill(c);
  for(int i=1; i<=3; i++){
    printf("page %d\n", i);
    if( page(c, "de", &last)<5 ) break;
  }
  return vecdb_close(db);
}
