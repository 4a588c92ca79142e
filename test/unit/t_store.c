/* t_store.c -- collections of rows against a model, on every page store. */
#include "lib_store.h"

/* ---- Rows -------------------------------------------------------------------
** Schema of the model: every kind of column. */

#define N_COL 9
enum { C_ID, C_V, C_YEAR, C_SCORE, C_FLAG, C_TITLE, C_LANG, C_W, C_BLOB };
static const char schema_int_key[] =
  "id integer primary key, v float[5], year int, score real, flag bool, "
  "title text, lang text partition key, w bit[24], +pic blob, merge_rows=40";
static const char schema_text_key[] =
  "id text primary key, v float[5], year int, score real, flag bool, "
  "title text, lang text partition key, w bit[24], +pic blob, merge_rows=40";

struct row {
  bool     is_live;
  uint32_t seed;                         /* all values follow from it */
  uint32_t seed_v;                       /* of the vectors */
};

/* Values of a row; the bytes live in *mem. */
struct row_mem {
  float v[5];
  unsigned char w[3];
  char key[64], title[64], lang[8];
  unsigned char blob[9000];
};

static void make_key(bool is_text, int i, struct row_mem *m,
                     struct vdb_value *out){
  memset(out, 0, sizeof(*out));
  if( !is_text ){
    out->type = VECDB_INTEGER;
    out->i = i;
    return;
  }
  out->type = VECDB_TEXT;
  out->n = (size_t)snprintf(m->key, sizeof(m->key), "%0*d%s", 4, i,
                            i%3==0 ? "-a-key-of-some-length" : "");
  out->p = m->key;
}

static void make_text(struct vdb_value *v, char *buf, uint32_t n, uint32_t x){
  for(uint32_t i=0; i<n; i++) buf[i] = (char)('a' + (x+i*7)%26);
  v->type = VECDB_TEXT;
  v->p = buf;
  v->n = n;
}

static void make_vectors(uint32_t seed, struct row_mem *m,
                         struct vdb_value *row){
  for(int i=0; i<5; i++) m->v[i] = (float)((seed*31u+(uint32_t)i*17u)%1000);
  for(int i=0; i<3; i++) m->w[i] = (unsigned char)(seed>>(i*3));
  row[C_V].type = row[C_W].type = VECDB_VECTOR;
  row[C_V].p = m->v;
  row[C_V].n = sizeof(m->v);
  row[C_W].p = m->w;
  row[C_W].n = sizeof(m->w);
}

static void make_row(bool is_text, int key, const struct row *r,
                     struct row_mem *m, struct vdb_value *row){
  struct vdb_rng rng;
  uint32_t n;

  memset(row, 0, N_COL*sizeof(*row));
  vdb_rng_init(&rng, r->seed);
  make_key(is_text, key, m, &row[C_ID]);
  make_vectors(r->seed_v, m, row);
  if( vdb_rng_below(&rng, 5) ){
    row[C_YEAR].type = VECDB_INTEGER;
    row[C_YEAR].i = (int64_t)vdb_rng_u64(&rng)>>20;
  }
  if( vdb_rng_below(&rng, 5) ){
    row[C_SCORE].type = VECDB_REAL;
    row[C_SCORE].r = vdb_rng_unit(&rng);
  }
  if( vdb_rng_below(&rng, 5) ){
    row[C_FLAG].type = VECDB_BOOLEAN;
    row[C_FLAG].i = vdb_rng_below(&rng, 2);
  }
  if( vdb_rng_below(&rng, 5) ){
    make_text(&row[C_TITLE], m->title, vdb_rng_below(&rng, 40), r->seed);
  }
  if( vdb_rng_below(&rng, 5) ){
    make_text(&row[C_LANG], m->lang, vdb_rng_below(&rng, 3), r->seed);
  }
  n = vdb_rng_below(&rng, 8)==0 ? vdb_rng_below(&rng, 9000) :
      vdb_rng_below(&rng, 30);
  if( vdb_rng_below(&rng, 3)==0 ){
    for(uint32_t i=0; i<n; i++) m->blob[i] = (unsigned char)(r->seed+i);
    row[C_BLOB].type = VECDB_BLOB;
    row[C_BLOB].p = m->blob;
    row[C_BLOB].n = n;
  }
}

