/* batch_search.c -- many queries at once, over several threads.
**
** Queries go by blocks, so that the hits in flight stay below a bound
** whatever nq and k are. A block whose queries have another element type, or
** lie badly aligned, is copied; others are searched where they are.
*/
#include "util/common.h"
#include "store/batch.h"

#include <math.h>

#include "simd/simd.h"
#include "store/search.h"
#include "store/stmt.h"
#include "util/mem.h"

#define BATCH_HIT_BYTES  (64u<<20)     /* hits of one block */

struct batch_run {
  struct session *ss;
  struct coll *coll;
  const struct schema_column *col;
  const struct batch_search *b;
  struct coll_runs runs;
  struct search_request q;
  struct flat_window window;
  uint64_t *rows;
  size_t k_out;                        /* width of the output */
  struct vdb_hit *hit;
  size_t *n_hit;
  unsigned char *copy;                 /* queries of a block, when needed */
  int64_t *key_of;                     /* keys by slot, or NULL: look up */
};

/* ---- Keys --------------------------------------------------------------- */

static int keys_of_chunk(void *arg, const struct coll_chunk *k){
  struct batch_run *r = arg;
  for(uint32_t i=0; i<k->n && k->lo+i<r->runs.n_slot; i++){
    r->key_of[k->lo+i] = vdb_cell_int(k->cell + 8*(size_t)i);
  }
  return VECDB_OK;
}

/* All keys at once, when that is cheaper than looking up those of the hits. */
static int keys_load(struct batch_run *r){
  uint64_t n_slot = r->runs.n_slot;
  if( (double)r->b->nq*(double)r->q.k*4<(double)n_slot ) return VECDB_OK;
  r->key_of = vdb_malloc_array((size_t)n_slot, sizeof(*r->key_of));
  if( r->key_of==NULL ) return VECDB_NOMEM;
  return vdb_coll_scan(r->coll, 0, 0, (slot_no)n_slot, keys_of_chunk, r);
}

static int keys_of_hits(struct batch_run *r, const struct vdb_hit *hit,
                        size_t n, int64_t *out){
  if( r->key_of==NULL ) return vdb_coll_keys(r->coll, hit, n, out);
  for(size_t i=0; i<n; i++) out[i] = r->key_of[hit[i].slot];
  return VECDB_OK;
}

/* Results of query i, which is query j of the block. */
static int batch_emit(struct batch_run *r, size_t i, size_t j){
  size_t n = r->n_hit[j], off = i*r->k_out;
  const struct vdb_hit *hit = &r->hit[j*r->q.k];
  int rc;
  TRY( keys_of_hits(r, hit, n, &r->b->keys[off]) );
  for(size_t h=n; h<r->k_out; h++) r->b->keys[off+h] = -1;
  for(size_t h=0; r->b->distances && h<r->k_out; h++){
    r->b->distances[off+h] = h<n ? hit[h].distance : INFINITY;
  }
  if( r->b->counts ) r->b->counts[i] = (uint32_t)n;
done:
  return rc;
}

/* ---- Blocks ------------------------------------------------------------- */

/* Queries i..i+n-1, checked: where they are, or copied. */
static int batch_queries(struct batch_run *r, size_t i, size_t n,
                         const void **out, size_t *stride){
  const struct batch_search *b = r->b;
  size_t sz = vdb_vector_bytes(b->element, r->col->dims);
  size_t step = b->stride ? b->stride : sz;
  const char *at = (const char*)b->queries + i*step;
  bool in_place = b->element==r->col->element
               && (uintptr_t)at%4==0 && step%4==0;
  const void *p;
  int rc = VECDB_OK;
  for(size_t j=0; j<n && rc==VECDB_OK; j++){
    unsigned char *buf = r->copy + j*r->col->sz_vec;
    rc = vdb_vector_adopt(r->col, b->element, at + j*step, sz, buf, &p,
                          r->ss->err);
    if( rc!=VECDB_OK ) vdb_error_prefix(r->ss->err, "query %zu", i+j);
    else if( !in_place && p!=buf ) memcpy(buf, p, r->col->sz_vec);
  }
  *out = in_place ? (const void*)at : r->copy;
  *stride = in_place ? step : r->col->sz_vec;
  return rc;
}

static int batch_blocks(struct batch_run *r){
  size_t nq = r->b->nq, k = (size_t)r->q.k, n_block, stride;
  const void *queries;
  int rc = VECDB_OK;
  n_block = BATCH_HIT_BYTES/(k*sizeof(*r->hit) + r->col->sz_vec);
  if( n_block<1 ) n_block = 1;
  if( n_block>nq ) n_block = nq;
  r->hit = vdb_malloc_array(n_block*k, sizeof(*r->hit));
  r->n_hit = vdb_calloc(n_block, sizeof(*r->n_hit));
  r->copy = vdb_malloc_aligned(n_block*r->col->sz_vec);
  if( !r->hit || !r->n_hit || !r->copy ) return VECDB_NOMEM;
  TRY( keys_load(r) );
  for(size_t i=0; i<nq; i+=n_block){
    size_t n = vdb_min_sz(n_block, nq-i);
    TRY( vdb_store_progress(r->ss->st, "search", "queries", i, nq) );
    TRY( batch_queries(r, i, n, &queries, &stride) );
    TRY( vdb_search_batch(r->ss, r->coll, &r->runs, &r->q, queries, stride, n,
                          r->hit, r->n_hit) );
    for(size_t j=0; j<n; j++) TRY( batch_emit(r, i+j, j) );
  }
done:
  return rc;
}

