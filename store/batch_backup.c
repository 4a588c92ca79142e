/* batch_backup.c -- a copy of a database, examined before it counts.
**
** A file is copied page by page. What is in memory or in an outside store has
** no pages of a file, and is copied row by row into a new database.
*/
#include "util/common.h"
#include "store/batch.h"

#include <stdio.h>

#include "pager/file.h"

struct copy_report { char first[400]; };       /* of severity 2 */

static void copy_finding(void *arg, int severity, const char *object,
                         const char *message){
  struct copy_report *r = arg;
  if( severity<2 || r->first[0] ) return;
  snprintf(r->first, sizeof(r->first), "%s: %s", object, message);
}

/* Open the copy by itself and look at everything in it. */
static int copy_check(struct session *ss, const char *path){
  struct pager *p = vdb_store_pager(ss->st);
  struct copy_report report = { "" };
  struct pager_config cfg = { 0 };
  struct store *copy = NULL;
  uint64_t n_bad = 0;
  int rc;
  cfg.path = path;
  cfg.open_flags = VECDB_OPEN_READONLY | VECDB_OPEN_IMMUTABLE;
  cfg.file = vdb_pager_file_ops(p);
  cfg.interrupted = &ss->interrupted;
  TRY( vdb_store_open(&cfg, ss->err, &copy) );
  TRY( vdb_store_check(copy, false, copy_finding, &report, &n_bad) );
  if( n_bad>0 ){
    rc = vdb_error(ss->err, VECDB_CORRUPT, "the copy \"%.200s\" is damaged: "
                   "%s", path, report.first);
  }
done:
  if( copy ) (void)vdb_store_close(copy);
  return rc;
}

static int copy_rows_to(struct session *ss, const char *path){
  struct pager *p = vdb_store_pager(ss->st);
  const struct vecdb_file_ops *ops = vdb_pager_file_ops(p);
  bool exists = false;
  int rc;
  TRY( ops->exists(ops->env, path, &exists) );
  if( exists ){
    TRY( vdb_error(ss->err, VECDB_EXISTS, "cannot back up to \"%.300s\": it "
                   "exists; choose another name", path) );
  }
  rc = vdb_store_copy(ss->st, path);
done:
  return rc;
}

int vdb_batch_backup(struct session *ss, const char *path,
                     vdb_progress_cb progress, void *arg){
  struct pager *p = vdb_store_pager(ss->st);
  const struct vecdb_file_ops *ops = vdb_pager_file_ops(p);
  int rc;
  TRY( vdb_session_require_none(ss, "back up") );
  if( vdb_pager_path(p)[0] ) TRY( vdb_pager_backup(p, path, progress, arg) );
  else TRY( copy_rows_to(ss, path) );
  rc = copy_check(ss, path);
  if( rc!=VECDB_OK ) (void)ops->unlink(ops->env, path, NULL);
done:
  return rc;
}
