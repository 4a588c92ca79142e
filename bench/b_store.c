/* b_store.c -- the figures of the storage engine, through vecdb.h alone.
**
** insert   one durable row a transaction (768 float32, 8 metadata columns)
**          against SQLite with the same row, the vector as a BLOB, in
**          journal_mode=WAL and synchronous=FULL; frames and syncs of each.
** bulk     n x 128 float32 and two metadata columns in one transaction
**          against write() and fdatasync() of the same bytes; bytes in the
**          file, peak memory of the library.
** open     a large file, warm, in a new process: open and first row by key,
**          first search among 100 keys, first search of everything.
** readers  searches a second, alone and while another process commits rows:
**          into another collection of the file, into the same one, and, to
**          compare, syncs a file that has nothing to do with it.
**
** Compared things alternate, so that the noise of the machine meets both, and
** medians count. A goal that is missed is printed as missed; the numbers of
** every repetition go to the result file.
**
** Usage: b_store [--quick] [-r repetitions] [-n bulk rows] [-d folder]
**                [-o result.json] [insert|bulk|open|readers ..]
*/
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <sqlite3.h>

#include "vecdb.h"
#include "bench/record.h"
#include "bench/clock.h"

enum { INSERT_DIM = 768, BULK_DIM = 128, CHUNK = 65536 };

static struct {
  bool quick;
  int reps;                            /* 0: each part's own default */
  int64_t n_bulk;
  const char *folder;
  char command[600];
  long pid;                            /* names the files; as in children */
} opt;

/* --------------------------------------------------------------- helpers */


/* Processor time of this process: what a search costs whoever else is
** running. */

static void fail(const char *what, const char *why){
  fprintf(stderr, "b_store: %s: %s\n", what, why);
  exit(1);
}

static void must(vecdb *db, int rc, const char *what){
  if( rc!=VECDB_OK ) fail(what, db ? vecdb_errmsg(db) : vecdb_errstr(rc));
}

static void must_sqlite(sqlite3 *db, int rc, const char *what){
  if( rc!=SQLITE_OK ) fail(what, sqlite3_errmsg(db));
}

static const char *path_of(const char *name){
  static char ring[4][1000];
  static unsigned i;
  char *z = ring[i++ % 4];
  snprintf(z, sizeof(ring[0]), "%s/b_store-%ld-%s", opt.folder,
           opt.pid, name);
  return z;
}

static void remove_database(const char *path){
  static const char *const tail[] = { "", "-wal", "-shm", "-journal" };
  char z[1100];
  for(int i=0; i<4; i++){
    snprintf(z, sizeof(z), "%s%s", path, tail[i]);
    unlink(z);
  }
}

static double file_bytes(const char *path){
  struct stat st;
  return stat(path, &st)==0 ? (double)st.st_size : 0;
}

static int reps_or(int n){
  return opt.reps ? opt.reps : n;
}

/* Deterministic, and as incompressible as embeddings are. */
static void floats_fill(float *p, size_t n, uint64_t seed){
  for(size_t i=0; i<n; i++){
    seed = seed*6364136223846793005u + 1442695040888963407u;
    p[i] = (float)((double)(seed>>40)/(1<<23) - 1);
  }
}

static void *allocate(size_t n){
  void *p = malloc(n);
  if( !p ) fail("memory", strerror(errno));
  return p;
}

static vecdb *open_vecdb(const char *path){
  vecdb *db = NULL;
  int rc = vecdb_open(path, VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE, NULL,
                      &db);
  must(db, rc, "open");
  vecdb_set(db, "busy_ms", 10000);
  return db;
}

static vecdb_collection *open_collection(vecdb *db, const char *name,
                                         const char *schema){
  vecdb_collection *c = NULL;
  if( schema ) must(db, vecdb_create_collection(db, name, schema), "create");
  must(db, vecdb_collection_open(db, name, &c), "collection");
  return c;
}

static vecdb_stats stats_of(vecdb *db){
  vecdb_stats st;
  memset(&st, 0, sizeof(st));
  st.size = sizeof(st);
  must(db, vecdb_stat(db, &st), "stat");
  return st;
}

