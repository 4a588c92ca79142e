/* alloc.c -- giving pages out and taking them back: the free list.
**
** FORMAT   FREETRUNK and FREEENTRY in pager/format.def. The root page names
**          the first trunk; a trunk holds runs of free pages and the number
**          of the next trunk. Trunks are free pages themselves.
**
** SINGLE PAGES pop from the first trunk (the shortest run there, so that long
** runs stay whole); a trunk without entries is given away itself. They reuse
** any free page at once: they are written through the log, and a checkpoint
** never passes a reader, so neither a reader nor the main file alone can see
** the new bytes in place of the old ones.
**
** RUNS are for extents, which are written straight into the main file. Who
** could still look at the old bytes there?
**
**   A1  The main file alone, as of its last checkpoint c: not if the run was
**       freed by a transaction t <= c.
**   A2  A reader of state r: not if t <= r. So t must be at most the state of
**       the oldest reader. Both together are the store's recycle_limit.
**   A3  A log frame of a page of the run, when a checkpoint copies it home.
**       Every frame of such a page was written by a transaction <= t (a page
**       on the free list is not written; if it is popped as a single page and
**       freed again, the entry carries the later t). t <= c, and frames up to
**       c are home: a checkpoint, recovery and a backup skip every frame with
**       txid <= HDRSLOT.TXID. Frames of the running transaction are of no
**       concern either: a run freed by it has t > c.
**   A4  Frames that the running transaction spilled and then undid: undoing a
**       savepoint moves the append position back, so they are not in the log.
**       Where that is impossible (they lie before a PREPARE), extents go only
**       beyond the largest n_page this transaction has had (no_reuse).
**
** An extent that its own transaction frees again, while no savepoint could
** bring it back, was never visible and never in the log: its entry says txid
** 0, free for all (A1-A3 hold trivially).
**
** When no run is long enough although enough pages are free, all entries are
** sorted and neighbours merged; otherwise the file grows.
**
** Entries come from disk: each is checked before use, and a walk along the
** trunks is bounded by the number of pages.
*/
#include "util/common.h"
#include "pager/freelist.h"

#define MERGE_LOOK  8               /* latest entries tried for merging */

static void trunk_remove(unsigned char *trunk, uint32_t i){
  uint32_t n = get_u32(trunk + FREETRUNK_N) - 1;
  memmove(entry_at(trunk, i), entry_at(trunk, n), FREEENTRY_SIZE);
  memset(entry_at(trunk, n), 0, FREEENTRY_SIZE);
  put_u32(trunk + FREETRUNK_N, n);
}

/* Make the file n pages longer; *out is the first of them. */
static int grow_file(struct pager *p, struct page *root, uint32_t n,
                     page_no *out){
  if( n>PAGER_NPAGE_MAX - p->n_page ){
    return vdb_error(p->err, VECDB_FULL, "%s is full: it has %u pages of at "
                     "most %u", vdb_pager_name(p), p->n_page, PAGER_NPAGE_MAX);
  }
  *out = p->n_page;
  p->n_page += n;
  if( p->n_page>p->n_page_high ) p->n_page_high = p->n_page;
  put_u32(root->data + ROOT_NPAGE, p->n_page);
  return VECDB_OK;
}

/* ---- single pages -------------------------------------------------------- */

/* The shortest run of a trunk. */
static int trunk_shortest(struct pager *p, struct page *trunk, uint32_t n,
                          uint32_t *i_out, struct run *out){
  int rc = VECDB_OK;

  out->n = 0;
  for(uint32_t i=n; i-->0; ){
    struct run r;
    TRY( vdb_trunk_entry(p, trunk, i, &r) );
    if( out->n==0 || r.n<out->n ){
      *out = r;
      *i_out = i;
    }
    if( r.n==1 ) break;
  }
done:
  return rc;
}

/* Take a page number out of the first trunk, which has n>0 entries. */
static int pop_entry(struct pager *p, struct page *root, struct page *trunk,
                     uint32_t n, page_no *out){
  struct run r;
  uint32_t i = 0;
  int rc = VECDB_OK;

  TRY( trunk_shortest(p, trunk, n, &i, &r) );
  TRY( vdb_page_write(p, trunk) );
  *out = r.start + r.n - 1;
  if( --r.n==0 ) trunk_remove(trunk->data, i);
  else vdb_trunk_set(trunk->data, i, r);
  vdb_root_add_free(root, -1);
done:
  return rc;
}

