/* t_rows.c -- collections and their rows: schema, binding, reading back. */
#include "api/api.h"

#define SCHEMA \
  "id integer primary key, v float[3], year int, score float, ok boolean, " \
  "lang text, +note text, +n int, +x float, +thumb blob"
enum { ID, V, YEAR, SCORE, OKAY, LANG, NOTE, N, X, THUMB };

static vecdb *db;
static vecdb_collection *c;

static void setup(void){
  db = api_memory();
  c = api_collection(db, "docs", SCHEMA);
}

static vecdb_stmt *get(int64_t key){
  vecdb_stmt *s = NULL;
  OK(db, vecdb_prepare_get(c, &s));
  OK(db, vecdb_bind_int64(s, VECDB_KEY, key));
  return s;
}

/* ---- Collections -------------------------------------------------------- */

TEST(collection__describes_its_columns){
  vecdb_column_info i = { .size = sizeof(i) };
  setup();
  CHECK_INT(10, vecdb_column_count(c));
  CHECK_STR("docs", vecdb_collection_name(c));
  CHECK(vecdb_collection_db(c)==db);
  CHECK_INT(1, vecdb_has_declared_key(c));
  CHECK_INT(YEAR, vecdb_column_find(c, "YEAR"));
  CHECK_INT(-1, vecdb_column_find(c, "years"));
  OK(db, vecdb_column_describe(c, V, &i));
  CHECK_INT(VECDB_ROLE_VECTOR, i.role);
  CHECK_INT(VECDB_VECTOR, i.type);
  CHECK_INT(VECDB_F32, i.element);
  CHECK_INT(3, i.dims);
  CHECK_INT(VECDB_L2, i.metric);
  CHECK_INT(12, i.vector_bytes);
  CHECK_STR("v", i.name);
  CHECK_STR("float[3]", i.decl);
  CHECK_STR("flat", i.index);
  OK(db, vecdb_column_describe(c, NOTE, &i));
  CHECK_INT(VECDB_ROLE_AUX, i.role);
  CHECK_INT(VECDB_TEXT, i.type);
  CHECK(i.index==NULL);
  REFUSES(db, VECDB_NOTFOUND, "no column 10 in \"docs\"; there are 10",
          vecdb_column_describe(c, 10, &i));
  vecdb_close(db);
}

TEST(collection__schema_round_trips){
  char *a = NULL, *b = NULL;
  setup();
  OK(db, vecdb_check_schema(db, SCHEMA, &a));
  OK(db, vecdb_check_schema(db, a, &b));
  CHECK_STR(a, b);
  CHECK_STR(a, vecdb_collection_schema(c));
  vecdb_free(a);
  vecdb_free(b);
  CHECK_RC(VECDB_SYNTAX, vecdb_check_schema(db, "v float", NULL));
  CHECK_RC(VECDB_SYNTAX, vecdb_check_schema(db, "a int", &a));
  CHECK(a==NULL);
  vecdb_close(db);
}

TEST(collection__without_a_key_has_a_rowid){
  vecdb_column_info i = { .size = sizeof(i) };
  db = api_memory();
  c = api_collection(db, "t", "v int8[2]");
  CHECK_INT(0, vecdb_has_declared_key(c));
  OK(db, vecdb_column_describe(c, 0, &i));
  CHECK_STR("rowid", i.name);
  CHECK_INT(VECDB_INTEGER, i.type);
  vecdb_close(db);
}

static int note_name(void *arg, const char *name, const char *schema){
  char *buf = arg;
  size_t n = strlen(buf);
  CHECK(strstr(schema, "float[2]")!=NULL);
  vecdb_begin(db, VECDB_READ);          /* the handle may be used */
  vecdb_rollback(db);
  snprintf(buf+n, 100-n, "%s ", name);
  return strcmp(name, "b")==0;
}

TEST(collections__are_created_listed_renamed_dropped){
  char names[100] = "";
  vecdb_collection *x;
  db = api_memory();
  for(int i=0; i<3; i++){
    OK(db, vecdb_create_collection(db, i==0 ? "b" : i==1 ? "a" : "c",
                                   "v float[2]"));
  }
  CHECK_RC(VECDB_EXISTS, vecdb_create_collection(db, "A", "v float[2]"));
  OK(db, vecdb_list_collections(db, note_name, names));
  CHECK_STR("a b ", names);
  c = api_collection(db, "c", NULL);
  OK(db, vecdb_rename_collection(db, "c", "d"));
  CHECK_STR("d", vecdb_collection_name(c));
  api_put(c, 1, "[1,2]");
  CHECK_RC(VECDB_NOTFOUND, vecdb_rename_collection(db, "c", "e"));
  CHECK_RC(VECDB_EXISTS, vecdb_rename_collection(db, "d", "a"));
  OK(db, vecdb_drop_collection(db, "d"));
  CHECK_RC(VECDB_NOTFOUND, vecdb_drop_collection(db, "d"));
  CHECK_RC(VECDB_NOTFOUND, vecdb_collection_open(db, "d", &x));
  CHECK(x==NULL);
  vecdb_close(db);
}

