/* search.c -- searching a collection.
**
** A search looks at the runs of a snapshot (vdb_coll_runs_open), which cover
** delta and segments, through a bitmap of the rows it may return. The bitmap
** comes first: live rows, or those of a set of keys found through the key's
** index, and of these the ones that pass the filter. A few keys therefore
** cost a few look-ups and no pass over the columns (the filter answers sparse
** masks row by row).
**
** Where a column has graphs (graphs.h) they answer searches of k rows without
** a distance window, if the plan says so, and of all rows within a distance if
** the caller asks for nearly all; when they find fewer rows than
** qualify, the search is done again exactly: k rows, or proof that fewer
** exist. Everything else is exact.
*/
#include "util/common.h"
#include "store/search.h"

#include <math.h>
#include <stdlib.h>

#include "simd/simd.h"
#include "store/device.h"
#include "store/graphs.h"
#include "store/intset.h"
#include "store/value.h"
#include "util/bitset.h"
#include "util/mem.h"
#include "util/pool.h"

/* ---- Sets of keys ------------------------------------------------------- */

static int key_int_order(const void *a, const void *b){
  int64_t x = *(const int64_t*)a, y = *(const int64_t*)b;
  return x<y ? -1 : x>y;
}

static int key_text_order(const void *a, const void *b){
  const struct key_text *x = a, *y = b;
  int cmp = memcmp(x->p, y->p, vdb_min_sz(x->n, y->n));
  return cmp ? cmp : x->n<y->n ? -1 : x->n>y->n;
}

/* An empty set with room for n keys. */
static int keyset_alloc(int type, size_t n, struct keyset **out){
  struct keyset *k = vdb_calloc(1, sizeof(*k));
  *out = NULL;
  if( k==NULL ) return VECDB_NOMEM;
  k->type = type;
  if( type==VECDB_INTEGER ) k->i = vdb_malloc_array(n, sizeof(*k->i));
  else k->t = vdb_malloc_array(n, sizeof(*k->t));
  if( k->i==NULL && k->t==NULL ){
    vdb_free(k);
    return VECDB_NOMEM;
  }
  *out = k;
  return VECDB_OK;
}

static int keyset_add_text(struct keyset *k, const void *p, size_t n){
  char *copy = vdb_strndup(p, n);
  if( copy==NULL ) return VECDB_NOMEM;
  k->t[k->n].p = copy;
  k->t[k->n++].n = n;
  return VECDB_OK;
}

/* Sort, and drop what is there twice. */
static void keyset_finish(struct keyset *k){
  size_t n = 0;
  if( k->type==VECDB_INTEGER ){
    qsort(k->i, k->n, sizeof(*k->i), key_int_order);
    for(size_t i=0; i<k->n; i++){
      if( n==0 || k->i[n-1]!=k->i[i] ) k->i[n++] = k->i[i];
    }
  }else{
    qsort(k->t, k->n, sizeof(*k->t), key_text_order);
    for(size_t i=0; i<k->n; i++){
      if( n>0 && key_text_order(&k->t[n-1], &k->t[i])==0 ) vdb_free(k->t[i].p);
      else k->t[n++] = k->t[i];
    }
  }
  k->n = n;
}

int vdb_keyset_create(size_t n, const int64_t *i, const char *const *z,
                      struct keyset **out){
  struct keyset *k = NULL;
  int rc;
  *out = NULL;
  TRY( keyset_alloc(z ? VECDB_TEXT : VECDB_INTEGER, n, &k) );
  for(size_t j=0; z && j<n; j++){
    if( z[j] ) TRY( keyset_add_text(k, z[j], strlen(z[j])) );
  }
  if( z==NULL && n>0 ) memcpy(k->i, i, n*sizeof(*k->i));
  if( z==NULL ) k->n = n;
  keyset_finish(k);
  *out = k;
  k = NULL;
done:
  vdb_keyset_destroy(k);
  return rc;
}

