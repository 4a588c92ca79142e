/* t_lab.c -- the lab itself: does it see what it is there to see? A harness
** that finds nothing may be blind, so small programs with known bugs are put
** before it. */
#include "vt.h"
#include "util/crc32c.h"
#include "util/bytes.h"
#include "lab/lib_crash.h"
#include "lab/lib_fault.h"
#include "lab/lib_sched.h"

/* ---- a program that replaces a file -------------------------------------- */

/* Bugs that the replacement of "a" by the finished "a-new" may have. */
enum replace_bug { REPLACE_RIGHT, REPLACE_NO_SYNC, REPLACE_NO_DIR_SYNC,
                   REPLACE_IN_PLACE };

static void replace_file(const struct vecdb_file_ops *ops, int value,
                         enum replace_bug bug){
  const char *path = bug==REPLACE_IN_PLACE ? "a" : "a-new";
  struct vdb_file *f = NULL;
  unsigned char page[2048];

  memset(page, value, sizeof(page));
  ops->open(ops->env, path, FILE_CREATE, &f, NULL);
  f->ops->write(f, 0, page, sizeof(page), NULL);
  if( bug!=REPLACE_NO_SYNC ) f->ops->sync(f, NULL);
  f->ops->close(f);
  if( bug==REPLACE_IN_PLACE ) return;
  ops->rename(ops->env, "a-new", "a", NULL);
  if( bug!=REPLACE_NO_DIR_SYNC ) ops->sync_dir(ops->env, "a", NULL);
}

/* The state is the byte that fills the file, which must be whole. */
static int replace_probe(void *arg, const struct crash_image *img){
  (void)arg;
  for(size_t i=0; i<img->n_file; i++){
    const struct crash_image_file *f = &img->files[i];
    if( strcmp(f->path, "a")!=0 ) continue;
    if( f->n!=2048 ) return -1;
    for(size_t k=1; k<f->n; k++) if( f->p[k]!=f->p[0] ) return -1;
    return f->p[0];
  }
  return -1;
}

/* Replace the file three times; did any image break the rules? */
static bool replace_fails(enum replace_bug bug, size_t *n_image){
  struct crash_plan plan = { vt_seed(), 1000, 0 };
  struct crash_seen *seen = crash_seen_create();
  struct vecdb_file_ops *mem = NULL;
  struct crash_log *log;
  bool failed = false;

  REQUIRE_RC( VECDB_OK, vdb_file_mem_create(1, &mem) );
  replace_file(mem, 0, REPLACE_RIGHT);
  log = crash_log_create(mem);
  for(int i=1; i<=3; i++){
    crash_mark(log, i-1, i, false);
    replace_file(crash_log_ops(log), i, bug);
    crash_mark(log, i, i, false);
  }
  *n_image = crash_explore(log, &plan, seen, replace_probe, NULL, &failed);
  CHECK_U64( *n_image, crash_seen_count(seen) );
  crash_log_destroy(log);
  crash_seen_destroy(seen);
  vdb_file_mem_destroy(mem);
  return failed;
}

TEST(lab_crash__accepts_a_replacement_that_is_right){
  size_t n = 0;
  CHECK( !replace_fails(REPLACE_RIGHT, &n) );
  CHECK( n>20 );
}
TEST(lab_crash__finds_a_rename_before_the_sync){
  size_t n;
  CHECK( replace_fails(REPLACE_NO_SYNC, &n) );
}
TEST(lab_crash__finds_a_folder_never_synced){
  size_t n;
  CHECK( replace_fails(REPLACE_NO_DIR_SYNC, &n) );
}
TEST(lab_crash__finds_torn_writes_in_place){
  size_t n;
  CHECK( replace_fails(REPLACE_IN_PLACE, &n) );
}

/* ---- a program that appends to a log ------------------------------------- */

/* A record is 700 bytes: number, filling, checksum. */
enum append_bug { APPEND_RIGHT, APPEND_NO_CHECKSUM, APPEND_NO_SYNC };
enum { RECORD = 700 };

static void append_record(const struct vecdb_file_ops *ops, int i,
                          enum append_bug bug){
  unsigned char rec[RECORD];
  struct vdb_file *f = NULL;

  memset(rec, i, sizeof(rec));
  put_u32(rec, (uint32_t)i);
  put_u32(rec + RECORD - 4, vdb_crc32c(0, rec, RECORD - 4));
  ops->open(ops->env, "log", FILE_CREATE, &f, NULL);
  f->ops->write(f, (uint64_t)(i-1)*RECORD, rec, sizeof(rec), NULL);
  if( bug!=APPEND_NO_SYNC ) f->ops->sync(f, NULL);
  f->ops->close(f);
  if( i==1 ) ops->sync_dir(ops->env, "log", NULL);
}

