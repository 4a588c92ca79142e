/* value.c -- numbers to text and back, and texts that look like numbers.
**
** SQLite's rules: a number at the begin of a text may have a sign, digits
** with a point among or before or after them, and an exponent; a text "looks
** like a number" when nothing but white space is around that. Reals are
** written with 15 significant digits and always with a point or an exponent
** behind a point ("3.0", "1.0e+20").
*/
#include "util/common.h"
#include "store/value.h"

#include <math.h>
#include <stdio.h>

size_t vdb_value_print_int(int64_t v, char buf[VALUE_TEXT_MAX]){
  return (size_t)snprintf(buf, VALUE_TEXT_MAX, "%lld", (long long)v);
}

size_t vdb_value_print_real(double v, char buf[VALUE_TEXT_MAX]){
  char raw[VALUE_TEXT_MAX];
  bool has_point = false;
  size_t n = 0;
  if( isinf(v) ) return (size_t)snprintf(buf, VALUE_TEXT_MAX, "%sInf",
                                         v<0 ? "-" : "");
  if( v==0 ) v = 0;                               /* SQLite has no -0.0 */
  snprintf(raw, sizeof(raw), "%.15g", v);
  for(const char *z=raw; *z && n+4<VALUE_TEXT_MAX; z++){
    if( vdb_is_digit(*z) || *z=='-' || *z=='+' ){
      buf[n++] = *z;
    }else if( *z=='e' ){
      if( !has_point ){ buf[n++] = '.'; buf[n++] = '0'; }
      has_point = true;
      buf[n++] = *z;
    }else if( !has_point ){                       /* the locale's point */
      buf[n++] = '.';
      has_point = true;
    }
  }
  if( !has_point ){ buf[n++] = '.'; buf[n++] = '0'; }
  buf[n] = 0;
  return n;
}

/* What a number at the begin of a text consists of. */
struct number_shape {
  size_t begin, end;               /* bytes of the number; equal: none */
  bool is_int;                     /* neither point nor exponent */
};

static size_t digits_skip(const char *z, size_t n, size_t i){
  while( i<n && vdb_is_digit(z[i]) ) i++;
  return i;
}

static struct number_shape number_shape(const char *z, size_t n){
  struct number_shape s = { 0, 0, true };
  size_t i = 0, j, n_digit;
  while( i<n && vdb_is_space(z[i]) ) i++;
  s.begin = s.end = i;
  if( i<n && (z[i]=='-' || z[i]=='+') ) i++;
  j = digits_skip(z, n, i);
  n_digit = j-i;
  i = j;
  if( i<n && z[i]=='.' ){
    j = digits_skip(z, n, i+1);
    n_digit += j-i-1;
    if( n_digit==0 ) return s;
    s.is_int = false;
    i = j;
  }
  if( n_digit==0 ) return s;
  s.end = i;
  if( i<n && (z[i]=='e' || z[i]=='E') ){
    size_t k = i+1;
    if( k<n && (z[k]=='-' || z[k]=='+') ) k++;
    j = digits_skip(z, n, k);
    if( j>k ){
      s.is_int = false;
      s.end = j;
    }
  }
  return s;
}

/* The number z[begin..end-1]; "3." and ".5" are put into the form that
** vdb_scan_double reads, when they are short enough to matter. */
static double shape_real(const char *z, const struct number_shape *s){
  size_t n = s->end - s->begin, n_out = 0;
  char buf[1100];
  double d = 0;
  z += s->begin;
  if( n+2>sizeof(buf) ){
    (void)vdb_scan_double(z, n, &d);
    return d;
  }
  for(size_t i=0; i<n; i++){
    bool digit_before = i>0 && vdb_is_digit(z[i-1]);
    bool digit_after = i+1<n && vdb_is_digit(z[i+1]);
    if( z[i]=='.' && !digit_before ) buf[n_out++] = '0';
    if( z[i]=='.' && !digit_after ) continue;
    buf[n_out++] = z[i];
  }
  (void)vdb_scan_double(buf, n_out, &d);
  return d;
}

bool vdb_value_from_text(const char *z, size_t n, struct vdb_value *out){
  struct number_shape s = number_shape(z, n);
  size_t i = s.end;
  if( s.begin==s.end ) return false;
  while( i<n && vdb_is_space(z[i]) ) i++;
  if( i<n ) return false;
  memset(out, 0, sizeof(*out));
  if( s.is_int && vdb_scan_i64(z+s.begin, s.end-s.begin, &out->i)>0 ){
    out->type = VECDB_INTEGER;
  }else{
    out->type = VECDB_REAL;
    out->r = shape_real(z, &s);
  }
  return true;
}

double vdb_text_to_real(const char *z, size_t n){
  struct number_shape s = number_shape(z, n);
  return s.begin==s.end ? 0 : shape_real(z, &s);
}

int64_t vdb_text_to_int(const char *z, size_t n){
  struct number_shape s = number_shape(z, n);
  size_t i = s.begin;
  int64_t v = 0;
  if( s.begin==s.end ) return 0;
  if( z[i]=='-' || z[i]=='+' ) i++;
  i = digits_skip(z, s.end, i);                   /* CAST stops at the point */
  if( vdb_scan_i64(z+s.begin, i-s.begin, &v)>0 ) return v;
  return vdb_real_to_int(shape_real(z, &s));
}

int64_t vdb_real_to_int(double v){
  if( !(v>-0x1p63) ) return v!=v ? 0 : INT64_MIN;
  if( v>=0x1p63 ) return INT64_MAX;
  return (int64_t)v;
}

bool vdb_real_is_int(double v, int64_t *out){
  if( !(v>=-0x1p63 && v<0x1p63) || v!=floor(v) ) return false;
  *out = (int64_t)v;
  return true;
}
