/* stmt_search.c -- the nearest rows, in order of (distance, key).
**
** The first step does the whole search; what remains are slots and distances,
** and each further step moves on to the next. Columns are read when they are
** asked for. When the statement is suspended, the keys of the rows to come
** are noted, because slots mean nothing in another transaction: a row that is
** gone by then is left out.
*/
#include "util/common.h"
#include "store/stmt_int.h"

#include "util/bytes.h"
#include "util/mem.h"

void vdb_stmt_search_end(struct stmt *s){
  vdb_free(s->hit);
  s->hit = NULL;
  s->n_hit = s->i_hit = 0;
  s->n_ahead = 0;
  vdb_str_clear(&s->hit_keys);
  s->off_key = 0;
}

/* ---- Keys of the rows to come ----------------------------------------------
** An integer key is 8 bytes; a text key its length in 8 bytes, then itself. */

static int key_note(struct stmt *s, slot_no slot, struct vdb_str *buf){
  struct vdb_value v;
  unsigned char head[8];
  int rc = vdb_coll_value(s->coll, 0, slot, buf, &v);
  if( rc!=VECDB_OK ) return rc;
  put_u64(head, v.type==VECDB_INTEGER ? (uint64_t)v.i : v.n);
  vdb_str_add(&s->hit_keys, head, 8);
  if( v.type!=VECDB_INTEGER ) vdb_str_add(&s->hit_keys, v.p, v.n);
  return vdb_str_rc(&s->hit_keys);
}

int vdb_stmt_search_suspend(struct stmt *s){
  struct vdb_str buf = VDB_STR_INIT;
  int rc = VECDB_OK;
  if( s->hit_keys.n>0 ) return VECDB_OK;          /* noted before */
  for(size_t i=s->i_hit; i<s->n_hit && rc==VECDB_OK; i++){
    rc = key_note(s, s->hit[i].slot, &buf);
  }
  vdb_str_clear(&buf);
  if( rc!=VECDB_OK ) vdb_str_clear(&s->hit_keys);
  s->off_key = 0;
  return rc;
}

static void key_noted(struct stmt *s, struct vdb_value *v){
  const unsigned char *p = (unsigned char*)s->hit_keys.z + s->off_key;
  memset(v, 0, sizeof(*v));
  v->type = s->schema->col[0].type;
  s->off_key += 8;
  if( v->type==VECDB_INTEGER ){
    v->i = (int64_t)get_u64(p);
    return;
  }
  v->n = (size_t)get_u64(p);
  v->p = p+8;
  s->off_key += v->n;
}

int vdb_stmt_search_key(struct stmt *s, int64_t *key){
  size_t i = s->i_hit-1;
  int rc = VECDB_OK;
  if( i<s->i_ahead || i-s->i_ahead>=s->n_ahead ){
    s->n_ahead = 0;
    TRY( vdb_coll_keys(s->coll, s->hit+i,
                       vdb_min_sz(STMT_KEYS_AHEAD, s->n_hit-i),
                       s->key_ahead) );
    s->i_ahead = i;
    s->n_ahead = vdb_min_sz(STMT_KEYS_AHEAD, s->n_hit-i);
  }
  *key = s->key_ahead[i-s->i_ahead];
done:
  return rc;
}

/* The next hit whose row is still there. */
static int search_next(struct stmt *s, slot_no *slot, bool *at_end){
  struct vdb_value key;
  int rc;
  *at_end = s->i_hit>=s->n_hit;
  if( s->hit_keys.n==0 ){
    if( !*at_end ) *slot = s->hit[s->i_hit++].slot;
    return VECDB_OK;
  }
  while( s->i_hit<s->n_hit ){
    key_noted(s, &key);
    s->i_hit++;
    rc = vdb_coll_find(s->coll, &key, slot);
    if( rc!=VECDB_NOTFOUND ) return rc;
  }
  vdb_error_clear(s->ss->err);
  *at_end = true;
  return VECDB_OK;
}

/* ---- The search --------------------------------------------------------- */

/* The rows that may be returned, when not all may, to *rows and *n. */
static int search_pass(struct stmt *s, const struct coll_runs *runs,
                       const uint64_t **rows, uint64_t *n){
  int rc = VECDB_OK;
  if( s->filter==NULL && s->keys==NULL ) return VECDB_OK;
  TRY( vdb_stmt_pass(s, runs) );
  *rows = s->passed->rows;
  *n = s->passed->n;
done:
  return rc;
}

static int search_multi(struct stmt *s){
  struct multi_request m = { .part = s->part, .n = s->n_part, .k = s->opt.k };
  struct coll_runs runs = { 0 };
  int rc;
  TRY( vdb_session_read_begin(s->ss, &s->held) );
  TRY( vdb_coll_refresh(s->coll) );
  vdb_search_wish(&s->opt, &m.wish);
  TRY( vdb_coll_runs_open(s->coll, s->part[0].column, &runs) );
  m.n_live = m.n_rows = runs.n_row;
  TRY( search_pass(s, &runs, &m.rows, &m.n_rows) );
  rc = vdb_multi_search(s->ss, s->coll, &m, &s->hit, &s->n_hit);
done:
  vdb_coll_runs_close(&runs);
  return rc;
}

static int search_run(struct stmt *s){
  struct coll_runs runs = { 0 };
  struct flat_window window;
  struct search_request q = { .column = s->column, .k = s->opt.k };
  struct vdb_value query;
  bool has_window;
  int rc;
  if( s->part ) return search_multi(s);
  if( !s->query.is_set || s->query.v.type==VECDB_NULL ){
    return vdb_error(s->ss->err, VECDB_MISUSE,
                     "no vector is bound to VECDB_QUERY");
  }
  TRY( vdb_stmt_bound(s, &s->query, s->column, s->vec_buf, &query) );
  TRY( vdb_search_window(&s->opt, s->ss->err, &window, &has_window) );
  TRY( vdb_session_read_begin(s->ss, &s->held) );
  TRY( vdb_coll_refresh(s->coll) );
  if( has_window ) q.window = &window;
  vdb_search_wish(&s->opt, &q.wish);
  TRY( vdb_search_open(s->coll, &q, &runs) );
  TRY( search_pass(s, &runs, &q.rows, &q.n_rows) );
  rc = vdb_search_one(s->ss, s->coll, &runs, &q, query.p, &s->hit, &s->n_hit);
done:
  vdb_coll_runs_close(&runs);
  return rc;
}

int vdb_stmt_search_step(struct stmt *s){
  bool at_end = false;
  slot_no slot = SLOT_NONE;
  int rc;
  if( s->state!=ST_ROW ) TRY( search_run(s) );
  else if( s->is_suspended ){
    TRY( vdb_session_read_begin(s->ss, &s->held) );
    TRY( vdb_coll_refresh(s->coll) );
  }
  TRY( search_next(s, &slot, &at_end) );
  if( at_end ) return VECDB_DONE;
  vdb_stmt_row_set(s, slot, (double)s->hit[s->i_hit-1].distance);
  return VECDB_ROW;
done:
  return rc;
}
