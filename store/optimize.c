/* optimize.c -- rewriting row groups: dead rows go, small groups join.
**
** RULES   Decided by counts alone, so that files are the same everywhere.
**   A group is *stale* when at least a quarter of its rows are dead, *small*
**   when it fills less than half of an extent. In order of slot, maximal runs
**   of stale or small groups are rewritten when
**     - one of the groups is stale, or
**     - the run has at least 2 groups (by hand), 8 (at a commit).
**   VECDB_OPTIMIZE_ALL rewrites everything from the first group that is not
**   full of live rows to the last such group, unless that is one group
**   without dead rows.
**   At a commit (vdb_coll_maintain) dead rows count when they are at least
**   half of the sealed rows and 1 MiB: after the rewrite less than a quarter
**   is dead, so work is proportional to what was deleted.
**
** Slots stay, so the rewritten groups have slot maps where slots are missing.
** Pages of columns that hold no live row any more are given back. Then graphs
** are brought up to date where that is worth it (graphs_merge.c).
**
** APART   Outside of transactions graphs are built from a snapshot while others
**   write, and the write lock is held to seal, tidy and enter them. Without
**   others the file gets the same bytes as by the one long transaction: the
**   snapshot's delta is what the closing transaction seals, and slots stay. If
**   others changed the graphs meanwhile, what is missing is built from a later
**   snapshot (graphs_draft.c), again and again, the last time under the lock.
**
** MEMORY  two extents of vectors and their slots.
*/
#include "util/common.h"
#include "store/graphs.h"

#define TIDY_DEAD_BYTES  (1u<<20)
#define TIDY_GAP_MIN     64u             /* slots; smaller gaps free no page */
#define APART_STEPS  65536               /* graphs, where memory allows only small
                                         ** ones at a time */
#define DRAFT_ROUNDS     6               /* then graphs are built under the lock */
#define PATIENCE_MS      10000u          /* wait for the lock with a draft */

/* What is being packed: rows waiting to become groups. */
struct packer {
  struct coll *c;
  int v;                                 /* vector column */
  uint32_t n_max;                        /* rows of a full group */
  size_t sz;                             /* bytes of a vector */
  uint32_t n;                            /* rows waiting, below 2*n_max */
  unsigned char *row;
  slot_no *slot;
};

static int packer_init(struct packer *k, struct coll *c, int v){
  size_t n;

  memset(k, 0, sizeof(*k));
  k->c = c;
  k->v = v;
  k->n_max = vdb_seg_capacity(c, v);
  k->sz = c->schema->col[c->vec_col[v]].sz_vec;
  n = (size_t)2*k->n_max;
  k->row = vdb_malloc_array(n, k->sz);
  k->slot = vdb_malloc_array(n, sizeof(*k->slot));
  return k->row!=NULL && k->slot!=NULL ? VECDB_OK : VECDB_NOMEM;
}

static void packer_clear(struct packer *k){
  vdb_free(k->row);
  vdb_free(k->slot);
}

/* Write the first n waiting rows as a group. */
static int packer_flush(struct packer *k, uint32_t n){
  bool is_dense;
  int rc;

  if( n==0 ) return VECDB_OK;
  is_dense = k->slot[n-1]-k->slot[0]==n-1;
  rc = vdb_seg_write(k->c, k->v, k->slot[0], n, is_dense ? NULL : k->slot,
                     k->row);
  k->n -= n;
  memmove(k->row, k->row + n*k->sz, k->n*k->sz);
  memmove(k->slot, k->slot+n, k->n*sizeof(*k->slot));
  return rc;
}

/* Take the live rows of a group; the group is gone afterwards. Its rows fit:
** fewer than n_max wait, and it has at most n_max. */
static int packer_take(struct packer *k, struct seg *g,
                       const struct live_map *live){
  struct extent data, map;
  const slot_no *slots;
  int rc;

  memset(&data, 0, sizeof(data));
  memset(&map, 0, sizeof(map));
  TRY( vdb_seg_pin(k->c, k->v, g, &data, &map, &slots) );
  for(uint32_t i=0; i<g->n_row; i++){
    slot_no slot = slots ? slots[i] : g->first+i;
    if( !vdb_bit_get(live->word, slot) ) continue;
    vdb_seg_rows(k->c, k->v, g, data.data, i, 1, k->row + k->n*k->sz);
    k->slot[k->n++] = slot;
  }
  vdb_extent_unpin(k->c->p, &data);
  vdb_extent_unpin(k->c->p, &map);
  TRY( vdb_seg_remove(k->c, k->v, g) );
  while( k->n>=k->n_max ) TRY( packer_flush(k, k->n_max) );
done:
  vdb_extent_unpin(k->c->p, &data);
  vdb_extent_unpin(k->c->p, &map);
  return rc;
}

