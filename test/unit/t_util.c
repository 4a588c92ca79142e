/* t_util.c -- the modules of util/. */
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdatomic.h>

#include "util/bitset.h"
#include "util/bytes.h"
#include "util/common.h"
#include "util/crc32c.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/pool.h"
#include "util/rng.h"
#include "util/str.h"
#include "util/topk.h"
#include "vt.h"

/* ---- bytes */

TEST(bytes__integers_are_little_endian_and_need_no_alignment){
  unsigned char b[16] = { 0 };
  put_u64(b+1, 0x0102030405060708u);
  CHECK_INT(8, b[1]);
  CHECK_INT(1, b[8]);
  CHECK_U64(0x0102030405060708u, get_u64(b+1));
  put_u16(b+3, 0xfffe);
  CHECK_U64(0xfffe, get_u16(b+3));
  put_f64(b+5, -0.5);
  CHECK_DBL(-0.5, get_f64(b+5), 0);
  put_f32(b+5, 1e-45f);
  CHECK_DBL(1e-45f, get_f32(b+5), 0);
}

TEST(bytes__keys_sort_like_numbers){
  static const int64_t v[] = { INT64_MIN, -256, -1, 0, 1, 255, INT64_MAX };
  unsigned char a[8], b[8];
  for(size_t i=0; i<VDB_ARRAY_LEN(v); i++){
    put_key_i64(a, v[i]);
    CHECK_INT(v[i], get_key_i64(a));
    if( i==0 ) continue;
    put_key_i64(b, v[i-1]);
    CHECK( memcmp(b, a, 8)<0 );
  }
}

TEST(bytes__varints_read_back){
  unsigned char b[VARINT_MAX_BYTES];
  for(int bit=0; bit<64; bit++){
    for(int d=-1; d<=1; d++){
      uint64_t v = ((uint64_t)1<<bit) + (uint64_t)d, back = 1;
      size_t n = vdb_put_varint(b, v);
      CHECK_U64(n, vdb_get_varint(b, b+n, &back));
      CHECK_U64(v, back);
      CHECK_U64(0, vdb_get_varint(b, b+n-1, &back));    /* cut off */
    }
  }
}

TEST(bytes__refuses_a_varint_that_does_not_fit){
  unsigned char b[12];
  uint64_t v;
  memset(b, 0xff, sizeof(b));
  CHECK_U64(0, vdb_get_varint(b, b+12, &v));            /* never ends */
  b[9] = 1;
  CHECK_U64(10, vdb_get_varint(b, b+12, &v));
  CHECK_U64(UINT64_MAX, v);
  b[9] = 2;                                             /* the 65th bit */
  CHECK_U64(0, vdb_get_varint(b, b+12, &v));
  CHECK_U64(0, v);
}

/* ---- crc32c */

TEST(crc32c__gives_the_published_values){
  unsigned char b[32];
  CHECK_U64(0, vdb_crc32c(0, "", 0));
  CHECK_U64(0xe3069283u, vdb_crc32c(0, "123456789", 9));
  memset(b, 0, 32);                                     /* RFC 3720, B.4 */
  CHECK_U64(0x8a9136aau, vdb_crc32c(0, b, 32));
  memset(b, 0xff, 32);
  CHECK_U64(0x62a8ab43u, vdb_crc32c(0, b, 32));
  for(int i=0; i<32; i++) b[i] = (unsigned char)i;
  CHECK_U64(0x46dd794eu, vdb_crc32c(0, b, 32));
  CHECK_U64(0x46dd794eu, vdb_crc32c_soft(0, b, 32));
}

/* Every length up to some blocks of each size, from odd addresses. */
TEST(crc32c__hardware_and_table_agree){
  static unsigned char b[80000];
  struct vdb_rng r;
  vdb_rng_init(&r, vt_seed());
  for(size_t i=0; i<sizeof(b); i++) b[i] = (unsigned char)vdb_rng_u64(&r);
  for(size_t n=0; n<5000; n++){
    REQUIRE_U64( vdb_crc32c_soft(7, b+n%9, n), vdb_crc32c(7, b+n%9, n) );
    REQUIRE_U64( vdb_crc32c_soft(7, b+n%9, n), vdb_crc32c_plain(7, b+n%9, n) );
  }
  for(size_t n=5000; n<79000; n+=487){
    REQUIRE_U64( vdb_crc32c_soft(0, b+n%9, n), vdb_crc32c(0, b+n%9, n) );
    REQUIRE_U64( vdb_crc32c_soft(0, b+n%9, n), vdb_crc32c_plain(0, b+n%9, n) );
  }
}

