/* btree_page.c -- one page of a B+tree: cells in slots.
**
** The layout is in btree_int.h. Three numbers describe the space of a page:
** OFFCELL, where the lowest cell begins; the gap between the offset array
** and OFFCELL; and FRAG, the bytes of holes that removed cells left between
** others (B4). A cell goes into the gap; when only gap and holes together are
** large enough, the page is packed first.
**
** Nothing here trusts the bytes: page_get checks what the header alone can
** tell, cell_get that a cell lies between OFFCELL and the end of the page,
** and packing that the cells really fit (overlapping ones may not).
*/
#include "util/common.h"
#include "pager/btree_int.h"
#include "util/mem.h"

/* ------------------------------------------------------------ the header */

static uint32_t offset_array_end(const struct page *pg){
  return vdb_btree_header(pg) + 2*vdb_btree_n_cell(pg);
}

static int header_check(const struct btree *t, const struct page *pg,
                        int level){
  const unsigned char *d = pg->data;
  uint32_t off_cell = get_u32(d + BTREELEAF_OFFCELL);
  unsigned has = vdb_btree_level(pg);
  bool is_leaf = vdb_btree_is_leaf(pg);

  if( !is_leaf && d[PAGEHDR_TYPE]!=PAGE_BTREE_NODE ){
    return BTREE_CORRUPT(t, pg->pgno, "page type is %u, expected %d or %d",
                         d[PAGEHDR_TYPE], PAGE_BTREE_LEAF, PAGE_BTREE_NODE);
  }
  if( level!=BTREE_LEVEL_ANY && has!=(unsigned)level ){
    return BTREE_CORRUPT(t, pg->pgno, "level is %u, expected %d", has, level);
  }
  if( !is_leaf && (has==0 || has>BTREE_LEVEL_MAX) ){
    return BTREE_CORRUPT(t, pg->pgno, "level of a node is %u, expected 1..%d",
                         has, BTREE_LEVEL_MAX);
  }
  if( off_cell>t->usable || offset_array_end(pg)>off_cell ){
    return BTREE_CORRUPT(t, pg->pgno,
                         "%u cells and a cell area at %u do not fit %u bytes",
                         vdb_btree_n_cell(pg), (unsigned)off_cell,
                         (unsigned)t->usable);
  }
  if( vdb_btree_n_cell(pg)==0 && (!is_leaf || pg->pgno!=t->root) ){  /* B2 */
    return BTREE_CORRUPT(t, pg->pgno, "%s has no cells",
                         is_leaf ? "leaf" : "node");
  }
  return VECDB_OK;
}

void vdb_btree_page_init(const struct btree *t, struct page *pg,
                         unsigned level){
  unsigned char *d = pg->data;
  d[PAGEHDR_TYPE] = level ? PAGE_BTREE_NODE : PAGE_BTREE_LEAF;
  put_u16(d + BTREELEAF_NCELL, 0);
  put_u16(d + BTREELEAF_FRAG, 0);
  put_u32(d + BTREELEAF_OFFCELL, t->usable);
  if( level ){
    put_u32(d + BTREENODE_RIGHT, 0);
    d[BTREENODE_LEVEL] = (unsigned char)level;
    memset(d + BTREENODE_RESERVED0, 0, BTREENODE_SIZE-BTREENODE_RESERVED0);
  }
}

int vdb_btree_page_get(const struct btree *t, page_no pgno, int level,
                       struct page **out){
  enum page_type type = level==BTREE_LEVEL_ANY ? (enum page_type)0
                      : level ? PAGE_BTREE_NODE : PAGE_BTREE_LEAF;
  int rc;

  rc = vdb_page_get(t->p, pgno, type, out);
  if( rc!=VECDB_OK ) return rc;
  rc = header_check(t, *out, level);
  if( rc!=VECDB_OK ){
    vdb_page_unpin(t->p, *out);
    *out = NULL;
  }
  return rc;
}

/* -------------------------------------------------------- reading cells */

/* A varint that must fit 32 bits. NULL when malformed. Nearly all take one
** byte, hence the first line. */
static const unsigned char *cell_varint(const unsigned char *p,
                                        const unsigned char *end,
                                        uint32_t *out){
  uint64_t v;
  size_t n;
  if( p<end && *p<0x80 ){ *out = *p; return p+1; }
  n = vdb_get_varint(p, end, &v);
  if( n==0 || v>UINT32_MAX ) return NULL;
  *out = (uint32_t)v;
  return p + n;
}

