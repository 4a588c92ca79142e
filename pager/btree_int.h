/* btree_int.h -- what the files of the B+tree share; private to pager/.
**
** LAYOUT   BTREELEAF, BTREENODE and OVERFLOW in format.def. A tree page is
**          slotted: after its header an array of 2-byte cell offsets in order
**          of the key, then a gap, then cells up to the end of the page.
**
**            leaf cell   varint n_key, varint n_val*2 + is_chained, the key,
**                        then the value or the 4-byte number of the first
**                        page of a chain that holds all of it
**            node cell   4-byte child, varint n_key, the key
**
**          The child of node cell i holds the keys below key i (and not below
**          key i-1); BTREENODE.RIGHT holds those from the last key on. So a
**          node of n cells has children 0..n, n being RIGHT.
**
** INVARIANTS
**   B1  A cell and its offset take at most a quarter of a page's room.
**   B2  Only the root may be an empty leaf; every node has at least one cell.
**   B3  The level of a child is one less than its parent's, a leaf is level
**       0: a descent ends after at most BTREE_LEVEL_MAX steps whatever the
**       links say.
**   B4  FRAG is the room of the page that is neither cell nor gap.
**   B5  Nothing is pinned between two calls of the public functions, so that
**       a rollback never meets a pin of ours.
**   B6  A change is announced with vdb_pager_touch; cursors compare
**       vdb_pager_version.
**
** A cell is checked when it is decoded, not when its page is read: a search
** then pays for the cells it looks at. Code that moves cells checks that they
** fit where it puts them.
*/
#ifndef VDB_BTREE_INT_H
#define VDB_BTREE_INT_H
#include "pager/btree.h"
#include "pager/format.h"
#include "pager/pager_int.h"

#define BTREE_LEVEL_MAX  32         /* of the root; enough at fan-out 2 */
#define BTREE_VALUE_MAX  (1u<<30)
/* Room for any leaf cell (B1 at the largest page) and for any node cell. */
#define BTREE_CELL_MAX   ((65536 - BTREELEAF_SIZE)/4)
#define BTREE_NODE_CELL_MAX  (4 + 2 + BTREE_KEY_MAX)
#define BTREE_LEVEL_ANY  (-1)

/* Leaves and nodes begin alike. */
_Static_assert((int)BTREELEAF_NCELL==(int)BTREENODE_NCELL, "NCELL");
_Static_assert((int)BTREELEAF_FRAG==(int)BTREENODE_FRAG, "FRAG");
_Static_assert((int)BTREELEAF_OFFCELL==(int)BTREENODE_OFFCELL, "OFFCELL");

struct btree {                      /* one operation on one tree */
  struct pager *p;
  page_no root;
  uint32_t usable;                  /* bytes of a page */
};

struct cell {                       /* a decoded cell; points into its page */
  const unsigned char *p;           /* where it begins */
  uint32_t n;                       /* its bytes */
  const unsigned char *key;
  uint32_t n_key;
  const unsigned char *val;         /* leaf: inline value, NULL if chained */
  uint32_t n_val;                   /* leaf */
  page_no pg;                       /* node: child; leaf: chain, 0 if inline */
};

/* The way from the root (step 0) to a leaf (step n-1), all pinned. */
struct path {
  unsigned n;
  struct {
    struct page *pg;                /* NULL once it was given away */
    unsigned i;                     /* child, or cell of the leaf */
  } step[BTREE_LEVEL_MAX+1];
};

#define BTREE_CORRUPT(t, pgno, fmt, ...) \
  VDB_CORRUPT(vdb_pager_err((t)->p), "page %u of %s: b-tree %u: " fmt, \
              (unsigned)(pgno), vdb_pager_name((t)->p), \
              (unsigned)(t)->root, __VA_ARGS__)

static inline void vdb_btree_init(struct btree *t, struct pager *p,
                                  page_no root){
  t->p = p;
  t->root = root;
  t->usable = vdb_pager_usable(p);
}

static inline int vdb_btree_compare(const void *a, size_t na, const void *b,
                                    size_t nb){
  size_t n = na<nb ? na : nb;
  int c = n ? memcmp(a, b, n) : 0;
  return c ? c : (na>nb) - (na<nb);
}

/* ---- btree_page.c: one page -------------------------------------------- */

