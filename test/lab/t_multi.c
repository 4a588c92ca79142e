/* t_multi.c -- many processes on one file of the real file system.
**
** Two writers move money between accounts, each account a page of its own;
** one transaction in eight also writes all balances into a new extent and
** frees the old one. Four readers check, inside each snapshot, that the sum
** is what it always was, that the extent is the one of this snapshot, and that
** a second look shows the same. One process checkpoints in every mode, one
** opens and closes. Nobody may see anything but BUSY where it is documented.
*/
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vt.h"
#include "util/bytes.h"
#include "util/rng.h"
#include "lab/lib_layer.h"
#include "pager/extent.h"
#include "pager/pager.h"

enum { N_ACCOUNT = 48, OPENING_BALANCE = 1000, N_READER = 4, N_WRITER = 2 };
enum { OFF_BALANCE = PAGE_CONTENT, OFF_CHANGED = PAGE_CONTENT + 8 };
enum { WORD_TABLE = 15, WORD_SEQ = 14, WORD_EXTENT = 13, WORD_EXTENT_SEQ = 12 };

struct bank {
  struct pager *p;
  struct vdb_err err;
  const char *path;
  page_no accounts[N_ACCOUNT];
};

static int64_t clock_ms(void){
  return vdb_file_posix.now_ms(NULL);
}

static int bank_open(struct bank *b, bool no_mmap){
  struct pager_config pc;
  memset(&pc, 0, sizeof(pc));
  pc.path = b->path;
  pc.open_flags = VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE;
  pc.busy_ms = 20000;
  pc.sz_wal_auto = 512<<10;
  pc.no_mmap = no_mmap;
  pc.sync = VECDB_SYNC_OFF;            /* processes die, the machine does not */
  return vdb_pager_open(&pc, &b->err, &b->p);
}

static void bank_die(struct bank *b, const char *doing, int rc){
  printf("  pid %ld: %s: %d, %s\n", (long)getpid(), doing, rc, b->err.msg);
  _exit(1);
}

static int word_get(struct bank *b, int w, uint64_t *out){
  return vdb_root_get(b->p, (enum root_word)w, out);
}
static int word_set(struct bank *b, int w, uint64_t v){
  return vdb_root_set(b->p, (enum root_word)w, v);
}

/* ---- the bank ------------------------------------------------------------ */

/* The table lists the pages of the accounts; it never changes. */
static int bank_load(struct bank *b){
  struct page *table = NULL;
  uint64_t pgno = 0;
  int rc;
  TRY( word_get(b, WORD_TABLE, &pgno) );
  TRY( vdb_page_get(b->p, (page_no)pgno, PAGE_COLLECTION, &table) );
  for(int i=0; i<N_ACCOUNT; i++){
    b->accounts[i] = get_u32(table->data + PAGE_CONTENT + 4*i);
  }
done:
  vdb_page_unpin(b->p, table);
  return rc;
}

static int bank_found(struct bank *b){
  struct page *table = NULL, *pg = NULL;
  int rc;
  TRY( vdb_pager_begin_write(b->p) );
  TRY( vdb_page_new(b->p, PAGE_COLLECTION, &table) );
  for(int i=0; i<N_ACCOUNT; i++){
    TRY( vdb_page_new(b->p, PAGE_OVERFLOW, &pg) );
    put_u64(pg->data + OFF_BALANCE, OPENING_BALANCE);
    put_u32(table->data + PAGE_CONTENT + 4*i, pg->pgno);
    vdb_page_unpin(b->p, pg);
    pg = NULL;
  }
  TRY( word_set(b, WORD_TABLE, table->pgno) );
done:
  vdb_page_unpin(b->p, pg);
  vdb_page_unpin(b->p, table);
  return rc==VECDB_OK ? vdb_pager_commit(b->p) : rc;
}

