/* lib_simple.h -- a small collection, for what collections promise.
**
** Used by   t_coll*.c, t_catalog.c.
*/
#ifndef LIB_SIMPLE_H
#define LIB_SIMPLE_H
#include "index/index.h"
#include "lib_store.h"
#include "store/coll_int.h"

/* Rows of "v float[2], n int" by default: the least there is to set up. */
struct simple {
  struct db db;
  struct coll *c;
  float v[2];
  struct vdb_value row[5];
};

static inline void simple_open(struct simple *s, enum db_kind kind,
                               const char *schema){
  memset(s, 0, sizeof(*s));
  db_open(&s->db, kind);
  create(&s->db, "t", schema);
  s->c = open_coll(&s->db, "t");
}

static inline void simple_close(struct simple *s){
  db_check(&s->db);
  vdb_store_coll_close(s->c);
  db_close(&s->db);
}

/* key 0: the next one; n<0: NULL. */
static inline struct vdb_value *simple_row(struct simple *s, int64_t key,
                                           int64_t n){
  memset(s->row, 0, sizeof(s->row));
  if( key!=0 ) s->row[0].type = VECDB_INTEGER;
  s->row[0].i = key;
  s->v[0] = (float)(n & 0xff);
  s->v[1] = (float)(key & 0xff);
  s->row[1].type = VECDB_VECTOR;
  s->row[1].p = s->v;
  s->row[1].n = sizeof(s->v);
  if( n>=0 ) s->row[2].type = VECDB_INTEGER;
  s->row[2].i = n;
  return s->row;
}

static inline int simple_insert(struct simple *s, int64_t key, int64_t n,
                                int64_t *used){
  struct write_scope w;

  OK(&s->db, vdb_store_write_begin(s->db.st, &w));
  return vdb_store_write_end(s->db.st, &w,
      vdb_coll_insert(s->c, simple_row(s, key, n), 0, used, NULL));
}

static inline int simple_delete(struct simple *s, int64_t key){
  struct vdb_value v = { VECDB_INTEGER, key, 0, NULL, 0 };
  struct write_scope w;

  OK(&s->db, vdb_store_write_begin(s->db.st, &w));
  return vdb_store_write_end(s->db.st, &w, vdb_coll_delete(s->c, &v));
}

static inline int simple_optimize(struct simple *s, unsigned flags){
  struct write_scope w;

  OK(&s->db, vdb_store_write_begin(s->db.st, &w));
  return vdb_store_write_end(s->db.st, &w, vdb_coll_optimize(s->c, flags));
}

static inline int bulk_range(struct simple *s, int64_t lo, int64_t hi,
                             int64_t n_of){
  struct coll_bulk *b = NULL;
  int rc = vdb_coll_bulk_begin(s->c, 0, &b), rc2;

  for(int64_t k=lo; k<hi && rc==VECDB_OK; k++){
    rc = vdb_coll_bulk_add(b, simple_row(s, k, n_of<0 ? k : n_of), NULL, NULL);
  }
  rc2 = b ? vdb_coll_bulk_end(b, rc==VECDB_OK) : rc;
  return rc!=VECDB_OK ? rc : rc2;
}

static inline void simple_bulk(struct simple *s, int64_t lo, int64_t hi){
  struct write_scope w;

  OK(&s->db, vdb_store_write_begin(s->db.st, &w));
  OK(&s->db, vdb_store_write_end(s->db.st, &w, bulk_range(s, lo, hi, -1)));
}

static inline vecdb_collection_stats simple_stats(struct simple *s){
  vecdb_collection_stats out = { .size = sizeof(out) };
  struct read_scope r;

  OK(&s->db, vdb_store_read_begin(s->db.st, &r));
  OK(&s->db, vdb_coll_stats(s->c, &out));
  OK(&s->db, vdb_store_read_end(s->db.st, &r));
  return out;
}

static inline uint64_t pages_in_use(struct db *db){
  struct pager_stats st;
  struct read_scope r;

  OK(db, vdb_store_read_begin(db->st, &r));
  OK(db, vdb_pager_stats(vdb_store_pager(db->st), &st));
  OK(db, vdb_store_read_end(db->st, &r));
  return st.n_page - st.n_free_page;
}
#endif
