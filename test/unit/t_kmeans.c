/* t_kmeans.c -- k-means against its definition written plainly; the same from
** any number of threads and from a GPU plugin.
*/
#include <math.h>
#include <stdlib.h>

#include "api/gpu.h"

#include "gpu/gpu.h"
#include "index/kmeans.h"
#include "simd/simd.h"
#include "util/mem.h"
#include "util/rng.h"

enum { N = 900, D = 7, K = 12 };
static float rows[N*D], first[K*D];

static void fill(uint64_t seed, int n_centre){
  struct vdb_rng rng;
  vdb_rng_init(&rng, seed);
  for(int i=0; i<N; i++) for(int j=0; j<D; j++){
    rows[i*D+j] = (float)((i%n_centre*31 + j*17)%23)
                + 0.5f*(float)vdb_rng_gauss(&rng);
  }
  for(int i=0; i<K*D; i++) first[i] = rows[i];
}

static uint32_t nearest(const float *centroid, uint32_t k, const float *x){
  uint32_t best = 0;
  for(uint32_t c=1; c<k; c++){
    if( vdb_distance(VECDB_L2, VECDB_F32, x, centroid+c*D, D)
        <vdb_distance(VECDB_L2, VECDB_F32, x, centroid+best*D, D) ) best = c;
  }
  return best;
}

static struct vdb_kmeans task(uint32_t n, uint32_t k){
  struct vdb_kmeans p = { .rows = rows, .n = n, .d = D, .k = k };
  return p;
}

TEST(kmeans__one_round_is_the_means_of_the_nearest){
  struct vdb_kmeans p = task(N, K);
  float centroid[K*D];
  uint32_t list[N], n_round;
  fill(vt_seed(), K);
  p.n_round = 1;
  memcpy(centroid, first, sizeof(first));
  CHECK_RC(VECDB_OK, vdb_kmeans_run(&p, centroid, list, &n_round));
  CHECK_U64(1, n_round);
  for(uint32_t c=0; c<K; c++){
    double sum[D] = { 0 };
    int n = 0;
    for(int i=0; i<N; i++){
      if( nearest(first, K, rows+i*D)!=c ) continue;
      n++;
      for(int j=0; j<D; j++) sum[j] += (double)rows[i*D+j];
    }
    for(int j=0; j<D && n>0; j++){
      CHECK_DBL((double)(float)(sum[j]/n), (double)centroid[c*D+j], 1e-6);
    }
  }
  for(int i=0; i<N; i++) CHECK_U64(nearest(centroid, K, rows+i*D), list[i]);
}

static int fetch_centroids(void *arg, uint32_t i, uint32_t n, void *dst){
  memcpy(dst, (const float*)arg + i*D, n*D*sizeof(float));
  return 0;
}
static int assign_by_gpu(void *arg, const float *centroid, uint32_t *list){
  enum { CAP = K+1 };
  vdb_gpu_source src = { .size = sizeof(src), .metric = VECDB_L2,
      .type = VECDB_F32, .dim = D, .n_rows = K, .fetch = fetch_centroids,
      .arg = (void*)(uintptr_t)centroid };
  uint32_t *row = malloc(N*CAP*sizeof(*row)), n[N];
  float *distance = malloc(N*CAP*sizeof(*distance));
  vdb_gpu_knn q = { .size = sizeof(q), .n_query = N, .k = 1, .cap = CAP,
                    .queries = rows, .row = row, .distance = distance,
                    .n = n };
  struct gpu_piece *p = NULL;
  (void)arg;
  CHECK_INT(VDB_GPU_OK, vdb_gpu_piece_create(&p));
  CHECK_INT(VDB_GPU_OK, vdb_gpu_piece_knn(p, &src, &q));
  for(int i=0; i<N; i++) list[i] = row[i*CAP];
  vdb_gpu_piece_destroy(p);
  free(row);
  free(distance);
  return VECDB_OK;
}

TEST(kmeans__the_same_from_threads_and_plugins){
  struct vdb_kmeans p = task(N, K);
  float centroid[3][K*D];
  uint32_t list[3][N], n_round[3];
  fill(vt_seed(), 5);                        /* so that lists are cut */
  CHECK_RC(VECDB_OK, vdb_gpu_path_set(gpu_plugin()));
  if( vdb_gpu_start()!=VDB_GPU_OK ) SKIP("no device");
  for(int i=0; i<3; i++){
    p.n_thread = i==1 ? 3 : 1;
    p.assign = i==2 ? assign_by_gpu : NULL;
    memcpy(centroid[i], first, sizeof(first));
    CHECK_RC(VECDB_OK, vdb_kmeans_run(&p, centroid[i], list[i],
                                      &n_round[i]));
    CHECK_MEM(centroid[0], centroid[i], sizeof(centroid[0]));
    CHECK_MEM(list[0], list[i], sizeof(list[0]));
    CHECK_U64(n_round[0], n_round[i]);
  }
}

