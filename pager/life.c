/* life.c -- opening, closing and replacing a .vdb file.
**
** The lifecycle lock is a byte of the main file: shared while the file is
** open, exclusive to create, recover, or remove -shm and -wal. It is on the
** main file so that no two processes ever lock different -shm files, even when
** somebody deletes one.
**
** OPENING
**   exclusive obtained   nobody else is there: create the file if unborn,
**                        empty -shm, recover from the log, publish, then make
**                        the lock shared
**   shared obtained      others have published: join them. If -shm is not
**                        ready, its maker died, or somebody deleted it: let
**                        go and try again
**   neither              somebody makes or removes: wait
** The path may name another file by the time the lock is held (a vacuum
** replaced it): then everything is tried again.
**
** CLOSING  Whoever can make the lock exclusive is the last: it checkpoints,
** removes -wal and -shm and cuts the file to its pages. Who cannot lets go of
** the lock and tries once more, so that of two that close at the same moment
** one is the last. Somebody may have come and gone in between: -shm must still
** be the one that is mapped, else there is nothing left to do.
**
** INVARIANTS
**   Y1  SHM.MAGIC is written last: -shm without it is not used.
**   Y2  -wal is removed only when every frame is home and nothing is
**       undecided, under the exclusive lock.
**   Y3  A new main file is renamed into place only after the old log is
**       durably gone: a log is never beside a file it does not belong to
**       without its uuid or salt telling so, and here the uuid stays.
**   Y4  The new main file is locked like the old one before it gets the name:
**       nobody opens it before the old -shm is gone.
**   Y5  What replaces the file was made from its newest state, and is whole:
**       it has no log of its own.
*/
#include "util/common.h"
#include "pager/fstore.h"

#define SHM_MAGIC_VALUE   0x326d68736264632eu
#define OPEN_WAIT_MIN_MS  2000       /* opening is short; do wait for it */

/* ---- files --------------------------------------------------------------- */

static char *path_with(const char *path, const char *suffix){
  size_t n = strlen(path), n_suffix = strlen(suffix);
  char *z = vdb_malloc(n + n_suffix + 1);
  if( z ){
    memcpy(z, path, n);
    memcpy(z+n, suffix, n_suffix+1);
  }
  return z;
}

static int paths_set(struct fstore *fs){
  struct pager *p = fs->base.pager;
  int rc = VECDB_OK;

  if( fs->path==NULL ){
    rc = fs->ops->full_path(fs->ops->env, p->cfg.path, &fs->path);
    if( rc!=VECDB_OK ){
      return vdb_error(fs->err, rc, "cannot open %s: no such folder, or it "
                       "cannot be searched, or a symbolic link to nothing",
                       vdb_pager_name(p));
    }
  }
  if( fs->path_wal==NULL ) fs->path_wal = path_with(fs->path, "-wal");
  if( fs->path_shm==NULL ) fs->path_shm = path_with(fs->path, "-shm");
  if( p->path_full==NULL ) p->path_full = vdb_strdup(fs->path);
  return fs->path_wal && fs->path_shm && p->path_full ? VECDB_OK
                                                       : VECDB_NOMEM;
}

static void handle_close(struct fstore *fs, struct vdb_file **f){
  if( *f ) (void)fs->ops->close(*f);
  *f = NULL;
}

static void files_close(struct fstore *fs){
  vdb_map_clear(fs);
  handle_close(fs, &fs->wal);
  if( fs->shm ) fs->ops->shm_unmap(fs->shm);
  handle_close(fs, &fs->shm);
  handle_close(fs, &fs->main);
  fs->i_own = -1;                      /* the lock went with the file */
  fs->n_share = 0;
}

