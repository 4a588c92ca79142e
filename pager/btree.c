/* btree.c -- B+trees: create and destroy, get, put, delete, count.
**
** Layout and invariants in btree_int.h, splits and merges in
** btree_balance.c. A put or delete goes down once, pins the way, and changes
** the leaf; only when the leaf overflows or runs empty does it go up again.
** Everything that can be refused is refused before the first byte changes.
*/
#include "util/common.h"
#include "pager/btree_int.h"

/* ---------------------------------------------------- creating, emptying */

int vdb_btree_create(struct pager *p, page_no *root){
  struct page *pg = NULL;
  struct btree t;
  int rc;

  *root = 0;
  vdb_btree_init(&t, p, 0);
  rc = vdb_page_new(p, PAGE_BTREE_LEAF, &pg);
  if( rc!=VECDB_OK ) return rc;
  vdb_btree_page_init(&t, pg, 0);
  *root = pg->pgno;
  vdb_page_unpin(p, pg);
  vdb_pager_touch(p);
  return VECDB_OK;
}

static int budget_spend(const struct btree *t, uint64_t *budget,
                        page_no pgno){
  if( (*budget)--==0 ){
    return BTREE_CORRUPT(t, pgno, "more pages than the %u of the database",
                         (unsigned)vdb_pager_n_page(t->p));
  }
  return vdb_pager_interrupted(t->p) ? VECDB_INTERRUPT : VECDB_OK;
}

/* Free everything below a pinned page. Depth is bounded by B3, and *budget
** says how many pages may still be visited: damaged links that lead to one
** page by many ways end as CORRUPT, not as a long wait. */
static int children_free(const struct btree *t, struct page *pg,
                         uint64_t *budget){
  unsigned n_cell = vdb_btree_n_cell(pg), level = vdb_btree_level(pg);
  struct page *child = NULL;
  struct cell c;
  page_no pgno;
  int rc;

  TRY( budget_spend(t, budget, pg->pgno) );
  for(unsigned i=0; level==0 && i<n_cell; i++){
    TRY( vdb_btree_cell_get(t, pg, i, &c) );
    TRY( vdb_btree_chain_free(t, c.pg, c.n_val) );
  }
  for(unsigned i=0; level>0 && i<=n_cell; i++){
    TRY( vdb_btree_child(t, pg, i, &pgno) );
    TRY( vdb_btree_page_get(t, pgno, (int)level-1, &child) );
    TRY( children_free(t, child, budget) );
    rc = vdb_page_free(t->p, child);
    child = NULL;
    TRY( rc );
  }
done:
  vdb_page_unpin(t->p, child);
  return rc;
}

int vdb_btree_clear(struct pager *p, page_no root){
  uint64_t budget = vdb_pager_n_page(p);
  struct page *pg = NULL;
  struct btree t;
  int rc;

  vdb_btree_init(&t, p, root);
  TRY( vdb_btree_page_get(&t, root, BTREE_LEVEL_ANY, &pg) );
  TRY( vdb_page_write(p, pg) );
  TRY( children_free(&t, pg, &budget) );
  vdb_btree_page_init(&t, pg, 0);
  vdb_pager_touch(p);
done:
  vdb_page_unpin(p, pg);
  return rc;
}

int vdb_btree_destroy(struct pager *p, page_no root){
  uint64_t budget = vdb_pager_n_page(p);
  struct page *pg = NULL;
  struct btree t;
  int rc;

  vdb_btree_init(&t, p, root);
  TRY( vdb_btree_page_get(&t, root, BTREE_LEVEL_ANY, &pg) );
  TRY( children_free(&t, pg, &budget) );
  rc = vdb_page_free(p, pg);
  pg = NULL;
  vdb_pager_touch(p);
done:
  vdb_page_unpin(p, pg);
  return rc;
}

/* ------------------------------------------------------ get, put, delete */

int vdb_btree_get(struct pager *p, page_no root, const void *key, size_t n_key,
                  struct vdb_str *val){
  struct page *pg = NULL, *child;
  unsigned i = 0;
  bool found;
  page_no pgno;
  struct btree t;
  struct cell c;
  int rc;

  vdb_btree_init(&t, p, root);
  vdb_str_truncate(val, 0);
  TRY( vdb_btree_page_get(&t, root, BTREE_LEVEL_ANY, &pg) );
  while( !vdb_btree_is_leaf(pg) ){
    TRY( vdb_btree_child_of(&t, pg, key, n_key, &i, &pgno) );
    TRY( vdb_btree_page_get(&t, pgno, (int)vdb_btree_level(pg)-1, &child) );
    vdb_page_unpin(p, pg);
    pg = child;
  }
  TRY( vdb_btree_search(&t, pg, key, n_key, &i, &found) );
  if( !found ) TRY( VECDB_NOTFOUND );
  TRY( vdb_btree_cell_get(&t, pg, i, &c) );
  TRY( vdb_btree_value_read(&t, &c, val) );
done:
  vdb_page_unpin(p, pg);
  return rc;
}

