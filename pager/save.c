/* save.c -- savepoints: before-images of pages, the same for every store.
**
** A savepoint keeps, of each page changed since, the bytes it had when the
** savepoint was made. Undoing puts these images into the cache as dirty pages
** and makes the store forget what it was given early (spilled) since.
**
** Images beyond the budget of the cache go to an undo file beside the database,
** which has no name: it is removed as soon as it is open, so a crash leaves
** nothing. A database without a path keeps them in memory. Undoing brings them
** all back into memory.
**
** INVARIANTS
**   S1  A page of the innermost savepoint's `seen` set has an image there. No
**       image: the page was free back then, its bytes do not matter.
**   S2  Images of an inner savepoint are newer than those of an outer one; a
**       release moves an image outwards only if the outer has none.
**   S3  A page that was dirty when the savepoint was made, did not change and
**       was spilled since, has its bytes only behind the store's mark: it is
**       brought back into the cache before the store forgets. There are at
**       most as many as fitted the cache when the savepoint was made.
**   S4  An undo does everything that can fail first.
**   S5  A host that has made a savepoint at the same moment (is_shared) undoes
**       what it was given since before we hear of it. So a page is spilled only
**       when nothing would be lost: there is no shared savepoint, or the page
**       has changed since the innermost of them and an image or its absence
**       comes back with the undo. What stays are at most the pages that were
**       dirty when that savepoint was made.
*/
#include "util/common.h"
#include "util/str.h"
#include "pager/pager_int.h"

/* ---- the undo file ------------------------------------------------------- */

static int undo_open(struct pager *p){
  struct vdb_str path = VDB_STR_INIT;
  uint64_t tag = 0;
  int rc = VECDB_OK;

  if( p->undo ) return VECDB_OK;
  p->ops->random(p->ops->env, &tag, sizeof(tag));
  vdb_str_addf(&path, "%s-undo%016llx", p->path_full,
               (unsigned long long)tag);
  TRY( vdb_str_rc(&path) );
  TRY( p->ops->open(p->ops->env, path.z, FILE_CREATE|FILE_EXCL, &p->undo,
                    p->err) );
  p->n_undo = 0;
  TRY( p->ops->unlink(p->ops->env, path.z, p->err) );
done:
  vdb_str_clear(&path);
  return rc;
}

static int undo_write(struct pager *p, const struct cpage *cp,
                      struct save_image *out){
  uint32_t n = p->store->usable;
  int rc = VECDB_OK;

  TRY( undo_open(p) );
  TRY( p->ops->write(p->undo, p->n_undo*n, cp->pub.data, n, p->err) );
  out->i_file = ++p->n_undo;
done:
  return rc;
}

static int undo_read(struct pager *p, struct save_image *si){
  uint32_t n = p->store->usable;
  struct cpage *image = vdb_cpage_create(&p->cache, si->pgno);
  int rc;

  if( image==NULL ) return VECDB_NOMEM;
  rc = vdb_file_read_full(p->undo, (si->i_file-1)*n, image->pub.data, n,
                          p->err);
  if( rc!=VECDB_OK ){
    vdb_cpage_free(image);
    return rc;
  }
  si->image = image;
  si->i_file = 0;
  p->n_image++;
  return VECDB_OK;
}

static void undo_close(struct pager *p){
  if( p->undo ) (void)p->ops->close(p->undo);
  p->undo = NULL;
}

/* ---- images -------------------------------------------------------------- */

static void image_free(struct pager *p, struct save_image *si){
  if( si->image ) p->n_image--;
  vdb_cpage_free(si->image);
}

/* The bytes of a page as they are now. */
static int image_make(struct pager *p, const struct cpage *cp,
                      struct save_image *out){
  memset(out, 0, sizeof(*out));
  out->pgno = cp->pub.pgno;
  if( p->path_full && (uint64_t)p->n_image*p->store->usable>=p->cfg.sz_cache ){
    return undo_write(p, cp, out);
  }
  out->image = vdb_cpage_copy(&p->cache, cp);
  if( out->image==NULL ) return VECDB_NOMEM;
  p->n_image++;
  return VECDB_OK;
}

