/* ckpt.c -- checkpoints: bringing frames of the log home to the main file.
**
** MODES (as SQLite names them)
**   passive   what readers allow, without waiting for anybody
**   full      holds writers off and waits for readers, so that all comes home
**   restart   as full, then begins a new generation of the log
**   truncate  as restart, then cuts the file to its header
**
** ORDER
**   1  sync the log: what is brought home must not be more durable there
**   2  header slot: CHECKPOINTING, TARGET; sync (D2)
**   3  write the newest frame <= target of each page, in order of pages
**   4  sync the main file
**   5  header slot: TXID = target, no mark; sync
**   6  move SHM.BACKFILL by compare-and-swap (W2), then SHM.CKPTTXID
**
** A crash before 5 is durable leaves the mark: the log is needed and is still
** there, for it restarts only after 6. A crash after 5 has everything home.
**
** INVARIANTS
**   K1  The target is a COMMIT that no held slot is older than, that cannot
**       be undone (undo.c), and is not behind an undecided PREPARE: those
**       frames are beyond n_visible.
**   K2  Frames with txid <= HDRSLOT.TXID are not written (again): A3.
**   K3  While the checkpoint lock is held with frames left to bring home, the
**       log cannot restart, so its frames do not change.
**   K4  BACKFILL never says more than a header that is on disk. Who finds a
**       TXID that is ahead of it (the checkpointer died before 6, or its last
**       sync failed) syncs the main file first: the log may go afterwards.
**
** LOCKS    write lock (full and up) < checkpoint lock < view byte of the main
**          file, which readers without shared memory hold.
*/
#include <stdlib.h>

#include "util/common.h"
#include "pager/fstore.h"

#define COPY_BYTES  (256u<<10)      /* written home at once */

struct home { page_no pgno; uint32_t i_frame; };

struct ckpt {
  struct fstore *fs;
  struct log_state st;
  uint64_t lo, hi;                  /* frames (lo, hi] come home */
  const struct commit_ref *target;  /* the COMMIT frame hi */
  struct home *home; size_t n_home; /* in order of pages */
};

static int home_compare(const void *a, const void *b){
  const struct home *x = a, *y = b;
  return x->pgno<y->pgno ? -1 : x->pgno>y->pgno;
}

/* The newest frame within (lo, hi] of each page. */
static int home_collect(struct ckpt *c){
  const struct walindex *ix = &c->fs->ix;

  c->home = vdb_malloc_array(c->hi - c->lo, sizeof(*c->home));
  if( c->home==NULL ) return VECDB_NOMEM;
  for(uint64_t i=c->lo+1; i<=c->hi; i++){
    page_no pgno = ix->frame[i-1].pgno;
    if( pgno==0 || pgno>=c->target->n_page ) continue;
    if( vdb_walindex_find(ix, pgno, c->lo, c->hi)!=i ) continue;
    c->home[c->n_home++] = (struct home){ pgno, (uint32_t)i };
  }
  qsort(c->home, c->n_home, sizeof(*c->home), home_compare);
  return VECDB_OK;
}

/* Read frame i and check that it is a page of that number. */
static int home_read(struct ckpt *c, const struct home *h, unsigned char *buf){
  struct fstore *fs = c->fs;
  int rc = VECDB_OK;

  TRY( vdb_file_read_full(fs->wal, fs->ix.frame[h->i_frame-1].off + FRAME_SIZE,
                          buf, fs->sz_page, fs->err) );
  TRY( vdb_page_verify(fs->base.pager, buf, h->pgno) );
done:
  return rc;
}

/* Step 3. Neighbouring pages are written together. */
static int home_write(struct ckpt *c){
  struct fstore *fs = c->fs;
  size_t n_max = COPY_BYTES/fs->sz_page;
  unsigned char *buf = vdb_malloc(n_max*fs->sz_page);
  int rc = buf ? VECDB_OK : VECDB_NOMEM;

  for(size_t i=0, n; i<c->n_home && rc==VECDB_OK; i+=n){
    for(n=0; n<n_max && i+n<c->n_home
             && c->home[i+n].pgno==c->home[i].pgno+n; n++){
      TRY( home_read(c, &c->home[i+n], buf + n*fs->sz_page) );
    }
    TRY( fs->ops->write(fs->main, page_offset(fs, c->home[i].pgno), buf,
                        n*fs->sz_page, fs->err) );
  }
done:
  vdb_free(buf);
  return rc;
}

/* The file reaches as far as the header will say: pages that were allocated
** and freed again were never written. */
static int main_extend(struct ckpt *c){
  struct fstore *fs = c->fs;
  uint64_t sz = 0, sz_want = page_offset(fs, c->target->n_page);
  int rc = VECDB_OK;

  TRY( fs->ops->size(fs->main, &sz, fs->err) );
  if( sz<sz_want ) TRY( fs->ops->truncate(fs->main, sz_want, fs->err) );
done:
  return rc;
}

