/* graphs_write.c -- from what a build hands out to extents and a record.
**
** ORDER   Groups of blocks in their order, then what was there is freed, then
**   the extents of rows, of their codes, and the record: the same order, hence the same bytes,
**   whether blocks were written as they came or waited as a draft. Groups that
**   an insertion did not touch are named by both records and are not freed.
** MEMORY  four bytes of each block and a code for each slot; a draft: its
**   blocks, too.
*/
#include "util/common.h"
#include "store/graphs_write.h"

void vdb_graph_out_init(struct graph_out *o, int v, slot_no first,
                        slot_no end, bool is_draft){
  memset(o, 0, sizeof(*o));
  o->v = v;
  o->first = first;
  o->end = end;
  o->is_draft = is_draft;
}

void vdb_graph_out_clear(struct graph_out *o){
  for(size_t i=0; i<o->n_group; i++) vdb_free(o->group[i].blocks);
  vdb_free(o->group);
  vdb_free(o->side);
  vdb_free(o->is_kept);
  vdb_free(o->codes);
  vdb_str_clear(&o->header);
  vdb_str_clear(&o->row_of);
  memset(o, 0, sizeof(*o));
}

static void add_u32(struct vdb_str *s, uint32_t v){
  unsigned char b[4];
  put_u32(b, v);
  vdb_str_add(s, b, 4);
}

/* ---- While it is built --------------------------------------------------- */

int vdb_graph_out_old(struct graph_out *o, const struct graph_seg *old){
  o->is_kept = vdb_calloc((size_t)old->info.n_group+1, sizeof(bool));
  o->old_first = old->first;
  o->old_born = old->born;
  return o->is_kept!=NULL ? VECDB_OK : VECDB_NOMEM;
}

/* Rows of blocks, for filters; of more blocks than there are nodes, if those
** come first. */
static int rows_note(struct graph_out *o, const unsigned char *block,
                     uint32_t n, uint32_t stride){
  for(uint32_t i=0; i<n; i++, block+=stride){
    bool is_chain = get_u32(block+GRAPHBLOCK_DUP)!=SLOT_NONE;
    add_u32(&o->row_of, is_chain ? SLOT_NONE : get_u32(block+GRAPHBLOCK_ROW));
  }
  return vdb_str_rc(&o->row_of);
}

static int extent_write(struct coll *c, const void *blocks, uint32_t n,
                        uint32_t stride, page_no *head){
  struct extent_spec spec = { EXTENT_KIND_GRAPH, stride, n, c->id };
  return vdb_extent_create(c->p, &spec, blocks, head);
}

int vdb_graph_out_blocks(struct coll *c, struct graph_out *o,
                         const void *blocks, uint32_t n, uint32_t stride){
  struct out_group *g;
  int rc;

  TRY( vdb_grow(&o->group, &o->n_group_cap, o->n_group+1, sizeof(*g)) );
  g = &o->group[o->n_group];
  memset(g, 0, sizeof(*g));
  g->n = n;
  o->stride = stride;
  if( o->is_draft ){
    g->blocks = vdb_memdup(blocks, (size_t)n*stride);
    if( g->blocks==NULL ) TRY( VECDB_NOMEM );
  }else{
    TRY( extent_write(c, blocks, n, stride, &g->head) );
  }
  o->n_group++;
  rc = rows_note(o, blocks, n, stride);
done:
  return rc;
}

int vdb_graph_out_keep(struct graph_out *o, const struct graph_seg *old,
                       uint32_t i_group){
  struct out_group *g;
  uint32_t at = i_group<<old->info.shift;
  int rc;

  TRY( vdb_grow(&o->group, &o->n_group_cap, o->n_group+1, sizeof(*g)) );
  g = &o->group[o->n_group++];
  memset(g, 0, sizeof(*g));
  g->head = old->head[i_group];
  g->n = (uint32_t)1<<old->info.shift;
  if( g->n>old->info.n_slots-at ) g->n = old->info.n_slots-at;
  o->is_kept[i_group] = true;
  rc = rows_note(o, old->base[i_group], g->n, old->info.stride);
done:
  return rc;
}

/* ---- Into the file ------------------------------------------------------- */