int vdb_keyset_of_rows(struct coll *c, const uint64_t *rows, uint64_t n_slot,
                       uint64_t n, struct keyset **out){
  struct vdb_str buf = VDB_STR_INIT;
  struct keyset *k = NULL;
  struct vdb_value v;
  int rc;
  *out = NULL;
  TRY( keyset_alloc(vdb_coll_schema(c)->col[0].type, (size_t)n, &k) );
  for(size_t w=0; w<vdb_bitset_words((size_t)n_slot); w++){
    for(uint64_t m=rows[w]; m && k->n<n; m &= m-1){
      slot_no slot = (slot_no)(64*w) + (slot_no)__builtin_ctzll(m);
      TRY( vdb_coll_value(c, 0, slot, &buf, &v) );
      if( k->type==VECDB_INTEGER ) k->i[k->n++] = v.i;
      else TRY( keyset_add_text(k, v.p ? v.p : "", v.n) );
    }
  }
  keyset_finish(k);
  *out = k;
  k = NULL;
done:
  vdb_keyset_destroy(k);
  vdb_str_clear(&buf);
  return rc;
}

void vdb_keyset_destroy(struct keyset *k){
  if( k==NULL ) return;
  for(size_t i=0; k->t && i<k->n; i++) vdb_free(k->t[i].p);
  vdb_free(k->t);
  vdb_free(k->i);
  vdb_free(k);
}

void vdb_keyset_get(const struct keyset *k, size_t i, struct vdb_value *out){
  memset(out, 0, sizeof(*out));
  out->type = k->type;
  if( k->type==VECDB_INTEGER ){
    out->i = k->i[i];
  }else{
    out->p = k->t[i].p;
    out->n = k->t[i].n;
  }
}

/* ---- Rows --------------------------------------------------------------- */

/* Finding a key in the map costs as much as comparing so many cells. */
#define KEY_CELLS  256u

static bool keys_are_many(size_t n, const struct coll_runs *r){
  return n>r->n_slot/KEY_CELLS;
}

struct key_scan {
  const struct intset *set;
  uint64_t *rows;
};

static int key_cells(void *arg, slot_no lo, size_t n,
                     const unsigned char *cell){
  struct key_scan *s = arg;
  for(size_t i=0; i<n; i+=64){
    uint64_t w = vdb_intset_word(s->set, cell + 8*i,
                                 (unsigned)vdb_min_sz(64, n-i));
    for(; w; w &= w-1){
      vdb_bit_set(s->rows, lo+i+(unsigned)__builtin_ctzll(w));
    }
  }
  return VECDB_OK;
}

/* Many integer keys: all keys are looked at. */
static int rows_of_many(struct coll *c, const struct coll_runs *r,
                        const struct keyset *keys, uint64_t *rows){
  struct key_scan s = { NULL, rows };
  struct intset *set = NULL;
  int rc;
  TRY( vdb_intset_create(keys->i, keys->n, &set) );
  s.set = set;
  TRY( vdb_coll_cells(c, 0, 0, (slot_no)r->n_slot, key_cells, &s) );
  for(size_t w=0; w<vdb_bitset_words((size_t)r->n_slot); w++){
    rows[w] &= r->live[w];
  }
done:
  vdb_intset_destroy(set);
  return rc;
}

static int rows_of_keys(struct coll *c, const struct coll_runs *r,
                        const struct keyset *keys, uint64_t *rows){
  struct vdb_value v;
  slot_no slot;
  int rc = VECDB_OK;
  if( keys->type==VECDB_INTEGER && keys_are_many(keys->n, r)
   && vdb_coll_schema(c)->col[0].type==VECDB_INTEGER ){
    return rows_of_many(c, r, keys, rows);
  }
  for(size_t i=0; i<keys->n; i++){
    vdb_keyset_get(keys, i, &v);
    rc = vdb_coll_find(c, &v, &slot);
    if( rc==VECDB_OK && slot<r->n_slot ) vdb_bit_set(rows, slot);
    if( rc!=VECDB_OK && rc!=VECDB_NOTFOUND ) return rc;
  }
  vdb_error_clear(vdb_store_err(vdb_coll_store(c)));
  return VECDB_OK;
}

/* The rows whose keys a filter names. */
static int rows_of_values(struct coll *c, const struct coll_runs *r,
                          const struct vdb_value *v, size_t n,
                          uint64_t *rows){
  int type = vdb_coll_schema(c)->col[0].type;
  slot_no slot;
  int rc;
  for(size_t i=0; i<n; i++){
    struct vdb_value key = v[i];
    if( key.type==VECDB_REAL && vdb_real_is_int(key.r, &key.i) ){
      key.type = VECDB_INTEGER;
    }
    if( key.type!=type ) continue;
    rc = vdb_coll_find(c, &key, &slot);
    if( rc==VECDB_OK && slot<r->n_slot ) vdb_bit_set(rows, slot);
    if( rc!=VECDB_OK && rc!=VECDB_NOTFOUND ) return rc;
  }
  vdb_error_clear(vdb_store_err(vdb_coll_store(c)));
  return VECDB_OK;
}

