/* t_golden.c -- bytes that must not change by accident: a fixed program writes
** the same file on every kernel set and number of threads, and files that an
** earlier version wrote are read, examined, written and merged.
**
** test/golden/hashes has lines "NAME HASH" of recipes (lib_recipe.c) whose bytes
** are pinned; the bytes of the others, whose index is still being worked on,
** must be the same on all kernel sets and numbers of threads. The
** files in test/golden/v1 were written by version 0.1.0, and the digest of
** their rows is in v1/digests. A change of bytes that is meant goes under Format
** in the changelog; `make golden` then writes the hashes that are there anew. Files of versions
** that were released are never written again. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/api.h"
#include "lab/lib_layer.h"
#include "lab/lib_recipe.h"
#include "simd/simd.h"

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

TEST(golden__a_program_writes_the_same_bytes_everywhere){
  static const char *const paths[] = { "scalar", "avx2", "avx512", "neon" };
  bool is_writing = getenv("VECDB_GOLDEN_WRITE")!=NULL;
  for(size_t i=0; i<recipe_n(); i++){
    const char *pinned = word_of("hashes", recipe_name(i));
    char want[20] = "";
    if( pinned && !is_writing ) snprintf(want, sizeof(want), "%s", pinned);
    for(size_t p=0; p<sizeof(paths)/sizeof(paths[0]); p++){
      const char *got;
      if( vdb_simd_select(paths[p])!=VECDB_OK ) continue;
      got = hash_text(recipe_hash(i, 1 + (unsigned)p));
      if( want[0]==0 ) snprintf(want, sizeof(want), "%s", got);
      if( strcmp(want, got)!=0 ){
        FAIL("%s on %s: the bytes hash to %s, expected %s%s", recipe_name(i),
             paths[p], got, want, pinned ? "; if that is meant, say so under "
             "Format in CHANGELOG.md and run `make golden`" : "");
      }
    }
    if( is_writing && pinned ) printf("golden %s %s\n", recipe_name(i), want);
  }
}

/* ---- files of earlier versions --------------------------------------------------- */

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
    "empty", "delta", "merged", "words", "halves", "codes"
  };
  for(size_t i=0; i<sizeof(names)/sizeof(names[0]); i++){
    file_live("v1", names[i]);
  }
}
