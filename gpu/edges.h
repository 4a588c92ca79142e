/* edges.h -- which rows become neighbours in a graph: the rules, once for the
** CPU's builds and for devices.
**
** Used by   index/graph_prune.c, gpu/ref_graph.c, gpu/cuda_*.cu. C11 and nvcc.
**           What changes a result raises VDB_GPU_RULES (plugin.h).
**
** PRUNE   Candidates of p by (d2, row); c is kept unless a kept row k hides it:
**         alpha^2 d2(k,c) <= d2(p,c).
** FILL    Free lanes take candidates, nearest first, whose angle at p to every
**         row of the list is 60 degrees at least; then 50; then any.
**
** A DEVICE makes the edges of all rows in steps, each from the lists that the
** one before it left, so that no order of threads matters. d2 is the canonical
** square (simd/simd.h); R lanes; near(p) is the list of p's nearest rows.
**
**   CHOOSE   prune near(p) to at most R.
**   BACK     t's list and the rows that chose t, of these the nearest
**            RULES_IN_MAX*R: all, if R lanes take them, else pruned to R.
**   MUTUAL   free lanes take the nearest rows that have t in their list.
**   FILL     from the first n_spare of near(p).
**   ATTACH   Rows that cannot be reached from rows 0..n_entry-1 along edges
**            ask the first row of their near() that is reached. It gives those
**            who ask, nearest first, a free lane, else that of its farthest
**            neighbour that was not attached, of at most R/2. Repeated
**            RULES_ATTACH_ROUNDS times; what is unreached then is left to the
**            CPU (index/graph_fix.c), which examines all of it anyway.
*/
#ifndef VDB_EDGES_H
#define VDB_EDGES_H
#include "gpu/rules.h"

#define RULES_IN_MAX  8u
#define RULES_ATTACH_ROUNDS  4
#define RULES_COS_60  0.5f
#define RULES_COS_50  0.6427876f
#define RULES_LANES_MAX  64u
#define RULES_LIST_MAX   128u      /* entries of near(p) */

/* Does a kept row hide a candidate? Squares: between the two, and of the
** candidate and p. */
RULES_FN bool rules_hides(float alpha2, float between, float d2){
  return !(alpha2*between>d2);
}

/* Is the angle at p between c and k, at squares c2 and k2 from p and `between`
** from each other, narrower than that of the cosine? */
RULES_FN bool rules_is_narrow(float c2, float k2, float between,
                              float cosine){
  return c2 + k2 - between>2*cosine*sqrtf(c2*k2);
}

/* (d2, row) as one number; d2 is not negative and a number. */
RULES_FN uint64_t rules_key(float d2, uint32_t row){
  return (uint64_t)rules_order(d2)<<32 | row;
}
RULES_FN uint32_t rules_key_row(uint64_t key){ return (uint32_t)key; }
RULES_FN float rules_key_d2(uint64_t key){
  return rules_unorder((uint32_t)(key>>32));
}
#endif