TEST(collection__that_was_dropped_is_not_found){
  vecdb_collection_stats st = { .size = sizeof(st) };
  vecdb_stmt *ins, *scan, *g;
  setup();
  ins = api_insert(c);
  g = get(1);
  OK(db, vecdb_prepare_scan(c, NULL, &scan));
  OK(db, vecdb_drop_collection(db, "docs"));
  OK(db, vecdb_bind_vector_text(ins, V, "[1,2,3]", (size_t)-1));
  CHECK_RC(VECDB_NOTFOUND, vecdb_step(ins));
  CHECK(strstr(vecdb_errmsg(db), "docs")!=NULL);
  CHECK_RC(VECDB_NOTFOUND, vecdb_step(scan));
  CHECK_RC(VECDB_NOTFOUND, vecdb_step(g));
  CHECK_RC(VECDB_NOTFOUND, vecdb_collection_stat(c, &st));
  CHECK_STR("docs", vecdb_collection_name(c));
  CHECK_INT(10, vecdb_column_count(c));
  /* A new one of the same name is another one. */
  api_collection(db, "docs", SCHEMA);
  CHECK_RC(VECDB_NOTFOUND, vecdb_step(scan));
  OK(db, vecdb_collection_close(c));
  OK(db, vecdb_finalize(ins));           /* statements outlive the handle */
  vecdb_close(db);
}

TEST(collection__options_can_be_set){
  setup();
  OK(db, vecdb_collection_set(c, "ef", "200"));
  CHECK(strstr(vecdb_collection_schema(c), "ef=200")!=NULL
        || strstr(vecdb_collection_schema(c), "ef = 200")!=NULL);
  CHECK_RC(VECDB_NOTFOUND, vecdb_collection_set(c, "eff", "200"));
  CHECK_RC(VECDB_MISUSE, vecdb_collection_set(c, NULL, "200"));
  vecdb_close(db);
}

/* ---- Rows --------------------------------------------------------------- */

TEST(row__of_every_type_comes_back){
  const float v[3] = { 0.5f, -1, 1e-20f };
  vecdb_stmt *s;
  size_t n;
  setup();
  s = api_insert(c);
  OK(db, vecdb_bind_int64(s, ID, 7));
  OK(db, vecdb_bind_vector(s, V, VECDB_F32, v, sizeof(v), VECDB_STATIC));
  OK(db, vecdb_bind_int64(s, YEAR, -5));
  OK(db, vecdb_bind_double(s, SCORE, 2.5));
  OK(db, vecdb_bind_int64(s, OKAY, 1));
  OK(db, vecdb_bind_text(s, LANG, "a text longer than a cell", (size_t)-1,
                         VECDB_TRANSIENT));
  OK(db, vecdb_bind_text(s, NOTE, "note", 2, VECDB_TRANSIENT));
  OK(db, vecdb_bind_int64(s, N, INT64_MAX));
  OK(db, vecdb_bind_double(s, X, -0.125));
  OK(db, vecdb_bind_blob(s, THUMB, "\0\1\2", 3, VECDB_STATIC));
  DONE(db, vecdb_step(s));
  CHECK_INT(7, vecdb_last_key(db));
  s = get(7);
  ROW(db, vecdb_step(s));
  CHECK_INT(VECDB_INTEGER, vecdb_column_type(s, ID));
  CHECK_INT(VECDB_VECTOR, vecdb_column_type(s, V));
  CHECK_INT(VECDB_BOOLEAN, vecdb_column_type(s, OKAY));
  CHECK_INT(VECDB_BLOB, vecdb_column_type(s, THUMB));
  CHECK_MEM(v, vecdb_column_vector(s, V, &n), sizeof(v));
  CHECK_U64(12, n);
  CHECK_STR("[0.5,-1,1e-20]", vecdb_column_text(s, V));
  CHECK_INT(-5, vecdb_column_int64(s, YEAR));
  CHECK_DBL(2.5, vecdb_column_double(s, SCORE), 0);
  CHECK_INT(1, vecdb_column_int64(s, OKAY));
  CHECK_STR("a text longer than a cell", vecdb_column_text(s, LANG));
  CHECK_STR("no", vecdb_column_text(s, NOTE));
  CHECK_INT(INT64_MAX, vecdb_column_int64(s, N));
  CHECK_DBL(-0.125, vecdb_column_double(s, X), 0);
  CHECK_MEM("\0\1\2", vecdb_column_blob(s, THUMB), 3);
  CHECK_U64(3, vecdb_column_bytes(s, THUMB));
  CHECK(isnan(vecdb_row_distance(s)));
  DONE(db, vecdb_step(s));
  CHECK_INT(VECDB_NULL, vecdb_column_type(s, ID));     /* no row any more */
  vecdb_close(db);
}

