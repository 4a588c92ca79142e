/* wal.c -- appending to the log: spill, commit, prepare, decide, restart.
**
** FORMAT   WALHDR, FRAME and COMMIT in pager/format.def. Reading is in
**          wal_scan.c, which also says when a frame is valid.
**
** A COMMIT, in this order (store.h calls it with the dirty pages):
**   1  the main file is synced if extents were written                    (W3)
**   2  PAGE frames and one COMMIT frame are appended, with few large writes
**   3  the log is synced (sync=full)           -- the moment of durability
**   4  the new state is published in shm       -- the moment of visibility
**
** Until 4 nobody else looks at what was appended, so undoing is moving the
** append position back. The exception is a COMMIT frame that may be in the
** file although the commit failed: recovery would find it. It is overwritten
** with zeros; if that fails too the connection is poisoned.
**
** INVARIANTS
**   W1  Frames up to the published end do not change until the log restarts.
**   W2  SHM.BACKFILL carries the generation of the log it speaks of and is
**       changed by compare-and-swap alone: a checkpoint that began before a
**       restart cannot mark frames of the new log as home. (Mutant M1.)
**   W3  An extent is synced before the COMMIT or PREPARE that names it.
**   W4  The log restarts only when every visible frame is home, nothing is
**       undecided and no reader needs it. The generation in SHM.BACKFILL moves
**       first; from then on a reader that comes reads the main file alone.
**       Readers that came before are in their slots (H2).
**   W5  Nothing moves the append position behind a PREPARE: it may be decided
**       by somebody else.
**   W6  FRAME.SEQ counts from 1 in each generation and is the frame's place
**       in the index.
**
** LOCKS    the write lock, in all functions.
*/
#include "util/common.h"
#include "util/crc32c.h"
#include "pager/fstore.h"

#define WAL_BUF_BYTES  (512u<<10)

/* ---- the buffer of frames ------------------------------------------------ */

static int buf_alloc(struct fstore *fs){
  size_t sz = 4*(FRAME_SIZE + (size_t)fs->sz_page);

  if( fs->buf ) return VECDB_OK;
  fs->sz_buf = sz>WAL_BUF_BYTES ? sz : WAL_BUF_BYTES;
  fs->buf = vdb_malloc(fs->sz_buf);
  return fs->buf ? VECDB_OK : VECDB_NOMEM;
}

/* There is something in it. */
static int buf_flush(struct fstore *fs){
  size_t n = fs->n_buf;

  fs->n_buf = 0;
  return fs->ops->write(fs->wal, fs->off_buf, fs->buf, n, fs->err);
}

static int frame_append(struct fstore *fs, unsigned kind, unsigned flags,
                        page_no pgno, txn_id txid, const void *payload){
  size_t n = vdb_frame_payload(fs, kind);
  unsigned char *b;
  uint32_t crc;
  int rc = VECDB_OK;

  if( fs->n_buf + FRAME_SIZE + n > fs->sz_buf ) TRY( buf_flush(fs) );
  if( fs->n_buf==0 ) fs->off_buf = fs->ix.off_end;
  b = fs->buf + fs->n_buf;
  memset(b, 0, FRAME_SIZE);
  put_u16(b + FRAME_KIND, (uint16_t)kind);
  put_u16(b + FRAME_FLAGS, (uint16_t)flags);
  put_u32(b + FRAME_PGNO, pgno);
  put_u64(b + FRAME_TXID, txid);
  put_u64(b + FRAME_SEQ, fs->ix.n+1);                               /* W6 */
  put_u64(b + FRAME_SALT, fs->ix.salt);
  memcpy(b + FRAME_SIZE, payload, n);
  crc = vdb_frame_crc(MUTANT(7, fs->ix.crc_header, fs->ix.crc), b,
                      b + FRAME_SIZE, n);
  put_u32(b + FRAME_CRC, crc);
  TRY( vdb_walindex_add(&fs->ix, pgno, FRAME_SIZE+n, crc) );
  fs->n_buf += FRAME_SIZE+n;
  fs->base.pager->n_frame++;
done:
  return rc;
}

