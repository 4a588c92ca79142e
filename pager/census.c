/* census.c -- who owns which page: the frame of vdb_check.
**
** Structures are visited by their owners, who call in for each page they
** reach. A bitmap notices a page reached twice; at the end, a page nobody
** reached is a leak. Unless the census is quick, each page is read again from
** the store, past the cache, and its checksum verified; in a write transaction
** pages that are dirty have no stored bytes to verify.
**
** MEMORY   The bitmap has leaves, made when a page in them is reached: the
** page count of a store may be a lie, and what is reached cannot be.
**
** INVARIANTS
**   N1  Page i was reached iff its leaf is leaf_full, or is there and has the
**       bit. Pages before the root are the header region and count as reached.
**   N2  Damage is reported, not returned: what is returned is NOMEM, IOERR
**       and the like, which say nothing about the file.
*/
#include <stdarg.h>
#include <stdio.h>

#include "util/common.h"
#include "util/bitset.h"
#include "pager/pager_int.h"

#define LEAK_REPORTS_MAX  16        /* runs of leaked pages told one by one */
#define LEAF_PAGES        32768u    /* pages of a leaf: 4 KiB of bits */

static uint64_t leaf_full[1];       /* stands for a leaf with all bits set */

struct census {
  struct pager *p;
  bool quick;
  vdb_report_fn report;
  void *arg;
  page_no n_page;
  uint64_t **leaf;                  /* N1; NULL: no page of it */
  size_t n_leaf;
  unsigned char *buf;               /* one page */
  uint64_t n_bad;                   /* findings of severity 2 */
  int rc;                           /* first failure that is no damage (N2) */
};

void vdb_census_report(struct census *c, int severity, const char *object,
                       const char *fmt, ...){
  char msg[512];
  va_list ap;

  va_start(ap, fmt);
  vsnprintf(msg, sizeof(msg), fmt, ap);
  va_end(ap);
  if( severity>=2 ) c->n_bad++;
  if( c->report ) c->report(c->arg, severity, object, msg);
}

static void census_free(struct census *c){
  if( c==NULL ) return;
  for(size_t i=0; c->leaf && i<c->n_leaf; i++){
    if( c->leaf[i]!=leaf_full ) vdb_free(c->leaf[i]);
  }
  vdb_free(c->leaf);
  vdb_free(c->buf);
  vdb_free(c);
}

/* N1 */
static bool page_is_reached(const struct census *c, page_no pgno){
  const uint64_t *leaf = c->leaf[pgno/LEAF_PAGES];
  if( leaf==NULL ) return false;
  return leaf==leaf_full || vdb_bit_get(leaf, pgno%LEAF_PAGES);
}

static int page_set_reached(struct census *c, page_no pgno){
  uint64_t **leaf = &c->leaf[pgno/LEAF_PAGES];
  if( *leaf==NULL ){
    *leaf = vdb_calloc(vdb_bitset_words(LEAF_PAGES), sizeof(uint64_t));
    if( *leaf==NULL ) return VECDB_NOMEM;
  }
  vdb_bit_set(*leaf, pgno%LEAF_PAGES);
  return VECDB_OK;
}

bool vdb_census_is_quick(const struct census *c){ return c->quick; }

int vdb_census_begin(struct pager *p, bool quick, vdb_report_fn report,
                     void *arg, struct census **out){
  struct census *c = NULL;
  int rc = VECDB_OK;

  *out = NULL;
  TRY( vdb_pager_use(p) );
  c = vdb_calloc(1, sizeof(*c));
  if( c==NULL ) TRY( VECDB_NOMEM );
  c->p = p;
  c->quick = quick;
  c->report = report;
  c->arg = arg;
  c->n_page = p->n_page;
  c->n_leaf = c->n_page/LEAF_PAGES + 1;
  c->leaf = vdb_calloc(c->n_leaf, sizeof(*c->leaf));
  c->buf = vdb_malloc(p->store->usable);
  if( c->leaf==NULL || c->buf==NULL ) TRY( VECDB_NOMEM );
  *out = c;
  c = NULL;
done:
  census_free(c);
  return rc;
}

