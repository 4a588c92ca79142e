/* t_btree_damage.c -- B+trees whose pages were damaged. */
#include "unit/lib_tree.h"

/* --------------------------------------------------------------- damage */

/* All pages of the database that are of a tree or chain. */
static size_t tree_pages(struct bench *b, page_no *out, size_t n_max){
  size_t n = 0;
  for(page_no i=1; i<=vdb_pager_n_page(b->p) && n<n_max; i++){
    struct page *pg = NULL;
    if( vdb_page_get(b->p, i, 0, &pg)!=VECDB_OK ) continue;
    if( pg->data[PAGEHDR_TYPE]==PAGE_BTREE_LEAF
     || pg->data[PAGEHDR_TYPE]==PAGE_BTREE_NODE
     || pg->data[PAGEHDR_TYPE]==PAGE_OVERFLOW ) out[n++] = i;
    vdb_page_unpin(b->p, pg);
  }
  return n;
}

/* Lies that single bytes rarely tell: about free space, about two cells in one
** place, about lengths. */
static void cell_damage(struct bench *b, unsigned char *d){
  uint32_t hdr = d[PAGEHDR_TYPE]==PAGE_BTREE_LEAF ? BTREELEAF_SIZE
                                                  : BTREENODE_SIZE;
  unsigned n = get_u16(d + BTREELEAF_NCELL);
  uint32_t off = get_u32(d + BTREELEAF_OFFCELL);
  unsigned char *slot = d + hdr + 2*below(b, n>0 && n<200 ? n : 1);
  switch( below(b, 5) ){
    case 0: put_u16(d + BTREELEAF_FRAG, (uint16_t)below(b, 65536)); break;
    case 1: put_u16(slot, get_u16(d + hdr)); break;
    case 2: d[get_u16(slot) % vdb_pager_usable(b->p)] ^= 3; break;
    case 3: put_u16(d + BTREELEAF_NCELL, (uint16_t)(n+1)); break;
    default: put_u32(d + BTREELEAF_OFFCELL, off + 2 - below(b, 5));
  }
}

/* Change a page behind the back of its checksum. The header of a tree page
** and the offsets behind it are hit most. */
static void page_damage(struct bench *b, page_no pgno){
  struct page *pg = NULL;
  uint32_t usable = vdb_pager_usable(b->p), off;
  REQUIRE_RC(VECDB_OK, vdb_page_get(b->p, pgno, 0, &pg));
  REQUIRE_RC(VECDB_OK, vdb_page_write(b->p, pg));
  for(unsigned n=1+below(b, 4); n>0; n--){
    off = 16 + below(b, below(b, 3) ? 60 : usable-16);
    switch( below(b, 6) ){
      case 0:  pg->data[off] = 0; break;
      case 1:  pg->data[off] = 0xff; break;
      case 2:  pg->data[off] ^= (unsigned char)(1u<<below(b, 8)); break;
      case 3:  pg->data[off] = (unsigned char)below(b, 256); break;
      default: if( pg->data[PAGEHDR_TYPE]!=PAGE_OVERFLOW ){
                 cell_damage(b, pg->data);
               }
    }
  }
  vdb_page_unpin(b->p, pg);
}

static bool rc_is_fine(int rc){
  return rc==VECDB_OK || rc==VECDB_NOTFOUND || rc==VECDB_EXISTS
      || (rc & 0xff)==VECDB_CORRUPT;
}

