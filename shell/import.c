/* import.c -- `.import FILE TABLE`: files into rows.
**
** One write transaction. Rows go in batches, each inside a savepoint:
**   an error with --on-error abort (the default) rolls everything back and
**   names FILE and row; skip and log leave out the rows that fail;
**   Ctrl-C keeps the batches that are complete and says how to go on.
*/
#include "shell/import_int.h"
#include "shell/cmd.h"

#include <stdlib.h>
#include <string.h>

/* ---- Arguments ----------------------------------------------------------- */

static bool u64_parse(const char *z, uint64_t *out){
  char *end;
  if( *z<'0' || *z>'9' ) return false;
  *out = strtoull(z, &end, 10);
  return *end==0;
}

static bool on_error_parse(const char *z, enum on_error *out){
  if( !strcmp(z, "abort") ) *out = ON_ERROR_ABORT;
  else if( !strcmp(z, "skip") ) *out = ON_ERROR_SKIP;
  else if( !strcmp(z, "log") ) *out = ON_ERROR_LOG;
  else return false;
  return true;
}

static bool option_parse(struct import_args *a, const char *name,
                         const char *v){
  char *end;
  if( !strcmp(name, "meta") ) a->meta = v;
  else if( !strcmp(name, "column") ) a->column = v;
  else if( !strcmp(name, "format") ) a->format = v;
  else if( !strcmp(name, "id") ) a->id = v;
  else if( !strcmp(name, "metric") ) a->metric = v;
  else if( !strcmp(name, "skip") ) return u64_parse(v, &a->skip);
  else if( !strcmp(name, "limit") ) return u64_parse(v, &a->limit);
  else if( !strcmp(name, "batch") ) return u64_parse(v, &a->batch);
  else if( !strcmp(name, "on-error") ) return on_error_parse(v, &a->on_error);
  else if( !strcmp(name, "first-id") ){
    a->first_id = strtoll(v, &end, 10);
    a->has_first_id = true;
    return *end==0;
  }
  else return false;
  return true;
}

static bool args_parse(struct import_args *a, int argc, char **argv){
  int n = 0;
  memset(a, 0, sizeof *a);
  for(int i=1; i<argc; i++){
    if( argv[i][0]=='-' && argv[i][1]=='-' ){
      if( i+1>=argc || !option_parse(a, argv[i]+2, argv[i+1]) ) return false;
      i++;
    }else if( n==0 ){ a->path = argv[i]; n++; }
    else if( n==1 ){ a->table = argv[i]; n++; }
    else return false;
  }
  return n==2;
}

/* ---- Opening ------------------------------------------------------------- */

/* Standard input can be imported where it holds nothing else. */
static bool stdin_is_free(struct import *im){
  const char *meta = im->a.meta;
  int n = (strcmp(im->a.path, "-")==0) + (meta && strcmp(meta, "-")==0);
  if( n==2 ) return import_fail(im, "only one of two files can be \"-\"");
  if( n==0 ) return true;
  for(struct shell_source *s=im->sh->source; s; s=s->outer){
    if( s->in==stdin || (s->in==NULL && im->sh->is_interactive) ){
      return import_fail(im, "cannot import \"-\": the commands come from "
                         "standard input; use a file or \"|COMMAND\"");
    }
  }
  return true;
}

static bool files_open(struct import *im){
  enum vec_format vf = vec_format_find(im->a.format, im->a.path);
  enum row_format rf = row_format_find(im->a.format, im->a.path);
  const char *row_path = im->a.meta;
  if( vf==VEC_NONE && rf==ROW_NONE ){
    return import_fail(im, "cannot tell the format of \"%s\"; give --format "
      "fvecs|bvecs|ivecs|fbin|u8bin|i8bin|ibin|npy|csv|tsv|jsonl", im->a.path);
  }
  if( vf!=VEC_NONE ){
    if( !vec_reader_open(&im->vec, im->a.path, vf) ){
      snprintf(im->err, sizeof im->err, "%s", im->vec.err);
      vec_reader_close(&im->vec);
      return false;
    }
    im->has_vec = true;
    im->n_total = im->vec.n_total;
    if( row_path ) rf = row_format_find(NULL, row_path);
  }else{
    if( row_path ) return import_fail(im, "--meta goes with a vector file");
    row_path = im->a.path;
  }
  if( row_path==NULL ) return true;
  if( rf==ROW_NONE ){
    return import_fail(im, "cannot tell the format of \"%s\"; it should end in "
                       ".csv, .tsv, .jsonl or .u8", row_path);
  }
  im->has_row = row_reader_open(&im->row, row_path, rf);
  if( !im->has_row ){
    snprintf(im->err, sizeof im->err, "%s", im->row.err);
    row_reader_close(&im->row);
  }
  return im->has_row;
}

