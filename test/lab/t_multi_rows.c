/* t_multi_rows.c -- many processes on one database, through vecdb.h: writers,
** readers, and all upkeep at once.
**
** Two writers move money between rows; each transaction also appends a row to
** a journal, with the writer's own sequence. Two readers check, inside each
** snapshot, that the sum is what it always was, that every writer's journal
** has no gap, and that an exact search of the accounts finds all of them. One
** process merges, one copies the file and examines the copy, one checkpoints
** in every mode, one opens and closes. Nobody may see anything but BUSY. */
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/api.h"
#include "pager/file.h"
#include "util/rng.h"

enum { N_ACCOUNT = 40, BALANCE = 1000, N_WRITER = 2, DIMS = 4 };

struct bank {
  vecdb *db;
  vecdb_collection *accounts, *journal;
  const char *path;
  int id;                              /* of this process */
  int64_t seq;                         /* of a writer: its last entry */
  struct vdb_rng rng;
};

typedef int (*turn_fn)(struct bank *b);

static int64_t clock_ms(void){
  return vdb_file_posix.now_ms(NULL);
}

static void bank_die(struct bank *b, const char *doing, int rc){
  printf("  process %d: %s: %s, %s\n", b->id, doing, vecdb_errname(rc),
         b->db ? vecdb_errmsg(b->db) : "");
  fflush(stdout);
  _exit(1);
}

static void must(struct bank *b, const char *doing, int rc){
  if( rc!=VECDB_OK && rc!=VECDB_DONE && rc!=VECDB_ROW ) bank_die(b, doing, rc);
}

static void bank_open(struct bank *b, const char *path){
  vecdb_options o = VECDB_OPTIONS_INIT;
  o.busy_ms = 30000;
  o.threads = 1;
  o.sync = VECDB_SYNC_OFF;             /* processes die, the machine does not */
  o.wal_bytes = 512<<10;
  must(b, "open", vecdb_open(path, VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE, &o,
                             &b->db));
}

static void bank_enter(struct bank *b){
  bank_open(b, b->path);
  must(b, "accounts", vecdb_collection_open(b->db, "accounts", &b->accounts));
  must(b, "journal", vecdb_collection_open(b->db, "journal", &b->journal));
}

static void bank_leave(struct bank *b){
  must(b, "close", vecdb_close(b->db));
  b->db = NULL;
}

static void account_vector(int64_t key, int64_t balance, float *v){
  for(int i=0; i<DIMS; i++) v[i] = (float)(key*(i+1)%7) + (float)balance/1000;
}

static void account_put(struct bank *b, int64_t key, int64_t balance){
  vecdb_stmt *s = NULL;
  float v[DIMS];
  account_vector(key, balance, v);
  must(b, "put", vecdb_prepare_insert(b->accounts, VECDB_OR_REPLACE, &s));
  vecdb_bind_int64(s, 0, key);
  vecdb_bind_vector(s, 1, VECDB_F32, v, sizeof(v), VECDB_TRANSIENT);
  vecdb_bind_int64(s, 2, balance);
  must(b, "put", vecdb_step(s));
  vecdb_finalize(s);
}

static int64_t account_get(struct bank *b, int64_t key){
  vecdb_stmt *s = NULL;
  int64_t v;
  must(b, "get", vecdb_prepare_get(b->accounts, &s));
  vecdb_bind_int64(s, VECDB_KEY, key);
  must(b, "get", vecdb_step(s));
  v = vecdb_column_int64(s, 2);
  vecdb_finalize(s);
  return v;
}

static void journal_put(struct bank *b){
  static const float v[2] = { 1, 2 };
  vecdb_stmt *s = NULL;
  must(b, "journal", vecdb_prepare_insert(b->journal, 0, &s));
  vecdb_bind_vector(s, 1, VECDB_F32, v, sizeof(v), VECDB_STATIC);
  vecdb_bind_int64(s, 2, b->id);
  vecdb_bind_int64(s, 3, ++b->seq);
  must(b, "journal", vecdb_step(s));
  vecdb_finalize(s);
}