/* Everything a user could do to a damaged tree. */
static void damage_exercise(struct bench *b){
  struct btree_cursor *c = NULL;
  unsigned char key[BTREE_KEY_MAX];
  struct vdb_str val = VDB_STR_INIT;
  const unsigned char *p;
  uint64_t n;
  size_t sz;
  bool at_end = false;
  int rc;

  REQUIRE(rc_is_fine(vdb_btree_count(b->p, b->root, &n)));
  REQUIRE_RC(VECDB_OK, vdb_btree_cursor_open(b->p, b->root, &c));
  rc = below(b, 2) ? vdb_btree_first(c, &at_end) : vdb_btree_last(c, &at_end);
  while( rc==VECDB_OK && !at_end ){
    rc = vdb_btree_value(c, &p, &sz);
    if( rc==VECDB_OK ) rc = below(b, 9) ? vdb_btree_next(c, &at_end)
                                        : vdb_btree_prev(c, &at_end);
  }
  REQUIRE(rc_is_fine(rc));
  vdb_btree_cursor_close(c);
  for(int i=0; i<30; i++){
    unsigned n_key = key_make(b, key);
    uint32_t n_val = value_size(b);
    rc = below(b, 2)
       ? vdb_btree_put(b->p, b->root, key, n_key, b->val, n_val, BTREE_UPSERT)
       : vdb_btree_delete(b->p, b->root, key, n_key);
    REQUIRE(rc_is_fine(rc));
    REQUIRE(rc_is_fine(vdb_btree_get(b->p, b->root, key, n_key, &val)));
  }
  vdb_str_clear(&val);
  if( below(b, 2) ) REQUIRE(rc_is_fine(vdb_btree_clear(b->p, b->root)));
  else REQUIRE(rc_is_fine(vdb_btree_destroy(b->p, b->root)));
}

static void damage_test(uint32_t sz_page, bool is_long, int n_put,
                        int n_round){
  static page_no pages[2000];
  struct findings f;
  struct bench b;
  size_t n_page;
  unsigned sp;

  bench_open(&b, sz_page, vt_seed() + sz_page);
  b.n_key_max = BTREE_KEY_MAX;
  b.n_val_max = 6000;
  b.is_long = is_long;
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b.p));
  for(int i=0; i<n_put; i++) op_put(&b);
  REQUIRE_RC(VECDB_OK, vdb_pager_commit(b.p));
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b.p));
  n_page = tree_pages(&b, pages, VDB_ARRAY_LEN(pages));
  REQUIRE(n_page>4);
  for(int i=0; i<n_round*vt_scale(); i++){
    REQUIRE_RC(VECDB_OK, vdb_pager_savepoint(b.p, &sp));
    for(unsigned n=1+below(&b, 3); n>0; n--){
      page_damage(&b, below(&b, 3) ? pages[below(&b, (unsigned)n_page)]
                                   : b.root);
    }
    f = tree_findings(&b);
    VDB_UNUSED(f);
    damage_exercise(&b);
    REQUIRE_RC(VECDB_OK, vdb_pager_rollback_to(b.p, sp));
    REQUIRE_RC(VECDB_OK, vdb_pager_release(b.p, sp));
  }
  tree_is_sound(&b);
  tree_equals_model(&b);
  bench_close(&b);
}

TEST(btree__survives_damaged_pages){ damage_test(4096, false, 600, 300); }
TEST(btree__survives_damage_in_a_deep_tree){
  damage_test(4096, true, 300, 300);
}
TEST(btree__survives_damaged_large_pages){
  damage_test(65536, false, 6000, 40);
}

