/* page.c -- pages as the layers above see them: pinned, checked, writable.
**
** FORMAT   PAGEHDR in pager/format.def. The header is filled in when a page
**          leaves the cache (vdb_page_seal) and checked when it enters
**          (vdb_page_verify): bytes from a store are never trusted, bytes in
**          the cache always are.
**
** INVARIANTS
**   G1  A page in the cache is as of the snapshot, plus the changes of the
**       running transaction.
**   G2  A page is changed only while it is dirty, so what a store took (spill,
**       prepare) stays what it took.
**   G3  With a savepoint open, a page gets its before-image before it changes
**       (save.c).
*/
#include "util/common.h"
#include "util/crc32c.h"
#include "pager/pager_int.h"

#define SPILL_BATCH  256            /* pages written out at once */

static uint32_t page_checksum(const unsigned char *data, uint32_t usable){
  uint32_t crc = vdb_crc32c(0, data, PAGEHDR_CRC);
  return vdb_crc32c(crc, data + PAGEHDR_SIZE, usable - PAGEHDR_SIZE);
}

void vdb_page_seal(unsigned char *data, uint32_t usable, page_no pgno,
                   txn_id txid){
  put_u32(data + PAGEHDR_PGNO, pgno);
  put_u32(data + PAGEHDR_TXID, (uint32_t)txid);
  put_u32(data + PAGEHDR_CRC, page_checksum(data, usable));
}

bool vdb_page_verify_bytes(const unsigned char *data, uint32_t usable,
                           page_no pgno){
  return get_u32(data + PAGEHDR_CRC)==page_checksum(data, usable)
      && get_u32(data + PAGEHDR_PGNO)==pgno;
}

int vdb_page_verify(struct pager *p, const unsigned char *data, page_no pgno){
  uint32_t found = page_checksum(data, p->store->usable);
  uint32_t expected = get_u32(data + PAGEHDR_CRC);
  page_no pg_found = get_u32(data + PAGEHDR_PGNO);

  if( found!=expected ){
    return vdb_error(p->err, VECDB_CORRUPT_CHECKSUM,
                     "page %u of %s: checksum is 0x%08x, expected 0x%08x",
                     pgno, vdb_pager_name(p), found, expected);
  }
  if( pg_found!=pgno ){
    return vdb_error(p->err, VECDB_CORRUPT_CHECKSUM,
                     "page %u of %s: it is marked as page %u",
                     pgno, vdb_pager_name(p), pg_found);
  }
  return VECDB_OK;
}

/* The pages that can be written out now, at most SPILL_BATCH. A pinned page
** may be changing under its user's hands (G2). */
static size_t spill_choose(struct pager *p, struct cpage **out){
  size_t n = 0;
  for(struct cpage *cp=p->cache.dirty.first; cp && n<SPILL_BATCH; cp=cp->next){
    if( cp->n_pin==0 && vdb_save_lets_spill(p, cp->pub.pgno) ) out[n++] = cp;
  }
  return n;
}

/* The cache is full and nothing in it is clean: hand dirty pages to the
** store. A store that cannot take them lets the cache grow. */
static int cache_make_room(struct pager *p){
  struct cpage *batch[SPILL_BATCH];
  size_t n;
  int rc = VECDB_OK;

  if( p->state!=PAGER_WRITE || p->no_spill || p->store->ops->spill==NULL
      || p->cache.lru.first!=NULL || !vdb_pcache_is_over(&p->cache) ){
    return VECDB_OK;
  }
  n = spill_choose(p, batch);
  if( n==0 ) return VECDB_OK;
  TRY( p->store->ops->spill(p->store, batch, n) );
  for(size_t i=0; i<n; i++) vdb_pcache_set_written(&p->cache, batch[i]);
  vdb_pcache_shrink(&p->cache);     /* an undo may have made it too large */
done:
  return rc;
}

static int page_read(struct pager *p, struct cpage *cp){
  int rc = p->store->ops->read_page(p->store, cp->pub.pgno, cp->pub.data);
  if( rc==VECDB_NOTFOUND ){
    return VDB_CORRUPT(p->err, "page %u of %s does not exist", cp->pub.pgno,
                       vdb_pager_name(p));
  }
  return rc==VECDB_OK ? vdb_page_verify(p, cp->pub.data, cp->pub.pgno) : rc;
}

/* Pin page pgno, which is in range. */
int vdb_page_load(struct pager *p, page_no pgno, struct cpage **out){
  struct cpage *cp = vdb_pcache_find(&p->cache, pgno);
  int rc = VECDB_OK;

  *out = NULL;
  if( cp ){
    p->cache.n_hit++;
    vdb_pcache_pin(&p->cache, cp);
    *out = cp;
    return VECDB_OK;
  }
  p->cache.n_miss++;
  TRY( cache_make_room(p) );
  TRY( vdb_pcache_add(&p->cache, pgno, &cp) );
  rc = page_read(p, cp);
  if( rc!=VECDB_OK ){
    vdb_pcache_unpin(&p->cache, cp);
    vdb_pcache_drop(&p->cache, cp);
    goto done;
  }
  /* What was read back may be what this transaction spilled. */
  vdb_cpage_set_in_txn(&p->cache, cp,
                       p->state==PAGER_WRITE && p->cache.has_in_txn);
  *out = cp;
done:
  return rc;
}

