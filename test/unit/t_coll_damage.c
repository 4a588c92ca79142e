/* t_coll_damage.c -- collections without memory, byte by byte, and damaged. */
#include "lib_simple.h"

/* ---- Failing allocations ------------------------------------------------- */

/* A bit of everything, in transactions of their own. */
static int script(struct simple *s){
  struct store *st = s->db.st;
  struct write_scope w;
  struct vdb_value key = { VECDB_INTEGER, 3, 0, NULL, 0 };
  struct coll_runs runs;
  int rc;

  TRY( vdb_store_write_begin(st, &w) );
  rc = vdb_store_create(st, "t", "v float[2], n int, merge_rows=20");
  TRY( vdb_store_write_end(st, &w, rc) );
  TRY( vdb_store_begin_write(st) );
  rc = vdb_store_coll_open(st, "t", &s->c);
  for(int i=1; i<=50 && rc==VECDB_OK; i++){
    rc = vdb_coll_insert(s->c, simple_row(s, i, i%3 ? i : -1), 0, NULL, NULL);
  }
  if( rc==VECDB_OK ) rc = vdb_coll_delete(s->c, &key);
  if( rc==VECDB_OK ) rc = vdb_coll_runs_open(s->c, 1, &runs);
  if( rc==VECDB_OK ){
    rc = vdb_coll_runs_ready(&runs);
    vdb_coll_runs_close(&runs);
  }
  if( rc==VECDB_OK ) rc = vdb_store_commit(st);
  if( rc!=VECDB_OK ){
    vdb_store_rollback(st);
    goto done;
  }
  TRY( vdb_store_write_begin(st, &w) );
  rc = bulk_range(s, 100, 200, -1);
  TRY( vdb_store_write_end(st, &w, rc) );
  TRY( vdb_store_write_begin(st, &w) );
  rc = vdb_coll_optimize(s->c, VECDB_OPTIMIZE_ALL);
  TRY( vdb_store_write_end(st, &w, rc) );
  TRY( vdb_store_vacuum(st) );
done:
  return rc;
}

/* After any failed allocation the database is sound, and what was acknowledged
** is there: 0, 49 or 149 rows. */
static void fail_every_allocation(enum db_kind kind){
  uint64_t n_failed = 1;

  for(uint64_t n=1; n_failed>0; n++){
    struct vdb_mem_stats before, after;
    struct simple s;
    uint64_t n_row = 0;
    int rc;
    vdb_mem_stats(&before);
    memset(&s, 0, sizeof(s));
    db_open(&s.db, kind);
    vdb_mem_fail_at(n, false);
    rc = script(&s);
    n_failed = vdb_mem_fail_at(0, false);
    if( n_failed==0 ) CHECK_RC(VECDB_OK, rc);
    else if( rc!=VECDB_OK && rc!=VECDB_IOERR_SYNC ) CHECK_RC(VECDB_NOMEM, rc);
    if( vdb_store_begin_read(s.db.st)==VECDB_OK ){
      OK(&s.db, vdb_store_end_read(s.db.st));
    }else{
      vdb_store_coll_close(s.c);                 /* memory ran out in a sync */
      s.c = NULL;
      vdb_store_close(s.db.st);
      OK(&s.db, db_try_open(&s.db));
    }
    REQUIRE_INT(PAGER_NONE, vdb_pager_state(vdb_store_pager(s.db.st)));
    db_check(&s.db);
    if( s.c!=NULL && vdb_store_begin_read(s.db.st)==VECDB_OK ){
      if( vdb_coll_refresh(s.c)==VECDB_OK ) n_row = vdb_coll_n_row(s.c);
      OK(&s.db, vdb_store_end_read(s.db.st));
    }
    REQUIRE(n_row==0 || n_row==49 || n_row==149);
    if( rc==VECDB_OK ) REQUIRE_U64(149, n_row);
    vdb_store_coll_close(s.c);
    db_close(&s.db);
    vdb_mem_stats(&after);
    REQUIRE_U64(before.sz_now, after.sz_now);
  }
}

