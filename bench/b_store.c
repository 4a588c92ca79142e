/* b_store.c -- the figures of the storage engine, through vecdb.h alone.
**
** insert   one durable row a transaction (768 float32, 8 metadata columns)
**          against SQLite with the same row, the vector as a BLOB, in
**          journal_mode=WAL and synchronous=FULL; frames and syncs of each.
** bulk     n x 128 float32 and two metadata columns in one transaction
**          against write() and fdatasync() of the same bytes; bytes in the
**          file, peak memory of the library.
** open     a large file, warm: open and first row; open and first search,
**          beside the same search again on the open handle.
** readers  searches a second, alone and while another process commits rows:
**          into another collection of the file, and into the same one.
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
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <sqlite3.h>

#include "vecdb.h"

enum {
  REPS_MAX = 100, SERIES_MAX = 48, FIGURES_MAX = 48,
  INSERT_DIM = 768, BULK_DIM = 128, CHUNK = 65536
};

static struct {
  bool quick;
  int reps;                            /* 0: each part's own default */
  int64_t n_bulk;
  const char *folder;
  char command[600];
  long pid;                            /* names the files; as in children */
} opt;

/* ------------------------------------------------------------- recording */

struct series { char key[48]; int n; double v[REPS_MAX]; };
static struct series series[SERIES_MAX];
static int n_series;

enum goal { GOAL_NONE, AT_LEAST, AT_MOST };
struct figure {
  char key[64];
  const char *unit;
  double value, bound;
  enum goal goal;
};
static struct figure figures[FIGURES_MAX];
static int n_figure, n_missed;

static struct series *series_of(const char *key){
  for(int i=0; i<n_series; i++){
    if( strcmp(series[i].key, key)==0 ) return &series[i];
  }
  if( n_series==SERIES_MAX ) abort();
  snprintf(series[n_series].key, sizeof(series[0].key), "%s", key);
  return &series[n_series++];
}

static void record(const char *key, double v){
  struct series *s = series_of(key);
  if( s->n<REPS_MAX ) s->v[s->n++] = v;
}

static int compare_doubles(const void *a, const void *b){
  double x = *(const double*)a, y = *(const double*)b;
  return x<y ? -1 : x>y;
}

static double median(const char *key){
  struct series *s = series_of(key);
  double v[REPS_MAX];
  if( s->n==0 ) return 0;
  memcpy(v, s->v, (size_t)s->n*sizeof(v[0]));
  qsort(v, (size_t)s->n, sizeof(v[0]), compare_doubles);
  return s->n%2 ? v[s->n/2] : (v[s->n/2-1] + v[s->n/2])/2;
}

/* The median of the ratios of two series repetition by repetition: both of a
** pair met the same disk. */
static double median_ratio(const char *above, const char *below){
  struct series *a = series_of(above), *b = series_of(below);
  char key[64];
  snprintf(key, sizeof(key), "%.44s/ratio", above);
  for(int i=0; i<a->n && i<b->n; i++) record(key, a->v[i]/b->v[i]);
  return median(key);
}

static void figure(const char *key, double value, const char *unit,
                   enum goal goal, double bound){
  struct figure *f = &figures[n_figure++];
  const char *verdict = "";
  if( n_figure>FIGURES_MAX ) abort();
  snprintf(f->key, sizeof(f->key), "%s", key);
  f->value = value;
  f->unit = unit;
  f->goal = goal;
  f->bound = bound;
  if( goal!=GOAL_NONE ){
    bool met = goal==AT_LEAST ? value>=bound : value<=bound;
    verdict = met ? "met" : "MISSED";
    n_missed += !met;
  }
  printf("%-52s %12.4g %-8s", key, value, unit);
  if( goal!=GOAL_NONE ){
    printf(" goal %s %-6.4g %s", goal==AT_LEAST ? ">=" : "<=", bound, verdict);
  }
  printf("\n");
  fflush(stdout);
}

/* --------------------------------------------------------------- helpers */

static double seconds(void){
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9*(double)t.tv_nsec;
}

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

