/* graphs.h -- graph indexes of a collection's vector columns.
**
** Used by   store/: optimize (build), search, check, vacuum.
** Threads   the connection's, but for vdb_graphs_batch, which uses several
**           inside.
** Errors    VECDB_ codes; the sentence is in vdb_store_err().
**
** A graph covers a range of sealed slots: every row that lived there when it
** was built or last took rows in. Slots are given in ascending order and never again, so whatever
** lies outside of all ranges, the delta included, is what a search scans
** besides (C7 in coll_int.h). Rows that died since are left out by the bitmap
** of live rows; row groups may be rewritten under a graph, since slots stay.
**
** SPACE     graph.h knows one distance. l2: vectors as they are; hamming and
** jaccard: bits, each a float. cosine: unit
**           vectors; zero vectors are in the side list, as are those whose
**           norms overflow. ip: [x, pad] with pad^2 = M^2 - |x|^2, queries
**           [q, 0]. Distances of results are
**           computed from the stored rows, so they are those of exact search.
*/
#ifndef VDB_GRAPHS_H
#define VDB_GRAPHS_H
#include "index/graph.h"
#include "store/coll_int.h"
#include "store/search.h"

struct graph_seg {                     /* one graph, opened */
  slot_no  first, end;                 /* slots first..end-1 */
  uint64_t born;                       /* as in the record: same number and
                                       ** range, same graph */
  uint32_t n_row;                      /* in the graph: live ones, and dead ones
                                       ** that are waypoints */
  float    norm_max;                   /* M; 0 unless ip */
  uint32_t n_side;
  slot_no  *side;                      /* rows that are not in the graph */
  struct vdb_graph *g;
  struct vdb_graph_info info;
  struct vdb_graph_searcher *searcher; /* of the connection's thread */
  page_no  *head;                      /* extents, by group of blocks */
  struct extent *group;                /* held ones; cleared: not yet */
  const unsigned char **base;          /* their bytes */
  uint64_t *sound;                     /* blocks that were checked, as in
                                       ** vdb_graph_blocks; NULL: all that are
                                       ** held were */
  uint32_t n_rows;                     /* extents of GRAPHREC.ROWS */
  page_no  *rows;
  uint32_t *row_of;                    /* their contents; NULL: not read yet */
  uint32_t n_codes;                    /* extents of GRAPHREC.CODES */
  page_no  *code_head;
  struct extent *code;                 /* held ones; cleared: not yet */
  const unsigned char **code_base;     /* their bytes */
};
struct graph_list { struct graph_seg *seg; size_t n, n_cap; };

struct row_hold {                      /* row groups of a column, held */
  uint64_t version;                    /* COLL.SEGVERSION they belong to */
  struct extent *data;                 /* by group; cleared: not yet */
  size_t n;
};

struct graph_cache {
  uint64_t version;                    /* COLL.GRAPHVERSION it shows */
  bool is_damaged;                     /* what there is cannot be used: the
                                       ** lists are empty */
  struct graph_list *list;             /* by vector column */
  struct row_hold *rows;               /* by vector column */
};

/* Vector columns that can have a graph: by schema, metric and type. */
bool vdb_graphs_possible(const struct coll *c, int v);
/* c->graphs is current. Damage is told to the log and no error: searches are
** exact then, until the graphs are made anew. */
int  vdb_graphs_load(struct coll *c);
static inline bool graph_is_damage(int rc){
  return (rc & 0xff)==VECDB_CORRUPT || rc==VECDB_FORMAT;
}
/* Damage was met with this code: the same from now on. */
void vdb_graphs_distrust(struct coll *c, int rc);
/* Free an extent that a graph names. What is not the graph's, or cannot be
** read, is left for vacuum. */
int  vdb_graph_extent_free(struct coll *c, page_no head);
/* Free the graphs of all columns where records cannot be read. */
int  vdb_graphs_drop_damaged(struct coll *c);
/* Does every block check, and every row of the range have one? */
int  vdb_graph_is_sound(struct coll *c, struct graph_seg *s, bool *out);
/* The code of graph.h, with a sentence about collection c. */
int  vdb_graph_rc(struct coll *c, int rc);
/* The slot below which all sealed rows of column v are covered; c->graphs is
** current. */
slot_no vdb_graphs_end(const struct coll *c, int v);
/* Make base[] of every group valid; what is read of them is checked by
** s->sound. */
int  vdb_graph_hold_all(struct coll *c, struct graph_seg *s);
/* The same, all checksums verified. */
int  vdb_graph_hold_sound(struct coll *c, struct graph_seg *s);
/* The same for one group, when a search first comes to it. */
int  vdb_graph_hold(struct coll *c, struct graph_seg *s, uint32_t i_group);

/* s->row_of is there, if the file has it (s->n_rows>0). */
int  vdb_graph_rows_load(struct coll *c, struct graph_seg *s);

