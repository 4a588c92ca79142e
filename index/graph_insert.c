/* graph_insert.c -- rows enter an index that exists.
**
** The old blocks are the frozen start of a build. In order:
**   OPEN     the header is copied, every block checked, the vectors of nodes
**            brought to the code space.
**   PURGE    if asked for: dead rows leave (graph_purge.c). Their blocks are
**            empty then, and no block names them.
**   ROWS     new rows take empty blocks, then blocks at the end. Rows that
**            equal others join their chains (graph_join.c).
**   ENTER    a pass of graph_build.c over the new nodes alone. A node of the
**            old index whose lanes are full prunes its list when it takes an
**            edge back, and fills it again.
**   RENEW    if asked for: the most worn of the old nodes choose their neighbours anew,
**            as in pass 2 of a build. Edges back tell them of the new nodes that
**            chose them, not of others that they would choose themselves, so
**            graphs whose rows are replaced wear out without it.
**   ROUTER   dead entries are replaced, new nodes get their share
**            (graph_entry.c); unreachable nodes are connected (graph_fix.c).
**   TABLE    of recall: measured anew once half of the rows have changed.
**   WRITE    graph_write.c.
**
** INVARIANTS
**   I1  Groups of the old index are never written to: before a block changes
**       its group is copied (vdb_graph_own), outside of parallel steps.
**   I2  Beside B1 and B2 (graph_build.c): slots of new rows, their order and
**       batches depend on the old bytes and the rows alone.
**   I3  Old blocks are bytes of a file: each is checked before it is used
**       (vdb_graph_block_ok); an edge to a block that is no node, or a chain
**       that goes on in one that is no member, is CORRUPT.
**
** WHEN NOT  Codes are relative to the centre of the build, entries of the
**   router likewise. When the mean of all rows has moved from it by more than
**   a tenth of their mean distance from it the answer is MISMATCH.
*/
#include <math.h>

#include "index/graph_build_int.h"
#include "simd/simd.h"
#include "util/mem.h"
#include "util/pool.h"

#define TASK_SLOTS    256
#define DRIFT_MAX     0.1
#define DRIFT_SAMPLE  16384u    /* nodes whose mean is compared */
#define RENEW_ROWS    4096u     /* nodes renewed at a time, or the new rows */
#define RENEW_SHARE   4         /* .. for each row that comes or goes */
#define RECALL_SHARE  2         /* 1/2 of the rows changed: measure again */

/* ---- Groups -------------------------------------------------------------- */

void vdb_graph_own(struct graph_builder *b, uint32_t slot){
  const struct vdb_graph *g = b->g;
  uint32_t i = slot>>g->shift, lo = i<<g->shift, n = 1u<<g->shift;
  unsigned char *p = build_group(b, i);
  uint32_t n_old = b->insert->n_old;
  if( b->base[i]==p ) return;
  if( lo<n_old ) memcpy(p, b->base[i],
                        (size_t)(n_old-lo<n ? n_old-lo : n)*g->stride);
  b->base[i] = p;
}

/* Room for all blocks there may be; what stays shared costs no memory. */
static int groups_open(struct graph_builder *b){
  struct vdb_graph *g = b->g;
  struct graph_insert *in = b->insert;
  uint64_t n_max = (uint64_t)in->n_old + b->src->n_rows;
  uint64_t n_group = (n_max + (1u<<g->shift)-1) >> g->shift;
  int rc;
  TRY( vdb_graph_memory_check(b, n_max) );
  in->n_group_old = (uint32_t)(((uint64_t)in->n_old + (1u<<g->shift)-1)
                               >> g->shift);
  TRY( vdb_graph_pieces_open(b, g, n_max, &b->piece) );
  TRY( vdb_graph_pieces_alloc(g, &b->piece) );
  b->base = vdb_malloc_array((size_t)n_group+1, sizeof(*b->base));
  if( b->base==NULL ) TRY( VECDB_NOMEM );
  for(uint32_t i=0; i<n_group; i++){
    b->base[i] = i<in->n_group_old ? in->old->base[i] : build_group(b, i);
  }
  b->blocks.base = b->base;
  b->n = b->n_nodes = (uint32_t)n_max;
done:
  return rc;
}

/* ---- The old blocks ------------------------------------------------------ */

/* Edges lead to nodes, chains to members of chains. Whether a chain comes to an
** end is found out by who follows it. */
static bool links_are_right(const struct graph_builder *b, uint32_t slot){
  uint32_t n = build_degree(b, slot);
  const unsigned char *block = build_block(b, slot);
  uint32_t dup = get_u32(block+GRAPHBLOCK_DUP);
  if( dup!=SLOT_NONE
   && (dup>=b->insert->n_old
       || get_u16(build_block(b, dup)+GRAPHBLOCK_FLAGS)!=GRAPH_DUP) ){
    return false;
  }
  for(uint32_t i=0; i<n; i++){
    if( !vdb_bit_get(b->insert->is_node, graph_nbr(b->g, block, i)) ){
      return false;
    }
  }
  return true;
}