/* The first trunk is empty: it becomes the page. Consumes no pin. */
static int pop_trunk(struct pager *p, struct page *root, struct page *trunk,
                     enum page_type type){
  page_no pg_next = get_u32(trunk->data + FREETRUNK_NEXT);
  int rc = vdb_page_write(p, trunk);

  if( rc!=VECDB_OK ) return rc;
  memset(trunk->data, 0, p->store->usable);
  trunk->data[PAGEHDR_TYPE] = (unsigned char)type;
  put_u32(root->data + ROOT_FREE, pg_next);
  vdb_root_add_free(root, -1);
  return rc;
}

int vdb_alloc_page(struct pager *p, enum page_type type, struct page **out){
  struct page *root = NULL, *trunk = NULL;
  page_no pgno = 0, pg_trunk;
  uint32_t n = 0;
  int rc = VECDB_OK;

  *out = NULL;
  TRY( vdb_root_write(p, &root) );
  pg_trunk = get_u32(root->data + ROOT_FREE);
  if( pg_trunk==0 ){
    TRY( grow_file(p, root, 1, &pgno) );
  }else{
    TRY( vdb_trunk_get(p, pg_trunk, &trunk, &n) );
    if( n==0 ){
      TRY( pop_trunk(p, root, trunk, type) );
      *out = trunk;
      trunk = NULL;
      goto done;
    }
    TRY( pop_entry(p, root, trunk, n, &pgno) );
  }
  TRY( vdb_page_make(p, pgno, type, out) );
done:
  if( MUTANT(9, rc==VECDB_OK, true) ) vdb_page_unpin(p, trunk);
  vdb_page_unpin(p, root);
  return rc;
}

/* ---- freeing ------------------------------------------------------------- */

/* Extend one of the latest entries by r, if it is a neighbour. */
static int trunk_merge(struct pager *p, struct page *trunk, uint32_t n,
                       struct run r, bool *merged){
  int rc = VECDB_OK;

  *merged = false;
  for(uint32_t i=n; i-->0 && n-i<=MERGE_LOOK; ){
    struct run e;
    TRY( vdb_trunk_entry(p, trunk, i, &e) );
    if( e.txid!=r.txid ) continue;
    if( e.start+e.n==r.start ){
      e.n += r.n;
    }else if( r.start+r.n==e.start ){
      e.start = r.start;
      e.n += r.n;
    }else{
      continue;
    }
    vdb_trunk_set(trunk->data, i, e);
    *merged = true;
    break;
  }
done:
  return rc;
}

/* A new first trunk in the first page of *r; the rest stays in *r. */
static int trunk_push(struct pager *p, struct page *root, struct run *r,
                      struct page **out){
  int rc = vdb_page_make(p, r->start, PAGE_FREE, out);

  if( rc!=VECDB_OK ) return rc;
  put_u32((*out)->data + FREETRUNK_NEXT, get_u32(root->data + ROOT_FREE));
  put_u32(root->data + ROOT_FREE, r->start);
  r->start++;
  r->n--;
  return rc;
}

int vdb_alloc_free(struct pager *p, page_no start, uint32_t n, txn_id txid){
  struct page *root = NULL, *trunk = NULL;
  struct run r = { start, n, txid };
  page_no pg_trunk;
  uint32_t n_entry = 0;
  bool merged = false;
  int rc = VECDB_OK;

  assert( n>0 );
  TRY( vdb_root_write(p, &root) );
  pg_trunk = get_u32(root->data + ROOT_FREE);
  if( pg_trunk ){
    TRY( vdb_trunk_get(p, pg_trunk, &trunk, &n_entry) );
    TRY( vdb_page_write(p, trunk) );
    TRY( trunk_merge(p, trunk, n_entry, r, &merged) );
  }
  if( !merged && (trunk==NULL || n_entry==vdb_trunk_capacity(p)) ){
    struct page *fresh = NULL;
    TRY( trunk_push(p, root, &r, &fresh) );
    vdb_page_unpin(p, trunk);
    trunk = fresh;
    n_entry = 0;
  }
  if( !merged && r.n>0 ){
    vdb_trunk_set(trunk->data, n_entry, r);
    put_u32(trunk->data + FREETRUNK_N, n_entry+1);
  }
  vdb_root_add_free(root, n);
  if( txid==0 ) p->sz_run_none = 0;
done:
  vdb_page_unpin(p, trunk);
  vdb_page_unpin(p, root);
  return rc;
}

/* ---- runs of pages, for extents ------------------------------------------ */

