/* stmt.c -- life of a statement; the row it stands on.
**
** INVARIANTS
**   T1  State ROW and not suspended: the transaction is open, the row's slot
**       is valid in it, columns may be read from the store.
**   T2  State ROW and suspended: all columns of the row are loaded; neither
**       pins nor the automatic transaction are held.
**   T3  Other states: nothing is held, no run is in progress.
*/
#include "util/common.h"
#include "store/stmt_int.h"

#include <math.h>

#include "store/value.h"
#include "store/vecjson.h"
#include "util/mem.h"

/* ---- Making and unmaking ------------------------------------------------ */

static int stmt_alloc(struct stmt *s){
  size_t n = (size_t)s->schema->n_col, sz_vec = 0;
  for(size_t i=0; i<n; i++) sz_vec += vdb_vec_room(&s->schema->col[i]);
  s->vec_buf = vdb_malloc_aligned(sz_vec);
  s->row.is_loaded = vdb_calloc(n, sizeof(*s->row.is_loaded));
  s->row.val = vdb_calloc(n, sizeof(*s->row.val));
  s->row.buf = vdb_calloc(n, sizeof(*s->row.buf));
  s->row.text = vdb_calloc(n, sizeof(*s->row.text));
  s->col = vdb_calloc(n, sizeof(*s->col));
  return s->vec_buf && s->row.is_loaded && s->row.val && s->row.buf
      && s->row.text && s->col ? VECDB_OK : VECDB_NOMEM;
}

static void stmt_link(struct stmt *s){
  s->next = s->ss->first;
  s->link = &s->ss->first;
  if( s->next ) s->next->link = &s->next;
  s->ss->first = s;
}

static void stmt_unlink(struct stmt *s){
  if( s->link==NULL ) return;
  *s->link = s->next;
  if( s->next ) s->next->link = s->link;
  s->link = NULL;
}

int vdb_stmt_create(struct session *ss, struct coll *c,
                    const struct schema *schema, enum stmt_kind kind,
                    unsigned flags, struct stmt **out){
  struct stmt *s;
  int rc;
  *out = NULL;
  if( (flags & ~(VECDB_OR_REPLACE|VECDB_OR_IGNORE))
   || flags==(VECDB_OR_REPLACE|VECDB_OR_IGNORE) ){
    return vdb_error(ss->err, VECDB_MISUSE,
                     "insert: flags 0x%x are not one of VECDB_OR_REPLACE, "
                     "VECDB_OR_IGNORE", flags);
  }
  s = vdb_calloc(1, sizeof(*s));
  if( s==NULL ) return VECDB_NOMEM;
  s->ss = ss;
  s->coll = c;
  s->schema = schema;
  s->kind = kind;
  s->flags = flags;
  TRY( stmt_alloc(s) );
  stmt_link(s);
  *out = s;
  s = NULL;
done:
  if( s ) vdb_stmt_destroy(s);
  return rc;
}

int vdb_stmt_set_filter(struct stmt *s, const char *z){
  int rc;
  if( z==NULL ) return VECDB_OK;
  s->filter_text = vdb_strdup(z);
  if( s->filter_text==NULL ) return VECDB_NOMEM;
  TRY( vdb_filter_parse(s->schema, z, s->ss->err, &s->filter) );
  s->n_param = vdb_filter_n_param(s->filter);
  s->param = vdb_calloc(s->n_param, sizeof(*s->param));
  if( s->param==NULL ) rc = VECDB_NOMEM;
done:
  return rc;
}

int vdb_stmt_set_search(struct stmt *s, const vecdb_search_options *opt){
  struct flat_window w;
  bool has_window;
  int rc;
  TRY( vdb_search_check(s->schema, opt, s->ss->err, &s->column) );
  TRY( vdb_search_window(opt, s->ss->err, &w, &has_window) );
  s->opt = *opt;
  rc = vdb_stmt_set_filter(s, opt->filter);
  s->opt.filter = NULL;
done:
  return rc;
}

