/* export.c -- `.dump` and `.export`: rows out again, the inverse of import.
**
** Both read one snapshot through vecdb.h, in order of the key, and write
** values exactly: numbers in their shortest form that reads back the same,
** vectors as JSON arrays (dump, csv, tsv, jsonl) or as their own bytes.
*/
#include "shell/cmd.h"
#include "shell/reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- Values as text ------------------------------------------------------ */

/* Text of column i for SQL, JSON or plain fields; freed with sqlite3_free. */
enum text_style { STYLE_SQL, STYLE_JSON, STYLE_PLAIN };

static char *json_quote(const char *z){
  sqlite3_str *s = sqlite3_str_new(NULL);
  sqlite3_str_appendchar(s, 1, '"');
  for(; *z; z++){
    unsigned char c = (unsigned char)*z;
    if( c=='"' || c=='\\' ) sqlite3_str_appendf(s, "\\%c", c);
    else if( c<0x20 ) sqlite3_str_appendf(s, "\\u%04x", c);
    else sqlite3_str_appendchar(s, 1, (char)c);
  }
  sqlite3_str_appendchar(s, 1, '"');
  return sqlite3_str_finish(s);
}

static char *text_styled(const char *z, enum text_style style){
  switch( style ){
    case STYLE_SQL: return sqlite3_mprintf("'%q'", z);
    case STYLE_JSON: return json_quote(z);
    default: return sqlite3_mprintf("%s", z);
  }
}

static char *blob_styled(const unsigned char *p, size_t n,
                         enum text_style style){
  sqlite3_str *s = sqlite3_str_new(NULL);
  const char *quote = style==STYLE_JSON ? "\"" : style==STYLE_SQL ? "'" : "";
  sqlite3_str_appendf(s, "%s%s", style==STYLE_SQL ? "x" : "", quote);
  for(size_t i=0; i<n; i++) sqlite3_str_appendf(s, "%02x", p[i]);
  sqlite3_str_appendall(s, quote);
  return sqlite3_str_finish(s);
}

static char *vector_styled(vecdb_stmt *s, int i, const vecdb_column_info *ci,
                           enum text_style style){
  char *z = NULL, *out;
  const void *v = vecdb_column_vector(s, i, NULL);
  if( vecdb_vector_print((int)ci->element, ci->dims, v, &z)!=VECDB_OK ){
    return NULL;
  }
  out = sqlite3_mprintf(style==STYLE_SQL ? "'%s'" : "%s", z);
  vecdb_free(z);
  return out;
}

static char *value_styled(vecdb_stmt *s, int i, const vecdb_column_info *ci,
                          enum text_style style){
  switch( vecdb_column_type(s, i) ){
    case VECDB_NULL:
      return sqlite3_mprintf(style==STYLE_SQL ? "NULL"
                             : style==STYLE_JSON ? "null" : "");
    case VECDB_VECTOR: return vector_styled(s, i, ci, style);
    case VECDB_BLOB:
      return blob_styled(vecdb_column_blob(s, i), vecdb_column_bytes(s, i),
                         style);
    case VECDB_TEXT: return text_styled(vecdb_column_text(s, i), style);
    default: return sqlite3_mprintf("%s", vecdb_column_text(s, i));
  }
}

/* ---- .dump --------------------------------------------------------------- */

static int dump_rows(struct shell *sh, vecdb_collection *c, const char *name){
  vecdb_stmt *s = NULL;
  int rc = vecdb_prepare_scan(c, NULL, &s), n = vecdb_column_count(c);
  char *cols = NULL, *head;
  for(int i=0; i<n; i++){
    vecdb_column_info ci = { .size = sizeof ci };
    char *z;
    vecdb_column_describe(c, i, &ci);
    z = sqlite3_mprintf("%z%s\"%w\"", cols, i ? "," : "", ci.name);
    cols = z;
  }
  head = sqlite3_mprintf("INSERT INTO \"%w\"(%z) VALUES(", name, cols);
  if( head==NULL ) rc = VECDB_NOMEM;
  while( rc==VECDB_OK && (rc = vecdb_step(s))==VECDB_ROW ){
    fputs(head, sh->out);
    for(int i=0; i<n; i++){
      vecdb_column_info ci = { .size = sizeof ci };
      char *z;
      vecdb_column_describe(c, i, &ci);
      z = value_styled(s, i, &ci, STYLE_SQL);
      fprintf(sh->out, "%s%s", i ? "," : "", z ? z : "NULL");
      sqlite3_free(z);
    }
    fputs(");\n", sh->out);
    rc = sh->interrupted ? VECDB_INTERRUPT : VECDB_OK;
  }
  sqlite3_free(head);
  vecdb_finalize(s);
  return rc==VECDB_DONE ? VECDB_OK : rc;
}

