/* t_lies.c -- files and shared memory that say what cannot be, checksums right:
** each field is refused, or found, with a sentence that names it.
*/
#include "unit/lib_words.h"
#include "util/crc32c.h"
#include "pager/fstore.h"

/* ---- the header ---------------------------------------------------------- */

/* The files of a small database whose state is home. */
static struct image little_file(void){
  struct pager *p = open_db();
  struct image im;
  add_pages(p, 3);
  REQUIRE_RC( VECDB_OK, close_db(p) );
  im = image_take("t.vdb");
  end_world();
  return im;
}

static void slot_seal(unsigned char *slot){
  put_u32(slot + HDRSLOT_CRC, vdb_crc32c(0, slot, HDRSLOT_CRC));
}

/* Open the bytes as a file; the code. */
static int open_bytes(const unsigned char *p, size_t n, uint32_t flags){
  struct pager_config cfg = config();
  struct pager *db = NULL;
  int rc;
  REQUIRE_RC( VECDB_OK, vdb_file_mem_poke(world, "t.vdb", p, n) );
  if( flags ) cfg.open_flags = flags;
  rc = vdb_pager_open(&cfg, &err, &db);
  if( rc==VECDB_OK && vdb_pager_is_readonly(db) ) rc = VECDB_READONLY;
  vdb_pager_close(db);
  end_world();
  return rc;
}

TEST(header__each_field_that_cannot_be_is_refused){
  static const struct { int at, n; uint64_t v; int rc; const char *says; }
  lies[] = {
    { HDRSLOT_RVERSION, 1, 9, VECDB_FORMAT, "newer than this library" },
    { HDRSLOT_WVERSION, 1, 9, VECDB_READONLY, "" },
    { HDRSLOT_ROCOMPAT, 4, 4, VECDB_READONLY, "" },
    { HDRSLOT_INCOMPAT, 4, 4, VECDB_FORMAT, "features 0x4" },
    { HDRSLOT_PAGESIZE, 4, 2048, VECDB_CORRUPT, "page size 2048" },
    { HDRSLOT_PAGESIZE, 4, 131072, VECDB_CORRUPT, "page size 131072" },
    { HDRSLOT_PAGESIZE, 4, 5000, VECDB_CORRUPT, "page size 5000" },
    { HDRSLOT_TXID, 8, 0, VECDB_CORRUPT, "transaction 0" },
    { HDRSLOT_TXID, 8, (uint64_t)1<<63, VECDB_CORRUPT, "transaction 9" },
    { HDRSLOT_SEQ, 8, (uint64_t)1<<63, VECDB_CORRUPT, "header 9" },
    { HDRSLOT_FLAGS, 2, 0x84, VECDB_CORRUPT, "flags 0x84" },
    { HDRSLOT_FLAGS, 2, HEADER_CHECKPOINTING, VECDB_CORRUPT, "a checkpoint" },
    { HDRSLOT_ROOT, 4, 5, VECDB_CORRUPT, "root page 5" },
    { HDRSLOT_NPAGE, 4, 2, VECDB_CORRUPT, "root page 2 of 2" },
    { HDRSLOT_NPAGE, 4, 1u<<30, VECDB_CORRUPT, "bytes long" } };
  struct image im = little_file();
  for(size_t i=0; i<VDB_ARRAY_LEN(lies); i++){
    unsigned char *b = vdb_memdup(im.p, im.n);
    for(int k=0; k<2; k++){
      for(int n=0; n<lies[i].n; n++){
        b[4096*k + lies[i].at + n] = (unsigned char)(lies[i].v >> 8*n);
      }
      slot_seal(b + 4096*k);
    }
    CHECK_RC( lies[i].rc, open_bytes(b, im.n, 0) );
    if( !strstr(err.msg, lies[i].says) ) FAIL("%s", err.msg);
    vdb_free(b);
  }
  vdb_free(im.p);
}

