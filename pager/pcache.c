/* pcache.c -- the page cache: hash table, LRU list, dirty list.
**
** INVARIANTS
**   C1  A page is in exactly one bucket. It is in the dirty list iff it is
**       dirty, else in the LRU list iff it is not pinned, else in no list.
**   C2  Dropping a page needs no memory and cannot fail.
**   C3  data is 64-byte aligned; the struct lies behind it in the same block,
**       so that a page costs one allocation.
**
** A full cache gives the oldest page of the LRU list away and its memory to
** the newcomer. The hash table doubles at one page per bucket; when there is
** no memory for that, chains grow instead.
*/
#include "util/common.h"
#include "util/mem.h"
#include "pager/pcache.h"

#define PCACHE_BUCKET_MIN  64

static size_t bucket_of(const struct pcache *pc, page_no pgno){
  return (pgno * 0x9e3779b1u >> 7) & (pc->n_bucket - 1);
}

static size_t cpage_bytes(const struct pcache *pc){
  return pc->sz_page + sizeof(struct cpage);
}

static void list_append(struct cpage_list *l, struct cpage *cp){
  cp->next = NULL;
  cp->prev = l->last;
  if( l->last ) l->last->next = cp;
  else l->first = cp;
  l->last = cp;
}

static void list_remove(struct cpage_list *l, struct cpage *cp){
  if( cp->prev ) cp->prev->next = cp->next;
  else l->first = cp->next;
  if( cp->next ) cp->next->prev = cp->prev;
  else l->last = cp->prev;
  cp->prev = cp->next = NULL;
}

/* Into the list where it belongs, and out of it (C1). */
static void cpage_enlist(struct pcache *pc, struct cpage *cp){
  if( cp->is_dirty ) list_append(&pc->dirty, cp);
  else if( cp->n_pin==0 ) list_append(&pc->lru, cp);
}
static void cpage_delist(struct pcache *pc, struct cpage *cp){
  if( cp->is_dirty ) list_remove(&pc->dirty, cp);
  else if( cp->n_pin==0 ) list_remove(&pc->lru, cp);
}

static void hash_insert(struct pcache *pc, struct cpage *cp){
  struct cpage **b = &pc->bucket[bucket_of(pc, cp->pub.pgno)];
  cp->hash_next = *b;
  *b = cp;
  pc->n_page++;
}

static void hash_remove(struct pcache *pc, struct cpage *cp){
  struct cpage **pp = &pc->bucket[bucket_of(pc, cp->pub.pgno)];
  while( *pp!=cp ) pp = &(*pp)->hash_next;
  *pp = cp->hash_next;
  pc->n_page--;
}

/* Double the table. Failure leaves it as it was. */
static void hash_grow(struct pcache *pc){
  struct cpage **old = pc->bucket;
  size_t n_old = pc->n_bucket;
  struct cpage **fresh = vdb_calloc(n_old*2, sizeof(*fresh));

  if( fresh==NULL ) return;
  pc->bucket = fresh;
  pc->n_bucket = n_old*2;
  pc->n_page = 0;
  for(size_t i=0; i<n_old; i++){
    for(struct cpage *cp=old[i], *next; cp; cp=next){
      next = cp->hash_next;
      hash_insert(pc, cp);
    }
  }
  vdb_free(old);
}

struct cpage *vdb_cpage_create(const struct pcache *pc, page_no pgno){
  unsigned char *data = vdb_malloc_aligned(cpage_bytes(pc));
  struct cpage *cp;

  if( data==NULL ) return NULL;
  cp = (struct cpage*)(void*)(data + pc->sz_page);
  memset(cp, 0, sizeof(*cp));
  cp->pub.data = data;
  cp->pub.pgno = pgno;
  return cp;
}

void vdb_cpage_free(struct cpage *cp){
  if( cp ) vdb_free_aligned(cp->pub.data);
}

struct cpage *vdb_cpage_copy(const struct pcache *pc, const struct cpage *cp){
  struct cpage *copy = vdb_cpage_create(pc, cp->pub.pgno);
  if( copy ) memcpy(copy->pub.data, cp->pub.data, pc->sz_page);
  return copy;
}

int vdb_pcache_init(struct pcache *pc, uint32_t sz_page, uint64_t sz_max){
  memset(pc, 0, sizeof(*pc));
  pc->sz_page = sz_page;
  pc->sz_max = sz_max;
  pc->i_txn = 1;
  pc->bucket = vdb_calloc(PCACHE_BUCKET_MIN, sizeof(*pc->bucket));
  if( pc->bucket==NULL ) return VECDB_NOMEM;
  pc->n_bucket = PCACHE_BUCKET_MIN;
  return VECDB_OK;
}

