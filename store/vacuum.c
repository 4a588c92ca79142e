/* vacuum.c -- rebuilding a database without free space.
**
** Every collection is copied row by row, in order of slot, into a new one
** whose slots are dense; ids, names, options and the greatest key stay.
**   file     the copy is a second database beside the first, which then takes
**            its place (vdb_pager_replace_file). A crash leaves the old file
**            and perhaps a file "-vacuum", which the next vacuum replaces.
**   others   the copy is made in place, in one transaction; the old pages go
**            to the free list.
** Versions go up by one, so that no cache takes the new slots for old ones.
*/
#include "util/common.h"
#include "pager/file.h"
#include "store/graphs.h"
#include "store/tender.h"

/* ---- Copying one collection ---------------------------------------------- */

struct row_copy {
  struct vdb_value *row;
  struct vdb_str *buf;                   /* by column */
};

static void row_copy_clear(struct row_copy *r, int n_col){
  for(int i=0; r->buf!=NULL && i<n_col; i++) vdb_str_clear(&r->buf[i]);
  vdb_free(r->buf);
  vdb_free(r->row);
}

static int row_copy_init(struct row_copy *r, int n_col){
  r->row = vdb_calloc((size_t)n_col, sizeof(*r->row));
  r->buf = vdb_calloc((size_t)n_col, sizeof(*r->buf));
  return r->row!=NULL && r->buf!=NULL ? VECDB_OK : VECDB_NOMEM;
}

static int copy_row(struct coll *from, slot_no slot, struct coll_bulk *b,
                    struct row_copy *r){
  int rc = VECDB_OK;

  for(int i=0; i<from->schema->n_col; i++){
    TRY( vdb_coll_value(from, i, slot, &r->buf[i], &r->row[i]) );
  }
  TRY( vdb_coll_bulk_add(b, r->row, NULL, NULL) );
done:
  return rc;
}

static int copy_rows(struct coll *from, struct coll *to){
  struct row_copy r = { NULL, NULL };
  struct live_map *live = NULL;
  struct coll_bulk *b = NULL;
  int n_col = from->schema->n_col, rc, rc2;

  TRY( row_copy_init(&r, n_col) );
  TRY( vdb_live_ref(from, &live) );
  TRY( vdb_coll_bulk_begin(to, 0, &b) );
  for(uint64_t s=0; s<live->n_bit; s++){
    if( s%64==0 && live->word[s/64]==0 ){ s += 63; continue; }
    if( !vdb_bit_get(live->word, (size_t)s) ) continue;
    TRY( copy_row(from, (slot_no)s, b, &r) );
    if( s%4096==0 ){
      TRY( vdb_store_progress(from->st, "vacuum", "rows", s, live->n_bit) );
    }
  }
done:
  if( b!=NULL ){
    rc2 = vdb_coll_bulk_end(b, rc==VECDB_OK);
    if( rc==VECDB_OK ) rc = rc2;
  }
  vdb_live_unref(live);
  row_copy_clear(&r, n_col);
  return rc;
}

/* Slots are new, so graphs are built anew where there were some. */
static int copy_graphs(struct coll *from, struct coll *to){
  bool any = false;
  int rc;

  TRY( vdb_graphs_load(from) );
  for(int v=0; v<from->schema->n_vector; v++){
    any |= from->graphs->list[v].n>0;
  }
  if( !any ) return VECDB_OK;
  TRY( vdb_delta_seal(to) );
  TRY( vdb_graphs_optimize(to, VECDB_OPTIMIZE_ALL, INT64_MAX, NULL) );
done:
  return rc;
}

/* Rows and what outlives them: greatest key, versions. */
static int copy_collection(struct coll *from, struct coll *to){
  int rc;

  TRY( copy_rows(from, to) );
  to->s.graph_version = from->s.graph_version+1; /* GRAPHREC.BORN is new, too */
  TRY( copy_graphs(from, to) );
  to->s.has_max_key = from->s.has_max_key;
  to->s.max_key = from->s.max_key;
  to->s.version = from->s.version;       /* state_write adds one */
  to->s.seg_version = from->s.seg_version+1;
  to->s.delta_edits = from->s.delta_edits+1;
  to->has_segs = to->has_roots = false;
  vdb_graphs_clear(to);
  vdb_device_clear(to);
  TRY( vdb_coll_state_write(to) );
done:
  return rc;
}

/* ---- All of them --------------------------------------------------------- */

/* Names, read before anything changes. */
struct name_list { char **name; uint64_t *id; size_t n, n_cap, n_id_cap; };

static int name_add(void *arg, uint64_t id, page_no page, const char *name,
                    const char *text){
  struct name_list *l = arg;
  int rc;

  VDB_UNUSED(page);
  VDB_UNUSED(text);
  TRY( vdb_grow(&l->name, &l->n_cap, l->n+1, sizeof(*l->name)) );
  TRY( vdb_grow(&l->id, &l->n_id_cap, l->n+1, sizeof(*l->id)) );
  l->name[l->n] = vdb_strdup(name);
  if( l->name[l->n]==NULL ) TRY( VECDB_NOMEM );
  l->id[l->n++] = id;
done:
  return rc;
}

static void name_list_clear(struct name_list *l){
  for(size_t i=0; i<l->n; i++) vdb_free(l->name[i]);
  vdb_free(l->name);
  vdb_free(l->id);
}

/* ---- In place ------------------------------------------------------------ */

