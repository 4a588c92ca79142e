/* fuzz.h -- what a fuzz target is, and what its code may ask of the runner.
**
** Used by   test/fuzz/f_*.c: each defines `fuzz_target`. The same object is
**           linked with driver.c, a deterministic mutator of our own, or with
**           libfuzzer.c, where clang brings libFuzzer.
** Threads   one.
**
** An execution fails when it crashes, says fuzz_fail(), leaves a block of
** util/mem.h behind, takes more than `mem_max` bytes of it at once, or more
** than `seconds_max` of processor time. The input is then kept in a file
** whose name is printed; the program runs again on it when it is named.
*/
#ifndef FUZZ_H
#define FUZZ_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/common.h"
#include "util/rng.h"

struct fuzz_target {
  const char *name;
  size_t sz_max;                  /* bytes of the longest input */
  size_t mem_max;                 /* of util/mem.h, beyond what begin() took */
  size_t n_keep;                  /* blocks that may stay over executions; 0:
                                  ** none, as nothing is kept open */
  unsigned seconds_max;           /* processor time of one execution */
  const char *const *words;       /* dictionary, NULL at its end; or NULL */
  void (*begin)(void);            /* once, before the first; may be NULL */
  void (*end)(void);              /* once, after the last; may be NULL */
  void (*one)(const uint8_t *p, size_t n);       /* an execution */
  /* A changed copy in place; returns its size. NULL: fuzz_mutate_bytes. */
  size_t (*mutate)(uint8_t *p, size_t n, size_t n_cap, struct vdb_rng *r);
  /* Call fuzz_seed() for each input to start from. */
  void (*seeds)(void);
};
extern const struct fuzz_target fuzz_target;

/* ---- for targets --------------------------------------------------------- */

/* What was found, in words. Does not return. */
void fuzz_fail(const char *fmt, ...)
  __attribute__((format(printf, 1, 2), noreturn));
/* A call that must succeed. */
#define FUZZ_OK(call)  fuzz_ok((call), #call, __FILE__, __LINE__)
void fuzz_ok(int rc, const char *text, const char *file, int line);
/* A result that bytes or text may lead to; INTERNAL, NOMEM, MISUSE and the
** rest may not. Returns rc==OK, ROW or DONE. */
bool fuzz_clean(int rc, const char *doing, const char *msg);
/* An input of the corpus, named for its file. */
void fuzz_seed(const char *name, const void *p, size_t n);
/* A text, behind a first byte that chooses something if first>=0. Its name is
** that of its kind and its number. */
void fuzz_seed_text(const char *kind, size_t i, int first, const char *z);

/* ---- mutators (mutate.c) ------------------------------------------------- */

/* Flip, overwrite, insert, delete, move, repeat; words of the dictionary. */
size_t fuzz_mutate_bytes(uint8_t *p, size_t n, size_t n_cap,
                         struct vdb_rng *r);
/* Overwrite 1, 2, 4 or 8 bytes somewhere in p[0..n-1], n>0. */
void fuzz_change_value(uint8_t *p, size_t n, struct vdb_rng *r);
/* Damage to a main file of sz bytes, by format.def or anywhere in a page, and
** to a log beside it (may be NULL, 0). Checksums are made right again in 7 of
** 8, those of extents and the chain of the log too. */
void fuzz_mutate_file(uint8_t *main, size_t n_main, uint8_t *log,
                      size_t n_log, struct vdb_rng *r);

/* ---- for runners (run.c) ------------------------------------------------- */

/* begin() and what belongs to it. Once. */
void fuzz_begin(const char *program);
/* One execution with all its checks. */
void fuzz_execute(const uint8_t *p, size_t n);
/* After the last. */
void fuzz_end(void);
/* The input being executed, for whoever must save it. */
const uint8_t *fuzz_input(size_t *n);
/* Where fuzz_seed() sends what it gets. */
void fuzz_seed_to(void (*fn)(void *arg, const char *name, const uint8_t *p,
                             size_t n), void *arg);
/* What the generator makes, as files. */
void fuzz_seeds_write(const char *folder);
#endif
