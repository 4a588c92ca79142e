/* gpu_plugin.h -- a GPU plugin without the library's loader: "ref", the
** reference, or "emu", the device's kernels on the CPU, in whose place
** $VECDB_GPU_PLUGIN may put those of a device (make check-gpu).
*/
#ifndef TEST_GPU_PLUGIN_H
#define TEST_GPU_PLUGIN_H
#include <dlfcn.h>

#include "vt.h"

#include "gpu/plugin.h"
#include "util/mem.h"
#include "vecdb.h"

struct plugin {
  const vdb_gpu_api *api;
  vdb_gpu_device *dev;
  vdb_gpu_rows *rows;
};

static inline bool plugin_open(struct plugin *p, const char *name){
  const char *build = getenv("VECDB_BUILD"), *other = NULL;
  vdb_gpu_config cfg = { .size = sizeof(cfg), .alloc = vdb_malloc,
                         .release = vdb_free };
  vdb_gpu_entry_fn entry = NULL;
  char path[4096];
  void *so, *symbol;
  if( strcmp(name, "emu")==0 ) other = getenv("VECDB_GPU_PLUGIN");
  snprintf(path, sizeof(path), "%s/libvecdb_gpu_%s.so", build ? build : ".",
           name);
  so = dlopen(other && other[0] ? other : path, RTLD_NOW|RTLD_LOCAL);
  if( so==NULL ) return false;
  symbol = dlsym(so, VDB_GPU_ENTRY);
  memcpy(&entry, &symbol, sizeof(entry));
  p->api = entry(VDB_GPU_ABI_VERSION, (uint32_t)sizeof(*p->api));
  return p->api->open(&cfg, &p->dev)==VDB_GPU_OK;
}
#endif
