/* t_crash_graph.c -- power cuts while a graph is built, rebuilt and vacuumed.
**
** Each image that a cut may leave is opened, is in the state before or after,
** sound, and answers a search as that state did when it was alive. */
#include "api/graph.h"
#include "lab/lib_crash.h"
#include "util/mem.h"

enum { N_ROW = 400, N_MORE = 60, N_STATE = 4, N_QUERY = 4 };

struct life {
  vecdb *db;
  vecdb_collection *c;
  struct crash_log *log;
  /* What each state answers: rows, rows of graphs, distances. */
  uint64_t n_row[N_STATE], n_graph[N_STATE];
  float distance[N_STATE][N_QUERY*G_K];
  size_t n_probe;
};

static vecdb *life_open(const struct vecdb_file_ops *ops, int *rc){
  vecdb_options o = VECDB_OPTIONS_INIT;
  vecdb *db = NULL;
  o.file = ops;
  o.threads = 1;
  *rc = vecdb_open("x.vdb", VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE, &o, &db);
  return db;
}

static int look(vecdb_collection *c, uint64_t *n_row, uint64_t *n_graph,
                float *distance){
  vecdb_collection_stats st = { .size = sizeof(st) };
  vecdb_search_options o = g_options(G_K, 20);
  float q[N_QUERY*G_DIMS];
  int64_t keys[N_QUERY*G_K];
  int rc = vecdb_collection_stat(c, &st);
  *n_row = st.n_row;
  *n_graph = st.n_graph_row;
  for(uint64_t i=0; i<N_QUERY; i++) g_vector(1000000+i, q + i*G_DIMS);
  if( rc!=VECDB_OK ) return rc;
  return vecdb_search_many(c, &o, N_QUERY, VECDB_F32, q, 0, keys, distance,
                           NULL);
}

static void reach(struct life *l, int state){
  OK(l->db, look(l->c, &l->n_row[state], &l->n_graph[state],
                 l->distance[state]));
  crash_mark(l->log, state, state, false);
}

/* State 0: rows; 1: a graph; 2: other rows, which join it in the commit that
** brings them; 3: the same, vacuumed, after a delete. */
static void live(struct life *l){
  vecdb_stmt *s = NULL;
  reach(l, 0);
  crash_mark(l->log, 0, 1, false);
  OK(l->db, g_optimize(l->c));
  reach(l, 1);
  crash_mark(l->log, 1, 2, false);
  OK(l->db, vecdb_begin(l->db, VECDB_WRITE));
  g_fill(l->c, VECDB_F32, N_ROW, N_ROW+N_MORE);
  OK(l->db, vecdb_prepare_delete(l->c, &s));
  OK(l->db, vecdb_bind_int64(s, VECDB_KEY, 3));
  DONE(l->db, vecdb_step(s));
  OK(l->db, vecdb_finalize(s));
  OK(l->db, vecdb_commit(l->db));
  OK(l->db, vecdb_checkpoint(l->db, VECDB_CHECKPOINT_RESTART, NULL, NULL));
  reach(l, 2);
  crash_mark(l->log, 2, 3, false);
  OK(l->db, vecdb_prepare_delete(l->c, &s));
  OK(l->db, vecdb_bind_int64(s, VECDB_KEY, 5));
  DONE(l->db, vecdb_step(s));
  OK(l->db, vecdb_finalize(s));
  reach(l, 3);
  OK(l->db, vecdb_vacuum(l->db));
}

static int probe_state(struct life *l, vecdb *db, const char **what){
  float distance[N_QUERY*G_K];
  uint64_t n_row = 0, n_graph = 0;
  vecdb_collection *c = NULL;
  int rc = vecdb_collection_open(db, "t", &c), state;
  *what = "cannot be searched";
  if( rc==VECDB_OK ) rc = look(c, &n_row, &n_graph, distance);
  if( rc!=VECDB_OK ) return -1;
  *what = "is not sound";
  if( vecdb_check(db, 0, NULL, NULL)!=VECDB_OK ) return -1;
  *what = "is in no state that ever was";
  for(state=0; state<N_STATE; state++){
    if( l->n_row[state]==n_row && (state==3 || l->n_graph[state]==n_graph) ){
      break;
    }
  }
  if( state==N_STATE ) return -1;
  *what = "answers something else";
  if( memcmp(distance, l->distance[state], sizeof(distance))!=0 ) return -1;
  return state;
}

static int life_probe(void *arg, const struct crash_image *img){
  struct life *l = arg;
  struct vecdb_file_ops *mem = crash_world(img, img->hash);
  const char *what = "cannot be opened";
  int rc, state = -1;
  vecdb *db = life_open(mem, &rc);
  l->n_probe++;
  if( rc==VECDB_OK ) state = probe_state(l, db, &what);
  if( state<img->lo || state>img->hi ){
    FAIL("cut after %zu effects, %s: %s (state %d, %s); %d..%d are allowed",
         img->i_boundary, img->what, what, state, vecdb_errmsg(db), img->lo,
         img->hi);
    state = -1;
  }
  vecdb_close(db);
  vdb_file_mem_destroy(mem);
  return state;
}

TEST(crash__while_a_graph_is_built_leaves_before_or_after){
  struct crash_plan plan = { vt_seed(), vt_scale()>=100 ? 30 : 2,
                             vt_scale()>=100 ? 0 : (size_t)(60*vt_scale()) };
  struct crash_seen *seen = crash_seen_create();
  struct vecdb_file_ops *mem = NULL;
  static struct life l;
  bool failed = false;
  size_t n;
  int rc;
  REQUIRE_RC(VECDB_OK, vdb_file_mem_create(vt_seed(), &mem));
  l.db = life_open(mem, &rc);
  g_fill(api_collection(l.db, "t", G_SCHEMA ", merge_rows=50"), VECDB_F32, 0, N_ROW);
  OK(l.db, vecdb_close(l.db));
  l.log = crash_log_create(mem);
  crash_mark(l.log, 0, 0, false);
  l.db = life_open(crash_log_ops(l.log), &rc);
  REQUIRE_RC(VECDB_OK, rc);
  l.c = api_collection(l.db, "t", NULL);
  live(&l);
  OK(l.db, vecdb_close(l.db));
  n = crash_explore(l.log, &plan, seen, life_probe, &l, &failed);
  printf("  %zu effects, %zu images\n", crash_log_size(l.log), n);
  CHECK(!failed);
  CHECK(n>=30);
  crash_log_destroy(l.log);
  crash_seen_destroy(seen);
  vdb_file_mem_destroy(mem);
}
