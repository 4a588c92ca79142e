/* shm.c -- shared memory: the published state of the log, and reader slots.
**
** PUBLISHING  The state is written twice, HDRB before HDRA, each with a hash
** over its words. A reader takes HDRA, or HDRB while HDRA is being written.
** A writer that dies in between leaves at least one good copy: the old state
** if it had not finished HDRB, the new one if it had begun HDRA. The word
** CHANGE of HDRA is written before the rest of HDRA:
**
**   H1  Whoever has seen a state through HDRA, or through HDRB while HDRA was
**       bad, finds that state's CHANGE in HDRA until the next one is published.
**
** READER SLOTS  A slot word names a state that somebody reads: txid*2, plus 1
** when only the main file is read; SLOT_USED says that nobody does. Whoever
** reads holds the lock of its byte, so a slot of the dead is free at once.
**
** The first N_OWN slots are owned: a connection locks one exclusively when it
** first reads and keeps it until it closes. Then claiming is setting the word,
** and giving back is setting it to SLOT_USED: no calls of the system, which
** would cost as much as a small search. Connections that find none free share
** the others: lock a slot with the right word shared and look again, or lock
** any free one exclusively, set it, and make the lock shared.
**
** Either way, then look whether the state is still the newest:
**
**   H2  The slot was visible before HDRA.CHANGE was read again and found
**       unchanged. A checkpointer that wants to go beyond this state has read
**       a later HDRA, hence looks at the slots after they showed this one.
**       (Mutant M2 leaves the second look out.)
**   H3  Slots of either kind are claimed from the front; a word of 0 was never
**       used and ends every walk over its kind. Whoever passes a slot by
**       because it is locked leaves a word other than 0 there: its holder may
**       not have come to set it.
**   H4  The word of an owned slot is set by its owner alone while it is
**       locked, and nobody can share it.
*/
#include "util/common.h"
#include "util/rng.h"
#include "pager/fstore.h"

#define HDR_WORDS   (SHMHDR_SIZE/8)
#define READ_TRIES  100
#define OWN_RETRY   1000            /* reads before one asks again */

static uint64_t hdr_hash(const uint64_t *w){
  uint64_t h = 0x76656364622d7368u;
  for(size_t i=0; i<HDR_WORDS-1; i++) h = vdb_mix64(h ^ w[i]) + i;
  return h;
}

static void state_encode(const struct log_state *st, uint64_t *w){
  memset(w, 0, SHMHDR_SIZE);
  w[SHMHDR_CHANGE/8] = st->change;
  w[SHMHDR_GENERATION/8] = st->generation;
  w[SHMHDR_SALT/8] = st->salt;
  w[SHMHDR_NFRAME/8] = st->n_frame;
  w[SHMHDR_NVISIBLE/8] = st->n_visible;
  w[SHMHDR_OFFEND/8] = st->off_end;
  w[SHMHDR_CRC/8] = st->crc;
  w[SHMHDR_TXID/8] = st->txid;
  w[SHMHDR_TXIDUSED/8] = st->txid_used;
  w[SHMHDR_TXIDFIRM/8] = st->txid_firm;
  w[SHMHDR_NPAGE/8] = st->n_page;
  w[SHMHDR_SYNCED/8] = st->synced;
  w[SHMHDR_PREPTXID/8] = st->prep_txid;
  w[SHMHDR_PREPNPAGE/8] = st->prep_n_page;
  w[SHMHDR_PREPTOKEN/8] = st->prep_token;
  memcpy(&w[SHMHDR_PREPHOST/8], st->prep_host, 16);
  w[SHMHDR_CHECK/8] = hdr_hash(w);
}

