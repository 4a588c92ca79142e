/* stmt_scan.c -- rows in order of the key.
**
** Without keys a cursor walks the key's index; with a set of keys the set is
** walked instead, and each key looked up. The filter has answered for all rows
** before the first is returned (as for a search), and when it left few, their
** keys are such a set. Rows that changed since, which only the same handle can
** have done, are asked one by one.
*/
#include "util/common.h"
#include "store/stmt_int.h"

#include <math.h>

#include "util/bitset.h"
#include "util/mem.h"

#define SCAN_FEW  16           /* one row of so many: worth a set of keys */

void vdb_stmt_scan_end(struct stmt *s){
  vdb_coll_cursor_close(s->cursor);
  s->cursor = NULL;
  vdb_keyset_destroy(s->found);
  s->found = NULL;
  s->i_key = 0;
}

/* Lets go of the pins; the row's key, loaded, is the place. */
int vdb_stmt_scan_suspend(struct stmt *s){
  vdb_coll_cursor_close(s->cursor);
  s->cursor = NULL;
  return VECDB_OK;
}

static int scan_begin(struct stmt *s){
  int rc;
  TRY( vdb_session_read_begin(s->ss, &s->held) );
  TRY( vdb_coll_refresh(s->coll) );
  TRY( vdb_stmt_filter_begin(s) );
  if( s->run && s->keys==NULL ){
    const struct passed *p;
    TRY( vdb_stmt_pass(s, NULL) );
    p = s->passed;
    if( p->n<=vdb_coll_n_row(s->coll)/SCAN_FEW ){
      TRY( vdb_keyset_of_rows(s->coll, p->rows, p->n_slot, p->n, &s->found) );
    }
  }
done:
  return rc;
}

static int scan_passes(struct stmt *s, slot_no slot, bool *pass){
  *pass = true;
  if( s->run==NULL ) return VECDB_OK;
  if( s->keys==NULL && vdb_passed_is_current(s->passed, s->coll) ){
    *pass = slot<s->passed->n_slot && vdb_bit_get(s->passed->rows, slot);
    return VECDB_OK;
  }
  return vdb_filter_row(s->run, slot, pass);
}

/* ---- A set of keys ------------------------------------------------------ */

static int keys_next(struct stmt *s, const struct keyset *keys,
                     slot_no *slot, bool *at_end){
  struct vdb_value key;
  int rc = VECDB_NOTFOUND;
  bool pass = false;
  while( s->i_key<keys->n ){
    vdb_keyset_get(keys, s->i_key++, &key);
    rc = vdb_coll_find(s->coll, &key, slot);
    if( rc==VECDB_NOTFOUND ) continue;
    if( rc==VECDB_OK ) rc = scan_passes(s, *slot, &pass);
    if( rc!=VECDB_OK || pass ) return rc;
  }
  vdb_error_clear(s->ss->err);
  *at_end = true;
  return VECDB_OK;
}

/* ---- All rows ----------------------------------------------------------- */

/* Is the key of this row the one the statement stands on? */
static int scan_is_here(struct stmt *s, slot_no slot, bool *same){
  const struct vdb_value *here = &s->row.val[0];
  struct vdb_str buf = VDB_STR_INIT;
  struct vdb_value v;
  int rc = vdb_coll_value(s->coll, 0, slot, &buf, &v);
  *same = rc==VECDB_OK && v.type==here->type
       && (v.type==VECDB_INTEGER ? v.i==here->i
           : v.n==here->n && memcmp(v.p, here->p, v.n)==0);
  vdb_str_clear(&buf);
  return rc;
}

/* Find the place again after a suspension: the first row behind the key. */
static int scan_resume(struct stmt *s, slot_no *slot, bool *at_end){
  struct vdb_value here = s->row.val[0];
  bool same = false;
  int rc;
  TRY( vdb_coll_cursor_open(s->coll, &s->cursor) );
  TRY( vdb_coll_cursor_seek(s->cursor, &here, slot, at_end) );
  if( *at_end ) return VECDB_OK;
  TRY( scan_is_here(s, *slot, &same) );
  if( same ) rc = vdb_coll_cursor_next(s->cursor, slot, at_end);
done:
  return rc;
}

static int cursor_move(struct stmt *s, bool is_first, slot_no *slot,
                       bool *at_end){
  int rc;
  if( s->cursor ) return vdb_coll_cursor_next(s->cursor, slot, at_end);
  if( !is_first ) return scan_resume(s, slot, at_end);
  TRY( vdb_coll_cursor_open(s->coll, &s->cursor) );
  rc = vdb_coll_cursor_seek(s->cursor, NULL, slot, at_end);
done:
  return rc;
}

static int cursor_next(struct stmt *s, bool is_first, slot_no *slot,
                       bool *at_end){
  bool pass = false;
  int rc;
  unsigned n = 0;
  do{
    TRY( cursor_move(s, is_first, slot, at_end) );
    if( *at_end ) return VECDB_OK;
    is_first = false;
    if( (++n & 1023)==0 ){
      TRY( vdb_store_progress(s->ss->st, "scan", "rows", n,
                              vdb_coll_n_row(s->coll)) );
    }
    TRY( scan_passes(s, *slot, &pass) );
  }while( !pass );
done:
  return rc;
}

int vdb_stmt_scan_step(struct stmt *s){
  bool is_first = s->state!=ST_ROW, at_end = false;
  const struct keyset *keys;
  slot_no slot = SLOT_NONE;
  int rc;
  if( is_first ) TRY( scan_begin(s) );
  else if( s->is_suspended ){
    TRY( vdb_session_read_begin(s->ss, &s->held) );
    TRY( vdb_coll_refresh(s->coll) );
  }
  keys = s->keys ? s->keys : s->found;
  TRY( keys ? keys_next(s, keys, &slot, &at_end)
            : cursor_next(s, is_first, &slot, &at_end) );
  if( at_end ) return VECDB_DONE;
  vdb_stmt_row_set(s, slot, NAN);
  return VECDB_ROW;
done:
  return rc;
}
