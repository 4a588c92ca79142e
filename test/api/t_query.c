/* t_query.c -- scans and searches: filters, keys, windows, paging, order. */
#include "api/api.h"

static vecdb *db;
static vecdb_collection *c;

/* Rows 1..n: v = (i, 0), year = 2000+i, lang of i%3, NULL year when i%7==0. */
static void setup(int n){
  static const char *const lang[] = { "en", "de", "fr" };
  vecdb_stmt *s;
  db = api_memory();
  c = api_collection(db, "t", "id integer primary key, v float[2], year int, "
                     "lang text, +note text");
  s = api_insert(c);
  for(int i=1; i<=n; i++){
    float v[2] = { (float)i, 0 };
    OK(db, vecdb_bind_int64(s, 0, i));
    OK(db, vecdb_bind_vector(s, 1, VECDB_F32, v, 8, VECDB_STATIC));
    if( i%7==0 ) OK(db, vecdb_bind_null(s, 2));
    else OK(db, vecdb_bind_int64(s, 2, 2000+i));
    OK(db, vecdb_bind_text(s, 3, lang[i%3], 2, VECDB_STATIC));
    OK(db, vecdb_bind_text(s, 4, i%2 ? "odd" : "even", (size_t)-1,
                           VECDB_STATIC));
    DONE(db, vecdb_step(s));
  }
  OK(db, vecdb_finalize(s));
}

static vecdb_stmt *scan(const char *filter){
  vecdb_stmt *s = NULL;
  OK(db, vecdb_prepare_scan(c, filter, &s));
  return s;
}

static vecdb_stmt *search(const vecdb_search_options *o, const char *query){
  vecdb_stmt *s = NULL;
  if( !OK(db, vecdb_prepare_search(c, o, &s)) ) vt_stop();
  OK(db, vecdb_bind_vector_text(s, VECDB_QUERY, query, (size_t)-1));
  return s;
}

/* ---- Scans -------------------------------------------------------------- */

TEST(scan__gives_rows_in_order_of_the_key){
  vecdb_stmt *s;
  setup(9);
  s = scan(NULL);
  KEYS(db, "1 2 3 4 5 6 7 8 9 ", s);
  KEYS(db, "1 2 3 4 5 6 7 8 9 ", s);            /* again, by itself */
  CHECK_RC(VECDB_SYNTAX, vecdb_prepare_scan(c, "", &s));
  vecdb_close(db);
}

TEST(scan__passes_a_filter){
  vecdb_stmt *s;
  setup(9);
  s = scan("year > ?1 AND lang IN ('en', ?2)");
  KEYS(db, "", s);                              /* ?1 is NULL */
  OK(db, vecdb_bind_int64(s, 1, 2003));
  KEYS(db, "6 9 ", s);
  OK(db, vecdb_bind_text(s, 2, "de", 2, VECDB_STATIC));
  KEYS(db, "4 6 9 ", s);
  OK(db, vecdb_bind_text(s, 1, "2006", 4, VECDB_STATIC));
  KEYS(db, "9 ", s);
  s = scan("year IS NULL OR note = 'odd' AND rowid < 4");
  KEYS(db, "1 3 7 ", s);
  REFUSES(db, VECDB_NOTFOUND, "filter: no column \"lamg\" at byte 1; did you "
                              "mean "
          "\"lang\"?", vecdb_prepare_scan(c, "lamg = 'de'", &s));
  CHECK(s==NULL);
  REFUSES(db, VECDB_SYNTAX, "filter: expected a column, a value or \"?N\" at "
                            "byte "
          "8, found the end", vecdb_prepare_scan(c, "year = ", &s));
  vecdb_close(db);
}

