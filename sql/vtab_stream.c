/* vtab_stream.c -- rows by distance when nobody says how many are wanted.
**
** Without k, and without a LIMIT that SQLite shows, a search runs for BATCH_FIRST
** rows, and when those are used up again for BATCH_GROWTH times as many, going on
** behind the last (distance, key) given. So all rows come, in order, each once, and
** the first ones soon; what the searches before the last one did is a fifteenth of
** its work.
**
** LATE   Where ef or recall was asked for, a larger search may find a row before
**        the place already reached: a smaller one missed it. Keys of rows that were
**        given are noted in such streams, so missed ones are told from those. They
**        come after all others, by distance among themselves: whoever reads to the
**        end gets every row, and what is read before is in order.
** GONE   Rows that this connection deletes while it reads are left out by the
**        running search, which then gives fewer than it was for although there
**        are more. So after a change a short search is not taken for the last.
*/
#include <stdlib.h>
#include <string.h>

#include "sql/vtab_int.h"

#define BATCH_FIRST   256
#define BATCH_GROWTH  16
#define BATCH_MAX     ((sqlite3_int64)1 << 40)

/* ---- Keys --------------------------------------------------------------- */

struct key_list {
  int is_text;
  size_t n, n_max;
  size_t n_sorted;            /* the first so many are in order */
  int64_t *i;
  char **z;
};

struct sql_stream {
  int is_late;                /* all others were given */
  int is_noting;              /* ef or recall was asked for */
  sqlite3_int64 k_batch;      /* rows the running search may give */
  sqlite3_int64 n_batch;      /* rows it has given */
  int n_change;               /* sqlite3_total_changes() when it began */
  sqlite3_int64 n_given;
  double last_distance;       /* the last row given */
  sqlite3_int64 last_key;
  char *last_text_key;
  struct key_list given, late;
};

static void keys_clear(struct key_list *k){
  size_t i;
  for(i=0; k->z && i<k->n; i++) sqlite3_free(k->z[i]);
  sqlite3_free(k->z);
  sqlite3_free(k->i);
  memset(k, 0, sizeof(*k));
}

static int keys_grow(struct key_list *k){
  size_t n = k->n_max ? 2*k->n_max : 64;
  size_t sz = n*(k->is_text ? sizeof(*k->z) : sizeof(*k->i));
  void *p;
  if( k->n<k->n_max ) return SQLITE_OK;
  p = sqlite3_realloc64(k->is_text ? (void*)k->z : (void*)k->i, sz);
  if( p==NULL ) return SQLITE_NOMEM;
  if( k->is_text ) k->z = p;
  else k->i = p;
  k->n_max = n;
  return SQLITE_OK;
}

/* Add the key of the statement's row. */
static int keys_add(struct key_list *k, vecdb_stmt *s){
  const char *z;
  int rc = keys_grow(k);
  if( rc!=SQLITE_OK ) return rc;
  if( !k->is_text ){
    k->i[k->n++] = vecdb_column_int64(s, 0);
    return SQLITE_OK;
  }
  z = vecdb_column_text(s, 0);
  k->z[k->n] = vdb_sql_strdup(z ? z : "");
  return k->z[k->n++] ? SQLITE_OK : SQLITE_NOMEM;
}

static int key_compare(const void *a, const void *b){
  int64_t x = *(const int64_t*)a, y = *(const int64_t*)b;
  return x<y ? -1 : x>y;
}
static int text_compare(const void *a, const void *b){
  return strcmp(*(char *const*)a, *(char *const*)b);
}
static void keys_sort(struct key_list *k){
  if( k->n>1 && k->is_text ) qsort(k->z, k->n, sizeof(*k->z), text_compare);
  if( k->n>1 && !k->is_text ) qsort(k->i, k->n, sizeof(*k->i), key_compare);
  k->n_sorted = k->n;
}

/* Is the key of the statement's row among those that are sorted? */
static int keys_have(const struct key_list *k, vecdb_stmt *s){
  int64_t i;
  const char *z;
  if( k->n_sorted==0 ) return 0;
  if( !k->is_text ){
    i = vecdb_column_int64(s, 0);
    return bsearch(&i, k->i, k->n_sorted, sizeof(i), key_compare)!=NULL;
  }
  z = vecdb_column_text(s, 0);
  if( z==NULL ) z = "";
  return bsearch(&z, k->z, k->n_sorted, sizeof(*k->z), text_compare)!=NULL;
}

/* ---- The stream --------------------------------------------------------- */

