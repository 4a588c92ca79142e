/* t_recall.c -- the recall that is asked for, of any number of neighbours. */
#include "api/graph.h"
#include "util/rng.h"

enum { N = 4000, D = 48, QUERIES = 100, K_MAX = 60, PER_CLUSTER = 20 };

static float rows[N*D], queries[QUERIES*D];

/* Rows and queries in clusters of PER_CLUSTER (centre_scale 0: one cloud). */
static void vectors(uint64_t seed, float *x, int n, double centre_scale){
  struct vdb_rng r, c;
  vdb_rng_init(&r, seed);
  for(int i=0; i<n; i++){
    vdb_rng_init(&c, 1000 + (uint64_t)i%(N/PER_CLUSTER));
    for(int j=0; j<D; j++){
      x[i*D+j] = (float)(vdb_rng_gauss(&r) + centre_scale*vdb_rng_gauss(&c));
    }
  }
}

static double recall_of(vecdb *db, vecdb_collection *c, uint32_t k,
                        double target){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  static int64_t key[QUERIES*K_MAX];
  static float truth[QUERIES*K_MAX], dist[QUERIES*K_MAX];
  int n = 0;
  o.k = k;
  o.flags = VECDB_SEARCH_EXACT;
  OK(db, vecdb_search_many(c, &o, QUERIES, VECDB_F32, queries, 0, key, truth,
                           NULL));
  o.flags = 0;
  o.recall = target;
  OK(db, vecdb_search_many(c, &o, QUERIES, VECDB_F32, queries, 0, key, dist,
                           NULL));
  for(int i=0; i<QUERIES; i++){
    float limit = truth[i*(int)k + (int)k-1];
    for(uint32_t j=0; j<k; j++) n += dist[(uint32_t)i*k+j]<=limit;
  }
  return (double)n/QUERIES/k;
}

static void check_recall(double centre_scale){
  static const uint32_t k[] = { 1, 3, 10, 18, 40, 60 };
  vecdb *db = api_memory();
  vecdb_collection *c = api_collection(db, "t", "id integer primary key, "
                                       "v float[48] index=graph");
  vecdb_column_data data = { sizeof(data), 1, VECDB_VECTOR, VECDB_F32, rows, 0,
                             NULL };
  vectors(1, rows, N, centre_scale);
  vectors(2, queries, QUERIES, centre_scale);
  OK(db, vecdb_put_many(c, N, &data, 1, 0, NULL));
  OK(db, g_optimize(c));
  for(size_t i=0; i<VDB_ARRAY_LEN(k); i++){
    double r = recall_of(db, c, k[i], .9), s = recall_of(db, c, k[i], .98);
    if( !CHECK(r>=.87 && s>=.95) ){
      printf("  recall of %u is %.4f for .9, %.4f for .98\n", k[i], r, s);
    }
  }
  OK(db, vecdb_close(db));
}

TEST(recall__is_kept_in_one_cloud){ check_recall(0); }
TEST(recall__is_kept_in_clusters){ check_recall(4); }