TEST(scan__of_a_set_of_keys){
  const int64_t keys[] = { 8, 3, 99, 3, -1, 5 };
  const char *const text[] = { "a" };
  vecdb_stmt *s;
  setup(9);
  s = scan(NULL);
  OK(db, vecdb_search_set_keys(s, 6, keys));
  KEYS(db, "3 5 8 ", s);
  OK(db, vecdb_search_set_keys(s, 0, keys));
  KEYS(db, "", s);
  OK(db, vecdb_search_set_keys(s, 0, NULL));
  KEYS(db, "1 2 3 4 5 6 7 8 9 ", s);
  s = scan("note = 'odd'");
  OK(db, vecdb_search_set_keys(s, 6, keys));
  KEYS(db, "3 5 ", s);
  REFUSES(db, VECDB_MISMATCH, "the key of \"t\" is an integer",
          vecdb_search_set_text_keys(s, 1, text));
  ROW(db, vecdb_step(s));
  REFUSES(db, VECDB_MISUSE, "cannot restrict a statement in progress; reset it "
          "first, to keys", vecdb_search_set_keys(s, 6, keys));
  vecdb_close(db);
}

/* ---- Searches ----------------------------------------------------------- */

TEST(search__gives_the_nearest_in_order){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_stmt *s;
  setup(9);
  o.k = 3;
  s = search(&o, "[6.2, 0]");
  ROW(db, vecdb_step(s));
  CHECK_INT(6, vecdb_column_int64(s, 0));
  CHECK_DBL((double)(6.2f-6.0f), vecdb_row_distance(s), 0);
  CHECK_STR("[6,0]", vecdb_column_text(s, 1));
  ROW(db, vecdb_step(s));
  CHECK_INT(7, vecdb_column_int64(s, 0));
  ROW(db, vecdb_step(s));
  CHECK_INT(5, vecdb_column_int64(s, 0));
  DONE(db, vecdb_step(s));
  CHECK(isnan(vecdb_row_distance(s)));
  KEYS(db, "6 7 5 ", s);
  OK(db, vecdb_search_set_k(s, 100));
  KEYS(db, "6 7 5 8 4 9 3 2 1 ", s);
  vecdb_close(db);
}

TEST(search__breaks_ties_by_key){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_stmt *s;
  db = api_memory();
  c = api_collection(db, "t", "v float[2]");
  for(int i=0; i<40; i++) api_put(c, 40-i, i%2 ? "[1,0]" : "[0,1]");
  o.k = 5;
  s = search(&o, "[0,0]");
  KEYS(db, "1 2 3 4 5 ", s);
  s = search(&o, "[1,0]");
  KEYS(db, "1 3 5 7 9 ", s);
  vecdb_close(db);
}

TEST(search__with_a_filter_always_fills_k){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_stmt *s;
  setup(60);
  o.k = 3;
  o.filter = "lang = ?1 AND year < 2030";
  s = search(&o, "[60, 0]");
  OK(db, vecdb_bind_text(s, 1, "de", 2, VECDB_STATIC));
  KEYS(db, "25 22 19 ", s);                     /* 28 has no year */
  OK(db, vecdb_bind_text(s, 1, "fr", 2, VECDB_STATIC));
  KEYS(db, "29 26 23 ", s);
  o.filter = "note = 'odd' AND id < 4";
  s = search(&o, "[60, 0]");
  KEYS(db, "3 1 ", s);
  o.filter = "year = 1";
  s = search(&o, "[60, 0]");
  KEYS(db, "", s);
  vecdb_close(db);
}

TEST(search__among_a_set_of_keys){
  const int64_t keys[] = { 50, 2, 8, 8, 1000 };
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_stmt *s;
  setup(60);
  s = search(&o, "[9, 0]");
  OK(db, vecdb_search_set_keys(s, 5, keys));
  KEYS(db, "8 2 50 ", s);
  o.filter = "note = 'even' AND id > 2";
  s = search(&o, "[9, 0]");
  OK(db, vecdb_search_set_keys(s, 5, keys));
  KEYS(db, "8 50 ", s);
  vecdb_close(db);
}