/* A node whose children are all one page, several levels deep, is not
** walked exponentially. */
TEST(btree__notices_children_that_repeat){
  unsigned char key[BTREE_KEY_MAX];
  struct page *pg = NULL;
  struct findings f;
  struct bench b;
  uint64_t n;
  page_no left;

  bench_open(&b, 4096, 1);
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b.p));
  memset(key, 'k', sizeof(key));
  for(uint32_t i=0; i<400; i++){
    put_key_u32(key+896, i);
    REQUIRE_RC(VECDB_OK, vdb_btree_put(b.p, b.root, key, 900, "", 0,
                                       BTREE_INSERT));
  }
  for(page_no i=1; i<=vdb_pager_n_page(b.p); i++){
    if( vdb_page_get(b.p, i, PAGE_BTREE_NODE, &pg)!=VECDB_OK ) continue;
    REQUIRE_RC(VECDB_OK, vdb_page_write(b.p, pg));
    unsigned n_cell = get_u16(pg->data + BTREENODE_NCELL);
    left = get_u32(pg->data + get_u16(pg->data + BTREENODE_SIZE));
    for(unsigned k=0; k<n_cell; k++){
      put_u32(pg->data + get_u16(pg->data + BTREENODE_SIZE + 2*k), left);
    }
    put_u32(pg->data + BTREENODE_RIGHT, left);
    vdb_page_unpin(b.p, pg);
  }
  CHECK_RC(VECDB_CORRUPT, vdb_btree_count(b.p, b.root, &n));
  f = tree_findings(&b);
  CHECK(f.n_damage>0);
  CHECK_RC(VECDB_CORRUPT, vdb_btree_clear(b.p, b.root));
  CHECK(strstr(b.err.msg, "page ")!=NULL);
  bench_close(&b);
}

/* What check is for: each kind of planted damage is found. */
TEST(btree__check_finds_planted_damage){
  struct page *pg = NULL;
  struct findings f;
  unsigned char key[4];
  struct bench b;
  unsigned sp;

  bench_open(&b, 4096, 1);
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b.p));
  for(uint32_t i=0; i<1000; i++){
    put_key_u32(key, i);
    REQUIRE_RC(VECDB_OK, vdb_btree_put(b.p, b.root, key, 4, b.val,
                                       i==500 ? 10000 : 4, BTREE_INSERT));
  }
  tree_is_sound(&b);
  for(int kind=0; kind<6; kind++){
    bool is_done = false;
    REQUIRE_RC(VECDB_OK, vdb_pager_savepoint(b.p, &sp));
    for(page_no i=1; i<=vdb_pager_n_page(b.p) && !is_done; i++){
      enum page_type type = kind==4 ? PAGE_BTREE_NODE
                          : kind==5 ? PAGE_OVERFLOW : PAGE_BTREE_LEAF;
      unsigned char *d;
      if( vdb_page_get(b.p, i, type, &pg)!=VECDB_OK ) continue;
      REQUIRE_RC(VECDB_OK, vdb_page_write(b.p, pg));
      d = pg->data;
      switch( kind ){
        case 0: put_u16(d + BTREELEAF_FRAG, 9); break;          /* space */
        case 1: d[get_u16(d + BTREELEAF_SIZE)+2] ^= 0x40; break;/* order */
        case 2: put_u16(d + BTREELEAF_SIZE, get_u16(d + BTREELEAF_SIZE+2));
                break;                                          /* overlap */
        case 3: put_u16(d + BTREELEAF_NCELL, 0); break;         /* empty */
        case 4: d[BTREENODE_LEVEL] = 2; break;                  /* level */
        default: put_u32(d + OVERFLOW_SEQ, 1);                  /* chain */
      }
      is_done = true;
      vdb_page_unpin(b.p, pg);
    }
    REQUIRE(is_done);
    f = tree_findings(&b);
    if( f.n_damage==0 ) FAIL("damage of kind %d was not found", kind);
    REQUIRE_RC(VECDB_OK, vdb_pager_rollback_to(b.p, sp));
    REQUIRE_RC(VECDB_OK, vdb_pager_release(b.p, sp));
  }
  tree_is_sound(&b);
  bench_close(&b);
}

/* ---- every lie in turn --------------------------------------------------- */

enum { LIE_KEY = 620, LIE_ENTRIES = 34, N_LIE = 31, N_LIE_OP = 9 };

static unsigned char *lie_key(unsigned i){
  static unsigned char key[LIE_KEY];
  memset(key, 'k', sizeof(key));
  put_key_u32(key+LIE_KEY-4, i);
  return key;
}

