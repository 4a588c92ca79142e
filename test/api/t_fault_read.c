/* t_fault_read.c -- getting, scanning and searching rows, with each call and
** each allocation failing once (lib_rowsweep.h): what comes in spite of it is
** what comes without.
*/
#include "vt.h"
#include "lab/lib_rowsweep.h"

#define SCHEMA "id integer primary key, v float[4] index=flat(bits=4), " \
  "w int8[4] distance_metric=l1, h float16[4] distance_metric=cosine, " \
  "b bit[16], p int partition key, n int, r real, s text, f boolean, " \
  "+x text, +z int"
#define WORDS  "word text primary key, v float[3] distance_metric=ip, s text"
#define LONG_FILTER "(s LIKE 'abc%' OR s > 'b' OR s IN ('abc 5', 'x', 'abcd 7'," \
  " 'a', 'b', 'c')) AND NOT (n BETWEEN 10 AND 20) AND r < 90.5 AND " \
  "f IS NOT NULL AND (z > 3 OR x GLOB '*b*' OR z IS NULL) AND " \
  "id NOT IN (1, 2, 3, 4, 5, 6, 7, 8) AND n IN (1,2,3,4,5,6,7,8,9,21,22,23," \
  "24,25,26,27,28,29,30,40,50,60,70,80,90,91,92,93,94,95,96,97,98)"

static int make_rows(vecdb *db){
  int rc;
  TRY( vecdb_create_collection(db, "t", SCHEMA) );
  TRY( rows_fill(db, "t", 0, 60) );
  TRY( coll_optimize(db, "t", 0) );
  TRY( rows_erase(db, "t", 20, 30, 1) );
  TRY( rows_fill(db, "t", 60, 80) );
  TRY( rows_erase(db, "t", 61, 70, 3) );
done:
  return rc;
}

static int make_words(vecdb *db){
  int rc;
  TRY( vecdb_create_collection(db, "words", WORDS) );
  TRY( rows_fill(db, "words", 0, 40) );
  TRY( coll_optimize(db, "words", 0) );
  TRY( rows_erase(db, "words", 3, 30, 2) );
  TRY( rows_fill(db, "words", 40, 50) );
done:
  return rc;
}

/* ---- scanning ------------------------------------------------------------ */

static int act_get(vecdb *db, uint64_t *answer){
  int rc;
  TRY( row_get(db, "t", "7", answer) );
  TRY( row_get(db, "t", "73", answer) );
done:
  return rc;
}
static int act_scan(vecdb *db, uint64_t *answer){
  return rows_scan(db, "t", LONG_FILTER, answer);
}
static int act_scan_words(vecdb *db, uint64_t *answer){
  return rows_scan(db, "words", "s IS NOT NULL AND word COLLATE nocase > "
                   "'KEY 00002'", answer);
}
static int act_scan_keys(vecdb *db, uint64_t *answer){
  static const char *const keys[] = { "key 00042", "key 00002", "none",
                                      "key 00002" };
  vecdb_collection *c = NULL;
  vecdb_stmt *s = NULL;
  int rc;
  TRY( vecdb_collection_open(db, "words", &c) );
  TRY( vecdb_prepare_scan(c, NULL, &s) );
  rc = rows_take(s, vecdb_search_set_text_keys(s, 4, keys), answer);
done:
  vecdb_collection_close(c);
  return rc;
}

TEST(fault__reading){
  struct rowsweep s = { .name="get", .make=make_rows, .act=act_get,
                        .reads=true };
  rowsweep_run(&s);
  s.name = "scan";
  s.act = act_scan;
  rowsweep_run(&s);
  s.make = make_words;
  s.name = "scan of text keys";
  s.act = act_scan_words;
  rowsweep_run(&s);
  s.name = "scan of some text keys";
  s.act = act_scan_keys;
  rowsweep_run(&s);
}

/* What a scan finds is deleted by the same handle: it goes on behind it. */
static int act_scan_and_delete(vecdb *db, uint64_t *answer){
  vecdb_collection *c = NULL;
  vecdb_stmt *s = NULL, *d = NULL;
  int rc;
  TRY( vecdb_begin(db, VECDB_WRITE) );
  TRY( vecdb_collection_open(db, "words", &c) );
  TRY( vecdb_prepare_scan(c, "s LIKE '%1%'", &s) );
  TRY( vecdb_prepare_delete(c, &d) );
  while( (rc = vecdb_step(s))==VECDB_ROW ){
    const char *key = vecdb_column_text(s, 0);
    if( key==NULL ) TRY( vecdb_column_errcode(s) );
    TRY( vecdb_bind_text(d, VECDB_KEY, key, (size_t)-1, VECDB_TRANSIENT) );
    rc = vecdb_step(d);
    if( rc!=VECDB_DONE ) goto done;
    vecdb_reset(d);
    *answer += 1;
  }
  rc = rc==VECDB_DONE ? vecdb_commit(db) : rc;
done:
  vecdb_finalize(s);
  vecdb_finalize(d);
  vecdb_collection_close(c);
  return rc;
}

TEST(fault__deleting_what_a_scan_finds){
  struct rowsweep s = { .name="scan and delete", .make=make_words,
                        .act=act_scan_and_delete };
  rowsweep_run(&s);
}

/* ---- searching ----------------------------------------------------------- */

static int search_by(vecdb *db, int32_t column, const char *filter,
                     const char *query, uint64_t *answer){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  o.column = column;
  o.filter = filter;
  o.k = 7;
  return rows_search(db, "t", &o, query, answer);
}

