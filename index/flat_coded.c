/* flat_coded.c -- exact search of rows that have codes (flat_code.h).
**
** A scan of the codes, an eighth of the bytes of float rows, leaves out the
** rows that provably do not get into the pick; the stored vectors of the rest
** decide. So the answer has the bits of the plain scan.
**
**   pass 1   the products of all level 1 codes with the query, kept. Unless a
**            bound is known, the rows of the least estimates are computed
**            exactly: their k-th key is a bound at once.
**   pass 2   by unit: rows whose level 1 bound does not exceed the cut of the
**            pick, then of these the ones whose level 2 bound does not, are
**            computed exactly.
**
** Rows are taken SPAN_UNITS units at a time, so memory is bounded. Units
** without a row that passes the filter are skipped, and with very few the
** rows are computed at once.
**
** PROOF    In exact arithmetic, D = norm2(q-r) of the rotated query and row.
**          s*x - r is orthogonal to r and has norm tan, so
**            B1  D = est + 2<q, s*x-r>,  est = norm2(q) + norm2(r) - 2s<q,x>
**                <q, s*x-r> = <q-r, s*x-r> = <p, s*x-r>, p = q without its
**                part along r:  abs <= tan*min(norm(q), sqrt(D), norm(p)).
**          If D <= T, then est <= T + 2*tan*min(norm(q), sqrt(T)). And <q,r> =
**          (norm2(q)+norm2(r)-D)/2 >= (norm2(q)+norm2(r)-T)/2 = h, so if h>0
**            B2  norm2(p) <= norm2(q) - h*h/norm2(r).
**          The codes see z = delta*bytes instead of q, whence
**            B3  abs(<q,x> - <z,x>)*s <= norm(q-z)*norm(s*x).
**          ip: key = -<q,o> = -<q,centre> - <q,r>; the code gives s<q,x>, at
**          most tan*norm(q) from <q,r>.
**
** ROUNDING With u = 2^-24, N = norm2(q)+norm2(r) >= D/2: the rotation moves
**          vectors by 100u of their norm at most (77 roundings in a row at
**          65536 dimensions), i.e. D by 400u N; canonical keys and norms are
**          (d/32+8)u from what they stand for, twice 2(d/32+8)u N; s (as f32)
**          and est have below 100 roundings relative to N. SLACK*N, SLACK =
**          2^-15 + (d/32+16)*2^-20, is more than the sum. Unit vectors of
**          cosine and its own formula add absolute errors: below
**          (d/32+32)*2^-21. ip: the same with norm(q)*(norm(r) +
**          norm(centre)) in place of N. Rows and queries whose squares leave
**          2^-100..2^100, where products are lost, have no bound.
*/
#include "index/flat_coded.h"

#include <math.h>

#include "index/flat_code.h"
#include "pager/format.h"
#include "simd/code.h"
#include "util/bitset.h"
#include "util/bytes.h"
#include "util/mem.h"

enum {
  SPAN_UNITS = 4096,             /* 131,072 rows: 128 bytes each of memory */
  STEP_UNITS = 2,                /* looked at together in pass 2 */
  EXACT_BATCH = 64,              /* rows computed between looks at the cut */
  DIRECT_ROWS = 2,               /* so few rows of a unit: no codes */
  SEEDS_EXTRA = 32
};
#define SEEDS_MAX       65536u   /* more wanted: the pick's own cut serves */
#define CODED_ROWS_MIN  1024u    /* fewer rows in all: the plain scan */

/* A unit with rows that pass. */
struct span_unit {
  const struct flat_run *run;
  uint32_t i_unit, mask;         /* of the run; bit l: lane l passes */
};

struct seed { float est; uint32_t at; };       /* unit*32 + lane */

struct coded {
  const struct flat_search *s;
  const struct flat_coder *k;
  const struct vdb_code_simd *simd;
  size_t sz_coarse, sz_fine;     /* bytes of level 1 of a unit, 2 of a row */
  const struct vdb_query *query;
  struct flat_pick *pick;
  struct flat_poll *poll;
  size_t sz_polled;
  /* The query: */
  struct vdb_code_query code;
  int32_t sum;                   /* of the bytes of the table */
  double qq, norm;               /* square norm as seen by the codes; root */
  double base;                   /* ip: <q,centre> */
  double gap;                    /* norm(q-z), rounded up */
  /* Of level 1; `reach` and `limit` follow the cut. Level 2 differs in
  ** kappa, and in that ip has a factor of 4 less. */
  struct vdb_code_bound bound;
  float kappa_fine;
  float cut;                     /* that limit and reach are for */
  /* The span: */
  struct span_unit *unit;
  int32_t (*ip)[32];
  size_t n_unit;
  struct seed *seed;
  size_t n_seed, n_seed_want;
  float seed_cut;
  /* Rows to be computed: */
  struct flat_block block;
};

