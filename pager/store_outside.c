/* store_outside.c -- the page store of a host, through vecdb_page_store.
**
** The host owns transactions, durability and rollback; what is here is
** translation. The root page carries the transaction number and the page
** count, since the host knows nothing of them; a root never written stands
** for an empty database.
**
** INVARIANTS
**   O1  While the host's version stays the same, so do the bytes it returns:
**       the cache is kept. A new version empties it. Extents stay, since their
**       names are new with each transaction, unless the number of the newest
**       one says that the host has undone some, or a version smaller than the
**       last one that the host tells another history.
**   O2  The host's `end` is called once for each time a begin_read, a
**       begin_write, or a begin_read followed by a begin_write was called.
**   O3  A commit that fails half way leaves the host with some of the pages;
**       the pager still holds all of them dirty, so that a second commit
**       writes them again and a rollback is the host's.
**   O4  Pages that a transaction leaves on the free list are given back to the
**       host at its end. Nobody reads them before they are written again.
**   O5  prepare brings all of the transaction to the host and leaves it open,
**       its pages dirty and its logs complete: the host may go back to a
**       savepoint, and with it lose some of what it was given. A commit of
**       exactly what was prepared only ends the transaction.
*/
#include "util/common.h"
#include "pager/pager_int.h"

struct outside {
  struct page_store base;
  const struct vecdb_page_store *host;
  bool is_reading, is_writing;      /* O2 */
  bool was_seen;                    /* host_version is valid */
  uint64_t host_version;            /* at the last begin */
  uint64_t version;                 /* ours: counts changes of the former */
  txn_id txid;                      /* of the root at host_version */
  page_no n_page;
  unsigned char *buf;               /* one page */
};

static struct outside *outside_of(struct page_store *s){
  return (struct outside*)(void*)s;
}

/* A failure of the host, with its own sentence. */
static int host_result(struct outside *o, int rc, const char *what){
  const char *z = NULL;

  if( rc==VECDB_OK || rc==VECDB_NOTFOUND ) return rc;
  if( o->host->errmsg ) z = o->host->errmsg(o->host->arg);
  return vdb_error(o->base.pager->err, rc, "the page store cannot %s: %s",
                   what, z ? z : vdb_rc_text(rc));
}

static int outside_close(struct page_store *s, bool is_child){
  struct outside *o = outside_of(s);
  VDB_UNUSED(is_child);
  vdb_free(o->buf);
  vdb_free(o);
  return VECDB_OK;
}

static int outside_read_page(struct page_store *s, page_no pgno, void *buf){
  struct outside *o = outside_of(s);
  int rc = o->host->read_page(o->host->arg, pgno, buf);

  if( rc==VECDB_NOTFOUND && pgno==s->pg_first && o->txid==0 ){
    vdb_root_format(buf, s->usable, s->pg_first);
    return VECDB_OK;
  }
  return host_result(o, rc, "read a page");
}

/* Learn transaction number and page count from the root. */
static int outside_read_root(struct outside *o){
  struct page_store *s = &o->base;
  int rc = o->host->read_page(o->host->arg, s->pg_first, o->buf);

  if( rc==VECDB_NOTFOUND ){
    o->txid = 0;
    o->n_page = s->pg_first+1;
    return VECDB_OK;
  }
  TRY( host_result(o, rc, "read the root page") );
  TRY( vdb_page_verify(s->pager, o->buf, s->pg_first) );
  o->txid = get_u64(o->buf + ROOT_TXID);
  if( o->txid==0 || o->txid>TXID_MAX ){
    rc = VDB_CORRUPT(s->pager->err, "the root page of the host is of "
                     "transaction %llu", (unsigned long long)o->txid);
    o->txid = 0;
    goto done;
  }
  o->n_page = get_u32(o->buf + ROOT_NPAGE);
done:
  return rc;
}