static void state_decode(const uint64_t *w, struct log_state *st){
  st->change = w[SHMHDR_CHANGE/8];
  st->generation = w[SHMHDR_GENERATION/8];
  st->salt = w[SHMHDR_SALT/8];
  st->n_frame = w[SHMHDR_NFRAME/8];
  st->n_visible = w[SHMHDR_NVISIBLE/8];
  st->off_end = w[SHMHDR_OFFEND/8];
  st->crc = (uint32_t)w[SHMHDR_CRC/8];
  st->txid = w[SHMHDR_TXID/8];
  st->txid_used = w[SHMHDR_TXIDUSED/8];
  st->txid_firm = w[SHMHDR_TXIDFIRM/8];
  st->n_page = (page_no)w[SHMHDR_NPAGE/8];
  st->synced = w[SHMHDR_SYNCED/8];
  st->prep_txid = w[SHMHDR_PREPTXID/8];
  st->prep_n_page = (page_no)w[SHMHDR_PREPNPAGE/8];
  st->prep_token = w[SHMHDR_PREPTOKEN/8];
  memcpy(st->prep_host, &w[SHMHDR_PREPHOST/8], 16);
}

/* Could a writer have published this? The hash is no secret, so whoever may
** write shared memory can make it right; what follows from the state (page
** numbers, offsets, sizes of tables) must not depend on their good will. */
static bool state_is_sane(const struct fstore *fs, const uint64_t *w){
  uint64_t n_frame = w[SHMHDR_NFRAME/8], off = w[SHMHDR_OFFEND/8];
  uint64_t txid = w[SHMHDR_TXID/8], used = w[SHMHDR_TXIDUSED/8];
  uint64_t prep = w[SHMHDR_PREPTXID/8], pg_first = fs->base.pg_first;

  if( w[SHMHDR_NPAGE/8]<=pg_first || w[SHMHDR_NPAGE/8]>UINT32_MAX ) return false;
  if( txid>used || used>=TXID_MAX ) return false;
  if( n_frame>UINT32_MAX || w[SHMHDR_NVISIBLE/8]>n_frame
      || w[SHMHDR_SYNCED/8]>n_frame || w[SHMHDR_CRC/8]>UINT32_MAX ){
    return false;
  }
  if( prep!=0 && (prep<=txid || prep>used || w[SHMHDR_PREPNPAGE/8]<=pg_first
                  || w[SHMHDR_PREPNPAGE/8]>UINT32_MAX) ) return false;
  if( off==0 ) return n_frame==0;
  return off>=WALHDR_SIZE + n_frame*(FRAME_SIZE+COMMIT_SIZE)
      && off<=WALHDR_SIZE + n_frame*(FRAME_SIZE+(uint64_t)fs->sz_page);
}

static bool hdr_load(struct fstore *fs, size_t off, uint64_t *w){
  for(size_t i=0; i<HDR_WORDS; i++) w[i] = fs->ops->shm_load(fs->shm, off+8*i);
  return w[SHMHDR_CHANGE/8]!=0 && w[SHMHDR_CHECK/8]==hdr_hash(w)
      && state_is_sane(fs, w);
}

/* Both copies bad: a writer died while it began a file, the bytes were
** damaged, or somebody lies. Whoever gets the write lock rebuilds them from the log. */
static int hdr_rebuild(struct fstore *fs){
  int rc;

  if( fs->has_write ) return vdb_fstore_recover_shared(fs);
  rc = fs->ops->lock(fs->shm, LOCK_WRITER, LOCK_EXCLUSIVE, NULL);
  if( rc==VECDB_BUSY ) return rc;
  if( rc==VECDB_OK ){
    rc = vdb_fstore_recover_shared(fs);
    fs->ops->unlock(fs->shm, LOCK_WRITER);
  }
  return rc;
}

int vdb_shm_read(struct fstore *fs, struct log_state *out){
  struct deadline d = vdb_deadline(fs, fs->base.pager->cfg.busy_ms);
  uint64_t w[HDR_WORDS];
  int rc = VECDB_OK;

  for(unsigned n_try=0; ; n_try++){
    if( hdr_load(fs, SHM_HDRA, w) || hdr_load(fs, SHM_HDRB, w) ) break;
    if( n_try<READ_TRIES ) continue;
    rc = hdr_rebuild(fs);
    if( rc==VECDB_BUSY && !vdb_deadline_wait(fs, &d) ){
      return vdb_error(fs->err, VECDB_BUSY_RECOVERY, "cannot read %s: another "
                       "connection is recovering it; retry or set busy_ms",
                       vdb_pager_name(fs->base.pager));
    }
    if( rc!=VECDB_OK && rc!=VECDB_BUSY ) return rc;
  }
  state_decode(w, out);
  return VECDB_OK;
}

