/* graphs_batch.c -- many queries by graphs.
**
** Workers walk the graphs, several queries under way in each; everything that
** touches the pager (holding extents before, rows and keys afterwards) is done
** on the connection's thread. A query gets the answer of vdb_graphs_search:
** where that would ask again with more effort, it is left to it (0 hits).
**
** MEMORY  HIT_BYTES for hits, however many queries and results; 2*ef entries
**         and a few vectors per worker.
*/
#include "util/common.h"
#include "store/graphs_int.h"

#include "util/pool.h"

#define BATCH_QUERIES    512           /* at once, at most */
#define HIT_BYTES        (16u<<20)
#define TASK_QUERIES     32            /* one worker's at a time */

struct gbatch {
  struct gsearch g;
  struct graph_seg *s;                 /* being asked */
  unsigned n_thread;
  const void *queries;
  size_t stride, n;                    /* queries of this block */
  size_t n_max;                        /* of any block */
  uint32_t k;                          /* hits per query of this graph */
  struct vdb_graph_search p;
  bool has_limit;                      /* this graph goes by them */
  struct vdb_graph_within within;      /* b may refer to it */
  struct vdb_graph_blocks b;
  struct vdb_graph_hit *hit;           /* n_max*k */
  uint32_t *n_found;                   /* by query */
  bool *is_short;                      /* by query */
  float *limit;                        /* by query, vdb_gsearch_limit */
  struct vdb_graph_searcher **searcher;/* by worker */
  float **vec;                         /* by worker: TASK_QUERIES vectors */
};

static const void *batch_query(const struct gbatch *t, size_t i){
  return (const char*)t->queries + i*t->stride;
}

/* ---- Workers ------------------------------------------------------------ */

static int walk_task(void *arg, size_t i_task, unsigned worker){
  struct gbatch *t = arg;
  const struct coll *c = t->g.c;
  struct vdb_fpmode fp = vdb_fpmode_enter();
  size_t at = i_task*TASK_QUERIES, n = vdb_min_sz(TASK_QUERIES, t->n-at);
  uint32_t d = vdb_graph_dims(c, t->g.v);
  struct vdb_graph_blocks b = t->b;
  float *vec = t->vec[worker];
  int rc = VECDB_INTERRUPT;

  if( vdb_session_interrupted(t->g.ss) ) goto done;
  for(size_t i=0; i<n; i++){
    if( vdb_graph_vec(c, t->g.v, batch_query(t, at+i), 0, true, vec + i*d) ){
      continue;
    }
    memset(vec + i*d, 0, d*sizeof(*vec));
    t->is_short[at+i] = true;
  }
  b.limit = t->has_limit ? t->limit+at : NULL;
  rc = vdb_graph_knn_many(t->searcher[worker], &b, vec, n, &t->p,
                          t->hit + at*t->k, t->n_found + at);
done:
  vdb_fpmode_leave(fp);
  return rc;
}

static int batch_graph(struct gbatch *t){
  struct gsearch *g = &t->g;
  int rc;

  t->k = vdb_gsearch_k(g, t->s);
  t->p = (struct vdb_graph_search){ t->k, g->plan->ef, g->plan->stop };
  t->has_limit = vdb_gsearch_has_limit(g, t->s);
  TRY( vdb_graph_hold_all(g->c, t->s) );
  vdb_gsearch_blocks(g, t->s, &t->b);
  TRY( vdb_gsearch_within(g, t->s, &t->within, &t->b) );
  for(unsigned w=0; w<t->n_thread; w++){
    vdb_graph_searcher_destroy(t->searcher[w]);
    t->searcher[w] = NULL;
    TRY( vdb_graph_searcher_create(t->s->g, &t->searcher[w]) );
  }
  rc = vdb_pool_run(t->n_thread, (t->n+TASK_QUERIES-1)/TASK_QUERIES,
                    walk_task, t);
  if( rc==VECDB_INTERRUPT ){
    rc = vdb_error(vdb_coll_err(g->c), rc, "interrupted while at search");
  }
  rc = vdb_graph_rc(g->c, rc);
done:
  return rc;
}

/* ---- The rest ----------------------------------------------------------- */

/* Candidates of query i from the graph just asked join those kept in
** out[0..*n_out-1]; the k first stay. */
static int batch_join(struct gbatch *t, size_t i, struct vdb_hit *out,
                      size_t *n_out){
  struct gsearch *g = &t->g;
  const struct vdb_graph_hit *hit = t->hit + i*t->k;
  uint32_t n = vdb_gsearch_finite(hit, t->n_found[i]);
  int rc = VECDB_OK;

  if( !t->is_short[i] && !(t->has_limit && t->limit[i]<__builtin_inff()) ){
    t->is_short[i] = vdb_gsearch_is_short(g, t->s, n);
  }
  if( t->is_short[i] ) return VECDB_OK;
  vdb_gsearch_limit(g, t->s, hit, n, &t->limit[i]);
  TRY( vdb_gsearch_query(g, batch_query(t, i)) );
  TRY( vdb_gsearch_offer_hits(g, out, *n_out) );
  TRY( vdb_gsearch_offer(g, t->s, hit, n) );
  TRY( vdb_gsearch_offer_side(g, t->s) );
  vdb_gsearch_take(g, out, n_out);
  g->ss->n_distance += n;
done:
  return rc;
}

