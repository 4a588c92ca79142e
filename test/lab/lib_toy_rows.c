/* lib_toy_rows.c -- a toy through vecdb.h alone. See lib_toy.h.
**
** Two collections: "docs" with integer keys, "words" with text keys. Every
** column of a row follows from (key, stamp), and the stamp is a column too.
** Row 0 of docs holds the number of the state. A digest compares all columns
** of all rows, and the answers of searches with what the rows say. */
#include <stdio.h>
#include <stdlib.h>

#include "util/common.h"
#include "util/rng.h"
#include "lab/lib_layer.h"
#include "lab/lib_toy.h"

enum { DIMS = 8, N_KEY = 60, LOAD_ROWS = 300, K = 5 };
enum { DOC_V = 1, DOC_STAMP, DOC_TITLE, DOC_NOTE };     /* columns of docs */
enum { WORD_V = 1, WORD_STAMP };                        /* and of words */

static const char docs_schema[] =
  "id integer primary key, v float[8], stamp int, title text, +note text";
static const char words_schema[] =
  "word text primary key, v int8[8], stamp int";

struct rows {
  vecdb *db;
  unsigned n_save;             /* open savepoints */
};

static struct rows *rows_of(struct toy *t){ return t->db; }
static vecdb *db_of(struct toy *t){ return rows_of(t)->db; }

/* Keep the message of a call that failed. */
static int rows_rc(struct toy *t, int rc){
  if( rc==VECDB_OK || rc==VECDB_ROW || rc==VECDB_DONE ) return rc;
  t->err.rc = rc;
  snprintf(t->err.msg, sizeof(t->err.msg), "%s", vecdb_errmsg(db_of(t)));
  return rc;
}

static int rows_wrong(struct toy *t, const char *what, int64_t key){
  return vdb_error(&t->err, VECDB_CORRUPT, "rows: %s of %lld is wrong", what,
                   (long long)key);
}

static int rows_close(struct toy *t){
  struct rows *r = rows_of(t);
  int rc = vecdb_close(r->db);
  free(r);
  return rc;
}

static int rows_open(struct toy *t, const struct toy_config *cfg){
  vecdb_options opt = VECDB_OPTIONS_INIT;
  struct rows *r = lab_alloc(sizeof(*r));
  int rc;
  opt.page_size = cfg->sz_page;
  opt.cache_bytes = cfg->sz_cache;
  opt.sync = cfg->sync;
  opt.threads = 1;
  opt.busy_ms = cfg->busy_ms;
  opt.no_mmap = cfg->no_mmap;
  opt.wal_bytes = cfg->sz_wal;
  opt.fixed_seed = 77;
  opt.file = cfg->ops;
  rc = vecdb_open(cfg->path, cfg->flags ? cfg->flags :
                  VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE, &opt, &r->db);
  t->db = r;
  if( rc!=VECDB_OK ){
    if( r->db ) rows_rc(t, rc);
    rows_close(t);
    t->db = NULL;
  }
  return rc;
}

/* ---- transactions -------------------------------------------------------- */

static int rows_begin(struct toy *t, bool write){
  rows_of(t)->n_save = 0;
  return rows_rc(t, vecdb_begin(db_of(t), write ? VECDB_WRITE : VECDB_READ));
}
static int rows_commit(struct toy *t){
  return rows_rc(t, vecdb_commit(db_of(t)));
}
static int rows_rollback(struct toy *t){
  return rows_rc(t, vecdb_rollback(db_of(t)));
}

static int rows_savepoint(struct toy *t, unsigned *n){
  *n = rows_of(t)->n_save++;
  return rows_rc(t, vecdb_savepoint(db_of(t), *n));
}
static int rows_release(struct toy *t, unsigned n){
  rows_of(t)->n_save = n;
  return rows_rc(t, vecdb_release(db_of(t), n));
}
static int rows_rollback_to(struct toy *t, unsigned n){
  rows_of(t)->n_save = n + 1;
  return rows_rc(t, vecdb_rollback_to(db_of(t), n));
}

static int rows_prepare(struct toy *t, const unsigned char host[16],
                        uint64_t token){
  return rows_rc(t, vecdb_prepare_commit(db_of(t), host, token));
}
static int rows_decide(struct toy *t, bool commit){
  return rows_rc(t, vecdb_decide(db_of(t), commit));
}
static int rows_in_doubt(struct toy *t, bool *in_doubt){
  unsigned char host[16];
  uint64_t token;
  int yes = 0;
  int rc = rows_rc(t, vecdb_in_doubt(db_of(t), &yes, host, &token));
  *in_doubt = yes!=0;
  return rc;
}

