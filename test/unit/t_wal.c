/* t_wal.c -- the file store: log, snapshots, recovery, checkpoints, locks.
**
** Every test runs in a world of its own (file_mem.c); a connection is a pager,
** and connections exclude each other as processes do.
*/
#include "vt.h"
#include "util/common.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/rng.h"
#include "pager/extent.h"
#include "pager/file.h"
#include "pager/format.h"
#include "pager/pager.h"
#include "util/bytes.h"

static struct vecdb_file_ops *world;
static struct vdb_err err;

static struct pager_config config(void){
  struct pager_config cfg;
  if( world==NULL ) REQUIRE_RC( VECDB_OK, vdb_file_mem_create(vt_seed(), &world) );
  memset(&cfg, 0, sizeof(cfg));
  cfg.path = "t.vdb";
  cfg.open_flags = VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE;
  cfg.file = world;
  return cfg;
}

static struct pager *live[16];        /* what open_db gave and close_db not yet */

static struct pager *open_with(const struct pager_config *cfg){
  struct pager *p = NULL;
  int i = 0;
  if( vdb_pager_open(cfg, &err, &p)!=VECDB_OK ) FAIL("%s", err.msg);
  REQUIRE( p!=NULL );
  while( live[i] ) i++;
  return live[i] = p;
}

static struct pager *open_db(void){
  struct pager_config cfg = config();
  return open_with(&cfg);
}

static int close_db(struct pager *p){
  for(int i=0; i<16; i++) if( live[i]==p ) live[i] = NULL;
  return vdb_pager_close(p);
}

/* Close everything, forget every file. */
static void end_world(void){
  for(int i=0; i<16; i++){
    vdb_pager_close(live[i]);
    live[i] = NULL;
  }
  if( world ) vdb_file_mem_destroy(world);
  world = NULL;
}

static page_no put_page(struct pager *p, unsigned char fill){
  struct page *pg = NULL;
  page_no pgno;
  REQUIRE_RC( VECDB_OK, vdb_page_new(p, PAGE_BTREE_LEAF, &pg) );
  memset(pg->data+PAGE_CONTENT, fill, vdb_pager_usable(p)-PAGE_CONTENT);
  pgno = pg->pgno;
  vdb_page_unpin(p, pg);
  return pgno;
}

static void set_page(struct pager *p, page_no pgno, unsigned char fill){
  struct page *pg = NULL;
  REQUIRE_RC( VECDB_OK, vdb_page_get(p, pgno, PAGE_BTREE_LEAF, &pg) );
  REQUIRE_RC( VECDB_OK, vdb_page_write(p, pg) );
  memset(pg->data+PAGE_CONTENT, fill, vdb_pager_usable(p)-PAGE_CONTENT);
  vdb_page_unpin(p, pg);
}

static int fill_of(struct pager *p, page_no pgno){
  struct page *pg = NULL;
  int fill, rc = vdb_page_get(p, pgno, PAGE_BTREE_LEAF, &pg);
  if( rc!=VECDB_OK ) return -rc;
  fill = pg->data[PAGE_CONTENT];
  for(uint32_t i=PAGE_CONTENT; i<vdb_pager_usable(p); i++){
    if( pg->data[i]!=fill ) fill = -1;
  }
  vdb_page_unpin(p, pg);
  return fill;
}

/* One page changed in a transaction of its own. */
static void commit_fill(struct pager *p, page_no pgno, unsigned char fill){
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  set_page(p, pgno, fill);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
}

static int read_fill(struct pager *p, page_no pgno){
  int fill;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  fill = fill_of(p, pgno);
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  return fill;
}

static page_no create_page(struct pager *p, unsigned char fill){
  page_no pgno;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  pgno = put_page(p, fill);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  return pgno;
}

static bool exists(const char *path){
  bool yes = false;
  world->exists(world->env, path, &yes);
  return yes;
}

/* A copy of a file's bytes, and putting it back. */
struct image { unsigned char *p; size_t n; };
static struct image image_take(const char *path){
  struct image im = { NULL, 0 };
  const unsigned char *p;
  if( vdb_file_mem_peek(world, path, &p, &im.n)!=VECDB_OK ) return im;
  im.p = vdb_memdup(p, im.n);
  return im;
}
static void image_put(const char *path, struct image im){
  REQUIRE_RC( VECDB_OK, vdb_file_mem_poke(world, path, im.p, im.n) );
}

/* Files as they are now become the files of a fresh world: a crash in which
** nothing was lost but the last `cut` bytes of the log. */
static void crash_keeping(size_t cut){
  struct image main = image_take("t.vdb"), wal = image_take("t.vdb-wal");
  end_world();
  (void)config();
  image_put("t.vdb", main);
  if( wal.p ){
    wal.n -= cut<wal.n ? cut : wal.n;
    image_put("t.vdb-wal", wal);
  }
  vdb_free(main.p);
  vdb_free(wal.p);
}

/* ---- life ---------------------------------------------------------------- */

