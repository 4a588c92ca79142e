/* lib_host.h -- an outside page store: pages and extents in tables, undone by
** a log.
**
** Used by   lib_store.h, test/api/t_model.c, test/api/t_upkeep.c.
*/
#ifndef LIB_HOST_H
#define LIB_HOST_H
#include "vt.h"

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
#endif