static int check_task(void *arg, size_t i_task, unsigned worker){
  struct graph_builder *b = arg;
  uint32_t n_old = b->insert->n_old, lo = (uint32_t)i_task*TASK_SLOTS;
  uint32_t hi = n_old-lo<TASK_SLOTS ? n_old : lo+TASK_SLOTS;
  float *tmp = b->worker[worker].tmp;
  for(uint32_t s=lo; s<hi; s++){
    const unsigned char *block = build_block(b, s);
    if( !vdb_graph_block_ok(b->insert->old->g, block, s) ){
      return VECDB_CORRUPT_INDEX;
    }
    /* TASK_SLOTS is a multiple of 64: the words are the task's own. */
    if( get_u16(block+GRAPHBLOCK_FLAGS)!=0 ) continue;
    vdb_bit_set(b->insert->is_node, s);
    vdb_graph_to_code(b->g, block, build_code(b, s), tmp);
  }
  return VECDB_OK;
}

static int links_task(void *arg, size_t i_task, unsigned worker){
  struct graph_builder *b = arg;
  uint32_t n_old = b->insert->n_old, lo = (uint32_t)i_task*TASK_SLOTS;
  uint32_t hi = n_old-lo<TASK_SLOTS ? n_old : lo+TASK_SLOTS;
  VDB_UNUSED(worker);
  for(uint32_t s=lo; s<hi; s++){
    if( !links_are_right(b, s) ) return VECDB_CORRUPT_INDEX;
  }
  return VECDB_OK;
}

static int blocks_check(struct graph_builder *b){
  struct graph_insert *in = b->insert;
  const struct graph_router *r = &b->g->router;
  size_t n_task = (in->n_old + TASK_SLOTS-1)/TASK_SLOTS;
  int rc;
  TRY( vdb_pool_run(b->n_thread, n_task, check_task, b) );
  TRY( vdb_pool_run(b->n_thread, n_task, links_task, b) );
  for(uint32_t s=0; s<in->n_old; s++){
    if( get_u16(build_block(b, s)+GRAPHBLOCK_FLAGS) & GRAPH_EMPTY ){
      in->free[in->n_free++] = s;
    }
  }
  for(uint32_t i=0; i<r->n; i++){
    if( !vdb_bit_get(in->is_node, r->slot[i]) ) return VECDB_CORRUPT_INDEX;
  }
done:
  return rc;
}

/* ---- New rows ------------------------------------------------------------ */

/* Slots in order of hash, blocks in order of the source. */
static int rows_load(struct graph_builder *b, float *x, float *nav){
  const struct vdb_graph_source *src = b->src;
  struct graph_insert *in = b->insert;
  uint32_t *slot = vdb_malloc_array((size_t)src->n_rows+1, sizeof(*slot));
  uint32_t next = in->n_old;
  int rc = VECDB_OK;
  if( slot==NULL ) return VECDB_NOMEM;
  for(uint32_t i=0; i<src->n_rows; i++){
    uint32_t s = in->i_free<in->n_free ? in->free[in->i_free++] : next++;
    b->order[i] = slot[b->origin[i]] = s;
    vdb_graph_own(b, s);
    vdb_bit_set(in->is_node, s);
    vdb_bit_set(in->is_new, s);
    vdb_bit_set(in->is_measured, s);
  }
  b->n_order = src->n_rows;
  b->n = b->n_nodes = b->blocks.n_slots = next;
  b->g->n_slots = b->g->n_nodes = next;
  for(uint32_t i=0; i<src->n_rows; i++){
    unsigned char *block = build_block(b, slot[i]);
    TRY( src->fetch(src->arg, i, x) );
    if( !vdb_graph_vector_fits(b->g, x) ) TRY( VECDB_MISMATCH );
    vdb_graph_to_nav(b->g, x, nav);
    vdb_graph_block_init(b->g, block, slot[i], src->row ? src->row[i] : i,
                         src->key ? src->key[i] : i);
    vdb_graph_block_vector(b->g, block, nav);
    vdb_graph_to_code(b->g, block, build_code(b, slot[i]), b->worker[0].tmp);
  }
done:
  vdb_free(slot);
  return rc;
}