/* Open the main file, for writing if that is allowed: locks need it, even
** those of a reader. `path` is the name as given where links are refused,
** else the resolved one. */
static int main_open(struct fstore *fs, const char *path){
  struct pager *p = fs->base.pager;
  uint32_t flags = p->cfg.open_flags;
  unsigned nofollow = flags & VECDB_OPEN_NOFOLLOW ? FILE_NOFOLLOW : 0;
  unsigned create = (flags & VECDB_OPEN_CREATE) && !(flags &
                    (VECDB_OPEN_READONLY|VECDB_OPEN_IMMUTABLE)) ? FILE_CREATE
                                                                : 0;
  int rc = VECDB_READONLY;

  if( !(flags & VECDB_OPEN_IMMUTABLE) ){
    rc = fs->ops->open(fs->ops->env, path, nofollow|create, &fs->main,
                       fs->err);
    fs->mode = FSTORE_SHARED;
  }
  if( rc==VECDB_READONLY ){
    rc = fs->ops->open(fs->ops->env, path, nofollow|FILE_READONLY,
                       &fs->main, fs->err);
    fs->mode = flags & VECDB_OPEN_IMMUTABLE ? FSTORE_IMMUTABLE : FSTORE_VIEW;
  }
  if( rc==VECDB_NOTFOUND ){
    rc = vdb_error(fs->err, VECDB_CANTOPEN, create
                   ? "cannot create %s: no permission to write to its folder"
                   : "cannot open %s: there is no such file",
                   vdb_pager_name(p));
  }
  fs->base.is_readonly = fs->mode!=FSTORE_SHARED
                      || (flags & VECDB_OPEN_READONLY);
  return rc;
}

bool vdb_fstore_path_is_ours(struct fstore *fs){
  struct file_id a = { 0, 0 }, b = { 0, 0 };
  return fs->ops->path_id(fs->ops->env, fs->path, &a)==VECDB_OK
      && fs->ops->id(fs->main, &b)==VECDB_OK
      && a.dev==b.dev && a.ino==b.ino;
}

/* What the header says goes for the store. */
static int header_adopt(struct fstore *fs){
  const struct header *h = &fs->header;
  uint64_t sz = 0;
  int rc = VECDB_OK;

  TRY( vdb_header_read(fs, &fs->header) );
  fs->sz_page = fs->base.usable = h->sz_page;
  fs->base.pg_first = h->pg_root;
  memcpy(fs->base.uuid, h->uuid, 16);
  if( h->is_readonly ) fs->base.is_readonly = true;
  TRY( fs->ops->size(fs->main, &sz, fs->err) );
  if( sz<page_offset(fs, h->n_page) ){
    TRY( VDB_CORRUPT(fs->err, "cannot open %s: it is %llu bytes long, expected "
                     "%llu", vdb_pager_name(fs->base.pager),
                     (unsigned long long)sz,
                     (unsigned long long)page_offset(fs, h->n_page)) );
  }
done:
  return rc;
}

/* ---- alone --------------------------------------------------------------- */

/* Open -shm, empty if `flags` create it, and map it. On failure it is not open:
** what is not mapped must not be stored to. */
static int shm_attach(struct fstore *fs, unsigned flags){
  int rc = VECDB_OK;

  TRY( fs->ops->open(fs->ops->env, fs->path_shm, flags|FILE_NOFOLLOW, &fs->shm,
                     fs->err) );
  if( flags & FILE_CREATE ) TRY( fs->ops->truncate(fs->shm, 0, fs->err) );
  TRY( fs->ops->shm_map(fs->shm, SHM_SIZE, fs->err) );
done:
  if( rc!=VECDB_OK ) handle_close(fs, &fs->shm);
  return rc;
}

/* -shm cannot be made or written: read without it. */
static void view_instead(struct fstore *fs){
  fs->mode = FSTORE_VIEW;
  fs->base.is_readonly = true;
  fs->ops->unlock(fs->main, LOCK_LIFE);
}

/* Publish what recovery found. */
static int shm_init(struct fstore *fs){
  struct log_state st;
  uint64_t n_home = 0;
  int rc = VECDB_OK;

  TRY( vdb_wal_recover(fs, &st) );
  if( st.n_frame>0 && !fs->base.is_readonly ){
    TRY( vdb_wal_sync_found(fs, &st) );
  }
  if( st.off_end ) n_home = vdb_fstore_frames_home(fs, fs->header.txid);
  if( n_home>0 ) TRY( vdb_header_sync(fs) );                  /* K4, ckpt.c */
  fs->ops->shm_store(fs->shm, SHM_BACKFILL, BACKFILL(st.generation, n_home));
  fs->ops->shm_store(fs->shm, SHM_CKPTTXID, fs->header.txid);
  vdb_shm_publish(fs, &st);
  fs->ops->shm_store(fs->shm, SHM_MAGIC, SHM_MAGIC_VALUE);          /* Y1 */
done:
  return rc;
}