/* Run fn in a process of its own, which hands n numbers back. */
static void in_child(void (*fn)(double *out, const void *arg), const void *arg,
                     double *out, int n){
  int fd[2], status = 0;
  pid_t pid;
  ssize_t got;

  if( pipe(fd)!=0 ) fail("pipe", strerror(errno));
  fflush(NULL);
  pid = fork();
  if( pid<0 ) fail("fork", strerror(errno));
  if( pid==0 ){
    close(fd[0]);
    memset(out, 0, (size_t)n*sizeof(*out));
    fn(out, arg);
    got = write(fd[1], out, (size_t)n*sizeof(*out));
    _exit(got==(ssize_t)((size_t)n*sizeof(*out)) ? 0 : 1);
  }
  close(fd[1]);
  got = read(fd[0], out, (size_t)n*sizeof(*out));
  close(fd[0]);
  waitpid(pid, &status, 0);
  if( status!=0 || got!=(ssize_t)((size_t)n*sizeof(*out)) ){
    fail("child process", "it failed");
  }
}

/* ---------------------------------------------------------------- insert */

#define INSERT_SCHEMA \
  "id integer primary key, embedding float[768] index=flat, year int, " \
  "size int, parent int, score float, weight float, flag bool, lang text, " \
  "title text"

static const char *title = "a title of about forty bytes, as rows have";

struct insert_vecdb { vecdb *db; vecdb_collection *c; vecdb_stmt *s; };

static void vecdb_insert_row(struct insert_vecdb *v, int64_t id,
                             const float *x){
  vecdb_stmt *s = v->s;
  vecdb_bind_int64(s, 0, id);
  vecdb_bind_vector(s, 1, VECDB_F32, x, INSERT_DIM*sizeof(float),
                    VECDB_STATIC);
  vecdb_bind_int64(s, 2, 1900 + id%120);
  vecdb_bind_int64(s, 3, id*977);
  vecdb_bind_int64(s, 4, id/2);
  vecdb_bind_double(s, 5, (double)id/3);
  vecdb_bind_double(s, 6, 1/(double)(id+1));
  vecdb_bind_int64(s, 7, id&1);
  vecdb_bind_text(s, 8, "de", 2, VECDB_STATIC);
  vecdb_bind_text(s, 9, title, strlen(title), VECDB_STATIC);
  if( vecdb_step(s)!=VECDB_DONE ) fail("insert", vecdb_errmsg(v->db));
}

static void sqlite_insert_row(sqlite3 *db, sqlite3_stmt *s, int64_t id,
                              const float *x){
  sqlite3_bind_int64(s, 1, id);
  sqlite3_bind_blob(s, 2, x, INSERT_DIM*sizeof(float), SQLITE_STATIC);
  sqlite3_bind_int64(s, 3, 1900 + id%120);
  sqlite3_bind_int64(s, 4, id*977);
  sqlite3_bind_int64(s, 5, id/2);
  sqlite3_bind_double(s, 6, (double)id/3);
  sqlite3_bind_double(s, 7, 1/(double)(id+1));
  sqlite3_bind_int64(s, 8, id&1);
  sqlite3_bind_text(s, 9, "de", 2, SQLITE_STATIC);
  sqlite3_bind_text(s, 10, title, strlen(title), SQLITE_STATIC);
  if( sqlite3_step(s)!=SQLITE_DONE ) fail("insert", sqlite3_errmsg(db));
  sqlite3_reset(s);
}

static sqlite3 *open_sqlite(const char *path, sqlite3_stmt **insert){
  sqlite3 *db = NULL;
  must_sqlite(db, sqlite3_open(path, &db), "sqlite3_open");
  must_sqlite(db, sqlite3_exec(db,
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
    "CREATE TABLE t(id INTEGER PRIMARY KEY, embedding BLOB, year INT,"
    " size INT, parent INT, score REAL, weight REAL, flag INT, lang TEXT,"
    " title TEXT)", NULL, NULL, NULL), "create table");
  must_sqlite(db, sqlite3_prepare_v2(db,
    "INSERT INTO t VALUES(?,?,?,?,?,?,?,?,?,?)", -1, insert, NULL),
    "prepare");
  return db;
}

/* Frames and syncs of single inserts, looked at one by one: most inserts
** fill no page and run no checkpoint, so medians and means are told apart. */
static void insert_count(struct insert_vecdb *v, int64_t id, const float *x,
                         int n, const char *frames, const char *syncs){
  vecdb_stats a, b;
  for(int i=0; i<n; i++){
    a = stats_of(v->db);
    vecdb_insert_row(v, id+i, x);
    b = stats_of(v->db);
    record(frames, (double)(b.n_frame - a.n_frame));
    record(syncs, (double)(b.n_sync - a.n_sync));
  }
}

