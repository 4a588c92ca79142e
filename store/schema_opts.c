/* schema_opts.c -- options of vector columns, of indexes and of the table.
**
** Each set of options is a table {name, parser}; a name in none of them is an
** error that names the nearest known one, a name given twice is an error.
**
** The forms of sqlite-vec map to ours (INDEXED BY):
**   flat()                                           flat
**   rescore(quantizer=bit|int8, oversample=N)        flat(bits=1 | codec=sq8)
**   diskann(neighbor_quantizer, n_neighbors,         graph(r, build_l), ef
**           search_list_size[_search|_insert], buffer_threshold)
**   ivf(nlist, nprobe, quantizer, oversample)        ivf(nlist, nprobe, bits)
** What has no counterpart (oversample, buffer_threshold) is checked, then
** dropped: flat searches are exact and a graph has no buffer.
*/
#include "util/common.h"
#include "store/schema_int.h"

#define OPT_EF_MAX     ((int64_t)1<<31)
#define OPT_RECALL_MIN 0.001
#define OPT_NLIST_MAX  ((int64_t)1<<24)
#define OPT_LIST_MAX   4096             /* build_l and its relatives */

static const char *const metric_words[] = {
  "l2", "cosine", "ip", "l1", "hamming", "jaccard", NULL };
static const char *const codec_words[] = {
  "rabitq", "sq8", "f16", "bf16", "pq4", "pq8", "lsh", "none", NULL };
static const char *const nav_words[] = {
  "none", "pca", "rp", "truncate", NULL };
static const char *const index_words[] = { "flat", "graph", "ivf", NULL };
static const char *const indexed_by_words[] = {
  "flat", "graph", "ivf", "rescore", "diskann", NULL };
static const char *const policy_words[] = {
  "commit", "manual", "background", NULL };
static const char *const durability_words[] = { "full", "relaxed", NULL };
static const char *const spill_words[] = { "none", "soar", NULL };

/* words[i-1], or NULL. */
static const char *word_at(const char *const *words, int i){
  for(int k=1; k<i && *words!=NULL; k++) words++;
  return i<1 ? NULL : *words;
}
const char *vdb_schema_metric_word(int metric){
  return word_at(metric_words, metric);
}
const char *vdb_schema_codec_word(enum schema_codec codec){
  return word_at(codec_words, (int)codec);
}
const char *vdb_schema_nav_word(enum schema_nav nav){
  return word_at(nav_words, (int)nav);
}
const char *vdb_schema_index_word(enum schema_index_kind kind){
  return word_at(index_words, (int)kind);
}
const char *vdb_schema_policy_word(enum schema_policy policy){
  return word_at(policy_words, (int)policy+1);
}

/* The current word or string as one of `words`: its number from 1. */
static int read_choice(struct schema_lexer *x, const char *what,
                       const char *const *words, int *out){
  if( x->tok!=TOK_WORD && x->tok!=TOK_STRING ){
    return vdb_schema_expected(x, what);
  }
  for(int i=0; words[i]!=NULL; i++){
    if( vdb_stricmp(x->val.z, words[i])==0 ){
      *out = i+1;
      return vdb_schema_next(x, false);
    }
  }
  return vdb_schema_unknown(x->err, what, x->val.z, words);
}

static bool read_auto(struct schema_lexer *x, int *rc){
  if( !vdb_schema_is_word(x, "auto") ) return false;
  *rc = vdb_schema_next(x, false);
  return true;
}

/* An integer or `auto`, which is 0. */
static int read_count(struct schema_lexer *x, const char *what, int64_t hi,
                      uint32_t *out){
  int64_t v = 0;
  int rc;

  *out = 0;
  if( read_auto(x, &rc) ) return rc;
  rc = vdb_schema_int(x, what, 1, hi, &v);
  if( rc==VECDB_OK ) *out = (uint32_t)v;
  return rc;
}

/* ---- Options of an index ------------------------------------------------- */

typedef int (*opt_fn)(struct schema_lexer *x, struct schema_column *col);
struct opt_entry { const char *name; opt_fn fn; };

static int opt_bits(struct schema_lexer *x, struct schema_column *col){
  return read_count(x, "bits", 4096, &col->index.bits);
}