/* The host is at `version` now (O1). */
static int outside_follow(struct outside *o, uint64_t version){
  txn_id txid_last = o->txid;
  bool is_other = version<o->host_version;
  int rc;

  if( o->was_seen && version==o->host_version ) return VECDB_OK;
  o->was_seen = false;
  vdb_pager_forget(o->base.pager, 0);
  o->version++;
  rc = outside_read_root(o);
  if( rc!=VECDB_OK || o->txid<=txid_last || is_other ){
    vdb_extents_forget(o->base.pager);
  }
  o->was_seen = rc==VECDB_OK;
  o->host_version = version;
  return rc;
}

static void outside_end(struct outside *o, int committed){
  if( !o->is_reading && !o->is_writing ) return;
  o->is_reading = o->is_writing = false;
  (void)o->host->end(o->host->arg, committed);
}

static int outside_begin_read(struct page_store *s, struct snapshot *out){
  struct outside *o = outside_of(s);
  uint64_t version = o->host_version;
  int rc = VECDB_OK;

  if( !o->is_writing ){
    TRY( host_result(o, o->host->begin_read(o->host->arg, &version),
                     "begin to read") );
    o->is_reading = true;
    TRY( outside_follow(o, version) );
  }
  out->txid = o->txid;
  out->txid_write = 0;
  out->n_page = o->n_page;
  out->version = o->version;
done:
  if( rc!=VECDB_OK ) outside_end(o, 0);
  return rc;
}

static void outside_end_read(struct page_store *s){
  outside_end(outside_of(s), 1);
}

/* In READ the host must still be where the snapshot is. */
static int outside_lock_write(struct page_store *s){
  struct outside *o = outside_of(s);
  uint64_t version = 0;
  int rc = VECDB_OK;

  TRY( host_result(o, o->host->begin_write(o->host->arg, &version),
                   "begin to write") );
  if( o->is_reading && version!=o->host_version ){
    TRY( vdb_error(s->pager->err, VECDB_BUSY_SNAPSHOT, "the snapshot is not "
                   "the newest any more; begin the transaction anew") );
  }
  o->is_writing = true;
  if( !o->is_reading ) TRY( outside_follow(o, version) );
done:
  if( rc!=VECDB_OK && o->is_writing ) outside_end(o, 0);
  return rc;
}

static void outside_unlock_write(struct page_store *s){
  outside_end(outside_of(s), 0);
}

static int outside_begin_write(struct page_store *s, struct snapshot *io){
  io->txid_write = outside_of(s)->txid + 1;
  return VECDB_OK;
}

/* Seal pages and hand them to the host. */
static int outside_flush(struct page_store *s, struct cpage *const *pages,
                         size_t n){
  struct outside *o = outside_of(s);
  txn_id txid = s->pager->snap.txid_write;
  uint32_t *pgno = vdb_malloc_array(n, sizeof(*pgno));
  const void **data = vdb_malloc_array(n, sizeof(*data));
  int rc = pgno && data ? VECDB_OK : VECDB_NOMEM;

  for(size_t i=0; i<n && rc==VECDB_OK; i++){
    pgno[i] = pages[i]->pub.pgno;
    data[i] = pages[i]->pub.data;
    vdb_page_seal(pages[i]->pub.data, s->usable, pgno[i], txid);
  }
  if( rc==VECDB_OK ){
    rc = host_result(o, o->host->flush(o->host->arg, n, pgno, data),
                     "write pages");
  }
  vdb_free(pgno);
  vdb_free(data);
  return rc;
}

/* O4 */
static int outside_free_page(void *arg, page_no pgno){
  struct outside *o = arg;
  int rc = o->host->free_page(o->host->arg, pgno);
  if( rc==VECDB_NOTFOUND ) rc = VECDB_OK;       /* it was never written */
  return host_result(o, rc, "free a page");
}

/* Everything the transaction has changed is the host's from here on. */
static int outside_bring(struct page_store *s, struct cpage *const *dirty,
                         size_t n){
  int rc = VECDB_OK;

  TRY( vdb_extents_free_logged(s->pager) );
  TRY( outside_flush(s, dirty, n) );            /* the root, at least */
  TRY( vdb_alloc_each_freed(s->pager, s->pager->snap.txid_write,
                            outside_free_page, outside_of(s)) );
done:
  return rc;
}

