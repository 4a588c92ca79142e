/* undo.c -- commits that may still be undone, because the host may lose them.
**
** A SQLite database with PRAGMA synchronous below FULL says "committed" before
** its commit is on disk. A power cut then leaves a host at token H and a log
** that has COMMIT frames with greater tokens. Such a COMMIT is marked
** (FRAME_UNDOABLE), and
**
**   U1  no checkpoint brings it home, so pages it freed are not used again and
**       the state before it can be had back;
**   U2  it is firm as soon as the host is durable: the host's handle is asked
**       (vdb_pager_set_host) before a checkpoint, at the last close, and before
**       a commit of one phase. SHM.FIRM remembers how far. Nothing on disk
**       does: after a crash the marks are there again, and the host is asked
**       again;
**   U3  a COMMIT without the mark makes all before it firm: its host commit
**       was synced, and with it what the host had committed before;
**   U4  without the host's handle nothing is written on top of it, or a commit
**       that was promised to stay would go with those below it.
**
** REWIND   The host, opened after the cut, has token H: the newest state with
** at most H is brought home, and a new generation of the log begins. The states
** in between are gone. A crash in between finds the old log, and is asked
** again. Only who is alone with the file may do it: others may hold what is
** taken back.
*/
#include "util/common.h"
#include "pager/fstore.h"

txn_id vdb_undo_firm(struct fstore *fs, const struct log_state *st){
  txn_id known;

  if( st->txid_firm>=st->txid ) return st->txid_firm;
  known = fs->ops->shm_load(fs->shm, SHM_FIRM);
  if( known>st->txid ) known = st->txid;
  return known>st->txid_firm ? known : st->txid_firm;
}

/* SHM.FIRM grows (U2). */
static void firm_note(struct fstore *fs, txn_id txid){
  uint64_t old;
  do{
    old = fs->ops->shm_load(fs->shm, SHM_FIRM);
  }while( old<txid && !fs->ops->shm_cas(fs->shm, SHM_FIRM, old, txid) );
}

/* Whatever is published has been committed by the host before. */
int vdb_undo_settle(struct fstore *fs){
  struct pager *p = fs->base.pager;
  struct log_state st;
  int rc = VECDB_OK;

  TRY( vdb_shm_read(fs, &st) );
  if( vdb_undo_firm(fs, &st)>=st.txid || p->host_fn==NULL ) return VECDB_OK;
  rc = p->host_fn(p->host_arg);
  if( rc==VECDB_OK ) firm_note(fs, st.txid);
done:
  return rc;
}

int vdb_undo_require(struct fstore *fs, const char *what){
  struct log_state st;
  int rc = VECDB_OK;

  (void)vdb_undo_settle(fs);
  TRY( vdb_shm_read(fs, &st) );
  if( vdb_undo_firm(fs, &st)>=st.txid ) return VECDB_OK;
  rc = vdb_error(fs->err, VECDB_BUSY_INDOUBT, "cannot %s %s: the SQLite "
                 "database that owns its newest commits may still lose them; "
                 "open them together, or resolve what is in doubt", what,
                 vdb_pager_name(fs->base.pager));
done:
  return rc;
}

/* Token and host of the state that is home. */
static int home_token(struct fstore *fs, struct undo_tokens *out){
  unsigned char *root = vdb_malloc(fs->sz_page);
  page_no pg = fs->base.pg_first;
  int rc = root ? VECDB_OK : VECDB_NOMEM;

  if( rc!=VECDB_OK ) goto done;
  TRY( vdb_file_read_full(fs->main, page_offset(fs, pg), root, fs->sz_page,
                          fs->err) );
  TRY( vdb_page_verify(fs->base.pager, root, pg) );
  out->firm = get_u64(root + ROOT_TOKEN);
done:
  vdb_free(root);
  return rc;
}

