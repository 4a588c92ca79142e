/* load.c -- finding, loading and opening the GPU plugin; its status.
**
** SEARCH   vdb_gpu_path_set; else $VECDB_GPU_PLUGIN (ignored in setuid
**          programs; "none": no plugin); else libvecdb_gpu.so beside the
**          object that holds this code, in vecdb/ beneath that, and in the
**          folder of the installation. The working directory and names from
**          SQL or files are never looked at. $VECDB_GPU_DEVICE is the number
**          of the device.
** STATES   untried --> usable --> lost         untried --> unusable
**          All are left only by the end of the process: whether a GPU takes
**          part must not change back and forth. After a fork the child may not
**          use what the parent opened.
** CHECKS   A plugin is refused unless ABI, rules, canonical sums and the size
**          of its table are what this library was compiled with.
*/
#include "gpu/gpu_int.h"

#include <stdlib.h>
#include <unistd.h>
#if defined(VDB_HAVE_DLOPEN)
# include <dlfcn.h>
#endif

#include "util/err.h"
#include "util/mem.h"

#ifndef VDB_PLUGIN_DIR
# define VDB_PLUGIN_DIR "/usr/local/lib/vecdb"
#endif
#define PLUGIN_FILE "libvecdb_gpu.so"

struct gpu_process vdb_gpu_process = {
  .lock = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP
};

/* ---- Words --------------------------------------------------------------- */

const char *vdb_gpu_code_name(int code){
  static const char *const name[] = {
#define GPU_NAME(name, num, text) [num] = #name,
    VDB_GPU_CODES(GPU_NAME)
#undef GPU_NAME
  };
  return code>=0 && code<VDB_GPU_CODE_LAST_ ? name[code] : "INTERNAL";
}

static const char *code_text(int code){
  static const char *const text[] = {
#define GPU_TEXT(name, num, text) [num] = text,
    VDB_GPU_CODES(GPU_TEXT)
#undef GPU_TEXT
  };
  return code>=0 && code<VDB_GPU_CODE_LAST_ ? text[code]
                                            : text[VDB_GPU_INTERNAL];
}

/* The state is final once `is_tried`, but for the loss of the device, whose
** sentence is a constant. */
const char *vdb_gpu_why(int code){
  const struct gpu_process *g = &vdb_gpu_process;
  return code==g->code && g->why[0] ? g->why : code_text(code);
}

static int start_fail(struct gpu_process *g, int code, const char *what,
                      const char *why){
  struct vdb_str s = VDB_STR_INIT;
  vdb_str_addf(&s, "%s%s%s%s%s", code_text(code), what ? ": " : "",
               what ? what : "", why ? ": " : "", why ? why : "");
  g->why[0] = 0;
  if( s.z!=NULL && vdb_str_rc(&s)==VECDB_OK ){
    size_t n = vdb_min_sz(s.n, sizeof(g->why)-1);
    memcpy(g->why, s.z, n);
    g->why[n] = 0;
  }
  vdb_str_clear(&s);
  return code;
}

/* ---- Loading ------------------------------------------------------------- */

#if defined(VDB_HAVE_DLOPEN)

static int plugin_check(struct gpu_process *g, const vdb_gpu_api *api,
                        const char *path){
  if( api==NULL || api->size<sizeof(*api) || api->abi!=VDB_GPU_ABI_VERSION
   || api->rules!=VDB_GPU_RULES || api->canon!=VDB_GPU_CANON ){
    return start_fail(g, VDB_GPU_ABI, path, NULL);
  }
  return VDB_GPU_OK;
}

/* The plugin stays loaded and calls back into this library (its allocator), so
** this library has to stay as well, whoever closes it: SQLite closes an
** extension with the connection. */
static void library_stay(const void *symbol){
  Dl_info here;
  if( dladdr(symbol, &here)!=0 && here.dli_fname!=NULL ){
    (void)dlopen(here.dli_fname, RTLD_NOW|RTLD_NOLOAD|RTLD_NODELETE);
  }
}

