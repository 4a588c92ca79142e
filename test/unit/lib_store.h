/* lib_store.h -- databases of collections under test: on memory, on files of
** a world of its own, and on the pages of a host.
**
** Used by   t_store.c, t_coll.c.
*/
#ifndef LIB_STORE_H
#define LIB_STORE_H
#include "pager/file.h"
#include "store/collection.h"
#include "util/bitset.h"
#include "util/mem.h"
#include "util/rng.h"
#include "util/str.h"
#include "vt.h"

/* ---- A host: pages and extents in tables, undone by a log ---------------- */

#define HOST_MAX   20000                 /* pages, and extents */
#define HOST_PAGE  4032
struct host_blob { unsigned char *p; size_t n; };
struct host_undo { struct host_blob *at, old; };
struct host {
  struct vecdb_page_store ops;
  struct host_blob page[HOST_MAX], extent[HOST_MAX];
  struct host_undo *undo;
  size_t n_undo, n_undo_cap;
  uint64_t version;
  bool is_writing;
};

/* Put n bytes (NULL: nothing) at *at; what was there goes to the log. */
static inline int host_set(struct host *h, struct host_blob *at,
                           const void *p, size_t n){
  struct host_blob fresh = { NULL, 0 };

  if( p!=NULL ){
    fresh.p = malloc(n+1);
    fresh.n = n;
    if( fresh.p==NULL ) return VECDB_NOMEM;
    memcpy(fresh.p, p, n);
  }
  if( h->n_undo==h->n_undo_cap ){
    h->n_undo_cap = 2*h->n_undo_cap+16;
    h->undo = realloc(h->undo, h->n_undo_cap*sizeof(*h->undo));
    REQUIRE(h->undo!=NULL);
  }
  h->undo[h->n_undo].at = at;
  h->undo[h->n_undo++].old = *at;
  *at = fresh;
  return VECDB_OK;
}

static inline int host_begin_read(void *arg, uint64_t *version){
  *version = ((struct host*)arg)->version;
  return VECDB_OK;
}

static inline int host_begin_write(void *arg, uint64_t *version){
  struct host *h = arg;

  REQUIRE(!h->is_writing);
  h->is_writing = true;
  *version = h->version;
  return VECDB_OK;
}

static inline int host_end(void *arg, int committed){
  struct host *h = arg;

  while( h->n_undo>0 ){
    struct host_undo *u = &h->undo[--h->n_undo];
    if( committed ){
      free(u->old.p);
    }else{
      free(u->at->p);
      *u->at = u->old;
    }
  }
  if( h->is_writing && committed ) h->version++;
  h->is_writing = false;
  return VECDB_OK;
}

static inline int host_read_page(void *arg, uint32_t pgno, void *buf){
  struct host *h = arg;

  if( pgno>=HOST_MAX || h->page[pgno].p==NULL ) return VECDB_NOTFOUND;
  memcpy(buf, h->page[pgno].p, HOST_PAGE);
  return VECDB_OK;
}

static inline int host_flush(void *arg, size_t n, const uint32_t *pgno,
                             const void *const *pages){
  struct host *h = arg;

  REQUIRE(h->is_writing);
  for(size_t i=0; i<n; i++){
    if( pgno[i]>=HOST_MAX ) return VECDB_FULL;
    host_set(h, &h->page[pgno[i]], pages[i], HOST_PAGE);
  }
  return VECDB_OK;
}

static inline int host_free_page(void *arg, uint32_t pgno){
  struct host *h = arg;
  return pgno<HOST_MAX ? host_set(h, &h->page[pgno], NULL, 0) : VECDB_FULL;
}

static inline int host_extent_write(void *arg, uint64_t no, const void *p,
                                    size_t n){
  struct host *h = arg;

  REQUIRE(h->is_writing);
  if( no>=HOST_MAX ) return VECDB_FULL;
  REQUIRE(h->extent[no].p==NULL);                /* used again after free */
  return host_set(h, &h->extent[no], p, n);
}

static inline int host_extent_read(void *arg, uint64_t no, size_t off,
                                   void *buf, size_t n){
  struct host *h = arg;

  if( no>=HOST_MAX || h->extent[no].p==NULL || off>h->extent[no].n ||
      n>h->extent[no].n-off ){
    return VECDB_NOTFOUND;
  }
  memcpy(buf, h->extent[no].p+off, n);
  return VECDB_OK;
}

