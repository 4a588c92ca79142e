/* filter_parse.c -- filter text to tree.
**
** A recursive descent through the grammar of filter.h, one token ahead.
** Chains of AND and of OR become one node with many children, so only
** parentheses, NOT and chained comparisons nest; their depth is bounded (P1).
**
** INVARIANTS
**   P1  Paths through the tree are short (below FILTER_DEPTH_MAX squared, for
**       a chain of comparisons may end at each level of parentheses): every
**       function that recurses over a tree may.
**   P2  Children of AND, OR, NOT and the root have a truth value (they are
**       none of CONST, PARAM, COLUMN); truth_node wraps a value in BOOL.
**   P3  x BETWEEN a AND b is (x>=a AND x<=b), with the node x copied.
*/
#include "util/common.h"
#include "store/filter_int.h"

#include "store/filter_parse.h"
#include "util/mem.h"

/* ---- Nodes -------------------------------------------------------------- */

static struct filter_node *node_at(struct filter_parser *p, uint32_t i){
  return &p->f->node[i];
}

/* A node with children a and b (b may be 0). */
static int node_join(struct filter_parser *p, enum filter_kind kind, uint32_t a,
                     uint32_t b, uint32_t *out){
  int rc = vdb_filter_node(p, kind, out);
  if( rc!=VECDB_OK ) return rc;
  node_at(p, *out)->child = a;
  node_at(p, a)->next = b;
  return VECDB_OK;
}

static bool kind_is_value(int kind){
  return kind==F_CONST || kind==F_PARAM || kind==F_COLUMN;
}

/* P2: what is used as a truth value. */
static int truth_node(struct filter_parser *p, uint32_t *io){
  if( !kind_is_value(node_at(p, *io)->kind) ) return VECDB_OK;
  return node_join(p, F_BOOL, *io, 0, io);
}

static int depth_enter(struct filter_parser *p){
  if( ++p->depth<=FILTER_DEPTH_MAX ) return VECDB_OK;
  return vdb_error(p->err, VECDB_TOOBIG,
                   "filter: nested more than %d levels deep at byte %zu",
                   FILTER_DEPTH_MAX, p->lex.t.pos+1);
}

/* ---- Operands ----------------------------------------------------------- */

static int parse_expr(struct filter_parser *p, uint32_t *out);

static int parse_parens(struct filter_parser *p, uint32_t *out){
  int rc;
  TRY( depth_enter(p) );
  TRY( vdb_flex_next(&p->lex) );
  TRY( parse_expr(p, out) );
  p->depth--;
  if( p->lex.t.kind!=T_RPAREN ) TRY( vdb_flex_expected(&p->lex, "\")\"") );
  rc = vdb_flex_next(&p->lex);
done:
  return rc;
}

static int parse_primary(struct filter_parser *p, uint32_t *out){
  if( p->lex.t.kind==T_LPAREN ) return parse_parens(p, out);
  return vdb_filter_atom(p, out);
}

static int parse_operand(struct filter_parser *p, uint32_t *out){
  enum filter_coll coll = COLL_NONE;
  int rc;
  TRY( parse_primary(p, out) );
  while( vdb_flex_is(&p->lex, "COLLATE") ){
    TRY( vdb_flex_next(&p->lex) );
    if( vdb_flex_is(&p->lex, "BINARY") ) coll = COLL_BINARY;
    else if( vdb_flex_is(&p->lex, "NOCASE") ) coll = COLL_NOCASE;
    else if( vdb_flex_is(&p->lex, "RTRIM") ) coll = COLL_RTRIM;
    else TRY( vdb_flex_expected(&p->lex, "BINARY, NOCASE or RTRIM") );
    node_at(p, *out)->coll = (uint8_t)coll;
    TRY( vdb_flex_next(&p->lex) );
  }
done:
  return rc;
}

/* ---- Comparisons -------------------------------------------------------- */

static int node_compare(struct filter_parser *p, enum filter_op op, uint32_t a,
                        uint32_t b, uint32_t *out){
  int rc = node_join(p, F_CMP, a, b, out);
  if( rc==VECDB_OK ) node_at(p, *out)->op = (uint8_t)op;
  return rc;
}

static int parse_relation(struct filter_parser *p, uint32_t *out){
  int depth = p->depth, rc;
  uint32_t right;
  TRY( parse_operand(p, out) );
  while( p->lex.t.kind>=T_LT && p->lex.t.kind<=T_GE ){
    enum token_kind kind = p->lex.t.kind;
    enum filter_op op = kind==T_LT ? OP_LT : kind==T_LE ? OP_LE
                      : kind==T_GT ? OP_GT : OP_GE;
    TRY( depth_enter(p) );
    TRY( vdb_flex_next(&p->lex) );
    TRY( parse_operand(p, &right) );
    TRY( node_compare(p, op, *out, right, out) );
  }
done:
  p->depth = depth;
  return rc;
}

