/* delta.c -- the newest rows: appended as whole records, mirrored in memory.
**
** A record holds a row's key, metadata and vectors (cell.c), so that an
** insert touches one data page of the array, its directory page, a leaf of
** the pk map, the collection page and the root: five frames. Readers keep a
** mirror, the same bytes as one contiguous array per vector column, which
** grows as their snapshot moves on; vectors of a slot never change, changed
** metadata is counted by DELTAEDITS.
**
** SEAL   turns the delta into row groups and column runs, when it holds
**        vdb_coll_delta_limit() rows: max(4096, live/32) or merge_rows=,
**        never more than 16 MiB. Slots stay. A group whose dead rows are at
**        most a quarter keeps them and needs no slot map; otherwise only its
**        live rows are written, with a map. The pages of the delta stay: the
**        next rows overwrite them, which spares each insert the directory
**        page and the free list. optimize by hand gives them back.
*/
#include "util/common.h"
#include "store/coll_int.h"

#define DELTA_AHEAD_MAX  16u             /* pages made before they are needed */

int vdb_delta_get(struct coll *c, slot_no slot, unsigned char *rec){
  return vdb_parray_get(c->p, c->s.delta, slot - c->s.delta_first, 1, rec);
}

/* ---- The mirror ---------------------------------------------------------- */

void vdb_delta_unref(struct delta_mirror *m){
  if( m==NULL || --m->n_ref>0 ) return;
  for(int v=0; m->vec!=NULL && v<m->n_vec; v++) vdb_free_aligned(m->vec[v]);
  vdb_free(m->vec);
  vdb_free(m->meta);
  vdb_free(m);
}

static bool mirror_fits(const struct coll *c){
  return c->mirror!=NULL && c->mirror->first==c->s.delta_first &&
         c->mirror->edits==c->s.delta_edits;
}

bool vdb_delta_is_mirrored(const struct coll *c, slot_no slot){
  return mirror_fits(c) && slot>=c->mirror->first &&
         slot-c->mirror->first < c->mirror->n;
}

static int mirror_create(const struct coll *c, uint32_t n_cap,
                         struct delta_mirror **out){
  struct delta_mirror *m = vdb_calloc(1, sizeof(*m));
  int rc = VECDB_OK;

  *out = NULL;
  if( m==NULL ) return VECDB_NOMEM;
  m->n_ref = 1;
  m->first = c->s.delta_first;
  m->edits = c->s.delta_edits;
  m->n_cap = n_cap;
  m->sz_meta = c->lay.sz_meta;
  m->n_vec = c->schema->n_vector;
  m->meta = vdb_malloc_array(n_cap, m->sz_meta);
  m->vec = vdb_calloc((size_t)m->n_vec, sizeof(*m->vec));
  if( m->meta==NULL || m->vec==NULL ) TRY( VECDB_NOMEM );
  for(int v=0; v<m->n_vec; v++){
    size_t sz = c->schema->col[c->vec_col[v]].sz_vec;
    if( !vdb_mul_sz(sz, n_cap, &sz) ) TRY( VECDB_NOMEM );
    m->vec[v] = vdb_malloc_aligned(sz);
    if( m->vec[v]==NULL ) TRY( VECDB_NOMEM );
  }
  *out = m;
  m = NULL;
done:
  vdb_delta_unref(m);
  return rc;
}

static void mirror_put(const struct coll *c, struct delta_mirror *m,
                       uint32_t i, const unsigned char *rec){
  memcpy(m->meta + (size_t)i*m->sz_meta, rec, m->sz_meta);
  for(int v=0; v<m->n_vec; v++){
    const struct coll_field *f = &c->lay.field[c->vec_col[v]];
    memcpy(m->vec[v] + (size_t)i*f->width, rec+f->off, f->width);
  }
}

/* Room for n rows: a larger mirror with the rows of the old one. */
static int mirror_grow(struct coll *c, uint32_t n){
  struct delta_mirror *old = c->mirror, *m = NULL;
  uint32_t n_cap = (1u<<20)/c->lay.sz_record;    /* begin small: 1 MiB */
  int rc;

  n_cap = n_cap<1 ? 1 : n_cap>64 ? 64 : n_cap;
  while( n_cap<n ) n_cap *= 2;
  rc = mirror_create(c, n_cap, &m);
  if( rc!=VECDB_OK ) return rc;
  if( old!=NULL ){
    m->n = old->n;
    memcpy(m->meta, old->meta, (size_t)old->n*m->sz_meta);
    for(int v=0; v<m->n_vec; v++){
      memcpy(m->vec[v], old->vec[v],
             (size_t)old->n * c->schema->col[c->vec_col[v]].sz_vec);
    }
  }
  vdb_delta_unref(old);
  c->mirror = m;
  return VECDB_OK;
}

