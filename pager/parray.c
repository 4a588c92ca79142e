/* parray.c -- paged arrays: a radix tree of directories over data pages.
**
** LAYOUT   PARRAYDIR and PARRAYDATA in format.def. The root is a directory of
**          some height h >= 1; a directory of height 1 names data pages, one
**          of height h directories of height h-1; 0 names nothing, and what
**          lies there reads as zero. Data pages are numbered from 0 through
**          the whole array; page d is found by the digits of d in base
**          fan-out. The array grows in height by moving the root's content
**          down into a new page, so the root keeps its number.
** NARROW   elements (width <= content of a page): `per` of them to a page.
** WIDE     elements: `k` pages each; per is 0.
**
** BYTES    Both kinds are handled through one map: data page d holds bytes
**          begin(d) .. begin(d)+len(d)-1 of the packed array (element i at
**          i*width). Page numbers are limited to PARRAY_PAGE_MAX, so these
**          byte numbers fit 64 bits.
**
** INVARIANTS
**   P1  Width is the same in all directories; heights fall by one a step.
**   P2  USED counts a directory's entries that are not 0; only the root's
**       may be 0.
**   P3  A walk visits no more pages than the database has: a damaged
**       directory that repeats itself ends as CORRUPT, not as a long wait.
**   P4  Nothing is pinned between two calls.
*/
#include "util/common.h"
#include "pager/parray.h"
#include "pager/format.h"
#include "util/bytes.h"
#include "util/mem.h"

#define PARRAY_HEIGHT_MAX  5                /* reaches PARRAY_PAGE_MAX */
#define PARRAY_PAGE_MAX    ((uint64_t)1<<40)

struct parray {                     /* one operation on one array */
  struct pager *p;
  page_no root;
  uint32_t width;                   /* bytes of an element */
  uint32_t per;                     /* narrow: elements of a page; wide: 0 */
  uint32_t k;                       /* pages of an element; narrow: 1 */
  uint32_t content;                 /* bytes of a data page */
  uint32_t fanout;                  /* entries of a directory */
  unsigned height;                  /* of the root */
  uint64_t n_elem_max;              /* elements that may be addressed */
  uint64_t budget;                  /* pages this call may still visit (P3) */
};

#define PARRAY_CORRUPT(a, pgno, fmt, ...) \
  VDB_CORRUPT(vdb_pager_err((a)->p), "page %u of \"%s\": array %u: " fmt, \
              (unsigned)(pgno), vdb_pager_path((a)->p), \
              (unsigned)(a)->root, __VA_ARGS__)

/* ------------------------------------------------------------- arithmetic */

static void parray_measure(struct parray *a){
  uint32_t usable = vdb_pager_usable(a->p);
  a->content = usable - PARRAYDATA_SIZE;
  a->fanout = (usable - PARRAYDIR_SIZE)/4;
  a->per = a->content/a->width;
  a->k = a->per ? 1 : a->width/a->content + (a->width%a->content!=0);
  a->n_elem_max = a->per ? PARRAY_PAGE_MAX*a->per : PARRAY_PAGE_MAX/a->k;
  a->budget = vdb_pager_n_page(a->p);
}

/* Data pages below a directory entry of this height (0: 1 page). */
static uint64_t height_span(const struct parray *a, unsigned height){
  uint64_t n = 1;
  while( height-- >0 ){
    if( n>PARRAY_PAGE_MAX/a->fanout ) return PARRAY_PAGE_MAX;
    n *= a->fanout;
  }
  return n;
}

/* Data pages lo..hi-1 hold elements i..j-1 (i<j<=n_elem_max). */
static void page_range(const struct parray *a, uint64_t i, uint64_t j,
                       uint64_t *lo, uint64_t *hi){
  *lo = a->per ? i/a->per : i*a->k;
  *hi = a->per ? (j-1)/a->per + 1 : j*a->k;
}

/* The part of bytes b_lo..b_hi-1 of the packed array that lies on data page
** d: `n` bytes at `off` of its content, which are bytes `at`.. of the array. */
struct span { uint64_t at; uint32_t off, n; };
static struct span page_span(const struct parray *a, uint64_t d,
                             uint64_t b_lo, uint64_t b_hi){
  struct span s;
  uint64_t begin, end, part = (d%a->k)*a->content;

  if( a->per ){
    begin = d*a->per*a->width;
    end = begin + (uint64_t)a->per*a->width;
  }else{
    begin = d/a->k*a->width + part;
    end = a->width-part<a->content ? begin + (a->width-part)
                                   : begin + a->content;
  }
  s.at = begin>b_lo ? begin : b_lo;
  s.off = (uint32_t)(s.at - begin);
  s.n = (uint32_t)((end<b_hi ? end : b_hi) - s.at);
  return s;
}

