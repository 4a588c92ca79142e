/* vec0_sentences.c -- what the module vec0 says when it refuses, in the words
** of sqlite-vec, misspellings included: programs look for them.
**
** CONSTRUCTOR  The engine's parser decides what is accepted. When it refuses,
**              the argument at fault is found by trying each alone, and its
**              looks decide the sentence; when each is right alone, what they
**              are together does.
*/
#include "sql/vtab_int.h"

#include <stdlib.h>

struct vec0_arg {                      /* the looks of one argument */
  const char *z;                       /* without leading space */
  char *name;                          /* its first word, unquoted */
  int is_named;                        /* it begins with a word */
  int is_option;                       /* .. followed by = */
  const char *value;                   /* behind that */
  int has_bracket;                     /* a vector, or meant to be one */
};

static int char_is_space(char c){
  return c==' ' || c=='\t' || c=='\n' || c=='\r' || c=='\f';
}

static const char *space_skip(const char *z){
  while( char_is_space(*z) ) z++;
  return z;
}

static int char_is_word(char c){
  return (c>='a' && c<='z') || (c>='A' && c<='Z') || (c>='0' && c<='9')
      || c=='_' || c=='$' || (c & 0x80);
}

/* Behind the word or quoted name at z; z itself when there is none. */
static const char *skip_name(const char *z){
  char close = *z=='[' ? ']' : *z=='"' || *z=='`' ? *z : 0;
  if( close ){
    const char *end = strchr(z + 1, close);
    return end ? end + 1 : z;
  }
  if( *z>='0' && *z<='9' ) return z;
  while( char_is_word(*z) ) z++;
  return z;
}

static int arg_look(const char *z, struct vec0_arg *a){
  const char *end;
  int quoted;
  memset(a, 0, sizeof(*a));
  a->z = z = space_skip(z);
  if( *z=='+' ) z = space_skip(z + 1);
  end = skip_name(z);
  a->is_named = end>z;
  quoted = a->is_named && !char_is_word(*z);
  a->name = sqlite3_mprintf("%.*s", (int)(end - z) - 2*quoted, z + quoted);
  end = space_skip(end);
  a->is_option = a->is_named && *end=='=';
  a->value = a->is_option ? space_skip(end + 1) : end;
  a->has_bracket = strchr(end, '[')!=NULL;
  return a->name ? SQLITE_OK : SQLITE_NOMEM;
}

static int has_words(const char *z, const char *first, const char *second){
  for(; *z; z++){
    size_t n = strlen(first);
    if( sqlite3_strnicmp(z, first, (int)n)==0 && char_is_space(z[n])
     && sqlite3_strnicmp(space_skip(z + n), second, (int)strlen(second))==0 ){
      return 1;
    }
  }
  return 0;
}

/* ---- One argument ------------------------------------------------------- */

static char *option_sentence(const struct vec0_arg *a){
  char *end;
  long long n;
  if( sqlite3_stricmp(a->name, "chunk_size")!=0 ){
    return sqlite3_mprintf("Unknown table option: %s", a->name);
  }
  n = strtoll(a->value, &end, 10);
  if( end==a->value || *space_skip(end) || n<=0 ){
    return sqlite3_mprintf("chunk_size must be a non-zero positive integer");
  }
  return sqlite3_mprintf(n%8 ? "chunk_size must be divisible by 8"
                             : "chunk_size too large");
}

/* What stands in the brackets of a vector column, else 0. */
static long long arg_dims(const struct vec0_arg *a){
  const char *z = NULL;
  if( a->has_bracket && !a->is_option ) z = strchr(a->value, '[');
  return z ? strtoll(z + 1, NULL, 10) : 0;
}

static char *vector_sentence(const struct vec0_arg *a, int dims_max){
  if( arg_dims(a)>dims_max ){
    return sqlite3_mprintf("Dimension on vector column too large, provided "
                           "%lld, maximum %d", arg_dims(a), dims_max);
  }
  return sqlite3_mprintf("could not parse vector column '%s'", a->z);
}

