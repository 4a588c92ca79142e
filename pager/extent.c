/* extent.c -- immutable runs of records: create, pin, verify, free.
**
** FORMAT   EXTENT in pager/format.def. The payload lies where the store put
**          it (a run of pages, or a numbered array); the directory page says
**          where and has one CRC-32C per 4096 bytes of payload.
**
** PINNING  A store that can map gives the bytes in place. Otherwise they are
**          read into a heap block, kept under the cache's budget until the
**          block is the oldest one without pins.
**
** INVARIANTS
**   E1  What is known to be intact is remembered by (directory page, creating
**       transaction), chunk by chunk. The pair names a payload for good: the
**       page is reused only by a later transaction. Pairs of a transaction
**       that is rolled back are forgotten, since its number is used again; all
**       are, when a host has gone back behind a commit of ours.
**   E2  A block of heap bytes is named by the same pair.
**   E3  Nothing of a chunk is used before its checksum was right, except by
**       callers of vdb_extent_pin_raw, who ask vdb_extent_verify themselves.
**   E4  At the end of a transaction no pin keeps a mapping or block, but for
**       those of vdb_extent_hold; a pin that was forgotten stays listed, so
**       that unpinning it is safe.
*/
#include "util/common.h"
#include "util/crc32c.h"
#include "pager/extent.h"
#include "pager/pager_int.h"

#define CHUNKS_MAX   (EXTENT_MAX_BYTES/EXTENT_CHUNK)
#define SEEN_MIN     16

struct seen {                       /* what is known of one extent (E1) */
  page_no head;                     /* 0: an empty place */
  txn_id txid;
  uint32_t n_ok;                    /* chunks whose checksum was right, .. */
  uint64_t ok[CHUNKS_MAX/64];       /* .. and which */
};

struct heap_extent {                /* an extent read into memory (E2) */
  struct heap_extent *next;         /* newest use first */
  page_no head;
  txn_id txid;
  uint32_t n_pin;
  size_t sz;
  unsigned char *data;
};

struct extent_pin {                 /* what struct extent.pin points to */
  struct extent_pin *next, **prev;  /* in extent_cache.pins */
  struct heap_extent *heap;         /* the bytes, or .. */
  void *map;                        /* .. the store's pin */
  bool is_mapped;
};

struct extent_cache {
  struct seen *seen; size_t n_seen, n_seen_cap;   /* hash table by head */
  struct heap_extent *heap;
  struct extent_pin *pins;
  struct extent_pin *held;          /* pins that outlive transactions */
};

/* ---- what was verified --------------------------------------------------- */

static struct seen *seen_slot(struct seen *table, size_t n_cap, page_no head){
  size_t i = (head * 0x9e3779b1u >> 5) & (n_cap-1);
  while( table[i].head!=0 && table[i].head!=head ) i = (i+1) & (n_cap-1);
  return &table[i];
}

/* Move all entries to a table of n_cap places, but those of `txid_void`. */
static int seen_rebuild(struct extent_cache *x, size_t n_cap,
                        txn_id txid_void){
  struct seen *table = vdb_calloc(n_cap, sizeof(*table));

  if( table==NULL ) return VECDB_NOMEM;
  x->n_seen = 0;
  for(size_t i=0; i<x->n_seen_cap; i++){
    const struct seen *s = &x->seen[i];
    if( s->head==0 || s->txid==txid_void ) continue;
    *seen_slot(table, n_cap, s->head) = *s;
    x->n_seen++;
  }
  vdb_free(x->seen);
  x->seen = table;
  x->n_seen_cap = n_cap;
  return VECDB_OK;
}

static void seen_reset(struct seen *s){
  s->n_ok = 0;
  memset(s->ok, 0, sizeof(s->ok));
}

static bool seen_is_ok(const struct seen *s, size_t i){
  return s->ok[i/64]>>(i%64) & 1;
}

static void seen_set_ok(struct seen *s, size_t i){
  s->ok[i/64] |= (uint64_t)1 << (i%64);
  s->n_ok++;
}

