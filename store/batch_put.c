/* batch_put.c -- insert many rows given as columns.
**
** Columns are checked before the first row is read, so that what the types
** alone make impossible costs nothing. Batches above the threshold of the
** collection go straight into segments (vdb_coll_bulk_*), others row by row;
** either way inside one scope, which undoes all of it on the first failure.
*/
#include "util/common.h"
#include "store/batch.h"

#include "simd/simd.h"
#include "store/stmt.h"
#include "store/stmt_int.h"
#include "util/bytes.h"
#include "util/mem.h"

struct put_column {                    /* a column that was given */
  vecdb_column_data d;
  int column;
  size_t stride, sz;                   /* bytes from value to value; of one */
};

struct put {
  struct session *ss;
  struct coll *coll;
  const struct schema *schema;
  struct put_column *col;
  size_t n_col;
  struct vdb_value *row;               /* of all columns */
  void *vec_buf;
  unsigned flags;
};

/* ---- Checking ----------------------------------------------------------- */

static int put_refuse(struct put *p, const struct put_column *x, int rc,
                      const char *what){
  return vdb_error(p->ss->err, rc, "put: column \"%.100s\" %s",
                   p->schema->col[x->column].name, what);
}

static int put_check_type(struct put *p, struct put_column *x){
  const struct schema_column *col = &p->schema->col[x->column];
  bool is_vector = x->d.type==VECDB_VECTOR;
  if( is_vector!=(col->type==VECDB_VECTOR) ){
    return put_refuse(p, x, VECDB_CONSTRAINT_TYPE, is_vector
                      ? "takes no vectors" : "takes vectors");
  }
  switch( x->d.type ){
    case VECDB_VECTOR:
      x->sz = vdb_vector_bytes((int)x->d.element, col->dims);
      if( x->sz==0 ){
        return put_refuse(p, x, VECDB_MISUSE, "has data of no element type");
      }
      break;
    case VECDB_INTEGER: case VECDB_REAL: x->sz = 8; break;
    case VECDB_BOOLEAN: x->sz = 1; break;
    case VECDB_TEXT:    x->sz = sizeof(const char*); break;
    default:
      return put_refuse(p, x, VECDB_MISUSE, "has data of a type that batches "
                        "do not take");
  }
  x->stride = x->d.stride ? x->d.stride : x->sz;
  if( x->d.data==NULL ) return put_refuse(p, x, VECDB_MISUSE, "has no data");
  return VECDB_OK;
}

/* Copy the descriptions, each of which says how large it is. */
static int put_columns(struct put *p, const vecdb_column_data *data,
                       size_t n_data){
  const char *at = (const char*)data;
  int rc = VECDB_OK;
  for(size_t i=0; i<n_data; i++){
    struct put_column *x = &p->col[i];
    uint32_t size;
    memcpy(&size, at, sizeof(size));
    if( size<offsetof(vecdb_column_data, nulls) ){
      return vdb_error(p->ss->err, VECDB_MISUSE,
                       "put: size of vecdb_column_data %zu is %u, expected "
                       "%zu", i, size, sizeof(x->d));
    }
    memcpy(&x->d, at, vdb_min_sz(size, sizeof(x->d)));
    for(size_t k=sizeof(x->d); k<size; k++){
      if( at[k]==0 ) continue;
      return vdb_error(p->ss->err, VECDB_MISUSE, "put: vecdb_column_data %zu "
                       "has a field that this version does not know", i);
    }
    at += size;
    x->column = x->d.column==VECDB_KEY ? 0 : x->d.column;
    if( x->column<0 || x->column>=p->schema->n_col ){
      return vdb_error(p->ss->err, VECDB_NOTFOUND,
                       "put: no column %d; there are %d", x->column,
                       p->schema->n_col);
    }
    for(size_t k=0; k<i; k++){
      if( p->col[k].column==x->column ){
        return put_refuse(p, x, VECDB_MISUSE, "is given twice");
      }
    }
    p->n_col++;
    TRY( put_check_type(p, x) );
  }
done:
  return rc;
}

/* ---- Rows --------------------------------------------------------------- */

