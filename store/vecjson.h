/* vecjson.h -- vectors as JSON arrays of numbers.
**
** Used by   store/stmt*.c, vecdb.c (vecdb_vector_parse, vecdb_vector_print).
** Threads   any; no state.
** Errors    VECDB_ codes; the sentence, with the byte position counted from
**           1, goes to `e`.
**
** The grammar is that of JSON (RFC 8259): one array of numbers, white space
** anywhere between tokens, nothing before or after. No locale has a say, and
** every value is the correctly rounded one of the element type, also for
** float16 and bfloat16 (no rounding by way of float32).
*/
#ifndef VDB_VECJSON_H
#define VDB_VECJSON_H
#include "util/common.h"
#include "util/err.h"
#include "util/str.h"

/* Parse z[0..n-1] as elements of type `element` into out (cap bytes; NULL:
** only count and check). *dims is the number of elements seen, also after an
** error. An empty array has 0 elements and is no error here.
**   SYNTAX    not an array of numbers
**   RANGE     a number does not fit the element type
**   TOOBIG    more elements than out holds or than a vector may have */
int vdb_vecjson_parse(int element, const char *z, size_t n, void *out,
                      size_t cap, size_t *dims, struct vdb_err *e);

/* Append the text of a vector: the shortest numbers that read back as the
** same elements. Failure to allocate is remembered in `s`. */
void vdb_vecjson_print(int element, size_t dims, const void *v,
                       struct vdb_str *s);

/* Name of an element type as in a schema, "float", "int8", ..; "?" if it is
** none. */
const char *vdb_element_name(int element);
#endif
