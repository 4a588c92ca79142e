/* f_import.c -- files of vectors and of rows for .import: one that is refused
** leaves the table as it was, one that is taken leaves it sound.
**
** The first byte of an input chooses the format, the second what else stands
** on the command line; the rest is the file. */
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

#include "fuzz/lib_shell.h"
#include "lab/lib_layer.h"
#include "util/bytes.h"

static const char *const formats[] = {
  "fvecs", "bvecs", "ivecs", "fbin", "u8bin", "i8bin", "ibin", "npy", "csv",
  "tsv", "jsonl"
};
static const char *const extras[] = {
  "", "--on-error skip", "--on-error log", "--skip 1 --limit 2",
  "--first-id 100", "--batch 1", "--metric l1", "--column v", "--id id",
  "--metric cosine --batch 3"
};
static const char *const words[] = {
  "id", "v", "n", "s", ",", "\t", "\n", "\"", "\"\"", "[1,2,3]", "{\"id\":",
  "\"v\":[", "]}", "null", "true", "1e400", "-0", "\xef\xbb\xbf", "\r\n",
  "\x93NUMPY", "'descr': '<f4'", "'<f8'", "'|u1'", "'fortran_order': True",
  "'shape': (3, 4)", "(4294967295,)", "\\u0000", "\xff", NULL
};

static const char setup[] =
  "CREATE VIRTUAL TABLE t USING vecdb(id integer primary key, v float[3],"
  " n int, s text);"
  "INSERT INTO t(id,v,n) VALUES(1,'[1,2,3]',1),(2,'[2,3,4]',2)";

static char path[300];

static void import_begin(void){
  shell_world_begin();
  snprintf(path, sizeof(path), "%s/vecdb-fuzz-%ld", shell_folder(),
           (long)getpid());
}

static int64_t value_of(struct shell *sh, const char *sql){
  sqlite3_stmt *s = NULL;
  int64_t v = -1;
  if( sqlite3_prepare_v2(sh->sql, sql, -1, &s, NULL)==SQLITE_OK
   && sqlite3_step(s)==SQLITE_ROW ) v = sqlite3_column_int64(s, 0);
  sqlite3_finalize(s);
  return v;
}

static void file_write(const uint8_t *p, size_t n){
  int fd = open(path, O_WRONLY|O_CREAT|O_TRUNC, 0600);
  if( fd<0 || write(fd, p, n)!=(ssize_t)n ) fuzz_fail("cannot write %s", path);
  close(fd);
}

/* Into a table that is there, or one that the import makes. */
static void import_one(const uint8_t *p, size_t n){
  char line[600];
  struct shell *sh;
  bool is_new;
  if( n<2 ) return;
  is_new = p[1] & 0x80;
  file_write(p + 2, n - 2);
  sh = shell_lend(false, is_new ? NULL : setup);
  snprintf(line, sizeof(line), ".import %s t --format %s %s", path,
           formats[p[0] % VDB_ARRAY_LEN(formats)],
           extras[(p[1] & 0x7f) % VDB_ARRAY_LEN(extras)]);
  shell_run_command(sh, line);
  if( sh->exit_code!=EXIT_OK ){
    int64_t n_row = value_of(sh, "SELECT count(*) FROM t");
    if( n_row!=(is_new ? -1 : 2) ){
      fuzz_fail("refused, and yet there are %d rows", (int)n_row);
    }
  }
  if( vecdb_check(sh->db, 0, NULL, NULL)!=VECDB_OK ){
    fuzz_fail("check: %s", vecdb_errmsg(sh->db));
  }
  shell_return(sh);
}

static void import_end(void){
  shell_world_end();
  unlink(path);
}

/* Rows of 3 elements as a count before each, or in a header. */
static size_t seed_vectors(uint8_t *p, int format){
  size_t sz = format==1 || format==4 || format==5 ? 1 : 4, n = 2;
  for(uint32_t row=0; row<4; row++){
    if( format>=3 && row==0 ){
      put_u32(p + n, 4);
      put_u32(p + n + 4, 3);
      n += 8;
    }
    if( format<3 ){
      put_u32(p + n, 3);
      n += 4;
    }
    for(uint32_t i=0; i<3; i++, n+=sz){
      if( sz==1 ) p[n] = (uint8_t)(row + i);
      else if( format==0 || format==3 ) put_f32(p + n, (float)(row + i));
      else put_u32(p + n, row + i);
    }
  }
  return n;
}

static size_t seed_npy(uint8_t *p){
  static const char head[] = "{'descr': '<f4', 'fortran_order': False, "
                             "'shape': (2, 3), }";
  size_t n = 2;
  memcpy(p + n, "\x93NUMPY\x01\x00", 8);
  put_u16(p + n + 8, 118);
  memset(p + n + 10, ' ', 118);
  memcpy(p + n + 10, head, sizeof(head) - 1);
  p[n + 127] = '\n';
  n += 128;
  for(int i=0; i<6; i++, n+=4) put_f32(p + n, (float)i);
  return n;
}

static size_t seed_text(uint8_t *p, const char *z){
  memcpy(p + 2, z, strlen(z));
  return 2 + strlen(z);
}

static void import_seeds(void){
  static const char *const text[] = {
    "id,v,n,s\n10,\"[1,2,3]\",5,abc\n11,\"[2,2,2]\",,\"d\"\"e\nf\"\n",
    "id\tv\tn\ts\n10\t[1,2,3]\t5\tabc\n11\t[4,5,6]\t\tx\n",
    ("{\"id\":10,\"v\":[1,2,3],\"n\":5,\"s\":\"abc\"}\n"
     "{\"id\":11,\"v\":[1,2,4],\"n\":null,\"s\":\"\\u00e9\"}\n")
  };
  uint8_t buf[400];
  char name[20];
  size_t n;
  for(int f=0; f<(int)VDB_ARRAY_LEN(formats); f++){
    for(int is_new=0; is_new<2; is_new++){
      buf[0] = (uint8_t)f;
      buf[1] = is_new ? 0x80 : 0;
      if( f<7 ) n = seed_vectors(buf, f);
      else if( f==7 ) n = seed_npy(buf);
      else n = seed_text(buf, text[f-8]);
      snprintf(name, sizeof(name), "%s%s", formats[f], is_new ? "_new" : "");
      fuzz_seed(name, buf, n);
    }
  }
}

const struct fuzz_target fuzz_target = {
  .name = "import", .sz_max = 4096, .mem_max = 64<<20, .n_keep = 2000,
  .seconds_max = 5, .words = words, .begin = import_begin,
  .one = import_one, .end = import_end, .seeds = import_seeds
};