int vdb_stmt_set_multi(struct stmt *s, const vecdb_search_options *opt,
                       const vecdb_query_part *part, size_t n_part){
  const unsigned window = VECDB_SEARCH_HAS_MIN | VECDB_SEARCH_HAS_MAX;
  int rc;
  if( opt->k==0 || opt->column!=0 || (opt->flags & window) ){
    return vdb_error(s->ss->err, VECDB_MISUSE, "search: one of several columns "
                     "takes k, and neither a column nor distances");
  }
  TRY( vdb_stmt_set_search(s, opt) );
  TRY( vdb_multi_parts(s->schema, part, n_part, s->ss->err, &s->part) );
  s->n_part = n_part;
done:
  return rc;
}

struct stmt *vdb_stmt_next(struct stmt *s){ return s->next; }
enum stmt_kind vdb_stmt_kind(const struct stmt *s){ return s->kind; }
void vdb_stmt_set_owner(struct stmt *s, void *owner){ s->owner = owner; }
void *vdb_stmt_owner(const struct stmt *s){ return s->owner; }
bool vdb_stmt_is_active(const struct stmt *s){ return s->state==ST_ROW; }

/* ---- Running ------------------------------------------------------------ */

/* Let go of a run (T3). */
static int stmt_end(struct stmt *s, enum stmt_state state){
  vdb_stmt_scan_end(s);
  vdb_stmt_search_end(s);
  vdb_filter_end(s->run);
  s->run = NULL;
  s->is_suspended = false;
  s->rc_column = VECDB_OK;
  s->state = state;
  return vdb_session_read_end(s->ss, &s->held);
}

int vdb_stmt_destroy(struct stmt *s){
  size_t n;
  int rc;
  if( s==NULL ) return VECDB_OK;
  rc = stmt_end(s, ST_RESET);
  n = (size_t)s->schema->n_col;
  stmt_unlink(s);
  for(size_t i=0; i<n; i++){
    if( s->col ) vdb_binding_clear(&s->col[i]);
    if( s->row.buf ) vdb_str_clear(&s->row.buf[i]);
    if( s->row.text ) vdb_str_clear(&s->row.text[i]);
  }
  for(unsigned i=0; s->param && i<s->n_param; i++){
    vdb_binding_clear(&s->param[i]);
  }
  vdb_binding_clear(&s->key);
  vdb_binding_clear(&s->query);
  vdb_keyset_destroy(s->keys);
  vdb_filter_destroy(s->filter);
  vdb_str_clear(&s->hit_keys);
  vdb_multi_parts_free(s->part, s->n_part);
  vdb_passed_unref(s->passed);
  vdb_free(s->filter_text);
  vdb_free(s->param);
  vdb_free(s->col);
  vdb_free(s->row.is_loaded);
  vdb_free(s->row.val);
  vdb_free(s->row.buf);
  vdb_free(s->row.text);
  vdb_free_aligned(s->vec_buf);
  vdb_free(s);
  return rc;
}

int vdb_stmt_reset(struct stmt *s){
  return stmt_end(s, ST_RESET);
}

static int stmt_step_kind(struct stmt *s){
  switch( s->kind ){
    case STMT_GET:    return vdb_stmt_get_step(s);
    case STMT_SCAN:   return vdb_stmt_scan_step(s);
    case STMT_SEARCH: return vdb_stmt_search_step(s);
    default:          return vdb_stmt_write_step(s);
  }
}

/* A value of the current row could not be read. Reading it again brings back
** the message, which is gone by now. */
static int column_error(struct stmt *s){
  int rc = s->is_suspended ? VECDB_OK : vdb_stmt_row_load(s);
  return rc!=VECDB_OK ? rc : s->rc_column;
}

int vdb_stmt_step(struct stmt *s){
  int rc, rc_end;
  if( s->state==ST_ABORTED ){
    (void)stmt_end(s, ST_RESET);
    return vdb_error(s->ss->err, VECDB_ABORT, "%s", "");
  }
  if( s->state==ST_DONE ){
    rc = stmt_end(s, ST_RESET);
    if( rc!=VECDB_OK ) return rc;
  }
  rc = vdb_session_interrupted(s->ss) ? VECDB_INTERRUPT
     : s->rc_column ? column_error(s) : stmt_step_kind(s);
  if( rc==VECDB_ROW ){
    s->state = ST_ROW;
    s->is_suspended = false;
    return rc;
  }
  rc_end = stmt_end(s, rc==VECDB_DONE ? ST_DONE : ST_RESET);
  return rc==VECDB_DONE && rc_end!=VECDB_OK ? rc_end : rc;
}

