/* b_select.c -- filtered searches of a data set through vecdb.h, for filtered.py.
**
** Usage: b_select [-c] [-q N] [-r N] FOLDER ATTRIBUTES FILTERS OUT
**   ATTRIBUTES  u32 number of columns, then for each row that many i32: integer
**               columns a0, a1, ..
**   FILTERS     a filter of the filter language per line; an empty one: none.
**               Each is answered before the next is read, so both may be pipes
**   OUT         per filter and way (default, exact): f64 seconds per query with
**               the filter answered once, f64 with it answered anew for each
**               query, then per query K i32 rows (-1: none) and the u32 number
**               of searches that went on exactly before; K is 10
** -c: cosine. -q, -r: queries, repetitions; seconds are of processor time, the
** least of the repetitions.
*/
#include <string.h>
#include <unistd.h>

#include "vecdb.h"
#include "bench/dataset.h"
#include "bench/clock.h"

enum { LINE_BYTES = 4096 };


static vecdb *db;
static void must(int rc, const char *what){
  if( rc!=VECDB_OK && rc!=VECDB_DONE ) die(what, vecdb_errmsg(db));
}

/* ---- The table ----------------------------------------------------------- */

static int32_t *attributes_read(const char *path, uint32_t n_row,
                                uint32_t *n_col){
  FILE *f = fopen(path, "rb");
  int32_t *a;
  if( f==NULL || fread(n_col, 4, 1, f)!=1 || *n_col>100 ) die(path, "cannot read");
  a = malloc(4*(size_t)n_row*(*n_col));
  if( fread(a, 4*(size_t)*n_col, n_row, f)!=n_row ) die(path, "short");
  fclose(f);
  return a;
}

static uint8_t *bytes_of(const struct set *s){
  size_t n = (size_t)s->n*s->d;
  uint8_t *b = malloc(n);
  for(size_t i=0; i<n; i++) b[i] = (uint8_t)s->x[i];
  return b;
}

static vecdb_collection *table_make(const struct set *base,
                                    const int32_t *attr, uint32_t n_col,
                                    int is_cosine){
  vecdb_column_data d[102] = { 0 };
  vecdb_collection *c = NULL;
  char schema[4096];
  int at = snprintf(schema, sizeof(schema), "id integer primary key, v %s[%u] "
                    "distance_metric=%s index=graph",
                    base->is_bytes ? "uint8" : "float", base->d,
                    is_cosine ? "cosine" : "l2");
  uint8_t *bytes = NULL;
  for(uint32_t j=0; j<n_col; j++){
    int64_t *v = malloc(8*(size_t)base->n);
    at += snprintf(schema+at, sizeof(schema)-(size_t)at, ", a%u int", j);
    for(uint32_t i=0; i<base->n; i++) v[i] = attr[(size_t)i*n_col+j];
    d[2+j] = (vecdb_column_data){ sizeof(d[0]), (int32_t)(2+j), VECDB_INTEGER,
                                  0, v, 0, NULL };
  }
  int64_t *id = malloc(8*(size_t)base->n);
  for(uint32_t i=0; i<base->n; i++) id[i] = i;
  d[0] = (vecdb_column_data){ sizeof(d[0]), 0, VECDB_INTEGER, 0, id, 0, NULL };
  d[1] = (vecdb_column_data){ sizeof(d[0]), 1, VECDB_VECTOR, VECDB_F32, base->x,
                              0, NULL };
  if( base->is_bytes ){
    bytes = bytes_of(base);
    d[1].element = VECDB_U8;
    d[1].data = bytes;
  }
  must(vecdb_create_collection(db, "t", schema), schema);
  must(vecdb_collection_open(db, "t", &c), "open");
  must(vecdb_put_many(c, base->n, d, 2+n_col, 0, NULL), "rows");
  must(vecdb_optimize(c, NULL), "optimize");
  for(uint32_t j=0; j<n_col; j++) free((void*)(uintptr_t)d[2+j].data);
  free(id);
  free(bytes);
  return c;
}

/* ---- Searches ------------------------------------------------------------ */

struct way {
  vecdb_collection *c;
  const char *query;             /* of the column's type, sz bytes each */
  size_t sz;
  int element;
  uint32_t n_query, flags;
  const char *filter;
};

