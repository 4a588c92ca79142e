/* runs.c -- what a search of one vector column must look at.
**
** An open search holds: pins of the extents of row groups, a reference to the
** delta's mirror, and one to the bitmap of live slots. So neither later
** changes nor cache drops move the bytes under it. Pins cannot outlive the
** transaction: whoever ends one calls vdb_hold_end_all first, after which the
** search says ABORT.
**
** LAZY   A row group is pinned when a search first comes to a row of it that
**        passes the filter (index.h, flat_source), and vectors are verified
**        when they are about to be read: the first search of a big file costs
**        what it looks at. So it is with the mirror of the delta. Codes of a
**        group are read as a whole, and verified when it is opened.
**
** TIES   Equal distances are ordered by key. While keys ascend with slots (a
**        flag of the collection) slots do as well and no callback is needed.
**        Otherwise keys are fetched from worker threads, one at a time under
**        a mutex: while they search, the connection's own thread does nothing
**        else with the pager. Failures there are remembered and reported by
**        vdb_coll_runs_error.
*/
#include <pthread.h>

#include "util/common.h"
#include "index/flat_code.h"
#include "store/coll_int.h"

#define TIE_BLOCK  64                    /* keys fetched together */
#define TIE_CACHE  64                    /* blocks kept, by number mod 64 */

struct tie_block { uint64_t block; int64_t key[TIE_BLOCK]; };

/* The row group of a run: extents, once it has been opened. */
struct hold_group { struct seg seg; struct extent data, map, codes; };

struct coll_hold {
  struct store *st;                      /* NULL: the store is closed */
  struct coll *c;                        /* referenced */
  struct coll_hold *next;
  int v;                                 /* vector column */
  struct hold_group *group;              /* by run; the delta has none */
  size_t n_group;
  struct flat_run *run;
  size_t n_run;
  slot_no from;                          /* rows below are left out */
  struct flat_coder *coder;              /* referenced */
  struct live_map *live;
  struct delta_mirror *mirror;           /* once a row of it was wanted */
  bool is_ended;                         /* its transaction is over */
  int  rc;                               /* what went wrong in a tie */
  pthread_mutex_t lock;                  /* of all below */
  struct tie_block *tie;                 /* integer keys; NULL at first */
  struct vdb_str buf_a, buf_b;           /* text keys */
};

/* ---- Ties ---------------------------------------------------------------- */

/* Keys of a block of slots; cells of dead or absent rows are anything. */
static int tie_fill(struct coll_hold *h, uint64_t block, int64_t *key){
  struct coll *c = h->c;
  unsigned char cells[TIE_BLOCK*8];
  uint64_t lo = block*TIE_BLOCK, n = 0;
  int rc = VECDB_OK;

  memset(cells, 0, sizeof(cells));
  if( lo<c->s.delta_first ){
    n = vdb_min_sz(TIE_BLOCK, (size_t)(c->s.delta_first-lo));
    TRY( vdb_coll_roots(c) );
    if( c->root[0].cells!=0 ){
      TRY( vdb_parray_get(c->p, c->root[0].cells, lo, (size_t)n, cells) );
    }
  }
  for(uint64_t i=0; i<n; i++) key[i] = vdb_cell_int(cells+8*i);
  for(uint64_t i=n; i<TIE_BLOCK; i++) key[i] = 0;
  for(uint64_t i=n; i<TIE_BLOCK && h->mirror!=NULL; i++){
    uint64_t at = lo+i-h->mirror->first;
    if( lo+i<h->mirror->first || at>=h->mirror->n ) continue;
    key[i] = vdb_cell_int(h->mirror->meta + at*h->mirror->sz_meta +
                          c->lay.field[0].off);
  }
done:
  return rc;
}

/* Refer to the mirror, which is current. The block of keys where the delta
** begins may have been fetched for the rows before it. */
static void hold_mirror(struct coll_hold *h){
  struct tie_block *b;
  uint64_t block;

  if( h->mirror!=NULL ) return;
  h->mirror = h->c->mirror;
  h->mirror->n_ref++;
  if( h->tie==NULL ) return;
  block = h->mirror->first/TIE_BLOCK;
  b = &h->tie[block%TIE_CACHE];
  if( b->block==block ) b->block = UINT64_MAX;
}

