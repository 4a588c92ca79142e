/* graph_int.h -- what the files of the graph index share: an opened header,
** blocks, queries, and the state of a search.
**
** A query or a row is known in two forms: in the *navigation* space (bytes or
** floats of the block, exact or nearly so), and in the *code* space (centred,
** rotated or projected; `dims_code` floats), from which codes are made.
*/
#ifndef VDB_GRAPH_INT_H
#define VDB_GRAPH_INT_H
#include "index/graph.h"
#include "pager/format.h"
#include "simd/code.h"
#include "util/bitset.h"
#include "util/bytes.h"

#define GRAPH_DUP        1u     /* GRAPHBLOCK.FLAGS */
#define GRAPH_EMPTY      2u
#define GRAPH_PROJECTED  1u     /* GRAPHHDR.FLAGS */
#define GRAPH_MIXED      2u
#define GRAPH_SUMMED     4u
#define GRAPH_JACCARD    8u
#define GRAPH_GROUP_MAX  (1u<<20)   /* bytes of a group, one block at least */
#define GRAPH_LANES_MAX  64
#define GRAPH_SEEDS_NEAR 4      /* of more seeds than this the nearest by true */
#define GRAPH_SEEDS_FAR  16     /* distances are taken: so many for clusters */

/* Entry points of searches, with codes relative to the centre. */
struct graph_router {
  uint32_t n, n_pad;            /* entries; the same, a multiple of 32 */
  uint32_t n_seed;
  uint32_t *slot;               /* SLOT_NONE in the padding */
  float *f_add, *f_resc;        /* +inf, 0 in the padding */
  uint8_t *code;                /* n_pad/32 groups */
};

struct graph_cal {
  uint32_t ef;
  float stop, recall10, low10;
  float recall_n, low_n;        /* of n neighbours */
  float hops;
  uint32_t n;
};
#define GRAPH_CAL_MAX 64

struct vdb_graph {
  const struct vdb_code_simd *simd;
  uint32_t n_slots, n_nodes;
  uint32_t d;                   /* dimensions of the caller */
  uint32_t dims_nav;            /* elements in a block, padded with zeros */
  uint32_t dims_code;
  uint32_t rot_dims;            /* 0: no rotation (projected bytes) */
  uint32_t nav, bits, n_lanes, shift, stride;
  uint32_t sz_nav;              /* bytes of the vector in a block */
  bool is_prefix;
  bool is_mixed;                /* nodes, members of chains and empty blocks
                                ** are anywhere; n_nodes is n_slots */
  bool is_summed;               /* blocks have checksums */
  bool is_jaccard;              /* NAV_BITS */
  uint32_t code_kind;           /* VDB_CODE_* */
  uint32_t len_code;            /* floats that a vector of the code space takes
                                ** in memory: dims_code, or room for bits */
  int32_t lo;                   /* NAV_BYTES: element = byte + lo */
  uint32_t reuse;               /* see GRAPHHDR.REUSE */
  uint32_t n_changed;           /* rows that came or went since `cal` */
  float stop;
  uint64_t seed;
  /* One allocation: */
  float *mu;                    /* d, padded to dims_nav */
  float *sign;                  /* 4*rot_dims */
  uint8_t *sign_bits;           /* rot_dims/2 */
  int8_t *proj;                 /* dims_code rows of dims_nav */
  float *proj_scale, *proj_bias;/* dims_code */
  int32_t *proj_sum;            /* sums of the rows of proj */
  struct graph_router router;
  struct graph_cal cal[GRAPH_CAL_MAX];
  uint32_t n_cal;
};

static inline uint32_t graph_round_up(uint32_t n, uint32_t m){
  return (n+m-1)/m*m;
}

/* Sizes and offsets from nav, bits, d, n_lanes, dims_code; RANGE. */
int vdb_graph_layout(struct vdb_graph *g);
/* Allocate the tables; what is in them is up to the caller. */
int vdb_graph_alloc(struct vdb_graph *g, uint32_t n_router);
/* Derived tables (signs, row sums) from the stored ones. */
void vdb_graph_derive(struct vdb_graph *g);
/* Draw the bits of a rotation from the seed. */
void vdb_graph_draw_signs(struct vdb_graph *g);
/* The header as bytes; *out is the caller's to vdb_free(). */
int vdb_graph_encode(const struct vdb_graph *g, unsigned char **out,
                     size_t *sz);

