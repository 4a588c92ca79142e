/* t_opening.c -- opening and closing while others come, go, remove and replace
** files; and readers without the right to write.
*/
#include "unit/lib_world.h"
#include "util/crc32c.h"
#include "pager/fstore.h"

static const unsigned char host[16] = "host of opening";

/* ---- the layer's moments ------------------------------------------------- */

/* Done once at the next call of that kind, on a path that ends so. */
static struct { enum lab_call call; const char *path; void (*fn)(void); }
moment;

static int moment_before(struct lab_event *e){
  void (*fn)(void) = moment.fn;
  if( fn==NULL || e->call!=moment.call || !ends_with(e->path, moment.path) ){
    return VECDB_OK;
  }
  moment.fn = NULL;
  fn();
  return VECDB_OK;
}
static void moment_after(struct lab_event *e, int rc){
  VDB_UNUSED(rc);
  (void)moment_before(e);
}
static void at(enum lab_call call, const char *path, void (*fn)(void)){
  moment.call = call;
  moment.path = path;
  moment.fn = fn;
  on_before = moment_before;
  on_after = NULL;
}
static void after(enum lab_call call, const char *path, void (*fn)(void)){
  at(call, path, fn);
  on_before = NULL;
  on_after = moment_after;
}
static void moment_end(void){
  CHECK( moment.fn==NULL );
  on_before = NULL;
  on_after = NULL;
}

static int watched_open(struct pager **out){
  struct pager_config cfg = config();
  cfg.file = layer;
  *out = NULL;
  return vdb_pager_open(&cfg, &err, out);
}

/* Calls of that kind and path fail, n of them. */
static struct { enum lab_call call; const char *path; int n_skip, n; } fault;
static int fault_before(struct lab_event *e){
  if( e->call!=fault.call || !ends_with(e->path, fault.path) ) return VECDB_OK;
  if( fault.n_skip-->0 || fault.n--<=0 ) return VECDB_OK;
  return vdb_error(e->err, VECDB_IOERR, "cannot %s \"%s\": injected",
                   lab_call_name[e->call], e->path);
}
static void fail(enum lab_call call, const char *path, int n_skip, int n){
  fault.call = call;
  fault.path = path;
  fault.n_skip = n_skip;
  fault.n = n;
  on_before = fault_before;
}

/* ---- joining others ------------------------------------------------------ */

static void rename_to(const char *from, const char *to){
  REQUIRE_RC( VECDB_OK, world->rename(world->env, from, to, &err) );
}
static void shm_away(void){ rename_to("t.vdb-shm", "aside"); }
static void shm_back(void){ rename_to("aside", "t.vdb-shm"); }
static void shm_remove(void){
  REQUIRE_RC( VECDB_OK, world->unlink(world->env, "t.vdb-shm", &err) );
}
static void shm_away_until_sleep(void){
  shm_away();
  at(CALL_SLEEP, "", shm_back);
}

