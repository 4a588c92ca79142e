/* column_scalar.c -- the column kernels in portable C: what the words mean. */
#include "simd/column_int.h"

#define ISA_NAME  "scalar"
#define ISA(f)    f##_scalar

static inline unsigned cw_ints(const unsigned char *p, const void *arg){
  const struct column_ints *r = arg;
  unsigned w = 0;
  for(unsigned j=0; j<8; j++) w |= (unsigned)(get_u64(p+8*j)-r->lo<=r->span)<<j;
  return w;
}
static inline unsigned cw_reals(const unsigned char *p, const void *arg){
  const struct column_reals *r = arg;
  unsigned w = 0;
  for(unsigned j=0; j<8; j++){
    double v = get_f64(p+8*j);
    w |= (unsigned)(v>=r->lo && v<=r->hi)<<j;
  }
  return w;
}
static inline uint64_t cw_bytes(const unsigned char *p, uint8_t v){
  uint64_t w = 0;
  for(unsigned j=0; j<64; j++) w |= (uint64_t)(p[j]==v)<<j;
  return w;
}
static inline unsigned cw_equal(const unsigned char *p, const void *arg){
  const struct column_text *t = arg;
  unsigned w = 0;
  for(unsigned j=0; j<8; j++, p+=16){
    w |= (unsigned)((get_u64(p) & t->mask[0])==t->want[0]
                 && (get_u64(p+8) & t->mask[1])==t->want[1])<<j;
  }
  return w;
}
static inline unsigned cw_order(const unsigned char *p, uint64_t head){
  unsigned w = 0;
  for(unsigned j=0; j<8; j++, p+=16){
    uint64_t v = 0;
    for(unsigned i=0; i<8; i++) v = v<<8 | p[4+i];
    w |= (unsigned)(v<head)<<j | (unsigned)(v>head)<<(8+j);
  }
  return w;
}

#include "simd/column_kernels.inc"
