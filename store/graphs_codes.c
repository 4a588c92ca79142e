/* graphs_codes.c -- codes of a graph's rows: writing, holding, searching.
**
** index/graph_codes.c has the codes and the bound. GRAPHREC.CODES are extents
** of one code for every slot of the graph's range, so that a bitmap of rows
** finds them; slots without a row in a block (dead ones, the side list) have
** one that leaves nothing out. An insertion takes over those of the old graph:
** a slot's vector never changes. A range with few rows, most of whose slots are
** dead, has no codes (CODES_SPARSE): they would be larger than the rows.
**
** SEARCH   The codes of all rows that pass are compared with the query. Of
**   those that may be among the k nearest the stored vectors are read, the
**   least estimates first, and the others as far as the k-th distance by then
**   does not leave them out. So all results have true distances, and what is
**   missed is what estimates hide by more than rank_sigmas standard errors.
*/
#include "util/common.h"
#include "store/graphs_write.h"

#include "store/graphs_int.h"

#define CODES_SPARSE  4u                 /* slots for each row, at most */
#define HINTED        8                  /* rows requested ahead */
#define SIGMAS_RECALL 0.95               /* wanted: up to this, the first */
#define SIGMAS_FEW    1.75f
#define SIGMAS_MANY   2.5f
#define LIMIT_SLACK   1e-4f              /* of rounding, between two spaces */

/* ---- Writing ------------------------------------------------------------ */

/* Codes from slot o->first + at on, those of one extent; *n: how many. */
static unsigned char *codes_extent(const struct graph_out *o, uint32_t at,
                                   uint32_t *n){
  uint32_t n_max = vdb_extent_capacity(o->code_stride);
  uint32_t left = o->end - o->first - at;

  *n = left<n_max ? left : n_max;
  return o->codes + (size_t)at*o->code_stride;
}

/* The codes of the rows of n blocks from `first` on. */
static void blocks_encode(struct graph_out *o, const struct vdb_graph *g,
                          struct vdb_graph_coder *k,
                          const unsigned char *block, uint32_t n,
                          slot_no first){
  uint32_t n_max = vdb_extent_capacity(o->code_stride);

  for(uint32_t i=0; i<n; i++, block+=o->stride){
    uint32_t row = get_u32(block+GRAPHBLOCK_ROW), at, n_code;
    unsigned char *codes, *out, *fit;
    if( row<first || row>=o->end ) continue;
    at = (row-o->first)/n_max*n_max;
    codes = codes_extent(o, at, &n_code);
    out = vdb_graph_code_at(g, codes, n_code, row-o->first-at, &fit);
    vdb_graph_code_block(k, block, out, fit);
  }
}

/* Blocks in memory, or in the extent that they have become. */
static int group_encode_rows(struct coll *c, struct graph_out *o,
                             const struct vdb_graph *g,
                             struct vdb_graph_coder *k,
                             const struct out_group *from, slot_no first){
  struct extent e;
  int rc = VECDB_OK;

  memset(&e, 0, sizeof(e));
  if( from->blocks!=NULL ){
    blocks_encode(o, g, k, from->blocks, from->n, first);
    return VECDB_OK;
  }
  TRY( vdb_extent_pin(c->p, from->head, &e) );
  blocks_encode(o, g, k, e.data, from->n, first);
done:
  vdb_extent_unpin(c->p, &e);
  return rc;
}

/* Those of the graph that rows were added to. *first: the first slot that is
** not among them. */
static int codes_take_over(struct coll *c, struct graph_out *o,
                           struct graph_seg *old, slot_no *first){
  struct vdb_graph_codes from;
  uint32_t n_max = vdb_extent_capacity(o->code_stride);
  int rc = VECDB_OK;

  *first = o->first;
  if( old==NULL || old->n_codes==0 || old->first!=o->first
   || vdb_graph_code_stride(old->g)!=o->code_stride ) return VECDB_OK;
  TRY( vdb_graph_codes_hold(c, old, &from) );
  for(uint32_t at=0; at<from.n; at+=n_max){
    uint32_t n_from = from.n-at<n_max ? from.n-at : n_max, n;
    unsigned char *codes = codes_extent(o, at, &n), *in, *out, *fit[2];
    size_t sz_fit = n_from*sizeof(uint16_t);
    in = vdb_graph_code_at(old->g, from.base[at/n_max], n_from, 0, &fit[0]);
    out = vdb_graph_code_at(old->g, codes, n, 0, &fit[1]);
    memcpy(out, in, (size_t)n_from*o->code_stride - sz_fit);
    memcpy(fit[1], fit[0], sz_fit);
  }
  *first = old->end;
done:
  return rc;
}

