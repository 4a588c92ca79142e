/* t_vecjson.c -- JSON arrays of numbers to vectors and back.
**
** The oracle of rounding is exact: a float's neighbours and the midpoint
** between them are doubles, and printf prints doubles exactly, so texts at,
** just below and just above a boundary can be made.
*/
#include "vt.h"

#include <locale.h>
#include <math.h>

#include "simd/simd.h"
#include "store/vecjson.h"
#include "util/mem.h"
#include "util/rng.h"

static struct vdb_err err;
static size_t dims;

static int parse(int element, const char *z, void *out, size_t cap){
  memset(&err, 0, sizeof(err));
  return vdb_vecjson_parse(element, z, strlen(z), out, cap, &dims, &err);
}

TEST(vecjson__reads_floats){
  float v[8] = { 0 };
  const float want[] = { 0.1f, 2, -3e4f, 0, -0.0f, 1e-45f, 3.4028235e38f };
  CHECK_RC(VECDB_OK, parse(VECDB_F32, " [0.1, 2,\n\t-3e4,0 ,-0.0,1E-45,"
                           "3.4028235e+38]\r\n", v, sizeof(v)));
  CHECK_U64(7, dims);
  CHECK_MEM(want, v, sizeof(want));
  CHECK_RC(VECDB_OK, parse(VECDB_F32, "[]", v, sizeof(v)));
  CHECK_U64(0, dims);
  CHECK_RC(VECDB_OK, parse(VECDB_F32, "[1,2,3]", NULL, 0));
  CHECK_U64(3, dims);
}

TEST(vecjson__reads_integers_and_bits){
  unsigned char b[8] = { 0xff, 0xff, 0xff };
  signed char s[4];
  CHECK_RC(VECDB_OK, parse(VECDB_U8, "[0,255,7.0,1.000]", b, sizeof(b)));
  CHECK_MEM("\x00\xff\x07\x01", b, 4);
  CHECK_RC(VECDB_OK, parse(VECDB_I8, "[-128,127,-0,3]", s, sizeof(s)));
  CHECK_MEM("\x80\x7f\x00\x03", s, 4);
  memset(b, 0xff, sizeof(b));
  CHECK_RC(VECDB_OK, parse(VECDB_BIT, "[1,0,1,1,0,0,0,0, 0,1]", b, 2));
  CHECK_U64(10, dims);
  CHECK_MEM("\x0d\x02", b, 2);
}

