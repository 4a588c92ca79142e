/* store_mem.c -- the page store of a database in memory.
**
** Pages and extents are heap blocks, reached by number through arrays. There
** is one connection, so a snapshot is what there is and a lock is nothing.
** Dirty pages stay in the pager's cache until the commit copies them here;
** rollback is the cache's affair alone.
**
** INVARIANTS
**   M1  page[i] of a page never committed is NULL.
**   M2  commit allocates before it copies, so it changes all or nothing.
**   M3  An extent written by a transaction that is rolled back is freed by
**       the pager (vdb_extents_undo), one freed by a transaction only when
**       that commits.
*/
#include "util/common.h"
#include "pager/pager_int.h"

struct mem_extent { unsigned char *p; size_t sz; };

struct mem_store {
  struct page_store base;
  unsigned char **page; size_t n_page_cap;      /* by page number */
  struct mem_extent *extent; size_t n_extent_cap; /* by extent number */
  txn_id txid;                                  /* newest commit */
  page_no n_page;                               /* as of it */
};

static struct mem_store *mem_of(struct page_store *s){
  return (struct mem_store*)(void*)s;
}

static int mem_close(struct page_store *s, bool is_child){
  struct mem_store *m = mem_of(s);

  VDB_UNUSED(is_child);
  for(size_t i=0; i<m->n_page_cap; i++) vdb_free(m->page[i]);
  for(size_t i=0; i<m->n_extent_cap; i++) vdb_free_aligned(m->extent[i].p);
  vdb_free(m->page);
  vdb_free(m->extent);
  vdb_free(m);
  return VECDB_OK;
}

static int mem_begin_read(struct page_store *s, struct snapshot *out){
  struct mem_store *m = mem_of(s);
  out->txid = out->version = m->txid;
  out->txid_write = 0;
  out->n_page = m->n_page;
  return VECDB_OK;
}

static void mem_nothing(struct page_store *s){ VDB_UNUSED(s); }

static int mem_lock_write(struct page_store *s){
  VDB_UNUSED(s);
  return VECDB_OK;
}

static int mem_begin_write(struct page_store *s, struct snapshot *io){
  io->txid_write = mem_of(s)->txid + 1;
  return VECDB_OK;
}

static int mem_read_page(struct page_store *s, page_no pgno, void *buf){
  struct mem_store *m = mem_of(s);
  if( pgno>=m->n_page_cap || m->page[pgno]==NULL ) return VECDB_NOTFOUND;
  memcpy(buf, m->page[pgno], s->usable);
  return VECDB_OK;
}

/* Blocks for all pages of the list (M2). */
static int mem_reserve(struct mem_store *m, struct cpage *const *dirty,
                       size_t n, page_no n_page){
  size_t n_old = m->n_page_cap;
  int rc = VECDB_OK;

  TRY( vdb_grow(&m->page, &m->n_page_cap, n_page, sizeof(*m->page)) );
  for(size_t i=n_old; i<m->n_page_cap; i++) m->page[i] = NULL;
  for(size_t i=0; i<n; i++){
    unsigned char **slot = &m->page[dirty[i]->pub.pgno];
    if( *slot==NULL && (*slot = vdb_calloc(1, m->base.usable))==NULL ){
      TRY( VECDB_NOMEM );
    }
  }
done:
  return rc;
}

static int mem_commit(struct page_store *s, struct cpage *const *dirty,
                      size_t n, page_no n_page){
  struct mem_store *m = mem_of(s);
  int rc = VECDB_OK;

  TRY( mem_reserve(m, dirty, n, n_page) );
  m->txid++;
  m->n_page = n_page;
  for(size_t i=0; i<n; i++){
    page_no pgno = dirty[i]->pub.pgno;
    vdb_page_seal(dirty[i]->pub.data, s->usable, pgno, m->txid);
    memcpy(m->page[pgno], dirty[i]->pub.data, s->usable);
  }
  s->pager->snap.version = m->txid;
  TRY_ALWAYS( vdb_extents_free_logged(s->pager) );  /* M3 */
done:
  return rc;
}

