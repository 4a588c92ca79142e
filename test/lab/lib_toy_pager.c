/* lib_toy_pager.c -- a toy straight on the pager. See lib_toy.h.
**
** It has TOY_N_SLOT slots; each is empty, a page or an extent. The table is
** one page: entries {pgno u32, kind u32, stamp u64}, zero when the slot is
** empty. Its number is word TOY_WORD_TABLE of the root. */
#include <stdio.h>
#include <stdlib.h>

#include "util/common.h"
#include "util/bytes.h"
#include "util/rng.h"
#include "pager/extent.h"
#include "pager/pager.h"
#include "lab/lib_layer.h"
#include "lab/lib_toy.h"

enum { TOY_N_SLOT = 96, TOY_WORD_TABLE = 15, TOY_WORD_STATE = 14 };
enum { ENTRY_SIZE = 16, KIND_PAGE = 1, KIND_EXTENT = 2 };

struct toy_entry { page_no pgno; uint32_t kind; uint64_t stamp; };

static struct pager *toy_pager(struct toy *t){ return t->db; }

static int pager_toy_open(struct toy *t, const struct toy_config *cfg){
  struct pager_config pc;
  struct pager *p = NULL;
  int rc;
  memset(&pc, 0, sizeof(pc));
  pc.path = cfg->path;
  pc.open_flags = cfg->flags ? cfg->flags
                             : VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE;
  pc.sz_page = cfg->sz_page;
  pc.sz_cache = cfg->sz_cache;
  pc.sync = cfg->sync;
  pc.busy_ms = cfg->busy_ms;
  pc.no_mmap = cfg->no_mmap;
  pc.sz_wal_auto = cfg->sz_wal;
  pc.fixed_seed = 77;
  pc.file = cfg->ops;
  pc.store = cfg->store;
  rc = vdb_pager_open(&pc, &t->err, &p);
  t->db = p;
  t->extra = cfg->extra;
  return rc;
}

static int pager_toy_close(struct toy *t){
  return vdb_pager_close(toy_pager(t));
}

/* ---- transactions -------------------------------------------------------- */

static int pager_toy_begin(struct toy *t, bool write){
  return write ? vdb_pager_begin_write(toy_pager(t))
               : vdb_pager_begin_read(toy_pager(t));
}

static int pager_toy_commit(struct toy *t){
  return vdb_pager_commit(toy_pager(t));
}

static int pager_toy_rollback(struct toy *t){
  if( vdb_pager_state(toy_pager(t))==PAGER_READ ){
    return vdb_pager_end_read(toy_pager(t));
  }
  return vdb_pager_rollback(toy_pager(t));
}

static int pager_toy_savepoint(struct toy *t, unsigned *n){
  return vdb_pager_savepoint(toy_pager(t), n);
}
static int pager_toy_release(struct toy *t, unsigned n){
  return vdb_pager_release(toy_pager(t), n);
}
static int pager_toy_rollback_to(struct toy *t, unsigned n){
  return vdb_pager_rollback_to(toy_pager(t), n);
}

static int pager_toy_prepare(struct toy *t, const unsigned char host[16],
                             uint64_t token){
  return vdb_pager_prepare(toy_pager(t), host, token);
}
static int pager_toy_decide(struct toy *t, bool commit){
  return vdb_pager_decide(toy_pager(t), commit, false);
}
static int pager_toy_in_doubt(struct toy *t, bool *in_doubt){
  unsigned char host[16];
  uint64_t token;
  return vdb_pager_in_doubt(toy_pager(t), in_doubt, host, &token);
}

static int pager_toy_checkpoint(struct toy *t, int mode, uint64_t *n_log,
                                uint64_t *n_done){
  return vdb_pager_checkpoint(toy_pager(t), mode, n_log, n_done);
}
static int pager_toy_backup(struct toy *t, const char *path){
  return vdb_pager_backup(toy_pager(t), path, NULL, NULL);
}
static int pager_toy_tidy(struct toy *t, bool vacuum){
  VDB_UNUSED(t); VDB_UNUSED(vacuum);
  return VECDB_OK;
}

/* ---- contents ------------------------------------------------------------ */

static void content_fill(unsigned char *p, size_t n, unsigned slot,
                         uint64_t stamp){
  uint64_t x = vdb_mix64(stamp*TOY_N_SLOT + slot + 1);
  for(size_t i=0; i<n; i++){
    if( i%8==0 ) x += 0x9e3779b97f4a7c15u;
    p[i] = (unsigned char)(x >> 8*(i%8));
  }
}

