/* t_apart.c -- optimize beside other writers: what others do while it builds,
** at moments that the test chooses, and the bytes when nobody does anything.
**
** The progress handler of the optimizing connection is the other writer: its
** clock runs so fast that the handler is called at every step.
*/
#include <stdio.h>
#include <stdlib.h>

#include "api/graph.h"

#include "pager/file.h"
#include "store/collection.h"

#define APART_SCHEMA G_SCHEMA ", merge_rows=100"
#define APART_KEY  1000000

struct other;
typedef void (*other_fn)(struct other *o);

/* Two connections to one file, the second of which acts while the first one
** builds. */
struct other {
  struct vecdb_file_ops *ops, fast;
  vecdb *a, *b;
  vecdb_collection *ca, *cb;
  other_fn act;
  int n_act, n_act_max;
  uint64_t n_row;                       /* that should be there */
};

static int64_t fast_clock(void *env){
  static int64_t now;
  VDB_UNUSED(env);
  return now += 1000;
}

static int other_progress(void *arg, const vecdb_progress *p){
  struct other *o = arg;
  if( strcmp(p->phase, "graph")!=0 || strcmp(p->unit, "rows")!=0 ) return 0;
  if( o->n_act>=o->n_act_max ) return 0;
  o->n_act++;
  o->act(o);
  return 0;
}

static vecdb *other_connect(struct vecdb_file_ops *ops){
  vecdb_options opt = VECDB_OPTIONS_INIT;
  opt.file = ops;
  opt.threads = 1;
  opt.sync = VECDB_SYNC_OFF;
  return api_open("x.vdb", &opt);
}

static void other_create(struct other *o, const char *schema, uint64_t n_row,
                         other_fn act, int n_act_max){
  memset(o, 0, sizeof(*o));
  REQUIRE_RC(VECDB_OK, vdb_file_mem_create(vt_seed(), &o->ops));
  o->fast = *o->ops;
  o->fast.now_ms = fast_clock;
  o->a = other_connect(&o->fast);
  o->ca = api_collection(o->a, "t", schema);
  g_fill(o->ca, VECDB_F32, 0, n_row);
  o->b = other_connect(o->ops);
  o->cb = api_collection(o->b, "t", NULL);
  o->act = act;
  o->n_act_max = n_act_max;
  o->n_row = n_row;
  OK(o->a, vecdb_progress_handler(o->a, other_progress, o));
}

static void other_destroy(struct other *o){
  OK(o->b, vecdb_close(o->b));
  OK(o->a, vecdb_check(o->a, 0, NULL, NULL));
  OK(o->a, vecdb_close(o->a));
  vdb_file_mem_destroy(o->ops);
}

/* All rows are there once, by a scan, and found by the graph. */
static void other_good(struct other *o){
  vecdb_search_options opt = g_options(G_K, 60);
  vecdb_collection_stats st = { .size = sizeof(st) };
  OK(o->a, vecdb_collection_stat(o->ca, &st));
  CHECK_U64(o->n_row, st.n_row);
  CHECK(g_recall(o->ca, &opt, VECDB_F32, 40)>=0.95);
  CHECK_STR("graph", g_info(o->ca).plan);
  CHECK(g_recall(o->cb, &opt, VECDB_F32, 40)>=0.95);
  OK(o->a, vecdb_check(o->a, 0, NULL, NULL));
}

static void other_erase(struct other *o, int64_t key){
  vecdb_stmt *s = NULL;
  OK(o->b, vecdb_prepare_delete(o->cb, &s));
  OK(o->b, vecdb_bind_int64(s, VECDB_KEY, key));
  DONE(o->b, vecdb_step(s));
  OK(o->b, vecdb_finalize(s));
  o->n_row--;
}

/* ---- Others write -------------------------------------------------------- */

static void act_write(struct other *o){
  uint64_t at = APART_KEY + 1000*(uint64_t)o->n_act;
  g_fill(o->cb, VECDB_F32, at, at+20);
  o->n_row += 20;
  other_erase(o, 7*o->n_act);
  other_erase(o, (int64_t)at+3);
}

TEST(apart__others_write_while_graphs_are_built){
  for(int round=0; round<2; round++){
    struct other o;
    struct answer near;
    vecdb_search_options opt = g_options(1, 60);
    float q[G_DIMS];
    other_create(&o, G_SCHEMA, 900, act_write, 9);
    if( round==1 ) OK(o.a, g_optimize(o.ca));        /* takes in rows next */
    OK(o.a, g_optimize(o.ca));
    CHECK_INT(9, o.n_act);
    CHECK(g_graph_rows(o.ca)>=880);
    other_good(&o);
    g_vector(APART_KEY+2005, q);
    g_search(o.ca, &opt, VECDB_F32, q, &near);
    CHECK_U64(1, near.n);
    CHECK(near.distance[0]<=0);                      /* nobody missed it */
    OK(o.a, vecdb_optimize(o.ca, NULL));
    other_good(&o);
    other_destroy(&o);
  }
}

