/* device.c -- exact batches on a GPU.
**
** ROWS    The sealed rows of a vector column, dead ones included, are split
**   into pieces (gpu/gpu.h) that stay on the device while COLL.SEGVERSION is
**   the same: usually one piece, and more, which then come and go, where they
**   do not fit. Row r of a piece is the r-th of its runs. Which rows may be
**   found comes with each request, as a bitmap; so deletes and filters cost
**   no upload. The delta is searched on the CPU.
** ANSWER  A piece gives each query its k nearest rows and all that are tied
**   with the last; the pick of vdb_flat_knn, which knows the order of keys,
**   takes k of what pieces and delta offer. Queries that the device left
**   (more ties than it returns) are searched by the CPU in that piece. So the
**   answer is that of the CPU.
** CHOICE  "auto" estimates: a GPU is asked when the CPU would take 50 ms, 2 s
**   if rows must go there first, and few rows are filtered out. The estimate
**   knows only counts. Everything a GPU cannot do is done by the CPU then;
**   "require" makes an error of it.
*/
#include "util/common.h"
#include "store/device.h"

#include <math.h>

#include "gpu/gpu.h"
#include "simd/simd.h"
#include "util/bitset.h"
#include "util/pool.h"

#define TIES_MAX       32u            /* more than k that a query may get */
#define CPU_MAC        5e10           /* products a second and thread */
#define CPU_RESIDENT   0.05           /* seconds worth a GPU */
#define CPU_ABSENT     2.0

struct device_piece {
  size_t lo, hi;                       /* runs lo..hi-1 */
  uint32_t n_rows;
  struct gpu_piece *rows;
};
struct device_hold {                   /* of one vector column */
  uint64_t version;                    /* COLL.SEGVERSION */
  uint64_t sz_budget;                  /* they were cut for */
  size_t n;
  struct device_piece *piece;
};

int vdb_device_mode(const char *z){
  static const char *const name[] = { "off", "auto", "require" };
  for(int i=0; i<3; i++) if( vdb_stricmp(z, name[i])==0 ) return i+1;
  return 0;
}

const char *vdb_device_mode_name(int mode){
  return mode==VECDB_GPU_REQUIRE ? "require"
       : mode==VECDB_GPU_AUTO ? "auto" : "off";
}

/* ---- Pieces -------------------------------------------------------------- */

static void device_hold_clear(struct device_hold *h){
  for(size_t i=0; i<h->n; i++) vdb_gpu_piece_destroy(h->piece[i].rows);
  vdb_free(h->piece);
  memset(h, 0, sizeof(*h));
}

void vdb_device_clear(struct coll *c){
  if( c->device==NULL ) return;
  for(int v=0; v<c->schema->n_vector; v++) device_hold_clear(&c->device[v]);
  vdb_free(c->device);
  c->device = NULL;
}

/* One request at work. */
struct device_batch {
  struct session *ss;
  struct coll *c;
  const struct search_request *q;
  const struct flat_search *s;
  size_t n_run;                        /* without the delta */
  const char *queries;                 /* packed */
  size_t sz_vec, nq, k;
  struct vdb_topk *top;                /* by query; hits are the caller's */
  char *copy;                          /* of queries that were not packed */
  size_t at;                           /* first run of the piece */
  uint32_t *row, *n;                   /* what the device gives */
  float *distance;
  uint64_t *pass;
};

static int piece_fetch(void *arg, uint32_t first, uint32_t n, void *dst){
  const struct device_batch *b = arg;
  const struct flat_run *run = b->s->runs + b->at;
  char *out = dst;
  while( first>=run->n_rows ) first -= run++->n_rows;
  for(; n>0; run++, first=0){
    uint32_t m = run->n_rows-first<n ? run->n_rows-first : n;
    const char *in = (const char*)run->vecs + (size_t)first*run->stride;
    for(uint32_t i=0; i<m; i++, out+=b->sz_vec, in+=run->stride){
      if( run->row_type==0 ) memcpy(out, in, b->sz_vec);
      else vdb_widen(run->row_type, in, (float*)(void*)out, b->s->dim);
    }
    n -= m;
  }
  return b->ss->interrupted;
}

