/* num.c -- numbers to text and back, correctly rounded, in no locale.
**
** READING  A number is first taken apart into decimal digits and a power of
**          ten. If the digits fit 53 bits and the power is one that a double
**          holds exactly (|e| <= 22), one multiplication or division is one
**          rounding, hence the right answer (Clinger 1990): that covers what
**          people and programs write. The rest goes to strtod in the "C"
**          locale. strtof directly rounds once; rounding the double again is
**          the same unless the double lies halfway between two floats.
**
** WRITING  The fewest digits that read back as the same number. Up to 15
**          digits are found with one multiplication and checked with one
**          division, exact by the same argument; 16 and 17 are left to printf.
**
** LIMITS   Digits past the 800th cannot change a double except by being there
**          at all, so one 1 stands for all of them.
*/
#include <float.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "util/common.h"
#include "util/str.h"

#define NUM_DIGITS_MAX  800
#define NUM_EXP_MAX     1000000    /* beyond it everything is 0 or infinite */

/* A number taken apart. */
struct decimal {
  bool     is_negative;
  bool     is_short;               /* m is the number: m * 10^e_m exactly */
  uint64_t m;                      /* its digits, while they fit 19 places */
  int      e_m;
  size_t   off_digits;             /* first digit in the text ... */
  size_t   off_exp;                /* ... and the end of the digits */
  int      e10;                    /* written exponent, clamped */
};

static const double num_power10[] = {
  1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22
};
#define NUM_POWER_MAX  22

static size_t number_skip_digits(const char *z, size_t n, size_t i){
  while( i<n && vdb_is_digit(z[i]) ) i++;
  return i;
}

/* The exponent at z[i], which is an 'e' or 'E' if there is one. Returns the
** position behind it, i when there is none. */
static size_t exponent_scan(const char *z, size_t n, size_t i, int *e10){
  size_t j = i+1, k;
  bool is_negative;
  int e = 0;

  *e10 = 0;
  if( i>=n || (z[i]!='e' && z[i]!='E') ) return i;
  is_negative = j<n && z[j]=='-';
  if( j<n && (z[j]=='-' || z[j]=='+') ) j++;
  k = number_skip_digits(z, n, j);
  if( k==j ) return i;
  for(; j<k; j++) if( e<NUM_EXP_MAX ) e = 10*e + (z[j]-'0');
  *e10 = is_negative ? -e : e;
  return k;
}

/* Gather the digits z[from..to-1], a point among them, into d->m. */
static void decimal_collect(struct decimal *d, const char *z){
  bool in_fraction = false;
  int n_digit = 0;

  d->m = 0;
  d->e_m = d->e10;
  d->is_short = true;
  for(size_t i=d->off_digits; i<d->off_exp; i++){
    if( z[i]=='.' ){
      in_fraction = true;
      continue;
    }
    if( n_digit>0 || z[i]!='0' ) n_digit++;
    if( n_digit>18 ){
      d->is_short = false;
      return;
    }
    d->m = 10*d->m + (uint64_t)(z[i]-'0');
    if( in_fraction ) d->e_m--;
    if( d->e_m<-2*NUM_EXP_MAX ){                  /* a million zeros after it */
      d->is_short = false;
      return;
    }
  }
}

/* Take z[0..n-1] apart; returns the bytes that belong to the number. */
static size_t decimal_scan(const char *z, size_t n, struct decimal *d){
  size_t i = 0, j;

  d->is_negative = n>0 && z[0]=='-';
  if( n>0 && (z[0]=='-' || z[0]=='+') ) i++;
  d->off_digits = i;
  j = number_skip_digits(z, n, i);
  if( j==i ) return 0;
  if( j+1<n && z[j]=='.' && vdb_is_digit(z[j+1]) ){
    j = number_skip_digits(z, n, j+1);
  }
  d->off_exp = j;
  j = exponent_scan(z, n, j, &d->e10);
  decimal_collect(d, z);
  return j;
}

/* m * 10^e if one rounding gives it. */
static bool double_exact(uint64_t m, int e, double *out){
  if( m>((uint64_t)1<<53) || e<-NUM_POWER_MAX || e>NUM_POWER_MAX ) return false;
  *out = e<0 ? (double)m/num_power10[-e] : (double)m*num_power10[e];
  return true;
}

