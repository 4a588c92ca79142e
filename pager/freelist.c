/* freelist.c -- the free list as a whole: read, sorted, merged, written,
** trimmed, checked; what a transaction has freed.
**
** FORMAT   FREETRUNK and FREEENTRY in pager/format.def; what the entries mean
**          is at the head of alloc.c.
**
** Entries come from disk: each is checked before use, and a walk along the
** trunks is bounded by the number of pages.
*/
#include <stdlib.h>

#include "util/common.h"
#include "pager/freelist.h"

/* ---- entries of a trunk -------------------------------------------------- */

uint32_t vdb_trunk_capacity(const struct pager *p){
  return (p->store->usable - FREETRUNK_SIZE) / FREEENTRY_SIZE;
}

void vdb_trunk_set(unsigned char *trunk, uint32_t i, struct run r){
  unsigned char *e = entry_at(trunk, i);
  put_u32(e + FREEENTRY_START, r.start);
  put_u32(e + FREEENTRY_LENGTH, r.n);
  put_u64(e + FREEENTRY_TXID, r.txid);
}

int vdb_trunk_entry(struct pager *p, struct page *trunk, uint32_t i,
                    struct run *out){
  const unsigned char *e = entry_at(trunk->data, i);
  out->start = get_u32(e + FREEENTRY_START);
  out->n = get_u32(e + FREEENTRY_LENGTH);
  out->txid = get_u64(e + FREEENTRY_TXID);
  if( out->n==0 || out->start<=p->store->pg_first || out->start>=p->n_page
      || out->n>p->n_page-out->start ){
    return VDB_CORRUPT(p->err, "page %u of %s: free entry %u names %u pages "
                       "from %u, of %u", trunk->pgno, vdb_pager_name(p), i,
                       out->n, out->start, p->n_page);
  }
  return VECDB_OK;
}

/* Pin a trunk and check its count. */
int vdb_trunk_get(struct pager *p, page_no pgno, struct page **out,
                  uint32_t *n){
  int rc = vdb_page_get(p, pgno, PAGE_FREE, out);
  if( rc!=VECDB_OK ) return rc;
  *n = get_u32((*out)->data + FREETRUNK_N);
  if( *n>vdb_trunk_capacity(p) ){
    rc = VDB_CORRUPT(p->err, "page %u of %s: %u free entries, room for %u",
                     pgno, vdb_pager_name(p), *n, vdb_trunk_capacity(p));
    vdb_page_unpin(p, *out);
    *out = NULL;
  }
  return rc;
}

/* ---- the whole list in memory -------------------------------------------- */

void vdb_freelist_clear(struct free_list *fl){
  vdb_free(fl->run);
  vdb_free(fl->trunk);
  memset(fl, 0, sizeof(*fl));
}

static int free_list_add(struct free_list *fl, struct run r){
  int rc = vdb_grow(&fl->run, &fl->n_cap, fl->n+1, sizeof(*fl->run));
  if( rc==VECDB_OK ) fl->run[fl->n++] = r;
  return rc;
}

/* Read one trunk into fl; *next is the one after it. */
static int free_list_read(struct pager *p, struct free_list *fl, page_no pgno,
                          page_no *next){
  struct page *trunk = NULL;
  uint32_t n = 0;
  int rc = VECDB_OK;

  TRY( vdb_trunk_get(p, pgno, &trunk, &n) );
  TRY( vdb_grow(&fl->trunk, &fl->n_trunk_cap, fl->n_trunk+1,
                sizeof(*fl->trunk)) );
  fl->trunk[fl->n_trunk++] = pgno;
  for(uint32_t i=0; i<n; i++){
    struct run r;
    TRY( vdb_trunk_entry(p, trunk, i, &r) );
    TRY( free_list_add(fl, r) );
  }
  *next = get_u32(trunk->data + FREETRUNK_NEXT);
done:
  vdb_page_unpin(p, trunk);
  return rc;
}

int vdb_freelist_load(struct pager *p, struct free_list *fl){
  struct page *root = NULL;
  page_no pgno;
  int rc = VECDB_OK;

  TRY( vdb_root_page(p, &root) );
  pgno = get_u32(root->data + ROOT_FREE);
  while( pgno ){
    if( fl->n_trunk>=p->n_page || fl->n>p->n_page ){
      TRY( VDB_CORRUPT(p->err, "the free list of %s has no end",
                       vdb_pager_name(p)) );
    }
    TRY( free_list_read(p, fl, pgno, &pgno) );
  }
done:
  vdb_page_unpin(p, root);
  return rc;
}

