/* filter_print.c -- a parsed filter as text, every operator in parentheses.
**
** What it prints parses again to the same tree. BETWEEN shows as the two
** comparisons that it is, and the children of AND and OR in the order in
** which they are asked.
*/
#include "util/common.h"
#include "store/filter_int.h"

static void print_node(const struct filter *f, uint32_t i, struct vdb_str *s);

/* A text between quotes, inner quotes doubled. */
static void print_quoted(struct vdb_str *s, const char *z, size_t n, char q){
  vdb_str_addc(s, q);
  for(size_t i=0; i<n; i++){
    if( z[i]==q ) vdb_str_addc(s, q);
    vdb_str_addc(s, z[i]);
  }
  vdb_str_addc(s, q);
}

static void print_value(const struct vdb_value *v, struct vdb_str *s){
  const unsigned char *p = v->p;
  char buf[VDB_NUM_MAX];
  size_t n;
  switch( v->type ){
    case VECDB_INTEGER:
      vdb_str_addf(s, "%lld", (long long)v->i);
      break;
    case VECDB_REAL:
      n = vdb_print_double(buf, v->r);
      if( v->r-v->r!=0 ){                /* an infinity is written so */
        vdb_str_addz(s, v->r<0 ? "-1e999" : "1e999");
        break;
      }
      vdb_str_add(s, buf, n);
      if( memchr(buf, '.', n)==NULL && memchr(buf, 'e', n)==NULL ){
        vdb_str_addz(s, ".0");
      }
      break;
    case VECDB_TEXT:
      print_quoted(s, v->p, v->n, '\'');
      break;
    case VECDB_BLOB:
      vdb_str_addz(s, "x'");
      for(size_t i=0; i<v->n; i++) vdb_str_addf(s, "%02x", p[i]);
      vdb_str_addc(s, '\'');
      break;
    default:
      vdb_str_addz(s, "NULL");
  }
}

static void print_list(const struct filter *f, uint32_t i, const char *sep,
                       struct vdb_str *s){
  for(uint32_t first=i; i; i=f->node[i].next){
    if( i!=first ) vdb_str_addz(s, sep);
    print_node(f, i, s);
  }
}

static void print_operand(const struct filter *f, uint32_t i,
                          struct vdb_str *s){
  const struct filter_node *x = &f->node[i];
  if( x->kind==F_CONST ){
    print_value(&f->literal[x->n], s);
  }else if( x->kind==F_PARAM ){
    vdb_str_addf(s, "?%u", x->n);
  }else{
    print_quoted(s, f->col_name[x->n], strlen(f->col_name[x->n]), '"');
  }
}

static void print_operator(const struct filter *f, uint32_t i,
                           struct vdb_str *s){
  static const char *const op[] = { " = ", " <> ", " < ", " <= ", " > ",
                                    " >= " };
  const struct filter_node *x = &f->node[i];
  uint32_t b = f->node[x->child].next;
  const char *no = x->is_not ? "NOT " : "";
  if( x->kind==F_NOT ) vdb_str_addz(s, "NOT ");
  if( x->kind==F_AND || x->kind==F_OR ){
    print_list(f, x->child, x->kind==F_AND ? " AND " : " OR ", s);
    return;
  }
  print_node(f, x->child, s);
  switch( x->kind ){
    case F_CMP:  vdb_str_addz(s, op[x->op]); print_node(f, b, s); break;
    case F_IS:   vdb_str_addf(s, " IS %s", no); print_node(f, b, s); break;
    case F_NULL: vdb_str_addf(s, " IS %sNULL", no); break;
    case F_TRUTH:
      vdb_str_addf(s, " IS %s%s", no, x->n ? "TRUE" : "FALSE");
      break;
    case F_IN:
      vdb_str_addf(s, " %sIN (", no);
      print_list(f, b, ", ", s);
      vdb_str_addc(s, ')');
      break;
    case F_LIKE: case F_GLOB:
      vdb_str_addf(s, " %s%s ", no, x->kind==F_LIKE ? "LIKE" : "GLOB");
      print_list(f, b, " ESCAPE ", s);
      break;
    default: break;
  }
}

static void print_node(const struct filter *f, uint32_t i, struct vdb_str *s){
  static const char *const coll[] = { "", "BINARY", "NOCASE", "RTRIM" };
  const struct filter_node *x = &f->node[i];
  if( x->kind==F_CONST || x->kind==F_PARAM || x->kind==F_COLUMN ){
    print_operand(f, i, s);
  }else if( x->kind==F_BOOL ){
    print_node(f, x->child, s);
  }else{
    vdb_str_addc(s, '(');
    print_operator(f, i, s);
    vdb_str_addc(s, ')');
  }
  if( x->coll ) vdb_str_addf(s, " COLLATE %s", coll[x->coll]);
}

void vdb_filter_print(const struct filter *f, struct vdb_str *s){
  print_node(f, f->root, s);
}