/* Steps 1 to 5. */
static int copy_home(struct ckpt *c){
  struct fstore *fs = c->fs;
  struct header *h = &fs->header;
  int rc = VECDB_OK;

  TRY( home_collect(c) );
  TRY( vdb_wal_sync(fs) );
  h->flags = HEADER_CHECKPOINTING;
  h->target = c->target->txid;
  TRY( vdb_header_write(fs, h) );
  TRY( vdb_header_sync(fs) );
  TRY( home_write(c) );
  TRY( main_extend(c) );
  TRY( vdb_header_sync(fs) );
  h->flags = 0;
  h->target = 0;
  h->txid = c->target->txid;
  h->n_page = c->target->n_page;
  h->salt = c->st.salt;
  TRY( vdb_header_write(fs, h) );
  TRY( vdb_header_sync(fs) );
done:
  return rc;
}

/* Step 6. A restart in between makes this do nothing. */
static void backfill_move(struct ckpt *c, uint64_t w){
  struct fstore *fs = c->fs;
  uint64_t w_new = BACKFILL(c->st.generation, c->hi);

  if( MUTANT(1, true, false) ){
    w = fs->ops->shm_load(fs->shm, SHM_BACKFILL);
    fs->ops->shm_store(fs->shm, SHM_BACKFILL, BACKFILL(BACKFILL_GEN(w), c->hi));
    return;
  }
  if( fs->ops->shm_cas(fs->shm, SHM_BACKFILL, w, w_new) ){
    fs->ops->shm_store(fs->shm, SHM_CKPTTXID, fs->header.txid);
  }
}

/* Bring home what readers allow. *n_home: frames that are home afterwards. */
static int ckpt_some(struct ckpt *c, uint64_t *n_home){
  struct fstore *fs = c->fs;
  uint64_t w, n_before;
  int rc = VECDB_OK;

  TRY( vdb_shm_read(fs, &c->st) );
  w = fs->ops->shm_load(fs->shm, SHM_BACKFILL);
  *n_home = c->st.n_visible;
  if( c->st.off_end==0 || BACKFILL_GEN(w)!=(uint32_t)c->st.generation ){
    return VECDB_OK;                /* all is home, a restart is under way */
  }
  *n_home = n_before = BACKFILL_N(w);
  if( n_before>=c->st.n_visible && MUTANT(1, false, true) ) return VECDB_OK;
  TRY( vdb_wal_follow(fs, &c->st) );
  c->target = vdb_walindex_commit(&fs->ix,
      vdb_slot_oldest(fs, vdb_undo_firm(fs, &c->st)));              /* K1 */
  if( c->target==NULL ) return VECDB_OK;
  c->hi = c->target->i_frame;
  if( c->hi<=n_before && MUTANT(1, false, true) ) return VECDB_OK;
  if( MUTANT(1, c->hi>n_before, true) ){
    TRY( vdb_header_read(fs, &fs->header) );
    c->lo = vdb_fstore_frames_home(fs, fs->header.txid);            /* K2 */
    if( c->lo<n_before ) c->lo = n_before;      /* that header slot rotted */
    if( c->hi>c->lo ) TRY( copy_home(c) );
    else TRY( vdb_header_sync(fs) );                                /* K4 */
  }
  backfill_move(c, w);
  *n_home = c->hi;
done:
  vdb_free(c->home);
  c->home = NULL;
  c->n_home = 0;
  return rc;
}

static int readers_busy(struct fstore *fs, const char *what){
  return vdb_error(fs->err, VECDB_BUSY, "cannot %s %s: a reader holds an older "
                   "snapshot; retry or set busy_ms", what,
                   vdb_pager_name(fs->base.pager));
}

/* Until all is home, or the time is up. */
static int ckpt_all(struct ckpt *c, struct deadline *d, uint64_t *n_home){
  int rc = VECDB_OK;
  for(;;){
    TRY( ckpt_some(c, n_home) );
    if( *n_home>=c->st.n_visible ) return VECDB_OK;
    TRY( vdb_undo_require(c->fs, "checkpoint") );
    if( !vdb_deadline_wait(c->fs, d) ){
      return readers_busy(c->fs, "checkpoint");
    }
  }
done:
  return rc;
}

/* A new generation, when the readers of the log have gone. */
static int ckpt_restart(struct ckpt *c, struct deadline *d, bool truncate){
  struct fstore *fs = c->fs;
  bool done = false;
  int rc = VECDB_OK;

  TRY( vdb_shm_read(fs, &fs->log) );
  if( fs->log.prep_txid ){
    return vdb_error(fs->err, VECDB_BUSY_INDOUBT, "cannot restart the log of "
                     "%s: a prepared transaction is undecided",
                     vdb_pager_name(fs->base.pager));
  }
  while( fs->log.n_frame>0 ){
    TRY( vdb_wal_restart(fs, &done) );
    if( !done && !vdb_deadline_wait(fs, d) ){
      return readers_busy(fs, "restart the log of");
    }
  }
  if( truncate && fs->log.off_end ){
    TRY( vdb_wal_open(fs, false) );
    TRY( fs->ops->truncate(fs->wal, fs->log.off_end, fs->err) );
  }
done:
  return rc;
}

