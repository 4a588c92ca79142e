/* vecjson.c -- parse and print JSON arrays of numbers.
**
** PARSING   One pass, no allocation. number_scan checks the grammar and
**           collects the digits on the way: the first 19 significant ones as
**           an integer m and the power of ten. Nearly always m*10^e is a
**           product or quotient of two exact doubles, and the IEEE operation
**           rounds it correctly (Clinger 1990); else vdb_scan_double does.
**
** ROUNDING  So d is the double nearest to the text s. Rounding d again to a
**           narrower type T gives what rounding s gives, unless d lies exactly
**           on a boundary between two values of T: then s may be a little to
**           either side of it. number_side decides that by comparing digits,
**           and d moves one ulp to that side before it is rounded.
**           F16 and BF16 are rounded from a float which has been rounded to
**           odd: a float that was inexact has its last bit set, so that it
**           is never mistaken for a boundary (Boldo and Melquiond 2008).
**
**           For a narrow T an estimate of d does, away from boundaries
**           (number_estimate).
**
** PRINTING  Floats: vdb_print_float. F16 and BF16 need 5 digits at most: the
**           first precision whose text reads back the same is taken.
*/
#include "util/common.h"
#include "store/vecjson.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "simd/simd.h"
#include "util/bytes.h"

struct json_scan {
  const char *z;                 /* the text */
  size_t n, i;                   /* its length; the next byte */
  struct vdb_err *e;
};

struct json_num {
  size_t start, n;               /* bytes of the token in the text */
  uint64_t m;                    /* first significant digits, at most 19 */
  int n_digit;                   /* how many there are in all */
  int64_t exp10;                 /* value = m * 10^exp10 when n_digit<=19 */
  bool is_neg, is_whole;         /* whole: no exponent, fraction only zeros */
};

#define JSON_DIGIT_MAX  19       /* 10^19 < 2^64 */
#define JSON_EXP_MAX    100000   /* beyond, every value is 0 or infinite */

static const double json_pow10[] = {
  1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13,
  1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22
};

const char *vdb_element_name(int element){
  switch( element ){
    case VECDB_F32:  return "float";
    case VECDB_F16:  return "float16";
    case VECDB_BF16: return "bfloat16";
    case VECDB_I8:   return "int8";
    case VECDB_U8:   return "uint8";
    case VECDB_BIT:  return "bit";
    default:         return "?";
  }
}

/* ---- Messages ----------------------------------------------------------- */

static bool json_is_word(char c){
  return vdb_is_digit(c) || (c>='a' && c<='z') || (c>='A' && c<='Z')
      || c=='_' || c=='+' || c=='-' || c=='.';
}

/* What stands at byte i, for a message: a word, one byte, or the end. */
static const char *json_found(const struct json_scan *s, size_t i,
                              char buf[32]){
  size_t n = 0;
  if( i>=s->n ) return "the end";
  buf[n++] = '"';
  while( n<17 && i<s->n && json_is_word(s->z[i]) ) buf[n++] = s->z[i++];
  if( n==1 ){
    unsigned char c = (unsigned char)s->z[i];
    if( c<0x20 || c>=0x7f ) snprintf(buf+1, 8, "\\x%02x", c);
    else snprintf(buf+1, 8, "%c", c);
    n = strlen(buf);
  }
  buf[n++] = '"';
  buf[n] = 0;
  return buf;
}

static int json_expected(const struct json_scan *s, const char *what,
                         size_t i){
  char buf[32];
  return vdb_error(s->e, VECDB_SYNTAX,
                   "vector: expected %s at byte %zu, found %s",
                   what, i+1, json_found(s, i, buf));
}

