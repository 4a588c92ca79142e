/* t_graph_plan.c -- efforts from a table of recall that is given. */
#include "index/graph_int.h"
#include "vt.h"

/* Settings without early stop whose lower bound of n neighbours is `low`. */
static void cal_add(struct vdb_graph *g, uint32_t n, uint32_t ef, float low){
  struct graph_cal *e = &g->cal[g->n_cal++];
  memset(e, 0, sizeof(*e));
  e->ef = ef;
  e->stop = n==10 ? 0.2f : -1;
  e->hops = (float)ef;
  if( n==10 ) e->recall10 = e->low10 = low;
  else e->recall_n = e->low_n = low;
  e->n = n==10 ? 100 : n;
}

static void tables(struct vdb_graph *g){
  memset(g, 0, sizeof(*g));
  cal_add(g, 10, 10, .8f);
  cal_add(g, 10, 40, .96f);
  cal_add(g, 25, 25, .8f);
  cal_add(g, 25, 100, .96f);
  cal_add(g, 100, 100, .8f);
  cal_add(g, 100, 400, .92f);
}

TEST(graph_plan__few_neighbours_take_what_ten_do){
  struct vdb_graph g;
  struct vdb_graph_plan p, q;
  tables(&g);
  p = vdb_graph_plan_recall(&g, 10, .9);
  q = vdb_graph_plan_recall(&g, 1, .9);
  CHECK_U64(p.ef, q.ef);
  CHECK_DBL(.2, q.stop, 1e-6);
  CHECK(p.ef>10 && p.ef<40);
}

TEST(graph_plan__more_lie_between_what_was_measured){
  struct vdb_graph g;
  uint32_t last;
  tables(&g);
  last = vdb_graph_plan_recall(&g, 10, .9).ef;
  for(uint32_t k=11; k<=200; k++){
    struct vdb_graph_plan p = vdb_graph_plan_recall(&g, k, .9);
    CHECK(p.ef>=last && p.ef>=k);
    CHECK(p.stop<0);
    last = p.ef;
  }
  CHECK_U64(100, vdb_graph_plan_recall(&g, 25, .96f).ef);
  CHECK_U64(800, vdb_graph_plan_recall(&g, 200, .92f).ef);
}

/* .95 of 10 and of 25 neighbours, but not of 100. */
TEST(graph_plan__makes_nothing_up){
  struct vdb_graph g;
  tables(&g);
  CHECK(vdb_graph_plan_recall(&g, 10, .95).ef>0);
  CHECK(vdb_graph_plan_recall(&g, 25, .95).ef>0);
  CHECK_U64(0, vdb_graph_plan_recall(&g, 26, .95).ef);
  CHECK_U64(0, vdb_graph_plan_recall(&g, 100, .95).ef);
  CHECK_U64(0, vdb_graph_plan_recall(&g, 1000, .95).ef);
  CHECK_U64(0, vdb_graph_plan_recall(&g, 10, .97).ef);
}

TEST(graph_plan__does_with_a_table_of_ten){
  struct vdb_graph g;
  memset(&g, 0, sizeof(g));
  cal_add(&g, 10, 40, .96f);
  CHECK_U64(40, vdb_graph_plan_recall(&g, 10, .9).ef);
  CHECK_U64(80, vdb_graph_plan_recall(&g, 20, .9).ef);
  memset(&g, 0, sizeof(g));
  CHECK_U64(0, vdb_graph_plan_recall(&g, 10, .5).ef);
  CHECK_U64(0, vdb_graph_plan_recall(&g, 50, .5).ef);
}

/* A candidate more than neighbours is the least; more than there may be are none. */
TEST(graph_plan__stays_within_what_a_walk_can_do){
  struct vdb_graph g;
  memset(&g, 0, sizeof(g));
  cal_add(&g, 10, 10, .5f);
  CHECK_U64(110, vdb_graph_plan_recall(&g, 100, .5).ef);
  CHECK_U64(64900, vdb_graph_plan_recall(&g, 59000, .5).ef);
  CHECK_U64(0, vdb_graph_plan_recall(&g, 65000, .5).ef);
}
