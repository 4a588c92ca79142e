/* f_host.c -- pages and extents that a host database brings: the shadow tables
** of a SQLite database that somebody else made, say. As f_image, but for the
** file store: no header, no log, extents under numbers of their own.
**
** An input is a row of records: u32 number, u32 size, bytes. Records of
** HOST_PAGE bytes with a number below 2^31 are pages, those with a number from
** there on are extents. */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz/lib_files.h"
#include "lab/lib_layer.h"
#include "pager/format.h"
#include "util/bytes.h"
#include "util/crc32c.h"

enum { HOST_PAGE = 4032, N_MAX = 400, HEAD = 8 };
#define EXTENT_BIT 0x80000000u

struct blob { uint32_t no; size_t n; uint8_t *p; };

struct host {
  vecdb_page_store ops;
  struct blob now[N_MAX], before[N_MAX];   /* before: when the write began */
  size_t n_now, n_before;
  uint64_t version;
  bool is_writing;
};

/* ---- the host ------------------------------------------------------------ */

static void blobs_clear(struct blob *b, size_t *n){
  while( *n>0 ) free(b[--*n].p);
}

static struct blob *blob_find(struct host *h, uint32_t no){
  for(size_t i=0; i<h->n_now; i++) if( h->now[i].no==no ) return &h->now[i];
  return NULL;
}

static int blob_set(struct host *h, uint32_t no, const void *p, size_t n){
  struct blob *b = blob_find(h, no);
  if( !b && h->n_now==N_MAX ) return VECDB_FULL;
  if( !b ) b = &h->now[h->n_now++];
  else free(b->p);
  b->no = no;
  b->n = n;
  b->p = lab_alloc(n + 1);
  memcpy(b->p, p, n);
  return VECDB_OK;
}

static int blob_free(struct host *h, uint32_t no){
  struct blob *b = blob_find(h, no);
  if( !b ) return VECDB_NOTFOUND;
  free(b->p);
  *b = h->now[--h->n_now];
  return VECDB_OK;
}

static int host_begin_read(void *arg, uint64_t *version){
  *version = ((struct host*)arg)->version;
  return VECDB_OK;
}

static int host_begin_write(void *arg, uint64_t *version){
  struct host *h = arg;
  *version = h->version;
  h->is_writing = true;
  h->n_before = h->n_now;
  for(size_t i=0; i<h->n_now; i++){
    h->before[i] = h->now[i];
    h->before[i].p = lab_alloc(h->now[i].n + 1);
    memcpy(h->before[i].p, h->now[i].p, h->now[i].n);
  }
  return VECDB_OK;
}

static int host_end(void *arg, int committed){
  struct host *h = arg;
  if( h->is_writing && committed ){
    blobs_clear(h->before, &h->n_before);
    h->version++;
  }else if( h->is_writing ){
    blobs_clear(h->now, &h->n_now);
    memcpy(h->now, h->before, sizeof(h->now));
    h->n_now = h->n_before;
    h->n_before = 0;
  }
  h->is_writing = false;
  return VECDB_OK;
}

static int host_read_page(void *arg, uint32_t pgno, void *buf){
  struct blob *b = pgno<EXTENT_BIT ? blob_find(arg, pgno) : NULL;
  if( !b || b->n!=HOST_PAGE ) return VECDB_NOTFOUND;
  memcpy(buf, b->p, HOST_PAGE);
  return VECDB_OK;
}

static int host_flush(void *arg, size_t n, const uint32_t *pgno,
                      const void *const *pages){
  int rc = VECDB_OK;
  for(size_t i=0; i<n && rc==VECDB_OK; i++){
    rc = pgno[i]<EXTENT_BIT ? blob_set(arg, pgno[i], pages[i], HOST_PAGE)
                            : VECDB_FULL;
  }
  return rc;
}

static int host_free_page(void *arg, uint32_t pgno){
  return pgno<EXTENT_BIT ? blob_free(arg, pgno) : VECDB_NOTFOUND;
}

static int host_extent_write(void *arg, uint64_t no, const void *p, size_t n){
  if( no>=EXTENT_BIT ) return VECDB_FULL;
  if( blob_find(arg, EXTENT_BIT | (uint32_t)no) ) return VECDB_CONSTRAINT;
  return blob_set(arg, EXTENT_BIT | (uint32_t)no, p, n);
}

static int host_extent_read(void *arg, uint64_t no, size_t off, void *buf,
                            size_t n){
  struct blob *b = no<EXTENT_BIT ? blob_find(arg, EXTENT_BIT | (uint32_t)no)
                                 : NULL;
  if( !b || off>b->n || n>b->n - off ) return VECDB_NOTFOUND;
  memcpy(buf, b->p + off, n);
  return VECDB_OK;
}

static int host_extent_free(void *arg, uint64_t no){
  return no<EXTENT_BIT ? blob_free(arg, EXTENT_BIT | (uint32_t)no)
                       : VECDB_NOTFOUND;
}

