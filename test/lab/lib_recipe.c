/* lib_recipe.c -- small databases as bytes. See lib_recipe.h. */
#include <stdio.h>
#include <stdlib.h>

#include "lab/lib_layer.h"
#include "lab/lib_recipe.h"
#include "util/rng.h"

enum { N_COLUMN_MAX = 40 };

struct recipe {
  const char *name, *schema;
  int n_row;                       /* put before the first checkpoint */
  bool is_merged, has_holes;       /* optimized; rows deleted and replaced */
  bool has_more;                   /* and half as many rows added, optimized */
};

static const struct recipe recipes[] = {
  { "empty", "v float[4]", 0, false, false, false },
  { "delta", "id integer primary key, v float[4], n int, s text, +x blob",
    20, false, true, false },
  { "merged", "id integer primary key, v float[4], n int, s text, r real, "
    "b boolean, p integer partition key, +x blob", 60, true, true, false },
  { "words", "w text primary key, v int8[16], u bit[64] distance_metric="
    "hamming, n int not null", 40, true, false, false },
  { "halves", "v float16[8] distance_metric=cosine, w bfloat16[4] "
    "distance_metric=ip, n int", 40, true, true, false },
  { "codes", "id integer primary key, v float[96] index=flat, n int", 80, true,
    true, false },
  { "graph", "id integer primary key, v float[8] index=graph(r=32), n int",
    260, true, false, false },
  { "graph_nav", "wave float[72] distance_metric=cosine "
    "index=graph(r=32, nav=truncate:64)", 260, true, true, false },
  { "graph_bytes", "id integer primary key, whole float[16] index=graph(r=32)",
    520, true, true, false },      /* enough that searches walk it */
  { "graph_bits", "id integer primary key, u bit[200] distance_metric=jaccard "
    "index=graph(r=32)", 260, true, true, false },
  { "graph_grown", "id integer primary key, wave float[16] "
    "index=graph(r=32), merge_rows=100", 260, true, true, true },
};

size_t recipe_n(void){ return VDB_ARRAY_LEN(recipes); }
const char *recipe_name(size_t i){ return recipes[i].name; }

static void must(int rc){
  if( rc!=VECDB_OK ) abort();
}

static void rc_must(vecdb *db, int rc, const char *doing){
  if( rc==VECDB_OK || rc==VECDB_DONE ) return;
  fprintf(stderr, "recipe: %s: %s\n", doing, vecdb_errmsg(db));
  abort();
}

/* Elements of any bytes; by the column's name, floats as they are met in life
** ("wave") or integers among floats ("whole"). */
static void vector_bind(vecdb_stmt *s, int i, const vecdb_column_info *info,
                        uint64_t x){
  uint8_t v[512];
  float f[128];
  size_t n = vdb_min_sz(info->dims, VDB_ARRAY_LEN(f));
  for(size_t k=0; k<sizeof(v); k++) v[k] = (uint8_t)(vdb_mix64(x+k) % 60);
  for(size_t k=0; k<n; k++){
    f[k] = strcmp(info->name, "whole")==0 ? (float)v[k]
         : (float)((int)(vdb_mix64(x+k) % 2001) - 1000)/1024;
  }
  if( strcmp(info->name, "wave")==0 || strcmp(info->name, "whole")==0 ){
    vecdb_bind_vector(s, i, VECDB_F32, f, 4*n, VECDB_TRANSIENT);
  }else{
    vecdb_bind_vector(s, i, (int)info->element, v, info->vector_bytes,
                      VECDB_TRANSIENT);
  }
}

void recipe_bind(vecdb_collection *c, vecdb_stmt *s, int key, uint64_t x){
  for(int i=0; i<vecdb_column_count(c); i++){
    vecdb_column_info info = { .size = sizeof(info) };
    char z[64];
    vecdb_column_describe(c, i, &info);
    x = vdb_mix64(x + 1);
    snprintf(z, sizeof(z), "word %d%s", i ? (int)(x % 7) : key,
             x % 3 ? "" : ", and so long that no cell holds it");
    if( info.type==VECDB_VECTOR ){
      vector_bind(s, i, &info, x);
    }else if( info.type==VECDB_BLOB ){
      vecdb_bind_blob(s, i, z, strlen(z), VECDB_TRANSIENT);
    }else if( info.type==VECDB_TEXT ){
      vecdb_bind_text(s, i, z, (size_t)-1, VECDB_TRANSIENT);
    }else if( i==0 ){
      vecdb_bind_int64(s, 0, key);
    }else if( info.type==VECDB_REAL ){
      vecdb_bind_double(s, i, (double)(x % 100)/8);
    }else if( x % 5 || info.not_null ){
      vecdb_bind_int64(s, i, info.type==VECDB_BOOLEAN ? (int64_t)(x & 1)
                                                      : (int64_t)(x % 9));
    }else{
      vecdb_bind_null(s, i);
    }
  }
}

