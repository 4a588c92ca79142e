/* twophase.c -- prepared transactions whose owner is gone, and reading at a
** token.
**
** A host database that owns the decision prepares our transaction under a
** token, commits its own, then lets us commit. If the process dies in between
** the PREPARE stays in the log, published but invisible; nobody can write
** until vdb_twophase_decide, whose caller knows what the host did.
**
** A STATE OF A TOKEN is looked for in this order: the undecided transaction,
** the newest commit, older commits that are in the log and that no checkpoint
** has passed.
**
** INVARIANT
**   T1  An older state is claimed under the checkpoint lock: no checkpoint is
**       under way that would pass it, and the next one sees the slot.
*/
#include "util/common.h"
#include "pager/fstore.h"

int vdb_twophase_decide(struct page_store *s, bool commit){
  struct fstore *fs = fstore_of(s);
  struct pager *p = s->pager;
  int rc = VECDB_OK;

  if( s->is_readonly ){
    return vdb_error(fs->err, VECDB_READONLY, "cannot decide: %s is open for "
                     "reading only", vdb_pager_name(p));
  }
  TRY( vdb_lock_writer(fs, p->cfg.busy_ms) );
  TRY( vdb_shm_read(fs, &fs->log) );
  if( fs->log.prep_txid==0 ){
    TRY( vdb_error(fs->err, VECDB_NOTFOUND, "nothing is undecided in %s",
                   vdb_pager_name(p)) );
  }
  p->snap.txid_write = fs->log.prep_txid;
  TRY( vdb_wal_decide(fs, commit, false) );
  fs->cache_txid = fs->cache_generation = 0;   /* it holds older pages */
done:
  fs->is_appending = false;
  vdb_unlock_writer(fs);
  return rc;
}

/* Undecided, and its owner does not hold the write lock. */
int vdb_twophase_in_doubt(struct page_store *s, bool *in_doubt,
                          unsigned char host[16], uint64_t *token){
  struct fstore *fs = fstore_of(s);
  struct log_state st;
  int rc = VECDB_OK;

  if( fs->mode!=FSTORE_SHARED || fs->has_write ) return VECDB_OK;
  TRY( vdb_pager_not_poisoned(s->pager) );      /* there may be no -shm */
  TRY( vdb_shm_read(fs, &st) );
  if( st.prep_txid==0 ) return VECDB_OK;
  rc = fs->ops->lock(fs->shm, LOCK_WRITER, LOCK_EXCLUSIVE, NULL);
  if( rc==VECDB_BUSY ) return VECDB_OK;
  if( rc!=VECDB_OK ) goto done;
  fs->ops->unlock(fs->shm, LOCK_WRITER);
  *in_doubt = true;
  memcpy(host, st.prep_host, 16);
  *token = st.prep_token;
done:
  return rc;
}

static int token_gone(struct fstore *fs, uint64_t token){
  return vdb_error(fs->err, VECDB_BUSY_SNAPSHOT, "the state with token %llu of "
                   "%s is gone", (unsigned long long)token,
                   vdb_pager_name(fs->base.pager));
}

static void snapshot_set(struct fstore *fs, struct snapshot *out, txn_id txid,
                         page_no n_page){
  vdb_pager_forget(fs->base.pager, 0);
  fs->cache_txid = fs->cache_generation = 0;
  fs->log.txid = txid;
  fs->log.n_page = n_page;
  out->txid = out->version = txid;
  out->txid_write = 0;
  out->n_page = n_page;
}

/* The token of the newest commit, through the snapshot that is held. */
static int newest_token(struct fstore *fs, uint64_t *token){
  unsigned char *root = vdb_malloc(fs->sz_page);
  int rc = root ? VECDB_OK : VECDB_NOMEM;

  if( rc==VECDB_OK ){
    rc = vdb_fstore_read_page(&fs->base, fs->base.pg_first, root);
  }
  if( rc==VECDB_OK ){
    rc = vdb_page_verify(fs->base.pager, root, fs->base.pg_first);
  }
  if( rc==VECDB_OK ) *token = get_u64(root + ROOT_TOKEN);
  vdb_free(root);
  return rc;
}