static int put_value(struct put *p, const struct put_column *x, size_t i,
                     char *buf){
  const struct schema_column *col = &p->schema->col[x->column];
  const char *at = (const char*)x->d.data + i*x->stride;
  struct vdb_value *v = &p->row[x->column];
  memset(v, 0, sizeof(*v));
  if( x->d.nulls && x->d.nulls[i] ) return VECDB_OK;
  v->type = (int)x->d.type;
  switch( x->d.type ){
    case VECDB_VECTOR:
      v->n = col->sz_vec;
      return vdb_vector_adopt(col, (int)x->d.element, at, x->sz, buf, &v->p,
                              p->ss->err);
    case VECDB_INTEGER: memcpy(&v->i, at, 8); break;
    case VECDB_REAL:    memcpy(&v->r, at, 8); break;
    case VECDB_BOOLEAN: v->i = *(const unsigned char*)at; break;
    default:
      memcpy(&v->p, at, sizeof(v->p));
      if( v->p ) v->n = strlen(v->p);
      else v->type = VECDB_NULL;
  }
  vdb_value_fit(col, v);
  return VECDB_OK;
}

static int put_row(struct put *p, size_t i){
  char *buf = p->vec_buf;
  int rc = VECDB_OK;
  for(size_t k=0; k<p->n_col && rc==VECDB_OK; k++){
    rc = put_value(p, &p->col[k], i, buf);
    buf += vdb_vec_room(&p->schema->col[p->col[k].column]);
  }
  return rc;
}

/* Is the row to blame? A full disk is not its fault. */
static bool is_of_row(int rc){
  switch( rc & 0xff ){
    case VECDB_CONSTRAINT: case VECDB_MISMATCH: case VECDB_RANGE:
    case VECDB_TOOBIG: case VECDB_SYNTAX: case VECDB_MISUSE: return true;
    default: return false;
  }
}

static int put_rows(struct put *p, size_t n, int64_t *first_key){
  struct coll_bulk *bulk = NULL;
  bool has_key = false, done = false;
  int64_t key = 0;
  int rc = VECDB_OK;
  TRY( vdb_coll_refresh(p->coll) );
  if( n>=vdb_coll_bulk_threshold(p->coll) ){
    TRY( vdb_coll_bulk_begin(p->coll, p->flags, &bulk) );
  }
  for(size_t i=0; i<n; i++){
    if( i%64==0 ){
      TRY( vdb_store_progress(p->ss->st, "insert", "rows", i, n) );
    }
    rc = put_row(p, i);
    if( rc==VECDB_OK ){
      rc = bulk ? vdb_coll_bulk_add(bulk, p->row, &key, &done)
                : vdb_coll_insert(p->coll, p->row, p->flags, &key, &done);
    }
    if( rc!=VECDB_OK ){
      if( is_of_row(rc) ) vdb_error_prefix(p->ss->err, "row %zu", i);
      goto done;
    }
    if( !done || p->schema->col[0].type!=VECDB_INTEGER ) continue;
    p->ss->last_key = key;
    if( !has_key ) *first_key = key;
    has_key = true;
  }
done:
  if( bulk ){
    int rc_end = vdb_coll_bulk_end(bulk, rc==VECDB_OK);
    if( rc==VECDB_OK ) rc = rc_end;
  }
  return rc;
}

int vdb_batch_put(struct session *ss, struct coll *c,
                  const struct schema *schema, size_t n,
                  const vecdb_column_data *data, size_t n_data,
                  unsigned flags, int64_t *first_key){
  struct put p = { .ss = ss, .coll = c, .schema = schema, .flags = flags };
  int64_t last_key = ss->last_key;
  struct write_scope w;
  size_t sz_vec = 0;
  int rc = VECDB_NOMEM;
  *first_key = 0;
  for(int i=0; i<schema->n_col; i++) sz_vec += vdb_vec_room(&schema->col[i]);
  p.col = vdb_calloc(n_data, sizeof(*p.col));
  p.row = vdb_calloc((size_t)schema->n_col, sizeof(*p.row));
  p.vec_buf = vdb_malloc_aligned(sz_vec);
  if( !p.col || !p.row || !p.vec_buf ) goto done;
  TRY( put_columns(&p, data, n_data) );
  TRY( vdb_session_write_begin(ss, &w) );
  rc = put_rows(&p, n, first_key);
  rc = vdb_session_write_end(ss, &w, rc);
done:
  if( rc!=VECDB_OK ){
    ss->last_key = last_key;
    *first_key = 0;
  }
  vdb_free(p.col);
  vdb_free(p.row);
  vdb_free_aligned(p.vec_buf);
  return rc;
}