static int opt_codec(struct schema_lexer *x, struct schema_column *col){
  int i = 0, rc = read_choice(x, "codec", codec_words, &i);
  if( rc==VECDB_OK ) col->index.codec = (enum schema_codec)i;
  return rc;
}

static int opt_r(struct schema_lexer *x, struct schema_column *col){
  int64_t v = 0;
  int rc = vdb_schema_int(x, "r", 32, 64, &v);
  if( rc==VECDB_OK && v!=32 && v!=64 ){
    rc = vdb_error(x->err, VECDB_RANGE, "r is %lld, expected 32 or 64",
                   (long long)v);
  }
  col->index.r = (uint32_t)v;
  return rc;
}

static int opt_build_l(struct schema_lexer *x, struct schema_column *col){
  int64_t v = 0;
  int rc = vdb_schema_int(x, "build_l", 8, OPT_LIST_MAX, &v);
  col->index.build_l = (uint32_t)v;
  return rc;
}

static int opt_alpha(struct schema_lexer *x, struct schema_column *col){
  return vdb_schema_real(x, "alpha", 1.0, 2.0, &col->index.alpha);
}

/* nav=none | pca:N | rp:N | truncate:N */
static int opt_nav(struct schema_lexer *x, struct schema_column *col){
  int64_t n = 0;
  int i = 0, rc;

  rc = read_choice(x, "navigation code", nav_words, &i);
  if( rc!=VECDB_OK ) return rc;
  col->index.nav = (enum schema_nav)i;
  if( col->index.nav==NAV_NONE ) return VECDB_OK;
  rc = vdb_schema_punct(x, ':', "\":\" and a number of dimensions");
  if( rc==VECDB_OK ){
    rc = vdb_schema_int(x, "dimensions of nav", 1, col->dims, &n);
  }
  col->index.n_nav = (uint32_t)n;
  return rc;
}

static int opt_nlist(struct schema_lexer *x, struct schema_column *col){
  return read_count(x, "nlist", OPT_NLIST_MAX, &col->index.nlist);
}

static int opt_nprobe(struct schema_lexer *x, struct schema_column *col){
  return read_count(x, "nprobe", OPT_NLIST_MAX, &col->index.nprobe);
}

static int opt_spill(struct schema_lexer *x, struct schema_column *col){
  int i = 0, rc = read_choice(x, "spill", spill_words, &i);
  col->index.is_soar = i==2;
  return rc;
}

/* sqlite-vec's words. */
static int opt_rescore_quantizer(struct schema_lexer *x,
                                 struct schema_column *col){
  static const char *const words[] = { "bit", "int8", NULL };
  int i = 0, rc = read_choice(x, "quantizer", words, &i);
  if( i==1 ) col->index.bits = 1;
  if( i==2 ) col->index.codec = CODEC_SQ8;
  return rc;
}

static int opt_ivf_quantizer(struct schema_lexer *x,
                             struct schema_column *col){
  static const char *const words[] = { "none", "int8", "binary", NULL };
  int i = 0, rc = read_choice(x, "quantizer", words, &i);
  if( i==3 ) col->index.bits = 1;
  return rc;
}

static int opt_neighbor_quantizer(struct schema_lexer *x,
                                  struct schema_column *col){
  static const char *const words[] = { "binary", "int8", NULL };
  int i = 0, rc = read_choice(x, "neighbor_quantizer", words, &i);
  if( i==1 ) col->index.bits = 1;
  if( i==2 ) col->index.bits = 4;
  return rc;
}

/* Checked and dropped. */
static int opt_ignored(struct schema_lexer *x, struct schema_column *col){
  int64_t v = 0;
  VDB_UNUSED(col);
  return vdb_schema_int(x, "option", 0, OPT_EF_MAX, &v);
}

static int opt_n_neighbors(struct schema_lexer *x, struct schema_column *col){
  int64_t v = 0;
  int rc = vdb_schema_int(x, "n_neighbors", 1, OPT_LIST_MAX, &v);
  col->index.r = v<=32 ? 32 : 64;
  return rc;
}

static int opt_list_search(struct schema_lexer *x, struct schema_column *col){
  int64_t v = 0;
  int rc = vdb_schema_int(x, "search list size", 1, OPT_LIST_MAX, &v);
  if( col->ef==0 ) col->ef = (uint32_t)v;
  return rc;
}

