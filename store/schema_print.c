/* schema_print.c -- the canonical text of a schema.
**
** Key first, columns in the order written, then the table options. What was
** not given is not printed, so that a default may improve in a later version.
** Printing and parsing are inverse: parse(print(s)) == s, hence printing what
** was parsed from a canonical text gives that text.
*/
#include "util/common.h"
#include "store/schema_int.h"

static bool is_plain_name(const char *z){
  if( !((*z>='A' && *z<='Z') || (*z>='a' && *z<='z') || *z=='_' ||
        (unsigned char)*z>=0x80) ){
    return false;
  }
  for(; *z; z++){
    if( !((*z>='A' && *z<='Z') || (*z>='a' && *z<='z') || *z=='_' ||
          *z=='$' || vdb_is_digit(*z) || (unsigned char)*z>=0x80) ){
      return false;
    }
  }
  return true;
}

static void quoted_print(struct vdb_str *out, const char *z, char quote){
  vdb_str_addc(out, quote);
  for(; *z; z++){
    if( *z==quote ) vdb_str_addc(out, quote);
    vdb_str_addc(out, *z);
  }
  vdb_str_addc(out, quote);
}

void vdb_schema_quote(struct vdb_str *out, const char *name){
  if( is_plain_name(name) ) vdb_str_addz(out, name);
  else quoted_print(out, name, '"');
}

static void print_real(struct vdb_str *out, const char *what, double v){
  char buf[VDB_NUM_MAX];

  vdb_str_addz(out, what);
  vdb_str_add(out, buf, vdb_print_double(buf, v));
}

/* Options in parentheses, the first preceded by "(" and the others by ", ". */
static void print_separator(struct vdb_str *out, int *n){
  vdb_str_addz(out, (*n)++==0 ? "(" : ", ");
}

static void print_count(struct vdb_str *out, int *n, const char *name,
                        uint32_t v){
  if( v==0 ) return;
  print_separator(out, n);
  vdb_str_addf(out, "%s=%u", name, v);
}

static void print_index(struct vdb_str *out, const struct schema_index *ix){
  int n = 0;

  vdb_str_addf(out, " index=%s", vdb_schema_index_word(ix->kind));
  print_count(out, &n, "r", ix->r);
  print_count(out, &n, "build_l", ix->build_l);
  if( ix->alpha!=0 ){
    print_separator(out, &n);
    print_real(out, "alpha=", ix->alpha);
  }
  print_count(out, &n, "nlist", ix->nlist);
  print_count(out, &n, "nprobe", ix->nprobe);
  print_count(out, &n, "bits", ix->bits);
  if( ix->codec!=CODEC_DEFAULT ){
    print_separator(out, &n);
    vdb_str_addf(out, "codec=%s", vdb_schema_codec_word(ix->codec));
  }
  if( ix->nav!=NAV_AUTO ){
    print_separator(out, &n);
    vdb_str_addf(out, "nav=%s", vdb_schema_nav_word(ix->nav));
    if( ix->nav!=NAV_NONE ) vdb_str_addf(out, ":%u", ix->n_nav);
  }
  if( ix->is_soar ){
    print_separator(out, &n);
    vdb_str_addz(out, "spill=soar");
  }
  if( n>0 ) vdb_str_addc(out, ')');
}

static void print_column(struct vdb_str *out, const struct schema_column *col){
  if( col->role==VECDB_ROLE_AUX ) vdb_str_addc(out, '+');
  vdb_schema_quote(out, col->name);
  vdb_str_addf(out, " %s", col->decl);
  if( col->not_null ) vdb_str_addz(out, " not null");
  if( col->role==VECDB_ROLE_KEY ) vdb_str_addz(out, " primary key");
  if( col->role==VECDB_ROLE_PARTITION ) vdb_str_addz(out, " partition key");
  if( col->role!=VECDB_ROLE_VECTOR ) return;
  if( col->metric_given ){
    vdb_str_addf(out, " distance_metric=%s",
                 vdb_schema_metric_word(col->metric));
  }
  if( col->index.is_given ) print_index(out, &col->index);
  if( col->recall!=0 ) print_real(out, " recall=", col->recall);
  if( col->ef!=0 ) vdb_str_addf(out, " ef=%u", col->ef);
}

static void print_options(struct vdb_str *out, const struct schema *s){
  if( s->policy_given ){
    vdb_str_addf(out, ", optimize=%s", vdb_schema_policy_word(s->policy));
  }
  if( s->merge_rows!=0 ){
    vdb_str_addf(out, ", merge_rows=%llu", (unsigned long long)s->merge_rows);
  }
  if( s->recall!=0 ) print_real(out, ", recall=", s->recall);
  if( s->ef!=0 ) vdb_str_addf(out, ", ef=%u", s->ef);
}

/* Options of the statement, not of the collection. */
static void print_statement_options(struct vdb_str *out,
                                    const struct schema *s){
  if( s->file!=NULL ){
    vdb_str_addz(out, ", file=");
    quoted_print(out, s->file, '\'');
  }
  if( s->collection!=NULL ){
    vdb_str_addz(out, ", collection=");
    quoted_print(out, s->collection, '\'');
  }
  if( s->durability!=0 ){
    vdb_str_addf(out, ", durability=%s",
                 s->durability==1 ? "full" : "relaxed");
  }
  if( s->page_size!=0 ) vdb_str_addf(out, ", page_size=%u", s->page_size);
  if( s->chunk_size!=0 ) vdb_str_addf(out, ", chunk_size=%u", s->chunk_size);
}

int vdb_schema_print(const struct schema *s, bool stored, char **out){
  struct vdb_str text = VDB_STR_INIT;

  for(int i=s->has_key ? 0 : 1; i<s->n_col; i++){
    if( text.n>0 ) vdb_str_addz(&text, ", ");
    print_column(&text, &s->col[i]);
  }
  print_options(&text, s);
  if( !stored ) print_statement_options(&text, s);
  *out = vdb_str_take(&text);
  return *out==NULL ? VECDB_NOMEM : VECDB_OK;
}
