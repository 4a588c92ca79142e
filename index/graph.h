/* graph.h -- the graph index over plain arrays: build, open, search, check.
**
** Used by   store/ (graph segments, optimize), bench/.
** Threads   a struct vdb_graph and blocks are read-only and shared; a struct
**           vdb_graph_searcher belongs to one thread at a time. A build runs
**           on the calling thread and opts->n_thread-1 more.
** Errors    VECDB_ codes. On error every output is empty. Bytes of headers and
**           blocks are not trusted: a damaged one gives CORRUPT_INDEX or a
**           wrong answer, never an access outside the arrays.
**
** SPACE     The index knows one distance, the square of l2, between vectors
**           of d floats "in the index's space" (of bits, also Jaccard's). The caller maps metrics to it:
**           l2: as is; cosine: unit vectors; ip: [x, sqrt(M^2 - norm2(x))],
**           queries [q, 0]. Results carry d2 of that space; the caller
**           computes the distance that users see from the stored row.
**
** BYTES     An index is a header (one run of bytes) and n_slots blocks of
**           `stride` bytes. Blocks are handed out in groups of 2^shift, at
**           most 2 MiB each; the last group may be short. They hold no
**           addresses: a group lies anywhere at 64-byte alignment, and
**           base[slot >> shift] points to it. Layouts: GRAPHHDR, GRAPHCAL,
**           GRAPHBLOCK in pager/format.def.
**
** ROWS      A node stands for a row of the caller: `row`, a number for the
**           bitmaps live and filter, and `key`, whose order breaks ties.
**           Equal vectors share one node; the others hang on it in a chain.
**
** SAME      The bytes depend on rows, keys, seed and options alone: neither on
**           the number of threads nor on the instruction set. Results neither.
*/
#ifndef VDB_GRAPH_H
#define VDB_GRAPH_H
#include "util/common.h"

#define VDB_GRAPH_SLOTS_MAX   0x7ffffffeu   /* blocks of one index */
#define VDB_GRAPH_EF_MAX      65536u
#define VDB_GRAPH_DIMS_MAX    65536u

/* What a block holds of its own vector. */
enum vdb_graph_nav {
  VDB_NAV_AUTO = 0,       /* chosen from the rows (graph_nav.c) */
  VDB_NAV_BYTES = 1,      /* every element is an integer of one byte: exact */
  VDB_NAV_F32 = 2,        /* the floats: exact */
  VDB_NAV_SQ8 = 3,        /* a byte per rotated dimension: results must be
                          ** ranked again by the caller's vectors */
  VDB_NAV_BITS = 4        /* a bit: every element is 0 or 1, exact. Taken only if
                          ** it is asked for */
};

/* What codes of fewer dimensions are made of. */
enum vdb_graph_axes {
  VDB_AXES_PCA = 0,       /* principal axes of a sample */
  VDB_AXES_RANDOM = 1,    /* random directions */
  VDB_AXES_FIRST = 2      /* the first dimensions: for vectors that have been
                          ** trained to be cut off */
};

struct vdb_graph;

/* ---- Build --------------------------------------------------------------- */

/* Edges chosen elsewhere, on a GPU say. */
struct vdb_graph_rows {
  uint32_t n, d;
  int (*fetch)(void *arg, uint32_t i, float *vec);  /* calling thread only */
  int (*progress)(void *arg, double done);          /* rc; 0..1 */
  void *arg;
};
/* How: by the steps of gpu/edges.h, from the `list` nearest rows of each. */
struct vdb_graph_linking {
  uint32_t list, n_lanes, n_spare, n_entry;
  float alpha2;
};
struct vdb_graph_linker {
  /* edge[i*n_lanes..]: neighbours of row i, each another row, no row twice;
  ** SLOT_NONE behind the last. */
  int (*edges)(void *arg, const struct vdb_graph_rows *rows,
               const struct vdb_graph_linking *how, uint32_t *edge);
  void *arg;
};