static int act_search(vecdb *db, uint64_t *answer){
  return search_by(db, 1, NULL, "[1,2,3,4]", answer);
}
static int act_search_bytes(vecdb *db, uint64_t *answer){
  return search_by(db, 2, "p = 1", "[1,2,3,4]", answer);
}
static int act_search_halves(vecdb *db, uint64_t *answer){
  return search_by(db, 3, LONG_FILTER, "[1,2,3,4]", answer);
}
static int act_search_bits(vecdb *db, uint64_t *answer){
  return search_by(db, 4, "id IN (3, 5, 70, 2000)",
                   "[1,1,1,1,0,0,0,0,1,1,1,1,0,0,0,0]", answer);
}
static int act_search_within(vecdb *db, uint64_t *answer){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  o.k = 0;
  o.flags = VECDB_SEARCH_HAS_MAX | VECDB_SEARCH_HAS_MIN
          | VECDB_SEARCH_AFTER_STRICT;
  o.min_distance = 3;
  o.max_distance = 20;
  return rows_search(db, "t", &o, "[1,2,3,4]", answer);
}
static int act_search_words(vecdb *db, uint64_t *answer){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  return rows_search(db, "words", &o, "[1,2,3]", answer);
}

TEST(fault__searching){
  struct rowsweep s = { .name="search", .make=make_rows, .act=act_search,
                        .reads=true };
  rowsweep_run(&s);
  s.name = "search of bytes";
  s.act = act_search_bytes;
  rowsweep_run(&s);
  s.name = "search of halves with a long filter";
  s.act = act_search_halves;
  rowsweep_run(&s);
  s.name = "search of bits by keys";
  s.act = act_search_bits;
  rowsweep_run(&s);
  s.name = "search within a distance";
  s.act = act_search_within;
  rowsweep_run(&s);
  s.make = make_words;
  s.name = "search by words";
  s.act = act_search_words;
  rowsweep_run(&s);
}

/* A search with parameters and keys, suspended by a change of its own handle. */
static int act_search_suspended(vecdb *db, uint64_t *answer){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  int64_t keys[30];
  vecdb_collection *c = NULL;
  vecdb_stmt *s = NULL;
  int rc;
  for(int i=0; i<30; i++) keys[i] = i*3;
  o.k = 20;
  o.filter = "n > ?1 AND s LIKE ?2 AND r <> ?3";
  TRY( vecdb_begin(db, VECDB_WRITE) );
  TRY( vecdb_collection_open(db, "t", &c) );
  TRY( vecdb_prepare_search(c, &o, &s) );
  TRY( vecdb_bind_vector_text(s, VECDB_QUERY, "[0,0,0,1]", (size_t)-1) );
  TRY( vecdb_bind_int64(s, 1, 7) );
  TRY( vecdb_bind_text(s, 2, "%b%", 3, VECDB_STATIC) );
  TRY( vecdb_bind_double(s, 3, 7.25) );
  TRY( vecdb_search_set_keys(s, 30, keys) );
  rc = vecdb_step(s);
  if( rc!=VECDB_ROW ) goto done;
  TRY( rows_erase(db, "t", 30, 50, 1) );
  rc = rows_take(s, VECDB_OK, answer);
  s = NULL;
  if( rc==VECDB_OK ) rc = vecdb_commit(db);
done:
  vecdb_finalize(s);
  vecdb_collection_close(c);
  return rc;
}

TEST(fault__a_search_that_is_suspended){
  struct rowsweep s = { .name="suspended search", .make=make_rows,
                        .act=act_search_suspended };
  rowsweep_run(&s);
}

static int act_search_multi(vecdb *db, uint64_t *answer){
  static const float a[] = { 1, 2, 3, 4 };
  static const int8_t w[] = { 1, 2, 3, 4 };
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_query_part part[] = {
    { sizeof(part[0]), 1, VECDB_F32, 0, 1, a, sizeof(a) },
    { sizeof(part[0]), 2, VECDB_I8, 0, 0.5, w, sizeof(w) },
    { sizeof(part[0]), 3, VECDB_F32, 0, 2, a, sizeof(a) } };
  vecdb_collection *c = NULL;
  vecdb_stmt *s = NULL;
  int rc;
  o.filter = "f OR n < 50";
  TRY( vecdb_collection_open(db, "t", &c) );
  TRY( vecdb_prepare_search_multi(c, &o, part, 3, &s) );
  rc = rows_take(s, VECDB_OK, answer);
done:
  vecdb_collection_close(c);
  return rc;
}

static int act_search_many(vecdb *db, uint64_t *answer){
  static const float q[3][4] = { { 1, 2, 3, 4 }, { 0 }, { 9, -9, 9, -9 } };
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_collection *c = NULL;
  float d[30];
  int64_t key[30];
  uint32_t n[3];
  int rc;
  o.filter = "n < 60";
  TRY( vecdb_collection_open(db, "t", &c) );
  TRY( vecdb_search_many(c, &o, 3, VECDB_F32, q, 0, key, d, n) );
  for(int i=0; i<30; i++) *answer = *answer*31 + (uint64_t)key[i]*7
                                  + (uint64_t)(d[i]*100);
done:
  vecdb_collection_close(c);
  return rc;
}

TEST(fault__searching_several){
  struct rowsweep s = { .name="several columns", .make=make_rows,
                        .act=act_search_multi, .reads=true };
  rowsweep_run(&s);
  s.name = "several queries";
  s.act = act_search_many;
  rowsweep_run(&s);
}