uint64_t vdb_shm_change(struct fstore *fs){
  return fs->ops->shm_load(fs->shm, SHM_HDRA + SHMHDR_CHANGE);
}

void vdb_shm_publish(struct fstore *fs, struct log_state *st){
  static const size_t copy[2] = { SHM_HDRB, SHM_HDRA };
  uint64_t w[HDR_WORDS];

  st->change++;
  state_encode(st, w);
  for(int k=0; k<2; k++){
    for(size_t i=0; i<HDR_WORDS; i++){
      fs->ops->shm_store(fs->shm, copy[k]+8*i, w[i]);
    }
    fs->ops->shm_barrier(fs->shm);
  }
}

/* ---- reader slots -------------------------------------------------------- */

static size_t slot_offset(int i){ return SHM_SLOTS + 8*(size_t)i; }

static uint64_t slot_load(struct fstore *fs, int i){
  return fs->ops->shm_load(fs->shm, slot_offset(i));
}

/* Lock a slot that nobody holds, out of [lo,hi), and set its word. BUSY: all
** are held. */
static int slot_lock(struct fstore *fs, int lo, int hi, uint64_t word,
                     int *out){
  int rc = VECDB_BUSY;

  for(int i=lo; i<hi; i++){
    rc = fs->ops->lock(fs->shm, LOCK_SLOT(i), LOCK_EXCLUSIVE, NULL);
    if( rc==VECDB_BUSY ){
      (void)fs->ops->shm_cas(fs->shm, slot_offset(i), 0, SLOT_USED); /* H3 */
      continue;
    }
    if( rc!=VECDB_OK ) break;
    fs->ops->shm_store(fs->shm, slot_offset(i), word);
    *out = i;
    break;
  }
  return rc;
}

/* ---- owned slots */

/* Have a slot of our own, if there is one. Where all are taken, that is asked
** again now and then. */
static bool slot_own(struct fstore *fs){
  if( fs->i_own>=0 ) return true;
  if( fs->n_share>0 ){
    fs->n_share--;
    return false;
  }
  if( slot_lock(fs, 0, N_OWN, SLOT_USED, &fs->i_own)==VECDB_OK ) return true;
  fs->i_own = -1;
  fs->n_share = OWN_RETRY;
  return false;
}

/* ---- shared slots */

/* Share a slot that has the word already. */
static bool slot_share(struct fstore *fs, uint64_t word){
  for(int i=N_OWN; i<N_SLOT; i++){
    uint64_t w = slot_load(fs, i);
    if( w==0 ) break;                                               /* H3 */
    if( w!=word ) continue;
    if( fs->ops->lock(fs->shm, LOCK_SLOT(i), LOCK_SHARED, NULL)!=VECDB_OK ){
      continue;
    }
    if( slot_load(fs, i)==word ){
      fs->i_slot = i;
      return true;
    }
    fs->ops->unlock(fs->shm, LOCK_SLOT(i));
  }
  return false;
}

/* Take a slot that nobody holds. */
static int slot_take(struct fstore *fs, uint64_t word){
  int i = -1, rc = slot_lock(fs, N_OWN, N_SLOT, word, &i);

  if( rc!=VECDB_OK ) return rc;
  rc = fs->ops->lock(fs->shm, LOCK_SLOT(i), LOCK_SHARED, NULL);
  if( rc==VECDB_OK ) fs->i_slot = i;
  else fs->ops->unlock(fs->shm, LOCK_SLOT(i));
  return rc;
}

/* ---- either */

