/* filter_lex.c -- the text of a filter, token by token.
**
** Names stand bare or in "..", `..`, [..]; texts in '..'; blobs in x'..';
** quotes inside are doubled. A number that runs into letters is refused here,
** so that "3x" is not taken for 3.
*/
#include "util/common.h"
#include "store/filter_lex.h"

#include <stdio.h>

#include "util/str.h"

static const char *const filter_keyword[] = {
  "AND", "BETWEEN", "COLLATE", "ESCAPE", "FALSE", "GLOB", "IN", "IS",
  "ISNULL", "LIKE", "NOT", "NOTNULL", "NULL", "OR", "TRUE", NULL
};

/* ---- Lexer -------------------------------------------------------------- */

static bool ident_begins(char c){
  return (c>='a' && c<='z') || (c>='A' && c<='Z') || c=='_'
      || (unsigned char)c>=0x80;
}

static bool ident_goes_on(char c){
  return ident_begins(c) || vdb_is_digit(c) || c=='$';
}

/* What the parser found, for a message. */
static const char *token_text(const struct filter_lex *x, char buf[40]){
  size_t n = x->t.end - x->t.pos;
  if( x->t.kind==T_END ) return "the end";
  snprintf(buf, 40, "\"%.*s%s\"", (int)(n>30 ? 30 : n), x->z + x->t.pos,
           n>30 ? ".." : "");
  return buf;
}

int vdb_flex_expected(struct filter_lex *x, const char *what){
  char buf[40];
  return vdb_error(x->err, VECDB_SYNTAX,
                   "filter: expected %s at byte %zu, found %s",
                   what, x->t.pos+1, token_text(x, buf));
}

/* End of the quoted run that begins at i; doubled quotes are inside. 0 when
** it does not end. */
static size_t quoted_end(const struct filter_lex *x, size_t i, char quote){
  for(i++; i<x->n; i++){
    if( x->z[i]!=quote ) continue;
    if( quote!=']' && i+1<x->n && x->z[i+1]==quote ) i++;
    else return i+1;
  }
  return 0;
}

static int lex_quoted(struct filter_lex *x, enum token_kind kind, size_t i,
                      char quote){
  size_t end = quoted_end(x, i, quote);
  if( end==0 ){
    return vdb_error(x->err, VECDB_SYNTAX,
                     "filter: the %s that begins at byte %zu does not end",
                     kind==T_NAME ? "name" : "text", x->t.pos+1);
  }
  x->t.kind = kind;
  x->t.end = end;
  return VECDB_OK;
}

static void lex_number(struct filter_lex *x){
  size_t i = x->t.pos;
  x->t.kind = T_INT;
  while( i<x->n && vdb_is_digit(x->z[i]) ) i++;
  if( i<x->n && x->z[i]=='.' ){
    x->t.kind = T_REAL;
    for(i++; i<x->n && vdb_is_digit(x->z[i]); ) i++;
  }
  if( i<x->n && (x->z[i]=='e' || x->z[i]=='E') ){
    size_t k = i+1;
    if( k<x->n && (x->z[k]=='-' || x->z[k]=='+') ) k++;
    if( k<x->n && vdb_is_digit(x->z[k]) ){
      x->t.kind = T_REAL;
      while( k<x->n && vdb_is_digit(x->z[k]) ) k++;
      i = k;
    }
  }
  while( i<x->n && ident_goes_on(x->z[i]) ){      /* "3x": refused */
    x->t.kind = T_END;
    i++;
  }
  x->t.end = i;
}

/* Operators of one or two bytes. */
static bool lex_operator(struct filter_lex *x){
  static const struct { char text[3]; enum token_kind kind; } op[] = {
    {"==",T_EQ}, {"<=",T_LE}, {">=",T_GE}, {"<>",T_NE}, {"!=",T_NE},
    {"=",T_EQ}, {"<",T_LT}, {">",T_GT}, {"(",T_LPAREN}, {")",T_RPAREN},
    {",",T_COMMA}, {"-",T_MINUS}, {"+",T_PLUS}
  };
  for(size_t i=0; i<VDB_ARRAY_LEN(op); i++){
    size_t n = strlen(op[i].text);
    if( x->t.pos+n<=x->n && memcmp(x->z+x->t.pos, op[i].text, n)==0 ){
      x->t.kind = op[i].kind;
      x->t.end = x->t.pos+n;
      return true;
    }
  }
  return false;
}

/* Move to the next token. */
int vdb_flex_next(struct filter_lex *x){
  size_t i = x->t.end;
  char c;
  while( i<x->n && vdb_is_space(x->z[i]) ) i++;
  x->t.pos = x->t.end = i;
  x->t.kind = T_END;
  if( i>=x->n ) return VECDB_OK;
  c = x->z[i];
  if( c=='\'' ) return lex_quoted(x, T_TEXT, i, c);
  if( c=='"' || c=='`' ) return lex_quoted(x, T_NAME, i, c);
  if( c=='[' ) return lex_quoted(x, T_NAME, i, ']');
  if( (c=='x' || c=='X') && i+1<x->n && x->z[i+1]=='\'' ){
    return lex_quoted(x, T_BLOB, i+1, '\'');
  }
  if( ident_begins(c) ){
    while( i<x->n && ident_goes_on(x->z[i]) ) i++;
    x->t.kind = T_WORD;
    x->t.end = i;
    return VECDB_OK;
  }
  if( c=='?' ){
    for(i++; i<x->n && vdb_is_digit(x->z[i]); ) i++;
    x->t.kind = T_PARAM;
    x->t.end = i;
    return VECDB_OK;
  }
  if( vdb_is_digit(c) || (c=='.' && i+1<x->n && vdb_is_digit(x->z[i+1])) ){
    lex_number(x);
    if( x->t.kind!=T_END ) return VECDB_OK;
    return vdb_error(x->err, VECDB_SYNTAX,
                     "filter: malformed number at byte %zu, \"%.*s\"",
                     x->t.pos+1, (int)vdb_min_sz(x->t.end-x->t.pos, 30),
                     x->z+x->t.pos);
  }
  if( lex_operator(x) ) return VECDB_OK;
  return vdb_error(x->err, VECDB_SYNTAX,
                   "filter: unexpected \"%c\" at byte %zu", c, i+1);
}

bool vdb_flex_is(const struct filter_lex *x, const char *keyword){
  size_t n = x->t.end - x->t.pos;
  return x->t.kind==T_WORD && strlen(keyword)==n
      && vdb_strnicmp(x->z+x->t.pos, keyword, n)==0;
}

bool vdb_flex_is_keyword(const struct filter_lex *x){
  for(const char *const *k=filter_keyword; *k; k++){
    if( vdb_flex_is(x, *k) ) return true;
  }
  return false;
}
