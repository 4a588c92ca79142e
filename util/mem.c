/* mem.c -- the allocator: exact accounting and injected failures.
**
** FORMAT   Every block is preceded by a header that remembers its size:
**
**            struct head | payload            16-byte aligned
**            padding | struct head | payload  64-byte aligned
**
**          head.check says which of the two kinds it is, so that a debug
**          build notices a block freed with the wrong function, twice, or
**          after something wrote before its start.
**
** INVARIANTS
**   M1  sz_now and n_block count payloads handed out and not yet freed.
**   M2  A failed call changes no counter but n_call.
**
** All counters are atomics without ordering: they count, they do not guard.
** This is the only file that calls malloc, realloc and free.
*/
#include <stdatomic.h>
#include <stdlib.h>

#include "util/common.h"
#include "util/mem.h"

struct head {
  size_t   sz;               /* bytes of payload */
  uint64_t check;            /* CHECK_x ^ sz, while the block is in use */
};
_Static_assert(sizeof(struct head)<=16, "the head must fit before a block");

#define SZ_HEAD        16u
#define ALIGNMENT      64u
#define CHECK_PLAIN    0x5ac3d2e1706f1b94u
#define CHECK_ALIGNED  0xa53c2d1e8f90e46bu

/* Larger requests are mistakes in arithmetic. It also keeps every sum below
** from wrapping. */
#define SZ_MAX         (SIZE_MAX/4)

static atomic_uint_fast64_t n_block, sz_now, sz_peak, n_call;

/* The test hook: calls until one fails (0: off), and what comes after it. */
static atomic_uint_fast64_t fail_left, n_injected;
static atomic_bool          fail_for_ever;

static inline uint64_t load(atomic_uint_fast64_t *a){
  return atomic_load_explicit(a, memory_order_relaxed);
}
static inline void add(atomic_uint_fast64_t *a, uint64_t n){
  atomic_fetch_add_explicit(a, n, memory_order_relaxed);
}

static void count_bytes(uint64_t sz){
  uint64_t now = sz + atomic_fetch_add_explicit(&sz_now, sz,
                                                memory_order_relaxed);
  uint_fast64_t peak = load(&sz_peak);
  while( now>peak &&
         !atomic_compare_exchange_weak_explicit(&sz_peak, &peak, now,
           memory_order_relaxed, memory_order_relaxed) ){}
}

/* Is this call the one a test asked to fail? */
static bool fails_now(void){
  uint_fast64_t left = load(&fail_left);
  if( VDB_LIKELY(left==0) ) return false;
  while( !atomic_compare_exchange_weak(&fail_left, &left,
           left>1 ? left-1 : atomic_load(&fail_for_ever) ? 1 : 0) ){
    if( left==0 ) return false;
  }
  if( left>1 ) return false;
  add(&n_injected, 1);
  return true;
}

/* The start of every allocation: count the call, refuse it if need be. */
static bool may_allocate(size_t sz){
  add(&n_call, 1);
  return !fails_now() && sz<=SZ_MAX;
}

static struct head *head_of(const void *p){
  return (struct head *)((unsigned char *)(uintptr_t)p - SZ_HEAD);
}

/* Make the SZ_HEAD bytes at `at` a head; returns the payload behind it. */
static void *begin_block(unsigned char *at, size_t sz, uint64_t check){
  struct head *h = (struct head *)at;
  h->sz = sz;
  h->check = check ^ sz;
  add(&n_block, 1);
  count_bytes(sz);
  return at + SZ_HEAD;
}

static void end_block(struct head *h, uint64_t check){
  assert( h->check==(check ^ h->sz) );
  VDB_UNUSED(check);
  h->check = 0;
  add(&n_block, (uint64_t)-1);
  add(&sz_now, (uint64_t)0 - h->sz);
}

void *vdb_malloc(size_t sz){
  unsigned char *raw;
  if( !may_allocate(sz) ) return NULL;
  raw = malloc(SZ_HEAD + sz);
  return raw ? begin_block(raw, sz, CHECK_PLAIN) : NULL;
}

void *vdb_calloc(size_t n, size_t sz){
  unsigned char *raw;
  size_t sz_all;
  if( !vdb_mul_sz(n, sz, &sz_all) ) sz_all = SIZE_MAX;
  if( !may_allocate(sz_all) ) return NULL;
  raw = calloc(1, SZ_HEAD + sz_all);
  return raw ? begin_block(raw, sz_all, CHECK_PLAIN) : NULL;
}

void *vdb_malloc_array(size_t n, size_t sz){
  size_t sz_all;
  return vdb_malloc(vdb_mul_sz(n, sz, &sz_all) ? sz_all : SIZE_MAX);
}

void *vdb_realloc(void *p, size_t sz){
  struct head *h, *h_new;

  if( p==NULL ) return vdb_malloc(sz);
  if( !may_allocate(sz) ) return NULL;
  h = head_of(p);
  assert( h->check==(CHECK_PLAIN ^ h->sz) );
  h_new = realloc(h, SZ_HEAD + sz);
  if( h_new==NULL ) return NULL;            /* the old block is untouched */
  add(&sz_now, (uint64_t)0 - h_new->sz);
  count_bytes(sz);
  h_new->sz = sz;
  h_new->check = CHECK_PLAIN ^ sz;
  return (unsigned char *)h_new + SZ_HEAD;
}

void vdb_free(void *p){
  if( p==NULL ) return;
  end_block(head_of(p), CHECK_PLAIN);
  free(head_of(p));
}

void *vdb_malloc_aligned(size_t sz){
  unsigned char *raw = NULL;
  if( !may_allocate(sz) ) return NULL;
  if( posix_memalign((void **)&raw, ALIGNMENT, ALIGNMENT+sz)!=0 ) return NULL;
  return begin_block(raw + ALIGNMENT - SZ_HEAD, sz, CHECK_ALIGNED);
}

void vdb_free_aligned(void *p){
  if( p==NULL ) return;
  end_block(head_of(p), CHECK_ALIGNED);
  free((unsigned char *)p - ALIGNMENT);
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
  out->n_block = load(&n_block);
  out->sz_now  = load(&sz_now);
  out->sz_peak = load(&sz_peak);
  out->n_call  = load(&n_call);
}

uint64_t vdb_mem_fail_at(uint64_t n, bool for_ever){
  atomic_store(&fail_left, 0);
  atomic_store(&fail_for_ever, for_ever);
  atomic_store(&fail_left, n);
  return atomic_exchange(&n_injected, 0);
}
