/* t_golden.c -- bytes that must not change by accident: a fixed program writes
** the same file on every kernel set and number of threads, and files that an
** earlier version wrote are read, examined, written and merged.
**
** test/golden/hashes has a line "NAME HASH" for each recipe (lib_recipe.c): its
** bytes are pinned, those of graphs and codes too. The files in test/golden/v1 were written by version 0.1.0, and the digest of
** their rows is in v1/digests. A change of bytes that is meant goes under Format
** in the changelog; `make golden` then writes the hashes that are there anew. Files of versions
** that were released are never written again. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/api.h"
#include "lab/lib_layer.h"
#include "lab/lib_recipe.h"
#include "pager/format.h"
#include "simd/simd.h"
#include "util/bytes.h"
#include "util/crc32c.h"

static const char folder[] = VDB_SRCDIR "/test/golden";

/* The word after `name` in a file of lines "NAME WORD"; NULL: no such line. */
static const char *word_of(const char *file, const char *name){
  static char word[100];
  char path[4096], found[100];
  bool is_found = false;
  FILE *f;
  snprintf(path, sizeof(path), "%s/%s", folder, file);
  f = fopen(path, "r");
  if( !f ) return NULL;
  while( !is_found && fscanf(f, "%99s %99s", found, word)==2 ){
    is_found = strcmp(found, name)==0;
  }
  fclose(f);
  return is_found ? word : NULL;
}

static const char *hash_text(uint64_t h){
  static char z[20];
  snprintf(z, sizeof(z), "%016llx", (unsigned long long)h);
  return z;
}

static uint64_t recipe_hash(size_t i, unsigned n_thread){
  struct file_pair f;
  uint64_t h;
  recipe_make(i, false, n_thread, &f);
  h = lab_hash(f.n_main, f.main, f.n_main);
  recipe_free(&f);
  return h;
}

/* Each kernel set with another number of threads, and those of the first with
** each. */
TEST(golden__a_program_writes_the_same_bytes_everywhere){
  static const struct { const char *path; unsigned n_thread; } how[] = {
    { "scalar", 1 }, { "scalar", 2 }, { "scalar", 8 }, { "avx2", 2 },
    { "avx512", 8 }, { "neon", 2 } };
  bool is_writing = getenv("VECDB_GOLDEN_WRITE")!=NULL;
  for(size_t i=0; i<recipe_n(); i++){
    const char *pinned = is_writing ? NULL
                                    : word_of("hashes", recipe_name(i));
    char want[20] = "";
    if( pinned ) snprintf(want, sizeof(want), "%s", pinned);
    else if( !is_writing ) FAIL("%s is not pinned: `make golden`",
                                recipe_name(i));
    for(size_t p=0; p<VDB_ARRAY_LEN(how); p++){
      const char *got;
      if( vdb_simd_select(how[p].path)!=VECDB_OK ) continue;
      got = hash_text(recipe_hash(i, how[p].n_thread));
      if( want[0]==0 ) snprintf(want, sizeof(want), "%s", got);
      if( strcmp(want, got)!=0 ){
        FAIL("%s on %s, %u threads: the bytes hash to %s, expected %s; if that "
             "is meant, say so under Format in CHANGELOG.md and run `make "
             "golden`", recipe_name(i), how[p].path, how[p].n_thread, got,
             want);
      }
    }
    if( is_writing ) printf("golden %s %s\n", recipe_name(i), want);
  }
}

/* ---- files of earlier versions ------------------------------------------- */

static uint64_t rows_digest(vecdb *db, vecdb_collection *c){
  vecdb_stmt *s = NULL;
  uint64_t h = 0;
  int rc;
  OK(db, vecdb_prepare_scan(c, NULL, &s));
  while( (rc = vecdb_step(s))==VECDB_ROW ){
    for(int i=0; i<vecdb_column_count(c); i++){
      int type = vecdb_column_type(s, i);
      size_t n = vecdb_column_bytes(s, i);
      const void *p = type==VECDB_VECTOR ? vecdb_column_vector(s, i, &n)
                                         : vecdb_column_blob(s, i);
      h = lab_hash(h + (uint64_t)type, p ? p : "", p ? n : 0);
    }
  }
  DONE(db, rc);
  OK(db, vecdb_finalize(s));
  return h;
}

