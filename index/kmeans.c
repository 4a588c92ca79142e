/* kmeans.c -- Lloyd's iterations.
**
** ROUND   Every row is assigned to its nearest centroid; when fewer than one
**   of a thousand changed since the round before, that was all. Else every
**   centroid becomes the mean of its rows: sums in double precision over runs
**   of 256 of its rows, in their order, the sums of runs added in order, divided,
**   rounded to float, and scaled to length 1 where that is asked for.
** EMPTY   A list without rows takes half of the largest list (the first of
**   those equally large): by 2-means from its centroid and its row farthest
**   from that, RULES_SPLIT_ROUNDS rounds. Lists of one row are not split.
*/
#include <math.h>

#include "gpu/rules.h"
#include "index/index.h"
#include "index/kmeans.h"
#include "simd/simd.h"
#include "util/mem.h"
#include "util/pool.h"

#define ASSIGN_BLOCK  4096u

struct kmeans {
  const struct vdb_kmeans *p;
  float *centroid;
  uint32_t *list;
  uint32_t *before;            /* list of the round before */
  uint32_t *first;             /* k+1: members of list c are .. */
  uint32_t *member;            /* .. member[first[c] .. first[c+1]-1] */
  double *sum;                 /* 2*d for each thread */
  struct vdb_hit *hit;         /* ASSIGN_BLOCK */
  size_t *n_hit;
};

static const float *kmeans_row(const struct kmeans *m, uint32_t i){
  return m->p->rows + (size_t)i*m->p->d;
}
static float *kmeans_centroid(const struct kmeans *m, uint32_t c){
  return m->centroid + (size_t)c*m->p->d;
}

/* ---- Assignment ---------------------------------------------------------- */

/* Rows are the queries, centroids what is searched. */
static int assign_here(struct kmeans *m){
  const struct vdb_kmeans *p = m->p;
  struct flat_run run = { .vecs = m->centroid, .stride = p->d*sizeof(float),
                          .n_rows = p->k };
  struct flat_search s = { .metric = VECDB_L2, .type = VECDB_F32,
                           .dim = p->d, .runs = &run, .n_runs = 1,
                           .n_thread = p->n_thread };
  int rc = VECDB_OK;
  for(uint32_t i=0; i<p->n && rc==VECDB_OK; i+=ASSIGN_BLOCK){
    uint32_t n = p->n-i<ASSIGN_BLOCK ? p->n-i : ASSIGN_BLOCK;
    rc = vdb_flat_knn_batch(&s, kmeans_row(m, i), run.stride, n, 1, m->hit,
                            m->n_hit);
    for(uint32_t j=0; j<n && rc==VECDB_OK; j++) m->list[i+j] = m->hit[j].slot;
  }
  return rc;
}

static int rows_assign(struct kmeans *m){
  const struct vdb_kmeans *p = m->p;
  int rc = p->assign ? p->assign(p->arg, m->centroid, m->list)
                     : assign_here(m);
  for(uint32_t i=0; i<p->n && rc==VECDB_OK; i++){
    if( m->list[i]>=p->k ) rc = VECDB_INTERNAL;
  }
  return rc;
}

/* Members of every list, in order. */
static void members_sort(struct kmeans *m){
  const struct vdb_kmeans *p = m->p;
  memset(m->first, 0, ((size_t)p->k+1)*sizeof(*m->first));
  for(uint32_t i=0; i<p->n; i++) m->first[m->list[i]+1]++;
  for(uint32_t c=0; c<p->k; c++) m->first[c+1] += m->first[c];
  for(uint32_t i=0; i<p->n; i++) m->member[m->first[m->list[i]]++] = i;
  for(uint32_t c=p->k; c>0; c--) m->first[c] = m->first[c-1];
  m->first[0] = 0;
}

/* ---- Means --------------------------------------------------------------- */

/* The mean of n>0 rows; `which` says those of side `side`, NULL all. sum has
** room for 2*d. */
static void mean_of_rows(const struct kmeans *m, const uint32_t *row,
                         const uint8_t *which, uint8_t side, uint32_t n,
                         double *sum, float *out){
  size_t d = m->p->d;
  double *run = sum+d;
  uint32_t n_in = 0;
  memset(sum, 0, 2*d*sizeof(*sum));
  for(uint32_t i=0; i<n; i++){
    const float *x = kmeans_row(m, row[i]);
    if( which && which[i]!=side ) continue;
    for(size_t j=0; j<d; j++) run[j] += (double)x[j];
    if( ++n_in%RULES_SUM_RUN!=0 ) continue;
    for(size_t j=0; j<d; j++){
      sum[j] += run[j];
      run[j] = 0;
    }
  }
  if( n_in==0 ) return;
  for(size_t j=0; j<d; j++) out[j] = (float)((sum[j] + run[j])/n_in);
  if( m->p->is_unit ){
    float norm2 = vdb_norm2(VECDB_F32, out, d);
    float scale = norm2>0 ? 1/sqrtf(norm2) : 1;
    for(size_t j=0; j<d; j++) out[j] *= scale;
  }
}

