/* pager.c -- opening, transactions, settings: the life of a connection.
**
** STATES
**
**            begin_read               begin_write
**      NONE ------------> READ --------------------> WRITE ---> ERROR
**       ^ ^   end_read     |                          | |         |
**       | +----------------+      commit, rollback    | |         |
**       +---------------------------------------------+ |         |
**       +------------------- rollback ------------------+---------+
**
**   NONE  -> READ    vdb_pager_begin_read, vdb_pager_begin_read_at
**   READ  -> NONE    vdb_pager_end_read, vdb_pager_rollback
**   NONE  -> WRITE   vdb_pager_begin_write (lock, then newest snapshot)
**   READ  -> WRITE   vdb_pager_begin_write (BUSY_SNAPSHOT if it is stale)
**   WRITE -> NONE    vdb_pager_commit, vdb_pager_rollback, vdb_pager_decide
**   WRITE -> ERROR   vdb_pager_poison
**   ERROR -> NONE    vdb_pager_rollback
**
**   NONE    nothing is pinned, no page is dirty, the store has no snapshot.
**   READ    the store holds a snapshot; no page is dirty, no savepoint.
**   WRITE   as READ, and the store holds the write lock; dirty pages and
**           pages marked is_in_txn are the difference to the snapshot.
**   ERROR   as WRITE, but a sync failed: the transaction cannot commit.
**
** INVARIANTS
**   P1  The cache is valid for the state named by version_snap, plus what is
**       dirty or is_in_txn. begin_read makes the store forget the rest.
**   P2  `version` is never given to two different states; going back to a
**       state (rollback) goes back to its version.
**   P3  A failed sync is final: is_poisoned is never reset, and every begin
**       returns IOERR_SYNC. What was read before stays readable in READ.
**   P4  A child of fork may not use what its parent opened (pid).
*/
#include <stdlib.h>

#include "util/common.h"
#include "util/rng.h"
#include "pager/pager_int.h"

#ifndef NDEBUG
/* Only called inside of assert. */
static bool assert_pager_state(const struct pager *p){
  switch( p->state ){
    case PAGER_NONE:
      assert( p->cache.n_dirty==0 && p->n_save==0 && !p->is_prepared );
      break;
    case PAGER_READ:
      assert( p->cache.n_dirty==0 && p->n_save==0 );
      assert( p->n_page>p->store->pg_first );
      break;
    case PAGER_WRITE:
      assert( p->snap.txid_write>p->snap.txid );
      assert( p->n_page>p->store->pg_first );
      break;
    case PAGER_ERROR:
      assert( p->is_poisoned );
      break;
  }
  return true;
}
#endif

/* ---- what every function asks first -------------------------------------- */

const char *vdb_pager_name(const struct pager *p){
  return p->name;
}

/* P3, P4 */
int vdb_pager_enter(struct pager *p){
  assert( assert_pager_state(p) );
  if( p->ops->pid(p->ops->env)!=p->pid ){
    return vdb_error(p->err, VECDB_MISUSE, "%s was opened by the parent of "
                     "this process; open it again after fork",
                     vdb_pager_name(p));
  }
  return VECDB_OK;
}

int vdb_pager_enter_none(struct pager *p, const char *verb){
  int rc = vdb_pager_enter(p);
  if( rc!=VECDB_OK ) return rc;
  if( p->state!=PAGER_NONE ){
    return vdb_error(p->err, VECDB_MISUSE, "cannot %s inside a transaction",
                     verb);
  }
  return VECDB_OK;
}

int vdb_pager_not_poisoned(struct pager *p){
  if( !p->is_poisoned ) return VECDB_OK;
  return vdb_error(p->err, VECDB_IOERR_SYNC, "cannot use %s: a sync failed "
                   "earlier; close it and open it again", vdb_pager_name(p));
}

