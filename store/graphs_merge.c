/* graphs_merge.c -- when graphs are built, take in rows, lose dead ones.
**
** Decided by counts alone and fixed costs, so that files are the same
** everywhere. A column has graphs over adjacent ranges of slots, the largest
** first as a rule; rows that came after all of them are its *rest*, which
** searches scan.
**
** BY HAND     (optimize) A column gets its first graph from 20,000 live sealed
**   rows on (with VECDB_OPTIMIZE_ALL from 256). Later the first graph takes in
**   the rest and all other graphs, unless the rest is short; a sixteenth of
**   dead rows is taken out of it, and some of its nodes choose their neighbours
**   anew (graph_insert.c, RENEW). It is built anew when its range grows by more
**   than half or 40 % of its rows are dead. Where more than a fifth of the rows
**   cannot be in a graph (graphs.h, SPACE) there is none.
** AT COMMIT   (policy optimize=commit, and a first graph exists) When scanning
**   the rest costs half as much as a search of the graph, or the rest has
**   merge_rows rows, it joins the last graph, that one the graph before it if
**   it is less than TIER times as large, and so on; if not even the last one
**   is, the rest becomes a graph of its own. So a row is moved once per factor
**   TIER, a search asks one graph per factor, and the smallest graphs are
**   rewritten most. A graph loses its dead rows when they are a quarter.
** BACKGROUND  (tend.c) As at a commit, and a first graph is built, too. What takes
**   long is only done with graphs that are there: the rest is a small one before.
**   The first graph is renewed as by hand.
**
** The first graph is less eager to be rewritten than the small ones are: it is
** what costs most, and only its table of recall is measured.
**
** MEMORY      (vdb_store_build_bytes) Graphs that together would have more rows
**   than can be built stay apart; rows that are too many for one become several
**   (graphs_build.c), entered one after the other.
*/
#include "util/common.h"
#include "store/graphs.h"

#include "gpu/gpu.h"
#include "simd/simd.h"
#include "util/pool.h"

#define GRAPH_ROWS_MIN      20000u
#define GRAPH_ROWS_MIN_ALL    256u
#define TIER_FIRST  8u
#define TIER       16u

/* Nanoseconds, as in graphs_search.c: half a search, each row scanned. */
#define COST_HALF_SEARCH  8000.0
#define COST_ROW            12.0
#define COST_BYTE            0.05
/* Microseconds of one thread for a row of a graph that is built or joined, by
** its floats: what builds of 128 and 784 dimensions take. */
#define COST_BUILD_ROW     100.0
#define COST_BUILD_FLOAT     0.2
#define REST_MIN           128u
#define REST_MAX          4096u
/* In the background: a graph of more rows takes long; commits help with rests
** from this many limits on, up to so many rows. */
#define LONG_ROWS        16384u
#define HELP_RESTS           4u
#define HELP_MAX         16384u

struct seg_count { uint32_t n_row, n_dead; };

static struct seg_count seg_counted(const struct graph_seg *s,
                                    const struct live_map *live){
  struct seg_count k = { s->n_row + s->n_side, 0 };
  uint64_t n = vdb_live_count(live, s->first, s->end);
  if( n<k.n_row ) k.n_dead = k.n_row - (uint32_t)n;
  return k;
}

/* A rest of so many rows is worth a merge. */
static uint64_t rest_limit(const struct coll *c, int v){
  double sz = c->schema->col[c->vec_col[v]].sz_vec;
  double n = COST_HALF_SEARCH/(COST_ROW + COST_BYTE*sz);
  if( c->schema->merge_rows>0 ) return c->schema->merge_rows;
  return n<REST_MIN ? REST_MIN : n>REST_MAX ? REST_MAX : (uint64_t)n;
}

/* Live rows that no graph covers, those of the delta included. */
static uint64_t rest_count(const struct coll *c, int v,
                           const struct live_map *live){
  return vdb_live_count(live, vdb_graphs_end(c, v), live->n_bit);
}

