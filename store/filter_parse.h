/* filter_parse.h -- a filter's text being parsed.
**
** Used by   store/filter_parse.c (the grammar), store/filter_atom.c (what it
**           is about: values, parameters, columns).
** Threads   the connection's.
** Errors    as vdb_filter_parse.
*/
#ifndef VDB_FILTER_PARSE_H
#define VDB_FILTER_PARSE_H
#include "store/filter_int.h"
#include "store/filter_lex.h"

struct filter_parser {
  struct filter_lex lex;          /* the text, and the token looked at */
  const struct schema *schema;
  struct filter *f;
  struct vdb_str pool;            /* bytes of literals, addressed by offset */
  struct vdb_str word;            /* scratch: an identifier without quotes */
  int depth;
  struct vdb_err *err;
};

/* A new node without children. */
int  vdb_filter_node(struct filter_parser *p, enum filter_kind kind,
                     uint32_t *out);
/* The literal, parameter or column that the token begins, and the token after
** it. */
int  vdb_filter_atom(struct filter_parser *p, uint32_t *out);
#endif