/* The undecided transaction, if it has the token. *found says so. */
static int begin_prepared(struct fstore *fs, uint64_t token, bool *found,
                          struct snapshot *out){
  struct log_state *st = &fs->log;
  uint64_t w;
  int rc = VECDB_OK;

  *found = false;
  TRY( vdb_shm_read(fs, st) );
  if( st->prep_txid==0 || st->prep_token!=token ) return VECDB_OK;
  TRY( vdb_slot_claim(fs, st->prep_txid, false) );
  w = fs->ops->shm_load(fs->shm, SHM_BACKFILL);
  if( vdb_shm_change(fs)!=st->change
      || BACKFILL_GEN(w)!=(uint32_t)st->generation ){
    vdb_slot_release(fs);
    return VECDB_OK;                /* decided meanwhile: look at commits */
  }
  rc = vdb_wal_follow(fs, st);
  if( rc!=VECDB_OK ){
    vdb_slot_release(fs);
    return rc;
  }
  fs->min_frame = BACKFILL_N(w);
  fs->max_frame = st->n_frame;
  snapshot_set(fs, out, st->prep_txid, st->prep_n_page);
  out->is_undecided = true;
  *found = true;
done:
  return rc;
}

const struct commit_ref *vdb_twophase_find(const struct walindex *ix,
                                           uint64_t token, uint64_t n_home){
  for(size_t i=ix->n_commit; i-->0 && ix->commit[i].i_frame>=n_home; ){
    if( ix->commit[i].token<=token ) return &ix->commit[i];
  }
  return NULL;
}

/* The newest commit of the log with exactly this token. */
static const struct commit_ref *commit_find(const struct walindex *ix,
                                            uint64_t token, uint64_t n_home){
  const struct commit_ref *c = vdb_twophase_find(ix, token, n_home);
  return c && c->token==token ? c : NULL;
}

static int begin_older(struct fstore *fs, uint64_t token,
                       struct snapshot *out){
  struct deadline d = vdb_deadline(fs, fs->base.pager->cfg.busy_ms);
  const struct commit_ref *c = NULL;
  uint64_t w;
  int rc = vdb_lock_wait(fs, fs->shm, LOCK_CKPT, LOCK_SHARED, &d);   /* T1 */

  if( rc!=VECDB_OK ) return rc;
  TRY( vdb_shm_read(fs, &fs->log) );
  w = fs->ops->shm_load(fs->shm, SHM_BACKFILL);
  if( fs->log.off_end && BACKFILL_GEN(w)==(uint32_t)fs->log.generation ){
    TRY( vdb_wal_follow(fs, &fs->log) );
    c = commit_find(&fs->ix, token, BACKFILL_N(w));
  }
  if( c==NULL ){
    rc = token_gone(fs, token);
    goto done;
  }
  TRY( vdb_slot_claim(fs, c->txid, false) );
  if( BACKFILL_GEN(fs->ops->shm_load(fs->shm, SHM_BACKFILL))
      !=(uint32_t)fs->log.generation ){
    vdb_slot_release(fs);
    rc = token_gone(fs, token);
    goto done;
  }
  fs->min_frame = BACKFILL_N(w);
  fs->max_frame = c->i_frame;
  snapshot_set(fs, out, c->txid, c->n_page);
done:
  fs->ops->unlock(fs->shm, LOCK_CKPT);
  return rc;
}

int vdb_twophase_begin_read_at(struct page_store *s, uint64_t token,
                               struct snapshot *out){
  struct fstore *fs = fstore_of(s);
  uint64_t found_token = 0;
  bool found = false;
  int rc = VECDB_OK;

  if( fs->mode==FSTORE_SHARED ){
    TRY( begin_prepared(fs, token, &found, out) );
    if( found ) return VECDB_OK;
  }
  TRY( s->ops->begin_read(s, out) );
  rc = newest_token(fs, &found_token);
  if( rc==VECDB_OK && found_token==token ) return VECDB_OK;
  s->ops->end_read(s);
  if( rc!=VECDB_OK ) goto done;
  rc = fs->mode==FSTORE_SHARED ? begin_older(fs, token, out)
                               : token_gone(fs, token);
done:
  return rc;
}