/* Somebody deletes -shm under a connection: others cannot join it. */
TEST(life__without_its_shm_nobody_joins){
  struct pager *p = open_db(), *q;
  page_no a = create_page(p, 1);
  int64_t begin = world->now_ms(world->env);
  shm_away();
  CHECK_RC( VECDB_BUSY_RECOVERY, watched_open(&q) );
  CHECK( strstr(err.msg, "or its -shm file was deleted; retry")!=NULL );
  CHECK( world->now_ms(world->env)>=begin+2000 );
  at(CALL_SLEEP, "", shm_back);            /* it comes back while we wait */
  REQUIRE_RC( VECDB_OK, watched_open(&q) );
  moment_end();
  CHECK_INT( 1, read_fill(q, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(q) );
  end_world();
}

TEST(life__a_shm_that_goes_while_it_is_opened_is_looked_for_again){
  struct pager *p = open_db(), *q;
  page_no a = create_page(p, 1);
  at(CALL_OPEN, "-shm", shm_away_until_sleep);
  REQUIRE_RC( VECDB_OK, watched_open(&q) );
  moment_end();
  CHECK_INT( 1, read_fill(q, a) );
  commit_fill(q, a, 2);
  CHECK_INT( 2, read_fill(p, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(q) );
  end_world();
}

static uint64_t magic;
static uint64_t magic_swap(uint64_t v){
  struct vdb_file *f = NULL;
  uint64_t old;
  REQUIRE_RC( VECDB_OK, world->open(world->env, "t.vdb-shm", 0, &f, NULL) );
  REQUIRE_RC( VECDB_OK, world->shm_map(f, SHM_SIZE, NULL) );
  old = world->shm_load(f, SHM_MAGIC);
  world->shm_store(f, SHM_MAGIC, v);
  world->close(f);
  return old;
}
static void magic_back(void){ magic_swap(magic); }

/* Who makes -shm has not come to its last word. */
TEST(life__a_shm_that_is_being_made_is_waited_for){
  struct pager *p = open_db(), *q;
  page_no a = create_page(p, 1);
  magic = magic_swap(0);
  at(CALL_SLEEP, "", magic_back);
  REQUIRE_RC( VECDB_OK, watched_open(&q) );
  moment_end();
  CHECK_INT( 1, read_fill(q, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(q) );
  end_world();
}

/* ---- a file that is not there, or another one by now --------------------- */

TEST(life__a_reader_makes_no_file){
  struct pager_config cfg = config();
  struct pager *p = NULL;
  cfg.open_flags = VECDB_OPEN_CREATE|VECDB_OPEN_READONLY;
  CHECK_RC( VECDB_CANTOPEN, vdb_pager_open(&cfg, &err, &p) );
  CHECK_STR( "cannot open \"t.vdb\": there is no such file", err.msg );
  CHECK( !exists("t.vdb") );
  cfg.open_flags = VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE|VECDB_OPEN_NOFOLLOW;
  REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, &err, &p) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
  CHECK( exists("t.vdb") );
  end_world();
}

static int denied_to_write(struct lab_event *e){
  return e->call==CALL_OPEN && !(e->flags & FILE_READONLY) ? VECDB_READONLY
                                                           : VECDB_OK;
}

TEST(life__a_folder_that_may_not_be_written_is_named){
  struct pager *p;
  begin_world();
  on_before = denied_to_write;
  CHECK_RC( VECDB_CANTOPEN, watched_open(&p) );
  CHECK( strstr(err.msg, "no permission to write to its folder")!=NULL );
  end_world();
}

/* Identities that a system may give: of another device, or none. */
static uint64_t dev_off, ino_off;
static const char *id_path;
static int path_id_off(void *env, const char *path, struct file_id *out){
  int rc = world->path_id(world->env, path, out);
  VDB_UNUSED(env);
  if( ends_with(path, id_path) ){
    out->dev += dev_off;
    out->ino += ino_off;
  }
  return rc;
}

/* F5: whoever finds another file under the name writes nothing, and closing
** leaves what is there alone. */
TEST(life__a_file_whose_name_leads_elsewhere_is_not_written){
  for(int dev=0; dev<2; dev++){
    struct pager_config cfg = config();
    struct vecdb_file_ops ops = *world;
    struct pager *p = NULL;
    page_no a;
    ops.path_id = path_id_off;
    id_path = "t.vdb";
    cfg.file = &ops;
    dev_off = ino_off = 0;
    REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, &err, &p) );
    a = create_page(p, 1);
    dev_off = dev;
    ino_off = !dev;
    CHECK_RC( VECDB_READONLY, vdb_pager_begin_write(p) );
    CHECK( strstr(err.msg, "it was moved, replaced or removed")!=NULL );
    CHECK_INT( 1, read_fill(p, a) );
    REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
    CHECK( exists("t.vdb-wal") && exists("t.vdb-shm") );
    p = open_db();
    CHECK_INT( 1, read_fill(p, a) );
    end_world();
  }
}

/* The same for a reader that is alone and would remove -shm. */
TEST(life__a_reader_of_a_file_that_was_replaced_removes_nothing){
  struct pager_config cfg = config();
  struct pager *p = open_db(), *r;
  create_page(p, 1);
  cfg.open_flags = VECDB_OPEN_READONLY;
  r = open_with(&cfg);
  REQUIRE_RC( VECDB_OK, close_db(p) );
  rename_to("t.vdb", "moved.vdb");
  REQUIRE_RC( VECDB_OK, close_db(r) );
  CHECK( exists("t.vdb-shm") && exists("t.vdb-wal") );
  end_world();
}

/* ---- closing at the same moment ------------------------------------------ */

static struct pager *other, *stayed;

static void come_and_go(void){
  struct pager *p = open_db();
  REQUIRE_RC( VECDB_OK, close_db(p) );
  CHECK( !exists("t.vdb-shm") );
}
static void come_and_go_and_leave_one(void){
  static const unsigned char zero[SHM_SIZE];
  come_and_go();
  REQUIRE_RC( VECDB_OK, vdb_file_mem_poke(world, "t.vdb-shm", zero,
                                          sizeof(zero)) );
}
static void come_and_die(void){ magic_swap(0); }
static void move_away(void){ rename_to("t.vdb", "moved.vdb"); }
static void stay(void){ stayed = open_db(); }

