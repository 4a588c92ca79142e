/* pgset.c -- a set of page numbers: linear probing, at most half full. */
#include "util/common.h"
#include "util/mem.h"
#include "pager/pgset.h"

#define PGSET_MIN  16

/* Where pgno is, or where it would go. */
static page_no *pgset_slot(page_no *slot, size_t n_cap, page_no pgno){
  size_t i = (pgno * 0x9e3779b1u >> 5) & (n_cap-1);
  while( slot[i]!=0 && slot[i]!=pgno ) i = (i+1) & (n_cap-1);
  return &slot[i];
}

static int pgset_grow(struct pgset *s){
  size_t n_cap = s->n_cap ? s->n_cap*2 : PGSET_MIN;
  page_no *slot = vdb_calloc(n_cap, sizeof(*slot));

  if( slot==NULL ) return VECDB_NOMEM;
  for(size_t i=0; i<s->n_cap; i++){
    if( s->slot[i] ) *pgset_slot(slot, n_cap, s->slot[i]) = s->slot[i];
  }
  vdb_free(s->slot);
  s->slot = slot;
  s->n_cap = n_cap;
  return VECDB_OK;
}

int vdb_pgset_reserve(struct pgset *s, size_t n){
  int rc = VECDB_OK;
  while( rc==VECDB_OK && 2*n>s->n_cap ) rc = pgset_grow(s);
  return rc;
}

int vdb_pgset_add(struct pgset *s, page_no pgno){
  page_no *slot;
  int rc = vdb_pgset_reserve(s, s->n+1);

  assert( pgno!=0 );
  if( rc!=VECDB_OK ) return rc;
  slot = pgset_slot(s->slot, s->n_cap, pgno);
  if( *slot==0 ) s->n++;
  *slot = pgno;
  return VECDB_OK;
}

bool vdb_pgset_has(const struct pgset *s, page_no pgno){
  return s->n>0 && *pgset_slot(s->slot, s->n_cap, pgno)==pgno;
}

void vdb_pgset_clear(struct pgset *s){
  vdb_free(s->slot);
  memset(s, 0, sizeof(*s));
}