static void part_insert(void){
  int n_rep = reps_or(opt.quick ? 5 : 15), n = opt.quick ? 50 : 200;
  const char *pv = path_of("insert.vdb"), *ps = path_of("insert.sqlite");
  float *x = allocate(INSERT_DIM*sizeof(float));
  struct insert_vecdb v;
  sqlite3_stmt *ins = NULL;
  sqlite3 *sq;
  vecdb_stats a, b;
  int64_t id = 1;
  double t0, t1, t2;

  remove_database(pv);
  remove_database(ps);
  v.db = open_vecdb(pv);
  v.c = open_collection(v.db, "t", INSERT_SCHEMA);
  must(v.db, vecdb_prepare_insert(v.c, 0, &v.s), "prepare");
  sq = open_sqlite(ps, &ins);
  a = stats_of(v.db);
  for(int r=-1; r<n_rep; r++, id+=n){            /* -1 warms up */
    floats_fill(x, INSERT_DIM, (uint64_t)r);
    t0 = wall_seconds();
    for(int i=0; i<n; i++) vecdb_insert_row(&v, id+i, x);
    t1 = wall_seconds();
    for(int i=0; i<n; i++) sqlite_insert_row(sq, ins, id+i, x);
    t2 = wall_seconds();
    if( r<0 ) continue;
    record("insert/vecdb rows/s", n/(t1-t0));
    record("insert/sqlite rows/s", n/(t2-t1));
  }
  b = stats_of(v.db);
  insert_count(&v, id, x, 100, "insert/frames", "insert/syncs");
  title = "short";
  insert_count(&v, id+100, x, 100, "insert/frames, short text",
               "insert/syncs, short text");
  figure("insert, vecdb", median("insert/vecdb rows/s"), "rows/s", 0, 0);
  figure("insert, SQLite", median("insert/sqlite rows/s"), "rows/s", 0, 0);
  figure("insert, vecdb against SQLite",
         median_ratio("insert/vecdb rows/s", "insert/sqlite rows/s"), "x",
         AT_LEAST, 0.7);
  figure("insert, frames of one", median("insert/frames"), "frames",
         AT_MOST, 6);
  figure("   when its texts have at most 12 bytes",
         median("insert/frames, short text"), "frames", AT_MOST, 6);
  figure("insert, syncs of one", median("insert/syncs"), "syncs",
         AT_MOST, 1);
  figure("insert, frames on average, checkpoints included",
         (double)(b.n_frame-a.n_frame)/(double)(id-1), "frames", 0, 0);
  figure("insert, syncs on average, checkpoints included",
         (double)(b.n_sync-a.n_sync)/(double)(id-1), "syncs", 0, 0);
  vecdb_finalize(v.s);
  vecdb_close(v.db);
  sqlite3_finalize(ins);
  sqlite3_close(sq);
  remove_database(pv);
  remove_database(ps);
  free(x);
}

/* ------------------------------------------------------------------ bulk */

#define BULK_SCHEMA \
  "id integer primary key, embedding float[128] index=flat, year int, " \
  "score float, optimize=manual"

struct bulk_args { const char *path; int64_t n; };

/* One chunk of rows is used again and again: what it holds does not matter
** to either side. */
static void bulk_chunk(float **x, int64_t **year, double **score){
  *x = allocate((size_t)CHUNK*BULK_DIM*sizeof(float));
  *year = allocate(CHUNK*sizeof(**year));
  *score = allocate(CHUNK*sizeof(**score));
  floats_fill(*x, (size_t)CHUNK*BULK_DIM, 42);
  for(int i=0; i<CHUNK; i++){
    (*year)[i] = 1900 + i%120;
    (*score)[i] = 1.0/(i+1);
  }
}

