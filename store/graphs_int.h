/* graphs_int.h -- what searches by graphs share; private to store/graphs_*.c.
**
** A gsearch collects candidates of one query at a time: begin, for each query
** query_set, offers, top_take; end.
*/
#ifndef VDB_GRAPHS_INT_H
#define VDB_GRAPHS_INT_H
#include "store/graphs.h"

#include "simd/simd.h"

struct gsearch {
  struct session *ss;
  struct coll *c;
  int v;
  const struct coll_runs *r;
  const struct search_request *q;
  const struct graph_plan *plan;
  size_t k;                            /* results wanted; SIZE_MAX: all */
  struct vdb_query query;              /* of the stored type */
  struct vdb_topk top;
  struct vdb_str buf;                  /* a copied row */
};

int  vdb_gsearch_begin(struct gsearch *g, struct session *ss, struct coll *c,
                       const struct coll_runs *r,
                       const struct search_request *q,
                       const struct graph_plan *plan);
void vdb_gsearch_end(struct gsearch *g);
int  vdb_gsearch_query(struct gsearch *g, const void *query);

/* How many hits a graph is asked for, and the blocks to look at. */
uint32_t vdb_gsearch_k(const struct gsearch *g, const struct graph_seg *s);
size_t vdb_gsearch_k_max(const struct gsearch *g);    /* of any graph */
void vdb_gsearch_blocks(const struct gsearch *g, const struct graph_seg *s,
                        struct vdb_graph_blocks *b);
/* Then: walk within the filter, if that is the plan; b refers to *in. */
int  vdb_gsearch_within(struct gsearch *g, struct graph_seg *s,
                        struct vdb_graph_within *in,
                        struct vdb_graph_blocks *b);
/* The k-th of a graph's n hits limits what graphs after it need to find;
** limits begin with +inf. Graphs measure alike, but for ip, where M may differ:
** does it count for the next one? */
void vdb_gsearch_limit(const struct gsearch *g, const struct graph_seg *s,
                       const struct vdb_graph_hit *hit, uint32_t n,
                       float *limit);
bool vdb_gsearch_has_limit(const struct gsearch *g, const struct graph_seg *s);
/* Of n hits, those at a distance that is a number: they come first. */
uint32_t vdb_gsearch_finite(const struct vdb_graph_hit *hit, uint32_t n);
/* Did a graph find fewer than are needed although more of its rows qualify? */
bool vdb_gsearch_is_short(const struct gsearch *g, const struct graph_seg *s,
                          uint32_t n);

/* Loads groups of a graph's blocks as a walk comes to them: of b, from then on;
** the searcher is there. */
struct graph_loader { struct gsearch *g; struct graph_seg *s; };
int  vdb_gsearch_begin_walk(struct gsearch *g, struct graph_seg *s,
                            struct graph_loader *l,
                            struct vdb_graph_blocks *b);

/* Candidates: of a graph, of its side list, results so far. What is outside of
** the request's window is left out. */
int  vdb_gsearch_offer(struct gsearch *g, const struct graph_seg *s,
                       const struct vdb_graph_hit *hit, uint32_t n);
/* The same for hits in any order, all of which are looked at. */
int  vdb_gsearch_offer_all(struct gsearch *g, const struct graph_seg *s,
                           const struct vdb_graph_hit *hit, size_t n);
int  vdb_gsearch_offer_side(struct gsearch *g, const struct graph_seg *s);
int  vdb_gsearch_offer_hits(struct gsearch *g, const struct vdb_hit *hit,
                            size_t n);
/* A row, by its stored vector. */
int  vdb_gsearch_offer_slot(struct gsearch *g, slot_no slot);
/* All rows of a graph that pass, its side list included, by their codes
** (graphs_codes.c); vec: the query in the graph's space. *is_short: that cannot
** be done. */
int  vdb_gsearch_rank(struct gsearch *g, struct graph_seg *s,
                      const float *vec, bool *is_short);
/* The k first of what was offered. */
void vdb_gsearch_take(struct gsearch *g, struct vdb_hit *hit, size_t *n_hit);
/* All of it, in order; *hit is the caller's to free. */
void vdb_gsearch_take_all(struct gsearch *g, struct vdb_hit **hit,
                          size_t *n_hit);
#endif
