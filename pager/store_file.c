/* store_file.c -- the page store of a .vdb file: snapshots and transactions.
**
** A connection owns its descriptors, mappings, index of the log and everything
** else; it meets others in the files alone (decision 0001). What they share is
** the published state of the log (SHMHDR), the word {generation, backfill},
** reader slots and locks.
**
** A SNAPSHOT is a txid and an interval of frames (min_frame, max_frame]: the
** newest frame of a page within it, else the main file. Frames up to min_frame
** were home when the snapshot began. When everything was home the interval is
** empty, and the reader says so in its slot: the log may restart under it.
**
** INVARIANTS
**   F1  While a slot names state s, no checkpoint brings a later frame home:
**       the main file gives every page that no frame of the interval gives.
**   F2  A log reader's generation does not end while its slot is held (W4).
**   F3  The pager's cache is valid for cache_txid. Following the log from
**       cache_frame on tells what to drop; if that is impossible, all is.
**   F4  In WRITE the state read is the newest, and stays it.
**   F5  Nobody writes a file that its path does not name any more: the log
**       would be found beside whatever is there now.
**
** Frames whose transaction is home (txid <= HDRSLOT.TXID) are never read by
** anybody who begins afterwards: their pages may have become part of an extent
** meanwhile, which is in the main file alone (A3 in alloc.c). min_frame does
** that for readers and backups, ckpt.c for checkpoints, life.c for recovery.
*/
#include "util/common.h"
#include "pager/fstore.h"

#define SNAPSHOT_TRIES  20          /* before it waits in between */

/* ---- snapshots ----------------------------------------------------------- */

/* F3. An index of this generation has followed the state. */
static void cache_follow(struct fstore *fs){
  const struct log_state *st = &fs->log;
  const struct walindex *ix = &fs->ix;

  if( st->txid==fs->cache_txid ) return;
  if( st->off_end && ix->generation==st->generation
      && fs->cache_generation==st->generation
      && fs->cache_frame<=st->n_visible ){
    for(uint64_t i=fs->cache_frame; i<st->n_visible; i++){
      page_no pgno = ix->frame[i].pgno;
      if( pgno ) vdb_pager_forget(fs->base.pager, pgno);
    }
  }else{
    vdb_pager_forget(fs->base.pager, 0);
  }
  fs->cache_txid = st->txid;
  fs->cache_generation = st->generation;
  fs->cache_frame = st->n_visible;
}

/* Claim a slot for the newest state. *again: it is not the newest any more. */
static int snapshot_try(struct fstore *fs, bool *again){
  struct log_state *st = &fs->log;
  uint64_t w;
  bool main_only;
  int rc = VECDB_OK;

  TRY( vdb_shm_read(fs, st) );
  w = fs->ops->shm_load(fs->shm, SHM_BACKFILL);
  main_only = st->n_visible==0 || BACKFILL_GEN(w)!=(uint32_t)st->generation
           || BACKFILL_N(w)>=st->n_visible;
  fs->max_frame = st->n_visible;
  fs->min_frame = main_only ? st->n_visible : BACKFILL_N(w);
  TRY( vdb_slot_claim(fs, st->txid, main_only) );
  *again = false;
  if( MUTANT(2, true, false) ) goto done;
  if( vdb_shm_change(fs)!=st->change ) *again = true;               /* H2 */
  if( !main_only && !*again ){
    w = fs->ops->shm_load(fs->shm, SHM_BACKFILL);
    if( BACKFILL_GEN(w)!=(uint32_t)st->generation ) *again = true;  /* W4 */
  }
  if( *again ) vdb_slot_release(fs);
done:
  return rc;
}

static int snapshot_take(struct fstore *fs){
  struct deadline d = vdb_deadline(fs, 1000);
  bool again = true;
  int rc = VECDB_OK;

  for(unsigned i=0; again; i++){
    TRY( snapshot_try(fs, &again) );
    if( again && i>SNAPSHOT_TRIES && !vdb_deadline_wait(fs, &d) ){
      TRY( vdb_error(fs->err, VECDB_BUSY, "cannot read %s: it changes too "
                     "quickly; retry", vdb_pager_name(fs->base.pager)) );
    }
  }
  /* A reader of the main file alone does without the index, unless it is
  ** cheap to keep up. */
  if( fs->min_frame<fs->max_frame
      || fs->ix.generation==fs->log.generation ){
    TRY( vdb_wal_follow(fs, &fs->log) );
  }
  cache_follow(fs);
done:
  if( rc!=VECDB_OK ) vdb_slot_release(fs);
  return rc;
}

