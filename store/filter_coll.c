/* filter_coll.c -- the rows of a collection as the source of a filter. */
#include "util/common.h"
#include "store/filter.h"

static int coll_source_cells(void *arg, int column, slot_no lo, slot_no hi,
                             vdb_cells_fn fn, void *fn_arg){
  return vdb_coll_cells(arg, column, lo, hi, fn, fn_arg);
}
static int coll_source_nulls(void *arg, int column, slot_no lo, size_t n_word,
                             uint64_t *out){
  return vdb_coll_nulls(arg, column, lo, n_word, out);
}
static int coll_source_value(void *arg, int column, slot_no slot,
                             struct vdb_str *buf, struct vdb_value *out){
  return vdb_coll_value(arg, column, slot, buf, out);
}
static int coll_source_text(void *arg, int column, slot_no slot,
                            const unsigned char *cell, struct vdb_str *buf,
                            const char **p, size_t *n){
  return vdb_coll_cell_text(arg, column, slot, cell, buf, p, n);
}
static int coll_source_poll(void *arg){
  struct store *st = vdb_coll_store(arg);
  if( !vdb_pager_interrupted(vdb_store_pager(st)) ) return VECDB_OK;
  return vdb_error(vdb_store_err(st), VECDB_INTERRUPT, "%s", "");
}

void vdb_filter_source_coll(struct coll *c, struct filter_source *out){
  out->arg = c;
  out->cells = coll_source_cells;
  out->nulls = coll_source_nulls;
  out->value = coll_source_value;
  out->cell_text = coll_source_text;
  out->poll = coll_source_poll;
}