int vdb_search_rows(struct coll *c, const struct coll_runs *r,
                    struct filter_run *filter, const struct keyset *keys,
                    uint64_t **out, uint64_t *n){
  size_t n_word = vdb_bitset_words((size_t)r->n_slot);
  uint64_t *rows = vdb_calloc(n_word, 8);
  const struct vdb_value *v;
  size_t n_v;
  int rc = VECDB_OK;
  *out = NULL;
  *n = 0;
  if( rows==NULL ) return VECDB_NOMEM;
  if( keys ) TRY( rows_of_keys(c, r, keys, rows) );
  else if( filter && vdb_filter_keys(filter, &v, &n_v)
        && !keys_are_many(n_v, r) ){
    TRY( rows_of_values(c, r, v, n_v, rows) );
  }else if( n_word>0 ) memcpy(rows, r->live, n_word*8);
  if( filter ) TRY( vdb_filter_rows(filter, rows, r->n_slot) );
  *n = vdb_bit_count(rows, (size_t)r->n_slot);
  *out = rows;
  rows = NULL;
done:
  vdb_free(rows);
  return rc;
}

/* ---- Searching ---------------------------------------------------------- */

/* From whichever thread works: handlers are called on the connection's own. */
static int search_progress(void *arg){
  struct search_watch *w = arg;
  if( vdb_session_interrupted(w->ss) ) return 1;
  if( !pthread_equal(w->thread, pthread_self()) ) return 0;
  return vdb_store_progress(w->ss->st, "search", "rows", 0, 0)!=VECDB_OK;
}

void vdb_search_setup(struct session *ss, struct coll *c,
                      const struct coll_runs *r,
                      const struct search_request *q,
                      struct search_watch *w, struct flat_search *s){
  const struct schema_column *col = &vdb_coll_schema(c)->col[q->column];
  w->ss = ss;
  w->thread = pthread_self();
  memset(s, 0, sizeof(*s));
  s->metric = col->metric;
  s->type = col->element;
  s->dim = col->dims;
  s->runs = r->run;
  s->n_runs = r->n_run;
  s->filter = q->rows;
  s->window = q->window;
  s->tie = r->tie;
  s->tie_arg = r->tie_arg;
  s->coder = r->coder;
  s->source = &r->source;
  s->progress = search_progress;
  s->progress_arg = w;
  s->n_thread = 1;
}

static uint64_t search_n_rows(const struct coll_runs *r,
                              const struct search_request *q){
  return q->rows ? q->n_rows : r->n_row;
}

int vdb_search_open(struct coll *c, const struct search_request *q,
                    struct coll_runs *out){
  slot_no from = 0;
  int rc;
  TRY( vdb_coll_refresh(c) );
  if( (!q->wish.exact && q->k>0 && q->window==NULL)
   || vdb_search_range_wish(q) ){
    TRY( vdb_graphs_load(c) );
    from = vdb_graphs_end(c, vdb_vector_number(c, q->column));
  }
  TRY( vdb_coll_runs_open_rest(c, q->column, from, out) );
done:
  return rc;
}

/* Why there is no choice but an exact search. */
static const char *reason_exact(const struct search_request *q){
  if( q->wish.exact ) return "exact is asked for";
  if( q->k==0 || q->window ) return "distances are bounded";
  return "no graph";
}

static void note_begin(struct session *ss, const struct coll_runs *r,
                       const struct search_request *q){
  struct search_note *n = &ss->last;
  memset(n, 0, sizeof(*n));
  n->plan = "exact";
  n->why = reason_exact(q);
  n->recall = 1;
  n->n_match = search_n_rows(r, q);
  n->n_row = r->n_row;
  n->n_distance = ss->n_distance;
}

void vdb_search_note_walk(struct session *ss,
                          const struct vdb_graph_stats *w){
  ss->last.n_block += w->n_hop;
  ss->last.n_bridge += w->n_bridge;
  ss->last.n_far += w->is_far;
  if( w->share>0 ) ss->last.share_near = w->share;
  if( w->gave_up ) ss->last.why = "near the query too few rows qualify";
}

void vdb_search_note_codes(struct session *ss){
  ss->last.plan = "graph over bridges, then codes";
  ss->last.n_switch++;
}

