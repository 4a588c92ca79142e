/* graph_build_int.h -- what the files of the build share.
**
** During a build slots are in *build order*: nodes 0..n_nodes-1 by seeded hash
** of their keys, then the members of chains. So a prefix of the slots is a
** random sample, batches are ranges, and the first entries serve as routers.
** The final order is made when blocks are written (graph_write.c).
*/
#ifndef VDB_GRAPH_BUILD_INT_H
#define VDB_GRAPH_BUILD_INT_H
#include "index/graph_int.h"

#define BUILD_SPARE    48       /* candidates kept per node for filling lanes */
#define BUILD_POOL     64       /* of the pool, beside expanded nodes */
#define BUILD_BATCHES  50       /* batches are at most this part of the rows */
#define BUILD_IN_MAX   8        /* times n_lanes: new in-edges considered */

/* A new in-edge of `target`. */
struct build_edge { uint32_t target; float d2; uint32_t source; };

/* Scratch of one worker. */
struct build_worker {
  struct graph_walk walk[WALKS];
  struct graph_near *cand;      /* candidates of one node */
  uint32_t n_cand, n_cand_max;
  int8_t *kept_hi;              /* n_lanes query sides of kept candidates */
  struct graph_query kept_q[GRAPH_LANES_MAX];
  struct graph_near *list;      /* n_lanes+1 */
  uint8_t *u;                   /* dims_code */
  float *tmp;                   /* 2*dims_code, or dims_nav if more */
};

struct graph_builder {
  const struct vdb_graph_source *src;
  const struct vdb_graph_opts *opts;
  const struct vdb_graph_sink *sink;
  struct vdb_graph *g;
  uint32_t n, n_nodes, n_lanes;
  unsigned n_thread;
  uint32_t list1, list2;
  uint32_t *origin;             /* by slot: number of the row in the source */
  unsigned char *block;         /* n blocks */
  const unsigned char **base;
  struct vdb_graph_blocks blocks;
  float *code;                  /* n_nodes*dims_code: vectors in code space */
  float *edge_d2;               /* n_nodes*n_lanes: lengths of edges */
  struct graph_near *spare;     /* n_nodes*BUILD_SPARE */
  uint8_t *n_spare;             /* n_nodes */
  uint8_t *n_own;               /* n_nodes: lanes when pass 2 ended */
  uint64_t *fixed;              /* n_nodes: lanes that repair must keep */
  struct build_worker *worker;  /* n_thread */
  uint32_t *near, n_near;       /* graph_lists.c: n_near by node, or NULL */
  /* The batch at hand. */
  uint32_t lo, hi;              /* slots */
  bool is_second;               /* pass 2 */
  bool is_mutual;               /* after it: edges back, where lanes are free */
  struct graph_near *batch;     /* (hi-lo)*n_lanes new lists */
  uint16_t *n_batch;            /* their lengths */
  struct build_edge *edge, *edge_tmp;
  uint32_t n_edge;
  uint32_t *run;                /* first edge of each target, and the end */
  uint32_t n_run;
  double done, todo;            /* for progress */
  bool is_probe;                /* a trial: ends when the router is chosen */
  double cost;                  /* of searches, by the model of graph_calib.c;
                                ** +inf if it could not be measured */
};

static inline unsigned char *build_block(const struct graph_builder *b,
                                         uint32_t slot){
  return b->block + (size_t)slot*b->g->stride;
}
static inline float *build_code(const struct graph_builder *b, uint32_t slot){
  return b->code + (size_t)slot*b->g->dims_code;
}
static inline float *build_edge_d2(const struct graph_builder *b,
                                   uint32_t slot){
  return b->edge_d2 + (size_t)slot*b->n_lanes;
}
static inline uint32_t build_degree(const struct graph_builder *b,
                                    uint32_t slot){
  return get_u16(build_block(b, slot) + GRAPHBLOCK_DEGREE);
}

/* Ascending by (d2, slot). */
void vdb_graph_near_sort(struct graph_near *a, uint32_t n);

/* graph_prune.c. Candidates are sorted, without repeats and without `slot`. */
/* RobustPrune: keep at most n_max of w->cand in w->list, ascending; returns
** how many. */
uint32_t vdb_graph_prune(const struct graph_builder *b,
                         struct build_worker *w, uint32_t n_max);
/* Lanes of `slot` that are free take spare candidates. */
void vdb_graph_fill(const struct graph_builder *b, struct build_worker *w,
                    uint32_t slot);
/* The lanes of `slot` become list[0..n-1], encoded. */
void vdb_graph_set_lanes(const struct graph_builder *b,
                         struct build_worker *w, uint32_t slot,
                         const struct graph_near *list, uint32_t n);
/* Lane `lane` becomes an edge to e.slot. */
void vdb_graph_set_lane(const struct graph_builder *b, struct build_worker *w,
                        uint32_t slot, uint32_t lane, struct graph_near e);
/* Search the graph for the vectors of n <= WALKS slots from `slot` on; w->walk
** have results and traces. */
int vdb_graph_find(const struct graph_builder *b, struct build_worker *w,
                   uint32_t slot, unsigned n, uint32_t ef);

/* graph_build.c: the cost of searches in a graph over a sample of the rows,
** with codes of `prefix` dimensions (all: d or more). */
int vdb_graph_probe(struct graph_builder *b, uint32_t prefix, double *cost);
/* graph_space.c: rows in; navigation, centre, codes, router decided. */
int vdb_graph_load_rows(struct graph_builder *b);
int vdb_graph_fill_router(struct graph_builder *b);
/* More entries: the nodes whose bit is clear, as far as there is room. */
int vdb_graph_router_cover(struct graph_builder *b, const uint64_t *reached);
/* graph_lists.c: near[], if the options have a lister; then the candidates of a
** node. */
int vdb_graph_lists_load(struct graph_builder *b);
void vdb_graph_cand_listed(const struct graph_builder *b,
                           struct build_worker *w, uint32_t slot);
/* graph_fix.c: every node can be reached from the router. */
int vdb_graph_repair(struct graph_builder *b);
/* graph_calib.c: begin computes the truth of rows held out; end(NULL) is
** fine. */
struct calib;
int vdb_graph_calib_begin(struct graph_builder *b, struct calib **out);
void vdb_graph_calib_end(struct calib *c);
int vdb_graph_choose_router(struct graph_builder *b, struct calib *c);
int vdb_graph_calibrate(struct graph_builder *b, struct calib *c);
/* graph_write.c: final order, blocks and header to the sink. */
int vdb_graph_write(struct graph_builder *b);

/* Report progress; INTERRUPT if the caller wants so. */
int vdb_graph_progress(struct graph_builder *b, double add);
#endif