/* out: seconds, processor seconds, the peak of the library's memory. */
static void bulk_vecdb(double *out, const void *arg){
  const struct bulk_args *a = arg;
  vecdb_column_data col[3];
  int64_t *year;
  double *score, t, cpu;
  float *x;
  vecdb *db;
  vecdb_collection *c;

  bulk_chunk(&x, &year, &score);
  memset(col, 0, sizeof(col));
  for(int i=0; i<3; i++){
    col[i].size = sizeof(col[i]);
    col[i].column = i+1;
  }
  col[0].type = VECDB_VECTOR;
  col[0].element = VECDB_F32;
  col[0].data = x;
  col[1].type = VECDB_INTEGER;
  col[1].data = year;
  col[2].type = VECDB_REAL;
  col[2].data = score;
  remove_database(a->path);
  db = open_vecdb(a->path);
  c = open_collection(db, "t", BULK_SCHEMA);
  t = wall_seconds();
  cpu = cpu_seconds();
  must(db, vecdb_begin(db, VECDB_WRITE), "begin");
  for(int64_t i=0; i<a->n; i+=CHUNK){
    size_t n = a->n-i<CHUNK ? (size_t)(a->n-i) : CHUNK;
    must(db, vecdb_put_many(c, n, col, 3, 0, NULL), "put_many");
  }
  must(db, vecdb_commit(db), "commit");
  out[0] = wall_seconds() - t;
  out[1] = cpu_seconds() - cpu;
  out[2] = (double)stats_of(db).mem_peak_bytes;
  vecdb_close(db);
}

/* The same bytes, vectors and metadata and keys, plainly. */
static void bulk_plain(double *out, const void *arg){
  const struct bulk_args *a = arg;
  int64_t *year, left = a->n*(BULK_DIM*4 + 24);
  int fd = open(a->path, O_RDWR|O_CREAT|O_TRUNC, 0600);
  double *score, t, cpu;
  float *x;

  if( fd<0 ) fail(a->path, strerror(errno));
  bulk_chunk(&x, &year, &score);
  t = wall_seconds();
  cpu = cpu_seconds();
  while( left>0 ){
    size_t n = left<(1<<20) ? (size_t)left : 1<<20;
    if( write(fd, x, n)!=(ssize_t)n ) fail("write", strerror(errno));
    left -= (int64_t)n;
  }
  if( fdatasync(fd)!=0 ) fail("fdatasync", strerror(errno));
  out[0] = wall_seconds() - t;
  out[1] = cpu_seconds() - cpu;
  close(fd);
  unlink(a->path);
}

static void part_bulk(void){
  int n_rep = reps_or(opt.quick ? 3 : 5);
  double mb = (double)opt.n_bulk*(BULK_DIM*4 + 24)/1e6, out[3];
  struct bulk_args v = { path_of("bulk.vdb"), opt.n_bulk };
  struct bulk_args w = { path_of("bulk.raw"), opt.n_bulk };

  for(int r=-2; r<n_rep; r++){         /* -2 and -1 warm up; who goes first */
    for(int k=0; k<2; k++){            /* changes with the repetition */
      bool is_plain = (r+2+k)%2==0;
      double bytes;
      if( is_plain ) in_child(bulk_plain, &w, out, 3);
      else in_child(bulk_vecdb, &v, out, 3);
      bytes = file_bytes(v.path);
      remove_database(v.path);
      if( r<0 ) continue;
      record(is_plain ? "bulk/write MB/s" : "bulk/vecdb MB/s", mb/out[0]);
      record(is_plain ? "bulk/write cpu ms/MB" : "bulk/vecdb cpu ms/MB",
             1e3*out[1]/mb);
      if( is_plain ) continue;
      record("bulk/vecdb rows/s", (double)opt.n_bulk/out[0]);
      record("bulk/peak MiB", out[2]/(1<<20));
      record("bulk/file bytes", bytes);
    }
  }
  figure("bulk, rows", (double)opt.n_bulk, "rows", 0, 0);
  figure("bulk, write and fdatasync", median("bulk/write MB/s"), "MB/s",
         0, 0);
  figure("bulk, vecdb", median("bulk/vecdb MB/s"), "MB/s", 0, 0);
  figure("bulk, vecdb", median("bulk/vecdb rows/s"), "rows/s", 0, 0);
  figure("bulk, vecdb against write and fdatasync",
         median_ratio("bulk/vecdb MB/s", "bulk/write MB/s"), "x",
         AT_LEAST, 0.7);
  figure("   processor time, write and fdatasync",
         median("bulk/write cpu ms/MB"), "ms/MB", 0, 0);
  figure("   processor time, vecdb", median("bulk/vecdb cpu ms/MB"), "ms/MB",
         0, 0);
  figure("bulk, file against vectors and metadata",
         median("bulk/file bytes")/(mb*1e6), "x", AT_MOST, 1.05);
  figure("bulk, peak memory of the library", median("bulk/peak MiB"), "MiB",
         AT_MOST, 64+64);
}