static int file_begin_read(struct page_store *s, struct snapshot *out){
  struct fstore *fs = fstore_of(s);
  int rc = VECDB_OK;

  if( fs->mode==FSTORE_SHARED ) TRY( snapshot_take(fs) );
  else TRY( vdb_view_begin_read(fs) );
  out->txid = out->version = fs->log.txid;
  out->txid_write = 0;
  out->n_page = fs->log.n_page;
done:
  return rc;
}

static void file_end_read(struct page_store *s){
  struct fstore *fs = fstore_of(s);
  if( fs->mode==FSTORE_SHARED ) vdb_slot_release(fs);
  else vdb_view_end_read(fs);
}

static int frame_payload_read(struct fstore *fs, uint32_t i_frame, void *buf){
  return vdb_file_read_full(fs->wal, fs->ix.frame[i_frame-1].off + FRAME_SIZE,
                            buf, fs->sz_page, fs->err);
}

/* A recovery that failed while a snapshot was held leaves the index behind the
** snapshot: without its frames older pages would be found. */
static int index_mend(struct fstore *fs){
  if( fs->min_frame>=fs->max_frame || fs->mode!=FSTORE_SHARED
      || (fs->ix.generation==fs->log.generation
          && fs->ix.n>=fs->max_frame) ){
    return VECDB_OK;
  }
  return vdb_wal_follow(fs, &fs->log);
}

int vdb_fstore_read_page(struct page_store *s, page_no pgno, void *buf){
  struct fstore *fs = fstore_of(s);
  uint64_t hi = fs->is_appending ? fs->ix.n : fs->max_frame;
  uint32_t i;
  size_t n = 0;
  int rc = index_mend(fs);

  if( rc!=VECDB_OK ) return rc;
  i = vdb_walindex_find(&fs->ix, pgno, fs->min_frame, hi);
  if( i ) return frame_payload_read(fs, i, buf);
  if( vdb_map_read(fs, page_offset(fs, pgno), buf, fs->sz_page) ){
    return VECDB_OK;
  }
  rc = fs->ops->read(fs->main, page_offset(fs, pgno), buf, fs->sz_page, &n,
                     fs->err);
  if( rc==VECDB_OK && n<fs->sz_page ) rc = VECDB_NOTFOUND;
  return rc;
}

/* ---- write transactions -------------------------------------------------- */

/* The log is far too long because something is in the way of a restart: wait
** for it before making the log longer still. */
static void restrain_log(struct fstore *fs){
  struct pager *p = fs->base.pager;
  struct log_state st;

  if( p->state!=PAGER_NONE || vdb_shm_read(fs, &st)!=VECDB_OK ) return;
  if( st.off_end/64<p->cfg.sz_wal_auto || st.prep_txid ) return;
  (void)vdb_ckpt_run(fs, VECDB_CHECKPOINT_RESTART, p->cfg.busy_ms, NULL, NULL);
}

static int file_lock_write(struct page_store *s){
  struct fstore *fs = fstore_of(s);
  int rc = vdb_lock_writer(fs, s->pager->cfg.busy_ms);

  if( rc==VECDB_OK ) restrain_log(fs);
  if( rc==VECDB_OK && s->pager->is_poisoned ){
    vdb_unlock_writer(fs);
    rc = VECDB_IOERR_SYNC;
  }
  return rc;
}

static void file_unlock_write(struct page_store *s){
  vdb_unlock_writer(fstore_of(s));
}

static int in_doubt_error(struct fstore *fs, const struct log_state *st){
  return vdb_error(fs->err, VECDB_BUSY_INDOUBT, "cannot write %s: the prepared "
                   "transaction with token %llu is undecided; decide it first",
                   vdb_pager_name(fs->base.pager),
                   (unsigned long long)st->prep_token);
}

static int file_begin_write(struct page_store *s, struct snapshot *io){
  struct fstore *fs = fstore_of(s);
  struct log_state st;
  int rc = VECDB_OK;

  if( !vdb_fstore_path_is_ours(fs) ){                               /* F5 */
    TRY( vdb_error(fs->err, VECDB_READONLY, "cannot write %s: it was moved, "
                   "replaced or removed since it was opened; open it again",
                   vdb_pager_name(s->pager)) );
  }
  TRY( vdb_shm_read(fs, &st) );
  if( st.txid!=io->txid ){                                          /* F4 */
    TRY( vdb_error(fs->err, VECDB_BUSY_SNAPSHOT, "cannot write %s: it was "
                   "changed since this transaction began; begin it anew",
                   vdb_pager_name(s->pager)) );
  }
  if( st.prep_txid ){
    rc = in_doubt_error(fs, &st);
    goto done;
  }
  if( s->pager->host_fn==NULL ) TRY( vdb_undo_require(fs, "write") );
  if( st.generation!=fs->log.generation ){
    /* The log restarted under a reader of the main file alone, and whoever did
    ** it rolled back. */
    fs->min_frame = fs->max_frame = st.n_visible;
  }
  fs->log = st;
  fs->recycle_limit = 0;
  io->txid_write = (st.txid_used>st.txid ? st.txid_used : st.txid) + 1;
done:
  return rc;
}