TEST(crc32c__is_a_chain){
  unsigned char b[10000];
  for(size_t i=0; i<sizeof(b); i++) b[i] = (unsigned char)(i*7);
  for(size_t cut=0; cut<=sizeof(b); cut+=777){
    uint32_t c = vdb_crc32c(vdb_crc32c(0, b, cut), b+cut, sizeof(b)-cut);
    CHECK_U64( vdb_crc32c(0, b, sizeof(b)), c );
  }
}

/* ---- mem */

TEST(mem__counts_every_byte){
  struct vdb_mem_stats s0, s1;
  void *a, *b, *c;
  vdb_mem_stats(&s0);
  a = vdb_malloc(100);
  b = vdb_calloc(10, 5);
  c = vdb_malloc_aligned(1000);
  REQUIRE( a && b && c );
  CHECK_U64( 0, (uintptr_t)c % 64 );
  CHECK_U64( 0, (uintptr_t)a % 16 );
  CHECK_INT( 0, ((char *)b)[49] );
  a = vdb_realloc(a, 10000);
  vdb_mem_stats(&s1);
  CHECK_U64( s0.sz_now + 11050, s1.sz_now );
  CHECK_U64( s0.n_block + 3, s1.n_block );
  CHECK_U64( s0.n_call + 4, s1.n_call );
  vdb_free(a);
  vdb_free(b);
  vdb_free_aligned(c);
  vdb_free(NULL);
  vdb_free_aligned(NULL);
  vdb_mem_stats(&s1);
  CHECK_U64( s0.sz_now, s1.sz_now );
  CHECK_U64( s0.n_block, s1.n_block );
  CHECK( s1.sz_peak>=s0.sz_now+11050 );
}

TEST(mem__an_empty_block_is_not_null){
  void *p = vdb_malloc(0), *q = vdb_memdup(NULL, 0);
  char *z = vdb_strndup(NULL, 0);
  CHECK( p && q && z );
  CHECK_STR( "", z );
  CHECK( vdb_strdup(NULL)==NULL );
  vdb_free(p);
  vdb_free(q);
  vdb_free(z);
}

TEST(mem__refuses_sizes_that_overflow){
  CHECK( vdb_malloc(SIZE_MAX)==NULL );
  CHECK( vdb_malloc_aligned(SIZE_MAX-10)==NULL );
  CHECK( vdb_calloc(SIZE_MAX/2, 3)==NULL );
  CHECK( vdb_malloc_array(SIZE_MAX/2, 3)==NULL );
  CHECK( vdb_strndup("x", SIZE_MAX)==NULL );
}

TEST(mem__fails_the_nth_call){
  void *p;
  vdb_mem_fail_at(3, false);
  for(int i=1; i<=4; i++){
    p = vdb_malloc(8);
    CHECK_INT( i==3, p==NULL );
    vdb_free(p);
  }
  CHECK_U64( 1, vdb_mem_fail_at(0, false) );
}

TEST(mem__fails_from_the_nth_call_on){
  void *keep = vdb_malloc(8), *p;
  REQUIRE( keep );
  vdb_mem_fail_at(2, true);
  p = vdb_malloc(8);
  CHECK( p );
  CHECK( vdb_malloc(8)==NULL );
  CHECK( vdb_realloc(keep, 9)==NULL );
  CHECK( vdb_calloc(1, 8)==NULL );
  CHECK( vdb_malloc_aligned(8)==NULL );
  CHECK_U64( 4, vdb_mem_fail_at(0, false) );
  vdb_free(p);
  vdb_free(keep);
}