/* All queries; row and n_switch may be NULL. */
static double run(const struct way *w, int is_fresh, int32_t *row,
                  uint32_t *n_switch){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_search_info info = { .size = sizeof(info) };
  vecdb_stmt *s = NULL;
  double t;
  o.k = K;
  o.filter = w->filter[0] ? w->filter : NULL;
  o.flags = w->flags;
  must(vecdb_prepare_search(w->c, &o, &s), w->filter);
  t = cpu_seconds();
  for(uint32_t i=0; i<w->n_query; i++){
    uint32_t n = 0;
    if( is_fresh && i>0 ){
      must(vecdb_finalize(s), "finalize");
      must(vecdb_prepare_search(w->c, &o, &s), w->filter);
    }
    must(vecdb_bind_vector(s, VECDB_QUERY, w->element, w->query + i*w->sz,
                           w->sz, VECDB_STATIC), "bind");
    while( vecdb_step(s)==VECDB_ROW ){
      int64_t id = vecdb_column_int64(s, 0);
      if( row && n<K ) row[i*K+n] = (int32_t)id;
      n++;
    }
    must(vecdb_reset(s), "search");
    for(; row && n<K; n++) row[i*K+n] = -1;
    if( n_switch==NULL ) continue;
    must(vecdb_last_search(db, &info), "info");
    *n_switch += info.n_switch;
  }
  t = (cpu_seconds()-t)/w->n_query;
  must(vecdb_finalize(s), "finalize");
  return t;
}

static void measure(struct way *w, int reps, FILE *out){
  int32_t *row = malloc(4*(size_t)K*w->n_query);
  uint32_t n_switch = 0;
  double once = 1e9, fresh = 1e9;
  run(w, 0, row, &n_switch);
  for(int r=0; r<reps; r++){
    double t = run(w, 0, NULL, NULL);
    once = t<once ? t : once;
    t = run(w, 1, NULL, NULL);
    fresh = t<fresh ? t : fresh;
  }
  if( fwrite(&once, 8, 1, out)!=1 || fwrite(&fresh, 8, 1, out)!=1
   || fwrite(row, 4*K, w->n_query, out)!=w->n_query
   || fwrite(&n_switch, 4, 1, out)!=1
   || fflush(out)!=0 ) die("output", "cannot write");
  free(row);
}

int main(int argc, char **argv){
  struct set base, query;
  struct way w = { 0 };
  char line[LINE_BYTES], path[] = "b_select.vdb";
  int is_cosine = 0, reps = 3, opt;
  uint32_t n_col;
  int32_t *attr;
  FILE *f, *out;
  while( (opt = getopt(argc, argv, "cq:r:"))!=-1 ){
    if( opt=='c' ) is_cosine = 1;
    else if( opt=='q' ) w.n_query = (uint32_t)strtoul(optarg, NULL, 10);
    else if( opt=='r' ) reps = atoi(optarg);
    else return 2;
  }
  if( optind+4!=argc ) die("usage", "b_select FOLDER ATTRIBUTES FILTERS OUT");
  base = set_read(argv[optind], "base");
  query = set_read(argv[optind], "query");
  attr = attributes_read(argv[optind+1], base.n, &n_col);
  must(vecdb_open(path, VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE, NULL, &db),
       path);
  w.c = table_make(&base, attr, n_col, is_cosine);
  w.element = base.is_bytes ? VECDB_U8 : VECDB_F32;
  w.sz = base.is_bytes ? query.d : 4*(size_t)query.d;
  w.query = (const char*)query.x;
  if( base.is_bytes ) w.query = (const char*)bytes_of(&query);
  if( w.n_query==0 || w.n_query>query.n ) w.n_query = query.n;
  f = fopen(argv[optind+2], "r");
  out = fopen(argv[optind+3], "wb");
  if( f==NULL || out==NULL ) die(argv[optind+2], "cannot open");
  while( fgets(line, sizeof(line), f) ){
    line[strcspn(line, "\n")] = 0;
    w.filter = line;
    for(int i=0; i<2; i++){
      w.flags = i ? VECDB_SEARCH_EXACT : 0;
      measure(&w, reps, out);
    }
  }
  fclose(f);
  if( fclose(out)!=0 ) die(argv[optind+3], "cannot write");
  must(vecdb_close(db), "close");
  unlink(path);
  return 0;
}