/* The entry of an extent, made if needed. */
static int seen_get(struct extent_cache *x, page_no head, txn_id txid,
                    struct seen **out){
  struct seen *s;
  int rc = VECDB_OK;

  if( 2*(x->n_seen+1)>x->n_seen_cap ){
    TRY( seen_rebuild(x, x->n_seen_cap ? x->n_seen_cap*2 : SEEN_MIN, 0) );
  }
  s = seen_slot(x->seen, x->n_seen_cap, head);
  if( s->head==0 ){
    s->head = head;
    s->txid = txid;
    x->n_seen++;
  }else if( s->txid!=txid ){
    seen_reset(s);
    s->txid = txid;
  }
  *out = s;
done:
  return rc;
}

/* ---- bytes in the heap --------------------------------------------------- */

static void heap_free(struct pager *p, struct heap_extent *h){
  if( h==NULL ) return;
  if( h->data ) p->cache.sz_other -= h->sz;
  vdb_free_aligned(h->data);
  vdb_free(h);
}

static struct heap_extent *heap_find(struct extent_cache *x, page_no head,
                                     txn_id txid){
  struct heap_extent **pp = &x->heap, *h;

  while( (h = *pp)!=NULL && (h->head!=head || h->txid!=txid) ) pp = &h->next;
  if( h ){
    *pp = h->next;                              /* to the front */
    h->next = x->heap;
    x->heap = h;
  }
  return h;
}

/* Free blocks without pins, oldest first, until sz more bytes fit. Pages make
** room too. */
static void heap_make_room(struct pager *p, size_t sz){
  struct extent_cache *x = p->extents;

  p->cache.sz_other += sz;
  while( vdb_pcache_bytes(&p->cache)>p->cache.sz_max ){
    struct heap_extent **pp = &x->heap, **victim = NULL, *h;
    for(; *pp; pp=&(*pp)->next) if( (*pp)->n_pin==0 ) victim = pp;
    if( victim==NULL ) break;
    h = *victim;
    *victim = h->next;
    heap_free(p, h);
  }
  vdb_pcache_shrink(&p->cache);
  p->cache.sz_other -= sz;
}

static int heap_read(struct pager *p, const struct extent *e, uint64_t no,
                     struct heap_extent **out){
  struct extent_cache *x = p->extents;
  struct heap_extent *h = NULL;
  struct seen *s;
  int rc = VECDB_OK;

  *out = NULL;
  TRY( seen_get(x, e->head, e->txid, &s) );
  heap_make_room(p, e->sz);
  h = vdb_calloc(1, sizeof(*h));
  if( h==NULL ) TRY( VECDB_NOMEM );
  h->data = vdb_malloc_aligned(e->sz);
  if( h->data==NULL ) TRY( VECDB_NOMEM );
  h->head = e->head;
  h->txid = e->txid;
  h->sz = e->sz;
  p->cache.sz_other += h->sz;
  TRY( p->store->ops->extent_read(p->store, no, 0, h->data, h->sz) );
  seen_reset(s);              /* other bytes than before */
  h->next = x->heap;
  x->heap = h;
  *out = h;
  h = NULL;
done:
  heap_free(p, h);
  return rc;
}

/* ---- the directory page -------------------------------------------------- */

static uint32_t payload_pages(const struct pager *p, size_t sz){
  return (uint32_t)((sz + p->store->usable - 1) / p->store->usable);
}