static char *arg_sentence(const struct vec0_arg *a, int dims_max){
  if( !a->is_named || *a->z=='+' ){
    return sqlite3_mprintf("Could not parse '%s'", a->z);
  }
  if( a->is_option ) return option_sentence(a);
  if( a->has_bracket ) return vector_sentence(a, dims_max);
  if( has_words(a->value, "primary", "key")
   || has_words(a->value, "partition", "key") ){
    return sqlite3_mprintf("could not parse vector column '%s'", a->z);
  }
  return sqlite3_mprintf("Unknown table option: %s", a->name);
}

/* Is the argument right beside a vector column that surely is? */
static int arg_is_right(vecdb *probe, const char *z){
  char *text = sqlite3_mprintf("\"a name nobody has\" float[1], %s", z);
  int rc = text ? vecdb_check_schema(probe, text, NULL) : VECDB_NOMEM;
  sqlite3_free(text);
  return rc==VECDB_OK;
}

static int arg_is_ours(const struct vec0_arg *a){
  return a->is_option && (sqlite3_stricmp(a->name, "file")==0
      || sqlite3_stricmp(a->name, "collection")==0
      || sqlite3_stricmp(a->name, "durability")==0);
}

/* ---- All arguments ------------------------------------------------------ */

struct vec0_count { int vector, partition, primary, aux, meta; };

static void arg_count(const struct vec0_arg *a, struct vec0_count *n){
  if( a->is_option ) return;
  if( *a->z=='+' ) n->aux++;
  else if( has_words(a->value, "primary", "key") ) n->primary++;
  else if( has_words(a->value, "partition", "key") ) n->partition++;
  else if( a->has_bracket ) n->vector++;
  else if( a->is_named ) n->meta++;
}

/* No column at all: then a file may have them. */
static int count_is_zero(const struct vec0_count *n){
  return n->vector + n->partition + n->primary + n->aux + n->meta==0;
}

static char *count_sentence(const struct vec0_count *n, int is_strict){
  if( n->primary>1 ){
    return sqlite3_mprintf("More than one primary key definition was provided, "
                           "vec0 only suports a single primary key column");
  }
  if( n->vector==0 ){
    return sqlite3_mprintf("At least one vector column is required");
  }
  if( n->vector>(is_strict ? 16 : 64) ){
    return sqlite3_mprintf("Too many provided vector columns, maximum %d",
                           is_strict ? 16 : 64);
  }
  if( n->partition>(is_strict ? 4 : 64) ){
    return sqlite3_mprintf("More than %d partition key columns were provided",
                           is_strict ? 4 : 64);
  }
  if( n->aux>(is_strict ? 16 : 1024) ){
    return sqlite3_mprintf("More than %d auxiliary columns were provided",
                           is_strict ? 16 : 1024);
  }
  if( n->meta>(is_strict ? 16 : 1024) ){
    return sqlite3_mprintf("More than %d metadata columns were provided",
                           is_strict ? 16 : 1024);
  }
  return NULL;
}

/* A name of a column that is reserved or used before. */
static char *name_sentence(const char *table, const struct vec0_arg *a, int i){
  int k;
  if( a[i].is_option ) return NULL;
  if( sqlite3_stricmp(a[i].name, table)==0 ){
    return sqlite3_mprintf("column name '%s' conflicts with table name "
                           "(reserved for command column)", a[i].name);
  }
  for(k=0; k<i; k++){
    if( !a[k].is_option && sqlite3_stricmp(a[k].name, a[i].name)==0 ) break;
  }
  if( k<i || sqlite3_stricmp(a[i].name, "distance")==0
   || sqlite3_stricmp(a[i].name, "k")==0 ){
    return sqlite3_mprintf("could not declare virtual table, 'duplicate column "
                           "name: %s'", a[i].name);
  }
  return NULL;
}

