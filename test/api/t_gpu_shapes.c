/* t_gpu_shapes.c -- small shapes of what t_gpu.c asks of a device, by the
** kernels of the CUDA plugin: run on the CPU (gpu/emulate.h), or on a device
** under compute-sanitizer (tools/gpu-check), where all of t_gpu.c would take too
** long. All of it: VECDB_GPU_PLUGIN=$PWD/libvecdb_gpu_emu.so obj/test/api/t_gpu
*/
#define GPU_PLUGIN_NAME "libvecdb_gpu_emu.so"
#include "api/gpu_batch.h"

static void begin_shape(int type, size_t d, const char *metric){
  FILE *f = fopen(gpu_plugin(), "r");
  if( f==NULL ) SKIP("the compiler does no C++");
  fclose(f);
  if( db ) vecdb_close(db);
  begin(type, d, metric);
  CHECK_INT(VDB_GPU_OK, vdb_gpu_start());
}

static void path(uint64_t way){
  CHECK_INT(VDB_GPU_OK, vdb_gpu_control(VDB_GPU_SET_PATH, way));
}

/* 70 and 129 dimensions: queries stay in shared memory, or are streamed. */
TEST(gpu_shapes__metrics_and_dimensions){
  static const size_t dims[] = { 1, 31, 129 };
  for(int m=0; m<3; m++) for(size_t i=0; i<3; i++){
    begin_shape(VECDB_F32, dims[i], metrics[m]);
    put_random(600, 1, 1);
    seal();
    compare(5, 7, NULL);
    if( (int)i==m ) compare(2, 3, "half < 300");
  }
  vecdb_close(db);
}

TEST(gpu_shapes__types){
  for(int type=VECDB_F16; type<=VECDB_U8; type++) for(int m=0; m<3; m++){
    begin_shape(type, 35, metrics[m]);
    put_random(300, 1, 1);
    seal();
    compare(5, 4, NULL);
    compare(1, 4, NULL);
  }
  vecdb_close(db);
}

TEST(gpu_shapes__chunks_filters_ties){
  float v[400][3];
  begin_shape(VECDB_F32, 3, "l2");
  for(int i=0; i<400; i++) for(int j=0; j<3; j++) v[i][j] = (float)(i%7);
  put(v, 400, 9000, -1);
  put_random(1500, 1, 1);
  seal();
  put_random(20, 20000, 1);
  compare(130, 3, "half < 500");
  CHECK_INT(VDB_GPU_OK, vdb_gpu_control(VDB_GPU_SET_CAPACITY, 256));
  for(uint64_t growth=1; growth<100; growth+=90){
    CHECK_INT(VDB_GPU_OK, vdb_gpu_control(VDB_GPU_SET_GROWTH, growth));
    compare(6, 12, NULL);                    /* short lists overflow */
    path(1);
    compare(3, 12, "half < 700");
    path(2);
    compare_with(v, 3, 5, NULL);             /* more ties than are returned */
    path(0);
  }
  vecdb_close(db);
}

TEST(gpu_shapes__numbers_of_all_sizes){
  static const float scale[] = { 1e-16f, 1e-4f, 1e17f };
  for(size_t i=0; i<3; i++) for(int m=0; m<3; m++){
    float q[5*9];
    begin_shape(VECDB_F32, 9, metrics[m]);
    put_scaled(250, scale[i], 1);
    put_random(40, 1000, 1);
    seal();
    fill(q, 5, scale[i]);
    memset(q, 0, 9*sizeof(*q));
    compare_with(q, 5, 5, NULL);
  }
  vecdb_close(db);
}