/* Read a page past the cache and verify it. */
static void page_reread(struct census *c, page_no pgno, const char *what){
  struct pager *p = c->p;
  struct cpage *cp = vdb_pcache_find(&p->cache, pgno);
  int rc;

  if( cp && cp->is_dirty ) return;
  rc = p->store->ops->read_page(p->store, pgno, c->buf);
  if( rc==VECDB_OK ) rc = vdb_page_verify(p, c->buf, pgno);
  if( rc==VECDB_NOTFOUND ){
    vdb_census_report(c, 2, what, "page %u does not exist", pgno);
  }else if( VDB_IS_CORRUPT(rc) ){
    vdb_census_report(c, 2, what, "%s", vdb_error_text(p->err));
  }else if( rc!=VECDB_OK && c->rc==VECDB_OK ){
    c->rc = rc;
  }
}

/* N1. False: out of range, or reached before. */
static bool page_mark(struct census *c, page_no pgno, const char *what){
  int rc;
  if( pgno<c->p->store->pg_first || pgno>=c->n_page ){
    vdb_census_report(c, 2, what, "page %u is out of range %u..%u", pgno,
                      c->p->store->pg_first, c->n_page-1);
    return false;
  }
  if( page_is_reached(c, pgno) ){
    vdb_census_report(c, 2, what, "page %u is used twice", pgno);
    return false;
  }
  rc = page_set_reached(c, pgno);
  if( rc!=VECDB_OK && c->rc==VECDB_OK ) c->rc = rc;
  return rc==VECDB_OK;
}

bool vdb_census_page(struct census *c, page_no pgno, const char *what){
  if( !page_mark(c, pgno, what) ) return false;
  if( !c->quick ) page_reread(c, pgno, what);
  return true;
}

void vdb_census_run(struct census *c, page_no start, uint32_t n,
                    const char *what){
  while( n>0 ){
    if( start%LEAF_PAGES==0 && n>=LEAF_PAGES && c->n_page>=LEAF_PAGES
        && start<=c->n_page-LEAF_PAGES && c->leaf[start/LEAF_PAGES]==NULL ){
      c->leaf[start/LEAF_PAGES] = leaf_full;       /* a run as long as a lie */
      start += LEAF_PAGES;
      n -= LEAF_PAGES;
      continue;
    }
    if( !page_mark(c, start, what) ) break;
    start++;
    n--;
  }
}

/* The first page from `at` on that was (not) reached, n_page if none. */
static uint64_t page_next(const struct census *c, uint64_t at, bool reached){
  while( at<c->n_page ){
    const uint64_t *leaf = c->leaf[at/LEAF_PAGES];
    bool is_same = reached ? leaf==NULL : leaf==leaf_full;
    if( is_same ) at += LEAF_PAGES - at%LEAF_PAGES;
    else if( page_is_reached(c, (page_no)at)==reached ) return at;
    else at++;
  }
  return c->n_page;
}

/* Runs of pages that nobody reached. */
static void report_leaks(struct census *c){
  uint64_t n_leak = 0;
  unsigned n_told = 0;

  for(uint64_t i=c->p->store->pg_first; i<c->n_page; ){
    uint64_t start = page_next(c, i, false);
    i = page_next(c, start, true);
    n_leak += i-start;
    if( i>start && n_told++<LEAK_REPORTS_MAX ){
      vdb_census_report(c, 1, "pages", "%u..%u belong to nothing",
                        (page_no)start, (page_no)(i-1));
    }
  }
  if( n_told>LEAK_REPORTS_MAX ){
    vdb_census_report(c, 1, "pages", "%llu in all belong to nothing",
                      (unsigned long long)n_leak);
  }
}

static int check_root(struct census *c){
  struct page *root = NULL;
  page_no n_page;
  int rc = VECDB_OK;

  vdb_census_page(c, c->p->store->pg_first, "root");
  TRY( vdb_root_page(c->p, &root) );
  n_page = get_u32(root->data + ROOT_NPAGE);
  if( n_page!=c->n_page ){
    vdb_census_report(c, 2, "root", "page count is %u, expected %u", n_page,
                      c->n_page);
  }
  TRY( vdb_alloc_check(c->p, c) );
done:
  vdb_page_unpin(c->p, root);
  return rc;
}

void vdb_census_fail(struct census *c, int rc){
  if( c->rc==VECDB_OK ) c->rc = rc;
}

int vdb_census_end(struct census *c, uint64_t *n_bad){
  struct pager *p = c->p;
  int rc = check_root(c);

  if( VDB_IS_CORRUPT(rc) ){
    vdb_census_report(c, 2, "free list", "%s", vdb_error_text(p->err));
    rc = VECDB_OK;
  }
  if( rc==VECDB_OK ) rc = c->rc;
  if( rc==VECDB_OK && c->n_bad==0 ) report_leaks(c);
  *n_bad = c->n_bad;
  census_free(c);
  return rc;
}
