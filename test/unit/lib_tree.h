/* lib_tree.h -- B+trees under test, beside a model: a sorted array.
**
** Used by   t_btree.c, t_btree_use.c, t_btree_damage.c.
**
** The model keeps every entry as key, length and seed of its value, sorted.
** Everything is in memory.
*/
#ifndef LIB_TREE_H
#define LIB_TREE_H
#include "vt.h"

#include "pager/btree.h"
#include "pager/file.h"
#include "pager/format.h"
#include "pager/pager.h"
#include "util/bytes.h"
#include "util/mem.h"
#include "util/rng.h"

/* ------------------------------------------------------------- the model */

struct entry {
  struct entry *next;                   /* in the list of all, for the end */
  unsigned n_key;
  uint32_t n_val;
  uint64_t seed;                        /* of the bytes of the value */
  unsigned char key[BTREE_KEY_MAX];
};

struct model {
  struct entry **e;                     /* sorted; entries are never changed */
  size_t n, n_cap;
};

static struct entry *entry_list;        /* copies of a model share entries */

static inline int entry_compare(const void *a, size_t na, const void *b,
                                size_t nb){
  int c = memcmp(a, b, na<nb ? na : nb);
  return c ? c : (na>nb) - (na<nb);
}

/* The first entry with a key >= key. */
static inline size_t model_search(const struct model *m, const void *key,
                                  size_t n, bool *found){
  size_t lo = 0, hi = m->n;
  *found = false;
  while( lo<hi ){
    size_t mid = (lo+hi)/2;
    int c = entry_compare(m->e[mid]->key, m->e[mid]->n_key, key, n);
    if( c==0 ) *found = true;
    if( c<0 ) lo = mid+1;
    else hi = mid;
  }
  return lo;
}

static inline void model_put(struct model *m, const void *key, size_t n,
                      uint32_t n_val, uint64_t seed){
  struct entry *e = malloc(sizeof(*e));
  bool found;
  size_t i = model_search(m, key, n, &found);
  e->next = entry_list;
  entry_list = e;
  e->n_key = (unsigned)n;
  memcpy(e->key, key, n);
  e->n_val = n_val;
  e->seed = seed;
  if( m->n==m->n_cap ){
    m->n_cap = m->n_cap ? 2*m->n_cap : 64;
    m->e = realloc(m->e, m->n_cap*sizeof(*m->e));
  }
  if( !found ){
    memmove(m->e+i+1, m->e+i, (m->n-i)*sizeof(*m->e));
    m->n++;
  }
  m->e[i] = e;                          /* the old one may be in a copy */
}

static inline void model_delete(struct model *m, size_t i){
  m->n--;
  memmove(m->e+i, m->e+i+1, (m->n-i)*sizeof(*m->e));
}

static inline struct model model_copy(const struct model *m){
  struct model c = { NULL, m->n, m->n };
  c.e = malloc((m->n+1)*sizeof(*c.e));
  if( m->n ) memcpy(c.e, m->e, m->n*sizeof(*c.e));
  return c;
}

static inline void value_fill(unsigned char *p, uint32_t n, uint64_t seed){
  struct vdb_rng r;
  uint32_t i;
  vdb_rng_init(&r, seed);
  for(i=0; i+8<=n; i+=8) put_u64(p+i, vdb_rng_u64(&r));
  for(; i<n; i++) p[i] = (unsigned char)vdb_rng_u64(&r);
}

/* -------------------------------------------- the smallest possible page */

/* A host's page store of 4032 bytes a page; it keeps what was flushed. */
enum { HOST_USABLE = 4032, HOST_PAGES = 20000 };
static unsigned char *host_page[HOST_PAGES];
static uint64_t host_version;

static inline int host_begin(void *arg, uint64_t *version){
  (void)arg;
  *version = host_version;
  return VECDB_OK;
}
static inline int host_end(void *arg, int committed){
  (void)arg;
  host_version += committed!=0;
  return VECDB_OK;
}
static inline int host_read(void *arg, uint32_t pgno, void *buf){
  (void)arg;
  if( pgno>=HOST_PAGES || !host_page[pgno] ) return VECDB_NOTFOUND;
  memcpy(buf, host_page[pgno], HOST_USABLE);
  return VECDB_OK;
}
static inline int host_flush(void *arg, size_t n, const uint32_t *pgno,
                      const void *const *pages){
  (void)arg;
  for(size_t i=0; i<n; i++){
    if( pgno[i]>=HOST_PAGES ) return VECDB_FULL;
    if( !host_page[pgno[i]] ) host_page[pgno[i]] = malloc(HOST_USABLE);
    memcpy(host_page[pgno[i]], pages[i], HOST_USABLE);
  }
  return VECDB_OK;
}
static inline int host_free(void *arg, uint32_t pgno){
  (void)arg;
  if( pgno<HOST_PAGES ){
    free(host_page[pgno]);
    host_page[pgno] = NULL;
  }
  return VECDB_OK;
}
static const struct vecdb_page_store host_store = {
  .size = sizeof(host_store), .usable_size = HOST_USABLE,
  .begin_read = host_begin, .begin_write = host_begin, .end = host_end,
  .read_page = host_read, .flush = host_flush, .free_page = host_free
};