/* Nobody else is there at the first look, but for `other`, who goes then. */
static void close_other(struct lab_event *e, int rc){
  struct pager *q = other;
  if( e->call==CALL_LOCK && rc==VECDB_BUSY && q!=NULL ){
    other = NULL;
    CHECK_RC( VECDB_OK, close_db(q) );
    return;
  }
  moment_after(e, rc);
}

/* Between our two looks, when we have let go of the lock, somebody does
** something: what is there then is not ours to finish. */
TEST(life__who_closes_second_finishes_only_what_is_still_its_own){
  static void (*const between[])(void) = {
    come_and_go, come_and_go_and_leave_one, come_and_die, move_away, stay };
  for(size_t i=0; i<VDB_ARRAY_LEN(between); i++){
    struct pager *p = open_watched();
    page_no a = create_page(p, 1);
    other = open_db();
    after(CALL_UNLOCK, "t.vdb", between[i]);
    on_after = close_other;
    CHECK_RC( VECDB_OK, close_db(p) );
    moment_end();
    if( between[i]==move_away ){
      CHECK( exists("t.vdb-wal") );
      rename_to("moved.vdb", "t.vdb");
    }
    if( between[i]==stay ){
      CHECK_INT( 1, read_fill(stayed, a) );
      REQUIRE_RC( VECDB_OK, close_db(stayed) );
    }
    p = open_db();
    CHECK_INT( 1, read_fill(p, a) );
    commit_fill(p, a, 2);
    REQUIRE_RC( VECDB_OK, close_db(p) );
    CHECK( !exists("t.vdb-wal") );
    end_world();
  }
}

static int no_shm_id(struct lab_event *e){
  if( e->call==CALL_ID && ends_with(e->path, "-shm") ) return VECDB_IOERR_READ;
  return VECDB_OK;
}

/* Whose -shm it is cannot be told: it is left as it is. */
TEST(life__a_shm_that_cannot_be_told_is_left){
  for(int dev=0; dev<2; dev++){
    struct pager_config cfg = config();
    struct vecdb_file_ops ops = *layer;
    struct pager *p = NULL;
    page_no a;
    dev_off = ino_off = 0;
    id_path = "-shm";
    if( dev ) ops.path_id = path_id_off;
    cfg.file = &ops;
    REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, &err, &p) );
    a = create_page(p, 1);
    other = open_db();
    on_after = close_other;
    if( dev ) dev_off = 1;
    else on_before = no_shm_id;
    CHECK_RC( VECDB_OK, vdb_pager_close(p) );
    on_before = NULL;
    on_after = NULL;
    CHECK( other==NULL );
    CHECK( exists("t.vdb-wal") );
    p = open_db();
    CHECK_INT( 1, read_fill(p, a) );
    end_world();
  }
}

/* Somebody cleans up for us. */
TEST(life__a_shm_that_is_gone_need_not_be_removed){
  struct pager *p = open_watched();
  create_page(p, 1);
  at(CALL_UNLINK, "-shm", shm_remove);
  CHECK_RC( VECDB_OK, close_db(p) );
  moment_end();
  CHECK( !exists("t.vdb-wal") );
  end_world();
}

/* The last one trims the free end of the file, and that cannot be synced: the
** log stays, and all that was committed. */
TEST(life__a_trim_that_fails_leaves_the_log){
  struct pager *p = open_watched();
  page_no a = create_page(p, 1), last = add_pages(p, 50);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  for(page_no i=0; i<40; i++) free_page(p, last-i);
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
  fail(CALL_SYNC, "-wal", 0, 100);
  CHECK_RC( VECDB_OK, close_db(p) );
  on_before = NULL;
  CHECK( exists("t.vdb-wal") );
  p = open_db();
  CHECK_INT( 1, read_fill(p, a) );
  REQUIRE_RC( VECDB_OK, close_db(p) );
  CHECK( !exists("t.vdb-wal") );
  end_world();
}

/* A checkpoint died before it moved the word: who opens has to sync what the
** header says first, and cannot. */
TEST(life__a_header_that_cannot_be_synced_is_an_error){
  struct pager *p = open_db();
  page_no a = create_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_checkpoint(p, VECDB_CHECKPOINT_FULL, NULL,
                                             NULL) );
  crash_keeping(0);
  fail(CALL_SYNC, "t.vdb", 0, 1);
  CHECK_RC( VECDB_IOERR, watched_open(&p) );
  on_before = NULL;
  REQUIRE_RC( VECDB_OK, watched_open(&p) );
  CHECK_INT( 1, read_fill(p, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
  end_world();
}

/* ---- replacing ----------------------------------------------------------- */

static struct pager *with_copy(void){
  struct pager *p = open_watched();
  create_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_backup(p, "t.new", NULL, NULL) );
  return p;
}