/* ---- The query ----------------------------------------------------------- */

static double bytes_gap(const struct vdb_code_query *q, const float *x){
  const int8_t *z = (const int8_t*)q->table;
  double sum = 0;
  for(size_t i=0; i<q->dims; i++){
    double d = (double)x[i] - (double)q->delta*z[i];
    sum += d*d;
  }
  return sqrt(sum)*(1 + 0x1p-20) + 0x1p-60;
}

static double double_dot(const float *a, const float *b, size_t n){
  double sum = 0;
  for(size_t i=0; i<n; i++) sum += (double)a[i]*(double)b[i];
  return sum;
}

/* Terms of the bound that do not depend on the cut. */
static void bound_init(struct coded *c, double norm_centre){
  double d = (double)c->s->dim/32;
  double slack = 0x1p-15 + (d+16)*0x1p-20;
  if( c->s->metric==VECDB_IP ){
    c->bound.a = 0;
    c->bound.b = (float)(-slack*c->norm*(norm_centre + 1e-20));
    c->bound.c = 0.5f;
    c->bound.w = (float)((c->gap + slack*c->norm)*(1 + 0x1p-15));
  }else{
    double lost = c->s->metric==VECDB_COSINE ? (d+32)*0x1p-20 : 0;
    c->bound.a = (float)(1 - slack);
    c->bound.b = (float)(c->qq*(1 - slack) - lost);
    c->bound.c = 1;
    c->bound.w = (float)(2*c->gap*(1 + 0x1p-15));
  }
}

/* What a cut on keys means for bounds. */
static void limit_update(struct coded *c){
  double T = c->pick->cut;
  if( c->pick->cut==c->cut ) return;
  c->cut = c->pick->cut;
  if( c->s->metric==VECDB_COSINE ) T = 2*T;
  if( c->s->metric==VECDB_IP ){
    T += c->base;
    c->bound.reach = (float)(c->norm*(1 + 0x1p-15));
  }else{
    double reach = T>0 ? sqrt(T) : 0;
    if( c->norm<reach ) reach = c->norm;
    c->bound.reach = (float)(2*reach*(1 + 0x1p-12));
  }
  c->bound.limit = (float)T;
  if( c->bound.limit<T ) c->bound.limit = nextafterf(c->bound.limit, INFINITY);
}

/* False: the query has no bound. */
static bool query_prepare(struct coded *c, float *x){
  const struct flat_coder *k = c->k;
  const int8_t *z = (const int8_t*)c->code.table;
  bool is_ip = k->metric==VECDB_IP;
  if( !vdb_flat_code_vector(k, c->query->vec, !is_ip, x) ) return false;
  if( is_ip ) c->base = double_dot(x, k->centre, k->dims);
  c->simd->rotate(k->sign, k->dims, x);
  c->qq = double_dot(x, x, k->dims);
  if( !(c->qq<=0x1p100) || (is_ip && c->qq<0x1p-100) ) return false;
  c->norm = sqrt(c->qq);
  c->code.dims = (uint32_t)k->dims;
  c->code.bits = 4;
  c->simd->prepare(&c->code, x);
  for(size_t i=0; i<k->dims; i++) c->sum += z[i];
  c->gap = bytes_gap(&c->code, x);
  c->bound.delta = 4*c->code.delta;
  c->bound.kappa = (float)(-30.0*(double)c->code.delta*c->sum);
  c->kappa_fine = (float)(-31.5*(double)c->code.delta*c->sum);
  bound_init(c, sqrt(double_dot(k->centre, k->centre, k->dims)));
  c->cut = NAN;
  limit_update(c);
  return true;
}

/* ---- Rows that have to be computed --------------------------------------- */

static int rows_compute(struct coded *c){
  float key[FLAT_BLOCK];
  int rc = VECDB_OK;
  if( c->block.n==0 ) return VECDB_OK;
  vdb_keys(c->query, c->block.row, c->block.has_norm2 ? c->block.norm2 : NULL,
           c->block.n, key);
  TRY( vdb_flat_pick_block(c->pick, &c->block, key) );
  TRY( vdb_flat_poll(c->poll, &c->sz_polled, c->block.n*c->poll->sz_vec) );
  c->block.n = 0;
  limit_update(c);
done:
  return rc;
}

