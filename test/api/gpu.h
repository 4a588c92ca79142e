/* gpu.h -- where the tests of the GPU find a plugin.
**
** $VECDB_GPU_PLUGIN says which (make check-gpu: that of the device); without
** it, it is the reference plugin of the build.
*/
#ifndef TEST_GPU_H
#define TEST_GPU_H
#include <stdlib.h>

#include "vt.h"

/* The plugin to test. */
static inline const char *gpu_plugin(void){
  const char *build = getenv("VECDB_BUILD"), *name = "libvecdb_gpu_ref.so";
  static char path[4096];
#if defined(GPU_PLUGIN_NAME)
  name = GPU_PLUGIN_NAME;
#else
  const char *z = getenv("VECDB_GPU_PLUGIN");
  if( z && z[0] ) return z;
#endif
  snprintf(path, sizeof(path), "%s/%s", build ? build : ".", name);
  return path;
}

/* True if the plugin under test is the reference. */
static inline bool gpu_is_reference(void){
  return strstr(gpu_plugin(), "libvecdb_gpu_ref.so")!=NULL;
}
#endif