static int mean_task(void *arg, size_t i_task, unsigned worker){
  struct kmeans *m = arg;
  uint32_t c = (uint32_t)i_task, n = m->first[c+1] - m->first[c];
  struct vdb_fpmode fp = vdb_fpmode_enter();
  if( n>0 ){
    mean_of_rows(m, m->member + m->first[c], NULL, 0, n,
                 m->sum + (size_t)worker*2*m->p->d, kmeans_centroid(m, c));
  }
  vdb_fpmode_leave(fp);
  return VECDB_OK;
}

/* ---- Empty lists --------------------------------------------------------- */

static uint32_t list_largest(const struct kmeans *m){
  uint32_t best = 0;
  for(uint32_t c=1; c<m->p->k; c++){
    if( m->first[c+1]-m->first[c]>m->first[best+1]-m->first[best] ) best = c;
  }
  return best;
}

/* Half of list `from` becomes list `to`; side has room for its members. */
static void list_split(struct kmeans *m, uint32_t from, uint32_t to,
                       uint8_t *side){
  const uint32_t *row = m->member + m->first[from];
  uint32_t n = m->first[from+1] - m->first[from], far = 0;
  float *a = kmeans_centroid(m, from), *b = kmeans_centroid(m, to), most = -1;
  size_t d = m->p->d;
  for(uint32_t i=0; i<n; i++){
    float d2 = vdb_l2sq(VECDB_F32, a, kmeans_row(m, row[i]), d);
    if( d2>most ){
      most = d2;
      far = i;
    }
  }
  memcpy(b, kmeans_row(m, row[far]), d*sizeof(*b));
  for(int round=0; round<RULES_SPLIT_ROUNDS; round++){
    for(uint32_t i=0; i<n; i++){
      const float *x = kmeans_row(m, row[i]);
      side[i] = vdb_l2sq(VECDB_F32, b, x, d)<vdb_l2sq(VECDB_F32, a, x, d);
    }
    mean_of_rows(m, row, side, 0, n, m->sum, a);
    mean_of_rows(m, row, side, 1, n, m->sum, b);
  }
  for(uint32_t i=0; i<n; i++) if( side[i] ) m->list[row[i]] = to;
}

static int empties_fill(struct kmeans *m){
  uint8_t *side = NULL;
  int rc = VECDB_OK;
  for(uint32_t c=0; c<m->p->k; c++){
    uint32_t from;
    if( m->first[c+1]>m->first[c] ) continue;
    from = list_largest(m);
    if( m->first[from+1]-m->first[from]<2 ) break;
    if( side==NULL ) side = vdb_malloc_array(m->p->n, 1);
    if( side==NULL ) return VECDB_NOMEM;
    list_split(m, from, c, side);
    members_sort(m);
  }
  vdb_free(side);
  return rc;
}

/* ---- The rounds ---------------------------------------------------------- */

static uint32_t rows_moved(const struct kmeans *m){
  uint32_t n = 0;
  for(uint32_t i=0; i<m->p->n; i++) n += m->list[i]!=m->before[i];
  return n;
}

static int rounds_run(struct kmeans *m, uint32_t *n_round){
  const struct vdb_kmeans *p = m->p;
  uint32_t most = p->n_round ? p->n_round : RULES_KMEANS_ROUNDS;
  int rc = VECDB_OK;
  for(uint32_t r=0; ; r++){
    *n_round = r;
    if( p->progress && p->progress(p->arg, (double)r/(most+1)) ){
      TRY( VECDB_INTERRUPT );
    }
    memcpy(m->before, m->list, p->n*sizeof(*m->list));
    TRY( rows_assign(m) );
    if( r==most ) break;
    if( r>0 && rules_kmeans_ends(rows_moved(m), p->n) ) break;
    members_sort(m);
    TRY( vdb_pool_run(p->n_thread, p->k, mean_task, m) );
    TRY( empties_fill(m) );
  }
done:
  return rc;
}

int vdb_kmeans_run(const struct vdb_kmeans *p, float *centroid,
                   uint32_t *list, uint32_t *n_round){
  struct kmeans m = { .p = p, .centroid = centroid, .list = list };
  struct vdb_fpmode fp = vdb_fpmode_enter();
  size_t n_thread = p->n_thread ? p->n_thread : 1;
  uint32_t n = 0;
  int rc = VECDB_OK;
  if( p->n==0 || p->k==0 ) goto done;
  m.before = vdb_malloc_array(p->n, sizeof(*m.before));
  m.first = vdb_malloc_array((size_t)p->k+1, sizeof(*m.first));
  m.member = vdb_malloc_array(p->n, sizeof(*m.member));
  m.sum = vdb_malloc_array(n_thread, 2*p->d*sizeof(*m.sum));
  m.hit = vdb_malloc_array(ASSIGN_BLOCK, sizeof(*m.hit));
  m.n_hit = vdb_malloc_array(ASSIGN_BLOCK, sizeof(*m.n_hit));
  if( !m.before || !m.first || !m.member || !m.sum || !m.hit || !m.n_hit ){
    TRY( VECDB_NOMEM );
  }
  memset(list, 0, p->n*sizeof(*list));
  TRY( rounds_run(&m, &n) );
done:
  if( n_round ) *n_round = n;
  vdb_free(m.before);
  vdb_free(m.first);
  vdb_free(m.member);
  vdb_free(m.sum);
  vdb_free(m.hit);
  vdb_free(m.n_hit);
  vdb_fpmode_leave(fp);
  return rc;
}