static int fetch_rows(void *arg, uint32_t i, uint32_t n, void *dst){
  (void)arg;
  memcpy(dst, rows + (size_t)i*D, (size_t)n*D*sizeof(float));
  return 0;
}

/* All of it on the device, by the library's way there. */
TEST(kmeans__the_same_as_a_request_to_a_plugin){
  struct vdb_kmeans p = task(N, K);
  vdb_gpu_source src = { .size = sizeof(src), .metric = VECDB_L2,
      .type = VECDB_F32, .dim = D, .n_rows = N, .fetch = fetch_rows };
  float centroid[2][K*D];
  uint32_t list[2][N], n_round;
  vdb_gpu_kmeans m = { .size = sizeof(m), .k = K, .centroid = centroid[1],
                       .list = list[1] };
  struct gpu_piece *piece = NULL;
  fill(vt_seed(), 5);
  CHECK_RC(VECDB_OK, vdb_gpu_path_set(gpu_plugin()));
  if( vdb_gpu_start()!=VDB_GPU_OK ) SKIP("no device");
  CHECK_INT(VDB_GPU_OK, vdb_gpu_piece_create(&piece));
  memcpy(centroid[0], first, sizeof(first));
  memcpy(centroid[1], first, sizeof(first));
  CHECK_RC(VECDB_OK, vdb_kmeans_run(&p, centroid[0], list[0], &n_round));
  CHECK_INT(VDB_GPU_OK, vdb_gpu_piece_kmeans(piece, &src, &m));
  CHECK_MEM(centroid[0], centroid[1], sizeof(centroid[0]));
  CHECK_MEM(list[0], list[1], sizeof(list[0]));
  CHECK_U64(n_round, m.n_moved);
  /* A device that is lost says so, and from then on there is none. */
  memcpy(centroid[1], first, sizeof(first));
  CHECK_INT(VDB_GPU_OK, vdb_gpu_control(VDB_GPU_FAIL_LAUNCH, 2));
  CHECK_INT(VDB_GPU_DEVICE_LOST, vdb_gpu_piece_kmeans(piece, &src, &m));
  CHECK_MEM(first, centroid[1], sizeof(first));
  CHECK_INT(VDB_GPU_DEVICE_LOST, vdb_gpu_piece_kmeans(piece, &src, &m));
  vdb_gpu_piece_destroy(piece);
}

TEST(kmeans__empty_lists_take_half_of_the_largest){
  struct vdb_kmeans p = task(N, K);
  float centroid[K*D];
  uint32_t list[N], n[K] = { 0 };
  fill(vt_seed(), 3);
  for(int c=1; c<K; c++) memcpy(first+c*D, first, D*sizeof(*first));
  memcpy(centroid, first, sizeof(first));
  CHECK_RC(VECDB_OK, vdb_kmeans_run(&p, centroid, list, NULL));
  for(int i=0; i<N; i++) n[list[i]]++;
  for(int c=0; c<K; c++) CHECK(n[c]>0);
}

TEST(kmeans__extremes){
  struct vdb_kmeans p = task(N, 1);
  float centroid[K*D];
  uint32_t list[N];
  fill(vt_seed(), K);
  memcpy(centroid, first, sizeof(first));
  CHECK_RC(VECDB_OK, vdb_kmeans_run(&p, centroid, list, NULL));
  for(int i=0; i<N; i++) CHECK_U64(0, list[i]);
  p = task(K, K);                            /* as many lists as rows */
  memcpy(centroid, first, sizeof(first));
  CHECK_RC(VECDB_OK, vdb_kmeans_run(&p, centroid, list, NULL));
  CHECK_MEM(first, centroid, sizeof(first));
  for(int i=0; i<N; i++) memcpy(rows+i*D, rows, D*sizeof(*rows));
  p = task(N, K);                            /* equal rows */
  memcpy(centroid, first, sizeof(first));
  CHECK_RC(VECDB_OK, vdb_kmeans_run(&p, centroid, list, NULL));
  p = task(0, K);
  CHECK_RC(VECDB_OK, vdb_kmeans_run(&p, centroid, list, NULL));
}