static bool values_equal(const struct vdb_value *a, const struct vdb_value *b){
  if( a->type!=b->type ) return false;
  switch( a->type ){
    case VECDB_NULL: return true;
    case VECDB_INTEGER: case VECDB_BOOLEAN: return a->i==b->i;
    case VECDB_REAL: return a->r==b->r;
    default: return a->n==b->n && (a->n==0 || memcmp(a->p, b->p, a->n)==0);
  }
}

/* ---- The model ----------------------------------------------------------- */

#define MODEL_KEYS 600
struct model { struct row row[MODEL_KEYS]; int n; };

struct world {
  struct db db;
  struct coll *c;
  bool is_text, in_txn;
  struct model now, at_begin, at_savepoint;
  bool has_savepoint;
  unsigned savepoint;
  struct vdb_rng rng;
};

static void model_set(struct model *m, int key, const struct row *r){
  m->n += (r!=NULL) - m->row[key].is_live;
  if( r ) m->row[key] = *r;
  else m->row[key].is_live = false;
}

static struct row random_row(struct world *w){
  struct row r = { true, (uint32_t)vdb_rng_u64(&w->rng),
                   (uint32_t)vdb_rng_u64(&w->rng) };
  return r;
}

static int random_live(struct world *w){
  int at = (int)vdb_rng_below(&w->rng, MODEL_KEYS);

  if( w->now.n==0 ) return -1;
  while( !w->now.row[at].is_live ) at = (at+1)%MODEL_KEYS;
  return at;
}

/* A statement: scope around one change. */
#define STATEMENT(w, expr, out_rc) do{ struct write_scope ws_; \
  OK(&(w)->db, vdb_store_write_begin((w)->db.st, &ws_)); \
  *(out_rc) = vdb_store_write_end((w)->db.st, &ws_, (expr)); }while(0)

static void do_insert(struct world *w){
  int key = (int)vdb_rng_below(&w->rng, MODEL_KEYS), rc;
  unsigned flags = vdb_rng_below(&w->rng, 3);     /* none, REPLACE, IGNORE */
  struct row r = random_row(w);
  struct vdb_value row[N_COL];
  struct row_mem m;
  bool had = w->now.row[key].is_live, done = false;

  make_row(w->is_text, key, &r, &m, row);
  STATEMENT(w, vdb_coll_insert(w->c, row, flags, NULL, &done), &rc);
  if( had && flags==0 ){
    CHECK_RC(VECDB_CONSTRAINT_PK, rc);
    return;
  }
  OK(&w->db, rc);
  CHECK_INT(!(had && flags==VECDB_OR_IGNORE), done);
  if( done ) model_set(&w->now, key, &r);
}

static void do_delete(struct world *w){
  int key = random_live(w), rc;
  struct vdb_value v;
  struct row_mem m;

  if( key<0 ) return;
  make_key(w->is_text, key, &m, &v);
  STATEMENT(w, vdb_coll_delete(w->c, &v), &rc);
  OK(&w->db, rc);
  model_set(&w->now, key, NULL);
  STATEMENT(w, vdb_coll_delete(w->c, &v), &rc);
  CHECK_RC(VECDB_NOTFOUND, rc);
}

/* All metadata (kind 1), the vectors (2), both (3), and perhaps a new key. */
static void do_update(struct world *w){
  int key = random_live(w), to = key, rc;
  uint32_t kind = 1+vdb_rng_below(&w->rng, 3);
  unsigned flags = vdb_rng_below(&w->rng, 3);
  struct vdb_value row[N_COL], v;
  struct row_mem m, mk;
  struct row r, old;

  if( key<0 ) return;
  old = r = w->now.row[key];
  if( kind & 1 ) r.seed = (uint32_t)vdb_rng_u64(&w->rng);
  if( kind & 2 ) r.seed_v = (uint32_t)vdb_rng_u64(&w->rng);
  if( vdb_rng_below(&w->rng, 3)==0 ){
    to = (int)vdb_rng_below(&w->rng, MODEL_KEYS);
  }
  make_row(w->is_text, to, &r, &m, row);
  if( to==key ) row[C_ID].type = VALUE_UNSET;
  if( !(kind & 1) ){
    for(int i=1; i<N_COL; i++){
      if( row[i].type!=VECDB_VECTOR ) row[i].type = VALUE_UNSET;
    }
  }
  if( !(kind & 2) ) row[C_V].type = row[C_W].type = VALUE_UNSET;
  make_key(w->is_text, key, &mk, &v);
  STATEMENT(w, vdb_coll_update(w->c, &v, row, flags), &rc);
  if( to!=key && w->now.row[to].is_live && flags!=VECDB_OR_REPLACE ){
    CHECK_RC(flags==VECDB_OR_IGNORE ? VECDB_OK : VECDB_CONSTRAINT_PK, rc);
    return;
  }
  OK(&w->db, rc);
  VDB_UNUSED(old);
  model_set(&w->now, key, NULL);
  model_set(&w->now, to, &r);
}