struct dump { struct shell *sh; const char *only; int n, rc; };

static int dump_one(void *arg, const char *name, const char *schema){
  struct dump *d = arg;
  vecdb_collection *c = NULL;
  char *z;
  if( d->only && sqlite3_stricmp(d->only, name)!=0 ) return 0;
  d->n++;
  z = sqlite3_mprintf("CREATE VIRTUAL TABLE \"%w\" USING vecdb(%s);\n", name,
                      schema);
  if( z ) fputs(z, d->sh->out);
  sqlite3_free(z);
  d->rc = vecdb_collection_open(d->sh->db, name, &c);
  if( d->rc==VECDB_OK ) d->rc = dump_rows(d->sh, c, name);
  if( d->rc!=VECDB_OK ) cmd_vecdb_error(d->sh, d->rc);
  vecdb_collection_close(c);
  return d->rc!=VECDB_OK;
}

bool cmd_dump(struct shell *sh, int argc, char **argv){
  struct dump d = { sh, argc==2 ? argv[1] : NULL, 0, VECDB_OK };
  int rc;
  if( argc>2 ) return false;
  if( !cmd_needs_vdb(sh, "dump") ) return true;
  rc = vecdb_begin(sh->db, VECDB_READ);           /* one snapshot for all */
  if( rc!=VECDB_OK ){ cmd_vecdb_error(sh, rc); return true; }
  fputs("BEGIN;\n", sh->out);
  vecdb_list_collections(sh->db, dump_one, &d);
  fputs(d.rc==VECDB_OK ? "COMMIT;\n" : "ROLLBACK; -- not complete\n", sh->out);
  vecdb_rollback(sh->db);
  if( d.only && d.n==0 ){
    shell_error(sh, EXIT_SQL, "no table \"%s\"; .tables lists them", d.only);
  }
  return true;
}

/* ---- .export ------------------------------------------------------------- */

struct export {
  struct shell *sh;
  vecdb_collection *c;
  FILE *f;
  const char *path, *column, *table;
  enum vec_format vf;
  enum row_format rf;
  int i_col;                        /* vector column of a vector file */
  vecdb_column_info ci;             /* its description */
  uint64_t n;
  bool failed;                      /* and was reported */
};

static void put_u32(FILE *f, uint32_t v){
  unsigned char b[4] = { (unsigned char)v, (unsigned char)(v>>8),
                         (unsigned char)(v>>16), (unsigned char)(v>>24) };
  fwrite(b, 1, 4, f);
}

/* The element type that a format stores as is; 0: any (npy). */
static uint32_t format_element(enum vec_format f){
  switch( f ){
    case VEC_FVECS: case VEC_FBIN: return VECDB_F32;
    case VEC_IVECS: case VEC_IBIN: return VECDB_F32;   /* whole numbers */
    case VEC_BVECS: case VEC_U8BIN: return VECDB_U8;
    case VEC_I8BIN: return VECDB_I8;
    default: return 0;
  }
}

static void npy_header_write(struct export *e, uint64_t n_row){
  const char *descr = e->ci.element==VECDB_F32 ? "<f4"
    : e->ci.element==VECDB_F16 ? "<f2" : e->ci.element==VECDB_U8 ? "|u1" : "|i1";
  char head[128];
  int n = snprintf(head, sizeof head, "{'descr': '%s', 'fortran_order': False, "
    "'shape': (%llu, %u), }", descr, (unsigned long long)n_row, e->ci.dims);
  while( (10+n+1)%64!=0 && n<126 ) head[n++] = ' ';
  head[n++] = '\n';
  fwrite("\x93NUMPY\x01\x00", 1, 8, e->f);
  fputc(n & 0xff, e->f);
  fputc(n >> 8, e->f);
  fwrite(head, 1, (size_t)n, e->f);
}

