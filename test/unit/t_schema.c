/* t_schema.c -- the schema parser and printer (sql.md 1). */
#include <stdlib.h>

#include "simd/simd.h"
#include "store/schema.h"
#include "util/mem.h"
#include "util/rng.h"
#include "util/str.h"
#include "vt.h"

/* text -> canonical text, freed by the caller; NULL when it does not parse. */
static char *canonical(const char *text, struct vdb_err *err){
  struct schema *s = NULL;
  char *z = NULL;
  int rc = vdb_schema_parse(text, err, &s);

  if( rc!=VECDB_OK ) return NULL;
  if( vdb_schema_print(s, true, &z)!=VECDB_OK ) z = NULL;
  vdb_schema_destroy(s);
  return z;
}

static void check_canonical(const char *want, const char *text){
  struct vdb_err err = { 0, "" };
  char *z = canonical(text, &err), *again;

  if( z==NULL ){
    FAIL("\"%s\" does not parse: %s", text, vdb_error_text(&err));
    return;
  }
  CHECK_STR(want, z);
  again = canonical(z, &err);
  CHECK_STR(z, again ? again : vdb_error_text(&err));
  vdb_free(z);
  vdb_free(again);
}

static void check_refused(int rc, const char *message, const char *text){
  struct vdb_err err = { 0, "" };
  struct schema *s = NULL;

  CHECK_RC(rc, vdb_schema_parse(text, &err, &s));
  CHECK_STR(message, vdb_error_text(&err));
  CHECK(s==NULL);
}

TEST(schema__prints_what_it_parsed){
  check_canonical("embedding float[768]", "embedding float[768]");
  check_canonical("id integer primary key, v float[3] distance_metric=cosine",
                  "v FLOAT [ 3 ] Distance_Metric = COSINE,"
                  " id Integer PRIMARY KEY");
  check_canonical("id text not null primary key, v bit[64], "
                  "lang text partition key, year int not null, b boolean, "
                  "+thumb blob, +x double",
                  "id text NOT NULL primary key, v bit[64], "
                  "lang text partition key, year int not null, b boolean,"
                  "+thumb blob, + x double");
  check_canonical("v f16[8] not null index=graph(r=64, build_l=200, "
                  "alpha=1.25, bits=2, nav=pca:4) recall=0.9 ef=70",
                  "v f16[8] not null recall=0.9e0 ef=70 "
                  "index=graph(bits=2,nav=PCA:4,r=64,alpha=1.25,build_l=200)");
  check_canonical("v f16[8] index=graph(nav=none)",
                  "v f16[8] index=graph(nav=NONE)");
  check_canonical("v f32[8], optimize=manual, merge_rows=9, recall=1, ef=3",
                  "ef=3, recall=1.0, v f32[8], merge_rows=9, optimize=manual,"
                  "file='a''b', collection='c', durability=relaxed, "
                  "page_size=4096, chunk_size=8");
}

TEST(schema__quotes_names_that_need_it){
  check_canonical("v$1 float[2], \"a b\" int, \"c\"\"d\" int, select int, "
                  "\"1x\" text, gr\xc3\xb6\xc3\x9f" "e real",
                  "v$1 float[2], [a b] int, \"c\"\"d\" int, `select` int, "
                  "`1x` text, gr\xc3\xb6\xc3\x9f" "e real");
  check_canonical("\"x`y\" int, v float[2]", "`x``y` int, v float[2]");
  check_canonical("\"x]y\" int, v float[2]", "[x]]y] int, v float[2]");
}

TEST(schema__skips_blanks_and_comments){
  check_canonical("v float[2], a int",
                  "\n v -- the vector, 'q'\n float/* , */[2]\t,\r\n a int\f");
}