TEST(search__among_text_keys){
  const char *const keys[] = { "b", "zz", NULL, "b", "a" };
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_stmt *s;
  db = api_memory();
  c = api_collection(db, "t", "name text primary key, v float[2]");
  s = api_insert(c);
  for(char z='a'; z<='e'; z++){
    OK(db, vecdb_bind_text(s, 0, &z, 1, VECDB_TRANSIENT));
    OK(db, vecdb_bind_vector_text(s, 1, "[1,2]", (size_t)-1));
    DONE(db, vecdb_step(s));
  }
  s = search(&o, "[0,0]");
  OK(db, vecdb_search_set_text_keys(s, 5, keys));
  KEYS(db, "a b ", s);
  OK(db, vecdb_search_set_text_keys(s, 0, NULL));
  KEYS(db, "a b c d e ", s);
  vecdb_close(db);
}

TEST(search__within_a_distance){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_stmt *s;
  setup(20);
  o.k = 0;
  o.flags = VECDB_SEARCH_HAS_MAX;
  o.max_distance = 2;
  s = search(&o, "[10, 0]");
  KEYS(db, "10 9 11 8 12 ", s);
  o.flags |= VECDB_SEARCH_WITHIN_STRICT;
  s = search(&o, "[10, 0]");
  KEYS(db, "10 9 11 ", s);
  o.flags = VECDB_SEARCH_HAS_MAX | VECDB_SEARCH_HAS_MIN;
  o.min_distance = 1;
  s = search(&o, "[10, 0]");
  KEYS(db, "9 11 8 12 ", s);
  o.k = 3;
  s = search(&o, "[10, 0]");
  KEYS(db, "9 11 8 ", s);
  o.flags |= VECDB_SEARCH_AFTER_STRICT;
  s = search(&o, "[10, 0]");
  KEYS(db, "8 12 ", s);
  o.k = 0;
  o.flags = VECDB_SEARCH_HAS_MAX;
  o.max_distance = INFINITY;
  s = search(&o, "[1, 0]");
  KEYS(db, "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 ", s);
  o.max_distance = -1;
  s = search(&o, "[1, 0]");
  KEYS(db, "", s);
  vecdb_close(db);
}

/* Pages by distance put together are the one long list. */
TEST(search__pages_make_the_whole){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  int n = 0;
  double last = -1, d;
  setup(50);
  o.k = 7;
  for(;;){
    vecdb_stmt *s = search(&o, "[13.25, 0]");
    int n_page = 0;
    while( vecdb_step(s)==VECDB_ROW ){
      d = vecdb_row_distance(s);
      CHECK(d>last);
      last = d;
      n_page++;
    }
    OK(db, vecdb_finalize(s));
    n += n_page;
    if( n_page<7 ) break;
    o.flags = VECDB_SEARCH_HAS_MIN | VECDB_SEARCH_AFTER_STRICT;
    o.min_distance = last;
  }
  CHECK_INT(50, n);
  vecdb_close(db);
}

