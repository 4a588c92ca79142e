/* schema_int.h -- what the files of the schema parser share.
**
** Used by   schema_lex.c, schema_parse.c, schema_opts.c, schema_print.c.
**
** Reading is by recursive descent over one token of look-ahead. `[` begins a
** quoted identifier where a name may stand and a dimension elsewhere, so the
** parser says which it wants when it advances.
*/
#ifndef VDB_SCHEMA_INT_H
#define VDB_SCHEMA_INT_H
#include "store/schema.h"
#include "util/mem.h"
#include "util/str.h"

enum schema_token {
  TOK_END, TOK_WORD,                    /* word: plain identifier */
  TOK_QUOTED,                           /* "x", `x`, [x] */
  TOK_STRING,                           /* 'x' */
  TOK_NUMBER, TOK_PUNCT                 /* one character */
};

struct schema_lexer {
  const char *z, *end;                  /* text not read yet */
  const char *text;                     /* all of it, for byte numbers */
  struct vdb_err *err;
  enum schema_token tok;                /* current token ... */
  const char *at;                       /* ... where it begins ... */
  size_t n_at;                          /* ... its bytes as written ... */
  struct vdb_str val;                   /* ... and unquoted */
};

int  vdb_schema_lex_init(struct schema_lexer *x, const char *text,
                         struct vdb_err *err);
void vdb_schema_lex_clear(struct schema_lexer *x);
/* Advance; `bracket_quotes`: a `[` here begins a name. SYNTAX, NOMEM. */
int  vdb_schema_next(struct schema_lexer *x, bool bracket_quotes);
bool vdb_schema_is_word(const struct schema_lexer *x, const char *word);
bool vdb_schema_is_punct(const struct schema_lexer *x, char c);
/* Error at the current token: expected `what`, found .. */
int  vdb_schema_expected(struct schema_lexer *x, const char *what);
/* Error about a word nobody knows; list (NULL-terminated) has those that are
** known. */
int  vdb_schema_unknown(struct vdb_err *err, const char *what,
                        const char *word, const char *const *list);
/* Step over one punctuation character or complain. */
int  vdb_schema_punct(struct schema_lexer *x, char c, const char *what);

/* The current token as a number within lo..hi, then advance. */
int  vdb_schema_int(struct schema_lexer *x, const char *what, int64_t lo,
                    int64_t hi, int64_t *out);
int  vdb_schema_real(struct schema_lexer *x, const char *what, double lo,
                     double hi, double *out);

/* The options of a vector column, from the token after its type on: NOT NULL,
** distance_metric, index, recall, ef, INDEXED BY. */
int  vdb_schema_vector_options(struct schema_lexer *x,
                               struct schema_column *col);
/* One table option; the current token is its name. */
int  vdb_schema_table_option(struct schema_lexer *x, struct schema *s);

/* Words of enumerations, as they are written; NULL when out of range. */
const char *vdb_schema_metric_word(int metric);
const char *vdb_schema_codec_word(enum schema_codec codec);
const char *vdb_schema_nav_word(enum schema_nav nav);
const char *vdb_schema_index_word(enum schema_index_kind kind);
const char *vdb_schema_policy_word(enum schema_policy policy);
#endif
