/* flat_rows.c -- the parts of an exact search: walking over the rows that
** pass, picking the best, polling.
**
** CUT   A row gets into a full pick only if its distance is below the worst
**       one held, or equal to it and before it in the order of ties. The scan
**       compares keys, not distances (simd.h), so `cut` is the largest key
**       whose distance is not above the worst: rows tied after the root pass,
**       and the pick's own comparison decides.
*/
#include <math.h>

#include "index/flat_int.h"
#include "util/bitset.h"

/* ---- Rows ---------------------------------------------------------------- */

uint64_t vdb_flat_count(const struct flat_search *s){
  uint64_t n = 0;
  for(size_t i=0; i<s->n_runs; i++) n += s->runs[i].n_rows;
  return n;
}

void vdb_flat_seek(struct flat_cursor *c, const struct flat_search *s,
                   uint64_t first, uint64_t n){
  c->s = s;
  c->n_left = n;
  for(c->i_run=0; c->i_run<s->n_runs; c->i_run++){
    if( first<s->runs[c->i_run].n_rows ) break;
    first -= s->runs[c->i_run].n_rows;
  }
  c->i_row = (size_t)first;
}

static inline void block_add(struct flat_block *b, const struct flat_run *r,
                             size_t i, slot_no slot){
  b->row[b->n] = (const char*)r->vecs + i*r->stride;
  b->slot[b->n] = slot;
  if( r->norm2 ) b->norm2[b->n] = r->norm2[i];
  b->n++;
}

/* Rows i..end-1, whose slots follow each other, a word of bits at a time.
** Returns where it stopped because the block was full. */
static size_t block_add_range(struct flat_block *b, const struct flat_run *r,
                              const uint64_t *filter, size_t i, size_t end,
                              size_t n_max){
  while( i<end && b->n<n_max ){
    size_t slot = (size_t)r->slot_base + i;
    size_t n = vdb_min_sz(64 - slot%64, vdb_min_sz(end-i, n_max - b->n));
    uint64_t m = r->live ? r->live[slot/64] : ~(uint64_t)0;
    if( filter ) m &= filter[slot/64];
    m >>= slot%64;
    if( n<64 ) m &= ((uint64_t)1<<n) - 1;
    if( m==~(uint64_t)0 ){                     /* the usual case, faster */
      for(size_t j=0; j<64; j++) block_add(b, r, i+j, (slot_no)(slot+j));
      m = 0;
    }
    for(; m; m &= m-1){
      size_t j = (size_t)__builtin_ctzll(m);
      block_add(b, r, i+j, (slot_no)(slot+j));
    }
    i += n;
  }
  return i;
}

/* The same where slots are listed. */
static size_t block_add_listed(struct flat_block *b, const struct flat_run *r,
                               const uint64_t *filter, size_t i, size_t end,
                               size_t n_max){
  for(; i<end && b->n<n_max; i++){
    slot_no slot = r->slots[i];
    if( r->live && !vdb_bit_get(r->live, slot) ) continue;
    if( filter && !vdb_bit_get(filter, slot) ) continue;
    block_add(b, r, i, slot);
  }
  return i;
}

bool vdb_flat_next(struct flat_cursor *c, struct flat_block *b, size_t n_max){
  /* A stretch without a passing row must not keep the caller from polling. */
  const uint64_t n_look = 65536;
  const struct flat_run *r;
  size_t i, end;

  b->n = b->n_seen = 0;
  while( c->i_run<c->s->n_runs && c->i_row>=c->s->runs[c->i_run].n_rows ){
    c->i_run++;
    c->i_row = 0;
  }
  if( c->i_run>=c->s->n_runs || c->n_left==0 ) return false;
  r = &c->s->runs[c->i_run];
  b->has_norm2 = r->norm2!=NULL;
  b->row_type = r->row_type;
  end = r->n_rows;
  if( c->n_left<end - c->i_row ) end = c->i_row + (size_t)c->n_left;
  if( end - c->i_row>n_look ) end = c->i_row + n_look;
  i = r->slots ? block_add_listed(b, r, c->s->filter, c->i_row, end, n_max)
               : block_add_range(b, r, c->s->filter, c->i_row, end, n_max);
  b->n_seen = i - c->i_row;
  c->n_left -= b->n_seen;
  c->i_row = i;
  return true;
}

