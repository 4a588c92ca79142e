/* row.c -- one row at a time: insert, update, delete, find, read.
**
** insert   one record appended to the delta, one entry in the pk map, heap
**          entries for long texts and auxiliary columns
** update   metadata, in place; of a vector: the row moves to a new slot (a
**          record in the delta), the old one dies; of the key: the slot stays
** delete   the slot's bit, the heap entries, the entry of the pk map
**
** Everything that can be refused is checked before vdb_coll_change_begin.
*/
#include "util/common.h"
#include "store/coll_int.h"

/* ---- Keys ---------------------------------------------------------------- */

int vdb_key_encode(struct coll *c, const struct vdb_value *v,
                   struct coll_key *out){
  if( v->type!=c->schema->col[0].type ) return VECDB_CONSTRAINT_TYPE;
  if( v->type==VECDB_INTEGER ){
    put_key_i64(out->b, v->i);
    out->n = 8;
    return VECDB_OK;
  }
  if( v->n>BTREE_KEY_MAX ) return VECDB_TOOBIG;
  if( v->n>0 ) memcpy(out->b, v->p, v->n);
  out->n = v->n;
  return VECDB_OK;
}

/* The key in words, for messages. */
static const char *key_text(struct coll *c, const struct vdb_value *v,
                            char *buf, size_t sz){
  struct vdb_str s = VDB_STR_INIT;

  if( c->schema->col[0].type==VECDB_INTEGER ){
    vdb_str_addf(&s, "%lld", (long long)v->i);
  }else{
    vdb_str_addf(&s, "\"%.*s\"", (int)vdb_min_sz(v->n, 60),
                 v->n ? (const char*)v->p : "");
  }
  buf[0] = 0;
  if( s.rc==VECDB_OK && s.n<sz ) memcpy(buf, s.z, s.n+1);
  vdb_str_clear(&s);
  return buf;
}

int vdb_key_fail(struct coll *c, int rc, const struct vdb_value *v){
  char key[80];

  key_text(c, v, key, sizeof(key));
  switch( rc ){
    case VECDB_TOOBIG:
      return vdb_error(vdb_coll_err(c), rc, "key of collection \"%s\" has "
          "%zu bytes, at most %d are allowed", c->name, v->n, BTREE_KEY_MAX);
    case VECDB_CONSTRAINT_PK:
      return vdb_error(vdb_coll_err(c), rc,
          "collection \"%s\" already has a row with key %s", c->name, key);
    default:
      return vdb_error(vdb_coll_err(c), VECDB_NOTFOUND,
          "collection \"%s\" has no row with key %s", c->name, key);
  }
}

int vdb_pk_get(struct coll *c, const struct coll_key *k, slot_no *slot){
  struct vdb_str val = VDB_STR_INIT;
  int rc;

  *slot = SLOT_NONE;
  rc = vdb_btree_get(c->p, c->s.pk, k->b, k->n, &val);
  if( rc==VECDB_OK && val.n!=4 ){
    rc = COLL_CORRUPT(c, "an entry of the key map has a wrong size");
  }
  if( rc==VECDB_OK ){
    *slot = get_u32(val.z);
    if( *slot>=c->s.next_slot ){
      rc = COLL_CORRUPT(c, "the key map names a slot that is not there");
    }
  }
  vdb_str_clear(&val);
  return rc;
}

int vdb_pk_put(struct coll *c, const struct coll_key *k, slot_no slot,
               enum btree_put_mode mode){
  unsigned char val[4];

  put_u32(val, slot);
  return vdb_btree_put(c->p, c->s.pk, k->b, k->n, val, sizeof(val), mode);
}

int vdb_coll_find(struct coll *c, const struct vdb_value *key, slot_no *out){
  struct coll_key k;
  int rc;

  *out = SLOT_NONE;
  rc = vdb_coll_refresh(c);
  if( rc!=VECDB_OK ) return rc;
  if( vdb_key_encode(c, key, &k)!=VECDB_OK ) return VECDB_NOTFOUND;
  return vdb_pk_get(c, &k, out);
}