static void import_close(struct import *im){
  if( im->has_vec ) vec_reader_close(&im->vec);
  if( im->has_row ) row_reader_close(&im->row);
  table_close(&im->t);
}

/* ---- A batch of rows in memory ------------------------------------------- */

struct batch {
  size_t n, n_cap;
  void *vec;                          /* n rows of im->vec, as put_many wants */
  int   vec_element;
  int64_t *id;                        /* from --first-id; NULL without */
  void **data;                        /* per row-file column: its values */
  uint8_t **nulls;
};

static size_t value_size(const struct import_column *c){
  switch( c->type ){
    case VECDB_VECTOR: return vecdb_vector_bytes(c->element, c->dims);
    case VECDB_BOOLEAN: return 1;
    default: return 8;                /* int64_t, double, char* */
  }
}

static bool batch_alloc(struct batch *b, struct import *im, size_t n){
  size_t row = im->has_vec ? vec_reader_row_bytes(&im->vec) : 0;
  if( im->has_vec && row<4*(size_t)im->vec.dims ) row = 4*(size_t)im->vec.dims;
  memset(b, 0, sizeof *b);
  b->n_cap = n;
  b->vec = malloc(n*row + 1);
  b->id = im->a.has_first_id ? malloc(n*sizeof *b->id) : NULL;
  b->data = calloc(READER_MAX_COLS, sizeof *b->data);
  b->nulls = calloc(READER_MAX_COLS, sizeof *b->nulls);
  if( !b->vec || !b->data || !b->nulls || (im->a.has_first_id && !b->id) ){
    return false;
  }
  for(int i=0; im->has_row && i<im->row.n_col; i++){
    b->data[i] = calloc(n, value_size(&im->col[i]));
    b->nulls[i] = calloc(n, 1);
    if( !b->data[i] || !b->nulls[i] ) return false;
  }
  return true;
}

static void batch_clear(struct batch *b, const struct import *im){
  for(int i=0; im->has_row && b->data && i<im->row.n_col; i++){
    if( im->col[i].type!=VECDB_TEXT || !b->data[i] ) continue;
    for(size_t j=0; j<b->n; j++) free(((char**)b->data[i])[j]);
    memset(b->data[i], 0, b->n*sizeof(char*));
  }
  b->n = 0;
}

static void batch_free(struct batch *b, const struct import *im){
  batch_clear(b, im);
  for(int i=0; im->has_row && b->data && b->nulls && i<im->row.n_col; i++){
    free(b->data[i]);
    free(b->nulls[i]);
  }
  free(b->data);
  free(b->nulls);
  free(b->vec);
  free(b->id);
}