static int rebuild_in_place(struct store *st, const char *name){
  struct coll *from = NULL, *to = NULL;
  page_no page;
  int rc;

  TRY( vdb_store_coll_open(st, name, &from) );
  vdb_handle_dirty(from);
  TRY( vdb_coll_page_create(st, from->id, from->schema, &page) );
  vdb_pager_touch(st->p);
  TRY( vdb_coll_attach(st, from->id, page, from->name, from->text, &to) );
  TRY( copy_collection(from, to) );
  TRY( vdb_coll_refresh(from) );
  TRY( vdb_coll_page_destroy(from) );
  TRY( vdb_catalog_set(from, page, NULL) );
  vdb_coll_drop_caches(from);
done:
  vdb_store_coll_close(to);
  vdb_store_coll_close(from);
  return rc;
}

static int vacuum_in_place(struct store *st){
  struct name_list l = { NULL, NULL, 0, 0, 0 };
  struct write_scope w;
  int rc = vdb_store_write_begin(st, &w);

  if( rc!=VECDB_OK ) return rc;
  TRY( vdb_catalog_each(st, name_add, &l) );
  for(size_t i=0; i<l.n; i++) TRY( rebuild_in_place(st, l.name[i]) );
done:
  name_list_clear(&l);
  return vdb_store_write_end(st, &w, rc);
}

/* ---- Into a new file ----------------------------------------------------- */

static int copy_to(struct store *st, struct store *to,
                   const struct name_list *l, size_t i){
  struct coll *a = NULL, *b = NULL;
  int rc;

  TRY( vdb_store_coll_open(st, l->name[i], &a) );
  TRY( vdb_catalog_create(to, a->name, a->text, &l->id[i]) );
  TRY( vdb_store_coll_open(to, a->name, &b) );
  TRY( copy_collection(a, b) );
done:
  vdb_store_coll_close(a);
  vdb_store_coll_close(b);
  return rc;
}

static int copy_words(struct store *st, struct store *to){
  uint64_t v = 0;
  int rc;

  TRY( vdb_root_get(st->p, ROOT_NEXT_COLLECTION, &v) );
  TRY( vdb_root_set(to->p, ROOT_NEXT_COLLECTION, v) );
  TRY( vdb_root_get(st->p, ROOT_SCHEMA_COOKIE, &v) );
  TRY( vdb_root_set(to->p, ROOT_SCHEMA_COOKIE, v+1) );
done:
  return rc;
}

/* One transaction that fills the new file; the source is being read. */
static int fill_file(struct store *st, struct store *to){
  struct name_list l = { NULL, NULL, 0, 0, 0 };
  int rc;

  TRY( vdb_store_begin_write(to) );
  TRY( vdb_catalog_each(st, name_add, &l) );
  for(size_t i=0; i<l.n; i++) TRY( copy_to(st, to, &l, i) );
  TRY( copy_words(st, to) );
  TRY( vdb_store_commit(to) );
done:
  name_list_clear(&l);
  return rc;
}

static void unlink_copy(struct store *st, const char *path){
  const struct vecdb_file_ops *ops = vdb_pager_file_ops(st->p);
  static const char *const suffix[] = { "", "-wal", "-shm" };

  for(size_t i=0; i<VDB_ARRAY_LEN(suffix); i++){
    struct vdb_str s = VDB_STR_INIT;
    vdb_str_addz(&s, path);
    vdb_str_addz(&s, suffix[i]);
    if( vdb_str_rc(&s)==VECDB_OK ) ops->unlink(ops->env, s.z, NULL);
    vdb_str_clear(&s);
  }
}

int vdb_store_copy(struct store *st, const char *path){
  struct pager_config cfg = st->cfg;
  struct pager_stats stats;
  struct store *to = NULL;
  struct read_scope r = { false };
  int rc, rc2;

  TRY( vdb_store_read_begin(st, &r) );
  TRY( vdb_pager_stats(st->p, &stats) );
  cfg.path = path;
  cfg.open_flags = VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE;
  cfg.sz_page = stats.sz_page & (stats.sz_page-1) ? 0 : stats.sz_page;
  cfg.store = NULL;                      /* pages of a host have odd sizes */
  TRY( vdb_store_open(&cfg, st->err, &to) );
  TRY( fill_file(st, to) );
done:
  rc2 = to ? vdb_store_close(to) : VECDB_OK;   /* moves the log home */
  if( rc==VECDB_OK ) rc = rc2;
  rc2 = vdb_store_read_end(st, &r);
  if( rc==VECDB_OK ) rc = rc2;
  if( rc!=VECDB_OK ) unlink_copy(st, path);
  return rc;
}

static int vacuum_file(struct store *st){
  struct vdb_str path = VDB_STR_INIT;
  int rc;

  vdb_str_addf(&path, "%s-vacuum", vdb_pager_path(st->p));
  TRY( vdb_str_rc(&path) );
  unlink_copy(st, path.z);               /* of a vacuum that crashed */
  rc = vdb_store_copy(st, path.z);
  for(struct coll *c=st->coll; c!=NULL; c=c->next){
    vdb_graphs_clear(c);
    vdb_device_clear(c);
  }
  if( rc==VECDB_OK ) rc = vdb_pager_replace_file(st->p, path.z);
  if( rc!=VECDB_OK ) unlink_copy(st, path.z);
  for(struct coll *c=st->coll; c!=NULL; c=c->next) vdb_coll_drop_caches(c);
done:
  vdb_str_clear(&path);
  return rc;
}

int vdb_store_vacuum(struct store *st){
  int rc;

  if( vdb_pager_state(st->p)!=PAGER_NONE ){
    return vdb_error(st->err, VECDB_MISUSE,
                     "cannot vacuum inside a transaction");
  }
  if( vdb_pager_is_readonly(st->p) ){
    return vdb_error(st->err, VECDB_READONLY,
                     "cannot vacuum a database that is open for reading");
  }
  if( vdb_pager_path(st->p)[0]==0 ) return vacuum_in_place(st);
  vdb_tender_hold(st);
  rc = vacuum_file(st);
  vdb_tender_release(st);
  return rc;
}
