/* str.c -- growing strings, and comparing names. Numbers are in num.c. */
#include <stdarg.h>
#include <stdio.h>

#include "util/common.h"
#include "util/mem.h"
#include "util/str.h"

/* Room for n more bytes and the NUL; false (and s->rc set) if there is none. */
static bool str_reserve(struct vdb_str *s, size_t n){
  size_t n_want;
  if( s->rc!=VECDB_OK ) return false;
  if( !vdb_add_sz(s->n, n, &n_want) || !vdb_add_sz(n_want, 1, &n_want)
   || vdb_grow(&s->z, &s->n_cap, n_want, 1)!=VECDB_OK ){
    s->rc = VECDB_NOMEM;
    return false;
  }
  return true;
}

void vdb_str_add(struct vdb_str *s, const void *p, size_t n){
  if( !str_reserve(s, n) ) return;
  if( n ) memcpy(s->z + s->n, p, n);
  s->n += n;
  s->z[s->n] = 0;
}

void vdb_str_addz(struct vdb_str *s, const char *z){
  vdb_str_add(s, z, strlen(z));
}

void vdb_str_addc(struct vdb_str *s, char c){
  vdb_str_add(s, &c, 1);
}

/* Once for the length, once for the text: simple, and the first pass writes
** nothing. The locale's decimal point is the caller's business: numbers that
** anybody reads back are printed by vdb_print_double. */
void vdb_str_addf(struct vdb_str *s, const char *fmt, ...){
  va_list ap;
  int n;

  va_start(ap, fmt);
  n = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  if( n<0 || !str_reserve(s, (size_t)n) ) return;
  va_start(ap, fmt);
  vsnprintf(s->z + s->n, (size_t)n+1, fmt, ap);
  va_end(ap);
  s->n += (size_t)n;
}

void vdb_str_clear(struct vdb_str *s){
  vdb_free(s->z);
  *s = (struct vdb_str)VDB_STR_INIT;
}

void vdb_str_truncate(struct vdb_str *s, size_t n){
  if( n>=s->n ) return;
  s->n = n;
  s->z[n] = 0;
}

char *vdb_str_take(struct vdb_str *s){
  char *z = NULL;
  vdb_str_add(s, "", 0);                   /* an empty string is not NULL */
  if( s->rc==VECDB_OK ){
    z = s->z;
    s->z = NULL;
  }
  vdb_str_clear(s);
  return z;
}

bool vdb_is_space(char c){
  return c==' ' || (c>='\t' && c<='\r');
}

bool vdb_is_digit(char c){
  return c>='0' && c<='9';
}

static int ascii_lower(char c){
  return c>='A' && c<='Z' ? c-'A'+'a' : (unsigned char)c;
}

int vdb_strnicmp(const char *a, const char *b, size_t n){
  for(size_t i=0; i<n; i++){
    int d = ascii_lower(a[i]) - ascii_lower(b[i]);
    if( d!=0 || a[i]==0 ) return d;
  }
  return 0;
}

int vdb_stricmp(const char *a, const char *b){
  return vdb_strnicmp(a, b, SIZE_MAX);
}

/* Longer words get no suggestion. */
#define NEAREST_MAX  48

static int int_min3(int a, int b, int c){
  int m = a<b ? a : b;
  return m<c ? m : c;
}

/* Insertions, deletions, replacements and swaps of neighbours that turn a into
** b, upper and lower case being the same; NEAREST_MAX if a word is too long. */
static int word_distance(const char *a, const char *b){
  int d[3][NEAREST_MAX+1];                 /* rows i, i-1 and i-2, mod 3 */
  size_t na = strlen(a), nb = strlen(b);

  if( na>=NEAREST_MAX || nb>=NEAREST_MAX ) return NEAREST_MAX;
  for(size_t j=0; j<=nb; j++) d[0][j] = (int)j;
  for(size_t i=1; i<=na; i++){
    int *row = d[i%3], *above = d[(i+2)%3], *two_up = d[(i+1)%3];
    row[0] = (int)i;
    for(size_t j=1; j<=nb; j++){
      bool is_same = ascii_lower(a[i-1])==ascii_lower(b[j-1]);
      row[j] = int_min3(above[j]+1, row[j-1]+1, above[j-1]+!is_same);
      if( i>1 && j>1 && ascii_lower(a[i-1])==ascii_lower(b[j-2])
       && ascii_lower(a[i-2])==ascii_lower(b[j-1]) && two_up[j-2]+1<row[j] ){
        row[j] = two_up[j-2]+1;
      }
    }
  }
  return d[na%3][nb];
}

/* At most half of the letters may be wrong, or any two-letter word would
** resemble any other. */
const char *vdb_nearest_word(const char *z, const char *const *list){
  int n_best = (int)vdb_min_sz(strlen(z)/2, 2) + 1;
  const char *best = NULL;
  for(; *list; list++){
    int n = word_distance(z, *list);
    if( n<n_best ){
      n_best = n;
      best = *list;
    }
  }
  return best;
}