/* The codes of rows, held and verified; out->n is 0 if the file has none. Let go
** of them; how many extents they take. */
int  vdb_graph_codes_hold(struct coll *c, struct graph_seg *s,
                          struct vdb_graph_codes *out);
void vdb_graph_codes_let_go(struct coll *c, struct graph_seg *s);
uint32_t vdb_graph_codes_extents(const struct graph_seg *s);

/* After a search: let go of what is held when it crowds the cache. */
void vdb_graphs_relax(struct coll *c);

/* The stored vector of a live sealed slot: in place, or copied to *buf. It is
** valid until the next change of rows. *type: as in struct flat_run. */
int  vdb_graph_row(struct coll *c, int v, slot_no slot, struct vdb_str *buf,
                   const unsigned char **vec, int *type);

/* Ask for the bytes that vdb_graph_row will give, if they are held. */
void vdb_graph_row_hint(struct coll *c, int v, slot_no slot);

/* A stored vector (or a query) of column v in the index's space; out has
** room for graph dimensions. False: it has no place there (zero vectors under
** cosine, norms near overflow). */
uint32_t vdb_graph_dims(const struct coll *c, int v);
bool vdb_graph_vec(const struct coll *c, int v, const void *vec,
                   float norm_max, bool is_query, float *out);
/* The same for a stored row whose elements are of `type`. */
bool vdb_graph_vec_of(const struct coll *c, int v, int type, const void *vec,
                      float norm_max, bool is_query, float *out);

/* ---- Upkeep (graphs_merge.c). Inside a write transaction, flags as of
** vdb_coll_optimize: the delta is sealed, and one graph per column over all
** sealed rows is made, or enlarged, where that is worth it and, by fixed
** costs, done before end_ms of vdb_pager_now_ms (INT64_MAX: whenever). With
** drafts, those that fit are entered instead and nothing else is built. */
struct graph_drafts;
int  vdb_graphs_optimize(struct coll *c, unsigned flags, int64_t end_ms,
                         struct graph_drafts *drafts);
/* Policy optimize=commit: quickly, could graphs want upkeep? And doing it. */
bool vdb_graphs_want_upkeep(struct coll *c);
int  vdb_graphs_keep(struct coll *c);
/* Policy optimize=background, at a commit while the thread is busy: the rest
** becomes a graph of its own, if scanning it costs too much already. */
int  vdb_graphs_help(struct coll *c);

struct graph_make;

/* ---- Drafts (graphs_draft.c): graphs of a snapshot, in memory. -------------
** The same work as that of vdb_graphs_optimize, built inside a READ
** transaction; drafts that are there already are brought up to date with what
** has happened to the file. flags may be GRAPHS_UPKEEP alone: what wants
** upkeep in the background. */
#define GRAPHS_UPKEEP  0x10000u
int  vdb_graphs_draft(struct coll *c, unsigned flags, int64_t end_ms,
                      struct graph_drafts *d);
/* Can all be entered, as they are or (tails_too) with a tail? c->graphs is
** current. */
bool vdb_graphs_drafts_fit(struct coll *c, const struct graph_drafts *d,
                           bool tails_too);

struct graph_out;                      /* graphs_write.h */
struct graph_drafts {
  struct graph_out *out;               /* by column and range */
  size_t n, n_cap;
  bool   is_begun;                     /* columns without one want none */
  /* Where memory does not do for all there are several steps. This one begins
  ** with column v (is_going_on: with the rest of it), the next with v_next. */
  int    v, v_next;
  bool   is_going_on, goes_on;
};
#define GRAPH_DRAFTS_INIT { .v_next = DRAFTS_ALL }
#define DRAFTS_ALL  0x7fffffff         /* v_next: this was the last step */
enum draft_fit {
  DRAFT_FITS,
  DRAFT_TAIL,                          /* rows behind the last need one more */
  DRAFT_STALE                          /* useless by now */
};
void vdb_drafts_clear(struct graph_drafts *d);
/* What was drafted is in the file: on to the next step, if there is one. */
bool vdb_drafts_next(struct graph_drafts *d);
/* Memory that they hold. */
uint64_t vdb_drafts_bytes(const struct graph_drafts *d);
int  vdb_drafts_add(struct graph_drafts *d, struct graph_out *o);  /* taken */
bool vdb_drafts_have(const struct graph_drafts *d, int v);
void vdb_drafts_forget(struct graph_drafts *d, int v);
enum draft_fit vdb_drafts_fit(struct coll *c, const struct graph_drafts *d,
                              int v, struct graph_make *tail);
int  vdb_drafts_make_tail(struct coll *c, struct graph_drafts *d, int v,
                          const struct graph_make *tail);
/* Inside a change: the graphs of the column are these. *has_tail: rows behind
** them are in no graph any more. c->graphs is out of date after it. */
int  vdb_drafts_enter(struct coll *c, struct graph_drafts *d, int v,
                      bool *has_tail);