/* ---- Reading ------------------------------------------------------------- */

static int slot_check(struct coll *c, int column, slot_no slot){
  if( slot<c->s.next_slot && column>=0 && column<c->schema->n_col ){
    return VECDB_OK;
  }
  return VDB_INTERNAL(vdb_coll_err(c), "slot %u, column %d of \"%s\"", slot,
                      column, c->name);
}

/* Cell and NULL bit of a scalar column. */
static int scalar_load(struct coll *c, int column, slot_no slot,
                       unsigned char *cell, bool *is_null){
  const struct coll_field *f = &c->lay.field[column];
  const unsigned char *rec = c->record;
  int rc = VECDB_OK;

  if( slot<c->s.delta_first ){
    return vdb_column_get(c, column, slot, cell, is_null);
  }
  if( vdb_delta_is_mirrored(c, slot) ){
    rec = c->mirror->meta + (size_t)(slot-c->mirror->first)*c->lay.sz_meta;
  }else{
    rc = vdb_delta_get(c, slot, c->record);
  }
  memcpy(cell, rec+f->off, f->width);
  *is_null = vdb_record_is_null(c, rec, column);
  return rc;
}

static int vector_load(struct coll *c, int column, slot_no slot,
                       unsigned char *out){
  const struct coll_field *f = &c->lay.field[column];
  int v = vdb_vector_number(c, column), rc;

  if( slot<c->s.delta_first ) return vdb_seg_vector(c, v, slot, out);
  if( vdb_delta_is_mirrored(c, slot) ){
    memcpy(out, c->mirror->vec[v] +
           (size_t)(slot-c->mirror->first)*f->width, f->width);
    return VECDB_OK;
  }
  rc = vdb_delta_get(c, slot, c->record);
  memcpy(out, c->record+f->off, f->width);
  return rc;
}

/* An auxiliary value: type byte and bytes; no entry is NULL. */
static int aux_load(struct coll *c, int column, slot_no slot,
                    struct vdb_str *buf, struct vdb_value *out){
  int rc = vdb_heap_get(c, slot, column, buf);

  memset(out, 0, sizeof(*out));
  out->type = VECDB_NULL;
  if( rc!=VECDB_OK ) return rc==VECDB_NOTFOUND ? VECDB_OK : rc;
  if( buf->n<1 || buf->z[0]!=c->schema->col[column].type ){
    return COLL_CORRUPT(c, "an auxiliary value has a wrong type");
  }
  out->type = buf->z[0];
  out->p = buf->z+1;
  out->n = buf->n-1;
  if( out->type!=VECDB_INTEGER && out->type!=VECDB_REAL ) return VECDB_OK;
  if( out->n!=8 ) return COLL_CORRUPT(c, "an auxiliary number is cut off");
  if( out->type==VECDB_INTEGER ) out->i = vdb_cell_int((const void*)out->p);
  else out->r = vdb_cell_real((const void*)out->p);
  return VECDB_OK;
}

int vdb_coll_value(struct coll *c, int column, slot_no slot,
                   struct vdb_str *buf, struct vdb_value *out){
  unsigned char cell[TEXTCELL_SIZE];
  const struct schema_column *col;
  bool is_null = false;
  int rc;

  memset(out, 0, sizeof(*out));
  vdb_str_truncate(buf, 0);
  TRY( vdb_coll_refresh(c) );
  TRY( slot_check(c, column, slot) );
  col = &c->schema->col[column];
  if( col->role==VECDB_ROLE_AUX ) return aux_load(c, column, slot, buf, out);
  if( col->role!=VECDB_ROLE_VECTOR ){
    TRY( scalar_load(c, column, slot, cell, &is_null) );
    return vdb_cell_decode(c, column, slot, cell, is_null, buf, out);
  }
  for(uint32_t n=col->sz_vec; n>0; ){            /* room, without a copy */
    static const char zero[256];
    size_t m = vdb_min_sz(n, sizeof(zero));
    vdb_str_add(buf, zero, m);
    n -= (uint32_t)m;
  }
  TRY( vdb_str_rc(buf) );
  TRY( vector_load(c, column, slot, (unsigned char*)buf->z) );
  out->type = VECDB_VECTOR;
  out->p = buf->z;
  out->n = buf->n;
done:
  return rc;
}