TEST(life__a_clean_close_leaves_one_file){
  struct pager *p = open_db();
  page_no a = create_page(p, 7);
  CHECK( exists("t.vdb-wal") );
  CHECK( exists("t.vdb-shm") );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  CHECK( !exists("t.vdb-wal") );
  CHECK( !exists("t.vdb-shm") );
  p = open_db();
  CHECK( !exists("t.vdb-wal") );
  CHECK_INT( 7, read_fill(p, a) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
}

TEST(life__an_empty_transaction_writes_nothing){
  struct pager *p = open_db();
  struct pager_stats st;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  CHECK( !exists("t.vdb-wal") );
  REQUIRE_RC( VECDB_OK, vdb_pager_stats(p, &st) );
  CHECK_U64( 1, st.txid );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
}

TEST(life__foreign_files_are_refused_with_a_reason){
  struct pager_config cfg = config();
  struct pager *p = NULL;
  unsigned char b[8192] = "SQLite format 3";
  REQUIRE_RC( VECDB_OK, vdb_file_mem_poke(world, "t.vdb", b, sizeof(b)) );
  CHECK_RC( VECDB_NOTADB, vdb_pager_open(&cfg, &err, &p) );
  CHECK( strstr(err.msg, "is a SQLite database")!=NULL );
  memset(b, 'x', sizeof(b));
  REQUIRE_RC( VECDB_OK, vdb_file_mem_poke(world, "t.vdb", b, sizeof(b)) );
  CHECK_RC( VECDB_NOTADB, vdb_pager_open(&cfg, &err, &p) );
  CHECK_STR( "\"t.vdb\" is not a vecdb file", err.msg );
  cfg.path = "none.vdb";
  cfg.open_flags = VECDB_OPEN_READWRITE;
  CHECK_RC( VECDB_CANTOPEN, vdb_pager_open(&cfg, &err, &p) );
  REQUIRE_RC( VECDB_OK, vdb_file_mem_poke(world, "t.vdb", b, 0) );
  cfg = config();
  cfg.open_flags = VECDB_OPEN_READONLY;
  CHECK_RC( VECDB_NOTADB, vdb_pager_open(&cfg, &err, &p) );
  p = open_db();                      /* empty: made new */
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
}

/* ---- snapshots ----------------------------------------------------------- */

TEST(snapshot__stays_while_others_commit_and_checkpoint){
  struct pager *w = open_db(), *r = open_db();
  uint64_t n_log, n_done;
  page_no a = create_page(w, 1), b = create_page(w, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(r) );
  CHECK_INT( 1, fill_of(r, a) );
  for(int i=2; i<20; i++){
    commit_fill(w, a, (unsigned char)i);
    commit_fill(w, b, (unsigned char)i);
    REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(w, VECDB_CHECKPOINT_PASSIVE,
                                               &n_log, &n_done) );
    CHECK( n_done<n_log );
  }
  CHECK_RC( VECDB_BUSY, vdb_pager_checkpoint(w, VECDB_CHECKPOINT_FULL, NULL,
                                             NULL) );
  CHECK_INT( 1, fill_of(r, b) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r) );
  CHECK_INT( 19, read_fill(r, b) );
  CHECK_INT( 19, read_fill(r, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(w, VECDB_CHECKPOINT_FULL, &n_log,
                                             &n_done) );
  CHECK_U64( n_log, n_done );
  REQUIRE_RC( VECDB_OK, close_db(w) );
  CHECK_INT( 19, read_fill(r, b) );
  REQUIRE_RC( VECDB_OK, close_db(r) );
  end_world();
}

/* A reader of the main file alone does not stop the log from restarting, and
** keeps checkpoints of the new log away. */
TEST(snapshot__of_the_main_file_alone_survives_a_restart){
  struct pager *w = open_db(), *r = open_db();
  struct pager_stats st;
  uint64_t n_log, n_done;
  page_no a = create_page(w, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(w, VECDB_CHECKPOINT_FULL, NULL,
                                             NULL) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(r) );
  commit_fill(w, a, 2);               /* restarts the log */
  REQUIRE_RC( VECDB_OK, vdb_pager_stats(w, &st) );
  CHECK( st.sz_wal<3*(4096+200) );
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(w, VECDB_CHECKPOINT_PASSIVE,
                                             &n_log, &n_done) );
  CHECK_U64( 0, n_done );
  CHECK_INT( 1, fill_of(r, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r) );
  CHECK_INT( 2, read_fill(r, a) );
  REQUIRE_RC( VECDB_OK, close_db(w) );
  REQUIRE_RC( VECDB_OK, close_db(r) );
  end_world();
}

TEST(lock__names_the_holder_of_the_write_lock){
  struct pager *a = open_db(), *b = open_db();
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(a) );
  CHECK_RC( VECDB_BUSY, vdb_pager_begin_write(b) );
  CHECK( strstr(err.msg, "pid 1 holds the write lock since")!=NULL );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(b) );
  put_page(a, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(a) );
  CHECK_RC( VECDB_BUSY_SNAPSHOT, vdb_pager_begin_write(b) );
  CHECK_INT( PAGER_READ, vdb_pager_state(b) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(b) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(b) );
  REQUIRE_RC( VECDB_OK, vdb_pager_rollback(b) );
  REQUIRE_RC( VECDB_OK, close_db(a) );
  REQUIRE_RC( VECDB_OK, close_db(b) );
  end_world();
}

/* ---- recovery ------------------------------------------------------------ */

