/* parray_gather.c -- paged arrays: elements here and there.
**
** What reading one element costs is waiting for memory: its directory, its
** page's place in the cache, the bytes. Here all are found first, which the
** processor does side by side, and then copied. Elements whose pages are not
** in memory, or look wrong, are left to vdb_parray_get, which reads or
** complains.
*/
#include "util/common.h"
#include "pager/parray_int.h"

#define GATHER_MAX  32              /* under way at once */

/* Element i, if its pages are in memory. */
static const unsigned char *element_find(const struct parray *a,
                                         const struct page *root, uint64_t i){
  const struct page *pg = root;
  uint64_t d = i/a->per;

  if( i>=a->n_elem_max || d>=vdb_parray_reach(a, a->height) ) return NULL;
  for(unsigned h=a->height; h>0; h--){
    uint64_t span = vdb_parray_reach(a, h-1);
    page_no pgno = vdb_parray_entry(pg, (uint32_t)(d/span));
    d %= span;
    if( pgno==0 ) return NULL;
    pg = vdb_page_peek(a->p, pgno, h>1 ? PAGE_PARRAY_DIR : PAGE_PARRAY_DATA);
    if( pg==NULL ) return NULL;
    if( h>1 && (get_u32(pg->data + PARRAYDIR_WIDTH)!=a->width
             || pg->data[PARRAYDIR_HEIGHT]!=h-1) ) return NULL;     /* P1 */
  }
  return pg->data + PARRAYDATA_SIZE + (size_t)(i%a->per)*a->width;
}

/* Up to GATHER_MAX elements. What is found is copied before anything is read:
** reading may push other pages out. */
static int elements_gather(const struct parray *a, const struct page *root,
                           const uint32_t *at, size_t n, unsigned char *out){
  const unsigned char *found[GATHER_MAX];
  int rc = VECDB_OK;

  for(size_t j=0; j<n; j++){
    found[j] = element_find(a, root, at[j]);
    __builtin_prefetch(found[j]);
  }
  for(size_t j=0; j<n; j++){
    if( found[j] ) memcpy(out + j*a->width, found[j], a->width);
  }
  for(size_t j=0; j<n && rc==VECDB_OK; j++){
    if( found[j] ) continue;
    rc = vdb_parray_get(a->p, a->root, at[j], 1, out + j*a->width);
  }
  return rc;
}

int vdb_parray_gather(struct pager *p, page_no root, const uint32_t *at,
                      size_t n, void *out){
  struct page *pg = NULL;
  struct parray a;
  size_t m;
  int rc;

  TRY( vdb_parray_open(&a, p, root, &pg) );
  for(size_t i=0; i<n; i+=m){
    unsigned char *to = (unsigned char*)out + i*a.width;
    m = a.per ? vdb_min_sz(n-i, GATHER_MAX) : 1;
    if( a.per ) TRY( elements_gather(&a, pg, at+i, m, to) );
    else TRY( vdb_parray_get(p, root, at[i], 1, to) );
  }
done:
  vdb_page_unpin(p, pg);
  return rc;
}