static const char title[] = "a title of about forty bytes, as rows have";

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
  vecdb_bind_text(s, 9, title, sizeof(title)-1, VECDB_STATIC);
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
  sqlite3_bind_text(s, 10, title, sizeof(title)-1, SQLITE_STATIC);
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
                         int n){
  vecdb_stats a, b;
  for(int i=0; i<n && i<REPS_MAX; i++){
    a = stats_of(v->db);
    vecdb_insert_row(v, id+i, x);
    b = stats_of(v->db);
    record("insert/frames", (double)(b.n_frame - a.n_frame));
    record("insert/syncs", (double)(b.n_sync - a.n_sync));
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
    t0 = seconds();
    for(int i=0; i<n; i++) vecdb_insert_row(&v, id+i, x);
    t1 = seconds();
    for(int i=0; i<n; i++) sqlite_insert_row(sq, ins, id+i, x);
    t2 = seconds();
    if( r<0 ) continue;
    record("insert/vecdb rows/s", n/(t1-t0));
    record("insert/sqlite rows/s", n/(t2-t1));
  }
  b = stats_of(v.db);
  insert_count(&v, id, x, 100);
  figure("insert, vecdb", median("insert/vecdb rows/s"), "rows/s", 0, 0);
  figure("insert, SQLite", median("insert/sqlite rows/s"), "rows/s", 0, 0);
  figure("insert, vecdb against SQLite",
         median_ratio("insert/vecdb rows/s", "insert/sqlite rows/s"), "x",
         AT_LEAST, 0.7);
  figure("insert, frames of one", median("insert/frames"), "frames",
         AT_MOST, 6);
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

/* out: seconds, then the peak of the library's memory. */
static void bulk_vecdb(double *out, const void *arg){
  const struct bulk_args *a = arg;
  vecdb_column_data col[3];
  int64_t *year;
  double *score, t;
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
  t = seconds();
  must(db, vecdb_begin(db, VECDB_WRITE), "begin");
  for(int64_t i=0; i<a->n; i+=CHUNK){
    size_t n = a->n-i<CHUNK ? (size_t)(a->n-i) : CHUNK;
    must(db, vecdb_put_many(c, n, col, 3, 0, NULL), "put_many");
  }
  must(db, vecdb_commit(db), "commit");
  out[0] = seconds() - t;
  out[1] = (double)stats_of(db).mem_peak_bytes;
  vecdb_close(db);
}

/* The same bytes, vectors and metadata and keys, plainly. */
static void bulk_plain(double *out, const void *arg){
  const struct bulk_args *a = arg;
  int64_t *year, left = a->n*(BULK_DIM*4 + 24);
  int fd = open(a->path, O_RDWR|O_CREAT|O_TRUNC, 0600);
  double *score, t;
  float *x;

  if( fd<0 ) fail(a->path, strerror(errno));
  bulk_chunk(&x, &year, &score);
  t = seconds();
  while( left>0 ){
    size_t n = left<(1<<20) ? (size_t)left : 1<<20;
    if( write(fd, x, n)!=(ssize_t)n ) fail("write", strerror(errno));
    left -= (int64_t)n;
  }
  if( fdatasync(fd)!=0 ) fail("fdatasync", strerror(errno));
  out[0] = seconds() - t;
  close(fd);
  unlink(a->path);
}

static void part_bulk(void){
  int n_rep = reps_or(opt.quick ? 3 : 5);
  double mb = (double)opt.n_bulk*(BULK_DIM*4 + 24)/1e6, out[2];
  struct bulk_args v = { path_of("bulk.vdb"), opt.n_bulk };
  struct bulk_args w = { path_of("bulk.raw"), opt.n_bulk };

  for(int r=-2; r<n_rep; r++){         /* -2 and -1 warm up; who goes first */
    for(int k=0; k<2; k++){            /* changes with the repetition */
      bool is_plain = (r+2+k)%2==0;
      double bytes;
      if( is_plain ) in_child(bulk_plain, &w, out, 2);
      else in_child(bulk_vecdb, &v, out, 2);
      bytes = file_bytes(v.path);
      remove_database(v.path);
      if( r<0 ) continue;
      record(is_plain ? "bulk/write MB/s" : "bulk/vecdb MB/s", mb/out[0]);
      if( is_plain ) continue;
      record("bulk/vecdb rows/s", (double)opt.n_bulk/out[0]);
      record("bulk/peak MiB", out[1]/(1<<20));
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
  figure("bulk, file against vectors and metadata",
         median("bulk/file bytes")/(mb*1e6), "x", AT_MOST, 1.05);
  figure("bulk, peak memory of the library", median("bulk/peak MiB"), "MiB",
         AT_MOST, 64+64);
}

/* ------------------------------------------------------------------ open */

struct first { double open_ms, open_row_ms, open_search_ms, search_ms; };

static double search_once(vecdb *db, vecdb_collection *c, const float *q){
  vecdb_search_options so = VECDB_SEARCH_OPTIONS_INIT;
  vecdb_stmt *s = NULL;
  double t = seconds();
  int rc;
  must(db, vecdb_prepare_search(c, &so, &s), "prepare");
  must(db, vecdb_bind_vector(s, VECDB_QUERY, VECDB_F32, q,
                             BULK_DIM*sizeof(float), VECDB_STATIC), "bind");
  while( (rc = vecdb_step(s))==VECDB_ROW ) {}
  if( rc!=VECDB_DONE ) fail("search", vecdb_errmsg(db));
  vecdb_finalize(s);
  return 1e3*(seconds() - t);
}

static void row_once(vecdb *db, vecdb_collection *c, int64_t id){
  vecdb_stmt *s = NULL;
  must(db, vecdb_prepare_get(c, &s), "prepare");
  must(db, vecdb_bind_int64(s, VECDB_KEY, id), "bind");
  if( vecdb_step(s)!=VECDB_ROW ) fail("get", vecdb_errmsg(db));
  vecdb_finalize(s);
}

/* In a child: nothing in the process remembers the file. */
static void open_and_look(double *out, const void *arg){
  const struct bulk_args *a = arg;
  float q[BULK_DIM];
  vecdb_collection *c;
  vecdb *db;
  double t;

  floats_fill(q, BULK_DIM, 7);
  t = seconds();
  db = open_vecdb(a->path);
  out[0] = 1e3*(seconds() - t);
  c = open_collection(db, "t", NULL);
  row_once(db, c, a->n/2);
  out[1] = 1e3*(seconds() - t);
  vecdb_close(db);
  t = seconds();
  db = open_vecdb(a->path);
  c = open_collection(db, "t", NULL);
  search_once(db, c, q);
  out[2] = 1e3*(seconds() - t);
  out[3] = search_once(db, c, q);
  vecdb_close(db);
}

static void part_open(void){
  int n_rep = reps_or(opt.quick ? 5 : 9);
  struct bulk_args v = { path_of("open.vdb"), 2*opt.n_bulk };
  double out[4];

  in_child(bulk_vecdb, &v, out, 4);
  for(int r=-1; r<n_rep; r++){                   /* -1 warms the file */
    in_child(open_and_look, &v, out, 4);
    if( r<0 ) continue;
    record("open/open ms", out[0]);
    record("open/open and first row ms", out[1]);
    record("open/open and first search ms", out[2]);
    record("open/search again ms", out[3]);
    record("open/first search beyond the next ms", out[2]-out[3]);
  }
  figure("open, size of the file", file_bytes(v.path)/1e6, "MB", 0, 0);
  figure("open alone", median("open/open ms"), "ms", 0, 0);
  figure("open and first row by key", median("open/open and first row ms"),
         "ms", AT_MOST, 1);
  figure("open and first search (flat: reads all vectors)",
         median("open/open and first search ms"), "ms", 0, 0);
  figure("the same search again", median("open/search again ms"), "ms", 0, 0);
  figure("open and first search beyond the next one",
         median("open/first search beyond the next ms"), "ms", AT_MOST, 1);
  remove_database(v.path);
}

/* --------------------------------------------------------------- readers */

enum { READER_ROWS = 20000 };

static void readers_prepare(double *out, const void *arg){
  struct bulk_args a = { arg, READER_ROWS };
  vecdb *db;
  bulk_vecdb(out, &a);
  db = open_vecdb(a.path);
  open_collection(db, "other", BULK_SCHEMA);
  vecdb_close(db);
}

struct reader_args { const char *path; double seconds; };

static void reader_run(double *out, const void *arg){
  const struct reader_args *a = arg;
  vecdb *db = open_vecdb(a->path);
  vecdb_collection *c = open_collection(db, "t", NULL);
  float q[BULK_DIM];
  double t, n = 0;

  floats_fill(q, BULK_DIM, 7);
  search_once(db, c, q);
  t = seconds();
  while( seconds()-t < a->seconds ){
    search_once(db, c, q);
    n++;
  }
  out[0] = n/(seconds()-t);
  vecdb_close(db);
}

/* Commit single rows until killed. The row of one key is put over and over,
** so that what readers have to scan does not grow while they are timed. */
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

/* A reader's rate while a writer runs; commits a second beside it. */
static double read_beside_writer(const struct reader_args *a,
                                 const char *collection, double *commits){
  char buf[4096];
  double out[1];
  long n = 0, got;
  int fd[2];
  pid_t pid;
  double t;

  if( pipe(fd)!=0 ) fail("pipe", strerror(errno));
  fcntl(fd[0], F_SETPIPE_SZ, 1<<20);
  fflush(NULL);
  pid = fork();
  if( pid<0 ) fail("fork", strerror(errno));
  if( pid==0 ){
    close(fd[0]);
    writer_run(a->path, collection, fd[1]);
  }
  close(fd[1]);
  if( read(fd[0], buf, 1)!=1 ) fail("writer", "it failed");
  t = seconds();
  in_child(reader_run, a, out, 1);
  t = seconds() - t;
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  while( (got = read(fd[0], buf, sizeof(buf)))>0 ) n += got;
  close(fd[0]);
  *commits = (double)n/t;
  return out[0];
}

static void part_readers(void){
  int n_rep = reps_or(opt.quick ? 3 : 7);
  struct reader_args a = { path_of("readers.vdb"), opt.quick ? 0.5 : 2 };
  double out[2], commits;

  in_child(readers_prepare, a.path, out, 2);
  for(int r=0; r<n_rep; r++){
    in_child(reader_run, &a, out, 1);
    record("readers/alone searches/s", out[0]);
    record("readers/writer elsewhere searches/s",
           read_beside_writer(&a, "other", &commits));
    record("readers/writer elsewhere commits/s", commits);
    record("readers/writer here searches/s",
           read_beside_writer(&a, "t", &commits));
    record("readers/writer here commits/s", commits);
  }
  figure("searches, reader alone", median("readers/alone searches/s"), "1/s",
         0, 0);
  figure("commits beside it, other collection",
         median("readers/writer elsewhere commits/s"), "1/s", 0, 0);
  figure("searches beside a writer to another collection",
         median_ratio("readers/writer elsewhere searches/s",
                      "readers/alone searches/s"), "x", AT_LEAST, 0.9);
  figure("commits beside it, same collection",
         median("readers/writer here commits/s"), "1/s", 0, 0);
  figure("searches beside a writer to the same collection",
         median_ratio("readers/writer here searches/s",
                      "readers/alone searches/s"), "x", AT_LEAST, 0.9);
  remove_database(a.path);
}

/* ---------------------------------------------------------------- result */

/* The value of a line "key : value" of a file in /proc. */
static void proc_value(const char *path, const char *key, char *out,
                       size_t n){
  char line[400], *z;
  FILE *f = fopen(path, "r");
  snprintf(out, n, "unknown");
  while( f && fgets(line, sizeof(line), f) ){
    if( strncmp(line, key, strlen(key))!=0 || !(z = strchr(line, ':')) ){
      continue;
    }
    z += 1 + strspn(z+1, " \t");
    z[strcspn(z, "\n")] = 0;
    snprintf(out, n, "%.*s", (int)n-1, z);
    break;
  }
  if( f ) fclose(f);
}

/* The type of the file system that holds the folder: of all mount points
** above it the longest. */
static void file_system_type(char *out, size_t n){
  char line[2000], real[4096], at[1000], type[64];
  size_t best = 0, len;
  FILE *f = fopen("/proc/self/mounts", "r");
  snprintf(out, n, "unknown");
  if( !realpath(opt.folder, real) ) real[0] = 0;
  while( f && fgets(line, sizeof(line), f) ){
    if( sscanf(line, "%*s %999s %63s", at, type)!=2 ) continue;
    len = strlen(at);
    if( strncmp(real, at, len)!=0 || len<best ) continue;
    if( len>1 && real[len] && real[len]!='/' ) continue;
    best = len;
    snprintf(out, n, "%s", type);
  }
  if( f ) fclose(f);
}

static void json_string(FILE *f, const char *z){
  fputc('"', f);
  for(; *z; z++){
    if( *z=='"' || *z=='\\' ) fputc('\\', f);
    fputc((unsigned char)*z<' ' ? ' ' : *z, f);
  }
  fputc('"', f);
}

static void json_member(FILE *f, const char *key, const char *value){
  json_string(f, key);
  fputs(": ", f);
  json_string(f, value);
}

static void json_machine(FILE *f){
  char cpu[200], fs[64], memory[64], cores[24];
  struct utsname u;
  proc_value("/proc/cpuinfo", "model name", cpu, sizeof(cpu));
  proc_value("/proc/meminfo", "MemTotal", memory, sizeof(memory));
  file_system_type(fs, sizeof(fs));
  snprintf(cores, sizeof(cores), "%ld", sysconf(_SC_NPROCESSORS_ONLN));
  if( uname(&u)!=0 ) memset(&u, 0, sizeof(u));
  fputs(" \"machine\": {", f);
  json_member(f, "cpu", cpu);
  fprintf(f, ", \"cores\": %s, ", cores);
  json_member(f, "memory", memory);
  fputs(", ", f);
  json_member(f, "kernel", u.release);
  fputs(", ", f);
  json_member(f, "file system", fs);
  fputs("},\n", f);
}

static void json_write(const char *path){
  FILE *f = fopen(path, "w");
  if( !f ) fail(path, strerror(errno));
  fputs("{", f);
  json_member(f, "benchmark", "store");
  fputs(",\n ", f);
  json_member(f, "command", opt.command);
  fputs(",\n ", f);
  json_member(f, "version", vecdb_libversion());
  fputs(",\n ", f);
  json_member(f, "sqlite", sqlite3_libversion());
  fputs(",\n", f);
  json_machine(f);
  fputs(" \"figures\": [\n", f);
  for(int i=0; i<n_figure; i++){
    const struct figure *g = &figures[i];
    fputs("  {", f);
    json_member(f, "name", g->key);
    fprintf(f, ", \"value\": %.6g, ", g->value);
    json_member(f, "unit", g->unit);
    if( g->goal!=GOAL_NONE ){
      fprintf(f, ", \"goal\": \"%s %.6g\", \"met\": %s",
              g->goal==AT_LEAST ? ">=" : "<=", g->bound,
              (g->goal==AT_LEAST ? g->value>=g->bound : g->value<=g->bound)
              ? "true" : "false");
    }
    fprintf(f, "}%s\n", i+1<n_figure ? "," : "");
  }
  fputs(" ],\n \"series\": {\n", f);
  for(int i=0; i<n_series; i++){
    fputs("  ", f);
    json_string(f, series[i].key);
    fputs(": [", f);
    for(int k=0; k<series[i].n; k++){
      fprintf(f, "%s%.6g", k ? ", " : "", series[i].v[k]);
    }
    fprintf(f, "]%s\n", i+1<n_series ? "," : "");
  }
  fputs(" }\n}\n", f);
  if( fclose(f)!=0 ) fail(path, strerror(errno));
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
  unsigned chosen = 0;

  opt.folder = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
  snprintf(opt.command, sizeof(opt.command), "b_store");
  for(int i=1; i<argc; i++){
    size_t at = strlen(opt.command);
    snprintf(opt.command+at, sizeof(opt.command)-at, " %s", argv[i]);
  }
  for(int i=1; i<argc; i++){
    bool has_arg = i+1<argc;
    if( strcmp(argv[i], "--quick")==0 ) opt.quick = true;
    else if( strcmp(argv[i], "-r")==0 && has_arg ) opt.reps = atoi(argv[++i]);
    else if( strcmp(argv[i], "-n")==0 && has_arg ) opt.n_bulk = atoll(argv[++i]);
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
  if( opt.n_bulk<=0 ) opt.n_bulk = opt.quick ? 100000 : 1000000;
  if( opt.reps<0 || opt.reps>REPS_MAX ) usage();
  opt.pid = (long)getpid();
  for(size_t k=0; k<sizeof(parts)/sizeof(parts[0]); k++){
    if( chosen==0 || (chosen>>k & 1) ) parts[k].run();
  }
  json_write(result);
  printf("%d goals missed\n", n_missed);
  return 0;
}
