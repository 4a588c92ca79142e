/* btree_load.c -- filling a B+tree in ascending order of the key.
**
** The loader remembers the last leaf and the last key. A cell that fits goes
** to the end of that leaf without a descent; one that does not takes the
** way of an ordinary insert at the right edge, whose split leaves the full
** page as it is (btree_balance.c). So leaves are filled one after the other
** to the last cell that fits, and the memory is one key whatever the size of
** the tree. Nothing is pinned between two calls (B5).
*/
#include "util/common.h"
#include "pager/btree_int.h"
#include "util/mem.h"

struct btree_loader {
  struct btree t;
  page_no pg_leaf;                  /* the last leaf */
  bool was_empty;                   /* at the begin: abort empties it again */
  bool has_key;
  uint32_t n_key;
  unsigned char key[BTREE_KEY_MAX]; /* the last key added */
  unsigned char cell[BTREE_CELL_MAX];
};

/* Find the last leaf, and the key that all new ones must be above. */
static int load_position(struct btree_loader *l){
  struct path path;
  struct page *pg;
  struct cell c;
  int rc;

  path.n = 0;
  TRY( vdb_btree_path_last(&l->t, &path) );
  pg = path.step[path.n-1].pg;
  l->pg_leaf = pg->pgno;
  l->has_key = vdb_btree_n_cell(pg)>0;
  if( l->has_key ){
    TRY( vdb_btree_cell_get(&l->t, pg, vdb_btree_n_cell(pg)-1, &c) );
    if( c.n_key ) memcpy(l->key, c.key, c.n_key);
    l->n_key = c.n_key;
  }
done:
  vdb_btree_path_clear(&l->t, &path);
  return rc;
}

int vdb_btree_load_begin(struct pager *p, page_no root,
                         struct btree_loader **out){
  struct btree_loader *l = NULL;
  int rc = VECDB_OK;

  *out = NULL;
  l = vdb_calloc(1, sizeof(*l));
  if( !l ) TRY( VECDB_NOMEM );
  vdb_btree_init(&l->t, p, root);
  TRY( load_position(l) );
  l->was_empty = !l->has_key;
  *out = l;
  l = NULL;
done:
  vdb_free(l);
  return rc;
}

static int load_order_check(const struct btree_loader *l, const void *key,
                            size_t n_key){
  int order;
  if( n_key>BTREE_KEY_MAX ){
    return vdb_error(vdb_pager_err(l->t.p), VECDB_TOOBIG,
                     "key has %zu bytes, at most %d are possible", n_key,
                     BTREE_KEY_MAX);
  }
  if( !l->has_key ) return VECDB_OK;
  order = vdb_btree_compare(l->key, l->n_key, key, n_key);
  if( order<0 ) return VECDB_OK;
  if( order==0 ) return VECDB_EXISTS;
  return vdb_error(vdb_pager_err(l->t.p), VECDB_MISUSE,
                   "keys of a bulk load do not ascend");
}

/* The leaf is full: the cell begins the next one. */
static int load_next_leaf(struct btree_loader *l, uint32_t n){
  struct path path;
  int rc;

  path.n = 0;
  TRY( vdb_btree_path_last(&l->t, &path) );
  TRY( vdb_btree_path_insert(&l->t, &path, l->cell, n) );
  vdb_btree_path_clear(&l->t, &path);
  TRY_ALWAYS( load_position(l) );     /* the way was in use until now */
done:
  vdb_btree_path_clear(&l->t, &path);
  return rc;
}

int vdb_btree_load_add(struct btree_loader *l, const void *key, size_t n_key,
                       const void *val, size_t n_val){
  struct page *pg = NULL;
  uint32_t n;
  int rc;

  TRY( load_order_check(l, key, n_key) );
  if( n_val>BTREE_VALUE_MAX ){
    TRY( vdb_error(vdb_pager_err(l->t.p), VECDB_TOOBIG,
                   "value has %zu bytes, at most %u are possible", n_val,
                   BTREE_VALUE_MAX) );
  }
  vdb_pager_touch(l->t.p);                                         /* B6 */
  TRY( vdb_btree_leaf_cell(&l->t, key, n_key, val, n_val, l->cell, &n) );
  TRY( vdb_btree_page_get(&l->t, l->pg_leaf, 0, &pg) );
  if( n+2<=vdb_btree_page_free(&l->t, pg) ){
    TRY( vdb_page_write(l->t.p, pg) );
    TRY( vdb_btree_cell_insert(&l->t, pg, vdb_btree_n_cell(pg), l->cell, n) );
  }else{
    vdb_page_unpin(l->t.p, pg);
    pg = NULL;
    TRY( load_next_leaf(l, n) );
  }
  if( n_key ) memcpy(l->key, key, n_key);
  l->n_key = (uint32_t)n_key;
  l->has_key = true;
done:
  vdb_page_unpin(l->t.p, pg);
  return rc;
}

int vdb_btree_load_end(struct btree_loader *l, bool commit){
  int rc = VECDB_OK;
  if( !l ) return VECDB_OK;
  if( !commit && l->was_empty ) rc = vdb_btree_clear(l->t.p, l->t.root);
  vdb_free(l);
  return rc;
}
