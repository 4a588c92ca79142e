/* backup.c -- copy a database while it is in use, watching the progress. */
#include <stdio.h>
#include <stdlib.h>

#include "vecdb.h"

static vecdb *db;

static void must(int rc){
  if( rc==VECDB_OK || rc==VECDB_DONE ) return;
  fprintf(stderr, "error: %s\n", vecdb_errmsg(db));
  exit(1);
}

/* Called a few times a second; a nonzero return would stop the copy. */
static int show(void *arg, const vecdb_progress *p){
  (void)arg;
  fprintf(stderr, "%s: %llu of %llu %s\n", p->phase,
          (unsigned long long)p->done, (unsigned long long)p->total, p->unit);
  return 0;
}

static void insert(vecdb_collection *c, int n){
  vecdb_stmt *s;
  must( vecdb_prepare_insert(c, 0, &s) );
  must( vecdb_begin(db, VECDB_WRITE) );
  for(int i=0; i<n; i++){
    float v[3] = { (float)i, 1, 0 };
    must( vecdb_bind_vector(s, 1, VECDB_F32, v, sizeof(v), VECDB_STATIC) );
    must( vecdb_step(s) );
  }
  must( vecdb_commit(db) );
  must( vecdb_finalize(s) );
}

int main(void){
  vecdb_collection_stats st = { .size = sizeof(st) };
  vecdb_collection *c;
  must( vecdb_open("live.vdb", VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE, NULL,
                   &db) );
  must( vecdb_create_collection(db, "t", "v float[3]") );
  must( vecdb_collection_open(db, "t", &c) );
  insert(c, 5000);

  must( vecdb_progress_handler(db, show, NULL) );
  must( vecdb_backup(db, "copy.vdb") );        /* checked before it returns */
  insert(c, 10);                               /* not in the copy */
  must( vecdb_close(db) );

  must( vecdb_open("copy.vdb", VECDB_OPEN_READONLY, NULL, &db) );
  must( vecdb_collection_open(db, "t", &c) );
  must( vecdb_collection_stat(c, &st) );
  printf("the copy has %llu rows\n", (unsigned long long)st.n_row);
  return vecdb_close(db);
}