/* ---- Others build graphs ------------------------------------------------- */

static void act_rebuild(struct other *o){
  uint64_t at = APART_KEY + 1000*(uint64_t)o->n_act;
  g_fill(o->cb, VECDB_F32, at, at+30);
  o->n_row += 30;
  OK(o->b, g_optimize(o->cb));
}

TEST(apart__others_rebuild_meanwhile){
  struct other o;
  other_create(&o, G_SCHEMA, 900, act_rebuild, 2);
  OK(o.a, g_optimize(o.ca));
  CHECK_INT(2, o.n_act);
  CHECK_U64(960, g_graph_rows(o.ca));                /* the tails, too */
  other_good(&o);
  other_destroy(&o);
}

/* The graph that rows are added to is gone. */
TEST(apart__drafts_of_a_graph_that_is_gone_are_dropped){
  struct other o;
  other_create(&o, G_SCHEMA ", merge_rows=100, optimize=manual", 900,
               act_rebuild, 0);
  OK(o.a, g_optimize(o.ca));
  g_fill(o.ca, VECDB_F32, 5000, 5300);
  o.n_row += 300;
  o.n_act_max = 1;
  OK(o.a, vecdb_optimize(o.ca, NULL));
  CHECK_INT(1, o.n_act);
  CHECK_U64(1230, g_graph_rows(o.ca));
  other_good(&o);
  other_destroy(&o);
}

/* Commits of the other one join rows to graphs again and again, whatever the
** first one does: it comes to an end. */
static void act_join(struct other *o){
  uint64_t at = APART_KEY + 1000*(uint64_t)o->n_act, n = 125;
  int64_t keys[125];
  float v[125*G_DIMS];
  vecdb_column_data d[2] = {
    { sizeof(d[0]), 0, VECDB_INTEGER, 0, keys, 0, NULL },
    { sizeof(d[0]), 1, VECDB_VECTOR, VECDB_F32, v, 0, NULL } };
  int rc;
  for(uint64_t i=0; i<n; i++){
    keys[i] = (int64_t)(at+i);
    g_vector(at+i, v + i*G_DIMS);
  }
  rc = vecdb_put_many(o->cb, n, d, 2, 0, NULL);
  if( rc==VECDB_BUSY ) return;                       /* under the lock, at last */
  if( OK(o->b, rc) ) o->n_row += n;
}

TEST(apart__ends_while_others_join_rows_all_the_time){
  struct other o;
  other_create(&o, APART_SCHEMA, 600, act_join, 0);
  OK(o.a, g_optimize(o.ca));
  g_fill(o.ca, VECDB_F32, 5000, 5090);               /* none at a commit yet */
  o.n_row += 90;
  o.n_act_max = 24;
  OK(o.a, g_optimize(o.ca));
  CHECK(o.n_act>5);
  other_good(&o);
  OK(o.a, vecdb_optimize(o.ca, NULL));
  CHECK_U64(o.n_row, g_graph_rows(o.ca));
  other_good(&o);
  other_destroy(&o);
}

/* ---- The table goes ------------------------------------------------------ */

static void act_drop(struct other *o){
  OK(o->b, vecdb_drop_collection(o->b, "t"));
}

static void act_replace(struct other *o){
  OK(o->b, vecdb_drop_collection(o->b, "t"));
  o->cb = api_collection(o->b, "t", G_SCHEMA);
  g_fill(o->cb, VECDB_F32, 3000, 4000);
}

TEST(apart__the_table_is_dropped_meanwhile){
  const other_fn act[2] = { act_drop, act_replace };
  for(int i=0; i<2; i++){
    struct other o;
    other_create(&o, G_SCHEMA, 900, act[i], 1);
    CHECK_RC(VECDB_NOTFOUND, g_optimize(o.ca));
    CHECK_INT(1, o.n_act);
    if( i==1 ) CHECK_U64(0, g_graph_rows(o.cb));
    other_destroy(&o);
  }
}

/* ---- Alone --------------------------------------------------------------- */

static char *bytes_of(const char *path, size_t *n){
  FILE *f = fopen(path, "rb");
  char *p = NULL;
  REQUIRE( f!=NULL );
  REQUIRE( fseek(f, 0, SEEK_END)==0 );
  *n = (size_t)ftell(f);
  rewind(f);
  p = malloc(*n);
  REQUIRE( p!=NULL && fread(p, 1, *n, f)==*n );
  fclose(f);
  return p;
}