static int opt_list_insert(struct schema_lexer *x, struct schema_column *col){
  int64_t v = 0;
  int rc = vdb_schema_int(x, "search list size", 1, OPT_LIST_MAX, &v);
  col->index.build_l = v<8 ? 8 : (uint32_t)v;
  return rc;
}

/* Both lists; a more specific option given besides wins. */
static int opt_list_both(struct schema_lexer *x, struct schema_column *col){
  int64_t v = 0;
  int rc = vdb_schema_int(x, "search list size", 1, OPT_LIST_MAX, &v);
  if( col->ef==0 ) col->ef = (uint32_t)v;
  if( col->index.build_l==0 ) col->index.build_l = v<8 ? 8 : (uint32_t)v;
  return rc;
}

static const struct opt_entry opts_flat[] = {
  { "bits", opt_bits }, { "codec", opt_codec }, { NULL, NULL } };
static const struct opt_entry opts_graph[] = {
  { "r", opt_r }, { "build_l", opt_build_l }, { "alpha", opt_alpha },
  { "bits", opt_bits }, { "nav", opt_nav }, { NULL, NULL } };
static const struct opt_entry opts_ivf[] = {
  { "nlist", opt_nlist }, { "nprobe", opt_nprobe }, { "bits", opt_bits },
  { "spill", opt_spill }, { NULL, NULL } };
static const struct opt_entry opts_by_ivf[] = {
  { "nlist", opt_nlist }, { "nprobe", opt_nprobe }, { "bits", opt_bits },
  { "spill", opt_spill }, { "quantizer", opt_ivf_quantizer },
  { "oversample", opt_ignored }, { NULL, NULL } };
static const struct opt_entry opts_rescore[] = {
  { "quantizer", opt_rescore_quantizer }, { "oversample", opt_ignored },
  { NULL, NULL } };
static const struct opt_entry opts_diskann[] = {
  { "neighbor_quantizer", opt_neighbor_quantizer },
  { "n_neighbors", opt_n_neighbors },
  { "search_list_size", opt_list_both },
  { "search_list_size_search", opt_list_search },
  { "search_list_size_insert", opt_list_insert },
  { "buffer_threshold", opt_ignored }, { NULL, NULL } };

#define OPT_TABLE_MAX 12

/* Find the current word in a table and mark it in *seen. */
static int find_option(struct schema_lexer *x, const char *what,
                       const struct opt_entry *table, uint32_t *seen,
                       opt_fn *out){
  const char *names[OPT_TABLE_MAX+1];
  int i;

  if( x->tok!=TOK_WORD ) return vdb_schema_expected(x, "the name of an option");
  for(i=0; table[i].name!=NULL; i++){
    names[i] = table[i].name;
    if( vdb_stricmp(x->val.z, table[i].name)!=0 ) continue;
    if( *seen & (1u<<i) ){
      return vdb_error(x->err, VECDB_SYNTAX, "%s \"%s\" is given twice", what,
                       table[i].name);
    }
    *seen |= 1u<<i;
    *out = table[i].fn;
    return VECDB_OK;
  }
  names[i] = NULL;
  return vdb_schema_unknown(x->err, what, x->val.z, names);
}

/* "name = value, .." up to the closing parenthesis, which is consumed. */
static int read_index_options(struct schema_lexer *x,
                              const struct opt_entry *table,
                              struct schema_column *col){
  uint32_t seen = 0;
  opt_fn fn = NULL;
  int rc = VECDB_OK;

  for(;;){
    TRY( find_option(x, "index option", table, &seen, &fn) );
    TRY( vdb_schema_next(x, false) );
    TRY( vdb_schema_punct(x, '=', "\"=\"") );
    TRY( fn(x, col) );
    if( vdb_schema_is_punct(x, ')') ) return vdb_schema_next(x, false);
    TRY( vdb_schema_punct(x, ',', "\",\" or \")\"") );
  }
done:
  return rc;
}

