/* cell.c -- values as bytes: cells of columns, delta records, heap entries.
**
** CELL    INTEGER i64, REAL f64 (8 bytes, little-endian), BOOLEAN one byte 0
**         or 1, TEXT a TEXTCELL (16 bytes). Whether it is NULL is said by a
**         bit elsewhere: in the record's null bitmap, or in a NULLS array.
** RECORD  null bitmap | scalar cells in order of column | vectors in order of
**         column, packed. The key's cell comes first; it has no null bit.
** HEAP    HEAPKEY -> the whole of a text longer than the 12 bytes its cell
**         holds; or type byte and value of an auxiliary column (C5).
*/
#include "util/common.h"
#include "store/coll_int.h"

int vdb_cell_width(int type){
  switch( type ){
    case VECDB_INTEGER: case VECDB_REAL: return 8;
    case VECDB_BOOLEAN: return 1;
    case VECDB_TEXT:    return TEXTCELL_SIZE;
    default:            return 0;
  }
}

static bool is_scalar(const struct schema_column *col){
  return col->role!=VECDB_ROLE_AUX && col->role!=VECDB_ROLE_VECTOR;
}

int vdb_layout_create(const struct schema *s, struct coll_layout *out){
  uint32_t off, n_null = 0;

  memset(out, 0, sizeof(*out));
  out->field = vdb_calloc((size_t)s->n_col, sizeof(*out->field));
  if( out->field==NULL ) return VECDB_NOMEM;
  for(int i=0; i<s->n_col; i++){
    bool has_bit = i>0 && is_scalar(&s->col[i]);
    out->field[i].i_null = has_bit ? (int32_t)n_null++ : -1;
  }
  off = (n_null+7)/8;
  for(int i=0; i<s->n_col; i++){
    if( !is_scalar(&s->col[i]) ) continue;
    out->field[i].off = off;
    out->field[i].width = (uint32_t)vdb_cell_width(s->col[i].type);
    off += out->field[i].width;
  }
  out->sz_meta = off;
  for(int i=0; i<s->n_col; i++){
    if( s->col[i].role!=VECDB_ROLE_VECTOR ) continue;
    out->field[i].off = off;
    out->field[i].width = s->col[i].sz_vec;
    off += s->col[i].sz_vec;
  }
  out->sz_record = off;
  return VECDB_OK;
}

void vdb_layout_clear(struct coll_layout *lay){
  vdb_free(lay->field);
  memset(lay, 0, sizeof(*lay));
}

/* ---- Checking values ----------------------------------------------------- */

static const char *type_word(int type){
  switch( type ){
    case VECDB_NULL:    return "NULL";
    case VECDB_INTEGER: return "integer";
    case VECDB_REAL:    return "real";
    case VECDB_TEXT:    return "text";
    case VECDB_BLOB:    return "blob";
    case VECDB_BOOLEAN: return "boolean";
    case VECDB_VECTOR:  return "vector";
    default:            return "nothing";
  }
}

/* A boolean may come as the integer 0 or 1. */
static bool type_fits(const struct schema_column *col,
                      const struct vdb_value *v){
  if( col->type!=VECDB_BOOLEAN ) return v->type==col->type;
  return (v->type==VECDB_BOOLEAN || v->type==VECDB_INTEGER) &&
         (v->i==0 || v->i==1);
}

int vdb_value_check(struct coll *c, int column, const struct vdb_value *v){
  const struct schema_column *col = &c->schema->col[column];
  struct vdb_err *err = vdb_coll_err(c);

  if( v->type==VECDB_NULL ){
    if( !col->not_null && col->role!=VECDB_ROLE_VECTOR &&
        col->role!=VECDB_ROLE_KEY ){
      return VECDB_OK;
    }
    return vdb_error(err, VECDB_CONSTRAINT_NOTNULL,
        "column \"%s\" of \"%s\" cannot be NULL", col->name, c->name);
  }
  if( !type_fits(col, v) ){
    return vdb_error(err, VECDB_CONSTRAINT_TYPE,
        "column \"%s\" of \"%s\" takes %s, not %s", col->name, c->name,
        col->type==VECDB_BOOLEAN ? "0 or 1" : type_word(col->type),
        type_word(v->type));
  }
  if( col->role==VECDB_ROLE_VECTOR && v->n!=col->sz_vec ){
    return vdb_error(err, VECDB_MISMATCH,
        "column \"%s\" of \"%s\" takes vectors of %u bytes (%s), not %zu",
        col->name, c->name, col->sz_vec, col->decl, v->n);
  }
  if( (v->type==VECDB_TEXT || v->type==VECDB_BLOB) && v->n>TEXT_BYTES_MAX ){
    return vdb_error(err, VECDB_TOOBIG,
        "value of column \"%s\" has %zu bytes, at most %zu are allowed",
        col->name, v->n, TEXT_BYTES_MAX);
  }
  return VECDB_OK;
}