/* ------------------------------------------------------------------ open */

/* Milliseconds of a search, among n_key rows when that is not 0. */
static double search_among(vecdb *db, vecdb_collection *c, const float *q,
                           const int64_t *key, size_t n_key){
  vecdb_search_options so = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_stmt *s = NULL;
  double t = wall_seconds();
  int rc;
  must(db, vecdb_prepare_search(c, &so, &s), "prepare");
  if( n_key>0 ) must(db, vecdb_search_set_keys(s, n_key, key), "keys");
  must(db, vecdb_bind_vector(s, VECDB_QUERY, VECDB_F32, q,
                             BULK_DIM*sizeof(float), VECDB_STATIC), "bind");
  while( (rc = vecdb_step(s))==VECDB_ROW ) {}
  if( rc!=VECDB_DONE ) fail("search", vecdb_errmsg(db));
  vecdb_finalize(s);
  return 1e3*(wall_seconds() - t);
}

static double search_once(vecdb *db, vecdb_collection *c, const float *q){
  return search_among(db, c, q, NULL, 0);
}

static void row_once(vecdb *db, vecdb_collection *c, int64_t id){
  vecdb_stmt *s = NULL;
  must(db, vecdb_prepare_get(c, &s), "prepare");
  must(db, vecdb_bind_int64(s, VECDB_KEY, id), "bind");
  if( vecdb_step(s)!=VECDB_ROW ) fail("get", vecdb_errmsg(db));
  vecdb_finalize(s);
}

enum { OPEN_ALONE, OPEN_ROW, OPEN_KEYS, OPEN_SEARCH, OPEN_AGAIN, N_OPEN };

/* In a child, so that nothing in the process remembers the file. */
static void open_and_look(double *out, const void *arg){
  const struct bulk_args *a = arg;
  int64_t key[100];
  float q[BULK_DIM];
  vecdb_collection *c;
  vecdb *db;
  double t;

  floats_fill(q, BULK_DIM, 7);
  for(int i=0; i<100; i++) key[i] = 1 + a->n/2 + i;
  for(int what=OPEN_ALONE; what<OPEN_AGAIN; what++){
    t = wall_seconds();
    db = open_vecdb(a->path);
    if( what!=OPEN_ALONE ) c = open_collection(db, "t", NULL);
    if( what==OPEN_ROW ) row_once(db, c, a->n/2);
    if( what==OPEN_KEYS ) search_among(db, c, q, key, 100);
    if( what==OPEN_SEARCH ) search_once(db, c, q);
    out[what] = 1e3*(wall_seconds() - t);
    if( what==OPEN_SEARCH ) out[OPEN_AGAIN] = search_once(db, c, q);
    vecdb_close(db);
  }
}

static void part_open(void){
  static const char *const key[N_OPEN] = {
    "open/alone ms", "open/and first row ms",
    "open/and first search of 100 rows ms", "open/and first search ms",
    "open/search again ms"
  };
  int n_rep = reps_or(opt.quick ? 5 : 15);
  struct bulk_args v = { path_of("open.vdb"), 2*opt.n_bulk };
  double out[N_OPEN];

  in_child(bulk_vecdb, &v, out, N_OPEN);
  for(int r=-1; r<n_rep; r++){                   /* -1 warms the file */
    in_child(open_and_look, &v, out, N_OPEN);
    for(int i=0; r>=0 && i<N_OPEN; i++) record(key[i], out[i]);
  }
  figure("open, size of the file", file_bytes(v.path)/1e6, "MB", 0, 0);
  figure("open alone", median(key[OPEN_ALONE]), "ms", 0, 0);
  figure("open and first row by key", median(key[OPEN_ROW]), "ms", AT_MOST,
         1);
  figure("open and first search, among 100 neighbouring keys",
         median(key[OPEN_KEYS]), "ms", AT_MOST, 1);
  figure("open and first exact search: reads and verifies all",
         median(key[OPEN_SEARCH]), "ms", 0, 0);
  figure("   the same search again", median(key[OPEN_AGAIN]), "ms", 0, 0);
  remove_database(v.path);
}

/* --------------------------------------------------------------- readers */

enum { READER_ROWS = 50000, READER_QUERIES = 16 };

static void readers_prepare(double *out, const void *arg){
  struct bulk_args a = { arg, READER_ROWS };
  vecdb *db;
  bulk_vecdb(out, &a);
  db = open_vecdb(a.path);
  open_collection(db, "other", BULK_SCHEMA);
  vecdb_close(db);
}

