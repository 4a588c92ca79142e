/* t_log_lies.c -- logs that say what cannot be, checksums right: a log of
** another file or state, marks that contradict pages, headers that rotted.
*/
#include "unit/lib_words.h"
#include "util/crc32c.h"
#include "pager/fstore.h"

/* A file and its log as a crash leaves them: three commits of page a. */
struct crashed { struct image main, wal; page_no a; };

static const unsigned char host[16] = "host of logs";

static size_t frame_bytes(const unsigned char *f){
  return FRAME_SIZE + (get_u16(f + FRAME_KIND)==FRAME_PAGE ? 4096 : COMMIT_SIZE);
}

/* Make the checksums of the log right again. */
static void log_seal(struct image *wal){
  uint32_t crc = vdb_crc32c(0, wal->p, WALHDR_CRC);
  put_u32(wal->p + WALHDR_CRC, crc);
  for(size_t at=WALHDR_SIZE; at+FRAME_SIZE<=wal->n; ){
    unsigned char *f = wal->p + at;
    size_t n = frame_bytes(f);
    crc = vdb_crc32c(crc, f, FRAME_CRC);
    crc = vdb_crc32c(crc, f + FRAME_SIZE, n - FRAME_SIZE);
    put_u32(f + FRAME_CRC, crc);
    at += n;
  }
}

/* The frame number i, from 1. */
static unsigned char *frame_at(struct image *wal, unsigned i){
  unsigned char *f = wal->p + WALHDR_SIZE;
  while( --i>0 ) f += frame_bytes(f);
  return f;
}

static struct crashed crash_make(bool prepared){
  struct pager *p = open_db();
  struct crashed c;
  c.a = create_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_TRUNCATE,
                                             NULL, NULL) );
  commit_fill(p, c.a, 2);                  /* frames 1 and 2 */
  commit_fill(p, c.a, 3);                  /* 3, 4 */
  if( prepared ){
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
    set_page(p, c.a, 4);
    REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, 7) );   /* 5, 6, 7 */
  }
  c.main = image_take("t.vdb");
  c.wal = image_take("t.vdb-wal");
  end_world();
  return c;
}

static void crash_free(struct crashed *c){
  vdb_free(c->main.p);
  vdb_free(c->wal.p);
}

/* Open the files; *fill is that of page a. */
static int crash_open(const struct crashed *c, int *fill){
  struct pager_config cfg = config();
  struct pager *p = NULL;
  int rc;
  image_put("t.vdb", c->main);
  image_put("t.vdb-wal", c->wal);
  *fill = 0;
  rc = vdb_pager_open(&cfg, &err, &p);
  if( rc==VECDB_OK ) *fill = read_fill(p, c->a);
  vdb_pager_close(p);
  end_world();
  return rc;
}

TEST(wal__a_log_of_another_file_or_state_is_ignored){
  static const struct { int at; uint64_t v; int n; } lies[] = {
    { WALHDR_VERSION, 2, 4 }, { WALHDR_PAGESIZE, 8192, 4 },
    { WALHDR_UUID, 77, 8 }, { WALHDR_PREVSALT, 77, 8 },
    { WALHDR_TXID, 999, 8 } };
  for(size_t i=0; i<VDB_ARRAY_LEN(lies); i++){
    struct crashed c = crash_make(false);
    int fill;
    for(int k=0; k<lies[i].n; k++){
      c.wal.p[lies[i].at + k] = (unsigned char)(lies[i].v >> 8*k);
    }
    log_seal(&c.wal);
    CHECK_RC( VECDB_OK, crash_open(&c, &fill) );
    CHECK_INT( 1, fill );
    crash_free(&c);
  }
}

/* The pages of a state are counted in its COMMIT and in its root page. */
TEST(wal__a_commit_that_contradicts_its_pages_is_corrupt){
  for(unsigned k=2; k<=4; k+=2){
    struct crashed c = crash_make(false);
    int fill;
    put_u32(frame_at(&c.wal, k) + FRAME_SIZE + COMMIT_NPAGE, 77777);
    log_seal(&c.wal);
    CHECK_RC( VECDB_CORRUPT, crash_open(&c, &fill) );
    CHECK( strstr(err.msg, "has 77777 pages, expected")!=NULL );
    crash_free(&c);
  }
}

TEST(wal__commits_out_of_order_are_corrupt){
  struct crashed c = crash_make(false);
  unsigned char *f = frame_at(&c.wal, 4);
  int fill;
  put_u64(f + FRAME_TXID, get_u64(frame_at(&c.wal, 2) + FRAME_TXID));
  log_seal(&c.wal);
  CHECK_RC( VECDB_CORRUPT, crash_open(&c, &fill) );
  CHECK( strstr(err.msg, "after a later one")!=NULL );
  crash_free(&c);
}