/* ---- Cells --------------------------------------------------------------- */

void vdb_cell_encode(int type, const struct vdb_value *v,
                     unsigned char *cell, bool *is_null){
  int width = vdb_cell_width(type);

  *is_null = v->type==VECDB_NULL;
  memset(cell, 0, (size_t)width);
  if( *is_null ) return;
  switch( type ){
    case VECDB_INTEGER: put_u64(cell, (uint64_t)v->i); break;
    case VECDB_REAL:    put_f64(cell, v->r); break;
    case VECDB_BOOLEAN: cell[0] = v->i!=0; break;
    default:
      put_u32(cell+TEXTCELL_LENGTH, (uint32_t)v->n);
      if( v->n>0 ){
        memcpy(cell+TEXTCELL_PREFIX, v->p, vdb_min_sz(v->n, CELL_INLINE_MAX));
      }
  }
}

int64_t vdb_cell_int(const unsigned char *cell){
  return (int64_t)get_u64(cell);
}

double vdb_cell_real(const unsigned char *cell){
  return get_f64(cell);
}

uint32_t vdb_cell_text_len(const unsigned char *cell){
  return get_u32(cell+TEXTCELL_LENGTH);
}

int vdb_coll_cell_text(struct coll *c, int column, slot_no slot,
                       const unsigned char *cell, struct vdb_str *buf,
                       const char **p, size_t *n){
  int rc;

  *n = vdb_cell_text_len(cell);
  *p = (const char*)cell+TEXTCELL_PREFIX;
  if( *n<=CELL_INLINE_MAX ) return VECDB_OK;
  rc = vdb_heap_get(c, slot, column, buf);
  if( rc==VECDB_NOTFOUND || (rc==VECDB_OK && buf->n!=*n) ){
    rc = COLL_CORRUPT(c, "a long text is not in the heap");
  }
  *p = buf->z;
  return rc;
}

/* *buf takes a copy of the bytes, which the value then names. */
static int value_copy(struct vdb_str *buf, const void *p, size_t n,
                      struct vdb_value *out){
  vdb_str_truncate(buf, 0);
  vdb_str_add(buf, p, n);
  out->p = buf->z;
  out->n = n;
  return vdb_str_rc(buf);
}

int vdb_cell_decode(struct coll *c, int column, slot_no slot,
                    const unsigned char *cell, bool is_null,
                    struct vdb_str *buf, struct vdb_value *out){
  const char *p;
  size_t n;
  int rc;

  memset(out, 0, sizeof(*out));
  out->type = is_null ? VECDB_NULL : c->schema->col[column].type;
  switch( out->type ){
    case VECDB_INTEGER: out->i = vdb_cell_int(cell); break;
    case VECDB_REAL:    out->r = vdb_cell_real(cell); break;
    case VECDB_BOOLEAN: out->i = vdb_cell_bool(cell); break;
    case VECDB_TEXT:
      rc = vdb_coll_cell_text(c, column, slot, cell, buf, &p, &n);
      if( rc!=VECDB_OK ) return rc;
      if( n<=CELL_INLINE_MAX ) return value_copy(buf, p, n, out);
      out->p = p;
      out->n = n;
      break;
    default: break;
  }
  return VECDB_OK;
}

/* ---- Records ------------------------------------------------------------- */

bool vdb_record_is_null(const struct coll *c, const unsigned char *rec,
                        int column){
  int32_t i = c->lay.field[column].i_null;
  return i>=0 && (rec[i/8] >> (i%8) & 1);
}

void vdb_record_set(const struct coll *c, unsigned char *rec, int column,
                    const struct vdb_value *v){
  const struct schema_column *col = &c->schema->col[column];
  const struct coll_field *f = &c->lay.field[column];
  bool is_null = false;

  if( f->width==0 ) return;                       /* aux: in the heap */
  if( col->role==VECDB_ROLE_VECTOR ){
    memcpy(rec+f->off, v->p, f->width);
    return;
  }
  vdb_cell_encode(col->type, v, rec+f->off, &is_null);
  if( f->i_null<0 ) return;
  rec[f->i_null/8] &= (unsigned char)~(1u << (f->i_null%8));
  if( is_null ) rec[f->i_null/8] |= (unsigned char)(1u << (f->i_null%8));
}

/* ---- Heap ---------------------------------------------------------------- */

static void heap_key(unsigned char *key, slot_no slot, int column){
  put_key_u32(key+HEAPKEY_SLOT, slot);
  key[HEAPKEY_COLUMN] = (unsigned char)(column>>8);
  key[HEAPKEY_COLUMN+1] = (unsigned char)column;
}

bool vdb_heap_needed(const struct coll *c, int column,
                     const struct vdb_value *v){
  if( v->type==VECDB_NULL || v->type==VALUE_UNSET ) return false;
  if( c->schema->col[column].role==VECDB_ROLE_AUX ) return true;
  return v->type==VECDB_TEXT && v->n>CELL_INLINE_MAX;
}