static int account_get(struct bank *b, int i, uint64_t *balance){
  struct page *pg = NULL;
  int rc = vdb_page_get(b->p, b->accounts[i], PAGE_OVERFLOW, &pg);
  if( rc==VECDB_OK ) *balance = get_u64(pg->data + OFF_BALANCE);
  vdb_page_unpin(b->p, pg);
  return rc;
}

static int account_add(struct bank *b, int i, uint64_t amount, uint64_t seq){
  struct page *pg = NULL;
  int rc;
  TRY( vdb_page_get(b->p, b->accounts[i], PAGE_OVERFLOW, &pg) );
  TRY( vdb_page_write(b->p, pg) );
  put_u64(pg->data + OFF_BALANCE, get_u64(pg->data + OFF_BALANCE) + amount);
  put_u64(pg->data + OFF_CHANGED, seq);
done:
  vdb_page_unpin(b->p, pg);
  return rc;
}

/* All balances as of now, as an extent of 16 KiB, instead of the old one. */
static int statement_write(struct bank *b, uint64_t seq){
  struct extent_spec spec = { 1, 8, 2048, 7 };
  unsigned char payload[16384];
  uint64_t balance, old = 0;
  page_no head = 0;
  int rc;
  for(uint32_t i=0; i<spec.n_rec; i++){
    TRY( account_get(b, (int)(i % N_ACCOUNT), &balance) );
    put_u64(payload + 8*i, balance + seq);
  }
  TRY( word_get(b, WORD_EXTENT, &old) );
  if( old ) TRY( vdb_extent_free(b->p, (page_no)old) );
  TRY( vdb_extent_create(b->p, &spec, payload, &head) );
  TRY( word_set(b, WORD_EXTENT, head) );
  TRY( word_set(b, WORD_EXTENT_SEQ, seq) );
done:
  return rc;
}

static int transfer(struct bank *b, struct vdb_rng *r){
  uint64_t amount = vdb_rng_below(r, 50), seq = 0;
  int from = (int)vdb_rng_below(r, N_ACCOUNT);
  int to = (int)vdb_rng_below(r, N_ACCOUNT);
  int rc;
  TRY( vdb_pager_begin_write(b->p) );
  TRY( word_get(b, WORD_SEQ, &seq) );
  TRY( account_add(b, from, 0 - amount, seq + 1) );
  TRY( account_add(b, to, amount, seq + 1) );
  TRY( word_set(b, WORD_SEQ, seq + 1) );
  if( vdb_rng_below(r, 8)==0 ) TRY( statement_write(b, seq + 1) );
  vdb_pager_touch(b->p);
  if( vdb_rng_below(r, 20)==0 ) return vdb_pager_rollback(b->p);
  TRY( vdb_pager_commit(b->p) );
done:
  return rc;
}

/* What a snapshot shows: sum of all balances, and a hash of everything. */
struct look { uint64_t sum, seq, hash; };

/* An extent that was reused too early shows in here. */
static int statement_look(struct bank *b, struct look *l){
  uint64_t head = 0, seq = 0, sum = 0;
  struct extent x;
  int rc;
  memset(&x, 0, sizeof(x));
  TRY( word_get(b, WORD_EXTENT, &head) );
  TRY( word_get(b, WORD_EXTENT_SEQ, &seq) );
  if( head==0 ) goto done;
  TRY( vdb_extent_pin(b->p, (page_no)head, &x) );
  for(int i=0; i<N_ACCOUNT; i++) sum += get_u64(x.data + 8*i) - seq;
  for(uint32_t i=N_ACCOUNT; i<x.spec.n_rec; i++){
    if( get_u64(x.data + 8*i)!=get_u64(x.data + 8*(i % N_ACCOUNT)) ) sum = 0;
  }
  if( sum!=(uint64_t)N_ACCOUNT*OPENING_BALANCE ) rc = VECDB_INTERNAL;
  l->hash = lab_hash(l->hash, x.data, x.sz);
done:
  vdb_extent_unpin(b->p, &x);
  return rc;
}