static inline int host_extent_free(void *arg, uint64_t no){
  struct host *h = arg;

  REQUIRE(no<HOST_MAX && h->extent[no].p!=NULL);
  return host_set(h, &h->extent[no], NULL, 0);
}

static inline struct host *host_create(void){
  struct host *h = calloc(1, sizeof(*h));
  static const struct vecdb_page_store ops = {
    sizeof(ops), HOST_PAGE, NULL, host_begin_read, host_begin_write, host_end,
    host_read_page, host_flush, host_free_page, host_extent_write,
    host_extent_read, host_extent_free, NULL };

  REQUIRE(h!=NULL);
  h->ops = ops;
  h->ops.arg = h;
  h->version = 1;
  return h;
}

static inline void host_destroy(struct host *h){
  for(int i=0; i<HOST_MAX; i++){
    free(h->page[i].p);
    free(h->extent[i].p);
  }
  free(h->undo);
  free(h);
}

/* ---- Databases ----------------------------------------------------------- */

enum db_kind { DB_MEMORY = 0, DB_FILE = 1, DB_HOST = 2 };

struct db {
  struct vecdb_file_ops *ops;            /* of DB_FILE, else NULL */
  struct host *host;                     /* of DB_HOST, else NULL */
  uint64_t sz_cache;                     /* 0: the default; set before reopen */
  uint32_t sz_page;
  struct vdb_err err;
  struct store *st;
};

static inline int db_try_open(struct db *db){
  struct pager_config cfg;

  memset(&cfg, 0, sizeof(cfg));
  cfg.open_flags = VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE;
  if( db->ops ) cfg.path = "/t.vdb";
  else if( db->host ) cfg.store = &db->host->ops;
  else cfg.open_flags |= VECDB_OPEN_MEMORY;
  cfg.file = db->ops;
  cfg.fixed_seed = 7;
  cfg.sz_cache = db->sz_cache;
  cfg.sz_page = db->sz_page;
  cfg.sync = VECDB_SYNC_OFF;
  return vdb_store_open(&cfg, &db->err, &db->st);
}

static inline void db_open(struct db *db, enum db_kind kind){
  memset(db, 0, sizeof(*db));
  if( kind==DB_FILE ) REQUIRE_RC(VECDB_OK, vdb_file_mem_create(1, &db->ops));
  if( kind==DB_HOST ) db->host = host_create();
  REQUIRE_RC(VECDB_OK, db_try_open(db));
}

static inline void db_close(struct db *db){
  CHECK_RC(VECDB_OK, vdb_store_close(db->st));
  db->st = NULL;
  if( db->ops ) vdb_file_mem_destroy(db->ops);
  if( db->host ) host_destroy(db->host);
  db->ops = NULL;
  db->host = NULL;
}

#define OK(db, expr) do{ int rc_ = (expr); \
  if( rc_!=VECDB_OK ){ \
    FAIL("%s: %s (%s)", #expr, rc_text(rc_), \
         vdb_error_text(&(db)->err)); vt_stop(); } }while(0)

static inline const char *rc_text(int rc){
  static char buf[32];
  snprintf(buf, sizeof(buf), "rc %d/%d", rc & 0xff, rc>>8);
  return buf;
}

static inline void print_finding(void *arg, int severity, const char *object,
                          const char *message){
  VDB_UNUSED(arg);
  printf("  %d %s: %s\n", severity, object, message);
}

static inline void db_check(struct db *db){
  uint64_t n_bad = 0;

  OK(db, vdb_store_check(db->st, false, print_finding, NULL, &n_bad));
  REQUIRE_U64(0, n_bad);
}

static inline void create(struct db *db, const char *name, const char *schema){
  struct write_scope w;

  OK(db, vdb_store_write_begin(db->st, &w));
  OK(db, vdb_store_write_end(db->st, &w,
                             vdb_store_create(db->st, name, schema)));
}

static inline struct coll *open_coll(struct db *db, const char *name){
  struct read_scope r;
  struct coll *c = NULL;
  int rc;

  OK(db, vdb_store_read_begin(db->st, &r));
  rc = vdb_store_coll_open(db->st, name, &c);
  OK(db, vdb_store_read_end(db->st, &r));
  OK(db, rc);
  return c;
}

#endif