/* O5 */
static int outside_prepare(struct page_store *s, struct cpage *const *dirty,
                           size_t n, page_no n_page,
                           const unsigned char host[16], uint64_t token){
  VDB_UNUSED(n_page);
  VDB_UNUSED(host);
  VDB_UNUSED(token);
  return outside_bring(s, dirty, n);
}

static int outside_commit(struct page_store *s, struct cpage *const *dirty,
                          size_t n, page_no n_page){
  struct outside *o = outside_of(s);
  struct pager *p = s->pager;
  int rc = VECDB_OK;

  if( p->is_changed ) TRY( outside_bring(s, dirty, n) );            /* O5 */
  o->is_reading = o->is_writing = false;
  TRY( host_result(o, o->host->end(o->host->arg, 1), "commit") );
  o->txid = s->pager->snap.txid_write;
  o->n_page = n_page;
  s->pager->snap.version = ++o->version;
done:
  return rc;
}

static int outside_decide_orphan(struct page_store *s, bool commit){
  VDB_UNUSED(commit);
  return vdb_error(s->pager->err, VECDB_NOTFOUND, "nothing is undecided in %s",
                   vdb_pager_name(s->pager));
}

static void outside_rollback(struct page_store *s){
  outside_end(outside_of(s), 0);
}

/* ---- extents ------------------------------------------------------------- */

static int outside_extent_write(struct page_store *s, uint64_t no,
                                const void *p, size_t sz){
  struct outside *o = outside_of(s);
  return host_result(o, o->host->extent_write(o->host->arg, no, p, sz),
                     "write an extent");
}

static int outside_extent_read(struct page_store *s, uint64_t no, size_t off,
                               void *buf, size_t n){
  struct outside *o = outside_of(s);
  int rc = o->host->extent_read(o->host->arg, no, off, buf, n);
  if( rc==VECDB_NOTFOUND ){
    return VDB_CORRUPT(s->pager->err, "extent %llu of the page store does not "
                       "exist", (unsigned long long)no);
  }
  return host_result(o, rc, "read an extent");
}

/* Already gone is fine: a rollback of the host may have been first. */
static int outside_extent_free(struct page_store *s, uint64_t no){
  struct outside *o = outside_of(s);
  int rc = o->host->extent_free(o->host->arg, no);
  if( rc==VECDB_NOTFOUND ) rc = VECDB_OK;
  return host_result(o, rc, "free an extent");
}

static const struct page_store_ops outside_ops = {
  .close = outside_close,
  .begin_read = outside_begin_read,
  .end_read = outside_end_read,
  .lock_write = outside_lock_write,
  .unlock_write = outside_unlock_write,
  .begin_write = outside_begin_write,
  .read_page = outside_read_page,
  .spill = outside_flush,
  .commit = outside_commit,
  .rollback = outside_rollback,
  .prepare = outside_prepare,
  .decide_orphan = outside_decide_orphan,
  .extent_write = outside_extent_write,
  .extent_read = outside_extent_read,
  .extent_free = outside_extent_free,
};

int vdb_store_outside_open(struct pager *p, struct page_store **out){
  const struct vecdb_page_store *host = p->cfg.store;
  struct outside *o;

  *out = NULL;
  if( host->size<sizeof(*host) || host->usable_size<4032
      || host->usable_size>65536 || host->usable_size%32 ){
    return vdb_error(p->err, VECDB_MISUSE, "page store: usable size %u is not "
                     "a multiple of 32 in 4032..65536", host->usable_size);
  }
  o = vdb_calloc(1, sizeof(*o));
  if( o==NULL ) return VECDB_NOMEM;
  o->base.ops = &outside_ops;
  o->base.pager = p;
  o->base.usable = host->usable_size;
  o->base.pg_first = 1;
  o->base.is_hosted = true;
  o->base.is_readonly = (p->cfg.open_flags & VECDB_OPEN_READONLY)!=0;
  o->host = host;
  o->buf = vdb_malloc(o->base.usable);
  if( o->buf==NULL ){
    vdb_free(o);
    return VECDB_NOMEM;
  }
  *out = &o->base;
  return VECDB_OK;
}