static void source_set(struct device_batch *b, size_t at, uint32_t n_rows,
                       vdb_gpu_source *src){
  memset(src, 0, sizeof(*src));
  b->at = at;
  src->size = sizeof(*src);
  src->metric = (uint32_t)b->s->metric;
  src->type = (uint32_t)b->s->type;
  src->dim = (uint32_t)b->s->dim;
  src->n_rows = n_rows;
  src->fetch = piece_fetch;
  src->arg = b;
}

/* Cut the runs into pieces: one, if it leaves a fifth of the memory for the
** work, else pieces of a quarter, so that one can be worked on while another
** is still there. */
static int pieces_cut(struct device_batch *b, struct device_hold *h,
                      uint64_t budget){
  uint64_t sz_all = 0, n_all = 0, n_most;
  vdb_gpu_source src;
  int code;
  for(size_t i=0; i<b->n_run; i++) n_all += b->s->runs[i].n_rows;
  n_most = n_all<UINT32_MAX/2 ? n_all : UINT32_MAX/2;
  source_set(b, 0, (uint32_t)n_most, &src);
  code = vdb_gpu_piece_size(&src, &sz_all);
  if( code!=VDB_GPU_OK ) return code;
  if( sz_all>budget/10*8 ){
    n_most = (uint64_t)((double)n_most*((double)budget/4)/(double)sz_all);
  }
  h->piece = vdb_calloc(b->n_run+1, sizeof(*h->piece));
  if( h->piece==NULL ) return VDB_GPU_NOMEM;
  for(size_t i=0; i<b->n_run; i++){
    struct device_piece *p = h->n ? &h->piece[h->n-1] : NULL;
    if( p==NULL || (uint64_t)p->n_rows+b->s->runs[i].n_rows>n_most ){
      p = &h->piece[h->n];
      code = vdb_gpu_piece_create(&p->rows);
      if( code!=VDB_GPU_OK ) return code;
      p->lo = i;
      h->n++;
    }
    p->hi = i+1;
    p->n_rows += b->s->runs[i].n_rows;
  }
  return VDB_GPU_OK;
}

static int device_hold_sync(struct device_batch *b, struct device_hold **out){
  struct coll *c = b->c;
  uint64_t budget = vdb_gpu_budget();
  struct device_hold *h;
  int code = VDB_GPU_OK;
  if( c->device==NULL ){
    c->device = vdb_calloc((size_t)c->schema->n_vector, sizeof(*c->device));
    if( c->device==NULL ) return VDB_GPU_NOMEM;
  }
  h = &c->device[vdb_vector_number(c, b->q->column)];
  if( h->piece==NULL || h->version!=c->s.seg_version
   || h->sz_budget!=budget ){
    device_hold_clear(h);
    h->version = c->s.seg_version;
    h->sz_budget = budget;
    code = pieces_cut(b, h, budget);
    if( code!=VDB_GPU_OK ) device_hold_clear(h);
  }
  *out = h;
  return code;
}

/* ---- Which rows may be found --------------------------------------------- */

/* n<=64 bits from bit i on. */
static uint64_t bits_read(const uint64_t *word, size_t i, size_t n){
  uint64_t m = word[i/64]>>(i%64);
  if( i%64+n>64 ) m |= word[i/64+1]<<(64 - i%64);
  return n<64 ? m & (((uint64_t)1<<n)-1) : m;
}
static void bits_or(uint64_t *word, size_t i, size_t n, uint64_t m){
  word[i/64] |= m<<(i%64);
  if( i%64+n>64 ) word[i/64+1] |= m>>(64 - i%64);
}

