/* walindex.c -- page number -> newest frame, with the way back to older ones.
**
** INVARIANTS
**   X1  slot of page p holds the newest frame f of p; frame[f].prev is the
**       next older one, and so on to 0. Numbers fall along the chain.
**   X2  Frames leave in the reverse of the order in which they came, so the
**       one that leaves is the newest of its page: its slot gets its prev. A
**       slot keeps its page even when no frame is left.
*/
#include "util/common.h"
#include "util/mem.h"
#include "pager/format.h"
#include "pager/walindex.h"

#define SLOT_MIN  64

static size_t slot_of(const struct walindex *ix, page_no pgno){
  size_t i = (pgno * 0x9e3779b1u >> 5) & (ix->n_slot_cap-1);
  while( ix->slot[i].pgno!=0 && ix->slot[i].pgno!=pgno ){
    i = (i+1) & (ix->n_slot_cap-1);
  }
  return i;
}

static int slots_grow(struct walindex *ix){
  struct walindex old = *ix;
  size_t n_cap = old.n_slot_cap ? old.n_slot_cap*2 : SLOT_MIN;

  ix->slot = vdb_calloc(n_cap, sizeof(*ix->slot));
  if( ix->slot==NULL ){
    ix->slot = old.slot;
    return VECDB_NOMEM;
  }
  ix->n_slot_cap = n_cap;
  for(size_t i=0; i<old.n_slot_cap; i++){
    if( old.slot[i].pgno ){
      ix->slot[slot_of(ix, old.slot[i].pgno)] = old.slot[i];
    }
  }
  vdb_free(old.slot);
  return VECDB_OK;
}

void vdb_walindex_init(struct walindex *ix, uint64_t generation,
                       uint64_t salt, uint32_t crc_header){
  ix->generation = generation;
  ix->salt = salt;
  ix->crc = ix->crc_header = crc_header;
  ix->off_end = WALHDR_SIZE;
  ix->n = ix->n_commit = ix->n_slot = 0;
  ix->n_decided = 0;
  if( ix->slot ) memset(ix->slot, 0, ix->n_slot_cap*sizeof(*ix->slot));
}

void vdb_walindex_clear(struct walindex *ix){
  vdb_free(ix->frame);
  vdb_free(ix->commit);
  vdb_free(ix->slot);
  memset(ix, 0, sizeof(*ix));
}

int vdb_walindex_add(struct walindex *ix, page_no pgno, size_t sz,
                     uint32_t crc){
  struct frame_ref ref = { pgno, 0, ix->off_end, crc };
  int rc = VECDB_OK;

  if( ix->n==WALINDEX_MAX ) return VECDB_FULL;
  TRY( vdb_grow(&ix->frame, &ix->n_cap, ix->n+1, sizeof(*ix->frame)) );
  if( pgno!=0 ){
    size_t i;
    if( 2*(ix->n_slot+1)>ix->n_slot_cap ) TRY( slots_grow(ix) );
    i = slot_of(ix, pgno);
    if( ix->slot[i].pgno==0 ) ix->n_slot++;
    ref.prev = ix->slot[i].i_frame;
    ix->slot[i].pgno = pgno;
    ix->slot[i].i_frame = (uint32_t)(ix->n+1);
  }
  ix->frame[ix->n++] = ref;
  ix->off_end += sz;
  ix->crc = crc;
done:
  return rc;
}

int vdb_walindex_add_commit(struct walindex *ix, txn_id txid, page_no n_page,
                            uint64_t token){
  struct commit_ref c = { (uint32_t)ix->n, n_page, txid, token };
  int rc = vdb_grow(&ix->commit, &ix->n_commit_cap, ix->n_commit+1,
                    sizeof(*ix->commit));
  if( rc==VECDB_OK ){
    ix->commit[ix->n_commit++] = c;
    ix->n_decided = c.i_frame;
  }
  return rc;
}

const struct commit_ref *vdb_walindex_commit(const struct walindex *ix,
                                             txn_id txid){
  size_t lo = 0, hi = ix->n_commit;             /* numbers ascend */
  while( lo<hi ){
    size_t mid = lo + (hi-lo)/2;
    if( ix->commit[mid].txid<=txid ) lo = mid+1;
    else hi = mid;
  }
  return lo ? &ix->commit[lo-1] : NULL;
}

/* X2 for frame i. */
static void frame_unlink(struct walindex *ix, size_t i){
  struct frame_ref *ref = &ix->frame[i-1];
  if( ref->pgno==0 ) return;
  ix->slot[slot_of(ix, ref->pgno)].i_frame = ref->prev;
  ref->pgno = 0;
}

void vdb_walindex_abort(struct walindex *ix){
  for(size_t i=ix->n; i>ix->n_decided; i--) frame_unlink(ix, i);
  ix->n_decided = (uint32_t)ix->n;
}

void vdb_walindex_truncate(struct walindex *ix, size_t n){
  while( ix->n>n ){
    frame_unlink(ix, ix->n);
    ix->off_end = ix->frame[--ix->n].off;
  }
  ix->crc = n ? ix->frame[n-1].crc : ix->crc_header;
  while( ix->n_commit && ix->commit[ix->n_commit-1].i_frame>n ) ix->n_commit--;
  if( ix->n_decided>n ){
    ix->n_decided = ix->n_commit ? ix->commit[ix->n_commit-1].i_frame : 0;
  }
}

uint32_t vdb_walindex_find(const struct walindex *ix, page_no pgno,
                           uint64_t lo, uint64_t hi){
  uint32_t i;
  if( ix->n_slot==0 || lo>=hi ) return 0;
  i = ix->slot[slot_of(ix, pgno)].i_frame;
  while( i>hi ) i = ix->frame[i-1].prev;
  return i>lo ? i : 0;
}
