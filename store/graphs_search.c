/* graphs_search.c -- approximate search: graphs, and a scan of the rest.
**
** A search asks every graph of the column for candidates, computes their
** distances from the stored rows, adds the rows of the side lists and the
** exact answer over what no graph covers, and keeps the k first in order of
** (distance, key). Only the choice of candidates is approximate.
**
** PLAN    Exact search is taken when it is asked for (exact, recall 1, more
**   recall than the calibration supports), when few rows qualify, and when it
**   is cheaper by the fixed costs below; fixed ones, so that plans are the
**   same everywhere. A filter that leaves the share s of the rows widens ef
**   by 1/s, since the graph is walked through rows that do not qualify.
*/
#include "util/common.h"
#include "store/graphs.h"

#include "simd/simd.h"
#include "util/pool.h"

#define RECALL_DEFAULT   0.95
#define EXACT_ROWS_MIN   2000u         /* fewer that qualify: exact */
#define COST_ROW_NS      12.0          /* exact: each row, and .. */
#define COST_BYTE_NS     0.05          /* .. each byte of it */
#define COST_EF_NS       250.0         /* graph: each unit of ef */
#define EF_RETRIES       4             /* doublings when too few are found */
#define BATCH_QUERIES    512           /* of a batch, at once */
#define TASK_QUERIES     32            /* one worker's at a time */

/* ---- Planning -------------------------------------------------------------- */

static struct graph_seg *largest(const struct graph_list *list){
  struct graph_seg *best = &list->seg[0];
  for(size_t i=1; i<list->n; i++){
    if( list->seg[i].n_row>best->n_row ) best = &list->seg[i];
  }
  return best;
}

/* ef and stop for all rows, from the wish, the column, the table. */
static void plan_effort(const struct coll *c, int v,
                        const struct graph_wish *wish, uint64_t k,
                        struct graph_plan *p){
  const struct schema_column *col = &c->schema->col[c->vec_col[v]];
  const struct graph_seg *s = largest(&c->graphs->list[v]);
  double recall = wish->recall;
  uint32_t ef = wish->ef;
  struct vdb_graph_plan g;

  if( !(recall>0) && ef==0 ){
    recall = col->recall>0 ? col->recall : c->schema->recall;
    ef = col->ef ? col->ef : c->schema->ef;
  }
  if( recall>0 || ef==0 ){
    if( !(recall>0) ) recall = RECALL_DEFAULT;
    g = vdb_graph_plan_recall(s->g, (uint32_t)k, recall);
    p->ef = recall<1 ? g.ef : 0;
    p->stop = g.stop;
    p->recall = g.recall;
    return;
  }
  p->ef = ef;
  p->stop = -1;
}

static bool is_cheaper_exact(const struct coll *c, int v, double n_match,
                             double ef){
  double sz = c->schema->col[c->vec_col[v]].sz_vec;
  return n_match*(COST_ROW_NS + COST_BYTE_NS*sz) < ef*COST_EF_NS;
}

static int plan_exact(struct graph_plan *p, const char *why){
  p->use_graph = false;
  p->why = why;
  return VECDB_OK;
}

int vdb_graphs_plan(struct coll *c, int v, const struct graph_wish *wish,
                    uint64_t k, uint64_t n_match, struct graph_plan *p){
  uint64_t n_row = vdb_coll_n_row(c);
  double ef;

  memset(p, 0, sizeof(*p));
  if( wish->exact ) return plan_exact(p, "exact is asked for");
  if( c->graphs->list[v].n==0 ) return plan_exact(p, "no graph");
  if( k>VDB_GRAPH_EF_MAX/2 ) return plan_exact(p, "k is large");
  plan_effort(c, v, wish, k, p);
  if( p->ef==0 ) return plan_exact(p, "recall is beyond the calibration");
  if( n_match<EXACT_ROWS_MIN || n_match<20*(uint64_t)p->ef ){
    return plan_exact(p, "few rows qualify");
  }
  ef = (double)p->ef * (double)n_row/(double)n_match;
  if( ef>VDB_GRAPH_EF_MAX/2 || is_cheaper_exact(c, v, (double)n_match, ef) ){
    return plan_exact(p, "a scan of the rows that qualify is cheaper");
  }
  p->ef = (uint32_t)ef;
  p->use_graph = true;
  p->why = "graph";
  return VECDB_OK;
}

/* ---- Candidates ------------------------------------------------------------ */