/* Bits of one run from bit `off` of b->pass on. */
static void run_pass(struct device_batch *b, const struct flat_run *run,
                     size_t off){
  const uint64_t *filter = b->s->filter;
  if( run->slots ){
    for(uint32_t i=0; i<run->n_rows; i++){
      slot_no slot = run->slots[i];
      if( vdb_bit_get(run->live, slot)
       && (filter==NULL || vdb_bit_get(filter, slot)) ){
        vdb_bit_set(b->pass, off+i);
      }
    }
    return;
  }
  for(size_t i=0, m; i<run->n_rows; i+=m){
    size_t slot = (size_t)run->slot_base+i;
    uint64_t w;
    m = vdb_min_sz(64, run->n_rows-i);
    w = bits_read(run->live, slot, m);
    if( filter ) w &= bits_read(filter, slot, m);
    bits_or(b->pass, off+i, m, w);
  }
}

/* The bitmap of a piece; *all if every row passes. */
static void pass_fill(struct device_batch *b, const struct device_piece *p,
                      bool *all){
  size_t off = 0;
  memset(b->pass, 0, vdb_bitset_words(p->n_rows)*sizeof(uint64_t));
  for(size_t i=p->lo; i<p->hi; i++){
    run_pass(b, &b->s->runs[i], off);
    off += b->s->runs[i].n_rows;
  }
  *all = vdb_bit_count(b->pass, p->n_rows)==p->n_rows;
}

/* ---- Offers -------------------------------------------------------------- */

/* Slot of row `row` of the runs from *run on, where *first rows come before;
** rows of a query are in no order. */
static slot_no piece_slot(const struct device_batch *b,
                          const struct device_piece *p, uint32_t row,
                          const uint32_t *first){
  size_t lo = 0, hi = p->hi - p->lo;
  const struct flat_run *run;
  while( hi-lo>1 ){
    size_t mid = lo+(hi-lo)/2;
    if( first[mid]<=row ) lo = mid;
    else hi = mid;
  }
  run = &b->s->runs[p->lo+lo];
  row -= first[lo];
  return run->slots ? run->slots[row] : run->slot_base+row;
}

/* Search runs lo..hi-1 for query i on the CPU. */
static int query_scan(struct device_batch *b, size_t i, size_t lo, size_t hi){
  struct flat_search s = *b->s;
  struct vdb_hit *hit = vdb_malloc_array(b->k, sizeof(*hit));
  size_t n = 0;
  int rc = VECDB_OK;
  if( hit==NULL ) return VECDB_NOMEM;
  s.runs += lo;
  s.n_runs = hi-lo;
  TRY( vdb_flat_knn(&s, b->queries + i*b->sz_vec, b->k, hit, &n) );
  for(size_t j=0; j<n; j++){
    TRY( vdb_topk_push(&b->top[i], hit[j].distance, hit[j].slot) );
  }
done:
  vdb_free(hit);
  return rc;
}

/* What the device found in a piece. */
static int piece_offer(struct device_batch *b, const struct device_piece *p,
                       size_t cap){
  uint32_t *first = vdb_malloc_array(p->hi-p->lo, sizeof(*first)), n = 0;
  int rc = VECDB_OK;
  if( first==NULL ) return VECDB_NOMEM;
  for(size_t i=p->lo; i<p->hi; i++){
    first[i-p->lo] = n;
    n += b->s->runs[i].n_rows;
  }
  for(size_t i=0; i<b->nq; i++){
    if( b->n[i]==VDB_GPU_LEFT ){
      TRY( query_scan(b, i, p->lo, p->hi) );
      continue;
    }
    for(size_t j=0; j<b->n[i]; j++){
      uint32_t row = b->row[i*cap+j];
      if( row>=p->n_rows ){
        TRY( VDB_INTERNAL(vdb_coll_err(b->c), "a GPU found a row too many") );
      }
      TRY( vdb_topk_push(&b->top[i], b->distance[i*cap+j],
                         piece_slot(b, p, row, first)) );
    }
  }
done:
  vdb_free(first);
  return rc;
}