/* No row qualifies: nothing is searched, but queries are checked. */
static int batch_nothing(struct batch_run *r){
  const void *p;
  size_t stride;
  int rc = VECDB_OK;
  r->copy = vdb_malloc_aligned(r->col->sz_vec);
  if( r->copy==NULL ) return VECDB_NOMEM;
  for(size_t i=0; i<r->b->nq; i++){
    TRY( batch_queries(r, i, 1, &p, &stride) );
    for(size_t h=0; h<r->k_out; h++){
      r->b->keys[i*r->k_out+h] = -1;
      if( r->b->distances ) r->b->distances[i*r->k_out+h] = INFINITY;
    }
    if( r->b->counts ) r->b->counts[i] = 0;
  }
done:
  return rc;
}

static int batch_rows(struct batch_run *r, const struct schema *schema){
  struct filter *filter = NULL;
  struct filter_run *run = NULL;
  struct filter_source src;
  int rc;
  if( r->b->opt->filter==NULL ){
    r->q.n_rows = r->runs.n_row;
    return VECDB_OK;
  }
  TRY( vdb_filter_parse(schema, r->b->opt->filter, r->ss->err, &filter) );
  if( vdb_filter_n_param(filter)>0 ){
    TRY( vdb_error(r->ss->err, VECDB_MISUSE,
                   "filter: a batch of searches has no parameters to bind") );
  }
  vdb_filter_source_coll(r->coll, &src);
  TRY( vdb_filter_begin(filter, NULL, 0, &src, &run) );
  TRY( vdb_search_rows(r->coll, &r->runs, run, NULL, &r->rows,
                       &r->q.n_rows) );
  r->q.rows = r->rows;
done:
  vdb_filter_end(run);
  vdb_filter_destroy(filter);
  return rc;
}

static int batch_check(struct batch_run *r, const struct schema *schema){
  const struct batch_search *b = r->b;
  bool has_window;
  int rc;
  TRY( vdb_search_check(schema, b->opt, r->ss->err, &r->q.column) );
  TRY( vdb_search_window(b->opt, r->ss->err, &r->window, &has_window) );
  if( has_window ) r->q.window = &r->window;
  r->col = &schema->col[r->q.column];
  if( schema->col[0].type!=VECDB_INTEGER ){
    return vdb_error(r->ss->err, VECDB_MISMATCH,
                     "search: the key of \"%.100s\" is a text; batches give "
                     "integer keys", vdb_coll_name(r->coll));
  }
  if( b->opt->k==0 || b->opt->k>SIZE_MAX/64/(b->nq ? b->nq : 1) ){
    return vdb_error(r->ss->err, VECDB_RANGE, "search: k is %llu; a batch "
                     "needs one that says how wide the output is",
                     (unsigned long long)b->opt->k);
  }
  r->k_out = (size_t)b->opt->k;
  if( b->nq>0 && (b->queries==NULL || b->keys==NULL) ){
    return vdb_error(r->ss->err, VECDB_MISUSE, "search: no %s",
                     b->queries ? "room for keys" : "queries");
  }
done:
  return rc;
}

int vdb_batch_search(struct session *ss, struct coll *c,
                     const struct schema *schema,
                     const struct batch_search *b){
  struct batch_run r = { .ss = ss, .coll = c, .b = b };
  bool held = false;
  int rc, rc_end;
  TRY( batch_check(&r, schema) );
  if( b->nq==0 ) return VECDB_OK;
  TRY( vdb_session_read_begin(ss, &held) );
  TRY( vdb_coll_refresh(c) );
  vdb_search_wish(b->opt, &r.q.wish);
  r.q.k = b->opt->k;
  TRY( vdb_search_open(c, &r.q, &r.runs) );
  TRY( batch_rows(&r, schema) );
  r.q.k = b->opt->k<r.q.n_rows ? b->opt->k : r.q.n_rows;
  rc = r.q.k>0 ? batch_blocks(&r) : batch_nothing(&r);
done:
  vdb_coll_runs_close(&r.runs);
  vdb_free(r.rows);
  vdb_free(r.hit);
  vdb_free(r.n_hit);
  vdb_free(r.key_of);
  vdb_free_aligned(r.copy);
  rc_end = vdb_session_read_end(ss, &held);
  return rc==VECDB_OK ? rc_end : rc;
}
