/* upkeep.c -- facts about a pager, its settings, and what only some stores
** can do: checkpoint, backup, replacing the file.
*/
#include "util/common.h"
#include "pager/pager_int.h"

/* ---- facts and settings -------------------------------------------------- */

enum pager_state vdb_pager_state(const struct pager *p){ return p->state; }

bool vdb_pager_is_readonly(const struct pager *p){
  return p->store->is_readonly;
}

uint32_t vdb_pager_usable(const struct pager *p){ return p->store->usable; }

struct vdb_err *vdb_pager_err(struct pager *p){ return p->err; }

txn_id vdb_pager_txid(const struct pager *p){
  return p->state==PAGER_WRITE ? p->snap.txid_write : p->snap.txid;
}

uint64_t vdb_pager_n_forgotten(const struct pager *p){ return p->n_forgotten; }

page_no vdb_pager_n_page(const struct pager *p){ return p->n_page; }

const char *vdb_pager_path(const struct pager *p){
  return p->path_full ? p->path_full : "";
}

const struct vecdb_file_ops *vdb_pager_file_ops(const struct pager *p){
  return p->ops;
}

void vdb_pager_uuid(const struct pager *p, unsigned char uuid[16]){
  memcpy(uuid, p->store->uuid, 16);
}

bool vdb_pager_interrupted(const struct pager *p){
  return p->cfg.interrupted
      && __atomic_load_n(p->cfg.interrupted, __ATOMIC_RELAXED);
}

int64_t vdb_pager_now_ms(const struct pager *p){
  return p->ops->now_ms(p->ops->env);
}

uint32_t vdb_pager_busy_ms(const struct pager *p){ return p->cfg.busy_ms; }

int vdb_pager_set(struct pager *p, const char *name, int64_t value){
  int rc = vdb_pager_enter(p);

  if( rc!=VECDB_OK ) return rc;
  if( strcmp(name, "busy_ms")==0 ){
    if( value<0 || value>INT32_MAX ) goto range;
    p->cfg.busy_ms = (uint32_t)value;
  }else if( strcmp(name, "sync")==0 ){
    if( value<0 || value>VECDB_SYNC_OFF ) goto range;
    p->cfg.sync = (uint32_t)value;
  }else if( strcmp(name, "wal_bytes")==0 ){
    if( value<0 ) goto range;
    p->cfg.sz_wal_auto = value ? (uint64_t)value : PAGER_WAL_DEFAULT;
  }else{
    return vdb_error(p->err, VECDB_NOTFOUND, "no such setting: \"%s\"", name);
  }
  return VECDB_OK;
range:
  return vdb_error(p->err, VECDB_RANGE, "%s cannot be %lld", name,
                   (long long)value);
}

int vdb_pager_stats(struct pager *p, struct pager_stats *out){
  struct page *root = NULL;
  bool is_own = p->state==PAGER_NONE;
  int rc = VECDB_OK;

  memset(out, 0, sizeof(*out));
  TRY( vdb_pager_enter(p) );
  if( is_own ) TRY( vdb_pager_begin_read(p) );
  rc = vdb_root_page(p, &root);
  if( rc==VECDB_OK ) out->n_free_page = get_u64(root->data + ROOT_NFREE);
  vdb_page_unpin(p, root);
  out->sz_page = p->store->usable;
  out->n_page = p->n_page;
  out->txid = p->snap.txid;
  out->sz_cache = vdb_pcache_bytes(&p->cache);
  out->n_hit = p->cache.n_hit;
  out->n_miss = p->cache.n_miss;
  out->n_commit = p->n_commit;
  out->n_sync = p->n_sync;
  out->n_frame = p->n_frame;
  if( p->store->ops->stats ) p->store->ops->stats(p->store, out);
  if( is_own ) vdb_pager_end_read(p);
done:
  return rc;
}

/* ---- upkeep: what only some stores have ---------------------------------- */

static int unsupported(struct pager *p, const char *what){
  return vdb_error(p->err, VECDB_UNSUPPORTED, "%s has no %s",
                   vdb_pager_name(p), what);
}

int vdb_pager_checkpoint(struct pager *p, int mode, uint64_t *n_log,
                         uint64_t *n_done){
  uint64_t n_log_own = 0, n_done_own = 0;
  int rc = VECDB_OK;

  TRY( vdb_pager_enter_none(p, "checkpoint") );
  TRY( vdb_pager_not_poisoned(p) );
  if( mode<VECDB_CHECKPOINT_PASSIVE || mode>VECDB_CHECKPOINT_TRUNCATE ){
    return vdb_error(p->err, VECDB_RANGE, "checkpoint mode is %d, expected "
                     "0..3", mode);
  }
  if( p->store->ops->checkpoint ){
    rc = p->store->ops->checkpoint(p->store, mode, &n_log_own, &n_done_own);
  }
done:
  if( n_log ) *n_log = n_log_own;
  if( n_done ) *n_done = n_done_own;
  return rc;
}

int vdb_pager_backup(struct pager *p, const char *path,
                     vdb_progress_cb progress, void *arg){
  bool is_own = p->state==PAGER_NONE;
  int rc = VECDB_OK;

  TRY( vdb_pager_enter(p) );
  if( p->store->ops->backup==NULL ) return unsupported(p, "backup");
  if( p->state!=PAGER_NONE && p->state!=PAGER_READ ){
    return vdb_error(p->err, VECDB_MISUSE,
                     "cannot back up inside a write transaction");
  }
  if( is_own ) TRY( vdb_pager_begin_read(p) );
  rc = p->store->ops->backup(p->store, path, progress, arg);
  if( is_own ) vdb_pager_end_read(p);
done:
  return rc;
}

int vdb_pager_replace_file(struct pager *p, const char *path_new){
  int rc = VECDB_OK;

  TRY( vdb_pager_enter_none(p, "replace the file") );
  TRY( vdb_pager_not_poisoned(p) );
  if( p->store->ops->replace==NULL ) return unsupported(p, "file to replace");
  TRY( p->store->ops->replace(p->store, path_new) );
  vdb_pcache_drop_clean(&p->cache);
  vdb_extents_reset(p);
  p->version_snap = 0;
done:
  return rc;
}