void vdb_pcache_clear(struct pcache *pc){
  for(size_t i=0; i<pc->n_bucket; i++){
    for(struct cpage *cp=pc->bucket[i], *next; cp; cp=next){
      next = cp->hash_next;
      vdb_cpage_free(cp);
    }
  }
  vdb_free(pc->bucket);
  memset(pc, 0, sizeof(*pc));
}

uint64_t vdb_pcache_bytes(const struct pcache *pc){
  return (uint64_t)pc->n_page*cpage_bytes(pc) + pc->sz_other;
}

bool vdb_pcache_is_over(const struct pcache *pc){
  return vdb_pcache_bytes(pc) + cpage_bytes(pc) > pc->sz_max;
}

void vdb_pcache_shrink(struct pcache *pc){
  while( pc->lru.first && vdb_pcache_bytes(pc)>pc->sz_max ){
    vdb_pcache_drop(pc, pc->lru.first);
  }
}

struct cpage *vdb_pcache_find(struct pcache *pc, page_no pgno){
  struct cpage *cp = pc->bucket[bucket_of(pc, pgno)];
  while( cp && cp->pub.pgno!=pgno ) cp = cp->hash_next;
  return cp;
}

int vdb_pcache_add(struct pcache *pc, page_no pgno, struct cpage **out){
  struct cpage *cp = pc->lru.first;

  assert( vdb_pcache_find(pc, pgno)==NULL );
  if( cp && vdb_pcache_is_over(pc) ){
    cpage_delist(pc, cp);
    hash_remove(pc, cp);
  }else if( (cp = vdb_cpage_create(pc, pgno))==NULL ){
    *out = NULL;
    return VECDB_NOMEM;
  }
  cp->pub.pgno = pgno;
  cp->n_pin = 1;
  pc->n_pin++;
  cp->i_txn = 0;
  if( pc->n_page>=pc->n_bucket ) hash_grow(pc);
  hash_insert(pc, cp);
  *out = cp;
  return VECDB_OK;
}

void vdb_pcache_pin(struct pcache *pc, struct cpage *cp){
  if( cp->n_pin==0 && !cp->is_dirty ) list_remove(&pc->lru, cp);
  cp->n_pin++;
  pc->n_pin++;
}

void vdb_pcache_unpin(struct pcache *pc, struct cpage *cp){
  assert( cp->n_pin>0 );
  cp->n_pin--;
  pc->n_pin--;
  if( cp->n_pin==0 && !cp->is_dirty ) list_append(&pc->lru, cp);
}

void vdb_pcache_set_dirty(struct pcache *pc, struct cpage *cp){
  if( cp->is_dirty ) return;
  cpage_delist(pc, cp);
  cp->is_dirty = true;
  pc->n_dirty++;
  cpage_enlist(pc, cp);
}

void vdb_pcache_set_clean(struct pcache *pc, struct cpage *cp){
  if( !cp->is_dirty ) return;
  cpage_delist(pc, cp);
  cp->is_dirty = false;
  pc->n_dirty--;
  cpage_enlist(pc, cp);
}

void vdb_pcache_set_written(struct pcache *pc, struct cpage *cp){
  vdb_pcache_set_clean(pc, cp);
  vdb_cpage_set_in_txn(pc, cp, true);
  pc->has_in_txn = true;
}

void vdb_pcache_drop(struct pcache *pc, struct cpage *cp){
  if( cp==NULL ) return;
  assert( cp->n_pin==0 );
  cpage_delist(pc, cp);
  if( cp->is_dirty ) pc->n_dirty--;
  hash_remove(pc, cp);
  vdb_cpage_free(cp);
}

void vdb_pcache_drop_clean(struct pcache *pc){
  while( pc->lru.first ) vdb_pcache_drop(pc, pc->lru.first);
}

/* Counting on makes the marks of all pages stale, whatever their number. */
void vdb_pcache_end_txn(struct pcache *pc){
  pc->i_txn++;
  pc->has_in_txn = false;
}

void vdb_pcache_drop_txn(struct pcache *pc){
  while( pc->dirty.first ) vdb_pcache_drop(pc, pc->dirty.first);
  if( !pc->has_in_txn ) return;
  for(struct cpage *cp=pc->lru.first, *next; cp; cp=next){
    next = cp->next;
    if( vdb_cpage_is_in_txn(pc, cp) ) vdb_pcache_drop(pc, cp);
  }
  vdb_pcache_end_txn(pc);
}

void vdb_pcache_restore(struct pcache *pc, struct cpage *image){
  vdb_pcache_drop(pc, vdb_pcache_find(pc, image->pub.pgno));
  assert( image->n_pin==0 && !image->is_dirty );
  hash_insert(pc, image);
  list_append(&pc->lru, image);
  vdb_pcache_set_dirty(pc, image);
}