static bool leaf_cell_decode(const unsigned char *p, const unsigned char *end,
                             struct cell *c){
  uint32_t n_val;
  p = cell_varint(p, end, &c->n_key);
  if( !p ) return false;
  p = cell_varint(p, end, &n_val);
  if( !p || c->n_key>BTREE_KEY_MAX || c->n_key>(size_t)(end-p) ) return false;
  c->key = p;
  p += c->n_key;
  c->n_val = n_val>>1;
  if( n_val & 1 ){
    if( end-p<4 || c->n_val>BTREE_VALUE_MAX ) return false;
    c->val = NULL;
    c->pg = get_u32(p);
    p += 4;
    if( c->pg==0 ) return false;
  }else{
    if( c->n_val>(size_t)(end-p) ) return false;
    c->val = p;
    c->pg = 0;
    p += c->n_val;
  }
  c->n = (uint32_t)(p - c->p);
  return true;
}

static bool node_cell_decode(const unsigned char *p, const unsigned char *end,
                             struct cell *c){
  if( end-p<4 ) return false;
  c->pg = get_u32(p);
  c->val = NULL;
  c->n_val = 0;
  p = cell_varint(p+4, end, &c->n_key);
  if( !p || c->n_key>BTREE_KEY_MAX || c->n_key>(size_t)(end-p) ) return false;
  c->key = p;
  c->n = (uint32_t)(p + c->n_key - c->p);
  return true;
}

int vdb_btree_cell_get(const struct btree *t, const struct page *pg,
                       unsigned i, struct cell *out){
  const unsigned char *d = pg->data;
  uint32_t off_cell = get_u32(d + BTREELEAF_OFFCELL), off, quarter;
  bool ok;

  if( i>=vdb_btree_n_cell(pg) ){
    return BTREE_CORRUPT(t, pg->pgno, "cell %u of %u asked for", i,
                         vdb_btree_n_cell(pg));
  }
  off = get_u16(d + vdb_btree_header(pg) + 2*i);
  if( off<off_cell || off>=t->usable ){
    return BTREE_CORRUPT(t, pg->pgno, "cell %u is at byte %u, expected %u..%u",
                         i, (unsigned)off, (unsigned)off_cell,
                         (unsigned)t->usable-1);
  }
  out->p = d + off;
  ok = vdb_btree_is_leaf(pg) ? leaf_cell_decode(out->p, d + t->usable, out)
                             : node_cell_decode(out->p, d + t->usable, out);
  if( !ok ){
    return BTREE_CORRUPT(t, pg->pgno, "cell %u at byte %u is malformed", i,
                         (unsigned)off);
  }
  quarter = vdb_btree_room(t, pg)/4;
  if( out->n+2>quarter ){                                          /* B1 */
    return BTREE_CORRUPT(t, pg->pgno, "cell %u has %u bytes, expected at "
                         "most %u", i, (unsigned)out->n,
                         (unsigned)quarter-2);
  }
  return VECDB_OK;
}

/* The key of a cell and nothing else, checked to lie in the page: what a
** search needs, at half the cost of cell_get. False: ask cell_get why. */
static inline bool cell_key(const unsigned char *d, uint32_t usable,
                            uint32_t off_cell, uint32_t off, bool is_leaf,
                            const unsigned char **key, uint32_t *n_key){
  const unsigned char *p = d + off, *end = d + usable;
  uint32_t n_val;
  if( off<off_cell || off+8>usable ) return false;
  if( !is_leaf ) p += 4;
  p = cell_varint(p, end, n_key);
  if( p && is_leaf ) p = cell_varint(p, end, &n_val);
  *key = p;
  return p && *n_key<=(size_t)(end-p);
}

