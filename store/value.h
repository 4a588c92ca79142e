/* value.h -- conversions between values, as SQLite makes them.
**
** Used by   store/filter*.c, store/stmt*.c. Threads: any.
*/
#ifndef VDB_VALUE_H
#define VDB_VALUE_H
#include "store/collection.h"

#define VALUE_TEXT_MAX 40              /* bytes of a number as text, with NUL */

/* Text of a number as SQLite writes it; returns its length. */
size_t vdb_value_print_int(int64_t v, char buf[VALUE_TEXT_MAX]);
size_t vdb_value_print_real(double v, char buf[VALUE_TEXT_MAX]);

/* The whole text, spaces around it aside, is a number: *out becomes INTEGER
** or REAL. False: it is not. */
bool vdb_value_from_text(const char *z, size_t n, struct vdb_value *out);
/* CAST of a text: the longest prefix that is a number, else 0. */
double  vdb_text_to_real(const char *z, size_t n);
int64_t vdb_text_to_int(const char *z, size_t n);
/* Towards zero; values out of range become the nearest integer there is. */
int64_t vdb_real_to_int(double v);
/* *out = v when v is an integer that int64_t holds. */
bool vdb_real_is_int(double v, int64_t *out);
#endif