TEST(replace__takes_no_copy_that_is_damaged_or_of_another_kind){
  struct pager_config cfg;
  struct pager *p = with_copy(), *q = NULL;
  struct image im = image_take("t.new");
  im.p[2*4096 + 100] ^= 1;                 /* the root page */
  image_put("t.new", im);
  CHECK_RC( VECDB_CORRUPT_CHECKSUM, vdb_pager_replace_file(p, "t.new") );
  vdb_free(im.p);
  REQUIRE_RC( VECDB_OK, world->unlink(world->env, "t.new", &err) );
  cfg = config();
  cfg.path = "t.new";
  cfg.sz_page = 8192;
  REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, &err, &q) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(q) );
  CHECK_RC( VECDB_MISUSE, vdb_pager_replace_file(p, "t.new") );
  CHECK( strstr(err.msg, "has another page size or is not finished")!=NULL );
  REQUIRE_RC( VECDB_OK, world->unlink(world->env, "t.new", &err) );
  REQUIRE_RC( VECDB_OK, vdb_pager_backup(p, "t.new", NULL, NULL) );
  im = image_take("t.new");
  for(int k=0; k<2; k++){                  /* in the middle of a checkpoint */
    unsigned char *slot = im.p + HEADER_SLOT_OFF(k);
    put_u16(slot + HDRSLOT_FLAGS, HEADER_CHECKPOINTING);
    put_u64(slot + HDRSLOT_TARGET, get_u64(slot + HDRSLOT_TXID) + 5);
    put_u32(slot + HDRSLOT_CRC, vdb_crc32c(0, slot, HDRSLOT_CRC));
  }
  image_put("t.new", im);
  vdb_free(im.p);
  CHECK_RC( VECDB_MISUSE, vdb_pager_replace_file(p, "t.new") );
  CHECK( exists("t.new") );
  end_world();
}

TEST(replace__is_for_those_who_may_write){
  struct pager_config cfg = config();
  struct pager *p = with_copy();
  cfg.open_flags = VECDB_OPEN_READONLY;
  REQUIRE_RC( VECDB_OK, close_db(p) );
  p = open_with(&cfg);
  CHECK_RC( VECDB_READONLY, vdb_pager_replace_file(p, "t.new") );
  end_world();
}

/* What is undecided is in the log alone. */
TEST(replace__keeps_what_is_undecided){
  struct pager *p = open_db();
  page_no a = create_page(p, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  set_page(p, a, 2);
  REQUIRE_RC( VECDB_OK, vdb_pager_prepare(p, host, 3) );
  crash_keeping(0);
  p = open_db();
  CHECK_INT( 1, read_fill(p, a) );
  REQUIRE_RC( VECDB_OK, vdb_pager_backup(p, "t.new", NULL, NULL) );
  CHECK_RC( VECDB_BUSY, vdb_pager_replace_file(p, "t.new") );
  CHECK( strstr(err.msg, "its log is still needed")!=NULL );
  REQUIRE_RC( VECDB_OK, vdb_pager_decide(p, true, false) );
  CHECK_INT( 2, read_fill(p, a) );
  end_world();
}

static void wal_remove(void){
  REQUIRE_RC( VECDB_OK, world->unlink(world->env, "t.vdb-wal", &err) );
}

TEST(replace__a_log_that_is_gone_need_not_be_removed){
  struct pager *p = with_copy();
  at(CALL_UNLINK, "-wal", wal_remove);
  CHECK_RC( VECDB_OK, vdb_pager_replace_file(p, "t.new") );
  moment_end();
  end_world();
}

/* ---- readers without shared memory --------------------------------------- */

static int may_only_read(struct lab_event *e){
  if( e->call==CALL_OPEN && !(e->flags & FILE_READONLY) ) return VECDB_READONLY;
  return moment_before(e);
}

static struct pager *open_view(void){
  struct pager *v;
  on_before = may_only_read;
  v = open_watched();
  CHECK( fstore_of(v->store)->mode==FSTORE_VIEW );
  return v;
}

/* Sessions remove their log: the next one's has the same name. */
TEST(view__finds_the_log_of_the_next_session){
  struct pager *w = open_db(), *v;
  page_no a = create_page(w, 1);
  v = open_view();
  for(int i=2; i<5; i++){
    commit_fill(w, a, (unsigned char)i);
    CHECK_INT( i, read_fill(v, a) );
    REQUIRE_RC( VECDB_OK, close_db(w) );
    w = open_db();
    commit_fill(w, a, (unsigned char)(10*i));
    CHECK_INT( 10*i, read_fill(v, a) );
  }
  end_world();
}

static int no_wal_id(struct lab_event *e){
  if( e->call==CALL_ID && ends_with(e->path, "-wal") ) return VECDB_IOERR_READ;
  return may_only_read(e);
}

/* A log that cannot be told to be the same is opened again. */
TEST(view__reads_a_log_whose_identity_is_unknown){
  struct pager_config cfg = config();
  struct vecdb_file_ops ops = *layer;
  struct undo_tokens tok;
  struct pager_stats st;
  struct pager *w = open_db(), *v = NULL;
  page_no a = create_page(w, 1);
  bool yes = true;
  ops.path_id = path_id_off;
  dev_off = ino_off = 0;
  id_path = "-wal";
  on_before = no_wal_id;
  cfg.file = &ops;
  REQUIRE_RC( VECDB_OK, vdb_pager_open(&cfg, &err, &v) );
  for(int i=2; i<8; i++){
    dev_off = i%3==1;
    on_before = i%3==2 ? no_wal_id : may_only_read;
    commit_fill(w, a, (unsigned char)i);
    CHECK_INT( i, read_fill(v, a) );
  }
  REQUIRE_RC( VECDB_OK, vdb_pager_stats(v, &st) );
  CHECK( st.ckpt_txid<st.txid );
  CHECK_RC( VECDB_OK, vdb_pager_undoable(v, &yes, &tok) );
  CHECK( !yes );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(v) );
  end_world();
}

