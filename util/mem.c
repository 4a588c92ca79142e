/* mem.c -- the allocator: exact accounting and injected failures.
**
** FORMAT   Every block is preceded by a header that remembers its size:
**
**            struct mem_head | payload            16-byte aligned
**            padding | struct mem_head | payload  64-byte aligned
**
**          head.check says which of the two kinds it is, so that a debug
**          build notices a block freed with the wrong function, twice, or
**          after something wrote before its start.
**
** INVARIANTS
**   M1  mem_sz_now and mem_n_block count payloads handed out and not yet freed.
**   M2  A failed call changes no counter but mem_n_call.
**
** All counters are atomics without ordering: they count, they do not guard.
** This is the only file that calls malloc, realloc and free.
*/
#include <stdatomic.h>
#include <stdlib.h>
#if defined(__linux__)
# include <sys/mman.h>
#endif

#include "util/common.h"
#include "util/mem.h"

struct mem_head {
  size_t   sz;               /* bytes of payload */
  uint64_t check;            /* MEM_x ^ sz, while the block is in use */
};
_Static_assert(sizeof(struct mem_head)<=16, "the head must fit before a block");

#define MEM_SZ_HEAD        16u
#define MEM_ALIGNMENT      64u
#define MEM_PLAIN          0x5ac3d2e1706f1b94u
#define MEM_ALIGNED        0xa53c2d1e8f90e46bu

/* Larger requests are mistakes in arithmetic. It also keeps every sum below
** from wrapping. */
#define MEM_SZ_MAX         (SIZE_MAX/4)

static atomic_uint_fast64_t mem_n_block, mem_sz_now, mem_sz_peak, mem_n_call;

/* The test hook: calls until one fails (0: off), and what comes after it. */
static atomic_uint_fast64_t mem_fail_left, mem_n_injected;
static atomic_bool          mem_fail_for_ever;

static inline uint64_t counter_get(atomic_uint_fast64_t *a){
  return atomic_load_explicit(a, memory_order_relaxed);
}
static inline void counter_add(atomic_uint_fast64_t *a, uint64_t n){
  atomic_fetch_add_explicit(a, n, memory_order_relaxed);
}

static void bytes_count(uint64_t sz){
  uint64_t now = sz + atomic_fetch_add_explicit(&mem_sz_now, sz,
                                                memory_order_relaxed);
  uint_fast64_t peak = counter_get(&mem_sz_peak);
  while( now>peak &&
         !atomic_compare_exchange_weak_explicit(&mem_sz_peak, &peak, now,
           memory_order_relaxed, memory_order_relaxed) ){}
}

/* Is this call the one a test asked to fail? */
static bool failure_is_due(void){
  uint_fast64_t left = counter_get(&mem_fail_left);
  if( VDB_LIKELY(left==0) ) return false;
  while( !atomic_compare_exchange_weak(&mem_fail_left, &left,
           left>1 ? left-1 : atomic_load(&mem_fail_for_ever) ? 1 : 0) ){
    if( left==0 ) return false;
  }
  if( left>1 ) return false;
  counter_add(&mem_n_injected, 1);
  return true;
}

/* The start of every allocation: count the call, refuse it if need be. */
static bool alloc_is_allowed(size_t sz){
  counter_add(&mem_n_call, 1);
  return !failure_is_due() && sz<=MEM_SZ_MAX;
}

static struct mem_head *mem_head_of(const void *p){
  return (struct mem_head *)((unsigned char *)(uintptr_t)p - MEM_SZ_HEAD);
}

/* Make the MEM_SZ_HEAD bytes at `at` a head; returns the payload behind it. */
static void *block_begin(unsigned char *at, size_t sz, uint64_t check){
  struct mem_head *h = (struct mem_head *)at;
  h->sz = sz;
  h->check = check ^ sz;
  counter_add(&mem_n_block, 1);
  bytes_count(sz);
  return at + MEM_SZ_HEAD;
}

static void block_end(struct mem_head *h, uint64_t check){
  assert( h->check==(check ^ h->sz) );
  VDB_UNUSED(check);
  h->check = 0;
  counter_add(&mem_n_block, (uint64_t)-1);
  counter_add(&mem_sz_now, (uint64_t)0 - h->sz);
}

void *vdb_malloc(size_t sz){
  unsigned char *raw;
  if( !alloc_is_allowed(sz) ) return NULL;
  raw = malloc(MEM_SZ_HEAD + sz);
  return raw ? block_begin(raw, sz, MEM_PLAIN) : NULL;
}