TEST(header__a_file_that_is_none_is_told_by_what_it_is){
  static const unsigned char zero[3*65536];
  struct image im = little_file();
  unsigned char b[8192];
  memset(b, 0, sizeof(b));
  memcpy(b, "SQLite format 3", 16);
  CHECK_RC( VECDB_NOTADB, open_bytes(b, 16, 0) );
  CHECK( strstr(err.msg, "SQLite database")!=NULL );
  CHECK_RC( VECDB_NOTADB, open_bytes(b, 15, 0) );
  memcpy(b, "vecdb format 2\0", 16);
  CHECK_RC( VECDB_FORMAT, open_bytes(b, 8192, 0) );
  CHECK_RC( VECDB_CORRUPT_CHECKSUM, open_bytes(b, 13, 0) );
  CHECK_RC( VECDB_NOTADB, open_bytes(b, 8, 0) );
  memcpy(b, "vecdb format 1\0", 16);
  CHECK_RC( VECDB_CORRUPT_CHECKSUM, open_bytes(b, 8192, 0) );
  CHECK( strstr(err.msg, "both header slots are damaged")!=NULL );
  CHECK_RC( VECDB_NOTADB, open_bytes(zero, sizeof(zero), 0) );  /* too long */
  CHECK_RC( VECDB_OK, open_bytes(zero, 8192, 0) );     /* creation was torn */
  CHECK_RC( VECDB_NOTADB, open_bytes(zero, 0, VECDB_OPEN_READONLY) );
  vdb_free(im.p);
}

/* Slot B says CREATING and A is bad: torn, unless a log knows the file. */
TEST(header__a_torn_creation_is_made_again){
  struct pager *p = open_db();
  struct image im = image_take("t.vdb"), wal;
  REQUIRE_RC( VECDB_OK, close_db(p) );
  end_world();
  p = open_db();
  end_world();
  im.p[50] ^= 1;                           /* slot A */
  REQUIRE( get_u16(im.p + 4096 + HDRSLOT_FLAGS) & HEADER_CREATING );
  CHECK_RC( VECDB_OK, open_bytes(im.p, im.n, 0) );
  for(int other=0; other<3; other++){      /* beside the log of another file */
    struct pager_config cfg = config();
    p = open_db();
    add_pages(p, 1);
    wal = image_take("t.vdb-wal");
    end_world();
    cfg = config();
    if( other==1 ) wal.p[3] ^= 1;          /* a log that is none */
    if( other==2 ) wal.n = 20;
    image_put("t.vdb", im);
    image_put("t.vdb-wal", wal);
    p = NULL;
    CHECK_RC( other==0 ? VECDB_CORRUPT_CHECKSUM : VECDB_OK,
              vdb_pager_open(&cfg, &err, &p) );
    vdb_pager_close(p);
    vdb_free(wal.p);
    end_world();
  }
  vdb_free(im.p);
}

/* ---- the root page ------------------------------------------------------- */

/* Reading such a file does no harm, building on it would. */
TEST(root__that_counts_other_pages_is_not_written){
  struct image im = little_file();
  struct pager_config cfg;
  struct pager *p = NULL;
  struct page *page = NULL;
  unsigned save;
  uint64_t word;
  put_u32(im.p + 2*4096 + ROOT_NPAGE, 0);
  vdb_page_seal(im.p + 2*4096, 4096, 2, 3);
  cfg = config();
  image_put("t.vdb", im);
  REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, &err, &p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  CHECK_RC( VECDB_OK, vdb_root_get(p, 0, &word) );     /* it is in the cache */
  REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &save) );
  CHECK_RC( VECDB_CORRUPT, vdb_alloc_page(p, PAGE_BTREE_LEAF, &page) );
  CHECK( strstr(err.msg, "page count is 0, expected")!=NULL );
  CHECK_RC( VECDB_OK, vdb_pager_rollback_to(p, save) );
  CHECK( vdb_pager_n_page(p)>2 );
  CHECK_RC( VECDB_OK, vdb_pager_commit(p) );
  CHECK_RC( VECDB_OK, vdb_pager_close(p) );
  end_world();
  vdb_free(im.p);
}

/* ---- shared memory ------------------------------------------------------- */

TEST(shm__a_state_that_cannot_be_is_read_from_the_log_again){
  static const struct { size_t at; uint64_t v; } lies[] = {
    { SHMHDR_CHANGE, 0 },
    { SHMHDR_NPAGE, 1 }, { SHMHDR_NPAGE, (uint64_t)1<<33 },
    { SHMHDR_TXID, 999 }, { SHMHDR_TXIDUSED, (uint64_t)1<<62 },
    { SHMHDR_NFRAME, (uint64_t)1<<33 }, { SHMHDR_NVISIBLE, 999 },
    { SHMHDR_SYNCED, 999 }, { SHMHDR_CRC, (uint64_t)1<<33 },
    { SHMHDR_PREPTXID, 1 }, { SHMHDR_PREPTXID, 999 },
    { SHMHDR_OFFEND, 0 }, { SHMHDR_OFFEND, 40 },
    { SHMHDR_OFFEND, (uint64_t)1<<40 } };
  for(size_t i=0; i<VDB_ARRAY_LEN(lies); i++){
    struct pager *p = open_db();
    page_no a = create_page(p, 7);
    state_lie(lies[i].at, lies[i].v);
    CHECK_INT( 7, read_fill(p, a) );
    commit_fill(p, a, 8);
    CHECK_INT( 8, read_fill(p, a) );
    REQUIRE_RC( VECDB_OK, close_db(p) );
    end_world();
  }
}