static int open_alone(struct fstore *fs){
  bool is_unborn;
  int rc = VECDB_OK;

  is_unborn = vdb_header_is_unborn(fs, &rc);
  if( rc!=VECDB_OK ) goto done;
  if( is_unborn && !fs->base.is_readonly ){
    rc = fs->ops->unlink(fs->ops->env, fs->path_wal, fs->err);
    if( rc!=VECDB_OK && rc!=VECDB_NOTFOUND ) goto done;
    TRY( vdb_header_create(fs) );
  }
  TRY( header_adopt(fs) );
  rc = shm_attach(fs, FILE_CREATE);
  if( rc==VECDB_READONLY ){
    view_instead(fs);
    return VECDB_OK;
  }
  if( rc!=VECDB_OK ) goto done;
  TRY( shm_init(fs) );
  TRY( fs->ops->lock(fs->main, LOCK_LIFE, LOCK_SHARED, NULL) );
done:
  return rc;
}

/* ---- joining others ------------------------------------------------------ */

/* *ready: -shm is there and was initialised. */
static int open_join(struct fstore *fs, bool *ready){
  bool exists = false;
  int rc = VECDB_OK;

  *ready = false;
  TRY( fs->ops->exists(fs->ops->env, fs->path_shm, &exists) );
  if( !exists ) return VECDB_OK;
  rc = shm_attach(fs, 0);
  if( rc==VECDB_NOTFOUND ) return VECDB_OK;
  if( rc==VECDB_READONLY ){
    view_instead(fs);
    *ready = true;
    return VECDB_OK;
  }
  if( rc!=VECDB_OK ) goto done;
  if( fs->ops->shm_load(fs->shm, SHM_MAGIC)!=SHM_MAGIC_VALUE ) goto done;
  TRY( header_adopt(fs) );
  *ready = true;
done:
  return rc;
}

/* One attempt to open. *again: let go of everything and retry. */
static int open_shared(struct fstore *fs, bool *again){
  bool is_alone, is_ready = true;
  int rc = fs->ops->lock(fs->main, LOCK_LIFE, LOCK_EXCLUSIVE, NULL);

  *again = false;
  is_alone = rc==VECDB_OK;
  if( rc==VECDB_BUSY ){
    rc = fs->ops->lock(fs->main, LOCK_LIFE, LOCK_SHARED, NULL);
  }
  if( rc==VECDB_BUSY || (rc==VECDB_OK && !vdb_fstore_path_is_ours(fs)) ){
    *again = true;
    return VECDB_OK;
  }
  if( rc!=VECDB_OK ){
    return vdb_error(fs->err, rc, "cannot lock %s",
                     vdb_pager_name(fs->base.pager));
  }
  if( is_alone ) return open_alone(fs);
  rc = open_join(fs, &is_ready);
  *again = rc==VECDB_OK && !is_ready;
  return rc;
}

static int open_timeout(struct fstore *fs){
  return vdb_error(fs->err, VECDB_BUSY_RECOVERY, "cannot open %s: another "
                   "connection is making or closing it, or its -shm file was "
                   "deleted; retry or set busy_ms",
                   vdb_pager_name(fs->base.pager));
}

/* Readers without shared memory look at once whether they can read. */
static int open_view(struct fstore *fs){
  int rc = VECDB_OK;

  TRY( header_adopt(fs) );
  TRY( vdb_view_begin_read(fs) );
  vdb_view_end_read(fs);
done:
  return rc;
}