static int plugin_load(struct gpu_process *g, const char *path){
  vdb_gpu_entry_fn entry = NULL;
  void *so = dlopen(path, RTLD_NOW|RTLD_LOCAL), *symbol;
  const vdb_gpu_api *api;
  int code;

  if( so==NULL ) return start_fail(g, VDB_GPU_NO_PLUGIN, dlerror(), NULL);
  symbol = dlsym(so, VDB_GPU_ENTRY);
  if( symbol==NULL ){
    dlclose(so);
    return start_fail(g, VDB_GPU_NO_PLUGIN, path, "it is no plugin");
  }
  memcpy(&entry, &symbol, sizeof(entry));  /* ISO C knows no such cast */
  api = entry(VDB_GPU_ABI_VERSION, (uint32_t)sizeof(*api));
  code = plugin_check(g, api, path);
  if( code!=VDB_GPU_OK ) return code;
  library_stay(g);
  g->api = api;
  memcpy(g->path, path, vdb_min_sz(strlen(path), sizeof(g->path)-1));
  g->why[0] = 0;
  return VDB_GPU_OK;
}

/* DIR/sub/libvecdb_gpu.so. NO_PLUGIN also stands for: there is none. */
static int plugin_load_from(struct gpu_process *g, const char *dir, size_t n,
                            const char *sub){
  struct vdb_str s = VDB_STR_INIT;
  int code = VDB_GPU_NO_PLUGIN;
  vdb_str_add(&s, dir, n);
  vdb_str_addf(&s, "%s/%s", sub, PLUGIN_FILE);
  if( vdb_str_rc(&s)==VECDB_OK && s.n<sizeof(g->path) ){
    code = plugin_load(g, s.z);
  }
  vdb_str_clear(&s);
  return code;
}

static int plugin_find(struct gpu_process *g){
  const char *env = secure_getenv("VECDB_GPU_PLUGIN"), *slash;
  Dl_info here;
  int code;

  if( g->wanted[0] ) return plugin_load(g, g->wanted);
  if( env && strcmp(env, "none")==0 ){
    return start_fail(g, VDB_GPU_NO_PLUGIN, "VECDB_GPU_PLUGIN is none", NULL);
  }
  if( env && env[0] ) return plugin_load(g, env);
  if( dladdr(&vdb_gpu_process, &here) && here.dli_fname
   && (slash = strrchr(here.dli_fname, '/'))!=NULL ){
    size_t n = (size_t)(slash - here.dli_fname);
    code = plugin_load_from(g, here.dli_fname, n, "");
    if( code!=VDB_GPU_NO_PLUGIN ) return code;
    code = plugin_load_from(g, here.dli_fname, n, "/vecdb");
    if( code!=VDB_GPU_NO_PLUGIN ) return code;
  }
  return plugin_load_from(g, VDB_PLUGIN_DIR, strlen(VDB_PLUGIN_DIR), "");
}

#else
static int plugin_find(struct gpu_process *g){
  return start_fail(g, VDB_GPU_NO_PLUGIN, "built without dlopen", NULL);
}
#endif

/* ---- Opening ------------------------------------------------------------- */

static uint32_t device_wanted(void){
  const char *z = secure_getenv("VECDB_GPU_DEVICE");
  int64_t i = 0;
  if( z==NULL || vdb_scan_i64(z, strlen(z), &i)==0 ) return 0;
  return i>=0 && i<1024 ? (uint32_t)i : UINT32_MAX;
}

/* Budget: 80 % of what is free, and 1 GiB stays free, but at least a half. */
static uint64_t budget_default(uint64_t sz_free){
  uint64_t most = sz_free/10*8, rest = sz_free>((uint64_t)1<<30)
                ? sz_free-((uint64_t)1<<30) : 0;
  if( rest<sz_free/2 ) rest = sz_free/2;
  return most<rest ? most : rest;
}