/* Rows of a graph that counts when others join it: blocks, of dead rows, too. */
static uint64_t seg_blocks(const struct graph_seg *s, struct seg_count k){
  return s->info.n_slots>k.n_row ? s->info.n_slots : k.n_row;
}

/* The rest alone, as a graph of its own. */
static void make_rest(const struct coll *c, int v, struct graph_make *m){
  memset(m, 0, sizeof(*m));
  m->first = vdb_graphs_end(c, v);
  m->end = c->s.next_slot;
  m->i_seg = c->graphs->list[v].n;
}

/* A graph takes the places of those from i on, of which k is the first, and n
** other rows in. */
static void make_joined(const struct coll *c, int v, size_t i,
                        struct seg_count k, uint64_t n, struct graph_make *m){
  const struct graph_list *list = &c->graphs->list[v];

  memset(m, 0, sizeof(*m));
  m->end = c->s.next_slot;
  m->first = list->seg[i].first;
  m->i_seg = i;
  m->n_seg = list->n-i;
  m->is_insert = n<=(i==0 ? k.n_row/2 : k.n_row)
              && (uint64_t)k.n_dead*10<=(uint64_t)k.n_row*4;
  m->purge = (uint64_t)k.n_dead*8>=k.n_row;
}

static void make_all(const struct coll *c, int v, struct graph_make *m){
  memset(m, 0, sizeof(*m));
  m->end = c->s.next_slot;
  m->n_seg = c->graphs->list[v].n;
  m->n_min = GRAPH_ROWS_MIN_ALL;
}

/* ---- By hand ------------------------------------------------------------ */

/* A graph whose dead rows are many: alone, in its place. */
static bool plan_purge(const struct coll *c, int v, const struct live_map *live,
                       struct graph_make *m){
  const struct graph_list *list = &c->graphs->list[v];

  for(size_t i=0; i<list->n; i++){
    struct seg_count k = seg_counted(&list->seg[i], live);
    if( (uint64_t)k.n_dead*4<k.n_row || k.n_row==0 ) continue;
    if( seg_blocks(&list->seg[i], k)>vdb_graphs_rows_max(c, v) ) continue;
    memset(m, 0, sizeof(*m));
    m->first = list->seg[i].first;
    m->end = list->seg[i].end;
    m->i_seg = i;
    m->n_seg = 1;
    m->purge = true;
    m->is_insert = (uint64_t)k.n_dead*10<=(uint64_t)k.n_row*4;
    return true;
  }
  return false;
}

/* Graphs that cannot all be one: the last ones that can, and the rest; else one
** with dead rows. */
static bool plan_limited(const struct coll *c, int v,
                         const struct live_map *live, struct graph_make *m){
  const struct graph_list *list = &c->graphs->list[v];
  uint64_t most = vdb_graphs_rows_max(c, v), n_rest = rest_count(c, v, live);
  uint64_t n = n_rest;
  struct seg_count k = { 0, 0 };
  size_t i = list->n;

  for(; i>0; i--){
    struct seg_count at = seg_counted(&list->seg[i-1], live);
    if( n + seg_blocks(&list->seg[i-1], at)>most ) break;
    k = at;
    n += k.n_row - k.n_dead;
  }
  if( i==list->n ) make_rest(c, v, m);
  else make_joined(c, v, i, k, n - (k.n_row-k.n_dead), m);
  if( n_rest>=rest_limit(c, v) || m->n_seg>1 ) return true;
  return plan_purge(c, v, live, m);
}

static bool is_too_much(const struct coll *c, int v,
                        const struct live_map *live){
  const struct graph_list *list = &c->graphs->list[v];
  uint64_t n = rest_count(c, v, live);

  for(size_t i=0; i<list->n; i++){
    n += seg_blocks(&list->seg[i], seg_counted(&list->seg[i], live));
  }
  return n>vdb_graphs_rows_max(c, v);
}