static int coded_take(struct coded *c, const struct flat_run *run, size_t i){
  struct flat_block *b = &c->block;
  int rc = VECDB_OK;
  if( b->n>0 && b->has_norm2!=(run->norm2!=NULL) ) TRY( rows_compute(c) );
  TRY( vdb_flat_touch(c->s, run, i, 1) );
  b->has_norm2 = run->norm2!=NULL;
  if( run->norm2 ) b->norm2[b->n] = run->norm2[i];
  b->row[b->n] = (const char*)run->vecs + i*run->stride;
  b->slot[b->n++] = run->slots ? run->slots[i] : run->slot_base+(slot_no)i;
  if( b->n==EXACT_BATCH ) TRY( rows_compute(c) );
done:
  return rc;
}

/* ---- Bounds -------------------------------------------------------------- */

static const unsigned char *unit_coarse(const struct coded *c,
                                        const struct span_unit *u){
  return u->run->codes + u->i_unit*c->sz_coarse;
}
static const unsigned char *unit_fine(const struct coded *c,
                                      const struct span_unit *u, unsigned lane){
  size_t n = vdb_flat_code_units(u->run->n_codes);
  return u->run->codes + n*c->sz_coarse
       + ((size_t)u->i_unit*32 + lane)*c->sz_fine;
}

/* B2: the reach of one row, as its norm2 allows. An error of D moves h, and so
** norm2(p) by 2h/norm2(r) times as much, so h is made of the least N (a, b). */
static double row_reach(const struct coded *c, double n2){
  double h = (n2*(double)c->bound.a + (double)c->bound.b
              - (double)c->bound.limit)/2, p2 = c->qq;
  double reach = (double)c->bound.reach;
  if( c->s->metric==VECDB_IP || !(h>0) || !(n2>0) ) return reach;
  p2 -= h*h/n2*(1 - 0x1p-14);
  p2 = 2*sqrt((p2>0 ? p2 : 0) + 0x1p-14*c->qq)*(1 + 0x1p-12);
  return p2<reach ? p2 : reach;
}

/* Does lane l of a unit stay, by both levels? `ip` is its level 1 product,
** est its estimate. */
static bool lane_stays(const struct coded *c, const struct span_unit *u,
                       unsigned lane, int32_t ip, float est){
  const unsigned char *factor = unit_coarse(c, u)
                              + VDB_CODE_GROUP_BYTES(c->k->dims, 4) + 4*lane;
  const unsigned char *fine;
  double n2 = (double)get_f32(factor + FLATCODE_NORM2);
  double reach = row_reach(c, n2), e;
  double w = (double)c->bound.w*(double)get_f32(factor + FLATCODE_NORM);
  if( (double)est - (double)get_f32(factor + FLATCODE_TAN)*reach - w
      > (double)c->bound.limit ) return false;
  if( c->k->bits==4 ) return true;
  fine = unit_fine(c, u, lane);
  e = 4.0*ip + (double)c->simd->dot_low(fine + FLATFINE_SIZE,
                               (const int8_t*)c->code.table, c->k->dims);
  e = e*(double)c->code.delta + (double)c->kappa_fine;
  e = e*(double)get_f32(fine + FLATFINE_RESC)*(double)c->bound.c
    + n2*(double)c->bound.a + (double)c->bound.b;
  return !(e - (double)get_f32(fine + FLATFINE_TAN)*reach - w
           > (double)c->bound.limit);
}

/* ---- Seeds --------------------------------------------------------------- */

static void seed_swap(struct seed *a, struct seed *b){
  struct seed t = *a;
  *a = *b;
  *b = t;
}

/* The n least of the seeds to the front (quickselect; any pivot is right,
** the middle one is quick). */
static void seeds_select(struct seed *a, size_t n_all, size_t n){
  size_t lo = 0, hi = n_all;
  while( hi-lo>1 && n>lo && n<hi ){
    float pivot = a[lo+(hi-lo)/2].est;
    size_t i = lo, j = lo, k = hi;               /* lo..i < pivot, k.. > it */
    while( j<k ){
      if( a[j].est<pivot ) seed_swap(&a[i++], &a[j++]);
      else if( a[j].est>pivot ) seed_swap(&a[--k], &a[j]);
      else j++;
    }
    if( n<=i ) hi = i;
    else if( n>=k ) lo = k;
    else return;
  }
}

static void seeds_trim(struct coded *c){
  if( c->n_seed<=c->n_seed_want ) return;
  seeds_select(c->seed, c->n_seed, c->n_seed_want);
  c->n_seed = c->n_seed_want;
  c->seed_cut = -INFINITY;
  for(size_t i=0; i<c->n_seed; i++){
    if( c->seed[i].est>c->seed_cut ) c->seed_cut = c->seed[i].est;
  }
}