TEST(mem__grow_doubles_and_keeps_the_content){
  int *a = NULL;
  size_t n_cap = 0;
  for(int i=0; i<1000; i++){
    REQUIRE_RC( VECDB_OK, vdb_grow(&a, &n_cap, (size_t)i+1, sizeof(*a)) );
    a[i] = i;
  }
  CHECK_U64( 1024, n_cap );
  for(int i=0; i<1000; i++) REQUIRE_INT( i, a[i] );
  vdb_mem_fail_at(1, false);
  CHECK_RC( VECDB_NOMEM, vdb_grow(&a, &n_cap, 2000, sizeof(*a)) );
  CHECK_U64( 1024, n_cap );
  CHECK_RC( VECDB_NOMEM, vdb_grow(&a, &n_cap, SIZE_MAX/2, sizeof(*a)) );
  CHECK_INT( 999, a[999] );
  vdb_free(a);
}

/* ---- err */

TEST(err__keeps_code_and_sentence){
  struct vdb_err e = { 0 };
  CHECK_STR( "not an error", vdb_error_text(&e) );
  CHECK_RC( VECDB_BUSY, vdb_error(&e, VECDB_BUSY, "pid %d", 7) );
  CHECK_STR( "pid 7", vdb_error_text(&e) );
  vdb_error_prefix(&e, "cannot write \"%s\"", "x.vdb");
  CHECK_STR( "cannot write \"x.vdb\": pid 7", vdb_error_text(&e) );
  vdb_error_clear(&e);
  vdb_error_prefix(&e, "nothing to add to");
  CHECK_STR( "not an error", vdb_error_text(&e) );
  CHECK_RC( VECDB_FULL, vdb_error(NULL, VECDB_FULL, "nobody listens") );
}

TEST(err__an_empty_sentence_is_the_text_of_the_code){
  struct vdb_err e = { VECDB_IOERR_SYNC, "" };
  CHECK_STR( "disk I/O error", vdb_error_text(&e) );
  vdb_error_prefix(&e, "x");
  CHECK_STR( "x: disk I/O error", vdb_error_text(&e) );
  CHECK_STR( "unknown result code", vdb_rc_text(99) );
}

TEST(err__cuts_long_sentences_between_characters){
  struct vdb_err e = { 0 };
  char z[1001];
  for(int i=0; i<1000; i+=2) memcpy(z+i, "\xc3\xa4", 2);
  z[1000] = 0;
  for(int pad=0; pad<2; pad++){
    size_t n;
    (void)vdb_error(&e, VECDB_ERROR, "%s%s", pad ? "x" : "", z);
    n = strlen(e.msg);
    CHECK( n<sizeof(e.msg) && n>=sizeof(e.msg)-5 );
    CHECK_STR( "...", e.msg+n-3 );
    CHECK_INT( (char)0xa4, e.msg[n-4] );               /* a whole one */
  }
}

TEST(err__internal_errors_name_the_source_line){
  struct vdb_err e = { 0 };
  int line = __LINE__ + 1;
  CHECK_RC( VECDB_CORRUPT, VDB_CORRUPT(&e, "cell %d", 3) );
  {
    char want[64];
    snprintf(want, sizeof(want), "t_util.c:%d: cell 3", line);
    CHECK( strstr(e.msg, want) );
  }
}

struct log_seen { int rc; char msg[64]; };
static void log_to(void *arg, int rc, const char *msg){
  struct log_seen *s = arg;
  s->rc = rc;
  snprintf(s->msg, sizeof(s->msg), "%s", msg);
}

TEST(err__log_reaches_the_callback){
  struct log_seen s = { 0, "" };
  vdb_log(VECDB_ERROR, "nobody listens");
  vdb_log_set(log_to, &s);
  vdb_log(VECDB_CORRUPT_WAL, "log %d", 5);
  CHECK_RC( VECDB_CORRUPT_WAL, s.rc );
  CHECK_STR( "log 5", s.msg );
  vdb_log_set(NULL, NULL);
  vdb_log(VECDB_ERROR, "again nobody");
  CHECK_STR( "log 5", s.msg );
}

/* ---- rng */

