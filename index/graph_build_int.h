/* graph_build_int.h -- what the files of the build share.
**
** During a build slots are in *build order*: nodes 0..n_nodes-1 by seeded hash
** of their keys, then the members of chains. So a prefix of the slots is a
** random sample, batches are ranges, and the first entries serve as routers.
** The final order is made when blocks are written (graph_write.c).
**
** During an insertion slots are those of the index that is there, new nodes
** have whatever slots are free, and `order` lists them by seeded hash. Groups
** of blocks are the old index's until something in them is to change
** (vdb_graph_own): what was read is never written to.
*/
#ifndef VDB_GRAPH_BUILD_INT_H
#define VDB_GRAPH_BUILD_INT_H
#include "gpu/edges.h"
#include "index/graph_int.h"
#include "util/bitset.h"

#define BUILD_SPARE    48       /* candidates kept per node for filling lanes */
#define BUILD_POOL     64       /* of the pool, beside expanded nodes */
#define BUILD_BATCHES  50       /* batches are at most this part of the rows */
#define BUILD_IN_MAX   RULES_IN_MAX  /* times n_lanes: new in-edges considered */
#define BUILD_DROP_MAX ((BUILD_IN_MAX+1)*GRAPH_LANES_MAX)

/* Room for blocks in pieces of 2^shift groups (graph_memory.c). */
struct build_pieces {
  unsigned char **at;
  uint32_t n, shift;
  uint64_t n_block;             /* in all */
};

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
  float alpha2;                 /* square of alpha */
  uint32_t *origin;             /* by slot: number of the row in the source */
  uint32_t *order;              /* nodes to insert: their slots */
  uint32_t n_order;
  struct build_pieces piece;    /* room for all blocks */
  const unsigned char **base;   /* by group: in a piece, or of the old index */
  struct vdb_graph_blocks blocks;
  float *code;                  /* n_nodes*len_code: vectors in code space */
  float *edge_d2;               /* n_nodes*n_lanes: lengths of edges */
  uint32_t *spare;              /* n_order*BUILD_SPARE, by distance */
  uint8_t *n_spare;             /* n_order */
  uint8_t *n_own;               /* n_order: lanes when pass 2 ended */
  uint64_t *fixed;              /* n_nodes: lanes that repair must keep */
  struct build_worker *worker;  /* n_thread */
  struct graph_insert *insert;  /* NULL in a build */
  /* The batch at hand. */
  uint32_t lo, hi;              /* of `order` */
  bool is_second;               /* pass 2 */
  bool is_mutual;               /* after it: edges back, where lanes are free */
  bool is_renewal;              /* the nodes of `order` are in the graph already */
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

/* What only an insertion has (graph_insert.c). */
struct graph_insert {
  const struct vdb_graph_prior *old;
  uint32_t n_old;               /* slots of the old index */
  uint32_t n_group_old;
  uint64_t *is_node;            /* bitmaps by slot: in the graph; .. */
  uint64_t *is_new;             /* .. new in it; .. */
  uint64_t *is_measured;        /* .. edge_d2 is that of its lanes */
  uint32_t *free;               /* slots of empty blocks, ascending */
  uint32_t n_free, i_free;
  uint32_t n_order_max;         /* that there is room for */
  uint8_t *worn;                /* by slot, or NULL: neighbours lost and nodes
                                ** that came near, at most 255 */
};

/* Blocks of a group that is the old index's are for reading only. */
static inline unsigned char *build_block(const struct graph_builder *b,
                                         uint32_t slot){
  return (unsigned char*)(uintptr_t)b->base[slot >> b->g->shift]
       + (size_t)(slot & ((1u<<b->g->shift)-1))*b->g->stride;
}
static inline unsigned char *build_group(const struct graph_builder *b,
                                         uint32_t i_group){
  const struct build_pieces *p = &b->piece;
  uint32_t i = i_group & ((1u<<p->shift)-1);
  return p->at[i_group >> p->shift] + ((size_t)i<<b->g->shift)*b->g->stride;
}
static inline float *build_code(const struct graph_builder *b, uint32_t slot){
  return b->code + (size_t)slot*b->g->len_code;
}
static inline float *build_edge_d2(const struct graph_builder *b,
                                   uint32_t slot){
  return b->edge_d2 + (size_t)slot*b->n_lanes;
}
static inline uint32_t build_degree(const struct graph_builder *b,
                                    uint32_t slot){
  return get_u16(build_block(b, slot) + GRAPHBLOCK_DEGREE);
}