TEST(search__checks_its_options){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_stmt *s;
  setup(3);
  o.k = 0;
  REFUSES(db, VECDB_RANGE, "search: k is 0; without max_distance it says how "
                           "many "
          "rows are wanted", vecdb_prepare_search(c, &o, &s));
  o.k = 1;
  o.flags = 0x100;
  REFUSES(db, VECDB_MISUSE, "search: unknown flags 0x100",
          vecdb_prepare_search(c, &o, &s));
  o.flags = VECDB_SEARCH_EXACT;
  o.column = 2;
  REFUSES(db, VECDB_MISMATCH, "search: column \"year\" is no vector",
          vecdb_prepare_search(c, &o, &s));
  o.column = 17;
  REFUSES(db, VECDB_NOTFOUND, "search: no column 17; there are 5",
          vecdb_prepare_search(c, &o, &s));
  o.column = 0;
  o.recall = 1.5;
  REFUSES(db, VECDB_RANGE, "search: recall 1.5 is not in 0..1",
          vecdb_prepare_search(c, &o, &s));
  o.recall = 0.99;
  o.ef = 500;
  o.flags = VECDB_SEARCH_HAS_MIN;
  o.min_distance = NAN;
  REFUSES(db, VECDB_RANGE, "min_distance is not a number",
          vecdb_prepare_search(c, &o, &s));
  o.flags = VECDB_SEARCH_HAS_MAX;
  o.max_distance = NAN;
  REFUSES(db, VECDB_RANGE, "max_distance is not a number",
          vecdb_prepare_search(c, &o, &s));
  o.flags = 0;
  OK(db, vecdb_prepare_search(c, &o, &s));
  REFUSES(db, VECDB_MISUSE, "no vector is bound to VECDB_QUERY", vecdb_step(s));
  REFUSES(db, VECDB_MISMATCH, "column \"v\" has 2 dimensions, not 3",
          vecdb_bind_vector_text(s, VECDB_QUERY, "[1,2,3]", (size_t)-1));
  REFUSES(db, VECDB_RANGE, "search: k is 0; without max_distance it says how "
                           "many "
          "rows are wanted", vecdb_search_set_k(s, 0));
  OK(db, vecdb_bind_vector_text(s, VECDB_QUERY, "[1,2]", (size_t)-1));
  ROW(db, vecdb_step(s));
  REFUSES(db, VECDB_MISUSE, "cannot set k of a search in progress; reset it "
                            "first",
          vecdb_search_set_k(s, 3));
  REFUSES(db, VECDB_MISUSE, "cannot bind while the statement is in progress; "
                            "reset "
          "it first", vecdb_bind_null(s, VECDB_QUERY));
  OK(db, vecdb_reset(s));
  OK(db, vecdb_prepare_search(c, NULL, &s));      /* defaults: k is 10 */
  s = scan(NULL);
  REFUSES(db, VECDB_MISUSE, "cannot set k of a statement that is no search",
          vecdb_search_set_k(s, 3));
  s = api_insert(c);
  REFUSES(db, VECDB_MISUSE, "cannot restrict a statement that is no search or "
                            "scan "
          "to keys", vecdb_search_set_keys(s, 0, NULL));
  vecdb_close(db);
}

TEST(search__of_an_empty_collection_finds_nothing){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_stmt *s;
  setup(0);
  s = search(&o, "[1,2]");
  KEYS(db, "", s);
  o.k = 0;
  o.flags = VECDB_SEARCH_HAS_MAX;
  o.max_distance = 10;
  o.filter = "year = 3";
  s = search(&o, "[1,2]");
  KEYS(db, "", s);
  KEYS(db, "", scan("year = 3"));
  vecdb_close(db);
}