static int bulk_rows(struct world *w, unsigned flags, int n, bool ascend,
                     struct model *after){
  struct coll_bulk *b = NULL;
  int rc = vdb_coll_bulk_begin(w->c, flags, &b), rc2;
  int first = (int)vdb_rng_below(&w->rng, MODEL_KEYS);

  for(int i=0; i<n && rc==VECDB_OK; i++){
    int key = ascend ? (first+i)%MODEL_KEYS :
              (int)vdb_rng_below(&w->rng, MODEL_KEYS);
    struct row r = random_row(w);
    struct vdb_value row[N_COL];
    struct row_mem m;
    bool done;
    make_row(w->is_text, key, &r, &m, row);
    rc = vdb_coll_bulk_add(b, row, NULL, &done);
    if( rc==VECDB_OK && done ) model_set(after, key, &r);
  }
  if( b==NULL ) return rc;
  rc2 = vdb_coll_bulk_end(b, rc==VECDB_OK);
  return rc!=VECDB_OK ? rc : rc2;
}

static void do_bulk(struct world *w){
  unsigned flags = 1+vdb_rng_below(&w->rng, 2);
  int n = (int)vdb_rng_below(&w->rng, 300), rc;
  bool ascend = vdb_rng_below(&w->rng, 2);
  struct model after = w->now;

  STATEMENT(w, bulk_rows(w, flags, n, ascend, &after), &rc);
  OK(&w->db, rc);
  w->now = after;
}

static void do_optimize(struct world *w){
  static const unsigned flags[] = { 0, VECDB_OPTIMIZE_SEAL,
                                    VECDB_OPTIMIZE_ALL };
  int rc;

  STATEMENT(w, vdb_coll_optimize(w->c, flags[vdb_rng_below(&w->rng, 3)]),
            &rc);
  OK(&w->db, rc);
}

/* ---- Comparing ----------------------------------------------------------- */

/* One row by its key. */
static void compare_row(struct world *w, int key){
  struct vdb_str buf = VDB_STR_INIT;
  struct vdb_value row[N_COL], v, got;
  struct row_mem m;
  slot_no slot;

  make_key(w->is_text, key, &m, &v);
  if( !w->now.row[key].is_live ){
    CHECK_RC(VECDB_NOTFOUND, vdb_coll_find(w->c, &v, &slot));
    return;
  }
  OK(&w->db, vdb_coll_find(w->c, &v, &slot));
  make_row(w->is_text, key, &w->now.row[key], &m, row);
  for(int i=0; i<N_COL; i++){
    OK(&w->db, vdb_coll_value(w->c, i, slot, &buf, &got));
    if( !values_equal(&row[i], &got) ){
      FAIL("key %d, column %d: type %d, expected %d", key, i, got.type,
           row[i].type);
      vt_stop();
    }
  }
  vdb_str_clear(&buf);
}

struct scan_sum { uint64_t n, n_null; int64_t sum; };

static int scan_year(void *arg, const struct coll_chunk *k){
  struct scan_sum *s = arg;

  for(uint32_t i=0; i<k->n; i++){
    if( !vdb_bit_get(k->live, i) ) continue;
    s->n++;
    if( k->null && vdb_bit_get(k->null, i) ) s->n_null++;
    else s->sum ^= vdb_cell_int(k->cell + (size_t)i*k->width);
  }
  return VECDB_OK;
}

static void compare_scan(struct world *w){
  struct scan_sum want = { 0, 0, 0 }, got = { 0, 0, 0 };

  for(int key=0; key<MODEL_KEYS; key++){
    struct vdb_value row[N_COL];
    struct row_mem m;
    if( !w->now.row[key].is_live ) continue;
    make_row(w->is_text, key, &w->now.row[key], &m, row);
    want.n++;
    if( row[C_YEAR].type==VECDB_NULL ) want.n_null++;
    else want.sum ^= row[C_YEAR].i;
  }
  OK(&w->db, vdb_coll_scan(w->c, C_YEAR, 0, SLOT_NONE, scan_year, &got));
  CHECK_U64(want.n, got.n);
  CHECK_U64(want.n_null, got.n_null);
  CHECK_INT(want.sum, got.sum);
}