int vdb_slot_claim(struct fstore *fs, txn_id txid, bool main_only){
  uint64_t word = SLOT_WORD(txid, main_only);
  int rc;

  assert( fs->i_slot<0 );
  if( slot_own(fs) ){
    fs->ops->shm_store(fs->shm, slot_offset(fs->i_own), word);      /* H4 */
    fs->i_slot = fs->i_own;
    return VECDB_OK;
  }
  if( slot_share(fs, word) ) return VECDB_OK;
  rc = slot_take(fs, word);
  if( rc==VECDB_BUSY ){
    rc = vdb_error(fs->err, rc, "cannot read %s: %d snapshots are held; end "
                   "a transaction and retry", vdb_pager_name(fs->base.pager),
                   N_SLOT);
  }else if( rc!=VECDB_OK ){
    rc = vdb_error(fs->err, rc, "cannot lock a reader slot of %s",
                   vdb_pager_name(fs->base.pager));
  }
  return rc;
}

void vdb_slot_release(struct fstore *fs){
  int i = fs->i_slot;

  if( i<0 ) return;
  fs->i_slot = -1;
  if( fs->ops->pid(fs->ops->env)!=fs->base.pager->pid ) return;  /* P4 */
  if( i==fs->i_own ) fs->ops->shm_store(fs->shm, slot_offset(i), SLOT_USED);
  else fs->ops->unlock(fs->shm, LOCK_SLOT(i));
}

/* Does somebody hold slot i? A slot of the dead is set free. The own lock is
** no obstacle to an exclusive one, so our slots are asked for apart; one that
** we own stays ours, whatever its word says (H4). */
static bool slot_is_held(struct fstore *fs, int i){
  int rc;

  if( i==fs->i_slot ) return true;
  if( i==fs->i_own ){
    fs->ops->shm_store(fs->shm, slot_offset(i), SLOT_USED);
    return false;
  }
  rc = fs->ops->lock(fs->shm, LOCK_SLOT(i), LOCK_EXCLUSIVE, NULL);
  if( rc!=VECDB_OK ) return true;               /* also when it cannot tell */
  fs->ops->shm_store(fs->shm, slot_offset(i), SLOT_USED);
  fs->ops->unlock(fs->shm, LOCK_SLOT(i));
  return false;
}

/* The slot after i on a walk over all; w is the word of i. */
static int slot_next(int i, uint64_t w){
  if( w!=0 ) return i+1;
  return i<N_OWN ? N_OWN : N_SLOT;                                  /* H3 */
}

txn_id vdb_slot_oldest(struct fstore *fs, txn_id limit){
  uint64_t w;

  for(int i=0; i<N_SLOT; i=slot_next(i, w)){
    w = slot_load(fs, i);
    if( MUTANT(3, i==1, 0) ) continue;
    if( w<=SLOT_USED || w>>1>=limit || !slot_is_held(fs, i) ) continue;
    limit = w>>1;
  }
  return limit;
}

/* Our own slot reads the log: turn it into one that reads the main file
** alone, if we do not share it. */
static bool own_slot_leaves_log(struct fstore *fs){
  size_t off = slot_offset(fs->i_slot);
  uint64_t lock = LOCK_SLOT(fs->i_slot);

  if( fs->i_slot==fs->i_own ){
    fs->ops->shm_store(fs->shm, off, fs->ops->shm_load(fs->shm, off) | 1);
    return true;
  }
  if( fs->ops->lock(fs->shm, lock, LOCK_EXCLUSIVE, NULL)!=VECDB_OK ){
    return false;
  }
  fs->ops->shm_store(fs->shm, off, fs->ops->shm_load(fs->shm, off) | 1);
  return fs->ops->lock(fs->shm, lock, LOCK_SHARED, NULL)==VECDB_OK;
}

bool vdb_slot_none_in_log(struct fstore *fs){
  uint64_t w;

  for(int i=0; i<N_SLOT; i=slot_next(i, w)){
    w = slot_load(fs, i);
    if( w==0 || (w & 1) ) continue;             /* main file alone, or free */
    if( i==fs->i_slot ? !own_slot_leaves_log(fs) : slot_is_held(fs, i) ){
      return false;
    }
  }
  return true;
}