static int tie_int(struct coll_hold *h, slot_no slot, int64_t *key){
  struct tie_block *b;
  uint64_t block = slot/TIE_BLOCK;
  int rc = VECDB_OK;

  *key = 0;
  if( slot>=h->c->s.delta_first && h->mirror==NULL ){
    rc = vdb_delta_sync(h->c);
    if( rc!=VECDB_OK ) return rc;
    hold_mirror(h);
  }
  if( h->tie==NULL ){
    h->tie = vdb_malloc_array(TIE_CACHE, sizeof(*h->tie));
    if( h->tie==NULL ) return VECDB_NOMEM;
    for(int i=0; i<TIE_CACHE; i++) h->tie[i].block = UINT64_MAX;
  }
  b = &h->tie[block%TIE_CACHE];
  if( b->block!=block ){
    b->block = UINT64_MAX;
    rc = tie_fill(h, block, b->key);
    if( rc!=VECDB_OK ) return rc;
    b->block = block;
  }
  *key = b->key[slot%TIE_BLOCK];
  return rc;
}

static int tie_compare_int(struct coll_hold *h, slot_no a, slot_no b,
                           int *cmp){
  int64_t ka, kb;
  int rc;

  TRY( tie_int(h, a, &ka) );
  TRY( tie_int(h, b, &kb) );
  *cmp = ka<kb ? -1 : ka>kb;
done:
  return rc;
}

static int tie_compare_text(struct coll_hold *h, slot_no a, slot_no b,
                            int *cmp){
  struct vdb_value va, vb;
  size_t n;
  int rc;

  TRY( vdb_coll_value(h->c, 0, a, &h->buf_a, &va) );
  TRY( vdb_coll_value(h->c, 0, b, &h->buf_b, &vb) );
  n = vdb_min_sz(va.n, vb.n);
  *cmp = n ? memcmp(va.p, vb.p, n) : 0;
  if( *cmp==0 ) *cmp = va.n<vb.n ? -1 : va.n>vb.n;
done:
  return rc;
}

/* vdb_tie_fn; from any thread of the search. */
static int tie_by_key(void *arg, slot_no a, slot_no b){
  struct coll_hold *h = arg;
  int cmp = 0;

  if( a==b ) return 0;
  pthread_mutex_lock(&h->lock);
  if( h->rc==VECDB_OK && !h->is_ended ){
    h->rc = h->c->schema->col[0].type==VECDB_INTEGER ?
            tie_compare_int(h, a, b, &cmp) : tie_compare_text(h, a, b, &cmp);
  }
  pthread_mutex_unlock(&h->lock);
  return cmp!=0 ? cmp : a<b ? -1 : 1;
}

/* ---- Opening and closing ------------------------------------------------- */

static void hold_end(struct coll_hold *h){
  for(size_t i=0; i<h->n_group; i++){
    vdb_extent_unpin(h->c->p, &h->group[i].data);
    vdb_extent_unpin(h->c->p, &h->group[i].map);
    vdb_extent_unpin(h->c->p, &h->group[i].codes);
  }
  h->n_group = 0;
  h->is_ended = true;
}

void vdb_hold_end_all(struct store *st){
  for(struct coll_hold *h=st->hold; h!=NULL; h=h->next) hold_end(h);
}

void vdb_hold_detach_all(struct store *st){
  while( st->hold!=NULL ){
    struct coll_hold *h = st->hold;
    hold_end(h);
    st->hold = h->next;
    h->next = NULL;
    h->st = NULL;
    vdb_store_coll_close(h->c);
    h->c = NULL;
  }
}

static void hold_destroy(struct coll_hold *h){
  if( h==NULL ) return;
  if( h->c!=NULL ) hold_end(h);
  if( h->st!=NULL ){
    struct coll_hold **pp = &h->st->hold;
    while( *pp!=NULL && *pp!=h ) pp = &(*pp)->next;
    if( *pp!=NULL ) *pp = h->next;
  }
  vdb_store_coll_close(h->c);
  vdb_live_unref(h->live);
  vdb_delta_unref(h->mirror);
  pthread_mutex_destroy(&h->lock);
  vdb_str_clear(&h->buf_a);
  vdb_str_clear(&h->buf_b);
  vdb_flat_coder_unref(h->coder);
  vdb_free(h->group);
  vdb_free(h->run);
  vdb_free(h->tie);
  vdb_free(h);
}

