/* flat_coded.h -- the exact scan of rows that have codes; private to flat. */
#ifndef VDB_FLAT_CODED_H
#define VDB_FLAT_CODED_H
#include "index/flat_int.h"

/* Is a scan of codes likely to be quicker for k rows (SIZE_MAX: a range)? */
bool vdb_flat_coded_pays(const struct flat_search *s, size_t k);

/* Scan the runs that have codes; *used is false if the query admits no
** bounds: then nothing was done. NOMEM, INTERRUPT. */
int  vdb_flat_coded_scan(const struct flat_search *s,
                         const struct vdb_query *query, struct flat_poll *poll,
                         struct flat_pick *pick, bool *used);
#endif
