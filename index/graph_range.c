/* graph_range.c -- all rows within a distance of the query, by the graph.
**
** A search for the k nearest may forget what is farther than its ef best. Here
** everything inside the radius is wanted, so nothing inside is forgotten:
**
**   walk to the query as a search for ten neighbours does (graph_search.c)
**   for every node that this walk expanded, then, as long as there are some,
**   for the nearest of those that are named and may be inside:
**     compute its distance; inside: it and its chain are found
**     name its neighbours
**
** MAY BE   A neighbour's estimate is wrong by a standard error that its block
**          tells: the code of a residual is off by about STEP_ERROR steps per
**          dimension, a step is f_resc/2, and what counts is the part along the
**          way to the query. A neighbour is worth a look if its estimate less
**          `sigmas` such errors is inside. (Measured on three sets, answers of
**          10 to 10,000 rows: 0, 1 and 2 errors find .93, .98 and .99 of the
**          rows on SIFT for 1.5, 2 and 3 blocks per row found.)
** EMPTY    If the first walk met nothing inside, that is the answer: its effort
**          is what decides whether an answer of a few rows is found.
** LIMITS   The queue grows as far as the radius wants. More memory or more
**          blocks than the caller allows end the walk: he then compares all rows.
**
** Rows that do not qualify are walked through: the graph inside the radius may
** hang together by them. A row is looked at once, whoever names it first as one
** that may be inside; the order of things depends on estimates and slots alone,
** so answers are the same everywhere (G3 in graph_search.c).
*/
#include <math.h>

#include "index/graph_int.h"
#include "util/mem.h"

#define RANGE_K      10u        /* neighbours the first walk is for */
#define STEP_ERROR   0.3f       /* 1/sqrt(12), and a little */
#define ERR_SIGMAS   5.0f       /* of quantised vectors: beyond it, not inside */
#define WIDE_SLACK   1.01f      /* rounded queries: those are computed again */
#define SEEN_PLACES  4u         /* of the walk's table for each slot, at most */

struct range_walk {
  struct graph_walk *w;
  const struct vdb_graph_range *p;
  struct vdb_graph_found *out;
  float *tmp;                   /* dims_nav */
  float radius;                 /* not squared */
  float err_share;              /* of a block's err that counts */
  uint64_t *queue;              /* a heap: order of the estimate<<32 | slot */
  size_t n_queue, n_queue_cap;
  bool any;                     /* something was inside */
};

/* ---- The queue ----------------------------------------------------------- */

static uint32_t estimate_order(float x){
  uint32_t u;
  x += 0.0f;
  memcpy(&u, &x, 4);
  return u>>31 ? ~u : u | 0x80000000u;
}

static int queue_push(struct range_walk *r, float est, uint32_t slot){
  uint64_t v = (uint64_t)estimate_order(est)<<32 | slot;
  size_t i = r->n_queue, up;
  int rc = vdb_grow(&r->queue, &r->n_queue_cap, i+1, sizeof(*r->queue));
  if( rc!=VECDB_OK ) return rc;
  for(; i>0 && r->queue[up = (i-1)/2]>v; i=up) r->queue[i] = r->queue[up];
  r->queue[i] = v;
  r->n_queue++;
  return VECDB_OK;
}

static uint32_t queue_pop(struct range_walk *r){
  uint32_t slot = (uint32_t)r->queue[0];
  uint64_t v = r->queue[--r->n_queue];
  size_t i = 0, c;
  while( (c = 2*i+1)<r->n_queue ){
    if( c+1<r->n_queue && r->queue[c+1]<r->queue[c] ) c++;
    if( r->queue[c]>=v ) break;
    r->queue[i] = r->queue[c];
    i = c;
  }
  r->queue[i] = v;
  return slot;
}

/* ---- One node ------------------------------------------------------------ */

static int found_add(struct range_walk *r, float d2, const unsigned char *block,
                     uint32_t slot){
  struct vdb_graph_found *f = r->out;
  uint32_t row = get_u32(block+GRAPHBLOCK_ROW);
  int rc;
  if( !graph_row_qualifies(r->w->b, row) ) return VECDB_OK;
  rc = vdb_grow(&f->hit, &f->n_cap, f->n+1, sizeof(*f->hit));
  if( rc!=VECDB_OK ) return rc;
  f->hit[f->n].d2 = d2;
  f->hit[f->n].slot = slot;
  f->hit[f->n].row = row;
  f->hit[f->n].err = get_f32(block+GRAPHBLOCK_ERR);
  f->hit[f->n++].key = get_u64(block+GRAPHBLOCK_KEY);
  return VECDB_OK;
}

/* A node inside and its chain, which loops if it is longer than there are
** blocks. */
static int found_add_chain(struct range_walk *r, float d2,
                           const unsigned char *block, uint32_t slot){
  uint32_t n_slots = r->w->g->n_slots, n_left = n_slots;
  int rc;
  r->any = true;
  TRY( found_add(r, d2, block, slot) );
  while( (slot = get_u32(block+GRAPHBLOCK_DUP))!=SLOT_NONE ){
    if( slot>=n_slots || n_left--==0 ) return VECDB_CORRUPT_INDEX;    /* G2 */
    block = vdb_graph_walk_block(r->w, slot);
    if( block==NULL ) return r->w->rc;
    if( get_u16(block+GRAPHBLOCK_FLAGS)!=GRAPH_DUP ) return VECDB_CORRUPT_INDEX;
    TRY( found_add(r, d2, block, slot) );
  }
done:
  return rc;
}