static int json_out_of_range(const struct json_scan *s, int element,
                             const struct json_num *x, size_t i_elem){
  static const char *const want[] = {
    [VECDB_F32] = "outside the range of float",
    [VECDB_F16] = "outside the range of float16",
    [VECDB_BF16] = "outside the range of bfloat16",
    [VECDB_I8] = "not an integer in -128..127",
    [VECDB_U8] = "not an integer in 0..255",
    [VECDB_BIT] = "neither 0 nor 1"
  };
  bool cut = x->n>24;
  return vdb_error(s->e, VECDB_RANGE,
                   "vector: element %zu at byte %zu, \"%.*s%s\", is %s",
                   i_elem, x->start+1, (int)(cut ? 24 : x->n),
                   s->z + x->start, cut ? ".." : "", want[element]);
}

/* ---- Scanning ----------------------------------------------------------- */

static void space_skip(struct json_scan *s){
  while( s->i<s->n ){
    char c = s->z[s->i];
    if( c!=' ' && c!='\t' && c!='\n' && c!='\r' ) break;
    s->i++;
  }
}

/* Take one digit into x: leading zeros vanish, those after the 19th count
** only through the exponent. */
static void digit_add(struct json_num *x, char c){
  if( x->n_digit==0 && c=='0' ) return;
  if( x->n_digit<JSON_DIGIT_MAX ) x->m = x->m*10 + (uint64_t)(c-'0');
  x->n_digit++;
}

/* The digits from byte i on; returns the first byte that is none. */
static size_t digits_scan(const struct json_scan *s, size_t i,
                          struct json_num *x, bool is_fraction){
  while( i<s->n && vdb_is_digit(s->z[i]) ){
    digit_add(x, s->z[i]);
    if( is_fraction ){
      x->exp10--;
      if( s->z[i]!='0' ) x->is_whole = false;
    }
    i++;
  }
  return i;
}

/* Exponent at byte i ("e" seen before it); returns the first byte behind it,
** or i when there is no digit. */
static size_t exponent_scan(const struct json_scan *s, size_t i,
                            struct json_num *x){
  size_t i0 = i, i_digit;
  bool is_neg = false;
  int64_t e = 0;
  if( i<s->n && (s->z[i]=='+' || s->z[i]=='-') ) is_neg = s->z[i++]=='-';
  for(i_digit=i; i<s->n && vdb_is_digit(s->z[i]); i++){
    if( e<JSON_EXP_MAX ) e = e*10 + (s->z[i]-'0');
  }
  x->exp10 += is_neg ? -e : e;
  return i==i_digit ? i0 : i;
}

/* A JSON number at s->i: -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)? */
static int number_scan(struct json_scan *s, struct json_num *x){
  size_t i = s->i, i0;
  memset(x, 0, sizeof(*x));
  x->start = i;
  x->is_whole = true;
  if( i<s->n && s->z[i]=='-' ){
    x->is_neg = true;
    i++;
  }
  if( i>=s->n || !vdb_is_digit(s->z[i]) ) goto bad;
  i = s->z[i]=='0' ? i+1 : digits_scan(s, i, x, false);
  if( i<s->n && s->z[i]=='.' ){
    i0 = i+1;
    i = digits_scan(s, i0, x, true);
    if( i==i0 ) goto bad;
  }
  if( i<s->n && (s->z[i]=='e' || s->z[i]=='E') ){
    x->is_whole = false;
    i0 = i+1;
    i = exponent_scan(s, i0, x);
    if( i==i0 ) goto bad;
  }
  x->n = i - x->start;
  s->i = i;
  return VECDB_OK;
bad:
  return json_expected(s, "a number", x->start);
}

/* ---- Rounding ----------------------------------------------------------- */

/* The double nearest to the absolute value of the number. */
static double number_double(const struct json_scan *s,
                            const struct json_num *x){
  double d = 0;
  if( x->n_digit==0 ) return 0;
  if( x->n_digit<=JSON_DIGIT_MAX && x->m<=(uint64_t)1<<53 ){
    if( x->exp10>=0 && x->exp10<=22 ) return (double)x->m*json_pow10[x->exp10];
    if( x->exp10<0 && x->exp10>=-22 ) return (double)x->m/json_pow10[-x->exp10];
  }
  vdb_scan_double(s->z + x->start + x->is_neg, x->n - x->is_neg, &d);
  return d;
}