TEST(wal__is_recovered_after_a_crash){
  struct pager *p = open_db();
  page_no a = create_page(p, 1);
  for(int i=2; i<10; i++) commit_fill(p, a, (unsigned char)i);
  crash_keeping(0);
  p = open_db();
  CHECK_INT( 9, read_fill(p, a) );
  commit_fill(p, a, 10);
  crash_keeping(0);
  p = open_db();
  CHECK_INT( 10, read_fill(p, a) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
}

/* A commit whose last write was cut short never happened. */
TEST(wal__drops_a_torn_commit){
  for(size_t cut=8; cut<2*4136+80; cut+=504){
    struct pager *p = open_db();
    page_no a = create_page(p, 1), b;
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    b = put_page(p, 5);
    set_page(p, a, 2);
    REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
    crash_keeping(cut);
    p = open_db();
    CHECK_INT( 1, read_fill(p, a) );
    CHECK_INT( -VECDB_CORRUPT, read_fill(p, b) );
    commit_fill(p, a, 3);
    crash_keeping(0);
    p = open_db();
    CHECK_INT( 3, read_fill(p, a) );
    REQUIRE_RC( VECDB_OK, close_db(p) );
    end_world();
  }
  end_world();
}

/* A bit flipped in what was synced is no torn tail. */
TEST(wal__tells_rot_from_a_torn_tail){
  struct pager_config cfg;
  struct pager *p = open_db();
  struct image main, wal;
  page_no a = create_page(p, 1);
  for(int i=2; i<6; i++) commit_fill(p, a, (unsigned char)i);
  main = image_take("t.vdb");
  wal = image_take("t.vdb-wal");
  for(size_t off=0; off<wal.n; off+=61){
    int rc;
    end_world();
    cfg = config();
    wal.p[off] ^= 4;
    image_put("t.vdb", main);
    image_put("t.vdb-wal", wal);
    p = NULL;
    rc = vdb_pager_open(&cfg, &err, &p);
    if( rc==VECDB_OK ){
      /* The last transaction, or the part of the header nobody needs. */
      int fill = read_fill(p, a);
      CHECK( fill==5 || (fill==4 && off>wal.n-2*(4136+80)) );
      REQUIRE_RC( VECDB_OK, close_db(p) );
    }else{
      CHECK_RC( VECDB_CORRUPT_WAL, rc );
    }
    wal.p[off] ^= 4;
  }
  vdb_free(main.p);
  vdb_free(wal.p);
  end_world();
}

/* Between the marks of a checkpoint the main file alone is refused. */
TEST(ckpt__a_file_that_lost_its_log_half_way_is_refused){
  struct pager_config cfg;
  struct pager *p = open_db();
  struct image main;
  unsigned char *slot;
  page_no a = create_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL, NULL,
                                             NULL) );
  commit_fill(p, a, 2);
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL, NULL,
                                             NULL) );
  main = image_take("t.vdb");
  /* The slot not in force is the one with the mark; destroy the other. */
  slot = main.p + (get_u64(main.p+HDRSLOT_SEQ)
                   >get_u64(main.p+4096+HDRSLOT_SEQ) ? 0 : 4096);
  memset(slot, 0xee, 512);
  end_world();
  cfg = config();
  cfg.open_flags = VECDB_OPEN_READWRITE;
  image_put("t.vdb", main);
  CHECK_RC( VECDB_CORRUPT_WAL, vdb_pager_open(&cfg, &err, &p) );
  cfg.open_flags = VECDB_OPEN_IMMUTABLE;
  CHECK_RC( VECDB_CORRUPT_WAL, vdb_pager_open(&cfg, &err, &p) );
  vdb_free(main.p);
  end_world();
}

TEST(ckpt__truncate_cuts_the_log){
  struct pager *p = open_db();
  struct image wal;
  page_no a = create_page(p, 1);
  for(int i=0; i<50; i++) commit_fill(p, a, (unsigned char)i);
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_TRUNCATE,
                                             NULL, NULL) );
  wal = image_take("t.vdb-wal");
  CHECK_U64( WALHDR_SIZE, wal.n );
  vdb_free(wal.p);
  CHECK_INT( 49, read_fill(p, a) );
  commit_fill(p, a, 51);
  CHECK_INT( 51, read_fill(p, a) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
}

/* The log does not grow for ever. */
TEST(ckpt__happens_by_itself){
  struct pager *p = open_db();
  struct pager_stats st;
  page_no a = create_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_set(p, "wal_bytes", 100000) );
  for(int i=0; i<200; i++){
    commit_fill(p, a, (unsigned char)i);
    REQUIRE_RC( VECDB_OK, vdb_pager_stats(p, &st) );
    CHECK( st.sz_wal<110000 );
  }
  CHECK( st.ckpt_txid>100 );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
}

/* ---- extents ------------------------------------------------------------- */

static page_no create_extent(struct pager *p, uint64_t seed, uint32_t n){
  struct extent_spec spec = { 1, 64, n/64, 1 };
  unsigned char *b = vdb_malloc(n);
  struct vdb_rng rng;
  page_no head = 0;
  vdb_rng_init(&rng, seed);
  for(uint32_t i=0; i<n; i++) b[i] = (unsigned char)vdb_rng_u64(&rng);
  REQUIRE_RC( VECDB_OK, vdb_extent_create(p, &spec, b, &head) );
  vdb_free(b);
  return head;
}

static bool extent_is(struct pager *p, page_no head, uint64_t seed,
                      uint32_t n){
  struct extent e;
  struct vdb_rng rng;
  bool ok;
  int rc = vdb_extent_pin(p, head, &e);
  if( rc!=VECDB_OK ) return FAIL("%s", err.msg);
  vdb_rng_init(&rng, seed);
  ok = e.sz==n;
  for(uint32_t i=0; i<n && ok; i++){
    ok = e.data[i]==(unsigned char)vdb_rng_u64(&rng);
  }
  vdb_extent_unpin(p, &e);
  return ok;
}

