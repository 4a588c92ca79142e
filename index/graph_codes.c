/* graph_codes.c -- codes of rows, one after the other: comparing the rows that
** pass a filter without reading them.
**
** A code is one bit per dimension of the code space, or two where those are
** few, relative to the centre, with two bytes that say how long the row is and
** how well the code fits (struct vdb_rank in simd/code.h). It lies where its
** row's number says, so that a bitmap of rows finds it, and costs a fortieth of
** a comparison.
**
** BOUND    With r = o - c, x its code and q' = q - c, norm*f/sqrt(dims)*<x,q'>
**          estimates <r,q'>. The error is that of a random direction: its
**          standard deviation is tan*norm(r)*norm(q')/sqrt(dims-1), tan of the
**          angle of r and x. So `low`, some of them below the estimate,
**          leaves out hardly any row that is nearer than it seems. tan follows
**          from f; a straight line is at or above it where rows are:
**            1 bit   sqrt((f/2)^2 - 1)      f = 2*(1+i/20)
**            2 bits  sqrt((f/1.06)^2 - 1)   f = 0.8*(1+i/20)
**          (1.06: a Gaussian row, whose codes have a norm of sqrt(dims)/1.06;
**          there the line is what the mean row and those of projections need.)
** BYTES    First the codes of all rows, then the two bytes of each: a code that
**          is a power of two lies in one line of a cache.
** KEPT     A row stays unless `low` is above the k-th least of what rows may be
**          at most, 2*est - low. Who asked reads the least estimates first and
**          then leaves out what is above the k-th of those.
*/
#include <math.h>

#include "index/graph_int.h"
#include "util/mem.h"

#define TWO_BITS_MAX   192u     /* dimensions with two bits each */
#define FIT_STEPS      20       /* of i, until f is twice as large */
#define FIT_MAX        31
#define FIT_BASE_1     2.0f
#define FIT_BASE_2     0.8f
#define TAN_1          0.382f   /* of i = 0, .. */
#define TAN_1_STEP     0.0736f   /* .. and each step */
#define TAN_2          0.1f
#define TAN_2_STEP     0.037f
#define BLOCK_ROWS     64       /* requested ahead */
#define CANDIDATES_MIN 1024u
#define SEEDS_EXTRA    6u       /* and a quarter of k, put first */

static int code_bits(const struct vdb_graph *g){
  return g->dims_code<=TWO_BITS_MAX ? 2 : 1;
}
/* f of i = 0. */
static float fit_base(const struct vdb_graph *g){
  return code_bits(g)==1 ? FIT_BASE_1 : FIT_BASE_2;
}
static uint32_t code_bytes(const struct vdb_graph *g){
  return g->dims_code/8*(uint32_t)code_bits(g);
}

uint32_t vdb_graph_code_stride(const struct vdb_graph *g){
  return g->nav==VDB_NAV_BITS ? 0 : code_bytes(g) + 2;
}

/* Square distance to the centre of a vector in the navigation basis. */
static float centre_d2(const struct vdb_graph *g, const float *x){
  return g->nav==VDB_NAV_SQ8 ? g->simd->dot(x, x, g->dims_nav)
                             : g->simd->l2sq(x, g->mu, g->d);
}

/* ---- Writing ------------------------------------------------------------- */

struct vdb_graph_coder {
  const struct vdb_graph *g;
  float *r, *x, *tmp;           /* code space twice, navigation basis */
  uint8_t *u;
};

int vdb_graph_coder_create(const struct vdb_graph *g,
                           struct vdb_graph_coder **out){
  struct vdb_graph_coder *k = vdb_calloc(1, sizeof(*k));
  int rc = VECDB_OK;
  *out = NULL;
  if( k==NULL ) return VECDB_NOMEM;
  k->g = g;
  k->r = vdb_malloc_aligned(g->dims_code*sizeof(float));
  k->x = vdb_malloc_aligned(g->dims_code*sizeof(float));
  k->tmp = vdb_malloc_aligned(g->dims_nav*sizeof(float));
  k->u = vdb_malloc_aligned(g->dims_code);
  if( !k->r || !k->x || !k->tmp || !k->u ) TRY( VECDB_NOMEM );
  *out = k;
  k = NULL;
done:
  vdb_graph_coder_destroy(k);
  return rc;
}

