/* lib_graph.h -- a graph index in memory, over rows that are made up.
**
** Used by   t_graph.c, t_graph_damage.c, t_graph_fail.c.
*/
#ifndef LIB_GRAPH_H
#define LIB_GRAPH_H
#include "vt.h"

#include <math.h>

#include "index/graph.h"
#include "pager/format.h"
#include "util/bitset.h"
#include "util/bytes.h"
#include "util/mem.h"
#include "util/rng.h"

/* ---- An index in memory -------------------------------------------------- */

struct rows { uint32_t n, d; float *x; };

struct built {
  struct rows rows;
  unsigned char *group[64], *header;
  size_t sz_group[64], sz_header;
  uint32_t n_group;
  struct vdb_graph *g;
  struct vdb_graph_blocks b;
  struct vdb_graph_searcher *s;
};

static inline int test_fetch(void *arg, uint32_t i, float *vec){
  const struct rows *r = arg;
  memcpy(vec, r->x + (size_t)i*r->d, r->d*sizeof(float));
  return VECDB_OK;
}
static inline int test_group(void *arg, uint32_t i_group, const void *blocks,
                             uint32_t n, uint32_t stride){
  struct built *t = arg;
  if( i_group>=64 || i_group!=t->n_group ) return VECDB_MISUSE;
  t->sz_group[i_group] = (size_t)n*stride;
  t->group[i_group] = vdb_malloc_aligned((size_t)n*stride);
  if( t->group[i_group]==NULL ) return VECDB_NOMEM;
  memcpy(t->group[i_group], blocks, (size_t)n*stride);
  t->n_group++;
  return VECDB_OK;
}
static inline int test_header(void *arg, const void *bytes, size_t sz){
  struct built *t = arg;
  t->header = vdb_memdup(bytes, sz);
  t->sz_header = sz;
  return t->header ? VECDB_OK : VECDB_NOMEM;
}

static inline int build_try(struct built *t, const struct rows *r,
                            const struct vdb_graph_opts *o){
  struct vdb_graph_source src = { r->n, r->d, test_fetch, NULL, NULL,
                                  (void*)(uintptr_t)r };
  struct vdb_graph_sink sink = { test_group, test_header, NULL, t, NULL };
  memset(t, 0, sizeof(*t));
  t->rows = *r;
  return vdb_graph_build(&src, o, &sink);
}
static inline void built_open(struct built *t){
  REQUIRE(vdb_graph_open(t->header, t->sz_header, &t->g)==VECDB_OK);
  REQUIRE(vdb_graph_searcher_create(t->g, &t->s)==VECDB_OK);
  t->b.base = (const unsigned char *const*)t->group;
  t->b.n_slots = t->rows.n;
}
static inline void build(struct built *t, const struct rows *r,
                         const struct vdb_graph_opts *o){
  REQUIRE(build_try(t, r, o)==VECDB_OK);
  built_open(t);
}
static inline void built_close(struct built *t){
  vdb_graph_searcher_destroy(t->s);
  vdb_graph_close(t->g);
  for(uint32_t i=0; i<t->n_group; i++) vdb_free_aligned(t->group[i]);
  vdb_free(t->header);
}
static inline unsigned char *built_block(struct built *t, uint32_t slot){
  struct vdb_graph_info info;
  vdb_graph_info(t->g, &info);
  return t->group[slot>>info.shift]
       + (size_t)(slot & ((1u<<info.shift)-1))*info.stride;
}
static inline uint64_t built_digest(const struct built *t){
  uint64_t h = 1;
  for(size_t i=0; i<t->sz_header; i++) h = (h ^ t->header[i])*0x100000001b3u;
  for(uint32_t g=0; g<t->n_group; g++){
    for(size_t i=0; i<t->sz_group[g]; i++){
      h = (h ^ t->group[g][i])*0x100000001b3u;
    }
  }
  return h;
}

enum { MADE_BYTES, MADE_FLOATS, MADE_CLUSTERS, MADE_BITS };