int vdb_stream_begin(struct sql_cursor *c, int is_approximate,
                     sqlite3_int64 *k){
  struct sql_table *t = (struct sql_table*)c->base.pVtab;
  vdb_stream_end(c);
  c->stream = sqlite3_malloc64(sizeof(*c->stream));
  if( c->stream==NULL ) return SQLITE_NOMEM;
  memset(c->stream, 0, sizeof(*c->stream));
  c->stream->is_noting = is_approximate;
  c->stream->given.is_text = c->stream->late.is_text = t->has_text_key;
  c->stream->k_batch = *k = BATCH_FIRST;
  c->stream->n_change = sqlite3_total_changes(t->st->db);
  return SQLITE_OK;
}

void vdb_stream_end(struct sql_cursor *c){
  if( c->stream==NULL ) return;
  keys_clear(&c->stream->given);
  keys_clear(&c->stream->late);
  sqlite3_free(c->stream->last_text_key);
  sqlite3_free(c->stream);
  c->stream = NULL;
}

/* True if the current row of the statement comes after the last one given. */
static int row_is_behind(const struct sql_cursor *c){
  const struct sql_stream *m = c->stream;
  const char *z;
  if( m->n_given==0 || c->distance>m->last_distance ) return 1;
  if( c->distance<m->last_distance ) return 0;
  if( !m->given.is_text ) return vecdb_column_int64(c->stmt, 0)>m->last_key;
  z = vecdb_column_text(c->stmt, 0);
  return z==NULL || m->last_text_key==NULL || strcmp(z, m->last_text_key)>0;
}

static int stream_give(struct sql_cursor *c){
  struct sql_stream *m = c->stream;
  m->n_given++;
  m->last_distance = c->distance;
  if( m->is_noting ){
    int rc = keys_add(&m->given, c->stmt);
    if( rc!=SQLITE_OK ) return rc;
  }
  if( m->given.is_text ){
    const char *z = vecdb_column_text(c->stmt, 0);
    sqlite3_free(m->last_text_key);
    m->last_text_key = vdb_sql_strdup(z ? z : "");
    return m->last_text_key ? SQLITE_OK : SQLITE_NOMEM;
  }
  m->last_key = vecdb_column_int64(c->stmt, 0);
  return SQLITE_OK;
}

/* Run the statement again for k rows. */
static int stream_restart(struct sql_cursor *c, sqlite3_int64 k){
  struct sql_table *t = (struct sql_table*)c->base.pVtab;
  int rc;
  c->stream->k_batch = k;
  c->stream->n_batch = 0;
  c->stream->n_change = sqlite3_total_changes(t->st->db);
  t->st->last.n_run++;
  rc = vecdb_reset(c->stmt);
  if( rc==VECDB_OK ) rc = vecdb_search_set_k(c->stmt, (uint64_t)k);
  return rc;
}

/* The running search is used up: start a larger one; or, when that had all, one
** for what was missed. */
static int stream_grow(struct sql_cursor *c, int *is_over){
  struct sql_table *t = (struct sql_table*)c->base.pVtab;
  struct sql_stream *m = c->stream;
  int rc, is_short = m->n_batch<m->k_batch
                  && m->n_change==sqlite3_total_changes(t->st->db);
  *is_over = 0;
  if( !is_short && m->k_batch<BATCH_MAX ){
    keys_sort(&m->given);
    return stream_restart(c, m->k_batch*BATCH_GROWTH);
  }
  *is_over = m->late.n==0;
  if( *is_over ) return VECDB_OK;
  m->is_late = 1;
  rc = stream_restart(c, (sqlite3_int64)m->late.n);
  if( rc!=VECDB_OK ) return rc;
  return m->late.is_text
       ? vecdb_search_set_text_keys(c->stmt, m->late.n,
                                    (const char *const*)m->late.z)
       : vecdb_search_set_keys(c->stmt, m->late.n, m->late.i);
}

int vdb_stream_next(struct sql_cursor *c, int *engine_rc){
  struct sql_stream *m = c->stream;
  *engine_rc = VECDB_OK;
  for(;;){
    int is_over = 0, rc = vecdb_step(c->stmt);
    if( rc==VECDB_ROW ){
      m->n_batch++;
      c->distance = vecdb_row_distance(c->stmt);
      if( m->is_late ) return SQLITE_OK;
      if( row_is_behind(c) ) return stream_give(c);
      if( !m->is_noting || keys_have(&m->given, c->stmt)
       || keys_have(&m->late, c->stmt) ) continue;
      rc = keys_add(&m->late, c->stmt);
      if( rc!=SQLITE_OK ) return rc;
      continue;
    }
    if( rc==VECDB_DONE && !m->is_late ){
      keys_sort(&m->late);
      rc = stream_grow(c, &is_over);
    }else if( rc==VECDB_DONE ){
      is_over = 1;
      rc = VECDB_OK;
    }
    if( rc!=VECDB_OK || is_over ){
      c->is_eof = 1;
      *engine_rc = rc;
      return SQLITE_OK;
    }
  }
}
