/* t_slots.c -- reader slots (pager/shm.c): who reads which state, and what
** that holds back; among connections, threads of time, deaths and forks.
*/
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vt.h"
#include "vecdb.h"
#include "pager/fstore.h"

static struct vecdb_file_ops *world;
static struct vdb_err err;

static struct pager *open_on(const struct vecdb_file_ops *ops,
                             const char *path){
  struct pager_config cfg;
  struct pager *p = NULL;
  memset(&cfg, 0, sizeof(cfg));
  cfg.path = path;
  cfg.open_flags = VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE;
  cfg.file = ops;
  if( vdb_pager_open(&cfg, &err, &p)!=VECDB_OK ) FAIL("%s", err.msg);
  REQUIRE( p!=NULL );
  return p;
}

static struct pager *open_db(void){
  if( world==NULL ){
    REQUIRE_RC( VECDB_OK, vdb_file_mem_create(1, &world) );
  }
  return open_on(world, "t.vdb");
}

static void end_world(void){
  vdb_file_mem_destroy(world);
  world = NULL;
}

static void close_db(struct pager *p){
  REQUIRE_RC( VECDB_OK, vdb_pager_close(p) );
}

/* The whole content: one word of the root page. */
static void commit_word(struct pager *p, uint64_t v){
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(p) );
  REQUIRE_RC( VECDB_OK, vdb_root_set(p, ROOT_NEXT_COLLECTION, v) );
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(p) );
}

static uint64_t word(struct pager *p){
  uint64_t v = ~(uint64_t)0;
  REQUIRE_RC( VECDB_OK, vdb_root_get(p, ROOT_NEXT_COLLECTION, &v) );
  return v;
}

static uint64_t read_word(struct pager *p){
  uint64_t v;
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(p) );
  v = word(p);
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(p) );
  return v;
}

static int checkpoint(struct pager *p, int mode){
  uint64_t n_log = 0, n_done = 0;
  int rc = vdb_pager_checkpoint(p, mode, &n_log, &n_done);
  if( rc==VECDB_OK ) CHECK_U64( n_log, n_done );
  return rc;
}

/* ---- what readers hold back ---------------------------------------------- */

TEST(slots__a_reader_between_transactions_holds_nothing_back){
  struct pager *w = open_db(), *r = open_db();
  commit_word(w, 1);
  CHECK_U64( 1, read_word(r) );
  commit_word(w, 2);
  CHECK_RC( VECDB_OK, checkpoint(w, VECDB_CHECKPOINT_TRUNCATE) );
  commit_word(w, 3);
  CHECK_RC( VECDB_OK, checkpoint(w, VECDB_CHECKPOINT_TRUNCATE) );
  CHECK_U64( 3, read_word(r) );
  close_db(r);
  close_db(w);
  end_world();
}

TEST(slots__a_reader_keeps_its_state_each_time_it_comes_back){
  struct pager *w = open_db(), *r = open_db();
  for(uint64_t i=1; i<20; i++){
    commit_word(w, i);
    if( i%3==0 ) CHECK_RC( VECDB_OK, checkpoint(w, VECDB_CHECKPOINT_TRUNCATE) );
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(r) );
    CHECK_U64( i, word(r) );
    commit_word(w, 100+i);
    CHECK_RC( VECDB_BUSY, checkpoint(w, VECDB_CHECKPOINT_FULL) );
    CHECK_U64( i, word(r) );
    REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r) );
    CHECK_RC( VECDB_OK, checkpoint(w, VECDB_CHECKPOINT_FULL) );
  }
  close_db(r);
  close_db(w);
  end_world();
}