/* About a prepared transaction. */
TEST(shm__a_prepared_transaction_that_cannot_be_is_read_again){
  static const unsigned char host[16] = "host";
  static const uint64_t n_page[2] = { 1, (uint64_t)1<<33 };
  for(int i=0; i<2; i++){
    struct pager *p = open_db(), *r = open_db();
    page_no a = create_page(p, 7);
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    set_page(p, a, 8);
    REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, 3) );
    state_lie(SHMHDR_PREPNPAGE, n_page[i]);
    CHECK_RC( VECDB_BUSY_RECOVERY, vdb_pager_begin_read(r) );
    REQUIRE_RC( VECDB_OK, vdb_pager_rollback(p) );
    CHECK_INT( 7, read_fill(r, a) );
    end_world();
  }
}

/* Whoever may not have the write lock waits for who has it. */
TEST(shm__a_recovery_of_others_is_waited_for){
  struct pager *p = open_db(), *r = open_db();
  page_no a = create_page(p, 7);
  int64_t begin = world->now_ms(world->env);
  REQUIRE_RC( VECDB_OK, vdb_pager_set(r, "busy_ms", 40) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  state_lie(SHMHDR_NPAGE, 0);
  CHECK_RC( VECDB_BUSY_RECOVERY, vdb_pager_begin_read(r) );
  CHECK( world->now_ms(world->env)>=begin+40 );
  set_page(p, a, 8);
  CHECK_RC( VECDB_OK, vdb_pager_commit(p) );     /* publishes it again */
  CHECK_INT( 8, read_fill(r, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  set_page(p, a, 9);
  state_lie(SHMHDR_NPAGE, 0);
  REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, (unsigned char*)"0123456789abcde",
                                          1) );
  REQUIRE_RC( VECDB_OK, vdb_pager_decide(p, true, false) );
  CHECK_INT( 9, read_fill(r, a) );
  end_world();
}

/* ---- the free list ------------------------------------------------------- */

/* The page where the free list begins, to be changed. */
static struct page *first_trunk(struct pager *p){
  struct page *root = NULL, *trunk = NULL;
  REQUIRE_RC( VECDB_OK, vdb_root_page(p, &root) );
  REQUIRE_RC( VECDB_OK, vdb_page_get(p, get_u32(root->data + ROOT_FREE),
                                     PAGE_FREE, &trunk) );
  vdb_page_unpin(p, root);
  REQUIRE_RC( VECDB_OK, vdb_page_write(p, trunk) );
  return trunk;
}

/* Pages freed in two transactions, so that there are two entries. */
static struct pager *with_free_pages(void){
  struct pager *p = open_db();
  page_no last = add_pages(p, 40);
  for(int k=0; k<2; k++){
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    for(page_no i=0; i<6; i++) free_page(p, last-20*(page_no)k-2*i);
    REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  }
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  return p;
}

static uint64_t census_findings(struct pager *p){
  struct census *c = NULL;
  uint64_t n = 0;
  REQUIRE_RC( VECDB_OK, vdb_census_begin(p, false, NULL, NULL, &c) );
  REQUIRE_RC( VECDB_OK, vdb_census_end(c, &n) );
  return n;
}

/* What the free list says is asked for by a page, by a run, by a census. */
static void freelist_refuses(struct pager *p, const char *says){
  struct page *pg = NULL;
  unsigned sp;
  page_no head = 0;
  struct extent_spec spec = { 1, 4096, 5, 1 };
  static const unsigned char bytes[5*4096];
  int rc;
  CHECK( census_findings(p)>0 );
  REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &sp) );
  rc = vdb_page_new(p, PAGE_BTREE_LEAF, &pg);
  vdb_page_unpin(p, pg);
  CHECK( rc==VECDB_CORRUPT || rc==VECDB_OK );
  REQUIRE_RC( VECDB_OK, vdb_pager_rollback_to(p, sp) );
  rc = vdb_extent_create(p, &spec, bytes, &head);
  CHECK_RC( VECDB_CORRUPT, rc );
  if( !strstr(err.msg, says) ) FAIL("%s, expected %s", err.msg, says);
  REQUIRE_RC( VECDB_OK, vdb_pager_rollback_to(p, sp) );
  REQUIRE_RC( VECDB_OK, vdb_pager_release(p, sp) );
}

