/* btree_cursor.c -- moving through a B+tree in order.
**
** A cursor keeps the page numbers and indexes of its way down, a copy of the
** current key, and the version of the pager that both belong to; it pins
** nothing between calls (B5). While the version stands, a move goes through
** the remembered way; after any change by this connection, to this tree or
** another, or in another transaction, it seeks again from the key.
** A change of another tree costs a needless descent, but a counter of each
** tree's own would miss a rollback, and a page that left this tree for
** another one.
**
** POSITIONS   START     before the first entry; next goes to the first
**             ENTRY     at the key in c->key, which may be deleted by now
**             END       behind the last entry; prev goes to the last
**
** Every move checks that keys ascend (descend), so that damaged links cannot
** lead a scan round in circles.
*/
#include "util/common.h"
#include "pager/btree_int.h"
#include "util/mem.h"

enum cursor_position { AT_START, AT_ENTRY, AT_END };

struct btree_cursor {
  struct btree t;
  enum cursor_position at;
  bool has_path;                    /* n_step and step describe the entry */
  bool has_value;                   /* val is the value of the entry */
  uint64_t version;                 /* of the pager, for has_path/has_value */
  unsigned n_step;
  struct { page_no pgno; unsigned i; } step[BTREE_LEVEL_MAX+1];
  uint32_t n_key;
  unsigned char key[BTREE_KEY_MAX];
  struct vdb_str val;
};

int vdb_btree_cursor_open(struct pager *p, page_no root,
                          struct btree_cursor **out){
  struct btree_cursor *c = vdb_calloc(1, sizeof(*c));
  *out = c;
  if( !c ) return VECDB_NOMEM;
  vdb_btree_init(&c->t, p, root);
  c->at = AT_START;
  return VECDB_OK;
}

void vdb_btree_cursor_close(struct btree_cursor *c){
  if( !c ) return;
  vdb_str_clear(&c->val);
  vdb_free(c);
}

/* ------------------------------------------------------- the way down */

/* Pin the page of step s. */
static int step_get(struct btree_cursor *c, unsigned s, struct page **out){
  int level = (int)(c->n_step-1-s);                                /* B3 */
  return vdb_btree_page_get(&c->t, c->step[s].pgno, level, out);
}

enum descent { DOWN_FIRST, DOWN_LAST, DOWN_KEY };

/* From step s, whose page number is set, down to a leaf: to its first cell,
** behind its last one, or to the first not below key. */
static int cursor_descend(struct btree_cursor *c, unsigned s, int level,
                          enum descent how, const void *key, size_t n_key,
                          bool *found){
  struct page *pg = NULL;
  page_no child;
  unsigned i = 0;
  int rc;

  *found = false;
  for(;; s++){
    TRY( vdb_btree_page_get(&c->t, c->step[s].pgno, level, &pg) );
    level = (int)vdb_btree_level(pg);
    assert( s<=BTREE_LEVEL_MAX );                                  /* B3 */
    if( level==0 ) break;
    if( how==DOWN_KEY ){
      TRY( vdb_btree_child_of(&c->t, pg, key, n_key, &i, &child) );
    }else{
      i = how==DOWN_FIRST ? 0 : vdb_btree_n_cell(pg);
      TRY( vdb_btree_child(&c->t, pg, i, &child) );
    }
    c->step[s].i = i;
    c->step[s+1].pgno = child;
    level--;
    vdb_page_unpin(c->t.p, pg);
    pg = NULL;
  }
  i = how==DOWN_LAST ? vdb_btree_n_cell(pg) : 0;
  if( how==DOWN_KEY ){
    TRY( vdb_btree_search(&c->t, pg, key, n_key, &i, found) );
  }
  c->step[s].i = i;
  c->n_step = s+1;
done:
  vdb_page_unpin(c->t.p, pg);
  return rc;
}