/* Has the mean moved? Over a sample of nodes by slot, summed in order. */
static int drift_check(const struct graph_builder *b){
  uint32_t dims = b->g->dims_code, step = b->n_nodes/DRIFT_SAMPLE + 1, n = 0;
  double *sum, shift = 0, spread = 0;
  int rc = VECDB_OK;
  if( b->g->code_kind!=VDB_CODE_RESIDUAL || b->insert->old->is_beside ){
    return VECDB_OK;
  }
  sum = vdb_calloc(dims, sizeof(*sum));
  if( sum==NULL ) return VECDB_NOMEM;
  for(uint32_t s=0; s<b->n_nodes; s+=step){
    const float *x = build_code(b, s);
    if( !vdb_bit_get(b->insert->is_node, s) ) continue;
    for(uint32_t i=0; i<dims; i++) sum[i] += x[i];
    spread += sqrt((double)b->g->simd->dot(x, x, dims));
    n++;
  }
  for(uint32_t i=0; i<dims; i++) shift += sum[i]*sum[i];
  /* Of n rows the mean is uncertain by their spread over sqrt(n). */
  if( n>0 && sqrt(shift)>(DRIFT_MAX + 2/sqrt(n))*spread ) rc = VECDB_MISMATCH;
  vdb_free(sum);
  return rc;
}

/* ---- The whole ----------------------------------------------------------- */

/* A graph of our own with the tables of the old one. */
static int header_copy(const struct vdb_graph *old, struct vdb_graph **out){
  unsigned char *bytes = NULL;
  size_t sz;
  int rc = vdb_graph_encode(old, &bytes, &sz);
  if( rc==VECDB_OK ) rc = vdb_graph_open(bytes, sz, out);
  vdb_free(bytes);
  return rc;
}

static int insert_open(struct graph_builder *b){
  struct graph_insert *in = b->insert;
  size_t n_word;
  int rc;
  TRY( header_copy(in->old->g, &b->g) );
  if( b->g->n_nodes==0 ) TRY( VECDB_MISMATCH );
  if( b->src->d!=b->g->d ) TRY( VECDB_RANGE );
  b->g->is_mixed = true;
  b->n_lanes = b->g->n_lanes;
  in->n_old = b->g->n_slots;
  TRY( groups_open(b) );
  n_word = vdb_bitset_words(b->n)+1;
  in->is_node = vdb_calloc(n_word, sizeof(uint64_t));
  in->is_new = vdb_calloc(n_word, sizeof(uint64_t));
  in->is_measured = vdb_calloc(n_word, sizeof(uint64_t));
  in->free = vdb_malloc_array((size_t)in->n_old+1, sizeof(uint32_t));
  if( in->old->renew ){
    in->worn = vdb_calloc((size_t)b->n+1, 1);
    if( in->worn==NULL ) TRY( VECDB_NOMEM );
  }
  b->n_order = b->src->n_rows;
  if( in->old->renew && b->n_order<RENEW_ROWS ) b->n_order = RENEW_ROWS;
  in->n_order_max = b->n_order;
  b->order = vdb_malloc_array((size_t)b->n_order+1, sizeof(*b->order));
  b->code = vdb_malloc_aligned((size_t)b->n*b->g->len_code*sizeof(float)+64);
  if( !in->is_node || !in->is_new || !in->is_measured || !in->free
   || !b->order || !b->code ) TRY( VECDB_NOMEM );
  vdb_mem_prefer_huge(b->code, (size_t)b->n*b->g->len_code*sizeof(float));
  TRY( vdb_graph_build_alloc(b) );
  b->n = b->n_nodes = b->blocks.n_slots = in->n_old;
  b->g->n_nodes = in->n_old;
  b->n_order = 0;
  TRY( blocks_check(b) );
done:
  return rc;
}

static void insert_close(struct graph_insert *in){
  vdb_free(in->is_node);
  vdb_free(in->is_new);
  vdb_free(in->is_measured);
  vdb_free(in->free);
  vdb_free(in->worn);
}

/* Recall is measured again when enough has changed since. */
static int table_renew(struct graph_builder *b, uint32_t n_changed){
  struct calib *calib = NULL;
  uint64_t n = (uint64_t)b->g->n_changed + n_changed;
  int rc = VECDB_OK;
  b->g->n_changed = n<SLOT_NONE ? (uint32_t)n : SLOT_NONE;
  if( b->opts->no_calibration || n<b->n_nodes/RECALL_SHARE ) return VECDB_OK;
  TRY( vdb_graph_calib_begin(b, &calib) );
  TRY( vdb_graph_calibrate(b, calib) );
  b->g->n_changed = 0;
done:
  vdb_graph_calib_end(calib);
  return rc;
}

static int insert_rows(struct graph_builder *b){
  float *x = vdb_malloc_aligned(b->g->d*sizeof(float));
  float *nav = vdb_malloc_aligned(b->g->dims_nav*sizeof(float));
  int rc = VECDB_OK;
  if( x==NULL || nav==NULL ) TRY( VECDB_NOMEM );
  TRY( vdb_graph_rows_order(b, b->src->n_rows) );
  TRY( rows_load(b, x, nav) );
  TRY( drift_check(b) );
  TRY( vdb_graph_join(b) );
  TRY( vdb_graph_enter(b) );
done:
  vdb_free_aligned(x);
  vdb_free_aligned(nav);
  return rc;
}