/* Significant digits of the token, without the point, into buf (cap bytes,
** the last of which becomes a nonzero digit when digits were cut off);
** returns how many, trailing zeros removed, and the exponent of the first. */
static size_t number_digits(const struct json_scan *s,
                            const struct json_num *x, char *buf, size_t cap,
                            int64_t *exp_first){
  size_t n = 0;
  for(size_t i=x->start; i<x->start+x->n; i++){
    char c = s->z[i];
    if( c=='e' || c=='E' ) break;
    if( !vdb_is_digit(c) || (n==0 && c=='0') ) continue;
    if( n<cap ) buf[n++] = c;
    else if( c!='0' ) buf[cap-1] = '1';
  }
  *exp_first = x->exp10 + x->n_digit - 1;
  while( n>0 && buf[n-1]=='0' ) n--;
  return n;
}

/* -1, 0, 1: the number is below, at, above the boundary d>0. Boundaries of
** the types here have at most 113 significant digits, and snprintf prints
** all of them; its decimal point, which a locale may change, is skipped. */
static int number_side(const struct json_scan *s, const struct json_num *x,
                       double d){
  enum { CAP = 160 };
  char mine[CAP], theirs[CAP], text[CAP+40];
  size_t n_mine, n_theirs = 0, i;
  int64_t exp_mine, exp_theirs;
  int cmp;
  n_mine = number_digits(s, x, mine, CAP, &exp_mine);
  snprintf(text, sizeof(text), "%.*e", CAP-10, d);
  for(i=0; text[i] && text[i]!='e'; i++){
    if( vdb_is_digit(text[i]) && n_theirs<CAP ) theirs[n_theirs++] = text[i];
  }
  exp_theirs = text[i]=='e' ? strtol(text+i+1, NULL, 10) : 0;
  while( n_theirs>0 && theirs[n_theirs-1]=='0' ) n_theirs--;
  if( exp_mine!=exp_theirs ) return exp_mine<exp_theirs ? -1 : 1;
  cmp = memcmp(mine, theirs, vdb_min_sz(n_mine, n_theirs));
  if( cmp ) return cmp<0 ? -1 : 1;
  return n_mine==n_theirs ? 0 : n_mine<n_theirs ? -1 : 1;
}

/* d to float, rounded to odd (see ROUNDING). d>=0. */
static float float_to_odd(double d){
  float f = (float)d;
  uint32_t u;
  if( (double)f==d ) return f;
  if( (double)f>d ) f = nextafterf(f, 0);    /* an infinity becomes FLT_MAX */
  memcpy(&u, &f, 4);
  u |= 1;
  memcpy(&f, &u, 4);
  return f;
}

/* d>=0 rounded to the element type, widened; infinite when it overflows. */
static double double_round(int element, double d){
  uint16_t h;
  float f;
  if( element==VECDB_F32 ) return (double)(float)d;
  f = float_to_odd(d);
  if( element==VECDB_F16 ) (void)vdb_f16_from_f32(&f, &h, 1);
  else (void)vdb_bf16_from_f32(&f, &h, 1);
  vdb_widen(element, &h, &f, 1);
  return (double)f;
}

/* Is d>0 exactly between two neighbouring values of the element type? Then
** *lo and *hi are what the numbers just below and above it round to. A value
** and a half of an ulp has one bit more than a value, so that most d are out
** at the first test. */
static bool double_is_boundary(int element, double d, double *lo, double *hi){
  int n_kept = element==VECDB_F32 ? 24 : element==VECDB_F16 ? 11 : 8;
  double up;
  uint64_t u;
  memcpy(&u, &d, 8);
  if( u & (((uint64_t)1 << (52-n_kept)) - 1) ) return false;
  *lo = double_round(element, nextafter(d, 0));
  *hi = up = double_round(element, nextafter(d, HUGE_VAL));
  if( isinf(up) ) up = element==VECDB_F16 ? 0x1p16 : 0x1p128;
  return *lo<up && *lo + (up-*lo)/2==d;
}

