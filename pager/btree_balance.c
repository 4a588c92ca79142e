/* btree_balance.c -- paths through a B+tree; splits and merges along them.
**
** SPLIT    A cell that does not fit sends its page's cells to the page and a
**          new one to the right of it, half of the bytes each. At the right
**          edge of the tree the new page gets as little as possible, so that
**          ascending inserts leave full pages behind. Only there: the same
**          in the middle would, for keys descending into one gap, make a
**          page for every key. The parent gets one more cell, which may
**          split it in turn; the root first moves its content down into a
**          new page, so that its number stays.
** MERGE    A page with less than a third of its room in use is joined with a
**          neighbour under the same parent, or shares the neighbour's cells
**          evenly when both do not fit one page. Full enough pages are left
**          alone: a removal that changes one page dirties one page.
** WHY NO   sibling links: they would make every split dirty a third leaf, and
**          a path finds the neighbour as well.
**
** Leaf separators are cut to the shortest prefix that still separates. All
** pages that a step changes are made writable before the first byte changes,
** but a step higher up may still fail: after an error the caller rolls back
** (to a savepoint).
*/
#include "util/common.h"
#include "pager/btree_int.h"
#include "util/mem.h"

/* ----------------------------------------------------------------- paths */

void vdb_btree_path_clear(const struct btree *t, struct path *path){
  while( path->n>0 ) vdb_page_unpin(t->p, path->step[--path->n].pg);
}

/* Go down one step, from the page at the end of the path to child pgno. */
static int path_push(const struct btree *t, struct path *path, page_no pgno){
  int level = BTREE_LEVEL_ANY;
  int rc;

  if( path->n>0 ) level = (int)vdb_btree_level(path->step[path->n-1].pg) - 1;
  assert( path->n<=BTREE_LEVEL_MAX );                              /* B3 */
  rc = vdb_btree_page_get(t, pgno, level, &path->step[path->n].pg);
  if( rc==VECDB_OK ) path->n++;
  return rc;
}

/* Ascending inserts are common, so a page on the right edge is asked for its
** last key before it is searched; `edge` becomes false when key is not beyond
** it, and nothing further down is asked. */
int vdb_btree_path_find(const struct btree *t, const void *key, size_t n_key,
                        struct path *path, bool *found){
  page_no pgno = t->root;
  struct page *pg;
  bool edge = true;
  unsigned i;
  int rc;

  path->n = 0;
  *found = false;
  for(;;){
    TRY( path_push(t, path, pgno) );
    pg = path->step[path->n-1].pg;
    if( edge ) TRY( vdb_btree_is_beyond(t, pg, key, n_key, &edge) );
    if( vdb_btree_is_leaf(pg) ) break;
    if( edge ){
      i = vdb_btree_n_cell(pg);
      pgno = get_u32(pg->data + BTREENODE_RIGHT);
    }else{
      TRY( vdb_btree_child_of(t, pg, key, n_key, &i, &pgno) );
    }
    path->step[path->n-1].i = i;
  }
  i = vdb_btree_n_cell(pg);
  if( !edge ) TRY( vdb_btree_search(t, pg, key, n_key, &i, found) );
  path->step[path->n-1].i = i;
done:
  if( rc!=VECDB_OK ) vdb_btree_path_clear(t, path);
  return rc;
}

int vdb_btree_path_last(const struct btree *t, struct path *path){
  page_no pgno = t->root;
  struct page *pg;
  int rc;

  path->n = 0;
  for(;;){
    TRY( path_push(t, path, pgno) );
    pg = path->step[path->n-1].pg;
    path->step[path->n-1].i = vdb_btree_n_cell(pg);
    if( vdb_btree_is_leaf(pg) ) break;
    pgno = get_u32(pg->data + BTREENODE_RIGHT);
  }
done:
  if( rc!=VECDB_OK ) vdb_btree_path_clear(t, path);
  return rc;
}

/* Does the path, down to step lv, end behind everything in the tree? */
static bool path_is_at_right_edge(const struct path *path, unsigned lv){
  for(unsigned i=0; i<=lv; i++){
    if( path->step[i].i!=vdb_btree_n_cell(path->step[i].pg) ) return false;
  }
  return true;
}

/* ------------------------------------------- the cells of a page or two */

struct cells {
  unsigned char *copy;      /* of the pages, which are about to be rewritten */
  uint32_t n_copy;          /* bytes of it in use */
  struct cell *c;           /* in order, pointing into copy */
  unsigned n;
};

static int cells_init(struct cells *s, size_t n_byte, size_t n_cell){
  s->n_copy = 0;
  s->n = 0;
  s->copy = vdb_malloc(n_byte);
  s->c = vdb_malloc_array(n_cell, sizeof(struct cell));
  return s->copy && s->c ? VECDB_OK : VECDB_NOMEM;
}

