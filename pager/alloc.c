/* alloc.c -- the root page and the free list.
**
** FORMAT   ROOT, FREETRUNK and FREEENTRY in pager/format.def. The root names
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
#include <stdlib.h>

#include "util/common.h"
#include "pager/pager_int.h"

#define MERGE_LOOK  8               /* latest entries tried for merging */

struct run { page_no start; uint32_t n; txn_id txid; };

/* ---- entries of a trunk -------------------------------------------------- */

static uint32_t trunk_capacity(const struct pager *p){
  return (p->store->usable - FREETRUNK_SIZE) / FREEENTRY_SIZE;
}

static unsigned char *entry_at(unsigned char *trunk, uint32_t i){
  return trunk + FREETRUNK_SIZE + (size_t)i*FREEENTRY_SIZE;
}

static void entry_set(unsigned char *trunk, uint32_t i, struct run r){
  unsigned char *e = entry_at(trunk, i);
  put_u32(e + FREEENTRY_START, r.start);
  put_u32(e + FREEENTRY_LENGTH, r.n);
  put_u64(e + FREEENTRY_TXID, r.txid);
}

static int entry_get(struct pager *p, struct page *trunk, uint32_t i,
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
static int trunk_get(struct pager *p, page_no pgno, struct page **out,
                     uint32_t *n){
  int rc = vdb_page_get(p, pgno, PAGE_FREE, out);
  if( rc!=VECDB_OK ) return rc;
  *n = get_u32((*out)->data + FREETRUNK_N);
  if( *n>trunk_capacity(p) ){
    rc = VDB_CORRUPT(p->err, "page %u of %s: %u free entries, room for %u",
                     pgno, vdb_pager_name(p), *n, trunk_capacity(p));
    vdb_page_unpin(p, *out);
    *out = NULL;
  }
  return rc;
}

static void trunk_remove(unsigned char *trunk, uint32_t i){
  uint32_t n = get_u32(trunk + FREETRUNK_N) - 1;
  memmove(entry_at(trunk, i), entry_at(trunk, n), FREEENTRY_SIZE);
  memset(entry_at(trunk, n), 0, FREEENTRY_SIZE);
  put_u32(trunk + FREETRUNK_N, n);
}

/* ---- the root page ------------------------------------------------------- */

void vdb_root_format(unsigned char *data, uint32_t usable, page_no pg_root){
  memset(data, 0, usable);
  data[PAGEHDR_TYPE] = PAGE_ROOT;
  put_u32(data + ROOT_NPAGE, pg_root+1);
  put_u64(data + ROOT_TXID, 1);
  put_u64(data + ROOT_NEXTEXT, 1);
  vdb_page_seal(data, usable, pg_root, 1);
}

int vdb_root_page(struct pager *p, struct page **out){
  return vdb_page_get(p, p->store->pg_first, PAGE_ROOT, out);
}

/* Pin the root and make it writable. */
static int root_write(struct pager *p, struct page **out){
  int rc = VECDB_OK;

  *out = NULL;
  TRY( vdb_root_page(p, out) );
  TRY( vdb_page_write(p, *out) );
  put_u64((*out)->data + ROOT_TXID, p->snap.txid_write);
done:
  if( rc!=VECDB_OK ){
    vdb_page_unpin(p, *out);
    *out = NULL;
  }
  return rc;
}

static void root_add_free(struct page *root, int64_t n){
  put_u64(root->data + ROOT_NFREE,
          get_u64(root->data + ROOT_NFREE) + (uint64_t)n);
}

int vdb_root_get(struct pager *p, enum root_word w, uint64_t *out){
  struct page *root = NULL;
  int rc = VECDB_OK;

  *out = 0;
  assert( (unsigned)w<ROOT_USER_MAX );
  TRY( vdb_root_page(p, &root) );
  *out = get_u64(root->data + ROOT_WORDS + 8*(size_t)w);
done:
  vdb_page_unpin(p, root);
  return rc;
}

int vdb_root_set(struct pager *p, enum root_word w, uint64_t v){
  struct page *root = NULL;
  int rc = VECDB_OK;

  assert( (unsigned)w<ROOT_USER_MAX );
  TRY( vdb_pager_use_write(p) );
  TRY( root_write(p, &root) );
  put_u64(root->data + ROOT_WORDS + 8*(size_t)w, v);
done:
  vdb_page_unpin(p, root);
  return rc;
}

int vdb_root_touch(struct pager *p){
  struct page *root = NULL;
  int rc = root_write(p, &root);
  vdb_page_unpin(p, root);
  return rc;
}

int vdb_root_set_token(struct pager *p, const unsigned char host[16],
                       uint64_t token){
  struct page *root = NULL;
  int rc = VECDB_OK;

  TRY( root_write(p, &root) );
  memcpy(root->data + ROOT_HOST, host, 16);
  put_u64(root->data + ROOT_TOKEN, token);
done:
  vdb_page_unpin(p, root);
  return rc;
}

int vdb_root_get_token(struct pager *p, unsigned char host[16],
                       uint64_t *token){
  struct page *root = NULL;
  int rc = VECDB_OK;

  TRY( vdb_root_page(p, &root) );
  memcpy(host, root->data + ROOT_HOST, 16);
  *token = get_u64(root->data + ROOT_TOKEN);
done:
  vdb_page_unpin(p, root);
  return rc;
}

int vdb_alloc_number(struct pager *p, uint64_t *out){
  struct page *root = NULL;
  int rc = VECDB_OK;

  TRY( root_write(p, &root) );
  *out = get_u64(root->data + ROOT_NEXTEXT);
  put_u64(root->data + ROOT_NEXTEXT, *out + 1);
done:
  vdb_page_unpin(p, root);
  return rc;
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
    TRY( entry_get(p, trunk, i, &r) );
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
  else entry_set(trunk->data, i, r);
  root_add_free(root, -1);
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
  root_add_free(root, -1);
  return rc;
}

int vdb_alloc_page(struct pager *p, enum page_type type, struct page **out){
  struct page *root = NULL, *trunk = NULL;
  page_no pgno = 0, pg_trunk;
  uint32_t n = 0;
  int rc = VECDB_OK;

  *out = NULL;
  TRY( root_write(p, &root) );
  pg_trunk = get_u32(root->data + ROOT_FREE);
  if( pg_trunk==0 ){
    TRY( grow_file(p, root, 1, &pgno) );
  }else{
    TRY( trunk_get(p, pg_trunk, &trunk, &n) );
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
  vdb_page_unpin(p, trunk);
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
    TRY( entry_get(p, trunk, i, &e) );
    if( e.txid!=r.txid ) continue;
    if( e.start+e.n==r.start ){
      e.n += r.n;
    }else if( r.start+r.n==e.start ){
      e.start = r.start;
      e.n += r.n;
    }else{
      continue;
    }
    entry_set(trunk->data, i, e);
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
  TRY( root_write(p, &root) );
  pg_trunk = get_u32(root->data + ROOT_FREE);
  if( pg_trunk ){
    TRY( trunk_get(p, pg_trunk, &trunk, &n_entry) );
    TRY( vdb_page_write(p, trunk) );
    TRY( trunk_merge(p, trunk, n_entry, r, &merged) );
  }
  if( !merged && (trunk==NULL || n_entry==trunk_capacity(p)) ){
    struct page *fresh = NULL;
    TRY( trunk_push(p, root, &r, &fresh) );
    vdb_page_unpin(p, trunk);
    trunk = fresh;
    n_entry = 0;
  }
  if( !merged && r.n>0 ){
    entry_set(trunk->data, n_entry, r);
    put_u32(trunk->data + FREETRUNK_N, n_entry+1);
  }
  root_add_free(root, n);
  if( txid==0 ) p->sz_run_none = 0;
done:
  vdb_page_unpin(p, trunk);
  vdb_page_unpin(p, root);
  return rc;
}

/* ---- the whole list in memory -------------------------------------------- */

struct free_list {
  struct run *run; size_t n, n_cap;           /* entries */
  page_no *trunk; size_t n_trunk, n_trunk_cap;
};

static void free_list_clear(struct free_list *fl){
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

  TRY( trunk_get(p, pgno, &trunk, &n) );
  TRY( vdb_grow(&fl->trunk, &fl->n_trunk_cap, fl->n_trunk+1,
                sizeof(*fl->trunk)) );
  fl->trunk[fl->n_trunk++] = pgno;
  for(uint32_t i=0; i<n; i++){
    struct run r;
    TRY( entry_get(p, trunk, i, &r) );
    TRY( free_list_add(fl, r) );
  }
  *next = get_u32(trunk->data + FREETRUNK_NEXT);
done:
  vdb_page_unpin(p, trunk);
  return rc;
}

static int free_list_load(struct pager *p, struct free_list *fl){
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

static int run_compare(const void *a, const void *b){
  const struct run *x = a, *y = b;
  return x->start<y->start ? -1 : x->start>y->start;
}

/* Sort, and merge neighbours that were freed together or may be reused
** alike. */
static int free_list_merge(struct pager *p, struct free_list *fl,
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
  uint32_t n = 0, n_max = trunk_capacity(p);
  int rc = VECDB_OK;

  TRY( trunk_save(p, pgno) );
  TRY( vdb_page_make(p, pgno, PAGE_FREE, &trunk) );
  for(; n<n_max && *i<fl->n; n++, (*i)++){
    entry_set(trunk->data, n, fl->run[*i]);
  }
  put_u32(trunk->data + FREETRUNK_N, n);
  put_u32(trunk->data + FREETRUNK_NEXT, pg_next);
done:
  vdb_page_unpin(p, trunk);
  return rc;
}

/* Write the list: its runs, kept by its trunks, all of which are used. */
static int free_list_store(struct pager *p, const struct free_list *fl){
  struct page *root = NULL;
  uint64_t n_free = fl->n_trunk;
  size_t i = 0;
  int rc = VECDB_OK;

  TRY( root_write(p, &root) );
  for(size_t k=0; k<fl->n_trunk; k++){
    page_no pg_next = k+1<fl->n_trunk ? fl->trunk[k+1] : 0;
    TRY( trunk_fill(p, fl, &i, fl->trunk[k], pg_next) );
  }
  assert( i==fl->n );
  for(size_t k=0; k<fl->n; k++) n_free += fl->run[k].n;
  put_u32(root->data + ROOT_FREE, fl->n_trunk ? fl->trunk[0] : 0);
  put_u64(root->data + ROOT_NFREE, n_free);
  put_u32(root->data + ROOT_NPAGE, p->n_page);
done:
  vdb_page_unpin(p, root);
  return rc;
}

/* Fewer entries need fewer trunks: the others become entries. */
static int free_list_spare(struct pager *p, struct free_list *fl){
  size_t n_max = trunk_capacity(p);
  int rc = VECDB_OK;

  while( fl->n_trunk>1 && fl->n+1<=(fl->n_trunk-1)*n_max ){
    struct run r = { fl->trunk[--fl->n_trunk], 1, p->snap.txid_write };
    TRY( free_list_add(fl, r) );
  }
done:
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
  else entry_set(trunk->data, i, r);
  root_add_free(root, -(int64_t)n);
  return rc;
}

/* Look for n pages in one trunk. *n_usable grows by what may be reused. */
static int trunk_search(struct pager *p, struct page *root, page_no pgno,
                        uint32_t n, txn_id limit, page_no *out,
                        uint64_t *n_usable, page_no *next){
  struct page *trunk = NULL;
  uint32_t n_entry = 0;
  int rc = VECDB_OK;

  TRY( trunk_get(p, pgno, &trunk, &n_entry) );
  for(uint32_t i=0; i<n_entry && *out==0; i++){
    struct run r;
    TRY( entry_get(p, trunk, i, &r) );
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
  TRY( free_list_load(p, &fl) );
  TRY( free_list_merge(p, &fl, limit) );
  for(size_t i=0; i<fl.n && !*made; i++){
    *made = fl.run[i].n>=n && fl.run[i].txid<=limit;
  }
  if( *made ){
    TRY( free_list_spare(p, &fl) );
    TRY( free_list_store(p, &fl) );
  }
done:
  free_list_clear(&fl);
  return rc;
}

/* n pages of the free list, or *out==0. */
static int run_reuse(struct pager *p, struct page *root, uint32_t n,
                     page_no *out){
  txn_id limit = p->store->ops->recycle_limit(p->store);
  uint64_t n_usable = 0;
  bool made = false;
  int rc = VECDB_OK;

  if( p->sz_run_none && p->sz_run_none<=n && p->txid_run_none==limit ){
    return VECDB_OK;
  }
  TRY( run_search(p, root, n, limit, out, &n_usable) );
  if( *out==0 && n_usable>=n ){
    TRY( runs_defragment(p, n, limit, &made) );
    if( made ) TRY( run_search(p, root, n, limit, out, &n_usable) );
  }
  if( *out==0 ){
    p->sz_run_none = n;
    p->txid_run_none = limit;
  }
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
    TRY( grow_file(p, root, n_gap, &pg_gap) );
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
  TRY( root_write(p, &root) );
  if( !p->no_reuse ) TRY( run_reuse(p, root, n, out) );
  if( *out==0 ) TRY( run_append(p, root, n, out) );
done:
  vdb_page_unpin(p, root);
  return rc;
}

/* ---- trimming the end of the file ---------------------------------------- */

/* Everything free as runs, trunks included, sorted and merged; then drop what
** lies at the end and choose new trunks from the front. */
static int free_list_trim(struct pager *p, struct free_list *fl,
                          bool *trimmed){
  size_t n_max = trunk_capacity(p), i = 0;
  struct run *last;
  int rc = VECDB_OK;

  for(size_t k=0; k<fl->n_trunk; k++){
    struct run r = { fl->trunk[k], 1, p->snap.txid_write };
    TRY( free_list_add(fl, r) );
  }
  TRY( free_list_merge(p, fl, (txn_id)-1) );
  last = fl->n ? &fl->run[fl->n-1] : NULL;
  *trimmed = last && last->start+last->n==p->n_page;
  if( !*trimmed ) goto done;
  p->n_page = last->start;
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
  TRY( free_list_load(p, &fl) );
  TRY( free_list_trim(p, &fl, trimmed) );
  if( *trimmed ) TRY( free_list_store(p, &fl) );
done:
  free_list_clear(&fl);
  return rc;
}

/* ---- checking ------------------------------------------------------------ */

int vdb_alloc_check(struct pager *p, struct census *c){
  struct free_list fl;
  struct page *root = NULL;
  uint64_t n_free;
  int rc = VECDB_OK;

  memset(&fl, 0, sizeof(fl));
  TRY( free_list_load(p, &fl) );
  for(size_t i=0; i<fl.n_trunk; i++){
    vdb_census_page(c, fl.trunk[i], "free list");
  }
  n_free = fl.n_trunk;
  for(size_t i=0; i<fl.n; i++){
    n_free += fl.run[i].n;
    vdb_census_run(c, fl.run[i].start, fl.run[i].n, "free list");
  }
  TRY( vdb_root_page(p, &root) );
  if( get_u64(root->data + ROOT_NFREE)!=n_free ){
    vdb_census_report(c, 2, "root", "%llu free pages are counted, %llu are on "
                      "the free list",
                      (unsigned long long)get_u64(root->data + ROOT_NFREE),
                      (unsigned long long)n_free);
  }
done:
  vdb_page_unpin(p, root);
  free_list_clear(&fl);
  return rc;
}
