/* t_fault_upkeep.c -- optimizing, vacuum, copies, checks and graphs, with each
** call and each allocation failing once (lib_rowsweep.h).
*/
#include "vt.h"
#include "lab/lib_rowsweep.h"

#define SCHEMA "id integer primary key, v float[4] index=flat(bits=4), " \
  "w int8[4] distance_metric=l1, n int, s text, +x text"
#define GRAPHS "id integer primary key, v float[4] index=graph(bits=1," \
  " nav=none, build_l=16), c float[4] distance_metric=cosine index=graph(" \
  "bits=1, nav=none, build_l=16), n int"
#define ONE_GRAPH "id integer primary key, v float[4] distance_metric=ip " \
  "index=graph(bits=1, nav=none, build_l=16), n int, merge_rows=20"

enum { N_GRAPH = 262 };               /* a few more than the least there are */

/* ---- files --------------------------------------------------------------- */

/* A stale group, a small one, dead rows, a delta. */
static int make_untidy(vecdb *db){
  int rc;
  TRY( vecdb_create_collection(db, "t", SCHEMA) );
  TRY( rows_fill(db, "t", 0, 40) );
  TRY( coll_optimize(db, "t", VECDB_OPTIMIZE_SEAL) );
  TRY( rows_erase(db, "t", 5, 35, 2) );
  TRY( rows_fill(db, "t", 40, 48) );
  TRY( coll_optimize(db, "t", VECDB_OPTIMIZE_SEAL) );
  TRY( rows_fill(db, "t", 48, 56) );
  TRY( rows_erase(db, "t", 49, 56, 4) );
done:
  return rc;
}

static int make_two(vecdb *db){
  int rc;
  TRY( make_untidy(db) );
  TRY( vecdb_create_collection(db, "words",
         "word text primary key, v float[3]") );
  TRY( rows_fill(db, "words", 0, 10) );
done:
  return rc;
}

static int make_before_graphs(vecdb *db){
  int rc;
  TRY( vecdb_create_collection(db, "g", GRAPHS) );
  TRY( rows_fill(db, "g", 0, N_GRAPH) );
done:
  return rc;
}

static int make_graphs(vecdb *db){
  int rc;
  TRY( make_before_graphs(db) );
  TRY( coll_optimize(db, "g", VECDB_OPTIMIZE_ALL) );
done:
  return rc;
}

/* A graph, and rows behind it. */
static int make_one_graph(vecdb *db){
  int rc;
  TRY( vecdb_create_collection(db, "g", ONE_GRAPH) );
  TRY( rows_fill(db, "g", 0, N_GRAPH) );
  TRY( coll_optimize(db, "g", VECDB_OPTIMIZE_ALL) );
  TRY( rows_fill(db, "g", N_GRAPH, N_GRAPH+15) );
done:
  return rc;
}

/* ---- row groups ---------------------------------------------------------- */

static int act_seal(vecdb *db, uint64_t *answer){
  VDB_UNUSED(answer);
  return coll_optimize(db, "t", VECDB_OPTIMIZE_SEAL);
}
static int act_optimize(vecdb *db, uint64_t *answer){
  VDB_UNUSED(answer);
  return coll_optimize(db, "t", 0);
}
static int act_optimize_all(vecdb *db, uint64_t *answer){
  VDB_UNUSED(answer);
  return coll_optimize(db, "t", VECDB_OPTIMIZE_ALL);
}
static int act_optimize_inside(vecdb *db, uint64_t *answer){
  int rc;
  TRY( vecdb_begin(db, VECDB_WRITE) );
  TRY( rows_fill(db, "t", 60, 63) );
  TRY( act_optimize(db, answer) );
  TRY( vecdb_commit(db) );
done:
  return rc;
}
static int act_codes_off(vecdb *db, uint64_t *answer){
  int rc;
  TRY( vecdb_begin(db, VECDB_WRITE) );
  TRY( coll_set(db, "t", "v.index", "flat(codec=none)") );
  TRY( act_optimize_all(db, answer) );
  TRY( vecdb_commit(db) );
done:
  return rc;
}

TEST(fault__optimizing){
  struct rowsweep s = { .name="seal by hand", .make=make_untidy,
                        .act=act_seal };
  rowsweep_run(&s);
  s.name = "optimize";
  s.act = act_optimize;
  rowsweep_run(&s);
  s.name = "optimize all";
  s.act = act_optimize_all;
  rowsweep_run(&s);
  s.name = "optimize inside a transaction";
  s.act = act_optimize_inside;
  rowsweep_run(&s);
  s.name = "take away codes";
  s.act = act_codes_off;
  rowsweep_run(&s);
}

