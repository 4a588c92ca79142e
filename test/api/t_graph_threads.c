/* t_graph_threads.c -- graphs of one file, used by several threads at once: by
** connections of their own while another one writes and a thread in the background
** tends the graph, and by the threads of one batch. Small enough for
** ThreadSanitizer (make check-tsan).
*/
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "api/graph.h"

#define TH_SCHEMA  G_SCHEMA ", optimize=background, merge_rows=100"

static vecdb *th_open(const char *path, uint32_t n_thread){
  vecdb_options o = VECDB_OPTIONS_INIT;
  o.sync = VECDB_SYNC_OFF;
  o.threads = n_thread;
  o.busy_ms = 60000;
  return api_open(path, &o);
}

/* ---- Readers beside a writer --------------------------------------------- */

enum { N_QUERY = 40, TH_FEW = 600, TH_STEP = 125, TH_MANY = 1600 };

struct reader {
  pthread_t thread;
  const char *path;
  atomic_int *is_over;
  unsigned seed;
  unsigned n_batch, n_wrong;
  int rc;
};

/* k rows in order, each once, each as far away as it is. */
static bool answer_is_right(const float *q, const int64_t *key,
                            const float *distance){
  for(int i=0; i<G_K; i++){
    float v[G_DIMS], d2 = 0;
    if( key[i]<0 ) return false;
    g_vector((uint64_t)key[i], v);
    for(int j=0; j<G_DIMS; j++) d2 += (v[j]-q[j])*(v[j]-q[j]);
    if( distance[i]<sqrtf(d2)*0.99999f || distance[i]>sqrtf(d2)*1.00001f ){
      return false;
    }
    if( i>0 && (distance[i]<distance[i-1] || key[i]==key[i-1]) ) return false;
  }
  return true;
}

static void *reader_run(void *arg){
  struct reader *r = arg;
  vecdb *db = th_open(r->path, 2);
  vecdb_search_options o = g_options(G_K, 40);
  vecdb_collection *c = NULL;
  float q[N_QUERY*G_DIMS], distance[N_QUERY*G_K];
  int64_t key[N_QUERY*G_K];
  r->rc = vecdb_collection_open(db, "t", &c);
  for(int last=0; r->rc==VECDB_OK && !last; r->n_batch++){
    last = atomic_load(r->is_over);
    for(uint64_t i=0; i<N_QUERY; i++){
      g_vector(1000000 + 1000*r->seed + r->n_batch*N_QUERY + i, q + i*G_DIMS);
    }
    r->rc = vecdb_search_many(c, &o, N_QUERY, VECDB_F32, q, 0, key, distance,
                              NULL);
    for(int i=0; r->rc==VECDB_OK && i<N_QUERY; i++){
      r->n_wrong += !answer_is_right(q + i*G_DIMS, key + i*G_K,
                                     distance + i*G_K);
    }
    if( !last ) usleep(1000);
  }
  vecdb_close(db);
  return NULL;
}

TEST(graph_threads__search_while_one_writes_and_one_tends){
  const char *path = vt_path("t.vdb");
  vecdb_background_info i = { .size = sizeof(i) };
  vecdb_search_options o = g_options(G_K, 60);
  struct reader reader[2] = { { .path = path }, { .path = path, .seed = 1 } };
  atomic_int is_over = 0;
  vecdb *db = th_open(path, 2);
  vecdb_collection *c = g_table(db, TH_SCHEMA, VECDB_F32, TH_FEW);
  for(int k=0; k<2; k++){
    reader[k].is_over = &is_over;
    REQUIRE(pthread_create(&reader[k].thread, NULL, reader_run, &reader[k])
            ==0);
  }
  for(uint64_t n=TH_FEW; n<TH_MANY; n+=TH_STEP){
    g_fill(c, VECDB_F32, n, n+TH_STEP);
  }
  do{
    usleep(2000);
    OK(db, vecdb_background(db, &i));
  }while( i.state==VECDB_BACKGROUND_BUSY );
  atomic_store(&is_over, 1);
  for(int k=0; k<2; k++){
    pthread_join(reader[k].thread, NULL);
    CHECK_RC(VECDB_OK, reader[k].rc);
    CHECK(reader[k].n_batch>0);
    CHECK_U64(0, reader[k].n_wrong);
  }
  CHECK(i.n_done>0);
  CHECK_U64(0, i.n_failed);
  CHECK_U64(TH_MANY, g_graph_rows(c));
  CHECK(g_recall(c, &o, VECDB_F32, 20)>=0.97);
  OK(db, vecdb_check(db, 0, NULL, NULL));
  OK(db, vecdb_close(db));
}

/* ---- The threads of one batch -------------------------------------------- */

TEST(graph_threads__batches_are_those_of_one){
  enum { N = 300 };
  static float q[N*G_DIMS], distance[2][N*G_K];
  static int64_t key[2][N*G_K];
  const char *path = vt_path("t.vdb");
  vecdb_search_options o = g_options(G_K, 40);
  vecdb *db = th_open(path, 1);
  (void)g_table(db, G_SCHEMA, VECDB_F32, 1200);
  OK(db, vecdb_close(db));
  for(uint64_t i=0; i<N; i++) g_vector(1000000+i, q + i*G_DIMS);
  for(int f=0; f<3; f++){
    static const char *const filter[] = { NULL, "id >= 100", "id < 300" };
    o.filter = filter[f];
    for(int k=0; k<2; k++){
      vecdb_collection *c;
      db = th_open(path, k ? 4 : 1);
      c = api_collection(db, "t", NULL);
      OK(db, vecdb_search_many(c, &o, N, VECDB_F32, q, 0, key[k], distance[k],
                               NULL));
      OK(db, vecdb_close(db));
    }
    CHECK_MEM(key[0], key[1], sizeof(key[0]));
    CHECK_MEM(distance[0], distance[1], sizeof(distance[0]));
  }
}
