/* err.c -- recording what went wrong, and the process-wide log.
**
** The log callback and its argument are set together but read without a lock:
** a call that is under way while they change may still reach the old pair, so
** a host changes them before it opens its first database, as documented.
*/
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "util/common.h"
#include "util/err.h"

const char *vdb_rc_text(int rc){
  switch( rc & 0xff ){
#define TEXT(name, num, text) case num: return text;
    VECDB_RESULT_MAP(TEXT)
#undef TEXT
  }
  return "unknown result code";
}

/* Mark a sentence that did not fit: "..." at the end, without leaving half of
** a UTF-8 character before it. `n_want` is what vsnprintf would have liked to
** write into the sz bytes at z. */
static void message_mark_cut(char *z, size_t sz, int n_want){
  size_t i = sz-4;

  if( n_want<0 ){                          /* an encoding error in a %ls */
    z[0] = 0;
    return;
  }
  if( (size_t)n_want<sz ) return;
  while( i>0 && ((unsigned char)z[i] & 0xc0)==0x80 ) i--;
  memcpy(z+i, "...", 4);
}

static void message_format(char *z, size_t sz, const char *fmt, va_list ap){
  message_mark_cut(z, sz, vsnprintf(z, sz, fmt, ap));
}

int (vdb_error)(struct vdb_err *e, int rc, const char *fmt, ...){
  va_list ap;

  if( e==NULL ) return rc;
  e->rc = rc;
  va_start(ap, fmt);
  message_format(e->msg, sizeof(e->msg), fmt, ap);
  va_end(ap);
  return rc;
}

int vdb_error_at(struct vdb_err *e, int rc, const char *file, int line,
                 const char *fmt, ...){
  char msg[sizeof(e->msg)];
  va_list ap;

  if( e==NULL ) return rc;
  va_start(ap, fmt);
  message_format(msg, sizeof(msg), fmt, ap);
  va_end(ap);
  return vdb_error(e, rc, "%s:%d: %s", file, line, msg);
}

void vdb_error_prefix(struct vdb_err *e, const char *fmt, ...){
  char prefix[sizeof(e->msg)], msg[sizeof(e->msg)];
  va_list ap;

  if( e==NULL || e->rc==VECDB_OK ) return;
  va_start(ap, fmt);
  message_format(prefix, sizeof(prefix), fmt, ap);
  va_end(ap);
  memcpy(msg, vdb_error_text(e), strlen(vdb_error_text(e))+1);
  (void)vdb_error(e, e->rc, "%s: %s", prefix, msg);
}

void vdb_error_clear(struct vdb_err *e){
  if( e==NULL ) return;
  e->rc = VECDB_OK;
  e->msg[0] = 0;
}

const char *vdb_error_text(const struct vdb_err *e){
  if( e==NULL ) return vdb_rc_text(VECDB_OK);
  return e->msg[0] ? e->msg : vdb_rc_text(e->rc);
}

static _Atomic(vdb_log_fn) err_log_fn;
static _Atomic(void *)     err_log_arg;

void vdb_log_set(vdb_log_fn fn, void *arg){
  /* In between there is no log, rather than the new fn with the old arg. */
  atomic_store(&err_log_fn, (vdb_log_fn)0);
  atomic_store(&err_log_arg, arg);
  atomic_store(&err_log_fn, fn);
}

void vdb_log(int rc, const char *fmt, ...){
  vdb_log_fn fn = atomic_load(&err_log_fn);
  char msg[508];
  va_list ap;

  if( fn==NULL ) return;
  va_start(ap, fmt);
  message_format(msg, sizeof(msg), fmt, ap);
  va_end(ap);
  fn(atomic_load(&err_log_arg), rc, msg);
}

#if defined(VDB_MUTANTS)
int vdb_mutant(void){
  static atomic_int n = -1;
  int now = atomic_load_explicit(&n, memory_order_relaxed);
  if( now<0 ){
    const char *z = getenv("VECDB_MUTANT");
    now = z ? (int)strtol(z, NULL, 10) : 0;
    atomic_store_explicit(&n, now, memory_order_relaxed);
  }
  return now;
}
#endif
