/* intset.c -- sets of integers: a bitmap where they lie close together, else a
** hash table.
**
** BITMAP  when the span from the least to the greatest is at most BITMAP_SPAN
**   bits for each number (and one page of bits in any case): no more memory
**   than the table would take, and no collisions.
** TABLE   open addressing, half full at most. A number whose place is free is
**   not in it; the place follows from the number by a multiplication, whose
**   upper bits are used. `empty` marks free places; whether it is itself in
**   the set is kept aside.
*/
#include "util/common.h"
#include "store/intset.h"

#include "util/bytes.h"
#include "util/mem.h"

#define BITMAP_SPAN   256u
#define BITMAP_MIN    32768u
#define TABLE_EMPTY   INT64_MIN

struct intset {
  int64_t lo;                      /* the least */
  uint64_t span;                   /* the greatest - lo */
  uint64_t *bit;                   /* span+1 bits, or NULL */
  int64_t *table;                  /* 2^(64-shift) places, or NULL */
  int shift;
  uint64_t mask;                   /* places - 1 */
  bool has_empty;                  /* TABLE_EMPTY is in the set */
};

static uint64_t table_place(const struct intset *s, int64_t v){
  return ((uint64_t)v*0x9e3779b97f4a7c15u) >> s->shift;
}

static int table_fill(struct intset *s, const int64_t *v, size_t n){
  uint64_t n_place = 8;
  s->shift = 61;
  for(; n_place<2*(uint64_t)n; n_place*=2) s->shift--;
  s->mask = n_place-1;
  s->table = vdb_malloc_array((size_t)n_place, sizeof(*s->table));
  if( s->table==NULL ) return VECDB_NOMEM;
  for(uint64_t i=0; i<n_place; i++) s->table[i] = TABLE_EMPTY;
  for(size_t i=0; i<n; i++){
    uint64_t at = table_place(s, v[i]);
    if( v[i]==TABLE_EMPTY ) s->has_empty = true;
    while( s->table[at]!=TABLE_EMPTY && s->table[at]!=v[i] ){
      at = (at+1) & s->mask;
    }
    s->table[at] = v[i];
  }
  return VECDB_OK;
}

int vdb_intset_create(const int64_t *v, size_t n, struct intset **out){
  struct intset *s = vdb_calloc(1, sizeof(*s));
  int64_t hi = n ? v[0] : 0;
  int rc = VECDB_OK;
  *out = NULL;
  if( s==NULL ) return VECDB_NOMEM;
  s->lo = hi;
  for(size_t i=1; i<n; i++){
    if( v[i]<s->lo ) s->lo = v[i];
    if( v[i]>hi ) hi = v[i];
  }
  s->span = (uint64_t)hi - (uint64_t)s->lo;
  if( n==0 ) s->lo = 1;                       /* nothing is in 1..0 */
  if( s->span/BITMAP_SPAN<n || s->span<BITMAP_MIN ){
    s->bit = vdb_calloc((size_t)(s->span/64+1), 8);
    if( s->bit==NULL ) TRY( VECDB_NOMEM );
    for(size_t i=0; i<n; i++){
      uint64_t at = (uint64_t)v[i] - (uint64_t)s->lo;
      s->bit[at/64] |= (uint64_t)1 << (at%64);
    }
  }else{
    TRY( table_fill(s, v, n) );
  }
  *out = s;
  s = NULL;
done:
  vdb_intset_destroy(s);
  return rc;
}

void vdb_intset_destroy(struct intset *s){
  if( s==NULL ) return;
  vdb_free(s->bit);
  vdb_free(s->table);
  vdb_free(s);
}

static bool table_contains(const struct intset *s, int64_t v){
  uint64_t at = table_place(s, v);
  if( v==TABLE_EMPTY ) return s->has_empty;
  while( s->table[at]!=v ){
    if( s->table[at]==TABLE_EMPTY ) return false;
    at = (at+1) & s->mask;
  }
  return true;
}

uint64_t vdb_intset_word(const struct intset *s, const unsigned char *cell,
                         unsigned n){
  uint64_t w = 0;
  for(unsigned i=0; i<n; i++){
    uint64_t v = get_u64(cell + 8*i), at = v - (uint64_t)s->lo;
    bool in = false;
    if( at<=s->span ){
      in = s->bit ? (s->bit[at/64] >> (at%64) & 1) : table_contains(s, (int64_t)v);
    }
    w |= (uint64_t)in << i;
  }
  return w;
}