/* bits=1|2|4, flat: 6 as well, or the length of an LSH code. */
static int check_bits(struct schema_lexer *x, const struct schema_index *ix){
  bool is_flat = ix->kind==INDEX_FLAT;
  if( ix->bits==0 || ix->codec==CODEC_LSH ) return VECDB_OK;
  if( ix->bits==1 || ix->bits==2 || ix->bits==4 ) return VECDB_OK;
  if( is_flat && ix->bits==6 ) return VECDB_OK;
  return vdb_error(x->err, VECDB_RANGE, "bits is %u, expected auto, 1, 2%s",
                   ix->bits, is_flat ? ", 4 or 6" : " or 4");
}

/* index = iname [ ( .. ) ], from the name on. */
static int read_index(struct schema_lexer *x, struct schema_column *col){
  static const struct opt_entry *const tables[] = {
    opts_flat, opts_graph, opts_ivf };
  int i = 0, rc;

  TRY( read_choice(x, "index", index_words, &i) );
  col->index.kind = (enum schema_index_kind)i;
  col->index.is_given = true;
  if( vdb_schema_is_punct(x, '(') ){
    TRY( vdb_schema_next(x, false) );
    TRY( read_index_options(x, tables[i-1], col) );
  }
  TRY( check_bits(x, &col->index) );
done:
  return rc;
}

/* INDEXED BY iname ( [ .. ] ), from INDEXED on. */
static int read_indexed_by(struct schema_lexer *x, struct schema_column *col){
  static const struct {
    enum schema_index_kind kind; const struct opt_entry *table;
  } map[] = { { INDEX_FLAT, opts_flat }, { INDEX_GRAPH, opts_graph },
              { INDEX_IVF, opts_by_ivf }, { INDEX_FLAT, opts_rescore },
              { INDEX_GRAPH, opts_diskann } };
  int i = 0, rc;

  TRY( vdb_schema_next(x, false) );
  if( !vdb_schema_is_word(x, "by") ) return vdb_schema_expected(x, "BY");
  TRY( vdb_schema_next(x, false) );
  TRY( read_choice(x, "index", indexed_by_words, &i) );
  col->index.kind = map[i-1].kind;
  col->index.is_given = true;
  TRY( vdb_schema_punct(x, '(', "\"(\"") );
  if( vdb_schema_is_punct(x, ')') ){
    TRY( vdb_schema_next(x, false) );
  }else{
    TRY( read_index_options(x, map[i-1].table, col) );
  }
  TRY( check_bits(x, &col->index) );
done:
  return rc;
}

/* ---- Options of a vector column ------------------------------------------ */

static int opt_metric(struct schema_lexer *x, struct schema_column *col){
  if( x->tok!=TOK_WORD ) return vdb_schema_expected(x, "a metric");
  col->metric_given = true;
  return read_choice(x, "metric", metric_words, &col->metric);
}

static int opt_recall(struct schema_lexer *x, struct schema_column *col){
  return vdb_schema_real(x, "recall", OPT_RECALL_MIN, 1.0, &col->recall);
}

static int opt_ef(struct schema_lexer *x, struct schema_column *col){
  int64_t v = 0;
  int rc = vdb_schema_int(x, "ef", 1, OPT_EF_MAX-1, &v);
  col->ef = (uint32_t)v;
  return rc;
}

static const struct opt_entry opts_vector[] = {
  { "distance_metric", opt_metric }, { "recall", opt_recall },
  { "ef", opt_ef }, { "index", read_index }, { "indexed", NULL },
  { NULL, NULL } };
#define SEEN_EF     (1u<<2)
#define SEEN_INDEX  (1u<<3)
#define SEEN_BY     (1u<<4)

static int read_vector_option(struct schema_lexer *x,
                              struct schema_column *col, uint32_t *seen){
  opt_fn fn = NULL;
  int rc = VECDB_OK;

  TRY( find_option(x, "option of a vector column", opts_vector, seen, &fn) );
  if( (*seen & SEEN_INDEX) && (*seen & SEEN_BY) ){
    return vdb_error(x->err, VECDB_SYNTAX,
                     "index of column \"%s\" is given twice", col->name);
  }
  if( fn==NULL ) return read_indexed_by(x, col);
  TRY( vdb_schema_next(x, false) );
  TRY( vdb_schema_punct(x, '=', "\"=\"") );
  TRY( fn(x, col) );
done:
  return rc;
}

