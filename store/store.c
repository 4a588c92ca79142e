/* store.c -- transactions over collections: scopes, caches, policy.
**
** TRANSACTIONS   A pager transaction is wanted by whoever began one
**   explicitly (is_explicit) and by open reading statements (n_read_scope).
**   It ends when nobody wants it any more. Commit and rollback end it in the
**   pager; when reading statements are still open, a new read begins at once,
**   so that they go on in the newest state.
**
** CACHES   of a collection are kept by version numbers that no two committed
**   states share. What an undone transaction showed may carry a number that
**   somebody else's commit uses later, so every undo drops the caches of the
**   collections that the transaction has changed (vdb_coll_forget_dirty); of
**   all, if one of these was closed: a handle opened since may show the same.
**   The same goes for readers of an undecided transaction, at their end.
**   Handles of collections whose creation was undone are lost: the id will be
**   another's.
**   Open searches hold pins; they end with the transaction (runs.c).
*/
#include "util/common.h"
#include "store/graphs.h"
#include "store/tender.h"
#include "util/pool.h"

int vdb_store_open(const struct pager_config *cfg, struct vdb_err *err,
                   struct store **out){
  struct store *st = vdb_calloc(1, sizeof(*st));
  int rc;

  *out = NULL;
  if( st==NULL ) return VECDB_NOMEM;
  st->err = err;
  st->cfg = *cfg;
  rc = vdb_pager_open(cfg, err, &st->p);
  if( rc!=VECDB_OK ){
    vdb_free(st);
    return rc;
  }
  *out = st;
  return VECDB_OK;
}

int vdb_store_close(struct store *st){
  int rc;

  if( st==NULL ) return VECDB_OK;
  vdb_tender_leave(st);
  vdb_hold_detach_all(st);
  while( st->coll!=NULL ){
    st->coll->n_ref = 1;
    vdb_store_coll_close(st->coll);
  }
  rc = vdb_pager_close(st->p);
  vdb_free(st->bucket);
  vdb_free(st);
  return rc;
}

struct pager *vdb_store_pager(struct store *st){ return st->p; }
struct vdb_err *vdb_store_err(struct store *st){ return st->err; }
uint64_t vdb_store_n_undo(const struct store *st){ return st->n_undo; }

void vdb_store_set_threads(struct store *st, unsigned n){ st->n_thread = n; }

void vdb_store_set_build_bytes(struct store *st, uint64_t sz){
  st->sz_build = sz;
  vdb_tender_build_bytes(st);
}

uint64_t vdb_store_build_bytes(const struct store *st){
  return st->sz_build ? st->sz_build : vdb_machine_memory()/2;
}

void vdb_store_set_progress(struct store *st, vdb_progress_cb cb, void *arg){
  st->progress = cb;
  st->progress_arg = arg;
}

int vdb_store_progress(struct store *st, const char *phase, const char *unit,
                       uint64_t done, uint64_t total){
  bool stop = vdb_pager_interrupted(st->p);

  if( !stop && st->progress!=NULL ){
    stop = st->progress(st->progress_arg, phase, unit, done, total)!=0;
  }
  if( !stop ) return VECDB_OK;
  return vdb_error(st->err, VECDB_INTERRUPT, "interrupted while at %s", phase);
}

/* ---- Ends of transactions ------------------------------------------------ */

/* Of the collections that this transaction has created, those that are gone
** with an undo. If the root page cannot say it, all of them: they are found
** again when they are opened. */
static void created_undone(struct store *st){
  uint64_t last = 0;                   /* the greatest id that there still is */
  struct coll *next;

  if( st->new_id==0 ) return;
  if( vdb_pager_state(st->p)!=PAGER_WRITE
   || vdb_root_get(st->p, ROOT_NEXT_COLLECTION, &last)!=VECDB_OK
   || last<st->new_id ) last = st->new_id-1;
  for(struct coll *c=st->coll; c!=NULL; c=next){
    next = c->next;
    if( c->id>last ) vdb_handle_lose(c);
  }
}