/* ---- Rows that are not there yet ----------------------------------------- */

int vdb_flat_open(const struct flat_search *s, const struct flat_run *run){
  return run->vecs || s->source==NULL ? VECDB_OK
                                      : s->source->open(s->source->arg, run);
}

/* Passing slots among slots lo..hi. */
static uint64_t slots_passing(const struct flat_search *s,
                              const struct flat_run *run, slot_no lo,
                              slot_no hi){
  uint64_t n = 0;
  for(size_t w=lo/64; w<=hi/64; w++){
    uint64_t m = run->live ? run->live[w] : ~(uint64_t)0;
    if( s->filter ) m &= s->filter[w];
    if( w==lo/64 ) m &= ~(uint64_t)0<<(lo%64);
    if( w==hi/64 && hi%64<63 ) m &= ((uint64_t)2<<(hi%64)) - 1;
    n += (uint64_t)__builtin_popcountll(m);
  }
  return n;
}

static bool row_passes(const struct flat_search *s,
                       const struct flat_run *run, slot_no slot){
  return (!run->live || vdb_bit_get(run->live, slot))
      && (!s->filter || vdb_bit_get(s->filter, slot));
}

/* Touch the passing rows one by one: rows are what costs. Slots that follow
** each other are looked at a word of bits at a time. */
static int run_touch_passing(const struct flat_search *s,
                             const struct flat_run *run){
  size_t lo = run->slot_base, end = lo + run->n_rows;
  int rc = VECDB_OK;
  for(size_t i=0; run->slots && i<run->n_rows; i++){
    if( row_passes(s, run, run->slots[i]) ) TRY( vdb_flat_touch(s, run, i, 1) );
  }
  for(size_t w=lo/64; run->slots==NULL && w<=(end-1)/64; w++){
    uint64_t m = run->live ? run->live[w] : ~(uint64_t)0;
    if( s->filter ) m &= s->filter[w];
    if( w==lo/64 ) m &= ~(uint64_t)0<<(lo%64);
    if( w==end/64 ) m &= ((uint64_t)1<<(end%64)) - 1;
    for(; m; m &= m-1){
      size_t slot = 64*w + (size_t)__builtin_ctzll(m);
      TRY( vdb_flat_touch(s, run, slot-lo, 1) );
    }
  }
done:
  return rc;
}

/* With few passing rows each is touched alone. */
static int run_ready(const struct flat_search *s, const struct flat_run *run){
  bool is_open = run->vecs!=NULL;
  slot_no lo = run->slot_base;
  slot_no hi = is_open ? lo+run->n_rows-1 : run->slot_last;
  uint64_t n = run->n_rows;
  int rc = VECDB_OK;
  if( n==0 ) return VECDB_OK;
  if( !is_open || run->slots==NULL ) n = slots_passing(s, run, lo, hi);
  if( n==0 ) return VECDB_OK;
  TRY( vdb_flat_open(s, run) );
  if( n>run->n_rows/8 ) return vdb_flat_touch(s, run, 0, run->n_rows);
  TRY( run_touch_passing(s, run) );
done:
  return rc;
}

int vdb_flat_ready(const struct flat_search *s, size_t first, size_t last){
  int rc = VECDB_OK;
  if( s->source==NULL ) return VECDB_OK;
  for(size_t i=first; i<last && rc==VECDB_OK; i++){
    rc = run_ready(s, &s->runs[i]);
  }
  return rc;
}