/* A writer that was a reader restarts the log: its own slot is not in the
** way. */
TEST(slots__the_slot_of_a_writer_lets_it_restart_the_log){
  struct pager *w = open_db();
  commit_word(w, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(w) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(w) );
  REQUIRE_RC( VECDB_OK, vdb_root_set(w, ROOT_NEXT_COLLECTION, 2) );
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(w) );
  CHECK_RC( VECDB_OK, checkpoint(w, VECDB_CHECKPOINT_RESTART) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(w) );
  CHECK_U64( 2, word(w) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_write(w) );
  REQUIRE_RC( VECDB_OK, vdb_root_set(w, ROOT_NEXT_COLLECTION, 3) );
  REQUIRE_RC( VECDB_OK, vdb_pager_commit(w) );
  CHECK_U64( 3, read_word(w) );
  close_db(w);
  end_world();
}

/* H3: somebody has locked a slot and not come to set it. */
TEST(slots__one_that_was_never_set_hides_none_behind_it){
  struct pager *w = open_db(), *r = open_db();
  struct vdb_file *shm = NULL;
  commit_word(w, 1);                                    /* owns slot 0 */
  REQUIRE_RC( VECDB_OK, world->open(world->env, "t.vdb-shm", 0, &shm, &err) );
  REQUIRE_RC( VECDB_OK, world->lock(shm, LOCK_SLOT(1), LOCK_EXCLUSIVE, NULL) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(r) );
  commit_word(w, 2);
  CHECK_RC( VECDB_BUSY, checkpoint(w, VECDB_CHECKPOINT_FULL) );
  CHECK_U64( 1, word(r) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r) );
  CHECK_RC( VECDB_OK, checkpoint(w, VECDB_CHECKPOINT_FULL) );
  REQUIRE_RC( VECDB_OK, world->close(shm) );
  close_db(r);
  close_db(w);
  end_world();
}

/* ---- how many ------------------------------------------------------------ */

/* Who reads first owns a slot; further connections share 120 others. */
enum { N_MORE = 130 };
/* A word in the slot of one that does not read: somebody lies. Whoever looks
** keeps the slot; shared with another it would protect neither. */
TEST(slots__an_owner_keeps_its_slot_whatever_it_says){
  struct pager *a = open_db(), *b = open_db();
  struct fstore *fs = fstore_of(a->store), *other = fstore_of(b->store);
  commit_word(a, 1);
  CHECK_U64( 1, read_word(a) );
  REQUIRE( fs->i_own>=0 && fs->i_slot<0 );
  fs->ops->shm_store(fs->shm, SHM_SLOTS + 8*(size_t)fs->i_own,
                     SLOT_WORD(1, false));
  commit_word(b, 2);
  CHECK_RC( VECDB_OK, checkpoint(a, VECDB_CHECKPOINT_PASSIVE) );
  CHECK_RC( VECDB_BUSY, other->ops->lock(other->shm, LOCK_SLOT(fs->i_own),
                                         LOCK_EXCLUSIVE, NULL) );
  CHECK_U64( 2, read_word(a) );
  close_db(a);
  close_db(b);
  end_world();
}

TEST(slots__there_are_120_besides_the_owned_for_any_number_of_readers){
  struct pager *w = open_db(), *own[N_OWN] = { NULL }, *r[N_MORE] = { NULL };
  commit_word(w, 0);
  for(int i=0; i<N_OWN-1; i++){       /* w is one, too */
    own[i] = open_db();
    REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(own[i]) );
    if( i%2 ) REQUIRE_RC( VECDB_OK, vdb_pager_end_read(own[i]) );
  }
  for(uint64_t i=0; i<N_MORE; i++){
    r[i] = open_db();
    if( i<120 ) commit_word(w, i+1);
    CHECK_RC( VECDB_OK, vdb_pager_begin_read(r[i]) );
  }
  for(uint64_t i=0; i<N_MORE; i++) CHECK_U64( i<120 ? i+1 : 120, word(r[i]) );
  for(int i=0; i<N_OWN-1; i+=2) CHECK_U64( 0, word(own[i]) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r[129]) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(r[129]) );     /* shares again */
  commit_word(w, 121);
  CHECK_U64( 121, read_word(own[1]) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r[129]) );
  CHECK_RC( VECDB_BUSY, vdb_pager_begin_read(r[129]) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r[60]) );
  CHECK_U64( 121, read_word(r[129]) );
  for(int i=0; i<N_MORE; i++) close_db(r[i]);
  for(int i=0; i<N_OWN-1; i++) close_db(own[i]);
  close_db(w);
  end_world();
}