TEST(schema__maps_the_forms_of_indexed_by){
  check_canonical("v float[8] index=flat", "v float[8] INDEXED BY flat()");
  check_canonical("v float[8] index=flat(bits=1)",
                  "v float[8] indexed by rescore(quantizer=bit,oversample=8)");
  check_canonical("v float[8] index=flat(codec=sq8)",
                  "v float[8] INDEXED BY rescore(quantizer='int8')");
  check_canonical("v float[8] index=graph(r=64, build_l=100) ef=70",
      "v float[8] INDEXED BY diskann(n_neighbors=48,"
      "search_list_size_search=70, search_list_size=90,"
      "search_list_size_insert=100, buffer_threshold=0)");
  check_canonical("v float[8] index=ivf(nlist=10, bits=1)",
      "v float[8] INDEXED BY ivf(nlist=10,nprobe=auto,quantizer=binary,"
      "oversample=2)");
}

TEST(schema__columns_have_roles_types_and_numbers){
  struct vdb_err err = { 0, "" };
  struct schema *s = NULL;

  REQUIRE_RC(VECDB_OK, vdb_schema_parse(
      "a int, v bf16[10], id text primary key, w bit[16], +p blob,"
      "c int partition key", &err, &s));
  CHECK_INT(6, s->n_col);
  CHECK(s->has_key);
  CHECK_STR("id", s->col[0].name);
  CHECK_INT(VECDB_ROLE_KEY, s->col[0].role);
  CHECK_INT(VECDB_TEXT, s->col[0].type);
  CHECK_INT(1, vdb_schema_find(s, "A"));
  CHECK_INT(VECDB_ROLE_VECTOR, s->col[2].role);
  CHECK_INT(20, s->col[2].sz_vec);
  CHECK_INT(VECDB_L2, s->col[2].metric);
  CHECK_INT(VECDB_HAMMING, s->col[3].metric);
  CHECK_INT(2, s->col[3].sz_vec);
  CHECK_INT(2, s->i_first_vector);
  CHECK_INT(VECDB_ROLE_AUX, s->col[4].role);
  CHECK_INT(VECDB_ROLE_PARTITION, s->col[5].role);
  CHECK_INT(-1, vdb_schema_find(s, "rowid"));
  vdb_schema_destroy(s);

  REQUIRE_RC(VECDB_OK, vdb_schema_parse("v float[2]", &err, &s));
  CHECK(!s->has_key);
  CHECK_INT(0, vdb_schema_find(s, "ROWID"));
  CHECK_INT(VECDB_INTEGER, s->col[0].type);
  vdb_schema_destroy(s);
}

TEST(schema__names_the_nearest_word){
  check_refused(VECDB_SYNTAX,
      "column \"v\": unknown metric \"cosin\"; did you mean \"cosine\"",
      "v float[2] distance_metric=cosin");
  check_refused(VECDB_SYNTAX, "column \"v\": unknown option of a vector "
      "column \"d\"; known: distance_metric, recall, ef, index, indexed",
      "v float[2] d=l2");
  check_refused(VECDB_SYNTAX,
      "unknown table option \"optimise\"; did you mean \"optimize\"",
      "v float[2], optimise=manual");
  check_refused(VECDB_SYNTAX,
      "column \"a\": unknown type \"intger\"; did you mean \"integer\"",
      "v float[2], a intger");
  check_refused(VECDB_SYNTAX,
      "column \"v\": unknown index option \"bitz\"; did you mean \"bits\"",
      "v float[2] index=graph(bitz=1)");
}

