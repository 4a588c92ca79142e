/* multi.h -- searches of several vector columns at once.
**
** Used by   store/stmt*.c.
** Threads   the connection's.
** Errors    VECDB_ codes; the sentence is in vdb_store_err().
**
** The distance of a row is the sum, in the order of the parts, of weight times
** the distance in the part's column, computed in double precision and rounded
** to a float once. Rows come by (distance, key).
*/
#ifndef VDB_MULTI_H
#define VDB_MULTI_H
#include "store/search.h"

#define MULTI_PART_MAX  64u

struct multi_part {
  int column;                          /* of vectors */
  double weight;                       /* finite, at least 0 */
  void *query;                         /* of the column's type, aligned */
};
struct multi_request {
  const struct multi_part *part;
  size_t n;
  uint64_t k;                          /* more than 0 */
  const uint64_t *rows;                /* bitmap by slot; NULL: all live */
  uint64_t n_rows;                     /* rows that qualify */
  uint64_t n_live;                     /* live rows */
  struct graph_wish wish;
};

/* Check parts as they come from users, and copy their queries; *out is to be
** freed with vdb_multi_parts_free. */
int  vdb_multi_parts(const struct schema *s, const vecdb_query_part *part,
                     size_t n, struct vdb_err *err, struct multi_part **out);
void vdb_multi_parts_free(struct multi_part *part, size_t n);

/* The nearest rows; freed with vdb_free. */
int  vdb_multi_search(struct session *ss, struct coll *c,
                      const struct multi_request *m, struct vdb_hit **hit,
                      size_t *n_hit);
#endif
