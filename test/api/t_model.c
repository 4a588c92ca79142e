/* t_model.c -- random operations, compared with a model that has no index.
**
** The model is an array of rows. After each batch of operations the answers of
** scans and searches must be the model's, to the bit: the model computes
** distances with vecdb_distance and sorts by (distance, key). The same script
** runs in memory, on the pages of a host, and on a file; where something is
** kept, the handle is closed and opened from time to time, and on the file a
** second handle looks on.
**
** A run is many scripts, each with a database and a seed of its own: a failure
** is found again by its seed in seconds, however long the run was.
*/
#include "api/api.h"

#include "unit/lib_host.h"
#include <unistd.h>

#include "util/rng.h"

enum { DIMS = 8, KEY_MAX = 400, N_OP_SCRIPT = 5000 };

struct model_row {
  bool is_live, has_n;
  int64_t n;
  int tag;                                 /* text "t<tag>" */
  float v[DIMS];
};

struct model {
  struct model_row row[KEY_MAX];           /* by key */
  int64_t max_key;
};

struct world {
  vecdb *db;
  vecdb_collection *c;
  const char *path;                        /* of a file, or NULL */
  struct host *host;                       /* its pages, or NULL; else memory */
  const char *metric;
  int metric_no;
  struct vdb_rng rng;
  struct model m, saved[2];                /* now; at begin, at savepoint */
  bool in_tx, has_sp;
  uint64_t n_op;                           /* operations and questions */
};

static uint32_t rnd(struct world *w, uint32_t n){
  return vdb_rng_below(&w->rng, n);
}

/* Few different values, so that equal distances are common. */
static void random_vector(struct world *w, float *v){
  for(int i=0; i<DIMS; i++) v[i] = (float)rnd(w, 4) - 1.5f;
}

static void random_row(struct world *w, struct model_row *r){
  r->is_live = true;
  r->has_n = rnd(w, 5)!=0;
  r->n = rnd(w, 20);
  r->tag = (int)rnd(w, 6);
  random_vector(w, r->v);
}

static void world_open(struct world *w, bool is_new){
  char schema[200];
  vecdb_options o = VECDB_OPTIONS_INIT;
  o.sync = VECDB_SYNC_OFF;                 /* nobody cuts the power here */
  if( w->host ) o.store = &w->host->ops;
  w->db = w->path || w->host ? api_open(w->path ? w->path : "", &o)
                             : api_memory();
  snprintf(schema, sizeof(schema), "id integer primary key, v float[%d] "
           "distance_metric=%s, n int, tag text", DIMS, w->metric);
  w->c = api_collection(w->db, "t", is_new ? schema : NULL);
}

/* ---- Operations --------------------------------------------------------- */

static void bind_row(vecdb_stmt *s, const struct model_row *r){
  char tag[20];
  vecdb_bind_vector(s, 1, VECDB_F32, r->v, sizeof(r->v), VECDB_STATIC);
  if( r->has_n ) vecdb_bind_int64(s, 2, r->n);
  else vecdb_bind_null(s, 2);
  snprintf(tag, sizeof(tag), "t%d", r->tag);
  vecdb_bind_text(s, 3, tag, (size_t)-1, VECDB_TRANSIENT);
}

static void do_insert(struct world *w){
  static const uint32_t flag[] = { 0, VECDB_OR_REPLACE, VECDB_OR_IGNORE };
  int64_t key = (int64_t)rnd(w, KEY_MAX);
  uint32_t flags = flag[rnd(w, 3)];
  struct model_row r;
  vecdb_stmt *s;
  bool exists = w->m.row[key].is_live;
  random_row(w, &r);
  OK(w->db, vecdb_prepare_insert(w->c, flags, &s));
  OK(w->db, vecdb_bind_int64(s, 0, key));
  bind_row(s, &r);
  if( exists && flags==0 ){
    CHECK_RC(VECDB_CONSTRAINT_PK, vecdb_step(s));
  }else{
    DONE(w->db, vecdb_step(s));
    if( !exists || flags==VECDB_OR_REPLACE ) w->m.row[key] = r;
    if( key>w->m.max_key ) w->m.max_key = key;
  }
  OK(w->db, vecdb_finalize(s));
}