/* ---- Blocks -------------------------------------------------------------- */

/* May a search return this row? */
static inline bool graph_row_qualifies(const struct vdb_graph_blocks *b,
                                       uint32_t row){
  if( b->live==NULL && b->filter==NULL ) return true;
  if( row>=b->n_row ) return false;
  return (b->live==NULL || vdb_bit_get(b->live, row))
      && (b->filter==NULL || vdb_bit_get(b->filter, row));
}

static inline const unsigned char *graph_nav(const unsigned char *block){
  return block + GRAPHBLOCK_SIZE;
}
static inline uint32_t graph_off_lanes(const struct vdb_graph *g){
  return GRAPHBLOCK_SIZE + g->sz_nav;
}
static inline unsigned char *graph_lanes(const struct vdb_graph *g,
                                         unsigned char *block){
  return block + graph_off_lanes(g);
}
static inline uint32_t graph_nbr(const struct vdb_graph *g,
                                 const unsigned char *block, uint32_t lane){
  return get_u32(block + graph_off_lanes(g) + 4*lane);
}

/* The vector of a block in the navigation basis, dims_nav floats. */
void vdb_graph_block_nav(const struct vdb_graph *g, const unsigned char *block,
                         float *out);
/* A block without neighbours. */
void vdb_graph_block_init(const struct vdb_graph *g, unsigned char *block,
                          uint32_t slot, uint32_t row, uint64_t key);
/* Store the vector x (dims_nav floats, zero padded, in the navigation basis:
** as given, or centred and rotated for SQ8). */
void vdb_graph_block_vector(const struct vdb_graph *g, unsigned char *block,
                            const float *x);
/* x, d floats of the caller, to the navigation basis. `out` has dims_nav. */
void vdb_graph_to_nav(const struct vdb_graph *g, const float *x, float *out);
/* The vector of a block in the code space. tmp: dims_nav floats. */
void vdb_graph_to_code(const struct vdb_graph *g, const unsigned char *block,
                       float *out, float *tmp);
/* The same for n <= GRAPH_TOGETHER vectors in the navigation basis, x to out.
** bytes: dims_nav; they are those of x if is_exact, else scratch. */
#define GRAPH_TOGETHER 8
struct graph_to_code {
  const float *x;
  float *out;
  uint8_t *bytes;
  bool is_exact;
};
void vdb_graph_vecs_to_code(const struct vdb_graph *g,
                            const struct graph_to_code *v, size_t n);
/* Lane `lane` of a block becomes (slot, code of o relative to c), both vectors
** in the code space, n2 their distance. u, tmp: dims_code. */
void vdb_graph_lane_put(const struct vdb_graph *g, unsigned char *block,
                        uint32_t lane, uint32_t slot, const float *o,
                        const float *c, float n2, uint8_t *u, float *tmp);
void vdb_graph_lane_clear(const struct vdb_graph *g, unsigned char *block,
                          uint32_t lane);
/* Lane `lane` of a group of the router becomes the code of o, a vector of the code
** space, relative to the centre. u: dims_code; x: dims_code floats. */
struct vdb_code_factors vdb_graph_entry_put(const struct vdb_graph *g,
                                            uint8_t *group, uint32_t lane,
                                            const float *o, uint8_t *u,
                                            float *x);
static inline uint8_t *graph_entry_group(const struct vdb_graph *g,
                                         uint32_t i){
  return g->router.code + i/32*(size_t)VDB_CODE_GROUP_BYTES(g->dims_code,
                                                            g->bits);
}
/* The checksum of a block that is complete; is it right? (True where blocks
** have none.) */
void vdb_graph_block_seal(const struct vdb_graph *g, unsigned char *block);
bool vdb_graph_block_is_intact(const struct vdb_graph *g,
                               const unsigned char *block);
/* Is every field of the block plausible, and the checksum right? */
bool vdb_graph_block_ok(const struct vdb_graph *g, const unsigned char *block,
                        uint32_t slot);

/* ---- Distances ----------------------------------------------------------- */

enum graph_metric {
  GQ_F32,        /* floats against floats */
  GQ_BYTES,      /* integers of a byte on both sides: exact */
  GQ_SQ8,        /* quantised bytes on both sides */
  GQ_WIDE,       /* floats, as two signed bytes each, against bytes */
  GQ_BITS        /* bits on both sides: exact */
};

