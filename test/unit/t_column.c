/* t_column.c -- column kernels and sets of integers: what a plain loop says,
** on every path, at every length and address.
*/
#include "vt.h"

#include "simd/column.h"
#include "simd/simd.h"
#include "store/intset.h"
#include "util/bytes.h"
#include "util/mem.h"
#include "util/rng.h"

enum { N_MAX = 200 };
static const char *const paths[] = { "scalar", "avx2", "avx512" };

/* What is expected of one cell. */
typedef bool (*cell_fn)(const unsigned char *cell, const void *arg);

static void check_bits(const char *what, const char *path, size_t n,
                       const uint64_t *got, const unsigned char *cell,
                       size_t width, cell_fn fn, const void *arg){
  for(size_t i=0; i<64*VDB_COLUMN_WORDS(n); i++){
    bool want = i<n && fn(cell + i*width, arg);
    if( (got[i/64]>>(i%64) & 1)!=want ) FAIL("%s, %s, cell %zu of %zu", what,
                                             path, i, n);
  }
}

struct ints { int64_t lo, hi; };
struct reals { double lo, hi; };
struct texts { uint8_t want[16], mask[16]; };

static bool int_in(const unsigned char *c, const void *arg){
  const struct ints *r = arg;
  int64_t v = (int64_t)get_u64(c);
  return v>=r->lo && v<=r->hi;
}
static bool real_in(const unsigned char *c, const void *arg){
  const struct reals *r = arg;
  double v = get_f64(c);
  return v>=r->lo && v<=r->hi;
}
static bool byte_is(const unsigned char *c, const void *arg){
  return *c==*(const uint8_t*)arg;
}
static bool text_is(const unsigned char *c, const void *arg){
  const struct texts *t = arg;
  for(int i=0; i<16; i++) if( (c[i] & t->mask[i])!=t->want[i] ) return false;
  return true;
}
static bool text_below(const unsigned char *c, const void *arg){
  return memcmp(c+4, arg, 8)<0;
}
static bool text_above(const unsigned char *c, const void *arg){
  return memcmp(c+4, arg, 8)>0;
}

static int64_t random_int(struct vdb_rng *r){
  static const int64_t edge[] = { INT64_MIN, INT64_MIN+1, -1, 0, 1,
                                  INT64_MAX-1, INT64_MAX };
  switch( vdb_rng_below(r, 3) ){
    case 0: return edge[vdb_rng_below(r, 7)];
    case 1: return (int64_t)vdb_rng_below(r, 10) - 5;
    default: return (int64_t)vdb_rng_u64(r);
  }
}
static double random_real(struct vdb_rng *r){
  static const double edge[] = { 0.0, -0.0, 1e-310, -1e300, 1e300 };
  switch( vdb_rng_below(r, 4) ){
    case 0: return edge[vdb_rng_below(r, 5)];
    case 1: return vdb_rng_below(r, 2) ? (double)INFINITY : -(double)INFINITY;
    case 2: return vdb_rng_below(r, 8)==0 ? (double)NAN : 0.5;
    default: return vdb_rng_gauss(r);
  }
}

static void check_numbers(const struct vdb_column_simd *s, struct vdb_rng *r,
                          unsigned char *cell, size_t n){
  uint64_t got[N_MAX/64+2];
  struct ints i = { random_int(r), random_int(r) };
  struct reals x = { random_real(r), random_real(r) };
  if( i.lo>i.hi ) i = (struct ints){ i.hi, i.lo };
  for(size_t k=0; k<n; k++) put_u64(cell+8*k, (uint64_t)random_int(r));
  s->int_range(cell, n, i.lo, i.hi, got);
  check_bits("integers", s->name, n, got, cell, 8, int_in, &i);
  for(size_t k=0; k<n; k++) put_f64(cell+8*k, random_real(r));
  s->real_range(cell, n, x.lo, x.hi, got);
  check_bits("reals", s->name, n, got, cell, 8, real_in, &x);
}