static bool bytes_are_zero(const unsigned char *p, size_t n){
  return n==0 || (p[0]==0 && memcmp(p, p+1, n-1)==0);
}

/* ------------------------------------------------------------ directories */

static page_no dir_entry(const struct page *dir, uint32_t i){
  return get_u32(dir->data + PARRAYDIR_SIZE + 4*(size_t)i);
}

/* Set an entry of a writable directory, keeping P2. */
static int dir_set(const struct parray *a, struct page *dir, uint32_t i,
                   page_no pgno){
  uint32_t used = get_u16(dir->data + PARRAYDIR_USED);
  if( dir_entry(dir, i)!=0 ){
    if( used==0 ){
      return PARRAY_CORRUPT(a, dir->pgno, "entry %u of an unused directory",
                            (unsigned)i);
    }
    used--;
  }
  used += pgno!=0;
  if( used>a->fanout ){
    return PARRAY_CORRUPT(a, dir->pgno, "%u entries in use, at most %u fit",
                          (unsigned)used, (unsigned)a->fanout);
  }
  put_u16(dir->data + PARRAYDIR_USED, (uint16_t)used);
  put_u32(dir->data + PARRAYDIR_SIZE + 4*(size_t)i, pgno);
  return VECDB_OK;
}

static void dir_init(const struct parray *a, struct page *dir,
                     unsigned height){
  put_u32(dir->data + PARRAYDIR_WIDTH, a->width);
  dir->data[PARRAYDIR_HEIGHT] = (unsigned char)height;
}

/* Pin a directory below the root, or a data page (height 0). */
static int node_get(struct parray *a, page_no pgno, unsigned height,
                    struct page **out){
  const unsigned char *d;
  int rc;

  if( a->budget==0 ){                                              /* P3 */
    return PARRAY_CORRUPT(a, pgno, "more pages than the %u of the database",
                          (unsigned)vdb_pager_n_page(a->p));
  }
  a->budget--;
  rc = vdb_page_get(a->p, pgno, height ? PAGE_PARRAY_DIR : PAGE_PARRAY_DATA,
                    out);
  if( rc!=VECDB_OK || height==0 ) return rc;
  d = (*out)->data;
  if( get_u32(d + PARRAYDIR_WIDTH)!=a->width
   || d[PARRAYDIR_HEIGHT]!=height || get_u16(d + PARRAYDIR_USED)==0 ){
    rc = PARRAY_CORRUPT(a, pgno, "directory of height %u, width %u, %u in "
                        "use; expected height %u, width %u",                     /* P1 */
                        d[PARRAYDIR_HEIGHT],
                        (unsigned)get_u32(d + PARRAYDIR_WIDTH),
                        get_u16(d + PARRAYDIR_USED), height,
                        (unsigned)a->width);
    vdb_page_unpin(a->p, *out);
    *out = NULL;
  }
  return rc;
}

/* Pin the root and learn width and height from it. */
static int parray_open(struct parray *a, struct pager *p, page_no root,
                       struct page **out){
  const unsigned char *d;
  int rc;

  memset(a, 0, sizeof(*a));
  a->p = p;
  a->root = root;
  rc = vdb_page_get(p, root, PAGE_PARRAY_DIR, out);
  if( rc!=VECDB_OK ) return rc;
  d = (*out)->data;
  a->width = get_u32(d + PARRAYDIR_WIDTH);
  a->height = d[PARRAYDIR_HEIGHT];
  if( a->width==0 || a->width>PARRAY_WIDTH_MAX || a->height==0
   || a->height>PARRAY_HEIGHT_MAX ){
    rc = PARRAY_CORRUPT(a, root, "width %u and height %u, expected 1..%u and "
                        "1..%d", (unsigned)a->width, a->height,
                        PARRAY_WIDTH_MAX, PARRAY_HEIGHT_MAX);
    vdb_page_unpin(p, *out);
    *out = NULL;
    return rc;
  }
  parray_measure(a);
  return VECDB_OK;
}