struct vdb_graph_opts {
  uint32_t n_lanes;       /* neighbours per block: 32 (0) or 64 */
  uint32_t nav;           /* VDB_NAV_*; a wish: BYTES is taken only if exact */
  uint32_t bits;          /* of codes, 1, 2, 4; 0: chosen */
  uint32_t prefix;        /* dimensions of codes, rounded up to a multiple of
                          ** 64; 0: chosen by trial; all dimensions: >= d.
                          ** Fewer make blocks of quantised bytes where floats
                          ** would be taken */
  uint32_t axes;          /* VDB_AXES_*: what they are */
  bool is_jaccard;        /* of NAV_BITS: the square distance of the space is
                          ** Jaccard's distance, not the l2 */
  uint32_t list1, list2;  /* candidates per row in pass 1 and 2; 0: 32, 200 */
  float alpha;            /* of pruning, 1..2: a neighbour hides candidates that
                          ** are alpha times nearer to it; 0: 1 */
  uint32_t n_router;      /* entries; 0: chosen by trial */
  uint32_t n_seed;        /* of them a search starts from, 1..64; 0: chosen;
                          ** of more than 4 it takes the 4 nearest */
  uint32_t n_thread;      /* 0 and 1: the calling thread */
  uint64_t seed;
  const struct vdb_graph *like; /* share its space: bits, centre, projection,
                          ** kind of vectors (n_lanes, bits, prefix, nav are
                          ** ignored), and its table of recall. MISMATCH if
                          ** the rows do not fit. NULL: none */
  uint64_t sz_memory;     /* TOOBIG if the build would need more, 0: any; see
                          ** vdb_graph_rows_within */
  uint32_t *n_fit;        /* not NULL: with TOOBIG, how many rows would do */
  bool no_calibration;    /* leave the table of recall empty */
  const struct vdb_graph_linker *linker;  /* not NULL: chooses the edges; it
                          ** takes 4 bytes per lane and row besides */
};

struct vdb_graph_source {
  uint32_t n_rows, d;
  /* Vector i in the index's space; called on the calling thread alone, in
  ** ascending order and, for samples, out of it. Elements are finite. */
  int (*fetch)(void *arg, uint32_t i, float *vec);
  const uint32_t *row;    /* number of row i; NULL: i */
  const uint64_t *key;    /* key of row i, all different; NULL: i */
  void *arg;
};

struct vdb_graph_sink {
  /* Group i_group (0, 1, ..): n blocks; the bytes are copied before it
  ** returns. */
  int (*group)(void *arg, uint32_t i_group, const void *blocks, uint32_t n,
               uint32_t stride);
  /* The header, after the last group. */
  int (*header)(void *arg, const void *bytes, size_t sz);
  /* Now and then, share of the work done in 0..1; nonzero: INTERRUPT. NULL:
  ** never. */
  int (*progress)(void *arg, double done);
  void *arg;
  /* Insertion only: group i_group is that of the old index, unchanged. */
  int (*kept)(void *arg, uint32_t i_group);
};

/* Build an index of all rows. n_rows may be 0. NOMEM, TOOBIG, INTERRUPT,
** RANGE, and what the callbacks return. */
int vdb_graph_build(const struct vdb_graph_source *src,
                    const struct vdb_graph_opts *opts,
                    const struct vdb_graph_sink *sink);

/* So many rows an index with the layout of g may have to be built, or enlarged
** to, within sz_memory bytes (0: any); has_linker: with opts->linker. */
uint32_t vdb_graph_rows_within(const struct vdb_graph *g, uint64_t sz_memory,
                               bool has_linker);