int vdb_page_get(struct pager *p, page_no pgno, enum page_type type,
                 struct page **out){
  struct cpage *cp = NULL;
  int rc = VECDB_OK;

  *out = NULL;
  TRY( vdb_pager_use(p) );
  if( pgno<p->store->pg_first || pgno>=p->n_page ){
    return VDB_CORRUPT(p->err, "page %u of %s is out of range %u..%u", pgno,
                       vdb_pager_name(p), p->store->pg_first, p->n_page-1);
  }
  TRY( vdb_page_load(p, pgno, &cp) );
  if( type && cp->pub.data[PAGEHDR_TYPE]!=type ){
    rc = VDB_CORRUPT(p->err, "page %u of %s: type is %u, expected %u", pgno,
                     vdb_pager_name(p), cp->pub.data[PAGEHDR_TYPE],
                     (unsigned)type);
    vdb_pcache_unpin(&p->cache, cp);
    goto done;
  }
  *out = &cp->pub;
done:
  return rc;
}

const struct page *vdb_page_peek(struct pager *p, page_no pgno,
                                 enum page_type type){
  struct cpage *cp;

  if( p->state!=PAGER_READ && p->state!=PAGER_WRITE ) return NULL;
  if( pgno<p->store->pg_first || pgno>=p->n_page ) return NULL;
  cp = vdb_pcache_find(&p->cache, pgno);
  if( cp==NULL || cp->pub.data[PAGEHDR_TYPE]!=type ) return NULL;
  return &cp->pub;
}

int vdb_page_write(struct pager *p, struct page *pg){
  struct cpage *cp = cpage_of(pg);
  int rc = VECDB_OK;

  TRY( vdb_pager_use_write(p) );
  TRY( vdb_save_before_change(p, cp) );                             /* G3 */
  vdb_pcache_set_dirty(&p->cache, cp);
  p->is_changed = true;
done:
  return rc;
}

int vdb_page_make(struct pager *p, page_no pgno, enum page_type type,
                  struct page **out){
  struct cpage *cp = vdb_pcache_find(&p->cache, pgno);
  int rc = VECDB_OK;

  *out = NULL;
  if( cp && cp->n_pin>0 ){
    return VDB_CORRUPT(p->err, "page %u of %s is in use and on the free list",
                       pgno, vdb_pager_name(p));
  }
  /* What the cache has of a free page is stale and no before-image: put back
  ** as a page it would be written over what is there by now. */
  TRY( vdb_save_before_new(p, pgno) );
  if( cp ){
    vdb_pcache_pin(&p->cache, cp);
  }else{
    TRY( cache_make_room(p) );
    TRY( vdb_pcache_add(&p->cache, pgno, &cp) );
  }
  vdb_pcache_set_dirty(&p->cache, cp);
  p->is_changed = true;
  memset(cp->pub.data, 0, p->store->usable);
  cp->pub.data[PAGEHDR_TYPE] = (unsigned char)type;
  *out = &cp->pub;
done:
  return rc;
}

int vdb_page_new(struct pager *p, enum page_type type, struct page **out){
  int rc = vdb_pager_use_write(p);
  *out = NULL;
  return rc==VECDB_OK ? vdb_alloc_page(p, type, out) : rc;
}

int vdb_page_free(struct pager *p, struct page *pg){
  struct cpage *cp = cpage_of(pg);
  page_no pgno = pg->pgno;
  int rc = vdb_pager_use_write(p);

  if( rc==VECDB_OK && (pgno==p->store->pg_first || cp->n_pin!=1) ){
    rc = VDB_CORRUPT(p->err, "page %u of %s is freed while in use", pgno,
                     vdb_pager_name(p));
  }
  /* Its bytes do not matter from here on, but to a savepoint. */
  if( rc==VECDB_OK ) rc = vdb_save_before_change(p, cp);
  vdb_pcache_unpin(&p->cache, cp);
  if( rc==VECDB_OK ) rc = vdb_alloc_free(p, pgno, 1, p->snap.txid_write);
  if( rc==VECDB_OK ){
    cp = vdb_pcache_find(&p->cache, pgno);
    if( cp && cp->pub.data[PAGEHDR_TYPE]!=PAGE_FREE ){
      vdb_pcache_drop(&p->cache, cp);           /* it is no trunk now */
    }
  }
  return rc;
}

void vdb_page_unpin(struct pager *p, struct page *pg){
  if( pg ) vdb_pcache_unpin(&p->cache, cpage_of(pg));
}