/* Space of an extent is not written while somebody can see it. */
TEST(extent__is_recycled_only_when_nobody_can_see_it){
  struct pager *w = open_db(), *r = open_db();
  uint32_t n = 64*1024;
  page_no a, b, n_page;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(w) );
  a = create_extent(w, 1, n);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(w) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(r) );
  for(int round=0; round<3; round++){
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(w) );
    n_page = vdb_pager_n_page(w);
    if( round==0 ) REQUIRE_RC( VECDB_OK, vdb_extent_free(w, a) );
    b = create_extent(w, (uint64_t)round+2, n);
    CHECK( vdb_pager_n_page(w)>=n_page+n/4096 );     /* not reused */
    REQUIRE_RC( VECDB_OK, vdb_pager_commit(w) );
    REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(w, VECDB_CHECKPOINT_PASSIVE,
                                               NULL, NULL) );
    CHECK( extent_is(r, a, 1, n) );
  }
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r) );
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(w, VECDB_CHECKPOINT_FULL, NULL,
                                             NULL) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(w) );
  n_page = vdb_pager_n_page(w);
  a = create_extent(w, 77, n/2);
  CHECK_U64( n_page, vdb_pager_n_page(w) );          /* reused */
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(w) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(r) );
  CHECK( extent_is(r, a, 77, n/2) );
  CHECK( extent_is(r, b, 4, n) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r) );
  REQUIRE_RC( VECDB_OK, close_db(w) );
  REQUIRE_RC( VECDB_OK, close_db(r) );
  end_world();
}

/* A3 of alloc.c: pages that were in the log become part of an extent; neither
** a checkpoint nor recovery puts the old frames over it. */
TEST(extent__is_not_overwritten_by_stale_frames){
  struct pager *p = open_db();
  uint32_t n = 16*4096;
  page_no page[40], head;

  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  for(int i=0; i<40; i++) page[i] = put_page(p, (unsigned char)i);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  for(int i=1; i<40; i++){
    struct page *pg = NULL;
    REQUIRE_RC( VECDB_OK, vdb_page_get(p, page[i], 0, &pg) );
    REQUIRE_RC( VECDB_OK, vdb_page_free(p, pg) );
  }
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  /* Keep the log from restarting: a reader that needs it. */
  {
    struct pager *r = open_db();
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(r) );
    REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL, NULL,
                                               NULL) );
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    head = create_extent(p, 9, n);
    REQUIRE( head<=page[39] );
    REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
    REQUIRE_RC( VECDB_OK, vdb_pager_backup(p, "b.vdb", NULL, NULL) );
    crash_keeping(0);                 /* the log holds the stale frames */
  }
  p = open_db();
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  CHECK( extent_is(p, head, 9, n) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL, NULL,
                                             NULL) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  CHECK( extent_is(p, head, 9, n) );
  CHECK_INT( 0, fill_of(p, page[0]) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
}

TEST(life__the_last_closer_cuts_a_free_tail){
  struct pager *p = open_db();
  struct image im;
  page_no head;
  size_t sz;
  REQUIRE_RC( VECDB_OK, close_db(p) );
  im = image_take("t.vdb");
  sz = im.n;
  vdb_free(im.p);
  p = open_db();
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  head = create_extent(p, 1, 1<<20);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  REQUIRE_RC( VECDB_OK, vdb_extent_free(p, head) );
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  im = image_take("t.vdb");
  CHECK_U64( sz, im.n );
  vdb_free(im.p);
  end_world();
}

/* ---- two-phase commit ---------------------------------------------------- */

static const unsigned char host[16] = "host host host!";

TEST(twophase__a_prepared_transaction_waits_for_its_decision){
  for(int commit=0; commit<2; commit++){
    struct pager *p = open_db(), *r;
    unsigned char h[16];
    uint64_t token;
    bool in_doubt;
    page_no a = create_page(p, 1);

    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    set_page(p, a, 2);
    REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, 12) );
    r = open_db();
    CHECK_INT( 1, read_fill(r, a) );
    REQUIRE_RC( VECDB_OK, vdb_pager_in_doubt(r, &in_doubt, h, &token) );
    CHECK( !in_doubt );               /* its owner is alive */
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_read_at(r, 12) );
    CHECK_INT( 2, fill_of(r, a) );
    REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r) );
    crash_keeping(0);
    p = open_db();
    CHECK_INT( 1, read_fill(p, a) );
    REQUIRE_RC( VECDB_OK, vdb_pager_in_doubt(p, &in_doubt, h, &token) );
    CHECK( in_doubt );
    CHECK_U64( 12, token );
    CHECK_MEM( host, h, 16 );
    CHECK_RC( VECDB_BUSY_INDOUBT, vdb_pager_begin_write(p) );
    CHECK_RC( VECDB_BUSY_SNAPSHOT, vdb_pager_begin_read_at(p, 11) );
    REQUIRE_RC( VECDB_OK, vdb_pager_decide(p, commit, false) );
    CHECK_INT( commit ? 2 : 1, read_fill(p, a) );
    REQUIRE_RC( VECDB_OK, vdb_pager_committed_token(p, h, &token) );
    CHECK_U64( commit ? 12 : 0, token );
    commit_fill(p, a, 5);
    REQUIRE_RC( VECDB_OK, close_db(p) );
    CHECK( !exists("t.vdb-wal") );
    p = open_db();
    CHECK_INT( 5, read_fill(p, a) );
    REQUIRE_RC( VECDB_OK, close_db(p) );
    end_world();
  }
  end_world();
}

