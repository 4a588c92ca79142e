/* schema_lex.c -- tokens of the schema text.
**
** word     [A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*
** quoted   "x" `x` [x], a doubled closing quote stands for itself ( [x] has
**          no such form in SQL: `]]` is one `]` here, too)
** string   'x', '' is one quote
** number   [-+]digits[.digits][e[-+]digits]; nan, inf and hex are words
** blanks and SQL comments (-- to the end of the line, slash-star) separate.
**
** A byte that begins none of these is a one-character token. Errors give the
** number of the byte, counted from 1.
*/
#include "util/common.h"
#include "store/schema_int.h"

static bool is_word_start(char c){
  unsigned char u = (unsigned char)c;
  return (u>='A' && u<='Z') || (u>='a' && u<='z') || u=='_' || u>=0x80;
}

static bool is_word_part(char c){
  return is_word_start(c) || vdb_is_digit(c) || c=='$';
}

static int lex_fail(struct schema_lexer *x, const char *what){
  return vdb_error(x->err, VECDB_SYNTAX, "schema: %s at byte %zu", what,
                   (size_t)(x->z - x->text) + 1);
}

/* Skip blanks and comments. */
static int lex_skip(struct schema_lexer *x){
  while( x->z<x->end ){
    if( vdb_is_space(*x->z) ){
      x->z++;
    }else if( x->end-x->z>=2 && x->z[0]=='-' && x->z[1]=='-' ){
      while( x->z<x->end && *x->z!='\n' ) x->z++;
    }else if( x->end-x->z>=2 && x->z[0]=='/' && x->z[1]=='*' ){
      const char *z = x->z+2;
      while( x->end-z>=2 && !(z[0]=='*' && z[1]=='/') ) z++;
      if( x->end-z<2 ) return lex_fail(x, "comment without an end");
      x->z = z+2;
    }else{
      break;
    }
  }
  return VECDB_OK;
}

/* A token between quotes; the opening one is at x->z. */
static int token_quoted(struct schema_lexer *x, char close){
  const char *z = x->z+1;

  x->tok = close=='\'' ? TOK_STRING : TOK_QUOTED;
  for(;;){
    const char *e = memchr(z, close, (size_t)(x->end-z));
    if( e==NULL ) return lex_fail(x, "quoted text without an end");
    vdb_str_add(&x->val, z, (size_t)(e-z));
    z = e+1;
    if( z==x->end || *z!=close ) break;
    vdb_str_addc(&x->val, close);
    z++;
  }
  x->z = z;
  return VECDB_OK;
}

static void lex_word(struct schema_lexer *x){
  const char *z = x->z;

  while( z<x->end && is_word_part(*z) ) z++;
  vdb_str_add(&x->val, x->z, (size_t)(z-x->z));
  x->tok = TOK_WORD;
  x->z = z;
}

/* A number must not run into a word: 12abc is an error, not 12. */
static int lex_number(struct schema_lexer *x, size_t n){
  if( x->z+n<x->end && is_word_part(x->z[n]) ){
    return lex_fail(x, "malformed number");
  }
  vdb_str_add(&x->val, x->z, n);
  x->tok = TOK_NUMBER;
  x->z += n;
  return VECDB_OK;
}

int vdb_schema_next(struct schema_lexer *x, bool bracket_quotes){
  double unused;
  size_t n;
  char c;
  int rc = lex_skip(x);

  if( rc!=VECDB_OK ) return rc;
  vdb_str_truncate(&x->val, 0);
  vdb_str_add(&x->val, "", 0);
  x->at = x->z;
  if( x->z==x->end ){
    x->tok = TOK_END;
  }else if( c = *x->z, c=='"' || c=='`' || c=='\'' ){
    rc = token_quoted(x, c);
  }else if( c=='[' && bracket_quotes ){
    rc = token_quoted(x, ']');
  }else if( is_word_start(c) ){
    lex_word(x);
  }else if( c!='+' || !bracket_quotes ){
    n = vdb_scan_double(x->z, (size_t)(x->end-x->z), &unused);
    if( n>0 ) rc = lex_number(x, n);
    else{ x->tok = TOK_PUNCT; x->z++; }
  }else{
    x->tok = TOK_PUNCT;                  /* the + of an aux column */
    x->z++;
  }
  x->n_at = (size_t)(x->z - x->at);
  if( rc==VECDB_OK ) rc = vdb_str_rc(&x->val);
  return rc;
}