#define KEYS_MAX  32                   /* looked up at once */

static int keys_gather(struct coll *c, const struct vdb_hit *hit, size_t n,
                       int64_t *key){
  unsigned char cell[KEYS_MAX*8];
  uint32_t at[KEYS_MAX];
  int rc;

  for(size_t i=0; i<n; i++) at[i] = hit[i].slot;
  TRY( vdb_coll_roots(c) );
  if( c->root[0].cells==0 ){
    TRY( COLL_CORRUPT(c, "a column of a sealed row is missing") );
  }
  TRY( vdb_parray_gather(c->p, c->root[0].cells, at, n, cell) );
  for(size_t i=0; i<n; i++) key[i] = vdb_cell_int(cell + 8*i);
done:
  return rc;
}

int vdb_coll_keys(struct coll *c, const struct vdb_hit *hit, size_t n,
                  int64_t *key){
  struct vdb_str buf = VDB_STR_INIT;
  struct vdb_value v;
  size_t m = 0;
  int rc;

  TRY( vdb_coll_refresh(c) );
  for(size_t i=0; i<n; i+=m){
    for(m=0; m<KEYS_MAX && i+m<n && hit[i+m].slot<c->s.delta_first; ) m++;
    if( m>0 ){
      TRY( keys_gather(c, hit+i, m, key+i) );
    }else{
      TRY( vdb_coll_value(c, 0, hit[i].slot, &buf, &v) );
      key[i] = v.i;
      m = 1;
    }
  }
done:
  vdb_str_clear(&buf);
  return rc;
}

int vdb_record_load(struct coll *c, slot_no slot, unsigned char *rec){
  unsigned char cell[TEXTCELL_SIZE];
  bool is_null;
  int rc = VECDB_OK;

  if( slot>=c->s.delta_first ) return vdb_delta_get(c, slot, rec);
  memset(rec, 0, c->lay.sz_record);
  for(int i=0; i<c->schema->n_col; i++){
    const struct coll_field *f = &c->lay.field[i];
    if( f->width==0 ) continue;
    if( c->schema->col[i].role==VECDB_ROLE_VECTOR ){
      TRY( vector_load(c, i, slot, rec+f->off) );
      continue;
    }
    TRY( vdb_column_get(c, i, slot, cell, &is_null) );
    memcpy(rec+f->off, cell, f->width);
    if( is_null && f->i_null>=0 ){
      rec[f->i_null/8] |= (unsigned char)(1u << (f->i_null%8));
    }
  }
done:
  return rc;
}

int vdb_key_of_slot(struct coll *c, slot_no slot, struct coll_key *out){
  struct vdb_str buf = VDB_STR_INIT;
  struct vdb_value v;
  int rc;

  TRY( vdb_coll_value(c, 0, slot, &buf, &v) );
  rc = vdb_key_encode(c, &v, out);
  if( rc!=VECDB_OK ) rc = COLL_CORRUPT(c, "a row has an impossible key");
done:
  vdb_str_clear(&buf);
  return rc;
}

/* ---- Insert -------------------------------------------------------------- */

int vdb_row_check(struct coll *c, const struct vdb_value *row,
                  struct vdb_value *key){
  int rc = VECDB_OK;

  *key = row[0];
  if( key->type==VALUE_UNSET ) key->type = VECDB_NULL;
  if( key->type==VECDB_NULL && c->schema->col[0].type==VECDB_INTEGER ){
    key->type = VECDB_INTEGER;
    key->i = c->s.has_max_key ? c->s.max_key : 0;
    if( key->i==INT64_MAX ){
      TRY( vdb_error(vdb_coll_err(c), VECDB_FULL,
          "no key is left in collection \"%s\": %lld has been used; give the "
          "key yourself", c->name, (long long)INT64_MAX) );
    }
    key->i++;
  }
  TRY( vdb_value_check(c, 0, key) );
  for(int i=1; i<c->schema->n_col; i++){
    struct vdb_value v = row[i];
    if( v.type==VALUE_UNSET ) v.type = VECDB_NULL;
    TRY( vdb_value_check(c, i, &v) );
  }
done:
  return rc;
}