TEST(row__values_convert_as_in_sqlite){
  vecdb_stmt *s;
  setup();
  s = api_insert(c);
  OK(db, vecdb_bind_int64(s, ID, 1));
  OK(db, vecdb_bind_vector_text(s, V, "[1,2,3]", (size_t)-1));
  OK(db, vecdb_bind_int64(s, YEAR, 2024));
  OK(db, vecdb_bind_double(s, SCORE, 1e300));
  OK(db, vecdb_bind_text(s, LANG, " 12.7abc", (size_t)-1, VECDB_STATIC));
  OK(db, vecdb_bind_blob(s, THUMB, "42", 2, VECDB_STATIC));
  DONE(db, vecdb_step(s));
  s = get(1);
  ROW(db, vecdb_step(s));
  CHECK_STR("2024", vecdb_column_text(s, YEAR));
  CHECK_U64(4, vecdb_column_bytes(s, YEAR));
  CHECK_MEM("2024", vecdb_column_blob(s, YEAR), 4);
  CHECK_DBL(2024, vecdb_column_double(s, YEAR), 0);
  CHECK_STR("1.0e+300", vecdb_column_text(s, SCORE));
  CHECK_INT(INT64_MAX, vecdb_column_int64(s, SCORE));
  CHECK_INT(12, vecdb_column_int64(s, LANG));
  CHECK_DBL(12.7, vecdb_column_double(s, LANG), 0);
  CHECK_INT(42, vecdb_column_int64(s, THUMB));
  CHECK_INT(VECDB_NULL, vecdb_column_type(s, NOTE));
  CHECK(vecdb_column_text(s, NOTE)==NULL);
  CHECK(vecdb_column_blob(s, NOTE)==NULL);
  CHECK_U64(0, vecdb_column_bytes(s, NOTE));
  CHECK_INT(0, vecdb_column_int64(s, NOTE));
  CHECK_INT(VECDB_NULL, vecdb_column_type(s, 10));
  CHECK_INT(VECDB_NULL, vecdb_column_type(s, -1));
  CHECK(vecdb_column_vector(s, YEAR, NULL)==NULL);
  vecdb_close(db);
}

TEST(insert__assigns_keys){
  vecdb_stmt *s, *i;
  setup();
  i = api_insert(c);
  OK(db, vecdb_bind_vector_text(i, V, "[1,2,3]", (size_t)-1));
  DONE(db, vecdb_step(i));
  CHECK_INT(1, vecdb_last_key(db));
  DONE(db, vecdb_step(i));                        /* bindings stay */
  CHECK_INT(2, vecdb_last_key(db));
  OK(db, vecdb_bind_int64(i, VECDB_KEY, 100));
  DONE(db, vecdb_step(i));
  OK(db, vecdb_bind_null(i, 0));
  DONE(db, vecdb_step(i));
  CHECK_INT(101, vecdb_last_key(db));
  OK(db, vecdb_prepare_delete(c, &s));
  OK(db, vecdb_bind_int64(s, VECDB_KEY, 101));
  DONE(db, vecdb_step(s));
  DONE(db, vecdb_step(i));                        /* max ever used + 1 */
  CHECK_INT(102, vecdb_last_key(db));
  OK(db, vecdb_prepare_scan(c, NULL, &s));
  KEYS(db, "1 2 100 102 ", s);
  vecdb_close(db);
}