struct gsearch {
  struct session *ss;
  struct coll *c;
  int v;
  const struct coll_runs *r;
  const struct search_request *q;
  const struct graph_plan *plan;
  size_t k;                            /* results wanted */
  struct vdb_query query;              /* of the stored type */
  struct vdb_topk top;
  struct vdb_str buf;                  /* a copied row */
};

static uint32_t k_of_graph(const struct gsearch *g, const struct graph_seg *s){
  size_t k = g->k;
  if( s->info.needs_rerank ) k += vdb_max_sz(8, k/2);
  return (uint32_t)k;
}

/* The distance that users see, from the stored row. */
static int offer(struct gsearch *g, slot_no slot){
  const unsigned char *vec;
  float key;
  int rc = vdb_graph_row(g->c, g->v, slot, &g->buf, &vec);

  if( rc!=VECDB_OK ) return rc;
  key = vdb_key(&g->query, vec);
  return vdb_topk_push(&g->top, vdb_key_distance(g->query.metric, key), slot);
}

static void blocks_set(const struct gsearch *g, struct graph_seg *s,
                       struct vdb_graph_blocks *b){
  memset(b, 0, sizeof(*b));
  b->base = s->base;
  b->n_slots = s->info.n_slots;
  b->live = g->r->live;
  b->filter = g->q->rows;
  b->n_row = (uint32_t)g->r->n_slot;
}

struct loader { struct gsearch *g; struct graph_seg *s; };

static int group_load(void *arg, uint32_t i_group, const unsigned char **base){
  struct loader *l = arg;
  int rc = vdb_graph_hold(l->g->c, l->s, i_group);
  if( rc==VECDB_OK ) *base = l->s->base[i_group];
  return rc;
}

/* Rows of the side list, and the exact answer over what no graph covers. */
static int offer_side(struct gsearch *g, const struct graph_seg *s){
  int rc = VECDB_OK;
  for(uint32_t i=0; i<s->n_side && rc==VECDB_OK; i++){
    slot_no slot = s->side[i];
    if( !vdb_bit_get(g->r->live, slot) ) continue;
    if( g->q->rows && !vdb_bit_get(g->q->rows, slot) ) continue;
    rc = offer(g, slot);
  }
  return rc;
}

static int offer_hits(struct gsearch *g, const struct vdb_hit *hit, size_t n){
  int rc = VECDB_OK;
  for(size_t i=0; i<n && rc==VECDB_OK; i++){
    rc = vdb_topk_push(&g->top, hit[i].distance, hit[i].slot);
  }
  return rc;
}

static void rest_setup(const struct gsearch *g, struct flat_search *s){
  const struct schema_column *col = &g->c->schema->col[g->q->column];
  memset(s, 0, sizeof(*s));
  s->metric = col->metric;
  s->type = col->element;
  s->dim = col->dims;
  s->runs = g->r->run;
  s->n_runs = g->r->n_run;
  s->filter = g->q->rows;
  s->tie = g->r->tie;
  s->tie_arg = g->r->tie_arg;
  s->n_thread = 1;
}

/* The k first of what was offered. */
static void top_take(struct gsearch *g, struct vdb_hit *hit, size_t *n_hit){
  vdb_topk_sort(&g->top);
  *n_hit = g->top.n;
  if( g->top.n>0 ) memcpy(hit, g->top.hit, g->top.n*sizeof(*hit));
  g->top.n = 0;
}

/* ---- One query ------------------------------------------------------------- */

/* Candidates of one graph; doubles ef while too few come. */
static int graph_ask(struct gsearch *g, struct graph_seg *s,
                     const float *vec){
  struct loader l = { g, s };
  struct vdb_graph_search p = { k_of_graph(g, s), g->plan->ef,
                                g->plan->stop };
  struct vdb_graph_hit *hit = NULL;
  struct vdb_graph_stats stats = { 0, 0 };
  struct vdb_graph_blocks b;
  uint32_t n = 0;
  int rc = VECDB_OK;

  if( s->searcher==NULL ){
    TRY( vdb_graph_searcher_create(s->g, &s->searcher) );
  }
  hit = vdb_malloc_array(p.k, sizeof(*hit));
  if( hit==NULL ) return VECDB_NOMEM;
  blocks_set(g, s, &b);
  b.load = group_load;
  b.arg = &l;
  for(int i=0; ; i++){
    TRY( vdb_graph_knn(s->searcher, &b, vec, &p, hit, &n, &stats) );
    g->ss->n_distance += stats.n_distance;
    if( n>=p.k || i==EF_RETRIES || p.ef>=VDB_GRAPH_EF_MAX/2 ) break;
    if( n>=g->q->n_rows ) break;       /* that is all there are */
    p.ef *= 2;
    p.stop = -1;
  }
  for(uint32_t i=0; i<n; i++) TRY( offer(g, hit[i].row) );
done:
  vdb_free(hit);
  return rc;
}

