/* parray_check.c -- is a paged array what parray_int.h says?
**
** Every page is visited once and marked in the census: heights, widths (P1)
** and counts of entries (P2). Damage is reported and the rest still examined.
*/
#include "util/common.h"
#include "pager/parray_int.h"

enum { ARRAY_DAMAGE = 2 };

struct array_check {
  struct parray a;
  struct census *census;
  const char *what;
};

static int page_damage(struct array_check *k, int rc){
  struct vdb_err *err = vdb_pager_err(k->a.p);
  if( (rc & 0xff)!=VECDB_CORRUPT ) return rc;
  vdb_census_report(k->census, ARRAY_DAMAGE, k->what, "%s",
                    vdb_error_text(err));
  vdb_error_clear(err);
  return VECDB_OK;
}

static int dir_check(struct array_check *k, struct page *dir,
                     unsigned height){
  uint32_t used = 0;
  struct page *pg = NULL;
  int rc = VECDB_OK;

  if( vdb_pager_interrupted(k->a.p) ) return VECDB_INTERRUPT;
  for(uint32_t i=0; i<k->a.fanout; i++){
    page_no pgno = vdb_parray_entry(dir, i);
    if( pgno==0 ) continue;
    used++;
    if( !vdb_census_page(k->census, pgno, k->what) ) continue;
    rc = vdb_parray_node(&k->a, pgno, height-1, &pg);
    if( rc!=VECDB_OK ){
      TRY( page_damage(k, rc) );
      continue;
    }
    if( height>1 ) TRY( dir_check(k, pg, height-1) );
    vdb_page_unpin(k->a.p, pg);
    pg = NULL;
  }
  if( used!=get_u16(dir->data + PARRAYDIR_USED) ){                 /* P2 */
    vdb_census_report(k->census, ARRAY_DAMAGE, k->what,
                      "page %u: directory counts %u entries, %u are in use",
                      (unsigned)dir->pgno,
                      get_u16(dir->data + PARRAYDIR_USED), (unsigned)used);
  }
done:
  vdb_page_unpin(k->a.p, pg);
  return rc;
}

int vdb_parray_check(struct pager *p, struct census *c, page_no root,
                     const char *what){
  struct page *pg = NULL;
  struct array_check k;
  int rc;

  k.a.p = p;
  k.census = c;
  k.what = what;
  if( !vdb_census_page(c, root, what) ) return VECDB_OK;
  rc = vdb_parray_open(&k.a, p, root, &pg);
  if( rc!=VECDB_OK ) return page_damage(&k, rc);
  rc = dir_check(&k, pg, k.a.height);
  vdb_page_unpin(p, pg);
  return rc;
}