/* A frame of no kind, of the header region, of no transaction, ends the log:
** what is before it stands. */
TEST(wal__a_frame_that_cannot_be_ends_the_log){
  static const struct { int at; uint64_t v; int n; } lies[] = {
    { FRAME_KIND, 9, 2 }, { FRAME_PGNO, 1, 4 }, { FRAME_TXID, 0, 8 },
    { FRAME_TXID, (uint64_t)1<<63, 8 }, { FRAME_SEQ, 99, 8 },
    { FRAME_SALT, 99, 8 } };
  for(size_t i=0; i<VDB_ARRAY_LEN(lies); i++){
    struct crashed c = crash_make(false);
    unsigned char *f = frame_at(&c.wal, 3);
    int fill;
    for(int k=0; k<lies[i].n; k++) f[lies[i].at+k] = (unsigned char)
                                                    (lies[i].v >> 8*k);
    c.wal.n = (size_t)(f - c.wal.p) + FRAME_SIZE + 4096;
    put_u32(f + FRAME_CRC, vdb_crc32c(vdb_crc32c(get_u32(frame_at(&c.wal, 2)
            + FRAME_CRC), f, FRAME_CRC), f+FRAME_SIZE, 4096));
    CHECK_RC( VECDB_OK, crash_open(&c, &fill) );
    CHECK_INT( 2, fill );
    crash_free(&c);
  }
}

/* The header of the log rotted. It is needed while something behind it is not
** home: a commit, or a transaction that is undecided. */
TEST(wal__a_rotten_header_before_commits_is_corrupt){
  for(int prepared=0; prepared<2; prepared++){
    struct crashed c = crash_make(prepared);
    int fill;
    c.wal.p[70] ^= 1;
    CHECK_RC( VECDB_CORRUPT_WAL, crash_open(&c, &fill) );
    CHECK( strstr(err.msg, "the header of the log")!=NULL );
    crash_free(&c);
  }
}

/* Nothing but a prepared transaction is behind it. */
TEST(wal__a_rotten_header_before_a_prepared_transaction_is_corrupt){
  struct pager *p = open_db();
  struct crashed c;
  int fill;
  c.a = create_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_TRUNCATE,
                                             NULL, NULL) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  set_page(p, c.a, 4);
  REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, 7) );
  c.main = image_take("t.vdb");
  c.wal = image_take("t.vdb-wal");
  end_world();
  c.wal.p[70] ^= 1;
  CHECK_RC( VECDB_CORRUPT_WAL, crash_open(&c, &fill) );
  crash_free(&c);
}

/* What cannot be told from the beginning of a log is no frame: harmless. */
TEST(wal__a_rotten_header_before_nothing_is_ignored){
  for(int what=0; what<6; what++){
    struct crashed c = crash_make(false);
    unsigned char *f = frame_at(&c.wal, 1);
    int fill;
    c.wal.p[70] ^= 1;
    switch( what ){
      case 0: c.wal.n = WALHDR_SIZE + 10; break;
      case 1: put_u16(f + FRAME_KIND, 9); break;
      case 2: c.wal.n = WALHDR_SIZE + FRAME_SIZE + 100; break;
      case 3: put_u64(f + FRAME_SEQ, 2); break;
      case 4: f[FRAME_SIZE + 100] ^= 1; break;           /* its page */
      default: put_u32(f + FRAME_PGNO, c.a+1);
               vdb_page_seal(f + FRAME_SIZE, 4096, c.a, 3);
    }
    CHECK_RC( VECDB_OK, crash_open(&c, &fill) );
    CHECK_INT( 1, fill );
    crash_free(&c);
  }
}

/* A checkpoint that was begun needs a log that reaches its target. */
TEST(wal__a_log_too_short_for_a_checkpoint_is_corrupt){
  struct crashed c = crash_make(false);
  int fill;
  for(int k=0; k<2; k++){
    unsigned char *slot = c.main.p + 4096*k;
    put_u16(slot + HDRSLOT_FLAGS, HEADER_CHECKPOINTING);
    put_u64(slot + HDRSLOT_TARGET, get_u64(slot + HDRSLOT_TXID) + 50);
    put_u32(slot + HDRSLOT_CRC, vdb_crc32c(0, slot, HDRSLOT_CRC));
  }
  CHECK_RC( VECDB_CORRUPT_WAL, crash_open(&c, &fill) );
  CHECK( strstr(err.msg, "does not reach far enough")!=NULL );
  c.wal.p[70] ^= 1;
  c.wal.n = WALHDR_SIZE + 10;
  CHECK_RC( VECDB_CORRUPT_WAL, crash_open(&c, &fill) );
  CHECK( strstr(err.msg, "has no valid header")!=NULL );
  crash_free(&c);
}

