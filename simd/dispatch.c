/* dispatch.c -- which kernels run: asks the processor, once.
**
** A path needs its instructions and an operating system that saves the wide
** registers when it switches threads; XGETBV tells the latter. All features a
** path was compiled with are checked, not only the one it is named after.
**
** The choice is an atomic pointer. Two threads that choose at the same time
** choose the same table, so neither a lock nor a constructor (which would run
** in every process that loads the library) is needed. What the processor said
** is kept likewise: under a hypervisor each CPUID leaves the guest, and a
** connection that opened would spend most of its time on that.
*/
#include <stdatomic.h>
#include <stdlib.h>
#if defined(__x86_64__) || defined(__i386__)
# include <cpuid.h>
#endif

#include "simd/simd_int.h"

static bool has_scalar(void){ return true; }

#if defined(VDB_SIMD_AVX2) || defined(VDB_SIMD_AVX512)
/* The register sets that the operating system saves. */
static uint32_t saved_registers(void){
  uint32_t lo, hi;
  __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  return lo;
}

#define HAS(reg, mask)  (((reg) & (mask))==(mask))
#define LEAF1_ECX  (1u<<12 | 1u<<23 | 1u<<27 | 1u<<28 | 1u<<29) /* FMA POPCNT
                                                  ** OSXSAVE AVX F16C */
#define LEAF7_AVX2    (1u<<5)
#define LEAF7_AVX512  (1u<<16 | 1u<<17 | 1u<<30 | 1u<<31) /* F DQ BW VL */
#define LEAF7_ECX     (1u<<11 | 1u<<14)                   /* VNNI VPOPCNTDQ */
#define SAVED_YMM     0x06u
#define SAVED_ZMM     0xe6u

static bool has_avx2(void){
  uint32_t a, b, c, d;
  if( !__get_cpuid(1, &a, &b, &c, &d) || !HAS(c, LEAF1_ECX) ) return false;
  if( !HAS(saved_registers(), SAVED_YMM) ) return false;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && HAS(b, LEAF7_AVX2);
}
#endif
#if defined(VDB_SIMD_AVX512)
static bool has_avx512(void){
  uint32_t a, b, c, d;
  if( !has_avx2() || !HAS(saved_registers(), SAVED_ZMM) ) return false;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d)
      && HAS(b, LEAF7_AVX512) && HAS(c, LEAF7_ECX);
}
#endif

/* Best first. */
static const struct {
  const struct vdb_simd *simd;
  bool (*is_usable)(void);
} simd_paths[] = {
#if defined(VDB_SIMD_AVX512)
  { &vdb_simd_avx512, has_avx512 },
#endif
#if defined(VDB_SIMD_AVX2)
  { &vdb_simd_avx2, has_avx2 },
#endif
  { &vdb_simd_scalar, has_scalar },
};

static _Atomic(const struct vdb_simd*) simd_in_use;

/* What simd_paths[i].is_usable() said; 0: not asked yet. */
enum { PATH_USABLE = 1, PATH_ABSENT = 2 };
static atomic_int path_state[VDB_ARRAY_LEN(simd_paths)];

static bool path_is_usable(size_t i){
  int state = atomic_load_explicit(&path_state[i], memory_order_relaxed);
  if( state==0 ){
    state = simd_paths[i].is_usable() ? PATH_USABLE : PATH_ABSENT;
    atomic_store_explicit(&path_state[i], state, memory_order_relaxed);
  }
  return state==PATH_USABLE;
}

const struct vdb_simd *vdb_simd_find(const char *name){
  bool is_any = name==NULL || name[0]==0 || strcmp(name, "auto")==0;
  for(size_t i=0; i<VDB_ARRAY_LEN(simd_paths); i++){
    const struct vdb_simd *s = simd_paths[i].simd;
    if( (is_any || strcmp(name, s->name)==0) && path_is_usable(i) ) return s;
  }
  return NULL;
}

int vdb_simd_status(const char **name){
  const char *z = getenv("VECDB_SIMD");
  if( name ) *name = z;
  return vdb_simd_find(z) ? VECDB_OK : VECDB_UNSUPPORTED;
}

const struct vdb_simd *vdb_simd(void){
  const struct vdb_simd *s;
  s = atomic_load_explicit(&simd_in_use, memory_order_relaxed);
  if( VDB_UNLIKELY(s==NULL) ){
    s = vdb_simd_find(getenv("VECDB_SIMD"));
    if( s==NULL ) s = vdb_simd_find(NULL);
    atomic_store_explicit(&simd_in_use, s, memory_order_relaxed);
  }
  return s;
}

int vdb_simd_select(const char *name){
  const struct vdb_simd *s = vdb_simd_find(name);
  if( s==NULL ) return VECDB_UNSUPPORTED;
  atomic_store_explicit(&simd_in_use, s, memory_order_relaxed);
  return VECDB_OK;
}