void *vdb_calloc(size_t n, size_t sz){
  unsigned char *raw;
  size_t sz_all;
  if( !vdb_mul_sz(n, sz, &sz_all) ) sz_all = SIZE_MAX;
  if( !alloc_is_allowed(sz_all) ) return NULL;
  raw = calloc(1, MEM_SZ_HEAD + sz_all);
  return raw ? block_begin(raw, sz_all, MEM_PLAIN) : NULL;
}

void *vdb_malloc_array(size_t n, size_t sz){
  size_t sz_all;
  return vdb_malloc(vdb_mul_sz(n, sz, &sz_all) ? sz_all : SIZE_MAX);
}

void *vdb_realloc(void *p, size_t sz){
  struct mem_head *h, *h_new;

  if( p==NULL ) return vdb_malloc(sz);
  if( !alloc_is_allowed(sz) ) return NULL;
  h = mem_head_of(p);
  assert( h->check==(MEM_PLAIN ^ h->sz) );
  h_new = realloc(h, MEM_SZ_HEAD + sz);
  if( h_new==NULL ) return NULL;            /* the old block is untouched */
  counter_add(&mem_sz_now, (uint64_t)0 - h_new->sz);
  bytes_count(sz);
  h_new->sz = sz;
  h_new->check = MEM_PLAIN ^ sz;
  return (unsigned char *)h_new + MEM_SZ_HEAD;
}

void vdb_free(void *p){
  if( p==NULL ) return;
  block_end(mem_head_of(p), MEM_PLAIN);
  free(mem_head_of(p));
}

void *vdb_malloc_aligned(size_t sz){
  unsigned char *raw = NULL;
  if( !alloc_is_allowed(sz) ) return NULL;
  if( posix_memalign((void **)&raw, MEM_ALIGNMENT, MEM_ALIGNMENT+sz)!=0 ){
    return NULL;
  }
  return block_begin(raw + MEM_ALIGNMENT - MEM_SZ_HEAD, sz, MEM_ALIGNED);
}

void vdb_free_aligned(void *p){
  if( p==NULL ) return;
  block_end(mem_head_of(p), MEM_ALIGNED);
  free((unsigned char *)p - MEM_ALIGNMENT);
}

/* Whole huge pages inside the block; less than two are not worth a call. */
void vdb_mem_prefer_huge(void *p, size_t sz){
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  const uintptr_t page = (uintptr_t)2<<20;
  uintptr_t lo = ((uintptr_t)p + page-1) & ~(page-1);
  uintptr_t hi = ((uintptr_t)p + sz) & ~(page-1);
  if( hi>lo && hi-lo>=2*page ) (void)madvise((void*)lo, hi-lo, MADV_HUGEPAGE);
#else
  VDB_UNUSED(p);
  VDB_UNUSED(sz);
#endif
}

void *vdb_memdup(const void *p, size_t n){
  void *copy = vdb_malloc(n);
  if( copy && n ) memcpy(copy, p, n);
  return copy;
}

char *vdb_strndup(const char *z, size_t n){
  char *copy = n<SIZE_MAX ? vdb_malloc(n+1) : NULL;
  if( copy==NULL ) return NULL;
  if( n ) memcpy(copy, z, n);
  copy[n] = 0;
  return copy;
}

char *vdb_strdup(const char *z){
  return z ? vdb_strndup(z, strlen(z)) : NULL;
}

int vdb_grow(void *pp, size_t *n_cap, size_t n_want, size_t sz){
  size_t n_new = *n_cap<8 ? 8 : *n_cap, sz_all;
  void *p;

  if( n_want<=*n_cap ) return VECDB_OK;
  while( n_new<n_want ){
    if( n_new>SIZE_MAX/2 ) return VECDB_NOMEM;
    n_new *= 2;
  }
  if( !vdb_mul_sz(n_new, sz, &sz_all) ) return VECDB_NOMEM;
  memcpy(&p, pp, sizeof(p));               /* pp may point to any T* */
  p = vdb_realloc(p, sz_all);
  if( p==NULL ) return VECDB_NOMEM;
  memcpy(pp, &p, sizeof(p));
  *n_cap = n_new;
  return VECDB_OK;
}

void vdb_mem_stats(struct vdb_mem_stats *out){
  out->n_block = counter_get(&mem_n_block);
  out->sz_now  = counter_get(&mem_sz_now);
  out->sz_peak = counter_get(&mem_sz_peak);
  out->n_call  = counter_get(&mem_n_call);
}

uint64_t vdb_mem_fail_at(uint64_t n, bool for_ever){
  atomic_store(&mem_fail_left, 0);
  atomic_store(&mem_fail_for_ever, for_ever);
  atomic_store(&mem_fail_left, n);
  return atomic_exchange(&mem_n_injected, 0);
}