static int gsearch_begin(struct gsearch *g){
  vdb_topk_init(&g->top, g->k, g->r->tie, g->r->tie_arg);
  return vdb_graphs_load(g->c);
}

static void gsearch_end(struct gsearch *g){
  vdb_topk_clear(&g->top);
  vdb_str_clear(&g->buf);
}

static int vector_of_column(const struct coll *c, int column){
  int v = 0;
  while( c->vec_col[v]!=column ) v++;
  return v;
}

int vdb_graphs_search(struct session *ss, struct coll *c,
                      const struct coll_runs *r,
                      const struct search_request *q,
                      const struct graph_plan *plan, const void *query,
                      struct vdb_hit *hit, size_t *n_hit){
  const struct schema_column *col = &c->schema->col[q->column];
  struct gsearch g = { ss, c, vector_of_column(c, q->column), r, q, plan,
                       (size_t)q->k, { 0 }, { 0 }, VDB_STR_INIT };
  struct flat_search rest;
  float *vec = NULL;
  size_t n_rest = 0;
  int rc;

  *n_hit = 0;
  TRY( gsearch_begin(&g) );
  vec = vdb_malloc_aligned(vdb_graph_dims(c, g.v)*sizeof(*vec));
  if( vec==NULL ) TRY( VECDB_NOMEM );
  TRY( vdb_query_init(&g.query, col->metric, col->element, query, col->dims) );
  if( !vdb_graph_vec(c, g.v, query, 0, true, vec) ) goto done;
  for(size_t i=0; i<c->graphs->list[g.v].n; i++){
    struct graph_seg *s = &c->graphs->list[g.v].seg[i];
    TRY( graph_ask(&g, s, vec) );
    TRY( offer_side(&g, s) );
  }
  if( r->n_run>0 ){
    rest_setup(&g, &rest);
    TRY( vdb_flat_knn(&rest, query, g.k, hit, &n_rest) );
    TRY( offer_hits(&g, hit, n_rest) );
  }
  top_take(&g, hit, n_hit);
done:
  gsearch_end(&g);
  vdb_free_aligned(vec);
  return rc;
}

/* ---- Batches ---------------------------------------------------------------
** Workers walk the graphs, several queries under way in each; everything that
** touches the pager (holding extents before, rows and keys afterwards) is done
** on the connection's thread. */

struct gbatch {
  struct gsearch *g;
  struct graph_seg *s;
  const void *queries;
  size_t stride, n;                    /* queries of this block */
  uint32_t k;                          /* hits per query of this graph */
  struct vdb_graph_search p;
  struct vdb_graph_blocks b;
  struct vdb_graph_hit *hit;           /* n*k */
  uint32_t *n_hit;                     /* n */
  struct vdb_graph_searcher **searcher;/* by worker */
  float **vec;                         /* by worker: TASK_QUERIES vectors */
};

static int batch_task(void *arg, size_t i_task, unsigned worker){
  struct gbatch *t = arg;
  const struct coll *c = t->g->c;
  size_t at = i_task*TASK_QUERIES, n = vdb_min_sz(TASK_QUERIES, t->n-at);
  uint32_t d = vdb_graph_dims(c, t->g->v);
  float *vec = t->vec[worker];

  if( t->g->ss->interrupted ) return VECDB_INTERRUPT;
  for(size_t i=0; i<n; i++){
    const char *q = (const char*)t->queries + (at+i)*t->stride;
    if( !vdb_graph_vec(c, t->g->v, q, 0, true, vec + i*d) ){
      memset(vec + i*d, 0, d*sizeof(*vec));      /* found too few: exact */
    }
  }
  return vdb_graph_knn_many(t->searcher[worker], &t->b, vec, n, &t->p,
                            t->hit + at*t->k, t->n_hit + at);
}

static int batch_graph(struct gbatch *t, unsigned n_thread){
  struct gsearch *g = t->g;
  int rc;

  t->k = k_of_graph(g, t->s);
  t->p = (struct vdb_graph_search){ t->k, g->plan->ef, g->plan->stop };
  TRY( vdb_graph_hold_all(g->c, t->s) );
  blocks_set(g, t->s, &t->b);
  for(unsigned w=0; w<n_thread; w++){
    vdb_graph_searcher_destroy(t->searcher[w]);
    t->searcher[w] = NULL;
    TRY( vdb_graph_searcher_create(t->s->g, &t->searcher[w]) );
  }
  vdb_free(t->hit);
  t->hit = vdb_malloc_array(t->n*t->k, sizeof(*t->hit));
  if( t->hit==NULL ) TRY( VECDB_NOMEM );
  TRY( vdb_pool_run(n_thread, (t->n+TASK_QUERIES-1)/TASK_QUERIES, batch_task,
                    t) );
done:
  return rc;
}

