/* gpu.h -- where the tests of the GPU find a plugin.
**
** $VECDB_GPU_PLUGIN says which (make check-gpu: that of the device); without
** it, it is the reference plugin of the build, or GPU_PLUGIN_NAME.
*/
#ifndef TEST_GPU_H
#define TEST_GPU_H
#include <stdlib.h>

#include "vt.h"

#if !defined(GPU_PLUGIN_NAME)
# define GPU_PLUGIN_NAME "libvecdb_gpu_ref.so"
#endif

/* The plugin to test. */
static inline const char *gpu_plugin(void){
  const char *z = getenv("VECDB_GPU_PLUGIN"), *build = getenv("VECDB_BUILD");
  static char path[4096];
  if( z && z[0] ) return z;
  snprintf(path, sizeof(path), "%s/%s", build ? build : ".", GPU_PLUGIN_NAME);
  return path;
}

/* True if the plugin under test is the reference. */
static inline bool gpu_is_reference(void){
  return strstr(gpu_plugin(), "libvecdb_gpu_ref.so")!=NULL;
}
#endif