TEST(twophase__reads_older_states_by_token){
  struct pager *p = open_db(), *r = open_db();
  page_no a = create_page(p, 1);
  for(unsigned i=1; i<=5; i++){
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    set_page(p, a, (unsigned char)(10*i));
    REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, i) );
    if( i==3 ) set_page(p, a, 33);
    if( i==3 ) REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, i) );
    REQUIRE_RC( VECDB_OK, vdb_pager_decide(p, true, false) );
    commit_fill(p, a, (unsigned char)(10*i+1));   /* keeps the token */
  }
  for(unsigned i=5; i>=1; i--){
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_read_at(r, i) );
    CHECK_INT( 10*(int)i+1, fill_of(r, a) );
    REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r) );
  }
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read_at(r, 3) );
  CHECK_RC( VECDB_BUSY, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL, NULL,
                                             NULL) );
  CHECK_INT( 31, fill_of(r, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r) );
  CHECK_RC( VECDB_BUSY_SNAPSHOT, vdb_pager_begin_read_at(r, 2) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read_at(r, 3) );
  CHECK_INT( 31, fill_of(r, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r) );
  CHECK_INT( 51, read_fill(r, a) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  REQUIRE_RC( VECDB_OK, close_db(r) );
  end_world();
}

TEST(twophase__a_rolled_back_prepare_leaves_no_trace){
  struct pager *p = open_db(), *r = open_db();
  page_no a = create_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  set_page(p, a, 2);
  REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, 4) );
  set_page(p, a, 3);
  REQUIRE_RC( VECDB_OK, vdb_pager_rollback(p) );
  CHECK_INT( 1, read_fill(p, a) );
  CHECK_INT( 1, read_fill(r, a) );
  commit_fill(r, a, 7);
  CHECK_INT( 7, read_fill(p, a) );
  crash_keeping(0);
  p = open_db();
  CHECK_INT( 7, read_fill(p, a) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
}

/* ---- spilling ------------------------------------------------------------ */

TEST(spill__a_transaction_may_be_larger_than_the_cache){
  struct pager_config cfg = config();
  struct pager *p = NULL;
  struct pager_stats st;
  page_no page[500];
  unsigned n;

  cfg.sz_cache = 256<<10;             /* 60 pages */
  p = open_with(&cfg);
  for(int round=0; round<4; round++){
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    for(int i=0; i<500; i++){
      if( round==0 ) page[i] = put_page(p, (unsigned char)i);
      else set_page(p, page[i], (unsigned char)(i+round));
    }
    if( round==3 ){
      /* Undo inner changes that were spilled, keep outer ones that were. */
      REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &n) );
      for(int i=0; i<400; i++) set_page(p, page[i], 200);
      for(int i=0; i<300; i++) put_page(p, 201);
      REQUIRE_RC( VECDB_OK, vdb_pager_rollback_to(p, n) );
      CHECK_INT( 203, fill_of(p, page[200]) );
    }
    REQUIRE_RC( VECDB_OK, vdb_pager_stats(p, &st) );
    if( round<3 ) CHECK( st.sz_cache<(512<<10) );
    if( round==2 ) REQUIRE_RC( VECDB_OK, vdb_pager_rollback(p) );
    else REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
    for(int i=0; i<500; i++){
      CHECK_INT( (i+(round==2 ? 1 : round))&0xff, fill_of(p, page[i]) );
    }
    REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  }
  crash_keeping(0);
  p = open_db();
  for(int i=0; i<500; i++) CHECK_INT( (i+3)&0xff, read_fill(p, page[i]) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
}

/* Before-images beyond the cache lie in a file without a name. */
TEST(spill__before_images_leave_memory){
  struct pager_config cfg = config();
  struct pager *p;
  page_no page[600];
  uint64_t sz_before, sz_most;
  struct vdb_mem_stats ms;
  unsigned n;

  cfg.sz_cache = 256<<10;             /* 60 pages */
  p = open_with(&cfg);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  for(int i=0; i<600; i++) page[i] = put_page(p, (unsigned char)i);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  for(int round=0; round<3; round++){
    struct pager_stats st;
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    vdb_mem_stats(&ms);
    sz_before = ms.sz_now;
    for(int k=0; k<3; k++){
      REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &n) );
      for(int i=k; i<600; i++) set_page(p, page[i], (unsigned char)(100+k));
    }
    vdb_mem_stats(&ms);
    sz_most = ms.sz_now;
    REQUIRE_RC( VECDB_OK, vdb_pager_stats(p, &st) );
    /* The world keeps its files in memory too: the log and the images. */
    CHECK( sz_most-sz_before<(1<<20)+2*(st.sz_wal+(12<<20)) );
    CHECK( st.sz_cache<(1<<20) );
    if( round==1 ) REQUIRE_RC( VECDB_OK, vdb_pager_release(p, 2) );
    if( round==2 ) REQUIRE_RC( VECDB_OK, vdb_pager_release(p, 0) );
    if( round<2 ){
      REQUIRE_RC( VECDB_OK, vdb_pager_rollback_to(p, 1) );
      for(int i=0; i<600; i++) CHECK_INT( 100, fill_of(p, page[i]) );
      REQUIRE_RC( VECDB_OK, vdb_pager_rollback_to(p, 0) );
      for(int i=0; i<600; i++) CHECK_INT( i&0xff, fill_of(p, page[i]) );
    }
    REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  }
  for(int i=0; i<600; i++){
    CHECK_INT( i<2 ? 100+i : 102, read_fill(p, page[i]) );
  }
  end_world();
}

/* ---- copies -------------------------------------------------------------- */

