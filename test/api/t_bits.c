/* t_bits.c -- graphs over columns of bits: what they find, by hamming and by
** jaccard, with filters, new rows, deletes, copies, merges, vacuum and check.
*/
#include "api/graph.h"

enum { B_BITS = 200, B_BYTES = B_BITS/8, B_ROWS = 3000 };

/* Row i: a tenth of its bits differ from those of its cluster. */
static void b_vector(uint64_t i, unsigned char *v){
  uint32_t cluster = g_hash(i)%50;
  memset(v, 0, B_BYTES);
  for(uint32_t j=0; j<B_BITS; j++){
    uint32_t bit = g_hash(1000*(uint64_t)cluster + j + 7) & 1;
    if( g_hash(i*1024+j+99991)%10==0 ) bit ^= 1;
    v[j/8] = (unsigned char)(v[j/8] | bit<<(j%8));
  }
}

static void b_fill(vecdb_collection *c, uint64_t lo, uint64_t hi){
  size_t n = (size_t)(hi-lo);
  unsigned char *all = malloc(n*B_BYTES);
  int64_t *keys = malloc(n*sizeof(*keys));
  vecdb_column_data d[2] = {
    { sizeof(d[0]), 0, VECDB_INTEGER, 0, keys, 0, NULL },
    { sizeof(d[0]), 1, VECDB_VECTOR, VECDB_BIT, all, 0, NULL } };
  for(size_t i=0; i<n; i++){
    b_vector((lo+i)%100000, all + i*B_BYTES);
    keys[i] = (int64_t)(lo+i);
  }
  OK(vecdb_collection_db(c), vecdb_put_many(c, n, d, 2, 0, NULL));
  free(all);
  free(keys);
}

static void b_erase(vecdb_collection *c, int64_t lo, int64_t hi, int64_t step){
  vecdb *db = vecdb_collection_db(c);
  vecdb_stmt *s = NULL;
  OK(db, vecdb_begin(db, VECDB_WRITE));
  OK(db, vecdb_prepare_delete(c, &s));
  for(int64_t i=lo; i<hi; i+=step){
    OK(db, vecdb_bind_int64(s, VECDB_KEY, i));
    DONE(db, vecdb_step(s));
    OK(db, vecdb_reset(s));
  }
  OK(db, vecdb_finalize(s));
  OK(db, vecdb_commit(db));
}

static void b_search(vecdb_collection *c, const vecdb_search_options *o,
                     const unsigned char *q, struct answer *a){
  vecdb *db = vecdb_collection_db(c);
  vecdb_stmt *s = NULL;
  int rc;
  a->n = 0;
  OK(db, vecdb_prepare_search(c, o, &s));
  OK(db, vecdb_bind_vector(s, VECDB_QUERY, VECDB_BIT, q, B_BYTES,
                           VECDB_STATIC));
  while( (rc = vecdb_step(s))==VECDB_ROW && a->n<G_KEYS_MAX ){
    a->key[a->n] = vecdb_column_int64(s, 0);
    a->distance[a->n++] = (float)vecdb_row_distance(s);
  }
  CHECK_RC(VECDB_DONE, rc);
  OK(db, vecdb_finalize(s));
}

/* Mean recall by distance; as many rows as the exact answer has, in order, at
** distances that are those of the rows. */
static double b_recall(vecdb_collection *c, int metric,
                       const vecdb_search_options *opt, const char *plan){
  static struct answer a, e;
  size_t n = 0, n_all = 0;
  for(uint64_t i=0; i<40; i++){
    vecdb_search_options o = *opt;
    unsigned char q[B_BYTES], x[B_BYTES];
    b_vector(200000+i, q);
    b_search(c, &o, q, &a);
    if( plan ) CHECK_STR(plan, g_info(c).plan);
    o.flags |= VECDB_SEARCH_EXACT;
    b_search(c, &o, q, &e);
    if( opt->k>0 ) CHECK_U64(e.n, a.n);
    for(size_t j=0; j<a.n; j++){
      double d;
      b_vector((uint64_t)a.key[j]%100000, x);
      CHECK_RC(VECDB_OK, vecdb_distance(metric, VECDB_BIT, B_BITS, q, x, &d));
      CHECK((float)d==a.distance[j]);
      CHECK(j==0 || a.distance[j-1]<a.distance[j]
            || (a.distance[j-1]==a.distance[j] && a.key[j-1]<a.key[j]));
    }
    n += g_right(&a, &e);
    n_all += e.n;
  }
  return n_all ? (double)n/(double)n_all : 1;
}

