/* graphs_draft.c -- graphs that were built from a snapshot, and what has become
** of the file since.
**
** A draft holds every row of its range that lived in the snapshot. Slots are
** never given twice and a row's vector never changes, so it holds every row of
** the range that lives now, too: those that died since are told by the bitmap,
** those that came lie behind it. What may have changed are the graphs:
**
**   D1  Groups of an old graph that a draft keeps are there as long as that
**       graph is (its range begins and was born as it did).
**   D2  Ranges of graphs leave no row out up to the last one's end. So a draft
**       begins where a graph begins or where the last one ends, and takes the
**       place of all that begin in its range.
**   D3  A graph that reaches beyond the end of the draft (somebody's commit
**       joined rows to the ones that the draft replaces) leaves a *tail*, for
**       which another draft is made, shorter each time. One that is left in the
**       end joins the graphs under the write lock.
**   D4  A draft that ends where memory did (is_part) takes the place of all
**       graphs behind its beginning: whoever made it goes on with their rows.
**
** A handle keeps its database from being rewound or replaced, so numbers of
** slots and versions mean the same as in the snapshot.
*/
#include "util/common.h"
#include "store/graphs_write.h"

void vdb_drafts_clear(struct graph_drafts *d){
  for(size_t i=0; i<d->n; i++) vdb_graph_out_clear(&d->out[i]);
  vdb_free(d->out);
  d->out = NULL;
  d->n = d->n_cap = 0;
  d->is_begun = false;
}

bool vdb_drafts_next(struct graph_drafts *d){
  bool more = d->v_next!=DRAFTS_ALL;

  vdb_drafts_clear(d);
  d->v = d->v_next;
  d->is_going_on = d->goes_on;
  d->v_next = DRAFTS_ALL;
  d->goes_on = false;
  return more;
}

uint64_t vdb_drafts_bytes(const struct graph_drafts *d){
  uint64_t sz = 0;

  for(size_t i=0; i<d->n; i++){
    const struct graph_out *o = &d->out[i];
    sz += o->header.n + o->row_of.n;
    if( o->codes ) sz += (uint64_t)(o->end-o->first)*o->code_stride;
    for(size_t j=0; j<o->n_group; j++){
      if( o->group[j].blocks ) sz += (uint64_t)o->group[j].n*o->stride;
    }
  }
  return sz;
}

int vdb_drafts_add(struct graph_drafts *d, struct graph_out *o){
  int rc = vdb_grow(&d->out, &d->n_cap, d->n+1, sizeof(*d->out));

  if( rc!=VECDB_OK ) return rc;
  d->out[d->n++] = *o;
  memset(o, 0, sizeof(*o));
  return VECDB_OK;
}

/* The drafts of a column lie side by side: first, and one after the last. */
static size_t column_drafts(const struct graph_drafts *d, int v, size_t *hi){
  size_t lo = 0;

  while( lo<d->n && d->out[lo].v!=v ) lo++;
  for(*hi=lo; *hi<d->n && d->out[*hi].v==v; ++*hi);
  return lo;
}

bool vdb_drafts_have(const struct graph_drafts *d, int v){
  size_t hi;
  return column_drafts(d, v, &hi)<hi;
}

void vdb_drafts_forget(struct graph_drafts *d, int v){
  size_t hi, lo = column_drafts(d, v, &hi);

  for(size_t i=lo; i<hi; i++) vdb_graph_out_clear(&d->out[i]);
  memmove(d->out+lo, d->out+hi, (d->n-hi)*sizeof(*d->out));
  d->n -= hi-lo;
}

/* ---- What has become of the file ----------------------------------------- */

static bool has_old(const struct graph_list *list, const struct graph_out *o){
  if( o->is_kept==NULL ) return true;
  for(size_t i=0; i<list->n; i++){
    const struct graph_seg *s = &list->seg[i];
    if( s->first==o->old_first && s->born==o->old_born ) return true;
  }
  return false;                                                     /* D1 */
}

static bool is_border(const struct graph_list *list, slot_no at){
  for(size_t i=0; i<list->n; i++){
    if( list->seg[i].first==at ) return true;
  }
  return at==(list->n>0 ? list->seg[list->n-1].end : 0);            /* D2 */
}

enum draft_fit vdb_drafts_fit(struct coll *c, const struct graph_drafts *d,
                              int v, struct graph_make *tail){
  const struct graph_list *list = &c->graphs->list[v];
  size_t hi, lo = column_drafts(d, v, &hi);
  slot_no end;

  if( lo==hi ) return DRAFT_FITS;
  if( d->out[hi-1].end>c->s.next_slot ) return DRAFT_STALE;
  if( c->graphs->is_damaged ){
    return d->out[lo].first==0 ? DRAFT_FITS : DRAFT_STALE;
  }
  if( !has_old(list, &d->out[lo]) || !is_border(list, d->out[lo].first) ){
    return DRAFT_STALE;
  }
  end = d->out[hi-1].end;
  if( d->out[hi-1].is_part ) return DRAFT_FITS;                     /* D4 */
  for(size_t i=0; i<list->n; i++){
    const struct graph_seg *s = &list->seg[i];
    if( s->first>=end || s->end<=end ) continue;
    memset(tail, 0, sizeof(*tail));
    tail->first = end;
    tail->end = s->end;
    return DRAFT_TAIL;                                              /* D3 */
  }
  return DRAFT_FITS;
}

/* ---- More, and into the file --------------------------------------------- */

int vdb_drafts_make_tail(struct coll *c, struct graph_drafts *d, int v,
                         const struct graph_make *tail){
  size_t hi, lo = column_drafts(d, v, &hi);
  struct graph_make m = *tail;
  struct graph_drafts more = GRAPH_DRAFTS_INIT;
  struct graph_seg like = { .first = 0 };
  slot_no made;
  int rc;

  m.drafts = &more;
  m.sz_held = vdb_drafts_bytes(d);
  if( d->out[lo].first==0 ){
    const struct vdb_str *h = &d->out[lo].header;
    TRY( vdb_graph_open(h->z, h->n, &like.g) );
    like.norm_max = d->out[lo].norm_max;
    m.like = &like;
  }
  TRY( vdb_graphs_make(c, v, &m, &made) );
  for(size_t i=0; i<more.n; i++){
    TRY( vdb_grow(&d->out, &d->n_cap, d->n+1, sizeof(*d->out)) );
    memmove(d->out+hi+1, d->out+hi, (d->n-hi)*sizeof(*d->out));
    d->out[hi] = more.out[i];
    memset(&more.out[i], 0, sizeof(more.out[i]));
    d->n++;
    hi++;
  }
done:
  vdb_graph_close(like.g);
  vdb_drafts_clear(&more);
  return rc;
}

int vdb_drafts_enter(struct coll *c, struct graph_drafts *d, int v,
                     bool *has_tail){
  size_t hi, lo = column_drafts(d, v, &hi);
  struct graph_make tail;
  int rc = VECDB_OK;

  *has_tail = vdb_drafts_fit(c, d, v, &tail)==DRAFT_TAIL;
  if( c->graphs->is_damaged ){
    TRY( vdb_graphs_drop(c, v) );
    TRY( vdb_coll_state_write(c) );
    TRY( vdb_graphs_load(c) );
  }
  for(size_t i=lo; i<hi; i++){
    struct graph_out *o = &d->out[i];
    bool is_last = i+1==hi && *has_tail;
    TRY( vdb_graph_out_enter(c, o, is_last || o->is_part ? SLOT_NONE : o->end) );
  }
done:
  return rc;
}
