/* filter_value.c -- how values compare: SQLite's rules.
**
** ORDER     NULL, then numbers, then texts, then blobs. Integers and reals
**           compare exactly, without a detour through the other type.
** AFFINITY  A comparison with a numeric column turns a text that looks like a
**           number into one; a comparison with a text column turns numbers
**           into texts. Between two columns, numeric wins over text.
** PATTERNS  LIKE folds ASCII case and counts UTF-8 characters; both matchers
**           go back to the last star only, so they need O(text * pattern).
*/
#include "util/common.h"
#include "store/filter_int.h"

#include "util/mem.h"

/* ---- Affinity ----------------------------------------------------------- */

enum affinity vdb_filter_affinity(int col_type){
  switch( col_type ){
    case VECDB_INTEGER: case VECDB_REAL: case VECDB_BOOLEAN:
      return AFF_NUMERIC;
    case VECDB_TEXT:
      return AFF_TEXT;
    default:
      return AFF_NONE;
  }
}

enum affinity vdb_filter_cmp_affinity(enum affinity a, enum affinity b){
  if( a!=AFF_NONE && b!=AFF_NONE ){
    return a==AFF_NUMERIC || b==AFF_NUMERIC ? AFF_NUMERIC : AFF_NONE;
  }
  return a!=AFF_NONE ? a : b;
}

static bool value_is_number(const struct vdb_value *v){
  return v->type==VECDB_INTEGER || v->type==VECDB_REAL;
}

void vdb_value_convert(struct vdb_value *v, enum affinity aff,
                       char buf[VALUE_TEXT_MAX]){
  struct vdb_value num;
  if( aff==AFF_NUMERIC && v->type==VECDB_TEXT ){
    if( vdb_value_from_text(v->p, v->n, &num) ) *v = num;
  }else if( aff==AFF_TEXT && value_is_number(v) ){
    v->n = v->type==VECDB_INTEGER ? vdb_value_print_int(v->i, buf)
                                  : vdb_value_print_real(v->r, buf);
    v->p = buf;
    v->type = VECDB_TEXT;
  }
}

/* ---- Comparing ---------------------------------------------------------- */

static int cmp_int(int64_t a, int64_t b){
  return a<b ? -1 : a>b;
}

static int cmp_real(double a, double b){
  return a<b ? -1 : a>b;
}

/* Exact: a double beyond the integers is larger or smaller by its sign, any
** other has an integer part that an int64_t holds. */
static int cmp_int_real(int64_t i, double r){
  int64_t whole;
  if( r!=r ) return 1;                            /* NaN is NULL: below */
  if( r>=0x1p63 ) return -1;
  if( r<-0x1p63 ) return 1;
  whole = (int64_t)r;
  if( i!=whole ) return i<whole ? -1 : 1;
  return cmp_real((double)whole, r);
}

static char fold(char c){
  return c>='A' && c<='Z' ? (char)(c+32) : c;
}

static int cmp_text(const struct vdb_value *a, const struct vdb_value *b,
                    enum filter_coll coll){
  const char *x = a->p, *y = b->p;
  size_t n = a->n, m = b->n, k;
  int cmp = 0;
  if( coll==COLL_RTRIM ){
    while( n>0 && x[n-1]==' ' ) n--;
    while( m>0 && y[m-1]==' ' ) m--;
  }
  k = vdb_min_sz(n, m);
  if( coll==COLL_NOCASE ){
    for(size_t i=0; i<k && cmp==0; i++){
      cmp = (int)(unsigned char)fold(x[i]) - (int)(unsigned char)fold(y[i]);
    }
  }else if( k>0 ){
    cmp = memcmp(x, y, k);
  }
  if( cmp ) return cmp<0 ? -1 : 1;
  return n<m ? -1 : n>m;
}

/* NULL 0, numbers 1, texts 2, blobs 3. */
static int value_class(const struct vdb_value *v){
  switch( v->type ){
    case VECDB_NULL: return 0;
    case VECDB_TEXT: return 2;
    case VECDB_BLOB: return 3;
    default:         return 1;
  }
}

int vdb_value_cmp(const struct vdb_value *a, const struct vdb_value *b,
                  enum filter_coll coll){
  int ca = value_class(a), cb = value_class(b);
  if( ca!=cb ) return ca<cb ? -1 : 1;
  if( ca==0 ) return 0;
  if( ca==2 ) return cmp_text(a, b, coll);
  if( ca==3 ) return cmp_text(a, b, COLL_BINARY);
  if( a->type==VECDB_REAL ){
    return b->type==VECDB_REAL ? cmp_real(a->r, b->r)
                               : -cmp_int_real(b->i, a->r);
  }
  return b->type==VECDB_REAL ? cmp_int_real(a->i, b->r) : cmp_int(a->i, b->i);
}

bool vdb_op_holds(enum filter_op op, int cmp){
  switch( op ){
    case OP_EQ: return cmp==0;
    case OP_NE: return cmp!=0;
    case OP_LT: return cmp<0;
    case OP_LE: return cmp<=0;
    case OP_GT: return cmp>0;
    default:    return cmp>=0;
  }
}