static void save_free(struct pager *p, struct save *s){
  for(size_t i=0; i<s->n; i++) image_free(p, &s->images[i]);
  vdb_free(s->images);
  vdb_pgset_clear(&s->seen);
  memset(s, 0, sizeof(*s));
}

/* Room for one more image, and pgno is in the set. */
static int save_reserve(struct save *s, page_no pgno){
  int rc = VECDB_OK;
  TRY( vdb_grow(&s->images, &s->n_cap, s->n+1, sizeof(*s->images)) );
  TRY( vdb_pgset_add(&s->seen, pgno) );
done:
  return rc;
}

/* S1 for a page that is about to change. */
int vdb_save_before_change(struct pager *p, struct cpage *cp){
  struct save *s = p->n_save ? &p->save[p->n_save-1] : NULL;
  struct save_image si;
  int rc;

  if( s==NULL || vdb_pgset_has(&s->seen, cp->pub.pgno) ) return VECDB_OK;
  rc = image_make(p, cp, &si);
  if( rc!=VECDB_OK ) return rc;
  rc = save_reserve(s, cp->pub.pgno);
  if( rc==VECDB_OK ) s->images[s->n++] = si;
  else image_free(p, &si);
  return rc;
}

/* S1 for a page that comes from the free list or the end of the file. */
int vdb_save_before_new(struct pager *p, page_no pgno){
  struct save *s = p->n_save ? &p->save[p->n_save-1] : NULL;
  int rc;

  if( s==NULL || vdb_pgset_has(&s->seen, pgno) ) return VECDB_OK;
  rc = save_reserve(s, pgno);
  if( rc==VECDB_OK ) s->images[s->n++] = (struct save_image){ pgno, NULL, 0 };
  return rc;
}

void vdb_save_clear(struct pager *p){
  while( p->n_save>0 ) save_free(p, &p->save[--p->n_save]);
  undo_close(p);
}

void vdb_save_close(struct pager *p){
  vdb_save_clear(p);
  vdb_free(p->save);
  p->save = NULL;
}

bool vdb_save_lets_spill(const struct pager *p, page_no pgno){
  for(size_t i=p->n_save; i-->0; ){
    if( vdb_pgset_has(&p->save[i].seen, pgno) ) return true;
    if( p->save[i].is_shared ) return false;
  }
  return true;
}

void vdb_pager_share_savepoint(struct pager *p, unsigned n){
  if( n<p->n_save ) p->save[n].is_shared = p->store->is_hosted;
}

unsigned vdb_pager_n_savepoint(const struct pager *p){
  return (unsigned)p->n_save;
}

int vdb_pager_savepoint(struct pager *p, unsigned *n){
  struct save *s;
  int rc = VECDB_OK;

  *n = 0;
  TRY( vdb_pager_use_write(p) );
  TRY( vdb_grow(&p->save, &p->n_save_cap, p->n_save+1, sizeof(*p->save)) );
  s = &p->save[p->n_save];
  memset(s, 0, sizeof(*s));
  s->mark = p->store->ops->mark ? p->store->ops->mark(p->store) : 0;
  s->version = p->version;
  s->n_page = p->n_page;
  s->n_created = p->created.n;
  s->n_freed = p->freed.n;
  *n = (unsigned)p->n_save++;
done:
  return rc;
}

/* Move the images of `in` to `out`, or drop them (S2). On failure nothing has
** changed. */
static int save_merge(struct pager *p, struct save *out, struct save *in){
  int rc = VECDB_OK;

  TRY( vdb_grow(&out->images, &out->n_cap, out->n+in->n,
                sizeof(*out->images)) );
  TRY( vdb_pgset_reserve(&out->seen, out->seen.n + in->n) );
  for(size_t i=0; i<in->n; i++){
    struct save_image *si = &in->images[i];
    if( vdb_pgset_has(&out->seen, si->pgno) ){
      image_free(p, si);
    }else{
      rc = vdb_pgset_add(&out->seen, si->pgno);
      assert( rc==VECDB_OK );                   /* there is room */
      out->images[out->n++] = *si;
    }
  }
  in->n = 0;
done:
  return rc;
}