/* Decode and check a directory page. *no is where the payload lies. */
static int head_decode(struct pager *p, const struct page *pg,
                       struct extent *e, uint64_t *no){
  const unsigned char *d = pg->data;
  uint32_t n_page = get_u32(d + EXTENT_NPAGE);
  uint32_t n_crc = get_u32(d + EXTENT_NCRC);
  uint64_t sz;

  memset(e, 0, sizeof(*e));
  e->head = pg->pgno;
  e->spec.kind = get_u32(d + EXTENT_KIND);
  e->spec.stride = get_u32(d + EXTENT_STRIDE);
  e->spec.n_rec = get_u32(d + EXTENT_NREC);
  e->spec.owner = get_u64(d + EXTENT_OWNER);
  e->txid = get_u64(d + EXTENT_TXID);
  *no = get_u64(d + EXTENT_START);
  sz = (uint64_t)e->spec.stride * e->spec.n_rec;
  e->sz = (size_t)sz;
  if( sz==0 || sz>EXTENT_MAX_BYTES || n_crc!=(sz+EXTENT_CHUNK-1)/EXTENT_CHUNK ){
    return VDB_CORRUPT(p->err, "extent %u of %s: %u records of %u bytes, %u "
                       "checksums", e->head, vdb_pager_name(p), e->spec.n_rec,
                       e->spec.stride, n_crc);
  }
  if( p->store->has_runs
      && (n_page!=payload_pages(p, e->sz) || *no<=p->store->pg_first
          || *no>=p->n_page || n_page>p->n_page-*no) ){
    return VDB_CORRUPT(p->err, "extent %u of %s: %u pages from %llu, of %u",
                       e->head, vdb_pager_name(p), n_page,
                       (unsigned long long)*no, p->n_page);
  }
  if( e->txid>vdb_pager_txid(p) ){
    return VDB_CORRUPT(p->err, "extent %u of %s: made by transaction %llu, "
                       "this is %llu", e->head, vdb_pager_name(p),
                       (unsigned long long)e->txid,
                       (unsigned long long)vdb_pager_txid(p));
  }
  return VECDB_OK;
}

static int head_read(struct pager *p, page_no head, struct extent *e,
                     uint64_t *no){
  struct page *pg = NULL;
  int rc = VECDB_OK;

  memset(e, 0, sizeof(*e));
  TRY( vdb_page_get(p, head, PAGE_EXTENT, &pg) );
  TRY( head_decode(p, pg, e, no) );
done:
  vdb_page_unpin(p, pg);
  return rc;
}

int vdb_extent_describe(struct pager *p, page_no head, struct extent *out){
  uint64_t no;
  return head_read(p, head, out, &no);
}

/* ---- creating ------------------------------------------------------------ */

uint32_t vdb_extent_capacity(uint32_t stride){
  uint32_t n = 1;
  if( stride==0 || stride>EXTENT_MAX_BYTES ) return 0;
  while( (uint64_t)stride*n*2<=EXTENT_MAX_BYTES ) n *= 2;
  return n;
}

static void head_encode(struct pager *p, unsigned char *d,
                        const struct extent_spec *spec, uint64_t no,
                        const unsigned char *payload, size_t sz){
  uint32_t n_crc = (uint32_t)((sz + EXTENT_CHUNK - 1) / EXTENT_CHUNK);

  put_u64(d + EXTENT_START, no);
  put_u32(d + EXTENT_NPAGE, p->store->has_runs ? payload_pages(p, sz) : 0);
  put_u32(d + EXTENT_KIND, spec->kind);
  put_u32(d + EXTENT_STRIDE, spec->stride);
  put_u32(d + EXTENT_NREC, spec->n_rec);
  put_u64(d + EXTENT_OWNER, spec->owner);
  put_u64(d + EXTENT_TXID, p->snap.txid_write);
  put_u32(d + EXTENT_NCRC, n_crc);
  for(uint32_t i=0; i<n_crc; i++){
    size_t off = (size_t)i*EXTENT_CHUNK;
    uint32_t crc = vdb_crc32c(0, payload+off,
                              vdb_min_sz(EXTENT_CHUNK, sz-off));
    put_u32(d + EXTENT_SIZE + 4*(size_t)i, crc);
  }
}

static int log_reserve(struct extent_log *l){
  return vdb_grow(&l->no, &l->n_cap, l->n+1, sizeof(*l->no));
}

/* Place and number for sz bytes. */
static int payload_place(struct pager *p, size_t sz, uint64_t *no){
  page_no start = 0;
  int rc;

  if( !p->store->has_runs ) return vdb_alloc_number(p, no);
  rc = vdb_alloc_run(p, payload_pages(p, sz), &start);
  *no = start;
  return rc;
}

/* Creating failed: nobody has seen the run, it is free for all. A failure
** here loses the space until the transaction is rolled back. */
static void payload_unplace(struct pager *p, uint64_t no, size_t sz){
  if( no && p->store->has_runs ){
    (void)vdb_alloc_free(p, (page_no)no, payload_pages(p, sz), 0);
  }
}