int vdb_btree_search(const struct btree *t, const struct page *pg,
                     const void *key, size_t n_key, unsigned *i, bool *found){
  const unsigned char *d = pg->data, *slot = d + vdb_btree_header(pg);
  uint32_t off_cell = get_u32(d + BTREELEAF_OFFCELL), n_here;
  bool is_leaf = vdb_btree_is_leaf(pg);
  unsigned lo = 0, hi = vdb_btree_n_cell(pg);
  const unsigned char *key_here;
  struct cell c;
  int rc, order;

  *found = false;
  while( lo<hi ){
    unsigned mid = lo + (hi-lo)/2;
    if( !cell_key(d, t->usable, off_cell, get_u16(slot + 2*mid), is_leaf,
                  &key_here, &n_here) ){
      rc = vdb_btree_cell_get(t, pg, mid, &c);
      if( rc!=VECDB_OK ) return rc;
      key_here = c.key;
      n_here = c.n_key;
    }
    order = vdb_btree_compare(key_here, n_here, key, n_key);
    if( order==0 ){
      *found = true;
      lo = mid;
      break;
    }
    if( order<0 ) lo = mid+1;
    else hi = mid;
  }
  *i = lo;
  return VECDB_OK;
}

int vdb_btree_is_beyond(const struct btree *t, const struct page *pg,
                        const void *key, size_t n_key, bool *beyond){
  unsigned n_cell = vdb_btree_n_cell(pg);
  struct cell c;
  int rc;

  *beyond = true;
  if( n_cell==0 ) return VECDB_OK;
  rc = vdb_btree_cell_get(t, pg, n_cell-1, &c);
  if( rc!=VECDB_OK ) return rc;
  *beyond = vdb_btree_compare(c.key, c.n_key, key, n_key)<0;
  return VECDB_OK;
}

int vdb_btree_child(const struct btree *t, const struct page *pg, unsigned i,
                    page_no *out){
  struct cell c;
  int rc;

  if( i==vdb_btree_n_cell(pg) ){
    *out = get_u32(pg->data + BTREENODE_RIGHT);
    return VECDB_OK;
  }
  rc = vdb_btree_cell_get(t, pg, i, &c);
  if( rc==VECDB_OK ) *out = c.pg;
  return rc;
}

int vdb_btree_child_of(const struct btree *t, const struct page *pg,
                       const void *key, size_t n_key, unsigned *i,
                       page_no *out){
  bool found;
  int rc = vdb_btree_search(t, pg, key, n_key, i, &found);
  if( rc!=VECDB_OK ) return rc;
  *i += found;                      /* a key equal to a separator is right */
  return vdb_btree_child(t, pg, *i, out);
}

/* ------------------------------------------------------- changing cells */

int vdb_btree_set_child(const struct btree *t, struct page *pg, unsigned i,
                        page_no child){
  struct cell c;
  int rc;

  if( i==vdb_btree_n_cell(pg) ){
    put_u32(pg->data + BTREENODE_RIGHT, child);
    return VECDB_OK;
  }
  rc = vdb_btree_cell_get(t, pg, i, &c);
  if( rc==VECDB_OK ) put_u32(pg->data + (c.p - pg->data), child);
  return rc;
}

static uint32_t page_gap(const struct page *pg){
  return get_u32(pg->data + BTREELEAF_OFFCELL) - offset_array_end(pg);
}

uint32_t vdb_btree_page_free(const struct btree *t, const struct page *pg){
  uint32_t n = page_gap(pg) + get_u16(pg->data + BTREELEAF_FRAG);
  uint32_t room = vdb_btree_room(t, pg);
  return n<room ? n : room;
}

int vdb_btree_cell_remove(const struct btree *t, struct page *pg, unsigned i){
  unsigned char *d = pg->data;
  unsigned n_cell = vdb_btree_n_cell(pg);
  unsigned char *slot = d + vdb_btree_header(pg) + 2*i;
  uint32_t off_cell = get_u32(d + BTREELEAF_OFFCELL), frag;
  struct cell c;
  int rc;

  rc = vdb_btree_cell_get(t, pg, i, &c);
  if( VDB_NEVER(rc!=VECDB_OK) ) return rc;   /* callers have decoded it */
  frag = get_u16(d + BTREELEAF_FRAG);
  if( n_cell==1 ){                       /* an empty page has no holes */
    off_cell = t->usable;
    frag = 0;
  }else if( (uint32_t)(c.p - d)==off_cell ){
    off_cell += c.n;
  }else{
    frag += c.n;
    if( frag>t->usable-off_cell ){                               /* B4 */
      return BTREE_CORRUPT(t, pg->pgno, "%u bytes of holes in a cell area of "
                           "%u", (unsigned)frag,
                           (unsigned)(t->usable-off_cell));
    }
  }
  memmove(slot, slot+2, 2*(size_t)(n_cell-1-i));
  put_u16(d + BTREELEAF_NCELL, (uint16_t)(n_cell-1));
  put_u32(d + BTREELEAF_OFFCELL, off_cell);
  put_u16(d + BTREELEAF_FRAG, (uint16_t)frag);
  return VECDB_OK;
}