struct refused { int rc, element; const char *text, *msg; };
static const struct refused refused[] = {
  { VECDB_SYNTAX, VECDB_F32, "", "expected \"[\" at byte 1, found the end" },
  { VECDB_SYNTAX, VECDB_F32, "1,2", "expected \"[\" at byte 1, found \"1\"" },
  { VECDB_SYNTAX, VECDB_F32, "{\"a\":1}",
    "expected \"[\" at byte 1, found \"{\"" },
  { VECDB_SYNTAX, VECDB_F32, "[",
    "expected a number at byte 2, found the end" },
  { VECDB_SYNTAX, VECDB_F32, "[1,2",
    "expected \",\" or \"]\" at byte 5, found the end" },
  { VECDB_SYNTAX, VECDB_F32, "[1 2]",
    "expected \",\" or \"]\" at byte 4, found \"2\"" },
  { VECDB_SYNTAX, VECDB_F32, "[1,,2]",
    "expected a number at byte 4, found \",\"" },
  { VECDB_SYNTAX, VECDB_F32, "[1,]", "expected a number at byte 4, found "
                                     "\"]\"" },
  { VECDB_SYNTAX, VECDB_F32, "[0x10]",
    "expected \",\" or \"]\" at byte 3, found \"x10\"" },
  { VECDB_SYNTAX, VECDB_F32, "[[1]]", "expected a number at byte 2, found "
                                      "\"[\"" },
  { VECDB_SYNTAX, VECDB_F32, "[1, 2, 3.25, 4, nul]",
    "expected a number at byte 17, found \"nul\"" },
  { VECDB_SYNTAX, VECDB_F32, "[NaN]",
    "expected a number at byte 2, found \"NaN\"" },
  { VECDB_SYNTAX, VECDB_F32, "[-Infinity]",
    "expected a number at byte 2, found \"-Infinity\"" },
  { VECDB_SYNTAX, VECDB_F32, "[+1]", "expected a number at byte 2, found "
                                     "\"+1\"" },
  { VECDB_SYNTAX, VECDB_F32, "[.5]", "expected a number at byte 2, found "
                                     "\".5\"" },
  { VECDB_SYNTAX, VECDB_F32, "[1.]", "expected a number at byte 2, found "
                                     "\"1.\"" },
  { VECDB_SYNTAX, VECDB_F32, "[1e]", "expected a number at byte 2, found "
                                     "\"1e\"" },
  { VECDB_SYNTAX, VECDB_F32, "[01]",
    "expected \",\" or \"]\" at byte 3, found \"1\"" },
  { VECDB_SYNTAX, VECDB_F32, "[\"1\"]",
    "expected a number at byte 2, found \"\"\"" },
  { VECDB_SYNTAX, VECDB_F32, "[\x01]",
    "expected a number at byte 2, found \"\\x01\"" },
  { VECDB_SYNTAX, VECDB_F32, "[1] x", "expected the end at byte 5, found "
                                      "\"x\"" },
  { VECDB_SYNTAX, VECDB_F32, "[1]]",
    "expected the end at byte 4, found \"]\"" },
  { VECDB_RANGE, VECDB_F32, "[0,1e39]",
    "element 1 at byte 4, \"1e39\", is outside the range of float" },
  { VECDB_RANGE, VECDB_F32, "[1e99999999999999999999]",
    "element 0 at byte 2, \"1e99999999999999999999\", is outside the range of "
    "float" },
  { VECDB_RANGE, VECDB_F16, "[65520]",
    "element 0 at byte 2, \"65520\", is outside the range of float16" },
  { VECDB_RANGE, VECDB_BF16, "[-3.4e38]",
    "element 0 at byte 2, \"-3.4e38\", is outside the range of bfloat16" },
  { VECDB_RANGE, VECDB_I8, "[1,128]",
    "element 1 at byte 4, \"128\", is not an integer in -128..127" },
  { VECDB_RANGE, VECDB_U8, "[-1]",
    "element 0 at byte 2, \"-1\", is not an integer in 0..255" },
  { VECDB_RANGE, VECDB_U8, "[1.5]",
    "element 0 at byte 2, \"1.5\", is not an integer in 0..255" },
  { VECDB_RANGE, VECDB_BIT, "[0,2]",
    "element 1 at byte 4, \"2\", is neither 0 nor 1" },
};

TEST(vecjson__refuses_what_is_no_array_of_numbers){
  char want[600];
  float v[64];
  for(size_t i=0; i<sizeof(refused)/sizeof(refused[0]); i++){
    const struct refused *r = &refused[i];
    if( !CHECK_RC(r->rc, parse(r->element, r->text, v, sizeof(v))) ){
      FAIL("in %s", r->text);
    }
    snprintf(want, sizeof(want), "vector: %s", r->msg);
    CHECK_STR(want, err.msg);
  }
}

TEST(vecjson__counts_beyond_the_buffer){
  float v[2] = { -1, -1 };
  CHECK_RC(VECDB_TOOBIG, parse(VECDB_F32, "[1,2,3,4]", v, sizeof(v)));
  CHECK_U64(4, dims);
  CHECK_STR("vector: 4 elements take 16 bytes, the buffer has 8", err.msg);
  CHECK(v[0]==1 && v[1]==2);
}

TEST(vecjson__counts_beyond_the_largest_vector){
  enum { N = 65536 };
  char *z = malloc(2*N+2);
  z[0] = '[';
  for(int i=0; i<N; i++){ z[1+2*i] = '7'; z[2+2*i] = ','; }
  z[2*N] = ']';
  z[2*N+1] = 0;
  CHECK_RC(VECDB_TOOBIG, parse(VECDB_U8, z, NULL, 0));
  CHECK_U64(N, dims);
  z[2*N-2] = ']';
  z[2*N-1] = 0;
  CHECK_RC(VECDB_OK, parse(VECDB_U8, z, NULL, 0));
  CHECK_U64(N-1, dims);
  free(z);
}

TEST(vecjson__does_not_read_past_the_length){
  float v[4];
  CHECK_RC(VECDB_SYNTAX,
           vdb_vecjson_parse(VECDB_F32, "[1,25]", 4, v, sizeof(v), &dims,
                             &err));
  CHECK_STR("vector: expected \",\" or \"]\" at byte 5, found the end",
            err.msg);
  CHECK_RC(VECDB_OK,
           vdb_vecjson_parse(VECDB_F32, "[1]]]]", 3, v, sizeof(v), &dims,
                             &err));
}