static void seeds_offer(struct coded *c, size_t i_unit, uint32_t mask,
                        const float *est){
  for(; mask; mask &= mask-1){
    unsigned l = (unsigned)__builtin_ctz(mask);
    if( !(est[l]<c->seed_cut) ) continue;
    c->seed[c->n_seed].est = est[l];
    c->seed[c->n_seed++].at = (uint32_t)i_unit*32 + l;
    if( c->n_seed==2*c->n_seed_want ) seeds_trim(c);
  }
}

/* Compute the seeds; they are done. */
static int seeds_compute(struct coded *c){
  int rc = VECDB_OK;
  seeds_trim(c);
  for(size_t i=0; i<c->n_seed; i++){
    struct span_unit *u = &c->unit[c->seed[i].at/32];
    unsigned lane = c->seed[i].at%32;
    u->mask &= ~((uint32_t)1<<lane);
    TRY( coded_take(c, u->run, (size_t)u->i_unit*32 + lane) );
  }
  TRY( rows_compute(c) );
  c->n_seed = 0;
done:
  return rc;
}

/* ---- Spans --------------------------------------------------------------- */

static const unsigned char *unit_factor(const struct coded *c,
                                        const struct span_unit *u){
  return unit_coarse(c, u) + VDB_CODE_GROUP_BYTES(c->k->dims, 4);
}

static bool wants_seeds(const struct coded *c){
  return c->seed!=NULL && c->pick->top.n<c->pick->top.k;
}

/* Pass 2 by steps of STEP_UNITS units: first the lanes that level 1 leaves,
** whose level 2 codes are asked for, then those one by one. */
struct span_step {
  _Alignas(64) float est[STEP_UNITS][32];
  uint32_t mask[STEP_UNITS];
};

static void unit_look(const struct coded *c, size_t i, float *est,
                      uint32_t *mask){
  const struct span_unit *u = &c->unit[i];
  size_t sz = c->sz_fine;
  *mask = u->mask & c->simd->bounds(&c->bound, unit_factor(c, u), c->ip[i],
                                    est);
  for(uint32_t m=c->k->bits>4 ? *mask : 0; m; m &= m-1){
    const unsigned char *fine = unit_fine(c, u, (unsigned)__builtin_ctz(m));
    for(size_t at=0; at<sz; at+=64) __builtin_prefetch(fine+at);
  }
}

static int span_step(struct coded *c, size_t i, size_t n){
  struct span_step t;
  int rc = VECDB_OK;
  for(size_t j=0; j<n; j++) unit_look(c, i+j, t.est[j], &t.mask[j]);
  for(size_t j=0; j<n; j++){
    const struct span_unit *u = &c->unit[i+j];
    for(uint32_t m=t.mask[j]; m; m &= m-1){
      unsigned l = (unsigned)__builtin_ctz(m);
      if( lane_stays(c, u, l, c->ip[i+j][l], t.est[j][l]) ){
        TRY( coded_take(c, u->run, (size_t)u->i_unit*32 + l) );
      }
    }
  }
done:
  return rc;
}

static int span_finish(struct coded *c){
  int rc = VECDB_OK;
  if( c->n_seed>0 ) TRY( seeds_compute(c) );
  for(size_t i=0; i<c->n_unit; i+=STEP_UNITS){
    TRY( span_step(c, i, vdb_min_sz(STEP_UNITS, c->n_unit-i)) );
  }
  TRY( rows_compute(c) );
  c->n_unit = 0;
  c->seed_cut = INFINITY;
done:
  return rc;
}

/* Pass 1 of one unit. */
static int unit_add(struct coded *c, const struct flat_run *run, size_t i,
                    uint32_t mask){
  struct span_unit *u = &c->unit[c->n_unit];
  _Alignas(64) float est[32];
  int rc = VECDB_OK;
  if( __builtin_popcount(mask)<=DIRECT_ROWS ){
    for(; mask; mask &= mask-1){
      TRY( coded_take(c, run, i*32 + (size_t)__builtin_ctz(mask)) );
    }
    return VECDB_OK;
  }
  u->run = run;
  u->i_unit = (uint32_t)i;
  u->mask = mask;
  for(size_t at=0; at<FLATCODE_SIZE; at+=64){
    __builtin_prefetch(unit_factor(c, u) + at);
  }
  c->simd->sums(&c->code, unit_coarse(c, u), c->ip[c->n_unit]);
  if( wants_seeds(c) ){
    (void)c->simd->bounds(&c->bound, unit_factor(c, u), c->ip[c->n_unit], est);
    seeds_offer(c, c->n_unit, mask, est);
  }
  if( ++c->n_unit==SPAN_UNITS ) TRY( span_finish(c) );
done:
  return rc;
}