static int mirror_rows(void *arg, uint64_t i, size_t n,
                       const unsigned char *data){
  struct coll *c = arg;

  for(size_t k=0; k<n; k++){
    const unsigned char *rec = data ? data + k*c->lay.sz_record : c->record;
    mirror_put(c, c->mirror, (uint32_t)(i+k), rec);
  }
  return VECDB_OK;
}

int vdb_delta_sync(struct coll *c){
  uint32_t n = coll_n_delta(c);
  int rc = VECDB_OK;

  if( !mirror_fits(c) ){
    vdb_delta_unref(c->mirror);
    c->mirror = NULL;
  }
  if( c->mirror==NULL || n>c->mirror->n_cap ) TRY( mirror_grow(c, n) );
  if( n>c->mirror->n ){
    memset(c->record, 0, c->lay.sz_record);      /* what absent pages hold */
    TRY( vdb_parray_scan(c->p, c->s.delta, c->mirror->n, n, mirror_rows, c) );
    c->mirror->n = n;
  }
done:
  return rc;
}

/* ---- Changes ------------------------------------------------------------- */

/* A page of the array is missing (no data), where record i begins one. */
static int note_absent(void *arg, uint64_t i, size_t n,
                       const unsigned char *data){
  VDB_UNUSED(i);
  VDB_UNUSED(n);
  *(bool*)arg = data==NULL;
  return VECDB_OK;
}

/* A new page costs a commit two frames more, of the root page and of the
** array's directory. So when record i needs one, an eighth as many as there
** are come with it; they hold copies of the record, which mean nothing (C1). */
static int delta_extend(struct coll *c, uint32_t i, const unsigned char *rec){
  uint32_t content = vdb_pager_usable(c->p) - PARRAYDATA_SIZE;
  uint32_t per = content/c->lay.sz_record, n;
  uint64_t end = vdb_coll_delta_limit(c);
  bool is_absent = false;
  int rc = VECDB_OK;

  if( per==0 || i%per!=0 ) return VECDB_OK;
  n = i/per/8;
  if( n>DELTA_AHEAD_MAX ) n = DELTA_AHEAD_MAX;
  if( n==0 ) return VECDB_OK;
  TRY( vdb_parray_scan(c->p, c->s.delta, i, (uint64_t)i+1, note_absent,
                       &is_absent) );
  for(uint32_t k=1; is_absent && k<=n && i+(uint64_t)k*per<end; k++){
    TRY( vdb_parray_put(c->p, c->s.delta, i+(uint64_t)k*per, 1, rec) );
  }
done:
  return rc;
}

int vdb_delta_append(struct coll *c, const unsigned char *rec, slot_no *slot){
  uint32_t i = coll_n_delta(c);
  int rc;

  *slot = c->s.next_slot;
  rc = delta_extend(c, i, rec);
  if( rc==VECDB_OK ) rc = vdb_parray_put(c->p, c->s.delta, i, 1, rec);
  if( rc!=VECDB_OK ) return rc;
  if( mirror_fits(c) && c->mirror->n==i && i<c->mirror->n_cap ){
    mirror_put(c, c->mirror, i, rec);
    c->mirror->n++;
  }
  c->s.next_slot++;
  vdb_live_set(c, *slot, true);
  return VECDB_OK;
}

int vdb_delta_put(struct coll *c, slot_no slot, const unsigned char *rec){
  uint32_t i = slot - c->s.delta_first;
  int rc = vdb_parray_put(c->p, c->s.delta, i, 1, rec);

  if( rc!=VECDB_OK ) return rc;
  if( mirror_fits(c) ){
    if( i<c->mirror->n ) mirror_put(c, c->mirror, i, rec);
    c->mirror->edits++;
  }
  c->s.delta_edits++;
  return VECDB_OK;
}

/* ---- Sealing ------------------------------------------------------------- */

/* Rows lo..hi-1 of the delta (numbers of slots) as one group of column v. */
static int seal_group(struct coll *c, int v, const uint64_t *live,
                      slot_no lo, slot_no hi){
  size_t sz = c->schema->col[c->vec_col[v]].sz_vec;
  const unsigned char *rows = c->mirror->vec[v];
  slot_no first = c->s.delta_first, *slots = NULL;
  unsigned char *packed = NULL;
  uint32_t n = 0;
  int rc = VECDB_OK;

  while( lo<hi && !vdb_bit_get(live, lo) ) lo++;
  while( lo<hi && !vdb_bit_get(live, hi-1) ) hi--;
  for(slot_no s=lo; s<hi; s++) n += vdb_bit_get(live, s);
  if( n==0 ) return VECDB_OK;
  if( (hi-lo-n)<=(hi-lo)/4 ){
    return vdb_seg_write(c, v, lo, hi-lo, NULL, rows + (size_t)(lo-first)*sz);
  }
  slots = vdb_malloc_array(n, sizeof(*slots));
  packed = vdb_malloc_array(n, sz);
  if( slots==NULL || packed==NULL ) TRY( VECDB_NOMEM );
  n = 0;
  for(slot_no s=lo; s<hi; s++){
    if( !vdb_bit_get(live, s) ) continue;
    memcpy(packed + n*sz, rows + (size_t)(s-first)*sz, sz);
    slots[n++] = s;
  }
  TRY( vdb_seg_write(c, v, lo, n, slots, packed) );
done:
  vdb_free(slots);
  vdb_free(packed);
  return rc;
}