TEST(freelist__entries_that_cannot_be_are_corrupt){
  static const struct { int at; uint32_t v; } lies[] = {
    { FREEENTRY_LENGTH, 0 }, { FREEENTRY_LENGTH, 1u<<30 },
    { FREEENTRY_START, 1 }, { FREEENTRY_START, 1u<<30 } };
  struct pager *p = with_free_pages();
  unsigned sp;
  for(size_t i=0; i<VDB_ARRAY_LEN(lies); i++){
    struct page *trunk;
    REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &sp) );
    trunk = first_trunk(p);
    put_u32(trunk->data + FREETRUNK_SIZE + lies[i].at, lies[i].v);
    vdb_page_unpin(p, trunk);
    freelist_refuses(p, "free entry 0 names");
    REQUIRE_RC( VECDB_OK, vdb_pager_rollback_to(p, sp) );
    REQUIRE_RC( VECDB_OK, vdb_pager_release(p, sp) );
  }
  CHECK_U64( 0, census_findings(p) );
  end_world();
}

TEST(freelist__counts_and_links_that_cannot_be_are_corrupt){
  struct pager *p = with_free_pages();
  struct page *trunk, *root = NULL;
  unsigned sp;
  for(int lie=0; lie<3; lie++){
    REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &sp) );
    trunk = first_trunk(p);
    if( lie==0 ) put_u32(trunk->data + FREETRUNK_N, 60000);
    if( lie==1 ) put_u32(trunk->data + FREETRUNK_NEXT, trunk->pgno);
    if( lie==2 ) put_u32(trunk->data + FREETRUNK_NEXT, 99999);
    vdb_page_unpin(p, trunk);
    freelist_refuses(p, lie==0 ? "60000 free entries"
                        : lie==1 ? "has no end" : "out of range");
    REQUIRE_RC( VECDB_OK, vdb_pager_rollback_to(p, sp) );
    REQUIRE_RC( VECDB_OK, vdb_pager_release(p, sp) );
  }
  /* A ring of empty trunks: nothing that could be used up is in it. */
  REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &sp) );
  trunk = first_trunk(p);
  put_u32(trunk->data + FREETRUNK_N, 0);
  put_u32(trunk->data + FREETRUNK_NEXT, trunk->pgno);
  vdb_page_unpin(p, trunk);
  freelist_refuses(p, "has no end");
  REQUIRE_RC( VECDB_OK, vdb_pager_rollback_to(p, sp) );
  /* Counts in the root. */
  REQUIRE_RC( VECDB_OK, vdb_root_write(p, &root) );
  vdb_root_add_free(root, 7);
  vdb_page_unpin(p, root);
  CHECK( census_findings(p)>0 );
  REQUIRE_RC( VECDB_OK, vdb_pager_rollback_to(p, sp) );
  REQUIRE_RC( VECDB_OK, vdb_root_write(p, &root) );
  put_u32(root->data + ROOT_NPAGE, 77777);
  vdb_page_unpin(p, root);
  CHECK( census_findings(p)>0 );
  end_world();
}

/* A page that is free twice is noticed before a run of pages is made of it. */
TEST(freelist__a_page_that_is_free_twice_is_corrupt){
  struct extent_spec spec = { 1, 4096, 11, 1 };
  static const unsigned char bytes[11*4096];
  struct pager *p = open_db();
  struct page *trunk;
  page_no last = add_pages(p, 40), head;
  for(int k=0; k<2; k++){
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    for(page_no i=0; i<10; i++) free_page(p, last-15-i-15*(page_no)k);
    REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  }
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL, NULL,
                                             NULL) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  trunk = first_trunk(p);
  memcpy(trunk->data + FREETRUNK_SIZE + FREEENTRY_SIZE,
         trunk->data + FREETRUNK_SIZE, FREEENTRY_SIZE);
  put_u32(trunk->data + FREETRUNK_N, 2);
  vdb_page_unpin(p, trunk);
  CHECK_RC( VECDB_CORRUPT, vdb_extent_create(p, &spec, bytes, &head) );
  CHECK( strstr(err.msg, "is free twice")!=NULL );
  CHECK( census_findings(p)>0 );
  end_world();
}

/* ---- extents ------------------------------------------------------------- */

