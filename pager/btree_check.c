/* btree_check.c -- is a B+tree what btree_int.h says?
**
** Every page is visited once (the census says whether it was seen before):
** header and level (B2, B3), each cell (B1), order of the keys inside a page
** and against the separators above, so that order holds across pages; no two
** cells overlap, and cells, holes and gap together are the page (B4); chains
** of long values page by page. Damage is reported and the rest of the tree
** still examined; only running out of memory or I/O ends the check.
*/
#include "util/common.h"
#include "pager/btree_int.h"
#include "util/mem.h"

enum { TREE_DAMAGE = 2 };

struct tree_check {
  struct btree t;
  struct census *census;
  const char *what;                 /* whose tree, for the reports */
  unsigned char *used;              /* one byte per byte of a page */
};

struct key_range {                  /* lo <= key < hi; hi NULL: no bound */
  const unsigned char *lo, *hi;
  uint32_t n_lo, n_hi;
};

/* Damage was found and is in the error of the pager: report it instead. */
static int damage_absorb(struct tree_check *k, int rc){
  struct vdb_err *err = vdb_pager_err(k->t.p);
  if( (rc & 0xff)!=VECDB_CORRUPT ) return rc;
  vdb_census_report(k->census, TREE_DAMAGE, k->what, "%s",
                    vdb_error_text(err));
  vdb_error_clear(err);
  return VECDB_OK;
}

static int chain_check(struct tree_check *k, page_no pgno, uint32_t n_val){
  uint32_t n_page = vdb_btree_chain_pages(&k->t, n_val);
  struct page *pg = NULL;
  int rc;

  if( n_val==0 || n_page>vdb_pager_n_page(k->t.p) ){
    vdb_census_report(k->census, TREE_DAMAGE, k->what,
                      "page %u: value of %u bytes in overflow pages",
                      (unsigned)pgno, (unsigned)n_val);
    return VECDB_OK;
  }
  for(uint32_t seq=0; seq<n_page; seq++){
    if( !vdb_census_page(k->census, pgno, k->what) ) return VECDB_OK;
    rc = vdb_page_get(k->t.p, pgno, PAGE_OVERFLOW, &pg);
    if( rc!=VECDB_OK ) return damage_absorb(k, rc);
    if( get_u32(pg->data + OVERFLOW_SEQ)!=seq ){
      vdb_census_report(k->census, TREE_DAMAGE, k->what,
                        "page %u: overflow page is number %u of its chain, "
                        "expected %u", (unsigned)pgno,
                        (unsigned)get_u32(pg->data + OVERFLOW_SEQ),
                        (unsigned)seq);
    }
    pgno = get_u32(pg->data + OVERFLOW_NEXT);
    vdb_page_unpin(k->t.p, pg);
  }
  if( pgno!=0 ){
    vdb_census_report(k->census, TREE_DAMAGE, k->what,
                      "page %u: linked behind the end of an overflow chain",
                      (unsigned)pgno);
  }
  return VECDB_OK;
}

/* Mark a cell's bytes; false when some were marked before. */
static bool cell_mark(struct tree_check *k, const struct page *pg,
                      const struct cell *c){
  unsigned char *used = k->used + (c->p - pg->data);
  if( memchr(used, 1, c->n) ) return false;
  memset(used, 1, c->n);
  return true;
}

static void key_check(struct tree_check *k, const struct page *pg, unsigned i,
                      const struct cell *c, const struct cell *prev,
                      const struct key_range *r){
  const char *problem = NULL;
  if( prev && vdb_btree_compare(prev->key, prev->n_key, c->key, c->n_key)>=0 ){
    problem = "is not above the one before";
  }else if( vdb_btree_compare(c->key, c->n_key, r->lo, r->n_lo)<0 ){
    problem = "lies below the separator above";
  }else if( r->hi
         && vdb_btree_compare(c->key, c->n_key, r->hi, r->n_hi)>=0 ){
    problem = "is not below the separator above";
  }
  if( problem ){
    vdb_census_report(k->census, TREE_DAMAGE, k->what,
                      "page %u: key of cell %u %s", (unsigned)pg->pgno, i,
                      problem);
  }
}

/* All cells of a page. True: they can be decoded. */
static bool cells_check(struct tree_check *k, const struct page *pg,
                        const struct key_range *r){
  unsigned n_cell = vdb_btree_n_cell(pg);
  uint32_t n_byte = 0, n_free = vdb_btree_page_free(&k->t, pg);
  struct cell c, prev;

  memset(k->used, 0, k->t.usable);
  for(unsigned i=0; i<n_cell; i++){
    int rc = vdb_btree_cell_get(&k->t, pg, i, &c);
    if( rc!=VECDB_OK ){
      (void)damage_absorb(k, rc);       /* what a page holds is no I/O */
      return false;
    }
    if( !cell_mark(k, pg, &c) ){
      vdb_census_report(k->census, TREE_DAMAGE, k->what,
                        "page %u: cell %u overlaps another one",
                        (unsigned)pg->pgno, i);
    }
    key_check(k, pg, i, &c, i>0 ? &prev : NULL, r);
    n_byte += c.n + 2;
    prev = c;
  }
  if( n_byte+n_free!=vdb_btree_room(&k->t, pg) ){                  /* B4 */
    vdb_census_report(k->census, TREE_DAMAGE, k->what,
                      "page %u: %u bytes in cells and %u free, expected %u "
                      "together", (unsigned)pg->pgno, (unsigned)n_byte,
                      (unsigned)n_free,
                      (unsigned)vdb_btree_room(&k->t, pg));
  }
  return true;
}

/* The page and all below it. The range's keys lie in pinned pages. */
static int subtree_check(struct tree_check *k, page_no pgno, int level,
                         const struct key_range *r){
  struct page *pg = NULL;
  struct key_range below;
  struct cell c;
  int rc;

  if( vdb_pager_interrupted(k->t.p) ) return VECDB_INTERRUPT;
  if( !vdb_census_page(k->census, pgno, k->what) ) return VECDB_OK;
  rc = vdb_btree_page_get(&k->t, pgno, level, &pg);
  if( rc!=VECDB_OK ) return damage_absorb(k, rc);
  if( !cells_check(k, pg, r) ) goto done;
  level = (int)vdb_btree_level(pg);
  below = *r;
  for(unsigned i=0; i<vdb_btree_n_cell(pg); i++){
    TRY_ALWAYS( vdb_btree_cell_get(&k->t, pg, i, &c) );   /* cells_check */
    if( level==0 ){
      if( c.pg ) TRY( chain_check(k, c.pg, c.n_val) );
      continue;
    }
    below.hi = c.key;
    below.n_hi = c.n_key;
    TRY( subtree_check(k, c.pg, level-1, &below) );
    below.lo = c.key;
    below.n_lo = c.n_key;
  }
  if( level>0 ){
    below.hi = r->hi;
    below.n_hi = r->n_hi;
    TRY( subtree_check(k, get_u32(pg->data + BTREENODE_RIGHT), level-1,
                       &below) );
  }
done:
  vdb_page_unpin(k->t.p, pg);
  return rc;
}

int vdb_btree_check(struct pager *p, struct census *c, page_no root,
                    const char *what){
  struct key_range all = { NULL, NULL, 0, 0 };
  struct tree_check k;
  int rc;

  vdb_btree_init(&k.t, p, root);
  k.census = c;
  k.what = what;
  k.used = vdb_malloc(k.t.usable);
  if( !k.used ) return VECDB_NOMEM;
  rc = subtree_check(&k, root, BTREE_LEVEL_ANY, &all);
  vdb_free(k.used);
  return rc;
}