static locale_t c_locale;
static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;
static void c_locale_make(void){
  c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* Write the number for strtod as "digits e exponent", without its point and
** without the digits that cannot matter. buf has NUM_DIGITS_MAX+32 bytes. */
static void decimal_normalize(const struct decimal *d, const char *z,
                              char *buf){
  bool in_fraction = false, has_more = false;
  long e = d->e10;
  size_t n = 0;

  for(size_t i=d->off_digits; i<d->off_exp; i++){
    if( z[i]=='.' ){
      in_fraction = true;
      continue;
    }
    if( in_fraction && e>-2L*NUM_EXP_MAX ) e--;
    if( n==0 && z[i]=='0' ) continue;
    if( n<NUM_DIGITS_MAX ){
      buf[n++] = z[i];
    }else{
      has_more = has_more || z[i]!='0';
      if( e<2L*NUM_EXP_MAX ) e++;
    }
  }
  if( n==0 ) buf[n++] = '0';
  if( has_more ){
    buf[n++] = '1';
    e--;
  }
  snprintf(buf+n, 16, "e%ld", e);
}

/* The slow way, for what double_exact() cannot do. */
static double double_slow(const struct decimal *d, const char *z, float *f){
  char buf[NUM_DIGITS_MAX+32];
  pthread_once(&c_locale_once, c_locale_make);
  decimal_normalize(d, z, buf);
  if( f==NULL ) return strtod_l(buf, NULL, c_locale);
  *f = strtof_l(buf, NULL, c_locale);
  return *f;
}

static double decimal_magnitude(const struct decimal *d, const char *z){
  double v;
  if( d->is_short && double_exact(d->m, d->e_m, &v) ) return v;
  return double_slow(d, z, NULL);
}

/* Does rounding v, itself rounded, to a float give the float nearest to what
** was read? Not if v is halfway between two floats, nor below FLT_MIN, where
** floats lie wider apart. */
static bool double_rounds_as_text(double v){
  uint64_t u;
  memcpy(&u, &v, 8);
  return v==0 || (v>=0x1p-126 && (u & 0x1fffffff)!=0x10000000);
}

size_t vdb_scan_double(const char *z, size_t n, double *out){
  struct decimal d;
  size_t used = decimal_scan(z, n, &d);
  *out = 0;
  if( used==0 ) return 0;
  *out = decimal_magnitude(&d, z);
  if( d.is_negative ) *out = -*out;
  return used;
}

size_t vdb_scan_float(const char *z, size_t n, float *out){
  struct decimal d;
  size_t used = decimal_scan(z, n, &d);
  double v;

  *out = 0;
  if( used==0 ) return 0;
  v = decimal_magnitude(&d, z);
  *out = (float)v;
  if( !double_rounds_as_text(v) ) double_slow(&d, z, out);
  if( d.is_negative ) *out = -*out;
  return used;
}

size_t vdb_scan_i64(const char *z, size_t n, int64_t *out){
  bool is_negative = n>0 && z[0]=='-';
  size_t i = n>0 && (z[0]=='-' || z[0]=='+');
  size_t end = number_skip_digits(z, n, i);
  int64_t v = 0;

  *out = 0;
  if( end==i ) return 0;
  for(; i<end; i++){                       /* downwards: INT64_MIN has no - */
    if( __builtin_mul_overflow(v, 10, &v)
     || __builtin_sub_overflow(v, z[i]-'0', &v) ) return 0;
  }
  if( !is_negative && v==INT64_MIN ) return 0;
  *out = is_negative ? v : -v;
  return end;
}

/* ---------------------------------------------------------------- writing */

/* Print n digits d1 d2 .. dn (no zero at the end), times 10^e with the point
** after d1. Plain notation while that is readable. */
static size_t digits_print(char *buf, bool is_negative, const char *digit,
                           int n, int e){
  char *p = buf;
  if( is_negative ) *p++ = '-';
  if( e<-5 || e>16 ){
    *p++ = digit[0];
    if( n>1 ) *p++ = '.';
    for(int i=1; i<n; i++) *p++ = digit[i];
    return (size_t)(p-buf) + (size_t)snprintf(p, 8, "e%d", e);
  }
  if( e<0 ){
    *p++ = '0';
    *p++ = '.';
    for(int i=-1; i>e; i--) *p++ = '0';
  }
  for(int i=0; i<n || i<=e; i++){
    if( i==e+1 && e>=0 ) *p++ = '.';
    *p++ = i<n ? digit[i] : '0';
  }
  *p = 0;
  return (size_t)(p-buf);
}

/* m * 10^e, m>0, in the terms of digits_print. */
static size_t decimal_print(char *buf, bool is_negative, uint64_t m, int e){
  char digit[24];
  int n;
  while( m%10==0 ){
    m /= 10;
    e++;
  }
  n = snprintf(digit, sizeof(digit), "%llu", (unsigned long long)m);
  return digits_print(buf, is_negative, digit, n, e+n-1);
}

/* Does m * 10^e, which is `back` when rounded to a double, read as float f? */
static bool decimal_reads_as(uint64_t m, int e, double back, float f){
  char text[48];
  float g;
  int n;
  if( double_rounds_as_text(back) ) return (float)back==f;
  n = snprintf(text, sizeof(text), "%llue%d", (unsigned long long)m, e);
  return vdb_scan_float(text, (size_t)n, &g)>0 && g==f;
}

/* Try n significant digits of v>0, about 10^e10: true if m * 10^*e reads back
** as v (as a float if is_float). */
static bool digits_try(double v, int e10, int n, bool is_float, uint64_t *m,
                       int *e){
  double scaled, back;
  *e = e10 - n + 1;
  assert( *e>=-NUM_POWER_MAX && *e<=NUM_POWER_MAX );
  scaled = *e<0 ? v*num_power10[-*e] : v/num_power10[*e];
  *m = (uint64_t)llrint(scaled);
  if( *m==0 || !double_exact(*m, *e, &back) ) return false;
  return is_float ? decimal_reads_as(*m, *e, back, (float)v) : back==v;
}

/* The digits of v>0 by printf, which always works. A normal number that has 15
** digits (a float: 6) or fewer shows them, and zeros behind, when asked for
** so many; below the normal ones there may be as little as one. */
static size_t double_print_slow(char *buf, bool is_negative, double v,
                                bool is_float){
  char text[48], digit[24];
  int e, n_digit = 0, i, n = is_float ? 6 : 15;

  if( v<(is_float ? (double)FLT_MIN : DBL_MIN) ) n = 1;
  for(;; n++){
    double d;
    float f;
    int len = snprintf(text, sizeof(text), "%.*e", n-1, v);
    for(i=1; i<len && text[i]!='e'; i++){  /* the locale's decimal point */
      if( !vdb_is_digit(text[i]) ) text[i] = '.';
    }
    if( is_float ? (vdb_scan_float(text, (size_t)len, &f), f==(float)v)
                 : (vdb_scan_double(text, (size_t)len, &d), d==v) ) break;
  }
  for(i=0; text[i]!='e'; i++){
    if( vdb_is_digit(text[i]) ) digit[n_digit++] = text[i];
  }
  e = (int)strtol(text+i+1, NULL, 10);
  while( n_digit>1 && digit[n_digit-1]=='0' ) n_digit--;
  return digits_print(buf, is_negative, digit, n_digit, e);
}

static size_t number_print(char *buf, double v, bool is_float){
  bool is_negative = signbit(v);
  int n_min = is_float ? 6 : 14, n_max = is_float ? 9 : 15;
  double a = fabs(v);
  uint64_t m;
  int e, e10, e2;

  if( isnan(v) ) return (size_t)snprintf(buf, VDB_NUM_MAX, "nan");
  if( isinf(v) || a==0 ){
    return (size_t)snprintf(buf, VDB_NUM_MAX, "%s%s", is_negative ? "-" : "",
                            a==0 ? "0" : "inf");
  }
  /* floor(log10(a)), or one too low: then one digit less is tried first. */
  frexp(a, &e2);
  e10 = (int)floor((e2-1)*0.30102999566398120);
  /* All lengths must be within reach, or a longer one would win. */
  if( e10-n_min+1>NUM_POWER_MAX || e10-n_max+1<-NUM_POWER_MAX ) n_max = 0;
  for(int n=n_min; n<=n_max; n++){
    if( digits_try(a, e10, n, is_float, &m, &e) ){
      return decimal_print(buf, is_negative, m, e);
    }
  }
  return double_print_slow(buf, is_negative, a, is_float);
}

size_t vdb_print_double(char *buf, double v){
  return number_print(buf, v, false);
}

size_t vdb_print_float(char *buf, float v){
  return number_print(buf, (double)v, true);
}