void vdb_graph_coder_destroy(struct vdb_graph_coder *k){
  if( k==NULL ) return;
  vdb_free_aligned(k->r);
  vdb_free_aligned(k->x);
  vdb_free_aligned(k->tmp);
  vdb_free_aligned(k->u);
  vdb_free(k);
}

/* The two bytes of a row of square norm n2; resc is -2*n2/<x,r>. */
static uint16_t fit_encode(const struct vdb_graph *g, float n2, float resc){
  float norm = sqrtf(n2), f;
  uint32_t word;
  int step;
  if( !(norm>=0x1p-30f && norm<=0x1p31f) || !(resc<0) ) return VDB_RANK_NONE;
  f = -resc/(2*norm)*sqrtf((float)g->dims_code)/fit_base(g);
  f = (f - 1)*FIT_STEPS + 0.5f;
  if( !(f>=0 && f<FIT_MAX+1) ) return VDB_RANK_NONE;
  step = (int)f;
  memcpy(&word, &norm, 4);
  return (uint16_t)(((word>>18) - (96u<<5))<<5 | (uint32_t)step);
}

static void code_pack(const uint8_t *u, size_t dims, int bits, uint8_t *out){
  memset(out, 0, dims/8*(size_t)bits);
  for(size_t d=0; d<dims; d+=64, out+=8*bits){
    for(size_t j=0; j<64; j++){
      if( bits==1 ) out[j/8] |= (uint8_t)(u[d+j] << (j%8));
      else out[j%16] |= (uint8_t)(u[d+j] << (j/16*2));
    }
  }
}

void vdb_graph_code_block(struct vdb_graph_coder *k,
                          const unsigned char *block, uint8_t *out,
                          uint8_t *fit){
  const struct vdb_graph *g = k->g;
  struct vdb_code_factors f;
  float n2;
  vdb_graph_block_nav(g, block, k->tmp);
  n2 = centre_d2(g, k->tmp);
  vdb_graph_to_code(g, block, k->r, k->tmp);
  f = vdb_code_encode(k->r, NULL, n2, g->dims_code, code_bits(g), k->u, k->x);
  code_pack(k->u, g->dims_code, code_bits(g), out);
  put_u16(fit, fit_encode(g, n2, f.f_resc));
}

void vdb_graph_codes_init(const struct vdb_graph *g, uint32_t n, uint8_t *out){
  size_t sz = (size_t)n*code_bytes(g);
  memset(out, 0, sz);
  for(size_t i=0; i<n; i++) put_u16(out + sz + 2*i, VDB_RANK_NONE);
}

uint8_t *vdb_graph_code_at(const struct vdb_graph *g, const uint8_t *codes,
                           uint32_t n, uint32_t i, uint8_t **fit){
  size_t sz = code_bytes(g);
  *fit = (uint8_t*)(uintptr_t)codes + (size_t)n*sz + 2*(size_t)i;
  return (uint8_t*)(uintptr_t)codes + i*sz;
}

/* ---- Ranking ------------------------------------------------------------- */

struct rank_block {
  const uint8_t *code[BLOCK_ROWS];
  uint32_t row[BLOCK_ROWS];
  uint16_t fit[BLOCK_ROWS];
  uint32_t n;
};

struct graph_ranking {
  const struct vdb_graph *g;
  struct vdb_rank rank;
  const int8_t *query;
  uint32_t k;
  /* The k least of what rows may be at most, the greatest first (a heap). */
  float *most;
  uint32_t n_most, n_most_alloc;
  float bound;                  /* most[0], once there are k */
  struct vdb_graph_candidate *cand;
  size_t n_cand, n_cand_alloc;
};

struct graph_ranking *vdb_graph_ranking_create(void){
  return vdb_calloc(1, sizeof(struct graph_ranking));
}

void vdb_graph_ranking_destroy(struct graph_ranking *k){
  if( k==NULL ) return;
  vdb_free(k->most);
  vdb_free(k->cand);
  vdb_free(k);
}