struct reader_args { const char *path; double seconds; };
struct reading { double per_s, cpu_us; };     /* searches; cost of one */

static void reader_run(double *out, const void *arg){
  const struct reader_args *a = arg;
  vecdb *db = open_vecdb(a->path);
  vecdb_collection *c = open_collection(db, "t", NULL);
  float q[READER_QUERIES][BULK_DIM];
  double t, cpu;
  long n = 0;

  floats_fill(q[0], READER_QUERIES*BULK_DIM, 7);
  search_once(db, c, q[0]);
  t = wall_seconds();
  cpu = cpu_seconds();
  while( wall_seconds()-t < a->seconds ) search_once(db, c, q[n++%READER_QUERIES]);
  out[0] = (double)n/(wall_seconds()-t);
  out[1] = 1e6*(cpu_seconds()-cpu)/(double)n;
  vecdb_close(db);
}

/* Commit single rows until killed. The rows of a few keys are put over and
** over, so that what readers have to scan does not grow while they are
** timed. */
static void writer_run(const char *path, const char *collection, int fd){
  vecdb *db = open_vecdb(path);
  vecdb_collection *c = open_collection(db, collection, NULL);
  float x[BULK_DIM];
  vecdb_stmt *s = NULL;
  uint64_t n = 0;

  must(db, vecdb_prepare_insert(c, VECDB_OR_REPLACE, &s), "prepare");
  for(;; n++){
    floats_fill(x, BULK_DIM, n);
    vecdb_bind_int64(s, 0, 1 + (int64_t)(n%100));
    vecdb_bind_vector(s, 1, VECDB_F32, x, sizeof(x), VECDB_STATIC);
    vecdb_bind_int64(s, 2, (int64_t)n);
    vecdb_bind_double(s, 3, 0.5);
    if( vecdb_step(s)!=VECDB_DONE ) fail("writer", vecdb_errmsg(db));
    if( write(fd, "", 1)!=1 ) _exit(1);
  }
}

/* The same load on the machine without the database: what such a neighbour
** costs a reader that has nothing to do with it. */
static void neighbour_run(int fd){
  const char *path = path_of("neighbour");
  int fd_file = open(path, O_RDWR|O_CREAT|O_TRUNC, 0600);
  char *frames = calloc(6, 4096);
  if( fd_file<0 || !frames || unlink(path)!=0 ) fail(path, strerror(errno));
  for(off_t i=0;; i++){
    if( pwrite(fd_file, frames, 6*4096, i%170*6*4096)!=6*4096
     || fdatasync(fd_file)!=0 || write(fd, "", 1)!=1 ) _exit(1);
  }
}

/* A reader beside a writer to a collection, or beside such a neighbour when
** that is NULL; commits a second are recorded under key. */
static struct reading read_beside_writer(const struct reader_args *a,
                                         const char *collection,
                                         const char *key){
  char buf[4096];
  double out[2], t;
  long n = 0, got;
  int fd[2];
  pid_t pid;

  if( pipe(fd)!=0 ) fail("pipe", strerror(errno));
  fcntl(fd[0], F_SETPIPE_SZ, 1<<20);
  fflush(NULL);
  pid = fork();
  if( pid<0 ) fail("fork", strerror(errno));
  if( pid==0 ){
    close(fd[0]);
    if( collection ) writer_run(a->path, collection, fd[1]);
    else neighbour_run(fd[1]);
  }
  close(fd[1]);
  if( read(fd[0], buf, 1)!=1 ) fail("writer", "it failed");
  t = wall_seconds();
  in_child(reader_run, a, out, 2);
  t = wall_seconds() - t;
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  while( (got = read(fd[0], buf, sizeof(buf)))>0 ) n += got;
  close(fd[0]);
  record(key, (double)n/t);
  return (struct reading){ out[0], out[1] };
}