static int pages_append(struct fstore *fs, struct cpage *const *pages,
                        size_t n){
  txn_id txid = fs->base.pager->snap.txid_write;
  int rc = VECDB_OK;

  for(size_t i=0; i<n && rc==VECDB_OK; i++){
    struct page *pg = &pages[i]->pub;
    vdb_page_seal(pg->data, fs->base.usable, pg->pgno, txid);
    rc = frame_append(fs, FRAME_PAGE, 0, pg->pgno, txid, pg->data);
  }
  return rc;
}

/* A COMMIT, PREPARE or ABORT frame. */
static int mark_append(struct fstore *fs, unsigned kind, unsigned flags,
                       txn_id txid, page_no n_page, const unsigned char host[16],
                       uint64_t token){
  unsigned char b[COMMIT_SIZE];

  memset(b, 0, sizeof(b));
  put_u32(b + COMMIT_NPAGE, n_page);
  put_u64(b + COMMIT_SYNCED, fs->log.synced);
  put_u64(b + COMMIT_TOKEN, token);
  memcpy(b + COMMIT_HOST, host, 16);
  return frame_append(fs, kind, flags, 0, txid, b);
}

int vdb_wal_sync(struct fstore *fs){
  struct pager *p = fs->base.pager;
  int rc;

  if( p->cfg.sync==VECDB_SYNC_OFF ) return VECDB_OK;
  p->n_sync++;
  rc = fs->ops->sync(fs->wal, fs->err);
  if( MUTANT(8, rc!=VECDB_OK, false) ) rc = fs->ops->sync(fs->wal, fs->err);
  if( rc!=VECDB_OK ) vdb_pager_poison(p);
  return rc;
}

/* Frames that were never synced must not be taken for rotten later on. */
int vdb_wal_sync_found(struct fstore *fs, struct log_state *st){
  int rc = vdb_wal_sync(fs);
  if( rc==VECDB_OK && fs->base.pager->cfg.sync!=VECDB_SYNC_OFF ){
    st->synced = st->n_frame;
  }
  return rc;
}

/* W3 */
static int extents_sync(struct fstore *fs){
  int rc = VECDB_OK;
  if( fs->is_main_dirty ) rc = MUTANT(6, VECDB_OK, vdb_header_sync(fs));
  if( rc==VECDB_OK ) fs->is_main_dirty = false;
  return rc;
}

/* ---- restart ------------------------------------------------------------- */

/* Claim the next generation in SHM.BACKFILL (W4). False: not now. */
static bool restart_claim(struct fstore *fs, uint64_t *w_old,
                          uint64_t *generation){
  const struct log_state *st = &fs->log;
  uint64_t w = fs->ops->shm_load(fs->shm, SHM_BACKFILL), w_new;

  *w_old = w;
  *generation = st->generation + 1;
  if( BACKFILL_GEN(w)==(uint32_t)*generation ) (*generation)++;
  w_new = BACKFILL(*generation, 0);
  if( st->off_end==0 ) return fs->ops->shm_cas(fs->shm, SHM_BACKFILL, w, w_new);
  if( st->n_frame==0 || st->prep_txid || BACKFILL_N(w)<st->n_visible
      || BACKFILL_GEN(w)!=(uint32_t)st->generation ){
    return false;
  }
  if( !fs->ops->shm_cas(fs->shm, SHM_BACKFILL, w, w_new) ) return false;
  if( vdb_slot_none_in_log(fs) ) return true;
  fs->ops->shm_cas(fs->shm, SHM_BACKFILL, w_new, w);
  return false;
}