static int rows_checkpoint(struct toy *t, int mode, uint64_t *n_log,
                           uint64_t *n_done){
  return rows_rc(t, vecdb_checkpoint(db_of(t), mode, n_log, n_done));
}
static int rows_backup(struct toy *t, const char *path){
  return rows_rc(t, vecdb_backup(db_of(t), path));
}

/* ---- contents ------------------------------------------------------------ */

struct row {                         /* what a row with that stamp holds */
  float v[DIMS];
  int8_t w[DIMS];
  char title[48];                    /* up to 40 bytes, often above 12 */
  char note[240];
  bool has_note;
};

static void text_fill(char *z, size_t n, uint64_t x){
  for(size_t i=0; i<n; i++){
    x = vdb_mix64(x + i);
    z[i] = (char)('a' + x % 26);
  }
  z[n] = 0;
}

static void row_fill(struct row *r, int64_t key, int64_t stamp){
  uint64_t x = vdb_mix64((uint64_t)key*1000003u + (uint64_t)stamp);
  memset(r, 0, sizeof(*r));
  for(int i=0; i<DIMS; i++){
    uint64_t y = vdb_mix64(x + (uint64_t)i + 1);
    r->v[i] = (float)((double)(y>>40) / (1<<23) - 1.0);
    r->w[i] = (int8_t)(y & 0xff);
  }
  text_fill(r->title, (x>>8) % 41, x);
  r->has_note = (x>>16) % 4!=0;
  text_fill(r->note, (x>>24) % 201, x + 7);
}

static void word_name(char *z, size_t n, int64_t i){
  snprintf(z, n, "word %lld", (long long)i);
}

/* ---- writing ------------------------------------------------------------- */

/* Open a collection; with `create` make it when it is not there. *out is NULL
** when it is absent. */
static int coll_open(struct toy *t, const char *name, bool create,
                     vecdb_collection **out){
  int rc = vecdb_collection_open(db_of(t), name, out);
  if( rc!=VECDB_NOTFOUND ) return rows_rc(t, rc);
  *out = NULL;
  if( !create ) return VECDB_OK;
  rc = vecdb_create_collection(db_of(t), name, strcmp(name, "docs")==0 ?
                               docs_schema : words_schema);
  if( rc==VECDB_OK ) rc = vecdb_collection_open(db_of(t), name, out);
  return rows_rc(t, rc);
}

static int stmt_run(struct toy *t, vecdb_stmt *s, int rc){
  if( rc==VECDB_OK ) rc = vecdb_step(s);
  if( rc==VECDB_DONE ) rc = VECDB_OK;
  rc = rows_rc(t, rc);
  vecdb_finalize(s);
  return rc;
}

static int doc_bind(vecdb_stmt *s, const struct row *r, int64_t stamp){
  int rc;
  TRY( vecdb_bind_vector(s, DOC_V, VECDB_F32, r->v, sizeof(r->v),
                         VECDB_TRANSIENT) );
  TRY( vecdb_bind_int64(s, DOC_STAMP, stamp) );
  TRY( vecdb_bind_text(s, DOC_TITLE, r->title, (size_t)-1, VECDB_TRANSIENT) );
  if( r->has_note ){
    TRY( vecdb_bind_text(s, DOC_NOTE, r->note, (size_t)-1, VECDB_TRANSIENT) );
  }else{
    TRY( vecdb_bind_null(s, DOC_NOTE) );
  }
done:
  return rc;
}

enum doc_op { DOC_PUT, DOC_UPDATE, DOC_DELETE };

static int doc_change(struct toy *t, enum doc_op op, int64_t key,
                      int64_t stamp){
  vecdb_collection *c = NULL;
  vecdb_stmt *s = NULL;
  struct row r;
  int rc;

  TRY( coll_open(t, "docs", true, &c) );
  row_fill(&r, key, stamp);
  if( op==DOC_DELETE ){
    TRY( rows_rc(t, vecdb_prepare_delete(c, &s)) );
    rc = vecdb_bind_int64(s, VECDB_KEY, key);
  }else if( op==DOC_UPDATE ){
    TRY( rows_rc(t, vecdb_prepare_update(c, &s)) );
    rc = vecdb_bind_int64(s, VECDB_KEY, key);
    if( rc==VECDB_OK ) rc = doc_bind(s, &r, stamp);
  }else{
    TRY( rows_rc(t, vecdb_prepare_insert(c, VECDB_OR_REPLACE, &s)) );
    rc = vecdb_bind_int64(s, 0, key);
    if( rc==VECDB_OK ) rc = doc_bind(s, &r, stamp);
  }
  rc = stmt_run(t, s, rc);
  if( rc==VECDB_NOTFOUND && op!=DOC_PUT ) rc = VECDB_OK;
done:
  vecdb_collection_close(c);
  return rc;
}