/* Changes of this transaction are gone: so are the caches that show them. */
static void store_undone(struct store *st){
  created_undone(st);
  for(struct coll *c=st->coll; c!=NULL; c=c->next){
    if( st->has_left_dirty ) vdb_coll_drop_caches(c);
    vdb_coll_forget_dirty(c);
  }
  st->n_undo++;
}

static void store_kept(struct store *st){
  vdb_handles_clean(st);
  st->new_id = 0;
}

/* After a failure: if it has ended the write transaction (a failed sync does),
** what that changed is gone. */
static void store_broken(struct store *st){
  if( vdb_pager_state(st->p)==PAGER_WRITE ) return;
  store_undone(st);
  store_kept(st);
  st->is_explicit = false;
}

/* The pager's transaction is over; open reading statements get a new one. */
static int store_ended(struct store *st){
  st->is_explicit = false;
  if( st->n_read_scope==0 || vdb_pager_state(st->p)!=PAGER_NONE ){
    return VECDB_OK;
  }
  return vdb_pager_begin_read(st->p);
}

static int read_release(struct store *st){
  if( st->is_explicit || st->n_read_scope>0 ) return VECDB_OK;
  if( vdb_pager_state(st->p)!=PAGER_READ ) return VECDB_OK;
  vdb_hold_end_all(st);
  if( vdb_pager_reads_undecided(st->p) ){
    for(struct coll *c=st->coll; c!=NULL; c=c->next) vdb_coll_drop_caches(c);
  }
  return vdb_pager_end_read(st->p);
}

/* ---- Explicit transactions ----------------------------------------------- */

int vdb_store_begin_read(struct store *st){
  int rc = VECDB_OK;

  if( vdb_pager_state(st->p)==PAGER_NONE ) rc = vdb_pager_begin_read(st->p);
  if( rc==VECDB_OK ) st->is_explicit = true;
  return rc;
}

int vdb_store_begin_read_at(struct store *st, uint64_t token){
  int rc;

  if( vdb_pager_state(st->p)==PAGER_READ ){
    return vdb_error(st->err, VECDB_MISUSE, "a statement is still reading; "
                     "reset it before a read begins at a token");
  }
  rc = vdb_pager_begin_read_at(st->p, token);
  if( rc==VECDB_OK ) st->is_explicit = true;
  return rc;
}

int vdb_store_end_read(struct store *st){
  st->is_explicit = false;
  return read_release(st);
}

int vdb_store_begin_write(struct store *st){
  int rc = vdb_pager_begin_write(st->p);

  if( rc==VECDB_OK ) st->is_explicit = true;
  return rc;
}

/* optimize=commit: tidy up, all or nothing. A failure is no reason to lose the
** user's changes: they are committed untidy, and the log hears of it. Only an
** interrupt is passed on. */
static int upkeep_run(struct store *st, struct coll *c,
                      int (*upkeep)(struct coll *c)){
  unsigned n;
  int rc, rc2;

  rc = vdb_pager_savepoint(st->p, &n);
  if( rc!=VECDB_OK ) return rc;
  rc = upkeep(c);
  if( rc==VECDB_OK ) return vdb_pager_release(st->p, n);
  rc2 = vdb_store_rollback_to(st, n);
  if( rc2==VECDB_OK ) rc2 = vdb_pager_release(st->p, n);
  if( rc2!=VECDB_OK || rc==VECDB_INTERRUPT ) return rc2!=VECDB_OK ? rc2 : rc;
  vdb_log(rc, "optimize at commit: %s", vdb_error_text(st->err));
  vdb_error_clear(st->err);
  return VECDB_OK;
}

/* optimize=background: *is_done if there is a thread for it, or nothing to do. */
static int background_run(struct store *st, struct coll *c, bool *is_done){
  struct tender_note note;
  int rc = vdb_segs_load(c);

  *is_done = true;
  c->tidy_version = c->s.seg_version;    /* looked at, or up to the thread */
  if( rc!=VECDB_OK ){
    vdb_error_clear(st->err);            /* whoever does it finds it again */
  }else if( !vdb_coll_has_untidy_groups(c) && !vdb_graphs_want_upkeep(c) ){
    return VECDB_OK;
  }
  *is_done = !st->is_undoable && vdb_tender_join(st);
  if( !*is_done ) return VECDB_OK;
  c->is_asking = true;
  vdb_tender_note(st, &note);
  return note.is_busy ? upkeep_run(st, c, vdb_graphs_help) : VECDB_OK;
}