/* Runs show every live row once, with its vector. */
static void compare_runs(struct world *w, int column){
  struct coll_runs runs;
  struct vdb_str buf = VDB_STR_INIT;
  uint64_t n = 0;

  OK(&w->db, vdb_coll_runs_open(w->c, column, &runs));
  OK(&w->db, vdb_coll_runs_ready(&runs));
  CHECK_U64((uint64_t)w->now.n, runs.n_row);
  for(size_t i=0; i<runs.n_run; i++){
    const struct flat_run *r = &runs.run[i];
    for(uint32_t k=0; k<r->n_rows; k++){
      slot_no slot = r->slots ? r->slots[k] : r->slot_base+k;
      struct vdb_value got;
      REQUIRE(slot<runs.n_slot);
      if( !vdb_bit_get(r->live, slot) ) continue;
      n++;
      OK(&w->db, vdb_coll_value(w->c, column, slot, &buf, &got));
      REQUIRE_MEM(got.p, (const char*)r->vecs + k*r->stride, got.n);
    }
  }
  CHECK_U64((uint64_t)w->now.n, n);
  CHECK_RC(VECDB_OK, vdb_coll_runs_error(&runs));
  vdb_coll_runs_close(&runs);
  vdb_str_clear(&buf);
}

static void compare_order(struct world *w){
  struct coll_cursor *k = NULL;
  struct vdb_str buf = VDB_STR_INIT;
  bool at_end;
  slot_no slot;
  int n = 0, last = -1;

  OK(&w->db, vdb_coll_cursor_open(w->c, &k));
  for(int rc=vdb_coll_cursor_seek(k, NULL, &slot, &at_end); !at_end;
      rc=vdb_coll_cursor_next(k, &slot, &at_end)){
    struct vdb_value v;
    int key;
    OK(&w->db, rc);
    OK(&w->db, vdb_coll_value(w->c, C_ID, slot, &buf, &v));
    key = w->is_text ? atoi((const char*)v.p) : (int)v.i;
    REQUIRE(key>last);
    last = key;
    n++;
  }
  CHECK_INT(w->now.n, n);
  vdb_coll_cursor_close(k);
  vdb_str_clear(&buf);
}

static void compare_all(struct world *w){
  struct read_scope r;

  OK(&w->db, vdb_store_read_begin(w->db.st, &r));
  OK(&w->db, vdb_coll_refresh(w->c));
  REQUIRE_U64((uint64_t)w->now.n, vdb_coll_n_row(w->c));
  for(int key=0; key<MODEL_KEYS; key++) compare_row(w, key);
  compare_scan(w);
  compare_runs(w, C_V);
  compare_runs(w, C_W);
  compare_order(w);
  OK(&w->db, vdb_store_read_end(w->db.st, &r));
}

/* ---- The walk ------------------------------------------------------------ */

static void do_transaction(struct world *w){
  if( !w->in_txn ){
    OK(&w->db, vdb_store_begin_write(w->db.st));
    w->at_begin = w->now;
    w->in_txn = true;
    w->has_savepoint = false;
    return;
  }
  switch( vdb_rng_below(&w->rng, 5) ){
    case 0:
      OK(&w->db, vdb_store_commit(w->db.st));
      w->in_txn = false;
      break;
    case 1:
      OK(&w->db, vdb_store_rollback(w->db.st));
      w->now = w->at_begin;
      w->in_txn = false;
      break;
    case 2:
      if( w->has_savepoint ) OK(&w->db, vdb_store_release(w->db.st,
                                                          w->savepoint));
      OK(&w->db, vdb_store_savepoint(w->db.st, &w->savepoint));
      w->at_savepoint = w->now;
      w->has_savepoint = true;
      break;
    default:
      if( !w->has_savepoint ) break;
      OK(&w->db, vdb_store_rollback_to(w->db.st, w->savepoint));
      w->now = w->at_savepoint;
  }
}

static void do_reopen(struct world *w){
  if( w->in_txn || (!w->db.ops && !w->db.host) ) return;
  vdb_store_coll_close(w->c);
  OK(&w->db, vdb_store_close(w->db.st));
  OK(&w->db, db_try_open(&w->db));
  w->c = open_coll(&w->db, "t");
}