static void bank_found(struct bank *b){
  bank_open(b, b->path);
  must(b, "create", vecdb_create_collection(b->db, "accounts",
    "id integer primary key, v float[4], balance int, merge_rows=64"));
  must(b, "create", vecdb_create_collection(b->db, "journal",
    "id integer primary key, v float[2], who int, seq int, merge_rows=500"));
  bank_leave(b);
  bank_enter(b);
  must(b, "begin", vecdb_begin(b->db, VECDB_WRITE));
  for(int i=0; i<N_ACCOUNT; i++) account_put(b, i, BALANCE);
  must(b, "commit", vecdb_commit(b->db));
  bank_leave(b);
}

/* ---- the processes ------------------------------------------------------- */

static int writer_turn(struct bank *b){
  int64_t from = vdb_rng_below(&b->rng, N_ACCOUNT);
  int64_t to = vdb_rng_below(&b->rng, N_ACCOUNT);
  int64_t sum = vdb_rng_below(&b->rng, 9), old = b->seq;
  int rc = vecdb_begin(b->db, VECDB_WRITE);
  if( (rc & 0xff)==VECDB_BUSY ) return rc;
  must(b, "begin", rc);
  account_put(b, from, account_get(b, from) - sum);
  account_put(b, to, account_get(b, to) + sum);
  journal_put(b);
  if( vdb_rng_below(&b->rng, 8)==0 ){
    b->seq = old;
    must(b, "rollback", vecdb_rollback(b->db));
  }else{
    must(b, "commit", vecdb_commit(b->db));
  }
  return VECDB_OK;
}

static void expect_sum(struct bank *b, vecdb_collection *accounts){
  int64_t sum = 0, n = 0;
  vecdb_stmt *s = NULL;
  int rc;
  must(b, "scan", vecdb_prepare_scan(accounts, NULL, &s));
  for(; (rc = vecdb_step(s))==VECDB_ROW; n++) sum += vecdb_column_int64(s, 2);
  must(b, "scan", rc);
  vecdb_finalize(s);
  if( n!=N_ACCOUNT || sum!=(int64_t)N_ACCOUNT*BALANCE ){
    printf("  %d accounts, %d in them\n", (int)n, (int)sum);
    bank_die(b, "the sum changed", 0);
  }
}

static void expect_journal(struct bank *b, vecdb_collection *journal){
  int64_t last[N_WRITER] = { 0 };
  vecdb_stmt *s = NULL;
  int rc;
  must(b, "journal", vecdb_prepare_scan(journal, NULL, &s));
  while( (rc = vecdb_step(s))==VECDB_ROW ){
    int64_t who = vecdb_column_int64(s, 2);
    if( who<0 || who>=N_WRITER || vecdb_column_int64(s, 3)!=++last[who] ){
      bank_die(b, "the journal has a gap", 0);
    }
  }
  must(b, "journal", rc);
  vecdb_finalize(s);
}

static void expect_search(struct bank *b, vecdb_collection *accounts){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  float q[DIMS] = { 1, 2, 3, 4 };
  double d = -1;
  vecdb_stmt *s = NULL;
  int n = 0, rc;
  o.k = 2*N_ACCOUNT;
  must(b, "search", vecdb_prepare_search(accounts, &o, &s));
  vecdb_bind_vector(s, VECDB_QUERY, VECDB_F32, q, sizeof(q), VECDB_STATIC);
  for(; (rc = vecdb_step(s))==VECDB_ROW; n++){
    if( vecdb_row_distance(s)<d ) bank_die(b, "out of order", 0);
    d = vecdb_row_distance(s);
  }
  must(b, "search", rc);
  vecdb_finalize(s);
  if( n!=N_ACCOUNT ) bank_die(b, "a search lost rows", 0);
}

static int reader_turn(struct bank *b){
  must(b, "begin", vecdb_begin(b->db, VECDB_READ));
  expect_sum(b, b->accounts);
  if( vdb_rng_below(&b->rng, 4)==0 ) expect_journal(b, b->journal);
  expect_search(b, b->accounts);
  must(b, "end", vecdb_rollback(b->db));
  return VECDB_OK;
}