/* The delta: the runs behind the sealed ones. */
static int delta_offer(struct device_batch *b){
  struct flat_search s = *b->s;
  size_t n_all, *n_hit = NULL;
  struct vdb_hit *hit = NULL;
  int rc = VECDB_OK;
  s.runs += b->n_run;
  s.n_runs -= b->n_run;
  if( s.n_runs==0 ) return VECDB_OK;
  if( !vdb_mul_sz(b->nq, b->k, &n_all) ) return VECDB_NOMEM;
  hit = vdb_malloc_array(n_all, sizeof(*hit));
  n_hit = vdb_calloc(b->nq, sizeof(*n_hit));
  if( hit==NULL || n_hit==NULL ) TRY( VECDB_NOMEM );
  TRY( vdb_flat_knn_batch(&s, b->queries, b->sz_vec, b->nq, b->k, hit,
                          n_hit) );
  for(size_t i=0; i<b->nq; i++){
    for(size_t j=0; j<n_hit[i]; j++){
      TRY( vdb_topk_push(&b->top[i], hit[i*b->k+j].distance,
                         hit[i*b->k+j].slot) );
    }
  }
done:
  vdb_free(hit);
  vdb_free(n_hit);
  return rc;
}

/* ---- A batch ------------------------------------------------------------- */

static int batch_begin(struct device_batch *b, const void *queries,
                       size_t stride, struct vdb_hit *hit){
  size_t n_cap, n_rows = 0;
  for(size_t i=0; i<b->n_run; i++) n_rows += b->s->runs[i].n_rows;
  b->queries = queries;
  if( stride!=b->sz_vec ){
    b->copy = vdb_malloc_array(b->nq, b->sz_vec);
    if( b->copy==NULL ) return VECDB_NOMEM;
    for(size_t i=0; i<b->nq; i++){
      memcpy(b->copy + i*b->sz_vec, (const char*)queries + i*stride,
             b->sz_vec);
    }
    b->queries = b->copy;
  }
  if( !vdb_mul_sz(b->nq, b->k+TIES_MAX, &n_cap) ) return VECDB_NOMEM;
  b->top = vdb_malloc_array(b->nq, sizeof(*b->top));
  b->row = vdb_malloc_array(n_cap, sizeof(*b->row));
  b->distance = vdb_malloc_array(n_cap, sizeof(*b->distance));
  b->n = vdb_malloc_array(b->nq, sizeof(*b->n));
  b->pass = vdb_malloc_array(vdb_bitset_words(n_rows)+1, sizeof(*b->pass));
  if( !b->top || !b->row || !b->distance || !b->n || !b->pass ){
    return VECDB_NOMEM;
  }
  for(size_t i=0; i<b->nq; i++){
    vdb_topk_init(&b->top[i], b->k, b->s->tie, b->s->tie_arg);
    b->top[i].hit = hit + i*b->k;
    b->top[i].n_cap = b->k;
  }
  return VECDB_OK;
}

static void device_batch_end(struct device_batch *b){
  vdb_free(b->copy);
  vdb_free(b->top);
  vdb_free(b->row);
  vdb_free(b->distance);
  vdb_free(b->n);
  vdb_free(b->pass);
}

static int batch_cancelled(void *arg){
  const struct device_batch *b = arg;
  return b->s->progress ? b->s->progress(b->s->progress_arg) : 0;
}

/* One piece: VDB_GPU_ code in *code, VECDB_ code returned. */
static int piece_search(struct device_batch *b, const struct device_piece *p,
                        int *code){
  size_t cap = b->k+TIES_MAX;
  vdb_gpu_knn q = { .size = sizeof(q), .n_query = (uint32_t)b->nq,
                    .k = (uint32_t)b->k, .cap = (uint32_t)cap,
                    .queries = b->queries, .cancelled = batch_cancelled,
                    .arg = b, .row = b->row, .distance = b->distance,
                    .n = b->n };
  vdb_gpu_source src;
  bool all;
  source_set(b, p->lo, p->n_rows, &src);
  pass_fill(b, p, &all);
  if( !all ) q.pass = b->pass;
  *code = vdb_gpu_piece_knn(p->rows, &src, &q);
  return *code==VDB_GPU_OK ? piece_offer(b, p, cap) : VECDB_OK;
}