static char *args_sentence(vecdb *probe, const char *table,
                           struct vec0_arg *a, int n, int is_strict){
  struct vec0_count count = { 0, 0, 0, 0, 0 };
  int dims_max = is_strict ? 8192 : 65535, i, is_ours = 0;
  char *z = NULL;

  for(i=0; i<n && z==NULL; i++){
    if( *a[i].z==0 ) continue;
    if( arg_is_ours(&a[i]) ){
      is_ours = 1;
      continue;
    }
    arg_count(&a[i], &count);
    z = name_sentence(table, a, i);
    if( z==NULL && (!arg_is_right(probe, a[i].z)
     || (is_strict && arg_dims(&a[i])>dims_max)) ){
      z = arg_sentence(&a[i], dims_max);
    }
  }
  if( z==NULL && (!is_ours || !count_is_zero(&count)) ){
    z = count_sentence(&count, is_strict);
  }
  return z;
}

char *vdb_vec0_constructor_sentence(const char *table, int argc,
                                    const char *const *argv, int is_strict){
  struct vec0_arg *a = sqlite3_malloc64(sizeof(*a)*(size_t)(argc + 1));
  vecdb *probe = NULL;
  char *z = NULL;
  int i, rc = a ? SQLITE_OK : SQLITE_NOMEM;

  if( a ) memset(a, 0, sizeof(*a)*(size_t)(argc + 1));
  for(i=0; i<argc && rc==SQLITE_OK; i++) rc = arg_look(argv[i], &a[i]);
  if( rc==SQLITE_OK
   && vecdb_open("", VECDB_OPEN_MEMORY, NULL, &probe)==VECDB_OK ){
    z = args_sentence(probe, table, a, argc, is_strict);
  }
  vecdb_close(probe);
  for(i=0; a && i<argc; i++) sqlite3_free(a[i].name);
  sqlite3_free(a);
  return z;
}

/* ---- Values ------------------------------------------------------------- */

static int value_fits(const vecdb_column_info *info, sqlite3_value *v){
  int type = sqlite3_value_type(v);
  int64_t n;
  if( type==SQLITE_NULL ) return 1;
  switch( info->type ){
    case VECDB_INTEGER:
      return type==SQLITE_INTEGER || (type==SQLITE_FLOAT && vdb_key_int(v, &n));
    case VECDB_REAL: return type==SQLITE_FLOAT || type==SQLITE_INTEGER;
    case VECDB_TEXT: return type==SQLITE_TEXT;
    case VECDB_BLOB: return type==SQLITE_BLOB;
    case VECDB_BOOLEAN:
      return type==SQLITE_INTEGER && sqlite3_value_int64(v)>=0
          && sqlite3_value_int64(v)<=1;
    default: return 1;
  }
}

static const char *type_name(const vecdb_column_info *info){
  switch( info->type ){
    case VECDB_INTEGER: return "INTEGER";
    case VECDB_REAL:    return "FLOAT";
    case VECDB_TEXT:    return "TEXT";
    default:            return "BLOB";
  }
}

char *vdb_vec0_value_sentence(const struct sql_column *c, sqlite3_value *v){
  const char *want = type_name(&c->info), *got = vdb_value_type_name(v);
  if( value_fits(&c->info, v) ) return NULL;
  if( c->info.role==VECDB_ROLE_PARTITION ){
    return sqlite3_mprintf("Parition key type mismatch: The partition key "
        "column %s has type %s, but %s was provided.", c->name, want, got);
  }
  if( c->info.role==VECDB_ROLE_AUX ){
    return sqlite3_mprintf("Auxiliary column type mismatch: The auxiliary "
        "column %s has type %s, but %s was provided.", c->name, want, got);
  }
  if( c->info.type==VECDB_BOOLEAN ){
    return sqlite3_mprintf("Expected 0 or 1 for BOOLEAN metadata column %s",
                           c->name);
  }
  return sqlite3_mprintf("Expected %s for %s metadata column %s, received %s",
      c->info.type==VECDB_INTEGER ? "integer" :
      c->info.type==VECDB_REAL ? "float" : "text", want, c->name, got);
}
