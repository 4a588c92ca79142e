/* value.c -- values as text that reads back the same: in SQL, in JSON, plain.
*/
#include "shell/value.h"

char *value_json_quote(const char *z){
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
    case STYLE_JSON: return value_json_quote(z);
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

static char *vector_styled(const struct cell *v, const vecdb_column_info *ci,
                           enum text_style style){
  char *z = NULL, *out;
  if( style==STYLE_SQL && ci->element==VECDB_BIT ){    /* JSON is for numbers */
    z = blob_styled(v->data, ci->vector_bytes, style);
    out = z ? sqlite3_mprintf("vec_bit(%s)", z) : NULL;
    sqlite3_free(z);
    return out;
  }
  if( vecdb_vector_print((int)ci->element, ci->dims, v->data, &z)!=VECDB_OK ){
    return NULL;
  }
  out = sqlite3_mprintf(style==STYLE_SQL ? "'%s'" : "%s", z);
  vecdb_free(z);
  return out;
}

char *value_styled(const struct cell *v, const vecdb_column_info *ci,
                   enum text_style style){
  switch( v->type ){
    case VECDB_NULL:
      return sqlite3_mprintf(style==STYLE_SQL ? "NULL"
                             : style==STYLE_JSON ? "null" : "");
    case VECDB_VECTOR: return vector_styled(v, ci, style);
    case VECDB_BLOB: return blob_styled(v->data, v->n, style);
    case VECDB_TEXT: return text_styled(v->text, style);
    default: return sqlite3_mprintf("%s", v->text);
  }
}