static int hold_create(struct coll *c, struct coll_hold **out){
  struct coll_hold *h = vdb_calloc(1, sizeof(*h));

  *out = NULL;
  if( h==NULL ) return VECDB_NOMEM;
  pthread_mutex_init(&h->lock, NULL);
  h->st = c->st;
  h->c = c;
  c->n_ref++;
  h->next = c->st->hold;
  c->st->hold = h;
  *out = h;
  return VECDB_OK;
}

/* Leave out the rows of a run below `from`; slots ascend within it. Codes are
** by units of rows, so what is cut does without. */
static void run_trim(struct flat_run *run, slot_no from){
  uint32_t lo = 0, hi = run->n_rows;

  if( run->slots==NULL ){
    lo = from>run->slot_base ? from-run->slot_base : 0;
    run->slot_base += lo;
  }else{
    while( lo<hi ){
      uint32_t mid = lo+(hi-lo)/2;
      if( run->slots[mid]<from ) lo = mid+1;
      else hi = mid;
    }
    run->slots += lo;
  }
  if( lo==0 ) return;
  run->vecs = (const char*)run->vecs + (size_t)lo*run->stride;
  run->n_rows -= lo;
  run->codes = NULL;
  run->n_codes = 0;
}

/* Complete the run of the delta. Its rows are those of the opening, unless the
** transaction itself has sealed them meanwhile. */
static int delta_open(struct coll_hold *h, struct flat_run *run){
  struct coll *c = h->c;
  int rc;

  if( h->is_ended ) return VECDB_ABORT;
  TRY( vdb_delta_sync(c) );
  if( c->mirror->first!=run->slot_base || c->mirror->n<run->n_rows ){
    return VECDB_ABORT;
  }
  pthread_mutex_lock(&h->lock);
  hold_mirror(h);
  pthread_mutex_unlock(&h->lock);
  run->vecs = h->mirror->vec[h->v];
done:
  return rc;
}

/* Pin a group and complete its run. */
static int group_open(struct coll_hold *h, size_t i){
  struct hold_group *g = &h->group[i];
  struct flat_run *run = &h->run[i];
  const slot_no *slots;
  int rc;

  if( h->is_ended ) return VECDB_ABORT;
  TRY( vdb_seg_pin_raw(h->c, h->v, &g->seg, &g->data, &g->map, &slots) );
  if( run->n_codes>0 ) TRY( vdb_codes_pin(h->c, h->v, &g->seg, &g->codes) );
  run->vecs = g->data.data;
  run->codes = g->codes.data;
  run->slots = slots;
  run_trim(run, h->from);
done:
  if( rc!=VECDB_OK ){                  /* it may be opened again */
    vdb_extent_unpin(h->c->p, &g->data);
    vdb_extent_unpin(h->c->p, &g->map);
  }
  return rc;
}

/* flat_source.open */
static int hold_open(void *arg, const struct flat_run *run){
  struct coll_hold *h = arg;
  size_t i = (size_t)(run-h->run);

  return i<h->n_group ? group_open(h, i) : delta_open(h, &h->run[i]);
}

/* flat_source.touch; runs may have been trimmed at their beginning. */
static int hold_touch(void *arg, const struct flat_run *run, size_t i,
                      size_t n){
  struct coll_hold *h = arg;
  size_t at = (size_t)(run-h->run), off;

  if( at>=h->n_group ) return h->is_ended ? VECDB_ABORT : VECDB_OK;
  off = (size_t)((const unsigned char*)run->vecs - h->group[at].data.data);
  return vdb_extent_verify(h->c->p, &h->group[at].data, off + i*run->stride,
                           n*run->stride);
}