int vdb_schema_vector_options(struct schema_lexer *x,
                              struct schema_column *col){
  uint32_t seen = 0;
  int rc = VECDB_OK;

  if( vdb_schema_is_word(x, "not") ){
    TRY( vdb_schema_next(x, false) );
    if( !vdb_schema_is_word(x, "null") ) return vdb_schema_expected(x, "NULL");
    col->not_null = true;
    TRY( vdb_schema_next(x, false) );
  }
  while( x->tok!=TOK_END && !vdb_schema_is_punct(x, ',') ){
    TRY( read_vector_option(x, col, &seen) );
  }
done:
  return rc;
}

/* ---- Options of the table ------------------------------------------------ */

static int table_text(struct schema_lexer *x, char **out){
  if( x->tok!=TOK_STRING && x->tok!=TOK_QUOTED ){
    return vdb_schema_expected(x, "a quoted string");
  }
  if( x->val.n==0 ) return vdb_schema_expected(x, "a string that is not empty");
  *out = vdb_strndup(x->val.z, x->val.n);
  if( *out==NULL ) return VECDB_NOMEM;
  return vdb_schema_next(x, false);
}

static int table_policy(struct schema_lexer *x, struct schema *s){
  int i = 0, rc = read_choice(x, "policy of optimize", policy_words, &i);
  if( rc!=VECDB_OK ) return rc;
  s->policy = (enum schema_policy)(i-1);
  s->policy_given = true;
  return VECDB_OK;
}

static int table_merge_rows(struct schema_lexer *x, struct schema *s){
  int64_t v = 0;
  int rc = vdb_schema_int(x, "merge_rows", 1, (int64_t)1<<32, &v);
  s->merge_rows = (uint64_t)v;
  return rc;
}

static int table_ef(struct schema_lexer *x, struct schema *s){
  int64_t v = 0;
  int rc = vdb_schema_int(x, "ef", 1, OPT_EF_MAX-1, &v);
  s->ef = (uint32_t)v;
  return rc;
}

static int table_recall(struct schema_lexer *x, struct schema *s){
  return vdb_schema_real(x, "recall", OPT_RECALL_MIN, 1.0, &s->recall);
}

static int table_page_size(struct schema_lexer *x, struct schema *s){
  int64_t v = 0;
  int rc = vdb_schema_int(x, "page_size", 4096, 65536, &v);
  if( rc==VECDB_OK && (v & (v-1))!=0 ){
    rc = vdb_error(x->err, VECDB_RANGE,
        "page_size is %lld, expected a power of two in 4096..65536",
        (long long)v);
  }
  s->page_size = (uint32_t)v;
  return rc;
}

static int table_chunk_size(struct schema_lexer *x, struct schema *s){
  int64_t v = 0;
  int rc = vdb_schema_int(x, "chunk_size", 1, 4096, &v);
  if( rc==VECDB_OK && v%8!=0 ){
    rc = vdb_error(x->err, VECDB_RANGE,
        "chunk_size is %lld, expected a multiple of 8", (long long)v);
  }
  s->chunk_size = (uint32_t)v;
  return rc;
}

static int table_durability(struct schema_lexer *x, struct schema *s){
  int i = 0, rc = read_choice(x, "durability", durability_words, &i);
  s->durability = (uint32_t)i;
  return rc;
}

static int table_file(struct schema_lexer *x, struct schema *s){
  return table_text(x, &s->file);
}

static int table_collection(struct schema_lexer *x, struct schema *s){
  return table_text(x, &s->collection);
}

static const struct {
  const char *name;
  int (*fn)(struct schema_lexer*, struct schema*);
  bool is_stored;                       /* may be changed later, too */
} opts_table[] = {
  { "file", table_file, false }, { "collection", table_collection, false },
  { "optimize", table_policy, true }, { "merge_rows", table_merge_rows, true },
  { "recall", table_recall, true }, { "ef", table_ef, true },
  { "durability", table_durability, false },
  { "page_size", table_page_size, false },
  { "chunk_size", table_chunk_size, false } };