static int bank_look(struct bank *b, struct look *l){
  uint64_t balance;
  int rc;
  memset(l, 0, sizeof(*l));
  TRY( word_get(b, WORD_SEQ, &l->seq) );
  for(int i=0; i<N_ACCOUNT; i++){
    TRY( account_get(b, i, &balance) );
    l->sum += balance;
    l->hash = lab_hash(l->hash, &balance, sizeof(balance));
  }
  TRY( statement_look(b, l) );
done:
  return rc;
}

/* ---- processes ----------------------------------------------------------- */

typedef uint64_t (*process_fn)(struct bank *b, struct vdb_rng *r,
                               int64_t t_end);

static uint64_t writer_process(struct bank *b, struct vdb_rng *r,
                               int64_t t_end){
  uint64_t n = 0;
  for(; clock_ms()<t_end; n++){
    int rc = transfer(b, r);
    if( rc!=VECDB_OK ) bank_die(b, "writer", rc);
  }
  return n;
}

static uint64_t reader_process(struct bank *b, struct vdb_rng *r,
                               int64_t t_end){
  uint64_t n = 0, newest = 0;
  struct look one, two;
  for(; clock_ms()<t_end; n++){
    int rc = vdb_pager_begin_read(b->p);
    if( rc==VECDB_OK ) rc = bank_look(b, &one);
    if( vdb_rng_below(r, 8)==0 ) usleep(vdb_rng_below(r, 2000));
    if( rc==VECDB_OK ) rc = bank_look(b, &two);
    if( rc!=VECDB_OK ) bank_die(b, "reader", rc);
    if( memcmp(&one, &two, sizeof(one))!=0 ){
      bank_die(b, "reader: a snapshot changed", 0);
    }
    if( one.sum!=(uint64_t)N_ACCOUNT*OPENING_BALANCE ){
      bank_die(b, "reader: the sum changed", 0);
    }
    if( one.seq<newest ) bank_die(b, "reader: time ran backwards", 0);
    newest = one.seq;
    rc = vdb_pager_end_read(b->p);
    if( rc!=VECDB_OK ) bank_die(b, "reader: end", rc);
  }
  return n;
}

static uint64_t checkpointer_process(struct bank *b, struct vdb_rng *r,
                                     int64_t t_end){
  uint64_t n = 0, n_log, n_done;
  for(; clock_ms()<t_end; n++){
    int rc = vdb_pager_checkpoint(b->p, (int)vdb_rng_below(r, 4), &n_log,
                                  &n_done);
    if( rc!=VECDB_OK && (rc & 0xff)!=VECDB_BUSY ){
      bank_die(b, "checkpointer", rc);
    }
    usleep(vdb_rng_below(r, 10000));
  }
  return n;
}

static uint64_t opener_process(struct bank *b, struct vdb_rng *r,
                               int64_t t_end){
  uint64_t n = 0;
  struct look l;
  for(; clock_ms()<t_end; n++){
    int rc = vdb_pager_close(b->p);
    b->p = NULL;
    if( rc==VECDB_OK ) rc = bank_open(b, vdb_rng_below(r, 2)!=0);
    if( rc==VECDB_OK ) rc = vdb_pager_begin_read(b->p);
    if( rc==VECDB_OK ) rc = bank_look(b, &l);
    if( rc!=VECDB_OK ) bank_die(b, "opener", rc);
    vdb_pager_end_read(b->p);
  }
  return n;
}