/* Where the bytes first differ from what they must be; n when nowhere. */
static size_t content_compare(const unsigned char *p, size_t n, unsigned slot,
                              uint64_t stamp){
  uint64_t x = vdb_mix64(stamp*TOY_N_SLOT + slot + 1);
  for(size_t i=0; i<n; i++){
    if( i%8==0 ) x += 0x9e3779b97f4a7c15u;
    if( p[i]!=(unsigned char)(x >> 8*(i%8)) ) return i;
  }
  return n;
}

static struct extent_spec extent_spec_of(unsigned slot, uint64_t stamp){
  struct extent_spec s;
  memset(&s, 0, sizeof(s));
  s.kind = 7;
  s.stride = 64;
  s.n_rec = 1 + (uint32_t)(vdb_mix64(stamp + 3*slot) % 300);
  s.owner = stamp;
  return s;
}

/* ---- the table ----------------------------------------------------------- */

/* Pin the table; with `create` make one when there is none. *out is NULL when
** the toy is empty. */
static int table_get(struct toy *t, bool create, struct page **out){
  uint64_t pgno = 0;
  int rc = vdb_root_get(toy_pager(t), (enum root_word)TOY_WORD_TABLE, &pgno);
  *out = NULL;
  if( rc!=VECDB_OK ) return rc;
  if( pgno!=0 ) return vdb_page_get(toy_pager(t), (page_no)pgno,
                                    PAGE_COLLECTION, out);
  if( !create ) return VECDB_OK;
  rc = vdb_page_new(toy_pager(t), PAGE_COLLECTION, out);
  if( rc!=VECDB_OK ) return rc;
  return vdb_root_set(toy_pager(t), (enum root_word)TOY_WORD_TABLE,
                      (*out)->pgno);
}

static struct toy_entry entry_get(const struct page *table, unsigned slot){
  const unsigned char *p = table->data + PAGE_CONTENT + ENTRY_SIZE*slot;
  struct toy_entry e = { get_u32(p), get_u32(p+4), get_u64(p+8) };
  return e;
}

static int entry_set(struct toy *t, struct page *table, unsigned slot,
                     const struct toy_entry *e){
  unsigned char *p;
  int rc = vdb_page_write(toy_pager(t), table);
  if( rc!=VECDB_OK ) return rc;
  p = table->data + PAGE_CONTENT + ENTRY_SIZE*slot;
  put_u32(p, e->pgno);
  put_u32(p+4, e->kind);
  put_u64(p+8, e->stamp);
  vdb_pager_touch(toy_pager(t));
  return VECDB_OK;
}

/* ---- changes ------------------------------------------------------------- */

static int entry_free(struct toy *t, const struct toy_entry *e){
  struct page *pg = NULL;
  int rc = VECDB_OK;
  if( e->kind==KIND_EXTENT ) return vdb_extent_free(toy_pager(t), e->pgno);
  if( e->kind!=KIND_PAGE ) return VECDB_OK;
  rc = vdb_page_get(toy_pager(t), e->pgno, PAGE_OVERFLOW, &pg);
  return rc==VECDB_OK ? vdb_page_free(toy_pager(t), pg) : rc;
}

static int slot_drop(struct toy *t, unsigned slot){
  static const struct toy_entry none;
  struct page *table = NULL;
  struct toy_entry e;
  int rc;

  TRY( table_get(t, true, &table) );
  e = entry_get(table, slot);
  if( e.kind==0 ) goto done;
  TRY( entry_free(t, &e) );
  TRY( entry_set(t, table, slot, &none) );
done:
  vdb_page_unpin(toy_pager(t), table);
  return rc;
}