/* Go to the neighbouring leaf: up to the lowest node that has another child
** in this direction, then down. *moved is false at the end of the tree. */
static int cursor_cross(struct btree_cursor *c, bool forward, bool *moved){
  struct page *pg = NULL;
  unsigned s = c->n_step-1;
  page_no child;
  bool found;
  int rc = VECDB_OK, level;

  *moved = false;
  while( s>0 && !*moved ){
    s--;
    TRY( step_get(c, s, &pg) );
    *moved = forward ? c->step[s].i<vdb_btree_n_cell(pg) : c->step[s].i>0;
    if( *moved ){
      if( forward ) c->step[s].i++;
      else c->step[s].i--;
      TRY( vdb_btree_child(&c->t, pg, c->step[s].i, &child) );
      c->step[s+1].pgno = child;
      level = (int)vdb_btree_level(pg) - 1;
      TRY( cursor_descend(c, s+1, level, forward ? DOWN_FIRST : DOWN_LAST,
                          NULL, 0, &found) );
    }
    vdb_page_unpin(c->t.p, pg);
    pg = NULL;
  }
done:
  vdb_page_unpin(c->t.p, pg);
  return rc;
}

/* ------------------------------------------------------------- entries */

/* Make the cell at the end of the way, whose page was in use until now and so
** is in the cache, the current entry. With `ordered` it
** must lie beyond the current key in the direction of the move. */
static int cursor_take(struct btree_cursor *c, bool ordered, bool forward){
  struct page *pg = NULL;
  struct cell cell;
  unsigned s = c->n_step-1;
  int rc, order;

  TRY_ALWAYS( step_get(c, s, &pg) );
  TRY( vdb_btree_cell_get(&c->t, pg, c->step[s].i, &cell) );
  if( ordered ){
    order = vdb_btree_compare(c->key, c->n_key, cell.key, cell.n_key);
    if( forward ? order>=0 : order<=0 ){
      TRY( BTREE_CORRUPT(&c->t, pg->pgno, "key of cell %u is out of order",
                         c->step[s].i) );
    }
  }
  if( cell.n_key ) memcpy(c->key, cell.key, cell.n_key);
  c->n_key = cell.n_key;
  c->at = AT_ENTRY;
  c->has_path = true;
  c->has_value = false;
done:
  vdb_page_unpin(c->t.p, pg);
  return rc;
}

static void cursor_leave(struct btree_cursor *c, bool forward){
  c->at = forward ? AT_END : AT_START;
  c->has_path = false;
  c->has_value = false;
}

/* The way leads to a place between cells: forward means the cell there, back
** the one before. Take it, crossing to the next leaf if need be. */
static int cursor_settle(struct btree_cursor *c, bool ordered, bool forward,
                         bool *at_end){
  unsigned s = c->n_step-1;
  struct page *pg = NULL;
  bool moved = true;
  int rc;

  TRY( step_get(c, s, &pg) );
  if( forward ? c->step[s].i>=vdb_btree_n_cell(pg) : c->step[s].i==0 ){
    vdb_page_unpin(c->t.p, pg);
    pg = NULL;
    TRY( cursor_cross(c, forward, &moved) );
  }
  *at_end = !moved;
  if( moved ){
    s = c->n_step-1;
    if( !forward ) c->step[s].i--;
    TRY( cursor_take(c, ordered, forward) );
  }else{
    cursor_leave(c, forward);
  }
done:
  vdb_page_unpin(c->t.p, pg);
  return rc;
}

/* After a failed move the key is still the last one reached; the next move
** seeks from there. */
static int cursor_finish(struct btree_cursor *c, int rc, bool *at_end){
  if( rc!=VECDB_OK ){
    c->has_path = false;
    c->has_value = false;
    *at_end = true;
  }
  return rc;
}

static bool cursor_is_current(const struct btree_cursor *c){
  return c->version==vdb_pager_version(c->t.p);
}

static int cursor_start(struct btree_cursor *c, enum descent how,
                        const void *key, size_t n_key, bool *found){
  c->version = vdb_pager_version(c->t.p);
  c->has_path = false;
  c->has_value = false;
  c->step[0].pgno = c->t.root;
  return cursor_descend(c, 0, BTREE_LEVEL_ANY, how, key, n_key, found);
}