int vdb_slot_left(struct coll *c){
  if( c->s.next_slot<=SLOT_MAX ) return VECDB_OK;
  return vdb_error(vdb_coll_err(c), VECDB_FULL,
      "collection \"%s\" has used all %u slots; vacuum gives them back",
      c->name, SLOT_MAX+1);
}

int vdb_row_kill(struct coll *c, slot_no slot){
  int rc;

  if( slot>=c->s.delta_first ){
    rc = vdb_bits_set_one(c->p, c->s.dead, slot, true);
    c->s.n_dead_delta++;
  }else{
    rc = vdb_bits_set_one(c->p, c->s.live, slot, false);
    c->s.n_live_sealed--;
  }
  vdb_live_set(c, slot, false);
  return rc==VECDB_OK ? vdb_heap_drop_row(c, slot) : rc;
}

/* Heap entries of the columns that are given. */
static int heap_put_row(struct coll *c, slot_no slot,
                        const struct vdb_value *row,
                        const struct vdb_value *key){
  int rc = VECDB_OK;

  for(int i=0; i<c->schema->n_col; i++){
    const struct vdb_value *v = i==0 ? key : &row[i];
    if( vdb_heap_needed(c, i, v) ) TRY( vdb_heap_set(c, slot, i, v) );
  }
done:
  return rc;
}

/* A key was used: the greatest one, and whether keys ascend with slots. */
void vdb_key_note(struct coll *c, const struct vdb_value *key){
  uint64_t n_live = (uint64_t)c->s.n_live_sealed + coll_n_delta(c) -
                    c->s.n_dead_delta;

  if( key->type!=VECDB_INTEGER ){
    c->s.is_ordered = false;
    return;
  }
  if( n_live==0 ) c->s.is_ordered = true;
  else if( !c->s.has_max_key || key->i<=c->s.max_key ) c->s.is_ordered = false;
  if( !c->s.has_max_key || key->i>c->s.max_key ) c->s.max_key = key->i;
  c->s.has_max_key = true;
}

static int seal_if_full(struct coll *c){
  if( coll_n_delta(c)<vdb_coll_delta_limit(c) ) return VECDB_OK;
  return vdb_delta_seal(c);
}

/* All checks are done; old is the row to replace, or SLOT_NONE. */
static int insert_row(struct coll *c, const struct vdb_value *row,
                      const struct vdb_value *key, const struct coll_key *k,
                      slot_no old){
  slot_no slot;
  int rc = VECDB_OK;

  vdb_coll_change_begin(c);
  if( old!=SLOT_NONE ) TRY( vdb_row_kill(c, old) );
  vdb_key_note(c, key);
  memset(c->record, 0, c->lay.sz_record);
  vdb_record_set(c, c->record, 0, key);
  for(int i=1; i<c->schema->n_col; i++){
    struct vdb_value v = row[i];
    if( v.type==VALUE_UNSET ) v.type = VECDB_NULL;
    vdb_record_set(c, c->record, i, &v);
  }
  TRY( vdb_delta_append(c, c->record, &slot) );
  TRY( heap_put_row(c, slot, row, key) );
  TRY( vdb_pk_put(c, k, slot, BTREE_UPSERT) );
  TRY( vdb_coll_state_write(c) );
  TRY( seal_if_full(c) );
done:
  return rc;
}