/* Text z of column c into value j of `data`. */
static bool value_parse(struct import *im, int i, const char *z, void *data,
                        size_t j){
  const struct import_column *c = &im->col[i];
  const char *want = NULL;
  char *end = NULL, err[200];
  size_t dims = 0;
  switch( c->type ){
    case VECDB_INTEGER:
      ((int64_t*)data)[j] = strtoll(z, &end, 10);
      if( *end || end==z ) want = "an integer";
      break;
    case VECDB_REAL:
      ((double*)data)[j] = strtod(z, &end);
      if( *end || end==z ) want = "a number";
      break;
    case VECDB_BOOLEAN:
      ((uint8_t*)data)[j] = *z=='1' || *z=='t' || *z=='T';
      if( strspn(z, "01")!=1 && sqlite3_stricmp(z, "true")!=0
       && sqlite3_stricmp(z, "false")!=0 ) want = "0, 1, true or false";
      break;
    case VECDB_VECTOR:
      if( vecdb_vector_parse(c->element, z, strlen(z),
             (char*)data + j*value_size(c), value_size(c), &dims, err,
             sizeof err)!=VECDB_OK ){
        return import_fail(im, "%s:%llu: column \"%s\": %s", im->row.path,
          (unsigned long long)im->row.n_line, im->row.name[i], err);
      }
      if( dims!=c->dims ){
        return import_fail(im, "%s:%llu: column \"%s\" has %u dimensions, not "
          "%zu", im->row.path, (unsigned long long)im->row.n_line,
          im->row.name[i], c->dims, dims);
      }
      break;
    default:
      ((char**)data)[j] = strdup(z);
      if( ((char**)data)[j]==NULL ) return import_fail(im, "out of memory");
  }
  if( want==NULL ) return true;
  return import_fail(im, "%s:%llu: column \"%s\" expects %s, found \"%.60s\"",
    im->row.path, (unsigned long long)im->row.n_line, im->row.name[i], want, z);
}

/* The row that the row reader holds, as value j. */
static bool batch_take_row(struct batch *b, struct import *im, size_t j){
  for(int i=0; i<im->row.n_col; i++){
    const char *z = im->row.field[i];
    b->nulls[i][j] = z==NULL;
    if( im->col[i].type==VECDB_TEXT ) ((char**)b->data[i])[j] = NULL;
    if( z!=NULL && !value_parse(im, i, z, b->data[i], j) ) return false;
  }
  return true;
}

static void batch_widen(struct batch *b, struct import *im){
  size_t n = b->n*im->vec.dims;
  bool to_float = im->vec_element<=VECDB_BF16;
  b->vec_element = im->vec.element;
  if( !to_float || (im->vec.element!=VECDB_U8 && im->vec.element!=VECDB_I8) ){
    return;
  }
  /* In place, from the end: byte i is read before float i is written. */
  for(size_t i=n; i-->0;){
    float f = im->vec.element==VECDB_U8 ? ((uint8_t*)b->vec)[i]
                                        : ((int8_t*)b->vec)[i];
    memcpy((char*)b->vec + 4*i, &f, 4);
  }
  b->vec_element = VECDB_F32;
}

/* Fill b with up to n rows; b->n = 0 at the end. */
static bool batch_read(struct batch *b, struct import *im, size_t n){
  bool at_end = false;
  if( im->has_vec ){
    if( !vec_reader_next(&im->vec, n, b->vec, &b->n) ){
      return import_fail(im, "%s", im->vec.err);
    }
    n = b->n;
    batch_widen(b, im);
  }
  if( !im->has_row ) return true;
  if( !im->has_vec ) b->n = 0;
  for(size_t j=0; j<n; ){
    if( !row_reader_next(&im->row, &at_end) ){
      return import_fail(im, "%s", im->row.err);
    }
    if( at_end ){
      return !im->has_vec || import_fail(im, "\"%s\" ended early", im->row.path);
    }
    if( !im->has_vec ) b->n = j+1;
    if( batch_take_row(b, im, j) ){ j++; continue; }
    if( im->a.on_error==ON_ERROR_ABORT || im->has_vec ) return false;
    if( im->a.on_error==ON_ERROR_LOG ) fprintf(stderr, "skipped: %s\n", im->err);
    im->n_bad++;
    b->n = j;
  }
  return true;
}

/* ---- Writing ------------------------------------------------------------- */