static void do_delete(struct world *w){
  int64_t key = (int64_t)rnd(w, KEY_MAX);
  vecdb_stmt *s;
  OK(w->db, vecdb_prepare_delete(w->c, &s));
  OK(w->db, vecdb_bind_int64(s, VECDB_KEY, key));
  if( w->m.row[key].is_live ) DONE(w->db, vecdb_step(s));
  else CHECK_RC(VECDB_NOTFOUND, vecdb_step(s));
  w->m.row[key].is_live = false;
  OK(w->db, vecdb_finalize(s));
}

static void do_update(struct world *w){
  int64_t key = (int64_t)rnd(w, KEY_MAX), to = key;
  struct model_row *r = &w->m.row[key], next = *r;
  bool moves = rnd(w, 4)==0, ok = r->is_live;
  vecdb_stmt *s;
  OK(w->db, vecdb_prepare_update(w->c, &s));
  OK(w->db, vecdb_bind_int64(s, VECDB_KEY, key));
  if( rnd(w, 2) ){
    next.has_n = true;
    next.n = rnd(w, 20);
    OK(w->db, vecdb_bind_int64(s, 2, next.n));
  }
  if( rnd(w, 2) ){
    random_vector(w, next.v);
    OK(w->db, vecdb_bind_vector(s, 1, VECDB_F32, next.v, sizeof(next.v),
                                VECDB_TRANSIENT));
  }
  if( moves ){
    to = (int64_t)rnd(w, KEY_MAX);
    OK(w->db, vecdb_bind_int64(s, 0, to));
    ok = ok && (to==key || !w->m.row[to].is_live);
  }
  if( ok ){
    DONE(w->db, vecdb_step(s));
    r->is_live = false;
    next.is_live = true;
    w->m.row[to] = next;
    if( to>w->m.max_key ) w->m.max_key = to;
  }else{
    int rc = vecdb_step(s);
    CHECK(rc==VECDB_NOTFOUND || rc==VECDB_CONSTRAINT_PK);
  }
  OK(w->db, vecdb_finalize(s));
}

static void do_put_many(struct world *w){
  enum { N = 12 };
  struct model_row r[N];
  int64_t key[N];
  const char *tag[N];
  static char text[N][20];
  uint8_t null[N];
  vecdb_column_data d[4];
  int n = 0;
  memset(d, 0, sizeof(d));
  for(int i=0; i<N; i++){
    int64_t k = (int64_t)rnd(w, KEY_MAX);
    for(int j=0; j<n; j++) if( key[j]==k ) k = -1;
    if( k<0 ) continue;
    random_row(w, &r[n]);
    key[n] = k;
    null[n] = !r[n].has_n;
    snprintf(text[n], sizeof(text[n]), "t%d", r[n].tag);
    tag[n] = text[n];
    n++;
  }
  for(int i=0; i<4; i++) d[i].size = sizeof(d[i]), d[i].column = i;
  d[0].type = VECDB_INTEGER, d[0].data = key;
  d[1].type = VECDB_VECTOR, d[1].element = VECDB_F32, d[1].data = r[0].v;
  d[1].stride = sizeof(r[0]);
  d[2].type = VECDB_INTEGER, d[2].data = &r[0].n, d[2].stride = sizeof(r[0]);
  d[2].nulls = null;
  d[3].type = VECDB_TEXT, d[3].data = tag;
  OK(w->db, vecdb_put_many(w->c, (size_t)n, d, 4, VECDB_OR_REPLACE, NULL));
  for(int i=0; i<n; i++){
    w->m.row[key[i]] = r[i];
    if( key[i]>w->m.max_key ) w->m.max_key = key[i];
  }
}

static void do_transaction(struct world *w){
  uint32_t what = rnd(w, 4);
  if( !w->in_tx ){
    OK(w->db, vecdb_begin(w->db, VECDB_WRITE));
    w->saved[0] = w->m;
    w->in_tx = true;
    w->has_sp = false;
  }else if( what==0 && !w->has_sp ){
    OK(w->db, vecdb_savepoint(w->db, 4));
    w->saved[1] = w->m;
    w->has_sp = true;
  }else if( what==1 && w->has_sp ){
    OK(w->db, vecdb_rollback_to(w->db, 2));
    w->m = w->saved[1];
  }else{
    if( what==2 ){
      OK(w->db, vecdb_rollback(w->db));
      w->m = w->saved[0];
    }else{
      OK(w->db, vecdb_commit(w->db));
    }
    w->in_tx = false;
  }
}

