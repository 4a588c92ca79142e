/* graph_plan.c -- what effort a recall takes: reading the table that
** graph_calib.c has measured.
**
** Of 10 neighbours, or fewer, the table is asked as it is; its entries have
** early stops. Of more than 10, ef is between those of the measured numbers of
** neighbours on either side of k, logarithmically, and beyond the greatest in
** proportion to k; there is no early stop, as it was measured with none. Where
** the measured settings do not reach the recall, none is made up.
*/
#include <math.h>

#include "index/graph_int.h"

#define N_FIRST   10u            /* neighbours of recall10, low10 */
#define EF_LEAST  1.1            /* times k */

/* What an entry says of n neighbours: its lower bound; 0: nothing. */
static double cal_low(const struct graph_cal *e, uint32_t n){
  if( n==N_FIRST && e->low10>0 ) return e->low10;
  return n==e->n ? e->low_n : 0;
}
static double cal_mean(const struct graph_cal *e, uint32_t n){
  return n==N_FIRST && e->low10>0 ? e->recall10 : e->recall_n;
}

/* Between two measured settings of one early stop ef is interpolated, and so
** is recall. The cheapest that suits n neighbours; ef 0 if none does. */
static struct vdb_graph_plan table_find(const struct vdb_graph *g, uint32_t n,
                                        double recall){
  const struct graph_cal *best = NULL, *less = NULL;
  struct vdb_graph_plan p = { 0, -1, 0 };
  double t;
  for(uint32_t i=0; i<g->n_cal; i++){
    const struct graph_cal *e = &g->cal[i];
    double low = cal_low(e, n);
    if( low>0 && low>=recall && (best==NULL || e->hops<best->hops) ) best = e;
  }
  if( best==NULL ) return p;
  for(uint32_t i=0; i<g->n_cal; i++){
    const struct graph_cal *e = &g->cal[i];
    double low = cal_low(e, n);
    if( low<=0 || low>=recall || e->stop!=best->stop || e->ef>=best->ef ){
      continue;
    }
    if( less==NULL || e->ef>less->ef ) less = e;
  }
  p.ef = best->ef;
  p.stop = best->stop;
  p.recall = (float)cal_mean(best, n);
  if( less==NULL ) return p;
  t = (recall - cal_low(less, n))/(cal_low(best, n) - cal_low(less, n));
  p.ef = (uint32_t)(less->ef*pow((double)best->ef/less->ef, t) + 0.999);
  p.recall = (float)(cal_mean(less, n)
                     + t*(cal_mean(best, n) - cal_mean(less, n)));
  return p;
}

/* The measured numbers of neighbours around k > N_FIRST; *above 0: k is beyond
** all. */
static void table_around(const struct vdb_graph *g, uint32_t k,
                         uint32_t *below, uint32_t *above){
  *below = N_FIRST;
  *above = 0;
  for(uint32_t i=0; i<g->n_cal; i++){
    uint32_t n = g->cal[i].low10>0 ? N_FIRST : g->cal[i].n;
    if( n<k && n>*below ) *below = n;
    if( n>=k && (*above==0 || n<*above) ) *above = n;
  }
}

struct vdb_graph_plan vdb_graph_plan_recall(const struct vdb_graph *g,
                                            uint32_t k, double recall){
  const struct vdb_graph_plan none = { 0, -1, 0 };
  struct vdb_graph_plan p, q;
  uint32_t below, above;
  double ef;
  if( k<=N_FIRST ) return table_find(g, N_FIRST, recall);
  table_around(g, k, &below, &above);
  p = table_find(g, below, recall);
  if( p.ef==0 ) return none;
  p.stop = -1;
  if( above==0 ){
    ef = p.ef*((double)k/below);
  }else{
    q = table_find(g, above, recall);
    if( q.ef==0 ) return none;
    ef = p.ef*pow((double)q.ef/p.ef, log((double)k/below)
                                     /log((double)above/below));
    p.recall = q.recall<p.recall ? q.recall : p.recall;
  }
  if( ef<EF_LEAST*k ) ef = EF_LEAST*k;
  p.ef = ef<=VDB_GRAPH_EF_MAX ? (uint32_t)(ef+0.999) : 0;
  return p;
}