/* The pages of one trunk that txid has freed. *more: look at the next one. */
static int trunk_each_freed(struct pager *p, struct page *trunk, uint32_t n,
                            txn_id txid, int (*fn)(void *arg, page_no pgno),
                            void *arg, bool *more){
  int rc = VECDB_OK;

  *more = n==0;
  for(uint32_t i=0; i<n; i++){
    struct run r;
    TRY( vdb_trunk_entry(p, trunk, i, &r) );
    if( r.txid!=txid ) continue;
    *more = true;
    for(uint32_t k=0; k<r.n; k++) TRY( fn(arg, r.start+k) );
  }
done:
  return rc;
}

/* Entries are added to the first trunk, and new trunks come before it: behind
** one that has entries but none of txid there are none of it. */
int vdb_alloc_each_freed(struct pager *p, txn_id txid,
                         int (*fn)(void *arg, page_no pgno), void *arg){
  struct page *root = NULL, *trunk = NULL;
  bool more = true;
  page_no pgno, n_seen = 0;
  uint32_t n = 0;
  int rc = VECDB_OK;

  TRY( vdb_root_page(p, &root) );
  pgno = get_u32(root->data + ROOT_FREE);
  while( pgno && more && n_seen++<p->n_page ){
    TRY( vdb_trunk_get(p, pgno, &trunk, &n) );
    TRY( trunk_each_freed(p, trunk, n, txid, fn, arg, &more) );
    pgno = get_u32(trunk->data + FREETRUNK_NEXT);
    vdb_page_unpin(p, trunk);
    trunk = NULL;
  }
done:
  vdb_page_unpin(p, trunk);
  vdb_page_unpin(p, root);
  return rc;
}

static int run_compare(const void *a, const void *b){
  const struct run *x = a, *y = b;
  return x->start<y->start ? -1 : x->start>y->start;
}

/* Sort, and merge neighbours that were freed together or may be reused
** alike. */
int vdb_freelist_merge(struct pager *p, struct free_list *fl,
                       txn_id limit){
  size_t n = 0;

  if( fl->n==0 ) return VECDB_OK;
  qsort(fl->run, fl->n, sizeof(*fl->run), run_compare);
  for(size_t i=1; i<fl->n; i++){
    struct run *a = &fl->run[n], *b = &fl->run[i];
    if( b->start-a->start<a->n ){
      return VDB_CORRUPT(p->err, "page %u of %s is free twice", b->start,
                         vdb_pager_name(p));
    }
    if( a->start+a->n==b->start
        && (a->txid==b->txid || (a->txid<=limit && b->txid<=limit)) ){
      a->n += b->n;
      if( b->txid>a->txid ) a->txid = b->txid;
    }else{
      fl->run[++n] = *b;
    }
  }
  fl->n = n+1;
  return VECDB_OK;
}

/* A savepoint wants to know what a trunk held. */
static int trunk_save(struct pager *p, page_no pgno){
  struct page *trunk = NULL;
  int rc = VECDB_OK;

  if( p->n_save==0 ) return VECDB_OK;
  TRY( vdb_page_get(p, pgno, PAGE_FREE, &trunk) );
  TRY( vdb_page_write(p, trunk) );
done:
  vdb_page_unpin(p, trunk);
  return rc;
}

/* Write entries [*i, ..) into trunk page pgno, as many as fit. */
static int trunk_fill(struct pager *p, const struct free_list *fl, size_t *i,
                      page_no pgno, page_no pg_next){
  struct page *trunk = NULL;
  uint32_t n = 0, n_max = vdb_trunk_capacity(p);
  int rc = VECDB_OK;

  TRY( trunk_save(p, pgno) );
  TRY( vdb_page_make(p, pgno, PAGE_FREE, &trunk) );
  for(; n<n_max && *i<fl->n; n++, (*i)++){
    vdb_trunk_set(trunk->data, n, fl->run[*i]);
  }
  put_u32(trunk->data + FREETRUNK_N, n);
  put_u32(trunk->data + FREETRUNK_NEXT, pg_next);
done:
  vdb_page_unpin(p, trunk);
  return rc;
}

/* Write the list: its runs, kept by its trunks, all of which are used. */
int vdb_freelist_store(struct pager *p, const struct free_list *fl){
  struct page *root = NULL;
  uint64_t n_free = fl->n_trunk;
  size_t i = 0;
  int rc = VECDB_OK;

  TRY( vdb_root_write(p, &root) );
  for(size_t k=0; k<fl->n_trunk; k++){
    page_no pg_next = k+1<fl->n_trunk ? fl->trunk[k+1] : 0;
    TRY( trunk_fill(p, fl, &i, fl->trunk[k], pg_next) );
  }
  assert( i==fl->n );
  for(size_t k=0; k<fl->n; k++) n_free += fl->run[k].n;
  put_u32(root->data + ROOT_FREE, fl->n_trunk ? fl->trunk[0] : 0);
  put_u64(root->data + ROOT_NFREE, n_free);
done:
  vdb_page_unpin(p, root);
  return rc;
}