/* ---- Rounding ----------------------------------------------------------- */

/* The i-th positive value of a type, by its bits, widened. */
static double value_at(int element, uint32_t bits){
  float f;
  uint16_t h = (uint16_t)bits;
  if( element==VECDB_F32 ) memcpy(&f, &bits, 4);
  else vdb_widen(element, &h, &f, 1);
  return (double)f;
}

static uint32_t parse_bits(int element, const char *z){
  uint32_t u = 0;
  uint16_t h = 0;
  if( element==VECDB_F32 ) CHECK_RC(VECDB_OK, parse(element, z, &u, 4));
  else{
    CHECK_RC(VECDB_OK, parse(element, z, &h, 2));
    u = h;
  }
  return u;
}

/* Digits of d with a digit changed at the far end, as "[...]". */
static void text_near(char *z, size_t n, double d, int delta){
  size_t i;
  snprintf(z, n, "[%.150e", d);
  for(i=0; z[i]; i++) if( z[i]==',' ) z[i] = '.';  /* under a locale */
  for(i=1; z[i]!='e'; i++){}
  if( delta>0 ) z[i-1] = '7';                     /* the 150th is always 0 */
  if( delta<0 ){
    size_t j = i-1;
    while( z[j]=='0' || z[j]=='.' ){
      if( z[j]=='0' ) z[j] = '9';
      j--;
    }
    z[j]--;
  }
  i = strlen(z);
  snprintf(z+i, n-i, "]");
}

static void check_boundary(int element, uint32_t bits){
  double lo = value_at(element, bits), hi = value_at(element, bits+1);
  double mid = lo + (hi-lo)/2;
  char z[256];
  text_near(z, sizeof(z), mid, -1);
  if( !CHECK_U64(bits, parse_bits(element, z)) ) FAIL("below %a", mid);
  text_near(z, sizeof(z), mid, 0);
  if( !CHECK_U64(bits + (bits&1), parse_bits(element, z)) ) FAIL("at %a", mid);
  text_near(z, sizeof(z), mid, 1);
  if( !CHECK_U64(bits+1, parse_bits(element, z)) ) FAIL("above %a", mid);
  text_near(z, sizeof(z), hi, -1);
  if( !CHECK_U64(bits+1, parse_bits(element, z)) ) FAIL("below %a", hi);
}

TEST(vecjson__rounds_float16_correctly_everywhere){
  for(uint32_t bits=0; bits<0x7bff; bits += 1+bits/4096){
    check_boundary(VECDB_F16, bits);
  }
}

TEST(vecjson__rounds_bfloat16_correctly){
  for(uint32_t bits=0; bits<0x7f7f; bits += 13) check_boundary(VECDB_BF16,
                                                            bits);
}

TEST(vecjson__rounds_float_correctly){
  struct vdb_rng rng;
  vdb_rng_init(&rng, vt_seed());
  for(int i=0; i<3000; i++) check_boundary(VECDB_F32, vdb_rng_below(&rng,
                                                            0x7f7fffff));
  for(uint32_t bits=0; bits<300; bits++) check_boundary(VECDB_F32, bits);
  for(uint32_t bits=0x7f7ffff0; bits<0x7f7fffff; bits++){
    check_boundary(VECDB_F32, bits);
  }
}

/* What programs print: doubles with 15 to 17 digits. */
TEST(vecjson__agrees_with_strtof_on_printed_doubles){
  struct vdb_rng rng;
  vdb_rng_init(&rng, vt_seed());
  for(int i=0; i<20000; i++){
    double d = (vdb_rng_unit(&rng)-0.5) * pow(10, (int)vdb_rng_below(&rng,
                                                            24)-12);
    float want, got = 0;
    char z[80];
    snprintf(z, sizeof(z), "[%.*g]", 15+(int)vdb_rng_below(&rng, 6), d);
    want = strtof(z+1, NULL);
    if( !CHECK_RC(VECDB_OK, parse(VECDB_F32, z, &got, 4)) ) FAIL("%s", z);
    CHECK_MEM(&want, &got, 4);
  }
}