static void do_upkeep(struct world *w){
  vecdb_optimize_options o = { .size = sizeof(o), .flags = 0 };
  switch( rnd(w, 5) ){
    case 0: case 1:
      o.flags = rnd(w, 8)==0 ? VECDB_OPTIMIZE_ALL : rnd(w, 2);
      OK(w->db, vecdb_optimize(w->c, &o));
      break;
    case 2:
      if( !w->in_tx ) OK(w->db, vecdb_vacuum(w->db));
      break;
    default:
      if( w->in_tx || (w->path==NULL && w->host==NULL) ) break;
      OK(w->db, vecdb_close(w->db));
      world_open(w, false);
  }
}

/* ---- Questions ---------------------------------------------------------- */

struct hit { double d; int64_t key; };
static int hit_order(const void *a, const void *b){
  const struct hit *x = a, *y = b;
  if( x->d!=y->d ) return x->d<y->d ? -1 : 1;
  return x->key<y->key ? -1 : x->key>y->key;
}

/* The filters asked, as text and as the model sees them. */
static const char *const filters[] = {
  NULL, "n < 10", "n IS NULL OR tag = 't3'", "NOT (n >= 5 AND n <= 15)",
  "tag IN ('t1', 't4') AND id > 100", "n = 7", "id IN (3, 77, 105, 300)"
};
enum { N_FILTER = 7 };
static bool passes(const struct model_row *r, int64_t key, int filter){
  switch( filter ){
    case 0:  return true;
    case 1:  return r->has_n && r->n<10;
    case 2:  return !r->has_n || r->tag==3;
    case 3:  return r->has_n && !(r->n>=5 && r->n<=15);
    case 4:  return (r->tag==1 || r->tag==4) && key>100;
    case 5:  return r->has_n && r->n==7;
    default: return key==3 || key==77 || key==105 || key==300;
  }
}

static void check_scan(struct world *w, vecdb *db, vecdb_collection *c,
                       const struct model *m, int filter){
  vecdb_stmt *s;
  OK(db, vecdb_prepare_scan(c, filters[filter], &s));
  for(int64_t key=0; key<KEY_MAX; key++){
    const struct model_row *r = &m->row[key];
    char tag[20];
    if( !r->is_live || !passes(r, key, filter) ) continue;
    if( !ROW(db, vecdb_step(s)) ) break;
    CHECK_INT(key, vecdb_column_int64(s, 0));
    CHECK_MEM(r->v, vecdb_column_vector(s, 1, NULL), sizeof(r->v));
    CHECK_INT(r->has_n ? VECDB_INTEGER : VECDB_NULL, vecdb_column_type(s, 2));
    if( r->has_n ) CHECK_INT(r->n, vecdb_column_int64(s, 2));
    snprintf(tag, sizeof(tag), "t%d", r->tag);
    CHECK_STR(tag, vecdb_column_text(s, 3));
  }
  DONE(db, vecdb_step(s));
  OK(db, vecdb_finalize(s));
  (void)w;
}

static void check_search(struct world *w, int filter){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  static struct hit hit[KEY_MAX];
  struct hit max = { 0, 0 };
  float q[DIMS];
  size_t n = 0;
  vecdb_stmt *s;
  random_vector(w, q);
  for(int64_t key=0; key<KEY_MAX; key++){
    const struct model_row *r = &w->m.row[key];
    if( !r->is_live || !passes(r, key, filter) ) continue;
    vecdb_distance(w->metric_no, VECDB_F32, DIMS, q, r->v, &hit[n].d);
    hit[n++].key = key;
  }
  qsort(hit, n, sizeof(*hit), hit_order);
  o.k = 1 + rnd(w, 30);
  o.filter = filters[filter];
  if( n>0 && rnd(w, 3)==0 ){
    max = hit[rnd(w, (uint32_t)n)];
    o.flags = VECDB_SEARCH_HAS_MAX;
    o.max_distance = max.d;
    o.k = 0;
    while( n>0 && hit[n-1].d>max.d ) n--;
  }
  OK(w->db, vecdb_prepare_search(w->c, &o, &s));
  OK(w->db, vecdb_bind_vector(s, VECDB_QUERY, VECDB_F32, q, sizeof(q),
                              VECDB_STATIC));
  if( o.k>0 && n>o.k ) n = o.k;
  for(size_t i=0; i<n; i++){
    if( !ROW(w->db, vecdb_step(s)) ) break;
    CHECK_INT(hit[i].key, vecdb_column_int64(s, 0));
    CHECK(hit[i].d==vecdb_row_distance(s));
  }
  DONE(w->db, vecdb_step(s));
  OK(w->db, vecdb_finalize(s));
}