int vdb_pager_use(struct pager *p){
  if( p->state==PAGER_READ || p->state==PAGER_WRITE ) return VECDB_OK;
  if( p->state==PAGER_ERROR ) return vdb_pager_not_poisoned(p);
  return vdb_error(p->err, VECDB_MISUSE, "no transaction is open");
}

int vdb_pager_use_write(struct pager *p){
  if( p->state==PAGER_WRITE ) return VECDB_OK;
  if( p->state==PAGER_ERROR ) return vdb_pager_not_poisoned(p);
  return vdb_error(p->err, VECDB_MISUSE, "no write transaction is open");
}

void vdb_pager_poison(struct pager *p){
  p->is_poisoned = true;
  if( p->state==PAGER_WRITE ) p->state = PAGER_ERROR;
}

void vdb_pager_random(struct pager *p, uint64_t context, void *buf, size_t n){
  struct vdb_rng rng;
  uint64_t word = 0;

  if( p->cfg.fixed_seed==0 ){
    p->ops->random(p->ops->env, buf, n);
    return;
  }
  vdb_rng_init(&rng, vdb_mix64(p->cfg.fixed_seed) ^ context);
  for(size_t i=0; i<n; i++){
    if( i%8==0 ) word = vdb_rng_u64(&rng);
    ((unsigned char*)buf)[i] = (unsigned char)(word >> (8*(i%8)));
  }
}

/* ---- versions ------------------------------------------------------------ */

uint64_t vdb_pager_version(const struct pager *p){ return p->version; }

void vdb_pager_touch(struct pager *p){ p->version = ++p->version_last; }

void vdb_pager_forget(struct pager *p, page_no pgno){
  if( pgno==0 ) vdb_pcache_drop_clean(&p->cache);
  else vdb_pcache_drop(&p->cache, vdb_pcache_find(&p->cache, pgno));
}

/* P2: the snapshot is of another state than the last one; stores count from 1,
** so the first one is. */
static void version_follow(struct pager *p){
  if( p->snap.version!=p->version_snap ){
    p->version_snap = p->snap.version;
    vdb_pager_touch(p);
  }
}

/* ---- reading ------------------------------------------------------------- */

/* The store has given p->snap: enter READ. */
static int read_enter(struct pager *p){
  p->n_page = p->snap.n_page;
  if( p->n_page<=p->store->pg_first || p->n_page>PAGER_NPAGE_MAX ){
    p->store->ops->end_read(p->store);
    return VDB_CORRUPT(p->err, "%s: page count %u is not within %u..%u",
                       vdb_pager_name(p), p->n_page, p->store->pg_first+1,
                       PAGER_NPAGE_MAX);
  }
  p->state = PAGER_READ;
  version_follow(p);
  return VECDB_OK;
}

int vdb_pager_begin_read(struct pager *p){
  int rc = VECDB_OK;

  TRY( vdb_pager_enter_none(p, "begin a transaction") );
  TRY( vdb_pager_not_poisoned(p) );
  p->snap.is_undecided = false;
  TRY( p->store->ops->begin_read(p->store, &p->snap) );
  TRY( read_enter(p) );
done:
  return rc;
}

bool vdb_pager_reads_undecided(const struct pager *p){
  return p->state==PAGER_READ && p->snap.is_undecided;
}

int vdb_pager_begin_read_at(struct pager *p, uint64_t token){
  int rc = VECDB_OK;

  TRY( vdb_pager_enter_none(p, "begin a transaction") );
  TRY( vdb_pager_not_poisoned(p) );
  if( p->store->ops->begin_read_at==NULL ){
    return vdb_error(p->err, VECDB_UNSUPPORTED, "%s has no two-phase commit",
                     vdb_pager_name(p));
  }
  p->snap.is_undecided = false;
  TRY( p->store->ops->begin_read_at(p->store, token, &p->snap) );
  TRY( read_enter(p) );
done:
  return rc;
}