/* ---- Deciding ------------------------------------------------------------ */

struct group_count { uint32_t n_row, n_live; };

/* Live slots between a group's first and last all belong to it (C3). */
static int count_groups(struct coll *c, int v, const struct live_map *live,
                        struct group_count **out){
  const struct seg_list *list = &c->segs[v];
  struct group_count *a = vdb_calloc(list->n+1, sizeof(*a));

  *out = a;
  if( a==NULL ) return VECDB_NOMEM;
  for(size_t i=0; i<list->n; i++){
    a[i].n_row = list->seg[i].n_row;
    a[i].n_live = (uint32_t)vdb_live_count(live, list->seg[i].first,
                                           (uint64_t)list->seg[i].last+1);
    if( a[i].n_live>a[i].n_row ){
      return COLL_CORRUPT(c, "a row group misses live rows");
    }
  }
  return VECDB_OK;
}

static bool is_stale(const struct group_count *g){
  return (uint64_t)(g->n_row-g->n_live)*4>=g->n_row;
}

/* The next run of groups to rewrite at or after *lo: *lo..*hi-1. */
static bool next_run(const struct group_count *g, size_t n, uint32_t n_max,
                     bool use_dead, size_t n_small_min, size_t *lo,
                     size_t *hi){
  for(; *lo<n; *lo=*hi+1){
    size_t n_stale = 0;
    for(*hi=*lo; *hi<n; ++*hi){
      bool stale = use_dead && is_stale(&g[*hi]);
      if( !stale && g[*hi].n_live>=n_max/2 ) break;
      n_stale += stale;
    }
    if( n_stale>0 || *hi-*lo>=n_small_min ) return true;
  }
  return false;
}

/* Under VECDB_OPTIMIZE_ALL: one run, from the first to the last group that is
** not full of live rows. */
static bool all_run(const struct group_count *g, size_t n, uint32_t n_max,
                    size_t *lo, size_t *hi){
  size_t first = n, last = 0;
  bool any_dead = false;

  for(size_t i=*lo; i<n; i++){
    if( g[i].n_live==n_max ) continue;
    if( first==n ) first = i;
    last = i;
    any_dead |= g[i].n_live<g[i].n_row;
  }
  *lo = first;
  *hi = last+1;
  return first<n && (any_dead || last>first);
}

/* ---- Doing --------------------------------------------------------------- */

struct tidy {
  struct coll *c;
  const struct live_map *live;
  unsigned flags;                        /* VECDB_OPTIMIZE_ALL */
  bool use_dead;                         /* stale groups count */
  size_t n_small_min;
  int64_t end_ms;                        /* no run begins after it */
  slot_no lo, hi;                        /* slots that were rewritten */
};

/* Rewrite groups lo..hi-1 of column v as they are in `old`. */
static int rewrite_run(struct tidy *t, int v, struct seg *old, size_t lo,
                       size_t hi){
  struct packer k;
  int rc;

  TRY( packer_init(&k, t->c, v) );
  if( old[lo].first<t->lo ) t->lo = old[lo].first;
  if( old[hi-1].last>=t->hi ) t->hi = old[hi-1].last+1;
  for(size_t i=lo; i<hi; i++){
    TRY( vdb_store_progress(t->c->st, "optimize", "row groups", i-lo, hi-lo) );
    TRY( packer_take(&k, &old[i], t->live) );
  }
  TRY( packer_flush(&k, k.n) );
done:
  packer_clear(&k);
  return rc;
}

static int tidy_vectors(struct tidy *t, int v){
  struct coll *c = t->c;
  struct group_count *g = NULL;
  struct seg *old = NULL;
  size_t n, lo = 0, hi = 0;
  uint32_t n_max = vdb_seg_capacity(c, v);
  int rc;

  TRY( vdb_segs_load(c) );
  n = c->segs[v].n;
  TRY( count_groups(c, v, t->live, &g) );
  old = vdb_malloc_array(n+1, sizeof(*old));
  if( old==NULL ) TRY( VECDB_NOMEM );
  if( n>0 ) memcpy(old, c->segs[v].seg, n*sizeof(*old));
  if( t->flags & VECDB_OPTIMIZE_ALL ){
    if( all_run(g, n, n_max, &lo, &hi) ) TRY( rewrite_run(t, v, old, lo, hi) );
    goto done;
  }
  for(; next_run(g, n, n_max, t->use_dead, t->n_small_min, &lo, &hi); lo=hi){
    if( vdb_pager_now_ms(c->p)>=t->end_ms ) break;
    TRY( rewrite_run(t, v, old, lo, hi) );
  }
done:
  vdb_free(g);
  vdb_free(old);
  return rc;
}