int vdb_life_open(struct fstore *fs){
  uint32_t wait_ms = fs->base.pager->cfg.busy_ms;
  struct deadline d = vdb_deadline(fs, wait_ms>OPEN_WAIT_MIN_MS
                                       ? wait_ms : OPEN_WAIT_MIN_MS);
  bool is_first = fs->path==NULL, again = true;
  const struct pager_config *cfg = &fs->base.pager->cfg;
  const char *path;
  int rc = VECDB_OK;

  TRY( paths_set(fs) );
  path = is_first && (cfg->open_flags & VECDB_OPEN_NOFOLLOW) ? cfg->path
                                                             : fs->path;
  while( again ){
    TRY( main_open(fs, path) );
    if( fs->mode!=FSTORE_SHARED ) break;
    TRY( open_shared(fs, &again) );
    if( again ){
      files_close(fs);
      if( !vdb_deadline_wait(fs, &d) ) return open_timeout(fs);
    }
  }
  if( fs->mode!=FSTORE_SHARED ) TRY( open_view(fs) );
done:
  return rc;
}

/* ---- closing ------------------------------------------------------------- */

/* Does the name still lead to the -shm that is mapped, and is it in use? */
static bool shm_is_ours(struct fstore *fs){
  struct file_id a = { 0, 0 }, b = { 0, 0 };
  return fs->ops->path_id(fs->ops->env, fs->path_shm, &a)==VECDB_OK
      && fs->ops->id(fs->shm, &b)==VECDB_OK
      && a.dev==b.dev && a.ino==b.ino
      && fs->ops->shm_load(fs->shm, SHM_MAGIC)==SHM_MAGIC_VALUE;
}

/* Is nobody else there? The lock is held exclusively then. */
static bool close_alone(struct fstore *fs){
  if( fs->ops->lock(fs->main, LOCK_LIFE, LOCK_EXCLUSIVE, NULL)==VECDB_OK ){
    return true;
  }
  fs->ops->unlock(fs->main, LOCK_LIFE);
  return fs->ops->lock(fs->main, LOCK_LIFE, LOCK_EXCLUSIVE, NULL)==VECDB_OK
      && vdb_fstore_path_is_ours(fs) && shm_is_ours(fs);
}

bool vdb_life_close_begin(struct page_store *s){
  struct fstore *fs = fstore_of(s);
  struct log_state st;

  if( fs->mode!=FSTORE_SHARED || s->is_readonly ) return false;
  if( !close_alone(fs) ) return false;
  fs->is_last = true;
  (void)vdb_undo_settle(fs);
  return vdb_shm_read(fs, &st)==VECDB_OK && st.n_frame>0 && !st.prep_txid
      && vdb_undo_firm(fs, &st)==st.txid;
}

/* Nothing is behind the last page: the trim has committed a smaller count. */
static void main_cut(struct fstore *fs){
  uint64_t sz = 0, sz_want = page_offset(fs, fs->header.n_page);
  if( fs->ops->size(fs->main, &sz, NULL)==VECDB_OK && sz>sz_want ){
    (void)fs->ops->truncate(fs->main, sz_want, NULL);
  }
}

/* We are the last: leave one file. */
static int life_finish(struct fstore *fs){
  bool all_home = false;
  int rc = vdb_ckpt_finish(fs, &all_home);

  if( rc!=VECDB_OK ) return (rc&0xff)==VECDB_BUSY ? VECDB_OK : rc;
  if( !all_home || !vdb_fstore_path_is_ours(fs) ) return VECDB_OK;  /* Y2 */
  TRY( vdb_header_read(fs, &fs->header) );
  vdb_map_clear(fs);
  main_cut(fs);
  fs->ops->shm_store(fs->shm, SHM_MAGIC, 0);    /* nobody joins what is left */
  handle_close(fs, &fs->wal);
  rc = fs->ops->unlink(fs->ops->env, fs->path_wal, fs->err);
  if( rc==VECDB_NOTFOUND ) rc = VECDB_OK;
  if( rc!=VECDB_OK ) goto done;
  rc = fs->ops->unlink(fs->ops->env, fs->path_shm, fs->err);
  if( rc==VECDB_NOTFOUND ) rc = VECDB_OK;
done:
  return rc;
}

/* A reader has nothing to bring home. Alone it removes -shm, which the next
** opener would make anew; that it may not is no failure. */
static void life_finish_reader(struct fstore *fs){
  if( fs->mode!=FSTORE_SHARED || fs->shm==NULL ) return;
  if( !close_alone(fs) || !vdb_fstore_path_is_ours(fs) ) return;
  fs->ops->shm_store(fs->shm, SHM_MAGIC, 0);
  (void)fs->ops->unlink(fs->ops->env, fs->path_shm, NULL);
}