enum tri vdb_value_truth(const struct vdb_value *v){
  switch( v->type ){
    case VECDB_NULL: return TRI_NULL;
    case VECDB_REAL: return v->r!=0 ? TRI_TRUE : TRI_FALSE;
    case VECDB_TEXT: case VECDB_BLOB:
      return vdb_text_to_real(v->p, v->n)!=0 ? TRI_TRUE : TRI_FALSE;
    default: return v->i!=0 ? TRI_TRUE : TRI_FALSE;
  }
}

/* ---- Patterns ----------------------------------------------------------- */

/* Bytes of the UTF-8 character at z[i]; a stray byte is a character. */
static size_t char_bytes(const char *z, size_t n, size_t i){
  size_t k = i+1;
  if( (unsigned char)z[i]<0xc0 ) return 1;
  while( k<n && ((unsigned char)z[k] & 0xc0)==0x80 ) k++;
  return k-i;
}

/* The pattern element at p[*j]: does it match the character at z[i]? On
** success *j and *step (bytes of text) say how far it went. */
static bool like_one(const char *z, size_t n, size_t i, const char *p,
                     size_t n_p, size_t *j, int escape, size_t *step){
  size_t k = *j;
  *step = 1;
  if( escape<0 || (unsigned char)p[k]!=escape ){
    if( p[k]=='_' ){
      *step = char_bytes(z, n, i);
      *j = k+1;
      return true;
    }
  }else if( ++k>=n_p ){
    return false;                                 /* nothing is escaped */
  }
  if( fold(z[i])!=fold(p[k]) ) return false;
  *j = k+1;
  return true;
}

bool vdb_like_match(const char *z, size_t n, const char *pat, size_t n_pat,
                    int escape){
  size_t i = 0, j = 0, star_i = 0, star_j = 0, step;
  bool has_star = false;
  while( i<n || j<n_pat ){
    if( j<n_pat && pat[j]=='%' && (unsigned char)pat[j]!=escape ){
      has_star = true;
      star_j = ++j;
      star_i = i;
      if( j==n_pat ) return true;
      continue;
    }
    if( i<n && j<n_pat && like_one(z, n, i, pat, n_pat, &j, escape, &step) ){
      i += step;
      continue;
    }
    if( !has_star || star_i>=n ) return false;
    star_i += char_bytes(z, n, star_i);
    i = star_i;
    j = star_j;
  }
  return true;
}

/* Code point of the character at z[i]. */
static uint32_t char_code(const char *z, size_t n, size_t i){
  size_t k = char_bytes(z, n, i);
  uint32_t c = (unsigned char)z[i];
  if( k==1 ) return c;
  c &= k==2 ? 0x1fu : k==3 ? 0x0fu : 0x07u;
  for(size_t j=1; j<k; j++) c = c<<6 | ((unsigned char)z[i+j] & 0x3f);
  return c;
}

/* Set "[...]" at p[*j] (just behind the "["): is c in it? *j moves behind the
** "]"; false when the set does not end. */
static bool glob_set(uint32_t c, const char *p, size_t n_p, size_t *j){
  size_t k = *j;
  bool invert = k<n_p && p[k]=='^', seen = false, first = true;
  uint32_t prior = 0;
  bool has_prior = false;
  if( invert ) k++;
  for(; k<n_p && (p[k]!=']' || first); first=false){
    if( p[k]=='-' && has_prior && k+1<n_p && p[k+1]!=']' ){
      uint32_t hi = char_code(p, n_p, k+1);
      if( c>=prior && c<=hi ) seen = true;
      k += 1 + char_bytes(p, n_p, k+1);
      has_prior = false;
      continue;
    }
    prior = char_code(p, n_p, k);
    has_prior = true;
    if( prior==c ) seen = true;
    k += char_bytes(p, n_p, k);
  }
  if( k>=n_p ) return false;
  *j = k+1;
  return seen!=invert;
}

static bool glob_one(const char *z, size_t n, size_t i, const char *p,
                     size_t n_p, size_t *j, size_t *step){
  size_t k = *j+1;
  *step = 1;
  if( p[*j]=='?' || p[*j]=='[' ){
    *step = char_bytes(z, n, i);
    if( p[*j]=='[' && !glob_set(char_code(z, n, i), p, n_p, &k) ) return false;
  }else if( z[i]!=p[*j] ){
    return false;
  }
  *j = k;
  return true;
}

bool vdb_glob_match(const char *z, size_t n, const char *pat, size_t n_pat){
  size_t i = 0, j = 0, star_i = 0, star_j = 0, step;
  bool has_star = false;
  while( i<n || j<n_pat ){
    if( j<n_pat && pat[j]=='*' ){
      has_star = true;
      star_j = ++j;
      star_i = i;
      if( j==n_pat ) return true;
      continue;
    }
    if( i<n && j<n_pat && glob_one(z, n, i, pat, n_pat, &j, &step) ){
      i += step;
      continue;
    }
    if( !has_star || star_i>=n ) return false;
    star_i += char_bytes(z, n, star_i);
    i = star_i;
    j = star_j;
  }
  return true;
}