static int waiting_write(struct coll *c, struct graph_out *o){
  int rc = VECDB_OK;

  for(size_t i=0; i<o->n_group; i++){
    struct out_group *g = &o->group[i];
    if( g->head!=0 ) continue;
    TRY( vdb_store_progress(c->st, "graph", "blocks", i, o->n_group) );
    TRY( extent_write(c, g->blocks, g->n, o->stride, &g->head) );
    vdb_free(g->blocks);
    g->blocks = NULL;
  }
done:
  return rc;
}

/* What was there goes, but for the groups that are kept. */
static int replaced_free(struct coll *c, struct graph_out *o, slot_no hi){
  struct graph_list *list = &c->graphs->list[o->v];
  int rc = VECDB_OK;

  for(size_t i=0; i<list->n; i++){
    struct graph_seg *s = &list->seg[i];
    bool is_old = o->is_kept!=NULL && s->first==o->old_first
               && s->born==o->old_born;
    if( s->first<o->first || s->first>=hi ) continue;
    TRY( vdb_graph_free(c, o->v, s, is_old ? o->is_kept : NULL) );
  }
done:
  return rc;
}

/* GRAPHREC.ROWS: extents, and their numbers to *heads. */
static int rows_write(struct coll *c, const struct graph_out *o,
                      struct vdb_str *heads, uint32_t *n_extent){
  uint32_t n_max = vdb_extent_capacity(4), n_node;
  page_no head;
  int rc = VECDB_OK;

  *n_extent = 0;
  n_node = get_u32((const unsigned char*)o->header.z + GRAPHHDR_NNODE);
  for(uint32_t at=0; at<n_node; at+=n_max, ++*n_extent){
    uint32_t n = n_node-at<n_max ? n_node-at : n_max;
    struct extent_spec spec = { EXTENT_KIND_GRAPHROWS, 4, n, c->id };
    TRY( vdb_extent_create(c->p, &spec, o->row_of.z + 4*(size_t)at, &head) );
    add_u32(heads, head);
  }
done:
  return rc;
}

static int record_write(struct coll *c, const struct graph_out *o){
  int column = c->vec_col[o->v], rc;
  unsigned char key[GRAPHKEY_SIZE] = { 0 }, rec[GRAPHREC_SIZE] = { 0 };
  struct vdb_str val = VDB_STR_INIT, rows = VDB_STR_INIT;
  uint32_t n_rows, n_codes;

  TRY( rows_write(c, o, &rows, &n_rows) );
  TRY( vdb_graph_codes_write(c, o, &rows, &n_codes) );
  key[GRAPHKEY_COLUMN] = (unsigned char)(column>>8);
  key[GRAPHKEY_COLUMN+1] = (unsigned char)column;
  put_key_u32(key+GRAPHKEY_FIRST, o->first);
  put_u32(rec+GRAPHREC_END, o->end);
  put_u32(rec+GRAPHREC_NROW, o->n_row);
  put_u32(rec+GRAPHREC_NGROUP, (uint32_t)o->n_group);
  put_u32(rec+GRAPHREC_NSIDE, o->n_side);
  put_u32(rec+GRAPHREC_SZHEADER, (uint32_t)o->header.n);
  put_f32(rec+GRAPHREC_NORMMAX, o->norm_max);
  put_u32(rec+GRAPHREC_NROWS, n_rows);
  put_u32(rec+GRAPHREC_NCODES, n_codes);
  put_u64(rec+GRAPHREC_BORN, c->s.graph_version+1);
  vdb_str_add(&val, rec, sizeof(rec));
  for(size_t i=0; i<o->n_group; i++) add_u32(&val, o->group[i].head);
  for(uint32_t i=0; i<o->n_side; i++) add_u32(&val, o->side[i]);
  vdb_str_add(&val, rows.z, rows.n);
  vdb_str_add(&val, o->header.z, o->header.n);
  TRY( vdb_str_rc(&rows) );
  TRY( vdb_str_rc(&val) );
  if( c->s.graphs==0 ) TRY( vdb_btree_create(c->p, &c->s.graphs) );
  TRY( vdb_btree_put(c->p, c->s.graphs, key, sizeof(key), val.z, val.n,
                     BTREE_INSERT) );
  c->s.graph_version++;
done:
  vdb_str_clear(&val);
  vdb_str_clear(&rows);
  return rc;
}

int vdb_graph_out_enter(struct coll *c, struct graph_out *o, slot_no hi){
  int rc;

  TRY( waiting_write(c, o) );
  TRY( replaced_free(c, o, hi) );
  TRY( record_write(c, o) );
done:
  return rc;
}
