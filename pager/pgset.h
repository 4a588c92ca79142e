/* pgset.h -- a growing set of page numbers (open addressing, never 0). */
#ifndef VDB_PGSET_H
#define VDB_PGSET_H
#include "util/common.h"

struct pgset { page_no *slot; size_t n, n_cap; };   /* all zero: empty */

int  vdb_pgset_add(struct pgset *s, page_no pgno);  /* NOMEM; twice is fine */
/* Room for n members in all: adding up to there cannot fail. NOMEM. */
int  vdb_pgset_reserve(struct pgset *s, size_t n);
bool vdb_pgset_has(const struct pgset *s, page_no pgno);
void vdb_pgset_clear(struct pgset *s);
#endif
