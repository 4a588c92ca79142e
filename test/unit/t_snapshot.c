/* t_snapshot.c -- what readers see: snapshots, their limits, and reading
** without the right to write. */
#include "unit/lib_world.h"

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

/* ---- races --------------------------------------------------------------- */

static struct pager *racer;            /* commits whenever a slot was set */
static page_no racer_page;
static int n_race;

static void commit_after_slot(struct lab_event *e, int rc){
  if( e->call!=CALL_SHM_STORE || e->off<SHM_SLOTS || n_race<=0 ) return;
  VDB_UNUSED(rc);
  n_race--;
  commit_fill(racer, racer_page, (unsigned char)n_race);
}

/* A state that is no longer the newest when its slot is set is given up; a
** reader that is always too late says so instead of looking for ever. */
TEST(snapshot__a_state_that_is_overtaken_is_taken_anew){
  struct pager *r;
  racer = open_db();
  racer_page = create_page(racer, 1);
  r = open_watched();
  for(int n=1; n<6; n+=4){
    n_race = n;
    on_after = commit_after_slot;
    CHECK_INT( 0, read_fill(r, racer_page) );
    on_after = NULL;
    CHECK_INT( 0, n_race );
  }
  n_race = 1<<30;
  on_after = commit_after_slot;
  CHECK_RC( VECDB_BUSY, vdb_pager_begin_read(r) );
  on_after = NULL;
  CHECK( strstr(err.msg, "it changes too quickly")!=NULL );
  CHECK_INT( (int)(unsigned char)n_race, read_fill(r, racer_page) );
  end_world();
}