TEST(rng__is_the_same_sequence_everywhere){
  struct vdb_rng r;
  vdb_rng_init(&r, 0);
  CHECK_U64( 0xe220a8397b1dcdafu, vdb_rng_u64(&r) );   /* SplitMix64 */
  CHECK_U64( 0x6e789e6aa1b965f4u, vdb_rng_u64(&r) );
}

/* The bits of these sums are promised to files: see doc/determinism.md. */
TEST(rng__gauss_is_normal_and_bit_exact){
  struct vdb_rng r;
  double sum = 0, sum2 = 0, sum4 = 0;
  uint64_t digest = 0;
  int n = 100000;
  vdb_rng_init(&r, 12345);
  for(int i=0; i<n; i++){
    double g = vdb_rng_gauss(&r);
    unsigned char b[8];
    put_f64(b, g);
    digest = vdb_mix64(digest ^ get_u64(b));
    sum += g;
    sum2 += g*g;
    sum4 += g*g*g*g;
  }
  CHECK_DBL( 0, sum/n, 0.015 );
  CHECK_DBL( 1, sum2/n, 0.02 );
  CHECK_DBL( 3, sum4/n, 0.15 );
  CHECK_U64( 0x798cace01592933au, digest );
}

TEST(rng__below_stays_below){
  struct vdb_rng r;
  int n_seen[7] = { 0 };
  vdb_rng_init(&r, vt_seed());
  for(int i=0; i<70000; i++){
    uint32_t x = vdb_rng_below(&r, 7);
    double u = vdb_rng_unit(&r);
    REQUIRE( x<7 );
    REQUIRE( u>=0 && u<1 );
    n_seen[x]++;
  }
  for(int i=0; i<7; i++) CHECK_DBL( 10000, n_seen[i], 600 );
}

/* ---- str */

TEST(str__grows_and_is_taken){
  struct vdb_str s = VDB_STR_INIT;
  char *z;
  vdb_str_addz(&s, "ab");
  vdb_str_addc(&s, 'c');
  vdb_str_addf(&s, "%d-%s", 42, "x");
  vdb_str_add(&s, "\0y", 2);
  CHECK_U64( 9, s.n );
  vdb_str_truncate(&s, 100);
  vdb_str_truncate(&s, 7);
  CHECK_RC( VECDB_OK, vdb_str_rc(&s) );
  z = vdb_str_take(&s);
  CHECK_STR( "abc42-x", z );
  CHECK( s.z==NULL && s.n==0 );
  vdb_free(z);
  z = vdb_str_take(&s);
  CHECK_STR( "", z );
  vdb_free(z);
}

TEST(str__remembers_a_failed_allocation){
  struct vdb_str s = VDB_STR_INIT;
  vdb_mem_fail_at(1, false);
  vdb_str_addz(&s, "lost");
  vdb_str_addz(&s, "too late");
  CHECK_RC( VECDB_NOMEM, vdb_str_rc(&s) );
  CHECK_U64( 0, s.n );
  CHECK( vdb_str_take(&s)==NULL );
  CHECK_RC( VECDB_OK, vdb_str_rc(&s) );
  vdb_mem_fail_at(0, false);
}

TEST(str__compares_ascii_without_case){
  CHECK_INT( 0, vdb_stricmp("CoSine", "cosine") );
  CHECK( vdb_stricmp("a", "b")<0 );
  CHECK( vdb_stricmp("ab", "a")>0 );
  CHECK( vdb_stricmp("\xc3\x84", "\xc3\xa4")!=0 );
  CHECK_INT( 0, vdb_strnicmp("ABx", "aby", 2) );
  CHECK( vdb_is_space('\n') && !vdb_is_space('x') && vdb_is_digit('7') );
}

TEST(str__suggests_the_nearest_word){
  static const char *const list[] = { "metric", "dims", "ef", "m", NULL };
  CHECK_STR( "metric", vdb_nearest_word("metrik", list) );
  CHECK_STR( "metric", vdb_nearest_word("METIRC", list) );
  CHECK_STR( "dims", vdb_nearest_word("dim", list) );
  CHECK_STR( "ef", vdb_nearest_word("fe", list) );
  CHECK_STR( NULL, vdb_nearest_word("q", list) );
  CHECK_STR( NULL, vdb_nearest_word("quantizer", list) );
  CHECK_STR( NULL, vdb_nearest_word("", list) );
}