static int word_change(struct toy *t, bool put, int64_t i, int64_t stamp){
  vecdb_collection *c = NULL;
  vecdb_stmt *s = NULL;
  char name[32];
  struct row r;
  int rc;

  word_name(name, sizeof(name), i);
  row_fill(&r, i, stamp);
  TRY( coll_open(t, "words", true, &c) );
  if( put ){
    TRY( rows_rc(t, vecdb_prepare_insert(c, VECDB_OR_REPLACE, &s)) );
    rc = vecdb_bind_text(s, 0, name, (size_t)-1, VECDB_TRANSIENT);
    if( rc==VECDB_OK ) rc = vecdb_bind_vector(s, WORD_V, VECDB_I8, r.w,
                                              sizeof(r.w), VECDB_TRANSIENT);
    if( rc==VECDB_OK ) rc = vecdb_bind_int64(s, WORD_STAMP, stamp);
  }else{
    TRY( rows_rc(t, vecdb_prepare_delete(c, &s)) );
    rc = vecdb_bind_text(s, VECDB_KEY, name, (size_t)-1, VECDB_TRANSIENT);
  }
  rc = stmt_run(t, s, rc);
  if( rc==VECDB_NOTFOUND && !put ) rc = VECDB_OK;
done:
  vecdb_collection_close(c);
  return rc;
}

static int words_drop(struct toy *t){
  int rc = vecdb_drop_collection(db_of(t), "words");
  return rc==VECDB_NOTFOUND ? VECDB_OK : rows_rc(t, rc);
}

static int rows_change(struct toy *t, uint64_t seed, unsigned n){
  struct vdb_rng r;
  int rc = VECDB_OK;
  vdb_rng_init(&r, seed);
  for(unsigned i=0; i<n && rc==VECDB_OK; i++){
    int64_t key = 1 + vdb_rng_below(&r, N_KEY);
    int64_t stamp = (int64_t)(vdb_rng_u64(&r) >> 20);
    switch( vdb_rng_below(&r, 16) ){
      case 0: case 1: case 2: rc = doc_change(t, DOC_DELETE, key, stamp); break;
      case 3: case 4: case 5: rc = doc_change(t, DOC_UPDATE, key, stamp); break;
      case 6: case 7: rc = word_change(t, true, key % 9, stamp); break;
      case 8:         rc = word_change(t, false, key % 9, stamp); break;
      case 9:         rc = key % 8 ? VECDB_OK : words_drop(t); break;
      default:        rc = doc_change(t, DOC_PUT, key, stamp); break;
    }
  }
  return rc;
}

/* n*LOAD_ROWS rows at once, over those of an earlier load. */
static int rows_load(struct toy *t, uint64_t seed, unsigned n){
  size_t n_row = (size_t)n*LOAD_ROWS;
  struct row *rows = lab_alloc(n_row*sizeof(*rows));
  int64_t *keys = lab_alloc(n_row*sizeof(*keys));
  int64_t *stamps = lab_alloc(n_row*sizeof(*stamps));
  const char **titles = lab_alloc(n_row*sizeof(*titles));
  const char **notes = lab_alloc(n_row*sizeof(*notes));
  vecdb_collection *c = NULL;
  int rc;

  for(size_t i=0; i<n_row; i++){
    keys[i] = 1000 + (int64_t)i;
    stamps[i] = (int64_t)(vdb_mix64(seed + i) >> 20);
    row_fill(&rows[i], keys[i], stamps[i]);
    titles[i] = rows[i].title;
    notes[i] = rows[i].has_note ? rows[i].note : NULL;
  }
  rc = coll_open(t, "docs", true, &c);
  if( rc==VECDB_OK ){
    vecdb_column_data d[] = {
      { sizeof(d[0]), 0, VECDB_INTEGER, 0, keys, 0, NULL },
      { sizeof(d[0]), DOC_V, VECDB_VECTOR, VECDB_F32, rows[0].v,
        sizeof(rows[0]), NULL },
      { sizeof(d[0]), DOC_STAMP, VECDB_INTEGER, 0, stamps, 0, NULL },
      { sizeof(d[0]), DOC_TITLE, VECDB_TEXT, 0, titles, 0, NULL },
      { sizeof(d[0]), DOC_NOTE, VECDB_TEXT, 0, notes, 0, NULL }
    };
    rc = rows_rc(t, vecdb_put_many(c, n_row, d, 5, VECDB_OR_REPLACE, NULL));
  }
  vecdb_collection_close(c);
  free(rows);
  free(keys);
  free(stamps);
  free(titles);
  free(notes);
  return rc;
}

