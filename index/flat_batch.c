/* flat_batch.c -- exact search for many queries at once.
**
** A single scan is bound by memory; with many queries every row is fetched
** once for a group of them and the arithmetic counts. Two ways, chosen by
** batch_plan():
**
**   blocks   A block of rows that fits the second-level cache, then each query
**            of the group over it, as a single scan does. For l1 and the bit
**            metrics, few queries, and k not small against the rows.
**   filter   For l2, ip and cosine. The filter of simd.h computes approximate
**            dot products of tiles of rows and queries, several times faster,
**            and proposes the pairs whose key may be within the query's cut.
**            Each of these is computed canonically and offered to the pick.
**
** So the answer has the bits of single search: a pair is dropped only if its
** canonical key is proved to exceed the cut.
**
** PROOF    u = 2^-24. q, x: norms |q|, |x| of query and row; dot: the exact
**          product, approx: the filter's, with
**            F1  |approx - dot| <= 1.004(d+1)u |q||x|           (floats)
**                |approx - dot| <= u |dot|                      (integers)
**          A canonical sum of d terms has n = d/32+6 roundings at most:
**            F2  canonical dot and norms: relative to |q||x|, |q|^2, |x|^2
**                within 1.004 n u;  canonical l2 key: within 1.004(n+2)u of
**                itself.
**          With S = |q|^2+|x|^2 and 2|q||x| <= S, |q-x|^2 <= 2S:
**
**          l2      key <= cut  =>  2 dot >= S - cut - 8(n+4)u S
**                  propose if approx >= (1-E)qq/2 - cut/2 + (1-E)xx/2,
**                  E = (2d+160)u, which covers F1, F2 (8(n+4)+d+1+n+2 <=
**                  1.29d+70), the roundings of the threshold (below 40u S
**                  where the decision is close) and of integer conversions.
**          ip      key = -dot:  propose if approx >= -cut - E|q||x|,
**                  E = (2d+64)u >= d+1+n + roundings.
**          cosine  key = 1 - dot/(|q||x|) up to 8u, clamped to 0..2, which
**                  moves no key across a cut in 0..2:
**                  propose if approx >= (1-cut-E)|q||x|, E = (2d+64)u.
**
**          Products below 2^-126 lose up to 2^-149 each, absolutely: A gets
**          d*2^-140 less. Where the relative bounds fail altogether, squares
**          outside 2^-100..2^100, the threshold is NaN and everything is
**          proposed (zero vectors too, for ip and cosine).
**
**          All of these have one form: propose unless
**              approx < A[query] + B[query]*U[row] + V[row].
**
** OPENBLAS sgemm could compute the products. It is not used: its number of
**          threads is state of the host process, which a library may neither
**          change nor trust; it writes all products to memory and reads them
**          again for the comparison, which the filter does in registers; and
**          it has no kernel for bytes. Measurements in
**          doc/decisions/0020-exact-batches.md.
**
** TASKS    A task is a group of queries and a part of the rows. Rows are only
**          divided when there are fewer groups than threads. Hits of a
**          (query, part) are picked in place, in the output itself if there
**          is one part.
*/
#include <float.h>
#include <math.h>

#include "index/flat_int.h"
#include "util/mem.h"
#include "util/pool.h"

enum {
  GROUP_PANELS = 16,             /* panels of a group: their memory (MBs) is
                                 ** read once per block of rows */
  TILE_MAX = 8,                  /* rows of a tile, at most */
  PART_ROWS = 4096               /* a part of the rows is not smaller */
};
#define SZ_BATCH_ROWS      ((size_t)256<<10)  /* a block of rows: fits L2
                                              ** beside a panel */
#define SZ_BATCH_PARTS_MAX ((size_t)256<<20)  /* memory for hits of parts */

/* The whole batch; constant while tasks run. */
struct flat_batch {
  const struct flat_search *s;
  const struct vdb_simd *simd;
  const char *queries;
  size_t stride;                 /* bytes from query to query */
  size_t n_query, k;
  bool is_filter;                /* or by blocks */
  size_t n_group, n_per_group;   /* groups of queries */
  size_t n_part;                 /* parts of the rows */
  uint64_t n_rows, n_per_part;
  size_t n_block;                /* rows per block */
  struct vdb_hit *hit;           /* [n_part][n_query][k] */
  size_t *n_hit;                 /* [n_part][n_query] */
  struct flat_poll poll;
};

