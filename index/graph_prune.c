/* graph_prune.c -- which candidates become neighbours.
**
** The rules are those of gpu/edges.h. RobustPrune: candidates by distance from p; one is kept unless a kept one is
** nearer to it than p is (alpha times nearer, if asked for; 1 was measured to be
** best with filled lanes). The rest of the lanes, which a search scans anyway,
** are filled at the end of the build with candidates that lie in other
** directions than those kept: an angle of 60 degrees at least, then 50, then
** whatever is nearest.
**
** The query sides of kept candidates are made once, when they are kept; every
** candidate is compared with them until one excludes it.
*/
#include <math.h>
#include <stdlib.h>

#include "index/graph_build_int.h"

#define PRUNE_AHEAD  4          /* candidates requested in advance */

static int near_compare(const void *a, const void *b){
  const struct graph_near *x = a, *y = b;
  if( x->d2!=y->d2 ) return x->d2<y->d2 ? -1 : 1;
  return x->slot<y->slot ? -1 : x->slot>y->slot;
}

/* Lists have some hundred members and come in runs that are nearly sorted:
** Shell sort, in place and without calls. */
void vdb_graph_near_sort(struct graph_near *a, uint32_t n){
  static const uint32_t gap[] = { 301, 132, 57, 23, 10, 4, 1 };
  if( n>2000 ){
    qsort(a, n, sizeof(*a), near_compare);
    return;
  }
  for(size_t h=0; h<VDB_ARRAY_LEN(gap); h++){
    for(uint32_t i=gap[h]; i<n; i++){
      struct graph_near x = a[i];
      uint32_t j = i;
      for(; j>=gap[h]; j-=gap[h]){
        const struct graph_near *y = &a[j-gap[h]];
        if( y->d2<x.d2 || (y->d2==x.d2 && y->slot<x.slot) ) break;
        a[j] = *y;
      }
      a[j] = x;
    }
  }
}

static void kept_add(const struct graph_builder *b, struct build_worker *w,
                     uint32_t i, uint32_t slot){
  w->kept_q[i].hi = w->kept_hi + (size_t)i*b->g->dims_nav;
  vdb_graph_query_block(b->g, build_block(b, slot), &w->kept_q[i]);
}

/* Pool members that were not expanded may have left the caches again. */
static void vector_prefetch(const struct graph_builder *b, uint32_t slot){
  const unsigned char *p = build_block(b, slot);
  for(size_t i=0; i<GRAPHBLOCK_SIZE+b->g->sz_nav; i+=64){
    __builtin_prefetch(p+i, 0, 2);
  }
}

/* Candidate i is kept if none of the n that were kept before it hides it. */
static bool cand_keep(const struct graph_builder *b, struct build_worker *w,
                      uint32_t i, uint32_t n){
  struct graph_near c = w->cand[i];
  const unsigned char *block = build_block(b, c.slot);
  for(uint32_t j=0; j<n; j++){
    if( rules_hides(b->alpha2, vdb_graph_d2(b->g, &w->kept_q[j], block),
                    c.d2) ) return false;
  }
  kept_add(b, w, n, c.slot);
  w->list[n] = c;
  return true;
}

uint32_t vdb_graph_prune(const struct graph_builder *b,
                         struct build_worker *w, uint32_t n_max){
  uint32_t n = 0;
  for(uint32_t i=0; i<w->n_cand && n<n_max; i++){
    if( i+PRUNE_AHEAD<w->n_cand ){
      vector_prefetch(b, w->cand[i+PRUNE_AHEAD].slot);
    }
    n += cand_keep(b, w, i, n);
  }
  return n;
}

/* ---- One too many -------------------------------------------------------- */

/* Candidates 0..n_known-1 were pruned, and n_kept of them are kept. */
struct pruned {
  uint32_t n_known, n_kept;
  uint64_t kept[BUILD_DROP_MAX/64], gone[BUILD_DROP_MAX/64];
};

static bool is_kept(const struct graph_builder *b, struct build_worker *w,
                    struct pruned *p, uint32_t i){
  for(; p->n_known<=i && p->n_kept<b->n_lanes; p->n_known++){
    if( !cand_keep(b, w, p->n_known, p->n_kept) ) continue;
    vdb_bit_set(p->kept, p->n_known);
    p->n_kept++;
  }
  return i<p->n_known && vdb_bit_get(p->kept, i);
}