/* Frees. In a child of fork the locks are the parent's and stay. */
int vdb_life_close(struct fstore *fs, bool is_child){
  int rc = VECDB_OK;

  if( !is_child && fs->is_last && !fs->base.pager->is_poisoned ){
    rc = life_finish(fs);
  }
  if( !is_child && fs->base.is_readonly ) life_finish_reader(fs);
  files_close(fs);
  vdb_walindex_clear(&fs->ix);
  vdb_free(fs->buf);
  vdb_free(fs->path);
  vdb_free(fs->path_wal);
  vdb_free(fs->path_shm);
  vdb_free(fs);
  return rc;
}

/* ---- replacing the file -------------------------------------------------- */

/* The new root page gets the token of the old one. */
static int replace_token(struct fstore *fs, struct fstore *tmp){
  unsigned char *old = vdb_malloc(fs->sz_page);
  unsigned char *fresh = vdb_malloc(fs->sz_page);
  uint64_t off = page_offset(tmp, tmp->header.pg_root);
  int rc = old && fresh ? VECDB_OK : VECDB_NOMEM;

  if( rc!=VECDB_OK ) goto done;
  TRY( vdb_file_read_full(fs->main, page_offset(fs, fs->header.pg_root), old,
                          fs->sz_page, fs->err) );
  TRY( vdb_file_read_full(tmp->main, off, fresh, fs->sz_page, fs->err) );
  TRY( vdb_page_verify(fs->base.pager, fresh, tmp->header.pg_root) );
  memcpy(fresh + ROOT_HOST, old + ROOT_HOST, 16);
  memcpy(fresh + ROOT_TOKEN, old + ROOT_TOKEN, 8);
  vdb_page_seal(fresh, fs->sz_page, tmp->header.pg_root,
                get_u32(fresh + PAGEHDR_TXID));
  TRY( fs->ops->write(tmp->main, off, fresh, fs->sz_page, fs->err) );
done:
  vdb_free(old);
  vdb_free(fresh);
  return rc;
}

/* Give the finished file our uuid and token, durably. */
static int replace_adapt(struct fstore *fs, const char *path_new){
  struct fstore tmp;
  int rc = VECDB_OK;

  memset(&tmp, 0, sizeof(tmp));
  tmp.base.pager = fs->base.pager;
  tmp.ops = fs->ops;
  tmp.err = fs->err;
  TRY( fs->ops->open(fs->ops->env, path_new, 0, &tmp.main, fs->err) );
  TRY( vdb_header_read(&tmp, &tmp.header) );
  tmp.sz_page = tmp.header.sz_page;
  if( tmp.sz_page!=fs->sz_page || tmp.header.flags ){
    TRY( vdb_error(fs->err, VECDB_MISUSE, "cannot replace %s: \"%s\" has "
                   "another page size or is not finished",
                   vdb_pager_name(fs->base.pager), path_new) );
  }
  TRY( replace_token(fs, &tmp) );
  memcpy(tmp.header.uuid, fs->header.uuid, 16);
  TRY( vdb_header_write(&tmp, &tmp.header) );
  TRY( vdb_header_sync(&tmp) );
done:
  handle_close(fs, &tmp.main);
  return rc;
}

/* Y5: the snapshot that was read last, or our last commit, is the newest; and
** all of it is in the main file. */
static int replace_settle(struct fstore *fs){
  struct log_state st;
  bool all_home = false;
  int rc = VECDB_OK;

  TRY( vdb_shm_read(fs, &st) );
  if( st.txid!=fs->log.txid ){
    TRY( vdb_error(fs->err, VECDB_BUSY_SNAPSHOT, "cannot replace %s: it was "
                   "changed since the copy was made; retry",
                   vdb_pager_name(fs->base.pager)) );
  }
  TRY( vdb_ckpt_finish(fs, &all_home) );
  if( !all_home ){
    TRY( vdb_error(fs->err, VECDB_BUSY, "cannot replace %s: its log is still "
                   "needed", vdb_pager_name(fs->base.pager)) );
  }
  TRY( vdb_header_read(fs, &fs->header) );
done:
  return rc;
}

