/* f_wal.c -- a log of any bytes beside a main file: recovery gives the same
** state twice, then everything that f_image does.
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

/* Open, read all, close; then what the first recovery left behind again. What
** the check calls damaged (an extent where a page of the log goes, say) may
** look different by then. */
static void expect_same_twice(const struct file_pair *f, uint64_t how){
  struct vecdb_file_ops *mem = files_world(f);
  uint64_t digest[2] = { 0, 0 };
  int rc[2] = { VECDB_CORRUPT, VECDB_CORRUPT };
  for(int i=0; i<2; i++){
    vecdb *db = files_open(mem, how);
    if( !db ) break;
    digest[i] = files_digest(db, &rc[i]);
    if( i==0 && rc[0]==VECDB_OK ) rc[0] = vecdb_check(db, 0, NULL, NULL);
    fuzz_clean(vecdb_close(db), "close", "");
  }
  if( rc[0]==VECDB_OK && (rc[1]!=VECDB_OK || digest[0]!=digest[1]) ){
    fuzz_fail("recovered another state the second time: %s",
              vecdb_errname(rc[1]));
  }
  vdb_file_mem_destroy(mem);
}

static void wal_one(const uint8_t *p, size_t n){
  uint64_t how = lab_hash(1, p, n);
  struct vecdb_file_ops *mem;
  struct file_pair f;
  vecdb *db;
  if( !pair_of(p, n, &f) ) return;
  expect_same_twice(&f, how);
  mem = files_world(&f);
  db = files_open(mem, how);
  if( db ){
    files_use(db, how>>1);
    fuzz_clean(vecdb_close(db), "close", "");
  }
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

static void wal_seeds(void){
  for(size_t i=0; i<recipe_n(); i++){
    struct file_pair f;
    uint8_t *p;
    recipe_make(i, true, 1, &f);
    p = lab_alloc(4 + f.n_main + f.n_log);
    put_u32(p, (uint32_t)f.n_main);
    memcpy(p + 4, f.main, f.n_main);
    memcpy(p + 4 + f.n_main, f.log, f.n_log);
    if( 4 + f.n_main + f.n_log<=fuzz_target.sz_max ){
      fuzz_seed(recipe_name(i), p, 4 + f.n_main + f.n_log);
    }
    free(p);
    recipe_free(&f);
  }
}

const struct fuzz_target fuzz_target = {
  .name = "wal", .sz_max = 384<<10, .mem_max = 64<<20, .seconds_max = 2,
  .one = wal_one, .mutate = wal_mutate, .seeds = wal_seeds
};