/* An index that exists, and rows to add to it. Groups of blocks that do not
** change are `kept`, the others are given anew; what was there is not written
** to. The bytes depend on the old ones, the rows, their keys and options. */
struct vdb_graph_prior {
  const struct vdb_graph *g;
  const unsigned char *const *base;   /* all groups */
  const uint64_t *live;   /* bitmap by row of the old index; NULL: all live */
  uint32_t n_row;         /* bits in it; other rows are dead */
  bool purge;             /* rows that do not live are taken out, and what was
                          ** connected through them is connected anew; else
                          ** they stay as waypoints */
  bool renew;             /* the old nodes that lost most neighbours or got most
                          ** choose theirs anew, four for each row that comes or
                          ** goes: takes half as long again, and graphs stay
                          ** about as good as built ones */
  bool is_beside;         /* its centre is that of another graph, and would be in
                          ** a new one, too: it may be anywhere */
};

/* Add the rows of src (none is fine) to an index that is not empty. Of the
** options n_thread, list1, list2, alpha, sz_memory, n_fit, no_calibration count.
** MISMATCH:
** the rows have no place in the space of the index (not bytes; a centre that
** moved by a tenth), or none is left alive: build anew. CORRUPT_INDEX, and as
** for vdb_graph_build. */
int vdb_graph_insert(const struct vdb_graph_prior *old,
                     const struct vdb_graph_source *src,
                     const struct vdb_graph_opts *opts,
                     const struct vdb_graph_sink *sink);

/* ---- Open ---------------------------------------------------------------- */

/* Make a header usable; the bytes are copied. CORRUPT_INDEX, FORMAT, NOMEM. */
int vdb_graph_open(const void *bytes, size_t sz, struct vdb_graph **out);
void vdb_graph_close(struct vdb_graph *g);          /* NULL is fine */

struct vdb_graph_info {
  uint32_t n_slots;       /* blocks */
  uint32_t n_nodes;       /* blocks that have edges: not in a chain */
  uint32_t d, stride, n_lanes, bits, dims_code, n_router, n_seed;
  uint32_t shift;         /* log2 of blocks in a group */
  uint32_t n_group;
  uint32_t nav;           /* VDB_NAV_* */
  bool is_prefix;         /* codes of principal dimensions */
  bool needs_rerank;      /* d2 of results are approximate */
  bool has_sums;          /* blocks have checksums */
  bool is_jaccard;        /* as in vdb_graph_opts */
  float stop;             /* early stop that suits the index, see search */
};
void vdb_graph_info(const struct vdb_graph *g, struct vdb_graph_info *out);

/* What the table of recall says: the cheapest ef whose recall of k neighbours
** is at least `recall` (cautiously: on rows held out, less half the standard
** error), the early stop that goes with it, the recall to be expected. ef is 0
** if none reaches it: then only an exact scan does. */
struct vdb_graph_plan { uint32_t ef; float stop; float recall; };
struct vdb_graph_plan vdb_graph_plan_recall(const struct vdb_graph *g,
                                            uint32_t k, double recall);

/* ---- Search -------------------------------------------------------------- */

/* How to search for the rows that pass a filter (filter, else live)
** where many do not: nodes that fail are told apart before they are expanded,
** a few are, as bridges. */
struct vdb_graph_within {
  const uint32_t *row;    /* row of each node; 0xffffffff: may pass, ask */
  double share;           /* of the rows, how many pass: above 0, at most 1 */
  double n_hop_exact;     /* give up, with no hit, when more blocks than this
                          ** would be read */
};
/* Where the blocks are. Zero-initialise, then set what is needed. */
struct vdb_graph_blocks {
  const unsigned char *const *base;  /* n_group pointers; an entry may be NULL,
                          ** then `load` is called */
  uint32_t n_slots;       /* as in the index, checked */
  /* Make base[i_group] valid for this searcher; called on its thread. */
  int (*load)(void *arg, uint32_t i_group, const unsigned char **base);
  void *arg;
  const uint64_t *live;   /* bitmap by row; NULL: all live */
  const uint64_t *filter; /* bitmap by row: only these; NULL: all */
  uint32_t n_row;         /* bits in the bitmaps; other rows do not qualify */
  const struct vdb_graph_within *within;   /* NULL: walk through all */
  const float *limit;     /* by query: d2 of the k-th result so far, of other
                          ** graphs; walks that cannot beat it end early and
                          ** find fewer. NULL: none. Not for walks within */
  /* Bitmap by slot: blocks whose checksum was right. Searches check the others
  ** (has_sums) when they come to them, and set their bits; threads may share
  ** it. NULL: nothing is checked. */
  uint64_t *sound;
};