static int file_spill(struct page_store *s, struct cpage *const *pages,
                      size_t n){
  return vdb_wal_spill(fstore_of(s), pages, n);
}

static int file_commit(struct page_store *s, struct cpage *const *dirty,
                       size_t n, page_no n_page){
  struct fstore *fs = fstore_of(s);
  int rc = vdb_wal_commit(fs, dirty, n, n_page);

  if( rc!=VECDB_OK ) return rc;
  s->pager->snap.version = fs->log.txid;
  fs->is_appending = false;
  fs->n_prepared = 0;
  vdb_unlock_writer(fs);
  return rc;
}

static void file_rollback(struct page_store *s){
  struct fstore *fs = fstore_of(s);
  vdb_wal_rollback(fs);
  vdb_unlock_writer(fs);
}

static int file_prepare(struct page_store *s, struct cpage *const *dirty,
                        size_t n, page_no n_page,
                        const unsigned char host[16], uint64_t token){
  return vdb_wal_prepare(fstore_of(s), dirty, n, n_page, host, token);
}

static uint64_t file_mark(struct page_store *s){
  struct fstore *fs = fstore_of(s);
  return fs->is_appending ? fs->ix.n - fs->n_base : 0;
}

static void file_undo(struct page_store *s, uint64_t mark){
  vdb_wal_undo(fstore_of(s), mark);
}

static int file_spilled(struct page_store *s, uint64_t mark,
                        int (*fn)(struct pager *p, page_no pgno),
                        struct pager *p){
  struct fstore *fs = fstore_of(s);
  uint64_t i = fs->n_base + mark;
  int rc = VECDB_OK;

  if( !fs->is_appending ) return VECDB_OK;
  if( i<fs->n_prepared ) i = fs->n_prepared;
  for(; i<fs->ix.n && rc==VECDB_OK; i++){
    rc = fn(p, fs->ix.frame[i].pgno);  /* behind a PREPARE are pages alone */
  }
  return rc;
}

static void file_after_commit(struct page_store *s){
  struct fstore *fs = fstore_of(s);
  if( fs->log.off_end<s->pager->cfg.sz_wal_auto ) return;
  (void)vdb_ckpt_run(fs, VECDB_CHECKPOINT_PASSIVE, 0, NULL, NULL);
}

/* ---- extents ------------------------------------------------------------- */

static int file_extent_write(struct page_store *s, uint64_t no, const void *p,
                             size_t sz){
  struct fstore *fs = fstore_of(s);
  uint64_t off = page_offset(fs, (page_no)no);
  size_t n_tail = (fs->sz_page - sz%fs->sz_page) % fs->sz_page;
  unsigned char *zero = NULL;
  int rc = VECDB_OK;

  fs->is_main_dirty = true;
  TRY( fs->ops->write(fs->main, off, p, sz, fs->err) );
  if( n_tail ){
    zero = vdb_calloc(1, n_tail);
    if( zero==NULL ) TRY( VECDB_NOMEM );
    TRY( fs->ops->write(fs->main, off+sz, zero, n_tail, fs->err) );
  }
done:
  vdb_free(zero);
  return rc;
}

static int file_extent_read(struct page_store *s, uint64_t no, size_t off,
                            void *buf, size_t n){
  struct fstore *fs = fstore_of(s);
  return vdb_file_read_full(fs->main, page_offset(fs, (page_no)no) + off, buf,
                            n, fs->err);
}

/* A1 and A2 of alloc.c; asked once per transaction, since readers only leave
** and checkpoints only advance. */
static txn_id file_recycle_limit(struct page_store *s){
  struct fstore *fs = fstore_of(s);
  txn_id limit;

  if( fs->recycle_limit ) return fs->recycle_limit;
  limit = fs->ops->shm_load(fs->shm, SHM_CKPTTXID);
  if( MUTANT(4, true, false) ) limit = fs->log.txid;
  else limit = vdb_slot_oldest(fs, limit);
  return fs->recycle_limit = limit;
}

/* ---- recovery while others are there ------------------------------------- */