static int rows_tidy(struct toy *t, bool vacuum){
  static const char *const names[] = { "docs", "words" };
  int rc = VECDB_OK;
  if( vacuum ) return rows_rc(t, vecdb_vacuum(db_of(t)));
  for(int i=0; i<2 && rc==VECDB_OK; i++){
    vecdb_collection *c = NULL;
    rc = coll_open(t, names[i], false, &c);
    if( rc==VECDB_OK && c ) rc = rows_rc(t, vecdb_optimize(c, NULL));
    vecdb_collection_close(c);
  }
  return rc;
}

static int rows_set_state(struct toy *t, uint64_t state){
  return doc_change(t, DOC_PUT, 0, (int64_t)state);
}

/* ---- reading ------------------------------------------------------------- */

struct best { double distance; int64_t key; };       /* a search's answer */

struct digest {
  uint64_t state, hash;
  float query[DIMS];
  struct best best[K];                    /* by the rows, ascending */
  size_t n_best, n_row;
};

static bool best_before(const struct best *a, const struct best *b){
  return a->distance<b->distance
      || (a->distance==b->distance && a->key<b->key);
}

static void best_add(struct digest *d, struct best b){
  size_t i = d->n_best;
  if( i==K && !best_before(&b, &d->best[K-1]) ) return;
  if( i<K ) d->n_best++;
  else i = K - 1;
  for(; i>0 && best_before(&b, &d->best[i-1]); i--) d->best[i] = d->best[i-1];
  d->best[i] = b;
}

/* A column that could not be had is no wrong column: the next step says so. */
static int column_wrong(struct toy *t, vecdb_stmt *s, const char *what,
                        int64_t key){
  int rc = vecdb_step(s);
  if( rc!=VECDB_ROW && rc!=VECDB_DONE ) return rows_rc(t, rc);
  return rows_wrong(t, what, key);
}

static bool text_equals(vecdb_stmt *s, int column, const char *z){
  const char *got = vecdb_column_text(s, column);
  if( !z ) return vecdb_column_type(s, column)==VECDB_NULL;
  return got && strcmp(got, z)==0;
}

static int doc_verify(struct toy *t, vecdb_stmt *s, struct digest *d){
  int64_t key = vecdb_column_int64(s, 0);
  int64_t stamp = vecdb_column_int64(s, DOC_STAMP);
  struct best b = { 0, key };
  const void *v;
  struct row r;
  size_t n = 0;
  int rc;

  row_fill(&r, key, stamp);
  v = vecdb_column_vector(s, DOC_V, &n);
  if( !v || n!=sizeof(r.v) || memcmp(v, r.v, n)!=0 ){
    return column_wrong(t, s, "vector", key);
  }
  rc = vecdb_distance(VECDB_L2, VECDB_F32, DIMS, v, d->query, &b.distance);
  if( rc!=VECDB_OK ) return rc;
  if( !text_equals(s, DOC_TITLE, r.title) ){
    return column_wrong(t, s, "title", key);
  }
  if( !text_equals(s, DOC_NOTE, r.has_note ? r.note : NULL) ){
    return column_wrong(t, s, "note", key);
  }
  best_add(d, b);
  if( key==0 ) d->state = (uint64_t)stamp;
  d->n_row++;
  d->hash = lab_hash(lab_hash(d->hash, &key, 8), &stamp, 8);
  return VECDB_OK;
}

static int word_verify(struct toy *t, vecdb_stmt *s, struct digest *d){
  const char *word = vecdb_column_text(s, 0);
  int64_t stamp = vecdb_column_int64(s, WORD_STAMP);
  const void *v;
  char name[32];
  struct row r;
  size_t n = 0;
  int64_t i;

  if( !word || sscanf(word, "word %1s", name)!=1 ){
    return column_wrong(t, s, "key", -1);
  }
  i = name[0] - '0';
  row_fill(&r, i, stamp);
  v = vecdb_column_vector(s, WORD_V, &n);
  if( !v || n!=sizeof(r.w) || memcmp(v, r.w, n)!=0 ){
    return column_wrong(t, s, "vector", i);
  }
  d->hash = lab_hash(lab_hash(d->hash, word, strlen(word)), &stamp, 8);
  return VECDB_OK;
}