static bool option_is_given(const struct schema *s, size_t i){
  switch( i ){
    case 0: return s->file!=NULL;
    case 1: return s->collection!=NULL;
    case 2: return s->policy_given;
    case 3: return s->merge_rows!=0;
    case 4: return s->recall!=0;
    case 5: return s->ef!=0;
    case 6: return s->durability!=0;
    case 7: return s->page_size!=0;
    default: return s->chunk_size!=0;
  }
}

/* Number of the option of that name, or an error with a suggestion. */
static int find_table_option(struct vdb_err *err, const char *name,
                             bool is_stored, size_t *out){
  const char *names[VDB_ARRAY_LEN(opts_table)+1];
  size_t n = 0;

  for(size_t i=0; i<VDB_ARRAY_LEN(opts_table); i++){
    if( is_stored && !opts_table[i].is_stored ) continue;
    names[n++] = opts_table[i].name;
    if( vdb_stricmp(name, opts_table[i].name)==0 ){
      *out = i;
      return VECDB_OK;
    }
  }
  names[n] = NULL;
  return vdb_schema_unknown(err, "table option", name, names);
}

int vdb_schema_table_option(struct schema_lexer *x, struct schema *s){
  size_t i = 0;
  int rc = VECDB_OK;

  TRY( find_table_option(x->err, x->val.z, false, &i) );
  if( option_is_given(s, i) ){
    return vdb_error(x->err, VECDB_SYNTAX,
                     "table option \"%s\" is given twice", opts_table[i].name);
  }
  TRY( vdb_schema_next(x, false) );
  TRY( vdb_schema_punct(x, '=', "\"=\"") );
  TRY( opts_table[i].fn(x, s) );
done:
  return rc;
}

/* "COLUMN.index": another index for a vector column, from the next rebuild
** on. */
static int set_column_index(struct schema *s, const char *name,
                            const char *value, struct vdb_err *err){
  struct schema_lexer x;
  struct schema_column copy;
  char *column = vdb_strdup(name);
  int i, rc = column ? VECDB_OK : VECDB_NOMEM;

  memset(&x, 0, sizeof(x));
  if( rc!=VECDB_OK ) goto done;
  *strrchr(column, '.') = 0;
  i = vdb_schema_find(s, column);
  if( i<0 || s->col[i].role!=VECDB_ROLE_VECTOR ){
    TRY( vdb_error(err, VECDB_NOTFOUND, "no vector column \"%s\"", column) );
  }
  copy = s->col[i];
  memset(&copy.index, 0, sizeof(copy.index));
  TRY( vdb_schema_lex_init(&x, value, err) );
  TRY( read_index(&x, &copy) );
  if( x.tok!=TOK_END ){
    TRY( vdb_schema_expected(&x, "the end of the value") );
  }
  s->col[i].index = copy.index;
done:
  vdb_schema_lex_clear(&x);
  vdb_free(column);
  return rc;
}

/* "auto" takes back what was set, where there is a default to go back to. */
static bool option_take_back(struct schema *s, size_t i){
  switch( i ){
    case 3: s->merge_rows = 0; return true;
    case 4: s->recall = 0; return true;
    case 5: s->ef = 0; return true;
    default: return false;
  }
}

int vdb_schema_set_option(struct schema *s, const char *name,
                          const char *value, struct vdb_err *err){
  const char *dot = strrchr(name, '.');
  struct schema_lexer x;
  struct schema copy = *s;              /* numbers only: strings not stored */
  size_t i = 0;
  int rc = VECDB_OK;

  if( dot && vdb_stricmp(dot, ".index")==0 ){
    return set_column_index(s, name, value, err);
  }
  memset(&x, 0, sizeof(x));
  rc = find_table_option(err, name, true, &i);
  if( rc==VECDB_SYNTAX ){
    if( err!=NULL ) err->rc = VECDB_NOTFOUND;
    rc = VECDB_NOTFOUND;
  }
  if( rc!=VECDB_OK ) goto done;
  if( vdb_stricmp(value, "auto")==0 && option_take_back(s, i) ) goto done;
  TRY( vdb_schema_lex_init(&x, value, err) );
  TRY( opts_table[i].fn(&x, &copy) );
  if( x.tok!=TOK_END ){
    TRY( vdb_schema_expected(&x, "the end of the value") );
  }
  *s = copy;
done:
  vdb_schema_lex_clear(&x);
  return rc;
}
