/* multi.c -- the rows nearest by a weighted sum of distances.
**
** EXACT      Each column is searched for all distances, which are added up by
**   slot: 8 bytes a slot, and a hit per row of one column at a time.
**
** THRESHOLD  Where every column has a graph, each is asked for its own nearest
**   n rows. What is in none of the lists is in every column at least as far as
**   the last of its list, so its sum is at least that of the last ones: the
**   threshold. Of the rows in the lists all distances are computed; once k of
**   them are nearer than the threshold nothing is missed but what the graphs
**   missed (Fagin's algorithm, with lists that grow by LIST_GROWTH). When the
**   lists would become a fair part of the rows the search is exact: k rows, or
**   proof that fewer exist.
**
** ROUNDING   Both ways add the same products in the same order, and rounding is
**   monotone: a sum of larger terms is not smaller. So results do not depend on
**   the way, as far as candidates agree.
*/
#include "util/common.h"
#include "store/multi.h"

#include <math.h>
#include <stdlib.h>

#include "simd/simd.h"
#include "store/graphs.h"
#include "store/stmt.h"
#include "util/bitset.h"
#include "util/mem.h"

#define LIST_MIN     64u
#define LIST_GROWTH  4u
#define LIST_SHARE   16u               /* at most one row of so many */
#define LIST_MAX     16384u

/* ---- Parts --------------------------------------------------------------- */

void vdb_multi_parts_free(struct multi_part *part, size_t n){
  for(size_t i=0; part && i<n; i++) vdb_free_aligned(part[i].query);
  vdb_free(part);
}

static int part_take(const struct schema *s, const vecdb_query_part *from,
                     size_t i, struct vdb_err *err, struct multi_part *to){
  const struct schema_column *col;
  const void *p;
  int rc;
  to->column = from->column ? from->column : s->i_first_vector;
  to->weight = from->weight;
  if( to->column<0 || to->column>=s->n_col ){
    return vdb_error(err, VECDB_NOTFOUND, "part %zu: no column %d; there are "
                     "%d", i, to->column, s->n_col);
  }
  col = &s->col[to->column];
  if( col->type!=VECDB_VECTOR ){
    return vdb_error(err, VECDB_MISMATCH, "part %zu: column \"%s\" is no "
                     "vector", i, col->name);
  }
  if( !(to->weight>=0 && isfinite(to->weight)) ){
    return vdb_error(err, VECDB_RANGE, "part %zu: weight %g, expected a number "
                     "of at least 0", i, to->weight);
  }
  if( from->query==NULL ){
    return vdb_error(err, VECDB_MISUSE, "part %zu: no query", i);
  }
  to->query = vdb_malloc_aligned(((size_t)col->sz_vec+63) & ~(size_t)63);
  if( to->query==NULL ) return VECDB_NOMEM;
  rc = vdb_vector_adopt(col, (int)from->element, from->query, from->n_bytes,
                        to->query, &p, err);
  if( rc!=VECDB_OK ) vdb_error_prefix(err, "part %zu", i);
  else if( p!=to->query ) memcpy(to->query, p, col->sz_vec);
  return rc;
}

int vdb_multi_parts(const struct schema *s, const vecdb_query_part *part,
                    size_t n, struct vdb_err *err, struct multi_part **out){
  struct multi_part *to;
  int rc = VECDB_OK;
  *out = NULL;
  if( n<1 || n>MULTI_PART_MAX ){
    return vdb_error(err, VECDB_RANGE, "search: %zu parts, expected 1 to %u",
                     n, MULTI_PART_MAX);
  }
  to = vdb_calloc(n, sizeof(*to));
  if( to==NULL ) return VECDB_NOMEM;
  for(size_t i=0; i<n && rc==VECDB_OK; i++){
    rc = part_take(s, &part[i], i, err, &to[i]);
  }
  if( rc==VECDB_OK ) *out = to;
  else vdb_multi_parts_free(to, n);
  return rc;
}

/* A sum as it is ranked. What is no number (0 times infinity, or infinities of
** both signs) is farthest, as such distances are (vdb_keys). */
static float sum_rank(double sum){
  return sum!=sum ? INFINITY : (float)sum;
}

/* ---- Exactly ------------------------------------------------------------- */