static void note_plan(struct session *ss, const struct graph_plan *p){
  ss->last.why = p->why;
  ss->last.cost_exact = p->cost_exact;
  ss->last.cost_through = p->cost_through;
  ss->last.cost_within = p->cost_within;
  ss->last.cost_codes = p->cost_codes;
  if( !p->use_graph ) return;
  ss->last.recall = p->recall;
  if( p->is_coded ){
    ss->last.plan = "codes";
    return;
  }
  ss->last.plan = p->is_within ? "graph over bridges" : "graph";
  ss->last.ef = p->ef;
}

/* What graphs found is not enough: all rows are compared. */
static void note_switch(struct session *ss){
  if( ss->last.n_switch==0 ){
    bool is_within = ss->last.cost_within>0;
    ss->last.plan = is_within ? "graph over bridges, then exact"
                              : "graph, then exact";
    if( ss->last.share_near==0 || ss->last.n_block==0 ){
      ss->last.why = "the graph found too few";
    }
  }
  ss->last.n_switch++;
}

static void note_end(struct session *ss){
  ss->last.n_distance = ss->n_distance - ss->last.n_distance;
}

/* Answer by graphs, if the plan says so (*used). A query for which they find
** too few has n_hit below k. */
static int search_graphs(struct session *ss, struct coll *c,
                         const struct coll_runs *r,
                         const struct search_request *q, const void *queries,
                         size_t stride, size_t nq, struct vdb_hit *hit,
                         size_t *n_hit, bool *used){
  struct search_request p = *q;
  struct graph_plan plan;
  int v = vdb_vector_number(c, q->column), rc;
  *used = false;
  p.n_rows = search_n_rows(r, q);
  TRY( vdb_graphs_load(c) );
  vdb_graphs_plan(c, v, &q->wish, q->k, p.n_rows, &plan);
  if( ss->last.n_switch==0 ) note_plan(ss, &plan);
  if( !plan.use_graph ) return VECDB_OK;
  *used = true;
  if( nq==1 || plan.is_coded ){
    for(size_t i=0; i<nq; i++){
      TRY( vdb_graphs_search(ss, c, r, &p, &plan,
                             (const char*)queries + i*stride, hit + i*p.k,
                             &n_hit[i]) );
    }
  }else{
    TRY( vdb_graphs_batch(ss, c, r, &p, &plan, queries, stride, nq, hit,
                          n_hit) );
  }
done:
  if( *used && graph_is_damage(rc) ){
    vdb_graphs_distrust(c, rc);          /* found too few: exact */
    memset(n_hit, 0, nq*sizeof(*n_hit));
    rc = VECDB_OK;
  }
  return rc;
}

static int search_one_exact(struct session *ss, struct coll *c,
                   const struct coll_runs *r, const struct search_request *q,
                   const void *query, struct vdb_hit **hit, size_t *n_hit){
  uint64_t n_rows = search_n_rows(r, q), k = q->k<n_rows ? q->k : n_rows;
  struct search_request p = *q;
  struct search_watch w;
  struct flat_search s;
  bool used;
  int rc = VECDB_OK;
  *hit = NULL;
  *n_hit = 0;
  vdb_search_setup(ss, c, r, q, &w, &s);
  if( n_rows==0 ) return VECDB_OK;
  if( q->k==0 ){
    TRY( vdb_flat_range(&s, query, hit, n_hit) );
  }else{
    *hit = vdb_malloc_array((size_t)k, sizeof(**hit));
    if( *hit==NULL ) TRY( VECDB_NOMEM );
    p.k = k;
    TRY( vdb_device_batch(ss, c, &p, &s, query, vdb_vector_bytes(s.type, s.dim),
                          1, *hit, n_hit, &used) );
    if( used ) ss->last.why = "by the GPU";
    else TRY( vdb_flat_knn(&s, query, (size_t)k, *hit, n_hit) );
  }
  ss->n_distance += n_rows;
done:
  return rc;
}

/* The same over runs that leave out what graphs cover. */
static int search_one_all(struct session *ss, struct coll *c,
                          const struct search_request *q, const void *query,
                          struct vdb_hit **hit, size_t *n_hit){
  struct coll_runs all = { 0 };
  int rc;
  TRY( vdb_coll_runs_open(c, q->column, &all) );
  TRY( search_one_exact(ss, c, &all, q, query, hit, n_hit) );
  TRY( vdb_coll_runs_error(&all) );
done:
  vdb_coll_runs_close(&all);
  return rc;
}