/* Another handle sees what is committed. */
static void check_other(struct world *w){
  vecdb *db;
  vecdb_collection *c;
  if( w->path==NULL ) return;
  db = api_open(w->path, NULL);
  c = api_collection(db, "t", NULL);
  check_scan(w, db, c, w->in_tx ? &w->saved[0] : &w->m, 0);
  OK(db, vecdb_close(db));
}

static uint64_t script(const char *path, struct host *host,
                       const char *metric, int metric_no, uint64_t seed,
                       int n_op){
  static struct world w;
  memset(&w, 0, sizeof(w));
  w.path = path;
  w.host = host;
  w.metric = metric;
  w.metric_no = metric_no;
  vdb_rng_init(&w.rng, seed);
  world_open(&w, true);
  for(int i=0; i<n_op; i++){
    w.n_op++;
    switch( rnd(&w, 16) ){
      case 0: case 1: case 2: case 3: do_insert(&w); break;
      case 4: case 5: do_delete(&w); break;
      case 6: case 7: case 8: do_update(&w); break;
      case 9: do_put_many(&w); break;
      case 10: case 11: do_transaction(&w); break;
      case 12: check_search(&w, (int)rnd(&w, N_FILTER)); break;
      case 13: check_search(&w, 0); break;
      case 14:
        if( rnd(&w, 4)==0 ) do_upkeep(&w);
        else w.n_op--;
        break;
      default:
        if( rnd(&w, 8)==0 ) check_other(&w);
        else w.n_op--;
    }
    if( i%97==0 ) check_scan(&w, w.db, w.c, &w.m, (int)rnd(&w, N_FILTER));
  }
  if( w.in_tx ) OK(w.db, vecdb_commit(w.db));
  check_scan(&w, w.db, w.c, &w.m, 0);
  OK(w.db, vecdb_check(w.db, 0, NULL, NULL));
  OK(w.db, vecdb_close(w.db));
  return w.n_op;
}

enum place { IN_MEMORY, IN_HOST, IN_FILE };

static uint64_t script_in(enum place place, uint64_t seed, int n_op){
  static const struct { const char *name; int no; } metric[] = {
    { "l2", VECDB_L2 }, { "ip", VECDB_IP }, { "cosine", VECDB_COSINE },
    { "l1", VECDB_L1 }
  };
  struct host *host = place==IN_HOST ? host_create() : NULL;
  const char *path = place==IN_FILE ? vt_path("t.vdb") : NULL;
  size_t m = seed % (sizeof(metric)/sizeof(metric[0]));
  uint64_t n = script(path, host, metric[m].name, metric[m].no, seed, n_op);
  if( host ) host_destroy(host);
  if( path ) unlink(path);
  return n;
}

/* n_want operations at full size, n_want/1600 times a smaller scale; in scripts
** of at most N_OP_SCRIPT. */
static void agree(enum place place, uint64_t n_want){
  uint64_t n = 0, n_min = n_want/1600*(uint64_t)vt_scale();
  uint64_t seed = vt_seed()*1000 + (uint64_t)place;
  if( vt_scale()>=100 ) n_min = n_want;
  while( n<n_min ){
    int n_op = n_min-n<N_OP_SCRIPT ? (int)(n_min-n) + 10 : N_OP_SCRIPT;
    n += script_in(place, seed, n_op);
    if( vt_has_failed() ){
      FAIL("seed of the script: %llu", (unsigned long long)seed);
      break;
    }
    seed += 3;
  }
  vt_figure("model-operations", n, n_want);
}

TEST(model__agrees_in_memory){ agree(IN_MEMORY, 8000000); }
TEST(model__agrees_on_the_pages_of_a_host){ agree(IN_HOST, 1000000); }
TEST(model__agrees_on_a_file){ agree(IN_FILE, 1000000); }