/* One task at work. */
struct flat_job {
  struct flat_batch *bt;
  size_t n;                      /* queries of the group */
  struct vdb_query *query;       /* [n] */
  struct flat_pick *pick;        /* [n] */
  /* Only for the filter: */
  char *panels;                  /* queries, interleaved */
  size_t sz_panel, n_panel;
  float *a, *b;                  /* thresholds by query, whole panels */
  float *norm2;                  /* by query */
  char *copies;                  /* prepared rows of the block */
  size_t sz_copy;                /* bytes of one; 0: used in place */
  float *wide;                   /* rows of the block, if they were bytes that
                                 ** stand for floats; NULL: no run has such */
  struct flat_block block;
  const void *prepared[FLAT_BLOCK+TILE_MAX];
  float u[FLAT_BLOCK+TILE_MAX], v[FLAT_BLOCK+TILE_MAX];  /* by row */
  size_t sz_polled;
};

/* ---- Thresholds ---------------------------------------------------------- */

static bool is_byte_type(int type){ return type==VECDB_I8 || type==VECDB_U8; }

/* E of the proof. */
static double filter_error(const struct flat_search *s){
  double d = is_byte_type(s->type) ? 0 : 2.0*(double)s->dim;
  return (d + (s->metric==VECDB_L2 ? 160 : 64))*0x1p-24;
}
static float round_down(double x){
  float f = (float)x;
  return (double)f>x ? nextafterf(f, -INFINITY) : f;
}
/* False where the relative bounds of the proof do not hold. */
static bool norm_is_ordinary(int metric, float norm2){
  return norm2<=0x1p100f && (metric==VECDB_L2 || norm2>=0x1p-100f);
}

/* A and B of query j, after its cut has changed. */
static void threshold_update(struct flat_job *j, size_t i){
  const struct flat_search *s = j->bt->s;
  double E = filter_error(s), cut = j->pick[i].cut, a = 0, b = 0;
  double norm = sqrt((double)j->norm2[i]);

  switch( s->metric ){
    case VECDB_L2:     a = ((1-E)*j->norm2[i] - cut)/2; break;
    case VECDB_IP:     a = -cut; b = -E*norm; break;
    case VECDB_COSINE: b = (1-cut-E)*norm; break;
  }
  a -= (double)s->dim*0x1p-140;
  j->a[i] = norm_is_ordinary(s->metric, j->norm2[i]) ? round_down(a) : NAN;
  j->b[i] = round_down(b);
}

/* U and V of row i of the block. */
static void row_update(struct flat_job *j, size_t i, float norm2){
  const struct flat_search *s = j->bt->s;
  bool is_l2 = s->metric==VECDB_L2;
  j->u[i] = is_l2 ? 0.0f : sqrtf(norm2);
  j->v[i] = is_l2 ? round_down((1-filter_error(s))*norm2/2) : 0.0f;
  if( !norm_is_ordinary(s->metric, norm2) ) j->v[i] = NAN;
}

/* ---- A job --------------------------------------------------------------- */

static void job_clear(struct flat_job *j){
  vdb_free(j->query);
  vdb_free(j->pick);
  vdb_free_aligned(j->panels);
  vdb_free(j->a);
  vdb_free(j->b);
  vdb_free(j->norm2);
  vdb_free_aligned(j->copies);
  vdb_free_aligned(j->wide);
}

static const void *batch_query(const struct flat_batch *bt, size_t i){
  return bt->queries + i*bt->stride;
}

/* Queries first..first+n-1; their hits go to hit[0], hit[k], ... */
static int job_init(struct flat_job *j, struct flat_batch *bt, size_t first,
                    size_t n, struct vdb_hit *hit){
  int rc = VECDB_OK;
  j->bt = bt;
  j->n = n;
  j->query = vdb_malloc_array(n, sizeof(j->query[0]));
  j->pick = vdb_malloc_array(n, sizeof(j->pick[0]));
  if( j->query==NULL || j->pick==NULL ) return VECDB_NOMEM;
  for(size_t i=0; i<n && rc==VECDB_OK; i++){
    rc = vdb_query_init(&j->query[i], bt->s->metric, bt->s->type,
                        batch_query(bt, first+i), bt->s->dim);
    vdb_flat_pick_init(&j->pick[i], bt->s, bt->k, hit + i*bt->k);
  }
  return rc;
}

static bool any_run_of_bytes(const struct flat_search *s){
  for(size_t i=0; i<s->n_runs; i++) if( s->runs[i].row_type ) return true;
  return false;
}

