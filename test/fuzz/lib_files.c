/* lib_files.c -- bytes that claim to be a database, used. See lib_files.h. */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz/lib_files.h"
#include "lab/lib_layer.h"

enum { N_ROW_MAX = 600, N_COLUMN_MAX = 40 };

void files_each_recipe(bool with_log,
                       void (*fn)(const char *name,
                                  const struct file_pair *)){
  for(size_t i=0; i<recipe_n(); i++){
    struct file_pair f;
    recipe_make(i, with_log, 1, &f);
    fn(recipe_name(i), &f);
    recipe_free(&f);
  }
}

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
  o.ef = flags & VECDB_SEARCH_EXACT ? 0 : 8;   /* so little that even a small
                                               ** graph is worth a walk */
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
        recipe_bind(c, s, k, (uint64_t)k);
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
  if( (how>>40)%128==0 ) clean(db, vecdb_optimize(c, NULL), "optimize");
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
  if( (how>>20)%128==0 ) clean(db, vecdb_vacuum(db), "vacuum");
  if( (how>>30)%64==0 ) clean(db, vecdb_backup(db, "y.vdb"), "backup");
  if( how & 16 ) clean(db, vecdb_check(db, 1, NULL, NULL), "check again");
}