TEST(kmeans__unit_centroids){
  struct vdb_kmeans p = task(N, K);
  float centroid[K*D];
  uint32_t list[N];
  fill(vt_seed(), K);
  for(int i=0; i<N; i++){
    float s = 1/sqrtf(vdb_norm2(VECDB_F32, rows+i*D, D));
    for(int j=0; j<D; j++) rows[i*D+j] *= s;
  }
  memcpy(centroid, rows, sizeof(first));
  p.is_unit = true;
  CHECK_RC(VECDB_OK, vdb_kmeans_run(&p, centroid, list, NULL));
  for(int c=0; c<K; c++){
    CHECK_DBL(1, (double)vdb_norm2(VECDB_F32, centroid+c*D, D), 1e-6);
  }
}

TEST(kmeans__memory_that_fails){
  struct vdb_kmeans p = task(N, K);
  struct vdb_mem_stats before, after;
  float centroid[K*D];
  uint32_t list[N];
  int n, rc = VECDB_NOMEM;
  fill(vt_seed(), 3);
  for(int c=1; c<K; c++) memcpy(first+c*D, first, D*sizeof(*first));
  vdb_mem_stats(&before);
  for(n=1; rc==VECDB_NOMEM && n<1000; n++){
    memcpy(centroid, first, sizeof(first));
    vdb_mem_fail_at((uint64_t)n, false);
    rc = vdb_kmeans_run(&p, centroid, list, NULL);
    vdb_mem_fail_at(0, false);
  }
  CHECK_RC(VECDB_OK, rc);
  CHECK(n>6);
  vdb_mem_stats(&after);
  CHECK_U64(before.sz_now, after.sz_now);
}

static int kmeans_stop(void *arg, double done){
  int *n_left = arg;
  CHECK(done>=0 && done<=1);
  return (*n_left)--==0;
}

TEST(kmeans__can_be_interrupted){
  struct vdb_kmeans p = task(N, K);
  float centroid[K*D];
  uint32_t list[N], n_round = 9;
  int rc = VECDB_INTERRUPT, n_stopped = 0;
  fill(vt_seed(), 9);
  for(int at=0; rc!=VECDB_OK && at<20; at++){
    int n_left = at;
    p.progress = kmeans_stop;
    p.arg = &n_left;
    memcpy(centroid, first, sizeof(first));
    rc = vdb_kmeans_run(&p, centroid, list, &n_round);
    if( rc!=VECDB_OK ) CHECK_RC(VECDB_INTERRUPT, rc);
    n_stopped += rc!=VECDB_OK;
  }
  CHECK_RC(VECDB_OK, rc);
  CHECK(n_stopped>=2);
}

/* What a plugin says is not trusted. */
static int assign_beyond(void *arg, const float *centroid, uint32_t *list){
  VDB_UNUSED(centroid);
  for(int i=0; i<N; i++) list[i] = 0;
  list[N-1] = *(uint32_t*)arg;
  return VECDB_OK;
}

TEST(kmeans__lists_that_are_none_are_refused){
  struct vdb_kmeans p = task(N, K);
  float centroid[K*D];
  uint32_t list[N], wrong[] = { K, UINT32_MAX };
  fill(vt_seed(), 9);
  p.assign = assign_beyond;
  for(int i=0; i<2; i++){
    p.arg = &wrong[i];
    memcpy(centroid, first, sizeof(first));
    CHECK_RC(VECDB_INTERNAL, vdb_kmeans_run(&p, centroid, list, NULL));
  }
}

/* Rows of zeros have no direction: their centroid stays where it is. */
TEST(kmeans__zeros_are_not_scaled){
  struct vdb_kmeans p = task(40, 2);
  float centroid[2*D] = { 0 };
  uint32_t list[N];
  memset(rows, 0, 40*D*sizeof(float));
  for(int i=20; i<40; i++) rows[i*D] = (float)i;
  centroid[D] = 1;
  p.is_unit = true;
  CHECK_RC(VECDB_OK, vdb_kmeans_run(&p, centroid, list, NULL));
  for(int j=0; j<D; j++) CHECK_DBL(0, centroid[j], 0);
  CHECK_DBL(1, (double)vdb_norm2(VECDB_F32, centroid+D, D), 1e-6);
}