TEST(store__survives_every_failed_allocation_in_memory){
  fail_every_allocation(DB_MEMORY);
}
TEST(store__survives_every_failed_allocation_in_a_host){
  fail_every_allocation(DB_HOST);
}
TEST(store__survives_every_failed_allocation_on_a_file){
  fail_every_allocation(DB_FILE);
}

/* ---- Bytes --------------------------------------------------------------- */

/* The same statements give the same file, whatever memory held before. */
TEST(store__the_same_statements_give_the_same_bytes){
  unsigned char *first = NULL;
  size_t n_first = 0;

  for(int round=0; round<2; round++){
    const unsigned char *p;
    struct simple s;
    size_t n;
    for(int i=0; i<200*round; i++){              /* litter the heap */
      size_t sz = 37u*(size_t)(i%50+1)*(i%7 ? 1 : 1000);
      void *litter = vdb_malloc(sz);
      REQUIRE(litter!=NULL);
      memset(litter, 0xa5, sz);
      vdb_free(litter);
    }
    memset(&s, 0, sizeof(s));
    db_open(&s.db, DB_FILE);
    OK(&s.db, script(&s));
    vdb_store_coll_close(s.c);
    OK(&s.db, vdb_store_close(s.db.st));
    OK(&s.db, vdb_file_mem_peek(s.db.ops, "/t.vdb", &p, &n));
    if( round==0 ){
      first = vdb_memdup(p, n);
      n_first = n;
    }else{
      REQUIRE_U64(n_first, n);
      CHECK_MEM(first, p, n);
    }
    vdb_file_mem_destroy(s.db.ops);
  }
  vdb_free(first);
}

/* ---- Damage -------------------------------------------------------------- */

/* Touch every byte that a search would. */
static void check_readable(const struct coll_runs *runs){
  volatile unsigned sum = 0;

  for(size_t i=0; i<runs->n_run; i++){
    const struct flat_run *r = &runs->run[i];
    for(uint32_t k=0; k<r->n_rows; k++){
      slot_no slot = r->slots ? r->slots[k] : r->slot_base+k;
      const unsigned char *p = (const unsigned char*)r->vecs + k*r->stride;
      if( vdb_bit_get(r->live, slot) ) sum += (unsigned)(p[0] + p[7]);
    }
  }
  VDB_UNUSED(sum);
}

static int count_chunk(void *arg, const struct coll_chunk *chunk){
  *(int*)arg += (int)chunk->n;
  return VECDB_OK;
}

/* Everything a user of the collection could call; codes do not matter. */
static void use_everything(struct simple *s, struct vdb_rng *rng){
  struct vdb_str buf = VDB_STR_INIT;
  struct coll_cursor *k = NULL;
  struct coll_runs runs;
  struct vdb_value v, key = { VECDB_INTEGER, 0, 0, NULL, 0 };
  slot_no slot;
  bool at_end = true;
  uint64_t n_bad;
  int n = 0, count = 0;

  if( vdb_coll_refresh(s->c)!=VECDB_OK ) return;
  if( vdb_coll_runs_open(s->c, 1, &runs)==VECDB_OK ){
    if( vdb_coll_runs_ready(&runs)==VECDB_OK ) check_readable(&runs);
    vdb_coll_runs_close(&runs);
  }
  vdb_coll_scan(s->c, 2, 0, SLOT_NONE, count_chunk, &count);
  if( vdb_coll_cursor_open(s->c, &k)==VECDB_OK ){
    int rc = vdb_coll_cursor_seek(k, NULL, &slot, &at_end);
    while( rc==VECDB_OK && !at_end && n++<2000 ){
      for(int i=0; i<vdb_coll_schema(s->c)->n_col; i++){
        vdb_coll_value(s->c, i, slot, &buf, &v);
      }
      rc = vdb_coll_cursor_next(k, &slot, &at_end);
    }
    vdb_coll_cursor_close(k);
  }
  vdb_store_check(s->db.st, false, NULL, NULL, &n_bad);
  for(int i=0; i<8; i++){
    key.i = vdb_rng_below(rng, 400);
    vdb_coll_delete(s->c, &key);
    vdb_coll_insert(s->c, simple_row(s, key.i, i), VECDB_OR_REPLACE, NULL,
                    NULL);
    simple_row(s, key.i, i);
    s->row[0].type = VALUE_UNSET;
    if( i%2 ) s->row[1].type = VALUE_UNSET;
    key.i++;
    vdb_coll_update(s->c, &key, s->row, 0);
  }
  bulk_range(s, 1000, 1100, -1);
  vdb_coll_optimize(s->c, VECDB_OPTIMIZE_ALL);
  vdb_store_drop(s->db.st, "t");
  vdb_str_clear(&buf);
}