/* ---- Runs ---------------------------------------------------------------- */

/* Bits slot..slot+31 of a bitmap of which n are needed; NULL: ones. */
static uint32_t bits_at(const uint64_t *bits, size_t slot, size_t n){
  size_t w = slot/64, shift = slot%64;
  uint64_t m;
  if( bits==NULL ) return 0xffffffffu;
  m = bits[w]>>shift;
  if( shift+n>64 ) m |= bits[w+1]<<(64-shift);
  return (uint32_t)m;
}

/* Rows i*32.. of a run that pass. */
static uint32_t unit_mask(const struct flat_search *s,
                          const struct flat_run *run, size_t i){
  size_t first = i*32, n = vdb_min_sz(32, run->n_rows-first);
  uint32_t m = 0;
  if( run->slots==NULL ){
    size_t slot = run->slot_base + first;
    m = bits_at(run->live, slot, n) & bits_at(s->filter, slot, n);
    return n<32 ? m & (((uint32_t)1<<n) - 1) : m;
  }
  for(size_t l=0; l<n; l++){
    slot_no slot = run->slots[first+l];
    bool on = (!run->live || vdb_bit_get(run->live, slot))
           && (!s->filter || vdb_bit_get(s->filter, slot));
    m |= (uint32_t)on << l;
  }
  return m;
}

static int run_scan(struct coded *c, const struct flat_run *run){
  size_t n = vdb_flat_code_units(run->n_rows);
  size_t sz = c->sz_coarse;
  int rc = VECDB_OK;
  if( !vdb_flat_passes(c->s, run) ) return VECDB_OK;
  TRY( vdb_flat_open(c->s, run) );
  for(size_t i=0; i<n; i++){
    uint32_t mask = unit_mask(c->s, run, i);
    if( mask==0 ) continue;
    TRY( unit_add(c, run, i, mask) );
    TRY( vdb_flat_poll(c->poll, &c->sz_polled, sz) );
  }
done:
  return rc;
}

static int seeds_init(struct coded *c){
  size_t k = c->pick->top.k;
  if( k>=SEEDS_MAX || c->pick->window.min>-INFINITY ) return VECDB_OK;
  c->n_seed_want = k + k/8 + SEEDS_EXTRA;
  c->seed = vdb_malloc_array(2*c->n_seed_want, sizeof(*c->seed));
  c->seed_cut = INFINITY;
  return c->seed ? VECDB_OK : VECDB_NOMEM;
}

bool vdb_flat_coded_pays(const struct flat_search *s, size_t k){
  uint64_t n = 0;
  if( s->coder==NULL || s->n_thread>1 ) return false;
  for(size_t i=0; i<s->n_runs; i++){
    if( s->runs[i].n_codes>0 ) n += s->runs[i].n_rows;
  }
  return n>=CODED_ROWS_MIN && (k==SIZE_MAX ? s->window!=NULL : k<=n/8);
}

int vdb_flat_coded_scan(const struct flat_search *s,
                        const struct vdb_query *query, struct flat_poll *poll,
                        struct flat_pick *pick, bool *used){
  struct coded c = { .s = s, .k = s->coder, .simd = vdb_code_simd(),
                     .query = query, .pick = pick, .poll = poll,
                     .sz_coarse = vdb_flat_code_coarse(s->dim),
                     .sz_fine = vdb_flat_code_fine(s->dim) };
  size_t dims = s->coder->dims;
  float *x = vdb_malloc_aligned(dims*sizeof(*x));
  int rc = VECDB_OK;

  *used = false;
  c.code.table = vdb_malloc_aligned(VDB_CODE_TABLE_BYTES(dims));
  c.unit = vdb_malloc_array(SPAN_UNITS, sizeof(*c.unit));
  c.ip = vdb_malloc_aligned(SPAN_UNITS*sizeof(*c.ip));
  if( !x || !c.code.table || !c.unit || !c.ip ) TRY( VECDB_NOMEM );
  if( !query_prepare(&c, x) ) goto done;
  TRY( seeds_init(&c) );
  *used = true;
  for(size_t i=0; i<s->n_runs; i++){
    if( s->runs[i].n_codes>0 ) TRY( run_scan(&c, &s->runs[i]) );
  }
  TRY( span_finish(&c) );
done:
  vdb_free_aligned(x);
  vdb_free_aligned(c.code.table);
  vdb_free_aligned(c.ip);
  vdb_free(c.unit);
  vdb_free(c.seed);
  return rc;
}