/* Candidates of query i of the block, from the graph just asked, join those
** kept in out[0..*n_out-1]; the k first stay. */
static int batch_join(struct gbatch *t, size_t i, struct vdb_hit *out,
                      size_t *n_out){
  struct gsearch *g = t->g;
  const struct schema_column *col = &g->c->schema->col[g->q->column];
  const char *query = (const char*)t->queries + i*t->stride;
  int rc;

  TRY( vdb_query_init(&g->query, col->metric, col->element, query,
                      col->dims) );
  TRY( offer_hits(g, out, *n_out) );
  for(uint32_t j=0; j<t->n_hit[i]; j++){
    TRY( offer(g, t->hit[i*t->k+j].row) );
  }
  TRY( offer_side(g, t->s) );
  top_take(g, out, n_out);
done:
  return rc;
}

static int batch_block(struct gbatch *t, unsigned n_thread,
                       struct vdb_hit *hit, size_t *n_hit){
  struct gsearch *g = t->g;
  struct graph_list *list = &g->c->graphs->list[g->v];
  struct flat_search rest;
  int rc = VECDB_OK;

  memset(n_hit, 0, t->n*sizeof(*n_hit));
  if( g->r->n_run>0 ){
    rest_setup(g, &rest);
    rest.n_thread = n_thread;
    TRY( vdb_flat_knn_batch(&rest, t->queries, t->stride, t->n, g->k, hit,
                            n_hit) );
  }
  for(size_t i=0; i<list->n; i++){
    t->s = &list->seg[i];
    TRY( batch_graph(t, n_thread) );
    for(size_t j=0; j<t->n; j++){
      TRY( batch_join(t, j, hit + j*g->k, &n_hit[j]) );
    }
  }
done:
  return rc;
}

static int batch_alloc(struct gbatch *t, unsigned n_thread){
  size_t sz = TASK_QUERIES*(size_t)vdb_graph_dims(t->g->c, t->g->v);

  t->n_hit = vdb_calloc(BATCH_QUERIES, sizeof(*t->n_hit));
  t->searcher = vdb_calloc(n_thread, sizeof(*t->searcher));
  t->vec = vdb_calloc(n_thread, sizeof(*t->vec));
  if( !t->n_hit || !t->searcher || !t->vec ) return VECDB_NOMEM;
  for(unsigned w=0; w<n_thread; w++){
    t->vec[w] = vdb_malloc_aligned(sz*sizeof(float));
    if( t->vec[w]==NULL ) return VECDB_NOMEM;
  }
  return VECDB_OK;
}

static void batch_free(struct gbatch *t, unsigned n_thread){
  for(unsigned w=0; w<n_thread; w++){
    if( t->searcher ) vdb_graph_searcher_destroy(t->searcher[w]);
    if( t->vec ) vdb_free_aligned(t->vec[w]);
  }
  vdb_free(t->searcher);
  vdb_free(t->vec);
  vdb_free(t->hit);
  vdb_free(t->n_hit);
}

int vdb_graphs_batch(struct session *ss, struct coll *c,
                     const struct coll_runs *r,
                     const struct search_request *q,
                     const struct graph_plan *plan, const void *queries,
                     size_t stride, size_t nq, struct vdb_hit *hit,
                     size_t *n_hit){
  struct gsearch g = { ss, c, vector_of_column(c, q->column), r, q, plan,
                       (size_t)q->k, { 0 }, { 0 }, VDB_STR_INIT };
  unsigned n_thread = ss->n_thread ? ss->n_thread : vdb_cpu_count();
  struct gbatch t = { .g = &g, .stride = stride };
  int rc;

  TRY( gsearch_begin(&g) );
  TRY( batch_alloc(&t, n_thread) );
  for(size_t i=0; i<nq; i+=BATCH_QUERIES){
    t.n = vdb_min_sz(BATCH_QUERIES, nq-i);
    t.queries = (const char*)queries + i*stride;
    TRY( batch_block(&t, n_thread, hit + i*g.k, n_hit + i) );
  }
done:
  batch_free(&t, n_thread);
  gsearch_end(&g);
  return rc;
}