static void lie_tree(struct bench *b){
  bench_open(b, 4096, 1);
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b->p));
  for(unsigned i=0; i<LIE_ENTRIES; i++){
    REQUIRE_RC(VECDB_OK, vdb_btree_put(b->p, b->root,
        lie_key(i*3%LIE_ENTRIES*4), LIE_KEY, b->val, i%8==0 ? 9000 : 60+i%9,
        BTREE_INSERT));
  }
  REQUIRE_RC(VECDB_OK, vdb_pager_commit(b->p));
}

static uint32_t lie_header(const unsigned char *d){
  return d[PAGEHDR_TYPE]==PAGE_BTREE_LEAF ? BTREELEAF_SIZE : BTREENODE_SIZE;
}

/* All slots name the longest cell. */
static void lie_all_one(unsigned char *d, unsigned n){
  unsigned char *slot = d + lie_header(d);
  unsigned at = get_u16(slot);
  for(unsigned i=0; i<n; i++){
    if( get_u16(slot + 2*i)<at ) at = get_u16(slot + 2*i);
  }
  for(unsigned i=0; i<n; i++) put_u16(slot + 2*i, (uint16_t)at);
}

/* n slots, all of the longest cell, right before which the cell area begins;
** `frag` bytes are said to be holes. */
static void lie_crowd(unsigned char *d, unsigned n, unsigned frag){
  unsigned n_true = get_u16(d + BTREELEAF_NCELL);
  unsigned char *slot = d + lie_header(d);
  if( lie_header(d) + 2*n>get_u32(d + BTREELEAF_OFFCELL) ) return;
  lie_all_one(d, n_true);
  for(unsigned i=n_true; i<n; i++) put_u16(slot + 2*i, get_u16(slot));
  put_u16(d + BTREELEAF_NCELL, (uint16_t)n);
  if( frag==0 ) return;
  put_u32(d + BTREELEAF_OFFCELL, lie_header(d) + 2*n);
  put_u16(d + BTREELEAF_FRAG, (uint16_t)frag);
}

/* Cell i+1 of a node lies within the lowest cell, which becomes cell i. */
static void lie_within(unsigned char *d, unsigned i){
  unsigned n = get_u16(d + BTREELEAF_NCELL);
  unsigned char *slot = d + lie_header(d) + 2*i, *low;
  uint32_t off = get_u32(d + BTREELEAF_OFFCELL);
  if( i+1>=n || d[PAGEHDR_TYPE]==PAGE_BTREE_LEAF ) return;
  low = d + off;
  memmove(low, d + get_u16(slot), 4);               /* the child of cell i */
  memmove(low+40, d + get_u16(slot+2), 4);
  low[44] = 1;
  low[45] = 'z';                                    /* above all others */
  put_u16(slot, (uint16_t)off);
  put_u16(slot+2, (uint16_t)(off+40));
}