TEST(backup__is_the_newest_commit){
  struct pager *p = open_db(), *b = NULL;
  struct pager_config cfg = config();
  uint32_t n = 100*4096;
  page_no a = create_page(p, 1), head;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  head = create_extent(p, 5, n);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  commit_fill(p, a, 2);
  REQUIRE_RC( VECDB_OK, vdb_pager_backup(p, "b.vdb", NULL, NULL) );
  CHECK_RC( VECDB_EXISTS, vdb_pager_backup(p, "b.vdb", NULL, NULL) );
  commit_fill(p, a, 3);
  cfg.path = "b.vdb";
  REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, &err, &b) );
  CHECK_INT( 2, read_fill(b, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(b) );
  CHECK( extent_is(b, head, 5, n) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(b) );
  commit_fill(b, a, 4);
  REQUIRE_RC( VECDB_OK, close_db(b) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
}

TEST(replace__swaps_the_file_and_keeps_its_name){
  struct pager *p = open_db(), *q = NULL, *r = open_db();
  struct pager_config cfg = config();
  unsigned char u[16], v[16];
  page_no a = create_page(p, 1), b;
  cfg.path = "new.vdb";
  REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, &err, &q) );
  b = create_page(q, 9);
  CHECK_U64( a, b );
  REQUIRE_RC( VECDB_OK, close_db(q) );
  vdb_pager_uuid(p, u);
  CHECK_RC( VECDB_BUSY, vdb_pager_replace_file(p, "new.vdb") );
  CHECK_INT( 1, read_fill(p, a) );
  REQUIRE_RC( VECDB_OK, close_db(r) );
  REQUIRE_RC( VECDB_OK, vdb_pager_replace_file(p, "new.vdb") );
  CHECK_INT( 9, read_fill(p, a) );
  CHECK( !exists("new.vdb") );
  vdb_pager_uuid(p, v);
  CHECK_MEM( u, v, 16 );
  commit_fill(p, a, 10);
  r = open_db();
  CHECK_INT( 10, read_fill(r, a) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  REQUIRE_RC( VECDB_OK, close_db(r) );
  end_world();
}

/* ---- without the right to write ------------------------------------------ */

static int (*world_open)(void *env, const char *path, unsigned flags,
                         struct vdb_file **out, struct vdb_err *e);

static int open_for_reading(void *env, const char *path, unsigned flags,
                            struct vdb_file **out, struct vdb_err *e){
  *out = NULL;
  if( !(flags & FILE_READONLY) ) return VECDB_READONLY;
  return world_open(env, path, flags, out, e);
}

/* A reader who may not write sees commits, those in the log too, and keeps
** checkpoints away while it reads. */
TEST(view__follows_a_writer_without_shared_memory){
  struct pager *w = open_db(), *v = NULL;
  struct pager_config cfg = config();
  struct vecdb_file_ops ops = *world;
  page_no a = create_page(w, 1);

  world_open = world->open;
  ops.open = open_for_reading;
  cfg.file = &ops;
  REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, &err, &v) );
  CHECK( vdb_pager_is_readonly(v) );
  CHECK_RC( VECDB_READONLY, vdb_pager_begin_write(v) );
  CHECK_RC( VECDB_READONLY, vdb_pager_checkpoint(v, 0, NULL, NULL) );
  for(int i=2; i<30; i++){
    commit_fill(w, a, (unsigned char)i);
    CHECK_INT( i, read_fill(v, a) );
    if( i%7==0 ){
      REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(w, i%4, NULL, NULL) );
      CHECK_INT( i, read_fill(v, a) );
    }
  }
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(v) );
  commit_fill(w, a, 77);
  CHECK_RC( VECDB_BUSY, vdb_pager_checkpoint(w, VECDB_CHECKPOINT_FULL, NULL,
                                             NULL) );
  CHECK_INT( 29, fill_of(v, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(v) );
  REQUIRE_RC( VECDB_OK, close_db(w) );
  CHECK( !exists("t.vdb-wal") );
  CHECK_INT( 77, read_fill(v, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(v) );
  end_world();
}

static int open_without_shm(void *env, const char *path, unsigned flags,
                            struct vdb_file **out, struct vdb_err *e){
  *out = NULL;
  if( strstr(path, "-shm") ) return VECDB_READONLY;
  return world_open(env, path, flags, out, e);
}

/* The file could be written, its folder or -shm cannot. */
TEST(view__is_what_remains_without_a_writable_folder){
  struct pager *w = open_db(), *v = NULL;
  struct pager_config cfg = config();
  struct vecdb_file_ops ops = *world;
  page_no a = create_page(w, 1);

  world_open = world->open;
  ops.open = open_without_shm;
  cfg.file = &ops;
  REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, &err, &v) );   /* joining */
  CHECK( vdb_pager_is_readonly(v) );
  commit_fill(w, a, 2);
  CHECK_INT( 2, read_fill(v, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(v) );
  REQUIRE_RC( VECDB_OK, close_db(w) );
  REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, &err, &v) );   /* alone */
  CHECK( vdb_pager_is_readonly(v) );
  CHECK_INT( 2, read_fill(v, a) );
  w = open_db();                      /* it is in nobody's way */
  commit_fill(w, a, 3);
  CHECK_INT( 3, read_fill(v, a) );
  REQUIRE_RC( VECDB_OK, close_db(w) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(v) );
  end_world();
}