int vdb_pager_release(struct pager *p, unsigned n){
  int rc = VECDB_OK;

  TRY( vdb_pager_use_write(p) );
  if( n>=p->n_save ){
    return vdb_error(p->err, VECDB_MISUSE, "there is no savepoint %u", n);
  }
  while( p->n_save>n ){
    if( p->n_save>1 ){
      TRY( save_merge(p, &p->save[p->n_save-2], &p->save[p->n_save-1]) );
    }
    save_free(p, &p->save[--p->n_save]);
  }
  if( p->n_save==0 ) p->n_undo = 0;             /* written from the start */
done:
  return rc;
}

static bool save_covers(const struct pager *p, unsigned n, page_no pgno){
  for(size_t i=n; i<p->n_save; i++){
    if( vdb_pgset_has(&p->save[i].seen, pgno) ) return true;
  }
  return false;
}

/* S3: called for each page spilled since savepoint p->i_undo. Nothing is
** spilled meanwhile. */
static int page_reclaim(struct pager *p, page_no pgno){
  struct cpage *cp = NULL;
  int rc = VECDB_OK;

  if( save_covers(p, p->i_undo, pgno) ) return VECDB_OK;
  TRY( vdb_page_load(p, pgno, &cp) );
  vdb_pcache_set_dirty(&p->cache, cp);
  vdb_pcache_unpin(&p->cache, cp);
done:
  return rc;
}

/* S4: the images of savepoints n and up are in memory. */
static int images_load(struct pager *p, unsigned n){
  int rc = VECDB_OK;
  for(size_t k=n; k<p->n_save; k++){
    struct save *s = &p->save[k];
    for(size_t i=0; i<s->n; i++){
      if( s->images[i].i_file ) TRY( undo_read(p, &s->images[i]) );
    }
  }
done:
  return rc;
}

/* Put the images of one savepoint back. */
static void save_restore(struct pager *p, struct save *s){
  while( s->n>0 ){
    struct save_image *si = &s->images[--s->n];
    if( si->image==NULL ){
      vdb_pcache_drop(&p->cache, vdb_pcache_find(&p->cache, si->pgno));
      continue;
    }
    vdb_pcache_restore(&p->cache, si->image);
    p->n_image--;
  }
  vdb_pgset_clear(&s->seen);
}

int vdb_pager_rollback_to(struct pager *p, unsigned n){
  const struct page_store_ops *ops = p->store->ops;
  struct save *s;
  int rc = VECDB_OK;

  TRY( vdb_pager_use_write(p) );
  if( n>=p->n_save ){
    return vdb_error(p->err, VECDB_MISUSE, "there is no savepoint %u", n);
  }
  assert( p->cache.n_pin==0 );
  s = &p->save[n];
  p->i_undo = n;
  TRY( images_load(p, n) );
  if( ops->spilled ){
    p->no_spill = true;
    rc = ops->spilled(p->store, s->mark, page_reclaim, p);          /* S4 */
    p->no_spill = false;
    if( rc!=VECDB_OK ) goto done;
  }
  while( p->n_save>n+1 ){
    save_restore(p, &p->save[p->n_save-1]);
    save_free(p, &p->save[--p->n_save]);
  }
  save_restore(p, s);
  p->n_page = s->n_page;
  if( ops->undo ) ops->undo(p->store, s->mark);
  vdb_extents_undo(p, s->n_created, s->n_freed);
  p->version = s->version;
  p->sz_run_none = 0;
  if( p->is_prepared ) p->is_changed = true;    /* that was another state */
done:
  return rc;
}