/* Remove the log; the published state says so, as we are alone with it. */
static int replace_drop_log(struct fstore *fs){
  struct log_state st;
  int rc = VECDB_OK;

  TRY( vdb_shm_read(fs, &st) );
  handle_close(fs, &fs->wal);
  rc = fs->ops->unlink(fs->ops->env, fs->path_wal, fs->err);
  if( rc!=VECDB_OK && rc!=VECDB_NOTFOUND ) goto done;
  st.n_frame = st.n_visible = st.off_end = 0;
  fs->ix.generation = 0;
  vdb_shm_publish(fs, &st);
  TRY( fs->ops->sync_dir(fs->ops->env, fs->path, fs->err) );
done:
  return rc;
}

/* A copy whose closing failed has a log, and without it nothing. */
static int replace_is_whole(struct fstore *fs, const char *path_new){
  char *path_wal = path_with(path_new, "-wal");
  bool has_log = false;
  int rc = path_wal ? VECDB_OK : VECDB_NOMEM;

  if( rc==VECDB_OK ) rc = fs->ops->exists(fs->ops->env, path_wal, &has_log);
  if( rc==VECDB_OK && has_log ){
    rc = vdb_error(fs->err, VECDB_IOERR_SYNC, "cannot replace %s: \"%s\" still "
                   "needs its log", vdb_pager_name(fs->base.pager), path_new);
  }
  vdb_free(path_wal);
  return rc;
}

/* Open the new file and lock it (Y4). */
static int replace_lock(struct fstore *fs, const char *path_new,
                        struct vdb_file **out){
  int rc = VECDB_OK;

  TRY( fs->ops->open(fs->ops->env, path_new, 0, out, fs->err) );
  rc = fs->ops->lock(*out, LOCK_LIFE, LOCK_EXCLUSIVE, NULL);
  if( rc!=VECDB_OK ){
    rc = vdb_error(fs->err, rc, "cannot replace %s: somebody has \"%s\" open",
                   vdb_pager_name(fs->base.pager), path_new);
  }
  if( rc==VECDB_OK ) rc = replace_is_whole(fs, path_new);
done:
  return rc;
}

int vdb_life_replace(struct page_store *s, const char *path_new){
  struct fstore *fs = fstore_of(s);
  struct pager *p = s->pager;
  struct vdb_file *fresh = NULL;
  int rc;

  if( s->is_readonly ){
    return vdb_error(fs->err, VECDB_READONLY, "cannot replace %s: it is open "
                     "for reading only", vdb_pager_name(p));
  }
  rc = fs->ops->lock(fs->main, LOCK_LIFE, LOCK_EXCLUSIVE, NULL);
  if( rc!=VECDB_OK ){
    return vdb_error(fs->err, rc, "cannot replace %s: others have it open",
                     vdb_pager_name(p));
  }
  TRY( replace_settle(fs) );
  TRY( replace_lock(fs, path_new, &fresh) );
  TRY( replace_adapt(fs, path_new) );
  TRY( replace_drop_log(fs) );
  TRY( fs->ops->rename(fs->ops->env, path_new, fs->path, fs->err) );
  /* From here on the old file is no more; failing leaves no way back. */
  p->is_poisoned = true;
  TRY( fs->ops->sync_dir(fs->ops->env, fs->path, fs->err) );
  (void)fs->ops->unlink(fs->ops->env, fs->path_shm, NULL);
  files_close(fs);
  handle_close(fs, &fresh);
  vdb_walindex_clear(&fs->ix);
  fs->cache_txid = fs->cache_generation = fs->cache_frame = 0;
  TRY( vdb_life_open(fs) );
  p->is_poisoned = false;
done:
  handle_close(fs, &fresh);
  if( rc!=VECDB_OK && fs->main && !p->is_poisoned ){
    (void)fs->ops->lock(fs->main, LOCK_LIFE, LOCK_SHARED, NULL);
  }
  return rc;
}
