/* read_row.c -- rows of text: csv, tsv, jsonl, and plain bytes.
**
** csv     RFC 4180: commas, "..." with "" inside, fields may hold newlines
** tsv     tabs, no quoting at all: a double quote is an ordinary character
** jsonl   one object per line; the keys of the first are the columns. Taken
**         apart by SQLite's own JSON functions.
** u8      one byte per row: a label file; the column is named after the file
** csv and tsv begin with a header line. An empty csv or tsv field is NULL.
*/
#include "shell/reader.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum row_format row_format_find(const char *name, const char *path){
  const char *dot = strrchr(path, '.');
  const char *z = name ? name : dot ? dot+1 : "";
  if( !strcasecmp(z, "csv") ) return ROW_CSV;
  if( !strcasecmp(z, "tsv") || !strcasecmp(z, "tab") ) return ROW_TSV;
  if( !strcasecmp(z, "jsonl") || !strcasecmp(z, "ndjson") ) return ROW_JSONL;
  if( !strcasecmp(z, "u8") ) return ROW_U8;
  return ROW_NONE;
}

static bool fail(struct row_reader *r, const char *what){
  if( r->n_line>0 ){
    snprintf(r->err, sizeof r->err, "%.200s:%llu: %.250s", r->path,
             (unsigned long long)r->n_line, what);
  }else{
    snprintf(r->err, sizeof r->err, "cannot import \"%.200s\": %.250s", r->path,
             what);
  }
  return false;
}

static bool buf_add(struct row_reader *r, char c){
  if( r->n_buf==r->n_cap ){
    size_t n = r->n_cap ? r->n_cap*2 : 4096;
    char *p = n<=((size_t)1<<30) ? realloc(r->buf, n) : NULL;
    if( p==NULL ) return fail(r, "a row is longer than 1 GiB");
    r->buf = p;
    r->n_cap = n;
  }
  r->buf[r->n_buf++] = c;
  return true;
}

/* ---- csv and tsv --------------------------------------------------------- */

/* One record into buf as NUL-terminated fields; off[] are their places and
** quoted[] whether they were in quotes. *n = 0 at the end of the file. */
static bool record_read(struct row_reader *r, size_t *off, bool *quoted,
                        int *n){
  const int sep = r->format==ROW_CSV ? ',' : '\t';
  int c = getc(r->f);
  *n = 0;
  r->n_buf = 0;
  if( c==EOF ) return true;
  r->n_line++;
  for(;;){
    if( *n>=READER_MAX_COLS ) return fail(r, "more than 1024 columns");
    off[*n] = r->n_buf;
    quoted[*n] = r->format==ROW_CSV && c=='"';
    if( quoted[*n] ){
      for(;;){
        c = getc(r->f);
        if( c==EOF ) return fail(r, "the quote of this field never ends");
        if( c=='"' && (c = getc(r->f))!='"' ) break;
        if( c=='\n' ) r->n_line++;
        if( !buf_add(r, (char)c) ) return false;
      }
    }
    for(; c!=sep && c!='\n' && c!=EOF; c=getc(r->f)){
      if( c=='\r' ) continue;
      if( !buf_add(r, (char)c) ) return false;
    }
    if( !buf_add(r, 0) ) return false;
    ++*n;
    if( c!=sep ) break;
    c = getc(r->f);
  }
  return ferror(r->f) ? fail(r, strerror(errno)) : true;
}

static bool delimited_header(struct row_reader *r){
  size_t off[READER_MAX_COLS];
  bool quoted[READER_MAX_COLS];
  if( !record_read(r, off, quoted, &r->n_col) ) return false;
  if( r->n_col==0 ) return fail(r, "it is empty; expected a header line");
  for(int i=0; i<r->n_col; i++){
    const char *z = r->buf+off[i];
    if( i==0 && strncmp(z, "\xef\xbb\xbf", 3)==0 ) z += 3;    /* a BOM */
    if( *z==0 ) return fail(r, "a column of the header line has no name");
    r->name[i] = strdup(z);
    if( r->name[i]==NULL ) return fail(r, "out of memory");
  }
  return true;
}

static bool delimited_next(struct row_reader *r, bool *at_end){
  size_t off[READER_MAX_COLS];
  bool quoted[READER_MAX_COLS];
  int n;
  char what[100];
  do{
    if( !record_read(r, off, quoted, &n) ) return false;
    /* blank lines are skipped, as spreadsheets write them at the end */
  }while( n==1 && r->n_col>1 && r->buf[0]==0 );
  *at_end = n==0;
  if( n==0 ) return true;
  if( n!=r->n_col ){
    snprintf(what, sizeof what, "expected %d columns, found %d", r->n_col, n);
    return fail(r, what);
  }
  for(int i=0; i<n; i++){
    char *z = r->buf+off[i];
    r->field[i] = *z==0 && !quoted[i] ? NULL : z;
  }
  return true;
}

/* ---- jsonl --------------------------------------------------------------- */

