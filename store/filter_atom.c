/* filter_atom.c -- the values, parameters and columns of a filter.
**
** Bytes of texts and blobs go to the parser's pool, unquoted; until the text is
** parsed literals point to them by offset.
*/
#include "util/common.h"
#include "store/filter_parse.h"

#include "util/mem.h"

int vdb_filter_node(struct filter_parser *p, enum filter_kind kind,
                    uint32_t *out){
  struct filter *f = p->f;
  int rc = vdb_grow(&f->node, &f->n_node_cap, f->n_node+1, sizeof(*f->node));
  *out = 0;
  if( rc!=VECDB_OK ) return rc;
  *out = (uint32_t)f->n_node++;
  memset(&f->node[*out], 0, sizeof(*f->node));
  f->node[*out].kind = (uint8_t)kind;
  return VECDB_OK;
}

static int literal_new(struct filter_parser *p, const struct vdb_value *v,
                       uint32_t *out){
  struct filter *f = p->f;
  int rc = vdb_grow(&f->literal, &f->n_literal_cap, f->n_literal+1,
                    sizeof(*f->literal));
  if( rc!=VECDB_OK ) return rc;
  f->literal[f->n_literal] = *v;
  rc = vdb_filter_node(p, F_CONST, out);
  if( rc==VECDB_OK ) p->f->node[*out].n = (uint32_t)f->n_literal++;
  return rc;
}

static int literal_int(struct filter_parser *p, int64_t i, uint32_t *out){
  struct vdb_value v = { VECDB_INTEGER, i, 0, NULL, 0 };
  return literal_new(p, &v, out);
}

static int literal_number(struct filter_parser *p, bool is_neg, uint32_t *out){
  struct vdb_value v = { VECDB_NULL, 0, 0, NULL, 0 };
  char minus[32];
  size_t n = p->lex.t.end - p->lex.t.pos;
  if( p->lex.t.kind!=T_INT && p->lex.t.kind!=T_REAL ){
    return vdb_flex_expected(&p->lex, "a number");
  }
  (void)vdb_value_from_text(p->lex.z + p->lex.t.pos, n, &v);
  if( v.type==VECDB_INTEGER ) v.i = is_neg ? -v.i : v.i;
  else v.r = is_neg ? -v.r : v.r;
  if( is_neg && v.type==VECDB_REAL && n<sizeof(minus)-1 ){
    minus[0] = '-';                               /* -9223372036854775808 */
    memcpy(minus+1, p->lex.z + p->lex.t.pos, n);
    (void)vdb_value_from_text(minus, n+1, &v);
  }
  return literal_new(p, &v, out);
}

/* Append z[i..end-1] without doubled quotes. */
static void unquote_add(struct vdb_str *s, const char *z, size_t i,
                        size_t end, char quote){
  for(; i<end; i++){
    vdb_str_addc(s, z[i]);
    if( z[i]==quote ) i++;
  }
}

/* Until the text is parsed, p of a literal is an offset into the pool. */
static int literal_bytes(struct filter_parser *p, int type, size_t off,
                         uint32_t *out){
  struct vdb_value v = { type, 0, 0, NULL, 0 };
  int rc = vdb_str_rc(&p->pool);
  if( rc!=VECDB_OK ) return rc;
  v.i = (int64_t)off;
  v.n = p->pool.n - off;
  return literal_new(p, &v, out);
}

static int hex_digit(char c){
  if( c>='0' && c<='9' ) return c-'0';
  if( c>='a' && c<='f' ) return c-'a'+10;
  if( c>='A' && c<='F' ) return c-'A'+10;
  return -1;
}

static int literal_blob(struct filter_parser *p, uint32_t *out){
  size_t off = p->pool.n, i = p->lex.t.pos+2, end = p->lex.t.end-1;
  for(; i<end; i+=2){
    int hi = hex_digit(p->lex.z[i]);
    int lo = i+1<end ? hex_digit(p->lex.z[i+1]) : -1;
    if( hi<0 || lo<0 ) return vdb_flex_expected(&p->lex, "pairs of hex digits");
    vdb_str_addc(&p->pool, (char)(hi*16+lo));
  }
  return literal_bytes(p, VECDB_BLOB, off, out);
}