/* The highest CHANGE either copy has: the next publication goes beyond it. */
static uint64_t change_max(struct fstore *fs){
  uint64_t a = fs->ops->shm_load(fs->shm, SHM_HDRA + SHMHDR_CHANGE);
  uint64_t b = fs->ops->shm_load(fs->shm, SHM_HDRB + SHMHDR_CHANGE);
  return a>b ? a : b;
}

uint64_t vdb_fstore_frames_home(const struct fstore *fs, txn_id txid){
  const struct commit_ref *c = vdb_walindex_commit(&fs->ix, txid);
  return c ? c->i_frame : 0;
}

/* The write lock is held and its last holder did not release it, or the
** published state is unreadable: read everything again. Generations never go
** back, so a word of an older one stays what it is: old. */
int vdb_fstore_recover_shared(struct fstore *fs){
  struct log_state st;
  uint64_t w, change = change_max(fs), n_home;
  int rc = VECDB_OK;

  TRY( vdb_header_read(fs, &fs->header) );
  TRY( vdb_wal_recover(fs, &st) );
  w = fs->ops->shm_load(fs->shm, SHM_BACKFILL);
  if( st.off_end==0 || BACKFILL_GEN(w)!=(uint32_t)st.generation ){
    if( st.generation<BACKFILL_GEN(w) && st.off_end==0 ){
      st.generation = BACKFILL_GEN(w);
    }
    n_home = st.off_end ? vdb_fstore_frames_home(fs, fs->header.txid) : 0;
    if( n_home>0 ) TRY( vdb_header_sync(fs) );                /* K4, ckpt.c */
    fs->ops->shm_store(fs->shm, SHM_BACKFILL,
                       BACKFILL(st.generation, n_home));
  }
  if( st.n_frame>0 ) TRY( vdb_wal_sync_found(fs, &st) );
  st.change = change;
  vdb_shm_publish(fs, &st);
done:
  return rc;
}

/* ---- the table ----------------------------------------------------------- */

static int file_close(struct page_store *s, bool is_child){
  return vdb_life_close(fstore_of(s), is_child);
}

static int file_checkpoint(struct page_store *s, int mode, uint64_t *n_log,
                           uint64_t *n_done){
  struct fstore *fs = fstore_of(s);
  if( s->is_readonly ){
    return vdb_error(fs->err, VECDB_READONLY, "cannot checkpoint %s: it is "
                     "open for reading only", vdb_pager_name(s->pager));
  }
  return vdb_ckpt_run(fs, mode, s->pager->cfg.busy_ms, n_log, n_done);
}

static void file_stats(struct page_store *s, struct pager_stats *out){
  struct fstore *fs = fstore_of(s);
  (void)fs->ops->size(fs->main, &out->sz_file, NULL);
  out->sz_wal = fs->log.off_end;
  out->ckpt_txid = fs->shm ? fs->ops->shm_load(fs->shm, SHM_CKPTTXID)
                           : fs->header.txid;
}

static const struct page_store_ops file_ops = {
  .close = file_close,
  .begin_read = file_begin_read,
  .end_read = file_end_read,
  .lock_write = file_lock_write,
  .unlock_write = file_unlock_write,
  .begin_write = file_begin_write,
  .read_page = vdb_fstore_read_page,
  .spill = file_spill,
  .commit = file_commit,
  .rollback = file_rollback,
  .mark = file_mark,
  .undo = file_undo,
  .spilled = file_spilled,
  .extent_write = file_extent_write,
  .extent_read = file_extent_read,
  .extent_map = vdb_map_extent,
  .extent_unmap = vdb_map_unpin,
  .recycle_limit = file_recycle_limit,
  .prepare = file_prepare,
  .decide_orphan = vdb_twophase_decide,
  .in_doubt = vdb_twophase_in_doubt,
  .begin_read_at = vdb_twophase_begin_read_at,
  .undoable = vdb_undo_state,
  .rewind = vdb_undo_rewind,
  .checkpoint = file_checkpoint,
  .backup = vdb_backup_write,
  .replace = vdb_life_replace,
  .stats = file_stats,
  .after_commit = file_after_commit,
  .close_begin = vdb_life_close_begin,
};

int vdb_store_file_open(struct pager *p, struct page_store **out){
  struct fstore *fs = vdb_calloc(1, sizeof(*fs));
  int rc;

  *out = NULL;
  if( fs==NULL ) return VECDB_NOMEM;
  fs->base.ops = &file_ops;
  fs->base.pager = p;
  fs->base.has_runs = true;
  fs->ops = p->ops;
  fs->err = p->err;
  fs->i_slot = fs->i_own = -1;
  rc = vdb_life_open(fs);
  if( rc!=VECDB_OK ){
    (void)vdb_life_close(fs, false);
    return rc;
  }
  *out = &fs->base;
  return VECDB_OK;
}