static void cells_clear(struct cells *s){
  vdb_free(s->copy);
  vdb_free(s->c);
}

/* Append one cell of which only the bytes, and for a node child and key, are
** needed later. */
static void cells_add(struct cells *s, const unsigned char *p, uint32_t n,
                      bool is_leaf){
  struct cell *c = &s->c[s->n++];
  uint64_t n_key = 0, n_val;
  const unsigned char *z = s->copy + s->n_copy, *end = z + n;

  memcpy(s->copy + s->n_copy, p, n);
  s->n_copy += n;
  memset(c, 0, sizeof(*c));
  c->p = z;
  c->n = n;
  if( !is_leaf ){
    c->pg = get_u32(z);
    z += 4;
  }
  z += vdb_get_varint(z, end, &n_key);
  if( is_leaf ) z += vdb_get_varint(z, end, &n_val);
  c->key = z;
  c->n_key = (uint32_t)n_key;
}

/* Append cells lo..hi-1 of a page. */
static int cells_take(const struct btree *t, struct cells *s,
                      const struct page *pg, unsigned lo, unsigned hi){
  struct page image;
  int rc = VECDB_OK;

  if( lo==hi ) return VECDB_OK;
  memset(&image, 0, sizeof(image));
  image.pgno = pg->pgno;
  image.data = s->copy + s->n_copy;
  memcpy(image.data, pg->data, t->usable);
  s->n_copy += t->usable;
  for(unsigned i=lo; i<hi && rc==VECDB_OK; i++){
    rc = vdb_btree_cell_get(t, &image, i, &s->c[s->n]);
    s->n += rc==VECDB_OK;
  }
  return rc;
}

static uint32_t cells_bytes(const struct cells *s){
  uint32_t n = 0;
  for(unsigned i=0; i<s->n; i++) n += s->c[i].n + 2;
  return n;
}

/* Where to cut: cells 0..k-1 stay left. Of a node cell k itself goes up, and
** both sides keep a cell (B2). 0: there are too few cells. */
static unsigned cells_middle(const struct cells *s, bool is_leaf){
  unsigned last = is_leaf ? s->n-1 : s->n-2, best = 0;
  uint32_t left = 0, right = cells_bytes(s), worst = UINT32_MAX, worse;

  if( s->n<2u+!is_leaf ) return 0;
  for(unsigned k=1; k<=last; k++){
    left += s->c[k-1].n + 2;
    right -= s->c[k-1].n + 2;
    worse = left>right ? left : right;
    if( worse<worst ){
      worst = worse;
      best = k;
    }
  }
  return best;
}

/* Make pg a page of cells lo..hi-1; right: last child of a node. */
static int page_fill(const struct btree *t, struct page *pg, unsigned level,
                     const struct cells *s, unsigned lo, unsigned hi,
                     page_no right){
  int rc = VECDB_OK;
  vdb_btree_page_init(t, pg, level);
  if( level ) put_u32(pg->data + BTREENODE_RIGHT, right);
  for(unsigned i=lo; i<hi && rc==VECDB_OK; i++){
    rc = vdb_btree_cell_append(t, pg, s->c[i].p, s->c[i].n);
  }
  return rc;
}

/* Cut the cells at k over two writable pages; last is the last child of a
** node. The parent's cell for the left one, child and separator, goes to
** sep. */
static int cells_spread(const struct btree *t, const struct cells *s,
                        unsigned k, page_no last, unsigned level,
                        struct page *left, struct page *right,
                        unsigned char *sep, uint32_t *n_sep){
  const struct cell *c = &s->c[k];
  uint32_t n = c->n_key;
  int rc;

  if( level ){
    TRY( page_fill(t, left, level, s, 0, k, c->pg) );
    /* If the left one fits: else cells_middle would have cut further right. */
    TRY_ALWAYS( page_fill(t, right, level, s, k+1, s->n, last) );
  }else{
    uint32_t n_before = c[-1].n_key;
    for(n=0; n<c->n_key && n<n_before && c[-1].key[n]==c->key[n]; n++){}
    if( n<c->n_key ) n++;              /* the first byte that differs, too */
    TRY( page_fill(t, left, level, s, 0, k, 0) );
    TRY( page_fill(t, right, level, s, k, s->n, 0) );
  }
  *n_sep = vdb_btree_node_cell(sep, left->pgno, c->key, n);
done:
  return rc;
}

/* --------------------------------------------------------------- growing */