/* The policy of one collection that this transaction has changed. */
static int policy_run(struct store *st, struct coll *c){
  bool is_done;
  int rc;

  c->is_asking = false;
  rc = vdb_coll_refresh(c);
  if( rc==VECDB_NOTFOUND ){                        /* dropped */
    vdb_error_clear(st->err);
    return VECDB_OK;
  }
  if( rc!=VECDB_OK ) return rc;
  if( c->schema->policy==POLICY_MANUAL || st->is_tender || c->is_stepping ){
    return VECDB_OK;
  }
  if( !vdb_coll_wants_tidying(c) ) return VECDB_OK;
  if( c->schema->policy==POLICY_BACKGROUND ){
    rc = background_run(st, c, &is_done);
    if( rc!=VECDB_OK || is_done ) return rc;
  }
  return upkeep_run(st, c, vdb_coll_maintain);
}

/* After the commit: tell the thread. What changed is the sum of rows that came
** and rows that went. */
static void store_ask(struct store *st){
  for(struct coll *c=st->dirty; c!=NULL; c=c->dirty_next){
    if( !c->is_asking ) continue;
    c->is_asking = false;
    vdb_tender_ask(st, c->name, 2*(uint64_t)c->s.next_slot - coll_n_row(c));
  }
}

static int store_run_policy(struct store *st){
  int rc = VECDB_OK;

  for(struct coll *c=st->dirty; c!=NULL && rc==VECDB_OK; c=c->dirty_next){
    rc = policy_run(st, c);
  }
  return rc;
}

int vdb_store_commit(struct store *st){
  int rc;

  if( vdb_pager_state(st->p)!=PAGER_WRITE ) return vdb_store_end_read(st);
  vdb_hold_end_all(st);
  TRY( store_run_policy(st) );
  TRY( vdb_pager_commit(st->p) );
  store_ask(st);
  store_kept(st);
  rc = store_ended(st);
done:
  if( rc!=VECDB_OK ) store_broken(st);
  return rc;
}

int vdb_store_rollback(struct store *st){
  int rc, rc2;

  vdb_hold_end_all(st);
  if( vdb_pager_state(st->p)==PAGER_READ ) return vdb_store_end_read(st);
  rc = vdb_pager_rollback(st->p);
  store_undone(st);
  store_kept(st);
  rc2 = store_ended(st);
  return rc!=VECDB_OK ? rc : rc2;
}

int vdb_store_prepare(struct store *st, const unsigned char host_uuid[16],
                      uint64_t token){
  int rc = VECDB_OK;

  if( vdb_pager_is_hosted(st->p) ){      /* tidied up in the same transaction */
    vdb_hold_end_all(st);
    TRY( store_run_policy(st) );
  }
  rc = vdb_pager_prepare(st->p, host_uuid, token);
done:
  return rc;
}

/* After the host's commit: an engine transaction of its own. That it cannot
** run now is no error of the commit, which has happened. */
static void store_policy_after(struct store *st){
  if( st->dirty==NULL || vdb_pager_begin_write(st->p)!=VECDB_OK ) return;
  if( store_run_policy(st)==VECDB_OK && vdb_pager_commit(st->p)==VECDB_OK ){
    store_ask(st);
    return;
  }
  vdb_pager_rollback(st->p);
  store_undone(st);
}

int vdb_store_decide(struct store *st, bool commit, bool undoable){
  bool is_ours = vdb_pager_state(st->p)==PAGER_WRITE
              || vdb_pager_state(st->p)==PAGER_ERROR;
  int rc;

  vdb_hold_end_all(st);
  rc = vdb_pager_decide(st->p, commit, undoable);
  if( rc!=VECDB_OK ){
    if( is_ours ) store_broken(st);
    return rc;
  }
  if( !commit ) store_undone(st);
  st->new_id = 0;
  if( commit && is_ours && !vdb_pager_is_hosted(st->p) ){
    st->is_undoable = undoable;
    store_policy_after(st);
    st->is_undoable = false;
  }
  store_kept(st);
  vdb_error_clear(st->err);
  return store_ended(st);
}