static int device_open(struct gpu_process *g){
  const char *z = secure_getenv("VECDB_GPU_MEMORY");
  vdb_gpu_config cfg = { .size = sizeof(cfg), .i_device = device_wanted(),
                         .alloc = vdb_malloc, .release = vdb_free };
  int64_t sz = 0;
  uint32_t n = 0;
  int code = g->api->device_count(&n);
  if( code!=VDB_GPU_OK ) return start_fail(g, code, NULL, NULL);
  if( cfg.i_device>=n ){
    return start_fail(g, VDB_GPU_NO_DEVICE, n ? "VECDB_GPU_DEVICE is out of "
                      "range" : NULL, NULL);
  }
  if( z!=NULL && vdb_scan_i64(z, strlen(z), &sz)>0 && sz>0 ){
    cfg.sz_memory = (uint64_t)sz;
  }
  code = g->api->open(&cfg, &g->dev);
  if( code!=VDB_GPU_OK ) return start_fail(g, code, NULL, NULL);
  g->info.size = sizeof(g->info);
  code = g->api->device_info(cfg.i_device, &g->info);
  if( code!=VDB_GPU_OK ) return start_fail(g, code, NULL, NULL);
  g->sz_budget = cfg.sz_memory ? cfg.sz_memory
                               : budget_default(g->info.sz_free);
  g->pid = (long)getpid();
  return VDB_GPU_OK;
}

int vdb_gpu_start_locked(struct gpu_process *g){
  if( !g->is_tried ){
    g->code = plugin_find(g);
    if( g->code==VDB_GPU_OK ) g->code = device_open(g);
    g->is_tried = true;
  }
  if( g->code==VDB_GPU_OK && g->pid!=(long)getpid() ) return VDB_GPU_FORKED;
  return g->code;
}

int vdb_gpu_result(struct gpu_process *g, int code){
  if( code==VDB_GPU_DEVICE_LOST || code==VDB_GPU_INTERNAL ){
    g->why[0] = 0;
    g->code = code;
  }
  return code;
}

int vdb_gpu_start(void){
  struct gpu_process *g = &vdb_gpu_process;
  int code;
  if( !gpu_enter(g) ) return VDB_GPU_UNSUPPORTED;
  code = vdb_gpu_start_locked(g);
  gpu_leave(g);
  return code;
}

int vdb_gpu_path_set(const char *path){
  struct gpu_process *g = &vdb_gpu_process;
  size_t n = path ? strlen(path) : 0;
  int rc = VECDB_OK;
  if( n>=sizeof(g->wanted) ) return VECDB_TOOBIG;
  if( !gpu_enter(g) ) return VECDB_MISUSE;
  if( g->is_tried ){
    rc = VECDB_MISUSE;
  }else{
    memcpy(g->wanted, path ? path : "", n+1);
  }
  gpu_leave(g);
  return rc;
}

uint64_t vdb_gpu_budget(void){
  struct gpu_process *g = &vdb_gpu_process;
  uint64_t sz;
  if( !gpu_enter(g) ) return 0;
  sz = g->code==VDB_GPU_OK ? g->sz_budget : 0;
  gpu_leave(g);
  return sz;
}

int vdb_gpu_control(uint32_t what, uint64_t value){
  struct gpu_process *g = &vdb_gpu_process;
  int code;
  if( !gpu_enter(g) ) return VDB_GPU_UNSUPPORTED;
  code = g->is_tried ? g->code : VDB_GPU_NO_PLUGIN;
  if( what==VDB_GPU_SET_EAGER ){
    g->is_eager = value!=0;
    gpu_leave(g);
    return VDB_GPU_OK;
  }
  if( code==VDB_GPU_OK && what==VDB_GPU_SET_BUDGET ) g->sz_budget = value;
  if( code==VDB_GPU_OK ) code = g->api->control(g->dev, what, value);
  gpu_leave(g);
  return code;
}

bool vdb_gpu_is_eager(void){
  struct gpu_process *g = &vdb_gpu_process;
  bool is;
  if( !gpu_enter(g) ) return false;
  is = g->is_eager;
  gpu_leave(g);
  return is;
}