TEST(extent__a_directory_page_that_cannot_be_is_corrupt){
  static const struct { int at; uint32_t v; const char *says; } lies[] = {
    { EXTENT_STRIDE, 0, "records of 0" },
    { EXTENT_STRIDE, 1u<<30, "records of 1073741824" },
    { EXTENT_NCRC, 9, "9 checksums" },
    { EXTENT_NPAGE, 9, "9 pages" },
    { EXTENT_START, 1, "pages from 1," },
    { EXTENT_START, 1u<<30, "from 1073741824" },
    { EXTENT_TXID, 99999, "made by transaction 99999" } };
  struct pager *p = open_db();
  struct page *pg = NULL;
  struct census *c;
  struct extent e;
  uint64_t n_bad;
  page_no head, n_page;
  unsigned sp;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  head = create_extent(p, 1, 8192);
  n_page = vdb_pager_n_page(p);
  for(size_t i=0; i<VDB_ARRAY_LEN(lies)+1; i++){
    REQUIRE_RC( VECDB_OK, vdb_pager_savepoint(p, &sp) );
    REQUIRE_RC( VECDB_OK, vdb_page_get(p, head, PAGE_EXTENT, &pg) );
    REQUIRE_RC( VECDB_OK, vdb_page_write(p, pg) );
    if( i<VDB_ARRAY_LEN(lies) ) put_u32(pg->data + lies[i].at, lies[i].v);
    else put_u32(pg->data + EXTENT_START, n_page-1);    /* beyond the end */
    vdb_page_unpin(p, pg);
    CHECK_RC( VECDB_CORRUPT, vdb_extent_pin(p, head, &e) );
    if( i<VDB_ARRAY_LEN(lies) && !strstr(err.msg, lies[i].says) ){
      FAIL("%s, expected %s", err.msg, lies[i].says);
    }
    REQUIRE_RC( VECDB_OK, vdb_census_begin(p, false, NULL, NULL, &c) );
    CHECK_RC( VECDB_OK, vdb_extent_check(p, c, head, "extent") );
    CHECK_RC( VECDB_OK, vdb_extent_check(p, c, head, "again") );
    REQUIRE_RC( VECDB_OK, vdb_census_end(c, &n_bad) );
    CHECK( n_bad>=2 );
    REQUIRE_RC( VECDB_OK, vdb_pager_rollback_to(p, sp) );
    REQUIRE_RC( VECDB_OK, vdb_pager_release(p, sp) );
  }
  CHECK( extent_is(p, head, 1, 8192) );
  end_world();
}

/* A payload that rotted is told from one that is sound, chunk by chunk. */
TEST(extent__a_rotten_chunk_hides_no_other){
  for(int no_mmap=0; no_mmap<2; no_mmap++){
    struct pager_config cfg = config();
    struct image im;
    struct pager *p;
    struct extent e;
    page_no head;
    size_t at = 0;
    cfg.no_mmap = no_mmap;
    p = open_with(&cfg);
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    head = create_extent(p, 1, 3*4096);
    REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
    REQUIRE_RC( VECDB_OK, vdb_extent_pin_raw(p, head, &e) );
    im = image_take("t.vdb");
    while( memcmp(im.p+at, e.data, 4096)!=0 ) at += 4096;
    vdb_extent_unpin(p, &e);
    REQUIRE_RC( VECDB_OK, close_db(p) );
    vdb_free(im.p);
    im = image_take("t.vdb");
    im.p[at + 5000] ^= 1;
    image_put("t.vdb", im);
    vdb_free(im.p);
    p = open_with(&cfg);
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
    CHECK_RC( VECDB_CORRUPT_CHECKSUM, vdb_extent_pin(p, head, &e) );
    CHECK( strstr(err.msg, "bytes 4096..: checksum")!=NULL );
    REQUIRE_RC( VECDB_OK, vdb_extent_pin_raw(p, head, &e) );
    CHECK_RC( VECDB_OK, vdb_extent_verify(p, &e, 0, 100) );
    CHECK_RC( VECDB_OK, vdb_extent_verify(p, &e, 50, 0) );
    CHECK_RC( VECDB_OK, vdb_extent_verify(p, &e, 8192, 4096) );
    CHECK_RC( VECDB_OK, vdb_extent_verify(p, &e, 8192, 4096) );
    CHECK_RC( VECDB_CORRUPT_CHECKSUM, vdb_extent_verify(p, &e, 0, 3*4096) );
    CHECK_RC( VECDB_INTERNAL, vdb_extent_verify(p, &e, 0, 3*4096+1) );
    CHECK_RC( VECDB_INTERNAL, vdb_extent_verify(p, &e, 3*4096+1, 1) );
    vdb_extent_unpin(p, &e);
    end_world();
  }
}
