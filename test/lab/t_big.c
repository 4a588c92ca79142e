/* t_big.c -- files past 4 GiB and slots past 2^31, without writing that much.
**
** A small sound file is told that it is large: the root page and the header
** get a page count beyond the limit, checksums made right, and the file is
** extended without data. All that is allocated from then on lies beyond it.
** Pages between are found by check as lost space (severity 1), nothing else.
** In the same way an empty collection is told that billions of rows were. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/api.h"
#include "pager/format.h"
#include "util/bytes.h"
#include "util/crc32c.h"

enum { DIMS = 32, N_ROW = 4000, PAGE = 4096 };

static const char schema[] =
  "id integer primary key, v float[32], n int, s text";

static void file_rw(int fd, void *p, off_t at, size_t n, bool write_it){
  ssize_t k = write_it ? pwrite(fd, p, n, at) : pread(fd, p, n, at);
  REQUIRE( k==(ssize_t)n );
}

static void page_seal(unsigned char *p){
  uint32_t crc = vdb_crc32c(0, p, PAGEHDR_CRC);
  put_u32(p + PAGEHDR_CRC,
          vdb_crc32c(crc, p + PAGEHDR_SIZE, PAGE - PAGEHDR_SIZE));
}

/* Set the page count in both header slots and in the root page. */
static void file_stretch(const char *path, uint32_t n_page){
  unsigned char slot[HDRSLOT_SIZE], page[PAGE];
  uint32_t pg_root = 0;
  int fd = open(path, O_RDWR);
  REQUIRE( fd>=0 );
  for(off_t at=0; at<8192; at+=4096){
    file_rw(fd, slot, at, sizeof(slot), false);
    if( vdb_crc32c(0, slot, HDRSLOT_CRC)!=get_u32(slot + HDRSLOT_CRC) ) continue;
    put_u32(slot + HDRSLOT_NPAGE, n_page);
    pg_root = get_u32(slot + HDRSLOT_ROOT);
    put_u32(slot + HDRSLOT_CRC, vdb_crc32c(0, slot, HDRSLOT_CRC));
    file_rw(fd, slot, at, sizeof(slot), true);
  }
  REQUIRE( pg_root>0 );
  file_rw(fd, page, (off_t)pg_root*PAGE, PAGE, false);
  put_u32(page + ROOT_NPAGE, n_page);
  page_seal(page);
  file_rw(fd, page, (off_t)pg_root*PAGE, PAGE, true);
  REQUIRE( ftruncate(fd, (off_t)n_page*PAGE)==0 );
  close(fd);
}

/* In the page of the only collection: all slots below `slot` were used. */
static void slots_stretch(const char *path, uint32_t slot){
  unsigned char page[PAGE];
  struct stat st;
  bool found = false;
  int fd = open(path, O_RDWR);
  REQUIRE( fd>=0 && fstat(fd, &st)==0 );
  for(off_t at=8192; at<st.st_size; at+=PAGE){
    file_rw(fd, page, at, PAGE, false);
    if( page[PAGEHDR_TYPE]!=9 ) continue;
    put_u32(page + COLL_NEXTSLOT, slot);
    put_u32(page + COLL_DELTAFIRST, slot);
    page_seal(page);
    file_rw(fd, page, at, PAGE, true);
    found = true;
  }
  close(fd);
  REQUIRE( found );
}

static void row_vector(int64_t key, float *v){
  v[0] = (float)key;
  for(int i=1; i<DIMS; i++) v[i] = (float)((key*(i + 3)) % 101);
}

static void rows_put(vecdb *db, vecdb_collection *c, int64_t lo, int64_t hi){
  vecdb_stmt *s = NULL;
  float v[DIMS];
  OK(db, vecdb_begin(db, VECDB_WRITE));
  OK(db, vecdb_prepare_insert(c, VECDB_OR_REPLACE, &s));
  for(int64_t k=lo; k<hi; k++){
    row_vector(k, v);
    OK(db, vecdb_bind_int64(s, 0, k));
    OK(db, vecdb_bind_vector(s, 1, VECDB_F32, v, sizeof(v), VECDB_STATIC));
    OK(db, vecdb_bind_int64(s, 2, k%10));
    OK(db, vecdb_bind_text(s, 3, "a text that is longer than a cell",
                           (size_t)-1, VECDB_STATIC));
    DONE(db, vecdb_step(s));
  }
  OK(db, vecdb_finalize(s));
  OK(db, vecdb_commit(db));
}