/* (x>=a AND x<=b), P3: x is a single node, so that chains of BETWEEN cannot
** double the tree again and again. */
static int parse_between(struct filter_parser *p, bool is_not, uint32_t *io){
  uint32_t x = *io, x2, lo, hi;
  int rc;
  if( !kind_is_value(node_at(p, x)->kind) ){
    TRY( vdb_flex_expected(&p->lex, "a column or a value before BETWEEN") );
  }
  TRY( parse_relation(p, &lo) );
  if( !vdb_flex_is(&p->lex, "AND") ){
    TRY( vdb_flex_expected(&p->lex, "AND of BETWEEN") );
  }
  TRY( vdb_flex_next(&p->lex) );
  TRY( parse_relation(p, &hi) );
  TRY( vdb_filter_node(p, F_COLUMN, &x2) );
  *node_at(p, x2) = *node_at(p, x);
  TRY( node_compare(p, OP_GE, x, lo, &lo) );
  TRY( node_compare(p, OP_LE, x2, hi, &hi) );
  TRY( node_join(p, F_AND, lo, hi, io) );
  if( is_not ) TRY( node_join(p, F_NOT, *io, 0, io) );
done:
  return rc;
}

static int parse_in(struct filter_parser *p, bool is_not, uint32_t *io){
  uint32_t last = *io, item;
  int rc;
  if( p->lex.t.kind!=T_LPAREN ){
    TRY( vdb_flex_expected(&p->lex, "\"(\" after IN") );
  }
  TRY( node_join(p, F_IN, *io, 0, io) );
  node_at(p, *io)->is_not = is_not;
  TRY( depth_enter(p) );
  TRY( vdb_flex_next(&p->lex) );
  while( p->lex.t.kind!=T_RPAREN ){
    TRY( parse_expr(p, &item) );
    node_at(p, last)->next = item;
    last = item;
    if( p->lex.t.kind==T_RPAREN ) break;
    if( p->lex.t.kind!=T_COMMA ){
      TRY( vdb_flex_expected(&p->lex, "\",\" or \")\"") );
    }
    TRY( vdb_flex_next(&p->lex) );
    if( p->lex.t.kind==T_RPAREN ) TRY( vdb_flex_expected(&p->lex, "a value") );
  }
  p->depth--;
  rc = vdb_flex_next(&p->lex);
done:
  return rc;
}

static int parse_like(struct filter_parser *p, enum filter_kind kind,
                      bool is_not, uint32_t *io){
  uint32_t pattern, escape;
  int rc;
  TRY( parse_relation(p, &pattern) );
  TRY( node_join(p, kind, *io, pattern, io) );
  node_at(p, *io)->is_not = is_not;
  if( kind==F_LIKE && vdb_flex_is(&p->lex, "ESCAPE") ){
    TRY( vdb_flex_next(&p->lex) );
    TRY( parse_relation(p, &escape) );
    node_at(p, pattern)->next = escape;
  }
done:
  return rc;
}

/* x IS NULL, x IS TRUE, x IS y; "IS" has been read. */
static int parse_is(struct filter_parser *p, uint32_t *io){
  bool is_not = false, is_true;
  uint32_t right;
  int rc;
  if( vdb_flex_is(&p->lex, "NOT") ){
    is_not = true;
    TRY( vdb_flex_next(&p->lex) );
  }
  is_true = vdb_flex_is(&p->lex, "TRUE");
  if( vdb_flex_is(&p->lex, "NULL") ){
    TRY( node_join(p, F_NULL, *io, 0, io) );
    TRY( vdb_flex_next(&p->lex) );
  }else if( is_true || vdb_flex_is(&p->lex, "FALSE") ){
    TRY( node_join(p, F_TRUTH, *io, 0, io) );
    node_at(p, *io)->n = is_true;
    TRY( vdb_flex_next(&p->lex) );
  }else{
    TRY( parse_relation(p, &right) );
    TRY( node_join(p, F_IS, *io, right, io) );
  }
  node_at(p, *io)->is_not = is_not;
done:
  return rc;
}

static int parse_is_null(struct filter_parser *p, bool is_not, uint32_t *io){
  int rc = node_join(p, F_NULL, *io, 0, io);
  if( rc==VECDB_OK ) node_at(p, *io)->is_not = is_not;
  return rc;
}

