/* emulate.h -- the CUDA kernels on a CPU, for tests: compiled by the host's
** compiler with VDB_GPU_EMULATE, gpu/cuda_*.cu become a plugin that needs no
** device, libvecdb_gpu_emu.so.
**
** Every thread of a block is a coroutine; blocks run one after the other. A
** thread runs until it has to wait for its block (__syncthreads) or its warp
** (shuffles, ballots, matrix products), so that what a kernel computes, and
** whether its barriers fit, is tested; races are not (compute-sanitizer is
** for those). Products of matrices round towards zero, the worst that real
** ones are assumed to do (rules.h).
**
** Limits: one thread of the host at a time; all threads of a warp take part
** in each of its collective operations.
*/
#ifndef VDB_GPU_EMULATE_H
#define VDB_GPU_EMULATE_H
#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "simd/half.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static
#define __restrict__

struct uint3_ { unsigned x, y, z; };
struct dim3 {
  unsigned x, y, z;
  dim3(unsigned a=1, unsigned b=1, unsigned c=1) : x(a), y(b), z(c) {}
};
struct float2 { float x, y; };
struct uint2 { uint32_t x, y; };
static inline float2 make_float2(float x, float y){ float2 v = {x,y}; return v; }
static inline uint2 make_uint2(uint32_t x, uint32_t y){
  uint2 v = {x,y};
  return v;
}

/* ---- Coroutines ---------------------------------------------------------- */

enum { EMU_THREADS = 1024, EMU_STACK = 128<<10, EMU_SMEM = 256<<10 };

struct emu_warp {
  uint32_t n_arrived, generation;
  uint64_t in[2][32][8];              /* what lanes bring, by generation */
};
struct emu_thread {
  ucontext_t start;
  jmp_buf at;
  bool is_begun, is_over;
  char *stack;
};
struct emu_block {
  emu_thread thread[EMU_THREADS];
  emu_warp warp[EMU_THREADS/32];
  unsigned n_thread, i_now, n_arrived, generation, n_over;
  jmp_buf scheduler;
  void (*run)(void *arg);
  void *arg;
};
extern emu_block vdb_emu;
extern uint3_ vdb_emu_thread, vdb_emu_block;
extern dim3 vdb_emu_block_dim, vdb_emu_grid_dim;
alignas(128) extern unsigned char vdb_emu_smem[EMU_SMEM];
#define threadIdx  vdb_emu_thread
#define blockIdx   vdb_emu_block
#define blockDim   vdb_emu_block_dim
#define gridDim    vdb_emu_grid_dim

/* Let others run. */
static inline void emu_yield(void){
  unsigned i = vdb_emu.i_now;
  if( _setjmp(vdb_emu.thread[i].at)==0 ) _longjmp(vdb_emu.scheduler, 1);
  vdb_emu.i_now = i;
  vdb_emu_thread.x = i;
}
/* sz: bytes of shared memory that the launch asks for; a block that writes
** behind them ends the process. */
void vdb_emu_run(dim3 grid, dim3 block, size_t sz, void (*run)(void*),
                 void *arg);

static inline void __syncthreads(void){
  unsigned g = vdb_emu.generation;
  if( ++vdb_emu.n_arrived==vdb_emu.n_thread-vdb_emu.n_over ){
    vdb_emu.n_arrived = 0;
    vdb_emu.generation++;
    return;
  }
  while( vdb_emu.generation==g ) emu_yield();
}

/* All lanes of the warp bring n words; the table of what they brought. */
static inline const uint64_t (*emu_exchange(const uint64_t *in, int n))[8]{
  emu_warp *w = &vdb_emu.warp[threadIdx.x/32];
  uint32_t g = w->generation;
  memcpy(w->in[g&1][threadIdx.x%32], in, (size_t)n*8);
  if( ++w->n_arrived==32 ){
    w->n_arrived = 0;
    w->generation++;
  }
  while( w->generation==g ) emu_yield();
  return w->in[g&1];
}
static inline void __syncwarp(void){
  uint64_t none = 0;
  (void)emu_exchange(&none, 1);
}
template<typename T> static inline T emu_shuffle(T x, unsigned lane){
  uint64_t in = 0;
  T out;
  memcpy(&in, &x, sizeof(x));
  memcpy(&out, &emu_exchange(&in, 1)[lane&31], sizeof(out));
  return out;
}
template<typename T>
static inline T __shfl_down_sync(unsigned, T x, unsigned d){
  unsigned lane = threadIdx.x%32;
  return emu_shuffle(x, lane+d<32 ? lane+d : lane);
}
template<typename T>
static inline T __shfl_up_sync(unsigned, T x, unsigned d){
  unsigned lane = threadIdx.x%32;
  return emu_shuffle(x, lane>=d ? lane-d : lane);
}
template<typename T>
static inline T __shfl_xor_sync(unsigned, T x, unsigned m){
  return emu_shuffle(x, (threadIdx.x%32)^m);
}
template<typename T>
static inline T __shfl_sync(unsigned, T x, unsigned lane){
  return emu_shuffle(x, lane);
}
static inline unsigned __ballot_sync(unsigned, int p){
  uint64_t in = p!=0;
  const uint64_t (*t)[8] = emu_exchange(&in, 1);
  unsigned m = 0;
  for(int i=0; i<32; i++) m |= (unsigned)t[i][0]<<i;
  return m;
}
static inline int __popc(unsigned x){ return __builtin_popcount(x); }

