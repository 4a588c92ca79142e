/* common.h -- what every file of the library includes first.
**
** Used by   everything. Includes "vecdb.h" because the result codes and the
**           element types named there are the vocabulary of all layers; it
**           declares nothing that does work.
*/
#ifndef VDB_COMMON_H
#define VDB_COMMON_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "config.h"             /* VDB_HAVE_*, written by configure */
#include "vecdb.h"

/* TRY(expr) is the only macro with control flow: it needs `int rc` and a
** label `done:` that cleans up unconditionally. */
#define TRY(expr) do{ if( (rc = (expr))!=VECDB_OK ) goto done; }while(0)

/* Believed but unproved, with a recovery branch. Under VDB_COVERAGE they are
** constants, so that branch coverage does not ask for the impossible. */
#if defined(VDB_COVERAGE)
# define VDB_ALWAYS(x)  (1)
# define VDB_NEVER(x)   (0)
#elif defined(VDB_DEBUG)
# define VDB_ALWAYS(x)  ((x) ? 1 : (assert(0 && #x), 0))
# define VDB_NEVER(x)   ((x) ? (assert(0 && !(#x)), 1) : 0)
#else
# define VDB_ALWAYS(x)  (x)
# define VDB_NEVER(x)   (x)
#endif

/* TRY for what cannot fail, by an invariant that a comment names. */
#define TRY_ALWAYS(expr) do{ rc = (expr); \
  if( VDB_NEVER(rc!=VECDB_OK) ) goto done; }while(0)

#define VDB_LIKELY(x)    __builtin_expect(!!(x), 1)
#define VDB_UNLIKELY(x)  __builtin_expect(!!(x), 0)
#define VDB_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define VDB_UNUSED(x)    ((void)(x))
#define VDB_ARRAY_LEN(a) (sizeof(a)/sizeof((a)[0]))

/* Deliberate bugs that the lab must find (doc/testing.md). `good` is what any
** shipped build contains; one with VDB_MUTANTS has the bug that the environment
** names in VECDB_MUTANT. */
#if defined(VDB_MUTANTS)
int vdb_mutant(void);
# define MUTANT(n, bad, good) (vdb_mutant()==(n) ? (bad) : (good))
#else
# define MUTANT(n, bad, good) (good)
#endif

typedef uint32_t page_no;   /* number of a page; 0 is "none" */
typedef uint64_t txn_id;    /* transaction, counted from 1; 0 is "before all" */
typedef uint32_t slot_no;   /* dense number of a row version in a collection */
#define SLOT_NONE  0xffffffffu

static inline size_t vdb_min_sz(size_t a, size_t b){ return a<b ? a : b; }
static inline size_t vdb_max_sz(size_t a, size_t b){ return a>b ? a : b; }

/* *out = a*b and a+b; false when the result does not fit. */
static inline bool vdb_mul_sz(size_t a, size_t b, size_t *out){
  return !__builtin_mul_overflow(a, b, out);
}
static inline bool vdb_add_sz(size_t a, size_t b, size_t *out){
  return !__builtin_add_overflow(a, b, out);
}
#endif