/* Child i of dir, made when it is absent; height is the child's. */
static int child_make(struct parray *a, struct page *dir, uint32_t i,
                      unsigned height, struct page **out){
  page_no pgno = dir_entry(dir, i);
  int rc;

  if( pgno ) return node_get(a, pgno, height, out);
  rc = vdb_page_write(a->p, dir);
  if( rc!=VECDB_OK ) return rc;
  rc = vdb_page_new(a->p, height ? PAGE_PARRAY_DIR : PAGE_PARRAY_DATA, out);
  if( rc!=VECDB_OK ) return rc;
  if( height ) dir_init(a, *out, height);
  return dir_set(a, dir, i, (*out)->pgno);
}

/* Give the root another level until it reaches data pages 0..n_page-1. */
static int root_grow(struct parray *a, struct page *root, uint64_t n_page){
  struct page *pg = NULL;
  int rc = VECDB_OK;

  while( height_span(a, a->height)<n_page && rc==VECDB_OK ){
    unsigned char *d;
    TRY( vdb_page_write(a->p, root) );
    d = root->data;
    if( get_u16(d + PARRAYDIR_USED)>0 ){
      TRY( vdb_page_new(a->p, PAGE_PARRAY_DIR, &pg) );
      memcpy(pg->data + PAGE_CONTENT, d + PAGE_CONTENT,
             vdb_pager_usable(a->p) - PAGE_CONTENT);
      memset(d + PARRAYDIR_SIZE, 0, 4*(size_t)a->fanout);
      put_u16(d + PARRAYDIR_USED, 0);
      TRY( dir_set(a, root, 0, pg->pgno) );
      vdb_page_unpin(a->p, pg);
      pg = NULL;
    }
    d[PARRAYDIR_HEIGHT] = (unsigned char)++a->height;
  }
done:
  vdb_page_unpin(a->p, pg);
  return rc;
}

/* ------------------------------------------------------------- the walker */

/* Called for every data page that exists in a range, in order. */
typedef int (*page_fn)(void *arg, uint64_t d, struct page *pg);

/* Visit data pages lo..hi-1 below dir, whose first one is `base`. */
static int dir_walk(struct parray *a, struct page *dir, unsigned height,
                    uint64_t base, uint64_t lo, uint64_t hi, page_fn fn,
                    void *arg){
  uint64_t span = height_span(a, height-1), first;
  uint32_t i = lo>base ? (uint32_t)((lo-base)/span) : 0;
  struct page *pg = NULL;
  int rc = VECDB_OK;

  if( vdb_pager_interrupted(a->p) ) return VECDB_INTERRUPT;
  for(; i<a->fanout; i++){
    first = base + i*span;
    if( first>=hi ) break;
    if( dir_entry(dir, i)==0 ) continue;
    TRY( node_get(a, dir_entry(dir, i), height-1, &pg) );
    if( height==1 ) TRY( fn(arg, first, pg) );
    else TRY( dir_walk(a, pg, height-1, first, lo, hi, fn, arg) );
    vdb_page_unpin(a->p, pg);
    pg = NULL;
  }
done:
  vdb_page_unpin(a->p, pg);
  return rc;
}

static int array_walk(struct parray *a, struct page *root, uint64_t lo,
                      uint64_t hi, page_fn fn, void *arg){
  return dir_walk(a, root, a->height, 0, lo, hi, fn, arg);
}

/* ------------------------------------------------------- create, destroy */

int vdb_parray_create(struct pager *p, uint32_t width, page_no *root){
  struct page *pg = NULL;
  struct parray a;
  int rc;

  *root = 0;
  if( width==0 || width>PARRAY_WIDTH_MAX ){
    return vdb_error(vdb_pager_err(p), VECDB_RANGE,
                     "element width is %u, expected 1..%u", (unsigned)width,
                     PARRAY_WIDTH_MAX);
  }
  rc = vdb_page_new(p, PAGE_PARRAY_DIR, &pg);
  if( rc!=VECDB_OK ) return rc;
  a.width = width;
  dir_init(&a, pg, 1);
  *root = pg->pgno;
  vdb_page_unpin(p, pg);
  vdb_pager_touch(p);
  return VECDB_OK;
}

int vdb_parray_width(struct pager *p, page_no root, uint32_t *width){
  struct page *pg = NULL;
  struct parray a;
  int rc = parray_open(&a, p, root, &pg);
  *width = rc==VECDB_OK ? a.width : 0;
  vdb_page_unpin(p, pg);
  return rc;
}

/* ------------------------------------------------------------------- get */

struct get_state {
  const struct parray *a;
  uint64_t b_lo, b_hi;              /* bytes asked for */
  uint64_t b_next;                  /* not filled yet */
  unsigned char *out;               /* byte b_lo goes here */
};