/* Fewer entries need fewer trunks: the others become entries. */
int vdb_freelist_spare(struct pager *p, struct free_list *fl){
  size_t n_max = vdb_trunk_capacity(p);
  int rc = VECDB_OK;

  while( fl->n_trunk>1 && fl->n+1<=(fl->n_trunk-1)*n_max ){
    struct run r = { fl->trunk[--fl->n_trunk], 1, p->snap.txid_write };
    TRY( free_list_add(fl, r) );
  }
done:
  return rc;
}

/* ---- trimming the end of the file ---------------------------------------- */

static int n_page_lower(struct pager *p, page_no n_page){
  struct page *root = NULL;
  int rc = VECDB_OK;

  TRY( vdb_root_write(p, &root) );
  p->n_page = n_page;
  put_u32(root->data + ROOT_NPAGE, n_page);
done:
  vdb_page_unpin(p, root);
  return rc;
}

/* Everything free as runs, trunks included, sorted and merged; then drop what
** lies at the end and choose new trunks from the front. */
static int free_list_trim(struct pager *p, struct free_list *fl,
                          bool *trimmed){
  size_t n_max = vdb_trunk_capacity(p), i = 0;
  struct run *last;
  int rc = VECDB_OK;

  for(size_t k=0; k<fl->n_trunk; k++){
    struct run r = { fl->trunk[k], 1, p->snap.txid_write };
    TRY( free_list_add(fl, r) );
  }
  TRY( vdb_freelist_merge(p, fl, (txn_id)-1) );
  last = fl->n ? &fl->run[fl->n-1] : NULL;
  *trimmed = last && last->start+last->n==p->n_page;
  if( !*trimmed ) goto done;
  TRY( n_page_lower(p, last->start) );
  fl->n--;
  fl->n_trunk = 0;
  while( fl->n-i>fl->n_trunk*n_max ){
    struct run *r = &fl->run[i];
    TRY( vdb_grow(&fl->trunk, &fl->n_trunk_cap, fl->n_trunk+1,
                  sizeof(*fl->trunk)) );
    fl->trunk[fl->n_trunk++] = r->start++;
    if( --r->n==0 ) i++;
  }
  fl->n -= i;
  memmove(fl->run, fl->run+i, fl->n*sizeof(*fl->run));
done:
  return rc;
}

/* Nobody else has the file open: give up the free pages at its end. The store
** truncates the file after the checkpoint that follows. */
int vdb_alloc_trim(struct pager *p, bool *trimmed){
  struct free_list fl;
  int rc = VECDB_OK;

  *trimmed = false;
  memset(&fl, 0, sizeof(fl));
  TRY( vdb_freelist_load(p, &fl) );
  TRY( free_list_trim(p, &fl, trimmed) );
  if( *trimmed ) TRY( vdb_freelist_store(p, &fl) );
done:
  vdb_freelist_clear(&fl);
  return rc;
}

/* ---- checking ------------------------------------------------------------ */

int vdb_alloc_check(struct pager *p, struct census *c){
  struct free_list fl;
  struct page *root = NULL;
  uint64_t n_free;
  int rc = VECDB_OK;

  memset(&fl, 0, sizeof(fl));
  TRY( vdb_freelist_load(p, &fl) );
  for(size_t i=0; i<fl.n_trunk; i++){
    vdb_census_page(c, fl.trunk[i], "free list");
  }
  n_free = fl.n_trunk;
  for(size_t i=0; i<fl.n; i++){
    n_free += fl.run[i].n;
    vdb_census_run(c, fl.run[i].start, fl.run[i].n, "free list");
  }
  TRY_ALWAYS( vdb_root_page(p, &root) );        /* its reader has it pinned */
  if( get_u64(root->data + ROOT_NFREE)!=n_free ){
    vdb_census_report(c, 2, "root", "%llu free pages are counted, %llu are on "
                      "the free list",
                      (unsigned long long)get_u64(root->data + ROOT_NFREE),
                      (unsigned long long)n_free);
  }
done:
  vdb_page_unpin(p, root);
  vdb_freelist_clear(&fl);
  return rc;
}
