/* lib_files.c -- small databases as bytes. See lib_files.h. */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz/lib_files.h"
#include "lab/lib_layer.h"

enum { N_ROW_MAX = 600, N_COLUMN_MAX = 40, N_SHOWN = 50 };

/* ---- making them ------------------------------------------------------------------ */

struct recipe {
  const char *name, *schema;
  int n_row;                       /* put before the first checkpoint */
  bool is_merged, has_holes;       /* optimized; rows deleted and replaced */
};

static const struct recipe recipes[] = {
  { "empty", "v float[4]", 0, false, false },
  { "delta", "id integer primary key, v float[4], n int, s text, +x blob",
    20, false, true },
  { "merged", "id integer primary key, v float[4], n int, s text, r real, "
    "b boolean, p integer partition key, +x blob", 60, true, true },
  { "words", "w text primary key, v int8[16], u bit[64] distance_metric="
    "hamming, n int not null", 40, true, false },
  { "halves", "v float16[8] distance_metric=cosine, w bfloat16[4] "
    "distance_metric=ip, n int", 40, true, true },
  { "graph", "id integer primary key, v float[8] index=graph(r=32), n int",
    260, true, false },
  { "graph_nav", "v float[64] distance_metric=cosine "
    "index=graph(nav=truncate:64)", 270, true, true },
};

size_t files_n(void){ return VDB_ARRAY_LEN(recipes); }
const char *files_name(size_t i){ return recipes[i].name; }

static void rc_must(vecdb *db, int rc, const char *doing){
  if( rc==VECDB_OK || rc==VECDB_DONE ) return;
  fprintf(stderr, "seed: %s: %s\n", doing, vecdb_errmsg(db));
  abort();
}

