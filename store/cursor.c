/* cursor.c -- rows in order of the key, along the pk map. */
#include "util/common.h"
#include "store/coll_int.h"

struct coll_cursor {
  struct coll *c;                        /* referenced */
  struct btree_cursor *k;
  page_no root;                          /* tree that k walks */
};

int vdb_coll_cursor_open(struct coll *c, struct coll_cursor **out){
  struct coll_cursor *k;
  int rc = vdb_coll_refresh(c);

  *out = NULL;
  if( rc!=VECDB_OK ) return rc;
  k = vdb_calloc(1, sizeof(*k));
  if( k==NULL ) return VECDB_NOMEM;
  k->c = c;
  c->n_ref++;
  *out = k;
  return VECDB_OK;
}

void vdb_coll_cursor_close(struct coll_cursor *k){
  if( k==NULL ) return;
  vdb_btree_cursor_close(k->k);
  vdb_store_coll_close(k->c);
  vdb_free(k);
}

/* Slot under the cursor. */
static int cursor_slot(struct coll_cursor *k, bool at_end, slot_no *slot){
  const unsigned char *val;
  size_t n;
  int rc;

  *slot = SLOT_NONE;
  if( at_end ) return VECDB_OK;
  rc = vdb_btree_value(k->k, &val, &n);
  if( rc!=VECDB_OK ) return rc;
  if( n!=4 || get_u32(val)>=k->c->s.next_slot ){
    return COLL_CORRUPT(k->c, "the key map names a slot that is not there");
  }
  *slot = get_u32(val);
  return VECDB_OK;
}

/* Bytes of a key to seek. A text longer than any key is cut; of the keys
** there can be, only the cut one itself is not past the whole (seek_long). */
static int seek_key(const struct vdb_value *key, unsigned char *buf,
                    size_t *n){
  if( key->type==VECDB_INTEGER ){
    put_key_i64(buf, key->i);
    *n = 8;
    return VECDB_OK;
  }
  if( key->type!=VECDB_TEXT ) return VECDB_CONSTRAINT_TYPE;
  *n = vdb_min_sz(key->n, BTREE_KEY_MAX);
  if( *n>0 ) memcpy(buf, key->p, *n);
  return VECDB_OK;
}

/* The cursor stands at the first key >= buf, a text cut to the length of the
** longest key: step over buf itself. */
static int seek_long(struct coll_cursor *k, const unsigned char *buf,
                     bool *at_end){
  const unsigned char *key;
  size_t n;
  int rc;

  if( *at_end ) return VECDB_OK;
  rc = vdb_btree_key(k->k, &key, &n);
  if( rc!=VECDB_OK || n!=BTREE_KEY_MAX || memcmp(key, buf, n)!=0 ) return rc;
  return vdb_btree_next(k->k, at_end);
}

int vdb_coll_cursor_seek(struct coll_cursor *k, const struct vdb_value *key,
                         slot_no *slot, bool *at_end){
  unsigned char buf[BTREE_KEY_MAX];
  size_t n = 0;
  int rc;

  *slot = SLOT_NONE;
  *at_end = true;
  TRY( vdb_coll_refresh(k->c) );
  if( key!=NULL && key->type!=k->c->schema->col[0].type ){
    TRY( VECDB_CONSTRAINT_TYPE );
  }
  if( k->k==NULL || k->root!=k->c->s.pk ){
    vdb_btree_cursor_close(k->k);
    k->k = NULL;
    TRY( vdb_btree_cursor_open(k->c->p, k->c->s.pk, &k->k) );
    k->root = k->c->s.pk;
  }
  if( key==NULL ){
    TRY( vdb_btree_first(k->k, at_end) );
  }else{
    TRY( seek_key(key, buf, &n) );
    TRY( vdb_btree_seek(k->k, buf, n, at_end) );
    if( key->type==VECDB_TEXT && key->n>n ) TRY( seek_long(k, buf, at_end) );
  }
  TRY( cursor_slot(k, *at_end, slot) );
done:
  return rc;
}

int vdb_coll_cursor_next(struct coll_cursor *k, slot_no *slot,
                         bool *at_end){
  int rc;

  *slot = SLOT_NONE;
  *at_end = true;
  TRY( vdb_coll_refresh(k->c) );
  if( k->k==NULL || k->root!=k->c->s.pk ){
    TRY( VDB_INTERNAL(vdb_coll_err(k->c), "a cursor moves before it seeks") );
  }
  TRY( vdb_btree_next(k->k, at_end) );
  TRY( cursor_slot(k, *at_end, slot) );
done:
  return rc;
}
