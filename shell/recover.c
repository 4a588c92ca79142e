/* recover.c -- `.recover FILE NEW`: what can be read of a damaged file.
**
** The file is opened for reading; if its log is damaged, without the log. Each
** collection is made anew in NEW and its rows are copied, skipping those that
** cannot be read: a range of integer keys whose scan fails is split until the
** rows that fail are alone. Rows with text keys are read as far as they go.
** Indexes are built again by `.optimize` in NEW.
*/
#include "shell/cmd.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

struct recover {
  struct shell *sh;
  vecdb *from, *to;
  vecdb_collection *c_from, *c_to;
  vecdb_stmt *scan, *insert;
  bool has_text_key;
  const char *name;
  uint64_t n_row, n_lost;              /* of the collection */
  uint64_t n_row_all, n_lost_all;
};

static void report(struct recover *r, vecdb *db, const char *what){
  shell_error(r->sh, EXIT_CORRUPT, "%s \"%s\": %s", what, r->name,
              vecdb_errmsg(db));
}

/* Copy the value of column i; false when it cannot be read. */
static int cell_copy(struct recover *r, int i){
  size_t n = 0;
  const void *p;
  vecdb_column_info ci = { .size = sizeof ci };
  switch( vecdb_column_type(r->scan, i) ){
    case VECDB_INTEGER: case VECDB_BOOLEAN:
      return vecdb_bind_int64(r->insert, i, vecdb_column_int64(r->scan, i));
    case VECDB_REAL:
      return vecdb_bind_double(r->insert, i, vecdb_column_double(r->scan, i));
    case VECDB_TEXT:
      p = vecdb_column_text(r->scan, i);
      return vecdb_bind_text(r->insert, i, p ? p : "",
                             vecdb_column_bytes(r->scan, i), VECDB_TRANSIENT);
    case VECDB_BLOB:
      p = vecdb_column_blob(r->scan, i);
      return vecdb_bind_blob(r->insert, i, p ? p : "",
                             vecdb_column_bytes(r->scan, i), VECDB_TRANSIENT);
    case VECDB_VECTOR:
      vecdb_column_describe(r->c_from, i, &ci);
      p = vecdb_column_vector(r->scan, i, &n);
      if( p==NULL ) return VECDB_CORRUPT;
      return vecdb_bind_vector(r->insert, i, (int)ci.element, p, n,
                               VECDB_TRANSIENT);
    default:
      return vecdb_bind_null(r->insert, i);
  }
}

/* The current row of the scan goes into the new file. */
static bool row_copy(struct recover *r){
  int n = vecdb_column_count(r->c_from), rc = VECDB_OK;
  vecdb_reset(r->insert);
  for(int i=0; i<n && rc==VECDB_OK; i++) rc = cell_copy(r, i);
  if( rc==VECDB_OK ) rc = vecdb_column_errcode(r->scan);
  if( rc==VECDB_OK ) rc = vecdb_step(r->insert);
  if( rc==VECDB_DONE ) r->n_row++;
  return rc==VECDB_DONE;
}

/* Read keys in [lo, hi]: *last is the last key given, *any whether there was
** one. VECDB_DONE when the end was reached. */
static int range_scan(struct recover *r, int64_t lo, int64_t hi, bool all,
                      int64_t *last, bool *any){
  int rc;
  vecdb_reset(r->scan);
  if( !all ){
    vecdb_bind_int64(r->scan, 1, lo);
    vecdb_bind_int64(r->scan, 2, hi);
  }
  *any = false;
  while( (rc = vecdb_step(r->scan))==VECDB_ROW ){
    *any = true;
    *last = r->has_text_key ? 0 : vecdb_column_int64(r->scan, 0);
    if( !row_copy(r) ) r->n_lost++;
    if( r->sh->interrupted ) return VECDB_INTERRUPT;
  }
  return rc;
}

struct key_range { int64_t lo, hi; };

/* All integer keys. Each failure moves lo on or halves the range, so the work
** is bounded by damaged rows times 64; a range that stays unreadable down to
** single keys costs that many steps, hence the limit on lost ones. */
static int ranges_copy(struct recover *r){
  struct key_range stack[130];
  int n = 0, rc = VECDB_OK;
  uint64_t n_fail = 0;
  stack[n++] = (struct key_range){ INT64_MIN, INT64_MAX };
  while( n>0 && n_fail<100000 ){
    struct key_range k = stack[--n];
    int64_t last = 0, mid;
    bool any;
    rc = range_scan(r, k.lo, k.hi, false, &last, &any);
    if( rc==VECDB_DONE ) continue;
    if( (rc & 0xff)!=VECDB_CORRUPT && (rc & 0xff)!=VECDB_IOERR ) return rc;
    n_fail++;
    if( any ){
      if( last==k.hi ) continue;
      k.lo = last + 1;
    }
    if( k.lo==k.hi ){ r->n_lost++; continue; }
    mid = k.lo + (int64_t)(((uint64_t)k.hi - (uint64_t)k.lo)/2);
    stack[n++] = (struct key_range){ mid+1, k.hi };
    stack[n++] = (struct key_range){ k.lo, mid };
  }
  return VECDB_OK;
}