int vdb_extent_create(struct pager *p, const struct extent_spec *spec,
                      const void *payload, page_no *head){
  size_t sz = (size_t)spec->stride * spec->n_rec;
  struct page *pg = NULL;
  uint64_t no = 0;
  int rc = VECDB_OK;

  *head = 0;
  TRY( vdb_pager_use_write(p) );
  if( sz==0 || (uint64_t)spec->stride*spec->n_rec>EXTENT_MAX_BYTES ){
    return vdb_error(p->err, VECDB_TOOBIG, "an extent of %u records of %u "
                     "bytes is not within 1..%u bytes", spec->n_rec,
                     spec->stride, EXTENT_MAX_BYTES);
  }
  TRY( log_reserve(&p->created) );
  TRY( payload_place(p, sz, &no) );
  TRY( vdb_page_new(p, PAGE_EXTENT, &pg) );
  head_encode(p, pg->data, spec, no, payload, sz);
  TRY( p->store->ops->extent_write(p->store, no, payload, sz) );
  p->created.no[p->created.n++] = no;
  *head = pg->pgno;
  no = 0;
done:
  if( rc!=VECDB_OK && pg ){
    (void)vdb_page_free(p, pg);
    pg = NULL;
  }
  vdb_page_unpin(p, pg);
  payload_unplace(p, no, sz);
  return rc;
}

/* ---- pinning ------------------------------------------------------------- */

static struct extent_pin *pin_create(struct extent_pin **list){
  struct extent_pin *pin = vdb_calloc(1, sizeof(*pin));
  if( pin==NULL ) return NULL;
  pin->next = *list;
  pin->prev = list;
  if( *list ) (*list)->prev = &pin->next;
  *list = pin;
  return pin;
}

/* Let go of the bytes; the pin itself stays (E4). */
static void pin_release(struct pager *p, struct extent_pin *pin){
  if( pin->is_mapped ) p->store->ops->extent_unmap(p->store, pin->map);
  if( pin->heap ) pin->heap->n_pin--;
  pin->is_mapped = false;
  pin->heap = NULL;
}

static void pin_destroy(struct pager *p, struct extent_pin *pin){
  if( pin==NULL ) return;
  pin_release(p, pin);
  *pin->prev = pin->next;
  if( pin->next ) pin->next->prev = pin->prev;
  vdb_free(pin);
}

/* Bytes of e, mapped or read. */
static int pin_bytes(struct pager *p, struct extent_pin *pin,
                     struct extent *e, uint64_t no){
  int rc = VECDB_UNSUPPORTED;

  if( p->store->ops->extent_map ){
    rc = p->store->ops->extent_map(p->store, no, e->sz, &e->data, &pin->map);
    pin->is_mapped = rc==VECDB_OK;
  }
  if( rc!=VECDB_UNSUPPORTED ) return rc;
  pin->heap = heap_find(p->extents, e->head, e->txid);
  if( pin->heap==NULL ){
    rc = heap_read(p, e, no, &pin->heap);
    if( rc!=VECDB_OK ) return rc;
  }
  pin->heap->n_pin++;
  e->data = pin->heap->data;
  return VECDB_OK;
}

static int pin_into(struct pager *p, struct extent_pin **list, page_no head,
                    struct extent *out){
  struct extent_pin *pin = NULL;
  uint64_t no = 0;
  int rc = VECDB_OK;

  TRY( head_read(p, head, out, &no) );
  pin = pin_create(list);
  if( pin==NULL ) TRY( VECDB_NOMEM );
  TRY( pin_bytes(p, pin, out, no) );
  out->pin = pin;
  pin = NULL;
done:
  pin_destroy(p, pin);
  if( rc!=VECDB_OK ) memset(out, 0, sizeof(*out));
  return rc;
}

int vdb_extent_pin_raw(struct pager *p, page_no head, struct extent *out){
  return pin_into(p, &p->extents->pins, head, out);
}

int vdb_extent_hold(struct pager *p, page_no head, struct extent *out){
  return pin_into(p, &p->extents->held, head, out);
}

bool vdb_extent_is_crowded(const struct pager *p){
  return p->cache.sz_other>p->cache.sz_max/2;
}

void vdb_extent_shrink(struct pager *p){ heap_make_room(p, 0); }

int vdb_extent_pin(struct pager *p, page_no head, struct extent *out){
  int rc = vdb_extent_pin_raw(p, head, out);
  if( rc==VECDB_OK ) rc = vdb_extent_verify(p, out, 0, out->sz);
  if( rc!=VECDB_OK ) vdb_extent_unpin(p, out);
  return rc;
}

