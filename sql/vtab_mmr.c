/* vtab_mmr.c -- the hint mmr_lambda: the search gives max(4k, 64) candidates,
** and the k that mmr.c chooses of them come in the order of its choice.
*/
#include "sql/mmr.h"

struct sql_mmr {
  struct mmr_pool pool;       /* key or text of an item: its row's */
  size_t n_order, i_next;     /* rows chosen; the next to give */
  struct mmr_item **order;
  vecdb_stmt *get;            /* reads the row given */
};

void vdb_mmr_free(struct sql_mmr *m){
  if( m==NULL ) return;
  vdb_mmr_clear(&m->pool);
  vecdb_finalize(m->get);
  sqlite3_free(m->order);
  sqlite3_free(m);
}

vecdb_stmt *vdb_mmr_row(struct sql_mmr *m){ return m->get; }

static int candidate_add(struct sql_table *t, struct sql_mmr *m, vecdb_stmt *s,
                         int column){
  struct mmr_item *item;
  size_t n = 0;
  const void *v = vecdb_column_vector(s, column, &n);
  if( v==NULL || n!=m->pool.sz_vector ) return SQLITE_CORRUPT_VTAB;
  item = vdb_mmr_add(&m->pool, vecdb_row_distance(s), v);
  if( item==NULL ) return SQLITE_NOMEM;
  if( t->has_text_key ){
    const char *z = vecdb_column_text(s, 0);
    item->text = vdb_sql_strdup(z ? z : "");
    return item->text ? SQLITE_OK : SQLITE_NOMEM;
  }
  item->key = vecdb_column_int64(s, 0);
  return SQLITE_OK;
}

int vdb_mmr_collect(struct sql_cursor *c, sqlite3_int64 k, double lambda){
  struct sql_table *t = (struct sql_table*)c->base.pVtab;
  const vecdb_column_info *info = &t->cols[c->match_column].info;
  struct sql_mmr *m = sqlite3_malloc(sizeof(*m));
  int e, rc = SQLITE_OK;
  size_t want;

  if( m==NULL ) return SQLITE_NOMEM;
  memset(m, 0, sizeof(*m));
  c->mmr = m;
  m->pool.metric = (int)info->metric;
  m->pool.element = (int)info->element;
  m->pool.n_dim = info->dims;
  m->pool.sz_vector = info->vector_bytes;
  while( (e = vecdb_step(c->stmt))==VECDB_ROW ){
    rc = candidate_add(t, m, c->stmt, c->match_column);
    if( rc!=SQLITE_OK ) return rc;
  }
  if( e!=VECDB_DONE ) return vdb_table_error(t, e);
  want = (sqlite3_int64)m->pool.n<k ? m->pool.n : (size_t)k;
  m->order = sqlite3_malloc64((want + 1)*sizeof(m->order[0]));
  if( m->order==NULL ) return SQLITE_NOMEM;
  while( m->n_order<want ){
    m->order[m->n_order++] = vdb_mmr_choose(&m->pool, lambda);
  }
  e = vecdb_prepare_get(t->coll, &m->get);
  return e==VECDB_OK ? SQLITE_OK : vdb_table_error(t, e);
}

/* A row deleted since the search by this very statement is passed over. */
int vdb_mmr_next(struct sql_cursor *c, int *eof){
  struct sql_table *t = (struct sql_table*)c->base.pVtab;
  struct sql_mmr *m = c->mmr;
  int rc;

  while( m->i_next<m->n_order ){
    const struct mmr_item *r = m->order[m->i_next++];
    vecdb_reset(m->get);
    if( r->text ){
      rc = vecdb_bind_text(m->get, VECDB_KEY, r->text, (size_t)-1,
                           VECDB_STATIC);
    }else{
      rc = vecdb_bind_int64(m->get, VECDB_KEY, r->key);
    }
    if( rc==VECDB_OK ) rc = vecdb_step(m->get);
    if( rc==VECDB_ROW ){
      c->distance = r->distance;
      *eof = 0;
      return SQLITE_OK;
    }
    if( rc!=VECDB_NOTFOUND && rc!=VECDB_DONE ) return vdb_table_error(t, rc);
  }
  *eof = 1;
  return SQLITE_OK;
}