/* graph_prune.c. Candidates are sorted, without repeats and without `slot`. */
/* RobustPrune: keep at most n_max of w->cand in w->list, ascending; returns
** how many. */
uint32_t vdb_graph_prune(const struct graph_builder *b,
                         struct build_worker *w, uint32_t n_max);
/* What vdb_graph_prune and vdb_graph_refill make of the candidates, by less
** where they are hardly more than the lanes: the farthest ones that prune does
** not keep are dropped, which is found out for them alone. */
uint32_t vdb_graph_drop(const struct graph_builder *b, struct build_worker *w);
/* Lanes of node `i` of the order that are free take spare candidates. */
void vdb_graph_fill(const struct graph_builder *b, struct build_worker *w,
                    uint32_t i);
/* After prune: free places of w->list take the nearest of w->cand that are not
** in it; the list is sorted. Returns its length. */
uint32_t vdb_graph_refill(const struct graph_builder *b,
                          struct build_worker *w, uint32_t n);
/* edge_d2 of a node is that of its lanes. */
void vdb_graph_measure(const struct graph_builder *b, struct build_worker *w,
                       uint32_t slot);
/* The lanes of `slot` become list[0..n-1], encoded. */
void vdb_graph_set_lanes(const struct graph_builder *b,
                         struct build_worker *w, uint32_t slot,
                         const struct graph_near *list, uint32_t n);
/* Lane `lane` becomes an edge to e.slot. */
void vdb_graph_set_lane(const struct graph_builder *b, struct build_worker *w,
                        uint32_t slot, uint32_t lane, struct graph_near e);
/* Search the graph for the vectors of n <= WALKS slots; w->walk have results
** and traces. */
int vdb_graph_find(const struct graph_builder *b, struct build_worker *w,
                   const uint32_t *slot, unsigned n, uint32_t ef);
/* The nodes of `order` enter the graph: passes, edges back, filling. */
int vdb_graph_enter(struct graph_builder *b);
/* Candidates: sorted, without repeats. */
void vdb_graph_cand_sort(struct build_worker *w);
/* The current lanes of `slot` are candidates, too. */
void vdb_graph_cand_lanes(const struct graph_builder *b,
                          struct build_worker *w, uint32_t slot);
int vdb_graph_build_alloc(struct graph_builder *b);
/* What only the choice of edges needs goes; all but the blocks goes. */
void vdb_graph_build_trim(struct graph_builder *b);
void vdb_graph_build_strip(struct graph_builder *b);
void vdb_graph_build_clear(struct graph_builder *b);
int vdb_graph_build_options(struct graph_builder *b);

/* graph_build.c: the cost of searches in a graph over a sample of the rows,
** with codes of `prefix` dimensions (all: d or more). */
int vdb_graph_probe(struct graph_builder *b, uint32_t prefix, double *cost);
/* What it takes at most, for vectors of d dimensions. */
uint64_t vdb_graph_probe_bytes(uint64_t d);
/* graph_nav.c: nav and lo of b->g. x: scratch of a vector. */
int vdb_graph_choose_nav(struct graph_builder *b, float *x);
/* Were codes of fewer dimensions asked for, and are there fewer? */
bool vdb_graph_prefix_is_short(const struct graph_builder *b);
/* graph_space.c: rows in; navigation, centre, codes, router decided. */
int vdb_graph_load_rows(struct graph_builder *b);
/* The mean of a sample of the rows becomes the centre of g. */
int vdb_graph_centre(const struct graph_builder *b, struct vdb_graph *g,
                     float *x);
/* Of codes, before a trial; g has their dimensions. */
uint32_t vdb_graph_bits_begin(const struct graph_builder *b,
                              const struct vdb_graph *g);
/* graph_memory.c: TOOBIG, and opts->n_fit, if n rows need more memory than they
** may have; what there is left, once all edges are there; no more threads than
** there is room for. */
int vdb_graph_memory_check(const struct graph_builder *b, uint64_t n);
uint64_t vdb_graph_memory_left(const struct graph_builder *b);
void vdb_graph_memory_threads(struct graph_builder *b);
/* Pieces for n_block blocks of g, allocated one at a time or all. */
int vdb_graph_pieces_open(const struct graph_builder *b,
                          const struct vdb_graph *g, uint64_t n_block,
                          struct build_pieces *p);
int vdb_graph_piece_alloc(const struct vdb_graph *g, struct build_pieces *p,
                          uint32_t i);