int vdb_pager_end_read(struct pager *p){
  assert( assert_pager_state(p) );
  if( p->state==PAGER_NONE ) return VECDB_OK;
  if( p->state!=PAGER_READ ){
    return vdb_error(p->err, VECDB_MISUSE, "a write transaction is open");
  }
  assert( p->cache.n_pin==0 );
  vdb_extents_end_txn(p);
  p->store->ops->end_read(p->store);
  p->state = PAGER_NONE;
  return VECDB_OK;
}

/* ---- writing ------------------------------------------------------------- */

/* READ, write lock held: enter WRITE. */
static int write_enter(struct pager *p){
  int rc = p->store->ops->begin_write(p->store, &p->snap);

  if( rc!=VECDB_OK ) return rc;
  p->state = PAGER_WRITE;
  p->is_prepared = p->is_changed = p->no_reuse = false;
  p->n_page_high = p->n_page;
  p->version_begin = p->version;
  p->sz_run_none = 0;
  return rc;
}

int vdb_pager_begin_write(struct pager *p){
  bool is_locked = false, is_reading = false;
  int rc = VECDB_OK;

  TRY( vdb_pager_enter(p) );
  TRY( vdb_pager_not_poisoned(p) );
  if( p->state!=PAGER_NONE && p->state!=PAGER_READ ){
    return vdb_error(p->err, VECDB_MISUSE,
                     "a write transaction is already open");
  }
  if( p->store->is_readonly ){
    return vdb_error(p->err, VECDB_READONLY, "cannot write %s: it is open "
                     "for reading only", vdb_pager_name(p));
  }
  TRY( p->store->ops->lock_write(p->store) );
  is_locked = true;
  if( p->state==PAGER_NONE ){
    TRY( p->store->ops->begin_read(p->store, &p->snap) );
    TRY( read_enter(p) );
    is_reading = true;
  }
  TRY( write_enter(p) );
done:
  if( rc!=VECDB_OK && is_reading ){
    p->store->ops->end_read(p->store);
    p->state = PAGER_NONE;
  }
  if( rc!=VECDB_OK && is_locked ) p->store->ops->unlock_write(p->store);
  assert( assert_pager_state(p) );
  return rc;
}

/* The transaction is over for the store; what is left is ours. */
static void write_leave(struct pager *p){
  vdb_save_clear(p);
  vdb_extents_end_txn(p);
  p->created.n = p->freed.n = 0;
  p->is_prepared = p->is_changed = false;
  p->store->ops->end_read(p->store);
  p->state = PAGER_NONE;
}

static int page_compare(const void *a, const void *b){
  const struct cpage *x = *(struct cpage *const*)a;
  const struct cpage *y = *(struct cpage *const*)b;
  return x->pub.pgno<y->pub.pgno ? -1 : x->pub.pgno>y->pub.pgno;
}

/* The dirty pages in order of their numbers, so that equal changes give equal
** logs and checkpoints write forwards. */
static int dirty_list(struct pager *p, struct cpage ***out, size_t *n){
  struct cpage **list = vdb_malloc_array(p->cache.n_dirty, sizeof(*list));
  size_t i = 0;

  *out = list;
  *n = 0;
  if( list==NULL ) return VECDB_NOMEM;
  for(struct cpage *cp=p->cache.dirty.first; cp; cp=cp->next) list[i++] = cp;
  assert( i==p->cache.n_dirty );
  qsort(list, i, sizeof(*list), page_compare);
  *n = i;
  return VECDB_OK;
}

/* What a store took is what the cache holds from here on. */
static void dirty_to_clean(struct pager *p){
  while( p->cache.dirty.first ){
    vdb_pcache_set_written(&p->cache, p->cache.dirty.first);
  }
}