/* ---- num */

static void check_double(const char *z, size_t n_used, double want){
  double v = -1;
  CHECK_U64( n_used, vdb_scan_double(z, strlen(z), &v) );
  CHECK_DBL( want, v, 0 );
}

TEST(num__reads_what_the_grammar_allows){
  check_double("1", 1, 1);
  check_double("-12.5e1x", 7, -125);
  check_double("+0.1", 4, 0.1);
  check_double("5.", 1, 5);
  check_double("1e", 1, 1);
  check_double("1e+", 1, 1);
  check_double("2E-3", 4, 0.002);
  check_double("", 0, 0);
  check_double("-", 0, 0);
  check_double(".5", 0, 0);
  check_double("nan", 0, 0);
  check_double("0x10", 1, 0);
  check_double("1e999", 5, HUGE_VAL);
  check_double("-1e999999999999", 15, -HUGE_VAL);
  check_double("1e-99999999999", 14, 0);
  check_double("0e99999999999", 13, 0);
  CHECK( signbit((vdb_scan_double("-0", 2, &(double){ 0 }), -0.0)) );
}

TEST(num__stops_at_the_length_it_is_given){
  double v;
  int64_t i;
  CHECK_U64( 2, vdb_scan_double("1234", 2, &v) );
  CHECK_DBL( 12, v, 0 );
  CHECK_U64( 1, vdb_scan_double("1.5", 2, &v) );
  CHECK_U64( 3, vdb_scan_i64("12345", 3, &i) );
  CHECK_INT( 123, i );
}

TEST(num__rounds_correctly){
  static const char *const hard[] = {
    "9007199254740993", "9007199254740992.5", "1.7976931348623158e308",
    "2.2250738585072011e-308", "4.9e-324", "2.4e-324", "123456789012345678901",
    "0.1234567890123456789012345", "7.2057594037927933e16", "6.0221407621e23",
    "8.589973e9", "1.00000005960464477539062499", "1.00000005960464477539062501"
  };
  for(size_t i=0; i<VDB_ARRAY_LEN(hard); i++){
    float f;
    check_double(hard[i], strlen(hard[i]), strtod(hard[i], NULL));
    vdb_scan_float(hard[i], strlen(hard[i]), &f);
    CHECK_DBL( strtof(hard[i], NULL), f, 0 );
  }
}

/* 1 + 2^-24 is halfway between two floats; a 1 far behind decides. */
TEST(num__a_far_digit_decides_a_tie){
  char z[2000] = "1.000000059604644775390625";
  size_t n = strlen(z);
  float f;
  vdb_scan_float(z, n, &f);
  CHECK_DBL( 1.0f, f, 0 );
  memset(z+n, '0', 1500);
  memcpy(z+n+1500, "1", 2);
  CHECK_U64( n+1501, vdb_scan_float(z, n+1501, &f) );
  CHECK_DBL( 1.0f+FLT_EPSILON, f, 0 );
}

TEST(num__reads_integers_that_fit){
  int64_t v;
  CHECK_U64( 20, vdb_scan_i64("-9223372036854775808", 20, &v) );
  CHECK_INT( INT64_MIN, v );
  CHECK_U64( 19, vdb_scan_i64("9223372036854775807", 19, &v) );
  CHECK_INT( INT64_MAX, v );
  CHECK_U64( 0, vdb_scan_i64("9223372036854775808", 19, &v) );
  CHECK_U64( 0, vdb_scan_i64("-9223372036854775809", 20, &v) );
  CHECK_U64( 2, vdb_scan_i64("+7x", 3, &v) );
  CHECK_U64( 0, vdb_scan_i64("+", 1, &v) );
}

static void check_print(const char *want, double v){
  char buf[VDB_NUM_MAX];
  CHECK_U64( strlen(want), vdb_print_double(buf, v) );
  CHECK_STR( want, buf );
}

