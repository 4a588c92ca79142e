/* cuda_isa.h -- the instructions of the device that CUDA C has no words for.
** emulate.h has the same words for a CPU.
*/
#ifndef VDB_CUDA_ISA_H
#define VDB_CUDA_ISA_H
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static __device__ __forceinline__ unsigned short dev_half(float x){
  return __half_as_ushort(__float2half_rn(x));
}
static __device__ __forceinline__ float dev_float(unsigned short h){
  return __half2float(__ushort_as_half(h));
}

/* c += a*b: 16 x 16 times 16 x 8 halves, sums in floats. */
static __device__ __forceinline__ void dev_mma(float c[4],
                                               const uint32_t a[4],
                                               const uint32_t b[2]){
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
               "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]),
                 "r"(b[0]), "r"(b[1]));
}

/* c += a*b: 16 x 32 times 32 x 8 bytes, with a sign or without, sums in ints. */
static __device__ __forceinline__ void dev_mma_s8(int c[4],
                                                  const uint32_t a[4],
                                                  const uint32_t b[2]){
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
               "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]),
                 "r"(b[0]), "r"(b[1]));
}
static __device__ __forceinline__ void dev_mma_u8(int c[4],
                                                  const uint32_t a[4],
                                                  const uint32_t b[2]){
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.u8.u8.s32 "
               "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]),
                 "r"(b[0]), "r"(b[1]));
}

/* Four 8 x 8 matrices of halves; lane i names row i%8 of matrix i/8. */
static __device__ __forceinline__ void dev_ldmatrix(uint32_t r[4],
                                                    const void *row){
  uint32_t at = (uint32_t)__cvta_generic_to_shared(row);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(at) : "memory");
}

/* 16 bytes from global to shared memory, in the background. */
static __device__ __forceinline__ void dev_copy16(void *to, const void *from){
  uint32_t at = (uint32_t)__cvta_generic_to_shared(to);
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;"
               :: "r"(at), "l"(from) : "memory");
}
static __device__ __forceinline__ void dev_copy_commit(void){
  asm volatile("cp.async.commit_group;" ::: "memory");
}
/* All but the N newest groups are there. */
template<int N> static __device__ __forceinline__ void dev_copy_wait(void){
  asm volatile("cp.async.wait_group %0;" :: "n"(N) : "memory");
}

#define DEV_LAUNCH(kernel, grid, block, sz, stream, ...) \
  kernel<<<(grid), (block), (sz), (stream)>>>(__VA_ARGS__)
/* The launch's shared memory; one name for all kernels. */
extern __shared__ __align__(128) unsigned char vdb_dev_smem[];
#define DEV_SHARED  (vdb_dev_smem)
#endif