static int job_init_filter(struct flat_job *j, size_t first){
  const struct flat_batch *bt = j->bt;
  const struct flat_search *s = bt->s;
  const struct vdb_filter *f = &bt->simd->filter;
  size_t n_pad;

  j->n_panel = (j->n + f->n_query-1)/f->n_query;
  j->sz_panel = f->sz_panel(s->type, s->dim);
  j->sz_copy = f->sz_row(s->type, s->dim);
  n_pad = j->n_panel*f->n_query;
  j->panels = vdb_malloc_aligned(j->n_panel*j->sz_panel);
  j->copies = vdb_malloc_aligned(bt->n_block*j->sz_copy);
  j->a = vdb_calloc(n_pad, sizeof(j->a[0]));
  j->b = vdb_calloc(n_pad, sizeof(j->b[0]));
  j->norm2 = vdb_malloc_array(j->n, sizeof(j->norm2[0]));
  if( !j->panels || !j->copies || !j->a || !j->b || !j->norm2 ){
    return VECDB_NOMEM;
  }
  if( any_run_of_bytes(s) ){
    j->wide = vdb_malloc_aligned(bt->n_block*s->dim*sizeof(float));
    if( j->wide==NULL ) return VECDB_NOMEM;
  }
  for(size_t p=0; p<j->n_panel; p++){
    const void *q[64];
    size_t i0 = p*f->n_query, m = vdb_min_sz(f->n_query, j->n - i0);
    for(size_t i=0; i<m; i++) q[i] = batch_query(bt, first+i0+i);
    f->pack(s->type, q, m, s->dim, j->panels + p*j->sz_panel);
  }
  for(size_t i=0; i<j->n; i++){
    j->norm2[i] = vdb_norm2(s->type, j->query[i].vec, s->dim);
    threshold_update(j, i);
  }
  return VECDB_OK;
}

/* ---- By filter ----------------------------------------------------------- */

/* Bytes that stand for floats become them. */
static void block_widen(struct flat_job *j){
  struct flat_block *b = &j->block;
  size_t dim = j->bt->s->dim;
  for(size_t i=0; i<b->n; i++){
    vdb_widen(b->row_type, b->row[i], j->wide + i*dim, dim);
    b->row[i] = j->wide + i*dim;
  }
  b->row_type = 0;
}

/* Copies, norms and U, V of the rows of the block. The last tile is filled
** up with its last row; what it proposes there is ignored. */
static void block_prepare(struct flat_job *j){
  const struct flat_search *s = j->bt->s;
  const struct vdb_filter *f = &j->bt->simd->filter;
  struct flat_block *b = &j->block;
  size_t i, n_tile = (b->n + f->n_row-1)/f->n_row;

  if( b->row_type ) block_widen(j);
  for(i=0; i<b->n; i++){
    j->prepared[i] = f->prepare(s->type, b->row[i], s->dim,
                                j->copies + i*j->sz_copy);
    if( !b->has_norm2 ) b->norm2[i] = vdb_norm2(s->type, b->row[i], s->dim);
    row_update(j, i, b->norm2[i]);
  }
  b->has_norm2 = true;
  for(; i<n_tile*f->n_row; i++){
    j->prepared[i] = j->prepared[b->n-1];
    j->u[i] = j->v[i] = 0;
  }
}

/* Queries in `mask`, counted from i0, may want row i. */
static int proposals_check(struct flat_job *j, size_t i0, uint64_t mask,
                           size_t i){
  const struct flat_block *b = &j->block;
  int rc = VECDB_OK;
  for(; mask && rc==VECDB_OK; mask &= mask-1){
    size_t q = i0 + (size_t)__builtin_ctzll(mask);
    struct flat_pick *p = &j->pick[q];
    float key, cut = p->cut;
    vdb_keys(&j->query[q], &b->row[i], &b->norm2[i], 1, &key);
    if( !(key<=cut) ) continue;
    rc = vdb_flat_pick_add(p, key, b->slot[i]);
    if( p->cut!=cut ) threshold_update(j, q);
  }
  return rc;
}