static void most_up(float *h, uint32_t i, float x){
  for(; i>0 && h[(i-1)/2]<x; i=(i-1)/2) h[i] = h[(i-1)/2];
  h[i] = x;
}
static void most_down(float *h, uint32_t n, float x){
  uint32_t i = 0, j;
  while( (j = 2*i+1)<n ){
    if( j+1<n && h[j+1]>h[j] ) j++;
    if( !(h[j]>x) ) break;
    h[i] = h[j];
    i = j;
  }
  h[i] = x;
}

static void bound_offer(struct graph_ranking *k, float most){
  if( k->n_most<k->k ) most_up(k->most, k->n_most++, most);
  else if( most<k->most[0] ) most_down(k->most, k->k, most);
  if( k->n_most==k->k ) k->bound = k->most[0];
}

/* Candidates that the bound leaves out by now go; if those that stay are many,
** there will be room for more. */
static int candidates_sift(struct graph_ranking *k){
  size_t n = 0;
  for(size_t i=0; i<k->n_cand; i++){
    if( !(k->cand[i].low>k->bound) ) k->cand[n++] = k->cand[i];
  }
  k->n_cand = n;
  if( n<=k->n_cand_alloc/2 && k->n_cand_alloc>0 ) return VECDB_OK;
  return vdb_grow(&k->cand, &k->n_cand_alloc,
                  2*n + CANDIDATES_MIN + BLOCK_ROWS, sizeof(*k->cand));
}

static int block_rank(struct graph_ranking *k, const struct rank_block *b){
  _Alignas(64) float est[BLOCK_ROWS], low[BLOCK_ROWS];
  int32_t ip[BLOCK_ROWS];
  uint64_t m;
  int rc = VECDB_OK;
  if( b->n==0 ) return VECDB_OK;
  k->g->simd->dot_rows(k->query, k->g->dims_code, code_bits(k->g), b->code,
                       b->n, ip);
  memset(ip + b->n, 0, (BLOCK_ROWS-b->n)*sizeof(*ip));
  m = k->g->simd->rank(&k->rank, b->fit, ip, BLOCK_ROWS,
                       nextafterf(k->bound, INFINITY), est, low);
  if( b->n<BLOCK_ROWS ) m &= ((uint64_t)1<<b->n) - 1;
  if( k->n_cand+b->n>k->n_cand_alloc ) TRY( candidates_sift(k) );
  for(; m; m &= m-1){
    int i = __builtin_ctzll(m);
    k->cand[k->n_cand++] = (struct vdb_graph_candidate){ est[i], low[i],
                                                         b->row[i] };
    if( est[i]>-INFINITY ) bound_offer(k, 2*est[i] - low[i]);
  }
done:
  return rc;
}

/* Rows lo..hi-1 among those of word w. */
static uint64_t word_cut(uint64_t m, size_t w, size_t lo, size_t hi){
  if( w==lo/64 ) m &= ~(uint64_t)0<<(lo%64);
  if( w==hi/64 ) m &= ((uint64_t)1<<(hi%64)) - 1;
  return m;
}

/* The rows lo..hi-1, whose n codes are at `codes`. A block is compared when the
** one after it has been requested; what is not full waits for the next extent. */
static int extent_rank(struct graph_ranking *k, const uint8_t *codes,
                       const uint64_t *filter, size_t lo, size_t hi,
                       struct rank_block **now, struct rank_block **last){
  const size_t sz = code_bytes(k->g);
  const uint8_t *fits = codes + (hi-lo)*sz;
  struct rank_block *b = *now;
  uint32_t n = b->n;
  int rc = VECDB_OK;
  for(size_t w=lo/64; w<=(hi-1)/64; w++){
    for(uint64_t m=word_cut(filter[w], w, lo, hi); m; m &= m-1){
      size_t row = 64*w + (size_t)__builtin_ctzll(m);
      const uint8_t *code = codes + (row-lo)*sz;
      __builtin_prefetch(code);
      for(size_t i=64; i<sz; i+=64) __builtin_prefetch(code+i);
      b->code[n] = code;
      b->fit[n] = get_u16(fits + 2*(row-lo));
      b->row[n++] = (uint32_t)row;
      if( VDB_LIKELY(n<BLOCK_ROWS) ) continue;
      b->n = n;
      TRY( block_rank(k, *last) );
      *now = *last;
      *last = b;
      b = *now;
      n = 0;
    }
  }
done:
  b->n = n;
  return rc;
}