/* The name of a new log, and that of a new main file beside it. */
static int names_sync(struct fstore *fs){
  struct pager *p = fs->base.pager;
  int rc;

  if( p->cfg.sync==VECDB_SYNC_OFF ) return VECDB_OK;
  rc = fs->ops->sync_dir(fs->ops->env, fs->path, fs->err);
  if( rc!=VECDB_OK ) vdb_pager_poison(p);
  return rc;
}

/* Open the log, empty it if it is another's, make its name durable. A log
** that is there without a valid header may be of somebody who died before he
** had done that. */
static int restart_open(struct fstore *fs){
  uint64_t sz = 0;
  int rc = VECDB_OK;

  TRY( vdb_wal_open(fs, true) );
  TRY( fs->ops->size(fs->wal, &sz, fs->err) );
  if( sz>0 && fs->log.off_end==0 ){
    /* Else a torn header in front of its frames would look like rot. */
    TRY( fs->ops->truncate(fs->wal, 0, fs->err) );
    TRY( vdb_wal_sync(fs) );
  }
  if( fs->log.off_end==0 ) TRY( names_sync(fs) );
done:
  return rc;
}

static int restart_write(struct fstore *fs, uint64_t generation,
                         struct log_state *st){
  unsigned char b[WALHDR_SIZE];
  int rc = VECDB_OK;

  TRY( vdb_header_read(fs, &fs->header) );
  TRY( restart_open(fs) );
  vdb_pager_random(fs->base.pager, fs->header.salt, &st->salt, 8);
  vdb_wal_header_encode(fs, b, generation, st->salt, st->txid);
  TRY( fs->ops->write(fs->wal, 0, b, sizeof(b), fs->err) );
  TRY( vdb_wal_sync(fs) );
  st->crc = get_u32(b + WALHDR_CRC);
  st->off_end = WALHDR_SIZE;
done:
  return rc;
}

int vdb_wal_restart(struct fstore *fs, bool *done){
  struct log_state st = fs->log;
  uint64_t w_old, generation;
  int rc;

  *done = false;
  if( !restart_claim(fs, &w_old, &generation) ) return VECDB_OK;
  st.generation = generation;
  st.n_frame = st.n_visible = st.synced = st.off_end = 0;
  st.prep_txid = 0;
  rc = restart_write(fs, generation, &st);
  if( rc!=VECDB_OK ) st.off_end = 0;   /* all is home: there is no log now */
  vdb_shm_publish(fs, &st);
  if( fs->cache_txid==st.txid ){
    fs->cache_generation = generation;
    fs->cache_frame = 0;
  }
  fs->log = st;
  fs->min_frame = fs->max_frame = 0;
  vdb_walindex_init(&fs->ix, generation, st.salt, st.crc);
  *done = rc==VECDB_OK;
  return rc;
}

/* ---- transactions -------------------------------------------------------- */

/* Before the first frame of a transaction: where does it go? */
static int append_begin(struct fstore *fs){
  bool done = false;
  int rc = VECDB_OK;

  if( fs->is_appending ) return VECDB_OK;
  TRY( buf_alloc(fs) );
  TRY( vdb_wal_restart(fs, &done) );
  if( fs->log.off_end==0 ){
    TRY( vdb_error(fs->err, VECDB_BUSY, "the log of %s is being changed; "
                   "retry", vdb_pager_name(fs->base.pager)) );
  }
  TRY( vdb_wal_follow(fs, &fs->log) );
  fs->is_appending = true;
  fs->n_base = fs->ix.n;
  fs->n_buf = 0;
done:
  return rc;
}

/* Frames after the first n never were. */
static void append_undo(struct fstore *fs, uint64_t n){
  fs->n_buf = 0;
  vdb_walindex_truncate(&fs->ix, n);
}