/* The first graph and all after it. Where graphs were damaged those of all
** columns are gone, and made anew whatever their size. */
static bool plan_hand(const struct coll *c, int v, const struct live_map *live,
                      bool is_damaged, struct graph_make *m){
  const struct graph_list *list = &c->graphs->list[v];
  struct seg_count first;
  uint64_t n_more;

  make_all(c, v, m);
  if( list->n==0 ){
    return is_damaged || coll_n_row(c)>=GRAPH_ROWS_MIN;
  }
  if( is_too_much(c, v, live) ) return plan_limited(c, v, live, m);
  first = seg_counted(&list->seg[0], live);
  n_more = vdb_live_count(live, list->seg[0].end, m->end);
  m->purge = (uint64_t)first.n_dead*16>=first.n_row;
  if( list->n==1 && n_more<rest_limit(c, v) && !m->purge ) return false;
  m->is_insert = n_more<=first.n_row/2
              && (uint64_t)first.n_dead*10<=(uint64_t)first.n_row*4;
  if( m->is_insert ) m->n_min = 0;
  m->renew = true;
  return true;
}

static int plan_rebuild(struct coll *c, int v, const struct live_map *live,
                        struct graph_make *m, bool *wanted){
  struct graph_list *list = &c->graphs->list[v];
  uint64_t most = vdb_graphs_rows_max(c, v), n_part;
  bool is_sound;
  int rc = VECDB_OK;

  make_all(c, v, m);
  *wanted = false;
  if( most>UINT32_MAX ) most = UINT32_MAX;
  if( coll_n_row(c)<GRAPH_ROWS_MIN_ALL && !c->graphs->is_damaged ){
    return VECDB_OK;
  }
  n_part = (coll_n_row(c) + most-1)/most;
  *wanted = list->n==0 || list->n!=(n_part>0 ? n_part : 1)
         || rest_count(c, v, live)>0 || vdb_graphs_layout_differs(c, v);
  for(size_t i=0; i<list->n && !*wanted; i++){
    *wanted = seg_counted(&list->seg[i], live).n_dead>0;
    if( *wanted ) break;
    TRY( vdb_graph_is_sound(c, &list->seg[i], &is_sound) );
    *wanted = !is_sound;
  }
done:
  return rc;
}

/* The column has another index by now: graphs served until here. */
static int column_drop(struct coll *c, int v){
  int rc = VECDB_OK;

  if( c->graphs->list[v].n==0 && !c->graphs->is_damaged ) return VECDB_OK;
  vdb_coll_change_begin(c);
  TRY( vdb_graphs_drop(c, v) );
  TRY( vdb_coll_state_write(c) );
done:
  return rc;
}

/* Would making this graph end in time? The rows that are new to an enlarged
** graph, or all of it. */
static bool make_fits(const struct coll *c, int v, const struct live_map *live,
                      const struct graph_make *m, int64_t end_ms){
  unsigned n_thread = c->st->n_thread ? c->st->n_thread : vdb_cpu_count();
  slot_no first = m->first;
  double n, ms;

  if( end_ms==INT64_MAX ) return true;
  if( m->is_insert ) first = c->graphs->list[v].seg[m->i_seg].end;
  n = (double)vdb_live_count(live, first, m->end);
  ms = n*(COST_BUILD_ROW + COST_BUILD_FLOAT*vdb_graph_dims(c, v))/1000;
  return (double)vdb_pager_now_ms(c->p) + ms/n_thread<(double)end_ms;
}

/* ---- At a commit -------------------------------------------------------- */

/* *n rows join the graphs before graph i that are small beside them, as far as
** memory allows: the first of these, *k, and how many rows it is then. */
static size_t tiers_join(const struct coll *c, int v,
                         const struct live_map *live, size_t i, uint64_t *n,
                         struct seg_count *k){
  const struct graph_list *list = &c->graphs->list[v];
  uint64_t most = vdb_graphs_rows_max(c, v);

  for(; i>0; i--){
    struct seg_count at = seg_counted(&list->seg[i-1], live);
    if( at.n_row>=*n*(i==1 ? TIER_FIRST : TIER)
     || *n + seg_blocks(&list->seg[i-1], at)>most ) break;
    *n += at.n_row - at.n_dead;
    *k = at;
  }
  return i;
}