/* Take the first n pages of a run that fits. */
static int run_take(struct pager *p, struct page *root, struct page *trunk,
                    uint32_t i, struct run r, uint32_t n, page_no *out){
  int rc = vdb_page_write(p, trunk);

  if( rc!=VECDB_OK ) return rc;
  *out = r.start;
  r.start += n;
  r.n -= n;
  if( r.n==0 ) trunk_remove(trunk->data, i);
  else vdb_trunk_set(trunk->data, i, r);
  vdb_root_add_free(root, -(int64_t)n);
  return rc;
}

/* Look for n pages in one trunk. *n_usable grows by what may be reused. */
static int trunk_search(struct pager *p, struct page *root, page_no pgno,
                        uint32_t n, txn_id limit, page_no *out,
                        uint64_t *n_usable, page_no *next){
  struct page *trunk = NULL;
  uint32_t n_entry = 0;
  int rc = VECDB_OK;

  TRY( vdb_trunk_get(p, pgno, &trunk, &n_entry) );
  for(uint32_t i=0; i<n_entry && *out==0; i++){
    struct run r;
    TRY( vdb_trunk_entry(p, trunk, i, &r) );
    if( r.txid>limit ) continue;
    *n_usable += r.n;
    if( r.n>=n ) TRY( run_take(p, root, trunk, i, r, n, out) );
  }
  *next = get_u32(trunk->data + FREETRUNK_NEXT);
done:
  vdb_page_unpin(p, trunk);
  return rc;
}

static int run_search(struct pager *p, struct page *root, uint32_t n,
                      txn_id limit, page_no *out, uint64_t *n_usable){
  page_no pgno = get_u32(root->data + ROOT_FREE);
  page_no n_seen = 0;
  int rc = VECDB_OK;

  *n_usable = 0;
  while( pgno && *out==0 ){
    if( n_seen++>=p->n_page ){
      TRY( VDB_CORRUPT(p->err, "the free list of %s has no end",
                       vdb_pager_name(p)) );
    }
    TRY( trunk_search(p, root, pgno, n, limit, out, n_usable, &pgno) );
  }
done:
  return rc;
}

/* Merge neighbours if that gives a run of n pages; *made says so. */
static int runs_defragment(struct pager *p, uint32_t n, txn_id limit,
                           bool *made){
  struct free_list fl;
  int rc = VECDB_OK;

  memset(&fl, 0, sizeof(fl));
  *made = false;
  TRY( vdb_freelist_load(p, &fl) );
  TRY( vdb_freelist_merge(p, &fl, limit) );
  for(size_t i=0; i<fl.n && !*made; i++){
    *made = fl.run[i].n>=n && fl.run[i].txid<=limit;
  }
  if( *made ){
    TRY( vdb_freelist_spare(p, &fl) );
    TRY( vdb_freelist_store(p, &fl) );
  }
done:
  vdb_freelist_clear(&fl);
  return rc;
}

/* n pages of the free list, or *out==0. */
static int run_reuse(struct pager *p, struct page *root, uint32_t n,
                     page_no *out){
  txn_id limit = p->store->ops->recycle_limit(p->store);
  uint64_t n_usable = 0;
  bool made = false;
  int rc = VECDB_OK;

  if( p->sz_run_none && p->sz_run_none<=n ) return VECDB_OK;
  TRY( run_search(p, root, n, limit, out, &n_usable) );
  if( *out==0 && n_usable>=n ){
    TRY( runs_defragment(p, n, limit, &made) );
    if( made ) TRY( run_search(p, root, n, limit, out, &n_usable) );
  }
  if( *out==0 ) p->sz_run_none = n;
done:
  return rc;
}

/* n pages at the end; with no_reuse (A4) beyond all this transaction had. */
static int run_append(struct pager *p, struct page *root, uint32_t n,
                      page_no *out){
  page_no pg_gap = 0;
  uint32_t n_gap = p->no_reuse ? p->n_page_high - p->n_page : 0;
  int rc = VECDB_OK;

  if( n_gap>0 ){
    TRY_ALWAYS( grow_file(p, root, n_gap, &pg_gap) );   /* it was once */
    TRY( vdb_alloc_free(p, pg_gap, n_gap, p->snap.txid_write) );
  }
  TRY( grow_file(p, root, n, out) );
done:
  return rc;
}

int vdb_alloc_run(struct pager *p, uint32_t n, page_no *out){
  struct page *root = NULL;
  int rc = VECDB_OK;

  *out = 0;
  assert( n>0 );
  TRY( vdb_root_write(p, &root) );
  if( !p->no_reuse ) TRY( run_reuse(p, root, n, out) );
  if( *out==0 ) TRY( run_append(p, root, n, out) );
done:
  vdb_page_unpin(p, root);
  return rc;
}
