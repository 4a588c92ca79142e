/* root.c -- the root page: page count, free list, token, words of the layers
** above.
**
** FORMAT   ROOT in pager/format.def. It is an ordinary page at a fixed place,
**          so a rollback needs nothing special for any of this.
*/
#include "util/common.h"
#include "pager/pager_int.h"

void vdb_root_format(unsigned char *data, uint32_t usable, page_no pg_root){
  memset(data, 0, usable);
  data[PAGEHDR_TYPE] = PAGE_ROOT;
  put_u32(data + ROOT_NPAGE, pg_root+1);
  put_u64(data + ROOT_TXID, 1);
  put_u64(data + ROOT_NEXTEXT, 1);
  vdb_page_seal(data, usable, pg_root, 1);
}

int vdb_root_page(struct pager *p, struct page **out){
  return vdb_page_get(p, p->store->pg_first, PAGE_ROOT, out);
}

/* Pin the root and make it writable. A root that counts other pages than the
** snapshot has is not built upon; reading such a file does no harm. */
int vdb_root_write(struct pager *p, struct page **out){
  page_no n_page;
  int rc = VECDB_OK;

  *out = NULL;
  TRY( vdb_root_page(p, out) );
  n_page = get_u32((*out)->data + ROOT_NPAGE);
  if( n_page!=p->n_page ){
    rc = VDB_CORRUPT(p->err, "%s: page %u (root): page count is %u, expected "
                     "%u", vdb_pager_name(p), p->store->pg_first, n_page,
                     p->n_page);
    goto done;
  }
  TRY( vdb_page_write(p, *out) );
  put_u64((*out)->data + ROOT_TXID, p->snap.txid_write);
done:
  if( rc!=VECDB_OK ){
    vdb_page_unpin(p, *out);
    *out = NULL;
  }
  return rc;
}

void vdb_root_add_free(struct page *root, int64_t n){
  put_u64(root->data + ROOT_NFREE,
          get_u64(root->data + ROOT_NFREE) + (uint64_t)n);
}

int vdb_root_get(struct pager *p, enum root_word w, uint64_t *out){
  struct page *root = NULL;
  int rc = VECDB_OK;

  *out = 0;
  assert( (unsigned)w<ROOT_USER_MAX );
  TRY( vdb_root_page(p, &root) );
  *out = get_u64(root->data + ROOT_WORDS + 8*(size_t)w);
done:
  vdb_page_unpin(p, root);
  return rc;
}

int vdb_root_set(struct pager *p, enum root_word w, uint64_t v){
  struct page *root = NULL;
  int rc = VECDB_OK;

  assert( (unsigned)w<ROOT_USER_MAX );
  TRY( vdb_pager_use_write(p) );
  TRY( vdb_root_write(p, &root) );
  put_u64(root->data + ROOT_WORDS + 8*(size_t)w, v);
done:
  vdb_page_unpin(p, root);
  return rc;
}

int vdb_root_touch(struct pager *p){
  struct page *root = NULL;
  int rc = vdb_root_write(p, &root);
  vdb_page_unpin(p, root);
  return rc;
}

int vdb_root_set_token(struct pager *p, const unsigned char host[16],
                       uint64_t token){
  struct page *root = NULL;
  int rc = VECDB_OK;

  TRY( vdb_root_write(p, &root) );
  memcpy(root->data + ROOT_HOST, host, 16);
  put_u64(root->data + ROOT_TOKEN, token);
done:
  vdb_page_unpin(p, root);
  return rc;
}

int vdb_root_get_token(struct pager *p, unsigned char host[16],
                       uint64_t *token){
  struct page *root = NULL;
  int rc = VECDB_OK;

  TRY( vdb_root_page(p, &root) );
  memcpy(host, root->data + ROOT_HOST, 16);
  *token = get_u64(root->data + ROOT_TOKEN);
done:
  vdb_page_unpin(p, root);
  return rc;
}

int vdb_alloc_number(struct pager *p, uint64_t *out){
  struct page *root = NULL;
  int rc = VECDB_OK;

  TRY( vdb_root_write(p, &root) );
  *out = get_u64(root->data + ROOT_NEXTEXT);
  put_u64(root->data + ROOT_NEXTEXT, *out + 1);
done:
  vdb_page_unpin(p, root);
  return rc;
}