/* All tiles of the block against one panel. */
static int panel_filter(struct flat_job *j, size_t i_panel){
  const struct flat_search *s = j->bt->s;
  const struct vdb_filter *f = &j->bt->simd->filter;
  size_t i0 = i_panel*f->n_query, n = vdb_min_sz(f->n_query, j->n - i0);
  uint64_t mask[TILE_MAX], valid = ~(uint64_t)0 >> (64-n);
  int rc = VECDB_OK;

  for(size_t i=0; i<j->block.n && rc==VECDB_OK; i+=f->n_row){
    size_t m = vdb_min_sz(f->n_row, j->block.n - i);
    f->tile(s->type, j->prepared+i, j->panels + i_panel*j->sz_panel, s->dim,
            j->a+i0, j->b+i0, j->u+i, j->v+i, mask);
    for(size_t r=0; r<m && rc==VECDB_OK; r++){
      if( mask[r] & valid ) rc = proposals_check(j, i0, mask[r] & valid, i+r);
    }
  }
  return rc;
}

static int block_filter(struct flat_job *j){
  int rc = VECDB_OK;
  block_prepare(j);
  for(size_t p=0; p<j->n_panel && rc==VECDB_OK; p++) rc = panel_filter(j, p);
  return rc;
}

/* ---- By blocks ----------------------------------------------------------- */

static int block_scan(struct flat_job *j){
  const struct flat_block *b = &j->block;
  float key[FLAT_BLOCK];
  int rc = VECDB_OK;
  for(size_t q=0; q<j->n && rc==VECDB_OK; q++){
    struct vdb_query query = vdb_query_on(&j->query[q], b->row_type);
    vdb_keys(&query, b->row, b->has_norm2 ? b->norm2 : NULL, b->n, key);
    rc = vdb_flat_pick_block(&j->pick[q], b, key);
  }
  return rc;
}

/* ---- Tasks --------------------------------------------------------------- */

static int job_run(struct flat_job *j, uint64_t first, uint64_t n){
  struct flat_cursor c;
  int rc = VECDB_OK;
  vdb_flat_seek(&c, j->bt->s, first, n);
  while( vdb_flat_next(&c, &j->block, j->bt->n_block) ){
    if( j->block.n>0 ){
      TRY( j->bt->is_filter ? block_filter(j) : block_scan(j) );
    }
    TRY( vdb_flat_poll(&j->bt->poll, &j->sz_polled,
                       flat_block_cost(&j->bt->poll, &j->block)) );
  }
done:
  return rc;
}

static int batch_task(void *arg, size_t i_task, unsigned worker){
  struct flat_batch *bt = arg;
  size_t part = i_task/bt->n_group;
  size_t first = (i_task%bt->n_group)*bt->n_per_group;
  size_t n = vdb_min_sz(bt->n_per_group, bt->n_query - first);
  size_t at = part*bt->n_query + first;        /* of the first query's hits */
  struct vdb_fpmode fp = vdb_fpmode_enter();   /* threads inherit the mode */
  struct flat_job *j = vdb_calloc(1, sizeof(*j));
  int rc = j ? VECDB_OK : VECDB_NOMEM;

  VDB_UNUSED(worker);
  if( rc==VECDB_OK ) rc = job_init(j, bt, first, n, bt->hit + at*bt->k);
  if( rc==VECDB_OK && bt->is_filter ) rc = job_init_filter(j, first);
  if( rc==VECDB_OK ) rc = job_run(j, part*bt->n_per_part, bt->n_per_part);
  for(size_t i=0; i<n && rc==VECDB_OK; i++){
    vdb_topk_sort(&j->pick[i].top);
    bt->n_hit[at+i] = j->pick[i].top.n;
  }
  if( j ) job_clear(j);
  vdb_free(j);
  vdb_fpmode_leave(fp);
  return rc;
}

/* ---- The plan ------------------------------------------------------------ */

static bool filter_is_better(const struct flat_batch *bt){
  const struct flat_search *s = bt->s;
  /* Sums of the integer filter are signed: 255*255*dim < 2^31. */
  if( is_byte_type(s->type) && s->dim>32768 ) return false;
  if( s->metric!=VECDB_L2 && s->metric!=VECDB_IP && s->metric!=VECDB_COSINE ){
    return false;
  }
  /* A panel costs the same however few queries are in it; and about
  ** k*ln(n/k) rows of a query are computed twice. */
  return bt->n_query*4>=bt->simd->filter.n_query && bt->k<=bt->n_rows/8;
}

