/* plan.c -- how a search of k rows by graphs is done.
**
** Four ways, for n rows of which m qualify, share = m/n:
**
**   exact    compare all m: cost_exact = m * (COST_ROW + bytes*COST_BYTE)
**   through  walk through all rows, keep those that qualify, with the effort
**            ef/share: for all rows, or nearly all; deletes count as a filter
**   within   walk among those that qualify, over bridges (graph_filter.c)
**   codes    compare the codes of all m, read those that may be among the
**            nearest (graphs_codes.c), where graphs have codes
**
** Walks are within from SHARE_THROUGH down, where the graph has what that needs
** (GRAPHREC.ROWS), also where walking through all rows would cost a little
** less: it finds more, above all when the filter has to do with the query.
** Exact search is taken where it costs less than the walk, by fixed costs, so
** that plans are the same everywhere and at any time; they were measured once
** (bench/filtered.py). A walk within looks at the rows near the query first and
** may then give up: that is decided by what is counted there, with the same
** costs (n_hop_exact), and it goes on by codes, or exactly.
**
** Codes are taken even where a walk would cost a little less: what they cost
** does not depend on how the filter lies to the query, and they find nearly all.
**
** Exact search is also taken when it is asked for (exact, recall 1, more recall
** than the calibration supports) and when fewer than EXACT_ROWS_MIN qualify.
*/
#include "util/common.h"
#include "store/graphs.h"

#define RECALL_DEFAULT   0.95
#define EXACT_ROWS_MIN   500u          /* fewer that qualify: exact */
#define COST_ROW_NS      10.0          /* exact: each row, and .. */
#define COST_BYTE_NS     0.022         /* .. each byte of it */
#define COST_BLOCK_NS    20.0          /* graph: each block, and .. */
#define COST_STRIDE_NS   0.19          /* .. each byte of it */
#define COST_CODE_NS     1.8           /* codes: each row, and .. */
#define COST_CODEBYTE_NS 0.02          /* .. each byte of its code, .. */
#define COST_SCAN_NS     0.02          /* .. each row of the table, .. */
#define COST_CODES_NS    4000.0        /* .. the query, .. */
#define CODES_READ       80            /* .. so many rows, and .. */
#define CODES_READ_K     3             /* .. so many for each result */
#define CODES_PREFERRED  1.5           /* to a walk that costs so much less */
#define CODES_RECALL_MAX 0.99          /* more is not asked of them */
#define COST_EF          0.8           /* blocks by unit of ef, through all */
#define SHARE_THROUGH    0.95          /* nearly all: walk through */
#define RANGE_K          10u           /* a range is walked to as for so many */
#define RANGE_SIGMAS     2.0f          /* .. and so far where ef is given */
#define RANGE_GIVE_UP    0.4           /* of the exact price: give up */

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
    p->wanted = recall;
    p->stop = g.stop;
    p->recall = g.recall;
    return;
  }
  p->ef = ef<VDB_GRAPH_EF_MAX ? ef : VDB_GRAPH_EF_MAX;
  p->stop = -1;
}

/* Rows that are walked through: live ones, and the dead that graphs hold. */
static double n_walked(const struct coll *c, int v){
  const struct graph_list *list = &c->graphs->list[v];
  uint64_t n_row = coll_n_row(c), n_graph = 0;

  for(size_t i=0; i<list->n; i++) n_graph += list->seg[i].n_row;
  return (double)(n_graph>n_row ? n_graph : n_row);
}

static bool has_rows(const struct graph_list *list){
  for(size_t i=0; i<list->n; i++) if( list->seg[i].n_rows==0 ) return false;
  return true;
}

static bool has_codes(const struct graph_list *list){
  for(size_t i=0; i<list->n; i++) if( list->seg[i].n_codes==0 ) return false;
  return true;
}

/* Of comparing the codes of n_match rows; `row` is the cost of reading one. */
static double codes_cost(const struct coll *c, int v, uint64_t k,
                         uint64_t n_match, double row){
  double stride = vdb_graph_code_stride(largest(&c->graphs->list[v])->g);
  double n = n_walked(c, v), m = (double)n_match;
  double n_read = CODES_READ + CODES_READ_K*(double)k;

  return (COST_CODES_NS + n*COST_SCAN_NS
          + m*(COST_CODE_NS + stride*COST_CODEBYTE_NS)
          + (n_read<m ? n_read : m)*row)/1000;
}