/* Move the content of the root, which is writable, to a new page below it; the
** path grows a step. */
static int root_push_down(const struct btree *t, struct path *path){
  struct page *root = path->step[0].pg, *pg = NULL;
  unsigned level = vdb_btree_level(root);
  int rc;

  if( level==BTREE_LEVEL_MAX ){
    return BTREE_CORRUPT(t, t->root, "deeper than %d levels",
                         BTREE_LEVEL_MAX);
  }
  TRY( vdb_page_new(t->p, level ? PAGE_BTREE_NODE : PAGE_BTREE_LEAF, &pg) );
  memcpy(pg->data + PAGE_CONTENT, root->data + PAGE_CONTENT,
         t->usable - PAGE_CONTENT);
  vdb_btree_page_init(t, root, level+1);
  put_u32(root->data + BTREENODE_RIGHT, pg->pgno);
  memmove(&path->step[1], &path->step[0], path->n*sizeof(path->step[0]));
  path->n++;
  path->step[1].pg = pg;
  path->step[0].i = 0;
done:
  return rc;
}

/* Split the page at step lv, which p belongs into and is writable, and make its entry in the
** parent point to the new right page. The cell to insert into the parent goes
** to sep. p and sep may be the same memory. */
static int page_split(const struct btree *t, struct path *path, unsigned lv,
                      const unsigned char *p, uint32_t n, unsigned char *sep,
                      uint32_t *n_sep){
  struct page *pg = path->step[lv].pg, *right = NULL;
  struct page *parent = path->step[lv-1].pg;
  unsigned i = path->step[lv].i, n_cell = vdb_btree_n_cell(pg), k;
  unsigned level = vdb_btree_level(pg);
  page_no last = level ? get_u32(pg->data + BTREENODE_RIGHT) : 0;
  struct cells s;
  int rc;

  TRY( cells_init(&s, 2*(size_t)t->usable+n, (size_t)n_cell+1) );
  TRY( cells_take(t, &s, pg, 0, i) );
  cells_add(&s, p, n, level==0);
  TRY( cells_take(t, &s, pg, i, n_cell) );
  k = cells_middle(&s, level==0);
  if( k==0 ) TRY( BTREE_CORRUPT(t, pg->pgno, "%u cells fill it", n_cell) );
  if( path_is_at_right_edge(path, lv) ) k = s.n-1-(level>0);
  TRY( vdb_page_write(t->p, parent) );
  TRY( vdb_page_new(t->p, level ? PAGE_BTREE_NODE : PAGE_BTREE_LEAF,
                    &right) );
  TRY( cells_spread(t, &s, k, last, level, pg, right, sep, n_sep) );
  /* That cell of the parent was decoded on the way down. */
  TRY_ALWAYS( vdb_btree_set_child(t, parent, path->step[lv-1].i,
                                  right->pgno) );
done:
  vdb_page_unpin(t->p, right);
  cells_clear(&s);
  return rc;
}

int vdb_btree_path_insert(const struct btree *t, struct path *path,
                          const unsigned char *p, uint32_t n){
  unsigned char sep[BTREE_NODE_CELL_MAX];
  unsigned lv = path->n-1;
  int rc;

  for(;;){
    struct page *pg = path->step[lv].pg;
    TRY( vdb_page_write(t->p, pg) );
    if( n+2<=vdb_btree_page_free(t, pg) ){
      TRY( vdb_btree_cell_insert(t, pg, path->step[lv].i, p, n) );
      break;
    }
    if( lv==0 ){
      TRY( root_push_down(t, path) );
      lv = 1;
    }
    TRY( page_split(t, path, lv, p, n, sep, &n) );
    p = sep;
    lv--;
  }
done:
  return rc;
}

/* ------------------------------------------------------------- shrinking */

static bool page_is_underfull(const struct btree *t, const struct page *pg){
  uint32_t room = vdb_btree_room(t, pg);
  return room - vdb_btree_page_free(t, pg) < room/3;
}

/* All cells of two neighbours under one parent, for nodes with the separator
** between them (key il of the parent) come down as a cell. */
static int neighbours_take(const struct btree *t, struct cells *s,
                           const struct page *left, const struct page *right,
                           const struct page *parent, unsigned il){
  unsigned char sep[BTREE_NODE_CELL_MAX];
  struct cell c;
  uint32_t n;
  int rc;

  TRY( cells_init(s, 2*(size_t)t->usable + sizeof(sep),
                  (size_t)vdb_btree_n_cell(left) + vdb_btree_n_cell(right)
                  + 1) );
  TRY( cells_take(t, s, left, 0, vdb_btree_n_cell(left)) );
  if( vdb_btree_level(left)>0 ){
    /* On the way down, or to find the neighbour, it was decoded. */
    TRY_ALWAYS( vdb_btree_cell_get(t, parent, il, &c) );
    n = vdb_btree_node_cell(sep, get_u32(left->data + BTREENODE_RIGHT),
                            c.key, c.n_key);
    cells_add(s, sep, n, false);
  }
  TRY( cells_take(t, s, right, 0, vdb_btree_n_cell(right)) );
done:
  return rc;
}

