/* parray_clear.c -- zeroing ranges of a paged array, and freeing all of it.
**
** A data page that lies wholly inside the range, or holds nothing but zeros
** after it, goes back to the free list, and so does a directory that names
** nothing any more. An array without pages falls back to height 1.
*/
#include "util/common.h"
#include "pager/parray_int.h"

struct clear_state {
  uint64_t lo, hi;                  /* data pages */
  uint64_t b_lo, b_hi;              /* bytes of the array */
};

/* Zero the part of a data page that lies in the range. *empty: nothing else
** is left on it, and the page need not have been changed for that. */
static int data_clear(struct parray *a, struct page *pg, uint64_t d,
                      const struct clear_state *w, bool *empty){
  struct array_span s = vdb_parray_span(a, d, w->b_lo, w->b_hi);
  struct array_span all = vdb_parray_span(a, d, 0, UINT64_MAX);
  const unsigned char *z = pg->data + PARRAYDATA_SIZE;
  int rc;

  *empty = vdb_parray_is_zero(z, s.off)
        && vdb_parray_is_zero(z + s.off + s.n, all.n - s.off - s.n);
  if( *empty || vdb_parray_is_zero(z + s.off, s.n) ) return VECDB_OK;
  rc = vdb_page_write(a->p, pg);
  if( rc==VECDB_OK ) memset(pg->data + PARRAYDATA_SIZE + s.off, 0, s.n);
  return rc;
}

static int dir_clear(struct parray *a, struct page *dir, unsigned height,
                     uint64_t base, const struct clear_state *w){
  uint64_t span = vdb_parray_reach(a, height-1), first;
  uint32_t i = w->lo>base ? (uint32_t)((w->lo-base)/span) : 0;
  struct page *pg = NULL;
  bool empty;
  int rc = VECDB_OK;

  if( vdb_pager_interrupted(a->p) ) return VECDB_INTERRUPT;
  for(; i<a->fanout; i++){
    first = base + i*span;
    if( first>=w->hi ) break;
    if( vdb_parray_entry(dir, i)==0 ) continue;
    TRY( vdb_parray_node(a, vdb_parray_entry(dir, i), height-1, &pg) );
    if( height==1 ){
      TRY( data_clear(a, pg, first, w, &empty) );
    }else{
      TRY( dir_clear(a, pg, height-1, first, w) );
      empty = get_u16(pg->data + PARRAYDIR_USED)==0;
    }
    if( empty ){
      TRY( vdb_page_write(a->p, dir) );
      TRY( vdb_parray_set_entry(a, dir, i, 0) );
      rc = vdb_page_free(a->p, pg);
    }else{
      vdb_page_unpin(a->p, pg);
    }
    pg = NULL;
    TRY( rc );
  }
done:
  vdb_page_unpin(a->p, pg);
  return rc;
}

/* Elements lo..hi-1 of an open array. */
static int elements_clear(struct parray *a, struct page *root, uint64_t lo,
                          uint64_t hi){
  struct clear_state w;
  int rc;

  if( hi>a->n_elem_max ) hi = a->n_elem_max;
  if( lo>=hi ) return VECDB_OK;
  vdb_parray_pages(a, lo, hi, &w.lo, &w.hi);
  w.b_lo = lo*a->width;
  w.b_hi = hi*a->width;
  TRY( dir_clear(a, root, a->height, 0, &w) );
  if( a->height>1 && get_u16(root->data + PARRAYDIR_USED)==0 ){
    TRY( vdb_page_write(a->p, root) );
    root->data[PARRAYDIR_HEIGHT] = 1;
    a->height = 1;
  }
done:
  return rc;
}

int vdb_parray_clear(struct pager *p, page_no root, uint64_t lo, uint64_t hi){
  struct page *pg = NULL;
  struct parray a;
  int rc;

  TRY( vdb_parray_open(&a, p, root, &pg) );
  vdb_pager_touch(p);
  TRY( elements_clear(&a, pg, lo, hi) );
done:
  vdb_page_unpin(p, pg);
  return rc;
}

int vdb_parray_destroy(struct pager *p, page_no root){
  struct page *pg = NULL;
  struct parray a;
  int rc;

  TRY( vdb_parray_open(&a, p, root, &pg) );
  vdb_pager_touch(p);
  TRY( elements_clear(&a, pg, 0, UINT64_MAX) );
  rc = vdb_page_free(p, pg);
  pg = NULL;
done:
  vdb_page_unpin(p, pg);
  return rc;
}
