/* topk.h -- the k smallest of a stream of (distance, slot).
**
** Order is (key, tie). `key` is the order-preserving image of the f32
** distance; equal keys ask `tie`, which compares two slots by primary key
** (NULL: by slot number). A binary max-heap with the worst on top: most
** candidates cost one compare against vdb_topk_bound().
*/
#ifndef VDB_TOPK_H
#define VDB_TOPK_H
#include "util/common.h"

/* Total order of floats as u32; -0 equals +0, NaN sorts last. */
static inline uint32_t vdb_f32_key(float x){
  uint32_t u; x = x + 0.0f;
  if( x!=x ) return 0xffffffffu;
  memcpy(&u, &x, 4);
  return (u & 0x80000000u) ? ~u : u | 0x80000000u;
}
static inline float vdb_key_f32(uint32_t k){
  uint32_t u = (k & 0x80000000u) ? k & 0x7fffffffu : ~k; float f;
  memcpy(&f, &u, 4); return f;
}

struct vdb_hit { float distance; slot_no slot; };
typedef int (*vdb_tie_fn)(void *arg, slot_no a, slot_no b);  /* <0: a first */

struct vdb_topk {
  struct vdb_hit *hit;    /* heap of n, capacity n_cap grows up to k .. */
  size_t n, n_cap, k;
  bool is_up;             /* .. or, while fewer, a list in order */
  vdb_tie_fn tie; void *tie_arg;
};
void vdb_topk_init(struct vdb_topk *t, size_t k, vdb_tie_fn tie, void *arg);
void vdb_topk_clear(struct vdb_topk *t);
/* Distances above this cannot enter (+inf until k are held). Equal may. */
static inline float vdb_topk_bound(const struct vdb_topk *t){
  return t->n<t->k ? __builtin_inff() : (t->k ? t->hit[0].distance : -__builtin_inff());
}
/* Offer one; returns OK or NOMEM. */
int vdb_topk_push(struct vdb_topk *t, float distance, slot_no slot);
/* Sort ascending in place; the heap must not be pushed to afterwards. */
void vdb_topk_sort(struct vdb_topk *t);
/* Compare two hits in result order. */
int vdb_hit_cmp(const struct vdb_hit *a, const struct vdb_hit *b,
                vdb_tie_fn tie, void *arg);
#endif