static void check_texts(const struct vdb_column_simd *s, struct vdb_rng *r,
                        unsigned char *cell, size_t n){
  uint64_t got[N_MAX/64+2], above[N_MAX/64+2];
  struct texts t;
  uint64_t head = 0;
  uint8_t v = (uint8_t)vdb_rng_below(r, 2);
  for(size_t k=0; k<16*n; k++){
    cell[k] = (uint8_t)(vdb_rng_below(r, 2)*(vdb_rng_below(r, 40) ? 1 : 255));
  }
  s->byte_equal(cell, n, v, got);
  check_bits("bytes", s->name, n, got, cell, 1, byte_is, &v);
  for(int k=0; k<16; k++){
    t.mask[k] = vdb_rng_below(r, 4) ? 0 : 255;
    t.want[k] = cell[k] & t.mask[k];
  }
  s->text_equal(cell, n, t.want, t.mask, got);
  check_bits("texts", s->name, n, got, cell, 16, text_is, &t);
  for(int k=0; k<8; k++) head = head<<8 | cell[4+k];
  s->text_order(cell, n, head, got, above);
  check_bits("before", s->name, n, got, cell, 16, text_below, cell+4);
  check_bits("behind", s->name, n, above, cell, 16, text_above, cell+4);
}

TEST(column__kernels_agree_with_a_plain_loop){
  static unsigned char room[16*N_MAX+64];
  struct vdb_rng r;
  vdb_rng_init(&r, vt_seed());
  for(size_t p=0; p<VDB_ARRAY_LEN(paths); p++){
    if( vdb_simd_select(paths[p])!=VECDB_OK ) continue;
    CHECK_STR(paths[p], vdb_column_simd()->name);
    for(size_t n=1; n<=N_MAX; n++){
      /* At the end of the room, where reading on would be seen. */
      unsigned char *at = room + sizeof(room) - 16*n - vdb_rng_below(&r, 8);
      check_numbers(vdb_column_simd(), &r, at, n);
      check_texts(vdb_column_simd(), &r, at, n);
    }
  }
  vdb_simd_select("auto");
}

TEST(intset__contains_what_it_was_made_of){
  static const int64_t far = 1000003;
  int64_t v[300];
  unsigned char cell[8*64];
  struct vdb_rng r;
  vdb_rng_init(&r, vt_seed());
  for(int round=0; round<200; round++){
    size_t n = vdb_rng_below(&r, 300);
    struct intset *s = NULL;
    uint64_t want = 0;
    for(size_t i=0; i<n; i++){
      v[i] = round%3==0 ? random_int(&r)
           : (int64_t)vdb_rng_below(&r, 500)*(round%3==1 ? 1 : far);
    }
    REQUIRE_RC(VECDB_OK, vdb_intset_create(v, n, &s));
    for(unsigned i=0; i<64; i++){
      int64_t x = n>0 && i%2 ? v[vdb_rng_below(&r, (uint32_t)n)]
                             : random_int(&r);
      put_u64(cell+8*i, (uint64_t)x);
      for(size_t k=0; k<n; k++) if( v[k]==x ) want |= (uint64_t)1<<i;
    }
    CHECK_U64(want, vdb_intset_word(s, cell, 64));
    CHECK_U64(want & 0x1f, vdb_intset_word(s, cell, 5));
    vdb_intset_destroy(s);
  }
}

TEST(intset__survives_failed_allocations){
  static const int64_t v[] = { 1, INT64_MAX, INT64_MIN, 5, 7, 9 };
  int rc = VECDB_NOMEM;
  for(uint64_t at=1; rc!=VECDB_OK && at<10; at++){
    struct intset *s = NULL;
    vdb_mem_fail_at(at, true);
    rc = vdb_intset_create(v, 6, &s);
    vdb_mem_fail_at(0, false);
    if( rc!=VECDB_OK ) CHECK_RC(VECDB_NOMEM, rc);
    vdb_intset_destroy(s);
  }
  CHECK_RC(VECDB_OK, rc);
}