/* As append_undo, and the last frame, a COMMIT or PREPARE, may be in the file:
** recovery must not find it. A file that ends before it is left alone: on a
** full disk even zeros could not be written there. */
static void commit_undo(struct fstore *fs, uint64_t n){
  static const unsigned char zero[FRAME_SIZE];
  bool was_poisoned = fs->base.pager->is_poisoned;
  uint64_t off = fs->ix.frame[fs->ix.n-1].off, sz = 0;
  int rc = fs->ops->size(fs->wal, &sz, NULL);

  if( rc==VECDB_OK && sz<=off ){
    append_undo(fs, n);
    return;
  }
  if( rc==VECDB_OK ){
    rc = fs->ops->write(fs->wal, off, zero, sizeof(zero), NULL);
  }
  if( rc==VECDB_OK && !was_poisoned
      && fs->base.pager->cfg.sync==VECDB_SYNC_FULL ){
    rc = fs->ops->sync(fs->wal, NULL);
  }
  if( rc!=VECDB_OK ) vdb_pager_poison(fs->base.pager);
  append_undo(fs, n);
}

int vdb_wal_spill(struct fstore *fs, struct cpage *const *pages, size_t n){
  uint64_t n_before;
  int rc = VECDB_OK;

  TRY( append_begin(fs) );
  n_before = fs->ix.n;
  rc = pages_append(fs, pages, n);
  if( rc==VECDB_OK ) rc = buf_flush(fs);
  if( rc!=VECDB_OK ) append_undo(fs, n_before);
done:
  return rc;
}

/* The frames of the index are the log now. */
static void state_advance(struct fstore *fs, struct log_state *st,
                          bool is_synced){
  st->n_frame = fs->ix.n;
  st->off_end = fs->ix.off_end;
  st->crc = fs->ix.crc;
  if( is_synced ) st->synced = fs->ix.n;
  if( st->txid_used<fs->base.pager->snap.txid_write ){
    st->txid_used = fs->base.pager->snap.txid_write;
  }
}

/* Append the pages and a mark of kind COMMIT or PREPARE. */
static int transaction_append(struct fstore *fs, struct cpage *const *pages,
                              size_t n, unsigned kind, page_no n_page,
                              const unsigned char host[16], uint64_t token,
                              bool sync){
  uint64_t n_before;
  bool is_marked = false;
  int rc = VECDB_OK;

  TRY( extents_sync(fs) );
  TRY( append_begin(fs) );
  n_before = fs->ix.n;
  rc = pages_append(fs, pages, n);
  if( rc==VECDB_OK ){
    rc = mark_append(fs, kind, 0, fs->base.pager->snap.txid_write, n_page,
                     host, token);
  }
  is_marked = rc==VECDB_OK;
  if( rc==VECDB_OK && kind==FRAME_COMMIT ){
    rc = vdb_walindex_add_commit(&fs->ix, fs->base.pager->snap.txid_write,
                                 n_page, token);
  }
  if( rc==VECDB_OK ) rc = buf_flush(fs);
  if( rc==VECDB_OK && sync ) rc = vdb_wal_sync(fs);
  if( rc!=VECDB_OK && is_marked ) commit_undo(fs, n_before);
  else if( rc!=VECDB_OK ) append_undo(fs, n_before);
done:
  return rc;
}

/* The cache of the pager, this snapshot and the log agree on a new state. A
** commit that stays keeps all before it: the host has made them durable. */
static void commit_publish(struct fstore *fs, struct log_state *st,
                           txn_id txid, page_no n_page, bool undoable){
  st->txid = txid;
  if( !undoable ) st->txid_firm = txid;
  st->n_page = n_page;
  st->n_visible = st->n_frame;
  st->prep_txid = 0;
  vdb_shm_publish(fs, st);
  fs->log = *st;
  fs->cache_txid = txid;
  fs->cache_generation = st->generation;
  fs->cache_frame = st->n_visible;
}