static int slot_put(struct toy *t, unsigned slot, uint64_t stamp){
  struct page *table = NULL, *pg = NULL;
  struct toy_entry e;
  int rc;

  TRY( table_get(t, true, &table) );
  e = entry_get(table, slot);
  if( e.kind==KIND_EXTENT ) TRY( entry_free(t, &e) );
  if( e.kind==KIND_PAGE ){
    TRY( vdb_page_get(toy_pager(t), e.pgno, PAGE_OVERFLOW, &pg) );
    TRY( vdb_page_write(toy_pager(t), pg) );
  }else{
    TRY( vdb_page_new(toy_pager(t), PAGE_OVERFLOW, &pg) );
  }
  content_fill(pg->data + PAGE_CONTENT,
               vdb_pager_usable(toy_pager(t)) - PAGE_CONTENT, slot, stamp);
  e.pgno = pg->pgno;
  e.kind = KIND_PAGE;
  e.stamp = stamp;
  TRY( entry_set(t, table, slot, &e) );
done:
  vdb_page_unpin(toy_pager(t), pg);
  vdb_page_unpin(toy_pager(t), table);
  return rc;
}

static int slot_put_extent(struct toy *t, unsigned slot, uint64_t stamp){
  struct extent_spec spec = extent_spec_of(slot, stamp);
  size_t n = (size_t)spec.stride*spec.n_rec;
  unsigned char *payload = lab_alloc(n);
  struct page *table = NULL;
  struct toy_entry e;
  int rc;

  TRY( table_get(t, true, &table) );
  e = entry_get(table, slot);
  TRY( entry_free(t, &e) );
  content_fill(payload, n, slot, stamp);
  TRY( vdb_extent_create(toy_pager(t), &spec, payload, &e.pgno) );
  e.kind = KIND_EXTENT;
  e.stamp = stamp;
  TRY( entry_set(t, table, slot, &e) );
done:
  vdb_page_unpin(toy_pager(t), table);
  free(payload);
  return rc;
}

/* Twelve slots hold all of them, so that space is freed and used again. */
static int pager_toy_load(struct toy *t, uint64_t seed, unsigned n){
  int rc = VECDB_OK;
  for(unsigned i=0; i<n && rc==VECDB_OK; i++){
    uint64_t stamp = vdb_mix64(seed*64 + i);
    rc = slot_put_extent(t, (unsigned)((stamp>>8) % 12), stamp);
  }
  return rc;
}

static int pager_toy_change(struct toy *t, uint64_t seed, unsigned n){
  struct vdb_rng r;
  int rc = VECDB_OK;
  vdb_rng_init(&r, seed);
  for(unsigned i=0; i<n && rc==VECDB_OK; i++){
    unsigned slot = vdb_rng_below(&r, TOY_N_SLOT);
    uint64_t stamp = vdb_rng_u64(&r);
    switch( vdb_rng_below(&r, 8) ){
      case 0: case 1: rc = slot_put_extent(t, slot, stamp); break;
      case 2:         rc = slot_drop(t, slot); break;
      default:        rc = slot_put(t, slot, stamp); break;
    }
  }
  return rc;
}

static int pager_toy_set_state(struct toy *t, uint64_t state){
  return vdb_root_set(toy_pager(t), (enum root_word)TOY_WORD_STATE, state);
}

/* ---- reading ------------------------------------------------------------- */

static int content_error(struct toy *t, unsigned slot, const char *what,
                         size_t at){
  return vdb_error(&t->err, VECDB_CORRUPT, "toy: slot %u: %s wrong at byte %zu",
                   slot, what, at);
}

static int entry_verify_page(struct toy *t, unsigned slot,
                             const struct toy_entry *e){
  size_t n = vdb_pager_usable(toy_pager(t)) - PAGE_CONTENT, at;
  struct page *pg = NULL;
  int rc = vdb_page_get(toy_pager(t), e->pgno, PAGE_OVERFLOW, &pg);
  if( rc!=VECDB_OK ) return rc;
  at = content_compare(pg->data + PAGE_CONTENT, n, slot, e->stamp);
  vdb_page_unpin(toy_pager(t), pg);
  return at==n ? VECDB_OK : content_error(t, slot, "page", at);
}

static int entry_verify_extent(struct toy *t, unsigned slot,
                               const struct toy_entry *e){
  struct extent_spec spec = extent_spec_of(slot, e->stamp);
  size_t n = (size_t)spec.stride*spec.n_rec, at = 0;
  struct extent x;
  int rc;
  memset(&x, 0, sizeof(x));
  rc = vdb_extent_pin(toy_pager(t), e->pgno, &x);
  if( rc!=VECDB_OK ) return rc;
  if( x.sz==n && x.spec.owner==e->stamp && x.spec.kind==spec.kind ){
    at = content_compare(x.data, n, slot, e->stamp);
  }
  vdb_extent_unpin(toy_pager(t), &x);
  return at==n ? VECDB_OK : content_error(t, slot, "extent", at);
}