/* The state is the number of records that are there; -1 when the last is not
** what was written. */
static int append_probe(void *arg, const struct crash_image *img){
  enum append_bug bug = *(enum append_bug*)arg;
  int n = 0;
  if( img->n_file==0 ) return 0;
  for(; (size_t)(n+1)*RECORD<=img->files[0].n; n++){
    const unsigned char *rec = img->files[0].p + (size_t)n*RECORD;
    if( bug==APPEND_NO_CHECKSUM ){
      if( get_u32(rec)==0 ) break;
      if( rec[300]!=n+1 || rec[600]!=n+1 ) return -1;
    }else if( get_u32(rec + RECORD - 4)!=vdb_crc32c(0, rec, RECORD - 4)
           || get_u32(rec)!=(uint32_t)n+1 ){
      break;
    }
  }
  return n;
}

static bool append_fails(enum append_bug bug, size_t *n_image){
  struct crash_plan plan = { vt_seed(), 1000, 0 };
  struct crash_seen *seen = crash_seen_create();
  struct vecdb_file_ops *mem = NULL;
  struct crash_log *log;
  bool failed = false;

  REQUIRE_RC( VECDB_OK, vdb_file_mem_create(1, &mem) );
  log = crash_log_create(mem);
  for(int i=1; i<=5; i++){
    crash_mark(log, i-1, i, false);
    append_record(crash_log_ops(log), i, bug);
    crash_mark(log, i, i, false);
  }
  *n_image = crash_explore(log, &plan, seen, append_probe, &bug, &failed);
  crash_log_destroy(log);
  crash_seen_destroy(seen);
  vdb_file_mem_destroy(mem);
  return failed;
}

TEST(lab_crash__accepts_a_log_that_is_right){
  size_t n = 0;
  CHECK( !append_fails(APPEND_RIGHT, &n) );
  CHECK( n>50 );
}
TEST(lab_crash__finds_a_record_without_checksum){
  size_t n;
  CHECK( append_fails(APPEND_NO_CHECKSUM, &n) );
}
TEST(lab_crash__finds_a_commit_that_is_not_synced){
  size_t n;
  CHECK( append_fails(APPEND_NO_SYNC, &n) );
}

/* Shared memory is in no image as it was, except where it is called stale. */
static int shm_probe(void *arg, const struct crash_image *img){
  bool *seen_stale = arg;
  for(size_t i=0; i<img->n_file; i++){
    if( strcmp(img->files[i].path, "a-shm")==0 && img->files[i].n>=8
     && get_u64(img->files[i].p)==42 ){
      CHECK( strstr(img->what, "stale") || strstr(img->what, "random") );
      *seen_stale = true;
    }
  }
  return 0;
}

TEST(lab_crash__loses_shared_memory){
  struct crash_plan plan = { 1, 1000, 0 };
  struct crash_seen *seen = crash_seen_create();
  struct vecdb_file_ops *mem = NULL;
  struct vdb_file *f, *m;
  const struct vecdb_file_ops *ops;
  struct crash_log *log;
  bool stale = false, failed;

  REQUIRE_RC( VECDB_OK, vdb_file_mem_create(1, &mem) );
  log = crash_log_create(mem);
  ops = crash_log_ops(log);
  REQUIRE_RC( VECDB_OK, ops->open(ops->env, "a", FILE_CREATE, &f, NULL) );
  REQUIRE_RC( VECDB_OK, ops->open(ops->env, "a-shm", FILE_CREATE, &m, NULL) );
  REQUIRE_RC( VECDB_OK, m->ops->shm_map(m, 64, NULL) );
  m->ops->shm_store(m, 0, 42);
  REQUIRE_RC( VECDB_OK, f->ops->write(f, 0, "x", 1, NULL) );
  f->ops->close(f);
  m->ops->close(m);
  CHECK( crash_explore(log, &plan, seen, shm_probe, &stale, &failed)>3 );
  CHECK( stale && !failed );
  crash_log_destroy(log);
  crash_seen_destroy(seen);
  vdb_file_mem_destroy(mem);
}

/* ---- faults -------------------------------------------------------------- */

TEST(lab_fault__fails_the_nth_call_once_or_for_ever){
  struct vecdb_file_ops *mem = NULL;
  struct fault *fault;
  const struct vecdb_file_ops *ops;
  struct vdb_file *f = NULL;
  struct vdb_err err = {0};

  REQUIRE_RC( VECDB_OK, vdb_file_mem_create(1, &mem) );
  fault = fault_create(mem);
  ops = fault_ops(fault);
  REQUIRE_RC( VECDB_OK, ops->open(ops->env, "a", FILE_CREATE, &f, NULL) );
  fault_set(fault, CALL_SYNC, FAULT_EIO, 2, false);
  CHECK_RC( VECDB_OK, f->ops->sync(f, NULL) );
  CHECK_RC( VECDB_IOERR_SYNC, f->ops->sync(f, &err) );
  CHECK( strstr(err.msg, "injected EIO")!=NULL );
  CHECK_RC( VECDB_OK, f->ops->sync(f, NULL) );
  CHECK_U64( 1, fault_fired(fault) );
  fault_set(fault, CALL_SYNC, FAULT_EIO, 2, true);
  CHECK_RC( VECDB_OK, f->ops->sync(f, NULL) );
  CHECK_RC( VECDB_IOERR_SYNC, f->ops->sync(f, NULL) );
  CHECK_RC( VECDB_IOERR_SYNC, f->ops->sync(f, NULL) );
  CHECK_RC( VECDB_OK, f->ops->write(f, 0, "x", 1, NULL) );
  CHECK_U64( 2, fault_fired(fault) );
  CHECK_U64( 6, fault_count(fault, CALL_SYNC) );
  fault_set(fault, CALL_SYNC, FAULT_EIO, 0, false);
  CHECK_RC( VECDB_OK, f->ops->sync(f, NULL) );
  f->ops->close(f);
  fault_destroy(fault);
  vdb_file_mem_destroy(mem);
}