static void host_init(struct host *h){
  static const vecdb_page_store ops = {
    sizeof(ops), HOST_PAGE, NULL, host_begin_read, host_begin_write, host_end,
    host_read_page, host_flush, host_free_page, host_extent_write,
    host_extent_read, host_extent_free, NULL
  };
  memset(h, 0, sizeof(*h));
  h->ops = ops;
  h->ops.arg = h;
  h->version = 1;
}

/* ---- inputs -------------------------------------------------------------- */

/* The record at p; false at the end. */
static bool record_get(const uint8_t *p, size_t n, size_t *at,
                       struct blob *out){
  if( n - *at<HEAD ) return false;
  out->no = get_u32(p + *at);
  out->n = get_u32(p + *at + 4);
  *at += HEAD;
  if( out->n>n - *at ) return false;
  out->p = (uint8_t*)(uintptr_t)p + *at;
  *at += out->n;
  return true;
}

static vecdb *host_open(struct host *h){
  vecdb_options o = VECDB_OPTIONS_INIT;
  vecdb *db = NULL;
  int rc;
  o.store = &h->ops;
  o.cache_bytes = 1<<20;
  o.threads = 1;
  o.fixed_seed = 3;
  rc = vecdb_open("", VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE, &o, &db);
  if( fuzz_clean(rc, "open", vecdb_errmsg(db)) ) return db;
  FUZZ_OK( vecdb_close(db) );
  return NULL;
}

static void host_one(const uint8_t *p, size_t n){
  static struct host h;
  uint64_t how = lab_hash(1, p, n);
  struct blob b;
  size_t at = 0;
  vecdb *db;
  host_init(&h);
  while( h.n_now<N_MAX/2 && record_get(p, n, &at, &b) ){
    blob_set(&h, b.no, b.p, b.n);
  }
  db = host_open(&h);
  if( db ){
    files_use(db, how);
    fuzz_clean(vecdb_close(db), "close", "");
  }
  blobs_clear(h.before, &h.n_before);
  blobs_clear(h.now, &h.n_now);
}

/* One record changes; a page's own checksum is made right again in 7 of 8, and
** if it is an extent, that of its directory page by going without: the page
** that names it keeps what it has. */
static size_t host_mutate(uint8_t *p, size_t n, size_t n_cap,
                          struct vdb_rng *r){
  struct blob all[N_MAX], *b;
  size_t n_all = 0, at = 0;
  bool was_right;
  uint32_t crc;
  if( vdb_rng_below(r, 64)==0 ) return fuzz_mutate_bytes(p, n, n_cap, r);
  while( n_all<N_MAX && record_get(p, n, &at, &all[n_all]) ) n_all++;
  if( n_all==0 ) return fuzz_mutate_bytes(p, n, n_cap, r);
  b = &all[vdb_rng_below(r, (uint32_t)n_all)];
  if( vdb_rng_below(r, 16)==0 ){                  /* under another number */
    put_u32(b->p - HEAD, all[vdb_rng_below(r, (uint32_t)n_all)].no);
    return n;
  }
  if( b->n<PAGEHDR_SIZE + 8 ) return n;
  crc = vdb_crc32c(vdb_crc32c(0, b->p, PAGEHDR_CRC), b->p + PAGEHDR_SIZE,
                   b->n - PAGEHDR_SIZE);
  was_right = crc==get_u32(b->p + PAGEHDR_CRC);
  if( vdb_rng_below(r, 3)==0 ) b->n = 192;        /* where the fields are */
  fuzz_change_value(b->p, b->n, r);
  if( vdb_rng_below(r, 4)==0 ) fuzz_change_value(b->p, b->n, r);
  b->n = get_u32(b->p - 4);
  if( was_right && vdb_rng_below(r, 8)!=0 ){
    crc = vdb_crc32c(vdb_crc32c(0, b->p, PAGEHDR_CRC), b->p + PAGEHDR_SIZE,
                     b->n - PAGEHDR_SIZE);
    put_u32(b->p + PAGEHDR_CRC, crc);
  }
  return n;
}

static void host_seed(size_t i){
  static struct host h;
  uint8_t *p;
  size_t n = 0;
  vecdb *db;
  host_init(&h);
  db = host_open(&h);
  recipe_follow_in(i, db);
  FUZZ_OK( vecdb_close(db) );
  p = lab_alloc(4<<20);
  for(size_t k=0; k<h.n_now; k++){
    put_u32(p + n, h.now[k].no);
    put_u32(p + n + 4, (uint32_t)h.now[k].n);
    memcpy(p + n + HEAD, h.now[k].p, h.now[k].n);
    n += HEAD + h.now[k].n;
  }
  if( n<=fuzz_target.sz_max ) fuzz_seed(recipe_name(i), p, n);
  free(p);
  blobs_clear(h.now, &h.n_now);
}

static void host_seeds(void){
  for(size_t i=0; i<recipe_n(); i++) host_seed(i);
}

const struct fuzz_target fuzz_target = {
  .name = "host", .sz_max = 704<<10, .mem_max = 64<<20, .seconds_max = 2,
  .one = host_one, .mutate = host_mutate, .seeds = host_seeds
};