TEST(insert__of_a_duplicate_key){
  vecdb_stmt *s, *g;
  setup();
  s = api_insert(c);
  OK(db, vecdb_bind_int64(s, ID, 1));
  OK(db, vecdb_bind_int64(s, YEAR, 10));
  OK(db, vecdb_bind_vector_text(s, V, "[1,2,3]", (size_t)-1));
  DONE(db, vecdb_step(s));
  OK(db, vecdb_bind_int64(s, YEAR, 11));
  CHECK_RC(VECDB_CONSTRAINT_PK, vecdb_step(s));
  CHECK(strstr(vecdb_errmsg(db), "1")!=NULL);
  CHECK_RC(VECDB_CONSTRAINT_PK, vecdb_errcode(db));
  g = get(1);
  ROW(db, vecdb_step(g));
  CHECK_INT(10, vecdb_column_int64(g, YEAR));
  OK(db, vecdb_finalize(g));
  OK(db, vecdb_prepare_insert(c, VECDB_OR_IGNORE, &s));
  OK(db, vecdb_bind_int64(s, ID, 1));
  OK(db, vecdb_bind_int64(s, YEAR, 12));
  OK(db, vecdb_bind_vector_text(s, V, "[1,2,4]", (size_t)-1));
  DONE(db, vecdb_step(s));
  g = get(1);
  ROW(db, vecdb_step(g));
  CHECK_INT(10, vecdb_column_int64(g, YEAR));
  OK(db, vecdb_finalize(g));
  OK(db, vecdb_prepare_insert(c, VECDB_OR_REPLACE, &s));
  OK(db, vecdb_bind_int64(s, ID, 1));
  OK(db, vecdb_bind_int64(s, YEAR, 13));
  OK(db, vecdb_bind_vector_text(s, V, "[1,2,4]", (size_t)-1));
  DONE(db, vecdb_step(s));
  g = get(1);
  ROW(db, vecdb_step(g));
  CHECK_INT(13, vecdb_column_int64(g, YEAR));
  CHECK_STR("[1,2,4]", vecdb_column_text(g, V));
  REFUSES(db, VECDB_MISUSE, "insert: flags 0x3 are not one of "
                            "VECDB_OR_REPLACE, "
          "VECDB_OR_IGNORE", vecdb_prepare_insert(c, 3, &s));
  CHECK(s==NULL);
  vecdb_close(db);
}

TEST(update__changes_what_is_bound){
  vecdb_stmt *s, *g;
  setup();
  s = api_insert(c);
  OK(db, vecdb_bind_int64(s, ID, 1));
  OK(db, vecdb_bind_int64(s, YEAR, 10));
  OK(db, vecdb_bind_text(s, NOTE, "x", 1, VECDB_STATIC));
  OK(db, vecdb_bind_vector_text(s, V, "[1,2,3]", (size_t)-1));
  DONE(db, vecdb_step(s));
  OK(db, vecdb_prepare_update(c, &s));
  REFUSES(db, VECDB_MISUSE, "no key is bound to VECDB_KEY", vecdb_step(s));
  OK(db, vecdb_bind_int64(s, VECDB_KEY, 1));
  OK(db, vecdb_bind_int64(s, YEAR, 11));
  OK(db, vecdb_bind_null(s, NOTE));
  DONE(db, vecdb_step(s));
  g = get(1);
  ROW(db, vecdb_step(g));
  CHECK_INT(11, vecdb_column_int64(g, YEAR));
  CHECK_INT(VECDB_NULL, vecdb_column_type(g, NOTE));
  CHECK_STR("[1,2,3]", vecdb_column_text(g, V));
  OK(db, vecdb_reset(g));
  OK(db, vecdb_clear_bindings(s));
  OK(db, vecdb_bind_int64(s, VECDB_KEY, 1));
  OK(db, vecdb_bind_int64(s, ID, 5));             /* a new key */
  OK(db, vecdb_bind_vector_text(s, V, "[7,8,9]", (size_t)-1));
  DONE(db, vecdb_step(s));
  REFUSES(db, VECDB_NOTFOUND,
          "collection \"docs\" has no row with key 1",
          vecdb_step(g));
  REFUSES(db, VECDB_NOTFOUND,
          "collection \"docs\" has no row with key 1",
          vecdb_step(s));
  OK(db, vecdb_bind_int64(g, VECDB_KEY, 5));
  ROW(db, vecdb_step(g));
  CHECK_STR("[7,8,9]", vecdb_column_text(g, V));
  CHECK_INT(11, vecdb_column_int64(g, YEAR));
  OK(db, vecdb_reset(g));
  OK(db, vecdb_bind_int64(s, VECDB_KEY, 5));
  OK(db, vecdb_bind_null(s, V));
  CHECK_RC(VECDB_CONSTRAINT_NOTNULL, vecdb_step(s));
  vecdb_close(db);
}

TEST(delete__of_an_absent_row_is_not_found){
  vecdb_stmt *s;
  setup();
  OK(db, vecdb_prepare_delete(c, &s));
  REFUSES(db, VECDB_MISUSE, "no key is bound to VECDB_KEY", vecdb_step(s));
  OK(db, vecdb_bind_int64(s, VECDB_KEY, -3));
  REFUSES(db, VECDB_NOTFOUND,
          "collection \"docs\" has no row with key -3",
          vecdb_step(s));
  OK(db, vecdb_bind_text(s, VECDB_KEY, "x", 1, VECDB_STATIC));
  REFUSES(db, VECDB_NOTFOUND,
          "collection \"docs\" has no row with key \"x\"",
          vecdb_step(s));
  OK(db, vecdb_bind_double(s, VECDB_KEY, 1.5));
  REFUSES(db, VECDB_NOTFOUND,
          "collection \"docs\" has no row with a key of that type",
          vecdb_step(s));
  vecdb_close(db);
}