TEST(num__prints_the_shortest_text){
  char buf[VDB_NUM_MAX];
  check_print("0", 0);
  check_print("-0", -0.0);
  check_print("1", 1);
  check_print("-1.5", -1.5);
  check_print("0.1", 0.1);
  check_print("0.30000000000000004", 0.1+0.2);
  check_print("100000", 1e5);
  check_print("12345678901234568", 12345678901234568.0);
  check_print("1e17", 1e17);
  check_print("1.5e300", 1.5e300);
  check_print("0.00001234", 0.00001234);
  check_print("1.234e-6", 0.000001234);
  check_print("5e-324", 5e-324);
  check_print("2.2250738585072014e-308", DBL_MIN);
  check_print("1.7976931348623157e308", DBL_MAX);
  check_print("inf", HUGE_VAL);
  check_print("-inf", -HUGE_VAL);
  vdb_print_double(buf, (double)NAN);
  CHECK_STR( "nan", strpbrk(buf, "n") );
  vdb_print_float(buf, 0.1f);
  CHECK_STR( "0.1", buf );
  vdb_print_float(buf, 16777216.0f);
  CHECK_STR( "16777216", buf );
  vdb_print_float(buf, 1e-45f);
  CHECK_STR( "1e-45", buf );
  vdb_print_float(buf, FLT_MAX);
  CHECK_STR( "3.4028235e38", buf );
}

static bool float_reads_back(uint32_t u){
  char buf[VDB_NUM_MAX];
  float f, g;
  size_t n;
  memcpy(&f, &u, 4);
  if( !isfinite(f) ) return true;
  n = vdb_print_float(buf, f);
  return n<VDB_NUM_MAX && buf[n]==0 && vdb_scan_float(buf, n, &g)==n
      && memcmp(&f, &g, 4)==0 && strtof(buf, NULL)==f;
}

static bool double_reads_back(uint64_t u){
  char buf[VDB_NUM_MAX];
  double f, g;
  size_t n;
  memcpy(&f, &u, 8);
  if( !isfinite(f) ) return true;
  n = vdb_print_double(buf, f);
  return n<VDB_NUM_MAX && buf[n]==0 && vdb_scan_double(buf, n, &g)==n
      && memcmp(&f, &g, 8)==0 && strtod(buf, NULL)==f;
}

/* No shorter text may do: printf with one digit less must not read back. */
static bool float_is_shortest(uint32_t u){
  char buf[VDB_NUM_MAX], less[48];
  int n_digit = 0;
  float f;
  memcpy(&f, &u, 4);
  if( !isfinite(f) || f==0 ) return true;
  vdb_print_float(buf, f);
  for(const char *p = buf+strspn(buf, "-0."); *p && *p!='e'; p++){
    if( *p!='.' ) n_digit++;
  }
  if( !strchr(buf, '.') && !strchr(buf, 'e') ){
    for(size_t i=strlen(buf); i>1 && buf[i-1]=='0'; i--) n_digit--;
  }
  if( n_digit<2 ) return true;
  snprintf(less, sizeof(less), "%.*e", n_digit-2, (double)f);
  return strtof(less, NULL)!=f;
}

TEST(num__any_number_reads_back){
  struct vdb_rng r;
  vdb_rng_init(&r, vt_seed());
  for(int i=0; i<100000; i++){
    uint64_t u = vdb_rng_u64(&r);
    float f = (float)vdb_rng_gauss(&r);                /* ordinary ones too */
    uint32_t bits;
    memcpy(&bits, &f, 4);
    if( !float_reads_back((uint32_t)u) || !float_is_shortest((uint32_t)u) ){
      FAIL( "float bits 0x%08x", (unsigned)u );
    }
    if( !float_reads_back(bits) || !float_is_shortest(bits) ){
      FAIL( "float bits 0x%08x", (unsigned)bits );
    }
    if( i%4==0 && !double_reads_back(u) ) FAIL( "double bits 0x%" PRIx64, u );
  }
}