void vdb_extent_unpin(struct pager *p, struct extent *e){
  if( e->pin ) pin_destroy(p, e->pin);
  memset(e, 0, sizeof(*e));
}

/* ---- verifying ----------------------------------------------------------- */

static int chunk_verify(struct pager *p, const struct extent *e,
                        const struct page *pg, size_t i){
  size_t off = i*EXTENT_CHUNK;
  uint32_t expected = get_u32(pg->data + EXTENT_SIZE + 4*i);
  uint32_t found = vdb_crc32c(0, e->data+off,
                              vdb_min_sz(EXTENT_CHUNK, e->sz-off));

  if( found==expected ) return VECDB_OK;
  return vdb_error(p->err, VECDB_CORRUPT_CHECKSUM, "extent %u of %s, bytes "
                   "%zu..: checksum is 0x%08x, expected 0x%08x", e->head,
                   vdb_pager_name(p), off, found, expected);
}

int vdb_extent_verify(struct pager *p, const struct extent *e, size_t off,
                      size_t n){
  size_t i = off/EXTENT_CHUNK, i_end;
  struct page *pg = NULL;
  struct seen *s;
  int rc = VECDB_OK;

  if( n==0 ) return VECDB_OK;
  if( off>e->sz || n>e->sz-off ){
    return VDB_INTERNAL(p->err, "bytes %zu+%zu of an extent of %zu", off, n,
                        e->sz);
  }
  i_end = (off+n-1)/EXTENT_CHUNK + 1;
  TRY( seen_get(p->extents, e->head, e->txid, &s) );
  if( s->n_ok==(e->sz+EXTENT_CHUNK-1)/EXTENT_CHUNK ) return VECDB_OK;
  while( i<i_end && seen_is_ok(s, i) ) i++;
  if( i==i_end ) return VECDB_OK;
  TRY( vdb_page_get(p, e->head, PAGE_EXTENT, &pg) );
  for(; i<i_end; i++){
    if( seen_is_ok(s, i) ) continue;
    TRY( chunk_verify(p, e, pg, i) );
    seen_set_ok(s, i);
  }
done:
  vdb_page_unpin(p, pg);
  return rc;
}

/* ---- freeing ------------------------------------------------------------- */

/* E1, E2 for an extent that its own transaction frees: the directory page may
** name another payload before it ends. */
static void extent_forget(struct pager *p, page_no head){
  struct extent_cache *x = p->extents;

  if( x->n_seen_cap ){
    struct seen *s = seen_slot(x->seen, x->n_seen_cap, head);
    seen_reset(s);
  }
  for(struct heap_extent *h=x->heap; h; h=h->next){
    if( h->head==head ) h->head = 0;            /* found no more */
  }
}

int vdb_extent_free(struct pager *p, page_no head){
  struct page *pg = NULL;
  struct extent e;
  uint64_t no = 0;
  int rc = VECDB_OK;

  TRY( vdb_pager_use_write(p) );
  TRY( vdb_page_get(p, head, PAGE_EXTENT, &pg) );
  TRY( head_decode(p, pg, &e, &no) );
  if( e.txid==p->snap.txid_write ) extent_forget(p, head);
  if( p->store->has_runs ){
    /* Free for all (alloc.c), unless undoing to a savepoint could bring the
    ** extent back: its bytes must still be there then. */
    txn_id txid = p->snap.txid_write;
    bool is_private = e.txid==txid && vdb_pager_n_savepoint(p)==0;
    TRY( vdb_alloc_free(p, (page_no)no, payload_pages(p, e.sz),
                        is_private ? 0 : txid) );
  }else{
    TRY( log_reserve(&p->freed) );
    p->freed.no[p->freed.n++] = no;
  }
  rc = vdb_page_free(p, pg);
  pg = NULL;
done:
  vdb_page_unpin(p, pg);
  return rc;
}

/* Called by stores with numbered extents when the commit cannot fail any
** more, or will be undone as a whole if it does. */
int vdb_extents_free_logged(struct pager *p){
  int rc = VECDB_OK;
  for(size_t i=0; i<p->freed.n && rc==VECDB_OK; i++){
    rc = p->store->ops->extent_free(p->store, p->freed.no[i]);
  }
  return rc;
}