/* m*10^e in two roundings, off by less than 3 ulp of the double, for the
** numbers of 16 to 19 digits that programs print: good enough unless a
** boundary of the type, or its subnormals, are near. */
static bool number_estimate(int element, const struct json_num *x, double *d){
  int n_low = 52 - (element==VECDB_F32 ? 24 : element==VECDB_F16 ? 11 : 8) + 1;
  uint64_t u, half = (uint64_t)1 << (n_low-1);
  if( x->n_digit>JSON_DIGIT_MAX || x->m<=(uint64_t)1<<53
   || x->exp10< -22 || x->exp10>22 ) return false;
  *d = x->exp10<0 ? (double)x->m/json_pow10[-x->exp10]
                  : (double)x->m*json_pow10[x->exp10];
  memcpy(&u, d, 8);
  u &= (half<<1) - 1;
  return *d>=(element==VECDB_F16 ? 0x1p-14 : 0x1p-126)
      && (u>half ? u-half : half-u)>4;
}

/* The number as a value of a float type, sign included. */
static double number_round(int element, const struct json_scan *s,
                           const struct json_num *x){
  double d, lo, hi;
  if( number_estimate(element, x, &d) ){
    d = double_round(element, d);
    return x->is_neg ? -d : d;
  }
  d = number_double(s, x);
  if( d>0 && d<1e300 && double_is_boundary(element, d, &lo, &hi) ){
    int side = number_side(s, x, d);
    d = side<0 ? lo : side>0 ? hi : double_round(element, d);
  }else{
    d = double_round(element, d);
  }
  return x->is_neg ? -d : d;
}

/* ---- Elements ----------------------------------------------------------- */

static int float_store(int element, const struct json_scan *s,
                       const struct json_num *x, size_t i, void *out){
  double d = number_round(element, s, x);
  float f = (float)d;
  uint16_t h;
  if( !isfinite(d) ) return json_out_of_range(s, element, x, i);
  if( out==NULL ) return VECDB_OK;
  if( element==VECDB_F32 ){
    memcpy((char*)out + 4*i, &f, 4);
    return VECDB_OK;
  }
  if( element==VECDB_F16 ) (void)vdb_f16_from_f32(&f, &h, 1);
  else (void)vdb_bf16_from_f32(&f, &h, 1);
  memcpy((char*)out + 2*i, &h, 2);
  return VECDB_OK;
}

static int integer_store(int element, const struct json_scan *s,
                         const struct json_num *x, size_t i, void *out){
  static const int lo[] = { [VECDB_I8] = -128, [VECDB_U8] = 0,
                            [VECDB_BIT] = 0 };
  static const int hi[] = { [VECDB_I8] = 127, [VECDB_U8] = 255,
                            [VECDB_BIT] = 1 };
  double d = number_double(s, x);
  if( x->is_neg ) d = -d;
  if( !x->is_whole || d<lo[element] || d>hi[element] ){
    return json_out_of_range(s, element, x, i);
  }
  if( out==NULL ) return VECDB_OK;
  if( element==VECDB_BIT ){
    unsigned char *b = (unsigned char*)out + i/8;
    if( i%8==0 ) *b = 0;
    if( d!=0 ) *b |= (unsigned char)(1u << (i%8));
  }else{
    ((unsigned char*)out)[i] = (unsigned char)(int)d;
  }
  return VECDB_OK;
}

/* One number, which becomes element i. */
static int element_scan(struct json_scan *s, int element, size_t i,
                        void *out){
  struct json_num x;
  int rc = number_scan(s, &x);
  if( rc!=VECDB_OK ) return rc;
  return element>=VECDB_I8 ? integer_store(element, s, &x, i, out)
                           : float_store(element, s, &x, i, out);
}