static int write_commit(struct pager *p){
  struct cpage **dirty = NULL;
  size_t n = 0;
  int rc = VECDB_OK;

  if( !p->store->has_runs && p->is_changed ) TRY( vdb_root_touch(p) );
  TRY( dirty_list(p, &dirty, &n) );
  p->no_spill = true;               /* what is listed stays in the cache */
  TRY( p->store->ops->commit(p->store, dirty, n, p->n_page) );
done:
  p->no_spill = false;
  vdb_free(dirty);
  return rc;
}

int vdb_pager_commit(struct pager *p){
  bool is_changed;
  int rc = VECDB_OK;

  TRY( vdb_pager_enter(p) );
  if( p->state==PAGER_READ ) return vdb_pager_end_read(p);
  TRY( vdb_pager_use_write(p) );
  assert( p->cache.n_pin==0 );
  is_changed = p->is_changed || p->is_prepared;
  if( !is_changed ){
    p->store->ops->rollback(p->store);
  }else{
    TRY( write_commit(p) );
    p->n_commit++;
    if( p->version==p->version_begin ) vdb_pager_touch(p);
    p->version_snap = p->snap.version;
  }
  dirty_to_clean(p);
  vdb_pcache_end_txn(&p->cache);
  vdb_pcache_shrink(&p->cache);
  write_leave(p);
  if( is_changed && p->store->ops->after_commit ){
    p->store->ops->after_commit(p->store);
  }
done:
  assert( assert_pager_state(p) );
  return rc;
}

int vdb_pager_rollback(struct pager *p){
  int rc = vdb_pager_enter(p);

  if( rc!=VECDB_OK || p->state==PAGER_NONE ) return rc;
  if( p->state==PAGER_READ ) return vdb_pager_end_read(p);
  assert( p->cache.n_pin==0 );
  vdb_extents_undo(p, 0, 0);
  vdb_pcache_drop_txn(&p->cache);
  p->store->ops->rollback(p->store);
  p->version = p->version_begin;
  write_leave(p);
  assert( assert_pager_state(p) );
  return VECDB_OK;
}

/* ---- two-phase commit ---------------------------------------------------- */

bool vdb_pager_is_shared(const struct pager *p){
  return p->cfg.path!=NULL;
}

bool vdb_pager_is_hosted(const struct pager *p){
  return p->store->is_hosted;
}

static int two_phase_supported(struct pager *p){
  if( p->store->ops->prepare ) return VECDB_OK;
  return vdb_error(p->err, VECDB_UNSUPPORTED, "%s has no two-phase commit",
                   vdb_pager_name(p));
}

int vdb_pager_prepare(struct pager *p, const unsigned char host_uuid[16],
                      uint64_t token){
  struct cpage **dirty = NULL;
  size_t n = 0;
  int rc = VECDB_OK;

  TRY( vdb_pager_enter(p) );
  TRY( two_phase_supported(p) );
  TRY( vdb_pager_use_write(p) );
  if( p->is_prepared && !p->is_changed ) return VECDB_OK;
  TRY( vdb_root_set_token(p, host_uuid, token) );
  TRY( dirty_list(p, &dirty, &n) );
  p->no_spill = true;
  TRY( p->store->ops->prepare(p->store, dirty, n, p->n_page, host_uuid,
                              token) );
  if( !p->store->is_hosted ) dirty_to_clean(p);
  p->is_prepared = true;
  p->is_changed = false;
done:
  p->no_spill = false;
  vdb_free(dirty);
  return rc;
}

int vdb_pager_in_doubt(struct pager *p, bool *in_doubt,
                       unsigned char host_uuid[16], uint64_t *token){
  int rc = VECDB_OK;

  *in_doubt = false;
  memset(host_uuid, 0, 16);
  *token = 0;
  TRY( vdb_pager_enter(p) );
  if( p->store->ops->in_doubt ){
    TRY( p->store->ops->in_doubt(p->store, in_doubt, host_uuid, token) );
  }
done:
  return rc;
}