static int optimizer_turn(struct bank *b){
  vecdb_optimize_options o = { .size = sizeof(o),
                               .flags = vdb_rng_below(&b->rng, 3) };
  int rc = vecdb_optimize(vdb_rng_below(&b->rng, 2) ? b->accounts
                                                    : b->journal, &o);
  if( (rc & 0xff)!=VECDB_BUSY ) must(b, "optimize", rc);
  usleep(vdb_rng_below(&b->rng, 20000));
  return VECDB_OK;
}

/* The copy is a snapshot as good as any. */
static int copier_turn(struct bank *b){
  struct bank copy = { NULL, NULL, NULL, vt_path("copy.vdb"), b->id, 0, b->rng };
  int rc = vecdb_backup(b->db, copy.path);
  if( (rc & 0xff)==VECDB_BUSY ) return VECDB_OK;
  must(b, "backup", rc);
  bank_enter(&copy);
  expect_sum(&copy, copy.accounts);
  expect_journal(&copy, copy.journal);
  must(&copy, "check", vecdb_check(copy.db, 0, NULL, NULL));
  bank_leave(&copy);
  unlink(copy.path);
  usleep(vdb_rng_below(&b->rng, 20000));
  return VECDB_OK;
}

static int checkpointer_turn(struct bank *b){
  int rc = vecdb_checkpoint(b->db, (int)vdb_rng_below(&b->rng, 4), NULL, NULL);
  if( (rc & 0xff)!=VECDB_BUSY ) must(b, "checkpoint", rc);
  usleep(vdb_rng_below(&b->rng, 10000));
  return VECDB_OK;
}

static int opener_turn(struct bank *b){
  bank_leave(b);
  bank_enter(b);
  return reader_turn(b);
}

static pid_t process_start(const char *path, int id, turn_fn turn,
                           int64_t t_end, int fd_count){
  struct bank b = { NULL, NULL, NULL, path, id, 0, { 0 } };
  uint64_t n = 0;
  pid_t pid;
  fflush(NULL);
  pid = fork();
  if( pid!=0 ) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  vdb_rng_init(&b.rng, vdb_mix64(vt_seed()*100 + (uint64_t)id));
  bank_enter(&b);
  while( clock_ms()<t_end ) n += turn(&b)==VECDB_OK;
  bank_leave(&b);
  if( write(fd_count, &n, sizeof(n))!=(ssize_t)sizeof(n) ) _exit(2);
  _exit(0);
}

TEST(multi_rows__keeps_sums_under_all_upkeep_at_once){
  static const turn_fn turns[] = {
    writer_turn, writer_turn, reader_turn, reader_turn, optimizer_turn,
    copier_turn, checkpointer_turn, opener_turn
  };
  enum { N = sizeof(turns)/sizeof(turns[0]) };
  int64_t t_end = clock_ms() + (vt_scale()>=100 ? 20000 : 1000);
  struct bank b = { NULL, NULL, NULL, vt_path("bank.vdb"), N, 0, { 0 } };
  uint64_t one, n_write = 0, n_other = 0;
  int fd[2][2];
  pid_t pid[N];

  REQUIRE( pipe2(fd[0], O_NONBLOCK)==0 && pipe2(fd[1], O_NONBLOCK)==0 );
  bank_found(&b);
  for(int i=0; i<N; i++){
    pid[i] = process_start(b.path, i, turns[i], t_end,
                           fd[i<N_WRITER ? 0 : 1][1]);
  }
  for(int i=0; i<N; i++){
    int status = 0;
    CHECK( waitpid(pid[i], &status, 0)==pid[i] );
    CHECK( WIFEXITED(status) && WEXITSTATUS(status)==0 );
  }
  while( read(fd[0][0], &one, sizeof(one))==(ssize_t)sizeof(one) ) n_write += one;
  while( read(fd[1][0], &one, sizeof(one))==(ssize_t)sizeof(one) ) n_other += one;
  CHECK( n_write>0 && n_other>0 );
  printf("  %llu turns of others\n", (unsigned long long)n_other);
  vt_figure("process-transactions", n_write, 2000);
  bank_enter(&b);
  expect_sum(&b, b.accounts);
  expect_journal(&b, b.journal);
  CHECK_RC( VECDB_OK, vecdb_check(b.db, 0, NULL, NULL) );
  bank_leave(&b);
}
