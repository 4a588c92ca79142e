/* graph_join.c -- rows of equal vectors share a node, during an insertion.
**
** The rows of a node are those of its own block and of the blocks of its
** chain, in order of key. All their blocks hold the same vector, so rows move
** between blocks by changing row and key alone: the smallest is always the
** node's, whoever comes or goes.
**
** A new row joins the node whose stored vector is its own byte by byte. Rows
** that share a hash but not a vector stay apart; of several old nodes with the
** vector (there is one, unless hashes met) the first takes it.
*/
#include <stdlib.h>

#include "index/graph_build_int.h"
#include "util/mem.h"

/* ---- One chain ----------------------------------------------------------- */

/* The block after `block`, NONE at the end. A chain of more members than there
** are blocks loops. */
static int chain_next(const struct graph_builder *b, uint32_t *slot,
                      uint32_t *n_left){
  uint32_t dup = get_u32(build_block(b, *slot)+GRAPHBLOCK_DUP);
  *slot = dup;
  if( dup==SLOT_NONE ) return VECDB_OK;
  if( dup>=b->n || (*n_left)--==0
   || get_u16(build_block(b, dup)+GRAPHBLOCK_FLAGS)!=GRAPH_DUP ){
    return VECDB_CORRUPT_INDEX;
  }
  return VECDB_OK;
}

int vdb_graph_chain_rows(const struct graph_builder *b, uint32_t head,
                         struct graph_row **row, uint32_t *n){
  uint32_t n_left = b->n, slot = head;
  size_t n_cap = 0;
  int rc = VECDB_OK;
  *row = NULL;
  *n = 0;
  while( slot!=SLOT_NONE ){
    const unsigned char *block = build_block(b, slot);
    TRY( vdb_grow(row, &n_cap, (size_t)*n+1, sizeof(**row)) );
    (*row)[*n].key = get_u64(block+GRAPHBLOCK_KEY);
    (*row)[(*n)++].row = get_u32(block+GRAPHBLOCK_ROW);
    TRY( chain_next(b, &slot, &n_left) );
  }
done:
  return rc;
}

static int graph_row_compare(const void *a, const void *b){
  const struct graph_row *x = a, *y = b;
  if( x->key!=y->key ) return x->key<y->key ? -1 : 1;
  return x->row<y->row ? -1 : x->row>y->row;
}

void vdb_graph_block_empty(struct graph_builder *b, uint32_t slot){
  vdb_graph_own(b, slot);
  vdb_graph_block_init(b->g, build_block(b, slot), slot, SLOT_NONE, 0);
  put_u16(build_block(b, slot)+GRAPHBLOCK_FLAGS, GRAPH_EMPTY);
  vdb_bit_clear(b->insert->is_node, slot);
  b->insert->free[b->insert->n_free++] = slot;
}

/* Row i of a chain is in block `at`, `next` follows. */
static void chain_put(struct graph_builder *b, uint32_t at, uint32_t next,
                      const struct graph_row *row, bool is_head){
  unsigned char *block;
  vdb_graph_own(b, at);
  block = build_block(b, at);
  put_u32(block+GRAPHBLOCK_ROW, row->row);
  put_u64(block+GRAPHBLOCK_KEY, row->key);
  put_u32(block+GRAPHBLOCK_DUP, next);
  if( is_head ) return;
  put_u16(block+GRAPHBLOCK_FLAGS, GRAPH_DUP);
  vdb_bit_clear(b->insert->is_node, at);
}

int vdb_graph_chain_set(struct graph_builder *b, uint32_t head,
                        struct graph_row *row, uint32_t n,
                        const uint32_t *spare){
  uint32_t n_left = b->n, at = head, next = head;
  int rc = VECDB_OK;
  qsort(row, n, sizeof(*row), graph_row_compare);
  for(uint32_t i=0; i<n; i++, at=next){
    TRY( chain_next(b, &next, &n_left) );
    if( next==SLOT_NONE && i+1<n ){
      /* The blocks of the chain are used up. */
      chain_put(b, at, *spare, &row[i], i==0);
      for(i++; i<n; i++, spare++){
        chain_put(b, *spare, i+1<n ? spare[1] : SLOT_NONE, &row[i], false);
      }
      return VECDB_OK;
    }
    chain_put(b, at, i+1<n ? next : SLOT_NONE, &row[i], i==0);
  }
  while( next!=SLOT_NONE ){
    at = next;
    TRY( chain_next(b, &next, &n_left) );
    vdb_graph_block_empty(b, at);
  }
done:
  return rc;
}

/* ---- Equal vectors ------------------------------------------------------- */

struct new_row { uint64_t hash; uint32_t i, slot; };

static int new_row_compare(const void *a, const void *b){
  const struct new_row *x = a, *y = b;
  if( x->hash!=y->hash ) return x->hash<y->hash ? -1 : 1;
  return x->i<y->i ? -1 : x->i>y->i;
}