static inline struct rows rows_make(int kind, uint32_t n, uint32_t d,
                                    uint64_t seed){
  struct rows r = { n, d, vdb_malloc_array((size_t)n*d+1, sizeof(float)) };
  struct vdb_rng g;
  vdb_rng_init(&g, seed);
  for(uint32_t i=0; i<n; i++){
    uint64_t centre = vdb_rng_below(&g, 300);
    for(uint32_t j=0; j<d; j++){
      float *x = &r.x[(size_t)i*d+j];
      struct vdb_rng c;
      vdb_rng_init(&c, centre*1000+j);
      if( kind==MADE_BYTES ) *x = (float)vdb_rng_below(&g, 256);
      else if( kind==MADE_FLOATS ) *x = (float)vdb_rng_gauss(&g);
      else if( kind==MADE_BITS ){         /* a tenth differs from the centre */
        *x = (float)(vdb_rng_below(&c, 2) ^ (vdb_rng_below(&g, 10)==0));
      }
      else *x = (float)(100*vdb_rng_gauss(&c) + vdb_rng_gauss(&g));
    }
  }
  return r;
}

/* Eight clusters; their centres are `apart` times as far apart as their rows. */
static inline struct rows clusters_make(uint32_t n, float apart, uint64_t seed){
  enum { D = 264 };
  static float centre[8*D];
  struct rows r = { n, D, vdb_malloc_array((size_t)n*D, sizeof(float)) };
  struct vdb_rng g;
  REQUIRE(r.x!=NULL);
  vdb_rng_init(&g, 31);
  for(size_t i=0; i<VDB_ARRAY_LEN(centre); i++){
    centre[i] = apart*(float)vdb_rng_gauss(&g);
  }
  vdb_rng_init(&g, seed);
  for(uint32_t i=0; i<n; i++){
    const float *c = centre + (size_t)D*vdb_rng_below(&g, 8);
    for(size_t j=0; j<D; j++) r.x[i*D+j] = c[j] + (float)vdb_rng_gauss(&g);
  }
  return r;
}

static inline double d2_of(const struct rows *r, uint32_t i, const float *q){
  double s = 0;
  for(uint32_t j=0; j<r->d; j++){
    double e = (double)r->x[(size_t)i*r->d+j] - q[j];
    s += e*e;
  }
  return s;
}
static inline int compare_doubles(const void *a, const void *b){
  double x = *(const double*)a, y = *(const double*)b;
  return x<y ? -1 : x>y;
}

/* Recall of 10 by distance, over n_query rows of `q`, among rows in `only`. */
static inline double recall_of(struct built *t, const struct rows *q,
                               uint32_t ef, const uint64_t *only){
  double *d = vdb_malloc_array(t->rows.n, sizeof(*d)), sum = 0;
  struct vdb_graph_search p = { 10, ef, -1 };
  t->b.filter = only;
  t->b.n_row = t->rows.n;
  for(uint32_t i=0; i<q->n; i++){
    const float *x = q->x + (size_t)i*q->d;
    struct vdb_graph_hit hit[10];
    uint32_t n, m = 0;
    for(uint32_t j=0; j<t->rows.n; j++){
      if( only==NULL || vdb_bit_get(only, j) ) d[m++] = d2_of(&t->rows, j, x);
    }
    qsort(d, m, sizeof(*d), compare_doubles);
    REQUIRE(vdb_graph_knn(t->s, &t->b, x, &p, hit, &n, NULL)==VECDB_OK);
    for(uint32_t j=0; j<n; j++){
      CHECK(only==NULL || vdb_bit_get(only, hit[j].row));
      CHECK(j==0 || hit[j].d2>hit[j-1].d2
            || (hit[j].d2==hit[j-1].d2 && hit[j].key>hit[j-1].key));
      sum += d2_of(&t->rows, hit[j].row, x)<=d[9]*(1+1e-6);
    }
  }
  vdb_free(d);
  t->b.filter = NULL;
  return sum/q->n/10;
}

static inline void check_ok(struct built *t){
  struct vdb_graph_report r;
  CHECK_RC(VECDB_OK, vdb_graph_check(t->g, &t->b, &r));
  CHECK_U64(0, r.n_unreached);
}
#endif