static int batch_on_device(struct device_batch *b, const void *queries,
                           size_t stride, struct vdb_hit *hit, int *code){
  struct device_hold *h = NULL;
  int rc = VECDB_OK;
  *code = device_hold_sync(b, &h);
  if( *code!=VDB_GPU_OK ) goto done;
  TRY( batch_begin(b, queries, stride, hit) );
  for(size_t i=0; i<h->n; i++){
    TRY( piece_search(b, &h->piece[i], code) );
    if( *code!=VDB_GPU_OK ) goto done;
  }
  TRY( delta_offer(b) );
done:
  return rc;
}

/* ---- Choice -------------------------------------------------------------- */

/* Can a GPU do this at all? */
static int batch_shape(const struct device_batch *b){
  const struct flat_search *s = b->s;
  bool metric = s->metric==VECDB_L2 || s->metric==VECDB_COSINE
             || s->metric==VECDB_IP;
  return metric && s->type<=VECDB_U8 && s->dim<=VDB_GPU_DIM_MAX
      && s->window==NULL && b->k<=VDB_GPU_K_MAX && b->nq<=UINT32_MAX
       ? VDB_GPU_OK : VDB_GPU_UNSUPPORTED;
}

static bool is_resident(const struct device_batch *b){
  const struct coll *c = b->c;
  const struct device_hold *h;
  if( c->device==NULL ) return false;
  h = &c->device[vdb_vector_number(c, b->q->column)];
  return h->n==1 && h->version==c->s.seg_version
      && vdb_gpu_piece_is_resident(h->piece[0].rows);
}

/* Is it worth a GPU? */
static bool batch_is_big(const struct device_batch *b){
  double n = 0, seconds;
  if( vdb_gpu_is_eager() ) return true;
  for(size_t i=0; i<b->n_run; i++) n += b->s->runs[i].n_rows;
  if( b->q->rows && (double)b->q->n_rows<n/20 ) return false;
  seconds = n*(double)b->nq*(double)b->s->dim/(CPU_MAC*b->s->n_thread);
  return seconds>=(is_resident(b) ? CPU_RESIDENT : CPU_ABSENT);
}

/* The device did not answer: an error, or the CPU's turn. */
static int batch_refused(struct device_batch *b, int code){
  if( code==VDB_GPU_CANCELLED ) return VECDB_INTERRUPT;
  if( code==VDB_GPU_NOMEM ) return VECDB_NOMEM;
  if( b->ss->gpu==VECDB_GPU_REQUIRE ){
    return vdb_error(b->ss->err, VECDB_GPU, "search: gpu=require: %s (%s)",
                     vdb_gpu_why(code), vdb_gpu_code_name(code));
  }
  vdb_gpu_note_fallback("search", code, false);
  return VECDB_OK;
}

int vdb_device_batch(struct session *ss, struct coll *c,
                     const struct search_request *q,
                     const struct flat_search *s, const void *queries,
                     size_t stride, size_t nq, struct vdb_hit *hit,
                     size_t *n_hit, bool *used){
  struct device_batch b = { .ss = ss, .c = c, .q = q, .s = s, .nq = nq,
                            .k = (size_t)q->k, .n_run = s->n_runs };
  int code, rc = VECDB_OK;
  *used = false;
  if( ss->gpu<=VECDB_GPU_OFF ) return VECDB_OK;
  b.sz_vec = vdb_vector_bytes(s->type, s->dim);
  if( b.n_run>0 && s->runs[b.n_run-1].slot_base>=c->s.delta_first ) b.n_run--;
  code = batch_shape(&b);
  if( ss->gpu==VECDB_GPU_AUTO && (code!=VDB_GPU_OK || !batch_is_big(&b)) ){
    return VECDB_OK;
  }
  if( code==VDB_GPU_OK ) code = vdb_gpu_start();
  if( code==VDB_GPU_OK ){
    TRY( vdb_flat_open_all(s) );
    TRY( batch_on_device(&b, queries, stride, hit, &code) );
  }
  if( code!=VDB_GPU_OK ) TRY( batch_refused(&b, code) );
  else *used = true;
  for(size_t i=0; *used && i<nq; i++){
    vdb_topk_sort(&b.top[i]);
    n_hit[i] = b.top[i].n;
  }
done:
  device_batch_end(&b);
  return rc;
}