TEST(schema__refuses_what_makes_no_sense){
  check_refused(VECDB_SYNTAX, "schema: expected the name of a column or "
      "option, found the end of the text", "");
  check_refused(VECDB_SYNTAX, "schema: expected the name of a column or "
      "option, found the end of the text", "v float[2],");
  check_refused(VECDB_SYNTAX, "no vector column; declare at least one, "
      "\"embedding float[768]\"", "a int");
  check_refused(VECDB_RANGE, "column \"v\": dimensions is 7, expected a "
      "multiple of 8 for bit vectors", "v bit[7]");
  check_refused(VECDB_RANGE, "column \"v\": dimensions is 0, expected a "
      "whole number in 1..65535", "v float[0]");
  check_refused(VECDB_RANGE, "column \"v\": dimensions is 65536, expected a "
      "whole number in 1..65535", "v float[65536]");
  check_refused(VECDB_SYNTAX, "column \"v\": type \"f32\" is one of vectors; "
      "write its dimensions, \"f32[768]\"", "v f32");
  check_refused(VECDB_MISMATCH, "column \"v\": metric \"hamming\" needs "
      "element type bit, not float[2]", "v float[2] distance_metric=hamming");
  check_refused(VECDB_MISMATCH, "column \"v\": metric \"l2\" needs a numeric "
      "element type, not bit[8]", "v bit[8] distance_metric=l2");
  check_refused(VECDB_SYNTAX, "\"a\" and \"b\" are both primary keys; only "
      "one column can be",
      "a int primary key, b int primary key, v float[2]");
  check_refused(VECDB_EXISTS, "column \"V\" is named twice",
      "v float[2], V int");
  check_refused(VECDB_EXISTS, "column \"rowid\" is named twice; \"rowid\" is "
      "the key when no primary key is declared", "v float[2], rowid int");
  check_refused(VECDB_SYNTAX, "column \"Distance\": the name is reserved; "
      "choose another", "v float[2], Distance int");
  check_refused(VECDB_SYNTAX, "column \"a\": unknown type of a primary key "
      "\"real\"; known: text, int, integer", "a real primary key, v float[2]");
  check_refused(VECDB_SYNTAX, "schema: expected \",\" or the end of the text "
      "at byte 7, found \"x\"", "a int x, v float[2]");
  check_refused(VECDB_SYNTAX, "schema: quoted text without an end at byte 1",
      "\"v float[2]");
  check_refused(VECDB_SYNTAX, "schema: malformed number at byte 9",
      "v float[12x]");
  check_refused(VECDB_SYNTAX, "table option \"ef\" is given twice",
      "v float[2], ef=1, ef=2");
  check_refused(VECDB_SYNTAX, "column \"v\": option of a vector column "
      "\"ef\" is given twice", "v float[2] ef=1 ef=2");
  check_refused(VECDB_RANGE, "chunk_size is 9, expected a multiple of 8",
      "v float[2], chunk_size=9");
  check_refused(VECDB_RANGE, "page_size is 5000, expected a power of two in "
      "4096..65536", "v float[2], page_size=5000");
  check_refused(VECDB_RANGE, "column \"v\": bits is 3, expected auto, 1, "
      "2, 4 or 6", "v float[2] index=flat(bits=3)");
}

TEST(schema__enforces_limits){
  struct vdb_str s = VDB_STR_INIT;

  for(int i=0; i<=SCHEMA_VECTOR_MAX; i++){
    vdb_str_addf(&s, "%sv%d float[2]", i ? "," : "", i);
  }
  check_refused(VECDB_TOOBIG, "65 vector columns, at most 64 are allowed",
                s.z);
  vdb_str_clear(&s);
  for(int i=0; i<SCHEMA_VECTOR_MAX; i++){
    vdb_str_addf(&s, "%sv%d float[65535]", i ? "," : "", i);
  }
  check_refused(VECDB_TOOBIG, "a row takes 16777041 bytes, at most 8388608 "
                "are allowed; use fewer vector columns", s.z);
  vdb_str_clear(&s);
  vdb_str_addz(&s, "v float[2]");
  for(int i=0; i<=SCHEMA_META_MAX; i++) vdb_str_addf(&s, ",m%d int", i);
  check_refused(VECDB_TOOBIG, "1025 metadata columns, at most 1024 are "
                "allowed", s.z);
  vdb_str_clear(&s);
}