static void batch_plan(struct flat_batch *bt){
  const struct flat_search *s = bt->s;
  const struct vdb_filter *f = &bt->simd->filter;
  size_t n_thread = s->n_thread ? s->n_thread : 1;
  size_t sz = vdb_max_sz(vdb_vector_bytes(s->type, s->dim),
                         f->sz_row(s->type, s->dim));
  size_t sz_hits, n_panel, n_part_max;

  bt->n_rows = vdb_flat_count(s);
  bt->is_filter = filter_is_better(bt);
  bt->n_block = vdb_min_sz(FLAT_BLOCK, SZ_BATCH_ROWS/sz + 1);
  bt->n_block = (bt->n_block + f->n_row-1)/f->n_row*f->n_row;
  bt->n_block = vdb_min_sz(FLAT_BLOCK, bt->n_block);

  /* Groups: whole panels, at least two per thread as long as there are. */
  n_panel = (bt->n_query + f->n_query-1)/f->n_query;
  bt->n_per_group = vdb_min_sz(GROUP_PANELS, n_panel/(2*n_thread) + 1);
  if( n_thread==1 ) bt->n_per_group = vdb_min_sz(GROUP_PANELS, n_panel);
  bt->n_per_group *= f->n_query;
  bt->n_group = (bt->n_query + bt->n_per_group-1)/bt->n_per_group;

  bt->n_part = 1;
  if( !vdb_mul_sz(bt->n_query*sizeof(struct vdb_hit), bt->k, &sz_hits) ){
    sz_hits = SIZE_MAX;
  }
  if( bt->n_group<n_thread ){
    n_part_max = vdb_min_sz((size_t)(bt->n_rows/PART_ROWS) + 1,
                            SZ_BATCH_PARTS_MAX/(sz_hits+1) + 1);
    bt->n_part = vdb_min_sz((2*n_thread)/bt->n_group, n_part_max);
  }
  bt->n_per_part = (bt->n_rows + bt->n_part-1)/bt->n_part;
}

/* The hits of the parts into those of the caller. */
static int parts_merge(const struct flat_batch *bt, struct vdb_hit *hit,
                       size_t *n_hit){
  struct flat_pick pick;
  int rc = VECDB_OK;
  for(size_t q=0; q<bt->n_query; q++){
    vdb_flat_pick_init(&pick, bt->s, bt->k, hit + q*bt->k);
    for(size_t p=0; p<bt->n_part; p++){
      size_t at = p*bt->n_query + q;
      TRY( vdb_flat_pick_merge(&pick, bt->hit + at*bt->k, bt->n_hit[at]) );
    }
    vdb_topk_sort(&pick.top);
    n_hit[q] = pick.top.n;
  }
done:
  return rc;
}

static int batch_run(struct flat_batch *bt, struct vdb_hit *hit, size_t *n_hit){
  size_t n = bt->n_part*bt->n_query, n_all;
  int rc = VECDB_OK;

  bt->hit = hit;
  bt->n_hit = n_hit;
  if( bt->n_part>1 ){
    if( !vdb_mul_sz(n, bt->k, &n_all) ) return VECDB_NOMEM;
    bt->hit = vdb_malloc_array(n_all, sizeof(hit[0]));
    bt->n_hit = vdb_calloc(n, sizeof(n_hit[0]));
    if( bt->hit==NULL || bt->n_hit==NULL ) rc = VECDB_NOMEM;
  }
  if( rc==VECDB_OK ){
    rc = vdb_pool_run(bt->s->n_thread, bt->n_group*bt->n_part, batch_task, bt);
  }
  if( bt->n_part>1 ){
    if( rc==VECDB_OK ) rc = parts_merge(bt, hit, n_hit);
    vdb_free(bt->hit);
    vdb_free(bt->n_hit);
  }
  return rc;
}

int vdb_flat_knn_batch(const struct flat_search *s, const void *queries,
                       size_t stride, size_t n_query, size_t k,
                       struct vdb_hit *hit, size_t *n_hit){
  struct flat_batch bt = { .s = s, .queries = queries, .stride = stride,
                      .n_query = n_query, .k = k, .simd = vdb_simd() };
  struct vdb_query check;
  int rc;

  for(size_t i=0; i<n_query; i++) n_hit[i] = 0;
  rc = vdb_query_init(&check, s->metric, s->type, queries, s->dim);
  if( rc!=VECDB_OK || n_query==0 || k==0 ) return rc;
  rc = vdb_flat_ready(s, 0, s->n_runs);
  if( rc!=VECDB_OK ) return rc;
  vdb_flat_poll_init(&bt.poll, s);
  batch_plan(&bt);
  rc = batch_run(&bt, hit, n_hit);
  for(size_t i=0; i<n_query && rc!=VECDB_OK; i++) n_hit[i] = 0;
  return rc;
}