static int entry_size_check(struct pager *p, size_t n_key, size_t n_val){
  if( n_key>BTREE_KEY_MAX ){
    return vdb_error(vdb_pager_err(p), VECDB_TOOBIG,
                     "key has %zu bytes, at most %d are possible", n_key,
                     BTREE_KEY_MAX);
  }
  if( n_val>BTREE_VALUE_MAX ){
    return vdb_error(vdb_pager_err(p), VECDB_TOOBIG,
                     "value has %zu bytes, at most %u are possible", n_val,
                     BTREE_VALUE_MAX);
  }
  return VECDB_OK;
}

/* Put the encoded cell where the path ends, instead of the one there when
** `replace`. */
static int leaf_put(const struct btree *t, struct path *path, bool replace,
                    const unsigned char *p, uint32_t n){
  struct page *pg = path->step[path->n-1].pg;
  unsigned i = path->step[path->n-1].i;
  page_no pg_old = 0;
  uint32_t n_old = 0;
  struct cell c;
  int rc;

  TRY( vdb_page_write(t->p, pg) );
  if( replace ){
    TRY( vdb_btree_cell_get(t, pg, i, &c) );
    pg_old = c.pg;
    n_old = c.n_val;
    if( c.n==n ){
      memcpy(pg->data + (c.p - pg->data), p, n);
      return vdb_btree_chain_free(t, pg_old, n_old);
    }
    TRY( vdb_btree_cell_remove(t, pg, i) );
  }
  if( n+2<=vdb_btree_page_free(t, pg) ){
    TRY( vdb_btree_cell_insert(t, pg, i, p, n) );
    if( replace ) TRY( vdb_btree_path_shrink(t, path) );
  }else{
    TRY( vdb_btree_path_insert(t, path, p, n) );
  }
  TRY( vdb_btree_chain_free(t, pg_old, n_old) );
done:
  return rc;
}

int vdb_btree_put(struct pager *p, page_no root, const void *key, size_t n_key,
                  const void *val, size_t n_val, enum btree_put_mode mode){
  unsigned char buf[BTREE_CELL_MAX];
  struct path path;
  struct btree t;
  uint32_t n;
  bool found;
  int rc;

  path.n = 0;
  vdb_btree_init(&t, p, root);
  TRY( entry_size_check(p, n_key, n_val) );
  TRY( vdb_btree_path_find(&t, key, n_key, &path, &found) );
  if( found && mode==BTREE_INSERT ) TRY( VECDB_EXISTS );
  if( !found && mode==BTREE_REPLACE ) TRY( VECDB_NOTFOUND );
  vdb_pager_touch(p);                                              /* B6 */
  TRY( vdb_btree_leaf_cell(&t, key, n_key, val, n_val, buf, &n) );
  TRY( leaf_put(&t, &path, found, buf, n) );
done:
  vdb_btree_path_clear(&t, &path);
  return rc;
}

int vdb_btree_delete(struct pager *p, page_no root, const void *key,
                     size_t n_key){
  struct path path;
  struct btree t;
  struct page *pg;
  struct cell c;
  bool found;
  int rc;

  path.n = 0;
  vdb_btree_init(&t, p, root);
  TRY( vdb_btree_path_find(&t, key, n_key, &path, &found) );
  if( !found ) TRY( VECDB_NOTFOUND );
  vdb_pager_touch(p);                                              /* B6 */
  pg = path.step[path.n-1].pg;
  TRY( vdb_page_write(p, pg) );
  TRY( vdb_btree_cell_get(&t, pg, path.step[path.n-1].i, &c) );
  TRY( vdb_btree_chain_free(&t, c.pg, c.n_val) );
  TRY( vdb_btree_cell_remove(&t, pg, path.step[path.n-1].i) );
  TRY( vdb_btree_path_shrink(&t, &path) );
done:
  vdb_btree_path_clear(&t, &path);
  return rc;
}

/* -------------------------------------------------------------- counting */

/* Add the entries below page pgno. */
static int subtree_count(const struct btree *t, page_no pgno, int level,
                         uint64_t *budget, uint64_t *n){
  struct page *pg = NULL;
  page_no child;
  int rc;

  TRY( budget_spend(t, budget, pgno) );
  TRY( vdb_btree_page_get(t, pgno, level, &pg) );
  if( vdb_btree_is_leaf(pg) ){
    *n += vdb_btree_n_cell(pg);
  }else{
    for(unsigned i=0; i<=vdb_btree_n_cell(pg); i++){
      TRY( vdb_btree_child(t, pg, i, &child) );
      TRY( subtree_count(t, child, (int)vdb_btree_level(pg)-1, budget, n) );
    }
  }
done:
  vdb_page_unpin(t->p, pg);
  return rc;
}

int vdb_btree_count(struct pager *p, page_no root, uint64_t *out){
  uint64_t budget = vdb_pager_n_page(p);
  struct btree t;
  int rc;

  *out = 0;
  vdb_btree_init(&t, p, root);
  rc = subtree_count(&t, root, BTREE_LEVEL_ANY, &budget, out);
  if( rc!=VECDB_OK ) *out = 0;
  return rc;
}