/* E1, E2 for extents of the running transaction. Without memory for a new
** table the old one is emptied: everything is verified again. */
static void extents_forget_txn(struct pager *p){
  struct extent_cache *x = p->extents;
  txn_id txid = p->snap.txid_write;
  struct heap_extent **pp = &x->heap;

  if( x->n_seen_cap && seen_rebuild(x, x->n_seen_cap, txid)!=VECDB_OK ){
    memset(x->seen, 0, x->n_seen_cap*sizeof(*x->seen));
    x->n_seen = 0;
  }
  while( *pp ){
    struct heap_extent *h = *pp;
    if( h->txid==txid && h->n_pin==0 ){
      *pp = h->next;
      heap_free(p, h);
    }else{
      if( h->txid==txid ) h->head = 0;          /* found no more */
      pp = &h->next;
    }
  }
}

void vdb_extents_forget(struct pager *p){
  struct extent_cache *x = p->extents;

  if( x->n_seen_cap ) memset(x->seen, 0, x->n_seen_cap*sizeof(*x->seen));
  x->n_seen = 0;
  for(struct heap_extent *h=x->heap; h; h=h->next) h->head = 0;
  p->n_forgotten++;
}

void vdb_extents_undo(struct pager *p, size_t n_created, size_t n_freed){
  p->freed.n = vdb_min_sz(p->freed.n, n_freed);
  if( p->created.n<=n_created ) return;
  extents_forget_txn(p);
  while( p->created.n>n_created ){
    p->created.n--;
    if( p->store->has_runs ) continue;
    (void)p->store->ops->extent_free(p->store, p->created.no[p->created.n]);
  }
}

/* ---- the cache as a whole ------------------------------------------------ */

int vdb_extents_init(struct pager *p){
  p->extents = vdb_calloc(1, sizeof(*p->extents));
  return p->extents ? VECDB_OK : VECDB_NOMEM;
}

void vdb_extents_end_txn(struct pager *p){
  for(struct extent_pin *pin=p->extents->pins; pin; pin=pin->next){
    pin_release(p, pin);
  }
}

void vdb_extents_reset(struct pager *p){
  struct extent_cache *x = p->extents;

  while( x->pins ) pin_destroy(p, x->pins);
  while( x->held ) pin_destroy(p, x->held);
  while( x->heap ){
    struct heap_extent *h = x->heap;
    x->heap = h->next;
    heap_free(p, h);
  }
  vdb_free(x->seen);
  memset(x, 0, sizeof(*x));
}

void vdb_extents_clear(struct pager *p){
  if( p->extents==NULL ) return;
  vdb_extents_reset(p);
  vdb_free(p->extents);
  p->extents = NULL;
}

/* ---- checking ------------------------------------------------------------ */

/* Verify every chunk, whatever is known of it. */
static int extent_reread(struct pager *p, page_no head){
  struct page *pg = NULL;
  struct extent e;
  int rc = VECDB_OK;

  TRY( vdb_extent_pin_raw(p, head, &e) );
  TRY( vdb_page_get(p, head, PAGE_EXTENT, &pg) );
  for(size_t i=0; i*EXTENT_CHUNK<e.sz; i++) TRY( chunk_verify(p, &e, pg, i) );
done:
  vdb_page_unpin(p, pg);
  vdb_extent_unpin(p, &e);
  return rc;
}

int vdb_extent_check(struct pager *p, struct census *c, page_no head,
                     const char *what){
  struct extent e;
  uint64_t no = 0;
  int rc = VECDB_OK;

  if( !vdb_census_page(c, head, what) ) return VECDB_OK;
  TRY( head_read(p, head, &e, &no) );
  if( p->store->has_runs ){
    vdb_census_run(c, (page_no)no, payload_pages(p, e.sz), what);
  }
  if( !vdb_census_is_quick(c) ){
    rc = extent_reread(p, head);
  }
done:
  if( VDB_IS_CORRUPT(rc) ){
    vdb_census_report(c, 2, what, "%s", vdb_error_text(p->err));
    rc = VECDB_OK;
  }
  return rc;
}
