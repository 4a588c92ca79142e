/* live.c -- which slots live: a bitmap in memory, built from the file (C2).
**
** A sealed slot lives iff its bit in LIVE is set, a slot of the delta iff its
** bit in DEAD is clear; so the delta needs no bit per inserted row. The map is
** cached by the version of the collection, follows single changes in place
** while nobody else holds it, and is otherwise built anew: one pass over
** next_slot/8 bytes of pages.
*/
#include "util/common.h"
#include "store/coll_int.h"

void vdb_live_unref(struct live_map *m){
  if( m==NULL || --m->n_ref>0 ) return;
  vdb_free(m->word);
  vdb_free(m);
}

static int live_create(struct live_map **out){
  *out = vdb_calloc(1, sizeof(**out));
  if( *out==NULL ) return VECDB_NOMEM;
  (*out)->n_ref = 1;
  return VECDB_OK;
}

static int copy_words(void *arg, uint64_t i, size_t n,
                      const unsigned char *data){
  struct live_map *m = arg;

  if( data==NULL ) return VECDB_OK;              /* zero already */
  for(size_t k=0; k<n; k++) m->word[i+k] = get_u64(data+8*k);
  return VECDB_OK;
}

/* Rows of the delta: all, but for those in DEAD. */
static int add_delta(struct coll *c, struct live_map *m){
  slot_no lo = c->s.delta_first, hi = c->s.next_slot;
  bool is_dead;
  int rc = VECDB_OK;

  vdb_bit_set_range(m->word, lo, hi);
  if( c->s.n_dead_delta==0 ) return VECDB_OK;
  for(uint64_t w=lo/64; w*64<hi; w++){
    unsigned char buf[8];
    uint64_t dead;
    TRY( vdb_parray_get(c->p, c->s.dead, w, 1, buf) );
    dead = get_u64(buf);
    for(uint64_t s=vdb_max_sz(w*64, lo); dead && s<hi && s<(w+1)*64; s++){
      is_dead = dead >> (s%64) & 1;
      if( is_dead ) vdb_bit_clear(m->word, (size_t)s);
    }
  }
done:
  return rc;
}

static int live_fill(struct coll *c, struct live_map *m){
  size_t n_word = vdb_bitset_words(c->s.next_slot);
  size_t n_sealed = vdb_bitset_words(c->s.delta_first);
  int rc;

  m->n_bit = 0;
  TRY( vdb_grow(&m->word, &m->n_word_cap, n_word+1, sizeof(*m->word)) );
  memset(m->word, 0, (n_word+1)*sizeof(*m->word));
  TRY( vdb_parray_scan(c->p, c->s.live, 0, n_sealed, copy_words, m) );
  if( c->s.delta_first%64!=0 ){                  /* a hostile file only */
    m->word[n_sealed-1] &= ((uint64_t)1 << (c->s.delta_first%64)) - 1;
  }
  TRY( add_delta(c, m) );
  m->n_bit = c->s.next_slot;
done:
  return rc;
}

/* Make c->live current. */
static int live_sync(struct coll *c){
  int rc = VECDB_OK;

  if( c->live!=NULL && c->live_version==c->s.version ) return VECDB_OK;
  if( c->live!=NULL && c->live->n_ref>1 ){
    vdb_live_unref(c->live);
    c->live = NULL;
  }
  if( c->live==NULL ) TRY( live_create(&c->live) );
  rc = live_fill(c, c->live);
  if( rc==VECDB_OK ){
    c->live_version = c->s.version;
  }else{
    vdb_live_unref(c->live);
    c->live = NULL;
  }
done:
  return rc;
}

int vdb_live_ref(struct coll *c, struct live_map **out){
  int rc = live_sync(c);

  *out = NULL;
  if( rc!=VECDB_OK ) return rc;
  *out = c->live;
  c->live->n_ref++;
  return VECDB_OK;
}

void vdb_live_set(struct coll *c, slot_no slot, bool on){
  struct live_map *m = c->live;
  size_t n_had, n_word = vdb_bitset_words((size_t)slot+1)+1;

  if( !c->live_follows ) return;
  n_had = vdb_bitset_words((size_t)m->n_bit);
  if( vdb_grow(&m->word, &m->n_word_cap, n_word, sizeof(*m->word))!=VECDB_OK ){
    c->live_follows = false;                     /* built anew when needed */
    return;
  }
  if( slot>=m->n_bit ){
    size_t n_now = vdb_bitset_words((size_t)slot+1);
    memset(m->word+n_had, 0, (n_now-n_had)*sizeof(*m->word));
    m->n_bit = (uint64_t)slot+1;
  }
  if( on ) vdb_bit_set(m->word, slot);
  else vdb_bit_clear(m->word, slot);
}

uint64_t vdb_live_count(const struct live_map *m, uint64_t lo, uint64_t hi){
  uint64_t n = 0;

  for(; lo<hi && lo%64!=0; lo++) n += vdb_bit_get(m->word, (size_t)lo);
  for(; lo+64<=hi; lo+=64){
    n += (uint64_t)__builtin_popcountll(m->word[lo/64]);
  }
  for(; lo<hi; lo++) n += vdb_bit_get(m->word, (size_t)lo);
  return n;
}

uint64_t vdb_live_nth(const struct live_map *m, uint64_t lo, uint64_t n){
  for(; lo<m->n_bit; lo++){
    if( lo%64==0 ){
      uint64_t k = (uint64_t)__builtin_popcountll(m->word[lo/64]);
      if( k<=n && m->n_bit-lo>=64 ){
        n -= k;
        lo += 63;
        continue;
      }
    }
    if( vdb_bit_get(m->word, (size_t)lo) && n--==0 ) return lo;
  }
  return m->n_bit;
}
