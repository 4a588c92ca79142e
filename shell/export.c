/* export.c -- `.export`: rows out again, the inverse of import.
**
** One snapshot, in order of the key, every value exact: numbers in their
** shortest form that reads back the same, vectors as JSON arrays (csv, tsv,
** jsonl) or as their own bytes.
*/
#include "shell/cmd.h"
#include "shell/reader.h"
#include "shell/value.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct export {
  struct shell *sh;
  struct table t;
  FILE *f;
  const char *path, *column;
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
  e->i_col = e->column ? vecdb_column_find(e->t.c, e->column) : -1;
  for(int i=0; !e->column && e->i_col<0 && i<vecdb_column_count(e->t.c); i++){
    vecdb_column_info ci = { .size = sizeof ci };
    if( vecdb_column_describe(e->t.c, i, &ci)==VECDB_OK
     && ci.role==VECDB_ROLE_VECTOR ) e->i_col = i;
  }
  e->ci.size = sizeof e->ci;
  if( e->i_col<0 || vecdb_column_describe(e->t.c, e->i_col, &e->ci)!=VECDB_OK
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

static int vector_row_write(struct export *e, struct scan *s){
  struct cell v;
  int rc = e->t.ops->scan_value(s, e->i_col, &v);
  if( rc!=VECDB_OK || v.type!=VECDB_VECTOR ) return rc;
  if( e->vf==VEC_FVECS || e->vf==VEC_BVECS || e->vf==VEC_IVECS ){
    put_u32(e->f, e->ci.dims);
  }
  if( e->vf!=VEC_IVECS && e->vf!=VEC_IBIN ){
    fwrite(v.data, 1, e->ci.vector_bytes, e->f);
  }else if( !integers_write(e, v.data) ){
    shell_error(e->sh, EXIT_SQL, "row %llu of \"%s\" has elements that are no "
                "32-bit integers; export to fvecs or fbin",
                (unsigned long long)e->n, e->t.name);
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

static int text_row_write(struct export *e, struct scan *s){
  int n = vecdb_column_count(e->t.c), rc = VECDB_OK;
  if( e->rf==ROW_JSONL ) fputc('{', e->f);
  for(int i=0; rc==VECDB_OK && i<n; i++){
    vecdb_column_info ci = { .size = sizeof ci };
    struct cell v;
    char *z;
    vecdb_column_describe(e->t.c, i, &ci);
    rc = e->t.ops->scan_value(s, i, &v);
    if( rc!=VECDB_OK ) break;
    z = value_styled(&v, &ci, e->rf==ROW_JSONL ? STYLE_JSON : STYLE_PLAIN);
    if( e->rf==ROW_JSONL ){
      char *key = value_json_quote(ci.name);
      fprintf(e->f, "%s%s:%s", i ? "," : "", key ? key : "", z ? z : "null");
      sqlite3_free(key);
    }else{
      if( i ) fputc(e->rf==ROW_CSV ? ',' : '\t', e->f);
      field_write(e, z ? z : "", v.type==VECDB_NULL);
    }
    sqlite3_free(z);
  }
  fputs(e->rf==ROW_JSONL ? "}\n" : "\n", e->f);
  return rc;
}

static void export_header(struct export *e, uint64_t n_row){
  if( e->vf==VEC_NPY ) npy_header_write(e, n_row);
  else if( e->vf==VEC_FBIN || e->vf==VEC_U8BIN || e->vf==VEC_I8BIN
        || e->vf==VEC_IBIN ){
    put_u32(e->f, (uint32_t)n_row);
    put_u32(e->f, e->ci.dims);
  }else if( e->rf==ROW_CSV || e->rf==ROW_TSV ){
    for(int i=0; i<vecdb_column_count(e->t.c); i++){
      vecdb_column_info ci = { .size = sizeof ci };
      vecdb_column_describe(e->t.c, i, &ci);
      if( i ) fputc(e->rf==ROW_CSV ? ',' : '\t', e->f);
      field_write(e, ci.name, false);
    }
    fputc('\n', e->f);
  }
}

static int export_rows(struct export *e){
  const struct table_ops *ops = e->t.ops;
  struct scan s;
  struct progress pg;
  uint64_t n_row = 0;
  int rc = ops->count(&e->t, &n_row);
  if( rc!=VECDB_OK || (rc = ops->scan_begin(&e->t, &s))!=VECDB_OK ) return rc;
  export_header(e, n_row);
  progress_begin(&pg, e->sh, "exporting", "rows", n_row);
  while( rc==VECDB_OK && (rc = ops->scan_step(&s))==VECDB_ROW ){
    rc = e->vf!=VEC_NONE ? vector_row_write(e, &s) : text_row_write(e, &s);
    progress_update(&pg, ++e->n);
    if( rc==VECDB_OK && e->sh->interrupted ){
      snprintf(e->t.err, sizeof e->t.err, "interrupted");
      rc = VECDB_INTERRUPT;
    }
  }
  progress_end(&pg, NULL);
  ops->scan_end(&s);
  return rc==VECDB_DONE ? VECDB_OK : rc;
}

static void export_run(struct export *e){
  struct table *t = &e->t;
  int rc = t->ops->begin(t, false);
  bool bad = false;
  if( rc==VECDB_OK ){
    rc = export_rows(e);
    t->ops->rollback(t);
  }
  if( rc!=VECDB_OK ) table_error(t, rc);
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
  if( !cmd_allowed(sh, ".export") ) return true;
  memset(&e, 0, sizeof e);
  e.sh = sh;
  e.path = argv[2];
  e.column = argc==4 ? argv[3] : NULL;
  e.vf = vec_format_find(NULL, e.path);
  e.rf = row_format_find(NULL, e.path);
  if( e.vf==VEC_NONE && (e.rf==ROW_NONE || e.rf==ROW_U8) ){
    shell_error(sh, EXIT_SQL, "cannot tell the format of \"%s\" from its name; "
      "known: fvecs bvecs ivecs fbin u8bin i8bin ibin npy csv tsv jsonl", e.path);
    return true;
  }
  table_init(&e.t, sh, argv[1]);
  rc = e.t.ops->open(&e.t);
  if( rc!=VECDB_OK ) table_error(&e.t, rc);
  else if( e.vf==VEC_NONE || vector_column_choose(&e) ){
    e.f = fopen(e.path, "wb");
    if( e.f==NULL ){
      shell_error(sh, EXIT_SQL, "cannot write \"%s\": %s", e.path,
                  strerror(errno));
    }else{
      export_run(&e);
    }
  }
  table_close(&e.t);
  return true;
}