/* Tell lie number `kind` about cell i (of a chain: about its page). */
static void lie_tell(unsigned char *d, uint32_t usable, unsigned kind,
                     unsigned i, page_no root){
  unsigned n = get_u16(d + BTREELEAF_NCELL);
  bool is_leaf = d[PAGEHDR_TYPE]==PAGE_BTREE_LEAF;
  unsigned char *slot = d + lie_header(d) + 2*i;
  unsigned char *next = d + lie_header(d) + 2*((i+1)%n);
  unsigned char *cell = d + get_u16(slot), *len = cell + (is_leaf ? 0 : 4);
  switch( kind ){
    case 0:  put_u16(d + BTREELEAF_FRAG, 0xffff); break;
    case 1:  put_u16(d + BTREELEAF_FRAG, 3000); break;
    case 2:  put_u16(slot, get_u16(next)); break;
    case 3:  put_u16(slot, (uint16_t)(usable-1)); break;
    case 4:  put_u16(slot, (uint16_t)(usable-7)); break;
    case 5:  lie_all_one(d, n); break;
    case 6:  memset(len, 0xff, 8); break;             /* no varint */
    case 7:  put_u16(len, 0x7fff); break;             /* a key too long */
    case 8:  len[1] = 1; break;                       /* a shorter one */
    case 9:  len[2] = 0xfe; len[3] = 0x7f; break;     /* a value too long */
    case 10: len[2] = 0x01; break;                    /* a chain of nothing */
    case 11: memset(len+2, 0xff, 4); len[6] = 0x0f; break;
    case 12: memset(cell, 0, 4); break;               /* no child */
    case 13: memcpy(cell, d + get_u16(next), 4); break;   /* a child twice */
    case 14: put_u16(d + BTREELEAF_NCELL, (uint16_t)(n+1)); break;
    case 15: put_u16(d + BTREELEAF_NCELL, 1); break;
    case 16: put_u32(d + BTREELEAF_OFFCELL, lie_header(d) + 2*n); break;
    case 17: put_u16(d + BTREELEAF_NCELL, 1);
             put_u32(d + BTREELEAF_OFFCELL, lie_header(d) + 2); break;
    case 18: put_u32(d + BTREELEAF_OFFCELL, usable); break;
    case 19: if( !is_leaf ) put_u32(d + BTREENODE_RIGHT, root); break;
    case 20: if( !is_leaf ) put_u32(d + BTREENODE_RIGHT, get_u32(cell)); break;
    case 21: memcpy(len+3, "\xff\xff", 2); break;     /* order */
    case 22: len[0] = 0; break;                       /* no key */
    case 23: lie_crowd(d, 12, 0); break;
    case 24: lie_crowd(d, 13, 0); break;
    case 25: lie_crowd(d, 8, 1000); break;
    case 26: lie_within(d, i); break;
    case 27: put_u16(len, 0x07b6); break;             /* a key of 950 bytes */
    case 28: put_u16(len+2, 0x09b0); break;           /* a value of 600 */
    case 29: lie_crowd(d, 14, 0); break;
    default: d[PAGEHDR_TYPE] = PAGE_BTREE_LEAF;
  }
}

/* One thing that a user may do, from key k on. */
static int lie_op(struct bench *b, unsigned op, unsigned k){
  struct btree_cursor *c = NULL;
  struct btree_loader *l = NULL;
  struct vdb_str val = VDB_STR_INIT;
  const unsigned char *p;
  bool at_end = false;
  uint64_t n;
  size_t sz;
  int rc = VECDB_OK;

  switch( op ){
    case 0:
      rc = vdb_btree_get(b->p, b->root, lie_key(4*k), LIE_KEY, &val);
      vdb_str_clear(&val);
      break;
    case 1:
      for(unsigned i=0; i<8 && rc==VECDB_OK; i++){
        rc = vdb_btree_put(b->p, b->root, lie_key(4*k+1+i%3+(i>3 ? 4 : 0)),
                           LIE_KEY, b->val, 50, BTREE_UPSERT);
      }
      break;
    case 2:
      rc = vdb_btree_put(b->p, b->root, lie_key(4*k), LIE_KEY, b->val, 90,
                         BTREE_UPSERT);
      break;
    case 3:
      for(unsigned i=k; i<LIE_ENTRIES && rc==VECDB_OK; i++){
        rc = vdb_btree_delete(b->p, b->root, lie_key(4*i), LIE_KEY);
      }
      break;
    case 4:
      for(unsigned i=k+1; i-->0 && rc==VECDB_OK; ){
        rc = vdb_btree_delete(b->p, b->root, lie_key(4*i), LIE_KEY);
      }
      break;
    case 5:
      rc = vdb_btree_count(b->p, b->root, &n);
      break;
    case 6:
      rc = k%2 ? vdb_btree_clear(b->p, b->root)
               : vdb_btree_destroy(b->p, b->root);
      break;
    case 7:
      rc = vdb_btree_load_begin(b->p, b->root, &l);
      for(unsigned i=0; i<6 && rc==VECDB_OK; i++){
        rc = vdb_btree_load_add(l, lie_key(5000+i), LIE_KEY, b->val, 50);
      }
      (void)vdb_btree_load_end(l, true);
      break;
    default:
      REQUIRE_RC(VECDB_OK, vdb_btree_cursor_open(b->p, b->root, &c));
      rc = k==0 ? vdb_btree_first(c, &at_end)
         : k==1 ? vdb_btree_last(c, &at_end)
         : vdb_btree_seek(c, lie_key(4*k), LIE_KEY, &at_end);
      while( rc==VECDB_OK && !at_end ){
        rc = vdb_btree_value(c, &p, &sz);
        if( rc!=VECDB_OK ) break;
        rc = k%2 ? vdb_btree_prev(c, &at_end) : vdb_btree_next(c, &at_end);
      }
      vdb_btree_cursor_close(c);
  }
  return rc;
}