/* One side of a distance. */
struct graph_query {
  enum graph_metric metric;
  const float *x;               /* F32: dims_nav floats */
  int8_t *hi, *lo8;             /* bytes; lo8 only for WIDE */
  uint8_t *u;                   /* BYTES, of a vector: its bytes */
  const uint8_t *bits;          /* BITS */
  uint32_t unorm2, usum;        /* BYTES, SQ8: of the unsigned bytes; BITS:
                                ** usum is the number of ones */
  double norm2;                 /* SQ8, WIDE: square norm */
  double scale, lo, sum;        /* SQ8: as in a block; WIDE: step of hi and
                                ** lo8 (scale), sum of elements (sum) */
};

/* The vector of a block as a query; `hi` and x are buffers of dims_nav. */
void vdb_graph_query_block(const struct vdb_graph *g,
                           const unsigned char *block, struct graph_query *q);
/* A vector in the navigation basis; x must stay. */
void vdb_graph_query_vector(const struct vdb_graph *g, const float *x,
                            struct graph_query *q);
float vdb_graph_d2(const struct vdb_graph *g, const struct graph_query *q,
                   const unsigned char *block);
/* Canonical distance of floats to a block of NAV_BYTES; tmp: dims_nav floats. */
float vdb_graph_d2_exact(const struct vdb_graph *g, const float *x,
                         const unsigned char *block, float *tmp);

/* ---- Vectors of bits (graph_binary.c) ------------------------------------ */

/* n elements, 0 or 1, to bits and back; n is a multiple of 16 for packing, `one`
** is n bytes. */
void vdb_graph_bits_pack(const struct vdb_graph *g, const float *x, size_t n,
                         uint8_t *one, uint8_t *bits);
void vdb_graph_bits_unpack(const uint8_t *bits, size_t n, float *x);
/* Ones of a vector of the code space. */
uint32_t vdb_graph_bits_ones(const struct vdb_graph *g, const uint8_t *bits);
float vdb_graph_bits_d2(const struct vdb_graph *g, const struct graph_query *q,
                        const unsigned char *block);
/* One lane of a group, and what is said of it beside. */
void vdb_graph_bits_put(const struct vdb_graph *g, uint8_t *group,
                        uint32_t lane, const uint8_t *bits);
struct vdb_code_factors vdb_graph_bits_factors(const struct vdb_graph *g,
                                               const uint8_t *bits);

/* ---- Search -------------------------------------------------------------- */

struct graph_near { float d2; uint32_t slot; };

/* State of one query. Buffers belong to it and are reused. */
struct graph_walk {
  const struct vdb_graph *g;
  const struct vdb_graph_blocks *b;
  struct graph_query q;
  struct vdb_code_query code;
  bool has_fine;                /* code.fine is that of the query */
  struct vdb_pool pool, seeds;
  float *x, *xc;                /* the query: navigation and code space */
  uint32_t ef, k;
  float stop_factor;            /* (1+stop)^2, or +inf */
  uint32_t n_pool_alloc;        /* entries the pool has room for */
  /* Results, ascending. */
  struct vdb_graph_hit *hit;    /* k+1 */
  uint32_t n_hit, n_hit_alloc;
  float worst;                  /* d2 a result must not exceed */
  float limit;                  /* no use in nodes that seem farther: +inf, or
                                ** what graphs asked before have found */
  float best;                   /* least d2 met, .. */
  uint32_t hop_best;            /* .. and the step that met it */
  /* Slots expanded so far: epoch<<32 | slot, open addressing. */
  uint64_t *seen;
  uint32_t n_seen, seen_mask, epoch;
  /* If trace is not NULL: every expanded slot with its distance. */
  struct graph_near *trace;
  uint32_t n_trace, n_trace_max;
  uint32_t n_hop, n_distance;
  struct vdb_pool bridge;       /* of a walk with a filter: what fails it */
  uint32_t n_bridge_alloc;
  uint32_t n_bridge;            /* of them expanded */
  float share;                  /* of rows that pass, near the query */
  bool is_far, gave_up;         /* see graph_filter.c */
  uint32_t next;                /* popped, not yet expanded */
  int rc;
};

/* Square distance of a query to the centre, where the router's codes are
** relative to one. */
static inline float graph_centre_d2(const struct vdb_graph *g,
                                    const float *xc){
  return g->code_kind==VDB_CODE_RESIDUAL ? g->simd->dot(xc, xc, g->dims_code)
                                         : 0;
}

