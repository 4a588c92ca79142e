/* btree_overflow.c -- leaf cells, and the page chains of long values.
**
** A value that would make its cell larger than a quarter of a page (B1) lies
** whole in a chain of OVERFLOW pages, all full but the last. SEQ counts them
** from 0, so a chain that was crossed with another, or bent into a ring, is
** noticed at the first wrong page; the length in the cell says where the
** chain ends, and is itself checked against the pages that exist before
** anything is read or allocated.
*/
#include "util/common.h"
#include "pager/btree_int.h"

static uint32_t chain_room(const struct btree *t){
  return t->usable - OVERFLOW_SIZE;
}

uint32_t vdb_btree_chain_pages(const struct btree *t, uint32_t n_val){
  return n_val/chain_room(t) + (n_val%chain_room(t)!=0);
}

/* Pin page number seq of a chain. */
static int chain_get(const struct btree *t, page_no pgno, uint32_t seq,
                     struct page **out){
  uint32_t has;
  int rc = vdb_page_get(t->p, pgno, PAGE_OVERFLOW, out);
  if( rc!=VECDB_OK ) return rc;
  has = get_u32((*out)->data + OVERFLOW_SEQ);
  if( has!=seq ){
    vdb_page_unpin(t->p, *out);
    *out = NULL;
    return BTREE_CORRUPT(t, pgno, "overflow page is number %u of its chain, "
                         "expected %u", (unsigned)has, (unsigned)seq);
  }
  return VECDB_OK;
}

static int chain_length_check(const struct btree *t, page_no pg,
                              uint32_t n_val){
  uint32_t n_page = vdb_pager_n_page(t->p);
  if( n_val==0 || vdb_btree_chain_pages(t, n_val)>n_page ){
    return BTREE_CORRUPT(t, pg, "value of %u bytes in overflow pages of a "
                         "database of %u pages", (unsigned)n_val,
                         (unsigned)n_page);
  }
  return VECDB_OK;
}

/* Write val to a new chain, *out its first page. The pages are linked while
** two neighbours are pinned. */
static int chain_write(const struct btree *t, const unsigned char *val,
                       uint32_t n_val, page_no *out){
  struct page *pg = NULL, *prev = NULL;
  uint32_t n_page = vdb_btree_chain_pages(t, n_val), n;
  int rc = VECDB_OK;

  for(uint32_t seq=0; seq<n_page; seq++){
    if( vdb_pager_interrupted(t->p) ) TRY( VECDB_INTERRUPT );
    TRY( vdb_page_new(t->p, PAGE_OVERFLOW, &pg) );
    put_u32(pg->data + OVERFLOW_SEQ, seq);
    n = n_val<chain_room(t) ? n_val : chain_room(t);
    memcpy(pg->data + OVERFLOW_SIZE, val, n);
    val += n;
    n_val -= n;
    if( prev ) put_u32(prev->data + OVERFLOW_NEXT, pg->pgno);
    else *out = pg->pgno;
    vdb_page_unpin(t->p, prev);
    prev = pg;
    pg = NULL;
  }
done:
  vdb_page_unpin(t->p, prev);
  vdb_page_unpin(t->p, pg);
  return rc;
}

int vdb_btree_leaf_cell(const struct btree *t, const void *key, size_t n_key,
                        const void *val, size_t n_val, unsigned char *buf,
                        uint32_t *n){
  uint32_t quarter = (t->usable - BTREELEAF_SIZE)/4;
  size_t at = vdb_put_varint(buf, n_key);
  bool is_chained;
  page_no pg = 0;
  int rc;

  /* 5 is the longest varint of a value's length. */
  is_chained = at + 5 + n_key + n_val + 2>quarter;
  at += vdb_put_varint(buf+at, (uint64_t)n_val*2 + is_chained);
  if( n_key ) memcpy(buf+at, key, n_key);
  at += n_key;
  if( is_chained ){
    rc = chain_write(t, val, (uint32_t)n_val, &pg);
    if( rc!=VECDB_OK ) return rc;
    put_u32(buf+at, pg);
    at += 4;
  }else if( n_val ){
    memcpy(buf+at, val, n_val);
    at += n_val;
  }
  assert( at<=BTREE_CELL_MAX && at+2<=quarter );
  *n = (uint32_t)at;
  return VECDB_OK;
}

int vdb_btree_value_read(const struct btree *t, const struct cell *cell,
                         struct vdb_str *out){
  struct page *pg = NULL;
  uint32_t n_val = cell->n_val, n;
  page_no pgno = cell->pg;
  int rc = VECDB_OK;

  if( pgno==0 ){
    vdb_str_add(out, cell->val, n_val);
    return vdb_str_rc(out);
  }
  TRY( chain_length_check(t, pgno, n_val) );
  for(uint32_t seq=0; n_val>0; seq++){
    if( vdb_pager_interrupted(t->p) ) TRY( VECDB_INTERRUPT );
    TRY( chain_get(t, pgno, seq, &pg) );
    n = n_val<chain_room(t) ? n_val : chain_room(t);
    vdb_str_add(out, pg->data + OVERFLOW_SIZE, n);
    TRY( vdb_str_rc(out) );
    n_val -= n;
    pgno = get_u32(pg->data + OVERFLOW_NEXT);
    vdb_page_unpin(t->p, pg);
    pg = NULL;
  }
done:
  vdb_page_unpin(t->p, pg);
  return rc;
}

int vdb_btree_chain_free(const struct btree *t, page_no pgno, uint32_t n_val){
  struct page *pg = NULL;
  uint32_t n_page;
  int rc;

  if( pgno==0 ) return VECDB_OK;
  rc = chain_length_check(t, pgno, n_val);
  n_page = vdb_btree_chain_pages(t, n_val);
  for(uint32_t seq=0; rc==VECDB_OK && seq<n_page; seq++){
    rc = chain_get(t, pgno, seq, &pg);
    if( rc!=VECDB_OK ) break;
    pgno = get_u32(pg->data + OVERFLOW_NEXT);
    rc = vdb_page_free(t->p, pg);
  }
  return rc;
}