/* One run for every row group with rows from h->from on. A group that begins
** before has to be opened at once: how many rows are left follows from it. */
static int hold_groups(struct coll_hold *h){
  struct coll *c = h->c;
  struct seg_list *list;
  int rc;

  TRY( vdb_segs_load(c) );
  list = &c->segs[h->v];
  h->coder = flat_coder_ref(list->coder);
  h->group = vdb_calloc(list->n+1, sizeof(*h->group));
  h->run = vdb_calloc(list->n+1, sizeof(*h->run));
  if( h->group==NULL || h->run==NULL ) TRY( VECDB_NOMEM );
  for(size_t i=0; i<list->n; i++){
    const struct seg *g = &list->seg[i];
    struct flat_run *run = &h->run[h->n_group];
    if( g->last<h->from ) continue;
    h->group[h->n_group].seg = *g;
    run->stride = vdb_seg_row_bytes(c, h->v, g);
    run->row_type = vdb_seg_row_type(g);
    run->n_rows = g->n_row;
    run->slot_base = g->first;
    run->slot_last = g->last;
    run->live = h->live->word;
    /* Whatever the file says, bytes have no codes: they are read as floats. */
    if( g->codes!=0 && g->form==FORM_PLAIN ) run->n_codes = g->n_row;
    h->n_group++;
    if( g->first<h->from ) TRY( group_open(h, h->n_group-1) );
  }
  h->n_run = h->n_group;
done:
  return rc;
}

/* The delta as one more run. */
static void hold_add_delta(struct coll_hold *h){
  struct coll *c = h->c;
  struct flat_run *run = &h->run[h->n_run];

  if( coll_n_delta(c)==0 ) return;
  run->stride = c->schema->col[c->vec_col[h->v]].sz_vec;
  run->n_rows = coll_n_delta(c);
  run->slot_base = c->s.delta_first;
  run->slot_last = c->s.next_slot-1;
  run->live = h->live->word;
  h->n_run++;
}

int vdb_coll_runs_open_rest(struct coll *c, int column, slot_no from,
                            struct coll_runs *out){
  struct coll_hold *h = NULL;
  int v, rc;

  memset(out, 0, sizeof(*out));
  TRY( vdb_coll_refresh(c) );
  v = vdb_vector_number(c, column);
  if( v<0 ){
    TRY( VDB_INTERNAL(vdb_coll_err(c), "column %d holds no vectors", column) );
  }
  TRY( hold_create(c, &h) );
  h->v = v;
  h->from = from;
  TRY( vdb_live_ref(c, &h->live) );
  TRY( hold_groups(h) );
  hold_add_delta(h);
  out->run = h->run;
  out->n_run = h->n_run;
  out->source.open = hold_open;
  out->source.touch = hold_touch;
  out->source.arg = h;
  out->coder = h->coder;
  out->live = h->live->word;
  out->n_slot = c->s.next_slot;
  out->n_row = vdb_coll_n_row(c);
  out->tie = c->s.is_ordered ? NULL : tie_by_key;
  out->tie_arg = h;
  out->hold = h;
  out->is_rest = from>0;
  h = NULL;
done:
  hold_destroy(h);
  if( rc!=VECDB_OK ) memset(out, 0, sizeof(*out));
  return rc;
}

int vdb_coll_runs_open(struct coll *c, int column, struct coll_runs *out){
  return vdb_coll_runs_open_rest(c, column, 0, out);
}

int vdb_coll_runs_ready(struct coll_runs *r){
  struct coll_hold *h = r->hold;
  int rc = VECDB_OK;

  for(size_t i=0; i<h->n_group; i++){
    if( h->run[i].vecs==NULL ) TRY( group_open(h, i) );
    TRY( hold_touch(h, &h->run[i], 0, h->run[i].n_rows) );
  }
  if( h->n_run>h->n_group && h->run[h->n_group].vecs==NULL ){
    TRY( delta_open(h, &h->run[h->n_group]) );
  }
done:
  return rc;
}

int vdb_coll_runs_error(const struct coll_runs *r){
  const struct coll_hold *h = r->hold;

  if( h==NULL || h->is_ended ) return VECDB_ABORT;
  return h->rc;
}

void vdb_coll_runs_close(struct coll_runs *r){
  hold_destroy(r->hold);
  memset(r, 0, sizeof(*r));
}