TEST(search__knows_every_metric){
  static const struct { const char *decl, *rows[3], *query,
                        *want; double d; } m[] = {
    { "float[2]", { "[0,0]", "[3,4]", "[1,1]" }, "[3,4]", "2 3 1 ", 0 },
    { "float[2] distance_metric=l1", { "[0,0]", "[3,4]", "[1,1]" }, "[0,0]",
      "1 3 2 ", 0 },
    { "float[2] distance_metric=ip", { "[0,0]", "[3,4]", "[1,1]" }, "[1,2]",
      "2 3 1 ", -11 },
    { "float[2] distance_metric=cosine", { "[0,0]", "[-3,-4]", "[2,2]" },
      "[1,1]",
      "3 1 2 ", 0 },
    { "bit[8]", { "[0,0,0,0,0,0,0,0]", "[1,1,1,1,1,1,1,1]",
                  "[1,1,0,0,0,0,0,0]" },
      "[1,1,1,0,0,0,0,0]", "3 1 2 ", 1 },
    { "bit[8] distance_metric=jaccard", { "[0,0,0,0,0,0,0,0]",
      "[1,1,1,1,1,1,1,1]", "[1,1,0,0,0,0,0,0]" }, "[1,1,0,0,0,0,0,0]",
      "3 2 1 ", 0 },
    { "int8[2]", { "[0,0]", "[-128,127]", "[5,5]" }, "[4,5]", "3 1 2 ", 1 },
    { "uint8[2] distance_metric=cosine", { "[0,0]", "[255,0]", "[0,9]" },
      "[0,1]",
      "3 1 2 ", 0 },
  };
  db = api_memory();
  for(size_t i=0; i<sizeof(m)/sizeof(m[0]); i++){
    vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
    char name[16], schema[80];
    vecdb_stmt *s;
    snprintf(name, sizeof(name), "t%zu", i);
    snprintf(schema, sizeof(schema), "v %s", m[i].decl);
    c = api_collection(db, name, schema);
    for(int k=0; k<3; k++) api_put(c, k+1, m[i].rows[k]);
    s = search(&o, m[i].query);
    KEYS(db, m[i].want, s);
    ROW(db, vecdb_step(s));
    CHECK_DBL(m[i].d, vecdb_row_distance(s), 0);
  }
  vecdb_close(db);
}

TEST(search__of_the_second_vector_column){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_stmt *s;
  db = api_memory();
  c = api_collection(db, "t", "a float[2], x int, b bit[8] "
                              "distance_metric=hamming");
  s = api_insert(c);
  for(int i=1; i<=3; i++){
    const char *const b[] = { "", "[1,1,1,1,0,0,0,0]", "[1,0,0,0,0,0,0,0]",
                              "[1,1,0,0,0,0,0,0]" };
    char a[20];
    snprintf(a, sizeof(a), "[%d,0]", i);
    OK(db, vecdb_bind_vector_text(s, 1, a, (size_t)-1));
    OK(db, vecdb_bind_vector_text(s, 3, b[i], (size_t)-1));
    DONE(db, vecdb_step(s));
  }
  s = search(&o, "[0,0]");
  KEYS(db, "1 2 3 ", s);
  o.column = vecdb_column_find(c, "b");
  s = search(&o, "[0,0,0,0,0,0,0,0]");
  KEYS(db, "2 3 1 ", s);
  vecdb_close(db);
}

/* Keys are read some at a time; the rows that were sealed from one place, the
** fresh ones from another, and after a change each by itself. */
TEST(search__gives_the_keys_of_many_rows){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_stmt *s, *d, *i;
  char want[1000] = "";
  setup(60);
  OK(db, vecdb_optimize(c, NULL));
  i = api_insert(c);
  for(int k=61; k<=90; k++){
    float v[2] = { (float)(k%2 ? k : k-50), 0.5f };
    OK(db, vecdb_bind_int64(i, 0, k));
    OK(db, vecdb_bind_vector(i, 1, VECDB_F32, v, 8, VECDB_TRANSIENT));
    DONE(db, vecdb_step(i));
  }
  OK(db, vecdb_finalize(i));
  o.k = 100;
  s = search(&o, "[0,0]");
  for(int k=1, at=0; k<=89; k++){     /* near k: row k, if any, then fresh */
    if( k<=60 ) at += sprintf(want+at, "%d ", k);
    if( k%2==0 && k>=12 && k<=40 ) at += sprintf(want+at, "%d ", k+50);
    if( k%2 && k>60 ) at += sprintf(want+at, "%d ", k);
  }
  KEYS(db, want, s);
  KEYS(db, want, s);
  OK(db, vecdb_prepare_delete(c, &d));
  for(int k=0; k<20; k++) ROW(db, vecdb_step(s));
  CHECK_INT(17, vecdb_column_int64(s, 0));
  OK(db, vecdb_bind_int64(d, VECDB_KEY, 18));
  DONE(db, vecdb_step(d));
  CHECK_INT(17, vecdb_column_int64(s, 0));
  ROW(db, vecdb_step(s));
  CHECK_INT(68, vecdb_column_int64(s, 0));
  vecdb_close(db);
}