/* ---- the whole file ------------------------------------------------------ */

static int act_vacuum(vecdb *db, uint64_t *answer){
  VDB_UNUSED(answer);
  return vecdb_vacuum(db);
}
static int act_backup(vecdb *db, uint64_t *answer){
  VDB_UNUSED(answer);
  return vecdb_backup(db, "copy.vdb");
}
static void finding_count(void *arg, int severity, const char *object,
                          const char *message){
  VDB_UNUSED(severity); VDB_UNUSED(object); VDB_UNUSED(message);
  ++*(uint64_t*)arg;
}
/* What could not be examined to the end says nothing of damage. */
static int act_check(vecdb *db, uint64_t *answer){
  uint64_t n = 0;
  int rc = vecdb_check(db, 0, finding_count, &n);
  CHECK_U64(0, n);
  *answer = n;
  return rc;
}
static int act_stat(vecdb *db, uint64_t *answer){
  vecdb_collection_stats st = { .size = sizeof(st) };
  vecdb_collection *c = NULL;
  vecdb_stats all = { .size = sizeof(all) };
  vecdb_column_info info = { .size = sizeof(info) };
  int rc;
  TRY( vecdb_collection_open(db, "g", &c) );
  TRY( vecdb_collection_stat(c, &st) );
  TRY( vecdb_stat(db, &all) );
  TRY( vecdb_column_describe(c, 1, &info) );
  *answer = st.n_row + st.n_graph_row + all.n_page + (uint64_t)info.index[0];
done:
  vecdb_collection_close(c);
  return rc;
}

TEST(fault__vacuum){
  struct rowsweep s = { .name="vacuum", .make=make_two, .act=act_vacuum,
                        .may_close=true };
  rowsweep_run(&s);
  s.name = "vacuum in memory";
  s.in_memory = true;
  rowsweep_run(&s);
}

TEST(fault__backup){
  struct rowsweep s = { .name="backup", .make=make_two, .act=act_backup,
                        .reads=true };
  rowsweep_run(&s);
  s.name = "backup of what is in memory";
  s.in_memory = true;
  rowsweep_run(&s);
}

TEST(fault__examining){
  struct rowsweep s = { .name="check", .make=make_two, .act=act_check,
                        .reads=true };
  rowsweep_run(&s);
  s.name = "check of graphs";
  s.make = make_graphs;
  rowsweep_run(&s);
  s.name = "statistics";
  s.act = act_stat;
  rowsweep_run(&s);
}

/* ---- graphs -------------------------------------------------------------- */

static int act_build(vecdb *db, uint64_t *answer){
  VDB_UNUSED(answer);
  return coll_optimize(db, "g", VECDB_OPTIMIZE_ALL);
}
static int act_build_inside(vecdb *db, uint64_t *answer){
  int rc;
  TRY( vecdb_begin(db, VECDB_WRITE) );
  TRY( act_build(db, answer) );
  TRY( vecdb_commit(db) );
done:
  return rc;
}
static int act_join(vecdb *db, uint64_t *answer){
  VDB_UNUSED(answer);
  return rows_fill(db, "g", N_GRAPH+15, N_GRAPH+22);
}
static int act_enlarge(vecdb *db, uint64_t *answer){
  int rc;
  VDB_UNUSED(answer);
  TRY( vecdb_begin(db, VECDB_WRITE) );
  TRY( rows_erase(db, "g", 0, N_GRAPH, 10) );
  TRY( rows_fill(db, "g", N_GRAPH+15, N_GRAPH+22) );
  TRY( coll_optimize(db, "g", 0) );
  TRY( vecdb_commit(db) );
done:
  return rc;
}
static int act_purge(vecdb *db, uint64_t *answer){
  VDB_UNUSED(answer);
  return rows_erase(db, "g", 0, N_GRAPH/3, 1);
}
static int act_without(vecdb *db, uint64_t *answer){
  int rc;
  VDB_UNUSED(answer);
  TRY( vecdb_begin(db, VECDB_WRITE) );
  TRY( coll_set(db, "g", "v.index", "flat") );
  TRY( coll_optimize(db, "g", 0) );
  TRY( vecdb_commit(db) );
done:
  return rc;
}
static int act_drop(vecdb *db, uint64_t *answer){
  VDB_UNUSED(answer);
  return vecdb_drop_collection(db, "g");
}