/* Visit all rows of c. */
static int coll_scan(struct toy *t, vecdb_collection *c, struct digest *d,
                     int (*verify)(struct toy*, vecdb_stmt*, struct digest*)){
  vecdb_stmt *s = NULL;
  int rc = rows_rc(t, vecdb_prepare_scan(c, NULL, &s));
  if( rc!=VECDB_OK ) return rc;
  while( (rc = rows_rc(t, vecdb_step(s)))==VECDB_ROW ){
    rc = verify(t, s, d);
    if( rc!=VECDB_OK ) break;
  }
  vecdb_finalize(s);
  return rc==VECDB_DONE ? VECDB_OK : rc;
}

/* An exact search must say what the rows say. */
static int docs_search(struct toy *t, vecdb_collection *c, struct digest *d){
  vecdb_search_options opt = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_stmt *s = NULL;
  size_t i = 0;
  int rc;

  opt.k = K;
  opt.flags = VECDB_SEARCH_EXACT;
  rc = rows_rc(t, vecdb_prepare_search(c, &opt, &s));
  if( rc!=VECDB_OK ) return rc;
  rc = vecdb_bind_vector(s, VECDB_QUERY, VECDB_F32, d->query,
                         sizeof(d->query), VECDB_TRANSIENT);
  while( rc==VECDB_OK && (rc = rows_rc(t, vecdb_step(s)))==VECDB_ROW ){
    int64_t key = vecdb_column_int64(s, 0);
    if( i>=d->n_best || key!=d->best[i].key
     || vecdb_row_distance(s)!=d->best[i].distance ){
      rc = rows_wrong(t, "place in a search", key);
      break;
    }
    i++;
    rc = VECDB_OK;
  }
  vecdb_finalize(s);
  if( rc==VECDB_DONE && i!=d->n_best ){
    return rows_wrong(t, "number of results", (int64_t)i);
  }
  return rc==VECDB_DONE ? VECDB_OK : rc;
}

static int docs_count(struct toy *t, vecdb_collection *c,
                      const struct digest *d){
  vecdb_collection_stats st;
  int rc;
  memset(&st, 0, sizeof(st));
  st.size = sizeof(st);
  rc = rows_rc(t, vecdb_collection_stat(c, &st));
  if( rc==VECDB_OK && st.n_row!=d->n_row ){
    rc = rows_wrong(t, "number of rows", (int64_t)st.n_row);
  }
  return rc;
}

static int rows_digest(struct toy *t, uint64_t *state, uint64_t *digest){
  vecdb_collection *c = NULL;
  struct digest d;
  int rc;

  memset(&d, 0, sizeof(d));
  *state = *digest = 0;
  for(int i=0; i<DIMS; i++) d.query[i] = (float)(i % 3) - 1.0f;
  TRY( coll_open(t, "docs", false, &c) );
  if( c ){
    TRY( coll_scan(t, c, &d, doc_verify) );
    TRY( docs_search(t, c, &d) );
    TRY( docs_count(t, c, &d) );
    vecdb_collection_close(c);
    c = NULL;
  }
  TRY( coll_open(t, "words", false, &c) );
  if( c ) TRY( coll_scan(t, c, &d, word_verify) );
  *state = d.state;
  *digest = lab_hash(d.hash, &d.n_row, sizeof(d.n_row));
done:
  vecdb_collection_close(c);
  return rc;
}

/* ---- checking ------------------------------------------------------------ */

struct finding { struct toy *t; size_t n; };

static void finding_add(void *arg, int severity, const char *object,
                        const char *message){
  struct finding *f = arg;
  if( severity<1 ) return;
  if( f->n++==0 ){
    (void)vdb_error(&f->t->err, VECDB_CORRUPT, "check: %s: %s", object, message);
  }
}

static int rows_check(struct toy *t, size_t *n_finding){
  struct finding f = { t, 0 };
  int rc = vecdb_check(db_of(t), 0, finding_add, &f);
  *n_finding = f.n;
  return f.n>0 ? rc : rows_rc(t, rc);
}

const struct toy_ops toy_rows_ops = {
  .open = rows_open, .close = rows_close, .begin = rows_begin,
  .commit = rows_commit, .rollback = rows_rollback,
  .savepoint = rows_savepoint, .release = rows_release,
  .rollback_to = rows_rollback_to, .prepare = rows_prepare,
  .decide = rows_decide, .in_doubt = rows_in_doubt,
  .checkpoint = rows_checkpoint, .backup = rows_backup,
  .change = rows_change, .load = rows_load, .tidy = rows_tidy,
  .set_state = rows_set_state, .digest = rows_digest, .check = rows_check
};