static pid_t process_start(const char *path, process_fn fn, uint64_t seed,
                           int64_t t_end, int fd_count){
  struct bank b;
  struct vdb_rng r;
  uint64_t n;
  pid_t pid;
  int rc;

  fflush(NULL);
  pid = fork();
  if( pid!=0 ) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  memset(&b, 0, sizeof(b));
  b.path = path;
  vdb_rng_init(&r, vdb_mix64(seed));
  rc = bank_open(&b, seed % 2!=0);
  if( rc==VECDB_OK ) rc = vdb_pager_begin_read(b.p);
  if( rc==VECDB_OK ) rc = bank_load(&b);
  if( rc==VECDB_OK ) rc = vdb_pager_end_read(b.p);
  if( rc!=VECDB_OK ) bank_die(&b, "open", rc);
  n = fn(&b, &r, t_end);
  rc = vdb_pager_close(b.p);
  if( rc!=VECDB_OK ) bank_die(&b, "close", rc);
  if( write(fd_count, &n, sizeof(n))!=(ssize_t)sizeof(n) ) _exit(2);
  _exit(0);
}

/* Wait for all; how much they did together. */
static uint64_t processes_join(const pid_t *pids, int n, int fd_count){
  uint64_t sum = 0, one = 0;
  for(int i=0; i<n; i++){
    int status = 0;
    CHECK( waitpid(pids[i], &status, 0)==pids[i] );
    CHECK( WIFEXITED(status) && WEXITSTATUS(status)==0 );
  }
  while( read(fd_count, &one, sizeof(one))==(ssize_t)sizeof(one) ) sum += one;
  return sum;
}

TEST(multi__keeps_sums_and_snapshots){
  int64_t t_end = clock_ms() + (vt_scale()>=100 ? 20000 : 1000);
  pid_t writers[N_WRITER], others[N_READER + 2];
  int pipe_w[2], pipe_r[2];
  uint64_t n_write, n_read;
  struct bank b;
  struct look l;

  memset(&b, 0, sizeof(b));
  b.path = vt_path("bank.vdb");
  REQUIRE( pipe2(pipe_w, O_NONBLOCK)==0 && pipe2(pipe_r, O_NONBLOCK)==0 );
  REQUIRE_RC( VECDB_OK, bank_open(&b, false) );
  REQUIRE_RC( VECDB_OK, bank_found(&b) );
  REQUIRE_RC( VECDB_OK, vdb_pager_close(b.p) );
  for(int i=0; i<N_WRITER; i++){
    writers[i] = process_start(b.path, writer_process, vt_seed() + (uint64_t)i,
                               t_end, pipe_w[1]);
  }
  for(int i=0; i<N_READER; i++){
    others[i] = process_start(b.path, reader_process,
                              vt_seed() + 10 + (uint64_t)i, t_end, pipe_r[1]);
  }
  others[N_READER] = process_start(b.path, checkpointer_process,
                                   vt_seed() + 20, t_end, pipe_r[1]);
  others[N_READER+1] = process_start(b.path, opener_process, vt_seed() + 30,
                                     t_end, pipe_r[1]);
  n_write = processes_join(writers, N_WRITER, pipe_w[0]);
  n_read = processes_join(others, N_READER + 2, pipe_r[0]);
  printf("  %llu transactions, %llu reads and checkpoints\n",
         (unsigned long long)n_write, (unsigned long long)n_read);
  vt_figure("process-transactions", n_write, 100000);
  REQUIRE_RC( VECDB_OK, bank_open(&b, false) );
  REQUIRE_RC( VECDB_OK, vdb_pager_begin_read(b.p) );
  REQUIRE_RC( VECDB_OK, bank_load(&b) );
  CHECK_RC( VECDB_OK, bank_look(&b, &l) );
  CHECK_U64( (uint64_t)N_ACCOUNT*OPENING_BALANCE, l.sum );
  CHECK( l.seq>0 && l.seq<=n_write );
  vdb_pager_end_read(b.p);
  CHECK_RC( VECDB_OK, vdb_pager_close(b.p) );
  CHECK( access(vt_path("bank.vdb-wal"), F_OK)!=0 );    /* one file is left */
  CHECK( access(vt_path("bank.vdb-shm"), F_OK)!=0 );
}
