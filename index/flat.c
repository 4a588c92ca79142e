/* flat.c -- exact search by looking at every row.
**
** A scan computes the key of each row that passes the live bits and the
** filter, block by block, and compares it with the cut of the pick: with
** random data about k*ln(n/k) rows of n get further than that one comparison.
** What bounds the scan is the memory; see bench/b_scan.c.
**
** With several threads the rows are divided into tasks; each thread picks
** from the tasks it got, and the picks are merged. The order of results is
** total, so which thread saw which row cannot show.
**
** A range search is a pick without a limit.
*/
#include <math.h>

#include "index/flat_coded.h"
#include "index/flat_int.h"
#include "util/mem.h"
#include "util/pool.h"

/* Rows per task: enough work to pay for a thread. */
#define SZ_SCAN_TASK  ((size_t)4<<20)

struct flat_scan {
  const struct flat_search *s;
  struct vdb_query query;
  struct flat_poll poll;
  uint64_t n_rows;             /* in all runs */
  uint64_t n_per_task;
  struct flat_pick *picks;     /* one per thread */
};

static int flat_scan_rows(struct flat_scan *sc, uint64_t first, uint64_t n,
                          struct flat_pick *pick){
  struct flat_cursor c;
  struct flat_block b;
  float key[FLAT_BLOCK];
  size_t sz_polled = 0;
  int rc = VECDB_OK;

  vdb_flat_seek(&c, sc->s, first, n);
  while( vdb_flat_next(&c, &b, FLAT_BLOCK) ){
    struct vdb_query query = vdb_query_on(&sc->query, b.row_type);
    vdb_keys(&query, b.row, b.has_norm2 ? b.norm2 : NULL, b.n, key);
    TRY( vdb_flat_pick_block(pick, &b, key) );
    TRY( vdb_flat_poll(&sc->poll, &sz_polled,
                       flat_block_cost(&sc->poll, &b)) );
  }
done:
  return rc;
}

static int flat_scan_task(void *arg, size_t i_task, unsigned worker){
  struct flat_scan *sc = arg;
  struct vdb_fpmode fp = vdb_fpmode_enter();      /* threads inherit the mode */
  int rc = flat_scan_rows(sc, i_task*sc->n_per_task, sc->n_per_task,
                          &sc->picks[worker]);
  vdb_fpmode_leave(fp);
  return rc;
}

/* The scan by several threads, into `pick`. */
static int flat_scan_parallel(struct flat_scan *sc, unsigned n_thread,
                              uint64_t n_task, struct flat_pick *pick){
  int rc = VECDB_OK;
  unsigned i = 0;

  sc->picks = vdb_malloc_array(n_thread, sizeof(sc->picks[0]));
  if( sc->picks==NULL ) return VECDB_NOMEM;
  for(i=0; i<n_thread; i++){
    vdb_flat_pick_init(&sc->picks[i], sc->s, pick->top.k, NULL);
  }
  TRY( vdb_pool_run(n_thread, (size_t)n_task, flat_scan_task, sc) );
  for(i=0; i<n_thread; i++){
    TRY( vdb_flat_pick_merge(pick, sc->picks[i].top.hit,
                             sc->picks[i].top.n) );
  }
done:
  for(i=0; i<n_thread; i++) vdb_topk_clear(&sc->picks[i].top);
  vdb_free(sc->picks);
  return rc;
}

/* By codes where rows have them; plainly what is left. */
static int flat_scan_coded(struct flat_scan *sc, struct flat_pick *pick,
                           bool *used){
  const struct flat_search *s = sc->s;
  uint64_t first = 0;
  int rc;

  TRY( vdb_flat_coded_scan(s, &sc->query, &sc->poll, pick, used) );
  for(size_t i=0; i<s->n_runs && *used; i++){
    uint64_t n = s->runs[i].n_rows;
    if( s->runs[i].n_codes==0 ){
      TRY( vdb_flat_ready(s, i, i+1) );
      TRY( flat_scan_rows(sc, first, n, pick) );
    }
    first += n;
  }
done:
  return rc;
}

static int flat_scan_all(const struct flat_search *s, const void *query,
                         struct flat_pick *pick){
  size_t sz_vec = vdb_vector_bytes(s->type, s->dim);
  struct flat_scan sc = { .s = s };
  uint64_t n_task;
  int rc;

  rc = vdb_query_init(&sc.query, s->metric, s->type, query, s->dim);
  if( rc!=VECDB_OK || pick->top.k==0 ) return rc;
  vdb_flat_poll_init(&sc.poll, s);
  if( vdb_flat_coded_pays(s, pick->top.k) ){
    bool used;
    rc = flat_scan_coded(&sc, pick, &used);
    if( rc!=VECDB_OK || used ) return rc;
  }
  rc = vdb_flat_ready(s, 0, s->n_runs);
  if( rc!=VECDB_OK ) return rc;
  sc.n_rows = vdb_flat_count(s);
  sc.n_per_task = SZ_SCAN_TASK/sz_vec + 1;
  n_task = (sc.n_rows + sc.n_per_task-1)/sc.n_per_task;
  if( s->n_thread>1 && n_task>1 ){
    return flat_scan_parallel(&sc, s->n_thread, n_task, pick);
  }
  return flat_scan_rows(&sc, 0, sc.n_rows, pick);
}

int vdb_flat_knn(const struct flat_search *s, const void *query, size_t k,
                 struct vdb_hit *hit, size_t *n_hit){
  struct vdb_fpmode fp = vdb_fpmode_enter();
  struct flat_pick pick;
  int rc;

  *n_hit = 0;
  vdb_flat_pick_init(&pick, s, k, hit);
  rc = flat_scan_all(s, query, &pick);
  if( rc==VECDB_OK ){
    vdb_topk_sort(&pick.top);
    *n_hit = pick.top.n;
  }
  vdb_fpmode_leave(fp);
  return rc;
}

int vdb_flat_range(const struct flat_search *s, const void *query,
                   struct vdb_hit **hits, size_t *n_hit){
  struct vdb_fpmode fp = vdb_fpmode_enter();
  struct flat_pick pick;
  int rc;

  *hits = NULL;
  *n_hit = 0;
  vdb_flat_pick_init(&pick, s, SIZE_MAX, NULL);
  rc = flat_scan_all(s, query, &pick);
  if( rc==VECDB_OK ){
    vdb_topk_sort(&pick.top);
    *hits = pick.top.hit;
    *n_hit = pick.top.n;
  }else{
    vdb_topk_clear(&pick.top);
  }
  vdb_fpmode_leave(fp);
  return rc;
}