int vdb_wal_commit(struct fstore *fs, struct cpage *const *pages, size_t n,
                   page_no n_page){
  struct pager *p = fs->base.pager;
  struct log_state st;
  unsigned char host[16];
  uint64_t token = 0;
  bool sync = MUTANT(5, false, p->cfg.sync==VECDB_SYNC_FULL);
  int rc = VECDB_OK;

  if( fs->n_prepared && n==0 && fs->ix.n==fs->n_prepared ){
    return vdb_wal_decide(fs, true, p->is_undoable);
  }
  TRY( vdb_undo_require(fs, "write") );
  TRY( vdb_root_get_token(p, host, &token) );
  TRY( transaction_append(fs, pages, n, FRAME_COMMIT, n_page, host, token,
                          sync) );
  st = fs->log;
  state_advance(fs, &st, sync);
  commit_publish(fs, &st, p->snap.txid_write, n_page, false);
done:
  return rc;
}

int vdb_wal_prepare(struct fstore *fs, struct cpage *const *pages, size_t n,
                    page_no n_page, const unsigned char host[16],
                    uint64_t token){
  struct pager *p = fs->base.pager;
  struct log_state st;
  bool sync = p->cfg.sync!=VECDB_SYNC_OFF;
  int rc = VECDB_OK;

  TRY( transaction_append(fs, pages, n, FRAME_PREPARE, n_page, host, token,
                          sync) );
  st = fs->log;
  state_advance(fs, &st, sync);
  st.prep_txid = p->snap.txid_write;
  st.prep_n_page = n_page;
  st.prep_token = token;
  memcpy(st.prep_host, host, 16);
  vdb_shm_publish(fs, &st);
  fs->log = st;
  fs->n_prepared = fs->ix.n;
done:
  return rc;
}

/* The decision needs no sync of ours: the host has made it durable, or may
** lose it (undoable). */
int vdb_wal_decide(struct fstore *fs, bool commit, bool undoable){
  struct log_state st;
  txn_id txid = fs->log.prep_txid;
  page_no n_page = commit ? fs->log.prep_n_page : fs->log.n_page;
  uint64_t n_before;
  int rc = VECDB_OK;

  assert( txid!=0 );
  TRY( append_begin(fs) );
  if( fs->n_prepared ) append_undo(fs, fs->n_prepared);
  n_before = fs->ix.n;
  rc = mark_append(fs, commit ? FRAME_COMMIT : FRAME_ABORT,
                   commit && undoable ? FRAME_UNDOABLE : 0, txid, n_page,
                   fs->log.prep_host, fs->log.prep_token);
  if( rc==VECDB_OK && commit ){
    rc = vdb_walindex_add_commit(&fs->ix, txid, n_page, fs->log.prep_token);
  }
  if( rc==VECDB_OK ) rc = buf_flush(fs);
  if( rc!=VECDB_OK ){
    append_undo(fs, n_before);
    goto done;
  }
  st = fs->log;
  state_advance(fs, &st, false);
  if( commit ){
    commit_publish(fs, &st, txid, n_page, undoable);
  }else{
    vdb_walindex_abort(&fs->ix);
    st.prep_txid = 0;
    vdb_shm_publish(fs, &st);
    fs->log = st;
  }
done:
  return rc;
}

void vdb_wal_undo(struct fstore *fs, uint64_t mark){
  uint64_t n = fs->n_base + mark;

  if( !fs->is_appending ) return;
  if( n<fs->n_prepared ){                                           /* W5 */
    n = fs->n_prepared;
    fs->base.pager->no_reuse = true;                                /* A4 */
  }
  if( fs->ix.n>n ) append_undo(fs, n);
}

/* End a transaction that does not commit. A PREPARE is taken back; when even
** that fails it stays undecided. */
void vdb_wal_rollback(struct fstore *fs){
  if( fs->n_prepared && !fs->base.pager->is_poisoned ){
    (void)vdb_wal_decide(fs, false, false);
  }
  if( fs->is_appending ) append_undo(fs, fs->log.n_frame);
  fs->is_appending = fs->is_main_dirty = false;
  fs->n_prepared = 0;
}