/* --------------------------------------------------------------- helpers */

struct bench {                          /* a database with one or two trees */
  struct vecdb_file_ops *ops;           /* of a file in RAM, or NULL */
  struct vdb_err err;
  struct pager *p;
  page_no root;
  struct model m;
  struct vdb_rng rng;
  bool is_long;                         /* all keys near the maximum */
  unsigned n_key_max;                   /* shape of the keys .. */
  uint32_t n_val_max;                   /* .. and values of this run */
  unsigned char *val;                   /* scratch */
};

static inline void bench_open_with(struct bench *b, struct pager_config *cfg,
                            uint64_t seed){
  cfg->open_flags |= VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE;
  cfg->fixed_seed = 1;
  REQUIRE_RC(VECDB_OK, vdb_pager_open(cfg, &b->err, &b->p));
  vdb_rng_init(&b->rng, seed);
  b->n_key_max = 40;
  b->n_val_max = 100;
  b->val = malloc(200000);
  REQUIRE_RC(VECDB_OK, vdb_pager_begin_write(b->p));
  REQUIRE_RC(VECDB_OK, vdb_btree_create(b->p, &b->root));
  REQUIRE_RC(VECDB_OK, vdb_pager_commit(b->p));
}

static inline void bench_open(struct bench *b, uint32_t sz_page, uint64_t seed){
  struct pager_config cfg;
  memset(b, 0, sizeof(*b));
  memset(&cfg, 0, sizeof(cfg));
  if( sz_page==HOST_USABLE ) cfg.store = &host_store;
  else cfg.open_flags = VECDB_OPEN_MEMORY;
  cfg.sz_page = sz_page==HOST_USABLE ? 0 : sz_page;
  bench_open_with(b, &cfg, seed);
}

/* A file, and the smallest cache there is: dirty pages go to the log before
** the commit and come back from it. */
static inline void bench_open_spilling(struct bench *b, uint64_t seed){
  struct pager_config cfg;
  memset(b, 0, sizeof(*b));
  memset(&cfg, 0, sizeof(cfg));
  REQUIRE_RC(VECDB_OK, vdb_file_mem_create(1, &b->ops));
  cfg.path = "t.vdb";
  cfg.file = b->ops;
  cfg.sz_cache = 1;
  bench_open_with(b, &cfg, seed);
}

static inline void bench_close(struct bench *b){
  if( vdb_pager_state(b->p)!=PAGER_NONE ) vdb_pager_rollback(b->p);
  CHECK_RC(VECDB_OK, vdb_pager_close(b->p));
  if( b->ops ) vdb_file_mem_destroy(b->ops);
  free(b->val);
  free(b->m.e);
  while( entry_list ){
    struct entry *next = entry_list->next;
    free(entry_list);
    entry_list = next;
  }
}

static inline unsigned below(struct bench *b, unsigned n){
  return vdb_rng_below(&b->rng, n);
}

/* Few distinct bytes and common prefixes, so that keys meet each other and
** separators need more than a byte. */
static inline unsigned key_make(struct bench *b, unsigned char *key){
  unsigned n = below(b, 20)==0 ? below(b, b->n_key_max+1)
                               : below(b, b->n_key_max<24 ? b->n_key_max+1
                                                          : 24);
  unsigned same = below(b, 3)==0 ? n/2 : 0;
  if( b->is_long ) same = n = b->n_key_max;
  for(unsigned i=0; i<n; i++){
    key[i] = i<same ? 'a' : (unsigned char)("ab\0\xff"[below(b, 4)]);
  }
  if( b->is_long ) put_key_u32(key+n-4, below(b, 4000));
  return n;
}

static inline uint32_t value_size(struct bench *b){
  switch( below(b, 40) ){
    case 0:  return b->n_val_max>2000 ? below(b, b->n_val_max+1) : 0;
    case 1:  return below(b, b->n_val_max<5000 ? b->n_val_max+1 : 5000);
    case 2:  return 0;
    default: return below(b, b->n_val_max<200 ? b->n_val_max+1 : 200);
  }
}

static inline void value_check(struct bench *b, const struct entry *e,
                        const unsigned char *val, size_t n){
  REQUIRE_U64(e->n_val, n);
  value_fill(b->val, e->n_val, e->seed);
  REQUIRE_MEM(b->val, val, n);
}

struct findings { int n_damage; int n_leak; char first[600]; };

static inline void findings_add(void *arg, int severity, const char *object,
                         const char *message){
  struct findings *f = arg;
  if( severity==2 && f->n_damage++==0 ){
    snprintf(f->first, sizeof(f->first), "%s: %s", object, message);
  }
  f->n_leak += severity==1;
}