static bool json_line_read(struct row_reader *r, bool *at_end){
  int c;
  do{
    r->n_buf = 0;
    while( (c = getc(r->f))!=EOF && c!='\n' ){
      if( !buf_add(r, (char)c) ) return false;
    }
    r->n_line++;
  }while( c!=EOF && r->n_buf==0 );
  *at_end = c==EOF && r->n_buf==0;
  return true;
}

static bool json_open(struct row_reader *r){
  sqlite3 *db = NULL;
  sqlite3_stmt *st = NULL;
  int rc = sqlite3_open(":memory:", &db);
  r->json = db;
  if( rc==SQLITE_OK ){
    rc = sqlite3_prepare_v2(db, "SELECT key, value, type FROM json_each(?1)",
                            -1, &st, NULL);
  }
  r->json_stmt = st;
  return rc==SQLITE_OK || fail(r, "this SQLite has no JSON functions");
}

static int column_index(struct row_reader *r, const char *z){
  for(int i=0; i<r->n_col; i++) if( strcmp(r->name[i], z)==0 ) return i;
  return -1;
}

/* The pairs of the line in buf; with `define` unknown keys make columns. */
static bool json_pairs(struct row_reader *r, bool define){
  sqlite3_stmt *st = r->json_stmt;
  int rc;
  for(int i=0; i<r->n_col; i++){ free(r->field[i]); r->field[i] = NULL; }
  sqlite3_bind_text(st, 1, r->buf, (int)r->n_buf, SQLITE_STATIC);
  while( (rc = sqlite3_step(st))==SQLITE_ROW ){
    const char *key = (const char*)sqlite3_column_text(st, 0);
    const char *val = (const char*)sqlite3_column_text(st, 1);
    int i = key ? column_index(r, key) : -1;
    if( i<0 && define && r->n_col<READER_MAX_COLS && key ){
      i = r->n_col++;
      r->name[i] = strdup(key);
      r->field[i] = NULL;
    }
    if( i<0 ){
      char what[200];
      snprintf(what, sizeof what, "key \"%.100s\" is not in the first line",
               key ? key : "");
      sqlite3_reset(st);
      return fail(r, what);
    }
    free(r->field[i]);                     /* a key may come twice: the last */
    r->field[i] = val ? strdup(val) : NULL;
  }
  sqlite3_reset(st);
  return rc==SQLITE_DONE || fail(r, "expected a JSON object");
}

/* ---- Any format ---------------------------------------------------------- */

static bool u8_open(struct row_reader *r){
  const char *slash = strrchr(r->path, '/'), *z = slash ? slash+1 : r->path;
  size_t n = strcspn(z, ".");
  r->n_col = 1;
  r->name[0] = strndup(z, n ? n : strlen(z));
  return r->name[0]!=NULL || fail(r, "out of memory");
}

static bool header_read(struct row_reader *r){
  bool at_end;
  switch( r->format ){
    case ROW_U8: return u8_open(r);
    case ROW_JSONL:
      if( !json_open(r) || !json_line_read(r, &at_end) ) return false;
      if( at_end ) return fail(r, "it is empty");
      return json_pairs(r, true) && row_reader_rewind(r);
    default: return delimited_header(r);
  }
}

bool row_reader_open(struct row_reader *r, const char *path,
                     enum row_format format){
  char why[READER_ERR/2];
  memset(r, 0, sizeof *r);
  r->path = path;
  r->format = format;
  r->f = reader_file_open(path, why);
  if( r->f==NULL ) return fail(r, why);
  return header_read(r);
}

void row_reader_close(struct row_reader *r){
  if( r->f ) fclose(r->f);
  for(int i=0; i<r->n_col; i++){
    free(r->name[i]);
    if( r->format==ROW_JSONL ) free(r->field[i]);
  }
  sqlite3_finalize(r->json_stmt);
  sqlite3_close(r->json);
  free(r->buf);
  memset(r, 0, sizeof *r);
}

/* Back to the first row. */
bool row_reader_rewind(struct row_reader *r){
  rewind(r->f);
  r->n_line = r->n_row = 0;
  if( r->format==ROW_CSV || r->format==ROW_TSV ){
    size_t off[READER_MAX_COLS];
    bool quoted[READER_MAX_COLS];
    int n;
    return record_read(r, off, quoted, &n);
  }
  return true;
}

bool row_reader_next(struct row_reader *r, bool *at_end){
  bool ok = true;
  *at_end = false;
  if( r->format==ROW_U8 ){
    static char z[8];
    int c = getc(r->f);
    *at_end = c==EOF;
    snprintf(z, sizeof z, "%d", c);
    r->field[0] = z;
    r->n_line++;
  }else if( r->format==ROW_JSONL ){
    ok = json_line_read(r, at_end) && (*at_end || json_pairs(r, false));
  }else{
    ok = delimited_next(r, at_end);
  }
  if( ok && !*at_end ) r->n_row++;
  return ok;
}