/* ---- Printing ----------------------------------------------------------- */

static const char *print(int element, size_t n, const void *v){
  static char buf[400];
  struct vdb_str s = VDB_STR_INIT;
  vdb_vecjson_print(element, n, v, &s);
  snprintf(buf, sizeof(buf), "%s", s.z);
  vdb_str_clear(&s);
  return buf;
}

TEST(vecjson__prints_the_shortest_text){
  const float f[] = { 0.1f, 1, -2.5f, 1e-7f, 16777216 };
  const signed char i[] = { -128, 0, 127 };
  const unsigned char u[] = { 0, 200, 255 }, b[] = { 0x05, 0x01 };
  uint16_t h[3], bf[2];
  const float hf[] = { 0.1f, 65504, -0.333251953125f }, bff[] = { 0.1f, 3 };
  vdb_f16_from_f32(hf, h, 3);
  vdb_bf16_from_f32(bff, bf, 2);
  CHECK_STR("[0.1,1,-2.5,1e-7,16777216]", print(VECDB_F32, 5, f));
  CHECK_STR("[0.1,65500,-0.3333]", print(VECDB_F16, 3, h));
  CHECK_STR("[0.1,3]", print(VECDB_BF16, 2, bf));
  CHECK_STR("[-128,0,127]", print(VECDB_I8, 3, i));
  CHECK_STR("[0,200,255]", print(VECDB_U8, 3, u));
  CHECK_STR("[1,0,1,0,0,0,0,0,1]", print(VECDB_BIT, 9, b));
  CHECK_STR("[]", print(VECDB_F32, 0, f));
}

TEST(vecjson__every_half_reads_back){
  for(int element=VECDB_F16; element<=VECDB_BF16; element++){
    for(uint32_t bits=0; bits<0x10000; bits++){
      uint16_t h = (uint16_t)bits, back = 0;
      if( !vdb_is_finite(element, &h, 1) ) continue;
      parse(element, print(element, 1, &h), &back, 2);
      if( !CHECK_U64(h, back) ) FAIL("%s", print(element, 1, &h));
    }
  }
}

TEST(vecjson__floats_read_back){
  struct vdb_rng rng;
  vdb_rng_init(&rng, vt_seed());
  for(int i=0; i<20000; i++){
    uint32_t u = (uint32_t)vdb_rng_u64(&rng), back = 0;
    if( (u & 0x7f800000)==0x7f800000 ) continue;
    parse(VECDB_F32, print(VECDB_F32, 1, &u), &back, 4);
    CHECK_U64(u, back);
  }
}

/* A locale with a decimal comma, made for the occasion (as in t_util.c). */
static bool use_decimal_comma(void){
  FILE *f = fopen(vt_path("source"), "w");
  char cmd[9000];
  REQUIRE(f!=NULL);
  fputs("LC_NUMERIC\ndecimal_point \"<U002C>\"\nthousands_sep \"\"\n"
        "grouping -1\nEND LC_NUMERIC\n", f);
  fclose(f);
  snprintf(cmd, sizeof(cmd), "localedef -c -i '%s' '%s' >/dev/null 2>&1",
           vt_path("source"), vt_path("comma"));
  if( system(cmd)<0 || setenv("LOCPATH", vt_tmpdir(), 1)!=0 ) return false;
  return setlocale(LC_NUMERIC, "comma")!=NULL;
}

TEST(vecjson__ignores_the_locale){
  const float pi = 3.14159274f;
  float v = 0;
  uint16_t h = 0;
  if( !use_decimal_comma() ) SKIP("localedef could not make a locale");
  CHECK_RC(VECDB_OK, parse(VECDB_F32, "[0.100000000000000005551115]", &v, 4));
  CHECK(v==0.1f);
  CHECK_STR("[0.1]", print(VECDB_F32, 1, &v));
  CHECK_STR("[3.1415927]", print(VECDB_F32, 1, &pi));
  CHECK_RC(VECDB_OK, parse(VECDB_F16, "[0.1]", &h, 2));
  CHECK_STR("[0.1]", print(VECDB_F16, 1, &h));
  check_boundary(VECDB_F32, 0x3f800001);
  check_boundary(VECDB_F16, 0x3c01);
  CHECK_RC(VECDB_SYNTAX, parse(VECDB_F32, "[0,5,]", NULL, 0));
}