/* Even out two pages; the parent's separator il changes with them, which may
** split the parent. The path ends at the parent afterwards. */
static int neighbours_spread(const struct btree *t, struct path *path,
                             const struct cells *s, struct page *left,
                             struct page *right, unsigned il){
  struct page *parent = path->step[path->n-1].pg;
  unsigned char sep[BTREE_NODE_CELL_MAX];
  unsigned level = vdb_btree_level(left), k;
  page_no last = level ? get_u32(right->data + BTREENODE_RIGHT) : 0;
  uint32_t n_sep;
  int rc;

  k = cells_middle(s, level==0);
  if( VDB_NEVER(k==0) ){            /* more than a page, so 5 cells (B1) */
    return BTREE_CORRUPT(t, left->pgno, "%u cells do not fit one page", s->n);
  }
  TRY( vdb_page_write(t->p, left) );
  TRY( vdb_page_write(t->p, right) );
  TRY( vdb_page_write(t->p, parent) );
  TRY( cells_spread(t, s, k, last, level, left, right, sep, &n_sep) );
  TRY( vdb_btree_cell_remove(t, parent, il) );
  path->step[path->n-1].i = il;
  TRY( vdb_btree_path_insert(t, path, sep, n_sep) );
done:
  return rc;
}

/* Join two pages into the left one; the right one is freed with its pin. */
static int neighbours_merge(const struct btree *t, struct page *parent,
                            const struct cells *s, struct page *left,
                            struct page *right, unsigned il){
  unsigned level = vdb_btree_level(left);
  page_no last = level ? get_u32(right->data + BTREENODE_RIGHT) : 0;
  int rc;

  TRY( vdb_page_write(t->p, left) );
  TRY( vdb_page_write(t->p, parent) );
  /* The caller has seen that they fit. */
  TRY_ALWAYS( page_fill(t, left, level, s, 0, s->n, last) );
  TRY( vdb_btree_cell_remove(t, parent, il) );
  TRY( vdb_btree_set_child(t, parent, il, left->pgno) );
done:
  if( rc==VECDB_OK ) return vdb_page_free(t->p, right);
  vdb_page_unpin(t->p, right);
  return rc;
}

/* The root, which is writable, has a single child: it takes that child's place.
** The child, pinned once, is freed. */
static int root_pull_up(const struct btree *t, struct page *root,
                        struct page *child){
  memcpy(root->data + PAGE_CONTENT, child->data + PAGE_CONTENT,
         t->usable - PAGE_CONTENT);
  root->data[PAGEHDR_TYPE] = child->data[PAGEHDR_TYPE];
  return vdb_page_free(t->p, child);
}

/* The last page of the path is underfull: repair it with a neighbour. The
** path loses that step. *merged: the parent has one cell less. */
static int page_shrink(const struct btree *t, struct path *path,
                       bool *merged){
  struct page *pg = path->step[path->n-1].pg, *other = NULL;
  struct page *parent = path->step[path->n-2].pg, *left, *right;
  unsigned i = path->step[path->n-2].i, il = i>0 ? i-1 : 0;
  struct cells s = { NULL, 0, NULL, 0 };
  page_no pgno;
  int rc;

  *merged = false;
  path->n--;                             /* pg is ours now */
  TRY( vdb_btree_child(t, parent, i>0 ? il : 1, &pgno) );
  if( pgno==pg->pgno ){
    TRY( BTREE_CORRUPT(t, parent->pgno, "child %u occurs twice",
                       (unsigned)pgno) );
  }
  TRY( vdb_btree_page_get(t, pgno, (int)vdb_btree_level(pg), &other) );
  left = i>0 ? other : pg;
  right = i>0 ? pg : other;
  TRY( neighbours_take(t, &s, left, right, parent, il) );
  if( cells_bytes(&s)>vdb_btree_room(t, left) ){
    TRY( neighbours_spread(t, path, &s, left, right, il) );
  }else{
    pg = left;                           /* the right one is given away */
    other = NULL;
    *merged = true;
    TRY( neighbours_merge(t, parent, &s, left, right, il) );
    if( path->n==1 && vdb_btree_n_cell(parent)==0 ){
      pg = NULL;
      rc = root_pull_up(t, parent, left);
    }
  }
done:
  vdb_page_unpin(t->p, pg);
  vdb_page_unpin(t->p, other);
  cells_clear(&s);
  return rc;
}

int vdb_btree_path_shrink(const struct btree *t, struct path *path){
  bool merged = true;
  int rc = VECDB_OK;

  while( merged && path->n>1
      && page_is_underfull(t, path->step[path->n-1].pg) ){
    TRY( page_shrink(t, path, &merged) );
  }
done:
  return rc;
}