/* Whatever is done to a tree with one lie in it ends well or as CORRUPT, and
** is undone without a trace; the check says whether the tree is sound. */
static void lie_live_with(struct bench *b, const char *what){
  unsigned sp;
  (void)tree_findings(b);
  for(unsigned op=0; op<N_LIE_OP; op++){
    for(unsigned k=0; k<LIE_ENTRIES; k+=op==0 || op==8 ? 1 : 3){
      int rc;
      if( op>=5 && op<8 && k>3 ) break;
      REQUIRE_RC(VECDB_OK, vdb_pager_savepoint(b->p, &sp));
      rc = lie_op(b, op, k);
      if( !rc_is_fine(rc) && rc!=VECDB_MISUSE ){
        FAIL("%s: operation %u from key %u on: %d", what, op, k, rc);
      }
      REQUIRE_RC(VECDB_OK, vdb_pager_rollback_to(b->p, sp));
      REQUIRE_RC(VECDB_OK, vdb_pager_release(b->p, sp));
    }
  }
}

/* Tell each lie about cell i of a page. */
static void lies_about(struct bench *b, page_no pgno, unsigned i){
  for(unsigned kind=0; kind<N_LIE; kind++){
    char what[80];
    struct page *pg = NULL;
    unsigned sp;
    REQUIRE_RC(VECDB_OK, vdb_pager_savepoint(b->p, &sp));
    REQUIRE_RC(VECDB_OK, vdb_page_get(b->p, pgno, 0, &pg));
    REQUIRE_RC(VECDB_OK, vdb_page_write(b->p, pg));
    lie_tell(pg->data, vdb_pager_usable(b->p), kind, i, b->root);
    vdb_page_unpin(b->p, pg);
    snprintf(what, sizeof(what), "page %u, lie %u, cell %u", (unsigned)pgno,
             kind, i);
    lie_live_with(b, what);
    REQUIRE_RC(VECDB_OK, vdb_pager_rollback_to(b->p, sp));
    REQUIRE_RC(VECDB_OK, vdb_pager_release(b->p, sp));
  }
}

TEST(btree__every_lie_of_a_page_ends_as_corrupt){
  static page_no pages[200];
  struct bench b;
  size_t n_page;

  lie_tree(&b);
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b.p));
  n_page = tree_pages(&b, pages, VDB_ARRAY_LEN(pages));
  for(size_t k=0; k<n_page; k++){
    struct page *pg = NULL;
    unsigned n = 0;
    REQUIRE_RC(VECDB_OK, vdb_page_get(b.p, pages[k], 0, &pg));
    if( pg->data[PAGEHDR_TYPE]!=PAGE_OVERFLOW ){
      n = get_u16(pg->data + BTREELEAF_NCELL);
    }
    vdb_page_unpin(b.p, pg);
    for(unsigned i=0; i<n; i+=n>2 ? n/2 : 1) lies_about(&b, pages[k], i);
  }
  tree_is_sound(&b);
  bench_close(&b);
}

/* ---- lies that take more than one page ----------------------------------- */