int vdb_graph_pieces_alloc(const struct vdb_graph *g, struct build_pieces *p);
void vdb_graph_piece_free(struct build_pieces *p, uint32_t i);
void vdb_graph_pieces_close(struct build_pieces *p);
int vdb_graph_fill_router(struct graph_builder *b);
/* Can the vector be stored in blocks of this index? */
bool vdb_graph_vector_fits(const struct vdb_graph *g, const float *x);
/* Row numbers of the source by seeded hash of the key, to b->origin. */
int vdb_graph_rows_order(struct graph_builder *b, uint32_t n);
/* Entry i of the router: node `slot`, coded relative to the centre. */
int vdb_graph_router_set(struct graph_builder *b, uint32_t i, uint32_t slot);
/* Of the vector that a block holds. */
uint64_t vdb_graph_block_hash(const struct vdb_graph *g,
                              const unsigned char *block);
bool vdb_graph_block_equal(const struct vdb_graph *g, const unsigned char *a,
                           const unsigned char *b);
/* graph_link.c: the linker's edges become those of all nodes. */
int vdb_graph_link(struct graph_builder *b);
/* graph_fix.c: every node can be reached from the router. */
int vdb_graph_repair(struct graph_builder *b);
/* graph_calib.c: begin computes the truth of rows held out; end(NULL) is
** fine. */
struct calib;
int vdb_graph_calib_begin(struct graph_builder *b, struct calib **out);
void vdb_graph_calib_end(struct calib *c);
int vdb_graph_choose_router(struct graph_builder *b, struct calib *c);
/* The cost of searches for some of the rows in g, whose blocks `b` may be made
** as they are asked for, on this thread. +inf if there are too few rows. */
int vdb_graph_calib_cost(const struct calib *c, struct vdb_graph *g,
                         const struct vdb_graph_blocks *b, double *cost);
/* The graph that c belongs to has codes of other bits now. */
void vdb_graph_calib_recoded(struct calib *c);
/* graph_bits.c: will bits be chosen by a trial, once the graph is there? */
bool vdb_graph_bits_tried(const struct graph_builder *b);
int vdb_graph_choose_bits(struct graph_builder *b, struct calib *c);
int vdb_graph_calibrate(struct graph_builder *b, struct calib *c);
/* graph_write.c: final order, blocks and header to the sink. */
int vdb_graph_write(struct graph_builder *b);

/* ---- Insertion ----------------------------------------------------------- */

/* A node lost n neighbours, or n came near. */
static inline void build_wear(const struct graph_builder *b, uint32_t slot,
                              uint32_t n){
  uint8_t *worn = b->insert ? b->insert->worn : NULL;
  if( worn==NULL ) return;
  worn[slot] = (uint8_t)(n<255u-worn[slot] ? worn[slot]+n : 255);
}

static inline bool build_is_node(const struct graph_builder *b, uint32_t slot){
  return b->insert==NULL || vdb_bit_get(b->insert->is_node, slot);
}
/* graph_insert.c: the group of `slot` becomes ours to write to. Not during a
** parallel step. */
void vdb_graph_own(struct graph_builder *b, uint32_t slot);
/* graph_join.c: rows of equal vectors. A row of the index, and its key. */
struct graph_row { uint64_t key; uint32_t row; };
/* The chain of node `head` becomes that of n >= 1 rows, sorted here: the first
** is the node's. `spare`: slots for more rows than the chain has blocks; what
** remains of the chain is empty. CORRUPT_INDEX if the chain is none. */
int vdb_graph_chain_set(struct graph_builder *b, uint32_t head,
                        struct graph_row *row, uint32_t n,
                        const uint32_t *spare);
/* The rows of a node. The caller frees *row, also after an error. */
int vdb_graph_chain_rows(const struct graph_builder *b, uint32_t head,
                         struct graph_row **row, uint32_t *n);
/* New blocks with equal vectors, also in the old index, share nodes: b->order
** loses those that do not become nodes. */
int vdb_graph_join(struct graph_builder *b);
/* graph_purge.c: dead rows leave the graph; their blocks are empty. */
int vdb_graph_purge(struct graph_builder *b);
bool vdb_graph_row_lives(const struct graph_builder *b, uint32_t row);
void vdb_graph_block_empty(struct graph_builder *b, uint32_t slot);
/* graph_entry.c: entries of the router that are gone are replaced, new nodes
** get their share. */
int vdb_graph_router_renew(struct graph_builder *b);
/* One more entry. */
int vdb_graph_router_add(struct graph_builder *b, uint32_t slot);
/* graph_cover.c: every cluster of nodes is found from the router. In an
** insertion the nodes of `also`, a bitmap by slot, are looked at. */
int vdb_graph_cover(struct graph_builder *b, const uint64_t *also);

/* Report progress; INTERRUPT if the caller wants so. */
int vdb_graph_progress(struct graph_builder *b, double add);
#endif