TEST(view__an_immutable_file_is_read_alone){
  struct pager *p = open_db();
  struct pager_config cfg = config();
  page_no a = create_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL, NULL,
                                             NULL) );
  commit_fill(p, a, 2);
  cfg.open_flags = VECDB_OPEN_IMMUTABLE;
  p = open_with(&cfg);
  CHECK_INT( 1, read_fill(p, a) );
  CHECK_RC( VECDB_READONLY, vdb_pager_begin_write(p) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
}

TEST(view__a_read_only_handle_shares_with_writers){
  struct pager *w = open_db(), *r;
  struct pager_config cfg = config();
  page_no a = create_page(w, 1);
  cfg.open_flags = VECDB_OPEN_READONLY;
  r = open_with(&cfg);
  commit_fill(w, a, 2);
  CHECK_INT( 2, read_fill(r, a) );
  CHECK_RC( VECDB_READONLY, vdb_pager_begin_write(r) );
  REQUIRE_RC( VECDB_OK, close_db(w) );
  CHECK_INT( 2, read_fill(r, a) );
  w = open_db();
  commit_fill(w, a, 3);
  CHECK_INT( 3, read_fill(r, a) );
  REQUIRE_RC( VECDB_OK, close_db(r) );
  REQUIRE_RC( VECDB_OK, close_db(w) );
  CHECK( !exists("t.vdb-wal") );
  end_world();
}

/* ---- foreign logs and older copies --------------------------------------- */

TEST(wal__a_log_beside_an_older_copy_is_ignored){
  struct pager *p = open_db();
  struct image old, wal;
  page_no a = create_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_TRUNCATE,
                                             NULL, NULL) );
  old = image_take("t.vdb");
  for(int i=2; i<5; i++){             /* two generations further */
    commit_fill(p, a, (unsigned char)i);
    REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_TRUNCATE,
                                               NULL, NULL) );
  }
  commit_fill(p, a, 9);
  wal = image_take("t.vdb-wal");
  end_world();
  (void)config();
  image_put("t.vdb", old);
  image_put("t.vdb-wal", wal);
  p = open_db();
  CHECK_INT( 1, read_fill(p, a) );
  commit_fill(p, a, 10);
  crash_keeping(0);
  p = open_db();
  CHECK_INT( 10, read_fill(p, a) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  vdb_free(old.p);
  vdb_free(wal.p);
  end_world();
}

/* ---- rules of use -------------------------------------------------------- */

