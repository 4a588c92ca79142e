/* vtab_mmr.c -- maximal marginal relevance: near to the query, far from each
** other.
**
** The search gives max(4k, 64) candidates. One after the other the candidate
** with the smallest
**
**     lambda * d(query, c)  -  (1 - lambda) * min over chosen s of d(c, s)
**
** is chosen, ties by the order of the search, until k are. lambda 1 is the
** plain order, lambda 0 looks at diversity alone. d is the distance of the
** column. Work: k * candidates distances.
*/
#include "sql/vtab_int.h"

struct mmr_row {
  sqlite3_int64 key;
  char *text_key;             /* instead, in a table with text keys */
  double distance;            /* to the query */
  double nearest;             /* to the nearest row chosen so far */
  int is_chosen;
};

struct sql_mmr {
  size_t n, n_max;            /* candidates */
  struct mmr_row *rows;
  unsigned char *vectors;     /* of the candidates, sz_vector each */
  size_t sz_vector;
  size_t n_order, i_next;     /* rows chosen; the next to give */
  size_t *order;
  vecdb_stmt *get;            /* reads the row given */
};

void vdb_mmr_free(struct sql_mmr *m){
  size_t i;
  if( m==NULL ) return;
  for(i=0; i<m->n; i++) sqlite3_free(m->rows[i].text_key);
  vecdb_finalize(m->get);
  sqlite3_free(m->rows);
  sqlite3_free(m->vectors);
  sqlite3_free(m->order);
  sqlite3_free(m);
}

vecdb_stmt *vdb_mmr_row(struct sql_mmr *m){ return m->get; }

static int mmr_grow(struct sql_mmr *m){
  size_t n = m->n_max ? 2*m->n_max : 64;
  void *p = sqlite3_realloc64(m->rows, n*sizeof(m->rows[0]));
  if( p==NULL ) return SQLITE_NOMEM;
  m->rows = p;
  p = sqlite3_realloc64(m->vectors, n*m->sz_vector);
  if( p==NULL ) return SQLITE_NOMEM;
  m->vectors = p;
  m->n_max = n;
  return SQLITE_OK;
}

static int mmr_add(struct sql_table *t, struct sql_mmr *m, vecdb_stmt *s,
                   int column){
  struct mmr_row *r;
  size_t n = 0;
  const void *v = vecdb_column_vector(s, column, &n);
  if( m->n==m->n_max && mmr_grow(m)!=SQLITE_OK ) return SQLITE_NOMEM;
  if( v==NULL || n!=m->sz_vector ) return SQLITE_CORRUPT_VTAB;
  r = &m->rows[m->n];
  memset(r, 0, sizeof(*r));
  if( t->has_text_key ){
    const char *z = vecdb_column_text(s, 0);
    r->text_key = vdb_sql_strdup(z ? z : "");
    if( r->text_key==NULL ) return SQLITE_NOMEM;
  }else{
    r->key = vecdb_column_int64(s, 0);
  }
  r->distance = vecdb_row_distance(s);
  memcpy(m->vectors + m->n*m->sz_vector, v, n);
  m->n++;
  return SQLITE_OK;
}

/* Choose the next row. */
static void mmr_choose(struct sql_table *t, struct sql_mmr *m, int column,
                       double lambda){
  const vecdb_column_info *info = &t->cols[column].info;
  size_t i, best = m->n;
  double best_score = 0;

  for(i=0; i<m->n; i++){
    double score = lambda*m->rows[i].distance;
    if( m->n_order>0 ) score -= (1 - lambda)*m->rows[i].nearest;
    if( m->rows[i].is_chosen ) continue;
    if( best==m->n || score<best_score ){
      best = i;
      best_score = score;
    }
  }
  m->rows[best].is_chosen = 1;
  for(i=0; i<m->n; i++){
    double d = 0;
    if( m->rows[i].is_chosen ) continue;
    vecdb_distance((int)info->metric, (int)info->element, info->dims,
                   m->vectors + best*m->sz_vector,
                   m->vectors + i*m->sz_vector, &d);
    if( d!=d ) d = 1;                  /* the cosine of a zero vector */
    if( m->n_order==0 || d<m->rows[i].nearest ) m->rows[i].nearest = d;
  }
  m->order[m->n_order++] = best;
}

int vdb_mmr_collect(struct sql_cursor *c, sqlite3_int64 k, double lambda){
  struct sql_table *t = (struct sql_table*)c->base.pVtab;
  struct sql_mmr *m = sqlite3_malloc(sizeof(*m));
  int e, rc = SQLITE_OK;
  size_t want;

  if( m==NULL ) return SQLITE_NOMEM;
  memset(m, 0, sizeof(*m));
  c->mmr = m;
  m->sz_vector = t->cols[c->match_column].info.vector_bytes;
  while( (e = vecdb_step(c->stmt))==VECDB_ROW ){
    rc = mmr_add(t, m, c->stmt, c->match_column);
    if( rc!=SQLITE_OK ) return rc;
  }
  if( e!=VECDB_DONE ) return vdb_table_error(t, e);
  want = (sqlite3_int64)m->n<k ? m->n : (size_t)k;
  m->order = sqlite3_malloc64((want + 1)*sizeof(size_t));
  if( m->order==NULL ) return SQLITE_NOMEM;
  while( m->n_order<want ) mmr_choose(t, m, c->match_column, lambda);
  e = vecdb_prepare_get(t->coll, &m->get);
  return e==VECDB_OK ? SQLITE_OK : vdb_table_error(t, e);
}

/* A row deleted since the search by this very statement is passed over. */
int vdb_mmr_next(struct sql_cursor *c, int *eof){
  struct sql_table *t = (struct sql_table*)c->base.pVtab;
  struct sql_mmr *m = c->mmr;
  int rc;

  while( m->i_next<m->n_order ){
    struct mmr_row *r = &m->rows[m->order[m->i_next++]];
    vecdb_reset(m->get);
    if( r->text_key ){
      rc = vecdb_bind_text(m->get, VECDB_KEY, r->text_key, (size_t)-1,
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