static unsigned n_lock;
static int (*world_lock)(struct vdb_file *f, uint64_t byte,
                         enum file_lock_kind kind, int64_t *pid);
static int lock_counted(struct vdb_file *f, uint64_t byte,
                        enum file_lock_kind kind, int64_t *pid){
  n_lock++;
  return world_lock(f, byte, kind, pid);
}

TEST(slots__a_read_takes_no_lock_but_the_first){
  struct vecdb_file_ops ops;
  struct pager *w = open_db(), *r;
  ops = *world;
  world_lock = world->lock;
  ops.lock = lock_counted;
  r = open_on(&ops, "t.vdb");
  commit_word(w, 1);
  CHECK_U64( 1, read_word(r) );
  n_lock = 0;
  for(uint64_t i=2; i<50; i++){
    commit_word(w, i);
    CHECK_U64( i, read_word(r) );
    CHECK_U64( i, read_word(r) );
  }
  CHECK_U64( 0, n_lock );
  close_db(r);
  close_db(w);
  end_world();
}

/* ---- processes ----------------------------------------------------------- */

static void child_join(pid_t pid, int sig){
  int status = 0;
  REQUIRE( waitpid(pid, &status, 0)==pid );
  if( sig ) CHECK_INT( sig, WIFSIGNALED(status) ? WTERMSIG(status) : 0 );
  else CHECK( WIFEXITED(status) && WEXITSTATUS(status)==0 );
}

TEST(slots__of_the_dead_are_free){
  const char *path = vt_path("dead.vdb");
  struct pager *w = open_on(NULL, path);
  pid_t pid;
  commit_word(w, 1);
  for(int in_read=0; in_read<2; in_read++){
    pid = fork();
    if( pid==0 ){
      struct pager *r = open_on(NULL, path);
      vdb_pager_begin_read(r);
      if( !in_read ) vdb_pager_end_read(r);
      raise(SIGKILL);
    }
    child_join(pid, SIGKILL);
    commit_word(w, 2);
    CHECK_RC( VECDB_OK, checkpoint(w, VECDB_CHECKPOINT_TRUNCATE) );
  }
  CHECK_U64( 2, read_word(w) );
  close_db(w);
}

/* The child ends a read that its parent began: the parent's stays. */
TEST(slots__a_child_of_fork_does_not_give_back_its_parents){
  const char *path = vt_path("fork.vdb");
  struct pager *w = open_on(NULL, path), *r = open_on(NULL, path);
  pid_t pid;
  commit_word(w, 1);
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(r) );
  pid = fork();
  if( pid==0 ){
    bool ok = vdb_pager_end_read(r)==VECDB_OK
           && vdb_pager_begin_read(r)==VECDB_MISUSE;
    vdb_pager_close(r);
    vt_exit_child(ok ? 0 : 1);
  }
  child_join(pid, 0);
  commit_word(w, 2);
  CHECK_RC( VECDB_BUSY, checkpoint(w, VECDB_CHECKPOINT_FULL) );
  CHECK_U64( 1, word(r) );
  REQUIRE_RC( VECDB_OK, vdb_pager_end_read(r) );
  CHECK_RC( VECDB_OK, checkpoint(w, VECDB_CHECKPOINT_FULL) );
  close_db(r);
  close_db(w);
}

/* As some languages fork: without the C library, hence its handlers. */
TEST(slots__a_child_that_ran_no_handlers_is_known_too){
  struct pager *r = open_on(NULL, vt_path("clone.vdb"));
  pid_t pid;
  commit_word(r, 1);
  CHECK_U64( 1, read_word(r) );
  pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  if( pid==0 ) vt_exit_child(vdb_pager_begin_read(r)!=VECDB_MISUSE);
  child_join(pid, 0);
  CHECK_U64( 1, read_word(r) );
  close_db(r);
}
