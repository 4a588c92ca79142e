/* libfuzzer.c -- a fuzz target as libFuzzer wants it. See fuzz.h.
**
** Our mutators know the formats and make checksums right again, so they do
** three mutations of four; libFuzzer's own the rest, among them what it has
** learned from comparisons. With VECDB_FUZZ_SEEDS=FOLDER in the environment
** the program writes what the generator makes and ends. */
#include <stdlib.h>

#include "fuzz/fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
size_t LLVMFuzzerCustomMutator(uint8_t *p, size_t n, size_t n_cap,
                               unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *p, size_t n, size_t n_cap);

int LLVMFuzzerInitialize(int *argc, char ***argv){
  const char *folder = getenv("VECDB_FUZZ_SEEDS");
  VDB_UNUSED(argc);
  fuzz_begin((*argv)[0]);
  atexit(fuzz_end);
  if( folder ){
    fuzz_seeds_write(folder);
    exit(0);
  }
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n){
  if( n<=fuzz_target.sz_max ) fuzz_execute(p, n);
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *p, size_t n, size_t n_cap,
                               unsigned seed){
  struct vdb_rng r;
  vdb_rng_init(&r, seed);
  if( vdb_rng_below(&r, 4)==0 ) return LLVMFuzzerMutate(p, n, n_cap);
  return fuzz_target.mutate ? fuzz_target.mutate(p, n, n_cap, &r)
                            : fuzz_mutate_bytes(p, n, n_cap, &r);
}