/* Add the distances of one part to sum[slot]. */
static int part_add(struct session *ss, struct coll *c,
                    const struct multi_request *m, const struct multi_part *p,
                    const struct coll_runs *r, double *sum){
  struct search_request q = { .column = p->column, .rows = m->rows,
                              .n_rows = m->n_rows };
  struct flat_window all;
  struct search_watch w;
  struct flat_search s;
  struct vdb_hit *hit = NULL;
  size_t n = 0;
  int rc;
  vdb_window_init(&all, -INFINITY, false, INFINITY, false);
  q.window = &all;
  vdb_search_setup(ss, c, r, &q, &w, &s);
  TRY( vdb_flat_range(&s, p->query, &hit, &n) );
  for(size_t i=0; i<n; i++){
    sum[hit[i].slot] += p->weight*(double)hit[i].distance;
  }
  ss->n_distance += m->n_rows;
done:
  vdb_free(hit);
  return rc;
}

/* The k least sums among the rows that qualify. */
static int sums_select(const struct multi_request *m,
                       const struct coll_runs *r, const double *sum,
                       struct vdb_hit **hit, size_t *n_hit){
  const uint64_t *rows = m->rows ? m->rows : r->live;
  struct vdb_topk top;
  int rc = VECDB_OK;
  vdb_topk_init(&top, (size_t)m->k, r->tie, r->tie_arg);
  for(size_t w=0; w<vdb_bitset_words((size_t)r->n_slot); w++){
    for(uint64_t x=rows[w]; x; x &= x-1){
      slot_no slot = (slot_no)(64*w) + (slot_no)__builtin_ctzll(x);
      TRY( vdb_topk_push(&top, sum_rank(sum[slot]), slot) );
    }
  }
  vdb_topk_sort(&top);
  *hit = vdb_memdup(top.hit, top.n*sizeof(**hit));
  if( *hit==NULL ) TRY( VECDB_NOMEM );
  *n_hit = top.n;
done:
  vdb_topk_clear(&top);
  return rc;
}

static int multi_exact(struct session *ss, struct coll *c,
                       const struct multi_request *m, struct vdb_hit **hit,
                       size_t *n_hit){
  struct coll_runs r = { 0 };
  double *sum = NULL;
  int rc = VECDB_OK;
  for(size_t i=0; i<m->n; i++){
    vdb_coll_runs_close(&r);
    memset(&r, 0, sizeof(r));
    TRY( vdb_coll_runs_open(c, m->part[i].column, &r) );
    if( i==0 ){
      sum = vdb_calloc((size_t)r.n_slot+1, sizeof(*sum));
      if( sum==NULL ) TRY( VECDB_NOMEM );
    }
    TRY( part_add(ss, c, m, &m->part[i], &r, sum) );
  }
  TRY( sums_select(m, &r, sum, hit, n_hit) );
  TRY( vdb_coll_runs_error(&r) );
done:
  vdb_free(sum);
  vdb_coll_runs_close(&r);
  return rc;
}

/* ---- By lists ------------------------------------------------------------ */

struct multi_lists {
  struct session *ss;
  struct coll *c;
  const struct multi_request *m;
  slot_no *slot;                       /* candidates */
  size_t n;
  double threshold;
  bool is_all;                         /* a list holds every row */
  double recall;                       /* the least expected */
};

/* The n nearest by one part join the candidates. */
static int list_ask(struct multi_lists *x, const struct multi_part *p,
                    uint64_t n){
  struct search_request q = { .column = p->column, .k = n, .rows = x->m->rows,
                              .n_rows = x->m->n_rows, .wish = x->m->wish };
  struct coll_runs r = { 0 };
  struct vdb_hit *hit = NULL;
  size_t n_hit = 0;
  int rc;
  TRY( vdb_search_open(x->c, &q, &r) );
  TRY( vdb_search_one(x->ss, x->c, &r, &q, p->query, &hit, &n_hit) );
  for(size_t i=0; i<n_hit; i++) x->slot[x->n++] = hit[i].slot;
  if( n_hit<n ) x->is_all = true;
  else x->threshold += p->weight*(double)hit[n_hit-1].distance;
  if( x->ss->last.recall<x->recall ) x->recall = x->ss->last.recall;
done:
  vdb_free(hit);
  vdb_coll_runs_close(&r);
  return rc;
}

static int slot_order(const void *a, const void *b){
  slot_no x = *(const slot_no*)a, y = *(const slot_no*)b;
  return x<y ? -1 : x>y;
}

/* The sum of one row, from its stored vectors. */
static int row_sum(struct multi_lists *x, slot_no slot, struct vdb_str *buf,
                   float *out){
  const struct schema *s = vdb_coll_schema(x->c);
  double sum = 0;
  struct vdb_value v;
  int rc = VECDB_OK;
  for(size_t i=0; i<x->m->n; i++){
    const struct multi_part *p = &x->m->part[i];
    const struct schema_column *col = &s->col[p->column];
    TRY( vdb_coll_value(x->c, p->column, slot, buf, &v) );
    sum += p->weight*(double)vdb_distance(col->metric, col->element, p->query,
                                          v.p, col->dims);
  }
  x->ss->n_distance += x->m->n;
  *out = sum_rank(sum);
done:
  return rc;
}