static int entry_verify(struct toy *t, unsigned slot,
                        const struct toy_entry *e){
  if( e->kind==0 ) return VECDB_OK;
  if( e->kind==KIND_PAGE ) return entry_verify_page(t, slot, e);
  if( e->kind==KIND_EXTENT ) return entry_verify_extent(t, slot, e);
  return vdb_error(&t->err, VECDB_CORRUPT, "toy: slot %u: kind %u", slot,
                   e->kind);
}

static int pager_toy_digest(struct toy *t, uint64_t *state, uint64_t *digest){
  struct page *table = NULL;
  int rc;

  *digest = 0;
  TRY( vdb_root_get(toy_pager(t), (enum root_word)TOY_WORD_STATE, state) );
  TRY( table_get(t, false, &table) );
  *digest = vdb_mix64(*state + 1);
  for(unsigned slot=0; table && slot<TOY_N_SLOT; slot++){
    struct toy_entry e = entry_get(table, slot);
    uint64_t key[3] = { slot, e.kind, e.stamp };
    TRY( entry_verify(t, slot, &e) );
    if( e.kind ) *digest = lab_hash(*digest, key, sizeof(key));
  }
  if( t->extra ) TRY( t->extra->digest(t, digest) );
done:
  vdb_page_unpin(toy_pager(t), table);
  return rc;
}

/* ---- checking ------------------------------------------------------------ */

struct finding { struct toy *t; size_t n; };

static void finding_report(void *arg, int severity, const char *object,
                           const char *message){
  struct finding *f = arg;
  if( severity<1 ) return;
  if( f->n++==0 ){
    (void)vdb_error(&f->t->err, VECDB_CORRUPT, "check: %s: %s", object, message);
  }
}

static int census_table(struct toy *t, struct census *c){
  struct page *table = NULL;
  int rc;

  TRY( table_get(t, false, &table) );
  if( !table || !vdb_census_page(c, table->pgno, "toy table") ) goto done;
  for(unsigned slot=0; slot<TOY_N_SLOT; slot++){
    struct toy_entry e = entry_get(table, slot);
    if( e.kind==KIND_PAGE ){
      struct page *pg = NULL;
      vdb_census_page(c, e.pgno, "toy page");
      TRY( vdb_page_get(toy_pager(t), e.pgno, PAGE_OVERFLOW, &pg) );
      vdb_page_unpin(toy_pager(t), pg);
    }else if( e.kind==KIND_EXTENT ){
      TRY( vdb_extent_check(toy_pager(t), c, e.pgno, "toy extent") );
    }
  }
done:
  vdb_page_unpin(toy_pager(t), table);
  return rc;
}

static int pager_toy_check(struct toy *t, size_t *n_finding){
  struct finding f = { t, 0 };
  struct census *c = NULL;
  uint64_t n_bad = 0;
  int rc, rc_end;

  rc = vdb_pager_begin_read(toy_pager(t));
  if( rc!=VECDB_OK ) return rc;
  rc = vdb_census_begin(toy_pager(t), false, finding_report, &f, &c);
  if( rc==VECDB_OK ){
    rc = census_table(t, c);
    if( rc==VECDB_OK && t->extra ) rc = t->extra->census(t, c);
    rc_end = vdb_census_end(c, &n_bad);
    if( rc==VECDB_OK ) rc = rc_end;
  }
  vdb_pager_end_read(toy_pager(t));
  *n_finding = f.n;
  if( rc==VECDB_OK && n_bad>0 && f.n==0 ) *n_finding = n_bad;
  return rc;
}

const struct toy_ops toy_pager_ops = {
  .open = pager_toy_open, .close = pager_toy_close, .begin = pager_toy_begin,
  .commit = pager_toy_commit, .rollback = pager_toy_rollback,
  .savepoint = pager_toy_savepoint, .release = pager_toy_release,
  .rollback_to = pager_toy_rollback_to, .prepare = pager_toy_prepare,
  .decide = pager_toy_decide, .in_doubt = pager_toy_in_doubt,
  .checkpoint = pager_toy_checkpoint, .backup = pager_toy_backup,
  .change = pager_toy_change, .load = pager_toy_load, .tidy = pager_toy_tidy,
  .set_state = pager_toy_set_state, .digest = pager_toy_digest,
  .check = pager_toy_check
};
