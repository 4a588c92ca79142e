/* piece.c -- rows that are resident on the device, by least recent use.
**
** INVARIANTS  (the lock is held)
**   P1  A piece is in the list iff it has rows on the device; newest first.
**   P2  sz_resident is the sum of their sizes.
**   P3  Before rows are attached, oldest pieces are dropped until the new one
**       fits the budget; when the device has less than that, until none is
**       left, then the code is OOM.
*/
#include "gpu/gpu_int.h"

#include "util/mem.h"

struct gpu_piece {
  vdb_gpu_rows *rows;              /* NULL: not resident */
  uint64_t sz;
  bool is_orphan;                  /* resident, and its owner is gone */
  struct gpu_piece *newer, *older;
};

static void piece_unlink(struct gpu_process *g, struct gpu_piece *p){
  if( p->newer ) p->newer->older = p->older;
  else g->newest = p->older;
  if( p->older ) p->older->newer = p->newer;
  else g->oldest = p->newer;
  p->newer = p->older = NULL;
  g->sz_resident -= p->sz;
}

static void piece_link(struct gpu_process *g, struct gpu_piece *p){
  p->older = g->newest;
  if( g->newest ) g->newest->newer = p;
  g->newest = p;
  if( g->oldest==NULL ) g->oldest = p;
  g->sz_resident += p->sz;
}

static void piece_drop(struct gpu_process *g, struct gpu_piece *p){
  if( p->rows==NULL ) return;
  piece_unlink(g, p);
  g->api->detach(p->rows);
  p->rows = NULL;
}

static void oldest_drop(struct gpu_process *g){
  struct gpu_piece *p = g->oldest;
  piece_drop(g, p);
  g->n_drop++;
  if( p->is_orphan ) vdb_free(p);
}

static int piece_attach(struct gpu_process *g, struct gpu_piece *p,
                        const vdb_gpu_source *src){
  uint64_t sz = 0;
  int code;
  if( p->rows ){
    piece_unlink(g, p);
    piece_link(g, p);
    return VDB_GPU_OK;
  }
  code = g->api->estimate(g->dev, src, &sz);
  if( code!=VDB_GPU_OK ) return code;
  if( sz>g->sz_budget ) return VDB_GPU_OOM;
  while( g->oldest && g->sz_resident>g->sz_budget-sz ){
    oldest_drop(g);
  }
  while( (code = g->api->attach(g->dev, src, &p->rows))==VDB_GPU_OOM
      && g->oldest ){
    oldest_drop(g);
  }
  if( code!=VDB_GPU_OK ){
    p->rows = NULL;
    return code;
  }
  p->sz = sz;
  piece_link(g, p);
  return VDB_GPU_OK;
}

/* What a piece is asked: the nearest rows, edges, or k-means. */
struct piece_request {
  const vdb_gpu_knn *knn;
  vdb_gpu_edges *edges;
  vdb_gpu_kmeans *kmeans;
};

static int request_send(struct gpu_process *g, const struct gpu_piece *p,
                        const struct piece_request *q){
  g->n_call++;
  return q->knn ? g->api->knn(p->rows, q->knn)
       : q->edges ? g->api->edges(p->rows, q->edges)
                  : g->api->kmeans(p->rows, q->kmeans);
}

/* One request. The caller's own pieces are the newest, so when the request
** itself finds too little memory it is repeated without those of others. */
static int piece_ask(struct gpu_piece *p, const vdb_gpu_source *src,
                     const struct piece_request *q){
  struct gpu_process *g = &vdb_gpu_process;
  int code;
  if( !gpu_enter(g) ) return VDB_GPU_UNSUPPORTED;
  code = vdb_gpu_start_locked(g);
  if( code==VDB_GPU_OK ) code = piece_attach(g, p, src);
  while( code==VDB_GPU_OK ){
    code = request_send(g, p, q);
    if( code!=VDB_GPU_OOM || g->oldest==p ) break;
    oldest_drop(g);
    code = VDB_GPU_OK;
  }
  code = vdb_gpu_result(g, code);
  gpu_leave(g);
  return code;
}

int vdb_gpu_piece_knn(struct gpu_piece *p, const vdb_gpu_source *src,
                      const vdb_gpu_knn *q){
  struct piece_request r = { .knn = q };
  return piece_ask(p, src, &r);
}

int vdb_gpu_piece_edges(struct gpu_piece *p, const vdb_gpu_source *src,
                        vdb_gpu_edges *e){
  struct piece_request r = { .edges = e };
  return piece_ask(p, src, &r);
}

int vdb_gpu_piece_kmeans(struct gpu_piece *p, const vdb_gpu_source *src,
                         vdb_gpu_kmeans *m){
  struct piece_request r = { .kmeans = m };
  return piece_ask(p, src, &r);
}

int vdb_gpu_piece_create(struct gpu_piece **out){
  *out = vdb_calloc(1, sizeof(**out));
  return *out ? VDB_GPU_OK : VDB_GPU_NOMEM;
}

void vdb_gpu_piece_destroy(struct gpu_piece *p){
  struct gpu_process *g = &vdb_gpu_process;
  if( p==NULL ) return;
  if( !gpu_enter(g) ){               /* the device is at work for us */
    if( p->rows ) p->is_orphan = true;
    else vdb_free(p);
    return;
  }
  /* In a child of a fork the device is not ours to talk to. */
  if( p->rows && vdb_gpu_start_locked(g)==VDB_GPU_FORKED ) piece_unlink(g, p);
  else piece_drop(g, p);
  gpu_leave(g);
  vdb_free(p);
}

int vdb_gpu_piece_size(const vdb_gpu_source *src, uint64_t *bytes){
  struct gpu_process *g = &vdb_gpu_process;
  int code;
  *bytes = 0;
  if( !gpu_enter(g) ) return VDB_GPU_UNSUPPORTED;
  code = vdb_gpu_start_locked(g);
  if( code==VDB_GPU_OK ) code = g->api->estimate(g->dev, src, bytes);
  gpu_leave(g);
  return code;
}

bool vdb_gpu_piece_is_resident(const struct gpu_piece *p){
  struct gpu_process *g = &vdb_gpu_process;
  bool is;
  if( !gpu_enter(g) ) return false;
  is = p->rows!=NULL;
  gpu_leave(g);
  return is;
}
