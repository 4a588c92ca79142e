/* cuda_test.cu -- what a device must compute before it is believed.
**
** A device whose answers differ from the CPU's would be worse than none, and
** drivers, compilers and chips differ. So, once, when it is opened: a few
** hundred vectors, each metric, the filter and the scan against sums that this
** file makes in plain C in the canonical order. It takes milliseconds; any
** difference is INTERNAL, and the CPU goes on alone. Bytes are whole numbers here,
** whose sums are exact in any order.
**
** BOUND   Rows of large numbers that cancel and small ones that remain put the
**   error of the tensor cores' sums near what rules.h assumes: were it more,
**   rows would be missing here.
*/
#include "gpu/cuda_int.h"

enum { N = 300, D = 150, NQ = 6, K = 5, CAP = 16 };

struct test_data {
  int d;                           /* dimensions of this round, at most D */
  uint32_t type;
  float x[N][D], q[NQ][D];
  uint32_t row[2][NQ*CAP], n[2][NQ];
  float distance[2][NQ*CAP];
};

static float test_number(uint32_t *state){
  *state = *state*1664525u + 1013904223u;
  return (float)(*state>>8)*0x1p-23f - 1;
}

/* Even rows: noise. Odd ones: pairs that cancel, small rests. */
static void test_fill(test_data *t, uint32_t type){
  uint32_t state = 12345;
  t->type = type;
  for(int i=0; i<N; i++) for(int j=0; j<D; j++){
    float x = test_number(&state);
    if( i%2 && j%2 ) x = -t->x[i][j-1] + x*0x1p-9f;
    t->x[i][j] = x;
  }
  for(int i=0; i<NQ; i++) for(int j=0; j<D; j++){
    t->q[i][j] = j%2 ? t->q[i][j-1] : test_number(&state);
  }
  if( type==VECDB_F32 ) return;
  for(int i=0; i<N+NQ; i++) for(int j=0; j<D; j++){
    float *x = i<N ? &t->x[i][j] : &t->q[i-N][j];
    *x = rintf(*x*50) + (type==VECDB_U8 ? 120 : 0);
  }
}

/* A vector as the device takes it. */
static void test_put(const test_data *t, const float *x, void *dst, size_t i){
  if( t->type==VECDB_F32 ){
    memcpy((float*)dst + i*t->d, x, sizeof(float)*t->d);
    return;
  }
  for(int j=0; j<t->d; j++){
    ((unsigned char*)dst)[i*t->d+j] = (unsigned char)(int)x[j];
  }
}

static int test_fetch(void *arg, uint32_t first, uint32_t n, void *dst){
  const test_data *t = (const test_data*)arg;
  for(uint32_t i=0; i<n; i++) test_put(t, t->x[first+i], dst, i);
  return 0;
}

/* The canonical sum on the host; op as RULE_*. */
static float test_sum(int rule, int d, const float *q, const float *x){
  float s[WARP] = { 0 };
  for(int i=0; i<(d+WARP-1)/WARP*WARP; i++){
    float a = i<d ? q[i] : 0, b = i<d ? x[i] : 0;
    if( rule==RULE_L2 ){
      a -= b;
      b = a;
    }
    s[i%WARP] = fmaf(a, b, s[i%WARP]);
  }
  for(int h=WARP/2; h>0; h/=2) for(int i=0; i<h; i++) s[i] += s[i+h];
  return s[0];
}

static float test_distance(int rule, int d, const float *q, const float *x){
  float sum = test_sum(rule, d, q, x), m;
  if( rule==RULE_L2 ) return sqrtf(sum);
  if( rule==RULE_IP ) return 0.0f - sum;
  m = (float)sqrt((double)test_sum(RULE_IP, d, q, q)
                  *(double)test_sum(RULE_IP, d, x, x));
  sum = 1.0f - sum/m;
  return sum<0 ? 0.0f : sum>2 ? 2.0f : sum;
}

/* Is the answer what the host computes? */
static bool test_is_right(const test_data *t, int rule, int way){
  for(int i=0; i<NQ; i++){
    const uint32_t *row = t->row[way] + i*CAP;
    const float *distance = t->distance[way] + i*CAP;
    int n_nearer = 0;
    if( t->n[way][i]<K || t->n[way][i]>CAP ) return false;
    for(uint32_t j=0; j<t->n[way][i]; j++){
      float d;
      if( row[j]>=N ) return false;
      d = test_distance(rule, t->d, t->q[i], t->x[row[j]]);
      if( memcmp(&d, &distance[j], sizeof(d))!=0 ) return false;
      if( j>0 && d<distance[j-1] ) return false;
    }
    for(int r=0; r<N; r++){
      n_nearer += test_distance(rule, t->d, t->q[i], t->x[r])
                <=distance[K-1];
    }
    if( n_nearer!=(int)t->n[way][i] ) return false;
  }
  return true;
}

static int test_metric(vdb_gpu_device *d, test_data *t, uint32_t metric,
                       uint32_t dim){
  vdb_gpu_source src = { sizeof(src), metric, t->type, dim, N, 0,
                         test_fetch, t };
  vdb_gpu_rows *r = NULL;
  float q_some[NQ*D];
  int code;
  t->d = (int)dim;
  for(int i=0; i<NQ; i++) test_put(t, t->q[i], q_some, (size_t)i);
  DEV_TRY( vdb_cuda_attach(d, &src, &r) );
  if( r->copy==NULL ) code = VDB_GPU_INTERNAL;
  for(int way=0; way<2 && code==VDB_GPU_OK; way++){
    vdb_gpu_knn q = { sizeof(q), NQ, K, CAP, q_some, NULL, NULL, NULL,
                      t->row[way], t->distance[way], t->n[way] };
    d->path = (uint32_t)way+1;
    DEV_TRY( vdb_cuda_knn(r, &q) );
    if( !test_is_right(t, r->rule, way) ) code = VDB_GPU_INTERNAL;
  }
done:
  vdb_cuda_detach(r);
  d->path = 0;
  return code;
}

int vdb_cuda_test(vdb_gpu_device *d){
  static const uint32_t metric[] = { VECDB_L2, VECDB_IP, VECDB_COSINE };
  static const uint32_t dim[] = { D, 100, D-7 };   /* streamed, staying */
  test_data *t = (test_data*)d->cfg.alloc(sizeof(*t));
  int code = t ? VDB_GPU_OK : VDB_GPU_NOMEM;
  if( t ) test_fill(t, VECDB_F32);
  for(int i=0; i<3 && code==VDB_GPU_OK; i++){
    code = test_metric(d, t, metric[i], dim[i]);
  }
  for(uint32_t type=VECDB_I8; type<=VECDB_U8 && code==VDB_GPU_OK; type++){
    test_fill(t, type);
    code = test_metric(d, t, metric[type==VECDB_U8 ? 0 : 1], dim[0]);
  }
  if( t ) d->cfg.release(t);
  memset(&d->stats, 0, sizeof(d->stats));
  return code;
}
