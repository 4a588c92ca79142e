/* parray.c -- paged arrays: addressing, directories, create, get and put.
**
** Layout, terms and invariants in parray_int.h.
*/
#include "util/common.h"
#include "pager/parray_int.h"

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

uint64_t vdb_parray_reach(const struct parray *a, unsigned height){
  uint64_t n = 1;
  while( height-- >0 ){
    if( n>PARRAY_PAGE_MAX/a->fanout ) return PARRAY_PAGE_MAX;
    n *= a->fanout;
  }
  return n;
}

void vdb_parray_pages(const struct parray *a, uint64_t i, uint64_t j,
                      uint64_t *lo, uint64_t *hi){
  *lo = a->per ? i/a->per : i*a->k;
  *hi = a->per ? (j-1)/a->per + 1 : j*a->k;
}

struct array_span vdb_parray_span(const struct parray *a, uint64_t d,
                                  uint64_t b_lo, uint64_t b_hi){
  struct array_span s;
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

/* ------------------------------------------------------------ directories */

page_no vdb_parray_entry(const struct page *dir, uint32_t i){
  return get_u32(dir->data + PARRAYDIR_SIZE + 4*(size_t)i);
}

int vdb_parray_set_entry(const struct parray *a, struct page *dir, uint32_t i,
                         page_no pgno){
  uint32_t used = get_u16(dir->data + PARRAYDIR_USED);
  if( vdb_parray_entry(dir, i)!=0 ){
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

int vdb_parray_node(struct parray *a, page_no pgno, unsigned height,
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
                        "use; expected height %u, width %u",     /* P1 */
                        d[PARRAYDIR_HEIGHT],
                        (unsigned)get_u32(d + PARRAYDIR_WIDTH),
                        get_u16(d + PARRAYDIR_USED), height,
                        (unsigned)a->width);
    vdb_page_unpin(a->p, *out);
    *out = NULL;
  }
  return rc;
}

int vdb_parray_open(struct parray *a, struct pager *p, page_no root,
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
  page_no pgno = vdb_parray_entry(dir, i);
  int rc;

  if( pgno ) return vdb_parray_node(a, pgno, height, out);
  rc = vdb_page_write(a->p, dir);
  if( rc!=VECDB_OK ) return rc;
  rc = vdb_page_new(a->p, height ? PAGE_PARRAY_DIR : PAGE_PARRAY_DATA, out);
  if( rc!=VECDB_OK ) return rc;
  if( height ) dir_init(a, *out, height);
  return vdb_parray_set_entry(a, dir, i, (*out)->pgno);
}

/* Give the root another level until it reaches data pages 0..n_page-1. */
static int root_grow(struct parray *a, struct page *root, uint64_t n_page){
  struct page *pg = NULL;
  int rc = VECDB_OK;

  while( vdb_parray_reach(a, a->height)<n_page ){
    unsigned char *d;
    TRY( vdb_page_write(a->p, root) );
    d = root->data;
    if( get_u16(d + PARRAYDIR_USED)>0 ){
      TRY( vdb_page_new(a->p, PAGE_PARRAY_DIR, &pg) );
      memcpy(pg->data + PAGE_CONTENT, d + PAGE_CONTENT,
             vdb_pager_usable(a->p) - PAGE_CONTENT);
      memset(d + PARRAYDIR_SIZE, 0, 4*(size_t)a->fanout);
      put_u16(d + PARRAYDIR_USED, 0);
      TRY_ALWAYS( vdb_parray_set_entry(a, root, 0, pg->pgno) );   /* empty */
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

/* Visit data pages lo..hi-1 below dir, whose first one is `base`. */
static int dir_walk(struct parray *a, struct page *dir, unsigned height,
                    uint64_t base, uint64_t lo, uint64_t hi, array_page_fn fn,
                    void *arg){
  uint64_t span = vdb_parray_reach(a, height-1), first;
  uint32_t i = lo>base ? (uint32_t)((lo-base)/span) : 0;
  struct page *pg = NULL;
  int rc = VECDB_OK;

  if( vdb_pager_interrupted(a->p) ) return VECDB_INTERRUPT;
  for(; i<a->fanout; i++){
    first = base + i*span;
    if( first>=hi ) break;
    if( vdb_parray_entry(dir, i)==0 ) continue;
    TRY( vdb_parray_node(a, vdb_parray_entry(dir, i), height-1, &pg) );
    if( height==1 ) TRY( fn(arg, first, pg) );
    else TRY( dir_walk(a, pg, height-1, first, lo, hi, fn, arg) );
    vdb_page_unpin(a->p, pg);
    pg = NULL;
  }
done:
  vdb_page_unpin(a->p, pg);
  return rc;
}

int vdb_parray_walk(struct parray *a, struct page *root, uint64_t lo,
                    uint64_t hi, array_page_fn fn, void *arg){
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
  int rc = vdb_parray_open(&a, p, root, &pg);
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
  struct array_span s = vdb_parray_span(g->a, d, g->b_lo, g->b_hi);
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
  vdb_parray_pages(a, i, j, &lo, &hi);
  rc = vdb_parray_walk(a, root, lo, hi, page_copy_out, &g);
  if( rc==VECDB_OK ){
    memset(out + (g.b_next - g.b_lo), 0, (size_t)(g.b_hi - g.b_next));
  }
  return rc;
}

/* One element of an array whose directory is the root: what reading a value of
** a row comes to, without the arithmetic that the general case needs. *done is
** false if this is another case. */
static int element_get(struct pager *p, const struct page *root, uint64_t i,
                       unsigned char *out, bool *done){
  const unsigned char *d = root->data;
  uint32_t usable = vdb_pager_usable(p), width = get_u32(d + PARRAYDIR_WIDTH);
  uint32_t per, at;
  struct page *pg = NULL;
  page_no pgno;
  int rc;

  *done = false;
  if( d[PARRAYDIR_HEIGHT]!=1 || width==0 || width>usable - PARRAYDATA_SIZE
   || i>UINT32_MAX ) return VECDB_OK;
  per = (usable - PARRAYDATA_SIZE)/width;
  at = (uint32_t)i/per;
  if( at>=(usable - PARRAYDIR_SIZE)/4 ) return VECDB_OK;
  *done = true;
  pgno = vdb_parray_entry(root, at);
  if( pgno==0 ){
    memset(out, 0, width);
    return VECDB_OK;
  }
  rc = vdb_page_get(p, pgno, PAGE_PARRAY_DATA, &pg);
  if( rc!=VECDB_OK ) return rc;
  memcpy(out, pg->data + PARRAYDATA_SIZE + ((uint32_t)i - at*per)*width, width);
  vdb_page_unpin(p, pg);
  return VECDB_OK;
}

static int root_get(struct pager *p, page_no root, uint64_t i, void *out,
                    bool *done){
  struct page *pg = NULL;
  int rc = vdb_page_get(p, root, PAGE_PARRAY_DIR, &pg);
  if( rc==VECDB_OK ) rc = element_get(p, pg, i, out, done);
  vdb_page_unpin(p, pg);
  return rc;
}

int vdb_parray_get(struct pager *p, page_no root, uint64_t i, size_t n,
                   void *out){
  struct page *pg = NULL;
  struct parray a;
  uint64_t n_in = 0;                /* elements that may exist */
  bool done = false;
  int rc;

  if( n==1 ) TRY( root_get(p, root, i, out, &done) );
  if( done ) return VECDB_OK;
  TRY( vdb_parray_open(&a, p, root, &pg) );
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
  struct array_span s, e;
  if( first<w->lo ) first = w->lo;
  if( last>=w->hi ) last = w->hi-1;
  s = vdb_parray_span(a, first, w->b_lo, w->b_hi);
  e = vdb_parray_span(a, last, w->b_lo, w->b_hi);
  return vdb_parray_is_zero(w->in + (s.at - w->b_lo),
                            (size_t)(e.at + e.n - s.at));
}

static int data_put(struct parray *a, struct page *pg, uint64_t d,
                    const struct put_state *w){
  struct array_span s = vdb_parray_span(a, d, w->b_lo, w->b_hi);
  int rc = vdb_page_write(a->p, pg);
  if( rc!=VECDB_OK ) return rc;
  memcpy(pg->data + PARRAYDATA_SIZE + s.off, w->in + (s.at - w->b_lo), s.n);
  return VECDB_OK;
}

static int dir_put(struct parray *a, struct page *dir, unsigned height,
                   uint64_t base, const struct put_state *w){
  uint64_t span = vdb_parray_reach(a, height-1), first;
  uint32_t i = w->lo>base ? (uint32_t)((w->lo-base)/span) : 0;
  struct page *pg = NULL;
  int rc = VECDB_OK;

  for(; i<a->fanout; i++){
    first = base + i*span;
    if( first>=w->hi ) break;
    if( vdb_parray_entry(dir, i)==0 && put_is_zero(a, w, first, first+span-1) ){
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

  TRY( vdb_parray_open(&a, p, root, &pg) );
  if( n==0 ) goto done;
  if( i>=a.n_elem_max || n>a.n_elem_max-i ){
    TRY( vdb_error(vdb_pager_err(p), VECDB_RANGE,
                   "element %llu of an array, at most %llu are possible",
                   (unsigned long long)i,
                   (unsigned long long)a.n_elem_max) );
  }
  vdb_parray_pages(&a, i, i+n, &w.lo, &w.hi);
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