TEST(text_keys__name_rows){
  vecdb_stmt *s, *g;
  db = api_memory();
  c = api_collection(db, "t", "name text primary key, v float[2]");
  s = api_insert(c);
  for(int i=0; i<3; i++){
    const char *const name[] = { "b", "", "a key that is longer than a cell" };
    OK(db, vecdb_bind_text(s, 0, name[i], (size_t)-1, VECDB_TRANSIENT));
    OK(db, vecdb_bind_vector_text(s, 1, "[1,2]", (size_t)-1));
    DONE(db, vecdb_step(s));
  }
  OK(db, vecdb_bind_null(s, 0));
  CHECK_RC(VECDB_CONSTRAINT_NOTNULL, vecdb_step(s));
  OK(db, vecdb_bind_int64(s, 0, 3));
  CHECK_RC(VECDB_CONSTRAINT_TYPE, vecdb_step(s));
  OK(db, vecdb_prepare_scan(c, NULL, &s));
  KEYS(db, " a key that is longer than a cell b ", s);
  OK(db, vecdb_prepare_get(c, &g));
  OK(db, vecdb_bind_text(g, VECDB_KEY, "b", 1, VECDB_STATIC));
  ROW(db, vecdb_step(g));
  CHECK_STR("b", vecdb_column_text(g, 0));
  OK(db, vecdb_reset(g));
  OK(db, vecdb_bind_text(g, VECDB_KEY, "c", 1, VECDB_STATIC));
  REFUSES(db, VECDB_NOTFOUND,
          "collection \"t\" has no row with key \"c\"",
          vecdb_step(g));
  vecdb_close(db);
}

/* ---- Binding ------------------------------------------------------------ */

struct typed { int column, rc; int64_t i; double r; const char *z; };
TEST(binding__refuses_values_of_other_types){
  static const struct typed bad[] = {
    { YEAR, VECDB_CONSTRAINT_TYPE, 0, 1.5, NULL },
    { YEAR, VECDB_CONSTRAINT_TYPE, 0, 0, "12" },
    { SCORE, VECDB_CONSTRAINT_TYPE, 0, 0, "1.5" },
    { OKAY, VECDB_CONSTRAINT_TYPE, 2, 0, NULL },
    { OKAY, VECDB_CONSTRAINT_TYPE, 0, 0.5, NULL },
    { LANG, VECDB_CONSTRAINT_TYPE, 3, 0, NULL },
    { NOTE, VECDB_CONSTRAINT_TYPE, 3, 0, NULL },
    { N, VECDB_CONSTRAINT_TYPE, 0, 0, "x" },
    { THUMB, VECDB_CONSTRAINT_TYPE, 0, 0, "x" },
    { ID, VECDB_CONSTRAINT_TYPE, 0, 0, "x" },
    { ID, VECDB_CONSTRAINT_TYPE, 0, 1.5, NULL },
  };
  setup();
  for(size_t k=0; k<sizeof(bad)/sizeof(bad[0]); k++){
    vecdb_stmt *s = api_insert(c);
    int i = bad[k].column;
    OK(db, vecdb_bind_vector_text(s, V, "[1,2,3]", (size_t)-1));
    if( bad[k].z ) OK(db, vecdb_bind_text(s, i, bad[k].z, 1, VECDB_STATIC));
    else if( bad[k].r!=0 ) OK(db, vecdb_bind_double(s, i, bad[k].r));
    else OK(db, vecdb_bind_int64(s, i, bad[k].i));
    if( !CHECK_RC(bad[k].rc, vecdb_step(s)) ) FAIL("case %zu", k);
    vecdb_finalize(s);
  }
  vecdb_close(db);
}

TEST(binding__accepts_numbers_that_lose_nothing){
  vecdb_stmt *s;
  setup();
  s = api_insert(c);
  OK(db, vecdb_bind_double(s, ID, 3.0));
  OK(db, vecdb_bind_vector_text(s, V, "[1,2,3]", (size_t)-1));
  OK(db, vecdb_bind_double(s, YEAR, 1e15));
  OK(db, vecdb_bind_int64(s, SCORE, 7));
  OK(db, vecdb_bind_double(s, OKAY, 1.0));
  OK(db, vecdb_bind_double(s, X, NAN));
  DONE(db, vecdb_step(s));
  s = get(3);
  ROW(db, vecdb_step(s));
  CHECK_INT(1000000000000000, vecdb_column_int64(s, YEAR));
  CHECK_INT(VECDB_REAL, vecdb_column_type(s, SCORE));
  CHECK_INT(1, vecdb_column_int64(s, OKAY));
  CHECK_INT(VECDB_NULL, vecdb_column_type(s, X));   /* NaN, as in SQLite */
  vecdb_close(db);
}

