/* topk.c -- the k nearest seen so far: a binary max-heap of hits.
**
** Graphs give their hits in order: as long as each comes after the last and
** there are fewer than k, the hits are a list (is_up). Backwards that is a heap,
** and a heap that is such a list is sorted by turning it round again.
**
** INVARIANTS
**   T1  not is_up: hit[(i-1)/2] is not before hit[i] in result order, so that
**       hit[0] is the worst one held.
**   T2  is_up: hit[i-1] is before hit[i], and n<k.
*/
#include "util/common.h"
#include "util/mem.h"
#include "util/topk.h"

int vdb_hit_cmp(const struct vdb_hit *a, const struct vdb_hit *b,
                vdb_tie_fn tie, void *arg){
  uint32_t ka = vdb_f32_key(a->distance), kb = vdb_f32_key(b->distance);
  if( ka!=kb ) return ka<kb ? -1 : 1;
  if( a->slot==b->slot ) return 0;
  if( tie ) return tie(arg, a->slot, b->slot);
  return a->slot<b->slot ? -1 : 1;
}

static inline bool hit_is_before(const struct vdb_topk *t,
                                 const struct vdb_hit *a,
                                 const struct vdb_hit *b){
  return vdb_hit_cmp(a, b, t->tie, t->tie_arg)<0;
}

/* Put h where T1 wants it, starting from the free place at the bottom. */
static void heap_sift_up(struct vdb_topk *t, size_t i, struct vdb_hit h){
  while( i>0 && hit_is_before(t, &t->hit[(i-1)/2], &h) ){
    t->hit[i] = t->hit[(i-1)/2];
    i = (i-1)/2;
  }
  t->hit[i] = h;
}

/* The same from the top, among the first n hits. */
static void heap_sift_down(struct vdb_topk *t, size_t n, struct vdb_hit h){
  size_t i = 0, child;
  while( (child = 2*i+1)<n ){
    if( child+1<n && hit_is_before(t, &t->hit[child], &t->hit[child+1]) ){
      child++;
    }
    if( !hit_is_before(t, &h, &t->hit[child]) ) break;
    t->hit[i] = t->hit[child];
    i = child;
  }
  t->hit[i] = h;
}

static void hits_reverse(struct vdb_topk *t){
  for(size_t i=0; i<t->n/2; i++){
    struct vdb_hit h = t->hit[i];
    t->hit[i] = t->hit[t->n-1-i];
    t->hit[t->n-1-i] = h;
  }
}

/* The list becomes a heap. */
static void list_end(struct vdb_topk *t){
  hits_reverse(t);
  t->is_up = false;
}

/* There is room for h. */
static void hit_add(struct vdb_topk *t, struct vdb_hit h){
  if( t->n==0 ) t->is_up = true;
  else if( t->is_up && !hit_is_before(t, &t->hit[t->n-1], &h) ) list_end(t);
  if( t->is_up ) t->hit[t->n++] = h;
  else heap_sift_up(t, t->n++, h);
  if( t->is_up && t->n==t->k ) list_end(t);
}

void vdb_topk_init(struct vdb_topk *t, size_t k, vdb_tie_fn tie, void *arg){
  *t = (struct vdb_topk){ .k = k, .tie = tie, .tie_arg = arg };
}

void vdb_topk_clear(struct vdb_topk *t){
  vdb_free(t->hit);
  vdb_topk_init(t, t->k, t->tie, t->tie_arg);
}

int vdb_topk_push(struct vdb_topk *t, float distance, slot_no slot){
  struct vdb_hit h = { distance, slot };

  if( t->n<t->k ){
    int rc = vdb_grow(&t->hit, &t->n_cap, t->n+1, sizeof(t->hit[0]));
    if( rc!=VECDB_OK ) return rc;
    hit_add(t, h);
  }else if( t->k>0 && hit_is_before(t, &h, &t->hit[0]) ){
    heap_sift_down(t, t->n, h);
  }
  return VECDB_OK;
}

static bool heap_is_list(const struct vdb_topk *t){
  for(size_t i=1; i<t->n; i++){
    if( !hit_is_before(t, &t->hit[i], &t->hit[i-1]) ) return false;
  }
  return true;
}

/* Heap sort: the worst goes to the end, again and again. No memory needed. */
void vdb_topk_sort(struct vdb_topk *t){
  if( t->n==0 || t->is_up ) return;
  if( heap_is_list(t) ){
    hits_reverse(t);
    return;
  }
  for(size_t n=t->n; n>1; n--){
    struct vdb_hit last = t->hit[n-1];
    t->hit[n-1] = t->hit[0];
    heap_sift_down(t, n-1, last);
  }
}