int vdb_coll_insert(struct coll *c, const struct vdb_value *row,
                    unsigned flags, int64_t *key_out, bool *done){
  struct vdb_value key;
  struct coll_key k;
  slot_no old = SLOT_NONE;
  int rc;

  if( done!=NULL ) *done = true;
  if( key_out!=NULL ) *key_out = 0;
  TRY( vdb_coll_refresh(c) );
  TRY( vdb_row_check(c, row, &key) );
  rc = vdb_key_encode(c, &key, &k);
  if( rc!=VECDB_OK ) return vdb_key_fail(c, rc, &key);
  rc = vdb_pk_get(c, &k, &old);
  if( rc==VECDB_OK && (flags & VECDB_OR_IGNORE) ){
    if( done!=NULL ) *done = false;
    return VECDB_OK;
  }
  if( rc==VECDB_OK && !(flags & VECDB_OR_REPLACE) ){
    return vdb_key_fail(c, VECDB_CONSTRAINT_PK, &key);
  }
  if( rc!=VECDB_OK && rc!=VECDB_NOTFOUND ) return rc;
  TRY( vdb_slot_left(c) );
  TRY( insert_row(c, row, &key, &k, old) );
  if( key_out!=NULL ) *key_out = key.i;
done:
  return rc;
}

/* ---- Update -------------------------------------------------------------- */

static bool sets_vector(const struct coll *c, const struct vdb_value *row){
  for(int v=0; v<c->schema->n_vector; v++){
    if( row[c->vec_col[v]].type!=VALUE_UNSET ) return true;
  }
  return false;
}

/* Patch the cells of the columns that are given. */
static int update_cells(struct coll *c, slot_no slot,
                        const struct vdb_value *row){
  unsigned char cell[TEXTCELL_SIZE];
  bool is_null, is_delta = slot>=c->s.delta_first, any = false;
  int rc = VECDB_OK;

  if( is_delta ) TRY( vdb_delta_get(c, slot, c->record) );
  for(int i=0; i<c->schema->n_col; i++){
    uint64_t null;
    if( row[i].type==VALUE_UNSET || c->lay.field[i].width==0 ) continue;
    any = true;
    if( is_delta ){
      vdb_record_set(c, c->record, i, &row[i]);
      continue;
    }
    vdb_cell_encode(c->schema->col[i].type, &row[i], cell, &is_null);
    null = is_null;
    TRY( vdb_column_put(c, i, slot, 1, cell, &null) );
  }
  if( is_delta && any ) TRY( vdb_delta_put(c, slot, c->record) );
done:
  return rc;
}

static int update_in_place(struct coll *c, slot_no slot,
                           const struct vdb_value *row){
  int rc;

  TRY( update_cells(c, slot, row) );
  for(int i=0; i<c->schema->n_col; i++){
    if( row[i].type==VALUE_UNSET ) continue;
    if( c->schema->col[i].role==VECDB_ROLE_AUX ||
        c->schema->col[i].type==VECDB_TEXT ){
      TRY( vdb_heap_set(c, slot, i, &row[i]) );
    }
  }
done:
  return rc;
}

/* A new record for the row; the old slot dies. */
static int update_move(struct coll *c, slot_no *slot,
                       const struct vdb_value *row){
  unsigned char *rec = vdb_malloc(c->lay.sz_record);
  slot_no to;
  int rc;

  if( rec==NULL ) return VECDB_NOMEM;
  TRY( vdb_record_load(c, *slot, rec) );
  for(int i=0; i<c->schema->n_col; i++){
    if( row[i].type!=VALUE_UNSET ) vdb_record_set(c, rec, i, &row[i]);
  }
  TRY( vdb_delta_append(c, rec, &to) );
  TRY( vdb_heap_move(c, *slot, to, row) );
  TRY( heap_put_row(c, to, row, &row[0]) );
  TRY( vdb_row_kill(c, *slot) );
  *slot = to;
done:
  vdb_free(rec);
  return rc;
}

/* The new key of an update: OK to go on; *other is a row in its way. */
static int update_key(struct coll *c, const struct vdb_value *key,
                      unsigned flags, struct coll_key *k, slot_no *other,
                      bool *ignore){
  int rc;

  *ignore = false;
  rc = vdb_key_encode(c, key, k);
  if( rc!=VECDB_OK ) return vdb_key_fail(c, rc, key);
  rc = vdb_pk_get(c, k, other);
  if( rc==VECDB_NOTFOUND ) return VECDB_OK;
  if( rc!=VECDB_OK ) return rc;
  *ignore = (flags & VECDB_OR_IGNORE)!=0;
  if( *ignore || (flags & VECDB_OR_REPLACE) ) return VECDB_OK;
  return vdb_key_fail(c, VECDB_CONSTRAINT_PK, key);
}