TEST(fault__building_graphs){
  struct rowsweep s = { .name="build", .make=make_before_graphs,
                        .act=act_build, .step=200 };
  rowsweep_run(&s);
  s.name = "build inside a transaction";
  s.act = act_build_inside;
  rowsweep_run(&s);
}

TEST(fault__graphs_that_grow_and_shrink){
  struct rowsweep s = { .name="join a graph", .make=make_one_graph,
                        .act=act_join };
  rowsweep_run(&s);
  s.name = "enlarge a graph";
  s.act = act_enlarge;
  s.step = 200;
  rowsweep_run(&s);
  s.name = "purge a graph";
  s.act = act_purge;
  rowsweep_run(&s);
}

TEST(fault__graphs_that_go){
  struct rowsweep s = { .name="drop a graph", .make=make_graphs,
                        .act=act_without };
  rowsweep_run(&s);
  s.name = "drop all";
  s.act = act_drop;
  rowsweep_run(&s);
}

TEST(fault__vacuum_of_graphs){
  struct rowsweep s = { .name="vacuum of graphs", .make=make_one_graph,
                        .act=act_vacuum, .may_close=true, .step=100 };
  rowsweep_run(&s);
}

/* ---- searches by graphs -------------------------------------------------- */

static int search_by(vecdb *db, int32_t column, uint32_t flags,
                     const char *filter, uint64_t *answer){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  o.column = column;
  o.filter = filter;
  o.ef = 40;
  o.flags = flags;
  if( flags ) o.k = 0;
  o.max_distance = 15;
  return rows_search(db, "g", &o, "[1,2,3,4]", answer);
}
static int act_graph(vecdb *db, uint64_t *answer){
  int rc;
  TRY( search_by(db, 1, 0, NULL, answer) );
  TRY( search_by(db, 2, 0, "n < 95", answer) );
done:
  return rc;
}
static int act_graph_range(vecdb *db, uint64_t *answer){
  return search_by(db, 1, VECDB_SEARCH_HAS_MAX, NULL, answer);
}
static int act_graph_rest(vecdb *db, uint64_t *answer){
  return search_by(db, 1, 0, NULL, answer);
}
static int act_graph_multi(vecdb *db, uint64_t *answer){
  static const float q[] = { 1, 2, 3, 4 };
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_query_part part[] = {
    { sizeof(part[0]), 1, VECDB_F32, 0, 1, q, sizeof(q) },
    { sizeof(part[0]), 2, VECDB_F32, 0, 2, q, sizeof(q) } };
  vecdb_collection *c = NULL;
  vecdb_stmt *s = NULL;
  int rc;
  TRY( vecdb_collection_open(db, "g", &c) );
  TRY( vecdb_prepare_search_multi(c, &o, part, 2, &s) );
  rc = rows_take(s, VECDB_OK, answer);
done:
  vecdb_collection_close(c);
  return rc;
}
static int act_graph_many(vecdb *db, uint64_t *answer){
  static const float q[5][4] = { { 1, 2, 3, 4 }, { 0 }, { 9, -9, 9, -9 },
                                 { 3, 1, 4, 1 }, { 20, 20, 20, 20 } };
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_collection *c = NULL;
  float d[50];
  int64_t key[50];
  uint32_t n[5];
  int rc;
  o.ef = 30;
  TRY( vecdb_collection_open(db, "g", &c) );
  TRY( vecdb_search_many(c, &o, 5, VECDB_F32, q, 0, key, d, n) );
  for(int i=0; i<50; i++) *answer = *answer*31 + (uint64_t)key[i]*7
                                  + (uint64_t)(int64_t)(d[i]*100);
done:
  vecdb_collection_close(c);
  return rc;
}

TEST(fault__searching_graphs){
  struct rowsweep s = { .name="search by graphs", .make=make_graphs,
                        .act=act_graph, .reads=true };
  rowsweep_run(&s);
  s.name = "several queries by graphs";
  s.act = act_graph_many;
  rowsweep_run(&s);
  s.name = "several columns by graphs";
  s.act = act_graph_multi;
  rowsweep_run(&s);
  s.name = "everything near by graphs";
  s.act = act_graph_range;
  rowsweep_run(&s);
  s.make = make_one_graph;
  s.name = "search by a graph and a rest";
  s.act = act_graph_rest;
  rowsweep_run(&s);
}
