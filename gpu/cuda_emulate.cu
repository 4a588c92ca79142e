/* cuda_emulate.cu -- blocks of threads as coroutines (emulate.h). Empty in the
** plugin for devices.
*/
#if defined(VDB_GPU_EMULATE)
#include "gpu/emulate.h"

extern "C" {
#include "util/mem.h"
}

emu_block vdb_emu;
uint3_ vdb_emu_thread, vdb_emu_block;
dim3 vdb_emu_block_dim, vdb_emu_grid_dim;
alignas(128) unsigned char vdb_emu_smem[EMU_SMEM];

cudaError_t vdb_emu_alloc(void **p, size_t sz){
  *p = vdb_malloc_aligned(sz);
  if( *p ) memset(*p, 0xa5, sz);
  return *p ? cudaSuccess : cudaErrorMemoryAllocation;
}

void vdb_emu_free(void *p){
  vdb_free_aligned(p);
}

static void thread_main(void){
  vdb_emu.run(vdb_emu.arg);
  vdb_emu.thread[vdb_emu.i_now].is_over = true;
  vdb_emu.n_over++;
  _longjmp(vdb_emu.scheduler, 1);
}

static void thread_resume(unsigned i){
  emu_thread *t = &vdb_emu.thread[i];
  vdb_emu.i_now = i;
  vdb_emu_thread.x = i;
  if( _setjmp(vdb_emu.scheduler) ) return;
  if( t->is_begun ) _longjmp(t->at, 1);
  t->is_begun = true;
  if( t->stack==nullptr ) t->stack = (char*)vdb_malloc_aligned(EMU_STACK);
  if( t->stack==nullptr ) abort();
  getcontext(&t->start);
  t->start.uc_stack.ss_sp = t->stack;
  t->start.uc_stack.ss_size = EMU_STACK;
  t->start.uc_link = nullptr;
  makecontext(&t->start, thread_main, 0);
  setcontext(&t->start);
}

static void block_run(void){
  unsigned n = vdb_emu.n_thread;
  for(unsigned i=0; i<n; i++){
    vdb_emu.thread[i].is_begun = vdb_emu.thread[i].is_over = false;
  }
  for(unsigned i=0; i<n/32; i++) vdb_emu.warp[i].n_arrived = 0;
  vdb_emu.n_over = vdb_emu.n_arrived = 0;
  while( vdb_emu.n_over<n ){
    for(unsigned i=0; i<n; i++){
      if( !vdb_emu.thread[i].is_over ) thread_resume(i);
    }
  }
}

/* Is what lies behind the block's memory still what it was? */
static bool smem_is_kept(size_t sz){
  size_t end = sz+1024<EMU_SMEM ? sz+1024 : (size_t)EMU_SMEM;
  while( sz<end && vdb_emu_smem[sz]==0xff ) sz++;
  return sz==end;
}

void vdb_emu_run(dim3 grid, dim3 block, size_t sz, void (*run)(void*),
                 void *arg){
  if( sz>(99<<10) ) abort();               /* the least that devices have */
  vdb_emu.run = run;
  vdb_emu.arg = arg;
  vdb_emu.n_thread = block.x;
  vdb_emu_block_dim = block;
  vdb_emu_grid_dim = grid;
  for(unsigned y=0; y<grid.y; y++){
    for(unsigned x=0; x<grid.x; x++){
      vdb_emu_block.x = x;
      vdb_emu_block.y = y;
      /* What another block left must not help this one. */
      memset(vdb_emu_smem, 0xff, sizeof(vdb_emu_smem));
      block_run();
      if( !smem_is_kept(sz) ) abort();
    }
  }
}
#else
extern "C" const int vdb_gpu_emulate_is_empty;
const int vdb_gpu_emulate_is_empty = 1;
#endif
