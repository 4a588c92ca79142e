/* str.h -- a growing byte string, number scanning and printing that no
** locale can change.
**
** Errors    a failed allocation is remembered in the string; later appends do
**           nothing. Check once at the end with vdb_str_rc.
*/
#ifndef VDB_STR_H
#define VDB_STR_H
#include "util/common.h"

struct vdb_str {
  char  *z;        /* NUL terminated once anything was appended; may be NULL */
  size_t n;        /* bytes without the NUL */
  size_t n_cap;
  int    rc;       /* VECDB_OK or VECDB_NOMEM */
};
#define VDB_STR_INIT { NULL, 0, 0, VECDB_OK }

void vdb_str_add(struct vdb_str *s, const void *p, size_t n);
void vdb_str_addz(struct vdb_str *s, const char *z);
void vdb_str_addc(struct vdb_str *s, char c);
void vdb_str_addf(struct vdb_str *s, const char *fmt, ...) VDB_PRINTF(2,3);
void vdb_str_clear(struct vdb_str *s);              /* frees, back to INIT */
void vdb_str_truncate(struct vdb_str *s, size_t n); /* keeps memory and rc */
static inline int vdb_str_rc(const struct vdb_str *s){ return s->rc; }
/* Hand the bytes (never NULL on success) to the caller, who vdb_free()s them;
** NULL when an append failed. The string is INIT again. */
char *vdb_str_take(struct vdb_str *s);

/* ASCII only, whatever the locale. */
int  vdb_stricmp(const char *a, const char *b);
int  vdb_strnicmp(const char *a, const char *b, size_t n);
bool vdb_is_space(char c);
bool vdb_is_digit(char c);

/* Decimal number at z[0..n-1], "[-+]digits[.digits][e[-+]digits]", correctly
** rounded and independent of the locale. Returns the bytes consumed, 0 when
** there is no number. Overflow gives +-HUGE_VAL. */
size_t vdb_scan_double(const char *z, size_t n, double *out);
size_t vdb_scan_float(const char *z, size_t n, float *out);
/* "[-+]digits"; 0 when there is none or it does not fit. */
size_t vdb_scan_i64(const char *z, size_t n, int64_t *out);

/* Shortest text that reads back as the same value. Returns its length.
** buf holds at least VDB_NUM_MAX bytes. */
#define VDB_NUM_MAX 40
size_t vdb_print_double(char *buf, double v);
size_t vdb_print_float(char *buf, float v);

/* The candidate most like z (edit distance at most 2, and at most half of the
** letters of z), or NULL: for "did you mean". list ends with NULL. */
const char *vdb_nearest_word(const char *z, const char *const *list);
#endif