TEST(binding__of_vectors_checks_dimensions_and_values){
  float v[4] = { 1, 2, 3, 4 };
  vecdb_stmt *s;
  setup();
  s = api_insert(c);
  REFUSES(db, VECDB_MISMATCH, "column \"v\" has 3 dimensions, not 4",
          vecdb_bind_vector(s, V, VECDB_F32, v, 16, VECDB_STATIC));
  REFUSES(db, VECDB_MISMATCH, "column \"v\": 13 bytes are no whole number of "
          "float elements", vecdb_bind_vector(s, V, VECDB_F32, v, 13,
                                              VECDB_STATIC));
  REFUSES(db, VECDB_MISMATCH, "column \"v\" takes float vectors, not int8",
          vecdb_bind_vector(s, V, VECDB_I8, v, 3, VECDB_STATIC));
  REFUSES(db, VECDB_MISUSE, "9 is no element type",
          vecdb_bind_vector(s, V, 9, v, 3, VECDB_STATIC));
  REFUSES(db, VECDB_CONSTRAINT_TYPE, "column \"year\" takes no vectors",
          vecdb_bind_vector(s, YEAR, VECDB_F32, v, 12, VECDB_STATIC));
  REFUSES(db, VECDB_CONSTRAINT_TYPE, "column \"v\" takes vectors, not numbers",
          vecdb_bind_int64(s, V, 1));
  REFUSES(db, VECDB_MISMATCH, "column \"v\" has 3 dimensions, not 2",
          vecdb_bind_blob(s, V, v, 8, VECDB_STATIC));
  REFUSES(db, VECDB_MISMATCH, "column \"v\" has 3 dimensions, not 5",
          vecdb_bind_vector_text(s, V, "[1,2,3,4,5]", (size_t)-1));
  REFUSES(db, VECDB_MISMATCH, "column \"v\" has 3 dimensions, not 0",
          vecdb_bind_vector_text(s, V, "[]", (size_t)-1));
  REFUSES(db, VECDB_SYNTAX, "vector: expected a number at byte 4, found "
                            "\"nul\"",
          vecdb_bind_vector_text(s, V, "[1,nul]", (size_t)-1));
  REFUSES(db, VECDB_SYNTAX, "vector: expected \",\" or \"]\" at byte 5, found "
                            "the "
          "end", vecdb_bind_text(s, V, "[1,2", (size_t)-1, VECDB_TRANSIENT));
  v[1] = NAN;
  OK(db, vecdb_bind_vector(s, V, VECDB_F32, v, 12, VECDB_STATIC));
  REFUSES(db, VECDB_RANGE, "column \"v\": element 1 is not a number",
          vecdb_step(s));
  v[1] = 2;                                 /* static: what it is at the step */
  v[2] = -INFINITY;
  REFUSES(db, VECDB_RANGE, "column \"v\": element 2 is infinite",
          vecdb_step(s));
  v[2] = 3;
  DONE(db, vecdb_step(s));
  OK(db, vecdb_bind_blob(s, V, v, 12, VECDB_STATIC));
  DONE(db, vecdb_step(s));
  OK(db, vecdb_clear_bindings(s));
  CHECK_RC(VECDB_CONSTRAINT_NOTNULL, vecdb_step(s));
  vecdb_close(db);
}

TEST(binding__to_what_is_not_there){
  vecdb_stmt *s;
  setup();
  s = api_insert(c);
  REFUSES(db, VECDB_RANGE, "cannot bind 10: \"docs\" has columns 0..9",
          vecdb_bind_int64(s, 10, 1));
  REFUSES(db, VECDB_RANGE, "cannot bind -2: \"docs\" has columns 0..9",
          vecdb_bind_int64(s, VECDB_QUERY, 1));
  OK(db, vecdb_prepare_delete(c, &s));
  REFUSES(db, VECDB_RANGE, "cannot bind 0: the statement has 0 parameters "
          "besides VECDB_KEY", vecdb_bind_int64(s, 0, 1));
  OK(db, vecdb_prepare_scan(c, "year = ?2", &s));
  REFUSES(db, VECDB_RANGE, "cannot bind 3: the filter has 2 parameters",
          vecdb_bind_int64(s, 3, 1));
  REFUSES(db, VECDB_CONSTRAINT_TYPE, "a filter takes no vectors",
          vecdb_bind_vector(s, 1, VECDB_F32, "1234", 4, VECDB_STATIC));
  REFUSES(db, VECDB_MISUSE, "a blob needs its size",
          vecdb_bind_blob(s, 1, "x", (size_t)-1, VECDB_STATIC));
  vecdb_close(db);
}

static int n_freed;
static void count_free(void *p){ n_freed++; free(p); }