int vdb_vecjson_parse(int element, const char *z, size_t n, void *out,
                      size_t cap, size_t *dims, struct vdb_err *e){
  struct json_scan s = { z, n, 0, e };
  int rc;
  *dims = 0;
  if( vdb_vector_bytes(element, 8)==0 ){
    return vdb_error(e, VECDB_MISUSE, "vector: %d is no element type",
                     element);
  }
  space_skip(&s);
  if( s.i>=n || z[s.i]!='[' ) return json_expected(&s, "\"[\"", s.i);
  s.i++;
  space_skip(&s);
  if( s.i<n && z[s.i]==']' ) s.i++;
  else for(;;){
    bool fits = out!=NULL && *dims<VDB_DIM_MAX
             && vdb_vector_bytes(element, *dims+1)<=cap;
    rc = element_scan(&s, element, *dims, fits ? out : NULL);
    if( rc!=VECDB_OK ) return rc;
    ++*dims;
    space_skip(&s);
    if( s.i>=n || (z[s.i]!=',' && z[s.i]!=']') ){
      return json_expected(&s, "\",\" or \"]\"", s.i);
    }
    if( z[s.i++]==']' ) break;
    space_skip(&s);
  }
  space_skip(&s);
  if( s.i<n ) return json_expected(&s, "the end", s.i);
  if( *dims>VDB_DIM_MAX ){
    return vdb_error(e, VECDB_TOOBIG,
                     "vector: %zu elements are more than a vector may have, "
                     "%u", *dims, VDB_DIM_MAX);
  }
  if( out!=NULL && vdb_vector_bytes(element, *dims)>cap ){
    return vdb_error(e, VECDB_TOOBIG,
                     "vector: %zu elements take %zu bytes, the buffer has %zu",
                     *dims, vdb_vector_bytes(element, *dims), cap);
  }
  return VECDB_OK;
}

/* ---- Printing ----------------------------------------------------------- */

/* The value v of a 16-bit type with as few digits as read back the same. */
static void half_print(int element, double v, struct vdb_str *s){
  char sci[32], text[VDB_NUM_MAX];
  double a = fabs(v), d = a;
  for(int n_digit=1; n_digit<=5 && a>0; n_digit++){
    char whole[32];
    size_t n = 0, i;
    snprintf(sci, sizeof(sci), "%.*e", n_digit-1, a);
    for(i=0; sci[i]!='e'; i++){
      if( vdb_is_digit(sci[i]) ) whole[n++] = sci[i];
    }
    n += (size_t)snprintf(whole+n, sizeof(whole)-n, "e%ld",
                          strtol(sci+i+1, NULL, 10) - (n_digit-1));
    vdb_scan_double(whole, n, &d);
    if( double_round(element, d)==a ) break;
  }
  vdb_str_add(s, text, vdb_print_double(text, signbit(v) ? -d : d));
}

static void element_print(int element, const void *v, size_t i,
                          struct vdb_str *s){
  const unsigned char *p = v;
  char text[VDB_NUM_MAX];
  float f;
  switch( element ){
    case VECDB_F32:
      memcpy(&f, p + 4*i, 4);
      vdb_str_add(s, text, vdb_print_float(text, f));
      return;
    case VECDB_F16: case VECDB_BF16:
      vdb_widen(element, p + 2*i, &f, 1);
      half_print(element, (double)f, s);
      return;
    case VECDB_I8:
      vdb_str_addf(s, "%d", (int)(int8_t)p[i]);
      return;
    case VECDB_U8:
      vdb_str_addf(s, "%d", (int)p[i]);
      return;
    default:
      vdb_str_addc(s, (p[i/8]>>(i%8)) & 1 ? '1' : '0');
  }
}

void vdb_vecjson_print(int element, size_t dims, const void *v,
                       struct vdb_str *s){
  vdb_str_addc(s, '[');
  for(size_t i=0; i<dims; i++){
    if( i ) vdb_str_addc(s, ',');
    element_print(element, v, i, s);
  }
  vdb_str_addc(s, ']');
}