TEST(pager__wrong_states_are_misuse){
  struct pager *p = open_db();
  struct page *pg = NULL;
  uint64_t token;
  unsigned char h[16];
  CHECK_RC( VECDB_MISUSE, vdb_page_get(p, 2, 0, &pg) );
  CHECK_RC( VECDB_MISUSE, vdb_page_new(p, PAGE_BTREE_LEAF, &pg) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_commit(p) );
  CHECK_RC( VECDB_OK, vdb_pager_rollback(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_begin_read(p) );
  CHECK_RC( VECDB_MISUSE, vdb_page_new(p, PAGE_BTREE_LEAF, &pg) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_checkpoint(p, 0, NULL, NULL) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_begin_write(p) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_end_read(p) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_rollback_to(p, 0) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_release(p, 0) );
  CHECK_RC( VECDB_OK, vdb_pager_committed_token(p, h, &token) );
  CHECK_RC( VECDB_OK, vdb_pager_rollback(p) );
  CHECK_RC( VECDB_RANGE, vdb_pager_checkpoint(p, 4, NULL, NULL) );
  CHECK_RC( VECDB_NOTFOUND, vdb_pager_set(p, "bussy_ms", 1) );
  CHECK_RC( VECDB_RANGE, vdb_pager_set(p, "sync", 3) );
  CHECK_RC( VECDB_NOTFOUND, vdb_pager_decide(p, true, false) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
}

/* ---- the operating system ------------------------------------------------ */

static struct pager *open_posix(const char *path){
  struct pager_config cfg;
  struct pager *p = NULL;
  memset(&cfg, 0, sizeof(cfg));
  cfg.path = path;
  cfg.open_flags = VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE;
  if( vdb_pager_open(&cfg, &err, &p)!=VECDB_OK ) FAIL("%s", err.msg);
  REQUIRE( p!=NULL );
  return p;
}

TEST(posix__two_connections_of_one_process_exclude_each_other){
  const char *path = vt_path("two.vdb");
  struct pager *p = open_posix(path), *q = open_posix(path);
  page_no a = create_page(p, 1), head;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  CHECK_RC( VECDB_BUSY, vdb_pager_begin_write(q) );
  head = create_extent(p, 3, 4687*64);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(q) );
  CHECK( extent_is(q, head, 3, 4687*64) );
  CHECK_INT( 1, fill_of(q, a) );
  commit_fill(p, a, 2);
  CHECK_INT( 1, fill_of(q, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(q) );
  CHECK_INT( 2, read_fill(q, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(q) );
  CHECK( access(vt_path("two.vdb-wal"), F_OK)!=0 );
  p = open_posix(path);
  CHECK_INT( 2, read_fill(p, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
}

/* A child may close what it inherited and nothing else; its parent goes on. */
TEST(posix__a_child_of_fork_gets_misuse){
  const char *path = vt_path("fork.vdb");
  struct pager *p = open_posix(path);
  page_no a = create_page(p, 1);
  int status = 0;
  pid_t pid;

  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  set_page(p, a, 2);
  pid = fork();
  if( pid==0 ){
    int ok = vdb_pager_commit(p)==VECDB_MISUSE
          && vdb_pager_rollback(p)==VECDB_MISUSE;
    vdb_pager_close(p);
    _exit(ok ? 0 : 1);
  }
  REQUIRE( waitpid(pid, &status, 0)==pid );
  CHECK_INT( 0, status );
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  CHECK_INT( 2, read_fill(p, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
}

/* Another process is killed while it holds the write lock. */
TEST(posix__a_dead_writer_leaves_no_lock){
  const char *path = vt_path("dead.vdb");
  struct pager *p = open_posix(path);
  page_no a = create_page(p, 1);
  int status = 0;
  pid_t pid = fork();

  if( pid==0 ){
    struct pager *q = open_posix(path);
    vdb_pager_begin_write(q);
    set_page(q, a, 2);
    raise(SIGKILL);
  }
  REQUIRE( waitpid(pid, &status, 0)==pid );
  CHECK( WIFSIGNALED(status) );
  CHECK_INT( 1, read_fill(p, a) );
  commit_fill(p, a, 3);
  CHECK_INT( 3, read_fill(p, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
}

/* ---- limits and failures ------------------------------------------------- */

TEST(snapshot__there_may_be_120_and_any_number_of_readers){
  struct pager_config cfg = config();
  struct pager *w = open_db(), *r[130] = { NULL };
  page_no a = create_page(w, 0);
  for(int i=0; i<130; i++){
    int rc;
    REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, &err, &r[i]) );
    if( i<119 ) commit_fill(w, a, (unsigned char)(i+1));
    rc = vdb_pager_begin_read(r[i]);
    CHECK_RC( VECDB_OK, rc );
  }
  for(int i=0; i<130; i++) CHECK_INT( i<119 ? i+1 : 119, fill_of(r[i], a) );
  commit_fill(w, a, 120);             /* takes the last slot for a moment */
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r[129]) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(r[129]) );
  CHECK_RC( VECDB_OK, vdb_pager_begin_read(w) );     /* shares with it */
  CHECK_INT( 120, fill_of(w, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(w) );
  set_page(w, a, 121);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(w) );
  CHECK_RC( VECDB_BUSY, vdb_pager_begin_read(w) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r[60]) );
  CHECK_RC( VECDB_OK, vdb_pager_begin_read(w) );
  CHECK_INT( 121, fill_of(w, a) );
  for(int i=0; i<130; i++) REQUIRE_RC( VECDB_OK, vdb_pager_close(r[i]) );
  end_world();
}

static bool sync_fails;
static int (*world_sync)(struct vdb_file *f, struct vdb_err *e);
static int sync_or_fail(struct vdb_file *f, struct vdb_err *e){
  return sync_fails ? vdb_error(e, VECDB_IOERR_SYNC, "no sync today")
                    : world_sync(f, e);
}

TEST(pager__a_failed_sync_is_final){
  struct pager_config cfg = config();
  struct vecdb_file_ops ops = *world;
  struct pager *p = NULL, *q;
  page_no a;
  world_sync = world->sync;
  ops.sync = sync_or_fail;
  cfg.file = &ops;
  REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, &err, &p) );
  a = create_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  set_page(p, a, 2);
  sync_fails = true;
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_commit(p) );
  sync_fails = false;
  CHECK_INT( PAGER_ERROR, vdb_pager_state(p) );
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_commit(p) );
  CHECK_RC( VECDB_OK, vdb_pager_rollback(p) );
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_begin_read(p) );
  CHECK_RC( VECDB_IOERR_SYNC, vdb_pager_begin_write(p) );
  q = open_db();                      /* others go on, from the state before */
  CHECK_INT( 1, read_fill(q, a) );
  commit_fill(q, a, 3);
  CHECK_INT( 3, read_fill(q, a) );
  CHECK_RC( VECDB_OK, vdb_pager_close(p) );
  p = open_db();
  CHECK_INT( 3, read_fill(p, a) );
  end_world();
}

TEST(ckpt__a_log_far_too_long_waits_for_readers){
  struct pager *w = open_db(), *r = open_db();
  struct pager_stats st;
  page_no a = create_page(w, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_set(w, "wal_bytes", 4096) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(r) );
  for(int i=0; i<200; i++) commit_fill(w, a, (unsigned char)i);
  REQUIRE_RC( VECDB_OK, vdb_pager_stats(w, &st) );
  CHECK( st.sz_wal>64*4096 );
  CHECK_INT( 1, fill_of(r, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_set(w, "busy_ms", 50) );
  {
    int64_t begin = world->now_ms(world->env);
    commit_fill(w, a, 201);
    CHECK( world->now_ms(world->env)>=begin+50 );
  }
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r) );
  commit_fill(w, a, 202);
  REQUIRE_RC( VECDB_OK, vdb_pager_stats(w, &st) );
  CHECK( st.sz_wal<64*4096 );
  end_world();
}

TEST(life__a_page_size_is_kept){
  struct pager_config cfg = config();
  struct pager *p;
  page_no a;
  for(uint32_t n=4096; n<=65536; n*=2){
    cfg = config();
    cfg.sz_page = n;
    p = open_with(&cfg);
    a = create_page(p, 5);
    REQUIRE_RC( VECDB_OK, close_db(p) );
    p = open_db();
    CHECK_U64( n, vdb_pager_usable(p) );
    CHECK_INT( 5, read_fill(p, a) );
    end_world();
  }
  cfg = config();
  cfg.sz_page = 3000;
  p = NULL;
  CHECK_RC( VECDB_RANGE, vdb_pager_open(&cfg, &err, &p) );
  end_world();
}