int vdb_graph_out_codes(struct coll *c, struct graph_out *o,
                        struct graph_seg *old){
  struct vdb_graph_coder *k = NULL;
  struct vdb_graph *g = NULL;
  uint32_t n_row = o->end - o->first, n_max, n;
  slot_no first;
  int rc;

  if( n_row/CODES_SPARSE>o->n_row ) return VECDB_OK;
  TRY( vdb_graph_open(o->header.z, o->header.n, &g) );
  o->code_stride = vdb_graph_code_stride(g);
  if( o->code_stride==0 ) goto done;
  o->codes = vdb_malloc_array(n_row, o->code_stride);
  if( o->codes==NULL ) TRY( VECDB_NOMEM );
  n_max = vdb_extent_capacity(o->code_stride);
  for(uint32_t at=0; at<n_row; at+=n_max){
    unsigned char *codes = codes_extent(o, at, &n);
    vdb_graph_codes_init(g, n, codes);
  }
  TRY( vdb_graph_coder_create(g, &k) );
  TRY( codes_take_over(c, o, old, &first) );
  for(size_t i=0; i<o->n_group; i++){
    TRY( vdb_store_progress(c->st, "graph", "codes", i, o->n_group) );
    TRY( group_encode_rows(c, o, g, k, &o->group[i], first) );
  }
done:
  vdb_graph_coder_destroy(k);
  vdb_graph_close(g);
  return rc;
}

int vdb_graph_codes_write(struct coll *c, const struct graph_out *o,
                          struct vdb_str *heads, uint32_t *n_extent){
  uint32_t n_max = vdb_extent_capacity(o->code_stride);
  uint32_t n_row = o->end - o->first;
  int rc = VECDB_OK;

  *n_extent = 0;
  if( o->codes==NULL ) return VECDB_OK;
  for(uint32_t at=0; at<n_row; at+=n_max, ++*n_extent){
    uint32_t n;
    unsigned char *codes = codes_extent(o, at, &n), head[4];
    struct extent_spec spec = { EXTENT_KIND_ROWCODES, o->code_stride, n,
                                c->id };
    page_no pg;
    TRY( vdb_extent_create(c->p, &spec, codes, &pg) );
    put_u32(head, pg);
    vdb_str_add(heads, head, 4);
  }
  rc = vdb_str_rc(heads);
done:
  return rc;
}

/* ---- Holding ------------------------------------------------------------ */

uint32_t vdb_graph_codes_extents(const struct graph_seg *s){
  uint32_t n_max = vdb_extent_capacity(vdb_graph_code_stride(s->g));
  return n_max==0 ? 0 : (s->end-s->first-1)/n_max + 1;
}

/* One extent; all of it is verified, as a search reads most of it. */
static int codes_hold_one(struct coll *c, struct graph_seg *s, uint32_t i){
  uint32_t n_max = vdb_extent_capacity(vdb_graph_code_stride(s->g));
  uint32_t n = s->end - s->first - i*n_max;
  struct extent *e = &s->code[i];
  int rc;

  if( s->code_base[i]!=NULL ) return VECDB_OK;
  if( n>n_max ) n = n_max;
  TRY( vdb_extent_hold(c->p, s->code_head[i], e) );
  if( e->spec.kind!=EXTENT_KIND_ROWCODES || e->spec.n_rec!=n ||
      e->spec.stride!=vdb_graph_code_stride(s->g) || e->spec.owner!=c->id ){
    TRY( COLL_CORRUPT(c, "an extent is not the one its graph expects") );
  }
  TRY( vdb_extent_verify(c->p, e, 0, e->sz) );
  s->code_base[i] = e->data;
done:
  if( rc!=VECDB_OK ) vdb_extent_unpin(c->p, e);
  return rc;
}