static int seal_vectors(struct coll *c, const uint64_t *live){
  int rc = VECDB_OK;

  for(int v=0; v<c->schema->n_vector; v++){
    uint32_t n_max = vdb_seg_capacity(c, v);
    for(uint64_t lo=c->s.delta_first; lo<c->s.next_slot; lo+=n_max){
      slot_no hi = (slot_no)vdb_min_sz((size_t)(lo+n_max), c->s.next_slot);
      TRY( seal_group(c, v, live, (slot_no)lo, hi) );
    }
  }
done:
  return rc;
}

static int seal_columns(struct coll *c){
  uint32_t n = coll_n_delta(c);
  unsigned char *cells = NULL;
  uint64_t *nulls = NULL;
  int rc = VECDB_OK;

  cells = vdb_malloc_array(n, TEXTCELL_SIZE);
  nulls = vdb_calloc(vdb_bitset_words(n), sizeof(*nulls));
  if( cells==NULL || nulls==NULL ) TRY( VECDB_NOMEM );
  for(int i=0; i<c->schema->n_col; i++){
    const struct coll_field *f = &c->lay.field[i];
    if( f->width==0 || c->schema->col[i].role==VECDB_ROLE_VECTOR ) continue;
    memset(nulls, 0, vdb_bitset_words(n)*sizeof(*nulls));
    for(uint32_t r=0; r<n; r++){
      const unsigned char *rec = c->mirror->meta + (size_t)r*c->lay.sz_meta;
      memcpy(cells + (size_t)r*f->width, rec+f->off, f->width);
      if( vdb_record_is_null(c, rec, i) ) vdb_bit_set(nulls, r);
    }
    TRY( vdb_column_put(c, i, c->s.delta_first, n, cells, nulls) );
  }
done:
  vdb_free(cells);
  vdb_free(nulls);
  return rc;
}

/* Bits of the delta move from DEAD to LIVE, inverted. */
static int seal_bits(struct coll *c, const uint64_t *live){
  slot_no lo = c->s.delta_first;
  uint32_t n = coll_n_delta(c);
  uint64_t *bits;
  int rc = VECDB_OK;

  bits = vdb_calloc(vdb_bitset_words(n), sizeof(*bits));
  if( bits==NULL ) return VECDB_NOMEM;
  for(uint32_t i=0; i<n; i++){
    if( vdb_bit_get(live, (size_t)lo+i) ) vdb_bit_set(bits, i);
  }
  TRY( vdb_bits_put(c->p, c->s.live, lo, n, bits) );
  if( c->s.n_dead_delta>0 ){
    memset(bits, 0, vdb_bitset_words(n)*sizeof(*bits));
    TRY( vdb_bits_put(c->p, c->s.dead, lo, n, bits) );
    if( lo/64 < c->s.next_slot/64 ){
      TRY( vdb_parray_clear(c->p, c->s.dead, lo/64, c->s.next_slot/64) );
    }
  }
done:
  vdb_free(bits);
  return rc;
}

int vdb_delta_seal(struct coll *c){
  uint32_t n = coll_n_delta(c), n_live;
  struct live_map *live = NULL;
  int rc = VECDB_OK;

  if( n==0 ) return VECDB_OK;
  n_live = n - c->s.n_dead_delta;
  TRY( vdb_live_ref(c, &live) );
  TRY( vdb_segs_load(c) );
  vdb_coll_change_begin(c);
  if( n_live>0 ){
    TRY( vdb_delta_sync(c) );
    TRY( seal_columns(c) );
    TRY( seal_vectors(c, live->word) );
  }
  TRY( seal_bits(c, live->word) );
  vdb_delta_unref(c->mirror);
  c->mirror = NULL;
  c->s.delta_first = c->s.next_slot;
  c->s.n_live_sealed += n_live;
  c->s.n_dead_delta = 0;
  TRY( vdb_coll_state_write(c) );
  c->live_version = c->s.version;                /* the same rows live */
done:
  vdb_live_unref(live);
  return rc;
}