/* By graphs; *used is false when that was not done, or found too few. */
static int search_one_graphs(struct session *ss, struct coll *c,
                   const struct coll_runs *r, const struct search_request *q,
                   const void *query, struct vdb_hit **hit, size_t *n_hit,
                   bool *used){
  struct search_request p = *q;
  uint64_t n_rows = search_n_rows(r, q);
  int rc = VECDB_OK;
  if( p.k>n_rows ) p.k = n_rows;
  if( p.k==0 ) return VECDB_OK;
  *hit = vdb_malloc_array((size_t)p.k, sizeof(**hit));
  if( *hit==NULL ) return VECDB_NOMEM;
  TRY( search_graphs(ss, c, r, &p, query, 0, 1, *hit, n_hit, used) );
  if( *used && *n_hit>=p.k ) return VECDB_OK;
  if( *used ){
    note_switch(ss);
    ss->last.recall = 1;
  }
  *used = false;
  vdb_free(*hit);
  *hit = NULL;
  *n_hit = 0;
done:
  return rc;
}

/* Everything within a distance by graphs; *used is false when that was not done
** or not finished. */
static int search_one_range(struct session *ss, struct coll *c,
                   const struct coll_runs *r, const struct search_request *q,
                   const void *query, struct vdb_hit **hit, size_t *n_hit,
                   bool *used){
  struct graph_plan plan;
  int v = vdb_vector_number(c, q->column), rc;
  *used = false;
  TRY( vdb_graphs_load(c) );
  vdb_graphs_plan_range(c, v, &q->wish, search_n_rows(r, q), &plan);
  note_plan(ss, &plan);
  if( !plan.use_graph ) return VECDB_OK;
  rc = vdb_graphs_range(ss, c, r, q, &plan, query, hit, n_hit, used);
  if( graph_is_damage(rc) ){
    vdb_graphs_distrust(c, rc);
    rc = VECDB_OK;
  }
  if( *used || rc!=VECDB_OK ) return rc;
  note_switch(ss);
  ss->last.why = "the graph would read more than all rows";
  ss->last.recall = 1;
done:
  return rc;
}

int vdb_search_one(struct session *ss, struct coll *c,
                   const struct coll_runs *r, const struct search_request *q,
                   const void *query, struct vdb_hit **hit, size_t *n_hit){
  struct vdb_fpmode fp = vdb_fpmode_enter();
  bool used = false;
  int rc = VECDB_OK;
  *hit = NULL;
  *n_hit = 0;
  note_begin(ss, r, q);
  if( r->is_rest ){
    if( q->k==0 ) TRY( search_one_range(ss, c, r, q, query, hit, n_hit, &used) );
    else TRY( search_one_graphs(ss, c, r, q, query, hit, n_hit, &used) );
    if( !used ) TRY( search_one_all(ss, c, q, query, hit, n_hit) );
  }else{
    TRY( search_one_exact(ss, c, r, q, query, hit, n_hit) );
  }
  TRY( vdb_coll_runs_error(r) );
done:
  if( rc!=VECDB_OK ){
    vdb_free(*hit);
    *hit = NULL;
    *n_hit = 0;
  }
  note_end(ss);
  vdb_fpmode_leave(fp);
  return rc;
}

static int search_batch_exact(struct session *ss, struct coll *c,
                     const struct coll_runs *r,
                     const struct search_request *q, const void *queries,
                     size_t stride, size_t nq, struct vdb_hit *hit,
                     size_t *n_hit){
  struct search_watch w;
  struct flat_search s;
  bool used;
  int rc;
  vdb_search_setup(ss, c, r, q, &w, &s);
  s.n_thread = ss->n_thread ? ss->n_thread : vdb_cpu_count();
  TRY( vdb_device_batch(ss, c, q, &s, queries, stride, nq, hit, n_hit,
                        &used) );
  if( used ){
    ss->last.why = "by the GPU";
  }else{
    TRY( vdb_flat_knn_batch(&s, queries, stride, nq, (size_t)q->k, hit,
                            n_hit) );
  }
  ss->n_distance += nq*search_n_rows(r, q);
done:
  return rc;
}