/* ---- Arithmetic ---------------------------------------------------------- */

template<typename T> static inline T atomicAdd(T *p, T x){
  T old = *p;
  *p += x;
  return old;
}
template<typename T> static inline T atomicMax(T *p, T x){
  T old = *p;
  if( x>old ) *p = x;
  return old;
}
template<typename T> static inline T atomicMin(T *p, T x){
  T old = *p;
  if( x<old ) *p = x;
  return old;
}
template<typename T> static inline T __ldg(const T *p){ return *p; }
static inline float __fsqrt_rn(float x){ return sqrtf(x); }
static inline float __fadd_rn(float x, float y){ return x+y; }
static inline uint16_t dev_half(float x){ return half_from_f32(x); }
static inline float dev_float(uint16_t h){ return half_to_f32(h); }

/* Towards zero. */
static inline float emu_truncate(double x){
  float f = (float)x;
  return fabs((double)f)>fabs(x) ? nextafterf(f, 0.0f) : f;
}

static inline float emu_half_at(uint64_t regs, int i){
  return half_to_f32((uint16_t)(regs>>(16*i)));
}

/* mma.m16n8k16: registers as PTX lays them out. */
static inline void dev_mma(float c[4], const uint32_t a[4],
                           const uint32_t b[2]){
  uint64_t in[6] = { a[0], a[1], a[2], a[3], b[0], b[1] };
  const uint64_t (*t)[8] = emu_exchange(in, 6);
  int lane = (int)(threadIdx.x%32), g = lane/4, q = lane%4;
  for(int j=0; j<4; j++){
    int row = g + (j>=2 ? 8 : 0), col = 2*q + j%2;
    float sum = c[j];
    for(int k=0; k<16; k++){
      /* A: lane (row%8)*4 + (k%8)/2, register (row>=8) + 2*(k>=8) */
      uint64_t ra = t[(row%8)*4 + (k%8)/2][(row>=8) + 2*(k>=8)];
      uint64_t rb = t[col*4 + (k%8)/2][4 + (k>=8)];
      double p = (double)emu_half_at(ra, k%2)*(double)emu_half_at(rb, k%2);
      sum = emu_truncate((double)sum + p);
    }
    c[j] = sum;
  }
}
/* mma.m16n8k32 of bytes: as above, four bytes where there were two halves. */
template<typename T> static inline int emu_byte_at(uint64_t regs, int i){
  return (T)(regs>>(8*i));
}
template<typename T> static inline void emu_mma_bytes(int c[4],
                                                      const uint32_t a[4],
                                                      const uint32_t b[2]){
  uint64_t in[6] = { a[0], a[1], a[2], a[3], b[0], b[1] };
  const uint64_t (*t)[8] = emu_exchange(in, 6);
  int lane = (int)(threadIdx.x%32), g = lane/4, q = lane%4;
  for(int j=0; j<4; j++){
    int row = g + (j>=2 ? 8 : 0), col = 2*q + j%2;
    for(int k=0; k<32; k++){
      uint64_t ra = t[(row%8)*4 + (k%16)/4][(row>=8) + 2*(k>=16)];
      uint64_t rb = t[col*4 + (k%16)/4][4 + (k>=16)];
      c[j] += emu_byte_at<T>(ra, k%4)*emu_byte_at<T>(rb, k%4);
    }
  }
}
static inline void dev_mma_s8(int c[4], const uint32_t a[4],
                              const uint32_t b[2]){
  emu_mma_bytes<int8_t>(c, a, b);
}
static inline void dev_mma_u8(int c[4], const uint32_t a[4],
                              const uint32_t b[2]){
  emu_mma_bytes<uint8_t>(c, a, b);
}
/* ldmatrix.x4: lane i brings the address of row i%8 of matrix i/8. */
static inline void dev_ldmatrix(uint32_t r[4], const void *row){
  uint64_t in = (uint64_t)(uintptr_t)row;
  const uint64_t (*t)[8] = emu_exchange(&in, 1);
  int lane = (int)(threadIdx.x%32);
  for(int m=0; m<4; m++){
    const char *p = (const char*)(uintptr_t)t[8*m + lane/4][0];
    memcpy(&r[m], p + 4*(lane%4), 4);
  }
}
static inline void dev_copy16(void *to, const void *from){
  memcpy(to, from, 16);
}
static inline void dev_copy_commit(void){}
template<int N> static inline void dev_copy_wait(void){}