/* One operator of the precedence of "=", applied to *io; *more is false when
** there is none. */
static int parse_equality_step(struct filter_parser *p, uint32_t *io,
                               bool *more){
  bool is_not = false;
  uint32_t right;
  int rc = VECDB_OK;
  *more = true;
  if( p->lex.t.kind==T_EQ || p->lex.t.kind==T_NE ){
    enum filter_op op = p->lex.t.kind==T_EQ ? OP_EQ : OP_NE;
    TRY( vdb_flex_next(&p->lex) );
    TRY( parse_relation(p, &right) );
    return node_compare(p, op, *io, right, io);
  }
  if( vdb_flex_is(&p->lex, "IS") ){
    TRY( vdb_flex_next(&p->lex) );
    return parse_is(p, io);
  }
  if( vdb_flex_is(&p->lex, "ISNULL") || vdb_flex_is(&p->lex, "NOTNULL") ){
    is_not = vdb_flex_is(&p->lex, "NOTNULL");
    TRY( vdb_flex_next(&p->lex) );
    return parse_is_null(p, is_not, io);
  }
  if( vdb_flex_is(&p->lex, "NOT") ){
    is_not = true;
    TRY( vdb_flex_next(&p->lex) );
    if( vdb_flex_is(&p->lex, "NULL") ){
      TRY( vdb_flex_next(&p->lex) );
      return parse_is_null(p, true, io);
    }
  }
  if( vdb_flex_is(&p->lex, "IN") ){
    TRY( vdb_flex_next(&p->lex) );
    return parse_in(p, is_not, io);
  }
  if( vdb_flex_is(&p->lex, "BETWEEN") ){
    TRY( vdb_flex_next(&p->lex) );
    return parse_between(p, is_not, io);
  }
  if( vdb_flex_is(&p->lex, "LIKE") || vdb_flex_is(&p->lex, "GLOB") ){
    enum filter_kind kind = vdb_flex_is(&p->lex, "LIKE") ? F_LIKE : F_GLOB;
    TRY( vdb_flex_next(&p->lex) );
    return parse_like(p, kind, is_not, io);
  }
  if( is_not ){
    return vdb_flex_expected(&p->lex, "IN, BETWEEN, LIKE, GLOB or NULL");
  }
  *more = false;
done:
  return rc;
}

static int parse_equality(struct filter_parser *p, uint32_t *out){
  int depth = p->depth, rc;
  bool more = true;
  TRY( parse_relation(p, out) );
  while( more ){
    TRY( depth_enter(p) );
    TRY( parse_equality_step(p, out, &more) );
  }
done:
  p->depth = depth;
  return rc;
}

/* ---- Logic -------------------------------------------------------------- */

static int parse_not(struct filter_parser *p, uint32_t *out){
  int rc;
  if( !vdb_flex_is(&p->lex, "NOT") ) return parse_equality(p, out);
  TRY( depth_enter(p) );
  TRY( vdb_flex_next(&p->lex) );
  TRY( parse_not(p, out) );
  p->depth--;
  TRY( truth_node(p, out) );
  rc = node_join(p, F_NOT, *out, 0, out);
done:
  return rc;
}

/* One or more operands joined by a keyword: one flat node. */
static int parse_chain(struct filter_parser *p, enum filter_kind kind,
                       uint32_t *out){
  const char *word = kind==F_AND ? "AND" : "OR";
  uint32_t last, item;
  int rc;
  TRY( kind==F_AND ? parse_not(p, out) : parse_chain(p, F_AND, out) );
  if( !vdb_flex_is(&p->lex, word) ) return VECDB_OK;
  TRY( truth_node(p, out) );
  last = *out;
  TRY( node_join(p, kind, last, 0, out) );
  while( vdb_flex_is(&p->lex, word) ){
    TRY( vdb_flex_next(&p->lex) );
    TRY( kind==F_AND ? parse_not(p, &item) : parse_chain(p, F_AND, &item) );
    TRY( truth_node(p, &item) );
    node_at(p, last)->next = item;
    last = item;
  }
done:
  return rc;
}

static int parse_expr(struct filter_parser *p, uint32_t *out){
  return parse_chain(p, F_OR, out);
}

/* ---- After parsing ------------------------------------------------------ */

/* Cost classes, so that a chain asks its cheap children first: cells of fixed
** width 1, texts 4, patterns 8, auxiliary columns 100 each. */
static uint32_t node_finish(struct filter *f, uint32_t i, unsigned level){
  struct filter_node *x = &f->node[i];
  bool is_logic = x->kind==F_AND || x->kind==F_OR || x->kind==F_NOT;
  uint32_t cost = x->kind==F_LIKE || x->kind==F_GLOB ? 4 : 0;
  if( is_logic && level+1>f->height ) f->height = level+1;
  if( x->kind==F_COLUMN ){
    cost = !f->col_in_cells[x->n] ? 100 : f->col_type[x->n]==VECDB_TEXT ? 4 : 1;
  }
  for(uint32_t c=x->child; c; c=f->node[c].next){
    cost += node_finish(f, c, level+is_logic);
    if( cost>1000000 ) cost = 1000000;
  }
  x->cost = cost;
  return cost;
}