/* Is a candidate that was not pruned yet hidden by one that is kept? Hardly any
** are near enough to hide it, and those are among the first as a rule. */
static bool is_hidden(const struct graph_builder *b, struct build_worker *w,
                      struct pruned *p, uint32_t i){
  struct graph_query *q = &w->walk[0].q;
  struct graph_near c = w->cand[i];
  vdb_graph_query_block(b->g, build_block(b, c.slot), q);
  for(uint32_t j=0; j<i && p->n_kept<b->n_lanes; j++){
    uint32_t slot = w->cand[j].slot;
    if( j<p->n_known && !vdb_bit_get(p->kept, j) ) continue;
    if( j+PRUNE_AHEAD<i ) vector_prefetch(b, w->cand[j+PRUNE_AHEAD].slot);
    if( rules_hides(b->alpha2, vdb_graph_d2(b->g, q, build_block(b, slot)),
                    c.d2)
     && is_kept(b, w, p, j) ) return true;
  }
  return p->n_kept==b->n_lanes;
}

uint32_t vdb_graph_drop(const struct graph_builder *b, struct build_worker *w){
  struct pruned p = { 0 };
  uint32_t n = 0, n_drop;
  n_drop = w->n_cand>b->n_lanes ? w->n_cand - b->n_lanes : 0;
  for(uint32_t i=w->n_cand; i>0 && n_drop>0; i--){
    if( i-1<p.n_known ? vdb_bit_get(p.kept, i-1)
                      : !is_hidden(b, w, &p, i-1) ) continue;
    vdb_bit_set(p.gone, i-1);
    n_drop--;
  }
  for(uint32_t i=0; i<w->n_cand && n<b->n_lanes; i++){
    if( !vdb_bit_get(p.gone, i) ) w->list[n++] = w->cand[i];
  }
  return n;
}

/* ---- Lanes --------------------------------------------------------------- */

void vdb_graph_set_lane(const struct graph_builder *b, struct build_worker *w,
                        uint32_t slot, uint32_t lane, struct graph_near e){
  vdb_graph_lane_put(b->g, build_block(b, slot), lane, e.slot,
                     build_code(b, e.slot), build_code(b, slot), e.d2, w->u,
                     w->tmp);
  build_edge_d2(b, slot)[lane] = e.d2;
}

static void code_prefetch(const struct graph_builder *b, uint32_t slot){
  const char *p = (const char*)build_code(b, slot);
  for(size_t i=0; i<b->g->len_code*sizeof(float); i+=64){
    __builtin_prefetch(p+i, 0, 2);
  }
}

/* Lanes below n that have a member of the list stay what they are (a code
** costs more than all comparisons): bits of *taken. The other members are
** fresh; returns how many. */
static uint32_t lanes_keep(const struct graph_builder *b, uint32_t slot,
                           const struct graph_near *list, uint32_t n,
                           uint32_t *fresh, uint64_t *taken){
  const unsigned char *block = build_block(b, slot);
  uint32_t n_fresh = 0, old = build_degree(b, slot);
  if( old>n ) old = n;
  *taken = 0;
  for(uint32_t i=0; i<n; i++){
    uint32_t lane = 0;
    while( lane<old && graph_nbr(b->g, block, lane)!=list[i].slot ) lane++;
    if( lane<old ){
      *taken |= (uint64_t)1<<lane;
      build_edge_d2(b, slot)[lane] = list[i].d2;
    }else{
      fresh[n_fresh++] = i;
    }
  }
  return n_fresh;
}

void vdb_graph_set_lanes(const struct graph_builder *b,
                         struct build_worker *w, uint32_t slot,
                         const struct graph_near *list, uint32_t n){
  unsigned char *block = build_block(b, slot);
  uint32_t old = build_degree(b, slot), fresh[GRAPH_LANES_MAX], n_fresh, i = 0;
  uint64_t taken;
  n_fresh = lanes_keep(b, slot, list, n, fresh, &taken);
  for(uint32_t j=0; j<n_fresh; j++) code_prefetch(b, list[fresh[j]].slot);
  for(uint32_t lane=0; lane<n; lane++){
    if( taken>>lane & 1 ) continue;
    vdb_graph_set_lane(b, w, slot, lane, list[fresh[i++]]);
  }
  for(uint32_t lane=n; lane<old; lane++){
    vdb_graph_lane_clear(b->g, block, lane);
  }
  put_u16(block+GRAPHBLOCK_DEGREE, (uint16_t)n);
}