/* The nodes of `order` choose anew. */
static int nodes_renew(struct graph_builder *b){
  int rc = VECDB_OK;
  for(uint32_t i=0; i<b->n_order; i++) vdb_graph_own(b, b->order[i]);
  TRY( vdb_graph_enter(b) );
  for(uint32_t i=0; i<b->n_order; i++){
    vdb_bit_set(b->insert->is_measured, b->order[i]);
  }
done:
  return rc;
}

/* Can a node be renewed, and how worn is it? -1: no. */
static int node_wear(const struct graph_builder *b, uint32_t slot){
  const struct graph_insert *in = b->insert;
  if( !vdb_bit_get(in->is_node, slot) || vdb_bit_get(in->is_new, slot) ){
    return -1;
  }
  return in->worn[slot];
}

/* The n most worn old nodes, or all, are renewed: how worn they are at least,
** and one in *step of those that are just so. */
static int wear_limit(const struct graph_builder *b, uint32_t n,
                      uint32_t *step){
  uint32_t count[256] = { 0 };
  int least = 255;
  for(uint32_t s=0; s<b->insert->n_old; s++){
    int wear = node_wear(b, s);
    if( wear>=0 ) count[wear]++;
  }
  for(; least>0 && count[least]<n; least--) n -= count[least];
  *step = n==0 ? UINT32_MAX : count[least]>n ? count[least]/n : 1;
  return least;
}

/* About n old nodes. Renewal wears out none. */
static int insert_renew(struct graph_builder *b, uint32_t n){
  uint32_t *order = b->order, n_order = b->n_order, step, i = 0;
  struct graph_insert *in = b->insert;
  int rc = VECDB_OK, least = wear_limit(b, n, &step);
  b->is_renewal = true;
  b->n_order = 0;
  b->order = vdb_malloc_array((size_t)in->n_order_max+1, sizeof(*b->order));
  if( b->order==NULL ) TRY( VECDB_NOMEM );
  for(uint32_t s=0; s<in->n_old; s++){
    int wear = node_wear(b, s);
    if( wear<least || (wear==least && i++%step!=0) ) continue;
    b->order[b->n_order++] = s;
    if( b->n_order<in->n_order_max ) continue;
    TRY( nodes_renew(b) );
    b->n_order = 0;
  }
  TRY( nodes_renew(b) );
done:
  vdb_free(b->order);
  b->order = order;
  b->n_order = n_order;
  b->is_renewal = false;
  return rc;
}

static int insert_run(struct graph_builder *b){
  uint32_t n_free;
  int rc;
  TRY( vdb_graph_build_options(b) );
  TRY( insert_open(b) );
  b->todo = (b->insert->old->renew ? 8.0 : 5.0)*b->src->n_rows
          + b->n_nodes/8.0;
  n_free = b->insert->n_free;
  if( b->insert->old->purge ){
    TRY( vdb_graph_purge(b) );
    TRY( vdb_graph_router_renew(b) );    /* searches begin at live nodes .. */
    /* .. and find all that are left. */
    TRY( vdb_graph_cover(b, b->insert->is_measured) );
  }
  TRY( vdb_graph_progress(b, b->n_nodes/8.0) );
  n_free = b->insert->n_free - n_free;
  TRY( insert_rows(b) );
  if( b->insert->old->renew && n_free + b->src->n_rows>0 ){
    TRY( insert_renew(b, RENEW_SHARE*(n_free + b->src->n_rows)) );
  }
  vdb_graph_build_trim(b);
  TRY( vdb_graph_router_renew(b) );
  TRY( vdb_graph_repair(b) );
  TRY( vdb_graph_cover(b, b->insert->is_new) );
  TRY( table_renew(b, n_free + b->src->n_rows) );
done:
  return rc;
}

int vdb_graph_insert(const struct vdb_graph_prior *old,
                     const struct vdb_graph_source *src,
                     const struct vdb_graph_opts *opts,
                     const struct vdb_graph_sink *sink){
  struct graph_insert in = { .old = old };
  struct graph_builder b = { .src = src, .opts = opts, .sink = sink,
                             .insert = &in };
  struct vdb_fpmode fp = vdb_fpmode_enter();
  int rc = VECDB_OK;
  TRY( insert_run(&b) );
  TRY( vdb_graph_write(&b) );
done:
  insert_close(&in);
  vdb_graph_build_clear(&b);
  vdb_fpmode_leave(fp);
  return rc;
}