/* Rows from.. of the batch as columns of values; how many columns. */
static size_t batch_columns(const struct import *im, const struct batch *b,
                            size_t from, vecdb_column_data *d){
  size_t n_d = 0;
  if( im->has_vec ){
    size_t one = vecdb_vector_bytes(b->vec_element, im->vec.dims);
    d[n_d++] = (vecdb_column_data){ sizeof d[0], im->vec_target, VECDB_VECTOR,
      (uint32_t)b->vec_element, (char*)b->vec + from*one, 0, NULL };
  }
  if( b->id ){
    d[n_d++] = (vecdb_column_data){ sizeof d[0], 0, VECDB_INTEGER, 0,
                                    b->id + from, 0, NULL };
  }
  for(int i=0; im->has_row && i<im->row.n_col; i++){
    const struct import_column *c = &im->col[i];
    d[n_d++] = (vecdb_column_data){ sizeof d[0], c->target, (uint32_t)c->type,
      (uint32_t)c->element, (char*)b->data[i] + from*value_size(c), 0,
      b->nulls[i] + from };
  }
  return n_d;
}

/* Write rows from..from+n-1 inside a savepoint: all or none. */
static int batch_write(struct import *im, struct batch *b, size_t from,
                       size_t n){
  vecdb_column_data d[READER_MAX_COLS+2];
  size_t n_d = batch_columns(im, b, from, d);
  struct table *t = &im->t;
  int rc = t->ops->batch_begin(t);
  if( rc!=VECDB_OK ){ import_fail(im, "%s", t->err); return rc; }
  rc = im->is_update ? t->ops->update(t, n, d, n_d) : t->ops->put(t, n, d, n_d);
  if( rc!=VECDB_OK ) import_fail(im, "%s", t->err);
  (void)t->ops->batch_end(t, rc==VECDB_OK);
  return rc;
}

/* A batch failed: go through it row by row, to name the row that is to blame
** (abort) or to keep the others. */
static int batch_write_singly(struct import *im, struct batch *b){
  char msg[READER_ERR];
  for(size_t j=0; j<b->n; j++){
    int rc = batch_write(im, b, j, 1);
    if( rc==VECDB_OK ){ im->n_done++; continue; }
    if( (rc&0xff)==VECDB_INTERRUPT || (rc&0xff)==VECDB_FULL
     || (rc&0xff)==VECDB_IOERR || (rc&0xff)==VECDB_NOMEM
     || (rc&0xff)==VECDB_ABORT ) return rc;
    snprintf(msg, sizeof msg, "%s", im->err);
    import_fail(im, "%.200s: row %llu: %.250s", im->a.path,
      (unsigned long long)(im->a.skip + im->n_done + im->n_bad), msg);
    if( im->a.on_error==ON_ERROR_ABORT ) return rc;
    if( im->a.on_error==ON_ERROR_LOG ) fprintf(stderr, "skipped: %s\n", im->err);
    im->n_bad++;
  }
  return VECDB_OK;
}

static size_t batch_rows(const struct import *im){
  size_t row = im->has_vec ? 4*(size_t)im->vec.dims : 1024;
  size_t n = ((size_t)8<<20)/row;
  if( im->a.batch ) n = im->a.batch;
  return n<1 ? 1 : n>10000 && !im->a.batch ? 10000 : n;
}

static bool rows_skip(struct import *im){
  bool at_end = false;
  if( im->has_vec && !vec_reader_skip(&im->vec, im->a.skip) ){
    return import_fail(im, "%s", im->vec.err);
  }
  for(uint64_t i=0; im->has_row && i<im->a.skip && !at_end; i++){
    if( !row_reader_next(&im->row, &at_end) ){
      return import_fail(im, "%s", im->row.err);
    }
  }
  im->n_total = im->n_total>im->a.skip ? im->n_total-im->a.skip : 0;
  if( im->a.limit && im->a.limit<im->n_total ) im->n_total = im->a.limit;
  return true;
}