/* Slots lo..hi-1 hold no live row: give back what lies wholly inside. */
static int clear_gap(struct coll *c, slot_no lo, slot_no hi){
  uint64_t w_lo = ((uint64_t)lo+63)/64, w_hi = hi/64;
  int rc;

  if( hi-lo<TIDY_GAP_MIN ) return VECDB_OK;
  TRY( vdb_column_clear(c, lo, hi) );
  if( w_lo<w_hi ) TRY( vdb_parray_clear(c->p, c->s.live, w_lo, w_hi) );
done:
  return rc;
}

/* Gaps between live rows that touch the rewritten slots. */
static int tidy_gaps(struct tidy *t){
  struct coll *c = t->c;
  slot_no at = t->lo, hi = t->hi;
  int rc = VECDB_OK;

  while( at>0 && !vdb_bit_get(t->live->word, at-1) ) at--;
  while( hi<c->s.delta_first && !vdb_bit_get(t->live->word, hi) ) hi++;
  while( at<hi ){
    slot_no end = at;
    while( end<hi && !vdb_bit_get(t->live->word, end) ) end++;
    TRY( clear_gap(c, at, end) );
    at = end;
    while( at<hi && vdb_bit_get(t->live->word, at) ) at++;
  }
done:
  return rc;
}

static int tidy_run(struct tidy *t){
  struct coll *c = t->c;
  struct live_map *live = NULL;
  uint64_t before = c->s.seg_version;
  int rc;

  TRY( vdb_live_ref(c, &live) );
  t->live = live;
  t->lo = SLOT_NONE;
  t->hi = 0;
  vdb_coll_change_begin(c);
  for(int v=0; v<c->schema->n_vector; v++) TRY( tidy_vectors(t, v) );
  if( t->lo<t->hi ) TRY( tidy_gaps(t) );
  if( c->s.seg_version!=before ){
    TRY( vdb_coll_state_write(c) );
    c->live_version = c->s.version;              /* the same rows live */
  }
  c->live_follows = false;
done:
  vdb_live_unref(live);
  return rc;
}

/* All of it, inside a write transaction, with graphs that were drafted or to be
** built here (NULL). */
static int optimize_run(struct coll *c, unsigned flags, int64_t end_ms,
                        struct graph_drafts *drafts){
  struct tidy t;
  int rc;

  TRY( vdb_coll_refresh(c) );
  vdb_hold_end_all(c->st);               /* extents go away */
  TRY( vdb_delta_seal(c) );
  vdb_coll_change_begin(c);
  c->live_follows = false;
  TRY( vdb_parray_clear(c->p, c->s.delta, 0, UINT64_MAX) );
  if( flags & VECDB_OPTIMIZE_SEAL ) goto done;
  memset(&t, 0, sizeof(t));
  t.c = c;
  t.flags = flags;
  t.use_dead = true;
  t.n_small_min = 2;
  t.end_ms = end_ms;
  TRY( tidy_run(&t) );
  TRY( vdb_graphs_optimize(c, flags, end_ms, drafts) );
  TRY( vdb_codes_tidy(c) );
done:
  return rc;
}

static int64_t budget_end(const struct coll *c, uint32_t ms){
  return ms ? vdb_pager_now_ms(c->p) + ms : INT64_MAX;
}

int vdb_coll_optimize(struct coll *c, unsigned flags){
  return optimize_run(c, flags, INT64_MAX, NULL);
}

int vdb_coll_optimize_within(struct coll *c, unsigned flags, uint32_t ms){
  return optimize_run(c, flags, budget_end(c, ms), NULL);
}

/* ---- Beside other writers ------------------------------------------------ */

/* Bring the drafts up to date with the newest state. */
static int apart_draft(struct coll *c, unsigned flags, int64_t end_ms,
                       struct graph_drafts *d){
  struct read_scope r;
  int rc, rc_end;

  rc = vdb_store_read_begin(c->st, &r);
  if( rc!=VECDB_OK ) return rc;
  rc = vdb_coll_refresh(c);
  if( rc==VECDB_OK ) rc = vdb_graphs_draft(c, flags, end_ms, d);
  rc_end = vdb_store_read_end(c->st, &r);
  return rc==VECDB_OK ? rc_end : rc;
}