/* What the log of state st says; *undoable as vdb_undo_state. */
static int tokens_read(struct fstore *fs, const struct log_state *st,
                       bool *undoable, struct undo_tokens *out){
  const struct commit_ref *c;
  txn_id firm = vdb_undo_firm(fs, st);
  int rc = VECDB_OK;

  *undoable = firm<st->txid && st->off_end!=0;
  if( !*undoable ) return VECDB_OK;
  TRY( vdb_wal_follow(fs, st) );
  c = vdb_walindex_commit(&fs->ix, st->txid);
  if( c==NULL ){
    *undoable = false;
    return VECDB_OK;
  }
  out->newest = c->token;
  c = vdb_walindex_commit(&fs->ix, firm);
  if( c ) out->firm = c->token;
  else TRY( home_token(fs, out) );
done:
  return rc;
}

int vdb_undo_state(struct page_store *s, bool *undoable,
                   struct undo_tokens *out){
  struct fstore *fs = fstore_of(s);
  struct log_state st;
  uint64_t token = 0;
  int rc = VECDB_OK;

  if( fs->mode!=FSTORE_SHARED ) return VECDB_OK;
  TRY( vdb_pager_not_poisoned(s->pager) );
  TRY( vdb_shm_read(fs, &st) );
  TRY( tokens_read(fs, &st, undoable, out) );
  if( *undoable ) TRY( vdb_pager_committed_token(s->pager, out->host,
                                                 &token) );
done:
  return rc;
}

/* Under the write lock and alone: go back to the newest state with at most
** this token. */
static int rewind_locked(struct fstore *fs, uint64_t token, uint64_t newest){
  const char *name = vdb_pager_name(fs->base.pager);
  const struct commit_ref *c;
  struct undo_tokens t;
  bool undoable;
  txn_id firm;
  int rc = VECDB_OK;

  TRY( vdb_shm_read(fs, &fs->log) );
  if( fs->log.prep_txid ){
    TRY( vdb_error(fs->err, VECDB_BUSY_INDOUBT, "cannot rewind %s: a prepared "
                   "transaction is undecided", name) );
  }
  TRY( tokens_read(fs, &fs->log, &undoable, &t) );
  if( !undoable ) return VECDB_OK;
  firm = vdb_undo_firm(fs, &fs->log);
  c = vdb_twophase_find(&fs->ix, token, 0);
  if( t.newest!=newest || t.firm>token ){
    TRY( vdb_error(fs->err, VECDB_BUSY_SNAPSHOT, "cannot rewind %s to token "
                   "%llu: it has commits %llu to %llu that can be undone",
                   name, (unsigned long long)token,
                   (unsigned long long)t.firm, (unsigned long long)t.newest) );
  }
  if( c && c->txid>=fs->log.txid ){
    firm_note(fs, fs->log.txid);
    return VECDB_OK;
  }
  vdb_log(VECDB_OK, "commits after token %llu of %s are undone: the SQLite "
          "database that owns them has lost them", (unsigned long long)token,
          name);
  TRY( vdb_ckpt_rewind(fs, c && c->txid>firm ? c->txid : firm) );
done:
  fs->cache_txid = fs->cache_generation = 0;   /* it may hold what is gone */
  return rc;
}

int vdb_undo_rewind(struct page_store *s, uint64_t token, uint64_t newest){
  struct fstore *fs = fstore_of(s);
  bool is_alone = false;
  int rc = VECDB_OK;

  if( s->is_readonly ){
    return vdb_error(fs->err, VECDB_READONLY, "cannot rewind %s: it is open "
                     "for reading only", vdb_pager_name(s->pager));
  }
  TRY( vdb_lock_writer(fs, s->pager->cfg.busy_ms) );
  rc = fs->ops->lock(fs->main, LOCK_LIFE, LOCK_EXCLUSIVE, NULL);
  if( rc!=VECDB_OK ){
    rc = vdb_error(fs->err, rc, "cannot rewind %s: others have it open",
                   vdb_pager_name(s->pager));
    goto done;
  }
  is_alone = true;
  TRY( rewind_locked(fs, token, newest) );
done:
  if( is_alone ) (void)fs->ops->lock(fs->main, LOCK_LIFE, LOCK_SHARED, NULL);
  vdb_unlock_writer(fs);
  return rc;
}