TEST(binding__calls_the_destructor_once){
  vecdb_stmt *s;
  setup();
  s = api_insert(c);
  OK(db, vecdb_bind_text(s, LANG, strdup("a"), 1, count_free));
  CHECK_INT(0, n_freed);
  OK(db, vecdb_bind_text(s, LANG, strdup("b"), 1, count_free));
  CHECK_INT(1, n_freed);
  OK(db, vecdb_bind_null(s, LANG));
  CHECK_INT(2, n_freed);
  CHECK_RC(VECDB_RANGE, vecdb_bind_text(s, 99, strdup("c"), 1, count_free));
  CHECK_INT(3, n_freed);
  CHECK_RC(VECDB_MISMATCH, vecdb_bind_blob(s, V, strdup("c"), 1, count_free));
  CHECK_INT(4, n_freed);
  CHECK_RC(VECDB_SYNTAX, vecdb_bind_text(s, V, strdup("c"), 1, count_free));
  CHECK_INT(5, n_freed);
  CHECK_RC(VECDB_MISMATCH,
           vecdb_bind_vector(s, V, VECDB_F32, strdup("cde"), 4, count_free));
  CHECK_INT(6, n_freed);
  OK(db, vecdb_bind_text(s, V, strdup("[1,2,3]"), 7, count_free));
  CHECK_INT(7, n_freed);
  OK(db, vecdb_bind_blob(s, THUMB, strdup("x"), 1, count_free));
  DONE(db, vecdb_step(s));
  OK(db, vecdb_clear_bindings(s));
  CHECK_INT(8, n_freed);
  OK(db, vecdb_bind_blob(s, THUMB, strdup("x"), 1, count_free));
  CHECK_RC(VECDB_MISUSE, vecdb_bind_text(NULL, 1, strdup("x"), 1, count_free));
  CHECK_INT(9, n_freed);
  vecdb_close(db);
  CHECK_INT(10, n_freed);
}

/* ---- Element types ------------------------------------------------------ */

TEST(vectors__of_every_element_type_come_back){
  static const struct { const char *decl, *json,
                        *print; int element; } type[] = {
    { "float[8]", "[1,2,3,4,5,6,7,0.1]", "[1,2,3,4,5,6,7,0.1]", VECDB_F32 },
    { "float16[8]", "[1,2,3,4,5,6,7,0.1]", "[1,2,3,4,5,6,7,0.1]", VECDB_F16 },
    { "bfloat16[8]", "[1,2,3,4,5,6,7,0.1]", "[1,2,3,4,5,6,7,0.1]", VECDB_BF16 },
    { "int8[8]", "[1,2,3,4,-5,6,7,-128]", "[1,2,3,4,-5,6,7,-128]", VECDB_I8 },
    { "uint8[8]", "[1,2,3,4,5,6,7,255]", "[1,2,3,4,5,6,7,255]", VECDB_U8 },
    { "bit[8]", "[1,0,1,1,0,0,0,1]", "[1,0,1,1,0,0,0,1]", VECDB_BIT },
  };
  db = api_memory();
  for(int i=0; i<6; i++){
    char name[16], schema[40];
    vecdb_stmt *s;
    size_t n;
    const void *v;
    snprintf(name, sizeof(name), "t%d", i);
    snprintf(schema, sizeof(schema), "v %s", type[i].decl);
    c = api_collection(db, name, schema);
    api_put(c, 1, type[i].json);
    s = get(1);
    ROW(db, vecdb_step(s));
    CHECK_STR(type[i].print, vecdb_column_text(s, 1));
    v = vecdb_column_vector(s, 1, &n);
    CHECK_U64(vecdb_vector_bytes(type[i].element, 8), n);
    vecdb_stmt *ins = api_insert(c);
    OK(db, vecdb_bind_vector(ins, 1, type[i].element, v, n, VECDB_TRANSIENT));
    DONE(db, vecdb_step(ins));
  }
  vecdb_close(db);
}

TEST(vectors__of_float_are_rounded_to_narrow_columns){
  float v[2] = { 0.1f, 70000 };
  char buf[16];
  vecdb_stmt *s;
  db = api_memory();
  c = api_collection(db, "t", "v float16[2]");
  s = api_insert(c);
  OK(db, vecdb_bind_vector(s, 1, VECDB_F32, v, 8, VECDB_STATIC));
  REFUSES(db, VECDB_RANGE, "column \"v\": element 1, 70000, is outside the "
                           "range "
          "of float16", vecdb_step(s));
  v[1] = 2049;                                    /* ties to even */
  memcpy(buf+1, v, 8);                            /* alignment is no matter */
  OK(db, vecdb_bind_vector(s, 1, VECDB_F32, buf+1, 8, VECDB_STATIC));
  DONE(db, vecdb_step(s));
  OK(db, vecdb_bind_blob(s, 1, buf+1, 8, VECDB_STATIC));   /* 4*dims: float */
  DONE(db, vecdb_step(s));
  for(int k=1; k<=2; k++){
    s = get(k);
    ROW(db, vecdb_step(s));
    CHECK_STR("[0.1,2048]", vecdb_column_text(s, 1));
  }
  c = api_collection(db, "u", "v uint8[2]");
  s = api_insert(c);
  CHECK_RC(VECDB_MISMATCH, vecdb_bind_vector(s, 1, VECDB_F32, v, 8,
                                             VECDB_STATIC));
  CHECK_RC(VECDB_MISMATCH, vecdb_bind_blob(s, 1, v, 8, VECDB_STATIC));
  vecdb_close(db);
}