struct vdb_graph_search {
  uint32_t k;             /* results wanted */
  uint32_t ef;            /* candidates kept; at least k is used */
  float stop;             /* end when the best candidate is farther than
                          ** (1+stop)^2 times the k-th result; < 0: never */
};

struct vdb_graph_hit {
  float d2;               /* of the stored vector, which is the true one if
                          ** err is 0 */
  uint32_t slot, row;
  float err;              /* distance of stored and true vector, at most */
  uint64_t key;
};

/* What a search did, for EXPLAIN and calibration. */
struct vdb_graph_stats {
  uint32_t n_hop, n_distance;
  uint32_t n_bridge;      /* within: nodes expanded that do not pass */
  float share;            /* within: of nodes near the query, how many pass */
  bool is_far, gave_up;   /* within: hardly any do; see n_hop_exact */
};
/* Blocks that a search within is expected to read. */
double vdb_graph_filter_hops(uint32_t ef, double share);

struct vdb_graph_searcher;
int vdb_graph_searcher_create(const struct vdb_graph *g,
                              struct vdb_graph_searcher **out);
void vdb_graph_searcher_destroy(struct vdb_graph_searcher *s);

/* The k nearest live rows that pass the filter, ordered by (d2, key). *n_hit
** is at most k; fewer are found if fewer exist or `ef` was too small (the
** caller tries a larger one). `hit` has room for k. stats may be NULL.
** If the index needs_rerank, ask for more than the user wants, at least
** k + max(8, k/2), and rank them by the true vectors: a hit can be nearer than
** sqrt(d2) says by err, so the list was long enough if the last one's
** sqrt(d2)-err is beyond the true k-th. */
int vdb_graph_knn(struct vdb_graph_searcher *s,
                  const struct vdb_graph_blocks *b, const float *query,
                  const struct vdb_graph_search *p,
                  struct vdb_graph_hit *hit, uint32_t *n_hit,
                  struct vdb_graph_stats *stats);

/* The same for n queries at query, query+d, ..., several of which are under way
** at once to hide the latency of memory; results are those of vdb_graph_knn.
** hit[i*k..] and n_hit[i] belong to query i. */
int vdb_graph_knn_many(struct vdb_graph_searcher *s,
                       const struct vdb_graph_blocks *b, const float *query,
                       size_t n, const struct vdb_graph_search *p,
                       struct vdb_graph_hit *hit, uint32_t *n_hit);

/* All rows within a distance, nearly (graph_range.c). */
struct vdb_graph_range {
  float d2;               /* the square distance; at least 0 */
  uint32_t ef;            /* of the walk to the query, .. */
  float stop;             /* .. as in vdb_graph_search */
  float sigmas;           /* standard errors by which an estimate may be beyond
                          ** d2 for a row to be looked at: 0..; 2 finds 99 % */
  double n_hop_most;      /* give up when more blocks than this are read, */
  size_t sz_most;         /* or more bytes needed */
};
/* Zero-initialise; `hit` is the caller's to vdb_free(), also after an error. */
struct vdb_graph_found {
  struct vdb_graph_hit *hit;  /* in no order; of vectors that are not exact some
                          ** are a little farther than d2 */
  size_t n, n_cap;
  bool gave_up;           /* not all were looked for */
};
/* b->within is not used. MISUSE, RANGE, and as for vdb_graph_knn. */
int vdb_graph_within_distance(struct vdb_graph_searcher *s,
                              const struct vdb_graph_blocks *b,
                              const float *query,
                              const struct vdb_graph_range *p,
                              struct vdb_graph_found *out,
                              struct vdb_graph_stats *stats);