/* Caches may show what was taken back, under numbers that come again. */
int vdb_store_rewind(struct store *st, uint64_t token, uint64_t newest){
  int rc;

  vdb_hold_end_all(st);
  vdb_tender_hold(st);
  rc = vdb_pager_rewind(st->p, token, newest);
  vdb_tender_release(st);
  for(struct coll *c=st->coll; c!=NULL; c=c->next) vdb_coll_drop_caches(c);
  st->n_undo++;                          /* for what statements keep, too */
  return rc;
}

int vdb_store_savepoint(struct store *st, unsigned *n){
  int rc = vdb_pager_savepoint(st->p, n);

  if( rc==VECDB_OK ) vdb_pager_share_savepoint(st->p, *n);
  return rc;
}

int vdb_store_release(struct store *st, unsigned n){
  return vdb_pager_release(st->p, n);
}

int vdb_store_rollback_to(struct store *st, unsigned n){
  int rc;

  vdb_hold_end_all(st);
  rc = vdb_pager_rollback_to(st->p, n);
  store_undone(st);
  return rc;
}

/* ---- Statements ---------------------------------------------------------- */

int vdb_store_write_begin(struct store *st, struct write_scope *w){
  int rc = VECDB_OK;

  memset(w, 0, sizeof(*w));
  w->is_own = !st->is_explicit && vdb_pager_state(st->p)!=PAGER_WRITE;
  if( vdb_pager_state(st->p)!=PAGER_WRITE ){
    TRY( vdb_pager_begin_write(st->p) );
  }
  if( !w->is_own ) TRY( vdb_pager_savepoint(st->p, &w->savepoint) );
  w->version = vdb_pager_version(st->p);
done:
  return rc;
}

/* Undo without losing the sentence of what failed first. */
static int scope_undo(struct store *st, struct write_scope *w, int rc){
  struct vdb_err first = { VECDB_OK, "" };
  int rc2;

  if( st->err!=NULL ) first = *st->err;
  if( w->is_own ){
    rc2 = vdb_store_rollback(st);
  }else if( vdb_pager_version(st->p)==w->version ){
    rc2 = vdb_pager_release(st->p, w->savepoint);  /* nothing was changed */
  }else{
    rc2 = vdb_store_rollback_to(st, w->savepoint);
    if( rc2==VECDB_OK ) rc2 = vdb_pager_release(st->p, w->savepoint);
  }
  if( st->err!=NULL && first.rc!=VECDB_OK ) *st->err = first;
  return rc!=VECDB_OK ? rc : rc2;
}

int vdb_store_write_end(struct store *st, struct write_scope *w, int rc){
  if( vdb_pager_state(st->p)!=PAGER_WRITE ){
    store_broken(st);
    return rc!=VECDB_OK ? rc : VECDB_ABORT;
  }
  if( rc!=VECDB_OK ) return scope_undo(st, w, rc);
  if( !w->is_own ) return vdb_pager_release(st->p, w->savepoint);
  rc = vdb_store_commit(st);
  if( rc!=VECDB_OK && vdb_pager_state(st->p)==PAGER_WRITE ){
    return scope_undo(st, w, rc);
  }
  return rc;
}

int vdb_store_read_begin(struct store *st, struct read_scope *r){
  int rc = VECDB_OK;

  r->is_own = false;
  if( vdb_pager_state(st->p)==PAGER_NONE ) rc = vdb_pager_begin_read(st->p);
  if( rc!=VECDB_OK ) return rc;
  r->is_own = true;
  st->n_read_scope++;
  return VECDB_OK;
}

int vdb_store_read_end(struct store *st, struct read_scope *r){
  if( !r->is_own ) return VECDB_OK;
  r->is_own = false;
  st->n_read_scope--;
  return read_release(st);
}