int vdb_coll_write_patiently(struct coll *c, struct write_scope *w){
  uint32_t busy_ms = vdb_pager_busy_ms(c->p);
  int rc;

  if( busy_ms<PATIENCE_MS ) vdb_pager_set(c->p, "busy_ms", PATIENCE_MS);
  rc = vdb_store_write_begin(c->st, w);
  vdb_pager_set(c->p, "busy_ms", busy_ms);
  return rc;
}

/* Enter the drafts, if they fit; the last time whatever has happened. */
static int apart_enter(struct coll *c, unsigned flags, int64_t end_ms,
                       struct graph_drafts *d, bool is_last, bool *is_done){
  struct write_scope w;
  bool fits;
  int rc = d->n>0 ? vdb_coll_write_patiently(c, &w)
                  : vdb_store_write_begin(c->st, &w);

  if( rc!=VECDB_OK ) return rc;
  TRY( vdb_coll_refresh(c) );
  TRY( vdb_graphs_load(c) );
  fits = vdb_graphs_drafts_fit(c, d, is_last);
  *is_done = fits || is_last;
  if( *is_done ) TRY( optimize_run(c, flags, end_ms, fits ? d : NULL) );
  if( !fits ) d->v_next = DRAFTS_ALL;              /* all was done, if anything */
done:
  c->is_stepping = d->v_next!=DRAFTS_ALL;
  rc = vdb_store_write_end(c->st, &w, rc);
  c->is_stepping = false;
  return rc;
}

/* As much as memory allows at a time: drafted and entered. */
static int apart_step(struct coll *c, unsigned flags, int64_t end_ms,
                      struct graph_drafts *d){
  bool is_done = false;
  int rc = VECDB_OK;

  for(int i=1; !is_done; i++){
    TRY( apart_draft(c, flags, end_ms, d) );
    TRY( apart_enter(c, flags, end_ms, d, i==DRAFT_ROUNDS, &is_done) );
  }
done:
  return rc;
}

int vdb_coll_optimize_apart(struct coll *c, unsigned flags, uint32_t ms){
  int64_t end_ms = budget_end(c, ms);
  struct graph_drafts d = GRAPH_DRAFTS_INIT;
  int rc = VECDB_OK;

  for(int i=0; i<APART_STEPS; i++){
    TRY( apart_step(c, flags, end_ms, &d) );
    if( !vdb_drafts_next(&d) ) break;
  }
done:
  vdb_drafts_clear(&d);
  return rc;
}

/* ---- At a commit --------------------------------------------------------- */

/* Does some vector column have 8 small groups in a row? */
static bool has_small_run(struct coll *c){
  for(int v=0; v<c->schema->n_vector; v++){
    uint32_t n_max = vdb_seg_capacity(c, v);
    size_t n = 0;
    for(size_t i=0; i<c->segs[v].n; i++){
      n = c->segs[v].seg[i].n_row<n_max/2 ? n+1 : 0;
      if( n>=8 ) return true;
    }
  }
  return false;
}

/* Are dead rows worth a rewrite? */
static bool is_mostly_dead(const struct coll *c){
  uint32_t n_dead = c->s.n_row_sealed - c->s.n_live_sealed;

  return n_dead>0 && n_dead>=c->s.n_row_sealed/2 &&
         (uint64_t)n_dead*c->lay.sz_record>=TIDY_DEAD_BYTES;
}

bool vdb_coll_wants_tidying(struct coll *c){
  return is_mostly_dead(c) || c->tidy_version!=c->s.seg_version
      || vdb_graphs_want_upkeep(c);
}

bool vdb_coll_has_untidy_groups(struct coll *c){
  return is_mostly_dead(c) || has_small_run(c);
}

int vdb_coll_tidy_groups(struct coll *c){
  struct tidy t;
  int rc;

  TRY( vdb_segs_load(c) );
  if( !vdb_coll_has_untidy_groups(c) ) return VECDB_OK;
  memset(&t, 0, sizeof(t));
  t.c = c;
  t.use_dead = is_mostly_dead(c);
  t.n_small_min = 8;
  t.end_ms = INT64_MAX;
  rc = tidy_run(&t);
done:
  return rc;
}

int vdb_coll_maintain(struct coll *c){
  int rc;

  TRY( vdb_coll_tidy_groups(c) );
  TRY( vdb_graphs_keep(c) );
  c->tidy_version = c->s.seg_version;
done:
  return rc;
}
