/* t_gpu_load.c -- the loader of the GPU plugin: what it refuses, what it says,
** when it looks. Each test is a process of its own, so each starts anew.
*/
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/gpu.h"

#include "gpu/gpu.h"
#include "util/mem.h"

/* The reference plugin, spoilt as `mode` says. */
static int start_spoilt(const char *mode){
  const char *build = getenv("VECDB_BUILD");
  char path[4096];
  snprintf(path, sizeof(path), "%s/libvecdb_gpu_ref.so", build ? build : ".");
  setenv("VECDB_GPU_PLUGIN", path, 1);
  setenv("VECDB_GPU_REF", mode, 1);
  return vdb_gpu_start();
}

/* Does the process map a file with this name? */
static bool is_mapped(const char *name){
  char line[4096];
  FILE *f = fopen("/proc/self/maps", "r");
  bool found = false;
  while( f && fgets(line, sizeof(line), f) ) found |= strstr(line, name)!=NULL;
  if( f ) fclose(f);
  return found;
}

TEST(gpu_load__a_plugin_that_fits){
  struct vdb_str s = VDB_STR_INIT;
  CHECK(!is_mapped("libvecdb_gpu"));
  CHECK_INT(VDB_GPU_NO_PLUGIN, vdb_gpu_control(VDB_GPU_SET_PATH, 0));
  CHECK_INT(VDB_GPU_OK, start_spoilt(""));
  CHECK(is_mapped("libvecdb_gpu_ref"));
  CHECK(vdb_gpu_budget()>0);
  vdb_gpu_status(&s);
  CHECK(s.z && strstr(s.z, "\"status\":\"OK\""));
  CHECK(s.z && strstr(s.z, "\"plugin\":\"reference\""));
  CHECK(s.z && strstr(s.z, "\"device\":\"reference\""));
  vdb_str_clear(&s);
  CHECK_INT(VECDB_MISUSE, vdb_gpu_path_set("/tmp/x.so"));
}

TEST(gpu_load__none){
  struct vdb_str s = VDB_STR_INIT;
  setenv("VECDB_GPU_PLUGIN", "none", 1);
  CHECK_INT(VDB_GPU_NO_PLUGIN, vdb_gpu_start());
  CHECK_STR("there is no GPU plugin: VECDB_GPU_PLUGIN is none",
            vdb_gpu_why(VDB_GPU_NO_PLUGIN));
  CHECK_U64(0, vdb_gpu_budget());
  vdb_gpu_status(&s);
  CHECK(s.z && strstr(s.z, "\"status\":\"NO_PLUGIN\""));
  vdb_str_clear(&s);
  setenv("VECDB_GPU_PLUGIN", "", 1);
  CHECK_INT(VDB_GPU_NO_PLUGIN, vdb_gpu_start());       /* it is remembered */
}

TEST(gpu_load__a_file_that_is_not_there){
  CHECK_INT(VECDB_OK, vdb_gpu_path_set("/nowhere/libvecdb_gpu.so"));
  CHECK_INT(VDB_GPU_NO_PLUGIN, vdb_gpu_start());
  CHECK(strstr(vdb_gpu_why(VDB_GPU_NO_PLUGIN), "/nowhere/libvecdb_gpu.so"));
}

TEST(gpu_load__garbage){
  const char *path = vt_path("garbage.so");
  FILE *f = fopen(path, "w");
  REQUIRE(f!=NULL);
  for(int i=0; i<5000; i++) fputc(i*7, f);
  fclose(f);
  CHECK_INT(VECDB_OK, vdb_gpu_path_set(path));
  CHECK_INT(VDB_GPU_NO_PLUGIN, vdb_gpu_start());
}

TEST(gpu_load__a_library_that_is_no_plugin){
  CHECK_INT(VECDB_OK, vdb_gpu_path_set("libm.so.6"));
  CHECK_INT(VDB_GPU_NO_PLUGIN, vdb_gpu_start());
  CHECK_STR("there is no GPU plugin: libm.so.6: it is no plugin",
            vdb_gpu_why(VDB_GPU_NO_PLUGIN));
}

static void refuses_version(const char *mode){
  CHECK_INT(VDB_GPU_ABI, start_spoilt(mode));
  CHECK(strstr(vdb_gpu_why(VDB_GPU_ABI), "the GPU plugin is of another version "
               "of vecdb"));
}
TEST(gpu_load__another_abi){ refuses_version("abi"); }
TEST(gpu_load__other_rules){ refuses_version("rules"); }
TEST(gpu_load__other_sums){ refuses_version("canon"); }
TEST(gpu_load__a_short_table){ refuses_version("size"); }
TEST(gpu_load__no_table){ refuses_version("null"); }

TEST(gpu_load__no_device){
  CHECK_INT(VDB_GPU_NO_DEVICE, start_spoilt("nodevice"));
  CHECK_STR("there is no GPU, or no driver for it",
            vdb_gpu_why(VDB_GPU_NO_DEVICE));
}