static int rows_rank(struct graph_ranking *k, const struct vdb_graph_codes *c,
                     const uint64_t *filter){
  struct rank_block b[2], *now = &b[0], *last = &b[1];
  uint32_t n_max = (uint32_t)1<<c->shift;
  int rc = VECDB_OK;
  memset(b, 0, sizeof(b));
  for(uint32_t at=0; at<c->n; at+=n_max){
    uint32_t n = c->n-at<n_max ? c->n-at : n_max;
    size_t lo = (size_t)c->first + at;
    TRY( extent_rank(k, c->base[at>>c->shift], filter, lo, lo+n, &now,
                     &last) );
  }
  TRY( block_rank(k, last) );
  TRY( block_rank(k, now) );
done:
  return rc;
}

static void candidate_swap(struct vdb_graph_candidate *a,
                           struct vdb_graph_candidate *b){
  struct vdb_graph_candidate t = *a;
  *a = *b;
  *b = t;
}

/* The n least estimates to the front; any pivot is right. */
static void candidates_select(struct vdb_graph_candidate *a, size_t n_all,
                              size_t n){
  size_t lo = 0, hi = n_all;
  while( hi-lo>1 && n>lo && n<hi ){
    float pivot = a[lo+(hi-lo)/2].d2;
    size_t i = lo, j = lo, h = hi;             /* lo..i < pivot, h.. > it */
    while( j<h ){
      if( a[j].d2<pivot ) candidate_swap(&a[i++], &a[j++]);
      else if( a[j].d2>pivot ) candidate_swap(&a[j], &a[--h]);
      else j++;
    }
    if( n<=i ) hi = i;
    else if( n>=h ) lo = h;
    else return;
  }
}

static void rank_prepare(struct graph_ranking *k, const struct graph_walk *w,
                         float sigmas, struct vdb_code_query *q){
  const struct vdb_graph *g = k->g;
  bool is_1 = code_bits(g)==1;
  float slack;
  q->dims = g->dims_code;
  q->bits = 2;
  q->kind = VDB_CODE_RESIDUAL;
  g->simd->prepare(q, w->xc);
  k->query = (const int8_t*)q->table;
  k->rank.delta = q->delta;
  k->rank.kappa = is_1 ? q->kappa/3 : q->kappa;
  k->rank.g_add = centre_d2(g, w->x);
  k->rank.base = 2*fit_base(g)/sqrtf((float)g->dims_code);
  slack = 2*sigmas*sqrtf(k->rank.g_add/(float)(g->dims_code-1));
  k->rank.slack = slack*(is_1 ? TAN_1 : TAN_2);
  k->rank.slack_step = slack*(is_1 ? TAN_1_STEP : TAN_2_STEP);
}

int vdb_graph_walk_rank(struct graph_ranking *k, struct graph_walk *w,
                        const struct vdb_graph_codes *c,
                        const uint64_t *filter, uint32_t n, float sigmas){
  struct vdb_code_query q = { .table = w->code.fine };
  size_t n_first = n + n/4 + SEEDS_EXTRA;
  int rc = VECDB_OK;
  k->g = w->g;
  k->k = n;
  k->n_most = 0;
  k->bound = INFINITY;
  k->n_cand = 0;
  if( n>k->n_most_alloc ){
    vdb_free(k->most);
    k->n_most_alloc = 0;
    k->most = vdb_malloc_array(n, sizeof(*k->most));
    if( k->most==NULL ) TRY( VECDB_NOMEM );
    k->n_most_alloc = n;
  }
  rank_prepare(k, w, sigmas, &q);
  if( c->n>0 ) TRY( rows_rank(k, c, filter) );
  TRY( candidates_sift(k) );
  candidates_select(k->cand, k->n_cand, n_first);
done:
  return rc;
}

const struct vdb_graph_candidate *vdb_graph_ranked(
    const struct graph_ranking *k, size_t *n){
  *n = k->n_cand;
  return k->cand;
}