int vdb_schema_lex_init(struct schema_lexer *x, const char *text,
                        struct vdb_err *err){
  size_t n = strlen(text);

  memset(x, 0, sizeof(*x));
  x->err = err;
  if( n>SCHEMA_TEXT_MAX ){
    return vdb_error(err, VECDB_TOOBIG,
        "schema: the text has %zu bytes, at most %u are allowed", n,
        SCHEMA_TEXT_MAX);
  }
  x->text = x->z = text;
  x->end = text+n;
  return vdb_schema_next(x, true);
}

void vdb_schema_lex_clear(struct schema_lexer *x){
  vdb_str_clear(&x->val);
}

bool vdb_schema_is_word(const struct schema_lexer *x, const char *word){
  return x->tok==TOK_WORD && vdb_stricmp(x->val.z, word)==0;
}

bool vdb_schema_is_punct(const struct schema_lexer *x, char c){
  return x->tok==TOK_PUNCT && x->at[0]==c;
}

int vdb_schema_expected(struct schema_lexer *x, const char *what){
  size_t at = (size_t)(x->at - x->text) + 1;

  if( x->tok==TOK_END ){
    return vdb_error(x->err, VECDB_SYNTAX,
        "schema: expected %s, found the end of the text", what);
  }
  return vdb_error(x->err, VECDB_SYNTAX,
      "schema: expected %s at byte %zu, found \"%.*s\"", what, at,
      (int)vdb_min_sz(x->n_at, 60), x->at);
}

int vdb_schema_unknown(struct vdb_err *err, const char *what,
                       const char *word, const char *const *list){
  const char *near = vdb_nearest_word(word, list);
  char known[256];
  size_t n = 0;

  if( near!=NULL ){
    return vdb_error(err, VECDB_SYNTAX, "unknown %s \"%.60s\"; did you mean "
                     "\"%s\"", what, word, near);
  }
  known[0] = 0;
  for(; *list!=NULL; list++){
    size_t m = strlen(*list);
    if( n+m+3>sizeof(known) ) break;
    memcpy(known+n, *list, m);
    n += m;
    if( list[1]!=NULL ){ known[n++] = ','; known[n++] = ' '; }
    known[n] = 0;
  }
  return vdb_error(err, VECDB_SYNTAX, "unknown %s \"%.60s\"; known: %s", what,
                   word, known);
}

int vdb_schema_punct(struct schema_lexer *x, char c, const char *what){
  if( !vdb_schema_is_punct(x, c) ) return vdb_schema_expected(x, what);
  return vdb_schema_next(x, false);
}

int vdb_schema_int(struct schema_lexer *x, const char *what, int64_t lo,
                   int64_t hi, int64_t *out){
  if( x->tok!=TOK_NUMBER ) return vdb_schema_expected(x, "a whole number");
  if( vdb_scan_i64(x->val.z, x->val.n, out)!=x->val.n || *out<lo || *out>hi ){
    return vdb_error(x->err, VECDB_RANGE,
        "%s is %.40s, expected a whole number in %lld..%lld", what,
        x->val.z, (long long)lo, (long long)hi);
  }
  return vdb_schema_next(x, false);
}

int vdb_schema_real(struct schema_lexer *x, const char *what, double lo,
                    double hi, double *out){
  char a[VDB_NUM_MAX], b[VDB_NUM_MAX];

  if( x->tok!=TOK_NUMBER ) return vdb_schema_expected(x, "a number");
  vdb_scan_double(x->val.z, x->val.n, out);
  if( !(*out>=lo && *out<=hi) ){
    vdb_print_double(a, lo);
    vdb_print_double(b, hi);
    return vdb_error(x->err, VECDB_RANGE, "%s is %.40s, expected %s..%s",
                     what, x->val.z, a, b);
  }
  return vdb_schema_next(x, false);
}