/* A way of as many levels as there may be, every page of it full: there is no
** room for one more. Each node names its child twice. */
TEST(btree__a_tree_that_is_too_deep_is_corrupt){
  struct page *pg = NULL;
  struct bench b;
  page_no child;

  bench_open(&b, 4096, 1);
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b.p));
  for(unsigned i=0; i<5; i++){
    REQUIRE_RC(VECDB_OK, vdb_btree_put(b.p, b.root, lie_key(i), LIE_KEY, b.val,
                                       180, BTREE_INSERT));
  }
  REQUIRE_RC(VECDB_OK, vdb_page_new(b.p, PAGE_BTREE_LEAF, &pg));
  child = pg->pgno;
  {
    struct page *root = NULL;
    REQUIRE_RC(VECDB_OK, vdb_page_get(b.p, b.root, PAGE_BTREE_LEAF, &root));
    memcpy(pg->data+PAGE_CONTENT, root->data+PAGE_CONTENT, 4096-PAGE_CONTENT);
    vdb_page_unpin(b.p, root);
  }
  vdb_page_unpin(b.p, pg);
  for(unsigned level=1; level<=32; level++){
    unsigned char *d;
    if( level<32 ) REQUIRE_RC(VECDB_OK, vdb_page_new(b.p, PAGE_BTREE_NODE,
                                                     &pg));
    else REQUIRE_RC(VECDB_OK, vdb_page_get(b.p, b.root, 0, &pg));
    REQUIRE_RC(VECDB_OK, vdb_page_write(b.p, pg));
    d = pg->data;
    memset(d+PAGE_CONTENT, 0, 4096-PAGE_CONTENT);
    d[PAGEHDR_TYPE] = PAGE_BTREE_NODE;
    d[BTREENODE_LEVEL] = (unsigned char)level;
    put_u32(d + BTREENODE_RIGHT, child);
    put_u16(d + BTREENODE_NCELL, 3);          /* of no room: no gap */
    put_u32(d + BTREENODE_OFFCELL, BTREENODE_SIZE+6);
    for(unsigned k=0; k<3; k++){
      unsigned at = 4096 - 6*(k+1);
      put_u16(d + BTREENODE_SIZE + 2*k, (uint16_t)at);
      put_u32(d + at, child);
      d[at+4] = 1;
      d[at+5] = (unsigned char)(1+k);
    }
    child = pg->pgno;
    vdb_page_unpin(b.p, pg);
  }
  CHECK_RC(VECDB_CORRUPT, vdb_btree_put(b.p, b.root, lie_key(77), LIE_KEY,
                                        b.val, 180, BTREE_INSERT));
  CHECK(strstr(b.err.msg, "deeper than 32 levels")!=NULL);
  bench_close(&b);
}

/* Bytes that change between two calls although nobody has changed the tree:
** only a file that lies does so. */
TEST(btree__a_page_that_changes_under_a_cursor_is_corrupt){
  struct btree_cursor *c = NULL;
  struct page *pg = NULL;
  const unsigned char *p;
  struct bench b;
  bool at_end;
  size_t n;

  bench_open(&b, 4096, 1);
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b.p));
  for(unsigned i=0; i<4; i++){
    REQUIRE_RC(VECDB_OK, vdb_btree_put(b.p, b.root, lie_key(i), LIE_KEY, b.val,
                                       20, BTREE_INSERT));
  }
  REQUIRE_RC(VECDB_OK, vdb_btree_cursor_open(b.p, b.root, &c));
  REQUIRE_RC(VECDB_OK, vdb_btree_last(c, &at_end));
  REQUIRE_RC(VECDB_OK, vdb_page_get(b.p, b.root, 0, &pg));
  REQUIRE_RC(VECDB_OK, vdb_page_write(b.p, pg));
  put_u16(pg->data + BTREELEAF_NCELL, 2);
  vdb_page_unpin(b.p, pg);
  CHECK_RC(VECDB_CORRUPT, vdb_btree_value(c, &p, &n));
  CHECK(strstr(b.err.msg, "cell 3 of 2 asked for")!=NULL);
  vdb_btree_cursor_close(c);
  bench_close(&b);
}