static void file_copy(const char *from, const char *to){
  char buf[4096];
  size_t n;
  FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
  REQUIRE( in!=NULL && out!=NULL );
  while( (n = fread(buf, 1, sizeof(buf), in))>0 ) fwrite(buf, 1, n, out);
  fclose(in);
  REQUIRE( fclose(out)==0 );
}

/* Number of the vector column "v", "wave" or "whole", and what is known of it. */
static int graph_column(vecdb_collection *c, vecdb_column_info *info){
  for(int i=0; i<vecdb_column_count(c); i++){
    memset(info, 0, sizeof(*info));
    info->size = sizeof(*info);
    OK(vecdb_collection_db(c), vecdb_column_describe(c, i, info));
    if( info->type==VECDB_VECTOR ) return i;
  }
  FAIL("no vector column");
  return -1;
}

enum { GOLDEN_K = 5, GOLDEN_QUERIES = 40 };

/* The distances of an answer, and whether a graph gave it. */
static bool graph_answer(vecdb_collection *c, const vecdb_column_info *info,
                         const void *query, uint32_t flags, double *out){
  vecdb *db = vecdb_collection_db(c);
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_search_info si = { .size = sizeof(si) };
  vecdb_stmt *s = NULL;
  o.flags = flags;
  o.ef = 8;                     /* more would cost as much as all rows */
  o.k = GOLDEN_K;
  OK(db, vecdb_prepare_search(c, &o, &s));
  OK(db, vecdb_bind_vector(s, VECDB_QUERY, (int)info->element, query,
                           info->vector_bytes, VECDB_STATIC));
  for(int i=0; i<GOLDEN_K; i++){
    CHECK_RC(VECDB_ROW, vecdb_step(s));
    out[i] = vecdb_row_distance(s);
  }
  OK(db, vecdb_last_search(db, &si));
  OK(db, vecdb_finalize(s));
  return strncmp(si.plan, "graph", 5)==0;
}

/* Its graph is there and finds what a search without it finds; where there are
** enough rows it is also worth a walk. */
static void graph_live(const char *name, vecdb_collection *c){
  vecdb *db = vecdb_collection_db(c);
  vecdb_column_info info;
  vecdb_stmt *s = NULL;
  int column = graph_column(c, &info), n_by_graph = 0, n_same = 0;
  int n_walk = strcmp(name, "graph_bytes")==0 ? GOLDEN_QUERIES : 0;
  CHECK_STR("graph", info.index);
  OK(db, vecdb_prepare_scan(c, NULL, &s));
  for(int i=0; i<GOLDEN_QUERIES; i++){
    double exact[GOLDEN_K], near[GOLDEN_K];
    uint8_t query[512];
    size_t n = 0;
    const void *p;
    CHECK_RC(VECDB_ROW, vecdb_step(s));
    p = vecdb_column_vector(s, column, &n);
    REQUIRE( p!=NULL && n<=sizeof(query) );
    memcpy(query, p, n);
    n_by_graph += graph_answer(c, &info, query, 0, near);
    graph_answer(c, &info, query, VECDB_SEARCH_EXACT, exact);
    for(int k=0; k<GOLDEN_K; k++) n_same += near[k]==exact[k];
  }
  OK(db, vecdb_finalize(s));
  if( n_by_graph<n_walk || n_same*10<GOLDEN_QUERIES*GOLDEN_K*7 ){
    FAIL("%s: %d searches of %d by the graph, %d distances of %d right", name,
         n_by_graph, GOLDEN_QUERIES, n_same, GOLDEN_QUERIES*GOLDEN_K);
  }
}