/* Roll back, and say so when the log still holds the PREPARE: it can be
** decided again. */
static int prepare_take_back(struct pager *p){
  unsigned char host[16];
  uint64_t token = 0;
  bool was_prepared = p->is_prepared, in_doubt = false;
  int rc = VECDB_OK;

  TRY_ALWAYS( vdb_pager_rollback(p) );      /* in a child we are not here */
  if( !was_prepared ) goto done;
  TRY( vdb_pager_in_doubt(p, &in_doubt, host, &token) );
  if( in_doubt ){
    TRY( vdb_error(p->err, VECDB_IOERR_WRITE, "cannot take back the prepared "
                   "transaction of %s: the log could not be written; decide "
                   "it again", vdb_pager_name(p)) );
  }
done:
  return rc;
}

int vdb_pager_decide(struct pager *p, bool commit, bool undoable){
  int rc = VECDB_OK;

  TRY( vdb_pager_enter(p) );
  if( p->state==PAGER_WRITE || p->state==PAGER_ERROR ){
    if( !commit ) return prepare_take_back(p);
    p->is_undoable = undoable && p->is_prepared;
    rc = vdb_pager_commit(p);
    p->is_undoable = false;
    return rc;
  }
  TRY( vdb_pager_enter_none(p, "decide a prepared transaction") );
  TRY( two_phase_supported(p) );
  TRY( vdb_pager_not_poisoned(p) );
  TRY( p->store->ops->decide_orphan(p->store, commit) );
done:
  return rc;
}

int vdb_pager_undoable(struct pager *p, bool *undoable,
                       struct undo_tokens *out){
  int rc = VECDB_OK;

  *undoable = false;
  memset(out, 0, sizeof(*out));
  TRY( vdb_pager_enter(p) );
  if( p->store->ops->undoable && p->state==PAGER_NONE ){
    TRY( p->store->ops->undoable(p->store, undoable, out) );
  }
done:
  return rc;
}

int vdb_pager_rewind(struct pager *p, uint64_t token, uint64_t newest){
  int rc = VECDB_OK;

  TRY( vdb_pager_enter(p) );
  TRY( vdb_pager_enter_none(p, "take commits back") );
  TRY( two_phase_supported(p) );
  TRY( vdb_pager_not_poisoned(p) );
  TRY( p->store->ops->rewind(p->store, token, newest) );
done:
  return rc;
}

void vdb_pager_set_host(struct pager *p, int (*fn)(void *arg), void *arg){
  p->host_fn = fn;
  p->host_arg = arg;
}

int vdb_pager_sync_folder(struct pager *p, const char *path){
  return p->ops->sync_dir(p->ops->env, path, NULL);
}

int vdb_pager_committed_token(struct pager *p, unsigned char host_uuid[16],
                              uint64_t *token){
  bool is_own = p->state==PAGER_NONE;
  int rc = VECDB_OK;

  *token = 0;
  memset(host_uuid, 0, 16);
  if( is_own ) TRY( vdb_pager_begin_read(p) );
  rc = vdb_root_get_token(p, host_uuid, token);
  if( is_own ) vdb_pager_end_read(p);
done:
  return rc;
}

/* ---- opening and closing ------------------------------------------------- */

/* `"x.vdb"` as messages name it. An outside store is named by the path its
** host gave, which is no path of a file. */
static int pager_set_name(struct pager *p, const char *path){
  size_t n = path ? strlen(path) : 0;

  if( path==NULL ){
    p->name = vdb_strdup(p->cfg.store ? "the page store" : "the database");
  }else if( (p->name = vdb_malloc(n+3))!=NULL ){
    p->name[0] = '"';
    memcpy(p->name+1, path, n);
    memcpy(p->name+1+n, "\"", 2);
  }
  return p->name ? VECDB_OK : VECDB_NOMEM;
}