/* ---- Status -------------------------------------------------------------- */

void vdb_gpu_note_fallback(const char *what, int code, bool is_build){
  struct gpu_process *g = &vdb_gpu_process;
  const char *name = vdb_gpu_code_name(code);
  bool is_new;
  if( !gpu_enter(g) ) return;
  is_new = is_build || (code>=0 && code<32 && !(g->is_logged>>code & 1));
  if( is_new && !is_build ) g->is_logged |= (uint32_t)1<<code;
  g->n_fallback++;
  g->fallback[0] = 0;
  if( strlen(what)+strlen(name)+3<sizeof(g->fallback) ){
    memcpy(g->fallback, what, strlen(what));
    memcpy(g->fallback + strlen(what), ": ", 2);
    memcpy(g->fallback + strlen(what)+2, name, strlen(name)+1);
  }
  gpu_leave(g);
  if( is_new ){
    vdb_log(VECDB_GPU, "%s on the CPU: %s", what, vdb_gpu_why(code));
  }
}

static void json_text(struct vdb_str *s, const char *name, const char *z){
  vdb_str_addf(s, "\"%s\":\"", name);
  for(; *z; z++){
    if( (unsigned char)*z<0x20 ) vdb_str_addc(s, ' ');
    else if( *z=='"' || *z=='\\' ) vdb_str_addf(s, "\\%c", *z);
    else vdb_str_addc(s, *z);
  }
  vdb_str_addz(s, "\"");
}

static void status_device(struct gpu_process *g, struct vdb_str *s){
  vdb_gpu_stats t = { .size = sizeof(t) };
  vdb_str_addc(s, ',');
  json_text(s, "device", g->info.name);
  vdb_str_addf(s, ",\"arch\":%u,\"driver\":%u,\"memory\":%llu,"
               "\"budget\":%llu", g->info.arch, g->info.driver,
               (unsigned long long)g->info.sz_total,
               (unsigned long long)g->sz_budget);
  if( g->api->stats(g->dev, &t)!=VDB_GPU_OK ) return;
  vdb_str_addf(s, ",\"resident\":%llu,\"calls\":%llu,\"dropped\":%llu",
               (unsigned long long)t.sz_rows, (unsigned long long)g->n_call,
               (unsigned long long)g->n_drop);
  vdb_str_addf(s, ",\"filtered\":%llu,\"survivors\":%llu,\"scanned\":%llu,"
               "\"overflows\":%llu,\"left\":%llu,\"uploaded\":%llu",
               (unsigned long long)t.n_query,
               (unsigned long long)t.n_survivor,
               (unsigned long long)t.n_scan,
               (unsigned long long)t.n_overflow,
               (unsigned long long)t.n_left,
               (unsigned long long)t.sz_upload);
}

void vdb_gpu_status(struct vdb_str *out){
  struct gpu_process *g = &vdb_gpu_process;
  int code;
  if( !gpu_enter(g) ){
    vdb_str_addz(out, "{\"status\":\"UNSUPPORTED\"}");
    return;
  }
  code = vdb_gpu_start_locked(g);
  vdb_str_addc(out, '{');
  json_text(out, "status", vdb_gpu_code_name(code));
  vdb_str_addc(out, ',');
  json_text(out, "message", vdb_gpu_why(code));
  if( g->api!=NULL ){
    vdb_str_addc(out, ',');
    json_text(out, "plugin", g->api->name);
    vdb_str_addc(out, ',');
    json_text(out, "version", g->api->version);
    vdb_str_addc(out, ',');
    json_text(out, "path", g->path);
  }
  if( code==VDB_GPU_OK ) status_device(g, out);
  if( g->fallback[0] ){
    vdb_str_addf(out, ",\"fallbacks\":%llu,",
                 (unsigned long long)g->n_fallback);
    json_text(out, "fallback", g->fallback);
  }
  vdb_str_addc(out, '}');
  gpu_leave(g);
}
