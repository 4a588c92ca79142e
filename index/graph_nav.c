/* graph_nav.c -- what blocks hold of a vector.
**
** BYTES    if every element of every row is an integer in 0..255 or -128..127.
** FLOATS   if these are few, or if quantised bytes would hide neighbours.
** SQ8      else: quantised bytes.
** BITS     if the caller says so (graph_binary.c).
**
** The step of quantised bytes is a share of the range of a row's own elements.
** Where clusters are small against the distances between them, that range is
** made by the place of the cluster, and a step may be as large as all that
** tells its rows apart. Whether it is so cannot be told from sizes: what counts
** is how much the distances of *near* rows differ. So it is looked at: for some
** rows the nearest of all rows are sought twice, by true distances and by those
** of quantised bytes. A neighbour is *hidden* if it is not among the
** LOOK_NEAR + LOOK_MORE that seem nearest, which a search would rank again.
** Floats are taken if more than one in HIDDEN_ONE_IN is hidden: with bytes even
** the greatest effort would miss as many.
*/
#include "index/graph_build_int.h"
#include "util/mem.h"
#include "util/pool.h"

#define F32_MAX_BYTES 1024u     /* of a vector that blocks hold as floats */
#define LOOK_ROWS     100u      /* rows whose neighbours are sought */
#define LOOK_MIN      500u      /* fewer rows are searched exactly, or nearly */
#define LOOK_NEAR     10u
#define LOOK_MORE     8u
#define LOOK_BATCH    256u      /* rows compared at a time */
#define LOOK_TASK     4u        /* of LOOK_ROWS, by one task */
#define HIDDEN_ONE_IN 100u

/* ---- Bytes --------------------------------------------------------------- */

/* Are all elements integers of a byte? *lo is what byte 0 stands for. */
static int rows_are_bytes(struct graph_builder *b, float *x, bool *out,
                          int32_t *lo){
  float least = 0, most = 0;
  int rc = VECDB_OK;
  *out = true;
  for(uint32_t i=0; i<b->n && *out; i++){
    TRY( b->src->fetch(b->src->arg, i, x) );
    for(uint32_t j=0; j<b->src->d; j++){
      if( !(x[j]>=-128 && x[j]<=255) || x[j]!=(float)(int32_t)x[j] ){
        *out = false;
        break;
      }
      least = x[j]<least ? x[j] : least;
      most = x[j]>most ? x[j] : most;
    }
    if( least<0 && most>127 ) *out = false;
  }
  *lo = least<0 ? -128 : 0;
done:
  return rc;
}

/* ---- Hidden neighbours --------------------------------------------------- */

/* A row whose neighbours are sought. */
struct look_row {
  uint32_t row;                 /* in the source */
  struct graph_query q;         /* its bytes */
  uint32_t n_near, n_seem;
  float near[LOOK_NEAR], near_seem[LOOK_NEAR];  /* true and seeming square
                                ** distances of the nearest, by the former */
  float seem[LOOK_NEAR+LOOK_MORE];  /* the least seeming ones */
};

struct look {
  struct vdb_graph *g;          /* centre and rotation of quantised bytes */
  size_t stride;
  struct look_row *row;
  uint32_t n;
  float *own_x;                 /* by row: the vector, its block .. */
  unsigned char *own;
  int8_t *own_hi;               /* .. and bytes for q */
  float *x;                     /* the batch: vectors and blocks */
  unsigned char *block;
  uint32_t first, n_batch;
};

static float *look_vec(const struct look *l, float *x, uint32_t i){
  return x + (size_t)i*l->g->dims_nav;
}

static void row_meet(const struct look *l, struct look_row *r, const float *own,
                     uint32_t i){
  float d2 = l->g->simd->l2sq(own, look_vec(l, l->x, i), l->g->dims_nav);
  float seem = vdb_graph_d2(l->g, &r->q, l->block + i*l->stride);
  uint32_t at;
  if( r->n_near<LOOK_NEAR || d2<r->near[LOOK_NEAR-1] ){
    at = r->n_near<LOOK_NEAR ? r->n_near++ : LOOK_NEAR-1;
    for(; at>0 && r->near[at-1]>d2; at--){
      r->near[at] = r->near[at-1];
      r->near_seem[at] = r->near_seem[at-1];
    }
    r->near[at] = d2;
    r->near_seem[at] = seem;
  }
  if( r->n_seem<LOOK_NEAR+LOOK_MORE || seem<r->seem[r->n_seem-1] ){
    at = r->n_seem<LOOK_NEAR+LOOK_MORE ? r->n_seem++ : r->n_seem-1;
    for(; at>0 && r->seem[at-1]>seem; at--) r->seem[at] = r->seem[at-1];
    r->seem[at] = seem;
  }
}

static int look_task(void *arg, size_t i_task, unsigned worker){
  struct look *l = arg;
  uint32_t lo = (uint32_t)i_task*LOOK_TASK;
  uint32_t hi = l->n-lo<LOOK_TASK ? l->n : lo+LOOK_TASK;
  VDB_UNUSED(worker);
  for(uint32_t i=0; i<l->n_batch; i++){
    for(uint32_t j=lo; j<hi; j++){
      if( l->row[j].row==l->first+i ) continue;
      row_meet(l, &l->row[j], look_vec(l, l->own_x, j), i);
    }
  }
  return VECDB_OK;
}