/* Few machines have a locale with a decimal comma, so the test makes one.
** localedef complains about the categories that are left out; they do not
** matter, and nor does its exit status. */
static bool use_decimal_comma(void){
  FILE *f = fopen(vt_path("source"), "w");
  char cmd[9000];

  REQUIRE( f!=NULL );
  fputs("LC_NUMERIC\ndecimal_point \"<U002C>\"\nthousands_sep \"\"\n"
        "grouping -1\nEND LC_NUMERIC\n", f);
  fclose(f);
  snprintf(cmd, sizeof(cmd), "localedef -c -i '%s' '%s' >/dev/null 2>&1",
           vt_path("source"), vt_path("comma"));
  if( system(cmd)<0 || setenv("LOCPATH", vt_tmpdir(), 1)!=0 ) return false;
  return setlocale(LC_NUMERIC, "comma")!=NULL;
}

TEST(num__no_locale_changes_a_number){
  char buf[16];
  if( !use_decimal_comma() ) SKIP( "localedef could not make a locale" );
  snprintf(buf, sizeof(buf), "%.1f", 0.5);
  REQUIRE_STR( "0,5", buf );
  check_print("0.30000000000000004", 0.1+0.2);
  check_print("1.5e300", 1.5e300);
  check_double("123456789.012345678901234", 25, 123456789.012345678901234);
  check_double("1e-400", 6, 0);
}

/* ---- bitset */

TEST(bitset__ranges_and_counts_agree_with_single_bits){
  struct vdb_rng r;
  vdb_rng_init(&r, vt_seed());
  for(int i=0; i<2000; i++){
    uint64_t a[5] = { 0 }, b[5] = { 0 };
    size_t lo = vdb_rng_below(&r, 321), hi = vdb_rng_below(&r, 321);
    size_t n_bit = vdb_rng_below(&r, 321), n = 0;
    vdb_bit_set_range(a, lo, hi);
    for(size_t j=lo; j<hi; j++) vdb_bit_set(b, j);
    REQUIRE_MEM( b, a, sizeof(a) );
    for(size_t j=0; j<n_bit; j++) n += vdb_bit_get(a, j);
    REQUIRE_U64( n, vdb_bit_count(a, n_bit) );
  }
  CHECK_U64( 0, vdb_bitset_words(0) );
  CHECK_U64( 2, vdb_bitset_words(65) );
}

/* ---- topk */

static int tie_backwards(void *arg, slot_no a, slot_no b){
  (*(int *)arg)++;
  return a>b ? -1 : 1;
}

static int cmp_hits(const void *a, const void *b){
  return vdb_hit_cmp(a, b, NULL, NULL);
}

TEST(topk__equals_sorting_everything){
  struct vdb_hit all[300];
  struct vdb_rng r;
  vdb_rng_init(&r, vt_seed());
  for(size_t k=0; k<=310; k+=31){
    struct vdb_topk top;
    vdb_topk_init(&top, k, NULL, NULL);
    for(slot_no i=0; i<300; i++){                      /* with many ties */
      all[i] = (struct vdb_hit){ (float)vdb_rng_below(&r, 50)-25, i };
      if( i%97==5 ) all[i].distance = NAN;
      REQUIRE_RC( VECDB_OK, vdb_topk_push(&top, all[i].distance, i) );
    }
    qsort(all, 300, sizeof(all[0]), cmp_hits);
    vdb_topk_sort(&top);
    REQUIRE_U64( vdb_min_sz(k, 300), top.n );
    for(size_t i=0; i<top.n; i++) REQUIRE_U64( all[i].slot, top.hit[i].slot );
    vdb_topk_clear(&top);
  }
}

/* In order, and in order but for one at each place. */
TEST(topk__takes_what_is_in_order_as_it_is){
  for(slot_no n=0; n<12; n++) for(size_t k=0; k<14; k++){
    for(slot_no odd=0; odd<=n; odd++){
      struct vdb_topk top;
      slot_no n_want = n<k ? n : (slot_no)k;
      vdb_topk_init(&top, k, NULL, NULL);
      for(int round=0; round<2; round++){         /* it may be emptied */
        top.n = 0;
        for(slot_no i=0; i<n; i++){
          slot_no at = i<odd ? i : i==n-1 ? odd : i+1;
          REQUIRE_RC( VECDB_OK, vdb_topk_push(&top, (float)(at/2), at) );
        }
        vdb_topk_sort(&top);
        REQUIRE_U64( n_want, top.n );
        for(slot_no i=0; i<n_want; i++) REQUIRE_U64( i, top.hit[i].slot );
      }
      vdb_topk_clear(&top);
    }
  }
}

