/* f_wal.c -- a log of any bytes beside a main file: recovery gives the same
** state twice, and everything that f_image does.
**
** An input is the size of the main file (u32), its bytes, the log's. */
#include <stdlib.h>

#include "fuzz/lib_files.h"
#include "lab/lib_layer.h"
#include "util/bytes.h"

/* The parts of an input; false when it is too short to have them. */
static bool pair_of(const uint8_t *p, size_t n, struct file_pair *f){
  if( n<4 || get_u32(p)>n - 4 ) return false;
  f->n_main = get_u32(p);
  f->n_log = n - 4 - f->n_main;
  f->main = (uint8_t*)(uintptr_t)p + 4;
  f->log = f->main + f->n_main;
  return true;
}

/* What a recovery found: a digest of all rows, and whether all was well. */
struct state { uint64_t digest; int rc; };

/* Open, read all, close. What the check calls damaged (an extent where a page
** of the log goes, say) may look different the next time. */
static struct state state_first(struct vecdb_file_ops *mem, uint64_t how){
  struct state st = { 0, VECDB_CORRUPT };
  vecdb *db = files_open(mem, how);
  if( !db ) return st;
  st.digest = files_digest(db, &st.rc);
  if( st.rc==VECDB_OK ) st.rc = vecdb_check(db, 0, NULL, NULL);
  fuzz_clean(vecdb_close(db), "close", "");
  return st;
}

static void expect_same_twice(struct vecdb_file_ops *mem, uint64_t how){
  struct state first = state_first(mem, how);
  vecdb *db = files_open(mem, how);
  int rc = VECDB_CORRUPT;
  uint64_t digest = db ? files_digest(db, &rc) : 0;
  if( first.rc==VECDB_OK && (rc!=VECDB_OK || digest!=first.digest) ){
    fuzz_fail("recovered another state the second time: %s",
              vecdb_errname(rc));
  }
  if( db ) fuzz_clean(vecdb_close(db), "close", "");
}

static void use_once(struct vecdb_file_ops *mem, uint64_t how){
  vecdb *db = files_open(mem, how);
  if( !db ) return;
  files_use(db, how>>1);
  fuzz_clean(vecdb_close(db), "close", "");
}

/* One or the other, as a bit of the hash says. */
static void wal_one(const uint8_t *p, size_t n){
  uint64_t how = lab_hash(1, p, n);
  struct vecdb_file_ops *mem;
  struct file_pair f;
  if( !pair_of(p, n, &f) ) return;
  mem = files_world(&f);
  if( how>>63 ) expect_same_twice(mem, how);
  else use_once(mem, how);
  vdb_file_mem_destroy(mem);
}

static size_t wal_mutate(uint8_t *p, size_t n, size_t n_cap,
                         struct vdb_rng *r){
  struct file_pair f;
  if( !pair_of(p, n, &f) || vdb_rng_below(r, 64)==0 ){
    return fuzz_mutate_bytes(p, n, n_cap, r);
  }
  /* The log alone in most: the main file is f_image's. */
  if( vdb_rng_below(r, 4) && f.n_log>0 ){
    uint8_t slot[8192] = { 0 };
    memcpy(slot, f.main, f.n_main<sizeof(slot) ? f.n_main : sizeof(slot));
    fuzz_mutate_file(slot, sizeof(slot), f.log, f.n_log, r);
  }else{
    fuzz_mutate_file(f.main, f.n_main, f.log, f.n_log, r);
  }
  if( vdb_rng_below(r, 32)==0 ) n -= vdb_rng_below(r, (uint32_t)f.n_log + 1);
  return n;
}

static void wal_seed(const char *name, const struct file_pair *f){
  size_t n = 4 + f->n_main + f->n_log;
  uint8_t *p = lab_alloc(n);
  put_u32(p, (uint32_t)f->n_main);
  memcpy(p + 4, f->main, f->n_main);
  memcpy(p + 4 + f->n_main, f->log, f->n_log);
  if( n<=fuzz_target.sz_max ) fuzz_seed(name, p, n);
  free(p);
}

static void wal_seeds(void){ files_each_recipe(true, wal_seed); }

const struct fuzz_target fuzz_target = {
  .name = "wal", .sz_max = 384<<10, .mem_max = 64<<20, .seconds_max = 2,
  .one = wal_one, .mutate = wal_mutate, .seeds = wal_seeds
};