static int statements_prepare(struct recover *r){
  vecdb_column_info ci = { .size = sizeof ci };
  char *filter;
  int rc = vecdb_column_describe(r->c_from, 0, &ci);
  if( rc!=VECDB_OK ) return rc;
  r->has_text_key = ci.type==VECDB_TEXT;
  filter = r->has_text_key ? NULL : sqlite3_mprintf(
      "\"%w\" BETWEEN ?1 AND ?2", ci.name);
  rc = vecdb_prepare_scan(r->c_from, filter, &r->scan);
  sqlite3_free(filter);
  if( rc==VECDB_OK ){
    rc = vecdb_prepare_insert(r->c_to, VECDB_OR_IGNORE, &r->insert);
  }
  return rc;
}

static void rows_copy(struct recover *r){
  int64_t last;
  bool any;
  int rc = statements_prepare(r);
  if( rc==VECDB_OK && !r->has_text_key ) rc = ranges_copy(r);
  else if( rc==VECDB_OK ) rc = range_scan(r, 0, 0, true, &last, &any);
  if( rc!=VECDB_OK && rc!=VECDB_DONE ) report(r, r->from, "collection");
  vecdb_finalize(r->scan);
  vecdb_finalize(r->insert);
  r->scan = r->insert = NULL;
}

static int collection_recover(void *arg, const char *name,
                              const char *schema){
  struct recover *r = arg;
  int rc;
  r->name = name;
  r->n_row = r->n_lost = 0;
  rc = vecdb_create_collection(r->to, name, schema);
  if( rc==VECDB_OK ) rc = vecdb_collection_open(r->to, name, &r->c_to);
  if( rc!=VECDB_OK ){ report(r, r->to, "cannot make"); return 0; }
  rc = vecdb_collection_open(r->from, name, &r->c_from);
  if( rc!=VECDB_OK ) report(r, r->from, "cannot read");
  else rows_copy(r);
  fprintf(r->sh->out, "%s: %" PRIu64 " rows", name, r->n_row);
  if( r->n_lost ) fprintf(r->sh->out, ", %" PRIu64 " lost", r->n_lost);
  fputc('\n', r->sh->out);
  r->n_row_all += r->n_row;
  r->n_lost_all += r->n_lost;
  vecdb_collection_close(r->c_from);
  vecdb_collection_close(r->c_to);
  r->c_from = r->c_to = NULL;
  return r->sh->interrupted;
}

/* With its log if that can be read, else as of its last checkpoint. */
static bool source_open(struct recover *r, const char *path){
  int rc = vecdb_open(path, VECDB_OPEN_READONLY, NULL, &r->from);
  if( rc!=VECDB_OK ){
    shell_error(r->sh, shell_exit_of_vecdb(rc), "%s",
                r->from ? vecdb_errmsg(r->from) : vecdb_errstr(rc));
    vecdb_close(r->from);
    r->from = NULL;
    rc = vecdb_open(path, VECDB_OPEN_READONLY|VECDB_OPEN_IMMUTABLE, NULL,
                    &r->from);
    if( rc==VECDB_OK ) fputs("going on without the log\n", r->sh->out);
  }
  return rc==VECDB_OK;
}

bool cmd_recover(struct shell *sh, int argc, char **argv){
  struct recover r = { .sh = sh };
  int rc;
  if( argc!=3 ) return false;
  if( !cmd_allowed(sh, ".recover") ) return true;
  if( access(argv[2], F_OK)==0 ){
    shell_error(sh, EXIT_SQL, "\"%s\" exists; name a new file", argv[2]);
    return true;
  }
  if( source_open(&r, argv[1]) ){
    rc = vecdb_open(argv[2], VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE, NULL,
                    &r.to);
    if( rc==VECDB_OK ) rc = vecdb_begin(r.to, VECDB_WRITE);
    if( rc==VECDB_OK ){
      rc = vecdb_list_collections(r.from, collection_recover, &r);
      r.name = argv[1];
      if( rc!=VECDB_OK ) report(&r, r.from, "cannot list all of");
      rc = vecdb_commit(r.to);
    }
    if( rc!=VECDB_OK ){
      shell_error(sh, shell_exit_of_vecdb(rc), "%s",
                  r.to ? vecdb_errmsg(r.to) : vecdb_errstr(rc));
    }
  }
  vecdb_close(r.from);
  vecdb_close(r.to);
  return true;
}