/* Change bytes of a page as a hostile writer would: checksums are right. */
static void damage_page(struct simple *s, struct vdb_rng *rng){
  struct pager *p = vdb_store_pager(s->db.st);
  page_no pgno = 1+vdb_rng_below(rng, vdb_pager_n_page(p));
  uint32_t n = 1+vdb_rng_below(rng, 4), usable = vdb_pager_usable(p);
  struct page *pg = NULL;

  if( vdb_page_get(p, pgno, 0, &pg)!=VECDB_OK ) return;
  if( pg->data[0]!=PAGE_ROOT && pg->data[0]!=PAGE_FREE &&
      vdb_page_write(p, pg)==VECDB_OK ){
    uint32_t span = vdb_rng_below(rng, 2) ? usable : 160;
    for(uint32_t i=0; i<n; i++){
      uint32_t at = 16+vdb_rng_below(rng, span-16);
      static const unsigned char bytes[] = { 0, 1, 0x7f, 0x80, 0xff };
      pg->data[at] = vdb_rng_below(rng, 2) ? bytes[vdb_rng_below(rng, 5)] :
                     (unsigned char)vdb_rng_u64(rng);
    }
  }
  vdb_page_unpin(p, pg);
  vdb_pager_touch(p);
}

TEST(coll__damaged_pages_are_errors_or_wrong_values_never_worse){
  struct vdb_rng rng;
  struct simple s;

  vdb_rng_init(&rng, vt_seed());
  simple_open(&s, DB_MEMORY, "v float[2], n int, s text, +b blob, "
              "merge_rows=64, optimize=manual");
  OK(&s.db, vdb_store_begin_write(s.db.st));
  for(int i=1; i<=300; i++){
    struct vdb_value row[5];
    memcpy(row, simple_row(&s, i, i%5 ? i : -1), sizeof(s.row));
    row[3] = (struct vdb_value){ VECDB_TEXT, 0, 0, "a text of 20 bytes!!", 20 };
    row[4] = (struct vdb_value){ VECDB_BLOB, 0, 0, "xyz", i%4 ? 3 : 0 };
    OK(&s.db, vdb_coll_insert(s.c, row, 0, NULL, NULL));
  }
  for(int i=5; i<250; i+=3){
    struct vdb_value key = { VECDB_INTEGER, i, 0, NULL, 0 };
    OK(&s.db, vdb_coll_delete(s.c, &key));
  }
  OK(&s.db, vdb_coll_optimize(s.c, 0));
  for(int i=400; i<420; i++){
    struct vdb_value row[5];
    memcpy(row, simple_row(&s, i, i), sizeof(s.row));
    row[3].type = row[4].type = VECDB_NULL;
    OK(&s.db, vdb_coll_insert(s.c, row, 0, NULL, NULL));
  }
  OK(&s.db, vdb_store_commit(s.db.st));
  db_check(&s.db);
  for(int i=0; i<400*vt_scale(); i++){
    OK(&s.db, vdb_store_begin_write(s.db.st));
    for(uint32_t k=1+vdb_rng_below(&rng, 2); k>0; k--) damage_page(&s, &rng);
    vdb_coll_drop_caches(s.c);
    use_everything(&s, &rng);
    s.c->is_dirty = true;
    OK(&s.db, vdb_store_rollback(s.db.st));
  }
  simple_close(&s);
}