/* A disk that is full has taken the first half; reading goes on. */
TEST(lab_fault__leaves_half_of_a_failed_write){
  struct vecdb_file_ops *mem = NULL;
  struct fault *fault;
  const struct vecdb_file_ops *ops;
  struct vdb_file *f = NULL;
  char buf[8] = {0};

  REQUIRE_RC( VECDB_OK, vdb_file_mem_create(1, &mem) );
  fault = fault_create(mem);
  ops = fault_ops(fault);
  REQUIRE_RC( VECDB_OK, ops->open(ops->env, "a", FILE_CREATE, &f, NULL) );
  fault_set(fault, CALL_WRITE, FAULT_ENOSPC, 1, true);
  CHECK_RC( VECDB_FULL, f->ops->write(f, 0, "abcdef", 6, NULL) );
  CHECK_RC( VECDB_IOERR_SHORT_READ, vdb_file_read_full(f, 0, buf, 6, NULL) );
  CHECK_STR( "abc", buf );
  fault_set(fault, CALL_READ, FAULT_ENOSPC, 1, true);
  CHECK_RC( VECDB_OK, vdb_file_read_full(f, 0, buf, 3, NULL) );
  CHECK_U64( 0, fault_fired(fault) );
  f->ops->close(f);
  fault_destroy(fault);
  vdb_file_mem_destroy(mem);
}

/* ---- schedules ----------------------------------------------------------- */

/* How actors add one to a shared word. */
enum add_way { ADD_PLAIN, ADD_CAS, ADD_LOCKED };

struct adder { const struct vecdb_file_ops *ops; enum add_way way; };

static void adder_run(void *arg){
  struct adder *a = arg;
  struct vdb_file *f = NULL;
  a->ops->open(a->ops->env, "shm", FILE_CREATE, &f, NULL);
  f->ops->shm_map(f, 64, NULL);
  for(int i=0; i<3; i++){
    while( a->way==ADD_LOCKED
        && f->ops->lock(f, 0, LOCK_EXCLUSIVE, NULL)==VECDB_BUSY ){
      a->ops->sleep_ms(a->ops->env, 1);
    }
    for(;;){
      uint64_t v = f->ops->shm_load(f, 0);
      if( a->way!=ADD_CAS ) f->ops->shm_store(f, 0, v + 1);
      else if( !f->ops->shm_cas(f, 0, v, v + 1) ) continue;
      break;
    }
    if( a->way==ADD_LOCKED ) f->ops->unlock(f, 0);
  }
  f->ops->close(f);
}

/* In how many of n schedules is an addition lost? */
static int lost_additions(enum add_way way, int n, bool kill_one){
  int n_lost = 0;
  for(int i=0; i<n; i++){
    struct vecdb_file_ops *mem = NULL;
    const unsigned char *p;
    struct sched *s;
    struct adder a;
    size_t sz;
    uint64_t v;
    REQUIRE_RC( VECDB_OK, vdb_file_mem_create(1, &mem) );
    s = sched_create(mem, vt_seed() + (uint64_t)i);
    a.ops = sched_ops(s);
    a.way = way;
    for(int k=0; k<3; k++) sched_spawn(s, adder_run, &a);
    if( kill_one ) sched_kill_at(s, 1, 1 + (uint64_t)(i % 17));
    CHECK( sched_run(s) );
    REQUIRE_RC( VECDB_OK, vdb_file_mem_peek(mem, "shm", &p, &sz) );
    v = get_u64(p);
    n_lost += kill_one ? v<6 || v>9 : v!=9;
    sched_destroy(s);
    vdb_file_mem_destroy(mem);
  }
  return n_lost;
}

TEST(lab_sched__finds_a_lost_update){
  CHECK( lost_additions(ADD_PLAIN, 100, false)>5 );
}
TEST(lab_sched__accepts_what_is_right){
  CHECK_INT( 0, lost_additions(ADD_CAS, 100, false) );
  CHECK_INT( 0, lost_additions(ADD_LOCKED, 100, false) );
}
/* The locks of the dead vanish. */
TEST(lab_sched__buries_the_dead){
  CHECK_INT( 0, lost_additions(ADD_LOCKED, 100, true) );
}