static void finding(void *arg, int severity, const char *object,
                    const char *message){
  (void)arg;
  if( severity>1 ) FAIL("%s: %s", object, message);
}
static void expect_sound(vecdb *db){
  OK(db, vecdb_check(db, 0, finding, NULL));
}

static const struct { const char *name; int metric; } b_metric[] = {
  { "hamming", VECDB_HAMMING }, { "jaccard", VECDB_JACCARD } };

static vecdb_collection *b_table(vecdb *db, size_t i){
  char schema[200];
  vecdb_collection *c;
  snprintf(schema, sizeof(schema), "id integer primary key, v bit[200] "
           "distance_metric=%s index=graph", b_metric[i].name);
  c = api_collection(db, "t", schema);
  b_fill(c, 0, B_ROWS);
  OK(db, g_optimize(c));
  CHECK_U64(B_ROWS, g_graph_rows(c));
  return c;
}

TEST(bits__are_found_by_graphs){
  for(size_t i=0; i<2; i++){
    vecdb *db = api_memory();
    vecdb_collection *c = b_table(db, i);
    vecdb_search_options o = g_options(G_K, 100);
    CHECK(b_recall(c, b_metric[i].metric, &o, "graph")>=0.97);
    o.ef = 0;
    CHECK(b_recall(c, b_metric[i].metric, &o, "graph")>=0.93);  /* 0.95 */
    o.filter = "id > 1000";
    CHECK(b_recall(c, b_metric[i].metric, &o, NULL)>=0.93);
    o = g_options(0, 60);
    o.flags = VECDB_SEARCH_HAS_MAX;
    o.max_distance = i ? 0.25 : 30;
    CHECK(b_recall(c, b_metric[i].metric, &o, NULL)>=0.93);
    expect_sound(db);
    vecdb_close(db);
  }
}

/* New rows, copies of old ones and deletes: by upkeep at commits, by optimize,
** by a rebuild. */
TEST(bits__graphs_follow_their_rows){
  for(size_t i=0; i<2; i++){
    vecdb *db = api_memory();
    vecdb_collection *c = b_table(db, i);
    vecdb_optimize_options all = { .size = sizeof(all) };
    vecdb_search_options o = g_options(G_K, 40);
    OK(db, vecdb_collection_set(c, "merge_rows", "150"));
    b_fill(c, B_ROWS, B_ROWS+200);
    CHECK(g_graph_rows(c)>=B_ROWS+200);          /* at the commit */
    CHECK(b_recall(c, b_metric[i].metric, &o, "graph")>=0.97);
    b_fill(c, 100000, 100300);                   /* copies of 0..299 */
    b_erase(c, 0, B_ROWS, 4);
    CHECK(b_recall(c, b_metric[i].metric, &o, NULL)>=0.97);
    expect_sound(db);
    OK(db, vecdb_optimize(c, &all));
    CHECK(b_recall(c, b_metric[i].metric, &o, NULL)>=0.97);
    expect_sound(db);
    OK(db, g_optimize(c));
    OK(db, vecdb_vacuum(db));
    CHECK(b_recall(c, b_metric[i].metric, &o, "graph")>=0.97);
    expect_sound(db);
    vecdb_close(db);
  }
}

/* Many at once answer as one at a time. */
TEST(bits__batches_answer_as_single_searches_do){
  enum { N = 30 };
  vecdb *db = api_memory();
  vecdb_collection *c = b_table(db, 0);
  vecdb_search_options o = g_options(G_K, 40);
  static struct answer a;
  unsigned char q[N][B_BYTES];
  int64_t key[N*G_K];
  float distance[N*G_K];
  for(uint64_t i=0; i<N; i++) b_vector(300000+i, q[i]);
  OK(db, vecdb_search_many(c, &o, N, VECDB_BIT, q, 0, key, distance, NULL));
  for(size_t i=0; i<N; i++){
    b_search(c, &o, q[i], &a);
    for(size_t j=0; j<a.n; j++){
      CHECK(key[i*G_K+j]==a.key[j] && distance[i*G_K+j]==a.distance[j]);
    }
  }
  vecdb_close(db);
}