/* Rank the candidates: the k nearest, if that proves them to be the nearest of
** all (*is_proof). */
static int lists_rank(struct multi_lists *x, const struct coll_runs *r,
                      struct vdb_hit **hit, size_t *n_hit, bool *is_proof){
  struct vdb_str buf = VDB_STR_INIT;
  struct vdb_topk top;
  float d = 0;
  int rc = VECDB_OK;
  vdb_topk_init(&top, (size_t)x->m->k, r->tie, r->tie_arg);
  qsort(x->slot, x->n, sizeof(*x->slot), slot_order);
  for(size_t i=0; i<x->n; i++){
    if( i>0 && x->slot[i]==x->slot[i-1] ) continue;
    TRY( row_sum(x, x->slot[i], &buf, &d) );
    TRY( vdb_topk_push(&top, d, x->slot[i]) );
  }
  *is_proof = x->is_all || (top.n==x->m->k
                            && vdb_topk_bound(&top)<(float)x->threshold);
  if( !*is_proof ) goto done;
  vdb_topk_sort(&top);
  *hit = vdb_memdup(top.hit, top.n*sizeof(**hit));
  if( *hit==NULL ) TRY( VECDB_NOMEM );
  *n_hit = top.n;
done:
  vdb_topk_clear(&top);
  vdb_str_clear(&buf);
  return rc;
}

static int multi_lists(struct multi_lists *x, struct vdb_hit **hit,
                       size_t *n_hit, bool *is_proof){
  const struct multi_request *m = x->m;
  uint64_t n = 4*m->k>LIST_MIN ? 4*m->k : LIST_MIN;
  struct coll_runs r = { 0 };
  int rc;
  TRY( vdb_coll_runs_open(x->c, m->part[0].column, &r) );
  for(; n<=LIST_MAX && n<=m->n_rows/LIST_SHARE; n*=LIST_GROWTH){
    vdb_free(x->slot);
    x->n = 0;
    x->slot = vdb_malloc_array((size_t)n*m->n, sizeof(*x->slot));
    if( x->slot==NULL ) TRY( VECDB_NOMEM );
    x->threshold = 0;
    x->is_all = false;
    x->recall = 1;
    for(size_t i=0; i<m->n; i++) TRY( list_ask(x, &m->part[i], n) );
    TRY( lists_rank(x, &r, hit, n_hit, is_proof) );
    if( *is_proof ) break;
  }
  TRY( vdb_coll_runs_error(&r) );
done:
  vdb_free(x->slot);
  vdb_coll_runs_close(&r);
  return rc;
}

/* ---- The search ---------------------------------------------------------- */

static int all_have_graphs(struct coll *c, const struct multi_request *m,
                           bool *out){
  int rc = VECDB_OK;
  *out = true;
  for(size_t i=0; i<m->n && *out && rc==VECDB_OK; i++){
    rc = vdb_coll_has_graph(c, m->part[i].column, out);
  }
  return rc;
}

int vdb_multi_search(struct session *ss, struct coll *c,
                     const struct multi_request *m, struct vdb_hit **hit,
                     size_t *n_hit){
  struct vdb_fpmode fp = vdb_fpmode_enter();
  struct multi_lists x = { .ss = ss, .c = c, .m = m, .recall = 1 };
  struct search_note note = { .plan = "exact", .why = "exact is asked for",
                              .recall = 1, .n_match = m->n_rows };
  uint64_t n_distance = ss->n_distance;
  bool is_proof = false, has_graphs = false;
  int rc = VECDB_OK;
  *hit = NULL;
  *n_hit = 0;
  if( m->n_rows==0 ) goto done;
  if( !m->wish.exact ){
    TRY( all_have_graphs(c, m, &has_graphs) );
    note.why = "a column has no graph";
  }
  if( has_graphs ){
    TRY( multi_lists(&x, hit, n_hit, &is_proof) );
    note.why = "lists would be long";
  }
  if( is_proof ){
    note.plan = "threshold over graphs";
    note.why = "what is in no list is farther";
    note.recall = x.recall;
  }else{
    TRY( multi_exact(ss, c, m, hit, n_hit) );
  }
done:
  note.n_row = m->n_live;
  note.n_distance = ss->n_distance - n_distance;
  ss->last = note;
  vdb_fpmode_leave(fp);
  return rc;
}
