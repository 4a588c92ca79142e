/* f_filter.c -- the text of a filter: printing what was parsed and parsing
** that is a fixed point; a filter over columns and one row at a time agree.
**
** The rows are those of one collection in memory with every kind of column,
** NULLs among them. The first byte of an input chooses what parameters are
** bound. */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz/fuzz.h"
#include "lab/lib_layer.h"
#include "store/filter.h"
#include "util/mem.h"
#include "util/str.h"

enum { N_ROW = 70 };

static const char *const words[] = {
  "id", "i", "r", "s", "b", "p", "v", "x", "rowid", " AND ", " OR ", " NOT ",
  " IS ", " IS NOT ", " NULL", " ISNULL", " NOTNULL", " IN (", " NOT IN (",
  " BETWEEN ", " LIKE ", " GLOB ", " ESCAPE '\\'", " COLLATE NOCASE",
  " COLLATE RTRIM", "TRUE", "FALSE", "(", ")", ",", "=", "==", "<>", "!=", "<",
  "<=", ">", ">=", "?", "?1", "?2", "?32766", "'a'", "'%a_'", "'t3'", "x'00ff'",
  "-", "1", "0", "9223372036854775807", "-9223372036854775808", "1e308",
  "0.5", "'", "\"", "--", "/*", NULL
};

static vecdb *db;
static vecdb_collection *coll;

static void row_put(vecdb_stmt *s, int k){
  static const float v[4] = { 1, 2, 3, 4 };
  char z[40];
  FUZZ_OK( vecdb_clear_bindings(s) );
  FUZZ_OK( vecdb_bind_int64(s, 0, k) );
  FUZZ_OK( vecdb_bind_vector(s, 1, VECDB_F32, v, sizeof(v), VECDB_STATIC) );
  if( k%5 ) FUZZ_OK( vecdb_bind_int64(s, 2, k%7 - 3) );
  if( k%6 ) FUZZ_OK( vecdb_bind_double(s, 3, k*0.25 - 4) );
  if( k%4 ){
    snprintf(z, sizeof(z), k%9 ? "t%d" : "Text %d, longer than a cell",
             k%11);
    FUZZ_OK( vecdb_bind_text(s, 4, z, (size_t)-1, VECDB_TRANSIENT) );
  }
  if( k%3 ) FUZZ_OK( vecdb_bind_int64(s, 5, k%2) );
  FUZZ_OK( vecdb_bind_int64(s, 6, k%3) );
  if( vecdb_step(s)!=VECDB_DONE ) fuzz_fail("%s", vecdb_errmsg(db));
}

static void filter_begin(void){
  vecdb_stmt *s = NULL;
  FUZZ_OK( vecdb_open(":memory:", VECDB_OPEN_MEMORY, NULL, &db) );
  FUZZ_OK( vecdb_create_collection(db, "t",
    "id integer primary key, v float[4], i int, r real, s text, b boolean, "
    "p integer partition key, +x blob") );
  FUZZ_OK( vecdb_collection_open(db, "t", &coll) );
  FUZZ_OK( vecdb_prepare_insert(coll, 0, &s) );
  for(int k=1; k<=N_ROW/2; k++) row_put(s, k);
  FUZZ_OK( vecdb_optimize(coll, NULL) );            /* half of them sealed */
  for(int k=N_ROW/2+1; k<=N_ROW; k++) row_put(s, k);
  FUZZ_OK( vecdb_finalize(s) );
}

static void params_bind(vecdb_stmt *s, int how){
  if( how & 1 ) vecdb_bind_int64(s, 1, how - 8);
  if( how & 2 ) vecdb_bind_text(s, 2, "t3", 2, VECDB_STATIC);
  if( how & 4 ) vecdb_bind_double(s, 1, how*0.5);
}