static int batch_rest(struct gbatch *t, struct vdb_hit *hit, size_t *n_hit){
  struct gsearch *g = &t->g;
  struct search_watch w;
  struct flat_search rest;
  int rc = VECDB_OK;

  memset(n_hit, 0, t->n*sizeof(*n_hit));
  if( g->r->n_run==0 ) return VECDB_OK;
  vdb_search_setup(g->ss, g->c, g->r, g->q, &w, &rest);
  rest.n_thread = t->n_thread;
  TRY( vdb_flat_knn_batch(&rest, t->queries, t->stride, t->n, g->k, hit,
                          n_hit) );
  for(size_t i=0; i<g->r->n_run; i++){
    g->ss->n_distance += t->n*g->r->run[i].n_rows;
  }
done:
  return rc;
}

static int batch_block(struct gbatch *t, struct vdb_hit *hit, size_t *n_hit){
  struct gsearch *g = &t->g;
  struct graph_list *list = &g->c->graphs->list[g->v];
  int rc = VECDB_OK;

  memset(t->is_short, 0, t->n*sizeof(*t->is_short));
  for(size_t j=0; j<t->n; j++) t->limit[j] = __builtin_inff();
  TRY( batch_rest(t, hit, n_hit) );
  for(size_t i=0; i<list->n; i++){
    t->s = &list->seg[i];
    TRY( batch_graph(t) );
    for(size_t j=0; j<t->n; j++){
      TRY( batch_join(t, j, hit + j*g->k, &n_hit[j]) );
    }
  }
  for(size_t j=0; j<t->n; j++) if( t->is_short[j] ) n_hit[j] = 0;
done:
  return rc;
}

static int batch_alloc(struct gbatch *t, size_t nq){
  size_t sz = TASK_QUERIES*(size_t)vdb_graph_dims(t->g.c, t->g.v);
  size_t k = vdb_gsearch_k_max(&t->g);

  t->n_max = HIT_BYTES/(k*sizeof(*t->hit));
  if( t->n_max<1 ) t->n_max = 1;
  t->n_max = vdb_min_sz(vdb_min_sz(t->n_max, BATCH_QUERIES), nq);
  t->hit = vdb_malloc_array(t->n_max*k, sizeof(*t->hit));
  t->n_found = vdb_calloc(t->n_max, sizeof(*t->n_found));
  t->is_short = vdb_calloc(t->n_max, sizeof(*t->is_short));
  t->limit = vdb_calloc(t->n_max, sizeof(*t->limit));
  t->searcher = vdb_calloc(t->n_thread, sizeof(*t->searcher));
  t->vec = vdb_calloc(t->n_thread, sizeof(*t->vec));
  if( !t->hit || !t->n_found || !t->is_short || !t->limit || !t->searcher
   || !t->vec ){
    return VECDB_NOMEM;
  }
  for(unsigned w=0; w<t->n_thread; w++){
    t->vec[w] = vdb_malloc_aligned(sz*sizeof(float));
    if( t->vec[w]==NULL ) return VECDB_NOMEM;
  }
  return VECDB_OK;
}

static void batch_free(struct gbatch *t){
  for(unsigned w=0; w<t->n_thread; w++){
    if( t->searcher ) vdb_graph_searcher_destroy(t->searcher[w]);
    if( t->vec ) vdb_free_aligned(t->vec[w]);
  }
  vdb_free(t->searcher);
  vdb_free(t->vec);
  vdb_free(t->hit);
  vdb_free(t->n_found);
  vdb_free(t->is_short);
  vdb_free(t->limit);
}

int vdb_graphs_batch(struct session *ss, struct coll *c,
                     const struct coll_runs *r,
                     const struct search_request *q,
                     const struct graph_plan *plan, const void *queries,
                     size_t stride, size_t nq, struct vdb_hit *hit,
                     size_t *n_hit){
  size_t n_task = (nq+TASK_QUERIES-1)/TASK_QUERIES;
  struct gbatch t = { .stride = stride };
  int rc;

  t.n_thread = ss->n_thread ? ss->n_thread : vdb_cpu_count();
  if( t.n_thread>n_task ) t.n_thread = (unsigned)n_task;
  TRY( vdb_gsearch_begin(&t.g, ss, c, r, q, plan) );
  TRY( batch_alloc(&t, nq) );
  for(size_t i=0; i<nq; i+=t.n_max){
    t.n = vdb_min_sz(t.n_max, nq-i);
    t.queries = (const char*)queries + i*stride;
    TRY( batch_block(&t, hit + i*t.g.k, n_hit + i) );
  }
done:
  batch_free(&t);
  vdb_gsearch_end(&t.g);
  return rc;
}
