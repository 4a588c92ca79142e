/* filter_lex.h -- tokens of the filter language.
**
** Used by   store/filter_parse.c. Errors: SYNTAX; the sentence names the byte.
*/
#ifndef VDB_FILTER_LEX_H
#define VDB_FILTER_LEX_H
#include "util/common.h"
#include "util/err.h"

enum token_kind {
  T_END, T_WORD, T_NAME,          /* bare word; quoted identifier */
  T_INT, T_REAL, T_TEXT, T_BLOB, T_PARAM,
  T_EQ, T_NE, T_LT, T_LE, T_GT, T_GE,
  T_LPAREN, T_RPAREN, T_COMMA, T_MINUS, T_PLUS
};

struct filter_token {
  enum token_kind kind;
  size_t pos, end;                /* bytes of the text */
};

struct filter_lex {
  const char *z;                  /* the text, n bytes */
  size_t n;
  struct filter_token t;          /* the token looked at */
  struct vdb_err *err;
};

/* Move to the next token; at the end its kind is T_END. */
int  vdb_flex_next(struct filter_lex *x);
/* Is the token this keyword (upper case)? Any keyword? */
bool vdb_flex_is(const struct filter_lex *x, const char *keyword);
bool vdb_flex_is_keyword(const struct filter_lex *x);
/* SYNTAX: expected `what`, found the token. */
int  vdb_flex_expected(struct filter_lex *x, const char *what);
#endif