static void rows_put(vecdb *db, vecdb_collection *c, int lo, int hi){
  vecdb_stmt *s = NULL;
  rc_must(db, vecdb_prepare_insert(c, VECDB_OR_REPLACE, &s), "insert");
  for(int k=lo; k<hi; k++){
    recipe_bind(c, s, k, (uint64_t)k*7919);
    rc_must(db, vecdb_step(s), "insert");
  }
  rc_must(db, vecdb_finalize(s), "insert");
}

static void rows_delete(vecdb *db, vecdb_collection *c, int lo, int hi){
  vecdb_stmt *s = NULL;
  rc_must(db, vecdb_prepare_delete(c, &s), "delete");
  for(int k=lo; k<hi; k++){
    rc_must(db, vecdb_bind_int64(s, VECDB_KEY, k), "delete");
    rc_must(db, vecdb_step(s), "delete");
  }
  rc_must(db, vecdb_finalize(s), "delete");
}

/* checkpoint: the store has a log. */
static void recipe_follow(const struct recipe *r, vecdb *db, bool checkpoint,
                          bool with_log){
  vecdb_optimize_options all = { .size = sizeof(all),
                                 .flags = VECDB_OPTIMIZE_ALL };
  vecdb_collection *c = NULL;
  int n_row = r->n_row;
  rc_must(db, vecdb_create_collection(db, "t", r->schema), r->schema);
  rc_must(db, vecdb_collection_open(db, "t", &c), "open");
  rc_must(db, vecdb_begin(db, VECDB_WRITE), "begin");
  rows_put(db, c, 1, n_row + 1);
  rc_must(db, vecdb_commit(db), "commit");
  if( r->is_merged ) rc_must(db, vecdb_optimize(c, &all), "optimize");
  if( checkpoint ){
    rc_must(db, vecdb_checkpoint(db, VECDB_CHECKPOINT_TRUNCATE, NULL, NULL),
            "checkpoint");
  }
  if( r->has_holes ){
    /* A commit each; in a log, which is to be short, one together. */
    if( with_log ) rc_must(db, vecdb_begin(db, VECDB_WRITE), "begin");
    rows_delete(db, c, 3, 6);
    rows_put(db, c, 5, 9);
    if( with_log ) rc_must(db, vecdb_commit(db), "commit");
  }
  if( r->has_more ){
    rows_put(db, c, n_row + 1, n_row + n_row/2 + 1);
    n_row += n_row/2;
    rc_must(db, vecdb_optimize(c, NULL), "optimize");
  }
  if( with_log ){
    rows_put(db, c, n_row + 1, n_row + 4);
    rc_must(db, vecdb_create_collection(db, "late", "v float[2]"), "create");
  }
}

void recipe_follow_in(size_t i, vecdb *db){
  recipe_follow(&recipes[i], db, false, false);
}

static void world_peek(struct vecdb_file_ops *mem, const char *path,
                       uint8_t **p, size_t *n){
  const unsigned char *bytes = NULL;
  *p = NULL;
  *n = 0;
  if( vdb_file_mem_peek(mem, path, &bytes, n)!=VECDB_OK ) return;
  *p = lab_alloc(*n + 1);
  memcpy(*p, bytes, *n);
}

void recipe_make(size_t i, bool with_log, unsigned n_thread,
                 struct file_pair *out){
  vecdb_options o = VECDB_OPTIONS_INIT;
  struct vecdb_file_ops *mem = NULL;
  vecdb *db = NULL;
  must( vdb_file_mem_create(i, &mem) );
  o.file = mem;
  o.fixed_seed = i + 1;
  o.threads = n_thread;
  must( vecdb_open("x.vdb", VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE, &o,
                      &db) );
  recipe_follow(&recipes[i], db, true, with_log);
  if( !with_log ) must( vecdb_close(db) );
  world_peek(mem, "x.vdb", &out->main, &out->n_main);
  world_peek(mem, "x.vdb-wal", &out->log, &out->n_log);
  if( with_log ) must( vecdb_close(db) );
  vdb_file_mem_destroy(mem);
}

void recipe_free(struct file_pair *f){
  free(f->main);
  free(f->log);
}