/* The first finding worse than lost space. */
static void note_damage(void *arg, int severity, const char *object,
                        const char *message){
  static char z[300];
  const char **first = arg;
  (void)object;
  if( severity<2 || *first!=NULL ) return;
  snprintf(z, sizeof(z), "%s", message);
  *first = z;
}

/* Every row is there, whole, and found by its own vector. */
static void rows_look(vecdb *db, vecdb_collection *c, int64_t n){
  vecdb_search_options o = VECDB_SEARCH_OPTIONS_INIT;
  const char *damage = NULL;
  vecdb_stmt *s = NULL;
  float v[DIMS];
  int64_t k = 0;
  int rc;
  OK(db, vecdb_prepare_scan(c, NULL, &s));
  for(; (rc = vecdb_step(s))==VECDB_ROW; k++){
    row_vector(k, v);
    CHECK_INT( k, vecdb_column_int64(s, 0) );
    CHECK_MEM( v, vecdb_column_vector(s, 1, NULL), sizeof(v) );
    CHECK_INT( k%10, vecdb_column_int64(s, 2) );
  }
  DONE(db, rc);
  CHECK_INT( n, k );
  OK(db, vecdb_finalize(s));
  o.k = 1;
  o.filter = "n = 7";
  OK(db, vecdb_prepare_search(c, &o, &s));
  row_vector(n-3, v);
  OK(db, vecdb_bind_vector(s, VECDB_QUERY, VECDB_F32, v, sizeof(v),
                           VECDB_STATIC));
  ROW(db, vecdb_step(s));
  CHECK_INT( n-3, vecdb_column_int64(s, 0) );
  CHECK_DBL( 0, vecdb_row_distance(s), 0 );
  OK(db, vecdb_finalize(s));
  OK(db, vecdb_check(db, 0, note_damage, &damage));
  CHECK_STR( NULL, damage );
}

static const char *small_file(void){
  const char *path = vt_path("big.vdb");
  vecdb *db = api_open(path, NULL);
  api_collection(db, "t", schema);
  OK(db, vecdb_close(db));
  return path;
}

/* Rows go in, are merged and read, in two sessions. */
static void file_live(const char *path, bool no_mmap){
  vecdb_options o = VECDB_OPTIONS_INIT;
  vecdb_optimize_options all = { .size = sizeof(all),
                                 .flags = VECDB_OPTIMIZE_ALL };
  vecdb *db;
  vecdb_collection *c;
  o.no_mmap = no_mmap;
  db = api_open(path, &o);
  c = api_collection(db, "t", NULL);
  rows_put(db, c, 0, N_ROW);
  OK(db, vecdb_optimize(c, &all));
  rows_put(db, c, 10, 60);
  rows_look(db, c, N_ROW);
  OK(db, vecdb_close(db));
  db = api_open(path, &o);
  rows_look(db, api_collection(db, "t", NULL), N_ROW);
  OK(db, vecdb_close(db));
}

static void live_beyond(uint32_t n_page, bool no_mmap){
  const char *path = small_file();
  struct stat st;
  file_stretch(path, n_page);
  file_live(path, no_mmap);
  REQUIRE( stat(path, &st)==0 );
  CHECK( (uint64_t)st.st_size>(uint64_t)n_page*PAGE );
  CHECK( st.st_blocks<64*2048 );                    /* 64 MiB: sparse still */
  unlink(path);
}

/* Across 2^32 bytes: the first pages below, the rest beyond. */
TEST(big__a_file_grows_across_4_gib){ live_beyond((1u<<20) - 20, false); }
TEST(big__a_file_past_4_gib_without_maps){ live_beyond((1u<<20) + 7, true); }
TEST(big__a_file_past_2_to_the_43_bytes){
  live_beyond(0x80000005u, false);
}

static void live_with_slots(uint32_t slot){
  const char *path = small_file();
  slots_stretch(path, slot);
  file_live(path, false);
  unlink(path);
}

TEST(big__slots_past_2_to_the_24){ live_with_slots((1u<<24) - 1000); }
TEST(big__slots_past_2_to_the_31){
  if( vt_scale()<10 ) SKIP("bitmaps of 2^31 slots take 256 MiB each");
  live_with_slots((1u<<31) - 1000);
}