/* The rest, and the graphs that are small beside what joins them. */
static bool plan_rest(const struct coll *c, int v, const struct live_map *live,
                      struct graph_make *m){
  size_t n_graph = c->graphs->list[v].n, i;
  uint64_t n = rest_count(c, v, live);
  struct seg_count k;

  if( n<rest_limit(c, v) ) return false;
  i = tiers_join(c, v, live, n_graph, &n, &k);
  if( i==n_graph ) make_rest(c, v, m);
  else make_joined(c, v, i, k, n - (k.n_row-k.n_dead), m);
  return true;
}

/* A first graph is made in the background alone, where nobody waits for it. */
static bool wants_first(const struct coll *c, int v){
  return c->schema->policy==POLICY_BACKGROUND && vdb_graphs_possible(c, v)
      && coll_n_row(c)>=GRAPH_ROWS_MIN;
}

bool vdb_graphs_want_upkeep(struct coll *c){
  if( c->s.graphs==0 && c->schema->policy!=POLICY_BACKGROUND ) return false;
  if( vdb_graphs_load(c)!=VECDB_OK ) return true;
  for(int v=0; v<c->schema->n_vector && !c->graphs->is_damaged; v++){
    const struct graph_list *list = &c->graphs->list[v];
    uint64_t n_row = 0;
    if( list->n==0 && wants_first(c, v) ) return true;
    if( list->n==0 ) continue;
    for(size_t i=0; i<list->n; i++){
      n_row += (uint64_t)list->seg[i].n_row + list->seg[i].n_side;
    }
    if( c->s.next_slot-vdb_graphs_end(c, v)>=rest_limit(c, v)
     || c->s.n_live_sealed<n_row-n_row/8 ) return true;
  }
  return false;
}

/* What is planned, in the running transaction; where memory ends the others
** are graphs of their own. c->graphs is current afterwards. */
static int parts_make(struct coll *c, int v, const struct graph_make *what,
                      unsigned flags){
  struct graph_make m = *what;
  slot_no end;
  int rc;

  do{
    vdb_coll_change_begin(c);
    TRY( vdb_graphs_make_by(c, v, &m, flags, &end) );
    TRY( vdb_coll_state_write(c) );
    TRY( vdb_graphs_load(c) );
    make_rest(c, v, &m);
    m.end = what->end;
  }while( end>0 && end<what->end );
done:
  return rc;
}

static int column_keep(struct coll *c, int v){
  struct live_map *live = NULL;
  struct graph_make m;
  bool wanted;
  int rc;

  TRY( vdb_graphs_load(c) );
  if( c->graphs->list[v].n==0 ) return VECDB_OK;
  TRY( vdb_live_ref(c, &live) );
  wanted = rest_count(c, v, live)>=rest_limit(c, v);
  vdb_live_unref(live);
  live = NULL;
  if( wanted ){
    TRY( vdb_delta_seal(c) );
    TRY( vdb_graphs_load(c) );
  }
  for(int n=0; n<2; n++){
    TRY( vdb_live_ref(c, &live) );
    wanted = n==0 ? plan_rest(c, v, live, &m) : plan_purge(c, v, live, &m);
    vdb_live_unref(live);
    live = NULL;
    if( wanted ) TRY( parts_make(c, v, &m, 0) );
  }
done:
  return rc;
}

/* Do it for each column that may have a graph, once there is any. */
static int columns_do(struct coll *c, int (*column)(struct coll *c, int v)){
  struct vdb_fpmode fp = vdb_fpmode_enter();
  int rc = VECDB_OK;

  for(int v=0; v<c->schema->n_vector && c->s.graphs!=0; v++){
    if( vdb_graphs_possible(c, v) ) TRY( column(c, v) );
  }
done:
  vdb_fpmode_leave(fp);
  return rc;
}

int vdb_graphs_keep(struct coll *c){
  return columns_do(c, column_keep);
}

/* ---- In the background -------------------------------------------------- */

