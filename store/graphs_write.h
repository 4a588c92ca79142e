/* graphs_write.h -- a graph on its way to the file.
**
** Used by   store/graphs_build.c, which fills a graph_out; graphs_merge.c,
**           graphs_draft.c, which take it over.
** Threads   the connection's.
** Errors    VECDB_ codes; the sentence is in vdb_store_err().
**
** Blocks of a graph_out become extents as they come, in the write transaction
** that builds it, or wait in memory (is_draft) for one that takes them over.
*/
#ifndef VDB_GRAPHS_WRITE_H
#define VDB_GRAPHS_WRITE_H
#include "store/graphs.h"

struct out_group {
  page_no  head;                       /* an extent; 0: not written yet */
  void     *blocks;                    /* then its bytes */
  uint32_t n;                          /* blocks */
};

struct graph_out {
  int      v;                          /* vector column */
  slot_no  first, end;                 /* the range of the graph */
  bool     is_draft;
  bool     is_part;                    /* memory ended there: graphs behind it go,
                                       ** their rows are for others */
  float    norm_max;                   /* M; while rows are read: square */
  uint32_t n_row;                      /* GRAPHREC.NROW */
  slot_no  *side;
  uint32_t n_side;
  uint32_t stride;
  struct vdb_str header;
  struct vdb_str row_of;               /* GRAPHREC.ROWS, by block */
  unsigned char *codes;                /* GRAPHREC.CODES, by slot; NULL: none */
  uint32_t code_stride;
  struct out_group *group;
  size_t   n_group, n_group_cap;
  /* What rows were added to, if is_kept: its groups that serve on. */
  bool     *is_kept;
  slot_no  old_first;
  uint64_t old_born;
};

void vdb_graph_out_init(struct graph_out *o, int v, slot_no first,
                        slot_no end, bool is_draft);
void vdb_graph_out_clear(struct graph_out *o);       /* cleared is fine */

/* While it is built: it grows out of `old`; blocks; a group of `old` that
** serves on. */
int  vdb_graph_out_old(struct graph_out *o, const struct graph_seg *old);
int  vdb_graph_out_blocks(struct coll *c, struct graph_out *o,
                          const void *blocks, uint32_t n, uint32_t stride);
int  vdb_graph_out_keep(struct graph_out *o, const struct graph_seg *old,
                        uint32_t i_group);
/* When all blocks and the header are there: the codes of its rows. old: what
** rows were added to, or NULL. And, inside a change, into extents, whose numbers
** are added to *heads. */
int  vdb_graph_out_codes(struct coll *c, struct graph_out *o,
                         struct graph_seg *old);
int  vdb_graph_codes_write(struct coll *c, const struct graph_out *o,
                           struct vdb_str *heads, uint32_t *n_extent);
/* Inside a change, c->graphs is current, but for earlier calls of this: write
** what waits, free the graphs of the column that begin in o->first..hi-1, enter
** the record. Whether it fits in is the caller's to know. */
int  vdb_graph_out_enter(struct coll *c, struct graph_out *o, slot_no hi);
#endif
