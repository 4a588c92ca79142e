/* tend.c -- upkeep of a collection beside its writers (optimize=background).
**
** Round by round: what is wanted most is drafted from a snapshot, then entered
** in a short write transaction, until nothing is wanted. The rules are those of
** a commit with optimize=commit, and a first graph is built, too, since nobody
** waits for it. A long merge does not take in the rest, which becomes a small
** graph of its own before (graphs_merge.c): so commits that outrun the thread
** can do the same meanwhile, without being in each other's way.
*/
#include "util/common.h"
#include "store/graphs_write.h"

#define TEND_ROUNDS    64               /* at most, until it is asked again */
#define TEND_ATTEMPTS   4               /* to enter the drafts of a round */

static int tend_draft(struct coll *c, struct graph_drafts *d, bool *is_wanted){
  struct read_scope r;
  int rc, rc_end;

  rc = vdb_store_read_begin(c->st, &r);
  if( rc!=VECDB_OK ) return rc;
  TRY( vdb_coll_refresh(c) );
  *is_wanted = false;
  if( c->schema->policy!=POLICY_BACKGROUND ) goto done;
  TRY( vdb_graphs_draft(c, GRAPHS_UPKEEP, INT64_MAX, d) );
  TRY( vdb_segs_load(c) );
  *is_wanted = d->n>0 || vdb_coll_has_untidy_groups(c);
done:
  rc_end = vdb_store_read_end(c->st, &r);
  return rc==VECDB_OK ? rc_end : rc;
}

static int drafts_put(struct coll *c, struct graph_drafts *d){
  slot_no end = 0;
  int rc;

  for(size_t i=0; i<d->n; i++) if( d->out[i].end>end ) end = d->out[i].end;
  vdb_hold_end_all(c->st);
  if( end>c->s.delta_first ) TRY( vdb_delta_seal(c) );
  TRY( vdb_coll_tidy_groups(c) );
  TRY( vdb_graphs_optimize(c, 0, INT64_MAX, d) );
done:
  return rc;
}

static int tend_enter(struct coll *c, struct graph_drafts *d, bool is_last,
                      bool *is_done){
  struct write_scope w;
  int rc = vdb_store_write_begin(c->st, &w);

  if( rc!=VECDB_OK ) return rc;
  TRY( vdb_coll_refresh(c) );
  TRY( vdb_graphs_load(c) );
  *is_done = vdb_graphs_drafts_fit(c, d, is_last);
  if( *is_done ) TRY( drafts_put(c, d) );
done:
  return vdb_store_write_end(c->st, &w, rc);
}

/* One round. *did: something was done, there may be more. */
static int tend_round(struct coll *c, bool *did){
  struct graph_drafts d = GRAPH_DRAFTS_INIT;
  bool is_wanted, is_done = false;
  int rc = VECDB_OK;

  *did = false;
  for(int i=1; i<=TEND_ATTEMPTS && !is_done; i++){
    TRY( tend_draft(c, &d, &is_wanted) );
    if( !is_wanted ) break;
    TRY( tend_enter(c, &d, i==TEND_ATTEMPTS, &is_done) );
  }
  *did = is_done;
done:
  vdb_drafts_clear(&d);
  return rc;
}

int vdb_coll_tend(struct coll *c, bool *did){
  bool more = true;
  int rc = VECDB_OK;

  *did = false;
  for(int i=0; i<TEND_ROUNDS && more; i++){
    TRY( tend_round(c, &more) );
    *did |= more;
  }
done:
  return rc;
}
