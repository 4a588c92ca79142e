/* lib_store.h -- databases of collections under test: on memory, on files of
** a world of its own, and on the pages of a host.
**
** Used by   t_store.c, t_coll*.c, t_catalog.c.
*/
#ifndef LIB_STORE_H
#define LIB_STORE_H
#include "pager/file.h"
#include "store/collection.h"
#include "unit/lib_host.h"
#include "util/bitset.h"
#include "util/mem.h"
#include "util/rng.h"
#include "util/str.h"
#include "vt.h"

/* ---- Databases ----------------------------------------------------------- */

enum db_kind { DB_MEMORY = 0, DB_FILE = 1, DB_HOST = 2 };

struct db {
  struct vecdb_file_ops *ops;            /* of DB_FILE, else NULL */
  struct host *host;                     /* of DB_HOST, else NULL */
  uint64_t sz_cache;                     /* 0: the default; set before reopen */
  uint32_t sz_page;
  struct vdb_err err;
  struct store *st;
};

static inline int db_try_open(struct db *db){
  struct pager_config cfg;

  memset(&cfg, 0, sizeof(cfg));
  cfg.open_flags = VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE;
  if( db->ops ) cfg.path = "/t.vdb";
  else if( db->host ) cfg.store = &db->host->ops;
  else cfg.open_flags |= VECDB_OPEN_MEMORY;
  cfg.file = db->ops;
  cfg.fixed_seed = 7;
  cfg.sz_cache = db->sz_cache;
  cfg.sz_page = db->sz_page;
  cfg.sync = VECDB_SYNC_OFF;
  return vdb_store_open(&cfg, &db->err, &db->st);
}

static inline void db_open(struct db *db, enum db_kind kind){
  memset(db, 0, sizeof(*db));
  if( kind==DB_FILE ) REQUIRE_RC(VECDB_OK, vdb_file_mem_create(1, &db->ops));
  if( kind==DB_HOST ) db->host = host_create();
  REQUIRE_RC(VECDB_OK, db_try_open(db));
}

static inline void db_close(struct db *db){
  CHECK_RC(VECDB_OK, vdb_store_close(db->st));
  db->st = NULL;
  if( db->ops ) vdb_file_mem_destroy(db->ops);
  if( db->host ) host_destroy(db->host);
  db->ops = NULL;
  db->host = NULL;
}

#define OK(db, expr) do{ int rc_ = (expr); \
  if( rc_!=VECDB_OK ){ \
    FAIL("%s: %s (%s)", #expr, rc_text(rc_), \
         vdb_error_text(&(db)->err)); vt_stop(); } }while(0)

static inline const char *rc_text(int rc){
  static char buf[32];
  snprintf(buf, sizeof(buf), "rc %d/%d", rc & 0xff, rc>>8);
  return buf;
}

static inline void print_finding(void *arg, int severity, const char *object,
                          const char *message){
  VDB_UNUSED(arg);
  printf("  %d %s: %s\n", severity, object, message);
}

static inline void db_check(struct db *db){
  uint64_t n_bad = 0;

  OK(db, vdb_store_check(db->st, false, print_finding, NULL, &n_bad));
  REQUIRE_U64(0, n_bad);
}

static inline void create(struct db *db, const char *name, const char *schema){
  struct write_scope w;

  OK(db, vdb_store_write_begin(db->st, &w));
  OK(db, vdb_store_write_end(db->st, &w,
                             vdb_store_create(db->st, name, schema)));
}

static inline struct coll *open_coll(struct db *db, const char *name){
  struct read_scope r;
  struct coll *c = NULL;
  int rc;

  OK(db, vdb_store_read_begin(db->st, &r));
  rc = vdb_store_coll_open(db->st, name, &c);
  OK(db, vdb_store_read_end(db->st, &r));
  OK(db, rc);
  return c;
}

#endif