int vdb_stmt_suspend(struct stmt *s){
  int rc = VECDB_OK;
  if( s->state!=ST_ROW || s->is_suspended ) return VECDB_OK;
  TRY( vdb_stmt_row_load(s) );
  if( s->kind==STMT_SCAN ) TRY( vdb_stmt_scan_suspend(s) );
  if( s->kind==STMT_SEARCH ) TRY( vdb_stmt_search_suspend(s) );
  s->is_suspended = true;
  rc = vdb_session_read_end(s->ss, &s->held);
done:
  return rc;
}

void vdb_stmt_abort(struct stmt *s){
  if( s->state==ST_ROW ) (void)stmt_end(s, ST_ABORTED);
}

/* The values of the parameters; freed with vdb_free. */
static int params_read(const struct stmt *s, struct vdb_value **out){
  struct vdb_value *v = vdb_calloc((size_t)s->n_param+1, sizeof(*v));
  *out = v;
  if( v==NULL ) return VECDB_NOMEM;
  for(unsigned i=0; i<s->n_param; i++) v[i] = s->param[i].v;
  return VECDB_OK;
}

/* Parameters as values, then the filter on the rows of this transaction. */
int vdb_stmt_filter_begin(struct stmt *s){
  struct filter_source src;
  struct vdb_value *v;
  int rc;
  if( s->filter==NULL || s->run ) return VECDB_OK;
  rc = params_read(s, &v);
  if( rc!=VECDB_OK ) return rc;
  vdb_filter_source_coll(s->coll, &src);
  rc = vdb_filter_begin(s->filter, v, s->n_param, &src, &s->run);
  vdb_free(v);
  return rc;
}

/* Evaluate the filter over all that lives. */
static int pass_make(struct stmt *s, const struct coll_runs *runs){
  struct coll_runs own = { 0 };
  int rc;
  TRY( vdb_stmt_filter_begin(s) );
  if( runs==NULL ){
    TRY( vdb_coll_runs_open(s->coll, s->schema->i_first_vector, &own) );
    runs = &own;
  }
  TRY( vdb_passed_make(s->coll, runs, s->run, s->keys, &s->passed) );
done:
  vdb_coll_runs_close(&own);
  return rc;
}

int vdb_stmt_pass(struct stmt *s, const struct coll_runs *runs){
  struct vdb_str key = VDB_STR_INIT;
  struct vdb_value *v = NULL;
  int rc = VECDB_OK;
  if( s->passed && vdb_passed_is_current(s->passed, s->coll)
   && s->passed_bind==s->bind_version ){
    return VECDB_OK;
  }
  vdb_passed_unref(s->passed);
  s->passed = NULL;
  s->passed_bind = s->bind_version;
  if( s->keys==NULL ){
    TRY( params_read(s, &v) );
    TRY( vdb_passed_key(s->filter_text, v, s->n_param, &key) );
    s->passed = vdb_passed_find(s->coll, &key);
    if( s->passed ) goto done;
  }
  TRY( pass_make(s, runs) );
  if( s->keys==NULL ) vdb_passed_keep(s->coll, s->passed, &key);
done:
  vdb_free(v);
  vdb_str_clear(&key);
  return rc;
}

int vdb_stmt_key_missing(struct stmt *s, const struct vdb_value *key){
  const char *name = vdb_coll_name(s->coll);
  struct vdb_err *err = s->ss->err;
  switch( key->type ){
    case VECDB_INTEGER:
      return vdb_error(err, VECDB_NOTFOUND, "collection \"%.100s\" has no row "
                       "with key %lld", name, (long long)key->i);
    case VECDB_TEXT:
      return vdb_error(err, VECDB_NOTFOUND, "collection \"%.100s\" has no row "
                       "with key \"%.*s\"", name,
                       (int)vdb_min_sz(key->n, 60), (const char*)key->p);
    default:
      return vdb_error(err, VECDB_NOTFOUND, "collection \"%.100s\" has no row "
                       "with a key of that type", name);
  }
}