static int update_check(struct coll *c, const struct vdb_value *row){
  int rc = VECDB_OK;

  for(int i=0; i<c->schema->n_col; i++){
    if( row[i].type!=VALUE_UNSET ) TRY( vdb_value_check(c, i, &row[i]) );
  }
  if( sets_vector(c, row) ) TRY( vdb_slot_left(c) );
done:
  return rc;
}

/* Everything is checked; k_new is NULL when the key stays. */
static int update_row(struct coll *c, slot_no slot, const struct coll_key *k,
                      const struct coll_key *k_new, slot_no other,
                      const struct vdb_value *row){
  bool moves = sets_vector(c, row);
  int rc = VECDB_OK;

  vdb_coll_change_begin(c);
  if( other!=SLOT_NONE ) TRY( vdb_row_kill(c, other) );
  if( moves ) TRY( update_move(c, &slot, row) );
  else TRY( update_in_place(c, slot, row) );
  if( k_new!=NULL ){
    TRY( vdb_btree_delete(c->p, c->s.pk, k->b, k->n) );
    if( row[0].type==VECDB_INTEGER && row[0].i>c->s.max_key ){
      c->s.max_key = row[0].i;
    }
  }
  if( moves || k_new!=NULL ){
    c->s.is_ordered = false;
    TRY( vdb_pk_put(c, k_new ? k_new : k, slot, BTREE_UPSERT) );
  }
  TRY( vdb_coll_state_write(c) );
  TRY( seal_if_full(c) );
done:
  return rc;
}

int vdb_coll_update(struct coll *c, const struct vdb_value *key,
                    const struct vdb_value *row, unsigned flags){
  struct coll_key k, k_new;
  slot_no slot, other = SLOT_NONE;
  bool ignore = false, rekey = false;
  int rc;

  TRY( vdb_coll_refresh(c) );
  rc = vdb_key_encode(c, key, &k);
  if( rc==VECDB_OK ) rc = vdb_pk_get(c, &k, &slot);
  if( rc==VECDB_CONSTRAINT_TYPE || rc==VECDB_TOOBIG ) return VECDB_NOTFOUND;
  if( rc==VECDB_NOTFOUND ) return vdb_key_fail(c, rc, key);
  if( rc!=VECDB_OK ) return rc;
  TRY( update_check(c, row) );
  if( row[0].type!=VALUE_UNSET ){
    rc = vdb_key_encode(c, &row[0], &k_new);
    if( rc!=VECDB_OK ) return vdb_key_fail(c, rc, &row[0]);
    rekey = k_new.n!=k.n || memcmp(k_new.b, k.b, k.n)!=0;
  }
  if( rekey ){
    TRY( update_key(c, &row[0], flags, &k_new, &other, &ignore) );
    if( ignore ) return VECDB_OK;
  }
  TRY( update_row(c, slot, &k, rekey ? &k_new : NULL, other, row) );
done:
  return rc;
}

int vdb_coll_delete(struct coll *c, const struct vdb_value *key){
  struct coll_key k;
  slot_no slot;
  int rc;

  TRY( vdb_coll_refresh(c) );
  rc = vdb_key_encode(c, key, &k);
  if( rc!=VECDB_OK ) return VECDB_NOTFOUND;
  rc = vdb_pk_get(c, &k, &slot);
  if( rc==VECDB_NOTFOUND ) return vdb_key_fail(c, rc, key);
  if( rc!=VECDB_OK ) return rc;
  vdb_coll_change_begin(c);
  TRY( vdb_row_kill(c, slot) );
  TRY( vdb_btree_delete(c->p, c->s.pk, k.b, k.n) );
  TRY( vdb_coll_state_write(c) );
done:
  return rc;
}