int vdb_graph_codes_hold(struct coll *c, struct graph_seg *s,
                         struct vdb_graph_codes *out){
  uint32_t n_max = vdb_extent_capacity(vdb_graph_code_stride(s->g));
  int rc = VECDB_OK;

  memset(out, 0, sizeof(*out));
  for(uint32_t i=0; i<s->n_codes; i++) TRY( codes_hold_one(c, s, i) );
  out->base = s->code_base;
  out->shift = n_max>0 ? (uint32_t)__builtin_ctz(n_max) : 0;
  out->first = s->first;
  out->n = s->n_codes>0 ? s->end - s->first : 0;
done:
  return rc;
}

void vdb_graph_codes_let_go(struct coll *c, struct graph_seg *s){
  for(uint32_t i=0; s->code!=NULL && i<s->n_codes; i++){
    vdb_extent_unpin(c->p, &s->code[i]);
    if( s->code_base!=NULL ) s->code_base[i] = NULL;
  }
}

/* ---- Searching ---------------------------------------------------------- */

/* Square distances in the graph's space above this are beyond the results. */
static float rank_limit(const struct gsearch *g, const struct graph_seg *s,
                        float norm2){
  float d = vdb_topk_bound(&g->top), limit = 2*d;

  if( !(d<__builtin_inff()) ) return __builtin_inff();
  if( g->query.metric==VECDB_L2 ) limit = d*d;
  if( g->query.metric==VECDB_IP ){
    limit += norm2 + s->norm_max*s->norm_max;
    norm2 += s->norm_max*s->norm_max;
  }else{
    norm2 = limit;
  }
  return limit + LIMIT_SLACK*norm2;
}

/* Standard errors that estimates may be wrong by: the row in k-th place is
** missed once in 25 searches by 1.75 of them, in 160 by 2.5; those before it
** hardly ever. */
static float rank_sigmas(const struct graph_plan *p){
  return p->wanted>0 && p->wanted<=SIGMAS_RECALL ? SIGMAS_FEW : SIGMAS_MANY;
}

/* Read rows cand[0..n-1]. */
static int rank_read(struct gsearch *g, const struct vdb_graph_candidate *cand,
                     size_t n){
  int rc = VECDB_OK;

  for(size_t i=0; i<n && i<HINTED; i++){
    vdb_graph_row_hint(g->c, g->v, cand[i].row);
  }
  for(size_t i=0; i<n && rc==VECDB_OK; i++){
    if( i+HINTED<n ) vdb_graph_row_hint(g->c, g->v, cand[i+HINTED].row);
    rc = vdb_gsearch_offer_slot(g, cand[i].row);
  }
  g->ss->n_distance += n;
  return rc;
}

/* What is left of the candidates, a few at a time: each may lower the limit. */
static int rank_read_rest(struct gsearch *g, const struct graph_seg *s,
                          const struct vdb_graph_candidate *cand, size_t n,
                          float norm2){
  struct vdb_graph_candidate few[2*HINTED];
  float limit = rank_limit(g, s, norm2);
  size_t n_few = 0;
  int rc = VECDB_OK;

  for(size_t i=0; i<n; i++){
    if( cand[i].low>limit ) continue;
    few[n_few++] = cand[i];
    if( n_few<VDB_ARRAY_LEN(few) ) continue;
    TRY( rank_read(g, few, n_few) );
    n_few = 0;
    limit = rank_limit(g, s, norm2);
  }
  TRY( rank_read(g, few, n_few) );
done:
  return rc;
}

int vdb_gsearch_rank(struct gsearch *g, struct graph_seg *s,
                     const float *vec, bool *is_short){
  const uint64_t *rows = g->q->rows ? g->q->rows : g->r->live;
  float norm2 = vdb_norm2(VECDB_F32, vec, vdb_graph_dims(g->c, g->v));
  const struct vdb_graph_candidate *cand;
  struct vdb_graph_codes codes;
  size_t n, n_first;
  int rc = VECDB_OK;

  *is_short = !(norm2<__builtin_inff());         /* estimates are no numbers */
  if( *is_short ) return VECDB_OK;
  TRY( vdb_graph_codes_hold(g->c, s, &codes) );
  if( s->searcher==NULL ){
    TRY( vdb_graph_searcher_create(s->g, &s->searcher) );
  }
  TRY( vdb_graph_rank(s->searcher, &codes, vec, rows, (uint32_t)g->k,
                      rank_sigmas(g->plan), &cand, &n) );
  n_first = vdb_min_sz(n, g->k);
  TRY( rank_read(g, cand, n_first) );
  TRY( rank_read_rest(g, s, cand+n_first, n-n_first, norm2) );
done:
  return rc;
}