/* OK, INTERRUPT (what is done may be kept) or an error with im->err. */
static int rows_import(struct import *im, struct progress *pg){
  struct batch b;
  size_t n_batch = batch_rows(im);
  int rc = VECDB_OK;
  if( !batch_alloc(&b, im, n_batch) ){
    import_fail(im, "out of memory");
    rc = VECDB_NOMEM;
  }
  while( rc==VECDB_OK ){
    size_t n = n_batch;
    if( im->a.limit && im->a.limit - im->n_done - im->n_bad < n ){
      n = im->a.limit - im->n_done - im->n_bad;
    }
    if( n==0 ) break;
    batch_clear(&b, im);
    if( !batch_read(&b, im, n) ){ rc = VECDB_ERROR; break; }
    if( b.n==0 ) break;
    for(size_t j=0; b.id && j<b.n; j++){
      b.id[j] = im->a.first_id + (long long)(im->n_done + im->n_bad + j);
    }
    rc = batch_write(im, &b, 0, b.n);
    if( rc==VECDB_OK ) im->n_done += b.n;
    else if( (rc&0xff)!=VECDB_INTERRUPT ) rc = batch_write_singly(im, &b);
    progress_update(pg, im->n_done);
    if( rc==VECDB_OK && (im->sh->interrupted || im->sh->deferred) ){
      rc = VECDB_INTERRUPT;
    }
  }
  batch_free(&b, im);
  return rc;
}

static void summary_print(struct import *im, double t0, bool interrupted){
  char n[32], secs[32], rate[32];
  double dt = shell_now()-t0;
  shell_format_count(n, sizeof n, im->n_done);
  shell_format_secs(secs, sizeof secs, dt);
  shell_format_count(rate, sizeof rate,
                     (unsigned long long)(dt>0 ? (double)im->n_done/dt : 0));
  fprintf(im->sh->out, "%s %s row%s %s \"%s\" in %s (%s/s)",
          im->is_update ? "updated" : "imported", n, im->n_done==1 ? "" : "s",
          im->is_update ? "of" : "into", im->a.table, secs, rate);
  if( im->n_bad ){
    fprintf(im->sh->out, ", skipped %llu", (unsigned long long)im->n_bad);
  }
  fputc('\n', im->sh->out);
  if( interrupted ){
    shell_error(im->sh, EXIT_INTERRUPT, "interrupted; these rows are kept, go "
      "on with --skip %llu", (unsigned long long)(im->a.skip + im->n_done
                                                  + im->n_bad));
  }
}

static int import_run(struct import *im, struct progress *pg){
  struct table *t = &im->t;
  double t0 = shell_now();
  bool interrupted;
  int rc = t->ops->begin(t, true);
  if( rc!=VECDB_OK ){
    import_fail(im, "%s", t->err);
    t->ops->rollback(t);
    return rc;
  }
  rc = import_plan(im) && rows_skip(im) ? VECDB_OK : VECDB_ERROR;
  progress_begin(pg, im->sh, "importing", "rows", im->n_total);
  if( rc==VECDB_OK ) rc = rows_import(im, pg);
  interrupted = (rc&0xff)==VECDB_INTERRUPT;
  if( rc==VECDB_OK || interrupted ){
    rc = t->ops->commit(t);
    if( rc!=VECDB_OK ) import_fail(im, "%s", t->err);
  }
  progress_end(pg, NULL);
  if( rc==VECDB_OK ) summary_print(im, t0, interrupted);
  else t->ops->rollback(t);
  return rc;
}

bool cmd_import(struct shell *sh, int argc, char **argv){
  struct import *im;
  struct progress pg;
  int rc = VECDB_ERROR;
  im = calloc(1, sizeof *im);
  if( im==NULL ) return true;
  im->sh = sh;
  if( !args_parse(&im->a, argc, argv) ){ free(im); return false; }
  table_init(&im->t, sh, im->a.table);
  if( sh->safe ) import_fail(im, ".import is not allowed with -safe");
  else if( !sqlite3_get_autocommit(sh->sql) ){
    import_fail(im, "cannot import inside a transaction; COMMIT or ROLLBACK "
                "first");
  }
  else if( stdin_is_free(im) && files_open(im) ) rc = import_run(im, &pg);
  if( rc!=VECDB_OK ){
    shell_error(sh, rc==VECDB_ERROR ? EXIT_SQL : shell_exit_of_vecdb(rc),
                "%s; nothing was imported", im->err);
  }
  import_close(im);
  free(im);
  if( rc==VECDB_OK ) shell_mount(sh);
  return true;
}
