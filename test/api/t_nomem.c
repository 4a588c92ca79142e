/* t_nomem.c -- every allocation may fail, once or for good.
**
** A script of calls runs again and again; in run n the n-th allocation fails.
** A call then says VECDB_NOMEM or succeeds without it; nothing leaks, and
** afterwards the database is sound and holds a row or not, never half of one.
*/
#include "api/api.h"

#include "util/mem.h"

enum { N_ROW = 12 };

/* The script; the first code that is no success ends it. */
#define STEP(call, want) do{ rc = (call); if( rc!=(want) ) goto done; }while(0)

static int fill(vecdb *db, vecdb_collection *c){
  vecdb_stmt *s = NULL;
  int rc;
  STEP( vecdb_prepare_insert(c, VECDB_OR_REPLACE, &s), VECDB_OK );
  for(int i=0; i<N_ROW; i++){
    STEP( vecdb_bind_int64(s, 0, i), VECDB_OK );
    STEP( vecdb_bind_vector_text(s, 1, "[1, 2.5]", (size_t)-1), VECDB_OK );
    STEP( vecdb_bind_text(s, 2, i%2 ? "a text of more than 12 bytes" : "b",
                          (size_t)-1, VECDB_TRANSIENT), VECDB_OK );
    STEP( vecdb_bind_text(s, 3, "note", 4, VECDB_TRANSIENT), VECDB_OK );
    STEP( vecdb_step(s), VECDB_DONE );
  }
  rc = VECDB_OK;
done:
  vecdb_finalize(s);
  (void)db;
  return rc;
}

static int query(vecdb_collection *c){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  const int64_t keys[] = { 1, 2, 3, 4, 5, 6, 7 };
  vecdb_stmt *s = NULL, *u = NULL;
  int rc;
  o.filter = "tag LIKE ?1 AND (note = 'note' OR id IN (1, 2))";
  STEP( vecdb_prepare_search(c, &o, &s), VECDB_OK );
  STEP( vecdb_bind_vector_text(s, VECDB_QUERY, "[0,0]", (size_t)-1), VECDB_OK );
  STEP( vecdb_bind_text(s, 1, "a%", 2, VECDB_TRANSIENT), VECDB_OK );
  STEP( vecdb_search_set_keys(s, 7, keys), VECDB_OK );
  STEP( vecdb_step(s), VECDB_ROW );
  if( vecdb_column_text(s, 2)==NULL || vecdb_column_text(s, 1)==NULL ){
    rc = VECDB_NOMEM;
    goto done;
  }
  STEP( vecdb_prepare_update(c, &u), VECDB_OK );
  STEP( vecdb_bind_int64(u, VECDB_KEY, 3), VECDB_OK );
  STEP( vecdb_bind_text(u, 3, "other", 5, VECDB_STATIC), VECDB_OK );
  STEP( vecdb_step(u), VECDB_DONE );             /* suspends the search */
  while( (rc = vecdb_step(s))==VECDB_ROW ){}
  if( rc!=VECDB_DONE ) goto done;
  rc = VECDB_OK;
done:
  vecdb_finalize(s);
  vecdb_finalize(u);
  return rc;
}

static int batch(vecdb *db, vecdb_collection *c){
  float v[20] = { 0 }, dist[20];
  int64_t keys[20];
  vecdb_column_data d = { sizeof(d), 1, VECDB_VECTOR, VECDB_F32, v, 0, NULL };
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_stmt *s = NULL;
  int rc;
  o.k = 2;
  o.filter = "id < 100";
  STEP( vecdb_begin(db, VECDB_WRITE), VECDB_OK );
  STEP( vecdb_savepoint(db, 1), VECDB_OK );
  STEP( vecdb_put_many(c, 10, &d, 1, 0, NULL), VECDB_OK );
  STEP( vecdb_search_many(c, &o, 3, VECDB_F32, v, 0, keys, dist, NULL),
        VECDB_OK );
  STEP( vecdb_rollback_to(db, 1), VECDB_OK );
  STEP( vecdb_prepare_scan(c, "tag IS NOT NULL", &s), VECDB_OK );
  while( (rc = vecdb_step(s))==VECDB_ROW ){}
  if( rc!=VECDB_DONE ) goto done;
  STEP( vecdb_optimize(c, NULL), VECDB_OK );
  STEP( vecdb_commit(db), VECDB_OK );
done:
  vecdb_finalize(s);
  if( vecdb_in_transaction(db) && rc==VECDB_OK ) rc = vecdb_rollback(db);
  return rc;
}

static int script(vecdb *db){
  vecdb_collection *c = NULL;
  char *text = NULL;
  int rc;
  STEP( vecdb_create_collection(db, "t", "id integer primary key, v float[2], "
                                "tag text, +note text"), VECDB_OK );
  STEP( vecdb_collection_open(db, "t", &c), VECDB_OK );
  STEP( fill(db, c), VECDB_OK );
  STEP( query(c), VECDB_OK );
  STEP( batch(db, c), VECDB_OK );
  STEP( vecdb_check_schema(db, "v float[2]", &text), VECDB_OK );
  STEP( vecdb_check(db, 0, NULL, NULL), VECDB_OK );
done:
  vecdb_free(text);
  vecdb_collection_close(c);
  return rc;
}

static void sweep(const char *path, bool for_ever){
  vecdb_options o = VECDB_OPTIONS_INIT;
  struct vdb_mem_stats before, after;
  char wal[4300], shm[4300];
  int rc = VECDB_NOMEM;
  o.sync = VECDB_SYNC_OFF;
  vdb_mem_stats(&before);
  for(uint64_t n=1; rc!=VECDB_OK && n<200000; n += for_ever ? 7 : 1){
    vecdb *db = NULL;
    if( path ){
      snprintf(wal, sizeof(wal), "%s-wal", path);
      snprintf(shm, sizeof(shm), "%s-shm", path);
      remove(path);
      remove(wal);
      remove(shm);
    }
    vdb_mem_fail_at(n, for_ever);
    rc = vecdb_open(path ? path : "", path ?
                    VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE
                    : VECDB_OPEN_MEMORY, &o, &db);
    if( rc==VECDB_OK ) rc = script(db);
    if( vdb_mem_fail_at(0, false)==0 && rc==VECDB_OK ){
      CHECK_RC(VECDB_OK, vecdb_close(db));
      break;
    }
    if( rc!=VECDB_OK && !CHECK_RC(VECDB_NOMEM, rc) ){
      FAIL("allocation %d: %s", (int)n, vecdb_errmsg(db));
    }
    if( db ){
      if( vecdb_in_transaction(db) ) OK(db, vecdb_rollback(db));
      OK(db, vecdb_check(db, 0, NULL, NULL));
      vecdb_close(db);
    }
    vdb_mem_stats(&after);
    if( !CHECK_U64(before.n_block, after.n_block) ){
      FAIL("allocation %d", (int)n);
      break;
    }
    rc = VECDB_NOMEM;
  }
  CHECK_RC(VECDB_OK, rc);
}

TEST(nomem__in_memory_once){ sweep(NULL, false); }
TEST(nomem__in_memory_for_good){ sweep(NULL, true); }
TEST(nomem__on_a_file_once){ sweep(vt_path("t.vdb"), false); }