TEST(values__vectors_outside_of_a_database){
  float a[3] = { 3, 0, 4 }, b[3] = { 0, 0, 0 }, back[3];
  unsigned char x[1] = { 0x0f }, y[1] = { 0x3c };
  uint16_t h[3];
  char err[200], *z = NULL, unaligned[16];
  double d;
  size_t dims;
  CHECK_U64(12, vecdb_vector_bytes(VECDB_F32, 3));
  CHECK_U64(2, vecdb_vector_bytes(VECDB_BIT, 9));
  CHECK_U64(0, vecdb_vector_bytes(7, 3));
  CHECK_U64(0, vecdb_vector_bytes(VECDB_F32, 70000));
  CHECK_RC(VECDB_OK, vecdb_distance(VECDB_L2, VECDB_F32, 3, a, b, &d));
  CHECK_DBL(5, d, 0);
  memcpy(unaligned+1, a, 12);
  CHECK_RC(VECDB_OK, vecdb_distance(VECDB_L1, VECDB_F32, 3, unaligned+1, b,
                                    &d));
  CHECK_DBL(7, d, 0);
  CHECK_RC(VECDB_OK, vecdb_distance(VECDB_COSINE, VECDB_F32, 3, a, b, &d));
  CHECK(isnan(d));
  CHECK_RC(VECDB_OK, vecdb_distance(VECDB_HAMMING, VECDB_BIT, 8, x, y, &d));
  CHECK_DBL(4, d, 0);
  CHECK_RC(VECDB_MISMATCH, vecdb_distance(VECDB_L2, VECDB_BIT, 8, x, y, &d));
  CHECK_RC(VECDB_RANGE, vecdb_distance(VECDB_L2, VECDB_F32, 0, a, b, &d));
  b[1] = NAN;
  CHECK_RC(VECDB_RANGE, vecdb_distance(VECDB_L2, VECDB_F32, 3, a, b, &d));
  CHECK_RC(VECDB_OK, vecdb_vector_parse(VECDB_F32, "[1,2.5]", 7, back, 12,
                                        &dims,
                                        err, sizeof(err)));
  CHECK_U64(2, dims);
  CHECK_STR("", err);
  CHECK_RC(VECDB_SYNTAX, vecdb_vector_parse(VECDB_F32, "[1,2.5", (size_t)-1,
                                            NULL,
                                            0, NULL, err, 20));
  CHECK_STR("vector: expected \",", err);          /* cut to the buffer */
  CHECK_RC(VECDB_MISUSE, vecdb_vector_parse(VECDB_F32, NULL, 0, NULL, 0, &dims,
                                            err, sizeof(err)));
  CHECK_RC(VECDB_OK, vecdb_vector_print(VECDB_F32, 3, a, &z));
  CHECK_STR("[3,0,4]", z);
  vecdb_free(z);
  CHECK_RC(VECDB_MISUSE, vecdb_vector_print(99, 3, a, &z));
  CHECK(z==NULL);
  a[1] = 1e-9f;
  CHECK_RC(VECDB_OK, vecdb_vector_convert(VECDB_F32, VECDB_F16, 3, a, h, err,
                                          200));
  CHECK_RC(VECDB_OK, vecdb_vector_convert(VECDB_F16, VECDB_F32, 3, h, back,
                                          NULL, 0));
  CHECK(back[0]==3 && back[1]==0 && back[2]==4);
  a[2] = 1e6f;
  CHECK_RC(VECDB_RANGE, vecdb_vector_convert(VECDB_F32, VECDB_F16, 3, a, h,
                                             err, 200));
  CHECK_STR("vector: element 2, 1e+06, is outside the range of float16", err);
  a[0] = INFINITY;
  CHECK_RC(VECDB_RANGE, vecdb_vector_convert(VECDB_F32, VECDB_BF16, 3, a, h,
                                             err, 200));
  CHECK_STR("vector: element 0 is inf, which bfloat16 does not take", err);
  CHECK_RC(VECDB_MISMATCH, vecdb_vector_convert(VECDB_F32, VECDB_I8, 3, a, h,
                                                err, 200));
  CHECK_STR("cannot convert float to int8", err);
}