/* ---- a log that changes while it is in use ------------------------------- */

static void log_poke(size_t at, unsigned char v){
  struct vdb_file *f = NULL;
  REQUIRE_RC( VECDB_OK, world->open(world->env, "t.vdb-wal", 0, &f, NULL) );
  REQUIRE_RC( VECDB_OK, world->write(f, at, &v, 1, NULL) );
  world->close(f);
}

TEST(wal__rot_under_a_connection_is_noticed){
  struct pager *p = open_db();
  page_no a = create_page(p, 1);
  commit_fill(p, a, 2);
  log_poke(WALHDR_SIZE + FRAME_SIZE + 2000, 0xee);     /* all its pages */
  log_poke(WALHDR_SIZE + 2*FRAME_SIZE + 4096 + 2000, 0xee);
  log_poke(WALHDR_SIZE + 3*FRAME_SIZE + 2*4096 + COMMIT_SIZE + 2000, 0xee);
  CHECK_RC( VECDB_CORRUPT_CHECKSUM, vdb_pager_backup(p, "b.vdb", NULL, NULL) );
  CHECK( !exists("b.vdb") );
  CHECK_RC( VECDB_CORRUPT_CHECKSUM, vdb_pager_checkpoint(p, 1, NULL, NULL) );
  end_world();
}

TEST(wal__following_a_log_that_is_another_is_corrupt){
  for(int lie=0; lie<5; lie++){
    struct pager *p = open_db(), *r = open_db();
    page_no a = create_page(p, 1);
    int rc;
    if( lie==1 ) CHECK_INT( 1, read_fill(r, a) );
    commit_fill(p, a, 2);
    switch( lie ){
      case 0: log_poke(WALHDR_SALT, 0x5a); break;
      case 1: log_poke(WALHDR_SIZE + 3*FRAME_SIZE + 2*4096 + COMMIT_SIZE
                       + FRAME_KIND, 9); break;
      case 2: log_poke(WALHDR_SIZE + FRAME_SEQ, 9); break;
      case 3: log_poke(WALHDR_SIZE + FRAME_SALT, 0x5a); break;
      default: REQUIRE_RC( VECDB_OK, world->unlink(world->env, "t.vdb-wal",
                                                   NULL) );
    }
    rc = vdb_pager_begin_read(r);
    CHECK_RC( VECDB_CORRUPT_WAL, rc );
    CHECK( strstr(err.msg, lie==0 ? "is not the one that is in use"
                  : lie==4 ? "has vanished" : "is damaged")!=NULL );
    end_world();
  }
}

/* The generation is the one that was followed, the salt is another. */
TEST(wal__a_state_of_another_log_is_not_followed){
  struct pager *p = open_db(), *r = open_db();
  page_no a = create_page(p, 1);
  CHECK_INT( 1, read_fill(r, a) );
  state_lie(SHMHDR_SALT, 77);
  CHECK_RC( VECDB_CORRUPT_WAL, vdb_pager_begin_read(r) );
  CHECK( strstr(err.msg, "is not the one that is in use")!=NULL );
  end_world();
}

/* Nothing is firm, it says, and there is no log. */
TEST(undo__without_a_log_nothing_can_be_undone){
  struct undo_tokens tok;
  struct pager *p = open_db();
  bool yes = true;
  state_lie(SHMHDR_TXIDFIRM, 0);
  CHECK_RC( VECDB_OK, vdb_pager_undoable(p, &yes, &tok) );
  CHECK( !yes );
  end_world();
}

/* ---- rot, or a torn tail ------------------------------------------------- */

/* Root page and mark agree on a number of pages that there cannot be. */
TEST(wal__a_state_without_a_root_is_corrupt){
  struct crashed c = crash_make(true);
  int fill, n_root = 0;
  for(unsigned i=5; i<=6; i++){
    unsigned char *f = frame_at(&c.wal, i);
    if( f[FRAME_SIZE + PAGEHDR_TYPE]!=PAGE_ROOT ) continue;
    put_u32(f + FRAME_SIZE + ROOT_NPAGE, 2);
    vdb_page_seal(f + FRAME_SIZE, 4096, get_u32(f + FRAME_PGNO), 3);
    n_root++;
  }
  REQUIRE_INT( 1, n_root );
  put_u32(frame_at(&c.wal, 7) + FRAME_SIZE + COMMIT_NPAGE, 2);
  log_seal(&c.wal);
  CHECK_RC( VECDB_CORRUPT, crash_open(&c, &fill) );
  CHECK( strstr(err.msg, "has 2 pages, expected 2")!=NULL );
  crash_free(&c);
}