/* ---- extents ------------------------------------------------------------- */

static int mem_extent_write(struct page_store *s, uint64_t no, const void *p,
                            size_t sz){
  struct mem_store *m = mem_of(s);
  size_t n_old = m->n_extent_cap;
  struct mem_extent e = { vdb_malloc_aligned(sz), sz };
  int rc = VECDB_OK;

  if( e.p==NULL ) return VECDB_NOMEM;
  TRY( vdb_grow(&m->extent, &m->n_extent_cap, no+1, sizeof(*m->extent)) );
  memset(m->extent+n_old, 0, (m->n_extent_cap-n_old)*sizeof(*m->extent));
  assert( m->extent[no].p==NULL );
  memcpy(e.p, p, sz);
  m->extent[no] = e;
  e.p = NULL;
done:
  vdb_free_aligned(e.p);
  return rc;
}

static struct mem_extent *mem_extent_find(struct page_store *s, uint64_t no,
                                          size_t sz){
  struct mem_store *m = mem_of(s);
  if( no>=m->n_extent_cap || m->extent[no].p==NULL || m->extent[no].sz<sz ){
    (void)VDB_CORRUPT(s->pager->err, "extent %llu of %s does not exist",
                      (unsigned long long)no, vdb_pager_name(s->pager));
    return NULL;
  }
  return &m->extent[no];
}

static int mem_extent_map(struct page_store *s, uint64_t no, size_t sz,
                          const unsigned char **out, void **pin){
  struct mem_extent *e = mem_extent_find(s, no, sz);
  *pin = NULL;
  if( e==NULL ) return VECDB_CORRUPT;
  *out = e->p;
  return VECDB_OK;
}

static void mem_extent_unmap(struct page_store *s, void *pin){
  VDB_UNUSED(s);
  VDB_UNUSED(pin);
}

static int mem_extent_free(struct page_store *s, uint64_t no){
  struct mem_store *m = mem_of(s);
  if( no<m->n_extent_cap ){
    vdb_free_aligned(m->extent[no].p);
    m->extent[no].p = NULL;
  }
  return VECDB_OK;
}

static void mem_stats(struct page_store *s, struct pager_stats *out){
  out->ckpt_txid = mem_of(s)->txid;
}

static const struct page_store_ops mem_ops = {
  .close = mem_close,
  .begin_read = mem_begin_read,
  .end_read = mem_nothing,
  .lock_write = mem_lock_write,
  .unlock_write = mem_nothing,
  .begin_write = mem_begin_write,
  .read_page = mem_read_page,
  .commit = mem_commit,
  .rollback = mem_nothing,
  .extent_write = mem_extent_write,
  .extent_map = mem_extent_map,
  .extent_unmap = mem_extent_unmap,
  .extent_free = mem_extent_free,
  .stats = mem_stats,
};

int vdb_store_mem_open(struct pager *p, struct page_store **out){
  struct mem_store *m = vdb_calloc(1, sizeof(*m));
  int rc = VECDB_OK;

  *out = NULL;
  if( m==NULL ) return VECDB_NOMEM;
  m->base.ops = &mem_ops;
  m->base.pager = p;
  m->base.usable = p->cfg.sz_page;
  m->base.pg_first = 1;
  m->base.is_readonly = (p->cfg.open_flags & VECDB_OPEN_READONLY)!=0;
  vdb_pager_random(p, 0, m->base.uuid, 16);
  m->txid = 1;
  m->n_page = 2;
  TRY( mem_reserve(m, NULL, 0, m->n_page) );
  m->page[1] = vdb_malloc(m->base.usable);
  if( m->page[1]==NULL ) TRY( VECDB_NOMEM );
  vdb_root_format(m->page[1], m->base.usable, 1);
  *out = &m->base;
  m = NULL;
done:
  if( m ) mem_close(&m->base, false);
  return rc;
}