/* Type byte and value of an auxiliary column. */
static int aux_encode(const struct vdb_value *v, struct vdb_str *out){
  unsigned char num[8];

  vdb_str_addc(out, (char)v->type);
  if( v->type==VECDB_INTEGER ) put_u64(num, (uint64_t)v->i);
  if( v->type==VECDB_REAL ) put_f64(num, v->r);
  if( v->type==VECDB_INTEGER || v->type==VECDB_REAL ){
    vdb_str_add(out, num, sizeof(num));
  }else if( v->n>0 ){
    vdb_str_add(out, v->p, v->n);
  }
  return vdb_str_rc(out);
}

int vdb_heap_set(struct coll *c, slot_no slot, int column,
                 const struct vdb_value *v){
  unsigned char key[HEAPKEY_SIZE];
  struct vdb_str val = VDB_STR_INIT;
  int rc;

  heap_key(key, slot, column);
  if( !vdb_heap_needed(c, column, v) ){
    if( c->s.heap==0 ) return VECDB_OK;
    rc = vdb_btree_delete(c->p, c->s.heap, key, sizeof(key));
    return rc==VECDB_NOTFOUND ? VECDB_OK : rc;
  }
  if( c->s.heap==0 ) return COLL_CORRUPT(c, "the collection has no heap");
  if( c->schema->col[column].role!=VECDB_ROLE_AUX ){
    return vdb_btree_put(c->p, c->s.heap, key, sizeof(key), v->p, v->n,
                         BTREE_UPSERT);
  }
  TRY( aux_encode(v, &val) );
  TRY( vdb_btree_put(c->p, c->s.heap, key, sizeof(key), val.z, val.n,
                     BTREE_UPSERT) );
done:
  vdb_str_clear(&val);
  return rc;
}

int vdb_heap_get(struct coll *c, slot_no slot, int column,
                 struct vdb_str *out){
  unsigned char key[HEAPKEY_SIZE];

  vdb_str_truncate(out, 0);
  if( c->s.heap==0 ) return VECDB_NOTFOUND;
  heap_key(key, slot, column);
  return vdb_btree_get(c->p, c->s.heap, key, sizeof(key), out);
}

/* Column of the first heap entry of `slot` at or after column `from`;
** *column is -1 when there is none. */
static int heap_seek(struct coll *c, struct btree_cursor *k, slot_no slot,
                     int from, int *column){
  unsigned char want[HEAPKEY_SIZE];
  const unsigned char *key;
  bool at_end;
  size_t n;
  int rc;

  *column = -1;
  heap_key(want, slot, from);
  TRY( vdb_btree_seek(k, want, sizeof(want), &at_end) );
  if( at_end ) goto done;
  TRY( vdb_btree_key(k, &key, &n) );
  if( n!=HEAPKEY_SIZE ) TRY( COLL_CORRUPT(c, "a heap key has a wrong size") );
  if( get_key_u32(key)!=slot ) goto done;
  *column = key[HEAPKEY_COLUMN]<<8 | key[HEAPKEY_COLUMN+1];
  if( *column>=c->schema->n_col ){
    TRY( COLL_CORRUPT(c, "a heap entry names a column that is not there") );
  }
done:
  return rc;
}

int vdb_heap_drop_row(struct coll *c, slot_no slot){
  struct btree_cursor *k = NULL;
  unsigned char key[HEAPKEY_SIZE];
  int column, rc;

  if( c->s.heap==0 ) return VECDB_OK;
  TRY( vdb_btree_cursor_open(c->p, c->s.heap, &k) );
  for(int from=0; from<c->schema->n_col; from=column+1){
    TRY( heap_seek(c, k, slot, from, &column) );
    if( column<0 ) break;
    heap_key(key, slot, column);
    TRY( vdb_btree_delete(c->p, c->s.heap, key, sizeof(key)) );
  }
done:
  vdb_btree_cursor_close(k);
  return rc;
}

int vdb_heap_move(struct coll *c, slot_no from, slot_no to,
                  const struct vdb_value *row){
  struct btree_cursor *k = NULL;
  struct vdb_str val = VDB_STR_INIT;
  unsigned char key[HEAPKEY_SIZE];
  int column, rc;

  if( c->s.heap==0 ) return VECDB_OK;
  TRY( vdb_btree_cursor_open(c->p, c->s.heap, &k) );
  for(int i=0; i<c->schema->n_col; i=column+1){
    TRY( heap_seek(c, k, from, i, &column) );
    if( column<0 ) break;
    if( row[column].type!=VALUE_UNSET ) continue;
    TRY( vdb_heap_get(c, from, column, &val) );
    heap_key(key, to, column);
    TRY( vdb_btree_put(c->p, c->s.heap, key, sizeof(key), val.z, val.n,
                       BTREE_UPSERT) );
  }
done:
  vdb_btree_cursor_close(k);
  vdb_str_clear(&val);
  return rc;
}
