/* census.c -- who owns which page: the frame of vdb_check.
**
** Structures are visited by their owners, who call in for each page they
** reach. A bitmap notices a page reached twice; at the end, a page nobody
** reached is a leak. Unless the census is quick, each page is read again from
** the store, past the cache, and its checksum verified; in a write transaction
** pages that are dirty have no stored bytes to verify.
**
** INVARIANTS
**   N1  Bit i of `used` is set once page i was reached; pages before the root
**       are the header region and count as reached.
**   N2  Damage is reported, not returned: what is returned is NOMEM, IOERR
**       and the like, which say nothing about the file.
*/
#include <stdarg.h>
#include <stdio.h>

#include "util/common.h"
#include "util/bitset.h"
#include "pager/pager_int.h"

#define LEAK_REPORTS_MAX  16        /* runs of leaked pages told one by one */

struct census {
  struct pager *p;
  bool quick;
  vdb_report_fn report;
  void *arg;
  page_no n_page;
  uint64_t *used;                   /* N1 */
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
  c->used = vdb_calloc(vdb_bitset_words(c->n_page), sizeof(uint64_t));
  c->buf = vdb_malloc(p->store->usable);
  if( c->used==NULL || c->buf==NULL ) TRY( VECDB_NOMEM );
  vdb_bit_set_range(c->used, 0, p->store->pg_first);
  *out = c;
  c = NULL;
done:
  if( c ){
    vdb_free(c->used);
    vdb_free(c->buf);
    vdb_free(c);
  }
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
  if( pgno<c->p->store->pg_first || pgno>=c->n_page ){
    vdb_census_report(c, 2, what, "page %u is out of range %u..%u", pgno,
                      c->p->store->pg_first, c->n_page-1);
    return false;
  }
  if( vdb_bit_get(c->used, pgno) ){
    vdb_census_report(c, 2, what, "page %u is used twice", pgno);
    return false;
  }
  vdb_bit_set(c->used, pgno);
  return true;
}

bool vdb_census_page(struct census *c, page_no pgno, const char *what){
  if( !page_mark(c, pgno, what) ) return false;
  if( !c->quick ) page_reread(c, pgno, what);
  return true;
}

void vdb_census_run(struct census *c, page_no start, uint32_t n,
                    const char *what){
  for(uint32_t i=0; i<n; i++){
    if( !page_mark(c, start+i, what) ) break;
  }
}

/* Runs of pages that nobody reached. */
static void report_leaks(struct census *c){
  uint64_t n_leak = 0;
  unsigned n_told = 0;

  for(page_no i=c->p->store->pg_first; i<c->n_page; ){
    page_no start = i;
    while( i<c->n_page && !vdb_bit_get(c->used, i) ) i++;
    n_leak += i-start;
    if( i>start && n_told++<LEAK_REPORTS_MAX ){
      vdb_census_report(c, 1, "pages", "%u..%u belong to nothing", start, i-1);
    }
    while( i<c->n_page && vdb_bit_get(c->used, i) ) i++;
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

int vdb_census_end(struct census *c, uint64_t *n_bad){
  struct pager *p = c->p;
  int rc = check_root(c);

  if( VDB_IS_CORRUPT(rc) ){
    vdb_census_report(c, 2, "free list", "%s", vdb_error_text(p->err));
    rc = VECDB_OK;
  }
  if( rc==VECDB_OK && p->store->ops->check ){
    rc = p->store->ops->check(p->store, c);
  }
  if( rc==VECDB_OK ) rc = c->rc;
  if( rc==VECDB_OK && c->n_bad==0 ) report_leaks(c);
  *n_bad = c->n_bad;
  vdb_free(c->used);
  vdb_free(c->buf);
  vdb_free(c);
  return rc;
}