/* ---- Building (graphs_build.c). Inside a change, c->graphs is current. ---- */
struct graph_make {
  slot_no first, end;                  /* the range of the new graph */
  size_t  i_seg, n_seg;                /* graphs that it takes the place of */
  bool    is_insert;                   /* rows after graph i_seg are added to
                                       ** it, if it lets them; else anew */
  bool    purge;                       /* .. and dead ones taken out of it */
  bool    renew;                       /* .. and some old ones connected anew */
  uint32_t n_min;                      /* fewer rows: leave all as it is */
  const struct vdb_graph_linker *linker;
  struct graph_drafts *drafts;         /* not NULL: made a draft; nothing is
                                       ** written, a READ transaction will do,
                                       ** and rows of the delta take part */
  const struct graph_seg *like;        /* not the first of a column: space; NULL:
                                       ** that of the first graph */
  uint64_t sz_held;                    /* not 0: so much of the memory for builds
                                       ** is taken; TOOBIG if the rest will
                                       ** not do */
};
/* *end: slots below it were made a graph; 0: none was. It is what->end, or where
** the memory for builds ends: then all graphs behind it are gone, and whoever
** wants them made goes on there. TOOBIG: not even a small one fits. */
int  vdb_graphs_make(struct coll *c, int v, const struct graph_make *what,
                     slot_no *end);
/* The same with edges from a GPU, if the flags say so. It is
** asked before anything is written, so that without one the CPU begins anew. */
int  vdb_graphs_make_by(struct coll *c, int v, const struct graph_make *what,
                        unsigned flags, slot_no *end);
/* Rows that a graph of column v may have within the memory for builds; before
** there is one: any number. c->graphs is current. */
uint64_t vdb_graphs_rows_max(const struct coll *c, int v);
int  vdb_graphs_gpu_refused(struct coll *c, int code);
/* Was the graph built with other options than the column has by now? */
bool vdb_graphs_layout_differs(const struct coll *c, int v);
/* Free a graph and its record, but for groups whose is_kept is set (NULL:
** none). c->graphs still lists it. */
int  vdb_graph_free(struct coll *c, int v, struct graph_seg *s,
                    const bool *is_kept);
/* Free the graphs of column v. */
int  vdb_graphs_drop(struct coll *c, int v);
/* Examine: census of pages and extents, then, unless quick, every block. */
int  vdb_graphs_check(struct coll *c, struct census *census,
                      const char *object);

/* ---- Searching (plan.c, graphs_search.c, graphs_batch.c) ----------------- */
/* What an approximate search is to do; filled by vdb_graphs_plan. */
struct graph_plan {
  bool     use_graph;                  /* false: exact search */
  uint32_t ef;                         /* of the first graph */
  float    stop;
  float    recall;                     /* expected; 0: unknown (ef given) */
  double   wanted;                     /* the same */
  const char *why;                     /* a few words */
  bool     is_within;                  /* walk among what qualifies */
  bool     has_codes;                  /* all graphs have codes of rows */
  bool     is_coded;                   /* compare those: no walk */
  double   share;                      /* of the rows that qualify */
  double   n_hop_exact;                /* blocks that cost as much as what a walk
                                       ** within that is given up goes on with */
  float    sigmas;                     /* of a range: see graph.h */
  /* Expected microseconds by the fixed costs; 0: not possible. */
  double   cost_exact, cost_through, cost_within, cost_codes;
};
/* Decide for k rows out of n_match that qualify. */
void vdb_graphs_plan(struct coll *c, int v, const struct graph_wish *wish,
                     uint64_t k, uint64_t n_match, struct graph_plan *out);
/* As vdb_search_one and vdb_search_batch, by graphs and a scan of what they do
** not cover. `r` need only hold uncovered rows (vdb_coll_runs_open_rest). Sets
** *n_hit to less than min(k, q->n_rows) when graphs found too few: the caller
** searches exactly then. */
int  vdb_graphs_search(struct session *ss, struct coll *c,
                       const struct coll_runs *r,
                       const struct search_request *q,
                       const struct graph_plan *plan, const void *query,
                       struct vdb_hit *hit, size_t *n_hit);
/* The same for all rows of a window, nearly (graphs_range.c). !*used: search
** exactly. *hit is freed with vdb_free. */
void vdb_graphs_plan_range(struct coll *c, int v,
                           const struct graph_wish *wish, uint64_t n_match,
                           struct graph_plan *out);
int  vdb_graphs_range(struct session *ss, struct coll *c,
                      const struct coll_runs *r,
                      const struct search_request *q,
                      const struct graph_plan *plan, const void *query,
                      struct vdb_hit **hit, size_t *n_hit, bool *used);
int  vdb_graphs_batch(struct session *ss, struct coll *c,
                      const struct coll_runs *r,
                      const struct search_request *q,
                      const struct graph_plan *plan, const void *queries,
                      size_t stride, size_t nq, struct vdb_hit *hit,
                      size_t *n_hit);
#endif
