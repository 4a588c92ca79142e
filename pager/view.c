/* view.c -- reading without the right to write: no shared memory, no slots.
**
** VIEW       The file, or the folder of -shm, cannot be written. A read
**            transaction holds the view byte of the main file shared, which
**            checkpoints need exclusively: the main file stands still, and
**            the log can only grow (or restart, if all of it was home).
**            The state is found as recovery finds it, by scanning the log.
** IMMUTABLE  Nobody writes: the main file alone, no locks.
**
** A writer may append while we scan: what looked rotten may have been half
** written, so that verdict is given only if it repeats.
*/
#include "util/common.h"
#include "pager/fstore.h"

#define SCAN_TRIES  5

/* The name may belong to a new log: sessions remove theirs. */
static void view_reopen_log(struct fstore *fs){
  struct file_id a = { 0, 0 }, b = { 0, 0 };

  if( fs->wal==NULL ) return;
  if( fs->ops->path_id(fs->ops->env, fs->path_wal, &a)==VECDB_OK
      && fs->ops->id(fs->wal, &b)==VECDB_OK && a.dev==b.dev && a.ino==b.ino ){
    return;
  }
  (void)fs->ops->close(fs->wal);
  fs->wal = NULL;
  fs->ix.generation = 0;
}

static int view_scan(struct fstore *fs, struct log_state *st){
  int rc = VECDB_OK;
  for(int i=0; i<SCAN_TRIES; i++){
    view_reopen_log(fs);
    TRY( vdb_header_read(fs, &fs->header) );
    rc = vdb_wal_recover(fs, st);
    if( rc!=VECDB_CORRUPT_WAL ) break;
    fs->ops->sleep_ms(fs->ops->env, 1);
  }
done:
  return rc;
}

static int view_immutable(struct fstore *fs, struct log_state *st){
  int rc = VECDB_OK;

  memset(st, 0, sizeof(*st));
  TRY( vdb_header_read(fs, &fs->header) );
  if( fs->header.flags & HEADER_CHECKPOINTING ){
    TRY( vdb_error(fs->err, VECDB_CORRUPT_WAL, "cannot open %s as immutable: a "
                   "checkpoint was interrupted and its log is needed",
                   vdb_pager_name(fs->base.pager)) );
  }
  st->txid = fs->header.txid;
  st->n_page = fs->header.n_page;
done:
  return rc;
}

/* Of a file that does not change, the state is always the same. */
static void view_adopt(struct fstore *fs, const struct log_state *st){
  uint64_t n_home = st->off_end ? vdb_fstore_frames_home(fs, fs->header.txid)
                                : 0;
  fs->min_frame = n_home;
  fs->max_frame = st->n_visible>n_home ? st->n_visible : n_home;
  if( st->txid!=fs->cache_txid ) vdb_pager_forget(fs->base.pager, 0);
  fs->cache_txid = st->txid;
  fs->log = *st;
}

int vdb_view_begin_read(struct fstore *fs){
  struct deadline d = vdb_deadline(fs, fs->base.pager->cfg.busy_ms);
  struct log_state st;
  int rc = VECDB_OK;

  if( fs->mode==FSTORE_IMMUTABLE ){
    TRY( view_immutable(fs, &st) );
    view_adopt(fs, &st);
    return VECDB_OK;
  }
  rc = vdb_lock_wait(fs, fs->main, LOCK_VIEW, LOCK_SHARED, &d);
  if( rc==VECDB_BUSY ){
    return vdb_error(fs->err, rc, "cannot read %s: a checkpoint is under way; "
                     "retry or set busy_ms", vdb_pager_name(fs->base.pager));
  }
  if( rc!=VECDB_OK ) goto done;
  rc = view_scan(fs, &st);
  if( rc==VECDB_OK ) view_adopt(fs, &st);
  else vdb_view_end_read(fs);
done:
  return rc;
}

void vdb_view_end_read(struct fstore *fs){
  if( fs->mode==FSTORE_VIEW ) (void)fs->ops->unlock(fs->main, LOCK_VIEW);
}