TEST(gpu_load__a_number_that_no_device_has){
  setenv("VECDB_GPU_DEVICE", "7", 1);
  CHECK_INT(VDB_GPU_NO_DEVICE, start_spoilt(""));
  CHECK(strstr(vdb_gpu_why(VDB_GPU_NO_DEVICE), "VECDB_GPU_DEVICE"));
}

TEST(gpu_load__a_fork){
  int status = 0;
  pid_t pid;
  CHECK_INT(VDB_GPU_OK, start_spoilt(""));
  pid = fork();
  if( pid==0 ) _exit(vdb_gpu_start());
  CHECK_INT(pid, waitpid(pid, &status, 0));
  CHECK_INT(VDB_GPU_FORKED, WEXITSTATUS(status));
  CHECK_INT(VDB_GPU_OK, vdb_gpu_start());
}

/* The plugin of the device, where there is no device: it can be loaded, and
** says so. */
TEST(gpu_load__the_cuda_plugin_without_a_driver){
  const char *build = getenv("VECDB_BUILD");
  char path[4096];
  int code;
  snprintf(path, sizeof(path), "%s/libvecdb_gpu.so", build ? build : ".");
  if( access(path, R_OK)!=0 ) SKIP("built without nvcc");
  CHECK_INT(VECDB_OK, vdb_gpu_path_set(path));
  code = vdb_gpu_start();
  if( code==VDB_GPU_OK ) SKIP("there is a device");
  CHECK(code==VDB_GPU_NO_DEVICE || code==VDB_GPU_DRIVER_OLD);
}

/* What nvcc and ptxas left: no spills and no stack on any architecture, nothing
** that a user's machine need not have. */
TEST(gpu_load__the_cuda_plugin_as_compiled){
  const char *build = getenv("VECDB_BUILD");
  char path[4096], command[9000];
  if( build==NULL ) build = ".";
  snprintf(path, sizeof(path), "%s/libvecdb_gpu.so", build);
  if( access(path, R_OK)!=0 ) SKIP("built without nvcc");
  snprintf(command, sizeof(command), "'%s/tools/gpu-objects' '%s/obj/gpu' "
           "'%s'", VDB_SRCDIR, build, path);
  CHECK_INT(0, system(command));
}

/* ---- Pieces -------------------------------------------------------------- */

static int fetch_ones(void *arg, uint32_t first, uint32_t n, void *dst){
  (void)first;
  ++*(int*)arg;
  for(uint32_t i=0; i<4*n; i++) ((float*)dst)[i] = 1;
  return 0;
}

TEST(gpu_load__pieces_come_and_go){
  int n_fetch[3] = { 0 };
  struct gpu_piece *p[3] = { NULL };
  vdb_gpu_source src[3];
  float q[4] = { 1, 1, 1, 2 }, dist[40];
  uint32_t row[40], n;
  vdb_gpu_knn k = { .size = sizeof(k), .n_query = 1, .k = 2, .cap = 40,
                    .queries = q, .row = row, .distance = dist, .n = &n };
  struct vdb_mem_stats before, after;
  vdb_mem_stats(&before);
  CHECK_INT(VDB_GPU_OK, start_spoilt(""));
  CHECK_INT(VDB_GPU_OK, vdb_gpu_control(VDB_GPU_SET_BUDGET, 1000));
  for(int i=0; i<3; i++){
    CHECK_INT(VDB_GPU_OK, vdb_gpu_piece_create(&p[i]));
    src[i] = (vdb_gpu_source){ .size = sizeof(*src), .metric = VECDB_L2,
        .type = VECDB_F32, .dim = 4, .n_rows = 30, .fetch = fetch_ones,
        .arg = &n_fetch[i] };
  }
  for(int round=0; round<2; round++){        /* 480 bytes each: two fit */
    CHECK_INT(VDB_GPU_OK, vdb_gpu_piece_knn(p[0], &src[0], &k));
    CHECK_INT(VDB_GPU_OK, vdb_gpu_piece_knn(p[1], &src[1], &k));
  }
  CHECK_INT(30, n);
  CHECK_INT(1, n_fetch[0]);
  CHECK_INT(1, n_fetch[1]);
  CHECK_INT(VDB_GPU_OK, vdb_gpu_piece_knn(p[2], &src[2], &k));
  CHECK(!vdb_gpu_piece_is_resident(p[0]));   /* the oldest went */
  CHECK(vdb_gpu_piece_is_resident(p[1]));
  CHECK_INT(VDB_GPU_OK, vdb_gpu_piece_knn(p[0], &src[0], &k));
  CHECK_INT(2, n_fetch[0]);
  src[0].n_rows = 100;
  vdb_gpu_piece_destroy(p[0]);
  CHECK_INT(VDB_GPU_OK, vdb_gpu_piece_create(&p[0]));
  CHECK_INT(VDB_GPU_OOM, vdb_gpu_piece_knn(p[0], &src[0], &k));
  for(int i=0; i<3; i++) vdb_gpu_piece_destroy(p[i]);
  vdb_mem_stats(&after);
  CHECK_U64(before.sz_now, after.sz_now);
}
