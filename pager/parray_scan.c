/* parray_scan.c -- visiting the elements of a paged array in order.
**
** The walk meets the data pages that exist; what lies between two of them is
** reported as one run without data, however long. A narrow element is handed
** out in place, a wide one is put together in a buffer first.
*/
#include "util/common.h"
#include "pager/parray_int.h"
#include "util/mem.h"

struct scan_state {
  const struct parray *a;
  uint64_t lo, hi;                  /* elements */
  uint64_t next;                    /* the first one not reported yet */
  unsigned char *buf;               /* wide: the element `cur` */
  uint64_t cur;
  bool has_data;                    /* wide: buf holds something of cur */
  vdb_parray_fn fn;
  void *arg;
};

/* Report elements next..to-1, which are absent. */
static int scan_absent(struct scan_state *s, uint64_t to){
  uint64_t n;
  int rc = VECDB_OK;
  while( s->next<to && rc==VECDB_OK ){
    n = to - s->next;
    if( n>SIZE_MAX/2 ) n = SIZE_MAX/2;
    rc = s->fn(s->arg, s->next, (size_t)n, NULL);
    s->next += n;
  }
  return rc;
}

static int page_scan(void *arg, uint64_t d, struct page *pg){
  struct scan_state *s = arg;
  uint32_t w = s->a->width;
  struct array_span at = vdb_parray_span(s->a, d, s->lo*w, s->hi*w);
  int rc = scan_absent(s, at.at/w);
  if( rc!=VECDB_OK ) return rc;
  s->next += at.n/w;
  return s->fn(s->arg, at.at/w, at.n/w, pg->data + PARRAYDATA_SIZE + at.off);
}

/* The wide element in the buffer is complete. */
static int wide_finish(struct scan_state *s){
  int rc;
  if( !s->has_data ) return VECDB_OK;
  rc = scan_absent(s, s->cur);
  if( rc!=VECDB_OK ) return rc;
  s->has_data = false;
  s->next = s->cur + 1;
  return s->fn(s->arg, s->cur, 1, s->buf);
}

static int page_scan_wide(void *arg, uint64_t d, struct page *pg){
  struct scan_state *s = arg;
  uint64_t i = d/s->a->k;
  struct array_span at = vdb_parray_span(s->a, d, 0, UINT64_MAX);
  int rc;

  if( s->has_data && i!=s->cur ){
    rc = wide_finish(s);
    if( rc!=VECDB_OK ) return rc;
  }
  if( !s->has_data ){
    memset(s->buf, 0, s->a->width);
    s->has_data = true;
    s->cur = i;
  }
  memcpy(s->buf + (at.at - i*s->a->width), pg->data + PARRAYDATA_SIZE, at.n);
  return VECDB_OK;
}

int vdb_parray_scan(struct pager *p, page_no root, uint64_t lo, uint64_t hi,
                    vdb_parray_fn fn, void *arg){
  struct page *pg = NULL;
  struct scan_state s;
  uint64_t pg_lo, pg_hi;
  struct parray a;
  int rc;

  memset(&s, 0, sizeof(s));
  TRY( vdb_parray_open(&a, p, root, &pg) );
  s.a = &a;
  s.lo = s.next = lo;
  s.hi = hi<a.n_elem_max ? hi : a.n_elem_max;
  s.fn = fn;
  s.arg = arg;
  if( a.per==0 ){
    s.buf = vdb_malloc(a.width);
    if( !s.buf ) TRY( VECDB_NOMEM );
  }
  if( s.lo<s.hi ){
    vdb_parray_pages(&a, s.lo, s.hi, &pg_lo, &pg_hi);
    TRY( vdb_parray_walk(&a, pg, pg_lo, pg_hi,
                         a.per ? page_scan : page_scan_wide, &s) );
    TRY( wide_finish(&s) );
  }
  TRY( scan_absent(&s, hi) );
done:
  vdb_free(s.buf);
  vdb_page_unpin(p, pg);
  return rc;
}