struct joiner {
  struct graph_builder *b;
  struct new_row *row;                 /* by hash, then order */
  uint32_t n;
  uint32_t *node;                      /* by first row of a group: old node */
  uint64_t *filter;                    /* bitmap by low bits of hashes */
  uint64_t mask;
};

static int joiner_open(struct joiner *j, struct graph_builder *b){
  uint64_t n_bit = 1024;
  j->b = b;
  j->n = b->n_order;
  while( n_bit<(uint64_t)16*j->n ) n_bit *= 2;
  j->mask = n_bit-1;
  j->row = vdb_malloc_array((size_t)j->n+1, sizeof(*j->row));
  j->node = vdb_malloc_array((size_t)j->n+1, sizeof(*j->node));
  j->filter = vdb_calloc(n_bit/64, sizeof(*j->filter));
  if( !j->row || !j->node || !j->filter ) return VECDB_NOMEM;
  for(uint32_t i=0; i<j->n; i++){
    struct new_row *r = &j->row[i];
    r->i = i;
    r->slot = b->order[i];
    r->hash = vdb_graph_block_hash(b->g, build_block(b, r->slot));
    vdb_bit_set(j->filter, r->hash & j->mask);
    j->node[i] = SLOT_NONE;
  }
  qsort(j->row, j->n, sizeof(*j->row), new_row_compare);
  return VECDB_OK;
}

static void joiner_close(struct joiner *j){
  vdb_free(j->row);
  vdb_free(j->node);
  vdb_free(j->filter);
}

/* First new row of that hash, or n. */
static uint32_t joiner_search(const struct joiner *j, uint64_t hash){
  uint32_t lo = 0, hi = j->n;
  while( lo<hi ){
    uint32_t mid = lo+(hi-lo)/2;
    if( j->row[mid].hash<hash ) lo = mid+1;
    else hi = mid;
  }
  return lo<j->n && j->row[lo].hash==hash ? lo : j->n;
}

static void joiner_match(struct joiner *j){
  struct graph_builder *b = j->b;
  for(uint32_t s=0; s<b->insert->n_old; s++){
    uint64_t hash;
    if( !vdb_bit_get(b->insert->is_node, s)
     || vdb_bit_get(b->insert->is_new, s) ) continue;
    hash = vdb_graph_block_hash(b->g, build_block(b, s));
    if( !vdb_bit_get(j->filter, hash & j->mask) ) continue;
    for(uint32_t i=joiner_search(j, hash); i<j->n && j->row[i].hash==hash; i++){
      if( j->node[i]==SLOT_NONE
       && vdb_graph_block_equal(b->g, build_block(b, s),
                                build_block(b, j->row[i].slot)) ){
        j->node[i] = s;
      }
    }
  }
}

/* Rows lo..hi-1 are equal: a chain of the old node that one of them met, else
** of the first. */
static int joiner_chain(struct joiner *j, uint32_t lo, uint32_t hi){
  struct graph_builder *b = j->b;
  uint32_t head = j->node[lo], n = 0;
  uint32_t *slot = vdb_malloc_array(hi-lo, sizeof(*slot));
  struct graph_row *row = NULL;
  int rc = VECDB_OK;
  bool is_old = head!=SLOT_NONE;
  if( slot==NULL ) return VECDB_NOMEM;
  if( !is_old ) head = j->row[lo].slot;
  TRY( vdb_graph_chain_rows(b, head, &row, &n) );
  for(uint32_t i=lo+!is_old; i<hi; i++){
    const unsigned char *block = build_block(b, j->row[i].slot);
    struct graph_row *r;
    r = vdb_realloc(row, ((size_t)n+1)*sizeof(*row));
    if( r==NULL ) TRY( VECDB_NOMEM );
    row = r;
    row[n].key = get_u64(block+GRAPHBLOCK_KEY);
    row[n++].row = get_u32(block+GRAPHBLOCK_ROW);
    slot[i-lo-!is_old] = j->row[i].slot;
  }
  TRY( vdb_graph_chain_set(b, head, row, n, slot) );
done:
  vdb_free(slot);
  vdb_free(row);
  return rc;
}

int vdb_graph_join(struct graph_builder *b){
  struct joiner j = { 0 };
  uint32_t hi, n = 0;
  int rc;
  TRY( joiner_open(&j, b) );
  joiner_match(&j);
  for(uint32_t lo=0; lo<j.n; lo=hi){
    const unsigned char *first = build_block(b, j.row[lo].slot);
    for(hi=lo+1; hi<j.n && j.row[hi].hash==j.row[lo].hash
                 && vdb_graph_block_equal(b->g, first,
                                build_block(b, j.row[hi].slot)); hi++){}
    if( hi-lo>1 || j.node[lo]!=SLOT_NONE ) TRY( joiner_chain(&j, lo, hi) );
  }
  for(uint32_t i=0; i<b->n_order; i++){
    if( vdb_bit_get(b->insert->is_node, b->order[i]) ){
      b->order[n++] = b->order[i];
    }
  }
  b->n_order = n;
done:
  joiner_close(&j);
  return rc;
}