/* The last graphs, where the ones before them are not TIER times as large. */
static bool plan_tiers(const struct coll *c, int v, const struct live_map *live,
                       struct graph_make *m){
  const struct graph_list *list = &c->graphs->list[v];
  struct seg_count k = seg_counted(&list->seg[list->n-1], live);
  uint64_t n = k.n_row - k.n_dead;
  size_t i = tiers_join(c, v, live, list->n-1, &n, &k);

  if( i==list->n-1 ) return false;
  make_joined(c, v, i, k, n - (k.n_row-k.n_dead), m);
  m->end = vdb_graphs_end(c, v);
  return true;
}

/* Would joining the rest to graphs take long, where making it a graph of its own
** would not? */
static bool is_long(const struct coll *c, int v, const struct live_map *live,
                    const struct graph_make *m){
  uint64_t n_all = vdb_live_count(live, m->first, m->end);
  return m->n_seg>0 && n_all>LONG_ROWS && rest_count(c, v, live)<=HELP_MAX;
}

static bool plan_background(const struct coll *c, int v,
                            const struct live_map *live, struct graph_make *m){
  if( c->graphs->list[v].n==0 ){
    make_all(c, v, m);
    return !c->graphs->is_damaged && coll_n_row(c)>=GRAPH_ROWS_MIN;
  }
  if( plan_rest(c, v, live, m) ){
    if( is_long(c, v, live, m) ) make_rest(c, v, m);
  }else if( !plan_tiers(c, v, live, m) && !plan_purge(c, v, live, m) ){
    return false;
  }
  m->renew = m->i_seg==0;
  return true;
}

/* The commit's part where the thread is at something long: the rest, if it is
** not too much for a commit. */
static int column_help(struct coll *c, int v){
  struct live_map *live = NULL;
  struct graph_make m;
  uint64_t n;
  int rc;

  TRY( vdb_graphs_load(c) );
  if( c->graphs->list[v].n==0 ) return VECDB_OK;
  TRY( vdb_live_ref(c, &live) );
  n = rest_count(c, v, live);
  if( n<HELP_RESTS*rest_limit(c, v) || n>HELP_MAX ) goto done;
  TRY( vdb_delta_seal(c) );
  TRY( vdb_graphs_load(c) );
  make_rest(c, v, &m);
  TRY( parts_make(c, v, &m, 0) );
done:
  vdb_live_unref(live);
  return rc;
}

int vdb_graphs_help(struct coll *c){
  return columns_do(c, column_help);
}

/* ---- Doing it by hand --------------------------------------------------- */

/* What optimize by hand, or the thread, would do to a column now. c->graphs is
** current. */
static int plan_column(struct coll *c, int v, unsigned flags, bool is_damaged,
                       int64_t end_ms, struct graph_make *m, bool *wanted){
  struct live_map *live = NULL;
  int rc;

  TRY( vdb_live_ref(c, &live) );
  if( flags & GRAPHS_UPKEEP ){
    *wanted = plan_background(c, v, live, m);
  }else if( flags & VECDB_OPTIMIZE_ALL ){
    TRY( plan_rebuild(c, v, live, m, wanted) );
  }else{
    *wanted = plan_hand(c, v, live, is_damaged, m);
  }
  *wanted = *wanted && make_fits(c, v, live, m, end_ms);
done:
  vdb_live_unref(live);
  return rc;
}

/* Enter what was drafted; rows that this leaves without a graph join one. */
static int drafts_enter(struct coll *c, struct graph_drafts *d, int v){
  bool has_tail;
  int rc;

  if( !vdb_drafts_have(d, v) ) return VECDB_OK;
  vdb_coll_change_begin(c);
  TRY( vdb_drafts_enter(c, d, v, &has_tail) );
  TRY( vdb_coll_state_write(c) );
  if( has_tail ) TRY( column_keep(c, v) );
done:
  return rc;
}