/* Queries of a batch for which graphs found too few rows, one by one, as a
** single search goes on: with more effort, then exactly. */
static int search_short(struct session *ss, struct coll *c,
                        const struct coll_runs *r,
                        const struct search_request *q, const void *queries,
                        size_t stride, size_t nq, struct vdb_hit *hit,
                        size_t *n_hit){
  struct vdb_hit *one = NULL;
  double recall = ss->last.recall;     /* of those that were not short */
  bool used;
  int rc = VECDB_OK;
  for(size_t i=0; i<nq; i++){
    const char *query = (const char*)queries + i*stride;
    if( n_hit[i]>=q->k ) continue;
    used = false;
    TRY( search_one_graphs(ss, c, r, q, query, &one, &n_hit[i], &used) );
    ss->last.recall = recall;
    if( !used ) TRY( search_one_all(ss, c, q, query, &one, &n_hit[i]) );
    if( n_hit[i]>0 ) memcpy(hit + i*q->k, one, n_hit[i]*sizeof(*one));
    vdb_free(one);
    one = NULL;
  }
done:
  vdb_free(one);
  return rc;
}

int vdb_search_batch(struct session *ss, struct coll *c,
                     const struct coll_runs *r,
                     const struct search_request *q, const void *queries,
                     size_t stride, size_t nq, struct vdb_hit *hit,
                     size_t *n_hit){
  struct vdb_fpmode fp = vdb_fpmode_enter();
  struct coll_runs all = { 0 };
  bool used = false;
  int rc = VECDB_OK;
  note_begin(ss, r, q);
  if( r->is_rest ){
    TRY( search_graphs(ss, c, r, q, queries, stride, nq, hit, n_hit, &used) );
    if( used ){
      TRY( search_short(ss, c, r, q, queries, stride, nq, hit, n_hit) );
      TRY( vdb_coll_runs_error(r) );
      goto done;
    }
    TRY( vdb_coll_runs_open(c, q->column, &all) );
    r = &all;
  }
  TRY( search_batch_exact(ss, c, r, q, queries, stride, nq, hit, n_hit) );
  TRY( vdb_coll_runs_error(r) );
done:
  vdb_coll_runs_close(&all);
  note_end(ss);
  vdb_fpmode_leave(fp);
  return rc;
}

/* ---- Options ------------------------------------------------------------ */

#define SEARCH_FLAGS_ALL  0x1fu

void vdb_search_wish(const vecdb_search_options *opt, struct graph_wish *w){
  w->ef = opt->ef;
  w->recall = opt->recall;
  w->exact = (opt->flags & VECDB_SEARCH_EXACT)!=0 || opt->recall>=1;
}

int vdb_search_window(const vecdb_search_options *opt, struct vdb_err *err,
                      struct flat_window *w, bool *has_window){
  bool has_min = opt->flags & VECDB_SEARCH_HAS_MIN;
  bool has_max = opt->flags & VECDB_SEARCH_HAS_MAX;
  if( (has_min && isnan(opt->min_distance))
   || (has_max && isnan(opt->max_distance)) ){
    return vdb_error(err, VECDB_RANGE, "%s is not a number",
                     has_min && isnan(opt->min_distance) ? "min_distance"
                                                         : "max_distance");
  }
  *has_window = has_min || has_max;
  vdb_window_init(w, has_min ? opt->min_distance : -INFINITY,
                  has_min && (opt->flags & VECDB_SEARCH_AFTER_STRICT),
                  has_max ? opt->max_distance : INFINITY,
                  has_max && (opt->flags & VECDB_SEARCH_WITHIN_STRICT));
  return VECDB_OK;
}

int vdb_search_check(const struct schema *s, const vecdb_search_options *opt,
                     struct vdb_err *err, int *column){
  int i = opt->column ? opt->column : s->i_first_vector;
  *column = i;
  if( opt->flags & ~SEARCH_FLAGS_ALL ){
    return vdb_error(err, VECDB_MISUSE, "search: unknown flags 0x%x",
                     opt->flags & ~SEARCH_FLAGS_ALL);
  }
  if( i<0 || i>=s->n_col ){
    return vdb_error(err, VECDB_NOTFOUND,
                     "search: no column %d; there are %d", i, s->n_col);
  }
  if( s->col[i].type!=VECDB_VECTOR ){
    return vdb_error(err, VECDB_MISMATCH,
                     "search: column \"%s\" is no vector", s->col[i].name);
  }
  if( opt->k==0 && !(opt->flags & VECDB_SEARCH_HAS_MAX) ){
    return vdb_error(err, VECDB_RANGE,
                     "search: k is 0; without max_distance it says how many "
                     "rows are wanted");
  }
  if( !(opt->recall>=0 && opt->recall<=1) ){
    return vdb_error(err, VECDB_RANGE,
                     "search: recall %g is not in 0..1", opt->recall);
  }
  return VECDB_OK;
}