void vdb_graph_measure(const struct graph_builder *b, struct build_worker *w,
                       uint32_t slot){
  uint32_t n = build_degree(b, slot);
  const unsigned char *block = build_block(b, slot);
  if( b->insert==NULL || vdb_bit_get(b->insert->is_measured, slot) ) return;
  for(uint32_t i=0; i<n; i++) vector_prefetch(b, graph_nbr(b->g, block, i));
  w->kept_q[0].hi = w->kept_hi;
  vdb_graph_query_block(b->g, block, &w->kept_q[0]);
  for(uint32_t i=0; i<n; i++){
    build_edge_d2(b, slot)[i] =
      vdb_graph_d2(b->g, &w->kept_q[0],
                   build_block(b, graph_nbr(b->g, block, i)));
  }
}

/* ---- Filling ------------------------------------------------------------- */

/* Is the angle at p between c and each of the n kept at least acos(cosine)? */
static bool angle_is_wide(const struct graph_builder *b,
                          const struct build_worker *w, struct graph_near c,
                          uint32_t n, float cosine){
  const unsigned char *block = build_block(b, c.slot);
  for(uint32_t i=0; i<n; i++){
    float between = vdb_graph_d2(b->g, &w->kept_q[i], block);
    if( rules_is_narrow(c.d2, w->list[i].d2, between, cosine) ) return false;
  }
  return true;
}

static bool list_has(const struct graph_near *list, uint32_t n, uint32_t slot){
  for(uint32_t i=0; i<n; i++) if( list[i].slot==slot ) return true;
  return false;
}

uint32_t vdb_graph_refill(const struct graph_builder *b,
                          struct build_worker *w, uint32_t n){
  uint32_t n_kept = n, j = 0;
  for(uint32_t i=0; i<w->n_cand && n<b->n_lanes; i++){
    /* Both are in the same order. */
    if( j<n_kept && w->list[j].slot==w->cand[i].slot ) j++;
    else w->list[n++] = w->cand[i];
  }
  vdb_graph_near_sort(w->list, n);
  return n;
}

/* Spare candidates of node i of the order, with their distances. */
static void spare_measure(const struct graph_builder *b,
                          struct build_worker *w, uint32_t i_order,
                          struct graph_near *out){
  const uint32_t *spare = b->spare + (size_t)i_order*BUILD_SPARE;
  uint32_t n = b->n_spare[i_order];
  struct graph_query *q = &w->walk[0].q;
  for(uint32_t i=0; i<n; i++) vector_prefetch(b, spare[i]);
  vdb_graph_query_block(b->g, build_block(b, b->order[i_order]), q);
  for(uint32_t i=0; i<n; i++){
    out[i].slot = spare[i];
    out[i].d2 = vdb_graph_d2(b->g, q, build_block(b, spare[i]));
  }
}

void vdb_graph_fill(const struct graph_builder *b, struct build_worker *w,
                    uint32_t i_order){
  static const float cosine[] = { RULES_COS_60, RULES_COS_50, 2.0f };
  uint32_t slot = b->order[i_order], n_spare = b->n_spare[i_order];
  struct graph_near spare[BUILD_SPARE];
  bool is_used[BUILD_SPARE];
  uint32_t n = build_degree(b, slot);
  if( n==b->n_lanes ) return;
  spare_measure(b, w, i_order, spare);
  for(uint32_t i=0; i<n; i++){
    w->list[i].slot = graph_nbr(b->g, build_block(b, slot), i);
    w->list[i].d2 = build_edge_d2(b, slot)[i];
    kept_add(b, w, i, w->list[i].slot);
  }
  for(uint32_t i=0; i<n_spare; i++){
    is_used[i] = list_has(w->list, n, spare[i].slot);
  }
  for(size_t round=0; round<VDB_ARRAY_LEN(cosine); round++){
    for(uint32_t i=0; i<n_spare && n<b->n_lanes; i++){
      if( is_used[i] ) continue;
      if( cosine[round]<1
       && !angle_is_wide(b, w, spare[i], n, cosine[round]) ) continue;
      kept_add(b, w, n, spare[i].slot);
      w->list[n++] = spare[i];
      is_used[i] = true;
    }
  }
  vdb_graph_near_sort(w->list, n);
  vdb_graph_set_lanes(b, w, slot, w->list, n);
}