int vdb_graph_walk_init(struct graph_walk *w, const struct vdb_graph *g);
void vdb_graph_walk_clear(struct graph_walk *w);
/* Begin: buffers for ef and k, empty pool. The query (w->q, w->code) has been
** set. */
int vdb_graph_walk_begin(struct graph_walk *w, const struct vdb_graph_blocks *b,
                         uint32_t ef, uint32_t k, float stop);
/* After walk_begin: never expand this slot. */
void vdb_graph_walk_avoid(struct graph_walk *w, uint32_t slot);
/* Prepare w->q and w->code from d floats of the caller. */
void vdb_graph_walk_query(struct graph_walk *w, const float *query);
/* Seed from the router, walk to the end. */
int vdb_graph_walk_run(struct graph_walk *w);
/* The same in pieces: the nearest entries of the router to the seeds of n <=
** GRAPH_TOGETHER queries, which have been prepared; choose the first node,
** false if there is none; one step, false at the end; what comes last. */
struct graph_seeding {
  const struct vdb_code_query *code;
  const float *xc;
  struct vdb_pool *seeds;
};
void vdb_graph_router_scan(const struct vdb_graph *g,
                           const struct graph_seeding *q, size_t n);
bool vdb_graph_walk_start(struct graph_walk *w);
bool vdb_graph_walk_step(struct graph_walk *w);
void vdb_graph_walk_finish(struct graph_walk *w);
/* The same for n <= WALKS walks in turn, each waiting for memory while the
** others work. */
#define WALKS 4
/* A walk within what passes the filter of b, instead of begin and run
** (graph_filter.c); the query has been set. */
int vdb_graph_walk_within(struct graph_walk *w,
                          const struct vdb_graph_blocks *b,
                          const struct vdb_graph_search *p, uint32_t k);
/* Parts of a walk (graph_search.c): a block, loaded and checked, or NULL and
** w->rc; request it, or its vector alone, from memory; offer a node and its
** chain to the results; remember a slot as expanded, false if it was; buffers
** of a pool, in place of those it has. */
const unsigned char *vdb_graph_walk_block(struct graph_walk *w, uint32_t slot);
void vdb_graph_walk_request(const struct graph_walk *w, uint32_t slot);
void vdb_graph_walk_request_vector(const struct graph_walk *w, uint32_t slot);
int vdb_graph_pool_alloc(struct vdb_pool *p, uint32_t n);
void vdb_graph_walk_offer(struct graph_walk *w, float d2,
                          const unsigned char *block, uint32_t slot);
bool vdb_graph_walk_see(struct graph_walk *w, uint32_t slot);
/* Give back a table of slots that is larger than searches need as a rule. */
void vdb_graph_walk_shrink(struct graph_walk *w);
int vdb_graph_walk_run_many(struct graph_walk *w, unsigned n);

/* e->is_fine: is the owner of a block, at distance d2, so near that the query
** must be known more finely than its table does? What was met from farther
** away has an estimate that means little there, so better ones count. */
static inline void graph_walk_near(struct graph_walk *w, float d2,
                                   struct vdb_expand *e){
  if( VDB_LIKELY(!(d2<w->code.fine_below)) ) return;
  if( !w->has_fine ) w->g->simd->prepare_fine(&w->code, w->xc);
  e->is_fine = w->has_fine = true;
  if( e->reuse<w->worst ) e->reuse = w->worst;
}
/* All within a distance (graph_range.c); the query has been set. tmp: dims_nav
** floats. */
int vdb_graph_walk_range(struct graph_walk *w,
                         const struct vdb_graph_blocks *b,
                         const struct vdb_graph_range *p, float *tmp,
                         struct vdb_graph_found *out);
/* Rows by their codes (graph_codes.c); the query has been set. What may be among
** the n nearest, the least estimates first; it belongs to the ranking. */
struct graph_ranking;
struct graph_ranking *vdb_graph_ranking_create(void);
void vdb_graph_ranking_destroy(struct graph_ranking *k);   /* NULL is fine */
int vdb_graph_walk_rank(struct graph_ranking *k, struct graph_walk *w,
                        const struct vdb_graph_codes *c,
                        const uint64_t *filter, uint32_t n, float sigmas);
const struct vdb_graph_candidate *vdb_graph_ranked(
    const struct graph_ranking *k, size_t *n);
/* Ascending by (d2, slot). */
void vdb_graph_near_sort(struct graph_near *a, uint32_t n);
#endif