static int lock_busy(struct fstore *fs, int rc, const char *who){
  if( rc!=VECDB_BUSY ) return rc;
  return vdb_error(fs->err, rc, "cannot checkpoint %s: %s; retry or set "
                   "busy_ms", vdb_pager_name(fs->base.pager), who);
}

/* Everything between taking the checkpoint locks and giving them back. */
static int ckpt_locked(struct ckpt *c, int mode, struct deadline *d,
                       uint64_t *n_home){
  int rc;

  if( mode==VECDB_CHECKPOINT_PASSIVE ) return ckpt_some(c, n_home);
  rc = ckpt_all(c, d, n_home);
  if( rc==VECDB_OK && mode>=VECDB_CHECKPOINT_RESTART ){
    rc = ckpt_restart(c, d, mode==VECDB_CHECKPOINT_TRUNCATE);
  }
  return rc;
}

int vdb_ckpt_run(struct fstore *fs, int mode, uint32_t wait_ms,
                 uint64_t *n_log, uint64_t *n_done){
  struct deadline d = vdb_deadline(fs, mode ? wait_ms : 0);
  struct ckpt c;
  bool own_writer = false, has_ckpt = false, has_view = false;
  uint64_t n_home = 0;
  int rc = VECDB_OK;

  memset(&c, 0, sizeof(c));
  c.fs = fs;
  (void)vdb_undo_settle(fs);         /* as far as possible */
  if( mode>=VECDB_CHECKPOINT_FULL && !fs->has_write ){
    TRY( vdb_lock_writer(fs, wait_ms) );
    own_writer = true;
  }
  TRY( lock_busy(fs, vdb_lock_wait(fs, fs->shm, LOCK_CKPT, LOCK_EXCLUSIVE, &d),
                 "another connection is checkpointing") );
  has_ckpt = true;
  TRY( lock_busy(fs, vdb_lock_wait(fs, fs->main, LOCK_VIEW, LOCK_EXCLUSIVE,
                                   &d),
                 "a reader without write permission uses it") );
  has_view = true;
  TRY( ckpt_locked(&c, mode, &d, &n_home) );
done:
  if( has_view ) fs->ops->unlock(fs->main, LOCK_VIEW);
  if( has_ckpt ) fs->ops->unlock(fs->shm, LOCK_CKPT);
  if( own_writer ) vdb_unlock_writer(fs);
  if( n_log ) *n_log = c.st.n_visible;
  if( n_done ) *n_done = n_home;
  return rc;
}

/* All that is to stay is home: there is no log any more, and the restart that
** follows empties the file first. Else a header torn by a crash would stand in
** front of commits that look needed. */
static void rewind_log(struct fstore *fs){
  fs->ops->shm_store(fs->shm, SHM_CKPTTXID, fs->header.txid);
  fs->log.txid = fs->log.txid_firm = fs->header.txid;
  fs->log.n_page = fs->header.n_page;
  fs->log.off_end = 0;
}

int vdb_ckpt_rewind(struct fstore *fs, txn_id txid){
  const struct commit_ref *target;
  struct ckpt c;
  bool done = false;
  uint64_t n_home;
  int rc = VECDB_OK;

  memset(&c, 0, sizeof(c));
  c.fs = fs;
  c.st = fs->log;
  TRY( vdb_header_read(fs, &fs->header) );
  n_home = vdb_fstore_frames_home(fs, fs->header.txid);
  target = vdb_walindex_commit(&fs->ix, txid);
  if( target && target->i_frame>n_home ){
    c.target = target;
    c.lo = n_home;
    c.hi = target->i_frame;
    TRY( copy_home(&c) );
  }else{
    TRY( vdb_header_sync(fs) );                                     /* K4 */
  }
  rewind_log(fs);
  TRY( vdb_wal_restart(fs, &done) );
  if( !done ){
    TRY( vdb_error(fs->err, VECDB_BUSY, "cannot rewind %s: its log is in use",
                   vdb_pager_name(fs->base.pager)) );
  }
done:
  vdb_free(c.home);
  return rc;
}

int vdb_ckpt_finish(struct fstore *fs, bool *all_home){
  struct log_state st;
  int rc = VECDB_OK;

  *all_home = false;
  TRY( vdb_ckpt_run(fs, VECDB_CHECKPOINT_FULL, 0, NULL, NULL) );
  TRY( vdb_shm_read(fs, &st) );
  *all_home = st.prep_txid==0;
done:
  return rc;
}