TEST(schema__sets_stored_options){
  struct vdb_err err = { 0, "" };
  struct schema *s = NULL;
  char *z = NULL;

  REQUIRE_RC(VECDB_OK, vdb_schema_parse("v float[2], ef=5", &err, &s));
  CHECK_RC(VECDB_OK, vdb_schema_set_option(s, "EF", "77", &err));
  CHECK_RC(VECDB_OK, vdb_schema_set_option(s, "optimize", "manual", &err));
  CHECK_RC(VECDB_NOTFOUND, vdb_schema_set_option(s, "optimze", "manual",
                                                 &err));
  CHECK_STR("unknown table option \"optimze\"; did you mean \"optimize\"",
            vdb_error_text(&err));
  CHECK_RC(VECDB_NOTFOUND, vdb_schema_set_option(s, "file", "'x'", &err));
  CHECK_RC(VECDB_RANGE, vdb_schema_set_option(s, "recall", "1.5", &err));
  CHECK_STR("recall is 1.5, expected 0.001..1",
            vdb_error_text(&err));
  CHECK_RC(VECDB_SYNTAX, vdb_schema_set_option(s, "ef", "5 6", &err));
  REQUIRE_RC(VECDB_OK, vdb_schema_print(s, true, &z));
  CHECK_STR("v float[2], optimize=manual, ef=77", z);
  vdb_free(z);
  vdb_schema_destroy(s);
}

/* Any text either fails or has a canonical form that parses to itself. */
TEST(schema__survives_mutilated_text){
  static const char seed_text[] =
    "id integer primary key, v float[8] distance_metric=cosine "
    "index=graph(r=64,nav=pca:4) recall=0.9, \"w x\" bit[16] INDEXED BY "
    "rescore(quantizer=bit), c text partition key, s text not null, "
    "+x blob, file='a''b', optimize=commit, merge_rows=10 -- end";
  struct vdb_rng rng;
  int n_ok = 0;

  vdb_rng_init(&rng, vt_seed());
  for(int i=0; i<20000; i++){
    struct vdb_err err = { 0, "" };
    char text[sizeof(seed_text)], *z, *again;
    memcpy(text, seed_text, sizeof(text));
    for(uint32_t k=vdb_rng_below(&rng, 3); k>0; k--){
      uint32_t at = vdb_rng_below(&rng, sizeof(text)-1);
      text[at] = vdb_rng_below(&rng, 2) ?
          seed_text[vdb_rng_below(&rng, sizeof(text)-1)] :
          (char)vdb_rng_below(&rng, 256);
    }
    if( vdb_rng_below(&rng, 4)==0 ){
      text[vdb_rng_below(&rng, sizeof(text))] = 0;
    }
    z = canonical(text, &err);
    if( z==NULL ) continue;
    n_ok++;
    again = canonical(z, &err);
    if( !CHECK_STR(z, again ? again : vdb_error_text(&err)) ) return;
    vdb_free(z);
    vdb_free(again);
  }
  CHECK(n_ok>1000);
}

TEST(schema__fails_cleanly_without_memory){
  static const char text[] = "id text primary key, v float[8] recall=0.9, "
    "c text partition key, +x blob, file='x'";
  uint64_t n = 1;

  for(;; n++){
    struct vdb_err err = { 0, "" };
    struct schema *s = NULL;
    struct vdb_mem_stats before, after;
    uint64_t n_failed;
    int rc;
    vdb_mem_stats(&before);
    vdb_mem_fail_at(n, false);
    rc = vdb_schema_parse(text, &err, &s);
    n_failed = vdb_mem_fail_at(0, false);
    vdb_schema_destroy(s);
    vdb_mem_stats(&after);
    REQUIRE_U64(before.sz_now, after.sz_now);
    if( n_failed==0 ){
      CHECK_RC(VECDB_OK, rc);
      break;
    }
    REQUIRE_RC(VECDB_NOMEM, rc);
  }
  CHECK(n>5);
}
