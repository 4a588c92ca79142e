/* handles.c -- the open collections of a store: by id, and which are dirty.
**
** A program may hold thousands of collections open (a table each, in SQL), so
** neither opening one nor a commit may look at all of them. Handles are in a
** hash table by id, whose chains are doubly linked for leaving, and in one list
** for what concerns all. Dirty ones are in a list of their own.
**
** The table grows with the number of handles; if there is no memory for that,
** its chains get longer.
*/
#include "util/common.h"
#include "store/coll_int.h"
#include "util/rng.h"

#define HANDLES_MIN  16u                 /* buckets at first; a power of two */

static struct coll **handle_bucket(struct store *st, uint64_t id){
  return &st->bucket[vdb_mix64(id) & (st->n_bucket-1)];
}

/* Put c before what *at says. */
static void chain_enter(struct coll **at, struct coll *c){
  c->id_next = *at;
  c->id_link = at;
  if( *at!=NULL ) (*at)->id_link = &c->id_next;
  *at = c;
}

static int table_grow(struct store *st){
  size_t n = st->n_bucket ? 2*st->n_bucket : HANDLES_MIN;
  struct coll **bucket = vdb_calloc(n, sizeof(*bucket));

  if( bucket==NULL ) return st->n_bucket ? VECDB_OK : VECDB_NOMEM;
  vdb_free(st->bucket);
  st->bucket = bucket;
  st->n_bucket = n;
  for(struct coll *c=st->coll; c!=NULL; c=c->next){
    chain_enter(handle_bucket(st, c->id), c);
  }
  return VECDB_OK;
}

struct coll *vdb_handle_find(struct store *st, uint64_t id){
  struct coll *c = st->n_bucket ? *handle_bucket(st, id) : NULL;

  while( c!=NULL && c->id!=id ) c = c->id_next;
  return c;
}

int vdb_handle_enter(struct store *st, struct coll *c){
  if( st->n_coll>=st->n_bucket ){
    int rc = table_grow(st);
    if( rc!=VECDB_OK ) return rc;
  }
  chain_enter(handle_bucket(st, c->id), c);
  c->next = st->coll;
  c->link = &st->coll;
  if( c->next!=NULL ) c->next->link = &c->next;
  st->coll = c;
  st->n_coll++;
  return VECDB_OK;
}

void vdb_handle_leave(struct coll *c){
  struct coll **pp = &c->st->dirty;

  c->st->has_left_dirty |= c->is_dirty;
  while( *pp!=NULL && *pp!=c ) pp = &(*pp)->dirty_next;
  if( *pp!=NULL ) *pp = c->dirty_next;
  if( c->link==NULL ) return;
  *c->link = c->next;
  if( c->next!=NULL ) c->next->link = c->link;
  *c->id_link = c->id_next;
  if( c->id_next!=NULL ) c->id_next->id_link = c->id_link;
  c->link = c->id_link = NULL;
  c->st->n_coll--;
}

void vdb_handle_lose(struct coll *c){
  vdb_coll_drop_caches(c);
  vdb_handle_leave(c);
  c->is_dirty = false;
  c->is_gone = true;
}

void vdb_handle_dirty(struct coll *c){
  if( c->is_dirty ) return;
  c->is_dirty = true;
  if( c->link==NULL ) return;            /* of nobody else's concern */
  c->dirty_next = c->st->dirty;
  c->st->dirty = c;
}

void vdb_handles_clean(struct store *st){
  while( st->dirty!=NULL ){
    struct coll *c = st->dirty;
    st->dirty = c->dirty_next;
    c->dirty_next = NULL;
    c->is_dirty = false;
  }
  st->has_left_dirty = false;
}