static bool vector_column_choose(struct export *e){
  uint32_t want = format_element(e->vf);
  e->i_col = e->column ? vecdb_column_find(e->c, e->column) : -1;
  for(int i=0; !e->column && e->i_col<0 && i<vecdb_column_count(e->c); i++){
    vecdb_column_info ci = { .size = sizeof ci };
    if( vecdb_column_describe(e->c, i, &ci)==VECDB_OK
     && ci.role==VECDB_ROLE_VECTOR ) e->i_col = i;
  }
  e->ci.size = sizeof e->ci;
  if( e->i_col<0 || vecdb_column_describe(e->c, e->i_col, &e->ci)!=VECDB_OK
   || e->ci.role!=VECDB_ROLE_VECTOR ){
    shell_error(e->sh, EXIT_SQL, "no vector column \"%s\"",
                e->column ? e->column : "");
    return false;
  }
  if( (want && want!=e->ci.element) || e->ci.element==VECDB_BIT
   || e->ci.element==VECDB_BF16 ){
    shell_error(e->sh, EXIT_SQL, "column \"%s\" is %s: this format cannot hold "
                "it as it is", e->ci.name, e->ci.decl);
    return false;
  }
  return true;
}

/* Floats as 32-bit integers; false when one is none. */
static bool integers_write(struct export *e, const void *v){
  const unsigned char *p = v;
  for(uint32_t i=0; i<e->ci.dims; i++, p+=4){
    float x;
    memcpy(&x, p, 4);
    if( !(x>=-2147483648.0f && x<2147483648.0f) || x!=(float)(int32_t)x ){
      return false;
    }
    put_u32(e->f, (uint32_t)(int32_t)x);
  }
  return true;
}

static int vector_row_write(struct export *e, vecdb_stmt *s){
  const void *v = vecdb_column_vector(s, e->i_col, NULL);
  if( v==NULL ) return vecdb_column_errcode(s);
  if( e->vf==VEC_FVECS || e->vf==VEC_BVECS || e->vf==VEC_IVECS ){
    put_u32(e->f, e->ci.dims);
  }
  if( e->vf!=VEC_IVECS && e->vf!=VEC_IBIN ){
    fwrite(v, 1, e->ci.vector_bytes, e->f);
  }else if( !integers_write(e, v) ){
    shell_error(e->sh, EXIT_SQL, "row %llu of \"%s\" has elements that are no "
                "32-bit integers; export to fvecs or fbin",
                (unsigned long long)e->n, e->table);
    e->failed = true;
    return VECDB_DONE;
  }
  return VECDB_OK;
}

static void field_write(struct export *e, const char *z, bool is_null){
  if( e->rf==ROW_CSV && (z[strcspn(z, ",\"\r\n")]!=0 || (*z==0 && !is_null)) ){
    fputc('"', e->f);
    for(; *z; z++){ if( *z=='"' ) fputc('"', e->f); fputc(*z, e->f); }
    fputc('"', e->f);
    return;
  }
  for(; *z; z++){
    bool bad = e->rf==ROW_TSV && (*z=='\t' || *z=='\n' || *z=='\r');
    fputc(bad ? ' ' : *z, e->f);
  }
}

static void text_row_write(struct export *e, vecdb_stmt *s){
  int n = vecdb_column_count(e->c);
  if( e->rf==ROW_JSONL ) fputc('{', e->f);
  for(int i=0; i<n; i++){
    vecdb_column_info ci = { .size = sizeof ci };
    char *z;
    vecdb_column_describe(e->c, i, &ci);
    z = value_styled(s, i, &ci, e->rf==ROW_JSONL ? STYLE_JSON : STYLE_PLAIN);
    if( e->rf==ROW_JSONL ){
      char *key = json_quote(ci.name);
      fprintf(e->f, "%s%s:%s", i ? "," : "", key ? key : "", z ? z : "null");
      sqlite3_free(key);
    }else{
      if( i ) fputc(e->rf==ROW_CSV ? ',' : '\t', e->f);
      field_write(e, z ? z : "", vecdb_column_type(s, i)==VECDB_NULL);
    }
    sqlite3_free(z);
  }
  fputs(e->rf==ROW_JSONL ? "}\n" : "\n", e->f);
}

