/* api.h -- what the tests of the public interface share. */
#ifndef API_H
#define API_H
#include <math.h>

#include "vt.h"

/* The call succeeds, else the test fails with the handle's sentence. */
#define OK(db, call) \
  api_rc((db), VECDB_OK, (call), #call, __FILE__, __LINE__)
#define DONE(db, call) \
  api_rc((db), VECDB_DONE, (call), #call, __FILE__, __LINE__)
#define ROW(db, call) \
  api_rc((db), VECDB_ROW, (call), #call, __FILE__, __LINE__)
/* The call fails with the code and exactly this sentence. */
#define REFUSES(db, rc, sentence, call) do{ \
  int rc_call_ = (call);                 /* first: it may set db */ \
  api_refuses((db), (rc), (sentence), rc_call_, #call, __FILE__, __LINE__); \
}while(0)

static inline bool api_rc(vecdb *db, int want, int rc, const char *text,
                          const char *file, int line){
  if( rc==want ) return true;
  return vt_fail(file, line, "%s is %s, expected %s: %s", text,
                 vecdb_errname(rc), vecdb_errname(want), vecdb_errmsg(db));
}

static inline bool api_refuses(vecdb *db, int want, const char *sentence,
                               int rc, const char *text, const char *file,
                               int line){
  const char *z = vecdb_errmsg(db);
  if( rc!=want ){
    return vt_fail(file, line, "%s is %s, expected %s: %s", text,
                   vecdb_errname(rc), vecdb_errname(want), z);
  }
  if( vecdb_errcode(db)!=rc ){
    return vt_fail(file, line, "vecdb_errcode is %d after %s, which gave %d",
                   vecdb_errcode(db), text, rc);
  }
  return vt_str(sentence, z, text, file, line);
}

static inline vecdb *api_open(const char *path, const vecdb_options *opt){
  vecdb *db = NULL;
  int rc = vecdb_open(path, VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE, opt, &db);
  if( !OK(db, rc) ) vt_stop();
  return db;
}

static inline vecdb *api_memory(void){
  vecdb *db = NULL;
  int rc = vecdb_open(":memory:", VECDB_OPEN_MEMORY, NULL, &db);
  if( !OK(db, rc) ) vt_stop();
  return db;
}

static inline vecdb_collection *api_collection(vecdb *db, const char *name,
                                               const char *schema){
  vecdb_collection *c = NULL;
  if( schema && !OK(db, vecdb_create_collection(db, name, schema)) ) vt_stop();
  if( !OK(db, vecdb_collection_open(db, name, &c)) ) vt_stop();
  return c;
}

static inline vecdb_stmt *api_insert(vecdb_collection *c){
  vecdb_stmt *s = NULL;
  if( !OK(vecdb_collection_db(c), vecdb_prepare_insert(c, 0, &s)) ) vt_stop();
  return s;
}

/* Rows (key, json) of a collection with the columns key, vector. */
static inline void api_put(vecdb_collection *c, int64_t key,
                           const char *json){
  vecdb *db = vecdb_collection_db(c);
  vecdb_stmt *s = api_insert(c);
  OK(db, vecdb_bind_int64(s, 0, key));
  OK(db, vecdb_bind_vector_text(s, 1, json, (size_t)-1));
  DONE(db, vecdb_step(s));
  OK(db, vecdb_finalize(s));
}

/* The keys that the statement returns, as "1 2 3 "; its last result in *rc. */
static inline const char *api_keys(vecdb_stmt *s, int *rc){
  static char buf[4096];
  size_t n = 0;
  buf[0] = 0;
  while( (*rc = vecdb_step(s))==VECDB_ROW && n<sizeof(buf)-64 ){
    n += (size_t)snprintf(buf+n, sizeof(buf)-n, "%.40s ",
                          vecdb_column_text(s, 0));
  }
  return buf;
}
#define KEYS(db, want, s) do{ \
  int rc_keys_; \
  const char *got_keys_ = api_keys((s), &rc_keys_); \
  DONE((db), rc_keys_); \
  CHECK_STR((want), got_keys_); \
}while(0)

#endif