/* Columns by type, from a stamp; key 0: the database gives one. */
static void row_bind(vecdb_collection *c, vecdb_stmt *s, int key, uint64_t x){
  for(int i=0; i<vecdb_column_count(c); i++){
    vecdb_column_info info = { .size = sizeof(info) };
    char z[64];
    vecdb_column_describe(c, i, &info);
    x = vdb_mix64(x + 1);
    snprintf(z, sizeof(z), "word %d%s", i ? (int)(x % 7) : key,
             x % 3 ? "" : ", and so long that no cell holds it");
    if( info.type==VECDB_VECTOR ){
      uint8_t v[512];
      for(size_t k=0; k<sizeof(v); k++) v[k] = (uint8_t)(vdb_mix64(x+k) % 60);
      vecdb_bind_vector(s, i, (int)info.element, v, info.vector_bytes,
                        VECDB_TRANSIENT);
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
    row_bind(c, s, k, (uint64_t)k*7919);
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

static void recipe_follow(const struct recipe *r, vecdb *db, bool with_log){
  vecdb_optimize_options all = { sizeof(all), VECDB_OPTIMIZE_ALL };
  vecdb_collection *c = NULL;
  rc_must(db, vecdb_create_collection(db, "t", r->schema), r->schema);
  rc_must(db, vecdb_collection_open(db, "t", &c), "open");
  rc_must(db, vecdb_begin(db, VECDB_WRITE), "begin");
  rows_put(db, c, 1, r->n_row + 1);
  rc_must(db, vecdb_commit(db), "commit");
  if( r->is_merged ) rc_must(db, vecdb_optimize(c, &all), "optimize");
  rc_must(db, vecdb_checkpoint(db, VECDB_CHECKPOINT_TRUNCATE, NULL, NULL),
          "checkpoint");
  if( r->has_holes ){
    rows_delete(db, c, 3, 6);
    rows_put(db, c, 5, 9);
  }
  if( with_log ){
    rows_put(db, c, r->n_row + 1, r->n_row + 4);
    rc_must(db, vecdb_create_collection(db, "late", "v float[2]"), "create");
  }
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

void files_make(size_t i, bool with_log, struct file_pair *out){
  vecdb_options o = VECDB_OPTIONS_INIT;
  struct vecdb_file_ops *mem = NULL;
  vecdb *db = NULL;
  FUZZ_OK( vdb_file_mem_create(i, &mem) );
  o.file = mem;
  o.fixed_seed = i + 1;
  o.threads = 1;
  FUZZ_OK( vecdb_open("x.vdb", VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE, &o,
                      &db) );
  recipe_follow(&recipes[i], db, with_log);
  if( !with_log ) FUZZ_OK( vecdb_close(db) );
  world_peek(mem, "x.vdb", &out->main, &out->n_main);
  world_peek(mem, "x.vdb-wal", &out->log, &out->n_log);
  if( with_log ) FUZZ_OK( vecdb_close(db) );
  vdb_file_mem_destroy(mem);
}

void files_free(struct file_pair *f){
  free(f->main);
  free(f->log);
}

/* ---- using them ------------------------------------------------------------------- */

struct vecdb_file_ops *files_world(const struct file_pair *f){
  struct vecdb_file_ops *mem = NULL;
  FUZZ_OK( vdb_file_mem_create(4, &mem) );
  FUZZ_OK( vdb_file_mem_poke(mem, "x.vdb", f->main, f->n_main) );
  if( f->log ){
    FUZZ_OK( vdb_file_mem_poke(mem, "x.vdb-wal", f->log, f->n_log) );
  }
  vdb_file_mem_limit(mem, 16<<20);     /* a size in the bytes may be a lie */
  return mem;
}

static bool clean(vecdb *db, int rc, const char *doing){
  return fuzz_clean(rc, doing, vecdb_errmsg(db));
}

vecdb *files_open(struct vecdb_file_ops *ops, uint64_t how){
  vecdb_options o = VECDB_OPTIONS_INIT;
  vecdb *db = NULL;
  o.file = ops;
  o.cache_bytes = 1<<20;
  o.threads = 1;
  o.no_mmap = how & 1;
  o.fixed_seed = 5;
  if( clean(db, vecdb_open("x.vdb", VECDB_OPEN_READWRITE, &o, &db), "open") ){
    return db;
  }
  FUZZ_OK( vecdb_close(db) );
  return NULL;
}

/* All columns of the row under s, into the hash. */
static uint64_t row_hash(vecdb_stmt *s, int n_col, uint64_t h, int *rc){
  for(int i=0; i<n_col && i<N_COLUMN_MAX; i++){
    size_t n = 0;
    const void *p = NULL;
    int type = vecdb_column_type(s, i);
    if( type==VECDB_VECTOR ){
      p = vecdb_column_vector(s, i, &n);
    }else if( type!=VECDB_NULL ){
      p = vecdb_column_blob(s, i);
      n = vecdb_column_bytes(s, i);
    }
    h = lab_hash(h + (uint64_t)type, p ? p : "", p ? n : 0);
  }
  if( vecdb_column_errcode(s)!=VECDB_OK ) *rc = vecdb_column_errcode(s);
  return h;
}

struct rows { uint64_t n, hash, keys; int rc; char msg[200]; };

static void rows_of(vecdb *db, vecdb_stmt *s, struct rows *out){
  int n_col = vecdb_column_count(vecdb_stmt_collection(s));
  int rc;
  memset(out, 0, sizeof(*out));
  out->hash = (uint64_t)n_col;
  while( (rc = vecdb_step(s))==VECDB_ROW && out->n<N_ROW_MAX ){
    const void *key = vecdb_column_blob(s, 0);
    size_t n_key = vecdb_column_bytes(s, 0);
    if( key ) out->keys += lab_hash(n_key, key, n_key);   /* in any order */
    out->hash = row_hash(s, n_col, out->hash, &out->rc);
    out->n++;
  }
  if( rc==VECDB_ROW ) rc = VECDB_FULL;       /* more than anybody put there */
  if( rc!=VECDB_DONE ) out->rc = rc;
  if( !clean(db, out->rc, "reading rows") ){
    snprintf(out->msg, sizeof(out->msg), "%s", vecdb_errmsg(db));
  }
}

static void scan(vecdb *db, vecdb_collection *c, const char *filter,
                 struct rows *out){
  vecdb_stmt *s = NULL;
  memset(out, 0, sizeof(*out));
  out->rc = vecdb_prepare_scan(c, filter, &s);
  if( clean(db, out->rc, "preparing a scan") ) rows_of(db, s, out);
  vecdb_finalize(s);
}

static int vector_column(vecdb_collection *c, vecdb_column_info *info){
  for(int i=0; i<vecdb_column_count(c) && i<N_COLUMN_MAX; i++){
    memset(info, 0, sizeof(*info));
    info->size = sizeof(*info);
    if( vecdb_column_describe(c, i, info)==VECDB_OK
     && info->type==VECDB_VECTOR ) return i;
  }
  return -1;
}

static void search(vecdb *db, vecdb_collection *c, uint32_t flags, uint64_t k,
                   const char *filter, struct rows *out){
  static const uint8_t zeros[8*65536];
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_column_info info;
  vecdb_stmt *s = NULL;
  memset(out, 0, sizeof(*out));
  o.column = vector_column(c, &info);
  out->rc = VECDB_NOTFOUND;
  if( o.column<0 ) return;
  o.flags = flags;
  o.k = k;
  o.filter = filter;
  out->rc = vecdb_prepare_search(c, &o, &s);
  if( clean(db, out->rc, "preparing a search") ){
    out->rc = vecdb_bind_vector(s, VECDB_QUERY, (int)info.element, zeros,
                                info.vector_bytes, VECDB_STATIC);
    if( clean(db, out->rc, "binding a query") ) rows_of(db, s, out);
  }
  vecdb_finalize(s);
}

struct names { char name[8][256]; int n; };

static int name_keep(void *arg, const char *name, const char *schema){
  struct names *l = arg;
  VDB_UNUSED(schema);
  snprintf(l->name[l->n], sizeof(l->name[0]), "%s", name);
  return ++l->n==8;
}

static bool names_list(vecdb *db, struct names *l){
  l->n = 0;
  return clean(db, vecdb_list_collections(db, name_keep, l), "listing");
}

uint64_t files_digest(vecdb *db, int *rc_out){
  struct names l;
  uint64_t h = 0;
  *rc_out = VECDB_OK;
  if( !names_list(db, &l) ) *rc_out = VECDB_CORRUPT;
  for(int i=0; i<l.n; i++){
    vecdb_collection *c = NULL;
    struct rows r;
    int rc = vecdb_collection_open(db, l.name[i], &c);
    h = lab_hash(h, l.name[i], strlen(l.name[i]));
    if( !clean(db, rc, "opening a collection") ){
      *rc_out = rc;
      continue;
    }
    scan(db, c, NULL, &r);
    if( r.rc!=VECDB_OK ) *rc_out = r.rc;
    h = vdb_mix64(h + r.hash);
    vecdb_collection_close(c);
  }
  return h;
}

static void collection_write(vecdb *db, vecdb_collection *c){
  vecdb_stmt *s = NULL;
  int rc = vecdb_prepare_insert(c, VECDB_OR_REPLACE, &s);
  if( clean(db, rc, "preparing an insert") ){
    vecdb_column_info info;
    /* A column may be of any size here; those of our seeds can be filled. */
    if( vector_column(c, &info)>=0 && info.vector_bytes<=512 ){
      for(int k=4; k<12; k+=3){
        row_bind(c, s, k, (uint64_t)k);
        clean(db, vecdb_step(s), "insert");
      }
    }
  }
  vecdb_finalize(s);
  s = NULL;
  if( clean(db, vecdb_prepare_delete(c, &s), "preparing a delete") ){
    if( vecdb_bind_int64(s, VECDB_KEY, 2)==VECDB_OK ){
      clean(db, vecdb_step(s), "delete");
    }
  }
  vecdb_finalize(s);
}

/* With a sound file, nothing may say otherwise. */
static void collection_use(vecdb *db, const char *name, uint64_t how,
                           bool is_sound){
  vecdb_collection_stats st = { .size = sizeof(st) };
  vecdb_collection *c = NULL;
  struct rows all, found;
  int rc = vecdb_collection_open(db, name, &c);
  if( !clean(db, rc, "opening a collection") ){
    if( is_sound && rc!=VECDB_FORMAT ){
      fuzz_fail("check found nothing, opening \"%s\": %s", name,
                vecdb_errmsg(db));
    }
    return;
  }
  clean(db, vecdb_collection_stat(c, &st), "stat");
  scan(db, c, NULL, &all);
  if( is_sound && all.rc!=VECDB_OK && all.n<N_ROW_MAX ){
    fuzz_fail("check found nothing, a scan: %s", all.msg);
  }
  if( all.rc==VECDB_OK && all.n>0 && (how & 2) ){
    search(db, c, VECDB_SEARCH_EXACT, all.n + 10, NULL, &found);
    if( is_sound && found.rc!=VECDB_NOTFOUND
     && (found.rc!=VECDB_OK || found.n!=all.n || found.keys!=all.keys) ){
      fuzz_fail("check found nothing; a search for all %d rows: %s %s, %d rows",
                (int)all.n, vecdb_errname(found.rc), found.msg, (int)found.n);
    }
  }
  search(db, c, 0, 5, how & 4 ? "n > 3 AND s LIKE 'w%' OR n IS NULL" : NULL,
         &found);
  if( how & 8 ) scan(db, c, "n IN (1,2,3)", &found);
  if( how & 16 ) collection_write(db, c);
  if( how%32==0 ) clean(db, vecdb_optimize(c, NULL), "optimize");
  vecdb_collection_close(c);
}

void files_use(vecdb *db, uint64_t how){
  struct names l;
  int rc = vecdb_check(db, 0, NULL, NULL);
  bool is_sound = clean(db, rc, "check");
  names_list(db, &l);
  for(int i=0; i<l.n; i++) collection_use(db, l.name[i], how>>i, is_sound);
  if( how & 64 ){
    clean(db, vecdb_checkpoint(db, VECDB_CHECKPOINT_TRUNCATE, NULL, NULL),
          "checkpoint");
  }
  if( (how & 0x180)==0x180 ) clean(db, vecdb_vacuum(db), "vacuum");
  if( (how & 0x600)==0x600 ) clean(db, vecdb_backup(db, "y.vdb"), "backup");
  if( how & 16 ) clean(db, vecdb_check(db, 1, NULL, NULL), "check again");
}