static struct image wal_whole;
static void wal_mend(void){ image_put("t.vdb-wal", wal_whole); }

/* A frame that is damaged may be one that is being written: the view looks
** again, and says what it is if it stays so. */
TEST(view__rot_is_told_when_it_stays){
  struct pager *w = open_db(), *v;
  struct image im;
  page_no a = create_page(w, 1);
  for(int i=2; i<6; i++) commit_fill(w, a, (unsigned char)i);
  wal_whole = image_take("t.vdb-wal");
  im = image_take("t.vdb-wal");
  v = open_view();
  CHECK_INT( 5, read_fill(v, a) );
  im.p[WALHDR_SIZE + FRAME_SIZE + 100] ^= 1;
  image_put("t.vdb-wal", im);
  at(CALL_SLEEP, "", wal_mend);
  on_before = may_only_read;
  CHECK_INT( 5, read_fill(v, a) );
  moment_end();
  image_put("t.vdb-wal", im);
  CHECK_RC( VECDB_CORRUPT_WAL, vdb_pager_begin_read(v) );
  CHECK( strstr(err.msg, "is damaged although it was synced")!=NULL );
  wal_mend();
  CHECK_INT( 5, read_fill(v, a) );
  CHECK_RC( VECDB_OK, vdb_pager_checkpoint(w, VECDB_CHECKPOINT_FULL, NULL,
                                           NULL) );    /* no lock is left */
  vdb_free(im.p);
  vdb_free(wal_whole.p);
  end_world();
}

TEST(view__failures_are_told_and_leave_no_lock){
  struct pager *w = open_db(), *v;
  struct vdb_file *f = NULL;
  page_no a = create_page(w, 1);
  v = open_view();
  fail(CALL_READ, "t.vdb", 0, 1);          /* the header */
  CHECK_RC( VECDB_IOERR, vdb_pager_begin_read(v) );
  fail(CALL_READ, "t.vdb-wal", 1, 1);
  CHECK_RC( VECDB_IOERR, vdb_pager_begin_read(v) );
  fail(CALL_LOCK, "t.vdb", 0, 1);
  CHECK_RC( VECDB_IOERR, vdb_pager_begin_read(v) );
  CHECK( strstr(err.msg, "cannot lock")!=NULL );
  on_before = NULL;
  REQUIRE_RC( VECDB_OK, world->open(world->env, "t.vdb", 0, &f, NULL) );
  REQUIRE_RC( VECDB_OK, world->lock(f, LOCK_VIEW, LOCK_EXCLUSIVE, NULL) );
  CHECK_RC( VECDB_BUSY, vdb_pager_begin_read(v) );
  CHECK( strstr(err.msg, "a checkpoint is under way")!=NULL );
  world->close(f);
  CHECK_RC( VECDB_OK, vdb_pager_checkpoint(w, VECDB_CHECKPOINT_FULL, NULL,
                                           NULL) );
  CHECK_INT( 1, read_fill(v, a) );
  end_world();
}