static void export_header(struct export *e, uint64_t n_row){
  if( e->vf==VEC_NPY ) npy_header_write(e, n_row);
  else if( e->vf==VEC_FBIN || e->vf==VEC_U8BIN || e->vf==VEC_I8BIN
        || e->vf==VEC_IBIN ){
    put_u32(e->f, (uint32_t)n_row);
    put_u32(e->f, e->ci.dims);
  }else if( e->rf==ROW_CSV || e->rf==ROW_TSV ){
    for(int i=0; i<vecdb_column_count(e->c); i++){
      vecdb_column_info ci = { .size = sizeof ci };
      vecdb_column_describe(e->c, i, &ci);
      if( i ) fputc(e->rf==ROW_CSV ? ',' : '\t', e->f);
      field_write(e, ci.name, false);
    }
    fputc('\n', e->f);
  }
}

static int export_rows(struct export *e){
  vecdb_collection_stats cs = { .size = sizeof cs };
  vecdb_stmt *s = NULL;
  struct progress pg;
  int rc = vecdb_collection_stat(e->c, &cs);
  if( rc==VECDB_OK ) rc = vecdb_prepare_scan(e->c, NULL, &s);
  if( rc==VECDB_OK ) export_header(e, cs.n_row);
  progress_begin(&pg, e->sh, "exporting", "rows", cs.n_row);
  while( rc==VECDB_OK && (rc = vecdb_step(s))==VECDB_ROW ){
    rc = VECDB_OK;
    if( e->vf!=VEC_NONE ) rc = vector_row_write(e, s);
    else text_row_write(e, s);
    progress_update(&pg, ++e->n);
    if( rc==VECDB_OK && e->sh->interrupted ) rc = VECDB_INTERRUPT;
  }
  progress_end(&pg, NULL);
  vecdb_finalize(s);
  return rc==VECDB_DONE ? VECDB_OK : rc;
}

static void export_run(struct export *e){
  int rc = vecdb_begin(e->sh->db, VECDB_READ);
  bool bad = false;
  if( rc==VECDB_OK ){
    rc = export_rows(e);
    if( rc!=VECDB_OK ) cmd_vecdb_error(e->sh, rc);
    vecdb_rollback(e->sh->db);
  }else{
    cmd_vecdb_error(e->sh, rc);
  }
  bad = ferror(e->f)!=0;
  if( fclose(e->f)!=0 ) bad = true;
  if( bad ) shell_error(e->sh, EXIT_SQL, "cannot write \"%s\": %s", e->path,
                        strerror(errno));
  else if( rc==VECDB_OK && !e->failed ){
    char n[32];
    shell_format_count(n, sizeof n, e->n);
    fprintf(e->sh->out, "exported %s rows to \"%s\"\n", n, e->path);
  }
}

bool cmd_export(struct shell *sh, int argc, char **argv){
  struct export e;
  int rc;
  if( argc<3 || argc>4 ) return false;
  if( !cmd_allowed(sh, ".export") || !cmd_needs_vdb(sh, "export from") ){
    return true;
  }
  memset(&e, 0, sizeof e);
  e.sh = sh;
  e.path = argv[2];
  e.table = argv[1];
  e.column = argc==4 ? argv[3] : NULL;
  e.vf = vec_format_find(NULL, e.path);
  e.rf = row_format_find(NULL, e.path);
  if( e.vf==VEC_NONE && (e.rf==ROW_NONE || e.rf==ROW_U8) ){
    shell_error(sh, EXIT_SQL, "cannot tell the format of \"%s\" from its name; "
      "known: fvecs bvecs ivecs fbin u8bin i8bin ibin npy csv tsv jsonl", e.path);
    return true;
  }
  rc = vecdb_collection_open(sh->db, argv[1], &e.c);
  if( rc!=VECDB_OK ){ cmd_vecdb_error(sh, rc); return true; }
  if( e.vf==VEC_NONE || vector_column_choose(&e) ){
    e.f = fopen(e.path, "wb");
    if( e.f==NULL ){
      shell_error(sh, EXIT_SQL, "cannot write \"%s\": %s", e.path,
                  strerror(errno));
    }else{
      export_run(&e);
    }
  }
  vecdb_collection_close(e.c);
  return true;
}
