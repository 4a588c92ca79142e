/* lib_mutate.h -- damage by table: every field of pager/format.def, set to
** values that code may stumble over, with checksums repaired so that what is
** behind them is tested and not they.
**
** Used by   t_corrupt, on the bytes of a main file and of its log.
**
** A field of a page is found by the page's type. Structures without a place
** of their own (cells of trees, elements of arrays, entries of free lists)
** are met as words: the first few of each page's content and its last ones.
*/
#ifndef LIB_MUTATE_H
#define LIB_MUTATE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mutate_repair {
  REPAIR_HEADER = 1,            /* checksum of the header slot at base */
  REPAIR_PAGE = 2,              /* of the page at base */
  REPAIR_LOG = 4                /* of the log header and the whole chain */
};

struct mutate_target {
  const char *s, *f;            /* structure and field */
  bool in_log;                  /* in the log, not in the main file */
  size_t base;                  /* where the slot, page or frame begins */
  size_t off, n;                /* the field, from the start of the file */
  unsigned repair;
};

struct mutate_files {
  unsigned char *main, *log;    /* log may be NULL */
  size_t n_main, n_log;
  uint32_t sz_page;
};

/* All targets in the files; the caller frees *out. */
size_t mutate_targets(const struct mutate_files *f,
                      struct mutate_target **out);
/* Those of one header slot or page of the main file, or of the header (at 0)
** or one frame of the log, where it begins. */
size_t mutate_targets_at(const struct mutate_files *f, bool in_log, size_t at,
                         struct mutate_target **out);

/* Value number 0..MUTATE_N_VALUE-1 of a field: 0, all ones, one more, one
** less, the highest signed, a small number, a random one. */
enum { MUTATE_N_VALUE = 7 };
/* Set the field in place and repair what the target says (or nothing). what[]
** describes it. False when the field had that value already. */
bool mutate_apply(const struct mutate_target *t, int value, uint64_t seed,
                  bool repair, struct mutate_files *f, char *what,
                  size_t sz_what);
#endif
