/* graph_memory.c -- what a build or an insertion holds, and where.
**
** A ROW TAKES  its block; its vector in the code space, floats; the lengths of
**   its edges; BUILD_SPARE candidates for lanes that stay free; and numbers and
**   what the caller keeps of it (ROW_FIXED). When all edges are there most of
**   that goes, and that leaves room for trials, or for wider codes. When blocks
**   are written nothing else is left, and they go piece by piece, so that whoever
**   collects them (a draft) does not hold them twice.
** THE LIMIT    (sz_memory) Of it a share is for what does not grow with the rows:
**   scratch of threads, tables, trials. As many threads work as fit into half
**   of that, one at least. How many rows fit depends on the layout and the limit
**   alone, never on threads, so that graphs are the same everywhere.
** PIECES       Blocks lie in pieces of a power of two of groups.
*/
#include "index/graph_build_int.h"
#include "util/mem.h"

#define ROW_FIXED      120u     /* bytes */
#define SHARE_SCRATCH  8        /* 1/8 of the limit, and .. */
#define SCRATCH_LEAST  ((uint64_t)512<<10)  /* .. so much, or 1/8 once more */
#define PIECE_MAX      ((size_t)32<<20)
#define PIECE_SHARE    32       /* 1/32 of the limit, if that is less */

/* What is kept of a limit for other things than rows. */
static uint64_t scratch_bytes(uint64_t sz_memory){
  uint64_t sz = sz_memory/SHARE_SCRATCH;
  return sz + (sz<SCRATCH_LEAST ? sz : SCRATCH_LEAST);
}

uint32_t vdb_graph_rows_within(const struct vdb_graph *g, uint64_t sz_memory,
                               bool has_linker){
  uint64_t per_row = (uint64_t)g->stride + 4*(uint64_t)g->len_code
                   + (has_linker ? 8 : 4)*(uint64_t)g->n_lanes
                   + BUILD_SPARE*sizeof(uint32_t) + ROW_FIXED;
  uint64_t n = (sz_memory - scratch_bytes(sz_memory))/per_row;
  if( sz_memory==0 || n>VDB_GRAPH_SLOTS_MAX ) return VDB_GRAPH_SLOTS_MAX;
  return (uint32_t)n;
}

int vdb_graph_memory_check(const struct graph_builder *b, uint64_t n){
  const struct vdb_graph_opts *o = b->opts;
  uint32_t n_fit = vdb_graph_rows_within(b->g, o->sz_memory, o->linker!=NULL);
  if( n<=n_fit ) return VECDB_OK;
  if( o->n_fit ) *o->n_fit = n_fit;
  return VECDB_TOOBIG;
}

uint64_t vdb_graph_memory_left(const struct graph_builder *b){
  const struct vdb_graph *g = b->g;
  uint64_t held = b->n*((uint64_t)g->stride + 4*(uint64_t)g->len_code
                        + 4*(uint64_t)g->n_lanes + 40)
                + scratch_bytes(b->opts->sz_memory);
  if( b->opts->sz_memory==0 ) return UINT64_MAX;
  return held<b->opts->sz_memory ? b->opts->sz_memory-held : 0;
}

/* What a worker allocates, roughly: buffers of walks and of pruning. */
static uint64_t worker_bytes(const struct graph_builder *b){
  const struct vdb_graph *g = b->g;
  uint64_t ef = b->list2>b->list1 ? b->list2 : b->list1;
  uint64_t walk = 128*ef + 32*(uint64_t)g->dims_code + 8*(uint64_t)g->dims_nav
                + 32768;
  return WALKS*walk + (64*ef + 8*b->n_lanes*(BUILD_IN_MAX+2))
       + (uint64_t)b->n_lanes*g->dims_nav + 16*(uint64_t)g->dims_code;
}

void vdb_graph_memory_threads(struct graph_builder *b){
  uint64_t n;
  if( b->opts->sz_memory==0 ) return;
  n = b->opts->sz_memory/(2*SHARE_SCRATCH)/worker_bytes(b);
  if( n<1 ) n = 1;
  if( b->n_thread>n ) b->n_thread = (unsigned)n;
}

/* ---- Pieces -------------------------------------------------------------- */

int vdb_graph_pieces_open(const struct graph_builder *b,
                          const struct vdb_graph *g, uint64_t n_block,
                          struct build_pieces *p){
  uint64_t n_group = (n_block + (1u<<g->shift)-1) >> g->shift;
  size_t sz_group = (size_t)g->stride<<g->shift, most = PIECE_MAX;
  if( b->opts->sz_memory/PIECE_SHARE<most && b->opts->sz_memory>0 ){
    most = (size_t)b->opts->sz_memory/PIECE_SHARE;
  }
  p->shift = 0;
  while( p->shift<24 && sz_group<<(p->shift+1)<=most ) p->shift++;
  p->n_block = n_block;
  p->n = (uint32_t)((n_group + (1u<<p->shift)-1) >> p->shift);
  p->at = vdb_calloc((size_t)p->n+1, sizeof(*p->at));
  return p->at ? VECDB_OK : VECDB_NOMEM;
}

int vdb_graph_piece_alloc(const struct vdb_graph *g, struct build_pieces *p,
                          uint32_t i){
  uint64_t lo = (uint64_t)i<<(p->shift + g->shift);
  uint64_t n = (uint64_t)1<<(p->shift + g->shift);
  size_t sz;
  if( n>p->n_block-lo ) n = p->n_block-lo;
  if( !vdb_mul_sz((size_t)n, g->stride, &sz) ) return VECDB_TOOBIG;
  p->at[i] = vdb_malloc_aligned(sz+64);
  if( p->at[i]==NULL ) return VECDB_NOMEM;
  vdb_mem_prefer_huge(p->at[i], sz);
  return VECDB_OK;
}

int vdb_graph_pieces_alloc(const struct vdb_graph *g, struct build_pieces *p){
  int rc = VECDB_OK;
  for(uint32_t i=0; i<p->n; i++) TRY( vdb_graph_piece_alloc(g, p, i) );
done:
  return rc;
}

void vdb_graph_piece_free(struct build_pieces *p, uint32_t i){
  vdb_free_aligned(p->at[i]);
  p->at[i] = NULL;
}

void vdb_graph_pieces_close(struct build_pieces *p){
  for(uint32_t i=0; p->at && i<p->n; i++) vdb_graph_piece_free(p, i);
  vdb_free(p->at);
  memset(p, 0, sizeof(*p));
}