static int config_check(struct pager *p){
  struct pager_config *cfg = &p->cfg;
  uint32_t n = cfg->sz_page;

  if( n!=0 && (n<4096 || n>65536 || (n&(n-1))) ){
    return vdb_error(p->err, VECDB_RANGE, "cannot open %s: page size %u is "
                     "not a power of two in 4096..65536", vdb_pager_name(p),
                     n);
  }
  if( cfg->sync>VECDB_SYNC_OFF ){
    return vdb_error(p->err, VECDB_RANGE, "cannot open %s: sync is %u, "
                     "expected 0, 1 or 2", vdb_pager_name(p), cfg->sync);
  }
  if( cfg->sz_page==0 ) cfg->sz_page = 4096;
  if( cfg->sz_cache==0 ) cfg->sz_cache = PAGER_CACHE_DEFAULT;
  if( cfg->sz_cache<PAGER_CACHE_MIN ) cfg->sz_cache = PAGER_CACHE_MIN;
  if( cfg->sz_wal_auto==0 ) cfg->sz_wal_auto = PAGER_WAL_DEFAULT;
  return VECDB_OK;
}

static int store_open(struct pager *p){
  if( p->cfg.store ) return vdb_store_outside_open(p, &p->store);
  if( p->cfg.path==NULL ) return vdb_store_mem_open(p, &p->store);
  return vdb_store_file_open(p, &p->store);
}

static void pager_free(struct pager *p){
  vdb_extents_clear(p);
  if( p->cache.bucket ) vdb_pcache_clear(&p->cache);
  vdb_save_close(p);
  vdb_free(p->created.no);
  vdb_free(p->freed.no);
  vdb_free((char*)p->cfg.path);
  vdb_free(p->name);
  vdb_free(p->path_full);
  vdb_free(p);
}

int vdb_pager_open(const struct pager_config *cfg, struct vdb_err *err,
                   struct pager **out){
  struct pager *p = vdb_calloc(1, sizeof(*p));
  bool is_file = cfg->path && cfg->store==NULL
              && !(cfg->open_flags & VECDB_OPEN_MEMORY);
  int rc = VECDB_OK;

  *out = NULL;
  if( p==NULL ) return VECDB_NOMEM;
  p->cfg = *cfg;
  p->cfg.path = is_file ? vdb_strdup(cfg->path) : NULL;
  p->err = err ? err : &p->err_own;
  p->ops = cfg->file ? cfg->file : &vdb_file_posix;
  p->pid = p->ops->pid(p->ops->env);
  if( is_file && p->cfg.path==NULL ) TRY( VECDB_NOMEM );
  TRY( pager_set_name(p, cfg->store ? cfg->path : p->cfg.path) );
  TRY( config_check(p) );
  TRY( vdb_extents_init(p) );
  TRY( store_open(p) );
  TRY( vdb_pcache_init(&p->cache, p->store->usable, p->cfg.sz_cache) );
  *out = p;
  p = NULL;
done:
  if( p ){
    if( p->store ) p->store->ops->close(p->store, false);
    pager_free(p);
  }
  return rc;
}

/* Alone with the file: drop free pages at its end. Failing is no harm. */
static void close_trim(struct pager *p){
  bool trimmed = false;

  if( vdb_pager_begin_write(p)!=VECDB_OK ) return;
  if( vdb_alloc_trim(p, &trimmed)!=VECDB_OK || !trimmed
      || vdb_pager_commit(p)!=VECDB_OK ){
    vdb_pager_rollback(p);
  }
}

int vdb_pager_close(struct pager *p){
  bool is_child;
  int rc;

  if( p==NULL ) return VECDB_OK;
  is_child = p->ops->pid(p->ops->env)!=p->pid;
  if( !is_child ){
    vdb_pager_rollback(p);
    if( !p->is_poisoned && p->store->ops->close_begin
        && p->store->ops->close_begin(p->store) ){
      close_trim(p);
    }
  }
  vdb_extents_clear(p);
  rc = p->store->ops->close(p->store, is_child);
  pager_free(p);
  return rc;
}