/* Sort the children of AND and OR nodes by cost; the order of equals stays.
** One list per cost: a chain may have a million children. */
static void node_order(struct filter *f, uint32_t i){
  enum { N_CLASS = 128 };
  uint32_t head[N_CLASS] = { 0 }, tail[N_CLASS] = { 0 }, c, next;
  uint32_t *link = &f->node[i].child;
  for(c=f->node[i].child; c; c=f->node[c].next) node_order(f, c);
  if( f->node[i].kind!=F_AND && f->node[i].kind!=F_OR ) return;
  for(c=f->node[i].child; c; c=next){
    uint32_t k = f->node[c].cost<N_CLASS ? f->node[c].cost : N_CLASS-1;
    next = f->node[c].next;
    f->node[c].next = 0;
    if( tail[k] ) f->node[tail[k]].next = c;
    else head[k] = c;
    tail[k] = c;
  }
  for(uint32_t k=0; k<N_CLASS; k++){
    if( head[k]==0 ) continue;
    *link = head[k];
    link = &f->node[tail[k]].next;
  }
}

static int columns_keep(struct filter *f, const struct schema *s){
  f->n_col = s->n_col;
  f->col_type = vdb_calloc((size_t)s->n_col, sizeof(*f->col_type));
  f->col_in_cells = vdb_calloc((size_t)s->n_col, sizeof(*f->col_in_cells));
  f->col_name = vdb_calloc((size_t)s->n_col, sizeof(*f->col_name));
  if( !f->col_type || !f->col_in_cells || !f->col_name ) return VECDB_NOMEM;
  for(int i=0; i<s->n_col; i++){
    f->col_type[i] = s->col[i].type;
    f->col_in_cells[i] = s->col[i].role!=VECDB_ROLE_AUX
                      && s->col[i].role!=VECDB_ROLE_VECTOR;
    f->col_name[i] = vdb_strdup(s->col[i].name);
    if( f->col_name[i]==NULL ) return VECDB_NOMEM;
  }
  return VECDB_OK;
}

static void literals_link(struct filter_parser *p){
  struct filter *f = p->f;
  f->pool = p->pool.z;
  p->pool.z = NULL;
  for(size_t i=0; i<f->n_literal; i++){
    struct vdb_value *v = &f->literal[i];
    if( v->type!=VECDB_TEXT && v->type!=VECDB_BLOB ) continue;
    v->p = v->n ? f->pool + v->i : "";
    v->i = 0;
  }
}

void vdb_filter_destroy(struct filter *f){
  if( f==NULL ) return;
  for(int i=0; f->col_name && i<f->n_col; i++) vdb_free(f->col_name[i]);
  vdb_free(f->col_name);
  vdb_free(f->col_type);
  vdb_free(f->col_in_cells);
  vdb_free(f->node);
  vdb_free(f->literal);
  vdb_free(f->pool);
  vdb_free(f);
}

unsigned vdb_filter_n_param(const struct filter *f){
  return f->n_param;
}

int vdb_filter_parse(const struct schema *schema, const char *z,
                     struct vdb_err *err, struct filter **out){
  struct filter_parser p = { .lex = { .z = z, .n = strlen(z), .err = err },
                      .schema = schema, .err = err, .pool = VDB_STR_INIT,
                      .word = VDB_STR_INIT };
  uint32_t none;
  int rc;
  *out = NULL;
  if( p.lex.n>FILTER_TEXT_MAX ){
    return vdb_error(err, VECDB_TOOBIG, "filter: %zu bytes are more than %u",
                     p.lex.n, FILTER_TEXT_MAX);
  }
  p.f = vdb_calloc(1, sizeof(*p.f));
  if( p.f==NULL ) return VECDB_NOMEM;
  TRY( columns_keep(p.f, schema) );
  TRY( vdb_filter_node(&p, F_CONST, &none) );                     /* node 0 */
  TRY( vdb_flex_next(&p.lex) );
  TRY( parse_expr(&p, &p.f->root) );
  if( p.lex.t.kind!=T_END ){
    TRY( vdb_flex_expected(&p.lex, "an operator or the end") );
  }
  TRY( truth_node(&p, &p.f->root) );
  literals_link(&p);
  (void)node_finish(p.f, p.f->root, 0);
  node_order(p.f, p.f->root);
  *out = p.f;
  p.f = NULL;
done:
  vdb_filter_destroy(p.f);
  vdb_str_clear(&p.pool);
  vdb_str_clear(&p.word);
  return rc;
}