/* Neighbours that may be inside wait to be looked at. */
static int lanes_queue(struct range_walk *r, const unsigned char *block,
                       float d2){
  struct graph_walk *w = r->w;
  const struct vdb_graph *g = w->g;
  const uint32_t *id = (const uint32_t*)(const void*)
                       (block + graph_off_lanes(g));
  const float *f_add = (const float*)(const void*)(id + g->n_lanes);
  const float *f_resc = f_add + g->n_lanes;
  /* Very near, what the rounded query is off by counts for more. */
  float far = d2>w->code.fine_below ? d2 : w->code.fine_below;
  float est[GRAPH_LANES_MAX], s = r->p->sigmas*STEP_ERROR*sqrtf(far);
  int rc = VECDB_OK;
  if( g->code_kind!=VDB_CODE_RESIDUAL ) s = 0;     /* what is said is exact */
  g->simd->estimate(&w->code, (const uint8_t*)(f_resc + g->n_lanes), f_add,
                    f_resc, g->n_lanes, d2, est);
  for(uint32_t i=0; i<g->n_lanes && rc==VECDB_OK; i++){
    float least = est[i] + s*f_resc[i];      /* f_resc is not above 0 */
    if( !(least<=r->p->d2) || id[i]>=g->n_nodes ) continue;
    if( vdb_graph_walk_see(w, id[i]) ) rc = queue_push(r, least, id[i]);
    if( rc==VECDB_OK ) rc = w->rc;
  }
  return rc;
}

static bool is_inside(const struct range_walk *r, float d2,
                      const unsigned char *block){
  float err = get_f32(block+GRAPHBLOCK_ERR)*r->err_share;
  if( d2<=r->p->d2 ) return true;
  return err>0 && sqrtf(d2) - err<=r->radius;
}

static int range_look(struct range_walk *r, uint32_t slot){
  struct graph_walk *w = r->w;
  const unsigned char *block = vdb_graph_walk_block(w, slot);
  float d2;
  int rc = VECDB_OK;
  if( block==NULL ) return w->rc;
  d2 = vdb_graph_d2(w->g, &w->q, block);
  if( w->q.metric==GQ_WIDE && w->g->nav==VDB_NAV_BYTES
   && d2<=WIDE_SLACK*r->p->d2 ){
    d2 = vdb_graph_d2_exact(w->g, w->x, block, r->tmp);
  }
  if( is_inside(r, d2, block) ) TRY( found_add_chain(r, d2, block, slot) );
  TRY( lanes_queue(r, block, d2) );
done:
  return rc;
}

/* ---- The whole ----------------------------------------------------------- */

/* What the first walk expanded, in order of slots: that of the table depends on
** earlier queries. */
static int slots_expanded(const struct graph_walk *w, uint32_t **out,
                          uint32_t *n){
  struct graph_near *a = vdb_malloc_array((size_t)w->n_seen+1, sizeof(*a));
  uint32_t m = 0;
  *out = vdb_malloc_array((size_t)w->n_seen+1, sizeof(**out));
  if( a==NULL || *out==NULL ){
    vdb_free(a);
    return VECDB_NOMEM;
  }
  for(uint32_t i=0; i<=w->seen_mask && m<w->n_seen; i++){
    if( w->seen[i]>>32!=w->epoch ) continue;
    a[m].d2 = 0;
    a[m++].slot = (uint32_t)w->seen[i];
  }
  vdb_graph_near_sort(a, m);
  for(uint32_t i=0; i<m; i++) (*out)[i] = a[i].slot;
  *n = m;
  vdb_free(a);
  return VECDB_OK;
}

/* Room that earlier queries have left in tables does not count: whether a walk
** is given up would depend on them. */
static bool limits_passed(const struct range_walk *r){
  size_t sz = r->n_queue_cap*sizeof(*r->queue)
            + r->out->n*sizeof(*r->out->hit)
            + (size_t)r->w->n_seen*SEEN_PLACES*sizeof(*r->w->seen);
  return r->w->n_hop>r->p->n_hop_most || sz>r->p->sz_most;
}

static int range_run(struct range_walk *r, const struct vdb_graph_blocks *b){
  struct graph_walk *w = r->w;
  struct vdb_graph_blocks all = *b;
  uint32_t *slot = NULL, n = 0, ef = r->p->ef>RANGE_K ? r->p->ef : RANGE_K;
  int rc;
  all.live = all.filter = NULL;              /* everything leads on */
  all.within = NULL;
  TRY( vdb_graph_walk_begin(w, &all, ef, RANGE_K, r->p->stop) );
  rc = vdb_graph_walk_run(w);
  w->b = b;
  if( rc!=VECDB_OK ) goto done;
  TRY( slots_expanded(w, &slot, &n) );
  for(uint32_t i=0; i<n; i++) TRY( range_look(r, slot[i]) );
  while( r->any && r->n_queue>0 && !limits_passed(r) ){
    uint32_t next = queue_pop(r);
    if( r->n_queue>0 ) vdb_graph_walk_request(w, (uint32_t)r->queue[0]);
    w->n_hop++;
    TRY( range_look(r, next) );
  }
  r->out->gave_up = limits_passed(r);
done:
  vdb_free(slot);
  return rc;
}

int vdb_graph_walk_range(struct graph_walk *w,
                         const struct vdb_graph_blocks *b,
                         const struct vdb_graph_range *p, float *tmp,
                         struct vdb_graph_found *out){
  struct range_walk r = { .w = w, .p = p, .out = out, .tmp = tmp };
  int rc;
  r.radius = sqrtf(p->d2);
  r.err_share = ERR_SIGMAS/sqrtf((float)w->g->d);
  if( r.err_share>1 ) r.err_share = 1;
  rc = range_run(&r, b);
  vdb_free(r.queue);
  vdb_graph_walk_shrink(w);
  return rc;
}
