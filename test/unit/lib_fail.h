/* lib_fail.h -- one call of the watched connection fails; what a census finds.
**
** Used by   t_log_fail, t_prepared, t_alloc.
*/
#ifndef LIB_FAIL_H
#define LIB_FAIL_H
#include "unit/lib_words.h"

/* Calls of that kind on a path that ends so fail: n, after n_skip. */
static struct {
  enum lab_call call;
  const char *path;
  int n_skip, n, rc;
} fault;

static inline int fault_before(struct lab_event *e){
  if( e->call!=fault.call || !ends_with(e->path, fault.path) ) return VECDB_OK;
  if( fault.n_skip-->0 || fault.n--<=0 ) return VECDB_OK;
  return vdb_error(e->err, fault.rc, "cannot %s \"%s\": injected",
                   lab_call_name[e->call], e->path);
}
static inline void fail(enum lab_call call, const char *path, int n_skip,
                        int rc){
  fault.call = call;
  fault.path = path;
  fault.n_skip = n_skip;
  fault.n = 1;
  fault.rc = rc;
  on_before = fault_before;
}

static inline uint64_t findings(struct pager *p){
  struct census *c = NULL;
  uint64_t n_bad = 0;
  REQUIRE_RC( VECDB_OK, vdb_census_begin(p, false, NULL, NULL, &c) );
  REQUIRE_RC( VECDB_OK, vdb_census_end(c, &n_bad) );
  return n_bad;
}
#endif