/* It can be read, and lives on as any other. */
static void file_live(const char *version, const char *name){
  const char *copy = vt_path("copy.vdb"), *want;
  char path[4096];
  vecdb_optimize_options all = { .size = sizeof(all),
                                 .flags = VECDB_OPTIMIZE_ALL };
  vecdb *db;
  vecdb_collection *c;
  vecdb_stmt *s;
  uint64_t digest;
  snprintf(path, sizeof(path), "%s/digests", version);
  want = word_of(path, name);
  snprintf(path, sizeof(path), "%s/%s/%s.vdb", folder, version, name);
  file_copy(path, copy);
  db = api_open(copy, NULL);
  c = api_collection(db, "t", NULL);
  digest = rows_digest(db, c);
  if( getenv("VECDB_GOLDEN_WRITE") ){
    printf("digest %s %s\n", name, hash_text(digest));
  }else{
    CHECK_STR( want, hash_text(digest) );
  }
  OK(db, vecdb_check(db, 0, NULL, NULL));
  if( strncmp(name, "graph", 5)==0 ) graph_live(name, c);
  OK(db, vecdb_optimize(c, &all));
  CHECK_U64( digest, rows_digest(db, c) );
  OK(db, vecdb_prepare_insert(c, VECDB_OR_REPLACE, &s));
  recipe_bind(c, s, 9999, 1);
  DONE(db, vecdb_step(s));
  OK(db, vecdb_finalize(s));
  OK(db, vecdb_check(db, 0, NULL, NULL));
  OK(db, vecdb_close(db));
  unlink(copy);
}

TEST(golden__files_of_version_1_live_on){
  static const char *const names[] = {
    "empty", "delta", "merged", "words", "halves", "codes", "graph",
    "graph_nav", "graph_bytes"
  };
  for(size_t i=0; i<sizeof(names)/sizeof(names[0]); i++){
    file_live("v1", names[i]);
  }
}

/* ---- graphs of versions to come ------------------------------------------ */

static void log_keep(void *arg, int rc, const char *msg){
  snprintf(arg, 300, "%s: %s", vecdb_errname(rc), msg);
}

/* The version in the header of its graph is another, the page right again. */
static void graph_version_set(const char *path, uint32_t version){
  static uint8_t file[1<<20];
  FILE *f = fopen(path, "r+b");
  uint8_t *p, *page;
  uint32_t crc;
  size_t n;
  REQUIRE( f!=NULL );
  n = fread(file, 1, sizeof(file), f);
  p = memmem(file, n, "vdbgraph", 8);
  REQUIRE( p!=NULL && get_u32(p + GRAPHHDR_VERSION)==1 );
  put_u32(p + GRAPHHDR_VERSION, version);
  page = file + (size_t)(p - file)/4096*4096;
  crc = vdb_crc32c(0, page, PAGEHDR_CRC);
  crc = vdb_crc32c(crc, page + PAGEHDR_SIZE, 4096 - PAGEHDR_SIZE);
  put_u32(page + PAGEHDR_CRC, crc);
  rewind(f);
  REQUIRE( fwrite(file, 1, n, f)==n && fclose(f)==0 );
}

TEST(golden__a_graph_of_another_version_is_not_read){
  const char *copy = vt_path("copy.vdb");
  vecdb_optimize_options all = { .size = sizeof(all),
                                 .flags = VECDB_OPTIMIZE_ALL };
  char said[300] = "", path[4096];
  double d[GOLDEN_K];
  vecdb_column_info info;
  vecdb_collection *c;
  vecdb *db;
  float query[8] = { 1 };
  snprintf(path, sizeof(path), "%s/v1/graph.vdb", folder);
  file_copy(path, copy);
  graph_version_set(copy, 2);
  vecdb_config_log(log_keep, said);
  db = api_open(copy, NULL);
  c = api_collection(db, "t", NULL);
  graph_column(c, &info);
  CHECK( !graph_answer(c, &info, query, 0, d) );         /* exact, and right */
  CHECK_STR( "VECDB_FORMAT: collection \"t\": searches are exact until rebuild: "
             "collection \"t\": a graph is of a version that this library does "
             "not know, expected 1; optimize with rebuild makes it anew",
             said );
  CHECK_RC( VECDB_CORRUPT, vecdb_check(db, 0, NULL, NULL) & 0xff );
  CHECK_STR( "flat", info.index );
  OK(db, vecdb_optimize(c, &all));
  graph_column(c, &info);
  CHECK_STR( "graph", info.index );
  OK(db, vecdb_check(db, 0, NULL, NULL));
  OK(db, vecdb_close(db));
  vecdb_config_log(NULL, NULL);
  unlink(copy);
}