TEST(topk__ties_are_for_the_caller_to_decide){
  struct vdb_topk top;
  int n_asked = 0;
  vdb_topk_init(&top, 2, tie_backwards, &n_asked);
  for(slot_no i=0; i<5; i++) vdb_topk_push(&top, i%2 ? 0.0f : -0.0f, i);
  vdb_topk_sort(&top);
  CHECK_U64( 4, top.hit[0].slot );
  CHECK_U64( 3, top.hit[1].slot );
  CHECK( n_asked>0 );
  vdb_topk_clear(&top);
}

TEST(topk__bound_tells_what_can_enter){
  struct vdb_topk top;
  vdb_topk_init(&top, 2, NULL, NULL);
  CHECK( isinf(vdb_topk_bound(&top)) );
  vdb_topk_push(&top, 3, 1);
  vdb_topk_push(&top, 5, 2);
  CHECK_DBL( 5, vdb_topk_bound(&top), 0 );
  vdb_topk_push(&top, 4, 3);
  CHECK_DBL( 4, vdb_topk_bound(&top), 0 );
  vdb_topk_clear(&top);
  vdb_mem_fail_at(1, false);
  CHECK_RC( VECDB_NOMEM, vdb_topk_push(&top, 1, 1) );
  vdb_mem_fail_at(0, false);
  CHECK_U64( 0, top.n );
}

TEST(topk__float_keys_keep_the_order){
  static const float v[] = { -HUGE_VALF, -FLT_MAX, -1, -1e-45f, 0, 1e-45f, 1,
                             FLT_MAX, HUGE_VALF };
  CHECK_U64( vdb_f32_key(0.0f), vdb_f32_key(-0.0f) );
  for(size_t i=0; i<VDB_ARRAY_LEN(v); i++){
    CHECK_DBL( v[i], vdb_key_f32(vdb_f32_key(v[i])), 0 );
    CHECK( vdb_f32_key(v[i])<vdb_f32_key(NAN) );
    if( i>0 ) CHECK( vdb_f32_key(v[i-1])<vdb_f32_key(v[i]) );
  }
}

/* ---- pool */

struct squares { atomic_uint n_run[1000]; atomic_bool bad_worker; };

static int square(void *arg, size_t i, unsigned worker){
  struct squares *s = arg;
  atomic_fetch_add(&s->n_run[i], 1);
  if( worker>=4 ) s->bad_worker = true;
  return VECDB_OK;
}

TEST(pool__runs_every_task_once){
  for(unsigned n_thread=0; n_thread<=4; n_thread++){
    static struct squares s;
    memset(&s, 0, sizeof(s));
    CHECK_RC( VECDB_OK, vdb_pool_run(n_thread, 1000, square, &s) );
    for(int i=0; i<1000; i++) REQUIRE_U64( 1, s.n_run[i] );
    CHECK( !s.bad_worker );
  }
  CHECK_RC( VECDB_OK, vdb_pool_run(4, 0, square, NULL) );
  CHECK( vdb_cpu_count()>=1 );
}

static int fail_some(void *arg, size_t i, unsigned worker){
  (void)worker;
  atomic_fetch_add((atomic_uint *)arg, 1);
  return i>=20 ? (int)i : VECDB_OK;
}

TEST(pool__reports_the_lowest_failure_and_stops){
  for(unsigned n_thread=1; n_thread<=4; n_thread++){
    atomic_uint n_run = 0;
    int rc = vdb_pool_run(n_thread, 100000, fail_some, &n_run);
    CHECK_INT( 20, rc );
    CHECK( n_run<100000 );
  }
}

TEST(pool__works_without_memory_for_threads){
  static struct squares s;
  vdb_mem_fail_at(1, true);
  CHECK_RC( VECDB_OK, vdb_pool_run(4, 1000, square, &s) );
  vdb_mem_fail_at(0, false);
  CHECK_U64( 1, s.n_run[999] );
}