int vdb_btree_first(struct btree_cursor *c, bool *at_end){
  bool found;
  int rc;
  c->at = AT_START;
  TRY( cursor_start(c, DOWN_FIRST, NULL, 0, &found) );
  TRY( cursor_settle(c, false, true, at_end) );
done:
  return cursor_finish(c, rc, at_end);
}

int vdb_btree_last(struct btree_cursor *c, bool *at_end){
  bool found;
  int rc;
  c->at = AT_END;
  TRY( cursor_start(c, DOWN_LAST, NULL, 0, &found) );
  TRY( cursor_settle(c, false, false, at_end) );
done:
  return cursor_finish(c, rc, at_end);
}

int vdb_btree_seek(struct btree_cursor *c, const void *key, size_t n_key,
                   bool *at_end){
  bool found;
  int rc;
  c->at = AT_START;
  TRY( cursor_start(c, DOWN_KEY, key, n_key, &found) );
  TRY( cursor_settle(c, false, true, at_end) );
done:
  return cursor_finish(c, rc, at_end);
}

/* One entry on. On a way that still holds, the place behind the current cell
** is index+1, the one before it is index itself; after a change both follow
** from a search for the key, and `found` says whether it is still there. */
static int cursor_move(struct btree_cursor *c, bool forward, bool *at_end){
  bool found = true;
  int rc;

  if( !c->has_path || !cursor_is_current(c) ){
    TRY( cursor_start(c, DOWN_KEY, c->key, c->n_key, &found) );
  }
  if( forward && found ) c->step[c->n_step-1].i++;
  TRY( cursor_settle(c, true, forward, at_end) );
done:
  return cursor_finish(c, rc, at_end);
}

int vdb_btree_next(struct btree_cursor *c, bool *at_end){
  *at_end = true;
  if( c->at==AT_END ) return VECDB_OK;
  if( c->at==AT_START ) return vdb_btree_first(c, at_end);
  return cursor_move(c, true, at_end);
}

int vdb_btree_prev(struct btree_cursor *c, bool *at_end){
  *at_end = true;
  if( c->at==AT_START ) return VECDB_OK;
  if( c->at==AT_END ) return vdb_btree_last(c, at_end);
  return cursor_move(c, false, at_end);
}

int vdb_btree_key(struct btree_cursor *c, const unsigned char **key,
                  size_t *n_key){
  *key = NULL;
  *n_key = 0;
  if( c->at!=AT_ENTRY ) return VECDB_MISUSE;
  *key = c->key;
  *n_key = c->n_key;
  return VECDB_OK;
}

/* Keep the memory of small values; a long one is not held for the life of
** the cursor, and a failed allocation must not stick. */
static void value_reset(struct vdb_str *val){
  if( vdb_str_rc(val)!=VECDB_OK || val->n_cap>65536 ) vdb_str_clear(val);
  else vdb_str_truncate(val, 0);
}

int vdb_btree_value(struct btree_cursor *c, const unsigned char **val,
                    size_t *n_val){
  struct page *pg = NULL;
  struct cell cell;
  bool found;
  int rc = VECDB_OK;

  *val = NULL;
  *n_val = 0;
  if( c->at!=AT_ENTRY ) return VECDB_MISUSE;
  if( !c->has_path || !cursor_is_current(c) ){
    TRY( cursor_start(c, DOWN_KEY, c->key, c->n_key, &found) );
    if( !found ) TRY( VECDB_NOTFOUND );
    c->has_path = true;
  }
  if( !c->has_value ){
    value_reset(&c->val);
    TRY( step_get(c, c->n_step-1, &pg) );
    TRY( vdb_btree_cell_get(&c->t, pg, c->step[c->n_step-1].i, &cell) );
    TRY( vdb_btree_value_read(&c->t, &cell, &c->val) );
    c->has_value = true;
  }
  *val = (const unsigned char*)c->val.z;    /* not NULL, even if empty */
  *n_val = c->val.n;
done:
  vdb_page_unpin(c->t.p, pg);
  return rc;
}