/* Move all cells to the end of the page, closing the holes. */
static int page_pack(const struct btree *t, struct page *pg){
  unsigned char *d = pg->data;
  unsigned char *slot = d + vdb_btree_header(pg);
  unsigned n_cell = vdb_btree_n_cell(pg);
  uint32_t off = t->usable, off_min = offset_array_end(pg);
  unsigned char *copy = NULL;
  struct cell c;
  int rc = VECDB_OK;

  copy = vdb_malloc(t->usable);
  if( !copy ) return VECDB_NOMEM;
  for(unsigned i=0; i<n_cell; i++){
    TRY( vdb_btree_cell_get(t, pg, i, &c) );
    if( c.n>off-off_min ){
      TRY( BTREE_CORRUPT(t, pg->pgno, "%u cells overlap", n_cell) );
    }
    off -= c.n;
    memcpy(copy+off, c.p, c.n);
  }
  /* All cells are sound: from here nothing fails. The offsets are computed
  ** again from the lengths, in the same order. */
  for(unsigned i=0, at=t->usable; i<n_cell; i++){
    TRY_ALWAYS( vdb_btree_cell_get(t, pg, i, &c) );
    at -= c.n;
    put_u16(slot + 2*i, (uint16_t)at);
  }
  memcpy(d+off, copy+off, t->usable-off);
  put_u32(d + BTREELEAF_OFFCELL, off);
  put_u16(d + BTREELEAF_FRAG, 0);
done:
  vdb_free(copy);
  return rc;
}

static void slot_insert(const struct btree *t, struct page *pg, unsigned i,
                        const unsigned char *p, uint32_t n){
  unsigned char *d = pg->data;
  unsigned char *slot = d + vdb_btree_header(pg) + 2*i;
  unsigned n_cell = vdb_btree_n_cell(pg);
  uint32_t off = get_u32(d + BTREELEAF_OFFCELL) - n;

  assert( n+2<=page_gap(pg) && i<=n_cell );
  VDB_UNUSED(t);
  memcpy(d+off, p, n);
  memmove(slot+2, slot, 2*(size_t)(n_cell-i));
  put_u16(slot, (uint16_t)off);
  put_u32(d + BTREELEAF_OFFCELL, off);
  put_u16(d + BTREELEAF_NCELL, (uint16_t)(n_cell+1));
}

int vdb_btree_cell_append(const struct btree *t, struct page *pg,
                          const unsigned char *p, uint32_t n){
  if( n+2>page_gap(pg) ){
    return BTREE_CORRUPT(t, pg->pgno, "cells and offsets exceed %u bytes",
                         (unsigned)vdb_btree_room(t, pg));
  }
  slot_insert(t, pg, vdb_btree_n_cell(pg), p, n);
  return VECDB_OK;
}

int vdb_btree_cell_insert(const struct btree *t, struct page *pg, unsigned i,
                          const unsigned char *p, uint32_t n){
  int rc;
  if( n+2>page_gap(pg) ){
    rc = page_pack(t, pg);
    if( rc!=VECDB_OK ) return rc;
    if( n+2>page_gap(pg) ){                                      /* B4 */
      return BTREE_CORRUPT(t, pg->pgno, "%u free bytes, more were promised",
                           (unsigned)page_gap(pg));
    }
  }
  slot_insert(t, pg, i, p, n);
  return VECDB_OK;
}

uint32_t vdb_btree_node_cell(unsigned char *p, page_no child, const void *key,
                             uint32_t n_key){
  size_t n;
  put_u32(p, child);
  n = 4 + vdb_put_varint(p+4, n_key);
  if( n_key ) memcpy(p+n, key, n_key);
  return (uint32_t)n + n_key;
}