static int page_copy_out(void *arg, uint64_t d, struct page *pg){
  struct get_state *g = arg;
  struct span s = page_span(g->a, d, g->b_lo, g->b_hi);
  memset(g->out + (g->b_next - g->b_lo), 0, (size_t)(s.at - g->b_next));
  memcpy(g->out + (s.at - g->b_lo), pg->data + PARRAYDATA_SIZE + s.off, s.n);
  g->b_next = s.at + s.n;
  return VECDB_OK;
}

/* Elements i..j-1, all of them addressable, into out. */
static int elements_get(struct parray *a, struct page *root, uint64_t i,
                        uint64_t j, unsigned char *out){
  struct get_state g;
  uint64_t lo, hi;
  int rc;

  if( i>=j ) return VECDB_OK;
  g.a = a;
  g.b_lo = g.b_next = i*a->width;
  g.b_hi = j*a->width;
  g.out = out;
  page_range(a, i, j, &lo, &hi);
  rc = array_walk(a, root, lo, hi, page_copy_out, &g);
  if( rc==VECDB_OK ){
    memset(out + (g.b_next - g.b_lo), 0, (size_t)(g.b_hi - g.b_next));
  }
  return rc;
}

int vdb_parray_get(struct pager *p, page_no root, uint64_t i, size_t n,
                   void *out){
  struct page *pg = NULL;
  struct parray a;
  uint64_t n_in = 0;                /* elements that may exist */
  int rc;

  TRY( parray_open(&a, p, root, &pg) );
  if( i<a.n_elem_max ) n_in = n<a.n_elem_max-i ? n : a.n_elem_max-i;
  TRY( elements_get(&a, pg, i, i+n_in, out) );
  memset((unsigned char*)out + (size_t)n_in*a.width, 0,
         (n - (size_t)n_in)*a.width);
done:
  vdb_page_unpin(p, pg);
  return rc;
}

/* ------------------------------------------------------------------- put */

struct put_state {
  uint64_t lo, hi;                  /* data pages */
  uint64_t b_lo, b_hi;              /* bytes of the array */
  const unsigned char *in;          /* byte b_lo comes from here */
};

/* The bytes for data pages first..last: zeros need no pages. */
static bool put_is_zero(const struct parray *a, const struct put_state *w,
                        uint64_t first, uint64_t last){
  struct span s, e;
  if( first<w->lo ) first = w->lo;
  if( last>=w->hi ) last = w->hi-1;
  s = page_span(a, first, w->b_lo, w->b_hi);
  e = page_span(a, last, w->b_lo, w->b_hi);
  return bytes_are_zero(w->in + (s.at - w->b_lo),
                        (size_t)(e.at + e.n - s.at));
}

static int data_put(struct parray *a, struct page *pg, uint64_t d,
                    const struct put_state *w){
  struct span s = page_span(a, d, w->b_lo, w->b_hi);
  int rc = vdb_page_write(a->p, pg);
  if( rc!=VECDB_OK ) return rc;
  memcpy(pg->data + PARRAYDATA_SIZE + s.off, w->in + (s.at - w->b_lo), s.n);
  return VECDB_OK;
}

static int dir_put(struct parray *a, struct page *dir, unsigned height,
                   uint64_t base, const struct put_state *w){
  uint64_t span = height_span(a, height-1), first;
  uint32_t i = w->lo>base ? (uint32_t)((w->lo-base)/span) : 0;
  struct page *pg = NULL;
  int rc = VECDB_OK;

  for(; i<a->fanout; i++){
    first = base + i*span;
    if( first>=w->hi ) break;
    if( dir_entry(dir, i)==0 && put_is_zero(a, w, first, first+span-1) ){
      continue;
    }
    TRY( child_make(a, dir, i, height-1, &pg) );
    if( height==1 ) TRY( data_put(a, pg, first, w) );
    else TRY( dir_put(a, pg, height-1, first, w) );
    vdb_page_unpin(a->p, pg);
    pg = NULL;
  }
done:
  vdb_page_unpin(a->p, pg);
  return rc;
}

