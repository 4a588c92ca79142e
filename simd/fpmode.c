/* fpmode.c -- rounding to nearest, subnormal numbers kept, no traps.
**
** On x86-64 the control word of SSE, AVX and AVX-512 is MXCSR; the x87 unit is
** not used. On 64-bit ARM it is FPCR. Elsewhere C's <fenv.h> sets the rounding,
** and subnormals are the compiler's default. The exception flags that a host
** has raised so far come back with the old word; ours are forgotten.
*/
#include "simd/simd.h"

#if defined(__x86_64__)
# include <xmmintrin.h>
# define MODE_X86  0x1f80u      /* no traps, to nearest, no FTZ or DAZ */
#elif !defined(__aarch64__)
# include <fenv.h>
#endif

struct vdb_fpmode vdb_fpmode_enter(void){
  struct vdb_fpmode fp;
#if defined(__x86_64__)
  fp.saved = _mm_getcsr();
  if( fp.saved!=MODE_X86 ) _mm_setcsr(MODE_X86);
#elif defined(__aarch64__)
  uint64_t mode = 0;
  __asm__ volatile("mrs %0, fpcr" : "=r"(fp.saved));
  if( fp.saved!=mode ) __asm__ volatile("msr fpcr, %0" : : "r"(mode));
#else
  fp.saved = (uint64_t)fegetround();
  fesetround(FE_TONEAREST);
#endif
  return fp;
}

void vdb_fpmode_leave(struct vdb_fpmode fp){
#if defined(__x86_64__)
  _mm_setcsr((unsigned)fp.saved);
#elif defined(__aarch64__)
  __asm__ volatile("msr fpcr, %0" : : "r"(fp.saved));
#else
  fesetround((int)fp.saved);
#endif
}