static void step(struct world *w){
  switch( vdb_rng_below(&w->rng, 100) ){
    case 0: case 1: do_optimize(w); break;
    case 2: do_bulk(w); break;
    case 3: do_reopen(w); break;
    case 4: compare_all(w); break;
    case 5: if( !w->in_txn ) db_check(&w->db); break;
    case 6:
      if( w->in_txn ) break;
      OK(&w->db, vdb_store_vacuum(w->db.st));
      break;
    case 7: case 8: case 9: case 10: case 11: case 12: case 13: case 14:
      do_transaction(w);
      break;
    default:
      switch( vdb_rng_below(&w->rng, 7) ){
        case 0: case 1: case 2: do_insert(w); break;
        case 3: case 4: do_delete(w); break;
        default: do_update(w);
      }
  }
}

static void walk_in(struct world *at, bool is_text, int n_step){
  struct world w = *at;

  vdb_rng_init(&w.rng, vt_seed());
  w.is_text = is_text;
  create(&w.db, "t", is_text ? schema_text_key : schema_int_key);
  w.c = open_coll(&w.db, "T");
  for(int i=0; i<n_step; i++) step(&w);
  if( w.in_txn ) OK(&w.db, vdb_store_commit(w.db.st));
  compare_all(&w);
  db_check(&w.db);
  vdb_store_coll_close(w.c);
  db_close(&w.db);
}

static void walk(enum db_kind kind, bool is_text, int n_step){
  struct world w;

  memset(&w, 0, sizeof(w));
  db_open(&w.db, kind);
  walk_in(&w, is_text, n_step);
}

TEST(store__follows_a_model_in_memory){
  walk(DB_MEMORY, false, 4000*vt_scale());
}
TEST(store__follows_a_model_with_text_keys){
  walk(DB_MEMORY, true, 4000*vt_scale());
}
TEST(store__follows_a_model_in_a_file){ walk(DB_FILE, false, 3000*vt_scale()); }
TEST(store__follows_a_model_in_a_host){ walk(DB_HOST, false, 3000*vt_scale()); }

/* 40 pages: what a transaction changes is written out before it commits. */
TEST(store__follows_a_model_with_a_small_cache){
  struct world w;

  memset(&w, 0, sizeof(w));
  REQUIRE_RC(VECDB_OK, vdb_file_mem_create(1, &w.db.ops));
  w.db.sz_cache = 40*4096;
  REQUIRE_RC(VECDB_OK, db_try_open(&w.db));
  walk_in(&w, false, 3000*vt_scale());
}

TEST(store__follows_a_model_on_large_pages){
  struct world w;

  memset(&w, 0, sizeof(w));
  REQUIRE_RC(VECDB_OK, vdb_file_mem_create(1, &w.db.ops));
  w.db.sz_page = 65536;
  REQUIRE_RC(VECDB_OK, db_try_open(&w.db));
  walk_in(&w, true, 1500*vt_scale());
}

/* ---- Many handles -------------------------------------------------------- */

/* Handles are found by id however many there are, close in any order, and a
** commit concerns those that changed. */
TEST(store__holds_many_collections_open){
  enum { N = 200 };
  struct vdb_value row[2] = { { VECDB_INTEGER, 1, 0, NULL, 0 },
                              { VECDB_VECTOR, 0, 0, NULL, 0 } };
  float v[2] = { 1, 2 };
  struct coll *c[N], *again;
  struct vdb_rng r;
  struct db db;
  char name[20];

  db_open(&db, DB_MEMORY);
  vdb_rng_init(&r, vt_seed());
  row[1].p = (const void*)v;
  row[1].n = sizeof(v);
  for(int i=0; i<N; i++){
    snprintf(name, sizeof(name), "c%d", i);
    create(&db, name, "v float[2]");
    c[i] = open_coll(&db, name);
  }
  for(int round=0; round<300; round++){
    int i = (int)vdb_rng_below(&r, N);
    snprintf(name, sizeof(name), "C%d", i);
    if( c[i]==NULL ){
      c[i] = open_coll(&db, name);
    }else if( round%3==0 ){
      again = open_coll(&db, name);
      CHECK(again==c[i]);
      vdb_store_coll_close(again);
    }else if( round%3==1 ){
      struct write_scope w;
      row[0].i = round+1;
      OK(&db, vdb_store_write_begin(db.st, &w));
      OK(&db, vdb_store_write_end(db.st, &w,
                        vdb_coll_insert(c[i], row, 0, NULL, NULL)));
    }else{
      vdb_store_coll_close(c[i]);
      c[i] = NULL;
    }
  }
  for(int i=0; i<N; i++) vdb_store_coll_close(c[i]);
  db_check(&db);
  db_close(&db);
}