int vdb_parray_put(struct pager *p, page_no root, uint64_t i, size_t n,
                   const void *in){
  struct page *pg = NULL;
  struct put_state w;
  struct parray a;
  int rc;

  TRY( parray_open(&a, p, root, &pg) );
  if( n==0 ) goto done;
  if( i>=a.n_elem_max || n>a.n_elem_max-i ){
    TRY( vdb_error(vdb_pager_err(p), VECDB_RANGE,
                   "element %llu of an array, at most %llu are possible",
                   (unsigned long long)i,
                   (unsigned long long)a.n_elem_max) );
  }
  page_range(&a, i, i+n, &w.lo, &w.hi);
  w.b_lo = i*a.width;
  w.b_hi = (i+n)*a.width;
  w.in = in;
  a.budget = UINT64_MAX;            /* bounded by n, and pages are added */
  vdb_pager_touch(p);
  TRY( root_grow(&a, pg, w.hi) );
  TRY( dir_put(&a, pg, a.height, 0, &w) );
done:
  vdb_page_unpin(p, pg);
  return rc;
}

/* ----------------------------------------------------------------- clear */

struct clear_state {
  uint64_t lo, hi;                  /* data pages */
  uint64_t b_lo, b_hi;              /* bytes of the array */
};

/* Zero the part of a data page that lies in the range. *empty: nothing else
** is left on it, and the page need not have been changed for that. */
static int data_clear(struct parray *a, struct page *pg, uint64_t d,
                      const struct clear_state *w, bool *empty){
  struct span s = page_span(a, d, w->b_lo, w->b_hi);
  struct span all = page_span(a, d, 0, UINT64_MAX);
  const unsigned char *z = pg->data + PARRAYDATA_SIZE;
  int rc;

  *empty = bytes_are_zero(z, s.off)
        && bytes_are_zero(z + s.off + s.n, all.n - s.off - s.n);
  if( *empty || bytes_are_zero(z + s.off, s.n) ) return VECDB_OK;
  rc = vdb_page_write(a->p, pg);
  if( rc==VECDB_OK ) memset(pg->data + PARRAYDATA_SIZE + s.off, 0, s.n);
  return rc;
}

static int dir_clear(struct parray *a, struct page *dir, unsigned height,
                     uint64_t base, const struct clear_state *w){
  uint64_t span = height_span(a, height-1), first;
  uint32_t i = w->lo>base ? (uint32_t)((w->lo-base)/span) : 0;
  struct page *pg = NULL;
  bool empty;
  int rc = VECDB_OK;

  if( vdb_pager_interrupted(a->p) ) return VECDB_INTERRUPT;
  for(; i<a->fanout; i++){
    first = base + i*span;
    if( first>=w->hi ) break;
    if( dir_entry(dir, i)==0 ) continue;
    TRY( node_get(a, dir_entry(dir, i), height-1, &pg) );
    if( height==1 ){
      TRY( data_clear(a, pg, first, w, &empty) );
    }else{
      TRY( dir_clear(a, pg, height-1, first, w) );
      empty = get_u16(pg->data + PARRAYDIR_USED)==0;
    }
    if( empty ){
      TRY( vdb_page_write(a->p, dir) );
      TRY( dir_set(a, dir, i, 0) );
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
  page_range(a, lo, hi, &w.lo, &w.hi);
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

  TRY( parray_open(&a, p, root, &pg) );
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

  TRY( parray_open(&a, p, root, &pg) );
  vdb_pager_touch(p);
  TRY( elements_clear(&a, pg, 0, UINT64_MAX) );
  rc = vdb_page_free(p, pg);
  pg = NULL;
done:
  vdb_page_unpin(p, pg);
  return rc;
}

/* ------------------------------------------------------------------ scan */

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
  struct span at = page_span(s->a, d, s->lo*w, s->hi*w);
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
  struct span at = page_span(s->a, d, 0, UINT64_MAX);
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
  TRY( parray_open(&a, p, root, &pg) );
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
    page_range(&a, s.lo, s.hi, &pg_lo, &pg_hi);
    TRY( array_walk(&a, pg, pg_lo, pg_hi,
                    a.per ? page_scan : page_scan_wide, &s) );
    TRY( wide_finish(&s) );
  }
  TRY( scan_absent(&s, hi) );
done:
  vdb_free(s.buf);
  vdb_page_unpin(p, pg);
  return rc;
}

/* ----------------------------------------------------------------- check */

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
    page_no pgno = dir_entry(dir, i);
    if( pgno==0 ) continue;
    used++;
    if( !vdb_census_page(k->census, pgno, k->what) ) continue;
    rc = node_get(&k->a, pgno, height-1, &pg);
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
  rc = parray_open(&k.a, p, root, &pg);
  if( rc!=VECDB_OK ) return page_damage(&k, rc);
  rc = dir_check(&k, pg, k.a.height);
  vdb_page_unpin(p, pg);
  return rc;
}