/* By the store's own handle, in one transaction or apart. */
static void recipe_optimize(const char *path, unsigned flags, bool inside){
  struct pager_config cfg = { .path = path, .open_flags = VECDB_OPEN_READWRITE,
                              .sync = VECDB_SYNC_OFF, .fixed_seed = 5 };
  struct vdb_err err = { VECDB_OK, "" };
  struct store *st = NULL;
  struct coll *c = NULL;
  struct read_scope r;
  struct write_scope w;
  REQUIRE_RC(VECDB_OK, vdb_store_open(&cfg, &err, &st));
  vdb_store_set_threads(st, 1);
  REQUIRE_RC(VECDB_OK, vdb_store_read_begin(st, &r));
  REQUIRE_RC(VECDB_OK, vdb_store_coll_open(st, "t", &c));
  REQUIRE_RC(VECDB_OK, vdb_store_read_end(st, &r));
  if( inside ){
    REQUIRE_RC(VECDB_OK, vdb_store_write_begin(st, &w));
    REQUIRE_RC(VECDB_OK, vdb_coll_optimize(c, flags));
    REQUIRE_RC(VECDB_OK, vdb_store_write_end(st, &w, VECDB_OK));
  }else{
    REQUIRE_RC(VECDB_OK, vdb_coll_optimize_apart(c, flags, 0));
  }
  vdb_store_coll_close(c);
  REQUIRE_RC(VECDB_OK, vdb_store_close(st));
}

static vecdb *recipe_open(const char *path, vecdb_collection **c){
  vecdb_options opt = VECDB_OPTIONS_INIT;
  vecdb *db;
  opt.sync = VECDB_SYNC_OFF;
  opt.fixed_seed = 5;
  db = api_open(path, &opt);
  OK(db, vecdb_collection_open(db, "t", c));
  return db;
}

static void recipe_erase(vecdb_collection *c, int64_t lo, int64_t hi,
                         int64_t step){
  vecdb *db = vecdb_collection_db(c);
  vecdb_stmt *s = NULL;
  OK(db, vecdb_begin(db, VECDB_WRITE));
  OK(db, vecdb_prepare_delete(c, &s));
  for(int64_t i=lo; i<hi; i+=step){
    OK(db, vecdb_bind_int64(s, VECDB_KEY, i));
    DONE(db, vecdb_step(s));
    OK(db, vecdb_reset(s));
  }
  OK(db, vecdb_finalize(s));
  OK(db, vecdb_commit(db));
}

/* A life of a table: builds, insertions, purges; rows of the delta. */
static void recipe_run(const char *path, const char *schema, bool inside){
  vecdb_options opt = VECDB_OPTIONS_INIT;
  vecdb_collection *c;
  vecdb *db;
  opt.sync = VECDB_SYNC_OFF;
  opt.fixed_seed = 5;
  db = api_open(path, &opt);
  c = api_collection(db, "t", schema);
  g_fill(c, VECDB_F32, 0, 500);
  recipe_erase(c, 0, 500, 50);
  api_put(c, 9000, "[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]");
  OK(db, vecdb_close(db));
  recipe_optimize(path, VECDB_OPTIMIZE_ALL, inside);
  db = recipe_open(path, &c);
  g_fill(c, VECDB_F32, 1000, 1230);
  recipe_erase(c, 1001, 1200, 9);
  api_put(c, 9001, "[200,200,200,200,200,200,200,200,0,0,0,0,0,0,0,0]");
  OK(db, vecdb_close(db));
  recipe_optimize(path, 0, inside);
  db = recipe_open(path, &c);
  CHECK(g_graph_rows(c)>690);
  recipe_erase(c, 301, 350, 1);
  OK(db, vecdb_close(db));
  recipe_optimize(path, 0, inside);
  db = recipe_open(path, &c);
  g_fill(c, VECDB_F32, 2000, 2200);
  OK(db, vecdb_close(db));
  recipe_optimize(path, VECDB_OPTIMIZE_ALL, inside);
  db = recipe_open(path, &c);
  CHECK(g_graph_rows(c)>800);
  OK(db, vecdb_check(db, 0, NULL, NULL));
  OK(db, vecdb_close(db));
}

TEST(apart__alone_it_writes_the_bytes_of_one_transaction){
  static const char *const schema[] = {
    G_SCHEMA ", merge_rows=100, optimize=manual",
    G_SCHEMA " distance_metric=cosine, merge_rows=100, optimize=manual",
    G_SCHEMA " distance_metric=ip, merge_rows=100, optimize=manual" };
  const char *path[2];
  path[0] = vt_path("inside.vdb");
  path[1] = vt_path("apart.vdb");
  for(size_t i=0; i<3; i++){
    char *p[2];
    size_t n[2];
    for(int k=0; k<2; k++){
      remove(path[k]);
      recipe_run(path[k], schema[i], k==0);
      p[k] = bytes_of(path[k], &n[k]);
    }
    CHECK_U64(n[0], n[1]);
    if( n[0]==n[1] && memcmp(p[0], p[1], n[0])!=0 ){
      FAIL("%s: the bytes differ", schema[i]);
    }
    free(p[0]);
    free(p[1]);
  }
}