int vdb_graphs_optimize(struct coll *c, unsigned flags, int64_t end_ms,
                        struct graph_drafts *drafts){
  struct vdb_fpmode fp = vdb_fpmode_enter();
  bool is_damaged = false, wanted;
  struct graph_make m;
  int rc = VECDB_OK;

  if( (flags & VECDB_OPTIMIZE_GPU) && vdb_gpu_start()!=VDB_GPU_OK ){
    TRY( vdb_graphs_gpu_refused(c, vdb_gpu_start()) );
  }
  for(int v=0; v<c->schema->n_vector; v++){
    TRY( vdb_graphs_load(c) );
    is_damaged |= c->graphs->is_damaged;
    if( !vdb_graphs_possible(c, v) ){
      TRY( column_drop(c, v) );
      continue;
    }
    if( drafts!=NULL ){
      TRY( drafts_enter(c, drafts, v) );
      continue;
    }
    TRY( plan_column(c, v, flags, is_damaged, end_ms, &m, &wanted) );
    if( wanted ) TRY( parts_make(c, v, &m, flags) );
  }
done:
  vdb_fpmode_leave(fp);
  return rc;
}

/* ---- From a snapshot ---------------------------------------------------- */

/* A new draft; the next step goes on with the column, if there is more of it, or
** begins with it, if drafts of others hold the memory. */
static int draft_make(struct coll *c, int v, unsigned flags,
                      struct graph_make *m, struct graph_drafts *d){
  slot_no end;
  int rc;

  if( d->v_next==v ) d->v_next = DRAFTS_ALL;
  m->drafts = d;
  m->sz_held = vdb_drafts_bytes(d);
  rc = vdb_graphs_make_by(c, v, m, flags, &end);
  if( rc==VECDB_TOOBIG && m->sz_held>0 ){
    d->v_next = v;
    d->goes_on = d->is_going_on && v==d->v;
    return VECDB_OK;
  }
  if( rc==VECDB_OK && end>0 && end<m->end ){
    d->v_next = v;
    d->goes_on = true;
  }
  return rc;
}

static int column_draft(struct coll *c, int v, unsigned flags, int64_t end_ms,
                        struct graph_drafts *d){
  bool had = vdb_drafts_have(d, v), wanted;
  struct graph_make m;
  int rc = VECDB_OK;

  if( !had && d->is_begun ) return VECDB_OK;
  switch( vdb_drafts_fit(c, d, v, &m) ){
    case DRAFT_TAIL:
      /* What there is no memory for joins when the draft is entered. */
      rc = vdb_drafts_make_tail(c, d, v, &m);
      return rc==VECDB_TOOBIG ? VECDB_OK : rc;
    case DRAFT_STALE: vdb_drafts_forget(d, v); break;
    case DRAFT_FITS: if( had ) return VECDB_OK;
  }
  if( d->is_going_on && v==d->v ){
    make_rest(c, v, &m);
    wanted = m.first<m.end;
  }else{
    TRY( plan_column(c, v, flags, c->graphs->is_damaged, end_ms, &m, &wanted) );
  }
  if( wanted ) TRY( draft_make(c, v, flags, &m, d) );
done:
  return rc;
}

int vdb_graphs_draft(struct coll *c, unsigned flags, int64_t end_ms,
                     struct graph_drafts *d){
  struct vdb_fpmode fp = vdb_fpmode_enter();
  int rc = VECDB_OK;

  if( (flags & VECDB_OPTIMIZE_GPU) && vdb_gpu_start()!=VDB_GPU_OK ){
    TRY( vdb_graphs_gpu_refused(c, vdb_gpu_start()) );
  }
  for(int v=d->v; v<c->schema->n_vector && v<=d->v_next; v++){
    TRY( vdb_graphs_load(c) );
    if( vdb_graphs_possible(c, v) ){
      TRY( column_draft(c, v, flags, end_ms, d) );
    }
  }
  d->is_begun = true;
done:
  vdb_fpmode_leave(fp);
  return rc;
}

bool vdb_graphs_drafts_fit(struct coll *c, const struct graph_drafts *d,
                           bool tails_too){
  struct graph_make tail;

  for(int v=0; v<c->schema->n_vector; v++){
    enum draft_fit fit = vdb_drafts_fit(c, d, v, &tail);
    if( fit==DRAFT_STALE || (fit==DRAFT_TAIL && !tails_too) ) return false;
  }
  return true;
}