/* Which keys pass: by a scan (columns at once), or those of a scan without
** filter that a get of the key, filtered as a row, lets pass. */
static size_t keys_scan(const char *z, int how, bool *seen){
  vecdb_stmt *s = NULL;
  size_t n = 0;
  int rc = vecdb_prepare_scan(coll, z, &s);
  memset(seen, 0, N_ROW + 1);
  if( !fuzz_clean(rc, "preparing", vecdb_errmsg(db)) ) return 0;
  params_bind(s, how);
  while( (rc = vecdb_step(s))==VECDB_ROW ){
    int64_t key = vecdb_column_int64(s, 0);
    if( key<1 || key>N_ROW || seen[key] ) fuzz_fail("key %d", (int)key);
    seen[key] = true;
    n++;
  }
  fuzz_clean(rc, "scanning", vecdb_errmsg(db));
  FUZZ_OK( vecdb_finalize(s) );
  return n;
}

/* NOT (f), f and f IS NULL are each true for other rows, and for all. */
static void expect_three_values(const char *z, int how){
  static const char *const form[] = { "%s", "NOT (%s)", "(%s) IS NULL" };
  bool seen[3][N_ROW + 1];
  size_t n = strlen(z) + 32;
  char *text = lab_alloc(n);
  for(int i=0; i<3; i++){
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(text, n, form[i], z);
#pragma GCC diagnostic pop
    keys_scan(text, how, seen[i]);
  }
  for(int k=1; k<=N_ROW; k++){
    if( seen[0][k] + seen[1][k] + seen[2][k]!=1 ){
      fuzz_fail("row %d: true %d, false %d, NULL %d: %s", k, seen[0][k],
                seen[1][k], seen[2][k], z);
    }
  }
  free(text);
}

static bool parses(const struct schema *schema, const char *z,
                   struct vdb_str *printed){
  struct vdb_err err = { VECDB_OK, "" };
  struct filter *f = NULL;
  int rc = vdb_filter_parse(schema, z, &err, &f);
  if( rc==VECDB_OK ) vdb_filter_print(f, printed);
  vdb_filter_destroy(f);
  return fuzz_clean(rc, "parsing", err.msg);
}

static void expect_fixed_point(const struct schema *schema, const char *z){
  struct vdb_str once = VDB_STR_INIT, twice = VDB_STR_INIT;
  if( parses(schema, z, &once) ){
    if( !parses(schema, once.z, &twice) || strcmp(once.z, twice.z)!=0 ){
      fuzz_fail("not a fixed point:\n%s\n%s", once.z,
                twice.z ? twice.z : "(refused)");
    }
  }
  vdb_str_clear(&once);
  vdb_str_clear(&twice);
}

static void filter_one(const uint8_t *p, size_t n){
  struct vdb_err err = { VECDB_OK, "" };
  struct schema *schema = NULL;
  struct vdb_str printed = VDB_STR_INIT;
  char *z;
  if( n==0 ) return;
  FUZZ_OK( vdb_schema_parse(vecdb_collection_schema(coll), &err, &schema) );
  z = vdb_strndup((const char*)p + 1, n - 1);
  expect_fixed_point(schema, z);
  if( parses(schema, z, &printed) && strstr(z, "--")==NULL ){
    expect_three_values(z, p[0]);
  }
  vdb_str_clear(&printed);
  vdb_schema_destroy(schema);
  vdb_free(z);
}

static void filter_seeds(void){
  static const char *const text[] = {
    "i = 1", "i BETWEEN -1 AND 2 OR r > 3.5", "s LIKE 't%' AND NOT b",
    "s IN ('t1','t2',?2) AND id > ?1", "s GLOB 't[0-3]*'", "i IS NULL",
    "(i = 1) = (b = TRUE)", "s COLLATE NOCASE = 'TEXT 0, LONGER THAN A CELL'",
    "x IS NOT NULL OR i ISNULL", "p = 2 AND r <= -0.25", "i NOT IN (1, NULL)",
    "s LIKE 't\\_' ESCAPE '\\'", "id IN (1,2,3,4,5,6,7,8,9)", "?1 < i",
    "x'74' < s", "-r > - - 2", "NOT NOT (i NOTNULL)", "i", "NULL", "s > i"
  };
  for(size_t i=0; i<VDB_ARRAY_LEN(text); i++){
    fuzz_seed_text("", i, (int)i, text[i]);
  }
}

const struct fuzz_target fuzz_target = {
  .name = "filter", .sz_max = 512, .mem_max = 16<<20, .n_keep = 500,
  .seconds_max = 2,
  .words = words, .begin = filter_begin, .one = filter_one,
  .seeds = filter_seeds
};