/* ---- Codes of rows (graph_codes.c) ---------------------------------------- */

/* Codes lie where the row's number says: that of row first+i is entry
** i & (1<<shift)-1 of the 1<<shift codes (at the end: what is left) at
** base[i>>shift]. Each takes `stride` bytes, in two places. */
struct vdb_graph_codes {
  const unsigned char *const *base;
  uint32_t shift;
  uint32_t first, n;      /* rows first..first+n-1 */
};
/* Bytes of a code; 0: vectors of bits have none. */
uint32_t vdb_graph_code_stride(const struct vdb_graph *g);
/* n codes, of rows that are in no block: at out, n*stride bytes. */
void vdb_graph_codes_init(const struct vdb_graph *g, uint32_t n, uint8_t *out);
/* The two places of entry i of n codes. */
uint8_t *vdb_graph_code_at(const struct vdb_graph *g, const uint8_t *codes,
                           uint32_t n, uint32_t i, uint8_t **fit);
/* Makes codes; one thread's. */
struct vdb_graph_coder;
int  vdb_graph_coder_create(const struct vdb_graph *g,
                            struct vdb_graph_coder **out);
void vdb_graph_coder_destroy(struct vdb_graph_coder *k);  /* NULL is fine */
void vdb_graph_code_block(struct vdb_graph_coder *k,
                          const unsigned char *block, uint8_t *out,
                          uint8_t *fit);

/* A row that may be among the nearest. */
struct vdb_graph_candidate {
  float d2;               /* estimated; -inf: there is no code */
  float low;              /* hardly less than this */
  uint32_t row;
};
/* All rows of the filter (a bitmap by row) that may be among the k nearest, by
** their codes, whose checksums the caller knows to be right, allowing for
** estimates that are wrong by `sigmas` standard errors: the k with the least
** estimates and some more first, then the others in any order. *out belongs to
** the searcher until its next search. RANGE, NOMEM. */
int vdb_graph_rank(struct vdb_graph_searcher *s,
                   const struct vdb_graph_codes *c, const float *query,
                   const uint64_t *filter, uint32_t k, float sigmas,
                   const struct vdb_graph_candidate **out, size_t *n);

/* Measure recall anew, on rows that live (b->live), and give a header that
** differs from the old one in the table alone; free it with vdb_free(). Every
** group must be in memory: b->load is not used. NOMEM, MISUSE. */
int vdb_graph_recalibrate(const struct vdb_graph *g,
                          const struct vdb_graph_blocks *b, unsigned n_thread,
                          unsigned char **header, size_t *sz);

/* ---- Check --------------------------------------------------------------- */

/* The vector of a block as the caller gave it, if nav is exact: d floats. */
int vdb_graph_vector(const struct vdb_graph *g, const unsigned char *block,
                     float *vec);

/* Row and key of a block; CORRUPT_INDEX if it is not the block of `slot`,
** NOTFOUND if it is empty. */
int vdb_graph_block_row(const struct vdb_graph *g, const unsigned char *block,
                        uint32_t slot, uint32_t *row, uint64_t *key);

struct vdb_graph_report {
  uint32_t n_bad_block;   /* malformed blocks */
  uint32_t n_bad_edge;    /* edges out of range or to chain members */
  uint32_t n_unreached;   /* nodes that no search can reach */
  uint32_t n_bad_chain;   /* chains that loop or share members */
  uint32_t n_bad_entry;   /* of the router: not coded as their nodes are */
  uint64_t n_edge;
  uint32_t degree_in_max;
  uint32_t slot_first;    /* of the first fault, or SLOT_NONE */
};
/* Look at every block. CORRUPT_INDEX if anything is wrong. */
int vdb_graph_check(const struct vdb_graph *g,
                    const struct vdb_graph_blocks *b,
                    struct vdb_graph_report *out);
#endif
