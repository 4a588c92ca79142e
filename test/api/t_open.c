/* t_open.c -- opening, closing, structs that carry their size, results. */
#include "api/api.h"

#include <sys/wait.h>
#include <unistd.h>

#include "pager/format.h"
#include "util/bytes.h"
#include "util/crc32c.h"

TEST(version__is_told_three_ways){
  int n = 0, i = 0, x, y, z;
  CHECK_STR(VECDB_VERSION, vecdb_libversion());
  CHECK_INT(VECDB_VERSION_NUMBER, vecdb_libversion_number());
  CHECK_INT(3, sscanf(VECDB_VERSION, "%d.%d.%d", &x, &y, &z));
  CHECK_INT(VECDB_VERSION_NUMBER, x*1000000 + y*1000 + z);
  for(const char *o; (o = vecdb_compile_option(i))!=NULL; i++){
    if( strncmp(o, "SIMD=", 5)==0 ) n++;
  }
  CHECK_INT(1, n);
  CHECK(i<100 && vecdb_compile_option(-1)==NULL);
  CHECK(vecdb_compile_option(i+1)==NULL);
}

TEST(results__have_names_and_texts){
  CHECK_STR("not an error", vecdb_errstr(VECDB_OK));
  CHECK_STR("database is locked", vecdb_errstr(VECDB_BUSY_SNAPSHOT));
  CHECK_STR("unknown result code", vecdb_errstr(77));
  CHECK_STR("VECDB_BUSY", vecdb_errname(VECDB_BUSY));
  CHECK_STR("VECDB_BUSY_SNAPSHOT", vecdb_errname(VECDB_BUSY_SNAPSHOT));
  CHECK_STR("VECDB_IOERR_SYNC", vecdb_errname(VECDB_IOERR_SYNC));
  CHECK_STR("VECDB_CONSTRAINT_TYPE", vecdb_errname(VECDB_CONSTRAINT_TYPE));
  CHECK_STR("VECDB_ROW", vecdb_errname(VECDB_ROW));
  CHECK_STR("VECDB_IOERR", vecdb_errname(VECDB_IOERR | 99<<8));
  CHECK_STR("VECDB_UNKNOWN", vecdb_errname(77));
#define CHECK_NAME(name, num, text) \
  CHECK_INT(num, VECDB_##name); \
  CHECK_STR("VECDB_" #name, vecdb_errname(num)); \
  CHECK_STR(text, vecdb_errstr(num));
  VECDB_RESULT_MAP(CHECK_NAME)
}

/* A code and a sentence, and the end of both at the next success. */
TEST(results__are_of_the_last_call){
  vecdb *db = api_memory();
  CHECK_INT(VECDB_OK, vecdb_errcode(db));
  CHECK_STR("not an error", vecdb_errmsg(db));
  REFUSES(db, VECDB_MISUSE, "no transaction is open", vecdb_commit(db));
  CHECK_STR("no transaction is open", vecdb_errmsg(db));
  OK(db, vecdb_begin(db, VECDB_READ));
  CHECK_STR("not an error", vecdb_errmsg(db));
  CHECK_INT(VECDB_OK, vecdb_errcode(db));
  OK(db, vecdb_close(db));
  CHECK_INT(VECDB_NOMEM, vecdb_errcode(NULL));
  CHECK_STR("out of memory", vecdb_errmsg(NULL));
}

TEST(open__of_a_missing_file_says_so){
  vecdb *db = NULL;
  const char *path = vt_path("none.vdb");
  char want[5000];
  CHECK_RC(VECDB_CANTOPEN, vecdb_open(path, 0, NULL, &db));
  REQUIRE(db!=NULL);
  snprintf(want, sizeof(want), "cannot open \"%s\"", path);
  CHECK(strncmp(want, vecdb_errmsg(db), strlen(want))==0);
  CHECK_RC(VECDB_CANTOPEN, vecdb_errcode(db));
  REFUSES(db, VECDB_MISUSE, "the database is not open", vecdb_begin(db, 0));
  CHECK_INT(0, vecdb_in_transaction(db));
  CHECK_RC(VECDB_OK, vecdb_close(db));
}

struct bad_open { uint32_t flags; int rc; const char *msg; };
TEST(open__refuses_flags_that_exclude_each_other){
  static const struct bad_open bad[] = {
    { 0x1000, VECDB_MISUSE, "open: unknown flags 0x1000" },
    { VECDB_OPEN_READONLY|VECDB_OPEN_READWRITE, VECDB_MISUSE,
      "open: READONLY and IMMUTABLE exclude READWRITE and CREATE" },
    { VECDB_OPEN_IMMUTABLE|VECDB_OPEN_CREATE, VECDB_MISUSE,
      "open: READONLY and IMMUTABLE exclude READWRITE and CREATE" },
    { VECDB_OPEN_MEMORY|VECDB_OPEN_READONLY, VECDB_MISUSE,
      "open: MEMORY excludes READONLY and IMMUTABLE" },
  };
  for(size_t i=0; i<sizeof(bad)/sizeof(bad[0]); i++){
    vecdb *db = NULL;
    REFUSES(db, bad[i].rc, bad[i].msg,
            vecdb_open(vt_path("x.vdb"), bad[i].flags, NULL, &db));
    vecdb_close(db);
  }
}

TEST(open__checks_its_options){
  const char *path = vt_path("x.vdb");
  vecdb_options o = VECDB_OPTIONS_INIT;
  char want[4400];
  vecdb *db = NULL;
  o.page_size = 3000;
  snprintf(want, sizeof(want), "cannot open \"%s\": page size 3000 is not a "
           "power of two in 4096..65536", path);
  REFUSES(db, VECDB_RANGE, want, vecdb_open(path, VECDB_OPEN_CREATE, &o, &db));
  vecdb_close(db);
  o.page_size = 0;
  o.sync = 3;
  CHECK_RC(VECDB_RANGE, vecdb_open("", VECDB_OPEN_MEMORY, &o, &db));
  vecdb_close(db);
  o.sync = 0;
  o.threads = 5000;
  REFUSES(db, VECDB_RANGE, "threads 5000 is not in 0..1024",
          vecdb_open("", VECDB_OPEN_MEMORY, &o, &db));
  vecdb_close(db);
  REFUSES(db, VECDB_MISUSE, "open: no path", vecdb_open(NULL, 0, NULL, &db));
  vecdb_close(db);
  CHECK_RC(VECDB_MISUSE, vecdb_open("", VECDB_OPEN_MEMORY, NULL, NULL));
}

/* An older caller's struct is shorter, a newer one's longer. */
TEST(open__reads_options_by_their_size){
  struct { vecdb_options o; uint32_t more[3]; } longer =
    { VECDB_OPTIONS_INIT, { 0, 0, 0 } };
  vecdb *db = NULL;
  vecdb_stats st = { .size = sizeof(st) };
  char want[100];
  longer.o.size = sizeof(longer);
  CHECK_RC(VECDB_OK, vecdb_open("", VECDB_OPEN_MEMORY, &longer.o, &db));
  vecdb_close(db);
  longer.more[1] = 1;
  snprintf(want, sizeof(want), "vecdb_options: byte %zu is set, and this "
           "version knows only %zu", sizeof(longer.o)+4, sizeof(longer.o));
  REFUSES(db, VECDB_MISUSE, want,
          vecdb_open("", VECDB_OPEN_MEMORY, &longer.o, &db));
  vecdb_close(db);
  longer.o.size = 8;                               /* only page_size */
  longer.o.page_size = 8192;
  longer.o.sync = 99;
  CHECK_RC(VECDB_OK, vecdb_open("", VECDB_OPEN_MEMORY, &longer.o, &db));
  OK(db, vecdb_stat(db, &st));
  CHECK_INT(8192, st.page_size);
  vecdb_close(db);
  longer.o.size = 0;
  REFUSES(db, VECDB_MISUSE, "vecdb_options: the size is 0; begin with the "
                            "_INIT "
          "macro", vecdb_open("", VECDB_OPEN_MEMORY, &longer.o, &db));
  vecdb_close(db);
}

TEST(open__checks_an_outside_store){
  vecdb_page_store st;
  vecdb_options o = VECDB_OPTIONS_INIT;
  vecdb *db = NULL;
  memset(&st, 0, sizeof(st));
  o.store = &st;
  REFUSES(db, VECDB_MISUSE, "vecdb_page_store: the size is 0; begin with the "
                            "_INIT macro",
          vecdb_open("", 0, &o, &db));
  vecdb_close(db);
  st.size = sizeof(st);
  st.usable_size = 4000;
  REFUSES(db, VECDB_RANGE, "usable size 4000 of the page store is not a "
                           "multiple of 32 in 4032..65536",
          vecdb_open("", 0, &o, &db));
  vecdb_close(db);
  st.usable_size = 4032;
  REFUSES(db, VECDB_MISUSE, "a function of the page store is NULL",
          vecdb_open("", 0, &o, &db));
  vecdb_close(db);
}

TEST(structs__that_are_filled_keep_to_their_size){
  struct { vecdb_stats s; uint64_t more; } longer;
  vecdb *db = api_memory();
  memset(&longer, 0xff, sizeof(longer));
  longer.s.size = sizeof(longer);
  OK(db, vecdb_stat(db, &longer.s));
  CHECK_U64(0, longer.more);
  CHECK_INT(sizeof(longer), longer.s.size);
  memset(&longer, 0xff, sizeof(longer));
  longer.s.size = 16;
  OK(db, vecdb_stat(db, &longer.s));
  CHECK(longer.s.n_page!=UINT64_MAX);
  CHECK_U64(UINT64_MAX, longer.s.n_free_page);
  longer.s.size = 0;
  REFUSES(db, VECDB_MISUSE, "vecdb_stats: set its size before the call, found "
                            "0",
          vecdb_stat(db, &longer.s));
  vecdb_close(db);
}

TEST(null__handles_are_refused_or_ignored){
  vecdb_stmt *s;
  CHECK_RC(VECDB_OK, vecdb_close(NULL));
  CHECK_RC(VECDB_OK, vecdb_finalize(NULL));
  CHECK_RC(VECDB_OK, vecdb_collection_close(NULL));
  vecdb_free(NULL);
  vecdb_interrupt(NULL);
  CHECK_RC(VECDB_MISUSE, vecdb_begin(NULL, 0));
  CHECK_RC(VECDB_MISUSE, vecdb_step(NULL));
  CHECK_RC(VECDB_MISUSE, vecdb_reset(NULL));
  CHECK_RC(VECDB_MISUSE, vecdb_bind_int64(NULL, 0, 1));
  CHECK_RC(VECDB_MISUSE, vecdb_prepare_insert(NULL, 0, &s));
  CHECK(s==NULL);
  CHECK_RC(VECDB_MISUSE, vecdb_prepare_search(NULL, NULL, &s));
  CHECK_RC(VECDB_MISUSE, vecdb_put_many(NULL, 0, NULL, 0, 0, NULL));
  CHECK_INT(VECDB_NULL, vecdb_column_type(NULL, 0));
  CHECK(vecdb_column_text(NULL, 0)==NULL);
  CHECK_INT(0, vecdb_column_int64(NULL, 0));
  CHECK(isnan(vecdb_row_distance(NULL)));
  CHECK_INT(0, vecdb_column_count(NULL));
  CHECK_INT(-1, vecdb_column_find(NULL, "x"));
  CHECK(vecdb_collection_name(NULL)==NULL);
}

TEST(fork__makes_handles_unusable_in_the_child){
  vecdb *db = api_memory();
  vecdb_collection *c = api_collection(db, "t", "v float[2]");
  vecdb_stmt *s = api_insert(c);
  int status = 0;
  pid_t pid = fork();
  if( pid==0 ){
    int n_bad = 0;
    n_bad += vecdb_begin(db, VECDB_READ)!=VECDB_MISUSE;
    n_bad += vecdb_step(s)!=VECDB_MISUSE;
    n_bad += vecdb_close(db)!=VECDB_MISUSE;
    _exit(n_bad);
  }
  REQUIRE_INT(pid, waitpid(pid, &status, 0));
  CHECK(WIFEXITED(status) && WEXITSTATUS(status)==0);
  OK(db, vecdb_begin(db, VECDB_READ));
  OK(db, vecdb_close(db));
}

/* ---- Files -------------------------------------------------------------- */

static void write_file(const char *path, const void *p, size_t n){
  FILE *f = fopen(path, "wb");
  REQUIRE(f!=NULL);
  REQUIRE_U64(n, fwrite(p, 1, n, f));
  fclose(f);
}

TEST(open__of_a_file_that_is_not_ours_says_so){
  char text[9000];
  vecdb *db = NULL;
  const char *path = vt_path("text.vdb");
  memset(text, 'x', sizeof(text));
  write_file(path, text, sizeof(text));
  CHECK_RC(VECDB_NOTADB, vecdb_open(path, 0, NULL, &db));
  CHECK(strstr(vecdb_errmsg(db), "text.vdb")!=NULL);
  vecdb_close(db);
  memcpy(text, "SQLite format 3", 16);
  write_file(path, text, sizeof(text));
  CHECK_RC(VECDB_NOTADB, vecdb_open(path, 0, NULL, &db));
  vecdb_close(db);
  write_file(path, text, 100);
  CHECK_RC(VECDB_NOTADB, vecdb_open(path, 0, NULL, &db));
  vecdb_close(db);
}

TEST(file__keeps_its_rows){
  const char *path = vt_path("t.vdb");
  vecdb *db = api_open(path, NULL);
  vecdb_collection *c = api_collection(db, "t", "v float[2]");
  vecdb_stmt *s;
  unsigned char a[16], b[16];
  api_put(c, 5, "[1,2]");
  api_put(c, 9, "[3,4]");
  OK(db, vecdb_uuid(db, a));
  OK(db, vecdb_close(db));
  db = api_open(path, NULL);
  OK(db, vecdb_uuid(db, b));
  CHECK_MEM(a, b, 16);
  c = api_collection(db, "t", NULL);
  OK(db, vecdb_prepare_scan(c, NULL, &s));
  KEYS(db, "5 9 ", s);
  OK(db, vecdb_close(db));
  CHECK_RC(VECDB_OK, vecdb_open(path, VECDB_OPEN_READONLY, NULL, &db));
  c = api_collection(db, "t", NULL);
  OK(db, vecdb_prepare_insert(c, 0, &s));
  OK(db, vecdb_bind_vector_text(s, 1, "[5,6]", (size_t)-1));
  CHECK_RC(VECDB_READONLY, vecdb_step(s));
  CHECK_RC(VECDB_READONLY, vecdb_begin(db, VECDB_WRITE));
  CHECK_RC(VECDB_READONLY, vecdb_drop_collection(db, "t"));
  OK(db, vecdb_close(db));
}

TEST(file__that_is_gone_is_not_written){
  char path[4200], other[4200];
  vecdb *db;
  vecdb_collection *c;
  vecdb_stmt *s;
  snprintf(path, sizeof(path), "%s", vt_path("gone.vdb"));
  snprintf(other, sizeof(other), "%s", vt_path("moved.vdb"));
  db = api_open(path, NULL);
  c = api_collection(db, "t", "v float[2]");
  api_put(c, 1, "[1,2]");
  OK(db, vecdb_checkpoint(db, VECDB_CHECKPOINT_TRUNCATE, NULL, NULL));
  CHECK_INT(0, rename(path, other));
  s = api_insert(c);
  OK(db, vecdb_bind_vector_text(s, 1, "[3,4]", (size_t)-1));
  CHECK_RC(VECDB_READONLY, vecdb_step(s));
  CHECK(strstr(vecdb_errmsg(db), "moved, replaced or removed")!=NULL);
  OK(db, vecdb_finalize(s));
  OK(db, vecdb_prepare_scan(c, NULL, &s));
  KEYS(db, "1 ", s);                                 /* reading goes on */
  OK(db, vecdb_finalize(s));
  CHECK_INT(0, rename(other, path));
  api_put(c, 2, "[3,4]");                            /* it is back */
  OK(db, vecdb_close(db));
}

TEST(open__refuses_a_link_when_asked){
  char path[4200], link[4200];
  vecdb *db = NULL;
  snprintf(path, sizeof(path), "%s", vt_path("target.vdb"));
  snprintf(link, sizeof(link), "%s", vt_path("link.vdb"));
  db = api_open(path, NULL);
  OK(db, vecdb_close(db));
  CHECK_INT(0, symlink(path, link));
  CHECK_RC(VECDB_CANTOPEN, vecdb_open(link, VECDB_OPEN_READWRITE|
                                      VECDB_OPEN_NOFOLLOW, NULL, &db));
  vecdb_close(db);
  CHECK_RC(VECDB_OK, vecdb_open(path, VECDB_OPEN_READWRITE|
                                VECDB_OPEN_NOFOLLOW, NULL, &db));
  vecdb_close(db);
  CHECK_RC(VECDB_OK, vecdb_open(link, VECDB_OPEN_READWRITE, NULL, &db));
  vecdb_close(db);
}

TEST(file__that_lost_its_tail_is_refused_or_found_damaged){
  const char *path = vt_path("t.vdb");
  vecdb *db = api_open(path, NULL);
  vecdb_collection *c = api_collection(db, "t", "v float[2]");
  long sz;
  FILE *f;
  for(int i=0; i<200; i++) api_put(c, i, "[1,2]");
  OK(db, vecdb_close(db));
  f = fopen(path, "rb");
  fseek(f, 0, SEEK_END);
  sz = ftell(f);
  fclose(f);
  for(long n=0; n<sz; n += 1 + sz/23){
    vecdb *t2 = NULL;
    int rc;
    CHECK_INT(0, truncate(path, sz - 1 - n));
    rc = vecdb_open(path, VECDB_OPEN_READONLY, NULL, &t2);
    if( rc==VECDB_OK ) rc = vecdb_check(t2, 0, NULL, NULL);
    if( (rc & 0xff)!=VECDB_CORRUPT && rc!=VECDB_NOTADB
     && rc!=VECDB_IOERR_SHORT_READ ){
      FAIL("%ld bytes of %ld: %s: %s", sz-1-n, sz, vecdb_errname(rc),
           vecdb_errmsg(t2));
    }
    vecdb_close(t2);
  }
}

/* Change a byte of both header slots, and their checksums with it. */
static void patch_header(const char *path, size_t off, unsigned char value){
  unsigned char slot[HDRSLOT_SIZE];
  FILE *f = fopen(path, "rb+");
  REQUIRE(f!=NULL);
  for(long at=0; at<=4096; at+=4096){
    fseek(f, at, SEEK_SET);
    REQUIRE_U64(sizeof(slot), fread(slot, 1, sizeof(slot), f));
    slot[off] = value;
    put_u32(slot+HDRSLOT_CRC, vdb_crc32c(0, slot, HDRSLOT_CRC));
    fseek(f, at, SEEK_SET);
    fwrite(slot, 1, sizeof(slot), f);
  }
  fclose(f);
}

TEST(file__of_a_newer_format_is_refused){
  const char *path = vt_path("t.vdb");
  char want[4400];
  vecdb *db = api_open(path, NULL);
  api_collection(db, "t", "v float[2]");
  OK(db, vecdb_close(db));
  patch_header(path, HDRSLOT_RVERSION, 2);
  snprintf(want, sizeof(want), "cannot open \"%s\": its format 2 is newer than "
           "this library, which reads up to 1", path);
  REFUSES(db, VECDB_FORMAT, want, vecdb_open(path, 0, NULL, &db));
  vecdb_close(db);
  patch_header(path, HDRSLOT_RVERSION, 1);
  patch_header(path, HDRSLOT_INCOMPAT, 0x80);
  CHECK_RC(VECDB_FORMAT, vecdb_open(path, 0, NULL, &db));
  vecdb_close(db);
  patch_header(path, HDRSLOT_INCOMPAT, 0);
  patch_header(path, HDRSLOT_ROCOMPAT, 0x80);     /* may be read */
  CHECK_RC(VECDB_OK, vecdb_open(path, 0, NULL, &db));
  CHECK_RC(VECDB_READONLY, vecdb_begin(db, VECDB_WRITE));
  OK(db, vecdb_begin(db, VECDB_READ));
  OK(db, vecdb_close(db));
}
