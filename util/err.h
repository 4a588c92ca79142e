/* err.h -- one incident: a result code and the sentence a user reads.
**
** Used by   every layer that can fail for a reason worth a sentence.
** Threads   a struct vdb_err belongs to one connection or one worker.
** Errors    none: nothing is allocated, long sentences are cut with "...".
**
** A message is lower case, has no full stop, quotes its subject, says what
** was found and what was expected, then the remedy if there is one
** (doc/errors.md lists all of them).
*/
#ifndef VDB_ERR_H
#define VDB_ERR_H
#include "util/common.h"

struct vdb_err {
  int  rc;              /* extended result code, VECDB_OK when clear */
  char msg[508];        /* "" when the text of the code says it all */
};

/* Record rc and the message; its value is rc, so that `return vdb_error(...)`
** or TRY(vdb_error(...)) works. e may be NULL: then only rc is returned. The
** macros below say to the compiler what the value is: coverage then does not
** ask for a TRY that goes on. rc is evaluated twice. */
int vdb_error(struct vdb_err *e, int rc, const char *fmt, ...) VDB_PRINTF(3,4);
#define vdb_error(e, rc, ...) ((vdb_error)((e), (rc), __VA_ARGS__), (rc))

/* As vdb_error, and the message starts with "`file`:`line`: ": for internal
** errors and for corruption found by a structure check. */
int vdb_error_at(struct vdb_err *e, int rc, const char *file, int line,
                 const char *fmt, ...) VDB_PRINTF(5,6);

/* Put "prefix: " before the message that is there (a caller adds context). */
void vdb_error_prefix(struct vdb_err *e, const char *fmt, ...) VDB_PRINTF(2,3);

void vdb_error_clear(struct vdb_err *e);
/* The message, or the text of its code when there is none. Never NULL. */
const char *vdb_error_text(const struct vdb_err *e);

/* The text of a code's class, as in VECDB_RESULT_MAP. Never NULL. */
const char *vdb_rc_text(int rc);

/* Malformed bytes: record where in the source it was noticed. */
#define VDB_CORRUPT(e, ...) \
  (vdb_error_at((e), VECDB_CORRUPT, __FILE__, __LINE__, __VA_ARGS__), \
   VECDB_CORRUPT)
#define VDB_INTERNAL(e, ...) \
  (vdb_error_at((e), VECDB_INTERNAL, __FILE__, __LINE__, __VA_ARGS__), \
   VECDB_INTERNAL)

/* Process-wide log (recovered files, ignored logs). NULL turns it off. */
typedef void (*vdb_log_fn)(void *arg, int rc, const char *msg);
void vdb_log_set(vdb_log_fn fn, void *arg);
void vdb_log(int rc, const char *fmt, ...) VDB_PRINTF(2,3);
#endif
