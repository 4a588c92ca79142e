/* f_image.c -- a main file of any bytes: clean refusals or answers that
** agree. What is done with it follows from a hash of the bytes. */
#include "fuzz/lib_files.h"
#include "lab/lib_layer.h"

static void image_one(const uint8_t *p, size_t n){
  struct file_pair f = { (uint8_t*)(uintptr_t)p, NULL, n, 0 };
  struct vecdb_file_ops *mem = files_world(&f);
  uint64_t how = lab_hash(1, p, n);
  vecdb *db = files_open(mem, how);
  if( db ){
    files_use(db, how>>1);
    fuzz_clean(vecdb_close(db), "close", "");
  }
  vdb_file_mem_destroy(mem);
}

static size_t image_mutate(uint8_t *p, size_t n, size_t n_cap,
                           struct vdb_rng *r){
  if( vdb_rng_below(r, 64)==0 ) return fuzz_mutate_bytes(p, n, n_cap, r);
  fuzz_mutate_file(p, n, NULL, 0, r);
  return n;
}

/* The largest are left to f_graph: what fills them is a graph. */
static void image_seed(const char *name, const struct file_pair *f){
  if( f->n_main<=fuzz_target.sz_max ) fuzz_seed(name, f->main, f->n_main);
}

static void image_seeds(void){ files_each_recipe(false, image_seed); }

const struct fuzz_target fuzz_target = {
  .name = "image", .sz_max = 704<<10, .mem_max = 64<<20, .seconds_max = 2,
  .one = image_one, .mutate = image_mutate, .seeds = image_seeds
};