/* ---- The runtime --------------------------------------------------------- */

enum cudaError_t { cudaSuccess = 0, cudaErrorMemoryAllocation = 2,
                   cudaErrorInsufficientDriver = 35, cudaErrorNoDevice = 100 };
enum { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaStreamNonBlocking,
       cudaFuncAttributeMaxDynamicSharedMemorySize };
typedef int cudaStream_t;
typedef int cudaEvent_t;
enum { cudaEventDisableTiming };
struct cudaDeviceProp {
  char name[64];
  int major, minor, multiProcessorCount;
  size_t totalGlobalMem, sharedMemPerBlockOptin;
};
static inline cudaError_t cudaGetDeviceCount(int *n){
  *n = 1;
  return cudaSuccess;
}
static inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int){
  memset(p, 0, sizeof(*p));
  memcpy(p->name, "emulated", 9);
  p->major = 8;
  p->multiProcessorCount = 2;
  p->totalGlobalMem = (size_t)4<<30;
  p->sharedMemPerBlockOptin = 99<<10;
  return cudaSuccess;
}
static inline cudaError_t cudaDriverGetVersion(int *v){
  *v = 0;
  return cudaSuccess;
}
static inline cudaError_t cudaMemGetInfo(size_t *free, size_t *all){
  *free = *all = (size_t)4<<30;
  return cudaSuccess;
}
static inline cudaError_t cudaGetDevice(int *d){ *d = 0; return cudaSuccess; }
static inline cudaError_t cudaSetDevice(int){ return cudaSuccess; }
static inline cudaError_t cudaGetLastError(void){ return cudaSuccess; }
static inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, int){
  *s = 0;
  return cudaSuccess;
}
static inline cudaError_t cudaStreamDestroy(cudaStream_t){
  return cudaSuccess;
}
static inline cudaError_t cudaStreamSynchronize(cudaStream_t){
  return cudaSuccess;
}
static inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, int){
  *e = 0;
  return cudaSuccess;
}
static inline cudaError_t cudaEventDestroy(cudaEvent_t){ return cudaSuccess; }
static inline cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t){
  return cudaSuccess;
}
static inline cudaError_t cudaEventSynchronize(cudaEvent_t){
  return cudaSuccess;
}
/* Bytes nobody has written look like this: numbers that would be noticed. */
cudaError_t vdb_emu_alloc(void **p, size_t sz);
void vdb_emu_free(void *p);
typedef int cudaMemPool_t;
enum { cudaMemAllocationTypePinned, cudaMemLocationTypeDevice,
       cudaMemPoolAttrReleaseThreshold };
struct cudaMemPoolProps { int allocType; struct { int type, id; } location; };
static inline cudaError_t cudaMemPoolCreate(cudaMemPool_t *p,
                                            const cudaMemPoolProps*){
  *p = 0;
  return cudaSuccess;
}
static inline cudaError_t cudaMemPoolDestroy(cudaMemPool_t){
  return cudaSuccess;
}
static inline cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, int, void*){
  return cudaSuccess;
}
static inline cudaError_t cudaMallocFromPoolAsync(void **p, size_t sz,
                                                  cudaMemPool_t,
                                                  cudaStream_t){
  return vdb_emu_alloc(p, sz);
}
static inline cudaError_t cudaFreeAsync(void *p, cudaStream_t){
  vdb_emu_free(p);
  return cudaSuccess;
}
static inline cudaError_t cudaMallocHost(void **p, size_t sz){
  return vdb_emu_alloc(p, sz);
}
static inline cudaError_t cudaFreeHost(void *p){
  vdb_emu_free(p);
  return cudaSuccess;
}
static inline cudaError_t cudaMemcpyAsync(void *to, const void *from,
                                          size_t n, int, cudaStream_t){
  memcpy(to, from, n);
  return cudaSuccess;
}
static inline cudaError_t cudaMemsetAsync(void *p, int x, size_t n,
                                          cudaStream_t){
  memset(p, x, n);
  return cudaSuccess;
}
template<typename F> static inline cudaError_t cudaFuncSetAttribute(F, int,
                                                                    int){
  return cudaSuccess;
}

/* A call of the kernel with its arguments, for vdb_emu_run. */
template<typename F> static void emu_call(void *f){ (*(F*)f)(); }
template<typename F> static inline void emu_launch(dim3 grid, dim3 block,
                                                   size_t sz, F f){
  vdb_emu_run(grid, block, sz, emu_call<F>, &f);
}
#define DEV_LAUNCH(kernel, grid, block, sz, stream, ...) \
  ((void)(stream), emu_launch((grid), (block), (sz), \
                              [=](){ kernel(__VA_ARGS__); }))
#define DEV_SHARED  (vdb_emu_smem)
#endif