/* A statement that ran once notices what changed since. */
TEST(search__sees_changes_between_runs){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_stmt *s, *d;
  setup(5);
  o.filter = "id > 1";
  o.k = 2;
  s = search(&o, "[0,0]");
  KEYS(db, "2 3 ", s);
  OK(db, vecdb_prepare_delete(c, &d));
  OK(db, vecdb_bind_int64(d, VECDB_KEY, 2));
  DONE(db, vecdb_step(d));
  KEYS(db, "3 4 ", s);
  OK(db, vecdb_prepare_update(c, &d));
  OK(db, vecdb_bind_int64(d, VECDB_KEY, 5));
  OK(db, vecdb_bind_vector_text(d, 1, "[0.5,0]", (size_t)-1));
  DONE(db, vecdb_step(d));
  KEYS(db, "5 3 ", s);
  OK(db, vecdb_begin(db, VECDB_WRITE));
  OK(db, vecdb_bind_vector_text(d, 1, "[50,0]", (size_t)-1));
  DONE(db, vecdb_step(d));
  KEYS(db, "3 4 ", s);
  OK(db, vecdb_rollback(db));
  KEYS(db, "5 3 ", s);
  vecdb_close(db);
}

/* Few rows pass: the scan goes by their keys, and still sees changes. */
TEST(scan__of_few_rows_sees_changes){
  vecdb_stmt *s, *u;
  setup(200);
  s = scan("year IN (2003, 2050, 2099, 2101)");
  ROW(db, vecdb_step(s));
  OK(db, vecdb_prepare_delete(c, &u));
  OK(db, vecdb_bind_int64(u, VECDB_KEY, 50));
  DONE(db, vecdb_step(u));
  OK(db, vecdb_prepare_update(c, &u));
  OK(db, vecdb_bind_int64(u, VECDB_KEY, 99));
  OK(db, vecdb_bind_int64(u, 2, 1));
  DONE(db, vecdb_step(u));
  KEYS(db, "101 ", s);
  KEYS(db, "3 101 ", s);
  vecdb_close(db);
}

/* Slots change in a vacuum; what a statement remembers of them must not. */
TEST(search__goes_on_after_a_vacuum){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_stmt *s, *all, *d;
  setup(60);
  o.filter = "note = 'even' AND id > 40";
  o.k = 3;
  s = search(&o, "[0,0]");
  all = scan("id > 50");
  OK(db, vecdb_prepare_delete(c, &d));
  for(int i=1; i<=38; i++){
    OK(db, vecdb_bind_int64(d, VECDB_KEY, i));
    DONE(db, vecdb_step(d));
  }
  KEYS(db, "42 44 46 ", s);
  KEYS(db, "51 52 53 54 55 56 57 58 59 60 ", all);
  ROW(db, vecdb_step(s));
  ROW(db, vecdb_step(all));
  OK(db, vecdb_vacuum(db));
  KEYS(db, "44 46 ", s);
  KEYS(db, "52 53 54 55 56 57 58 59 60 ", all);
  KEYS(db, "42 44 46 ", s);
  KEYS(db, "51 52 53 54 55 56 57 58 59 60 ", all);
  vecdb_close(db);
}

TEST(search__counts_what_it_compares){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_stats st = { .size = sizeof(st) };
  vecdb_stmt *s;
  setup(9);
  s = search(&o, "[0,0]");
  ROW(db, vecdb_step(s));
  OK(db, vecdb_stat(db, &st));
  CHECK_U64(9, st.n_distance);
  o.filter = "id > 6";
  s = search(&o, "[0,0]");
  ROW(db, vecdb_step(s));
  OK(db, vecdb_stat(db, &st));
  CHECK_U64(12, st.n_distance);
  vecdb_close(db);
}