static inline bool vdb_btree_is_leaf(const struct page *pg){
  return pg->data[PAGEHDR_TYPE]==PAGE_BTREE_LEAF;
}
static inline unsigned vdb_btree_n_cell(const struct page *pg){
  return get_u16(pg->data + BTREELEAF_NCELL);
}
static inline unsigned vdb_btree_level(const struct page *pg){
  return vdb_btree_is_leaf(pg) ? 0 : pg->data[BTREENODE_LEVEL];
}
static inline uint32_t vdb_btree_header(const struct page *pg){
  return vdb_btree_is_leaf(pg) ? BTREELEAF_SIZE : BTREENODE_SIZE;
}
/* Room of a page of this kind for cells and their offsets. */
static inline uint32_t vdb_btree_room(const struct btree *t,
                                      const struct page *pg){
  return t->usable - vdb_btree_header(pg);
}

/* Make a writable page an empty one of this level (0: leaf). */
void vdb_btree_page_init(const struct btree *t, struct page *pg,
                         unsigned level);
/* Pin a page of the tree, which must be of this level (or LEVEL_ANY), its
** header checked (B2, B3). */
int vdb_btree_page_get(const struct btree *t, page_no pgno, int level,
                       struct page **out);
int vdb_btree_cell_get(const struct btree *t, const struct page *pg,
                       unsigned i, struct cell *out);
/* The first cell whose key is >= key, and whether it is equal. */
int vdb_btree_search(const struct btree *t, const struct page *pg,
                     const void *key, size_t n_key, unsigned *i, bool *found);
/* Is key above all keys of the page? */
int vdb_btree_is_beyond(const struct btree *t, const struct page *pg,
                        const void *key, size_t n_key, bool *beyond);
/* Child i of a node: 0..n_cell. */
int vdb_btree_child(const struct btree *t, const struct page *pg, unsigned i,
                    page_no *out);
/* The child that holds key. */
int vdb_btree_child_of(const struct btree *t, const struct page *pg,
                       const void *key, size_t n_key, unsigned *i,
                       page_no *out);

/* The following change a page that is writable. */
int vdb_btree_set_child(const struct btree *t, struct page *pg, unsigned i,
                        page_no child);
int vdb_btree_cell_remove(const struct btree *t, struct page *pg, unsigned i);
/* Bytes that cells and offsets may still take. */
uint32_t vdb_btree_page_free(const struct btree *t, const struct page *pg);
/* Insert a cell that fits (n+2 <= page_free). NOMEM, CORRUPT. */
int vdb_btree_cell_insert(const struct btree *t, struct page *pg, unsigned i,
                          const unsigned char *p, uint32_t n);
/* Add a cell behind all others, into an unfragmented page. CORRUPT when it
** does not fit. */
int vdb_btree_cell_append(const struct btree *t, struct page *pg,
                          const unsigned char *p, uint32_t n);
uint32_t vdb_btree_node_cell(unsigned char *p, page_no child, const void *key,
                             uint32_t n_key);       /* returns its bytes */

/* ---- btree_overflow.c: values and the chains that hold long ones -------- */

/* Encode a leaf cell into buf (BTREE_CELL_MAX bytes); a value too long for a
** page goes to a new chain. */
int vdb_btree_leaf_cell(const struct btree *t, const void *key, size_t n_key,
                        const void *val, size_t n_val, unsigned char *buf,
                        uint32_t *n);
/* Append the value of a leaf cell to *out. The cell's page is pinned. */
int vdb_btree_value_read(const struct btree *t, const struct cell *cell,
                         struct vdb_str *out);
/* Free the pages of a chain of n_val bytes; pg 0 is fine. */
int vdb_btree_chain_free(const struct btree *t, page_no pg, uint32_t n_val);
uint32_t vdb_btree_chain_pages(const struct btree *t, uint32_t n_val);

/* ---- btree_balance.c: paths, splits, merges ----------------------------- */

void vdb_btree_path_clear(const struct btree *t, struct path *path);
/* The way to where key is or would be; the leaf's step holds the cell. */
int vdb_btree_path_find(const struct btree *t, const void *key, size_t n_key,
                        struct path *path, bool *found);
/* The way to the end of the last leaf. */
int vdb_btree_path_last(const struct btree *t, struct path *path);
/* Insert a cell at the leaf step of path, splitting what is full. The path
** may be used for nothing but path_clear and path_shrink afterwards. */
int vdb_btree_path_insert(const struct btree *t, struct path *path,
                          const unsigned char *p, uint32_t n);
/* After a removal: merge or even out what has become too empty. */
int vdb_btree_path_shrink(const struct btree *t, struct path *path);
#endif