/* Expected costs of the ways; p->ef and p->share are known. */
static void plan_costs(const struct coll *c, int v, uint64_t k,
                       uint64_t n_match, struct graph_plan *p){
  const struct graph_list *list = &c->graphs->list[v];
  double sz = c->schema->col[c->vec_col[v]].sz_vec, block, least;
  double row = COST_ROW_NS + COST_BYTE_NS*sz, ef = p->ef/p->share;

  block = (COST_BLOCK_NS + COST_STRIDE_NS*largest(list)->info.stride)/1000;
  least = p->cost_exact = (double)n_match*row/1000;
  if( p->has_codes ){
    p->cost_codes = codes_cost(c, v, k, n_match, row);
    if( p->cost_codes<least ) least = p->cost_codes;
  }
  p->n_hop_exact = least/block;
  if( ef<=VDB_GRAPH_EF_MAX/2 ) p->cost_through = COST_EF*ef*block;
  if( has_rows(list) && p->share<SHARE_THROUGH ){
    p->cost_within = vdb_graph_filter_hops(p->ef, p->share)*block;
  }
}

void vdb_graphs_plan(struct coll *c, int v, const struct graph_wish *wish,
                     uint64_t k, uint64_t n_match, struct graph_plan *p){
  double cost;

  memset(p, 0, sizeof(*p));
  p->why = "no graph";
  if( wish->exact ){ p->why = "exact is asked for"; return; }
  if( c->graphs->list[v].n==0 ) return;
  if( k>VDB_GRAPH_EF_MAX/2 ){ p->why = "k is large"; return; }
  plan_effort(c, v, wish, k, p);
  if( p->ef==0 ){
    p->why = "more recall than the graph is known to give";
    return;
  }
  if( p->ef<k ) p->ef = (uint32_t)k;
  p->share = (double)n_match/n_walked(c, v);
  p->has_codes = has_codes(&c->graphs->list[v])
              && p->wanted<=CODES_RECALL_MAX && p->share<SHARE_THROUGH
              && n_match<coll_n_row(c);         /* not for deletes alone */
  plan_costs(c, v, k, n_match, p);
  p->is_within = p->cost_within>0;
  cost = p->is_within ? p->cost_within : p->cost_through;
  if( p->cost_codes>0 && p->cost_codes<p->cost_exact && n_match>=2*k
   && n_match>=EXACT_ROWS_MIN
   && (cost==0 || p->cost_codes<CODES_PREFERRED*cost) ){
    p->use_graph = p->is_coded = true;
    p->is_within = false;
    p->why = "codes are compared fast";
    return;
  }
  if( n_match<EXACT_ROWS_MIN || n_match<2*k || cost==0 ||
      p->cost_exact<cost ){
    p->ef = 0;
    p->is_within = false;
    p->why = "few rows qualify";
    return;
  }
  p->use_graph = true;
  p->why = p->is_within ? "many rows do not qualify" : "near in the graph";
  if( !p->is_within ) p->ef = (uint32_t)(p->ef/p->share);
}

/* Standard errors of estimates that a range search allows for, by the recall
** that is wanted: measured, see doc/decisions/0058. */
static float range_sigmas(const struct graph_wish *wish){
  if( !(wish->recall>0) ) return RANGE_SIGMAS;
  if( wish->recall<=RECALL_DEFAULT ) return 1;
  return (float)(1 + (wish->recall-RECALL_DEFAULT)*25);
}

/* Bytes of a vector as rows are stored; on average. */
static double bytes_stored(const struct coll *c, int v){
  const struct seg_list *list = &c->segs[v];
  double sum = 0, n = 0;
  for(size_t i=0; i<list->n; i++){
    sum += (double)list->seg[i].n_row*vdb_seg_row_bytes(c, v, &list->seg[i]);
    n += list->seg[i].n_row;
  }
  return n>0 ? sum/n : c->schema->col[c->vec_col[v]].sz_vec;
}

void vdb_graphs_plan_range(struct coll *c, int v,
                           const struct graph_wish *wish, uint64_t n_match,
                           struct graph_plan *p){
  double block;

  memset(p, 0, sizeof(*p));
  p->why = "no graph";
  if( c->graphs->list[v].n==0 ) return;
  plan_effort(c, v, wish, RANGE_K, p);
  if( p->ef==0 ){
    p->why = "more recall than the graph is known to give";
    return;
  }
  block = (COST_BLOCK_NS
           + COST_STRIDE_NS*largest(&c->graphs->list[v])->info.stride)/1000;
  p->cost_exact = (double)n_match
                * (COST_ROW_NS + COST_BYTE_NS*bytes_stored(c, v))/1000;
  p->n_hop_exact = RANGE_GIVE_UP*p->cost_exact/block;
  if( n_match<EXACT_ROWS_MIN || p->n_hop_exact<p->ef ){
    p->ef = 0;
    p->why = "few rows qualify";
    return;
  }
  p->sigmas = range_sigmas(wish);
  p->use_graph = true;
  p->why = "within a distance, nearly all";
}