/* A PREPARE, too, says how far the log was synced. */
TEST(wal__rot_before_a_prepared_transaction_is_told){
  struct crashed c = crash_make(true);
  int fill;
  frame_at(&c.wal, 3)[FRAME_SIZE + 100] ^= 1;
  CHECK_RC( VECDB_CORRUPT_WAL, crash_open(&c, &fill) );
  CHECK( strstr(err.msg, "frame 3 of the log")!=NULL );
  crash_free(&c);
}

/* Bytes of an earlier frame, in a page that was torn, are no later frame. */
TEST(wal__a_copy_of_an_earlier_frame_is_no_later_one){
  struct crashed c = crash_make(false);
  unsigned char *f = frame_at(&c.wal, 3);
  int fill;
  memcpy(f + FRAME_SIZE + 64, frame_at(&c.wal, 1), FRAME_SIZE);
  CHECK_RC( VECDB_OK, crash_open(&c, &fill) );
  CHECK_INT( 2, fill );
  crash_free(&c);
}

/* A prepared transaction that was taken back is all that the log has. */
TEST(wal__a_log_of_nothing_but_an_abort_goes_on){
  struct pager *p = open_db();
  page_no a = create_page(p, 1), b;
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_TRUNCATE,
                                             NULL, NULL) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  for(int i=0; i<5; i++) put_page(p, 9);
  REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, 7) );
  REQUIRE_RC( VECDB_OK, vdb_pager_decide(p, false, false) );
  crash_keeping(0);
  p = open_db();
  CHECK_INT( 1, read_fill(p, a) );
  b = create_page(p, 2);
  crash_keeping(0);
  p = open_db();
  CHECK_INT( 1, read_fill(p, a) );
  CHECK_INT( 2, read_fill(p, b) );
  end_world();
}

/* The commits behind a rotten header are home: they are not needed. */
TEST(wal__a_rotten_header_before_what_is_home_is_ignored){
  struct pager *p = open_db();
  struct crashed c;
  int fill;
  c.a = create_page(p, 1);
  commit_fill(p, c.a, 2);
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL, NULL,
                                             NULL) );
  c.main = image_take("t.vdb");
  c.wal = image_take("t.vdb-wal");
  end_world();
  c.wal.p[70] ^= 1;
  CHECK_RC( VECDB_OK, crash_open(&c, &fill) );
  CHECK_INT( 2, fill );
  put_u16(frame_at(&c.wal, 1) + FRAME_KIND, FRAME_COMMIT);   /* torn, too */
  put_u32(frame_at(&c.wal, 1) + FRAME_PGNO, 0);
  CHECK_RC( VECDB_OK, crash_open(&c, &fill) );
  CHECK_INT( 2, fill );
  crash_free(&c);
}

/* ---- while memory or reads fail ------------------------------------------ */

static int n_read_left;
static int fail_a_log_read(struct lab_event *e){
  if( e->call!=CALL_READ || !ends_with(e->path, "-wal") ) return VECDB_OK;
  if( --n_read_left!=0 ) return VECDB_OK;
  return vdb_error(e->err, VECDB_IOERR_READ, "cannot read the log");
}

/* What the files are is said once they can be read, and nothing else. */
TEST(wal__what_is_wrong_with_a_log_needs_memory_and_reads){
  for(int what=0; what<3; what++){
    struct crashed c = crash_make(what==2);
    int want = what==1 ? VECDB_OK : VECDB_CORRUPT_WAL;
    if( what==0 ) c.wal.p[70] ^= 1;
    else frame_at(&c.wal, 3)[FRAME_SIZE + 100] ^= 1;
    for(int n=1, memory=1; n<200; n++){
      struct pager_config cfg = config();
      struct pager *p = NULL;
      uint64_t fired;
      int rc;
      cfg.file = layer;
      image_put("t.vdb", c.main);
      image_put("t.vdb-wal", c.wal);
      n_read_left = memory ? 0 : n;
      if( memory ) vdb_mem_fail_at((uint64_t)n, false);
      else on_before = fail_a_log_read;
      rc = vdb_pager_open(&cfg, &err, &p);
      fired = memory ? vdb_mem_fail_at(0, false) : n_read_left<=0;
      if( !memory || fired==0 ) on_before = NULL;
      if( fired==0 ) CHECK_RC( want, rc );
      else if( rc!=want ) CHECK_RC( memory ? VECDB_NOMEM : VECDB_IOERR_READ,
                                    rc );
      vdb_pager_close(p);
      end_world();
      if( fired==0 && !memory ) break;
      if( fired==0 ) memory = n = 0;
    }
    crash_free(&c);
  }
}
