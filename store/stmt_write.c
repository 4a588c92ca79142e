/* stmt_write.c -- insert, update, delete, and get: one row by its key. */
#include "util/common.h"
#include "store/stmt_int.h"

#include <math.h>

#include "util/mem.h"

/* What is bound to the columns; those that are not are NULL or left alone. */
static int row_bound(struct stmt *s, struct vdb_value *row){
  int rc = VECDB_OK;
  size_t off = 0;
  for(int i=0; i<s->schema->n_col; i++){
    memset(&row[i], 0, sizeof(row[i]));
    if( s->col[i].is_set ){
      TRY( vdb_stmt_bound(s, &s->col[i], i, (char*)s->vec_buf + off,
                          &row[i]) );
    }else if( s->kind==STMT_UPDATE ){
      row[i].type = VALUE_UNSET;
    }
    off += vdb_vec_room(&s->schema->col[i]);
  }
done:
  return rc;
}

static int key_bound(struct stmt *s, struct vdb_value *key){
  if( !s->key.is_set ){
    return vdb_error(s->ss->err, VECDB_MISUSE,
                     "no key is bound to VECDB_KEY");
  }
  return vdb_stmt_bound(s, &s->key, 0, NULL, key);
}

static int row_change(struct stmt *s, const struct vdb_value *key,
                      const struct vdb_value *row){
  int64_t last = 0;
  bool done = true;
  int rc;
  switch( s->kind ){
    case STMT_DELETE: return vdb_coll_delete(s->coll, key);
    case STMT_UPDATE: return vdb_coll_update(s->coll, key, row, s->flags);
    default:
      rc = vdb_coll_insert(s->coll, row, s->flags, &last, &done);
      if( rc==VECDB_OK && done && s->schema->col[0].type==VECDB_INTEGER ){
        s->ss->last_key = last;
      }
      return rc;
  }
}

int vdb_stmt_write_step(struct stmt *s){
  struct vdb_value key = { VECDB_NULL, 0, 0, NULL, 0 }, *row;
  struct write_scope w;
  int64_t last_key = s->ss->last_key;
  bool is_missing;
  int rc;
  row = vdb_calloc((size_t)s->schema->n_col, sizeof(*row));
  if( row==NULL ) return VECDB_NOMEM;
  if( s->kind!=STMT_INSERT ) TRY( key_bound(s, &key) );
  if( s->kind!=STMT_DELETE ) TRY( row_bound(s, row) );
  TRY( vdb_session_write_begin(s->ss, &w) );
  rc = row_change(s, &key, row);
  is_missing = rc==VECDB_NOTFOUND && vdb_coll_refresh(s->coll)==VECDB_OK;
  rc = vdb_session_write_end(s->ss, &w, rc);
  if( rc!=VECDB_OK ) s->ss->last_key = last_key;
  if( is_missing && rc==VECDB_NOTFOUND ) rc = vdb_stmt_key_missing(s, &key);
done:
  vdb_free(row);
  return rc==VECDB_OK ? VECDB_DONE : rc;
}

int vdb_stmt_get_step(struct stmt *s){
  struct vdb_value key;
  slot_no slot;
  int rc;
  if( s->state==ST_ROW ) return VECDB_DONE;
  TRY( key_bound(s, &key) );
  TRY( vdb_session_read_begin(s->ss, &s->held) );
  TRY( vdb_coll_refresh(s->coll) );
  rc = vdb_coll_find(s->coll, &key, &slot);
  if( rc==VECDB_NOTFOUND ) rc = vdb_stmt_key_missing(s, &key);
  if( rc==VECDB_OK ) vdb_stmt_row_set(s, slot, NAN);
done:
  return rc==VECDB_OK ? VECDB_ROW : rc;
}