static int param_node(struct filter_parser *p, uint32_t *out){
  size_t n = p->lex.t.end - p->lex.t.pos - 1;
  int64_t no = (int64_t)p->f->n_param + 1;
  int rc;
  if( n>0 && vdb_scan_i64(p->lex.z+p->lex.t.pos+1, n, &no)!=n ) no = 0;
  if( no<1 || no>FILTER_PARAM_MAX ){
    return vdb_error(p->err, VECDB_RANGE, "filter: the number of a parameter "
                     "is 1..%d, found \"%.*s\" at byte %zu", FILTER_PARAM_MAX,
                     (int)vdb_min_sz(n+1, 30), p->lex.z+p->lex.t.pos,
                     p->lex.t.pos+1);
  }
  rc = vdb_filter_node(p, F_PARAM, out);
  if( rc!=VECDB_OK ) return rc;
  p->f->node[*out].n = (uint32_t)no;
  if( no>p->f->n_param ) p->f->n_param = (unsigned)no;
  return VECDB_OK;
}

static int column_unknown(struct filter_parser *p, const char *name){
  const struct schema *s = p->schema;
  const char **list = vdb_calloc((size_t)s->n_col+1, sizeof(*list));
  const char *near;
  if( list==NULL ) return VECDB_NOMEM;
  for(int i=0; i<s->n_col; i++) list[i] = s->col[i].name;
  near = vdb_nearest_word(name, list);
  (void)vdb_error(p->err, VECDB_NOTFOUND, "filter: no column \"%.100s\" at "
                  "byte %zu%s%.100s%s", name, p->lex.t.pos+1,
                  near ? "; did you mean \"" : "", near ? near : "",
                  near ? "\"?" : "");
  vdb_free(list);
  return VECDB_NOTFOUND;
}

static int column_number(const struct schema *s, const char *name){
  int i = vdb_schema_find(s, name);
  if( i<0 && s->col[0].type==VECDB_INTEGER
   && (vdb_stricmp(name, "rowid")==0 || vdb_stricmp(name, "_rowid_")==0
       || vdb_stricmp(name, "oid")==0) ) i = 0;
  return i;
}

static int column_node(struct filter_parser *p, uint32_t *out){
  size_t i = p->lex.t.pos, end = p->lex.t.end;
  char quote = 0;
  int rc, column;
  if( p->lex.t.kind==T_NAME ){
    quote = p->lex.z[i]=='[' ? 0 : p->lex.z[i];
    i++;
    end--;
  }
  vdb_str_truncate(&p->word, 0);
  unquote_add(&p->word, p->lex.z, i, end, quote);
  vdb_str_addc(&p->word, 0);
  rc = vdb_str_rc(&p->word);
  if( rc!=VECDB_OK ) return rc;
  column = column_number(p->schema, p->word.z);
  if( column<0 ) return column_unknown(p, p->word.z);
  if( p->schema->col[column].type==VECDB_VECTOR ){
    return vdb_error(p->err, VECDB_MISMATCH, "filter: column \"%.100s\" at "
                     "byte %zu is a vector; filters compare other columns",
                     p->word.z, p->lex.t.pos+1);
  }
  rc = vdb_filter_node(p, F_COLUMN, out);
  if( rc==VECDB_OK ) p->f->node[*out].n = (uint32_t)column;
  return rc;
}

static int word_atom(struct filter_parser *p, uint32_t *out){
  struct vdb_value null = { VECDB_NULL, 0, 0, NULL, 0 };
  if( vdb_flex_is(&p->lex, "NULL") ) return literal_new(p, &null, out);
  if( vdb_flex_is(&p->lex, "TRUE") ) return literal_int(p, 1, out);
  if( vdb_flex_is(&p->lex, "FALSE") ) return literal_int(p, 0, out);
  if( vdb_flex_is_keyword(&p->lex) ){
    return vdb_flex_expected(&p->lex, "a column, a value or \"?N\"");
  }
  return column_node(p, out);
}

int vdb_filter_atom(struct filter_parser *p, uint32_t *out){
  size_t off = p->pool.n;
  int rc;
  switch( p->lex.t.kind ){
    case T_WORD:   rc = word_atom(p, out); break;
    case T_NAME:   rc = column_node(p, out); break;
    case T_PARAM:  rc = param_node(p, out); break;
    case T_BLOB:   rc = literal_blob(p, out); break;
    case T_INT: case T_REAL: rc = literal_number(p, false, out); break;
    case T_TEXT:
      unquote_add(&p->pool, p->lex.z, p->lex.t.pos+1, p->lex.t.end-1, '\'');
      rc = literal_bytes(p, VECDB_TEXT, off, out);
      break;
    case T_MINUS: case T_PLUS: {
      bool is_neg = p->lex.t.kind==T_MINUS;
      rc = vdb_flex_next(&p->lex);
      if( rc==VECDB_OK ) rc = literal_number(p, is_neg, out);
      break;
    }
    default: return vdb_flex_expected(&p->lex, "a column, a value or \"?N\"");
  }
  return rc==VECDB_OK ? vdb_flex_next(&p->lex) : rc;
}
