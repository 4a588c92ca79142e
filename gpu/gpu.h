/* gpu.h -- the GPU plugin of this process, and rows that are resident on it.
**
** Used by   store/device.c, vecdb.c (configuration, status).
** Threads   any: one lock serialises everything that touches the device.
** Errors    VDB_GPU_ codes of plugin.h.
**
** The plugin is looked for when vdb_gpu_start is first called, that is when a
** user has asked for a GPU, and stays until the process ends. What was found,
** or why nothing was, is remembered.
**
** A piece is a set of rows that its owner knows how to read. It becomes
** resident when it is first used and may be dropped for others at any time
** between two calls; the next call brings it back. So a piece stands for
** rows that never change.
*/
#ifndef VDB_GPU_H
#define VDB_GPU_H
#include "gpu/plugin.h"
#include "util/str.h"

/* ---- The plugin ---------------------------------------------------------- */

/* Load the plugin and open its device, once. */
int vdb_gpu_start(void);
/* The name of a code ("NO_DEVICE"), and a sentence about the last failure of
** that code if there was one, else about the code. */
const char *vdb_gpu_code_name(int code);
const char *vdb_gpu_why(int code);
/* Where to look first; NULL: nowhere special. MISUSE once something was
** loaded. VECDB_ codes. */
int vdb_gpu_path_set(const char *path);
/* Bytes that pieces may take together. 0 before the start. */
uint64_t vdb_gpu_budget(void);
/* JSON: plugin, device, memory, counters, the last fallback. Starts it. */
void vdb_gpu_status(struct vdb_str *out);
/* Something was done on the CPU although a GPU was wanted: for the status, and
** for the log, searches once per code and process, builds each time. */
void vdb_gpu_note_fallback(const char *what, int code, bool is_build);
/* As vdb_gpu_api.control; NO_PLUGIN before the start. For tests. */
int vdb_gpu_control(uint32_t what, uint64_t value);
/* Is everything worth a GPU? Only tests make it so (VDB_GPU_SET_EAGER). */
bool vdb_gpu_is_eager(void);

/* ---- Pieces -------------------------------------------------------------- */

struct gpu_piece;
/* NOMEM, UNSUPPORTED. */
int  vdb_gpu_piece_create(struct gpu_piece **out);
void vdb_gpu_piece_destroy(struct gpu_piece *p);        /* NULL is fine */
/* Bytes that the rows would take on the device. */
int  vdb_gpu_piece_size(const vdb_gpu_source *src, uint64_t *bytes);
/* Make it resident, if it is not, and search. `src` is that of every call. */
int  vdb_gpu_piece_knn(struct gpu_piece *p, const vdb_gpu_source *src,
                       const vdb_gpu_knn *q);
/* The same: edges of a graph. */
int  vdb_gpu_piece_edges(struct gpu_piece *p, const vdb_gpu_source *src,
                         vdb_gpu_edges *e);
/* The same: k-means. */
int  vdb_gpu_piece_kmeans(struct gpu_piece *p, const vdb_gpu_source *src,
                          vdb_gpu_kmeans *m);
/* Is it resident at the moment? A guess for the planner. */
bool vdb_gpu_piece_is_resident(const struct gpu_piece *p);
#endif