static inline struct findings tree_findings(struct bench *b){
  struct findings f = { 0, 0, "" };
  struct census *c = NULL;
  uint64_t n_bad;
  REQUIRE_RC(VECDB_OK, vdb_census_begin(b->p, false, findings_add, &f, &c));
  REQUIRE_RC(VECDB_OK, vdb_btree_check(b->p, c, b->root, "tree"));
  REQUIRE_RC(VECDB_OK, vdb_census_end(c, &n_bad));
  return f;
}

static inline void tree_is_sound(struct bench *b){
  struct findings f = tree_findings(b);
  REQUIRE_STR("", f.first);
  REQUIRE_INT(0, f.n_leak);
}

/* The whole tree, forwards and back, is the model. */
static inline void tree_equals_model(struct bench *b){
  struct btree_cursor *c = NULL;
  const unsigned char *p;
  uint64_t n;
  size_t i, sz;
  bool at_end;

  REQUIRE_RC(VECDB_OK, vdb_btree_count(b->p, b->root, &n));
  REQUIRE_U64(b->m.n, n);
  REQUIRE_RC(VECDB_OK, vdb_btree_cursor_open(b->p, b->root, &c));
  REQUIRE_RC(VECDB_OK, vdb_btree_first(c, &at_end));
  for(i=0; !at_end; i++){
    REQUIRE(i<b->m.n);
    REQUIRE_RC(VECDB_OK, vdb_btree_key(c, &p, &sz));
    REQUIRE_U64(b->m.e[i]->n_key, sz);
    REQUIRE_MEM(b->m.e[i]->key, p, sz);
    REQUIRE_RC(VECDB_OK, vdb_btree_value(c, &p, &sz));
    value_check(b, b->m.e[i], p, sz);
    REQUIRE_RC(VECDB_OK, vdb_btree_next(c, &at_end));
  }
  REQUIRE_U64(b->m.n, i);
  REQUIRE_RC(VECDB_OK, vdb_btree_prev(c, &at_end));
  for(; !at_end; i--){
    REQUIRE(i>0);
    REQUIRE_RC(VECDB_OK, vdb_btree_key(c, &p, &sz));
    REQUIRE_U64(b->m.e[i-1]->n_key, sz);
    REQUIRE_MEM(b->m.e[i-1]->key, p, sz);
    REQUIRE_RC(VECDB_OK, vdb_btree_prev(c, &at_end));
  }
  REQUIRE_U64(0, i);
  vdb_btree_cursor_close(c);
}

/* ------------------------------------------------------- one operation */

static inline void op_put(struct bench *b){
  unsigned char key[BTREE_KEY_MAX];
  unsigned n = key_make(b, key);
  uint32_t n_val = value_size(b);
  uint64_t seed = vdb_rng_u64(&b->rng);
  enum btree_put_mode mode = (enum btree_put_mode)below(b, 3);
  bool found;
  size_t i = model_search(&b->m, key, n, &found);
  int rc, rc_want = VECDB_OK;

  if( found && mode==BTREE_INSERT ) rc_want = VECDB_EXISTS;
  if( !found && mode==BTREE_REPLACE ) rc_want = VECDB_NOTFOUND;
  if( found && below(b, 2) ) n_val = b->m.e[i]->n_val;    /* in place */
  value_fill(b->val, n_val, seed);
  rc = vdb_btree_put(b->p, b->root, key, n, b->val, n_val, mode);
  REQUIRE_RC(rc_want, rc);
  if( rc==VECDB_OK ) model_put(&b->m, key, n, n_val, seed);
}

static inline void op_delete(struct bench *b){
  unsigned char key[BTREE_KEY_MAX];
  unsigned n = key_make(b, key);
  bool found;
  size_t i = model_search(&b->m, key, n, &found);
  if( !found && b->m.n>0 && below(b, 4)>0 ){   /* mostly there */
    i = below(b, (unsigned)b->m.n);
    n = b->m.e[i]->n_key;
    memcpy(key, b->m.e[i]->key, n);
    found = true;
  }
  REQUIRE_RC(found ? VECDB_OK : VECDB_NOTFOUND,
             vdb_btree_delete(b->p, b->root, key, n));
  if( found ) model_delete(&b->m, i);
}

static inline void op_get(struct bench *b){
  unsigned char key[BTREE_KEY_MAX];
  unsigned n = key_make(b, key);
  struct vdb_str val = VDB_STR_INIT;
  bool found;
  size_t i = model_search(&b->m, key, n, &found);
  REQUIRE_RC(found ? VECDB_OK : VECDB_NOTFOUND,
             vdb_btree_get(b->p, b->root, key, n, &val));
  if( found ) value_check(b, b->m.e[i], (unsigned char*)val.z, val.n);
  vdb_str_clear(&val);
}
#endif