/* ---- The current row ---------------------------------------------------- */

void vdb_stmt_row_set(struct stmt *s, slot_no slot, double distance){
  s->row.slot = slot;
  s->row.distance = distance;
  memset(s->row.is_loaded, 0,
         (size_t)s->schema->n_col*sizeof(*s->row.is_loaded));
}

/* Rows of a search that was suspended are known by their keys, not by slots. */
static bool key_is_ahead(const struct stmt *s, int i){
  return i==0 && s->kind==STMT_SEARCH && s->hit_keys.n==0
      && s->schema->col[0].type==VECDB_INTEGER;
}

/* Read column i into val and buf; texts get a NUL behind them. */
static int row_load_column(struct stmt *s, int i){
  struct vdb_value *v = &s->row.val[i];
  struct vdb_str *buf = &s->row.buf[i];
  int rc;
  if( key_is_ahead(s, i) ){
    memset(v, 0, sizeof(*v));
    v->type = VECDB_INTEGER;
    rc = vdb_stmt_search_key(s, &v->i);
  }else{
    rc = vdb_coll_value(s->coll, i, s->row.slot, buf, v);
  }
  if( rc==VECDB_OK && (v->type==VECDB_TEXT || v->type==VECDB_BLOB
                       || v->type==VECDB_VECTOR)
   && (v->p!=buf->z || v->n!=buf->n) ){
    struct vdb_str copy = VDB_STR_INIT;
    vdb_str_add(&copy, v->p, v->n);
    vdb_str_clear(buf);
    *buf = copy;
    rc = vdb_str_rc(buf);
    v->p = buf->z;
  }
  if( v->p==NULL || v->n==0 ) v->p = "";
  s->row.is_loaded[i] = rc==VECDB_OK;
  if( rc!=VECDB_OK ) vdb_str_clear(buf);     /* it remembers failures */
  return rc;
}

int vdb_stmt_row_load(struct stmt *s){
  int rc = VECDB_OK;
  for(int i=0; i<s->schema->n_col && rc==VECDB_OK; i++){
    if( !s->row.is_loaded[i] ) rc = row_load_column(s, i);
  }
  return rc;
}

const struct vdb_value *vdb_stmt_column(struct stmt *s, int column){
  static const struct vdb_value null = { VECDB_NULL, 0, 0, NULL, 0 };
  if( s->state!=ST_ROW || column<0 || column>=s->schema->n_col ) return &null;
  if( !s->row.is_loaded[column] ){
    int rc = s->is_suspended ? VECDB_INTERNAL : row_load_column(s, column);
    if( rc!=VECDB_OK ){
      s->rc_column = rc;
      return &null;
    }
  }
  return &s->row.val[column];
}

int vdb_stmt_column_rc(const struct stmt *s){
  return s->state==ST_ROW ? s->rc_column : VECDB_OK;
}

const char *vdb_stmt_column_text(struct stmt *s, int column, size_t *n){
  const struct vdb_value *v = vdb_stmt_column(s, column);
  char num[VALUE_TEXT_MAX];
  struct vdb_str *t;
  *n = 0;
  if( v->type==VECDB_NULL ) return NULL;
  if( v->type==VECDB_TEXT || v->type==VECDB_BLOB ){
    *n = v->n;
    return v->p;
  }
  t = &s->row.text[column];
  vdb_str_truncate(t, 0);
  if( v->type==VECDB_VECTOR ){
    const struct schema_column *col = &s->schema->col[column];
    vdb_vecjson_print(col->element, col->dims, v->p, t);
  }else if( v->type==VECDB_REAL ){
    vdb_str_add(t, num, vdb_value_print_real(v->r, num));
  }else{
    vdb_str_add(t, num, vdb_value_print_int(v->i, num));
  }
  if( vdb_str_rc(t)!=VECDB_OK ){
    vdb_str_clear(t);
    s->rc_column = VECDB_NOMEM;
    return NULL;
  }
  *n = t->n;
  return t->z;
}

double vdb_stmt_distance(const struct stmt *s){
  return s->state==ST_ROW ? s->row.distance : NAN;
}