static void part_readers(void){
  int n_rep = reps_or(opt.quick ? 5 : 15);
  struct reader_args a = { path_of("readers.vdb"), opt.quick ? 0.25 : 0.5 };
  struct reading r;
  double out[3];

  in_child(readers_prepare, a.path, out, 3);
  for(int i=0; i<n_rep; i++){
    in_child(reader_run, &a, out, 2);
    record("readers/alone searches/s", out[0]);
    record("readers/alone cpu us", out[1]);
    r = read_beside_writer(&a, NULL, "readers/neighbour syncs/s");
    record("readers/neighbour searches/s", r.per_s);
    r = read_beside_writer(&a, "other", "readers/writer elsewhere commits/s");
    record("readers/writer elsewhere searches/s", r.per_s);
    record("readers/writer elsewhere cpu us", r.cpu_us);
    r = read_beside_writer(&a, "t", "readers/writer here commits/s");
    record("readers/writer here searches/s", r.per_s);
    record("readers/writer here cpu us", r.cpu_us);
  }
  remove_database(a.path);
  figure("searches, reader alone", median("readers/alone searches/s"), "1/s",
         0, 0);
  figure("searches beside plain write() and fdatasync()",
         median_ratio("readers/neighbour searches/s",
                      "readers/alone searches/s"), "x", 0, 0);
  figure("searches beside a writer to another collection",
         median_ratio("readers/writer elsewhere searches/s",
                      "readers/alone searches/s"), "x", AT_LEAST, 0.9);
  figure("   processor time of one, against alone",
         median_ratio("readers/writer elsewhere cpu us",
                      "readers/alone cpu us"), "x", 0, 0);
  figure("   commits of that writer",
         median("readers/writer elsewhere commits/s"), "1/s", 0, 0);
  figure("searches beside a writer to the same collection",
         median_ratio("readers/writer here searches/s",
                      "readers/alone searches/s"), "x", AT_LEAST, 0.9);
  figure("   processor time of one, against alone",
         median_ratio("readers/writer here cpu us", "readers/alone cpu us"),
         "x", 0, 0);
  figure("   commits of that writer",
         median("readers/writer here commits/s"), "1/s", 0, 0);
}

static const struct { const char *name; void (*run)(void); } parts[] = {
  { "insert", part_insert }, { "bulk", part_bulk }, { "open", part_open },
  { "readers", part_readers }
};

static void usage(void){
  fprintf(stderr, "usage: b_store [--quick] [-r repetitions] [-n bulk rows] "
          "[-d folder]\n               [-o result.json] "
          "[insert|bulk|open|readers ..]\n");
  exit(2);
}

int main(int argc, char **argv){
  const char *result = VDB_SRCDIR "/bench/results/store.json";
  const char *about[] = {
    "benchmark", "store", "command", opt.command,
    "version", vecdb_libversion(), "sqlite", sqlite3_libversion(), NULL
  };
  const char *n_bulk = "0";
  unsigned chosen = 0;

  opt.folder = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
  snprintf(opt.command, sizeof(opt.command), "b_store");
  for(int i=1; i<argc; i++){           /* without paths of this machine */
    size_t at = strlen(opt.command);
    if( strcmp(argv[i], "-o")==0 || strcmp(argv[i], "-d")==0 ){
      i++;
      continue;
    }
    snprintf(opt.command+at, sizeof(opt.command)-at, " %s", argv[i]);
  }
  for(int i=1; i<argc; i++){
    bool has_arg = i+1<argc;
    if( strcmp(argv[i], "--quick")==0 ) opt.quick = true;
    else if( strcmp(argv[i], "-r")==0 && has_arg ) opt.reps = atoi(argv[++i]);
    else if( strcmp(argv[i], "-n")==0 && has_arg ) n_bulk = argv[++i];
    else if( strcmp(argv[i], "-d")==0 && has_arg ) opt.folder = argv[++i];
    else if( strcmp(argv[i], "-o")==0 && has_arg ) result = argv[++i];
    else{
      unsigned before = chosen;
      for(size_t k=0; k<sizeof(parts)/sizeof(parts[0]); k++){
        if( strcmp(argv[i], parts[k].name)==0 ) chosen |= 1u<<k;
      }
      if( chosen==before ) usage();
    }
  }
  opt.n_bulk = atoll(n_bulk);
  if( opt.n_bulk<=0 ) opt.n_bulk = opt.quick ? 100000 : 1000000;
  if( opt.reps<0 || opt.reps>REPS_MAX ) usage();
  opt.pid = (long)getpid();
  load_at_start = load_now();
  for(size_t k=0; k<sizeof(parts)/sizeof(parts[0]); k++){
    if( chosen==0 || (chosen>>k & 1) ) parts[k].run();
  }
  json_write(result, opt.folder, about);
  printf("%d goals missed\n", n_missed);
  return 0;
}