static int look_alloc(struct look *l, const struct graph_builder *b){
  struct vdb_graph *g = vdb_calloc(1, sizeof(*g));
  int rc = VECDB_OK;
  l->g = g;
  if( g==NULL ) return VECDB_NOMEM;
  g->d = b->g->d;
  g->n_slots = b->n;
  g->n_lanes = b->n_lanes;
  g->seed = b->g->seed;
  g->nav = VDB_NAV_SQ8;
  g->bits = 1;
  TRY( vdb_graph_layout(g) );
  TRY( vdb_graph_alloc(g, 0) );
  l->n = LOOK_ROWS;
  l->stride = GRAPHBLOCK_SIZE + g->sz_nav;
  l->row = vdb_calloc(l->n, sizeof(*l->row));
  l->own_x = vdb_malloc_aligned((size_t)l->n*g->dims_nav*sizeof(float));
  l->own = vdb_malloc_aligned(l->n*l->stride);
  l->own_hi = vdb_malloc_aligned((size_t)l->n*g->dims_nav);
  l->x = vdb_malloc_aligned((size_t)LOOK_BATCH*g->dims_nav*sizeof(float));
  l->block = vdb_malloc_aligned(LOOK_BATCH*l->stride);
  if( !l->row || !l->own_x || !l->own || !l->own_hi || !l->x || !l->block ){
    TRY( VECDB_NOMEM );
  }
done:
  return rc;
}

static void look_free(struct look *l){
  vdb_graph_close(l->g);
  vdb_free(l->row);
  vdb_free_aligned(l->own_x);
  vdb_free_aligned(l->own);
  vdb_free_aligned(l->own_hi);
  vdb_free_aligned(l->x);
  vdb_free_aligned(l->block);
}

/* Row `row` of the source becomes vector and block i of the arrays. */
static int look_fetch(struct look *l, const struct graph_builder *b,
                      uint32_t row, float *tmp, float *x, unsigned char *block,
                      uint32_t i){
  int rc = b->src->fetch(b->src->arg, row, tmp);
  if( rc ) return rc;
  vdb_graph_to_nav(l->g, tmp, look_vec(l, x, i));
  vdb_graph_block_vector(l->g, block + i*l->stride, look_vec(l, x, i));
  return VECDB_OK;
}

/* All rows pass by those that are looked at. */
static int look_run(struct look *l, struct graph_builder *b, float *tmp){
  int rc = VECDB_OK;
  for(uint32_t j=0; j<l->n; j++){
    struct look_row *r = &l->row[j];
    r->row = b->origin[j];
    r->q.hi = l->own_hi + (size_t)j*l->g->dims_nav;
    TRY( look_fetch(l, b, r->row, tmp, l->own_x, l->own, j) );
    vdb_graph_query_block(l->g, l->own + j*l->stride, &r->q);
  }
  for(uint32_t i=0; i<b->n; i+=LOOK_BATCH){
    l->first = i;
    l->n_batch = b->n-i<LOOK_BATCH ? b->n-i : LOOK_BATCH;
    for(uint32_t j=0; j<l->n_batch; j++){
      TRY( look_fetch(l, b, i+j, tmp, l->x, l->block, j) );
    }
    TRY( vdb_pool_run(b->n_thread, (l->n + LOOK_TASK-1)/LOOK_TASK, look_task,
                      l) );
    if( b->sink->progress && b->sink->progress(b->sink->arg, 0) ){
      TRY( VECDB_INTERRUPT );
    }
  }
done:
  return rc;
}

static int neighbours_hide(struct graph_builder *b, float *x, bool *out){
  struct look l = { .g = NULL };
  uint32_t n_hidden = 0;
  int rc = VECDB_OK;
  TRY( look_alloc(&l, b) );
  TRY( vdb_graph_centre(b, l.g, x) );
  vdb_graph_draw_signs(l.g);
  vdb_graph_derive(l.g);
  TRY( look_run(&l, b, x) );
  for(uint32_t j=0; j<l.n; j++){
    const struct look_row *r = &l.row[j];
    for(uint32_t i=0; i<r->n_near; i++){
      n_hidden += r->near_seem[i]>r->seem[r->n_seem-1];
    }
  }
  *out = n_hidden*HIDDEN_ONE_IN>l.n*LOOK_NEAR;
done:
  look_free(&l);
  return rc;
}

/* ---- The choice ---------------------------------------------------------- */

bool vdb_graph_prefix_is_short(const struct graph_builder *b){
  uint32_t n = b->opts->prefix, d = b->g->d;
  return n>0 && n<d && graph_round_up(n, 64)<d;
}

/* Is there a layout with floats? */
static bool floats_fit(const struct graph_builder *b){
  struct vdb_graph g = *b->g;
  g.nav = VDB_NAV_F32;
  g.dims_code = graph_round_up(g.d, 64);
  g.bits = vdb_graph_bits_begin(b, &g);
  return vdb_graph_layout(&g)==VECDB_OK;
}

int vdb_graph_choose_nav(struct graph_builder *b, float *x){
  struct vdb_graph *g = b->g;
  uint32_t nav = b->opts->nav;
  bool is_bytes = false, is_hidden = false;
  int rc = VECDB_OK;
  if( nav==VDB_NAV_AUTO || nav==VDB_NAV_BYTES ){
    TRY( rows_are_bytes(b, x, &is_bytes, &g->lo) );
  }
  if( is_bytes ){
    g->nav = VDB_NAV_BYTES;
  }else if( nav!=VDB_NAV_AUTO && nav!=VDB_NAV_BYTES ){
    g->nav = nav;
  }else if( vdb_graph_prefix_is_short(b) ){
    g->nav = VDB_NAV_SQ8;
  }else if( 4*g->d<=F32_MAX_BYTES ){
    g->nav = VDB_NAV_F32;
  }else{
    if( b->n>=LOOK_MIN && floats_fit(b) ){
      TRY( neighbours_hide(b, x, &is_hidden) );
    }
    g->nav = is_hidden ? VDB_NAV_F32 : VDB_NAV_SQ8;
  }
done:
  return rc;
}