int vdb_flat_open_all(const struct flat_search *s){
  int rc = VECDB_OK;
  for(size_t i=0; i<s->n_runs; i++){
    TRY( vdb_flat_open(s, &s->runs[i]) );
    TRY( vdb_flat_touch(s, &s->runs[i], 0, s->runs[i].n_rows) );
  }
done:
  return rc;
}

bool vdb_flat_passes(const struct flat_search *s, const struct flat_run *run){
  if( run->vecs || run->n_rows==0 ) return run->n_rows>0;
  return slots_passing(s, run, run->slot_base, run->slot_last)>0;
}

/* ---- Polling ------------------------------------------------------------- */

void vdb_flat_poll_init(struct flat_poll *p, const struct flat_search *s){
  p->s = s;
  p->sz_vec = vdb_vector_bytes(s->type, s->dim);
  atomic_flag_clear(&p->is_busy);
}

int vdb_flat_poll(struct flat_poll *p, size_t *sz, size_t n){
  int is_over;
  if( p->s->progress==NULL ) return VECDB_OK;
  *sz += n;
  if( *sz<((size_t)1<<20) ) return VECDB_OK;
  *sz = 0;
  if( atomic_flag_test_and_set(&p->is_busy) ) return VECDB_OK;
  is_over = p->s->progress(p->s->progress_arg);
  atomic_flag_clear(&p->is_busy);
  return is_over ? VECDB_INTERRUPT : VECDB_OK;
}

/* ---- Picking ------------------------------------------------------------- */

static void pick_set_cut(struct flat_pick *p){
  float bound = vdb_topk_bound(&p->top);
  if( p->window.max<bound ) bound = p->window.max;
  p->cut = vdb_key_cut(p->metric, bound);
}

void vdb_flat_pick_init(struct flat_pick *p, const struct flat_search *s,
                        size_t k, struct vdb_hit *hit){
  vdb_topk_init(&p->top, k, s->tie, s->tie_arg);
  if( hit ){
    p->top.hit = hit;
    p->top.n_cap = k;
  }
  p->window.min = -INFINITY;
  p->window.max = INFINITY;
  if( s->window ) p->window = *s->window;
  p->metric = s->metric;
  pick_set_cut(p);
}

int vdb_flat_pick_add(struct flat_pick *p, float key, slot_no slot){
  float distance = vdb_key_distance(p->metric, key);
  int rc;
  if( distance<p->window.min ) return VECDB_OK;
  rc = vdb_topk_push(&p->top, distance, slot);
  if( p->top.n==p->top.k ) pick_set_cut(p);
  return rc;
}

int vdb_flat_pick_block(struct flat_pick *p, const struct flat_block *b,
                        const float *key){
  int rc = VECDB_OK;
  for(size_t i=0; i<b->n && rc==VECDB_OK; i++){
    if( key[i]<=p->cut ) rc = vdb_flat_pick_add(p, key[i], b->slot[i]);
  }
  return rc;
}

int vdb_flat_pick_merge(struct flat_pick *p, const struct vdb_hit *hit,
                        size_t n){
  int rc = VECDB_OK;
  for(size_t i=0; i<n && rc==VECDB_OK; i++){
    rc = vdb_topk_push(&p->top, hit[i].distance, hit[i].slot);
  }
  return rc;
}

/* ---- The window ---------------------------------------------------------- */

void vdb_window_init(struct flat_window *w, double min, bool is_min_open,
                     double max, bool is_max_open){
  float lo = (float)min, hi = (float)max;
  if( (double)lo<min || (is_min_open && (double)lo==min) ){
    if( lo==INFINITY ) min = NAN;              /* nothing lies above */
    lo = nextafterf(lo, INFINITY);
  }
  if( (double)hi>max || (is_max_open && (double)hi==max) ){
    if( hi==-INFINITY ) max = NAN;
    hi = nextafterf(hi, -INFINITY);
  }
  w->min = lo;
  w->max = hi;
  if( min!=min || max!=max ){
    w->min = INFINITY;
    w->max = -INFINITY;
  }
}
