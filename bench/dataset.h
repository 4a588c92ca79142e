/* dataset.h -- a folder of vectors, queries and their true neighbours.
**
** base.u8bin or base.fbin, query.*, gt.ivecs: counts and sizes as uint32, then
** rows; everything becomes floats. Truth is kept as the square distance of the
** K-th true neighbour, since recall counts *distances*: a result that is not
** farther is right, whichever of equals it is.
**
** Included by one benchmark program each.
*/
#ifndef BENCH_DATASET_H
#define BENCH_DATASET_H
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { K = 10 };

static void die(const char *what, const char *why){
  fprintf(stderr, "%s: %s\n", what, why);
  exit(1);
}

struct set { uint32_t n, d; float *x; int is_bytes; };

static FILE *data_open(const char *folder, const char *name){
  char path[4096];
  snprintf(path, sizeof(path), "%s/%s", folder, name);
  return fopen(path, "rb");
}

static struct set set_read(const char *folder, const char *stem){
  struct set s = { 0 };
  char name[64];
  uint32_t head[2];
  FILE *f;
  size_t n;
  snprintf(name, sizeof(name), "%s.u8bin", stem);
  f = data_open(folder, name);
  if( f ){
    uint8_t *u;
    if( fread(head, 4, 2, f)!=2 ) die(name, "short");
    s.n = head[0]; s.d = head[1];
    n = (size_t)s.n*s.d;
    u = malloc(n);
    s.x = malloc(n*4);
    if( fread(u, 1, n, f)!=n ) die(name, "short");
    for(size_t i=0; i<n; i++) s.x[i] = u[i];
    free(u);
    s.is_bytes = 1;
  }else{
    snprintf(name, sizeof(name), "%s.fbin", stem);
    f = data_open(folder, name);
    if( f==NULL || fread(head, 4, 2, f)!=2 ) die(name, "cannot read");
    s.n = head[0]; s.d = head[1];
    n = (size_t)s.n*s.d;
    s.x = malloc(n*4);
    if( fread(s.x, 4, n, f)!=n ) die(name, "short");
  }
  fclose(f);
  return s;
}

static inline void set_normalise(struct set *s){
  for(uint32_t i=0; i<s->n; i++){
    float *x = s->x + (size_t)i*s->d;
    double n2 = 0;
    for(uint32_t j=0; j<s->d; j++) n2 += (double)x[j]*x[j];
    for(uint32_t j=0; j<s->d && n2>0; j++) x[j] = (float)(x[j]/sqrt(n2));
  }
}

/* Square distance of the K-th true neighbour of each query. */
static inline double *truth_read(const char *folder, const struct set *base,
                          const struct set *query){
  FILE *f = data_open(folder, "gt.ivecs");
  double *limit = malloc(query->n*sizeof(*limit));
  int32_t k, *id;
  for(uint32_t i=0; i<query->n; i++){
    double d2 = 0;
    if( f==NULL || fread(&k, 4, 1, f)!=1 || k<K ) die("gt.ivecs", "short");
    id = malloc((size_t)k*4);
    if( fread(id, 4, (size_t)k, f)!=(size_t)k ) die("gt.ivecs", "short");
    for(int r=0; r<K; r++){
      double s = 0;
      for(uint32_t j=0; j<base->d; j++){
        double e = (double)query->x[(size_t)i*base->d+j]
                 - base->x[(size_t)id[r]*base->d+j];
        s += e*e;
      }
      if( s>d2 ) d2 = s;
    }
    limit[i] = d2*(1+1e-6) + 1e-12;
    free(id);
  }
  fclose(f);
  return limit;
}

/* The same by looking at all rows, where a file does not say. */
static inline double *truth_scan(const struct set *base,
                                 const struct set *query){
  double *limit = malloc(query->n*sizeof(*limit));
  for(uint32_t i=0; i<query->n; i++){
    double best[K];
    for(int j=0; j<K; j++) best[j] = INFINITY;
    for(uint32_t r=0; r<base->n; r++){
      const float *x = base->x + (size_t)r*base->d;
      const float *q = query->x + (size_t)i*base->d;
      double d2 = 0;
      int at = K;
      for(uint32_t e=0; e<base->d; e++) d2 += ((double)q[e]-x[e])*(q[e]-x[e]);
      for(; at>0 && d2<best[at-1]; at--) if( at<K ) best[at] = best[at-1];
      if( at<K ) best[at] = d2;
    }
    limit[i] = best[K-1]*(1+1e-6) + 1e-12;
  }
  return limit;
}

/* Is a row within the limit of a query? */
static inline int row_is_right(const struct set *base, const struct set *query,
                        const double *limit, uint32_t i, uint32_t row){
  const float *x = base->x + (size_t)row*base->d;
  const float *q = query->x + (size_t)i*base->d;
  double d2 = 0;
  for(uint32_t e=0; e<base->d; e++) d2 += ((double)q[e]-x[e])*(q[e]-x[e]);
  return d2<=limit[i];
}
#endif
